/* Files for the tests of the data room, made in a fresh folder. Include it once, after cmocka.h. */
#include <ftw.h>
#include <layerwise/data.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

static char folder[64];

static int make_folder(void **state)
{
	(void)state;
	strcpy(folder, "/tmp/layerwise-data-XXXXXX");
	return mkdtemp(folder) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)status, (void)kind, (void)place;
	return remove(path);
}

static int remove_folder(void **state)
{
	(void)state;
	return nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of a file in the folder; the last 64 are valid. */
static inline const char *in_folder(const char *name)
{
	static char paths[64][256];
	static int next;
	char *path = paths[next++ % 64];

	snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
	return path;
}

static inline const char *write_bytes(const char *name, const void *data, size_t size)
{
	const char *path = in_folder(name);
	FILE *file = fopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
	return path;
}

static inline const char *write_gzip(const char *name, const void *data, size_t size)
{
	const char *path = in_folder(name);
	gzFile file = gzopen(path, "wb");

	assert_non_null(file);
	assert_int_equal(gzwrite(file, data, (unsigned)size), size);
	assert_int_equal(gzclose(file), Z_OK);
	return path;
}

/* Opening must fail with the status, and the message must name all the parts (up to NULL). */
#define EXPECT_ERROR(options, status, ...) expect_error(options, status, (const char *[]){__VA_ARGS__, NULL}, __LINE__)

static inline void expect_error(const lw_dataset_options *options, lw_status status, const char *const *parts, int line)
{
	lw_dataset *dataset = NULL;
	lw_status result = lw_dataset_open(&dataset, options);

	if (result != status)
		print_error("line %d: %s\n", line, lw_last_error());
	assert_int_equal(result, status);
	assert_null(dataset);
	for (; *parts; parts++) {
		if (!strstr(lw_last_error(), *parts))
			print_error("line %d: '%s' is not in: %s\n", line, *parts, lw_last_error());
		assert_non_null(strstr(lw_last_error(), *parts));
	}
}

static inline lw_dataset *open_set(const lw_dataset_options *options)
{
	lw_dataset *dataset = NULL;
	lw_status status = lw_dataset_open(&dataset, options);

	if (status != LW_OK)
		print_error("%s\n", lw_last_error());
	assert_int_equal(status, LW_OK);
	return dataset;
}
