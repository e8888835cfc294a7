/* Checkpoints without a plan: which one is taken, which are kept, what is refused. */
#include "train/train.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];
static int warnings;

static void count_warning(void *user, lw_log_level level, const char *text)
{
	(void)user;
	(void)text;
	warnings += level == LW_LOG_WARNING;
}

static int setup(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/layerwise-checkpoint-XXXXXX");
	warnings = 0;
	lw_set_log(count_warning, NULL, LW_LOG_WARNING);
	return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
	char command[128];

	(void)state;
	lw_set_log(NULL, NULL, LW_LOG_WARNING);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

static const char *path_in(const char *name)
{
	static char path[256];

	snprintf(path, sizeof path, "%s/%s", folder, name);
	return path;
}

static const char *checkpoint_path(int64_t step, const char *ending)
{
	char name[128];

	snprintf(name, sizeof name, "checkpoint-%010lld.safetensors%s", (long long)step, ending);
	return path_in(name);
}

static lw_checkpoint facts_at(int64_t step)
{
	return (lw_checkpoint){.format = LW_CHECKPOINT_FORMAT, .step = step, .total = 100, .skipped = 3, .evaluated = 5, .batch = 8,
			       .seed = 4294967295, .shuffle = 1, .samples = 60};
}

/* A checkpoint whose one tensor holds its step. */
static lw_status write_step(int64_t step, float extra, int keep)
{
	const int64_t dims[] = {2};
	const float values[] = {(float)step, extra};
	lw_checkpoint facts = facts_at(step);
	lw_tensors *tensors;
	lw_status status;
	char *path;

	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "fc.weight", dims, 1, values), LW_OK);
	status = lw_checkpoint_write(&path, folder, &facts, tensors, keep);
	free(path);
	lw_tensors_destroy(&tensors);
	return status;
}

/* The step of the checkpoint taken; 0: none; -1: an error. */
static int64_t step_read(void)
{
	lw_tensors *tensors;
	lw_tensor_info info;
	lw_checkpoint facts;
	int64_t step = -1;
	char *path;

	if (lw_checkpoint_read(&tensors, &facts, &path, folder) == LW_OK)
		step = 0;
	if (tensors) {
		assert_true(lw_tensors_find(tensors, "fc.weight", &info));
		assert_int_equal(facts.step, (int64_t)info.values[0]);
		assert_string_equal(path, checkpoint_path(facts.step, ""));
		step = facts.step;
	}
	lw_tensors_destroy(&tensors);
	free(path);
	return step;
}

static void put_file(const char *path, const void *data, size_t size)
{
	FILE *stream = fopen(path, "wb");

	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, size, stream), size);
	assert_int_equal(fclose(stream), 0);
}

static void test_facts_come_back(void **state)
{
	lw_checkpoint facts, expected = facts_at(12);
	lw_tensors *tensors;
	char *path;

	(void)state;
	assert_int_equal(write_step(12, 0.5f, 2), LW_OK);
	assert_int_equal(lw_checkpoint_read(&tensors, &facts, &path, folder), LW_OK);
	assert_memory_equal(&facts, &expected, sizeof facts);
	assert_string_equal(lw_tensors_get_metadata(tensors, "train.version"), lw_version());
	lw_tensors_destroy(&tensors);
	free(path);
}

static void test_newest_few_are_kept(void **state)
{
	(void)state;
	for (int64_t step = 9; step <= 12; step++)
		assert_int_equal(write_step(step, 0, 2), LW_OK);
	assert_false(lw_file_exists(checkpoint_path(10, "")));
	assert_true(lw_file_exists(checkpoint_path(11, "")));
	assert_true(lw_file_exists(checkpoint_path(12, "")));
	assert_int_equal(step_read(), 12);
	assert_int_equal(warnings, 0);
}

static void test_nothing_there(void **state)
{
	(void)state;
	assert_int_equal(step_read(), 0);
	assert_int_equal(rmdir(folder), 0);
	assert_int_equal(step_read(), 0);
}

static void test_incomplete_is_passed_over(void **state)
{
	void *data;
	size_t size;

	(void)state;
	assert_int_equal(write_step(1, 0, 9), LW_OK);
	assert_int_equal(write_step(2, 0, 9), LW_OK);
	assert_int_equal(write_step(3, 0, 9), LW_OK);
	assert_int_equal(lw_file_read(checkpoint_path(3, ""), &data, &size), LW_OK);
	for (size_t cut = 0; cut < size; cut++) {
		put_file(checkpoint_path(3, ""), data, cut);
		assert_int_equal(step_read(), 2);
	}
	assert_int_equal(warnings, (int)size);
	/* one bit of a value, which safetensors itself would not notice */
	((char *)data)[size - 1] ^= 1;
	put_file(checkpoint_path(3, ""), data, size);
	assert_int_equal(step_read(), 2);
	/* a whole one, but of another step */
	((char *)data)[size - 1] ^= 1;
	put_file(checkpoint_path(3, ""), data, size);
	assert_int_equal(step_read(), 3);
	put_file(checkpoint_path(4, ""), data, size);
	assert_int_equal(step_read(), 3);
	free(data);
}

