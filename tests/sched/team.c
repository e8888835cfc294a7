/* Several devices in one plan: owners that change no bit, shares, statistics together or apart, and devices that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "device/backend.h"
#include "sched/sched.h"
#include "sched/shares.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 12, PIXELS = 2 * 9 * 9, CLASSES = 3, STEPS = 5, MOST = 4 };

static lw_device **devices; /* PoCL's, under POCL_DEVICES: see main */
static size_t device_count;
static float images[STEPS * BATCH * PIXELS];
static int32_t labels[STEPS * BATCH];

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

static int open_devices(void **state)
{
	(void)state;
	for (int i = 0; i < STEPS * BATCH * PIXELS; i++)
		images[i] = lw_random_normal(1, 1, (uint64_t)i);
	for (int i = 0; i < STEPS * BATCH; i++)
		labels[i] = (int32_t)(lw_random_bits(1, 2, (uint64_t)i) % CLASSES);
	if (lw_devices_open(&devices, &device_count, "portable:0,portable:1,portable:2") == LW_OK)
		return 0;
	fprintf(stderr, "%s\n", lw_last_error());
	return -1;
}

static int close_devices(void **state)
{
	(void)state;
	lw_devices_close(&devices, device_count);
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
	options.p = 0.25;
	OK(lw_net_add(net, kind, &options));
}

static lw_net *make_net(bool batchnorm)
{
	lw_net *net;

	OK(lw_net_create(&net, 2, 9, 9));
	add(net, "conv", "conv1", 5);
	if (batchnorm)
		add(net, "batchnorm", "bn1", 0);
	add(net, "relu", "r1", 0);
	add(net, "conv", "conv2", 7);
	add(net, "relu", "r2", 0);
	add(net, "dropout", "drop", 0);
	add(net, "linear", "hidden", 300); /* 170,000 weights */
	add(net, "relu", "r3", 0);
	add(net, "linear", "fc", CLASSES);
	OK(lw_net_initialize(net, LW_INIT_HE, 3));
	return net;
}

static const char *const conv1[] = {"conv1.*", "bn1.*"}, *const conv2[] = {"conv2.*"}, *const hidden[] = {"hidden.*"}, *const fc[] = {"fc.*"};

typedef struct setup {
	bool batchnorm;
	lw_optim_options optim;
	lw_plan_options options;
	lw_group_options groups[4];
	size_t devices; /* the first so many */
	double shares[MOST];
	const char *move[STEPS]; /* before a step: this group, */
	int to[STEPS];           /* to this device */
} setup;

static setup standard(const char *rule)
{
	static const char *const *const patterns[] = {conv1, conv2, hidden, fc};
	static const char *const names[] = {"conv1", "conv2", "hidden", "fc"};
	setup s = {.batchnorm = true, .devices = 1};

	lw_optim_defaults(&s.optim);
	s.optim.rule.rule = rule;
	s.optim.rule.momentum = strcmp(rule, "sgd") == 0 ? 0.9 : 0;
	s.optim.lr = 0.01;
	lw_plan_defaults(&s.options);
	s.options.batch = BATCH;
	s.options.total_steps = STEPS;
	for (int g = 0; g < 4; g++) {
		lw_group_defaults(&s.groups[g]);
		s.groups[g].name = names[g];
		s.groups[g].match = patterns[g];
		s.groups[g].match_count = g == 0 ? 2 : 1;
		s.groups[g].lr_mult = 1 + g;
	}
	for (int i = 0; i < MOST; i++)
		s.shares[i] = 1;
	return s;
}

typedef struct outcome {
	float *weights;
	size_t count;
	double loss[STEPS], norm[STEPS];
} outcome;

static void download(outcome *o, lw_plan *plan, lw_net *net)
{
	OK(lw_plan_download(plan));
	for (size_t i = 0; i < net->param_count; i++) {
		o->weights = realloc(o->weights, (o->count + net->params[i].count) * sizeof *o->weights);
		memcpy(o->weights + o->count, net->params[i].values, net->params[i].count * sizeof *o->weights);
		o->count += net->params[i].count;
	}
}

