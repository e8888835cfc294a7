/*
 * sum.cl: sums over the batch, a part at a time, and the parts added in order.
 *
 * VECTOR  width of the kernels that take a run of channels: 1, 4, 8, 16
 */
#ifndef VECTOR
#define VECTOR 4
#endif

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

#define SUM_CHANNELS(lanes)                                                                                            \
	{                                                                                                              \
		LW_FLOAT(lanes) sum = (LW_FLOAT(lanes))(0.0f);                                                         \
		for (size_t row = begin; row < end; row++)                                                             \
			sum = sum + LW_LOAD(lanes, gy + row * channels + k);                                           \
		LW_STORE(lanes, sum, partial + (size_t)part * channels + k);                                           \
	}

/* ids: run of VECTOR channels, part of the rows */
__kernel void sum_rows_runs(__global const float *gy, __global float *partial, int images, int pixels, int channels)
{
	const int part = get_global_id(1), parts = get_global_size(1);
	const size_t begin = (size_t)((long)images * part / parts) * pixels;
	const size_t end = (size_t)((long)images * (part + 1) / parts) * pixels;
	int k = (int)get_global_id(0) * VECTOR;

	if (k + VECTOR <= channels)
		SUM_CHANNELS(VECTOR)
	else
		for (; k < channels; k++)
			SUM_CHANNELS(1)
}

/* to[i] = ((partial[0][i] + partial[1][i]) + partial[2][i]) + ... */
__kernel void sum_parts(__global const float *partial, __global float *to, int parts)
{
	const size_t i = get_global_id(0), count = get_global_size(0);
	float sum = partial[i];

	for (int part = 1; part < parts; part++)
		sum = sum + partial[part * count + i];
	to[i] = sum + LW_ZERO(parts);
}
