/* What a plan says of itself. */
#include "sched/sched.h"

#include <math.h>

double lw_plan_learning_rate(const lw_plan *plan, size_t group, int64_t step)
{
	const lw_group *g;

	if (group >= plan->groups->count)
		return NAN;
	g = &plan->groups->groups[group];
	/* frozen now and not yet due */
	if (g->frozen && (!g->unfreeze_at || step < g->unfreeze_at))
		return 0;
	return lw_group_lr(g, step, plan->options.total_steps);
}

int lw_plan_classes(const lw_plan *plan) { return lw_net_classes(plan->net); }

/* Once: what an update writes is there twice. */
static uint64_t state_bytes(const lw_plan *plan)
{
	uint64_t bytes = 0;

	for (size_t i = 0; i < plan->parcel_count; i++)
		bytes += plan->parcels[i].floats * sizeof(float) * (size_t)__builtin_popcount(plan->parcels[i].state_mask);
	return bytes;
}

static size_t passes(const lw_plan *plan)
{
	size_t trained = 0;

	for (size_t g = 0; g < plan->groups->count; g++)
		trained += !plan->groups->groups[g].frozen && plan->groups->groups[g].param_count > 0;
	return plan->options.gradients == LW_GRADIENTS_PER_GROUP ? trained : trained > 0;
}

lw_status lw_plan_get_info(const lw_plan *plan, lw_plan_info *info)
{
	const uint64_t gradients = plan->layout.gradient_floats * sizeof(float);
	static const lw_tape none = {.lowest_node = -1};
	const lw_tape *tape = plan->lane_count ? lw_executor_tape(plan->lanes[0].executor) : &none;
	const double share = plan->lane_count ? (double)plan->lanes[0].images / plan->options.batch : 1;

	*info = (lw_plan_info){.group_count = plan->groups->count,
			       .update_launches = plan->parcel_count,
			       .backward_passes = passes(plan),
			       .backward_flops = tape->backward_flops / share,
			       .parameter_bytes = plan->layout.floats * sizeof(float),
			       .gradient_bytes = gradients * (uint64_t)plan->run_count,
			       .state_bytes = state_bytes(plan),
			       .lowest_trainable = tape->lowest_node < 0 ? NULL : plan->net->nodes[tape->lowest_node].name};
	for (size_t i = 0; i < plan->net->node_count; i++)
		info->forward_flops += plan->net->nodes[i].rule.flops * plan->options.batch;
	for (size_t i = 0; i < plan->lane_count; i++) {
		info->activation_bytes += lw_executor_activation_bytes(plan->lanes[i].executor);
		info->activation_bytes_unplanned += lw_executor_tape(plan->lanes[i].executor)->unplanned_bytes;
	}
	info->pruned_flops = tape->full_backward_flops / share - info->backward_flops;
	if (info->pruned_flops < 0) /* computed once for each group: more than one full backward */
		info->pruned_flops = 0;
	info->peak_bytes = 2 * info->parameter_bytes + info->gradient_bytes + 2 * info->state_bytes + info->activation_bytes +
			   (uint64_t)plan->options.batch * (lw_shape_count(plan->net->input) + 3) * sizeof(float) +
			   plan->lane_count * plan->statistics_floats * sizeof(float);
	return LW_OK;
}

/* The device that owns a group's parameters; NULL where they are several, or none trains. */
static const char *owner_label(const lw_plan *plan, size_t group)
{
	int peer = -1;

	for (size_t p = 0; p < plan->net->param_count; p++) {
		if (plan->groups->group_of_param[p] != (int)group)
			continue;
		for (int k = plan->first_parcel[p]; k <= plan->last_parcel[p]; k++) {
			if (peer >= 0 && peer != plan->parcels[k].peer)
				return NULL;
			peer = plan->parcels[k].peer;
		}
	}
	if (peer < 0 && plan->peer_count == 1)
		peer = 0;
	return peer < 0 ? NULL : plan->peers[peer].label;
}

lw_status lw_plan_get_group(const lw_plan *plan, size_t index, lw_plan_group_info *info)
{
	const lw_group *group;

	if (index >= plan->groups->count)
		return lw_fail(LW_E_ARGUMENT, "group %zu was asked for; there are %zu", index, plan->groups->count);
	group = &plan->groups->groups[index];
	*info = (lw_plan_group_info){.name = group->name,
				     .rule = group->rule.rule,
				     .device = owner_label(plan, index),
				     .params = group->param_count,
				     .floats = group->float_count,
				     .frozen = group->frozen,
				     .unfreeze_at = group->unfreeze_at,
				     .lr = group->lr,
				     .weight_decay = group->rule.weight_decay,
				     .clip_norm = group->clip_norm,
				     .schedule = lw_schedule_name(group->schedule.kind)};
	return LW_OK;
}
