/* conv: what the files of the convolution share. Pairs are height, width. */
#ifndef LW_OP_CONV_H
#define LW_OP_CONV_H

#include "op/support.h"

typedef struct lw_conv {
	int images, groups, parts;
	int input[2], output[2], channels, out_channels;
	int kernel[2], stride[2], pad[2], dilation[2];
	int group_channels, group_out; /* per group */
	bool bias;
} lw_conv;

/* The buffers of one pass, whichever it is; NULL: not wanted. */
typedef struct lw_conv_buffers {
	lw_buf *x, *weight, *bias, *y, *workspace;
	lw_buf *gradient, *x_gradient, *weight_gradient;
} lw_conv_buffers;

static inline size_t lw_conv_taps(const lw_conv *conv) { return (size_t)conv->kernel[0] * (size_t)conv->kernel[1]; }

/* Floats of the weight. */
static inline size_t lw_conv_weights(const lw_conv *conv)
{
	return (size_t)conv->out_channels * (size_t)conv->group_channels * lw_conv_taps(conv);
}

/* The cpu family: bytes of workspace, whatever the device; whether the device's local memory holds a slab; the passes. */
size_t lw_conv_cpu_forward_workspace(const lw_conv *conv);
size_t lw_conv_cpu_backward_workspace(const lw_conv *conv);
bool lw_conv_cpu_applies(lw_device *device, const lw_conv *conv);
lw_status lw_conv_cpu_forward(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers);
lw_status lw_conv_cpu_backward_data(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers);
lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers);

#endif
