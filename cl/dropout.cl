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

/* masks: -1, or 0 where mask says nothing, though it may be read: a branch would keep rounds of other elements apart. */
static inline void drop_16(__global const float *input, uint16 bits, uint threshold, float scale, __global const float *mask,
			   int masks, __global float *output)
{
	LW_AHEAD(input + LW_DISTANCE)
	const float16 kept = LW_LOAD(16, input) * (bits >= threshold ? (float16)(scale) : (float16)(0.0f));
	LW_STREAM(STREAM, 16, (LW_LOAD(16, mask) <= 0.0f) & masks ? (float16)(0.0f) : kept, output);
}

/* The same, an item per `run` elements. */
__kernel void dropout_runs(__global const float *input, __global float *output, int count, uint before, uint seed, uint layer,
			   uint step, uint threshold, float scale, __global const float *mask, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i, masks = mask ? -1 : 0;
	__global const float *by = mask ? mask : input;
	for (; i <= end - 32; i += 32) {
		uint16 first, second;
		lw_random_bits_32(seed, layer, (ulong)before + (ulong)i, step, &first, &second);
		drop_16(input + i, first, threshold, scale, by + i, masks, output + i);
		drop_16(input + i + 16, second, threshold, scale, by + i + 16, masks, output + i + 16);
	}
	for (; i < end; i++)
		output[i] = drop(input, i, before, seed, layer, step, threshold, scale, mask);
}
