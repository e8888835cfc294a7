/* An operator's cases: references computed once on the host, then every variant on the device compared with them. */
#include "op/runner.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_INPUTS = LW_OP_MAX_INPUTS, MAX_PARAMS = LW_OP_MAX_PARAMS, MAX_SAMPLES = 128, SAMPLES_PER_TENSOR = 6 };

/* A derivative of <u, output>: by one element of a tensor, or by all along random directions (element below 0). */
typedef struct sample {
	int tensor; /* an input, or MAX_INPUTS + a parameter */
	ptrdiff_t element;
	double expected;
} sample;

/* A case with its values and what the references say. Arrays are empty where the operator has no such tensor. */
typedef struct problem {
	const lw_op_test *test;
	const lw_op_case *of;
	const lw_op *op;
	lw_layer_options options;
	lw_op_rule rule;
	lw_op_problem told;
	size_t input_count[MAX_INPUTS], param_count[MAX_PARAMS], output_count;
	float *input[MAX_INPUTS], *param[MAX_PARAMS], *output_gradient;
	float *output, *param_after[MAX_PARAMS], *saved, *input_gradient[MAX_INPUTS], *param_gradient[MAX_PARAMS];
	double *output_double;
	bool has_reference;
	sample samples[MAX_SAMPLES];
	size_t sample_count;
} problem;

static void problem_clear(problem *p)
{
	for (int i = 0; i < MAX_INPUTS; i++) {
		free(p->input[i]);
		free(p->input_gradient[i]);
	}
	for (int i = 0; i < MAX_PARAMS; i++) {
		free(p->param[i]);
		free(p->param_after[i]);
		free(p->param_gradient[i]);
	}
	free(p->output_gradient);
	free(p->output);
	free(p->saved);
	free(p->output_double);
}

static void take_options(lw_layer_options *options, const lw_op_case *of, const char *kind)
{
	const lw_layer_options *given = &of->options;
	const int *const from[] = {&given->out, &given->kernel[0], &given->kernel[1], &given->stride[0], &given->stride[1],
				   &given->pad[0], &given->pad[1], &given->dilation[0], &given->dilation[1], &given->groups};
	int *const to[] = {&options->out, &options->kernel[0], &options->kernel[1], &options->stride[0], &options->stride[1],
			   &options->pad[0], &options->pad[1], &options->dilation[0], &options->dilation[1], &options->groups};
	const double *const real_from[] = {&given->slope, &given->eps, &given->momentum, &given->p};
	double *const real_to[] = {&options->slope, &options->eps, &options->momentum, &options->p};

	lw_layer_defaults(options, kind);
	for (size_t i = 0; i < LW_COUNT(from); i++)
		if (*from[i])
			*to[i] = *from[i];
	for (size_t i = 0; i < LW_COUNT(real_from); i++)
		if (*real_from[i] != 0)
			*real_to[i] = *real_from[i] == -1 ? 0 : *real_from[i];
	options->bias = given->bias;
	options->ceil_mode = given->ceil_mode;
	options->count_include_pad = given->count_include_pad;
}

/* Where the device flushes denormals nothing is promised about them. */
static void drop_denormals(const lw_test_run *run, float *values, size_t count)
{
	if (lw_device_get_info(run->context.device)->denormals)
		return;
	for (size_t i = 0; i < count; i++)
		if (fabsf(values[i]) < FLT_MIN)
			values[i] = 0.0f;
}

static void relu(float *values, size_t count)
{
	for (size_t i = 0; i < count; i++)
		values[i] = values[i] <= 0.0f ? 0.0f : values[i];
}

static void mask(const float *output, float *gradient, size_t count)
{
	for (size_t i = 0; i < count; i++)
		gradient[i] = output[i] <= 0.0f ? 0.0f : gradient[i];
}

/* Whether the operator wants the gradient of its output masked by the relu that it ends with: all but batchnorm. */
static bool gradient_comes_masked(const problem *p) { return p->of->relu && !(p->op->fuses & LW_FUSES_RESIDUAL); }

