/* Rows, dispatches, chunk tables: what one launch a rule needs to update every group with its own options. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static lw_group *group_of(const lw_plan *plan, size_t param)
{
	int group = plan->groups->group_of_param[param];

	return group < 0 ? NULL : &plan->groups->groups[group];
}

static bool exempt_from_decay(const lw_plan *plan, size_t param)
{
	return group_of(plan, param)->no_decay_on_bias_and_norm && lw_param_rule_of(plan->net, param)->no_decay;
}

static lw_status find_row(lw_plan *plan, lw_updates *updates, size_t param, int *index)
{
	const lw_group *group = group_of(plan, param);
	lw_param_info info;
	lw_row row;

	LW_TRY(lw_net_param_info(plan->net, param, &info));
	row = (lw_row){plan->groups->group_of_param[param], exempt_from_decay(plan, param),
		       group->layer_decay != 1.0 ? info.depth : 0, plan->t[param]};
	for (size_t i = 0; i < updates->row_count; i++) {
		const lw_row *other = &updates->rows[i];
		if (other->group == row.group && other->no_decay == row.no_decay && other->depth == row.depth && other->t == row.t) {
			*index = (int)i;
			return LW_OK;
		}
	}
	LW_TRY(lw_grow(&updates->rows, &updates->row_capacity, updates->row_count + 1, sizeof *updates->rows));
	updates->rows[updates->row_count] = row;
	*index = (int)updates->row_count++;
	return LW_OK;
}

/* The dispatch of a rule; its range grows to hold the parameter. */
static int find_dispatch(lw_plan *plan, lw_updates *updates, size_t param)
{
	const lw_group *group = group_of(plan, param);
	const lw_rule *rule = lw_rule_find(group->rule.rule);
	size_t begin = plan->layout.offsets[param];
	size_t end = lw_round_up(begin + plan->net->params[param].count, LW_ARENA_ALIGNMENT);
	size_t k = 0;
	lw_dispatch *dispatch;

	while (k < updates->dispatch_count && updates->dispatches[k].rule != rule)
		k++;
	dispatch = &updates->dispatches[k];
	if (k == updates->dispatch_count) {
		*dispatch = (lw_dispatch){.rule = rule, .owner = plan->device, .base = begin};
		updates->dispatch_count++;
	}
	if (begin < dispatch->base) {
		dispatch->floats += dispatch->base - begin;
		dispatch->base = begin;
	}
	if (end > dispatch->base + dispatch->floats)
		dispatch->floats = end - dispatch->base;
	dispatch->state_mask |= rule->states(&group->rule);
	dispatch->parameters++;
	return (int)k;
}

/* Every trainable, unfrozen parameter gets its row and its dispatch. */
static lw_status assign(lw_plan *plan, lw_updates *updates)
{
	size_t count = plan->net->param_count, rules = 0;

	while (lw_rule_at(rules))
		rules++;
	LW_TRY(lw_alloc(&updates->row_of_param, count, sizeof(int)));
	LW_TRY(lw_alloc(&updates->dispatch_of_param, count, sizeof(int)));
	LW_TRY(lw_alloc(&updates->dispatches, rules, sizeof *updates->dispatches));
	LW_TRY(lw_alloc(&updates->ready, rules, sizeof(int)));
	for (size_t i = 0; i < count; i++) {
		const lw_group *group = group_of(plan, i);
		updates->row_of_param[i] = updates->dispatch_of_param[i] = -1;
		if (!group || group->frozen)
			continue;
		LW_TRY(find_row(plan, updates, i, &updates->row_of_param[i]));
		updates->dispatch_of_param[i] = find_dispatch(plan, updates, i);
	}
	return LW_OK;
}

static lw_status add_chunk(lw_chunk **chunks, size_t *count, size_t *capacity, lw_chunk chunk)
{
	LW_TRY(lw_grow(chunks, capacity, *count + 1, sizeof **chunks));
	(*chunks)[(*count)++] = chunk;
	return LW_OK;
}

