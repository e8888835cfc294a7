/* What a step reports: losses, hits, gradient norms and, where something is not finite, the first bad tensor. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>

lw_status lw_outcome_create(lw_plan *plan)
{
	lw_outcome *o = &plan->outcome;
	size_t batch = (size_t)plan->options.batch, aligned = lw_round_up(batch, LW_ARENA_ALIGNMENT);
	size_t domains = plan->updates.domain_count ? plan->updates.domain_count : 1;
	size_t chunks = plan->updates.chunk_count ? plan->updates.chunk_count : 1;

	*o = (lw_outcome){0};
	o->correct_at = aligned;
	o->norms_at = 2 * aligned;
	o->sums_at = o->norms_at + lw_round_up(domains, LW_ARENA_ALIGNMENT);
	o->floats = o->sums_at + chunks;
	LW_TRY(lw_buf_create(&o->buf, plan->device, o->floats * sizeof(float)));
	LW_TRY(lw_queue_fill(plan->queue, o->buf, 0, o->floats * sizeof(float), 0, NULL));
	LW_TRY(lw_buf_slice(&o->loss, o->buf, 0, batch * sizeof(float)));
	LW_TRY(lw_buf_slice(&o->correct, o->buf, o->correct_at * sizeof(float), batch * sizeof(float)));
	LW_TRY(lw_buf_slice(&o->norms, o->buf, o->norms_at * sizeof(float), domains * sizeof(float)));
	LW_TRY(lw_buf_slice(&o->sums, o->buf, o->sums_at * sizeof(float), chunks * sizeof(float)));
	return lw_alloc(&o->host, o->floats, sizeof(float));
}

void lw_outcome_clear(lw_outcome *o)
{
	lw_buf_destroy(&o->loss);
	lw_buf_destroy(&o->correct);
	lw_buf_destroy(&o->norms);
	lw_buf_destroy(&o->sums);
	lw_buf_destroy(&o->buf);
	free(o->host);
	*o = (lw_outcome){0};
}

/* The net's first parameter with a gradient that is not finite; NULL: all are. */
static const char *bad_gradient(const lw_plan *plan)
{
	const float *sums = plan->outcome.host + plan->outcome.sums_at;
	int first = -1;

	for (size_t i = 0; i < plan->updates.chunk_count; i++)
		if (!isfinite(sums[i]) && (first < 0 || plan->updates.chunks[i].param < first))
			first = plan->updates.chunks[i].param;
	return first < 0 ? NULL : plan->net->params[first].name;
}

lw_status lw_outcome_read(lw_plan *plan, lw_step_result *result)
{
	lw_outcome *o = &plan->outcome;
	lw_step_result r = {0};

	LW_TRY(lw_queue_read(plan->queue, o->buf, 0, o->floats * sizeof(float), o->host, NULL));
	LW_TRY(lw_queue_finish(plan->queue));
	for (int i = 0; i < plan->options.batch; i++) {
		r.loss += o->host[i];
		r.correct += o->host[o->correct_at + (size_t)i] > 0.5f;
	}
	r.loss /= plan->options.batch;
	r.gradient_norm = o->host[o->norms_at];
	r.bad_tensor = bad_gradient(plan);
	if (!r.bad_tensor && !isfinite(r.loss))
		r.bad_tensor = "loss";
	r.finite = !r.bad_tensor;
	if (!r.finite)
		LW_TRY(lw_plan_bring_back_statistics(plan));
	plan->finite = r.finite;
	plan->outcome_known = true;
	if (result)
		*result = r;
	return LW_OK;
}
