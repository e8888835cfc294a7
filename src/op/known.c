/* The shipped table of known choices. */
#include "op/known.h"
#include "op/tile.h"

#include <fnmatch.h>
#include <string.h>

#define LW_KNOWN(vector, key, choice) {vector, key, choice},
const lw_known lw_known_rows[] = {
#include "op/known.inc"
	{0},
};
#undef LW_KNOWN

/* Tiles that suit a CPU say nothing of other devices. */
static const char *prefix_of(const lw_device *device) { return lw_device_get_info(device)->type == LW_DEVICE_CPU ? "" : "gpu "; }

int lw_known_find(const lw_known *rows, const lw_device *device, const char *key, const lw_choice *list, int count)
{
	const int vector = lw_op_vector_width(device, LW_TILE_WIDE);
	char text[LW_TUNING_KEY + 4];

	snprintf(text, sizeof text, "%s%s", prefix_of(device), key);
	for (const lw_known *row = rows; row->key; row++) {
		if ((row->vector && row->vector != vector) || fnmatch(row->key, text, 0) != 0)
			continue;
		for (int i = 0; i < count; i++)
			if (list[i].algorithm == list[0].algorithm && fnmatch(row->choice, list[i].name, 0) == 0)
				return i;
	}
	return 0;
}

void lw_known_print(const lw_device *device, const char *key, const lw_choice *usual, const lw_choice *best, double gain,
		    char text[LW_KNOWN_TEXT])
{
	static const char groups[] = " groups ";
	const char *end = strstr(key, groups);
	const bool same = usual->algorithm == best->algorithm;

	/* what follows decides which algorithm alone */
	end = end ? end + strlen(groups) + strcspn(end + strlen(groups), " ") : key + strlen(key);
	snprintf(text, LW_KNOWN_TEXT, "%sLW_KNOWN(%d, \"%s%.*s *\", \"%s\")%s %.2f x as fast as %s */", same ? "" : "/* another algorithm: ",
		 lw_op_vector_width(device, LW_TILE_WIDE), prefix_of(device), (int)(end - key), key, best->name, same ? " /*" : ",", gain,
		 usual->name);
}
