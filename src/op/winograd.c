/* Winograd convolutions on CPUs, forward and backward of the data: which tiles, and the launches of cl/winograd.cl. */
#include "op/winograd.h"

/* Channels that V keeps together, and that a work-item of winograd_filter takes. */
enum { BLOCK = 16, RUN = 8 };

/*
 * What lw_choice.tile holds. GROUP: tiles of a work-group (FUSED, CHUNKS), of a launch (SPREAD). CHUNK: channels whose filters a
 * work-group has at a time.
 */
enum { ROWS, GROUP, FORM, CHUNK };

/* V and M in local memory; in the workspace; so, and the filters' points in local memory instead of in the workspace. */
enum { FUSED, SPREAD, CHUNKS };
static const char *const form_names[] = {"fused", "spread", "chunk"};

/* In floats: local memory that a work-group should take, U that it reads again and again, and workspace for V and M. */
enum { LOCAL_FLOATS = 96 * 1024, FILTER_FLOATS = 1024 * 1024, SPREAD_FLOATS = 6 * 1024 * 1024 };

lw_winograd_pass lw_winograd_describe(const lw_conv *conv, lw_pass pass, int algorithm)
{
	const int taps = (int)lw_conv_taps(conv), side = lw_winograd_outputs((lw_conv_algorithm)algorithm);
	const int size = lw_winograd_size((lw_conv_algorithm)algorithm);
	const bool data = pass == LW_PASS_DATA;
	lw_winograd_pass p = {
		.images = conv->images,
		.channels = data ? conv->out_channels : conv->channels,
		.outputs = data ? conv->channels : conv->out_channels,
		.out_step = data ? taps : conv->channels * taps,
		.inner_step = data ? conv->channels * taps : taps,
		.flip = data,
		.side = side,
		.points = size * size,
	};

	for (int i = 0; i < 2; i++) {
		p.input[i] = data ? conv->output[i] : conv->input[i];
		p.output[i] = data ? conv->input[i] : conv->output[i];
		p.pad[i] = data ? conv->kernel[i] - 1 - conv->pad[i] : conv->pad[i];
	}
	p.down = (p.output[0] + side - 1) / side;
	p.across = (p.output[1] + side - 1) / side;
	p.tiles = p.images * p.down * p.across;
	return p;
}

static lw_tile tile_of(const lw_op_context *context, const lw_winograd_pass *p, const lw_choice *choice)
{
	lw_tile tile = {.rows = choice->tile[ROWS]};

	lw_tile_vectors(&tile, context->device, p->outputs);
	return tile;
}

static size_t padded_channels(const lw_winograd_pass *p) { return lw_round_up((size_t)p->channels, BLOCK); }

static size_t filter_floats(const lw_winograd_pass *p)
{
	return lw_round_up((size_t)p->points * (size_t)p->channels * lw_tile_padded(p->outputs), BLOCK);
}

/* V, and M of one block of outputs, of a work-group */
static size_t local_floats(const lw_winograd_pass *p, int lanes, int group)
{
	return (size_t)p->points * (size_t)group * (padded_channels(p) + (size_t)lanes);
}

/* Tiles that V and M in the workspace have room for */
static int pitch_of(const lw_winograd_pass *p, const lw_choice *choice)
{
	const int group = choice->tile[GROUP];

	return choice->tile[FORM] == CHUNKS ? (p->tiles + group - 1) / group * group : group;
}

/* V and M of so many tiles and all outputs */
static size_t spread_floats(const lw_winograd_pass *p, int tiles)
{
	return (size_t)p->points * (size_t)tiles * (padded_channels(p) + lw_tile_padded(p->outputs));
}

static size_t workspace_floats(const lw_winograd_pass *p, const lw_choice *choice)
{
	const int form = choice->tile[FORM];

	return (form == CHUNKS ? 0 : filter_floats(p)) + (form == FUSED ? 0 : spread_floats(p, pitch_of(p, choice)));
}