/* Cuts every parameter that trains into chunks, in its dispatch's table and in the table of all. */
static lw_status cut_chunks(lw_plan *plan, lw_updates *updates)
{
	for (size_t i = 0; i < plan->net->param_count; i++) {
		size_t begin = plan->layout.offsets[i], count = plan->net->params[i].count;
		lw_dispatch *dispatch;

		if (updates->row_of_param[i] < 0)
			continue;
		dispatch = &updates->dispatches[updates->dispatch_of_param[i]];
		for (size_t at = 0; at < count; at += LW_CHUNK_FLOATS) {
			size_t length = count - at < LW_CHUNK_FLOATS ? count - at : LW_CHUNK_FLOATS;
			lw_chunk chunk = {(int32_t)(begin + at), (int32_t)length, updates->row_of_param[i], (int32_t)i};
			LW_TRY(add_chunk(&updates->chunks, &updates->chunk_count, &updates->chunk_capacity, chunk));
			chunk.offset = (int32_t)(begin + at - dispatch->base);
			LW_TRY(add_chunk(&dispatch->chunks, &dispatch->chunk_count, &dispatch->chunk_capacity, chunk));
		}
	}
	return LW_OK;
}

static lw_status send(lw_plan *plan, lw_buf **buf, const void *data, size_t bytes)
{
	LW_TRY(lw_buf_create(buf, plan->device, bytes));
	LW_TRY(lw_queue_write(plan->queue, *buf, 0, bytes, data, NULL));
	return lw_queue_finish(plan->queue);
}

/* Clip domains: rows of a group with a clip of its own form one, all others share the global one. */
static lw_status send_domains(lw_plan *plan, lw_updates *updates)
{
	lw_status status = LW_OK;
	int32_t *domains = NULL;
	float *limits = NULL;
	int *domain_of_group = NULL;

	LW_GO(lw_alloc(&domains, updates->row_count, sizeof *domains));
	LW_GO(lw_alloc(&limits, plan->groups->count + 1, sizeof *limits));
	LW_GO(lw_alloc(&domain_of_group, plan->groups->count, sizeof(int)));
	limits[0] = plan->optim.clip_norm > 0 ? (float)plan->optim.clip_norm : INFINITY;
	updates->domain_count = 1;
	for (size_t g = 0; g < plan->groups->count; g++) {
		double clip = plan->groups->groups[g].clip_norm;
		if (isnan(clip))
			continue;
		domain_of_group[g] = (int)updates->domain_count;
		limits[updates->domain_count++] = clip > 0 ? (float)clip : INFINITY;
	}
	for (size_t i = 0; i < updates->row_count; i++)
		domains[i] = domain_of_group[updates->rows[i].group];
	LW_GO(send(plan, &updates->domain_of_row, domains, updates->row_count * sizeof *domains));
	LW_GO(send(plan, &updates->max_norms, limits, updates->domain_count * sizeof *limits));
out:
	free(domains);
	free(limits);
	free(domain_of_group);
	return status;
}

/* State that the old dispatch of the rule had for a range is copied; the rest starts at zero. */
static lw_status create_states(lw_plan *plan, lw_dispatch *dispatch, const lw_updates *old)
{
	const lw_dispatch *before = NULL;

	for (size_t k = 0; old && k < old->dispatch_count; k++)
		if (old->dispatches[k].rule == dispatch->rule)
			before = &old->dispatches[k];
	for (int s = 0; s < LW_RULE_MAX_STATES; s++) {
		size_t begin, end;

		if (!(dispatch->state_mask >> s & 1))
			continue;
		LW_TRY(lw_buf_create(&dispatch->states[s], plan->device, dispatch->floats * sizeof(float)));
		LW_TRY(lw_queue_fill(plan->queue, dispatch->states[s], 0, dispatch->floats * sizeof(float), 0, NULL));
		if (!before || !before->states[s])
			continue;
		begin = before->base > dispatch->base ? before->base : dispatch->base;
		end = before->base + before->floats;
		if (end > dispatch->base + dispatch->floats)
			end = dispatch->base + dispatch->floats;
		if (begin < end)
			LW_TRY(lw_queue_copy(plan->queue, before->states[s], (begin - before->base) * sizeof(float), dispatch->states[s],
					     (begin - dispatch->base) * sizeof(float), (end - begin) * sizeof(float), NULL));
	}
	return lw_queue_finish(plan->queue);
}

