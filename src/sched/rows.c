/* Rows: the numbers by which one launch updates every group with its own options, and the domains of clipping. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>

static const lw_group *group_of(const lw_plan *plan, size_t param)
{
	const int group = plan->groups->group_of_param[param];

	return group < 0 ? NULL : &plan->groups->groups[group];
}

static lw_status find_row(lw_rows *rows, const lw_plan *plan, size_t param)
{
	const lw_group *group = group_of(plan, param);
	lw_param_info info;
	lw_row row;

	LW_TRY(lw_net_param_info(plan->net, param, &info));
	row = (lw_row){plan->groups->group_of_param[param],
		       group->no_decay_on_bias_and_norm && lw_param_rule_of(plan->net, param)->no_decay,
		       group->layer_decay != 1.0 ? info.depth : 0, plan->t[param]};
	for (size_t i = 0; i < rows->count; i++) {
		const lw_row *other = &rows->rows[i];
		if (other->group == row.group && other->no_decay == row.no_decay && other->depth == row.depth && other->t == row.t) {
			rows->of_param[param] = (int)i;
			return LW_OK;
		}
	}
	LW_TRY(lw_grow(&rows->rows, &rows->capacity, rows->count + 1, sizeof *rows->rows));
	rows->rows[rows->count] = row;
	rows->of_param[param] = (int)rows->count++;
	return LW_OK;
}

/* Rows of a group with a clip of its own form a domain, all others share the global one. */
static lw_status find_domains(lw_rows *rows, const lw_plan *plan)
{
	const lw_groups *groups = plan->groups;
	int32_t *domain_of_group;

	LW_TRY(lw_alloc(&rows->domain, rows->count, sizeof *rows->domain));
	LW_TRY(lw_alloc(&rows->limits, groups->count + 1, sizeof *rows->limits));
	LW_TRY(lw_alloc(&domain_of_group, groups->count, sizeof *domain_of_group));
	rows->limits[0] = plan->optim.clip_norm > 0 ? (float)plan->optim.clip_norm : INFINITY;
	rows->domain_count = 1;
	for (size_t g = 0; g < groups->count; g++) {
		const double clip = groups->groups[g].clip_norm;
		if (isnan(clip))
			continue;
		domain_of_group[g] = (int32_t)rows->domain_count;
		rows->limits[rows->domain_count++] = clip > 0 ? (float)clip : INFINITY;
	}
	for (size_t i = 0; i < rows->count; i++)
		rows->domain[i] = domain_of_group[rows->rows[i].group];
	free(domain_of_group);
	return LW_OK;
}

lw_status lw_rows_create(lw_rows *rows, const lw_plan *plan)
{
	*rows = (lw_rows){0};
	LW_TRY(lw_alloc(&rows->of_param, plan->net->param_count, sizeof(int)));
	for (size_t i = 0; i < plan->net->param_count; i++) {
		const lw_group *group = group_of(plan, i);
		rows->of_param[i] = -1;
		if (group && !group->frozen)
			LW_TRY(find_row(rows, plan, i));
	}
	LW_TRY(lw_alloc(&rows->values, rows->count, LW_RULE_ROW * sizeof(float)));
	return find_domains(rows, plan);
}

void lw_rows_clear(lw_rows *rows)
{
	free(rows->rows);
	free(rows->of_param);
	free(rows->values);
	free(rows->domain);
	free(rows->limits);
	*rows = (lw_rows){0};
}

void lw_rows_fill(lw_rows *rows, const lw_plan *plan, int64_t step)
{
	for (size_t i = 0; i < rows->count; i++) {
		const lw_row *row = &rows->rows[i];
		const lw_group *group = &plan->groups->groups[row->group];
		const double lr = lw_group_lr(group, step, plan->options.total_steps) * pow(group->layer_decay, row->depth);
		const double decay = row->no_decay ? 0.0 : group->rule.weight_decay;

		lw_rule_find(group->rule.rule)->row(&group->rule, lr, decay, row->t + 1, rows->values + i * LW_RULE_ROW);
	}
}

void lw_rows_count(lw_plan *plan, int group)
{
	lw_rows *rows = &plan->rows;

	for (size_t i = 0; i < rows->count; i++)
		rows->rows[i].t += rows->rows[i].group == group;
	for (size_t i = 0; i < plan->net->param_count; i++)
		plan->t[i] += rows->of_param[i] >= 0 && rows->rows[rows->of_param[i]].group == group;
}
