/* The update rules by name, and the one launch that updates all chunks of a rule. */
#include "optim/launch.h"
#include "op/support.h"

#include <math.h>
#include <string.h>

#define LW_RULE(name) extern const lw_rule lw_rule_##name;
#include "optim/rules.inc"
#undef LW_RULE

static const lw_rule *const rules[] = {
#define LW_RULE(name) &lw_rule_##name,
#include "optim/rules.inc"
#undef LW_RULE
};

/* " sgd adam ..." */
#define LW_RULE(name) " " #name
static const char rule_names[] =
#include "optim/rules.inc"
	;
#undef LW_RULE

const lw_rule *lw_rule_at(size_t index) { return index < LW_COUNT(rules) ? rules[index] : NULL; }

const lw_rule *lw_rule_find(const char *name)
{
	for (size_t i = 0; i < LW_COUNT(rules); i++)
		if (strcmp(rules[i]->name, name) == 0)
			return rules[i];
	return NULL;
}

/* How a launch spreads over a chunk: vectors of one work-item, or many work-items with a float each. */
static const struct update_form {
	const char *name;
	int vector, work_group;
} forms[] = {
	{"scalar", 1, 1},    {"vector4", 4, 1},	 {"vector8", 8, 1},
	{"vector16", 16, 1}, {"group64", 1, 64}, {"group256", 1, 256},
};
enum { SCALAR, VECTOR4, VECTOR8, VECTOR16, GROUP64, GROUP256 };

int lw_update_variant_count(void) { return (int)LW_COUNT(forms); }
const char *lw_update_variant_name(int variant) { return forms[variant].name; }

bool lw_update_variant_applies(const lw_op_context *context, int variant)
{
	const lw_device_info *info = lw_device_get_info(context->device);
	size_t items = (size_t)forms[variant].work_group;

	return items <= info->max_work_group && items <= info->max_local_size[0];
}

static int choose_form(const lw_op_context *context)
{
	const lw_device_info *info = lw_device_get_info(context->device);

	if (context->force_variant >= 0 && context->force_variant < lw_update_variant_count())
		return context->force_variant;
	if (info->type != LW_DEVICE_CPU && lw_update_variant_applies(context, GROUP256))
		return GROUP256;
	if (info->type != LW_DEVICE_CPU && lw_update_variant_applies(context, GROUP64))
		return GROUP64;
	if (!info->fast_fma) /* so are division and root: emulated in vectors they take minutes to compile */
		return SCALAR;
	switch (lw_op_vector_width(context->device, LW_CHUNK_FLOATS)) {
	case 16: return VECTOR16;
	case 8: return VECTOR8;
	default: return VECTOR4;
	}
}

int lw_update_vector(const lw_op_context *context) { return forms[choose_form(context)].vector; }
int lw_update_work_group(const lw_op_context *context) { return forms[choose_form(context)].work_group; }

lw_status lw_rule_check(const lw_rule_options *options)
{
	const char *name = options->rule ? options->rule : "";
	const lw_rule *rule = lw_rule_find(name);
	const char *names[LW_COUNT(rules)], *near;

	if (!rule) {
		for (size_t i = 0; i < LW_COUNT(rules); i++)
			names[i] = rules[i]->name;
		near = lw_nearest(name, names, LW_COUNT(rules));
		if (near)
			return lw_fail(LW_E_ARGUMENT, "no update rule is called `%s`: did you mean `%s`?", name, near);
		return lw_fail(LW_E_ARGUMENT, "no update rule is called `%s`: there are%s", name, rule_names);
	}
	if (!(options->weight_decay >= 0.0 && isfinite(options->weight_decay)))
		return lw_fail(LW_E_ARGUMENT, "weight_decay must not be negative, but is %g", options->weight_decay);
	return rule->check(options);
}

lw_status lw_rule_update(const lw_op_context *context, const lw_rule *rule, lw_buf *chunks, int chunk_count,
			 lw_buf *rows, lw_buf *scale, const lw_arenas *a)
{
	lw_variant variant = {.source = rule->source, .function = rule->function};
	const int work_group = lw_update_work_group(context);
	const double floats = fmin((double)chunk_count * LW_CHUNK_FLOATS, (double)lw_buf_size(a->params) / sizeof(float));
	lw_launch launch;
	int moved = 3;

	if (chunk_count <= 0)
		return LW_OK;
	lw_variant_option(&variant, "VECTOR", lw_update_vector(context));
	lw_variant_option(&variant, "WORK_GROUP", work_group);
	lw_variant_option(&variant, "STREAM", a->stream && a->new_params && lw_update_vector(context) > 1 && work_group == 1);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, chunks);
	lw_arg_buf(&launch, rows);
	lw_arg_buf(&launch, scale);
	lw_arg_buf(&launch, a->params);
	lw_arg_buf(&launch, a->gradients);
	for (int s = 0; s < rule->state_count; s++) {
		lw_arg_buf(&launch, a->states[s]);
		moved += a->states[s] ? 2 : 0;
	}
	lw_arg_buf(&launch, a->new_params ? a->new_params : a->params);
	for (int s = 0; s < rule->state_count; s++)
		lw_arg_buf(&launch, a->new_params ? a->new_states[s] : a->states[s]);
	lw_launch_1d(&launch, (size_t)chunk_count * (size_t)work_group, (size_t)work_group);
	launch.bytes = floats * moved * (double)sizeof(float); /* at most: what the chunks hold is on the device */
	return lw_queue_launch(context->queue, &launch, NULL);
}
