/* Winograd convolutions on GPUs, forward and backward of the data: the launches of cl/winograd_gpu.cl. */
#include "op/gemm_gpu.h"
#include "op/tile_gpu.h"
#include "op/winograd.h"

#include <limits.h>

/* Points of the input and of the sums that are kept at once: what a large cache holds, and enough to keep a GPU busy. */
enum { TARGET_FLOATS = 1 << 23 };

/* A pass: forward, or the data's gradient as a forward pass of the output's gradient with the filter turned around. */
typedef struct winograd_pass {
	int images, input[2], output[2], channels, outputs, pad[2];
	int out_step, channel_step, flip;
	int points, tiles[2]; /* down, across */
	int at_once;          /* images */
	/* places in the workspace, in floats; the filters are at its beginning */
	size_t v_at, m_at, floats;
} winograd_pass;

static void describe(const lw_conv *conv, lw_pass pass, lw_conv_algorithm algorithm, winograd_pass *p)
{
	const bool data = pass == LW_PASS_DATA;
	const int taps = (int)lw_conv_taps(conv), side = lw_winograd_outputs(algorithm), size = lw_winograd_size(algorithm);
	size_t per_image;

	*p = (winograd_pass){
		.images = conv->images,
		.channels = data ? conv->out_channels : conv->channels,
		.outputs = data ? conv->channels : conv->out_channels,
		.out_step = data ? taps : conv->channels * taps,
		.channel_step = data ? conv->channels * taps : taps,
		.flip = data,
		.points = size * size,
	};
	for (int i = 0; i < 2; i++) {
		p->input[i] = data ? conv->output[i] : conv->input[i];
		p->output[i] = data ? conv->input[i] : conv->output[i];
		p->pad[i] = data ? conv->kernel[i] - 1 - conv->pad[i] : conv->pad[i];
		p->tiles[i] = (p->output[i] + side - 1) / side;
	}
	per_image = (size_t)p->points * (size_t)p->tiles[0] * (size_t)p->tiles[1] * ((size_t)p->channels + (size_t)p->outputs);
	p->at_once = per_image > TARGET_FLOATS ? 1 : lw_min_int(p->images, (int)(TARGET_FLOATS / per_image));
	/* multiples of four floats: see lw_gemm_batch */
	p->v_at = lw_round_up((size_t)p->points * (size_t)p->channels * (size_t)p->outputs, 4);
	p->m_at = p->v_at + lw_round_up((size_t)p->at_once * (size_t)p->points * (size_t)p->tiles[0] * (size_t)p->tiles[1] *
						(size_t)p->channels, 4);
	p->floats = p->m_at + (size_t)p->at_once * (size_t)p->points * (size_t)p->tiles[0] * (size_t)p->tiles[1] *
				      (size_t)p->outputs;
}

static lw_variant transform(const char *function, lw_conv_algorithm algorithm)
{
	lw_variant variant = {.source = "winograd_gpu", .function = function};

	lw_variant_option(&variant, "WINOGRAD_OUTPUTS", lw_winograd_outputs(algorithm));
	lw_variant_option(&variant, "WINOGRAD_TAPS", algorithm == LW_CONV_WINOGRAD_5X5 ? 5 : 3);
	return variant;
}

