/*
 * conv_depthwise.cl: convolution with one input and one output per group, for CPUs: vectors lie along the channels. The
 * chains are those of conv.cl. Blocks of pixels take all channels, as memory lies.
 *
 * VECTOR      width of a vector of channels, at most as many as there are: 1, 4, 8, 16
 * PIXELS      neighbouring outputs that are computed together: 1 .. 16
 * DATA        1: backward of the data, whose input is the output's gradient
 * TILE_WIDTH  backward of the weight: taps of a tile's row
 * TILE        taps of a tile: 1 .. 16
 *
 * KERNEL_HEIGHT, KERNEL_WIDTH, STRIDE_WIDTH, PAD_WIDTH, DILATION_WIDTH: the convolution's, or the kernel's arguments.
 * Where the compiler knows them, an input that several outputs read is loaded once.
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PIXELS
#define PIXELS 4
#endif
#ifndef DATA
#define DATA 0
#endif
#ifndef TILE
#define TILE_WIDTH 3
#define TILE 9
#endif
#ifdef KERNEL_WIDTH
#define UNROLL _Pragma("unroll")
#else
#define UNROLL
#define KERNEL_HEIGHT kernel_height
#define KERNEL_WIDTH kernel_width
#define STRIDE_WIDTH stride_width
#define PAD_WIDTH pad_width
#define DILATION_WIDTH dilation_width
#endif

typedef LW_FLOAT(VECTOR) vector;
typedef LW_INT(VECTOR) int_vector;
#define AS_FLOATS LW_JOIN(as_, LW_FLOAT(VECTOR))
#define AS_INTS LW_JOIN(as_, LW_INT(VECTOR))

/* packed is [tap][channel] */
__kernel void pack_depthwise(__global const float *restrict weight, __global float *restrict packed, int taps)
{
	const int c = get_global_id(0), channels = get_global_size(0);

	for (int t = 0; t < taps; t++)
		packed[t * channels + c] = weight[c * taps + t];
}

/* -1, all bits set, where i is in 0 .. size - 1, else 0 */
static inline int inside(long i, int size) { return (int)~((i | (size - 1 - i)) >> 63); }

/*
 * Column of the input, counted from the block's own, where output i of the block meets tap u of those that follow each
 * other: in backward of the data from the last to the first, where some meet none.
 */
#if DATA
#define TAP(u) (KERNEL_WIDTH - 1 - (u))
#define STRIDES(i, u) (phase + (i) + PAD_WIDTH - (long)TAP(u) * DILATION_WIDTH)
#define MEETS(i, u) (STRIDES(i, u) % STRIDE_WIDTH == 0)
#define PLACE(i, u) (STRIDES(i, u) / STRIDE_WIDTH)
#else
#define TAP(u) (u)
#define MEETS(i, u) 1
#define PLACE(i, u) ((long)(i) * STRIDE_WIDTH + (long)(u) * DILATION_WIDTH - PAD_WIDTH)
#endif

/* The input at column v of row `from`; beyond the row's ends 0. */
#define INPUT(v) LW_LOAD(VECTOR, from + (v) * channels)
#define PADDED(v) AS_FLOATS(AS_INTS(INPUT(clamp(v, 0L, width - 1L))) & (int_vector)(inside(v, width)))

#define DECLARE(i) vector c##i = zero;
#define STEP(i)                                                                                                        \
	if (MEETS(i, u))                                                                                               \
		c##i = fma(INPUT(column + PLACE(i, u)), tap, c##i);
#define STEP_EDGE(i)                                                                                                   \
	if (MEETS(i, u))                                                                                               \
		c##i = fma(PADDED(column + PLACE(i, u)), tap, c##i);
#define STEP_OUTSIDE(i)                                                                                                \
	if (MEETS(i, u))                                                                                               \
		c##i = fma(zero, tap, c##i);
#define STEPS(STEP)                                                                                                    \
	UNROLL for (int u = 0; u < KERNEL_WIDTH; u++)                                                                  \
	{                                                                                                              \
		const vector tap = LW_LOAD(VECTOR, taps + TAP(u) * channels);                                          \
		LW_EACH(PIXELS, STEP)                                                                                  \
	}
