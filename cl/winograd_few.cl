/*
 * winograd_few.cl: F(4x4, 3x3) from few input channels, for CPUs: forward and backward of the weight. One work-item per
 * work-group; vectors lie along the output channels. With so few channels the transforms are most of the work, so what
 * lies between them stays in registers. All tiles are whole. The steps are those of winograd.cl and winograd_weight.cl.
 *
 * A strip is neighbours in a row of tiles. B^T goes down the columns of all its pixels at once, as they lie in x, then along
 * the rows of as many tiles as begin in a vector. Points of these tiles are V[tiles]
 * [point][VECTOR]: channel c of the n-th of them is lane n * TILE_PITCH + c.
 *
 * CHANNELS  input channels: 1 .. 4, no more than VECTOR
 */
#ifndef CHANNELS
#define CHANNELS 3
#endif
#include "winograd_transform.cl"
#include "tile.cl"

#define SIZE 6
#define POINTS 36
#define SIDE 4
#define TILE_PITCH (SIDE * CHANNELS)
#define TILES_PER_VECTOR ((VECTOR - CHANNELS) / TILE_PITCH + 1)

#if CHANNELS == 1
#define EACH_CHANNEL(i, F) F(i, 0)
#elif CHANNELS == 2
#define EACH_CHANNEL(i, F) F(i, 0) F(i, 1)
#elif CHANNELS == 3
#define EACH_CHANNEL(i, F) F(i, 0) F(i, 1) F(i, 2)
#else
#define EACH_CHANNEL(i, F) F(i, 0) F(i, 1) F(i, 2) F(i, 3)
#endif

/* Where the points of tile t begin, and floats of those of `count` tiles. */
#define PLACE_OF(t) ((t) / TILES_PER_VECTOR * POINTS * VECTOR + (t) % TILES_PER_VECTOR * TILE_PITCH)
#define POINTS_OF(count) (((count) + TILES_PER_VECTOR - 1) / TILES_PER_VECTOR * POINTS * VECTOR)
/* Floats from row to row of what B^T has gone down of a strip: past each, room for a vector. */
#define PITCH_OF(count) (((count) * SIDE + 2) * CHANNELS + VECTOR)

#define LOAD_ROW(i)                                                                                                    \
	d##i = (vector)(0.0f);                                                                                         \
	if (top + i >= 0 && top + i < height)                                                                          \
		d##i = load_some(image + (long)(top + i) * width * CHANNELS + at, end - begin);
#define KEEP_ROW(i) LW_STORE(VECTOR, o##i, halves + i * pitch + f);
#define CLEAR_ROW(i) LW_STORE(VECTOR, (vector)(0.0f), halves + i * pitch + f);
#define LOAD_COLUMN(j) d##j = LW_LOAD(VECTOR, halves + i * pitch + n * TILES_PER_VECTOR * TILE_PITCH + j * CHANNELS);
#define KEEP_POINT(j) LW_STORE(VECTOR, o##j, v + ((n * SIZE + i) * SIZE + j) * VECTOR);

/*
 * V of the strip of `count` tiles whose first begins at pixel (top, left) of an image of x. Rows of halves are in floats;
 * begin .. end is in the image. Vectors reach past what their tiles need, but no tile takes these lanes.
 */
static inline void transform_strip(__local float *v, __local float *halves, __global const float *image, int top, int left,
				   int height, int width, int count)
{
	const int row = (count * SIDE + 2) * CHANNELS, pitch = PITCH_OF(count);
	const int begin = clamp(-left * CHANNELS, 0, row), end = clamp((width - left) * CHANNELS, begin, row);
	EACH_POINT(DECLARE_IN)
	EACH_POINT(DECLARE_OUT)

	for (int f = 0; f < begin; f += VECTOR) {
		EACH_POINT(CLEAR_ROW)
	}
	for (int next = begin; next < end; next += VECTOR) {
		/* the last ones once more, rather than what is not theirs */
		const int f = max(begin, min(next, end - VECTOR)), at = left * CHANNELS + f;
		EACH_POINT(LOAD_ROW)
		INPUT_LINE(SIDE)
		EACH_POINT(KEEP_ROW)
	}
	for (int f = end; f < row; f += VECTOR) {
		EACH_POINT(CLEAR_ROW)
	}
	for (int n = 0; n * TILES_PER_VECTOR < count; n++)
		for (int i = 0; i < SIZE; i++) {
			EACH_POINT(LOAD_COLUMN)
			INPUT_LINE(SIDE)
			EACH_POINT(KEEP_POINT)
		}
}

