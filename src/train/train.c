/* The loop: batches in order, a step each, evaluations, log lines, checkpoints, and an end that can be gone on from. */
#include "sched/sched.h"
#include "train/train.h"

#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { LOSS_WINDOW = 50 };

typedef struct run {
	lw_plan *plan;
	const lw_train_options *options;
	const lw_dataset *test;
	lw_loader *loader;
	const float *next_images; /* of the next step, on their way to the device; NULL before the first */
	const int32_t *next_labels;
	lw_step_log *log;
	lw_train_summary *summary;
	lw_checkpoint now;      /* where the run is; step counts finished steps */
	int64_t per_epoch;      /* steps */
	int64_t saved;          /* step of the last checkpoint; -1: none */
	char *checkpoint;       /* its path; NULL: none */
	double losses[LOSS_WINDOW];
	int64_t loss_count;     /* finite losses so far; the newest are in the window */
	double began;
	double step_seconds;    /* smoothed */
	double timed_seconds;   /* of all steps of this process but the first */
	int64_t timed_steps, done_steps;
} run;

void lw_train_defaults(lw_train_options *options)
{
	*options = (lw_train_options){.epochs = 1, .shuffle = true, .seed = 1, .checkpoint_keep = 2, .trace_steps = 20};
}

void lw_train_summary_clear(lw_train_summary *summary)
{
	free(summary->checkpoint);
	*summary = (lw_train_summary){0};
}

int64_t lw_train_total_steps(const lw_train_options *options, const lw_dataset *train, int batch)
{
	static const int64_t most = INT64_C(1) << 62; /* no end either way, and sums with it still fit */
	int64_t steps;

	if (options->steps > 0 || batch < 1)
		return options->steps;
	steps = (int64_t)(lw_dataset_count(train) / (size_t)batch);
	return steps && options->epochs > most / steps ? most : options->epochs * steps;
}

static lw_status check_options(const lw_train_options *o, int64_t total)
{
	if (total < 1)
		return lw_fail(LW_E_ARGUMENT, "the run has no step: steps or epochs must be at least 1, and the training set as large as a batch");
	if (o->checkpoint_dir && o->checkpoint_keep < 1)
		return lw_fail(LW_E_ARGUMENT, "checkpoints: %d are to be kept, at least 1 was expected", o->checkpoint_keep);
	if (o->checkpoint_every < 0 || o->evaluate_every < 0 || o->skip_not_finite < 0)
		return lw_fail(LW_E_ARGUMENT, "checkpoint_every, evaluate_every and skip_not_finite must not be negative");
	if ((o->resume || o->resume_or_start) && !o->resume_dir)
		return lw_fail(LW_E_ARGUMENT, "a resume needs the folder of the checkpoints");
	return LW_OK;
}

static bool same_folder(const char *a, const char *b)
{
	char *real_a = realpath(a, NULL), *real_b = realpath(b, NULL);
	bool same = real_a && real_b && strcmp(real_a, real_b) == 0;

	free(real_a);
	free(real_b);
	return same;
}

/* Brings the plan to the newest checkpoint, or leaves it as it is where the run may start afresh. */
static lw_status resume(run *r)
{
	const lw_train_options *o = r->options;
	lw_tensors *tensors = NULL;
	lw_checkpoint saved;
	char *path = NULL;
	lw_status status;

	LW_GO(lw_checkpoint_read(&tensors, &saved, &path, o->resume_dir));
	if (!tensors) {
		if (!o->resume_or_start)
			status = lw_fail(LW_E_IO, "%s: there is no checkpoint to resume from", o->resume_dir);
		goto out;
	}
	LW_GO(lw_checkpoint_check(path, &saved, &r->now));
	LW_GO(lw_plan_restore(r->plan, tensors));
	r->now.step = saved.step;
	r->now.skipped = saved.skipped;
	r->now.evaluated = saved.evaluated;
	r->summary->resumed_from = saved.step;
	r->checkpoint = path;
	path = NULL;
	if (o->checkpoint_dir && same_folder(o->checkpoint_dir, o->resume_dir))
		r->saved = saved.step;
	if (lw_plan_rank(r->plan) == 0)
		lw_log(LW_LOG_INFO, "resumed from %s, step %" PRId64, r->checkpoint, saved.step);
out:
	lw_tensors_destroy(&tensors);
	free(path);
	return status;
}

