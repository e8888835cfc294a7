/* What the tuner found, by key. */
#include "kernel/tuning.h"

#include <stdlib.h>
#include <string.h>

typedef struct finding {
	char *key, *choice;
} finding;

struct lw_tuning {
	finding *findings;
	size_t count, capacity;
};

lw_status lw_tuning_open(lw_tuning **tuning, lw_device *device, const char *path)
{
	(void)device, (void)path;
	return lw_alloc(tuning, 1, sizeof **tuning);
}

void lw_tuning_close(lw_tuning **tuning)
{
	lw_tuning *t = *tuning;

	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++) {
		free(t->findings[i].key);
		free(t->findings[i].choice);
	}
	free(t->findings);
	free(t);
	*tuning = NULL;
}

const char *lw_tuning_find(const lw_tuning *tuning, const char *key)
{
	for (size_t i = 0; i < tuning->count; i++)
		if (strcmp(tuning->findings[i].key, key) == 0)
			return tuning->findings[i].choice;
	return NULL;
}

lw_status lw_tuning_store(lw_tuning *tuning, const char *key, const char *choice, double seconds)
{
	finding *f;

	(void)seconds;
	LW_TRY(lw_grow(&tuning->findings, &tuning->capacity, tuning->count + 1, sizeof *tuning->findings));
	f = &tuning->findings[tuning->count];
	LW_TRY(lw_copy_string(&f->key, key));
	LW_TRY(lw_copy_string(&f->choice, choice));
	tuning->count++;
	return LW_OK;
}
