/* C references of Winograd's convolutions: forward and backward of the data. The steps are those of cl/winograd_transform.cl. */
#include "winograd.h"
#include "op/winograd.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SIZE = 6 };

int lw_reference_edge(lw_conv_algorithm algorithm, int left) { return algorithm == LW_CONV_WINOGRAD_F4 && left < 4 ? left : 0; }

void lw_reference_edge_input(int n, const float *d, float *v, int step)
{
	const float d0 = d[0], d1 = d[step], d2 = d[2 * step];

	for (int i = 0; i < MAX_SIZE; i++)
		v[i * step] = 0;
	if (n == 3) {
		const float even = d0 - d2, odd = d[3 * step] - d1;
		v[0] = fmaf(4, even, 2 * odd);
		v[step] = 3 * fmaf(-2, d1, d[3 * step] - d2);
		v[2 * step] = fmaf(-3, d2, fmaf(2, d1, d[3 * step]));
		v[3 * step] = 4 * odd;
		v[5 * step] = fmaf(-2, odd, d[4 * step] - d2);
	} else if (n == 2) {
		v[0] = 4 * (d0 - d2);
		v[step] = -3 * (d1 + d2);
		v[2 * step] = 3 * (d1 - d2);
		v[5 * step] = d[3 * step] - d1;
	} else {
		v[0] = 4 * (d0 - d1);
		v[step] = -6 * d1;
		v[5 * step] = d2 - d1;
	}
}

static void transform_edge_output(int n, const float *i, float *o)
{
	const float even = i[1] + i[2], odd = i[1] - i[2];

	if (n == 3) {
		o[0] = i[0] + even + i[3];
		o[1] = fmaf(2, i[3], odd);
		o[2] = fmaf(4, i[3], even) + i[5];
	} else if (n == 2) {
		o[0] = i[0] + even;
		o[1] = odd + i[5];
	} else {
		o[0] = i[0] + i[1] + i[5];
	}
}

static void transform_input(int size, const float *i, float *o)
{
	if (size == 4) {
		o[0] = i[0] - i[2];
		o[1] = i[1] + i[2];
		o[2] = i[2] - i[1];
		o[3] = i[1] - i[3];
		return;
	}
	const float even = fmaf(-4, i[2], i[4]), odd = fmaf(-4, i[1], i[3]), far_even = i[4] - i[2], far_odd = i[3] - i[1];

	o[0] = fmaf(4, i[0], fmaf(-5, i[2], i[4]));
	o[1] = even + odd;
	o[2] = even - odd;
	o[3] = fmaf(2, far_odd, far_even);
	o[4] = fmaf(-2, far_odd, far_even);
	o[5] = fmaf(4, i[1], fmaf(-5, i[3], i[5]));
}

static void transform_output(int size, int outputs, const float *i, float *o)
{
	if (size == 4) {
		o[0] = i[0] + i[1] + i[2];
		o[1] = i[1] - i[2] - i[3];
		return;
	}
	const float even = i[1] + i[2], odd = i[1] - i[2], far_even = i[3] + i[4], far_odd = i[3] - i[4];

	o[0] = i[0] + even + far_even;
	o[1] = fmaf(2, far_odd, odd);
	if (outputs == 2) {
		o[1] = o[1] + i[5];
		return;
	}
	o[2] = fmaf(4, far_even, even);
	o[3] = fmaf(8, far_odd, odd) + i[5];
}

static void transform_filter(int size, int taps, const float *i, float *o)
{
	if (size == 4) {
		const float even = 0.5f * (i[0] + i[2]);
		o[0] = i[0];
		o[1] = fmaf(0.5f, i[1], even);
		o[2] = fmaf(-0.5f, i[1], even);
		o[3] = i[2];
	} else if (taps == 3) {
		const float even = (-1.0f / 6) * (i[0] + i[2]), far_even = fmaf(1.0f / 6, i[2], (1.0f / 24) * i[0]);
		o[1] = fmaf(-1.0f / 6, i[1], even);
		o[2] = fmaf(1.0f / 6, i[1], even);
		o[3] = fmaf(1.0f / 12, i[1], far_even);
		o[4] = fmaf(-1.0f / 12, i[1], far_even);
	} else {
		const float even = (-1.0f / 6) * (i[0] + i[2] + i[4]), odd = i[1] + i[3];
		const float far_even = fmaf(2.0f / 3, i[4], fmaf(1.0f / 6, i[2], (1.0f / 24) * i[0]));
		const float far_odd = fmaf(1.0f / 3, i[3], (1.0f / 12) * i[1]);
		o[1] = fmaf(-1.0f / 6, odd, even);
		o[2] = fmaf(1.0f / 6, odd, even);
		o[3] = far_even + far_odd;
		o[4] = far_even - far_odd;
	}
	if (size == 6) {
		o[0] = 0.25f * i[0];
		o[5] = i[taps - 1];
	}
}

/* A transform of one dimension: `from` numbers become `to` numbers. edge: outputs of an edge's tile, rows and columns; 0: of a whole one */
typedef struct transform {
	enum { INPUT, FILTER, OUTPUT } kind;
	int from, to, edge[2];
} transform;

