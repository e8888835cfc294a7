/* Real devices: every one that this machine has. */
#include "device/device.h"

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

static lw_device_info *list;
static size_t count;

static void assert_fails(lw_status status, lw_status expected, const char *in_message)
{
	if (status != expected || !strstr(lw_last_error(), in_message))
		fail_msg("status %d (%d expected), message without `%s`: %s", status, expected, in_message,
			 lw_last_error());
}

static lw_device *open_listed(size_t i)
{
	lw_device *device;
	char name[32];

	snprintf(name, sizeof name, "%d:%d", list[i].platform_index, list[i].device_index);
	OK(lw_device_open(&device, name));
	return device;
}

static void test_list(void **state)
{
	(void)state;
	assert_true(count > 0);
	for (size_t i = 0; i < count; i++) {
		const lw_device_info *d = &list[i];

		assert_true(d->platform[0] && d->name[0] && d->driver[0] && d->opencl_c_version[0]);
		assert_true(d->compute_units >= 1 && d->vector_width >= 1 && d->alignment >= 64);
		assert_int_equal(d->alignment & (d->alignment - 1), 0);
		assert_true(d->global_memory >= d->max_allocation && d->max_allocation >= 1 << 24);
		assert_true(d->local_memory >= 16384 && d->max_work_group >= 1 && d->max_local_size[0] >= 1);
	}
}

static void test_names(void **state)
{
	lw_device *device, *again;
	size_t several = 0;
	lw_device **devices;

	(void)state;
	OK(lw_device_open(&device, "auto"));
	lw_device_close(&device);
	for (size_t i = 0; i < count; i++) {
		device = open_listed(i);
		assert_string_equal(lw_device_get_info(device)->name, list[i].name);
		OK(lw_device_open(&again, lw_device_label(device))); /* its label opens it again */
		assert_string_equal(lw_device_label(again), lw_device_label(device));
		assert_int_equal(lw_device_get_info(again)->platform_index, list[i].platform_index);
		lw_device_close(&again);
		lw_device_close(&device);
	}
	device = (void *)1;
	assert_fails(lw_device_open(&device, "no such platform"), LW_E_ARGUMENT, list[0].name);
	assert_null(device);
	assert_fails(lw_device_open(&device, "99:0"), LW_E_ARGUMENT, "fits none");
	assert_fails(lw_devices_open(&devices, &several, "0:99"), LW_E_ARGUMENT, "fits none");
}

/* Halves of the first device that can be halved. */
static void test_parts(void **state)
{
	lw_device **devices = NULL, *half;
	size_t parts = 0;
	char name[64];

	(void)state;
	for (size_t i = 0; i < count; i++) {
		lw_status status;

		snprintf(name, sizeof name, "%d:%d/2", list[i].platform_index, list[i].device_index);
		status = lw_devices_open(&devices, &parts, name);
		if (list[i].compute_units < 2)
			assert_fails(status, LW_E_ARGUMENT, "cannot be made 2 devices");
		else if (status != LW_OK)
			assert_fails(status, LW_E_UNSUPPORTED, "equal devices");
		if (status != LW_OK)
			continue;
		assert_int_equal(parts, 2);
		for (size_t p = 0; p < parts; p++) {
			assert_int_equal(lw_device_get_info(devices[p])->compute_units, list[i].compute_units / 2);
			OK(lw_device_open(&half, lw_device_label(devices[p])));
			assert_string_equal(lw_device_label(half), lw_device_label(devices[p]));
			lw_device_close(&half);
		}
		assert_string_not_equal(lw_device_label(devices[0]), lw_device_label(devices[1]));
		lw_devices_close(&devices, parts);
		snprintf(name, sizeof name, "%d:%d/100000", list[i].platform_index, list[i].device_index);
		assert_fails(lw_devices_open(&devices, &parts, name), LW_E_ARGUMENT, "compute units");
	}
}

