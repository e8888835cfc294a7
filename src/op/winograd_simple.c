/* Winograd convolutions with one work-item per result: anywhere. */
#include "op/winograd_weight.h"

static size_t filter_floats(const lw_winograd_pass *p) { return (size_t)p->points * (size_t)p->channels * (size_t)p->outputs; }
static size_t input_floats(const lw_winograd_pass *p) { return (size_t)p->points * (size_t)p->channels * (size_t)p->tiles; }

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	int count = 0;

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_simple_choices(context, conv, list, capacity);
	for (int algorithm = LW_CONV_DIRECT + 1; algorithm < LW_CONV_ALGORITHMS && count < capacity; algorithm++) {
		if (!lw_conv_winograd_applies(conv, (lw_conv_algorithm)algorithm))
			continue;
		const lw_winograd_pass p = lw_winograd_describe(conv, pass, algorithm);
		if (filter_floats(&p) + input_floats(&p) > INT32_MAX)
			continue;
		list[count] = (lw_choice){.algorithm = algorithm};
		snprintf(list[count].name, sizeof list[count].name, "%s/simple", lw_conv_algorithm_names[algorithm]);
		count++;
	}
	return count;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	lw_winograd_pass p;

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_simple_workspace(context, conv, choice);
	p = lw_winograd_describe(conv, pass, choice->algorithm);
	return sizeof(float) * (filter_floats(&p) + input_floats(&p));
}

static lw_status begin(const lw_op_context *context, const char *function, int algorithm, lw_launch *launch)
{
	lw_variant variant = {.source = "winograd_simple", .function = function};

	lw_variant_option(&variant, "WINOGRAD_OUTPUTS", lw_winograd_outputs((lw_conv_algorithm)algorithm));
	lw_variant_option(&variant, "WINOGRAD_TAPS", algorithm == LW_CONV_WINOGRAD_5X5 ? 5 : 3);
	return lw_launch_begin(launch, context->device, &variant);
}

static lw_status enqueue(const lw_op_context *context, lw_launch *launch, int first, int second)
{
	launch->dimensions = 2;
	launch->global[0] = (size_t)first;
	launch->global[1] = (size_t)second;
	return lw_queue_launch(context->queue, launch, NULL);
}

static lw_status transform_filter(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, const lw_conv_buffers *b)
{
	lw_launch launch;

	LW_TRY(begin(context, "winograd_simple_filter", algorithm, &launch));
	lw_arg_buf(&launch, b->weight);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, p->out_step);
	lw_arg_int(&launch, p->inner_step);
	lw_arg_int(&launch, p->flip);
	return enqueue(context, &launch, p->outputs, p->channels);
}

static lw_status transform_input(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, lw_buf *x,
				 lw_buf *scratch)
{
	lw_launch launch;

	LW_TRY(begin(context, "winograd_simple_input", algorithm, &launch));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, scratch);
	lw_arg_int(&launch, (int)filter_floats(p));
	lw_conv_pair(&launch, p->input);
	lw_conv_pair(&launch, p->pad);
	lw_conv_pair(&launch, p->output);
	return enqueue(context, &launch, p->channels, p->tiles);
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	const bool data = pass == LW_PASS_DATA;
	lw_winograd_pass p;
	lw_launch launch;

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_simple_run(context, conv, choice, buffers);
	p = lw_winograd_describe(conv, pass, choice->algorithm);
	if (!context->filters_packed)
		LW_TRY(transform_filter(context, &p, choice->algorithm, buffers));
	LW_TRY(transform_input(context, &p, choice->algorithm, data ? buffers->gradient : buffers->x, buffers->workspace));
	LW_TRY(begin(context, "winograd_simple_output", choice->algorithm, &launch));
	lw_arg_buf(&launch, buffers->workspace);
	lw_arg_buf(&launch, data ? NULL : buffers->bias);
	lw_arg_buf(&launch, data ? buffers->x_gradient : buffers->y);
	lw_arg_buf(&launch, data && conv->mask ? buffers->x : NULL);
	lw_arg_int(&launch, (int)filter_floats(&p));
	lw_arg_int(&launch, p.channels);
	lw_conv_pair(&launch, p.output);
	lw_arg_int(&launch, !data && conv->relu);
	return enqueue(context, &launch, p.outputs, p.tiles);
}

const lw_conv_family lw_winograd_simple = {"simple", false, choices, workspace, run};
