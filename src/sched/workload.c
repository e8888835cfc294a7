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

static void describe_parcel(lw_workload *workload, const lw_net *net, const lw_groups *groups, const double *done, size_t index)
{
	const lw_parcel *parcel = &workload->parcels[index];
	const int *params = workload->order + parcel->first;
	const double all = workload->forward_flops + workload->backward_flops;
	double ready = 0, update = 0;
	unsigned states = 0;

	for (size_t k = 0; k < parcel->count; k++) {
		const lw_rule_options *rule = &groups->groups[groups->group_of_param[params[k]]].rule;
		const double d = done[params[k]], bytes = lw_rule_find(rule->rule)->bytes_per_param(rule);

		ready = d > ready ? d : ready;
		update = bytes > update ? bytes : update;
		states |= lw_rule_find(rule->rule)->states(rule);
	}
	workload->placed[index] = (lw_placement_parcel){.name = net->params[params[0]].name,
							.bytes = parcel->floats * sizeof(float),
							.state_bytes = parcel->floats * sizeof(float) * (size_t)__builtin_popcount(states),
							.update_bytes = (uint64_t)(update * (double)parcel->floats),
							.ready = all > 0 ? ready / all : 1,
							.fixed_owner = -1};
}

static int class_of(const lw_groups *groups, const int *class_of_group, size_t param)
{
	const int group = groups->group_of_param[param];

	if (!trains(groups, param))
		return -1;
	return class_of_group ? class_of_group[group] : group;
}

/* Class by class, those that never train first; or as it is given. */
static lw_status find_order(lw_workload *workload, size_t count, const int *class_of_param, int classes, const int *order)
{
	size_t at = 0;

	LW_TRY(lw_alloc(&workload->order, count, sizeof(int)));
	if (order)
		memcpy(workload->order, order, count * sizeof(int));
	for (int k = -1; !order && k < classes; k++)
		for (size_t p = 0; p < count; p++)
			if (class_of_param[p] == k)
				workload->order[at++] = (int)p;
	return LW_OK;
}

static lw_status cut(lw_workload *workload, const lw_net *net, const lw_groups *groups, const int *class_of_group, const int *order,
		     const double *done)
{
	const size_t count = net->param_count;
	size_t *sizes = NULL;
	int *class_of_param = NULL;
	lw_status status;

	LW_GO(lw_alloc(&sizes, count, sizeof *sizes));
	LW_GO(lw_alloc(&class_of_param, count, sizeof(int)));
	for (size_t p = 0; p < count; p++) {
		const size_t bytes = lw_round_up(net->params[p].count, LW_ARENA_ALIGNMENT) * sizeof(float);

		sizes[p] = net->params[p].count;
		class_of_param[p] = class_of(groups, class_of_group, p);
		workload->parameter_bytes += bytes;
		workload->gradient_bytes += class_of_param[p] >= 0 ? bytes : 0;
	}
	LW_GO(find_order(workload, count, class_of_param, (int)groups->count, order));
	LW_GO(lw_parcels_cut(&workload->parcels, &workload->parcel_count, workload->order, count, sizes, class_of_param,
			     LW_PARCEL_FLOATS));
	LW_GO(lw_alloc(&workload->placed, workload->parcel_count, sizeof *workload->placed));
	for (size_t i = 0; i < workload->parcel_count; i++)
		describe_parcel(workload, net, groups, done, i);
out:
	free(sizes);
	free(class_of_param);
	return status;
}

lw_status lw_workload_create(lw_workload *workload, const lw_net *net, const lw_groups *groups, const int *class_of_group,
			     const int *order)
{
	double *done = NULL;
	lw_status status;

	*workload = (lw_workload){0};
	if (net->node_count == 0)
		return lw_fail(LW_E_ARGUMENT, "the network has no layers");
	LW_GO(lw_alloc(&done, net->param_count, sizeof *done));
	LW_GO(read_tapes(workload, net, groups, done));
	LW_GO(cut(workload, net, groups, class_of_group, order, done));
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
