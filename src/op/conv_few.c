/* conv on CPUs, backward of the data into few channels: which tiles, how much local memory, and the launch of cl/conv_few.cl. */
#include "op/conv_cpu.h"

/* Floats that the slab should not exceed: its rows beyond the tile's are copied twice. */
enum { SLAB = 48 * 1024 };

/* What lw_choice.tile holds. */
enum { WIDTH, VECTORS };

/* The part of x that a work-group takes, in places of a phase; of the slab, floats from channel to channel. */
typedef struct few_tiling {
	lw_tile tile;
	int height, width, pitch;
	size_t local_floats;
} few_tiling;

/* Along an axis, places of a phase, and those of gy beyond them that taps reach. */
static int phase_places(const lw_conv *conv, int axis) { return (conv->input[axis] - 1) / conv->stride[axis] + 1; }

static int reach(const lw_conv *conv, int axis)
{
	const int stride = conv->stride[axis], first = conv->pad[axis] - (conv->kernel[axis] - 1);
	const int before = first > 0 ? (first - 1) / stride + 1 : -(-first / stride);

	return (lw_conv_phases(conv, axis) - 1 + conv->pad[axis]) / stride - before;
}

static size_t tiling_floats(const lw_conv *conv, few_tiling *t, int height, int width)
{
	const size_t columns = lw_round_up((size_t)width, (size_t)t->tile.vector) + (size_t)reach(conv, 1);

	/* an odd number of cache lines, so that a column's channels are in different sets */
	t->pitch = (int)((columns + 15) / 16 | 1) * 16;
	return (size_t)(height + reach(conv, 0)) * (size_t)conv->out_channels * (size_t)t->pitch +
	       (size_t)(t->tile.rows * lw_tile_lanes(&t->tile));
}

/* false: not even the smallest part fits the local memory */
static bool choose_tiling(lw_device *device, const lw_conv *conv, const lw_choice *choice, few_tiling *t)
{
	const size_t limit = lw_tile_local_floats(device), target = limit < SLAB ? limit : SLAB;
	const int places = phase_places(conv, 0), groups = lw_tile_groups(device);
	int most = 1;

	*t = (few_tiling){
		.tile = {.vector = choice->tile[WIDTH], .vectors = choice->tile[VECTORS], .rows = conv->channels},
		.height = 1,
		.width = phase_places(conv, 1),
	};
	if (tiling_floats(conv, t, 1, 1) > limit)
		return false;
	if (tiling_floats(conv, t, 1, t->width) > target) {
		for (most = t->tile.vector; tiling_floats(conv, t, 1, most + t->tile.vector) <= target;)
			most += t->tile.vector;
		t->width = lw_conv_even(t->width, most, t->tile.vector);
	} else {
		while (most < places && tiling_floats(conv, t, most + 1, t->width) <= target &&
		       (long)conv->images * ((places + most) / (most + 1)) >= groups)
			most++;
		t->height = lw_conv_even(places, most, 1);
	}
	t->local_floats = tiling_floats(conv, t, t->height, t->width);
	return true;
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	const int native = lw_op_vector_width(context->device, LW_TILE_WIDE);
	const int most = native == LW_TILE_WIDE || conv->channels < 3 ? 4 : 3;
	int vector = 4, count = 0;

	if (pass != LW_PASS_DATA || conv->groups > 1 || conv->channels > LW_CONV_FEW || conv->dilation[0] > 1 || conv->dilation[1] > 1 ||
	    !lw_tile_applies(context->device))
		return 0;
	while (vector < native && vector < phase_places(conv, 1))
		vector *= 2;
	for (int vectors = most; vectors >= most - 1 && count < capacity; vectors--) {
		lw_choice choice = {.algorithm = LW_CONV_DIRECT, .tile = {vector, vectors}};
		few_tiling t;
		if (!choose_tiling(context->device, conv, &choice, &t))
			continue;
		snprintf(choice.name, sizeof choice.name, "direct/few %dx%d", conv->channels, vectors);
		list[count++] = choice;
	}
	return count;
}

/* The packed weights of all phases. */
static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	(void)context, (void)pass, (void)choice;
	return sizeof(float) * lw_conv_weights(conv);
}

static lw_status pack(const lw_op_context *context, const lw_conv *conv, const lw_conv_buffers *b)
{
	int down = 0, across = 0, base = 0;

	do {
		lw_conv_pass p;
		lw_conv_data_pass(conv, down, across, &p);
		p.packed_base = base;
		base += p.taps[0] * p.taps[1] * p.channels * p.outputs;
		if (p.taps[0] && p.taps[1])
			LW_TRY(lw_conv_pack(context, &p, p.outputs, 1, b->weight, NULL, b->workspace));
	} while (lw_conv_next_phase(conv, &down, &across));
	return LW_OK;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *b)
{
	lw_variant variant;
	lw_launch launch;
	few_tiling t;

	(void)pass;
	if (!choose_tiling(context->device, conv, choice, &t))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the device's local memory does not hold a row of the gradient");
	if (!context->filters_packed)
		LW_TRY(pack(context, conv, b));
	variant = lw_tile_variant("conv_few", "conv_backward_few", &t.tile);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->x_gradient);
	lw_arg_buf(&launch, conv->mask ? b->x : NULL);
	lw_arg_local(&launch, t.local_floats * sizeof(float));
	lw_conv_pair(&launch, conv->input);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->out_channels);
	lw_conv_pair(&launch, conv->kernel);
	lw_conv_pair(&launch, conv->stride);
	lw_conv_pair(&launch, conv->pad);
	lw_arg_int(&launch, t.height);
	lw_arg_int(&launch, t.width);
	lw_arg_int(&launch, t.pitch);
	launch.dimensions = 1;
	launch.global[0] = (size_t)conv->images * (size_t)((phase_places(conv, 0) + t.height - 1) / t.height) *
			   (size_t)((phase_places(conv, 1) + t.width - 1) / t.width);
	launch.local[0] = 1;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

const lw_conv_family lw_conv_few = {"few", false, choices, workspace, run};
