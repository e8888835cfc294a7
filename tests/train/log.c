/* The log of steps: what a fresh and a resumed run leave of what was there. */
#include "train/train.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static int setup(void **state)
{
	int descriptor;

	(void)state;
	strcpy(path, "/tmp/layerwise-log-XXXXXX");
	descriptor = mkstemp(path);
	return descriptor < 0 ? -1 : close(descriptor);
}

static int teardown(void **state)
{
	(void)state;
	return unlink(path);
}

static void put(const char *text)
{
	FILE *stream = fopen(path, "w");

	assert_non_null(stream);
	fputs(text, stream);
	fclose(stream);
}

static void expect(const char *text)
{
	void *data;
	size_t size;

	assert_int_equal(lw_file_read(path, &data, &size), LW_OK);
	assert_string_equal(data, text);
	free(data);
}

static void reopen(int64_t from, int64_t evaluated)
{
	lw_step_log *log;

	assert_int_equal(lw_step_log_open(&log, path, from, evaluated), LW_OK);
	assert_int_equal(lw_step_log_evaluation(log, 99, 0.5, NAN), LW_OK);
	lw_step_log_close(&log);
}

#define NEW "{\"eval\":{\"step\":99,\"accuracy\":0.5,\"loss\":null}}\n"

static void test_fresh_begins_empty(void **state)
{
	(void)state;
	put("{\"step\":1,\"loss\":2}\n");
	reopen(0, 0);
	expect(NEW);
}

static void test_resumed_drops_what_comes_again(void **state)
{
	(void)state;
	put("{\"step\":9,\"loss\":2}\n{\"eval\":{\"step\":9,\"loss\":1}}\n{\"step\":10,\"loss\":2}\n{\"eval\":{\"step\":10}}\n"
	    "somebody's note\n{\"step\":11,\"loss\":2}\n{\"step\":100,\"loss\":2}\n{\"step\":10");
	reopen(10, 9);
	expect("{\"step\":9,\"loss\":2}\n{\"eval\":{\"step\":9,\"loss\":1}}\n{\"step\":10,\"loss\":2}\nsomebody's note\n" NEW);
}

static void test_resumed_without_a_log(void **state)
{
	(void)state;
	assert_int_equal(unlink(path), 0);
	reopen(10, 0);
	expect(NEW);
}

static void test_no_folder(void **state)
{
	lw_step_log *log;

	(void)state;
	assert_int_equal(lw_step_log_open(&log, "/nonexistent/steps.jsonl", 0, 0), LW_E_IO);
	assert_non_null(strstr(lw_last_error(), "/nonexistent/steps.jsonl"));
	assert_null(log);
}

static void test_full_disk(void **state)
{
	lw_step_log *log;

	(void)state;
	if (!lw_file_exists("/dev/full"))
		skip();
	assert_int_equal(lw_step_log_open(&log, "/dev/full", 0, 0), LW_OK);
	assert_int_equal(lw_step_log_evaluation(log, 1, 0.5, 1), LW_E_IO);
	lw_step_log_close(&log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fresh_begins_empty, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resumed_drops_what_comes_again, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resumed_without_a_log, setup, teardown),
		cmocka_unit_test(test_no_folder),
		cmocka_unit_test(test_full_disk),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