/* All processes must have found the same checkpoint. */
static lw_status check_together(run *r)
{
	int64_t latest = r->now.step;

	LW_TRY(lw_plan_largest(r->plan, &latest));
	if (latest != r->now.step)
		return lw_fail(LW_E_IO, "%s: the newest checkpoint is of step %" PRId64 " here and of step %" PRId64 " for another process",
			       r->options->resume_dir, r->now.step, latest);
	return LW_OK;
}

/* Rank 0 knows all and writes it; the others say where it is. */
static lw_status save(run *r)
{
	lw_tensors *tensors = NULL;
	char *path = NULL;
	lw_status status;

	LW_GO(lw_tensors_create(&tensors));
	LW_GO(lw_plan_save(r->plan, tensors));
	if (lw_plan_rank(r->plan) == 0)
		LW_GO(lw_checkpoint_write(&path, r->options->checkpoint_dir, &r->now, tensors, r->options->checkpoint_keep));
	else
		LW_GO(lw_copy_string(&path, r->options->checkpoint_dir));
	free(r->checkpoint);
	r->checkpoint = path;
	r->saved = r->now.step;
out:
	lw_tensors_destroy(&tensors);
	return status;
}

static lw_status evaluate(run *r)
{
	lw_train_summary *s = r->summary;

	LW_TRY(lw_evaluate(r->plan, (int)r->now.batch, r->test, &s->accuracy, &s->evaluation_loss, NULL, NULL));
	s->evaluated = true;
	r->now.evaluated = r->now.step;
	return lw_step_log_evaluation(r->log, r->now.step, s->accuracy, s->evaluation_loss);
}

/* The one at the end is always due; these are those before it. */
static bool evaluation_due(const run *r)
{
	int64_t every = r->options->evaluate_every * r->per_epoch, step = r->now.step;

	return r->test && every && step > 0 && step < r->now.total && step % every == 0 && r->now.evaluated != step;
}

/* What ends the run is known to all processes: none needs to be stopped. */
static void end_together(run *r)
{
	if (r->plan->ranks)
		r->plan->ranks->failed_together = true;
}

static lw_status not_finite(run *r, const lw_step_result *result, int64_t step)
{
	const char *tensor = result->bad_tensor ? result->bad_tensor : "loss";
	char what[512], kept[1100];

	if (strcmp(tensor, "loss") == 0)
		snprintf(what, sizeof what, "the loss is not finite (%g)", result->loss);
	else
		snprintf(what, sizeof what, "the gradient of %s is not finite (loss %g)", tensor, result->loss);
	r->now.skipped++;
	if (r->now.skipped <= r->options->skip_not_finite) {
		lw_log(LW_LOG_WARNING, "step %" PRId64 ": %s; skipped (%" PRId64 " of at most %d)", step, what, r->now.skipped,
		       r->options->skip_not_finite);
		return LW_OK;
	}
	end_together(r);
	if (r->checkpoint)
		snprintf(kept, sizeof kept, "the last good checkpoint is %s", r->checkpoint);
	else
		snprintf(kept, sizeof kept, "there is no checkpoint");
	if (r->options->skip_not_finite)
		return lw_fail(LW_E_NUMERIC, "step %" PRId64 ": %s, and %d such steps were skipped before; %s", step, what,
			       r->options->skip_not_finite, kept);
	return lw_fail(LW_E_NUMERIC, "step %" PRId64 ": %s; %s", step, what, kept);
}

static void time_step(run *r, double seconds)
{
	enum { SMOOTHING = 20 }; /* steps */
	double weight = 1.0 / (double)(r->timed_steps < SMOOTHING ? r->timed_steps + 1 : SMOOTHING);

	if (r->done_steps++ == 0) { /* the first compiles kernels */
		r->step_seconds = seconds;
		return;
	}
	r->step_seconds = weight * seconds + (1.0 - weight) * r->step_seconds;
	r->timed_seconds += seconds;
	r->timed_steps++;
}

