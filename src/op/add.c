/* add: the sum of its inputs, in their order. And lw_accumulate, which sums gradients. */
#include "op/support.h"

enum { MAX_TERMS = 4 }; /* of one launch */

/* The terms' sum, from left to right; it may be the first of them. */
static lw_status sum_of(const lw_op_context *context, size_t count, lw_buf *const *terms, int term_count, lw_buf *sum, bool relu)
{
	const bool runs = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "add", .function = runs ? "add_runs" : "add"};
	lw_launch launch;

	if (runs) {
		lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, count));
		/* a sum that is one of its terms is in the caches already */
		lw_variant_option(&variant, "STREAM", sum != terms[0] && lw_op_streams(context->device, count, LW_OP_RUN));
	}
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	for (int i = 0; i < MAX_TERMS; i++)
		lw_arg_buf(&launch, i < term_count ? terms[i] : NULL);
	lw_arg_buf(&launch, sum);
	lw_arg_int(&launch, (int)count);
	lw_arg_int(&launch, relu);
	if (runs) {
		lw_arg_int(&launch, LW_OP_RUN);
		lw_launch_1d(&launch, lw_op_runs(count), 1);
	} else {
		lw_op_items(&launch, count);
	}
	launch.flops = (double)count * (term_count - 1);
	launch.bytes = 4.0 * (term_count + 1) * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_accumulate(const lw_op_context *context, size_t count, lw_buf *from, lw_buf *to)
{
	return count ? sum_of(context, count, (lw_buf *[]){to, from}, 2, to, false) : LW_OK;
}

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	(void)options;
	LW_TRY(lw_op_same_shape("add", inputs, input_count, result));
	for (int i = 1; i < input_count; i++)
		if (inputs[i].n != inputs[0].n || inputs[i].h != inputs[0].h || inputs[i].w != inputs[0].w ||
		    inputs[i].c != inputs[0].c)
			return lw_fail(LW_E_ARGUMENT, "add: input %d is %d x %d x %d; expected %d x %d x %d (C, H, W), as the first",
				       i, inputs[i].c, inputs[i].h, inputs[i].w, inputs[0].c, inputs[0].h, inputs[0].w);
	result->flops *= input_count - 1;
	return LW_OK;
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	for (int done = 0; done < call->input_count;) {
		lw_buf *terms[MAX_TERMS];
		int count = 0;

		if (done > 0)
			terms[count++] = call->output;
		while (count < MAX_TERMS && done < call->input_count)
			terms[count++] = call->input[done++];
		LW_TRY(sum_of(context, lw_shape_count(call->output_shape), terms, count, call->output,
			      call->relu && done == call->input_count));
	}
	return LW_OK;
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	lw_buf *wanted[LW_OP_MAX_INPUTS + 1] = {NULL};
	int count = 0;

	for (int i = 0; i < call->input_count; i++)
		if (call->input_gradient[i])
			wanted[count++] = call->input_gradient[i];
	for (int i = 0; i < count; i += 2)
		LW_TRY(lw_op_copy(context, lw_shape_count(call->output_shape), call->output_gradient, wanted[i], wanted[i + 1]));
	return LW_OK;
}

static const char *const keys[] = {NULL};

extern const lw_op lw_op_add;
const lw_op lw_op_add = {
	.kind = "add",
	.keys = keys,
	.min_inputs = 2,
	.max_inputs = LW_OP_MAX_INPUTS,
	.variant_count = LW_SCALAR_AND_VECTOR,
	.variant_name = lw_op_scalar_or_vector,
	.variant_applies = lw_op_applies,
	.rule = rule,
	.forward = forward,
	.backward = backward,
	.fuses = LW_FUSES_RELU,
};
