/* slices: gradients of parameters summed over two and four slices of a batch in one call have the bits of a call a slice, and the tree. */
#include "op/runner.h"

#include <stdlib.h>

typedef struct slices_case {
	const char *name, *kind;
	int images, slices, step_slices; /* images: of a slice */
	int channels, height, width, out, kernel, stride, groups;
	bool large;
} slices_case;

static const slices_case cases[] = {
	{"3x3", "conv", 2, 4, 4, 5, 7, 6, 9, 3, 1, 1, false},
	{"3x3, tiles of Winograd's in parts", "conv", 4, 2, 2, 16, 33, 30, 17, 3, 1, 1, true},
	{"3x3, many tiles in parts of four slices", "conv", 4, 4, 4, 18, 31, 30, 16, 3, 1, 1, true},
	{"3x3, wide", "conv", 1, 4, 4, 40, 5, 6, 130, 3, 1, 1, false},
	{"3x3, wide, several images a part", "conv", 5, 4, 8, 35, 5, 6, 130, 3, 1, 1, true},
	{"5x5", "conv", 3, 2, 6, 6, 8, 9, 7, 5, 1, 1, false},
	{"5x5, stride 2", "conv", 5, 4, 8, 3, 17, 15, 20, 5, 2, 1, false},
	{"1x1", "conv", 4, 4, 4, 33, 5, 5, 20, 1, 1, 1, false},
	{"1x1 of many pixels", "conv", 2, 4, 4, 20, 17, 16, 18, 1, 1, 1, false},
	{"depthwise", "conv", 5, 4, 4, 19, 7, 6, 19, 3, 1, 19, false},
	{"groups", "conv", 3, 2, 4, 8, 6, 5, 12, 3, 1, 2, false},
	{"features", "linear", 16, 4, 4, 70, 1, 1, 35, 1, 1, 1, false},
	{"features, parts of one image", "linear", 4, 4, 4, 70, 1, 1, 35, 1, 1, 1, false},
	{"features, two slices", "linear", 5, 2, 6, 40, 1, 1, 10, 1, 1, 1, false},
	{"features, slices of one part", "linear", 3, 4, 32, 33, 1, 1, 30, 1, 1, 1, false},
};

/* Of one pass: what it reads, what it is to write. */
typedef struct work {
	char name[80];
	lw_test_run *run;
	const slices_case *test;
	const lw_op *op;
	lw_layer_options options;
	lw_shape input, output;
	size_t params[2];
	int param_count;
	float *x, *gradient, *expected[2], *got;
	lw_share share;
} work;

static lw_status describe(work *w)
{
	const slices_case *t = w->test;
	lw_op_rule rule;

	w->op = lw_op_find(t->kind);
	snprintf(w->name, sizeof w->name, "%s %s", t->kind, t->name);
	lw_layer_defaults(&w->options, t->kind);
	w->options.out = t->out;
	w->options.kernel[0] = w->options.kernel[1] = t->kernel;
	w->options.stride[0] = w->options.stride[1] = t->stride;
	w->options.pad[0] = w->options.pad[1] = t->kernel / 2;
	w->options.groups = t->groups;
	w->input = (lw_shape){t->images * t->slices, t->height, t->width, t->channels};
	LW_TRY(w->op->rule(&w->options, &w->input, 1, &rule));
	w->output = rule.output;
	w->param_count = rule.param_count;
	for (int i = 0; i < rule.param_count; i++) {
		w->params[i] = 1;
		for (int d = 0; d < rule.params[i].rank; d++)
			w->params[i] *= (size_t)rule.params[i].dims[d];
		LW_TRY(lw_alloc(&w->expected[i], w->params[i], sizeof(float)));
	}
	w->share = (lw_share){.all = t->images * t->step_slices, .rule_images = t->images, .slices = t->step_slices};
	LW_TRY(lw_alloc(&w->x, lw_shape_count(w->input), sizeof(float)));
	LW_TRY(lw_alloc(&w->gradient, lw_shape_count(w->output), sizeof(float)));
	LW_TRY(lw_alloc(&w->got, w->params[0] + w->params[1], sizeof(float)));
	lw_test_fill(w->x, lw_shape_count(w->input), LW_VALUES_RANDOM, 1, 1);
	lw_test_fill(w->gradient, lw_shape_count(w->output), LW_VALUES_RANDOM, 1, 2);
	return LW_OK;
}

/* The call over `slices` slices from `first` on, but for its buffers. */
static lw_op_call call_of(const work *w, int slices)
{
	lw_op_call call = {.options = &w->options, .input_count = 1, .input_shape = {w->input}, .output_shape = w->output,
			   .share = &w->share, .slices = slices};

	call.input_shape[0].n = call.output_shape.n = slices * w->test->images;
	return call;
}

