/* Every batch is a function of its number, an epoch holds a sample once, buffers live as long as promised. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "files.h"

enum { COUNT = 250, IMAGE = 2, BATCH = 8, PER_EPOCH = COUNT / BATCH };

/* Sample i has the label i and the bytes i, 255 - i. */
static int make_set(void **state)
{
	static uint8_t images[16 + COUNT * IMAGE] = {0, 0, 8, 3, 0, 0, 0, COUNT, 0, 0, 0, 1, 0, 0, 0, IMAGE};
	static uint8_t labels[8 + COUNT] = {0, 0, 8, 1, 0, 0, 0, COUNT};
	lw_dataset_options options;

	if (make_folder(state) != 0)
		return -1;
	for (int i = 0; i < COUNT; i++) {
		labels[8 + i] = images[16 + IMAGE * i] = (uint8_t)i;
		images[17 + IMAGE * i] = (uint8_t)(255 - i);
	}
	lw_dataset_defaults(&options);
	options.paths = (const char *[]){write_bytes("images", images, sizeof(images)),
					 write_bytes("labels", labels, sizeof(labels))};
	options.path_count = 2;
	options.channels = options.height = 1;
	options.width = IMAGE;
	*state = open_set(&options);
	return 0;
}

static int remove_set(void **state)
{
	lw_dataset *dataset = *state;

	lw_dataset_close(&dataset);
	return remove_folder(state);
}

static lw_loader *start(const lw_dataset *dataset, bool shuffle, uint32_t seed, uint64_t first)
{
	lw_loader *loader = NULL;

	assert_int_equal(lw_loader_create(&loader, dataset, BATCH, shuffle, seed, first), LW_OK);
	assert_int_equal(lw_loader_batches_per_epoch(loader), PER_EPOCH);
	return loader;
}

static const int32_t *next(lw_loader *loader)
{
	const float *images;
	const int32_t *labels;

	assert_int_equal(lw_loader_next(loader, &images, &labels), LW_OK);
	for (int i = 0; i < BATCH; i++) {
		assert_true(images[IMAGE * i] == (float)(labels[i] / 255.0));
		assert_true(images[IMAGE * i + 1] == (float)((255 - labels[i]) / 255.0));
	}
	return labels;
}

static void batch_depends_on_its_number_alone(void **state)
{
	enum { BATCHES = 3 * PER_EPOCH };
	int32_t stepped[BATCHES][BATCH];

	for (int shuffle = 0; shuffle < 2; shuffle++) {
		lw_loader *loader = start(*state, shuffle, 7, 0);

		for (int b = 0; b < BATCHES; b++)
			memcpy(stepped[b], next(loader), sizeof(stepped[b]));
		lw_loader_destroy(&loader);
		assert_null(loader);
		for (int b = 0; b < BATCHES; b++) {
			loader = start(*state, shuffle, 7, (uint64_t)b);
			assert_memory_equal(next(loader), stepped[b], sizeof(stepped[b]));
			if (b + 1 < BATCHES)
				assert_memory_equal(next(loader), stepped[b + 1], sizeof(stepped[b]));
			lw_loader_destroy(&loader);
		}
	}
}

static void file_order_without_shuffle(void **state)
{
	lw_loader *loader = start(*state, false, 7, 0);

	for (int b = 0; b < 2 * PER_EPOCH; b++) {
		const int32_t *labels = next(loader);

		for (int i = 0; i < BATCH; i++)
			assert_int_equal(labels[i], b % PER_EPOCH * BATCH + i);
	}
	lw_loader_destroy(&loader);
}

static void an_epoch_repeats_no_sample(void **state)
{
	lw_loader *loader = start(*state, true, 1, 0);
	int moved = 0, times[COUNT] = {0};

	for (int epoch = 0; epoch < 40; epoch++) {
		bool seen[COUNT] = {false};

		for (int b = 0; b < PER_EPOCH; b++) {
			const int32_t *labels = next(loader);

			for (int i = 0; i < BATCH; i++) {
				assert_false(seen[labels[i]]);
				seen[labels[i]] = true;
				times[labels[i]]++;
				moved += labels[i] != b * BATCH + i;
			}
		}
	}
	lw_loader_destroy(&loader);
	/* Nearly every place holds another sample than in file order, and each sample is left out only rarely. */
	assert_true(moved > 40 * PER_EPOCH * BATCH * 95 / 100);
	for (int i = 0; i < COUNT; i++)
		assert_in_range(times[i], 34, 40);
}

