/* The graph of layers and its named parameters. */
#include "net/net.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lw_status lw_net_create(lw_net **net, int channels, int height, int width)
{
	lw_net *n;

	*net = NULL;
	if (channels < 1 || height < 1 || width < 1)
		return lw_fail(LW_E_ARGUMENT, "input: %d channels of %d x %d; each must be at least 1", channels, height, width);
	if ((int64_t)channels * height * width > INT32_MAX / 4)
		return lw_fail(LW_E_ARGUMENT, "input: %d channels of %d x %d are too many", channels, height, width);
	LW_TRY(lw_alloc(&n, 1, sizeof *n));
	n->input = (lw_shape){1, height, width, channels};
	*net = n;
	return LW_OK;
}

void lw_net_destroy(lw_net **net)
{
	lw_net *n = *net;

	if (!n)
		return;
	for (size_t i = 0; i < n->node_count; i++)
		free(n->nodes[i].name);
	for (size_t i = 0; i < n->param_count; i++) {
		free(n->params[i].name);
		free(n->params[i].values);
	}
	free(n->nodes);
	free(n->params);
	free(n);
	*net = NULL;
}

lw_shape lw_net_shape(const lw_net *net, int node, int batch)
{
	lw_shape shape = node == LW_NODE_INPUT ? net->input : net->nodes[node].rule.output;

	shape.n = batch;
	return shape;
}

static int find_node(const lw_net *net, const char *name)
{
	for (size_t i = 0; i < net->node_count; i++)
		if (strcmp(net->nodes[i].name, name) == 0)
			return (int)i;
	return -1;
}

/* "<kind><number>", the first number that is free. */
static lw_status choose_name(const lw_net *net, const char *kind, char **name)
{
	for (int number = 1;; number++) {
		LW_TRY(lw_format_string(name, "%s%d", kind, number));
		if (find_node(net, *name) < 0)
			return LW_OK;
		free(*name);
	}
}

static lw_status check_name(const lw_net *net, const char *name)
{
	size_t ok = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");

	if (!*name || name[ok])
		return lw_fail(LW_E_ARGUMENT, "layer name `%s`: letters, digits, '_', '.' and '-' were expected", name);
	if (strcmp(name, "input") == 0)
		return lw_fail(LW_E_ARGUMENT, "layer name `input` means the network's input");
	if (find_node(net, name) >= 0)
		return lw_fail(LW_E_ARGUMENT, "two layers are named `%s`", name);
	return LW_OK;
}

static lw_status resolve_inputs(const lw_net *net, lw_node *node, const lw_layer_options *options)
{
	if (options->from_count > LW_LAYER_MAX_INPUTS)
		return lw_fail(LW_E_ARGUMENT, "layer `%s`: from: %d layers; at most %d were expected", node->name,
			       options->from_count, LW_LAYER_MAX_INPUTS);
	node->input_count = options->from_count ? options->from_count : 1;
	if (!options->from_count)
		node->inputs[0] = (int)net->node_count - 1; /* LW_NODE_INPUT for the first */
	for (int i = 0; i < options->from_count; i++) {
		const char *from = options->from[i];
		node->inputs[i] = strcmp(from, "input") == 0 ? LW_NODE_INPUT : find_node(net, from);
		if (node->inputs[i] < 0 && strcmp(from, "input") != 0)
			return lw_fail_suggest(LW_E_ARGUMENT, lw_nearest_named(from, net->nodes, net->node_count, sizeof *net->nodes),
					       "layer `%s`: from: no layer before it is named `%s`", node->name, from);
	}
	if (node->input_count < node->op->min_inputs || node->input_count > node->op->max_inputs)
		return lw_fail(LW_E_ARGUMENT, "layer `%s`: %s reads %d to %d layers, `from` names %d", node->name, node->op->kind,
			       node->op->min_inputs, node->op->max_inputs, node->input_count);
	return LW_OK;
}

static size_t rule_count(const lw_param_rule *rule)
{
	size_t count = 1;

	for (int d = 0; d < rule->rank; d++)
		count *= (size_t)rule->dims[d];
	return count;
}

