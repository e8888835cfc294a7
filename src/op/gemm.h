/* gemm: what the families of matrix products share. */
#ifndef LW_OP_GEMM_H
#define LW_OP_GEMM_H

#include "op/support.h"

/* lw_choice.family */
enum { LW_GEMM_SIMPLE, LW_GEMM_GPU = LW_GEMM_OUTER + 1, LW_GEMM_CLBLAST, LW_GEMM_SKINNY };

/*
 * As lw_gemm_choices, _workspace and _run do for all of them: choices appends at most `capacity`, best guess first, and sets
 * .family.
 */
typedef struct lw_gemm_family {
	int (*choices)(const lw_op_context *context, const lw_gemm *gemm, lw_choice *list, int capacity);
	size_t (*workspace)(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice); /* NULL: none */
	lw_status (*run)(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice);
} lw_gemm_family;
extern const lw_gemm_family lw_gemm_cpu, lw_gemm_outer, lw_gemm_skinny, lw_gemm_gpu;

/* What every kernel's arguments begin with: the matrices (c being where it writes), shape, transpositions, parts, relu. */
void lw_gemm_arguments(lw_launch *launch, const lw_gemm *gemm, lw_buf *c);

/* Local memory of a work-group beyond this leaves a CPU's second-level cache. */
enum { LW_GEMM_LOCAL_FLOATS = 120 * 1024 };

#endif
