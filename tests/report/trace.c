/* Traces of simulated devices, written and profiled: every time is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "device/device.h"
#include <layerwise/report.h>

#include <jansson.h>
#include <math.h>

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

/* A device with two queues. */
typedef struct worker {
	lw_device *device;
	lw_queue *compute, *transfers;
	lw_buf *buf;
	lw_program *program;
	lw_kernel *kernel;
} worker;

static void worker_create(worker *w, const char *name)
{
	OK(lw_device_open(&w->device, name));
	OK(lw_queue_create(&w->compute, w->device));
	OK(lw_queue_create(&w->transfers, w->device));
	lw_queue_name(w->compute, "compute");
	lw_queue_name(w->transfers, "transfers");
	OK(lw_buf_create(&w->buf, w->device, 4000));
	OK(lw_program_create(&w->program, w->device, "any", ""));
	OK(lw_kernel_create(&w->kernel, w->program, "any"));
}

static void worker_destroy(worker *w)
{
	lw_kernel_destroy(&w->kernel);
	lw_program_destroy(&w->program);
	lw_buf_destroy(&w->buf);
	lw_queue_destroy(&w->compute);
	lw_queue_destroy(&w->transfers);
	lw_device_close(&w->device);
}

static void launch(worker *w, const char *layer, const char *part, double seconds)
{
	lw_launch l = {.kernel = w->kernel, .flops = 1e9 * seconds};

	lw_launch_1d(&l, 1, 1);
	lw_queue_label(w->compute, (lw_label){layer, part, 2e9 * seconds});
	OK(lw_queue_launch(w->compute, &l, NULL));
	lw_queue_label(w->compute, (lw_label){0});
}

/*
 * At 1 GFLOP/s and 4000 B/s a buffer takes 1 s to send. One device: conv1 2 s, then 1 s of update; beside it two transfers
 * of 1 s, the second of which the other device's queue waits for before it computes 1 s.
 */
static void run_step(worker *w)
{
	static char data[4000];
	lw_event *sent;

	OK(lw_queue_write(w[0].transfers, w[0].buf, 0, sizeof data, data, NULL));
	OK(lw_queue_read(w[0].transfers, w[0].buf, 0, sizeof data, data, NULL));
	launch(&w[0], "conv1", "forward", 2);
	launch(&w[0], "sgd", "update", 1);
	OK(lw_queue_write(w[1].transfers, w[1].buf, 0, sizeof data, data, &sent));
	OK(lw_queue_wait_event(w[1].compute, sent));
	lw_event_destroy(&sent);
	launch(&w[1], "conv1", "forward", 1);
	OK(lw_queue_finish(w[0].transfers));
}

static lw_trace *traced(worker *w, int steps)
{
	lw_device *devices[2];
	lw_trace *trace;

	worker_create(&w[0], "sim:gflops=1,gbs=0.000004,launch_us=0,name=a");
	worker_create(&w[1], "sim:gflops=1,gbs=0.000004,launch_us=0,name=b");
	devices[0] = w[0].device;
	devices[1] = w[1].device;
	OK(lw_trace_create(&trace, devices, 2));
	for (int step = 1; step <= steps; step++) {
		lw_trace_begin_step(trace, step);
		run_step(w);
		lw_trace_end_step(trace);
	}
	return trace;
}

static char *profile_text(lw_trace *trace, bool json)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	OK(lw_report_profile(trace, stream, json));
	fclose(stream);
	return text;
}

static void near(json_t *number, double expected)
{
	if (!json_is_number(number) || fabs(json_number_value(number) - expected) > 1e-3)
		fail_msg("%g, %g was expected", json_number_value(number), expected);
}

static json_t *row_of(json_t *list, const char *device, const char *layer, const char *part)
{
	size_t i;
	json_t *row;

	json_array_foreach(list, i, row) {
		const char *its_device = json_string_value(json_object_get(row, "device"));

		if (strcmp(json_string_value(json_object_get(row, "part")), part) == 0 &&
		    (!layer || strcmp(json_string_value(json_object_get(row, "layer")), layer) == 0) &&
		    (!device || (its_device && strstr(its_device, device))))
			return row;
	}
	fail_msg("no row %s %s of %s", layer ? layer : "", part, device ? device : "all");
	return NULL;
}

