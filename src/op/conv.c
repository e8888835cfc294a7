/* conv: 2-D convolution with stride, padding, dilation and groups. Variant 0 here, the cpu family in conv_cpu.c. */
#include "op/conv.h"
#include "op/sum.h"

#include <limits.h>

enum { SIMPLE, CPU, VARIANTS };

static const char *const keys[] = {"out", "kernel", "stride", "pad", "dilation", "groups", "bias", NULL};
static const char *const axes[2] = {"height", "width"};

static const char *variant_name(int variant) { return variant == SIMPLE ? "simple" : "cpu"; }

static void describe(lw_conv *conv, const lw_layer_options *options, lw_shape input, lw_shape output)
{
	*conv = (lw_conv){
		.images = input.n,
		.groups = options->groups,
		.parts = lw_batch_parts(input.n),
		.input = {input.h, input.w},
		.output = {output.h, output.w},
		.channels = input.c,
		.out_channels = output.c,
		.kernel = {options->kernel[0], options->kernel[1]},
		.stride = {options->stride[0], options->stride[1]},
		.pad = {options->pad[0], options->pad[1]},
		.dilation = {options->dilation[0], options->dilation[1]},
		.group_channels = input.c / options->groups,
		.group_out = output.c / options->groups,
		.bias = options->bias,
	};
}

static lw_status check_options(const lw_layer_options *o, int channels)
{
	if (o->out < 1)
		return lw_fail(LW_E_ARGUMENT, "conv: out is %d; expected the number of output channels, at least 1", o->out);
	if (o->groups < 1)
		return lw_fail(LW_E_ARGUMENT, "conv: groups is %d; expected at least 1", o->groups);
	for (int i = 0; i < 2; i++) {
		if (o->kernel[i] < 1 || o->stride[i] < 1 || o->dilation[i] < 1)
			return lw_fail(LW_E_ARGUMENT, "conv: %s of kernel, stride, dilation is %d, %d, %d; expected at least 1",
				       axes[i], o->kernel[i], o->stride[i], o->dilation[i]);
		if (o->pad[i] < 0)
			return lw_fail(LW_E_ARGUMENT, "conv: %s of pad is %d; expected at least 0", axes[i], o->pad[i]);
	}
	if (o->out % o->groups)
		return lw_fail(LW_E_ARGUMENT, "conv: out is %d; expected a multiple of groups, which is %d", o->out, o->groups);
	if (channels % o->groups)
		return lw_fail(LW_E_ARGUMENT, "conv: the input has %d channels; expected a multiple of groups, which is %d",
			       channels, o->groups);
	return LW_OK;
}

static lw_status output_size(const lw_layer_options *o, int axis, int input, int *output)
{
	const long long reach = (long long)o->dilation[axis] * (o->kernel[axis] - 1) + 1;
	const long long padded = input + 2LL * o->pad[axis];

	if (reach > padded || padded > INT_MAX)
		return lw_fail(LW_E_ARGUMENT,
			       "conv: the %s of the input is %d, %lld with padding; the kernel spans %lld, so no output is left",
			       axes[axis], input, padded, reach);
	*output = (int)((padded - reach) / o->stride[axis]) + 1;
	return LW_OK;
}

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	lw_shape output = {inputs[0].n, 0, 0, options->out};
	lw_conv conv;

	LW_TRY(lw_op_check_inputs("conv", inputs, input_count));
	LW_TRY(check_options(options, inputs[0].c));
	LW_TRY(output_size(options, 0, inputs[0].h, &output.h));
	LW_TRY(output_size(options, 1, inputs[0].w, &output.w));
	describe(&conv, options, inputs[0], output);
	if ((double)conv.out_channels * conv.group_channels * conv.kernel[0] * conv.kernel[1] > INT_MAX ||
	    (double)output.n * output.h * output.w * output.c > INT_MAX)
		return lw_fail(LW_E_ARGUMENT, "conv: the weight or the output has more than 2^31-1 values");

	const int fan_in = conv.group_channels * conv.kernel[0] * conv.kernel[1];
	const int fan_out = conv.out_channels * conv.kernel[0] * conv.kernel[1];
	*result = (lw_op_rule){
		.output = output,
		.param_count = options->bias ? 2 : 1,
		.params = {{"weight", 4, {options->out, conv.group_channels, conv.kernel[0], conv.kernel[1]}, true,
			    LW_START_WEIGHT, fan_in, fan_out, false},
			   {"bias", 1, {options->out}, true, LW_START_BIAS, fan_in, fan_out, true}},
		.forward_workspace = lw_conv_cpu_forward_workspace(&conv),
		.backward_workspace = lw_conv_cpu_backward_workspace(&conv),
		.backward_input = true,
		.flops = 2.0 * (double)lw_shape_count(output) * fan_in,
	};
	return LW_OK;
}

