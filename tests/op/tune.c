/* tune: the tuner's reference agrees with the kernels, and choices that fail or compute something wrong are not taken. */
#include "op/tune.h"
#include "op/runner.h"

#include <string.h>

enum { WRONG_VALUE, NOT_WRITTEN, NOT_FINITE, FAILS, SLOW, FAULTS };

static const struct problem {
	const char *name;
	lw_shape input;
	lw_layer_options options;
	bool relu, mask_input;
} problems[] = {
	{"3x3", {3, 9, 7, 5}, {.out = 6, .kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}, .dilation = {1, 1}, .groups = 1, .bias = true}, true, true},
	{"2x3, stride 2, groups", {2, 9, 8, 6}, {.out = 4, .kernel = {2, 3}, .stride = {2, 1}, .pad = {0, 2}, .dilation = {1, 2}, .groups = 2}, false, true},
	{"1x1", {2, 4, 3, 9}, {.out = 17, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1, .bias = true}, false, false},
};

/* conv's own choices after, or before, one that is broken. */
static int fault, broken_at;

static int choices(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_choice *list)
{
	lw_choice broken;
	const int count = lw_op_find("conv")->choices(context, call, pass, list);

	if (count < 1 || count >= LW_MAX_CHOICES)
		return count;
	broken = list[0];
	snprintf(broken.name, sizeof broken.name, "broken");
	if (broken_at == 0)
		memmove(list + 1, list, (size_t)count * sizeof *list);
	list[broken_at ? count : 0] = broken;
	return count + 1;
}

/* What the broken choice does to the result. */
static lw_status spoil(const lw_op_context *context, lw_buf *result)
{
	const size_t bytes = lw_buf_size(result);

	if (!context->force_choice || strcmp(context->force_choice->name, "broken") != 0)
		return LW_OK;
	if (fault == FAILS)
		return lw_fail(LW_E_DEVICE, "it fails on purpose");
	if (fault == SLOW)
		for (double start = lw_now(); lw_now() - start < 0.05;)
			;
	if (fault == SLOW)
		return LW_OK;
	/* the first value, which is among the samples; or the last */
	return lw_queue_fill(context->queue, result, fault == NOT_WRITTEN ? bytes - 4 : 0, 4,
			     fault == WRONG_VALUE ? 0x42c80000u : fault == NOT_WRITTEN ? 0x7fc0dead : 0x7f800000u, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_op_call *call)
{
	LW_TRY(lw_op_find("conv")->forward(context, call));
	return spoil(context, call->output);
}

static lw_status backward(const lw_op_context *context, const lw_op_call *call)
{
	LW_TRY(lw_op_find("conv")->backward(context, call));
	return spoil(context, call->input_gradient[0] ? call->input_gradient[0] : call->param_gradient[0]);
}

static lw_status make_call(const struct problem *p, lw_op_call *call)
{
	lw_op_rule rule;

	*call = (lw_op_call){.options = &p->options, .input_count = 1, .input_shape = {p->input}, .relu = p->relu, .mask_input = p->mask_input};
	LW_TRY(lw_op_find("conv")->rule(&p->options, &p->input, 1, &rule));
	call->output_shape = rule.output;
	return LW_OK;
}

static lw_status check_fault(lw_test_run *run, const struct problem *p, lw_pass pass)
{
	static const char *const faults[FAULTS] = {"wrong value", "not written", "not finite", "fails", "slow"};
	lw_op op = *lw_op_find("conv");
	lw_tune_result result;
	lw_op_call call;

	op.choices = choices;
	op.forward = forward;
	op.backward = backward;
	LW_TRY(make_call(p, &call));
	LW_TRY(lw_op_tune(&run->context, &op, &call, pass, false, 1e9, &result));
	if (strcmp(result.best.name, "broken") == 0 || !(result.best_seconds > 0))
		lw_test_fail(run, "%s, %s, %s: `%s` was chosen, %g s", p->name, lw_pass_names[pass], faults[fault], result.best.name,
			     result.best_seconds);
	else if (result.rejected != (fault != SLOW))
		lw_test_fail(run, "%s, %s, %s: %d choices were rejected: %s", p->name, lw_pass_names[pass], faults[fault], result.rejected,
			     lw_last_error());
	else
		lw_test_pass(run);
	return LW_OK;
}

/* Out of time: the first choice, which is all there is time for. */
static lw_status check_budget(lw_test_run *run)
{
	lw_op_call call;
	lw_tune_result result;
	lw_op op = *lw_op_find("conv");

	op.choices = choices;
	op.forward = forward;
	op.backward = backward;
	broken_at = 1;
	LW_TRY(make_call(&problems[0], &call));
	LW_TRY(lw_op_tune(&run->context, &op, &call, LW_PASS_FORWARD, false, 0, &result));
	if (strcmp(result.best.name, result.usual.name) != 0 || strcmp(result.usual.name, "broken") == 0 || result.rejected)
		lw_test_fail(run, "without time `%s` was chosen", result.best.name);
	else
		lw_test_pass(run);
	return LW_OK;
}

static lw_status check_tune(lw_test_run *run)
{
	const lw_op_context given = run->context;
	lw_status status = LW_OK;

	run->context.force_variant = -1;
	run->context.precision = LW_PRECISION_ACCURATE;
	for (size_t p = 0; p < LW_COUNT(problems); p++)
		for (int pass = 0; pass < LW_PASS_COUNT; pass++) {
			fault = (int)((p * LW_PASS_COUNT + (size_t)pass) % FAULTS);
			broken_at = pass != LW_PASS_FORWARD;
			LW_GO(check_fault(run, &problems[p], (lw_pass)pass));
		}
	LW_GO(check_budget(run));
out:
	run->context = given;
	return status;
}

const lw_check lw_check_tune = {"tune", check_tune};
