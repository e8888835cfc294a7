/* conv: shapes with tails in every dimension, and plain C references. */
#include "winograd.h"

#include <math.h>

#define CONV(...) .options = {__VA_ARGS__}

static const lw_op_case cases[] = {
	{"one pixel", CONV(.out = 1), .inputs = {{1, 1, 1, 1}}},
	{"one pixel, bias", CONV(.out = 5, .bias = true), .inputs = {{1, 1, 1, 3}}},
	{"one pixel, 3x3", CONV(.out = 5, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 1, 1, 2}}},
	{"1x1", CONV(.out = 17, .bias = true), .inputs = {{2, 5, 3, 7}}},
	{"1x1, stride", CONV(.out = 6, .stride = {2, 3}), .inputs = {{2, 5, 7, 4}}},
	{"1x1, pad", CONV(.out = 4, .pad = {1, 2}, .bias = true), .inputs = {{1, 3, 2, 3}}},
	{"3x3", CONV(.out = 32, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 7, 7, 4}}},
	{"3x3, one channel", CONV(.out = 33, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 9, 15, 1}}},
	{"3x3, no pad", CONV(.out = 5, .kernel = {3, 3}), .inputs = {{3, 5, 6, 3}}},
	{"3x3, three channels, wide", CONV(.out = 20, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 8, 72, 3}}, .relu = true},
	{"3x3, one channel, whole tiles", CONV(.out = 33, .kernel = {3, 3}, .pad = {1, 1}), .inputs = {{3, 4, 12, 1}}},
	{"3x3, two channels, no pad", CONV(.out = 16, .kernel = {3, 3}), .inputs = {{2, 6, 10, 2}}},
	{"3x3, four channels, whole tiles", CONV(.out = 7, .kernel = {3, 3}, .pad = {2, 2}, .bias = true), .inputs = {{2, 6, 2, 4}}},
	{"3x3, stride 2", CONV(.out = 17, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .bias = true), .inputs = {{2, 8, 9, 5}}},
	{"3x3, stride 3", CONV(.out = 6, .kernel = {3, 3}, .stride = {3, 3}, .pad = {2, 0}), .inputs = {{2, 10, 8, 3}}},
	{"3x3, stride beyond kernel", CONV(.out = 3, .kernel = {2, 2}, .stride = {3, 3}), .inputs = {{1, 9, 7, 2}}},
	{"stride far beyond input", CONV(.out = 3, .kernel = {2, 2}, .stride = {2147483647, 7}, .pad = {1, 1}, .bias = true), .inputs = {{2, 3, 4, 5}}},
	{"depthwise, stride far beyond input", CONV(.out = 5, .kernel = {2, 2}, .stride = {2147483647, 2147483647}, .pad = {1, 1}, .groups = 5), .inputs = {{2, 3, 4, 5}}},
	{"3x3, dilation 2", CONV(.out = 7, .kernel = {3, 3}, .pad = {2, 2}, .dilation = {2, 2}, .bias = true), .inputs = {{2, 7, 6, 4}}},
	{"3x3, dilation and stride 2", CONV(.out = 4, .kernel = {3, 3}, .stride = {2, 2}, .pad = {2, 2}, .dilation = {2, 2}), .inputs = {{2, 7, 8, 3}}},
	{"dilation 3, stride 2", CONV(.out = 4, .kernel = {3, 2}, .stride = {2, 2}, .pad = {3, 1}, .dilation = {3, 3}), .inputs = {{1, 9, 8, 3}}},
	{"dilation 2, stride 3", CONV(.out = 4, .kernel = {3, 3}, .stride = {3, 3}, .pad = {1, 3}, .dilation = {2, 2}), .inputs = {{1, 9, 8, 2}}},
	{"pad beyond kernel", CONV(.out = 3, .kernel = {2, 2}, .pad = {3, 3}, .bias = true), .inputs = {{1, 2, 3, 2}}},
	{"two groups", CONV(.out = 10, .kernel = {3, 3}, .pad = {1, 1}, .groups = 2, .bias = true), .inputs = {{2, 5, 6, 6}}},
	{"four groups, stride 2", CONV(.out = 4, .kernel = {3, 3}, .stride = {2, 1}, .groups = 4), .inputs = {{1, 6, 5, 8}}},
	{"groups of one input", CONV(.out = 6, .kernel = {3, 3}, .pad = {1, 1}, .groups = 3, .bias = true), .inputs = {{2, 4, 5, 3}}},
	{"depthwise", CONV(.out = 19, .kernel = {3, 3}, .pad = {1, 1}, .groups = 19, .bias = true), .inputs = {{2, 5, 6, 19}}},
	{"depthwise, stride 2", CONV(.out = 5, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .groups = 5), .inputs = {{3, 5, 6, 5}}},
	{"depthwise, dilation 2", CONV(.out = 4, .kernel = {2, 3}, .pad = {2, 0}, .dilation = {2, 2}, .groups = 4, .bias = true), .inputs = {{1, 5, 7, 4}}},
	{"5x5", CONV(.out = 8, .kernel = {5, 5}, .pad = {2, 2}, .bias = true), .inputs = {{1, 8, 8, 3}}},
	{"7x7, stride 2", CONV(.out = 9, .kernel = {7, 7}, .stride = {2, 2}, .pad = {3, 3}), .inputs = {{1, 13, 14, 3}}},
	{"1x3", CONV(.out = 5, .kernel = {1, 3}, .pad = {0, 1}, .bias = true), .inputs = {{2, 4, 9, 6}}},
	{"5x2, uneven", CONV(.out = 5, .kernel = {5, 2}, .stride = {1, 2}, .pad = {3, 1}), .inputs = {{2, 4, 9, 3}}},
	{"17 images", CONV(.out = 3, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{17, 3, 2, 2}}},
	{"33 images", CONV(.out = 2, .kernel = {2, 2}, .groups = 2, .bias = true), .inputs = {{33, 2, 3, 2}}},
	{"special values", CONV(.out = 5, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 4, 5, 3}}, .values = LW_VALUES_SPECIAL},
	{"special values, stride 2", CONV(.out = 3, .kernel = {3, 3}, .stride = {2, 2}, .pad = {2, 2}), .inputs = {{2, 4, 5, 2}}, .values = LW_VALUES_SPECIAL},
	{"3x3, relu", CONV(.out = 19, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 9, 7, 5}}, .relu = true},
	{"3x3, behind a relu", CONV(.out = 7, .kernel = {3, 3}, .pad = {1, 1}), .inputs = {{2, 9, 7, 18}}, .relu = true, .mask_input = true},
	{"3x3, stride 2, behind a relu", CONV(.out = 9, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .bias = true), .inputs = {{2, 9, 8, 17}}, .relu = true, .mask_input = true},
	{"1x1, behind a relu", CONV(.out = 21, .bias = true), .inputs = {{3, 5, 7, 20}}, .relu = true, .mask_input = true},
	{"1x1, stride 2, behind a relu", CONV(.out = 21, .stride = {2, 2}), .inputs = {{3, 5, 7, 20}}, .relu = true, .mask_input = true},
	{"depthwise, behind a relu", CONV(.out = 19, .kernel = {3, 3}, .pad = {1, 1}, .groups = 19, .bias = true), .inputs = {{2, 5, 6, 19}}, .relu = true, .mask_input = true},
	{"1x1, stride 2, 256 channels", CONV(.out = 18, .stride = {2, 2}, .bias = true), .inputs = {{2, 5, 6, 256}}, .relu = true, .mask_input = true},
	{"3x3, 256 channels", CONV(.out = 5, .kernel = {3, 3}, .pad = {1, 1}), .inputs = {{2, 3, 4, 256}}, .mask_input = true},
	{"depthwise 5x5, stride 2, behind a relu", CONV(.out = 21, .kernel = {5, 5}, .stride = {2, 2}, .pad = {2, 2}, .groups = 21, .bias = true), .inputs = {{2, 9, 23, 21}}, .relu = true, .mask_input = true},
	{"5x5, behind a relu", CONV(.out = 17, .kernel = {5, 5}, .pad = {2, 2}, .bias = true), .inputs = {{2, 9, 11, 6}}, .relu = true, .mask_input = true},
	{"3x3, tiles for two parts", CONV(.out = 5, .kernel = {3, 3}, .pad = {1, 1}), .inputs = {{3, 37, 39, 2}}},
	{"1x1, many pixels, behind a relu", CONV(.out = 37, .bias = true), .inputs = {{2, 7, 11, 20}}, .relu = true, .mask_input = true},
	{"1x1, stride 2, long rows", CONV(.out = 24, .stride = {2, 2}, .bias = true), .inputs = {{3, 8, 40, 20}}, .relu = true, .mask_input = true},
	{"1x1, stride 2, odd rows", CONV(.out = 12, .stride = {2, 2}), .inputs = {{2, 7, 37, 8}}, .mask_input = true},
	{"1x1, two groups", CONV(.out = 42, .groups = 2, .bias = true), .inputs = {{2, 5, 6, 40}}, .relu = true, .mask_input = true},
	{"3x3, wide pad", CONV(.out = 37, .kernel = {3, 3}, .pad = {2, 2}, .bias = true), .inputs = {{3, 6, 11, 17}}, .relu = true, .mask_input = true},
	{"3x3, no pad, 48 outputs", CONV(.out = 48, .kernel = {3, 3}, .pad = {0, 1}), .inputs = {{2, 11, 5, 33}}},
	{"5x5, pads of 4 and 0", CONV(.out = 35, .kernel = {5, 5}, .pad = {4, 0}, .bias = true), .inputs = {{2, 6, 9, 19}}, .mask_input = true},
	{"many channels", CONV(.out = 9, .kernel = {3, 3}, .pad = {1, 1}), .inputs = {{1, 4, 5, 130}}, .large = true},
	{"wide row", CONV(.out = 5, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{1, 4, 300, 24}}, .large = true},
	{"1x1, many pixels", CONV(.out = 40, .bias = true), .inputs = {{3, 19, 23, 37}}, .large = true},
	{"3x3, 28x28", CONV(.out = 32, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{4, 28, 28, 32}}, .large = true},
	{"3x3, 14x14, 64", CONV(.out = 64, .kernel = {3, 3}, .pad = {1, 1}, .bias = true), .inputs = {{2, 14, 14, 64}}, .large = true},
	{"3x3, stride 2, 28x28", CONV(.out = 48, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}), .inputs = {{3, 28, 28, 20}}, .large = true},
	{"3x3, stride 2, nine images", CONV(.out = 5, .kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}), .inputs = {{9, 21, 9, 6}}, .mask_input = true},
	{"11x11, stride 4", CONV(.out = 24, .kernel = {11, 11}, .stride = {4, 4}, .pad = {2, 2}, .bias = true), .inputs = {{2, 47, 43, 3}}, .large = true},
	{"grouped 3x3", CONV(.out = 64, .kernel = {3, 3}, .pad = {1, 1}, .groups = 4), .inputs = {{20, 7, 7, 32}}, .large = true},
};

