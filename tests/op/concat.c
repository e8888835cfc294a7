/* concat along channels. */
#include "op/runner.h"

static const lw_op_case cases[] = {
	{.name = "two", .input_count = 2, .inputs = {{2, 3, 5, 7}, {2, 3, 5, 4}}},
	{.name = "three, single channels", .input_count = 3, .inputs = {{1, 2, 2, 1}, {1, 2, 2, 5}, {1, 2, 2, 1}}},
	{.name = "several runs", .input_count = 2, .inputs = {{3, 17, 11, 2}, {3, 17, 11, 5}}},
	{.name = "features", .input_count = 2, .inputs = {{4, 1, 1, 13}, {4, 1, 1, 3}}},
	{.name = "NaN, infinities", .input_count = 2, .inputs = {{1, 4, 4, 8}, {1, 4, 4, 8}}, .values = LW_VALUES_SPECIAL},
};

static void forward_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	const size_t pixels = lw_shape_count(p->output) / (size_t)p->output.c;

	(void)param;
	for (size_t pixel = 0; pixel < pixels; pixel++)
		for (int k = 0; k < p->input_count; k++)
			for (int c = 0; c < p->input[k].c; c++)
				*output++ = input[k][pixel * (size_t)p->input[k].c + (size_t)c];
}

static void forward_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	const size_t pixels = lw_shape_count(p->output) / (size_t)p->output.c;

	(void)param, (void)saved;
	for (size_t pixel = 0; pixel < pixels; pixel++)
		for (int k = 0; k < p->input_count; k++)
			for (int c = 0; c < p->input[k].c; c++)
				*output++ = input[k][pixel * (size_t)p->input[k].c + (size_t)c];
}

static void backward_bits(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	const size_t pixels = lw_shape_count(p->output) / (size_t)p->output.c;

	(void)input, (void)param, (void)output, (void)saved, (void)param_gradient;
	for (size_t pixel = 0; pixel < pixels; pixel++)
		for (int k = 0; k < p->input_count; k++)
			for (int c = 0; c < p->input[k].c; c++)
				input_gradient[k][pixel * (size_t)p->input[k].c + (size_t)c] = *output_gradient++;
}

extern const lw_op_test lw_test_concat;
const lw_op_test lw_test_concat = {"concat", cases, LW_COUNT(cases), NULL, NULL, forward_double, forward_bits, backward_bits};