/* The filters' points of some channels: see winograd_chunk */
static size_t chunk_floats(const lw_winograd_pass *p, int lanes, int chunk)
{
	return (size_t)p->points * ((size_t)chunk * (size_t)lanes + BLOCK);
}

static void add_choice(const lw_winograd_pass *p, lw_choice choice, lw_choice *list, int *count, int capacity)
{
	const int rows = choice.tile[ROWS], chunk = choice.tile[CHUNK];
	int length;

	if (*count >= capacity || workspace_floats(p, &choice) > INT32_MAX)
		return;
	length = snprintf(choice.name, sizeof choice.name, "%s/cpu %s %dx%d", lw_conv_algorithm_names[choice.algorithm],
			  form_names[choice.tile[FORM]], rows, choice.tile[GROUP] / rows);
	if (chunk)
		snprintf(choice.name + length, sizeof choice.name - (size_t)length, " %d", chunk);
	list[(*count)++] = choice;
}

static void fused_choice(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, int rows, lw_choice *list,
			 int *count, int capacity)
{
	const size_t limit = lw_tile_local_floats(context->device), target = limit < LOCAL_FLOATS ? limit : LOCAL_FLOATS;
	const int units = lw_tile_groups(context->device);
	int group = rows;
	lw_tile tile;

	tile = tile_of(context, p, &(lw_choice){.tile = {rows}});
	if (local_floats(p, lw_tile_lanes(&tile), group) > limit)
		return;
	while (local_floats(p, lw_tile_lanes(&tile), group + rows) <= target && group + rows <= 48 &&
	       p->tiles / (group + rows) >= units)
		group += rows;
	add_choice(p, (lw_choice){.algorithm = algorithm, .tile = {rows, group, FUSED}}, list, count, capacity);
}

static void spread_choice(const lw_winograd_pass *p, int algorithm, int rows, lw_choice *list, int *count, int capacity)
{
	int pieces = 1;

	while (spread_floats(p, (int)lw_round_up((size_t)((p->tiles + pieces - 1) / pieces), (size_t)rows)) > SPREAD_FLOATS &&
	       p->tiles / pieces > 4 * rows)
		pieces++;
	add_choice(p,
		   (lw_choice){.algorithm = algorithm,
			       .tile = {rows, (int)lw_round_up((size_t)((p->tiles + pieces - 1) / pieces), (size_t)rows), SPREAD}},
		   list, count, capacity);
}

static void chunk_choice(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, int rows, int groups, int chunk,
			 lw_choice *list, int *count, int capacity)
{
	const int group = (int)lw_round_up((size_t)((p->tiles + groups - 1) / groups), (size_t)rows);
	const lw_choice choice = {.algorithm = algorithm, .tile = {rows, group, CHUNKS, chunk}};
	const lw_tile tile = tile_of(context, p, &choice);

	if (chunk_floats(p, lw_tile_lanes(&tile), chunk) <= lw_tile_local_floats(context->device) &&
	    workspace_floats(p, &choice) <= SPREAD_FLOATS)
		add_choice(p, choice, list, count, capacity);
}

