/*
 * winograd.cl: Winograd's convolutions for CPUs, forward and backward of the data (which is a forward pass of the output's
 * gradient with the filter turned around): one work-item per work-group, register tiles of vectors along the outputs.
 *
 * The algorithm: the input's tiles, zeros outside the image, and the filters are taken to their points by the steps of
 * winograd_transform.cl, down the columns first, then along the rows. For every point and output one chain
 * acc = fma(input, filter, acc) over the input's channels ascending from 0. The points are taken to the outputs, down the
 * columns first, then bias, LW_ZERO, and relu or mask.
 *
 * Filters U are [block of LANES outputs][point][channel][LANES], zeros past the last output. Points of the input V are
 * [block of BLOCK channels][ROWS tiles][point][tile][BLOCK], those of the output M [ROWS tiles][point][tile][LANES]. Either one
 * work-group does everything for some tiles (winograd_fused: V and M in local memory), or three kernels go over V and M of many
 * tiles in global memory, so that U is read once, or U, larger than V, is never written there: a work-group transforms the
 * filters of some channels at a time and adds their part to M (winograd_chunk).
 *
 * FORM  0: V and M are in local memory, 1: in global memory, 2: so, and U is in local memory
 */
#include "winograd_transform.cl"
#include "tile.cl"

#ifndef FORM
#define FORM 0
#endif
#if FORM == 0
#define SPACE __local
#else
#define SPACE __global
#endif
#if FORM == 2
#define FILTERS __local
#else
#define FILTERS __global
#endif
#define BLOCK 16
#define SIZE WINOGRAD_SIZE
#define OUTPUTS WINOGRAD_OUTPUTS
#define TAPS WINOGRAD_TAPS

/* Where tile t's first point is in V or M, whose points are `width` floats wide; its next point is ROWS of those further. */
#define TILE_AT(t, width) (((t) / ROWS * (WINOGRAD_POINTS * ROWS) + (t) % ROWS) * (width))

#if WINOGRAD_OUTPUTS == 4
#define OUTPUT_LINE(n) WINOGRAD_OUTPUT_4_3(vector, n, d0, d1, d2, d3, d4, d5, o0, o1, o2, o3)
#elif WINOGRAD_TAPS == 3
#define OUTPUT_LINE(n) WINOGRAD_OUTPUT_2_3(vector, d0, d1, d2, d3, o0, o1)
#else
#define OUTPUT_LINE(n) WINOGRAD_OUTPUT_2_5(vector, d0, d1, d2, d3, d4, d5, o0, o1)
#endif
#if WINOGRAD_TAPS == 5
#define EACH_TAP(F) F(0) F(1) F(2) F(3) F(4)
#define TRANSFORM_FILTER WINOGRAD_FILTER_2_5(vector, d0, d1, d2, d3, d4, o0, o1, o2, o3, o4, o5)
#elif WINOGRAD_OUTPUTS == 4
#define EACH_TAP(F) F(0) F(1) F(2)
#define TRANSFORM_FILTER WINOGRAD_FILTER_4_3(vector, d0, d1, d2, o0, o1, o2, o3, o4, o5)
#else
#define EACH_TAP(F) F(0) F(1) F(2)
#define TRANSFORM_FILTER WINOGRAD_FILTER_2_3(vector, d0, d1, d2, o0, o1, o2, o3)
#endif

/*
 * Tiles are numbered over all images by what they are: those of a right edge that fewer outputs are left for, whole ones, those
 * of a lower edge, those of a corner; so the tiles that take a point are neighbours. WHOLE: how many whole ones there are on a side
 * of `length` outputs; where tiles are never trimmed, all.
 */
#if WINOGRAD_OUTPUTS == 4
#define WHOLE(length) ((length) / OUTPUTS)
#else
#define WHOLE(length) (((length) + OUTPUTS - 1) / OUTPUTS)
#endif

/* How many there are of each. Here and below height and width are those of the outputs. */
static inline int4 count_tiles(int images, int height, int width)
{
	const int down = WHOLE(height), across = WHOLE(width);
	const int right = across * OUTPUTS < width, below = down * OUTPUTS < height;

	return (int4)(right * down, down * across, below * across, right * below) * images;
}

