/* Kernels by variant, and the disk cache: what it keeps, and every way in which a kept file may not be believed. */
#include "kernel/kernel.h"
#include "kernel/cache.h"
#include "kernel/source.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

static char home[] = "/tmp/layerwise-cache-XXXXXX";
static char folder[128];
static char log_text[65536];

static void keep_log(void *user, lw_log_level level, const char *text)
{
	(void)user;
	(void)level;
	strncat(log_text, text, sizeof log_text - strlen(log_text) - 2);
	strcat(log_text, "\n");
}

static lw_variant leaky_relu(int vector)
{
	lw_variant v = {.source = "activation", .function = "activation_forward"};

	lw_variant_option(&v, "KIND", 1);
	lw_variant_option(&v, "VECTOR", vector);
	return v;
}

/* Runs the kernel; the result says whether what came from the cache is what was compiled. */
static void run(lw_device *device, const lw_variant *variant)
{
	float x[64], y[64];
	lw_queue *queue;
	lw_buf *in, *out;
	lw_launch l;

	for (int i = 0; i < 64; i++)
		x[i] = (float)(i - 32);
	OK(lw_queue_create(&queue, device));
	OK(lw_buf_create(&in, device, sizeof x));
	OK(lw_buf_create(&out, device, sizeof y));
	OK(lw_queue_write(queue, in, 0, sizeof x, x, NULL));
	OK(lw_launch_begin(&l, device, variant));
	lw_arg_buf(&l, in);
	lw_arg_buf(&l, out);
	lw_arg_int(&l, 64);
	lw_arg_float(&l, 0.25f);
	lw_launch_1d(&l, 64, 0);
	OK(lw_queue_launch(queue, &l, NULL));
	OK(lw_queue_read(queue, out, 0, sizeof y, y, NULL));
	OK(lw_queue_finish(queue));
	for (int i = 0; i < 64; i++)
		assert_true(y[i] == (x[i] > 0 ? x[i] : 0.25f * x[i]));
	lw_buf_destroy(&out);
	lw_buf_destroy(&in);
	lw_queue_destroy(&queue);
}

/* A process's life with the device: how many programs it compiled and took from the cache. */
static void use(unsigned compiled_expected, unsigned cached_expected)
{
	const lw_variant variant = leaky_relu(1);
	unsigned compiled, cached;
	lw_device *device;

	OK(lw_device_open(&device, "auto"));
	log_text[0] = 0;
	run(device, &variant);
	lw_kernel_statistics(device, &compiled, &cached);
	lw_device_close(&device);
	if (compiled != compiled_expected || cached != cached_expected)
		fail_msg("%u compiled and %u cached, expected %u and %u; log: %s", compiled, cached, compiled_expected,
			 cached_expected, log_text);
}

/* The path of the only file in the cache; "" where there is none. */
static void only_file(char path[512])
{
	DIR *directory = opendir(folder);
	const struct dirent *entry;
	int files = 0;

	path[0] = 0;
	if (!directory)
		return;
	while ((entry = readdir(directory)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, 512, "%s/%s", folder, entry->d_name);
		files++;
	}
	closedir(directory);
	assert_true(files <= 1); /* no temporary files either */
}

static int clear_cache(void **state)
{
	char path[512];

	(void)state;
	unsetenv("LAYERWISE_CACHE");
	setenv("XDG_CACHE_HOME", home, 1);
	chmod(folder, 0700);
	only_file(path);
	if (path[0])
		unlink(path);
	return 0;
}

static void read_file(const char *path, unsigned char **data, size_t *size)
{
	void *bytes;

	OK(lw_file_read(path, &bytes, size));
	*data = bytes;
}

static void write_file(const char *path, const void *data, size_t size)
{
	FILE *stream = fopen(path, "wb");

	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, size, stream), size);
	assert_int_equal(fclose(stream), 0);
}

