/*
 * conv_cpu.cl: direct convolution for CPUs: one work-item per work-group, register tiles of vectors along the output
 * channels. The chains are those of conv.cl.
 *
 * A work-group copies the rows of x it needs, zero-padded, into local memory (the slab); a tap is then an offset, and
 * the taps of a kernel's row with their channels are one run. Weights are packed into [block of LANES outputs][r][s][c]
 * [LANES], with zeros past the last output and, if there is one, the bias behind.
 *
 * VECTOR   width of a vector: 1, 4, 8, 16
 * VECTORS  vectors in a tile's row: 1, 2
 * ROWS     rows of a tile, which are output pixels in forward, weights in backward: 1 .. 16
 * GATHER   backward of the weight: 1: a tile's weights may lie anywhere in the slab, 0: they are neighbours
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
#ifndef GATHER
#define GATHER 0
#endif
#define LANES (VECTOR * VECTORS)
#if VECTORS == 2
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1)
#else
#define EACH_VECTOR(i, F) F(i, 0)
#endif

typedef LW_FLOAT(VECTOR) vector;

#define DECLARE_ONE(i, j) vector c##i##_##j = zero;
#define DECLARE(i) EACH_VECTOR(i, DECLARE_ONE)
#define LOAD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * LANES + j * VECTOR);
#define LOAD(i) EACH_VECTOR(i, LOAD_ONE)
#define STORE_ONE(i, j) LW_STORE(VECTOR, c##i##_##j, to + i * pitch + j * VECTOR);
#define STORE(i) EACH_VECTOR(i, STORE_ONE)
#define STEP_ONE(i, j) c##i##_##j = fma(value##i, b##j, c##i##_##j);
#define END_ONE(i, j) c##i##_##j = c##i##_##j + zero;
#define END(i) EACH_VECTOR(i, END_ONE)
#define BIAS_ONE(i, j) c##i##_##j = c##i##_##j + b##j;
#define BIAS(i) EACH_VECTOR(i, BIAS_ONE)

static inline void clear(__local float *to, int count)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR)
		LW_STORE(VECTOR, (vector)(0.0f), to + i);
	for (; i < count; i++)
		to[i] = 0.0f;
}

static inline void copy(__local float *to, __global const float *from, int count)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR)
		LW_STORE(VECTOR, LW_LOAD(VECTOR, from + i), to + i);
	for (; i < count; i++)
		to[i] = from[i];
}

/* `rows` rows from row `top`, `columns` pixels from column `left`, of group_channels of an image's channels; zeros outside it */
static inline void fill_slab(__local float *slab, __global const float *image, int top, int rows,
			     int left, int columns, int height, int width, int channels, int group_channels)
{
	const int before = clamp(-left, 0, columns), inside = clamp(width - left, before, columns);
	const int pitch = columns * group_channels;

	for (int row = 0; row < rows; row++) {
		__local float *to = slab + row * pitch;
		const int h = top + row;
		if (h < 0 || h >= height) {
			clear(to, pitch);
			continue;
		}
		clear(to, before * group_channels);
		__global const float *from = image + ((size_t)h * width + left + before) * channels;
		to += before * group_channels;
		if (channels == group_channels)
			copy(to, from, (inside - before) * channels);
		else
			for (int j = 0; j < inside - before; j++)
				copy(to + j * group_channels, from + (size_t)j * channels, group_channels);
		clear(to + (inside - before) * group_channels, (columns - inside) * group_channels);
	}
}

/*
 * ids: block of `run` inner channels, block of outputs, group. Tap (t, u) of the packed weights is tap
 * (first_row + t * row_step, first_column + u * column_step) of the kernel; the weight of output o and inner channel i
 * of a group starts at o * out_step + i * inner_step.
 */
