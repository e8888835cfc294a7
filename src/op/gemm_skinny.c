/* Matrix products of few rows on CPUs: see cl/gemm_skinny.cl. */
#include "op/gemm.h"
#include "op/tile.h"

/* What lw_choice.tile holds: of the tile vector and rows; rows of B that are read at once; a work-group's columns. */
enum { VECTOR, ROWS, DEPTH, COLUMNS };

typedef struct skinny_plan {
	lw_tile tile;
	int depth, columns;
} skinny_plan;

/* Few rows and a B past the caches, which takes as long as reading B does. */
enum { SKINNY_ROWS = 32, SKINNY_FLOATS = 1 << 20 };

static size_t skinny_floats(const lw_gemm *g, const skinny_plan *p)
{
	const int across = g->transpose_b ? p->tile.vector : p->tile.rows;

	return lw_round_up((size_t)g->m, (size_t)across) * (size_t)(p->depth + p->columns);
}

/* Ways of gemm_skinny.cl: depth, and work-groups per unit. */
static int choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	static const int ways[2][2][3] = {{{16, 64, 4}, {8, 64, 4}}, {{8, 512, 4}, {12, 512, 4}}};
	const bool test = context->force_variant >= 0, wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const int units = (int)lw_device_get_info(context->device)->compute_units;
	const size_t local = lw_tile_local_floats(context->device), most = local < LW_GEMM_LOCAL_FLOATS ? local : LW_GEMM_LOCAL_FLOATS;
	int count = 0;

	if (!lw_tile_applies(context->device) || g->parts > 1 || g->m > SKINNY_ROWS ||
	    (!test && (g->m < 2 || (double)g->n * g->k < SKINNY_FLOATS)))
		return 0;
	for (size_t i = 0; i < LW_COUNT(ways[0]) && count < capacity; i++) {
		const int *way = ways[g->transpose_b][i];
		const int rows = wide ? way[0] : lw_min_int(way[0], 8);
		skinny_plan p = {.tile = {lw_op_vector_width(context->device, 4), 1, rows}, .depth = test ? 24 : way[1]};
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
		if (g->n < lanes || skinny_floats(g, &p) > local || (count && rows == list[count - 1].tile[ROWS]))
			continue;
		list[count] = (lw_choice){.family = LW_GEMM_SKINNY, .tile = {p.tile.vector, rows, p.depth, p.columns}};
		snprintf(list[count++].name, sizeof list->name, "cpu skinny %dx%d k%d n%d", rows, p.tile.vector, p.depth, p.columns);
	}
	return count;
}

static lw_status run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const skinny_plan p = {{t[VECTOR], 1, t[ROWS]}, t[DEPTH], t[COLUMNS]};
	const lw_variant variant = lw_tile_variant("gemm_skinny", g->transpose_b ? "along" : "across", &p.tile);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_gemm_arguments(&launch, g, g->c);
	lw_arg_local(&launch, skinny_floats(g, &p) * sizeof(float));
	lw_arg_int(&launch, p.depth);
	lw_arg_int(&launch, p.columns);
	launch.dimensions = 1;
	launch.global[0] = (size_t)((g->n + p.columns - 1) / p.columns);
	launch.local[0] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

const lw_gemm_family lw_gemm_skinny = {choices, NULL, run};