/* One chain's view of the problem: which places of x, weight and y belong together. */
typedef struct place {
	int inside; /* x there is a value, not padding */
	size_t x, y;
} place;

static int group_channels(const lw_op_problem *problem) { return problem->input[0].c / problem->options->groups; }
static int group_out(const lw_op_problem *problem) { return problem->output.c / problem->options->groups; }

static place place_of(const lw_op_problem *problem, int n, int p, int q, int k, int r, int s, int c)
{
	const lw_layer_options *o = problem->options;
	const lw_shape in = problem->input[0], out = problem->output;
	const int h = p * o->stride[0] - o->pad[0] + r * o->dilation[0], w = q * o->stride[1] - o->pad[1] + s * o->dilation[1];
	place result = {h >= 0 && h < in.h && w >= 0 && w < in.w, 0, 0};

	result.y = (((size_t)n * (size_t)out.h + (size_t)p) * (size_t)out.w + (size_t)q) * (size_t)out.c + (size_t)k;
	if (result.inside)
		result.x = (((size_t)n * (size_t)in.h + (size_t)h) * (size_t)in.w + (size_t)w) * (size_t)in.c +
			   (size_t)(k / group_out(problem) * group_channels(problem) + c);
	return result;
}

static size_t weight_index(const lw_op_problem *problem, int k, int c, int r, int s)
{
	const int *kernel = problem->options->kernel;

	return (size_t)(((k * group_channels(problem) + c) * kernel[0] + r) * kernel[1] + s);
}

