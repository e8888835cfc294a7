/*
 * conv_depthwise.cl: convolution with one input and one output per group, for CPUs: vectors lie along the channels. The
 * chains are those of conv.cl.
 *
 * VECTOR   width of a vector of channels: 1, 4, 8, 16
 * PIXELS   neighbouring outputs that are computed together: 1 .. 16
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef PIXELS
#define PIXELS 4
#endif

/* Taps as pack_weight's of conv_cpu.cl, packed is [tap][channel]. */
__kernel void pack_depthwise(__global const float *restrict weight, __global float *restrict packed, int kernel_size,
			     int taps_height, int taps_width, int first_row, int row_step, int first_column,
			     int column_step, int kernel_width, int base)
{
	const int c = get_global_id(0), channels = get_global_size(0);

	for (int t = 0; t < taps_height; t++)
		for (int u = 0; u < taps_width; u++)
			packed[base + (t * taps_width + u) * channels + c] =
				weight[(size_t)c * kernel_size + (first_row + t * row_step) * kernel_width + first_column +
				       u * column_step];
}

/* How many outputs, and from which on, have all their taps inside an axis of `size`; none: the count is 0. */
static inline int inside_begin(int origin, int stride) { return origin >= 0 ? 0 : (int)(((long)stride - 1 - origin) / stride); }
static inline int inside_end(int origin, int stride, int reach, int size, int outputs)
{
	const long room = (long)size - 1 - reach - origin;
	return room < 0 ? 0 : (int)min((long)outputs, room / stride + 1);
}

#define NEXT_ROW(i) LW_AHEAD(ahead + i * step)

#define DECLARE(i) sum_vector c##i = (sum_vector)(0.0f);
#define STEP(i) c##i = fma(LW_LOAD(VECTOR, from + i * step), w, c##i);
#define STEP_OUTSIDE(i) c##i = fma((sum_vector)(0.0f), w, c##i);
#define FINISH(lanes, sum, to)                                                                                         \
	{                                                                                                              \
		LW_FLOAT(lanes) value = sum;                                                                           \
		if (bias)                                                                                              \
			value = value + LW_LOAD(lanes, bias + c);                                                      \
		value = value + (LW_FLOAT(lanes))(LW_ZERO(height));                                                    \
		if (relu)                                                                                              \
			value = select(value, (LW_FLOAT(lanes))(0.0f), value <= (LW_FLOAT(lanes))(0.0f));              \
		if (mask)                                                                                              \
			value = select(value, (LW_FLOAT(lanes))(0.0f),                                                 \
				       LW_LOAD(lanes, mask + (to)) <= (LW_FLOAT(lanes))(0.0f));                        \
		LW_STORE(lanes, value, y + (to));                                                                      \
	}
#define END(i) FINISH(VECTOR, c##i, at + (size_t)i * y_pixel + c)

/* One output pixel: channels from c on, `lanes` of them. */
#define ONE_PIXEL(lanes)                                                                                               \
	{                                                                                                              \
		LW_FLOAT(lanes) sum = (LW_FLOAT(lanes))(0.0f);                                                         \
		for (int t = 0; t < taps_height; t++)                                                                  \
			for (int u = 0; u < taps_width; u++) {                                                         \
				const int h = top + t * dilation_height, v = left + u * dilation_width;                        \
				LW_FLOAT(lanes) value = (LW_FLOAT(lanes))(0.0f);                                               \
				if (h >= 0 && h < height && v >= 0 && v < width)                                               \
					value = LW_LOAD(lanes, x + (((size_t)image * height + h) * width + v) * channels + c); \
				sum = fma(value, LW_LOAD(lanes, weight + (t * taps_width + u) * channels + c), sum);           \
			}                                                                                              \
		FINISH(lanes, sum, at + c)                                                                             \
	}

