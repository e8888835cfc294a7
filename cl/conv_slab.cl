/*
 * conv_slab.cl: what the convolutions for CPUs copy into local memory, for inclusion behind tile.cl.
 */
#ifndef VECTOR
#include "tile.cl"
#endif

/* floats of a cache line, and inner steps between two hints of what is read next */
#define LINE 16
#define RUN 16

static inline void clear(__local float *to, int count)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR)
		*(__local loose_vector *)(to + i) = (vector)(0.0f);
	for (; i < count; i++)
		to[i] = 0.0f;
}

static inline void copy(__local float *to, __global const float *from, int count)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR)
		*(__local loose_vector *)(to + i) = *(__global const loose_vector *)(from + i);
	for (; i < count; i++)
		to[i] = from[i];
}

/*
 * `rows` x `columns` pixels of group_channels of an image's channels, `pitch` floats apart; zeros outside the image. Neighbours
 * lie row_step and column_step apart in the image, from row `top` and column `left` on.
 */
static inline void fill_slab(__local float *slab, __global const float *image, int top, int rows, int row_step,
			     int left, int columns, int column_step, int height, int width, int channels,
			     int group_channels, int pitch)
{
	const int before = left >= 0 ? 0 : (int)min((long)columns, ((long)column_step - 1 - left) / column_step);
	const int inside = left >= width ? before : (int)clamp(((long)width - left + column_step - 1) / column_step, (long)before, (long)columns);

	for (int row = 0; row < rows; row++) {
		__local float *to = slab + row * columns * pitch;
		const int h = top + row * row_step;
		if (h < 0 || h >= height) {
			clear(to, columns * pitch);
			continue;
		}
		clear(to, before * pitch);
		__global const float *from = image + ((size_t)h * width + left + (size_t)before * column_step) * channels;
		to += before * pitch;
		if (channels == pitch && column_step == 1)
			copy(to, from, (inside - before) * channels);
		else
			for (int j = 0; j < inside - before; j++)
				copy(to + j * pitch, from + (size_t)j * column_step * channels, group_channels);
		clear(to + (inside - before) * pitch, (columns - inside) * pitch);
	}
}

/*
 * Hints that `count` runs of `floats` floats, `pitch` apart, from p on and below `end`, are soon read; returns where the rest begins.
 * What is multiplied meanwhile hides the time they take to come.
 */
static inline __global const float *look_ahead(__global const float *p, __global const float *end, int count, int floats, int pitch)
{
	for (int i = 0; i < count && p < end; i++, p += pitch)
		for (int j = 0; j < floats; j += LINE)
			LW_AHEAD(p + j)
	return p;
}
