/*
 * gemm_cpu.cl: C = op(A) op(B) (+ bias) for CPUs: one work-item per work-group computes a block of C in register tiles.
 *
 * A work-group packs `depth` rows of its columns of op(B) into local memory, and, one panel of ROWS rows after the other,
 * as much of op(A); the next `depth` rows go on from what C holds.
 *
 * VECTOR, VECTORS, ROWS  the tile: see tile.cl; VECTOR is 4, 8 or 16, ROWS at least 4
 * PARTS  1: the inner dimension is cut into parts, each a chain from 0, added in order; 2: and all have one term;
 *        3: each part is a product of its own, C being [part][m][n], and others add them
 * SLICES 2, 4: with PARTS 1 and 2 so many slices of the parts are summed apart, and joined as LW_SUM_PARTS has it; depth is all of k
 */
#ifndef PARTS
#define PARTS 0
#endif
#ifndef SLICES
#define SLICES 1
#endif
#include "tile.cl"

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(row[i]);                                                                      \
	EACH_VECTOR(i, STEP_ONE)
/* a part of one term: fma(value, b, 0) added, but for the sign of a zero, which the end of the chain sets */
#define TERM_ONE(i, j) c##i##_##j = c##i##_##j + value##i * b##j;
#define TERM(i)                                                                                                        \
	const vector value##i = (vector)(row[i]);                                                                      \
	EACH_VECTOR(i, TERM_ONE)
#define TOTAL_DECLARE_ONE(i, j) vector t##i##_##j = c##i##_##j;
#define TOTAL_DECLARE(i) EACH_VECTOR(i, TOTAL_DECLARE_ONE)
#define TOTAL_ADD_ONE(i, j) t##i##_##j = t##i##_##j + c##i##_##j;
#define TOTAL_ADD(i) EACH_VECTOR(i, TOTAL_ADD_ONE)
#define TOTAL_GET_ONE(i, j) c##i##_##j = t##i##_##j;
#define TOTAL_GET(i) EACH_VECTOR(i, TOTAL_GET_ONE)

#define TOTAL_CLEAR_ONE(i, j) t##i##_##j = zero;
#define TOTAL_CLEAR(i) EACH_VECTOR(i, TOTAL_CLEAR_ONE)
/* The end of a slice whose sum the accumulators hold: joined with those that wait, or waiting itself. */
#define JOIN_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * LANES + j * VECTOR) + c##i##_##j;
#define JOIN(i) EACH_VECTOR(i, JOIN_ONE)
#define END_SLICE(slice)                                                                                               \
	{                                                                                                              \
		const size_t pitch = LANES;                                                                            \
		__local const float *from = waiting;                                                                   \
		__local float *to = waiting + (slice == 1 ? ROWS * LANES : 0);                                         \
		if (slice % 2) {                                                                                       \
			LW_EACH(ROWS, JOIN)                                                                            \
		}                                                                                                      \
		if (slice == 3) {                                                                                      \
			from += ROWS * LANES;                                                                          \
			LW_EACH(ROWS, JOIN)                                                                            \
		}                                                                                                      \
		if (slice < SLICES - 1) {                                                                              \
			LW_EACH(ROWS, STORE)                                                                           \
		}                                                                                                      \
	}

/*
 * to[p * width + i] = element (first + i, begin + p) of a matrix, i below width, p below depth; across: its p-th elements
 * lie together, else its i-th. Past the limit of i the last ones are repeated; nobody looks at what they become.
 */
