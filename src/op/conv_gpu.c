/* Direct convolutions on GPUs: the launches of cl/conv_gpu.cl. */
#include "op/conv_pass.h"
#include "op/sum.h"
#include "op/tile_gpu.h"

#include <limits.h>

static double pixels(const lw_conv_pass *p) { return (double)p->images * p->output[0] * p->output[1]; }

/* How the weights of a pass lie: [group][inner][outputs], padded to whole tiles. Depthwise: [tap][channel]. */
typedef struct packing {
	size_t groups, inner, outputs;
} packing;

static packing pack_size(const lw_conv *conv, const lw_conv_pass *p, const lw_gpu_tile *tile)
{
	const size_t inner = (size_t)p->taps[0] * (size_t)p->taps[1] * (size_t)p->channels;

	if (lw_conv_is_depthwise(conv))
		return (packing){1, inner, (size_t)conv->channels};
	return (packing){(size_t)p->groups, lw_round_up(inner, LW_GPU_DEPTH),
			 lw_round_up((size_t)p->outputs, (size_t)lw_gpu_tile_n(tile))};
}

static size_t pack_floats(const lw_conv *conv, const lw_conv_pass *p, const lw_gpu_tile *tile)
{
	const packing size = pack_size(conv, p, tile);

	return size.groups * size.inner * size.outputs;
}

static lw_status pack(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, const lw_gpu_tile *tile,
		      const lw_conv_buffers *b, int base)
{
	const lw_variant variant = {.source = "conv_gpu", .function = "conv_gpu_pack"};
	const packing size = pack_size(conv, p, tile);
	const bool depthwise = lw_conv_is_depthwise(conv);
	lw_launch launch;

	if (!size.inner)
		return LW_OK;
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->weight);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, depthwise ? conv->channels : p->outputs);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, depthwise ? 0 : p->group_step);
	lw_arg_int(&launch, depthwise ? p->group_step : p->out_step);
	lw_arg_int(&launch, p->channel_step);
	lw_conv_pair(&launch, p->taps);
	lw_arg_int(&launch, p->first[0]);
	lw_arg_int(&launch, p->step[0]);
	lw_arg_int(&launch, p->first[1]);
	lw_arg_int(&launch, p->step[1]);
	lw_arg_int(&launch, conv->kernel[1]);
	lw_arg_int(&launch, base);
	launch.dimensions = 3;
	launch.global[0] = size.outputs;
	launch.global[1] = size.inner;
	launch.global[2] = size.groups;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_variant with_vectors(lw_variant variant, int channels)
{
	lw_variant_option(&variant, "LOAD_VECTORS", channels % 4 == 0);
	return variant;
}

static void place_arguments(lw_launch *launch, const lw_conv *conv, const lw_conv_pass *p, int base)
{
	lw_conv_pair(launch, p->output);
	lw_conv_pair(launch, p->taps);
	lw_conv_pair(launch, p->stride);
	lw_conv_pair(launch, p->origin);
	lw_conv_pair(launch, p->dilation);
	lw_arg_int(launch, p->y_base);
	lw_arg_int(launch, p->y_image);
	lw_arg_int(launch, p->y_row);
	lw_arg_int(launch, p->y_pixel);
	lw_arg_int(launch, base);
	lw_arg_int(launch, conv->relu);
}

