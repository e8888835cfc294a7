/* The operators that memory bounds: forward and backward, on tensors past the caches and within them. */
#include "bench.h"

#include <math.h>
#include <string.h>

/* What is measured: a call, and how many floats it must move for each of its input's (the best of all ways). */
typedef struct op_case {
	const char *kind, *note;
	int inputs; /* 0: one */
	bool training, relu, mask_input;
	int kernel, stride, pad;
	double forward, backward;
	lw_shape shape;
} op_case;

#define BIG {20, 112, 112, 64}
#define SMALL {8, 28, 28, 64}
static const op_case cases[] = {
	{.kind = "relu", .forward = 2, .backward = 3, .shape = BIG},
	{.kind = "relu", .forward = 2, .backward = 3, .shape = SMALL},
	{.kind = "leaky_relu", .forward = 2, .backward = 3, .shape = BIG},
	{.kind = "sigmoid", .forward = 2, .backward = 3, .shape = BIG},
	{.kind = "tanh", .forward = 2, .backward = 3, .shape = BIG},
	{.kind = "maxpool", .note = "2x2/2", .training = true, .kernel = 2, .forward = 1.5, .backward = 1.5, .shape = BIG},
	{.kind = "maxpool", .note = "2x2/2", .training = true, .kernel = 2, .forward = 1.5, .backward = 1.5, .shape = SMALL},
	{.kind = "maxpool", .note = "2x2/2 inference", .kernel = 2, .forward = 1.25, .shape = BIG},
	{.kind = "maxpool", .note = "2x2/2 mask", .training = true, .mask_input = true, .kernel = 2, .forward = 1.5, .backward = 2.5, .shape = BIG},
	{.kind = "maxpool", .note = "3x3/2", .training = true, .kernel = 3, .stride = 2, .pad = 1, .forward = 1.5, .backward = 1.5, .shape = BIG},
	{.kind = "maxpool", .note = "3x3/2", .training = true, .kernel = 3, .stride = 2, .pad = 1, .forward = 1.5, .backward = 1.5, .shape = SMALL},
	{.kind = "avgpool", .note = "2x2/2", .kernel = 2, .forward = 1.25, .backward = 1.25, .shape = BIG},
	{.kind = "avgpool", .note = "3x3/2", .kernel = 3, .stride = 2, .pad = 1, .forward = 1.25, .backward = 1.25, .shape = BIG},
	{.kind = "globalavgpool", .forward = 1, .backward = 1, .shape = BIG},
	{.kind = "globalavgpool", .forward = 1, .backward = 1, .shape = {128, 7, 7, 2048}},
	{.kind = "batchnorm", .note = "training", .training = true, .forward = 3, .backward = 5, .shape = BIG},
	{.kind = "batchnorm", .note = "training", .training = true, .forward = 3, .backward = 5, .shape = SMALL},
	{.kind = "batchnorm", .note = "training", .training = true, .forward = 3, .backward = 5, .shape = {32, 16, 16, 2048}},
	{.kind = "batchnorm", .note = "training, relu", .training = true, .relu = true, .forward = 3, .backward = 5, .shape = BIG},
	{.kind = "batchnorm", .note = "training, add, relu", .inputs = 2, .training = true, .relu = true, .forward = 4, .backward = 8, .shape = BIG},
	{.kind = "batchnorm", .note = "running", .forward = 2, .backward = 4, .shape = BIG},
	{.kind = "dropout", .training = true, .forward = 2, .backward = 2, .shape = BIG},
	{.kind = "flatten", .forward = 2, .backward = 2, .shape = BIG},
	{.kind = "flatten", .forward = 2, .backward = 2, .shape = {64, 6, 6, 256}},
	{.kind = "add", .inputs = 2, .forward = 3, .backward = 3, .shape = BIG},
	{.kind = "add", .note = "relu", .inputs = 2, .relu = true, .forward = 3, .backward = 3, .shape = BIG},
	{.kind = "add", .note = "4 inputs", .inputs = 4, .forward = 5, .backward = 5, .shape = {10, 112, 112, 64}},
	{.kind = "concat", .inputs = 2, .forward = 4, .backward = 4, .shape = {10, 112, 112, 64}},
};

typedef struct op_run {
	const lw_op *op;
	lw_layer_options options;
	lw_op_call call;
	lw_buf *forward_workspace, *backward_workspace;
} op_run;

static lw_status run_forward(bench *b, void *state)
{
	op_run *r = state;

	r->call.workspace = r->forward_workspace;
	return r->op->forward(&b->context, &r->call);
}

static lw_status run_backward(bench *b, void *state)
{
	op_run *r = state;

	r->call.workspace = r->backward_workspace;
	return r->op->backward(&b->context, &r->call);
}

static lw_status bytes_buffer(bench *b, lw_buf **buf, size_t bytes)
{
	return bytes ? bench_buffer(b, buf, (bytes + 3) / sizeof(float), 0) : LW_OK;
}

