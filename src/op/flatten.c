/* flatten: an image's values as features in C, H, W order, as PyTorch has them. */
#include "op/support.h"

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	const lw_shape in = inputs[0];

	(void)options;
	LW_TRY(lw_op_same_shape("flatten", inputs, input_count, result));
	result->output = (lw_shape){in.n, 1, 1, in.h * in.w * in.c};
	result->flops = 0;
	return LW_OK;
}

enum { BLOCK = 64 }; /* as in flatten.cl */

/* Between [pixels][channels] and [channels][pixels] of every image; mask may be NULL. */
static lw_status transpose(const lw_op_context *context, lw_shape image, int rows, int columns, lw_buf *from, lw_buf *to, lw_buf *mask)
{
	const bool blocks = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "flatten", .function = blocks ? "transpose_blocks" : "transpose_images"};
	const size_t count = lw_shape_count(image);
	lw_launch launch;

	if ((rows == 1 || columns == 1) && !mask)
		return lw_op_copy(context, count, from, to, NULL);
	if (blocks) {
		lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, BLOCK));
		lw_variant_option(&variant, "STREAM", lw_op_streams(context->device, count, (size_t)rows));
	}
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, from);
	lw_arg_buf(&launch, to);
	lw_arg_buf(&launch, mask);
	if (!blocks)
		lw_arg_int(&launch, (int)count);
	lw_arg_int(&launch, rows);
	lw_arg_int(&launch, columns);
	if (blocks) {
		launch.dimensions = 2;
		launch.global[0] = ((size_t)rows + BLOCK - 1) / BLOCK;
		launch.global[1] = (size_t)image.n;
		launch.local[0] = launch.local[1] = 1;
	} else {
		lw_op_items(&launch, count);
	}
	launch.bytes = 8.0 * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	const lw_shape in = call->input_shape[0];

	return transpose(context, in, in.h * in.w, in.c, call->input[0], call->output, NULL);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	const lw_shape in = call->input_shape[0];

	if (!call->input_gradient[0])
		return LW_OK;
	return transpose(context, in, in.c, in.h * in.w, call->output_gradient, call->input_gradient[0],
			 call->mask_input ? call->input[0] : NULL);
}

static const char *const keys[] = {NULL};

extern const lw_op lw_op_flatten;
const lw_op lw_op_flatten = {
	.kind = "flatten",
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
