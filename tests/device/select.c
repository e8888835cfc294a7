/* What a device's name means, on made-up lists of devices, and the labels that go back to them. */
#include "device/backend.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* The order and oddities of real machines: two platforms of one vendor, equal boards, a colon and a slash in names. */
static const lw_device_info machine[] = {
	{.platform_index = 0,
	 .device_index = 0,
	 .platform = "Oclgrind",
	 .platform_vendor = "James Price",
	 .name = "Oclgrind Simulator",
	 .type = LW_DEVICE_CPU,
	 .compute_units = 1,
	 .vector_width = 1,
	 .denormals = true},
	{.platform_index = 2,
	 .device_index = 0,
	 .platform = "Portable Computing Language",
	 .platform_vendor = "The pocl project",
	 .name = "pthread-skylake-avx512-Some CPU",
	 .type = LW_DEVICE_CPU,
	 .compute_units = 2,
	 .vector_width = 16,
	 .denormals = true,
	 .correctly_rounded = true},
	{.platform_index = 3,
	 .device_index = 0,
	 .platform = "Intel(R) OpenCL",
	 .platform_vendor = "Intel(R) Corporation",
	 .name = "Some CPU",
	 .type = LW_DEVICE_CPU,
	 .compute_units = 2,
	 .vector_width = 16,
	 .denormals = true},
	{.platform_index = 4,
	 .device_index = 0,
	 .platform = "Intel(R) OpenCL Graphics",
	 .platform_vendor = "Intel(R) Corporation",
	 .name = "Arc A770",
	 .type = LW_DEVICE_GPU,
	 .compute_units = 512,
	 .vector_width = 1,
	 .denormals = true,
	 .correctly_rounded = true},
	{.platform_index = 5,
	 .device_index = 0,
	 .platform = "NVIDIA CUDA",
	 .platform_vendor = "NVIDIA Corporation",
	 .name = "NVIDIA RTX",
	 .type = LW_DEVICE_GPU,
	 .compute_units = 100,
	 .vector_width = 1,
	 .denormals = true,
	 .correctly_rounded = true},
	{.platform_index = 5,
	 .device_index = 1,
	 .platform = "NVIDIA CUDA",
	 .platform_vendor = "NVIDIA Corporation",
	 .name = "NVIDIA RTX",
	 .type = LW_DEVICE_GPU,
	 .compute_units = 100,
	 .vector_width = 1,
	 .denormals = true,
	 .correctly_rounded = true},
	{.platform_index = 6,
	 .device_index = 0,
	 .platform = "Odd: one/2, really",
	 .platform_vendor = "Odd",
	 .name = "board a:b/3",
	 .type = LW_DEVICE_ACCELERATOR,
	 .compute_units = 7,
	 .vector_width = 4},
};

static void expect(const char *name, size_t index, unsigned parts, int part)
{
	lw_selection s;

	if (lw_select(&s, machine, LW_COUNT(machine), name) != LW_OK)
		fail_msg("%s: %s", name, lw_last_error());
	if (s.index != index || s.parts != parts || s.part != part)
		fail_msg("%s means device %zu, parts %u, part %d", name, s.index, s.parts, s.part);
}

static void expect_failure(const char *name, const char *in_message)
{
	lw_selection s;

	assert_int_equal(lw_select(&s, machine, LW_COUNT(machine), name), LW_E_ARGUMENT);
	if (!strstr(lw_last_error(), in_message))
		fail_msg("%s: `%s` is not in: %s", name, in_message, lw_last_error());
}

static void test_numbers(void **state)
{
	(void)state;
	expect("2", 1, 1, -1);
	expect("2:0", 1, 1, -1);
	expect("5:1", 5, 1, -1);
	expect(" 5 : 1 ", 5, 1, -1);
	expect_failure("1", "fits none"); /* a platform without devices */
	expect_failure("7:0", "fits none");
	expect_failure("5:2", "fits none");
	expect_failure("99999999999999999999", "fits none");
	expect_failure("-1", "fits none");
}

static void test_names(void **state)
{
	(void)state;
	expect("portable", 1, 1, -1);
	expect("PORTABLE:0", 1, 1, -1);
	expect("pocl", 1, 1, -1); /* the vendor */
	expect("portable:skylake", 1, 1, -1);
	expect("oclgrind", 0, 1, -1);
	expect("nvidia", 4, 1, -1);
	expect("nvidia:1", 5, 1, -1);
	expect("intel:arc", 3, 1, -1);	     /* two platforms fit, one of them has such a device */
	expect("Intel(R) OpenCL", 2, 1, -1); /* a whole name goes before a part of another */
	expect("graphics", 3, 1, -1);
	expect("intel(r) opencl:cpu", 2, 1, -1);
}

static void test_odd_names(void **state)
{
	(void)state;
	expect("odd: one", 6, 1, -1);
	expect("Odd: one/2, really:0", 6, 1, -1);
	expect("odd:a:b", 6, 1, -1);
	expect("6:a:b/3", 6, 3, -1); /* a number at the end is always the parts */
	expect("6:board a", 6, 1, -1);
}

