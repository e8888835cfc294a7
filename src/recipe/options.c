/* The train and groups sections: optimizer, schedule, plan and loop options. */
#include "recipe/recipe.h"

#include <math.h>
#include <regex.h>
#include <stdlib.h>
#include <string.h>

/* A name that the optim room knows; the value stays the tree's text. */
static lw_status read_rule(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	const char *names[32], *nearest;
	char list[256] = "";
	size_t count = 0, length = 0;
	lw_node_words words;

	(void)recipe;
	for (const lw_rule *rule; count < LW_COUNT(names) && (rule = lw_rule_at(count)); count++) {
		if (node->kind == LW_NODE_SCALAR && strcmp(node->text, rule->name) == 0) {
			*(const char **)target = rule->name;
			return LW_OK;
		}
		names[count] = rule->name;
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s%s", count ? ", " : "", rule->name);
	}
	nearest = node->kind == LW_NODE_SCALAR && !lw_node_is_null(node) ? lw_nearest(node->text, names, count) : NULL;
	return lw_node_fail(node, "%s is %s; expected one of %s%s%s%s", path, lw_node_describe(node, &words), list,
			    nearest ? "; did you mean `" : "", nearest ? nearest : "", nearest ? "`?" : "");
}

/* --- Schedules --- */

static lw_status read_kind(const lw_node *node, const char *path, lw_schedule *schedule)
{
	lw_node_words words;
	lw_status status;

	if (node->kind != LW_NODE_SCALAR || lw_node_is_null(node))
		return lw_node_fail(node, "%s is %s; expected the name of a schedule, e.g. cosine", path, lw_node_describe(node, &words));
	status = lw_schedule_find(node->text, &schedule->kind);
	return status == LW_OK ? LW_OK : lw_node_fail_prefix(node, status);
}

static lw_status read_schedule_kind(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	(void)recipe;
	return read_kind(node, path, target);
}

static lw_status read_milestones(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key range = {.name = "milestones", LW_AT_LEAST(1)};
	lw_schedule *schedule = target;
	int *steps = NULL;
	size_t count = 0;

	LW_TRY(lw_integers_read(recipe, node, path, &range, &steps, &count));
	if (count > LW_SCHEDULE_MAX_MILESTONES)
		return lw_node_fail(node, "%s has %zu steps; expected at most %d", path, count, LW_SCHEDULE_MAX_MILESTONES);
	for (size_t i = 0; i < count; i++) {
		if (i && steps[i] <= steps[i - 1])
			return lw_node_fail(node, "%s has %d after %d; expected rising steps", path, steps[i], steps[i - 1]);
		schedule->milestones[i] = steps[i];
	}
	schedule->milestone_count = (int)count;
	return LW_OK;
}

#define SCHEDULE(field) offsetof(lw_schedule, field)

/* A kind's name alone, or a map. */
static lw_status read_schedule(lw_recipe *recipe, const lw_node *node, const char *path, lw_schedule *schedule)
{
	static const lw_key keys[] = {
		{"kind", LW_KEY_CUSTOM, 0, .read = read_schedule_kind},
		{"warmup", LW_KEY_INT, SCHEDULE(warmup), LW_AT_LEAST(0)},
		{"size", LW_KEY_INT, SCHEDULE(size), LW_AT_LEAST(1)},
		{"gamma", LW_KEY_NUMBER, SCHEDULE(gamma), LW_ABOVE(0)},
		{"milestones", LW_KEY_CUSTOM, 0, .read = read_milestones},
		{"power", LW_KEY_NUMBER, SCHEDULE(power), LW_ABOVE(0)},
		{"min_factor", LW_KEY_NUMBER, SCHEDULE(min_factor), LW_FROM_TO(0, 1)},
		{"pct_start", LW_KEY_NUMBER, SCHEDULE(pct_start), LW_BETWEEN(0, 1)},
		{"div_factor", LW_KEY_NUMBER, SCHEDULE(div_factor), LW_AT_LEAST(1)},
		{"final_div_factor", LW_KEY_NUMBER, SCHEDULE(final_div_factor), LW_AT_LEAST(1)},
	};
	lw_status status;

	lw_schedule_defaults(schedule);
	if (node->kind == LW_NODE_SCALAR) {
		LW_TRY(read_kind(node, path, schedule));
	} else {
		LW_TRY(lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), schedule));
		if (!lw_node_get(node, "kind"))
			return lw_node_fail(node, "%s.kind is missing; expected the name of a schedule, e.g. cosine", path);
	}
	status = lw_schedule_check(schedule);
	return status == LW_OK ? LW_OK : lw_node_fail_prefix(node, status);
}

static lw_status read_train_schedule(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	(void)target;
	return read_schedule(recipe, node, path, &recipe->optim.schedule);
}

