/* gemm_gpu: the tiled matrix product for devices with many small processors; the chains of lw_gemm (op.h). */
#ifndef LW_OP_GEMM_GPU_H
#define LW_OP_GEMM_GPU_H

#include "op/gemm.h"

/*
 * Several products of the same shape: each one's matrices lie `batch` floats behind the last one's, the first one's at `at`.
 * Both are multiples of 4 where the leading dimension is.
 */
typedef struct lw_gemm_batch {
	int count;
	struct {
		int at, batch;
	} a, b, c;
} lw_gemm_batch;
lw_status lw_gemm_gpu_run_batch(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice,
				const lw_gemm_batch *batch);

#endif
