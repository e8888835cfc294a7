/*
 * conv_gpu.cl: the direct convolution on GPUs (cl/conv.cl says the chains) as a product of tiles whose first matrix is never
 * stored: M the pixels, N the output channels of a group, K = (r, s, c). Backward of data is one such pass per phase of
 * the stride with gy in the place of x; backward of the weight has M = (r, s, c), N = output channels, K = the pixels of a
 * part of the batch. Neighbouring items read neighbouring channels.
 *
 * LOAD_VECTORS  1: a group's channels of the input are a multiple of 4
 * APART         1: pixels have a chain for each tap inside x and add these (conv_col2im.cl's algorithm), 0: one chain
 */
#include "tile_gpu.cl"
#ifndef LOAD_VECTORS
#define LOAD_VECTORS 0
#endif
#ifndef APART
#define APART 0
#endif
#if APART
#define RESULT total
#else
#define RESULT sum
#endif

/*
 * The weights of a pass as the tiles read them: packed[group][inner padded][out padded], inner = (r, s, c), 0 in the padding.
 * Tap (i, j) is the weight's (first + i * step); out_step and inner_step lead from one output and c to the next.
 * ids: output, inner, group
 */
__kernel void conv_gpu_pack(__global const float *weight, __global float *packed, int outputs, int channels, int group_size,
			    int out_step, int inner_step, int taps_height, int taps_width, int first_height, int step_height,
			    int first_width, int step_width, int kernel_width, int base)
{
	const int out = get_global_id(0), inner = get_global_id(1), group = get_global_id(2);
	const int c = inner % channels, tap = inner / channels;
	float value = 0.0f;

	if (out < outputs && tap < taps_height * taps_width) {
		const int r = first_height + tap / taps_width * step_height, s = first_width + tap % taps_width * step_width;
		value = weight[(size_t)group * group_size + (size_t)out * out_step + (size_t)c * inner_step + r * kernel_width + s];
	}
	packed[base + ((size_t)group * get_global_size(1) + inner) * get_global_size(0) + out] = value;
}

/* The next (r, s, c): c has grown past the channels. */
#define CARRY(r, s, c)                                                                                                 \
	for (; c >= group_channels; c -= group_channels)                                                               \
		if (++s == taps_width) {                                                                               \
			s = 0;                                                                                         \
			r++;                                                                                           \
		}

