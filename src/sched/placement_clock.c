/*
 * The time of a step under one placement: events in the order of time, and two cursors a device for its links.
 *
 * A run costs one small step per copy, because copies of a parcel from lanes of about the same pace are one event: ten
 * million of them (1,024 devices, 10,000 parcels) take some tens of milliseconds. Inside, devices are numbered
 * anew: lanes first, by pace, so that each such event walks through adjoining memory.
 */
#include "sched/placement.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CLASSES = 16 };

typedef enum event_kind {
	GRADIENTS, /* a class of lanes has computed a parcel */
	RECEIVE,   /* the first of their copies reaches the owner */
	UPDATE,    /* all lanes' gradients are there */
	SPREAD     /* updated: the parameters go out */
} event_kind;

typedef struct event {
	double time;
	uint64_t order; /* where times are equal */
	double last;    /* of receive: when the last copy could be there */
	int parcel, detail; /* detail: the class, or how many copies */
} event;

/* A device as the clock sees it. */
typedef struct station {
	int domain, index; /* index: in the problem */
	double compute, latency, seconds_per_byte;
	double delay; /* by updates, so far */
	double in_free, out_free, update_free;
	double in_busy, out_busy, update_busy;
} station;

struct lw_placement_clock {
	const lw_placement_problem *problem;
	station *stations;
	int *station_of; /* by device */
	int device_count, lane_count, domain_count;
	int class_count, class_begin[MAX_CLASSES + 1];
	int *order;       /* parcels by readiness */
	int next[MAX_CLASSES]; /* in order, by class */
	int *receivers;   /* a station for each domain that has lanes, by domain; receiver_count */
	int receiver_count;
	int *receiver_at; /* by domain: its position among receivers, or that of the next */
	int *lanes_in;    /* by domain */
	int *waiting;     /* by parcel: classes that have not arrived */
	double *gathered; /* by parcel */
	event *heap;
	size_t heap_count;
};

/* --- The heap of events --- */

static bool earlier(const event *a, const event *b) { return a->time < b->time || (a->time == b->time && a->order < b->order); }

static void push(lw_placement_clock *clock, event_kind kind, double time, double last, int parcel, int detail)
{
	const event fresh = {.time = time,
			     .order = (uint64_t)kind << 60 | (uint64_t)(uint32_t)parcel << 24 | (uint64_t)(uint32_t)(detail & 0xffffff),
			     .last = last,
			     .parcel = parcel,
			     .detail = detail};
	size_t at = clock->heap_count++;

	while (at > 0 && earlier(&fresh, &clock->heap[(at - 1) / 2])) {
		clock->heap[at] = clock->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	clock->heap[at] = fresh;
}

static event pop(lw_placement_clock *clock)
{
	event *heap = clock->heap;
	const event top = heap[0], last = heap[--clock->heap_count];
	size_t at = 0, count = clock->heap_count;

	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= count)
			break;
		child += child + 1 < count && earlier(&heap[child + 1], &heap[child]);
		if (!earlier(&heap[child], &last))
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = last;
	return top;
}

/* --- What happens --- */

static double copy_seconds(const station *s, double bytes) { return s->latency + bytes * s->seconds_per_byte; }

/* The class's next parcel, when the first of its lanes has it. */
static void push_gradients(lw_placement_clock *clock, int class)
{
	const station *first = &clock->stations[clock->class_begin[class]];
	int parcel;

	if (clock->next[class] >= (int)clock->problem->parcel_count)
		return;
	parcel = clock->order[clock->next[class]++];
	push(clock, GRADIENTS, clock->problem->parcels[parcel].ready * first->compute, 0, parcel, class);
}

/* The lanes' links out take up the parcel. */
static void gradients(lw_placement_clock *clock, const event *e, const station *owner)
{
	const lw_placement_parcel *parcel = &clock->problem->parcels[e->parcel];
	const double bytes = (double)parcel->bytes, receiving = copy_seconds(owner, bytes);
	double first = INFINITY, last = e->time;
	int copies = 0;

	for (int i = clock->class_begin[e->detail]; i < clock->class_begin[e->detail + 1]; i++) {
		station *lane = &clock->stations[i];
		const double ready = parcel->ready * lane->compute + lane->delay;
		double start, seconds, end;

		if (lane->domain == owner->domain) {
			last = ready > last ? ready : last;
			continue;
		}
		start = ready > lane->out_free ? ready : lane->out_free;
		seconds = copy_seconds(lane, bytes);
		lane->out_free = start + seconds;
		lane->out_busy += seconds;
		first = start < first ? start : first;
		end = start + (seconds > receiving ? seconds : receiving);
		last = end > last ? end : last;
		copies++;
	}
	push(clock, RECEIVE, first < last ? first : last, last, e->parcel, copies);
	push_gradients(clock, e->detail);
}

