/* maxpool, avgpool, globalavgpool. Windows follow PyTorch's rules for padding, ceil_mode and count_include_pad. */
#include "op/support.h"

static int stride_of(const lw_layer_options *options, int side)
{
	return options->stride[side] ? options->stride[side] : options->kernel[side];
}

static lw_status check_windows(const char *kind, const lw_layer_options *options)
{
	for (int side = 0; side < 2; side++) {
		if (options->kernel[side] < 1 || options->kernel[side] > 32767)
			return lw_fail(LW_E_ARGUMENT, "%s: kernel is %d; expected 1 to 32767", kind, options->kernel[side]);
		if (options->stride[side] < 0 || options->stride[side] > 32767)
			return lw_fail(LW_E_ARGUMENT, "%s: stride is %d; expected 1 to 32767, or 0 for the kernel's size", kind,
				       options->stride[side]);
		if (options->pad[side] < 0 || options->pad[side] > options->kernel[side] / 2)
			return lw_fail(LW_E_ARGUMENT, "%s: pad is %d; expected 0 to half the kernel, %d", kind, options->pad[side],
				       options->kernel[side] / 2);
	}
	return LW_OK;
}

/* How many windows; below 1 where the kernel does not fit. */
static int window_count(int length, int kernel, int stride, int pad, bool ceil_mode)
{
	const int room = length + 2 * pad - kernel;
	int count;

	if (room < 0 && !(ceil_mode && room + stride > 0))
		return 0;
	count = (room + (ceil_mode ? stride - 1 : 0)) / stride + 1;
	/* the last window must start inside the image or its left pad */
	return ceil_mode && (count - 1) * stride >= length + pad ? count - 1 : count;
}

static lw_status windows_rule(const char *kind, const lw_layer_options *options, const lw_shape *inputs, int input_count,
			      lw_op_rule *rule)
{
	const lw_shape in = inputs[0];
	lw_shape out = in;

	LW_TRY(lw_op_check_inputs(kind, inputs, input_count));
	LW_TRY(check_windows(kind, options));
	out.h = window_count(in.h, options->kernel[0], stride_of(options, 0), options->pad[0], options->ceil_mode);
	out.w = window_count(in.w, options->kernel[1], stride_of(options, 1), options->pad[1], options->ceil_mode);
	if (out.h < 1 || out.w < 1)
		return lw_fail(LW_E_ARGUMENT, "%s: kernel %d x %d does not fit an image of %d x %d padded by %d, %d", kind,
			       options->kernel[0], options->kernel[1], in.h, in.w, options->pad[0], options->pad[1]);
	*rule = (lw_op_rule){.output = out};
	rule->flops = (double)lw_shape_count(out) * options->kernel[0] * options->kernel[1];
	LW_TRY(lw_op_check_inputs(kind, &out, 1));
	return LW_OK;
}

static lw_status maxpool_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *rule)
{
	LW_TRY(windows_rule("maxpool", options, inputs, input_count, rule));
	rule->saved = lw_shape_count(rule->output) * sizeof(int32_t); /* the pixel of the maximum, within its image */
	return LW_OK;
}

/* Whether every window's sum is divided by its kernel's size, and that is as good as to multiply by the reciprocal. */
static bool scales(const lw_layer_options *o)
{
	const int size = o->kernel[0] * o->kernel[1];

	return (size & (size - 1)) == 0 && !o->ceil_mode && (o->count_include_pad || (o->pad[0] == 0 && o->pad[1] == 0));
}

static lw_status avgpool_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count, lw_op_rule *rule)
{
	LW_TRY(windows_rule("avgpool", options, inputs, input_count, rule));
	rule->backward_workspace = scales(options) ? 0 : lw_shape_count(rule->output) * sizeof(float);
	return LW_OK;
}

/* Channels' vector width; below 4 channels there is no vector form. */
static bool applies(const lw_op_context *context, const lw_op_call *call, int variant)
{
	return variant == LW_SCALAR || lw_op_vector_width(context->device, (size_t)call->input_shape[0].c) > 1;
}

static int form(const lw_op_context *context, const lw_op_call *call)
{
	return applies(context, call, lw_op_form(context)) ? lw_op_form(context) : LW_SCALAR;
}

/* moved: floats that are read or written. What is written is out of the caches soon if they are many, few though it may be itself. */
static lw_status begin(lw_launch *launch, const lw_op_context *context, const char *function, size_t channels, size_t moved,
		       int chosen)
{
	lw_variant variant = {.source = "pool", .function = function};
	const int width = chosen == LW_VECTOR ? lw_op_vector_width(context->device, channels) : 1;

	lw_variant_option(&variant, "VECTOR", width);
	lw_variant_option(&variant, "STREAM", width > 1 && lw_op_streams(context->device, moved, channels));
	return lw_launch_begin(launch, context->device, &variant);
}

