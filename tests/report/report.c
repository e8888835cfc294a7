/* Tables in all formats, numbers for people, progress lines. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"
#include <layerwise/report.h>

static void numbers_are_for_people(void **state)
{
	static const struct {
		const char *(*format)(char buffer[32], double value);
		double value;
		const char *expected;
	} cases[] = {
		{lw_format_bytes, 0, "0 B"},
		{lw_format_bytes, 1023, "1023 B"},
		{lw_format_bytes, 1536, "1.5 KiB"},
		{lw_format_bytes, 1024.0 * 1024 - 1, "1.0 MiB"},
		{lw_format_bytes, 3e12, "2.7 TiB"},
		{lw_format_count, 12, "12"},
		{lw_format_count, 0.5, "0.50"},
		{lw_format_count, 999999, "1.00 M"},
		{lw_format_count, 3.2e9, "3.20 G"},
		{lw_format_duration, 75.3, "1:15"},
		{lw_format_duration, 59.6, "1:00"},
		{lw_format_duration, 3661, "1:01:01"},
		{lw_format_duration, -1, "-"},
		{lw_format_duration, NAN, "-"},
		{lw_format_duration, INFINITY, "-"},
	};
	char buffer[32];

	(void)state;
	for (size_t i = 0; i < LW_COUNT(cases); i++)
		assert_string_equal(cases[i].format(buffer, cases[i].value), cases[i].expected);
}

static char *printed(const lw_table *table, lw_table_format format)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	assert_non_null(stream);
	assert_int_equal(lw_table_print(table, stream, format), LW_OK);
	fclose(stream);
	return text;
}

static void check_printed(const lw_table *table, lw_table_format format, const char *expected)
{
	char *text = printed(table, format);

	assert_string_equal(text, expected);
	free(text);
}

static void tables_are_printed_in_all_formats(void **state)
{
	lw_table *table = NULL;

	(void)state;
	assert_int_equal(lw_table_create(&table, "name,ms>,note"), LW_OK);
	check_printed(table, LW_TABLE_TEXT, "name  ms  note\n");
	check_printed(table, LW_TABLE_JSON, "[]\n");
	assert_int_equal(lw_table_cell(table, "a, \"b\""), LW_OK);
	assert_int_equal(lw_table_cell(table, "%.1f", 12.5), LW_OK);
	assert_int_equal(lw_table_cell(table, "x"), LW_OK);
	assert_int_equal(lw_table_cell(table, "é"), LW_OK);
	assert_int_equal(lw_table_cell(table, "-"), LW_OK);
	check_printed(table, LW_TABLE_TEXT,
		      "name      ms  note\n"
		      "a, \"b\"  12.5  x\n"
		      "é          -  \n");
	check_printed(table, LW_TABLE_MARKDOWN,
		      "| name   |   ms | note |\n"
		      "|--------|-----:|------|\n"
		      "| a, \"b\" | 12.5 | x    |\n"
		      "| é      |    - |      |\n");
	check_printed(table, LW_TABLE_CSV, "name,ms,note\n\"a, \"\"b\"\"\",12.5,x\né,-,\n");
	check_printed(table, LW_TABLE_JSON,
		      "[\n  {\n    \"name\": \"a, \\\"b\\\"\",\n    \"ms\": 12.5,\n    \"note\": \"x\"\n  },\n"
		      "  {\n    \"name\": \"é\",\n    \"ms\": null,\n    \"note\": \"\"\n  }\n]\n");
	lw_table_destroy(&table);
	assert_null(table);
	lw_table_destroy(&table);
}

/* Away from a terminal: the first line at once, then none for some seconds, evaluations and the last step always. */
static void progress_is_a_plain_line_now_and_then(void **state)
{
	lw_train_progress p = {.step = 1, .total = 500, .epoch = 1, .epochs = 4, .loss = 0.43121, .images_per_second = 1530.4, .eta_seconds = 15};
	FILE *stream = tmpfile();
	lw_progress_line line;
	char text[512] = "";

	(void)state;
	assert_non_null(stream);
	lw_progress_begin(&line, stream);
	assert_false(line.terminal);
	lw_progress_update(&line, &p);
	p.step = 2;
	lw_progress_update(&line, &p);
	p.step = 125;
	p.evaluated = true;
	p.accuracy = 0.75;
	p.evaluation_loss = 1.5;
	lw_progress_update(&line, &p);
	p.step = 500;
	p.epoch = 4;
	p.eta_seconds = 0;
	p.evaluated = false;
	lw_progress_update(&line, &p);
	lw_progress_end(&line);
	rewind(stream);
	assert_true(fread(text, 1, sizeof(text) - 1, stream) > 0);
	fclose(stream);
	assert_string_equal(text, "step 1/500  epoch 1/4  loss 0.4312\n"
				  "step 125/500  epoch 1/4  test accuracy 0.7500  test loss 1.5000\n"
				  "step 500/500  epoch 4/4  loss 0.4312  1530 images/s  ETA 0:00\n");
}

static void a_terminals_line_is_rewritten(void **state)
{
	lw_train_progress p = {.step = 1, .total = 2, .loss = 1, .images_per_second = 10, .eta_seconds = 1};
	lw_progress_line line;
	FILE *stream = tmpfile();
	char text[512] = "";

	(void)state;
	lw_progress_begin(&line, stream);
	line.terminal = true;
	lw_progress_update(&line, &p);
	p.step = 2;
	lw_progress_update(&line, &p);
	lw_progress_end(&line);
	rewind(stream);
	assert_true(fread(text, 1, sizeof(text) - 1, stream) > 0);
	fclose(stream);
	assert_string_equal(text, "\r\033[Kstep 1/2  loss 1.0000"
				  "\r\033[Kstep 2/2  loss 1.0000  10 images/s  ETA 0:01\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_for_people),
		cmocka_unit_test(tables_are_printed_in_all_formats),
		cmocka_unit_test(progress_is_a_plain_line_now_and_then),
		cmocka_unit_test(a_terminals_line_is_rewritten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