/* Points of column j, and A^T down it. */
#define CLEAR_POINT(i) vector d##i = (vector)(0.0f);
#define MULTIPLY_ONE(i, c)                                                                                             \
	d##i = fma((vector)(point[i * SIZE * VECTOR + c]),                                                             \
		   LW_LOAD(VECTOR, filter + (i * SIZE * CHANNELS + c) * VECTOR), d##i);
#define MULTIPLY(_, c)                                                                                                 \
	MULTIPLY_ONE(0, c) MULTIPLY_ONE(1, c) MULTIPLY_ONE(2, c) MULTIPLY_ONE(3, c) MULTIPLY_ONE(4, c) MULTIPLY_ONE(5, c)
#define COLUMN(j)                                                                                                      \
	vector m0##j, m1##j, m2##j, m3##j;                                                                             \
	{                                                                                                              \
		__local const float *point = v + j * VECTOR;                                                           \
		__global const float *filter = u + j * CHANNELS * VECTOR;                                              \
		EACH_POINT(CLEAR_POINT)                                                                                \
		EACH_CHANNEL(, MULTIPLY)                                                                               \
		WINOGRAD_OUTPUT_4_3(vector, SIDE, d0, d1, d2, d3, d4, d5, m0##j, m1##j, m2##j, m3##j)                        \
	}
#define ROW(p)                                                                                                         \
	vector r##p##0, r##p##1, r##p##2, r##p##3;                                                                     \
	WINOGRAD_OUTPUT_4_3(vector, SIDE, m##p##0, m##p##1, m##p##2, m##p##3, m##p##4, m##p##5, r##p##0, r##p##1, r##p##2, r##p##3)
#define EACH_RESULT(F)                                                                                                 \
	F(0, 0) F(0, 1) F(0, 2) F(0, 3) F(1, 0) F(1, 1) F(1, 2) F(1, 3)                                                \
	F(2, 0) F(2, 1) F(2, 2) F(2, 3) F(3, 0) F(3, 1) F(3, 2) F(3, 3)
#define ADD_BIAS(p, q) r##p##q = r##p##q + add;
#define END_RESULT(p, q) r##p##q = r##p##q + zero;
#define RELU_RESULT(p, q) r##p##q = select(r##p##q, (vector)(0.0f), r##p##q <= (vector)(0.0f));
#define STORE_RESULT(p, q) LW_STORE(VECTOR, r##p##q, y + (p * pitch + q * outputs));
#define KEEP_RESULT(p, q) LW_STORE(VECTOR, r##p##q, room + (p * SIDE + q) * VECTOR);

/* `count` outputs of a tile at y, whose rows are `pitch` floats apart. What is less than a vector goes by way of room. */
static inline void multiply_tile(__local const float *v, __global const float *u, __global float *y, __local float *room,
				 __global const float *bias, vector zero, size_t pitch, int outputs, int count, int relu)
{
	COLUMN(0) COLUMN(1) COLUMN(2) COLUMN(3) COLUMN(4) COLUMN(5)
	ROW(0) ROW(1) ROW(2) ROW(3)
	if (bias) {
		const vector add = load_some(bias, count);
		EACH_RESULT(ADD_BIAS)
	}
	EACH_RESULT(END_RESULT)
	if (relu) {
		EACH_RESULT(RELU_RESULT)
	}
	if (count >= VECTOR) {
		EACH_RESULT(STORE_RESULT)
		return;
	}
	EACH_RESULT(KEEP_RESULT)
	for (int p = 0; p < SIDE; p++)
		for (int q = 0; q < SIDE; q++)
			for (int lane = 0; lane < count; lane++)
				y[p * pitch + q * outputs + lane] = room[(p * SIDE + q) * VECTOR + lane];
}

/*
 * ids: share of the `rows` rows of tiles, share of the blocks of outputs. u: as winograd_filter has it, a vector in a block; no
 * restrict, or compilers load all of it before the tiles, into more registers than there are.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_few(__global const float *restrict x, __global const float *u, __global const float *restrict bias, __global float *y,
	     __local float *restrict v, int height, int width, int out_height, int out_width,
	     int outputs, int pad_height, int pad_width, int rows, int tiles_down, int tiles_across, int strip, int blocks,
	     int relu)
{
	const int begin = (int)((long)rows * get_group_id(0) / get_num_groups(0));
	const int end = (int)((long)rows * (get_group_id(0) + 1) / get_num_groups(0));
	const vector zero = (vector)(LW_ZERO(height));
	__local float *halves = v + POINTS_OF(strip);

	for (int row = begin; row < end; row++)
	for (int first = 0; first < tiles_across; first += strip) {
		const int image = row / tiles_down, top = row % tiles_down * SIDE, count = min(strip, tiles_across - first);

		transform_strip(v, halves, x + (size_t)image * height * width * CHANNELS, top - pad_height,
				first * SIDE - pad_width, height, width, count);
		for (int t = 0; t < count; t++)
			for (int block = get_group_id(1); block < blocks; block += get_num_groups(1)) {
				const int left = (first + t) * SIDE, k = block * VECTOR;
				multiply_tile(v + PLACE_OF(t), u + (size_t)block * POINTS * CHANNELS * VECTOR,
					      y + (((size_t)image * out_height + top) * out_width + left) * outputs + k, halves,
					      bias ? bias + k : bias, zero, (size_t)out_width * outputs, outputs, outputs - k, relu);
			}
	}
}

#define LOAD_OUTPUT(i) d##i = load_some(gy + i * pitch + j * outputs, count);
#define KEEP_GRADIENT(i) LW_STORE(VECTOR, o##i, to + (i * SIDE + j) * VECTOR);

/* A down the columns of a tile of the output's gradient; the arguments are as multiply_tile's. */
static inline void transform_gradient(__local float *to, __global const float *gy, size_t pitch, int outputs, int count)
{
	EACH_OUTPUT(DECLARE_IN)
	EACH_POINT(DECLARE_OUT)

	for (int j = 0; j < SIDE; j++) {
		EACH_OUTPUT(LOAD_OUTPUT)
		WINOGRAD_OUTPUT_ADJOINT_4_3(vector, SIDE, d0, d1, d2, d3, o0, o1, o2, o3, o4, o5)
		EACH_POINT(KEEP_GRADIENT)
	}
}

#define CLEAR_SUM_ONE(j, c) vector s##j##_##c = (vector)(0.0f);
#define CLEAR_SUM(j) EACH_CHANNEL(j, CLEAR_SUM_ONE)
#define LOAD_SUM_ONE(j, c) s##j##_##c = LW_LOAD(VECTOR, sums + (j * CHANNELS + c) * VECTOR);
#define LOAD_SUM(j) EACH_CHANNEL(j, LOAD_SUM_ONE)
#define STORE_SUM_ONE(j, c) LW_STORE(VECTOR, s##j##_##c, sums + (j * CHANNELS + c) * VECTOR);
#define STORE_SUM(j) EACH_CHANNEL(j, STORE_SUM_ONE)
#define LOAD_GRADIENT(j) const vector d##j = LW_LOAD(VECTOR, gradients + (t * SIZE * SIDE + j) * VECTOR);
#define ADD_ONE(j, c) s##j##_##c = fma((vector)(point[j * VECTOR + c]), o##j, s##j##_##c);
#define ADD(j) EACH_CHANNEL(j, ADD_ONE)

#define AHEAD(j) LW_AHEAD(ahead + (t * SIDE + j) * outputs)

/*
 * One row of points, of a strip of tiles: the rest of A along it, and on with the chains in sums, or from 0. Meanwhile a
 * row of the gradient that is soon read comes from memory.
 */
static inline void sum_row(__global float *sums, __local const float *v, __local const float *gradients, int count, int started,
			   __global const float *ahead, int outputs)
{
	EACH_POINT(CLEAR_SUM)

	if (started) {
		EACH_POINT(LOAD_SUM)
	}
	for (int t = 0; t < count; t++) {
		__local const float *point = v + PLACE_OF(t);
		EACH_OUTPUT(AHEAD)
		EACH_OUTPUT(LOAD_GRADIENT)
		EACH_POINT(DECLARE_OUT)
		WINOGRAD_OUTPUT_ADJOINT_4_3(vector, SIDE, d0, d1, d2, d3, o0, o1, o2, o3, o4, o5)
		EACH_POINT(ADD)
	}
	EACH_POINT(STORE_SUM)
}

/* ids: part of the batch, share of the blocks of outputs. partial: [part][block][point][channel][VECTOR] */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_few_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
		    __local float *restrict v, int height, int width, int out_height, int out_width, int outputs,
		    int pad_height, int pad_width, int images, int tiles_down, int tiles_across, int strip, int blocks)
{
	const int begin = (int)((long)images * get_group_id(0) / get_num_groups(0)) * tiles_down;
	const int end = (int)((long)images * (get_group_id(0) + 1) / get_num_groups(0)) * tiles_down;
	__local float *gradients = v + POINTS_OF(strip), *halves = gradients + strip * SIZE * SIDE * VECTOR;

	for (int row = begin; row < end; row++)
	for (int first = 0; first < tiles_across; first += strip) {
		const int image = row / tiles_down, top = row % tiles_down * SIDE, count = min(strip, tiles_across - first);
		const size_t pitch = (size_t)out_width * outputs;
		__global const float *from = gy + ((size_t)image * out_height + top) * pitch + (size_t)first * SIDE * outputs;
		/* the next strip */
		__global const float *ahead = first + count < tiles_across ? from + (size_t)count * SIDE * outputs
									   : from + SIDE * pitch - (size_t)first * SIDE * outputs;

		transform_strip(v, halves, x + (size_t)image * height * width * CHANNELS, top - pad_height,
				first * SIDE - pad_width, height, width, count);
		for (int block = get_group_id(1); block < blocks; block += get_num_groups(1)) {
			const int k = block * VECTOR;
			__global float *sums = partial + ((size_t)get_group_id(0) * blocks + block) * POINTS * CHANNELS * VECTOR;
			for (int t = 0; t < count; t++)
				transform_gradient(gradients + t * SIZE * SIDE * VECTOR, from + (size_t)t * SIDE * outputs + k,
						   pitch, outputs, outputs - k);
			for (int i = 0; i < SIZE; i++)
				sum_row(sums + i * SIZE * CHANNELS * VECTOR, v + i * SIZE * VECTOR,
					gradients + i * SIDE * VECTOR, count, row > begin || first > 0,
					ahead + min(i, SIDE - 1) * pitch + k, outputs);
		}
	}
}

#define LOAD_POINT(i)                                                                                                  \
	d##i = LW_LOAD(VECTOR, sums + (i * SIZE + j) * CHANNELS * VECTOR);                                             \
	for (int part = 1; part < parts; part++)                                                                       \
		d##i = d##i + LW_LOAD(VECTOR, sums + part * pitch + (i * SIZE + j) * CHANNELS * VECTOR);
#define LOAD_HALF_TAP(j) d##j = halves[r * SIZE + j];

/* G^T of the sum of the parts: the taps of VECTOR outputs */
static inline void transform_sums(__global const float *sums, int parts, size_t pitch, vector *taps)
{
	const vector zero = (vector)(LW_ZERO(parts));
	vector halves[3 * SIZE], o0, o1, o2;
	EACH_POINT(DECLARE_IN)

	for (int j = 0; j < SIZE; j++) {
		EACH_POINT(LOAD_POINT)
		WINOGRAD_FILTER_ADJOINT_4_3(vector, d0, d1, d2, d3, d4, d5, o0, o1, o2)
		halves[j] = o0;
		halves[SIZE + j] = o1;
		halves[2 * SIZE + j] = o2;
	}
	for (int r = 0; r < 3; r++) {
		EACH_POINT(LOAD_HALF_TAP)
		WINOGRAD_FILTER_ADJOINT_4_3(vector, d0, d1, d2, d3, d4, d5, o0, o1, o2)
		taps[r * 3] = o0 + zero;
		taps[r * 3 + 1] = o1 + zero;
		taps[r * 3 + 2] = o2 + zero;
	}
}

/* ids: block of outputs, channel. Joins the parts, and what the slices are. */
#define SLICE(slice) taps[(slice) * 9 + tap]
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_few_sum(__global const float *restrict partial, __global float *restrict gradient, int outputs, int parts, int slices)
{
	const int block = get_group_id(0), c = get_group_id(1), k = block * VECTOR;
	const size_t pitch = (size_t)get_num_groups(0) * POINTS * CHANNELS * VECTOR;
	__global const float *sums = partial + (block * POINTS * CHANNELS + c) * VECTOR;
	__global float *to = gradient + (k * CHANNELS + c) * 9;
	vector taps[4 * 9];
	float lanes[VECTOR];

	for (int slice = 0; slice < slices; slice++)
		transform_sums(sums + slice * (parts / slices) * pitch, parts / slices, pitch, taps + slice * 9);
	for (int tap = 0; tap < 9; tap++) {
		LW_SUM_PARTS(vector, sum, slices, slices, SLICE)
		LW_STORE(VECTOR, sum, lanes);
		for (int lane = 0; lane < min(VECTOR, outputs - k); lane++)
			to[lane * CHANNELS * 9 + tap] = lanes[lane];
	}
}
