/* C reference of Winograd's convolutions: backward of the weight. */
#include "winograd.h"

void lw_reference_winograd_weight(const lw_op_problem *problem, lw_conv_algorithm algorithm, const float *x, const float *gradient,
				  float *weight_gradient)
{
	(void)problem, (void)algorithm, (void)x, (void)gradient, (void)weight_gradient;
}
