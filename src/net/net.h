/* net: layers -> graph, named parameters, the reverse pass, memory planned by liveness, the executor. */
#ifndef LW_NET_NET_H
#define LW_NET_NET_H

#include "op/op.h"
#include <layerwise/net.h>

/*
 * Sums over a step's batch that do not depend on how it was shared out are made over slices of it and joined in a tree.
 * A run is one of its subtrees: 2^j slices from a multiple of 2^j on.
 */
enum { LW_MAX_RUNS = 16 };
typedef struct lw_run {
	int first, count; /* slices */
} lw_run;
/* The runs of slices [first, first + count), in order; returns how many. */
int lw_slice_runs(int first, int count, lw_run runs[LW_MAX_RUNS]);
static inline int lw_slice_begin(int images, int slices, int slice) { return (int)((int64_t)images * slice / slices); }

/*
 * sum[i] = the sum of partials[run][partial_offset_floats + i] for i below count, by the tree: runs in order on a stack, the top two
 * being added while they are siblings of equal size, at the end from the right. sum may be a partial, at the same place.
 * Of more than four runs the partials are overwritten.
 */
lw_status lw_sum_runs(const lw_op_context *context, size_t count, const lw_run *runs, lw_buf *const *partials, int run_count,
		      size_t partial_offset_floats, lw_buf *sum);

/* Where an executor's images lie in the step's batch, and its slices as runs; without slices there is one run. */
typedef struct lw_cut {
	lw_share share;
	int run_count;
	lw_run runs[LW_MAX_RUNS];
	unsigned alignment; /* bytes: of where a buffer may begin */
} lw_cut;

enum { LW_NODE_INPUT = -1 }; /* as a node's input: the network's own */

typedef struct lw_node {
	char *name; /* first: see lw_nearest_named */
	const lw_op *op;
	lw_layer_options options; /* name and from are not kept */
	int input_count;
	int inputs[LW_OP_MAX_INPUTS]; /* nodes, or LW_NODE_INPUT */
	lw_op_rule rule;              /* for one image */
	int params[LW_OP_MAX_PARAMS]; /* parameters of the net */
	uint32_t stream;              /* of its random numbers: from the name, so that other layers do not matter */
} lw_node;

typedef struct lw_param {
	char *name; /* first: see lw_nearest_named */
	int node, slot; /* slot: which of the node's parameters */
	size_t count;
	float *values;
} lw_param;

struct lw_net {
	lw_shape input; /* n = 1 */
	lw_node *nodes;
	size_t node_count, node_capacity;
	lw_param *params;
	size_t param_count, param_capacity;
};

static inline const lw_param_rule *lw_param_rule_of(const lw_net *net, size_t param)
{
	const lw_param *p = &net->params[param];
	return &net->nodes[p->node].rule.params[p->slot];
}

/* Shape of a node's output (or of the input) for a batch. */
lw_shape lw_net_shape(const lw_net *net, int node, int batch);

/*
 * Where each parameter lies in the arenas, in floats: values, gradients and optimizer state have the same offsets. A
 * parameter starts at a multiple of LW_ARENA_ALIGNMENT. The order is the caller's, so that groups are contiguous.
 */
enum { LW_ARENA_ALIGNMENT = 128 }; /* floats: 512 bytes, the largest alignment that devices ask of a slice */

typedef struct lw_layout {
	size_t *offsets; /* of each parameter */
	size_t floats;   /* of the whole arena */
	size_t gradient_floats; /* of its front part that holds every parameter that ever trains */
} lw_layout;

/* order: all parameters, those that ever train (count trained) first. */
lw_status lw_layout_create(lw_layout *layout, const lw_net *net, const int *order, size_t trained);
void lw_layout_clear(lw_layout *layout);

/*
 * What one instruction computes: a layer, and those that were fused into it. One per node, by the node whose output it
 * writes; nodes inside another's unit are `absorbed`.
 */
