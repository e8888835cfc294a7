/* Checkpoints: one safetensors file each, written whole, checked by a sum when read; the newest few are kept. */
#include "train/train.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "checkpoint-"
#define SUFFIX ".safetensors"
#define SUM_KEY "train.sum"

enum { STEP_DIGITS = 10, TEMPORARY_LETTERS = 6, SUM_TEXT = 17 };

/* The facts as metadata; `differs` names those that a resumed run must share. */
static const struct fact {
	const char *key, *differs;
	size_t offset;
} facts_table[] = {
	{"train.format", NULL, offsetof(lw_checkpoint, format)},
	{"train.step", NULL, offsetof(lw_checkpoint, step)},
	{"train.total", NULL, offsetof(lw_checkpoint, total)},
	{"train.skipped", NULL, offsetof(lw_checkpoint, skipped)},
	{"train.evaluated", NULL, offsetof(lw_checkpoint, evaluated)},
	{"train.batch", "a batch", offsetof(lw_checkpoint, batch)},
	{"train.seed", "the seed", offsetof(lw_checkpoint, seed)},
	{"train.shuffle", "shuffle", offsetof(lw_checkpoint, shuffle)},
	{"train.samples", "the number of training images", offsetof(lw_checkpoint, samples)},
};

static int64_t *fact_of(lw_checkpoint *facts, size_t index) { return (int64_t *)((char *)facts + facts_table[index].offset); }

static int64_t fact_value(const lw_checkpoint *facts, size_t index)
{
	return *(const int64_t *)((const char *)facts + facts_table[index].offset);
}

/* The step in a name checkpoint-<digits>.safetensors; *rest is what follows. False for any other name. */
static bool parse_name(const char *name, int64_t *step, const char **rest)
{
	const char *digits = name + strlen(PREFIX);
	size_t count;

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return false;
	count = strspn(digits, "0123456789");
	if (count < STEP_DIGITS || count > 18 || strncmp(digits + count, SUFFIX, strlen(SUFFIX)) != 0)
		return false;
	*step = strtoll(digits, NULL, 10);
	*rest = digits + count + strlen(SUFFIX);
	return true;
}

static int newest_first(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x < y) - (x > y);
}

