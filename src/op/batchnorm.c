/*
 * batchnorm: normalisation per channel by the batch's statistics (training) or the running ones.
 * Parameters: weight, bias, running_mean, running_var. Saved: mean and inverse deviation of the batch.
 */
#include "op/support.h"

#include <math.h>

enum { WEIGHT, BIAS, RUNNING_MEAN, RUNNING_VAR };
enum { PART = 256 }; /* as in batchnorm.cl */

static size_t pixels_of(lw_shape s) { return (size_t)s.h * (size_t)s.w; }
static size_t parts_of(lw_shape s) { return (size_t)s.n * ((pixels_of(s) + PART - 1) / PART); }

/*
 * The workspace (see batchnorm.cl): moments by running statistics, means of gradients, and two numbers of each part and
 * channel.
 */
enum { BEFORE_PARTS = 4 }; /* numbers of each channel */
static size_t workspace_of(lw_shape s) { return (BEFORE_PARTS + 2 * parts_of(s)) * (size_t)s.c * sizeof(float); }

/* The images that statistics are of. */
static lw_shape counted(const lw_op_call *call)
{
	lw_shape s = call->input_shape[0];

	if (call->share && call->share->whole)
		s.n = call->share->all;
	return s;
}

static size_t whole_workspace(const lw_op_call *call) { return workspace_of(counted(call)); }

/* Where the parts of the call's images begin in an array of all. */
static int parts_before(const lw_op_call *call)
{
	lw_shape s = call->input_shape[0];

	s.n = call->share && call->share->whole ? call->share->first : 0;
	return (int)parts_of(s) * s.c;
}

static int parts_all(const lw_op_call *call) { return (int)parts_of(counted(call)) * call->input_shape[0].c; }

/* Brings the parts of other shares' images to where they belong. */
static lw_status gather_parts(const lw_op_context *context, const lw_op_call *call)
{
	const lw_share *share = call->share;
	const size_t channels = (size_t)call->input_shape[0].c * sizeof(float);
	lw_shape image = call->input_shape[0];

	if (!share || !share->whole || !share->gather)
		return LW_OK;
	image.n = 1;
	return share->gather(share->user, context->queue, call->workspace, BEFORE_PARTS * channels, parts_of(image) * channels, 2);
}

static lw_status batchnorm_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *rule)
{
	static const struct {
		const char *name;
		bool trainable, no_decay;
		lw_param_start start;
	} params[] = {
		[WEIGHT] = {"weight", true, true, LW_START_ONE},
		[BIAS] = {"bias", true, true, LW_START_ZERO},
		[RUNNING_MEAN] = {"running_mean", false, true, LW_START_ZERO},
		[RUNNING_VAR] = {"running_var", false, true, LW_START_ONE},
	};

	LW_TRY(lw_op_same_shape("batchnorm", inputs, input_count, rule));
	if (!(options->eps > 0) || !isfinite(options->eps))
		return lw_fail(LW_E_ARGUMENT, "batchnorm: eps is %g; expected a number above 0", options->eps);
	if (!(options->momentum >= 0 && options->momentum <= 1))
		return lw_fail(LW_E_ARGUMENT, "batchnorm: momentum is %g; expected 0 to 1", options->momentum);
	rule->param_count = LW_COUNT(params);
	for (size_t i = 0; i < LW_COUNT(params); i++)
		rule->params[i] = (lw_param_rule){.name = params[i].name,
						  .rank = 1,
						  .dims = {inputs[0].c},
						  .trainable = params[i].trainable,
						  .start = params[i].start,
						  .no_decay = params[i].no_decay};
	rule->saved = 2 * (size_t)inputs[0].c * sizeof(float);
	rule->forward_workspace = rule->backward_workspace = workspace_of(inputs[0]);
	rule->backward_input = true;
	rule->backward_output = input_count == 2; /* by it relu's mask is known, where a residual was added */
	rule->flops *= 8;
	return LW_OK;
}


/* Kernels over the image come by element (or part and channel) and by part; the index is the form's. */
typedef enum over { ELEMENTS, PARTS } over;

static lw_status begin(lw_launch *launch, const lw_op_context *context, const char *function, int width, bool streams)
{
	lw_variant variant = {.source = "batchnorm", .function = function};

	lw_variant_option(&variant, "VECTOR", width);
	lw_variant_option(&variant, "STREAM", streams && width > 1);
	return lw_launch_begin(launch, context->device, &variant);
}

static bool applies(const lw_op_context *context, const lw_op_call *call, int variant)
{
	return variant == LW_SCALAR || lw_op_vector_width(context->device, (size_t)call->input_shape[0].c) > 1;
}

/* A kernel over the image: its buffers, and numbers besides those that all have. */
typedef struct image_kernel {
	const char *functions[LW_SCALAR_AND_VECTOR];
	over what;
	lw_buf *buffers[9];
	int buffer_count, numbers[3], number_count, tensors; /* tensors: read and written */
	bool writes;                                         /* a tensor */
} image_kernel;