static void check_memory(lw_device *device)
{
	enum { N = 5000 };
	static uint32_t in[N], out[N], part[100];
	const size_t alignment = lw_device_get_info(device)->alignment, first = alignment / 4;
	lw_queue *queue, *second;
	lw_buf *a, *b, *slice, *inner;
	lw_event *event;

	for (uint32_t i = 0; i < N; i++)
		in[i] = i * 2654435761u;
	OK(lw_queue_create(&queue, device));
	OK(lw_queue_create(&second, device));
	OK(lw_buf_create(&a, device, sizeof in));
	OK(lw_buf_create(&b, device, sizeof in));
	OK(lw_buf_slice(&slice, b, alignment, sizeof in - alignment));
	OK(lw_buf_slice(&inner, slice, alignment, 4096));
	OK(lw_queue_write(queue, a, 0, sizeof in, in, NULL));
	OK(lw_queue_fill(queue, b, 0, sizeof in, 7, NULL));
	OK(lw_queue_copy(queue, a, 40, slice, 4, 400, NULL));
	OK(lw_queue_fill(queue, inner, 8, 12, 0x01020304, &event));
	OK(lw_queue_wait_event(second, event));
	OK(lw_queue_read(second, b, 0, sizeof out, out, NULL));
	OK(lw_queue_read(second, slice, 4, sizeof part, part, NULL));
	OK(lw_queue_finish(second));
	assert_int_equal(out[0], 7);
	assert_int_equal(out[first], 7);
	for (uint32_t i = 0; i < 100; i++)
		if (first + 1 + i < 2 * first + 2)
			assert_int_equal(out[first + 1 + i], in[10 + i]);
	assert_int_equal(out[2 * first + 2], 0x01020304);
	assert_int_equal(out[2 * first + 4], 0x01020304);
	assert_int_not_equal(out[2 * first + 5], 0x01020304);
	assert_int_equal(out[N - 1], 7);
	assert_memory_equal(part, out + first + 1, sizeof part);
	OK(lw_event_wait(event));
	lw_event_destroy(&event);
	lw_buf_destroy(&inner);
	assert_fails(lw_buf_create(&inner, device, lw_device_get_info(device)->max_allocation + 1), LW_E_MEMORY,
		     "at most");
	OK(lw_buf_slice(&inner, slice, 0, 4));
	lw_buf_destroy(&inner);
	lw_buf_destroy(&slice);
	lw_buf_destroy(&b);
	lw_buf_destroy(&a);
	lw_queue_destroy(&second);
	lw_queue_destroy(&queue);
}

static void test_memory(void **state)
{
	(void)state;
	for (size_t i = 0; i < count; i++) {
		lw_device *device = open_listed(i);

		check_memory(device);
		lw_device_close(&device);
	}
}

static const char tiny[] = "__kernel void tiny(__global float *y, __global const float *x, __local float *l, int n, "
			   "uint flip, float scale)\n"
			   "{\n"
			   "	int i = get_global_id(0), j = get_local_id(0);\n"
			   "	l[j] = x && i < n ? x[i] : 1.0f;\n"
			   "	barrier(CLK_LOCAL_MEM_FENCE);\n"
			   "	if (i < n) y[i] = scale * l[j ^ flip];\n"
			   "}\n"
			   "__kernel void declares_local(__global float *y)\n"
			   "{\n"
			   "	__local float l[1024];\n"
			   "	l[get_local_id(0)] = y[0];\n"
			   "	barrier(CLK_LOCAL_MEM_FENCE);\n"
			   "	y[1] = l[0];\n"
			   "}\n";