static lw_status step(run *r, double *loss)
{
	double began = lw_now();
	const float *images = r->next_images;
	const int32_t *labels = r->next_labels;
	lw_step_result result;

	if (!images)
		LW_TRY(lw_loader_next(r->loader, &images, &labels));
	LW_TRY(lw_loader_next(r->loader, &r->next_images, &r->next_labels));
	LW_TRY(lw_plan_prefetch(r->plan, r->next_images, r->next_labels));
	LW_TRY(lw_plan_step(r->plan, images, labels, &result));
	LW_TRY(lw_step_log_step(r->log, r->plan, r->now.step + 1, &result));
	if (!result.finite)
		LW_TRY(not_finite(r, &result, r->now.step + 1));
	else
		r->losses[r->loss_count++ % LOSS_WINDOW] = result.loss;
	r->now.step++;
	*loss = result.loss;
	time_step(r, lw_now() - began);
	return LW_OK;
}

static lw_status traced_step(run *r, double *loss)
{
	lw_trace *trace = r->done_steps < r->options->trace_steps ? r->options->trace : NULL;
	lw_status status;

	lw_trace_begin_step(trace, r->now.step + 1);
	status = step(r, loss);
	lw_trace_end_step(trace);
	return status;
}

static void tell(const run *r, double loss, bool evaluated)
{
	const lw_train_summary *s = r->summary;
	lw_train_progress p = {.step = r->now.step, .total = r->now.total, .loss = loss, .seconds = lw_now() - r->began};

	if (!r->options->progress)
		return;
	p.epoch = (r->now.step + r->per_epoch - 1) / r->per_epoch;
	p.epochs = (r->now.total + r->per_epoch - 1) / r->per_epoch;
	p.images_per_second = (double)r->now.batch / r->step_seconds;
	p.eta_seconds = (double)(r->now.total - r->now.step) * r->step_seconds;
	p.evaluated = evaluated;
	p.accuracy = s->accuracy;
	p.evaluation_loss = s->evaluation_loss;
	r->options->progress(r->options->user, &p);
}

/* The images of a batch that this process computes. */
static lw_status supply(void *user, const float *images, int first, int count)
{
	const run *r = user;

	lw_loader_need(r->loader, images, first, count);
	return LW_OK;
}

/* Whichever process was asked to end, all do. */
static lw_status ask_interrupted(run *r, int *number)
{
	int64_t largest = r->options->interrupted ? r->options->interrupted(r->options->user) : 0;

	LW_TRY(lw_plan_largest(r->plan, &largest));
	*number = (int)largest;
	return LW_OK;
}

static const char *signal_name(int number, char buffer[32])
{
	switch (number) {
	case SIGINT: return "SIGINT";
	case SIGTERM: return "SIGTERM";
	case SIGHUP: return "SIGHUP";
	default:
		snprintf(buffer, 32, "signal %d", number);
		return buffer;
	}
}

static lw_status stop(run *r, int number)
{
	char buffer[32];
	const char *name = signal_name(number, buffer);

	if (r->options->checkpoint_dir && r->saved != r->now.step)
		LW_TRY(save(r));
	end_together(r);
	if (!r->options->checkpoint_dir)
		return lw_fail(LW_E_INTERRUPTED, "%s ended the run after step %" PRId64 " of %" PRId64
			       "; nothing was saved: no checkpoint folder was given", name, r->now.step, r->now.total);
	return lw_fail(LW_E_INTERRUPTED, "%s ended the run after step %" PRId64 " of %" PRId64 "; it can go on from %s", name,
		       r->now.step, r->now.total, r->checkpoint);
}

/* No device is left to go on with: what was committed is saved, if it can still be had. */
static lw_status give_up(run *r, lw_status status)
{
	char cause[900];

	if (status != LW_E_DEVICE || !r->options->checkpoint_dir || r->saved == r->now.step)
		return status;
	snprintf(cause, sizeof cause, "%s", lw_last_error());
	if (save(r) != LW_OK)
		return lw_fail(status, "%s; step %" PRId64 " could not be saved: %s", cause, r->now.step, lw_last_error());
	return lw_fail(status, "%s; the run can go on from %s", cause, r->checkpoint);
}