static double terms(const lw_op_problem *problem)
{
	const lw_layer_options *o = problem->options;
	const double taps = (double)o->kernel[0] * o->kernel[1];
	const double inner = taps * lw_max_int(group_channels(problem), group_out(problem));
	const double pixels = (double)problem->output.n * problem->output.h * problem->output.w;

	return (inner > pixels ? inner : pixels) + 1;
}

/* Transforms magnify rounding: Lavin and Gray 2015, section 6. */
static double accuracy(const lw_op_problem *problem)
{
	static const double levels[LW_CONV_ALGORITHMS] = {[LW_CONV_DIRECT] = 3e-6, [LW_CONV_WINOGRAD_F2] = 3e-6,
							  [LW_CONV_WINOGRAD_F4] = 3e-5, [LW_CONV_WINOGRAD_5X5] = 3e-5};

	return levels[problem->algorithm[LW_PASS_FORWARD]];
}

static void forward_double(const lw_op_problem *problem, const double *const *input, double *const *param, double *output)
{
	const int *kernel = problem->options->kernel;
	const lw_shape out = problem->output;

	for (int n = 0; n < out.n; n++)
		for (int p = 0; p < out.h; p++)
			for (int q = 0; q < out.w; q++)
				for (int k = 0; k < out.c; k++) {
					double sum = problem->options->bias ? param[1][k] : 0;
					for (int c = 0; c < group_channels(problem); c++)
						for (int r = 0; r < kernel[0]; r++)
							for (int s = 0; s < kernel[1]; s++) {
								const place at = place_of(problem, n, p, q, k, r, s, c);
								if (at.inside)
									sum += input[0][at.x] * param[0][weight_index(problem, k, c, r, s)];
							}
					output[place_of(problem, n, p, q, k, 0, 0, 0).y] = sum;
				}
}

