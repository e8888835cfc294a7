/* linear: tails in batch, inputs and outputs, and plain C references. */
#include "op/runner.h"

#include <math.h>

static const lw_op_case cases[] = {
	{"one by one", .options = {.out = 1}, .inputs = {{1, 1, 1, 1}}},
	{"one row", .options = {.out = 10, .bias = true}, .inputs = {{1, 1, 1, 7}}},
	{"one output", .options = {.out = 1, .bias = true}, .inputs = {{5, 1, 1, 19}}},
	{"17 rows", .options = {.out = 33, .bias = true}, .inputs = {{17, 1, 1, 5}}},
	{"33 rows, no bias", .options = {.out = 5}, .inputs = {{33, 1, 1, 37}}},
	{"primes", .options = {.out = 17, .bias = true}, .inputs = {{13, 1, 1, 31}}},
	{"relu", .options = {.out = 37, .bias = true}, .inputs = {{17, 1, 1, 29}}, .relu = true},
	{"masked", .options = {.out = 11}, .inputs = {{15, 1, 1, 35}}, .relu = true, .mask_input = true},
	{"48 rows", .options = {.out = 19, .bias = true}, .inputs = {{48, 1, 1, 21}}, .mask_input = true},
	{"special values", .options = {.out = 7, .bias = true}, .inputs = {{5, 1, 1, 9}}, .values = LW_VALUES_SPECIAL},
	{"deep", .options = {.out = 70, .bias = true}, .inputs = {{19, 1, 1, 601}}, .large = true},
	{"wide", .options = {.out = 523, .bias = true}, .inputs = {{40, 1, 1, 129}}, .large = true},
	{"many rows", .options = {.out = 10, .bias = true}, .inputs = {{300, 1, 1, 64}}, .large = true},
};

static double terms(const lw_op_problem *problem)
{
	return lw_max_int(lw_max_int(problem->input[0].c, problem->options->out), problem->input[0].n) + 1;
}

static void forward_double(const lw_op_problem *problem, const double *const *input, double *const *param, double *output)
{
	const int in = problem->input[0].c, out = problem->options->out;

	for (int n = 0; n < problem->output.n; n++)
		for (int k = 0; k < out; k++) {
			double sum = problem->options->bias ? param[1][k] : 0;
			for (int c = 0; c < in; c++)
				sum += input[0][n * in + c] * param[0][k * in + c];
			output[n * out + k] = sum;
		}
}

static void forward_bits(const lw_op_problem *problem, const float *const *input, float *const *param, float *output, void *saved)
{
	const int in = problem->input[0].c, out = problem->options->out;

	(void)saved;
	for (int n = 0; n < problem->output.n; n++)
		for (int k = 0; k < out; k++) {
			float sum = 0;
			for (int c = 0; c < in; c++)
				sum = fmaf(input[0][n * in + c], param[0][k * in + c], sum);
			output[n * out + k] = (problem->options->bias ? sum + param[1][k] : sum) + 0.0f;
		}
}

static void backward_bits(const lw_op_problem *problem, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	const int rows = problem->output.n, in = problem->input[0].c, out = problem->options->out, parts = lw_batch_parts(rows);

	(void)output, (void)saved;
	for (int n = 0; input_gradient[0] && n < rows; n++)
		for (int c = 0; c < in; c++) {
			float sum = 0;
			for (int k = 0; k < out; k++)
				sum = fmaf(output_gradient[n * out + k], param[0][k * in + c], sum);
			input_gradient[0][n * in + c] = sum + 0.0f;
		}
	for (int k = 0; param_gradient[0] && k < out; k++)
		for (int c = 0; c < in; c++) {
			float total = 0;
			for (int part = 0; part < parts; part++) {
				float sum = 0;
				for (int n = rows * part / parts; n < rows * (part + 1) / parts; n++)
					sum = fmaf(output_gradient[n * out + k], input[0][n * in + c], sum);
				total = part ? total + sum : sum;
			}
			param_gradient[0][k * in + c] = total + 0.0f;
		}
	for (int k = 0; problem->options->bias && param_gradient[1] && k < out; k++) {
		float total = 0;
		for (int part = 0; part < parts; part++) {
			float sum = 0;
			for (int n = rows * part / parts; n < rows * (part + 1) / parts; n++)
				sum += output_gradient[n * out + k];
			total = part ? total + sum : sum;
		}
		param_gradient[1][k] = total + 0.0f;
	}
}

extern const lw_op_test lw_test_linear;
const lw_op_test lw_test_linear = {"linear", cases, LW_COUNT(cases), terms, NULL, forward_double, forward_bits, backward_bits};