/* x, y: what the pass reads and writes; mask: at whose zeros it writes 0, or NULL */
static lw_status run_depthwise(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, const lw_conv_buffers *b,
			       lw_buf *x, lw_buf *y, lw_buf *mask, int base)
{
	const lw_variant plain = {.source = "conv_gpu", .function = "conv_gpu_depthwise"};
	const lw_variant variant = with_vectors(plain, conv->channels);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->bias);
	lw_arg_buf(&launch, mask);
	lw_arg_buf(&launch, y);
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, (int)pixels(p));
	place_arguments(&launch, conv, p, base);
	lw_op_items(&launch, (size_t)pixels(p) * (size_t)(conv->channels % 4 ? conv->channels : conv->channels / 4));
	launch.flops = 2.0 * pixels(p) * conv->channels * p->taps[0] * p->taps[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_pixels(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, int algorithm,
			    const lw_gpu_tile *tile, const lw_conv_buffers *b, lw_buf *x, lw_buf *y, lw_buf *mask, int base)
{
	lw_variant variant = with_vectors(lw_gpu_tile_variant("conv_gpu", "conv_gpu_pixels", tile), p->channels);
	lw_launch launch;

	lw_variant_option(&variant, "APART", algorithm == LW_CONV_COL2IM);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->bias);
	lw_arg_buf(&launch, mask);
	lw_arg_buf(&launch, y);
	lw_arg_local(&launch, lw_gpu_tile_local(tile, lw_gpu_tile_m(tile)));
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->all_channels);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, (int)pixels(p));
	place_arguments(&launch, conv, p, base);
	launch.dimensions = 2;
	lw_gpu_tile_launch(&launch, tile, pixels(p), p->outputs);
	launch.global[1] = (size_t)p->groups;
	launch.flops = 2.0 * pixels(p) * p->outputs * p->groups * p->channels * p->taps[0] * p->taps[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* base: where the pass has its weights in the workspace; moved behind them */
static lw_status run_pass(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, const lw_choice *choice,
			  const lw_conv_buffers *b, bool forward, int *base)
{
	const lw_gpu_tile tile = lw_gpu_tile_of(choice);
	lw_buf *x = forward ? b->x : b->gradient, *y = forward ? b->y : b->x_gradient, *mask = conv->mask ? b->x : NULL;
	const int own = *base;

	*base += (int)pack_floats(conv, p, &tile);
	if (!context->filters_packed)
		LW_TRY(pack(context, conv, p, &tile, b, own));
	if (lw_conv_is_depthwise(conv))
		return run_depthwise(context, conv, p, b, x, y, forward ? NULL : mask, own);
	return run_pixels(context, conv, p, choice->algorithm, &tile, b, x, y, forward ? NULL : mask, own);
}

static lw_status run_data(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	lw_conv without_relu = *conv;
	lw_conv_pass p;
	int base = 0;

	without_relu.relu = false;
	for (int down = 0; down < lw_conv_phases(conv, 0); down++)
		for (int across = 0; across < lw_conv_phases(conv, 1); across++) {
			lw_conv_data_pass(conv, down, across, &p);
			LW_TRY(run_pass(context, &without_relu, &p, choice, b, false, &base));
		}
	return LW_OK;
}

/* Stride, padding, dilation of backward of the weight. */
static void step_arguments(lw_launch *launch, const lw_conv *conv)
{
	lw_conv_pair(launch, conv->stride);
	lw_conv_pair(launch, conv->pad);
	lw_conv_pair(launch, conv->dilation);
}

static lw_status sum_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	const lw_variant variant = {.source = "conv_gpu", .function = "conv_gpu_sum_weight"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->parts);
	lw_arg_int(&launch, conv->slices);
	lw_arg_int(&launch, (int)lw_conv_weights(conv));
	lw_arg_int(&launch, (int)lw_conv_taps(conv) * conv->group_channels);
	lw_arg_int(&launch, conv->group_out);
	lw_arg_int(&launch, conv->group_channels);
	lw_op_items(&launch, lw_conv_weights(conv));
	launch.bytes = 4.0 * (double)lw_conv_weights(conv) * (conv->parts + 1);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_weight(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	const lw_gpu_tile tile = lw_gpu_tile_of(choice);
	const lw_variant variant = with_vectors(lw_gpu_tile_variant("conv_gpu", "conv_gpu_weight", &tile), conv->group_channels);
	const int rows = (int)lw_conv_taps(conv) * conv->group_channels;
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, lw_gpu_tile_local(&tile, LW_GPU_DEPTH));
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->group_channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->out_channels);
	lw_arg_int(&launch, conv->group_out);
	lw_arg_int(&launch, rows);
	lw_arg_int(&launch, conv->kernel[1]);
	step_arguments(&launch, conv);
	lw_arg_int(&launch, conv->parts);
	launch.dimensions = 2;
	lw_gpu_tile_launch(&launch, &tile, rows, conv->group_out);
	launch.global[1] = (size_t)conv->groups * (size_t)conv->parts;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return sum_weight(context, conv, b);
}

