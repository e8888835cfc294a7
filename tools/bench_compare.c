/* An earlier run's table, saved as CSV or JSON: its medians, to set beside this run's. */
#include "bench.h"

#include "base/base.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One field of CSV (RFC 4180), unquoted in place; *text goes on behind it. false at the end of a line, which is passed. */
static bool next_field(char **text, char **field)
{
	char *from = *text, *to = *text;
	bool quoted = *from == '"', last;

	*field = to;
	from += quoted;
	for (; *from; from++) {
		if (quoted && *from == '"' && *++from != '"')
			quoted = false;
		if (!*from || (!quoted && (*from == ',' || *from == '\n')))
			break;
		if (*from != '\r')
			*to++ = *from;
	}
	last = *from != ',';
	*text = *from ? from + 1 : from;
	*to = '\0';
	return !last;
}

/* A line as an object: keys are the header's fields; NULL where there is no memory. */
static json_t *read_line(char **text, const json_t *header)
{
	json_t *row = json_object();
	bool more = true;

	for (size_t i = 0; more && row; i++) {
		const char *key = json_string_value(json_array_get(header, i));
		char *field;

		more = next_field(text, &field);
		if (key && json_object_set_new(row, key, json_string(field)) != 0) {
			json_decref(row);
			row = NULL;
		}
	}
	return row;
}

/* A list of objects, one a line; NULL where there is no memory or it is not text. */
static json_t *read_csv(char *text)
{
	json_t *header = json_array(), *rows = json_array();
	bool more = true, failed = false;

	while (more) {
		char *field;

		more = next_field(&text, &field);
		failed |= json_array_append_new(header, json_string(field)) != 0;
	}
	while (*text && !failed)
		failed |= json_array_append_new(rows, read_line(&text, header)) != 0;
	json_decref(header);
	if (!failed)
		return rows;
	json_decref(rows);
	return NULL;
}

lw_status bench_read_earlier(const char *path, json_t **rows)
{
	void *data = NULL;
	char *text = NULL;
	size_t size = 0, start;
	lw_status status;

	*rows = NULL;
	LW_GO(lw_file_read(path, &data, &size));
	LW_GO(lw_format_string(&text, "%.*s", (int)(size < INT32_MAX ? size : INT32_MAX), (const char *)data));
	start = strspn(text, " \t\r\n");
	*rows = text[start] == '[' ? json_loads(text, 0, NULL) : read_csv(text);
	if (!json_is_array(*rows) || !json_object_get(json_array_get(*rows, 0), "median_ms")) {
		json_decref(*rows);
		*rows = NULL;
		status = lw_fail(LW_E_FORMAT, "%s: the table of an earlier bench was expected, saved with --format csv or json", path);
	}
out:
	free(text);
	free(data);
	return status;
}

static bool same(const json_t *row, const char *key, const char *text)
{
	const char *found = json_string_value(json_object_get(row, key));

	return found && strcmp(found, text) == 0;
}

static double median_of(const json_t *row)
{
	const json_t *median = json_object_get(row, "median_ms");
	const char *text = json_string_value(median);

	return text ? strtod(text, NULL) : json_is_number(median) ? json_number_value(median) : NAN;
}

double bench_earlier_median(const json_t *rows, const bench_row *row)
{
	const json_t *earlier;
	double median = NAN;
	size_t i;

	for (i = 0; i < json_array_size(rows); i++) {
		earlier = json_array_get(rows, i);
		if (!same(earlier, "bench", row->bench) || !same(earlier, "shape", row->shape) || !same(earlier, "pass", row->pass))
			continue;
		if (same(earlier, "variant", row->variant))
			return median_of(earlier);
		if (isnan(median))
			median = median_of(earlier);
	}
	return median;
}
