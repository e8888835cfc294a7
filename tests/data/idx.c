/* IDX files: plain and gzip, class filter, limit, normalisation, and an error for everything that can be wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "files.h"

enum { COUNT = 12, HEIGHT = 2, WIDTH = 3, IMAGE = HEIGHT * WIDTH };

static uint8_t images[16 + COUNT * IMAGE], labels[8 + COUNT];
static const char *paths[2];

/* Image i has label i % 4 and bytes 10*i + k. */
static void fill_files(void)
{
	memcpy(images, (uint8_t[]){0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, HEIGHT, 0, 0, 0, WIDTH}, 16);
	memcpy(labels, (uint8_t[]){0, 0, 8, 1, 0, 0, 0, COUNT}, 8);
	for (int i = 0; i < COUNT; i++) {
		labels[8 + i] = (uint8_t)(i % 4);
		for (int k = 0; k < IMAGE; k++)
			images[16 + i * IMAGE + k] = (uint8_t)(10 * i + k);
	}
}

static lw_dataset_options small_set(void)
{
	lw_dataset_options options;

	fill_files();
	lw_dataset_defaults(&options);
	paths[0] = write_bytes("images", images, sizeof(images));
	paths[1] = write_bytes("labels", labels, sizeof(labels));
	options.format = "idx";
	options.paths = paths;
	options.path_count = 2;
	options.channels = 1;
	options.height = HEIGHT;
	options.width = WIDTH;
	options.net_classes = 4;
	return options;
}

static void check_sample(const lw_dataset *dataset, size_t index, int original, int label)
{
	float image[IMAGE];
	int32_t found;

	assert_int_equal(lw_dataset_sample(dataset, index, image, &found), LW_OK);
	assert_int_equal(found, label);
	for (int k = 0; k < IMAGE; k++)
		assert_true(image[k] == (float)((10 * original + k) / 255.0));
}

static void reads_plain_and_gzip(void **state)
{
	lw_dataset_options options = small_set();

	(void)state;
	for (int packed = 0; packed < 2; packed++) {
		if (packed) {
			paths[0] = write_gzip("images.gz", images, sizeof(images));
			paths[1] = write_gzip("labels.gz", labels, sizeof(labels));
		}
		lw_dataset *dataset = open_set(&options);
		int channels, height, width;

		assert_int_equal(lw_dataset_count(dataset), COUNT);
		assert_int_equal(lw_dataset_classes(dataset), 4);
		lw_dataset_shape(dataset, &channels, &height, &width);
		assert_int_equal(channels, 1);
		assert_int_equal(height, HEIGHT);
		assert_int_equal(width, WIDTH);
		for (int i = 0; i < COUNT; i++)
			check_sample(dataset, (size_t)i, i, i % 4);
		assert_int_equal(lw_dataset_sample(dataset, COUNT, NULL, NULL), LW_E_ARGUMENT);
		lw_dataset_close(&dataset);
		assert_null(dataset);
	}
}

static void filters_and_limits(void **state)
{
	lw_dataset_options options = small_set();
	const int classes[] = {3, 1};

	(void)state;
	options.classes = classes;
	options.class_count = 2;
	options.net_classes = 2;
	lw_dataset *dataset = open_set(&options);

	assert_int_equal(lw_dataset_count(dataset), 6);
	for (size_t i = 0; i < 6; i++)
		check_sample(dataset, i, (int)(1 + 2 * i), i % 2 == 0 ? 1 : 0);
	lw_dataset_close(&dataset);

	options.limit = 5;
	dataset = open_set(&options);
	assert_int_equal(lw_dataset_count(dataset), 5);
	check_sample(dataset, 4, 9, 1);
	lw_dataset_close(&dataset);
}

static void normalises(void **state)
{
	lw_dataset_options options = small_set();
	float image[IMAGE];
	int32_t label;

	(void)state;
	options.mean_count = options.std_count = 1;
	options.mean[0] = 0.2860;
	options.std[0] = 0.3530;
	lw_dataset *dataset = open_set(&options);

	assert_int_equal(lw_dataset_sample(dataset, 7, image, &label), LW_OK);
	for (int k = 0; k < IMAGE; k++)
		assert_true(image[k] == (float)(((70 + k) / 255.0 - 0.2860) / 0.3530));
	lw_dataset_close(&dataset);
}