static void forward_bits(const lw_op_problem *problem, const float *const *input, float *const *param, float *output, void *saved)
{
	const int *kernel = problem->options->kernel;
	const lw_shape out = problem->output;

	(void)saved;
	if (problem->algorithm[LW_PASS_FORWARD] != LW_CONV_DIRECT) {
		lw_reference_winograd(problem, (lw_conv_algorithm)problem->algorithm[LW_PASS_FORWARD], false, input[0], param[0],
				      problem->options->bias ? param[1] : NULL, output);
		return;
	}
	for (int n = 0; n < out.n; n++)
		for (int p = 0; p < out.h; p++)
			for (int q = 0; q < out.w; q++)
				for (int k = 0; k < out.c; k++) {
					float sum = 0;
					for (int r = 0; r < kernel[0]; r++)
						for (int s = 0; s < kernel[1]; s++)
							for (int c = 0; c < group_channels(problem); c++) {
								const place at = place_of(problem, n, p, q, k, r, s, c);
								sum = fmaf(at.inside ? input[0][at.x] : 0.0f,
									   param[0][weight_index(problem, k, c, r, s)], sum);
							}
					output[place_of(problem, n, p, q, k, 0, 0, 0).y] =
						(problem->options->bias ? sum + param[1][k] : sum) + 0.0f;
				}
}

/*
 * One input element: taps from the last to the first; one between two output rows or columns is left out. With the direct
 * algorithm one that lies outside is a zero of the one chain; with col2im it is left out, too, and the others' chains are added.
 */
