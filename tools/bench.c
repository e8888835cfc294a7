/* Rows measured in turn, beside the device's peaks. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIES = 3 };
static const double sample_seconds = 2e-3; /* waiting for a queue costs some 50 us: little beside this */
/* So long a row runs unmeasured before a sample: what caches hold is to be its own, as in run after run of it, not the last row's. */
static const double warm_seconds = 10e-3;

lw_status bench_add(bench *b, bench_row **row)
{
	LW_TRY(lw_grow(&b->rows, &b->row_capacity, b->row_count + 1, sizeof *b->rows));
	*row = &b->rows[b->row_count++];
	**row = (bench_row){.bench = b->request->bench, .inner = 1};
	return LW_OK;
}

lw_status bench_own(bench *b, void *pointer, void (*destroy)(void *pointer))
{
	lw_status status = lw_grow(&b->owned, &b->owned_capacity, b->owned_count + 1, sizeof *b->owned);

	if (status != LW_OK) {
		destroy(pointer);
		return status;
	}
	b->owned[b->owned_count++] = (struct bench_owned){pointer, destroy};
	return LW_OK;
}

lw_status bench_memory(bench *b, void *pointer_to_pointer, size_t bytes)
{
	void *memory;

	LW_TRY(lw_alloc(&memory, bytes, 1));
	LW_TRY(bench_own(b, memory, free));
	memcpy(pointer_to_pointer, &memory, sizeof memory);
	return LW_OK;
}

static void destroy_buffer(void *buf)
{
	lw_buf *b = buf;

	lw_buf_destroy(&b);
}

/* A block of random numbers again and again: making millions of fresh ones takes longer than what is measured. */
static lw_status fill_random(bench *b, lw_buf *buf, size_t floats)
{
	enum { BLOCK = 65536 };
	static float block[BLOCK];

	if (block[0] == 0.0f)
		for (uint64_t i = 0; i < BLOCK; i++)
			block[i] = 2.0f * lw_random_uniform(1, 2, i) - 1.0f;
	for (size_t at = 0; at < floats; at += BLOCK) {
		size_t count = floats - at < BLOCK ? floats - at : BLOCK;
		LW_TRY(lw_queue_write(b->queue, buf, at * sizeof(float), count * sizeof(float), block, NULL));
	}
	return lw_queue_finish(b->queue);
}

lw_status bench_buffer(bench *b, lw_buf **buf, size_t floats, float value)
{
	uint32_t bits;

	LW_TRY(lw_buf_create(buf, b->device, floats * sizeof(float)));
	LW_TRY(bench_own(b, *buf, destroy_buffer));
	if (isnan(value))
		return fill_random(b, *buf, floats);
	memcpy(&bits, &value, sizeof bits);
	LW_TRY(lw_queue_fill(b->queue, *buf, 0, floats * sizeof(float), bits, NULL));
	return lw_queue_finish(b->queue);
}

/* One sample: inner runs and the wait for them. */
static lw_status sample(bench *b, const bench_row *row, int inner, double *seconds)
{
	double began = lw_now();

	for (int i = 0; i < inner; i++)
		LW_TRY(row->run(b, row->state));
	LW_TRY(lw_queue_finish(b->queue));
	*seconds = (lw_now() - began) / inner;
	return LW_OK;
}

lw_status bench_try(bench *b, const bench_row *row, double *seconds)
{
	LW_TRY(sample(b, row, 1, seconds)); /* compiles */
	*seconds = INFINITY;
	for (int i = 0; i < TRIES; i++) {
		double one;
		LW_TRY(sample(b, row, 1, &one));
		*seconds = fmin(*seconds, one);
	}
	return LW_OK;
}

