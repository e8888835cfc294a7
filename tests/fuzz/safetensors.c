/* Any bytes as a safetensors file: an error with a sentence, or a set whose every tensor can be had. */
#include "model/model.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int condition)
{
	if (!condition)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	lw_tensors *tensors = NULL;

	if (lw_safetensors_parse(&tensors, "fuzz", data, size) != LW_OK) {
		check(!tensors && *lw_last_error());
		return 0;
	}
	for (size_t i = 0; i < lw_tensors_count(tensors); i++) {
		lw_tensor_info info, found;
		float sum = 0;

		check(lw_tensors_at(tensors, i, &info) == LW_OK);
		check(lw_tensors_find(tensors, info.name, &found) && found.values == info.values);
		for (size_t k = 0; k < info.count; k++)
			sum += info.values[k];
		check(sum >= 0 || sum < 0 || sum != sum); /* every value was read */
	}
	lw_tensors_destroy(&tensors);
	return 0;
}
