/*
 * conv_few.cl: direct convolution for CPUs, backward of the data into few channels: one work-item per work-group, register
 * tiles (tile.cl) whose rows are the channels and whose vectors lie along the pixels of a phase. The chains are those of conv.cl.
 *
 * A work-group copies the rows of gy it needs, zero-padded and transposed, into local memory (the slab, [row][k][column]),
 * for all phases: places of x that a stride leads to. Weights are packed into [phase][r][s][k][ROWS], r and s descending.
 */
#include "tile.cl"
#include "conv_slab.cl"

/* Vector j of a tile is number first + j of the phase's, row by row; those past the last are as the last. */
#define PLACE(i, j)                                                                                                    \
	const int place##j = min(first + j, vectors - 1);                                                              \
	const int offset##j = place##j / row_vectors * row_pitch + place##j % row_vectors * VECTOR;
#define LOAD_PIXELS(i, j) const vector b##j = LW_LOAD(VECTOR, from + offset##j);
#define STEP(i)                                                                                                        \
	const vector value##i = (vector)(w[i]);                                                                        \
	EACH_VECTOR(i, STEP_ONE)

/* `columns` pixels of a row of gy, from column `left` on, as to[k * pitch + column]; zeros outside the row. */
static inline void transpose_row(__local float *to, __global const float *row, int left, int columns, int width, int channels,
				 int pitch)
{
	const int begin = clamp(-left, 0, columns), end = clamp(width - left, begin, columns);
	int j = begin;

	for (int k = 0; k < channels; k++) {
		clear(to + k * pitch, begin);
		clear(to + k * pitch + end, columns - end);
	}
	for (; j <= end - 4; j += 4) {
		__global const float *from = row + (size_t)(left + j) * channels;
		int k = 0;
		for (; k <= channels - 4; k += 4, from += 4) {
			const float4 r0 = vload4(0, from), r1 = vload4(0, from + channels);
			const float4 r2 = vload4(0, from + 2 * channels), r3 = vload4(0, from + 3 * channels);
			TRANSPOSE4(r0, r1, r2, r3, to + k * pitch + j, pitch)
		}
		for (; k < channels; k++, from++)
			for (int i = 0; i < 4; i++)
				to[k * pitch + j + i] = from[i * channels];
	}
	for (; j < end; j++)
		for (int k = 0; k < channels; k++)
			to[k * pitch + j] = row[(size_t)(left + j) * channels + k];
}

/* `count` pixels of ROWS channels, LANES floats apart in the tile, to places `step` apart; zeros where mask is not above 0. */
static inline void scatter(__local const float *tile, __global float *to, __global const float *mask, int count, int step)
{
	for (int q = 0; q < count; q++)
		for (int i = 0; i < ROWS; i++) {
			const size_t at = (size_t)q * step * ROWS + i;
			to[at] = mask && mask[at] <= 0.0f ? 0.0f : tile[i * LANES + q];
		}
}

/* The first place of gy that place `phase` of x reads; the place a stride behind it reads from one further on. */
static inline int first_place(int phase, int stride, int pad, int taps)
{
	const int ahead = phase + pad - (taps - 1);
	return ahead > 0 ? (ahead - 1) / stride + 1 : -(-ahead / stride);
}

/*
 * ids: image and tile of tile_height x tile_width places of a phase. mask: what the layer reads, where the gradient is to
 * end at a relu, else NULL. pitch: floats from channel to channel of the slab.
 */
__kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
conv_backward_few(__global const float *restrict gy, __global const float *restrict packed, __global float *restrict gx,
		  __global const float *restrict mask_x, __local float *restrict scratch, int height, int width,
		  int out_height, int out_width, int out_channels, int taps_height, int taps_width, int stride_height,
		  int stride_width, int pad_height, int pad_width, int tile_height, int tile_width, int pitch)
{
	const int tiles_across = ((width - 1) / stride_width + tile_width) / tile_width;
	const int tiles = ((height - 1) / stride_height + tile_height) / tile_height * tiles_across;
	const int image = (int)get_group_id(0) / tiles, tile_index = (int)get_group_id(0) % tiles;
	const int top = tile_index / tiles_across * tile_height, left = tile_index % tiles_across * tile_width;
	const int down_phases = min(stride_height, height), across_phases = min(stride_width, width);
	const int above = first_place(0, stride_height, pad_height, taps_height);
	const int before = first_place(0, stride_width, pad_width, taps_width);
	const int slab_rows = tile_height + (down_phases - 1 + pad_height) / stride_height - above;
	const int columns = (tile_width + VECTOR - 1) / VECTOR * VECTOR + (across_phases - 1 + pad_width) / stride_width - before;
	const int row_pitch = out_channels * pitch;
	__global const float *phase_weights = packed;
	__local float *tile = scratch, *slab = scratch + ROWS * LANES;
	const vector zero = (vector)(LW_ZERO(height));

	for (int row = 0; row < slab_rows; row++) {
		const int p = top + above + row;
		__local float *to = slab + row * row_pitch;
		if (p < 0 || p >= out_height)
			clear(to, row_pitch);
		else
			transpose_row(to, gy + ((size_t)image * out_height + p) * out_width * out_channels, left + before,
				      columns, out_width, out_channels, pitch);
	}
	for (int down = 0; down < down_phases; down++)
	for (int across = 0; across < across_phases; across++) {
		const int rows = clamp((height - down - 1) / stride_height + 1 - top, 0, tile_height);
		const int places = clamp((width - across - 1) / stride_width + 1 - left, 0, tile_width);
		const int row_vectors = (places + VECTOR - 1) / VECTOR, vectors = rows * row_vectors;
		const int first_row = first_place(down, stride_height, pad_height, taps_height);
		const int first_column = first_place(across, stride_width, pad_width, taps_width);
		const int phase_height = (down + pad_height) / stride_height - first_row + 1;
		const int phase_width = (across + pad_width) / stride_width - first_column + 1;

		for (int first = 0; first < vectors; first += VECTORS) {
			__global const float *w = phase_weights;
			EACH_VECTOR(0, PLACE)
			LW_EACH(ROWS, DECLARE)

			for (int r = 0; r < phase_height; r++)
				for (int s = 0; s < phase_width; s++) {
					__local const float *from =
						slab + (first_row - above + r) * row_pitch + first_column - before + s;
					for (int k = 0; k < out_channels; k++) {
						EACH_VECTOR(0, LOAD_PIXELS)
						LW_EACH(ROWS, STEP)
						from += pitch;
						w += ROWS;
					}
				}
			LW_EACH(ROWS, END)
			{
				__local float *to = tile;
				const size_t pitch = LANES;
				LW_EACH(ROWS, STORE)
			}
			for (int j = 0; j < min(VECTORS, vectors - first); j++) {
				const int p = top + (first + j) / row_vectors, q = left + (first + j) % row_vectors * VECTOR;
				const size_t at = (((size_t)image * height + p * stride_height + down) * width +
						   q * stride_width + across) * ROWS;
				scatter(tile + j * VECTOR, gx + at, mask_x ? mask_x + at : mask_x, min(VECTOR, left + places - q),
					stride_width);
			}
		}
		phase_weights += (size_t)max(phase_height, 0) * max(phase_width, 0) * out_channels * ROWS;
	}
}
