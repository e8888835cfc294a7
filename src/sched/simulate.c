/* Steps on devices that are only described: shares, owners and times, and new ones when devices fail or groups unfreeze. */
#include "sched/forecast.h"
#include "sched/shares.h"
#include <layerwise/simulate.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct member {
	char name[80];
	size_t kind;
	int domain;
	bool lost;
} member;

struct lw_simulation {
	const lw_net *net;
	lw_groups *groups;
	const lw_cluster_device *kinds; /* during lw_simulate */
	member *members; /* every device of the cluster */
	size_t member_count;
	lw_forecast *plans;
	size_t plan_capacity;
	lw_simulation_info info;
};

/* What a plan is made with. members: indices of those that are left. */
typedef struct planning {
	lw_workload workload;
	size_t count, *members;
	lw_placement_device *devices;
	int *images, *owner;
	double *speeds; /* images/s */
	lw_placement_problem problem;
} planning;

/* --- The cluster --- */

static lw_status check_kind(const lw_cluster_device *kind)
{
	const char *name = kind->name && *kind->name ? kind->name : "(unnamed)";

	if (!kind->name || !*kind->name || strlen(kind->name) > 60)
		return lw_fail(LW_E_ARGUMENT, "a device of the cluster has no name of 1 to 60 characters");
	if (kind->count < 1 || kind->count > 1000000)
		return lw_fail(LW_E_ARGUMENT, "device %s: a count from 1 to 1000000 was expected, not %zu", name, kind->count);
	if (!(kind->gflops >= 0 && isfinite(kind->gflops)))
		return lw_fail(LW_E_ARGUMENT, "device %s: gflops is %g; 0 or more was expected", name, kind->gflops);
	if (!(kind->update_bandwidth > 0) || !(kind->link_bandwidth > 0))
		return lw_fail(LW_E_ARGUMENT, "device %s: its bandwidths must be above 0", name);
	if (!(kind->latency >= 0))
		return lw_fail(LW_E_ARGUMENT, "device %s: its latency must be 0 or more", name);
	return LW_OK;
}

/* A domain's number: of its first kind; a device with its own memory comes after all of these. */
static int domain_of(const lw_cluster_device *kinds, size_t kind, size_t kind_count, size_t device)
{
	if (!kinds[kind].domain)
		return (int)(kind_count + device);
	for (size_t k = 0; k < kind; k++)
		if (kinds[k].domain && strcmp(kinds[k].domain, kinds[kind].domain) == 0)
			return (int)k;
	return (int)kind;
}

static lw_status list_members(lw_simulation *s, size_t kind_count)
{
	size_t count = 0;

	for (size_t k = 0; k < kind_count; k++) {
		LW_TRY(check_kind(&s->kinds[k]));
		for (size_t j = 0; j < k; j++)
			if (strcmp(s->kinds[j].name, s->kinds[k].name) == 0)
				return lw_fail(LW_E_ARGUMENT, "two devices are called `%s`", s->kinds[k].name);
		count += s->kinds[k].count;
	}
	if (count > 1000000)
		return lw_fail(LW_E_ARGUMENT, "%zu devices are too many", count);
	LW_TRY(lw_alloc(&s->members, count, sizeof *s->members));
	for (size_t k = 0; k < kind_count; k++) {
		for (size_t i = 0; i < s->kinds[k].count; i++) {
			member *m = &s->members[s->member_count];

			m->kind = k;
			m->domain = domain_of(s->kinds, k, kind_count, s->member_count++);
			if (s->kinds[k].count == 1)
				snprintf(m->name, sizeof m->name, "%s", s->kinds[k].name);
			else
				snprintf(m->name, sizeof m->name, "%s.%zu", s->kinds[k].name, i);
		}
	}
	return LW_OK;
}

static lw_status check_owners(const lw_simulation *s)
{
	for (size_t g = 0; g < s->groups->count; g++) {
		const char *device = s->groups->groups[g].device;
		bool found = !device;

		for (size_t m = 0; m < s->member_count && !found; m++)
			found = strcmp(s->members[m].name, device) == 0;
		if (!found)
			return lw_fail(LW_E_ARGUMENT, "group `%s`: its device `%s` is not in the cluster", s->groups->groups[g].name, device);
	}
	return LW_OK;
}

