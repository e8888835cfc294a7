/* gemm.cl: C = op(A) op(B) and what follows it, one work-item per element of C; and what follows alone. */

/* bias (may be NULL), relu, and the mask of the relu before (may be NULL), laid out as C */
static inline float finish_element(float sum, __global const float *bias, __global const float *mask, size_t column, size_t i,
				   int relu, float zero)
{
	float v = (bias ? sum + bias[column] : sum) + zero;
	v = relu && v <= 0.0f ? 0.0f : v;
	return mask && mask[i] <= 0.0f ? 0.0f : v;
}

/* ids: column, row, and some past them. The inner dimension is cut into parts; a part is a chain of fma from 0, and parts are added in order. */
__kernel void gemm(__global const float *a, __global const float *b, __global const float *bias, __global const float *mask,
		   __global float *c, int m, int n, int k, int lda, int ldb, int ldc, int transpose_a, int transpose_b,
		   int parts, int relu)
{
	const size_t column = get_global_id(0), row = get_global_id(1), to = row * ldc + column;
	const size_t a_start = transpose_a ? row : row * lda, a_step = transpose_a ? lda : 1;
	const size_t b_start = transpose_b ? column * ldb : column, b_step = transpose_b ? 1 : ldb;
	float total = 0.0f;

	if ((int)row >= m || (int)column >= n)
		return;
	for (int part = 0; part < parts; part++) {
		const size_t begin = (size_t)((long)k * part / parts), end = (size_t)((long)k * (part + 1) / parts);
		float sum = 0.0f;
		for (size_t i = begin; i < end; i++)
			sum = fma(a[a_start + i * a_step], b[b_start + i * b_step], sum);
		total = part == 0 ? sum : total + sum;
	}
	c[to] = finish_element(total, bias, mask, column, to, relu, LW_ZERO(k));
}

/* ids: column, row. For products that a library computed. */
__kernel void finish(__global const float *bias, __global const float *mask, __global float *c, int ldc, int relu)
{
	const size_t column = get_global_id(0), i = get_global_id(1) * ldc + column;

	c[i] = finish_element(c[i], bias, mask, column, i, relu, 0.0f);
}