enum { LW_NO_NODE = -2 };
typedef struct lw_unit {
	int node;     /* the layer whose operator runs */
	int output;   /* the node whose output it writes: the last of the unit */
	int residual; /* the node that is added, or LW_NO_NODE */
	bool absorbed;
	bool relu;          /* it ends with one */
	bool mask_input;    /* its backward masks the gradient of input 0: see lw_op_call */
	bool mask_gradient; /* the gradient of its output must be masked first: not all that write it can */
} lw_unit;

/* separate: every layer alone. The caller frees the units. */
lw_status lw_fuse(lw_unit **units, const lw_net *net, bool separate);

/* A value of the tape: needs memory from its first to its last instruction. */
typedef struct lw_value {
	size_t bytes;
	int first, last; /* instructions; first > last: never used */
	size_t offset;   /* planned */
	lw_buf *buf;     /* slice of the activation arena */
} lw_value;

/* Offsets for values so that those alive at once do not overlap (greedy by size); returns the arena's bytes. */
size_t lw_memory_plan(lw_value *values, size_t count, size_t alignment);

typedef enum lw_instruction_kind { LW_FORWARD, LW_LOSS, LW_BACKWARD, LW_ACCUMULATE, LW_MASK } lw_instruction_kind;

/* How a layer's gradients are summed slice by slice; where in its workspace what lies, in bytes. */
typedef struct lw_sliced {
	int slices; /* that one call sums over at most; 0: the layer's are not summed so */
	size_t level, param[LW_OP_MAX_PARAMS];         /* temporary gradients: from level to level, and within one */
	size_t gradient, input[LW_OP_MAX_INPUTS + 1]; /* copies of what is not aligned; then the operator's scratch, */
	bool has_scratch;                              /* if it has any */
	lw_kept_choices kept[2]; /* of calls of more images than the first slice, than twice them; the others' are the instruction's */
} lw_sliced;

/* One entry of a tape; values are indices, -1 for none. */
typedef struct lw_instruction {
	lw_instruction_kind kind;
	lw_unit unit; /* of forward and backward */
	int node;     /* the unit's; of the others the node whose output is concerned */
	int pass;             /* of backward: which backward pass, 0 unless gradients are computed per group */
	bool training;        /* batchnorm, dropout: this layer is not frozen */
	int input_gradients[LW_OP_MAX_INPUTS]; /* a residual's after the layer's own */
	bool param_gradients[LW_OP_MAX_PARAMS];
	int output_gradient;
	int workspace;
	int from, to;         /* of accumulate; of mask: the relu's output, the gradient */
	lw_kept_choices kept; /* by the operator; the workspace was sized for them */
	lw_sliced sliced;     /* of backward */
} lw_instruction;

typedef struct lw_tape {
	lw_instruction *instructions;
	size_t count, capacity;
	lw_value *values;
	size_t value_count, value_capacity;
	int *output; /* value of each node's output */
	int *saved;  /* value of what each node keeps for backward, or -1 */
	int loss_gradient;
	size_t arena_bytes, unplanned_bytes;
	double backward_flops, full_backward_flops;
	int lowest_node; /* that backward reaches; -1: none */
} lw_tape;

/* What a tape is made for. pass_of_param: backward pass that computes a parameter's gradient, -1: none (frozen). */
typedef struct lw_tape_options {
	int batch;
	bool training;
	int pass_count;
	const int *pass_of_param;
	bool separate;     /* nothing is fused */
	const lw_cut *cut; /* NULL: the batch is all there is, uncut; else context is there */
	const lw_op_context *context; /* of the runs: workspaces depend on the choices made there; NULL: the rules' alone */
} lw_tape_options;

/* The instruction's call but for its buffers and counters. */
void lw_describe_call(const lw_net *net, lw_instruction *instruction, int batch, const lw_share *share, lw_op_call *call);
/* Its layer, its part ("forward", "backward", "loss", "mask", "sum") and the layer's FLOPs in it. */
lw_label lw_instruction_label(const lw_net *net, const lw_instruction *instruction, int batch);

lw_status lw_tape_create(lw_tape *tape, const lw_net *net, const lw_tape_options *options);
void lw_tape_clear(lw_tape *tape);

