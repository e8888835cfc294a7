/* optim: one file per update rule (rules.inc), schedules, groups: patterns -> parameters -> options. */
#ifndef LW_OPTIM_OPTIM_H
#define LW_OPTIM_OPTIM_H

#include "op/op.h"
#include <layerwise/optim.h>

/* A group with everything decided: no NAN, no NULL but clip_norm (NAN: shares the global) and device. Strings owned. */
typedef struct lw_group {
	char *name; /* first: see lw_nearest_named */
	bool frozen; /* now; lw_groups_at_step changes it */
	int64_t unfreeze_at;
	double lr; /* before schedule */
	double layer_decay;
	double clip_norm;
	lw_rule_options rule; /* rule.rule points at the rule's own name */
	bool no_decay_on_bias_and_norm;
	lw_schedule schedule;
	char *device;
	size_t param_count; /* trainable parameters it claims */
	size_t float_count;
} lw_group;

typedef struct lw_groups {
	size_t count;
	lw_group *groups;
	size_t param_count;
	int *group_of_param; /* net parameter index -> group, -1 for running statistics */
} lw_groups;

/*
 * Resolves options against the net: the first match in order wins, then the default. No groups given: one named "all".
 * LW_E_ARGUMENT for a group that matches nothing, a parameter that no group claims (nearest match named), two defaults,
 * equal names, a bad regular expression, an unknown rule, negative values.
 */
lw_status lw_groups_create(lw_groups **groups, const lw_net *net, const lw_optim_options *options,
			   const lw_group_options *group_options, size_t count);
void lw_groups_destroy(lw_groups **groups);

/* Unfreezes what is due at the step (1-based); *changed says whether anything was. */
void lw_groups_at_step(lw_groups *groups, int64_t step, bool *changed);

/* Learning rate of a group at a step; a parameter's is that times layer_decay^depth. */
double lw_group_lr(const lw_group *group, int64_t step, int64_t total);

enum { LW_RULE_MAX_STATES = 3, LW_RULE_ROW = 16 };

/* Which options of lw_rule_options, apart from weight_decay, a rule reads. */
typedef enum lw_rule_takes {
	LW_TAKES_MOMENTUM, /* momentum, dampening, nesterov, caffe */
	LW_TAKES_MOMENTS   /* beta1, beta2, eps, amsgrad */
} lw_rule_takes;

/*
 * An update rule. State arenas have the parameters' offsets; at a parameter's first update they are written without
 * being read, so what is in them before does not matter. A row is what one launch reads for a class of parameters
 * (same group, same t, same decay): LW_RULE_ROW floats, laid out by the rule as its kernel reads them.
 */
typedef struct lw_rule {
	const char *name;
	const char *source, *function; /* cl/<source>.cl; rules may share a kernel */
	lw_rule_takes options;
	int state_count; /* arenas for these options may be fewer: see states() */
	const char *state_names[LW_RULE_MAX_STATES]; /* "momentum"; "exp_avg", "exp_avg_sq", "max_exp_avg_sq" */
	/* LW_E_ARGUMENT for options out of range or that exclude each other. */
	lw_status (*check)(const lw_rule_options *options);
	/* Which state arenas these options need (bit s). */
	unsigned (*states)(const lw_rule_options *options);
	/* Bytes read and written per parameter, for reports. */
	double (*bytes_per_param)(const lw_rule_options *options);
	/* Fills a row for a parameter's t-th update (from 1). */
	void (*row)(const lw_rule_options *options, double lr, double weight_decay, int64_t t, float row[LW_RULE_ROW]);
} lw_rule;

const lw_rule *lw_rule_find(const char *name);
const lw_rule *lw_rule_at(size_t index);
/* The rule exists (LW_E_ARGUMENT names the nearest) and takes these options. */
lw_status lw_rule_check(const lw_rule_options *options);

/* One entry of the chunk table: floats [offset, offset+length) of the arenas follow row `row`; param indexes the net's parameters. */
typedef struct lw_chunk {
	int32_t offset, length, row, param;
} lw_chunk;

enum { LW_CHUNK_FLOATS = 16384 };

/*
 * One launch that updates all chunks of a rule. rows: count x LW_RULE_ROW floats. scale: one float per row, a
 * coefficient for the gradient (clipping); a NaN there means: leave these parameters alone. May be NULL: 1. States that
 * no row needs may be NULL. new_params and new_states take what is new; new_params NULL: it goes where the old is. stream:
 * they are other buffers, larger than caches in all, and chunks begin at multiples of 16 floats: stores go around the caches.
 */
typedef struct lw_arenas {
	lw_buf *params, *gradients, *states[LW_RULE_MAX_STATES];
	lw_buf *new_params, *new_states[LW_RULE_MAX_STATES];
	bool stream;
} lw_arenas;
lw_status lw_rule_update(const lw_op_context *context, const lw_rule *rule, lw_buf *chunks, int chunk_count, lw_buf *rows,
			 lw_buf *scale, const lw_arenas *arenas);

/* The forms of the update and norm kernels, for tests: context->force_variant takes one. All have the same bits. */
int lw_update_variant_count(void);
const char *lw_update_variant_name(int variant);
bool lw_update_variant_applies(const lw_op_context *context, int variant);

/*
 * chunk_norms[chunk]: the 2-norm of each chunk's gradients, NaN where one of them is not finite and only there.
 */
lw_status lw_chunk_norms(const lw_op_context *context, lw_buf *chunks, int chunk_count, lw_buf *gradients, lw_buf *chunk_norms);

/*
 * From the chunks' norms. norms[d]: of each clip domain d, over the chunks whose row has domain_of_row[row] = d. scale[row]: min(1, max_norms[d] / (norms[d]
 * + 1e-6)); 1 for a negative domain, and where max_norms[d] is infinite, 0 or less. If any chunk's norm is NaN, every norm
 * and scale becomes NaN, so that nothing is updated. A finite norm is at most FLT_MAX. At least one domain.
 */
lw_status lw_clip_coefficients(const lw_op_context *context, lw_buf *chunks, int chunk_count, lw_buf *chunk_norms,
			       lw_buf *domain_of_row, int row_count, lw_buf *max_norms, int domain_count, lw_buf *scale,
			       lw_buf *norms);

#endif
