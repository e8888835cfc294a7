/*
 * FLOPs, bytes and readiness of a net's training step, read off its tape: time is taken to be in proportion to FLOPs, so a
 * parameter's gradient is complete after the fraction of the step's FLOPs that its instruction ends at.
 */
#include "sched/workload.h"

#include <stdlib.h>
#include <string.h>

static bool trains(const lw_groups *groups, size_t param)
{
	const int group = groups->group_of_param[param];

	return group >= 0 && !groups->groups[group].frozen;
}

/* FLOPs of an image in one instruction of a tape of separate layers. */
static double instruction_flops(const lw_net *net, const lw_instruction *instruction)
{
	const lw_node *node = &net->nodes[instruction->node];
	bool data = false, weight = false;

	if (instruction->kind == LW_FORWARD)
		return node->rule.flops;
	if (instruction->kind != LW_BACKWARD)
		return 0;
	for (int k = 0; k < node->input_count; k++)
		data |= instruction->input_gradients[k] >= 0;
	for (int slot = 0; slot < node->rule.param_count; slot++)
		weight |= instruction->param_gradients[slot];
	return node->rule.flops * (data + weight);
}

/* Walks the tape: FLOPs, and by parameter how many are done when its gradient is. */
static void walk(lw_workload *workload, const lw_net *net, const lw_tape *tape, double *done)
{
	for (size_t i = 0; i < tape->count; i++) {
		const lw_instruction *instruction = &tape->instructions[i];
		const lw_node *node = &net->nodes[instruction->node];
		const double flops = instruction_flops(net, instruction);

		if (instruction->kind == LW_FORWARD)
			workload->forward_flops += flops;
		else
			workload->backward_flops += flops;
		for (int slot = 0; instruction->kind == LW_BACKWARD && slot < node->rule.param_count; slot++)
			if (instruction->param_gradients[slot])
				done[node->params[slot]] = workload->forward_flops + workload->backward_flops;
	}
}

static lw_status read_tapes(lw_workload *workload, const lw_net *net, const lw_groups *groups, double *done)
{
	lw_tape_options options = {.batch = 1, .training = true};
	int *pass_of_param = NULL;
	double bytes[2];
	lw_tape tape = {0};
	lw_status status;

	LW_GO(lw_alloc(&pass_of_param, net->param_count, sizeof(int)));
	for (size_t p = 0; p < net->param_count; p++) {
		pass_of_param[p] = trains(groups, p) ? 0 : -1;
		options.pass_count |= pass_of_param[p] == 0;
	}
	options.pass_of_param = pass_of_param;
	options.separate = true;
	LW_GO(lw_tape_create(&tape, net, &options));
	walk(workload, net, &tape, done);
	lw_tape_clear(&tape);
	options.separate = false;
	for (options.batch = 1; options.batch <= 2; options.batch++) {
		LW_GO(lw_tape_create(&tape, net, &options));
		bytes[options.batch - 1] = (double)tape.arena_bytes;
		lw_tape_clear(&tape);
	}
	workload->image_bytes = bytes[1] - bytes[0] + (double)(lw_shape_count(net->input) + 1) * sizeof(float);
	workload->activation_bytes = 2 * bytes[0] - bytes[1] > 0 ? 2 * bytes[0] - bytes[1] : 0;
out:
	free(pass_of_param);
	return status;
}

static unsigned state_arenas(const lw_group *group)
{
	return (unsigned)__builtin_popcount(lw_rule_find(group->rule.rule)->states(&group->rule));
}

static void describe_parcel(lw_workload *workload, const lw_net *net, const lw_groups *groups, const double *done, size_t index)
{
	const lw_parcel *parcel = &workload->parcels[index];
	const lw_group *group = &groups->groups[parcel->group];
	const double all = workload->forward_flops + workload->backward_flops;
	const double update = lw_rule_find(group->rule.rule)->bytes_per_param(&group->rule) * (double)parcel->floats;
	double ready = 0;

	for (size_t k = 0; k < parcel->count; k++) {
		const double d = done[workload->order[parcel->first + k]];
		ready = d > ready ? d : ready;
	}
	workload->placed[index] = (lw_placement_parcel){.name = net->params[workload->order[parcel->first]].name,
							.bytes = parcel->floats * sizeof(float),
							.state_bytes = parcel->floats * sizeof(float) * state_arenas(group),
							.update_bytes = (uint64_t)update,
							.ready = all > 0 ? ready / all : 1,
							.fixed_owner = -1};
}

static lw_status cut(lw_workload *workload, const lw_net *net, const lw_groups *groups, const double *done)
{
	const size_t count = net->param_count;
	size_t *sizes = NULL, at = 0;
	int *group_of_param = NULL;
	lw_status status;

	LW_GO(lw_alloc(&sizes, count, sizeof *sizes));
	LW_GO(lw_alloc(&group_of_param, count, sizeof(int)));
	LW_GO(lw_alloc(&workload->order, count, sizeof(int)));
	for (size_t p = 0; p < count; p++) {
		const size_t bytes = lw_round_up(net->params[p].count, LW_ARENA_ALIGNMENT) * sizeof(float);

		sizes[p] = net->params[p].count;
		group_of_param[p] = trains(groups, p) ? groups->group_of_param[p] : -1;
		workload->parameter_bytes += bytes;
		workload->gradient_bytes += group_of_param[p] >= 0 ? bytes : 0;
	}
	for (int group = -1; group < (int)groups->count; group++)
		for (size_t p = 0; p < count; p++)
			if (group_of_param[p] == group)
				workload->order[at++] = (int)p;
	LW_GO(lw_parcels_cut(&workload->parcels, &workload->parcel_count, workload->order, count, sizes, group_of_param,
			     LW_PARCEL_FLOATS));
	LW_GO(lw_alloc(&workload->placed, workload->parcel_count, sizeof *workload->placed));
	for (size_t i = 0; i < workload->parcel_count; i++)
		describe_parcel(workload, net, groups, done, i);
out:
	free(sizes);
	free(group_of_param);
	return status;
}

lw_status lw_workload_create(lw_workload *workload, const lw_net *net, const lw_groups *groups)
{
	double *done = NULL;
	lw_status status;

	*workload = (lw_workload){0};
	if (net->node_count == 0)
		return lw_fail(LW_E_ARGUMENT, "the network has no layers");
	LW_GO(lw_alloc(&done, net->param_count, sizeof *done));
	LW_GO(read_tapes(workload, net, groups, done));
	LW_GO(cut(workload, net, groups, done));
out:
	free(done);
	if (status != LW_OK)
		lw_workload_clear(workload);
	return status;
}

void lw_workload_clear(lw_workload *workload)
{
	free(workload->order);
	free(workload->parcels);
	free(workload->placed);
	*workload = (lw_workload){0};
}