static lw_status read_group_schedule(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_group_options *group = target;
	lw_schedule *schedule = NULL;

	LW_TRY(lw_recipe_alloc(recipe, &schedule, 1, sizeof(*schedule)));
	LW_TRY(read_schedule(recipe, node, path, schedule));
	group->schedule = schedule;
	return LW_OK;
}

/* --- Train --- */

#define RECIPE(field) offsetof(lw_recipe, field)

static lw_status read_checkpoint(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key keys[] = {
		{"dir", LW_KEY_PATH, RECIPE(train.checkpoint_dir), LW_ANY},
		{"every", LW_KEY_INT64, RECIPE(train.checkpoint_every), LW_AT_LEAST(0)},
		{"keep", LW_KEY_INT, RECIPE(train.checkpoint_keep), LW_AT_LEAST(1)},
	};

	(void)target;
	LW_TRY(lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), recipe));
	if (!recipe->train.checkpoint_dir)
		return lw_node_fail(node, "%s.dir is missing; expected a folder's path", path);
	return LW_OK;
}

/* abort, or skip:N. */
static lw_status read_on_nan(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_node_words words;
	char *end;

	(void)target;
	if (node->kind == LW_NODE_SCALAR && strcmp(node->text, "abort") == 0) {
		recipe->train.skip_not_finite = 0;
		return LW_OK;
	}
	if (node->kind == LW_NODE_SCALAR && strncmp(node->text, "skip:", 5) == 0 &&
	    strspn(node->text + 5, "0123456789") == strlen(node->text + 5)) {
		long steps = strtol(node->text + 5, &end, 10);
		if (steps >= 1 && steps <= 1000000000) {
			recipe->train.skip_not_finite = (int)steps;
			return LW_OK;
		}
	}
	return lw_node_fail(node, "%s is %s; expected abort, or skip:N with the number of steps that may be skipped", path,
			    lw_node_describe(node, &words));
}

static lw_status read_seed(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key key = {"seed", LW_KEY_UINT32, 0, LW_AT_LEAST(0)};

	(void)target;
	LW_TRY(lw_key_read(recipe, node, path, &key, &recipe->train.seed));
	recipe->plan.seed = recipe->train.seed;
	return LW_OK;
}

static const char *const precisions[] = {[LW_PRECISION_FAST] = "fast", [LW_PRECISION_ACCURATE] = "accurate", NULL};
static const char *const gradients[] = {[LW_GRADIENTS_ONCE] = "once", [LW_GRADIENTS_PER_GROUP] = "per_group", NULL};

static const lw_key train_keys[] = {
	{"batch", LW_KEY_INT, RECIPE(plan.batch), LW_AT_LEAST(1)},
	{"epochs", LW_KEY_INT64, RECIPE(train.epochs), LW_AT_LEAST(1)},
	{"steps", LW_KEY_INT64, RECIPE(train.steps), LW_AT_LEAST(1)},
	{"shuffle", LW_KEY_BOOL, RECIPE(train.shuffle), LW_ANY},
	{"seed", LW_KEY_CUSTOM, 0, .read = read_seed},
	{"rule", LW_KEY_CUSTOM, RECIPE(optim.rule.rule), .read = read_rule},
	{"lr", LW_KEY_NUMBER, RECIPE(optim.lr), LW_AT_LEAST(0)},
	{"momentum", LW_KEY_NUMBER, RECIPE(optim.rule.momentum), LW_FROM_BELOW(0, 1)},
	{"dampening", LW_KEY_NUMBER, RECIPE(optim.rule.dampening), LW_FROM_TO(0, 1)},
	{"nesterov", LW_KEY_BOOL, RECIPE(optim.rule.nesterov), LW_ANY},
	{"caffe", LW_KEY_BOOL, RECIPE(optim.rule.caffe), LW_ANY},
	{"beta1", LW_KEY_NUMBER, RECIPE(optim.rule.beta1), LW_FROM_BELOW(0, 1)},
	{"beta2", LW_KEY_NUMBER, RECIPE(optim.rule.beta2), LW_FROM_BELOW(0, 1)},
	{"betas", LW_KEY_BETAS, RECIPE(optim.rule.beta1), LW_FROM_BELOW(0, 1)},
	{"eps", LW_KEY_NUMBER, RECIPE(optim.rule.eps), LW_ABOVE(0)},
	{"amsgrad", LW_KEY_BOOL, RECIPE(optim.rule.amsgrad), LW_ANY},
	{"weight_decay", LW_KEY_NUMBER, RECIPE(optim.rule.weight_decay), LW_AT_LEAST(0)},
	{"schedule", LW_KEY_CUSTOM, 0, .read = read_train_schedule},
	{"clip_norm", LW_KEY_NUMBER, RECIPE(optim.clip_norm), LW_AT_LEAST(0)},
	{"layer_decay", LW_KEY_NUMBER, RECIPE(optim.layer_decay), LW_ABOVE_TO(0, 1)},
	{"no_decay_on_bias_and_norm", LW_KEY_BOOL, RECIPE(optim.no_decay_on_bias_and_norm), LW_ANY},
	{"label_smoothing", LW_KEY_NUMBER, RECIPE(plan.label_smoothing), LW_FROM_BELOW(0, 1)},
	{"precision", LW_KEY_CHOICE, RECIPE(plan.precision), .choices = precisions},
	{"reproducible", LW_KEY_BOOL, RECIPE(plan.reproducible), LW_ANY},
	{"slices", LW_KEY_INT, RECIPE(plan.slices), LW_FROM_TO(1, LW_MAX_SLICES)},
	{"sync_batchnorm", LW_KEY_BOOL, RECIPE(plan.synchronise_batchnorm), LW_ANY},
	{"gradients", LW_KEY_CHOICE, RECIPE(plan.gradients), .choices = gradients},
	{"checkpoint", LW_KEY_CUSTOM, 0, .read = read_checkpoint},
	{"on_nan", LW_KEY_CUSTOM, 0, .read = read_on_nan},
	{"evaluate_every", LW_KEY_INT64, RECIPE(train.evaluate_every), LW_AT_LEAST(0)},
};

