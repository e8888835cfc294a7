/*
 * conv_cpu_weight.cl: direct convolution for CPUs, backward of the weight: one work-item per work-group, register tiles
 * (tile.cl) whose rows are weights of a segment and whose vectors lie along the output channels. The chains are those of conv.cl.
 *
 * GATHER   1: a tile's weights may lie anywhere in the slab, 0: they are neighbours
 */
#ifndef GATHER
#define GATHER 0
#endif
#include "tile.cl"
#include "conv_slab.cl"

#if GATHER
#define OFFSET(i)                                                                                                      \
	const int offset##i = slab_offset(first + i, taps_width, group_channels, slab_pitch, pixel_pitch, dilation_height, \
					  dilation_width, taps_height);
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[offset##i]);                                                            \
	EACH_VECTOR(i, STEP_ONE)
#else
#define OFFSET(i)
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(pixel[i]);                                                                    \
	EACH_VECTOR(i, STEP_ONE)
#endif
/* Pixels between two hints of what is read next. */
#define RUN 16
#define ADD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * LANES + j * VECTOR) + c##i##_##j;
#define ADD(i) EACH_VECTOR(i, ADD_ONE)

/* Where weight (r, s, c), counted in that order, finds its first pixel; past the last one anywhere. */
static inline int slab_offset(int index, int taps_width, int group_channels, int slab_pitch, int pixel_pitch,
			      int dilation_height, int dilation_width, int taps_height)
{
	const int c = index % group_channels, s = index / group_channels % taps_width;
	const int r = index / group_channels / taps_width;
	return r < taps_height ? r * dilation_height * slab_pitch + s * dilation_width * pixel_pitch + c : 0;
}

/*
 * ids: share of the parts of the batch, group, block of outputs (times kernel rows where `splits` says so). sums is [share]
 * [group][block][segment][weights of a segment, padded to ROWS][LANES]; a segment is a kernel's row, or one of its `runs`
 * taps where there are more, or with GATHER all of the kernel. Chains go on in sums from slab to slab. A share is one
 * part, or several: their total then lies `total` floats behind its sums. A tile is narrower than a row only where it is one row high.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_backward_weight(__global const float *restrict x, __global const float *restrict gy, __global float *restrict sums,
		     __local float *restrict scratch, int images, int parts, int height, int width, int channels,
		     int group_channels, int out_height, int out_width, int outputs, int taps_height, int taps_width,
		     int stride_height, int stride_width, int pad_height, int pad_width, int dilation_height,
		     int dilation_width, int tile_height, int tile_width, int pixel_pitch, int runs, int blocks,
		     int splits, int total)
{
	const int shares = get_num_groups(0), share = get_group_id(0), group = get_group_id(1), groups = get_num_groups(1);
	const int part_begin = parts / shares * share, part_end = part_begin + parts / shares;
	const int block = (int)get_group_id(2) / splits, split = (int)get_group_id(2) % splits;
	const int row_begin = taps_height * split / splits, row_end = taps_height * (split + 1) / splits;
	const int out_channels = outputs * groups, lanes = min(LANES, outputs - block * LANES);
	const int segment = (GATHER ? taps_height : 1) * (runs > 1 ? 1 : taps_width) * group_channels;
	const int segments = GATHER ? 1 : taps_height * runs, padded = (segment + ROWS - 1) / ROWS * ROWS;
	/* with one tap, the slab has only the rows and columns that the stride meets */
	const int row_step = taps_height == 1 ? stride_height : 1, column_step = taps_width == 1 ? stride_width : 1;
	const int down = stride_height / row_step, step = stride_width / column_step * pixel_pitch;
	__global float *block_sums = sums + ((size_t)(share * groups + group) * blocks + block) * segments * padded * LANES;
	__local float *gradients = scratch, *slab = scratch + tile_height * tile_width * LANES;
	const int tiles = (GATHER ? 1 : (row_end - row_begin) * runs) * (padded / ROWS);
	const int whole = groups == 1 && tile_width >= out_width && taps_height >= stride_height && taps_width >= stride_width;
	const vector zero = (vector)(0.0f);

	for (int part = part_begin; part < part_end; part++) {
		const int image_begin = (int)((long)images * part / parts), image_end = (int)((long)images * (part + 1) / parts);
		for (int image = image_begin; image < image_end; image++)
		for (int top = 0; top < out_height; top += tile_height)
		for (int left = 0; left < out_width; left += tile_width) {
			const int rows = min(tile_height, out_height - top), across = min(tile_width, out_width - left);
			const int columns = (across - 1) * (stride_width / column_step) + (taps_width - 1) * dilation_width + 1;
			const int slab_pitch = columns * pixel_pitch;
			const int started = image > image_begin || top > 0 || left > 0;
			const int ends = image == image_end - 1 && top + rows == out_height && left + across == out_width;

			fill_slab(slab, x + (size_t)image * height * width * channels + group * group_channels,
				  top * stride_height - pad_height + row_begin * dilation_height,
				  (rows - 1) * down + (row_end - row_begin - 1) * dilation_height + 1, row_step,
				  left * stride_width - pad_width, columns, column_step, height, width, channels,
				  group_channels, pixel_pitch);
			for (int p = 0; p < rows; p++)
				for (int q = 0; q < across; q++) {
					__local float *to = gradients + (p * across + q) * LANES;
					copy(to, gy + (((size_t)image * out_height + top + p) * out_width + left + q) * out_channels +
							 group * outputs + block * LANES, lanes);
					clear(to + lanes, LANES - lanes);
				}
			/* the next slab, at every RUN pixels some lines of x and some pixels of gy */
			const int last = image == images - 1 && top + rows == out_height;
			const int hints = tiles * rows * ((across + RUN - 1) / RUN);
			const int x_next = whole && !last ? rows * stride_height * width * channels : 0;
			const int gy_next = whole && !last ? rows * across : 0;
			const int x_lines = (x_next + hints * LINE - 1) / (hints * LINE), gy_pixels = (gy_next + hints - 1) / hints;
			__global const float *x_ahead =
				x + ((size_t)image * height + top * stride_height) * width * channels + x_next;
			__global const float *gy_ahead =
				gy + (((size_t)image * out_height + top) * out_width + gy_next) * out_channels + block * LANES;
			__global const float *x_end = x_ahead + x_next, *gy_end = gy_ahead + (size_t)gy_next * out_channels;

			for (int index = row_begin * runs; index < (GATHER ? 1 : row_end * runs); index++)
				for (int first = 0; first < segment; first += ROWS) {
					const int r = index / runs - row_begin, s = index % runs;
					__local const float *b = gradients;
					__global float *to = block_sums + (size_t)(index * padded + first) * LANES;
					const size_t pitch = LANES;
					LW_EACH(ROWS, DECLARE)
					LW_EACH(ROWS, OFFSET)

					if (started) {
						__global const float *from = to;
						LW_EACH(ROWS, LOAD)
					}
					for (int p = 0; p < rows; p++) {
						__local const float *pixel =
							slab + (p * down + r * dilation_height) * slab_pitch +
							s * dilation_width * pixel_pitch + (GATHER ? 0 : first);
						for (int begin = 0; begin < across; begin += RUN) {
							const int pixels = min(RUN, across - begin);
							x_ahead = look_ahead(x_ahead, x_end, x_lines, LINE, LINE);
							gy_ahead = look_ahead(gy_ahead, gy_end, gy_pixels, LANES, out_channels);
							for (int q = 0; q < pixels; q++) {
								LOAD_VECTORS(b)
								LW_EACH(ROWS, STEP)
								pixel += step;
								b += LANES;
							}
						}
					}
					if (shares < parts && ends) {
						to += total;
						if (part > part_begin) {
							__global const float *from = to;
							LW_EACH(ROWS, ADD)
						}
					}
					LW_EACH(ROWS, STORE)
				}
		}
	}
}

