/* C = A * B in float, by shape M, N, K. */
#include "bench.h"

#include <math.h>

/* Squares, and what linear layers and 1x1 convolutions ask for. */
static const int default_shapes[][3] = {{512, 512, 512},   {1024, 1024, 1024}, {2048, 2048, 2048}, {64, 10, 2048},
					{64, 500, 800},    {16, 4096, 9216},   {6272, 128, 1152},  {25088, 64, 256}};

typedef struct product {
	lw_gemm gemm;
	lw_op_context context;
} product;

static lw_status run(bench *b, void *state)
{
	product *p = state;

	(void)b;
	return lw_gemm_run(&p->context, &p->gemm);
}

/* As for convolutions: the fastest that applies, the simple one only where there is no other. */
static lw_status choose_variant(bench *b, bench_row *row, product *p)
{
	double best = INFINITY, seconds;
	int chosen = -1;

	snprintf(row->variant, sizeof row->variant, "as in training");
	if (!b->request->tune)
		return LW_OK;
	for (int v = lw_gemm_variant_count() - 1; v >= 0; v--) {
		if (!lw_gemm_variant_applies(&p->context, &p->gemm, v) || (v == 0 && chosen > 0))
			continue;
		p->context.force_variant = v;
		LW_TRY(bench_try(b, row, &seconds));
		if (seconds < best) {
			best = seconds;
			chosen = v;
		}
	}
	p->context.force_variant = chosen;
	if (chosen >= 0)
		snprintf(row->variant, sizeof row->variant, "%s", lw_gemm_variant_name(chosen));
	return LW_OK;
}

static lw_status add(bench *b, const int *shape)
{
	const int m = shape[0], n = shape[1], k = shape[2];
	bench_row *row;
	product *p;
	size_t workspace;

	LW_TRY(bench_memory(b, &p, sizeof *p));
	p->context = b->context;
	p->gemm = (lw_gemm){.m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n, .parts = 1};
	LW_TRY(bench_buffer(b, &p->gemm.a, (size_t)m * (size_t)k, NAN));
	LW_TRY(bench_buffer(b, &p->gemm.b, (size_t)k * (size_t)n, NAN));
	LW_TRY(bench_buffer(b, &p->gemm.c, (size_t)m * (size_t)n, 0));
	workspace = lw_gemm_workspace(&p->gemm);
	if (workspace)
		LW_TRY(bench_buffer(b, &p->gemm.workspace, (workspace + 3) / sizeof(float), 0));
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->state = p;
	row->unit = "GFLOP/s";
	row->peak = BENCH_FMA;
	row->amount = row->peak_amount = 2e-9 * m * n * k;
	snprintf(row->shape, sizeof row->shape, "%dx%dx%d", m, n, k);
	snprintf(row->pass, sizeof row->pass, "C=AB");
	return choose_variant(b, row, p);
}

lw_status bench_gemm_rows(bench *b)
{
	int count = b->request->shape_count ? b->request->shape_count : (int)LW_COUNT(default_shapes);

	for (int i = 0; i < count; i++)
		LW_TRY(add(b, b->request->shape_count ? b->request->shapes[i] : default_shapes[i]));
	return LW_OK;
}