static int choices(const lw_op_context *context, const lw_conv *conv, lw_pass pass, lw_choice *list, int capacity)
{
	static const int algorithms[] = {LW_CONV_WINOGRAD_F4, LW_CONV_WINOGRAD_F2, LW_CONV_WINOGRAD_5X5};
	/* rows of the tiles, the better ones first: where fused, and elsewhere */
	static const int wide[2][2] = {{14, 8}, {8, 14}}, narrow[2][2] = {{6, 4}, {6, 4}}, chunks[] = {64, 16};
	int count = 0;

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_choices(context, conv, list, capacity);
	if (!lw_tile_applies(context->device))
		return 0;
	for (size_t i = 0; i < LW_COUNT(algorithms); i++) {
		if (!lw_conv_winograd_applies(conv, (lw_conv_algorithm)algorithms[i]))
			continue;
		const lw_winograd_pass p = lw_winograd_describe(conv, pass, algorithms[i]);
		const int(*rows)[2] = tile_of(context, &p, &(lw_choice){.tile = {1}}).vector == LW_TILE_WIDE ? wide : narrow;
		/* filters' points that are more than the input's are better not written to memory */
		if (p.tiles <= p.outputs || context->force_variant >= 0)
			for (int j = 0; j < 2; j++)
				chunk_choice(context, &p, algorithms[i], rows[1][j], 1 + j, chunks[j], list, &count, capacity);
		/* those that a core's cache does not hold are better read once for all tiles */
		const bool large = filter_floats(&p) > FILTER_FLOATS;
		for (int j = 0; j < 4; j++)
			if ((j < 2) == large)
				spread_choice(&p, algorithms[i], rows[1][j % 2], list, &count, capacity);
			else
				fused_choice(context, &p, algorithms[i], rows[0][j % 2], list, &count, capacity);
	}
	return count;
}

static size_t workspace(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice)
{
	lw_winograd_pass p;

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_workspace(context, conv, choice);
	p = lw_winograd_describe(conv, pass, choice->algorithm);
	return sizeof(float) * workspace_floats(&p, choice);
}

static lw_variant variant_of(const char *function, const lw_choice *choice, const lw_tile *tile)
{
	lw_variant variant = lw_tile_variant("winograd", function, tile);

	lw_variant_option(&variant, "WINOGRAD_OUTPUTS", lw_winograd_outputs((lw_conv_algorithm)choice->algorithm));
	lw_variant_option(&variant, "WINOGRAD_TAPS", choice->algorithm == LW_CONV_WINOGRAD_5X5 ? 5 : 3);
	lw_variant_option(&variant, "FORM", choice->tile[FORM]);
	return variant;
}

static lw_status begin(const lw_op_context *context, const char *function, const lw_choice *choice, const lw_tile *tile,
		       lw_launch *launch)
{
	const lw_variant variant = variant_of(function, choice, tile);

	return lw_launch_begin(launch, context->device, &variant);
}

lw_status lw_winograd_transform_filter(const lw_op_context *context, const lw_winograd_pass *p, int algorithm, const lw_tile *tile,
				       lw_buf *weight, lw_buf *workspace)
{
	/* every number of rows has the same one */
	const lw_choice choice = {.algorithm = algorithm};
	const lw_tile lanes = {tile->vector, tile->vectors, 1};
	lw_launch launch;

	LW_TRY(begin(context, "winograd_filter", &choice, &lanes, &launch));
	lw_arg_buf(&launch, weight);
	lw_arg_buf(&launch, workspace);
	lw_arg_int(&launch, p->channels);
	lw_arg_int(&launch, p->outputs);
	lw_arg_int(&launch, p->out_step);
	lw_arg_int(&launch, p->inner_step);
	lw_arg_int(&launch, p->flip);
	return lw_tile_launch(context, &launch, (size_t)((p->channels + RUN - 1) / RUN), (size_t)lw_tile_blocks(tile, p->outputs));
}

/* The launches of a pass: its choice, and the buffers by their part in it. */
typedef struct winograd_run {
	const lw_op_context *context;
	const lw_choice *choice;
	lw_winograd_pass p;
	lw_tile tile;
	int blocks, relu;
	lw_buf *x, *weight, *bias, *y, *mask, *workspace;
	int v_at, m_at; /* where V and M begin in the workspace, behind U, if it is there */
} winograd_run;

