/* C reference of Winograd's convolutions: backward of the weight. */
#include "winograd.h"
#include "op/winograd_weight.h"

#include <math.h>
#include <string.h>

/* One-dimensional transforms by cl/winograd_weight.cl's steps, from and to every `step`-th float. */
static void transform_input(lw_conv_algorithm algorithm, const float *d, float *v, int step)
{
	if (algorithm == LW_CONV_WINOGRAD_F2) {
		v[0] = d[0] - d[2 * step];
		v[step] = d[step] + d[2 * step];
		v[2 * step] = d[2 * step] - d[step];
		v[3 * step] = d[step] - d[3 * step];
		return;
	}
	const float even = fmaf(-4, d[2 * step], d[4 * step]), odd = fmaf(-4, d[step], d[3 * step]);
	const float far = d[4 * step] - d[2 * step], farther = d[3 * step] - d[step];
	v[0] = fmaf(4, d[0], fmaf(-5, d[2 * step], d[4 * step]));
	v[step] = even + odd;
	v[2 * step] = even - odd;
	v[3 * step] = fmaf(2, farther, far);
	v[4 * step] = fmaf(-2, farther, far);
	v[5 * step] = fmaf(4, d[step], fmaf(-5, d[3 * step], d[5 * step]));
}

static void transform_gradient(lw_conv_algorithm algorithm, const float *g, float *m, int step)
{
	m[0] = g[0];
	if (algorithm != LW_CONV_WINOGRAD_F4) {
		m[step] = g[0] + g[step];
		m[2 * step] = g[0] - g[step];
		m[3 * step] = algorithm == LW_CONV_WINOGRAD_F2 ? -g[step] : fmaf(2, g[step], g[0]);
		if (algorithm == LW_CONV_WINOGRAD_F2)
			return;
		m[4 * step] = fmaf(-2, g[step], g[0]);
		m[5 * step] = g[step];
		return;
	}
	const float even = g[0] + g[2 * step], odd = g[step] + g[3 * step];
	const float far = fmaf(4, g[2 * step], g[0]), farther = fmaf(4, g[3 * step], g[step]);
	m[step] = even + odd;
	m[2 * step] = even - odd;
	m[3 * step] = fmaf(2, farther, far);
	m[4 * step] = fmaf(-2, farther, far);
	m[5 * step] = g[3 * step];
}

/* The output's gradient of F(n,3) to the points of F(4,3), the rest of which are 0 */
static void transform_edge_gradient(int n, const float *g, float *m, int step)
{
	const float even = n == 3 ? g[0] + g[2 * step] : g[0], odd = n > 1 ? g[step] : 0;

	m[0] = g[0];
	m[step] = even + odd;
	m[2 * step] = n > 1 ? even - odd : 0;
	m[3 * step] = n == 3 ? fmaf(2, g[step], fmaf(4, g[2 * step], g[0])) : 0;
	m[4 * step] = 0;
	m[5 * step] = g[(n - 1) * step];
}

static void transform_sums(lw_conv_algorithm algorithm, const float *u, float *w, int step)
{
	const float even = u[step] + u[2 * step];

	if (algorithm == LW_CONV_WINOGRAD_F2) {
		w[0] = fmaf(0.5f, even, u[0]);
		w[step] = 0.5f * (u[step] - u[2 * step]);
		w[2 * step] = fmaf(0.5f, even, u[3 * step]);
		return;
	}
	const float far_even = u[3 * step] + u[4 * step], far_odd = u[3 * step] - u[4 * step];
	const float odd = 1.0f / 6 * (u[2 * step] - u[step]);
	w[0] = fmaf(1.0f / 24, far_even, fmaf(-1.0f / 6, even, 0.25f * u[0]));
	w[step] = fmaf(1.0f / 12, far_odd, odd);
	if (algorithm == LW_CONV_WINOGRAD_F4) {
		w[2 * step] = fmaf(1.0f / 6, far_even - even, u[5 * step]);
		return;
	}
	w[2 * step] = 1.0f / 6 * (far_even - even);
	w[3 * step] = fmaf(1.0f / 3, far_odd, odd);
	w[4 * step] = fmaf(2.0f / 3, far_even, fmaf(-1.0f / 6, even, u[5 * step]));
}