__kernel void pack_weight(__global const float *restrict weight, __global const float *restrict bias,
			  __global float *restrict packed, int outputs, int inner, int run, int group_size, int out_step,
			  int inner_step, int taps_height, int taps_width, int first_row, int row_step,
			  int first_column, int column_step, int kernel_width, int base)
{
	const int block = get_global_id(1), group = get_global_id(2), blocks = get_global_size(1);
	const int taps = taps_height * taps_width, begin = (int)get_global_id(0) * run, end = min(inner, begin + run);
	__global float *to =
		packed + base + (size_t)(group * blocks + block) * ((size_t)taps * inner + (bias ? 1 : 0)) * LANES;
	__global const float *from = weight + (size_t)group * group_size;

	for (int i = begin; i < end; i++)
		for (int lane = 0; lane < LANES; lane++) {
			const int o = block * LANES + lane;
			__global const float *w = from + (size_t)o * out_step + (size_t)i * inner_step;
			for (int t = 0; t < taps_height; t++)
				for (int u = 0; u < taps_width; u++)
					to[((size_t)(t * taps_width + u) * inner + i) * LANES + lane] =
						o < outputs ? w[(first_row + t * row_step) * kernel_width + first_column + u * column_step]
							    : 0.0f;
		}
	if (bias && begin == 0)
		for (int lane = 0; lane < LANES; lane++)
			to[(size_t)taps * inner * LANES + lane] =
				block * LANES + lane < outputs ? bias[group * outputs + block * LANES + lane] : 0.0f;
}

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i * step]);                                                             \
	EACH_VECTOR(i, STEP_ONE)

/*
 * ids: image and tile of tile_height x tile_width output pixels, group, share of the blocks of outputs. Also one phase of
 * the backward pass of data, with gy as x. Input row of output row p and tap r: p * stride_height + origin_height + r * dilation_height.
 * Output (image, p, q, k) lies at y_base + image * y_image + p * y_row + q * y_pixel + k.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_forward(__global const float *restrict x, __global const float *restrict packed, __global float *restrict y,
	     __local float *restrict scratch, int height, int width, int channels, int group_channels, int out_height,
	     int out_width, int outputs, int taps_height, int taps_width, int stride_height, int stride_width,
	     int origin_height, int origin_width, int dilation_height, int dilation_width, int tile_height,
	     int tile_width, int y_base, int y_image, int y_row, int y_pixel, int packed_base, int blocks, int bias)
{
	const int tiles_across = (out_width + tile_width - 1) / tile_width;
	const int tiles = (out_height + tile_height - 1) / tile_height * tiles_across;
	const int image = (int)get_group_id(0) / tiles, tile_index = (int)get_group_id(0) % tiles, group = get_group_id(1);
	const int top = tile_index / tiles_across * tile_height, left = tile_index % tiles_across * tile_width;
	const int rows = min(tile_height, out_height - top), across = min(tile_width, out_width - left);
	const int columns = ((across + ROWS - 1) / ROWS * ROWS - 1) * stride_width + (taps_width - 1) * dilation_width + 1;
	const int slab_pitch = columns * group_channels, step = stride_width * group_channels;
	/* the taps of a row are one run where they are neighbours */
	const int runs = dilation_width == 1 ? 1 : taps_width;
	const int run = dilation_width == 1 ? taps_width * group_channels : group_channels;
	const size_t block_size = ((size_t)taps_height * taps_width * group_channels + bias) * LANES;
	__local float *tile = scratch, *slab = scratch + ROWS * LANES;
	const vector zero = (vector)(LW_ZERO(height));

	fill_slab(slab, x + (size_t)image * height * width * channels + group * group_channels,
		  top * stride_height + origin_height, (rows - 1) * stride_height + (taps_height - 1) * dilation_height + 1,
		  left * stride_width + origin_width, columns, height, width, channels, group_channels);
	for (int block = get_group_id(2); block < blocks; block += get_num_groups(2)) {
		const int lanes = min(LANES, outputs - block * LANES);
		for (int p = 0; p < rows; p++)
			for (int q = 0; q < across; q += ROWS) {
				__global const float *w = packed + packed_base + (group * blocks + block) * block_size;
				__global float *out = y + y_base + (size_t)image * y_image +
							       (size_t)(top + p) * y_row + (size_t)(left + q) * y_pixel +
							       group * outputs + block * LANES;
				LW_EACH(ROWS, DECLARE)

				for (int r = 0; r < taps_height; r++)
					for (int s = 0; s < runs; s++) {
						__local const float *pixel =
							slab + (p * stride_height + r * dilation_height) * slab_pitch + q * step +
							s * dilation_width * group_channels;
						for (int i = 0; i < run; i++) {
							const vector b0 = LW_LOAD(VECTOR, w);
#if VECTORS == 2
							const vector b1 = LW_LOAD(VECTOR, w + VECTOR);
#endif
							LW_EACH(ROWS, STEP)
							pixel++;
							w += LANES;
						}
					}
				if (bias) {
					const vector b0 = LW_LOAD(VECTOR, w);
#if VECTORS == 2
					const vector b1 = LW_LOAD(VECTOR, w + VECTOR);
#endif
					LW_EACH(ROWS, BIAS)
				}
				LW_EACH(ROWS, END)
				if (lanes == LANES && across - q >= ROWS) {
					__global float *to = out;
					const size_t pitch = y_pixel;
					LW_EACH(ROWS, STORE)
				} else {
					__local float *to = tile;
					const size_t pitch = LANES;
					LW_EACH(ROWS, STORE)
					for (int i = 0; i < min(ROWS, across - q); i++)
						for (int j = 0; j < lanes; j++)
							out[(size_t)i * y_pixel + j] = tile[i * LANES + j];
				}
			}
	}
}
#undef STEP

