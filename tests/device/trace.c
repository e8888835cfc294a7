/* Traces of the simulated device, where every time is known, and of every real one. */
#include "device/trace.h"

#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

static void assert_fails(lw_status status, lw_status expected, const char *in_message)
{
	if (status != expected || !strstr(lw_last_error(), in_message))
		fail_msg("status %d (%d expected), message without `%s`: %s", status, expected, in_message, lw_last_error());
}

static const char source[] = "__kernel void twice(__global float *x) { x[get_global_id(0)] *= 2; }";

/* A device, two queues, a buffer, a kernel. */
typedef struct bench {
	lw_device *device;
	lw_queue *compute, *transfers;
	lw_buf *buf;
	lw_program *program;
	lw_kernel *kernel;
	lw_launch launch;
} bench;

static void bench_begin(bench *b, lw_device *device)
{
	b->device = device;
	OK(lw_queue_create(&b->compute, device));
	OK(lw_queue_create(&b->transfers, device));
	lw_queue_name(b->compute, "compute");
	OK(lw_buf_create(&b->buf, device, 4096));
	OK(lw_program_create(&b->program, device, source, ""));
	OK(lw_kernel_create(&b->kernel, b->program, "twice"));
	b->launch = (lw_launch){.kernel = b->kernel, .flops = 1e9};
	lw_arg_buf(&b->launch, b->buf);
	lw_launch_1d(&b->launch, 1024, 0);
}

static void bench_end(bench *b)
{
	lw_kernel_destroy(&b->kernel);
	lw_program_destroy(&b->program);
	lw_buf_destroy(&b->buf);
	lw_queue_destroy(&b->compute);
	lw_queue_destroy(&b->transfers);
	lw_device_close(&b->device);
}

/* A write on one queue, that the other waits for; three launches, two of them of one layer. */
static void run_step(bench *b)
{
	static const float data[1024];
	lw_event *written;

	OK(lw_queue_write(b->transfers, b->buf, 0, sizeof data, data, &written));
	OK(lw_queue_wait_event(b->compute, written));
	lw_event_destroy(&written);
	lw_queue_label(b->compute, (lw_label){"conv1", "forward", 5e8});
	OK(lw_queue_launch(b->compute, &b->launch, NULL));
	OK(lw_queue_launch(b->compute, &b->launch, NULL));
	lw_queue_label(b->compute, (lw_label){0});
	OK(lw_queue_launch(b->compute, &b->launch, NULL));
	OK(lw_queue_fill(b->compute, b->buf, 0, 4096, 0, NULL));
	OK(lw_queue_finish(b->compute));
}

static void check_record(const lw_trace *t, size_t index, lw_traced_kind kind, const char *lane, const char *name, const char *layer)
{
	const lw_traced *r = &t->records[index];

	assert_true(index < t->record_count);
	assert_int_equal(r->kind, kind);
	assert_string_equal(t->lanes[r->lane].name, lane);
	assert_string_equal(r->name, name);
	if (layer)
		assert_string_equal(r->label.layer, layer);
	else
		assert_null(r->label.layer);
	assert_true(r->start <= r->end);
}

static void check_step(const lw_trace *t, int64_t step)
{
	const lw_traced *r = t->records;

	assert_int_equal(t->record_count, 8);
	check_record(t, 0, LW_TRACED_STEP, "thread 1", "step", NULL);
	check_record(t, 1, LW_TRACED_TRANSFER, "queue 1", "write", NULL);
	check_record(t, 2, LW_TRACED_WAIT, "compute", "wait", NULL);
	check_record(t, 3, LW_TRACED_LAUNCH, "compute", "twice", "conv1");
	check_record(t, 4, LW_TRACED_LAUNCH, "compute", "twice", "conv1");
	check_record(t, 5, LW_TRACED_LAUNCH, "compute", "twice", NULL);
	check_record(t, 6, LW_TRACED_FILL, "compute", "fill", NULL);
	check_record(t, 7, LW_TRACED_HOST_WAIT, "thread 1", "wait", NULL);
	for (size_t i = 0; i < 8; i++)
		assert_int_equal(r[i].step, step);
	for (size_t i = 3; i < 7; i++)
		assert_true(r[i].start >= r[i - 1].end);
	assert_true(r[2].start < r[2].end);
	assert_true(r[2].end >= r[1].end);
	assert_string_equal(r[3].label.part, "forward");
	assert_true(r[3].label.flops == 5e8 && r[4].label.flops == 0 && r[5].label.flops == 1e9);
	assert_true(r[1].bytes == 4096 && r[6].bytes == 4096);
	assert_int_equal(r[2].awaited, r[1].lane);
	assert_int_equal(r[7].awaited, r[3].lane);
	assert_true(r[0].start <= r[7].start && r[7].end <= r[0].end);
}

