/*
 * conv_point.cl: direct convolution of single pixels (1x1, no padding) for CPUs, forward and backward of the data: one
 * work-item per work-group, register tiles (tile.cl) whose rows are output pixels and whose vectors lie along the output
 * channels. The chains are those of conv.cl. Pixels are read where they lie; weights are packed as for conv_cpu.cl.
 */
#include "tile.cl"

/* Inner steps between two hints of what is read next, a cache line of floats; and steps that share their addresses. */
#define RUN 16
#define UNROLL 4

#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i * pitch_x]);                                                          \
	EACH_VECTOR(i, STEP_ONE)
#define ONE_STEP                                                                                                       \
	{                                                                                                              \
		LOAD_VECTORS(w)                                                                                        \
		LW_EACH(ROWS, STEP)                                                                                    \
		pixel++;                                                                                               \
		w += LANES;                                                                                            \
	}

/*
 * ids: `tiles` tiles of all images' rows of output pixels, group, share of the blocks of outputs. A tile is ROWS pixels of
 * a row, which has at least so many; the last one of a row begins early. Output pixel (p, q) of an image reads x at
 * image * x_image + p * x_row + q * x_pixel, and is written likewise from y_base on. mask_x: what the pass's layer reads,
 * where the gradient is to end at a relu, else NULL. ahead_lines: cache lines of the next work-group's pixels to ask for in
 * every RUN steps, where they lie behind this one's.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_point(__global const float *restrict x, __global const float *restrict packed, __global float *restrict y,
	   __global const float *restrict mask_x, __local float *restrict tile, int images, int out_height, int out_width,
	   int channels, int outputs, int x_image, int x_row, int x_pixel, int y_base, int y_image, int y_row, int y_pixel,
	   int packed_base, int tiles, int blocks, int bias, int relu, int ahead_lines)
{
	const int across = (out_width + ROWS - 1) / ROWS, all = images * out_height * across, group = get_group_id(1);
	const int first = (int)get_group_id(0) * tiles, end = min(first + tiles, all), shares = get_num_groups(2);
	const size_t block_size = ((size_t)channels + bias) * LANES, pitch_x = x_pixel;
	const vector zero = (vector)(LW_ZERO(images));

	for (int block = get_group_id(2), turn = 0; block < blocks; block += shares, turn++) {
		const int lanes = min(LANES, outputs - block * LANES);
		int image = first / across / out_height, p = first / across % out_height, start = first % across * ROWS;
		for (int index = first; index < end; index++) {
			const int q = min(start, out_width - ROWS), done = start - q;
			__global const float *pixel =
				x + (size_t)image * x_image + (size_t)p * x_row + (size_t)q * x_pixel + group * channels;
			__global const float *w = packed + packed_base + (group * blocks + block) * block_size;
			const size_t at = y_base + (size_t)image * y_image + (size_t)p * y_row + (size_t)q * y_pixel +
					  group * outputs + block * LANES;
			__global float *out = y + at;
			__global const float *mask = mask_x + (mask_x ? at : 0);
			/* each block asks for its part of the tile in the same place of the next work-group */
			const int hints = index + tiles < all ? ahead_lines : 0;
			__global const float *ahead = pixel + (size_t)tiles * ROWS * x_pixel + (size_t)turn * channels * hints;
			int left = channels;
			LW_EACH(ROWS, DECLARE)

			for (; left >= RUN; left -= RUN) {
				for (int i = 0; i < hints; i++, ahead += RUN)
					LW_AHEAD(ahead)
#pragma unroll UNROLL
				for (int i = 0; i < RUN; i++)
					ONE_STEP
			}
			for (; left > 0; left--)
				ONE_STEP
			FINISH_OUTPUTS(y_pixel, done, ROWS, lanes, tile)
			start += ROWS;
			if (start >= out_width) {
				start = 0;
				if (++p == out_height) {
					p = 0;
					image++;
				}
			}
		}
	}
}
