/* The plan on a real device: gradients once and per group, groups one by one, freezing, unfreezing, clipping, NaN. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/sched.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 6, PIXELS = 2 * 9 * 9, CLASSES = 3, STEPS = 6 };

static lw_device *device;
static float images[STEPS * BATCH * PIXELS];
static int32_t labels[STEPS * BATCH];

static int open_device(void **state)
{
	(void)state;
	for (int i = 0; i < STEPS * BATCH * PIXELS; i++)
		images[i] = lw_random_normal(1, 1, (uint64_t)i);
	for (int i = 0; i < STEPS * BATCH; i++)
		labels[i] = (int32_t)(lw_random_bits(1, 2, (uint64_t)i) % CLASSES);
	return lw_device_open(&device, "auto") == LW_OK ? 0 : -1;
}

static int close_device(void **state)
{
	(void)state;
	lw_device_close(&device);
	return 0;
}

static void add(lw_net *net, const char *kind, const char *name, int out)
{
	lw_layer_options options;

	lw_layer_defaults(&options, kind);
	options.name = name;
	options.out = out;
	if (strcmp(kind, "conv") == 0) {
		options.kernel[0] = options.kernel[1] = 3;
		options.pad[0] = options.pad[1] = 1;
	}
	if (strcmp(kind, "maxpool") == 0)
		options.kernel[0] = options.kernel[1] = 2;
	options.p = 0.25;
	assert_int_equal(lw_net_add(net, kind, &options), LW_OK);
}

static lw_net *make_net(void)
{
	lw_net *net;

	assert_int_equal(lw_net_create(&net, 2, 9, 9), LW_OK);
	add(net, "conv", "conv1", 5);
	add(net, "batchnorm", "bn1", 0);
	add(net, "relu", "r1", 0);
	add(net, "maxpool", "p1", 0);
	add(net, "conv", "conv2", 7);
	add(net, "batchnorm", "bn2", 0);
	add(net, "relu", "r2", 0);
	add(net, "dropout", "drop", 0);
	add(net, "linear", "fc", CLASSES);
	assert_int_equal(lw_net_initialize(net, LW_INIT_HE, 3), LW_OK);
	return net;
}

static const char *const old_layers[] = {"conv1.*", "bn1.*"}, *const new_layers[] = {"conv2.*", "bn2.*", "fc.*"};

/* Two groups, the first at a hundredth of the second's rate. */
static void two_groups(lw_group_options groups[2])
{
	for (int g = 0; g < 2; g++)
		lw_group_defaults(&groups[g]);
	groups[0].name = "old";
	groups[0].match = old_layers;
	groups[0].match_count = 2;
	groups[0].lr = 1e-4;
	groups[1].name = "new";
	groups[1].match = new_layers;
	groups[1].match_count = 3;
	groups[1].lr = 1e-2;
}

typedef struct setup {
	lw_optim_options optim;
	lw_plan_options options;
	lw_group_options groups[2];
} setup;

static setup standard(void)
{
	setup s;

	lw_optim_defaults(&s.optim);
	s.optim.rule.rule = "adam";
	lw_plan_defaults(&s.options);
	s.options.batch = BATCH;
	s.options.total_steps = STEPS;
	two_groups(s.groups);
	return s;
}

static lw_plan *make_plan(lw_net *net, const setup *s)
{
	lw_plan *plan;
	lw_status status = lw_plan_create(&plan, net, &device, 1, &s->optim, s->groups, 2, &s->options);

	if (status != LW_OK)
		fail_msg("%s", lw_last_error());
	return plan;
}

static void step(lw_plan *plan, int k, lw_step_result *result)
{
	if (lw_plan_step(plan, images + k * BATCH * PIXELS, labels + k * BATCH, result) != LW_OK)
		fail_msg("%s", lw_last_error());
}

/* All parameters, one after the other. */
static float *weights(lw_plan *plan, lw_net *net, size_t *count)
{
	float *all = NULL;

	*count = 0;
	assert_int_equal(lw_plan_download(plan), LW_OK);
	for (size_t i = 0; i < net->param_count; i++) {
		all = realloc(all, (*count + net->params[i].count) * sizeof *all);
		memcpy(all + *count, net->params[i].values, net->params[i].count * sizeof *all);
		*count += net->params[i].count;
	}
	return all;
}

