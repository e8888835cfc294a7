/* concat: its inputs' channels, one after another. */
#include "op/support.h"

#include <limits.h>

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	lw_shape out = inputs[0];

	(void)options;
	LW_TRY(lw_op_check_inputs("concat", inputs, input_count));
	for (int i = 1; i < input_count; i++) {
		if (inputs[i].n != out.n || inputs[i].h != out.h || inputs[i].w != out.w)
			return lw_fail(LW_E_ARGUMENT, "concat: input %d is %d x %d; expected %d x %d (H, W), as the first", i,
				       inputs[i].h, inputs[i].w, out.h, out.w);
		if (__builtin_add_overflow(out.c, inputs[i].c, &out.c))
			return lw_fail(LW_E_ARGUMENT, "concat: more than %d channels", INT_MAX);
	}
	LW_TRY(lw_op_check_inputs("concat", &out, 1));
	*result = (lw_op_rule){.output = out};
	return LW_OK;
}

/* Pixels that one work-item takes, where it takes several. */
enum { RUN_PIXELS = 64 };

static lw_status copy_channels(const lw_op_context *context, lw_shape part, lw_buf *from, int from_stride, int from_offset,
			       lw_buf *to, int to_stride, int to_offset)
{
	const bool runs = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "concat", .function = runs ? "copy_channels_runs" : "copy_channels"};
	const size_t count = lw_shape_count(part), pixels = count / (size_t)part.c;
	/* what the beginnings of what is written have in common */
	const size_t row = (size_t)(to_stride | to_offset | part.c);
	lw_launch launch;

	if (runs) {
		lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, (size_t)part.c));
		lw_variant_option(&variant, "STREAM", row % 16 == 0 && lw_op_streams(context->device, pixels * (size_t)to_stride, 16));
	}
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, from);
	lw_arg_buf(&launch, to);
	lw_arg_int(&launch, (int)(runs ? pixels : count));
	lw_arg_int(&launch, part.c);
	lw_arg_int(&launch, from_stride);
	lw_arg_int(&launch, from_offset);
	lw_arg_int(&launch, to_stride);
	lw_arg_int(&launch, to_offset);
	if (runs) {
		lw_arg_int(&launch, RUN_PIXELS);
		lw_launch_1d(&launch, (pixels + RUN_PIXELS - 1) / RUN_PIXELS, 1);
	} else {
		lw_op_items(&launch, count);
	}
	launch.bytes = 8.0 * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	int offset = 0;

	for (int i = 0; i < call->input_count; i++) {
		const lw_shape part = call->input_shape[i];

		LW_TRY(copy_channels(context, part, call->input[i], part.c, 0, call->output, call->output_shape.c, offset));
		offset += part.c;
	}
	return LW_OK;
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	int offset = 0;

	for (int i = 0; i < call->input_count; i++) {
		const lw_shape part = call->input_shape[i];

		if (call->input_gradient[i])
			LW_TRY(copy_channels(context, part, call->output_gradient, call->output_shape.c, offset,
					     call->input_gradient[i], part.c, 0));
		offset += part.c;
	}
	return LW_OK;
}

static const char *const keys[] = {NULL};

extern const lw_op lw_op_concat;
const lw_op lw_op_concat = {
	.kind = "concat",
	.keys = keys,
	.min_inputs = 2,
	.max_inputs = LW_OP_MAX_INPUTS,
	.variant_count = LW_SCALAR_AND_VECTOR,
	.variant_name = lw_op_scalar_or_vector,
	.variant_applies = lw_op_applies,
	.rule = rule,
	.forward = forward,
	.backward = backward,
};
