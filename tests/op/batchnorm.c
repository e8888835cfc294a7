/* batchnorm. Parameters: weight, bias, running_mean, running_var; saved: mean and inverse deviation. */
#include "op/runner.h"

#include <math.h>
#include <stdlib.h>

static const lw_op_case cases[] = {
	{.name = "training", .inputs = {{3, 5, 6, 7}}, .training = true},
	{.name = "training, vectors and a tail", .inputs = {{2, 4, 5, 37}}, .training = true},
	{.name = "training, several parts", .inputs = {{2, 19, 29, 3}}, .training = true},
	{.name = "training, features", .inputs = {{9, 1, 1, 16}}, .training = true, .options = {.momentum = 0.3, .eps = 1e-3}},
	{.name = "training, one channel", .inputs = {{4, 3, 3, 1}}, .training = true, .options = {.momentum = -1}},
	{.name = "training, one pixel in all", .inputs = {{1, 1, 1, 5}}, .training = true},
	{.name = "training, equal values", .inputs = {{2, 3, 3, 8}}, .training = true, .values = LW_VALUES_TIES},
	{.name = "training, NaN", .inputs = {{2, 3, 3, 8}}, .training = true, .values = LW_VALUES_SPECIAL},
	{.name = "running statistics", .inputs = {{2, 5, 4, 19}}},
	{.name = "running statistics, one value", .inputs = {{1, 1, 1, 1}}},
	{.name = "training, relu", .inputs = {{3, 5, 6, 23}}, .training = true, .relu = true},
	{.name = "training, relu, input masked", .inputs = {{2, 19, 17, 16}}, .training = true, .relu = true, .mask_input = true},
	{.name = "training, residual", .input_count = 2, .inputs = {{2, 5, 6, 19}, {2, 5, 6, 19}}, .training = true},
	{.name = "training, residual, relu", .input_count = 2, .inputs = {{3, 17, 16, 37}, {3, 17, 16, 37}}, .training = true, .relu = true},
	{.name = "training, residual, relu, input masked", .input_count = 2, .inputs = {{1, 5, 7, 5}, {1, 5, 7, 5}}, .training = true,
	 .relu = true, .mask_input = true},
	{.name = "training, residual, relu, NaN", .input_count = 2, .inputs = {{2, 3, 3, 8}, {2, 3, 3, 8}}, .training = true, .relu = true,
	 .values = LW_VALUES_SPECIAL},
	{.name = "training, relu, 129 channels", .inputs = {{2, 3, 3, 129}}, .training = true, .relu = true},
	{.name = "running statistics, relu", .inputs = {{2, 5, 4, 19}}, .relu = true},
	{.name = "running statistics, input masked", .inputs = {{2, 5, 4, 19}}, .mask_input = true},
	{.name = "running statistics, residual, relu", .input_count = 2, .inputs = {{2, 5, 4, 35}, {2, 5, 4, 35}}, .relu = true},
	{.name = "training, larger", .inputs = {{4, 28, 28, 33}}, .training = true, .large = true},
};

enum { PART = 256, BLOCK = 8 };

static int pixels_of(lw_shape s) { return s.h * s.w; }
static int parts_per_image(lw_shape s) { return (pixels_of(s) + PART - 1) / PART; }
static int part_length(lw_shape s, int part) { return lw_min_int(PART, pixels_of(s) - part % parts_per_image(s) * PART); }
static size_t part_first(lw_shape s, int part)
{
	return (size_t)(part / parts_per_image(s)) * (size_t)pixels_of(s) + (size_t)(part % parts_per_image(s)) * PART;
}

/* Joins the mean and the sum of squared deviations of n pixels with those of i pixels before. */
static void join(int i, int n, float joined_mean, float joined_squares, float *mean, float *squares)
{
	const float share = (float)n / (float)(i + n), distance = joined_mean - *mean;

	*mean = fmaf(distance, share, *mean);
	*squares += fmaf((float)i * share * distance, distance, joined_squares);
}

/* A part's statistics, of one channel: those of blocks, and of single pixels after them, joined in order. */
static void part_statistics(const float *x, int channels, int length, float *mean, float *squares)
{
	int i = 0;

	*mean = *squares = 0;
	for (; i + BLOCK <= length; i += BLOCK) {
		float values[BLOCK], sums[BLOCK], block_squares = 0;

		for (int k = 0; k < BLOCK; k++)
			sums[k] = values[k] = x[(size_t)(i + k) * (size_t)channels];
		for (int n = BLOCK / 2; n > 0; n /= 2)
			for (int k = 0; k < n; k++)
				sums[k] = sums[2 * k] + sums[2 * k + 1];
		for (int k = 0; k < BLOCK; k++) {
			const float deviation = values[k] - sums[0] / BLOCK;

			block_squares = fmaf(deviation, deviation, block_squares);
		}
		join(i, BLOCK, sums[0] / BLOCK, block_squares, mean, squares);
	}
	for (; i < length; i++)
		join(i, 1, x[(size_t)i * (size_t)channels], 0, mean, squares);
}

