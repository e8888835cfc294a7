/* A layer's gradients slice by slice: the operator's pass of the weight over pieces of the images, joined in the tree of slices.c. */
#include "net/net.h"

/* Slices of a run that one call sums over: the leaf of its tree. In images: the executor's from `first` on. */
typedef struct piece {
	int run, leaf, slices, first, images;
} piece;

/* Slices that an operator sums over at most in one call, where they are alike. */
enum { MOST_SLICES = 4 };

static int list_pieces(const lw_cut *cut, int most, piece pieces[LW_MAX_SLICES])
{
	int count = 0;

	for (int r = 0; r < cut->run_count; r++) {
		const int slices = lw_min_int(most, cut->runs[r].count);
		for (int at = 0; at < cut->runs[r].count; at += slices) {
			const int slice = cut->runs[r].first + at;
			const int begin = lw_slice_begin(cut->share.all, cut->share.slices, slice);
			const int end = lw_slice_begin(cut->share.all, cut->share.slices, slice + slices);
			pieces[count++] = (piece){r, at / slices, slices, begin - cut->share.first, end - begin};
		}
	}
	return count;
}

static size_t image_bytes(lw_shape s) { return (size_t)s.h * (size_t)s.w * (size_t)s.c * sizeof(float); }

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t aligned(size_t bytes) { return lw_round_up(bytes, LW_ARENA_ALIGNMENT * sizeof(float)); }

/* The call of a piece but for its buffers; *share is what it points to. */
static void describe_piece(const lw_net *net, lw_instruction *instruction, const lw_cut *cut, const piece *p, lw_share *share,
			   lw_op_call *call)
{
	*share = cut->share;
	share->first += p->first;
	lw_describe_call(net, instruction, p->images, share, call);
	call->slices = p->slices;
	/* choices are kept for a number of images: of one, two or four slices, or of one that is an image longer than others */
	if (p->images > share->all / share->slices)
		call->kept = &instruction->sliced.kept[p->images > 2 * (share->all / share->slices)];
}

/* --- Its workspace: temporary gradients, copies, and the operator's own --- */

/* Room for a copy of a piece's images, where one does not begin where the device lets a buffer begin. */
static size_t copy_bytes(const lw_cut *cut, const piece *pieces, int count, lw_shape shape)
{
	size_t bytes = 0;

	for (int i = 0; i < count; i++)
		if ((size_t)pieces[i].first * image_bytes(shape) % cut->alignment)
			bytes = larger(bytes, (size_t)pieces[i].images * image_bytes(shape));
	return aligned(bytes);
}

/* How many temporary gradients of each parameter the largest run needs: as many as its tree is high. */
static int count_levels(const piece *pieces, int count)
{
	int levels = 0;

	for (int i = 0; i < count; i++)
		while (1 << levels <= pieces[i].leaf)
			levels++;
	return levels;
}

static lw_status operator_bytes(const lw_net *net, lw_instruction *instruction, const lw_cut *cut, const lw_op_context *context,
				const piece *p, size_t *bytes)
{
	const lw_node *node = &net->nodes[instruction->node];
	lw_op_rule rule;
	lw_op_call call;
	lw_share share;

	describe_piece(net, instruction, cut, p, &share, &call);
	LW_TRY(node->op->rule(&node->options, call.input_shape, node->input_count, &rule));
	*bytes = larger(*bytes, node->op->workspace ? node->op->workspace(context, &call, LW_PASS_WEIGHT) : rule.backward_workspace);
	return LW_OK;
}

/* Whether one call can sum over all slices of any piece of so many. */
static bool takes_slices(const lw_net *net, lw_instruction *instruction, const lw_cut *cut, const lw_op_context *context, int most)
{
	const lw_op *op = net->nodes[instruction->node].op;
	piece pieces[LW_MAX_SLICES];
	const int count = list_pieces(cut, most, pieces);

	if (!op->takes_slices || cut->share.all % cut->share.slices)
		return false;
	for (int i = 0; i < count; i++) {
		lw_op_call call;
		lw_share share;
		describe_piece(net, instruction, cut, &pieces[i], &share, &call);
		if (pieces[i].slices > 1 && !op->takes_slices(context, &call))
			return false;
	}
	return true;
}

lw_status lw_sliced_plan(const lw_net *net, lw_instruction *instruction, const lw_cut *cut, const lw_op_context *context, size_t *bytes)
{
	const lw_node *node = &net->nodes[instruction->node];
	lw_sliced *s = &instruction->sliced;
	piece pieces[LW_MAX_SLICES];
	int count;

	*s = (lw_sliced){.slices = takes_slices(net, instruction, cut, context, MOST_SLICES) ? MOST_SLICES : 1};
	count = list_pieces(cut, s->slices, pieces);
	for (int slot = 0; slot < node->rule.param_count; slot++)
		if (instruction->param_gradients[slot]) {
			s->param[slot] = s->level;
			s->level += aligned(net->params[node->params[slot]].count * sizeof(float));
		}
	s->gradient = (size_t)count_levels(pieces, count) * s->level;
	s->input[0] = s->gradient + copy_bytes(cut, pieces, count, lw_net_shape(net, instruction->node, 1));
	for (int k = 0; k < node->input_count; k++)
		s->input[k + 1] = s->input[k] + copy_bytes(cut, pieces, count, lw_net_shape(net, node->inputs[k], 1));
	*bytes = 0;
	for (int i = 0; i < count; i++)
		LW_TRY(operator_bytes(net, instruction, cut, context, &pieces[i], bytes));
	s->has_scratch = *bytes > 0;
	*bytes += s->input[node->input_count];
	return LW_OK;
}