/*
 * One pass over pixels: forward, or a phase of backward of data. Pixel (p, q) reads rows p * stride + origin + r * dilation
 * and is written at y_base + image * y_image + p * y_row + q * y_pixel. ids: tile, along N first; group
 */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_gpu_pixels(__global const float *x, __global const float *packed, __global const float *bias, __global const float *mask,
		__global float *y, __local float4 *local_a, int height, int width, int channels, int group_channels,
		int outputs, int pixels, int out_height, int out_width, int taps_height, int taps_width, int stride_height,
		int stride_width, int origin_height, int origin_width, int dilation_height, int dilation_width, int y_base,
		int y_image, int y_row, int y_pixel, int packed_base, int relu)
{
	__local float4 *const local_b = local_a + DEPTH * A_STRIDE;
	/* of the tile's pixels: first row and column, place of the image in x, place in y or -1 */
	__local int4 *const places = (__local int4 *)(local_b + DEPTH * B_STRIDE);
	const int blocks = (outputs + TILE_N - 1) / TILE_N, group = get_group_id(1);
	const int first_pixel = (int)get_group_id(0) / blocks * TILE_M, first_column = (int)get_group_id(0) % blocks * TILE_N;
	const int steps = (taps_height * taps_width * group_channels + DEPTH - 1) / DEPTH, padded = blocks * TILE_N;
	__global const float *b = packed + packed_base + (size_t)group * steps * DEPTH * padded + first_column;
	float4 sum[SUMS], next_a[A_LOADS], next_b[B_LOADS];
	int r = 0, s = 0, c = tile_k4();
#if APART
	float4 total[SUMS];
	int tap = 0, left = group_channels;

	tile_clear(total);
#endif

	for (int i = get_local_id(0); i < TILE_M; i += ITEMS) {
		const int pixel = first_pixel + i, row = pixel / out_width, q = pixel % out_width;
		const int p = row % out_height, image = row / out_height;
		const int4 place = {p * stride_height + origin_height, q * stride_width + origin_width,
				    image * height * width * channels + group * group_channels,
				    y_base + image * y_image + p * y_row + q * y_pixel + group * outputs};
		places[i] = pixel < pixels ? place : (int4)(-1);
	}
	barrier(CLK_LOCAL_MEM_FENCE);
	CARRY(r, s, c)
	tile_clear(sum);
	/* the loads of a step are under way while the step before is computed */
	for (int step = 0; step <= steps; step++) {
		if (step < steps) {
#pragma unroll
			for (int i = 0; i < B_LOADS; i++)
				next_b[i] = *(__global const float4 *)(b + (size_t)(step * DEPTH + tile_k(i, TILE_N)) * padded +
								       tile_along(i, TILE_N));
#pragma unroll
			for (int i = 0; i < A_LOADS; i++) {
				const int4 place = places[tile_across(i)];
#if LOAD_VECTORS
				const int h = place.x + r * dilation_height, v = place.y + s * dilation_width;
				next_a[i] = (float4)(0.0f);
				if (place.w >= 0 && r < taps_height && h >= 0 && h < height && v >= 0 && v < width)
					next_a[i] = *(__global const float4 *)(x + place.z + (h * width + v) * channels + c);
#else
				float four[4];
				int tap_r = r, tap_s = s, tap_c = c;
#pragma unroll
				for (int j = 0; j < 4; j++, tap_c++) {
					CARRY(tap_r, tap_s, tap_c)
					const int h = place.x + tap_r * dilation_height, v = place.y + tap_s * dilation_width;
					const int inside = place.w >= 0 && tap_r < taps_height && h >= 0 && h < height &&
							   v >= 0 && v < width;
					four[j] = inside ? x[place.z + (h * width + v) * channels + tap_c] : 0.0f;
				}
				next_a[i] = (float4)(four[0], four[1], four[2], four[3]);
#endif
			}
			c += DEPTH;
			CARRY(r, s, c)
		}
#if APART
		for (int from = 0; step > 0 && from < DEPTH;) {
			const int to = min(DEPTH, from + left);
			tile_multiply(local_a, local_b, from, to, sum);
			left -= to - from;
			from = to;
			if (left)
				continue;
			const int down = tap / taps_width * dilation_height, right = tap % taps_width * dilation_width;
#pragma unroll
			for (int i = 0; i < SUMS; i++) {
				const int h = places[TILE_ROW(i / VECTORS)].x + down, v = places[TILE_ROW(i / VECTORS)].y + right;
				if (h >= 0 && h < height && v >= 0 && v < width)
					total[i] = total[i] + sum[i];
			}
			tile_clear(sum);
			left = group_channels;
			tap++;
		}
#else
		if (step > 0)
			tile_multiply(local_a, local_b, 0, DEPTH, sum);
#endif
		barrier(CLK_LOCAL_MEM_FENCE);
		if (step < steps) {
#pragma unroll
			for (int i = 0; i < A_LOADS; i++)
				tile_store_transposed(local_a, TILE_M, i, next_a[i]);
#pragma unroll
			for (int i = 0; i < B_LOADS; i++)
				tile_store(local_b, TILE_N, i, next_b[i]);
		}
		barrier(CLK_LOCAL_MEM_FENCE);
	}
#pragma unroll
	for (int v = 0; v < VECTORS; v++) {
		const int column = first_column + TILE_COLUMN(v), count = outputs - column;
		const float4 add = bias ? tile_load(bias + group * outputs + column, count, outputs % 4 == 0) : (float4)(0.0f);
#pragma unroll
		for (int i = 0; i < ROWS; i++) {
			const int place = places[TILE_ROW(i)].w;
			float4 result = RESULT[i * VECTORS + v];
			if (place < 0 || count <= 0)
				continue;
			result = (bias ? result + add : result) + LW_ZERO(width);
			if (relu)
				result = select(result, (float4)(0.0f), result <= (float4)(0.0f));
			if (mask)
				result = select(result, (float4)(0.0f),
						tile_load(mask + place + column, count, outputs % 4 == 0) <= (float4)(0.0f));
			tile_save(result, y + place + column, count, outputs % 4 == 0);
		}
	}
}

/*
 * Backward of the weight: partial[part][group][(r, s, c)][output]. rows = taps * group_channels.
 * ids: tile, along N first; group + groups * part
 */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
