/*
 * op: one file per operator (or family): what it accepts, shape rule, forward, backward, cost. ops.inc lists them.
 *
 * Inside the library activations are NHWC, float; parameters are in PyTorch's layout (weight OIHW or [out, in]).
 * An operator enqueues its launches on context->queue. Results never depend on the device: see cl/common.cl.
 */
#ifndef LW_OP_OP_H
#define LW_OP_OP_H

#include "kernel/kernel.h"
#include "kernel/tuning.h"
#include <layerwise/net.h>

enum { LW_OP_MAX_INPUTS = 8, LW_OP_MAX_PARAMS = 4 };

/* An activation: n images of h x w pixels of c channels, stored [n][h][w][c]. A feature vector has h = w = 1. */
typedef struct lw_shape {
	int n, h, w, c;
} lw_shape;

static inline size_t lw_shape_count(lw_shape s) { return (size_t)s.n * (size_t)s.h * (size_t)s.w * (size_t)s.c; }

/* How a parameter that no file gives starts. */
typedef enum lw_param_start { LW_START_WEIGHT, LW_START_BIAS, LW_START_ZERO, LW_START_ONE } lw_param_start;

typedef struct lw_param_rule {
	const char *name; /* "weight", "bias", "running_mean", "running_var" */
	int rank;
	int dims[4];
	bool trainable; /* false: running statistics */
	lw_param_start start;
	int fan_in, fan_out; /* for LW_START_WEIGHT and LW_START_BIAS */
	bool no_decay;       /* a bias or a norm's scale: exempt where the recipe asks so */
} lw_param_rule;

/* What the shape rule says. Sizes in bytes; 0 where nothing is needed. */
typedef struct lw_op_rule {
	lw_shape output;
	int param_count;
	lw_param_rule params[LW_OP_MAX_PARAMS];
	size_t saved;              /* kept from forward (in training) to backward, e.g. argmax, mean and invstd */
	size_t forward_workspace;  /* scratch of one forward call */
	size_t backward_workspace; /* scratch of one backward call */
	bool backward_input;       /* backward reads the inputs' values */
	bool backward_output;      /* backward reads the output's values */
	double flops;              /* of one forward pass; backward: as much for data and again for parameters */
} lw_op_rule;

/* Where a call's images lie in the step's batch, and how statistics over the whole batch are had where it is shared out. */
typedef struct lw_share {
	int first, all;  /* the call's images are [first, first + n) of all */
	int rule_images; /* images that the choice of an algorithm goes by, whatever n is; 0: n */
	int slices;      /* into which the step's batch is cut, for sums over it: see lw_op_call; 0: it is not */
	bool whole;      /* statistics over the whole batch (synchronised); false: over the call's own images */
	/*
	 * Enqueues what brings every share's records together: `buf` holds `arrays` arrays, each of `all` images' records of
	 * bytes_per_image bytes, from byte `offset` on; the caller's own images' are written already, those of others are when it returns
	 * (in queue order). NULL: there are no other shares.
	 */
	lw_status (*gather)(void *user, lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes_per_image, int arrays);
	void *user;
} lw_share;

/* One pass of one layer. Buffers hold exactly what the shapes say (maybe more). */
typedef struct lw_op_call {
	const lw_layer_options *options;
	int input_count;
	lw_shape input_shape[LW_OP_MAX_INPUTS];
	lw_shape output_shape;
	lw_buf *input[LW_OP_MAX_INPUTS];
	lw_buf *output;
	lw_buf *output_gradient;
	lw_buf *input_gradient[LW_OP_MAX_INPUTS]; /* NULL: not wanted. Overwritten, never added to */
	lw_buf *param[LW_OP_MAX_PARAMS];
	lw_buf *param_gradient[LW_OP_MAX_PARAMS]; /* NULL: not wanted (frozen). Overwritten */
	lw_buf *saved;
	lw_buf *workspace;
	bool training; /* batchnorm: batch statistics, running ones updated; dropout: active */
	/*
	 * What the planner fused into the layer, where lw_op.fuses allows it. relu: the output is relu's (activation.cl's; after
	 * bias and residual); in backward the gradient of the output comes masked already, but batchnorm masks it itself.
	 * mask_input: input 0 is the output of a relu: backward writes input[0] <= 0 ? 0 : gradient.
	 */
	bool relu, mask_input;
	uint32_t seed, step, layer; /* counters of dropout's random numbers */
	const lw_share *share;      /* NULL: the call's images are the whole batch */
	/*
	 * Of how many slices, which are alike, the call's images are: 1, 2 or 4. Sums over them are made slice by slice and
	 * joined as ((first + second) + (third + fourth)). 0: the batch is not cut into slices
	 */
	int slices;
	struct lw_kept_choices *kept; /* of calls made again and again; NULL: nothing is kept */
} lw_op_call;