static float data_chain(const lw_op_problem *problem, const float *weight, const float *gy, int n, int h, int w, int c)
{
	const bool apart = problem->algorithm[LW_PASS_DATA] == LW_CONV_COL2IM;
	const lw_layer_options *o = problem->options;
	const lw_shape out = problem->output;
	const int first = c / group_channels(problem) * group_out(problem);
	float sum = 0;

	for (int r = o->kernel[0] - 1; r >= 0; r--)
		for (int s = o->kernel[1] - 1; s >= 0; s--) {
			const int down = h + o->pad[0] - r * o->dilation[0], right = w + o->pad[1] - s * o->dilation[1];
			if (down % o->stride[0] || right % o->stride[1])
				continue;
			const int p = down / o->stride[0], q = right / o->stride[1];
			const int inside = down >= 0 && p < out.h && right >= 0 && q < out.w;
			float tap = apart ? 0 : sum;
			if (apart && !inside)
				continue;
			for (int k = first; k < first + group_out(problem); k++)
				tap = fmaf(inside ? gy[place_of(problem, n, p, q, k, 0, 0, 0).y] : 0.0f,
					   weight[weight_index(problem, k, c % group_channels(problem), r, s)], tap);
			sum = apart ? sum + tap : tap;
		}
	return sum + 0.0f;
}

/* One weight: a chain over the pixels of each part of the batch, the parts added in order. */
static float weight_chain(const lw_op_problem *problem, const float *x, const float *gy, int k, int c, int r, int s)
{
	const lw_shape out = problem->output;
	const int parts = lw_batch_parts(out.n);
	float total = 0;

	for (int part = 0; part < parts; part++) {
		float sum = 0;
		for (int n = out.n * part / parts; n < out.n * (part + 1) / parts; n++)
			for (int p = 0; p < out.h; p++)
				for (int q = 0; q < out.w; q++) {
					const place at = place_of(problem, n, p, q, k, r, s, c);
					sum = fmaf(at.inside ? x[at.x] : 0.0f, gy[at.y], sum);
				}
		total = part ? total + sum : sum;
	}
	return total + 0.0f;
}

static float bias_chain(const lw_op_problem *problem, const float *gy, int k)
{
	const lw_shape out = problem->output;
	const int parts = lw_batch_parts(out.n);
	float total = 0;

	for (int part = 0; part < parts; part++) {
		float sum = 0;
		for (int n = out.n * part / parts; n < out.n * (part + 1) / parts; n++)
			for (int pixel = 0; pixel < out.h * out.w; pixel++)
				sum += gy[((size_t)n * (size_t)(out.h * out.w) + (size_t)pixel) * (size_t)out.c + (size_t)k];
		total = part ? total + sum : sum;
	}
	return total + 0.0f;
}

static void backward_bits(const lw_op_problem *problem, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	const lw_layer_options *o = problem->options;
	const lw_shape in = problem->input[0];

	(void)output, (void)saved;
	if (input_gradient[0] && problem->algorithm[LW_PASS_DATA] != LW_CONV_DIRECT &&
	    problem->algorithm[LW_PASS_DATA] != LW_CONV_COL2IM)
		lw_reference_winograd(problem, (lw_conv_algorithm)problem->algorithm[LW_PASS_DATA], true, output_gradient, param[0],
				      NULL, input_gradient[0]);
	else if (input_gradient[0])
		for (int n = 0; n < in.n; n++)
			for (int h = 0; h < in.h; h++)
				for (int w = 0; w < in.w; w++)
					for (int c = 0; c < in.c; c++)
						input_gradient[0][(size_t)((n * in.h + h) * in.w + w) * (size_t)in.c + (size_t)c] =
							data_chain(problem, param[0], output_gradient, n, h, w, c);
	if (param_gradient[0] && problem->algorithm[LW_PASS_WEIGHT] != LW_CONV_DIRECT)
		lw_reference_winograd_weight(problem, (lw_conv_algorithm)problem->algorithm[LW_PASS_WEIGHT], input[0],
					     output_gradient, param_gradient[0]);
	else if (param_gradient[0])
		for (int k = 0; k < o->out; k++)
			for (int c = 0; c < group_channels(problem); c++)
				for (int r = 0; r < o->kernel[0]; r++)
					for (int s = 0; s < o->kernel[1]; s++)
						param_gradient[0][weight_index(problem, k, c, r, s)] =
							weight_chain(problem, input[0], output_gradient, k, c, r, s);
	if (o->bias && param_gradient[1])
		for (int k = 0; k < o->out; k++)
			param_gradient[1][k] = bias_chain(problem, output_gradient, k);
}

extern const lw_op_test lw_test_conv;
const lw_op_test lw_test_conv = {"conv", cases, LW_COUNT(cases), terms, accuracy, forward_double, forward_bits, backward_bits};
