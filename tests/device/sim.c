/* The simulated device, and through it what device.c and queue.c promise of every device. */
#include "device/device.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OK(call) assert_int_equal((call), LW_OK)

static void assert_fails(lw_status status, lw_status expected, const char *in_message)
{
	if (status != expected || !strstr(lw_last_error(), in_message))
		fail_msg("status %d (%d expected), message without `%s`: %s", status, expected, in_message,
			 lw_last_error());
}

/* A device, a queue, a buffer and a kernel of it. */
typedef struct bench {
	lw_device *device;
	lw_queue *queue;
	lw_buf *buf;
	lw_program *program;
	lw_kernel *kernel;
} bench;

static void bench_open(bench *b, const char *name)
{
	OK(lw_device_open(&b->device, name));
	OK(lw_queue_create(&b->queue, b->device));
	OK(lw_buf_create(&b->buf, b->device, 4096));
	OK(lw_program_create(&b->program, b->device, "any", ""));
	OK(lw_kernel_create(&b->kernel, b->program, "any_name"));
}

static void bench_close(bench *b)
{
	lw_kernel_destroy(&b->kernel);
	lw_program_destroy(&b->program);
	lw_buf_destroy(&b->buf);
	lw_queue_destroy(&b->queue);
	lw_device_close(&b->device);
	/* all of them take an empty handle */
	lw_kernel_destroy(&b->kernel);
	lw_program_destroy(&b->program);
	lw_buf_destroy(&b->buf);
	lw_queue_destroy(&b->queue);
	lw_device_close(&b->device);
}

static void test_memory(void **state)
{
	bench b;
	lw_buf *slice, *inner;
	uint32_t in[1024], out[1024] = {0};

	(void)state;
	bench_open(&b, "sim");
	for (uint32_t i = 0; i < 1024; i++)
		in[i] = i;
	OK(lw_queue_write(b.queue, b.buf, 0, sizeof in, in, NULL));
	OK(lw_buf_slice(&slice, b.buf, 1024, 2048));
	OK(lw_buf_slice(&inner, slice, 512, 512));
	assert_int_equal(lw_buf_size(inner), 512);
	assert_ptr_equal(lw_buf_device(inner), b.device);
	OK(lw_queue_fill(b.queue, inner, 4, 8, 0xdeadbeef, NULL));
	OK(lw_queue_copy(b.queue, b.buf, 0, slice, 0, 16, NULL));
	OK(lw_queue_read(b.queue, b.buf, 0, sizeof out, out, NULL));
	OK(lw_queue_finish(b.queue));
	assert_int_equal(out[1], 1);
	assert_int_equal(out[256 + 3], 3); /* copied to the slice's start */
	assert_int_equal(out[256 + 4], 256 + 4);
	assert_int_equal(out[256 + 128], 256 + 128);
	assert_int_equal(out[256 + 128 + 1], 0xdeadbeef);
	assert_int_equal(out[256 + 128 + 2], 0xdeadbeef);
	assert_int_equal(out[256 + 128 + 3], 256 + 128 + 3);
	lw_buf_destroy(&inner);
	lw_buf_destroy(&slice);
	bench_close(&b);
}

