/* linear: y = x W^T + b for feature vectors, weight [out, in]. All of it is gemm. */
#include "op/sum.h"
#include "op/support.h"

#include <limits.h>

static const char *const keys[] = {"out", "bias", NULL};

/* The three products. Buffers are the caller's to set. */
static lw_gemm forward_gemm(int rows, int in, int out)
{
	return (lw_gemm){.transpose_b = true, .m = rows, .n = out, .k = in, .lda = in, .ldb = in, .ldc = out, .parts = 1};
}

static lw_gemm data_gemm(int rows, int in, int out)
{
	return (lw_gemm){.m = rows, .n = in, .k = out, .lda = out, .ldb = in, .ldc = in, .parts = 1};
}

static lw_gemm weight_gemm(int rows, int in, int out)
{
	return (lw_gemm){.transpose_a = true, .m = out, .n = in, .k = rows, .lda = out, .ldb = in, .ldc = in,
			 .parts = lw_batch_parts(rows)};
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

	const lw_gemm forward = forward_gemm(s.n, s.c, out), data = data_gemm(s.n, s.c, out), weight = weight_gemm(s.n, s.c, out);
	*result = (lw_op_rule){
		.output = {s.n, 1, 1, out},
		.param_count = options->bias ? 2 : 1,
		.params = {{"weight", 2, {out, s.c}, true, LW_START_WEIGHT, s.c, out, false},
			   {"bias", 1, {out}, true, LW_START_BIAS, s.c, out, true}},
		.forward_workspace = lw_gemm_workspace(&forward),
		.backward_workspace = larger(larger(lw_gemm_workspace(&data), lw_gemm_workspace(&weight)),
					     sizeof(float) * (size_t)lw_batch_parts(s.n) * (size_t)out),
		.backward_input = true,
		.flops = 2.0 * s.n * s.c * out,
	};
	return LW_OK;
}

static bool variant_applies(const lw_op_context *context, const lw_op_call *call, int variant)
{
	const int rows = call->input_shape[0].n, in = call->input_shape[0].c, out = call->output_shape.c;
	const lw_gemm forward = forward_gemm(rows, in, out), data = data_gemm(rows, in, out), weight = weight_gemm(rows, in, out);

	return lw_gemm_variant_applies(context, &forward, variant) && lw_gemm_variant_applies(context, &data, variant) &&
	       lw_gemm_variant_applies(context, &weight, variant);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	lw_gemm gemm = forward_gemm(call->input_shape[0].n, call->input_shape[0].c, call->output_shape.c);

	gemm.a = call->input[0];
	gemm.b = call->param[0];
	gemm.bias = call->options->bias ? call->param[1] : NULL;
	gemm.c = call->output;
	gemm.workspace = call->workspace;
	return lw_gemm_run(context, &gemm);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	const int rows = call->input_shape[0].n, in = call->input_shape[0].c, out = call->output_shape.c;

	if (call->input_gradient[0]) {
		lw_gemm gemm = data_gemm(rows, in, out);
		gemm.a = call->output_gradient;
		gemm.b = call->param[0];
		gemm.c = call->input_gradient[0];
		gemm.workspace = call->workspace;
		LW_TRY(lw_gemm_run(context, &gemm));
	}
	if (call->param_gradient[0]) {
		lw_gemm gemm = weight_gemm(rows, in, out);
		gemm.a = call->output_gradient;
		gemm.b = call->input[0];
		gemm.c = call->param_gradient[0];
		gemm.workspace = call->workspace;
		LW_TRY(lw_gemm_run(context, &gemm));
	}
	if (call->options->bias && call->param_gradient[1])
		LW_TRY(lw_op_sum_rows(context, rows, 1, out, call->output_gradient, call->workspace, call->param_gradient[1]));
	return LW_OK;
}

extern const lw_op lw_op_linear;
const lw_op lw_op_linear = {"linear", keys, 1, 1, 2, lw_gemm_variant_name, variant_applies, rule, forward, backward};
