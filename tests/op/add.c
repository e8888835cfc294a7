/* add, and lw_accumulate. */
#include "op/runner.h"

#include <stdlib.h>

static const lw_op_case cases[] = {
	{.name = "two", .input_count = 2, .inputs = {{2, 3, 5, 7}, {2, 3, 5, 7}}},
	{.name = "two values", .input_count = 2, .inputs = {{1, 1, 1, 1}, {1, 1, 1, 1}}},
	{.name = "four", .input_count = 4, .inputs = {{1, 4, 4, 3}, {1, 4, 4, 3}, {1, 4, 4, 3}, {1, 4, 4, 3}}},
	{.name = "eight", .input_count = 8, .inputs = {{1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}, {1, 2, 3, 7}}},
	{.name = "five, relu", .input_count = 5, .inputs = {{1, 5, 3, 6}, {1, 5, 3, 6}, {1, 5, 3, 6}, {1, 5, 3, 6}, {1, 5, 3, 6}}, .relu = true},
	{.name = "NaN, infinities", .input_count = 2, .inputs = {{1, 8, 8, 8}, {1, 8, 8, 8}}, .values = LW_VALUES_SPECIAL},
	{.name = "two, relu", .input_count = 2, .inputs = {{2, 3, 5, 7}, {2, 3, 5, 7}}, .relu = true},
	{.name = "three, relu", .input_count = 3, .inputs = {{1, 9, 5, 7}, {1, 9, 5, 7}, {1, 9, 5, 7}}, .relu = true},
	{.name = "two, relu, NaN", .input_count = 2, .inputs = {{1, 8, 8, 8}, {1, 8, 8, 8}}, .relu = true, .values = LW_VALUES_SPECIAL},
	{.name = "more than one run", .input_count = 2, .inputs = {{3, 31, 29, 7}, {3, 31, 29, 7}}, .large = true},
};

static void forward_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	(void)param;
	for (size_t i = 0; i < lw_shape_count(p->output); i++) {
		output[i] = input[0][i];
		for (int k = 1; k < p->input_count; k++)
			output[i] += input[k][i];
	}
}

static void forward_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	(void)param, (void)saved;
	for (size_t i = 0; i < lw_shape_count(p->output); i++) {
		output[i] = input[0][i];
		for (int k = 1; k < p->input_count; k++)
			output[i] += input[k][i];
	}
}

static void backward_bits(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	(void)input, (void)param, (void)output, (void)saved, (void)param_gradient;
	for (int k = 0; k < p->input_count; k++)
		for (size_t i = 0; i < lw_shape_count(p->output); i++)
			input_gradient[k][i] = output_gradient[i];
}

extern const lw_op_test lw_test_add;
const lw_op_test lw_test_add = {"add", cases, LW_COUNT(cases), NULL, NULL, forward_double, forward_bits, backward_bits};

static lw_status accumulate(lw_test_run *run, size_t count, int variant)
{
	lw_op_context context = run->context;
	lw_test_buf from = {0}, to = {0};
	float *values, *sum = NULL;
	bool intact;
	lw_status status;

	context.force_variant = variant;
	LW_TRY(lw_alloc(&values, count, sizeof *values));
	LW_GO(lw_alloc(&sum, count, sizeof *sum));
	lw_test_fill(values, count, LW_VALUES_RANDOM, 1, 0);
	lw_test_fill(sum, count, LW_VALUES_RANDOM, 1, 1);
	LW_GO(lw_test_buf_create(run, &from, count * sizeof *values, false, values));
	LW_GO(lw_test_buf_create(run, &to, count * sizeof *sum, false, sum));
	LW_GO(lw_accumulate(&context, count, from.buf, to.buf));
	for (size_t i = 0; i < count; i++)
		sum[i] += values[i];
	LW_GO(lw_test_buf_read(run, &to, values));
	lw_test_bits(run, "to", values, sum, count);
	LW_GO(lw_test_buf_intact(run, &to, &intact));
	if (!intact)
		lw_test_fail(run, "written beside `to` of %zu floats", count);
out:
	lw_test_buf_destroy(&from);
	lw_test_buf_destroy(&to);
	free(values);
	free(sum);
	return status;
}

static lw_status check(lw_test_run *run)
{
	static const size_t counts[] = {1, 5, 16, 33, 1000, 8192, 8193};

	for (int variant = -1; variant < 2; variant++)
		for (size_t i = 0; i < LW_COUNT(counts); i++)
			LW_TRY(accumulate(run, counts[i], variant));
	return LW_OK;
}

extern const lw_check lw_check_accumulate;
const lw_check lw_check_accumulate = {"accumulate", check};