typedef enum lw_pass { LW_PASS_FORWARD, LW_PASS_DATA, LW_PASS_WEIGHT, LW_PASS_COUNT } lw_pass;

/*
 * A way to compute one pass of a call. The algorithm (numbered by the operator) decides the bits; family and tile, whose
 * numbers mean what the family says, only who computes what and when. The name is unique among the call's choices.
 */
typedef struct lw_choice {
	char name[40]; /* "direct/cpu 14x2", "winograd_f4/cpu 8x2 t16" */
	int algorithm, family;
	int inner; /* of a family that is made of another operator's products: that one's family */
	int tile[6];
} lw_choice;

enum { LW_MAX_CHOICES = 48 };

/* What lw_op_choose took for the passes of a call, known at the next call with the same context. Starts as zeros. */
typedef struct lw_kept_choices {
	lw_choice choice[LW_PASS_COUNT];
	bool known[LW_PASS_COUNT];
} lw_kept_choices;

typedef struct lw_op_context {
	lw_device *device;
	lw_queue *queue;
	lw_precision precision;
	bool reproducible;
	int force_variant; /* tests: run variant k where it applies, choice k of every pass; -1 the usual choice */
	const lw_choice *force_choice; /* the tuner: of the only pass of the call; NULL: the usual choice */
	const lw_tuning *tuning;       /* what earlier runs found fastest; NULL: nothing */
	const struct lw_known *known;  /* tests: another table of known choices; NULL: the shipped one */
	bool filters_packed; /* benchmarks: the workspace still holds the packed filters of the same call */
} lw_op_context;

/* What may be fused into a layer: see lw_op_call. RESIDUAL: an optional input 1 is added before relu. */
enum { LW_FUSES_RELU = 1, LW_FUSES_INPUT_MASK = 2, LW_FUSES_RESIDUAL = 4 };

typedef struct lw_op {
	const char *kind;         /* as recipes name it: "conv" */
	const char *const *keys;  /* NULL-ended: options it accepts besides name and from */
	int min_inputs, max_inputs;
	/* Variants of forward/backward: count, and whether variant k can run this call on this device. Variant 0 runs anywhere. */
	int variant_count;
	const char *(*variant_name)(int variant);
	bool (*variant_applies)(const lw_op_context *context, const lw_op_call *call, int variant);
	/* Pure: checks options against shapes (LW_E_ARGUMENT says which and what was expected) and says what the layer needs. */
	lw_status (*rule)(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *rule);
	lw_status (*forward)(const lw_op_context *context, const lw_op_call *call);
	lw_status (*backward)(const lw_op_context *context, const lw_op_call *call);
	/*
	 * For operators with several algorithms or tiles, else NULL. choices: the ways to compute a pass of the call (shapes and
	 * options are read, not buffers) on the context's device, the best guess first, at most LW_MAX_CHOICES; they replace the
	 * variants. With force_variant >= 0 every family is listed, else those for the device's type. workspace: bytes of
	 * scratch that a pass (weight: all parameters) needs with the choice that it would make; it replaces the rule's.
	 */
	int (*choices)(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_choice *list);
	size_t (*workspace)(const lw_op_context *context, const lw_op_call *call, lw_pass pass);
	/* Whether gradients of parameters are summed over call->slices above 1 with the choice that it would make. NULL: no. */
	bool (*takes_slices)(const lw_op_context *context, const lw_op_call *call);
	/*
	 * For operators with statistics over the batch, else NULL: scratch of a pass whose share is `whole`. The gradients of
	 * parameters are then the whole batch's; shares but the one that begins at image 0 write zeros.
	 */
	size_t (*whole_workspace)(const lw_op_call *call);
	unsigned fuses; /* LW_FUSES_... */
} lw_op;

