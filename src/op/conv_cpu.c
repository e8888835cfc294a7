/* conv on CPUs: which tiles, how much local memory, and the launches of cl/conv_cpu.cl. */
#include "op/conv.h"

/* What a work-group's slab may take of a core's cache, and the register tiles there are, the largest first. */
enum { SLAB_BYTES = 96 * 1024, WIDE = 16, MIN_ROWS = 4, GROUPS_PER_UNIT = 4, MAX_LANES = 32 };

/*
 * A pass that computes pixels: forward, or one phase of the backward pass of the data, where x is the output's gradient.
 * An output row p reads input rows p * stride + origin + tap * dilation.
 */
typedef struct pass {
	int images, groups;
	int input[2], channels, group_channels;
	int output[2], outputs; /* per group */
	int taps[2], stride[2], origin[2], dilation[2];
	int y_base, y_image, y_row, y_pixel;
	/* the weights: see pack_weight */
	int first[2], step[2], out_step, inner_step, group_size, kernel_width, packed_base;
} pass;

/* A register tile and the part of the output that a work-group takes. */
typedef struct tiling {
	int vector, vectors, rows;
	int height, width, blocks;
	size_t local_floats;
} tiling;

static bool depthwise(const lw_conv *conv) { return conv->groups > 1 && conv->group_channels == 1 && conv->group_out == 1; }

/* Outputs of a group, padded to the widest tile that any device would use for them. */
static size_t padded_outputs(int outputs)
{
	size_t lanes = 4;

	while (lanes < MAX_LANES && lanes < (size_t)outputs)
		lanes *= 2;
	return lw_round_up((size_t)outputs, lanes);
}

static void choose_vectors(lw_device *device, int outputs, tiling *tile)
{
	tile->vector = lw_op_vector_width(device, (size_t)lw_max_int(outputs, 4));
	tile->vectors = outputs > tile->vector ? 2 : 1;
	tile->blocks = (outputs + tile->vector * tile->vectors - 1) / (tile->vector * tile->vectors);
}

static size_t local_limit(const lw_device *device)
{
	const uint64_t local = lw_device_get_info(device)->local_memory;

	/* some drivers take a little for themselves */
	return (size_t)(local > 4096 ? local - 1024 : local) / sizeof(float);
}

/* Rows of a tile such that the whole tiles over a row of `pixels` cost least, with one step's worth of loads each. */
static int choose_rows(const int *candidates, size_t count, int pixels)
{
	int best = candidates[0];
	long best_cost = 0;

	for (size_t i = 0; i < count; i++) {
		const int rows = candidates[i];
		const long cost = (long)((pixels + rows - 1) / rows) * lw_max_int(rows + 1, 6);
		if (i == 0 || cost < best_cost) {
			best = rows;
			best_cost = cost;
		}
	}
	return best;
}

/* Floats of local memory that a tile of the output needs: the slab, and a register tile. */
static size_t forward_floats(const pass *p, int lanes, int rows, int height, int width)
{
	const size_t columns = (lw_round_up((size_t)width, (size_t)rows) - 1) * (size_t)p->stride[1] +
			       (size_t)lw_max_int(p->taps[1] - 1, 0) * (size_t)p->dilation[1] + 1;
	const size_t lines = (size_t)(height - 1) * (size_t)p->stride[0] +
			     (size_t)lw_max_int(p->taps[0] - 1, 0) * (size_t)p->dilation[0] + 1;

	return lines * columns * (size_t)p->group_channels + (size_t)(rows * lanes);
}

/* Cuts `size` into equal pieces of at most `most`, which are multiples of `unit` but for the last. */
static int even(int size, int most, int unit)
{
	const int pieces = (size + most - 1) / most, piece = (size + pieces - 1) / pieces;

	return lw_min_int(size, (int)lw_round_up((size_t)piece, (size_t)unit));
}

