/* A net's parameters to and from files: by name and shape, later files win, and the report tells the rest. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <layerwise/model.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64], first[128], second[128];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/layerwise-load-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(first, sizeof(first), "%s/first.safetensors", folder);
	snprintf(second, sizeof(second), "%s/second.safetensors", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(first);
	unlink(second);
	return rmdir(folder);
}

/* conv1 (weight, bias), bn1 (weight, bias, running_mean, running_var), fc (weight, bias) */
static lw_net *make_net(int classes, uint32_t seed)
{
	lw_layer_options options;
	lw_net *net = NULL;

	assert_int_equal(lw_net_create(&net, 1, 4, 4), LW_OK);
	lw_layer_defaults(&options, "conv");
	options.name = "conv1";
	options.out = 3;
	options.kernel[0] = options.kernel[1] = 3;
	assert_int_equal(lw_net_add(net, "conv", &options), LW_OK);
	lw_layer_defaults(&options, "batchnorm");
	options.name = "bn1";
	assert_int_equal(lw_net_add(net, "batchnorm", &options), LW_OK);
	lw_layer_defaults(&options, "linear");
	options.name = "fc";
	options.out = classes;
	assert_int_equal(lw_net_add(net, "linear", &options), LW_OK);
	assert_int_equal(lw_net_initialize(net, LW_INIT_TORCH, seed), LW_OK);
	assert_int_equal(lw_net_param_count(net), 8);
	return net;
}

/* Largest parameter here: fc.weight, 5 x 12. */
static const float *values_of(const lw_net *net, const char *name)
{
	static float values[2][64];
	static int next;
	size_t index;

	next = !next;
	assert_int_equal(lw_net_param_find(net, name, &index), LW_OK);
	assert_int_equal(lw_net_param_get(net, index, values[next]), LW_OK);
	return values[next];
}

static void write_file(const char *path, const char *name, const int64_t *dims, int rank, float value)
{
	lw_tensors *tensors = NULL;
	float values[64];

	for (int i = 0; i < 64; i++)
		values[i] = value;
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, name, dims, rank, values), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "other.weight", (int64_t[]){2}, 1, values), LW_OK);
	assert_int_equal(lw_tensors_write(tensors, path), LW_OK);
	lw_tensors_destroy(&tensors);
}

static void saves_and_loads_all(void **state)
{
	lw_net *net = make_net(5, 1), *other = make_net(5, 2);
	lw_load_report report;
	lw_tensors *tensors = NULL;
	lw_tensor_info info;

	(void)state;
	assert_int_equal(lw_model_save(net, first), LW_OK);
	assert_int_equal(lw_tensors_read(&tensors, first), LW_OK);
	assert_int_equal(lw_tensors_count(tensors), 8);
	assert_true(lw_tensors_find(tensors, "conv1.weight", &info));
	assert_int_equal(info.rank, 4);
	assert_int_equal(info.dims[0] * 1000 + info.dims[1] * 100 + info.dims[2] * 10 + info.dims[3], 3133);
	assert_string_equal(lw_tensors_get_metadata(tensors, "format"), "pt");
	lw_tensors_destroy(&tensors);

	assert_memory_not_equal(values_of(net, "fc.weight"), values_of(other, "fc.weight"), 60 * sizeof(float));
	assert_int_equal(lw_model_load(other, (const char *[]){first}, 1, &report), LW_OK);
	assert_int_equal(report.loaded, 8);
	assert_int_equal(report.fresh_count, 0);
	assert_int_equal(report.left_over_count, 0);
	assert_memory_equal(values_of(net, "fc.weight"), values_of(other, "fc.weight"), 60 * sizeof(float));
	assert_memory_equal(values_of(net, "conv1.weight"), values_of(other, "conv1.weight"), 27 * sizeof(float));
	assert_memory_equal(values_of(net, "bn1.running_var"), values_of(other, "bn1.running_var"), 3 * sizeof(float));
	lw_load_report_clear(&report);
	lw_load_report_clear(&report);
	lw_net_destroy(&net);
	lw_net_destroy(&other);
}

static void later_files_win(void **state)
{
	lw_net *net = make_net(5, 1);
	lw_load_report report;

	(void)state;
	write_file(first, "bn1.weight", (int64_t[]){3}, 1, 4);
	write_file(second, "bn1.weight", (int64_t[]){3}, 1, 7);
	assert_int_equal(lw_model_load(net, (const char *[]){first, second}, 2, &report), LW_OK);
	assert_true(values_of(net, "bn1.weight")[2] == 7);
	assert_int_equal(report.loaded, 1);
	assert_int_equal(report.fresh_count, 7);
	assert_string_equal(report.fresh[0], "conv1.weight");
	assert_string_equal(report.fresh[6], "fc.bias");
	assert_int_equal(report.left_over_count, 1);
	assert_string_equal(report.left_over[0], "other.weight");
	lw_load_report_clear(&report);
	assert_int_equal(lw_model_load(net, (const char *[]){second, first}, 2, NULL), LW_OK);
	assert_true(values_of(net, "bn1.weight")[0] == 4);
	lw_net_destroy(&net);
}

static void names_what_does_not_fit(void **state)
{
	lw_net *net = make_net(5, 1), *wide = make_net(4, 1);
	lw_load_report report;

	(void)state;
	assert_int_equal(lw_model_save(wide, first), LW_OK);
	assert_int_equal(lw_model_load(net, (const char *[]){first}, 1, &report), LW_E_FORMAT);
	assert_non_null(strstr(lw_last_error(), first));
	assert_non_null(strstr(lw_last_error(), "'fc.weight' has the shape [4, 12], but the network expects [5, 12]"));
	assert_null(report.fresh);
	write_file(second, "bn1.weight", (int64_t[]){3, 1}, 2, 7);
	assert_int_equal(lw_model_load(net, (const char *[]){second}, 1, &report), LW_E_FORMAT);
	assert_non_null(strstr(lw_last_error(), "[3, 1], but the network expects [3]"));
	write_file(second, "module.bn1.weight", (int64_t[]){3}, 1, 7);
	assert_int_equal(lw_model_load(net, (const char *[]){second}, 1, &report), LW_E_FORMAT);
	assert_non_null(
		strstr(lw_last_error(), "the first tensor is 'module.bn1.weight', the first parameter 'conv1.weight'"));
	assert_int_equal(lw_model_load(net, (const char *[]){"/absent"}, 1, NULL), LW_E_IO);
	assert_int_equal(lw_model_load(net, NULL, 0, NULL), LW_E_ARGUMENT);
	lw_net_destroy(&net);
	lw_net_destroy(&wide);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(saves_and_loads_all),
		cmocka_unit_test(later_files_win),
		cmocka_unit_test(names_what_does_not_fit),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
