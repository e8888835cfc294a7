/*
 * Who computes and who owns what: made anew, at a step's boundary, when a group unfreezes, a device is lost, or shares turn
 * out to be unequal. What is committed stays where it is, in the host's memory.
 */
#include "sched/sched.h"
#include "sched/shares.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Shares are changed once, after so many steps of a kind, and only for a gain. */
enum { MEASURED_STEPS = 6 };
static const double worth_it = 0.08;

/* --- Shares --- */

/* What is shared out: slices where there are any, else images. */
static int units(const lw_plan *plan) { return plan->slices ? plan->slices : plan->options.batch; }

static void find_speeds(const lw_plan *plan, const lw_peer *peers, double *speeds)
{
	bool measured = true;

	for (size_t i = 0; i < plan->peer_count; i++)
		measured &= !peers[i].computes || peers[i].speed > 0;
	for (size_t i = 0; i < plan->peer_count; i++) {
		const lw_peer *peer = &peers[i];

		if (!peer->computes)
			speeds[i] = 0;
		else if (plan->shares)
			speeds[i] = peer->share;
		else
			speeds[i] = measured ? peer->speed : peer->guess;
	}
}

static lw_status share(const lw_plan *plan, const lw_peer *peers, int *parts)
{
	double *speeds;

	LW_TRY(lw_alloc(&speeds, plan->peer_count, sizeof *speeds));
	find_speeds(plan, peers, speeds);
	lw_share_out(units(plan), plan->peer_count, speeds, NULL, parts);
	free(speeds);
	return LW_OK;
}

/* How much sooner the slowest would end if the batch were shared out anew: a fraction of the time that it takes now. */
static double gain(const lw_plan *plan, const lw_peer *peers, const int *parts)
{
	double end = 0, now = 0;

	for (size_t i = 0; i < plan->peer_count; i++) {
		const lw_peer *peer = &plan->peers[i];
		const int part = plan->slices ? peer->slice_count : peer->images;

		if (part)
			now = fmax(now, part / peers[i].speed);
		if (parts[i])
			end = fmax(end, parts[i] / peers[i].speed);
	}
	return 1 - end / now;
}

/*
 * From now on shares are held: they are dealt out anew only where devices are lost, and by these speeds. kept: nothing is
 * changed, so the speeds are made to say so.
 */
static void hold_speeds(lw_plan *plan, const lw_peer *peers, bool kept)
{
	double all = 0;

	for (size_t i = 0; i < plan->peer_count; i++)
		all += peers[i].computes ? peers[i].speed : 0;
	for (size_t i = 0; i < plan->peer_count; i++) {
		lw_peer *peer = &plan->peers[i];

		peer->speed = kept ? all * peer->images / plan->options.batch : peers[i].speed;
		if (peer->rank == lw_plan_rank(plan) && peer->computes)
			plan->members[peer->member].speed = peer->speed;
	}
	plan->balanced = true;
}

lw_status lw_plan_weigh(lw_plan *plan, bool *unbalanced)
{
	lw_peer *peers = NULL;
	int *parts = NULL;
	lw_status status;
	size_t count;

	*unbalanced = false;
	if (plan->shares || plan->lanes_of_all < 2 || plan->step != plan->arranged_at + MEASURED_STEPS || plan->balanced)
		return LW_OK;
	LW_GO(lw_plan_list_peers(plan, &peers, &count));
	LW_GO(lw_alloc(&parts, plan->peer_count, sizeof *parts));
	LW_GO(share(plan, peers, parts));
	*unbalanced = gain(plan, peers, parts) > worth_it;
	hold_speeds(plan, peers, !*unbalanced);
out:
	free(peers);
	free(parts);
	return status;
}

