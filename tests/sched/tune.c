/* Tuning a plan: once, with the same bits afterwards, within its budget, and for every layer that will ever train. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/sched.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BATCH = 4, PIXELS = 3 * 10 * 10, CLASSES = 3, STEPS = 3 };

static char home[] = "/tmp/layerwise-tune-XXXXXX";
static lw_device *device;

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

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
	OK(lw_net_add(net, kind, &options));
}

static lw_net *make_net(void)
{
	lw_net *net;

	OK(lw_net_create(&net, 3, 10, 10));
	add(net, "conv", "conv1", 16);
	add(net, "relu", "r1", 0);
	add(net, "conv", "conv2", 16);
	add(net, "batchnorm", "bn2", 0);
	add(net, "relu", "r2", 0);
	add(net, "conv", "conv3", 16); /* conv2's shape */
	add(net, "relu", "r3", 0);
	add(net, "linear", "fc", CLASSES);
	OK(lw_net_initialize(net, LW_INIT_HE, 3));
	return net;
}

typedef struct seen {
	size_t calls, total, searched;
	bool data, weight;
} seen;

static void note(void *user, const lw_tune_event *event)
{
	seen *s = user;

	s->total = event->total;
	if (!event->done)
		return;
	s->calls++;
	assert_int_equal(s->calls, event->done);
	s->searched += event->best_seconds > 0;
	assert_non_null(event->best);
	s->data |= strcmp(event->pass, "data") == 0;
	s->weight |= strcmp(event->pass, "weight") == 0;
}

/* Makes a plan, tunes it, trains some steps; params gets what it ends with. */
static seen train(lw_tuning_use use, double budget, bool again, const lw_group_options *groups, size_t group_count, float *params)
{
	static float images[STEPS * BATCH * PIXELS];
	int32_t labels[STEPS * BATCH];
	lw_tune_options tune;
	lw_plan_options options;
	lw_optim_options optim;
	lw_net *net = make_net();
	lw_plan *plan;
	seen s = {0};

	tune = (lw_tune_options){.budget = budget, .again = again, .progress = note, .user = &s};
	for (int i = 0; i < STEPS * BATCH * PIXELS; i++)
		images[i] = lw_random_normal(1, 1, (uint64_t)i);
	for (int i = 0; i < STEPS * BATCH; i++)
		labels[i] = (int32_t)(lw_random_bits(1, 2, (uint64_t)i) % CLASSES);
	lw_plan_defaults(&options);
	lw_optim_defaults(&optim);
	options.batch = BATCH;
	options.tuning = use;
	OK(lw_plan_create(&plan, net, &device, 1, &optim, groups, group_count, &options));
	OK(lw_plan_tune(plan, &tune));
	for (int i = 0; i < STEPS; i++)
		OK(lw_plan_step(plan, images + i * BATCH * PIXELS, labels + i * BATCH, NULL));
	if (use == LW_TUNING_ON)
		assert_int_equal(lw_plan_tune(plan, &tune), LW_E_ARGUMENT); /* too late */
	OK(lw_plan_download(plan));
	if (params)
		OK(lw_net_param_get(net, 2, params)); /* conv2.weight */
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	return s;
}

static int begin(void **state)
{
	char command[128];

	(void)state;
	unsetenv("LAYERWISE_TUNE");
	setenv("XDG_DATA_HOME", home, 1);
	snprintf(command, sizeof command, "rm -rf %s/layerwise", home);
	return system(command);
}

static void test_once(void **state)
{
	float first[16 * 16 * 9], second[16 * 16 * 9];
	seen s = train(LW_TUNING_ON, 5, false, NULL, 0, first);

	(void)state;
	/* conv2 and conv3 have one shape; conv1 needs no data pass; linear may have choices or not */
	assert_true(s.total == 5 || s.total == 8);
	assert_int_equal(s.calls, s.total);
	assert_true(s.searched > 0 && s.data && s.weight);
	s = train(LW_TUNING_ON, INFINITY, false, NULL, 0, second);
	assert_int_equal(s.total, 0);
	assert_memory_equal(first, second, sizeof first);
	s = train(LW_TUNING_DEFAULT, INFINITY, false, NULL, 0, second);
	assert_int_equal(s.total, 0);
	assert_memory_equal(first, second, sizeof first);
	s = train(LW_TUNING_ON, 1, true, NULL, 0, NULL);
	assert_true(s.total == 5 || s.total == 8);
}

