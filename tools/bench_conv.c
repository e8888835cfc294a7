/* Convolutions: forward, backward to the data, backward to the filter, by shape. */
#include "bench.h"

#include <math.h>
#include <string.h>

const char *const bench_pass_names[BENCH_PASS_COUNT] = {"fwd", "bwd_data", "bwd_filter"};

/* N, C, H, W, K, R, S, stride, pad, groups: layers of well-known networks, large and small. */
static const int default_shapes[][BENCH_MAX_SHAPE] = {
	{32, 3, 32, 32, 32, 3, 3, 1, 1, 1},    {32, 32, 32, 32, 32, 3, 3, 1, 1, 1}, {32, 64, 16, 16, 64, 3, 3, 1, 1, 1},
	{32, 128, 8, 8, 128, 3, 3, 1, 1, 1},   {8, 64, 56, 56, 64, 3, 3, 1, 1, 1},  {8, 256, 14, 14, 256, 3, 3, 1, 1, 1},
	{8, 3, 224, 224, 64, 7, 7, 2, 3, 1},   {8, 256, 56, 56, 64, 1, 1, 1, 0, 1}, {8, 96, 27, 27, 256, 5, 5, 1, 2, 1},
	{8, 384, 13, 13, 384, 3, 3, 1, 1, 1},  {8, 128, 28, 28, 128, 3, 3, 1, 1, 1}, {8, 512, 7, 7, 512, 3, 3, 1, 1, 1},
	{8, 64, 56, 56, 256, 1, 1, 1, 0, 1},   {8, 1024, 14, 14, 256, 1, 1, 1, 0, 1}, {8, 256, 56, 56, 512, 1, 1, 2, 0, 1},
	{8, 64, 56, 56, 128, 3, 3, 2, 1, 1},   {8, 128, 28, 28, 128, 3, 3, 1, 1, 128}, {8, 96, 56, 56, 96, 3, 3, 1, 1, 96},
	{8, 96, 56, 56, 96, 3, 3, 2, 1, 96},
};

typedef struct problem {
	const lw_op *op;
	lw_layer_options options;
	lw_op_call call; /* all buffers there */
} problem;

typedef struct conv {
	const problem *problem;
	int pass; /* an lw_pass */
	lw_op_context context;
	lw_choice choice;
	lw_buf *workspace;
} conv;

static lw_op_call call_of(const conv *c)
{
	lw_op_call call = c->problem->call;

	if (c->pass != BENCH_BACKWARD_DATA)
		call.input_gradient[0] = NULL;
	if (c->pass != BENCH_BACKWARD_FILTER)
		call.param_gradient[0] = NULL;
	if (c->pass == BENCH_FORWARD)
		call.output_gradient = NULL;
	call.workspace = c->workspace;
	return call;
}

static lw_status run(bench *b, void *state)
{
	conv *c = state;
	lw_op_call call = call_of(c);

	LW_TRY(c->pass == BENCH_FORWARD ? c->problem->op->forward(&c->context, &call) : c->problem->op->backward(&c->context, &call));
	c->context.filters_packed = b->request->packed; /* from the second run with this workspace on */
	return LW_OK;
}

static lw_status make_problem(bench *b, const int *shape, problem **made, double *flops)
{
	const lw_shape input = {.n = shape[0], .h = shape[2], .w = shape[3], .c = shape[1]};
	lw_op_rule rule;
	problem *p;
	size_t weights;

	LW_TRY(bench_memory(b, &p, sizeof *p));
	p->op = lw_op_find("conv");
	lw_layer_defaults(&p->options, "conv");
	p->options.name = "bench";
	p->options.out = shape[4];
	p->options.kernel[0] = shape[5];
	p->options.kernel[1] = shape[6];
	p->options.stride[0] = p->options.stride[1] = shape[7];
	p->options.pad[0] = p->options.pad[1] = shape[8];
	p->options.groups = shape[9];
	p->options.bias = false;
	LW_TRY(p->op->rule(&p->options, &input, 1, &rule));
	p->call = (lw_op_call){.options = &p->options, .input_count = 1, .input_shape = {input}, .output_shape = rule.output,
			       .training = true};
	weights = (size_t)shape[4] * (size_t)(shape[1] / shape[9]) * (size_t)shape[5] * (size_t)shape[6];
	LW_TRY(bench_buffer(b, &p->call.input[0], lw_shape_count(input), NAN));
	LW_TRY(bench_buffer(b, &p->call.input_gradient[0], lw_shape_count(input), 0));
	LW_TRY(bench_buffer(b, &p->call.output, lw_shape_count(rule.output), 0));
	LW_TRY(bench_buffer(b, &p->call.output_gradient, lw_shape_count(rule.output), NAN));
	LW_TRY(bench_buffer(b, &p->call.param[0], weights, NAN));
	LW_TRY(bench_buffer(b, &p->call.param_gradient[0], weights, 0));
	if (rule.saved)
		LW_TRY(bench_buffer(b, &p->call.saved, (rule.saved + 3) / sizeof(float), 0));
	*flops = 2.0 * (double)weights * (double)lw_shape_count(rule.output) / shape[4];
	*made = p;
	return LW_OK;
}