static void test_profile(void **state)
{
	worker w[2];
	lw_trace *trace = traced(w, 1);
	char *text = profile_text(trace, true);
	json_t *p = json_loads(text, 0, NULL), *row, *queues;

	(void)state;
	assert_non_null(p);
	assert_int_equal(json_integer_value(json_object_get(p, "steps")), 1);
	near(json_object_get(p, "step_seconds"), 3);
	row = row_of(json_object_get(p, "parts"), "name=a", "conv1", "forward");
	near(json_object_get(row, "seconds"), 2);
	near(json_object_get(row, "share"), 2.0 / 3);
	near(json_object_get(row, "gflops"), 2);
	near(json_object_get(row_of(json_object_get(p, "parts"), "name=b", "conv1", "forward"), "seconds"), 1);
	near(json_object_get(row_of(json_object_get(p, "sums"), NULL, NULL, "forward"), "seconds"), 3);
	near(json_object_get(row_of(json_object_get(p, "sums"), NULL, NULL, "transfer"), "seconds"), 3);
	near(json_object_get(row_of(json_object_get(p, "sums"), NULL, NULL, "update"), "seconds"), 1);
	queues = json_object_get(p, "queues"); /* in the order in which they came */
	near(json_object_get(json_array_get(queues, 0), "idle"), 1.0 / 3);
	near(json_object_get(json_array_get(queues, 1), "idle"), 0);
	near(json_object_get(json_array_get(queues, 2), "idle"), 2.0 / 3);
	near(json_object_get(json_array_get(queues, 3), "idle"), 2.0 / 3); /* waiting is not work */
	/* of 3 s of transfers and 1 s of update all but the update ran beside a conv1 */
	near(json_object_get(p, "transfer_and_update_seconds"), 4);
	near(json_object_get(p, "overlap"), 0.75);
	json_decref(p);
	free(text);
	text = profile_text(trace, false);
	assert_non_null(strstr(text, "3000.0"));
	assert_non_null(strstr(text, "overlap: 75.0 % of 400"));
	assert_non_null(strstr(text, "name=b"));
	free(text);
	lw_trace_destroy(&trace);
	worker_destroy(&w[0]);
	worker_destroy(&w[1]);
}

/* The first step is left out where there are others; without any there is no profile, but a trace. */
static void test_steps(void **state)
{
	worker w[2];
	lw_trace *trace = traced(w, 4);
	char *text = profile_text(trace, true), path[] = "/tmp/layerwise-trace-XXXXXX";
	json_t *p = json_loads(text, 0, NULL);

	(void)state;
	assert_int_equal(json_integer_value(json_object_get(p, "steps")), 3);
	near(json_object_get(row_of(json_object_get(p, "parts"), "name=a", "conv1", "forward"), "seconds"), 2);
	json_decref(p);
	free(text);
	lw_trace_destroy(&trace);
	worker_destroy(&w[0]);
	worker_destroy(&w[1]);

	trace = traced(w, 0);
	assert_int_equal(lw_report_profile(trace, stdout, true), LW_E_ARGUMENT);
	close(mkstemp(path));
	OK(lw_report_trace(trace, path));
	p = json_load_file(path, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(p, "traceEvents")), 0);
	json_decref(p);
	remove(path);
	lw_trace_destroy(&trace);
	worker_destroy(&w[0]);
	worker_destroy(&w[1]);
}

/* Two processes with two lanes each beside the host's; the wait stands where the queue waited. */
static void test_file(void **state)
{
	worker w[2];
	lw_trace *trace = traced(w, 1);
	char path[] = "/tmp/layerwise-trace-XXXXXX";
	json_t *root, *event;
	int processes = 0, waits = 0;
	size_t i;

	(void)state;
	close(mkstemp(path));
	OK(lw_report_trace(trace, path));
	root = json_load_file(path, 0, NULL);
	assert_non_null(root);
	json_array_foreach(json_object_get(root, "traceEvents"), i, event) {
		const char *name = json_string_value(json_object_get(event, "name"));
		const json_int_t process = json_integer_value(json_object_get(event, "pid"));

		processes |= 1 << process;
		if (strcmp(name, "conv1 forward") == 0 && process == 2)
			near(json_object_get(event, "dur"), 2e6);
		if (strcmp(name, "wait") == 0 && process == 1)
			assert_non_null(json_string_value(json_object_get(json_object_get(event, "args"), "for")));
		if (strcmp(name, "wait") == 0 && process == 3) {
			waits++;
			assert_true(json_number_value(json_object_get(event, "dur")) <= 1e6);
		}
	}
	assert_int_equal(processes, 2 + 4 + 8);
	assert_int_equal(waits, 1);
	json_decref(root);
	remove(path);
	assert_int_equal(lw_report_trace(trace, "/nonexistent/trace.json"), LW_E_IO);
	lw_trace_destroy(&trace);
	worker_destroy(&w[0]);
	worker_destroy(&w[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_profile), cmocka_unit_test(test_steps), cmocka_unit_test(test_file)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
