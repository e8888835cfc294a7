/* Tuning a plan: every pass that its net ever runs on the device, whatever is frozen now. */
#include "net/net.h"
#include "op/tune.h"
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

lw_status lw_plan_open_tuning(lw_plan *plan, lw_member *member)
{
	const char *setting = getenv("LAYERWISE_TUNE");
	bool off = plan->options.tuning == LW_TUNING_OFF;

	off |= plan->options.tuning == LW_TUNING_DEFAULT && setting && strcmp(setting, "off") == 0;
	/* a simulated device computes nothing that could be compared */
	if (off || lw_device_get_info(member->device)->type == LW_DEVICE_SIMULATED)
		return LW_OK;
	return lw_tuning_open(&member->tuning, member->device, NULL);
}

static bool ever_trains(const lw_plan *plan, int param)
{
	int group = plan->groups->group_of_param[param];

	return group >= 0 && (!plan->groups->groups[group].frozen || plan->groups->groups[group].unfreeze_at);
}

/* What a layer's passes are called with; in the plan's executor it is the same. */
static lw_op_call call_of(const lw_lane *lane, const lw_unit *unit)
{
	const lw_net *net = lane->plan->net;
	const lw_node *node = &net->nodes[unit->node];
	lw_op_call call = {.options = &node->options, .input_count = node->input_count, .training = true, .relu = unit->relu,
			   .mask_input = unit->mask_input};

	for (int k = 0; k < node->input_count; k++)
		call.input_shape[k] = lw_net_shape(net, node->inputs[k], lane->images);
	call.output_shape = lw_net_shape(net, unit->node, lane->images);
	return call;
}

/* Adds the passes of a layer; below: something below it trains. */
static void add_items(const lw_lane *lane, const lw_unit *unit, bool below, bool weight, lw_tune_item *items, size_t *count)
{
	const lw_node *node = &lane->plan->net->nodes[unit->node];
	const bool wanted[LW_PASS_COUNT] = {true, below, weight};

	for (int pass = 0; node->op->choices && pass < LW_PASS_COUNT; pass++)
		if (wanted[pass])
			items[(*count)++] = (lw_tune_item){node->op, call_of(lane, unit), (lw_pass)pass,
							   node->rule.flops * lane->images};
}

static lw_status list_items(const lw_lane *lane, lw_tune_item *items, size_t *count)
{
	const lw_plan *plan = lane->plan;
	const lw_net *net = plan->net;
	bool *trains = NULL; /* the node or something below it */
	lw_unit *units = NULL;
	lw_status status;

	*count = 0;
	LW_GO(lw_alloc(&trains, net->node_count, sizeof *trains));
	LW_GO(lw_fuse(&units, net, false));
	for (size_t i = 0; i < net->node_count; i++) {
		const lw_node *node = &net->nodes[i];
		bool below = false, weight = false;

		for (int k = 0; k < node->input_count; k++)
			below |= node->inputs[k] != LW_NODE_INPUT && trains[node->inputs[k]];
		for (int slot = 0; slot < node->rule.param_count; slot++)
			weight |= ever_trains(plan, node->params[slot]);
		trains[i] = below || weight;
		for (size_t u = i; u < net->node_count; u++) /* a fused layer's unit stands at its last node */
			if (units[u].node == (int)i && !units[u].absorbed)
				add_items(lane, &units[u], below, weight, items, count);
	}
out:
	free(units);
	free(trains);
	return status;
}

static lw_status tune_lane(const lw_lane *lane, const lw_tune_options *options)
{
	const lw_plan *plan = lane->plan;
	const lw_member *member = &plan->members[lane->member];
	const lw_op_context context = {.device = member->device, .queue = member->queue, .precision = plan->options.precision,
				       .reproducible = plan->options.reproducible, .force_variant = -1};
	lw_tune_item *items;
	lw_status status;
	size_t count;

	if (!member->tuning)
		return LW_OK;
	LW_TRY(lw_alloc(&items, plan->net->node_count * LW_PASS_COUNT, sizeof *items));
	LW_GO(list_items(lane, items, &count));
	LW_GO(lw_tune_items(&context, member->tuning, items, count, options));
out:
	free(items);
	return status;
}

lw_status lw_plan_tune(lw_plan *plan, const lw_tune_options *options)
{
	lw_tune_options each = *options;
	lw_status status = LW_OK, arranged;
	int64_t any = 0;

	for (size_t i = 0; i < plan->lane_count; i++)
		any |= plan->members[plan->lanes[i].member].tuning != NULL;
	LW_TRY(lw_plan_largest(plan, &any)); /* all arrange anew, or none does */
	if (!any)
		return LW_OK;
	if (plan->step > 0)
		return lw_fail(LW_E_ARGUMENT, "tuning comes before the first step; %lld were taken", (long long)plan->step);
	/* their memory is needed, and with other choices they need another amount */
	for (size_t i = 0; i < plan->lane_count; i++)
		lw_executor_destroy(&plan->lanes[i].executor);
	each.budget = options->budget / (double)plan->lane_count;
	for (size_t i = 0; i < plan->lane_count && status == LW_OK; i++)
		status = tune_lane(&plan->lanes[i], &each);
	arranged = lw_plan_arrange(plan);
	return status == LW_OK ? arranged : status;
}
