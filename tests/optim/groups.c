/* Parameter groups: who claims what, what the options come to, and what is refused with which words. */
#include "optim/optim.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static lw_net *net;

/* conv1.weight, conv1.bias, bn1.(weight, bias, running_mean, running_var), conv2.weight, conv2.bias, fc.weight, fc.bias */
static int make_net(void **state)
{
	lw_layer_options conv, bn, fc;

	(void)state;
	lw_layer_defaults(&conv, "conv");
	conv.name = "conv1";
	conv.out = 4;
	conv.kernel[0] = conv.kernel[1] = 3;
	lw_layer_defaults(&bn, "batchnorm");
	bn.name = "bn1";
	lw_layer_defaults(&fc, "linear");
	fc.name = "fc";
	fc.out = 3;
	if (lw_net_create(&net, 1, 8, 8) || lw_net_add(net, "conv", &conv) || lw_net_add(net, "batchnorm", &bn))
		return 1;
	conv.name = "conv2";
	return lw_net_add(net, "conv", &conv) || lw_net_add(net, "linear", &fc);
}

static int drop_net(void **state)
{
	(void)state;
	lw_net_destroy(&net);
	return 0;
}

static size_t param(const char *name)
{
	size_t index;

	if (lw_net_param_find(net, name, &index) != LW_OK)
		fail_msg("%s", lw_last_error());
	return index;
}

static lw_group_options group(const char *name, const char *const *match, size_t count)
{
	lw_group_options g;

	lw_group_defaults(&g);
	g.name = name;
	g.match = match;
	g.match_count = count;
	return g;
}

#define MATCH(...) (const char *const[]){__VA_ARGS__}, LW_COUNT(((const char *const[]){__VA_ARGS__}))

static lw_groups *create(const lw_optim_options *options, const lw_group_options *group_options, size_t count)
{
	lw_optim_options defaults;
	lw_groups *groups;

	lw_optim_defaults(&defaults);
	if (lw_groups_create(&groups, net, options ? options : &defaults, group_options, count) != LW_OK)
		fail_msg("%s", lw_last_error());
	return groups;
}

static int group_of(const lw_groups *groups, const char *name) { return groups->group_of_param[param(name)]; }

static void no_groups_is_one(void **state)
{
	lw_groups *groups = create(NULL, NULL, 0);

	(void)state;
	assert_int_equal(groups->count, 1);
	assert_string_equal(groups->groups[0].name, "all");
	assert_int_equal(groups->groups[0].param_count, 8);
	assert_int_equal(groups->groups[0].float_count, 4 * 9 + 4 + 4 + 4 + 4 * 4 * 9 + 4 + 3 * 64 + 3);
	assert_int_equal(group_of(groups, "fc.bias"), 0);
	assert_int_equal(group_of(groups, "bn1.running_mean"), -1);
	assert_true(isnan(groups->groups[0].clip_norm));
	lw_groups_destroy(&groups);
	assert_null(groups);
	lw_groups_destroy(&groups);
}

static void first_match_wins(void **state)
{
	lw_group_options options[] = {
		group("biases", MATCH("re:bias$")),
		group("convs", MATCH("conv[12].*", "bn?.*")),
		group("rest", NULL, 0),
	};
	lw_groups *groups;

	(void)state;
	options[2].is_default = true;
	groups = create(NULL, options, LW_COUNT(options));
	assert_int_equal(group_of(groups, "conv1.bias"), 0);
	assert_int_equal(group_of(groups, "bn1.bias"), 0);
	assert_int_equal(group_of(groups, "conv1.weight"), 1);
	assert_int_equal(group_of(groups, "bn1.weight"), 1);
	assert_int_equal(group_of(groups, "bn1.running_var"), -1);
	assert_int_equal(group_of(groups, "fc.weight"), 2);
	assert_int_equal(groups->groups[0].param_count, 4);
	assert_int_equal(groups->groups[1].param_count, 3);
	lw_groups_destroy(&groups);
}

/* A glob matches the whole name, a regular expression is searched for; a default group may be left with nothing. */
static void globs_whole_expressions_anywhere(void **state)
{
	lw_group_options options[] = {group("a", MATCH("re:onv")), group("b", MATCH("*c.*", "re:^bn")),
				      group("c", NULL, 0)};
	lw_group_options glob = group("a", MATCH("onv"));
	lw_optim_options defaults;
	lw_groups *groups;

	(void)state;
	options[2].is_default = true;
	groups = create(NULL, options, LW_COUNT(options));
	assert_int_equal(group_of(groups, "conv2.bias"), 0);
	assert_int_equal(group_of(groups, "fc.bias"), 1);
	assert_int_equal(groups->groups[2].param_count, 0);
	lw_groups_destroy(&groups);
	lw_optim_defaults(&defaults);
	assert_int_equal(lw_groups_create(&groups, net, &defaults, &glob, 1), LW_E_ARGUMENT);
	assert_null(groups);
}

