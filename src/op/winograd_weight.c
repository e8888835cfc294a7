/* Winograd convolutions on CPUs, backward of the weight: which tiles, and the launches of cl/winograd_weight.cl. */
#include "op/tile.h"
#include "op/winograd_weight.h"

#include <string.h>

/* Where the transformed tiles lie: all in the workspace, or a batch at a time in local memory. PLACE of the kernels. */
enum { SPREAD, FUSED };

/* What lw_choice.tile holds. batch: tiles of the images that are gone through at a time; fused kernels transform so many. */
enum { PLACE, ROWS, VECTORS, BATCH };

typedef struct plan {
	lw_tile tile;
	int place, batch;
	int columns, rows; /* register tiles of the channels, of the outputs */
	int wide, deep;    /* how many of them a work-group takes */
	size_t local_floats;
	lw_winograd_tiles tiles; /* SPREAD */
	size_t point_pitch, partial; /* FUSED: floats from point to point, and of all */
} plan;

static int pieces(int size, int piece) { return (size + piece - 1) / piece; }

/* Register tiles of outputs that share x's tiles, as many as leave each compute unit its share. */
static bool plan_spread(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, plan *p)
{
	/* as many as channels: the tiles of both are then read as often, and the sums stay near */
	const int outputs = lw_tile_lanes(&p->tile);
	/* a part's sums beside those of all; gradients of slices that wait */
	const int apart = 1 + conv->slices / 2 * (int)lw_conv_taps(conv);
	const size_t sums = (size_t)(p->tile.rows * lw_tile_lanes(&p->tile)) * (size_t)(lw_winograd_points(choice->algorithm) + apart);
	const size_t limit = lw_tile_local_floats(context->device);

	p->wide = 1;
	p->deep = lw_max_int(1, lw_min_int(p->rows, outputs / p->tile.rows));
	while (p->deep > 1 && ((size_t)p->deep * sums > limit || p->columns * pieces(p->rows, p->deep) < lw_tile_groups(context->device)))
		p->deep = (p->deep + 1) / 2;
	p->local_floats = (size_t)p->deep * sums;
	return p->local_floats <= limit && lw_winograd_weight_tiles(conv, choice, p->tile.vector, lw_tile_lanes(&p->tile), &p->tiles);
}

static size_t fused_floats(const lw_choice *choice, const plan *p)
{
	const size_t outputs = lw_round_up((size_t)(p->deep * p->tile.rows), (size_t)p->tile.vector);

	return (size_t)lw_winograd_points(choice->algorithm) * (size_t)(p->batch | 1) *
	       ((size_t)(p->wide * lw_tile_lanes(&p->tile)) + outputs);
}

/* All channels and outputs in a work-group, halved until its tiles fit and each compute unit has work. */
static bool plan_fused(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, plan *p)
{
	/* transformed tiles that a core's cache holds beside the sums, in floats */
	enum { CACHE = 128 * 1024 };
	const size_t device = lw_tile_local_floats(context->device), limit = device < CACHE ? device : CACHE;
	const int parts = lw_winograd_weight_parts(conv, choice->algorithm), unit = p->tile.vector / p->tile.rows;
	const int points = lw_winograd_points(choice->algorithm);

	p->wide = p->columns;
	p->deep = pieces(p->rows, unit) * unit;
	while ((p->wide > 1 || p->deep > unit) &&
	       (fused_floats(choice, p) > limit ||
		parts * pieces(p->columns, p->wide) * pieces(p->rows, p->deep) < (int)lw_device_get_info(context->device)->compute_units)) {
		if (p->deep > unit && p->deep * p->tile.rows >= p->wide * lw_tile_lanes(&p->tile))
			p->deep = pieces(p->deep / unit, 2) * unit;
		else if (p->wide > 1)
			p->wide = pieces(p->wide, 2);
		else
			break;
	}
	p->local_floats = fused_floats(choice, p);
	/* a line more, so that the points' streams do not fall into the same sets of a cache */
	p->point_pitch = (size_t)(p->columns * p->rows * p->tile.rows * lw_tile_lanes(&p->tile)) + 16;
	p->partial = (size_t)parts * (size_t)points * p->point_pitch;
	return p->local_floats <= device && p->partial < (1u << 31);
}

