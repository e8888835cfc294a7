/* gemm: which way to compute a product: register tiles on CPUs, tiles or CLBlast on GPUs, one work-item per element anywhere. */
#include "op/gemm_gpu.h"
#include "op/sum.h"
#include "op/tile.h"

#include <stdlib.h>
#include <string.h>

enum { SIMPLE, CPU = LW_GEMM_CPU, GPU, CLBLAST, SKINNY }; /* families */

/* What lw_choice.tile holds of the CPU family: the tile; rows of B that a work-group packs at once; its columns; shares of the panels. */
enum { VECTOR, VECTORS, ROWS, DEPTH, COLUMNS, SHARES };

typedef struct cpu_plan {
	lw_tile tile;
	int depth, columns, shares;
} cpu_plan;

/* Local memory beyond this leaves the second-level cache. */
enum { MOST_LOCAL_FLOATS = 120 * 1024 };

static size_t local_floats(const cpu_plan *p)
{
	/* rows of B, a tile of C, a row of the bias, a panel of A and what a vector writes past it */
	const size_t lanes = (size_t)lw_tile_lanes(&p->tile), rows = (size_t)p->tile.rows;

	return (size_t)p->columns * (size_t)(p->depth + 1) + rows * lanes + rows * (size_t)p->depth + LW_TILE_WIDE;
}

/* Rows of B of the longest part. */
static int part_depth(const lw_gemm *g) { return (g->k + g->parts - 1) / g->parts; }

/* Whether every part is a product of its own, added up afterwards: where a work-group does not take a part at once. */
static bool is_split(const lw_gemm *g, int depth) { return g->parts > 1 && depth < part_depth(g); }

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
	const double pack_b = p->shares * vectors * (g->transpose_b ? 0.25 * p->tile.vector : 1.5);
	const double pack_a = blocks * (double)panels * p->tile.rows * 0.25;
	/* C comes and goes once for every `depth` rows */
	const double c = panels * p->tile.rows * vectors / p->depth + (parts > 1 ? 2.0 * parts * g->m * vectors / g->k : 0);
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
				const size_t local = local_floats(&p);
				const double seconds = cost(device, g, &p);

				if (local > limit || (wide > 1 && local > MOST_LOCAL_FLOATS) || (found && seconds >= least))
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
	made->choice = (lw_choice){.family = CPU, .tile = {tile.vector, tile.vectors, tile.rows, p.depth, p.columns, p.shares}};
	snprintf(made->choice.name, sizeof made->choice.name, "cpu %dx%dx%d k%d n%d m%d", tile.rows, tile.vectors, tile.vector,
		 p.depth, p.columns, p.shares);
	return true;
}

/* Tiles by the registers there are: rows and vectors. Those for parts of several terms hold as many sums again. */
enum { MAX_TILES = 6 };
static const int tiles[2][2][MAX_TILES][2] = {{{{6, 2}, {4, 3}, {4, 2}, {12, 1}, {8, 1}}, {{4, 1}, {6, 1}}},
					      {{{14, 2}, {12, 2}, {8, 2}, {16, 1}, {8, 3}, {4, 2}}, {{6, 2}, {12, 1}, {4, 2}}}};

