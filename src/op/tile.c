/* Choosing register tiles. */
#include "op/tile.h"

int lw_tile_groups(const lw_device *device)
{
	return (int)lw_device_get_info(device)->compute_units * LW_TILE_GROUPS_PER_UNIT;
}

bool lw_tile_applies(const lw_device *device) { return lw_device_get_info(device)->fast_fma; }

void lw_tile_vectors(lw_tile *tile, const lw_device *device, int outputs)
{
	/* not below 4: with fewer outputs the lanes past the last are idle */
	tile->vector = lw_op_vector_width(device, (size_t)lw_max_int(outputs, 4));
	tile->vectors = outputs > tile->vector ? 2 : 1;
}

size_t lw_tile_padded(int outputs)
{
	size_t lanes = 4;

	while (lanes < LW_TILE_MAX_LANES && lanes < (size_t)outputs)
		lanes *= 2;
	return lw_round_up((size_t)outputs, lanes);
}

int lw_tile_rows(const int *candidates, size_t count, int length)
{
	/* with fewer rows the units wait for each other's results */
	enum { LEAST_STEP = 6 };
	int best = candidates[0];
	long best_cost = 0;

	for (size_t i = 0; i < count; i++) {
		const int rows = candidates[i];
		const long cost = (long)((length + rows - 1) / rows) * lw_max_int(rows + 1, LEAST_STEP);
		if (i == 0 || cost < best_cost) {
			best = rows;
			best_cost = cost;
		}
	}
	return best;
}

size_t lw_tile_local_floats(const lw_device *device)
{
	const uint64_t local = lw_device_get_info(device)->local_memory;

	/* some drivers take a little for themselves */
	return (size_t)(local > 4096 ? local - 1024 : local) / sizeof(float);
}

lw_variant lw_tile_variant(const char *source, const char *function, const lw_tile *tile)
{
	lw_variant variant = {.source = source, .function = function};

	lw_variant_option(&variant, "VECTOR", tile->vector);
	lw_variant_option(&variant, "VECTORS", tile->vectors);
	lw_variant_option(&variant, "ROWS", tile->rows);
	return variant;
}

lw_status lw_tile_launch(const lw_op_context *context, lw_launch *launch, size_t first, size_t second)
{
	launch->dimensions = 2;
	launch->global[0] = first;
	launch->global[1] = second;
	launch->local[0] = launch->local[1] = 1;
	return lw_queue_launch(context->queue, launch, NULL);
}