static void check_launch(lw_device *device)
{
	enum { N = 60 };
	const lw_device_info *info = lw_device_get_info(device);
	float x[N], y[N];
	double seconds;
	lw_queue *queue;
	lw_buf *bx, *by;
	lw_program *program;
	lw_kernel *kernel;
	lw_event *event;
	lw_launch l = {0};

	for (int i = 0; i < N; i++)
		x[i] = (float)i;
	OK(lw_queue_create(&queue, device));
	OK(lw_buf_create(&bx, device, sizeof x));
	OK(lw_buf_create(&by, device, sizeof y));
	OK(lw_program_create(&program, device, tiny, "-cl-std=CL1.2"));
	OK(lw_kernel_create(&kernel, program, "tiny"));
	assert_string_equal(lw_kernel_name(kernel), "tiny");
	assert_true(lw_kernel_max_work_group(kernel) >= 16 && lw_kernel_max_work_group(kernel) <= info->max_work_group);
	OK(lw_queue_write(queue, bx, 0, sizeof x, x, NULL));
	OK(lw_queue_fill(queue, by, 0, sizeof y, 0x7fc00000, NULL));
	l.kernel = kernel;
	lw_arg_buf(&l, by);
	lw_arg_buf(&l, bx);
	lw_arg_local(&l, 16 * sizeof(float));
	lw_arg_int(&l, N - 1);
	lw_arg_uint(&l, 1);
	lw_arg_float(&l, 0.5f);
	lw_launch_1d(&l, 64, 16);
	OK(lw_queue_launch(queue, &l, &event));
	OK(lw_queue_read(queue, by, 0, sizeof y, y, NULL));
	OK(lw_queue_finish(queue));
	for (int i = 0; i < N - 1; i++)
		assert_true(y[i] == 0.5f * ((i ^ 1) < N - 1 ? (float)(i ^ 1) : 1.0f));
	assert_true(isnan(y[N - 1]));
	OK(lw_event_seconds(event, &seconds));
	assert_true(seconds >= 0 && seconds < 10);
	lw_event_destroy(&event);
	l.args[1].value.buf = NULL; /* a null pointer in the kernel */
	OK(lw_queue_launch(queue, &l, NULL));
	OK(lw_queue_read(queue, by, 0, sizeof y, y, NULL));
	OK(lw_queue_finish(queue));
	assert_true(y[0] == 0.5f && y[N - 2] == 0.5f);
	assert_int_equal(lw_queue_launches(queue), 2);
	lw_launch_1d(&l, 2 * info->max_work_group, 2 * info->max_work_group);
	assert_fails(lw_queue_launch(queue, &l, NULL), LW_E_ARGUMENT, "tiny");
	lw_kernel_destroy(&kernel);
	assert_fails(lw_kernel_create(&kernel, program, "missing"), LW_E_DEVICE,
		     "clCreateKernel: CL_INVALID_KERNEL_NAME");
	assert_non_null(strstr(lw_last_error(), "missing"));
	OK(lw_kernel_create(&kernel, program, "declares_local"));
	l = (lw_launch){.kernel = kernel};
	lw_launch_1d(&l, 16, 16);
	assert_fails(lw_queue_launch(queue, &l, NULL), LW_E_DEVICE, "declares_local"); /* an argument was not set */
	lw_kernel_destroy(&kernel);
	lw_program_destroy(&program);
	lw_buf_destroy(&by);
	lw_buf_destroy(&bx);
	lw_queue_destroy(&queue);
}

static void test_launch(void **state)
{
	(void)state;
	for (size_t i = 0; i < count; i++) {
		lw_device *device = open_listed(i);

		check_launch(device);
		lw_device_close(&device);
	}
}

static void test_build_failure(void **state)
{
	(void)state;
	for (size_t i = 0; i < count; i++) {
		lw_device *device = open_listed(i);
		lw_program *program = (void *)1;

		assert_fails(lw_program_create(&program, device,
					       "__kernel void k(__global int *p)\n{ p[0] = undeclared_thing; }",
					       "-D FIRST=1"),
			     LW_E_BUILD, "undeclared_thing"); /* the compiler's words */
		assert_null(program);
		assert_non_null(strstr(lw_last_error(), "-D FIRST=1"));
		assert_fails(lw_program_create_binary(&program, device, "", 0, ""), LW_E_FORMAT, "empty");
		lw_device_close(&device);
	}
}

typedef struct worker {
	lw_kernel *kernel;
	lw_buf *buf;
	lw_queue *queue;
	float scale;
	float result;
} worker;

/* The arguments of a kernel are shared between threads, so this fails without the kernel's lock. */
static void *work(void *data)
{
	worker *w = data;
	lw_launch l = {.kernel = w->kernel};

	lw_arg_buf(&l, w->buf);
	lw_arg_buf(&l, NULL);
	lw_arg_local(&l, 4);
	lw_arg_int(&l, 1);
	lw_arg_uint(&l, 0);
	lw_arg_float(&l, w->scale);
	lw_launch_1d(&l, 1, 1);
	for (int i = 0; i < 300; i++) {
		float value = 0;

		if (lw_queue_launch(w->queue, &l, NULL) != LW_OK ||
		    lw_queue_read(w->queue, w->buf, 0, 4, &value, NULL) != LW_OK || lw_queue_finish(w->queue) != LW_OK)
			value = NAN;
		if (i == 0 || value != w->result)
			w->result = i == 0 ? value : NAN;
	}
	return NULL;
}