/* Runs it with the context's choice; results[i] of each parameter. */
static lw_status run_call(work *w, const lw_op_context *context, int first, int slices, float *const *results)
{
	lw_op_call call = call_of(w, slices);
	const size_t x = lw_shape_count(call.input_shape[0]), gradient = lw_shape_count(call.output_shape);
	lw_test_buf bufs[5] = {0};
	lw_status status;

	LW_GO(lw_test_buf_create(w->run, &bufs[0], x * sizeof(float), true, w->x + (size_t)first * x / (size_t)slices));
	LW_GO(lw_test_buf_create(w->run, &bufs[1], gradient * sizeof(float), true, w->gradient + (size_t)first * gradient / (size_t)slices));
	LW_GO(lw_test_buf_create(w->run, &bufs[2], w->op->workspace(context, &call, LW_PASS_WEIGHT), true, NULL));
	for (int i = 0; i < w->param_count; i++) {
		LW_GO(lw_test_buf_create(w->run, &bufs[3 + i], w->params[i] * sizeof(float), true, NULL));
		call.param_gradient[i] = bufs[3 + i].buf;
	}
	call.input[0] = bufs[0].buf;
	call.output_gradient = bufs[1].buf;
	call.workspace = bufs[2].buf;
	LW_GO(w->op->backward(context, &call));
	for (int i = 0; i < w->param_count; i++)
		LW_GO(lw_test_buf_read(w->run, &bufs[3 + i], results[i]));
out:
	for (size_t i = 0; i < LW_COUNT(bufs); i++)
		lw_test_buf_destroy(&bufs[i]);
	return status;
}

/* By the choice that runs anywhere, a slice at a time. */
static lw_status expect(work *w, int algorithm)
{
	lw_op_context context = w->run->context;
	float *slices[4][2] = {{0}};
	lw_choice list[LW_MAX_CHOICES];
	const lw_op_call call = call_of(w, 1);
	const int count = w->op->choices(&context, &call, LW_PASS_WEIGHT, list);
	lw_status status;

	for (int i = 0; i < count; i++)
		if (list[i].algorithm == algorithm)
			context.force_choice = &list[i];
	for (int s = 0; s < w->test->slices; s++) {
		for (int i = 0; i < w->param_count; i++)
			LW_GO(lw_alloc(&slices[s][i], w->params[i], sizeof(float)));
		LW_GO(run_call(w, &context, s, 1, slices[s]));
	}
	for (int i = 0; i < w->param_count; i++)
		for (size_t k = 0; k < w->params[i]; k++)
			w->expected[i][k] = w->test->slices == 2 ? slices[0][i][k] + slices[1][i][k]
								 : (slices[0][i][k] + slices[1][i][k]) + (slices[2][i][k] + slices[3][i][k]);
out:
	for (int s = 0; s < 4; s++)
		for (int i = 0; i < 2; i++)
			free(slices[s][i]);
	return status;
}

static lw_status check_choices(work *w)
{
	lw_op_context context = w->run->context;
	const lw_op_call call = call_of(w, w->test->slices);
	float *const got[] = {w->got, w->got + w->params[0]};
	lw_choice list[LW_MAX_CHOICES];
	const int count = w->op->choices(&context, &call, LW_PASS_WEIGHT, list);
	int expected = -1;

	for (int k = 0; k < count; k++) {
		char where[160];

		context.force_choice = &list[k];
		if (!w->op->takes_slices(&context, &call))
			continue;
		if (list[k].algorithm != expected)
			LW_TRY(expect(w, list[k].algorithm));
		expected = list[k].algorithm;
		LW_TRY(run_call(w, &context, 0, w->test->slices, got));
		for (int i = 0; i < w->param_count; i++) {
			snprintf(where, sizeof where, "%.79s, %.39s, %s", w->name, list[k].name, i ? "bias" : "weight");
			lw_test_bits(w->run, where, got[i], w->expected[i], w->params[i]);
		}
	}
	return LW_OK;
}

static lw_status check_case(lw_test_run *run, const slices_case *test)
{
	const int forced = run->context.force_variant;
	work w = {.run = run, .test = test};
	lw_status status;

	run->context.force_variant = 0; /* all families */
	LW_GO(describe(&w));
	LW_GO(check_choices(&w));
out:
	run->context.force_variant = forced;
	free(w.x);
	free(w.gradient);
	free(w.got);
	free(w.expected[0]);
	free(w.expected[1]);
	return status;
}

static lw_status check_slices(lw_test_run *run)
{
	for (size_t i = 0; i < LW_COUNT(cases); i++)
		if (!run->quick || !cases[i].large)
			LW_TRY(check_case(run, &cases[i]));
	return LW_OK;
}

extern const lw_check lw_check_slices;
const lw_check lw_check_slices = {"slices", check_slices};