/*
 * An evaluation comes before the checkpoint of its step, so that its line is never lost; a signal before both, so that
 * the end is quick: the resumed run then begins with the evaluation that was left out.
 */
static lw_status loop(run *r)
{
	const lw_train_options *o = r->options;

	if (evaluation_due(r))
		LW_TRY(evaluate(r));
	while (r->now.step < r->now.total) {
		bool evaluated;
		lw_status status;
		double loss;
		int number;

		status = traced_step(r, &loss);
		if (status != LW_OK)
			return give_up(r, status);
		LW_TRY(ask_interrupted(r, &number));
		if (number)
			return stop(r, number);
		evaluated = evaluation_due(r);
		if (evaluated)
			LW_TRY(evaluate(r));
		if (o->checkpoint_dir && o->checkpoint_every && r->now.step % o->checkpoint_every == 0)
			LW_TRY(save(r));
		tell(r, loss, evaluated);
	}
	/* The last evaluation is worth little beside the weights: they are saved first. */
	if (o->checkpoint_dir && r->saved != r->now.step)
		LW_TRY(save(r));
	return r->test ? evaluate(r) : LW_OK;
}

static lw_status begin(run *r, int batch, const lw_dataset *train)
{
	const lw_train_options *o = r->options;

	r->now = (lw_checkpoint){.format = LW_CHECKPOINT_FORMAT, .batch = batch, .seed = o->seed, .shuffle = o->shuffle,
				 .samples = (int64_t)lw_dataset_count(train), .total = lw_train_total_steps(o, train, batch)};
	r->saved = -1;
	LW_TRY(check_options(o, r->now.total));
	if (o->resume || o->resume_or_start)
		LW_TRY(resume(r));
	LW_TRY(check_together(r));
	if (o->checkpoint_dir && lw_plan_rank(r->plan) == 0)
		LW_TRY(lw_checkpoint_prepare(o->checkpoint_dir, r->saved));
	LW_TRY(lw_loader_create(&r->loader, train, batch, o->shuffle, o->seed, (uint64_t)r->now.step));
	r->per_epoch = (int64_t)lw_loader_batches_per_epoch(r->loader);
	lw_plan_set_supply(r->plan, supply, r);
	if (o->log_path && lw_plan_rank(r->plan) == 0)
		LW_TRY(lw_step_log_open(&r->log, o->log_path, r->now.step, r->now.evaluated));
	return LW_OK;
}

static void summarize(run *r)
{
	lw_train_summary *s = r->summary;
	int64_t window = r->per_epoch < LOSS_WINDOW ? r->per_epoch : LOSS_WINDOW, count = 0;

	for (int64_t i = r->loss_count - 1; i >= 0 && count < window; i--, count++)
		s->loss += r->losses[i % LOSS_WINDOW];
	s->loss = count ? s->loss / (double)count : NAN;
	s->steps = r->now.step;
	s->skipped = r->now.skipped;
	s->seconds = lw_now() - r->began;
	if (r->timed_steps)
		s->images_per_second = (double)(r->timed_steps * r->now.batch) / r->timed_seconds;
	if (r->saved >= 0) {
		s->checkpoint = r->checkpoint;
		r->checkpoint = NULL;
	}
}

lw_status lw_train(lw_plan *plan, int batch, const lw_dataset *train, const lw_dataset *test, const lw_train_options *options,
		   lw_train_summary *summary)
{
	run r = {.plan = plan, .options = options, .test = test, .summary = summary, .began = lw_now()};
	lw_status status;

	*summary = (lw_train_summary){0};
	status = begin(&r, batch, train);
	if (status == LW_OK)
		status = loop(&r);
	summarize(&r);
	lw_plan_set_supply(plan, NULL, NULL);
	free(r.checkpoint);
	lw_step_log_close(&r.log);
	lw_loader_destroy(&r.loader);
	return status;
}
