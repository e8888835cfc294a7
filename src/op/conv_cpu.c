/* conv on CPUs: which tiles, how much local memory, and the launches of cl/conv_cpu.cl. */
#include "op/conv_cpu.h"

/* The tile with the fewest rows, for little local memory. */
enum { MIN_ROWS = 4 };

/*
 * A pass that computes pixels: forward, or one phase of the backward pass of the data, where x is the output's gradient.
 * An output row p reads input rows p * stride + origin + tap * dilation.
 */
typedef struct pixel_pass {
	int images, groups;
	int input[2], channels, group_channels;
	int output[2], outputs; /* per group */
	int taps[2], stride[2], origin[2], dilation[2];
	int y_base, y_image, y_row, y_pixel;
	/* the weights: see pack_weight */
	int first[2], step[2], out_step, inner_step, group_size, kernel_width, packed_base;
} pixel_pass;

/* Floats of local memory that a tile of the output needs: the slab, and a register tile. */
static size_t forward_floats(const pixel_pass *p, int lanes, int rows, int height, int width)
{
	const size_t columns = (lw_round_up((size_t)width, (size_t)rows) - 1) * (size_t)p->stride[1] +
			       (size_t)lw_max_int(p->taps[1] - 1, 0) * (size_t)p->dilation[1] + 1;
	const size_t lines = (size_t)(height - 1) * (size_t)p->stride[0] +
			     (size_t)lw_max_int(p->taps[0] - 1, 0) * (size_t)p->dilation[0] + 1;

	return lines * columns * (size_t)p->group_channels + (size_t)(rows * lanes);
}

/* false: not even the smallest tile fits the local memory */
static bool choose_forward(lw_device *device, const pixel_pass *p, lw_conv_tiling *tile)
{
	static const int wide[] = {14, 8, 7, MIN_ROWS}, narrow[] = {6, MIN_ROWS};
	const size_t limit = lw_tile_local_floats(device), target = limit < LW_CONV_SLAB ? limit : LW_CONV_SLAB;
	const int groups = lw_tile_groups(device);
	int lanes, most;

	lw_tile_vectors(&tile->tile, device, p->outputs);
	tile->blocks = lw_tile_blocks(&tile->tile, p->outputs);
	lanes = lw_tile_lanes(&tile->tile);
	tile->tile.rows = tile->tile.vector == LW_TILE_WIDE ? lw_tile_rows(wide, LW_COUNT(wide), p->output[1])
							    : lw_tile_rows(narrow, LW_COUNT(narrow), p->output[1]);
	if (forward_floats(p, lanes, tile->tile.rows, 1, 1) > limit)
		tile->tile.rows = MIN_ROWS;
	if (forward_floats(p, lanes, tile->tile.rows, 1, 1) > limit)
		return false;
	tile->height = 1;
	tile->width = p->output[1];
	if (forward_floats(p, lanes, tile->tile.rows, 1, tile->width) > target) {
		for (most = tile->tile.rows; forward_floats(p, lanes, tile->tile.rows, 1, most + tile->tile.rows) <= target;)
			most += tile->tile.rows;
		tile->width = lw_conv_even(p->output[1], most, tile->tile.rows);
	} else {
		const long others = (long)p->images * p->groups;
		for (most = 1; most < p->output[0] && forward_floats(p, lanes, tile->tile.rows, most + 1, tile->width) <= target &&
			       others * ((p->output[0] + most) / (most + 1)) >= groups;)
			most++;
		tile->height = lw_conv_even(p->output[0], most, 1);
	}
	tile->local_floats = forward_floats(p, lanes, tile->tile.rows, tile->height, tile->width);
	return true;
}

