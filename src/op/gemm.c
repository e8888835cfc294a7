/* gemm: C = op(A) op(B) + bias: one work-item per element anywhere, packed register tiles on CPUs, CLBlast on GPUs. */
#include "op/tile.h"

enum { SIMPLE, CPU, VARIANTS };

/* Rows of B that stay in a core's cache. */
enum { DEPTH = 256 };

int lw_gemm_variant_count(void) { return VARIANTS; }
const char *lw_gemm_variant_name(int variant) { return variant == SIMPLE ? "simple" : "cpu"; }

size_t lw_gemm_workspace(const lw_gemm *g)
{
	/* A in panels, the last one padded */
	return sizeof(float) * ((size_t)g->m + LW_TILE_MAX_ROWS - 1) * (size_t)g->k;
}

static size_t local_floats(const lw_tile *tile, int depth)
{
	/* rows of B, a tile of C, a row of the bias */
	return (size_t)lw_tile_lanes(tile) * (size_t)(depth + tile->rows + 1);
}

/* The tile, and how many rows of B a work-group packs at once; false: tiles do not suit the device, or its local memory is too small. */
static bool choose_tile(const lw_device *device, const lw_gemm *g, lw_tile *tile, int *depth)
{
	static const int wide[] = {14, 8, 4}, narrow[] = {6, 4};
	const size_t limit = lw_tile_local_floats(device);

	if (!lw_tile_applies(device))
		return false;
	lw_tile_vectors(tile, device, g->n);
	if (g->parts > 1) {
		/* their sum needs as many registers again */
		tile->rows = tile->vector == LW_TILE_WIDE ? 6 : 3;
		*depth = g->k;
		return local_floats(tile, *depth) <= limit;
	}
	tile->rows = tile->vector == LW_TILE_WIDE ? lw_tile_rows(wide, LW_COUNT(wide), g->m)
						  : lw_tile_rows(narrow, LW_COUNT(narrow), g->m);
	for (*depth = lw_min_int(g->k, DEPTH); *depth > 16 && local_floats(tile, *depth) > limit;)
		*depth /= 2;
	return local_floats(tile, *depth) <= limit;
}

bool lw_gemm_variant_applies(const lw_op_context *context, const lw_gemm *g, int variant)
{
	lw_tile tile;
	int depth;

	return variant == SIMPLE || choose_tile(context->device, g, &tile, &depth);
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

static lw_variant tile_variant(const char *function, const lw_gemm *g, const lw_tile *tile)
{
	lw_variant variant = lw_tile_variant("gemm_cpu", function, tile);

	lw_variant_option(&variant, "PARTS", g->parts > 1);
	return variant;
}

static lw_status pack(const lw_op_context *context, const lw_gemm *g, const lw_tile *tile, int panels)
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

static lw_status run_cpu(const lw_op_context *context, const lw_gemm *g, const lw_tile *tile, int depth)
{
	const lw_variant variant = tile_variant("gemm", g, tile);
	const int panels = (g->m + tile->rows - 1) / tile->rows, blocks = lw_tile_blocks(tile, g->n);
	lw_launch launch;

	LW_TRY(pack(context, g, tile, panels));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->workspace);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->c);
	lw_arg_local(&launch, local_floats(tile, depth) * sizeof(float));
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, g->parts);
	lw_arg_int(&launch, depth);
	launch.dimensions = 2;
	launch.global[0] = (size_t)blocks;
	launch.global[1] = (size_t)lw_min_int(panels, (lw_tile_groups(context->device) + blocks - 1) / blocks);
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
	lw_tile tile;
	int depth;

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
	    choose_tile(context->device, g, &tile, &depth))
		return run_cpu(context, g, &tile, depth);
	return run_simple(context, g);
}
