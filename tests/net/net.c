/* The graph, its parameters, the pruned reverse pass and the memory plan. No device is needed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/net.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void add(lw_net *net, const char *kind, const char *name, int out, int kernel)
{
	lw_layer_options options;

	lw_layer_defaults(&options, kind);
	options.name = name;
	options.out = out;
	if (kernel) {
		options.kernel[0] = options.kernel[1] = kernel;
		options.pad[0] = options.pad[1] = kernel / 2;
	}
	assert_int_equal(lw_net_add(net, kind, &options), LW_OK);
}

/* conv1 - bn1 - relu - conv2 - relu - fc */
static lw_net *chain(void)
{
	lw_net *net;

	assert_int_equal(lw_net_create(&net, 3, 8, 8), LW_OK);
	add(net, "conv", "conv1", 8, 3);
	add(net, "batchnorm", "bn1", 0, 0);
	add(net, "relu", NULL, 0, 0);
	add(net, "conv", "conv2", 8, 3);
	add(net, "relu", NULL, 0, 0);
	add(net, "linear", "fc", 5, 0);
	return net;
}

static size_t param(const lw_net *net, const char *name)
{
	size_t index;

	assert_int_equal(lw_net_param_find(net, name, &index), LW_OK);
	return index;
}

static void parameters_have_names_and_shapes_of_pytorch(void **state)
{
	lw_net *net = chain();
	lw_param_info info;

	(void)state;
	assert_int_equal(lw_net_param_count(net), 10);
	assert_int_equal(lw_net_param_info(net, param(net, "conv1.weight"), &info), LW_OK);
	assert_int_equal(info.rank, 4);
	assert_int_equal(info.dims[0], 8);
	assert_int_equal(info.dims[1], 3);
	assert_int_equal(info.dims[2], 3);
	assert_int_equal(info.depth, 3);
	assert_int_equal(lw_net_param_info(net, param(net, "bn1.running_var"), &info), LW_OK);
	assert_false(info.trainable);
	assert_int_equal(lw_net_param_info(net, param(net, "fc.weight"), &info), LW_OK);
	assert_int_equal(info.rank, 2);
	assert_int_equal(info.dims[1], 8 * 8 * 8);
	assert_int_equal(info.depth, 0);
	assert_int_equal(lw_net_classes(net), 5);
	lw_net_destroy(&net);
	assert_null(net);
}

static void wrong_layers_are_named(void **state)
{
	lw_net *net = chain();
	lw_layer_options options;
	size_t layers = lw_net_layer_count(net), params = lw_net_param_count(net), index;

	(void)state;
	assert_int_equal(lw_net_add(net, "konv", NULL), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "did you mean `conv`"));
	lw_layer_defaults(&options, "linear");
	options.name = "fc";
	options.out = 3;
	assert_int_equal(lw_net_add(net, "linear", &options), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "two layers are named `fc`"));
	options.name = "other";
	options.from[0] = "conv3";
	options.from_count = 1;
	assert_int_equal(lw_net_add(net, "linear", &options), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "did you mean `conv"));
	options.from[0] = "conv2";
	options.out = 0; /* fails after the flatten in front was added */
	assert_int_equal(lw_net_add(net, "linear", &options), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "other"));
	assert_int_equal(lw_net_layer_count(net), layers);
	assert_int_equal(lw_net_param_count(net), params);
	assert_int_equal(lw_net_param_find(net, "conv1.wieght", &index), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "conv1.weight"));
	lw_net_destroy(&net);
}

static void start_values_depend_on_seed_and_name_alone(void **state)
{
	lw_net *net = chain(), *other;
	size_t a = param(net, "conv2.weight"), b;
	float *x = malloc(8 * 8 * 9 * sizeof *x), *y = malloc(8 * 8 * 9 * sizeof *y);
	double sum = 0;

	(void)state;
	assert_int_equal(lw_net_create(&other, 8, 8, 8), LW_OK);
	add(other, "conv", "conv2", 8, 3);
	b = param(other, "conv2.weight");
	assert_int_equal(lw_net_initialize(net, LW_INIT_HE, 7), LW_OK);
	assert_int_equal(lw_net_initialize(other, LW_INIT_HE, 7), LW_OK);
	lw_net_param_get(net, a, x);
	lw_net_param_get(other, b, y);
	assert_memory_equal(x, y, 8 * 8 * 9 * sizeof *x);
	for (int i = 0; i < 8 * 8 * 9; i++)
		sum += (double)x[i] * x[i];
	assert_float_equal(sqrt(sum / (8 * 8 * 9)), sqrt(2.0 / 72), 0.02); /* He: standard deviation sqrt(2 / fan_in) */
	assert_int_equal(lw_net_initialize(other, LW_INIT_HE, 8), LW_OK);
	lw_net_param_get(other, b, y);
	assert_memory_not_equal(x, y, 8 * 8 * 9 * sizeof *x);
	assert_int_equal(lw_net_initialize(other, LW_INIT_TORCH, 8), LW_OK);
	lw_net_param_get(other, b, y);
	for (int i = 0; i < 8 * 8 * 9; i++)
		assert_true(fabsf(y[i]) <= (float)(1 / sqrt(72.0)));
	free(x);
	free(y);
	lw_net_destroy(&net);
	lw_net_destroy(&other);
}

