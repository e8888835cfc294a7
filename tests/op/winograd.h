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

/* Outputs of a tile's side that `left` are left for, where they are fewer than F(4x4, 3x3)'s; 0: the tile is whole there */
int lw_reference_edge(lw_conv_algorithm algorithm, int left);
/* The input of F(n, 3) by the filters of F(4, 3), whose points are 0, 1, -1, 2, -2 and infinity: from and to every `step`-th float. */
void lw_reference_edge_input(int n, const float *d, float *v, int step);

#endif
