/* The plan as people read it, and as one JSON object. */
#include "report/forecast.h"

#include <inttypes.h>
#include <math.h>

/* FLOPs of a step, and the part of a full step that pruning saves. */
static double step_flops(const lw_plan_info *info) { return info->forward_flops + info->backward_flops; }

static double pruned_share(const lw_plan_info *info)
{
	double full = step_flops(info) + info->pruned_flops;

	return full > 0 ? info->pruned_flops / full : 0;
}

static const char *state_text(const lw_plan_group_info *group, char buffer[64])
{
	if (!group->frozen)
		snprintf(buffer, 64, "trained");
	else if (group->unfreeze_at > 0)
		snprintf(buffer, 64, "frozen until step %" PRId64, group->unfreeze_at);
	else
		snprintf(buffer, 64, "frozen");
	return buffer;
}

static const char *clip_text(double clip, char buffer[32])
{
	if (isnan(clip))
		snprintf(buffer, 32, "global");
	else if (clip == 0)
		snprintf(buffer, 32, "-");
	else
		snprintf(buffer, 32, "%g", clip);
	return buffer;
}

static lw_status add_group_row(lw_table *table, const lw_plan_group_info *group, bool clips)
{
	char state[64], clip[32], floats[32];

	LW_TRY(lw_table_cell(table, "%s", group->name));
	LW_TRY(lw_table_cell(table, "%zu", group->params));
	LW_TRY(lw_table_cell(table, "%s", lw_format_count(floats, (double)group->floats)));
	LW_TRY(lw_table_cell(table, "%g", group->lr));
	LW_TRY(lw_table_cell(table, "%s", group->rule));
	LW_TRY(lw_table_cell(table, "%g", group->weight_decay));
	LW_TRY(lw_table_cell(table, "%s", group->schedule));
	if (clips)
		LW_TRY(lw_table_cell(table, "%s", clip_text(group->clip_norm, clip)));
	LW_TRY(lw_table_cell(table, "%s", group->device ? group->device : "-"));
	return lw_table_cell(table, "%s", state_text(group, state));
}

/* One device computes, owns and updates everything: there is nothing to tell. */
static bool several(const lw_forecast *forecast) { return forecast->device_count > 1; }

/* Whether any group clips by a norm of its own: only then is there something to tell. */
static bool any_clips(const lw_plan *plan, const lw_plan_info *info)
{
	bool any = false;

	for (size_t i = 0; i < info->group_count; i++) {
		lw_plan_group_info group;
		any |= lw_plan_get_group(plan, i, &group) == LW_OK && !isnan(group.clip_norm);
	}
	return any;
}

static lw_status print_groups(const lw_plan *plan, const lw_plan_info *info, FILE *stream)
{
	bool clips = any_clips(plan, info);
	lw_table *table = NULL;
	lw_status status;

	LW_GO(lw_table_create(&table, clips ? "group,tensors>,floats>,lr>,rule,decay>,schedule,clip,device,state" :
					      "group,tensors>,floats>,lr>,rule,decay>,schedule,device,state"));
	for (size_t i = 0; i < info->group_count; i++) {
		lw_plan_group_info group;

		LW_GO(lw_plan_get_group(plan, i, &group));
		LW_GO(add_group_row(table, &group, clips));
	}
	LW_GO(lw_table_print(table, stream, LW_TABLE_TEXT));
out:
	lw_table_destroy(&table);
	return status;
}

static void print_gradients(const lw_plan_info *info, FILE *stream)
{
	if (info->backward_passes == 0) {
		fprintf(stream, "gradients: none, everything is frozen\n");
		return;
	}
	fprintf(stream, "gradients: %s (%zu backward pass%s a step)", info->backward_passes == 1 ? "once" : "per group",
		info->backward_passes, info->backward_passes == 1 ? "" : "es");
	if (info->lowest_trainable)
		fprintf(stream, "; backward stops at layer %s", info->lowest_trainable);
	fputc('\n', stream);
}

static void print_flops(const lw_plan_info *info, FILE *stream)
{
	char a[32], b[32], c[32], d[32];

	fprintf(stream, "FLOPs of a step: %s (forward %s, backward %s); ", lw_format_count(a, step_flops(info)),
		lw_format_count(b, info->forward_flops), lw_format_count(c, info->backward_flops));
	if (info->pruned_flops > 0)
		fprintf(stream, "pruning saves %s, %.1f %% of a full step\n", lw_format_count(d, info->pruned_flops),
			100 * pruned_share(info));
	else
		fprintf(stream, "nothing is pruned\n");
}

