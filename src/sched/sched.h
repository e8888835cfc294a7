/*
 * sched: the plan. Each step's batch is shared out to the devices that compute (lanes); every one computes its share's
 * gradients once. Parameters are cut into parcels, each owned by one device: as soon as all lanes' gradients of a parcel
 * are complete its owner sums them and updates, while backward goes on below.
 *
 * Parameters, gradients and optimizer state lie in the host's memory, where CPU devices work in place; other devices have
 * copies of what they need. There are two of everything that an update writes: a step reads one and writes the other, and
 * is committed by changing places when all owners have finished. So a step in which a device failed never happened, and
 * is done again by the devices that are left.
 *
 * Several processes (ranks) may take a step together: each has lanes and owners of its own devices, and what passes through
 * the host's memory goes on to the ranks that need it (post.c). Every rank knows all devices and comes to the same
 * arrangement; it has all parameters, and of the optimizer's state what its devices own.
 *
 * plan.c the public calls; arrange.c who computes and owns what (made anew when a group unfreezes or a device is lost),
 * describe.c as the placement sees it and as people are told;
 * lane.c and owner.c what the two do in a step; step.c a step from begin to commit; state.c to and from checkpoints;
 * agree.c what ranks tell each other between steps, post.c within one.
 */
#ifndef LW_SCHED_SCHED_H
#define LW_SCHED_SCHED_H

#include "net/net.h"
#include "optim/optim.h"
#include "sched/arena.h"
#include "sched/parcels.h"
#include "sched/placement.h"
#include "sched/ranks.h"
#include "sched/worker.h"
#include "sched/workload.h"
#include <layerwise/plan.h>

#include <pthread.h>

/* --- Rows (rows.c): classes of parameters that one set of numbers updates --- */

/* Same group, same count of updates so far, same decay and depth. */
typedef struct lw_row {
	int group;
	bool no_decay;
	int depth; /* for layer decay; 0 where the group has none */
	int64_t t; /* updates its parameters have had */
} lw_row;

typedef struct lw_rows {
	lw_row *rows;
	size_t count, capacity;
	int *of_param;   /* -1: frozen */
	float *values;   /* count * LW_RULE_ROW, of the step being taken */
	/* Clip domains: 0 is the global clip's; each group with its own clip is one more. */
	int32_t *domain; /* by row */
	float *limits;   /* by domain; INFINITY: none */
	size_t domain_count;
} lw_rows;

lw_status lw_rows_create(lw_rows *rows, const lw_plan *plan);
void lw_rows_clear(lw_rows *rows);
/* The numbers of a step (1-based). */
void lw_rows_fill(lw_rows *rows, const lw_plan *plan, int64_t step);
/* A group's parameters have had one update more. */
void lw_rows_count(lw_plan *plan, int group);

/* --- Devices and what they do --- */

/* A device of the plan. */
typedef struct lw_member {
	lw_device *device;
	bool opened;  /* by the plan, to own what a group's `device:` or `offload:` names: it computes nothing */
	bool lost;
	bool in_place; /* it works in the host's memory */
	lw_queue *queue;   /* of its lane, or else of its owner */
	lw_queue *updates; /* of its owner, where the lane's queue is busy with other things */
	lw_queue *transfers; /* of copies that run beside its lane's work; NULL: it works in place */
	lw_tuning *tuning; /* NULL: nothing is asked, nothing remembered */
	double update_bandwidth, link_bandwidth; /* bytes/s, as measured */
	double speed;  /* images/s of its lane, measured; 0: not yet */
	bool saved_kernels;
} lw_member;

/* A device of any rank as every rank knows it: those of rank 0 in their order, then those of rank 1, and so on. */
typedef struct lw_peer {
	int rank, member;
	bool lost, computes, in_place;
	double speed, guess, share; /* images/s as measured, 0: not yet; what it is taken for before; of options.shares */
	double update_bandwidth, link_bandwidth;
	uint64_t memory;
	char label[128];
	/* as shared out */
	int first_image, images, slice_count;
	int first_run, run_count;
} lw_peer;

/* What happened to a parcel in a step, in seconds from its start. */
typedef struct lw_parcel_times {
	double ready, update_start, update_end;
} lw_parcel_times;