static lw_status make_values(const lw_test_run *run, problem *p)
{
	const lw_op_case *of = p->of;

	for (int i = 0; i < p->told.input_count; i++) {
		p->input_count[i] = lw_shape_count(p->told.input[i]);
		LW_TRY(lw_alloc(&p->input[i], p->input_count[i], sizeof(float)));
		LW_TRY(lw_alloc(&p->input_gradient[i], p->input_count[i], sizeof(float)));
		lw_test_fill(p->input[i], p->input_count[i], of->values, 1, (uint32_t)i);
		drop_denormals(run, p->input[i], p->input_count[i]);
		if (i == 0 && of->mask_input)
			relu(p->input[i], p->input_count[i]);
	}
	for (int i = 0; i < p->rule.param_count; i++) {
		const lw_param_rule *r = &p->rule.params[i];

		p->param_count[i] = 1;
		for (int d = 0; d < r->rank; d++)
			p->param_count[i] *= (size_t)r->dims[d];
		LW_TRY(lw_alloc(&p->param[i], p->param_count[i], sizeof(float)));
		LW_TRY(lw_alloc(&p->param_after[i], p->param_count[i], sizeof(float)));
		LW_TRY(lw_alloc(&p->param_gradient[i], p->param_count[i], sizeof(float)));
		lw_test_fill(p->param[i], p->param_count[i], LW_VALUES_RANDOM, 2, (uint32_t)i);
		if (!strcmp(r->name, "running_var"))
			for (size_t k = 0; k < p->param_count[i]; k++)
				p->param[i][k] = 1.0f + 0.5f * p->param[i][k];
		memcpy(p->param_after[i], p->param[i], p->param_count[i] * sizeof(float));
	}
	p->output_count = lw_shape_count(p->told.output);
	LW_TRY(lw_alloc(&p->output, p->output_count, sizeof(float)));
	LW_TRY(lw_alloc(&p->output_double, p->output_count, sizeof(double)));
	LW_TRY(lw_alloc(&p->output_gradient, p->output_count, sizeof(float)));
	LW_TRY(lw_alloc(&p->saved, p->rule.saved, 1));
	lw_test_fill(p->output_gradient, p->output_count, LW_VALUES_RANDOM, 3, 0);
	return LW_OK;
}

/* The double reference of the case, with `step` times a direction added to one tensor, or to one element of it. */
static lw_status forward_double(const problem *p, const sample *along, double step, double *output)
{
	double *input[MAX_INPUTS] = {0}, *param[MAX_PARAMS] = {0};
	lw_status status = LW_OK;

	for (int i = 0; i < MAX_INPUTS + MAX_PARAMS; i++) {
		const bool is_param = i >= MAX_INPUTS;
		const size_t count = is_param ? p->param_count[i - MAX_INPUTS] : p->input_count[i];
		const float *from = is_param ? p->param[i - MAX_INPUTS] : p->input[i];
		double **to = is_param ? &param[i - MAX_INPUTS] : &input[i];

		if (!from)
			continue;
		LW_GO(lw_alloc(to, count, sizeof(double)));
		for (size_t k = 0; k < count; k++)
			(*to)[k] = from[k];
		if (!along || along->tensor != i)
			continue;
		for (size_t k = 0; k < count; k++) {
			const double direction = along->element < 0 ? 2.0 * lw_random_uniform(4, (uint32_t)i, k) - 1.0
								    : (double)((size_t)along->element == k);
			/* what a relu cut off has no influence */
			if (i > 0 || !p->of->mask_input || from[k] > 0)
				(*to)[k] += step * direction;
		}
	}
	p->test->forward_double(&p->told, (const double *const *)input, param, output);
	for (size_t k = 0; p->of->relu && k < p->output_count; k++)
		output[k] = output[k] <= 0 ? 0 : output[k];
out:
	for (int i = 0; i < MAX_INPUTS; i++)
		free(input[i]);
	for (int i = 0; i < MAX_PARAMS; i++)
		free(param[i]);
	return status;
}