conv_gpu_weight(__global const float *x, __global const float *gy, __global float *partial, __local float4 *local_a, int images,
		int height, int width, int channels, int group_channels, int out_height, int out_width, int out_channels,
		int outputs, int rows, int taps_width, int stride_height, int stride_width, int pad_height, int pad_width,
		int dilation_height, int dilation_width, int parts)
{
	__local float4 *const local_b = local_a + DEPTH * A_STRIDE;
	/* of a step's pixels: as in conv_gpu_pixels; the last is the pixel's place in gy */
	__local int4 *const places = (__local int4 *)(local_b + DEPTH * B_STRIDE);
	const int blocks = (outputs + TILE_N - 1) / TILE_N, groups = channels / group_channels;
	const int group = (int)get_group_id(1) % groups, part = (int)get_group_id(1) / groups, area = out_height * out_width;
	const int first_row = (int)get_group_id(0) / blocks * TILE_M, first_column = (int)get_group_id(0) % blocks * TILE_N;
	const int begin = (int)((long)images * part / parts) * area, end = (int)((long)images * (part + 1) / parts) * area;
	const int steps = (end - begin + DEPTH - 1) / DEPTH, row = first_row + tile_along(0, TILE_M);
	float4 sum[SUMS], next_a[A_LOADS], next_b[B_LOADS];
	/* of the item's four rows: the tap's offsets, and the channel */
	int down[4], right[4], c[4];

#pragma unroll
	for (int j = 0; j < 4; j++) {
		const int tap = (row + j) / group_channels;
		down[j] = tap / taps_width * dilation_height - pad_height;
		right[j] = tap % taps_width * dilation_width - pad_width;
		c[j] = (row + j) % group_channels;
	}
	tile_clear(sum);
	/* places are a step ahead of the loads, which are a step ahead of the sums */
	for (int step = -1; step <= steps; step++) {
		if (step >= 0 && step < steps) {
#pragma unroll
			for (int i = 0; i < A_LOADS; i++) {
				const int4 place = places[tile_k(i, TILE_M)];
#if LOAD_VECTORS
				const int h = place.x + down[0], v = place.y + right[0];
				next_a[i] = (float4)(0.0f);
				if (place.w >= 0 && row < rows && h >= 0 && h < height && v >= 0 && v < width)
					next_a[i] = *(__global const float4 *)(x + place.z + (h * width + v) * channels + c[0]);
#else
				float four[4];
#pragma unroll
				for (int j = 0; j < 4; j++) {
					const int h = place.x + down[j], v = place.y + right[j];
					const int inside = place.w >= 0 && row + j < rows && h >= 0 && h < height && v >= 0 && v < width;
					four[j] = inside ? x[place.z + (h * width + v) * channels + c[j]] : 0.0f;
				}
				next_a[i] = (float4)(four[0], four[1], four[2], four[3]);
#endif
			}
#pragma unroll
			for (int i = 0; i < B_LOADS; i++) {
				const int place = places[tile_k(i, TILE_N)].w, column = first_column + tile_along(i, TILE_N);
				next_b[i] = tile_load(gy + max(place, 0) + column, place < 0 ? 0 : outputs - column, outputs % 4 == 0);
			}
		}
		if (step > 0)
			tile_multiply(local_a, local_b, 0, DEPTH, sum);
		barrier(CLK_LOCAL_MEM_FENCE);
		if (step >= 0 && step < steps) {
#pragma unroll
			for (int i = 0; i < A_LOADS; i++)
				tile_store(local_a, TILE_M, i, next_a[i]);
#pragma unroll
			for (int i = 0; i < B_LOADS; i++)
				tile_store(local_b, TILE_N, i, next_b[i]);
		}
		if (get_local_id(0) < DEPTH) {
			const int pixel = begin + (step + 1) * DEPTH + (int)get_local_id(0);
			const int line = pixel / out_width, p = line % out_height, image = line / out_height;
			const int4 place = {p * stride_height, pixel % out_width * stride_width,
					    image * height * width * channels + group * group_channels,
					    pixel * out_channels + group * outputs};
			places[get_local_id(0)] = pixel < end ? place : (int4)(-1);
		}
		barrier(CLK_LOCAL_MEM_FENCE);
	}
#pragma unroll
	for (int v = 0; v < VECTORS; v++)
#pragma unroll
		for (int i = 0; i < ROWS; i++) {
			const int to = first_row + TILE_ROW(i), column = first_column + TILE_COLUMN(v);
			if (to < rows)
				tile_save(sum[i * VECTORS + v],
					  partial + ((size_t)get_group_id(1) * rows + to) * outputs + column, outputs - column,
					  outputs % 4 == 0);
		}
}