/* --- Shares --- */

static double flops_of_image(const planning *p) { return p->workload.forward_flops + p->workload.backward_flops; }

static uint64_t bytes_with(const planning *p, int images)
{
	const double share = images ? p->workload.activation_bytes + images * p->workload.image_bytes : 0;

	return 2 * p->workload.parameter_bytes + p->workload.gradient_bytes + (uint64_t)share;
}

/* The most images whose activations fit into the kind's memory. */
static int most_images(const planning *p, const lw_cluster_device *kind, int batch)
{
	double room;

	if (kind->gflops <= 0)
		return 0;
	if (!kind->memory)
		return batch;
	room = (double)kind->memory - (double)bytes_with(p, 0) - p->workload.activation_bytes;
	return room < p->workload.image_bytes ? 0 : (int)fmin(batch, room / fmax(p->workload.image_bytes, 1));
}

static lw_status share_batch(const lw_simulation *s, planning *p)
{
	int *most = NULL, left;
	bool computes = false;
	lw_status status;

	LW_GO(lw_alloc(&most, p->count, sizeof *most));
	for (size_t d = 0; d < p->count; d++) {
		const lw_cluster_device *kind = &s->kinds[s->members[p->members[d]].kind];

		most[d] = most_images(p, kind, s->info.batch);
		p->speeds[d] = kind->gflops * 1e9 / fmax(flops_of_image(p), 1);
		computes |= kind->gflops > 0;
	}
	if (!computes) {
		status = lw_fail(LW_E_DEVICE, "no device that computes is left");
		goto out;
	}
	left = lw_share_out(s->info.batch, p->count, p->speeds, most, p->images);
	if (left > 0)
		status = lw_fail(LW_E_MEMORY, "the devices' memories hold the activations of %d images of the batch of %d",
				 s->info.batch - left, s->info.batch);
out:
	free(most);
	return status;
}

/* --- A plan --- */

static void describe_devices(const lw_simulation *s, planning *p)
{
	for (size_t d = 0; d < p->count; d++) {
		const member *m = &s->members[p->members[d]];
		const lw_cluster_device *kind = &s->kinds[m->kind];

		p->devices[d] = (lw_placement_device){
			.name = m->name,
			.update_bandwidth = kind->update_bandwidth,
			.link_bandwidth = kind->link_bandwidth,
			.latency = kind->latency,
			.memory = kind->memory,
			.used = bytes_with(p, p->images[d]),
			.domain = m->domain,
			.is_lane = p->images[d] > 0,
			.compute_seconds = p->images[d] ? p->images[d] / p->speeds[d] : 0,
		};
	}
	for (size_t i = 0; i < p->workload.parcel_count; i++) {
		const char *device = s->groups->groups[p->workload.parcels[i].group].device;

		for (size_t d = 0; d < p->count && device; d++)
			if (strcmp(device, p->devices[d].name) == 0)
				p->workload.placed[i].fixed_owner = (int)d;
	}
	p->problem = (lw_placement_problem){p->devices, p->count, p->workload.placed, p->workload.parcel_count};
}

static lw_status time_plan(const lw_simulation *s, const planning *p, lw_forecast *plan)
{
	const lw_forecast_source source = {.net = s->net, .groups = s->groups, .workload = &p->workload, .problem = &p->problem,
					   .owner = p->owner, .images = p->images, .speeds = p->speeds, .batch = s->info.batch};

	LW_TRY(lw_forecast_fill(plan, &source));
	for (size_t d = 0; d < p->count; d++)
		plan->devices[d].kind = s->members[p->members[d]].kind;
	return LW_OK;
}

static void clear_planning(planning *p)
{
	lw_workload_clear(&p->workload);
	free(p->members);
	free(p->devices);
	free(p->images);
	free(p->speeds);
	free(p->owner);
}

