/* winograd: C references of Winograd's convolutions, step for step as the kernels. */
#ifndef LW_TESTS_OP_WINOGRAD_H
#define LW_TESTS_OP_WINOGRAD_H

#include "op/conv.h"
#include "op/runner.h"

/* Forward of x (bias may be NULL), or with `data` the gradient of x from that of y, before any relu or mask. */
void lw_reference_winograd(const lw_op_problem *problem, lw_conv_algorithm algorithm, bool data, const float *x,
			   const float *weight, const float *bias, float *y);
void lw_reference_winograd_weight(const lw_op_problem *problem, lw_conv_algorithm algorithm, const float *x, const float *gradient,
				  float *weight_gradient);

#endif
