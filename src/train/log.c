/* The log of steps: one JSON object a line, as recipe scripts read it. */
#include "train/train.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct lw_step_log {
	FILE *stream;
	char *path;
};

static bool starts_with(const char *text, const char *prefix, const char **rest)
{
	size_t length = strlen(prefix);

	*rest = text + length;
	return strncmp(text, prefix, length) == 0;
}

/* What we did not write stays. */
static bool line_stays(const char *line, int64_t from, int64_t evaluated)
{
	const char *number;

	if (starts_with(line, "{\"step\":", &number))
		return strtoll(number, NULL, 10) <= from;
	if (starts_with(line, "{\"eval\":{\"step\":", &number))
		return strtoll(number, NULL, 10) <= evaluated;
	return true;
}

/* Rewrites the log without the lines that come again, and without a last line that was cut off. */
static lw_status drop_lines(const char *path, int64_t from, int64_t evaluated)
{
	lw_file *file = NULL;
	lw_status status;
	char *text, *line, *end;
	void *data;
	size_t size;

	LW_TRY(lw_file_read(path, &data, &size));
	text = data;
	LW_GO(lw_file_begin_output(&file, path, 0644));
	for (line = text; (end = memchr(line, '\n', size - (size_t)(line - text))); line = end + 1)
		if (line_stays(line, from, evaluated))
			LW_GO(lw_file_write(file, line, (size_t)(end + 1 - line)));
	LW_GO(lw_file_commit(&file));
out:
	lw_file_abandon(&file);
	free(text);
	return status;
}

lw_status lw_step_log_open(lw_step_log **log, const char *path, int64_t from, int64_t evaluated)
{
	struct stat info;
	lw_step_log *l;
	lw_status status;

	*log = NULL;
	LW_TRY(lw_alloc(&l, 1, sizeof *l));
	LW_GO(lw_copy_string(&l->path, path));
	if (from > 0 && stat(path, &info) == 0 && S_ISREG(info.st_mode)) /* a device or a pipe holds no lines */
		LW_GO(drop_lines(path, from, evaluated));
	l->stream = fopen(path, from > 0 ? "a" : "w");
	if (!l->stream) {
		status = lw_fail(LW_E_IO, "%s: cannot be written: %s", path, strerror(errno));
		goto out;
	}
	*log = l;
	return LW_OK;
out:
	lw_step_log_close(&l);
	return status;
}

void lw_step_log_close(lw_step_log **log)
{
	if (!*log)
		return;
	if ((*log)->stream)
		fclose((*log)->stream);
	free((*log)->path);
	free(*log);
	*log = NULL;
}

/* JSON has no NaN and no infinity. */
static void print_number(FILE *stream, double value)
{
	if (isfinite(value))
		fprintf(stream, "%.9g", value);
	else
		fputs("null", stream);
}

static void print_string(FILE *stream, const char *text)
{
	fputc('"', stream);
	for (const char *p = text; *p; p++) {
		if (*p == '"' || *p == '\\')
			fprintf(stream, "\\%c", *p);
		else if ((unsigned char)*p < 0x20)
			fprintf(stream, "\\u%04x", (unsigned char)*p);
		else
			fputc(*p, stream);
	}
	fputc('"', stream);
}

static lw_status end_line(lw_step_log *log)
{
	fputc('\n', log->stream);
	if (fflush(log->stream) != 0 || ferror(log->stream))
		return lw_fail(LW_E_IO, "%s: cannot be written: %s", log->path, strerror(errno));
	return LW_OK;
}

lw_status lw_step_log_step(lw_step_log *log, const lw_plan *plan, int64_t step, const lw_step_result *result)
{
	lw_plan_info info;

	if (!log)
		return LW_OK;
	LW_TRY(lw_plan_get_info(plan, &info));
	fprintf(log->stream, "{\"step\":%" PRId64 ",\"loss\":", step);
	print_number(log->stream, result->loss);
	fputs(",\"lr\":{", log->stream);
	for (size_t i = 0; i < info.group_count; i++) {
		lw_plan_group_info group;

		LW_TRY(lw_plan_get_group(plan, i, &group));
		fputs(i ? "," : "", log->stream);
		print_string(log->stream, group.name);
		fputc(':', log->stream);
		print_number(log->stream, lw_plan_learning_rate(plan, i, step));
	}
	fputs("},\"gradient_norm\":", log->stream);
	print_number(log->stream, result->gradient_norm);
	if (!result->finite) {
		fputs(",\"not_finite\":", log->stream);
		print_string(log->stream, result->bad_tensor ? result->bad_tensor : "loss");
	}
	fputc('}', log->stream);
	return end_line(log);
}

lw_status lw_step_log_evaluation(lw_step_log *log, int64_t step, double accuracy, double loss)
{
	if (!log)
		return LW_OK;
	fprintf(log->stream, "{\"eval\":{\"step\":%" PRId64 ",\"accuracy\":", step);
	print_number(log->stream, accuracy);
	fputs(",\"loss\":", log->stream);
	print_number(log->stream, loss);
	fputs("}}", log->stream);
	return end_line(log);
}
