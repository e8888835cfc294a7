/* Matrix products on GPUs: the tiles of cl/gemm_gpu.cl. */
#include "op/gemm_gpu.h"
#include "op/tile_gpu.h"

int lw_gemm_gpu_choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	return lw_gpu_tile_choices(context, g->m, g->n, 1, "gpu", list, capacity);
}

size_t lw_gemm_gpu_workspace(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	(void)context, (void)g, (void)choice;
	return 0;
}

lw_status lw_gemm_gpu_run_batch(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice,
				const lw_gemm_batch *batch)
{
	const lw_gpu_tile tile = lw_gpu_tile_of(choice);
	lw_variant variant = lw_gpu_tile_variant("gemm_gpu", "gemm_gpu", &tile);
	lw_launch launch;

	lw_variant_option(&variant, "PARTS", g->parts > 1);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->a);
	lw_arg_buf(&launch, g->b);
	lw_arg_buf(&launch, g->bias);
	lw_arg_buf(&launch, g->mask);
	lw_arg_buf(&launch, g->c);
	lw_arg_local(&launch, lw_gpu_tile_local(&tile, 0));
	lw_arg_int(&launch, g->m);
	lw_arg_int(&launch, g->n);
	lw_arg_int(&launch, g->k);
	lw_arg_int(&launch, g->lda);
	lw_arg_int(&launch, g->ldb);
	lw_arg_int(&launch, g->ldc);
	lw_arg_int(&launch, g->transpose_a);
	lw_arg_int(&launch, g->transpose_b);
	lw_arg_int(&launch, lw_max_int(g->parts, 1));
	lw_arg_int(&launch, batch->a.at);
	lw_arg_int(&launch, batch->b.at);
	lw_arg_int(&launch, batch->c.at);
	lw_arg_int(&launch, batch->a.batch);
	lw_arg_int(&launch, batch->b.batch);
	lw_arg_int(&launch, batch->c.batch);
	lw_arg_int(&launch, g->relu);
	launch.dimensions = 2;
	lw_gpu_tile_launch(&launch, &tile, g->m, g->n);
	launch.global[1] = (size_t)batch->count;
	launch.flops = 2.0 * batch->count * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_gemm_gpu_run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const lw_gemm_batch one = {.count = 1};

	return lw_gemm_gpu_run_batch(context, g, choice, &one);
}
