/*
 * A first placement: parcels one by one, largest first or in another order, onto the device that ends soonest by the sum of
 * what its links, its updates and its own computing take (loads: they do not know of waiting); then moves and swaps away
 * from the device that ends last. No step is timed here.
 */
#include "sched/placer.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Iterations of the improvement by loads; choices tried to make all state fit. */
enum { MAX_BALANCE = 400, MAX_PACK = 200000 };

/* --- Memory --- */

uint64_t lw_placer_room(const lw_placement_device *device)
{
	if (!device->memory)
		return UINT64_MAX;
	return device->memory > device->used ? device->memory - device->used : 0;
}

static uint64_t held(const lw_placer *p, int parcel) { return 2 * p->problem->parcels[parcel].state_bytes; }

static void take(lw_placer *p, int parcel, int device)
{
	if (p->room[device] != UINT64_MAX)
		p->room[device] -= held(p, parcel);
}

static void give(lw_placer *p, int parcel, int device)
{
	if (p->room[device] != UINT64_MAX)
		p->room[device] += held(p, parcel);
}

lw_status lw_placer_fail_memory(const lw_placement_problem *problem, int parcel, int device, uint64_t room)
{
	const lw_placement_parcel *p = &problem->parcels[parcel];

	return lw_fail(LW_E_MEMORY, "parcel %d %s: its optimizer state (twice %llu bytes) does not fit; device %s has the most room left, %llu bytes",
		       parcel, lw_placer_named(p->name), (unsigned long long)p->state_bytes, lw_placer_named(problem->devices[device].name),
		       (unsigned long long)room);
}

/* --- Loads --- */

/* Adds the parcel to what the device does, or takes it away (sign -1). */
static void shift_load(const lw_placer *p, lw_load *l, int parcel, int device, double sign)
{
	const lw_placement_device *d = &p->problem->devices[device];
	const double copy = d->latency + (double)p->problem->parcels[parcel].bytes / d->link_bandwidth;

	l->update += sign * lw_placement_update_seconds(p->problem, device, parcel, p->lanes);
	/* what it owns it neither receives nor, from itself, sends as any other lane does */
	l->in += sign * copy * (lw_placement_clock_senders(p->clock, device) - lw_placement_clock_receives(p->clock, device));
	l->out += sign * copy * (lw_placement_clock_receivers(p->clock, device) - (double)d->is_lane);
}

static double load_value(const lw_load *l)
{
	const double work = l->compute + l->update;

	return fmax(work, fmax(l->in, l->out)) + 0.01 * (l->update + l->in + l->out);
}

/* With no parcel of its own, every lane sends and every receiver gets all of them. */
static void reset_loads(lw_placer *p)
{
	const lw_placement_problem *problem = p->problem;
	double bytes = 0;

	for (size_t i = 0; i < problem->parcel_count; i++)
		bytes += (double)problem->parcels[i].bytes;
	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];
		const double all = (double)problem->parcel_count * device->latency + bytes / device->link_bandwidth;

		p->loads[d] = (lw_load){.compute = device->is_lane ? device->compute_seconds : 0,
				     .in = lw_placement_clock_receives(p->clock, (int)d) ? all : 0,
				     .out = device->is_lane ? all : 0};
		p->room[d] = lw_placer_room(device);
	}
}

void lw_placer_put(lw_placer *p, int parcel, int device)
{
	shift_load(p, &p->loads[device], parcel, device, 1);
	take(p, parcel, device);
	p->owner[parcel] = device;
}

static void lift(lw_placer *p, int parcel)
{
	shift_load(p, &p->loads[p->owner[parcel]], parcel, p->owner[parcel], -1);
	give(p, parcel, p->owner[parcel]);
	p->owner[parcel] = -1;
}


/* When the parcel is with all lanes if the device has nothing else to do: a late one wants a fast owner. */
static double alone(const lw_placer *p, int parcel, int device)
{
	const lw_placement_device *d = &p->problem->devices[device];
	const double copy = d->latency + (double)p->problem->parcels[parcel].bytes / d->link_bandwidth;
	const int copies = lw_placement_clock_senders(p->clock, device) + lw_placement_clock_receivers(p->clock, device);

	return p->problem->parcels[parcel].ready * p->slowest + copies * copy +
	       lw_placement_update_seconds(p->problem, device, parcel, p->lanes);
}

static double value_with(const lw_placer *p, int parcel, int device)
{
	lw_load l = p->loads[device];

	shift_load(p, &l, parcel, device, 1);
	return p->mind_late ? fmax(load_value(&l), alone(p, parcel, device)) : load_value(&l);
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
lw_status lw_placer_sort(int *order, const double *keys, size_t count)
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

lw_status lw_placer_reset(lw_placer *p)
{
	reset_loads(p);
	for (size_t i = 0; i < p->problem->parcel_count; i++) {
		const int device = p->problem->parcels[i].fixed_owner;

		p->owner[i] = -1;
		if (device < 0)
			continue;
		if (p->room[device] < held(p, (int)i))
			return lw_fail(LW_E_MEMORY, "parcel %zu %s: its optimizer state (twice %llu bytes) does not fit on its device %s, which has %llu bytes left",
				       i, lw_placer_named(p->problem->parcels[i].name), (unsigned long long)p->problem->parcels[i].state_bytes,
				       lw_placer_named(p->problem->devices[device].name), (unsigned long long)p->room[device]);
		lw_placer_put(p, (int)i, device);
	}
	return LW_OK;
}

/* Largest first onto the device that ends soonest; false where one of them found no room. */
static bool place_greedily(lw_placer *p, const int *order)
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
		lw_placer_put(p, parcel, device);
	}
	return true;
}

