/* Norms of gradients and the coefficients of clipping, on the device: two launches, nothing comes back to the host. */
#include "optim/launch.h"

/* Lanes of cl/gradient_norm.cl's sums, and so its work-group where there is more than one work-item. */
enum { LANES = 64 };

static lw_status begin(const lw_op_context *context, const char *function, lw_launch *launch, size_t work_groups)
{
	lw_variant variant = {.source = "gradient_norm", .function = function};
	const int work_group = lw_update_work_group(context) > 1 ? LANES : 1;

	lw_variant_option(&variant, "WORK_GROUP", work_group);
	LW_TRY(lw_launch_begin(launch, context->device, &variant));
	lw_launch_1d(launch, work_groups * (size_t)work_group, (size_t)work_group);
	return LW_OK;
}

lw_status lw_chunk_norms(const lw_op_context *context, lw_buf *chunks, int chunk_count, lw_buf *gradients, lw_buf *chunk_norms)
{
	lw_launch launch;

	if (chunk_count <= 0)
		return LW_OK;
	LW_TRY(begin(context, "chunk_norms", &launch, (size_t)chunk_count));
	lw_arg_buf(&launch, chunks);
	lw_arg_buf(&launch, gradients);
	lw_arg_buf(&launch, chunk_norms);
	lw_arg_local(&launch, LANES * sizeof(float));
	launch.bytes = (double)lw_buf_size(gradients);
	launch.flops = launch.bytes / 2;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_clip_coefficients(const lw_op_context *context, lw_buf *chunks, int chunk_count, lw_buf *chunk_norms,
			       lw_buf *domain_of_row, int row_count, lw_buf *max_norms, int domain_count, lw_buf *scale,
			       lw_buf *norms)
{
	lw_launch launch;

	if (domain_count < 1)
		return lw_fail(LW_E_ARGUMENT, "gradient norms need at least one clip domain");
	LW_TRY(begin(context, "clip_coefficients", &launch, (size_t)domain_count));
	lw_arg_buf(&launch, chunks);
	lw_arg_int(&launch, chunk_count);
	lw_arg_buf(&launch, chunk_norms);
	lw_arg_buf(&launch, domain_of_row);
	lw_arg_int(&launch, row_count);
	lw_arg_buf(&launch, max_norms);
	lw_arg_buf(&launch, norms);
	lw_arg_buf(&launch, scale);
	lw_arg_local(&launch, LANES * sizeof(float));
	launch.bytes = (double)chunk_count * (sizeof(lw_chunk) + sizeof(float)) * domain_count;
	return lw_queue_launch(context->queue, &launch, NULL);
}
