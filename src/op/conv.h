/* conv: what the files of the convolution share. Pairs are height, width. */
#ifndef LW_OP_CONV_H
#define LW_OP_CONV_H

#include "op/support.h"

typedef struct lw_conv {
	int images, groups;
	int parts, slices, step_slices; /* of sums over the batch: see lw_op_call; and of the step's whole batch */
	int rule_images;   /* by which the algorithm is chosen */
	int input[2], output[2], channels, out_channels;
	int kernel[2], stride[2], pad[2], dilation[2];
	int group_channels, group_out; /* per group */
	bool bias;
	bool relu; /* forward ends with relu */
	bool mask; /* backward of the data ends with x <= 0 ? 0 : gradient */
} lw_conv;

/* What decides the bits of a pass. */
typedef enum lw_conv_algorithm {
	LW_CONV_DIRECT,
	LW_CONV_WINOGRAD_F2,  /* F(2x2, 3x3) */
	LW_CONV_WINOGRAD_F4,  /* F(4x4, 3x3) */
	LW_CONV_WINOGRAD_5X5, /* F(2x2, 5x5) */
	LW_CONV_COL2IM,       /* backward of the data: a product of each tap, then their sum */
	LW_CONV_ALGORITHMS
} lw_conv_algorithm;

extern const char *const lw_conv_algorithm_names[LW_CONV_ALGORITHMS];

/* Channels at most that are few: with more, vectors along the channels are full enough. */
enum { LW_CONV_FEW = 4 };

/* The buffers of one pass, whichever it is; NULL: not wanted. */
typedef struct lw_conv_buffers {
	lw_buf *x, *weight, *bias, *y, *workspace;
	lw_buf *gradient, *x_gradient, *weight_gradient;
} lw_conv_buffers;

static inline size_t lw_conv_taps(const lw_conv *conv) { return (size_t)conv->kernel[0] * (size_t)conv->kernel[1]; }

static inline bool lw_conv_is_depthwise(const lw_conv *conv)
{
	return conv->groups > 1 && conv->group_channels == 1 && conv->group_out == 1;
}

/* Floats of the weight. */
static inline size_t lw_conv_weights(const lw_conv *conv)
{
	return (size_t)conv->out_channels * (size_t)conv->group_channels * lw_conv_taps(conv);
}

static inline void lw_conv_pair(lw_launch *launch, const int *values)
{
	lw_arg_int(launch, values[0]);
	lw_arg_int(launch, values[1]);
}

/* Whether Winograd's algorithms can compute the convolution: 3x3 or 5x5, stride 1, no dilation, no groups, padding below the kernel. */
static inline bool lw_conv_winograd_applies(const lw_conv *conv, lw_conv_algorithm algorithm)
{
	const int kernel = algorithm == LW_CONV_WINOGRAD_5X5 ? 5 : 3;

	if (algorithm < LW_CONV_WINOGRAD_F2 || algorithm > LW_CONV_WINOGRAD_5X5)
		return false;
	for (int i = 0; i < 2; i++)
		if (conv->kernel[i] != kernel || conv->stride[i] != 1 || conv->dilation[i] != 1 || conv->pad[i] >= kernel)
			return false;
	return conv->groups == 1;
}

/* Whether winograd_few.cl suits the convolution: few channels, and outputs that are whole tiles of F(4x4, 3x3). */
static inline bool lw_conv_is_few(const lw_conv *conv)
{
	return conv->channels <= LW_CONV_FEW && conv->output[0] % 4 == 0 && conv->output[1] % 4 == 0;
}

/*
 * A family of kernels for some of the algorithms. choices appends (at most `capacity`) the ways it has to compute a pass on
 * the device, best guess first, and returns how many; the caller sets .family and decides what is allowed. workspace
 * says the bytes of scratch of one, run enqueues it: out of buffers, forward reads x, weight, bias and writes y; data
 * reads gradient, weight (x, if mask) and writes x_gradient; weight reads x, gradient and writes weight_gradient.
 */
typedef struct lw_conv_family {
	const char *name;
	bool gpu; /* for devices with many small processors, else for CPUs */
	int (*choices)(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity);
	size_t (*workspace)(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice);
	lw_status (*run)(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
			 const lw_conv_buffers *buffers);
} lw_conv_family;

extern const lw_conv_family lw_winograd_few, lw_winograd_cpu, lw_conv_gemm, lw_conv_few, lw_conv_cpu, lw_conv_col2im,
	lw_winograd_gpu, lw_conv_gpu, lw_winograd_simple, lw_conv_simple;

/*
 * Whether LW_CONV_COL2IM can compute backward of the data, and whether on a CPU, whose vectors have so many floats, it should take
 * less than another algorithm.
 */
bool lw_conv_col2im_applies(const lw_conv *conv);
bool lw_conv_col2im_pays(const lw_conv *conv, lw_conv_algorithm other, int vector);

#endif
