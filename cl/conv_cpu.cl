/*
 * conv_cpu.cl: direct convolution for CPUs, forward and backward of the data: one work-item per work-group, register tiles
 * (tile.cl) whose rows are output pixels and whose vectors lie along the output channels. The chains are those of conv.cl.
 *
 * A work-group copies the rows of x it needs, zero-padded, into local memory (the slab); a tap is then an offset, and
 * the taps of a kernel's row with their channels are one run. Weights are packed into [block of LANES outputs][r][s][c]
 * [LANES], with zeros past the last output and, if there is one, the bias behind.
 */
#include "tile.cl"
#include "conv_slab.cl"

/*
 * ids: block of `run` inner channels, block of `lanes` outputs, group. Tap (t, u) of the packed weights is tap
 * (first_row + t * row_step, first_column + u * column_step) of the kernel; the weight of output o and inner channel i
 * of a group starts at o * out_step + i * inner_step.
 */
__kernel void pack_weight(__global const float *restrict weight, __global const float *restrict bias,
			  __global float *restrict packed, int lanes, int outputs, int inner, int run, int group_size,
			  int out_step, int inner_step, int taps_height, int taps_width, int first_row, int row_step,
			  int first_column, int column_step, int kernel_width, int base)
{
	const int block = get_global_id(1), group = get_global_id(2), blocks = get_global_size(1);
	const int taps = taps_height * taps_width, begin = (int)get_global_id(0) * run, end = min(inner, begin + run);
	const size_t tap_size = (size_t)inner * lanes;
	__global float *to = packed + base + (size_t)(group * blocks + block) * (taps * tap_size + (bias ? lanes : 0));

	for (int lane = 0; lane < lanes; lane++) {
		const int o = block * lanes + lane;
		for (int i = begin; i < end; i++) {
			__global const float *from = weight + (size_t)group * group_size + (size_t)o * out_step + (size_t)i * inner_step;
			__global float *tap = to + (size_t)i * lanes + lane;
			for (int t = 0; t < taps_height; t++)
				for (int u = 0; u < taps_width; u++, tap += tap_size)
					*tap = o < outputs ? from[(first_row + t * row_step) * kernel_width + first_column + u * column_step] : 0.0f;
		}
		if (bias && begin == 0)
			to[taps * tap_size + lane] = o < outputs ? bias[group * outputs + o] : 0.0f;
	}
}

/* Inner steps between two hints of what is read next, a cache line of floats. */
#define RUN 16

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i * step]);                                                             \
	EACH_VECTOR(i, STEP_ONE)

/*
 * ids: image and tile of tile_height x tile_width output pixels, group, share of the blocks of outputs. Also one phase of
 * the backward pass of data, with gy as x. Input row of output row p and tap r: p * stride_height + origin_height + r * dilation_height.
 * Output (image, p, q, k) lies at y_base + image * y_image + p * y_row + q * y_pixel + k. mask: what the phase's layer
 * reads, where the gradient is to end at a relu, else NULL. pixel_pitch: floats from pixel to pixel of the slab.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_forward(__global const float *restrict x, __global const float *restrict packed, __global float *restrict y,
	     __global const float *restrict mask_x, __local float *restrict scratch, int height, int width, int channels,
	     int group_channels, int out_height, int out_width, int outputs, int taps_height, int taps_width,
	     int stride_height, int stride_width, int origin_height, int origin_width, int dilation_height,
	     int dilation_width, int tile_height, int tile_width, int pixel_pitch, int y_base, int y_image, int y_row,
	     int y_pixel, int packed_base, int blocks, int bias, int relu, int ahead_floats, int ahead_lines)
{
	const int tiles_across = (out_width + tile_width - 1) / tile_width;
	const int tiles = (out_height + tile_height - 1) / tile_height * tiles_across;
	const int image = (int)get_group_id(0) / tiles, tile_index = (int)get_group_id(0) % tiles, group = get_group_id(1);
	const int top = tile_index / tiles_across * tile_height, left = tile_index % tiles_across * tile_width;
	const int rows = min(tile_height, out_height - top), across = min(tile_width, out_width - left);
	/* with one tap, the slab has only the rows and columns that the stride meets */
	const int row_step = taps_height == 1 ? stride_height : 1, column_step = taps_width == 1 ? stride_width : 1;
	const int down = stride_height / row_step, right = stride_width / column_step;
	const int columns = ((across + ROWS - 1) / ROWS * ROWS - 1) * right + (taps_width - 1) * dilation_width + 1;
	const int slab_pitch = columns * pixel_pitch, step = right * pixel_pitch;
	/* the taps of a row are one run where they are neighbours */
	const int joined = dilation_width == 1 && pixel_pitch == group_channels;
	const int runs = joined ? 1 : taps_width, run = joined ? taps_width * group_channels : group_channels;
	const size_t block_size = ((size_t)taps_height * taps_width * group_channels + bias) * LANES;
	__local float *tile = scratch, *slab = scratch + ROWS * LANES;
	const vector zero = (vector)(LW_ZERO(height));
	/* the next group's slab, where it lies behind this one's: at every RUN steps some lines of it */
	const size_t slab_begin = ((size_t)image * height + top * stride_height) * width * channels + (size_t)left * channels;
	__global const float *ahead = x + slab_begin + ahead_floats;
	__global const float *ahead_end = get_group_id(0) + 1 < get_num_groups(0) ? ahead + ahead_floats : ahead;

	if (taps_height && taps_width)
		fill_slab(slab, x + (size_t)image * height * width * channels + group * group_channels,
			  top * stride_height + origin_height, (rows - 1) * down + (taps_height - 1) * dilation_height + 1,
			  row_step, left * stride_width + origin_width, columns, column_step, height, width, channels,
			  group_channels, pixel_pitch);
	for (int block = get_group_id(2); block < blocks; block += get_num_groups(2)) {
		const int lanes = min(LANES, outputs - block * LANES);
		for (int p = 0; p < rows; p++)
			for (int q = 0; q < across; q += ROWS) {
				__global const float *w = packed + packed_base + (group * blocks + block) * block_size;
				const size_t at = y_base + (size_t)image * y_image + (size_t)(top + p) * y_row +
						  (size_t)(left + q) * y_pixel + group * outputs + block * LANES;
				__global float *out = y + at;
				__global const float *mask = mask_x + (mask_x ? at : 0);
				LW_EACH(ROWS, DECLARE)

				for (int r = 0; r < taps_height; r++)
					for (int s = 0; s < runs; s++) {
						__local const float *pixel =
							slab + (p * down + r * dilation_height) * slab_pitch + q * step +
							s * dilation_width * pixel_pitch;
						for (int begin = 0; begin < run; begin += RUN) {
							const int steps = min(RUN, run - begin);
							ahead = look_ahead(ahead, ahead_end, ahead_lines, LINE, LINE);
							for (int i = 0; i < steps; i++) {
								LOAD_VECTORS(w)
								LW_EACH(ROWS, STEP)
								pixel++;
								w += LANES;
							}
						}
					}
				FINISH_OUTPUTS(y_pixel, 0, min(ROWS, across - q), lanes, tile)
			}
	}
}