static void receive(lw_placement_clock *clock, const event *e, station *owner)
{
	const double work = e->detail * copy_seconds(owner, (double)clock->problem->parcels[e->parcel].bytes);
	double end = e->last;

	if (e->detail > 0) {
		const double start = e->time > owner->in_free ? e->time : owner->in_free;
		end = start + work > end ? start + work : end;
		owner->in_free = end;
		owner->in_busy += work;
	}
	if (end > clock->gathered[e->parcel])
		clock->gathered[e->parcel] = end;
	if (--clock->waiting[e->parcel] == 0)
		push(clock, UPDATE, clock->gathered[e->parcel], 0, e->parcel, 0);
}

static void update(lw_placement_clock *clock, const event *e, station *owner, lw_placement_timeline *timeline)
{
	const double seconds = lw_placement_update_seconds(clock->problem, owner->index, e->parcel, clock->lane_count);
	const double start = e->time > owner->update_free ? e->time : owner->update_free;

	owner->update_free = start + seconds;
	owner->update_busy += seconds;
	if (start < owner->compute + owner->delay)
		owner->delay += seconds;
	if (timeline) {
		timeline->parcels[e->parcel].gathered = e->time;
		timeline->parcels[e->parcel].update_start = start;
		timeline->parcels[e->parcel].update_end = owner->update_free;
	}
	push(clock, SPREAD, owner->update_free, 0, e->parcel, 0);
}

/* To every other domain, beginning with the one after the owner's, so that owners do not all send to the same one. */
static double spread(lw_placement_clock *clock, const event *e, station *owner)
{
	const double bytes = (double)clock->problem->parcels[e->parcel].bytes, seconds = copy_seconds(owner, bytes);
	const int count = clock->receiver_count;
	double start = e->time > owner->out_free ? e->time : owner->out_free, end = e->time;

	for (int k = 0, at = clock->receiver_at[owner->domain]; k < count; k++, at++) {
		station *receiver = &clock->stations[clock->receivers[at < count ? at : at - count]];
		double own, done, begin;

		if (receiver->domain == owner->domain)
			continue;
		own = copy_seconds(receiver, bytes);
		begin = start > receiver->in_free ? start : receiver->in_free;
		done = begin + own;
		start += seconds;
		done = start > done ? start : done;
		receiver->in_free = done;
		receiver->in_busy += own;
		owner->out_busy += seconds;
		owner->out_free = start;
		end = done > end ? done : end;
	}
	return end;
}

static void reset(lw_placement_clock *clock)
{
	for (int i = 0; i < clock->device_count; i++) {
		station *s = &clock->stations[i];
		s->delay = s->in_free = s->out_free = s->update_free = s->in_busy = s->out_busy = s->update_busy = 0;
	}
	for (size_t p = 0; p < clock->problem->parcel_count; p++) {
		clock->waiting[p] = clock->class_count;
		clock->gathered[p] = 0;
	}
	clock->heap_count = 0;
	for (int class = 0; class < clock->class_count; class++) {
		clock->next[class] = 0;
		push_gradients(clock, class);
	}
}

static double finish_loads(const lw_placement_clock *clock, double makespan, lw_placement_timeline *timeline)
{
	for (int i = 0; i < clock->device_count; i++) {
		const station *s = &clock->stations[i];
		const double compute_end = i < clock->lane_count ? s->compute + s->delay : 0;

		makespan = compute_end > makespan ? compute_end : makespan;
		if (timeline)
			timeline->devices[s->index] = (lw_placement_load){
				.compute_end = compute_end, .update = s->update_busy, .in = s->in_busy, .out = s->out_busy};
	}
	return makespan;
}

static double bytes_moved(const lw_placement_clock *clock, const int *owner)
{
	double bytes = 0;

	for (size_t p = 0; p < clock->problem->parcel_count; p++)
		bytes += (double)clock->problem->parcels[p].bytes * (lw_placement_clock_senders(clock, owner[p]) +
								     lw_placement_clock_receivers(clock, owner[p]));
	return bytes;
}

double lw_placement_clock_run(lw_placement_clock *clock, const int *owner, lw_placement_timeline *timeline, double *finish)
{
	double makespan = 0;

	reset(clock);
	while (clock->heap_count > 0) {
		const event e = pop(clock);
		station *own = &clock->stations[clock->station_of[owner[e.parcel]]];
		double end;

		switch ((event_kind)(e.order >> 60)) {
		case GRADIENTS: gradients(clock, &e, own); break;
		case RECEIVE: receive(clock, &e, own); break;
		case UPDATE: update(clock, &e, own, timeline); break;
		case SPREAD:
			end = spread(clock, &e, own);
			makespan = end > makespan ? end : makespan;
			if (finish)
				finish[e.parcel] = end;
			if (timeline)
				timeline->parcels[e.parcel].spread = end;
			break;
		}
	}
	makespan = finish_loads(clock, makespan, timeline);
	if (timeline) {
		timeline->makespan = makespan;
		timeline->bytes_moved = bytes_moved(clock, owner);
	}
	return makespan;
}