/* Appends the node's parameters; on failure the net's count is as before. */
static lw_status add_params(lw_net *net, lw_node *node)
{
	size_t before = net->param_count;
	lw_status status = LW_OK;

	for (int slot = 0; slot < node->rule.param_count; slot++) {
		const lw_param_rule *rule = &node->rule.params[slot];
		lw_param *param;

		LW_GO(lw_grow(&net->params, &net->param_capacity, net->param_count + 1, sizeof *net->params));
		param = &net->params[net->param_count++];
		*param = (lw_param){.node = (int)net->node_count, .slot = slot, .count = rule_count(rule)};
		LW_GO(lw_format_string(&param->name, "%s.%s", node->name, rule->name));
		LW_GO(lw_alloc(&param->values, param->count, sizeof(float)));
		for (size_t i = 0; rule->start == LW_START_ONE && i < param->count; i++)
			param->values[i] = 1.0f;
		node->params[slot] = (int)(net->param_count - 1);
	}
	return LW_OK;
out:
	while (net->param_count > before) {
		lw_param *param = &net->params[--net->param_count];
		free(param->name);
		free(param->values);
	}
	return status;
}

/* A linear layer wants features: what has pixels is flattened first, in C, H, W order. */
static lw_status add_flatten(lw_net *net, const char *name, const lw_layer_options *options, char **flattened)
{
	lw_layer_options flatten;
	lw_status status;

	lw_layer_defaults(&flatten, "flatten");
	LW_TRY(lw_format_string(flattened, "%s.flatten", name));
	flatten.name = *flattened;
	flatten.from_count = options->from_count;
	memcpy(flatten.from, options->from, sizeof flatten.from);
	status = lw_net_add(net, "flatten", &flatten);
	return status;
}

static bool needs_flatten(const lw_net *net, const lw_node *node)
{
	lw_shape shape = lw_net_shape(net, node->inputs[0], 1);

	return strcmp(node->op->kind, "linear") == 0 && (shape.h != 1 || shape.w != 1);
}

static lw_status unknown_kind(const char *kind)
{
	const char *kinds[64];
	size_t count = 0;

	for (const lw_op *op; count < LW_COUNT(kinds) && (op = lw_op_at(count)); count++)
		kinds[count] = op->kind;
	return lw_fail_suggest(LW_E_ARGUMENT, lw_nearest(kind, kinds, count), "no layer kind is named `%s`", kind);
}

lw_status lw_net_add(lw_net *net, const char *kind, const lw_layer_options *given)
{
	lw_layer_options options;
	lw_shape shapes[LW_OP_MAX_INPUTS];
	char *flattened = NULL;
	lw_node node = {0};
	size_t before = net->node_count;
	lw_status status;

	node.op = lw_op_find(kind);
	if (!node.op)
		return unknown_kind(kind);
	lw_layer_defaults(&options, kind);
	if (given)
		options = *given;
	if (options.name) {
		LW_GO(check_name(net, options.name));
		LW_GO(lw_copy_string(&node.name, options.name));
	} else {
		LW_GO(choose_name(net, kind, &node.name));
	}
	LW_GO(resolve_inputs(net, &node, &options));
	if (needs_flatten(net, &node)) {
		LW_GO(add_flatten(net, node.name, &options, &flattened));
		node.inputs[0] = (int)net->node_count - 1;
	}
	for (int i = 0; i < node.input_count; i++)
		shapes[i] = lw_net_shape(net, node.inputs[i], 1);
	status = node.op->rule(&options, shapes, node.input_count, &node.rule);
	if (status != LW_OK) {
		lw_fail_prefix(status, "layer `%s`", node.name);
		goto out;
	}
	node.options = options;
	node.options.name = NULL;
	node.options.from_count = 0;
	node.stream = (uint32_t)lw_hash(node.name, strlen(node.name), 0);
	LW_GO(lw_grow(&net->nodes, &net->node_capacity, net->node_count + 1, sizeof *net->nodes));
	LW_GO(add_params(net, &node));
	net->nodes[net->node_count++] = node;
	free(flattened);
	return LW_OK;
out:
	while (net->node_count > before) /* the flatten in front */
		free(net->nodes[--net->node_count].name);
	free(flattened);
	free(node.name);
	return status;
}

size_t lw_net_layer_count(const lw_net *net) { return net->node_count; }

lw_status lw_net_layer_info(const lw_net *net, size_t index, lw_layer_info *info)
{
	const lw_node *node;

	if (index >= net->node_count)
		return lw_fail(LW_E_ARGUMENT, "layer %zu was asked for; there are %zu", index, net->node_count);
	node = &net->nodes[index];
	*info = (lw_layer_info){node->name,          node->op->kind,      node->rule.output.c,
				node->rule.output.h, node->rule.output.w, node->rule.flops};
	return LW_OK;
}

