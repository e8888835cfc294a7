/* tile_gpu: the tiles of the products for GPUs, cl/tile_gpu.cl. */
#ifndef LW_OP_TILE_GPU_H
#define LW_OP_TILE_GPU_H

#include "op/support.h"

/* Work-items along M and N, rows and float4 columns of each. A choice holds them as its tile's first four numbers. */
typedef struct lw_gpu_tile {
	int lines, across, rows, vectors;
} lw_gpu_tile;

enum { LW_GPU_DEPTH = 16, LW_GPU_LARGEST = 128 };

static inline int lw_gpu_tile_m(const lw_gpu_tile *tile) { return tile->lines * tile->rows; }
static inline int lw_gpu_tile_n(const lw_gpu_tile *tile) { return tile->across * tile->vectors * 4; }
static inline lw_gpu_tile lw_gpu_tile_of(const lw_choice *choice)
{
	return (lw_gpu_tile){choice->tile[0], choice->tile[1], choice->tile[2], choice->tile[3]};
}

/*
 * Appends the tiles for `copies` products of M x N results that the device can run, best guess first, named
 * "<prefix> 64x64"; returns how many.
 */
int lw_gpu_tile_choices(const lw_op_context *context, double m, int n, double copies, const char *prefix, lw_choice *list,
			int capacity);

/* The kernel for the tile: options LINES, ACROSS, ROWS, VECTORS. */
lw_variant lw_gpu_tile_variant(const char *source, const char *function, const lw_gpu_tile *tile);

/* Bytes of local memory: the steps of A and B, padded, and a table of `places` int4. */
size_t lw_gpu_tile_local(const lw_gpu_tile *tile, int places);

/* The launch's first dimension, along N first, with one tile a work-group. */
void lw_gpu_tile_launch(lw_launch *launch, const lw_gpu_tile *tile, int m, int n);

#endif
