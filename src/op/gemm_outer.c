/* Products A^T B with a long inner dimension, on CPUs: see cl/gemm_outer.cl. */
#include "op/gemm.h"
#include "op/sum.h"
#include "op/tile.h"

/* What lw_choice.tile holds: the tile; rows that are read at once; whether those of B are packed. */
enum { VECTOR, VECTORS, ROWS, DEPTH, PACK };

/* Rows that are read at once: those of A and of B stay in a core's second cache. */
enum { MOST_DEPTH = 64, MOST_PART = 256 };
/*
 * A part of fewer rows is not worth the way through C. Rows of B further apart are packed, for few sets of the cache hold them, and
 * all where there are so many panels to read them that it costs little.
 */
enum { LEAST_PART = 32, APART = 512, PANELS = 10 };
/* Work-groups per unit where each adds all parts: every one reads all of A. */
enum { GROUPS_PER_UNIT = 2 };

static int part_depth(const lw_gemm *g) { return (g->k + g->parts - 1) / g->parts; }

/* Whether work-groups add all parts as they go, each of which is read at once. */
static bool adds_parts(const lw_gemm *g, int depth) { return g->slices <= 1 && depth >= part_depth(g); }

static bool applies(const lw_op_context *context, const lw_gemm *g)
{
	return lw_tile_applies(context->device) && g->transpose_a && !g->transpose_b && !g->bias && !g->relu && !g->mask &&
	       g->ldc == g->n && g->n % 4 == 0 && part_depth(g) >= (context->force_variant >= 0 ? 2 : LEAST_PART);
}

static int panels_of(const lw_gemm *g, const lw_tile *tile) { return (g->m + tile->rows - 1) / tile->rows; }

/*
 * Cycles per inner step and float of C: two multiplications or loads at once, none below what hides the latency. Rows that do
 * not divide C's are computed again in part, and leave lines of A in two panels.
 */
static double tile_cost(const lw_gemm *g, const lw_tile *tile)
{
	const int loads = tile->rows + 2 * tile->vectors, steps = tile->rows * tile->vectors;
	const double again = g->m % tile->rows ? 1.05 : 1;

	return again * (lw_max_int(lw_max_int(steps, loads), 11) + 0.1 * loads) * panels_of(g, tile) / (g->m * lw_tile_lanes(tile));
}

/* Sums, a row of B, and a value of A, which only instructions for wide vectors take from memory. */
static bool fits_registers(const lw_tile *tile, int native)
{
	const int sums = tile->rows * tile->vectors;

	return native == LW_TILE_WIDE ? sums <= 28 : sums + tile->vectors + 1 <= 16;
}

/* The tiles that fit the product, the best two of them; returns how many. */
static int best_tiles(const lw_op_context *context, const lw_gemm *g, lw_tile best[2])
{
	const int native = lw_op_vector_width(context->device, LW_TILE_WIDE);
	int vector = native, count = 0;

	while (vector > 4 && g->n % vector)
		vector /= 2;
	for (int vectors = 4; vectors >= 1; vectors--)
		for (int rows = 14; rows >= 1; rows--) {
			const lw_tile tile = {.vector = vector, .vectors = vectors, .rows = rows};
			int at = count;
			if (!fits_registers(&tile, native) || g->m < rows || g->n % lw_tile_lanes(&tile))
				continue;
			while (at > 0 && tile_cost(g, &best[at - 1]) > tile_cost(g, &tile))
				at--;
			if (at == 0 && count)
				best[1] = best[0];
			if (at < 2)
				best[at] = tile;
			count = lw_min_int(count + 1, 2);
		}
	/* few rows or columns leave too little to a load: others cut products better */
	while (count && context->force_variant < 0 && tile_cost(g, &best[count - 1]) * vector > 1.5)
		count--;
	return count;
}

static size_t local_floats(const lw_choice *choice)
{
	return choice->tile[PACK] ? (size_t)(choice->tile[DEPTH] * choice->tile[VECTOR] * choice->tile[VECTORS]) : 1;
}

static int choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	const bool test = context->force_variant >= 0;
	const int part = part_depth(g), depth = test ? 4 : part <= MOST_PART && g->slices <= 1 ? part : MOST_DEPTH;
	lw_tile tiles[2];
	int count = 0, tile_count;

	if (!applies(context, g))
		return 0;
	tile_count = best_tiles(context, g, tiles);
	for (int i = 0; i < tile_count; i++)
		for (int way = 0; way < 2 && count < capacity; way++) {
			const bool packs = g->b_line || g->ldb >= APART || panels_of(g, &tiles[i]) >= PANELS, pack = way ? !packs : packs;
			lw_choice choice = {.family = LW_GEMM_OUTER, .tile = {tiles[i].vector, tiles[i].vectors, tiles[i].rows, depth, pack}};
			/* tests take one tile both ways, and the other where all parts are added */
			if (test && i)
				choice.tile[DEPTH] = part;
			if ((way && i) || (g->b_line && !pack))
				continue;
			if (local_floats(&choice) > lw_tile_local_floats(context->device))
				continue;
			snprintf(choice.name, sizeof choice.name, "cpu outer %dx%dx%d k%d%s", tiles[i].rows, tiles[i].vectors,
				 tiles[i].vector, choice.tile[DEPTH], pack ? " packed" : "");
			list[count++] = choice;
		}
	return count;
}

/* Shares of the parts: each its own, or one for all. */
static int part_shares(const lw_gemm *g, const lw_choice *choice) { return adds_parts(g, choice->tile[DEPTH]) ? 1 : g->parts; }

static size_t workspace(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int shares = part_shares(g, choice);

	(void)context;
	return shares > 1 ? sizeof(float) * (size_t)shares * (size_t)g->m * (size_t)g->n : 0;
}

static lw_status run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const lw_tile tile = {t[VECTOR], t[VECTORS], t[ROWS]};
	const int units = (int)lw_device_get_info(context->device)->compute_units, shares = part_shares(g, choice);
	const int groups = shares > 1 ? (lw_tile_groups(context->device) + shares - 1) / shares : GROUPS_PER_UNIT * units;
	const int across = lw_min_int(groups, g->n / lw_tile_lanes(&tile));
	lw_variant variant = lw_tile_variant("gemm_outer", "gemm_outer", &tile);
	lw_launch launch;

	lw_variant_option(&variant, "PACK", t[PACK]);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, shares > 1 ? g->workspace : g->c);
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->b_line ? g->b_line : g->k);
	lw_arg_int(&launch, g->b_line_pitch);
	lw_arg_int(&launch, g->parts);
	lw_arg_int(&launch, t[DEPTH]);
	lw_arg_local(&launch, local_floats(choice) * sizeof(float));
	launch.dimensions = 3;
	launch.global[0] = (size_t)across;
	launch.global[1] = (size_t)lw_min_int((groups + across - 1) / across, panels_of(g, &tile));
	launch.global[2] = (size_t)shares;
	launch.local[0] = launch.local[1] = launch.local[2] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return shares > 1 ? lw_op_sum_parts(context, shares, lw_max_int(g->slices, 1), (size_t)g->m * (size_t)g->n, g->workspace, g->c) : LW_OK;
}

const lw_gemm_family lw_gemm_outer = {choices, workspace, run};