static void test_ranges(void **state)
{
	bench b, other;
	lw_buf *buf = NULL, *slice = NULL;
	char data[64] = {0};

	(void)state;
	bench_open(&b, "sim:alignment=128,memory=8192");
	bench_open(&other, "sim:name=other");
	assert_fails(lw_buf_create(&buf, b.device, 0), LW_E_ARGUMENT, "0 bytes");
	assert_fails(lw_buf_create(&buf, b.device, 8193), LW_E_MEMORY, "at most 8192");
	assert_fails(lw_buf_create(&buf, b.device, 4097), LW_E_MEMORY, "do not fit"); /* 4096 are in use */
	assert_null(buf);
	assert_fails(lw_buf_slice(&slice, b.buf, 64, 64), LW_E_ARGUMENT, "aligned to 128");
	assert_fails(lw_buf_slice(&slice, b.buf, 0, 4097), LW_E_ARGUMENT, "no part");
	assert_fails(lw_buf_slice(&slice, b.buf, 4096, 1), LW_E_ARGUMENT, "no part");
	assert_fails(lw_buf_slice(&slice, b.buf, SIZE_MAX - 127, 128), LW_E_ARGUMENT, "no part");
	assert_null(slice);
	assert_fails(lw_queue_write(b.queue, b.buf, 4033, 64, data, NULL), LW_E_ARGUMENT, "do not lie in");
	assert_fails(lw_queue_read(b.queue, b.buf, SIZE_MAX, 2, data, NULL), LW_E_ARGUMENT, "do not lie in");
	assert_fails(lw_queue_write(b.queue, other.buf, 0, 4, data, NULL), LW_E_ARGUMENT, "sim:name=other");
	assert_fails(lw_queue_fill(b.queue, b.buf, 2, 4, 0, NULL), LW_E_ARGUMENT, "32-bit");
	assert_fails(lw_queue_fill(b.queue, b.buf, 4, 6, 0, NULL), LW_E_ARGUMENT, "32-bit");
	assert_fails(lw_queue_copy(b.queue, b.buf, 0, b.buf, 8, 16, NULL), LW_E_ARGUMENT, "overlap");
	OK(lw_queue_copy(b.queue, b.buf, 0, b.buf, 16, 16, NULL));
	OK(lw_buf_slice(&slice, b.buf, 128, 128));
	assert_fails(lw_queue_copy(b.queue, b.buf, 120, slice, 0, 16, NULL), LW_E_ARGUMENT, "overlap");
	OK(lw_queue_write(b.queue, b.buf, 4096, 0, data, NULL)); /* nothing at the end */
	lw_buf_destroy(&slice);
	bench_close(&other);
	bench_close(&b);
}

static lw_launch make_launch(bench *b)
{
	lw_launch l = {.kernel = b->kernel};

	lw_arg_buf(&l, b->buf);
	lw_arg_int(&l, -1);
	lw_launch_1d(&l, 64, 16);
	return l;
}

static void test_launch_limits(void **state)
{
	bench b, other;
	lw_launch l;

	(void)state;
	bench_open(&b, "sim:group=32,local=1000");
	bench_open(&other, "sim:name=other");
	l = make_launch(&b);
	OK(lw_queue_launch(b.queue, &l, NULL));
	l.global[0] = 63;
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "no multiple");
	l.local[0] = 0;
	OK(lw_queue_launch(b.queue, &l, NULL));
	lw_launch_1d(&l, 64, 64);
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "limit 32");
	l = make_launch(&b);
	l.dimensions = 2;
	l.global[1] = 4;
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "no multiple");
	l.local[1] = 4; /* 16 x 4 items */
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "at most 32");
	l.local[1] = 2;
	OK(lw_queue_launch(b.queue, &l, NULL));
	l.local[0] = 0;
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "all or none");
	l.dimensions = 4;
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "4 dimensions");
	l = make_launch(&b);
	lw_arg_local(&l, 600);
	OK(lw_queue_launch(b.queue, &l, NULL));
	lw_arg_local(&l, 401); /* the sum counts */
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "1001 bytes of local memory");
	l = make_launch(&b);
	lw_arg_local(&l, 0);
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "0 bytes");
	l = make_launch(&b);
	lw_arg_buf(&l, NULL);
	OK(lw_queue_launch(b.queue, &l, NULL));
	lw_arg_buf(&l, other.buf);
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "argument 3 is on sim:name=other");
	l = make_launch(&other);
	assert_fails(lw_queue_launch(b.queue, &l, NULL), LW_E_ARGUMENT, "any_name is built for sim:name=other");
	bench_close(&other);
	bench_close(&b);
}