static lw_device *open_device(const char *name)
{
	lw_device *device;

	OK(lw_device_open(&device, name));
	return device;
}

static void near(double value, double expected)
{
	if (fabs(value - expected) > 1e-6)
		fail_msg("%.9f s, %.9f s was expected", value, expected);
}

/* 1 GFLOP/s, 4096 B/ms: the write takes 1 ms, a launch 1 s. */
static void test_model(void **state)
{
	bench b = {0};
	lw_trace *t;

	(void)state;
	bench_begin(&b, open_device("sim:gflops=1,gbs=0.004096,launch_us=0"));
	OK(lw_trace_create(&t, &b.device, 1));
	lw_trace_begin_step(t, 7);
	run_step(&b);
	lw_trace_end_step(t);
	lw_trace_collect(t);
	check_step(t, 7);
	near(t->records[1].end - t->records[1].start, 1e-3);
	near(t->records[2].end - t->records[1].end, 0);
	near(t->records[3].start - t->records[1].end, 0);
	near(t->records[5].end - t->records[3].start, 3);
	lw_trace_destroy(&t);
	bench_end(&b);
}

/* Only steps are recorded; queues come and go; a device is in one trace. */
static void test_lives(void **state)
{
	bench b = {0};
	lw_trace *t, *second;
	lw_event *event;

	(void)state;
	bench_begin(&b, open_device("sim"));
	OK(lw_trace_create(&t, &b.device, 1));
	assert_fails(lw_trace_create(&second, &b.device, 1), LW_E_ARGUMENT, "traced already");
	assert_null(second);
	run_step(&b);
	assert_int_equal(t->record_count, 0);
	lw_trace_begin_step(t, 1);
	OK(lw_queue_launch(b.compute, &b.launch, &event));
	lw_trace_end_step(t);
	lw_queue_destroy(&b.compute); /* what it did is known all the same */
	assert_false(isnan(t->records[1].end));
	OK(lw_queue_create(&b.compute, b.device));
	lw_queue_name(b.compute, "compute");
	lw_trace_begin_step(t, 2);
	run_step(&b);
	lw_trace_end_step(t);
	assert_int_equal(t->lane_count, 3); /* the new queue goes on in the lane of the old */
	OK(lw_queue_launch(b.compute, &b.launch, NULL));
	lw_trace_begin_step(t, 3);
	OK(lw_queue_launch(b.compute, &b.launch, NULL));
	lw_trace_destroy(&t); /* in the midst of a step */
	OK(lw_event_wait(event));
	lw_event_destroy(&event);
	OK(lw_queue_finish(b.compute));
	OK(lw_trace_create(&t, &b.device, 1));
	lw_trace_begin_step(t, 1);
	run_step(&b);
	lw_trace_end_step(t);
	lw_trace_collect(t);
	check_step(t, 1);
	lw_trace_destroy(&t);
	bench_end(&b);
	lw_trace_begin_step(NULL, 1);
	lw_trace_end_step(NULL);
	lw_trace_destroy(&t);
}

static void test_failure(void **state)
{
	bench b = {0};
	lw_trace *t;

	(void)state;
	bench_begin(&b, open_device("sim:fail_async=12")); /* ten looks at the clock come first */
	OK(lw_trace_create(&t, &b.device, 1));
	lw_trace_begin_step(t, 1);
	OK(lw_queue_launch(b.compute, &b.launch, NULL));
	OK(lw_queue_launch(b.compute, &b.launch, NULL));
	lw_trace_collect(t);
	assert_fails(lw_queue_finish(b.compute), LW_E_DEVICE, "failed on the device"); /* it was not swallowed */
	lw_trace_destroy(&t);
	bench_end(&b);
}