static void orders_differ(void **state)
{
	lw_loader *a = start(*state, true, 1, 0), *b = start(*state, true, 2, 0),
		  *c = start(*state, true, 1, PER_EPOCH);
	const int32_t *of_seed_1 = next(a), *of_seed_2 = next(b), *of_epoch_1 = next(c);

	assert_memory_not_equal(of_seed_1, of_seed_2, BATCH * sizeof(int32_t));
	assert_memory_not_equal(of_seed_1, of_epoch_1, BATCH * sizeof(int32_t));
	lw_loader_destroy(&a);
	lw_loader_destroy(&b);
	lw_loader_destroy(&c);
}

/* A uniform shuffle puts every sample at the first place equally often: chi-square over 250 samples, 5 sigma. */
static void first_place_is_fair(void **state)
{
	enum { EPOCHS = 5000 };
	int times[COUNT] = {0};
	lw_loader *loader = NULL;
	double chi_square = 0, expected = (double)EPOCHS / COUNT;

	/* One batch an epoch. */
	assert_int_equal(lw_loader_create(&loader, *state, COUNT, true, 3, 0), LW_OK);
	for (int epoch = 0; epoch < EPOCHS; epoch++) {
		const float *images;
		const int32_t *labels;

		assert_int_equal(lw_loader_next(loader, &images, &labels), LW_OK);
		times[labels[0]]++;
	}
	lw_loader_destroy(&loader);
	assert_true(times[0] > 0); /* a sample may stay where it was */
	for (int i = 0; i < COUNT; i++)
		chi_square += (times[i] - expected) * (times[i] - expected) / expected;
	assert_true(chi_square > 249 - 5 * 22.3 && chi_square < 249 + 5 * 22.3);
}

static void batches_live_until_the_next_but_one(void **state)
{
	lw_loader *loader = start(*state, true, 5, 0);
	const int32_t *before = next(loader);
	int32_t copy[BATCH];

	for (int b = 0; b < 200; b++) {
		memcpy(copy, before, sizeof(copy));
		const int32_t *labels = next(loader);

		usleep(b % 50 == 0 ? 2000 : 0); /* time for the thread to do harm */
		assert_memory_equal(before, copy, sizeof(copy));
		before = labels;
	}
	lw_loader_destroy(&loader);
}

/* Where image i of a batch is its label's, as next checks; others may be anything. */
static void expect_images(const float *images, const int32_t *labels, int first, int count)
{
	for (int i = first; i < first + count; i++)
		assert_true(images[IMAGE * i] == (float)(labels[i] / 255.0));
}

static void a_part_of_each_batch_can_be_had(void **state)
{
	enum { PARTS = 6 };
	static const int parts[PARTS][2] = {{2, 3}, {1, 5}, {6, 2}, {0, 0}, {0, BATCH}, {3, 1}};
	lw_loader *whole = start(*state, true, 9, 0), *loader = start(*state, true, 9, 0);

	for (int b = 0; b < 120; b++) {
		const int *part = parts[b / 10 % PARTS], *later = parts[b % PARTS];
		const int32_t *labels, *expected = next(whole);
		const float *images;

		assert_int_equal(lw_loader_next(loader, &images, &labels), LW_OK);
		assert_memory_equal(labels, expected, BATCH * sizeof *labels);
		lw_loader_need(loader, images, part[0], part[1]);
		expect_images(images, labels, part[0], part[1]);
		lw_loader_need(loader, images, later[0], later[1]); /* the same batch is shared out anew */
		expect_images(images, labels, later[0], later[1]);
	}
	lw_loader_destroy(&loader);
	lw_loader_destroy(&whole);
}

static void rejects_wrong_batches(void **state)
{
	lw_loader *loader = NULL;

	assert_int_equal(lw_loader_create(&loader, *state, 0, true, 1, 0), LW_E_ARGUMENT);
	assert_int_equal(lw_loader_create(&loader, *state, COUNT + 1, true, 1, 0), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "250 samples, fewer than a batch of 251"));
	assert_null(loader);
	lw_loader_destroy(&loader);
	lw_loader_destroy(NULL);
	for (int i = 0; i < 100; i++) { /* stopped at any moment */
		loader = start(*state, true, (uint32_t)i, 1000000007u);
		lw_loader_destroy(&loader);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(batch_depends_on_its_number_alone),
		cmocka_unit_test(file_order_without_shuffle),
		cmocka_unit_test(an_epoch_repeats_no_sample),
		cmocka_unit_test(orders_differ),
		cmocka_unit_test(first_place_is_fair),
		cmocka_unit_test(batches_live_until_the_next_but_one),
		cmocka_unit_test(a_part_of_each_batch_can_be_had),
		cmocka_unit_test(rejects_wrong_batches),
	};

	return cmocka_run_group_tests(tests, make_set, remove_set);
}