static void names_damaged_files(void **state)
{
	lw_dataset_options options = small_set();
	uint8_t copy[sizeof(images) + 1];

	(void)state;
	options.paths = (const char *[]){in_folder("absent"), paths[1]};
	EXPECT_ERROR(&options, LW_E_IO, "absent", "No such file");
	options.paths = (const char *[]){folder, paths[1]};
	EXPECT_ERROR(&options, LW_E_IO, folder, "directory");
	options.paths = (const char *[]){paths[1], paths[0]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "labels", "wrong magic number 0x00000801", "0x00000803");
	options.paths = (const char *[]){paths[0], paths[0]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "images", "wrong magic number 0x00000803", "0x00000801");

	options.paths = (const char *[]){write_bytes("cut", images, sizeof(images) - 1), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/cut", "truncated",
		     "an image at byte 82 needs 6 bytes, but only 5 are left");
	options.paths = (const char *[]){write_bytes("cut", images, 10), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/cut", "truncated: the header");
	options.paths = (const char *[]){write_bytes("cut", images, 0), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/cut", "truncated: the magic number");
	options.paths = (const char *[]){paths[0], write_bytes("cut", labels, sizeof(labels) - 2)};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/cut", "truncated: a run of labels at byte 8 needs 12 bytes, but only 10");

	memcpy(copy, images, sizeof(images));
	copy[sizeof(images)] = 1;
	options.paths = (const char *[]){write_bytes("long", copy, sizeof(copy)), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/long", "trailing bytes: the data ends at byte 88");
	memcpy(copy, labels, sizeof(labels));
	options.paths = (const char *[]){paths[0], write_bytes("long", copy, sizeof(labels) + 1)};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/long", "trailing bytes: the data ends at byte 20");

	labels[7]--;
	options.paths = (const char *[]){paths[0], write_bytes("fewer", labels, sizeof(labels) - 1)};
	EXPECT_ERROR(&options, LW_E_FORMAT, "images holds 12 images", "fewer holds 11 labels");
	/* A header that promises 4 billion labels takes no memory for them. */
	memset(labels + 4, 255, 4);
	options.paths = (const char *[]){paths[0], write_bytes("lie", labels, sizeof(labels))};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/lie", "truncated");
	images[7] = 0, memset(labels + 4, 0, 4);
	options.paths = (const char *[]){write_bytes("none", images, 16), write_bytes("nothing", labels, 8)};
	EXPECT_ERROR(&options, LW_E_FORMAT, "/none", "no samples");
}

static void names_damaged_archives(void **state)
{
	lw_dataset_options options = small_set();
	uint8_t packed[512];
	FILE *file = fopen(write_gzip("images.gz", images, sizeof(images)), "rb");
	size_t size = fread(packed, 1, sizeof(packed), file);

	(void)state;
	fclose(file);
	options.paths = (const char *[]){write_bytes("cut.gz", packed, size / 2), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "cut.gz", "truncated");
	options.paths = (const char *[]){write_bytes("cut.gz", packed, size - 4), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "cut.gz", "truncated: the gzip archive ends after 88 bytes");
	packed[size - 6] ^= 1;
	options.paths = (const char *[]){write_bytes("bad.gz", packed, size), paths[1]};
	EXPECT_ERROR(&options, LW_E_FORMAT, "bad.gz", "damaged gzip archive");
}

static void names_what_does_not_fit(void **state)
{
	lw_dataset_options options = small_set();

	(void)state;
	options.height = 28;
	EXPECT_ERROR(&options, LW_E_FORMAT, "/images", "1x2x3", "1x28x3");
	options = small_set();
	options.channels = 3;
	EXPECT_ERROR(&options, LW_E_FORMAT, "/images", "1x2x3", "3x2x3");
	options = small_set();
	options.net_classes = 3;
	EXPECT_ERROR(&options, LW_E_FORMAT, "/labels", "sample 3 has label 3", "0 to 2");
	options.class_count = 4;
	options.classes = (const int[]){0, 1, 2, 3};
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "4 are given", "3 outputs");
	options.net_classes = 4;
	options.classes = (const int[]){0, 1, 7, 3};
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "/labels", "class 7 was asked for");
	options.classes = (const int[]){0, 1, 1, 3};
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "1 is given twice");
	options.classes = (const int[]){0, -1, 1, 3};
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "-1 is not a class");
}

static void names_wrong_options(void **state)
{
	lw_dataset_options options = small_set();

	(void)state;
	options.format = "idy";
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "unknown data format 'idy'", "did you mean 'idx'");
	options.format = NULL;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "no data format");
	options = small_set();
	options.path_count = 1;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "idx: 1 path given", "an images file and a labels file");
	options = small_set();
	options.mean_count = 2;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "2 means, expected 1 or 1");
	options = small_set();
	options.std_count = 1;
	options.std[0] = 0;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "standard deviation 0");
	options = small_set();
	options.width = 0;
	EXPECT_ERROR(&options, LW_E_ARGUMENT, "1x2x0");
}

#define FASHION "/usr/share/datasets/fashion-mnist/"

static void reads_fashion_mnist(void **state)
{
	static const char *const train[] = {FASHION "train-images-idx3-ubyte.gz", FASHION "train-labels-idx1-ubyte.gz"};
	static const char *const test[] = {FASHION "t10k-images-idx3-ubyte.gz", FASHION "t10k-labels-idx1-ubyte.gz"};
	static const int classes[] = {5, 6, 7, 8, 9};
	lw_dataset_options options;

	(void)state;
	if (access(train[0], R_OK) != 0)
		skip();
	lw_dataset_defaults(&options);
	options.path_count = 2;
	options.channels = 1;
	options.height = options.width = 28;
	for (int part = 0; part < 4; part++) {
		options.paths = part % 2 ? test : train;
		options.classes = part < 2 ? NULL : classes;
		options.class_count = part < 2 ? 0 : 5;
		options.net_classes = part < 2 ? 10 : 5;
		lw_dataset *dataset = open_set(&options);

		assert_int_equal(lw_dataset_count(dataset), (part % 2 ? 10000 : 60000) / (part < 2 ? 1 : 2));
		assert_int_equal(lw_dataset_classes(dataset), part < 2 ? 10 : 5);
		lw_dataset_close(&dataset);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_plain_and_gzip),
		cmocka_unit_test(filters_and_limits),
		cmocka_unit_test(normalises),
		cmocka_unit_test(names_damaged_files),
		cmocka_unit_test(names_damaged_archives),
		cmocka_unit_test(names_what_does_not_fit),
		cmocka_unit_test(names_wrong_options),
		cmocka_unit_test(reads_fashion_mnist),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
