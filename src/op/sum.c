/* Sums over the batch in its parts: see lw_batch_parts. */
#include "op/sum.h"

lw_status lw_op_sum_parts(const lw_op_context *context, int parts, size_t count, lw_buf *partial, lw_buf *sum)
{
	const lw_variant variant = {.source = "sum", .function = "sum_parts"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, partial);
	lw_arg_buf(&launch, sum);
	lw_arg_int(&launch, parts);
	lw_launch_1d(&launch, count, 0);
	launch.bytes = 4.0 * (double)count * (parts + 1);
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_op_sum_rows(const lw_op_context *context, int images, int pixels, int channels, lw_buf *rows, lw_buf *partial,
			 lw_buf *sum)
{
	const lw_variant variant = {.source = "sum", .function = "sum_rows"};
	const int parts = lw_batch_parts(images);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, rows);
	lw_arg_buf(&launch, parts == 1 ? sum : partial);
	lw_arg_int(&launch, images);
	lw_arg_int(&launch, pixels);
	launch.dimensions = 2;
	launch.global[0] = (size_t)channels;
	launch.global[1] = (size_t)parts;
	launch.bytes = 4.0 * images * pixels * channels;
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return parts == 1 ? LW_OK : lw_op_sum_parts(context, parts, (size_t)channels, partial, sum);
}
