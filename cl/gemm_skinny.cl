/*
 * gemm_skinny.cl: C = op(A) B (+ bias) for CPUs where A has few rows and B is large: every element of B is read once,
 * where it lies, and what comes next is fetched ahead. One work-item per work-group computes all rows of its columns;
 * between one `depth` of the inner dimension and the next the sums wait in local memory.
 *
 * VECTOR, VECTORS, ROWS  the tile: see tile.cl; of `across` ROWS rows of A by vectors of B's columns, of `along` ROWS columns
 *                        of C, which are rows of B, by one vector of rows of A
 */
#include "tile.cl"

enum { LINE = 16 }; /* floats that are fetched at once */

/*
 * to[p * width + i] = op(A)(first + i, begin + p); past the last row that one again. No restrict: what inlining makes of it
 * is unknown to Oclgrind.
 */
static inline void pack(__global const float *a, __local float *to, int first, int m, int begin, int depth,
			int lda, int transposed, const int width)
{
	for (int i = 0; i < width; i++) {
		const size_t row = min(first + i, m - 1);
		__global const float *from = transposed ? a + (size_t)begin * lda + row : a + row * lda + begin;
		const size_t pitch = transposed ? lda : 1;
		for (int p = 0; p < depth; p++)
			to[p * width + i] = from[p * pitch];
	}
}

/* What follows a chain. */
static inline float finish(float sum, float zero, __global const float *bias, int column, int relu,
			   __global const float *masks, size_t at)
{
	const float v = (bias ? sum + bias[column] : sum) + zero;

	return (relu && v <= 0.0f) || (masks && masks[at] <= 0.0f) ? 0.0f : v;
}

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(row[i]);                                                                      \
	EACH_VECTOR(i, STEP_ONE)

/* B as it is. ids: block of `columns` columns, a multiple of LANES; n is at least LANES. scratch: panels of A, sums */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
across(__global const float *restrict a, __global const float *restrict b, __global const float *restrict bias,
       __global const float *restrict masks, __global float *restrict c, int m, int n, int k, int lda, int ldb, int ldc,
       int transpose_a, int transpose_b, int parts, int relu, __local float *restrict scratch, int depth, int columns)
{
	const int first = (int)get_group_id(0) * columns, tiles = (min(columns, n - first) + LANES - 1) / LANES;
	const int panels = (m + ROWS - 1) / ROWS;
	__local float *sums = scratch + (size_t)panels * ROWS * depth;
	const vector zero = (vector)(LW_ZERO(k));

	for (int begin = 0; begin < k; begin += depth) {
		const int rows = min(depth, k - begin), next = begin + rows < k;
		/* the next rows of B, one after the other, while these are multiplied */
		__global const float *ahead = b + (size_t)(next ? begin + rows : begin) * ldb + first;
		int fetched = 0;
		for (int p = 0; p < panels; p++)
			pack(a, scratch + (size_t)p * ROWS * depth, p * ROWS, m, begin, rows, lda, transpose_a, ROWS);
		for (int i = 0; i < tiles * panels; i++) {
			const int t = i / panels, p = i % panels;
			__global const float *b_row = b + (size_t)begin * ldb + min(first + t * LANES, n - LANES);
			__local const float *row = scratch + (size_t)p * ROWS * depth;
			__local float *sum = sums + (size_t)i * ROWS * LANES;
			LW_EACH(ROWS, DECLARE)
			if (begin > 0) {
				__local const float *from = sum;
				const size_t pitch = LANES;
				LW_EACH(ROWS, LOAD)
			}
			for (int s = 0; s < rows; s++) {
				if (p == 0) {
					for (int j = 0; j < LANES; j += LINE)
						LW_AHEAD(ahead + fetched + j)
					fetched += LANES;
					if (fetched >= tiles * LANES) {
						fetched = 0;
						ahead += ldb;
					}
				}
				LOAD_VECTORS(b_row)
				LW_EACH(ROWS, STEP)
				row += ROWS;
				b_row += ldb;
			}
			{
				__local float *to = sum;
				const size_t pitch = LANES;
				LW_EACH(ROWS, STORE)
			}
		}
	}
	for (int r = 0; r < m; r++)
		for (int t = 0; t < tiles; t++) {
			/* the last tile may begin before its own columns */
			const int column = min(first + t * LANES, n - LANES), own = first + t * LANES - column;
			__local const float *sum = sums + ((size_t)(t * panels + r / ROWS) * ROWS + r % ROWS) * LANES;
			for (int j = own; j < LANES; j++) {
				const size_t at = (size_t)r * ldc + column + j;
				c[at] = finish(sum[j], LW_ZERO(k), bias, column + j, relu, masks, at);
			}
		}
}

