/* winograd_weight: what the two files of Winograd's backward pass of the weight share. See cl/winograd_weight.cl. */
#ifndef LW_OP_WINOGRAD_WEIGHT_H
#define LW_OP_WINOGRAD_WEIGHT_H

#include "op/winograd.h"

/*
 * Transformed tiles of the whole batch: vectors of `vector` channels, of which x has x_vectors and the output's gradient,
 * whose tiles begin at `base`, has gradient_vectors.
 */
typedef struct lw_winograd_tiles {
	int vector, x_vectors, gradient_vectors;
	int down, pitch, base; /* down: rows of tiles of an image */
	size_t floats; /* of all */
} lw_winograd_tiles;

/* false: more than 2^31-1 floats */
bool lw_winograd_weight_tiles(const lw_conv *conv, const lw_choice *choice, int vector, int lanes, lw_winograd_tiles *tiles);

/* Into how many parts the batch is cut: the bits depend on it, so it is the shape's alone. */
int lw_winograd_weight_parts(const lw_conv *conv, int algorithm);

static inline int lw_winograd_points(int algorithm)
{
	const int size = lw_winograd_size((lw_conv_algorithm)algorithm);

	return size * size;
}

/* A kernel of winograd_weight.cl; place as there. */
lw_variant lw_winograd_weight_variant(const char *function, int algorithm, int place, int vector);

/* All tiles into the workspace. */
lw_status lw_winograd_transform_tiles(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				      const lw_winograd_tiles *tiles, int place, const lw_conv_buffers *buffers);

/* One work-item per result, anywhere: as in lw_conv_family. */
int lw_winograd_weight_simple_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity);
size_t lw_winograd_weight_simple_workspace(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice);
lw_status lw_winograd_weight_simple_run(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
					const lw_conv_buffers *buffers);

#endif
