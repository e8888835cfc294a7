/* Where a step's time goes. */
#include "sched/sched.h"

#include <stdlib.h>

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
		const lw_label label = lw_instruction_label(plan->net, &tape->instructions[i], plan->options.batch);

		times[i] = (lw_layer_time){label.layer, plan->net->nodes[tape->instructions[i].node].op->kind, label.part, seconds[i], label.flops};
	}
out:
	free(seconds);
	return status;
}