/* A parcel as it lies in the arenas, and where it stands in a step. */
typedef struct lw_plan_parcel {
	size_t offset, floats;    /* in the arenas */
	size_t chunk, chunks;     /* in the table of chunks */
	const lw_rule *rule;
	unsigned state_mask;
	int first_param, params;  /* in the arenas' order */
	int peer;                 /* its owner */
	int owner;                /* the same as a member; -1: another rank's */
	bool clipped;             /* its update waits for norms of gradients */
	int arrived;              /* runs whose gradients are complete */
	bool updated;             /* its new parameters are in the host's memory */
	lw_parcel_times times;
} lw_plan_parcel;

typedef struct lw_arrival {
	int parcel;
	lw_event *event;
} lw_arrival;

/* A device that computes a share of every batch. */
typedef struct lw_lane {
	lw_plan *plan;
	int member, index;
	int first_image, images, slice_count;
	int first_run, run_count; /* of the plan's */
	lw_executor *executor;
	lw_buf *statistics, *outcome, *loss, *correct;
	float *host_statistics, *host_outcome; /* outcome: losses, then hits, each `images` rounded up */
	int *pending;          /* by parcel: gradients that this step has not enqueued yet */
	lw_arrival *arrivals;  /* of this step, in order */
	size_t arrival_count;
	bool stale;            /* its copies are not those of the host; never of one that works in place */
	bool direct;           /* it is the only lane, and enqueues the updates that its own device owns itself */
	double seconds;        /* its last forward and backward */
	lw_worker *worker;
	/* what to do */
	const float *images_in;
	const int32_t *labels_in;
	int evaluate_count;
	float *logits;
} lw_lane;

/* What an owner needs for one of its parcels. */
typedef struct lw_owned {
	int parcel;
	lw_buf *chunks, *norms;
	lw_buf *params[2], *states[LW_RULE_MAX_STATES][2];
	lw_buf *gradients[LW_MAX_RUNS];
} lw_owned;

/* A device that owns parcels. */
typedef struct lw_owner {
	lw_plan *plan;
	int member;
	lw_op_context context; /* its queue is the updates' */
	lw_owned *owned;       /* in the order in which gradients become complete */
	size_t count;
	lw_buf *chunks, *rows, *norms, *domain_of_row, *limits, *scale, *domain_norms;
	float *host_norms;     /* a copy of norms */
	bool stale;            /* its copies of parameters and state are not the host's; never of one that works in place */
	lw_worker *worker;     /* NULL: the lane does everything */
} lw_owner;

/* The lanes' exchange of statistics within a step (exchange.c). */
typedef struct lw_exchange {
	float *staging[2];
	size_t capacity[2]; /* bytes */
	int64_t round;
	int waiting;
	/* with other ranks, of the round that all lanes here are in */
	size_t bytes_per_image;
	int arrays;
	bool leaving; /* to be sent */
	int missing;  /* messages, both ways */
} lw_exchange;

/* A rank's messages within a step (post.c). */
typedef struct lw_post {
	lw_worker *worker;
	bool listening;       /* for other ranks' failures */
	bool closing;         /* lanes and owners have ended: there will be nothing more to send */
	bool told;            /* of a failure here */
	bool norms_sent;
	bool *gradients_sent, *params_sent; /* by parcel */
	int under_way;        /* messages, but those of failures */
	float *norms;         /* of all ranks, each one's together, in the parcels' order */
	size_t *norms_at;     /* by rank, and one more */
	int norms_missing;    /* ranks whose norms are yet to come */
} lw_post;

/*
 * Asked for images that this rank is about to compute, of a batch that was given without them: count of them, from first.
 * Labels are there.
 */
typedef lw_status lw_plan_supply(void *user, const float *images, int first, int count);

typedef enum lw_update_mode { LW_UPDATE_ALL, LW_UPDATE_NONE } lw_update_mode;

struct lw_plan {
	lw_net *net;
	lw_plan_options options;
	double *shares; /* options.shares, by member; NULL: as measured */
	lw_optim_options optim;
	lw_groups *groups;
	lw_layout layout;
	int *order; /* parameters, as they lie in the arenas */
	size_t statistics_at, statistics_floats; /* running statistics: a range of the arenas */
	int slices; /* 0: sums over the batch are a lane's each */
	int *owner_of_group; /* the peer that its `device:` names on rank 0, or that it was moved to; -1: the plan decides */