static void test_parts(void **state)
{
	(void)state;
	expect("portable:0/2", 1, 2, -1);
	expect("portable/2", 1, 2, -1);
	expect("portable:0/2.0", 1, 2, 0);
	expect("portable:0/2.1", 1, 2, 1);
	expect("auto/2.1", 3, 2, 1);
	expect_failure("portable:0/2.2", "from 0 to n-1");
	expect_failure("portable:0/0", "counted from 1");
	expect_failure("portable:0/x", "fits none");
	expect_failure("portable:0/2.x", "fits none");
	expect_failure("portable:0/", "fits none");
}

static void test_none_or_several(void **state)
{
	(void)state;
	expect_failure("intel", "fits several");
	expect_failure("intel:0", "fits several");
	expect_failure("nvidia:rtx", "fits several");
	expect_failure("cuda2", "fits none");
	expect_failure("cuda:arc", "fits none");
	expect_failure(":0", "fits none");
	expect_failure("portable:", "fits none");
	/* what there is, with its numbers */
	expect_failure("nothing", "5:1 (NVIDIA CUDA: NVIDIA RTX)");
	expect_failure("nothing", "`nothing`");
	expect_failure("nothing", "2:0 (Portable Computing Language: pthread-skylake-avx512-Some CPU)");
}

static void test_auto(void **state)
{
	lw_device_info cpus[3] = {machine[0], machine[2], machine[1]};
	lw_selection s;

	(void)state;
	expect("auto", 3, 1, -1);
	expect("AUTO", 3, 1, -1);
	/* the simulator last, then the runtime that rounds correctly, wherever it stands */
	assert_int_equal(lw_select(&s, cpus, 3, "auto"), LW_OK);
	assert_int_equal(s.index, 2);
	cpus[1].type = LW_DEVICE_ACCELERATOR;
	assert_int_equal(lw_select(&s, cpus, 3, "auto"), LW_OK);
	assert_int_equal(s.index, 1);
	assert_int_equal(lw_select(&s, cpus, 1, "auto"), LW_OK);
	assert_int_equal(s.index, 0);
}

static void test_labels(void **state)
{
	char label[320];

	(void)state;
	for (size_t i = 0; i < LW_COUNT(machine); i++) {
		lw_select_label(label, sizeof label, machine, LW_COUNT(machine), i);
		expect(label, i, 1, -1);
		assert_null(strchr(label, ','));
	}
	lw_select_label(label, sizeof label, machine, LW_COUNT(machine), 1);
	assert_string_equal(label, "Portable Computing Language:0");
	lw_select_label(label, sizeof label, machine, LW_COUNT(machine), 6);
	assert_string_equal(label, "6:0"); /* its name has a comma */
}

static void open_fails(const char *names, lw_status expected, const char *in_message)
{
	lw_device **devices = (void *)1;
	size_t count = 1;
	lw_status status = lw_devices_open(&devices, &count, names);

	if (status != expected || !strstr(lw_last_error(), in_message))
		fail_msg("%s: status %d, %s", names, status, lw_last_error());
	assert_null(devices);
	assert_int_equal(count, 0);
}

static void test_lists(void **state)
{
	lw_device **devices, *one;
	size_t count;

	(void)state;
	assert_int_equal(lw_devices_open(&devices, &count, "sim"), LW_OK);
	assert_int_equal(count, 1);
	assert_string_equal(lw_device_label(devices[0]), "sim");
	lw_devices_close(&devices, count);
	assert_null(devices);
	/* options hold commas, too */
	assert_int_equal(lw_devices_open(&devices, &count, " sim:gflops=1,gbs=2 , sim ,sim:name=b,units=3"), LW_OK);
	assert_int_equal(count, 3);
	assert_string_equal(lw_device_label(devices[0]), "sim:gflops=1,gbs=2");
	assert_string_equal(lw_device_label(devices[1]), "sim");
	assert_string_equal(lw_device_label(devices[2]), "sim:name=b,units=3");
	assert_int_equal(lw_device_get_info(devices[2])->compute_units, 3);
	lw_devices_close(&devices, count);
	open_fails("", LW_E_ARGUMENT, "empty");
	open_fails("sim,", LW_E_ARGUMENT, "empty");
	open_fails("sim,,sim:name=a", LW_E_ARGUMENT, "empty");
	open_fails("sim,sim", LW_E_ARGUMENT, "named twice");
	open_fails("sim:speed=1", LW_E_ARGUMENT, "speed");
	open_fails("sim:gflops=fast", LW_E_ARGUMENT, "fast");
	open_fails("sim:gflops=0", LW_E_ARGUMENT, "above 0");
	one = (void *)1;
	assert_int_equal(lw_device_open(&one, "sim,sim:name=b"), LW_E_ARGUMENT);
	assert_null(one);
	lw_device_close(&one);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers),		cmocka_unit_test(test_names),
		cmocka_unit_test(test_odd_names),	cmocka_unit_test(test_parts),
		cmocka_unit_test(test_none_or_several), cmocka_unit_test(test_auto),
		cmocka_unit_test(test_labels),		cmocka_unit_test(test_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
