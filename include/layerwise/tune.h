/*
 * layerwise/tune.h - finding out which way of computing each layer is fastest on a device. lw_plan_tune (plan.h) does it.
 */
#ifndef LAYERWISE_TUNE_H
#define LAYERWISE_TUNE_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* What is known of one pass (forward, data, weight) of one shape. Texts are valid during the call. */
typedef struct lw_tune_event {
	size_t done, total;   /* passes of different shapes, this one included */
	double seconds;       /* since the search began */
	const char *layer, *pass, *shape; /* "conv", "forward", "32x64x16x16x64x3x3x1x1x1": N, C, H, W, K, R, S, stride, pad, groups */
	const char *usual, *best;         /* what an untuned run takes, and what was found fastest; NULL: it was not searched */
	double usual_seconds, best_seconds; /* of one run; 0: not measured */
	int rejected;         /* choices that failed or computed something wrong; the log names them */
	const char *known;    /* where best is clearly faster than usual, a row for the table of known choices, src/op/known.inc; else NULL */
} lw_tune_event;

typedef struct lw_tune_options {
	double budget;  /* seconds; what they do not suffice for keeps its default. INFINITY: all */
	bool again;     /* also what is known already */
	/* Called after each pass, and with done 0 before the first where there is anything to do. NULL: nobody. */
	void (*progress)(void *user, const lw_tune_event *event);
	void *user;
} lw_tune_options;

#ifdef __cplusplus
}
#endif
#endif
