/* conv: 2-D convolution with stride, padding, dilation and groups. Which algorithm and which family of kernels computes a pass. */
#include "op/sum.h"
#include "op/winograd.h"

#include <limits.h>

extern const lw_op lw_op_conv;

static const char *const keys[] = {"out", "kernel", "stride", "pad", "dilation", "groups", "bias", NULL};
const char *const lw_conv_algorithm_names[LW_CONV_ALGORITHMS] = {"direct", "winograd_f2", "winograd_f4", "winograd_5x5", "col2im"};

/* By preference; the last two run anywhere, slowly. */
static const lw_conv_family *const families[] = {&lw_winograd_few, &lw_winograd_cpu, &lw_conv_gemm, &lw_conv_few, &lw_conv_cpu,
						  &lw_conv_col2im, &lw_winograd_gpu, &lw_conv_gpu, &lw_winograd_simple, &lw_conv_simple};
enum { ANYWHERE = 8 };

static const char *const axes[2] = {"height", "width"};

static void describe_shape(lw_conv *conv, const lw_layer_options *options, lw_shape input, lw_shape output)
{
	*conv = (lw_conv){
		.images = input.n,
		.groups = options->groups,
		.parts = lw_batch_parts(input.n),
		.slices = 1,
		.step_slices = 1,
		.rule_images = input.n,
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
	describe_shape(&conv, options, inputs[0], output);
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
		.backward_input = true,
		.flops = 2.0 * (double)lw_shape_count(output) * fan_in,
	};
	return LW_OK;
}

static void describe(lw_conv *conv, const lw_op_call *call)
{
	describe_shape(conv, call->options, call->input_shape[0], call->output_shape);
	conv->relu = call->relu;
	conv->mask = call->mask_input;
	conv->parts = lw_call_parts(call);
	conv->slices = lw_max_int(call->slices, 1);
	conv->step_slices = call->slices ? call->share->slices : 1;
	if (call->share && call->share->rule_images)
		conv->rule_images = call->share->rule_images;
}

/*
 * Whether Winograd's algorithm pays: channels fill vectors, the tiles' multiplications are well below the direct ones
 * though tiles reach beyond small images, and there are enough tiles to make up for the filters' transform.
 */
static bool winograd_pays(const lw_conv *conv, lw_conv_algorithm algorithm, int least_channels)
{
	const int outputs = lw_winograd_outputs(algorithm), size = lw_winograd_size(algorithm);
	const double tiles = (double)((conv->output[0] + outputs - 1) / outputs) * ((conv->output[1] + outputs - 1) / outputs);
	const double direct = (double)lw_conv_taps(conv) * conv->output[0] * conv->output[1];

	return lw_conv_winograd_applies(conv, algorithm) && lw_min_int(conv->channels, conv->out_channels) >= least_channels &&
	       1.5 * tiles * size * size <= direct && tiles * conv->rule_images >= 16;
}

/* Direct or one of Winograd's. */
static lw_conv_algorithm direct_or_winograd(const lw_conv *conv, lw_pass pass, lw_precision precision)
{
	/* from few channels to many the transforms of the outputs are most of the work, and even so pay */
	const bool few = pass != LW_PASS_DATA && lw_conv_is_few(conv) && conv->out_channels >= 16;

	if (precision == LW_PRECISION_ACCURATE)
		return winograd_pays(conv, LW_CONV_WINOGRAD_F2, 32) ? LW_CONV_WINOGRAD_F2 : LW_CONV_DIRECT;
	if (winograd_pays(conv, LW_CONV_WINOGRAD_F4, few ? 1 : 16))
		return LW_CONV_WINOGRAD_F4;
	return winograd_pays(conv, LW_CONV_WINOGRAD_5X5, 16) ? LW_CONV_WINOGRAD_5X5 : LW_CONV_DIRECT;
}

