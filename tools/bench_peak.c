/* The device's peaks: fused multiply-adds, copying memory, and the triad a + s * b. */
#include "bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FMA_CHAINS = 10, CPU_RUN_FLOATS = 16384 };
static const double fma_seconds = 3e-3;

typedef struct peak {
	bench_peak kind;
	int width, rounds;
	bool stream;
	size_t items, floats;
	lw_buf *a, *b, *to;
} peak;

static const int widths[] = {1, 4, 8, 16};
enum { STREAM_WIDTH = 16 }; /* a cache line */

static bool is_cpu(const bench *b) { return lw_device_get_info(b->device)->type == LW_DEVICE_CPU; }

static lw_status run(bench *b, void *state)
{
	static const char *const functions[] = {"bench_fma", "bench_copy", "bench_triad"};
	const peak *p = state;
	lw_variant variant = {.source = "bench", .function = functions[p->kind]};
	lw_launch launch;

	lw_variant_option(&variant, "VECTOR", p->width);
	lw_variant_option(&variant, "STREAM", p->stream);
	LW_TRY(lw_launch_begin(&launch, b->device, &variant));
	if (p->kind != BENCH_FMA)
		lw_arg_buf(&launch, p->a);
	if (p->kind == BENCH_TRIAD)
		lw_arg_buf(&launch, p->b);
	lw_arg_buf(&launch, p->to);
	lw_arg_int(&launch, p->kind == BENCH_FMA ? p->rounds : (int)(p->floats / p->items) / p->width);
	if (p->kind == BENCH_FMA)
		lw_arg_float(&launch, 0.999f);
	if (p->kind != BENCH_COPY)
		lw_arg_float(&launch, 0.001f);
	/* vectors want a CPU's work-group to be one item; scalars are the compiler's to put together */
	lw_launch_1d(&launch, p->items, is_cpu(b) && p->width > 1 ? 1 : 0);
	return lw_queue_launch(b->queue, &launch, NULL);
}

/* So many rounds that a run takes long enough. */
static lw_status choose_rounds(bench *b, const bench_row *row, peak *p)
{
	double seconds;

	for (p->rounds = 256; p->rounds < 1 << 24; p->rounds *= 2) {
		LW_TRY(bench_try(b, row, &seconds));
		if (seconds >= fma_seconds)
			break;
	}
	return LW_OK;
}

static lw_status add_fma(bench *b, int width)
{
	const lw_device_info *info = lw_device_get_info(b->device);
	bench_row *row;
	peak *p;

	LW_TRY(bench_memory(b, &p, sizeof *p));
	*p = (peak){.kind = BENCH_FMA, .width = width};
	p->items = is_cpu(b) && width > 1 ? 8 * (size_t)info->compute_units : 2048 * (size_t)info->compute_units;
	LW_TRY(bench_buffer(b, &p->to, p->items * (size_t)width, 0));
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->state = p;
	LW_TRY(choose_rounds(b, row, p));
	row->bench = "peak";
	row->unit = "GFLOP/s";
	row->peak = BENCH_FMA;
	row->amount = row->peak_amount = 2e-9 * FMA_CHAINS * width * (double)p->items * p->rounds;
	snprintf(row->shape, sizeof row->shape, "%zux%d", p->items, p->rounds);
	snprintf(row->pass, sizeof row->pass, "fma");
	snprintf(row->variant, sizeof row->variant, "float%d, %d chains", width, FMA_CHAINS);
	return LW_OK;
}