/* Two keys that say the same: an override wins over the file, else it is an error. */
static lw_status check_either(const lw_node *map, const char *path, const char *a, const char *b, bool *first_wins,
			      bool *second_wins)
{
	const lw_node *first = lw_node_get(map, a), *second = lw_node_get(map, b);

	*first_wins = *second_wins = false;
	if (!first || !second)
		return LW_OK;
	*first_wins = first->line == 0 && second->line != 0;
	*second_wins = second->line == 0 && first->line != 0;
	if (*first_wins || *second_wins)
		return LW_OK;
	return lw_node_fail(second, "%s has both %s and %s; expected one of them", path, a, b);
}

/* betas and beta1 or beta2, with an override of one of them. */
static lw_status check_betas(const lw_node *map, const char *path)
{
	const lw_node *betas = lw_node_get(map, "betas");

	if (betas && (lw_node_get(map, "beta1") || lw_node_get(map, "beta2")))
		return lw_node_fail(betas, "%s has both betas and beta1 or beta2; expected one way", path);
	return LW_OK;
}

lw_status lw_recipe_read_train(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	bool steps, epochs;

	(void)target;
	LW_TRY(lw_keys_read(recipe, node, path, train_keys, LW_COUNT(train_keys), recipe));
	LW_TRY(check_betas(node, path));
	LW_TRY(check_either(node, path, "epochs", "steps", &epochs, &steps));
	if (epochs)
		recipe->train.steps = 0;
	if (steps || (recipe->train.steps && !lw_node_get(node, "epochs")))
		recipe->train.epochs = 0;
	return LW_OK;
}

/* --- Groups --- */

/* Patterns; a regular expression is compiled once here, so that its error has a line. */
static lw_status read_match(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key key = {.name = "match", .type = LW_KEY_TEXTS};
	lw_group_options *group = target;
	lw_texts patterns = {0};

	LW_TRY(lw_key_read(recipe, node, path, &key, &patterns));
	for (size_t i = 0; i < patterns.count; i++) {
		regex_t regex;
		char text[128];
		int error;

		if (strncmp(patterns.items[i], "re:", 3) != 0)
			continue;
		error = regcomp(&regex, patterns.items[i] + 3, REG_EXTENDED | REG_NOSUB);
		if (!error) {
			regfree(&regex);
			continue;
		}
		regerror(error, &regex, text, sizeof(text));
		return lw_node_fail(node, "%s: `%.60s` is not a regular expression: %s", path, patterns.items[i], text);
	}
	group->match = patterns.items;
	group->match_count = patterns.count;
	return LW_OK;
}

/* Optimizer state in the host's memory, a CPU being its owner. */
static lw_status read_offload(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_group_options *group = target;
	lw_node_words words;

	(void)recipe;
	if (node->kind != LW_NODE_SCALAR || strcmp(node->text, "cpu") != 0)
		return lw_node_fail(node, "%s is %s; expected cpu", path, lw_node_describe(node, &words));
	group->device = node->text;
	return LW_OK;
}

#define GROUP(field) offsetof(lw_group_options, field)

