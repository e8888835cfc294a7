/*
 * dropout.cl: forward and, with gradients in place of values, backward. Whether an element is kept depends on the seed, the
 * layer, the step and the element's index alone, so backward finds it again and every device agrees.
 */
__kernel void dropout(__global const float *input, __global float *output, int count, uint seed, uint layer, uint step,
		      uint threshold, float scale)
{
	const int i = get_global_id(0);
	/* a product, not a choice, so that NaN goes through */
	if (i < count)
		output[i] = input[i] * (lw_random_bits(seed, layer, (uint)i, step) >= threshold ? scale : 0.0f);
}