static lw_status run_fused(const winograd_run *r)
{
	const int group = r->choice->tile[GROUP], groups = (r->p.tiles + group - 1) / group;
	const int shares = (lw_tile_groups(r->context->device) + groups - 1) / groups;
	lw_launch launch;

	LW_TRY(begin(r->context, "winograd_fused", r->choice, &r->tile, &launch));
	lw_arg_buf(&launch, r->x);
	lw_arg_buf(&launch, r->workspace);
	lw_arg_buf(&launch, r->bias);
	lw_arg_buf(&launch, r->y);
	lw_arg_buf(&launch, r->mask);
	lw_arg_local(&launch, sizeof(float) * local_floats(&r->p, lw_tile_lanes(&r->tile), group));
	lw_arg_int(&launch, r->p.tiles);
	lw_arg_int(&launch, r->p.images);
	lw_conv_pair(&launch, r->p.input);
	lw_arg_int(&launch, r->p.channels);
	lw_conv_pair(&launch, r->p.output);
	lw_arg_int(&launch, r->p.outputs);
	lw_conv_pair(&launch, r->p.pad);
	lw_arg_int(&launch, group);
	lw_arg_int(&launch, r->blocks);
	lw_arg_int(&launch, r->relu);
	return lw_tile_launch(r->context, &launch, (size_t)groups, (size_t)lw_min_int(r->blocks, shares));
}

static lw_status spread_input(const winograd_run *r, int first, int tiles, int pitch)
{
	const int blocks = (int)(padded_channels(&r->p) / BLOCK);
	/* before CHUNKS too */
	const lw_choice choice = {.algorithm = r->choice->algorithm, .tile[FORM] = SPREAD};
	lw_launch launch;

	LW_TRY(begin(r->context, "winograd_input", &choice, &r->tile, &launch));
	lw_arg_buf(&launch, r->x);
	lw_arg_buf(&launch, r->workspace);
	lw_arg_int(&launch, r->v_at);
	lw_arg_int(&launch, first);
	lw_arg_int(&launch, tiles);
	lw_arg_int(&launch, pitch);
	lw_arg_int(&launch, r->p.images);
	lw_conv_pair(&launch, r->p.input);
	lw_arg_int(&launch, r->p.channels);
	lw_conv_pair(&launch, r->p.output);
	lw_conv_pair(&launch, r->p.pad);
	return lw_tile_launch(r->context, &launch, (size_t)lw_min_int(tiles, (4 * lw_tile_groups(r->context->device) + blocks - 1) / blocks),
		       (size_t)blocks);
}

static lw_status spread_multiply(const winograd_run *r, int first, int tiles, int pitch)
{
	lw_launch launch;

	LW_TRY(begin(r->context, "winograd_multiply", r->choice, &r->tile, &launch));
	lw_arg_buf(&launch, r->workspace);
	lw_arg_int(&launch, r->v_at);
	lw_arg_int(&launch, r->m_at);
	lw_arg_int(&launch, first);
	lw_arg_int(&launch, tiles);
	lw_arg_int(&launch, pitch);
	lw_arg_int(&launch, r->p.images);
	lw_arg_int(&launch, r->p.channels);
	lw_conv_pair(&launch, r->p.output);
	return lw_tile_launch(r->context, &launch, (size_t)r->blocks, (size_t)r->p.points);
}

static lw_status spread_output(const winograd_run *r, int first, int tiles, int pitch)
{
	const int shares = (4 * lw_tile_groups(r->context->device) + r->blocks - 1) / r->blocks;
	lw_launch launch;

	LW_TRY(begin(r->context, "winograd_output", r->choice, &r->tile, &launch));
	lw_arg_buf(&launch, r->workspace);
	lw_arg_buf(&launch, r->bias);
	lw_arg_buf(&launch, r->y);
	lw_arg_buf(&launch, r->mask);
	lw_arg_int(&launch, r->m_at);
	lw_arg_int(&launch, first);
	lw_arg_int(&launch, tiles);
	lw_arg_int(&launch, pitch);
	lw_arg_int(&launch, r->p.images);
	lw_conv_pair(&launch, r->p.output);
	lw_arg_int(&launch, r->p.outputs);
	lw_arg_int(&launch, r->relu);
	return lw_tile_launch(r->context, &launch, (size_t)lw_min_int(tiles, shares), (size_t)r->blocks);
}

