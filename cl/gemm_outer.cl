/*
 * gemm_outer.cl: C = A^T B for CPUs, where rows of A and B lie along the inner dimension (a sum of outer products, as the
 * gradients of weights are): one work-item per work-group, register tiles (tile.cl) whose rows are rows of C. Both are read
 * where they lie, so m is at least ROWS, and LANES divides n. The last panel of rows begins within the one before where ROWS
 * does not divide m, and leaves its first `known` rows to that.
 *
 * PACK  1: `depth` rows of a tile's columns of B are copied into local memory; where rows of B lie far apart
 */
#ifndef PACK
#define PACK 0
#endif
#include "tile.cl"

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(row[i]);                                                                      \
	EACH_VECTOR(i, STEP_ONE)
#define ADD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * pitch + j * VECTOR) + c##i##_##j;
#define ADD(i) EACH_VECTOR(i, ADD_ONE)
#define LOAD_NEW(i)                                                                                                    \
	if (i >= known) {                                                                                              \
		LOAD(i)                                                                                                \
	}
#define ADD_NEW(i)                                                                                                     \
	if (i >= known) {                                                                                              \
		ADD(i)                                                                                                 \
	}
#define STORE_NEW(i)                                                                                                   \
	if (i >= known) {                                                                                              \
		STORE(i)                                                                                               \
	}

#define PART_BEGIN(part) ((int)((long)k * (part) / parts))
#define SHARE_BEGIN(count, id) ((int)((long)(count) * get_group_id(id) / get_num_groups(id)))
#define SHARE_END(count, id) ((int)((long)(count) * (get_group_id(id) + 1) / get_num_groups(id)))

/*
 * ids: share of the tiles of columns, share of the panels of rows, share of the parts of the inner dimension; c is [share]
 * [m][n]. Chains go on in c from `depth` rows to the next; a share of several parts, each of at most `depth` rows, adds
 * them in order. With PACK, every `line` rows of B begin line_pitch floats after the last ones, and block has depth * LANES floats.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_outer(__global const float *restrict a, __global const float *restrict b, __global float *restrict c, int m, int n, int k,
	   int lda, int ldb, int line, int line_pitch, int parts, int depth, __local float *restrict block)
{
	const int panels = (m + ROWS - 1) / ROWS;
	const int tile_begin = SHARE_BEGIN(n / LANES, 0), tile_end = SHARE_END(n / LANES, 0);
	const int panel_begin = SHARE_BEGIN(panels, 1), panel_end = SHARE_END(panels, 1);
	const int part_begin = SHARE_BEGIN(parts, 2), part_end = SHARE_END(parts, 2);
	const size_t pitch = n;
	const vector zero = (vector)(LW_ZERO(k));

	c += (size_t)get_group_id(2) * m * n;
	for (int part = part_begin; part < part_end; part++)
		for (int begin = PART_BEGIN(part), end = PART_BEGIN(part + 1), rows; begin < end; begin += rows) {
			rows = min(depth, end - begin);
			/* what is read next: of B the same columns, of A the same panel, `rows` rows further on */
			const size_t ahead_a = begin + 2 * rows <= k ? (size_t)rows * lda : 0, ahead_b = begin + 2 * rows <= k ? (size_t)rows * ldb : 0;
			for (int tile = tile_begin; tile < tile_end; tile++) {
#if PACK
				__global const float *from = b + (size_t)(begin / line) * line_pitch + (size_t)(begin % line) * ldb + tile * LANES;
				for (int s = 0, in_line = begin % line; s < rows; s++, from += ldb) {
					if (in_line == line) {
						from += line_pitch - (int)((size_t)line * ldb);
						in_line = 0;
					}
					in_line++;
					for (int j = 0; j < LANES; j += VECTOR) {
						LW_AHEAD(from + ahead_b + j)
						*(__local loose_vector *)(block + s * LANES + j) = *(__global const loose_vector *)(from + j);
					}
				}
#endif
				for (int panel = panel_begin; panel < panel_end; panel++) {
#if PACK
					__local const float *b_row = block;
					const size_t b_pitch = LANES;
#else
					__global const float *b_row = b + (size_t)begin * ldb + tile * LANES;
					const size_t b_pitch = ldb;
#endif
					const int first = min(panel * ROWS, m - ROWS), known = panel * ROWS - first;
					__global const float *row = a + (size_t)begin * lda + first;
					__global float *from = c + (size_t)first * n + tile * LANES, *to = from;
					LW_EACH(ROWS, DECLARE)

					if (begin > PART_BEGIN(part)) {
						LW_EACH(ROWS, LOAD_NEW)
					}
					if (tile == tile_begin || panel == panel_begin) {
						for (int s = 0; s < rows; s++) {
							LOAD_VECTORS(b_row)
							LW_AHEAD(row + ahead_a)
							LW_AHEAD(b_row + (PACK ? 0 : ahead_b))
							LW_EACH(ROWS, STEP)
							row += lda;
							b_row += b_pitch;
						}
					} else {
						for (int s = 0; s < rows; s++) {
							LOAD_VECTORS(b_row)
							LW_EACH(ROWS, STEP)
							row += lda;
							b_row += b_pitch;
						}
					}
					if (begin + rows == end) {
						LW_EACH(ROWS, END)
						if (part > part_begin) {
							LW_EACH(ROWS, ADD_NEW)
						}
					}
					LW_EACH(ROWS, STORE_NEW)
				}
			}
		}
}