static void test_launches_of_nothing(void **state)
{
	bench b;
	lw_launch l;
	lw_event *event = (void *)1;
	double seconds = -1;

	(void)state;
	bench_open(&b, "sim");
	l = make_launch(&b);
	OK(lw_queue_launch(b.queue, &l, NULL));
	OK(lw_queue_launch(b.queue, &l, NULL));
	l.global[0] = 0;
	OK(lw_queue_launch(b.queue, &l, &event));
	assert_null(event); /* and such an event may be used */
	OK(lw_event_wait(event));
	OK(lw_event_seconds(event, &seconds));
	assert_true(seconds == 0);
	lw_event_destroy(&event);
	assert_int_equal(lw_queue_launches(b.queue), 2);
	bench_close(&b);
}

static void test_model(void **state)
{
	bench b;
	lw_queue *second;
	lw_event *event, *later;
	lw_launch l;
	double seconds;

	(void)state;
	bench_open(&b, "sim:gflops=10,gbs=1,launch_us=0");
	l = make_launch(&b);
	l.flops = 5e9;
	l.bytes = 1e6;
	OK(lw_queue_launch(b.queue, &l, &event));
	OK(lw_event_wait(event));
	OK(lw_event_seconds(event, &seconds));
	assert_true(fabs(seconds - 0.5) < 1e-9);
	l.bytes = 2e9;
	OK(lw_queue_launch(b.queue, &l, &later));
	OK(lw_event_seconds(later, &seconds));
	assert_true(fabs(seconds - 2) < 1e-9);
	/* another queue waits for it, and its own command begins no sooner */
	OK(lw_queue_create(&second, b.device));
	OK(lw_queue_wait_event(second, later));
	OK(lw_queue_wait_event(b.queue, later)); /* in order anyway */
	OK(lw_queue_finish(second));
	assert_true(fabs(lw_queue_simulated_seconds(b.queue) - 2.5) < 1e-9);
	assert_true(fabs(lw_queue_simulated_seconds(second) - 2.5) < 1e-9);
	OK(lw_queue_launch(second, &l, NULL));
	assert_true(fabs(lw_queue_simulated_seconds(second) - 4.5) < 1e-9);
	lw_event_destroy(&later);
	lw_event_destroy(&event);
	lw_queue_destroy(&second);
	/* matrix products are modelled, too */
	OK(lw_queue_gemm(b.queue, false, true, 4, 8, 2, b.buf, 2, b.buf, 2, b.buf, 8));
	assert_int_equal(lw_queue_launches(b.queue), 3);
	assert_fails(lw_queue_gemm(b.queue, false, false, 64, 64, 64, b.buf, 64, b.buf, 64, b.buf, 64), LW_E_ARGUMENT,
		     "matrix A");
	assert_fails(lw_queue_gemm(b.queue, false, false, 4, 4, 4, b.buf, 3, b.buf, 4, b.buf, 4), LW_E_ARGUMENT,
		     "rows of 3");
	bench_close(&b);
}

/* Every call that can fail does, once, and leaves things usable and nothing leaked. */
static void test_failing_calls(void **state)
{
	int failures = 0;

	(void)state;
	for (int fail = 1; fail <= 12; fail++) {
		char name[32];
		bench b = {0};
		lw_launch l;
		lw_status status;

		snprintf(name, sizeof name, "sim:fail=%d", fail);
		OK(lw_device_open(&b.device, name));
		status = lw_queue_create(&b.queue, b.device);
		if (status == LW_OK)
			status = lw_buf_create(&b.buf, b.device, 64);
		if (status == LW_OK)
			status = lw_program_create(&b.program, b.device, "any", "");
		if (status == LW_OK)
			status = lw_kernel_create(&b.kernel, b.program, "any_name");
		if (status == LW_OK) {
			l = make_launch(&b);
			status = lw_queue_launch(b.queue, &l, NULL);
		}
		if (status == LW_OK)
			status = lw_queue_fill(b.queue, b.buf, 0, 64, 0, NULL);
		if (status == LW_OK)
			status = lw_queue_flush(b.queue);
		if (status == LW_OK)
			status = lw_queue_finish(b.queue);
		if (fail <= 8)
			assert_fails(status, LW_E_DEVICE, "simulated failure of call");
		else
			OK(status);
		failures += status != LW_OK;
		bench_close(&b);
	}
	assert_int_equal(failures, 8);
}