static outcome train(setup *s, lw_device *const *list)
{
	lw_net *net = make_net(s->batchnorm);
	outcome o = {0};
	lw_plan *plan;

	if (!s->batchnorm)
		s->groups[0].match_count = 1;
	s->options.shares = s->shares;
	s->options.share_count = s->devices;
	OK(lw_plan_create(&plan, net, list, s->devices, &s->optim, s->groups, 4, &s->options));
	for (int k = 0; k < STEPS; k++) {
		lw_step_result result;

		if (s->move[k])
			OK(lw_plan_move_group(plan, s->move[k], lw_device_label(list[s->to[k]])));
		OK(lw_plan_step(plan, images + k * BATCH * PIXELS, labels + k * BATCH, &result));
		o.loss[k] = result.loss;
		o.norm[k] = result.gradient_norm;
	}
	download(&o, plan, net);
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	return o;
}

static void expect_same(const outcome *a, const outcome *b)
{
	assert_int_equal(a->count, b->count);
	assert_memory_equal(a->weights, b->weights, a->count * sizeof *a->weights);
	assert_memory_equal(a->loss, b->loss, sizeof a->loss);
	assert_memory_equal(a->norm, b->norm, sizeof a->norm);
}

static void owners_change_no_bit(void **state)
{
	static const char *const rules[] = {"sgd", "adam", "adamw"};

	(void)state;
	for (size_t r = 0; r < LW_COUNT(rules); r++) {
		setup s = standard(rules[r]);
		outcome alone, moved;

		s.optim.clip_norm = r == 1 ? 0.5 : 0;
		s.groups[3].clip_norm = r == 2 ? 0.1 : NAN;
		alone = train(&s, devices);
		for (int placement = 0; placement < 6; placement++) {
			s.devices = 3; /* the others own, but compute nothing */
			s.shares[1] = s.shares[2] = 0;
			for (int g = 0; g < 4; g++)
				s.groups[g].device = lw_device_label(devices[lw_random_bits((uint32_t)placement, 7, (uint64_t)g) % 3]);
			s.move[3] = "hidden";
			s.to[3] = placement % 3;
			moved = train(&s, devices);
			expect_same(&alone, &moved);
			free(moved.weights);
		}
		free(alone.weights);
	}
}

static void for_a_split_owners_change_no_bit(void **state)
{
	setup s = standard("adam");
	outcome first = {0};

	(void)state;
	s.devices = 3;
	s.shares[0] = 2;
	for (int placement = 0; placement < 6; placement++) {
		outcome o;

		for (int g = 0; g < 4; g++)
			s.groups[g].device = lw_device_label(devices[lw_random_bits((uint32_t)placement, 8, (uint64_t)g) % 3]);
		o = train(&s, devices);
		if (!placement) {
			first = o;
			continue;
		}
		expect_same(&first, &o);
		free(o.weights);
	}
	free(first.weights);
}

static void expect_near(const outcome *a, const outcome *b, double tolerance)
{
	assert_int_equal(a->count, b->count);
	for (int k = 0; k < STEPS; k++)
		assert_float_equal(a->loss[k], b->loss[k], tolerance * (1 + fabs(a->loss[k])));
	for (size_t i = 0; i < a->count; i++)
		if (fabs((double)a->weights[i] - (double)b->weights[i]) > tolerance * 10)
			fail_msg("value %zu: %g and %g", i, (double)a->weights[i], (double)b->weights[i]);
}

static void shares_add_up(void **state)
{
	(void)state;
	for (int synchronised = 0; synchronised < 2; synchronised++) {
		setup s = standard("sgd");
		outcome alone, shared;

		s.batchnorm = synchronised;
		s.options.synchronise_batchnorm = synchronised;
		alone = train(&s, devices);
		s.devices = 3;
		s.shares[0] = 2;
		shared = train(&s, devices);
		expect_near(&alone, &shared, 1e-5);
		free(alone.weights);
		free(shared.weights);
	}
}

