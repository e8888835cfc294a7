/* CIFAR-10's binary files: planes become pixels, several files, and the errors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "files.h"

enum { RECORD = 3073, COUNT = 4, PLANE = 1024 };

static uint8_t records[COUNT * RECORD + 1];

static uint8_t byte_of(int sample, int channel, int pixel) { return (uint8_t)(sample * 7 + channel * 50 + pixel * 3); }

static lw_dataset_options small_set(const char *const *paths, size_t count)
{
	lw_dataset_options options;

	for (int i = 0; i < COUNT; i++) {
		records[i * RECORD] = (uint8_t)(9 - i);
		for (int k = 0; k < 3 * PLANE; k++)
			records[i * RECORD + 1 + k] = byte_of(i, k / PLANE, k % PLANE);
	}
	lw_dataset_defaults(&options);
	options.format = "cifar10";
	options.paths = paths;
	options.path_count = count;
	options.channels = 3;
	options.height = options.width = 32;
	options.net_classes = 10;
	return options;
}

static void reads_several_files(void **state)
{
	const char *paths[2] = {NULL};
	lw_dataset_options options = small_set(paths, 2);
	static float image[3 * PLANE];
	int32_t label;

	(void)state;
	options.mean_count = options.std_count = 3;
	for (int c = 0; c < 3; c++) {
		options.mean[c] = 0.1 * (c + 1);
		options.std[c] = 0.2 * (c + 1);
	}
	paths[0] = write_bytes("one.bin", records, 3 * RECORD);
	paths[1] = write_gzip("two.bin.gz", records + 3 * RECORD, RECORD);
	lw_dataset *dataset = open_set(&options);

	assert_int_equal(lw_dataset_count(dataset), COUNT);
	assert_int_equal(lw_dataset_classes(dataset), 10);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(lw_dataset_sample(dataset, (size_t)i, image, &label), LW_OK);
		assert_int_equal(label, 9 - i);
		for (int k = 0; k < 3 * PLANE; k++) {
			int c = k % 3;

			assert_true(image[k] ==
				    (float)((byte_of(i, c, k / 3) / 255.0 - options.mean[c]) / options.std[c]));
		}
	}
	lw_dataset_close(&dataset);
}

static void names_errors(void **state)
{
	const char *path = NULL;
	lw_dataset_options options = small_set(&path, 1);

	(void)state;
	path = in_folder("absent");
	EXPECT_ERROR(&options, LW_E_IO, "absent", "No such file");
	path = write_bytes("cut.bin", records, 2 * RECORD - 1);
	EXPECT_ERROR(&options, LW_E_FORMAT, "cut.bin", "truncated: record 1 has 3072 bytes, expected 3073");
	path = write_bytes("long.bin", records, COUNT * RECORD + 1);
	EXPECT_ERROR(&options, LW_E_FORMAT, "long.bin", "truncated: record 4 has 1 bytes");
	path = write_bytes("empty.bin", records, 0);
	EXPECT_ERROR(&options, LW_E_FORMAT, "empty.bin", "record 0 has 0 bytes");
	records[2 * RECORD] = 10;
	path = write_bytes("label.bin", records, 3 * RECORD);
	EXPECT_ERROR(&options, LW_E_FORMAT, "label.bin", "sample 2 has label 10, expected 0 to 9");
	options = small_set(&path, 1);
	path = write_bytes("good.bin", records, COUNT * RECORD);
	options.height = 28;
	EXPECT_ERROR(&options, LW_E_FORMAT, "good.bin", "3x32x32", "3x28x32");
	options.height = 32;
	options.net_classes = 9;
	EXPECT_ERROR(&options, LW_E_FORMAT, "good.bin", "sample 0 has label 9", "9 outputs");
	options.path_count = 0;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "0 paths given", "one or more batch files");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_several_files),
		cmocka_unit_test(names_errors),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
