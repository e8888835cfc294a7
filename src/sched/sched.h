/*
 * sched: the plan. One backward, then the groups' updates, each dispatched to its owner when its gradients are ready.
 *
 * A row is a class of parameters that one set of numbers updates: same group, same count of updates so far, same decay
 * and depth. A dispatch is one launch: all rows of one rule on one owner. With one device there is one dispatch a rule.
 */
#ifndef LW_SCHED_SCHED_H
#define LW_SCHED_SCHED_H

#include "net/net.h"
#include "optim/optim.h"
#include <layerwise/plan.h>

typedef struct lw_row {
	int group;
	bool no_decay;
	int depth; /* for layer decay; 0 where the group has none */
	int64_t t; /* updates its parameters have had */
} lw_row;

typedef struct lw_dispatch {
	const lw_rule *rule;
	lw_device *owner;
	size_t base, floats; /* its range of the parameter arena; offsets in its chunks start at base */
	lw_buf *params, *gradients; /* slices of the arenas */
	unsigned state_mask;
	lw_buf *states[LW_RULE_MAX_STATES]; /* floats each */
	lw_chunk *chunks;
	size_t chunk_count, chunk_capacity;
	lw_buf *device_chunks;
	int pending;      /* gradients that this step has not enqueued yet */
	int parameters;   /* what pending starts from */
} lw_dispatch;

/* What the updates of a step need; made anew when a group unfreezes. */
typedef struct lw_updates {
	lw_row *rows;
	size_t row_count, row_capacity;
	int *row_of_param;      /* -1: frozen */
	int *dispatch_of_param; /* -1: frozen */
	lw_dispatch *dispatches;
	size_t dispatch_count;
	lw_chunk *chunks; /* of all dispatches, offsets from the arena's start: for the norms */
	size_t chunk_count, chunk_capacity;
	size_t domain_count; /* 0: the global clip; one more for each group with its own */
	float *host_rows;
	lw_buf *device_chunks, *device_rows, *scale, *domain_of_row, *max_norms;
	lw_buf **group_chunks; /* by group, made when lw_apply_gradients asks for one group */
	int *group_chunk_count;
	/* dispatches in the order in which their gradients became ready in this step */
	int *ready;
	size_t ready_count;
} lw_updates;

/* Everything that a step reports, in one buffer, read back at once. */
typedef struct lw_outcome {
	lw_buf *buf, *loss, *correct, *norms, *sums;
	size_t correct_at, norms_at, sums_at, floats; /* offsets in floats */
	float *host;
} lw_outcome;

struct lw_plan {
	lw_net *net;
	lw_plan_options options;
	lw_optim_options optim;
	lw_device *device;
	lw_queue *queue;
	lw_op_context context;
	lw_groups *groups;
	lw_layout layout;
	lw_buf *params, *gradients;
	size_t statistics_at, statistics_floats; /* running statistics: a range of the arena */
	lw_buf *statistics_before;               /* what they were before the step, to go back to where it is not finite */
	lw_tuning *tuning; /* NULL: nothing is asked, nothing remembered */
	lw_executor *executor;
	lw_updates updates;
	lw_outcome outcome;
	int64_t *t; /* updates so far, by parameter */
	int64_t step;
	bool saved_kernels;
	/* between lw_compute_gradients and lw_apply_gradients */
	bool computed, outcome_known, finite;
	bool *applied; /* by group */
};

/* Rows, dispatches and chunk tables for the groups as they are frozen now; state that both old and new have is kept. */
lw_status lw_updates_create(lw_plan *plan, lw_updates *updates, lw_updates *old);
void lw_updates_clear(lw_updates *updates, size_t group_count);
/* Fills and sends the rows for a step (1-based). */
lw_status lw_updates_send_rows(lw_plan *plan, int64_t step);
lw_status lw_updates_norms(lw_plan *plan);
/* One launch a dispatch, in the order in which they became ready; or one group alone. */
lw_status lw_updates_apply_all(lw_plan *plan);
lw_status lw_updates_apply_group(lw_plan *plan, int group);
/* A group's parameters have had one update more. */
void lw_updates_count(lw_plan *plan, int group);
lw_status lw_updates_gradient_ready(void *plan, int param);

lw_status lw_outcome_create(lw_plan *plan);
void lw_outcome_clear(lw_outcome *outcome);
/* Waits for the step; fills result (may be NULL) and plan->finite. */
lw_status lw_outcome_read(lw_plan *plan, lw_step_result *result);

/* Keeps the running statistics as they are before a step, and brings them back. */
lw_status lw_plan_keep_statistics(lw_plan *plan);
lw_status lw_plan_bring_back_statistics(lw_plan *plan);

/* Reads what is known of the device, unless it is not to be asked. */
lw_status lw_plan_open_tuning(lw_plan *plan);

/* (Re)makes executor, updates and outcome for the groups as they are frozen now. */
lw_status lw_plan_rebuild(lw_plan *plan);

#endif
