/* The tuner: times an operator's choices on random data and checks what they compute. */
#include "op/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MIN_ROUNDS = 3, MAX_ROUNDS = 7, POISON = 0x7fc0dead };
static const double sample_seconds = 2e-3; /* a sample is so many runs that it takes about this long */
static const double enough_seconds = 0.4;  /* no more rounds than MIN_ROUNDS after this */
static const double hopeless = 3, worse = 1.2; /* times the best: left out after one run, after a round */
static const double worth = 0.97; /* of the default's time: below it, not noise */

typedef struct trial {
	lw_choice choice;
	bool alive;
	int inner;
	double seconds;
} trial;

typedef struct bench {
	lw_op_context context; /* with a queue of its own: a failure stays with it */
	const lw_op *op;
	lw_op_call call;
	lw_pass pass;
	lw_buf *buffers[8]; /* all that call has */
	int buffer_count;
	lw_buf *output; /* the pass's */
	float *host;
	lw_tune_data *data;
	lw_tune_sample samples[LW_TUNE_SAMPLES];
	int sample_count;
	double tolerance;
	trial trials[LW_MAX_CHOICES];
	int trial_count;
} bench;

/* --- Buffers --- */

static lw_status add_buffer(bench *b, size_t bytes, lw_buf **buf)
{
	LW_TRY(lw_buf_create(buf, b->context.device, lw_round_up(bytes ? bytes : 4, 4)));
	b->buffers[b->buffer_count++] = *buf;
	return LW_OK;
}

/* values, LW_TUNE_PERIOD of them, again and again */
static lw_status add_data(bench *b, size_t floats, const float *values, lw_buf **buf)
{
	LW_TRY(add_buffer(b, floats * sizeof(float), buf));
	for (size_t at = 0; at < floats; at += LW_TUNE_PERIOD) {
		const size_t count = floats - at < LW_TUNE_PERIOD ? floats - at : LW_TUNE_PERIOD;
		LW_TRY(lw_queue_write(b->context.queue, *buf, at * sizeof(float), count * sizeof(float), values, NULL));
	}
	return LW_OK;
}

static size_t param_floats(const lw_param_rule *rule)
{
	size_t count = 1;

	for (int d = 0; d < rule->rank; d++)
		count *= (size_t)rule->dims[d];
	return count;
}

static lw_status make_data(bench *b)
{
	float *const values[] = {b->data->input, b->data->weight, b->data->bias, b->data->gradient};

	for (size_t v = 0; v < LW_COUNT(values); v++)
		for (uint64_t i = 0; i < LW_TUNE_PERIOD; i++)
			values[v][i] = 2 * lw_random_uniform(1, (uint32_t)v, i) - 1;
	return LW_OK;
}

/* Scratch for the choice that needs most. */
static lw_status make_workspace(bench *b)
{
	size_t most = 0;

	for (int i = 0; i < b->trial_count && b->op->workspace; i++) {
		size_t bytes;
		b->context.force_choice = &b->trials[i].choice;
		bytes = b->op->workspace(&b->context, &b->call, b->pass);
		most = bytes > most ? bytes : most;
	}
	return most ? add_buffer(b, most, &b->call.workspace) : LW_OK;
}

static lw_status make_buffers(bench *b)
{
	lw_op_call *call = &b->call;
	const size_t in = lw_shape_count(call->input_shape[0]), out = lw_shape_count(call->output_shape);
	size_t result = out;
	lw_op_rule rule;

	LW_TRY(b->op->rule(call->options, call->input_shape, call->input_count, &rule));
	LW_TRY(make_data(b));
	LW_TRY(add_data(b, in, b->data->input, &call->input[0]));
	LW_TRY(add_data(b, param_floats(&rule.params[0]), b->data->weight, &call->param[0]));
	if (rule.param_count > 1)
		LW_TRY(add_data(b, param_floats(&rule.params[1]), b->data->bias, &call->param[1]));
	if (rule.saved)
		LW_TRY(add_buffer(b, rule.saved, &call->saved));
	if (b->pass == LW_PASS_FORWARD) {
		LW_TRY(add_buffer(b, out * sizeof(float), &call->output));
		b->output = call->output;
	} else {
		LW_TRY(add_data(b, out, b->data->gradient, &call->output_gradient));
		result = b->pass == LW_PASS_DATA ? in : param_floats(&rule.params[0]);
		LW_TRY(add_buffer(b, result * sizeof(float), &b->output));
		*(b->pass == LW_PASS_DATA ? &call->input_gradient[0] : &call->param_gradient[0]) = b->output;
	}
	LW_TRY(lw_alloc(&b->host, result, sizeof(float)));
	LW_TRY(make_workspace(b));
	return lw_queue_finish(b->context.queue);
}