static lw_status make_buffers(bench *b, const op_case *of, const lw_op_rule *rule, op_run *r)
{
	for (int i = 0; i < r->call.input_count; i++) {
		LW_TRY(bench_buffer(b, &r->call.input[i], lw_shape_count(of->shape), NAN));
		if (of->backward > 0)
			LW_TRY(bench_buffer(b, &r->call.input_gradient[i], lw_shape_count(of->shape), 0));
	}
	for (int i = 0; i < rule->param_count; i++) {
		LW_TRY(bench_buffer(b, &r->call.param[i], (size_t)of->shape.c, 0.5f));
		if (rule->params[i].trainable)
			LW_TRY(bench_buffer(b, &r->call.param_gradient[i], (size_t)of->shape.c, 0));
	}
	LW_TRY(bench_buffer(b, &r->call.output, lw_shape_count(rule->output), 0));
	if (of->backward > 0)
		LW_TRY(bench_buffer(b, &r->call.output_gradient, lw_shape_count(rule->output), NAN));
	if (of->backward > 0 || of->training)
		LW_TRY(bytes_buffer(b, &r->call.saved, rule->saved));
	LW_TRY(bytes_buffer(b, &r->forward_workspace, rule->forward_workspace));
	return bytes_buffer(b, &r->backward_workspace, rule->backward_workspace);
}

static lw_status add_row(bench *b, const op_case *of, op_run *r, bool backward)
{
	bench_row *row;

	LW_TRY(bench_add(b, &row));
	row->run = backward ? run_backward : run_forward;
	row->cold = true;
	row->state = r;
	row->unit = "GB/s";
	row->peak = BENCH_COPY;
	row->amount = row->peak_amount = 4e-9 * (backward ? of->backward : of->forward) * (double)lw_shape_count(of->shape);
	snprintf(row->shape, sizeof row->shape, "%dx%dx%dx%d", of->shape.n, of->shape.h, of->shape.w, of->shape.c);
	snprintf(row->pass, sizeof row->pass, "%s", backward ? "backward" : "forward");
	snprintf(row->variant, sizeof row->variant, "%s%s%s", of->kind, of->note ? " " : "", of->note ? of->note : "");
	return LW_OK;
}

static lw_status add_case(bench *b, const op_case *of)
{
	lw_op_rule rule;
	op_run *r;

	LW_TRY(bench_memory(b, &r, sizeof *r));
	r->op = lw_op_find(of->kind);
	lw_layer_defaults(&r->options, of->kind);
	for (int side = 0; side < 2 && of->kernel; side++) {
		r->options.kernel[side] = of->kernel;
		r->options.stride[side] = of->stride;
		r->options.pad[side] = of->pad;
	}
	r->options.p = 0.5;
	r->call = (lw_op_call){.options = &r->options, .input_count = of->inputs ? of->inputs : 1, .training = of->training,
			       .relu = of->relu, .mask_input = of->mask_input, .seed = 1, .step = 1, .layer = 1};
	for (int i = 0; i < r->call.input_count; i++)
		r->call.input_shape[i] = of->shape;
	LW_TRY(r->op->rule(&r->options, r->call.input_shape, r->call.input_count, &rule));
	r->call.output_shape = rule.output;
	LW_TRY(make_buffers(b, of, &rule, r));
	LW_TRY(add_row(b, of, r, false));
	return of->backward > 0 ? add_row(b, of, r, true) : LW_OK;
}

/* Sums of gradients; the loss over as many classes as ImageNet has. */
typedef struct other {
	size_t floats;
	int rows, classes;
	lw_buf *from, *to, *labels, *loss, *correct;
} other;

static lw_status run_accumulate(bench *b, void *state)
{
	const other *o = state;

	return lw_accumulate(&b->context, o->floats, o->from, o->to);
}

static lw_status run_loss(bench *b, void *state)
{
	const other *o = state;

	return lw_softmax_cross_entropy(&b->context, o->rows, o->classes, o->from, o->labels, 0.1f, (float)o->rows, o->loss,
					o->correct, o->to);
}

static lw_status add_other(bench *b, const char *name, int rows, int classes)
{
	const bool loss = strcmp(name, "accumulate") != 0;
	bench_row *row;
	other *o;

	LW_TRY(bench_memory(b, &o, sizeof *o));
	*o = (other){.floats = (size_t)rows * (size_t)classes, .rows = rows, .classes = classes};
	LW_TRY(bench_buffer(b, &o->from, o->floats, NAN));
	LW_TRY(bench_buffer(b, &o->to, o->floats, 0));
	if (loss) {
		LW_TRY(bench_buffer(b, &o->labels, (size_t)rows, 0));
		LW_TRY(bench_buffer(b, &o->loss, (size_t)rows, 0));
		LW_TRY(bench_buffer(b, &o->correct, (size_t)rows, 0));
	}
	LW_TRY(bench_add(b, &row));
	row->run = loss ? run_loss : run_accumulate;
	row->cold = true;
	row->state = o;
	row->unit = "GB/s";
	row->peak = BENCH_COPY;
	row->amount = row->peak_amount = 4e-9 * (loss ? 2 : 3) * (double)o->floats;
	snprintf(row->shape, sizeof row->shape, "%dx%d", rows, classes);
	snprintf(row->variant, sizeof row->variant, "%s", name);
	return LW_OK;
}

lw_status bench_op_rows(bench *b)
{
	const char *only = b->request->op;

	for (size_t i = 0; i < LW_COUNT(cases); i++)
		if (!only || strcmp(only, cases[i].kind) == 0)
			LW_TRY(add_case(b, &cases[i]));
	if (!only || strcmp(only, "accumulate") == 0)
		LW_TRY(add_other(b, "accumulate", 16000, 1000));
	if (!only || strcmp(only, "softmax_cross_entropy") == 0) {
		LW_TRY(add_other(b, "softmax_cross_entropy", 256, 1000));
		LW_TRY(add_other(b, "softmax_cross_entropy", 128, 10));
	}
	if (b->row_count == BENCH_PEAK_COUNT)
		return lw_fail(LW_E_ARGUMENT, "no operator `%s` is measured", only);
	return LW_OK;
}
