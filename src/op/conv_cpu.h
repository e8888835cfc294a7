/* conv_cpu: what the two files of the convolution on CPUs share. */
#ifndef LW_OP_CONV_CPU_H
#define LW_OP_CONV_CPU_H

#include "op/conv_pass.h"
#include "op/tile.h"

/* What a work-group's slab may take of a core's cache, in floats. */
enum { LW_CONV_SLAB = 24 * 1024 };

/* Register tiles at most, for any device. */
enum { LW_CONV_TILES = 9 };

/* A register tile, the part of the output that a work-group takes, and how many blocks of outputs there are. */
typedef struct lw_conv_tiling {
	lw_tile tile;
	int slab; /* floats that the slab should not exceed */
	bool in_place; /* single pixels are read where they lie */
	int height, width, blocks;
	size_t local_floats;
} lw_conv_tiling;

/* Cuts `size` into equal pieces of at most `most`, which are multiples of `unit` but for the last. */
static inline int lw_conv_even(int size, int most, int unit)
{
	const int pieces = (size + most - 1) / most, piece = (size + pieces - 1) / pieces;

	return lw_min_int(size, (int)lw_round_up((size_t)piece, (size_t)unit));
}

/* What kernels are told of the place of a pass's output and its packed weights. */
void lw_conv_place_arguments(lw_launch *launch, const lw_conv_pass *p);

/* What a pass reads and writes: packed has the weights and biases; y ends where mask is not above 0, if there is one, and with relu. */
typedef struct lw_conv_pass_buffers {
	lw_buf *x, *weight, *bias, *packed, *y, *mask;
	bool relu;
} lw_conv_pass_buffers;

/* Single pixels, read where they lie, in conv_point.c: whether the pass, its rows joined, is one; its launch, weights being packed. */
bool lw_conv_point_applies(const lw_conv_pass *p, const lw_tile *tile);
lw_status lw_conv_point_launch(const lw_op_context *context, const lw_conv_pass *p, const lw_tile *tile, const lw_conv_pass_buffers *b);

/* Weights as pack_weight of cl/conv_cpu.cl has them: `blocks` blocks of `lanes` outputs, behind each its bias, if there is one. */
lw_status lw_conv_pack(const lw_op_context *context, const lw_conv_pass *p, int lanes, int blocks, lw_buf *weight, lw_buf *bias,
		       lw_buf *packed);

/*
 * The register tiles for `outputs` outputs per group and rows of `length` pixels, best guess first; returns how many
 * (at most LW_CONV_TILES). The second: for single pixels, read where they lie.
 */
int lw_conv_cpu_tiles(const lw_op_context *context, int outputs, int length, lw_tile *tiles);
int lw_conv_point_tiles(const lw_op_context *context, int outputs, int length, lw_tile *tiles);

/* What both do with the shapes, rows and vectors, that they have: those of more than most_rows rows count for a little more. */
int lw_conv_cpu_sort_tiles(const lw_op_context *context, int outputs, int length, const int (*shapes)[2], int count, int most_rows,
			   lw_tile *tiles);

/*
 * Cycles of a tile per inner step of all outputs, to compare tiles: two fused multiply-adds or two loads at once, and no
 * tile below the few that hide the latency.
 */
double lw_conv_cpu_tile_cost(const lw_tile *tile, int outputs, int length);
/* Floats from pixel to pixel of a slab: a multiple of 1 KB would put a column of pixels into few sets of the cache. */
int lw_conv_pixel_pitch(int group_channels);

/* Backward of the weight, in conv_cpu_weight.c: see lw_conv_family. */
int lw_conv_cpu_weight_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity);
size_t lw_conv_cpu_weight_workspace(lw_device *device, const lw_conv *conv, const lw_choice *choice);
lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				      const lw_conv_buffers *buffers);

/* Depthwise, in conv_depthwise.c. */
int lw_conv_depthwise_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity);
size_t lw_conv_depthwise_workspace(const lw_conv *conv, lw_pass pass);
lw_status lw_conv_depthwise_run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
				const lw_conv_buffers *buffers);

#endif