static bool make_plan(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, plan *p)
{
	*p = (plan){.place = choice->tile[PLACE], .batch = choice->tile[BATCH]};
	lw_tile_vectors(&p->tile, context->device, conv->channels);
	p->tile.vectors = lw_min_int(p->tile.vectors, choice->tile[VECTORS]);
	p->tile.rows = choice->tile[ROWS];
	if (p->tile.rows > p->tile.vector)
		return false;
	p->columns = lw_tile_blocks(&p->tile, conv->channels);
	p->rows = pieces(conv->out_channels, p->tile.rows);
	return p->place == SPREAD ? plan_spread(context, conv, choice, p) : plan_fused(context, conv, choice, p);
}

static const int wide_tiles[][4] = {
	{FUSED, 8, 2, 48},  {FUSED, 8, 2, 32},   {FUSED, 8, 2, 16},  {SPREAD, 8, 2, 96}, {SPREAD, 16, 1, 96},
	{SPREAD, 8, 1, 96}, {FUSED, 16, 1, 32}, {FUSED, 4, 2, 7}, {SPREAD, 4, 2, 3},
};
static const int narrow_tiles[][4] = {
	{FUSED, 4, 2, 32}, {FUSED, 4, 2, 16}, {SPREAD, 4, 2, 96}, {SPREAD, 4, 1, 96}, {FUSED, 8, 1, 32}, {FUSED, 4, 2, 7}, {SPREAD, 4, 2, 5},
};

/* 0: the best guesses. Fused kernels write and read the sums again for each batch, so these and the batch must stay in a cache. */
static int rank(const lw_conv *conv, const lw_choice *choice, bool wide)
{
	/* CPUs of narrow vectors have smaller ones */
	enum { MOST_SUMS = 300 * 1000, MOST_SUMS_NARROW = 200 * 1000, MOST_TILES = 80 * 1024 };
	const double points = lw_winograd_points(choice->algorithm), channels = (double)conv->channels + conv->out_channels;

	if (choice->tile[PLACE] == SPREAD)
		return 1;
	return points * conv->channels * conv->out_channels <= (wide ? MOST_SUMS : MOST_SUMS_NARROW) &&
		points * (choice->tile[BATCH] | 1) * channels <= MOST_TILES ? 0 : 2;
}

/* The tiles that suit the algorithm, by rank; for tests all, else a few. */
static int append(const lw_op_context *context, const lw_conv *conv, int algorithm, lw_choice *list, int capacity)
{
	enum { FEW = 3 };
	const bool wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const int (*tiles)[4] = wide ? wide_tiles : narrow_tiles;
	const size_t tile_count = wide ? LW_COUNT(wide_tiles) : LW_COUNT(narrow_tiles);
	const int most = context->force_variant >= 0 ? capacity : lw_min_int(capacity, FEW);
	int count = 0;
	plan p;

	for (int wanted = 0; wanted <= 2; wanted++)
		for (size_t i = 0; i < tile_count && count < most; i++) {
			lw_choice choice = {.algorithm = algorithm};
			memcpy(choice.tile, tiles[i], sizeof(tiles[i]));
			if (rank(conv, &choice, wide) != wanted || !make_plan(context, conv, &choice, &p))
				continue;
			snprintf(choice.name, sizeof(choice.name), "%s/cpu%s %dx%d t%d", lw_conv_algorithm_names[algorithm],
				 p.place == FUSED ? " fused" : "", p.tile.rows, choice.tile[VECTORS], p.batch);
			list[count++] = choice;
		}
	return count;
}

int lw_winograd_weight_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity)
{
	static const lw_conv_algorithm algorithms[] = {LW_CONV_WINOGRAD_F4, LW_CONV_WINOGRAD_F2, LW_CONV_WINOGRAD_5X5};
	int count = 0;

	for (size_t i = 0; i < LW_COUNT(algorithms) && lw_tile_applies(context->device); i++)
		if (lw_conv_winograd_applies(conv, algorithms[i]))
			count += append(context, conv, (int)algorithms[i], list + count, capacity - count);
	return count;
}

