/* gemm_gpu: the tiled matrix product for devices with many small processors; the chains of lw_gemm (op.h). */
#ifndef LW_OP_GEMM_GPU_H
#define LW_OP_GEMM_GPU_H

#include "op/support.h"

/* Appends (at most `capacity`) its tiles that the device can run, best guess first; returns how many. The caller sets .family. */
int lw_gemm_gpu_choices(const lw_op_context *context, const lw_gemm *gemm, lw_choice *list, int capacity);
size_t lw_gemm_gpu_workspace(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice);
lw_status lw_gemm_gpu_run(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice);

#endif
