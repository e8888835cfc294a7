/* safetensors: what is written is read back bit for bit, every dtype is exact, every hostile file has its sentence. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "model/model.h"
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <signal.h>
#include <unistd.h>

static char folder[64], path[128];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/layerwise-model-XXXXXX");
	if (!mkdtemp(folder))
		return -1;
	snprintf(path, sizeof(path), "%s/net.safetensors", folder);
	return 0;
}

static int remove_folder(void **state)
{
	(void)state;
	unlink(path);
	return rmdir(folder);
}

/* A file of a header and count bytes of data, in memory; the caller's to free. */
static void *make_file(const char *header, size_t data_size, size_t *size)
{
	size_t length = strlen(header);
	uint8_t *bytes = calloc(1, 8 + length + data_size);

	assert_non_null(bytes);
	for (int i = 0; i < 8; i++)
		bytes[i] = (uint8_t)((uint64_t)length >> 8 * i);
	memcpy(bytes + 8, header, length);
	*size = 8 + length + data_size;
	return bytes;
}

static void writes_and_reads_bits(void **state)
{
	static const uint32_t bits[6] = {0x3f800000, 0x7fc12345, 0xff812345, 0x00000001, 0x80000000, 0x7f800000};
	float values[6], scalar = -2.5f;
	lw_tensors *tensors = NULL, *read = NULL;
	lw_tensor_info info;

	(void)state;
	memcpy(values, bits, sizeof(bits));
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "b.weight", (int64_t[]){2, 1, 3}, 3, values), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "a \"quoted\"\n\xc3\xa9", NULL, 0, &scalar), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "empty", (int64_t[]){4, 0}, 2, NULL), LW_OK);
	assert_int_equal(lw_tensors_set_metadata(tensors, "step", "17"), LW_OK);
	assert_int_equal(lw_tensors_set_metadata(tensors, "step", "18"), LW_OK);
	assert_int_equal(lw_tensors_set_metadata(tensors, "note", "\"x\""), LW_OK);
	assert_int_equal(lw_tensors_write(tensors, path), LW_OK);
	lw_tensors_destroy(&tensors);
	assert_null(tensors);

	assert_int_equal(lw_tensors_read(&read, path), LW_OK);
	assert_int_equal(lw_tensors_count(read), 3);
	assert_int_equal(lw_tensors_at(read, 0, &info), LW_OK);
	assert_string_equal(info.name, "b.weight");
	assert_int_equal(info.rank, 3);
	assert_int_equal(info.dims[0] * 100 + info.dims[1] * 10 + info.dims[2], 213);
	assert_int_equal(info.count, 6);
	assert_memory_equal(info.values, bits, sizeof(bits));
	assert_true(lw_tensors_find(read, "a \"quoted\"\n\xc3\xa9", &info));
	assert_int_equal(info.rank, 0);
	assert_int_equal(info.count, 1);
	assert_true(info.values[0] == -2.5f);
	assert_true(lw_tensors_find(read, "empty", &info));
	assert_int_equal(info.count, 0);
	assert_false(lw_tensors_find(read, "absent", &info));
	assert_int_equal(lw_tensors_at(read, 3, &info), LW_E_ARGUMENT);
	assert_string_equal(lw_tensors_get_metadata(read, "step"), "18");
	assert_string_equal(lw_tensors_get_metadata(read, "note"), "\"x\"");
	assert_null(lw_tensors_get_metadata(read, "absent"));
	lw_tensors_destroy(&read);
}