static lw_status create_dispatch(lw_plan *plan, lw_dispatch *dispatch, const lw_updates *old)
{
	size_t offset = dispatch->base * sizeof(float), bytes = dispatch->floats * sizeof(float);

	LW_TRY(lw_buf_slice(&dispatch->params, plan->params, offset, bytes));
	LW_TRY(lw_buf_slice(&dispatch->gradients, plan->gradients, offset, bytes));
	LW_TRY(send(plan, &dispatch->device_chunks, dispatch->chunks, dispatch->chunk_count * sizeof(lw_chunk)));
	return create_states(plan, dispatch, old);
}

lw_status lw_updates_create(lw_plan *plan, lw_updates *updates, lw_updates *old)
{
	*updates = (lw_updates){0};
	LW_TRY(lw_alloc(&updates->group_chunks, plan->groups->count, sizeof(lw_buf *)));
	LW_TRY(lw_alloc(&updates->group_chunk_count, plan->groups->count, sizeof(int)));
	LW_TRY(assign(plan, updates));
	LW_TRY(cut_chunks(plan, updates));
	if (!updates->row_count)
		return LW_OK;
	for (size_t k = 0; k < updates->dispatch_count; k++)
		LW_TRY(create_dispatch(plan, &updates->dispatches[k], old));
	LW_TRY(send(plan, &updates->device_chunks, updates->chunks, updates->chunk_count * sizeof(lw_chunk)));
	LW_TRY(lw_alloc(&updates->host_rows, updates->row_count, LW_RULE_ROW * sizeof(float)));
	LW_TRY(lw_buf_create(&updates->device_rows, plan->device, updates->row_count * LW_RULE_ROW * sizeof(float)));
	LW_TRY(lw_buf_create(&updates->scale, plan->device, updates->row_count * sizeof(float)));
	return send_domains(plan, updates);
}

void lw_updates_clear(lw_updates *updates, size_t group_count)
{
	for (size_t k = 0; k < updates->dispatch_count; k++) {
		lw_dispatch *dispatch = &updates->dispatches[k];
		lw_buf_destroy(&dispatch->params);
		lw_buf_destroy(&dispatch->gradients);
		lw_buf_destroy(&dispatch->device_chunks);
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			lw_buf_destroy(&dispatch->states[s]);
		free(dispatch->chunks);
	}
	for (size_t g = 0; updates->group_chunks && g < group_count; g++)
		lw_buf_destroy(&updates->group_chunks[g]);
	lw_buf_destroy(&updates->device_chunks);
	lw_buf_destroy(&updates->device_rows);
	lw_buf_destroy(&updates->scale);
	lw_buf_destroy(&updates->domain_of_row);
	lw_buf_destroy(&updates->max_norms);
	free(updates->rows);
	free(updates->row_of_param);
	free(updates->dispatch_of_param);
	free(updates->dispatches);
	free(updates->chunks);
	free(updates->host_rows);
	free(updates->group_chunks);
	free(updates->group_chunk_count);
	free(updates->ready);
	*updates = (lw_updates){0};
}

lw_status lw_updates_send_rows(lw_plan *plan, int64_t step)
{
	lw_updates *updates = &plan->updates;

	for (size_t i = 0; i < updates->row_count; i++) {
		const lw_row *row = &updates->rows[i];
		const lw_group *group = &plan->groups->groups[row->group];
		double lr = lw_group_lr(group, step, plan->options.total_steps) * pow(group->layer_decay, row->depth);
		double decay = row->no_decay ? 0.0 : group->rule.weight_decay;
		lw_rule_find(group->rule.rule)->row(&group->rule, lr, decay, row->t + 1, updates->host_rows + i * LW_RULE_ROW);
	}
	for (size_t k = 0; k < updates->dispatch_count; k++)
		updates->dispatches[k].pending = updates->dispatches[k].parameters;
	updates->ready_count = 0;
	if (!updates->row_count)
		return LW_OK;
	return lw_queue_write(plan->queue, updates->device_rows, 0, updates->row_count * LW_RULE_ROW * sizeof(float),
			      updates->host_rows, NULL);
}