/* ids: output row, image. Arguments as conv_cpu.cl's conv_forward. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_forward(__global const float *restrict x, __global const float *restrict packed, __global const float *restrict bias,
		  __global float *restrict y, __global const float *restrict mask, int height, int width, int channels,
		  int out_width, int taps_height, int taps_width, int stride_height, int stride_width, int origin_height,
		  int origin_width, int dilation_height, int dilation_width, int y_base, int y_image, int y_row,
		  int y_pixel, int packed_base, int relu)
{
	typedef LW_FLOAT(VECTOR) sum_vector;
	const int p = get_group_id(0), image = get_group_id(1), top = p * stride_height + origin_height;
	const int reach = max(taps_width - 1, 0) * dilation_width;
	const int begin = inside_begin(origin_width, stride_width);
	const int end = inside_end(origin_width, stride_width, reach, width, out_width);
	const int vectors = channels / VECTOR * VECTOR, blocks = end - begin >= PIXELS ? 1 : 0;
	const size_t step = (size_t)stride_width * channels;
	__global const float *weight = packed + packed_base;
	const int next = max(0, top + stride_height + (taps_height - 1) * dilation_height);
	int q = 0;

	while (q < out_width) {
		if (blocks && q >= begin && q < end) {
			/* the last block begins earlier, over pixels that are done */
			q = min(q, end - PIXELS);
			const int left = q * stride_width + origin_width;
			const size_t at = y_base + (size_t)image * y_image + (size_t)p * y_row + (size_t)q * y_pixel;
			for (int c = 0; c < vectors; c += VECTOR) {
				LW_EACH(PIXELS, DECLARE)
				for (int t = 0; t < taps_height; t++) {
					const int h = top + t * dilation_height, inside = h >= 0 && h < height;
					__global const float *from =
						x + (((size_t)image * height + (inside ? h : 0)) * width + left) * channels + c;
					for (int u = 0; u < taps_width; u++, from += (size_t)dilation_width * channels) {
						const sum_vector w = LW_LOAD(VECTOR, weight + (t * taps_width + u) * channels + c);
						if (inside) {
							LW_EACH(PIXELS, STEP)
						} else {
							LW_EACH(PIXELS, STEP_OUTSIDE)
						}
					}
				}
				LW_EACH(PIXELS, END)
				/* what comes next lies in too many places for the processor to foresee */
				__global const float *ahead = x + (((size_t)image * height + min(next, height - 1)) * width + left) * channels + c;
				if (y_pixel == channels) { /* or another phase will have fetched it */
					LW_EACH(PIXELS, NEXT_ROW)
				}
			}
			q += PIXELS;
		} else {
			const int left = q * stride_width + origin_width;
			const size_t at = y_base + (size_t)image * y_image + (size_t)p * y_row + (size_t)q * y_pixel;
			for (int c = 0; c < vectors; c += VECTOR)
				ONE_PIXEL(VECTOR)
			q++;
		}
	}
	for (q = 0; vectors < channels && q < out_width; q++) {
		const int left = q * stride_width + origin_width;
		const size_t at = y_base + (size_t)image * y_image + (size_t)p * y_row + (size_t)q * y_pixel;
		for (int c = vectors; c < channels; c++)
			ONE_PIXEL(1)
	}
}

#undef DECLARE
#undef STEP
/* Taps are taken this many at a time. */
#define TAPS 9
#define DECLARE(i) LW_FLOAT(WIDTH) s##i = image == image_begin && p == 0 ? zero : LW_LOAD(WIDTH, sums + min(first + i, taps - 1) * channels);
#define OFFSET(i)                                                                                                      \
	const int r##i = min(first + i, taps - 1) / taps_width * dilation_height;                                      \
	const int v##i = min(first + i, taps - 1) % taps_width * dilation_width;                                       \
	const size_t offset##i = ((size_t)r##i * width + v##i) * channels;
