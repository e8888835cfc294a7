/* adam, with weight decay as L2, and adamw, which decays first and apart. They share cl/adam.cl. */
#include "optim/optim.h"

#include <math.h>

/* As cl/adam.cl reads a row. */
enum { STEP, WEIGHT_DECAY, KEEP, BETA1, REST1, BETA2, REST2, EPS, CORRECTION2, AMSGRAD, FIRST };

static unsigned states(const lw_rule_options *options) { return options->amsgrad ? 7 : 3; }

/* Reads parameter, gradient and moments; writes all but the gradient. */
static double bytes_per_param(const lw_rule_options *options) { return options->amsgrad ? 36.0 : 28.0; }

/* What both have in common. */
static void moments_row(const lw_rule_options *options, double lr, int64_t t, float row[LW_RULE_ROW])
{
	const double count = (double)(t < 1 ? 1 : t);

	for (int i = 0; i < LW_RULE_ROW; i++)
		row[i] = 0.0f;
	row[STEP] = (float)(lr / (1.0 - pow(options->beta1, count)));
	row[BETA1] = (float)options->beta1;
	row[REST1] = (float)(1.0 - options->beta1);
	row[BETA2] = (float)options->beta2;
	row[REST2] = (float)(1.0 - options->beta2);
	row[EPS] = (float)options->eps;
	row[CORRECTION2] = (float)sqrt(1.0 - pow(options->beta2, count));
	row[AMSGRAD] = options->amsgrad ? 1.0f : 0.0f;
	row[FIRST] = t <= 1 ? 1.0f : 0.0f;
}

static void adam_row(const lw_rule_options *options, double lr, double weight_decay, int64_t t, float row[LW_RULE_ROW])
{
	moments_row(options, lr, t, row);
	row[WEIGHT_DECAY] = (float)weight_decay;
	row[KEEP] = 1.0f;
}

static void adamw_row(const lw_rule_options *options, double lr, double weight_decay, int64_t t, float row[LW_RULE_ROW])
{
	moments_row(options, lr, t, row);
	row[KEEP] = (float)(1.0 - lr * weight_decay);
}

static lw_status check(const lw_rule_options *options)
{
	if (!(options->beta1 >= 0.0 && options->beta1 < 1.0))
		return lw_fail(LW_E_ARGUMENT, "beta1 must be at least 0 and below 1, not %g", options->beta1);
	if (!(options->beta2 >= 0.0 && options->beta2 < 1.0))
		return lw_fail(LW_E_ARGUMENT, "beta2 must be at least 0 and below 1, not %g", options->beta2);
	if (!(options->eps > 0.0 && isfinite(options->eps)))
		return lw_fail(LW_E_ARGUMENT, "eps must be positive, not %g", options->eps);
	return LW_OK;
}

const lw_rule lw_rule_adam = {
	.name = "adam",
	.source = "adam",
	.function = "adam_update",
	.options = LW_TAKES_MOMENTS,
	.state_count = 3,
	.state_names = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
	.check = check,
	.states = states,
	.bytes_per_param = bytes_per_param,
	.row = adam_row,
};

const lw_rule lw_rule_adamw = {
	.name = "adamw",
	.source = "adam",
	.function = "adam_update",
	.options = LW_TAKES_MOMENTS,
	.state_count = 3,
	.state_names = {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
	.check = check,
	.states = states,
	.bytes_per_param = bytes_per_param,
	.row = adamw_row,
};
