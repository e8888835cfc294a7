/*
 * gemm_cpu.cl: C = op(A) op(B) (+ bias) for CPUs: one work-item per work-group computes whole columns of register tiles.
 *
 * A is packed beforehand into panels [m / ROWS][k][ROWS]; a work-group packs `depth` rows of its columns of B into local
 * memory and goes over its panels; with more rows to come, chains go on from C.
 *
 * VECTOR   width of a vector of columns: 1, 4, 8, 16
 * VECTORS  vectors in a tile's row: 1, 2
 * ROWS     rows of a tile: 1 .. 16
 * PARTS    1: the inner dimension is cut into parts, each a chain from 0, added in order; then depth is all of it
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef VECTORS
#define VECTORS 2
#endif
#ifndef ROWS
#define ROWS 4
#endif
#ifndef PARTS
#define PARTS 0
#endif
#define COLUMNS (VECTOR * VECTORS)
#if VECTORS == 2
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1)
#else
#define EACH_VECTOR(i, F) F(i, 0)
#endif

typedef LW_FLOAT(VECTOR) vector;

#define DECLARE_ONE(i, j) vector c##i##_##j = zero;
#define DECLARE(i) EACH_VECTOR(i, DECLARE_ONE)
#define CLEAR_ONE(i, j) c##i##_##j = zero;
#define CLEAR(i) EACH_VECTOR(i, CLEAR_ONE)
#define LOAD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * pitch + j * VECTOR);
#define LOAD(i) EACH_VECTOR(i, LOAD_ONE)
#define STORE_ONE(i, j) LW_STORE(VECTOR, c##i##_##j, to + i * pitch + j * VECTOR);
#define STORE(i) EACH_VECTOR(i, STORE_ONE)
#define STEP_ONE(i, j) c##i##_##j = fma(value##i, b##j, c##i##_##j);
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(panel[i]);                                                                    \
	EACH_VECTOR(i, STEP_ONE)
#define TOTAL_DECLARE_ONE(i, j) vector t##i##_##j = zero;
#define TOTAL_DECLARE(i) EACH_VECTOR(i, TOTAL_DECLARE_ONE)
#define TOTAL_SET_ONE(i, j) t##i##_##j = c##i##_##j;
#define TOTAL_SET(i) EACH_VECTOR(i, TOTAL_SET_ONE)
#define TOTAL_ADD_ONE(i, j) t##i##_##j = t##i##_##j + c##i##_##j;
#define TOTAL_ADD(i) EACH_VECTOR(i, TOTAL_ADD_ONE)
#define TOTAL_GET_ONE(i, j) c##i##_##j = t##i##_##j;
#define TOTAL_GET(i) EACH_VECTOR(i, TOTAL_GET_ONE)
#define END_ONE(i, j) c##i##_##j = c##i##_##j + zero;
#define END(i) EACH_VECTOR(i, END_ONE)

/* to[j * to_pitch + i] = from[i * pitch + j] for i, j below 4 */
#define TRANSPOSE4(from, pitch, to, to_pitch)                                                                          \
	{                                                                                                              \
		const float4 r0 = vload4(0, from), r1 = vload4(0, (from) + (pitch));                                   \
		const float4 r2 = vload4(0, (from) + 2 * (pitch)), r3 = vload4(0, (from) + 3 * (pitch));               \
		const float4 low02 = (float4)(r0.lo, r2.lo), low13 = (float4)(r1.lo, r3.lo);                           \
		const float4 high02 = (float4)(r0.hi, r2.hi), high13 = (float4)(r1.hi, r3.hi);                         \
		vstore4((float4)(low02.s0, low13.s0, low02.s2, low13.s2), 0, to);                                      \
		vstore4((float4)(low02.s1, low13.s1, low02.s3, low13.s3), 0, (to) + (to_pitch));                       \
		vstore4((float4)(high02.s0, high13.s0, high02.s2, high13.s2), 0, (to) + 2 * (to_pitch));               \
		vstore4((float4)(high02.s1, high13.s1, high02.s3, high13.s3), 0, (to) + 3 * (to_pitch));               \
	}

/* ids: panel, block of `run` rows of the inner dimension. Rows of A past m become zeros. */
__kernel void pack_panels(__global const float *restrict a, __global float *restrict packed, int m, int k, int lda,
			  int transposed, int run)
{
	const int first = (int)get_global_id(0) * ROWS, begin = (int)get_global_id(1) * run, end = min(k, begin + run);
	__global float *to = packed + (size_t)first * k;

	const int rows = min(ROWS, m - first), fours = transposed ? 0 : rows / 4 * 4;

	for (int i = 0; i < fours; i += 4) {
		int p = begin;
		for (; p <= end - 4; p += 4)
			TRANSPOSE4(a + (size_t)(first + i) * lda + p, lda, to + (size_t)p * ROWS + i, ROWS)
		for (; p < end; p++)
			for (int j = i; j < i + 4; j++)
				to[(size_t)p * ROWS + j] = a[(size_t)(first + j) * lda + p];
	}
	for (int p = begin; p < end; p++)
		for (int i = fours; i < ROWS; i++) {
			const size_t row = first + i;
			to[(size_t)p * ROWS + i] = i >= rows    ? 0.0f
						   : transposed ? a[(size_t)p * lda + row]
								: a[row * lda + p];
		}
}

