/* Schedules: factors of the learning rate. Plain double arithmetic, the same on every host. */
#include "optim/optim.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

static const char *const schedule_names[] = {"constant",   "step",	  "multistep", "cosine",
					     "polynomial", "exponential", "one_cycle"};

void lw_schedule_defaults(lw_schedule *schedule)
{
	*schedule = (lw_schedule){
		.kind = LW_SCHEDULE_CONSTANT,
		.gamma = NAN,
		.power = 1.0,
		.pct_start = 0.3,
		.div_factor = 25.0,
		.final_div_factor = 1e4,
	};
}

lw_status lw_schedule_find(const char *name, lw_schedule_kind *kind)
{
	const char *near;

	for (size_t i = 0; i < LW_COUNT(schedule_names); i++) {
		if (strcmp(schedule_names[i], name) == 0) {
			*kind = (lw_schedule_kind)i;
			return LW_OK;
		}
	}
	near = lw_nearest(name, schedule_names, LW_COUNT(schedule_names));
	if (near)
		return lw_fail(LW_E_ARGUMENT, "no schedule is called `%s`: did you mean `%s`?", name, near);
	return lw_fail(LW_E_ARGUMENT,
		       "no schedule is called `%s`: there are constant, step, multistep, cosine, polynomial, "
		       "exponential and one_cycle",
		       name);
}

const char *lw_schedule_name(lw_schedule_kind kind)
{
	return (unsigned)kind < LW_COUNT(schedule_names) ? schedule_names[kind] : "unknown";
}

static bool uses_gamma(lw_schedule_kind kind)
{
	return kind == LW_SCHEDULE_STEP || kind == LW_SCHEDULE_MULTISTEP || kind == LW_SCHEDULE_EXPONENTIAL;
}

static double gamma_of(const lw_schedule *schedule)
{
	if (!isnan(schedule->gamma))
		return schedule->gamma;
	return schedule->kind == LW_SCHEDULE_EXPONENTIAL ? 0.999 : 0.1;
}

static lw_status check_milestones(const lw_schedule *schedule)
{
	if (schedule->milestone_count < 1 || schedule->milestone_count > LW_SCHEDULE_MAX_MILESTONES)
		return lw_fail(LW_E_ARGUMENT, "schedule multistep takes 1 to %d milestones, not %d",
			       LW_SCHEDULE_MAX_MILESTONES, schedule->milestone_count);
	for (int i = 0; i < schedule->milestone_count; i++) {
		if (schedule->milestones[i] < 1)
			return lw_fail(LW_E_ARGUMENT, "schedule multistep: milestone %d is not a step from 1",
				       schedule->milestones[i]);
		if (i && schedule->milestones[i] <= schedule->milestones[i - 1])
			return lw_fail(LW_E_ARGUMENT, "schedule multistep: milestones must rise, but %d follows %d",
				       schedule->milestones[i], schedule->milestones[i - 1]);
	}
	return LW_OK;
}

static lw_status check_one_cycle(const lw_schedule *schedule)
{
	if (schedule->warmup)
		return lw_fail(LW_E_ARGUMENT, "schedule one_cycle warms up by itself: warmup must be 0, not %d",
			       schedule->warmup);
	if (!(schedule->pct_start >= 0.0 && schedule->pct_start <= 1.0))
		return lw_fail(LW_E_ARGUMENT, "schedule one_cycle: pct_start must be from 0 to 1, not %g",
			       schedule->pct_start);
	if (!(schedule->div_factor >= 1.0 && isfinite(schedule->div_factor)))
		return lw_fail(LW_E_ARGUMENT, "schedule one_cycle: div_factor must be at least 1, not %g",
			       schedule->div_factor);
	if (!(schedule->final_div_factor > 0.0 && isfinite(schedule->final_div_factor)))
		return lw_fail(LW_E_ARGUMENT, "schedule one_cycle: final_div_factor must be positive, not %g",
			       schedule->final_div_factor);
	return LW_OK;
}

