/* Parcels as they are cut, and steps simulated on described devices. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "sched/workload.h"
#include <layerwise/simulate.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void parcels_end_with_groups_and_at_the_limit(void **state)
{
	static const int order[] = {3, 0, 1, 2, 4, 5, 6}, group_of_param[] = {0, 0, 0, 0, 1, -1, 1};
	static const size_t sizes[] = {100, 128, 1000, 200, 10, 10, 10};
	static const lw_parcel expected[] = {
		{0, 0, 3, 512, 0}, /* 3, 0 and 1: 256 + 128 + 128 floats */
		{0, 3, 1, 512, 0}, /* 2: more than the limit, in pieces */
		{0, 3, 1, 512, 512},
		{1, 4, 1, 128, 0},
		{1, 6, 1, 128, 0}, /* 5 between them never trains */
	};
	lw_parcel *parcels = NULL;
	size_t count = 0;

	(void)state;
	assert_int_equal(lw_parcels_cut(&parcels, &count, order, LW_COUNT(order), sizes, group_of_param, 512), LW_OK);
	assert_int_equal(count, LW_COUNT(expected));
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(parcels[i].group, expected[i].group);
		assert_int_equal(parcels[i].first, expected[i].first);
		assert_int_equal(parcels[i].count, expected[i].count);
		assert_int_equal(parcels[i].floats, expected[i].floats);
		assert_int_equal(parcels[i].from, expected[i].from);
	}
	free(parcels);
}

static lw_net *make_net(void)
{
	lw_net *net;
	lw_arch arch;

	assert_int_equal(lw_arch_find(&arch, "cifar6"), LW_OK);
	assert_int_equal(lw_arch_create(&net, &arch), LW_OK);
	return net;
}

/* What the tape says of FLOPs agrees with the layers', and gradients become complete from the last layer to the first. */
static void a_workload_is_the_nets(void **state)
{
	lw_net *net = make_net();
	lw_optim_options optim;
	lw_groups *groups = NULL;
	lw_workload workload;
	double forward = 0;
	uint64_t bytes = 0;

	(void)state;
	lw_optim_defaults(&optim);
	optim.rule.rule = "adam";
	assert_int_equal(lw_groups_create(&groups, net, &optim, NULL, 0), LW_OK);
	assert_int_equal(lw_workload_create(&workload, net, groups, NULL, NULL), LW_OK);
	for (size_t i = 0; i < lw_net_layer_count(net); i++) {
		lw_layer_info layer;
		assert_int_equal(lw_net_layer_info(net, i, &layer), LW_OK);
		forward += layer.flops;
	}
	assert_float_equal(workload.forward_flops, forward, forward * 1e-12);
	assert_true(workload.backward_flops > forward && workload.backward_flops < 2 * forward);
	for (size_t i = 0; i < workload.parcel_count; i++) {
		bytes += workload.placed[i].bytes;
		assert_int_equal(workload.placed[i].state_bytes, 2 * workload.placed[i].bytes);
		assert_true(i == 0 || workload.placed[i].ready < workload.placed[i - 1].ready);
	}
	assert_float_equal(workload.placed[0].ready, 1, 1e-12); /* the first layer's */
	assert_int_equal(bytes, workload.gradient_bytes);
	assert_true(workload.image_bytes > 0 && workload.activation_bytes >= 0);
	lw_workload_clear(&workload);
	lw_groups_destroy(&groups);
	lw_net_destroy(&net);
}

static const lw_cluster_device card = {
	.name = "card", .count = 1, .gflops = 1000, .update_bandwidth = 100e9, .link_bandwidth = 10e9, .latency = 10e-6};

