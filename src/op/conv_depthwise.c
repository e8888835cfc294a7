/* conv on CPUs with one input and one output per group: the launches of cl/conv_depthwise.cl. */
#include "op/conv_cpu.h"

static int vector_of(const lw_op_context *context, const lw_conv *conv)
{
	return lw_op_vector_width(context->device, (size_t)conv->channels);
}

/* Loops over larger kernels and strides are not worth unrolling. */
static bool is_compiled_in(const lw_conv *conv) { return conv->kernel[0] <= 7 && conv->kernel[1] <= 7 && conv->stride[1] <= 4; }

static lw_variant depthwise_variant(const lw_op_context *context, const char *function, const lw_conv *conv, const lw_choice *choice)
{
	lw_variant variant = {.source = "conv_depthwise", .function = function};

	lw_variant_option(&variant, "VECTOR", vector_of(context, conv));
	lw_variant_option(&variant, "PIXELS", choice->tile[0]);
	if (is_compiled_in(conv)) {
		lw_variant_option(&variant, "KERNEL_HEIGHT", conv->kernel[0]);
		lw_variant_option(&variant, "KERNEL_WIDTH", conv->kernel[1]);
		lw_variant_option(&variant, "STRIDE_WIDTH", conv->stride[1]);
		lw_variant_option(&variant, "PAD_WIDTH", conv->pad[1]);
		lw_variant_option(&variant, "DILATION_WIDTH", conv->dilation[1]);
	}
	return variant;
}

static lw_status pack(const lw_op_context *context, const lw_conv *conv, lw_buf *weight, lw_buf *packed)
{
	const lw_variant variant = {.source = "conv_depthwise", .function = "pack_depthwise"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, (int)lw_conv_taps(conv));
	lw_launch_1d(&launch, (size_t)conv->channels, 0);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static void shape_arguments(lw_launch *launch, const lw_conv *conv, const int *input, const int *output)
{
	lw_conv_pair(launch, input);
	lw_arg_int(launch, conv->channels);
	lw_conv_pair(launch, output);
	lw_conv_pair(launch, conv->kernel);
	lw_conv_pair(launch, conv->stride);
	lw_conv_pair(launch, conv->pad);
	lw_conv_pair(launch, conv->dilation);
}

static lw_status run_pixels(const lw_op_context *context, const lw_conv *conv, bool forward, const lw_choice *choice,
			    const lw_conv_buffers *b)
{
	lw_variant variant = depthwise_variant(context, "depthwise_pixels", conv, choice);
	/* a row of a strip: whole where the second cache holds a few, as processors read ahead what follows; tests want several */
	const int row = context->force_variant >= 0 ? 64 : 8192;
	const int strip = choice->tile[0] * lw_max_int(1, row / choice->tile[0] / conv->channels);
	lw_launch launch;
	lw_conv_pass p;
	int height = conv->output[0], rows;

	/* what the phases of backward of the data differ in, the kernel finds out */
	if (forward) {
		lw_conv_forward_pass(conv, &p);
	} else {
		lw_conv_data_pass(conv, 0, 0, &p);
		height = conv->input[0];
	}
	/* high bands share few rows, where there are enough for every unit */
	rows = (int)((long)p.images * height / lw_tile_groups(context->device));
	rows = lw_conv_even(height, lw_max_int(1, lw_min_int(16, rows)), 1);
	lw_variant_option(&variant, "DATA", !forward);
	if (!context->filters_packed)
		LW_TRY(pack(context, conv, b->weight, b->workspace));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, forward ? b->x : b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, forward ? b->bias : NULL);
	lw_arg_buf(&launch, forward ? b->y : b->x_gradient);
	lw_arg_buf(&launch, !forward && conv->mask ? b->x : NULL);
	shape_arguments(&launch, conv, p.input, forward ? conv->output : conv->input);
	lw_arg_int(&launch, p.step[0]);
	lw_arg_int(&launch, p.dilation[0]);
	lw_arg_int(&launch, rows);
	lw_arg_int(&launch, strip);
	lw_arg_int(&launch, forward && conv->relu);
	return lw_tile_launch(context, &launch, (size_t)((height + rows - 1) / rows), (size_t)conv->images);
}

static lw_status add_parts(const lw_op_context *context, const lw_conv *conv, int pitch, const lw_conv_buffers *b)
{
	lw_variant variant = {.source = "conv_depthwise", .function = "sum_depthwise_parts"};
	lw_launch launch;

	lw_variant_option(&variant, "VECTOR", vector_of(context, conv));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->parts);
	lw_arg_int(&launch, conv->slices);
	lw_arg_int(&launch, pitch);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->channels;
	launch.global[1] = lw_conv_taps(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *b)
{
	const int vector = vector_of(context, conv), pitch = (int)lw_round_up((size_t)conv->channels, (size_t)vector);
	/* as many runs of channels as give every unit its groups */
	const int wanted = (lw_tile_groups(context->device) + conv->parts - 1) / conv->parts;
	const int run = (int)lw_round_up((size_t)((conv->channels + wanted - 1) / wanted), 16);
	/* the taps whose sums the registers hold */
	const int width = lw_conv_even(conv->kernel[1], 7, 1);
	const int height = lw_conv_even(conv->kernel[0], (vector == LW_TILE_WIDE ? 16 : 9) / width, 1);
	lw_variant variant = depthwise_variant(context, "depthwise_weight", conv, choice);
	lw_launch launch;

	lw_variant_option(&variant, "TILE_WIDTH", width);
	lw_variant_option(&variant, "TILE", height * width);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	shape_arguments(&launch, conv, conv->input, conv->output);
	lw_arg_int(&launch, conv->images);
	lw_arg_int(&launch, run);
	lw_arg_int(&launch, pitch);
	LW_TRY(lw_tile_launch(context, &launch, (size_t)conv->parts, (size_t)((conv->channels + run - 1) / run)));
	return add_parts(context, conv, pitch, b);
}

int lw_conv_depthwise_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	/* where vectors are narrow, longer runs of pixels pay first where each is read for several sums; short rows are one run anywhere */
	const bool narrow = lw_op_vector_width(context->device, LW_TILE_WIDE) < LW_TILE_WIDE;
	const bool longer = pass == LW_PASS_WEIGHT ? narrow || conv->output[1] <= 7 : pass == LW_PASS_DATA && narrow && conv->stride[1] > 1;
	const int pixels[] = {longer ? 7 : 4, longer ? 4 : 7};
	/* in backward of the data blocks begin at multiples of the stride */
	const int unit = pass == LW_PASS_DATA && is_compiled_in(conv) ? conv->stride[1] : 1;
	int count = 0;

	for (; count < (int)LW_COUNT(pixels) && count < capacity; count++) {
		const int together = (int)lw_round_up((size_t)pixels[count], (size_t)unit);
		list[count] = (lw_choice){.algorithm = LW_CONV_DIRECT, .tile = {together}};
		snprintf(list[count].name, sizeof list->name, "direct/cpu depthwise %d", together);
	}
	return count;
}

size_t lw_conv_depthwise_workspace(const lw_conv *conv, lw_pass pass)
{
	if (pass != LW_PASS_WEIGHT)
		return sizeof(float) * lw_conv_weights(conv);
	return sizeof(float) * (size_t)conv->parts * lw_conv_taps(conv) * lw_round_up((size_t)conv->channels, 16);
}

lw_status lw_conv_depthwise_run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
				const lw_conv_buffers *buffers)
{
	return pass == LW_PASS_WEIGHT ? backward_weight(context, conv, choice, buffers)
				      : run_pixels(context, conv, pass == LW_PASS_FORWARD, choice, buffers);
}
