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

static uint64_t state_bytes(const lw_plan *plan)
{
	uint64_t bytes = 0;

	for (size_t k = 0; k < plan->updates.dispatch_count; k++)
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			if (plan->updates.dispatches[k].states[s])
				bytes += lw_buf_size(plan->updates.dispatches[k].states[s]);
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
	const lw_tape *tape = lw_executor_tape(plan->executor);
	int batch = plan->options.batch;

	*info = (lw_plan_info){.group_count = plan->groups->count,
			       .update_launches = plan->updates.dispatch_count,
			       .backward_passes = passes(plan),
			       .backward_flops = tape->backward_flops,
			       .parameter_bytes = lw_buf_size(plan->params),
			       .gradient_bytes = lw_buf_size(plan->gradients),
			       .state_bytes = state_bytes(plan),
			       .activation_bytes = lw_executor_activation_bytes(plan->executor),
			       .activation_bytes_unplanned = tape->unplanned_bytes,
			       .lowest_trainable = tape->lowest_node < 0 ? NULL : plan->net->nodes[tape->lowest_node].name};
	for (size_t i = 0; i < plan->net->node_count; i++)
		info->forward_flops += plan->net->nodes[i].rule.flops * batch;
	info->pruned_flops = tape->full_backward_flops - tape->backward_flops;
	if (info->pruned_flops < 0) /* computed once for each group: more than one full backward */
		info->pruned_flops = 0;
	info->peak_bytes = info->parameter_bytes + info->gradient_bytes + info->state_bytes + info->activation_bytes +
			   (uint64_t)batch * (lw_shape_count(plan->net->input) + 1) * sizeof(float) +
			   (plan->outcome.floats + plan->statistics_floats) * sizeof(float);
	return LW_OK;
}

lw_status lw_plan_get_group(const lw_plan *plan, size_t index, lw_plan_group_info *info)
{
	const lw_group *group;

	if (index >= plan->groups->count)
		return lw_fail(LW_E_ARGUMENT, "group %zu was asked for; there are %zu", index, plan->groups->count);
	group = &plan->groups->groups[index];
	*info = (lw_plan_group_info){.name = group->name,
				     .rule = group->rule.rule,
				     .device = lw_device_label(plan->device),
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