static bool is_temporary(const char *rest)
{
	return rest[0] == '.' && strlen(rest + 1) == TEMPORARY_LETTERS &&
	       strspn(rest + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == TEMPORARY_LETTERS;
}

static lw_status path_of(char **path, const char *directory, int64_t step)
{
	return lw_format_string(path, "%s/" PREFIX "%0*" PRId64 SUFFIX, directory, STEP_DIGITS, step);
}

/*
 * The steps of a folder's checkpoints, newest first; *steps is the caller's. A folder that is not there has none.
 * clean: temporary files are removed on the way.
 */
static lw_status list_steps(int64_t **steps, size_t *count, const char *directory, bool clean)
{
	lw_status status = LW_OK;
	size_t capacity = 0;
	struct dirent *entry;
	DIR *folder = opendir(directory);

	*steps = NULL;
	*count = 0;
	if (!folder && errno == ENOENT)
		return LW_OK;
	if (!folder)
		return lw_fail(LW_E_IO, "%s: the folder cannot be read: %s", directory, strerror(errno));
	while ((entry = readdir(folder))) {
		const char *rest;
		int64_t step;

		if (!parse_name(entry->d_name, &step, &rest))
			continue;
		if (clean && is_temporary(rest))
			unlinkat(dirfd(folder), entry->d_name, 0);
		if (*rest)
			continue;
		LW_GO(lw_grow(steps, &capacity, *count + 1, sizeof **steps));
		(*steps)[(*count)++] = step;
	}
	if (*count)
		qsort(*steps, *count, sizeof **steps, newest_first);
out:
	closedir(folder);
	if (status != LW_OK) {
		free(*steps);
		*steps = NULL;
		*count = 0;
	}
	return status;
}

static lw_status set_aside(const char *directory, int64_t step)
{
	char *path = NULL, *aside = NULL;
	lw_status status;

	LW_GO(path_of(&path, directory, step));
	LW_GO(lw_format_string(&aside, "%s.old", path));
	if (rename(path, aside) != 0) {
		status = lw_fail(LW_E_IO, "%s: cannot be renamed to %s: %s", path, aside, strerror(errno));
		goto out;
	}
	lw_log(LW_LOG_WARNING, "%s is past where this run begins: renamed to %s", path, aside);
out:
	free(path);
	free(aside);
	return status;
}

lw_status lw_checkpoint_prepare(const char *directory, int64_t from)
{
	lw_status status;
	int64_t *steps = NULL;
	size_t count;

	LW_TRY(lw_make_directories(directory, 0777));
	LW_TRY(list_steps(&steps, &count, directory, true));
	if (access(directory, W_OK | X_OK) != 0) {
		status = lw_fail(LW_E_IO, "%s: no checkpoint can be written there: %s", directory, strerror(errno));
		goto out;
	}
	status = LW_OK;
	for (size_t i = 0; i < count && steps[i] > from; i++)
		LW_GO(set_aside(directory, steps[i]));
out:
	free(steps);
	return status;
}

/* A sum over facts, names, shapes and values that does not depend on the order of the tensors in the file. */
static void sum_of(const lw_tensors *tensors, char text[SUM_TEXT])
{
	uint64_t sum = 0;

	for (size_t i = 0; i < LW_COUNT(facts_table); i++) {
		const char *value = lw_tensors_get_metadata(tensors, facts_table[i].key);
		sum = lw_hash(value, strlen(value), sum);
	}
	for (size_t i = 0; i < lw_tensors_count(tensors); i++) {
		lw_tensor_info info;
		uint64_t one;

		if (lw_tensors_at(tensors, i, &info) != LW_OK)
			continue;
		one = lw_hash(info.values, info.count * sizeof *info.values, 0);
		one = lw_hash(info.dims, (size_t)info.rank * sizeof *info.dims, one);
		sum += lw_hash(info.name, strlen(info.name), one);
	}
	snprintf(text, SUM_TEXT, "%016" PRIx64, sum);
}

static lw_status check_finite(const lw_tensors *tensors, int64_t step)
{
	for (size_t i = 0; i < lw_tensors_count(tensors); i++) {
		lw_tensor_info info;

		LW_TRY(lw_tensors_at(tensors, i, &info));
		for (size_t j = 0; j < info.count; j++)
			if (!isfinite(info.values[j]))
				return lw_fail(LW_E_NUMERIC, "after step %" PRId64 " %s is not finite, so no checkpoint was written",
					       step, info.name);
	}
	return LW_OK;
}

static lw_status remove_old(const char *directory, int keep)
{
	lw_status status = LW_OK;
	int64_t *steps;
	size_t count;

	LW_TRY(list_steps(&steps, &count, directory, false));
	for (size_t i = (size_t)lw_max_int(keep, 1); i < count; i++) {
		char *path;

		LW_GO(path_of(&path, directory, steps[i]));
		if (unlink(path) != 0)
			lw_log(LW_LOG_WARNING, "%s: cannot be removed: %s", path, strerror(errno));
		free(path);
	}
out:
	free(steps);
	return status;
}

lw_status lw_checkpoint_write(char **path, const char *directory, const lw_checkpoint *facts, lw_tensors *tensors, int keep)
{
	lw_status status;
	char text[24], sum[SUM_TEXT];

	*path = NULL;
	LW_TRY(check_finite(tensors, facts->step));
	for (size_t i = 0; i < LW_COUNT(facts_table); i++) {
		snprintf(text, sizeof text, "%" PRId64, fact_value(facts, i));
		LW_TRY(lw_tensors_set_metadata(tensors, facts_table[i].key, text));
	}
	sum_of(tensors, sum);
	LW_TRY(lw_tensors_set_metadata(tensors, SUM_KEY, sum));
	LW_TRY(lw_tensors_set_metadata(tensors, "train.version", lw_version()));
	LW_TRY(path_of(path, directory, facts->step));
	LW_GO(lw_tensors_write(tensors, *path));
	LW_GO(remove_old(directory, keep));
out:
	if (status != LW_OK) {
		free(*path);
		*path = NULL;
	}
	return status;
}

/* Reads the facts of a file just read and checks that they and the tensors are what was written. */
static lw_status read_facts(const lw_tensors *tensors, lw_checkpoint *facts, const char *path, int64_t step)
{
	const char *sum = lw_tensors_get_metadata(tensors, SUM_KEY);
	char computed[SUM_TEXT];

	for (size_t i = 0; i < LW_COUNT(facts_table); i++) {
		const char *value = lw_tensors_get_metadata(tensors, facts_table[i].key);
		char *end;

		if (!value)
			return lw_fail(LW_E_FORMAT, "%s: is not a checkpoint: its metadata lacks %s", path, facts_table[i].key);
		errno = 0;
		*fact_of(facts, i) = strtoll(value, &end, 10);
		if (end == value || *end || errno)
			return lw_fail(LW_E_FORMAT, "%s: %s is \"%s\", a whole number was expected", path, facts_table[i].key, value);
	}
	if (facts->format != LW_CHECKPOINT_FORMAT)
		return lw_fail(LW_E_UNSUPPORTED, "%s: is a checkpoint of format %" PRId64 ", this version reads format %d", path,
			       facts->format, LW_CHECKPOINT_FORMAT);
	sum_of(tensors, computed);
	if (!sum || strcmp(sum, computed) != 0)
		return lw_fail(LW_E_FORMAT, "%s: its content does not fit its checksum", path);
	if (facts->step != step)
		return lw_fail(LW_E_FORMAT, "%s: is the checkpoint of step %" PRId64 " under another name", path, facts->step);
	return LW_OK;
}

lw_status lw_checkpoint_read(lw_tensors **tensors, lw_checkpoint *facts, char **path, const char *directory)
{
	lw_status status;
	int64_t *steps;
	size_t count;

	*tensors = NULL;
	*path = NULL;
	LW_TRY(list_steps(&steps, &count, directory, false));
	status = LW_OK;
	for (size_t i = 0; i < count; i++) {
		LW_GO(path_of(path, directory, steps[i]));
		status = lw_tensors_read(tensors, *path);
		if (status == LW_OK)
			status = read_facts(*tensors, facts, *path, steps[i]);
		if (status != LW_E_FORMAT && status != LW_E_IO)
			goto out;
		lw_log(LW_LOG_WARNING, "%s; taking the checkpoint before it", lw_last_error());
		lw_tensors_destroy(tensors);
		free(*path);
		*path = NULL;
	}
	if (count)
		status = lw_fail(LW_E_FORMAT, "%s: none of its checkpoints (%zu) is complete; the last one tried: %s", directory,
				 count, lw_last_error());
out:
	free(steps);
	if (status != LW_OK) {
		lw_tensors_destroy(tensors);
		free(*path);
		*path = NULL;
	}
	return status;
}

lw_status lw_checkpoint_check(const char *path, const lw_checkpoint *saved, const lw_checkpoint *run)
{
	for (size_t i = 0; i < LW_COUNT(facts_table); i++) {
		int64_t was = fact_value(saved, i), is = fact_value(run, i);

		if (facts_table[i].differs && was != is)
			return lw_fail(LW_E_ARGUMENT, "%s: cannot go on from it: %s was %" PRId64 " and is %" PRId64 " now", path,
				       facts_table[i].differs, was, is);
	}
	if (saved->step > run->total)
		return lw_fail(LW_E_ARGUMENT, "%s: is at step %" PRId64 ", past the %" PRId64 " steps of this run", path, saved->step,
			       run->total);
	if (saved->total != run->total)
		lw_log(LW_LOG_WARNING, "the run has %" PRId64 " steps now, it had %" PRId64 ": schedules follow the new number",
		       run->total, saved->total);
	return LW_OK;
}