/* Central difference of <output_gradient, output>. */
static lw_status differentiate(const problem *p, sample *s)
{
	const double step = 1e-6;
	double *above, *below = NULL, difference = 0;
	lw_status status;

	LW_TRY(lw_alloc(&above, p->output_count, sizeof(double)));
	LW_GO(lw_alloc(&below, p->output_count, sizeof(double)));
	LW_GO(forward_double(p, s, step, above));
	LW_GO(forward_double(p, s, -step, below));
	for (size_t i = 0; i < p->output_count; i++)
		difference += p->output_gradient[i] * (above[i] - below[i]);
	s->expected = difference / (2 * step);
out:
	free(above);
	free(below);
	return status;
}

static lw_status make_samples(problem *p)
{
	if (!p->test->forward_double || (p->of->values != LW_VALUES_RANDOM && p->of->values != LW_VALUES_LARGE))
		return LW_OK;
	for (int i = 0; i < MAX_INPUTS + MAX_PARAMS; i++) {
		const bool is_param = i >= MAX_INPUTS;
		const size_t count = is_param ? p->param_count[i - MAX_INPUTS] : p->input_count[i];
		const int elements = p->of->large ? 0 : count < SAMPLES_PER_TENSOR ? (int)count : SAMPLES_PER_TENSOR;

		if (!count || (is_param && !p->rule.params[i - MAX_INPUTS].trainable))
			continue;
		for (int k = -1; k < elements && p->sample_count < MAX_SAMPLES; k++) {
			sample *s = &p->samples[p->sample_count++];

			s->tensor = i;
			s->element = k < 0 ? -1 : (ptrdiff_t)(lw_random_bits(5, (uint32_t)i, (uint64_t)k) % count);
			LW_TRY(differentiate(p, s));
		}
	}
	return LW_OK;
}

static lw_status poisoned(float **values, size_t count)
{
	const uint32_t poison = LW_TEST_POISON;

	LW_TRY(lw_alloc(values, count, sizeof(float)));
	for (size_t i = 0; i < count; i++)
		memcpy(*values + i, &poison, sizeof poison);
	return LW_OK;
}

/* The float reference, for the variant in p->told. */
static lw_status make_reference(problem *p)
{
	const float *input[MAX_INPUTS] = {0};
	float *dead[MAX_INPUTS + 1] = {0};
	lw_status status = LW_OK;

	for (int i = 0; i < p->rule.param_count; i++)
		memcpy(p->param_after[i], p->param[i], p->param_count[i] * sizeof(float));
	p->test->forward_bits(&p->told, (const float *const *)p->input, p->param_after, p->output, p->saved);
	if (p->of->relu) {
		relu(p->output, p->output_count);
		mask(p->output, p->output_gradient, p->output_count);
	}
	for (int i = 0; i < p->told.input_count; i++) {
		LW_GO(poisoned(&dead[i], p->input_count[i]));
		input[i] = p->rule.backward_input || (i == 0 && p->of->mask_input) ? p->input[i] : dead[i];
	}
	LW_GO(poisoned(&dead[MAX_INPUTS], p->output_count));
	p->test->backward_bits(&p->told, input, p->param_after, p->rule.backward_output ? p->output : dead[MAX_INPUTS], p->saved,
			       p->output_gradient, p->input_gradient, p->param_gradient);
	if (p->of->mask_input)
		mask(p->input[0], p->input_gradient[0], p->input_count[0]);
	if (p->of->relu && !gradient_comes_masked(p)) /* the device gets it whole */
		lw_test_fill(p->output_gradient, p->output_count, LW_VALUES_RANDOM, 3, 0);
out:
	for (int i = 0; i <= MAX_INPUTS; i++)
		free(dead[i]);
	return status;
}

static lw_status make_problem(const lw_test_run *run, problem *p, const lw_op_test *test, const lw_op_case *of)
{
	memset(p, 0, sizeof *p);
	p->test = test;
	p->of = of;
	p->op = lw_op_find(test->kind);
	if (!p->op)
		return lw_fail(LW_E_ARGUMENT, "there is no operator %s", test->kind);
	take_options(&p->options, of, test->kind);
	p->told.options = &p->options;
	p->told.input_count = of->input_count ? of->input_count : 1;
	memcpy(p->told.input, of->inputs, sizeof p->told.input);
	LW_TRY(p->op->rule(&p->options, p->told.input, p->told.input_count, &p->rule));
	p->told.output = p->rule.output;
	p->told.rule = &p->rule;
	p->told.training = of->training;
	p->told.seed = of->seed;
	p->told.step = of->step;
	p->told.layer = 7;
	LW_TRY(make_values(run, p));
	if (test->forward_double)
		LW_TRY(forward_double(p, NULL, 0, p->output_double));
	return make_samples(p);
}