size_t lw_winograd_weight_workspace(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice)
{
	plan p;

	if (!make_plan(context, conv, choice, &p))
		return 0;
	return (p.place == SPREAD ? p.tiles.floats : p.partial) * sizeof(float);
}

static lw_variant tile_variant(const char *function, const lw_choice *choice, const plan *p)
{
	lw_variant variant = lw_winograd_weight_variant(function, choice->algorithm, p->place, p->tile.vector);

	lw_variant_option(&variant, "VECTORS", p->tile.vectors);
	lw_variant_option(&variant, "ROWS", p->tile.rows);
	return variant;
}

static lw_status sum_tiles(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const plan *p,
			   const lw_conv_buffers *b)
{
	const lw_variant variant = tile_variant("sum_tiles", choice, p);
	lw_launch launch;

	LW_TRY(lw_winograd_transform_tiles(context, conv, choice, &p->tiles, p->place, b));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_local(&launch, p->local_floats * sizeof(float));
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->out_channels);
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, p->tiles.pitch);
	lw_arg_int(&launch, p->tiles.base);
	lw_arg_int(&launch, lw_winograd_weight_parts(conv, choice->algorithm));
	lw_arg_int(&launch, conv->slices);
	lw_arg_int(&launch, p->deep);
	lw_arg_int(&launch, p->batch);
	return lw_tile_launch(context, &launch, (size_t)p->columns, (size_t)pieces(p->rows, p->deep));
}

static lw_status fused_tiles(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const plan *p,
			     const lw_conv_buffers *b)
{
	const int outputs = lw_winograd_outputs((lw_conv_algorithm)choice->algorithm);
	const lw_variant variant = tile_variant("fused_tiles", choice, p);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->x);
	lw_arg_buf(&launch, b->gradient);
	lw_arg_buf(&launch, b->workspace);
	lw_arg_local(&launch, p->local_floats * sizeof(float));
	lw_conv_pair(&launch, conv->input);
	lw_arg_int(&launch, conv->channels);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, conv->out_channels);
	lw_conv_pair(&launch, conv->pad);
	lw_arg_int(&launch, conv->images);
	lw_arg_int(&launch, pieces(conv->output[0], outputs));
	lw_arg_int(&launch, pieces(conv->output[1], outputs));
	lw_arg_int(&launch, (int)p->point_pitch);
	lw_arg_int(&launch, p->wide);
	lw_arg_int(&launch, p->deep);
	lw_arg_int(&launch, p->batch);
	launch.dimensions = 3;
	launch.global[0] = (size_t)lw_winograd_weight_parts(conv, choice->algorithm);
	launch.global[1] = (size_t)pieces(p->columns, p->wide);
	launch.global[2] = (size_t)pieces(p->rows, p->deep);
	for (int i = 0; i < 3; i++)
		launch.local[i] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status sum_parts(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice, const plan *p,
			   const lw_conv_buffers *b)
{
	const lw_variant variant = tile_variant("sum_parts", choice, p);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, b->workspace);
	lw_arg_buf(&launch, b->weight_gradient);
	lw_arg_int(&launch, conv->channels);
	lw_arg_int(&launch, conv->out_channels);
	lw_arg_int(&launch, lw_winograd_weight_parts(conv, choice->algorithm));
	lw_arg_int(&launch, conv->slices);
	lw_arg_int(&launch, (int)p->point_pitch);
	return lw_tile_launch(context, &launch, (size_t)p->columns, (size_t)p->rows);
}

lw_status lw_winograd_weight_run(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				 const lw_conv_buffers *buffers)
{
	plan p;

	if (!make_plan(context, conv, choice, &p))
		return lw_fail(LW_E_UNSUPPORTED, "conv: %s does not fit the device", choice->name);
	if (p.place == SPREAD)
		return sum_tiles(context, conv, choice, &p, buffers);
	LW_TRY(fused_tiles(context, conv, choice, &p, buffers));
	return sum_parts(context, conv, choice, &p, buffers);
}
