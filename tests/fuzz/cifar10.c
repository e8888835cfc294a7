/* Any bytes as a CIFAR-10 batch file. */
#include "dataset.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memory_file file = memory_file_open(data, size);
	lw_dataset_options options;

	lw_dataset_defaults(&options);
	options.format = "cifar10";
	options.paths = (const char *[]){file.path};
	options.path_count = 1;
	options.channels = 3;
	options.height = options.width = 32;
	open_and_read(&options);
	close(file.descriptor);
	return 0;
}
