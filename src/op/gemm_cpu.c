/* Matrix products on CPUs: the register tiles of cl/gemm_cpu.cl. */
#include "op/gemm.h"
#include "op/sum.h"
#include "op/tile.h"

#include <stdlib.h>
#include <string.h>

/* What lw_choice.tile holds of the CPU family: the tile; rows of B that a work-group packs at once; its columns; shares of the panels. */
enum { VECTOR, VECTORS, ROWS, DEPTH, COLUMNS, SHARES };

/* Floats of a cache line, and of the packed rows of B that the nearest cache keeps until they are read. */
enum { LINE = 16, NEAR_FLOATS = 6 * 1024 };

typedef struct cpu_plan {
	lw_tile tile;
	int depth, columns, shares;
} cpu_plan;

/* Rows of B that a work-group must take at once to add parts as it goes: those of the longest part, or of all slices. */
static int part_depth(const lw_gemm *g) { return g->slices > 1 ? g->k : (g->k + g->parts - 1) / g->parts; }

/* Whether every part is a product of its own, added up afterwards. */
static bool is_split(const lw_gemm *g, int depth) { return g->parts > 1 && depth < part_depth(g); }

/* SLICES of the kernel. */
static int slices_of(const lw_gemm *g, int depth) { return is_split(g, depth) ? 1 : lw_max_int(g->slices, 1); }

static size_t local_floats(const lw_gemm *g, const cpu_plan *p)
{
	/* rows of B, tiles of C and of slices that wait, a row of the bias, a panel of A and what a vector writes past it */
	const size_t lanes = (size_t)lw_tile_lanes(&p->tile), rows = (size_t)p->tile.rows, tiles = 1 + (size_t)slices_of(g, p->depth) / 2;

	return (size_t)p->columns * (size_t)(p->depth + 1) + tiles * rows * lanes + rows * (size_t)p->depth + LW_TILE_WIDE;
}

static bool may_split(const lw_gemm *g) { return g->parts > 1 && !g->bias && !g->relu && !g->mask && g->ldc == g->n; }

static int panels_of(const lw_gemm *g, const lw_tile *tile) { return (g->m + tile->rows - 1) / tile->rows; }

/*
 * What the product takes, roughly, in cycles per row of B: multiplications, packing of B by every share of the panels and
 * of A by every block of columns, and waiting for the last work-groups.
 */
static double cost(const lw_device *device, const lw_gemm *g, const cpu_plan *p)
{
	const int units = (int)lw_device_get_info(device)->compute_units, lanes = lw_tile_lanes(&p->tile);
	const int parts = is_split(g, p->depth) ? g->parts : 1;
	const int panels = panels_of(g, &p->tile), blocks = (g->n + p->columns - 1) / p->columns, groups = blocks * p->shares * parts;
	const double vectors = (double)lw_tile_blocks(&p->tile, g->n) * p->tile.vectors;
	/* two multiplications or loads at a time, each of which takes four cycles */
	const int sums = p->tile.rows * p->tile.vectors, loads = p->tile.rows + p->tile.vectors;
	const double tiles = panels * lw_tile_blocks(&p->tile, g->n) * (0.5 * lw_max_int(8, lw_max_int(sums, loads)) + 0.25);
	const double away = p->columns * p->depth > NEAR_FLOATS ? 1.5 : 1;
	const double pack_b = away * p->shares * vectors * (g->transpose_b ? 0.25 * p->tile.vector : 1.5);
	const double pack_a = blocks * (double)panels * p->tile.rows * 0.25;
	/* C comes and goes once for every `depth` rows, its cache lines in two tiles where these are not of whole ones */
	const double lines = lanes % LINE && lanes < g->n ? 1.5 : 1;
	const double c = lines * panels * p->tile.rows * vectors / p->depth + (parts > 1 ? 2.0 * parts * g->m * vectors / g->k : 0);
	const int largest = ((panels + p->shares - 1) / p->shares) * lw_min_int(p->columns, (int)lw_round_up((size_t)g->n, (size_t)lanes));
	const double uneven = (double)largest * groups / parts / ((double)panels * (double)lw_round_up((size_t)g->n, (size_t)lanes));
	const double turns = groups < 4 * units ? (double)((groups + units - 1) / units) * units * uneven : groups + 0.5 * units;

	return (tiles + pack_a + pack_b + c) * turns / groups / units;
}

/* The best depth, columns and shares for the tile; false where none fits into local memory. */
static bool plan_cpu(const lw_device *device, const lw_gemm *g, int most_depth, cpu_plan *plan)
{
	const size_t limit = lw_tile_local_floats(device);
	const int lanes = lw_tile_lanes(&plan->tile), blocks = lw_tile_blocks(&plan->tile, g->n);
	const int panels = panels_of(g, &plan->tile);
	double least = 0;
	bool found = false;

	/* a part is split or not interrupted */
	const int least_depth = g->parts > 1 && !is_split(g, most_depth) ? part_depth(g) : lw_min_int(g->k, 16);

	for (int depth = lw_max_int(lw_min_int(g->k, most_depth), least_depth); !found && depth >= least_depth; depth /= 2)
		for (int wide = 1; wide < 2 * blocks && wide <= 64; wide *= 2)
			for (int shares = 1; shares <= lw_min_int(panels, 64); shares += shares < 8 ? 1 : shares / 4) {
				cpu_plan p = {plan->tile, depth, lw_min_int(wide, blocks) * lanes, shares};
				const size_t local = local_floats(g, &p);
				const double seconds = cost(device, g, &p);

				if (local > limit || (wide > 1 && local > LW_GEMM_LOCAL_FLOATS) || (found && seconds >= least))
					continue;
				*plan = p;
				least = seconds;
				found = true;
			}
	return found;
}

