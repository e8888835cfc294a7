/* Any bytes as a recipe file, and what follows their first NUL as an override: an error or a recipe, and nothing leaks. */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <layerwise/recipe.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_one(const char *path, const char *override)
{
	lw_recipe *recipe = NULL;

	if (lw_recipe_read(&recipe, path, &override, override ? 1 : 0) != LW_OK) {
		if (recipe || !*lw_last_error())
			abort();
		return;
	}
	lw_recipe_destroy(&recipe);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = memchr(data, 0, size);
	size_t length = end ? (size_t)(end - data) : size;
	char path[64], *override = NULL;
	int file = memfd_create("recipe", 0);

	if (file < 0 || write(file, data, length) != (ssize_t)length)
		abort();
	if (end) {
		override = calloc(1, size - length);
		memcpy(override, end + 1, size - length - 1);
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	read_one(path, override);
	free(override);
	close(file);
	return 0;
}