/* The image of tile t, and the row and the column of its first output */
static inline int3 find_tile(int t, int images, int height, int width)
{
	const int down = WHOLE(height), across = WHOLE(width);
	const int4 count = count_tiles(images, height, width);

	if (t < count.s0)
		return (int3)(t / down, t % down * OUTPUTS, across * OUTPUTS);
	t -= count.s0;
	if (t < count.s1)
		return (int3)(t / (down * across), t / across % down * OUTPUTS, t % across * OUTPUTS);
	t -= count.s1;
	if (t < count.s2)
		return (int3)(t / across, down * OUTPUTS, t % across * OUTPUTS);
	return (int3)(t - count.s2, down * OUTPUTS, across * OUTPUTS);
}

/* The first of the tiles that take a point, and the one after the last. */
static inline int2 tiles_of(int point, int images, int height, int width)
{
	const int4 count = count_tiles(images, height, width);
	const bool lower = WINOGRAD_HAS_POINT(point / SIZE, height - WHOLE(height) * OUTPUTS);
	const bool righter = WINOGRAD_HAS_POINT(point % SIZE, width - WHOLE(width) * OUTPUTS);

	return (int2)(righter ? 0 : count.s0, count.s0 + count.s1 + (lower ? count.s2 : 0) + (lower && righter ? count.s3 : 0));
}

/* One value of each of VECTOR filters, out_step apart, of which there are `count`. The vector is written out: compilers make slow scatters of a loop. */
#if VECTOR == 16
#define GATHER(F) (vector)(F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7), F(8), F(9), F(10), F(11), F(12), F(13), F(14), F(15))
#elif VECTOR == 8
#define GATHER(F) (vector)(F(0), F(1), F(2), F(3), F(4), F(5), F(6), F(7))
#elif VECTOR == 4
#define GATHER(F) (vector)(F(0), F(1), F(2), F(3))
#else
#define GATHER(F) F(0)
#endif
#define WEIGHT(lane) from[tap + (lane) * (size_t)out_step]
#define WEIGHT_SOME(lane) ((lane) < count ? WEIGHT(lane) : 0.0f)

/*
 * Eight taps of VECTOR filters at once: rows of taps become rows of filters in three steps, each interleaving row i with
 * row i + 4. 16 filters are two such squares side by side.
 */
#if VECTOR == 16
#define LOAD_ROW(i) (vector)(LW_LOAD(8, from + tap + i * (size_t)out_step), LW_LOAD(8, from + tap + (i + 8) * (size_t)out_step))
#define INTERLEAVE_LOW(a, b)                                                                                           \
	(vector)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3, a.s8, b.s8, a.s9, b.s9, a.sa, b.sa, a.sb, b.sb)
#define INTERLEAVE_HIGH(a, b)                                                                                          \
	(vector)(a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7, a.sc, b.sc, a.sd, b.sd, a.se, b.se, a.sf, b.sf)
#elif VECTOR == 8
#define LOAD_ROW(i) LW_LOAD(8, from + tap + i * (size_t)out_step)
#define INTERLEAVE_LOW(a, b) (vector)(a.s0, b.s0, a.s1, b.s1, a.s2, b.s2, a.s3, b.s3)
#define INTERLEAVE_HIGH(a, b) (vector)(a.s4, b.s4, a.s5, b.s5, a.s6, b.s6, a.s7, b.s7)
#endif
#define INTERLEAVE(to, from)                                                                                           \
	const vector to##0 = INTERLEAVE_LOW(from##0, from##4), to##1 = INTERLEAVE_HIGH(from##0, from##4);              \
	const vector to##2 = INTERLEAVE_LOW(from##1, from##5), to##3 = INTERLEAVE_HIGH(from##1, from##5);              \
	const vector to##4 = INTERLEAVE_LOW(from##2, from##6), to##5 = INTERLEAVE_HIGH(from##2, from##6);              \
	const vector to##6 = INTERLEAVE_LOW(from##3, from##7), to##7 = INTERLEAVE_HIGH(from##3, from##7);
#define DECLARE_ROW(i) const vector row##i = LOAD_ROW(i);
#define KEEP_TAP(i) taps[tap + i] = turned##i;

