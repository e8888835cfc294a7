/* Winograd convolutions on GPUs, forward and backward of the data: the launches of cl/winograd_gpu.cl. */
#include "op/gemm_gpu.h"
#include "op/tile_gpu.h"
#include "op/winograd.h"

#include <limits.h>

/* Points of the input and of the sums that are kept at once: what a large cache holds, and enough to keep a GPU busy. */
enum { TARGET_FLOATS = 1 << 23 };

/* A pass, images of it at a time, and places in the workspace, in floats; the filters are at its beginning. */
typedef struct winograd_plan {
	lw_winograd_pass p;
	int image_tiles, at_once;
	size_t v_at, m_at, floats;
} winograd_plan;

static winograd_plan make_plan(const lw_conv *conv, lw_pass pass, int algorithm)
{
	const lw_winograd_pass p = lw_winograd_describe(conv, pass, algorithm);
	winograd_plan plan = {.p = p, .image_tiles = p.down * p.across};
	const size_t per_image = (size_t)p.points * (size_t)plan.image_tiles, channels = (size_t)p.channels, outputs = (size_t)p.outputs;
	const size_t fitting = TARGET_FLOATS / (per_image * (channels + outputs));
	size_t points;

	plan.at_once = lw_max_int(1, (int)(fitting < (size_t)p.images ? fitting : (size_t)p.images));
	points = (size_t)plan.at_once * per_image;
	/* multiples of four floats: see lw_gemm_batch */
	plan.v_at = lw_round_up((size_t)p.points * channels * outputs, 4);
	plan.m_at = plan.v_at + lw_round_up(points * channels, 4);
	plan.floats = plan.m_at + points * outputs;
	return plan;
}

static lw_variant transform(const char *function, lw_conv_algorithm algorithm)
{
	lw_variant variant = {.source = "winograd_gpu", .function = function};

	lw_variant_option(&variant, "WINOGRAD_OUTPUTS", lw_winograd_outputs(algorithm));
	lw_variant_option(&variant, "WINOGRAD_TAPS", algorithm == LW_CONV_WINOGRAD_5X5 ? 5 : 3);
	return variant;
}

static lw_status transform_filter(const lw_op_context *context, const winograd_plan *plan, lw_conv_algorithm algorithm,
				  const lw_conv_buffers *b)
{
	const lw_variant variant = transform("winograd_gpu_filter", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->weight);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, plan->p.out_step);
	lw_arg_int(&launch, plan->p.inner_step);
	lw_arg_int(&launch, plan->p.flip);
	launch.dimensions = 2;
	launch.global[0] = (size_t)plan->p.outputs;
	launch.global[1] = (size_t)plan->p.channels;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status transform_input(const lw_op_context *context, const winograd_plan *plan, lw_conv_algorithm algorithm, lw_buf *x,
				 lw_buf *workspace, int image, int tiles)
{
	const lw_variant variant = transform("winograd_gpu_input", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, workspace);
	lw_arg_int(&launch, image * plan->p.input[0] * plan->p.input[1] * plan->p.channels);
	lw_arg_int(&launch, (int)plan->v_at);
	lw_arg_int(&launch, tiles);
	lw_conv_pair(&launch, plan->p.input);
	lw_arg_int(&launch, plan->p.channels);
	lw_conv_pair(&launch, plan->p.pad);
	lw_conv_pair(&launch, plan->p.output);
	lw_op_items(&launch, (size_t)tiles * (size_t)plan->p.channels);
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* m[point] = v[point] u[point] */
static lw_status multiply(const lw_op_context *context, const winograd_plan *plan, const lw_choice *choice, lw_buf *workspace, int tiles)
{
	const lw_gemm gemm = {.m = tiles, .n = plan->p.outputs, .k = plan->p.channels, .lda = plan->p.channels, .ldb = plan->p.outputs,
			      .ldc = plan->p.outputs, .parts = 1, .a = workspace, .b = workspace, .c = workspace};
	const lw_gemm_batch batch = {.count = plan->p.points,
				     .a = {(int)plan->v_at, tiles * plan->p.channels},
				     .b = {0, plan->p.channels * plan->p.outputs},
				     .c = {(int)plan->m_at, tiles * plan->p.outputs}};

	return lw_gemm_gpu_run_batch(context, &gemm, choice, &batch);
}

static lw_status transform_output(const lw_op_context *context, const winograd_plan *plan, lw_conv_algorithm algorithm,
				  const lw_conv_buffers *b, lw_buf *y, lw_buf *mask, bool relu, int image, int tiles)
{
	const lw_variant variant = transform("winograd_gpu_output", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->bias);
	lw_arg_buf(&launch, y);
	lw_arg_buf(&launch, mask);
	lw_arg_int(&launch, (int)plan->m_at);
	lw_arg_int(&launch, image * plan->p.output[0] * plan->p.output[1] * plan->p.outputs);
	lw_arg_int(&launch, tiles);
	lw_conv_pair(&launch, plan->p.output);
	lw_arg_int(&launch, plan->p.outputs);
	lw_arg_int(&launch, relu);
	lw_op_items(&launch, (size_t)tiles * (size_t)plan->p.outputs);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	(void)context;
	return sizeof(float) * make_plan(conv, pass, choice->algorithm).floats;
}

/* The tiles for one algorithm. */
static int algorithm_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_conv_algorithm algorithm,
			     lw_choice *list, int capacity)
{
	char prefix[32];
	winograd_plan plan;
	int count;

	if (!lw_conv_winograd_applies(conv, algorithm))
		return 0;
	plan = make_plan(conv, pass, (int)algorithm);
	/* places in the workspace are ints */
	if (plan.floats > INT_MAX)
		return 0;
	snprintf(prefix, sizeof prefix, "%s/gpu", lw_conv_algorithm_names[algorithm]);
	count = lw_gpu_tile_choices(context, (double)plan.at_once * plan.image_tiles, plan.p.outputs, plan.p.points, prefix, list,
				    capacity);
	for (int i = 0; i < count; i++)
		list[i].algorithm = (int)algorithm;
	return count;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	int count = 0;

	for (int a = LW_CONV_WINOGRAD_F2; pass != LW_PASS_WEIGHT && a < LW_CONV_ALGORITHMS; a++)
		count += algorithm_choices(context, conv, pass, (lw_conv_algorithm)a, list + count, capacity - count);
	return count;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *b)
{
	const lw_conv_algorithm algorithm = (lw_conv_algorithm)choice->algorithm;
	const bool data = pass == LW_PASS_DATA;
	const winograd_plan plan = make_plan(conv, pass, choice->algorithm);

	if (!context->filters_packed)
		LW_TRY(transform_filter(context, &plan, algorithm, b));
	for (int image = 0; image < plan.p.images; image += plan.at_once) {
		const int tiles = lw_min_int(plan.at_once, plan.p.images - image) * plan.image_tiles;
		LW_TRY(transform_input(context, &plan, algorithm, data ? b->gradient : b->x, b->workspace, image, tiles));
		LW_TRY(multiply(context, &plan, choice, b->workspace, tiles));
		LW_TRY(transform_output(context, &plan, algorithm, b, data ? b->x_gradient : b->y, data && conv->mask ? b->x : NULL,
					!data && conv->relu, image, tiles));
	}
	return LW_OK;
}

const lw_conv_family lw_winograd_gpu = {"gpu", true, choices, workspace, run};
