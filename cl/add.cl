/*
 * add.cl: sums of buffers, elementwise.
 *
 * VECTOR  width of the kernel that takes a run of elements: 1, 4, 8, 16
 */
#ifndef VECTOR
#define VECTOR 4
#endif
typedef LW_FLOAT(VECTOR) vector;

/* sum = a + b, an item per element; sum may be a or b. */
__kernel void add(__global const float *a, __global const float *b, __global float *sum, int count)
{
	const int i = get_global_id(0);
	if (i < count)
		sum[i] = a[i] + b[i];
}

/* The same, an item per `run` elements. */
__kernel void add_runs(__global const float *a, __global const float *b, __global float *sum, int count, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - VECTOR; i += VECTOR)
		LW_STORE(VECTOR, LW_LOAD(VECTOR, a + i) + LW_LOAD(VECTOR, b + i), sum + i);
	for (; i < end; i++)
		sum[i] = a[i] + b[i];
}
