/*
 * bench.cl: what a device can do at most: fused multiply-adds, and bytes to and from memory.
 *
 * VECTOR  1, 4, 8 or 16: width of what an item computes with
 */
#ifndef VECTOR
#define VECTOR 1
#endif
/* 1: what is copied goes around the caches */
#ifndef STREAM
#define STREAM 0
#endif
#define T LW_FLOAT(VECTOR)

/* Ten chains that do not wait for each other: more than latency x units of what there is. 20 x VECTOR x rounds FLOPs an item. */
__kernel void bench_fma(__global float *to, int rounds, float factor, float term)
{
	const T a = (T)(factor), b = (T)(term);
	const float start = (float)(get_global_id(0) & 63);
	T c0 = (T)(start), c1 = c0 + 1.0f, c2 = c0 + 2.0f, c3 = c0 + 3.0f, c4 = c0 + 4.0f;
	T c5 = c0 + 5.0f, c6 = c0 + 6.0f, c7 = c0 + 7.0f, c8 = c0 + 8.0f, c9 = c0 + 9.0f;

	for (int i = 0; i < rounds; i++) {
		c0 = fma(c0, a, b);
		c1 = fma(c1, a, b);
		c2 = fma(c2, a, b);
		c3 = fma(c3, a, b);
		c4 = fma(c4, a, b);
		c5 = fma(c5, a, b);
		c6 = fma(c6, a, b);
		c7 = fma(c7, a, b);
		c8 = fma(c8, a, b);
		c9 = fma(c9, a, b);
	}
	LW_STORE(VECTOR, c0 + c1 + c2 + c3 + c4 + c5 + c6 + c7 + c8 + c9, to + get_global_id(0) * VECTOR);
}

/* An item copies `run` vectors that lie together; 1 on a GPU. */
__kernel void bench_copy(__global const float *from, __global float *to, int run)
{
	const size_t begin = get_global_id(0) * (size_t)run * VECTOR;

	for (int i = 0; i < run; i++)
		LW_STREAM(STREAM, VECTOR, LW_LOAD(VECTOR, from + begin + (size_t)i * VECTOR), to + begin + (size_t)i * VECTOR);
}

/* to = a + factor * b */
__kernel void bench_triad(__global const float *a, __global const float *b, __global float *to, int run, float factor)
{
	const size_t begin = get_global_id(0) * (size_t)run * VECTOR;

	for (int i = 0; i < run; i++) {
		const size_t at = begin + (size_t)i * VECTOR;
		LW_STREAM(STREAM, VECTOR, fma((T)(factor), LW_LOAD(VECTOR, b + at), LW_LOAD(VECTOR, a + at)), to + at);
	}
}
