/*
 * winograd_weight.cl: backward of the weight by Winograd's convolutions.
 *
 * Tiles of OUTPUTS x OUTPUTS output pixels are numbered over the batch: image, tile row, tile column. Of each, V = B^T x B
 * is taken from x and M = A gy A^T from its gradient, zeros outside the images. Per point, input channel c and output k, a
 * part of the batch is one chain of fma over V[point][tile][c] * M[point][tile][k], tiles in order; the parts of a slice are
 * added in order, and G^T sum G is its gradient of the weight; slices are joined as LW_SUM_PARTS has it. Every kernel here
 * takes these steps. A tile that does not take a point (winograd_transform.cl) is left out of its chain, or adds 0 * 0.
 *
 * Transformed tiles are [channels / VECTOR][point][tile][VECTOR], in global memory of each point those that take it, `pitch`
 * tiles apart from point to point, with zeros past the last channel. Sums are register tiles of ROWS outputs times LANES input channels.
 *
 * WINOGRAD_OUTPUTS, WINOGRAD_TAPS  as winograd_transform.cl's
 * VECTOR   width of a vector: 1, 4, 8, 16; a multiple of ROWS
 * VECTORS  vectors in a tile's row: 1, 2
 * ROWS     rows of a tile, which are outputs
 * PLACE    0: transformed tiles in global memory, sums in local; 1: the other way round; 2: in global and in private
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
#ifndef PLACE
#define PLACE 0
#endif
#include "winograd_transform.cl"

#if PLACE == 0
#define TILES __global
#define SUMS __local
#define RESULTS __local
#elif PLACE == 1
#define TILES __local
#define SUMS __global
#define RESULTS
#else
#define TILES __global
#define SUMS
#define RESULTS
#endif
#define OUTPUTS WINOGRAD_OUTPUTS
#define TAPS WINOGRAD_TAPS
#define SIZE WINOGRAD_SIZE
#define POINTS WINOGRAD_POINTS
#define LANES (VECTOR * VECTORS)
#if VECTORS == 2
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1)
#else
#define EACH_VECTOR(i, F) F(i, 0)
#endif

typedef LW_FLOAT(VECTOR) vector;

static inline vector load_channels(__global const float *from, int count)
{
	if (count >= VECTOR)
		return LW_LOAD(VECTOR, from);
	if (count <= 0)
		return (vector)(0.0f);
	return LW_LOAD_PART(VECTOR, from, count);
}

/* A of a line of named variables, as winograd_transform.cl has them */
#if SIZE == 4
#define GRADIENT_LINE(n) WINOGRAD_OUTPUT_ADJOINT_2_3(vector, d0, d1, o0, o1, o2, o3)
#elif TAPS == 3
#define GRADIENT_LINE(n) WINOGRAD_OUTPUT_ADJOINT_4_3(vector, n, d0, d1, d2, d3, o0, o1, o2, o3, o4, o5)
#else
#define GRADIENT_LINE(n) WINOGRAD_OUTPUT_ADJOINT_2_5(vector, d0, d1, o0, o1, o2, o3, o4, o5)
#endif

/* G^T of neighbours, to every `step`-th vector */
static inline void transform_sums(const vector *u, vector *w, int step)
{
#if SIZE == 4
	WINOGRAD_FILTER_ADJOINT_2_3(vector, u[0], u[1], u[2], u[3], w[0], w[step], w[2 * step])
#elif TAPS == 3
	WINOGRAD_FILTER_ADJOINT_4_3(vector, u[0], u[1], u[2], u[3], u[4], u[5], w[0], w[step], w[2 * step])
#else
	WINOGRAD_FILTER_ADJOINT_2_5(vector, u[0], u[1], u[2], u[3], u[4], u[5], w[0], w[step], w[2 * step], w[3 * step], w[4 * step])
#endif
}

/* Tiles along a side of `length` outputs that take point i: all, or all but the last */
static inline int takers(int i, int length)
{
	const int tiles = (length + OUTPUTS - 1) / OUTPUTS, last = WINOGRAD_SIDE(length - (tiles - 1) * OUTPUTS);
	return WINOGRAD_HAS_POINT(i, last) ? tiles : tiles - 1;
}

/* A tile of the outputs, of which an image has height x width; `at`: its place among those that lie in local memory */
typedef struct place {
	int image, row, column, height, width, at;
} place;