/* How a variant is run: buffers with guard bands; of exactly the size; only some gradients wanted; forward without `saved`. */
typedef enum mode { GUARDED, EXACT, ONLY_INPUTS, ONLY_PARAMS, INFERENCE, MODE_COUNT } mode;

typedef struct buffers {
	lw_test_buf input[MAX_INPUTS], param[MAX_PARAMS], output, output_gradient, saved, workspace, backward_workspace;
	lw_test_buf dead_input[MAX_INPUTS], dead_output;
	lw_test_buf input_gradient[MAX_INPUTS], param_gradient[MAX_PARAMS];
} buffers;

static bool wants_inputs(mode how) { return how != ONLY_PARAMS && how != INFERENCE; }
static bool wants_params(mode how) { return how != ONLY_INPUTS && how != INFERENCE; }

/* The call of the problem, without its buffers. */
static void describe_call(const problem *p, lw_op_call *call)
{
	*call = (lw_op_call){
		.options = &p->options,
		.input_count = p->told.input_count,
		.output_shape = p->told.output,
		.training = p->told.training,
		.relu = p->of->relu,
		.mask_input = p->of->mask_input,
		.seed = p->told.seed,
		.step = p->told.step,
		.layer = p->told.layer,
	};
	memcpy(call->input_shape, p->told.input, sizeof call->input_shape);
}

/* What scratch forward or backward needs: the rule says, or the operator for its choices. */
static size_t workspace_bytes(const lw_op_context *context, const problem *p, mode how, bool backward)
{
	size_t bytes = 0;
	lw_op_call call;

	if (!p->op->workspace)
		return backward ? p->rule.backward_workspace : p->rule.forward_workspace;
	describe_call(p, &call);
	if (!backward)
		return p->op->workspace(context, &call, LW_PASS_FORWARD);
	if (wants_inputs(how))
		bytes = p->op->workspace(context, &call, LW_PASS_DATA);
	if (wants_params(how)) {
		const size_t weight = p->op->workspace(context, &call, LW_PASS_WEIGHT);
		bytes = weight > bytes ? weight : bytes;
	}
	return bytes;
}

static lw_status make_buffers(lw_test_run *run, const lw_op_context *context, const problem *p, mode how, buffers *b)
{
	const bool exact = how == EXACT;
	const size_t size = sizeof(float);

	for (int i = 0; i < p->told.input_count; i++) {
		LW_TRY(lw_test_buf_create(run, &b->input[i], p->input_count[i] * size, exact, p->input[i]));
		LW_TRY(lw_test_buf_create(run, &b->dead_input[i], p->input_count[i] * size, exact, NULL));
		if (wants_inputs(how))
			LW_TRY(lw_test_buf_create(run, &b->input_gradient[i], p->input_count[i] * size, exact, NULL));
	}
	for (int i = 0; i < p->rule.param_count; i++) {
		LW_TRY(lw_test_buf_create(run, &b->param[i], p->param_count[i] * size, exact, p->param[i]));
		if (wants_params(how) && p->rule.params[i].trainable)
			LW_TRY(lw_test_buf_create(run, &b->param_gradient[i], p->param_count[i] * size, exact, NULL));
	}
	LW_TRY(lw_test_buf_create(run, &b->output, p->output_count * size, exact, NULL));
	LW_TRY(lw_test_buf_create(run, &b->dead_output, p->output_count * size, exact, NULL));
	LW_TRY(lw_test_buf_create(run, &b->output_gradient, p->output_count * size, exact, p->output_gradient));
	if (how != INFERENCE)
		LW_TRY(lw_test_buf_create(run, &b->saved, p->rule.saved, exact, NULL));
	LW_TRY(lw_test_buf_create(run, &b->workspace, workspace_bytes(context, p, how, false), exact, NULL));
	return lw_test_buf_create(run, &b->backward_workspace, workspace_bytes(context, p, how, true), exact, NULL);
}