static bool variant_applies(const lw_op_context *context, const lw_op_call *call, int variant)
{
	lw_conv conv;

	describe(&conv, call->options, call->input_shape[0], call->output_shape);
	return variant == SIMPLE || lw_conv_cpu_applies(context->device, &conv);
}

static int choose(const lw_op_context *context, const lw_conv *conv)
{
	if (context->force_variant == SIMPLE || !lw_conv_cpu_applies(context->device, conv))
		return SIMPLE;
	return context->force_variant == CPU || lw_device_get_info(context->device)->type == LW_DEVICE_CPU ? CPU : SIMPLE;
}

static void pair(lw_launch *launch, const int *values)
{
	lw_arg_int(launch, values[0]);
	lw_arg_int(launch, values[1]);
}

static void simple_arguments(lw_launch *launch, const lw_conv *conv)
{
	pair(launch, conv->input);
	lw_arg_int(launch, conv->channels);
	pair(launch, conv->output);
	lw_arg_int(launch, conv->out_channels);
	pair(launch, conv->kernel);
	pair(launch, conv->stride);
	pair(launch, conv->pad);
	pair(launch, conv->dilation);
	lw_arg_int(launch, conv->groups);
	launch->flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
}

/* forward, or backward of the data: an item per channel, pixel, image */
static lw_status simple_pixels(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *buffers, bool forward)
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
	simple_arguments(&launch, conv);
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
	return lw_op_sum_parts(context, conv->parts, lw_conv_weights(conv), buffers->workspace, buffers->weight_gradient);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	const lw_conv_buffers buffers = {
		.x = call->input[0],
		.weight = call->param[0],
		.bias = call->options->bias ? call->param[1] : NULL,
		.y = call->output,
		.workspace = call->workspace,
	};
	lw_conv conv;

	describe(&conv, call->options, call->input_shape[0], call->output_shape);
	if (choose(context, &conv) == SIMPLE)
		return simple_pixels(context, &conv, &buffers, true);
	return lw_conv_cpu_forward(context, &conv, &buffers);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	const lw_conv_buffers buffers = {
		.x = call->input[0],
		.weight = call->param[0],
		.workspace = call->workspace,
		.gradient = call->output_gradient,
		.x_gradient = call->input_gradient[0],
		.weight_gradient = call->param_gradient[0],
	};
	lw_conv conv;
	int variant;

	describe(&conv, call->options, call->input_shape[0], call->output_shape);
	variant = choose(context, &conv);
	if (buffers.x_gradient)
		LW_TRY(variant == SIMPLE ? simple_pixels(context, &conv, &buffers, false)
					 : lw_conv_cpu_backward_data(context, &conv, &buffers));
	if (buffers.weight_gradient)
		LW_TRY(variant == SIMPLE ? simple_weight(context, &conv, &buffers)
					 : lw_conv_cpu_backward_weight(context, &conv, &buffers));
	if (conv.bias && call->param_gradient[1])
		LW_TRY(lw_op_sum_rows(context, conv.images, conv.output[0] * conv.output[1], conv.out_channels,
				      call->output_gradient, call->workspace, call->param_gradient[1]));
	return LW_OK;
}

extern const lw_op lw_op_conv;
const lw_op lw_op_conv = {"conv", keys, 1, 1, VARIANTS, variant_name, variant_applies, rule, forward, backward};