/* A device's part, from the unit `at`: whole images and, of slices, its runs. */
static lw_status give_share(lw_plan *plan, lw_peer *peer, int part, int at)
{
	const int batch = plan->options.batch;

	peer->first_image = plan->slices ? lw_slice_begin(batch, plan->slices, at) : at;
	peer->images = (plan->slices ? lw_slice_begin(batch, plan->slices, at + part) : at + part) - peer->first_image;
	peer->slice_count = plan->slices ? part : 0;
	peer->first_run = plan->run_count;
	if (plan->slices)
		peer->run_count = lw_slice_runs(at, part, plan->runs + plan->run_count);
	else
		plan->runs[plan->run_count] = (lw_run){plan->run_count, peer->run_count = 1};
	plan->run_count += peer->run_count;
	plan->lanes_of_all++;
	plan->rank_image[peer->rank + 1] += peer->images;
	if (plan->run_count > LW_MAX_RUNS)
		return lw_fail(LW_E_UNSUPPORTED, "the batch is shared out in %d parts; at most %d are possible", plan->run_count, LW_MAX_RUNS);
	return LW_OK;
}

static void add_lane(lw_plan *plan, const lw_peer *peer)
{
	plan->lanes[plan->lane_count] = (lw_lane){.plan = plan,
						  .member = peer->member,
						  .index = (int)plan->lane_count,
						  .first_image = peer->first_image,
						  .images = peer->images,
						  .slice_count = peer->slice_count,
						  .first_run = peer->first_run,
						  .run_count = peer->run_count};
	plan->lane_count++;
	plan->own_runs += peer->run_count;
}

/* Lanes in the devices' order, this rank's of them made. */
static lw_status create_shares(lw_plan *plan)
{
	int *parts = NULL, at = 0;
	lw_status status;

	LW_GO(lw_plan_list_peers(plan, &plan->peers, &plan->peer_count));
	LW_GO(lw_alloc(&parts, plan->peer_count, sizeof *parts));
	LW_GO(lw_alloc(&plan->lanes, plan->member_count, sizeof *plan->lanes));
	LW_GO(lw_alloc(&plan->rank_image, (size_t)lw_plan_rank_count(plan) + 1, sizeof(int)));
	LW_GO(share(plan, plan->peers, parts));
	for (size_t i = 0; i < plan->peer_count; i++) {
		lw_peer *peer = &plan->peers[i];

		if (!parts[i])
			continue;
		LW_GO(give_share(plan, peer, parts[i], at));
		if (peer->rank == lw_plan_rank(plan))
			add_lane(plan, peer);
		at += parts[i];
	}
	for (int r = 0; r < lw_plan_rank_count(plan); r++)
		plan->rank_image[r + 1] += plan->rank_image[r];
	if (!plan->lanes_of_all)
		status = lw_fail(LW_E_DEVICE, "no device that computes is left");
out:
	free(parts);
	return status;
}

/* One arena of gradients a run; those there are stay. */
static lw_status create_gradients(lw_plan *plan)
{
	for (int r = 0; r < plan->run_count; r++)
		if (!plan->gradients[r].memory)
			LW_TRY(lw_arena_create(&plan->gradients[r], plan->layout.gradient_floats, plan->member_count));
	return LW_OK;
}

/* --- Parcels --- */

/* A peer that the group's `device:` names, -1: none, or one that was lost. */
static int fixed_owner(const lw_plan *plan, int group)
{
	const int owner = plan->owner_of_group[group];

	return owner >= 0 && plan->peers[owner].lost ? -1 : owner;
}

/* Groups of one rule with the same fixed owner share parcels. */
static lw_status find_classes(const lw_plan *plan, int **class_of_group)
{
	const lw_groups *groups = plan->groups;

	LW_TRY(lw_alloc(class_of_group, groups->count, sizeof(int)));
	for (size_t g = 0; g < groups->count; g++) {
		size_t first = 0;

		while (strcmp(groups->groups[first].rule.rule, groups->groups[g].rule.rule) != 0 ||
		       fixed_owner(plan, (int)first) != fixed_owner(plan, (int)g))
			first++;
		(*class_of_group)[g] = (int)first;
	}
	return LW_OK;
}