enum { SIDE = 6 };
typedef void transform(lw_conv_algorithm algorithm, const float *from, float *to, int step);
typedef void edge_transform(int n, const float *from, float *to, int step);

/*
 * The transform of the columns, then of the rows, in place, of `from` rows and columns, which become `to`. edge: instead of it for
 * a tile that has only rows or columns of outputs, where that is not 0.
 */
static void transform_both(lw_conv_algorithm algorithm, transform *one, edge_transform *edge, int rows, int columns, float *square,
			   int from, int to)
{
	float half[SIDE * SIDE];

	for (int j = 0; j < from; j++)
		if (rows)
			edge(rows, square + j, half + j, SIDE);
		else
			one(algorithm, square + j, half + j, SIDE);
	for (int i = 0; i < to; i++)
		if (columns)
			edge(columns, half + i * SIDE, square + i * SIDE, 1);
		else
			one(algorithm, half + i * SIDE, square + i * SIDE, 1);
}

static void tile_of(const float *values, lw_shape shape, int n, int c, int top, int left, int size, float *tile)
{
	for (int i = 0; i < size; i++)
		for (int j = 0; j < size; j++) {
			const int h = top + i, w = left + j;
			const bool inside = h >= 0 && h < shape.h && w >= 0 && w < shape.w;
			tile[i * SIDE + j] =
				inside ? values[(size_t)((n * shape.h + h) * shape.w + w) * (size_t)shape.c + (size_t)c] : 0.0f;
		}
}

/* The transformed sums of an input channel and an output over the images from `begin` to before `end`. */
static void sum_tiles(const lw_op_problem *problem, lw_conv_algorithm algorithm, const float *x, const float *gradient, int begin,
		      int end, int c, int k, float *sums)
{
	const int outputs = lw_winograd_outputs(algorithm), size = lw_winograd_size(algorithm);
	const int *pad = problem->options->pad;
	float v[SIDE * SIDE], m[SIDE * SIDE];

	memset(sums, 0, sizeof(float) * SIDE * SIDE);
	for (int n = begin; n < end; n++)
		for (int top = 0; top < problem->output.h; top += outputs)
			for (int left = 0; left < problem->output.w; left += outputs) {
				tile_of(x, problem->input[0], n, c, top - pad[0], left - pad[1], size, v);
				tile_of(gradient, problem->output, n, k, top, left, outputs, m);
				const int rows = lw_reference_edge(algorithm, problem->output.h - top);
				const int columns = lw_reference_edge(algorithm, problem->output.w - left);
				transform_both(algorithm, transform_input, lw_reference_edge_input, rows, columns, v, size, size);
				transform_both(algorithm, transform_gradient, transform_edge_gradient, rows, columns, m, outputs, size);
				for (int i = 0; i < size; i++)
					for (int j = 0; j < size; j++)
						sums[i * SIDE + j] = fmaf(m[i * SIDE + j], v[i * SIDE + j], sums[i * SIDE + j]);
			}
}

void lw_reference_winograd_weight(const lw_op_problem *problem, lw_conv_algorithm algorithm, const float *x, const float *gradient,
				  float *weight_gradient)
{
	const lw_shape in = problem->input[0], out = problem->output;
	const int size = lw_winograd_size(algorithm), taps = size - lw_winograd_outputs(algorithm) + 1;
	const lw_conv shape = {.images = in.n, .output = {out.h, out.w}, .channels = in.c, .out_channels = out.c, .parts = lw_batch_parts(in.n),
			       .slices = 1, .step_slices = 1};
	const int parts = lw_winograd_weight_parts(&shape, algorithm);
	float sums[SIDE * SIDE], part_sums[SIDE * SIDE];

	for (int k = 0; k < out.c; k++)
		for (int c = 0; c < in.c; c++) {
			for (int part = 0; part < parts; part++) {
				sum_tiles(problem, algorithm, x, gradient, in.n * part / parts, in.n * (part + 1) / parts, c, k,
					  part ? part_sums : sums);
				for (int i = 0; part && i < SIDE * SIDE; i++)
					sums[i] = sums[i] + part_sums[i];
			}
			transform_both(algorithm, transform_sums, NULL, 0, 0, sums, size, taps);
			for (int i = 0; i < taps * taps; i++)
				*weight_gradient++ = sums[i / taps * SIDE + i % taps] + 0.0f;
		}
}