#define END(i)                                                                                                         \
	{                                                                                                              \
		const size_t to = at + (size_t)i * channels + c;                                                       \
		if (bias)                                                                                              \
			c##i = c##i + LW_LOAD(VECTOR, bias + c);                                                       \
		c##i = c##i + (vector)(LW_ZERO(height));                                                               \
		if (relu)                                                                                              \
			c##i = select(c##i, zero, c##i <= zero);                                                       \
		if (mask)                                                                                              \
			c##i = select(c##i, zero, LW_LOAD(VECTOR, mask + to) <= zero);                                 \
		LW_STORE(VECTOR, c##i, y + to);                                                                        \
	}
#define END_EDGE(i)                                                                                                    \
	if (q + i < out_width)                                                                                         \
		END(i)

/* PIXELS outputs from column q on, of all channels; the last vector may begin among those that are done. */
#define BLOCK(STEP, END)                                                                                               \
	for (int k = 0; k < channels; k += VECTOR) {                                                                   \
		const int c = min(k, channels - VECTOR);                                                               \
		LW_EACH(PIXELS, DECLARE)                                                                               \
		for (int t = 0; t < tap_rows; t++) {                                                                   \
			const int h = top + t * row_step;                                                              \
			__global const float *taps =                                                                   \
				packed + (size_t)(first + t * tap_step) * KERNEL_WIDTH * channels + c;                 \
			if (h >= 0 && h < height) {                                                                    \
				__global const float *from = x + ((size_t)image * height + h) * width * channels + c;  \
				STEPS(STEP)                                                                            \
			} else {                                                                                       \
				STEPS(STEP_OUTSIDE)                                                                    \
			}                                                                                              \
		}                                                                                                      \
		LW_EACH(PIXELS, END)                                                                                   \
	}

/*
 * ids: band of `rows` output rows, image. The rows of taps that an output meets are `tap_step` apart, and those of the
 * input `row_step`. A band goes down strips of `strip` columns, so that caches keep the rows that taps share.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_pixels(__global const float *restrict x, __global const float *restrict packed, __global const float *restrict bias,
		 __global float *restrict y, __global const float *restrict mask, int height, int width, int channels,
		 int out_height, int out_width, int kernel_height, int kernel_width, int stride_height, int stride_width,
		 int pad_height, int pad_width, int dilation_height, int dilation_width, int tap_step, int row_step,
		 int rows, int strip, int relu)
{
	const int image = get_group_id(1), begin = (int)get_group_id(0) * rows, end = min(out_height, begin + rows);
	const vector zero = (vector)(0.0f);

	for (int strip_begin = 0; strip_begin < out_width; strip_begin += strip)
		for (int p = begin; p < end; p++) {
#if DATA
			int first = kernel_height - 1;
			while (first >= 0 && (p + pad_height - first * dilation_height) % stride_height)
				first--;
			const int tap_rows = first < 0 ? 0 : first / -tap_step + 1;
			const int top = (p + pad_height - first * dilation_height) / stride_height;
#else
			const int first = 0, tap_rows = kernel_height, top = p * stride_height - pad_height;
#endif
			for (int q = strip_begin; q < min(out_width, strip_begin + strip); q += PIXELS) {
#if DATA
				const int phase = PIXELS % STRIDE_WIDTH ? q % STRIDE_WIDTH : 0, column = q / STRIDE_WIDTH;
#else
				const int column = q * STRIDE_WIDTH;
#endif
				const long least = column + PLACE(0, 0), most = column + PLACE(PIXELS - 1, KERNEL_WIDTH - 1);
				const size_t at = (((size_t)image * out_height + p) * out_width + q) * channels;
				if (least >= 0 && most < width && q + PIXELS <= out_width) {
					BLOCK(STEP, END)
				} else {
					BLOCK(STEP_EDGE, END_EDGE)
				}
			}
		}
}

#undef DECLARE
#undef STEP
#undef STEP_EDGE
/* Tap i of a tile that begins at the kernel's row `first_row`, column `first_column`. Beyond the kernel: the last one, again. */
#define ROW(i) min(first_row + i / TILE_WIDTH, KERNEL_HEIGHT - 1)
#define COLUMN(i) min(first_column + i % TILE_WIDTH, KERNEL_WIDTH - 1)
#define SUM(i) (sums + (ROW(i) * KERNEL_WIDTH + COLUMN(i)) * pitch)
/* Where output j of a block meets the tap. */
#define H(i) (top + ROW(i) * (long)dilation_height)
#define V(i, j) (left + COLUMN(i) * (long)DILATION_WIDTH + j * (long)STRIDE_WIDTH)

#define DECLARE(i) vector s##i = fresh ? (vector)(0.0f) : LW_LOAD(VECTOR, SUM(i));
#define STEP(i) s##i = fma(LW_LOAD(VECTOR, from + H(i) * row_pitch + V(i, j) * channels), g, s##i);
#define STEP_EDGE(i)                                                                                                   \
	s##i = fma(AS_FLOATS(AS_INTS(LW_LOAD(VECTOR, from + clamp(H(i), 0L, height - 1L) * row_pitch +                 \
							     clamp(V(i, j), 0L, width - 1L) * channels)) &             \
			     (int_vector)(inside(H(i), height) & inside(V(i, j), width))),                             \
		   g, s##i);