/* The taps of VECTOR filters */
static inline void load_taps(__global const float *from, int out_step, int count, vector *taps)
{
	int tap = 0;

	if (count < VECTOR) {
		for (; tap < TAPS * TAPS; tap++)
			taps[tap] = GATHER(WEIGHT_SOME);
		return;
	}
#if VECTOR >= 8
	for (; tap + 8 <= TAPS * TAPS; tap += 8) {
		LW_EACH(8, DECLARE_ROW)
		INTERLEAVE(pair, row)
		INTERLEAVE(quad, pair)
		INTERLEAVE(turned, quad)
		LW_EACH(8, KEEP_TAP)
	}
#endif
	for (; tap < TAPS * TAPS; tap++)
		taps[tap] = GATHER(WEIGHT);
}

#define LOAD_FILTER(r) d##r = taps[flip ? TAPS * TAPS - 1 - (r * TAPS + s) : r * TAPS + s];
#define KEEP_FILTER(i) middle[i * TAPS + s] = o##i;
#define LOAD_HALF_FILTER(s) d##s = middle[i * TAPS + s];
#define STORE_FILTER(j) LW_STORE(VECTOR, o##j, to + (i * SIZE + j) * point_pitch);

/* Defines `name`: VECTOR filters from `from`, of which there are `count`, to their points. */
#define DEFINE_TRANSFORM_FILTER(name, PLACE)                                                                           \
	static inline void name(__global const float *from, int out_step, int flip, int count, PLACE float *to,        \
				int point_pitch)                                                                       \
	{                                                                                                              \
		vector taps[TAPS * TAPS], middle[SIZE * TAPS];                                                         \
		EACH_TAP(DECLARE_IN)                                                                                   \
		EACH_POINT(DECLARE_OUT)                                                                                \
		load_taps(from, out_step, count, taps);                                                                \
		for (int s = 0; s < TAPS; s++) {                                                                       \
			EACH_TAP(LOAD_FILTER)                                                                          \
			TRANSFORM_FILTER                                                                               \
			EACH_POINT(KEEP_FILTER)                                                                        \
		}                                                                                                      \
		for (int i = 0; i < SIZE; i++) {                                                                       \
			EACH_TAP(LOAD_HALF_FILTER)                                                                     \
			TRANSFORM_FILTER                                                                               \
			EACH_POINT(STORE_FILTER)                                                                       \
		}                                                                                                      \
	}

/* Channels of U that a work-item of winograd_filter takes: the points of a run are stored together. */
#define RUN 8

#if FORM == 0
DEFINE_TRANSFORM_FILTER(transform_filter, __private)

/*
 * ids: run of channels, block of outputs. The weight of output o and channel c starts at o * out_step + c * inner_step;
 * flip: its taps are read backwards.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_filter(__global const float *restrict weight, __global float *restrict u, int channels, int outputs,
		int out_step, int inner_step, int flip)
{
	const int begin = (int)get_group_id(0) * RUN, run = min(RUN, channels - begin), block = get_group_id(1);
	float points[WINOGRAD_POINTS * RUN * VECTOR];

	for (int lane = 0; lane < LANES; lane += VECTOR) {
		const int first = block * LANES + lane;
		for (int c = 0; c < run; c++)
			transform_filter(weight + ((size_t)first * out_step + (size_t)(begin + c) * inner_step), out_step, flip,
					 outputs - first, points + c * VECTOR, RUN * VECTOR);
		for (int point = 0; point < WINOGRAD_POINTS; point++) {
			__global float *to = u + (((size_t)block * WINOGRAD_POINTS + point) * channels + begin) * LANES + lane;
			for (int c = 0; c < run; c++)
				LW_STORE(VECTOR, LW_LOAD(VECTOR, points + (point * RUN + c) * VECTOR), to + c * LANES);
		}
	}
}
#endif

#define LOAD_INNER(i) d##i = LW_LOAD(VECTOR, image + (at + i * pitch));
#define LOAD_OUTER(i)                                                                                                  \
	d##i = (vector)(0.0f);                                                                                         \
	if (top + i >= 0 && top + i < height && left + j >= 0 && left + j < width)                                     \
		d##i = load_some(image + (at + i * pitch), channels - c);
#define KEEP_INPUT(i) middle[i * SIZE + j] = o##i;
#define LOAD_HALF_INPUT(j) d##j = middle[i * SIZE + j];
#define STORE_INPUT(j)                                                                                                 \
	if (WINOGRAD_HAS_POINT(j, columns))                                                                            \
		LW_STORE(VECTOR, o##j, to + (i * SIZE + j) * (ROWS * BLOCK));

/*
 * VECTOR channels from c of the tile whose first pixel is (top, left), and that has outputs in so many rows and columns, to
 * the points that it takes
 */