/* with a hint of what the tile after the next one on the same rows has there */
#define LOAD_WHOLE(i)                                                                                                  \
	d##i = LW_LOAD(VECTOR, from + i * row);                                                                        \
	LW_AHEAD(from + (i * row + 2 * OUTPUTS * channels))
#define LOAD_PART(i)                                                                                                   \
	d##i = load_channels(from + i * row, top + i >= 0 && top + i < height && left + j >= 0 && left + j < width ? count : 0);
#define KEEP(i) between[i * SIZE + j] = o##i;
#define LOAD_BETWEEN(j) d##j = between[i * SIZE + j];

/* The points (i, 0) to (i, SIZE - 1) of a tile, o0 .. , or those of them that it takes, to their places, pitch floats apart */
#if PLACE == 1
#define STORE_POINT(j) LW_STORE(VECTOR, o##j, to + ((i * SIZE + j) * pitch + tile.at * VECTOR));
#else
#define STORE_POINT(j)                                                                                                 \
	if (WINOGRAD_HAS_POINT(i, rows) && WINOGRAD_HAS_POINT(j, columns))                                             \
		LW_STORE(VECTOR, o##j, to + ((i * SIZE + j) * pitch + place_of(tile, i, j) * VECTOR));
#endif

/* Which of the tiles that take point (i, j) a tile is */
static inline int place_of(place tile, int i, int j)
{
	return (tile.image * takers(i, tile.height) + tile.row) * takers(j, tile.width) + tile.column;
}

/* V of one tile and VECTOR channels, `count` of which there are, of an image of x that starts at the first of them */
static inline void input_tile(TILES float *to, size_t pitch, __global const float *image, place tile, int pad_height, int pad_width,
			      int height, int width, int channels, int count)
{
	const int rows = WINOGRAD_SIDE(tile.height - tile.row * OUTPUTS), columns = WINOGRAD_SIDE(tile.width - tile.column * OUTPUTS);
	const int top = tile.row * OUTPUTS - pad_height, left = tile.column * OUTPUTS - pad_width;
	const bool whole = count >= VECTOR && top >= 0 && left >= 0 && top + SIZE <= height && left + SIZE <= width;
	const long row = (long)width * channels;
	vector between[SIZE * SIZE];
	EACH_POINT(DECLARE_IN)
	EACH_POINT(DECLARE_OUT)

	for (int j = 0; j < columns + TAPS - 1; j++) {
		__global const float *from = image + (top * row + (left + j) * channels);
		if (whole) {
			EACH_POINT(LOAD_WHOLE)
		} else {
			EACH_POINT(LOAD_PART)
		}
		INPUT_LINE(rows)
		EACH_POINT(KEEP)
	}
	for (int i = 0; i < SIZE; i++) {
		EACH_POINT(LOAD_BETWEEN)
		INPUT_LINE(columns)
		EACH_POINT(STORE_POINT)
	}
}

/* M likewise, of an image of the output's gradient */
static inline void gradient_tile(TILES float *to, size_t pitch, __global const float *image, place tile, int channels, int count)
{
	const int height = tile.height, width = tile.width, top = tile.row * OUTPUTS, left = tile.column * OUTPUTS;
	const int rows = WINOGRAD_SIDE(height - top), columns = WINOGRAD_SIDE(width - left);
	const bool whole = count >= VECTOR && top + OUTPUTS <= height && left + OUTPUTS <= width;
	const long row = (long)width * channels;
	vector between[SIZE * SIZE];
	EACH_OUTPUT(DECLARE_IN)
	EACH_POINT(DECLARE_OUT)

	for (int j = 0; j < columns; j++) {
		__global const float *from = image + (top * row + (left + j) * channels);
		if (whole) {
			EACH_OUTPUT(LOAD_WHOLE)
		} else {
			EACH_OUTPUT(LOAD_PART)
		}
		GRADIENT_LINE(rows)
		EACH_POINT(KEEP)
	}
	for (int i = 0; i < SIZE; i++) {
		EACH_OUTPUT(LOAD_BETWEEN)
		GRADIENT_LINE(columns)
		EACH_POINT(STORE_POINT)
	}
}

/* ids: row of tiles over the batch, VECTOR channels */
__kernel void transform_inputs(__global const float *restrict x, __global float *restrict tiles, int height, int width,
			       int channels, int out_height, int out_width, int pad_height, int pad_width, int pitch)
{
	const int down = (out_height + OUTPUTS - 1) / OUTPUTS, c = (int)get_global_id(1) * VECTOR;
	__global float *to = tiles + (size_t)get_global_id(1) * POINTS * pitch * VECTOR;
	place tile = {get_global_id(0) / down, get_global_id(0) % down, 0, out_height, out_width, 0};

	for (; tile.column * OUTPUTS < out_width; tile.column++)
		input_tile(to, (size_t)pitch * VECTOR, x + (size_t)tile.image * height * width * channels + c, tile, pad_height,
			   pad_width, height, width, channels, channels - c);
}

/* ids: row of tiles over the batch, VECTOR outputs; the transformed tiles begin at `base` */
__kernel void transform_gradients(__global const float *restrict gy, __global float *restrict tiles, int height, int width,
				  int channels, int pitch, int base)
{
	const int down = (height + OUTPUTS - 1) / OUTPUTS, k = (int)get_global_id(1) * VECTOR;
	__global float *to = tiles + base + (size_t)get_global_id(1) * POINTS * pitch * VECTOR;
	place tile = {get_global_id(0) / down, get_global_id(0) % down, 0, height, width, 0};

	for (; tile.column * OUTPUTS < width; tile.column++)
		gradient_tile(to, (size_t)pitch * VECTOR, gy + (size_t)tile.image * height * width * channels + k, tile, channels,
			      channels - k);
}

#define DECLARE_ONE(i, j) vector c##i##_##j = (vector)(0.0f);
#define DECLARE(i) EACH_VECTOR(i, DECLARE_ONE)
#define LOAD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, sums + i * LANES + j * VECTOR);
#define LOAD(i) EACH_VECTOR(i, LOAD_ONE)
#define STORE_ONE(i, j) LW_STORE(VECTOR, c##i##_##j, sums + i * LANES + j * VECTOR);
#define STORE(i) EACH_VECTOR(i, STORE_ONE)
#define STEP_ONE(i, j) c##i##_##j = fma(value##i, b##j, c##i##_##j);
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(m[i]);                                                                        \
	EACH_VECTOR(i, STEP_ONE)

/* No restrict here: inlined it becomes what Oclgrind cannot run. One point of `count` tiles: chains from 0, or from the sums where `started`. `next`: floats to the next vector of v */
static inline void sum_point(SUMS float *sums, TILES const float *v, size_t next, TILES const float *m, int count, int started)
{
	LW_EACH(ROWS, DECLARE)

	if (started) {
		LW_EACH(ROWS, LOAD)
	}
	for (int t = 0; t < count; t++) {
		const vector b0 = LW_LOAD(VECTOR, v);
#if VECTORS == 2
		const vector b1 = LW_LOAD(VECTOR, v + next);
#endif
		LW_EACH(ROWS, STEP)
		v += VECTOR;
		m += VECTOR;
	}
	LW_EACH(ROWS, STORE)
}

/*
 * G^T of the sum of a slice's parts, G of VECTOR input channels and an output: a vector of each tap, `to_pitch` floats apart. It
 * is joined with those of slices that wait `waiting` floats behind `to`, two of them, or waits itself; the last one's is at `to`.
 */
static inline void transform_slice(SUMS const float *sums, size_t pitch, int parts, size_t part_pitch, int slice, int slices,
				   RESULTS float *to, size_t to_pitch, size_t waiting)
{
	vector column[SIZE], between[TAPS * SIZE], row[TAPS];
	const vector zero = (vector)(LW_ZERO(slices));
	const size_t second = waiting + TAPS * TAPS * to_pitch, place = slice == slices - 1 ? 0 : slice == 1 ? second : waiting;

#pragma unroll
	for (int j = 0; j < SIZE; j++) {
#pragma unroll
		for (int i = 0; i < SIZE; i++) {
			SUMS const float *from = sums + (i * SIZE + j) * pitch;
			column[i] = LW_LOAD(VECTOR, from);
			for (int part = 1; part < parts; part++)
				column[i] = column[i] + LW_LOAD(VECTOR, from + part * part_pitch);
		}
		transform_sums(column, between + j, SIZE);
	}
#pragma unroll
	for (int r = 0; r < TAPS; r++) {
		transform_sums(between + r * SIZE, row, 1);
#pragma unroll
		for (int s = 0; s < TAPS; s++) {
			RESULTS float *at = to + (r * TAPS + s) * to_pitch;
			vector sum = row[s] + zero;
			if (slice % 2)
				sum = LW_LOAD(VECTOR, at + waiting) + sum;
			if (slice == 3)
				sum = LW_LOAD(VECTOR, at + second) + sum;
			LW_STORE(VECTOR, sum, at + place);
		}
	}
}

/* Those vectors to the weight's gradient, the first `count` of their channels. */
static inline void store_taps(RESULTS const float *from, size_t pitch, __global float *to, int count)
{
	for (int lane = 0; lane < min(VECTOR, count); lane++)
		for (int tap = 0; tap < TAPS * TAPS; tap++)
			to[lane * TAPS * TAPS + tap] = from[tap * pitch + lane];
}

#if PLACE != 0
/* The gradient of VECTOR input channels and an output: of each slice's parts its own, joined */
static inline void finish(SUMS const float *sums, size_t pitch, int parts, int slices, size_t part_pitch, __global float *to, int count)
{
	float result[3 * TAPS * TAPS * VECTOR];

	for (int slice = 0; slice < slices; slice++)
		transform_slice(sums + slice * (parts / slices) * part_pitch, pitch, parts / slices, part_pitch, slice, slices, result,
				VECTOR, TAPS * TAPS * VECTOR);
	store_taps(result, VECTOR, to, count);
}
#endif

#if PLACE == 0
/*
 * ids: LANES channels, `depth` register tiles of outputs, which go through `batch` tiles of the images at a time. scratch:
 * sums of POINTS + 1 times `depth` register tiles; the first of them become the gradient, a tap each, of a slice; and what waits
 * of other slices.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
sum_tiles(__global const float *restrict tiles, __global float *restrict gradient, __local float *restrict scratch, int channels,
	  int outputs, int images, int height, int width, int pitch, int base, int parts, int slices, int depth, int batch)
{
	const int c = (int)get_group_id(0) * LANES, k = (int)get_group_id(1) * depth * ROWS;
	const int blocks = min(depth, (outputs - k + ROWS - 1) / ROWS), size = depth * ROWS * LANES;
	const size_t next = (size_t)POINTS * pitch * VECTOR;
	__local float *apart = scratch + POINTS * size;

	for (int slice = 0; slice < slices; slice++) {
		const int first_part = parts / slices * slice, end_part = first_part + parts / slices;
		for (int point = 0; point < POINTS; point++) {
			const int image_tiles = takers(point / SIZE, height) * takers(point % SIZE, width);
			__global const float *v = tiles + ((size_t)get_group_id(0) * VECTORS * POINTS + point) * pitch * VECTOR;
			__local float *sums = scratch + point * size;
			for (int part = first_part; part < end_part; part++) {
				const int begin = (int)((long)images * part / parts) * image_tiles;
				const int end = (int)((long)images * (part + 1) / parts) * image_tiles;
				__local float *to = part > first_part ? apart : sums;
				/* once where no tile takes the point: its sums are 0 */
				for (int tile = begin; tile == begin || tile < end; tile += batch)
					for (int block = 0; block < blocks; block++) {
						const int row = k + block * ROWS;
						__global const float *m =
							tiles + base + ((size_t)(row / VECTOR) * POINTS + point) * pitch * VECTOR + row % VECTOR;
						sum_point(to + block * ROWS * LANES, v + (size_t)tile * VECTOR, next,
							  m + (size_t)tile * VECTOR, min(batch, end - tile), tile > begin);
					}
				if (part > first_part)
					for (int i = 0; i < blocks * ROWS * LANES; i += VECTOR)
						LW_STORE(VECTOR, LW_LOAD(VECTOR, sums + i) + LW_LOAD(VECTOR, apart + i), sums + i);
			}
		}
		for (int i = 0; i < blocks * ROWS * LANES; i += VECTOR)
			transform_slice(scratch + i, size, 1, 0, slice, slices, scratch + i, size, (POINTS + 1) * size);
	}
	for (int i = 0; i < min(blocks * ROWS, outputs - k); i++)
		for (int j = 0; j < LANES && c + j < channels; j += VECTOR)
			store_taps(scratch + i * LANES + j, size, gradient + ((size_t)(k + i) * channels + c + j) * TAPS * TAPS,
				   channels - c - j);
}
#endif

