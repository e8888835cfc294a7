/* The executor: a net's tapes bound to one device's buffers and run. */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

/* A batch on the device. from: where it comes from while its upload, which ends with `ready`, has not been used. */
typedef struct device_batch {
	lw_buf *images, *labels;
	const float *from;
	lw_event *ready;
} device_batch;

struct lw_executor {
	const lw_net *net;
	lw_executor_options options;
	lw_op_context context;
	lw_tape train, evaluate;
	bool train_prepared, evaluate_prepared; /* their kernels are built */
	lw_buf *arena;
	size_t arena_bytes;
	device_batch batches[3]; /* one is computed with; the next one waits, or its upload is under way, and so may be the one after it */
	int current;
	lw_queue *transfers; /* made when there is a batch to fetch ahead */
	int32_t *host_labels;    /* of a partial batch: the rest is -1 */
	lw_buf *loss, *correct;  /* the caller's */
	lw_cut cut;
	lw_buf **params[2], **gradients[LW_MAX_RUNS]; /* slices of the caller's arenas, by parameter */
	int which; /* of params */
	int *last_write; /* instruction of the train tape after which a parameter's gradient is complete */
};

static lw_status slice_params(lw_executor *e, const lw_layout *layout, const lw_executor_buffers *buffers)
{
	const lw_net *net = e->net;

	LW_TRY(lw_alloc(&e->params[0], net->param_count, sizeof(lw_buf *)));
	LW_TRY(lw_alloc(&e->params[1], net->param_count, sizeof(lw_buf *)));
	for (int r = 0; r < e->cut.run_count; r++)
		LW_TRY(lw_alloc(&e->gradients[r], net->param_count, sizeof(lw_buf *)));
	for (size_t i = 0; i < net->param_count; i++) {
		const bool statistics = buffers->statistics && !lw_param_rule_of(net, i)->trainable;
		const size_t offset = layout->offsets[i] * sizeof(float), bytes = net->params[i].count * sizeof(float);

		for (int k = 0; k < 2 && buffers->params[k]; k++)
			LW_TRY(statistics ? lw_buf_slice(&e->params[k][i], buffers->statistics,
							 offset - buffers->statistics_at * sizeof(float), bytes)
					  : lw_buf_slice(&e->params[k][i], buffers->params[k], offset, bytes));
		for (int r = 0; r < e->cut.run_count && e->options.pass_of_param[i] >= 0; r++)
			LW_TRY(lw_buf_slice(&e->gradients[r][i], buffers->gradients[r], offset, bytes));
	}
	return LW_OK;
}

/* The whole batch's gradients come with the first run; to sum them with the others' changes nothing. */
static lw_status clear_whole_gradients(lw_executor *e)
{
	for (size_t i = 0; i < e->net->param_count; i++)
		for (int r = 1; r < e->cut.run_count && e->gradients[r][i]; r++)
			if (e->net->nodes[e->net->params[i].node].op->whole_workspace)
				LW_TRY(lw_queue_fill(e->context.queue, e->gradients[r][i], 0, lw_buf_size(e->gradients[r][i]), 0, NULL));
	return LW_OK;
}

void lw_executor_use(lw_executor *e, int which) { e->which = which; }

static lw_status bind_tape(lw_executor *e, lw_tape *tape)
{
	for (size_t i = 0; i < tape->value_count; i++) {
		lw_value *value = &tape->values[i];
		if (value->first <= value->last)
			LW_TRY(lw_buf_slice(&value->buf, e->arena, value->offset, value->bytes));
	}
	return LW_OK;
}