/* The bytes as the reference implementation would have them: aligned header, spaces, tensors in order. */
static void writes_the_expected_bytes(void **state)
{
	static const char header[] =
		"{\"__metadata__\":{\"format\":\"pt\"},\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}";
	lw_tensors *tensors = NULL;
	void *data;
	size_t size, padded = (strlen(header) + 7) / 8 * 8;

	(void)state;
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_set_metadata(tensors, "format", "pt"), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "w", (int64_t[]){2}, 1, (float[]){1, -2}), LW_OK);
	assert_int_equal(lw_tensors_write(tensors, path), LW_OK);
	lw_tensors_destroy(&tensors);
	assert_int_equal(lw_file_read(path, &data, &size), LW_OK);
	const uint8_t *bytes = data;

	assert_int_equal(size, 8 + padded + 8);
	assert_int_equal(bytes[0], padded);
	assert_memory_equal(bytes + 1, "\0\0\0\0\0\0\0", 7);
	assert_memory_equal(bytes + 8, header, strlen(header));
	for (size_t i = strlen(header); i < padded; i++)
		assert_int_equal(bytes[8 + i], ' ');
	assert_memory_equal(bytes + 8 + padded, "\0\0\x80\x3f\0\0\0\xc0", 8);
	free(data);
}

static void rejects_wrong_tensors(void **state)
{
	lw_tensors *tensors = NULL;
	float value = 1;

	(void)state;
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "w", NULL, 0, &value), LW_OK);
	assert_int_equal(lw_tensors_add(tensors, "w", NULL, 0, &value), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "'w' is there already"));
	assert_int_equal(lw_tensors_add(tensors, "__metadata__", NULL, 0, &value), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_add(tensors, "n", (int64_t[]){-1}, 1, &value), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_add(tensors, "n", (int64_t[9]){0}, 9, &value), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_add(tensors, "n", (int64_t[]){INT64_MAX, 4}, 2, &value), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_add(tensors, "n\xff", NULL, 0, &value), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_set_metadata(tensors, "k", "\xff"), LW_E_ARGUMENT);
	assert_int_equal(lw_tensors_count(tensors), 1);
	lw_tensors_destroy(&tensors);
	lw_tensors_destroy(&tensors);
	lw_tensors_destroy(NULL);
}

/* Parses all 65536 values of a 16-bit type. */
static lw_tensors *all_16_bits(const char *dtype, lw_tensor_info *info)
{
	lw_tensors *tensors = NULL;
	char header[128];
	size_t size;

	snprintf(header, sizeof(header), "{\"x\":{\"dtype\":\"%s\",\"shape\":[65536],\"data_offsets\":[0,131072]}}",
		 dtype);
	uint8_t *file = make_file(header, 131072, &size), *data = file + size - 131072;

	for (int i = 0; i < 65536; i++) {
		data[2 * i] = (uint8_t)i;
		data[2 * i + 1] = (uint8_t)(i >> 8);
	}
	assert_int_equal(lw_safetensors_parse(&tensors, "all", file, size), LW_OK);
	free(file);
	assert_true(lw_tensors_find(tensors, "x", info));
	return tensors;
}

static void halves_are_exact(void **state)
{
	lw_tensor_info info;
	lw_tensors *tensors = all_16_bits("F16", &info);

	(void)state;
	for (int i = 0; i < 65536; i++) {
		int exponent = i >> 10 & 31, fraction = i & 1023;
		double size = exponent == 0 ? ldexp(fraction, -24) : ldexp(1024 + fraction, exponent - 25);

		assert_int_equal(!!signbit(info.values[i]), i >> 15);
		if (exponent < 31)
			assert_true(fabs((double)info.values[i]) == size);
		else if (fraction == 0)
			assert_true(isinf(info.values[i]));
		else
			assert_true(isnan(info.values[i]));
	}
	lw_tensors_destroy(&tensors);

	tensors = all_16_bits("BF16", &info);
	for (uint32_t i = 0; i < 65536; i++) {
		uint32_t bits;

		memcpy(&bits, info.values + i, sizeof(bits));
		assert_int_equal(bits, i << 16);
	}
	lw_tensors_destroy(&tensors);
}