/* The first buffers of the struct to the last, as an array. */
enum { BUFFER_COUNT = sizeof(buffers) / sizeof(lw_test_buf) };

/* What the i-th of them is, for a message. */
static const char *buffer_name(size_t i)
{
	static const struct {
		size_t from;
		const char *name;
	} names[] = {
#define FROM(member) offsetof(buffers, member) / sizeof(lw_test_buf)
		{FROM(input), "an input"},
		{FROM(param), "a parameter"},
		{FROM(output), "the output"},
		{FROM(output_gradient), "the output's gradient"},
		{FROM(saved), "saved"},
		{FROM(workspace), "the forward workspace"},
		{FROM(backward_workspace), "the backward workspace"},
		{FROM(dead_input), "an input that backward does not read"},
		{FROM(dead_output), "an output that backward does not read"},
		{FROM(input_gradient), "an input's gradient"},
		{FROM(param_gradient), "a parameter's gradient"},
#undef FROM
	};
	const char *name = "";

	for (size_t k = 0; k < LW_COUNT(names) && names[k].from <= i; k++)
		name = names[k].name;
	return name;
}

static void drop_buffers(buffers *b)
{
	lw_test_buf *all = (lw_test_buf *)b;

	for (size_t i = 0; i < BUFFER_COUNT; i++)
		lw_test_buf_destroy(&all[i]);
}

static lw_status run_passes(const lw_op_context *context, const problem *p, mode how, const buffers *b)
{
	lw_op_call call;

	describe_call(p, &call);
	call.output = b->output.buf;
	call.saved = b->saved.buf;
	call.workspace = b->workspace.buf;
	for (int i = 0; i < call.input_count; i++)
		call.input[i] = b->input[i].buf;
	for (int i = 0; i < p->rule.param_count; i++)
		call.param[i] = b->param[i].buf;
	LW_TRY(p->op->forward(context, &call));
	if (how == INFERENCE)
		return lw_queue_finish(context->queue);
	call.workspace = b->backward_workspace.buf;
	call.output_gradient = b->output_gradient.buf;
	call.output = p->rule.backward_output ? b->output.buf : b->dead_output.buf;
	for (int i = 0; i < call.input_count; i++) {
		call.input[i] = p->rule.backward_input || (i == 0 && call.mask_input) ? b->input[i].buf : b->dead_input[i].buf;
		call.input_gradient[i] = b->input_gradient[i].buf;
	}
	for (int i = 0; i < p->rule.param_count; i++)
		call.param_gradient[i] = b->param_gradient[i].buf;
	LW_TRY(p->op->backward(context, &call));
	return lw_queue_finish(context->queue);
}

static lw_status compare(lw_test_run *run, const lw_test_buf *buf, const float *expected, const char *where, const char *tensor,
			 int number, float **values)
{
	char name[400];
	lw_status status;
	float *got;

	*values = NULL;
	if (!buf->buf)
		return LW_OK;
	LW_TRY(lw_alloc(&got, buf->bytes / sizeof(float) + 1, sizeof(float)));
	LW_GO(lw_test_buf_read(run, buf, got));
	snprintf(name, sizeof name, "%s, %s %d", where, tensor, number);
	lw_test_bits(run, name, got, expected, buf->bytes / sizeof(float));
	*values = got;
	return LW_OK;
out:
	free(got);
	return status;
}

/* Compares a gradient with the central differences. */
static void compare_samples(lw_test_run *run, const problem *p, const char *where, int tensor, const float *got)
{
	const size_t count = tensor < MAX_INPUTS ? p->input_count[tensor] : p->param_count[tensor - MAX_INPUTS];
	const double unit = 32 * FLT_EPSILON * sqrt(p->test->terms ? p->test->terms(&p->told) : 1);
	double along = 0, total = 0, largest = 0;

	for (size_t i = 0; i < count; i++) {
		const double term = got[i] * (2.0 * lw_random_uniform(4, (uint32_t)tensor, i) - 1.0);

		along += term;
		total += fabs(term);
		largest = fmax(largest, fabs(got[i]));
	}
	for (size_t i = 0; i < p->sample_count; i++) {
		const sample *s = &p->samples[i];
		const double allowed = unit * (s->element < 0 ? total : largest) + 1e-6;

		if (s->tensor != tensor)
			continue;
		const double value = s->element < 0 ? along : got[s->element];
		if (fabs(value - s->expected) <= allowed)
			lw_test_pass(run);
		else
			lw_test_fail(run, "%s, gradient of %s %d, %s %td: got %.9g, central differences give %.9g; %.3g is allowed",
				     where, tensor < MAX_INPUTS ? "input" : "parameter", tensor % MAX_INPUTS,
				     s->element < 0 ? "along a direction" : "element", s->element, value, s->expected, allowed);
	}
}