/*
 * ids: run of `some` input channels of a group, block of LANES outputs, group. Adds the shares in order and writes OIHW. The
 * sum of weight (r, s, c) is number r * row_pitch + s * tap_pitch + c of the block's `rows`.
 */
#define PART(share) LW_LOAD(VECTOR, p + (share) * share_size)
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
sum_weight_parts(__global const float *restrict sums, __global float *restrict gradient, int total, int shares, int slices,
		 int group_channels, int outputs, int taps_height, int taps_width, int row_pitch, int tap_pitch, int rows, int some)
{
	const int begin = (int)get_group_id(0) * some, end = min(begin + some, group_channels);
	const int block = get_group_id(1), blocks = get_num_groups(1), group = get_group_id(2), groups = get_num_groups(2);
	const int taps = taps_height * taps_width, lanes = min(LANES, outputs - block * LANES);
	const size_t share_size = (size_t)groups * blocks * rows * LANES;
	__global const float *from = sums + total + (size_t)(group * blocks + block) * rows * LANES;
	__global float *to = gradient + ((size_t)(group * outputs + block * LANES) * group_channels + begin) * taps;
	const vector zero = (vector)(LW_ZERO(shares));
	float room[LANES];

	for (int c = begin; c < end; c++)
		for (int tap = 0; tap < taps; tap++, to++) {
			__global const float *p =
				from + (size_t)(tap / taps_width * row_pitch + tap % taps_width * tap_pitch + c) * LANES;

			for (int j = 0; j < LANES; j += VECTOR, p += VECTOR) {
				LW_SUM_PARTS(vector, sum, shares, slices, PART)
				LW_STORE(VECTOR, sum + zero, room + j);
			}
			for (int lane = 0; lane < lanes; lane++)
				to[(size_t)lane * group_channels * taps] = room[lane];
		}
}
