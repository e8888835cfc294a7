/*
 * flatten.cl: for every image a transposition of its [rows][columns] values. What mask says of the result, if it is not
 * NULL: 0 where relu's output, which has the result's order, is 0.
 *
 * VECTOR  width of the stores of the kernel that takes blocks: 4, 8, 16
 * STREAM  1: what it stores goes around the caches
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef STREAM
#define STREAM 0
#endif

/* An item per value. */
__kernel void transpose_images(__global const float *from, __global float *to, __global const float *mask, int count, int rows,
			       int columns)
{
	const int i = get_global_id(0);
	if (i >= count)
		return;
	/* neighbours write neighbouring addresses */
	const int row = i % rows, column = i / rows % columns, image = i / rows / columns;
	const float value = from[((size_t)image * rows + row) * columns + column];
	to[i] = mask && mask[i] <= 0.0f ? 0.0f : value;
}

#define BLOCK 64
#define STRIP 16
typedef LW_FLOAT(VECTOR) vector;

/* to[column][row] = from[row][column], 4 x 4 */
static inline void transpose_square(__global const float *from, int columns, float *to)
{
	const float4 a = LW_LOAD(4, from), b = LW_LOAD(4, from + columns);
	const float4 c = LW_LOAD(4, from + 2 * (size_t)columns), d = LW_LOAD(4, from + 3 * (size_t)columns);
	LW_STORE(4, (float4)(a.s0, b.s0, c.s0, d.s0), to);
	LW_STORE(4, (float4)(a.s1, b.s1, c.s1, d.s1), to + BLOCK);
	LW_STORE(4, (float4)(a.s2, b.s2, c.s2, d.s2), to + 2 * BLOCK);
	LW_STORE(4, (float4)(a.s3, b.s3, c.s3, d.s3), to + 3 * BLOCK);
}

/* count, a multiple of 4, values that lie together */
static inline void store_column(const float *from, __global float *to, __global const float *mask, int count)
{
	int i = 0;
	for (; i <= count - VECTOR; i += VECTOR) {
		vector value = LW_LOAD(VECTOR, from + i);
		if (mask)
			value = LW_LOAD(VECTOR, mask + i) <= 0.0f ? (vector)(0.0f) : value;
		LW_STREAM(STREAM, VECTOR, value, to + i);
	}
	for (; i < count; i += 4) {
		float4 value = LW_LOAD(4, from + i);
		if (mask)
			value = LW_LOAD(4, mask + i) <= 0.0f ? (float4)(0.0f) : value;
		LW_STORE(4, value, to + i);
	}
}

/* An item per BLOCK rows of an image (dimension 0: these, 1: image), STRIP columns at a time, from squares of 4 x 4. */
__kernel void transpose_blocks(__global const float *from, __global float *to, __global const float *mask, int rows, int columns)
{
	const int first = (int)get_global_id(0) * BLOCK, length = min(rows - first, BLOCK), count = length / 4 * 4;
	const size_t image = (size_t)get_global_id(1) * rows * columns;
	float strip[STRIP * BLOCK];
	/* to the next item's rows where they are near, else to the next columns */
	const int ahead = columns <= 256 ? BLOCK * columns : STRIP;
	int column = 0;
	from += image + (size_t)first * columns;
	to += image + first;
	if (mask)
		mask += image + first;
	for (int width; (width = min(columns - column, STRIP) / 4 * 4) > 0; column += width) {
		for (int row = 0; row < count; row += 4) {
			for (int k = 0; k < 4; k++)
				LW_AHEAD(from + (size_t)(row + k) * columns + column + ahead)
			for (int k = 0; k < width; k += 4)
				transpose_square(from + (size_t)row * columns + column + k, columns, strip + k * BLOCK + row);
		}
		for (int k = 0; k < width; k++) {
			const size_t at = (size_t)(column + k) * rows;
			store_column(strip + k * BLOCK, to + at, mask ? mask + at : 0, count);
		}
	}
	/* what is in no square */
	for (int k = 0; k < columns; k++)
		for (int row = k < column ? count : 0; row < length; row++) {
			const size_t at = (size_t)k * rows + row;
			const float value = from[(size_t)row * columns + k];
			to[at] = mask && mask[at] <= 0.0f ? 0.0f : value;
		}
}
