/*
 * Fusing: element-wise layers go into the layer that feeds them, so that a value is written once instead of being read
 * and written again. A relu goes into a convolution, linear, batchnorm or add that only it reads; an add of two into a
 * batchnorm that only it reads. The results have the same bits either way.
 */
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

static bool is(const lw_net *net, int node, const char *kind) { return strcmp(net->nodes[node].op->kind, kind) == 0; }

/* How many inputs of layers (and the loss) a node's output feeds. */
static void count_readers(const lw_net *net, int *readers)
{
	for (size_t i = 0; i < net->node_count; i++)
		for (int k = 0; k < net->nodes[i].input_count; k++)
			if (net->nodes[i].inputs[k] != LW_NODE_INPUT)
				readers[net->nodes[i].inputs[k]]++;
	readers[net->node_count - 1]++;
}

/* The unit that ends with `node` goes on to `next`, a layer that alone reads it. */
static void extend(lw_unit *units, int node, int next)
{
	units[next] = units[node];
	units[next].output = next;
	units[node].absorbed = true;
}

static void fuse_add(const lw_net *net, lw_unit *units, const int *readers, int add)
{
	const lw_node *node = &net->nodes[add];

	for (int k = 0; node->input_count == 2 && k < 2; k++) {
		const int input = node->inputs[k], other = node->inputs[1 - k];

		if (input == LW_NODE_INPUT || other == LW_NODE_INPUT || readers[input] != 1 || units[input].relu ||
		    units[input].residual != LW_NO_NODE || !(net->nodes[units[input].node].op->fuses & LW_FUSES_RESIDUAL))
			continue;
		extend(units, input, add);
		units[add].residual = other;
		return;
	}
}

static void fuse_relu(const lw_net *net, lw_unit *units, const int *readers, int relu)
{
	const int input = net->nodes[relu].inputs[0];

	if (input == LW_NODE_INPUT || readers[input] != 1 || units[input].relu ||
	    !(net->nodes[units[input].node].op->fuses & LW_FUSES_RELU))
		return;
	extend(units, input, relu);
	units[relu].relu = true;
}

/* Whether the unit's own backward applies the mask of the relu that it ends with. */
static bool masks_itself(const lw_net *net, const lw_unit *unit)
{
	return net->nodes[unit->node].op->fuses & LW_FUSES_RESIDUAL;
}

/* A gradient behind a fused relu is masked by those that write it, where all of them can. */
static void assign_masks(const lw_net *net, lw_unit *units)
{
	for (size_t i = 0; i < net->node_count; i++) {
		lw_unit *unit = &units[i];
		bool all = true;

		if (unit->absorbed || !unit->relu || masks_itself(net, unit))
			continue;
		for (size_t r = i + 1; r < net->node_count; r++) {
			const lw_node *reader = &net->nodes[units[r].node];
			if (units[r].absorbed)
				continue;
			for (int k = 0; k < reader->input_count; k++)
				if (reader->inputs[k] == (int)i && (k > 0 || !(reader->op->fuses & LW_FUSES_INPUT_MASK)))
					all = false;
			if (units[r].residual == (int)i)
				all = false;
		}
		unit->mask_gradient = !all || i + 1 == net->node_count;
		for (size_t r = i + 1; all && r < net->node_count; r++)
			if (!units[r].absorbed && net->nodes[units[r].node].inputs[0] == (int)i)
				units[r].mask_input = true;
	}
}

lw_status lw_fuse(lw_unit **units, const lw_net *net, bool separate)
{
	int *readers;
	lw_unit *u;

	*units = NULL;
	LW_TRY(lw_alloc(&u, net->node_count, sizeof *u));
	for (size_t i = 0; i < net->node_count; i++)
		u[i] = (lw_unit){.node = (int)i, .output = (int)i, .residual = LW_NO_NODE};
	*units = u;
	if (separate)
		return LW_OK;
	LW_TRY(lw_alloc(&readers, net->node_count, sizeof *readers));
	count_readers(net, readers);
	for (size_t i = 0; i < net->node_count; i++) {
		if (is(net, (int)i, "add"))
			fuse_add(net, u, readers, (int)i);
		else if (is(net, (int)i, "relu"))
			fuse_relu(net, u, readers, (int)i);
	}
	assign_masks(net, u);
	free(readers);
	return LW_OK;
}
