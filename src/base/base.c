/* Status, last error, log, memory, checked sizes, random numbers, hashing, the clock. */
#include "base/base.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <xxhash.h>

static _Thread_local char last_error[16384];

const char *lw_last_error(void) { return last_error; }

const char *lw_status_name(lw_status status)
{
	switch (status) {
	case LW_OK: return "done";
	case LW_E_ARGUMENT: return "wrong request";
	case LW_E_MEMORY: return "out of memory";
	case LW_E_IO: return "input or output error";
	case LW_E_FORMAT: return "wrong file content";
	case LW_E_DEVICE: return "device error";
	case LW_E_BUILD: return "kernel build error";
	case LW_E_UNSUPPORTED: return "not supported";
	case LW_E_NUMERIC: return "not a finite number";
	case LW_E_INTERRUPTED: return "interrupted";
	}
	return "unknown status";
}

#define LW_TEXT_(x) #x
#define LW_TEXT(x) LW_TEXT_(x)

const char *lw_version(void)
{
	return LW_TEXT(LW_VERSION_MAJOR) "." LW_TEXT(LW_VERSION_MINOR) "." LW_TEXT(LW_VERSION_PATCH);
}

lw_status lw_fail(lw_status status, const char *format, ...)
{
	va_list args;
	char text[sizeof last_error]; /* the arguments may point into last_error */

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	memcpy(last_error, text, strlen(text) + 1);
	return status;
}

lw_status lw_fail_suggest(lw_status status, const char *nearest, const char *format, ...)
{
	va_list args;
	char text[sizeof last_error];

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return nearest ? lw_fail(status, "%s; did you mean `%s`?", text, nearest) : lw_fail(status, "%s", text);
}

lw_status lw_fail_prefix(lw_status status, const char *format, ...)
{
	va_list args;
	char text[sizeof last_error];
	int length;

	va_start(args, format);
	length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	if (length >= 0 && (size_t)length + 3 < sizeof text) {
		memcpy(text + length, ": ", 3);
		strncat(text, last_error, sizeof text - strlen(text) - 1);
	}
	memcpy(last_error, text, strlen(text) + 1);
	return status;
}

static struct {
	lw_log_function function;
	void *user;
	lw_log_level level;
} log_target;

void lw_set_log(lw_log_function function, void *user, lw_log_level level)
{
	log_target.function = function;
	log_target.user = user;
	log_target.level = level;
}

void lw_log(lw_log_level level, const char *format, ...)
{
	char text[4096];
	va_list args;

	if (!log_target.function || level < log_target.level)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	log_target.function(log_target.user, level, text);
}

bool lw_mul_size(size_t a, size_t b, size_t *result) { return !__builtin_mul_overflow(a, b, result); }

bool lw_add_size(size_t a, size_t b, size_t *result) { return !__builtin_add_overflow(a, b, result); }

lw_status lw_alloc(void *pointer_to_pointer, size_t count, size_t size)
{
	void *memory = calloc(count ? count : 1, size ? size : 1);

	memcpy(pointer_to_pointer, &memory, sizeof memory);
	if (!memory)
		return lw_fail(LW_E_MEMORY, "out of memory: %zu elements of %zu bytes were asked for", count, size);
	return LW_OK;
}

lw_status lw_grow(void *pointer_to_array, size_t *capacity, size_t needed, size_t size)
{
	size_t wanted = *capacity ? *capacity : 8, bytes;
	void *old, *fresh;

	if (needed <= *capacity)
		return LW_OK;
	while (wanted < needed)
		if (!lw_mul_size(wanted, 2, &wanted))
			return lw_fail(LW_E_MEMORY, "out of memory: %zu elements were asked for", needed);
	if (!lw_mul_size(wanted, size, &bytes))
		return lw_fail(LW_E_MEMORY, "out of memory: %zu elements were asked for", needed);
	memcpy(&old, pointer_to_array, sizeof old);
	fresh = realloc(old, bytes);
	if (!fresh)
		return lw_fail(LW_E_MEMORY, "out of memory: %zu bytes were asked for", bytes);
	memset((char *)fresh + *capacity * size, 0, bytes - *capacity * size);
	memcpy(pointer_to_array, &fresh, sizeof fresh);
	*capacity = wanted;
	return LW_OK;
}

lw_status lw_copy_string(char **copy, const char *text)
{
	size_t size = strlen(text) + 1;

	LW_TRY(lw_alloc(copy, size, 1));
	memcpy(*copy, text, size);
	return LW_OK;
}

lw_status lw_format_string(char **text, const char *format, ...)
{
	va_list args;
	int length;

	*text = NULL;
	va_start(args, format);
	length = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (length < 0)
		return lw_fail(LW_E_ARGUMENT, "a text could not be formatted");
	LW_TRY(lw_alloc(text, (size_t)length + 1, 1));
	va_start(args, format);
	vsnprintf(*text, (size_t)length + 1, format, args);
	va_end(args);
	return LW_OK;
}

/* The same steps as in cl/common.cl. */
uint32_t lw_random_bits(uint32_t seed, uint32_t stream, uint64_t counter)
{
	uint32_t x = (uint32_t)counter, y = (uint32_t)(counter >> 32) ^ (stream * 0x9E3779B9u);
	uint32_t key = seed ^ (stream * 0x85EBCA6Bu);

	for (int round = 0; round < 10; round++) {
		uint64_t product = (uint64_t)x * 0xD256D193u;
		x = (uint32_t)(product >> 32) ^ key ^ y;
		y = (uint32_t)product;
		key += 0x9E3779B9u;
	}
	return x;
}

float lw_random_uniform(uint32_t seed, uint32_t stream, uint64_t counter)
{
	return (float)(lw_random_bits(seed, stream, counter) >> 8) * 0x1p-24f;
}

float lw_random_normal(uint32_t seed, uint32_t stream, uint64_t counter)
{
	double u = ((double)lw_random_bits(seed, stream, 2 * counter) + 1.0) * 0x1p-32;
	double v = (double)lw_random_bits(seed, stream, 2 * counter + 1) * 0x1p-32;

	return (float)(sqrt(-2.0 * log(u)) * cos(6.283185307179586 * v));
}

uint64_t lw_hash(const void *data, size_t size, uint64_t seed) { return XXH3_64bits_withSeed(data, size, seed); }

double lw_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}