static float *train(const setup *s, int steps, size_t *count)
{
	lw_net *net = make_net();
	lw_plan *plan = make_plan(net, s);
	float *all;

	for (int k = 0; k < steps; k++)
		step(plan, k, NULL);
	all = weights(plan, net, count);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	return all;
}

static float *param_values(lw_net *net, const char *name, size_t *count)
{
	size_t index;
	float *copy;

	assert_int_equal(lw_net_param_find(net, name, &index), LW_OK);
	*count = net->params[index].count;
	copy = malloc(*count * sizeof *copy);
	memcpy(copy, net->params[index].values, *count * sizeof *copy);
	return copy;
}

static void the_naive_way_gives_the_same_bits(void **state)
{
	setup s = standard();
	size_t count, other;
	float *once = train(&s, STEPS, &count), *per_group;

	(void)state;
	s.options.gradients = LW_GRADIENTS_PER_GROUP;
	per_group = train(&s, STEPS, &other);
	assert_int_equal(count, other);
	assert_memory_equal(once, per_group, count * sizeof *once);
	free(once);
	free(per_group);
}

static void groups_applied_one_by_one_give_the_same_bits(void **state)
{
	setup s = standard();
	size_t count, other;
	float *at_once = train(&s, STEPS, &count), *one_by_one;
	lw_net *net = make_net();
	lw_plan *plan = make_plan(net, &s);

	(void)state;
	assert_int_equal(lw_apply_gradients(plan, NULL), LW_E_ARGUMENT);
	for (int k = 0; k < STEPS; k++) {
		lw_step_result result;
		assert_int_equal(lw_compute_gradients(plan, images + k * BATCH * PIXELS, labels + k * BATCH, k % 2 ? &result : NULL), LW_OK);
		assert_int_equal(lw_apply_gradients(plan, "new"), LW_OK);
		assert_int_equal(lw_apply_gradients(plan, "new"), LW_E_ARGUMENT);
		assert_int_equal(lw_apply_gradients(plan, "odl"), LW_E_ARGUMENT);
		assert_non_null(strstr(lw_last_error(), "`old`"));
		assert_int_equal(lw_apply_gradients(plan, k % 3 ? "old" : NULL), LW_OK);
	}
	one_by_one = weights(plan, net, &other);
	assert_memory_equal(at_once, one_by_one, count * sizeof *at_once);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	free(at_once);
	free(one_by_one);
}

static void assert_same_param(lw_net *a, lw_net *b, const char *name, bool same)
{
	size_t count;
	float *x = param_values(a, name, &count), *y = param_values(b, name, &count);

	if (same != (memcmp(x, y, count * sizeof *x) == 0))
		fail_msg("%s %s", name, same ? "changed" : "did not change");
	free(x);
	free(y);
}

static void frozen_means_frozen(void **state)
{
	setup s = standard();
	lw_net *net = make_net(), *before = make_net();
	lw_plan_info info, full_info;
	lw_plan *plan, *full;

	(void)state;
	full = make_plan(net, &s);
	lw_plan_get_info(full, &full_info);
	lw_plan_destroy(&full);
	s.groups[0].freeze = true;
	plan = make_plan(net, &s);
	for (int k = 0; k < 3; k++)
		step(plan, k, NULL);
	assert_int_equal(lw_plan_download(plan), LW_OK);
	assert_same_param(net, before, "conv1.weight", true);
	assert_same_param(net, before, "bn1.weight", true);
	assert_same_param(net, before, "bn1.running_mean", true);
	assert_same_param(net, before, "bn1.running_var", true);
	assert_same_param(net, before, "conv2.weight", false);
	assert_same_param(net, before, "bn2.running_mean", false);
	lw_plan_get_info(plan, &info);
	assert_string_equal(info.lowest_trainable, "conv2");
	assert_true(info.pruned_flops > 0);
	assert_true(info.state_bytes < full_info.state_bytes);
	assert_true(info.activation_bytes <= full_info.activation_bytes);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	lw_net_destroy(&before);
}

