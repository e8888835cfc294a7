/* The loss: against the same steps in C, a double reference, and central differences. */
#include "op/runner.h"
#include "op/reference_math.h"

#include <float.h>
#include <stdlib.h>

typedef struct loss_case {
	const char *name;
	int rows, classes;
	float smoothing;
	lw_test_values values;
	bool bad_labels;
} loss_case;

static const loss_case cases[] = {
	{"ten classes", 13, 10, 0, LW_VALUES_RANDOM, false},
	{"smoothing", 5, 7, 0.1f, LW_VALUES_RANDOM, false},
	{"one class", 3, 1, 0, LW_VALUES_RANDOM, false},
	{"large logits", 6, 33, 0.2f, LW_VALUES_LARGE, false},
	{"equal logits", 6, 5, 0, LW_VALUES_TIES, false},
	{"NaN and infinite logits", 16, 9, 0.1f, LW_VALUES_SPECIAL, false},
	{"ignored and impossible labels", 9, 4, 0, LW_VALUES_RANDOM, true},
};

static void reference_bits(const loss_case *of, const float *logits, const int32_t *labels, float scale, float *loss,
			   float *correct, float *gradient)
{
	const int classes = of->classes;
	const float on_label = 1.0f - of->smoothing, on_all = of->smoothing / (float)classes;

	for (int row = 0; row < of->rows; row++, logits += classes, gradient += classes) {
		const int label = labels[row];
		int best = 0;
		float sum = 0, total = 0, log_sum, all;

		if (label < 0 || label >= classes) {
			loss[row] = label == -1 ? 0.0f : NAN;
			correct[row] = 0.0f;
			for (int j = 0; j < classes; j++)
				gradient[j] = loss[row];
			continue;
		}
		for (int j = 1; j < classes; j++)
			best = logits[j] > logits[best] ? j : best;
		for (int j = 0; j < classes; j++) {
			sum += lw_ref_exp(logits[j] - logits[best]);
			total += logits[j] - logits[best];
		}
		log_sum = lw_ref_log(sum);
		all = fmaf(-(float)classes, log_sum, total);
		loss[row] = -fmaf(on_label, logits[label] - logits[best] - log_sum, on_all > 0.0f ? on_all * all : 0.0f);
		correct[row] = best == label ? 1.0f : 0.0f;
		for (int j = 0; j < classes; j++)
			gradient[j] = (lw_ref_exp(logits[j] - logits[best]) / sum - (j == label ? on_label + on_all : on_all)) * scale;
	}
}

/* Loss of one row in double; gradient is its derivative. */
static double reference_double(const loss_case *of, const float *logits, int label, double *gradient)
{
	double largest = -INFINITY, sum = 0, loss = 0;

	for (int j = 0; j < of->classes; j++)
		gradient[j] = 0;
	if (label < 0)
		return 0;
	for (int j = 0; j < of->classes; j++)
		largest = fmax(largest, logits[j]);
	for (int j = 0; j < of->classes; j++)
		sum += exp(logits[j] - largest);
	for (int j = 0; j < of->classes; j++) {
		const double target = (j == label ? 1.0 - (double)of->smoothing : 0.0) + (double)of->smoothing / of->classes;
		const double log_p = logits[j] - largest - log(sum);

		loss -= target * log_p;
		gradient[j] = exp(log_p) - target;
	}
	return loss;
}

typedef struct host {
	float *logits, *loss, *correct, *gradient, *got;
	double *loss_double, *gradient_double;
	int32_t *labels;
} host;

static void compare(lw_test_run *run, const loss_case *of, const host *h, const char *what, const float *expected,
		    const double *in_double, size_t count, double scale)
{
	char where[100];

	snprintf(where, sizeof where, "case '%s', %s", of->name, what);
	lw_test_bits(run, where, h->got, expected, count);
	if (in_double && of->values != LW_VALUES_SPECIAL && !of->bad_labels)
		lw_test_close(run, where, h->got, in_double, count, 16 * FLT_EPSILON * sqrt(of->classes), scale * FLT_EPSILON);
}

