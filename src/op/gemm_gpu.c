/* Matrix products on GPUs. */
#include "op/gemm_gpu.h"

int lw_gemm_gpu_choices(const lw_op_context *context, const lw_gemm *gemm, lw_choice *list, int capacity)
{
	(void)context, (void)gemm, (void)list, (void)capacity;
	return 0;
}

size_t lw_gemm_gpu_workspace(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice)
{
	(void)context, (void)gemm, (void)choice;
	return 0;
}

lw_status lw_gemm_gpu_run(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice)
{
	(void)context, (void)gemm, (void)choice;
	return lw_fail(LW_E_UNSUPPORTED, "gemm: no kernels yet");
}