/* false: not even the smallest tile fits the local memory */
static bool choose_forward(lw_device *device, const pass *p, tiling *tile)
{
	static const int wide[] = {14, 8, 7, MIN_ROWS}, narrow[] = {6, MIN_ROWS};
	const size_t limit = local_limit(device), target = limit < SLAB_BYTES / 4 ? limit : SLAB_BYTES / 4;
	const int units = (int)lw_device_get_info(device)->compute_units * GROUPS_PER_UNIT;
	int lanes, most;

	choose_vectors(device, p->outputs, tile);
	lanes = tile->vector * tile->vectors;
	tile->rows = tile->vector == WIDE ? choose_rows(wide, LW_COUNT(wide), p->output[1])
					  : choose_rows(narrow, LW_COUNT(narrow), p->output[1]);
	if (forward_floats(p, lanes, tile->rows, 1, 1) > limit)
		tile->rows = MIN_ROWS;
	if (forward_floats(p, lanes, tile->rows, 1, 1) > limit)
		return false;
	tile->height = 1;
	tile->width = p->output[1];
	if (forward_floats(p, lanes, tile->rows, 1, tile->width) > target) {
		for (most = tile->rows; forward_floats(p, lanes, tile->rows, 1, most + tile->rows) <= target;)
			most += tile->rows;
		tile->width = even(p->output[1], most, tile->rows);
	} else {
		const long others = (long)p->images * p->groups;
		for (most = 1; most < p->output[0] && forward_floats(p, lanes, tile->rows, most + 1, tile->width) <= target &&
			       others * ((p->output[0] + most) / (most + 1)) >= units;)
			most++;
		tile->height = even(p->output[0], most, 1);
	}
	tile->local_floats = forward_floats(p, lanes, tile->rows, tile->height, tile->width);
	return true;
}