/* rows begin .. begin+rows of op(B), columns from `first`, into [row][COLUMNS]; columns past n become zeros */
static inline void pack_block(__global const float *b, __local float *block, int begin, int rows,
			      int first, int n, int ldb, int transposed)
{
	const int columns = min(COLUMNS, n - first);

	for (int j = columns; j < COLUMNS; j++)
		for (int p = 0; p < rows; p++)
			block[p * COLUMNS + j] = 0.0f;
	if (transposed) {
		const int fours = columns / 4 * 4;
		for (int j = 0; j < fours; j += 4) {
			__global const float *from = b + (size_t)(first + j) * ldb + begin;
			int p = 0;
			for (; p <= rows - 4; p += 4)
				TRANSPOSE4(from + p, ldb, block + p * COLUMNS + j, COLUMNS)
			for (; p < rows; p++)
				for (int i = 0; i < 4; i++)
					block[p * COLUMNS + j + i] = from[(size_t)i * ldb + p];
		}
		for (int j = fours; j < columns; j++)
			for (int p = 0; p < rows; p++)
				block[p * COLUMNS + j] = b[(size_t)(first + j) * ldb + begin + p];
	} else if (columns == COLUMNS) {
		for (int p = 0; p < rows; p++) {
			__global const float *from = b + (size_t)(begin + p) * ldb + first;
			for (int j = 0; j < COLUMNS; j += VECTOR)
				LW_STORE(VECTOR, LW_LOAD(VECTOR, from + j), block + p * COLUMNS + j);
		}
	} else {
		for (int p = 0; p < rows; p++)
			for (int j = 0; j < columns; j++)
				block[p * COLUMNS + j] = b[(size_t)(begin + p) * ldb + first + j];
	}
}

/* ids: block of columns, share of the panels. scratch: depth * COLUMNS floats, then a tile, then a row */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm(__global const float *restrict packed, __global const float *restrict b, __global const float *restrict bias,
     __global float *restrict c, __local float *restrict scratch, int m, int n, int k, int ldb, int ldc, int transpose_b,
     int parts, int depth)
{
	const int first = (int)get_group_id(0) * COLUMNS, columns = min(COLUMNS, n - first);
	const int panels = (m + ROWS - 1) / ROWS;
	const int panel_begin = (int)((long)panels * get_group_id(1) / get_num_groups(1));
	const int panel_end = (int)((long)panels * (get_group_id(1) + 1) / get_num_groups(1));
	__local float *tile = scratch + (size_t)depth * COLUMNS, *bias_row = tile + ROWS * COLUMNS;
	const vector zero = (vector)(LW_ZERO(k));

	if (bias)
		for (int j = 0; j < COLUMNS; j++)
			bias_row[j] = j < columns ? bias[first + j] : 0.0f;
	for (int begin = 0; begin < k; begin += depth) {
		const int rows = min(depth, k - begin), last = begin + rows == k;
		pack_block(b, scratch, begin, rows, first, n, ldb, transpose_b);
		for (int p = panel_begin; p < panel_end; p++) {
			__global const float *panel = packed + ((size_t)p * k + begin) * ROWS;
			__local const float *block = scratch;
			__global float *out = c + (size_t)p * ROWS * ldc + first;
			const int count = min(ROWS, m - p * ROWS), whole = count == ROWS && columns == COLUMNS;
			LW_EACH(ROWS, DECLARE)

			if (begin > 0) {
				if (whole) {
					__global const float *from = out;
					const size_t pitch = ldc;
					LW_EACH(ROWS, LOAD)
				} else {
					for (int i = 0; i < count; i++)
						for (int j = 0; j < columns; j++)
							tile[i * COLUMNS + j] = out[(size_t)i * ldc + j];
					__local const float *from = tile;
					const size_t pitch = COLUMNS;
					LW_EACH(ROWS, LOAD)
				}
			}
#if PARTS
			LW_EACH(ROWS, TOTAL_DECLARE)
			for (int part = 0; part < parts; part++) {
				const int length = (int)((long)k * (part + 1) / parts) - (int)((long)k * part / parts);
				LW_EACH(ROWS, CLEAR)
#else
			{
				const int length = rows;
#endif
				for (int i = 0; i < length; i++) {
					const vector b0 = LW_LOAD(VECTOR, block);
#if VECTORS == 2
					const vector b1 = LW_LOAD(VECTOR, block + VECTOR);
#endif
					LW_EACH(ROWS, STEP)
					panel += ROWS;
					block += COLUMNS;
				}
#if PARTS
				if (part == 0) {
					LW_EACH(ROWS, TOTAL_SET)
				} else {
					LW_EACH(ROWS, TOTAL_ADD)
				}
			}
			LW_EACH(ROWS, TOTAL_GET)
#else
			}
#endif
			if (last && !bias) {
				LW_EACH(ROWS, END)
			}
			if (whole && !(last && bias)) {
				__global float *to = out;
				const size_t pitch = ldc;
				LW_EACH(ROWS, STORE)
			} else {
				__local float *to = tile;
				const size_t pitch = COLUMNS;
				LW_EACH(ROWS, STORE)
				for (int i = 0; i < count; i++)
					for (int j = 0; j < columns; j++)
						out[(size_t)i * ldc + j] =
							last && bias ? tile[i * COLUMNS + j] + bias_row[j] + LW_ZERO(k) : tile[i * COLUMNS + j];
			}
		}
	}
}
