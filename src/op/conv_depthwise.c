/* conv on CPUs with one input and one output per group: the launches of cl/conv_depthwise.cl. */
#include "op/conv_cpu.h"

static lw_variant depthwise_variant(const lw_op_context *context, const char *function, int channels)
{
	lw_variant variant = {.source = "conv_depthwise", .function = function};

	lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, (size_t)lw_max_int(channels, 4)));
	return variant;
}

static lw_status pack(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, lw_buf *weight, lw_buf *packed)
{
	const lw_variant variant = {.source = "conv_depthwise", .function = "pack_depthwise"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, (int)lw_conv_taps(conv));
	lw_conv_weight_arguments(&launch, p);
	lw_launch_1d(&launch, (size_t)conv->channels, 0);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_pass(const lw_op_context *context, const lw_conv *conv, const lw_conv_pass *p, const lw_choice *choice,
			  bool forward, const lw_conv_buffers *b)
{
	lw_variant variant = depthwise_variant(context, "depthwise_forward", conv->channels);
	lw_launch launch;

	lw_variant_option(&variant, "PIXELS", choice->tile[0]);
	if (!context->filters_packed && p->taps[0] && p->taps[1])
		LW_TRY(pack(context, conv, p, b->weight, b->workspace));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, forward ? b->x : b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, forward ? b->bias : NULL);
	lw_arg_buf(&launch, forward ? b->y : b->x_gradient);
	lw_arg_buf(&launch, !forward && conv->mask ? b->x : NULL);
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->all_channels);
	lw_arg_int(&launch, p->output[1]);
	lw_conv_pass_arguments(&launch, p);
	lw_conv_place_arguments(&launch, p);
	lw_arg_int(&launch, forward && conv->relu);
	launch.dimensions = 2;
	launch.global[0] = (size_t)p->output[0];
	launch.global[1] = (size_t)p->images;
	launch.local[0] = launch.local[1] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status backward_data(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	int down = 0, across = 0, base = 0;

	do {
		lw_conv_pass p;
		lw_conv_data_pass(conv, down, across, &p);
		p.packed_base = base;
		base += p.taps[0] * p.taps[1] * conv->channels;
		LW_TRY(run_pass(context, conv, &p, choice, false, b));
	} while (lw_conv_next_phase(conv, &down, &across));
	return LW_OK;
}

static lw_status backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	lw_variant variant = depthwise_variant(context, "depthwise_weight", conv->channels);
	/* as many runs of channels as give every unit its groups */
	const int vector = 16, wanted = (lw_tile_groups(context->device) + conv->parts - 1) / conv->parts;
	const int run = (int)lw_round_up((size_t)((conv->channels + wanted - 1) / wanted), vector);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_conv_pair(&launch, conv->output);
	lw_conv_pair(&launch, conv->kernel);
	lw_conv_pair(&launch, conv->stride);
	lw_conv_pair(&launch, conv->pad);
	lw_conv_pair(&launch, conv->dilation);
	lw_arg_int(&launch, run);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->parts;
	launch.global[1] = (size_t)((conv->channels + run - 1) / run);
	launch.local[0] = launch.local[1] = 1;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));

	variant = (lw_variant){.source = "conv_depthwise", .function = "sum_depthwise_parts"};
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->parts);
	lw_arg_int(&launch, conv->slices);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->channels;
	launch.global[1] = lw_conv_taps(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

int lw_conv_depthwise_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	const int length = pass == LW_PASS_FORWARD ? conv->output[1] : (conv->input[1] - 1) / conv->stride[1] + 1;
	const int pixels[2] = {length < 10 ? 4 : 8, length < 10 ? 8 : 4};
	int count = 0;

	(void)context;
	for (; count < (pass == LW_PASS_WEIGHT ? 1 : 2) && count < capacity; count++) {
		list[count] = (lw_choice){.algorithm = LW_CONV_DIRECT, .tile = {pixels[count]}};
		if (pass == LW_PASS_WEIGHT)
			snprintf(list[count].name, sizeof list->name, "direct/cpu depthwise");
		else
			snprintf(list[count].name, sizeof list->name, "direct/cpu depthwise %d", pixels[count]);
	}
	return count;
}

size_t lw_conv_depthwise_workspace(const lw_conv *conv, lw_pass pass)
{
	return sizeof(float) * lw_conv_weights(conv) * (size_t)(pass == LW_PASS_WEIGHT ? conv->parts : 1);
}

lw_status lw_conv_depthwise_run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
				const lw_conv_buffers *buffers)
{
	lw_conv_pass p;

	if (pass == LW_PASS_WEIGHT)
		return backward_weight(context, conv, buffers);
	if (pass == LW_PASS_DATA)
		return backward_data(context, conv, choice, buffers);
	lw_conv_forward_pass(conv, &p);
	return run_pass(context, conv, &p, choice, true, buffers);
}