static void describe_parcel(lw_plan *plan, const lw_parcel *cut, lw_plan_parcel *parcel)
{
	*parcel = (lw_plan_parcel){.offset = plan->layout.offsets[plan->order[cut->first]] + cut->from,
				   .floats = cut->floats,
				   .rule = lw_rule_find(plan->groups->groups[cut->group].rule.rule),
				   .first_param = (int)cut->first,
				   .params = (int)cut->count};
	for (size_t k = 0; k < cut->count; k++) {
		const int param = plan->order[cut->first + k], row = plan->rows.of_param[param];
		const lw_group *group = &plan->groups->groups[plan->groups->group_of_param[param]];
		const int index = (int)(parcel - plan->parcels);

		parcel->state_mask |= parcel->rule->states(&group->rule);
		parcel->clipped |= isfinite(plan->rows.limits[plan->rows.domain[row]]);
		if (plan->first_parcel[param] > plan->last_parcel[param])
			plan->first_parcel[param] = index;
		plan->last_parcel[param] = index;
	}
}

static lw_status add_chunk(lw_plan *plan, size_t *capacity, lw_chunk chunk)
{
	LW_TRY(lw_grow(&plan->chunks, capacity, plan->chunk_count + 1, sizeof *plan->chunks));
	plan->chunks[plan->chunk_count++] = chunk;
	return LW_OK;
}

static lw_status cut_chunks(lw_plan *plan, lw_plan_parcel *parcel, size_t *capacity)
{
	parcel->chunk = plan->chunk_count;
	for (int k = 0; k < parcel->params; k++) {
		const int param = plan->order[parcel->first_param + k];
		const size_t begin = plan->layout.offsets[param], last = parcel->offset + parcel->floats;
		size_t at = begin > parcel->offset ? begin : parcel->offset, end = begin + plan->net->params[param].count;

		for (end = end < last ? end : last; at < end; at += LW_CHUNK_FLOATS) {
			const size_t length = end - at < LW_CHUNK_FLOATS ? end - at : LW_CHUNK_FLOATS;
			LW_TRY(add_chunk(plan, capacity, (lw_chunk){(int32_t)(at - parcel->offset), (int32_t)length,
								     plan->rows.of_param[param], param}));
		}
	}
	parcel->chunks = plan->chunk_count - parcel->chunk;
	return LW_OK;
}

static lw_status create_parcels(lw_plan *plan)
{
	const lw_workload *workload = &plan->workload;
	const size_t params = plan->net->param_count;
	size_t capacity = 0;

	LW_TRY(lw_alloc(&plan->parcels, workload->parcel_count, sizeof *plan->parcels));
	LW_TRY(lw_alloc(&plan->first_parcel, params, sizeof(int)));
	LW_TRY(lw_alloc(&plan->last_parcel, params, sizeof(int)));
	for (size_t p = 0; p < params; p++)
		plan->last_parcel[p] = -1;
	plan->parcel_count = workload->parcel_count;
	for (size_t i = 0; i < plan->parcel_count; i++) {
		describe_parcel(plan, &workload->parcels[i], &plan->parcels[i]);
		LW_TRY(cut_chunks(plan, &plan->parcels[i], &capacity));
	}
	LW_TRY(lw_alloc(&plan->norms, plan->chunk_count, sizeof(float)));
	LW_TRY(lw_alloc(&plan->scale, plan->rows.count, sizeof(float)));
	return lw_alloc(&plan->domain_norms, plan->rows.domain_count, sizeof(float));
}

/* Optimizer state is made when a rule that trains needs it. */
static lw_status create_states(lw_plan *plan)
{
	for (size_t i = 0; i < plan->parcel_count; i++)
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			for (int k = 0; k < 2 && (plan->parcels[i].state_mask >> s & 1); k++)
				if (!plan->states[s][k].memory)
					LW_TRY(lw_arena_create(&plan->states[s][k], plan->layout.gradient_floats, plan->member_count));
	return LW_OK;
}

/* --- Owners --- */

