/* The plan's devices as the placement sees them, and its steps as people are told. */
#include "sched/forecast.h"
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>

/* Images/s as measured, 0: not yet. What other ranks measured is known from when they last agreed. */
static double measured(const lw_plan *plan, const lw_peer *peer)
{
	return peer->rank == lw_plan_rank(plan) ? plan->members[peer->member].speed : peer->speed;
}

/* Images/s of a device that computes; until it is measured only how it compares with others matters. */
static double speed_of(const lw_plan *plan, const lw_peer *peer)
{
	const double flops = plan->workload.forward_flops + plan->workload.backward_flops;

	return measured(plan, peer) > 0 ? measured(plan, peer) : 50e9 * peer->guess / fmax(flops, 1);
}

static lw_placement_device describe(const lw_plan *plan, const lw_peer *peer)
{
	enum { DOMAINS = 4096 }; /* of a rank, at most: its host's memory, and its devices' own */
	lw_placement_device device = {.name = peer->label,
				      .update_bandwidth = fmax(peer->update_bandwidth, 1e9),
				      .link_bandwidth = fmax(peer->link_bandwidth, 1e9),
				      .latency = peer->in_place ? 0 : 20e-6,
				      .memory = peer->in_place ? 0 : peer->memory,
				      .used = 2 * plan->workload.parameter_bytes + plan->workload.gradient_bytes,
				      .domain = peer->rank * DOMAINS + (peer->in_place ? 0 : peer->member + 1)};

	if (!peer->images)
		return device;
	device.is_lane = true;
	device.compute_seconds = peer->images / speed_of(plan, peer);
	device.used += (uint64_t)(plan->workload.activation_bytes + plan->workload.image_bytes * peer->images);
	return device;
}

size_t lw_plan_describe_devices(const lw_plan *plan, lw_placement_device *devices, int *peer_of)
{
	size_t count = 0;

	for (int i = 0; i < (int)plan->peer_count; i++) {
		if (plan->peers[i].lost)
			continue;
		devices[count] = describe(plan, &plan->peers[i]);
		peer_of[count++] = i;
	}
	return count;
}

/* --- For people --- */

/* By device: the arrays that a source points to. */
typedef struct arrays {
	lw_placement_device *devices;
	int *peer_of, *owner, *images;
	double *speeds;
} arrays;

static lw_status create_arrays(arrays *a, const lw_plan *plan)
{
	LW_TRY(lw_alloc(&a->devices, plan->peer_count, sizeof *a->devices));
	LW_TRY(lw_alloc(&a->peer_of, plan->peer_count, sizeof *a->peer_of));
	LW_TRY(lw_alloc(&a->owner, plan->parcel_count, sizeof *a->owner));
	LW_TRY(lw_alloc(&a->images, plan->peer_count, sizeof *a->images));
	return lw_alloc(&a->speeds, plan->peer_count, sizeof *a->speeds);
}

static void clear_arrays(arrays *a)
{
	free(a->devices);
	free(a->peer_of);
	free(a->owner);
	free(a->images);
	free(a->speeds);
}

static void fill_arrays(arrays *a, const lw_plan *plan, size_t count)
{
	for (size_t d = 0; d < count; d++) {
		const lw_peer *peer = &plan->peers[a->peer_of[d]];

		a->speeds[d] = peer->computes ? speed_of(plan, peer) : 0;
		a->images[d] = peer->images;
		for (size_t i = 0; i < plan->parcel_count; i++)
			if (plan->parcels[i].peer == a->peer_of[d])
				a->owner[i] = (int)d;
	}
}

/* What was measured: the placement's own numbers have a floor. */
static void tell_measured(const lw_plan *plan, const arrays *a, lw_forecast *forecast)
{
	for (size_t d = 0; d < forecast->device_count; d++) {
		const lw_peer *peer = &plan->peers[a->peer_of[d]];

		forecast->devices[d].update_bandwidth = peer->update_bandwidth;
		forecast->devices[d].link_bandwidth = peer->in_place ? 0 : peer->link_bandwidth;
		forecast->guessed |= a->images[d] && !(measured(plan, peer) > 0);
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
	problem.device_count = lw_plan_describe_devices(plan, a.devices, a.peer_of);
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
