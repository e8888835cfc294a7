/* Nets that are small on purpose: MobileNetV2, SqueezeNet. */
#include "model/arch.h"

/* convolution, batchnorm and relu6 as torchvision numbers them: <scope>.0, .1, .2 */
static lw_status add_unit(lw_net *net, lw_arch_layer conv, const char *scope)
{
	char names[2][64];

	for (int i = 0; i < 2; i++)
		snprintf(names[i], sizeof names[i], "%s.%d", scope, i);
	LW_TRY(lw_arch_add_normed(net, conv, names[0], names[1]));
	return lw_arch_add(net, (lw_arch_layer){.kind = "relu6"}, "%s.2", scope);
}

/*
 * An inverted residual: 1x1 to `expand` times the channels (left out for 1), 3x3 of each channel, 1x1 back to `out`; added
 * to its input where shapes agree. *last: the layer that it reads, and then the one that has its result.
 */
static lw_status add_inverted(lw_net *net, int index, int in, int out, int expand, int stride, char last[48])
{
	const int wide = in * expand;
	char scope[48], norm[48];
	int step = 0;

	if (expand > 1) {
		snprintf(scope, sizeof scope, "features.%d.conv.%d", index, step++);
		LW_TRY(add_unit(net, (lw_arch_layer){.out = wide, .kernel = 1}, scope));
	}
	snprintf(scope, sizeof scope, "features.%d.conv.%d", index, step++);
	LW_TRY(add_unit(net, (lw_arch_layer){.out = wide, .kernel = 3, .stride = stride, .pad = 1, .groups = wide}, scope));
	snprintf(scope, sizeof scope, "features.%d.conv.%d", index, step++);
	snprintf(norm, sizeof norm, "features.%d.conv.%d", index, step);
	LW_TRY(lw_arch_add_normed(net, (lw_arch_layer){.out = out, .kernel = 1}, scope, norm));
	if (stride == 1 && in == out) {
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "add", .from = norm, .second = last}, "features.%d", index));
		snprintf(norm, sizeof norm, "features.%d", index);
	}
	snprintf(last, 48, "%s", norm);
	return LW_OK;
}

/* Sandler et al. 2018: 3,504,872 parameters. */
lw_status lw_arch_mobilenet_v2(lw_net *net, int classes)
{
	static const struct {
		int expand, out, blocks, stride;
	} stages[] = {{1, 16, 1, 1}, {6, 24, 2, 2}, {6, 32, 3, 2}, {6, 64, 4, 2}, {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};
	char last[48] = "features.0.2";
	int index = 1, channels = 32;

	LW_TRY(add_unit(net, (lw_arch_layer){.out = channels, .kernel = 3, .stride = 2, .pad = 1}, "features.0"));
	for (size_t s = 0; s < LW_COUNT(stages); s++)
		for (int i = 0; i < stages[s].blocks; i++) {
			LW_TRY(add_inverted(net, index++, channels, stages[s].out, stages[s].expand, i ? 1 : stages[s].stride, last));
			channels = stages[s].out;
		}
	LW_TRY(add_unit(net, (lw_arch_layer){.out = 1280, .kernel = 1}, "features.18"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "globalavgpool"}, "avgpool"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "dropout", .p = 0.2}, "classifier.0"));
	return lw_arch_add(net, (lw_arch_layer){.kind = "linear", .out = classes}, "classifier.1");
}

/* A fire module: 1x1 to few channels, then 1x1 and 3x3 side by side. */
static lw_status add_fire(lw_net *net, int index, int squeeze, int expand)
{
	char from[48], sides[2][48];

	snprintf(from, sizeof from, "features.%d.squeeze_activation", index);
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = squeeze, .kernel = 1}, "features.%d.squeeze", index));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "%s", from));
	for (int kernel = 1; kernel <= 3; kernel += 2) {
		char *side = sides[kernel / 2];

		snprintf(side, sizeof sides[0], "features.%d.expand%dx%d_activation", index, kernel, kernel);
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = expand, .kernel = kernel, .pad = kernel / 2, .from = from},
				   "features.%d.expand%dx%d", index, kernel, kernel));
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "%s", side));
	}
	return lw_arch_add(net, (lw_arch_layer){.kind = "concat", .from = sides[0], .second = sides[1]}, "features.%d", index);
}

/* Iandola et al. 2016, version 1.1: 1,235,496 parameters. */
lw_status lw_arch_squeezenet1_1(lw_net *net, int classes)
{
	static const struct {
		int squeeze, expand; /* 0: a pool */
	} modules[] = {{0, 0}, {16, 64}, {16, 64}, {0, 0}, {32, 128}, {32, 128}, {0, 0}, {48, 192}, {48, 192}, {64, 256}, {64, 256}};

	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = 64, .kernel = 3, .stride = 2}, "features.0"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "features.1"));
	for (int i = 0; i < (int)LW_COUNT(modules); i++) {
		const int index = i + 2;

		if (modules[i].expand)
			LW_TRY(add_fire(net, index, modules[i].squeeze, modules[i].expand));
		else
			LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 3, .stride = 2, .ceil_mode = true}, "features.%d", index));
	}
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "dropout"}, "classifier.0"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = classes, .kernel = 1}, "classifier.1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "classifier.2"));
	return lw_arch_add(net, (lw_arch_layer){.kind = "globalavgpool"}, "classifier.3");
}
