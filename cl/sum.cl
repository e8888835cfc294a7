/* sum.cl: sums over the batch, a part at a time, and the parts added in order. */

/* ids: channel, part of the rows, rows of an image being `pixels`. partial is [part][channel] */
__kernel void sum_rows(__global const float *gy, __global float *partial, int images, int pixels)
{
	const int channels = get_global_size(0), k = get_global_id(0), part = get_global_id(1), parts = get_global_size(1);
	const size_t begin = (size_t)((long)images * part / parts) * pixels;
	const size_t end = (size_t)((long)images * (part + 1) / parts) * pixels;
	float sum = 0.0f;

	for (size_t row = begin; row < end; row++)
		sum = sum + gy[row * channels + k];
	partial[(size_t)part * channels + k] = sum;
}

/* to[i] = ((partial[0][i] + partial[1][i]) + partial[2][i]) + ... */
__kernel void sum_parts(__global const float *partial, __global float *to, int parts)
{
	const size_t i = get_global_id(0), count = get_global_size(0);
	float sum = partial[i];

	for (int part = 1; part < parts; part++)
		sum = sum + partial[part * count + i];
	to[i] = sum;
}