static void test_kept(void **state)
{
	char path[512];
	struct stat info;

	(void)state;
	use(1, 0);
	assert_non_null(strstr(log_text, "compiling kernels for "));
	assert_non_null(strstr(log_text, folder));
	only_file(path);
	assert_string_not_equal(path, "");
	assert_int_equal(stat(path, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0600);
	assert_int_equal(stat(folder, &info), 0);
	assert_int_equal(info.st_mode & 07777, 0700);
	use(0, 1);
	assert_null(strstr(log_text, "compiling kernels"));
	use(0, 1);
}

static void test_saved_before_close(void **state)
{
	const lw_variant variant = leaky_relu(1);
	lw_device *device;
	char path[512];

	(void)state;
	OK(lw_device_open(&device, "auto"));
	lw_kernel_cache_save(device); /* nothing yet */
	run(device, &variant);
	only_file(path);
	assert_string_equal(path, "");
	lw_kernel_cache_save(device);
	only_file(path);
	assert_string_not_equal(path, "");
	unlink(path);
	lw_kernel_cache_save(device); /* saved already, so not again */
	lw_device_close(&device);
	only_file(path);
	assert_string_equal(path, "");
}

/* Each change makes the file one that is not believed: it is compiled anew, and the next time it is good again. */
static void test_damaged(void **state)
{
	enum {
		FLIP_LAST,
		FLIP_FIRST_OF_BINARY,
		FLIP_MAGIC,
		FLIP_KEY,
		FLIP_SIZE,
		FLIP_CHECKSUM,
		TRUNCATE,
		TRUNCATE_HEADER,
		EMPTY,
		APPEND,
		DAMAGES
	};
	const size_t header = 40;

	(void)state;
	use(1, 0);
	for (int damage = 0; damage < DAMAGES; damage++) {
		const size_t flips[] = {0, header, 3, 9, 24, 33};
		unsigned char *data;
		char path[512];
		size_t size;

		only_file(path);
		read_file(path, &data, &size);
		assert_true(size > header + 1);
		if (damage <= FLIP_CHECKSUM)
			data[damage == FLIP_LAST ? size - 1 : flips[damage]] ^= 0x20;
		write_file(path, data,
			   damage == TRUNCATE	       ? size - 7
			   : damage == TRUNCATE_HEADER ? 20
			   : damage == EMPTY	       ? 0
			   : damage == APPEND	       ? size + 1
						       : size); /* the byte behind is a NUL */
		free(data);
		use(1, 0);
		assert_non_null(strstr(log_text, "is compiled anew"));
		use(0, 1);
	}
}

static void test_foreign(void **state)
{
	char path[512], other[600];

	(void)state;
	use(1, 0);
	only_file(path);
	chmod(path, 0622); /* others could have written it */
	use(1, 0);
	assert_non_null(strstr(log_text, "own file"));
	use(0, 1); /* the new one is private again */
	if (geteuid() == 0) {
		assert_int_equal(chown(path, 12345, 12345), 0);
		use(1, 0);
		use(0, 1);
	}
	/* a link to a good file elsewhere */
	snprintf(other, sizeof other, "%s/elsewhere", home);
	assert_int_equal(rename(path, other), 0);
	assert_int_equal(symlink(other, path), 0);
	use(1, 0);
	use(0, 1);
	unlink(other);
	/* a pipe must not block */
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	use(1, 0);
	use(0, 1);
}

static void test_folder_of_others(void **state)
{
	char path[512];

	(void)state;
	use(1, 0);
	chmod(folder, 0777);
	use(1, 0);
	assert_null(strstr(log_text, "kept in"));
	chmod(folder, 0700);
	use(0, 1);
	if (geteuid() == 0) {
		assert_int_equal(chown(folder, 12345, 12345), 0);
		use(1, 0);
		assert_int_equal(chown(folder, 0, 0), 0);
	}
	only_file(path);
	assert_string_not_equal(path, "");
}

static void test_without(void **state)
{
	char path[512], file[600];

	(void)state;
	setenv("LAYERWISE_CACHE", "off", 1);
	use(1, 0);
	use(1, 0);
	only_file(path);
	assert_string_equal(path, "");
	unsetenv("LAYERWISE_CACHE");
	snprintf(file, sizeof file, "%s/file", home); /* a home that is no folder */
	write_file(file, "", 0);
	setenv("XDG_CACHE_HOME", file, 1);
	use(1, 0);
	use(1, 0);
	assert_null(strstr(log_text, "kept in"));
	unlink(file);
	setenv("XDG_CACHE_HOME", "relative", 1); /* not to be believed, says the standard */
	unsetenv("HOME");
	use(1, 0);
	assert_int_not_equal(access("relative", F_OK), 0);
}

/* Where XDG_CACHE_HOME is not set it is ~/.cache. */
static void test_home(void **state)
{
	char *found, expected[600], command[700];

	(void)state;
	unsetenv("XDG_CACHE_HOME");
	setenv("HOME", home, 1);
	found = lw_cache_folder();
	snprintf(expected, sizeof expected, "%s/.cache/layerwise/kernels", home);
	assert_string_equal(found, expected);
	free(found);
	snprintf(command, sizeof command, "rm -r %s/.cache", home);
	assert_int_equal(system(command), 0);
}

/* What the driver will not take, though it is what was written, is compiled, too. */
static void test_refused_by_driver(void **state)
{
	unsigned char *data;
	char path[512];
	lw_cache_key key;
	size_t size;

	(void)state;
	use(1, 0);
	if (strstr(log_text, "rusticl")) /* of Mesa 22.3: it ends the process */
		skip();
	only_file(path);
	read_file(path, &data, &size);
	memcpy(&key, data + 8, sizeof key);
	free(data);
	lw_cache_store(folder, &key, "this is no program", 18);
	use(1, 0);
	assert_non_null(strstr(log_text, "refuses"));
	use(0, 1);
}

static void test_load_and_store(void **state)
{
	const lw_cache_key a = {{1, 2}}, b = {{1, 3}};
	size_t size = 1;
	void *data;

	(void)state;
	assert_null(lw_cache_load(folder, &a, &size));
	assert_int_equal(size, 0);
	lw_cache_store(folder, &a, "binary", 6);
	data = lw_cache_load(folder, &a, &size);
	assert_int_equal(size, 6);
	assert_memory_equal(data, "binary", 6);
	free(data);
	assert_null(lw_cache_load(folder, &b, &size));
	assert_null(lw_cache_load(NULL, &a, &size));
	lw_cache_store(NULL, &a, "binary", 6);
	lw_cache_store("/nonexistent", &a, "binary", 6);
}

static void test_variants(void **state)
{
	const lw_variant one = leaky_relu(1), four = leaky_relu(4), same = leaky_relu(1);
	lw_variant backward = leaky_relu(1), missing = leaky_relu(1);
	const lw_variant bad = leaky_relu(3); /* no vector has this width */
	lw_kernel *kernels[4], *none = (void *)1;
	unsigned compiled, cached;
	lw_device *device;

	(void)state;
	setenv("LAYERWISE_CACHE", "off", 1);
	backward.function = "activation_backward";
	OK(lw_device_open(&device, "auto"));
	OK(lw_kernel_get(&kernels[0], device, &one));
	OK(lw_kernel_get(&kernels[1], device, &same));
	OK(lw_kernel_get(&kernels[2], device, &four));
	OK(lw_kernel_get(&kernels[3], device, &backward));
	assert_ptr_equal(kernels[0], kernels[1]);
	assert_ptr_not_equal(kernels[0], kernels[2]);
	assert_ptr_not_equal(kernels[0], kernels[3]);
	assert_string_equal(lw_kernel_name(kernels[3]), "activation_backward");
	lw_kernel_statistics(device, &compiled, &cached);
	assert_int_equal(compiled, 3);
	assert_int_equal(cached, 0);
	missing.source = "no_such_source";
	assert_int_equal(lw_kernel_get(&none, device, &missing), LW_E_ARGUMENT);
	assert_null(none);
	assert_non_null(strstr(lw_last_error(), "no_such_source.cl"));
	missing.source = "activation";
	missing.function = "no_such_function";
	assert_int_equal(lw_kernel_get(&none, device, &missing), LW_E_DEVICE);
	assert_non_null(strstr(lw_last_error(), "no_such_function"));
	assert_int_equal(lw_kernel_get(&none, device, &bad), LW_E_BUILD);
	assert_non_null(strstr(lw_last_error(), "activation.cl on "));
	assert_non_null(strstr(lw_last_error(), "LW_FLOAT3")); /* the compiler's own words */
	OK(lw_kernel_get(&kernels[1], device, &one));	       /* and the table is as it was */
	assert_ptr_equal(kernels[0], kernels[1]);
	lw_device_close(&device);
}

/* More variants than the table first has places for, on a device where they cost nothing. */
static void test_many_variants(void **state)
{
	static lw_kernel *kernels[500];
	lw_kernel *again;
	lw_device *device;

	(void)state;
	OK(lw_device_open(&device, "sim"));
	for (int i = 0; i < 500; i++) {
		lw_variant v = leaky_relu(i - 250);
		OK(lw_kernel_get(&kernels[i], device, &v));
	}
	for (int i = 0; i < 500; i++) {
		lw_variant v = leaky_relu(i - 250);
		OK(lw_kernel_get(&again, device, &v));
		assert_ptr_equal(again, kernels[i]);
		assert_true(i == 0 || kernels[i] != kernels[i - 1]);
	}
	lw_device_close(&device);
}

static void *get_variants(void *data)
{
	lw_device *device = data;
	lw_kernel *kernel;

	for (int vector = 1; vector <= 4; vector *= 4) {
		lw_variant v = leaky_relu(vector);
		if (lw_kernel_get(&kernel, device, &v) != LW_OK)
			return NULL;
	}
	return kernel;
}

static void test_threads(void **state)
{
	unsigned compiled, cached;
	lw_device *device;
	pthread_t threads[4];
	void *kernels[4];

	(void)state;
	setenv("LAYERWISE_CACHE", "off", 1);
	OK(lw_device_open(&device, "auto"));
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, get_variants, device), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], &kernels[i]);
	for (int i = 0; i < 4; i++) {
		assert_non_null(kernels[i]);
		assert_ptr_equal(kernels[i], kernels[0]);
	}
	lw_kernel_statistics(device, &compiled, &cached);
	assert_int_equal(compiled, 2); /* nothing twice */
	lw_device_close(&device);
}

