/* Which passes to tune, in which order, and what to remember. */
#include "op/known.h"
#include "op/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void lw_tune_shape(const lw_tune_item *item, char text[96])
{
	const lw_shape in = item->call.input_shape[0], out = item->call.output_shape;
	const lw_layer_options *o = item->call.options;

	if (strcmp(item->op->kind, "conv") != 0)
		snprintf(text, 96, "%dx%dx%d", in.n, in.h * in.w * in.c, out.h * out.w * out.c);
	else
		snprintf(text, 96, "%dx%dx%dx%dx%dx%dx%dx%dx%dx%d", in.n, in.c, in.h, in.w, out.c, o->kernel[0], o->kernel[1],
			 o->stride[0], o->pad[0], o->groups);
}

static int by_flops(const void *a, const void *b)
{
	const lw_tune_item *x = a, *y = b;

	return x->flops != y->flops ? (x->flops < y->flops ? 1 : -1) : (int)x->pass - (int)y->pass;
}

/* Of the sorted items those that are unknown, each once. */
static lw_status pick_items(const lw_op_context *context, const lw_tuning *tuning, lw_tune_item *items, size_t *count, bool again)
{
	char (*keys)[LW_TUNING_KEY], key[LW_TUNING_KEY];
	size_t kept = 0;

	LW_TRY(lw_alloc(&keys, *count, sizeof *keys));
	for (size_t i = 0; i < *count; i++) {
		bool known;

		lw_op_tuning_key(context, items[i].op, &items[i].call, items[i].pass, key);
		known = !again && lw_tuning_find(tuning, key);
		for (size_t k = 0; k < kept && !known; k++)
			known = strcmp(keys[k], key) == 0;
		if (known)
			continue;
		memcpy(keys[kept], key, sizeof key);
		items[kept++] = items[i];
	}
	free(keys);
	*count = kept;
	return LW_OK;
}

/* Searches if there is time; memory that does not suffice for two of the layer at once is no failure. */
static lw_status find(const lw_op_context *context, const lw_tuning *tuning, const lw_tune_item *item, double budget,
		      lw_tune_result *result)
{
	lw_choice list[LW_MAX_CHOICES];
	lw_status status;

	if (budget > 0) {
		status = lw_op_tune(context, item->op, &item->call, item->pass, !lw_tuning_lasts(tuning), budget, result);
		if (status == LW_OK || status == LW_E_UNSUPPORTED)
			return status;
		lw_log(LW_LOG_INFO, "%s %s keeps its default: %s", item->op->kind, lw_pass_names[item->pass], lw_last_error());
	}
	*result = (lw_tune_result){0};
	if (!lw_op_choices(context, item->op, &item->call, item->pass, list))
		return lw_fail(LW_E_UNSUPPORTED, "%s: there is no kernel for this shape on this device", item->op->kind);
	result->usual = result->best = list[0];
	return LW_OK;
}

static lw_status keep(const lw_op_context *context, lw_tuning *tuning, const lw_tune_item *item, const lw_tune_result *result, bool replace)
{
	char key[LW_TUNING_KEY];

	lw_op_tuning_key(context, item->op, &item->call, item->pass, key);
	LW_TRY(lw_tuning_store(tuning, key, result->best.name, result->best_seconds, replace));
	/* the next run would know nothing of another algorithm, and have other bits */
	if (!lw_tuning_lasts(tuning) && result->best.algorithm != result->usual.algorithm)
		return lw_tuning_store(tuning, key, result->usual.name, result->usual_seconds, true);
	return LW_OK;
}

/* Whether the best is faster by more than chance and a little memory's place would have it; text is then its row. */
static bool is_worth_knowing(const lw_op_context *context, const lw_tune_item *item, const lw_tune_result *result, char text[LW_KNOWN_TEXT])
{
	static const double clearly = 1.15;
	char key[LW_TUNING_KEY];

	if (!(result->best_seconds > 0 && result->usual_seconds >= clearly * result->best_seconds))
		return false;
	lw_op_tuning_key(context, item->op, &item->call, item->pass, key);
	lw_known_print(context->device, key, &result->usual, &result->best, result->usual_seconds / result->best_seconds, text);
	return true;
}

lw_status lw_tune_items(const lw_op_context *context, lw_tuning *tuning, lw_tune_item *items, size_t count,
			const lw_tune_options *options)
{
	lw_tune_event event = {0};
	const double start = lw_now();
	double flops = 0; /* of what is left */

	qsort(items, count, sizeof *items, by_flops);
	LW_TRY(pick_items(context, tuning, items, &count, options->again));
	event.total = count;
	for (size_t i = 0; i < count; i++)
		flops += items[i].flops;
	if (count && options->progress)
		options->progress(options->user, &event);
	for (size_t i = 0; i < count; i++) {
		const lw_tune_item *item = &items[i];
		const double left = options->budget - (lw_now() - start);
		lw_tune_result result;
		/* twice its share: the first ones compile kernels that the others take, too */
		lw_status status = find(context, tuning, item, fmin(left, left * 2 * item->flops / flops), &result);
		char shape[96], known[LW_KNOWN_TEXT];

		flops -= item->flops;
		if (status == LW_E_UNSUPPORTED) /* the run will say so */
			continue;
		LW_TRY(status);
		LW_TRY(keep(context, tuning, item, &result, options->again));
		lw_tune_shape(item, shape);
		event = (lw_tune_event){.done = i + 1,
					.total = count,
					.seconds = lw_now() - start,
					.layer = item->op->kind,
					.pass = lw_pass_names[item->pass],
					.shape = shape,
					.usual = result.usual.name,
					.best = result.best.name,
					.usual_seconds = result.usual_seconds,
					.best_seconds = result.best_seconds,
					.rejected = result.rejected,
					.known = is_worth_knowing(context, item, &result, known) ? known : NULL};
		if (options->progress)
			options->progress(options->user, &event);
	}
	if (count)
		lw_kernel_cache_save(context->device);
	return LW_OK;
}