static void test_asynchronous_failure(void **state)
{
	bench b;
	lw_launch l;
	lw_event *bad, *good;

	(void)state;
	bench_open(&b, "sim:fail_async=2");
	l = make_launch(&b);
	OK(lw_queue_launch(b.queue, &l, NULL));
	OK(lw_queue_launch(b.queue, &l, NULL)); /* this one fails, and nobody holds its event */
	OK(lw_queue_launch(b.queue, &l, NULL));
	assert_fails(lw_queue_finish(b.queue), LW_E_DEVICE, "sim:fail_async=2: a command failed on the device");
	OK(lw_queue_finish(b.queue)); /* it was reported */
	bench_close(&b);

	bench_open(&b, "sim:fail_async=2");
	l = make_launch(&b);
	OK(lw_queue_launch(b.queue, &l, NULL));
	OK(lw_queue_launch(b.queue, &l, &bad));
	OK(lw_queue_launch(b.queue, &l, &good));
	assert_fails(lw_event_wait(good), LW_E_DEVICE, "failed on the device"); /* a failure before it */
	assert_fails(lw_queue_finish(b.queue), LW_E_DEVICE, "failed on the device");
	OK(lw_event_wait(good));
	assert_fails(lw_event_wait(bad), LW_E_DEVICE, "failed on the device"); /* its own, again */
	lw_event_destroy(&good);
	lw_queue_destroy(&b.queue); /* an event may outlive its queue */
	assert_fails(lw_event_wait(bad), LW_E_DEVICE, "failed on the device");
	lw_event_destroy(&bad);
	bench_close(&b);

	bench_open(&b, "sim:fail_async=3");
	l = make_launch(&b);
	for (int i = 0; i < 500; i++) /* more than are kept */
		OK(lw_queue_launch(b.queue, &l, NULL));
	assert_fails(lw_queue_finish(b.queue), LW_E_DEVICE, "failed on the device");
	assert_int_equal(lw_queue_launches(b.queue), 500);
	bench_close(&b);
}

/* What tidies up after a failure leaves the failure's words alone, whatever happens meanwhile. */
static void test_drain(void **state)
{
	bench b;

	(void)state;
	bench_open(&b, "sim:fail=5");
	lw_fail(LW_E_IO, "the cause");
	lw_queue_drain(b.queue);
	assert_string_equal(lw_last_error(), "the cause");
	OK(lw_queue_finish(b.queue));
	bench_close(&b);

	bench_open(&b, "sim:fail=5");
	assert_fails(lw_queue_finish(b.queue), LW_E_DEVICE, "sim:fail=5: finish: simulated failure of call 5");
	lw_fail(LW_E_IO, "the cause");
	lw_queue_destroy(&b.queue);
	assert_string_equal(lw_last_error(), "the cause");
	bench_close(&b);
}

/* A queue of another device: the host waits, and a failure there is not lost here. */
static void test_events_between_devices(void **state)
{
	bench a, b;
	lw_event *event;

	(void)state;
	bench_open(&a, "sim:fail_async=1");
	bench_open(&b, "sim");
	OK(lw_queue_fill(a.queue, a.buf, 0, 4, 0, &event));
	assert_fails(lw_queue_wait_event(b.queue, event), LW_E_DEVICE, "failed on the device");
	OK(lw_queue_wait_event(b.queue, NULL));
	OK(lw_queue_finish(b.queue));
	lw_event_destroy(&event);
	bench_close(&b);
	bench_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_memory),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_launch_limits),
		cmocka_unit_test(test_launches_of_nothing),
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_failing_calls),
		cmocka_unit_test(test_asynchronous_failure),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_events_between_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
