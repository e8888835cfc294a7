/*
 * The tape: a net's forward and its pruned reverse passes as a list of instructions over values, made once.
 *
 * Backward computes a layer's input gradient only where a parameter that trains lies below it, and a parameter's
 * gradient only where it trains: it stops at the lowest trainable layer.
 */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

typedef struct builder {
	lw_tape *tape;
	const lw_net *net;
	const lw_tape_options *options;
	lw_unit *units;
	bool *wanted;   /* in this pass: the gradient of the node's output is needed */
	int *gradient;  /* value of it, -1: nothing written yet */
} builder;

static lw_status new_value(lw_tape *tape, size_t bytes, int *value)
{
	*value = -1;
	if (!bytes)
		return LW_OK;
	LW_TRY(lw_grow(&tape->values, &tape->value_capacity, tape->value_count + 1, sizeof *tape->values));
	tape->values[tape->value_count] = (lw_value){.bytes = bytes, .first = INT32_MAX, .last = -1};
	*value = (int)tape->value_count++;
	return LW_OK;
}

/* The instruction being built needs the value. */
static void touch(lw_tape *tape, int value)
{
	if (value < 0)
		return;
	tape->values[value].first = lw_min_int(tape->values[value].first, (int)tape->count);
	tape->values[value].last = lw_max_int(tape->values[value].last, (int)tape->count);
}

static lw_status emit(lw_tape *tape, const lw_instruction *instruction)
{
	LW_TRY(lw_grow(&tape->instructions, &tape->capacity, tape->count + 1, sizeof *tape->instructions));
	tape->instructions[tape->count++] = *instruction;
	return LW_OK;
}

static size_t output_bytes(const builder *b, int node)
{
	return lw_shape_count(lw_net_shape(b->net, node, b->options->batch)) * sizeof(float);
}

/* The layer's rule for the whole batch: what is saved and its workspaces grow with it. */
static lw_status batch_rule(const builder *b, const lw_node *node, lw_op_rule *rule)
{
	lw_shape shapes[LW_OP_MAX_INPUTS];

	for (int i = 0; i < node->input_count; i++)
		shapes[i] = lw_net_shape(b->net, node->inputs[i], b->options->batch);
	return node->op->rule(&node->options, shapes, node->input_count, rule);
}

void lw_describe_call(const lw_net *net, lw_instruction *instruction, int batch, const lw_share *share, lw_op_call *call)
{
	const lw_node *node = &net->nodes[instruction->node];
	const lw_unit *unit = &instruction->unit;

	*call = (lw_op_call){.kept = &instruction->kept,
			     .options = &node->options,
			     .input_count = node->input_count,
			     .output_shape = lw_net_shape(net, instruction->node, batch),
			     .training = instruction->training,
			     .relu = unit->relu,
			     .mask_input = unit->mask_input,
			     .layer = node->stream,
			     .share = share};
	for (int k = 0; k < node->input_count; k++)
		call->input_shape[k] = lw_net_shape(net, node->inputs[k], batch);
	if (unit->residual != LW_NO_NODE)
		call->input_shape[call->input_count++] = call->output_shape;
}

lw_label lw_instruction_label(const lw_net *net, const lw_instruction *instruction, int batch)
{
	static const char *const parts[] = {[LW_FORWARD] = "forward", [LW_LOSS] = "loss", [LW_BACKWARD] = "backward",
					    [LW_ACCUMULATE] = "sum", [LW_MASK] = "mask"};
	const lw_node *node = &net->nodes[instruction->node];
	bool data = instruction->kind == LW_FORWARD, params = false;

	if (instruction->kind == LW_BACKWARD) {
		for (int k = 0; k < node->input_count; k++)
			data |= instruction->input_gradients[k] >= 0;
		for (int slot = 0; slot < node->rule.param_count; slot++)
			params |= instruction->param_gradients[slot];
	}
	return (lw_label){node->name, parts[instruction->kind], node->rule.flops * batch * (data + params)};
}

static const lw_share *share_of(const builder *b) { return b->options->cut ? &b->options->cut->share : NULL; }

/* Whether the layer's statistics, and so its gradients, are those of all shares' images. */
static bool is_whole(const builder *b, const lw_node *node)
{
	return b->options->training && node->op->whole_workspace && share_of(b) && share_of(b)->whole;
}

