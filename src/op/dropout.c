/* dropout: in training each element is dropped with probability p, the others are scaled by 1/(1-p); otherwise a copy. */
#include "op/support.h"

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	if (!(options->p >= 0 && options->p < 1))
		return lw_fail(LW_E_ARGUMENT, "dropout: p is %g; expected 0 <= p < 1", options->p);
	return lw_op_same_shape("dropout", inputs, input_count, result);
}

static lw_status drop(const lw_op_context *context, const lw_op_call *call, lw_buf *from, lw_buf *to, lw_buf *mask)
{
	const bool runs = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "dropout", .function = runs ? "dropout_runs" : "dropout"};
	const size_t count = lw_shape_count(call->output_shape);
	/* random numbers are counted over the step's whole batch */
	const size_t before = call->share ? (size_t)call->share->first * (count / (size_t)call->output_shape.n) : 0;
	const double p = call->training ? call->options->p : 0.0;
	lw_launch launch;

	if (!call->training && !mask)
		return lw_op_copy(context, count, from, to, NULL);
	if (runs)
		lw_variant_option(&variant, "STREAM", lw_op_streams(context->device, count, LW_OP_RUN));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, from);
	lw_arg_buf(&launch, to);
	lw_arg_int(&launch, (int)count);
	lw_arg_uint(&launch, (uint32_t)before);
	lw_arg_uint(&launch, call->seed);
	lw_arg_uint(&launch, call->layer);
	lw_arg_uint(&launch, call->step);
	lw_arg_uint(&launch, (uint32_t)(p * 4294967296.0)); /* p < 1, so it fits */
	lw_arg_float(&launch, (float)(1.0 / (1.0 - p)));
	lw_arg_buf(&launch, mask);
	if (runs) {
		lw_arg_int(&launch, LW_OP_RUN);
		lw_launch_1d(&launch, lw_op_runs(count), 1);
	} else {
		lw_op_items(&launch, count);
	}
	launch.flops = (double)count;
	launch.bytes = 8.0 * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	return drop(context, call, call->input[0], call->output, NULL);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	if (!call->input_gradient[0])
		return LW_OK;
	return drop(context, call, call->output_gradient, call->input_gradient[0], call->mask_input ? call->input[0] : NULL);
}

static const char *const keys[] = {"p", NULL};

extern const lw_op lw_op_dropout;
const lw_op lw_op_dropout = {
	.kind = "dropout",
	.keys = keys,
	.min_inputs = 1,
	.max_inputs = 1,
	.variant_count = LW_SCALAR_AND_VECTOR,
	.variant_name = lw_op_scalar_or_vector,
	.variant_applies = lw_op_applies,
	.rule = rule,
	.forward = forward,
	.backward = backward,
	.fuses = LW_FUSES_INPUT_MASK,
};