static lw_status add_memory(bench *b, bench_peak kind, int width, bool stream, const peak *buffers)
{
	bench_row *row;
	peak *p;

	LW_TRY(bench_memory(b, &p, sizeof *p));
	*p = *buffers;
	p->kind = kind;
	p->width = width;
	p->stream = stream;
	p->items = p->floats / (is_cpu(b) ? CPU_RUN_FLOATS : (size_t)width);
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->cold = true;
	row->state = p;
	row->bench = "peak";
	row->unit = "GB/s";
	row->peak = kind;
	row->amount = row->peak_amount = 1e-9 * sizeof(float) * (kind == BENCH_COPY ? 2 : 3) * (double)p->floats;
	snprintf(row->shape, sizeof row->shape, "%zu", p->floats);
	snprintf(row->pass, sizeof row->pass, kind == BENCH_COPY ? "copy" : "triad");
	snprintf(row->variant, sizeof row->variant, "float%d%s", width, stream ? ", around the caches" : "");
	return LW_OK;
}

/* Of a buffer: more than the caches hold, so that nothing is read from them. A device that emulates fma() never waits for memory. */
static size_t memory_floats(const bench *b)
{
	const lw_device_info *info = lw_device_get_info(b->device);
	size_t floats = 1 << 24;

#ifdef _SC_LEVEL3_CACHE_SIZE
	const long cached = sysconf(_SC_LEVEL3_CACHE_SIZE) / (long)sizeof(float);

	if (is_cpu(b) && info->fast_fma && cached > (long)floats)
		floats = lw_round_up((size_t)cached, CPU_RUN_FLOATS);
#endif
	while (floats * sizeof(float) > info->max_allocation / 2 && floats > CPU_RUN_FLOATS)
		floats = lw_round_up(floats / 2, CPU_RUN_FLOATS);
	return floats;
}

static lw_status add_memory_rows(bench *b)
{
	peak buffers = {.floats = memory_floats(b)};

	LW_TRY(bench_buffer(b, &buffers.a, buffers.floats, 1.0f));
	LW_TRY(bench_buffer(b, &buffers.b, buffers.floats, 2.0f));
	LW_TRY(bench_buffer(b, &buffers.to, buffers.floats, 0.0f));
	for (bench_peak kind = BENCH_COPY; kind <= BENCH_TRIAD; kind++) {
		for (size_t i = 0; i < LW_COUNT(widths); i++)
			LW_TRY(add_memory(b, kind, widths[i], false, &buffers));
		if (is_cpu(b))
			LW_TRY(add_memory(b, kind, STREAM_WIDTH, true, &buffers));
	}
	return LW_OK;
}

/* Where others are measured, too. */
static void say_device(const bench *b, bench_row *row)
{
	const size_t length = strlen(row->variant);

	snprintf(row->variant + length, sizeof row->variant - length, ", of %s alone", lw_device_label(b->device));
}

lw_status bench_peak_rows(bench *b, bool all)
{
	bench_row kept[BENCH_PEAK_COUNT];

	/* a step is measured against multiply-adds, and the process's peak memory is to be its own */
	const int peaks = strcmp(b->request->bench, "step") == 0 ? 1 : BENCH_PEAK_COUNT;

	for (size_t i = 0; i < LW_COUNT(widths); i++)
		LW_TRY(add_fma(b, widths[i]));
	if (peaks > BENCH_COPY)
		LW_TRY(add_memory_rows(b));
	for (size_t i = 0; i < b->row_count; i++) {
		const bench_row *row = &b->rows[i];
		double seconds;

		LW_TRY(bench_try(b, row, &seconds));
		if (row->peak_amount / seconds > b->peak_rates[row->peak]) {
			b->peak_rates[row->peak] = row->peak_amount / seconds;
			b->peak_rows[row->peak] = i;
		}
	}
	if (all)
		return LW_OK;
	for (int k = 0; k < peaks; k++) {
		kept[k] = b->rows[b->peak_rows[k]];
		if (b->request->set_count || b->device_count > 1)
			say_device(b, &kept[k]);
	}
	for (b->row_count = 0; b->row_count < (size_t)peaks; b->row_count++) {
		b->rows[b->row_count] = kept[b->row_count];
		b->peak_rows[b->row_count] = b->row_count;
	}
	return LW_OK;
}