#define POINT(i) __global const float *b##i##_row = b_row + (size_t)i * ldb;
#define TIMES(i) c##i##_0 = fma(value, (vector)(b##i##_row[s]), c##i##_0);
#define FETCH(i) LW_AHEAD(ahead + (size_t)i * ldb + begin_line)

/* B transposed. ids: block of `columns` columns, a multiple of ROWS; n is at least ROWS. scratch: panels of A, sums */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
along(__global const float *restrict a, __global const float *restrict b, __global const float *restrict bias,
      __global const float *restrict masks, __global float *restrict c, int m, int n, int k, int lda, int ldb, int ldc,
      int transpose_a, int transpose_b, int parts, int relu, __local float *restrict scratch, int depth, int columns)
{
	const int first = (int)get_group_id(0) * columns, count = min(columns, n - first), tiles = (count + ROWS - 1) / ROWS;
	const int panels = (m + VECTOR - 1) / VECTOR;
	__local float *sums = scratch + (size_t)panels * VECTOR * depth;
	const vector zero = (vector)(LW_ZERO(k));

	for (int begin = 0; begin < k; begin += depth) {
		const int rows = min(depth, k - begin);
		for (int p = 0; p < panels; p++)
			pack(a, scratch + (size_t)p * VECTOR * depth, p * VECTOR, m, begin, rows, lda, transpose_a, VECTOR);
		for (int i = 0; i < tiles * panels; i++) {
			const int t = i / panels, p = i % panels;
			__global const float *b_row = b + (size_t)min(first + t * ROWS, n - ROWS) * ldb + begin;
			/* the same of the next tile, or the beginning of what follows */
			__global const float *ahead = t + 1 < tiles ? b + (size_t)min(first + (t + 1) * ROWS, n - ROWS) * ldb + begin
								    : b + (size_t)min(first, n - ROWS) * ldb + begin + rows;
			const int fetch = p == 0 && (t + 1 < tiles || begin + 2 * rows <= k);
			__local const float *panel = scratch + (size_t)p * VECTOR * depth;
			__local float *sum = sums + (size_t)i * ROWS * VECTOR;
			LW_EACH(ROWS, POINT)
			LW_EACH(ROWS, DECLARE)
			if (begin > 0) {
				__local const float *from = sum;
				const size_t pitch = VECTOR;
				LW_EACH(ROWS, LOAD)
			}
			for (int begin_line = 0; begin_line < rows; begin_line += LINE) {
				const int end = min(rows, begin_line + LINE);
				if (fetch) {
					LW_EACH(ROWS, FETCH)
				}
				for (int s = begin_line; s < end; s++) {
					const vector value = LW_LOAD(VECTOR, panel + (size_t)s * VECTOR);
					LW_EACH(ROWS, TIMES)
				}
			}
			{
				__local float *to = sum;
				const size_t pitch = VECTOR;
				LW_EACH(ROWS, STORE)
			}
		}
	}
	for (int r = 0; r < m; r++)
		for (int j = 0; j < count; j++) {
			/* the last tile may begin before its own columns */
			const int column = first + j, t = j / ROWS, i = column - min(first + t * ROWS, n - ROWS);
			__local const float *sum = sums + ((size_t)(t * panels + r / VECTOR) * ROWS + i) * VECTOR;
			const size_t at = (size_t)r * ldc + column;
			c[at] = finish(sum[r % VECTOR], LW_ZERO(k), bias, column, relu, masks, at);
		}
}
