/* Ready-made nets: their parameters are those that the literature counts. */
#include "model/model.h"

#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

static void expect(const char *name, size_t tensors, size_t floats, int batch)
{
	size_t found_tensors = 0, found_floats = 0;
	int found_batch = 0;
	lw_net *net;

	if (lw_arch_create(&net, name, &found_batch) != LW_OK)
		fail_msg("%s: %s", name, lw_last_error());
	for (size_t i = 0; i < lw_net_param_count(net); i++) {
		lw_param_info info;

		assert_int_equal(lw_net_param_info(net, i, &info), LW_OK);
		found_tensors += info.trainable;
		found_floats += info.trainable ? info.count : 0;
	}
	assert_int_equal(found_tensors, tensors);
	assert_int_equal(found_floats, floats);
	assert_int_equal(found_batch, batch);
	assert_int_equal(lw_net_classes(net), 10);
	lw_net_destroy(&net);
}

static void test_sizes(void **state)
{
	(void)state;
	expect("lenet", 8, 431080, 64);
	expect("cifar6", 14, 307498, 64);
	/* 269,722 without projections, and two of these, each a 1x1 convolution and its batchnorm */
	expect("resnet20", 65, 269722 + 16 * 32 + 64 + 32 * 64 + 128, 64);
}

static void test_unknown(void **state)
{
	lw_net *net;

	(void)state;
	assert_int_equal(lw_arch_create(&net, "resnet21", NULL), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "lenet, cifar6, resnet20"));
	assert_null(net);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_unknown)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