	lw_member *members;
	size_t member_count;
	lw_ranks *ranks; /* NULL: there is one */
	lw_peer *peers;
	size_t peer_count;
	int *rank_image; /* by rank, and one more: the first image of its lanes */
	int lanes_of_all; /* on all ranks */
	lw_post post;

	/* what is committed is params[which], states[...][which] */
	lw_arena params[2], states[LW_RULE_MAX_STATES][2];
	lw_arena *gradients; /* by run */
	int which;
	bool host_current; /* the host's memory has what is committed; always, but for a single device that does not work in place */

	lw_rows rows;
	lw_plan_parcel *parcels;
	size_t parcel_count;
	int *first_parcel, *last_parcel; /* by parameter; first > last: none */
	lw_chunk *chunks; /* in the arenas' order, whoever owns them, so that norms are summed in one order */
	size_t chunk_count;
	lw_run runs[LW_MAX_SLICES]; /* of all lanes, in order */
	int run_count, own_runs; /* own: of this rank's lanes */
	lw_lane *lanes;
	size_t lane_count;
	lw_owner *owners;
	size_t owner_count;
	lw_workload workload; /* its parcels' fixed owners are indices of the devices that lw_plan_describe_devices lists */
	double planning_seconds;

	int64_t *t; /* updates so far, by parameter */
	int64_t step;
	int64_t arranged_at; /* the step since which lanes are as they are */
	bool moved;    /* a group was given another owner: to be arranged anew */
	bool balanced; /* shares have been looked at, and are held: a checkpoint has the speeds that they are dealt out by */
	size_t lost_count;         /* of all ranks, at the last arrangement */
	size_t all_lost, all_left; /* as of the last step */
	lw_plan_supply *supply; /* NULL: all images are given */
	void *supply_user;

	/* of the step being taken, under the lock */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool broken;      /* a device failed: nobody is to wait for anything more */
	lw_update_mode mode;
	double began;
	size_t owners_normed;     /* have given the norms of all their parcels */
	bool coefficients_known;
	float *norms, *scale, *domain_norms; /* by chunk, row, domain */
	float *outcome;     /* by image of the batch: its loss, and whether it was a hit */
	double *statistics; /* sums over the batch */
	double gradient_norm;
	lw_exchange exchange;

	/* between lw_compute_gradients and lw_apply_gradients */
	bool computed, finite;
	bool *applied; /* by group */
};

/* Whether what a device makes is for others, too, and so goes to the host's memory. */
static inline bool lw_plan_is_shared(const lw_plan *plan) { return plan->member_count > 1 || plan->ranks; }
static inline int lw_plan_rank(const lw_plan *plan) { return plan->ranks ? plan->ranks->index : 0; }
static inline int lw_plan_rank_count(const lw_plan *plan) { return plan->ranks ? plan->ranks->count : 1; }

/* --- arrange.c --- */

/* (Re)makes rows, parcels, lanes and owners for the groups as they are frozen now and the devices that are left. */
lw_status lw_plan_arrange(lw_plan *plan);
void lw_plan_disband(lw_plan *plan);
/* Waits until nothing is under way in memory that may be let go, the caller's too: also where a device failed in the middle of a step. */
void lw_plan_settle(lw_plan *plan);
/* Whether lanes should be given other shares than they have, by what was measured. */
lw_status lw_plan_weigh(lw_plan *plan, bool *unbalanced);

/* --- describe.c --- */

/* The devices that are left, as the placement sees them, and their indices of peers; returns how many. Both have peer_count. */
size_t lw_plan_describe_devices(const lw_plan *plan, lw_placement_device *devices, int *peer_of);

/* --- measure.c --- */

/* Bandwidth of the member's updates and of its link to the host. */
lw_status lw_member_measure(lw_plan *plan, lw_member *member);

/* --- lane.c --- */

lw_status lw_lane_create(lw_lane *lane);
void lw_lane_clear(lw_lane *lane);
/* Jobs of its worker: a training step; an evaluation. */
lw_status lw_lane_train(void *lane);
lw_status lw_lane_evaluate(void *lane);
lw_status lw_lane_prefetch(lw_lane *lane, const float *images, const int32_t *labels);