static void transform_line(const transform *t, int side, const float *in, float *out)
{
	memset(out, 0, sizeof *out * (size_t)t->to);
	if (t->edge[side] && t->kind == INPUT)
		lw_reference_edge_input(t->edge[side], in, out, 1);
	else if (t->edge[side])
		transform_edge_output(t->edge[side], in, out);
	else if (t->kind == INPUT)
		transform_input(t->from, in, out);
	else if (t->kind == FILTER)
		transform_filter(t->to, t->from, in, out);
	else
		transform_output(t->from, t->to, in, out);
}

/* Of a square: down the columns, then along the rows. */
static void transform_square(const transform *t, const float *in, float *out)
{
	float half[MAX_SIZE * MAX_SIZE], column[MAX_SIZE], result[MAX_SIZE];

	for (int j = 0; j < t->from; j++) {
		for (int i = 0; i < t->from; i++)
			column[i] = in[i * t->from + j];
		transform_line(t, 0, column, result);
		for (int i = 0; i < t->to; i++)
			half[i * t->from + j] = result[i];
	}
	for (int i = 0; i < t->to; i++)
		transform_line(t, 1, half + i * t->from, out + i * t->to);
}

/* What is convolved: for the gradient of the data the output's gradient, with the filter turned around. */
typedef struct operands {
	const lw_op_problem *problem;
	lw_conv_algorithm algorithm;
	bool data;
	lw_shape in, out;
	int taps, side, size, pad[2];
} operands;

/* Points of the filter from channel c to output k. */
static void filter_points(const operands *o, const float *weight, int k, int c, float *u)
{
	const transform t = {FILTER, o->taps, o->size, {0, 0}};
	const int taps = o->taps * o->taps;
	float filter[MAX_SIZE * MAX_SIZE];

	for (int tap = 0; tap < taps; tap++)
		filter[tap] = o->data ? weight[(c * o->out.c + k) * taps + taps - 1 - tap] : weight[(k * o->in.c + c) * taps + tap];
	transform_square(&t, filter, u);
}

static void input_points(const operands *o, const float *x, int n, int top, int left, int c, float *v)
{
	const transform t = {INPUT, o->size, o->size, {lw_reference_edge(o->algorithm, o->out.h - top), lw_reference_edge(o->algorithm, o->out.w - left)}};
	float tile[MAX_SIZE * MAX_SIZE];

	for (int i = 0; i < o->size; i++)
		for (int j = 0; j < o->size; j++) {
			const int h = top - o->pad[0] + i, w = left - o->pad[1] + j;
			const bool inside = h >= 0 && h < o->in.h && w >= 0 && w < o->in.w;
			tile[i * o->size + j] = inside ? x[((n * o->in.h + h) * o->in.w + w) * o->in.c + c] : 0;
		}
	transform_square(&t, tile, v);
}

/* One tile of one image, v its points, u all filters' */
static void output_tile(const operands *o, int n, int top, int left, const float *u, const float *v, const float *bias, float *y)
{
	const transform t = {OUTPUT, o->size, o->side, {lw_reference_edge(o->algorithm, o->out.h - top), lw_reference_edge(o->algorithm, o->out.w - left)}};
	const int points = o->size * o->size;

	for (int k = 0; k < o->out.c; k++) {
		float sums[MAX_SIZE * MAX_SIZE] = {0}, result[MAX_SIZE * MAX_SIZE];
		for (int c = 0; c < o->in.c; c++)
			for (int point = 0; point < points; point++)
				sums[point] = fmaf(v[c * points + point], u[(k * o->in.c + c) * points + point], sums[point]);
		transform_square(&t, sums, result);
		for (int p = 0; p < o->side && top + p < o->out.h; p++)
			for (int q = 0; q < o->side && left + q < o->out.w; q++)
				y[((n * o->out.h + top + p) * o->out.w + left + q) * o->out.c + k] =
					(bias ? result[p * o->side + q] + bias[k] : result[p * o->side + q]) + 0.0f;
	}
}

void lw_reference_winograd(const lw_op_problem *problem, lw_conv_algorithm algorithm, bool data, const float *x,
			   const float *weight, const float *bias, float *y)
{
	const lw_layer_options *options = problem->options;
	const int size = lw_winograd_size(algorithm), points = size * size, taps = options->kernel[0];
	const operands o = {
		.problem = problem,
		.algorithm = algorithm,
		.data = data,
		.in = data ? problem->output : problem->input[0],
		.out = data ? problem->input[0] : problem->output,
		.taps = taps,
		.side = lw_winograd_outputs(algorithm),
		.size = size,
		.pad = {data ? taps - 1 - options->pad[0] : options->pad[0], data ? taps - 1 - options->pad[1] : options->pad[1]},
	};
	float *u = malloc(sizeof *u * (size_t)(o.in.c * o.out.c * points)), *v = malloc(sizeof *v * (size_t)(o.in.c * points));

	/* without memory y stays unwritten, which the test sees */
	if (u && v) {
		for (int k = 0; k < o.out.c; k++)
			for (int c = 0; c < o.in.c; c++)
				filter_points(&o, weight, k, c, u + (k * o.in.c + c) * points);
		for (int n = 0; n < o.out.n; n++)
			for (int top = 0; top < o.out.h; top += o.side)
				for (int left = 0; left < o.out.w; left += o.side) {
					for (int c = 0; c < o.in.c; c++)
						input_points(&o, x, n, top, left, c, v + c * points);
					output_tile(&o, n, top, left, u, v, bias, y);
				}
	}
	free(u);
	free(v);
}
