/* The loss: cross-entropy of the softmax of logits against labels. */
#include "op/support.h"

lw_status lw_softmax_cross_entropy(const lw_op_context *context, int rows, int classes, lw_buf *logits, lw_buf *labels,
				   float label_smoothing, float divisor, lw_buf *loss, lw_buf *correct, lw_buf *gradient)
{
	const bool vectors = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "softmax_cross_entropy", .function = "softmax_cross_entropy"};
	lw_launch launch;

	if (rows < 1 || classes < 1)
		return lw_fail(LW_E_ARGUMENT, "softmax_cross_entropy: %d rows of %d classes", rows, classes);
	lw_variant_option(&variant, "VECTOR", vectors ? lw_op_vector_width(context->device, (size_t)classes) : 1);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, logits);
	lw_arg_buf(&launch, labels);
	lw_arg_buf(&launch, loss);
	lw_arg_buf(&launch, correct);
	lw_arg_buf(&launch, gradient);
	lw_arg_int(&launch, rows);
	lw_arg_int(&launch, classes);
	lw_arg_float(&launch, 1.0f - label_smoothing);
	lw_arg_float(&launch, label_smoothing / (float)classes);
	lw_arg_float(&launch, 1.0f / divisor);
	if (vectors)
		lw_launch_1d(&launch, (size_t)rows, 1);
	else
		lw_op_items(&launch, (size_t)rows);
	launch.flops = 40.0 * rows * classes;
	launch.bytes = 8.0 * rows * classes;
	return lw_queue_launch(context->queue, &launch, NULL);
}