static int roomiest(const lw_placer *p)
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
lw_status lw_placer_pack(lw_placer *p)
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
	LW_GO(lw_placer_sort(order, state, count));
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
				lw_placer_put(p, parcel, device);
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
		status = lw_placer_fail_memory(p->problem, order[worst < 0 ? 0 : worst], worst_device, worst_room);
out:
	free(state);
	free(next);
	return status;
}

/* --- Improving by loads: away from the device that ends last --- */

static int last_to_end(const lw_placer *p)
{
	int worst = -1;

	for (size_t d = 0; d < p->problem->device_count; d++)
		if (worst < 0 || load_value(&p->loads[d]) > load_value(&p->loads[worst]))
			worst = (int)d;
	return worst;
}

/* The value of the later of two devices after a parcel went from one to the other, and another (or -1) back. */
static double value_of_exchange(const lw_placer *p, int parcel, int other, int to)
{
	const int from = p->owner[parcel];
	lw_load a = p->loads[from], b = p->loads[to];

	shift_load(p, &a, parcel, from, -1);
	shift_load(p, &b, parcel, to, 1);
	if (other >= 0) {
		shift_load(p, &a, other, from, 1);
		shift_load(p, &b, other, to, -1);
	}
	return fmax(load_value(&a), load_value(&b));
}

bool lw_placer_fits(const lw_placer *p, int parcel, int other, int to)
{
	const uint64_t a = held(p, parcel), b = other >= 0 ? held(p, other) : 0;
	const uint64_t room_to = p->room[to], room_from = p->room[p->owner[parcel]];

	return (room_to == UINT64_MAX || room_to + b >= a) && (room_from == UINT64_MAX || room_from + a >= b);
}

void lw_placer_exchange(lw_placer *p, int parcel, int other, int to)
{
	const int from = p->owner[parcel];

	lift(p, parcel);
	if (other >= 0) {
		lift(p, other);
		lw_placer_put(p, other, from);
	}
	lw_placer_put(p, parcel, to);
}

static bool balance_once(lw_placer *p)
{
	const int worst = last_to_end(p), devices = (int)p->problem->device_count, parcels = (int)p->problem->parcel_count;
	double best = load_value(&p->loads[worst]) * (1 - 1e-9);
	int parcel = -1, other = -1, to = -1;

	for (int i = 0; i < parcels; i++) {
		if (p->owner[i] != worst || !lw_placer_movable(p, i))
			continue;
		for (int d = 0; d < devices; d++) {
			double value;

			if (d == worst || !lw_placer_fits(p, i, -1, d))
				continue;
			value = value_of_exchange(p, i, -1, d);
			if (value < best)
				best = value, parcel = i, other = -1, to = d;
		}
	}
	for (int i = 0; i < parcels && parcel < 0; i++) {
		if (p->owner[i] != worst || !lw_placer_movable(p, i))
			continue;
		for (int j = 0; j < parcels; j++) {
			double value;

			if (p->owner[j] == worst || !lw_placer_movable(p, j) || !lw_placer_fits(p, i, j, p->owner[j]))
				continue;
			value = value_of_exchange(p, i, j, p->owner[j]);
			if (value < best)
				best = value, parcel = i, other = j, to = p->owner[j];
		}
	}
	if (parcel < 0)
		return false;
	lw_placer_exchange(p, parcel, other, to);
	return true;
}

/* --- Ways to begin --- */

static bool put_all(lw_placer *p, int device)
{
	for (size_t i = 0; i < p->problem->parcel_count; i++) {
		if (p->owner[i] >= 0)
			continue;
		if (p->room[device] < held(p, (int)i))
			return false;
		lw_placer_put(p, (int)i, device);
	}
	return true;
}

/* A placement to start from: one by one by falling size, by readiness or in a mixed order; or all on one device. */
static bool start_from(lw_placer *p, int start)
{
	const size_t count = p->problem->parcel_count;

	if (lw_placer_reset(p) != LW_OK)
		return false;
	if (start >= LW_ORDERED_STARTS + LW_MIXED_STARTS)
		return put_all(p, start - LW_ORDERED_STARTS - LW_MIXED_STARTS);
	p->mind_late = start % 2;
	for (size_t i = 0; i < count; i++)
		p->finish[i] = start < 2		? (double)p->problem->parcels[i].bytes
			       : start < LW_ORDERED_STARTS ? p->problem->parcels[i].ready
							: lw_random_uniform(1, (uint32_t)start, i);
	return lw_placer_sort(p->order, p->finish, count) == LW_OK && place_greedily(p, p->order);
}

/* The same, improved by loads. */
bool lw_placer_begin(lw_placer *p, int start)
{
	if (!start_from(p, start))
		return false;
	for (int i = 0; start < LW_ORDERED_STARTS + LW_MIXED_STARTS && i < MAX_BALANCE && balance_once(p); i++)
		;
	return true;
}