static lw_simulation *simulate(const lw_net *net, const lw_cluster_device *kinds, size_t count, int batch, int group_count)
{
	static const char *const convolutions[] = {"conv*"};
	lw_group_options groups[2];
	lw_optim_options optim;
	lw_plan_options options;
	lw_simulation *simulation = NULL;

	lw_optim_defaults(&optim);
	optim.rule.momentum = 0.9;
	lw_plan_defaults(&options);
	options.batch = batch;
	for (int g = 0; g < 2; g++)
		lw_group_defaults(&groups[g]);
	groups[0].name = "convolutions";
	groups[0].match = convolutions;
	groups[0].match_count = 1;
	groups[1].name = "rest";
	groups[1].is_default = true;
	assert_int_equal(lw_simulate(&simulation, net, &optim, groups, (size_t)group_count, &options, kinds, count, 10), LW_OK);
	return simulation;
}

/* After a failure a run is what it would be without the device from that step on, and the step that failed. */
static void a_failure_leaves_the_run_without_the_device(void **state)
{
	lw_cluster_device kinds[3] = {card, card, card};
	lw_net *net = make_net();
	lw_simulation *failing, *without;
	const lw_forecast *before, *after, *plain;
	lw_simulation_info info;

	(void)state;
	kinds[0].name = "first";
	kinds[1].name = "second";
	kinds[2].name = "third";
	kinds[1].gflops = 2000;
	kinds[2].gflops = 5000;
	without = simulate(net, kinds, 2, 64, 2);
	kinds[2].fails_at_step = 4;
	failing = simulate(net, kinds, 3, 64, 2);
	plain = lw_simulation_plan(without, 0);
	before = lw_simulation_plan(failing, 0);
	after = lw_simulation_plan(failing, 1);
	lw_simulation_get_info(failing, &info);
	assert_int_equal(info.plan_count, 2);
	assert_int_equal(info.replayed, 1);
	assert_int_equal(after->first_step, 4);
	assert_int_equal(after->lost, 1);
	assert_float_equal(after->makespan, plain->makespan, 0);
	assert_float_equal(info.seconds, 4 * before->makespan + 7 * after->makespan, 1e-9);
	for (size_t i = 0; i < plain->parcel_count; i++)
		assert_int_equal(after->parcels[i].owner, plain->parcels[i].owner);
	assert_null(lw_simulation_plan(failing, 2));
	lw_simulation_destroy(&failing);
	lw_simulation_destroy(&without);
	lw_net_destroy(&net);
}

/* One device: no copies, and a step as long as its FLOPs and its updates. */
static void one_device_copies_nothing(void **state)
{
	lw_net *net = make_net();
	lw_simulation *simulation = simulate(net, &card, 1, 64, 2);
	const lw_forecast *plan = lw_simulation_plan(simulation, 0);

	(void)state;
	assert_float_equal(plan->bytes_moved, 0, 0);
	assert_int_equal(plan->devices[0].images, 64);
	assert_float_equal(plan->devices[0].compute, plan->work_bound, 1e-12);
	assert_float_equal(plan->makespan, plan->work_bound + plan->devices[0].update, 1e-9);
	lw_simulation_destroy(&simulation);
	lw_net_destroy(&net);
}

/* Memory that holds few images gives a small share, and the others take the rest. */
static void shares_fit_the_memory(void **state)
{
	lw_cluster_device kinds[2] = {card, card};
	lw_net *net = make_net();
	lw_simulation *simulation = simulate(net, kinds, 1, 64, 2);
	uint64_t needed = lw_simulation_plan(simulation, 0)->devices[0].memory_bytes;
	const lw_forecast *plan;

	(void)state;
	lw_simulation_destroy(&simulation);
	kinds[0].memory = needed / 2;
	kinds[1].name = "other";
	kinds[1].count = 2;
	kinds[1].memory = needed;
	simulation = simulate(net, kinds, 2, 128, 2);
	plan = lw_simulation_plan(simulation, 0);
	assert_int_equal(plan->device_count, 3);
	assert_int_equal(plan->devices[0].images + plan->devices[1].images + plan->devices[2].images, 128);
	assert_true(plan->devices[0].images < 40 && plan->devices[1].images > 44);
	for (int d = 0; d < 3; d++)
		assert_true(plan->devices[d].memory_bytes <= kinds[d > 0].memory);
	lw_simulation_destroy(&simulation);
	lw_net_destroy(&net);
}