static void describe_forward(const lw_conv *conv, pass *p)
{
	const int taps = (int)lw_conv_taps(conv);

	*p = (pass){
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
static void describe_phase(const lw_conv *conv, int axis, int phase, pass *p)
{
	const int stride = conv->stride[axis], dilation = conv->dilation[axis];
	const int divisor = greatest_divisor(stride, dilation), every = stride / divisor;
	int last = conv->kernel[axis] - 1;

	while (last >= 0 && (phase + conv->pad[axis] - (long)last * dilation) % stride)
		last--;
	p->input[axis] = conv->output[axis];
	p->output[axis] = (conv->input[axis] - phase + stride - 1) / stride;
	p->stride[axis] = 1;
	p->taps[axis] = last < 0 ? 0 : last / every + 1;
	p->origin[axis] = last < 0 ? 0 : (int)((phase + conv->pad[axis] - (long)last * dilation) / stride);
	p->dilation[axis] = dilation / divisor;
	p->first[axis] = last;
	p->step[axis] = -every;
}

/* false: the input has no pixels of this phase */
static bool describe_data(const lw_conv *conv, int down, int across, pass *p)
{
	const int taps = (int)lw_conv_taps(conv), pixel = conv->channels, row = conv->input[1] * pixel;

	if (down >= conv->input[0] || across >= conv->input[1])
		return false;
	*p = (pass){
		.images = conv->images,
		.groups = conv->groups,
		.channels = conv->out_channels,
		.group_channels = conv->group_out,
		.outputs = conv->group_channels,
		.y_base = down * row + across * pixel,
		.y_image = conv->input[0] * row,
		.y_row = conv->stride[0] * row,
		.y_pixel = conv->stride[1] * pixel,
		.out_step = taps,
		.inner_step = conv->group_channels * taps,
		.group_size = conv->group_out * conv->group_channels * taps,
		.kernel_width = conv->kernel[1],
	};
	describe_phase(conv, 0, down, p);
	describe_phase(conv, 1, across, p);
	return true;
}

/* A pass over single pixels that lie one behind the other: one long row. */
static void join_rows(pass *p)
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

static void pair(lw_launch *launch, const int *values)
{
	lw_arg_int(launch, values[0]);
	lw_arg_int(launch, values[1]);
}

static lw_variant tile_variant(const char *function, const tiling *tile)
{
	lw_variant variant = {.source = "conv_cpu", .function = function};

	lw_variant_option(&variant, "VECTOR", tile->vector);
	lw_variant_option(&variant, "VECTORS", tile->vectors);
	lw_variant_option(&variant, "ROWS", tile->rows);
	return variant;
}

static void weight_arguments(lw_launch *launch, const pass *p)
{
	pair(launch, p->taps);
	lw_arg_int(launch, p->first[0]);
	lw_arg_int(launch, p->step[0]);
	lw_arg_int(launch, p->first[1]);
	lw_arg_int(launch, p->step[1]);
	lw_arg_int(launch, p->kernel_width);
	lw_arg_int(launch, p->packed_base);
}

static lw_status pack(const lw_op_context *context, const pass *p, const tiling *tile, lw_buf *weight, lw_buf *bias,
		      lw_buf *packed)
{
	const lw_variant variant = tile_variant("pack_weight", tile);
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

static void pass_arguments(lw_launch *launch, const pass *p)
{
	pair(launch, p->taps);
	pair(launch, p->stride);
	pair(launch, p->origin);
	pair(launch, p->dilation);
}

static void place_arguments(lw_launch *launch, const pass *p)
{
	lw_arg_int(launch, p->y_base);
	lw_arg_int(launch, p->y_image);
	lw_arg_int(launch, p->y_row);
	lw_arg_int(launch, p->y_pixel);
	lw_arg_int(launch, p->packed_base);
}

static lw_status run_pass(const lw_op_context *context, pass *p, lw_buf *x, lw_buf *weight, lw_buf *bias, lw_buf *y,
			  lw_buf *packed)
{
	const long units = (long)lw_device_get_info(context->device)->compute_units * GROUPS_PER_UNIT;
	lw_variant variant;
	lw_launch launch;
	tiling tile;
	long tiles;

	join_rows(p);
	if (!choose_forward(context->device, p, &tile))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	LW_TRY(pack(context, p, &tile, weight, bias, packed));
	variant = tile_variant("conv_forward", &tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, packed);
	lw_arg_buf(&launch, y);
	lw_arg_local(&launch, tile.local_floats * sizeof(float));
	pair(&launch, p->input);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->group_channels);
	pair(&launch, p->output);
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
	launch.global[2] = (size_t)lw_min_int(tile.blocks, (int)((units + tiles * p->groups - 1) / (tiles * p->groups)));
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * p->images * p->output[0] * p->output[1] * p->outputs * p->groups * p->group_channels * p->taps[0] *
		       p->taps[1];
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_variant depthwise_variant(const lw_op_context *context, const char *function, int channels)
{
	lw_variant variant = {.source = "conv_cpu", .function = function};

	lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, (size_t)lw_max_int(channels, 4)));
	return variant;
}

static lw_status pack_depthwise(const lw_op_context *context, const lw_conv *conv, const pass *p, lw_buf *weight, lw_buf *packed)
{
	const lw_variant variant = depthwise_variant(context, "pack_depthwise", conv->channels);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, packed);
	lw_arg_int(&launch, (int)lw_conv_taps(conv));
	weight_arguments(&launch, p);
	lw_launch_1d(&launch, (size_t)conv->channels, 0);
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_depthwise(const lw_op_context *context, const lw_conv *conv, const pass *p, lw_buf *x, lw_buf *weight,
			       lw_buf *bias, lw_buf *y, lw_buf *packed)
{
	const lw_variant variant = depthwise_variant(context, "depthwise_forward", conv->channels);
	lw_launch launch;

	LW_TRY(pack_depthwise(context, conv, p, weight, packed));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, x);
	lw_arg_buf(&launch, packed);
	lw_arg_buf(&launch, bias);
	lw_arg_buf(&launch, y);
	pair(&launch, p->input);
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

lw_status lw_conv_cpu_forward(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	pass p;

	describe_forward(conv, &p);
	if (depthwise(conv))
		return run_depthwise(context, conv, &p, b->x, b->weight, b->bias, b->y, b->workspace);
	return run_pass(context, &p, b->x, b->weight, b->bias, b->y, b->workspace);
}

lw_status lw_conv_cpu_backward_data(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	size_t base = 0;

	for (int down = 0; down < conv->stride[0]; down++)
		for (int across = 0; across < conv->stride[1]; across++) {
			pass p;
			if (!describe_data(conv, down, across, &p))
				continue;
			p.packed_base = (int)base;
			if (depthwise(conv)) {
				LW_TRY(run_depthwise(context, conv, &p, b->gradient, b->weight, NULL, b->x_gradient, b->workspace));
				base += (size_t)p.taps[0] * (size_t)p.taps[1] * (size_t)conv->channels;
			} else {
				LW_TRY(run_pass(context, &p, b->gradient, b->weight, NULL, b->x_gradient, b->workspace));
				base += (size_t)p.taps[0] * (size_t)p.taps[1] * (size_t)p.group_channels * (size_t)p.groups *
					padded_outputs(p.outputs);
			}
		}
	return LW_OK;
}

/* The tile of the backward pass of the weight: rows are weights of one segment, see conv_backward_weight. */
typedef struct weight_tiling {
	tiling tile;
	bool gather;
	int segment, segments, padded;
} weight_tiling;

static size_t weight_floats(const lw_conv *conv, const tiling *tile, int height, int width)
{
	const size_t columns = (size_t)(width - 1) * (size_t)conv->stride[1] +
			       (size_t)(conv->kernel[1] - 1) * (size_t)conv->dilation[1] + 1;
	const size_t lines = (size_t)(height - 1) * (size_t)conv->stride[0] +
			     (size_t)(conv->kernel[0] - 1) * (size_t)conv->dilation[0] + 1;

	/* neighbours are read up to a tile's rows past the end */
	return lines * columns * (size_t)conv->group_channels + (size_t)tile->rows +
	       (size_t)height * (size_t)width * (size_t)(tile->vector * tile->vectors);
}

static void choose_segments(const lw_conv *conv, weight_tiling *t)
{
	static const int wide[] = {14, 12, 8}, narrow[] = {6, 4};
	const bool is_wide = t->tile.vector == WIDE;
	const int row = conv->kernel[1] * conv->group_channels, all = conv->kernel[0] * row, gathered = is_wide ? 9 : 5;
	const int rows = is_wide ? choose_rows(wide, LW_COUNT(wide), row) : choose_rows(narrow, LW_COUNT(narrow), row);
	/* gathering costs an address per weight, about a quarter more */
	const double near = (double)conv->kernel[0] * ((row + rows - 1) / rows) * (rows + 1);
	const double far = (double)((all + gathered - 1) / gathered) * (gathered + 1) * 1.25;

	t->gather = conv->dilation[1] != 1 || far < near;
	t->tile.rows = t->gather ? gathered : rows;
	t->segment = t->gather ? all : row;
	t->segments = t->gather ? 1 : conv->kernel[0];
	t->padded = (int)lw_round_up((size_t)t->segment, (size_t)t->tile.rows);
}

static bool choose_weight(lw_device *device, const lw_conv *conv, weight_tiling *t)
{
	const size_t limit = local_limit(device), target = limit < SLAB_BYTES / 4 ? limit : SLAB_BYTES / 4;
	int most = 1;

	choose_vectors(device, conv->group_out, &t->tile);
	choose_segments(conv, t);
	if (weight_floats(conv, &t->tile, 1, 1) > limit)
		return false;
	t->tile.height = 1;
	t->tile.width = conv->output[1];
	if (weight_floats(conv, &t->tile, 1, t->tile.width) > target) {
		while (weight_floats(conv, &t->tile, 1, most + 1) <= target)
			most++;
		t->tile.width = even(conv->output[1], most, 1);
	} else {
		while (most < conv->output[0] && weight_floats(conv, &t->tile, most + 1, t->tile.width) <= target)
			most++;
		t->tile.height = even(conv->output[0], most, 1);
	}
	t->tile.local_floats = weight_floats(conv, &t->tile, t->tile.height, t->tile.width);
	return true;
}

static lw_status sum_weight_parts(const lw_op_context *context, const lw_conv *conv, const weight_tiling *t,
				  lw_buf *partial, lw_buf *gradient)
{
	lw_variant variant = tile_variant("sum_weight_parts", &t->tile);
	lw_launch launch;

	lw_variant_option(&variant, "GATHER", t->gather);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, partial);
	lw_arg_buf(&launch, gradient);
	lw_arg_int(&launch, conv->parts);
	lw_arg_int(&launch, conv->group_out);
	pair(&launch, conv->kernel);
	lw_arg_int(&launch, t->gather ? conv->kernel[1] * conv->group_channels : t->padded);
	lw_arg_int(&launch, t->segments * t->padded);
	launch.dimensions = 3;
	launch.global[0] = (size_t)conv->group_channels;
	launch.global[1] = (size_t)t->tile.blocks;
	launch.global[2] = (size_t)conv->groups;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static void weight_pass_arguments(lw_launch *launch, const lw_conv *conv)
{
	pair(launch, conv->stride);
	pair(launch, conv->pad);
	pair(launch, conv->dilation);
}

static lw_status depthwise_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	lw_variant variant = depthwise_variant(context, "depthwise_weight", conv->channels);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, conv->images);
	pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	pair(&launch, conv->output);
	lw_arg_int(&launch, conv->kernel[1]);
	weight_pass_arguments(&launch, conv);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->parts;
	launch.global[1] = lw_conv_taps(conv);
	launch.local[0] = launch.local[1] = 1;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));

	variant = depthwise_variant(context, "sum_depthwise_parts", conv->channels);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->parts);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->channels;
	launch.global[1] = lw_conv_taps(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_conv_cpu_backward_weight(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	const size_t units = (size_t)lw_device_get_info(context->device)->compute_units * GROUPS_PER_UNIT;
	lw_variant variant;
	lw_launch launch;
	weight_tiling t;
	size_t splits;

	if (depthwise(conv))
		return depthwise_weight(context, conv, b);
	if (!choose_weight(context->device, conv, &t))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the input");
	splits = !t.gather && (size_t)(conv->parts * conv->groups * t.tile.blocks) < units ? (size_t)conv->kernel[0] : 1;
	variant = tile_variant("conv_backward_weight", &t.tile);
	lw_variant_option(&variant, "GATHER", t.gather);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, t.tile.local_floats * sizeof(float));
	lw_arg_int(&launch, conv->images);
	pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->group_channels);
	pair(&launch, conv->output);
	lw_arg_int(&launch, conv->group_out);
	pair(&launch, conv->kernel);
	weight_pass_arguments(&launch, conv);
	lw_arg_int(&launch, t.tile.height);
	lw_arg_int(&launch, t.tile.width);
	lw_arg_int(&launch, t.tile.blocks);
	lw_arg_int(&launch, (int)splits);
	launch.dimensions = 3;
	launch.global[0] = (size_t)conv->parts;
	launch.global[1] = (size_t)conv->groups;
	launch.global[2] = (size_t)t.tile.blocks * splits;
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return sum_weight_parts(context, conv, &t, b->workspace, b->weight_gradient);
}