size_t lw_net_param_count(const lw_net *net) { return net->param_count; }

/* Layers with trainable parameters after the node. */
static int depth_of(const lw_net *net, int node)
{
	int depth = 0, last = node;

	for (size_t i = 0; i < net->param_count; i++)
		if (net->params[i].node > last && lw_param_rule_of(net, i)->trainable) {
			last = net->params[i].node;
			depth++;
		}
	return depth;
}

lw_status lw_net_param_info(const lw_net *net, size_t index, lw_param_info *info)
{
	const lw_param *param;
	const lw_param_rule *rule;

	if (index >= net->param_count)
		return lw_fail(LW_E_ARGUMENT, "parameter %zu was asked for; there are %zu", index, net->param_count);
	param = &net->params[index];
	rule = lw_param_rule_of(net, index);
	*info = (lw_param_info){.name = param->name,
				.rank = rule->rank,
				.count = param->count,
				.trainable = rule->trainable,
				.layer = param->node,
				.depth = depth_of(net, param->node),
				.no_decay = rule->no_decay};
	memcpy(info->dims, rule->dims, sizeof info->dims);
	return LW_OK;
}

lw_status lw_net_param_find(const lw_net *net, const char *name, size_t *index)
{
	for (size_t i = 0; i < net->param_count; i++)
		if (strcmp(name, net->params[i].name) == 0) {
			*index = i;
			return LW_OK;
		}
	return lw_fail_suggest(LW_E_ARGUMENT, lw_nearest_named(name, net->params, net->param_count, sizeof *net->params),
			       "no parameter is named `%s`", name);
}

/* One start value; bound or standard deviation from the fans. */
static float start_value(lw_init init, const lw_param_rule *rule, uint32_t seed, uint32_t stream, uint64_t i)
{
	double fan_in = rule->fan_in > 0 ? rule->fan_in : 1, fan_out = rule->fan_out > 0 ? rule->fan_out : 1;
	double bound = init == LW_INIT_TORCH ? 1.0 / sqrt(fan_in) : sqrt(6.0 / (fan_in + fan_out));

	if (rule->start == LW_START_ONE)
		return 1.0f;
	if (rule->start == LW_START_ZERO || (rule->start == LW_START_BIAS && init != LW_INIT_TORCH))
		return 0.0f;
	if (init == LW_INIT_HE)
		return (float)(sqrt(2.0 / fan_in) * lw_random_normal(seed, stream, i));
	return (float)(bound * (2.0 * lw_random_uniform(seed, stream, i) - 1.0));
}

lw_status lw_net_initialize(lw_net *net, lw_init init, uint32_t seed)
{
	if (init != LW_INIT_HE && init != LW_INIT_XAVIER && init != LW_INIT_TORCH)
		return lw_fail(LW_E_ARGUMENT, "init: %d is not a kind of initialisation", (int)init);
	for (size_t i = 0; i < net->param_count; i++) {
		lw_param *param = &net->params[i];
		uint32_t stream = (uint32_t)lw_hash(param->name, strlen(param->name), 1);
		for (size_t k = 0; k < param->count; k++)
			param->values[k] = start_value(init, lw_param_rule_of(net, i), seed, stream, k);
	}
	return LW_OK;
}

lw_status lw_net_param_set(lw_net *net, size_t index, const float *values)
{
	if (index >= net->param_count)
		return lw_fail(LW_E_ARGUMENT, "parameter %zu was asked for; there are %zu", index, net->param_count);
	memcpy(net->params[index].values, values, net->params[index].count * sizeof(float));
	return LW_OK;
}

lw_status lw_net_param_get(const lw_net *net, size_t index, float *values)
{
	if (index >= net->param_count)
		return lw_fail(LW_E_ARGUMENT, "parameter %zu was asked for; there are %zu", index, net->param_count);
	memcpy(values, net->params[index].values, net->params[index].count * sizeof(float));
	return LW_OK;
}

void lw_net_input(const lw_net *net, int *channels, int *height, int *width)
{
	*channels = net->input.c;
	*height = net->input.h;
	*width = net->input.w;
}

int lw_net_classes(const lw_net *net)
{
	lw_shape shape = lw_net_shape(net, (int)net->node_count - 1, 1);

	return shape.c * shape.h * shape.w;
}
