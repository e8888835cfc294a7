/* The plan's parameters and optimizer state: to and from the net, and to and from a checkpoint. */
#include "sched/sched.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef lw_status (*transfer)(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data);

static lw_status read_part(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data)
{
	return lw_queue_read(queue, buf, offset, bytes, data, NULL);
}

static lw_status write_part(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data)
{
	return lw_queue_write(queue, buf, offset, bytes, data, NULL);
}

static lw_status transfer_params(lw_plan *plan, transfer move)
{
	for (size_t i = 0; i < plan->net->param_count; i++) {
		lw_param *param = &plan->net->params[i];
		LW_TRY(move(plan->queue, plan->params, plan->layout.offsets[i] * sizeof(float), param->count * sizeof(float),
			    param->values));
	}
	return lw_queue_finish(plan->queue);
}

lw_status lw_plan_download(lw_plan *plan) { return transfer_params(plan, read_part); }

lw_status lw_plan_upload(lw_plan *plan) { return transfer_params(plan, write_part); }

lw_status lw_plan_keep_statistics(lw_plan *plan)
{
	if (!plan->statistics_floats)
		return LW_OK;
	return lw_queue_copy(plan->queue, plan->params, plan->statistics_at * sizeof(float), plan->statistics_before, 0,
			     plan->statistics_floats * sizeof(float), NULL);
}

lw_status lw_plan_bring_back_statistics(lw_plan *plan)
{
	if (!plan->statistics_floats)
		return LW_OK;
	LW_TRY(lw_queue_copy(plan->queue, plan->statistics_before, 0, plan->params, plan->statistics_at * sizeof(float),
			     plan->statistics_floats * sizeof(float), NULL));
	return lw_queue_finish(plan->queue);
}

int64_t lw_plan_steps(const lw_plan *plan) { return plan->step; }

typedef lw_status (*state_visitor)(lw_plan *plan, const char *name, size_t param, lw_buf *state, size_t offset, void *user);

/* Calls visit for each state of a parameter that trains; `name` is "optimizer.<state>.<parameter>". */
static lw_status each_state(lw_plan *plan, size_t param, state_visitor visit, void *user)
{
	int k = plan->updates.dispatch_of_param[param];
	lw_dispatch *dispatch;

	if (k < 0)
		return LW_OK;
	dispatch = &plan->updates.dispatches[k];
	for (int s = 0; s < LW_RULE_MAX_STATES; s++) {
		lw_status status;
		char *name;
		if (!dispatch->states[s])
			continue;
		LW_TRY(lw_format_string(&name, "optimizer.%s.%s", dispatch->rule->state_names[s], plan->net->params[param].name));
		status = visit(plan, name, param, dispatch->states[s],
			       (plan->layout.offsets[param] - dispatch->base) * sizeof(float), user);
		free(name);
		if (status != LW_OK)
			return status;
	}
	return LW_OK;
}

static lw_status add_tensor(lw_plan *plan, const char *name, size_t param, const float *values, lw_tensors *tensors)
{
	const lw_param_rule *rule = lw_param_rule_of(plan->net, param);
	int64_t dims[4];

	for (int d = 0; d < rule->rank; d++)
		dims[d] = rule->dims[d];
	return lw_tensors_add(tensors, name, dims, rule->rank, values);
}

static lw_status save_state(lw_plan *plan, const char *name, size_t param, lw_buf *state, size_t offset, void *user)
{
	size_t bytes = plan->net->params[param].count * sizeof(float);
	float *values;
	lw_status status;

	LW_TRY(lw_alloc(&values, plan->net->params[param].count, sizeof(float)));
	LW_GO(lw_queue_read(plan->queue, state, offset, bytes, values, NULL));
	LW_GO(lw_queue_finish(plan->queue));
	LW_GO(add_tensor(plan, name, param, values, user));
out:
	free(values);
	return status;
}