static lw_status run_chunks(const winograd_run *r)
{
	const int group = r->choice->tile[GROUP], chunk = r->choice->tile[CHUNK], pitch = pitch_of(&r->p, r->choice);
	lw_launch launch;

	LW_TRY(spread_input(r, 0, r->p.tiles, pitch));
	LW_TRY(begin(r->context, "winograd_chunk", r->choice, &r->tile, &launch));
	lw_arg_buf(&launch, r->weight);
	lw_arg_buf(&launch, r->workspace);
	lw_arg_buf(&launch, r->bias);
	lw_arg_buf(&launch, r->y);
	lw_arg_buf(&launch, r->mask);
	lw_arg_local(&launch, sizeof(float) * chunk_floats(&r->p, lw_tile_lanes(&r->tile), chunk));
	lw_arg_int(&launch, r->v_at);
	lw_arg_int(&launch, r->m_at);
	lw_arg_int(&launch, r->p.tiles);
	lw_arg_int(&launch, pitch);
	lw_arg_int(&launch, r->p.images);
	lw_arg_int(&launch, r->p.channels);
	lw_conv_pair(&launch, r->p.output);
	lw_arg_int(&launch, r->p.outputs);
	lw_arg_int(&launch, r->p.out_step);
	lw_arg_int(&launch, r->p.inner_step);
	lw_arg_int(&launch, r->p.flip);
	lw_arg_int(&launch, group);
	lw_arg_int(&launch, chunk);
	lw_arg_int(&launch, r->relu);
	return lw_tile_launch(r->context, &launch, (size_t)r->blocks, (size_t)((r->p.tiles + group - 1) / group));
}

static lw_status run_spread(const winograd_run *r)
{
	const int group = r->choice->tile[GROUP];

	for (int first = 0; first < r->p.tiles; first += group) {
		const int tiles = lw_min_int(group, r->p.tiles - first);
		LW_TRY(spread_input(r, first, tiles, group));
		LW_TRY(spread_multiply(r, first, tiles, group));
		LW_TRY(spread_output(r, first, tiles, group));
	}
	return LW_OK;
}

static lw_status run(const lw_op_context *context, const lw_conv *conv, lw_pass pass, const lw_choice *choice,
		     const lw_conv_buffers *buffers)
{
	const bool data = pass == LW_PASS_DATA;
	winograd_run r = {
		.context = context,
		.choice = choice,
		.relu = !data && conv->relu,
		.x = data ? buffers->gradient : buffers->x,
		.weight = buffers->weight,
		.bias = data ? NULL : buffers->bias,
		.y = data ? buffers->x_gradient : buffers->y,
		.mask = data && conv->mask ? buffers->x : NULL,
		.workspace = buffers->workspace,
	};

	if (pass == LW_PASS_WEIGHT)
		return lw_winograd_weight_run(context, conv, choice, buffers);
	r.p = lw_winograd_describe(conv, pass, choice->algorithm);
	r.tile = tile_of(context, &r.p, choice);
	r.blocks = lw_tile_blocks(&r.tile, r.p.outputs);
	r.v_at = choice->tile[FORM] == CHUNKS ? 0 : (int)filter_floats(&r.p);
	r.m_at = r.v_at + (int)((size_t)r.p.points * (size_t)pitch_of(&r.p, choice) * padded_channels(&r.p));
	if (choice->tile[FORM] == CHUNKS)
		return run_chunks(&r);
	if (!context->filters_packed)
		LW_TRY(lw_winograd_transform_filter(context, &r.p, choice->algorithm, &r.tile, r.weight, r.workspace));
	return choice->tile[FORM] == SPREAD ? run_spread(&r) : run_fused(&r);
}

const lw_conv_family lw_winograd_cpu = {"cpu", false, choices, workspace, run};
