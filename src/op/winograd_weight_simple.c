/* Winograd's backward pass of the weight: the tiles' transforms, and one work-item per result, anywhere. */
#include "op/winograd_weight.h"

#include <limits.h>

int lw_winograd_weight_parts(const lw_conv *conv, int algorithm)
{
	/* in floats the sums of all parts, and in tiles a part: adding the parts must cost little beside the work */
	enum { MOST_SUMS = 2 << 20, LEAST_TILES = 128 };
	const int outputs = lw_winograd_outputs((lw_conv_algorithm)algorithm);
	const int slice = conv->images / conv->slices, most = conv->parts / conv->slices;
	const double sums = (double)lw_winograd_points(algorithm) * conv->channels * conv->out_channels * conv->step_slices;
	const double tiles = (double)slice * ((conv->output[0] + outputs - 1) / outputs) * ((conv->output[1] + outputs - 1) / outputs);
	int parts = 1;

	while (2 * parts <= most && 2 * parts * sums <= MOST_SUMS && 2 * parts * LEAST_TILES <= tiles)
		parts *= 2;
	return parts * conv->slices;
}

bool lw_winograd_weight_tiles(const lw_conv *conv, const lw_choice *choice, int vector, int lanes, lw_winograd_tiles *tiles)
{
	const int outputs = lw_winograd_outputs((lw_conv_algorithm)choice->algorithm);
	const int down = (conv->output[0] + outputs - 1) / outputs, across = (conv->output[1] + outputs - 1) / outputs;
	const int points = lw_winograd_points(choice->algorithm);
	/* odd, so that the points' streams do not fall into the same sets of a cache */
	const double pitch = (double)conv->images * down * across + 2;
	const size_t channels = lw_round_up((size_t)conv->channels, (size_t)lanes);
	const size_t out_channels = lw_round_up((size_t)conv->out_channels, (size_t)vector);

	if (pitch * points * (double)(channels + out_channels) > INT_MAX)
		return false;
	*tiles = (lw_winograd_tiles){
		.vector = vector,
		.x_vectors = (int)channels / vector,
		.gradient_vectors = (int)out_channels / vector,
		.down = down,
		.pitch = (conv->images * down * across) | 1,
	};
	tiles->base = tiles->pitch * points * (int)channels;
	tiles->floats = (size_t)tiles->pitch * (size_t)points * (channels + out_channels);
	return true;
}

lw_variant lw_winograd_weight_variant(const char *function, int algorithm, int place, int vector)
{
	const int outputs = lw_winograd_outputs((lw_conv_algorithm)algorithm);
	lw_variant variant = {.source = "winograd_weight", .function = function};

	lw_variant_option(&variant, "WINOGRAD_OUTPUTS", outputs);
	lw_variant_option(&variant, "WINOGRAD_TAPS", lw_winograd_size((lw_conv_algorithm)algorithm) - outputs + 1);
	lw_variant_option(&variant, "PLACE", place);
	lw_variant_option(&variant, "VECTOR", vector);
	return variant;
}

static lw_status transform(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
			   const lw_winograd_tiles *tiles, int place, const lw_conv_buffers *b, bool gradients)
{
	const lw_variant variant = lw_winograd_weight_variant(gradients ? "transform_gradients" : "transform_inputs",
							      choice->algorithm, place, tiles->vector);
	lw_launch launch;

	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, gradients ? b->gradient : b->x);
	lw_arg_buf(&launch, b->workspace);
	lw_conv_pair(&launch, gradients ? conv->output : conv->input);
	lw_arg_int(&launch, gradients ? conv->out_channels : conv->channels);
	if (!gradients) {
		lw_conv_pair(&launch, conv->output);
		lw_conv_pair(&launch, conv->pad);
	}
	lw_arg_int(&launch, tiles->pitch);
	if (gradients)
		lw_arg_int(&launch, tiles->base);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->images * (size_t)tiles->down;
	launch.global[1] = (size_t)(gradients ? tiles->gradient_vectors : tiles->x_vectors);
	launch.local[0] = launch.local[1] = tiles->vector > 1 ? 1 : 0;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_winograd_transform_tiles(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
				      const lw_winograd_tiles *tiles, int place, const lw_conv_buffers *buffers)
{
	LW_TRY(transform(context, conv, choice, tiles, place, buffers, false));
	return transform(context, conv, choice, tiles, place, buffers, true);
}

/* The place of the sums in sum_tiles_simple. */
enum { PRIVATE = 2 };

int lw_winograd_weight_simple_choices(const lw_op_context *context, const lw_conv *conv, lw_choice *list, int capacity)
{
	lw_winograd_tiles tiles;
	int count = 0;

	(void)context;
	for (int algorithm = LW_CONV_WINOGRAD_F2; algorithm <= LW_CONV_WINOGRAD_5X5 && count < capacity; algorithm++) {
		lw_choice choice = {.algorithm = algorithm};
		if (!lw_conv_winograd_applies(conv, (lw_conv_algorithm)algorithm) ||
		    !lw_winograd_weight_tiles(conv, &choice, 1, 1, &tiles))
			continue;
		snprintf(choice.name, sizeof(choice.name), "%s/simple", lw_conv_algorithm_names[algorithm]);
		list[count++] = choice;
	}
	return count;
}

size_t lw_winograd_weight_simple_workspace(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice)
{
	lw_winograd_tiles tiles;

	(void)context;
	return lw_winograd_weight_tiles(conv, choice, 1, 1, &tiles) ? tiles.floats * sizeof(float) : 0;
}

lw_status lw_winograd_weight_simple_run(const lw_op_context *context, const lw_conv *conv, const lw_choice *choice,
					const lw_conv_buffers *buffers)
{
	lw_variant variant = lw_winograd_weight_variant("sum_tiles_simple", choice->algorithm, PRIVATE, 1);
	lw_winograd_tiles tiles;
	lw_launch launch;

	if (!lw_winograd_weight_tiles(conv, choice, 1, 1, &tiles))
		return lw_fail(LW_E_UNSUPPORTED, "conv: the transformed tiles have more than 2^31-1 values");
	LW_TRY(lw_winograd_transform_tiles(context, conv, choice, &tiles, PRIVATE, buffers));
	lw_variant_option(&variant, "VECTORS", 1);
	lw_variant_option(&variant, "ROWS", 1);
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	lw_arg_buf(&launch, buffers->workspace);
	lw_arg_buf(&launch, buffers->weight_gradient);
	lw_arg_int(&launch, conv->images);
	lw_conv_pair(&launch, conv->output);
	lw_arg_int(&launch, tiles.pitch);
	lw_arg_int(&launch, tiles.base);
	lw_arg_int(&launch, lw_winograd_weight_parts(conv, choice->algorithm));
	lw_arg_int(&launch, conv->slices);
	launch.dimensions = 2;
	launch.global[0] = (size_t)conv->channels;
	launch.global[1] = (size_t)conv->out_channels;
	return lw_queue_launch(context->queue, &launch, NULL);
}
