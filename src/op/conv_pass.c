/* Passes of a convolution over pixels. */
#include "op/conv_pass.h"

void lw_conv_forward_pass(const lw_conv *conv, lw_conv_pass *pass)
{
	const int taps = (int)lw_conv_taps(conv);

	*pass = (lw_conv_pass){
		.images = conv->images,
		.groups = conv->groups,
		.input = {conv->input[0], conv->input[1]},
		.all_channels = conv->channels,
		.channels = conv->group_channels,
		.output = {conv->output[0], conv->output[1]},
		.outputs = conv->group_out,
		.taps = {conv->kernel[0], conv->kernel[1]},
		.stride = {conv->stride[0], conv->stride[1]},
		.origin = {-conv->pad[0], -conv->pad[1]},
		.dilation = {conv->dilation[0], conv->dilation[1]},
		.y_image = conv->output[0] * conv->output[1] * conv->out_channels,
		.y_row = conv->output[1] * conv->out_channels,
		.y_pixel = conv->out_channels,
		.step = {1, 1},
		.out_step = conv->group_channels * taps,
		.channel_step = taps,
		.group_step = conv->group_out * conv->group_channels * taps,
		.kernel_width = conv->kernel[1],
	};
}

static int greatest_divisor(int a, int b)
{
	while (b) {
		const int rest = a % b;
		a = b;
		b = rest;
	}
	return a;
}

/*
 * Rows phase, phase + stride, ... of the gradient of x read the taps r for which phase + pad - r * dilation is a multiple
 * of the stride: a convolution of gy with those taps, r descending, and stride 1. Along one axis.
 */
static void describe_phase(const lw_conv *conv, int axis, int phase, lw_conv_pass *pass)
{
	const int stride = conv->stride[axis], dilation = conv->dilation[axis];
	const int divisor = greatest_divisor(stride, dilation), every = stride / divisor;
	int last = conv->kernel[axis] - 1, tried = 0;

	/* the rests repeat after `every` taps */
	while (last >= 0 && tried < every && (phase + conv->pad[axis] - (long)last * dilation) % stride)
		last--, tried++;
	if (tried == every)
		last = -1;
	pass->input[axis] = conv->output[axis];
	pass->output[axis] = (conv->input[axis] - phase - 1) / stride + 1;
	pass->stride[axis] = 1;
	pass->taps[axis] = last < 0 ? 0 : last / every + 1;
	pass->origin[axis] = last < 0 ? 0 : (int)((phase + conv->pad[axis] - (long)last * dilation) / stride);
	pass->dilation[axis] = dilation / divisor;
	pass->first[axis] = last;
	pass->step[axis] = -every;
}

void lw_conv_data_pass(const lw_conv *conv, int down, int across, lw_conv_pass *pass)
{
	const int taps = (int)lw_conv_taps(conv), pixel = conv->channels, row = conv->input[1] * pixel;

	*pass = (lw_conv_pass){
		.images = conv->images,
		.groups = conv->groups,
		.all_channels = conv->out_channels,
		.channels = conv->group_out,
		.outputs = conv->group_channels,
		.y_base = down * row + across * pixel,
		.y_image = conv->input[0] * row,
		/* a stride beyond the input leads to no other pixel, and its product might not fit */
		.y_row = lw_conv_phases(conv, 0) * row,
		.y_pixel = lw_conv_phases(conv, 1) * pixel,
		.out_step = taps,
		.channel_step = conv->group_channels * taps,
		.group_step = conv->group_out * conv->group_channels * taps,
		.kernel_width = conv->kernel[1],
	};
	describe_phase(conv, 0, down, pass);
	describe_phase(conv, 1, across, pass);
}

void lw_conv_join_rows(lw_conv_pass *pass)
{
	const int pixels = pass->images * pass->output[0] * pass->output[1];

	for (int i = 0; i < 2; i++)
		if (pass->taps[i] != 1 || pass->stride[i] != 1 || pass->origin[i] || pass->input[i] != pass->output[i])
			return;
	if (pass->y_row != pass->output[1] * pass->y_pixel || pass->y_image != pass->output[0] * pass->y_row)
		return;
	pass->images = pass->input[0] = pass->output[0] = 1;
	pass->input[1] = pass->output[1] = pixels;
}