double lw_placement_update_seconds(const lw_placement_problem *problem, int device, int parcel, int lanes)
{
	const lw_placement_parcel *p = &problem->parcels[parcel];

	return ((double)p->update_bytes + (double)p->bytes * (lanes - 1)) / problem->devices[device].update_bandwidth;
}

int lw_placement_clock_senders(const lw_placement_clock *clock, int device)
{
	return clock->lane_count - clock->lanes_in[clock->stations[clock->station_of[device]].domain];
}

int lw_placement_clock_receivers(const lw_placement_clock *clock, int device)
{
	return clock->receiver_count - (clock->lanes_in[clock->stations[clock->station_of[device]].domain] > 0);
}

bool lw_placement_clock_receives(const lw_placement_clock *clock, int device)
{
	const int own = clock->station_of[device], at = clock->receiver_at[clock->stations[own].domain];

	return at < clock->receiver_count && clock->receivers[at] == own;
}

size_t lw_placement_clock_cost(const lw_placement_clock *clock)
{
	return clock->problem->parcel_count *
		       ((size_t)clock->lane_count + (size_t)clock->receiver_count + 16 * (size_t)(clock->class_count + 1)) +
	       (size_t)clock->device_count + 1;
}

/* --- Made once --- */

typedef struct sortable {
	double first, second;
	int index;
} sortable;

static int compare(const void *a, const void *b)
{
	const sortable *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->second != y->second)
		return x->second < y->second ? -1 : 1;
	return x->index < y->index ? -1 : x->index > y->index;
}

static lw_status order_parcels(lw_placement_clock *clock)
{
	const lw_placement_problem *problem = clock->problem;
	sortable *sorted = NULL;

	LW_TRY(lw_alloc(&sorted, problem->parcel_count, sizeof *sorted));
	for (size_t p = 0; p < problem->parcel_count; p++)
		sorted[p] = (sortable){problem->parcels[p].ready, 0, (int)p};
	qsort(sorted, problem->parcel_count, sizeof *sorted, compare);
	for (size_t p = 0; p < problem->parcel_count; p++)
		clock->order[p] = sorted[p].index;
	free(sorted);
	return LW_OK;
}

/* Lanes first, by pace and then by link. */
static lw_status number_stations(lw_placement_clock *clock)
{
	const lw_placement_problem *problem = clock->problem;
	sortable *sorted = NULL;

	LW_TRY(lw_alloc(&sorted, problem->device_count, sizeof *sorted));
	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];
		sorted[d] = (sortable){device->is_lane ? device->compute_seconds : INFINITY, 1 / device->link_bandwidth, (int)d};
		clock->lane_count += device->is_lane;
	}
	qsort(sorted, problem->device_count, sizeof *sorted, compare);
	for (size_t i = 0; i < problem->device_count; i++) {
		const lw_placement_device *device = &problem->devices[sorted[i].index];
		clock->station_of[sorted[i].index] = (int)i;
		clock->stations[i] = (station){.index = sorted[i].index,
					       .compute = device->is_lane ? device->compute_seconds : 0,
					       .latency = device->latency,
					       .seconds_per_byte = 1 / device->link_bandwidth};
	}
	free(sorted);
	return LW_OK;
}

static bool same_pace(const station *a, const station *b)
{
	return a->compute == b->compute && a->seconds_per_byte == b->seconds_per_byte && a->latency == b->latency;
}

/* Where there are more paces than classes, neighbours share one. */
static void make_classes(lw_placement_clock *clock)
{
	int paces = 0, seen = 0;

	for (int i = 0; i < clock->lane_count; i++)
		paces += i == 0 || !same_pace(&clock->stations[i - 1], &clock->stations[i]);
	clock->class_count = 0;
	for (int i = 0; i < clock->lane_count; i++) {
		bool fresh = i == 0 || !same_pace(&clock->stations[i - 1], &clock->stations[i]);

		if (fresh && (paces <= MAX_CLASSES || (int64_t)seen * MAX_CLASSES >= (int64_t)clock->class_count * paces))
			clock->class_begin[clock->class_count++] = i;
		seen += fresh;
	}
	clock->class_begin[clock->class_count] = clock->lane_count;
}

