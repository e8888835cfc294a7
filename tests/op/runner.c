/* The table of tests, results, and buffers between guard bands. run_op.c does an operator's cases. */
#include "op/runner.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LW_OP_TEST(name) extern const lw_op_test lw_test_##name;
#define LW_CHECK(name) extern const lw_check lw_check_##name;
#include "op/tests.inc"
#undef LW_OP_TEST
#undef LW_CHECK

static const struct {
	const char *name;
	const lw_op_test *test;
	const lw_check *check;
} tests[] = {
#define LW_OP_TEST(name) {#name, &lw_test_##name, NULL},
#define LW_CHECK(name) {#name, NULL, &lw_check_##name},
#include "op/tests.inc"
#undef LW_OP_TEST
#undef LW_CHECK
};

size_t lw_test_count(void) { return LW_COUNT(tests); }

const char *lw_test_name(size_t index) { return index < LW_COUNT(tests) ? tests[index].name : NULL; }

lw_status lw_test_all(lw_test_run *run, const char *only)
{
	for (size_t i = 0; i < LW_COUNT(tests); i++) {
		lw_status status;
		const double start = lw_now();
		const unsigned before = run->passed;

		if (only && !strstr(tests[i].name, only))
			continue;
		run->name = tests[i].name;
		if (run->progress)
			fprintf(run->progress, "%s ...\n", run->name);
		status = tests[i].test ? lw_test_op(run, tests[i].test) : tests[i].check->run(run);
		if (status == LW_E_MEMORY)
			return status;
		if (status != LW_OK)
			lw_test_fail(run, "%s: %s", lw_status_name(status), lw_last_error());
		if (run->verbose)
			fprintf(run->out, "%-24s %6u passed %8.2f s\n", run->name, run->passed - before, lw_now() - start);
		fflush(run->out);
	}
	return LW_OK;
}

void lw_test_pass(lw_test_run *run) { run->passed++; }

void lw_test_fail(lw_test_run *run, const char *format, ...)
{
	va_list args;

	run->failed++;
	fprintf(run->out, "FAILED %s: ", run->name);
	va_start(args, format);
	vfprintf(run->out, format, args);
	va_end(args);
	fputc('\n', run->out);
	fflush(run->out);
}

static uint32_t bits_of(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	return bits;
}

bool lw_test_bits(lw_test_run *run, const char *where, const float *got, const float *expected, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const uint32_t g = bits_of(got[i]), e = bits_of(expected[i]);

		if (g == e || (isnan(got[i]) && isnan(expected[i]) && g != LW_TEST_POISON))
			continue;
		lw_test_fail(run, "%s[%zu]: got %.9g (0x%08x%s), expected %.9g (0x%08x)", where, i, got[i], g,
			     g == LW_TEST_POISON ? ", not written" : "", expected[i], e);
		return false;
	}
	lw_test_pass(run);
	return true;
}

bool lw_test_close(lw_test_run *run, const char *where, const float *got, const double *expected, size_t count,
		   double relative, double absolute)
{
	double largest = 0;

	for (size_t i = 0; i < count; i++)
		largest = fmax(largest, fabs(expected[i]));
	for (size_t i = 0; i < count; i++) {
		const double error = fabs(got[i] - expected[i]);

		if (error <= relative * largest + absolute)
			continue;
		lw_test_fail(run, "%s[%zu]: got %.9g, expected %.9g in double; off by %.3g, %.3g is allowed", where, i, got[i],
			     expected[i], error, relative * largest + absolute);
		return false;
	}
	lw_test_pass(run);
	return true;
}

enum { GUARD_BYTES = 256 };
static const uint32_t guard_pattern = 0x5ca1ab1e;

lw_status lw_test_buf_create(lw_test_run *run, lw_test_buf *buf, size_t bytes, bool exact, const void *values)
{
	lw_device *device = run->context.device;
	const size_t alignment = lw_device_get_info(device)->alignment;
	const size_t used = lw_round_up(bytes, 4);
	lw_status status;

	memset(buf, 0, sizeof *buf);
	if (!bytes)
		return LW_OK;
	buf->bytes = bytes;
	buf->front = exact ? 0 : lw_round_up(GUARD_BYTES, alignment);
	LW_TRY(lw_buf_create(&buf->whole, device, exact ? used : buf->front + used + GUARD_BYTES));
	LW_GO(lw_buf_slice(&buf->buf, buf->whole, buf->front, used));
	if (!exact) {
		LW_GO(lw_queue_fill(run->context.queue, buf->whole, 0, buf->front, guard_pattern, NULL));
		LW_GO(lw_queue_fill(run->context.queue, buf->whole, buf->front + used, GUARD_BYTES, guard_pattern, NULL));
	}
	if (values)
		LW_GO(lw_queue_write(run->context.queue, buf->buf, 0, bytes, values, NULL));
	else
		LW_GO(lw_queue_fill(run->context.queue, buf->buf, 0, used, LW_TEST_POISON, NULL));
	/* the values may be gone before the queue gets to them */
	LW_GO(lw_queue_finish(run->context.queue));
out:
	if (status != LW_OK)
		lw_test_buf_destroy(buf);
	return status;
}

lw_status lw_test_buf_read(lw_test_run *run, const lw_test_buf *buf, void *values)
{
	if (!buf->buf)
		return LW_OK;
	LW_TRY(lw_queue_read(run->context.queue, buf->buf, 0, buf->bytes, values, NULL));
	return lw_queue_finish(run->context.queue);
}

lw_status lw_test_buf_intact(lw_test_run *run, const lw_test_buf *buf, bool *intact)
{
	const size_t used = lw_round_up(buf->bytes, 4);
	uint32_t *bands;
	lw_status status;

	*intact = true;
	if (!buf->buf || !buf->front)
		return LW_OK;
	LW_TRY(lw_alloc(&bands, buf->front + GUARD_BYTES, 1));
	LW_GO(lw_queue_read(run->context.queue, buf->whole, 0, buf->front, bands, NULL));
	LW_GO(lw_queue_read(run->context.queue, buf->whole, buf->front + used, GUARD_BYTES, bands + buf->front / 4, NULL));
	LW_GO(lw_queue_finish(run->context.queue));
	for (size_t i = 0; i < (buf->front + GUARD_BYTES) / 4; i++)
		*intact = *intact && bands[i] == guard_pattern;
out:
	free(bands);
	return status;
}

void lw_test_buf_destroy(lw_test_buf *buf)
{
	lw_buf_destroy(&buf->buf);
	lw_buf_destroy(&buf->whole);
}

void lw_test_fill(float *values, size_t count, lw_test_values kind, uint32_t seed, uint32_t stream)
{
	static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, 1e-45f, -1e-40f, 1.17549435e-38f, 3.4e38f};

	for (size_t i = 0; i < count; i++) {
		const float u = lw_random_uniform(seed, stream, i);
		const uint32_t bits = lw_random_bits(seed, stream + 1000, i);

		values[i] = 2.0f * u - 1.0f;
		if (kind == LW_VALUES_LARGE)
			values[i] *= 30.0f;
		else if (kind == LW_VALUES_TIES)
			values[i] = (float)(int)(bits % 5) - 2.0f;
		else if (kind == LW_VALUES_SPECIAL && bits % 4 == 0)
			values[i] = bits % 64 == 0 ? NAN : special[(bits >> 8) % LW_COUNT(special)];
	}
}