static inline void pack(__global const float *restrict from, __local float *restrict to, int first, int limit, int begin,
			int depth, int pitch, int across, const int width, int last)
{
	/* the same place in the next block */
	const size_t ahead = last ? 0 : across ? (size_t)depth * pitch : (size_t)depth;

	if (across && first + (width + VECTOR - 1) / VECTOR * VECTOR <= limit) {
		/* what a vector writes past the width is overwritten, or lies behind it all */
		for (int p = 0; p < depth; p++) {
			__global const float *row = from + (size_t)(begin + p) * pitch + first;
			for (int i = 0; i < width; i += VECTOR) {
				LW_AHEAD(row + ahead + i)
				*(__local loose_vector *)(to + p * width + i) = *(__global const loose_vector *)(row + i);
			}
		}
	} else if (across) {
		for (int p = 0; p < depth; p++)
			for (int i = 0; i < width; i++)
				to[p * width + i] = from[(size_t)(begin + p) * pitch + min(first + i, limit - 1)];
	} else {
		for (int start = 0; start < width; start += 4) {
			/* the last four may overlap those before */
			const int i = min(start, width - 4), row = first + i;
			__global const float *from0 = from + (size_t)min(row, limit - 1) * pitch + begin;
			__global const float *from1 = from + (size_t)min(row + 1, limit - 1) * pitch + begin;
			__global const float *from2 = from + (size_t)min(row + 2, limit - 1) * pitch + begin;
			__global const float *from3 = from + (size_t)min(row + 3, limit - 1) * pitch + begin;
			__local float *out = to + i;
			int p = 0;
			for (; p <= depth - 4; p += 4) {
				if (p % 16 == 0) {
					LW_AHEAD(from0 + p + ahead)
					LW_AHEAD(from1 + p + ahead)
					LW_AHEAD(from2 + p + ahead)
					LW_AHEAD(from3 + p + ahead)
				}
				const float4 r0 = vload4(0, from0 + p), r1 = vload4(0, from1 + p);
				const float4 r2 = vload4(0, from2 + p), r3 = vload4(0, from3 + p);
				TRANSPOSE4(r0, r1, r2, r3, out + p * width, width)
			}
			for (; p < depth; p++)
				vstore4((float4)(from0[p], from1[p], from2[p], from3[p]), 0, out + p * width);
		}
	}
}

/* Where a part of the inner dimension begins. */
#define PART_BEGIN(part) ((int)((long)k * (part) / parts))

