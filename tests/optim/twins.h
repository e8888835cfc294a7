/* twins: the update rules and norms in plain C, from the options on: the kernels' bits must be the same. */
#ifndef LW_TESTS_OPTIM_TWINS_H
#define LW_TESTS_OPTIM_TWINS_H

#include "optim/optim.h"

#include <float.h>
#include <math.h>
#include <string.h>

typedef struct twin_step {
	const lw_rule_options *options;
	double lr, weight_decay;
	int64_t t;
	float scale;
} twin_step;

static inline void twin_sgd(const twin_step *step, size_t count, float *p, const float *g, float *b)
{
	const lw_rule_options *o = step->options;
	const float lr = (float)step->lr, decay = (float)step->weight_decay, momentum = (float)o->momentum;
	const float undamped = (float)(1.0 - o->dampening);

	for (size_t i = 0; i < count; i++) {
		float d = g[i] * step->scale + decay * p[i];

		if (o->momentum == 0.0) {
			p[i] = p[i] - lr * d;
			continue;
		}
		if (o->caffe) {
			b[i] = step->t == 1 ? lr * d : momentum * b[i] + lr * d;
			p[i] = p[i] - b[i];
			continue;
		}
		b[i] = step->t == 1 ? d : momentum * b[i] + undamped * d;
		d = o->nesterov ? d + momentum * b[i] : b[i];
		p[i] = p[i] - lr * d;
	}
}

/* decoupled: adamw. */
static inline void twin_adam(const twin_step *step, bool decoupled, size_t count, float *p, const float *g, float *m,
			     float *v, float *largest)
{
	const lw_rule_options *o = step->options;
	const float rate = (float)(step->lr / (1.0 - pow(o->beta1, (double)step->t)));
	const float correction2 = (float)sqrt(1.0 - pow(o->beta2, (double)step->t));
	const float beta1 = (float)o->beta1, rest1 = (float)(1.0 - o->beta1), beta2 = (float)o->beta2;
	const float rest2 = (float)(1.0 - o->beta2), eps = (float)o->eps;

	for (size_t i = 0; i < count; i++) {
		float d = g[i] * step->scale, second;

		if (decoupled)
			p[i] = (float)(1.0 - step->lr * step->weight_decay) * p[i];
		d = d + (decoupled ? 0.0f : (float)step->weight_decay) * p[i];
		m[i] = step->t == 1 ? rest1 * d : beta1 * m[i] + rest1 * d;
		v[i] = step->t == 1 ? rest2 * d * d : beta2 * v[i] + rest2 * d * d;
		second = v[i];
		if (o->amsgrad) {
			if (step->t == 1 || !(v[i] <= largest[i]))
				largest[i] = v[i];
			second = largest[i];
		}
		p[i] = p[i] - rate * (m[i] / (sqrtf(second) / correction2 + eps));
	}
}

/* Nothing happens where the scale is NaN. */
static inline void twin_update(const twin_step *step, size_t count, float *p, const float *g, float *const state[3])
{
	if (isnan(step->scale))
		return;
	if (strcmp(step->options->rule, "sgd") == 0)
		twin_sgd(step, count, p, g, state[0]);
	else
		twin_adam(step, strcmp(step->options->rule, "adamw") == 0, count, p, g, state[0], state[1], state[2]);
}

static inline float twin_join(float lanes[64])
{
	for (int width = 32; width; width /= 2)
		for (int j = 0; j < width; j++)
			lanes[j] = lanes[j] + lanes[j + width];
	return lanes[0];
}

/* Term i goes to lane i mod 64. A sum that overflows is done again on terms that are scaled down. */
static inline float twin_norm(const float *terms, const int *lane, size_t count)
{
	for (int pass = 0; pass < 2; pass++) {
		float lanes[64] = {0}, sum;

		for (size_t i = 0; i < count; i++) {
			const float term = terms[i] * (pass ? 0x1p-80f : 1.0f);
			float *sum_of_lane = &lanes[lane ? lane[i] : (int)(i % 64)];
			*sum_of_lane = *sum_of_lane + term * term;
		}
		sum = twin_join(lanes);
		if (isfinite(sum))
			return fminf(sqrtf(sum) * (pass ? 0x1p80f : 1.0f), FLT_MAX);
	}
	return NAN;
}

#endif