static char warning[256];

static void keep_warning(void *user, lw_log_level level, const char *text)
{
	(void)user, (void)level;
	snprintf(warning, sizeof warning, "%s", text);
}

static void test_room(void **state)
{
	enum { ROOM = 1 << 18 };
	bench b = {0};
	lw_trace *t;

	(void)state;
	bench_begin(&b, open_device("sim"));
	OK(lw_trace_create(&t, &b.device, 1));
	lw_set_log(keep_warning, NULL, LW_LOG_WARNING);
	lw_trace_begin_step(t, 5);
	for (int i = 0; i < ROOM + 10; i++)
		OK(lw_queue_launch(b.compute, &b.launch, NULL));
	lw_set_log(NULL, NULL, LW_LOG_WARNING);
	assert_int_equal(t->record_count, ROOM);
	assert_int_equal(t->left_out, 11); /* the step is a record, too */
	assert_non_null(strstr(warning, "step 5"));
	lw_trace_destroy(&t);
	bench_end(&b);
}

typedef struct worker {
	bench bench;
	pthread_t thread;
} worker;

static void *work(void *data)
{
	worker *w = data;

	for (int i = 0; i < 200; i++)
		run_step(&w->bench);
	return NULL;
}

/* Two devices, each driven by a thread of its own. */
static void test_threads(void **state)
{
	worker workers[2] = {0};
	lw_device *devices[2];
	double last[8] = {0};
	lw_trace *t;

	(void)state;
	for (int i = 0; i < 2; i++) {
		devices[i] = open_device(i ? "sim:name=b" : "sim:name=a");
		bench_begin(&workers[i].bench, devices[i]);
	}
	OK(lw_trace_create(&t, devices, 2));
	lw_trace_begin_step(t, 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(workers[i].thread, NULL);
	lw_trace_end_step(t);
	lw_trace_collect(t);
	assert_int_equal(t->record_count, 1 + 2 * 200 * 7);
	assert_int_equal(t->lane_count, 3 + 4);
	for (size_t i = 1; i < t->record_count; i++) {
		const lw_traced *r = &t->records[i];

		assert_true(r->start >= last[r->lane] && r->end >= r->start);
		last[r->lane] = r->end;
	}
	lw_trace_destroy(&t);
	for (int i = 0; i < 2; i++)
		bench_end(&workers[i].bench);
}

/* Real devices: what they did lies within what the host did, but for the little by which the clocks are known. */
static void test_real_devices(void **state)
{
	static const double slack = 1e-3;
	lw_device_info *list;
	size_t count;

	(void)state;
	OK(lw_device_list(&list, &count));
	for (size_t i = 0; i < count; i++) {
		char name[32];
		bench b = {0};
		lw_status status;
		lw_trace *t;

		snprintf(name, sizeof name, "%d:%d", list[i].platform_index, list[i].device_index);
		bench_begin(&b, open_device(name));
		run_step(&b); /* compiles */
		status = lw_trace_create(&t, &b.device, 1);
		if (status == LW_E_UNSUPPORTED) {
			bench_end(&b);
			continue;
		}
		OK(status);
		lw_trace_begin_step(t, 3);
		run_step(&b);
		lw_trace_end_step(t);
		lw_trace_collect(t);
		check_step(t, 3);
		for (size_t k = 1; k < 7; k++)
			assert_true(t->records[k].start > t->records[0].start - slack &&
				    t->records[k].end < t->records[0].end + slack);
		lw_trace_destroy(&t);
		bench_end(&b);
	}
	lw_device_list_free(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),	cmocka_unit_test(test_lives),	cmocka_unit_test(test_failure),
		cmocka_unit_test(test_room),	cmocka_unit_test(test_threads), cmocka_unit_test(test_real_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
