/* Parameter groups: every option decided, from the group's own where it was given and from all groups' otherwise. */
#include "optim/match.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void lw_group_defaults(lw_group_options *group)
{
	*group = (lw_group_options){
		.lr = NAN,
		.lr_mult = NAN,
		.decay_mult = NAN,
		.layer_decay = NAN,
		.momentum = NAN,
		.dampening = NAN,
		.beta1 = NAN,
		.beta2 = NAN,
		.eps = NAN,
		.weight_decay = NAN,
		.nesterov = -1,
		.caffe = -1,
		.amsgrad = -1,
		.no_decay_on_bias_and_norm = -1,
		.clip_norm = NAN,
	};
}

void lw_optim_defaults(lw_optim_options *options)
{
	*options = (lw_optim_options){
		.rule = {.rule = "sgd", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
		.lr = 0.01,
		.layer_decay = 1.0,
	};
	lw_schedule_defaults(&options->schedule);
}

static double either(double own, double common) { return isnan(own) ? common : own; }
static bool either_flag(int own, bool common) { return own < 0 ? common : own != 0; }

/* own, or common times the multiplier. */
static double scaled(double own, double common, double multiplier)
{
	return isnan(own) ? common * either(multiplier, 1.0) : own;
}

static lw_status check_not_negative(const char *what, double value)
{
	if (!(value >= 0.0 && isfinite(value)))
		return lw_fail(LW_E_ARGUMENT, "%s must be a number from 0, not %g", what, value);
	return LW_OK;
}

static lw_status check_layer_decay(double value)
{
	if (!(value > 0.0 && value <= 1.0))
		return lw_fail(LW_E_ARGUMENT, "layer_decay must be above 0 and at most 1, not %g", value);
	return LW_OK;
}

static lw_status check_common(const lw_optim_options *options)
{
	LW_TRY(check_not_negative("lr", options->lr));
	LW_TRY(check_not_negative("clip_norm", options->clip_norm));
	LW_TRY(check_layer_decay(options->layer_decay));
	LW_TRY(lw_rule_check(&options->rule));
	return lw_schedule_check(&options->schedule);
}

/* An option that the group gives but its rule would not read. */
static lw_status check_reads(const lw_group_options *options, const lw_rule *rule)
{
	const struct {
		const char *name;
		bool given;
		lw_rule_takes takes;
	} rows[] = {
		{"momentum", !isnan(options->momentum), LW_TAKES_MOMENTUM},
		{"dampening", !isnan(options->dampening), LW_TAKES_MOMENTUM},
		{"nesterov", options->nesterov > 0, LW_TAKES_MOMENTUM},
		{"caffe", options->caffe > 0, LW_TAKES_MOMENTUM},
		{"beta1", !isnan(options->beta1), LW_TAKES_MOMENTS},
		{"beta2", !isnan(options->beta2), LW_TAKES_MOMENTS},
		{"eps", !isnan(options->eps), LW_TAKES_MOMENTS},
		{"amsgrad", options->amsgrad > 0, LW_TAKES_MOMENTS},
	};

	for (size_t i = 0; i < LW_COUNT(rows); i++)
		if (rows[i].given && rows[i].takes != rule->options)
			return lw_fail(LW_E_ARGUMENT, "%s is not an option of the rule %s", rows[i].name, rule->name);
	return LW_OK;
}

/* What can be said of a group's options before they are joined with the common ones. */
static lw_status check_given(const lw_group_options *options)
{
	const struct {
		const char *name;
		double value;
	} rows[] = {
		{"lr", options->lr},
		{"lr_mult", options->lr_mult},
		{"decay_mult", options->decay_mult},
		{"weight_decay", options->weight_decay},
		{"clip_norm", options->clip_norm},
	};

	for (size_t i = 0; i < LW_COUNT(rows); i++)
		if (!isnan(rows[i].value))
			LW_TRY(check_not_negative(rows[i].name, rows[i].value));
	if (!isnan(options->lr) && !isnan(options->lr_mult))
		return lw_fail(LW_E_ARGUMENT, "lr and lr_mult are both given: only one can be");
	if (!isnan(options->weight_decay) && !isnan(options->decay_mult))
		return lw_fail(LW_E_ARGUMENT, "weight_decay and decay_mult are both given: only one can be");
	if (options->unfreeze_at < 0)
		return lw_fail(LW_E_ARGUMENT, "unfreeze_at must be a step from 1, not %lld",
			       (long long)options->unfreeze_at);
	if (options->unfreeze_at > 0 && !options->freeze)
		return lw_fail(LW_E_ARGUMENT, "unfreeze_at is given, but not freeze");
	return LW_OK;
}

static lw_status decide(lw_group *group, const lw_group_options *own, const lw_optim_options *common)
{
	const lw_rule_options *rule = &common->rule;

	LW_TRY(check_given(own));
	group->frozen = own->freeze;
	group->unfreeze_at = own->unfreeze_at;
	group->lr = scaled(own->lr, common->lr, own->lr_mult);
	group->layer_decay = either(own->layer_decay, common->layer_decay);
	group->clip_norm = own->clip_norm;
	group->rule = (lw_rule_options){
		.rule = own->rule ? own->rule : rule->rule,
		.momentum = either(own->momentum, rule->momentum),
		.dampening = either(own->dampening, rule->dampening),
		.nesterov = either_flag(own->nesterov, rule->nesterov),
		.caffe = either_flag(own->caffe, rule->caffe),
		.beta1 = either(own->beta1, rule->beta1),
		.beta2 = either(own->beta2, rule->beta2),
		.eps = either(own->eps, rule->eps),
		.amsgrad = either_flag(own->amsgrad, rule->amsgrad),
		.weight_decay = scaled(own->weight_decay, rule->weight_decay, own->decay_mult),
	};
	group->no_decay_on_bias_and_norm =
		either_flag(own->no_decay_on_bias_and_norm, common->no_decay_on_bias_and_norm);
	group->schedule = own->schedule ? *own->schedule : common->schedule;
	LW_TRY(check_layer_decay(group->layer_decay));
	LW_TRY(lw_rule_check(&group->rule));
	LW_TRY(check_reads(own, lw_rule_find(group->rule.rule)));
	LW_TRY(lw_schedule_check(&group->schedule));
	group->rule.rule = lw_rule_find(group->rule.rule)->name;
	return own->device ? lw_copy_string(&group->device, own->device) : LW_OK;
}

static lw_status name_group(lw_groups *groups, size_t index, const char *name)
{
	lw_group *group = &groups->groups[index];

	if (!name || !*name)
		LW_TRY(lw_format_string(&group->name, "group%zu", index + 1));
	else
		LW_TRY(lw_copy_string(&group->name, name));
	for (size_t i = 0; i < index; i++)
		if (strcmp(groups->groups[i].name, group->name) == 0)
			return lw_fail(LW_E_ARGUMENT, "two groups are called `%s`", group->name);
	return LW_OK;
}

lw_status lw_groups_create(lw_groups **groups, const lw_net *net, const lw_optim_options *options,
			   const lw_group_options *group_options, size_t count)
{
	lw_group_options all;
	lw_status status;
	lw_groups *made;

	*groups = NULL;
	lw_group_defaults(&all);
	all.name = "all";
	all.is_default = true;
	if (!count) {
		group_options = &all;
		count = 1;
	}
	LW_TRY(check_common(options));
	LW_TRY(lw_alloc(&made, 1, sizeof *made));
	made->param_count = lw_net_param_count(net);
	LW_GO(lw_alloc(&made->groups, count, sizeof *made->groups));
	LW_GO(lw_alloc(&made->group_of_param, made->param_count, sizeof *made->group_of_param));
	made->count = count;
	for (size_t i = 0; i < count; i++) {
		LW_GO(name_group(made, i, group_options[i].name));
		status = decide(&made->groups[i], &group_options[i], options);
		if (status != LW_OK) {
			lw_fail_prefix(status, "group `%s`", made->groups[i].name);
			goto out;
		}
	}
	LW_GO(lw_match_params(made, net, group_options));
	*groups = made;
	return LW_OK;
out:
	lw_groups_destroy(&made);
	return status;
}

void lw_groups_destroy(lw_groups **groups)
{
	lw_groups *g = *groups;

	if (!g)
		return;
	for (size_t i = 0; i < g->count; i++) {
		free(g->groups[i].name);
		free(g->groups[i].device);
	}
	free(g->groups);
	free(g->group_of_param);
	free(g);
	*groups = NULL;
}

void lw_groups_at_step(lw_groups *groups, int64_t step, bool *changed)
{
	*changed = false;
	for (size_t i = 0; i < groups->count; i++) {
		lw_group *group = &groups->groups[i];

		if (!group->frozen || group->unfreeze_at < 1 || step < group->unfreeze_at)
			continue;
		group->frozen = false;
		*changed = true;
	}
}

double lw_group_lr(const lw_group *group, int64_t step, int64_t total)
{
	return group->lr * lw_schedule_factor(&group->schedule, step, total);
}
