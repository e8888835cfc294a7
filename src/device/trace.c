/* Traces: records of commands, completed when the commands are seen to have ended. */
#include "device/trace.h"
#include "device/backend.h"

#include <inttypes.h>
#include <math.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RECORDS = 1 << 18, CLOCK_LOOKS = 10 };

static int compare_texts(const void *a, const void *b) { return strcmp(a, b); }

/* The trace's own copy of a text: what it is given may not last as long. NULL stays NULL, as does what there is no memory for. */
static const char *keep(lw_trace *t, const char *text)
{
	char *copy, **found = text ? tfind(text, &t->texts, compare_texts) : NULL;

	if (found || !text)
		return found ? *found : NULL;
	copy = strdup(text);
	found = copy ? tsearch(copy, &t->texts, compare_texts) : NULL;
	if (!found)
		free(copy);
	return found ? *found : NULL;
}

static double host_time(const lw_trace_device *d, uint64_t time) { return d->origin + 1e-9 * (double)(int64_t)(time - d->base); }

/*
 * Puts a device's clock beside the host's: a command begins and ends between two looks at the host's, and the device says when.
 * Each narrows the bounds; where they contradict each other (rusticl of Mesa 22.3 says the same of all) the device has no clock.
 */
static lw_status compare_clocks(lw_trace_device *d)
{
	static const double granularity = 1e-4;
	double low = -INFINITY, high = INFINITY;
	lw_event *event = NULL;
	lw_queue *queue;
	lw_status status;

	LW_TRY(lw_queue_create(&queue, d->device));
	for (int look = 0; look < CLOCK_LOOKS; look++) {
		const double before = lw_now();
		double after;
		lw_times times;

		LW_GO(lw_queue_mark(queue, &event));
		LW_GO(lw_event_wait(event));
		after = lw_now();
		LW_GO(d->device->backend->event_times(event->handle, &times));
		lw_event_destroy(&event);
		if (look == 0)
			d->base = times.start;
		low = fmax(low, before - host_time(d, times.start));
		high = fmin(high, after - host_time(d, times.end));
	}
	if (low > high + granularity)
		status = lw_fail(LW_E_UNSUPPORTED, "the device does not tell when a command ran");
	d->origin = (low + high) / 2;
out:
	lw_event_destroy(&event);
	lw_queue_destroy(&queue);
	return status == LW_OK ? LW_OK : lw_fail_prefix(status, "trace of %s", lw_device_label(d->device));
}

lw_status lw_trace_create(lw_trace **trace, lw_device *const *devices, size_t count)
{
	lw_status status;
	lw_trace *t;

	*trace = NULL;
	for (size_t i = 0; i < count; i++)
		if (devices[i]->trace)
			return lw_fail(LW_E_ARGUMENT, "%s is being traced already", lw_device_label(devices[i]));
	LW_TRY(lw_alloc(&t, 1, sizeof *t));
	pthread_mutex_init(&t->lock, NULL);
	LW_GO(lw_alloc(&t->devices, count, sizeof *t->devices));
	for (size_t i = 0; i < count; i++) {
		t->devices[i].device = devices[i];
		LW_GO(compare_clocks(&t->devices[i]));
	}
	for (t->device_count = 0; t->device_count < count; t->device_count++)
		devices[t->device_count]->trace = t;
	t->began = lw_now();
	*trace = t;
	return LW_OK;
out:
	lw_trace_destroy(&t);
	return status;
}

void lw_trace_destroy(lw_trace **trace)
{
	lw_trace *t = *trace;

	if (!t)
		return;
	lw_trace_collect(t);
	for (size_t i = 0; i < t->lane_count; i++)
		if (t->lanes[i].queue)
			t->lanes[i].queue->lane = 0;
	for (size_t i = 0; i < t->device_count; i++)
		t->devices[i].device->trace = NULL;
	tdestroy(t->texts, free);
	pthread_mutex_destroy(&t->lock);
	free(t->devices);
	free(t->lanes);
	free(t->records);
	free(t);
	*trace = NULL;
}

void lw_trace_collect(lw_trace *t)
{
	for (size_t i = 0; i < t->lane_count; i++)
		if (t->lanes[i].queue)
			lw_queue_drain(t->lanes[i].queue);
}

/* --- With the trace's lock held --- */

/* Its number from 1; 0: no memory. */
static int add_lane(lw_trace *t, const lw_trace_lane *lane)
{
	if (!lane->name || lw_grow(&t->lanes, &t->lane_capacity, t->lane_count + 1, sizeof *t->lanes) != LW_OK)
		return 0;
	t->lanes[t->lane_count++] = *lane;
	return (int)t->lane_count;
}