lw_status bench_measure(bench *b)
{
	double total = 0;
	int repeat = b->request->repeat;

	for (size_t i = 0; i < b->row_count; i++) {
		bench_row *row = &b->rows[i];
		double seconds;

		LW_TRY(bench_try(b, row, &seconds));
		row->inner = seconds < sample_seconds ? (int)ceil(sample_seconds / fmax(seconds, 1e-6)) : 1;
		row->warm = row->cold ? 0 : (int)ceil(warm_seconds / fmax(seconds, 1e-6));
		total += seconds * (row->inner + row->warm) * repeat;
		LW_TRY(bench_memory(b, &row->seconds, (size_t)repeat * sizeof *row->seconds));
	}
	lw_kernel_cache_save(b->device);
	lw_log(LW_LOG_INFO, "%zu rows in turn, %d rounds, about %.0f s", b->row_count, repeat, ceil(total));
	for (int round = 0; round < repeat; round++)
		for (size_t i = 0; i < b->row_count; i++) {
			double before;
			if (b->rows[i].warm)
				LW_TRY(sample(b, &b->rows[i], b->rows[i].warm, &before));
			LW_TRY(sample(b, &b->rows[i], b->rows[i].inner, &b->rows[i].seconds[round]));
		}
	return LW_OK;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median_of(const bench_row *row, int repeat)
{
	qsort(row->seconds, (size_t)repeat, sizeof *row->seconds, compare);
	return repeat % 2 ? row->seconds[repeat / 2] : 0.5 * (row->seconds[repeat / 2 - 1] + row->seconds[repeat / 2]);
}

static double minimum_of(const bench_row *row, int repeat)
{
	double minimum = INFINITY;

	for (int i = 0; i < repeat; i++)
		minimum = fmin(minimum, row->seconds[i]);
	return minimum;
}

/* The most memory that this process has had resident, in bytes; 0 where the system does not say. */
static double peak_resident_bytes(void)
{
	FILE *file = fopen("/proc/self/status", "r");
	char line[256];
	double kilobytes = 0;

	while (file && fgets(line, sizeof line, file))
		if (sscanf(line, "VmHWM: %lf", &kilobytes) == 1)
			break;
	if (file)
		fclose(file);
	return 1024 * kilobytes;
}

static lw_status number_or_dash(lw_table *table, const char *format, double number)
{
	char text[48];

	snprintf(text, sizeof text, format, number);
	return lw_table_cell(table, "%s", number > 0 ? text : "-");
}

/* JSON alone tells of memory: the columns of the other formats are what scripts rely on. */
static bool has_memory(const bench *b) { return b->request->format == LW_TABLE_JSON && strcmp(b->request->bench, "step") == 0; }

static lw_status print_row(const bench *b, const bench_row *row, const json_t *earlier, lw_table *table)
{
	int repeat = b->request->repeat;
	const bench_row *best = &b->rows[b->peak_rows[row->peak]];
	/* a peak is the most that was ever seen */
	double peak = fmax(b->peak_rates[row->peak], best->peak_amount / minimum_of(best, repeat)), median = median_of(row, repeat);

	LW_TRY(lw_table_cell(table, "%s", row->bench));
	LW_TRY(lw_table_cell(table, "%s", row->shape));
	LW_TRY(lw_table_cell(table, "%s", row->pass));
	LW_TRY(lw_table_cell(table, "%.4f", 1e3 * median));
	LW_TRY(lw_table_cell(table, "%.4f", 1e3 * minimum_of(row, repeat)));
	LW_TRY(lw_table_cell(table, "%.2f", row->amount / median));
	LW_TRY(lw_table_cell(table, "%s", row->unit));
	LW_TRY(lw_table_cell(table, "%.2f", peak));
	LW_TRY(lw_table_cell(table, "%.4f", row->peak_amount / median / peak));
	LW_TRY(lw_table_cell(table, "%s", row->variant));
	if (earlier)
		LW_TRY(number_or_dash(table, "%.3f", bench_earlier_median(earlier, row) / (1e3 * median)));
	if (has_memory(b)) {
		LW_TRY(number_or_dash(table, "%.0f", row->activation_bytes));
		LW_TRY(number_or_dash(table, "%.0f", row->activation_bytes > 0 ? peak_resident_bytes() : 0));
	}
	return LW_OK;
}

lw_status bench_print(const bench *b, FILE *stream)
{
	json_t *earlier = NULL;
	lw_table *table = NULL;
	char header[160];
	lw_status status;

	snprintf(header, sizeof header, "bench,shape,pass,median_ms>,min_ms>,rate>,unit,peak>,share>,variant%s%s",
		 b->request->compare ? ",ratio>" : "", has_memory(b) ? ",activation_bytes>,peak_resident_bytes>" : "");
	if (b->request->compare)
		LW_GO(bench_read_earlier(b->request->compare, &earlier));
	LW_GO(lw_table_create(&table, header));
	for (size_t i = 0; i < b->row_count; i++)
		LW_GO(print_row(b, &b->rows[i], earlier, table));
	LW_GO(lw_table_print(table, stream, b->request->format));
out:
	lw_table_destroy(&table);
	json_decref(earlier);
	return status;
}