static lw_status on_device(lw_test_run *run, const loss_case *of, host *h, bool exact, int variant)
{
	lw_op_context context = run->context;
	const size_t rows = (size_t)of->rows, count = rows * (size_t)of->classes;
	lw_test_buf logits = {0}, labels = {0}, outputs[3] = {0};
	const float *const expected[] = {h->loss, h->correct, h->gradient};
	const double *const in_double[] = {h->loss_double, NULL, h->gradient_double};
	static const char *const names[] = {"loss", "correct", "gradient"};
	lw_status status;

	context.force_variant = variant;
	LW_GO(lw_test_buf_create(run, &logits, count * 4, exact, h->logits));
	LW_GO(lw_test_buf_create(run, &labels, rows * 4, exact, h->labels));
	for (int i = 0; i < 3; i++)
		LW_GO(lw_test_buf_create(run, &outputs[i], (i < 2 ? rows : count) * 4, exact, NULL));
	/* the second run wants no gradient */
	LW_GO(lw_softmax_cross_entropy(&context, of->rows, of->classes, logits.buf, labels.buf, of->smoothing,
				       (float)of->rows, outputs[0].buf, outputs[1].buf, exact ? NULL : outputs[2].buf));
	for (int i = 0; i < (exact ? 2 : 3); i++) {
		bool intact;

		LW_GO(lw_test_buf_read(run, &outputs[i], h->got));
		compare(run, of, h, names[i], expected[i], in_double[i], i < 2 ? rows : count, 4);
		LW_GO(lw_test_buf_intact(run, &outputs[i], &intact));
		if (!intact)
			lw_test_fail(run, "case '%s': written beside %s", of->name, names[i]);
	}
out:
	lw_test_buf_destroy(&logits);
	lw_test_buf_destroy(&labels);
	for (int i = 0; i < 3; i++)
		lw_test_buf_destroy(&outputs[i]);
	return status;
}

static lw_status run_case(lw_test_run *run, const loss_case *of)
{
	const size_t rows = (size_t)of->rows, count = rows * (size_t)of->classes;
	host h = {0};
	lw_status status;

	LW_GO(lw_alloc(&h.logits, count, sizeof(float)));
	LW_GO(lw_alloc(&h.loss, rows, sizeof(float)));
	LW_GO(lw_alloc(&h.correct, rows, sizeof(float)));
	LW_GO(lw_alloc(&h.gradient, count, sizeof(float)));
	LW_GO(lw_alloc(&h.got, count, sizeof(float)));
	LW_GO(lw_alloc(&h.loss_double, rows, sizeof(double)));
	LW_GO(lw_alloc(&h.gradient_double, count, sizeof(double)));
	LW_GO(lw_alloc(&h.labels, rows, sizeof(int32_t)));
	lw_test_fill(h.logits, count, of->values, 1, 0);
	for (size_t row = 0; row < rows; row++) {
		h.labels[row] = (int32_t)(lw_random_bits(1, 1, row) % (uint32_t)of->classes);
		if (of->bad_labels && row % 3)
			h.labels[row] = row % 3 == 1 ? -1 : row == 2 ? 1000000000 : row == 5 ? of->classes : -2;
		h.loss_double[row] = reference_double(of, h.logits + row * (size_t)of->classes, h.labels[row],
						      h.gradient_double + row * (size_t)of->classes);
	}
	for (size_t i = 0; i < count; i++)
		h.gradient_double[i] /= of->rows;
	reference_bits(of, h.logits, h.labels, 1.0f / (float)of->rows, h.loss, h.correct, h.gradient);
	for (int variant = -1; variant < 2; variant++) {
		LW_GO(on_device(run, of, &h, false, variant));
		LW_GO(on_device(run, of, &h, true, variant));
	}
out:
	free(h.logits);
	free(h.loss);
	free(h.correct);
	free(h.gradient);
	free(h.got);
	free(h.loss_double);
	free(h.gradient_double);
	free(h.labels);
	return status;
}

static lw_status check(lw_test_run *run)
{
	for (size_t i = 0; i < LW_COUNT(cases); i++)
		LW_TRY(run_case(run, &cases[i]));
	return LW_OK;
}

extern const lw_check lw_check_softmax_cross_entropy;
const lw_check lw_check_softmax_cross_entropy = {"softmax_cross_entropy", check};