lw_status lw_schedule_check(const lw_schedule *schedule)
{
	const char *name = lw_schedule_name(schedule->kind);

	if ((unsigned)schedule->kind >= LW_COUNT(schedule_names))
		return lw_fail(LW_E_ARGUMENT, "schedule kind %d does not exist", (int)schedule->kind);
	if (schedule->warmup < 0)
		return lw_fail(LW_E_ARGUMENT, "schedule %s: warmup must not be negative, but is %d", name,
			       schedule->warmup);
	if (uses_gamma(schedule->kind) && !isnan(schedule->gamma) &&
	    !(schedule->gamma > 0.0 && isfinite(schedule->gamma)))
		return lw_fail(LW_E_ARGUMENT, "schedule %s: gamma must be positive, not %g", name, schedule->gamma);
	if (schedule->kind == LW_SCHEDULE_STEP && schedule->size < 1)
		return lw_fail(LW_E_ARGUMENT, "schedule step: size must be at least 1 step, not %d", schedule->size);
	if (schedule->kind == LW_SCHEDULE_MULTISTEP)
		return check_milestones(schedule);
	if (schedule->kind == LW_SCHEDULE_ONE_CYCLE)
		return check_one_cycle(schedule);
	if (schedule->kind == LW_SCHEDULE_COSINE || schedule->kind == LW_SCHEDULE_POLYNOMIAL) {
		if (!(schedule->min_factor >= 0.0 && schedule->min_factor <= 1.0))
			return lw_fail(LW_E_ARGUMENT, "schedule %s: min_factor must be from 0 to 1, not %g", name,
				       schedule->min_factor);
	}
	if (schedule->kind == LW_SCHEDULE_POLYNOMIAL && !(schedule->power > 0.0 && isfinite(schedule->power)))
		return lw_fail(LW_E_ARGUMENT, "schedule polynomial: power must be positive, not %g", schedule->power);
	return LW_OK;
}

lw_status lw_schedule_check_total(const lw_schedule *schedule, int64_t total)
{
	bool needed = schedule->kind == LW_SCHEDULE_COSINE || schedule->kind == LW_SCHEDULE_POLYNOMIAL ||
		      schedule->kind == LW_SCHEDULE_ONE_CYCLE;

	if (needed && total <= 0)
		return lw_fail(LW_E_ARGUMENT, "schedule %s needs the run's number of steps, and it is not known",
			       lw_schedule_name(schedule->kind));
	return LW_OK;
}

/* How far `done` of `whole` is, from 0 to 1. */
static double progress(double done, double whole)
{
	if (done <= 0.0)
		return 0.0;
	return done >= whole ? 1.0 : done / whole;
}

/* From `from` at t = 0 to `to` at t = 1 along half a wave of the cosine. */
static double half_wave(double from, double to, double t) { return to + (from - to) * (1.0 + cos(PI * t)) / 2.0; }

/* The peak is at pct_start*total steps, as in PyTorch; the last step reaches the bottom. */
static double one_cycle(const lw_schedule *schedule, double done, double total)
{
	const double start = 1.0 / schedule->div_factor, bottom = start / schedule->final_div_factor;
	const double peak = schedule->pct_start * total - 1.0;

	if (total <= 0.0)
		return start;
	if (peak > 0.0 && done <= peak)
		return half_wave(start, 1.0, progress(done, peak));
	return half_wave(1.0, bottom, progress(done - peak, total - 1.0 - peak));
}

double lw_schedule_factor(const lw_schedule *schedule, int64_t step, int64_t total)
{
	const double done = (double)(step - 1);
	const double warmup = (double)schedule->warmup;
	const double ramp = schedule->warmup > 0 && step < schedule->warmup ? (double)step / warmup : 1.0;
	const double t = total > 0 ? progress(done - warmup, (double)total - warmup) : 0.0;
	int passed = 0;

	switch (schedule->kind) {
	case LW_SCHEDULE_STEP:
		return ramp * pow(gamma_of(schedule), floor(done / (double)schedule->size));
	case LW_SCHEDULE_MULTISTEP:
		for (int i = 0; i < schedule->milestone_count; i++)
			passed += done >= (double)schedule->milestones[i];
		return ramp * pow(gamma_of(schedule), (double)passed);
	case LW_SCHEDULE_COSINE:
		return ramp * half_wave(1.0, schedule->min_factor, t);
	case LW_SCHEDULE_POLYNOMIAL:
		return ramp * (schedule->min_factor + (1.0 - schedule->min_factor) * pow(1.0 - t, schedule->power));
	case LW_SCHEDULE_EXPONENTIAL:
		return ramp * pow(gamma_of(schedule), done);
	case LW_SCHEDULE_ONE_CYCLE:
		return one_cycle(schedule, done, (double)total);
	default:
		return ramp;
	}
}