static void test_none_complete_is_an_error(void **state)
{
	(void)state;
	put_file(checkpoint_path(3, ""), "broken", 6);
	put_file(checkpoint_path(4, ""), "", 0);
	assert_int_equal(step_read(), -1);
	assert_non_null(strstr(lw_last_error(), "none of its checkpoints (2) is complete"));
}

static void test_foreign_files_are_left_alone(void **state)
{
	static const char *const foreign[] = {"notes.txt", "checkpoint-12.safetensors", "checkpoint-0000000099.safetensors.bak",
					      "checkpoint-0000000099.safetensors.toolong", "checkpoint-00000000xx.safetensors",
					      "my-checkpoint-0000000099.safetensors", "checkpoint-0000000099.safetensors.a.cdef"};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(foreign); i++)
		put_file(path_in(foreign[i]), "x", 1);
	assert_int_equal(lw_checkpoint_prepare(folder, -1), LW_OK);
	assert_int_equal(write_step(1, 0, 1), LW_OK);
	assert_int_equal(write_step(2, 0, 1), LW_OK);
	assert_int_equal(step_read(), 2);
	for (size_t i = 0; i < LW_COUNT(foreign); i++)
		assert_true(lw_file_exists(path_in(foreign[i])));
	assert_int_equal(warnings, 0);
}

static void test_plain_safetensors_is_no_checkpoint(void **state)
{
	const float value = 7;
	const int64_t dims[] = {1};
	lw_tensors *tensors;

	(void)state;
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "fc.weight", dims, 1, &value), LW_OK);
	assert_int_equal(lw_tensors_write(tensors, checkpoint_path(7, "")), LW_OK);
	lw_tensors_destroy(&tensors);
	assert_int_equal(write_step(6, 0, 9), LW_OK);
	assert_int_equal(step_read(), 6);
}

static void test_prepare(void **state)
{
	(void)state;
	assert_int_equal(write_step(5, 0, 9), LW_OK);
	assert_int_equal(write_step(6, 0, 9), LW_OK);
	assert_int_equal(write_step(7, 0, 9), LW_OK);
	put_file(checkpoint_path(6, ".aB3xyZ"), "torn", 4);
	assert_int_equal(lw_checkpoint_prepare(folder, 6), LW_OK);
	assert_false(lw_file_exists(checkpoint_path(6, ".aB3xyZ")));
	assert_false(lw_file_exists(checkpoint_path(7, "")));
	assert_true(lw_file_exists(checkpoint_path(7, ".old")));
	assert_int_equal(step_read(), 6);
	assert_int_equal(lw_checkpoint_prepare(folder, -1), LW_OK);
	assert_int_equal(step_read(), 0);
	assert_true(lw_file_exists(checkpoint_path(5, ".old")));
	/* a folder that is not there yet, and a path that cannot be one */
	assert_int_equal(lw_checkpoint_prepare(path_in("a/b"), -1), LW_OK);
	put_file(path_in("file"), "x", 1);
	assert_int_equal(lw_checkpoint_prepare(path_in("file/under"), -1), LW_E_IO);
}

static void test_not_finite_is_not_written(void **state)
{
	(void)state;
	assert_int_equal(write_step(5, 1, 1), LW_OK);
	assert_int_equal(write_step(6, INFINITY, 1), LW_E_NUMERIC);
	assert_non_null(strstr(lw_last_error(), "fc.weight"));
	assert_int_equal(write_step(6, NAN, 1), LW_E_NUMERIC);
	assert_int_equal(step_read(), 5);
}

static void expect_difference(lw_checkpoint run, const char *expected)
{
	lw_checkpoint saved = facts_at(50);

	assert_int_equal(lw_checkpoint_check("run/checkpoint", &saved, &run), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), expected));
}

static void test_another_run_is_refused(void **state)
{
	lw_checkpoint saved = facts_at(50), run = facts_at(0);

	(void)state;
	assert_int_equal(lw_checkpoint_check("run/checkpoint", &saved, &run), LW_OK);
	run.total = 200;
	assert_int_equal(lw_checkpoint_check("run/checkpoint", &saved, &run), LW_OK);
	run.total = 50;
	assert_int_equal(lw_checkpoint_check("run/checkpoint", &saved, &run), LW_OK);
	run.total = 49;
	expect_difference(run, "is at step 50, past the 49 steps");
	run = facts_at(0);
	run.batch = 9;
	expect_difference(run, "a batch was 8 and is 9 now");
	run = facts_at(0);
	run.seed = 2;
	expect_difference(run, "the seed was 4294967295 and is 2 now");
	run = facts_at(0);
	run.shuffle = 0;
	expect_difference(run, "shuffle was 1 and is 0 now");
	run = facts_at(0);
	run.samples = 61;
	expect_difference(run, "the number of training images was 60 and is 61 now");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_facts_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_newest_few_are_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nothing_there, setup, NULL),
		cmocka_unit_test_setup_teardown(test_incomplete_is_passed_over, setup, teardown),
		cmocka_unit_test_setup_teardown(test_none_complete_is_an_error, setup, teardown),
		cmocka_unit_test_setup_teardown(test_foreign_files_are_left_alone, setup, teardown),
		cmocka_unit_test_setup_teardown(test_plain_safetensors_is_no_checkpoint, setup, teardown),
		cmocka_unit_test_setup_teardown(test_prepare, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_finite_is_not_written, setup, teardown),
		cmocka_unit_test_setup_teardown(test_another_run_is_refused, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
