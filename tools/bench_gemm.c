/* C = A * B in float, by shape M, N, K. */
#include "bench.h"

#include <math.h>

/* Forms of the product: as it is, and a linear layer's forward and backward of the weight, with an image in each part. */
typedef enum form { PLAIN, FORWARD, WEIGHT } form;
static const char *const form_names[] = {"C=AB", "C=AB'", "C=A'B"};

/* Squares, and what linear layers and 1x1 convolutions ask for. */
static const struct {
	int shape[3];
	form form;
} defaults[] = {{{512, 512, 512}, PLAIN},      {{1024, 1024, 1024}, PLAIN},  {{2048, 2048, 2048}, PLAIN}, {{64, 10, 2048}, PLAIN},
		{{64, 500, 800}, PLAIN},       {{16, 9216, 4096}, PLAIN},    {{64, 576, 25088}, PLAIN},   {{16, 4096, 1000}, PLAIN},
		{{16, 4096, 9216}, FORWARD},   {{16, 4096, 4096}, FORWARD},  {{16, 1000, 4096}, FORWARD}, {{4096, 9216, 16}, WEIGHT}};

typedef struct product {
	lw_gemm gemm;
	lw_op_context context;
	lw_choice choice;
} product;

static lw_status run(bench *b, void *state)
{
	product *p = state;

	(void)b;
	return lw_gemm_run(&p->context, &p->gemm, &p->choice);
}

static lw_status make_workspace(bench *b, product *p)
{
	const size_t bytes = lw_gemm_workspace(&p->context, &p->gemm, &p->choice);

	return bytes ? bench_buffer(b, &p->gemm.workspace, (bytes + 3) / sizeof(float), 0) : LW_OK;
}

/* As for convolutions: with tuning the fastest; the simple one, the last, only where there is no other. */
static lw_status choose(bench *b, const bench_row *row, product *p)
{
	lw_choice list[LW_MAX_CHOICES], best;
	double least = INFINITY, seconds;
	const int count = lw_gemm_choices(&p->context, &p->gemm, list);

	best = list[0];
	for (int i = 0; b->request->tune && i < count && (i == 0 || i < count - 1); i++) {
		p->choice = list[i];
		LW_TRY(make_workspace(b, p));
		LW_TRY(bench_try(b, row, &seconds));
		if (seconds < least) {
			least = seconds;
			best = list[i];
		}
	}
	p->choice = best;
	return make_workspace(b, p);
}

/* choice: NULL, the one that training takes or the fastest. */
static lw_status add_row(bench *b, const lw_gemm *gemm, form as, const lw_choice *choice)
{
	bench_row *row;
	product *p;

	LW_TRY(bench_memory(b, &p, sizeof *p));
	*p = (product){.gemm = *gemm, .context = b->context};
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->state = p;
	row->unit = "GFLOP/s";
	row->peak = BENCH_FMA;
	row->amount = row->peak_amount = 2e-9 * gemm->m * gemm->n * gemm->k;
	snprintf(row->shape, sizeof row->shape, "%dx%dx%d", gemm->m, gemm->n, gemm->k);
	snprintf(row->pass, sizeof row->pass, "%s", form_names[as]);
	if (choice) {
		p->choice = *choice;
		LW_TRY(make_workspace(b, p));
	} else {
		LW_TRY(choose(b, row, p));
	}
	snprintf(row->variant, sizeof row->variant, "%s", p->choice.name);
	return LW_OK;
}

static lw_status add(bench *b, const int *shape, form as)
{
	const int m = shape[0], n = shape[1], k = shape[2];
	lw_choice list[LW_MAX_CHOICES];
	lw_gemm gemm;
	int count;

	gemm = (lw_gemm){.m = m, .n = n, .k = k, .lda = k, .ldb = n, .ldc = n, .parts = 1};
	if (as == FORWARD) {
		gemm.transpose_b = true;
		gemm.ldb = k;
	} else if (as == WEIGHT) {
		gemm.transpose_a = true;
		gemm.lda = m;
		gemm.parts = lw_batch_parts(k);
	}
	LW_TRY(bench_buffer(b, &gemm.a, (size_t)m * (size_t)k, NAN));
	LW_TRY(bench_buffer(b, &gemm.b, (size_t)k * (size_t)n, NAN));
	LW_TRY(bench_buffer(b, &gemm.c, (size_t)m * (size_t)n, 0));
	if (!b->request->variants)
		return add_row(b, &gemm, as, NULL);
	count = lw_gemm_choices(&b->context, &gemm, list);
	for (int i = 0; i < count; i++) /* the simple one, the last, takes seconds */
		if (count == 1 || i < count - 1)
			LW_TRY(add_row(b, &gemm, as, &list[i]));
	return LW_OK;
}

lw_status bench_gemm_rows(bench *b)
{
	int count = b->request->shape_count ? b->request->shape_count : (int)LW_COUNT(defaults);

	for (int i = 0; i < count; i++)
		LW_TRY(b->request->shape_count ? add(b, b->request->shapes[i], PLAIN)
					       : add(b, defaults[i].shape, defaults[i].form));
	return LW_OK;
}