static lw_status transform_filter(const lw_op_context *context, const winograd_pass *p, lw_conv_algorithm algorithm,
				  const lw_conv_buffers *b)
{
	const lw_variant variant = transform("winograd_gpu_filter", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->weight);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, p->out_step);
	lw_arg_int(&launch, p->channel_step);
	lw_arg_int(&launch, p->flip);
	launch.dimensions = 2;
	launch.global[0] = (size_t)p->outputs;
	launch.global[1] = (size_t)p->channels;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status transform_input(const lw_op_context *context, const winograd_pass *p, lw_conv_algorithm algorithm, lw_buf *x,
				 lw_buf *workspace, int image, int tiles)
{
	const lw_variant variant = transform("winograd_gpu_input", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, workspace);
	lw_arg_int(&launch, image * p->input[0] * p->input[1] * p->channels);
	lw_arg_int(&launch, (int)p->v_at);
	lw_arg_int(&launch, tiles);
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->channels);
	lw_conv_pair(&launch, p->pad);
	lw_conv_pair(&launch, p->tiles);
	lw_op_items(&launch, (size_t)tiles * (size_t)p->channels);
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* m[point] = v[point] u[point] */
static lw_status multiply(const lw_op_context *context, const winograd_pass *p, const lw_choice *choice, lw_buf *workspace, int tiles)
{
	const lw_gemm gemm = {.m = tiles, .n = p->outputs, .k = p->channels, .lda = p->channels, .ldb = p->outputs,
			      .ldc = p->outputs, .parts = 1, .a = workspace, .b = workspace, .c = workspace};
	const lw_gemm_batch batch = {.count = p->points,
				     .a = {(int)p->v_at, tiles * p->channels},
				     .b = {0, p->channels * p->outputs},
				     .c = {(int)p->m_at, tiles * p->outputs}};

	return lw_gemm_gpu_run_batch(context, &gemm, choice, &batch);
}

static lw_status transform_output(const lw_op_context *context, const winograd_pass *p, lw_conv_algorithm algorithm,
				  const lw_conv_buffers *b, lw_buf *y, lw_buf *mask, bool relu, int image, int tiles)
{
	const lw_variant variant = transform("winograd_gpu_output", algorithm);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->bias);
	lw_arg_buf(&launch, y);
	lw_arg_buf(&launch, mask);
	lw_arg_int(&launch, (int)p->m_at);
	lw_arg_int(&launch, image * p->output[0] * p->output[1] * p->outputs);
	lw_arg_int(&launch, tiles);
	lw_conv_pair(&launch, p->output);
	lw_arg_int(&launch, p->outputs);
	lw_conv_pair(&launch, p->tiles);
	lw_arg_int(&launch, relu);
	lw_op_items(&launch, (size_t)tiles * (size_t)p->outputs);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	winograd_pass p;

	(void)context;
	describe(conv, pass, (lw_conv_algorithm)choice->algorithm, &p);
	return sizeof(float) * p.floats;
}

/* The tiles for one algorithm. */
static int algorithm_choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_conv_algorithm algorithm,
			     lw_choice *list, int capacity)
{
	char prefix[32];
	winograd_pass p;
	int count;

	if (!lw_conv_winograd_applies(conv, algorithm))
		return 0;
	describe(conv, pass, algorithm, &p);
	/* places in the workspace are ints */
	if (p.floats > INT_MAX)
		return 0;
	snprintf(prefix, sizeof prefix, "%s/gpu", lw_conv_algorithm_names[algorithm]);
	count = lw_gpu_tile_choices(context, (double)p.at_once * p.tiles[0] * p.tiles[1], p.outputs, p.points, prefix, list,
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
	winograd_pass p;

	describe(conv, pass, algorithm, &p);
	if (!context->filters_packed)
		LW_TRY(transform_filter(context, &p, algorithm, b));
	for (int image = 0; image < p.images; image += p.at_once) {
		const int tiles = lw_min_int(p.at_once, p.images - image) * p.tiles[0] * p.tiles[1];
		LW_TRY(transform_input(context, &p, algorithm, data ? b->gradient : b->x, b->workspace, image, tiles));
		LW_TRY(multiply(context, &p, choice, b->workspace, tiles));
		LW_TRY(transform_output(context, &p, algorithm, b, data ? b->x_gradient : b->y, data && conv->mask ? b->x : NULL,
					!data && conv->relu, image, tiles));
	}
	return LW_OK;
}

const lw_conv_family lw_winograd_gpu = {"gpu", true, choices, workspace, run};