#define STEP(i) s##i = fma(LW_LOAD(WIDTH, from + offset##i), g, s##i);
#define STEP_CHECKED(i)                                                                                                \
	s##i = fma(top + r##i >= 0 && top + r##i < height && left + v##i >= 0 && left + v##i < width                   \
			   ? LW_LOAD(WIDTH, from + offset##i)                                                          \
			   : zero,                                                                                     \
		   g, s##i);
#define SAVE(i)                                                                                                        \
	if (first + i < taps)                                                                                          \
		LW_STORE(WIDTH, s##i, sums + (first + i) * channels);

/* TAPS taps from `first` on, of WIDTH channels from c on, over output row p */
#define WEIGHT_ROW                                                                                                     \
	{                                                                                                              \
		const LW_FLOAT(WIDTH) zero = (LW_FLOAT(WIDTH))(0.0f);                                                  \
		__global float *sums = partial + (size_t)part * taps * channels + c;                                   \
		LW_EACH(TAPS, DECLARE)                                                                                 \
		LW_EACH(TAPS, OFFSET)                                                                                  \
		for (int q = 0; q < out_width; q++) {                                                                  \
			const int left = q * stride_width - pad_width;                                                 \
			__global const float *from = x + (((long)image * height + top) * width + left) * channels + c; \
			const LW_FLOAT(WIDTH) g =                                                                      \
				LW_LOAD(WIDTH, gy + (((size_t)image * out_height + p) * out_width + q) * channels + c); \
			if (row_inside && q >= begin && q < end) {                                                     \
				LW_EACH(TAPS, STEP)                                                                    \
			} else {                                                                                       \
				LW_EACH(TAPS, STEP_CHECKED)                                                            \
			}                                                                                              \
			LW_AHEAD(x + (((size_t)image * height + next) * width + max(left, 0)) * channels + c)          \
		}                                                                                                      \
		LW_EACH(TAPS, SAVE)                                                                                    \
	}

/* ids: part of the batch, run of `run` channels. partial is [part][tap][channel], where chains go on from row to row */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
		 int images, int height, int width, int channels, int out_height, int out_width, int taps_height,
		 int taps_width, int stride_height, int stride_width, int pad_height, int pad_width, int dilation_height,
		 int dilation_width, int run)
{
	const int part = get_group_id(0), parts = get_num_groups(0), taps = taps_height * taps_width;
	const int image_begin = (int)((long)images * part / parts), image_end = (int)((long)images * (part + 1) / parts);
	const int channel_begin = (int)get_group_id(1) * run, channel_end = min(channels, channel_begin + run);
	const int begin = inside_begin(-pad_width, stride_width);
	const int end = inside_end(-pad_width, stride_width, (taps_width - 1) * dilation_width, width, out_width);

	for (int image = image_begin; image < image_end; image++)
		for (int p = 0; p < out_height; p++) {
			const int top = p * stride_height - pad_height;
			const int row_inside = top >= 0 && top + (taps_height - 1) * dilation_height < height;
			const int next = clamp(top + stride_height + (taps_height - 1) * dilation_height, 0, height - 1);
			for (int first = 0; first < taps; first += TAPS) {
				int c = channel_begin;
#define WIDTH VECTOR
				for (; c <= channel_end - VECTOR; c += VECTOR)
					WEIGHT_ROW
#undef WIDTH
#define WIDTH 1
				for (; c < channel_end; c++)
					WEIGHT_ROW
			}
		}
}

/* ids: channel, tap. gradient is [channel][tap] */
#define PART(part) partial[((part) * taps + tap) * channels + c]
__kernel void sum_depthwise_parts(__global const float *restrict partial, __global float *restrict gradient, int parts, int slices)
{
	const size_t c = get_global_id(0), tap = get_global_id(1), channels = get_global_size(0), taps = get_global_size(1);
	LW_SUM_PARTS(float, sum, parts, slices, PART)

	gradient[c * taps + tap] = sum + LW_ZERO(parts);
}