/* A net can be trained if its last layer gives one feature vector an image. */
static lw_status check_net(const lw_net *net)
{
	const lw_node *last;

	if (!net->node_count)
		return lw_fail(LW_E_ARGUMENT, "the network has no layers");
	last = &net->nodes[net->node_count - 1];
	if (last->rule.output.h != 1 || last->rule.output.w != 1)
		return lw_fail(LW_E_ARGUMENT,
			       "the last layer, `%s`, gives %d x %d pixels an image; one vector of class scores was expected "
			       "(linear or globalavgpool)",
			       last->name, last->rule.output.h, last->rule.output.w);
	return LW_OK;
}

static size_t image_bytes(const lw_executor *e)
{
	return (size_t)e->options.batch * lw_shape_count(e->net->input) * sizeof(float);
}

static size_t label_bytes(const lw_executor *e) { return (size_t)e->options.batch * sizeof(int32_t); }

static lw_status create_batch(lw_executor *e, device_batch *b)
{
	LW_TRY(lw_buf_create(&b->images, e->context.device, image_bytes(e)));
	return lw_buf_create(&b->labels, e->context.device, label_bytes(e));
}

static lw_status create_buffers(lw_executor *e)
{
	lw_device *device = e->context.device;

	e->arena_bytes = e->train.arena_bytes > e->evaluate.arena_bytes ? e->train.arena_bytes : e->evaluate.arena_bytes;
	LW_TRY(lw_buf_create(&e->arena, device, e->arena_bytes));
	LW_TRY(create_batch(e, &e->batches[0]));
	LW_TRY(lw_alloc(&e->host_labels, (size_t)e->options.batch, sizeof(int32_t)));
	LW_TRY(lw_queue_fill(e->context.queue, e->batches[0].images, 0, image_bytes(e), 0, NULL));
	LW_TRY(bind_tape(e, &e->train));
	return bind_tape(e, &e->evaluate);
}

/* So that a group's update can go as soon as its last gradient is on its way. */
static lw_status find_last_writes(lw_executor *e)
{
	LW_TRY(lw_alloc(&e->last_write, e->net->param_count, sizeof(int)));
	for (size_t i = 0; i < e->net->param_count; i++)
		e->last_write[i] = -1;
	for (size_t k = 0; k < e->train.count; k++) {
		const lw_instruction *instruction = &e->train.instructions[k];
		const lw_node *node = &e->net->nodes[instruction->node];
		for (int slot = 0; instruction->kind == LW_BACKWARD && slot < node->rule.param_count; slot++)
			if (instruction->param_gradients[slot])
				e->last_write[node->params[slot]] = (int)k;
	}
	return LW_OK;
}

lw_status lw_executor_create(lw_executor **executor, const lw_net *net, lw_queue *queue, const lw_layout *layout,
			     const lw_executor_buffers *buffers, const lw_executor_options *options)
{
	lw_tape_options train = {.batch = options->batch,
				 .training = true,
				 .pass_count = options->pass_count,
				 .pass_of_param = options->pass_of_param,
				 .separate = options->separate};
	lw_tape_options evaluate;
	lw_status status;
	lw_executor *e;

	*executor = NULL;
	LW_TRY(check_net(net));
	LW_TRY(lw_alloc(&e, 1, sizeof *e));
	e->net = net;
	e->options = *options;
	e->loss = buffers->loss;
	e->correct = buffers->correct;
	e->context = (lw_op_context){.device = lw_queue_device(queue),
				     .queue = queue,
				     .precision = options->precision,
				     .reproducible = options->reproducible,
				     .force_variant = -1,
				     .tuning = options->tuning};
	LW_GO(lw_cut_create(&e->cut, options, lw_device_get_info(e->context.device)->alignment));
	train.context = &e->context;
	train.cut = &e->cut;
	evaluate = train;
	evaluate.training = false;
	evaluate.pass_count = 0;
	LW_GO(lw_tape_create(&e->train, net, &train));
	LW_GO(lw_tape_create(&e->evaluate, net, &evaluate));
	LW_GO(slice_params(e, layout, buffers));
	LW_GO(create_buffers(e));
	LW_GO(clear_whole_gradients(e));
	LW_GO(find_last_writes(e));
	e->options.pass_of_param = NULL; /* the caller's, and used up */
	*executor = e;
	return LW_OK;
out:
	lw_executor_destroy(&e);
	return status;
}

