/* conv on CPUs, backward of the weight: which tiles, and the launches of cl/conv_cpu_weight.cl. */
#include "op/conv_cpu.h"

/* What a segment of weights is: see conv_backward_weight. */
typedef enum weight_segment { SEGMENT_ROW, SEGMENT_TAP, SEGMENT_ALL } weight_segment;

/* The tile of the backward pass of the weight: rows are weights of one segment. */
typedef struct weight_tiling {
	lw_conv_tiling of;
	weight_segment kind;
	int segment, segments, padded, pixel_pitch;
	int shares; /* of the batch's parts: each its own, or a work-group does all of a slice */
	int splits; /* of the kernel's rows */
	size_t total; /* from a share's sums to its total, where it has several parts, in floats */
} weight_tiling;

static size_t places(const lw_conv *conv, int axis, int count)
{
	if (conv->kernel[axis] == 1)
		return (size_t)count;
	return (size_t)(count - 1) * (size_t)conv->stride[axis] + (size_t)(conv->kernel[axis] - 1) * (size_t)conv->dilation[axis] + 1;
}

static size_t weight_floats(const lw_conv *conv, const weight_tiling *t, int height, int width)
{
	/* neighbours are read up to a tile's rows past the end */
	return places(conv, 0, height) * places(conv, 1, width) * (size_t)t->pixel_pitch + (size_t)t->of.tile.rows +
	       (size_t)height * (size_t)width * (size_t)lw_tile_lanes(&t->of.tile);
}

/* Weights of a segment. */
static int segment_size(const lw_conv *conv, weight_segment kind)
{
	return conv->group_channels * (kind == SEGMENT_TAP ? 1 : conv->kernel[1]) * (kind == SEGMENT_ALL ? conv->kernel[0] : 1);
}

/* Floats of the sums of one share. */
static size_t share_floats(const lw_conv *conv, const weight_tiling *t)
{
	return (size_t)conv->groups * (size_t)t->of.blocks * (size_t)t->segments * (size_t)t->padded *
	       (size_t)lw_tile_lanes(&t->of.tile);
}

/* Out of a choice, what it leaves open. false: the local memory does not hold a tile */
static bool choose_weight(lw_device *device, const lw_conv *conv, const lw_choice *choice, weight_tiling *t)
{
	const size_t limit = lw_tile_local_floats(device), target = limit < LW_CONV_SLAB ? limit : LW_CONV_SLAB;
	const int groups = lw_tile_groups(device);
	int most = 1, others;

	*t = (weight_tiling){
		.of.tile = {.vector = choice->tile[0], .vectors = choice->tile[1], .rows = choice->tile[2]},
		.kind = (weight_segment)choice->tile[3],
	};
	t->of.blocks = lw_tile_blocks(&t->of.tile, conv->group_out);
	t->segment = segment_size(conv, t->kind);
	t->segments = (int)(lw_conv_taps(conv) * (size_t)conv->group_channels) / t->segment;
	t->padded = (int)lw_round_up((size_t)t->segment, (size_t)t->of.tile.rows);
	t->pixel_pitch = t->kind == SEGMENT_TAP || conv->kernel[1] == 1 ? lw_conv_pixel_pitch(conv->group_channels) : conv->group_channels;
	if (weight_floats(conv, t, 1, 1) > limit)
		return false;
	t->of.height = 1;
	t->of.width = conv->output[1];
	if (weight_floats(conv, t, 1, t->of.width) > target) {
		while (weight_floats(conv, t, 1, most + 1) <= target)
			most++;
		t->of.width = lw_conv_even(conv->output[1], most, 1);
	} else {
		while (most < conv->output[0] && weight_floats(conv, t, most + 1, t->of.width) <= target)
			most++;
		t->of.height = lw_conv_even(conv->output[0], most, 1);
	}
	t->of.local_floats = weight_floats(conv, t, t->of.height, t->of.width);

	others = conv->groups * t->of.blocks;
	t->splits = t->kind != SEGMENT_ALL && others < groups && others * conv->kernel[0] >= groups ? conv->kernel[0] : 1;
	t->shares = others * t->splits >= groups ? conv->slices : conv->parts;
	if (t->shares > conv->slices && t->kind != SEGMENT_ALL && t->shares * others < groups)
		t->splits = conv->kernel[0];
	/* a part in one slab leaves no sums to go on from */
	if (t->shares < conv->parts && (conv->images > conv->parts || t->of.height < conv->output[0] || t->of.width < conv->output[1]))
		t->total = (size_t)t->shares * share_floats(conv, t);
	return true;
}