static lw_status run_over(const lw_op_context *context, const lw_op_call *call, const image_kernel *k)
{
	const lw_shape s = call->input_shape[0];
	const size_t channels = (size_t)s.c;
	const int form = applies(context, call, lw_op_form(context)) ? lw_op_form(context) : LW_SCALAR;
	const int width = form == LW_VECTOR ? lw_op_vector_width(context->device, channels) : 1;
	const size_t items = k->what == ELEMENTS && form == LW_SCALAR ? lw_shape_count(s) : parts_of(s) * channels;
	const bool streams = k->writes && lw_op_streams(context->device, lw_shape_count(s), channels);
	lw_launch launch;

	LW_TRY(begin(&launch, context, k->functions[form], width, streams));
	for (int i = 0; i < k->buffer_count; i++)
		lw_arg_buf(&launch, k->buffers[i]);
	lw_arg_int(&launch, (int)items);
	lw_arg_int(&launch, (int)pixels_of(s));
	lw_arg_int(&launch, s.c);
	for (int i = 0; i < k->number_count; i++)
		lw_arg_int(&launch, k->numbers[i]);
	if (form == LW_VECTOR)
		lw_launch_1d(&launch, parts_of(s), 1);
	else
		lw_op_items(&launch, items);
	launch.flops = 4.0 * (double)lw_shape_count(s);
	launch.bytes = 4.0 * k->tensors * (double)lw_shape_count(s);
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* Vectors of channels that kernels which join parts work on: 1 also where they are not a multiple. */
static int join_width(const lw_op_context *context, const lw_op_call *call)
{
	const int channels = call->input_shape[0].c, width = lw_op_vector_width(context->device, (size_t)channels);

	return lw_op_form(context) == LW_VECTOR && channels % width == 0 ? width : 1;
}

static lw_status launch_join(const lw_op_context *context, const lw_op_call *call, lw_launch *launch)
{
	const int width = join_width(context, call);

	if (width > 1)
		lw_launch_1d(launch, (size_t)(call->input_shape[0].c / width), 1);
	else
		lw_op_items(launch, (size_t)call->input_shape[0].c);
	return lw_queue_launch(context->queue, launch, NULL);
}

/* Number of pixels of all images, as kernels take it. */
static float all_pixels(lw_shape s) { return (float)((size_t)s.n * pixels_of(s)); }

static lw_status batch_moments(const lw_op_context *context, const lw_op_call *call)
{
	const image_kernel statistics = {.functions = {"batchnorm_statistics", "batchnorm_statistics_parts"},
					 .what = PARTS,
					 .buffers = {call->input[0], call->workspace},
					 .buffer_count = 2,
					 .numbers = {parts_before(call), parts_all(call)},
					 .number_count = 2,
					 .tensors = 1};
	const lw_shape s = counted(call);
	lw_launch launch;

	LW_TRY(run_over(context, call, &statistics));
	LW_TRY(gather_parts(context, call));
	LW_TRY(begin(&launch, context, "batchnorm_join_statistics", join_width(context, call), false));
	lw_arg_buf(&launch, call->workspace);
	lw_arg_buf(&launch, call->saved);
	lw_arg_buf(&launch, call->param[RUNNING_MEAN]);
	lw_arg_buf(&launch, call->param[RUNNING_VAR]);
	lw_arg_int(&launch, (int)parts_of(s));
	lw_arg_int(&launch, (int)pixels_of(s));
	lw_arg_int(&launch, s.c);
	lw_arg_float(&launch, all_pixels(s));
	lw_arg_float(&launch, (float)call->options->eps);
	lw_arg_float(&launch, (float)(1.0 - call->options->momentum));
	lw_arg_float(&launch, (float)call->options->momentum);
	return launch_join(context, call, &launch);
}

/* Moments by the running statistics, into the front of the workspace. */
static lw_status running_moments(const lw_op_context *context, const lw_op_call *call)
{
	lw_launch launch;

	LW_TRY(begin(&launch, context, "batchnorm_running_moments", 1, false));
	lw_arg_buf(&launch, call->param[RUNNING_MEAN]);
	lw_arg_buf(&launch, call->param[RUNNING_VAR]);
	lw_arg_buf(&launch, call->workspace);
	lw_arg_int(&launch, call->input_shape[0].c);
	lw_arg_float(&launch, (float)call->options->eps);
	lw_op_items(&launch, (size_t)call->input_shape[0].c);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status batchnorm_forward(const lw_op_context *context, const lw_op_call *call)
{
	lw_buf *residual = call->input_count == 2 ? call->input[1] : NULL;
	const image_kernel normalize = {.functions = {"batchnorm_normalize", "batchnorm_normalize_parts"},
					.buffers = {call->input[0], call->output, call->training ? call->saved : call->workspace,
						    call->param[WEIGHT], call->param[BIAS], residual},
					.buffer_count = 6,
					.numbers = {call->relu},
					.number_count = 1,
					.tensors = residual ? 3 : 2,
					.writes = true};

	LW_TRY(call->training ? batch_moments(context, call) : running_moments(context, call));
	return run_over(context, call, &normalize);
}

/*
 * What backward works with: the output's gradient, which is behind relu already or else is masked on the way, by the
 * output where that is not to be found again from the input alone.
 */
typedef struct behind {
	lw_buf *gradient, *output, *moments;
	bool relu;
} behind;

/* The sums of gradients over all pixels: gradients of weight and bias, and what the input's gradient needs; the residual's. */
static lw_status gradient_sums(const lw_op_context *context, const lw_op_call *call, const behind *b)
{
	lw_buf *residual_gradient = call->input_count == 2 ? call->input_gradient[1] : NULL;
	const image_kernel sums = {.functions = {"batchnorm_sums", "batchnorm_sums_parts"},
				   .what = PARTS,
				   .buffers = {call->input[0], b->gradient, b->output, b->moments, call->param[WEIGHT],
					       call->param[BIAS], residual_gradient, call->workspace},
				   .buffer_count = 8,
				   .numbers = {b->relu, parts_before(call), parts_all(call)},
				   .number_count = 3,
				   .tensors = 2 + (b->output != NULL) + (residual_gradient != NULL),
				   .writes = residual_gradient != NULL};
	const lw_shape s = counted(call);
	const bool others = call->share && call->share->whole && call->share->first > 0;
	lw_launch launch;

	LW_TRY(run_over(context, call, &sums));
	if (!call->training && !call->param_gradient[WEIGHT] && !call->param_gradient[BIAS])
		return LW_OK;
	LW_TRY(gather_parts(context, call));
	for (int slot = WEIGHT; others && slot <= BIAS; slot++)
		if (call->param_gradient[slot])
			LW_TRY(lw_queue_fill(context->queue, call->param_gradient[slot], 0, (size_t)s.c * sizeof(float), 0, NULL));
	LW_TRY(begin(&launch, context, "batchnorm_join_sums", join_width(context, call), false));
	lw_arg_buf(&launch, call->workspace);
	lw_arg_buf(&launch, others ? NULL : call->param_gradient[WEIGHT]);
	lw_arg_buf(&launch, others ? NULL : call->param_gradient[BIAS]);
	lw_arg_int(&launch, (int)parts_of(s));
	lw_arg_int(&launch, s.c);
	lw_arg_float(&launch, all_pixels(s));
	return launch_join(context, call, &launch);
}

static lw_status image_gradient(const lw_op_context *context, const lw_op_call *call, const behind *b)
{
	const image_kernel training = {.functions = {"batchnorm_input_gradient", "batchnorm_input_gradient_parts"},
				       .buffers = {call->input[0], b->gradient, b->output, b->moments, call->param[WEIGHT],
						   call->param[BIAS], call->workspace, call->input_gradient[0]},
				       .buffer_count = 8,
				       .numbers = {b->relu, call->mask_input},
				       .number_count = 2,
				       .tensors = 3 + (b->output != NULL),
				       .writes = true};
	image_kernel running = training;

	if (call->training)
		return run_over(context, call, &training);
	running.functions[LW_SCALAR] = "batchnorm_scale_gradient";
	running.functions[LW_VECTOR] = "batchnorm_scale_gradient_parts";
	running.buffers[6] = running.buffers[7];
	running.buffer_count = 7;
	return run_over(context, call, &running);
}

static lw_status batchnorm_backward(const lw_op_context *context, const lw_op_call *call)
{
	const bool residual = call->input_count == 2, residual_wanted = residual && call->input_gradient[1];
	behind b = {.gradient = call->output_gradient,
		    .output = residual && call->relu ? call->output : NULL,
		    .moments = call->training ? call->saved : call->workspace,
		    .relu = call->relu};

	if (!call->training)
		LW_TRY(running_moments(context, call));
	if (call->param_gradient[WEIGHT] || call->param_gradient[BIAS] || (call->training && call->input_gradient[0]) ||
	    residual_wanted)
		LW_TRY(gradient_sums(context, call, &b));
	if (!call->input_gradient[0])
		return LW_OK;
	if (residual_wanted)
		b = (behind){.gradient = call->input_gradient[1], .moments = b.moments};
	return image_gradient(context, call, &b);
}

static const char *const keys[] = {"eps", "momentum", "update_frozen", NULL};

extern const lw_op lw_op_batchnorm;
const lw_op lw_op_batchnorm = {
	.kind = "batchnorm",
	.keys = keys,
	.min_inputs = 1,
	.max_inputs = 1,
	.variant_count = LW_SCALAR_AND_VECTOR,
	.variant_name = lw_op_scalar_or_vector,
	.variant_applies = applies,
	.rule = batchnorm_rule,
	.forward = batchnorm_forward,
	.backward = batchnorm_backward,
	.whole_workspace = whole_workspace,
	.fuses = LW_FUSES_RELU | LW_FUSES_RESIDUAL | LW_FUSES_INPUT_MASK,
};
