/* The plan's devices as the placement sees them, and its steps as people are told. */
#include "sched/forecast.h"
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>

bool lw_member_computes(const lw_member *member) { return !member->lost && !member->opened; }

/* Only how they compare matters, until speeds are measured. */
double lw_member_guess(const lw_member *member)
{
	const lw_device_info *info = lw_device_get_info(member->device);

	return info->compute_units * (info->type == LW_DEVICE_GPU ? 20.0 : 1.0) * (info->fast_fma ? 1.0 : 0.1);
}

/* Images/s of a device that computes. */
static double speed_of(const lw_plan *plan, const lw_member *member)
{
	const double flops = plan->workload.forward_flops + plan->workload.backward_flops;

	return member->speed > 0 ? member->speed : 50e9 * lw_member_guess(member) / fmax(flops, 1);
}

static lw_placement_device describe(const lw_plan *plan, int index)
{
	const lw_member *member = &plan->members[index];
	const lw_device_info *info = lw_device_get_info(member->device);
	lw_placement_device device = {.name = lw_device_label(member->device),
				      .update_bandwidth = fmax(member->update_bandwidth, 1e9),
				      .link_bandwidth = fmax(member->link_bandwidth, 1e9),
				      .latency = member->in_place ? 0 : 20e-6,
				      .memory = member->in_place ? 0 : info->global_memory,
				      .used = 2 * plan->workload.parameter_bytes + plan->workload.gradient_bytes,
				      .domain = member->in_place ? 0 : index + 1};

	for (size_t k = 0; k < plan->lane_count; k++) {
		const lw_lane *lane = &plan->lanes[k];

		if (lane->member != index)
			continue;
		device.is_lane = true;
		device.compute_seconds = lane->images / speed_of(plan, member);
		device.used += (uint64_t)(plan->workload.activation_bytes + plan->workload.image_bytes * lane->images);
	}
	return device;
}

size_t lw_plan_describe_devices(const lw_plan *plan, lw_placement_device *devices, int *member_of)
{
	size_t count = 0;

	for (int i = 0; i < (int)plan->member_count; i++) {
		if (plan->members[i].lost)
			continue;
		devices[count] = describe(plan, i);
		member_of[count++] = i;
	}
	return count;
}

/* --- For people --- */

/* By device: the arrays that a source points to. */
typedef struct arrays {
	lw_placement_device *devices;
	int *member_of, *owner, *images;
	double *speeds;
} arrays;

static lw_status create_arrays(arrays *a, const lw_plan *plan)
{
	LW_TRY(lw_alloc(&a->devices, plan->member_count, sizeof *a->devices));
	LW_TRY(lw_alloc(&a->member_of, plan->member_count, sizeof *a->member_of));
	LW_TRY(lw_alloc(&a->owner, plan->parcel_count, sizeof *a->owner));
	LW_TRY(lw_alloc(&a->images, plan->member_count, sizeof *a->images));
	return lw_alloc(&a->speeds, plan->member_count, sizeof *a->speeds);
}

static void clear_arrays(arrays *a)
{
	free(a->devices);
	free(a->member_of);
	free(a->owner);
	free(a->images);
	free(a->speeds);
}

static void fill_arrays(arrays *a, const lw_plan *plan, size_t count)
{
	for (size_t d = 0; d < count; d++) {
		const lw_member *member = &plan->members[a->member_of[d]];

		a->speeds[d] = lw_member_computes(member) ? speed_of(plan, member) : 0;
		for (size_t k = 0; k < plan->lane_count; k++)
			if (plan->lanes[k].member == a->member_of[d])
				a->images[d] = plan->lanes[k].images;
		for (size_t i = 0; i < plan->parcel_count; i++)
			if (plan->parcels[i].owner == a->member_of[d])
				a->owner[i] = (int)d;
	}
}

/* What was measured: the placement's own numbers have a floor. */
static void tell_measured(const lw_plan *plan, const arrays *a, lw_forecast *forecast)
{
	for (size_t d = 0; d < forecast->device_count; d++) {
		const lw_member *member = &plan->members[a->member_of[d]];

		forecast->devices[d].update_bandwidth = member->update_bandwidth;
		forecast->devices[d].link_bandwidth = member->in_place ? 0 : member->link_bandwidth;
		forecast->guessed |= a->images[d] && !(member->speed > 0);
	}
}

lw_status lw_plan_forecast(const lw_plan *plan, lw_forecast **result)
{
	lw_placement_problem problem = {.parcels = plan->workload.placed, .parcel_count = plan->parcel_count};
	lw_forecast_source source = {.net = plan->net, .groups = plan->groups, .workload = &plan->workload, .problem = &problem,
				     .batch = plan->options.batch};
	lw_forecast *forecast = NULL;
	arrays a = {0};
	lw_status status;

	*result = NULL;
	LW_GO(lw_alloc(&forecast, 1, sizeof *forecast));
	LW_GO(create_arrays(&a, plan));
	problem.devices = a.devices;
	problem.device_count = lw_plan_describe_devices(plan, a.devices, a.member_of);
	fill_arrays(&a, plan, problem.device_count);
	source.owner = a.owner;
	source.images = a.images;
	source.speeds = a.speeds;
	LW_GO(lw_forecast_fill(forecast, &source));
	LW_GO(lw_forecast_compare(forecast, &source));
	tell_measured(plan, &a, forecast);
	forecast->first_step = plan->arranged_at + 1;
	forecast->last_step = -1;
	forecast->lost = plan->lost_count;
	forecast->planning_seconds = plan->planning_seconds;
	*result = forecast;
	forecast = NULL;
out:
	lw_forecast_destroy(&forecast);
	clear_arrays(&a);
	return status;
}

void lw_forecast_destroy(lw_forecast **forecast)
{
	if (!*forecast)
		return;
	lw_forecast_clear(*forecast);
	free(*forecast);
	*forecast = NULL;
}