static void doubles_round_to_nearest(void **state)
{
	static const double values[8] = {1 + 0x1p-24, 1 + 0x3p-24, 0x1p-149, 0x1.8p-149, 1e300, -0.0, (double)NAN, 0.1};
	static const float expected[7] = {1, 1 + 0x1p-22f, 0x1p-149f, 0x1p-148f, INFINITY, -0.0f, NAN};
	lw_tensors *tensors = NULL;
	lw_tensor_info info;
	size_t size;
	uint8_t *file = make_file("{\"x\":{\"dtype\":\"F64\",\"shape\":[8],\"data_offsets\":[0,64]}}", 64, &size);

	(void)state;
	for (int i = 0; i < 8; i++) {
		uint64_t bits;

		memcpy(&bits, values + i, 8);
		for (int k = 0; k < 8; k++)
			file[size - 64 + (size_t)(8 * i + k)] = (uint8_t)(bits >> 8 * k);
	}
	assert_int_equal(lw_safetensors_parse(&tensors, "f64", file, size), LW_OK);
	free(file);
	assert_true(lw_tensors_find(tensors, "x", &info));
	assert_memory_equal(info.values, expected, 6 * sizeof(float));
	assert_true(isnan(info.values[6]));
	assert_true(info.values[7] == 0.1f);
	lw_tensors_destroy(&tensors);
}

static char log_line[256];

static void keep_line(void *user, lw_log_level level, const char *text)
{
	(void)user, (void)level;
	snprintf(log_line, sizeof(log_line), "%s", text);
}

static void leaves_out_whole_numbers(void **state)
{
	static const char header[] = "{\"n\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[4,12]},"
				     "\"w\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
				     "\"m\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[12,15]}}   ";
	lw_tensors *tensors = NULL;
	lw_tensor_info info;
	size_t size;
	void *file = make_file(header, 15, &size);

	(void)state;
	lw_set_log(keep_line, NULL, LW_LOG_INFO);
	assert_int_equal(lw_safetensors_parse(&tensors, "some.file", file, size), LW_OK);
	lw_set_log(NULL, NULL, LW_LOG_INFO);
	free(file);
	assert_int_equal(lw_tensors_count(tensors), 1);
	assert_true(lw_tensors_find(tensors, "w", &info));
	assert_string_equal(log_line, "some.file: 2 tensors of whole numbers left out, the last is 'm'");
	lw_tensors_destroy(&tensors);
}

#define W "\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define TENSOR(dtype, shape, offsets) "{\"v\":{\"dtype\":" dtype ",\"shape\":" shape ",\"data_offsets\":" offsets "}}"

