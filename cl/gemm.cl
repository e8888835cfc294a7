/* gemm.cl: C = op(A) op(B) (+ bias), one work-item per element of C, and the bias alone. */

/* ids: column, row. The inner dimension is cut into parts; a part is a chain of fma from 0, and parts are added in order. */
__kernel void gemm(__global const float *a, __global const float *b, __global const float *bias, __global float *c, int k,
		   int lda, int ldb, int ldc, int transpose_a, int transpose_b, int parts)
{
	const size_t column = get_global_id(0), row = get_global_id(1);
	const size_t a_start = transpose_a ? row : row * lda, a_step = transpose_a ? lda : 1;
	const size_t b_start = transpose_b ? column * ldb : column, b_step = transpose_b ? 1 : ldb;
	float total = 0.0f;

	for (int part = 0; part < parts; part++) {
		const size_t begin = (size_t)((long)k * part / parts), end = (size_t)((long)k * (part + 1) / parts);
		float sum = 0.0f;
		for (size_t i = begin; i < end; i++)
			sum = fma(a[a_start + i * a_step], b[b_start + i * b_step], sum);
		total = part == 0 ? sum : total + sum;
	}
	c[row * ldc + column] = (bias ? total + bias[column] : total) + LW_ZERO(k);
}

/* ids: column, row */
__kernel void add_bias(__global const float *bias, __global float *c, int ldc)
{
	const size_t i = get_global_id(1) * ldc + get_global_id(0);
	c[i] = c[i] + bias[get_global_id(0)];
}