#if PLACE == 1
/*
 * ids: part of the batch, `wide` register tiles of channels, `deep` of outputs. Transforms `batch` tiles of the images at a
 * time. partial is [part][point][register tile of channels][of outputs][ROWS][LANES], `point_pitch` floats apart from point to point.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
fused_tiles(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
	    __local float *restrict scratch, int height, int width, int channels, int out_height, int out_width, int outputs,
	    int pad_height, int pad_width, int images, int down, int across, int point_pitch, int wide, int deep, int batch)
{
	const int part = get_group_id(0), parts = get_num_groups(0);
	const int columns = (channels + LANES - 1) / LANES, rows = (outputs + ROWS - 1) / ROWS;
	const int column_begin = (int)get_group_id(1) * wide, column_end = min(columns, column_begin + wide);
	const int row_begin = (int)get_group_id(2) * deep, row_end = min(rows, row_begin + deep);
	const int begin = (int)((long)images * part / parts) * down * across;
	const int end = (int)((long)images * (part + 1) / parts) * down * across;
	const size_t pitch = (size_t)(batch | 1) * VECTOR;
	__local float *v = scratch, *m = scratch + (size_t)wide * VECTORS * POINTS * pitch;

	for (int first = begin; first < end; first += batch) {
		const int count = min(batch, end - first);
		for (int t = 0; t < count; t++) {
			const place tile = {(first + t) / (down * across), (first + t) / across % down, (first + t) % across,
					    out_height, out_width, t};
			__global const float *from = x + (size_t)tile.image * height * width * channels;
			__global const float *gradient = gy + (size_t)tile.image * out_height * out_width * outputs;
			for (int i = 0; i < (column_end - column_begin) * VECTORS; i++) {
				const int c = column_begin * LANES + i * VECTOR;
				input_tile(v + i * POINTS * pitch, pitch, from + c, tile, pad_height, pad_width, height, width, channels,
					   channels - c);
			}
			for (int k = row_begin * ROWS; k < row_end * ROWS; k += VECTOR)
				gradient_tile(m + (k - row_begin * ROWS) / VECTOR * POINTS * pitch, pitch, gradient + k, tile, outputs,
					      outputs - k);
		}
		for (int point = 0; point < POINTS; point++) {
			__global float *sums = partial + ((size_t)part * POINTS + point) * point_pitch;
			for (int column = column_begin; column < column_end; column++)
				for (int row = row_begin; row < row_end; row++) {
					const int k = (row - row_begin) * ROWS;
					sum_point(sums + (column * rows + row) * ROWS * LANES,
						  v + ((column - column_begin) * VECTORS * POINTS + point) * pitch, POINTS * pitch,
						  m + (k / VECTOR * POINTS + point) * pitch + k % VECTOR, count, first > begin);
				}
		}
	}
}

/* ids: register tile of channels, of outputs. After fused_tiles */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
sum_parts(__global const float *restrict partial, __global float *restrict gradient, int channels, int outputs, int parts,
	  int slices, int point_pitch)
{
	const int column = get_group_id(0), row = get_group_id(1), rows = get_num_groups(1), k = row * ROWS, c = column * LANES;
	__global const float *sums = partial + (column * rows + row) * ROWS * LANES;

	for (int i = 0; i < min(ROWS, outputs - k); i++)
		for (int j = 0; j < LANES && c + j < channels; j += VECTOR)
			finish(sums + i * LANES + j, point_pitch, parts, slices, (size_t)POINTS * point_pitch,
			       gradient + ((size_t)(k + i) * channels + c + j) * TAPS * TAPS, channels - c - j);
}
#endif