static void reproducible_is_the_same_for_all(void **state)
{
	static const double shares[][3] = {{1, 1, 0}, {1, 1, 1}, {3, 1, 0}, {0, 1, 3}, {2, 1, 1}};
	setup s = standard("adamw");
	outcome alone;

	(void)state;
	s.options.reproducible = true;
	s.optim.clip_norm = 0.5;
	alone = train(&s, devices);
	s.devices = 3;
	for (size_t i = 0; i < LW_COUNT(shares); i++) {
		outcome o;

		memcpy(s.shares, shares[i], sizeof shares[i]);
		o = train(&s, devices);
		expect_same(&alone, &o);
		free(o.weights);
	}
	free(alone.weights);
}

/* What is no CPU gets copies of everything, and its kernels are GPUs': the same bits still. */
static void memory_of_its_own_changes_no_bit(void **state)
{
	static const double shares[][3] = {{1, 0, 0}, {1, 1, 2}, {0, 1, 0}, {3, 1, 0}};
	setup s = standard("adam");
	outcome alone;

	(void)state;
	s.options.reproducible = true;
	s.optim.clip_norm = 0.5;
	alone = train(&s, devices);
	s.devices = 3;
	devices[0]->info.type = LW_DEVICE_ACCELERATOR;
	for (size_t i = 0; i < LW_COUNT(shares); i++) {
		outcome o;

		memcpy(s.shares, shares[i], sizeof shares[i]);
		s.groups[1].device = i % 2 ? lw_device_label(devices[0]) : NULL;
		s.groups[2].device = i % 2 ? NULL : lw_device_label(devices[0]);
		s.move[2] = "fc";
		s.to[2] = (int)i % 3;
		o = train(&s, devices);
		expect_same(&alone, &o);
		free(o.weights);
	}
	s.devices = 1;
	s.groups[1].device = s.groups[2].device = s.move[2] = NULL;
	s.shares[0] = 1;
	for (int clips = 1; clips >= 0; clips--) { /* nobody to keep a copy for */
		outcome o;

		s.optim.clip_norm = clips ? 0.5 : 0;
		o = train(&s, devices);
		devices[0]->info.type = LW_DEVICE_CPU;
		free(alone.weights);
		alone = train(&s, devices);
		devices[0]->info.type = LW_DEVICE_ACCELERATOR;
		expect_same(&alone, &o);
		free(o.weights);
	}
	devices[0]->info.type = LW_DEVICE_CPU;
	free(alone.weights);
}

static void groups_apply_one_by_one(void **state)
{
	setup s = standard("adam");
	lw_net *net = make_net(true);
	outcome at_once, single = {0};
	lw_plan *plan;

	(void)state;
	s.devices = 3;
	at_once = train(&s, devices);
	OK(lw_plan_create(&plan, net, devices, 3, &s.optim, s.groups, 4, &s.options));
	for (int k = 0; k < STEPS; k++) {
		OK(lw_compute_gradients(plan, images + k * BATCH * PIXELS, labels + k * BATCH, NULL));
		OK(lw_apply_gradients(plan, "fc"));
		OK(lw_apply_gradients(plan, "conv1"));
		OK(lw_apply_gradients(plan, NULL));
	}
	download(&single, plan, net);
	assert_memory_equal(at_once.weights, single.weights, single.count * sizeof(float));
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
	free(at_once.weights);
	free(single.weights);
}

/* On a simulated device nothing is computed, but everything is called, and any call may fail: the others go on. */
static void every_failing_call_is_survived(void **state)
{
	int survived = 0, failed = 0;

	(void)state;
	for (int fail = 1; fail < 700; fail += fail < 120 ? 1 : 11) {
		setup s = standard("adam");
		lw_net *net = make_net(true);
		lw_device *team[3] = {devices[0], NULL, devices[1]};
		char name[64];
		lw_plan *plan = NULL;
		lw_status status;

		snprintf(name, sizeof name, fail % 2 ? "sim:fail=%d" : "sim:fail_async=%d", fail);
		OK(lw_device_open(&team[1], name));
		s.options.reproducible = fail % 3 == 0;
		status = lw_plan_create(&plan, net, team, 3, &s.optim, s.groups, 4, &s.options);
		for (int k = 0; k < 2 && status == LW_OK; k++)
			status = lw_plan_step(plan, images, labels, NULL);
		survived += status == LW_OK && plan->lost_count;
		failed += status != LW_OK;
		if (status != LW_OK)
			assert_true(plan == NULL && strlen(lw_last_error()) > 10); /* only before the first step */
		lw_plan_destroy(&plan);
		lw_device_close(&team[1]);
		lw_net_destroy(&net);
	}
	assert_true(survived > 50);
}