size_t lw_conv_cpu_forward_workspace(const lw_conv *conv)
{
	const size_t inner = (size_t)conv->group_channels * lw_conv_taps(conv) + (conv->bias ? 1 : 0);

	return sizeof(float) * (size_t)conv->groups * padded_outputs(conv->group_out) * inner;
}

size_t lw_conv_cpu_backward_workspace(const lw_conv *conv)
{
	const size_t groups = (size_t)conv->groups, taps = lw_conv_taps(conv);
	const size_t data = groups * padded_outputs(conv->group_channels) * (size_t)conv->group_out * taps;
	/* a segment is padded to at most 13 more than it has */
	const size_t rows = taps * (size_t)conv->group_channels + (size_t)conv->kernel[0] * 13;
	const size_t weight = depthwise(conv) ? lw_conv_weights(conv) : groups * padded_outputs(conv->group_out) * rows;
	const size_t partial = (size_t)conv->parts * weight;

	return sizeof(float) * (partial > data ? partial : data);
}

bool lw_conv_cpu_applies(lw_device *device, const lw_conv *conv)
{
	weight_tiling weight;
	tiling tile;
	pass p;

	if (depthwise(conv))
		return true;
	describe_forward(conv, &p);
	if (!choose_forward(device, &p, &tile) || !choose_weight(device, conv, &weight))
		return false;
	for (int down = 0; down < conv->stride[0]; down++)
		for (int across = 0; across < conv->stride[1]; across++)
			if (describe_data(conv, down, across, &p) && !choose_forward(device, &p, &tile))
				return false;
	return true;
}
