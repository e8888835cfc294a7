/*
 * Choosing owners. Several first placements (placement_first.c) are timed by the clock; from the best of them, and then
 * from each, moves and swaps are kept where the step ends earlier, until nothing helps or the work set aside is done. That
 * is a number of copies and events, not of seconds, so that the same problem has the same owners on a slow machine.
 */
#include "sched/placer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Copies and events that a search may cost. */
static const double search_budget = 120e6;

static lw_status check_devices(const lw_placement_problem *problem)
{
	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];
		if (device->memory && device->used > device->memory)
			return lw_fail(LW_E_MEMORY, "device %s: it needs %llu bytes before it owns anything, and has %llu", lw_placer_named(device->name),
				       (unsigned long long)device->used, (unsigned long long)device->memory);
	}
	return LW_OK;
}

lw_status lw_placement_check(const lw_placement_problem *problem, const int *owner)
{
	uint64_t *room = NULL;
	lw_status status = check_devices(problem);

	LW_TRY(status);
	LW_TRY(lw_alloc(&room, problem->device_count, sizeof *room));
	for (size_t d = 0; d < problem->device_count; d++)
		room[d] = lw_placer_room(&problem->devices[d]);
	for (size_t p = 0; p < problem->parcel_count && status == LW_OK; p++) {
		const lw_placement_parcel *parcel = &problem->parcels[p];
		const uint64_t bytes = 2 * parcel->state_bytes;

		if (owner[p] < 0 || owner[p] >= (int)problem->device_count)
			status = lw_fail(LW_E_ARGUMENT, "parcel %zu: there is no device %d", p, owner[p]);
		else if (parcel->fixed_owner >= 0 && owner[p] != parcel->fixed_owner)
			status = lw_fail(LW_E_ARGUMENT, "parcel %zu belongs to device %s", p, lw_placer_named(problem->devices[parcel->fixed_owner].name));
		else if (room[owner[p]] < bytes)
			status = lw_placer_fail_memory(problem, (int)p, owner[p], room[owner[p]]);
		else if (room[owner[p]] != UINT64_MAX)
			room[owner[p]] -= bytes;
	}
	free(room);
	return status;
}

/* --- Improving by the clock --- */

/* What is made small: the makespan, and a little of when parcels arrive, so that there is a way on where it stays the same. */
static double time_it(lw_placer *p, double *makespan)
{
	const size_t count = p->problem->parcel_count;
	double sum = 0;

	*makespan = lw_placement_clock_run(p->clock, p->owner, NULL, p->finish);
	p->work += (double)lw_placement_clock_cost(p->clock);
	for (size_t i = 0; i < count; i++)
		sum += p->finish[i];
	return *makespan + (count ? 1e-3 * sum / (double)count : 0);
}

static void keep(lw_placer *p, double value, double makespan)
{
	p->best_value = value;
	p->best_makespan = makespan;
	memcpy(p->best, p->owner, p->problem->parcel_count * sizeof *p->best);
}

/* The work is done, or so little is left to gain that it is not worth looking for. */
static bool tired(const lw_placer *p)
{
	return p->work + (double)lw_placement_clock_cost(p->clock) > search_budget || p->best_makespan <= p->enough;
}

/* Tries one exchange: keeps it where it helps, else takes it back. */
static bool try_exchange(lw_placer *p, double *value, int parcel, int other, int to)
{
	const int from = p->owner[parcel];
	double fresh, makespan;

	if (to == from || !lw_placer_fits(p, parcel, other, to) || tired(p))
		return false;
	lw_placer_exchange(p, parcel, other, to);
	fresh = time_it(p, &makespan);
	if (fresh < *value * (1 - 1e-9)) {
		*value = fresh;
		if (fresh < p->best_value)
			keep(p, fresh, makespan);
		return true;
	}
	lw_placer_exchange(p, parcel, other, from);
	return false;
}

/* One round over all parcels, those that arrive last first; whether any exchange helped. */
static bool improve_once(lw_placer *p, double *value)
{
	const int devices = (int)p->problem->device_count, parcels = (int)p->problem->parcel_count;
	bool any = false;

	if (lw_placer_sort(p->order, p->finish, (size_t)parcels) != LW_OK)
		return false; /* no memory to look further: what there is will do */
	for (int k = 0; k < parcels; k++) {
		const int parcel = p->order[k];

		if (!lw_placer_movable(p, parcel))
			continue;
		for (int d = 0; d < devices; d++)
			any |= try_exchange(p, value, parcel, -1, d);
		for (int j = 0; j < parcels; j++)
			if (lw_placer_movable(p, j) && p->owner[j] != p->owner[parcel])
				any |= try_exchange(p, value, parcel, j, p->owner[j]);
		if (tired(p))
			return false;
	}
	return any;
}

