/* sgd: p -= lr*b, with momentum, dampening, Nesterov's form and Caffe's. */
#include "optim/optim.h"

/* As cl/sgd.cl reads a row. */
enum { LR, WEIGHT_DECAY, MOMENTUM, UNDAMPED, FORM, FIRST };
enum { PLAIN, HEAVY_BALL, NESTEROV, CAFFE };

static unsigned states(const lw_rule_options *options) { return options->momentum != 0.0; }

/* Reads parameter and gradient, writes the parameter; reads and writes the momentum. */
static double bytes_per_param(const lw_rule_options *options) { return options->momentum != 0.0 ? 20.0 : 12.0; }

static void row(const lw_rule_options *options, double lr, double weight_decay, int64_t t, float row[LW_RULE_ROW])
{
	int form = options->momentum == 0.0 ? PLAIN
		   : options->caffe	    ? CAFFE
		   : options->nesterov	    ? NESTEROV
					    : HEAVY_BALL;

	for (int i = 0; i < LW_RULE_ROW; i++)
		row[i] = 0.0f;
	row[LR] = (float)lr;
	row[WEIGHT_DECAY] = (float)weight_decay;
	row[MOMENTUM] = (float)options->momentum;
	row[UNDAMPED] = (float)(1.0 - options->dampening);
	row[FORM] = (float)form;
	row[FIRST] = t <= 1 ? 1.0f : 0.0f;
}

static lw_status check(const lw_rule_options *options)
{
	if (!(options->momentum >= 0.0 && options->momentum < 1.0))
		return lw_fail(LW_E_ARGUMENT, "momentum must be at least 0 and below 1, not %g", options->momentum);
	if (!(options->dampening >= 0.0 && options->dampening <= 1.0))
		return lw_fail(LW_E_ARGUMENT, "dampening must be from 0 to 1, not %g", options->dampening);
	if (options->nesterov && (options->momentum == 0.0 || options->dampening != 0.0))
		return lw_fail(LW_E_ARGUMENT, "nesterov needs a momentum above 0 and no dampening");
	if (options->caffe && (options->nesterov || options->dampening != 0.0))
		return lw_fail(LW_E_ARGUMENT, "caffe's momentum knows neither nesterov nor dampening");
	return LW_OK;
}

const lw_rule lw_rule_sgd = {
	.name = "sgd",
	.source = "sgd",
	.function = "sgd_update",
	.options = LW_TAKES_MOMENTUM,
	.state_count = 1,
	.state_names = {"momentum"},
	.check = check,
	.states = states,
	.bytes_per_param = bytes_per_param,
	.row = row,
};