#define SAVE(i)                                                                                                        \
	if (first_row + i / TILE_WIDTH < KERNEL_HEIGHT && first_column + i % TILE_WIDTH < KERNEL_WIDTH)                \
		LW_STORE(VECTOR, s##i, SUM(i));

/* A tile of taps over `count` outputs from column q on of row p, of channels begin .. end - 1; their last vector may reach back. */
#define BLOCK_WEIGHT(STEP, unroll, count)                                                                              \
	for (int k = begin; k < end; k += VECTOR) {                                                                    \
		const int c = min(k, channels - VECTOR);                                                               \
		__global float *sums = partial + (size_t)part * KERNEL_HEIGHT * KERNEL_WIDTH * pitch + k;              \
		__global const float *gradients = gy + (((size_t)image * out_height + p) * out_width + q) * channels + c; \
		__global const float *from = x + (size_t)image * height * row_pitch + c;                               \
		LW_EACH(TILE, DECLARE)                                                                                 \
		unroll for (int j = 0; j < count; j++)                                                                 \
		{                                                                                                      \
			const vector g = LW_LOAD(VECTOR, gradients + j * channels);                                    \
			LW_EACH(TILE, STEP)                                                                            \
		}                                                                                                      \
		LW_EACH(TILE, SAVE)                                                                                    \
	}

/*
 * ids: part of the batch, run of `run` channels. partial is [part][tap][vector of channels], where chains go on from block to
 * block: `pitch` floats a tap.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
		 int height, int width, int channels, int out_height, int out_width, int kernel_height, int kernel_width,
		 int stride_height, int stride_width, int pad_height, int pad_width, int dilation_height,
		 int dilation_width, int images, int run, int pitch)
{
	const int part = get_group_id(0), parts = get_num_groups(0);
	const int image_begin = (int)((long)images * part / parts), image_end = (int)((long)images * (part + 1) / parts);
	const int begin = (int)get_group_id(1) * run, end = min(channels, begin + run);
	const long row_pitch = (long)width * channels;

	for (int image = image_begin; image < image_end; image++)
		for (int p = 0; p < out_height; p++)
			for (int q = 0; q < out_width; q += PIXELS) {
				const int top = p * stride_height - pad_height, left = q * STRIDE_WIDTH - PAD_WIDTH;
				const int fresh = image == image_begin && p == 0 && q == 0, whole = q + PIXELS <= out_width;
				const int within = top >= 0 && top + (kernel_height - 1) * dilation_height < height && left >= 0 &&
						   left + (PIXELS - 1L) * STRIDE_WIDTH + (KERNEL_WIDTH - 1) * DILATION_WIDTH < width;
				for (int first_row = 0; first_row < KERNEL_HEIGHT; first_row += TILE / TILE_WIDTH)
					for (int first_column = 0; first_column < KERNEL_WIDTH; first_column += TILE_WIDTH)
						if (whole && within)
							BLOCK_WEIGHT(STEP, UNROLL, PIXELS)
						else if (whole)
							BLOCK_WEIGHT(STEP_EDGE, UNROLL, PIXELS)
						else
							BLOCK_WEIGHT(STEP_EDGE, , out_width - q)
			}
}

/* ids: channel, tap. gradient is [channel][tap]; the last vector of a tap's sums ends with the last channel */
#define PART(part) partial[(part) * taps * pitch + at]
__kernel void sum_depthwise_parts(__global const float *restrict partial, __global float *restrict gradient, int parts,
				  int slices, int pitch)
{
	const size_t c = get_global_id(0), tap = get_global_id(1), channels = get_global_size(0), taps = get_global_size(1);
	const size_t at = tap * pitch + (c + VECTOR < (size_t)pitch ? c : c + pitch - channels);
	LW_SUM_PARTS(float, sum, parts, slices, PART)

	gradient[c * taps + tap] = sum + LW_ZERO(parts);
}
