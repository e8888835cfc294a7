/*
 * runner: checks kernels on a device. An operator's test is a table of cases and its naive references (lw_op_test);
 * anything else is a function (lw_check). tests.inc names them all; `layerwise selftest` runs them.
 *
 * For every case and every variant that applies the runner checks: outputs were poisoned and are all written, nothing
 * is written beside them, bits equal to the float reference, closeness to the double reference, gradients against
 * central differences of the double reference, and the same bits in a second run with buffers of exactly the size.
 */
#ifndef LW_TESTS_OP_RUNNER_H
#define LW_TESTS_OP_RUNNER_H

#include "op/op.h"

/* What a test's inputs hold. */
typedef enum lw_test_values {
	LW_VALUES_RANDOM,  /* uniform in -1..1 */
	LW_VALUES_TIES,    /* small whole numbers, many of them equal: no central differences */
	LW_VALUES_SPECIAL, /* zeros of both signs, infinities, NaN, denormals among random ones: bits only */
	LW_VALUES_LARGE    /* uniform in -30..30 */
} lw_test_values;

typedef struct lw_op_case {
	const char *name;
	/* Zero numbers stand for lw_layer_defaults' (a double's -1 for 0); the booleans are meant as written. */
	lw_layer_options options;
	int input_count; /* 0: one */
	lw_shape inputs[LW_OP_MAX_INPUTS];
	bool training;
	uint32_t seed, step;
	lw_test_values values;
	bool large; /* left out by --quick */
	/*
	 * What the planner fuses, for operators that allow it (lw_op.fuses). The runner does it to the references: relu to the
	 * outputs (and the output's gradient arrives masked), mask_input to input 0 (which becomes relu's) and its gradient.
	 */
	bool relu, mask_input;
} lw_op_case;

/* What a reference is told about the call. */
typedef struct lw_op_problem {
	const lw_layer_options *options;
	int input_count;
	lw_shape input[LW_OP_MAX_INPUTS], output;
	const lw_op_rule *rule;
	bool training;
	uint32_t seed, step, layer;
	int variant; /* for bits that depend on an algorithm */
	int algorithm[LW_PASS_COUNT]; /* of operators with choices: of the choice that each pass takes */
} lw_op_problem;

typedef struct lw_op_test {
	const char *kind;
	const lw_op_case *cases;
	size_t case_count;
	/* The longest sum behind an output or a gradient, for tolerances; NULL: 1. */
	double (*terms)(const lw_op_problem *problem);
	/* How far from double the output of random values may be, over its largest value: an algorithm's level; NULL: terms alone. */
	double (*accuracy)(const lw_op_problem *problem);
	/* Forward in double. Parameters that forward updates (running statistics) are updated in place. */
	void (*forward_double)(const lw_op_problem *problem, const double *const *input, double *const *param, double *output);
	/* The same steps as the kernels, with fmaf: bits must agree. saved: what forward keeps for backward. */
	void (*forward_bits)(const lw_op_problem *problem, const float *const *input, float *const *param, float *output,
			     void *saved);
	/* input and output are poisoned where the rule says that backward does not read them. */
	void (*backward_bits)(const lw_op_problem *problem, const float *const *input, float *const *param,
			      const float *output, const void *saved, const float *output_gradient,
			      float *const *input_gradient, float *const *param_gradient);
} lw_op_test;

/* What a run of the tests may do and has found. */
typedef struct lw_test_run {
	lw_op_context context;
	bool quick, verbose;
	FILE *out, *progress; /* failures; where it is (may be NULL) */
	unsigned passed, failed;
	const char *name; /* of the operator or check that runs */
} lw_test_run;

typedef struct lw_check {
	const char *name;
	/* Counts with lw_test_pass and lw_test_fail; a status other than LW_OK is counted as one failure. */
	lw_status (*run)(lw_test_run *run);
} lw_check;

/* Runs every test whose name contains `only` (NULL: all) on the context's device. */
lw_status lw_test_all(lw_test_run *run, const char *only);
lw_status lw_test_op(lw_test_run *run, const lw_op_test *test);
/* How many tests there are, and the i-th one's name. */
size_t lw_test_count(void);
const char *lw_test_name(size_t index);

void lw_test_pass(lw_test_run *run);
void lw_test_fail(lw_test_run *run, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* One result: passes where the bits are equal (any NaN equals any other, but not an unwritten poison), else fails at the first difference. */
bool lw_test_bits(lw_test_run *run, const char *where, const float *got, const float *expected, size_t count);
/* One result: |got - expected| <= relative * the largest |expected| + absolute, everywhere. */
bool lw_test_close(lw_test_run *run, const char *where, const float *got, const double *expected, size_t count,
		   double relative, double absolute);

/*
 * A device buffer between guard bands (exact: without, so that a checking runtime sees accesses past its end), filled
 * with poison or with the values. lw_test_buf_intact looks at the bands.
 */
enum { LW_TEST_POISON = 0x7fc0dead };
typedef struct lw_test_buf {
	lw_buf *buf; /* NULL where bytes is 0 */
	lw_buf *whole;
	size_t bytes, front;
} lw_test_buf;
lw_status lw_test_buf_create(lw_test_run *run, lw_test_buf *buf, size_t bytes, bool exact, const void *values);
lw_status lw_test_buf_read(lw_test_run *run, const lw_test_buf *buf, void *values);
lw_status lw_test_buf_intact(lw_test_run *run, const lw_test_buf *buf, bool *intact);
void lw_test_buf_destroy(lw_test_buf *buf);

/* Fills with reproducible values. */
void lw_test_fill(float *values, size_t count, lw_test_values kind, uint32_t seed, uint32_t stream);

#endif