/* Fills instruction->sliced for a layer whose parameters' gradients are summed over the cut's slices; bytes: of workspace. */
lw_status lw_sliced_plan(const lw_net *net, lw_instruction *instruction, const lw_cut *cut, const lw_op_context *context, size_t *bytes);
/* Enqueues it. whole: the call over all the executor's images; gradients: of each run and parameter. */
lw_status lw_sliced_run(const lw_op_context *context, const lw_net *net, lw_instruction *instruction, const lw_cut *cut,
			const lw_op_call *whole, lw_buf *gradients[LW_MAX_RUNS][LW_OP_MAX_PARAMS]);

/* Runs a net on one device: its parameters and gradients in arenas that the caller owns. */
typedef struct lw_executor lw_executor;

typedef struct lw_executor_options {
	int batch;
	int pass_count;
	const int *pass_of_param;
	lw_precision precision;
	bool reproducible;
	bool separate;           /* layers are not fused: for comparisons */
	const lw_tuning *tuning; /* may be NULL; must outlive the executor */
	double label_smoothing;
	uint32_t seed;
	int all_images, first_image; /* of the step's batch, and where the executor's images begin in it; all_images 0: they are all */
	/*
	 * > 0: the step's batch is cut into so many slices (slice s begins at image all*s/slices), and the executor's images are
	 * whole slices of it: sums over the batch are made slice by slice and joined in a fixed tree.
	 */
	int slices;
	bool synchronise; /* batchnorm by the whole batch's statistics, by gather; implied by slices > 0 */
	/* As lw_share's; NULL: the executor's images are all there are. */
	lw_status (*gather)(void *user, lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes_per_image, int arrays);
	void *gather_user;
	/* Called after the last launch that a parameter's gradient needs was enqueued; a failure ends the run. NULL: nobody. */
	lw_status (*gradient_ready)(void *user, int param);
	void *user;
} lw_executor_options;

/*
 * What it works on, the caller's. Parameters are there twice where updates go from one arena to the other, else params[1]
 * is NULL. gradients: an arena for each run of the executor's slices, in order, whose sum over the run goes there; without
 * slices there is one. statistics: running statistics, which runs write, laid out as from statistics_at of the arena on; NULL: in params.
 * loss and correct: batch floats each, written by every run.
 */
typedef struct lw_executor_buffers {
	lw_buf *params[2], *gradients[LW_MAX_RUNS], *statistics, *loss, *correct;
	size_t statistics_at; /* floats */
} lw_executor_buffers;

/* LW_E_ARGUMENT where the executor's images are no part of the batch, or no whole slices. */
lw_status lw_cut_create(lw_cut *cut, const lw_executor_options *options, unsigned alignment);

/* The net, queue and buffers must outlive it. */
lw_status lw_executor_create(lw_executor **executor, const lw_net *net, lw_queue *queue, const lw_layout *layout,
			     const lw_executor_buffers *buffers, const lw_executor_options *options);
/* Which of the two arenas of parameters the next runs read; 0 at first. */
void lw_executor_use(lw_executor *executor, int which);
void lw_executor_destroy(lw_executor **executor);

/* Enqueues a forward and the backward passes. images (NHWC) and labels must stay valid until the queue is finished. step counts dropout's random numbers. */
lw_status lw_executor_train(lw_executor *executor, const float *images, const int32_t *labels, uint32_t step);
/* Starts the upload of the batch that the next lw_executor_train is given (the same pointers), beside what is being computed. */
lw_status lw_executor_prefetch(lw_executor *executor, const float *images, const int32_t *labels);
/* Enqueues a forward in evaluation mode over count <= batch images. */
lw_status lw_executor_evaluate(lw_executor *executor, const float *images, const int32_t *labels, int count);
/* The last layer's output of the last lw_executor_evaluate: batch x classes floats. */
lw_buf *lw_executor_logits(lw_executor *executor);
const lw_tape *lw_executor_tape(const lw_executor *executor);
uint64_t lw_executor_activation_bytes(const lw_executor *executor);

#endif
