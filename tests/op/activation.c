/* relu, leaky_relu, relu6, sigmoid, tanh. */
#include "op/runner.h"
#include "op/reference_math.h"

static const lw_op_case cases[] = {
	{.name = "one value", .inputs = {{1, 1, 1, 1}}},
	{.name = "image", .inputs = {{2, 5, 7, 3}}},
	{.name = "features", .inputs = {{3, 1, 1, 37}}},
	{.name = "large values", .inputs = {{1, 4, 5, 13}}, .values = LW_VALUES_LARGE},
	{.name = "zeros and wholes", .inputs = {{1, 4, 4, 8}}, .values = LW_VALUES_TIES},
	{.name = "NaN, infinities, denormals", .inputs = {{1, 8, 8, 16}}, .values = LW_VALUES_SPECIAL},
	{.name = "more than one run", .inputs = {{3, 31, 29, 7}}, .large = true},
};
static const lw_op_case leaky_cases[] = {
	{.name = "one value", .inputs = {{1, 1, 1, 1}}},
	{.name = "image", .inputs = {{2, 5, 7, 3}}, .options = {.slope = 0.2}},
	{.name = "large values", .inputs = {{1, 4, 5, 13}}, .values = LW_VALUES_LARGE},
	{.name = "slope 0", .inputs = {{1, 3, 5, 4}}, .options = {.slope = -1}},
	{.name = "zeros and wholes", .inputs = {{1, 4, 4, 8}}, .values = LW_VALUES_TIES},
	{.name = "NaN, infinities, denormals", .inputs = {{1, 8, 8, 16}}, .values = LW_VALUES_SPECIAL},
	{.name = "more than one run", .inputs = {{3, 31, 29, 7}}, .large = true},
};

static double relu_double(double x, double slope) { return (void)slope, isnan(x) ? x : fmax(x, 0.0); }
static float relu_bits(float x, float slope) { return (void)slope, x <= 0.0f ? 0.0f : x; }
static float relu_gradient(float y, float dy, float slope) { return (void)slope, y <= 0.0f ? 0.0f : dy; }

static double leaky_relu_double(double x, double slope) { return x > 0 ? x : x * (double)(float)slope; }
static float leaky_relu_bits(float x, float slope) { return x > 0.0f ? x : x * slope; }
static float leaky_relu_gradient(float y, float dy, float slope) { return y > 0.0f ? dy : dy * slope; }

static double relu6_double(double x, double slope) { return (void)slope, isnan(x) ? x : fmin(fmax(x, 0.0), 6.0); }
static float relu6_bits(float x, float slope) { return (void)slope, x <= 0.0f ? 0.0f : x >= 6.0f ? 6.0f : x; }
static float relu6_gradient(float y, float dy, float slope) { return (void)slope, y <= 0.0f || y >= 6.0f ? 0.0f : dy; }

static double sigmoid_double(double x, double slope) { return (void)slope, 1.0 / (1.0 + exp(-x)); }
static float sigmoid_bits(float x, float slope) { return (void)slope, lw_ref_sigmoid(x); }
static float sigmoid_gradient(float y, float dy, float slope) { return (void)slope, dy * (y * (1.0f - y)); }

static double tanh_double(double x, double slope) { return (void)slope, tanh(x); }
static float tanh_bits(float x, float slope) { return (void)slope, lw_ref_tanh(x); }
static float tanh_gradient(float y, float dy, float slope) { return (void)slope, dy * fmaf(-y, y, 1.0f); }

/* The references of one activation, from its functions of one value. */
#define ACTIVATION(name, its_cases)                                                                                    \
	static void name##_forward_double(const lw_op_problem *problem, const double *const *input,                    \
					  double *const *param, double *output)                                        \
	{                                                                                                              \
		(void)param;                                                                                           \
		for (size_t i = 0; i < lw_shape_count(problem->output); i++)                                           \
			output[i] = name##_double(input[0][i], problem->options->slope);                               \
	}                                                                                                              \
	static void name##_forward_bits(const lw_op_problem *problem, const float *const *input, float *const *param,  \
					float *output, void *saved)                                                    \
	{                                                                                                              \
		(void)param, (void)saved;                                                                              \
		for (size_t i = 0; i < lw_shape_count(problem->output); i++)                                           \
			output[i] = name##_bits(input[0][i], (float)problem->options->slope);                          \
	}                                                                                                              \
	static void name##_backward_bits(const lw_op_problem *problem, const float *const *input, float *const *param, \
					 const float *output, const void *saved, const float *output_gradient,         \
					 float *const *input_gradient, float *const *param_gradient)                   \
	{                                                                                                              \
		(void)input, (void)param, (void)saved, (void)param_gradient;                                           \
		for (size_t i = 0; i < lw_shape_count(problem->output); i++)                                           \
			input_gradient[0][i] =                                                                         \
				name##_gradient(output[i], output_gradient[i], (float)problem->options->slope);        \
	}                                                                                                              \
	extern const lw_op_test lw_test_##name;                                                                        \
	const lw_op_test lw_test_##name = {#name, its_cases, LW_COUNT(its_cases), NULL, NULL,                              \
					   name##_forward_double, name##_forward_bits, name##_backward_bits};

ACTIVATION(relu, cases)
ACTIVATION(leaky_relu, leaky_cases)
ACTIVATION(relu6, cases)
ACTIVATION(sigmoid, cases)
ACTIVATION(tanh, cases)