/* A channel's mean and sum of squared deviations, by parts. */
static float mean_of(lw_shape s, const float *x, float *squares)
{
	const int parts = s.n * parts_per_image(s);
	const float n = (float)(s.n * pixels_of(s));
	float *means = calloc((size_t)parts * 2, sizeof *means), sum = 0, mean;

	*squares = 0;
	if (!means)
		return NAN;
	for (int part = 0; part < parts; part++) {
		part_statistics(x + part_first(s, part) * (size_t)s.c, s.c, part_length(s, part), &means[part], &means[parts + part]);
		sum = fmaf((float)part_length(s, part), means[part], sum);
	}
	mean = sum / n;
	for (int part = 0; part < parts; part++) {
		const float deviation = means[part] - mean;

		*squares += fmaf((float)part_length(s, part) * deviation, deviation, means[parts + part]);
	}
	free(means);
	return mean;
}

static void forward_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	const lw_shape s = p->input[0];
	const float n = (float)(s.n * pixels_of(s)), eps = (float)p->options->eps;
	const float keep = (float)(1.0 - p->options->momentum), momentum = (float)p->options->momentum;

	for (int c = 0; c < s.c; c++) {
		float mean = param[2][c], inverse_deviation = 1.0f / sqrtf(param[3][c] + eps), squares;

		if (p->training) {
			mean = mean_of(s, input[0] + c, &squares);
			inverse_deviation = 1.0f / sqrtf(squares / n + eps);
			param[2][c] = fmaf(momentum, mean, keep * param[2][c]);
			param[3][c] = fmaf(momentum, squares / fmaxf(n - 1.0f, 1.0f), keep * param[3][c]);
			((float *)saved)[c] = mean;
			((float *)saved)[s.c + c] = inverse_deviation;
		}
		for (size_t i = c; i < lw_shape_count(s); i += s.c)
			output[i] = fmaf((input[0][i] - mean) * inverse_deviation, param[0][c], param[1][c]);
	}
	for (size_t i = 0; p->input_count == 2 && i < lw_shape_count(s); i++)
		output[i] += input[1][i];
}

static void backward_bits(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			  const void *saved, const float *output_gradient, float *const *input_gradient,
			  float *const *param_gradient)
{
	const lw_shape s = p->input[0];
	const float n = (float)(s.n * pixels_of(s));

	(void)output;
	for (size_t i = 0; p->input_count == 2 && i < lw_shape_count(s); i++)
		input_gradient[1][i] = output_gradient[i];
	for (int c = 0; c < s.c; c++) {
		const float mean = p->training ? ((const float *)saved)[c] : param[2][c];
		const float inverse_deviation =
			p->training ? ((const float *)saved)[s.c + c] : 1.0f / sqrtf(param[3][c] + (float)p->options->eps);
		const float scale = param[0][c] * inverse_deviation;
		float sum = 0, product = 0;

		for (int part = 0; part < s.n * parts_per_image(s); part++) {
			float part_sum = 0, part_product = 0;

			for (int i = 0; i < part_length(s, part); i++) {
				const size_t at = (part_first(s, part) + (size_t)i) * (size_t)s.c + (size_t)c;

				part_sum += output_gradient[at];
				part_product = fmaf(output_gradient[at], (input[0][at] - mean) * inverse_deviation, part_product);
			}
			sum += part_sum;
			product += part_product;
		}
		param_gradient[0][c] = product;
		param_gradient[1][c] = sum;
		for (size_t i = c; i < lw_shape_count(s); i += s.c) {
			const float xhat = (input[0][i] - mean) * inverse_deviation;

			input_gradient[0][i] = p->training ? scale * (output_gradient[i] - fmaf(xhat, product / n, sum / n))
							   : scale * output_gradient[i];
		}
	}
}

static void forward_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	const lw_shape s = p->input[0];
	const double n = (double)s.n * pixels_of(s), momentum = p->options->momentum;

	for (int c = 0; c < s.c; c++) {
		double mean = param[2][c], variance = param[3][c], sum = 0, squares = 0;

		if (p->training) {
			for (size_t i = c; i < lw_shape_count(s); i += s.c)
				sum += input[0][i];
			mean = sum / n;
			for (size_t i = c; i < lw_shape_count(s); i += s.c)
				squares += (input[0][i] - mean) * (input[0][i] - mean);
			variance = squares / n;
			param[2][c] += momentum * (mean - param[2][c]);
			param[3][c] += momentum * (squares / fmax(n - 1, 1) - param[3][c]);
		}
		for (size_t i = c; i < lw_shape_count(s); i += s.c)
			output[i] = (input[0][i] - mean) / sqrt(variance + p->options->eps) * param[0][c] + param[1][c];
	}
	for (size_t i = 0; p->input_count == 2 && i < lw_shape_count(s); i++)
		output[i] += input[1][i];
}

static double terms(const lw_op_problem *p) { return (double)p->input[0].n * pixels_of(p->input[0]); }

extern const lw_op_test lw_test_batchnorm;
const lw_op_test lw_test_batchnorm = {"batchnorm", cases, LW_COUNT(cases), terms, NULL, forward_double, forward_bits, backward_bits};