static int instructions(const lw_tape *tape, lw_instruction_kind kind)
{
	int count = 0;

	for (size_t i = 0; i < tape->count; i++)
		count += tape->instructions[i].kind == kind;
	return count;
}

static void tape_for(const lw_net *net, lw_tape *tape, const char *const *trainable, size_t count)
{
	int pass_of_param[32];
	lw_tape_options options = {.batch = 4, .training = true, .pass_count = 1, .pass_of_param = pass_of_param, .separate = true};

	for (size_t i = 0; i < net->param_count; i++)
		pass_of_param[i] = -1;
	for (size_t i = 0; i < count; i++)
		pass_of_param[param(net, trainable[i])] = 0;
	assert_int_equal(lw_tape_create(tape, net, &options), LW_OK);
}

static void backward_stops_below_the_lowest_trainable_layer(void **state)
{
	lw_net *net = chain();
	lw_tape tape;

	(void)state;
	tape_for(net, &tape, (const char *const[]){"fc.weight", "fc.bias"}, 2);
	assert_int_equal(instructions(&tape, LW_BACKWARD), 1);
	assert_int_equal(tape.lowest_node, net->node_count - 1);
	assert_false(tape.instructions[1].training); /* bn1 is frozen */
	lw_tape_clear(&tape);

	tape_for(net, &tape, (const char *const[]){"fc.weight", "conv2.weight"}, 2);
	assert_int_equal(instructions(&tape, LW_BACKWARD), 4); /* fc, flatten, relu, conv2 */
	assert_string_equal(net->nodes[tape.lowest_node].name, "conv2");
	assert_int_equal(tape.instructions[tape.count - 1].input_gradients[0], -1); /* nothing below wants it */
	assert_true(tape.backward_flops < tape.full_backward_flops);
	lw_tape_clear(&tape);

	tape_for(net, &tape, (const char *const[]){"conv1.weight", "bn1.weight"}, 2);
	assert_int_equal(instructions(&tape, LW_BACKWARD), 7);
	assert_true(tape.instructions[1].training);
	lw_tape_clear(&tape);

	tape_for(net, &tape, NULL, 0);
	assert_int_equal(instructions(&tape, LW_BACKWARD), 0);
	lw_tape_clear(&tape);
	lw_net_destroy(&net);
}

/* Two readers of one output: one writes the gradient, the other is added to it. */
static void gradients_of_branches_are_summed(void **state)
{
	lw_layer_options options;
	lw_net *net;
	lw_tape tape;

	(void)state;
	assert_int_equal(lw_net_create(&net, 4, 4, 4), LW_OK);
	add(net, "conv", "a", 4, 3);
	add(net, "conv", "b", 4, 3);
	lw_layer_defaults(&options, "add");
	options.name = "sum";
	options.from[0] = "a";
	options.from[1] = "b";
	options.from_count = 2;
	assert_int_equal(lw_net_add(net, "add", &options), LW_OK);
	add(net, "linear", "fc", 2, 0);
	tape_for(net, &tape, (const char *const[]){"a.weight", "b.weight"}, 2);
	assert_int_equal(instructions(&tape, LW_ACCUMULATE), 1);
	lw_tape_clear(&tape);
	lw_net_destroy(&net);
}

/* Random lifetimes: no two values that live at once may overlap, and memory is reused. */
static void planned_memory_never_overlaps(void **state)
{
	(void)state;
	for (uint32_t round = 0; round < 200; round++) {
		lw_value values[40];
		size_t total = 0, arena;

		for (uint64_t i = 0; i < 40; i++) {
			int first = (int)(lw_random_bits(round, 1, i) % 30);
			values[i] = (lw_value){.bytes = 1 + lw_random_bits(round, 2, i) % 5000,
					       .first = first,
					       .last = first + (int)(lw_random_bits(round, 3, i) % 8)};
			total += lw_round_up(values[i].bytes, 512);
		}
		arena = lw_memory_plan(values, 40, 512);
		assert_true(arena < total);
		for (int i = 0; i < 40; i++) {
			assert_int_equal(values[i].offset % 512, 0);
			assert_true(values[i].offset + values[i].bytes <= arena);
			for (int k = 0; k < i; k++)
				if (values[i].first <= values[k].last && values[k].first <= values[i].last)
					assert_true(values[i].offset >= values[k].offset + values[k].bytes ||
						    values[k].offset >= values[i].offset + values[i].bytes);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parameters_have_names_and_shapes_of_pytorch),
		cmocka_unit_test(wrong_layers_are_named),
		cmocka_unit_test(start_values_depend_on_seed_and_name_alone),
		cmocka_unit_test(backward_stops_below_the_lowest_trainable_layer),
		cmocka_unit_test(gradients_of_branches_are_summed),
		cmocka_unit_test(planned_memory_never_overlaps),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