static void describe_forward(const lw_conv *conv, pixel_pass *p)
{
	const int taps = (int)lw_conv_taps(conv);

	*p = (pixel_pass){
		.images = conv->images,
		.groups = conv->groups,
		.input = {conv->input[0], conv->input[1]},
		.channels = conv->channels,
		.group_channels = conv->group_channels,
		.output = {conv->output[0], conv->output[1]},
		.outputs = conv->group_out,
		.taps = {conv->kernel[0], conv->kernel[1]},
		.stride = {conv->stride[0], conv->stride[1]},
		.origin = {-conv->pad[0], -conv->pad[1]},
		.dilation = {conv->dilation[0], conv->dilation[1]},
		.y_image = conv->output[0] * conv->output[1] * conv->out_channels,
		.y_row = conv->output[1] * conv->out_channels,
		.y_pixel = conv->out_channels,
		.step = {1, 1},
		.out_step = conv->group_channels * taps,
		.inner_step = taps,
		.group_size = conv->group_out * conv->group_channels * taps,
		.kernel_width = conv->kernel[1],
	};
}

static int greatest_divisor(int a, int b)
{
	while (b) {
		const int rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/*
 * Input rows phase, phase + stride, ... of the gradient of x read the taps r for which phase + pad - r * dilation is a
 * multiple of the stride: a convolution of gy with those taps, r descending, and stride 1. Along one axis.
 */
static void describe_phase(const lw_conv *conv, int axis, int phase, pixel_pass *p)
{
	const int stride = conv->stride[axis], dilation = conv->dilation[axis];
	const int divisor = greatest_divisor(stride, dilation), every = stride / divisor;
	int last = conv->kernel[axis] - 1;

	while (last >= 0 && (phase + conv->pad[axis] - (long)last * dilation) % stride)
		last--;
	p->input[axis] = conv->output[axis];
	p->output[axis] = (conv->input[axis] - phase - 1) / stride + 1;
	p->stride[axis] = 1;
	p->taps[axis] = last < 0 ? 0 : last / every + 1;
	p->origin[axis] = last < 0 ? 0 : (int)((phase + conv->pad[axis] - (long)last * dilation) / stride);
	p->dilation[axis] = dilation / divisor;
	p->first[axis] = last;
	p->step[axis] = -every;
}

/* down and across are below the stride and the input's size. */
static void describe_data(const lw_conv *conv, int down, int across, pixel_pass *p)
{
	const int taps = (int)lw_conv_taps(conv), pixel = conv->channels, row = conv->input[1] * pixel;

	*p = (pixel_pass){
		.images = conv->images,
		.groups = conv->groups,
		.channels = conv->out_channels,
		.group_channels = conv->group_out,
		.outputs = conv->group_channels,
		.y_base = down * row + across * pixel,
		.y_image = conv->input[0] * row,
		/* a stride beyond the input leads to no other pixel, and its product might not fit */
		.y_row = lw_min_int(conv->stride[0], conv->input[0]) * row,
		.y_pixel = lw_min_int(conv->stride[1], conv->input[1]) * pixel,
		.out_step = taps,
		.inner_step = conv->group_channels * taps,
		.group_size = conv->group_out * conv->group_channels * taps,
		.kernel_width = conv->kernel[1],
	};
	describe_phase(conv, 0, down, p);
	describe_phase(conv, 1, across, p);
}

/* A pass over single pixels that lie one behind the other: one long row. */
static void join_rows(pixel_pass *p)
{
	const long pixels = (long)p->images * p->output[0] * p->output[1];

	for (int i = 0; i < 2; i++)
		if (p->taps[i] != 1 || p->stride[i] != 1 || p->origin[i] || p->input[i] != p->output[i])
			return;
	if (p->y_row != p->output[1] * p->y_pixel || p->y_image != p->output[0] * p->y_row)
		return;
	p->images = p->input[0] = p->output[0] = 1;
	p->input[1] = p->output[1] = (int)pixels;
}

static void weight_arguments(lw_launch *launch, const pixel_pass *p)
{
	lw_conv_pair(launch, p->taps);
	lw_arg_int(launch, p->first[0]);
	lw_arg_int(launch, p->step[0]);
	lw_arg_int(launch, p->first[1]);
	lw_arg_int(launch, p->step[1]);
	lw_arg_int(launch, p->kernel_width);
	lw_arg_int(launch, p->packed_base);
}

static lw_status pack(const lw_op_context *context, const pixel_pass *p, const lw_conv_tiling *tile, lw_buf *weight, lw_buf *bias,
		      lw_buf *packed)
{
	const lw_variant variant = lw_tile_variant("conv_cpu", "pack_weight", &tile->tile);
	const int run = 16;
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, bias);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, p->group_channels);
	lw_arg_int(&launch, run);
	lw_arg_int(&launch, p->group_size);
	lw_arg_int(&launch, p->out_step);
	lw_arg_int(&launch, p->inner_step);
	weight_arguments(&launch, p);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((p->group_channels + run - 1) / run);
	launch.global[1] = (size_t)tile->blocks;
	launch.global[2] = (size_t)p->groups;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static void pass_arguments(lw_launch *launch, const pixel_pass *p)
{
	lw_conv_pair(launch, p->taps);
	lw_conv_pair(launch, p->stride);
	lw_conv_pair(launch, p->origin);
	lw_conv_pair(launch, p->dilation);
}

static void place_arguments(lw_launch *launch, const pixel_pass *p)
{
	lw_arg_int(launch, p->y_base);
	lw_arg_int(launch, p->y_image);
	lw_arg_int(launch, p->y_row);
	lw_arg_int(launch, p->y_pixel);
	lw_arg_int(launch, p->packed_base);
}

static lw_status run_pass(const lw_op_context *context, pixel_pass *p, lw_buf *x, lw_buf *weight, lw_buf *bias, lw_buf *y,
			  lw_buf *packed)
{
	const long groups = lw_tile_groups(context->device);
	lw_variant variant;
	lw_launch launch;
	lw_conv_tiling tile;
	long tiles;

	join_rows(p);
	if (!choose_forward(context->device, p, &tile))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	LW_TRY(pack(context, p, &tile, weight, bias, packed));
	variant = lw_tile_variant("conv_cpu", "conv_forward", &tile.tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, packed);
	lw_arg_buf(&launch, y);
	lw_arg_local(&launch, tile.local_floats * sizeof(float));
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->group_channels);
	lw_conv_pair(&launch, p->output);
	lw_arg_int(&launch, p->outputs);
	pass_arguments(&launch, p);
	lw_arg_int(&launch, tile.height);
	lw_arg_int(&launch, tile.width);
	place_arguments(&launch, p);
	lw_arg_int(&launch, tile.blocks);
	lw_arg_int(&launch, bias ? 1 : 0);
	tiles = (long)p->images * ((p->output[0] + tile.height - 1) / tile.height) *
		((p->output[1] + tile.width - 1) / tile.width);
	launch.dimensions = 3;
	launch.global[0] = (size_t)tiles;
	launch.global[1] = (size_t)p->groups;
	launch.global[2] = (size_t)lw_min_int(tile.blocks, (int)((groups + tiles * p->groups - 1) / (tiles * p->groups)));
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * p->images * p->output[0] * p->output[1] * p->outputs * p->groups * p->group_channels * p->taps[0] *
		       p->taps[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status pack_depthwise(const lw_op_context *context, const lw_conv *conv, const pixel_pass *p, lw_buf *weight, lw_buf *packed)
{
	const lw_variant variant = lw_conv_depthwise_variant(context, "pack_depthwise", conv->channels);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, (int)lw_conv_taps(conv));
	weight_arguments(&launch, p);
	lw_launch_1d(&launch, (size_t)conv->channels, 0);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_depthwise(const lw_op_context *context, const lw_conv *conv, const pixel_pass *p, lw_buf *x, lw_buf *weight,
			       lw_buf *bias, lw_buf *y, lw_buf *packed)
{
	const lw_variant variant = lw_conv_depthwise_variant(context, "depthwise_forward", conv->channels);
	lw_launch launch;

	LW_TRY(pack_depthwise(context, conv, p, weight, packed));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, packed);
	lw_arg_buf(&launch, bias);
	lw_arg_buf(&launch, y);
	lw_conv_pair(&launch, p->input);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->output[1]);
	pass_arguments(&launch, p);
	place_arguments(&launch, p);
	launch.dimensions = 2;
	launch.global[0] = (size_t)p->output[0];
	launch.global[1] = (size_t)p->images;
	launch.local[0] = launch.local[1] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status forward(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	pixel_pass p;

	describe_forward(conv, &p);
	if (lw_conv_is_depthwise(conv))
		return run_depthwise(context, conv, &p, b->x, b->weight, b->bias, b->y, b->workspace);
	return run_pass(context, &p, b->x, b->weight, b->bias, b->y, b->workspace);
}

static lw_status backward_data(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	size_t base = 0;

	for (int down = 0; down < lw_min_int(conv->stride[0], conv->input[0]); down++)
		for (int across = 0; across < lw_min_int(conv->stride[1], conv->input[1]); across++) {
			pixel_pass p;
			describe_data(conv, down, across, &p);
			p.packed_base = (int)base;
			if (lw_conv_is_depthwise(conv)) {
				LW_TRY(run_depthwise(context, conv, &p, b->gradient, b->weight, NULL, b->x_gradient, b->workspace));
				base += (size_t)p.taps[0] * (size_t)p.taps[1] * (size_t)conv->channels;
			} else {
				LW_TRY(run_pass(context, &p, b->gradient, b->weight, NULL, b->x_gradient, b->workspace));
				base += (size_t)p.taps[0] * (size_t)p.taps[1] * (size_t)p.group_channels * (size_t)p.groups *
					lw_tile_padded(p.outputs);
			}
		}
	return LW_OK;
}

static size_t forward_workspace(const lw_conv *conv)
{
	const size_t inner = (size_t)conv->group_channels * lw_conv_taps(conv) + (conv->bias ? 1 : 0);

	return sizeof(float) * (size_t)conv->groups * lw_tile_padded(conv->group_out) * inner;
}

static size_t backward_workspace(const lw_conv *conv)
{
	const size_t groups = (size_t)conv->groups, taps = lw_conv_taps(conv);
	const size_t data = groups * lw_tile_padded(conv->group_channels) * (size_t)conv->group_out * taps;
	/* a segment is padded to whole tiles */
	const size_t rows = taps * (size_t)conv->group_channels + (size_t)conv->kernel[0] * (LW_TILE_MAX_ROWS - 1);
	const size_t weight = lw_conv_is_depthwise(conv) ? lw_conv_weights(conv) : groups * lw_tile_padded(conv->group_out) * rows;
	const size_t partial = (size_t)conv->parts * weight;

	return sizeof(float) * (partial > data ? partial : data);
}

static bool applies(lw_device *device, const lw_conv *conv)
{
	lw_conv_tiling tile;
	pixel_pass p;

	if (!lw_tile_applies(device))
		return false;
	if (lw_conv_is_depthwise(conv))
		return true;
	describe_forward(conv, &p);
	if (!choose_forward(device, &p, &tile) || !lw_conv_cpu_weight_applies(device, conv))
		return false;
	for (int down = 0; down < lw_min_int(conv->stride[0], conv->input[0]); down++)
		for (int across = 0; across < lw_min_int(conv->stride[1], conv->input[1]); across++) {
			describe_data(conv, down, across, &p);
			if (!choose_forward(device, &p, &tile))
				return false;
		}
	return true;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	(void)pass;
	if (capacity < 1 || conv->relu || conv->mask || !applies(context->device, conv))
		return 0;
	*list = (lw_choice){.name = "direct/cpu", .algorithm = LW_CONV_DIRECT};
	return 1;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	(void)context, (void)choice;
	return pass == LW_PASS_FORWARD ? forward_workspace(conv) : backward_workspace(conv);
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	(void)choice;
	if (pass == LW_PASS_WEIGHT)
		return lw_conv_cpu_backward_weight(context, conv, buffers);
	return pass == LW_PASS_FORWARD ? forward(context, conv, buffers) : backward_data(context, conv, buffers);
}

const lw_conv_family lw_conv_cpu = {"cpu", false, choices, workspace, run};
