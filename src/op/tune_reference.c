/* What a pass of a convolution should compute, in double, at some places. */
#include "op/tune.h"

#include <math.h>
#include <string.h>

/* A convolution, or linear as one of 1x1 pixels. Pairs are height, width. */
typedef struct geometry {
	int images, input[2], channels, output[2], outs, kernel[2], stride[2], pad[2], dilation[2], group_channels, group_outs;
	bool bias, relu, mask;
} geometry;

static bool describe(const lw_op *op, const lw_op_call *call, geometry *g)
{
	const lw_shape in = call->input_shape[0], out = call->output_shape;
	const lw_layer_options *o = call->options;
	const bool conv = strcmp(op->kind, "conv") == 0;

	if (!conv && strcmp(op->kind, "linear") != 0)
		return false;
	*g = (geometry){.images = in.n,
			.input = {in.h, in.w},
			.channels = in.c,
			.output = {out.h, out.w},
			.outs = out.c,
			.group_channels = conv ? in.c / o->groups : in.c,
			.group_outs = conv ? out.c / o->groups : out.c,
			.bias = o->bias,
			.relu = call->relu,
			.mask = call->mask_input};
	for (int i = 0; i < 2; i++) {
		g->kernel[i] = conv ? o->kernel[i] : 1;
		g->stride[i] = conv ? o->stride[i] : 1;
		g->pad[i] = conv ? o->pad[i] : 0;
		g->dilation[i] = conv ? o->dilation[i] : 1;
	}
	return true;
}

static size_t pixel_index(const int *size, int channels, int n, int h, int w, int c)
{
	return (((size_t)n * (size_t)size[0] + (size_t)h) * (size_t)size[1] + (size_t)w) * (size_t)channels + (size_t)c;
}

static size_t weight_index(const geometry *g, int k, int c, int r, int s)
{
	return (((size_t)k * (size_t)g->group_channels + (size_t)c) * (size_t)g->kernel[0] + (size_t)r) * (size_t)g->kernel[1] + (size_t)s;
}

static double at(const float *values, size_t index) { return values[index % LW_TUNE_PERIOD]; }

/* Where a tap of an output pixel lies along an axis of the input; false: in the padding. */
static bool input_place(const geometry *g, int axis, int output, int tap, int *input)
{
	const long place = (long)output * g->stride[axis] - g->pad[axis] + (long)tap * g->dilation[axis];

	*input = (int)place;
	return place >= 0 && place < g->input[axis];
}

/* The output pixel that reads an input pixel by a tap; false: none does. */
static bool output_place(const geometry *g, int axis, int input, int tap, int *output)
{
	const long place = (long)input + g->pad[axis] - (long)tap * g->dilation[axis];

	*output = (int)(place / g->stride[axis]);
	return place >= 0 && place % g->stride[axis] == 0 && *output < g->output[axis];
}

static double forward(const geometry *g, const lw_tune_data *d, const int *p)
{
	const int first = p[3] / g->group_outs * g->group_channels;
	double sum = g->bias ? at(d->bias, (size_t)p[3]) : 0;
	int h, w;

	for (int r = 0; r < g->kernel[0]; r++)
		for (int s = 0; s < g->kernel[1]; s++)
			for (int c = 0; input_place(g, 0, p[1], r, &h) && input_place(g, 1, p[2], s, &w) && c < g->group_channels; c++)
				sum += at(d->input, pixel_index(g->input, g->channels, p[0], h, w, first + c)) *
				       at(d->weight, weight_index(g, p[3], c, r, s));
	return sum;
}

static double backward_data(const geometry *g, const lw_tune_data *d, const int *p)
{
	const int first = p[3] / g->group_channels * g->group_outs, c = p[3] % g->group_channels;
	double sum = 0;
	int h, w;

	for (int r = 0; r < g->kernel[0]; r++)
		for (int s = 0; s < g->kernel[1]; s++)
			for (int k = first; output_place(g, 0, p[1], r, &h) && output_place(g, 1, p[2], s, &w) && k < first + g->group_outs; k++)
				sum += at(d->gradient, pixel_index(g->output, g->outs, p[0], h, w, k)) *
				       at(d->weight, weight_index(g, k, c, r, s));
	return sum;
}