static lw_status compare_all(lw_test_run *run, const problem *p, mode how, const buffers *b, const char *where)
{
	const double unit = 16 * FLT_EPSILON * sqrt(p->test->terms ? p->test->terms(&p->told) : 1);
	char output[400];
	float *got;

	LW_TRY(compare(run, &b->output, p->output, where, "output", 0, &got));
	snprintf(output, sizeof output, "%s, output", where);
	if (how == GUARDED && p->test->forward_double && p->of->values != LW_VALUES_SPECIAL)
		lw_test_close(run, output, got, p->output_double, p->output_count, unit, 1e-30);
	if (how == GUARDED && p->test->accuracy && p->of->values == LW_VALUES_RANDOM)
		lw_test_close(run, output, got, p->output_double, p->output_count, p->test->accuracy(&p->told), 1e-30);
	free(got);
	if (p->told.training) { /* else an operator need not keep anything */
		LW_TRY(compare(run, &b->saved, p->saved, where, "saved", 0, &got));
		free(got);
	}
	for (int i = 0; i < p->told.input_count; i++) {
		LW_TRY(compare(run, &b->input_gradient[i], p->input_gradient[i], where, "gradient of input", i, &got));
		if (got && how == GUARDED)
			compare_samples(run, p, where, i, got);
		free(got);
	}
	for (int i = 0; i < p->rule.param_count; i++) {
		LW_TRY(compare(run, &b->param[i], p->param_after[i], where, p->rule.params[i].name, i, &got));
		free(got);
		LW_TRY(compare(run, &b->param_gradient[i], p->param_gradient[i], where, "gradient of parameter", i, &got));
		if (got && how == GUARDED)
			compare_samples(run, p, where, MAX_INPUTS + i, got);
		free(got);
	}
	return LW_OK;
}

static lw_status check_guards(lw_test_run *run, const buffers *b, const char *where)
{
	const lw_test_buf *all = (const lw_test_buf *)b;
	bool intact, sound = true;

	for (size_t i = 0; i < BUFFER_COUNT; i++) {
		LW_TRY(lw_test_buf_intact(run, &all[i], &intact));
		if (!intact)
			lw_test_fail(run, "%s: written beside %s, of %zu bytes", where, buffer_name(i), all[i].bytes);
		sound = sound && intact;
	}
	if (sound)
		lw_test_pass(run);
	return LW_OK;
}

static void name_variant(const lw_op_context *context, const problem *p, char *name, size_t size)
{
	lw_choice choice;
	lw_op_call call;

	snprintf(name, size, "%s", p->op->variant_name ? p->op->variant_name(p->told.variant) : "?");
	if (!p->op->choices)
		return;
	describe_call(p, &call);
	name[0] = '\0';
	for (lw_pass pass = 0; pass < LW_PASS_COUNT; pass++) {
		const size_t used = strlen(name);
		if (lw_op_choose(context, p->op, &call, pass, &choice) == LW_OK)
			snprintf(name + used, size - used, "%s%s", pass ? " | " : "", choice.name);
	}
}

static lw_status run_mode(lw_test_run *run, const problem *p, const lw_op_context *context, mode how)
{
	static const char *const names[] = {"guarded", "exact buffers", "inputs' gradients only", "parameters' gradients only",
					    "inference"};
	char variant[160];
	buffers b = {0};
	char where[320];
	lw_status status;

	name_variant(context, p, variant, sizeof variant);
	snprintf(where, sizeof where, "case '%s', variant %s, %s", p->of->name, variant, names[how]);
	LW_GO(make_buffers(run, context, p, how, &b));
	LW_GO(run_passes(context, p, how, &b));
	LW_GO(compare_all(run, p, how, &b, where));
	LW_GO(check_guards(run, &b, where));
out:
	drop_buffers(&b);
	return status == LW_OK || status == LW_E_MEMORY ? status : lw_fail_prefix(status, "%s", where);
}

