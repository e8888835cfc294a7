/* flatten.cl: for every image a transposition of its [rows][columns] values; an item per value. */
__kernel void transpose_images(__global const float *from, __global float *to, int count, int rows, int columns)
{
	const int i = get_global_id(0);
	if (i >= count)
		return;
	/* neighbours write neighbouring addresses */
	const int row = i % rows, column = i / rows % columns, image = i / rows / columns;
	to[i] = from[((size_t)image * rows + row) * columns + column];
}
