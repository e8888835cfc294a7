/* gemm: every transposition, leading dimensions beyond the rows, parts, bias, tails; bits against fmaf. */
#include "op/runner.h"

#include <math.h>
#include <stdlib.h>

typedef struct gemm_case {
	const char *name;
	int m, n, k, parts;
	bool bias, relu, mask, large;
} gemm_case;

static const gemm_case cases[] = {
	{"one", 1, 1, 1, 1, .bias = true},
	{"row", 1, 17, 5, 1, .relu = true},
	{"column", 19, 1, 4, 1, .bias = true, .mask = true},
	{"primes", 13, 37, 29, 1, .bias = true, .relu = true},
	{"outer", 31, 33, 1, 1, .mask = true},
	{"whole tiles", 24, 64, 21, 1, .bias = true, .relu = true, .mask = true},
	{"parts", 15, 35, 17, 16, .bias = true, .relu = true},
	{"two parts", 9, 5, 7, 2, .mask = true},
	{"parts of one", 29, 67, 16, 16, .bias = true},
	{"three terms a part", 7, 19, 48, 16, .large = false},
	{"deep", 29, 45, 700, 1, .bias = true, .relu = true, .large = true},
	{"wide", 70, 530, 100, 1, .mask = true, .large = true},
	{"tall", 517, 40, 64, 1, .bias = true, .large = true},
	{"many parts", 100, 90, 300, 16, .large = true},
	{"skinny", 16, 150, 2000, 1, .bias = true, .large = true},
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

static float finish(const lw_gemm *g, float v, float mask) { return (g->relu && v <= 0) || mask <= 0 ? 0 : v; }

/* What lies between the rows of C must stay: it starts with the poison that the expectation holds too. */
static void expect(const lw_gemm *g, const float *a, const float *b, const float *bias,
		   const float *mask, float *c)
{
	for (int row = 0; row < g->m; row++)
		for (int column = 0; column < g->n; column++)
			c[row * g->ldc + column] = finish(g, expected_element(g, a, b, bias, row, column),
							  mask ? mask[row * g->ldc + column] : 1);
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

enum { A, B, C, BIAS, MASK, WORKSPACE, BUFFERS };

static void compare(lw_test_run *run, const gemm_case *test, const lw_gemm *g, const char *variant, const float *got,
		    const float *expected)
{
	char where[200];
	bool same = true;

	snprintf(where, sizeof where, "%.40s, %.60s,%s%s A%s B%s", test->name, variant, g->relu ? " relu" : "",
		 test->mask ? " mask" : "", g->transpose_a ? " transposed" : "",
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
		     .parts = test->parts, .relu = test->relu};
	lw_test_buf bufs[BUFFERS] = {0};
	lw_choice list[LW_MAX_CHOICES];
	size_t counts[BUFFERS] = {0};
	int count;
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
	counts[MASK] = test->mask ? counts[C] : 0;
	run->context.force_variant = forced < 0 ? 0 : forced;
	count = lw_gemm_choices(&run->context, &g, list);
	for (int i = 0; i < count; i++) {
		const size_t floats = lw_gemm_workspace(&run->context, &g, &list[i]) / sizeof(float);
		counts[WORKSPACE] = floats > counts[WORKSPACE] ? floats : counts[WORKSPACE];
	}
	expected = calloc(counts[C] + 2, sizeof(float));
	for (int i = 0; i < BUFFERS; i++)
		if (!(data[i] = calloc(counts[i] + 2, sizeof(float))) || !expected) {
			status = lw_fail(LW_E_MEMORY, "no memory for a test of gemm");
			goto out;
		}
	lw_test_fill(data[A], counts[A], LW_VALUES_RANDOM, 1, 1);
	lw_test_fill(data[B], counts[B], LW_VALUES_RANDOM, 1, 2);
	lw_test_fill(data[BIAS], counts[BIAS], LW_VALUES_RANDOM, 1, 3);
	lw_test_fill(data[MASK], counts[MASK], LW_VALUES_RANDOM, 1, 4);
	expect(&g, data[A], data[B], test->bias ? data[BIAS] : NULL, test->mask ? data[MASK] : NULL, expected);
	for (int k = 0; k < count; k++) {
		bool intact = true;
		if (forced >= 0 && k != lw_min_int(forced, count - 1))
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
		g.mask = bufs[MASK].buf;
		LW_GO(lw_gemm_run(&run->context, &g, &list[k]));
		LW_GO(lw_test_buf_read(run, &bufs[C], data[C]));
		compare(run, test, &g, list[k].name, data[C], expected);
		for (int i = 0; i < BUFFERS && intact; i++)
			LW_GO(lw_test_buf_intact(run, &bufs[i], &intact));
		if (!intact)
			lw_test_fail(run, "%s, %s: wrote beside a buffer", test->name, list[k].name);
	}
out:
	run->context.force_variant = forced;
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