/* What there was no time for has its default remembered: a later run with time has the same bits. */
static void test_budget(void **state)
{
	float first[16 * 16 * 9], second[16 * 16 * 9], untuned[16 * 16 * 9];
	seen s = train(LW_TUNING_ON, 0, false, NULL, 0, first);

	(void)state;
	assert_true(s.total > 0);
	assert_int_equal(s.searched, 0);
	s = train(LW_TUNING_ON, INFINITY, false, NULL, 0, second);
	assert_int_equal(s.total, 0);
	assert_memory_equal(first, second, sizeof first);
	train(LW_TUNING_OFF, 0, false, NULL, 0, untuned);
	assert_memory_equal(first, untuned, sizeof first);
}

static void test_off(void **state)
{
	seen s = train(LW_TUNING_OFF, INFINITY, false, NULL, 0, NULL);
	char path[128];

	(void)state;
	assert_int_equal(s.total, 0);
	setenv("LAYERWISE_TUNE", "off", 1);
	s = train(LW_TUNING_DEFAULT, INFINITY, false, NULL, 0, NULL);
	assert_int_equal(s.total, 0);
	snprintf(path, sizeof path, "%s/layerwise/tuning.sqlite", home);
	assert_false(lw_file_exists(path));
	s = train(LW_TUNING_ON, 0, false, NULL, 0, NULL); /* who asks gets it */
	assert_true(s.total > 0);
}

/* A layer that is frozen at first is tuned before the first step all the same; one that never trains is not. */
static void test_frozen(void **state)
{
	static const char *const old[] = {"conv*", "bn2.*"};
	lw_group_options groups[2];
	seen never, later;

	for (int g = 0; g < 2; g++)
		lw_group_defaults(&groups[g]);
	groups[0].name = "old";
	groups[0].match = old;
	groups[0].match_count = 2;
	groups[0].freeze = true;
	groups[1].name = "new";
	groups[1].is_default = true;
	never = train(LW_TUNING_ON, 0, false, groups, 2, NULL);
	begin(state);
	groups[0].unfreeze_at = 2;
	later = train(LW_TUNING_ON, 0, false, groups, 2, NULL);
	assert_false(never.data);
	assert_true(later.data && later.weight);
	assert_true(later.total > never.total);
	groups[0].freeze = false;
	groups[0].unfreeze_at = 0;
	later = train(LW_TUNING_ON, 0, false, groups, 2, NULL);
	assert_int_equal(later.total, 0);
}

/* Where nothing lasts, another algorithm is not taken: the next run could not know of it. */
static void test_nothing_lasts(void **state)
{
	float tuned[16 * 16 * 9], untuned[16 * 16 * 9];
	char command[256];
	seen s;

	(void)state;
	snprintf(command, sizeof command, "touch %s/layerwise", home);
	assert_int_equal(system(command), 0); /* a file where the folder should be */
	s = train(LW_TUNING_ON, 3, false, NULL, 0, tuned);
	assert_true(s.total > 0);
	train(LW_TUNING_OFF, 0, false, NULL, 0, untuned);
	assert_memory_equal(tuned, untuned, sizeof tuned);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_once, begin),   cmocka_unit_test_setup(test_budget, begin),
		cmocka_unit_test_setup(test_off, begin),    cmocka_unit_test_setup(test_frozen, begin),
		cmocka_unit_test_setup(test_nothing_lasts, begin),
	};
	char command[128];
	int failed;

	if (!mkdtemp(home) || lw_device_open(&device, "auto") != LW_OK)
		return 1;
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	lw_device_close(&device);
	snprintf(command, sizeof command, "rm -rf %s", home);
	return system(command) == 0 ? failed : 1;
}
