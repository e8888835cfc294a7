/*
 * A trace in Chrome's format, which Perfetto and chrome://tracing show: a process for the host and for each device, a lane
 * for each thread and queue.
 */
#include "device/trace.h"
#include <layerwise/report.h>

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Process 1 is the host. */
static json_t *process_of(const lw_trace_lane *lane) { return json_integer(lane->device + 2); }

/* Takes the name. */
static json_t *event_of(const lw_trace *t, int lane, const char *phase, json_t *name)
{
	return json_pack("{s:o, s:s, s:o, s:i}", "name", name, "ph", phase, "pid", process_of(&t->lanes[lane]), "tid", lane + 1);
}

static json_t *name_event(const lw_trace *t, int lane, const char *what, const char *name)
{
	json_t *event = event_of(t, lane, "M", json_string(what));

	json_object_set_new(event, "args", json_pack("{s:s}", "name", name));
	return event;
}

static const char *process_name(const lw_trace *t, const lw_trace_lane *lane)
{
	return lane->device < 0 ? "host" : lw_device_label(t->devices[lane->device].device);
}

static const char *category(lw_traced_kind kind)
{
	switch (kind) {
	case LW_TRACED_LAUNCH: return "launch";
	case LW_TRACED_TRANSFER: return "copy";
	case LW_TRACED_FILL: return "fill";
	case LW_TRACED_WAIT:
	case LW_TRACED_HOST_WAIT: return "wait";
	case LW_TRACED_STEP: return "step";
	}
	return "";
}

static json_t *arguments_of(const lw_trace *t, const lw_traced *r)
{
	json_t *object = json_pack("{s:I}", "step", (json_int_t)r->step);

	if (r->kind == LW_TRACED_LAUNCH)
		json_object_set_new(object, "kernel", json_string(r->name));
	if (r->kind == LW_TRACED_TRANSFER || r->kind == LW_TRACED_FILL)
		json_object_set_new(object, "bytes", json_integer((json_int_t)r->bytes));
	if (r->label.part)
		json_object_set_new(object, "part", json_string(r->label.part));
	if (r->awaited >= 0)
		json_object_set_new(object, "for", json_sprintf("%s, %s", process_name(t, &t->lanes[r->awaited]), t->lanes[r->awaited].name));
	return object;
}

/* Microseconds, to the nanosecond. */
static json_t *microseconds(double seconds) { return json_real(round(seconds * 1e9) / 1e3); }

static json_t *name_of(const lw_traced *r)
{
	if (r->kind == LW_TRACED_STEP)
		return json_sprintf("step %" PRId64, r->step);
	if (r->label.layer)
		return json_sprintf("%s %s", r->label.layer, r->kind == LW_TRACED_LAUNCH ? r->label.part : r->name);
	return json_string(r->name);
}

static json_t *record_event(const lw_trace *t, const lw_traced *r)
{
	json_t *event = event_of(t, r->lane, "X", name_of(r));

	json_object_set_new(event, "cat", json_string(category(r->kind)));
	json_object_set_new(event, "ts", microseconds(r->start - t->began));
	json_object_set_new(event, "dur", microseconds(r->end - r->start));
	json_object_set_new(event, "args", arguments_of(t, r));
	return event;
}

static lw_status write_text(lw_file *file, const char *text) { return lw_file_write(file, text, strlen(text)); }

/* Takes the event. */
static lw_status write_event(lw_file *file, const char *before, json_t *event)
{
	char *text = json_dumps(event, JSON_COMPACT | JSON_REAL_PRECISION(15));
	lw_status status = text ? write_text(file, before) : lw_fail(LW_E_MEMORY, "a trace could not be written as JSON");

	if (status == LW_OK)
		status = write_text(file, text);
	json_decref(event);
	free(text);
	return status;
}

static lw_status write_events(lw_file *file, const lw_trace *t)
{
	const char *before = "";

	LW_TRY(write_text(file, "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"));
	for (int i = 0; i < (int)t->lane_count; i++, before = ",\n") {
		const lw_trace_lane *lane = &t->lanes[i];

		LW_TRY(write_event(file, before, name_event(t, i, "process_name", process_name(t, lane))));
		LW_TRY(write_event(file, ",\n", name_event(t, i, "thread_name", lane->name)));
	}
	for (size_t i = 0; i < t->record_count; i++)
		if (!isnan(t->records[i].end)) /* else it failed */
			LW_TRY(write_event(file, ",\n", record_event(t, &t->records[i])));
	return LW_OK;
}

lw_status lw_report_trace(lw_trace *trace, const char *path)
{
	lw_file *file = NULL;
	char end[96];
	lw_status status;

	lw_trace_collect(trace);
	LW_GO(lw_file_begin_output(&file, path, 0644));
	LW_GO(write_events(file, trace));
	snprintf(end, sizeof end, "\n],\"otherData\":{\"version\":\"%s\",\"left_out\":%zu}}\n", lw_version(), trace->left_out);
	LW_GO(write_text(file, end));
	LW_GO(lw_file_commit(&file));
out:
	lw_file_abandon(&file);
	return status;
}
