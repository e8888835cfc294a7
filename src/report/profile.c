/* Where steps' time goes, from a trace of them. */
#include "device/trace.h"
#include <layerwise/report.h>

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A layer's part of the steps (or a kind of transfer) on one device; device -1, layer NULL: of all. */
typedef struct row {
	int device;
	const char *layer, *part;
	double seconds, flops;
} row;

typedef struct rows {
	row *rows; /* as they first came */
	size_t count, capacity;
} rows;

typedef struct span {
	double start, end;
} span;

typedef struct profile {
	const lw_trace *trace;
	span *steps;
	size_t step_count;
	int64_t first_step;
	double seconds; /* of all steps */
	rows parts, sums;
	double *idle; /* share of the steps, by lane */
	double moved, hidden; /* seconds of transfers and updates, and of those beside other work */
} profile;

/* --- Counting --- */

static bool of_device(const profile *p, const lw_traced *r) { return p->trace->lanes[r->lane].device >= 0 && !isnan(r->end); }

/* What a device did in the steps that are looked at, apart from waiting. */
static bool is_work(const profile *p, const lw_traced *r)
{
	return of_device(p, r) && r->kind != LW_TRACED_WAIT && r->step >= p->first_step;
}

/* The steps as the host saw them; simulated devices have a time of their own, in which a step is what they did in it. */
static lw_status find_steps(profile *p)
{
	const lw_trace *t = p->trace;
	const bool simulated = lw_device_get_info(t->devices[0].device)->type == LW_DEVICE_SIMULATED;
	size_t count = 0, first;

	LW_TRY(lw_alloc(&p->steps, t->record_count, sizeof *p->steps));
	for (size_t i = 0; i < t->record_count; i++) {
		const lw_traced *r = &t->records[i];

		if (r->kind == LW_TRACED_STEP) {
			p->steps[count++] = simulated ? (span){INFINITY, -INFINITY} : (span){r->start, r->end};
			if (count <= 2) /* the first compiled kernels, if there are others */
				p->first_step = r->step;
		} else if (simulated && count && of_device(p, r)) {
			p->steps[count - 1].start = fmin(p->steps[count - 1].start, r->start);
			p->steps[count - 1].end = fmax(p->steps[count - 1].end, r->end);
		}
	}
	first = count > 1;
	for (size_t i = first; i < count; i++)
		if (p->steps[i].end > p->steps[i].start) { /* else it failed */
			p->steps[p->step_count++] = p->steps[i];
			p->seconds += p->steps[i].end - p->steps[i].start;
		}
	return p->step_count ? LW_OK : lw_fail(LW_E_ARGUMENT, "no step was recorded, so there is no profile");
}

/* Texts are the trace's or literals, so that equal ones are one. */
static lw_status add(rows *list, const row *one)
{
	size_t i = 0;

	while (i < list->count &&
	       (list->rows[i].device != one->device || list->rows[i].layer != one->layer || list->rows[i].part != one->part))
		i++;
	if (i == list->count) {
		LW_TRY(lw_grow(&list->rows, &list->capacity, i + 1, sizeof *list->rows));
		list->rows[list->count++] = (row){one->device, one->layer, one->part, 0, 0};
	}
	list->rows[i].seconds += one->seconds;
	list->rows[i].flops += one->flops;
	return LW_OK;
}

static lw_status add_parts(profile *p)
{
	static const char transfer[] = "transfer", other[] = "other";

	for (size_t i = 0; i < p->trace->record_count; i++) {
		const lw_traced *r = &p->trace->records[i];
		row one = {.device = p->trace->lanes[r->lane].device,
			   .layer = r->label.layer ? r->label.layer : r->name,
			   .part = r->label.part ? r->label.part : r->kind == LW_TRACED_TRANSFER ? transfer : other,
			   .seconds = r->end - r->start,
			   .flops = r->label.flops};

		if (!is_work(p, r))
			continue;
		LW_TRY(add(&p->parts, &one));
		one.device = -1;
		one.layer = NULL;
		LW_TRY(add(&p->sums, &one));
	}
	return LW_OK;
}