static void a_late_group_starts_at_t_1(void **state)
{
	setup s = standard();
	lw_net *net = make_net(), *before = make_net();
	lw_plan *plan;

	(void)state;
	s.groups[0].freeze = true;
	s.groups[0].unfreeze_at = 4;
	plan = make_plan(net, &s);
	assert_true(lw_plan_learning_rate(plan, 0, 3) == 0 && lw_plan_learning_rate(plan, 0, 4) > 0);
	for (int k = 0; k < 3; k++)
		step(plan, k, NULL);
	assert_int_equal(lw_plan_download(plan), LW_OK);
	assert_same_param(net, before, "conv1.weight", true);
	step(plan, 3, NULL);
	assert_int_equal(lw_plan_download(plan), LW_OK);
	assert_same_param(net, before, "conv1.weight", false);
	for (size_t i = 0; i < net->param_count; i++)
		if (plan->groups->group_of_param[i] >= 0)
			assert_int_equal(plan->t[i], plan->groups->group_of_param[i] == 0 ? 1 : 4);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	lw_net_destroy(&before);
}

/* Saved after 2 steps, restored into a fresh plan: the same bits as straight through, also across an unfreezing. */
static void restored_goes_on_bit_for_bit(void **state)
{
	setup s = standard();
	size_t count;
	float *straight, *resumed;
	lw_tensors *tensors;
	lw_net *net;
	lw_plan *plan;

	(void)state;
	s.groups[0].freeze = true;
	s.groups[0].unfreeze_at = 3;
	s.groups[1].rule = "sgd";
	s.groups[1].momentum = 0.9;
	for (int cut = 1; cut < STEPS; cut++) {
		straight = train(&s, STEPS, &count);
		net = make_net();
		plan = make_plan(net, &s);
		for (int k = 0; k < cut; k++)
			step(plan, k, NULL);
		assert_int_equal(lw_tensors_create(&tensors), LW_OK);
		assert_int_equal(lw_plan_save(plan, tensors), LW_OK);
		lw_plan_destroy(&plan);
		lw_net_destroy(&net);
		net = make_net();
		assert_int_equal(lw_net_initialize(net, LW_INIT_HE, 99), LW_OK);
		plan = make_plan(net, &s);
		if (lw_plan_restore(plan, tensors) != LW_OK)
			fail_msg("%s", lw_last_error());
		assert_int_equal(lw_plan_steps(plan), cut);
		for (int k = cut; k < STEPS; k++)
			step(plan, k, NULL);
		resumed = weights(plan, net, &count);
		assert_memory_equal(straight, resumed, count * sizeof *straight);
		lw_plan_destroy(&plan);
		lw_net_destroy(&net);
		lw_tensors_destroy(&tensors);
		free(straight);
		free(resumed);
	}
}

static void clipping_bounds_the_update(void **state)
{
	setup s = standard();
	lw_net *net = make_net(), *before = make_net();
	lw_step_result result;
	double moved = 0;
	lw_plan *plan;

	(void)state;
	s.optim.rule.rule = "sgd";
	s.optim.clip_norm = 0.01;
	s.groups[0].lr = s.groups[1].lr = 1;
	plan = make_plan(net, &s);
	step(plan, 0, &result);
	assert_true(result.gradient_norm > 0.1);
	assert_int_equal(lw_plan_download(plan), LW_OK);
	for (size_t i = 0; i < net->param_count; i++)
		for (size_t k = 0; lw_param_rule_of(net, i)->trainable && k < net->params[i].count; k++)
			moved += pow((double)net->params[i].values[k] - before->params[i].values[k], 2);
	assert_float_equal(sqrt(moved), 0.01, 1e-5);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	lw_net_destroy(&before);
}

static void a_bad_gradient_is_named_and_changes_nothing(void **state)
{
	setup s = standard();
	lw_net *net = make_net(), *before = make_net();
	float *bad = malloc(BATCH * PIXELS * sizeof *bad);
	lw_step_result result;
	lw_plan *plan = make_plan(net, &s);

	(void)state;
	memcpy(bad, images, BATCH * PIXELS * sizeof *bad);
	bad[17] = NAN;
	assert_int_equal(lw_plan_step(plan, bad, labels, &result), LW_OK);
	assert_false(result.finite);
	assert_non_null(strstr(result.bad_tensor, "conv1.weight"));
	assert_int_equal(lw_plan_download(plan), LW_OK);
	assert_same_param(net, before, "conv1.weight", true);
	assert_same_param(net, before, "fc.weight", true);
	assert_same_param(net, before, "bn1.running_mean", true);
	assert_same_param(net, before, "bn2.running_var", true);
	for (size_t i = 0; i < net->param_count; i++)
		assert_int_equal(plan->t[i], 0);
	free(bad);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	lw_net_destroy(&before);
}