static double time_and_keep(lw_placer *p)
{
	double makespan, value = time_it(p, &makespan);

	if (value < p->best_value)
		keep(p, value, makespan);
	return value;
}

/* From the placement in owner: improved while that helps. */
static void improve(lw_placer *p)
{
	double value = time_and_keep(p);

	while (!tired(p) && improve_once(p, &value))
		;
}

/* --- All together --- */

/* No step is shorter: the slowest lane's last gradients of each parcel, updated by and spread from the best owner for it. */
static double lower_bound(const lw_placer *p)
{
	const lw_placement_problem *problem = p->problem;
	double bound = p->slowest;

	for (size_t i = 0; i < problem->parcel_count; i++) {
		const lw_placement_parcel *parcel = &problem->parcels[i];
		double best = INFINITY;

		for (size_t d = 0; d < problem->device_count; d++) {
			const lw_placement_device *device = &problem->devices[d];
			const double copy = device->latency + (double)parcel->bytes / device->link_bandwidth;
			const double rest = lw_placement_update_seconds(problem, (int)d, (int)i, p->lanes) +
					    lw_placement_clock_receivers(p->clock, (int)d) * copy;
			best = parcel->fixed_owner < 0 || parcel->fixed_owner == (int)d ? fmin(best, rest) : best;
		}
		bound = fmax(bound, parcel->ready * p->slowest + best);
	}
	return bound;
}

static lw_status go_back_to_best(lw_placer *p)
{
	LW_TRY(lw_placer_reset(p));
	for (size_t i = 0; i < p->problem->parcel_count; i++)
		if (lw_placer_movable(p, (int)i))
			lw_placer_put(p, (int)i, p->best[i]);
	return LW_OK;
}

static lw_status search(lw_placer *p)
{
	const int devices = (int)p->problem->device_count;
	const int starts = LW_ORDERED_STARTS + LW_MIXED_STARTS + (devices <= LW_ALONE_STARTS ? devices : 0);

	LW_TRY(lw_placer_reset(p));
	for (int start = 0; start < starts && (start == 0 || (p->work < 0.5 * search_budget && !tired(p))); start++)
		if (lw_placer_begin(p, start))
			time_and_keep(p);
	if (isinf(p->best_value)) { /* time alone led into corners */
		LW_TRY(lw_placer_reset(p));
		LW_TRY(lw_placer_pack(p));
		time_and_keep(p);
	}
	LW_TRY(go_back_to_best(p));
	improve(p);
	for (int start = 0; start < starts && !tired(p); start++)
		if (lw_placer_begin(p, start))
			improve(p);
	return LW_OK;
}

lw_status lw_place(const lw_placement_problem *problem, int *owner, double *makespan)
{
	const size_t count = problem->parcel_count, devices = problem->device_count;
	lw_placer p = {.problem = problem, .best_value = INFINITY, .best_makespan = INFINITY};
	lw_status status;

	for (size_t d = 0; d < devices; d++) {
		p.lanes += problem->devices[d].is_lane;
		p.slowest = fmax(p.slowest, problem->devices[d].is_lane ? problem->devices[d].compute_seconds : 0);
	}
	LW_GO(lw_placement_clock_create(&p.clock, problem));
	LW_GO(check_devices(problem));
	LW_GO(lw_alloc(&p.loads, devices, sizeof *p.loads));
	LW_GO(lw_alloc(&p.room, devices, sizeof *p.room));
	LW_GO(lw_alloc(&p.owner, count, sizeof *p.owner));
	LW_GO(lw_alloc(&p.best, count, sizeof *p.best));
	LW_GO(lw_alloc(&p.finish, count, sizeof *p.finish));
	LW_GO(lw_alloc(&p.order, count, sizeof *p.order));
	p.enough = 1.002 * lower_bound(&p);
	LW_GO(search(&p));
	memcpy(owner, p.best, count * sizeof *owner);
	if (makespan)
		*makespan = p.best_makespan;
out:
	lw_placement_clock_destroy(&p.clock);
	free(p.loads);
	free(p.room);
	free(p.owner);
	free(p.best);
	free(p.finish);
	free(p.order);
	return status;
}

lw_status lw_placement_makespan(const lw_placement_problem *problem, const int *owner, double *makespan,
				lw_placement_timeline *timeline)
{
	lw_placement_clock *clock = NULL;

	for (size_t p = 0; p < problem->parcel_count; p++)
		if (owner[p] < 0 || owner[p] >= (int)problem->device_count)
			return lw_fail(LW_E_ARGUMENT, "parcel %zu: there is no device %d", p, owner[p]);
	LW_TRY(lw_placement_clock_create(&clock, problem));
	*makespan = lw_placement_clock_run(clock, owner, timeline, NULL);
	lw_placement_clock_destroy(&clock);
	return LW_OK;
}
