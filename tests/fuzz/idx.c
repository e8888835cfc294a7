/* Any bytes as the two IDX files: the first byte says where the second begins. */
#include "dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const int classes[] = {1, 0};
	lw_dataset_options options;

	if (size < 1)
		return 0;
	size_t labels = data[0] < size ? data[0] : size - 1;
	memory_file images_file = memory_file_open(data + 1 + labels, size - 1 - labels),
		    labels_file = memory_file_open(data + 1, labels);

	lw_dataset_defaults(&options);
	options.format = "idx";
	options.paths = (const char *[]){images_file.path, labels_file.path};
	options.path_count = 2;
	options.channels = 1;
	options.height = options.width = 2;
	open_and_read(&options);
	options.classes = classes;
	options.class_count = 2;
	options.limit = 3;
	options.net_classes = 2;
	open_and_read(&options);
	close(images_file.descriptor);
	close(labels_file.descriptor);
	return 0;
}
