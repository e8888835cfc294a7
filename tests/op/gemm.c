/* gemm: every transposition, leading dimensions beyond the rows, parts, bias, tails; bits against fmaf. */
#include "op/runner.h"

#include <math.h>
#include <stdlib.h>

typedef struct gemm_case {
	const char *name;
	int m, n, k, parts;
	bool bias, large;
} gemm_case;

static const gemm_case cases[] = {
	{"one", 1, 1, 1, 1, true, false},      {"row", 1, 17, 5, 1, false, false},   {"column", 19, 1, 4, 1, true, false},
	{"primes", 13, 37, 29, 1, true, false}, {"outer", 31, 33, 1, 1, false, false}, {"parts", 15, 35, 17, 16, true, false},
	{"two parts", 9, 5, 7, 2, false, false}, {"deep", 29, 45, 700, 1, true, true}, {"wide", 70, 530, 100, 1, false, true},
	{"tall", 517, 40, 64, 1, true, true},   {"many parts", 100, 90, 300, 16, false, true},
};

static float expected_element(const lw_gemm *g, const float *a, const float *b, const float *bias, int row, int column)
{
	float total = 0;

	for (int part = 0; part < g->parts; part++) {
		float sum = 0;
		for (int i = g->k * part / g->parts; i < g->k * (part + 1) / g->parts; i++)
			sum = fmaf(g->transpose_a ? a[i * g->lda + row] : a[row * g->lda + i],
				   g->transpose_b ? b[column * g->ldb + i] : b[i * g->ldb + column], sum);
		total = part ? total + sum : sum;
	}
	return (bias ? total + bias[column] : total) + 0.0f;
}

/* What lies between the rows of C must stay: it starts with the poison that the expectation holds too. */
static void expect(const lw_gemm *g, const float *a, const float *b, const float *bias, float *c)
{
	for (int row = 0; row < g->m; row++)
		for (int column = 0; column < g->n; column++)
			c[row * g->ldc + column] = expected_element(g, a, b, bias, row, column);
}

static bool gaps_untouched(const lw_gemm *g, const float *c)
{
	const uint32_t *words = (const uint32_t *)(const void *)c;

	for (int row = 0; row < g->m - 1; row++)
		for (int column = g->n; column < g->ldc; column++)
			if (words[row * g->ldc + column] != LW_TEST_POISON)
				return false;
	return true;
}

enum { A, B, C, BIAS, WORKSPACE, BUFFERS };

static void compare(lw_test_run *run, const gemm_case *test, const lw_gemm *g, const char *variant, const float *got,
		    const float *expected)
{
	char where[128];
	bool same = true;

	snprintf(where, sizeof where, "%s, %s, A%s B%s", test->name, variant, g->transpose_a ? " transposed" : "",
		 g->transpose_b ? " transposed" : "");
	for (int row = 0; row < g->m && same; row++)
		same = lw_test_bits(run, where, got + row * g->ldc, expected + row * g->ldc, (size_t)g->n);
	if (!gaps_untouched(g, got))
		lw_test_fail(run, "%s: wrote between the rows of C", where);
}

static lw_status check_case(lw_test_run *run, const gemm_case *test, bool transpose_a, bool transpose_b, bool exact)
{
	const int forced = run->context.force_variant;
	lw_gemm g = {.transpose_a = transpose_a, .transpose_b = transpose_b, .m = test->m, .n = test->n, .k = test->k,
		     .parts = test->parts};
	lw_test_buf bufs[BUFFERS] = {0};
	size_t counts[BUFFERS] = {0};
	float *data[BUFFERS] = {0}, *expected = NULL;
	lw_status status = LW_OK;

	g.lda = (transpose_a ? g.m : g.k) + 3;
	g.ldb = (transpose_b ? g.k : g.n) + 1;
	g.ldc = g.n + 2;
	/* the last row has no gap behind it */
	counts[A] = (size_t)g.lda * (size_t)(transpose_a ? g.k : g.m) - 3;
	counts[B] = (size_t)g.ldb * (size_t)(transpose_b ? g.n : g.k) - 1;
	counts[C] = (size_t)g.ldc * (size_t)g.m - 2;
	counts[BIAS] = test->bias ? (size_t)g.n : 0;
	counts[WORKSPACE] = lw_gemm_workspace(&g) / sizeof(float);
	expected = calloc(counts[C] + 2, sizeof(float));
	for (int i = 0; i < BUFFERS; i++)
		if (!(data[i] = calloc(counts[i] + 2, sizeof(float))) || !expected) {
			status = lw_fail(LW_E_MEMORY, "no memory for a test of gemm");
			goto out;
		}
	lw_test_fill(data[A], counts[A], LW_VALUES_RANDOM, 1, 1);
	lw_test_fill(data[B], counts[B], LW_VALUES_RANDOM, 1, 2);
	lw_test_fill(data[BIAS], counts[BIAS], LW_VALUES_RANDOM, 1, 3);
	expect(&g, data[A], data[B], test->bias ? data[BIAS] : NULL, expected);
	for (int variant = 0; variant < lw_gemm_variant_count(); variant++) {
		bool intact = true;
		if ((forced >= 0 && variant != forced) || !lw_gemm_variant_applies(&run->context, &g, variant))
			continue;
		for (int i = 0; i < BUFFERS; i++) {
			lw_test_buf_destroy(&bufs[i]);
			LW_GO(lw_test_buf_create(run, &bufs[i], counts[i] * sizeof(float), exact,
						 i == C || i == WORKSPACE ? NULL : data[i]));
		}
		g.a = bufs[A].buf;
		g.b = bufs[B].buf;
		g.c = bufs[C].buf;
		g.bias = bufs[BIAS].buf;
		g.workspace = bufs[WORKSPACE].buf;
		run->context.force_variant = variant;
		status = lw_gemm_run(&run->context, &g);
		run->context.force_variant = forced;
		if (status != LW_OK)
			goto out;
		LW_GO(lw_test_buf_read(run, &bufs[C], data[C]));
		compare(run, test, &g, lw_gemm_variant_name(variant), data[C], expected);
		for (int i = 0; i < BUFFERS && intact; i++)
			LW_GO(lw_test_buf_intact(run, &bufs[i], &intact));
		if (!intact)
			lw_test_fail(run, "%s, %s: wrote beside a buffer", test->name, lw_gemm_variant_name(variant));
	}
out:
	for (int i = 0; i < BUFFERS; i++) {
		lw_test_buf_destroy(&bufs[i]);
		free(data[i]);
	}
	free(expected);
	return status;
}

static lw_status check_gemm(lw_test_run *run)
{
	for (size_t i = 0; i < LW_COUNT(cases); i++)
		for (int form = 0; form < 4; form++)
			if (!run->quick || !cases[i].large) {
				LW_TRY(check_case(run, &cases[i], form & 1, form & 2, false));
				LW_TRY(check_case(run, &cases[i], form & 1, form & 2, true));
			}
	return LW_OK;
}

extern const lw_check lw_check_gemm;
const lw_check lw_check_gemm = {"gemm", check_gemm};
