/* conv on CPUs, backward of the weight: which tiles, and the launches. */
#include "op/conv_cpu.h"

/* The tile of the backward pass of the weight: rows are weights of one segment, see conv_backward_weight. */
typedef struct weight_tiling {
	lw_conv_tiling of;
	bool gather;
	int segment, segments, padded;
} weight_tiling;

static size_t weight_floats(const lw_conv *conv, const lw_tile *tile, int height, int width)
{
	const size_t columns = (size_t)(width - 1) * (size_t)conv->stride[1] +
			       (size_t)(conv->kernel[1] - 1) * (size_t)conv->dilation[1] + 1;
	const size_t lines = (size_t)(height - 1) * (size_t)conv->stride[0] +
			     (size_t)(conv->kernel[0] - 1) * (size_t)conv->dilation[0] + 1;

	/* neighbours are read up to a tile's rows past the end */
	return lines * columns * (size_t)conv->group_channels + (size_t)tile->rows +
	       (size_t)height * (size_t)width * (size_t)lw_tile_lanes(tile);
}

static void choose_segments(const lw_conv *conv, weight_tiling *t)
{
	static const int wide[] = {14, 12, 8}, narrow[] = {6, 4};
	const bool is_wide = t->of.tile.vector == LW_TILE_WIDE;
	const int row = conv->kernel[1] * conv->group_channels, all = conv->kernel[0] * row, gathered = is_wide ? 9 : 5;
	const int rows = is_wide ? lw_tile_rows(wide, LW_COUNT(wide), row) : lw_tile_rows(narrow, LW_COUNT(narrow), row);
	/* gathering costs an address per weight, about a quarter more */
	const double near = (double)conv->kernel[0] * ((row + rows - 1) / rows) * (rows + 1);
	const double far = (double)((all + gathered - 1) / gathered) * (gathered + 1) * 1.25;

	t->gather = conv->dilation[1] != 1 || far < near;
	t->of.tile.rows = t->gather ? gathered : rows;
	t->segment = t->gather ? all : row;
	t->segments = t->gather ? 1 : conv->kernel[0];
	t->padded = (int)lw_round_up((size_t)t->segment, (size_t)t->of.tile.rows);
}

static bool choose_weight(lw_device *device, const lw_conv *conv, weight_tiling *t)
{
	const size_t limit = lw_tile_local_floats(device), target = limit < LW_CONV_SLAB ? limit : LW_CONV_SLAB;
	int most = 1;

	lw_tile_vectors(&t->of.tile, device, conv->group_out);
	t->of.blocks = lw_tile_blocks(&t->of.tile, conv->group_out);
	choose_segments(conv, t);
	if (weight_floats(conv, &t->of.tile, 1, 1) > limit)
		return false;
	t->of.height = 1;
	t->of.width = conv->output[1];
	if (weight_floats(conv, &t->of.tile, 1, t->of.width) > target) {
		while (weight_floats(conv, &t->of.tile, 1, most + 1) <= target)
			most++;
		t->of.width = lw_conv_even(conv->output[1], most, 1);
	} else {
		while (most < conv->output[0] && weight_floats(conv, &t->of.tile, most + 1, t->of.width) <= target)
			most++;
		t->of.height = lw_conv_even(conv->output[0], most, 1);
	}
	t->of.local_floats = weight_floats(conv, &t->of.tile, t->of.height, t->of.width);
	return true;
}

static lw_status sum_weight_parts(const lw_op_context *context, const lw_conv *conv, const weight_tiling *t,
				  lw_buf *partial, lw_buf *gradient)
{
	lw_variant variant = lw_tile_variant("conv_cpu", "sum_weight_parts", &t->of.tile);
	lw_launch launch;

	lw_variant_option(&variant, "GATHER", t->gather);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, partial);
	lw_arg_buf(&launch, gradient);
	lw_arg_int(&launch, conv->parts);
	lw_arg_int(&launch, conv->group_out);
	lw_conv_pair(&launch, conv->kernel);
	lw_arg_int(&launch, t->gather ? conv->kernel[1] * conv->group_channels : t->padded);
	lw_arg_int(&launch, t->segments * t->padded);
	launch.dimensions = 3;
	launch.global[0] = (size_t)conv->group_channels;
	launch.global[1] = (size_t)t->of.blocks;
	launch.global[2] = (size_t)conv->groups;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static void weight_pass_arguments(lw_launch *launch, const lw_conv *conv)
{
	lw_conv_pair(launch, conv->stride);
	lw_conv_pair(launch, conv->pad);
	lw_conv_pair(launch, conv->dilation);
}

static lw_status depthwise_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	lw_variant variant = lw_conv_depthwise_variant(context, "depthwise_weight", conv->channels);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->kernel[1]);
	weight_pass_arguments(&launch, conv);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->parts;
	launch.global[1] = lw_conv_taps(conv);
	launch.local[0] = launch.local[1] = 1;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));

	variant = lw_conv_depthwise_variant(context, "sum_depthwise_parts", conv->channels);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->parts);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->channels;
	launch.global[1] = lw_conv_taps(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	const int groups = lw_tile_groups(context->device);
	lw_variant variant;
	lw_launch launch;
	weight_tiling t;
	size_t splits;

	if (lw_conv_is_depthwise(conv))
		return depthwise_weight(context, conv, b);
	if (!choose_weight(context->device, conv, &t))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	splits = !t.gather && conv->parts * conv->groups * t.of.blocks < groups ? (size_t)conv->kernel[0] : 1;
	variant = lw_tile_variant("conv_cpu", "conv_backward_weight", &t.of.tile);
	lw_variant_option(&variant, "GATHER", t.gather);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, t.of.local_floats * sizeof(float));
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->group_channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->group_out);
	lw_conv_pair(&launch, conv->kernel);
	weight_pass_arguments(&launch, conv);
	lw_arg_int(&launch, t.of.height);
	lw_arg_int(&launch, t.of.width);
	lw_arg_int(&launch, t.of.blocks);
	lw_arg_int(&launch, (int)splits);
	launch.dimensions = 3;
	launch.global[0] = (size_t)conv->parts;
	launch.global[1] = (size_t)conv->groups;
	launch.global[2] = (size_t)t.of.blocks * splits;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return sum_weight_parts(context, conv, &t, b->workspace, b->weight_gradient);
}

bool lw_conv_cpu_weight_applies(lw_device *device, const lw_conv *conv)
{
	weight_tiling t;

	return choose_weight(device, conv, &t);
}