/* The first of them for tests goes over the inner dimension in small steps too. */
static int list_cpu(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	static const int depths[] = {128, 256}, test_depths[] = {128, 4};
	const bool test = context->force_variant >= 0, wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const bool sums = g->parts > 1 && g->parts < g->k;
	const int width = lw_op_vector_width(context->device, (size_t)lw_max_int(g->n, 4));
	candidate found[2 * MAX_TILES * LW_COUNT(depths)];
	int count = 0, listed = 0;

	if (!lw_tile_applies(context->device))
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
					count += make_cpu(context, g, tile, lw_max_int(depth, sums ? part_depth(g) : 1), &found[count]);
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

/* Few rows and a B past the caches, which takes as long as reading B does. */
enum { SKINNY_ROWS = 32, SKINNY_FLOATS = 1 << 20 };

static size_t skinny_floats(const lw_gemm *g, const cpu_plan *p)
{
	const int across = g->transpose_b ? p->tile.vector : p->tile.rows;

	return lw_round_up((size_t)g->m, (size_t)across) * (size_t)(p->depth + p->columns);
}

/* Ways of gemm_skinny.cl: depth, and work-groups per unit. */
static int list_skinny(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	static const int ways[2][2][3] = {{{16, 64, 4}, {8, 64, 4}}, {{8, 512, 4}, {12, 512, 4}}};
	const bool test = context->force_variant >= 0, wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const int units = (int)lw_device_get_info(context->device)->compute_units;
	const size_t local = lw_tile_local_floats(context->device), most = local < MOST_LOCAL_FLOATS ? local : MOST_LOCAL_FLOATS;
	int count = 0;

	if (!lw_tile_applies(context->device) || g->parts > 1 || g->m > SKINNY_ROWS ||
	    (!test && (g->m < 2 || (double)g->n * g->k < SKINNY_FLOATS)))
		return 0;
	for (size_t i = 0; i < LW_COUNT(ways[0]) && count < capacity; i++) {
		const int *way = ways[g->transpose_b][i];
		const int rows = wide ? way[0] : lw_min_int(way[0], 8);
		cpu_plan p = {.tile = {lw_op_vector_width(context->device, 4), 1, rows}, .depth = test ? 24 : way[1]};
		const int lanes = g->transpose_b ? rows : (p.tile.vector = lw_op_vector_width(context->device, LW_TILE_WIDE));
		int groups = units * way[2];

		if (g->transpose_b)
			p.tile.vector = lw_op_vector_width(context->device, (size_t)lw_max_int(g->m, 4));
		/* rows of B that are long enough to fetch ahead */
		while (!g->transpose_b && groups > units && g->n / groups < 512)
			groups /= 2;
		p.columns = (int)lw_round_up((size_t)((g->n + groups - 1) / groups), (size_t)lanes);
		p.depth = lw_min_int(p.depth, g->k);
		while (p.columns > lanes && skinny_floats(g, &p) > most)
			p.columns = (int)lw_round_up((size_t)p.columns / 2, (size_t)lanes);
		if (g->n < lanes || skinny_floats(g, &p) > local || (i > 0 && rows == list[count - 1].tile[ROWS]))
			continue;
		list[count] = (lw_choice){.family = SKINNY, .tile = {p.tile.vector, 1, rows, p.depth, p.columns, 1}};
		snprintf(list[count++].name, sizeof list->name, "cpu skinny %dx%d k%d n%d", rows, p.tile.vector, p.depth, p.columns);
	}
	return count;
}

int lw_gemm_choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list)
{
	const bool test = context->force_variant >= 0, gpu = lw_device_get_info(context->device)->type == LW_DEVICE_GPU;
	int count = 0, added;

	if (gpu && !test && !context->reproducible)
		list[count++] = (lw_choice){.name = "clblast", .algorithm = 1, .family = CLBLAST};
	if (gpu || test) {
		added = lw_gemm_gpu_choices(context, g, list + count, LW_MAX_CHOICES / 2 - count);
		for (int i = 0; i < added; i++)
			list[count++].family = GPU;
	}
	if (!gpu || test)
		count += list_skinny(context, g, list + count, LW_MAX_CHOICES - 1 - count);
	if (!gpu || test)
		count += list_cpu(context, g, list + count, LW_MAX_CHOICES - 1 - count);
	list[count++] = (lw_choice){.name = "simple", .family = SIMPLE};
	return count;
}

/* Past CLBlast, which may turn out not to be there. */
static lw_choice first_choice(const lw_op_context *context, const lw_gemm *g, bool own)
{
	lw_choice list[LW_MAX_CHOICES];

	lw_gemm_choices(context, g, list);
	return list[own && list[0].family == CLBLAST];
}

size_t lw_gemm_workspace(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const lw_choice first = choice && choice->family != CLBLAST ? *choice : first_choice(context, g, true);

	if (first.family == CPU && is_split(g, first.tile[DEPTH]))
		return sizeof(float) * (size_t)g->parts * (size_t)g->m * (size_t)g->n;
	return first.family == GPU ? lw_gemm_gpu_workspace(context, g, &first) : 0;
}

