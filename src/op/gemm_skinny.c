/* Matrix products of few rows on CPUs: see cl/gemm_skinny.cl. */
#include "op/gemm.h"
#include "op/tile.h"

/* What lw_choice.tile holds: the tile; rows of B that are read at once; a work-group's columns. */
enum { VECTOR, VECTORS, ROWS, DEPTH, COLUMNS };

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

/* Ways of gemm_skinny.cl by the registers there are and the kernel: rows, vectors, depth. */
enum { WAYS = 2, GROUPS_PER_UNIT = 4 };
static const int ways[2][2][WAYS][3] = {{{{4, 3, 64}, {8, 1, 64}}, {{8, 1, 512}}}, {{{16, 1, 64}, {8, 1, 64}}, {{8, 1, 512}, {12, 1, 512}}}};

static int choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	const bool test = context->force_variant >= 0, wide = lw_op_vector_width(context->device, LW_TILE_WIDE) == LW_TILE_WIDE;
	const int units = (int)lw_device_get_info(context->device)->compute_units;
	const size_t local = lw_tile_local_floats(context->device), most = local < LW_GEMM_LOCAL_FLOATS ? local : LW_GEMM_LOCAL_FLOATS;
	int count = 0;

	if (!lw_tile_applies(context->device) || g->parts > 1 || g->m > SKINNY_ROWS ||
	    (!test && (g->m < 2 || (double)g->n * g->k < SKINNY_FLOATS)))
		return 0;
	for (int i = 0; i < WAYS && ways[wide][g->transpose_b][i][0] && count < capacity; i++) {
		const int *way = ways[wide][g->transpose_b][i];
		const int across = g->transpose_b ? lw_max_int(g->m, 4) : LW_TILE_WIDE;
		skinny_plan p = {.tile = {lw_op_vector_width(context->device, (size_t)across), way[1], way[0]}, .depth = test ? 24 : way[2]};
		const int lanes = g->transpose_b ? p.tile.rows : lw_tile_lanes(&p.tile);
		int groups = units * GROUPS_PER_UNIT;

		/* rows of B that are long enough to fetch ahead */
		while (!g->transpose_b && groups > units && g->n / groups < 512)
			groups /= 2;
		p.columns = (int)lw_round_up((size_t)((g->n + groups - 1) / groups), (size_t)lanes);
		p.depth = lw_min_int(p.depth, g->k);
		while (p.columns > lanes && skinny_floats(g, &p) > most)
			p.columns = (int)lw_round_up((size_t)p.columns / 2, (size_t)lanes);
		if (g->n < lanes || skinny_floats(g, &p) > local)
			continue;
		list[count] = (lw_choice){.family = LW_GEMM_SKINNY, .tile = {p.tile.vector, p.tile.vectors, p.tile.rows, p.depth, p.columns}};
		snprintf(list[count++].name, sizeof list->name, "cpu skinny %dx%dx%d k%d n%d", p.tile.rows, p.tile.vectors, p.tile.vector,
			 p.depth, p.columns);
	}
	return count;
}

static lw_status run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const int *t = choice->tile;
	const skinny_plan p = {{t[VECTOR], t[VECTORS], t[ROWS]}, t[DEPTH], t[COLUMNS]};
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
