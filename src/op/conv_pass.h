/* conv_pass: forward, and each phase of backward of the data, as one kind of pass over pixels. */
#ifndef LW_OP_CONV_PASS_H
#define LW_OP_CONV_PASS_H

#include "op/conv.h"

/*
 * Output pixel (p, q) reads the input at p * stride + origin + tap * dilation, and is written at base + image * y_image +
 * p * y_row + q * y_pixel. In backward of the data the input is the output's gradient. Channels and outputs per group.
 */
typedef struct lw_conv_pass {
	int images, groups;
	int input[2], all_channels, channels;
	int output[2], outputs;
	int taps[2], stride[2], origin[2], dilation[2];
	int y_base, y_image, y_row, y_pixel;
	/* tap i along an axis is the weight's first + i * step; from one output, channel, group to the next in the weight */
	int first[2], step[2], out_step, channel_step, group_step, kernel_width;
	int packed_base; /* where the pass has its packed weights, for callers who pack those of several */
} lw_conv_pass;

void lw_conv_forward_pass(const lw_conv *conv, lw_conv_pass *pass);

/* A pass over single pixels that lie one behind the other becomes one over one long row. */
void lw_conv_join_rows(lw_conv_pass *pass);

/* Backward of the data has a pass for each place between two strides: along each axis so many, */
static inline int lw_conv_phases(const lw_conv *conv, int axis) { return lw_min_int(conv->stride[axis], conv->input[axis]); }
/* of which this is one. */
void lw_conv_data_pass(const lw_conv *conv, int down, int across, lw_conv_pass *pass);

/* The phases one after the other, down and across from 0; false past the last. */
static inline bool lw_conv_next_phase(const lw_conv *conv, int *down, int *across)
{
	if (++*across == lw_conv_phases(conv, 1)) {
		*across = 0;
		++*down;
	}
	return *down < lw_conv_phases(conv, 0);
}

#endif
