/* flatten: H, W, C to C, H, W. */
#include "op/runner.h"

static const lw_op_case cases[] = {
	{.name = "image", .inputs = {{3, 4, 5, 7}}},
	{.name = "one channel", .inputs = {{2, 4, 5, 1}}},
	{.name = "one pixel", .inputs = {{2, 1, 1, 9}}},
	{.name = "one value", .inputs = {{1, 1, 1, 1}}},
	{.name = "input masked", .inputs = {{2, 5, 5, 11}}, .mask_input = true},
	{.name = "one pixel, input masked", .inputs = {{2, 1, 1, 9}}, .mask_input = true},
	{.name = "strips, input masked", .inputs = {{2, 6, 6, 22}}, .mask_input = true},
	{.name = "several blocks", .inputs = {{2, 9, 15, 70}}, .large = true},
	{.name = "NaN, infinities", .inputs = {{1, 4, 4, 8}}, .values = LW_VALUES_SPECIAL},
};

/* Where output value i comes from. */
static size_t source(const lw_op_problem *p, size_t i)
{
	const size_t pixels = (size_t)p->input[0].h * (size_t)p->input[0].w, channels = (size_t)p->input[0].c;
	const size_t image = i / (pixels * channels), c = i / pixels % channels, pixel = i % pixels;

	return (image * pixels + pixel) * channels + c;
}

static void forward_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	(void)param;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		output[i] = input[0][source(p, i)];
}

static void forward_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	(void)param, (void)saved;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		output[i] = input[0][source(p, i)];
}

static void backward_bits(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	(void)input, (void)param, (void)output, (void)saved, (void)param_gradient;
	for (size_t i = 0; i < lw_shape_count(p->output); i++)
		input_gradient[0][source(p, i)] = output_gradient[i];
}

extern const lw_op_test lw_test_flatten;
const lw_op_test lw_test_flatten = {"flatten", cases, LW_COUNT(cases), NULL, NULL, forward_double, forward_bits, backward_bits};
