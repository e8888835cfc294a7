/* gemm: C = op(A) op(B) + bias: one work-item per element anywhere, packed register tiles on CPUs, CLBlast on GPUs. */
#include "op/support.h"

enum { SIMPLE, CPU, VARIANTS };

/* Register tiles, the most rows that a tile has, and the rows of B that stay in a core's cache. */
enum { WIDE = 16, MAX_ROWS = 16, DEPTH = 256, GROUPS_PER_UNIT = 4 };

int lw_gemm_variant_count(void) { return VARIANTS; }
const char *lw_gemm_variant_name(int variant) { return variant == SIMPLE ? "simple" : "cpu"; }

size_t lw_gemm_workspace(const lw_gemm *g)
{
	/* A in panels, the last one padded */
	return sizeof(float) * ((size_t)g->m + MAX_ROWS - 1) * (size_t)g->k;
}

typedef struct tiling {
	int vector, vectors, rows, depth;
} tiling;

static size_t local_floats(const tiling *tile, int depth)
{
	/* rows of B, a tile of C, a row of the bias */
	return (size_t)(tile->vector * tile->vectors) * (size_t)(depth + tile->rows + 1);
}

/* The tile whose panels over m rows cost least; of several with sums over parts, which need as many registers again, a small one. */
static int choose_rows(int m, int vector, int vectors, bool parts)
{
	static const int wide[] = {14, 8, 4}, narrow[] = {6, 4};
	const bool is_wide = vector == WIDE;
	int best = 0;
	long best_cost = 0;

	if (parts)
		return is_wide ? 6 : 3;
	for (size_t i = 0; i < (is_wide ? LW_COUNT(wide) : LW_COUNT(narrow)); i++) {
		const int rows = is_wide ? wide[i] : narrow[i];
		const long cost = (long)((m + rows - 1) / rows) * lw_max_int(rows + 1, is_wide ? 12 / vectors : 0);
		if (!best || cost < best_cost) {
			best = rows;
			best_cost = cost;
		}
	}
	return best;
}

/* false: the device's local memory is too small */
static bool choose_tile(const lw_device *device, const lw_gemm *g, tiling *tile)
{
	const uint64_t local = lw_device_get_info(device)->local_memory;
	const size_t limit = (size_t)(local > 4096 ? local - 1024 : local) / sizeof(float);

	tile->vector = lw_op_vector_width(device, (size_t)lw_max_int(g->n, 4));
	tile->vectors = g->n > tile->vector ? 2 : 1;
	tile->rows = choose_rows(g->m, tile->vector, tile->vectors, g->parts > 1);
	tile->depth = g->parts > 1 ? g->k : lw_min_int(g->k, DEPTH);
	while (g->parts <= 1 && tile->depth > 16 && local_floats(tile, tile->depth) > limit)
		tile->depth /= 2;
	return local_floats(tile, tile->depth) <= limit;
}

bool lw_gemm_variant_applies(const lw_op_context *context, const lw_gemm *g, int variant)
{
	tiling tile;

	return variant == SIMPLE || choose_tile(context->device, g, &tile);
}

static lw_status run_simple(const lw_op_context *context, const lw_gemm *g)
{
	const lw_variant variant = {.source = "gemm", .function = "gemm"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->c);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, lw_max_int(g->parts, 1));
	launch.dimensions = 2;
	launch.global[0] = (size_t)g->n;
	launch.global[1] = (size_t)g->m;
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_variant tile_variant(const char *function, const lw_gemm *g, const tiling *tile)
{
	lw_variant variant = {.source = "gemm_cpu", .function = function};

	lw_variant_option(&variant, "VECTOR", tile->vector);
	lw_variant_option(&variant, "VECTORS", tile->vectors);
	lw_variant_option(&variant, "ROWS", tile->rows);
	lw_variant_option(&variant, "PARTS", g->parts > 1);
	return variant;
}

static lw_status pack(const lw_op_context *context, const lw_gemm *g, const tiling *tile, int panels)
{
	const lw_variant variant = tile_variant("pack_panels", g, tile);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->workspace);
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, DEPTH);
	launch.dimensions = 2;
	launch.global[0] = (size_t)panels;
	launch.global[1] = (size_t)(g->k + DEPTH - 1) / DEPTH;
	launch.local[0] = launch.local[1] = 1;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run_cpu(const lw_op_context *context, const lw_gemm *g, const tiling *tile)
{
	const lw_variant variant = tile_variant("gemm", g, tile);
	const int panels = (g->m + tile->rows - 1) / tile->rows, lanes = tile->vector * tile->vectors;
	const int blocks = (g->n + lanes - 1) / lanes;
	const int units = (int)lw_device_get_info(context->device)->compute_units * GROUPS_PER_UNIT;
	lw_launch launch;

	LW_TRY(pack(context, g, tile, panels));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->workspace);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->c);
	lw_arg_local(&launch, local_floats(tile, tile->depth) * sizeof(float));
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, g->parts);
	lw_arg_int(&launch, tile->depth);
	launch.dimensions = 2;
	launch.global[0] = (size_t)blocks;
	launch.global[1] = (size_t)lw_min_int(panels, (units + blocks - 1) / blocks);
	launch.local[0] = launch.local[1] = 1;
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status add_bias(const lw_op_context *context, const lw_gemm *g)
{
	const lw_variant variant = {.source = "gemm", .function = "add_bias"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->c);
	lw_arg_int(&launch, g->ldc);
	launch.dimensions = 2;
	launch.global[0] = (size_t)g->n;
	launch.global[1] = (size_t)g->m;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_gemm_run(const lw_op_context *context, const lw_gemm *g)
{
	const lw_device_type type = lw_device_get_info(context->device)->type;
	tiling tile;

	if (g->m < 1 || g->n < 1 || g->k < 1 || g->parts > g->k)
		return lw_fail(LW_E_ARGUMENT, "gemm: m, n, k, parts are %d, %d, %d, %d; expected at least 1, and parts at most k",
			       g->m, g->n, g->k, g->parts);
	if (context->force_variant < 0 && type == LW_DEVICE_GPU && !context->reproducible) {
		const lw_status status = lw_queue_gemm(context->queue, g->transpose_a, g->transpose_b, g->m, g->n, g->k, g->a,
						       g->lda, g->b, g->ldb, g->c, g->ldc);
		if (status == LW_OK)
			return g->bias ? add_bias(context, g) : LW_OK;
		if (status != LW_E_UNSUPPORTED)
			return status;
	}
	if (context->force_variant != SIMPLE && (context->force_variant == CPU || type == LW_DEVICE_CPU) &&
	    choose_tile(context->device, g, &tile))
		return run_cpu(context, g, &tile);
	return run_simple(context, g);
}
