/* The plan's parameters and optimizer state: to and from the net, and to and from a checkpoint. */
#include "sched/sched.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

lw_status lw_plan_download(lw_plan *plan)
{
	LW_TRY(lw_plan_fetch(plan));
	for (size_t i = 0; i < plan->net->param_count; i++) {
		const lw_param *param = &plan->net->params[i];

		memcpy(param->values, plan->params[plan->which].memory + plan->layout.offsets[i], param->count * sizeof(float));
	}
	return LW_OK;
}

lw_status lw_plan_upload(lw_plan *plan)
{
	LW_TRY(lw_plan_fetch(plan));
	for (size_t i = 0; i < plan->net->param_count; i++) {
		const lw_param *param = &plan->net->params[i];

		for (int k = 0; k < 2; k++) /* no step writes what is frozen */
			memcpy(plan->params[k].memory + plan->layout.offsets[i], param->values, param->count * sizeof(float));
	}
	lw_plan_stale(plan);
	return LW_OK;
}

int64_t lw_plan_steps(const lw_plan *plan) { return plan->step; }

typedef lw_status (*state_visitor)(lw_plan *plan, const char *name, size_t param, lw_arena state[2], void *user);

/* Calls visit for each state of a parameter that trains; `name` is "optimizer.<state>.<parameter>". */
static lw_status each_state(lw_plan *plan, size_t param, state_visitor visit, void *user)
{
	const lw_rule_options *options;
	const lw_rule *rule;

	if (plan->rows.of_param[param] < 0)
		return LW_OK;
	options = &plan->groups->groups[plan->groups->group_of_param[param]].rule;
	rule = lw_rule_find(options->rule);
	for (int s = 0; s < rule->state_count; s++) {
		lw_status status;
		char *name;
		if (!(rule->states(options) >> s & 1))
			continue;
		LW_TRY(lw_format_string(&name, "optimizer.%s.%s", rule->state_names[s], plan->net->params[param].name));
		status = visit(plan, name, param, plan->states[s], user);
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

static lw_status save_state(lw_plan *plan, const char *name, size_t param, lw_arena state[2], void *user)
{
	return add_tensor(plan, name, param, state[plan->which].memory + plan->layout.offsets[param], user);
}

static lw_status set_number(lw_tensors *tensors, const char *key, int64_t number)
{
	char text[32];

	snprintf(text, sizeof text, "%" PRId64, number);
	return lw_tensors_set_metadata(tensors, key, text);
}

static lw_status speed_key(const lw_plan *plan, size_t peer, char **key)
{
	return lw_format_string(key, "plan.speed.%d.%s", plan->peers[peer].rank, plan->peers[peer].label);
}

/* What shares are dealt out by, once that is settled: a run that goes on has the same bits only with the same shares. */
static lw_status save_speeds(const lw_plan *plan, lw_tensors *tensors)
{
	for (size_t i = 0; plan->balanced && i < plan->peer_count; i++) {
		lw_status status;
		char *key, text[32];

		LW_TRY(speed_key(plan, i, &key));
		snprintf(text, sizeof text, "%.17g", plan->peers[i].speed);
		status = lw_tensors_set_metadata(tensors, key, text);
		free(key);
		LW_TRY(status);
	}
	return LW_OK;
}

lw_status lw_plan_save(lw_plan *plan, lw_tensors *tensors)
{
	LW_TRY(lw_plan_download(plan));
	LW_TRY(lw_plan_spread_states(plan, 0));
	for (size_t i = 0; lw_plan_rank(plan) == 0 && i < plan->net->param_count; i++) {
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
	LW_TRY(save_speeds(plan, tensors));
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

static lw_status restore_state(lw_plan *plan, const char *name, size_t param, lw_arena state[2], void *user)
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
	memcpy(state[plan->which].memory + plan->layout.offsets[param], info.values, count * sizeof(float));
	return LW_OK;
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

/* The speed of a device as the checkpoint has it; 0: not. */
static lw_status find_speed(const lw_plan *plan, const lw_tensors *tensors, size_t peer, double *speed)
{
	const char *text;
	char *key;

	LW_TRY(speed_key(plan, peer, &key));
	text = lw_tensors_get_metadata(tensors, key);
	free(key);
	*speed = text ? strtod(text, NULL) : 0;
	*speed = *speed > 0 ? *speed : 0;
	return LW_OK;
}

/* A run on the same devices shares as it did; on others that is found anew. */
static lw_status restore_speeds(lw_plan *plan, const lw_tensors *tensors)
{
	bool all = plan->lanes_of_all > 1;
	double speed;

	for (size_t i = 0; i < plan->peer_count; i++) {
		LW_TRY(find_speed(plan, tensors, i, &speed));
		all &= !plan->peers[i].computes || speed > 0;
	}
	for (size_t i = 0; all && i < plan->peer_count; i++) {
		LW_TRY(find_speed(plan, tensors, i, &speed));
		if (plan->peers[i].rank == lw_plan_rank(plan))
			plan->members[plan->peers[i].member].speed = speed;
	}
	plan->balanced = all;
	return LW_OK;
}

lw_status lw_plan_restore(lw_plan *plan, const lw_tensors *tensors)
{
	bool changed;

	plan->computed = false;
	LW_TRY(restore_speeds(plan, tensors));
	for (size_t i = 0; i < plan->net->param_count; i++)
		LW_TRY(restore_param(plan, tensors, i));
	LW_TRY(get_number(tensors, "plan.step", &plan->step));
	LW_TRY(lw_plan_upload(plan));
	/* The groups as the step just taken had them: what unfreezes next does so at the next step, as it would have. */
	lw_groups_at_step(plan->groups, plan->step > 0 ? plan->step : 1, &changed);
	if (changed)
		LW_TRY(lw_plan_arrange(plan));
	for (size_t i = 0; i < plan->net->param_count; i++)
		LW_TRY(each_state(plan, i, restore_state, (void *)tensors));
	return lw_plan_arrange(plan); /* rows by the counts just read */
}
