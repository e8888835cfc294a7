/* dropout: the mask by lw_random_bits on the host. */
#include "op/runner.h"

static const lw_op_case cases[] = {
	{.name = "training", .inputs = {{3, 5, 4, 7}}, .training = true, .seed = 1, .step = 1},
	{.name = "another seed and step", .inputs = {{3, 5, 4, 7}}, .training = true, .seed = 4000000000u, .step = 123456, .options = {.p = 0.2}},
	{.name = "p 0", .inputs = {{1, 3, 3, 3}}, .training = true, .seed = 1, .options = {.p = -1}},
	{.name = "almost all dropped", .inputs = {{2, 1, 1, 64}}, .training = true, .seed = 9, .step = 2, .options = {.p = 0.99}},
	{.name = "input masked", .inputs = {{2, 5, 7, 9}}, .training = true, .seed = 5, .step = 3, .mask_input = true},
	{.name = "evaluation, input masked", .inputs = {{2, 3, 3, 5}}, .seed = 1, .mask_input = true},
	{.name = "more than one run", .inputs = {{3, 31, 29, 7}}, .training = true, .seed = 7, .step = 4, .large = true},
	{.name = "evaluation", .inputs = {{2, 3, 3, 5}}, .seed = 1},
	{.name = "NaN, infinities", .inputs = {{1, 6, 6, 8}}, .training = true, .seed = 1, .values = LW_VALUES_SPECIAL},
};

static float factor(const lw_op_problem *p, size_t i)
{
	const double drop = p->options->p;
	const uint32_t bits = lw_random_bits(p->seed, p->layer, (uint64_t)p->step << 32 | i);

	if (!p->training)
		return 1.0f;
	return bits >= (uint32_t)(drop * 4294967296.0) ? (float)(1.0 / (1.0 - drop)) : 0.0f;
}

static void forward_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	(void)param;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		output[i] = input[0][i] * (double)factor(p, i);
}

static void forward_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	(void)param, (void)saved;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		output[i] = input[0][i] * factor(p, i);
}

static void backward_bits(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	(void)input, (void)param, (void)output, (void)saved, (void)param_gradient;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		input_gradient[0][i] = output_gradient[i] * factor(p, i);
}

extern const lw_op_test lw_test_dropout;
const lw_op_test lw_test_dropout = {"dropout", cases, LW_COUNT(cases), NULL, NULL, forward_double, forward_bits, backward_bits};