/* A way with its cost, to sort by. */
typedef struct candidate {
	lw_choice choice;
	double cost;
} candidate;

static int compare_costs(const void *a, const void *b)
{
	const candidate *x = a, *y = b;

	return x->cost < y->cost ? -1 : x->cost > y->cost;
}

static bool make_cpu(const lw_op_context *context, const lw_gemm *g, lw_tile tile, int depth, candidate *made)
{
	cpu_plan p = {.tile = tile};

	if (!plan_cpu(context->device, g, depth, &p))
		return false;
	made->cost = cost(context->device, g, &p);
	made->choice = (lw_choice){.family = LW_GEMM_CPU, .tile = {tile.vector, tile.vectors, tile.rows, p.depth, p.columns, p.shares}};
	snprintf(made->choice.name, sizeof made->choice.name, "cpu %dx%dx%d k%d n%d m%d", tile.rows, tile.vectors, tile.vector,
		 p.depth, p.columns, p.shares);
	return true;
}

/* Tiles by the registers there are: rows and vectors. Those for parts of several terms hold as many sums again. */
enum { MAX_TILES = 6 };
static const int tiles[2][2][MAX_TILES][2] = {{{{6, 2}, {4, 3}, {4, 2}, {12, 1}, {8, 1}}, {{4, 1}, {6, 1}}},
					      {{{14, 2}, {12, 2}, {8, 2}, {16, 1}, {8, 3}, {4, 2}}, {{6, 2}, {12, 1}, {4, 2}}}};

/* The first of them for tests goes over the inner dimension in small steps too. */
static int choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	static const int depths[] = {128, 256}, test_depths[] = {128, 4};
	const bool test = context->force_variant >= 0, wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const bool sums = g->parts > 1 && g->parts < g->k;
	const int width = lw_op_vector_width(context->device, (size_t)lw_max_int(g->n, 4));
	candidate found[2 * MAX_TILES * LW_COUNT(depths)];
	int count = 0, listed = 0;

	if (!lw_tile_applies(context->device) || g->b_line)
		return 0;
	/* parts in registers hold their sum too; parts of their own do not */
	for (int held = sums; held >= (sums && !may_split(g)); held--)
		for (int i = 0; i < MAX_TILES && tiles[wide][held][i][0]; i++)
			for (size_t d = 0; d < (test ? i == 0 ? 2 : 1 : LW_COUNT(depths)); d++) {
				const lw_tile tile = {width, tiles[wide][held][i][1], tiles[wide][held][i][0]};
				const int depth = test ? test_depths[d] : depths[d];
				const bool first = i == 0 || tile.vectors == 1 || g->n > width;
				if (!first || (d && g->k <= depths[d] / 2))
					continue;
				if (sums && !held)
					count += make_cpu(context, g, tile, lw_min_int(depth, part_depth(g) - 1), &found[count]);
				else
					count += make_cpu(context, g, tile, lw_max_int(depth, g->parts > 1 ? part_depth(g) : 1), &found[count]);
			}
	qsort(found, (size_t)count, sizeof *found, compare_costs);
	for (int i = 0; i < count && listed < (test ? capacity : lw_min_int(capacity, 5)); i++) {
		bool known = false;
		for (int j = 0; j < listed; j++)
			known = known || strcmp(list[j].name, found[i].choice.name) == 0;
		if (!known)
			list[listed++] = found[i].choice;
	}
	return listed;
}

static size_t workspace(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	(void)context;
	return is_split(g, choice->tile[DEPTH]) ? sizeof(float) * (size_t)g->parts * (size_t)g->m * (size_t)g->n : 0;
}

static lw_status run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const cpu_plan p = {{t[VECTOR], t[VECTORS], t[ROWS]}, t[DEPTH], t[COLUMNS], t[SHARES]};
	const bool split = is_split(g, p.depth);
	lw_variant variant = lw_tile_variant("gemm_cpu", "gemm", &p.tile);
	lw_launch launch;

	lw_variant_option(&variant, "PARTS", split ? 3 : g->parts > 1 ? g->parts == g->k ? 2 : 1 : 0);
	lw_variant_option(&variant, "SLICES", slices_of(g, p.depth));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_gemm_arguments(&launch, g, split ? g->workspace : g->c);
	lw_arg_local(&launch, local_floats(g, &p) * sizeof(float));
	lw_arg_int(&launch, p.depth);
	lw_arg_int(&launch, p.columns);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((g->n + p.columns - 1) / p.columns);
	launch.global[1] = (size_t)p.shares;
	launch.global[2] = (size_t)(split ? g->parts : 1);
	launch.local[0] = launch.local[1] = launch.local[2] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return split ? lw_op_sum_parts(context, g->parts, lw_max_int(g->slices, 1), (size_t)g->m * (size_t)g->n, g->workspace, g->c) : LW_OK;
}

const lw_gemm_family lw_gemm_cpu = {choices, workspace, run};
