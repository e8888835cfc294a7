/* Choosing tiles for GPUs. */
#include "op/tile_gpu.h"

/*
 * How much of the peak they are thought to reach: the more fma, the fewer floats they read from local memory for each.
 * Tests on CPUs, where a tile compiles slowly, leave out those that differ from another only in their numbers.
 */
static const struct {
	lw_gpu_tile tile;
	double efficiency;
	bool on_cpu;
} tiles[] = {
	{{16, 16, 8, 2}, 1.0, false}, {{16, 16, 8, 1}, 0.9, false}, {{16, 4, 8, 2}, 0.8, true},
	{{16, 16, 4, 1}, 0.75, false}, {{16, 8, 4, 1}, 0.7, false}, {{8, 8, 4, 1}, 0.6, true},
};

lw_variant lw_gpu_tile_variant(const char *source, const char *function, const lw_gpu_tile *tile)
{
	lw_variant variant = {.source = source, .function = function};

	lw_variant_option(&variant, "LINES", tile->lines);
	lw_variant_option(&variant, "ACROSS", tile->across);
	lw_variant_option(&variant, "ROWS", tile->rows);
	lw_variant_option(&variant, "VECTORS", tile->vectors);
	return variant;
}

size_t lw_gpu_tile_local(const lw_gpu_tile *tile, int places)
{
	const int padding = 2 * 4;

	return sizeof(float) * (size_t)(LW_GPU_DEPTH * (lw_gpu_tile_m(tile) + lw_gpu_tile_n(tile) + padding) + 4 * places);
}

static size_t blocks(const lw_gpu_tile *tile, double m, int n)
{
	return (size_t)((m + lw_gpu_tile_m(tile) - 1) / lw_gpu_tile_m(tile)) *
	       (size_t)((n + lw_gpu_tile_n(tile) - 1) / lw_gpu_tile_n(tile));
}

void lw_gpu_tile_launch(lw_launch *launch, const lw_gpu_tile *tile, int m, int n)
{
	const size_t items = (size_t)(tile->lines * tile->across);

	launch->global[0] = blocks(tile, m, n) * items;
	launch->local[0] = items;
	launch->local[1] = launch->local[2] = 1;
}

static bool fits(const lw_device_info *info, size_t index)
{
	const lw_gpu_tile *tile = &tiles[index].tile;
	const size_t items = (size_t)(tile->lines * tile->across);

	/* an emulated fma in a large register tile takes minutes to compile */
	if (!info->fast_fma && items > 64)
		return false;
	if (info->type == LW_DEVICE_CPU && !tiles[index].on_cpu)
		return false;
	return items <= info->max_work_group && items <= info->max_local_size[0] &&
	       lw_gpu_tile_local(tile, LW_GPU_LARGEST) + 1024 <= info->local_memory;
}

/* Rounds of work-groups, two at a time on each compute unit, by what a tile takes. */
static double cost(const lw_device_info *info, size_t tile, double m, int n, double copies)
{
	const lw_gpu_tile *t = &tiles[tile].tile;
	const double at_once = 2.0 * (info->compute_units ? info->compute_units : 1);
	const double rounds = (double)blocks(t, m, n) * copies / at_once;

	return (rounds < 1 ? 1 : rounds) * lw_gpu_tile_m(t) * lw_gpu_tile_n(t) / tiles[tile].efficiency;
}

int lw_gpu_tile_choices(const lw_op_context *context, double m, int n, double copies, const char *prefix, lw_choice *list,
			int capacity)
{
	enum { USUAL = 4 };
	const lw_device_info *info = lw_device_get_info(context->device);
	const int most = context->force_variant < 0 ? lw_min_int(capacity, USUAL) : capacity;
	bool listed[LW_COUNT(tiles)] = {false};
	int count = 0;

	while (count < most) {
		int best = -1;
		for (int i = 0; i < (int)LW_COUNT(tiles); i++)
			if (!listed[i] && fits(info, (size_t)i) &&
			    (best < 0 || cost(info, (size_t)i, m, n, copies) < cost(info, (size_t)best, m, n, copies)))
				best = i;
		if (best < 0)
			break;
		const lw_gpu_tile *t = &tiles[best].tile;
		lw_choice *choice = &list[count++];
		listed[best] = true;
		*choice = (lw_choice){.tile = {t->lines, t->across, t->rows, t->vectors}};
		snprintf(choice->name, sizeof choice->name, "%s %dx%d", prefix, lw_gpu_tile_m(t), lw_gpu_tile_n(t));
	}
	return count;
}
