/* Residual nets (He et al. 2015). */
#include "model/arch.h"

#include <string.h>

/* What a net's blocks have in common. */
typedef struct family {
	bool bottleneck;      /* 1x1, 3x3, 1x1 with four times as many channels at the end, instead of two 3x3 */
	const char *shortcut; /* what the projection is called */
} family;

typedef struct block {
	char name[24], from[40]; /* it reads the layer `from` */
	int channels, stride;
	bool project; /* the shortcut is a 1x1 convolution and batchnorm */
} block;

/* convolution, batchnorm and, but for the last, relu number k of a block; its stride stands at the first 3x3 convolution. */
static lw_status add_step(lw_net *net, const block *b, int k, lw_arch_layer conv, bool last)
{
	char conv_name[40], norm_name[40];

	snprintf(conv_name, sizeof conv_name, "%s.conv%d", b->name, k);
	snprintf(norm_name, sizeof norm_name, "%s.bn%d", b->name, k);
	LW_TRY(lw_arch_add_normed(net, conv, conv_name, norm_name));
	return last ? LW_OK : lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "%s.relu%d", b->name, k);
}

/* relu(residual(x) + shortcut(x)), named <block>.relu */
static lw_status add_block(lw_net *net, const family *f, const block *b)
{
	const int out = f->bottleneck ? 4 * b->channels : b->channels, steps = f->bottleneck ? 3 : 2;
	char residual[40], shortcut[40], conv[40];

	if (f->bottleneck) {
		LW_TRY(add_step(net, b, 1, (lw_arch_layer){.out = b->channels, .kernel = 1}, false));
		LW_TRY(add_step(net, b, 2, (lw_arch_layer){.out = b->channels, .kernel = 3, .stride = b->stride, .pad = 1}, false));
		LW_TRY(add_step(net, b, 3, (lw_arch_layer){.out = out, .kernel = 1}, true));
	} else {
		LW_TRY(add_step(net, b, 1, (lw_arch_layer){.out = out, .kernel = 3, .stride = b->stride, .pad = 1}, false));
		LW_TRY(add_step(net, b, 2, (lw_arch_layer){.out = out, .kernel = 3, .pad = 1}, true));
	}
	snprintf(residual, sizeof residual, "%s.bn%d", b->name, steps);
	snprintf(shortcut, sizeof shortcut, "%s", b->from);
	if (b->project) {
		snprintf(conv, sizeof conv, "%s.%s.0", b->name, f->shortcut);
		snprintf(shortcut, sizeof shortcut, "%s.%s.1", b->name, f->shortcut);
		LW_TRY(lw_arch_add_normed(net, (lw_arch_layer){.out = out, .kernel = 1, .stride = b->stride, .from = b->from}, conv, shortcut));
	}
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "add", .from = residual, .second = shortcut}, "%s.add", b->name));
	return lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "%s.relu", b->name);
}

/* Stages of so many blocks, each stage after the first at half the size with twice the channels; average and linear layer. */
static lw_status add_stages(lw_net *net, const family *f, const int *blocks, int stages, int channels, const char *from, int classes)
{
	block b;

	snprintf(b.from, sizeof b.from, "%s", from);
	for (int stage = 0; stage < stages; stage++, channels *= 2)
		for (int i = 0; i < blocks[stage]; i++) {
			snprintf(b.name, sizeof b.name, "layer%d.%d", stage + 1, i);
			b.channels = channels;
			b.stride = stage > 0 && i == 0 ? 2 : 1;
			b.project = i == 0 && (stage > 0 || f->bottleneck);
			LW_TRY(add_block(net, f, &b));
			snprintf(b.from, sizeof b.from, "%s.relu", b.name);
		}
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "globalavgpool"}, "avgpool"));
	return lw_arch_add(net, (lw_arch_layer){.kind = "linear", .out = classes}, "fc");
}

/* For ImageNet: four stages after a 7x7 convolution and a pool. */
static lw_status add_imagenet(lw_net *net, bool bottleneck, const int blocks[4], int classes)
{
	const family f = {bottleneck, "downsample"};

	LW_TRY(lw_arch_add_normed(net, (lw_arch_layer){.out = 64, .kernel = 7, .stride = 2, .pad = 3}, "conv1", "bn1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "relu"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 3, .stride = 2, .pad = 1}, "maxpool"));
	return add_stages(net, &f, blocks, 4, 64, "maxpool", classes);
}

/* 11,689,512 parameters */
lw_status lw_arch_resnet18(lw_net *net, int classes) { return add_imagenet(net, false, (const int[]){2, 2, 2, 2}, classes); }

/* 25,557,032 parameters; the stride is the 3x3 convolution's, as torchvision has it */
lw_status lw_arch_resnet50(lw_net *net, int classes) { return add_imagenet(net, true, (const int[]){3, 4, 6, 3}, classes); }

/* For 32x32 images (section 4.2), with projections where the shape changes: 65 trainable tensors. */
lw_status lw_arch_resnet20(lw_net *net, int classes)
{
	static const family f = {false, "shortcut"};

	LW_TRY(lw_arch_add_normed(net, (lw_arch_layer){.out = 16, .kernel = 3, .pad = 1}, "conv1", "bn1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "relu"));
	return add_stages(net, &f, (const int[]){3, 3, 3}, 3, 16, "relu", classes);
}
