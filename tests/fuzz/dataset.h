/* Bytes as a file that exists only in memory. */
#include <layerwise/data.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct memory_file {
	int descriptor;
	char path[64];
} memory_file;

static inline memory_file memory_file_open(const uint8_t *data, size_t size)
{
	memory_file file = {.descriptor = memfd_create("fuzz", 0)};

	if (file.descriptor < 0 || write(file.descriptor, data, size) != (ssize_t)size)
		abort();
	snprintf(file.path, sizeof(file.path), "/proc/self/fd/%d", file.descriptor);
	return file;
}

/* An error with a sentence, or a set whose every sample can be had. */
static inline void open_and_read(const lw_dataset_options *options)
{
	lw_dataset *dataset = NULL;
	int32_t label;
	float *image;

	if (lw_dataset_open(&dataset, options) != LW_OK) {
		if (dataset || !*lw_last_error())
			abort();
		return;
	}
	image = malloc((size_t)options->channels * (size_t)options->height * (size_t)options->width * sizeof(float));
	for (size_t i = 0; i < lw_dataset_count(dataset); i++)
		if (lw_dataset_sample(dataset, i, image, &label) != LW_OK || label < 0 ||
		    label >= lw_dataset_classes(dataset))
			abort();
	free(image);
	lw_dataset_close(&dataset);
}
