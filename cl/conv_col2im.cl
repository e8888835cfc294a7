/*
 * conv_col2im.cl: convolution for CPUs, backward of the data by products first (Caffe's GEMM and col2im, fused): one
 * work-item per work-group, register tiles (tile.cl) whose rows are output pixels, one below the other, and whose vectors lie
 * along the taps of a kernel's row with their channels. These are one run of x, so no vector has idle lanes, and a stride none.
 *
 * The algorithm, for each value of x: the taps (r, s) descending that meet an output pixel, of each a chain over k ascending
 * from 0; their sum, and LW_ZERO. So the rows of the output go down, and in each the taps and pixels so that s descends.
 */
#include "tile.cl"
#include "conv_slab.cl"

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i * row]);                                                              \
	EACH_VECTOR(i, STEP_ONE)
/* with few lanes, only the first vector */
#define STEP_FIRST(i)                                                                                                  \
	const vector value##i = (vector)(pixel[i * row]);                                                              \
	STEP_ONE(i, 0)
#define KEEP_ONE(i, j) c##i##_##j = select((vector)(0.0f), c##i##_##j, inside##j);
#define KEEP(i) EACH_VECTOR(i, KEEP_ONE)
#define ADD_ONE(i, j) LW_STORE(VECTOR, LW_LOAD(VECTOR, to + i * down + j * VECTOR) + c##i##_##j, to + i * down + j * VECTOR);
#define ADD(i)                                                                                                         \
	if (i >= done) {                                                                                               \
		EACH_VECTOR(i, ADD_ONE)                                                                                \
	}
#define LOAD_INSIDE(i, j) const LW_INT(VECTOR) inside##j = LW_LOAD(VECTOR, flags + j * VECTOR);

/* ids: block of `some` output channels, block of LANES of a row's run. packed is [r][block][k][LANES], with zeros past the run. */
__kernel void pack_taps(__global const float *restrict weight, __global float *restrict packed, int channels, int out_channels,
			int taps_height, int taps_width, int some)
{
	const int begin = (int)get_global_id(0) * some, end = min(out_channels, begin + some);
	const int block = get_global_id(1), blocks = get_global_size(1), taps = taps_height * taps_width;
	int places[LANES]; /* in the weights of an output */

	for (int lane = 0; lane < LANES; lane++) {
		const int s = (block * LANES + lane) / channels, c = (block * LANES + lane) % channels;
		places[lane] = s < taps_width ? c * taps + s : -1;
	}
	for (int k = begin; k < end; k++)
		for (int r = 0; r < taps_height; r++) {
			__global const float *from = weight + (size_t)k * channels * taps + r * taps_width;
			__global float *to = packed + (((size_t)r * blocks + block) * out_channels + k) * LANES;
			for (int lane = 0; lane < LANES; lane++)
				to[lane] = places[lane] < 0 ? 0.0f : from[places[lane]];
		}
}

/* Adds the products of ROWS rows of the output from gy on with tap r; of the first `done` they are added already. */
static inline void add_products(__local float *slab, __global const float *gy, __global const float *packed,
				int done, int out_width, int out_channels, int run, int step, int down)
{
	const int blocks = (run + LANES - 1) / LANES;
	const size_t row = (size_t)out_width * out_channels;
	const vector zero = (vector)(0.0f);

	for (int block = blocks - 1; block >= 0; block--) {
		const int lanes = run - block * LANES;
		__global const float *pixel = gy;
		__local float *to = slab + block * LANES;
		int flags[LANES];

		for (int lane = 0; lane < LANES; lane++)
			flags[lane] = lane < lanes ? -1 : 0;
		for (int q = 0; q < out_width; q++) {
			__global const float *w = packed + (size_t)block * out_channels * LANES;
			LW_EACH(ROWS, DECLARE)

			if (lanes > VECTOR)
				for (int k = 0; k < out_channels; k++, pixel++, w += LANES) {
					LOAD_VECTORS(w)
					LW_EACH(ROWS, STEP)
				}
			else
				for (int k = 0; k < out_channels; k++, pixel++, w += LANES) {
					LOAD_VECTOR(w, 0)
					LW_EACH(ROWS, STEP_FIRST)
				}
			/* lanes past the run are in the way of other pixels */
			if (lanes < LANES) {
				EACH_VECTOR(0, LOAD_INSIDE)
				LW_EACH(ROWS, KEEP)
			}
			LW_EACH(ROWS, ADD)
			to += step;
		}
	}
}

/* A row of sums to x; mask may be NULL. */
static inline void finish(__global float *to, __local const float *from, __global const float *mask, int count, float zero)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR) {
		const vector sum = LW_LOAD(VECTOR, from + i) + (vector)(zero);
		LW_STORE(VECTOR, mask ? select(sum, (vector)(0.0f), LW_LOAD(VECTOR, mask + i) <= (vector)(0.0f)) : sum, to + i);
	}
	for (; i < count; i++)
		to[i] = mask && mask[i] <= 0.0f ? 0.0f : from[i] + zero;
}

/*
 * ids: image and band of `band` rows of the output, with the rows of x that begin there. The slab holds rows of x, padding
 * included, `pitch` floats apart, from where the first row of the output in work begins. mask: what the layer reads, where the
 * gradient is to end at a relu, else NULL. out_height is at least ROWS.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_col2im(__global const float *restrict gy, __global const float *restrict packed, __global float *restrict gx,
	    __global const float *restrict mask_x, __local float *restrict slab, int height, int width, int channels,
	    int out_height, int out_width, int out_channels, int taps_height, int taps_width, int stride_height,
	    int stride_width, int pad_height, int pad_width, int band, int pitch)
{
	const int bands = (out_height + band - 1) / band;
	const int image = (int)get_group_id(0) / bands, begin = (int)get_group_id(0) % bands * band, end = min(begin + band, out_height);
	const int top = begin ? begin * stride_height - pad_height : 0;
	const int bottom = end < out_height ? min(end * stride_height - pad_height, height) : height;
	const int run = taps_width * channels, blocks = (run + LANES - 1) / LANES;
	const int down = stride_height * pitch, kept = (taps_height - 1) * pitch;

	clear(slab, ROWS * down + kept);
	/* rows of the output above the band reach into it */
	for (int p = max(0, begin - (taps_height - 1) / stride_height); p < end; p += ROWS) {
		const int first = min(p, out_height - ROWS), done = p - first, h = p * stride_height - pad_height;
		const int whole = p + ROWS < end ? min(h + ROWS * stride_height, bottom) : bottom;

		for (int r = taps_height - 1; r >= 0; r--)
			add_products(slab + r * pitch - done * down, gy + ((size_t)image * out_height + first) * out_width * out_channels,
				     packed + (size_t)r * blocks * out_channels * LANES, done, out_width, out_channels, run,
				     stride_width * channels, down);
		for (int row = max(max(h, top), 0); row < whole; row++) {
			const size_t at = ((size_t)image * height + row) * width * channels;
			finish(gx + at, slab + (row - h) * pitch + pad_width * channels, mask_x ? mask_x + at : mask_x,
			       width * channels, LW_ZERO(height));
		}
		if (p + ROWS < end) {
			for (int i = 0; i < kept; i += VECTOR)
				LW_STORE(VECTOR, LW_LOAD(VECTOR, slab + ROWS * down + i), slab + i);
			clear(slab + kept, ROWS * down);
		}
	}
}
