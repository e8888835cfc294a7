/* relu, leaky_relu, relu6, sigmoid, tanh: elementwise; backward reads the output. */
#include "op/support.h"

#include <math.h>

typedef enum activation { RELU, LEAKY_RELU, RELU6, SIGMOID, TANH } activation;

static lw_status activate(const lw_op_context *context, activation kind, bool backward, size_t count, float slope,
			  lw_buf *const *buffers, int buffer_count)
{
	const bool runs = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "activation"};
	lw_launch launch;

	if (runs)
		variant.function = backward ? "activation_backward_runs" : "activation_forward_runs";
	else
		variant.function = backward ? "activation_backward" : "activation_forward";
	lw_variant_option(&variant, "KIND", kind);
	if (runs) {
		lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, count));
		lw_variant_option(&variant, "STREAM", lw_op_streams(context->device, count, LW_OP_RUN));
	}
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	for (int i = 0; i < buffer_count; i++)
		lw_arg_buf(&launch, buffers[i]);
	lw_arg_int(&launch, (int)count);
	lw_arg_float(&launch, slope);
	if (runs) {
		lw_arg_int(&launch, LW_OP_RUN);
		lw_launch_1d(&launch, lw_op_runs(count), 1);
	} else {
		lw_op_items(&launch, count);
	}
	launch.flops = (double)count;
	launch.bytes = 4.0 * buffer_count * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call, activation kind)
{
	lw_buf *const buffers[] = {call->input[0], call->output};

	return activate(context, kind, false, lw_shape_count(call->output_shape), (float)call->options->slope, buffers, 2);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call, activation kind)
{
	lw_buf *const buffers[] = {call->output, call->output_gradient, call->input_gradient[0]};

	if (!call->input_gradient[0])
		return LW_OK;
	return activate(context, kind, true, lw_shape_count(call->output_shape), (float)call->options->slope, buffers, 3);
}

static const char *const no_keys[] = {NULL};
static const char *const leaky_keys[] = {"slope", NULL};

static lw_status rule(const char *kind, const lw_shape *inputs, int input_count, lw_op_rule *result, double flops)
{
	LW_TRY(lw_op_same_shape(kind, inputs, input_count, result));
	result->backward_output = true;
	result->flops *= flops;
	return LW_OK;
}

static lw_status relu_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	(void)options;
	return rule("relu", inputs, input_count, result, 1);
}

static lw_status relu6_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	(void)options;
	return rule("relu6", inputs, input_count, result, 2);
}

static lw_status leaky_relu_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	/* a negative slope would hide the input's sign from backward, which reads the output */
	if (!(options->slope >= 0) || !isfinite(options->slope))
		return lw_fail(LW_E_ARGUMENT, "leaky_relu: slope is %g; expected a number of 0 or more", options->slope);
	return rule("leaky_relu", inputs, input_count, result, 2);
}

static lw_status sigmoid_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	(void)options;
	return rule("sigmoid", inputs, input_count, result, 20);
}

static lw_status tanh_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	(void)options;
	return rule("tanh", inputs, input_count, result, 20);
}

/* An operator's table entry; the kernels' functions only differ in the kind they pass on. */
#define ACTIVATION(name, number, accepted, variants)                                                                   \
	static lw_status name##_forward(const lw_op_context *context, const lw_op_call *call)                          \
	{                                                                                                              \
		return forward(context, call, number);                                                                 \
	}                                                                                                              \
	static lw_status name##_backward(const lw_op_context *context, const lw_op_call *call)                         \
	{                                                                                                              \
		return backward(context, call, number);                                                                \
	}                                                                                                              \
	extern const lw_op lw_op_##name;                                                                               \
	const lw_op lw_op_##name = {                                                                                   \
		.kind = #name,                                                                                         \
		.keys = accepted,                                                                                      \
		.min_inputs = 1,                                                                                       \
		.max_inputs = 1,                                                                                       \
		.variant_count = variants,                                                                             \
		.variant_name = lw_op_scalar_or_vector,                                                                \
		.variant_applies = lw_op_applies,                                                                      \
		.rule = name##_rule,                                                                                   \
		.forward = name##_forward,                                                                             \
		.backward = name##_backward,                                                                           \
	};

ACTIVATION(relu, RELU, no_keys, LW_SCALAR_AND_VECTOR)
ACTIVATION(leaky_relu, LEAKY_RELU, leaky_keys, LW_SCALAR_AND_VECTOR)
ACTIVATION(relu6, RELU6, no_keys, LW_SCALAR_AND_VECTOR)
ACTIVATION(sigmoid, SIGMOID, no_keys, LW_SCALAR_AND_VECTOR)
ACTIVATION(tanh, TANH, no_keys, LW_SCALAR_AND_VECTOR)
