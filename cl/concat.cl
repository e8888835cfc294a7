/*
 * concat.cl: moves some of the channels of every pixel; with these, images are joined along channels and cut again.
 *
 * VECTOR  width of the kernel that takes a run of pixels: 1, 4, 8, 16
 * STREAM  1: what is stored goes around the caches
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef STREAM
#define STREAM 0
#endif

__kernel void copy_channels(__global const float *from, __global float *to, int count, int channels, int from_stride,
			    int from_offset, int to_stride, int to_offset)
{
	const int i = get_global_id(0), pixel = i / channels, c = i % channels;
	if (i < count)
		to[(size_t)pixel * to_stride + to_offset + c] = from[(size_t)pixel * from_stride + from_offset + c];
}

/* The same, an item per `run` pixels. */
__kernel void copy_channels_runs(__global const float *from, __global float *to, int pixels, int channels, int from_stride,
				 int from_offset, int to_stride, int to_offset, int run)
{
	const int first = (int)get_global_id(0) * run, end = min(pixels - first, run) + first;
	for (int pixel = first; pixel < end; pixel++) {
		__global const float *source = from + (size_t)pixel * from_stride + from_offset;
		__global float *target = to + (size_t)pixel * to_stride + to_offset;
		int c = 0;
		for (; c <= channels - VECTOR; c += VECTOR) {
			LW_AHEAD(source + c + 16 * (size_t)from_stride)
			LW_STREAM(STREAM, VECTOR, LW_LOAD(VECTOR, source + c), target + c);
		}
		for (; c < channels; c++)
			target[c] = source[c];
	}
}