/* Devices that are left, as the placement sees them; owner gets an index of peers. All ranks come to the same. */
static lw_status place(lw_plan *plan)
{
	lw_placement_problem problem = {.parcels = plan->workload.placed, .parcel_count = plan->parcel_count};
	lw_placement_device *devices = NULL;
	int *owner = NULL, *peer_of = NULL;
	const double began = lw_now();
	lw_status status;

	LW_GO(lw_alloc(&devices, plan->peer_count, sizeof *devices));
	LW_GO(lw_alloc(&peer_of, plan->peer_count, sizeof *peer_of));
	LW_GO(lw_alloc(&owner, plan->parcel_count, sizeof *owner));
	problem.devices = devices;
	problem.device_count = lw_plan_describe_devices(plan, devices, peer_of);
	for (size_t k = 0; k < plan->parcel_count; k++)
		for (size_t d = 0; d < problem.device_count; d++)
			if (fixed_owner(plan, plan->workload.parcels[k].group) == peer_of[d])
				plan->workload.placed[k].fixed_owner = (int)d;
	LW_GO(lw_place(&problem, owner, NULL));
	for (size_t k = 0; k < plan->parcel_count; k++) {
		const int peer = peer_of[owner[k]];

		plan->parcels[k].peer = peer;
		plan->parcels[k].owner = plan->peers[peer].rank == lw_plan_rank(plan) ? plan->peers[peer].member : -1;
	}
	plan->planning_seconds = lw_now() - began;
out:
	free(devices);
	free(peer_of);
	free(owner);
	return status;
}

/* Each owner's parcels, in the order in which backward completes their gradients. */
static lw_status create_owners(lw_plan *plan)
{
	const lw_workload *workload = &plan->workload;

	LW_TRY(lw_alloc(&plan->owners, plan->member_count, sizeof *plan->owners));
	for (size_t m = 0; m < plan->member_count; m++) {
		lw_owner *owner = &plan->owners[plan->owner_count];

		*owner = (lw_owner){.plan = plan, .member = (int)m};
		LW_TRY(lw_alloc(&owner->owned, plan->parcel_count, sizeof *owner->owned));
		for (size_t i = 0; i < plan->parcel_count; i++) {
			size_t at = owner->count;

			if (plan->parcels[i].owner != (int)m)
				continue;
			for (; at > 0 && workload->placed[owner->owned[at - 1].parcel].ready > workload->placed[i].ready; at--)
				owner->owned[at] = owner->owned[at - 1];
			owner->owned[at] = (lw_owned){.parcel = (int)i};
			owner->count++;
		}
		if (owner->count)
			plan->owner_count++;
		else
			free(owner->owned);
	}
	return LW_OK;
}

/* --- All together --- */

/* What a device itself refuses is its failure, and the others may go on without it. */
static lw_status blame(lw_plan *plan, int member, lw_status status)
{
	if (status == LW_OK || status == LW_E_ARGUMENT || !lw_plan_is_shared(plan))
		return status;
	plan->members[member].lost = true;
	return lw_fail_prefix(status, "device %s", lw_device_label(plan->members[member].device));
}

static lw_status create_queue(lw_queue **queue, const lw_member *member, const char *name)
{
	if (*queue)
		return LW_OK;
	LW_TRY(lw_queue_create(queue, member->device));
	lw_queue_name(*queue, name);
	return LW_OK;
}

static lw_status create_queues(lw_plan *plan)
{
	for (size_t i = 0; i < plan->owner_count; i++) {
		lw_member *member = &plan->members[plan->owners[i].member];

		if (!plan->lanes[0].direct && !member->opened)
			LW_TRY(blame(plan, plan->owners[i].member, create_queue(&member->updates, member, "updates")));
	}
	for (size_t i = 0; i < plan->lane_count; i++) {
		lw_member *member = &plan->members[plan->lanes[i].member];

		if (!plan->lanes[0].direct && !member->in_place)
			LW_TRY(blame(plan, plan->lanes[i].member, create_queue(&member->transfers, member, "transfers")));
	}
	return LW_OK;
}

static lw_status create_work(lw_plan *plan)
{
	plan->lanes[0].direct = !plan->ranks && plan->lane_count == 1 && plan->owner_count == 1 && plan->owners[0].member == plan->lanes[0].member;
	LW_TRY(create_queues(plan));
	for (size_t i = 0; i < plan->lane_count; i++)
		LW_TRY(blame(plan, plan->lanes[i].member, lw_lane_create(&plan->lanes[i])));
	for (size_t i = 0; i < plan->owner_count; i++)
		LW_TRY(blame(plan, plan->owners[i].member, lw_owner_create(&plan->owners[i])));
	return lw_post_create(plan);
}

