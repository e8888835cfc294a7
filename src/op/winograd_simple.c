/* Winograd convolutions with one work-item per result: anywhere. */
#include "op/winograd.h"

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	(void)context, (void)conv, (void)list, (void)capacity, (void)pass;
	return 0;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	(void)context, (void)conv, (void)pass, (void)choice;
	return 0;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	(void)context, (void)conv, (void)pass, (void)choice, (void)buffers;
	return lw_fail(LW_E_UNSUPPORTED, "conv: no kernels yet");
}

const lw_conv_family lw_winograd_simple = {"simple", false, choices, workspace, run};