void lw_executor_destroy(lw_executor **executor)
{
	lw_executor *e = *executor;

	if (!e)
		return;
	lw_tape_clear(&e->train);
	lw_tape_clear(&e->evaluate);
	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; e->params[k] && i < e->net->param_count; i++)
			lw_buf_destroy(&e->params[k][i]);
		free(e->params[k]);
	}
	for (int r = 0; r < LW_MAX_RUNS; r++) {
		for (size_t i = 0; e->gradients[r] && i < e->net->param_count; i++)
			lw_buf_destroy(&e->gradients[r][i]);
		free(e->gradients[r]);
	}
	free(e->last_write);
	free(e->host_labels);
	lw_queue_destroy(&e->transfers);
	for (size_t i = 0; i < LW_COUNT(e->batches); i++) {
		lw_event_destroy(&e->batches[i].ready);
		lw_buf_destroy(&e->batches[i].images);
		lw_buf_destroy(&e->batches[i].labels);
	}
	lw_buf_destroy(&e->arena);
	free(e);
	*executor = NULL;
}

static lw_buf *value_buf(const lw_tape *tape, int value) { return value < 0 ? NULL : tape->values[value].buf; }

static void fill_call(const lw_executor *e, const lw_tape *tape, lw_instruction *instruction, uint32_t step, lw_op_call *call)
{
	const lw_node *node = &e->net->nodes[instruction->node];
	const lw_unit *unit = &instruction->unit;

	lw_describe_call(e->net, instruction, e->options.batch, &e->cut.share, call);
	call->output = value_buf(tape, tape->output[unit->output]);
	call->saved = value_buf(tape, tape->saved[unit->node]);
	call->workspace = value_buf(tape, instruction->workspace);
	call->seed = e->options.seed;
	call->step = step;
	for (int k = 0; k < node->input_count; k++)
		call->input[k] = node->inputs[k] == LW_NODE_INPUT ? e->batches[e->current].images : value_buf(tape, tape->output[node->inputs[k]]);
	if (unit->residual != LW_NO_NODE)
		call->input[node->input_count] = value_buf(tape, tape->output[unit->residual]);
	for (int slot = 0; slot < node->rule.param_count; slot++)
		call->param[slot] = e->params[e->which][node->params[slot]];
}

/* The gradients of the parameters slice by slice, after those of the inputs over all images. */
static lw_status run_sliced(lw_executor *e, lw_instruction *instruction, const lw_op_call *call)
{
	const lw_node *node = &e->net->nodes[instruction->node];
	lw_buf *gradients[LW_MAX_RUNS][LW_OP_MAX_PARAMS];
	bool data = false;

	for (int k = 0; k < call->input_count; k++)
		data |= call->input_gradient[k] != NULL;
	if (data)
		LW_TRY(node->op->backward(&e->context, call));
	for (int r = 0; r < e->cut.run_count; r++)
		for (int slot = 0; slot < node->rule.param_count; slot++)
			gradients[r][slot] = e->gradients[r][node->params[slot]];
	return lw_sliced_run(&e->context, e->net, instruction, &e->cut, call, gradients);
}

static lw_status run_backward(lw_executor *e, lw_instruction *instruction, int index, uint32_t step)
{
	const lw_node *node = &e->net->nodes[instruction->node];
	const bool sliced = instruction->sliced.slices > 0;
	lw_op_call call;

	fill_call(e, &e->train, instruction, step, &call);
	call.output_gradient = value_buf(&e->train, instruction->output_gradient);
	for (int k = 0; k < call.input_count; k++)
		call.input_gradient[k] = value_buf(&e->train, instruction->input_gradients[k]);
	for (int slot = 0; slot < node->rule.param_count; slot++)
		if (instruction->param_gradients[slot] && !sliced)
			call.param_gradient[slot] = e->gradients[0][node->params[slot]];
	LW_TRY(sliced ? run_sliced(e, instruction, &call) : node->op->backward(&e->context, &call));
	for (int slot = 0; e->options.gradient_ready && slot < node->rule.param_count; slot++)
		if (e->last_write[node->params[slot]] == index)
			LW_TRY(e->options.gradient_ready(e->options.user, node->params[slot]));
	return LW_OK;
}

