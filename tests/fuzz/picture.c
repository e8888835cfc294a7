/* Any bytes as a PNG or JPEG file: neither library may end the process or leak. */
#include "data/data.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	lw_picture picture;

	if (lw_picture_decode(&picture, "fuzz", data, size) == LW_OK) {
		if (picture.width < 1 || picture.height < 1)
			abort();
		free(picture.rgb);
	} else if (picture.rgb || !*lw_last_error()) {
		abort();
	}
	return 0;
}