/* --- One choice --- */

static lw_status run(bench *b, const trial *t, int times, double *seconds)
{
	const double start = lw_now();

	b->context.force_choice = &t->choice;
	for (int i = 0; i < times; i++)
		LW_TRY(b->pass == LW_PASS_FORWARD ? b->op->forward(&b->context, &b->call) : b->op->backward(&b->context, &b->call));
	LW_TRY(lw_queue_finish(b->context.queue));
	*seconds = (lw_now() - start) / times;
	return LW_OK;
}

/* LW_E_NUMERIC says what is wrong with what the last run left. */
static lw_status check(bench *b)
{
	const size_t count = lw_buf_size(b->output) / sizeof(float);

	LW_TRY(lw_queue_read(b->context.queue, b->output, 0, count * sizeof(float), b->host, NULL));
	LW_TRY(lw_queue_finish(b->context.queue));
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;
		if (isfinite(b->host[i]))
			continue;
		memcpy(&bits, &b->host[i], sizeof bits);
		return lw_fail(LW_E_NUMERIC, "value %zu of %zu %s", i, count, bits == POISON ? "is not written" : "is not finite");
	}
	for (int i = 0; i < b->sample_count; i++) {
		const lw_tune_sample *s = &b->samples[i];
		if (fabs(b->host[s->index] - s->expected) > b->tolerance)
			return lw_fail(LW_E_NUMERIC, "value %zu is %.9g, %.9g was expected, within %.2g", s->index, b->host[s->index],
				       s->expected, b->tolerance);
	}
	return LW_OK;
}

/* Builds it, runs it, looks at what it computes, and times one run. */
static lw_status begin_trial(bench *b, trial *t)
{
	double first;

	LW_TRY(lw_queue_fill(b->context.queue, b->output, 0, lw_buf_size(b->output), POISON, NULL));
	LW_TRY(run(b, t, 1, &first));
	LW_TRY(check(b));
	LW_TRY(run(b, t, 1, &t->seconds));
	t->inner = (int)fmax(1, fmin(64, sample_seconds / t->seconds));
	t->alive = true;
	return LW_OK;
}

/* --- All of them --- */

static double least(const bench *b)
{
	double seconds = INFINITY;

	for (int i = 0; i < b->trial_count; i++)
		if (b->trials[i].alive)
			seconds = fmin(seconds, b->trials[i].seconds);
	return seconds;
}

static int leave_out(bench *b, double factor)
{
	const double limit = factor * least(b);
	int left = 0;

	for (int i = 0; i < b->trial_count; i++) {
		/* the default's time is reported, and compared with */
		if ((i > 0 || factor >= hopeless) && b->trials[i].seconds > limit)
			b->trials[i].alive = false;
		left += b->trials[i].alive;
	}
	return left;
}

/* In turns, so that what disturbs the machine disturbs all alike. */
static lw_status measure(bench *b)
{
	const double start = lw_now();
	int left = leave_out(b, hopeless);

	for (int round = 0; round < MAX_ROUNDS && left > 1; round++) {
		if (round >= MIN_ROUNDS && lw_now() - start > enough_seconds)
			break;
		for (int i = 0; i < b->trial_count; i++) {
			trial *t = &b->trials[i];
			double seconds;
			if (!t->alive)
				continue;
			LW_TRY(run(b, t, t->inner, &seconds));
			t->seconds = fmin(t->seconds, seconds);
		}
		if (round > 0)
			left = leave_out(b, worse);
	}
	return LW_OK;
}