/* The parts of backward of the weight, added as LW_SUM_PARTS has it, as OIHW. id: place in partial, of `count` */
#define PART(part) partial[(size_t)(part) * count + i]
__kernel void conv_gpu_sum_weight(__global const float *partial, __global float *to, int parts, int slices, int count, int rows,
				  int outputs, int group_channels)
{
	const int i = get_global_id(0);

	if (i >= count)
		return;
	const int k = i % outputs, row = i / outputs % rows, group = i / outputs / rows;
	const int taps = rows / group_channels;
	LW_SUM_PARTS(float, sum, parts, slices, PART)
	to[((size_t)(group * outputs + k) * group_channels + row % group_channels) * taps + row / group_channels] =
		sum + LW_ZERO(parts);
}

#if LOAD_VECTORS
#define LANES 4
#define LOAD(p) (*(__global const float4 *)(p))
#define STORE(v, p) (*(__global float4 *)(p) = (v))
#else
#define LANES 1
#define LOAD(p) (*(p))
#define STORE(v, p) (*(p) = (v))
#endif

/* As conv_gpu_pixels, for groups of one channel in and out; packed[tap][channel]. id: pixel, and run of LANES channels */
__kernel void conv_gpu_depthwise(__global const float *x, __global const float *packed, __global const float *bias,
				 __global const float *mask, __global float *y, int height, int width, int channels, int pixels,
				 int out_height, int out_width, int taps_height, int taps_width, int stride_height,
				 int stride_width, int origin_height, int origin_width, int dilation_height, int dilation_width,
				 int y_base, int y_image, int y_row, int y_pixel, int packed_base, int relu)
{
	const int runs = channels / LANES;
	const int pixel = (int)(get_global_id(0) / runs), c = (int)(get_global_id(0) % runs) * LANES;

	if (pixel >= pixels)
		return;
	const int q = pixel % out_width, p = pixel / out_width % out_height, image = pixel / out_width / out_height;
	const int place = y_base + image * y_image + p * y_row + q * y_pixel + c;
	LW_FLOAT(LANES) sum = 0.0f;
	for (int r = 0; r < taps_height; r++)
		for (int s = 0; s < taps_width; s++) {
			const int h = p * stride_height + origin_height + r * dilation_height;
			const int v = q * stride_width + origin_width + s * dilation_width;
			LW_FLOAT(LANES) value = 0.0f;
			if (h >= 0 && h < height && v >= 0 && v < width)
				value = LOAD(x + ((image * height + h) * width + v) * channels + c);
			sum = fma(value, LOAD(packed + packed_base + (r * taps_width + s) * channels + c), sum);
		}
	if (bias)
		sum = sum + LOAD(bias + c);
	sum = sum + LW_ZERO(width);
	if (relu)
		sum = sum <= 0.0f ? (LW_FLOAT(LANES))(0.0f) : sum;
	if (mask)
		sum = LOAD(mask + place) <= 0.0f ? (LW_FLOAT(LANES))(0.0f) : sum;
	STORE(sum, y + place);
}

/* partial[part][channel][tap]. ids: channel, tap, part */
__kernel void conv_gpu_depthwise_weight(__global const float *x, __global const float *gy, __global float *partial, int images,
					int height, int width, int channels, int out_height, int out_width, int taps_width,
					int stride_height, int stride_width, int pad_height, int pad_width, int dilation_height,
					int dilation_width)
{
	const int c = get_global_id(0), tap = get_global_id(1), part = get_global_id(2);
	const int taps = get_global_size(1), parts = get_global_size(2);

	if (c >= channels)
		return;
	const int begin = (int)((long)images * part / parts), end = (int)((long)images * (part + 1) / parts);
	const int down = tap / taps_width * dilation_height - pad_height, right = tap % taps_width * dilation_width - pad_width;
	float sum = 0.0f;
	for (int image = begin; image < end; image++)
		for (int p = 0; p < out_height; p++)
			for (int q = 0; q < out_width; q++) {
				const int h = p * stride_height + down, v = q * stride_width + right;
				const int inside = h >= 0 && h < height && v >= 0 && v < width;
				sum = fma(inside ? x[((image * height + h) * width + v) * channels + c] : 0.0f,
					  gy[((image * out_height + p) * out_width + q) * channels + c], sum);
			}
	partial[((size_t)part * channels + c) * taps + tap] = sum;
}