lw_status lw_updates_gradient_ready(void *user, int param)
{
	lw_plan *plan = user;
	lw_updates *updates = &plan->updates;
	int k = updates->dispatch_of_param[param];

	if (k >= 0 && --updates->dispatches[k].pending == 0)
		updates->ready[updates->ready_count++] = k;
	return LW_OK;
}

lw_status lw_updates_norms(lw_plan *plan)
{
	lw_updates *updates = &plan->updates;

	if (!updates->row_count)
		return LW_OK;
	lw_queue_label(plan->queue, (lw_label){.layer = "gradient norms", .part = "update"});
	LW_TRY(lw_chunk_norms(&plan->context, updates->device_chunks, (int)updates->chunk_count, plan->gradients, plan->outcome.sums));
	LW_TRY(lw_clip_coefficients(&plan->context, updates->device_chunks, (int)updates->chunk_count, plan->outcome.sums,
				    updates->domain_of_row, (int)updates->row_count, updates->max_norms, (int)updates->domain_count,
				    updates->scale, plan->outcome.norms));
	lw_queue_label(plan->queue, (lw_label){0});
	return LW_OK;
}

static lw_arenas arenas_of(const lw_dispatch *d)
{
	return (lw_arenas){.params = d->params, .gradients = d->gradients, .states = {d->states[0], d->states[1], d->states[2]}};
}

lw_status lw_updates_apply_all(lw_plan *plan)
{
	lw_updates *updates = &plan->updates;

	for (size_t i = 0; i < updates->ready_count; i++) {
		lw_dispatch *d = &updates->dispatches[updates->ready[i]];
		const lw_arenas arenas = arenas_of(d);
		lw_queue_label(plan->queue, (lw_label){.layer = d->rule->name, .part = "update"});
		LW_TRY(lw_rule_update(&plan->context, d->rule, d->device_chunks, (int)d->chunk_count, updates->device_rows,
				      updates->scale, &arenas));
	}
	lw_queue_label(plan->queue, (lw_label){0});
	return LW_OK;
}

/* The group's part of its dispatch's chunk table, as a table of its own. */
static lw_status group_table(lw_plan *plan, int group, lw_dispatch *dispatch)
{
	lw_updates *updates = &plan->updates;
	lw_status status = LW_OK;
	lw_chunk *chunks = NULL;
	int count = 0;

	if (updates->group_chunks[group])
		return LW_OK;
	LW_TRY(lw_alloc(&chunks, dispatch->chunk_count, sizeof *chunks));
	for (size_t i = 0; i < dispatch->chunk_count; i++)
		if (updates->rows[dispatch->chunks[i].row].group == group)
			chunks[count++] = dispatch->chunks[i];
	status = send(plan, &updates->group_chunks[group], chunks, (size_t)count * sizeof *chunks);
	updates->group_chunk_count[group] = count;
	free(chunks);
	return status;
}

lw_status lw_updates_apply_group(lw_plan *plan, int group)
{
	lw_updates *updates = &plan->updates;
	const lw_rule *rule = lw_rule_find(plan->groups->groups[group].rule.rule);

	for (size_t k = 0; k < updates->dispatch_count; k++) {
		lw_dispatch *d = &updates->dispatches[k];
		lw_arenas arenas;
		if (d->rule != rule)
			continue;
		LW_TRY(group_table(plan, group, d));
		arenas = arenas_of(d);
		lw_queue_label(plan->queue, (lw_label){.layer = plan->groups->groups[group].name, .part = "update"});
		LW_TRY(lw_rule_update(&plan->context, d->rule, updates->group_chunks[group], updates->group_chunk_count[group],
				      updates->device_rows, updates->scale, &arenas));
		lw_queue_label(plan->queue, (lw_label){0});
		return LW_OK;
	}
	return LW_OK;
}

void lw_updates_count(lw_plan *plan, int group)
{
	lw_updates *updates = &plan->updates;

	for (size_t i = 0; i < updates->row_count; i++)
		updates->rows[i].t += updates->rows[i].group == group;
	for (size_t i = 0; i < plan->net->param_count; i++)
		plan->t[i] += updates->row_of_param[i] >= 0 && updates->rows[updates->row_of_param[i]].group == group;
}