static lw_status sum_weight_parts(const lw_op_context *context, const lw_conv *conv, const weight_tiling *t,
				  lw_buf *partial, lw_buf *gradient)
{
	enum { CHANNELS = 16 }; /* neighbours in the gradient */
	lw_tile tile = t->of.tile;
	lw_variant variant;
	const int tap = t->kind == SEGMENT_TAP ? t->padded : conv->group_channels;
	lw_launch launch;

	tile.rows = 1; /* one kernel for all that differ in it */
	variant = lw_tile_variant("conv_cpu_weight", "sum_weight_parts", &tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, partial);
	lw_arg_buf(&launch, gradient);
	lw_arg_int(&launch, (int)t->total);
	lw_arg_int(&launch, t->shares);
	lw_arg_int(&launch, conv->slices);
	lw_arg_int(&launch, conv->group_channels);
	lw_arg_int(&launch, conv->group_out);
	lw_conv_pair(&launch, conv->kernel);
	lw_arg_int(&launch, t->kind == SEGMENT_ROW ? t->padded : conv->kernel[1] * tap);
	lw_arg_int(&launch, tap);
	lw_arg_int(&launch, t->segments * t->padded);
	lw_arg_int(&launch, CHANNELS);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((conv->group_channels + CHANNELS - 1) / CHANNELS);
	launch.global[1] = (size_t)t->of.blocks;
	launch.global[2] = (size_t)conv->groups;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				      const lw_conv_buffers *b)
{
	lw_variant variant;
	lw_launch launch;
	weight_tiling t;

	if (!choose_weight(context->device, conv, choice, &t))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	variant = lw_tile_variant("conv_cpu_weight", "conv_backward_weight", &t.of.tile);
	lw_variant_option(&variant, "GATHER", t.kind == SEGMENT_ALL);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, t.of.local_floats * sizeof(float));
	lw_arg_int(&launch, conv->images);
	lw_arg_int(&launch, conv->parts);
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->group_channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->group_out);
	lw_conv_pair(&launch, conv->kernel);
	lw_conv_pair(&launch, conv->stride);
	lw_conv_pair(&launch, conv->pad);
	lw_conv_pair(&launch, conv->dilation);
	lw_arg_int(&launch, t.of.height);
	lw_arg_int(&launch, t.of.width);
	lw_arg_int(&launch, t.pixel_pitch);
	lw_arg_int(&launch, t.kind == SEGMENT_TAP ? conv->kernel[1] : 1);
	lw_arg_int(&launch, t.of.blocks);
	lw_arg_int(&launch, t.splits);
	lw_arg_int(&launch, (int)t.total);
	launch.dimensions = 3;
	launch.global[0] = (size_t)t.shares;
	launch.global[1] = (size_t)conv->groups;
	launch.global[2] = (size_t)(t.of.blocks * t.splits);
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return sum_weight_parts(context, conv, &t, b->workspace, b->weight_gradient);
}

size_t lw_conv_cpu_weight_workspace(lw_device *device, const lw_conv *conv, const lw_choice *choice)
{
	weight_tiling t;

	if (!choose_weight(device, conv, choice, &t))
		return 0;
	return sizeof(float) * (t.total + (size_t)t.shares * share_floats(conv, &t));
}

/*
 * Cycles of the tile's work per output pixel: its share, a copy of the slab for every block and split, and addresses where gathered,
 * which fewer rows keep in registers.
 */
static double weight_cost(const lw_conv *conv, const weight_tiling *t)
{
	const lw_tile *tile = &t->of.tile;
	const double copies = t->of.blocks * t->splits * (conv->group_channels * 0.1 * conv->stride[0] * conv->stride[1] + 2);
	const double gathers = t->kind == SEGMENT_ALL && tile->vector == LW_TILE_WIDE ? 1.2 : 1;

	return lw_conv_cpu_tile_cost(tile, conv->group_out, t->segment) * t->segments * gathers + copies;
}

int lw_conv_cpu_weight_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity)
{
	static const char *const names[] = {"row", "tap", "all"};
	const bool forced = context->force_variant >= 0, few = conv->group_channels < 16;
	const bool may[] = {conv->dilation[1] == 1 || conv->kernel[1] == 1, forced || !few, forced || few};
	lw_tile tiles[LW_CONV_TILES];
	double costs[LW_MAX_CHOICES];
	const int tile_count = lw_conv_cpu_tiles(context, conv->group_out, segment_size(conv, SEGMENT_ROW), tiles);
	int count = 0;

	for (int i = 0; i < (forced ? lw_min_int(tile_count, 3) : tile_count); i++)
		for (int kind = SEGMENT_ROW; kind <= SEGMENT_ALL; kind++) {
			lw_choice choice = {.algorithm = LW_CONV_DIRECT, .tile = {tiles[i].vector, tiles[i].vectors, tiles[i].rows, kind}};
			weight_tiling tiling;
			double cost;
			int at = count;
			/* tests take a few tiles in one kind and all kinds of one tile */
			if (!may[kind] || (forced && i && kind) || count == LW_MAX_CHOICES ||
			    !choose_weight(context->device, conv, &choice, &tiling))
				continue;
			cost = weight_cost(conv, &tiling) *
			       (kind == SEGMENT_ROW && conv->group_channels % 256 == 0 && conv->kernel[1] > 1 ? 1.1 : 1);
			snprintf(choice.name, sizeof choice.name, "direct/cpu %dx%d %s", tiles[i].rows, tiles[i].vectors, names[kind]);
			for (; at > 0 && costs[at - 1] > cost; at--) {
				costs[at] = costs[at - 1];
				if (at < capacity)
					list[at] = list[at - 1];
			}
			costs[at] = cost;
			if (at < capacity)
				list[at] = choice;
			count++;
		}
	return lw_min_int(lw_min_int(count, capacity), forced ? count : 6);
}