static void wrong_requests_are_answered(void **state)
{
	setup s = standard();
	lw_net *net = make_net();
	int32_t wrong[BATCH] = {0, 1, 2, CLASSES, 0, 0};
	lw_plan *plan = make_plan(net, &s);
	lw_device *two[2] = {device, device};

	(void)state;
	assert_int_equal(lw_plan_step(plan, images, wrong, NULL), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "label 3"));
	lw_plan_destroy(&plan);
	assert_int_equal(lw_plan_create(&plan, net, two, 2, &s.optim, s.groups, 2, &s.options), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "twice"));
	s.options.batch = 0;
	assert_int_equal(lw_plan_create(&plan, net, &device, 1, &s.optim, s.groups, 2, &s.options), LW_E_ARGUMENT);
	assert_null(plan);
	lw_net_destroy(&net);
}

static void every_failing_call_is_survived(void **state)
{
	setup s = standard();
	lw_device *whole = device;

	(void)state;
	for (int fail = 1; fail < 400; fail += fail < 60 ? 1 : 17) {
		lw_net *net = make_net();
		char name[32];
		lw_plan *plan = NULL;
		lw_status status;

		snprintf(name, sizeof name, "sim:fail=%d", fail);
		assert_int_equal(lw_device_open(&device, name), LW_OK);
		status = lw_plan_create(&plan, net, &device, 1, &s.optim, s.groups, 2, &s.options);
		if (status == LW_OK)
			status = lw_plan_step(plan, images, labels, NULL);
		if (status != LW_OK)
			assert_true(strlen(lw_last_error()) > 10);
		lw_plan_destroy(&plan);
		lw_device_close(&device);
		lw_net_destroy(&net);
	}
	device = whole;
}

static int count_files(const char *folder)
{
	DIR *open = opendir(folder);
	int count = 0;

	assert_non_null(open);
	for (const struct dirent *e = readdir(open); e; e = readdir(open))
		count += e->d_name[0] != '.';
	closedir(open);
	return count;
}

/* Writing compiled kernels to disk may take as long as compiling them: whoever waits for the first step need not wait for it, too. */
static void kernels_are_kept_after_the_first_step(void **state)
{
	char home[] = "/tmp/layerwise-plan-XXXXXX", folder[64], command[64], *usual = getenv("XDG_CACHE_HOME");
	lw_device *whole = device;
	setup s = standard();
	lw_net *net;
	lw_plan *plan;

	(void)state;
	usual = usual ? strdup(usual) : NULL;
	assert_non_null(mkdtemp(home));
	snprintf(folder, sizeof folder, "%s/layerwise/kernels", home);
	setenv("XDG_CACHE_HOME", home, 1);
	assert_int_equal(lw_net_create(&net, 2, 9, 9), LW_OK);
	add(net, "linear", "fc", CLASSES);
	assert_int_equal(lw_net_initialize(net, LW_INIT_TORCH, 1), LW_OK);
	assert_int_equal(lw_device_open(&device, "auto"), LW_OK);
	assert_int_equal(lw_plan_create(&plan, net, &device, 1, &s.optim, NULL, 0, &s.options), LW_OK);
	step(plan, 0, NULL);
	assert_int_equal(count_files(folder), 0);
	step(plan, 1, NULL);
	assert_true(count_files(folder) > 0);
	lw_plan_destroy(&plan);
	lw_device_close(&device);
	lw_net_destroy(&net);
	device = whole;
	if (usual)
		setenv("XDG_CACHE_HOME", usual, 1);
	else
		unsetenv("XDG_CACHE_HOME");
	free(usual);
	snprintf(command, sizeof command, "rm -rf %s", home);
	assert_int_equal(system(command), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_naive_way_gives_the_same_bits),
		cmocka_unit_test(groups_applied_one_by_one_give_the_same_bits),
		cmocka_unit_test(frozen_means_frozen),
		cmocka_unit_test(a_late_group_starts_at_t_1),
		cmocka_unit_test(restored_goes_on_bit_for_bit),
		cmocka_unit_test(clipping_bounds_the_update),
		cmocka_unit_test(a_bad_gradient_is_named_and_changes_nothing),
		cmocka_unit_test(kernels_are_kept_after_the_first_step),
		cmocka_unit_test(wrong_requests_are_answered),
		cmocka_unit_test(every_failing_call_is_survived),
	};

	return cmocka_run_group_tests(tests, open_device, close_device);
}