/* How much of a span lies in spans that are in order and apart. */
static double covered(const span *spans, size_t count, span one)
{
	size_t first = 0, last = count;
	double sum = 0;

	while (first < last) {
		size_t middle = first + (last - first) / 2;

		if (spans[middle].end <= one.start)
			first = middle + 1;
		else
			last = middle;
	}
	for (; first < count && spans[first].start < one.end; first++)
		sum += fmin(spans[first].end, one.end) - fmax(spans[first].start, one.start);
	return sum;
}

static lw_status find_idle(profile *p)
{
	LW_TRY(lw_alloc(&p->idle, p->trace->lane_count, sizeof *p->idle));
	for (size_t i = 0; i < p->trace->lane_count; i++)
		p->idle[i] = 1;
	for (size_t i = 0; i < p->trace->record_count; i++) {
		const lw_traced *r = &p->trace->records[i];

		if (is_work(p, r))
			p->idle[r->lane] -= covered(p->steps, p->step_count, (span){r->start, r->end}) / p->seconds;
	}
	return LW_OK;
}

/* Transfers and updates, which should hide behind the rest. */
static bool should_hide(const lw_traced *r)
{
	return r->kind == LW_TRACED_TRANSFER || (r->label.part && strcmp(r->label.part, "update") == 0);
}

static int compare_starts(const void *a, const void *b)
{
	const span *x = a, *y = b;

	return (x->start > y->start) - (x->start < y->start);
}

static lw_status find_overlap(profile *p)
{
	size_t count = 0, apart = 0;
	span *busy;

	LW_TRY(lw_alloc(&busy, p->trace->record_count, sizeof *busy));
	for (size_t i = 0; i < p->trace->record_count; i++) {
		const lw_traced *r = &p->trace->records[i];

		if (is_work(p, r) && !should_hide(r))
			busy[count++] = (span){r->start, r->end};
	}
	qsort(busy, count, sizeof *busy, compare_starts);
	for (size_t i = 0; i < count; i++) {
		if (apart && busy[i].start <= busy[apart - 1].end)
			busy[apart - 1].end = fmax(busy[apart - 1].end, busy[i].end);
		else
			busy[apart++] = busy[i];
	}
	for (size_t i = 0; i < p->trace->record_count; i++) {
		const lw_traced *r = &p->trace->records[i];

		if (!is_work(p, r) || !should_hide(r))
			continue;
		p->moved += r->end - r->start;
		p->hidden += covered(busy, apart, (span){r->start, r->end});
	}
	free(busy);
	return LW_OK;
}

/* --- Printing --- */

static double per_step(const profile *p, double seconds) { return seconds / (double)p->step_count; }

static double rate(const row *r) { return r->seconds > 0 ? 1e-9 * r->flops / r->seconds : 0; }

static const char *device_name(const profile *p, int device) { return lw_device_label(p->trace->devices[device].device); }

static lw_status print_parts(const profile *p, FILE *stream)
{
	const bool several = p->trace->device_count > 1;
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_table_create(&table, several ? "device,layer,part,ms>,share>,GFLOP/s>" : "layer,part,ms>,share>,GFLOP/s>"));
	for (size_t i = 0; i < p->parts.count; i++) {
		const row *r = &p->parts.rows[i];

		if (several)
			LW_GO(lw_table_cell(table, "%s", device_name(p, r->device)));
		LW_GO(lw_table_cell(table, "%s", r->layer));
		LW_GO(lw_table_cell(table, "%s", r->part));
		LW_GO(lw_table_cell(table, "%.3f", 1e3 * per_step(p, r->seconds)));
		LW_GO(lw_table_cell(table, "%.1f %%", 100 * r->seconds / p->seconds));
		LW_GO(r->flops > 0 ? lw_table_cell(table, "%.1f", rate(r)) : lw_table_cell(table, "-"));
	}
	LW_GO(lw_table_print(table, stream, LW_TABLE_TEXT));
