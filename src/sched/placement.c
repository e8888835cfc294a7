/*
 * Choosing owners. A first placement takes parcels largest first onto the device that ends soonest by the sum of what its
 * links, its updates and its own computing take (loads: they do not know of waiting); moves and swaps away from the device
 * that ends last improve that. Then the clock times whole steps, and what is tried is kept where the step ends earlier,
 * until nothing helps or the work set aside for it is done: a fixed number of copies and events, not of seconds, so that
 * the same problem has the same owners on a slow machine.
 */
#include "sched/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Copies and events that a search may cost; iterations of the improvement by loads; choices tried to make all state fit. */
static const double search_budget = 120e6;
enum { MAX_BALANCE = 400, MAX_PACK = 200000, ALONE_STARTS = 8, MIXED_STARTS = 8 };

typedef struct load {
	double compute, update, in, out;
} load;

typedef struct placer {
	const lw_placement_problem *problem;
	lw_placement_clock *clock;
	int lanes;
	load *loads;     /* by device */
	uint64_t *room;  /* by device: bytes that are left */
	int *owner;      /* the placement being worked on */
	int *best;       /* the best so far, and its value */
	double best_value, best_makespan;
	double *finish;
	int *order;      /* parcels or devices, for walking through them */
	double work;
} placer;

static const char *named(const char *name) { return name ? name : "(unnamed)"; }

/* --- Memory --- */

static uint64_t room_of(const lw_placement_device *device)
{
	if (!device->memory)
		return UINT64_MAX;
	return device->memory > device->used ? device->memory - device->used : 0;
}

static uint64_t held(const placer *p, int parcel) { return 2 * p->problem->parcels[parcel].state_bytes; }

static void take(placer *p, int parcel, int device)
{
	if (p->room[device] != UINT64_MAX)
		p->room[device] -= held(p, parcel);
}

static void give(placer *p, int parcel, int device)
{
	if (p->room[device] != UINT64_MAX)
		p->room[device] += held(p, parcel);
}

static lw_status fail_memory(const lw_placement_problem *problem, int parcel, int device, uint64_t room)
{
	const lw_placement_parcel *p = &problem->parcels[parcel];

	return lw_fail(LW_E_MEMORY, "parcel %d %s: its optimizer state (twice %llu bytes) does not fit; device %s has the most room left, %llu bytes",
		       parcel, named(p->name), (unsigned long long)p->state_bytes, named(problem->devices[device].name),
		       (unsigned long long)room);
}

static lw_status check_devices(const lw_placement_problem *problem)
{
	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];
		if (device->memory && device->used > device->memory)
			return lw_fail(LW_E_MEMORY, "device %s: it needs %llu bytes before it owns anything, and has %llu", named(device->name),
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
		room[d] = room_of(&problem->devices[d]);
	for (size_t p = 0; p < problem->parcel_count && status == LW_OK; p++) {
		const lw_placement_parcel *parcel = &problem->parcels[p];
		const uint64_t bytes = 2 * parcel->state_bytes;

		if (owner[p] < 0 || owner[p] >= (int)problem->device_count)
			status = lw_fail(LW_E_ARGUMENT, "parcel %zu: there is no device %d", p, owner[p]);
		else if (parcel->fixed_owner >= 0 && owner[p] != parcel->fixed_owner)
			status = lw_fail(LW_E_ARGUMENT, "parcel %zu belongs to device %s", p, named(problem->devices[parcel->fixed_owner].name));
		else if (room[owner[p]] < bytes)
			status = fail_memory(problem, (int)p, owner[p], room[owner[p]]);
		else if (room[owner[p]] != UINT64_MAX)
			room[owner[p]] -= bytes;
	}
	free(room);
	return status;
}

/* --- Loads --- */

/* Adds the parcel to what the device does, or takes it away (sign -1). */
static void shift_load(const placer *p, load *l, int parcel, int device, double sign)
{
	const lw_placement_device *d = &p->problem->devices[device];
	const double copy = d->latency + (double)p->problem->parcels[parcel].bytes / d->link_bandwidth;

	l->update += sign * lw_placement_update_seconds(p->problem, device, parcel, p->lanes);
	/* what it owns it neither receives nor, from itself, sends as any other lane does */
	l->in += sign * copy * (lw_placement_clock_senders(p->clock, device) - lw_placement_clock_receives(p->clock, device));
	l->out += sign * copy * (lw_placement_clock_receivers(p->clock, device) - (double)d->is_lane);
}

static double load_value(const load *l)
{
	const double work = l->compute + l->update;

	return fmax(work, fmax(l->in, l->out)) + 0.01 * (l->update + l->in + l->out);
}