/* The lane of a queue; one that was made in place of another takes its lane. */
static int lane_of_queue(lw_trace *t, lw_queue *queue)
{
	lw_trace_lane lane = {.queue = queue, .last_end = -INFINITY};
	int before = 0;
	char number[32];

	if (queue->lane)
		return queue->lane;
	while (t->devices[lane.device].device != queue->device)
		lane.device++;
	for (size_t i = 0; i < t->lane_count && !queue->lane; i++) {
		if (t->lanes[i].device != lane.device)
			continue;
		before++;
		if (queue->name && !t->lanes[i].queue && strcmp(t->lanes[i].name, queue->name) == 0) {
			t->lanes[i].queue = queue;
			queue->lane = (int)i + 1;
		}
	}
	snprintf(number, sizeof number, "queue %d", before + 1);
	if (!queue->lane) {
		lane.name = keep(t, queue->name ? queue->name : number);
		queue->lane = add_lane(t, &lane);
	}
	return queue->lane;
}

static int lane_of_thread(lw_trace *t)
{
	lw_trace_lane lane = {.device = -1, .thread = pthread_self()};
	int before = 0;
	char number[32];

	for (size_t i = 0; i < t->lane_count; i++) {
		if (t->lanes[i].device >= 0)
			continue;
		before++;
		if (pthread_equal(t->lanes[i].thread, lane.thread))
			return (int)i + 1;
	}
	snprintf(number, sizeof number, "thread %d", before + 1);
	lane.name = keep(t, number);
	return add_lane(t, &lane);
}

/* A record's number from 1; 0 where there is no room for it. lane: from 1. */
static size_t add_record(lw_trace *t, int lane, const lw_traced *record)
{
	if (!lane || !record->name || t->record_count == MOST_RECORDS ||
	    lw_grow(&t->records, &t->record_capacity, t->record_count + 1, sizeof *t->records) != LW_OK) {
		if (!t->left_out++)
			lw_log(LW_LOG_WARNING, "the trace has %zu records and takes no more: step %" PRId64 " is not recorded whole",
			       t->record_count, t->step);
		return 0;
	}
	t->records[t->record_count] = *record;
	t->records[t->record_count].lane = lane - 1;
	t->records[t->record_count].step = t->step;
	return ++t->record_count;
}

/* --- Steps, commands, waits --- */

void lw_trace_begin_step(lw_trace *t, int64_t step)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->recording = true;
	t->step = step;
	t->step_record = add_record(t, lane_of_thread(t), &(lw_traced){.kind = LW_TRACED_STEP, .name = keep(t, "step"), .awaited = -1,
								      .start = lw_now(), .end = NAN});
	pthread_mutex_unlock(&t->lock);
}

void lw_trace_end_step(lw_trace *t)
{
	if (!t)
		return;
	pthread_mutex_lock(&t->lock);
	t->recording = false;
	if (t->step_record)
		t->records[t->step_record - 1].end = lw_now();
	t->step_record = 0;
	pthread_mutex_unlock(&t->lock);
}

size_t lw_trace_command(lw_trace *t, lw_queue *queue, const lw_command *command)
{
	lw_traced record = {.kind = command->kind, .bytes = command->bytes, .start = lw_now(), .end = NAN, .awaited = -1};
	size_t number = 0;

	if (!command->name)
		return 0;
	pthread_mutex_lock(&t->lock);
	if (t->recording) {
		record.name = keep(t, command->name);
		record.label = (lw_label){keep(t, queue->label.layer), keep(t, queue->label.part), command->flops};
		if (queue->label.layer)
			record.label.flops = command->kind == LW_TRACED_LAUNCH ? queue->label.flops : 0;
		if (command->kind == LW_TRACED_LAUNCH)
			queue->label.flops = 0;
		if (command->awaited)
			record.awaited = command->awaited->lane - 1;
		number = add_record(t, lane_of_queue(t, queue), &record);
	}
	pthread_mutex_unlock(&t->lock);
	return number;
}

/* A wait begins, for a device, when it need wait no longer; here it begins when the queue has come to it. */
void lw_trace_ended(lw_trace *t, lw_event *event)
{
	lw_times times;

	if (event->queue->device->backend->event_times(event->handle, &times) == LW_OK) {
		pthread_mutex_lock(&t->lock);
		lw_traced *record = &t->records[event->record - 1];
		lw_trace_lane *lane = &t->lanes[record->lane];
		const lw_trace_device *d = &t->devices[lane->device];
		const double start = host_time(d, times.start), enqueued = record->start;

		record->start = record->kind == LW_TRACED_WAIT ? fmin(start, fmax(enqueued, lane->last_end)) : start;
		record->end = lane->last_end = host_time(d, times.end);
		pthread_mutex_unlock(&t->lock);
	}
	event->record = 0;
}

void lw_trace_host_wait(lw_trace *t, const lw_queue *queue, double start)
{
	pthread_mutex_lock(&t->lock);
	if (t->recording)
		add_record(t, lane_of_thread(t), &(lw_traced){.kind = LW_TRACED_HOST_WAIT, .name = keep(t, "wait"), .awaited = queue->lane - 1,
							      .start = start, .end = lw_now()});
	pthread_mutex_unlock(&t->lock);
}

void lw_trace_forget(lw_trace *t, lw_queue *queue)
{
	pthread_mutex_lock(&t->lock);
	if (queue->lane)
		t->lanes[queue->lane - 1].queue = NULL;
	queue->lane = 0;
	pthread_mutex_unlock(&t->lock);
}