static bool mode_applies(const problem *p, mode how)
{
	if (how == ONLY_INPUTS || how == ONLY_PARAMS) /* choices are each pass's own: once is enough */
		return p->rule.param_count > 0 && !p->of->large && (!p->op->choices || p->told.variant < 3);
	return how != INFERENCE || !p->told.training;
}

/* How many variants there are to try; with choices every one of every pass is in one of them. */
static int variant_count(const lw_op_context *context, const problem *p)
{
	lw_choice list[LW_MAX_CHOICES];
	lw_op_call call;
	int most = 0;

	if (!p->op->choices)
		return lw_max_int(p->op->variant_count, 1);
	describe_call(p, &call);
	for (lw_pass pass = 0; pass < LW_PASS_COUNT; pass++)
		most = lw_max_int(most, p->op->choices(context, &call, pass, list));
	return most;
}

static bool variant_applies(const lw_op_context *context, const problem *p, int variant)
{
	lw_op_call call;

	describe_call(p, &call);
	return !p->op->variant_applies || p->op->variant_applies(context, &call, variant);
}

/* known: the references are there already, as the passes' algorithms are those of the variant before. */
static lw_status note_algorithms(const lw_op_context *context, problem *p, bool *known)
{
	int before[LW_PASS_COUNT];
	lw_choice choice;
	lw_op_call call;

	memcpy(before, p->told.algorithm, sizeof before);
	describe_call(p, &call);
	for (lw_pass pass = 0; p->op->choices && pass < LW_PASS_COUNT; pass++) {
		LW_TRY(lw_op_choose(context, p->op, &call, pass, &choice));
		p->told.algorithm[pass] = choice.algorithm;
	}
	*known = p->op->choices && p->has_reference && memcmp(before, p->told.algorithm, sizeof before) == 0;
	p->has_reference = true;
	return LW_OK;
}

/* With --quick a case tries every third choice, another third than the case before it: each choice still meets many shapes. */
static bool is_turn(const lw_test_run *run, const problem *p, int variant)
{
	const int number = (int)(p->of - p->test->cases);

	return !run->quick || !p->op->choices || (variant + number) % 3 == 0;
}

static lw_status run_case(lw_test_run *run, const lw_op_test *test, const lw_op_case *of)
{
	lw_op_context context = run->context;
	problem p;
	bool known;
	lw_status status;

	LW_GO(make_problem(run, &p, test, of));
	context.force_variant = 0;
	for (int variant = 0, count = variant_count(&context, &p); variant < count; variant++) {
		context.force_variant = variant;
		p.told.variant = variant;
		if (!variant_applies(&context, &p, variant) || !is_turn(run, &p, variant))
			continue;
		LW_GO(note_algorithms(&context, &p, &known));
		if (!known)
			LW_GO(make_reference(&p));
		for (mode how = GUARDED; how < MODE_COUNT; how++) {
			if (!mode_applies(&p, how))
				continue;
			status = run_mode(run, &p, &context, how);
			if (status == LW_E_MEMORY)
				goto out;
			if (status != LW_OK)
				lw_test_fail(run, "%s: %s", lw_status_name(status), lw_last_error());
			status = LW_OK;
		}
	}
out:
	problem_clear(&p);
	return status == LW_OK ? LW_OK : lw_fail_prefix(status, "case '%s'", of->name);
}

lw_status lw_test_op(lw_test_run *run, const lw_op_test *test)
{
	for (size_t i = 0; i < test->case_count; i++) {
		lw_status status;

		if (run->quick && test->cases[i].large)
			continue;
		status = run_case(run, test, &test->cases[i]);
		if (status == LW_E_MEMORY)
			return status;
		if (status != LW_OK)
			lw_test_fail(run, "%s: %s", lw_status_name(status), lw_last_error());
	}
	return LW_OK;
}