/* Domains by 0, 1, ... in the order of the problem's devices. */
static lw_status number_domains(lw_placement_clock *clock)
{
	const lw_placement_problem *problem = clock->problem;
	sortable *sorted = NULL;
	int domain = -1;

	LW_TRY(lw_alloc(&sorted, problem->device_count, sizeof *sorted));
	for (size_t d = 0; d < problem->device_count; d++)
		sorted[d] = (sortable){problem->devices[d].domain, 0, (int)d};
	qsort(sorted, problem->device_count, sizeof *sorted, compare);
	for (size_t i = 0; i < problem->device_count; i++) {
		domain += i == 0 || sorted[i].first != sorted[i - 1].first;
		clock->stations[clock->station_of[sorted[i].index]].domain = domain;
		clock->lanes_in[domain] += problem->devices[sorted[i].index].is_lane;
	}
	clock->domain_count = domain + 1;
	for (domain = 0; domain < clock->domain_count; domain++) {
		clock->receiver_at[domain] = clock->receiver_count;
		clock->receiver_count += clock->lanes_in[domain] > 0;
	}
	for (int i = (int)problem->device_count - 1; i >= 0; i--) { /* the first lane of a domain stays */
		int device = sorted[i].index, own = clock->station_of[device];
		if (problem->devices[device].is_lane)
			clock->receivers[clock->receiver_at[clock->stations[own].domain]] = own;
	}
	free(sorted);
	return LW_OK;
}

static lw_status check_problem(const lw_placement_problem *problem)
{
	bool any = false;

	for (size_t d = 0; d < problem->device_count; d++) {
		const lw_placement_device *device = &problem->devices[d];

		any |= device->is_lane;
		if (!(device->update_bandwidth > 0) || !(device->link_bandwidth > 0))
			return lw_fail(LW_E_ARGUMENT, "device %s: its bandwidths must be above 0", device->name ? device->name : "");
		if (!(device->latency >= 0) || (device->is_lane && !(device->compute_seconds >= 0 && isfinite(device->compute_seconds))))
			return lw_fail(LW_E_ARGUMENT, "device %s: its times must be 0 or more", device->name ? device->name : "");
	}
	if (!any)
		return lw_fail(LW_E_ARGUMENT, "there is no device that computes");
	if (problem->device_count > 1 << 22 || problem->parcel_count > 1 << 28)
		return lw_fail(LW_E_ARGUMENT, "%zu devices and %zu parcels are too many", problem->device_count, problem->parcel_count);
	for (size_t p = 0; p < problem->parcel_count; p++) {
		const lw_placement_parcel *parcel = &problem->parcels[p];

		if (!(parcel->ready >= 0 && parcel->ready <= 1))
			return lw_fail(LW_E_ARGUMENT, "parcel %zu: ready is %g; 0 to 1 was expected", p, parcel->ready);
		if (parcel->fixed_owner < -1 || parcel->fixed_owner >= (int)problem->device_count)
			return lw_fail(LW_E_ARGUMENT, "parcel %zu: there is no device %d", p, parcel->fixed_owner);
	}
	return LW_OK;
}

lw_status lw_placement_clock_create(lw_placement_clock **result, const lw_placement_problem *problem)
{
	const size_t devices = problem->device_count, parcels = problem->parcel_count;
	lw_placement_clock *clock = NULL;
	lw_status status;

	*result = NULL;
	LW_TRY(check_problem(problem));
	LW_TRY(lw_alloc(&clock, 1, sizeof *clock));
	clock->problem = problem;
	clock->device_count = (int)devices;
	LW_GO(lw_alloc(&clock->stations, devices, sizeof *clock->stations));
	LW_GO(lw_alloc(&clock->station_of, devices, sizeof(int)));
	LW_GO(lw_alloc(&clock->receivers, devices, sizeof(int)));
	LW_GO(lw_alloc(&clock->receiver_at, devices, sizeof(int)));
	LW_GO(lw_alloc(&clock->lanes_in, devices, sizeof(int)));
	LW_GO(lw_alloc(&clock->order, parcels, sizeof(int)));
	LW_GO(lw_alloc(&clock->waiting, parcels, sizeof(int)));
	LW_GO(lw_alloc(&clock->gathered, parcels, sizeof(double)));
	LW_GO(number_stations(clock));
	LW_GO(number_domains(clock));
	make_classes(clock);
	LW_GO(order_parcels(clock));
	/* a parcel and a class have at most one event on the way, and a parcel one more */
	LW_GO(lw_alloc(&clock->heap, (parcels + 1) * (size_t)(clock->class_count + 1), sizeof *clock->heap));
	*result = clock;
	return LW_OK;
out:
	lw_placement_clock_destroy(&clock);
	return status;
}

void lw_placement_clock_destroy(lw_placement_clock **clock)
{
	lw_placement_clock *c = *clock;

	if (!c)
		return;
	free(c->stations);
	free(c->station_of);
	free(c->receivers);
	free(c->receiver_at);
	free(c->lanes_in);
	free(c->order);
	free(c->waiting);
	free(c->gathered);
	free(c->heap);
	free(c);
	*clock = NULL;
}