/* With no parcel of its own, every lane sends and every receiver gets all of them. */
static void reset_loads(placer *p)
{
	const lw_placement_problem *problem = p->problem;
	double bytes = 0;

	for (size_t i = 0; i < problem->parcel_count; i++)
		bytes += (double)problem->parcels[i].bytes;
	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];
		const double all = (double)problem->parcel_count * device->latency + bytes / device->link_bandwidth;

		p->loads[d] = (load){.compute = device->is_lane ? device->compute_seconds : 0,
				     .in = lw_placement_clock_receives(p->clock, (int)d) ? all : 0,
				     .out = device->is_lane ? all : 0};
		p->room[d] = room_of(device);
	}
}

static void put(placer *p, int parcel, int device)
{
	shift_load(p, &p->loads[device], parcel, device, 1);
	take(p, parcel, device);
	p->owner[parcel] = device;
}

static void lift(placer *p, int parcel)
{
	shift_load(p, &p->loads[p->owner[parcel]], parcel, p->owner[parcel], -1);
	give(p, parcel, p->owner[parcel]);
	p->owner[parcel] = -1;
}


static double value_with(const placer *p, int parcel, int device)
{
	load l = p->loads[device];

	shift_load(p, &l, parcel, device, 1);
	return load_value(&l);
}

/* --- The first placement --- */

typedef struct sized {
	double key;
	int index;
} sized;