static void options_come_from_both(void **state)
{
	lw_schedule cosine;
	lw_optim_options common;
	lw_group_options options[] = {group("a", MATCH("conv1.*")), group("b", MATCH("conv2.*")), group(NULL, NULL, 0)};
	char name[] = "mine", device[] = "portable:0";
	const lw_group *g;
	lw_groups *groups;

	(void)state;
	lw_optim_defaults(&common);
	lw_schedule_defaults(&cosine);
	cosine.kind = LW_SCHEDULE_COSINE;
	common.lr = 0.1;
	common.rule.weight_decay = 0.01;
	common.rule.momentum = 0.9;
	common.layer_decay = 0.5;
	common.schedule.warmup = 10;
	options[0].name = name;
	options[0].device = device;
	options[0].lr = 3.0;
	options[0].decay_mult = 2.0;
	options[0].nesterov = 1;
	options[1].lr_mult = 0.1;
	options[1].weight_decay = 0.0;
	options[1].rule = "adamw";
	options[1].beta1 = 0.8;
	options[1].layer_decay = 1.0;
	options[1].clip_norm = 2.0;
	options[1].no_decay_on_bias_and_norm = 1;
	options[1].schedule = &cosine;
	options[2].is_default = true;
	groups = create(&common, options, LW_COUNT(options));
	memset(name, 'x', 4); /* strings are copied */
	memset(device, 'x', 4);
	g = groups->groups;
	assert_string_equal(g[0].name, "mine");
	assert_string_equal(g[0].device, "portable:0");
	assert_true(g[0].lr == 3.0 && g[0].rule.weight_decay == 0.02 && g[0].rule.nesterov &&
		    g[0].rule.momentum == 0.9);
	assert_true(g[0].layer_decay == 0.5 && isnan(g[0].clip_norm) && !g[0].no_decay_on_bias_and_norm);
	assert_true(lw_group_lr(&g[0], 1, 100) == 3.0 * 0.1);
	assert_string_equal(g[1].rule.rule, "adamw");
	assert_true(g[1].rule.rule == lw_rule_find("adamw")->name);
	assert_true(fabs(g[1].lr - 0.01) < 1e-15 && g[1].rule.weight_decay == 0.0 && g[1].rule.beta1 == 0.8);
	assert_true(g[1].layer_decay == 1.0 && g[1].clip_norm == 2.0 && g[1].no_decay_on_bias_and_norm);
	assert_true(fabs(lw_group_lr(&g[1], 51, 100) - 0.005) < 1e-15);
	assert_string_equal(g[2].name, "group3");
	assert_null(g[2].device);
	assert_true(g[2].lr == 0.1 && !g[2].rule.nesterov);
	lw_groups_destroy(&groups);
}

static void unfreezing(void **state)
{
	lw_group_options options[] = {group("a", MATCH("conv1.*")), group("b", MATCH("conv2.*")), group("c", NULL, 0)};
	lw_groups *groups;
	bool changed;

	(void)state;
	options[0].freeze = true;
	options[1].freeze = true;
	options[1].unfreeze_at = 3;
	options[2].is_default = true;
	groups = create(NULL, options, LW_COUNT(options));
	assert_true(groups->groups[0].frozen && groups->groups[1].frozen && !groups->groups[2].frozen);
	lw_groups_at_step(groups, 2, &changed);
	assert_false(changed);
	assert_true(groups->groups[1].frozen);
	lw_groups_at_step(groups, 3, &changed);
	assert_true(changed);
	assert_false(groups->groups[1].frozen);
	assert_true(groups->groups[0].frozen);
	lw_groups_at_step(groups, 1000, &changed);
	assert_false(changed);
	assert_true(groups->groups[0].frozen);
	lw_groups_destroy(&groups);
}

/* Two groups, of which one is wrong: the words that the error must have. */
typedef struct bad_case {
	const char *first, *second; /* patterns; NULL: the default group */
	size_t offset;		    /* of a number in the second group, 0: none */
	double value;
	const char *words[3];
} bad_case;

#define FIELD(name) offsetof(lw_group_options, name)