static inline void transform_channels(__global const float *image, SPACE float *to, int top, int left, int rows, int columns,
				      int height, int width, int channels, int c)
{
	const bool inside = top >= 0 && left >= 0 && top + SIZE <= height && left + SIZE <= width;
	const int pitch = width * channels;
	vector middle[SIZE * SIZE];
	EACH_POINT(DECLARE_IN)
	EACH_POINT(DECLARE_OUT)

	for (int j = 0; j < columns + TAPS - 1; j++) {
		const int at = top * pitch + (left + j) * channels + c;
		if (inside && c + VECTOR <= channels) {
			EACH_POINT(LOAD_INNER)
		} else {
			EACH_POINT(LOAD_OUTER)
		}
		INPUT_LINE(rows)
		EACH_POINT(KEEP_INPUT)
	}
	for (int i = 0; i < SIZE; i++) {
		if (!WINOGRAD_HAS_POINT(i, rows))
			continue;
		EACH_POINT(LOAD_HALF_INPUT)
		INPUT_LINE(columns)
		EACH_POINT(STORE_INPUT)
	}
}

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(a[i * BLOCK]);                                                                \
	EACH_VECTOR(i, STEP_ONE)

/* The channels of the tiles after the next ones, where they come from memory. */
#if FORM == 0
#define AHEAD(i)
#else
#define AHEAD(i) LW_AHEAD(v + (2 * WINOGRAD_POINTS * ROWS + i) * BLOCK)
#endif

/* ROWS tiles of a point: v is the first one's place, u the point's filters, `to` where its LANES outputs go or, if started, are. */
static inline void multiply(SPACE const float *v, size_t block_pitch, FILTERS const float *u, SPACE float *to, int channels,
			    int started)
{
	SPACE const float *from = to;
	const vector zero = (vector)(0.0f);
	const int pitch = LANES;
	LW_EACH(ROWS, DECLARE)

	if (started) {
		LW_EACH(ROWS, LOAD)
	}
	for (int first = 0; first < channels; first += BLOCK) {
		const int count = min(BLOCK, channels - first);
		SPACE const float *a = v;
		LW_EACH(ROWS, AHEAD)
		for (int c = 0; c < count; c++) {
			LOAD_VECTORS(u)
			LW_EACH(ROWS, STEP)
			a++;
			u += LANES;
		}
		v += block_pitch;
	}
	LW_EACH(ROWS, STORE)
}

#define LOAD_POINT(i) d##i = LW_LOAD(VECTOR, from + (i * SIZE + j) * (ROWS * LANES));
#define KEEP_OUTPUT(p) middle[p * SIZE + j] = o##p;
#define LOAD_HALF_OUTPUT(j) d##j = middle[p * SIZE + j];
#define FINISH(q)                                                                                                      \
	if (left + q < width) {                                                                                        \
		const size_t at = ((size_t)(top + p) * width + left + q) * outputs + first;                            \
		vector result = o##q + add;                                                                            \
		result = result + zero;                                                                                \
		if (relu)                                                                                              \
			result = select(result, (vector)(0.0f), result <= (vector)(0.0f));                             \
		if (mask)                                                                                              \
			result = select(result, (vector)(0.0f), load_some(mask + at, count) <= (vector)(0.0f));        \
		if (count >= VECTOR)                                                                                   \
			LW_STORE(VECTOR, result, y + at);                                                              \
		else                                                                                                   \
			LW_STORE_PART(VECTOR, result, y + at, count);                                                  \
	}

/* The points m that a tile takes to its outputs from pixel (top, left) and from output `begin`; y and mask are the image's. */
static inline void transform_output(SPACE const float *m, __global const float *bias, __global float *y,
				    __global const float *mask, int top, int left, int height,
				    int width, int begin, int outputs, int relu)
{
	const vector zero = (vector)(LW_ZERO(height));
	const int rows = WINOGRAD_SIDE(height - top), columns = WINOGRAD_SIDE(width - left);

	for (int first = begin; first < begin + LANES && first < outputs; first += VECTOR) {
		const int count = outputs - first;
		const vector add = bias ? load_some(bias + first, count) : zero;
		SPACE const float *from = m + (first - begin);
		vector middle[OUTPUTS * SIZE];
		EACH_POINT(DECLARE_IN)
		EACH_OUTPUT(DECLARE_OUT)
		for (int j = 0; j < SIZE; j++) {
			if (!WINOGRAD_HAS_POINT(j, columns))
				continue;
			EACH_POINT(LOAD_POINT)
			OUTPUT_LINE(rows)
			EACH_OUTPUT(KEEP_OUTPUT)
		}
		for (int p = 0; p < OUTPUTS && top + p < height; p++) {
			EACH_POINT(LOAD_HALF_OUTPUT)
			OUTPUT_LINE(columns)
			EACH_OUTPUT(FINISH)
		}
	}
}

