/* A simulated run as people read it, and as one JSON object. */
#include "report/forecast.h"

#include <inttypes.h>

static lw_status print_plan(const lw_forecast *plan, FILE *stream)
{
	if (plan->lost)
		fprintf(stream, "in step %" PRId64 " %zu device%s failed; the step is replayed on the other%s\n", plan->first_step, plan->lost,
			plan->lost == 1 ? "" : "s", plan->device_count == 1 ? "" : "s");
	fprintf(stream, "from step %" PRId64 " on: %zu device%s, %d images a step\n", plan->first_step, plan->device_count,
		plan->device_count == 1 ? "" : "s", plan->batch);
	return lw_forecast_print(plan, stream);
}

static lw_status print_text(const lw_simulation *simulation, const lw_simulation_info *info, FILE *stream)
{
	char a[32], b[32];

	for (size_t i = 0; i < info->plan_count; i++)
		LW_TRY(print_plan(lw_simulation_plan(simulation, i), stream));
	fprintf(stream, "%" PRId64 " steps: %.3f s, %" PRId64 " replayed; FLOPs of a step: forward %s, backward %s\n", info->steps,
		info->seconds, info->replayed, lw_format_count(a, info->forward_flops), lw_format_count(b, info->backward_flops));
	return LW_OK;
}

static lw_status print_json(const lw_simulation *simulation, const lw_simulation_info *info, FILE *stream)
{
	json_t *plans = json_array(), *object;
	int failed;

	for (size_t i = 0; i < info->plan_count; i++)
		json_array_append_new(plans, lw_forecast_object(lw_simulation_plan(simulation, i)));
	object = json_pack("{s:i, s:I, s:I, s:f, s:{s:f, s:f}, s:o}", "batch", info->batch, "steps", (json_int_t)info->steps,
			   "steps_replayed", (json_int_t)info->replayed, "seconds", info->seconds, "flops", "forward",
			   info->forward_flops, "backward", info->backward_flops, "plans", plans);
	failed = !object || json_dumpf(object, stream, JSON_INDENT(2) | JSON_REAL_PRECISION(12));
	fputc('\n', stream);
	json_decref(object);
	return failed ? lw_fail(LW_E_MEMORY, "the simulation could not be written as JSON") : LW_OK;
}

lw_status lw_report_simulation(const lw_simulation *simulation, FILE *stream, bool json)
{
	lw_simulation_info info;

	lw_simulation_get_info(simulation, &info);
	return json ? print_json(simulation, &info, stream) : print_text(simulation, &info, stream);
}