static lw_status set_number(lw_tensors *tensors, const char *key, int64_t number)
{
	char text[32];

	snprintf(text, sizeof text, "%" PRId64, number);
	return lw_tensors_set_metadata(tensors, key, text);
}

lw_status lw_plan_save(lw_plan *plan, lw_tensors *tensors)
{
	LW_TRY(lw_plan_download(plan));
	for (size_t i = 0; i < plan->net->param_count; i++) {
		const lw_param *param = &plan->net->params[i];
		lw_status status;
		char *key;

		LW_TRY(add_tensor(plan, param->name, i, param->values, tensors));
		LW_TRY(each_state(plan, i, save_state, tensors));
		if (!plan->t[i])
			continue;
		LW_TRY(lw_format_string(&key, "t.%s", param->name));
		status = set_number(tensors, key, plan->t[i]);
		free(key);
		LW_TRY(status);
	}
	return set_number(tensors, "plan.step", plan->step);
}

static lw_status get_number(const lw_tensors *tensors, const char *key, int64_t *number)
{
	const char *text = lw_tensors_get_metadata(tensors, key);
	char *end;

	*number = 0;
	if (!text)
		return LW_OK;
	*number = strtoll(text, &end, 10);
	if (end == text || *end || *number < 0)
		return lw_fail(LW_E_FORMAT, "metadata `%s` is `%s`; a number was expected", key, text);
	return LW_OK;
}

static lw_status restore_state(lw_plan *plan, const char *name, size_t param, lw_buf *state, size_t offset, void *user)
{
	size_t count = plan->net->params[param].count;
	lw_tensor_info info;

	if (!lw_tensors_find(user, name, &info)) {
		if (plan->t[param] > 0) { /* regrouped under a rule that keeps other state: it starts afresh */
			lw_log(LW_LOG_INFO, "%s is not in the checkpoint and starts at zero", name);
			plan->t[param] = 0;
		}
		return LW_OK;
	}
	if (info.count != count)
		return lw_fail(LW_E_FORMAT, "`%s` has %zu values, %zu were expected", name, info.count, count);
	LW_TRY(lw_queue_write(plan->queue, state, offset, count * sizeof(float), info.values, NULL));
	return lw_queue_finish(plan->queue);
}

static lw_status restore_param(lw_plan *plan, const lw_tensors *tensors, size_t i)
{
	lw_param *param = &plan->net->params[i];
	lw_tensor_info info;
	lw_status status;
	char *key;

	if (!lw_tensors_find(tensors, param->name, &info)) {
		lw_log(LW_LOG_WARNING, "%s is not in the checkpoint and keeps the value it has", param->name);
		return LW_OK;
	}
	if (info.count != param->count)
		return lw_fail(LW_E_FORMAT, "`%s` has %zu values, %zu were expected", param->name, info.count, param->count);
	memcpy(param->values, info.values, param->count * sizeof(float));
	LW_TRY(lw_format_string(&key, "t.%s", param->name));
	status = get_number(tensors, key, &plan->t[i]);
	free(key);
	return status;
}

lw_status lw_plan_restore(lw_plan *plan, const lw_tensors *tensors)
{
	bool changed;

	plan->computed = false;
	for (size_t i = 0; i < plan->net->param_count; i++)
		LW_TRY(restore_param(plan, tensors, i));
	LW_TRY(get_number(tensors, "plan.step", &plan->step));
	LW_TRY(lw_plan_upload(plan));
	/* The groups as the step just taken had them: what unfreezes next does so at the next step, as it would have. */
	lw_groups_at_step(plan->groups, plan->step > 0 ? plan->step : 1, &changed);
	if (changed)
		LW_TRY(lw_plan_rebuild(plan));
	for (size_t i = 0; i < plan->net->param_count; i++)
		LW_TRY(each_state(plan, i, restore_state, (void *)tensors));
	return lw_plan_rebuild(plan); /* rows by the counts just read */
}