#if FORM == 0
/* ids: group_tiles tiles, share of the blocks of outputs */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_fused(__global const float *restrict x, __global const float *restrict u, __global const float *restrict bias,
	       __global float *restrict y, __global const float *restrict mask, __local float *restrict scratch, int tiles,
	       int images, int height, int width, int channels, int out_height, int out_width, int outputs, int pad_height,
	       int pad_width, int group_tiles, int blocks, int relu)
{
	const int first = (int)get_group_id(0) * group_tiles, count = min(group_tiles, tiles - first);
	const size_t block_pitch = group_tiles * WINOGRAD_POINTS * BLOCK;
	__local float *v = scratch, *m = scratch + (channels + BLOCK - 1) / BLOCK * block_pitch;

	for (int t = 0; t < count; t++) {
		const int3 tile = find_tile(first + t, images, out_height, out_width);
		for (int c = 0; c < channels; c += VECTOR)
			transform_channels(x + (size_t)tile.x * height * width * channels,
					   v + TILE_AT(t, BLOCK) + c / BLOCK * block_pitch + c % BLOCK, tile.y - pad_height,
					   tile.z - pad_width, WINOGRAD_SIDE(out_height - tile.y),
					   WINOGRAD_SIDE(out_width - tile.z), height, width, channels, c);
	}
	for (int block = get_group_id(1); block < blocks; block += get_num_groups(1)) {
		for (int point = 0; point < WINOGRAD_POINTS; point++) {
			const int2 takers = tiles_of(point, images, out_height, out_width) - first;
			for (int t = max(0, takers.x / ROWS * ROWS); t < min(count, takers.y); t += ROWS)
				multiply(v + TILE_AT(t, BLOCK) + point * ROWS * BLOCK, block_pitch,
					 u + ((size_t)block * WINOGRAD_POINTS + point) * channels * LANES,
					 m + TILE_AT(t, LANES) + point * ROWS * LANES, channels, 0);
		}
		for (int t = 0; t < count; t++) {
			const int3 tile = find_tile(first + t, images, out_height, out_width);
			const size_t at = (size_t)tile.x * out_height * out_width * outputs;
			transform_output(m + TILE_AT(t, LANES), bias, y + at, mask ? mask + at : mask, tile.y, tile.z,
					 out_height, out_width, block * LANES, outputs, relu);
		}
	}
}

#else
/*
 * The same in three steps, of `tiles` tiles from `first`, no more than pitch, a multiple of ROWS. The workspace holds U, from
 * v_at V, from m_at M of each block of LANES outputs.
 */

#if FORM == 1
/* ids: share of the tiles, block of channels: what lies together in each point is written in a row */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_input(__global const float *restrict x, __global float *restrict workspace, int v_at, int first, int tiles, int pitch,
	       int images, int height, int width, int channels, int out_height, int out_width, int pad_height, int pad_width)
{
	const int share = get_group_id(0), shares = get_num_groups(0), begin = (int)get_group_id(1) * BLOCK;
	__global float *v = workspace + v_at + get_group_id(1) * (size_t)pitch * (WINOGRAD_POINTS * BLOCK);

	for (int t = (int)((long)tiles * share / shares); t < (int)((long)tiles * (share + 1) / shares); t++) {
		const int3 tile = find_tile(first + t, images, out_height, out_width);
		for (int c = begin; c < min(begin + BLOCK, channels); c += VECTOR)
			transform_channels(x + (size_t)tile.x * height * width * channels, v + TILE_AT(t, BLOCK) + c % BLOCK,
					   tile.y - pad_height, tile.z - pad_width, WINOGRAD_SIDE(out_height - tile.y),
					   WINOGRAD_SIDE(out_width - tile.z), height, width, channels, c);
	}
}