#if GATHER
#define OFFSET(i)                                                                                                      \
	const int offset##i = slab_offset(first + i, taps_width, group_channels, slab_pitch, dilation_height, dilation_width, \
					  taps_height);
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[offset##i]);                                                            \
	EACH_VECTOR(i, STEP_ONE)
#else
#define OFFSET(i)
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i]);                                                                    \
	EACH_VECTOR(i, STEP_ONE)
#endif

/* Where weight (r, s, c), counted in that order, finds its first pixel; past the last one anywhere. */
static inline int slab_offset(int index, int taps_width, int group_channels, int slab_pitch, int dilation_height,
			      int dilation_width, int taps_height)
{
	const int c = index % group_channels, s = index / group_channels % taps_width;
	const int r = index / group_channels / taps_width;
	return r < taps_height ? r * dilation_height * slab_pitch + s * dilation_width * group_channels + c : 0;
}

/*
 * ids: part of the batch, group, block of outputs (times kernel rows where `splits` says so). partial is [part][group]
 * [block][segment][weights of a segment, padded to ROWS][LANES]; a segment is a kernel's row, or with GATHER all of the kernel.
 * Chains go on in partial from slab to slab. A tile is narrower than a row only where it is one row high.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_backward_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
		     __local float *restrict scratch, int images, int height, int width, int channels, int group_channels,
		     int out_height, int out_width, int outputs, int taps_height, int taps_width, int stride_height,
		     int stride_width, int pad_height, int pad_width, int dilation_height, int dilation_width,
		     int tile_height, int tile_width, int blocks, int splits)
{
	const int part = get_group_id(0), parts = get_num_groups(0), group = get_group_id(1), groups = get_num_groups(1);
	const int block = (int)get_group_id(2) / splits, split = (int)get_group_id(2) % splits;
	const int row_begin = taps_height * split / splits, row_end = taps_height * (split + 1) / splits;
	const int out_channels = outputs * groups, lanes = min(LANES, outputs - block * LANES);
	const int segment = (GATHER ? taps_height : 1) * taps_width * group_channels;
	const int segments = GATHER ? 1 : taps_height, padded = (segment + ROWS - 1) / ROWS * ROWS;
	const int image_begin = (int)((long)images * part / parts), image_end = (int)((long)images * (part + 1) / parts);
	__global float *sums =
		partial + ((size_t)(part * groups + group) * blocks + block) * segments * padded * LANES;
	__local float *gradients = scratch, *slab = scratch + tile_height * tile_width * LANES;
	const vector zero = (vector)(0.0f);
	int started = 0;

	for (int image = image_begin; image < image_end; image++)
	for (int top = 0; top < out_height; top += tile_height)
	for (int left = 0; left < out_width; left += tile_width) {
		const int rows = min(tile_height, out_height - top), across = min(tile_width, out_width - left);
		const int columns = (across - 1) * stride_width + (taps_width - 1) * dilation_width + 1;
		const int slab_pitch = columns * group_channels, step = stride_width * group_channels;

		fill_slab(slab, x + (size_t)image * height * width * channels + group * group_channels,
			  top * stride_height - pad_height + row_begin * dilation_height,
			  (rows - 1) * stride_height + (row_end - row_begin - 1) * dilation_height + 1,
			  left * stride_width - pad_width, columns, height, width, channels, group_channels);
		for (int p = 0; p < rows; p++)
			for (int q = 0; q < across; q++) {
				__local float *to = gradients + (p * across + q) * LANES;
				copy(to, gy + (((size_t)image * out_height + top + p) * out_width + left + q) * out_channels +
						 group * outputs + block * LANES, lanes);
				clear(to + lanes, LANES - lanes);
			}
		for (int r = GATHER ? 0 : row_begin; r < (GATHER ? 1 : row_end); r++)
			for (int first = 0; first < segment; first += ROWS) {
				__local const float *b = gradients;
				__global float *sum = sums + (size_t)(r * padded + first) * LANES;
				LW_EACH(ROWS, DECLARE)
				LW_EACH(ROWS, OFFSET)

				if (started) {
					__global const float *from = sum;
					LW_EACH(ROWS, LOAD)
				}
				for (int p = 0; p < rows; p++) {
					__local const float *pixel =
						slab + (p * stride_height + (r - row_begin) * dilation_height) * slab_pitch +
						(GATHER ? 0 : first);
					for (int q = 0; q < across; q++) {
						const vector b0 = LW_LOAD(VECTOR, b);
#if VECTORS == 2
						const vector b1 = LW_LOAD(VECTOR, b + VECTOR);
#endif
						LW_EACH(ROWS, STEP)
						pixel += step;
						b += LANES;
					}
				}
				__global float *to = sum;
				const size_t pitch = LANES;
				LW_EACH(ROWS, STORE)
			}
		started = 1;
	}
}

/*
 * ids: input channel of a group, block of outputs, group. Adds the parts in order and writes OIHW. The sum of weight
 * (r, s, c) is number r * row_pitch + s * group_channels + c of the block's `rows`.
 */