static void test_threads(void **state)
{
	lw_device *device;
	lw_program *program;
	lw_kernel *kernel;
	worker workers[3];
	pthread_t threads[3];

	(void)state;
	OK(lw_device_open(&device, "auto"));
	if (lw_device_get_info(device)->compute_units < 2) { /* a simulator takes no threads at all */
		lw_device_close(&device);
		skip();
	}
	OK(lw_program_create(&program, device, tiny, ""));
	OK(lw_kernel_create(&kernel, program, "tiny"));
	for (int i = 0; i < 3; i++) {
		workers[i] = (worker){.kernel = kernel, .scale = (float)(i + 1)};
		OK(lw_queue_create(&workers[i].queue, device));
		OK(lw_buf_create(&workers[i].buf, device, 4));
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		lw_buf_destroy(&workers[i].buf);
		lw_queue_destroy(&workers[i].queue);
	}
	for (int i = 0; i < 3; i++)
		assert_true(workers[i].result == (float)(i + 1));
	lw_kernel_destroy(&kernel);
	lw_program_destroy(&program);
	lw_device_close(&device);
}

/* CLBlast is not for CPUs, so where it was not asked for it declines; asked for, it is right for every transposition. */
static void check_product(lw_device *device, bool transpose_a, bool transpose_b)
{
	enum { M = 5, N = 7, K = 9, LDA = 12, LDB = 13, LDC = 11 };
	float a[K * LDA], b[K * LDB], c[M * LDC];
	lw_queue *queue;
	lw_buf *ba, *bb, *bc;

	for (int i = 0; i < K * LDA; i++)
		a[i] = (float)(i % 17 - 8);
	for (int i = 0; i < K * LDB; i++)
		b[i] = (float)(i % 13 - 6);
	OK(lw_queue_create(&queue, device));
	OK(lw_buf_create(&ba, device, sizeof a));
	OK(lw_buf_create(&bb, device, sizeof b));
	OK(lw_buf_create(&bc, device, sizeof c));
	OK(lw_queue_write(queue, ba, 0, sizeof a, a, NULL));
	OK(lw_queue_write(queue, bb, 0, sizeof b, b, NULL));
	OK(lw_queue_fill(queue, bc, 0, sizeof c, 0x7fc00000, NULL));
	OK(lw_queue_gemm(queue, transpose_a, transpose_b, M, N, K, ba, LDA, bb, LDB, bc, LDC));
	OK(lw_queue_read(queue, bc, 0, sizeof c, c, NULL));
	OK(lw_queue_finish(queue));
	for (int i = 0; i < M; i++) {
		for (int j = 0; j < N; j++) {
			float sum = 0;

			for (int k = 0; k < K; k++)
				sum += (transpose_a ? a[k * LDA + i] : a[i * LDA + k]) *
				       (transpose_b ? b[j * LDB + k] : b[k * LDB + j]);
			assert_true(c[i * LDC + j] == sum); /* small integers: exact */
		}
		assert_true(isnan(c[i * LDC + N])); /* and nothing beside the rows */
	}
	lw_buf_destroy(&bc);
	lw_buf_destroy(&bb);
	lw_buf_destroy(&ba);
	lw_queue_destroy(&queue);
}

static void test_product(void **state)
{
	lw_device *device;
	lw_queue *queue;
	lw_buf *buf;
	lw_status status;

	(void)state;
	OK(lw_device_open(&device, "auto"));
	OK(lw_queue_create(&queue, device));
	OK(lw_buf_create(&buf, device, 64));
	unsetenv("LAYERWISE_CLBLAST");
	if (lw_device_get_info(device)->type == LW_DEVICE_CPU)
		assert_int_equal(lw_queue_gemm(queue, false, false, 2, 2, 2, buf, 2, buf, 2, buf, 2), LW_E_UNSUPPORTED);
	setenv("LAYERWISE_CLBLAST", "on", 1);
	status = lw_queue_gemm(queue, false, false, 2, 2, 2, buf, 2, buf, 2, buf, 2);
	if (status == LW_E_UNSUPPORTED) { /* a build without it */
		assert_non_null(strstr(lw_last_error(), "without CLBlast"));
	} else {
		for (int i = 0; i < 4; i++)
			check_product(device, i & 1, i & 2);
	}
	unsetenv("LAYERWISE_CLBLAST");
	lw_buf_destroy(&buf);
	lw_queue_destroy(&queue);
	lw_device_close(&device);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list),	cmocka_unit_test(test_names),	cmocka_unit_test(test_parts),
		cmocka_unit_test(test_memory),	cmocka_unit_test(test_launch),	cmocka_unit_test(test_build_failure),
		cmocka_unit_test(test_threads), cmocka_unit_test(test_product),
	};
	int failed;

	if (lw_device_list(&list, &count) != LW_OK) {
		printf("skipped: %s\n", lw_last_error());
		return strstr(lw_last_error(), "install") ? 0 : 1;
	}
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	lw_device_list_free(&list);
	return failed;
}
