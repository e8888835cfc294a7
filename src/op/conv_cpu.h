/* conv_cpu: what the two files of the convolution on CPUs share. */
#ifndef LW_OP_CONV_CPU_H
#define LW_OP_CONV_CPU_H

#include "op/conv.h"
#include "op/tile.h"

/* What a work-group's slab may take of a core's cache, in floats. */
enum { LW_CONV_SLAB = 24 * 1024 };

/* A register tile, the part of the output that a work-group takes, and how many blocks of outputs there are. */
typedef struct lw_conv_tiling {
	lw_tile tile;
	int height, width, blocks;
	size_t local_floats;
} lw_conv_tiling;

static inline bool lw_conv_is_depthwise(const lw_conv *conv)
{
	return conv->groups > 1 && conv->group_channels == 1 && conv->group_out == 1;
}

/* Cuts `size` into equal pieces of at most `most`, which are multiples of `unit` but for the last. */
static inline int lw_conv_even(int size, int most, int unit)
{
	const int pieces = (size + most - 1) / most, piece = (size + pieces - 1) / pieces;

	return lw_min_int(size, (int)lw_round_up((size_t)piece, (size_t)unit));
}

static inline lw_variant lw_conv_depthwise_variant(const lw_op_context *context, const char *function, int channels)
{
	lw_variant variant = {.source = "conv_cpu", .function = function};

	lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, (size_t)lw_max_int(channels, 4)));
	return variant;
}

/* Backward of the weight, in conv_cpu_weight.c. */
bool lw_conv_cpu_weight_applies(lw_device *device, const lw_conv *conv);
lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers);

#endif