static void drop_lost(lw_plan *plan)
{
	for (size_t i = 0; i < plan->member_count; i++) {
		lw_member *member = &plan->members[i];

		if (!member->lost)
			continue;
		for (int k = 0; k < 2; k++) {
			lw_arena_forget(&plan->params[k], i);
			for (int s = 0; s < LW_RULE_MAX_STATES; s++)
				lw_arena_forget(&plan->states[s][k], i);
		}
		for (int r = 0; r < LW_MAX_RUNS; r++)
			lw_arena_forget(&plan->gradients[r], i);
		lw_queue_destroy(&member->queue);
		lw_queue_destroy(&member->updates);
		lw_queue_destroy(&member->transfers);
	}
}

void lw_plan_settle(lw_plan *plan)
{
	for (size_t i = 0; i < plan->member_count; i++) {
		lw_queue *queues[] = {plan->members[i].queue, plan->members[i].updates, plan->members[i].transfers};

		for (size_t k = 0; k < LW_COUNT(queues); k++)
			if (queues[k])
				lw_queue_drain(queues[k]);
	}
}

void lw_plan_disband(lw_plan *plan)
{
	lw_plan_settle(plan);
	for (size_t i = 0; i < plan->lane_count; i++)
		lw_lane_clear(&plan->lanes[i]);
	for (size_t i = 0; i < plan->owner_count; i++)
		lw_owner_clear(&plan->owners[i]);
	lw_post_clear(&plan->post);
	free(plan->peers);
	free(plan->rank_image);
	free(plan->lanes);
	free(plan->owners);
	free(plan->parcels);
	free(plan->first_parcel);
	free(plan->last_parcel);
	free(plan->chunks);
	free(plan->norms);
	free(plan->scale);
	free(plan->domain_norms);
	lw_workload_clear(&plan->workload);
	plan->peers = NULL;
	plan->rank_image = NULL;
	plan->lanes = NULL;
	plan->owners = NULL;
	plan->parcels = NULL;
	plan->first_parcel = plan->last_parcel = NULL;
	plan->chunks = NULL;
	plan->norms = plan->scale = plan->domain_norms = NULL;
	plan->lane_count = plan->owner_count = plan->parcel_count = plan->chunk_count = 0;
	plan->peer_count = 0;
	plan->lanes_of_all = plan->run_count = plan->own_runs = 0;
	lw_rows_clear(&plan->rows);
}

/* What other ranks' devices own is kept there. */
static void release_states(lw_plan *plan)
{
	for (size_t i = 0; i < plan->parcel_count; i++)
		for (int s = 0; plan->parcels[i].owner < 0 && s < LW_RULE_MAX_STATES; s++)
			for (int k = 0; k < 2 && (plan->parcels[i].state_mask >> s & 1); k++)
				lw_arena_release(&plan->states[s][k], plan->parcels[i].offset, plan->parcels[i].floats);
}

lw_status lw_plan_arrange(lw_plan *plan)
{
	int *class_of_group = NULL;
	lw_status status;

	LW_TRY(lw_plan_fetch(plan));
	LW_TRY(lw_plan_spread_states(plan, -1));
	lw_plan_disband(plan);
	drop_lost(plan);
	LW_GO(lw_rows_create(&plan->rows, plan));
	LW_GO(create_shares(plan));
	LW_GO(create_gradients(plan));
	LW_GO(find_classes(plan, &class_of_group));
	LW_GO(lw_workload_create(&plan->workload, plan->net, plan->groups, class_of_group, plan->order));
	LW_GO(create_parcels(plan));
	LW_GO(create_states(plan));
	LW_GO(place(plan));
	LW_GO(create_owners(plan));
	release_states(plan);
	LW_GO(lw_plan_conclude(plan, create_work(plan)));
	plan->arranged_at = plan->step;
	plan->moved = false;
out:
	free(class_of_group);
	return status;
}