static const bad_case bad_cases[] = {
	{"convv1.*", NULL, 0, 0, {"`first`", "`convv1.*`", "nearest is `conv1."}},
	{"conv1.*", "fc.*", 0, 0, {"`bn1.weight`", "no group", "nearest pattern"}},
	{"*", "fc.*", 0, 0, {"`second`", "`fc.weight`", "`first` comes first"}},
	{"re:running", NULL, 0, 0, {"`first`", "running statistics", ""}},
	{"re:conv[", NULL, 0, 0, {"`first`", "`re:conv[`", "regular expression"}},
	{"", NULL, 0, 0, {"`first`", "empty pattern", ""}},
	{"conv1.*", NULL, FIELD(lr), -1, {"`second`", "lr", "-1"}},
	{"conv1.*", NULL, FIELD(lr), INFINITY, {"`second`", "lr", "inf"}},
	{"conv1.*", NULL, FIELD(lr_mult), -2, {"`second`", "lr_mult", "-2"}},
	{"conv1.*", NULL, FIELD(decay_mult), -2, {"`second`", "decay_mult", "-2"}},
	{"conv1.*", NULL, FIELD(weight_decay), -2, {"`second`", "weight_decay", "-2"}},
	{"conv1.*", NULL, FIELD(clip_norm), -2, {"`second`", "clip_norm", "-2"}},
	{"conv1.*", NULL, FIELD(layer_decay), 0, {"`second`", "layer_decay", "0"}},
	{"conv1.*", NULL, FIELD(momentum), 1, {"`second`", "momentum", "1"}},
	{"conv1.*", NULL, FIELD(beta1), 0.9, {"`second`", "beta1", "sgd"}},
};

static void expect_error(const lw_optim_options *common, const lw_group_options *options, size_t count,
			 const char *const words[3], size_t row)
{
	lw_groups *groups;

	if (lw_groups_create(&groups, net, common, options, count) != LW_E_ARGUMENT)
		fail_msg("row %zu: that should be refused", row);
	assert_null(groups);
	for (int i = 0; i < 3; i++)
		if (words[i] && !strstr(lw_last_error(), words[i]))
			fail_msg("row %zu: `%s` does not say `%s`", row, lw_last_error(), words[i]);
}

static void bad_groups(void **state)
{
	lw_optim_options common;

	(void)state;
	lw_optim_defaults(&common);
	for (size_t i = 0; i < LW_COUNT(bad_cases); i++) {
		const bad_case *c = &bad_cases[i];
		lw_group_options options[] = {group("first", &c->first, 1),
					      group("second", &c->second, c->second ? 1 : 0)};

		options[1].is_default = !c->second;
		if (c->offset)
			memcpy((char *)&options[1] + c->offset, &c->value, sizeof c->value);
		expect_error(&common, options, LW_COUNT(options), c->words, i);
	}
}

static void bad_pairs(void **state)
{
	lw_group_options a = group("a", MATCH("conv*")), rest = group("rest", NULL, 0);
	lw_schedule step;
	lw_optim_options common;

	(void)state;
	lw_optim_defaults(&common);
	rest.is_default = true;
	expect_error(&common, (lw_group_options[]){a, a}, 2, (const char *[3]){"two groups", "`a`"}, 0);
	a.is_default = true;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "`rest`", "default"}, 1);
	a.is_default = false;
	a.lr = 1.0;
	a.lr_mult = 1.0;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "lr_mult"}, 2);
	a.lr = NAN;
	a.unfreeze_at = 5;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "unfreeze_at"}, 3);
	a.freeze = true;
	a.unfreeze_at = -5;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "unfreeze_at", "-5"}, 4);
	a.unfreeze_at = 0;
	a.rule = "adamm";
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "`adamm`", "`adam"}, 5);
	a.rule = NULL;
	lw_schedule_defaults(&step);
	step.kind = LW_SCHEDULE_STEP;
	a.schedule = &step;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "size"}, 6);
	a.schedule = NULL;
	a.match_count = 0;
	expect_error(&common, (lw_group_options[]){a, rest}, 2, (const char *[3]){"`a`", "no pattern"}, 7);
}

static void bad_common(void **state)
{
	lw_optim_options common;

	(void)state;
	lw_optim_defaults(&common);
	common.lr = NAN;
	expect_error(&common, NULL, 0, (const char *[3]){"lr", "nan"}, 0);
	lw_optim_defaults(&common);
	common.clip_norm = -1;
	expect_error(&common, NULL, 0, (const char *[3]){"clip_norm"}, 1);
	lw_optim_defaults(&common);
	common.layer_decay = 2;
	expect_error(&common, NULL, 0, (const char *[3]){"layer_decay"}, 2);
	lw_optim_defaults(&common);
	common.rule.rule = "agd";
	expect_error(&common, NULL, 0, (const char *[3]){"`agd`"}, 3);
	lw_optim_defaults(&common);
	common.schedule.warmup = -1;
	expect_error(&common, NULL, 0, (const char *[3]){"warmup"}, 4);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_groups_is_one),
		cmocka_unit_test(first_match_wins),
		cmocka_unit_test(globs_whole_expressions_anywhere),
		cmocka_unit_test(options_come_from_both),
		cmocka_unit_test(unfreezing),
		cmocka_unit_test(bad_groups),
		cmocka_unit_test(bad_pairs),
		cmocka_unit_test(bad_common),
	};

	return cmocka_run_group_tests(tests, make_net, drop_net);
}