static int compare_falling(const void *a, const void *b)
{
	const sized *x = a, *y = b;

	if (x->key != y->key)
		return x->key > y->key ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

/* Indices by falling key. */
static lw_status sort_falling(int *order, const double *keys, size_t count)
{
	sized *sorted = NULL;

	LW_TRY(lw_alloc(&sorted, count, sizeof *sorted));
	for (size_t i = 0; i < count; i++)
		sorted[i] = (sized){keys[i], (int)i};
	qsort(sorted, count, sizeof *sorted, compare_falling);
	for (size_t i = 0; i < count; i++)
		order[i] = sorted[i].index;
	free(sorted);
	return LW_OK;
}

static lw_status put_fixed(placer *p)
{
	for (size_t i = 0; i < p->problem->parcel_count; i++) {
		const int device = p->problem->parcels[i].fixed_owner;

		p->owner[i] = -1;
		if (device < 0)
			continue;
		if (p->room[device] < held(p, (int)i))
			return lw_fail(LW_E_MEMORY, "parcel %zu %s: its optimizer state (twice %llu bytes) does not fit on its device %s, which has %llu bytes left",
				       i, named(p->problem->parcels[i].name), (unsigned long long)p->problem->parcels[i].state_bytes,
				       named(p->problem->devices[device].name), (unsigned long long)p->room[device]);
		put(p, (int)i, device);
	}
	return LW_OK;
}

/* Largest first onto the device that ends soonest; false where one of them found no room. */
static bool place_greedily(placer *p, const int *order)
{
	for (size_t k = 0; k < p->problem->parcel_count; k++) {
		const int parcel = order[k];
		double best = INFINITY;
		int device = -1;

		if (p->owner[parcel] >= 0)
			continue;
		for (size_t d = 0; d < p->problem->device_count; d++) {
			double value;

			if (p->room[d] < held(p, parcel))
				continue;
			value = value_with(p, parcel, (int)d);
			if (value < best) {
				best = value;
				device = (int)d;
			}
		}
		if (device < 0)
			return false;
		put(p, parcel, device);
	}
	return true;
}

static int roomiest(const placer *p)
{
	int best = 0;

	for (size_t d = 1; d < p->problem->device_count; d++)
		if (p->room[d] > p->room[best])
			best = (int)d;
	return best;
}

/*
 * Where time alone led into a corner: most state first, each to the device with the most room, and back one step where
 * there is none. tried[k]: the devices that the k-th parcel was on, the k-th smallest room among them is what comes next.
 */
static lw_status pack(placer *p)
{
	const size_t count = p->problem->parcel_count, devices = p->problem->device_count;
	int *order = p->order, *next = NULL, worst = -1;
	double *state = NULL;
	uint64_t worst_room = 0;
	lw_status status;
	size_t free_count = 0, k = 0;
	int worst_device = 0, tries = 0;

	LW_GO(lw_alloc(&state, count, sizeof *state));
	LW_GO(lw_alloc(&next, count, sizeof *next));
	for (size_t i = 0; i < count; i++)
		state[i] = (double)p->problem->parcels[i].state_bytes;
	LW_GO(sort_falling(order, state, count));
	for (size_t i = 0; i < count; i++)
		if (p->problem->parcels[order[i]].fixed_owner < 0)
			order[free_count++] = order[i];
	while (k < free_count && tries++ < MAX_PACK) {
		const int parcel = order[k];

		if (next[k] == 0) { /* first the device with the most room, then all of them in order */
			const int device = roomiest(p);

			if (p->room[device] < held(p, parcel) && worst < (int)k) {
				worst = (int)k;
				worst_device = device;
				worst_room = p->room[device];
			}
		}
		if (p->owner[parcel] >= 0)
			lift(p, parcel);
		while (next[k] <= (int)devices) {
			const int device = next[k] == 0 ? roomiest(p) : next[k] - 1;

			next[k]++;
			if (p->room[device] >= held(p, parcel)) {
				put(p, parcel, device);
				break;
			}
		}
		if (p->owner[parcel] >= 0) {
			k++;
			continue;
		}
		next[k] = 0;
		if (k == 0)
			break;
		k--;
	}
	if (k < free_count)
		status = fail_memory(p->problem, order[worst < 0 ? 0 : worst], worst_device, worst_room);
out:
	free(state);
	free(next);
	return status;
}

/* --- Improving by loads: away from the device that ends last --- */

static int last_to_end(const placer *p)
{
	int worst = -1;

	for (size_t d = 0; d < p->problem->device_count; d++)
		if (worst < 0 || load_value(&p->loads[d]) > load_value(&p->loads[worst]))
			worst = (int)d;
	return worst;
}

static bool movable(const placer *p, int parcel) { return p->problem->parcels[parcel].fixed_owner < 0; }

/* The value of the later of two devices after a parcel went from one to the other, and another (or -1) back. */
static double value_of_exchange(const placer *p, int parcel, int other, int to)
{
	const int from = p->owner[parcel];
	load a = p->loads[from], b = p->loads[to];

	shift_load(p, &a, parcel, from, -1);
	shift_load(p, &b, parcel, to, 1);
	if (other >= 0) {
		shift_load(p, &a, other, from, 1);
		shift_load(p, &b, other, to, -1);
	}
	return fmax(load_value(&a), load_value(&b));
}

static bool exchange_fits(const placer *p, int parcel, int other, int to)
{
	const uint64_t a = held(p, parcel), b = other >= 0 ? held(p, other) : 0;
	const uint64_t room_to = p->room[to], room_from = p->room[p->owner[parcel]];

	return (room_to == UINT64_MAX || room_to + b >= a) && (room_from == UINT64_MAX || room_from + a >= b);
}

static void exchange(placer *p, int parcel, int other, int to)
{
	const int from = p->owner[parcel];

	lift(p, parcel);
	if (other >= 0) {
		lift(p, other);
		put(p, other, from);
	}
	put(p, parcel, to);
}

static bool balance_once(placer *p)
{
	const int worst = last_to_end(p), devices = (int)p->problem->device_count, parcels = (int)p->problem->parcel_count;
	double best = load_value(&p->loads[worst]) * (1 - 1e-9);
	int parcel = -1, other = -1, to = -1;

	for (int i = 0; i < parcels; i++) {
		if (p->owner[i] != worst || !movable(p, i))
			continue;
		for (int d = 0; d < devices; d++) {
			double value;

			if (d == worst || !exchange_fits(p, i, -1, d))
				continue;
			value = value_of_exchange(p, i, -1, d);
			if (value < best)
				best = value, parcel = i, other = -1, to = d;
		}
	}
	for (int i = 0; i < parcels && parcel < 0; i++) {
		if (p->owner[i] != worst || !movable(p, i))
			continue;
		for (int j = 0; j < parcels; j++) {
			double value;

			if (p->owner[j] == worst || !movable(p, j) || !exchange_fits(p, i, j, p->owner[j]))
				continue;
			value = value_of_exchange(p, i, j, p->owner[j]);
			if (value < best)
				best = value, parcel = i, other = j, to = p->owner[j];
		}
	}
	if (parcel < 0)
		return false;
	exchange(p, parcel, other, to);
	return true;
}

/* --- Improving by the clock --- */

/* What is made small: the makespan, and a little of when parcels arrive, so that there is a way on where it stays the same. */
static double time_it(placer *p, double *makespan)
{
	const size_t count = p->problem->parcel_count;
	double sum = 0;

	*makespan = lw_placement_clock_run(p->clock, p->owner, NULL, p->finish);
	p->work += (double)lw_placement_clock_cost(p->clock);
	for (size_t i = 0; i < count; i++)
		sum += p->finish[i];
	return *makespan + (count ? 1e-3 * sum / (double)count : 0);
}

static void keep(placer *p, double value, double makespan)
{
	p->best_value = value;
	p->best_makespan = makespan;
	memcpy(p->best, p->owner, p->problem->parcel_count * sizeof *p->best);
}

static bool tired(const placer *p)
{
	return p->work + (double)lw_placement_clock_cost(p->clock) > search_budget;
}

/* Tries one exchange: keeps it where it helps, else takes it back. */
static bool try_exchange(placer *p, double *value, int parcel, int other, int to)
{
	const int from = p->owner[parcel];
	double fresh, makespan;

	if (to == from || !exchange_fits(p, parcel, other, to) || tired(p))
		return false;
	exchange(p, parcel, other, to);
	fresh = time_it(p, &makespan);
	if (fresh < *value * (1 - 1e-9)) {
		*value = fresh;
		if (fresh < p->best_value)
			keep(p, fresh, makespan);
		return true;
	}
	exchange(p, parcel, other, from);
	return false;
}

/* One round over all parcels, those that arrive last first; whether any exchange helped. */
static bool improve_once(placer *p, double *value)
{
	const int devices = (int)p->problem->device_count, parcels = (int)p->problem->parcel_count;
	bool any = false;

	if (sort_falling(p->order, p->finish, (size_t)parcels) != LW_OK)
		return false; /* no memory to look further: what there is will do */
	for (int k = 0; k < parcels; k++) {
		const int parcel = p->order[k];

		if (!movable(p, parcel))
			continue;
		for (int d = 0; d < devices; d++)
			any |= try_exchange(p, value, parcel, -1, d);
		for (int j = 0; j < parcels; j++)
			if (movable(p, j) && p->owner[j] != p->owner[parcel])
				any |= try_exchange(p, value, parcel, j, p->owner[j]);
		if (tired(p))
			return false;
	}
	return any;
}

/* From the placement in owner: timed, and improved while that helps. */
static void improve(placer *p)
{
	double makespan, value = time_it(p, &makespan);

	if (value < p->best_value)
		keep(p, value, makespan);
	while (!tired(p) && improve_once(p, &value))
		;
}

/* --- All together --- */

static bool put_all(placer *p, int device)
{
	for (size_t i = 0; i < p->problem->parcel_count; i++) {
		if (p->owner[i] >= 0)
			continue;
		if (p->room[device] < held(p, (int)i))
			return false;
		put(p, (int)i, device);
	}
	return true;
}

/* A placement to start from: one by one by falling size, by readiness or in a mixed order; or all on one device. */
static bool start_from(placer *p, int start)
{
	const size_t count = p->problem->parcel_count;

	reset_loads(p);
	if (put_fixed(p) != LW_OK)
		return false;
	if (start >= 2 + MIXED_STARTS)
		return put_all(p, start - 2 - MIXED_STARTS);
	for (size_t i = 0; i < count; i++)
		p->finish[i] = start == 0   ? (double)p->problem->parcels[i].bytes
			       : start == 1 ? p->problem->parcels[i].ready
					    : lw_random_uniform(1, (uint32_t)start, i);
	return sort_falling(p->order, p->finish, count) == LW_OK && place_greedily(p, p->order);
}

static lw_status search(placer *p)
{
	const int devices = (int)p->problem->device_count;
	const int starts = 2 + MIXED_STARTS + (devices <= ALONE_STARTS ? devices : 0);

	reset_loads(p);
	LW_TRY(put_fixed(p));
	for (int start = 0; start < starts && (start == 0 || !tired(p)); start++) {
		if (!start_from(p, start)) {
			if (start > 0)
				continue;
			reset_loads(p);
			LW_TRY(put_fixed(p));
			LW_TRY(pack(p));
		}
		for (int i = 0; start < 2 + MIXED_STARTS && i < MAX_BALANCE && balance_once(p); i++)
			;
		improve(p);
	}
	return LW_OK;
}

lw_status lw_place(const lw_placement_problem *problem, int *owner, double *makespan)
{
	const size_t count = problem->parcel_count, devices = problem->device_count;
	placer p = {.problem = problem, .best_value = INFINITY};
	lw_status status;

	for (size_t d = 0; d < devices; d++)
		p.lanes += problem->devices[d].is_lane;
	LW_GO(lw_placement_clock_create(&p.clock, problem));
	LW_GO(check_devices(problem));
	LW_GO(lw_alloc(&p.loads, devices, sizeof *p.loads));
	LW_GO(lw_alloc(&p.room, devices, sizeof *p.room));
	LW_GO(lw_alloc(&p.owner, count, sizeof *p.owner));
	LW_GO(lw_alloc(&p.best, count, sizeof *p.best));
	LW_GO(lw_alloc(&p.finish, count, sizeof *p.finish));
	LW_GO(lw_alloc(&p.order, count, sizeof *p.order));
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
