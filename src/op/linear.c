/* linear: y = x W^T + b for feature vectors, weight [out, in]. All of it is gemm. */
#include "op/sum.h"
#include "op/support.h"

#include <limits.h>

extern const lw_op lw_op_linear;

static const char *const keys[] = {"out", "bias", NULL};

/* The product of a pass. Buffers are the caller's to set. */
static lw_gemm gemm_of(const lw_op_call *call, lw_pass pass)
{
	const int rows = call->input_shape[0].n, in = call->input_shape[0].c, out = call->output_shape.c;

	if (pass == LW_PASS_FORWARD)
		return (lw_gemm){.transpose_b = true, .m = rows, .n = out, .k = in, .lda = in, .ldb = in, .ldc = out, .parts = 1,
				 .relu = call->relu};
	if (pass == LW_PASS_DATA)
		return (lw_gemm){.m = rows, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in, .parts = 1};
	return (lw_gemm){.transpose_a = true, .m = out, .n = in, .k = rows, .lda = out, .ldb = in, .ldc = in,
			 .parts = lw_call_parts(call), .slices = call->slices};
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static lw_status rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *result)
{
	const lw_shape s = inputs[0];
	const int out = options->out;

	LW_TRY(lw_op_check_inputs("linear", inputs, input_count));
	if (out < 1)
		return lw_fail(LW_E_ARGUMENT, "linear: out is %d; expected the number of output features, at least 1", out);
	if (s.h != 1 || s.w != 1)
		return lw_fail(LW_E_ARGUMENT, "linear: the input is %d x %d x %d (C, H, W); expected features, flatten it first",
			       s.c, s.h, s.w);
	if ((double)out * s.c > INT_MAX || (double)out * s.n > INT_MAX)
		return lw_fail(LW_E_ARGUMENT, "linear: the weight or the output has more than 2^31-1 values");

	*result = (lw_op_rule){
		.output = {s.n, 1, 1, out},
		.param_count = options->bias ? 2 : 1,
		.params = {{"weight", 2, {out, s.c}, true, LW_START_WEIGHT, s.c, out, false},
			   {"bias", 1, {out}, true, LW_START_BIAS, s.c, out, true}},
		.backward_input = true,
		.flops = 2.0 * s.n * s.c * out,
	};
	return LW_OK;
}

static int choices(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_choice *list)
{
	const lw_gemm gemm = gemm_of(call, pass);

	return lw_gemm_choices(context, &gemm, list);
}

static size_t workspace(const lw_op_context *context, const lw_op_call *call, lw_pass pass)
{
	const lw_gemm gemm = gemm_of(call, pass);
	const size_t bias = pass == LW_PASS_WEIGHT && call->options->bias ? lw_op_sum_rows_workspace(call) : 0;
	lw_choice choice;

	if (lw_op_choose(context, &lw_op_linear, call, pass, &choice) != LW_OK)
		return bias;
	return larger(bias, lw_gemm_workspace(context, &gemm, &choice));
}

/* Parts that are products of their own may take far more memory than the weight. */
static bool takes_slices(const lw_op_context *context, const lw_op_call *call)
{
	enum { MOST_BYTES = 16 << 20 };
	const lw_gemm gemm = gemm_of(call, LW_PASS_WEIGHT);
	lw_choice choice;

	return lw_op_choose(context, &lw_op_linear, call, LW_PASS_WEIGHT, &choice) == LW_OK && choice.family == LW_GEMM_CPU &&
	       lw_gemm_workspace(context, &gemm, &choice) <= MOST_BYTES;
}

static lw_status run(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_gemm *gemm)
{
	lw_choice choice;

	LW_TRY(lw_op_choose(context, &lw_op_linear, call, pass, &choice));
	gemm->workspace = call->workspace;
	return lw_gemm_run(context, gemm, &choice);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	lw_gemm gemm = gemm_of(call, LW_PASS_FORWARD);

	gemm.a = call->input[0];
	gemm.b = call->param[0];
	gemm.bias = call->options->bias ? call->param[1] : NULL;
	gemm.c = call->output;
	return run(context, call, LW_PASS_FORWARD, &gemm);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	if (call->input_gradient[0]) {
		lw_gemm gemm = gemm_of(call, LW_PASS_DATA);
		gemm.a = call->output_gradient;
		gemm.b = call->param[0];
		gemm.c = call->input_gradient[0];
		gemm.mask = call->mask_input ? call->input[0] : NULL;
		LW_TRY(run(context, call, LW_PASS_DATA, &gemm));
	}
	if (call->param_gradient[0]) {
		lw_gemm gemm = gemm_of(call, LW_PASS_WEIGHT);
		gemm.a = call->output_gradient;
		gemm.b = call->input[0];
		gemm.c = call->param_gradient[0];
		LW_TRY(run(context, call, LW_PASS_WEIGHT, &gemm));
	}
	if (call->options->bias && call->param_gradient[1])
		LW_TRY(lw_op_sum_rows(context, call, call->param_gradient[1]));
	return LW_OK;
}

const lw_op lw_op_linear = {
	.kind = "linear",
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