/* p: out, channel of the group, tap */
static double backward_weight(const geometry *g, const lw_tune_data *d, const int *p)
{
	const int c = p[0] / g->group_outs * g->group_channels + p[1];
	double sum = 0;
	int h, w;

	for (int n = 0; n < g->images; n++)
		for (int y = 0; y < g->output[0]; y++)
			for (int x = 0; input_place(g, 0, y, p[2], &h) && x < g->output[1]; x++)
				if (input_place(g, 1, x, p[3], &w))
					sum += at(d->gradient, pixel_index(g->output, g->outs, n, y, x, p[0])) *
					       at(d->input, pixel_index(g->input, g->channels, n, h, w, c));
	return sum;
}

static double terms(const geometry *g, lw_pass pass)
{
	const double taps = (double)g->kernel[0] * g->kernel[1];

	if (pass == LW_PASS_WEIGHT)
		return (double)g->images * g->output[0] * g->output[1];
	return taps * (pass == LW_PASS_FORWARD ? g->group_channels : g->group_outs) + 1;
}

/* The first samples are the corners, the others anywhere. */
static void place_sample(int sample, const int *size, int *place)
{
	for (int i = 0; i < 4; i++) {
		const uint32_t bits = lw_random_bits(7, (uint32_t)i, (uint64_t)sample);
		place[i] = sample < 16 ? (sample >> i & 1) * (size[i] - 1) : (int)(bits % (uint32_t)size[i]);
	}
}

int lw_tune_reference(const lw_op_context *context, const lw_tune_data *data, const lw_op *op, const lw_op_call *call, lw_pass pass,
		      lw_tune_sample samples[LW_TUNE_SAMPLES], double *tolerance)
{
	double (*const passes[LW_PASS_COUNT])(const geometry *, const lw_tune_data *, const int *) = {forward, backward_data, backward_weight};
	const double most = 16e6; /* terms in all, some tens of milliseconds */
	double largest = 0;
	int count;
	geometry g;

	if (!describe(op, call, &g))
		return 0;
	const int sizes[LW_PASS_COUNT][4] = {{g.images, g.output[0], g.output[1], g.outs},
					     {g.images, g.input[0], g.input[1], g.channels},
					     {g.outs, g.group_channels, g.kernel[0], g.kernel[1]}};
	const double length = terms(&g, pass);
	count = (int)fmax(8, fmin(LW_TUNE_SAMPLES, most / length));
	for (int i = 0; i < count; i++) {
		int p[4];

		/* few samples: not the corners alone */
		place_sample(count == LW_TUNE_SAMPLES ? i : i * 3, sizes[pass], p);
		samples[i].expected = passes[pass](&g, data, p);
		largest = fmax(largest, fabs(samples[i].expected));
		if (pass == LW_PASS_WEIGHT)
			samples[i].index = weight_index(&g, p[0], p[1], p[2], p[3]);
		else
			samples[i].index = pixel_index(sizes[pass] + 1, sizes[pass][3], p[0], p[1], p[2], p[3]);
		if ((pass == LW_PASS_FORWARD && g.relu && samples[i].expected <= 0) ||
		    (pass == LW_PASS_DATA && g.mask && at(data->input, samples[i].index) <= 0))
			samples[i].expected = 0;
	}
	/* rounding grows as a random walk; Winograd's F4, which only `fast` allows, adds its own */
	*tolerance = fmax(largest, 0.1 * sqrt(length)) * (8 * sqrt(length) * 0x1p-24 + (context->precision == LW_PRECISION_FAST ? 1e-4 : 2e-6));
	return count;
}
