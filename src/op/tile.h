/* tile: register tiles of the CPUs' kernels: `rows` rows of `vectors` vectors of `vector` floats along the outputs. */
#ifndef LW_OP_TILE_H
#define LW_OP_TILE_H

#include "op/support.h"

typedef struct lw_tile {
	int vector, vectors, rows;
} lw_tile;

/* LW_TILE_WIDE: floats of a vector where there are twice the registers. No tile has more lanes or rows. */
enum { LW_TILE_WIDE = 16, LW_TILE_MAX_LANES = 32, LW_TILE_MAX_ROWS = 16 };

/* Work-groups that a compute unit should get at least, so that none waits for another. */
enum { LW_TILE_GROUPS_PER_UNIT = 4 };
int lw_tile_groups(const lw_device *device);

static inline int lw_tile_lanes(const lw_tile *tile) { return tile->vector * tile->vectors; }
static inline int lw_tile_blocks(const lw_tile *tile, int outputs)
{
	return (outputs + lw_tile_lanes(tile) - 1) / lw_tile_lanes(tile);
}

/* Whether tiles suit the device: an emulated fma in a register tile takes minutes to compile. */
bool lw_tile_applies(const lw_device *device);

/* The vectors of a tile for so many outputs; rows stay. */
void lw_tile_vectors(lw_tile *tile, const lw_device *device, int outputs);

/* Outputs padded to the lanes of any tile that lw_tile_vectors makes for them, whatever the device. */
size_t lw_tile_padded(int outputs);

/* Which of the numbers of rows covers `length` at the least cost, a step over a tile costing a load more than its rows. */
int lw_tile_rows(const int *candidates, size_t count, int length);

/* Floats of local memory that a work-group may use. */
size_t lw_tile_local_floats(const lw_device *device);

/* The kernel for the tile: options VECTOR, VECTORS, ROWS. */
lw_variant lw_tile_variant(const char *source, const char *function, const lw_tile *tile);

/* Enqueues first x second work-groups of one work-item each. */
lw_status lw_tile_launch(const lw_op_context *context, lw_launch *launch, size_t first, size_t second);

#endif