/* --- owner.c --- */

lw_status lw_owner_create(lw_owner *owner);
void lw_owner_clear(lw_owner *owner);
/* Before a step: brings the rows' numbers, and its copies where they are stale. */
lw_status lw_owner_begin(lw_owner *owner);
/* Job of its worker: its parcels as they become complete. */
lw_status lw_owner_run(void *owner);
/* Enqueues the sum, the norms and, where it waits for nothing, the update of a parcel. */
lw_status lw_owner_enqueue(lw_owner *owner, lw_owned *owned);
/* For an owner whose lane did all this: what is left when the last parcel is enqueued. */
lw_status lw_owner_enqueue_rest(lw_owner *owner);
/* Updates one group from the gradients of the last step, in place. */
lw_status lw_owner_apply(lw_owner *owner, int group);
/* Brings what its device has of parameters and state to the host. */
lw_status lw_owner_fetch(lw_owner *owner);

/* --- exchange.c --- */

lw_status lw_exchange_gather(void *lane, lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes_per_image, int arrays);

/* --- step.c --- */

/* Takes the step after the last one; nothing is changed where it fails. */
lw_status lw_plan_run(lw_plan *plan, const float *images, const int32_t *labels, lw_update_mode mode, lw_step_result *result);
lw_status lw_plan_run_evaluation(lw_plan *plan, const float *images, const int32_t *labels, int count, float *logits);
/* Makes sure that the host's memory has what is committed. */
lw_status lw_plan_fetch(lw_plan *plan);
/* What the host's memory has is what is committed: devices with copies of their own take it from there. */
void lw_plan_stale(lw_plan *plan);
/* What all ranks come to: LW_OK only where all do. Notes how many devices were lost, and are left. */
lw_status lw_plan_conclude(lw_plan *plan, lw_status status);
/* Has this rank's images of a batch brought, where they are not given. */
lw_status lw_plan_ask_images(lw_plan *plan, const float *images);
/* Ends all waiting within a step; a lane or owner that failed calls it. */
void lw_plan_break(lw_plan *plan);
/* Waits, with the lock held, until something changed; LW_E_INTERRUPTED where the step is broken. */
lw_status lw_plan_await(lw_plan *plan);

/* --- agree.c: called by all ranks together; nothing is done where there is one --- */

/* The devices of all ranks as they are now, not shared out; *peers is the caller's. */
lw_status lw_plan_list_peers(lw_plan *plan, lw_peer **peers, size_t *count);
/* What all come to (see lw_plan_conclude): LW_OK where all say so, else what the first rank says that does not. lost, left: this rank's devices, then all's. */
lw_status lw_plan_agree(lw_plan *plan, lw_status status, size_t *lost, size_t *left);
/* The largest of all ranks' numbers. */
lw_status lw_plan_largest(lw_plan *plan, int64_t *number);
/* The number that a rank has, to all. */
lw_status lw_plan_take_number(lw_plan *plan, int from, double *number);
/* The outcome of all images, and of as many logits. */
lw_status lw_plan_gather_outcome(lw_plan *plan, float *logits);
/* The sum of what all ranks have. */
lw_status lw_plan_sum(lw_plan *plan, double *values, size_t count);

/* --- post.c --- */

lw_status lw_post_create(lw_plan *plan);
void lw_post_clear(lw_post *post);
void lw_post_begin(lw_plan *plan);
/* Job of its worker: a step's messages. */
lw_status lw_post_run(void *plan);
/* Waits for what is under way when lanes and owners have ended. */
lw_status lw_post_end(lw_plan *plan);
/* Between steps, by all ranks together: from parcels' owners, to one rank or (-1) to all: of an arena. */
lw_status lw_plan_spread(lw_plan *plan, const lw_arena *arena, int to);
/* All states that there are, of what is committed. */
lw_status lw_plan_spread_states(lw_plan *plan, int to);

/* NULL: batches are given whole. */
void lw_plan_set_supply(lw_plan *plan, lw_plan_supply *supply, void *user);

/* Reads what is known of a member's device, unless it is not to be asked. */
lw_status lw_plan_open_tuning(lw_plan *plan, lw_member *member);

#endif
