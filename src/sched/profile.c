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
	time->flops = node->rule.flops * plan->options.batch * passes;
}

lw_status lw_plan_profile(lw_plan *plan, const float *images, const int32_t *labels, lw_layer_time *times, size_t capacity,
			  size_t *count)
{
	const lw_tape *tape = lw_executor_tape(plan->executor);
	lw_status status;
	double *seconds;

	*count = tape->count;
	LW_TRY(lw_alloc(&seconds, tape->count, sizeof *seconds));
	LW_GO(lw_queue_finish(plan->queue));
	plan->computed = false;
	LW_GO(lw_executor_profile(plan->executor, images, labels, (uint32_t)(plan->step + 1), seconds));
	LW_GO(lw_queue_finish(plan->queue));
	for (size_t i = 0; i < tape->count && i < capacity; i++) {
		describe(plan, &tape->instructions[i], &times[i]);
		times[i].seconds = seconds[i];
	}
out:
	free(seconds);
	return status;
}
