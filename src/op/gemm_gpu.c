/* Matrix products on GPUs: the tiles of cl/gemm_gpu.cl. */
#include "op/gemm_gpu.h"
#include "op/tile_gpu.h"

static int choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list, int capacity)
{
	const int count = lw_gpu_tile_choices(context, g->m, g->n, 1, "gpu", list, capacity);

	for (int i = 0; i < count; i++)
		list[i].family = LW_GEMM_GPU;
	return count;
}

lw_status lw_gemm_gpu_run_batch(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice,
				const lw_gemm_batch *batch)
{
	const lw_gpu_tile tile = lw_gpu_tile_of(choice);
	lw_variant variant = lw_gpu_tile_variant("gemm_gpu", "gemm_gpu", &tile);
	lw_launch launch;

	lw_variant_option(&variant, "PARTS", g->parts > 1);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_gemm_arguments(&launch, g, g->c);
	lw_arg_local(&launch, lw_gpu_tile_local(&tile, 0));
	lw_arg_int(&launch, batch->a.at);
	lw_arg_int(&launch, batch->b.at);
	lw_arg_int(&launch, batch->c.at);
	lw_arg_int(&launch, batch->a.batch);
	lw_arg_int(&launch, batch->b.batch);
	lw_arg_int(&launch, batch->c.batch);
	launch.dimensions = 2;
	lw_gpu_tile_launch(&launch, &tile, g->m, g->n);
	launch.global[1] = (size_t)batch->count;
	launch.flops = 2.0 * batch->count * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

static lw_status run(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const lw_gemm_batch one = {.count = 1};

	return lw_gemm_gpu_run_batch(context, g, choice, &one);
}

const lw_gemm_family lw_gemm_gpu = {choices, NULL, run};
