/* winograd: what the files of Winograd's convolutions share (Lavin and Gray 2015, "Fast Algorithms for Convolutional Neural Networks"). */
#ifndef LW_OP_WINOGRAD_H
#define LW_OP_WINOGRAD_H

#include "op/conv.h"
#include "op/tile.h"

/* Outputs per tile and side, and the transform's size: F(2x2,3x3) 2 and 4, F(4x4,3x3) 4 and 6, F(2x2,5x5) 2 and 6. */
static inline int lw_winograd_outputs(lw_conv_algorithm algorithm) { return algorithm == LW_CONV_WINOGRAD_F4 ? 4 : 2; }
static inline int lw_winograd_size(lw_conv_algorithm algorithm) { return algorithm == LW_CONV_WINOGRAD_F2 ? 4 : 6; }

/* A forward pass, or one backward of the data, which is a forward pass over the output's gradient. */
typedef struct lw_winograd_pass {
	int images, input[2], channels, output[2], outputs, pad[2];
	int out_step, inner_step, flip; /* of the weight: see winograd_filter */
	int side, points, down, across, tiles;
} lw_winograd_pass;

lw_winograd_pass lw_winograd_describe(const lw_conv *conv, lw_pass pass, int algorithm);

/* On CPUs: the points U of all filters into the workspace, as winograd.cl has them for the tile's lanes. */
lw_status lw_winograd_transform_filter(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, const lw_tile *tile,
				       lw_buf *weight, lw_buf *workspace);

/* Backward of the weight for CPUs, in winograd_weight.c: as in lw_conv_family. */
int lw_winograd_weight_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity);
size_t lw_winograd_weight_workspace(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice);
lw_status lw_winograd_weight_run(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				 const lw_conv_buffers *buffers);

#endif