/* ids: block of columns, share of the panels, with PARTS 3 part. scratch: see local_floats of gemm.c; columns is a multiple of LANES */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm(__global const float *restrict a, __global const float *restrict b, __global const float *restrict bias,
     __global const float *restrict masks, __global float *restrict c, int m, int n, int k, int lda, int ldb, int ldc,
     int transpose_a, int transpose_b, int parts, int relu, __local float *restrict scratch, int depth, int columns)
{
	const int first = (int)get_group_id(0) * columns, tiles = (min(columns, n - first) + LANES - 1) / LANES;
	const int panels = (m + ROWS - 1) / ROWS;
	const int panel_begin = (int)((long)panels * get_group_id(1) / get_num_groups(1));
	const int panel_end = (int)((long)panels * (get_group_id(1) + 1) / get_num_groups(1));
	__local float *block = scratch, *tile = block + (size_t)depth * columns;
	__local float *waiting = tile + ROWS * LANES, *bias_row = waiting + SLICES / 2 * ROWS * LANES, *panel = bias_row + columns;
	const vector zero = (vector)(LW_ZERO(k));
#if PARTS == 3
	int part = get_group_id(2);
	const int k_begin = PART_BEGIN(part), k_end = PART_BEGIN(part + 1);
	c += (size_t)part * m * ldc;
#else
#if PARTS
	int part = 0;
#endif
	const int k_begin = 0, k_end = k;
#endif

	for (int j = 0; bias && j < columns; j++)
		bias_row[j] = bias[min(first + j, n - 1)];
	for (int begin = k_begin, rows; begin < k_end; begin += rows) {
#if PARTS == 1 || PARTS == 2
		const int part_begin = part;
		do
			part++;
		while (part < parts && PART_BEGIN(part + 1) - begin <= depth);
		rows = PART_BEGIN(part) - begin;
#else
		rows = min(depth, k_end - begin);
#endif
		for (int t = 0; t < tiles; t++)
			pack(b, block + (size_t)t * rows * LANES, first + t * LANES, n, begin, rows, ldb, !transpose_b, LANES,
			     begin + rows == k_end);
		for (int i = panel_begin * tiles; i < panel_end * tiles; i++) {
			const int p = i / tiles, t = i % tiles, column = first + t * LANES;
			const int count = min(ROWS, m - p * ROWS), width = min(LANES, n - column);
			const int whole = count == ROWS && width == LANES;
			__local const float *row = panel, *b_row = block + (size_t)t * rows * LANES;
			__global float *out = c + (size_t)p * ROWS * ldc + column;
			LW_EACH(ROWS, DECLARE)

			if (t == 0)
				pack(a, panel, p * ROWS, m, begin, rows, lda, transpose_a, ROWS, begin + rows == k_end);
			if (begin > k_begin) {
				if (whole) {
					__global const float *from = out;
					const size_t pitch = ldc;
					LW_EACH(ROWS, LOAD)
				} else {
					__local const float *from = tile;
					const size_t pitch = LANES;
					for (int r = 0; r < count; r++)
						for (int j = 0; j < width; j++)
							tile[r * LANES + j] = out[(size_t)r * ldc + j];
					LW_EACH(ROWS, LOAD)
				}
			}
#if PARTS == 1
			LW_EACH(ROWS, TOTAL_DECLARE)
			for (int q = part_begin; q < part; q++) {
				const int length = PART_BEGIN(q + 1) - PART_BEGIN(q);
				LW_EACH(ROWS, CLEAR)
#elif SLICES > 1
			for (int q = 0; q < SLICES; q++) {
				const int length = rows / SLICES;
				LW_EACH(ROWS, CLEAR)
#else
			{
				const int length = rows;
#endif
				for (int s = 0; s < length; s++) {
					LOAD_VECTORS(b_row)
#if PARTS == 2
					LW_EACH(ROWS, TERM)
#else
					LW_EACH(ROWS, STEP)
#endif
					row += ROWS;
					b_row += LANES;
				}
#if PARTS == 1
				LW_EACH(ROWS, TOTAL_ADD)
#if SLICES > 1
				if ((q + 1) % (parts / SLICES) == 0) {
					const int slice = q / (parts / SLICES);
					LW_EACH(ROWS, TOTAL_GET)
					END_SLICE(slice)
					LW_EACH(ROWS, TOTAL_CLEAR)
				}
			}
#else
			}
			LW_EACH(ROWS, TOTAL_GET)
#endif
#elif SLICES > 1
				END_SLICE(q)
			}
#else
			}
#endif
			if (begin + rows == k_end) {
				if (bias) {
					LOAD_VECTORS(bias_row + t * LANES)
					LW_EACH(ROWS, BIAS)
				}
				LW_EACH(ROWS, END)
				if (relu) {
					LW_EACH(ROWS, RELU)
				}
				if (masks && whole) {
					__global const float *mask = masks + (size_t)p * ROWS * ldc + column;
					const size_t pitch = ldc;
					LW_EACH(ROWS, MASK)
				} else if (masks) {
					__local const float *mask = tile;
					const size_t pitch = LANES;
					for (int r = 0; r < count; r++)
						for (int j = 0; j < width; j++)
							tile[r * LANES + j] = masks[(size_t)(p * ROWS + r) * ldc + column + j];
					LW_EACH(ROWS, MASK)
				}
			}
			if (whole) {
				__global float *to = out;
				const size_t pitch = ldc;
				LW_EACH(ROWS, STORE)
			} else {
				__local float *to = tile;
				const size_t pitch = LANES;
				LW_EACH(ROWS, STORE)
				for (int r = 0; r < count; r++)
					for (int j = 0; j < width; j++)
						out[(size_t)r * ldc + j] = tile[r * LANES + j];
			}
		}
	}
}