static lw_status run_simple(const lw_op_context *context, const lw_gemm *g)
{
	const lw_variant variant = {.source = "gemm", .function = "gemm"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->mask);
	lw_arg_buf(&launch, g->c);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, lw_max_int(g->parts, 1));
	lw_arg_int(&launch, g->relu);
	launch.dimensions = 2;
	launch.global[0] = (size_t)g->n;
	launch.global[1] = (size_t)g->m;
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_cpu(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const cpu_plan p = {{t[VECTOR], t[VECTORS], t[ROWS]}, t[DEPTH], t[COLUMNS], t[SHARES]};
	const bool split = is_split(g, p.depth);
	lw_variant variant = lw_tile_variant("gemm_cpu", "gemm", &p.tile);
	lw_launch launch;

	lw_variant_option(&variant, "PARTS", split ? 3 : g->parts > 1 ? g->parts == g->k ? 2 : 1 : 0);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->mask);
	lw_arg_buf(&launch, split ? g->workspace : g->c);
	lw_arg_local(&launch, local_floats(&p) * sizeof(float));
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, g->parts);
	lw_arg_int(&launch, p.depth);
	lw_arg_int(&launch, p.columns);
	lw_arg_int(&launch, g->relu);
	launch.dimensions = 3;
	launch.global[0] = (size_t)((g->n + p.columns - 1) / p.columns);
	launch.global[1] = (size_t)p.shares;
	launch.global[2] = (size_t)(split ? g->parts : 1);
	launch.local[0] = launch.local[1] = launch.local[2] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return split ? lw_op_sum_parts(context, g->parts, (size_t)g->m * (size_t)g->n, g->workspace, g->c) : LW_OK;
}

static lw_status run_skinny(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const cpu_plan p = {{t[VECTOR], t[VECTORS], t[ROWS]}, t[DEPTH], t[COLUMNS], 1};
	const lw_variant variant = lw_tile_variant("gemm_skinny", g->transpose_b ? "along" : "across", &p.tile);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->mask);
	lw_arg_buf(&launch, g->c);
	lw_arg_local(&launch, skinny_floats(g, &p) * sizeof(float));
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, p.depth);
	lw_arg_int(&launch, p.columns);
	lw_arg_int(&launch, g->relu);
	launch.dimensions = 1;
	launch.global[0] = (size_t)((g->n + p.columns - 1) / p.columns);
	launch.local[0] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* What follows a product whose kernel does not do it. */
static lw_status finish(const lw_op_context *context, const lw_gemm *g, lw_buf *bias)
{
	const lw_variant variant = {.source = "gemm", .function = "finish"};
	lw_launch launch;

	if (!bias && !g->mask && !g->relu)
		return LW_OK;
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, bias);
	lw_arg_buf(&launch, g->mask);
	lw_arg_buf(&launch, g->c);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->relu);
	launch.dimensions = 2;
	launch.global[0] = (size_t)g->n;
	launch.global[1] = (size_t)g->m;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_gemm_run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	lw_choice taken;

	if (g->m < 1 || g->n < 1 || g->k < 1 || g->parts > g->k)
		return lw_fail(LW_E_ARGUMENT, "gemm: m, n, k, parts are %d, %d, %d, %d; expected at least 1, and parts at most k",
			       g->m, g->n, g->k, g->parts);
	taken = choice ? *choice : first_choice(context, g, false);
	if (taken.family == CLBLAST) {
		const lw_status status = lw_queue_gemm(context->queue, g->transpose_a, g->transpose_b, g->m, g->n, g->k, g->a,
						       g->lda, g->b, g->ldb, g->c, g->ldc);
		if (status != LW_E_UNSUPPORTED)
			return status == LW_OK ? finish(context, g, g->bias) : status;
		taken = first_choice(context, g, true);
	}
	if (taken.family == GPU) {
		LW_TRY(lw_gemm_gpu_run(context, g, &taken));
		return finish(context, g, NULL);
	}
	if (taken.family == SKINNY)
		return run_skinny(context, g, &taken);
	return taken.family == CPU ? run_cpu(context, g, &taken) : run_simple(context, g);
}
