/* A table of text cells, printed aligned, as Markdown, as CSV or as JSON. */
#include "base/base.h"
#include <layerwise/report.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct lw_table {
	char **columns;
	bool *right;
	size_t column_count;
	char **cells; /* row after row */
	size_t cell_count, cell_capacity;
};

lw_status lw_table_create(lw_table **result, const char *header)
{
	lw_table *table = NULL;
	size_t count = 1;
	lw_status status;

	*result = NULL;
	for (const char *p = header; *p; p++)
		count += *p == ',';
	LW_TRY(lw_alloc(&table, 1, sizeof(*table)));
	LW_GO(lw_alloc(&table->columns, count, sizeof(*table->columns)));
	LW_GO(lw_alloc(&table->right, count, sizeof(*table->right)));
	for (const char *p = header; table->column_count < count; table->column_count++) {
		size_t length = strcspn(p, ","), c = table->column_count;

		table->right[c] = length && p[length - 1] == '>';
		LW_GO(lw_format_string(&table->columns[c], "%.*s", (int)(length - table->right[c]), p));
		p += length + 1;
	}
	*result = table;
	return LW_OK;
out:
	lw_table_destroy(&table);
	return status;
}

void lw_table_destroy(lw_table **table)
{
	lw_table *t = *table;

	if (!t)
		return;
	for (size_t i = 0; i < t->column_count; i++)
		free(t->columns[i]);
	for (size_t i = 0; i < t->cell_count; i++)
		free(t->cells[i]);
	free(t->columns);
	free(t->right);
	free(t->cells);
	free(t);
	*table = NULL;
}

lw_status lw_table_cell(lw_table *table, const char *format, ...)
{
	va_list arguments;
	char *text = NULL;
	int length;

	LW_TRY(lw_grow(&table->cells, &table->cell_capacity, table->cell_count + 1, sizeof(*table->cells)));
	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return lw_fail(LW_E_MEMORY, "out of memory for a cell of a table");
	table->cells[table->cell_count++] = text;
	return LW_OK;
}

/* The cell, "" where the last row is not full. */
static const char *cell_at(const lw_table *table, size_t row, size_t column)
{
	size_t index = row * table->column_count + column;

	return index < table->cell_count ? table->cells[index] : "";
}

static size_t row_count(const lw_table *table)
{
	return (table->cell_count + table->column_count - 1) / table->column_count;
}

/* Characters of UTF-8 text: all bytes but those that continue one. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static size_t column_width(const lw_table *table, size_t column)
{
	size_t width = text_width(table->columns[column]);

	for (size_t row = 0; row < row_count(table); row++) {
		size_t cell = text_width(cell_at(table, row, column));
		width = cell > width ? cell : width;
	}
	return width;
}

static void print_padded(FILE *stream, const char *text, size_t width, bool right)
{
	int padding = (int)(width - text_width(text));

	fprintf(stream, "%*s%s%*s", right ? padding : 0, "", text, right ? 0 : padding, "");
}

/* One aligned row; row -1 is the header. Blanks at a line's end are left out of plain text. */
static void print_row(const lw_table *table, const size_t *widths, long row, FILE *stream, bool markdown)
{
	fputs(markdown ? "| " : "", stream);
	for (size_t c = 0; c < table->column_count; c++) {
		const char *text = row < 0 ? table->columns[c] : cell_at(table, (size_t)row, c);
		bool last = c + 1 == table->column_count;

		print_padded(stream, text, last && !markdown && !table->right[c] ? text_width(text) : widths[c], table->right[c]);
		fputs(last ? markdown ? " |\n" : "\n" : markdown ? " | " : "  ", stream);
	}
}

static lw_status print_aligned(const lw_table *table, FILE *stream, bool markdown)
{
	size_t *widths = NULL;

	LW_TRY(lw_alloc(&widths, table->column_count, sizeof(*widths)));
	for (size_t c = 0; c < table->column_count; c++) {
		widths[c] = column_width(table, c);
		if (markdown && widths[c] < 3)
			widths[c] = 3;
	}
	print_row(table, widths, -1, stream, markdown);
	for (size_t c = 0; markdown && c < table->column_count; c++) {
		fputc('|', stream);
		for (size_t i = 0; i < widths[c] + 1; i++)
			fputc('-', stream);
		fputc(table->right[c] ? ':' : '-', stream);
	}
	fputs(markdown ? "|\n" : "", stream);
	for (size_t row = 0; row < row_count(table); row++)
		print_row(table, widths, (long)row, stream, markdown);
	free(widths);
	return LW_OK;
}

/* RFC 4180: a field with a comma, a quote or a line end stands in quotes, its quotes doubled. */
static void print_csv_field(FILE *stream, const char *text)
{
	if (!strpbrk(text, ",\"\r\n")) {
		fputs(text, stream);
		return;
	}
	fputc('"', stream);
	for (; *text; text++) {
		if (*text == '"')
			fputc('"', stream);
		fputc(*text, stream);
	}
	fputc('"', stream);
}

static void print_csv(const lw_table *table, FILE *stream)
{
	size_t rows = row_count(table);

	for (size_t row = 0; row <= rows; row++) {
		for (size_t c = 0; c < table->column_count; c++) {
			fputs(c ? "," : "", stream);
			print_csv_field(stream, row ? cell_at(table, row - 1, c) : table->columns[c]);
		}
		fputs("\n", stream);
	}
}

/* A column that is aligned right holds numbers; what is none there (a dash) becomes null. */
static json_t *json_cell(const char *text, bool number)
{
	json_t *value;

	if (!number)
		return json_string(text);
	value = json_loads(text, JSON_DECODE_ANY, NULL);
	if (json_is_number(value))
		return value;
	json_decref(value);
	return json_null();
}

static lw_status print_json(const lw_table *table, FILE *stream)
{
	json_t *list = json_array();
	int failed = !list;

	for (size_t row = 0; row < row_count(table) && !failed; row++) {
		json_t *object = json_object();

		for (size_t c = 0; c < table->column_count && !failed; c++)
			failed = json_object_set_new(object, table->columns[c], json_cell(cell_at(table, row, c), table->right[c]));
		failed |= json_array_append_new(list, object);
	}
	if (!failed) {
		failed = json_dumpf(list, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
		fputc('\n', stream);
	}
	json_decref(list);
	return failed ? lw_fail(LW_E_MEMORY, "a table could not be written as JSON") : LW_OK;
}

lw_status lw_table_print(const lw_table *table, FILE *stream, lw_table_format format)
{
	switch (format) {
	case LW_TABLE_TEXT: LW_TRY(print_aligned(table, stream, false)); break;
	case LW_TABLE_MARKDOWN: LW_TRY(print_aligned(table, stream, true)); break;
	case LW_TABLE_CSV: print_csv(table, stream); break;
	case LW_TABLE_JSON: LW_TRY(print_json(table, stream)); break;
	}
	if (ferror(stream))
		return lw_fail(LW_E_IO, "a table could not be written");
	return LW_OK;
}
