/* conv on CPUs, backward of the data by products first: which tiles and bands, and the launches of cl/conv_col2im.cl. */
#include "op/conv_cpu.h"
#include "op/winograd.h"

/* Floats of a core's second cache that the slab may take. */
enum { SLAB = 96 * 1024 };

/* What lw_choice.tile holds. */
enum { VECTOR, VECTORS, ROWS };

static lw_tile tile_of(const lw_choice *choice)
{
	return (lw_tile){.vector = choice->tile[VECTOR], .vectors = choice->tile[VECTORS], .rows = choice->tile[ROWS]};
}

/* Floats of a kernel's row with its channels, and those that tiles make of them. */
static int run_of(const lw_conv *conv) { return conv->kernel[1] * conv->channels; }
static size_t packed_run(const lw_conv *conv, const lw_tile *tile)
{
	return (size_t)lw_tile_blocks(tile, run_of(conv)) * (size_t)lw_tile_lanes(tile);
}

/* Floats from row to row of the slab: those of x with its padding and those that tiles reach; lines of an odd number, so that rows are in different sets. */
static size_t slab_pitch(const lw_conv *conv, const lw_tile *tile)
{
	const size_t last = (size_t)(conv->output[1] - 1) * (size_t)conv->stride[1] * (size_t)conv->channels + packed_run(conv, tile);
	const size_t all = (size_t)(conv->pad[1] + conv->input[1]) * (size_t)conv->channels;

	return ((last > all ? last : all) + 15) / 16 * 16 | 16;
}

static size_t slab_floats(const lw_conv *conv, const lw_tile *tile)
{
	return (size_t)(tile->rows * conv->stride[0] + conv->kernel[0] - 1) * slab_pitch(conv, tile);
}

/* Rows of the output that a work-group takes: of a whole image, where there are enough of them. */
static int band_of(lw_device *device, const lw_conv *conv, const lw_tile *tile)
{
	const int bands = (lw_tile_groups(device) + conv->images - 1) / conv->images, rows = conv->output[0];

	return lw_min_int(rows, (int)lw_round_up((size_t)((rows + bands - 1) / bands), (size_t)tile->rows));
}

/* Strides within the kernel, so that every row of x is of one of the output, no dilation, no groups. */
bool lw_conv_col2im_applies(const lw_conv *conv)
{
	for (int i = 0; i < 2; i++)
		if (conv->stride[i] > conv->kernel[i] || conv->dilation[i] != 1)
			return false;
	return conv->groups == 1 && lw_conv_taps(conv) > 1;
}

/* Multiplications per image and output channel, those of idle lanes and what they must make up for included: from measurements. */
static double cost(const lw_conv *conv, lw_conv_algorithm algorithm, int vector)
{
	const double channels = conv->channels, lanes = (double)lw_round_up((size_t)conv->channels, (size_t)vector);
	const double taps = (double)lw_conv_taps(conv);

	if (algorithm == LW_CONV_COL2IM)
		return (double)conv->output[0] * conv->output[1] * conv->kernel[0] *
		       (double)lw_round_up((size_t)run_of(conv), (size_t)vector) * (1 + 4.0 / conv->out_channels);
	if (algorithm == LW_CONV_DIRECT) {
		/* conv_few's vectors lie along the pixels, fewer in a tile where registers are few; a stride leaves small passes */
		const int strides = conv->stride[0] * conv->stride[1];
		const double few = channels * (vector == LW_TILE_WIDE ? 1 : 1.4), many = (strides > 1 ? 1.3 : 1.1) * lanes;
		return (double)conv->input[0] * conv->input[1] * taps / strides * (channels <= 4 ? few : many);
	}
	const int outputs = lw_winograd_outputs(algorithm), size = lw_winograd_size(algorithm);
	return (double)((conv->input[0] + outputs - 1) / outputs) * ((conv->input[1] + outputs - 1) / outputs) * size * size * lanes *
	       (1.3 + 8 / channels + 8.0 / conv->out_channels);
}

bool lw_conv_col2im_pays(const lw_conv *conv, lw_conv_algorithm other, int vector)
{
	return lw_conv_col2im_applies(conv) && cost(conv, LW_CONV_COL2IM, vector) < cost(conv, other, vector);
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	const size_t local = lw_tile_local_floats(context->device), limit = local < SLAB ? local : SLAB;
	lw_tile tiles[LW_CONV_TILES];
	int count = 0, tile_count;

	if (pass != LW_PASS_DATA || !lw_tile_applies(context->device) || !lw_conv_col2im_applies(conv))
		return 0;
	tile_count = lw_conv_cpu_tiles(context, run_of(conv), conv->output[0], tiles);
	for (int i = 0; i < tile_count && count < lw_min_int(context->force_variant >= 0 ? 2 : 3, capacity); i++) {
		lw_choice choice = {.algorithm = LW_CONV_COL2IM, .tile = {tiles[i].vector, tiles[i].vectors, tiles[i].rows}};
		if (tiles[i].rows > conv->output[0] || slab_floats(conv, &tiles[i]) > limit)
			continue;
		snprintf(choice.name, sizeof choice.name, "col2im/cpu %dx%d", tiles[i].rows, tiles[i].vectors);
		list[count++] = choice;
	}
	return count;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	const lw_tile tile = tile_of(choice);

	(void)context, (void)pass;
	return sizeof(float) * (size_t)conv->kernel[0] * packed_run(conv, &tile) * (size_t)conv->out_channels;
}

static lw_status pack(const lw_op_context *context, const lw_conv *conv, const lw_tile *tile, const lw_conv_buffers *b)
{
	const lw_variant variant = lw_tile_variant("conv_col2im", "pack_taps", tile);
	const int some = 16;
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->weight);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->out_channels);
	lw_conv_pair(&launch, conv->kernel);
	lw_arg_int(&launch, some);
	return lw_tile_launch(context, &launch, (size_t)((conv->out_channels + some - 1) / some), (size_t)lw_tile_blocks(tile, run_of(conv)));
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *b)
{
	const lw_tile tile = tile_of(choice);
	const int band = band_of(context->device, conv, &tile);
	const lw_variant variant = lw_tile_variant("conv_col2im", "conv_col2im", &tile);
	lw_launch launch;

	(void)pass;
	if (!context->filters_packed)
		LW_TRY(pack(context, conv, &tile, b));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->x_gradient);
	lw_arg_buf(&launch, conv->mask ? b->x : NULL);
	lw_arg_local(&launch, slab_floats(conv, &tile) * sizeof(float));
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->out_channels);
	lw_conv_pair(&launch, conv->kernel);
	lw_conv_pair(&launch, conv->stride);
	lw_conv_pair(&launch, conv->pad);
	lw_arg_int(&launch, band);
	lw_arg_int(&launch, (int)slab_pitch(conv, &tile));
	launch.dimensions = 1;
	launch.global[0] = (size_t)conv->images * (size_t)((conv->output[0] + band - 1) / band);
	launch.local[0] = 1;
	launch.flops = 2.0 * conv->images * conv->output[0] * conv->output[1] * (double)lw_conv_weights(conv);
	return lw_queue_launch(context->queue, &launch, NULL);
}

const lw_conv_family lw_conv_col2im = {"col2im", false, choices, workspace, run};
