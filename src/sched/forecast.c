/* A placement told as a forecast: devices, parcels, the step's time against its bounds and against other owners. */
#include "sched/forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void fill_devices(lw_forecast *forecast, const lw_forecast_source *s, const lw_placement_load *loads)
{
	for (size_t d = 0; d < s->problem->device_count; d++) {
		const lw_placement_device *placed = &s->problem->devices[d];
		lw_forecast_device *device = &forecast->devices[d];

		*device = (lw_forecast_device){.kind = d,
					       .images = s->images[d],
					       .memory_bytes = placed->used,
					       .update_bandwidth = placed->update_bandwidth,
					       .link_bandwidth = placed->link_bandwidth,
					       .compute = placed->compute_seconds,
					       .update = loads[d].update,
					       .in = loads[d].in,
					       .out = loads[d].out};
		snprintf(device->name, sizeof device->name, "%s", placed->name);
	}
}

static void fill_parcels(lw_forecast *forecast, const lw_forecast_source *s, const lw_placement_times *times)
{
	for (size_t i = 0; i < s->workload->parcel_count; i++) {
		const lw_parcel *parcel = &s->workload->parcels[i];
		const lw_placement_parcel *placed = &s->workload->placed[i];
		const int first = s->workload->order[parcel->first], last = s->workload->order[parcel->first + parcel->count - 1];
		lw_forecast_device *owner = &forecast->devices[s->owner[i]];

		forecast->parcels[i] = (lw_forecast_parcel){.first = s->net->params[first].name,
							    .last = s->net->params[last].name,
							    .group = s->groups->groups[s->groups->group_of_param[first]].name,
							    .last_group = s->groups->groups[s->groups->group_of_param[last]].name,
							    .params = parcel->count,
							    .bytes = placed->bytes,
							    .owner = (size_t)s->owner[i],
							    .fixed = placed->fixed_owner >= 0,
							    .gathered = times[i].gathered,
							    .update_start = times[i].update_start,
							    .update_end = times[i].update_end,
							    .spread = times[i].spread};
		owner->parcels++;
		owner->fixed_parcels += placed->fixed_owner >= 0;
		owner->owned_bytes += placed->bytes;
		owner->state_bytes += placed->state_bytes;
		owner->memory_bytes += 2 * placed->state_bytes;
	}
}

static void fill_bounds(lw_forecast *forecast, const lw_forecast_source *s)
{
	double sum = 0, fastest = 0, update = 0;

	for (size_t d = 0; d < s->problem->device_count; d++) {
		sum += s->speeds[d];
		fastest = fmax(fastest, s->speeds[d]);
		update = fmax(update, s->problem->devices[d].update_bandwidth);
	}
	forecast->work_bound = s->batch / sum;
	forecast->path_bound = 1 / fastest;
	for (size_t i = 0; i < s->workload->parcel_count; i++) {
		const lw_placement_parcel *parcel = &s->workload->placed[i];
		forecast->path_bound = fmax(forecast->path_bound, parcel->ready / fastest + (double)parcel->update_bytes / update);
	}
}

lw_status lw_forecast_fill(lw_forecast *forecast, const lw_forecast_source *s)
{
	lw_placement_timeline timeline = {0};
	lw_status status;

	forecast->batch = s->batch;
	LW_GO(lw_alloc(&timeline.parcels, s->workload->parcel_count, sizeof *timeline.parcels));
	LW_GO(lw_alloc(&timeline.devices, s->problem->device_count, sizeof *timeline.devices));
	LW_GO(lw_alloc(&forecast->devices, s->problem->device_count, sizeof *forecast->devices));
	LW_GO(lw_alloc(&forecast->parcels, s->workload->parcel_count, sizeof *forecast->parcels));
	LW_GO(lw_placement_makespan(s->problem, s->owner, &forecast->makespan, &timeline));
	forecast->bytes_moved = timeline.bytes_moved;
	forecast->device_count = s->problem->device_count;
	forecast->parcel_count = s->workload->parcel_count;
	fill_devices(forecast, s, timeline.devices);
	fill_parcels(forecast, s, timeline.parcels);
	fill_bounds(forecast, s);
out:
	free(timeline.parcels);
	free(timeline.devices);
	return status;
}

/* INFINITY where the owners' memories do not suffice. */
static double time_owners(lw_placement_clock *clock, const lw_placement_problem *problem, const int *owner)
{
	return lw_placement_check(problem, owner) == LW_OK ? lw_placement_clock_run(clock, owner, NULL, NULL) : INFINITY;
}

lw_status lw_forecast_compare(lw_forecast *forecast, const lw_forecast_source *s)
{
	const lw_placement_problem *problem = s->problem;
	lw_placement_clock *clock = NULL;
	int *owner = NULL;
	lw_status status;

	LW_GO(lw_alloc(&owner, problem->parcel_count, sizeof *owner));
	LW_GO(lw_placement_clock_create(&clock, problem));
	for (size_t d = 0; d < problem->device_count; d++) {
		for (size_t i = 0; i < problem->parcel_count; i++)
			owner[i] = problem->parcels[i].fixed_owner < 0 ? (int)d : s->owner[i];
		forecast->devices[d].alone = time_owners(clock, problem, owner);
	}
	forecast->best_move = INFINITY;
	for (size_t i = 0; i < problem->parcel_count; i++)
		owner[i] = s->owner[i];
	for (size_t i = 0; i < problem->parcel_count; i++) {
		for (int d = 0; d < (int)problem->device_count && problem->parcels[i].fixed_owner < 0; d++) {
			owner[i] = d;
			if (d != s->owner[i])
				forecast->best_move = fmin(forecast->best_move, time_owners(clock, problem, owner));
		}
		owner[i] = s->owner[i];
	}
out:
	lw_placement_clock_destroy(&clock);
	free(owner);
	return status;
}

void lw_forecast_clear(lw_forecast *forecast)
{
	free(forecast->devices);
	free(forecast->parcels);
	*forecast = (lw_forecast){0};
}