/* ids: block of outputs, point */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_multiply(__global float *workspace, int v_at, int m_at, int first, int tiles, int pitch, int images, int channels,
		  int out_height, int out_width)
{
	const int2 takers = tiles_of(get_group_id(1), images, out_height, out_width) - first;
	__global const float *u = workspace, *v = workspace + v_at;
	__global float *m = workspace + m_at;
	const size_t panel = (size_t)get_group_id(0) * WINOGRAD_POINTS + get_group_id(1);

	for (int t = max(0, takers.x / ROWS * ROWS); t < min(tiles, takers.y); t += ROWS)
		multiply(v + TILE_AT(t, BLOCK) + get_group_id(1) * ROWS * BLOCK, (size_t)pitch * (WINOGRAD_POINTS * BLOCK),
			 u + panel * channels * LANES,
			 m + get_group_id(0) * (size_t)pitch * (WINOGRAD_POINTS * LANES) + TILE_AT(t, LANES) + get_group_id(1) * ROWS * LANES,
			 channels, 0);
}

/* ids: share of the tiles, block of outputs */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_output(__global const float *restrict workspace, __global const float *restrict bias, __global float *restrict y,
		__global const float *restrict mask, int m_at, int first, int tiles, int pitch, int images, int out_height,
		int out_width, int outputs, int relu)
{
	__global const float *m = workspace + m_at;
	const int block = get_group_id(1);

	for (int t = get_group_id(0); t < tiles; t += get_num_groups(0)) {
		const int3 tile = find_tile(first + t, images, out_height, out_width);
		const size_t at = (size_t)tile.x * out_height * out_width * outputs;
		transform_output(m + (size_t)block * pitch * (WINOGRAD_POINTS * LANES) + TILE_AT(t, LANES), bias, y + at,
				 mask ? mask + at : mask, tile.y, tile.z, out_height, out_width, block * LANES, outputs, relu);
	}
}
#else
DEFINE_TRANSFORM_FILTER(transform_filter, __local)

/*
 * ids: block of outputs, group_tiles tiles. The weight as in winograd_filter. u: the filters of `chunk` channels, a multiple
 * of BLOCK, of a point are followed by a vector's room, so that points are not a page apart.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
winograd_chunk(__global const float *restrict weight, __global float *workspace, __global const float *restrict bias,
	       __global float *restrict y, __global const float *restrict mask, __local float *u, int v_at, int m_at, int tiles,
	       int pitch, int images, int channels, int out_height, int out_width, int outputs, int out_step, int inner_step, int flip,
	       int group_tiles, int chunk, int relu)
{
	const int block = get_group_id(0), begin = (int)get_group_id(1) * group_tiles, end = min(tiles, begin + group_tiles);
	const int u_pitch = chunk * LANES + BLOCK;
	const size_t block_pitch = (size_t)pitch * (WINOGRAD_POINTS * BLOCK);
	__global const float *v = workspace + v_at;
	__global float *m = workspace + m_at + (size_t)block * WINOGRAD_POINTS * pitch * LANES;

	for (int first = 0; first < channels; first += chunk) {
		const int count = min(chunk, channels - first);
		for (int lane = 0; lane < LANES; lane += VECTOR) {
			const int out = block * LANES + lane;
			for (int c = 0; c < count; c++)
				transform_filter(weight + ((size_t)out * out_step + (size_t)(first + c) * inner_step), out_step, flip,
						 outputs - out, u + c * LANES + lane, u_pitch);
		}
		for (int point = 0; point < WINOGRAD_POINTS; point++) {
			const int2 takers = tiles_of(point, images, out_height, out_width);
			for (int t = max(begin, takers.x / ROWS * ROWS); t < min(end, takers.y); t += ROWS)
				multiply(v + first / BLOCK * block_pitch + TILE_AT(t, BLOCK) + point * ROWS * BLOCK, block_pitch,
					 u + point * u_pitch, m + TILE_AT(t, LANES) + point * ROWS * LANES, count, first > 0);
		}
	}
	for (int t = begin; t < end; t++) {
		const int3 tile = find_tile(t, images, out_height, out_width);
		const size_t at = (size_t)tile.x * out_height * out_width * outputs;
		transform_output(m + TILE_AT(t, LANES), bias, y + at, mask ? mask + at : mask, tile.y, tile.z,
				 out_height, out_width, block * LANES, outputs, relu);
	}
}
#endif
#endif