__kernel void sum_weight_parts(__global const float *restrict partial, __global float *restrict gradient, int parts,
			       int outputs, int taps_height, int taps_width, int row_pitch, int rows)
{
	const int c = get_global_id(0), block = get_global_id(1), group = get_global_id(2);
	const int group_channels = get_global_size(0), blocks = get_global_size(1), groups = get_global_size(2);
	const int taps = taps_height * taps_width, lanes = min(LANES, outputs - block * LANES);
	const size_t part_size = (size_t)groups * blocks * rows * LANES;
	__global const float *from = partial + (size_t)(group * blocks + block) * rows * LANES;
	__global float *to = gradient + ((size_t)(group * outputs + block * LANES) * group_channels + c) * taps;

	for (int r = 0; r < taps_height; r++)
		for (int s = 0; s < taps_width; s++)
			for (int lane = 0; lane < lanes; lane++) {
				__global const float *p =
					from + (size_t)(r * row_pitch + s * group_channels + c) * LANES + lane;
				float sum = *p;
				for (int part = 1; part < parts; part++)
					sum = sum + p[part * part_size];
				to[(size_t)lane * group_channels * taps + r * taps_width + s] = sum + LW_ZERO(parts);
			}
}

/* Depthwise: one input and one output per group, so lanes are channels. Taps as pack_weight's, packed is [tap][channel]. */
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

