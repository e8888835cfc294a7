/* Sums over the batch in its parts: see lw_batch_parts. */
#include "op/sum.h"
#include "op/support.h"

lw_status lw_op_sum_parts(const lw_op_context *context, int parts, int slices, size_t count, lw_buf *partial, lw_buf *sum)
{
	const lw_variant variant = {.source = "sum", .function = "sum_parts"};
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, partial);
	lw_arg_buf(&launch, sum);
	lw_arg_int(&launch, parts);
	lw_arg_int(&launch, slices);
	lw_launch_1d(&launch, count, 0);
	launch.bytes = 4.0 * (double)count * (parts + 1);
	return lw_queue_launch(context->queue, &launch, NULL);
}

size_t lw_op_sum_rows_workspace(const lw_op_call *call)
{
	return sizeof(float) * (size_t)lw_call_parts(call) * (size_t)call->output_shape.c;
}

lw_status lw_op_sum_rows(const lw_op_context *context, const lw_op_call *call, lw_buf *sum)
{
	const lw_shape s = call->output_shape;
	const bool vectors = lw_op_form(context) == LW_VECTOR;
	const int channels = s.c, parts = lw_call_parts(call), vector = lw_op_vector_width(context->device, (size_t)channels);
	lw_variant variant = {.source = "sum", .function = vectors ? "sum_rows_vectors" : "sum_rows"};
	lw_launch launch;

	if (vectors)
		lw_variant_option(&variant, "VECTOR", vector);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, call->output_gradient);
	lw_arg_buf(&launch, parts == 1 ? sum : call->workspace);
	lw_arg_int(&launch, s.n);
	lw_arg_int(&launch, s.h * s.w);
	if (vectors)
		lw_arg_int(&launch, channels);
	launch.dimensions = 2;
	launch.global[0] = (size_t)(vectors ? (channels + 4 * vector - 1) / (4 * vector) : channels);
	launch.global[1] = (size_t)parts;
	launch.local[0] = launch.local[1] = vectors ? 1 : 0;
	launch.bytes = 4.0 * (double)lw_shape_count(s);
	LW_TRY(lw_queue_launch(context->queue, &launch, NULL));
	return parts == 1 ? LW_OK : lw_op_sum_parts(context, parts, lw_max_int(call->slices, 1), (size_t)channels, call->workspace, sum);
}
