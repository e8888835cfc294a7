/* tune: measures the choices that operators have (lw_op.choices) and remembers the fastest of those that compute right. */
#ifndef LW_OP_TUNE_H
#define LW_OP_TUNE_H

#include "op/op.h"
#include <layerwise/tune.h>

/* A pass of a call: its shapes, options and what is fused; its buffers are not used. */
typedef struct lw_tune_item {
	const lw_op *op;
	lw_op_call call;
	lw_pass pass;
	double flops;
} lw_tune_item;

typedef struct lw_tune_result {
	lw_choice usual, best;              /* the first choice, and the one to take */
	double usual_seconds, best_seconds; /* of one run; 0: not measured */
	int rejected;                       /* that failed or computed something wrong */
} lw_tune_result;

/*
 * Times the choices of a pass, interleaved, on random data, and checks what each computes. same_algorithm: only choices
 * with the bits of the first. Choices not begun within `budget` seconds are left out, all but the first. What goes wrong
 * with a choice is in the log and costs it its place; the status is of what is not about one choice, such as memory.
 */
lw_status lw_op_tune(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, bool same_algorithm,
		     double budget, lw_tune_result *result);

/*
 * Tunes the items that tuning does not know, largest first (items is sorted), until the budget is used up, and stores what
 * it finds. The rest gets its first choice stored: later runs take the same, and have the same bits.
 */
lw_status lw_tune_items(const lw_op_context *context, lw_tuning *tuning, lw_tune_item *items, size_t count,
			const lw_tune_options *options);

/* The item's shape as lw_tune_event has it. */
void lw_tune_shape(const lw_tune_item *item, char text[96]);

/*
 * What a pass computes, in double, at one place of its result, for operators that are a convolution (or, on 1x1 pixels,
 * linear). Fills `lw_tune_samples` places and expected values; 0 where the operator is another.
 */
typedef struct lw_tune_sample {
	size_t index; /* in the result */
	double expected;
} lw_tune_sample;
enum { LW_TUNE_SAMPLES = 64, LW_TUNE_PERIOD = 65521 };

/* The data of a tuning run repeats after a prime number of values. */
typedef struct lw_tune_data {
	float input[LW_TUNE_PERIOD], weight[LW_TUNE_PERIOD], bias[LW_TUNE_PERIOD], gradient[LW_TUNE_PERIOD];
} lw_tune_data;
/* tolerance: how far off a sample may be, at the precision. */
int lw_tune_reference(const lw_op_context *context, const lw_tune_data *data, const lw_op *op, const lw_op_call *call, lw_pass pass,
		      lw_tune_sample samples[LW_TUNE_SAMPLES], double *tolerance);

#endif
