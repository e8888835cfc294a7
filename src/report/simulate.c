/* A simulated run as people read it, and as one JSON object. */
#include "base/base.h"
#include <layerwise/report.h>

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

enum { SHOWN_PARCELS = 8 };

static double bound(const lw_simulated_plan *plan) { return fmax(plan->work_bound, plan->path_bound); }

static double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

/* --- Text --- */

/* What the devices of a kind have in common is said once; the rest as the least and the most. */
typedef struct kind_row {
	const lw_simulated_device *first;
	size_t count, parcels;
	int images[2];
	double owned, state, memory, compute, update, in, out; /* the most; owned and state are sums */
} kind_row;

static kind_row sum_up(const lw_simulated_plan *plan, size_t from)
{
	const lw_simulated_device *first = &plan->devices[from];
	kind_row row = {.first = first, .images = {first->images, first->images}};

	for (size_t d = from; d < plan->device_count && plan->devices[d].kind == first->kind; d++) {
		const lw_simulated_device *device = &plan->devices[d];

		row.count++;
		row.parcels += device->parcels;
		row.images[0] = lw_min_int(row.images[0], device->images);
		row.images[1] = lw_max_int(row.images[1], device->images);
		row.owned += (double)device->owned_bytes;
		row.state += (double)device->state_bytes;
		row.memory = fmax(row.memory, (double)device->memory_bytes);
		row.compute = fmax(row.compute, device->compute);
		row.update = fmax(row.update, device->update);
		row.in = fmax(row.in, device->in);
		row.out = fmax(row.out, device->out);
	}
	return row;
}

static lw_status print_kind(lw_table *table, const kind_row *row)
{
	char bytes[32];

	LW_TRY(lw_table_cell(table, row->count > 1 ? "%s .. x %zu" : "%s", row->first->name, row->count));
	LW_TRY(lw_table_cell(table, row->images[0] == row->images[1] ? "%d" : "%d-%d", row->images[0], row->images[1]));
	LW_TRY(lw_table_cell(table, "%zu", row->parcels));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->owned)));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->state)));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->memory)));
	LW_TRY(lw_table_cell(table, "%.3f", row->compute * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", row->update * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", row->in * 1e3));
	return lw_table_cell(table, "%.3f", row->out * 1e3);
}

static lw_status print_devices(const lw_simulated_plan *plan, FILE *stream)
{
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_table_create(&table, "device,images>,parcels>,owns>,state>,memory each>,computes ms>,updates ms>,receives ms>,sends ms>"));
	for (size_t d = 0; d < plan->device_count;) {
		const kind_row row = sum_up(plan, d);

		LW_GO(print_kind(table, &row));
		d += row.count;
	}
	LW_GO(lw_table_print(table, stream, LW_TABLE_TEXT));
out:
	lw_table_destroy(&table);
	return status;
}

static int compare_bytes(const void *a, const void *b)
{
	const lw_simulated_parcel *const *x = a, *const *y = b;

	if ((*x)->bytes != (*y)->bytes)
		return (*x)->bytes > (*y)->bytes ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

static lw_status print_parcel(lw_table *table, const lw_simulated_plan *plan, const lw_simulated_parcel *parcel)
{
	char bytes[32];

	LW_TRY(lw_table_cell(table, parcel->params > 1 ? "%s .. %s" : "%s", parcel->first, parcel->last));
	LW_TRY(lw_table_cell(table, "%s", parcel->group));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, (double)parcel->bytes)));
	LW_TRY(lw_table_cell(table, "%s", plan->devices[parcel->owner].name));
	LW_TRY(lw_table_cell(table, "%.3f", parcel->gathered * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", parcel->update_end * 1e3));
	return lw_table_cell(table, "%.3f", parcel->spread * 1e3);
}

static lw_status print_parcels(const lw_simulated_plan *plan, FILE *stream)
{
	const lw_simulated_parcel **sorted = NULL;
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_alloc(&sorted, plan->parcel_count, sizeof *sorted));
	for (size_t i = 0; i < plan->parcel_count; i++)
		sorted[i] = &plan->parcels[i];
	qsort(sorted, plan->parcel_count, sizeof *sorted, compare_bytes);
	if (plan->parcel_count > SHOWN_PARCELS)
		fprintf(stream, "the %d largest of %zu parcels:\n", SHOWN_PARCELS, plan->parcel_count);
	LW_GO(lw_table_create(&table, "parcel,group,bytes>,owner,gathered ms>,updated ms>,spread ms>"));
	for (size_t i = 0; i < plan->parcel_count && i < SHOWN_PARCELS; i++)
		LW_GO(print_parcel(table, plan, sorted[i]));
	LW_GO(lw_table_print(table, stream, LW_TABLE_TEXT));
out:
	free(sorted);
	lw_table_destroy(&table);
	return status;
}