/* --- Running it --- */

enum { MOST_OWNED = LW_OP_MAX_INPUTS + 2 * LW_OP_MAX_PARAMS + 2 };

typedef struct work {
	const lw_op_context *context;
	const lw_net *net;
	const lw_node *node;
	lw_instruction *instruction;
	const lw_cut *cut;
	const lw_op_call *whole;      /* the call of all the images */
	lw_buf *owned[MOST_OWNED]; /* slices made for a piece */
	int owned_count;
} work;

static lw_status own_slice(work *w, lw_buf *parent, size_t offset, size_t bytes, lw_buf **buf)
{
	LW_TRY(lw_buf_slice(buf, parent, offset, bytes));
	w->owned[w->owned_count++] = *buf;
	return LW_OK;
}

/* Drivers keep what enqueued work needs. */
static void release(work *w)
{
	while (w->owned_count)
		lw_buf_destroy(&w->owned[--w->owned_count]);
}

/* The piece's images of an activation: where they lie, or a copy in the workspace. */
static lw_status piece_images(work *w, const piece *p, lw_buf *all, lw_shape shape, size_t copy, lw_buf **buf)
{
	const size_t offset = (size_t)p->first * image_bytes(shape), bytes = (size_t)p->images * image_bytes(shape);

	*buf = all;
	if (!offset)
		return LW_OK;
	if (offset % w->cut->alignment == 0)
		return own_slice(w, all, offset, bytes, buf);
	LW_TRY(lw_queue_copy(w->context->queue, all, offset, w->whole->workspace, copy, bytes, NULL));
	return own_slice(w, w->whole->workspace, copy, bytes, buf);
}

/* A parameter's gradient over a part of the run: level 0 is where the run's belongs, the others are temporary. */
static lw_status gradient_at(work *w, int level, int slot, lw_buf *run, lw_buf **buf)
{
	const lw_sliced *s = &w->instruction->sliced;

	*buf = run;
	if (!level)
		return LW_OK;
	return own_slice(w, w->whole->workspace, (size_t)(level - 1) * s->level + s->param[slot],
			 w->net->params[w->node->params[slot]].count * sizeof(float), buf);
}

static lw_status run_piece(work *w, const piece *p, int level, lw_buf *const *gradients)
{
	const lw_sliced *s = &w->instruction->sliced;
	lw_buf *workspace = w->whole->workspace;
	const size_t scratch = s->input[w->node->input_count];
	lw_op_call call;
	lw_share share;

	describe_piece(w->net, w->instruction, w->cut, p, &share, &call);
	LW_TRY(piece_images(w, p, w->whole->output_gradient, call.output_shape, s->gradient, &call.output_gradient));
	for (int k = 0; k < w->node->input_count; k++)
		LW_TRY(piece_images(w, p, w->whole->input[k], call.input_shape[k], s->input[k], &call.input[k]));
	for (int slot = 0; slot < w->node->rule.param_count; slot++) {
		call.param[slot] = w->whole->param[slot];
		if (w->instruction->param_gradients[slot])
			LW_TRY(gradient_at(w, level, slot, gradients[slot], &call.param_gradient[slot]));
	}
	if (s->has_scratch)
		LW_TRY(own_slice(w, workspace, scratch, lw_buf_size(workspace) - scratch, &call.workspace));
	return w->node->op->backward(w->context, &call);
}

/* Adds what lies a level above. */
static lw_status join(work *w, int level, lw_buf *const *gradients)
{
	for (int slot = 0; slot < w->node->rule.param_count; slot++) {
		lw_buf *left, *right;

		if (!w->instruction->param_gradients[slot])
			continue;
		LW_TRY(gradient_at(w, level, slot, gradients[slot], &left));
		LW_TRY(gradient_at(w, level + 1, slot, gradients[slot], &right));
		LW_TRY(lw_accumulate(w->context, w->net->params[w->node->params[slot]].count, right, left));
	}
	return LW_OK;
}

/* As a binary counter: each bit of the number of pieces so far is a sum that waits, at its level. */
static lw_status add_piece(work *w, const piece *p, lw_buf *const *gradients)
{
	int level = 0;

	for (int bits = p->leaf; bits; bits &= bits - 1)
		level++;
	LW_TRY(run_piece(w, p, level, gradients));
	for (int bits = p->leaf; bits & 1; bits >>= 1)
		LW_TRY(join(w, --level, gradients));
	return LW_OK;
}

lw_status lw_sliced_run(const lw_op_context *context, const lw_net *net, lw_instruction *instruction, const lw_cut *cut,
			const lw_op_call *whole, lw_buf *gradients[LW_MAX_RUNS][LW_OP_MAX_PARAMS])
{
	work w = {.context = context, .net = net, .node = &net->nodes[instruction->node], .instruction = instruction, .cut = cut, .whole = whole};
	piece pieces[LW_MAX_SLICES];
	const int count = list_pieces(cut, instruction->sliced.slices, pieces);
	lw_status status = LW_OK;

	for (int i = 0; i < count && status == LW_OK; i++) {
		status = add_piece(&w, &pieces[i], gradients[pieces[i].run]);
		release(&w);
	}
	return status;
}