static const struct hostile {
	const char *header;
	size_t data;
	const char *message;
} hostile[] = {
	{"", 0, "does not begin with '{'"},
	{"[]", 0, "does not begin with '{'"},
	{" {}", 0, "does not begin with '{'"},
	{"{", 0, "not JSON as it should be"},
	{"{} x", 0, "not JSON as it should be"},
	{"{\"\xff\":1}", 0, "not JSON as it should be"},
	{"{\"a\\u0000b\":1}", 0, "not JSON as it should be"},
	{"{" W "," W "}", 8, "duplicate object key"},
	{"{" W ",\"w\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8,16]}}", 16, "duplicate object key"},
	{"{\"__metadata__\":{\"a\":\"x\",\"a\":\"y\"}}", 0, "duplicate object key"},
	{"{\"__metadata__\":{\"a\":1}}", 0, "__metadata__: 'a' is not a string"},
	{"{\"__metadata__\":[]}", 0, "__metadata__ is not an object"},
	{"{\"v\":3}", 0, "'v': not an object"},
	{"{\"v\":{}}", 0, "'v': no dtype"},
	{TENSOR("7", "[1]", "[0,4]"), 4, "'v': no dtype"},
	{TENSOR("\"F8_E4M3\"", "[4]", "[0,4]"), 4, "'v': unknown dtype 'F8_E4M3'"},
	{TENSOR("\"f32\"", "[1]", "[0,4]"), 4, "'v': unknown dtype 'f32'"},
	{TENSOR("\"F32\"", "3", "[0,4]"), 4, "'v': no shape"},
	{TENSOR("\"F32\"", "[1.0]", "[0,4]"), 4, "dimension 0 of its shape is not a whole number"},
	{TENSOR("\"F32\"", "[1,-1]", "[0,4]"), 4, "dimension 1 of its shape is not a whole number"},
	{TENSOR("\"F32\"", "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4, "rank 9, expected at most 8"},
	{TENSOR("\"F32\"", "[9223372036854775807,9223372036854775807]", "[0,4]"), 4, "is too large"},
	{TENSOR("\"F32\"", "[4611686018427387905]", "[0,4]"), 4, "[4611686018427387905] is too large"},
	{TENSOR("\"F32\"", "[4294967296,4294967296,0]", "[0,0]"), 0, "is too large"},
	{TENSOR("\"F32\"", "[99999999999999999999]", "[0,4]"), 4, "too big integer"},
	{TENSOR("\"F32\"", "[2]", "[0,4]"), 4, "give 4 bytes, but the shape [2] in F32 needs 8"},
	{TENSOR("\"F16\"", "[2]", "[0,8]"), 8, "give 8 bytes, but the shape [2] in F16 needs 4"},
	{TENSOR("\"I64\"", "[2]", "[0,8]"), 8, "give 8 bytes, but the shape [2] in I64 needs 16"},
	{TENSOR("\"F32\"", "[1]", "[0,4]"), 3, "'v': data_offsets end at byte 4, but the file has only 3"},
	{TENSOR("\"F32\"", "[1]", "[4,0]"), 4, "'v': data_offsets are not two ascending"},
	{TENSOR("\"F32\"", "[1]", "[-4,0]"), 4, "'v': data_offsets are not two ascending"},
	{TENSOR("\"F32\"", "[1]", "[0,4,8]"), 8, "'v': data_offsets are not two ascending"},
	{TENSOR("\"F32\"", "[1]", "[0.0,4.0]"), 4, "'v': data_offsets are not two ascending"},
	{TENSOR("\"F32\"", "[1]", "{}"), 4, "'v': data_offsets are not two ascending"},
	{TENSOR("\"F32\"", "[1]", "[0,9223372036854775807]"), 4, "'v': data_offsets end at byte 9223372036854775807"},
	{TENSOR("\"F32\"", "[1]", "[4,8]"), 8, "'v': its data begins at byte 4, a hole of 4 bytes"},
	{TENSOR("\"F32\"", "[1]", "[0,4]"), 5, "trailing bytes: 1 follow the last tensor 'v'"},
	{"{}", 1, "trailing bytes: 1 follow the last tensor"},
	{"{" W ",\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
	 "'v': its data at byte 4 overlaps that of 'w'"},
	{"{" W ",\"v\":{\"dtype\":\"I32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8,
	 "'v': its data at byte 4 overlaps that of 'w'"},
	{"{" W ",\"v\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}}", 8, "overlaps that of"},
	{"{" W ",\"v\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[9,13]}}", 13,
	 "'v': its data begins at byte 9, a hole of 1 bytes"},
	{"{" W ",\"v\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[4,4]}}", 8,
	 "'v': its data at byte 4 overlaps that of 'w'"},
};

static void rejects_hostile_files(void **state)
{
	lw_tensors *tensors = NULL;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(hostile); i++) {
		size_t size;
		void *file = make_file(hostile[i].header, hostile[i].data, &size);
		lw_status status = lw_safetensors_parse(&tensors, "evil.file", file, size);

		free(file);
		if (status != LW_E_FORMAT || !strstr(lw_last_error(), hostile[i].message))
			print_error("%s: %s\n", hostile[i].header, status == LW_OK ? "was read" : lw_last_error());
		assert_int_equal(status, LW_E_FORMAT);
		assert_null(tensors);
		assert_int_equal(strncmp(lw_last_error(), "evil.file: ", 11), 0);
		assert_non_null(strstr(lw_last_error(), hostile[i].message));
	}
}

static void rejects_wrong_lengths(void **state)
{
	static const struct {
		uint8_t bytes[12];
		size_t size;
		const char *message;
	} cases[] = {
		{{0}, 0, "0 bytes are too few"},
		{{0}, 7, "7 bytes are too few"},
		{{5, 0, 0, 0, 0, 0, 0, 0, '{', '}'}, 10, "a header of 5 bytes, but only 2 follow"},
		{{1, 0xe1, 0xf5, 5, 0, 0, 0, 0, '{', '}'},
		 10,
		 "a header of 100000001 bytes, expected at most 100000000"},
		{{0, 0xe1, 0xf5, 5, 0, 0, 0, 0, '{', '}'}, 10, "a header of 100000000 bytes, but only 2 follow"},
		{{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'}, 10, "a header of 18446744073709551615 bytes"},
	};
	lw_tensors *tensors = NULL;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(cases); i++) {
		assert_int_equal(lw_safetensors_parse(&tensors, "evil.file", cases[i].bytes, cases[i].size),
				 LW_E_FORMAT);
		assert_non_null(strstr(lw_last_error(), cases[i].message));
	}
	assert_int_equal(lw_tensors_read(&tensors, "/absent/file"), LW_E_IO);
	assert_non_null(strstr(lw_last_error(), "/absent/file"));
}

static void finds_among_thousands(void **state)
{
	enum { COUNT = 5000 };
	lw_tensors *tensors = NULL, *read = NULL;
	lw_tensor_info info;
	char name[32];

	(void)state;
	assert_int_equal(lw_tensors_create(&tensors), LW_OK);
	for (int i = 0; i < COUNT; i++) {
		float value = (float)i;

		snprintf(name, sizeof(name), "layer%d.weight", i * 7919 % COUNT);
		assert_int_equal(lw_tensors_add(tensors, name, (int64_t[]){1}, 1, &value), LW_OK);
	}
	assert_int_equal(lw_tensors_write(tensors, path), LW_OK);
	assert_int_equal(lw_tensors_read(&read, path), LW_OK);
	assert_int_equal(lw_tensors_count(read), COUNT);
	for (int i = 0; i < COUNT; i++) {
		snprintf(name, sizeof(name), "layer%d.weight", i * 7919 % COUNT);
		assert_true(lw_tensors_find(read, name, &info));
		assert_true(info.values[0] == (float)i);
	}
	lw_tensors_destroy(&tensors);
	lw_tensors_destroy(&read);
}

static int files_in_folder(void)
{
	DIR *directory = opendir(folder);
	int count = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		count += entry->d_name[0] != '.';
	closedir(directory);
	return count;
}

/* A disk that is full in the middle of the write: the file of before is still there, and nothing else. */
static void a_failed_write_leaves_the_old_file(void **state)
{
	enum { COUNT = 100000 };
	float *values = calloc(COUNT, sizeof(float));
	lw_tensors *small = NULL, *large = NULL, *read = NULL;
	struct rlimit old, limit;

	(void)state;
	assert_non_null(values);
	assert_int_equal(lw_tensors_create(&small), LW_OK);
	assert_int_equal(lw_tensors_create(&large), LW_OK);
	assert_int_equal(lw_tensors_add(small, "w", (int64_t[]){3}, 1, values), LW_OK);
	assert_int_equal(lw_tensors_add(large, "w", (int64_t[]){COUNT}, 1, values), LW_OK);
	assert_int_equal(lw_tensors_write(small, path), LW_OK);

	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	limit = old;
	limit.rlim_cur = 100000;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	lw_status status = lw_tensors_write(large, path);

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(status, LW_E_IO);
	assert_non_null(strstr(lw_last_error(), path));
	assert_int_equal(files_in_folder(), 1);
	assert_int_equal(lw_tensors_read(&read, path), LW_OK);
	assert_int_equal(read->list[0].count, 3);
	assert_int_equal(lw_tensors_write(large, "/absent/folder/file"), LW_E_IO);
	lw_tensors_destroy(&small);
	lw_tensors_destroy(&large);
	lw_tensors_destroy(&read);
	free(values);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes_and_reads_bits),    cmocka_unit_test(writes_the_expected_bytes),
		cmocka_unit_test(rejects_wrong_tensors),    cmocka_unit_test(halves_are_exact),
		cmocka_unit_test(doubles_round_to_nearest), cmocka_unit_test(leaves_out_whole_numbers),
		cmocka_unit_test(rejects_hostile_files),    cmocka_unit_test(rejects_wrong_lengths),
		cmocka_unit_test(finds_among_thousands),    cmocka_unit_test(a_failed_write_leaves_the_old_file),
	};

	return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