/* Scratch for the choice; kept for all rows of the shape. */
static lw_status make_workspace(bench *b, conv *c)
{
	const lw_op_call call = call_of(c);
	const size_t bytes = c->problem->op->workspace(&c->context, &call, (lw_pass)c->pass);

	c->context.filters_packed = false;
	return bytes ? bench_buffer(b, &c->workspace, (bytes + 3) / sizeof(float), 0) : LW_OK;
}

/*
 * Which choice is measured: without tuning the one that training takes; with it the fastest of those that there are. The
 * simple one comes last and is tried only where it is alone: on large shapes it takes seconds.
 */
static lw_status choose(bench *b, bench_row *row, conv *c)
{
	const lw_op *op = c->problem->op;
	const lw_op_call call = call_of(c);
	lw_choice list[LW_MAX_CHOICES], best = {0};
	double least = INFINITY, seconds;
	int count = lw_op_choices(&c->context, op, &call, (lw_pass)c->pass, list);

	if (b->request->tune) {
		for (int i = 0; i < count && (i == 0 || i < count - 1); i++) {
			c->choice = list[i];
			c->context.force_choice = &c->choice;
			LW_TRY(make_workspace(b, c));
			LW_TRY(bench_try(b, row, &seconds));
			if (seconds < least) {
				least = seconds;
				best = list[i];
			}
		}
		c->choice = best;
	} else {
		LW_TRY(lw_op_choose(&c->context, op, &call, (lw_pass)c->pass, &c->choice));
	}
	return LW_OK;
}

static lw_status add_row(bench *b, const int *shape, const problem *p, int pass, double flops, const lw_choice *choice)
{
	bench_row *row;
	conv *c;

	LW_TRY(bench_memory(b, &c, sizeof *c));
	*c = (conv){.problem = p, .pass = pass, .context = b->context};
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->state = c;
	row->unit = "GFLOP/s";
	row->peak = BENCH_FMA;
	row->amount = row->peak_amount = 1e-9 * flops;
	snprintf(row->shape, sizeof row->shape, "%dx%dx%dx%dx%dx%dx%dx%dx%dx%d", shape[0], shape[1], shape[2], shape[3], shape[4],
		 shape[5], shape[6], shape[7], shape[8], shape[9]);
	snprintf(row->pass, sizeof row->pass, "%s", bench_pass_names[pass]);
	if (choice)
		c->choice = *choice;
	else
		LW_TRY(choose(b, row, c));
	c->context.force_choice = &c->choice;
	snprintf(row->variant, sizeof row->variant, "%s", c->choice.name);
	return make_workspace(b, c);
}

/* One row, or with --variants one for each choice but the simple ones, which take seconds. */
static lw_status add_pass(bench *b, const int *shape, const problem *p, int pass, double flops)
{
	const conv any = {.problem = p, .pass = pass, .context = b->context};
	const lw_op_call call = call_of(&any);
	lw_choice list[LW_MAX_CHOICES];
	int count;

	if (!b->request->variants)
		return add_row(b, shape, p, pass, flops, NULL);
	count = lw_op_choices(&any.context, p->op, &call, (lw_pass)pass, list);
	for (int i = 0; i < count; i++)
		if (count == 1 || !strstr(list[i].name, "simple"))
			LW_TRY(add_row(b, shape, p, pass, flops, &list[i]));
	return LW_OK;
}

lw_status bench_conv_rows(bench *b)
{
	int count = b->request->shape_count ? b->request->shape_count : (int)LW_COUNT(default_shapes);

	for (int i = 0; i < count; i++) {
		const int *shape = b->request->shape_count ? b->request->shapes[i] : default_shapes[i];
		problem *p;
		double flops;

		LW_TRY(make_problem(b, shape, &p, &flops));
		for (int pass = 0; pass < BENCH_PASS_COUNT; pass++)
			if (b->request->passes >> pass & 1)
				LW_TRY(add_pass(b, shape, p, pass, flops));
	}
	return LW_OK;
}
