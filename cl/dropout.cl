/*
 * dropout.cl: forward and, with gradients in place of values, backward. Whether an element is kept depends on the seed, the
 * layer, the step and the element's index in the step's batch alone (`before` of its elements lie before these), so backward
 * finds it again and every device agrees. Where relu's output `mask`, which may be NULL, is 0 the result is 0.
 *
 * STREAM  1: what is stored goes around the caches
 */
#ifndef STREAM
#define STREAM 0
#endif

static inline float drop(__global const float *input, int i, uint before, uint seed, uint layer, uint step, uint threshold,
			 float scale, __global const float *mask)
{
	/* a product, not a choice, so that NaN goes through */
	const float kept = input[i] * (lw_random_bits(seed, layer, before + (uint)i, step) >= threshold ? scale : 0.0f);
	return mask && mask[i] <= 0.0f ? 0.0f : kept;
}

__kernel void dropout(__global const float *input, __global float *output, int count, uint before, uint seed, uint layer,
		      uint step, uint threshold, float scale, __global const float *mask)
{
	const int i = get_global_id(0);
	if (i < count)
		output[i] = drop(input, i, before, seed, layer, step, threshold, scale, mask);
}

/* The same, an item per `run` elements. */
__kernel void dropout_runs(__global const float *input, __global float *output, int count, uint before, uint seed, uint layer,
			   uint step, uint threshold, float scale, __global const float *mask, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - 8; i += 8) {
		const ulong8 index = (ulong8)(0, 1, 2, 3, 4, 5, 6, 7) + (ulong8)((ulong)before + (ulong)i);
		const long8 keep = lw_random_bits_8(seed, layer, index, step) >= (ulong8)((ulong)threshold << 32);
		float8 kept = vload8(0, input + i) * (convert_int8(keep) ? (float8)(scale) : (float8)(0.0f));
		if (mask)
			kept = vload8(0, mask + i) <= 0.0f ? (float8)(0.0f) : kept;
		LW_STREAM(STREAM, 8, kept, output + i);
	}
	for (; i < end; i++)
		output[i] = drop(input, i, before, seed, layer, step, threshold, scale, mask);
}
