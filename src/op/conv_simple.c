/* conv, one work-item per result: anything anywhere, the direct algorithm, and that of col2im. */
#include "op/conv.h"
#include "op/sum.h"

static void simple_arguments(lw_launch *launch, const lw_conv *conv)
{
	lw_conv_pair(launch, conv->input);
	lw_arg_int(launch, conv->channels);
	lw_conv_pair(launch, conv->output);
	lw_arg_int(launch, conv->out_channels);
	lw_conv_pair(launch, conv->kernel);
	lw_conv_pair(launch, conv->stride);
	lw_conv_pair(launch, conv->pad);
	lw_conv_pair(launch, conv->dilation);
	lw_arg_int(launch, conv->groups);
	launch->flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
}

/* forward, or backward of the data: an item per channel, pixel, image */
static lw_status simple_pixels(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const lw_conv_buffers *buffers,
			       bool forward)
{
	const lw_variant variant = {.source = "conv", .function = forward ? "conv_forward" : "conv_backward_data"};
	const int *size = forward ? conv->output : conv->input;
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, forward ? buffers->x : buffers->gradient);
	lw_arg_buf(&launch, buffers->weight);
	if (forward)
		lw_arg_buf(&launch, buffers->bias);
	lw_arg_buf(&launch, forward ? buffers->y : buffers->x_gradient);
	if (!forward)
		lw_arg_buf(&launch, conv->mask ? buffers->x : NULL);
	simple_arguments(&launch, conv);
	lw_arg_int(&launch, forward ? conv->relu : choice->algorithm == LW_CONV_COL2IM);
	launch.dimensions = 3;
	launch.global[0] = (size_t)(forward ? conv->out_channels : conv->channels);
	launch.global[1] = (size_t)size[0] * (size_t)size[1];
	launch.global[2] = (size_t)conv->images;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status simple_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers)
{
	const lw_variant variant = {.source = "conv", .function = "conv_backward_weight"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, buffers->x);
	lw_arg_buf(&launch, buffers->gradient);
	lw_arg_buf(&launch, buffers->workspace);
	lw_arg_int(&launch, conv->images);
	simple_arguments(&launch, conv);
	launch.dimensions = 2;
	launch.global[0] = lw_conv_weights(conv);
	launch.global[1] = (size_t)conv->parts;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return lw_op_sum_parts(context, conv->parts, conv->slices, lw_conv_weights(conv), buffers->workspace, buffers->weight_gradient);
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	static const lw_choice all[] = {{.name = "direct/simple", .algorithm = LW_CONV_DIRECT},
					{.name = "col2im/simple", .algorithm = LW_CONV_COL2IM}};
	const int count = lw_min_int(pass == LW_PASS_DATA && lw_conv_col2im_applies(conv) ? 2 : 1, capacity);

	(void)context;
	for (int i = 0; i < count; i++)
		list[i] = all[i];
	return count;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	(void)context, (void)choice;
	return pass == LW_PASS_WEIGHT ? sizeof(float) * (size_t)conv->parts * lw_conv_weights(conv) : 0;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	if (pass == LW_PASS_WEIGHT)
		return simple_weight(context, conv, buffers);
	return simple_pixels(context, conv, choice, buffers, pass == LW_PASS_FORWARD);
}

const lw_conv_family lw_conv_simple = {"simple", false, choices, workspace, run};
