/* Which way to compute a pass. */
#include "op/known.h"

#include <string.h>

const char *const lw_pass_names[LW_PASS_COUNT] = {"forward", "data", "weight"};

void lw_op_tuning_key(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, char *key)
{
	const lw_shape in = call->input_shape[0], out = call->output_shape;
	const lw_layer_options *o = call->options;

	snprintf(key, LW_TUNING_KEY, "%s %s %dx%dx%dx%d %dx%dx%dx%d kernel %dx%d stride %dx%d pad %dx%d dilation %dx%d groups %d %s%s",
		 op->kind, lw_pass_names[pass], in.n, in.c, in.h, in.w, out.n, out.c, out.h, out.w, o->kernel[0], o->kernel[1],
		 o->stride[0], o->stride[1], o->pad[0], o->pad[1], o->dilation[0], o->dilation[1], o->groups,
		 context->precision == LW_PRECISION_FAST ? "fast" : "accurate", context->reproducible ? " reproducible" : "");
}

int lw_op_choices(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, lw_choice *list)
{
	const int count = op->choices(context, call, pass, list);
	char key[LW_TUNING_KEY];
	lw_choice known;
	int at;

	if (count < 2 || context->force_variant >= 0)
		return count;
	lw_op_tuning_key(context, op, call, pass, key);
	at = lw_known_find(context->known ? context->known : lw_known_rows, context->device, key, list, count);
	known = list[at];
	memmove(list + 1, list, (size_t)at * sizeof *list);
	list[0] = known;
	return count;
}

static lw_status find(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, lw_choice *choice)
{
	lw_choice list[LW_MAX_CHOICES];
	char key[LW_TUNING_KEY];
	const char *found;
	int count;

	count = lw_op_choices(context, op, call, pass, list);
	if (!count)
		return lw_fail(LW_E_UNSUPPORTED, "%s: there is no kernel for this shape on this device", op->kind);
	*choice = list[0];
	if (context->force_variant >= 0) {
		*choice = list[lw_min_int(context->force_variant, count - 1)];
		return LW_OK;
	}
	if (!context->tuning)
		return LW_OK;
	lw_op_tuning_key(context, op, call, pass, key);
	found = lw_tuning_find(context->tuning, key);
	for (int i = 0; found && i < count; i++)
		if (strcmp(list[i].name, found) == 0)
			*choice = list[i];
	return LW_OK;
}

lw_status lw_op_choose(const lw_op_context *context, const lw_op *op, const lw_op_call *call, lw_pass pass, lw_choice *choice)
{
	lw_kept_choices *kept = context->force_variant < 0 ? call->kept : NULL;

	if (context->force_choice) {
		*choice = *context->force_choice;
		return LW_OK;
	}
	if (!kept || !kept->known[pass]) {
		LW_TRY(find(context, op, call, pass, choice));
		if (!kept)
			return LW_OK;
		kept->choice[pass] = *choice;
		kept->known[pass] = true;
	}
	*choice = kept->choice[pass];
	return LW_OK;
}