static void shares_are_dealt_by_speed(void **state)
{
	static const double speeds[] = {1, 2, 5};
	static const int most[] = {64, 64, 20};
	int parts[3];

	(void)state;
	assert_int_equal(lw_share_out(64, 3, speeds, NULL, parts), 0);
	assert_true(parts[0] == 8 && parts[1] == 16 && parts[2] == 40);
	assert_int_equal(lw_share_out(64, 3, speeds, most, parts), 0);
	assert_true(parts[2] == 20 && parts[0] + parts[1] == 44 && parts[1] > parts[0]);
	assert_int_equal(lw_share_out(4, 3, speeds, NULL, parts), 0);
	assert_int_equal(parts[0] + parts[1] + parts[2], 4);
	assert_true(parts[2] >= 2);
}

/* The forecast tells the shares, owners and times that the plan has: before it was measured and after. */
static void a_plan_forecasts_its_steps(void **state)
{
	setup s = standard("adam");
	lw_net *net = make_net(true);
	lw_forecast *forecast;
	lw_plan *plan;

	(void)state;
	s.shares[0] = 3;
	s.options.shares = s.shares;
	s.options.share_count = 2;
	s.groups[2].device = lw_device_label(devices[2]); /* hidden: owned by one that computes nothing */
	OK(lw_plan_create(&plan, net, devices, 2, &s.optim, s.groups, 4, &s.options));
	for (int k = 0; k < 3; k++) {
		size_t fixed = 0;

		OK(lw_plan_forecast(plan, &forecast));
		assert_int_equal(forecast->guessed, k < 2);
		assert_int_equal(forecast->batch, BATCH);
		assert_int_equal(forecast->device_count, 3);
		for (int d = 0; d < 3; d++) {
			const lw_forecast_device *device = &forecast->devices[d];

			assert_int_equal(device->images, ((const int[]){9, 3, 0})[d]);
			assert_true(device->update_bandwidth > 0 && (device->compute > 0) == (d < 2));
			assert_true(device->state_bytes == 2 * device->owned_bytes && device->memory_bytes > 2 * device->state_bytes);
			assert_true(device->alone >= forecast->work_bound);
			fixed += device->fixed_parcels;
		}
		assert_true(fixed > 0 && fixed == forecast->devices[2].parcels);
		for (size_t i = 0; i < forecast->parcel_count; i++) {
			const lw_forecast_parcel *parcel = &forecast->parcels[i];

			assert_int_equal(parcel->fixed, strcmp(parcel->group, "hidden") == 0);
			assert_int_equal(parcel->owner == 2, parcel->fixed);
			assert_true(parcel->gathered <= parcel->update_start && parcel->update_start < parcel->update_end);
			assert_true(parcel->update_end <= parcel->spread && parcel->spread <= forecast->makespan);
		}
		assert_true(forecast->makespan >= forecast->work_bound && forecast->makespan >= forecast->path_bound);
		assert_true(forecast->best_move >= forecast->work_bound);
		lw_forecast_destroy(&forecast);
		assert_null(forecast);
		OK(lw_plan_step(plan, images, labels, NULL));
	}
	lw_plan_destroy(&plan);
	lw_net_destroy(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shares_are_dealt_by_speed),
		cmocka_unit_test(a_plan_forecasts_its_steps),
		cmocka_unit_test(owners_change_no_bit),
		cmocka_unit_test(for_a_split_owners_change_no_bit),
		cmocka_unit_test(shares_add_up),
		cmocka_unit_test(reproducible_is_the_same_for_all),
		cmocka_unit_test(memory_of_its_own_changes_no_bit),
		cmocka_unit_test(groups_apply_one_by_one),
		cmocka_unit_test(every_failing_call_is_survived),
	};

	setenv("POCL_DEVICES", "pthread pthread pthread", 1);
	return cmocka_run_group_tests(tests, open_devices, close_devices);
}