static lw_status print_plan(const lw_simulated_plan *plan, int batch, FILE *stream)
{
	char bytes[32];

	if (plan->lost)
		fprintf(stream, "in step %" PRId64 " %zu device%s failed; the step is replayed on the other%s\n", plan->first_step, plan->lost,
			plan->lost == 1 ? "" : "s", plan->device_count == 1 ? "" : "s");
	fprintf(stream, "from step %" PRId64 " on: %zu device%s, %d images a step\n", plan->first_step, plan->device_count,
		plan->device_count == 1 ? "" : "s", batch);
	LW_TRY(print_devices(plan, stream));
	LW_TRY(print_parcels(plan, stream));
	fprintf(stream, "step: %.3f ms, %.1f images/s, %s moved; planned in %.3f s\n", plan->makespan * 1e3,
		ratio(batch, plan->makespan), lw_format_bytes(bytes, plan->bytes_moved), plan->planning_seconds);
	fprintf(stream, "no step is shorter than %.3f ms (all work over all throughput %.3f, longest path %.3f): efficiency %.3f, %.3f of the summed throughput\n",
		bound(plan) * 1e3, plan->work_bound * 1e3, plan->path_bound * 1e3, ratio(bound(plan), plan->makespan),
		ratio(plan->work_bound, plan->makespan));
	return LW_OK;
}

static lw_status print_text(const lw_simulation *simulation, const lw_simulation_info *info, FILE *stream)
{
	char a[32], b[32];

	for (size_t i = 0; i < info->plan_count; i++)
		LW_TRY(print_plan(lw_simulation_plan(simulation, i), info->batch, stream));
	fprintf(stream, "%" PRId64 " steps: %.3f s, %" PRId64 " replayed; FLOPs of a step: forward %s, backward %s\n", info->steps,
		info->seconds, info->replayed, lw_format_count(a, info->forward_flops), lw_format_count(b, info->backward_flops));
	return LW_OK;
}

/* --- JSON --- */

static json_t *device_object(const lw_simulated_device *device)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:f}", "name", device->name, "images", device->images, "parcels",
			 (json_int_t)device->parcels, "owned_bytes", (json_int_t)device->owned_bytes, "state_bytes",
			 (json_int_t)device->state_bytes, "memory_bytes", (json_int_t)device->memory_bytes, "compute_seconds",
			 device->compute, "update_seconds", device->update, "receive_seconds", device->in, "send_seconds", device->out);
}

static json_t *parcel_object(const lw_simulated_plan *plan, const lw_simulated_parcel *parcel)
{
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:s, s:f, s:f, s:f, s:f}", "first", parcel->first, "last", parcel->last, "group",
			 parcel->group, "tensors", (json_int_t)parcel->params, "bytes", (json_int_t)parcel->bytes, "owner",
			 plan->devices[parcel->owner].name, "gathered", parcel->gathered, "update_start", parcel->update_start,
			 "update_end", parcel->update_end, "spread", parcel->spread);
}

static json_t *plan_object(const lw_simulated_plan *plan, int batch)
{
	json_t *devices = json_array(), *parcels = json_array();

	for (size_t d = 0; d < plan->device_count; d++)
		json_array_append_new(devices, device_object(&plan->devices[d]));
	for (size_t i = 0; i < plan->parcel_count; i++)
		json_array_append_new(parcels, parcel_object(plan, &plan->parcels[i]));
	return json_pack("{s:I, s:I, s:I, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:o}", "first_step",
			 (json_int_t)plan->first_step, "last_step", (json_int_t)plan->last_step, "devices_lost", (json_int_t)plan->lost,
			 "step_seconds", plan->makespan, "images_per_second", ratio(batch, plan->makespan), "work_bound_seconds",
			 plan->work_bound, "path_bound_seconds", plan->path_bound, "lower_bound_seconds", bound(plan), "efficiency",
			 ratio(bound(plan), plan->makespan), "throughput_share", ratio(plan->work_bound, plan->makespan), "bytes_moved",
			 plan->bytes_moved, "planning_seconds", plan->planning_seconds, "devices", devices, "parcels", parcels);
}

static lw_status print_json(const lw_simulation *simulation, const lw_simulation_info *info, FILE *stream)
{
	json_t *plans = json_array(), *object;
	int failed;

	for (size_t i = 0; i < info->plan_count; i++)
		json_array_append_new(plans, plan_object(lw_simulation_plan(simulation, i), info->batch));
	object = json_pack("{s:i, s:I, s:I, s:f, s:{s:f, s:f}, s:o}", "batch", info->batch, "steps", (json_int_t)info->steps,
			   "steps_replayed", (json_int_t)info->replayed, "seconds", info->seconds, "flops", "forward",
			   info->forward_flops, "backward", info->backward_flops, "plans", plans);
	failed = !object || json_dumpf(object, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	fputc('\n', stream);
	json_decref(object);
	return failed ? lw_fail(LW_E_MEMORY, "the simulation could not be written as JSON") : LW_OK;
}

lw_status lw_report_simulation(const lw_simulation *simulation, FILE *stream, bool json)
{
	lw_simulation_info info;

	lw_simulation_get_info(simulation, &info);
	return json ? print_json(simulation, &info, stream) : print_text(simulation, &info, stream);
}
