/* Winograd's F(4x4, 3x3) on CPUs from few input channels to whole tiles, forward and backward of the weight: the launches of cl/winograd_few.cl. */
#include "op/winograd_weight.h"

enum { SIDE = 4, SIZE = 6, POINTS = SIZE * SIZE };

/* What lw_choice.tile holds: tiles of the images whose points a work-group has at a time. */
enum { STRIP };

typedef struct few_plan {
	lw_winograd_pass pass;
	lw_tile tile;
	int strip, blocks;
} few_plan;

static few_plan make_plan(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice)
{
	few_plan p = {.pass = lw_winograd_describe(conv, LW_PASS_FORWARD, LW_CONV_WINOGRAD_F4), .tile = {.vectors = 1, .rows = 1}};

	p.tile.vector = lw_op_vector_width(context->device, (size_t)lw_max_int(conv->out_channels, 4));
	p.blocks = lw_tile_blocks(&p.tile, conv->out_channels);
	p.strip = choice->tile[STRIP];
	return p;
}

/* Points of the strip, and what they come from: see transform_strip; the results of a tile, or the gradient of the strip's output. */
static size_t local_floats(const few_plan *p, lw_pass pass)
{
	const int vector = p->tile.vector, channels = p->pass.channels, abreast = (vector - channels) / (SIDE * channels) + 1;
	const size_t points = (size_t)((p->strip + abreast - 1) / abreast * POINTS * vector);
	const size_t halves = (size_t)(SIZE * ((p->strip * SIDE + 2) * channels + vector));

	return points + halves + (size_t)((pass == LW_PASS_WEIGHT ? p->strip * SIZE * SIDE : SIDE * SIDE) * vector);
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	static const int most[] = {8, 16};
	const int across = (conv->output[1] + SIDE - 1) / SIDE;
	int count = 0;

	if (pass == LW_PASS_DATA || !lw_conv_is_few(conv) || !lw_conv_winograd_applies(conv, LW_CONV_WINOGRAD_F4) ||
	    !lw_tile_applies(context->device))
		return 0;
	for (size_t i = 0; i < LW_COUNT(most) && count < capacity; i++) {
		const int pieces = (across + most[i] - 1) / most[i], strip = (across + pieces - 1) / pieces;
		lw_choice choice = {.algorithm = LW_CONV_WINOGRAD_F4, .tile = {strip}};
		const few_plan p = make_plan(context, conv, &choice);
		if (local_floats(&p, pass) > lw_tile_local_floats(context->device) || (count && list[0].tile[STRIP] == strip))
			continue;
		snprintf(choice.name, sizeof choice.name, "%s/few %dx%d", lw_conv_algorithm_names[choice.algorithm], conv->channels, strip);
		list[count++] = choice;
	}
	return count;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	const few_plan p = make_plan(context, conv, choice);
	const int parts = pass == LW_PASS_WEIGHT ? lw_winograd_weight_parts(conv, choice->algorithm) : 1;

	return sizeof(float) * (size_t)parts * (size_t)(p.blocks * POINTS * conv->channels * p.tile.vector);
}

static lw_variant variant_of(const char *function, const few_plan *p)
{
	lw_variant variant = lw_tile_variant("winograd_few", function, &p->tile);

	lw_variant_option(&variant, "CHANNELS", p->pass.channels);
	return variant;
}

static void shape_arguments(lw_launch *launch, const few_plan *p)
{
	lw_conv_pair(launch, p->pass.input);
	lw_conv_pair(launch, p->pass.output);
	lw_arg_int(launch, p->pass.outputs);
	lw_conv_pair(launch, p->pass.pad);
}

static lw_status forward(const lw_op_context *context, const lw_conv *conv, const few_plan *p, const lw_conv_buffers *b)
{
	const int rows = p->pass.images * p->pass.down, units = 4 * lw_tile_groups(context->device);
	const lw_variant variant = variant_of("winograd_few", p);
	lw_launch launch;

	if (!context->filters_packed)
		LW_TRY(lw_winograd_transform_filter(context, &p->pass, LW_CONV_WINOGRAD_F4, &p->tile, b->weight, b->workspace));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->bias);
	lw_arg_buf(&launch, b->y);
	lw_arg_local(&launch, sizeof(float) * local_floats(p, LW_PASS_FORWARD));
	shape_arguments(&launch, p);
	lw_arg_int(&launch, rows);
	lw_arg_int(&launch, p->pass.down);
	lw_arg_int(&launch, p->pass.across);
	lw_arg_int(&launch, p->strip);
	lw_arg_int(&launch, p->blocks);
	lw_arg_int(&launch, conv->relu);
	return lw_tile_launch(context, &launch, (size_t)lw_min_int(rows, units),
		       (size_t)lw_min_int(p->blocks, (units + rows - 1) / rows));
}

static lw_status backward_weight(const lw_op_context *context, const lw_conv *conv, const few_plan *p, const lw_conv_buffers *b)
{
	const int parts = lw_winograd_weight_parts(conv, LW_CONV_WINOGRAD_F4), units = lw_tile_groups(context->device);
	lw_variant variant = variant_of("winograd_few_weight", p);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, sizeof(float) * local_floats(p, LW_PASS_WEIGHT));
	shape_arguments(&launch, p);
	lw_arg_int(&launch, p->pass.images);
	lw_arg_int(&launch, p->pass.down);
	lw_arg_int(&launch, p->pass.across);
	lw_arg_int(&launch, p->strip);
	lw_arg_int(&launch, p->blocks);
	LW_TRY(lw_tile_launch(context, &launch, (size_t)parts, (size_t)lw_min_int(p->blocks, (units + parts - 1) / parts)));

	variant = variant_of("winograd_few_sum", p);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, p->pass.outputs);
	lw_arg_int(&launch, parts);
	lw_arg_int(&launch, conv->slices);
	return lw_tile_launch(context, &launch, (size_t)p->blocks, (size_t)p->pass.channels);
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	const few_plan p = make_plan(context, conv, choice);

	return pass == LW_PASS_FORWARD ? forward(context, conv, &p, buffers) : backward_weight(context, conv, &p, buffers);
}

const lw_conv_family lw_winograd_few = {"few", false, choices, workspace, run};