static size_t whole_workspace(const builder *b, lw_instruction *instruction)
{
	lw_op_call call;

	lw_describe_call(b->net, instruction, b->options->batch, share_of(b), &call);
	return b->net->nodes[instruction->node].op->whole_workspace(&call);
}

/* Scratch of a pass where it depends on how the layer is computed. */
static size_t chosen_workspace(const builder *b, lw_instruction *instruction, lw_pass pass)
{
	lw_op_call call;

	lw_describe_call(b->net, instruction, b->options->batch, share_of(b), &call);
	return b->net->nodes[instruction->node].op->workspace(b->options->context, &call, pass);
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static lw_status backward_workspace(const builder *b, const lw_node *node, lw_instruction *instruction, const lw_op_rule *rule,
				    size_t *bytes)
{
	const bool chosen = node->op->workspace && b->options->context;
	bool data = false, weight = false, sliced;
	size_t more = 0;

	for (int k = 0; k < node->input_count; k++)
		data |= instruction->input_gradients[k] >= 0;
	for (int slot = 0; slot < node->rule.param_count; slot++)
		weight |= instruction->param_gradients[slot];
	sliced = weight && !is_whole(b, node) && share_of(b) && share_of(b)->slices;
	*bytes = is_whole(b, node) ? whole_workspace(b, instruction) : chosen ? 0 : rule->backward_workspace;
	if (chosen && data)
		*bytes = chosen_workspace(b, instruction, LW_PASS_DATA);
	if (chosen && weight && !sliced)
		more = chosen_workspace(b, instruction, LW_PASS_WEIGHT);
	if (sliced)
		LW_TRY(lw_sliced_plan(b->net, instruction, b->options->cut, b->options->context, &more));
	*bytes = larger(*bytes, more);
	return LW_OK;
}

static size_t forward_workspace(const builder *b, const lw_node *node, lw_instruction *instruction, const lw_op_rule *rule)
{
	if (is_whole(b, node))
		return whole_workspace(b, instruction);
	if (!node->op->workspace || !b->options->context)
		return rule->forward_workspace;
	return chosen_workspace(b, instruction, LW_PASS_FORWARD);
}

static bool trains(const builder *b, int param) { return b->options->pass_of_param[param] >= 0; }

/* A batchnorm all of whose parameters are frozen uses its running statistics and leaves them alone. */
static bool node_frozen(const builder *b, const lw_node *node)
{
	bool any_trainable = false;

	if (node->options.update_frozen)
		return false;
	for (int slot = 0; slot < node->rule.param_count; slot++) {
		if (!node->rule.params[slot].trainable)
			continue;
		any_trainable = true;
		if (trains(b, node->params[slot]))
			return false;
	}
	return any_trainable;
}

static lw_status forward_unit(builder *b, const lw_unit *unit)
{
	lw_tape *tape = b->tape;
	const lw_node *node = &b->net->nodes[unit->node];
	lw_instruction instruction = {.kind = LW_FORWARD, .unit = *unit, .node = unit->node, .output_gradient = -1};
	lw_op_rule rule;

	LW_TRY(batch_rule(b, node, &rule));
	instruction.training = b->options->training && !node_frozen(b, node);
	LW_TRY(new_value(tape, output_bytes(b, unit->output), &tape->output[unit->output]));
	LW_TRY(new_value(tape, rule.saved, &tape->saved[unit->node]));
	LW_TRY(new_value(tape, forward_workspace(b, node, &instruction, &rule), &instruction.workspace));
	for (int k = 0; k < node->input_count; k++)
		if (node->inputs[k] != LW_NODE_INPUT)
			touch(tape, tape->output[node->inputs[k]]);
	if (unit->residual != LW_NO_NODE)
		touch(tape, tape->output[unit->residual]);
	touch(tape, tape->output[unit->output]);
	touch(tape, tape->saved[unit->node]);
	touch(tape, instruction.workspace);
	return emit(tape, &instruction);
}

static lw_status forward_pass(builder *b)
{
	for (size_t i = 0; i < b->net->node_count; i++)
		b->tape->output[i] = b->tape->saved[i] = -1;
	for (size_t i = 0; i < b->net->node_count; i++)
		if (!b->units[i].absorbed)
			LW_TRY(forward_unit(b, &b->units[i]));
	return LW_OK;
}

static lw_status loss(builder *b)
{
	lw_tape *tape = b->tape;
	int last = (int)b->net->node_count - 1;
	lw_instruction instruction = {.kind = LW_LOSS, .node = last, .output_gradient = -1, .workspace = -1};

	LW_TRY(new_value(tape, output_bytes(b, last), &tape->loss_gradient));
	touch(tape, tape->output[last]);
	touch(tape, tape->loss_gradient);
	instruction.output_gradient = tape->loss_gradient;
	return emit(tape, &instruction);
}

/* Where a node has several readers, the first (from the end) writes its gradient and the others are added to it. */
static lw_status input_gradient(builder *b, int input, lw_instruction *instruction, int slot, int added[2])
{
	size_t bytes = output_bytes(b, input);
	int value;

	LW_TRY(new_value(b->tape, bytes, &value));
	touch(b->tape, value);
	instruction->input_gradients[slot] = value;
	added[0] = added[1] = -1;
	if (b->gradient[input] < 0) {
		b->gradient[input] = value;
	} else {
		added[0] = value;
		added[1] = b->gradient[input];
	}
	return LW_OK;
}

static lw_status emit_pair(builder *b, lw_instruction_kind kind, int node, int pass, int from, int to)
{
	lw_instruction instruction = {.kind = kind, .node = node, .pass = pass, .output_gradient = -1, .workspace = -1, .from = from, .to = to};

	touch(b->tape, from);
	touch(b->tape, to);
	return emit(b->tape, &instruction);
}

/* FLOPs of a unit's backward pass; layers without parameters have no second part. */
static void count_flops(builder *b, const lw_unit *unit, bool inputs, bool params)
{
	for (int i = unit->node; i <= unit->output; i++)
		if (i == unit->node || (b->units[i].absorbed && b->units[i].node == unit->node) || i == unit->output)
			b->tape->backward_flops += b->net->nodes[i].rule.flops * b->options->batch *
						   (inputs + (params && i == unit->node));
}

/* What backward reads of the forward's values. */
static void touch_values(builder *b, const lw_instruction *instruction, const lw_op_rule *rule)
{
	const lw_unit *unit = &instruction->unit;
	const lw_node *node = &b->net->nodes[unit->node];
	lw_tape *tape = b->tape;

	touch(tape, instruction->workspace);
	touch(tape, instruction->output_gradient);
	touch(tape, tape->saved[unit->node]);
	if (rule->backward_output || unit->residual != LW_NO_NODE)
		touch(tape, tape->output[unit->output]);
	for (int k = 0; k < node->input_count; k++)
		if (node->inputs[k] != LW_NODE_INPUT && (rule->backward_input || (k == 0 && unit->mask_input)))
			touch(tape, tape->output[node->inputs[k]]);
}

static lw_status backward_unit(builder *b, const lw_unit *unit, int pass)
{
	const lw_node *node = &b->net->nodes[unit->node];
	lw_instruction instruction = {.kind = LW_BACKWARD, .unit = *unit, .node = unit->node, .pass = pass,
				      .output_gradient = b->gradient[unit->output]};
	const int count = node->input_count + (unit->residual != LW_NO_NODE);
	int inputs[LW_OP_MAX_INPUTS + 1], added[LW_OP_MAX_INPUTS + 1][2];
	bool any_input = false, any_param = false;
	lw_op_rule rule;
	size_t bytes;

	LW_TRY(batch_rule(b, node, &rule));
	if (unit->mask_gradient)
		LW_TRY(emit_pair(b, LW_MASK, unit->output, pass, b->tape->output[unit->output], instruction.output_gradient));
	instruction.training = b->options->training && !node_frozen(b, node);
	for (int k = 0; k < count; k++) {
		inputs[k] = k < node->input_count ? node->inputs[k] : unit->residual;
		instruction.input_gradients[k] = -1;
		added[k][0] = -1;
		if (inputs[k] == LW_NODE_INPUT || !b->wanted[inputs[k]])
			continue;
		LW_TRY(input_gradient(b, inputs[k], &instruction, k, added[k]));
		any_input = true;
	}
	for (int slot = 0; slot < node->rule.param_count; slot++) {
		instruction.param_gradients[slot] = b->options->pass_of_param[node->params[slot]] == pass;
		any_param |= instruction.param_gradients[slot];
	}
	LW_TRY(backward_workspace(b, node, &instruction, &rule, &bytes));
	LW_TRY(new_value(b->tape, bytes, &instruction.workspace));
	touch_values(b, &instruction, &rule);
	LW_TRY(emit(b->tape, &instruction));
	for (int k = 0; k < count; k++)
		if (added[k][0] >= 0)
			LW_TRY(emit_pair(b, LW_ACCUMULATE, inputs[k], pass, added[k][0], added[k][1]));
	count_flops(b, unit, any_input, any_param);
	b->tape->lowest_node = b->tape->lowest_node < 0 ? unit->node : lw_min_int(b->tape->lowest_node, unit->node);
	return LW_OK;
}

/* Which outputs' gradients a pass needs: those of nodes with, at or below them, a parameter of that pass. */
static void mark_wanted(builder *b, int pass)
{
	for (size_t i = 0; i < b->net->node_count; i++) {
		const lw_node *node = &b->net->nodes[i];
		bool wanted = false;

		for (int slot = 0; slot < node->rule.param_count; slot++)
			wanted |= b->options->pass_of_param[node->params[slot]] == pass;
		for (int k = 0; k < node->input_count; k++)
			wanted |= node->inputs[k] != LW_NODE_INPUT && b->wanted[node->inputs[k]];
		b->wanted[i] = wanted;
		b->gradient[i] = -1;
	}
}

static lw_status backward_pass(builder *b, int pass)
{
	int last = (int)b->net->node_count - 1;

	mark_wanted(b, pass);
	b->gradient[last] = b->tape->loss_gradient;
	for (int i = last; i >= 0; i--)
		if (!b->units[i].absorbed && b->wanted[i] && b->gradient[i] >= 0)
			LW_TRY(backward_unit(b, &b->units[i], pass));
	return LW_OK;
}

/* FLOPs of a backward pass that stops nowhere: data for every layer but those that read only the input, and parameters. */
static double full_backward_flops(const builder *b)
{
	double flops = 0;

	for (size_t i = 0; i < b->net->node_count; i++) {
		const lw_node *node = &b->net->nodes[i];
		bool data = false;
		for (int k = 0; k < node->input_count; k++)
			data |= node->inputs[k] != LW_NODE_INPUT;
		flops += node->rule.flops * b->options->batch * (data + (node->rule.param_count > 0));
	}
	return flops;
}

lw_status lw_tape_create(lw_tape *tape, const lw_net *net, const lw_tape_options *options)
{
	builder b = {.tape = tape, .net = net, .options = options};
	lw_status status = LW_OK;

	*tape = (lw_tape){.loss_gradient = -1, .lowest_node = -1};
	LW_GO(lw_alloc(&tape->output, net->node_count, sizeof(int)));
	LW_GO(lw_alloc(&tape->saved, net->node_count, sizeof(int)));
	LW_GO(lw_alloc(&b.wanted, net->node_count, sizeof(bool)));
	LW_GO(lw_alloc(&b.gradient, net->node_count, sizeof(int)));
	LW_GO(lw_fuse(&b.units, net, options->separate));
	LW_GO(forward_pass(&b));
	if (options->training)
		LW_GO(loss(&b));
	for (int pass = 0; options->training && pass < options->pass_count; pass++)
		LW_GO(backward_pass(&b, pass));
	if (options->training)
		tape->full_backward_flops = full_backward_flops(&b);
	else /* the logits are read after the last instruction */
		tape->values[tape->output[net->node_count - 1]].last = INT32_MAX;
	for (size_t i = 0; i < tape->value_count; i++)
		tape->unplanned_bytes += tape->values[i].bytes;
	tape->arena_bytes = lw_memory_plan(tape->values, tape->value_count, LW_ARENA_ALIGNMENT * sizeof(float));
out:
	free(b.units);
	free(b.wanted);
	free(b.gradient);
	if (status != LW_OK)
		lw_tape_clear(tape);
	return status;
}

void lw_tape_clear(lw_tape *tape)
{
	for (size_t i = 0; i < tape->value_count; i++)
		lw_buf_destroy(&tape->values[i].buf);
	free(tape->instructions);
	free(tape->values);
	free(tape->output);
	free(tape->saved);
	*tape = (lw_tape){.loss_gradient = -1, .lowest_node = -1};
}