out:
	lw_table_destroy(&table);
	return status;
}

static void print_idle(const profile *p, FILE *stream)
{
	const char *before = "idle:";

	for (size_t i = 0; i < p->trace->lane_count; i++) {
		const lw_trace_lane *lane = &p->trace->lanes[i];

		if (lane->device < 0)
			continue;
		fprintf(stream, "%s %s%s%s %.1f %%", before, p->trace->device_count > 1 ? device_name(p, lane->device) : "",
			p->trace->device_count > 1 ? " " : "", lane->name, 100 * p->idle[i]);
		before = ",";
	}
	fputc('\n', stream);
}

static lw_status print_text(const profile *p, FILE *stream)
{
	fprintf(stream, "\n%.3f ms a step (%zu step%s)\n", 1e3 * per_step(p, p->seconds), p->step_count, p->step_count > 1 ? "s" : "");
	LW_TRY(print_parts(p, stream));
	for (size_t i = 0; i < p->sums.count; i++)
		fprintf(stream, "%s%s %.3f ms (%.1f %%)", i ? ", " : "sums: ", p->sums.rows[i].part, 1e3 * per_step(p, p->sums.rows[i].seconds),
			100 * p->sums.rows[i].seconds / p->seconds);
	fputc('\n', stream);
	print_idle(p, stream);
	fprintf(stream, "overlap: %.1f %% of %.3f ms of transfers and updates ran while layers were computed\n",
		p->moved > 0 ? 100 * p->hidden / p->moved : 0, 1e3 * per_step(p, p->moved));
	return LW_OK;
}

static json_t *row_object(const profile *p, const row *r)
{
	return json_pack("{s:s?, s:s?, s:s, s:f, s:f, s:o}", "device", r->device < 0 ? NULL : device_name(p, r->device), "layer", r->layer,
			 "part", r->part, "seconds", per_step(p, r->seconds), "share", r->seconds / p->seconds, "gflops",
			 r->flops > 0 ? json_real(rate(r)) : json_null());
}

static json_t *row_list(const profile *p, const rows *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, row_object(p, &list->rows[i]));
	return array;
}

static json_t *queue_list(const profile *p)
{
	json_t *array = json_array();

	for (size_t i = 0; i < p->trace->lane_count; i++)
		if (p->trace->lanes[i].device >= 0)
			json_array_append_new(array, json_pack("{s:s, s:s, s:f}", "device", device_name(p, p->trace->lanes[i].device), "queue",
							       p->trace->lanes[i].name, "idle", p->idle[i]));
	return array;
}

static lw_status print_json(const profile *p, FILE *stream)
{
	json_t *object = json_pack("{s:I, s:f, s:o, s:o, s:o, s:f, s:f}", "steps", (json_int_t)p->step_count, "step_seconds",
				   per_step(p, p->seconds), "parts", row_list(p, &p->parts), "sums", row_list(p, &p->sums), "queues",
				   queue_list(p), "transfer_and_update_seconds", per_step(p, p->moved), "overlap",
				   p->moved > 0 ? p->hidden / p->moved : 0.0);
	int failed = !object || json_dumpf(object, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(12));

	fputc('\n', stream);
	json_decref(object);
	return failed ? lw_fail(LW_E_MEMORY, "the profile could not be written as JSON") : LW_OK;
}

lw_status lw_report_profile(lw_trace *trace, FILE *stream, bool json)
{
	profile p = {.trace = trace};
	lw_status status;

	lw_trace_collect(trace);
	LW_GO(find_steps(&p));
	LW_GO(add_parts(&p));
	LW_GO(find_idle(&p));
	LW_GO(find_overlap(&p));
	LW_GO(json ? print_json(&p, stream) : print_text(&p, stream));
out:
	free(p.steps);
	free(p.parts.rows);
	free(p.sums.rows);
	free(p.idle);
	return status;
}
