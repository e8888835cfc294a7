/* gemm: which way to compute a product: register tiles on CPUs, tiles or CLBlast on GPUs, one work-item per element anywhere. */
#include "op/gemm.h"

static const lw_gemm_family *const families[] = {
	[LW_GEMM_CPU] = &lw_gemm_cpu, [LW_GEMM_OUTER] = &lw_gemm_outer, [LW_GEMM_GPU] = &lw_gemm_gpu, [LW_GEMM_SKINNY] = &lw_gemm_skinny};

int lw_gemm_choices(const lw_op_context *context, const lw_gemm *g, lw_choice *list)
{
	const bool test = context->force_variant >= 0, gpu = lw_device_get_info(context->device)->type == LW_DEVICE_GPU;
	int count = 0;

	if (gpu && !test && !context->reproducible)
		list[count++] = (lw_choice){.name = "clblast", .algorithm = 1, .family = LW_GEMM_CLBLAST};
	if (gpu || test)
		count += lw_gemm_gpu.choices(context, g, list + count, LW_MAX_CHOICES / 2 - count);
	if (!gpu || test) {
		/* with more rows than one of its tiles has, reading rows of B again costs more than packing them */
		const bool few = test || !g->transpose_b || g->m <= 8;
		const lw_gemm_family *const cpu[] = {few ? &lw_gemm_skinny : &lw_gemm_outer, few ? &lw_gemm_outer : &lw_gemm_cpu,
						     few ? &lw_gemm_cpu : &lw_gemm_skinny};
		for (size_t i = 0; i < LW_COUNT(cpu); i++)
			count += cpu[i]->choices(context, g, list + count, LW_MAX_CHOICES - 1 - count);
	}
	list[count++] = (lw_choice){.name = "simple", .family = LW_GEMM_SIMPLE};
	return count;
}

/* Instead of CLBlast, which may turn out not to be there. */
static lw_choice second_choice(const lw_op_context *context, const lw_gemm *g)
{
	lw_choice list[LW_MAX_CHOICES];

	lw_gemm_choices(context, g, list);
	return list[list[0].family == LW_GEMM_CLBLAST];
}

size_t lw_gemm_workspace(const lw_op_context *context, const lw_gemm *g, const lw_choice *choice)
{
	const lw_choice taken = choice->family == LW_GEMM_CLBLAST ? second_choice(context, g) : *choice;
	const lw_gemm_family *family = families[taken.family];

	return family && family->workspace ? family->workspace(context, g, &taken) : 0;
}

void lw_gemm_arguments(lw_launch *launch, const lw_gemm *g, lw_buf *c)
{
	const int numbers[] = {g->m,   g->n,           g->k,           g->lda,                  g->ldb,
			       g->ldc, g->transpose_a, g->transpose_b, lw_max_int(g->parts, 1), g->relu};

	lw_arg_buf(launch, g->a);
	lw_arg_buf(launch, g->b);
	lw_arg_buf(launch, g->bias);
	lw_arg_buf(launch, g->mask);
	lw_arg_buf(launch, c);
	for (size_t i = 0; i < LW_COUNT(numbers); i++)
		lw_arg_int(launch, numbers[i]);
}

static lw_status run_simple(const lw_op_context *context, const lw_gemm *g)
{
	const lw_variant variant = {.source = "gemm", .function = "gemm"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_gemm_arguments(&launch, g, g->c);
	launch.dimensions = 2;
	launch.global[0] = lw_round_up((size_t)g->n, 16);
	launch.global[1] = lw_round_up((size_t)g->m, 4);
	launch.flops = 2.0 * g->m * g->n * g->k;
	return lw_queue_launch(context->queue, &launch, NULL);
}

/* What follows a library's product. */
static lw_status finish(const lw_op_context *context, const lw_gemm *g)
{
	const lw_variant variant = {.source = "gemm", .function = "finish"};
	lw_launch launch;

	if (!g->bias && !g->mask && !g->relu)
		return LW_OK;
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, g->bias);
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
	lw_choice taken = *choice;

	if (g->m < 1 || g->n < 1 || g->k < 1 || g->parts > g->k)
		return lw_fail(LW_E_ARGUMENT, "gemm: m, n, k, parts are %d, %d, %d, %d; expected at least 1, and parts at most k",
			       g->m, g->n, g->k, g->parts);
	if (taken.family == LW_GEMM_CLBLAST) {
		const lw_status status = lw_queue_gemm(context->queue, g->transpose_a, g->transpose_b, g->m, g->n, g->k, g->a,
						       g->lda, g->b, g->ldb, g->c, g->ldc);
		if (status != LW_E_UNSUPPORTED)
			return status == LW_OK ? finish(context, g) : status;
		taken = second_choice(context, g);
	}
	return taken.family == LW_GEMM_SIMPLE ? run_simple(context, g) : families[taken.family]->run(context, g, &taken);
}
