/* conv on CPUs: which tiles, how much local memory, and the launches of cl/conv_cpu.cl. */
#include "op/conv_cpu.h"

#include <math.h>

/* What a choice says of the slab where single pixels are read in place. */
enum { IN_PLACE = 0 };

/* Along an axis, the places of the slab that `count` outputs need; with one tap only those that the stride meets. */
static size_t slab_places(const lw_conv_pass *p, int axis, size_t count)
{
	if (p->taps[axis] <= 1)
		return count;
	return (count - 1) * (size_t)p->stride[axis] + (size_t)(p->taps[axis] - 1) * (size_t)p->dilation[axis] + 1;
}

/* Floats of local memory that a tile of the output needs: the slab, and a register tile. */
static size_t forward_floats(const lw_conv_pass *p, int lanes, int rows, int height, int width)
{
	const size_t columns = slab_places(p, 1, lw_round_up((size_t)width, (size_t)rows));

	return slab_places(p, 0, (size_t)height) * columns * (size_t)lw_conv_pixel_pitch(p->channels) + (size_t)(rows * lanes);
}

/* The part of the output that a work-group takes. false: not even the smallest fits the local memory */
static bool choose_forward(lw_device *device, const lw_conv_pass *p, lw_conv_tiling *tile)
{
	const size_t limit = lw_tile_local_floats(device);
	const size_t target = limit < (size_t)tile->slab ? limit : (size_t)tile->slab;
	const int groups = lw_tile_groups(device), lanes = lw_tile_lanes(&tile->tile), rows = tile->tile.rows;
	const long others = (long)p->images * p->groups;
	int most;

	tile->blocks = lw_tile_blocks(&tile->tile, p->outputs);
	if (forward_floats(p, lanes, rows, 1, 1) > limit)
		return false;
	tile->height = 1;
	tile->width = p->output[1];
	if (forward_floats(p, lanes, rows, 1, tile->width) > target) {
		for (most = rows; forward_floats(p, lanes, rows, 1, most + rows) <= target;)
			most += rows;
		tile->width = lw_conv_even(p->output[1], most, rows);
	} else {
		for (most = 1; most < p->output[0] && forward_floats(p, lanes, rows, most + 1, tile->width) <= target &&
			       others * ((p->output[0] + most) / (most + 1)) >= groups;)
			most++;
		tile->height = lw_conv_even(p->output[0], most, 1);
	}
	tile->local_floats = forward_floats(p, lanes, rows, tile->height, tile->width);
	return true;
}

int lw_conv_pixel_pitch(int group_channels) { return group_channels % 256 ? group_channels : group_channels + 16; }

/* What the choice says of the tile; choose_forward completes it. */
static void tiling_of(const lw_choice *choice, lw_conv_tiling *tile)
{
	*tile = (lw_conv_tiling){
		.tile = {.vector = choice->tile[0], .vectors = choice->tile[1], .rows = choice->tile[2]},
		.slab = choice->tile[3] == IN_PLACE ? LW_CONV_SLAB : choice->tile[3],
		.in_place = choice->tile[3] == IN_PLACE,
	};
}

static void weight_arguments(lw_launch *launch, const lw_conv_pass *p)
{
	lw_conv_pair(launch, p->taps);
	lw_arg_int(launch, p->first[0]);
	lw_arg_int(launch, p->step[0]);
	lw_arg_int(launch, p->first[1]);
	lw_arg_int(launch, p->step[1]);
	lw_arg_int(launch, p->kernel_width);
	lw_arg_int(launch, p->packed_base);
}

lw_status lw_conv_pack(const lw_op_context *context, const lw_conv_pass *p, int lanes, int blocks, lw_buf *weight, lw_buf *bias,
		       lw_buf *packed)
{
	const lw_variant variant = {.source = "conv_cpu", .function = "pack_weight"};
	const int run = 16;
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, bias);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, lanes);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, run);
	lw_arg_int(&launch, p->group_step);
	lw_arg_int(&launch, p->out_step);
	lw_arg_int(&launch, p->channel_step);
	weight_arguments(&launch, p);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((p->channels + run - 1) / run);
	launch.global[1] = (size_t)blocks;
	launch.global[2] = (size_t)p->groups;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static void pass_arguments(lw_launch *launch, const lw_conv_pass *p)
{
	lw_conv_pair(launch, p->taps);
	lw_conv_pair(launch, p->stride);
	lw_conv_pair(launch, p->origin);
	lw_conv_pair(launch, p->dilation);
}

