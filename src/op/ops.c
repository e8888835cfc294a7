/* The table of operators, made from ops.inc, and a layer's default options. */
#include "op/op.h"

#include <string.h>

#define LW_OP(kind) extern const lw_op lw_op_##kind;
#include "op/ops.inc"
#undef LW_OP

static const lw_op *const operators[] = {
#define LW_OP(kind) &lw_op_##kind,
#include "op/ops.inc"
#undef LW_OP
};

const lw_op *lw_op_at(size_t index) { return index < LW_COUNT(operators) ? operators[index] : NULL; }

const lw_op *lw_op_find(const char *kind)
{
	for (size_t i = 0; i < LW_COUNT(operators); i++)
		if (!strcmp(operators[i]->kind, kind))
			return operators[i];
	return NULL;
}

bool lw_op_accepts(const lw_op *op, const char *key)
{
	for (const char *const *accepted = op->keys; *accepted; accepted++)
		if (!strcmp(*accepted, key))
			return true;
	return false;
}

void lw_layer_defaults(lw_layer_options *options, const char *kind)
{
	/* a pool's stride 0 stands for its kernel */
	const int stride = kind && (!strcmp(kind, "maxpool") || !strcmp(kind, "avgpool")) ? 0 : 1;

	*options = (lw_layer_options){
		.kernel = {1, 1},
		.stride = {stride, stride},
		.dilation = {1, 1},
		.groups = 1,
		.bias = true,
		.count_include_pad = true,
		.slope = 0.01,
		.eps = 1e-5,
		.momentum = 0.1,
		.p = 0.5,
	};
}
