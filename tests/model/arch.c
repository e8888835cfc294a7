/* Ready-made nets: their parameters are those that the literature counts, with torchvision's names and shapes. */
#include "model/model.h"

#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

static lw_net *make(const char *name, int classes, int side)
{
	lw_arch arch;
	lw_net *net;

	if (lw_arch_find(&arch, name) != LW_OK)
		fail_msg("%s: %s", name, lw_last_error());
	arch.classes = classes ? classes : arch.classes;
	arch.height = arch.width = side ? side : arch.height;
	if (lw_arch_create(&net, &arch) != LW_OK)
		fail_msg("%s: %s", name, lw_last_error());
	assert_int_equal(lw_net_classes(net), arch.classes);
	return net;
}

static void expect(const char *name, size_t tensors, size_t floats, int classes, int batch)
{
	size_t found_tensors = 0, found_floats = 0;
	lw_net *net = make(name, 0, 0);
	lw_arch arch;

	for (size_t i = 0; i < lw_net_param_count(net); i++) {
		lw_param_info info;

		assert_int_equal(lw_net_param_info(net, i, &info), LW_OK);
		found_tensors += info.trainable;
		found_floats += info.trainable ? info.count : 0;
	}
	if (found_tensors != tensors || found_floats != floats)
		fail_msg("%s has %zu tensors of %zu floats, expected %zu of %zu", name, found_tensors, found_floats, tensors, floats);
	assert_int_equal(lw_net_classes(net), classes);
	assert_int_equal(lw_arch_find(&arch, name), LW_OK);
	assert_int_equal(arch.batch, batch);
	lw_net_destroy(&net);
}

static void sizes(void **state)
{
	(void)state;
	expect("lenet", 8, 431080, 10, 64);
	expect("cifar6", 14, 307498, 10, 64);
	/* 269,722 without projections, and two of these, each a 1x1 convolution and its batchnorm */
	expect("resnet20", 65, 269722 + 16 * 32 + 64 + 32 * 64 + 128, 10, 64);
	expect("alexnet", 16, 61100840, 1000, 16);
	expect("vgg16", 32, 138357544, 1000, 8);
	expect("resnet18", 62, 11689512, 1000, 8);
	expect("resnet50", 161, 25557032, 1000, 8);
	expect("mobilenet_v2", 158, 3504872, 1000, 8);
	expect("squeezenet1_1", 52, 1235496, 1000, 8);
}

static int compare_lines(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* "name dim dim...\n" of every parameter, in the order of the text. */
static char *list_params(const lw_net *net)
{
	size_t count = lw_net_param_count(net), length = 1;
	char **lines = calloc(count, sizeof *lines), *text;

	assert_non_null(lines);
	for (size_t i = 0; i < count; i++) {
		lw_param_info info;
		char dims[64] = "";

		assert_int_equal(lw_net_param_info(net, i, &info), LW_OK);
		for (int d = 0; d < info.rank; d++)
			snprintf(dims + strlen(dims), sizeof dims - strlen(dims), " %d", info.dims[d]);
		assert_true(asprintf(&lines[i], "%s%s\n", info.name, dims) > 0);
		length += strlen(lines[i]);
	}
	qsort(lines, count, sizeof *lines, compare_lines);
	text = calloc(length, 1);
	assert_non_null(text);
	for (size_t i = 0; i < count; i++) {
		strcat(text, lines[i]);
		free(lines[i]);
	}
	free(lines);
	return text;
}

/* tests/model/torchvision/<net> lists torchvision's, sorted; num_batches_tracked is left out. */
static void names_and_shapes_are_torchvisions(void **state)
{
	static const char *const names[] = {"alexnet", "vgg16", "resnet18", "resnet50", "mobilenet_v2", "squeezenet1_1"};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(names); i++) {
		lw_net *net = make(names[i], 0, 0);
		char *found = list_params(net), path[512];
		void *expected;
		size_t size;

		snprintf(path, sizeof path, "%s/tests/model/torchvision/%s", LAYERWISE_SOURCE_DIR, names[i]);
		assert_int_equal(lw_file_read(path, &expected, &size), LW_OK);
		if (strlen(found) != size || memcmp(found, expected, size) != 0)
			fail_msg("%s has\n%sexpected\n%.*s", names[i], found, (int)size, (char *)expected);
		free(expected);
		free(found);
		lw_net_destroy(&net);
	}
}

