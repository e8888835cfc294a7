/* Winograd convolutions on CPUs, backward of the weight. */
#include "op/winograd.h"

int lw_winograd_weight_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity)
{
	(void)context, (void)conv, (void)list, (void)capacity;
	return 0;
}

size_t lw_winograd_weight_workspace(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice)
{
	(void)context, (void)conv, (void)choice;
	return 0;
}

lw_status lw_winograd_weight_run(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				 const lw_conv_buffers *buffers)
{
	(void)context, (void)conv, (void)choice, (void)buffers;
	return lw_fail(LW_E_UNSUPPORTED, "conv: no kernels yet");
}
