/*
 * add.cl: sums of buffers, elementwise, and what relu does to them and their gradients; copies.
 *
 * VECTOR  width of the kernels that take a run of elements: 1, 4, 8, 16
 * STREAM  1: what is stored goes around the caches
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef STREAM
#define STREAM 0
#endif
typedef LW_FLOAT(VECTOR) vector;

#define SUM(width, i)                                                                                                  \
	LW_FLOAT(width) total = LW_LOAD(width, a + i) + LW_LOAD(width, b + i);                                         \
	if (c)                                                                                                         \
		total += LW_LOAD(width, c + i);                                                                        \
	if (d)                                                                                                         \
		total += LW_LOAD(width, d + i);                                                                        \
	const LW_FLOAT(width) result = relu ? (total <= 0.0f ? (LW_FLOAT(width))(0.0f) : total) : total;

/*
 * sum = a + b + c + d from left to right, behind relu if that is asked for, an item per element; c and d may be NULL, and
 * sum may be one of them all.
 */
__kernel void add(__global const float *a, __global const float *b, __global const float *c, __global const float *d,
		  __global float *sum, int count, int relu)
{
	const int i = get_global_id(0);
	if (i < count) {
		SUM(1, i)
		sum[i] = result;
	}
}

/* The same, an item per `run` elements. */
__kernel void add_runs(__global const float *a, __global const float *b, __global const float *c, __global const float *d,
		       __global float *sum, int count, int relu, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - VECTOR; i += VECTOR) {
		SUM(VECTOR, i)
		LW_STREAM(STREAM, VECTOR, result, sum + i);
	}
	for (; i < end; i++) {
		SUM(1, i)
		sum[i] = result;
	}
}

/* to and also, which may be NULL, = from, an item per `run` elements. */
__kernel void copy_runs(__global const float *from, __global float *to, __global float *also, int count, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - VECTOR; i += VECTOR) {
		const vector value = LW_LOAD(VECTOR, from + i);
		LW_STREAM(STREAM, VECTOR, value, to + i);
		if (also)
			LW_STREAM(STREAM, VECTOR, value, also + i);
	}
	for (; i < end; i++) {
		to[i] = from[i];
		if (also)
			also[i] = from[i];
	}
}
