/* How a step will run, as people read it, and as one JSON object. */
#include "report/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_PARCELS = 8 };

static double bound(const lw_forecast *forecast) { return fmax(forecast->work_bound, forecast->path_bound); }

static double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }


/* What the devices of a kind have in common is said once; the rest as the least and the most. */
typedef struct kind_row {
	const lw_forecast_device *first;
	size_t count, parcels;
	int images[2];
	double owned, state, memory, compute, update, in, out; /* the most; owned and state are sums */
} kind_row;

static kind_row sum_up(const lw_forecast *forecast, size_t from)
{
	const lw_forecast_device *first = &forecast->devices[from];
	kind_row row = {.first = first, .images = {first->images, first->images}};

	for (size_t d = from; d < forecast->device_count && forecast->devices[d].kind == first->kind; d++) {
		const lw_forecast_device *device = &forecast->devices[d];

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
	LW_TRY(lw_table_cell(table, "%.1f", row->first->update_bandwidth / 1e9));
	LW_TRY(lw_table_cell(table, row->first->link_bandwidth > 0 ? "%.1f" : "-", row->first->link_bandwidth / 1e9));
	LW_TRY(lw_table_cell(table, "%zu", row->parcels));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->owned)));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->state)));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, row->memory)));
	LW_TRY(lw_table_cell(table, "%.3f", row->compute * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", row->update * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", row->in * 1e3));
	return lw_table_cell(table, "%.3f", row->out * 1e3);
}

static lw_status print_devices(const lw_forecast *forecast, FILE *stream)
{
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_table_create(&table, "device,images>,updates GB/s>,link GB/s>,parcels>,owns>,state>,memory each>,computes ms>,updates ms>,receives ms>,sends ms>"));
	for (size_t d = 0; d < forecast->device_count;) {
		const kind_row row = sum_up(forecast, d);

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
	const lw_forecast_parcel *const *x = a, *const *y = b;

	if ((*x)->bytes != (*y)->bytes)
		return (*x)->bytes > (*y)->bytes ? -1 : 1;
	return *x < *y ? -1 : *x > *y;
}

static lw_status print_parcel(lw_table *table, const lw_forecast *forecast, const lw_forecast_parcel *parcel)
{
	char bytes[32];

	LW_TRY(lw_table_cell(table, parcel->params > 1 ? "%s .. %s" : "%s", parcel->first, parcel->last));
	LW_TRY(lw_table_cell(table, strcmp(parcel->group, parcel->last_group) ? "%s .. %s" : "%s", parcel->group, parcel->last_group));
	LW_TRY(lw_table_cell(table, "%s", lw_format_bytes(bytes, (double)parcel->bytes)));
	LW_TRY(lw_table_cell(table, parcel->fixed ? "%s (fixed)" : "%s", forecast->devices[parcel->owner].name));
	LW_TRY(lw_table_cell(table, "%.3f", parcel->gathered * 1e3));
	LW_TRY(lw_table_cell(table, "%.3f", parcel->update_end * 1e3));
	return lw_table_cell(table, "%.3f", parcel->spread * 1e3);
}

static lw_status print_parcels(const lw_forecast *forecast, FILE *stream)
{
	const lw_forecast_parcel **sorted = NULL;
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_alloc(&sorted, forecast->parcel_count, sizeof *sorted));
	for (size_t i = 0; i < forecast->parcel_count; i++)
		sorted[i] = &forecast->parcels[i];
	qsort(sorted, forecast->parcel_count, sizeof *sorted, compare_bytes);
	if (forecast->parcel_count > SHOWN_PARCELS)
		fprintf(stream, "the %d largest of %zu parcels:\n", SHOWN_PARCELS, forecast->parcel_count);
	LW_GO(lw_table_create(&table, "parcel,group,bytes>,owner,gathered ms>,updated ms>,spread ms>"));
	for (size_t i = 0; i < forecast->parcel_count && i < SHOWN_PARCELS; i++)
		LW_GO(print_parcel(table, forecast, sorted[i]));
	LW_GO(lw_table_print(table, stream, LW_TABLE_TEXT));
out:
	free(sorted);
	lw_table_destroy(&table);
	return status;
}

static void print_time(const lw_forecast *forecast, FILE *stream)
{
	char bytes[32];

	fprintf(stream, "step: %.3f ms, %.1f images/s, %s moved; planned in %.3f s%s\n", forecast->makespan * 1e3,
		ratio(forecast->batch, forecast->makespan), lw_format_bytes(bytes, forecast->bytes_moved), forecast->planning_seconds,
		forecast->guessed ? "; how fast devices compute is a guess until the first steps are measured" : "");
	fprintf(stream, "no step is shorter than %.3f ms (all work over all throughput %.3f, longest path %.3f): efficiency %.3f, %.3f of the summed throughput\n",
		bound(forecast) * 1e3, forecast->work_bound * 1e3, forecast->path_bound * 1e3, ratio(bound(forecast), forecast->makespan),
		ratio(forecast->work_bound, forecast->makespan));
}

