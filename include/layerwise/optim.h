/*
 * layerwise/optim.h - update rules, schedules, parameter groups.
 */
#ifndef LAYERWISE_OPTIM_H
#define LAYERWISE_OPTIM_H

#include <layerwise/net.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A schedule multiplies the learning rate by a factor of the step. Steps count from 1; below, `done` = step - 1 is how many
 * were done before, so step 1 has the factor of done = 0, as in PyTorch and Caffe. Warm-up multiplies the factor by
 * step/warmup while step < warmup: done goes on counting, but t, from 0 to 1, runs over the steps after warm-up,
 * t = (done - warmup) / (total - warmup), where `total` is the run's number of steps.
 */
typedef enum lw_schedule_kind {
	LW_SCHEDULE_CONSTANT,
	LW_SCHEDULE_STEP,        /* gamma^floor(done / size) */
	LW_SCHEDULE_MULTISTEP,   /* gamma^(milestones <= done) */
	LW_SCHEDULE_COSINE,      /* min_factor + (1-min_factor) * (1+cos(pi*t))/2 (Loshchilov and Hutter 2017) */
	LW_SCHEDULE_POLYNOMIAL,  /* min_factor + (1-min_factor) * (1-t)^power */
	LW_SCHEDULE_EXPONENTIAL, /* gamma^done */
	LW_SCHEDULE_ONE_CYCLE    /* cosine up from 1/div_factor to 1 over pct_start of the run, then down to
				  * 1/(div_factor*final_div_factor) at the last step (Smith 2018); warmup must be 0 */
} lw_schedule_kind;

enum { LW_SCHEDULE_MAX_MILESTONES = 16 };

typedef struct lw_schedule {
	lw_schedule_kind kind;
	int warmup;        /* steps */
	int size;          /* step: from 1; must be given */
	double gamma;      /* step, multistep, exponential; NAN: 0.1, exponential 0.999 */
	int milestone_count;
	int milestones[LW_SCHEDULE_MAX_MILESTONES]; /* steps, rising */
	double power;      /* polynomial, 1 */
	double min_factor; /* cosine, polynomial, 0 */
	double pct_start, div_factor, final_div_factor; /* one-cycle: 0.3, 25, 1e4 */
} lw_schedule;

LW_API void lw_schedule_defaults(lw_schedule *schedule);
/* The kind of a name ("one_cycle"); LW_E_ARGUMENT names the nearest. */
LW_API lw_status lw_schedule_find(const char *name, lw_schedule_kind *kind);
LW_API const char *lw_schedule_name(lw_schedule_kind kind);
/* LW_E_ARGUMENT where a field that the kind reads is out of range. */
LW_API lw_status lw_schedule_check(const lw_schedule *schedule);
/* LW_E_ARGUMENT where the kind (cosine, polynomial, one_cycle) needs the number of steps and it is 0 or less. */
LW_API lw_status lw_schedule_check_total(const lw_schedule *schedule, int64_t total);
/* The factor at a step, 1-based. Pure. */
LW_API double lw_schedule_factor(const lw_schedule *schedule, int64_t step, int64_t total);

/*
 * Options of an update rule. p parameter, g gradient, lr = group's lr x schedule factor.
 * sgd (PyTorch's): g += weight_decay*p; b = g on the parameter's first step, else b = momentum*b + (1-dampening)*g;
 *   nesterov uses g + momentum*b; p -= lr*b. caffe: V = momentum*V + lr*(g + weight_decay*p); p -= V.
 * adam (Kingma and Ba 2015), weight decay as L2; adamw (Loshchilov and Hutter 2019), decay first and apart;
 *   amsgrad (Reddi et al. 2018): maximum of the uncorrected v.
 */
typedef struct lw_rule_options {
	const char *rule; /* "sgd", "adam", "adamw" */
	double momentum, dampening;
	bool nesterov, caffe;
	double beta1, beta2, eps;
	bool amsgrad;
	double weight_decay;
} lw_rule_options;

/*
 * A parameter group. Fields that were not given are NAN (numbers), -1 (flags), NULL: taken from lw_optim_options. A pattern
 * is a glob over the whole parameter name, or "re:" and a POSIX extended regular expression that is searched for in it (^
 * and $ anchor it). lr_mult and decay_mult multiply the common lr and weight_decay where the group gives none of its own.
 */
typedef struct lw_group_options {
	const char *name;
	const char *const *match;
	size_t match_count;
	bool is_default;
	bool freeze;
	int64_t unfreeze_at;      /* with freeze: the 1-based step it begins to train at; 0: never */
	double lr, lr_mult, decay_mult, layer_decay;
	const char *rule;
	double momentum, dampening, beta1, beta2, eps, weight_decay;
	int nesterov, caffe, amsgrad;
	int no_decay_on_bias_and_norm; /* flag */
	const lw_schedule *schedule;
	double clip_norm;         /* of this group alone; NAN: shares the global one */
	const char *device;       /* owner; "cpu": a CPU, so that its state is in the host's memory; NULL: the plan decides */
} lw_group_options;

/* What all groups start from. */
typedef struct lw_optim_options {
	lw_rule_options rule; /* sgd, momentum 0, beta 0.9 / 0.999, eps 1e-8 */
	double lr;            /* 0.01 */
	lw_schedule schedule;
	double clip_norm;     /* over all groups without their own; 0: none */
	bool no_decay_on_bias_and_norm;
	double layer_decay;   /* lr * layer_decay^depth; 1: none */
} lw_optim_options;

LW_API void lw_group_defaults(lw_group_options *group);
LW_API void lw_optim_defaults(lw_optim_options *options);

#ifdef __cplusplus
}
#endif
#endif