#if PLACE == 2
/* ids: channel, output; VECTOR, VECTORS, ROWS 1. As sum_tiles */
__kernel void sum_tiles_simple(__global const float *restrict tiles, __global float *restrict gradient, int images, int height,
			       int width, int pitch, int base, int parts, int slices)
{
	const int c = get_global_id(0), k = get_global_id(1), channels = get_global_size(0);
	float sums[4 * POINTS];

	for (int point = 0; point < POINTS; point++) {
		const int image_tiles = takers(point / SIZE, height) * takers(point % SIZE, width);
		__global const float *v = tiles + ((size_t)c * POINTS + point) * pitch;
		__global const float *m = tiles + base + ((size_t)k * POINTS + point) * pitch;
		for (int part = 0; part < parts; part++) {
			const int begin = (int)((long)images * part / parts) * image_tiles;
			const int end = (int)((long)images * (part + 1) / parts) * image_tiles;
			float *to = sums + part / (parts / slices) * POINTS + point, sum = 0.0f;
			for (int tile = begin; tile < end; tile++)
				sum = fma(m[tile], v[tile], sum);
			*to = part % (parts / slices) ? *to + sum : sum;
		}
	}
	finish(sums, 1, slices, slices, POINTS, gradient + ((size_t)k * channels + c) * TAPS * TAPS, 1);
}
#endif