/* lw_op's choices, the one that the table of known ones names before the first guess. */
int lw_op_choices(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, lw_choice *list);

/* The choice for a pass: the forced one, else the tuner's, else the first of lw_op_choices. LW_E_UNSUPPORTED where there is none. */
lw_status lw_op_choose(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, lw_choice *choice);

/* What the tuner's findings are kept under: operator, pass, shapes, options, precision; LW_TUNING_KEY bytes at key. */
void lw_op_tuning_key(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, char *key);
extern const char *const lw_pass_names[LW_PASS_COUNT];

/* The operator of a kind, NULL where there is none; and the i-th of all, NULL past the end. */
const lw_op *lw_op_find(const char *kind);
const lw_op *lw_op_at(size_t index);

/* True where the operator takes the option. */
bool lw_op_accepts(const lw_op *op, const char *key);

/*
 * The loss: mean over the batch of the cross-entropy of softmax(logits) against labels (int32, -1 = ignored row), with
 * label smoothing (Szegedy et al. 2016; PyTorch's definition). loss[n] and correct[n] (1.0f where the largest logit is
 * the label's) per row; gradient (may be NULL) of the mean over `divisor` rows. All on context->queue.
 */
lw_status lw_softmax_cross_entropy(const lw_op_context *context, int rows, int classes, lw_buf *logits, lw_buf *labels,
				   float label_smoothing, float divisor, lw_buf *loss, lw_buf *correct, lw_buf *gradient);

/* to[i] += from[i]: sums gradients where an output has several readers. */
lw_status lw_accumulate(const lw_op_context *context, size_t count, lw_buf *from, lw_buf *to);

/*
 * A sum over the batch is cut into this many parts, at image n*part/parts: it depends on the batch alone, so every
 * device sums in the same order (semantics.md).
 */
enum { LW_BATCH_PARTS = 16 };
static inline int lw_batch_parts(int n) { return n < LW_BATCH_PARTS ? n : LW_BATCH_PARTS; }

/* The same of a slice of n images, where the step's batch has so many slices: then it depends on these alone. */
static inline int lw_slice_parts(int n, int slices)
{
	const int parts = slices < LW_BATCH_PARTS ? LW_BATCH_PARTS / slices : 1;

	return n < parts ? n : parts;
}

/* Of all images of the call. */
static inline int lw_call_parts(const lw_op_call *call)
{
	const int n = call->output_shape.n;

	return call->slices ? call->slices * lw_slice_parts(n / call->slices, call->share->slices) : lw_batch_parts(n);
}

/*
 * C[M,N] = op(A)[M,K] * op(B)[K,N], row-major float with leading dimensions. Per output: one chain acc = fma(a, b, acc)
 * over k ascending from 0, where parts > 1 in that many parts of K cut at K*part/parts, each a chain from 0, parts added
 * in order, with slices > 1 (lw_op_call's) those of each slice; then + bias[N] (may be NULL); a result of zero is +0; then relu, if asked for; then 0 where mask (a relu's output,
 * laid out as C; may be NULL) is not above 0.
 */
typedef struct lw_gemm {
	bool transpose_a, transpose_b, relu;
	int m, n, k, lda, ldb, ldc, parts;
	int slices; /* above 1 for choices of the families LW_GEMM_CPU and LW_GEMM_OUTER alone */
	/* of LW_GEMM_OUTER alone: every b_line rows of B begin b_line_pitch floats after the last ones; 0: all lie ldb apart */
	int b_line, b_line_pitch;
	lw_buf *a, *b, *c, *bias, *mask, *workspace;
} lw_gemm;
/*
 * As lw_op's choices and workspace, buffers not being looked at. Algorithm 0 has the bits above; 1, first on a GPU unless
 * context->reproducible, is CLBlast's.
 */
int lw_gemm_choices(const lw_op_context *context, const lw_gemm *gemm, lw_choice *list);
size_t lw_gemm_workspace(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice);
/* lw_choice.family of the choices that are CPUs' tiles, the second of matrices whose rows lie along the inner dimension. */
enum { LW_GEMM_CPU = 1, LW_GEMM_OUTER };
/* workspace as large as lw_gemm_workspace says for the choice. */
lw_status lw_gemm_run(const lw_op_context *context, const lw_gemm *gemm, const lw_choice *choice);

#endif