/* Layers where torchvision has them: what an image's features are when a well-known layer has seen them. */
static void layers_see_the_right_sizes(void **state)
{
	static const struct {
		const char *net, *layer, *kind;
		int channels, height;
	} cases[] = {
		{"alexnet", "features.12", "maxpool", 256, 6},	  {"vgg16", "features.30", "maxpool", 512, 7},
		{"resnet18", "layer4.1.relu", "relu", 512, 7},	  {"resnet50", "layer1.2.relu", "relu", 256, 56},
		{"mobilenet_v2", "features.3", "add", 24, 56},	  {"mobilenet_v2", "features.18.2", "relu6", 1280, 7},
		{"squeezenet1_1", "features.2", "maxpool", 64, 55}, {"squeezenet1_1", "features.12", "concat", 512, 13},
		{"resnet20", "layer3.2.relu", "relu", 64, 8},
	};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(cases); i++) {
		lw_net *net = make(cases[i].net, 0, 0);
		bool found = false;

		for (size_t k = 0; k < lw_net_layer_count(net); k++) {
			lw_layer_info info;

			assert_int_equal(lw_net_layer_info(net, k, &info), LW_OK);
			if (strcmp(info.name, cases[i].layer) != 0)
				continue;
			found = true;
			assert_string_equal(info.kind, cases[i].kind);
			assert_int_equal(info.channels, cases[i].channels);
			assert_int_equal(info.height, cases[i].height);
		}
		if (!found)
			fail_msg("%s has no layer %s", cases[i].net, cases[i].layer);
		lw_net_destroy(&net);
	}
}

static void classes_and_input_may_be_changed(void **state)
{
	lw_net *net = make("resnet18", 10, 32);
	size_t index;
	lw_param_info info;
	lw_arch arch;

	(void)state;
	assert_int_equal(lw_net_param_find(net, "fc.weight", &index), LW_OK);
	assert_int_equal(lw_net_param_info(net, index, &info), LW_OK);
	assert_int_equal(info.dims[0], 10);
	assert_int_equal(info.dims[1], 512);
	lw_net_destroy(&net);
	net = make("squeezenet1_1", 3, 64);
	lw_net_destroy(&net);
	net = make("vgg16", 2, 448); /* averaged to 7x7 */
	lw_net_destroy(&net);

	assert_int_equal(lw_arch_find(&arch, "alexnet"), LW_OK);
	arch.height = arch.width = 256;
	assert_int_equal(lw_arch_create(&net, &arch), LW_E_ARGUMENT);
	assert_string_equal(lw_last_error(), "alexnet for images of 256 x 256: the last features are 7 x 7; a multiple of 6 x 6 was "
					     "expected, as of 224 x 224 pixels");
	assert_null(net);
	arch.height = arch.width = 8;
	assert_int_equal(lw_arch_create(&net, &arch), LW_E_ARGUMENT);
	arch.classes = 0;
	assert_int_equal(lw_arch_create(&net, &arch), LW_E_ARGUMENT);
}

static void unknown_names_get_a_list(void **state)
{
	lw_arch arch = {.name = "resnet21"};
	lw_net *net;

	(void)state;
	assert_int_equal(lw_arch_find(&arch, "resnet21"), LW_E_ARGUMENT);
	assert_string_equal(lw_last_error(), "there is no architecture `resnet21`; there are lenet, cifar6, resnet20, alexnet, vgg16, "
					     "resnet18, resnet50, mobilenet_v2, squeezenet1_1; did you mean `resnet20`?");
	assert_int_equal(lw_arch_create(&net, &arch), LW_E_ARGUMENT);
	assert_null(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),
		cmocka_unit_test(names_and_shapes_are_torchvisions),
		cmocka_unit_test(layers_see_the_right_sizes),
		cmocka_unit_test(classes_and_input_may_be_changed),
		cmocka_unit_test(unknown_names_get_a_list),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
