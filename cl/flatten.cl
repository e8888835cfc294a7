/*
 * flatten.cl: for every image a transposition of its [rows][columns] values. What mask says of the result, if it is not
 * NULL: 0 where relu's output, which has the result's order, is 0.
 */

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

/* An item per BLOCK rows of an image (dimension 0: these, 1: image), in squares of 4 x 4 that stay in registers. */
__kernel void transpose_blocks(__global const float *from, __global float *to, __global const float *mask, int rows, int columns)
{
	const size_t image = (size_t)get_global_id(1) * rows * columns;
	const int first = (int)get_global_id(0) * BLOCK, end = min(first + BLOCK, rows), whole = first + (end - first) / 4 * 4;
	from += image;
	to += image;
	if (mask)
		mask += image;
	for (int column = 0; column < columns; column += 4) {
		const int last = min(column + 4, columns);
		int row = last - column == 4 ? first : end;
		for (; row < whole; row += 4) {
			__global const float *source = from + (size_t)row * columns + column;
			const float4 a = vload4(0, source), b = vload4(0, source + columns);
			const float4 c = vload4(0, source + 2 * (size_t)columns), d = vload4(0, source + 3 * (size_t)columns);
			__global float *target = to + (size_t)column * rows + row;
			float4 p = (float4)(a.s0, b.s0, c.s0, d.s0), q = (float4)(a.s1, b.s1, c.s1, d.s1);
			float4 r = (float4)(a.s2, b.s2, c.s2, d.s2), s = (float4)(a.s3, b.s3, c.s3, d.s3);
			if (mask) {
				__global const float *by = mask + (size_t)column * rows + row;
				p = vload4(0, by) <= 0.0f ? (float4)(0.0f) : p;
				q = vload4(0, by + rows) <= 0.0f ? (float4)(0.0f) : q;
				r = vload4(0, by + 2 * (size_t)rows) <= 0.0f ? (float4)(0.0f) : r;
				s = vload4(0, by + 3 * (size_t)rows) <= 0.0f ? (float4)(0.0f) : s;
			}
			vstore4(p, 0, target);
			vstore4(q, 0, target + rows);
			vstore4(r, 0, target + 2 * (size_t)rows);
			vstore4(s, 0, target + 3 * (size_t)rows);
		}
		for (int k = last - column == 4 ? whole : first; k < end; k++)
			for (int j = column; j < last; j++) {
				const size_t at = (size_t)j * rows + k;
				const float value = from[(size_t)k * columns + j];
				to[at] = mask && mask[at] <= 0.0f ? 0.0f : value;
			}
	}
}