/* Equal devices with links that suffice: nearly all of their throughput, and the more groups make no difference. */
static void groups_cost_nothing(void **state)
{
	lw_cluster_device kinds[4] = {card, card, card, card};
	static const char *const names[] = {"a", "b", "c", "d"};
	lw_group_options groups[32];
	char patterns[32][24];
	const char *match[32];
	lw_optim_options optim;
	lw_plan_options options;
	double step[2], share;
	lw_arch arch;
	lw_net *net;

	(void)state;
	assert_int_equal(lw_arch_find(&arch, "resnet18"), LW_OK);
	assert_int_equal(lw_arch_create(&net, &arch), LW_OK);
	lw_optim_defaults(&optim);
	lw_plan_defaults(&options);
	for (int d = 0; d < 4; d++)
		kinds[d].name = names[d];
	for (int g = 0; g < 32; g++) { /* 31 of two parameters each; the rest in the last */
		static const char *const parts[] = {"conv1", "bn1", "conv2", "bn2"};
		lw_group_defaults(&groups[g]);
		snprintf(patterns[g], sizeof patterns[g], "layer%d.%d.%s.*", g / 8 + 1, g / 4 % 2, parts[g % 4]);
		match[g] = patterns[g];
		groups[g].match = &match[g];
		groups[g].lr = 0.001 * (g + 1);
		groups[g].is_default = g == 31;
		groups[g].match_count = g < 31;
	}
	for (int many = 0; many < 2; many++) {
		lw_simulation *simulation = NULL;
		const lw_forecast *plan;

		assert_int_equal(lw_simulate(&simulation, net, &optim, many ? groups : NULL, many ? 32 : 0, &options, kinds, 4, 1), LW_OK);
		plan = lw_simulation_plan(simulation, 0);
		step[many] = plan->makespan;
		share = plan->work_bound / plan->makespan;
		assert_true(share > 0.95);
		lw_simulation_destroy(&simulation);
	}
	print_message("resnet18 on 4 devices: 32 groups take %.4f of the time of one\n", step[1] / step[0]);
	assert_true(step[1] < 1.02 * step[0]);
	lw_net_destroy(&net);
}

static void wrong_descriptions_are_refused(void **state)
{
	lw_cluster_device kinds[2] = {card, card};
	lw_net *net = make_net();
	lw_optim_options optim;
	lw_plan_options options;
	lw_simulation *s = NULL;

	(void)state;
	lw_optim_defaults(&optim);
	lw_plan_defaults(&options);
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 2, 1), LW_E_ARGUMENT); /* two of a name */
	assert_null(s);
	kinds[1].name = "other";
	kinds[1].link_bandwidth = 0;
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 2, 1), LW_E_ARGUMENT);
	kinds[1].link_bandwidth = 1e9;
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 2, 0), LW_E_ARGUMENT);
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 0, 1), LW_E_DEVICE);
	kinds[0].memory = kinds[1].memory = 1000;
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 2, 1), LW_E_MEMORY);
	kinds[0].memory = kinds[1].memory = 0;
	kinds[0].gflops = kinds[1].gflops = 0;
	assert_int_equal(lw_simulate(&s, net, &optim, NULL, 0, &options, kinds, 2, 1), LW_E_DEVICE);
	lw_net_destroy(&net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parcels_end_with_groups_and_at_the_limit),
		cmocka_unit_test(a_workload_is_the_nets),
		cmocka_unit_test(a_failure_leaves_the_run_without_the_device),
		cmocka_unit_test(one_device_copies_nothing),
		cmocka_unit_test(shares_fit_the_memory),
		cmocka_unit_test(groups_cost_nothing),
		cmocka_unit_test(wrong_descriptions_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