/* A plan for the devices that are left, from the step on. */
static lw_status add_plan(lw_simulation *s, int64_t step, size_t lost)
{
	const double started = lw_now();
	lw_forecast *plan;
	planning p = {0};
	lw_status status;

	LW_GO(lw_grow(&s->plans, &s->plan_capacity, s->info.plan_count + 1, sizeof *s->plans));
	plan = &s->plans[s->info.plan_count++];
	*plan = (lw_forecast){.first_step = step, .last_step = step - 1, .lost = lost};
	LW_GO(lw_alloc(&p.members, s->member_count, sizeof *p.members));
	LW_GO(lw_alloc(&p.devices, s->member_count, sizeof *p.devices));
	LW_GO(lw_alloc(&p.images, s->member_count, sizeof *p.images));
	LW_GO(lw_alloc(&p.speeds, s->member_count, sizeof *p.speeds));
	for (size_t m = 0; m < s->member_count; m++)
		if (!s->members[m].lost)
			p.members[p.count++] = m;
	LW_GO(lw_workload_create(&p.workload, s->net, s->groups, NULL, NULL));
	LW_GO(lw_alloc(&p.owner, p.workload.parcel_count, sizeof *p.owner));
	LW_GO(share_batch(s, &p));
	describe_devices(s, &p);
	LW_GO(lw_place(&p.problem, p.owner, NULL));
	plan->planning_seconds = lw_now() - started;
	LW_GO(time_plan(s, &p, plan));
	s->info.forward_flops = s->info.batch * p.workload.forward_flops;
	s->info.backward_flops = s->info.batch * p.workload.backward_flops;
out:
	clear_planning(&p);
	return status;
}

/* --- Steps --- */

static size_t lose(lw_simulation *s, int64_t step)
{
	size_t lost = 0;

	for (size_t m = 0; m < s->member_count; m++) {
		if (s->members[m].lost || s->kinds[s->members[m].kind].fails_at_step != step)
			continue;
		s->members[m].lost = true;
		lost++;
	}
	return lost;
}

static lw_status run(lw_simulation *s)
{
	for (int64_t step = 1; step <= s->info.steps; step++) {
		lw_forecast *plan;
		bool changed;
		size_t lost;

		lw_groups_at_step(s->groups, step, &changed);
		if (changed || step == 1)
			LW_TRY(add_plan(s, step, 0));
		lost = lose(s, step);
		if (lost) {
			lw_status status;

			s->info.seconds += s->plans[s->info.plan_count - 1].makespan;
			s->info.replayed++;
			status = add_plan(s, step, lost);
			if (status != LW_OK)
				return lw_fail_prefix(status, "after %zu devices failed in step %lld", lost, (long long)step);
		}
		plan = &s->plans[s->info.plan_count - 1];
		plan->last_step = step;
		s->info.seconds += plan->makespan;
	}
	return LW_OK;
}

lw_status lw_simulate(lw_simulation **simulation, const lw_net *net, const lw_optim_options *optim,
		      const lw_group_options *groups, size_t group_count, const lw_plan_options *plan_options,
		      const lw_cluster_device *kinds, size_t kind_count, int64_t steps)
{
	lw_simulation *s = NULL;
	lw_status status;

	*simulation = NULL;
	if (plan_options->batch < 1)
		return lw_fail(LW_E_ARGUMENT, "batch: %d; at least 1 was expected", plan_options->batch);
	if (steps < 1)
		return lw_fail(LW_E_ARGUMENT, "%lld steps; at least 1 was expected", (long long)steps);
	LW_TRY(lw_alloc(&s, 1, sizeof *s));
	s->net = net;
	s->kinds = kinds;
	s->info.batch = plan_options->batch;
	s->info.steps = steps;
	LW_GO(lw_groups_create(&s->groups, net, optim, groups, group_count));
	LW_GO(list_members(s, kind_count));
	LW_GO(check_owners(s));
	LW_GO(run(s));
	s->kinds = NULL;
	*simulation = s;
	return LW_OK;
out:
	lw_simulation_destroy(&s);
	return status;
}

void lw_simulation_destroy(lw_simulation **simulation)
{
	lw_simulation *s = *simulation;

	if (!s)
		return;
	for (size_t i = 0; i < s->info.plan_count; i++)
		lw_forecast_clear(&s->plans[i]);
	free(s->plans);
	free(s->members);
	lw_groups_destroy(&s->groups);
	free(s);
	*simulation = NULL;
}

void lw_simulation_get_info(const lw_simulation *simulation, lw_simulation_info *info) { *info = simulation->info; }

const lw_forecast *lw_simulation_plan(const lw_simulation *simulation, size_t index)
{
	return index < simulation->info.plan_count ? &simulation->plans[index] : NULL;
}