static void print_memory(const lw_plan_info *info, FILE *stream)
{
	char a[32], b[32], c[32], d[32], e[32], f[32];

	fprintf(stream, "memory: parameters %s, gradients %s, optimizer state %s, activations %s (%s without reuse); peak %s\n",
		lw_format_bytes(a, (double)info->parameter_bytes), lw_format_bytes(b, (double)info->gradient_bytes),
		lw_format_bytes(c, (double)info->state_bytes), lw_format_bytes(d, (double)info->activation_bytes),
		lw_format_bytes(e, (double)info->activation_bytes_unplanned), lw_format_bytes(f, (double)info->peak_bytes));
}

static json_t *group_object(const lw_plan_group_info *group)
{
	return json_pack("{s:s, s:I, s:I, s:o, s:s, s:o, s:s, s:o, s:s?, s:b, s:o}", "name", group->name, "tensors",
			 (json_int_t)group->params, "floats", (json_int_t)group->floats, "lr", lw_report_number(group->lr), "rule",
			 group->rule, "weight_decay", lw_report_number(group->weight_decay), "schedule", group->schedule,
			 "clip_norm", lw_report_number(group->clip_norm), "device", group->device, "frozen", (int)group->frozen,
			 "unfreeze_at", group->unfreeze_at ? json_integer((json_int_t)group->unfreeze_at) : json_null());
}

static json_t *plan_object(const lw_plan_info *info, json_t *groups)
{
	return json_pack("{s:o, s:I, s:I, s:s?, s:{s:f, s:f, s:f, s:f}, s:{s:I, s:I, s:I, s:I, s:I, s:I}}", "groups", groups,
			 "backward_passes", (json_int_t)info->backward_passes, "update_launches",
			 (json_int_t)info->update_launches, "backward_stops_at", info->lowest_trainable, "flops", "forward",
			 info->forward_flops, "backward", info->backward_flops, "pruned", info->pruned_flops, "pruned_share",
			 pruned_share(info), "memory", "parameters", (json_int_t)info->parameter_bytes, "gradients",
			 (json_int_t)info->gradient_bytes, "optimizer_state", (json_int_t)info->state_bytes, "activations",
			 (json_int_t)info->activation_bytes, "activations_without_reuse",
			 (json_int_t)info->activation_bytes_unplanned, "peak", (json_int_t)info->peak_bytes);
}

static lw_status print_json(const lw_plan *plan, const lw_plan_info *info, const lw_forecast *forecast, FILE *stream)
{
	json_t *groups = json_array(), *object;
	int failed;

	for (size_t i = 0; i < info->group_count; i++) {
		lw_plan_group_info group;
		lw_status status = lw_plan_get_group(plan, i, &group);

		if (status != LW_OK) {
			json_decref(groups);
			return status;
		}
		json_array_append_new(groups, group_object(&group));
	}
	object = plan_object(info, groups);
	failed = !object || (several(forecast) && json_object_set_new(object, "forecast", lw_forecast_object(forecast)) != 0) ||
		 json_dumpf(object, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	fputc('\n', stream);
	json_decref(object);
	return failed ? lw_fail(LW_E_MEMORY, "the plan could not be written as JSON") : LW_OK;
}

static lw_status print_text(const lw_plan *plan, const lw_plan_info *info, const lw_forecast *forecast, FILE *stream)
{
	LW_TRY(print_groups(plan, info, stream));
	print_gradients(info, stream);
	fprintf(stream, "update: %zu launch%s a step\n", info->update_launches, info->update_launches == 1 ? "" : "es");
	print_flops(info, stream);
	print_memory(info, stream);
	return several(forecast) ? lw_forecast_print(forecast, stream) : LW_OK;
}

lw_status lw_report_plan(const lw_plan *plan, FILE *stream, bool json)
{
	lw_forecast *forecast;
	lw_plan_info info;
	lw_status status;

	LW_TRY(lw_plan_get_info(plan, &info));
	LW_TRY(lw_plan_forecast(plan, &forecast));
	status = json ? print_json(plan, &info, forecast, stream) : print_text(plan, &info, forecast, stream);
	lw_forecast_destroy(&forecast);
	return status;
}
