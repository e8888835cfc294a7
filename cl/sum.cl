/*
 * sum.cl: sums over the batch, a part at a time, and the parts added in order.
 *
 * VECTOR  width of the kernels that take a run of channels or elements: 1, 4, 8, 16
 * TERMS   of sum_terms: 2, 3, 4
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef TERMS
#define TERMS 4
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

#define ROWS_START(j)                                                                                                  \
	const int k##j = min(k + j * VECTOR, channels - VECTOR);                                                       \
	LW_FLOAT(VECTOR) sum##j = (LW_FLOAT(VECTOR))(0.0f);
#define ROWS_ADD(j) sum##j = sum##j + LW_LOAD(VECTOR, row + k##j);
#define ROWS_STORE(j) LW_STORE(VECTOR, sum##j, partial + (size_t)part * channels + k##j);

/* ids: four vectors of channels, part of the rows. Vectors past the last repeat it, which costs nothing: additions wait for each other. */
__kernel void sum_rows_vectors(__global const float *gy, __global float *partial, int images, int pixels, int channels)
{
	const int part = get_global_id(1), parts = get_global_size(1), k = (int)get_global_id(0) * 4 * VECTOR;
	__global const float *row = gy + (size_t)((long)images * part / parts) * pixels * channels;
	__global const float *end = gy + (size_t)((long)images * (part + 1) / parts) * pixels * channels;
	LW_EACH(4, ROWS_START)

	for (; row < end; row += channels) {
		LW_AHEAD(row + LW_DISTANCE + k)
		LW_EACH(4, ROWS_ADD)
	}
	LW_EACH(4, ROWS_STORE)
}

/* to[i] = ((partial[0][i] + partial[1][i]) + partial[2][i]) + .. in each slice, and slices as LW_SUM_PARTS has it */
#define PART(part) partial[(part) * count + i]
__kernel void sum_parts(__global const float *partial, __global float *to, int parts, int slices)
{
	const size_t i = get_global_id(0), count = get_global_size(0);
	LW_SUM_PARTS(float, sum, parts, slices, PART)

	to[i] = sum + LW_ZERO(parts);
}

/*
 * to[i] = a[i] + b[i] + .. in the order of the joins: each adds term `join` of those that are left and the next, which
 * become one. What is not a term repeats the last one.
 */
#define JOIN(join)                                                                                                     \
	{                                                                                                              \
		if (join == 0) {                                                                                       \
			s0 = s0 + s1;                                                                                  \
			s1 = s2;                                                                                       \
		} else if (join == 1) {                                                                                \
			s1 = s1 + s2;                                                                                  \
		}                                                                                                      \
		s2 = join == 2 ? s2 + s3 : s3;                                                                         \
	}
#if TERMS == 2
#define JOINS JOIN(join0)
#elif TERMS == 3
#define JOINS JOIN(join0) JOIN(join1)
#else
#define JOINS JOIN(join0) JOIN(join1) JOIN(join2)
#endif
#define SUM_TERMS(width)                                                                                               \
	{                                                                                                              \
		LW_FLOAT(width) s0 = LW_LOAD(width, a + i), s1 = LW_LOAD(width, b + i);                                \
		LW_FLOAT(width) s2 = TERMS > 2 ? LW_LOAD(width, c + i) : s1;                                           \
		const LW_FLOAT(width) s3 = TERMS > 3 ? LW_LOAD(width, d + i) : s2;                                     \
		JOINS                                                                                                  \
		LW_STORE(width, s0, to + to_first - first + i);                                                        \
	}

/* Elements [first, first + count) of the terms, [to_first, ..) of the sum, which may be a term at the same place. */
__kernel void sum_terms(__global const float *a, __global const float *b, __global const float *c, __global const float *d,
			__global float *to, int first, int to_first, int count, int join0, int join1, int join2)
{
	const size_t i = (size_t)first + get_global_id(0);

	if (get_global_id(0) < (size_t)count)
		SUM_TERMS(1)
}

/* The same, an item per `run` elements. */
__kernel void sum_terms_runs(__global const float *a, __global const float *b, __global const float *c, __global const float *d,
			     __global float *to, int first, int to_first, int count, int join0, int join1, int join2, int run)
{
	const size_t begin = get_global_id(0) * run, end = min((size_t)count, begin + run) + first;
	size_t i = begin + first;

	for (; i + VECTOR <= end; i += VECTOR)
		SUM_TERMS(VECTOR)
	for (; i < end; i++)
		SUM_TERMS(1)
}
