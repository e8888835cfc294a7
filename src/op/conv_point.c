/* conv of single pixels on CPUs, which are read where they lie: the launch of cl/conv_point.cl. */
#include "op/conv_cpu.h"

/* Pixels that a work-group should take: they read the weights of a block from the core's nearest cache. */
enum { PIXELS = 56 };

bool lw_conv_point_applies(const lw_conv_pass *p, const lw_tile *tile)
{
	for (int i = 0; i < 2; i++)
		if (p->taps[i] != 1 || p->origin[i] || (long)(p->output[i] - 1) * p->stride[i] >= p->input[i])
			return false;
	return p->output[1] >= tile->rows;
}

int lw_conv_point_tiles(const lw_op_context *context, int outputs, int length, lw_tile *tiles)
{
	/* more vectors would read more of the weights at a step than the nearest cache gives, more rows compute addresses */
	static const int wide[][2] = {{9, 2}, {8, 2}, {7, 2}, {14, 2}, {14, 1}, {8, 1}};
	static const int narrow[][2] = {{6, 2}, {5, 2}, {4, 3}, {4, 2}, {7, 1}, {10, 1}};
	const bool is_wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const int(*shapes)[2] = is_wide ? wide : narrow;
	const int count = is_wide ? (int)LW_COUNT(wide) : (int)LW_COUNT(narrow);

	return lw_conv_cpu_sort_tiles(context, outputs, length, shapes, count, 10, tiles);
}

/* Tiles of a work-group, of `all` and at most `most`: so many that no unit waits long for another's last. */
static int even_tiles(const lw_device *device, int all, int most, int groups)
{
	enum { STEP = 3 }; /* tenths of a tile that a work-group takes to begin */
	const long units = (long)lw_device_get_info(device)->compute_units;
	long least = 0;
	int best = most;

	for (int tiles = most; tiles > most / 2; tiles--) {
		const long parts = (long)((all + tiles - 1) / tiles) * groups, cost = (parts + units - 1) / units * (10 * tiles + STEP);
		if (tiles == most || cost < least) {
			best = tiles;
			least = cost;
		}
	}
	return best;
}

lw_status lw_conv_point_launch(const lw_op_context *context, const lw_conv_pass *p, const lw_tile *tile, const lw_conv_pass_buffers *b)
{
	const int groups = lw_tile_groups(context->device), blocks = lw_tile_blocks(tile, p->outputs);
	const int all = p->images * p->output[0] * ((p->output[1] + tile->rows - 1) / tile->rows);
	const int most = lw_min_int((PIXELS + tile->rows - 1) / tile->rows, lw_max_int(1, (int)((long)all * p->groups / groups)));
	const int tiles = even_tiles(context->device, all, most, p->groups);
	const long parts = (long)((all + tiles - 1) / tiles) * p->groups;
	const int shares = lw_min_int(blocks, (int)((groups + parts - 1) / parts)); /* of the blocks */
	lw_variant variant;
	lw_launch launch;

	variant = lw_tile_variant("conv_point", "conv_point", tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->packed);
	lw_arg_buf(&launch, b->y);
	lw_arg_buf(&launch, b->mask);
	lw_arg_local(&launch, sizeof(float) * (size_t)(tile->rows * lw_tile_lanes(tile)));
	lw_arg_int(&launch, p->images);
	lw_conv_pair(&launch, p->output);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, p->input[0] * p->input[1] * p->all_channels);
	/* a stride may be far beyond the one row that it leaves */
	lw_arg_int(&launch, p->output[0] > 1 ? p->stride[0] * p->input[1] * p->all_channels : 0);
	lw_arg_int(&launch, p->stride[1] * p->all_channels);
	lw_conv_place_arguments(&launch, p);
	lw_arg_int(&launch, tiles);
	lw_arg_int(&launch, blocks);
	lw_arg_int(&launch, b->bias ? 1 : 0);
	lw_arg_int(&launch, b->relu);
	lw_arg_int(&launch, p->output[0] == 1 && p->stride[1] == 1 && p->groups == 1 ? (tile->rows * shares + blocks - 1) / blocks : 0);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((all + tiles - 1) / tiles);
	launch.global[1] = (size_t)p->groups;
	launch.global[2] = (size_t)shares;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * p->images * p->output[0] * p->output[1] * p->outputs * p->groups * p->channels;
	return lw_queue_launch(context->queue, &launch, NULL);
}