static void windows_arguments(lw_launch *launch, const lw_op_call *call)
{
	const lw_layer_options *o = call->options;
	const lw_shape in = call->input_shape[0], out = call->output_shape;
	const int values[] = {in.h, in.w, in.c, out.h, out.w, o->kernel[0], o->kernel[1], stride_of(o, 0), stride_of(o, 1),
			      o->pad[0], o->pad[1]};

	for (size_t i = 0; i < LW_COUNT(values); i++)
		lw_arg_int(launch, values[i]);
}

/* What backward masks its gradient by. */
static lw_buf *mask_of(const lw_op_call *call) { return call->mask_input ? call->input[0] : NULL; }

/* A kernel with one item per element of `shape`, or per row of it. */
typedef struct windows_kernel {
	const char *functions[LW_SCALAR_AND_VECTOR];
	lw_shape shape;
	lw_buf *buffers[4];
	int buffer_count;
	bool divides; /* by what count_include_pad says */
	float scale;  /* 0: takes none */
} windows_kernel;

static lw_status run_windows(const lw_op_context *context, const lw_op_call *call, const windows_kernel *k)
{
	const int chosen = form(context, call);
	const size_t count = lw_shape_count(k->shape), moved = lw_shape_count(call->input_shape[0]) + lw_shape_count(call->output_shape);
	lw_launch launch;

	LW_TRY(begin(&launch, context, k->functions[chosen], (size_t)k->shape.c, moved, chosen));
	for (int i = 0; i < k->buffer_count; i++)
		lw_arg_buf(&launch, k->buffers[i]);
	if (chosen == LW_SCALAR)
		lw_arg_int(&launch, (int)count);
	if (k->divides)
		lw_arg_int(&launch, call->options->count_include_pad);
	if (k->scale != 0.0f)
		lw_arg_float(&launch, k->scale);
	windows_arguments(&launch, call);
	if (chosen == LW_SCALAR)
		lw_op_items(&launch, count);
	else
		lw_launch_1d(&launch, (size_t)k->shape.n * (size_t)k->shape.h, 1);
	launch.bytes = 4.0 * (double)moved;
	launch.flops = (double)lw_shape_count(call->output_shape) * call->options->kernel[0] * call->options->kernel[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status maxpool_forward(const lw_op_context *context, const lw_op_call *call)
{
	return run_windows(context, call,
			   &(windows_kernel){.functions = {"maxpool_forward", "maxpool_forward_rows"},
					     .shape = call->output_shape,
					     .buffers = {call->input[0], call->output, call->saved},
					     .buffer_count = 3});
}

static lw_status maxpool_backward(const lw_op_context *context, const lw_op_call *call)
{
	if (!call->input_gradient[0])
		return LW_OK;
	return run_windows(context, call,
			   &(windows_kernel){.functions = {"maxpool_backward", "maxpool_backward_rows"},
					     .shape = call->input_shape[0],
					     .buffers = {call->output_gradient, call->saved, mask_of(call), call->input_gradient[0]},
					     .buffer_count = 4});
}

static lw_status avgpool_forward(const lw_op_context *context, const lw_op_call *call)
{
	return run_windows(context, call,
			   &(windows_kernel){.functions = {"avgpool_forward", "avgpool_forward_rows"},
					     .shape = call->output_shape,
					     .buffers = {call->input[0], call->output},
					     .buffer_count = 2,
					     .divides = true});
}

/* What windows give their pixels is divided once, into the workspace, where to multiply is not enough. */
static lw_status avgpool_backward_rows(const lw_op_context *context, const lw_op_call *call)
{
	const bool multiply = scales(call->options);
	const windows_kernel share = {.functions = {[LW_VECTOR] = "avgpool_share_rows"},
				      .shape = call->output_shape,
				      .buffers = {call->output_gradient, call->workspace},
				      .buffer_count = 2,
				      .divides = true};
	const windows_kernel sum = {.functions = {[LW_VECTOR] = "avgpool_backward_rows"},
				    .shape = call->input_shape[0],
				    .buffers = {multiply ? call->output_gradient : call->workspace, mask_of(call), call->input_gradient[0]},
				    .buffer_count = 3,
				    .scale = multiply ? 1.0f / (float)(call->options->kernel[0] * call->options->kernel[1]) : 1.0f};

	if (!multiply)
		LW_TRY(run_windows(context, call, &share));
	return run_windows(context, call, &sum);
}

static lw_status avgpool_backward(const lw_op_context *context, const lw_op_call *call)
{
	if (!call->input_gradient[0])
		return LW_OK;
	if (form(context, call) == LW_VECTOR)
		return avgpool_backward_rows(context, call);
	return run_windows(context, call,
			   &(windows_kernel){.functions = {"avgpool_backward"},
					     .shape = call->input_shape[0],
					     .buffers = {call->output_gradient, mask_of(call), call->input_gradient[0]},
					     .buffer_count = 3,
					     .divides = true});
}

static lw_status globalavgpool_rule(const lw_layer_options *options, const lw_shape *inputs, int input_count,
				    lw_op_rule *rule)
{
	(void)options;
	LW_TRY(lw_op_same_shape("globalavgpool", inputs, input_count, rule));
	rule->output.h = rule->output.w = 1;
	return LW_OK;
}

static lw_status globalavgpool_forward(const lw_op_context *context, const lw_op_call *call)
{
	const lw_shape in = call->input_shape[0];
	const int chosen = form(context, call);
	/* channels of an item, as in pool.cl */
	const int block = chosen == LW_VECTOR ? 8 * lw_op_vector_width(context->device, (size_t)in.c) : 1;
	lw_launch launch;

	LW_TRY(begin(&launch, context, "globalavgpool_forward", (size_t)in.c, lw_shape_count(call->output_shape), chosen));
	lw_arg_buf(&launch, call->input[0]);
	lw_arg_buf(&launch, call->output);
	lw_arg_int(&launch, in.h * in.w);
	lw_arg_int(&launch, in.c);
	launch.dimensions = 2;
	launch.global[0] = ((size_t)in.c + (size_t)block - 1) / (size_t)block;
	launch.global[1] = (size_t)in.n;
	if (chosen == LW_VECTOR)
		launch.local[0] = launch.local[1] = 1;
	launch.flops = (double)lw_shape_count(in);
	launch.bytes = 4.0 * (double)lw_shape_count(in);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status globalavgpool_backward(const lw_op_context *context, const lw_op_call *call)
{
	static const char *const functions[] = {"globalavgpool_backward", "globalavgpool_backward_images"};
	const lw_shape in = call->input_shape[0];
	const int chosen = form(context, call);
	lw_launch launch;

	if (!call->input_gradient[0])
		return LW_OK;
	LW_TRY(begin(&launch, context, functions[chosen], (size_t)in.c, lw_shape_count(in), chosen));
	lw_arg_buf(&launch, call->output_gradient);
	lw_arg_buf(&launch, mask_of(call));
	lw_arg_buf(&launch, call->input_gradient[0]);
	if (chosen == LW_SCALAR)
		lw_arg_int(&launch, (int)lw_shape_count(in));
	lw_arg_int(&launch, in.h * in.w);
	lw_arg_int(&launch, in.c);
	if (chosen == LW_SCALAR) {
		lw_op_items(&launch, lw_shape_count(in));
	} else {
		launch.dimensions = 2;
		launch.global[0] = ((size_t)in.h * (size_t)in.w + 255) / 256;
		launch.global[1] = (size_t)in.n;
		launch.local[0] = launch.local[1] = 1;
	}
	launch.flops = (double)lw_shape_count(in);
	launch.bytes = 4.0 * (double)lw_shape_count(in);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static const char *const maxpool_keys[] = {"kernel", "stride", "pad", "ceil_mode", NULL};
static const char *const avgpool_keys[] = {"kernel", "stride", "pad", "ceil_mode", "count_include_pad", NULL};
static const char *const no_keys[] = {NULL};

#define POOL(name, accepted)                                                                                           \
	extern const lw_op lw_op_##name;                                                                               \
	const lw_op lw_op_##name = {                                                                                   \
		.kind = #name,                                                                                         \
		.keys = accepted,                                                                                      \
		.min_inputs = 1,                                                                                       \
		.max_inputs = 1,                                                                                       \
		.variant_count = LW_SCALAR_AND_VECTOR,                                                                 \
		.variant_name = lw_op_scalar_or_vector,                                                                \
		.variant_applies = applies,                                                                            \
		.rule = name##_rule,                                                                                   \
		.forward = name##_forward,                                                                             \
		.backward = name##_backward,                                                                           \
		.fuses = LW_FUSES_INPUT_MASK,                                                                          \
	};

POOL(maxpool, maxpool_keys)
POOL(avgpool, avgpool_keys)
POOL(globalavgpool, no_keys)
