/*
 * gemm_gpu.cl: C = op(A) op(B) + bias, relu, mask on GPUs, the chains of lw_gemm.
 *
 * PARTS  1: K is summed in parts
 */
#include "tile_gpu.cl"
#ifndef PARTS
#define PARTS 0
#endif

/* Four floats of a matrix of rows x columns from `row`, `column` on. */
static inline float4 load_matrix(__global const float *matrix, int rows, int columns, int stride, int row, int column)
{
	return tile_load(matrix + (size_t)row * stride + column, row < rows ? columns - column : 0, stride % 4 == 0);
}

/* Of several products each begins a_batch behind the last, and so on; the first at a_at. ids: tile, along N first; product */
__kernel __attribute__((reqd_work_group_size(ITEMS, 1, 1))) void
gemm_gpu(__global const float *all_a, __global const float *all_b, __global const float *bias, __global const float *mask,
	 __global float *all_c, int m, int n, int k, int lda, int ldb, int ldc, int transpose_a, int transpose_b, int parts, int relu,
	 __local float4 *local_a, int a_at, int b_at, int c_at, int a_batch, int b_batch, int c_batch)
{
	__global const float *a = all_a + a_at + get_group_id(1) * (size_t)a_batch;
	__global const float *b = all_b + b_at + get_group_id(1) * (size_t)b_batch;
	__global float *c = all_c + c_at + get_group_id(1) * (size_t)c_batch;
	__local float4 *const local_b = local_a + DEPTH * A_STRIDE;
	const int blocks = (n + TILE_N - 1) / TILE_N, steps = (k + DEPTH - 1) / DEPTH;
	const int first_row = (int)get_group_id(0) / blocks * TILE_M, first_column = (int)get_group_id(0) % blocks * TILE_N;
	float4 sum[SUMS], next_a[A_LOADS], next_b[B_LOADS];

	tile_clear(sum);
#if PARTS
	float4 total[SUMS];
	int part = 0, cut = (int)((long)k / parts);
#pragma unroll
	for (int i = 0; i < SUMS; i++)
		total[i] = (float4)(-0.0f);
#endif
	/* the loads of a step are under way while the step before is computed */
	for (int step = 0; step <= steps; step++) {
		const int next = step * DEPTH;
		if (step < steps) {
#pragma unroll
			for (int i = 0; i < A_LOADS; i++)
				next_a[i] = transpose_a ? load_matrix(a, k, m, lda, next + tile_k(i, TILE_M),
								      first_row + tile_along(i, TILE_M))
							: load_matrix(a, m, k, lda, first_row + tile_across(i), next + tile_k4());
#pragma unroll
			for (int i = 0; i < B_LOADS; i++)
				next_b[i] = transpose_b ? load_matrix(b, n, k, ldb, first_column + tile_across(i), next + tile_k4())
							: load_matrix(b, k, n, ldb, next + tile_k(i, TILE_N),
								      first_column + tile_along(i, TILE_N));
		}
#if PARTS
		for (int begin = 0; step > 0 && begin < DEPTH;) {
			const int end = min(DEPTH, cut - (next - DEPTH));
			tile_multiply(local_a, local_b, begin, end, sum);
			begin = end;
			if (next - DEPTH + end < cut)
				continue;
#pragma unroll
			for (int i = 0; i < SUMS; i++)
				total[i] = total[i] + sum[i];
			tile_clear(sum);
			part++;
			cut = part < parts ? (int)((long)k * (part + 1) / parts) : INT_MAX;
		}
#else
		if (step > 0)
			tile_multiply(local_a, local_b, 0, DEPTH, sum);
#endif
		barrier(CLK_LOCAL_MEM_FENCE);
		if (step < steps) {
#pragma unroll
			for (int i = 0; i < A_LOADS; i++)
				if (transpose_a)
					tile_store(local_a, TILE_M, i, next_a[i]);
				else
					tile_store_transposed(local_a, TILE_M, i, next_a[i]);
#pragma unroll
			for (int i = 0; i < B_LOADS; i++)
				if (transpose_b)
					tile_store_transposed(local_b, TILE_N, i, next_b[i]);
				else
					tile_store(local_b, TILE_N, i, next_b[i]);
		}
		barrier(CLK_LOCAL_MEM_FENCE);
	}
#pragma unroll
	for (int v = 0; v < VECTORS; v++) {
		const int column = first_column + TILE_COLUMN(v);
		const float4 add = bias ? tile_load(bias + column, n - column, 1) : (float4)(0.0f);
#pragma unroll
		for (int i = 0; i < ROWS; i++) {
			const int row = first_row + TILE_ROW(i);
#if PARTS
			float4 result = total[i * VECTORS + v];
#else
			float4 result = sum[i * VECTORS + v];
#endif
			if (row >= m || column >= n)
				continue;
			result = (bias ? result + add : result) + LW_ZERO(k);
			if (relu)
				result = select(result, (float4)(0.0f), result <= (float4)(0.0f));
			if (mask)
				result = select(result, (float4)(0.0f),
						tile_load(mask + (size_t)row * ldc + column, n - column, ldc % 4 == 0) <=
							(float4)(0.0f));
			tile_save(result, c + (size_t)row * ldc + column, n - column, ldc % 4 == 0);
		}
	}
}