static lw_status run_depthwise_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	enum { ITEMS = 64 };
	const lw_variant variant = {.source = "conv_gpu", .function = "conv_gpu_depthwise_weight"};
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
	step_arguments(&launch, conv);
	launch.dimensions = 3;
	launch.global[0] = lw_round_up((size_t)conv->channels, ITEMS);
	launch.global[1] = lw_conv_taps(conv);
	launch.global[2] = (size_t)conv->parts;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return lw_op_sum_parts(context, conv->parts, conv->slices, lw_conv_weights(conv), b->workspace, b->weight_gradient);
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	const lw_gpu_tile tile = lw_gpu_tile_of(choice);
	lw_conv_pass p;
	size_t floats = 0;

	(void)context;
	if (pass == LW_PASS_WEIGHT)
		return sizeof(float) * (size_t)conv->parts * lw_conv_weights(conv);
	if (pass == LW_PASS_FORWARD) {
		lw_conv_forward_pass(conv, &p);
		return sizeof(float) * pack_floats(conv, &p, &tile);
	}
	for (int down = 0; down < lw_conv_phases(conv, 0); down++)
		for (int across = 0; across < lw_conv_phases(conv, 1); across++) {
			lw_conv_data_pass(conv, down, across, &p);
			floats += pack_floats(conv, &p, &tile);
		}
	return sizeof(float) * floats;
}

static int tile_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	static const char prefix[] = "direct/gpu";
	lw_conv_pass p;

	if (pass == LW_PASS_WEIGHT)
		return lw_gpu_tile_choices(context, (double)lw_conv_taps(conv) * conv->group_channels, conv->group_out,
					   (double)conv->groups * conv->parts, prefix, list, capacity);
	if (pass == LW_PASS_FORWARD)
		lw_conv_forward_pass(conv, &p);
	else
		lw_conv_data_pass(conv, 0, 0, &p);
	return lw_gpu_tile_choices(context, pixels(&p), p.outputs, p.groups, prefix, list, capacity);
}

/* Tests take one tile of those that differ from the direct algorithm's only in when a chain ends. */
static int col2im_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	lw_conv_pass p;
	int count;

	if (pass != LW_PASS_DATA || !lw_conv_col2im_applies(conv))
		return 0;
	lw_conv_data_pass(conv, 0, 0, &p);
	count = lw_gpu_tile_choices(context, pixels(&p), p.outputs, 1, "col2im/gpu", list,
				    context->force_variant < 0 ? capacity : lw_min_int(capacity, 1));
	for (int i = 0; i < count; i++)
		list[i].algorithm = LW_CONV_COL2IM;
	return count;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	int count = 0, kept = 0;

	if (lw_conv_is_depthwise(conv) && capacity > 0)
		list[count++] = (lw_choice){.name = "direct/gpu depthwise", .tile = {1, 1, 1, 1}};
	else if (!lw_conv_is_depthwise(conv))
		count = tile_choices(context, conv, pass, list, capacity);
	count += col2im_choices(context, conv, pass, list + count, capacity - count);
	/* places in the packed weights are ints */
	for (int i = 0; i < count; i++)
		if (pass == LW_PASS_WEIGHT || workspace(context, conv, pass, &list[i]) / sizeof(float) <= INT_MAX)
			list[kept++] = list[i];
	return kept;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	lw_conv_pass p;
	int base = 0;

	if (pass == LW_PASS_WEIGHT)
		return lw_conv_is_depthwise(conv) ? run_depthwise_weight(context, conv, buffers)
					  : run_weight(context, conv, choice, buffers);
	if (pass == LW_PASS_DATA)
		return run_data(context, conv, choice, buffers);
	lw_conv_forward_pass(conv, &p);
	return run_pass(context, conv, &p, choice, buffers, true, &base);
}

const lw_conv_family lw_conv_gpu = {"gpu", true, choices, workspace, run};