static void test_sources(void **state)
{
	(void)state;
	assert_non_null(strstr(lw_kernel_source("common"), "lw_exp"));
	assert_non_null(strstr(lw_kernel_source("activation"), "activation_forward"));
	assert_null(lw_kernel_source("activation.cl"));
	assert_null(lw_kernel_source(""));
}

static size_t count_words(const char *text, const char *word)
{
	size_t found = 0;

	for (; (text = strstr(text, word)) != NULL; text += strlen(word))
		found++;
	return found;
}

/* Each kernel of each source: its text holds that kernel and no other, and every line stays where it was. */
static void test_texts(void **state)
{
	static const char *const sources[] = {"activation", "pool", "conv_cpu", "sgd"};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(sources); i++) {
		const char *source = lw_kernel_source(sources[i]), *p = source;
		char *whole, *text;

		OK(lw_kernel_text(&whole, sources[i], "no_such_function"));
		assert_int_equal(count_words(whole, "\n__kernel"), 0);
		assert_true(count_words(source, "\n__kernel") > 0);
		while ((p = strstr(p, "\n__kernel")) != NULL) {
			const char *name_end = strchr(strstr(p, "void"), '('), *name = name_end;
			char function[64];

			while (name[-1] == '_' || (name[-1] >= '0' && name[-1] <= '9') ||
			       (name[-1] >= 'a' && name[-1] <= 'z'))
				name--;
			snprintf(function, sizeof function, "%.*s", (int)(name_end - name), name);
			OK(lw_kernel_text(&text, sources[i], function));
			assert_int_equal(count_words(text, "\n__kernel"), 1);
			strcat(function, "(");
			assert_non_null(strstr(text, function));
			assert_int_equal(count_words(text, "\n"), count_words(whole, "\n"));
			free(text);
			p = name_end;
		}
		free(whole);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kept, clear_cache),
		cmocka_unit_test_setup(test_saved_before_close, clear_cache),
		cmocka_unit_test_setup(test_damaged, clear_cache),
		cmocka_unit_test_setup(test_foreign, clear_cache),
		cmocka_unit_test_setup(test_folder_of_others, clear_cache),
		cmocka_unit_test_setup(test_refused_by_driver, clear_cache),
		cmocka_unit_test_setup(test_without, clear_cache),
		cmocka_unit_test_setup(test_home, clear_cache),
		cmocka_unit_test_setup(test_variants, clear_cache),
		cmocka_unit_test_setup(test_many_variants, clear_cache),
		cmocka_unit_test_setup(test_threads, clear_cache),
		cmocka_unit_test(test_sources),
		cmocka_unit_test(test_texts),
		cmocka_unit_test_setup(test_load_and_store, clear_cache),
	};
	char command[128];
	int failed;

	if (!mkdtemp(home))
		return 1;
	snprintf(folder, sizeof folder, "%s/layerwise/kernels", home);
	setenv("XDG_CACHE_HOME", home, 1);
	lw_set_log(keep_log, NULL, LW_LOG_DEBUG);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	snprintf(command, sizeof command, "rm -rf %s", home);
	return system(command) == 0 ? failed : 1;
}