/* A relu's backward, in place: none of those that wrote the gradient could do it. */
static lw_status run_mask(lw_executor *e, const lw_instruction *instruction)
{
	static const lw_layer_options options;
	lw_op_call call = {.options = &options, .output_shape = lw_net_shape(e->net, instruction->node, e->options.batch)};

	call.output = value_buf(&e->train, instruction->from);
	call.output_gradient = call.input_gradient[0] = value_buf(&e->train, instruction->to);
	return lw_op_find("relu")->backward(&e->context, &call);
}

static lw_status run_loss(lw_executor *e, const lw_instruction *instruction)
{
	int classes = e->net->nodes[instruction->node].rule.output.c;

	return lw_softmax_cross_entropy(&e->context, e->options.batch, classes,
					value_buf(&e->train, e->train.output[instruction->node]), e->batches[e->current].labels,
					(float)e->options.label_smoothing, (float)e->cut.share.all, e->loss, e->correct,
					value_buf(&e->train, instruction->output_gradient));
}

static lw_status run_instruction(lw_executor *e, const lw_tape *tape, int index, uint32_t step)
{
	lw_instruction *instruction = &tape->instructions[index];
	const lw_node *node = &e->net->nodes[instruction->node];
	lw_op_call call;

	switch (instruction->kind) {
	case LW_FORWARD:
		fill_call(e, tape, instruction, step, &call);
		return node->op->forward(&e->context, &call);
	case LW_LOSS:
		return run_loss(e, instruction);
	case LW_BACKWARD:
		return run_backward(e, instruction, index, step);
	case LW_MASK:
		return run_mask(e, instruction);
	case LW_ACCUMULATE:
		return lw_accumulate(&e->context, tape->values[instruction->from].bytes / sizeof(float),
				     value_buf(tape, instruction->from), value_buf(tape, instruction->to));
	}
	return LW_OK;
}

static lw_status run(lw_executor *e, const lw_tape *tape, uint32_t step)
{
	for (size_t k = 0; k < tape->count; k++) {
		lw_status status;

		lw_queue_label(e->context.queue, lw_instruction_label(e->net, &tape->instructions[k], e->options.batch));
		status = run_instruction(e, tape, (int)k, step);
		if (status != LW_OK)
			return lw_fail_prefix(status, "layer `%s`", e->net->nodes[tape->instructions[k].node].name);
	}
	lw_queue_label(e->context.queue, (lw_label){0});
	return LW_OK;
}

/* Goes through a tape without computing anything. */
static lw_status rehearse_train(void *user)
{
	lw_executor *e = user;

	return run(e, &e->train, 0);
}

static lw_status rehearse_evaluate(void *user)
{
	lw_executor *e = user;

	return run(e, &e->evaluate, 0);
}

/* Before a tape's first run its kernels are built, or read from the disk cache, side by side. */
static lw_status prepare(lw_executor *e, bool *prepared, lw_status (*rehearse)(void *user))
{
	const lw_executor_options options = e->options;
	lw_status status;

	if (*prepared)
		return LW_OK;
	*prepared = true;
	e->options.gradient_ready = NULL; /* nobody else rehearses */
	e->cut.share.gather = NULL;
	lw_queue_rehearse(e->context.queue, true);
	status = lw_kernel_prepare(e->context.device, rehearse, e);
	lw_queue_rehearse(e->context.queue, false);
	e->options.gradient_ready = options.gradient_ready;
	e->cut.share.gather = options.gather;
	return status;
}