/* One output pixel: channels from c on, `width` of them. */
#define DEPTHWISE_FORWARD(lanes)                                                                                       \
	{                                                                                                              \
		LW_FLOAT(lanes) sum = (LW_FLOAT(lanes))(0.0f);                                                         \
		for (int t = 0; t < taps_height; t++)                                                                  \
			for (int u = 0; u < taps_width; u++) {                                                         \
				const int h = p * stride_height + origin_height + t * dilation_height;                         \
				const int v = q * stride_width + origin_width + u * dilation_width;                            \
				const int inside = h >= 0 && h < height && v >= 0 && v < width;                                \
				LW_FLOAT(lanes) value = (LW_FLOAT(lanes))(0.0f);                                               \
				if (inside)                                                                            \
					value = LW_LOAD(lanes, x + (((size_t)image * height + h) * width + v) * channels + c); \
				sum = fma(value, LW_LOAD(lanes, w + (t * taps_width + u) * channels + c), sum);        \
			}                                                                                              \
		if (bias)                                                                                              \
			sum = sum + LW_LOAD(lanes, bias + c);                                                          \
		LW_STORE(lanes, sum + (LW_FLOAT(lanes))(LW_ZERO(height)), out + c);                                            \
	}

/* ids: output row, image. Arguments as conv_forward's. */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_forward(__global const float *restrict x, __global const float *restrict packed, __global const float *restrict bias,
		  __global float *restrict y, int height, int width, int channels, int out_width, int taps_height,
		  int taps_width, int stride_height, int stride_width, int origin_height, int origin_width,
		  int dilation_height, int dilation_width, int y_base, int y_image, int y_row, int y_pixel, int packed_base)
{
	const int p = get_group_id(0), image = get_group_id(1);
	__global const float *w = packed + packed_base;

	for (int q = 0; q < out_width; q++) {
		__global float *out = y + y_base + (size_t)image * y_image + (size_t)p * y_row + (size_t)q * y_pixel;
		int c = 0;
		for (; c <= channels - VECTOR; c += VECTOR)
			DEPTHWISE_FORWARD(VECTOR)
		for (; c < channels; c++)
			DEPTHWISE_FORWARD(1)
	}
}

#define DEPTHWISE_WEIGHT(lanes)                                                                                        \
	{                                                                                                              \
		LW_FLOAT(lanes) sum = (LW_FLOAT(lanes))(0.0f);                                                         \
		for (int image = image_begin; image < image_end; image++)                                              \
			for (int p = 0; p < out_height; p++)                                                           \
				for (int q = 0; q < out_width; q++) {                                                          \
					const int h = p * stride_height - pad_height + t * dilation_height;                    \
					const int v = q * stride_width - pad_width + u * dilation_width;                       \
					const size_t pixel = ((size_t)image * out_height + p) * out_width + q;                 \
					LW_FLOAT(lanes) value = (LW_FLOAT(lanes))(0.0f);                                       \
					if (h >= 0 && h < height && v >= 0 && v < width)                                       \
						value = LW_LOAD(lanes, x + (((size_t)image * height + h) * width + v) * channels + c); \
					sum = fma(value, LW_LOAD(lanes, gy + pixel * channels + c), sum);                      \
				}                                                                                              \
		LW_STORE(lanes, sum, out + c);                                                                         \
	}

/* ids: part of the batch, tap. partial is [part][tap][channel] */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
depthwise_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict partial,
		 int images, int height, int width, int channels, int out_height, int out_width, int taps_width,
		 int stride_height, int stride_width, int pad_height, int pad_width, int dilation_height, int dilation_width)
{
	const int part = get_group_id(0), parts = get_num_groups(0), tap = get_group_id(1), taps = get_num_groups(1);
	const int t = tap / taps_width, u = tap % taps_width;
	const int image_begin = (int)((long)images * part / parts), image_end = (int)((long)images * (part + 1) / parts);
	__global float *out = partial + (size_t)(part * taps + tap) * channels;
	int c = 0;

	for (; c <= channels - VECTOR; c += VECTOR)
		DEPTHWISE_WEIGHT(VECTOR)
	for (; c < channels; c++)
		DEPTHWISE_WEIGHT(1)
}

/* ids: channel, tap. gradient is [channel][tap] */
__kernel void sum_depthwise_parts(__global const float *restrict partial, __global float *restrict gradient, int parts)
{
	const size_t c = get_global_id(0), tap = get_global_id(1), channels = get_global_size(0), taps = get_global_size(1);
	float sum = partial[tap * channels + c];

	for (int part = 1; part < parts; part++)
		sum = sum + partial[(part * taps + tap) * channels + c];
	gradient[c * taps + tap] = sum + LW_ZERO(parts);
}