/* Why parcels are where they are: their groups say so, or else a step would end no earlier, or hardly, with other owners. */
static void print_reasons(const lw_forecast *forecast, FILE *stream)
{
	const char *separator = "; with all on one device: ";

	for (size_t d = 0; d < forecast->device_count; d++)
		if (forecast->devices[d].fixed_parcels)
			fprintf(stream, "owner %s: %zu parcel%s by `device:` or `offload:`\n", forecast->devices[d].name,
				forecast->devices[d].fixed_parcels, forecast->devices[d].fixed_parcels == 1 ? "" : "s");
	if (!isfinite(forecast->best_move) || forecast->best_move <= 0)
		return;
	fprintf(stream, "owners by the time of a step: with a parcel moved to another device it would end after %.3f ms at best",
		forecast->best_move * 1e3);
	for (size_t d = 0; d < forecast->device_count; d++) {
		if (isfinite(forecast->devices[d].alone))
			fprintf(stream, "%s%s %.3f ms", separator, forecast->devices[d].name, forecast->devices[d].alone * 1e3);
		else
			fprintf(stream, "%s%s has no room", separator, forecast->devices[d].name);
		separator = ", ";
	}
	fputc('\n', stream);
}

lw_status lw_forecast_print(const lw_forecast *forecast, FILE *stream)
{
	LW_TRY(print_devices(forecast, stream));
	LW_TRY(print_parcels(forecast, stream));
	print_time(forecast, stream);
	print_reasons(forecast, stream);
	return LW_OK;
}

/* --- JSON --- */

json_t *lw_report_number(double value) { return isfinite(value) ? json_real(value) : json_null(); }

static json_t *known(double value) { return value > 0 ? lw_report_number(value) : json_null(); }

static json_t *device_object(const lw_forecast_device *device)
{
	return json_pack("{s:s, s:i, s:I, s:I, s:I, s:I, s:f, s:o, s:f, s:f, s:f, s:f, s:o}", "name", device->name, "images", device->images, "parcels",
			 (json_int_t)device->parcels, "owned_bytes", (json_int_t)device->owned_bytes, "state_bytes",
			 (json_int_t)device->state_bytes, "memory_bytes", (json_int_t)device->memory_bytes, "update_bytes_per_second",
			 device->update_bandwidth, "link_bytes_per_second", known(device->link_bandwidth), "compute_seconds",
			 device->compute, "update_seconds", device->update, "receive_seconds", device->in, "send_seconds", device->out,
			 "alone_seconds", known(device->alone));
}

static json_t *parcel_object(const lw_forecast *forecast, const lw_forecast_parcel *parcel)
{
	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:I, s:s, s:b, s:f, s:f, s:f, s:f}", "first", parcel->first, "last", parcel->last, "group",
			 parcel->group, "last_group", parcel->last_group, "tensors", (json_int_t)parcel->params, "bytes", (json_int_t)parcel->bytes, "owner",
			 forecast->devices[parcel->owner].name, "fixed", (int)parcel->fixed, "gathered", parcel->gathered, "update_start", parcel->update_start,
			 "update_end", parcel->update_end, "spread", parcel->spread);
}

json_t *lw_forecast_object(const lw_forecast *forecast)
{
	json_t *devices = json_array(), *parcels = json_array();

	for (size_t d = 0; d < forecast->device_count; d++)
		json_array_append_new(devices, device_object(&forecast->devices[d]));
	for (size_t i = 0; i < forecast->parcel_count; i++)
		json_array_append_new(parcels, parcel_object(forecast, &forecast->parcels[i]));
	return json_pack("{s:I, s:o, s:I, s:b, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:o, s:f, s:o, s:o}", "first_step",
			 (json_int_t)forecast->first_step, "last_step",
			 forecast->last_step >= 0 ? json_integer((json_int_t)forecast->last_step) : json_null(), "devices_lost",
			 (json_int_t)forecast->lost, "guessed", (int)forecast->guessed, "step_seconds", forecast->makespan,
			 "images_per_second", ratio(forecast->batch, forecast->makespan), "work_bound_seconds", forecast->work_bound,
			 "path_bound_seconds", forecast->path_bound, "lower_bound_seconds", bound(forecast), "efficiency",
			 ratio(bound(forecast), forecast->makespan), "throughput_share",
			 ratio(forecast->work_bound, forecast->makespan), "bytes_moved", forecast->bytes_moved, "best_move_seconds",
			 known(forecast->best_move), "planning_seconds", forecast->planning_seconds, "devices", devices, "parcels",
			 parcels);
}