/* The batch that comes from there, -1: none; NULL: one that is free. */
static int find_batch(const lw_executor *e, const float *from)
{
	for (int i = 0; i < (int)LW_COUNT(e->batches); i++)
		if (i != e->current && e->batches[i].from == from)
			return i;
	return -1;
}

lw_status lw_executor_prefetch(lw_executor *e, const float *images, const int32_t *labels)
{
	const int slot = lw_max_int(find_batch(e, images), find_batch(e, NULL));
	device_batch *next = &e->batches[slot < 0 ? (e->current + 1) % (int)LW_COUNT(e->batches) : slot];

	if (!e->transfers) {
		LW_TRY(lw_queue_create(&e->transfers, e->context.device));
		lw_queue_name(e->transfers, "uploads");
	}
	if (!next->images)
		LW_TRY(create_batch(e, next));
	next->from = NULL;
	lw_event_destroy(&next->ready);
	LW_TRY(lw_queue_write(e->transfers, next->images, 0, image_bytes(e), images, NULL));
	LW_TRY(lw_queue_write(e->transfers, next->labels, 0, label_bytes(e), labels, &next->ready));
	next->from = images;
	return lw_queue_flush(e->transfers);
}

/* The batch is on the device already, or goes there now. */
static lw_status take_batch(lw_executor *e, const float *images, const int32_t *labels)
{
	const int slot = find_batch(e, images);
	device_batch *now = &e->batches[slot < 0 ? e->current : slot];
	lw_status status;

	if (slot < 0) {
		LW_TRY(lw_queue_write(e->context.queue, now->images, 0, image_bytes(e), images, NULL));
		return lw_queue_write(e->context.queue, now->labels, 0, label_bytes(e), labels, NULL);
	}
	e->current = slot;
	now->from = NULL;
	status = lw_queue_wait_event(e->context.queue, now->ready);
	lw_event_destroy(&now->ready);
	return status;
}

lw_status lw_executor_train(lw_executor *e, const float *images, const int32_t *labels, uint32_t step)
{
	LW_TRY(prepare(e, &e->train_prepared, rehearse_train));
	LW_TRY(take_batch(e, images, labels));
	return run(e, &e->train, step);
}

lw_status lw_executor_evaluate(lw_executor *e, const float *images, const int32_t *labels, int count)
{
	int batch = e->options.batch;
	const lw_tape *tape = &e->evaluate;

	if (count < 1 || count > batch)
		return lw_fail(LW_E_ARGUMENT, "%d images were given; 1 to the batch of %d were expected", count, batch);
	LW_TRY(prepare(e, &e->evaluate_prepared, rehearse_evaluate));
	for (int i = 0; i < batch; i++)
		e->host_labels[i] = i < count ? labels[i] : -1;
	LW_TRY(lw_queue_write(e->context.queue, e->batches[e->current].images, 0,
			      (size_t)count * lw_shape_count(e->net->input) * sizeof(float), images, NULL));
	LW_TRY(lw_queue_write(e->context.queue, e->batches[e->current].labels, 0, label_bytes(e), e->host_labels, NULL));
	LW_TRY(run(e, tape, 0));
	return lw_softmax_cross_entropy(&e->context, batch, e->net->nodes[e->net->node_count - 1].rule.output.c,
					lw_executor_logits(e), e->batches[e->current].labels, 0.0f, (float)count, e->loss, e->correct, NULL);
}

lw_buf *lw_executor_logits(lw_executor *e) { return value_buf(&e->evaluate, e->evaluate.output[e->net->node_count - 1]); }

const lw_tape *lw_executor_tape(const lw_executor *e) { return &e->train; }

uint64_t lw_executor_activation_bytes(const lw_executor *e) { return e->arena_bytes; }