static const lw_key group_keys[] = {
	{"name", LW_KEY_TEXT, GROUP(name), LW_ANY},
	{"match", LW_KEY_CUSTOM, 0, .read = read_match},
	{"default", LW_KEY_BOOL, GROUP(is_default), LW_ANY},
	{"freeze", LW_KEY_BOOL, GROUP(freeze), LW_ANY},
	{"unfreeze_at", LW_KEY_INT64, GROUP(unfreeze_at), LW_AT_LEAST(1)},
	{"lr", LW_KEY_NUMBER, GROUP(lr), LW_AT_LEAST(0)},
	{"lr_mult", LW_KEY_NUMBER, GROUP(lr_mult), LW_AT_LEAST(0)},
	{"decay_mult", LW_KEY_NUMBER, GROUP(decay_mult), LW_AT_LEAST(0)},
	{"layer_decay", LW_KEY_NUMBER, GROUP(layer_decay), LW_ABOVE_TO(0, 1)},
	{"rule", LW_KEY_CUSTOM, GROUP(rule), .read = read_rule},
	{"momentum", LW_KEY_NUMBER, GROUP(momentum), LW_FROM_BELOW(0, 1)},
	{"dampening", LW_KEY_NUMBER, GROUP(dampening), LW_FROM_TO(0, 1)},
	{"nesterov", LW_KEY_FLAG, GROUP(nesterov), LW_ANY},
	{"caffe", LW_KEY_FLAG, GROUP(caffe), LW_ANY},
	{"beta1", LW_KEY_NUMBER, GROUP(beta1), LW_FROM_BELOW(0, 1)},
	{"beta2", LW_KEY_NUMBER, GROUP(beta2), LW_FROM_BELOW(0, 1)},
	{"betas", LW_KEY_BETAS, GROUP(beta1), LW_FROM_BELOW(0, 1)},
	{"eps", LW_KEY_NUMBER, GROUP(eps), LW_ABOVE(0)},
	{"amsgrad", LW_KEY_FLAG, GROUP(amsgrad), LW_ANY},
	{"weight_decay", LW_KEY_NUMBER, GROUP(weight_decay), LW_AT_LEAST(0)},
	{"schedule", LW_KEY_CUSTOM, 0, .read = read_group_schedule},
	{"clip_norm", LW_KEY_NUMBER, GROUP(clip_norm), LW_AT_LEAST(0)},
	{"no_decay_on_bias_and_norm", LW_KEY_FLAG, GROUP(no_decay_on_bias_and_norm), LW_ANY},
	{"device", LW_KEY_TEXT, GROUP(device), LW_ANY},
	{"offload", LW_KEY_CUSTOM, 0, .read = read_offload},
};

static lw_status check_group(const lw_recipe *recipe, const lw_node *node, const char *path, size_t index)
{
	const lw_group_options *group = &recipe->groups[index];

	if (!group->name)
		return lw_node_fail(node, "%s.name is missing; expected a name for the group", path);
	if (!group->match_count && !group->is_default)
		return lw_node_fail(node, "%s (`%.60s`) has neither match nor default: true; expected one of them", path, group->name);
	if (lw_node_get(node, "offload") && lw_node_get(node, "device"))
		return lw_node_fail(lw_node_get(node, "offload"), "%s has both device and offload; expected one of them", path);
	if (group->unfreeze_at && !group->freeze)
		return lw_node_fail(lw_node_get(node, "unfreeze_at"), "%s.unfreeze_at is there without freeze: true", path);
	for (size_t i = 0; i < index; i++) {
		if (strcmp(recipe->groups[i].name, group->name) == 0)
			return lw_node_fail(lw_node_get(node, "name"), "the group name `%.60s` is there twice", group->name);
		if (recipe->groups[i].is_default && group->is_default)
			return lw_node_fail(lw_node_get(node, "default"), "the groups `%.60s` and `%.60s` are both default; expected one",
					    recipe->groups[i].name, group->name);
	}
	return check_betas(node, path);
}

lw_status lw_recipe_read_groups(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_node_words words;

	(void)target;
	if (node->kind != LW_NODE_LIST || node->count == 0)
		return lw_node_fail(node, "%s is %s; expected a list of groups, e.g. - {name: new, match: \"fc.*\", lr: 0.001}", path,
				    lw_node_describe(node, &words));
	LW_TRY(lw_recipe_alloc(recipe, &recipe->groups, node->count, sizeof(*recipe->groups)));
	recipe->group_count = node->count;
	for (size_t i = 0; i < node->count; i++) {
		char full[64];
		snprintf(full, sizeof(full), "%s.%zu", path, i);
		lw_group_defaults(&recipe->groups[i]);
		LW_TRY(lw_keys_read(recipe, node->items[i], full, group_keys, LW_COUNT(group_keys), &recipe->groups[i]));
		LW_TRY(check_group(recipe, node->items[i], full, i));
	}
	return LW_OK;
}