void lw_conv_place_arguments(lw_launch *launch, const lw_conv_pass *p)
{
	lw_arg_int(launch, p->y_base);
	lw_arg_int(launch, p->y_image);
	lw_arg_int(launch, p->y_row);
	lw_arg_int(launch, p->y_pixel);
	lw_arg_int(launch, p->packed_base);
}

/* Floats from a slab to the next, 0 where they do not lie together, and the cache lines of it to ask for at a time. */
static void tell_ahead(lw_launch *launch, const lw_conv_pass *p, const lw_conv_tiling *tile)
{
	enum { LINE = 16, RUN = 16 }; /* as the kernel's */
	const bool whole = tile->width == p->output[1];
	const bool dense = p->taps[0] >= p->stride[0] && p->taps[1] >= p->stride[1];
	const double columns = whole ? p->input[1] : (double)tile->width * p->stride[1];
	const double floats = dense && p->groups == 1 && (whole || p->output[0] == 1)
				      ? columns * tile->height * p->stride[0] * p->channels
				      : 0;
	const double tiles = (double)tile->blocks * tile->height * ((tile->width + tile->tile.rows - 1) / tile->tile.rows);
	const double runs = tiles * p->taps[0] * p->taps[1] * ((p->channels + RUN - 1) / RUN);

	lw_arg_int(launch, (int)floats);
	lw_arg_int(launch, (int)ceil(floats / LINE / fmax(runs, 1)));
}