/* On CPUs the simple kernels only stand in where there are no others: on large shapes one run takes seconds. */
static bool stands_in(const bench *b, const lw_choice *choice)
{
	return lw_device_get_info(b->context.device)->type == LW_DEVICE_CPU && strstr(choice->name, "simple") != NULL;
}

static void list_trials(bench *b, bool same_algorithm)
{
	lw_choice list[LW_MAX_CHOICES];
	const int count = lw_op_choices(&b->context, b->op, &b->call, b->pass, list);

	for (int i = 0; i < count; i++)
		if (!same_algorithm || list[i].algorithm == list[0].algorithm)
			b->trials[b->trial_count++] = (trial){.choice = list[i], .seconds = INFINITY};
}

static void reject(const bench *b, const trial *t, lw_tune_result *result)
{
	const lw_tune_item item = {.op = b->op, .call = b->call};
	char shape[96];

	lw_tune_shape(&item, shape);
	lw_log(LW_LOG_WARNING, "%s %s %s: `%s` is not used on %s: %s", b->op->kind, lw_pass_names[b->pass], shape, t->choice.name,
	       lw_device_label(b->context.device), lw_last_error());
	result->rejected++;
}

static lw_status search(bench *b, double budget, lw_tune_result *result)
{
	const double start = lw_now();
	const trial *usual = &b->trials[0], *best = NULL;

	LW_TRY(make_buffers(b));
	b->sample_count = lw_tune_reference(&b->context, b->data, b->op, &b->call, b->pass, b->samples, &b->tolerance);
	for (int i = 0; i < b->trial_count; i++) {
		if (isfinite(least(b)) && (lw_now() - start > budget || stands_in(b, &b->trials[i].choice)))
			continue;
		if (begin_trial(b, &b->trials[i]) == LW_OK)
			continue;
		reject(b, &b->trials[i], result);
		lw_queue_destroy(&b->context.queue); /* the failure is its */
		LW_TRY(lw_queue_create(&b->context.queue, b->context.device));
	}
	LW_TRY(measure(b));
	for (int i = 0; i < b->trial_count; i++)
		if (b->trials[i].alive && (!best || b->trials[i].seconds < best->seconds))
			best = &b->trials[i];
	if (isfinite(usual->seconds)) {
		result->usual_seconds = usual->seconds;
		if (best->seconds > worth * usual->seconds)
			best = usual;
	}
	if (best) {
		result->best = best->choice;
		result->best_seconds = best->seconds;
	}
	return LW_OK;
}

lw_status lw_op_tune(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, bool same_algorithm,
		     double budget, lw_tune_result *result)
{
	lw_status status;
	bench *b;

	*result = (lw_tune_result){0};
	LW_TRY(lw_alloc(&b, 1, sizeof *b));
	b->context = *context;
	b->context.queue = NULL;
	b->context.tuning = NULL;
	b->op = op;
	b->pass = pass;
	b->call = (lw_op_call){.options = call->options, .input_count = 1, .input_shape = {call->input_shape[0]},
			       .output_shape = call->output_shape, .training = true, .relu = call->relu, .mask_input = call->mask_input};
	list_trials(b, same_algorithm);
	if (!b->trial_count) {
		status = lw_fail(LW_E_UNSUPPORTED, "%s: there is no kernel for this shape on this device", op->kind);
		goto out;
	}
	result->usual = result->best = b->trials[0].choice;
	status = LW_OK;
	if (b->trial_count == 1)
		goto out;
	LW_GO(lw_alloc(&b->data, 1, sizeof *b->data));
	LW_GO(lw_queue_create(&b->context.queue, context->device));
	lw_kernel_trials(context->device, true);
	LW_GO(search(b, budget, result));
out:
	lw_kernel_trials(context->device, false);
	if (status == LW_OK && result->best_seconds > 0) { /* the run will want its kernels */
		const trial best = {.choice = result->best};
		double seconds;
		status = run(b, &best, 1, &seconds);
	}
	lw_queue_destroy(&b->context.queue);
	for (int i = 0; i < b->buffer_count; i++)
		lw_buf_destroy(&b->buffers[i]);
	free(b->host);
	free(b->data);
	free(b);
	return status;
}
