/* What most operators share: choosing a form of a kernel, checking shapes, sizing launches. */
#include "op/support.h"

#include <limits.h>

const char *lw_op_scalar_or_vector(int variant) { return variant == LW_SCALAR ? "scalar" : "vector"; }

bool lw_op_applies(const lw_op_context *context, const lw_op_call *call, int variant)
{
	(void)context, (void)call, (void)variant;
	return true;
}

int lw_op_form(const lw_op_context *context)
{
	if (context->force_variant >= 0)
		return context->force_variant;
	return lw_device_get_info(context->device)->type == LW_DEVICE_CPU ? LW_VECTOR : LW_SCALAR;
}

int lw_op_vector_width(const lw_device *device, size_t length)
{
	const unsigned native = lw_device_get_info(device)->vector_width;
	/* some CPUs' drivers say 1 and vectorise by themselves: 8 suits them */
	int width = native >= 16 ? 16 : native >= 8 || native < 4 ? 8 : 4;

	while (width > 1 && (size_t)width > length)
		width = width > 4 ? width / 2 : 1;
	return width;
}

bool lw_op_streams(const lw_device *device, size_t floats, size_t row)
{
	enum { CACHED_FLOATS = 4 << 20 };

	return floats >= CACHED_FLOATS && row % (size_t)lw_op_vector_width(device, row) == 0;
}

lw_status lw_op_check_inputs(const char *kind, const lw_shape *inputs, int input_count)
{
	for (int i = 0; i < input_count; i++) {
		const lw_shape s = inputs[i];
		size_t count;

		if (s.n < 1 || s.h < 1 || s.w < 1 || s.c < 1)
			return lw_fail(LW_E_ARGUMENT, "%s: input %d is empty: %d images of %d x %d x %d (C, H, W)", kind, i,
				       s.n, s.c, s.h, s.w);
		if (!lw_mul_size((size_t)s.n * (size_t)s.h, (size_t)s.w, &count) || !lw_mul_size(count, (size_t)s.c, &count) ||
		    count > INT_MAX)
			return lw_fail(LW_E_ARGUMENT, "%s: input %d has more than 2^31-1 values: %d images of %d x %d x %d (C, H, W)",
				       kind, i, s.n, s.c, s.h, s.w);
	}
	return LW_OK;
}

lw_status lw_op_same_shape(const char *kind, const lw_shape *inputs, int input_count, lw_op_rule *rule)
{
	LW_TRY(lw_op_check_inputs(kind, inputs, input_count));
	*rule = (lw_op_rule){.output = inputs[0], .flops = (double)lw_shape_count(inputs[0])};
	return LW_OK;
}

void lw_op_items(lw_launch *launch, size_t items)
{
	/* a multiple of 256, so that a driver that chooses the local size has something to choose */
	lw_launch_1d(launch, lw_round_up(items, 256), 0);
}

lw_status lw_op_copy(const lw_op_context *context, size_t floats, lw_buf *from, lw_buf *to, lw_buf *also)
{
	lw_variant variant = {.source = "add", .function = "copy_runs"};
	lw_launch launch;

	if (lw_op_form(context) == LW_SCALAR) {
		LW_TRY(lw_queue_copy(context->queue, from, 0, to, 0, floats * sizeof(float), NULL));
		return also ? lw_queue_copy(context->queue, from, 0, also, 0, floats * sizeof(float), NULL) : LW_OK;
	}
	/* CPUs' drivers copy on one core, and through the caches */
	lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, floats));
	lw_variant_option(&variant, "STREAM", lw_op_streams(context->device, floats, LW_OP_RUN));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, from);
	lw_arg_buf(&launch, to);
	lw_arg_buf(&launch, also);
	lw_arg_int(&launch, (int)floats);
	lw_arg_int(&launch, LW_OP_RUN);
	lw_launch_1d(&launch, lw_op_runs(floats), 1);
	launch.bytes = (also ? 12.0 : 8.0) * (double)floats;
	return lw_queue_launch(context->queue, &launch, NULL);
}