/* The algorithm of a pass of a shape, good on CPUs and GPUs alike; if `vector` is a constant, all devices have the same bits. */
static lw_conv_algorithm preferred(const lw_conv *conv, lw_pass pass, lw_precision precision, int vector)
{
	const lw_conv_algorithm algorithm = direct_or_winograd(conv, pass, precision);

	return pass == LW_PASS_DATA && lw_conv_col2im_pays(conv, algorithm, vector) ? LW_CONV_COL2IM : algorithm;
}

static bool allowed(const lw_op_context *context, const lw_choice *choice, int own)
{
	if (context->force_variant >= 0)
		return true;
	if (context->reproducible)
		return choice->algorithm == own;
	return context->precision == LW_PRECISION_FAST ||
	       (choice->algorithm != LW_CONV_WINOGRAD_F4 && choice->algorithm != LW_CONV_WINOGRAD_5X5);
}

static int choices(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_choice *list)
{
	const bool gpu = lw_device_get_info(context->device)->type != LW_DEVICE_CPU;
	lw_choice found[LW_MAX_CHOICES];
	int count = 0, kept = 0;
	lw_conv conv;

	describe(&conv, call);
	for (size_t f = 0; f < LW_COUNT(families) && count < LW_MAX_CHOICES; f++) {
		if (context->force_variant < 0 && families[f]->gpu != gpu && f < ANYWHERE)
			continue;
		const int more = families[f]->choices(context, &conv, pass, found + count, LW_MAX_CHOICES - count);
		for (int i = count; i < count + more; i++)
			found[i].family = (int)f;
		count += more;
	}
	/* first the shape's own algorithm, last what runs anywhere */
	const int vector = context->reproducible || gpu ? LW_TILE_WIDE : lw_op_vector_width(context->device, LW_TILE_WIDE);
	const int own = (int)preferred(&conv, pass, context->precision, vector);
	for (int rank = 0; rank < 3; rank++)
		for (int i = 0; i < count; i++)
			if ((found[i].family >= ANYWHERE ? 2 : found[i].algorithm != own) == rank && allowed(context, &found[i], own))
				list[kept++] = found[i];
	return kept;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t workspace(const lw_op_context *context, const lw_op_call *call, lw_pass pass)
{
	size_t bytes = 0;
	lw_choice choice;
	lw_conv conv;

	describe(&conv, call);
	/* without a choice the pass itself will say so */
	if (lw_op_choose(context, &lw_op_conv, call, pass, &choice) == LW_OK)
		bytes = families[choice.family]->workspace(context, &conv, pass, &choice);
	if (pass == LW_PASS_WEIGHT && conv.bias)
		bytes = larger(bytes, lw_op_sum_rows_workspace(call));
	return bytes;
}

/* All families do. */
static bool takes_slices(const lw_op_context *context, const lw_op_call *call)
{
	(void)context, (void)call;
	return true;
}

static lw_status run(const lw_op_context *context, const lw_op_call *call, lw_pass pass, const lw_conv_buffers *buffers)
{
	lw_choice choice;
	lw_conv conv;

	LW_TRY(lw_op_choose(context, &lw_op_conv, call, pass, &choice));
	describe(&conv, call);
	return families[choice.family]->run(context, &conv, pass, &choice, buffers);
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

	return run(context, call, LW_PASS_FORWARD, &buffers);
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

	if (buffers.x_gradient)
		LW_TRY(run(context, call, LW_PASS_DATA, &buffers));
	if (buffers.weight_gradient)
		LW_TRY(run(context, call, LW_PASS_WEIGHT, &buffers));
	if (call->options->bias && call->param_gradient[1])
		LW_TRY(lw_op_sum_rows(context, call, call->param_gradient[1]));
	return LW_OK;
}

const lw_op lw_op_conv = {
	.kind = "conv",
	.keys = keys,
	.min_inputs = 1,
	.max_inputs = 1,
	.rule = rule,
	.forward = forward,
	.backward = backward,
	.choices = choices,
	.workspace = workspace,
	.takes_slices = takes_slices,
	.fuses = LW_FUSES_RELU | LW_FUSES_INPUT_MASK,
};