/* By way of a slab. */
static lw_status launch_pass(const lw_op_context *context, const lw_conv_pass *p, const lw_conv_tiling *tile, const lw_conv_pass_buffers *b)
{
	const long groups = lw_tile_groups(context->device);
	lw_variant variant;
	lw_launch launch;
	long tiles;

	variant = lw_tile_variant("conv_cpu", "conv_forward", &tile->tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->packed);
	lw_arg_buf(&launch, b->y);
	lw_arg_buf(&launch, b->mask);
	lw_arg_local(&launch, tile->local_floats * sizeof(float));
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->all_channels);
	lw_arg_int(&launch, p->channels);
	lw_conv_pair(&launch, p->output);
	lw_arg_int(&launch, p->outputs);
	pass_arguments(&launch, p);
	lw_arg_int(&launch, tile->height);
	lw_arg_int(&launch, tile->width);
	lw_arg_int(&launch, lw_conv_pixel_pitch(p->channels));
	lw_conv_place_arguments(&launch, p);
	lw_arg_int(&launch, tile->blocks);
	lw_arg_int(&launch, b->bias ? 1 : 0);
	lw_arg_int(&launch, b->relu);
	tell_ahead(&launch, p, tile);
	tiles = (long)p->images * ((p->output[0] + tile->height - 1) / tile->height) *
		((p->output[1] + tile->width - 1) / tile->width);
	launch.dimensions = 3;
	launch.global[0] = (size_t)tiles;
	launch.global[1] = (size_t)p->groups;
	launch.global[2] = (size_t)lw_min_int(tile->blocks, (int)((groups + tiles * p->groups - 1) / (tiles * p->groups)));
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * p->images * p->output[0] * p->output[1] * p->outputs * p->groups * p->channels * p->taps[0] *
		       p->taps[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_pass(const lw_op_context *context, lw_conv_pass *p, const lw_choice *choice, const lw_conv_pass_buffers *b)
{
	lw_conv_tiling tile;

	lw_conv_join_rows(p);
	tiling_of(choice, &tile);
	if (!choose_forward(context->device, p, &tile))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	if (!context->filters_packed && p->taps[0] && p->taps[1])
		LW_TRY(lw_conv_pack(context, p, lw_tile_lanes(&tile.tile), tile.blocks, b->weight, b->bias, b->packed));
	if (tile.in_place && lw_conv_point_applies(p, &tile.tile))
		return lw_conv_point_launch(context, p, &tile.tile, b);
	return launch_pass(context, p, &tile, b);
}

static lw_status forward(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	const lw_conv_pass_buffers buffers = {
		.x = b->x, .weight = b->weight, .bias = b->bias, .packed = b->workspace, .y = b->y, .relu = conv->relu};
	lw_conv_pass p;

	lw_conv_forward_pass(conv, &p);
	return run_pass(context, &p, choice, &buffers);
}

/* Floats of a pass's packed weights. */
static size_t packed_floats(const lw_conv_pass *p, const lw_tile *tile)
{
	return (size_t)p->taps[0] * (size_t)p->taps[1] * (size_t)p->channels * (size_t)p->groups *
	       (size_t)(lw_tile_blocks(tile, p->outputs) * lw_tile_lanes(tile));
}

static lw_status backward_data(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	const lw_conv_pass_buffers buffers = {.x = b->gradient,
					      .weight = b->weight,
					      .packed = b->workspace,
					      .y = b->x_gradient,
					      .mask = conv->mask ? b->x : NULL};
	int down = 0, across = 0;
	lw_conv_tiling tile;
	size_t base = 0;

	tiling_of(choice, &tile);
	do {
		lw_conv_pass p;
		lw_conv_data_pass(conv, down, across, &p);
		p.packed_base = (int)base;
		base += packed_floats(&p, &tile.tile);
		LW_TRY(run_pass(context, &p, choice, &buffers));
	} while (lw_conv_next_phase(conv, &down, &across));
	return LW_OK;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	int down = 0, across = 0;
	lw_conv_tiling tile;
	size_t floats = 0;
	lw_conv_pass p;

	if (lw_conv_is_depthwise(conv))
		return lw_conv_depthwise_workspace(conv, pass);
	if (pass == LW_PASS_WEIGHT)
		return lw_conv_cpu_weight_workspace(context->device, conv, choice);
	tiling_of(choice, &tile);
	if (pass == LW_PASS_FORWARD) {
		lw_conv_forward_pass(conv, &p);
		floats = packed_floats(&p, &tile.tile) +
			 (conv->bias ? (size_t)(p.groups * lw_tile_blocks(&tile.tile, p.outputs) * lw_tile_lanes(&tile.tile)) : 0);
	} else {
		do {
			lw_conv_data_pass(conv, down, across, &p);
			floats += packed_floats(&p, &tile.tile);
		} while (lw_conv_next_phase(conv, &down, &across));
	}
	return sizeof(float) * floats;
}

static bool pass_applies(lw_device *device, lw_conv_pass *p, lw_conv_tiling *tile)
{
	if (!choose_forward(device, p, tile))
		return false;
	lw_conv_join_rows(p);
	return !tile->in_place || !p->taps[0] || !p->taps[1] || lw_conv_point_applies(p, &tile->tile);
}

static bool applies(lw_device *device, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	int down = 0, across = 0;
	lw_conv_tiling tile;
	lw_conv_pass p;

	tiling_of(choice, &tile);
	if (pass == LW_PASS_FORWARD) {
		lw_conv_forward_pass(conv, &p);
		return pass_applies(device, &p, &tile);
	}
	do {
		lw_conv_data_pass(conv, down, across, &p);
		if (!pass_applies(device, &p, &tile))
			return false;
	} while (lw_conv_next_phase(conv, &down, &across));
	return true;
}

double lw_conv_cpu_tile_cost(const lw_tile *tile, int outputs, int length)
{
	const int loads = tile->rows + tile->vectors, steps = tile->rows * tile->vectors;
	const double tiles = (double)lw_tile_blocks(tile, outputs) * ((length + tile->rows - 1) / tile->rows);

	return tiles * (lw_max_int(lw_max_int(steps, loads), 9) + 0.1 * loads);
}

int lw_conv_cpu_sort_tiles(const lw_op_context *context, int outputs, int length, const int (*shapes)[2], int count, int most_rows,
			   lw_tile *tiles)
{
	const int native = lw_op_vector_width(context->device, LW_TILE_WIDE);
	double costs[LW_CONV_TILES];
	int vector = 4;

	while (vector < native && vector < outputs)
		vector *= 2;
	for (int i = 0; i < count; i++) {
		const lw_tile tile = {.vector = vector, .rows = shapes[i][0], .vectors = shapes[i][1]};
		const double cost = lw_conv_cpu_tile_cost(&tile, outputs, length) * (tile.rows > most_rows ? 1.05 : 1);
		int at = i;
		for (; at > 0 && costs[at - 1] > cost; at--) {
			costs[at] = costs[at - 1];
			tiles[at] = tiles[at - 1];
		}
		costs[at] = cost;
		tiles[at] = tile;
	}
	return count;
}

int lw_conv_cpu_tiles(const lw_op_context *context, int outputs, int length, lw_tile *tiles)
{
	static const int wide[][2] = {{14, 2}, {9, 2}, {7, 3}, {8, 3}, {6, 4}, {8, 2}, {14, 1}, {4, 2}};
	static const int narrow[][2] = {{6, 2}, {4, 3}, {4, 2}, {7, 1}, {10, 1}};
	const bool is_wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;

	return is_wide ? lw_conv_cpu_sort_tiles(context, outputs, length, wide, (int)LW_COUNT(wide), LW_TILE_MAX_ROWS, tiles) :
			 lw_conv_cpu_sort_tiles(context, outputs, length, narrow, (int)LW_COUNT(narrow), LW_TILE_MAX_ROWS, tiles);
}

/* Appends a choice if it applies. slab: floats, or IN_PLACE */
static int add_choice(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_tile *tile, int slab, const char *name,
		      lw_choice *list, int count)
{
	lw_choice choice = {.algorithm = LW_CONV_DIRECT, .tile = {tile->vector, tile->vectors, tile->rows, slab}};

	if (!applies(context->device, conv, pass, &choice))
		return count;
	snprintf(choice.name, sizeof choice.name, "direct/cpu %dx%d%s", tile->rows, tile->vectors, name);
	list[count] = choice;
	return count + 1;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	const int outputs = pass == LW_PASS_FORWARD ? conv->group_out : conv->group_channels;
	int length = pass == LW_PASS_FORWARD ? conv->output[1] : (conv->input[1] - 1) / conv->stride[1] + 1;
	const bool one = conv->kernel[0] == 1 && conv->kernel[1] == 1;
	const bool forced = context->force_variant >= 0;
	lw_tile tiles[LW_CONV_TILES];
	int count = 0, tile_count;

	if (!lw_tile_applies(context->device))
		return 0;
	if (lw_conv_is_depthwise(conv))
		return lw_conv_depthwise_choices(context, conv, pass, list, capacity);
	if (pass == LW_PASS_WEIGHT)
		return lw_conv_cpu_weight_choices(context, conv, list, capacity);
	/* pixels without a stride are one long row */
	if (one && conv->stride[0] == 1 && conv->stride[1] == 1)
		length = 1 << 16;
	tile_count = one ? lw_conv_point_tiles(context, outputs, length, tiles) : 0;
	for (int i = 0; i < tile_count && count < lw_min_int(2, capacity); i++)
		count = add_choice(context, conv, pass, &tiles[i], IN_PLACE, " in place", list, count);
	tile_count = lw_conv_cpu_tiles(context, outputs, length, tiles);
	for (int i = 0; i < tile_count && i < 3 && count <= capacity - 2; i++) {
		count = add_choice(context, conv, pass, &tiles[i], LW_CONV_SLAB, "", list, count);
		/* tests take the smaller slab with one tile */
		if (!forced || !i)
			count = add_choice(context, conv, pass, &tiles[i], LW_CONV_SLAB / 4, " small", list, count);
	}
	return count;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	if (lw_conv_is_depthwise(conv))
		return lw_conv_depthwise_run(context, conv, pass, choice, buffers);
	if (pass == LW_PASS_WEIGHT)
		return lw_conv_cpu_backward_weight(context, conv, choice, buffers);
	return pass == LW_PASS_FORWARD ? forward(context, conv, choice, buffers) : backward_data(context, conv, choice, buffers);
}

const lw_conv_family lw_conv_cpu = {"cpu", false, choices, workspace, run};
