/* Where a step's time goes. */
#include "sched/sched.h"

#include <stdlib.h>

static void describe(const lw_plan *plan, const lw_instruction *instruction, lw_layer_time *time)
{
	static const char *const parts[] = {[LW_FORWARD] = "forward", [LW_LOSS] = "loss", [LW_BACKWARD] = "backward",
					    [LW_ACCUMULATE] = "sum", [LW_MASK] = "mask"};
	const lw_node *node = &plan->net->nodes[instruction->node];
	int passes = instruction->kind == LW_FORWARD;

	if (instruction->kind == LW_BACKWARD) {
		bool data = false, params = false;
		for (int k = 0; k < node->input_count; k++)
			data |= instruction->input_gradients[k] >= 0;
		for (int slot = 0; slot < node->rule.param_count; slot++)
			params |= instruction->param_gradients[slot];
		passes = data + params;
	}
	time->layer = node->name;
	time->kind = node->op->kind;
	time->part = parts[instruction->kind];
	time->flops = node->rule.flops * plan->lanes[0].images * passes;
}

lw_status lw_plan_profile(lw_plan *plan, const float *images, const int32_t *labels, lw_layer_time *times, size_t capacity,
			  size_t *count)
{
	lw_lane *lane = &plan->lanes[0];
	const lw_tape *tape = lw_executor_tape(lane->executor);
	lw_status status;
	double *seconds;

	*count = tape->count;
	if (plan->lanes_of_all > 1 && (plan->slices || plan->options.synchronise_batchnorm))
		return lw_fail(LW_E_UNSUPPORTED, "devices that wait for each other's statistics cannot be timed layer by layer");
	LW_TRY(lw_alloc(&seconds, tape->count, sizeof *seconds));
	plan->computed = false;
	LW_GO(lw_lane_profile(lane, images, labels, seconds));
	for (size_t i = 0; i < tape->count && i < capacity; i++) {
		describe(plan, &tape->instructions[i], &times[i]);
		times[i].seconds = seconds[i];
	}
out:
	free(seconds);
	return status;
}
