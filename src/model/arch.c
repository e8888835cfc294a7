/* Ready-made nets by name. */
#include "model/model.h"

#include <string.h>

static lw_status add_conv(lw_net *net, const char *name, const char *from, int out, int kernel, int stride, int pad, bool bias)
{
	lw_layer_options options;

	lw_layer_defaults(&options, "conv");
	options.name = name;
	options.from[0] = from;
	options.from_count = from != NULL;
	options.out = out;
	options.kernel[0] = options.kernel[1] = kernel;
	options.stride[0] = options.stride[1] = stride;
	options.pad[0] = options.pad[1] = pad;
	options.bias = bias;
	return lw_net_add(net, "conv", &options);
}

static lw_status add_linear(lw_net *net, const char *name, int out)
{
	lw_layer_options options;

	lw_layer_defaults(&options, "linear");
	options.name = name;
	options.out = out;
	return lw_net_add(net, "linear", &options);
}

static lw_status add_pool(lw_net *net)
{
	lw_layer_options options;

	lw_layer_defaults(&options, "maxpool");
	options.kernel[0] = options.kernel[1] = 2;
	return lw_net_add(net, "maxpool", &options);
}

static lw_status add_named(lw_net *net, const char *kind, const char *name)
{
	lw_layer_options options;

	lw_layer_defaults(&options, kind);
	options.name = name;
	return lw_net_add(net, kind, &options);
}

/* LeNet as Caffe has it (after LeCun et al. 1998): 431,080 parameters. */
static lw_status lenet(lw_net *net)
{
	LW_TRY(add_conv(net, "conv1", NULL, 20, 5, 1, 0, true));
	LW_TRY(add_pool(net));
	LW_TRY(add_conv(net, "conv2", NULL, 50, 5, 1, 0, true));
	LW_TRY(add_pool(net));
	LW_TRY(add_linear(net, "fc1", 500));
	LW_TRY(lw_net_add(net, "relu", NULL));
	return add_linear(net, "fc2", 10);
}

/* Six convolutions of 3x3 in three stages, for 32x32 images. */
static lw_status cifar6(lw_net *net)
{
	static const int channels[] = {32, 32, 64, 64, 128, 128};
	char name[16];

	for (int i = 0; i < (int)LW_COUNT(channels); i++) {
		snprintf(name, sizeof name, "conv%d", i + 1);
		LW_TRY(add_conv(net, name, NULL, channels[i], 3, 1, 1, true));
		LW_TRY(lw_net_add(net, "relu", NULL));
		if (i % 2)
			LW_TRY(add_pool(net));
	}
	return add_linear(net, "fc", 10);
}

/* conv and batchnorm of one step of a residual block, named <block>.conv<k> and <block>.bn<k>. */
static lw_status residual_step(lw_net *net, const char *block, int k, int out, int stride)
{
	char name[48];

	snprintf(name, sizeof name, "%s.conv%d", block, k);
	LW_TRY(add_conv(net, name, NULL, out, 3, stride, 1, false));
	snprintf(name, sizeof name, "%s.bn%d", block, k);
	return add_named(net, "batchnorm", name);
}

/* relu(bn(conv(relu(bn(conv(x))))) + shortcut(x)); x is the layer `from`, the result `<block>.out`. */
static lw_status residual_block(lw_net *net, const char *block, const char *from, int out, int stride, bool project)
{
	char name[48], main_path[48], shortcut[48];
	lw_layer_options sum;

	LW_TRY(residual_step(net, block, 1, out, stride));
	LW_TRY(lw_net_add(net, "relu", NULL));
	LW_TRY(residual_step(net, block, 2, out, 1));
	snprintf(main_path, sizeof main_path, "%s.bn2", block);
	snprintf(shortcut, sizeof shortcut, "%s", from);
	if (project) {
		snprintf(name, sizeof name, "%s.shortcut.0", block);
		LW_TRY(add_conv(net, name, from, out, 1, stride, 0, false));
		snprintf(shortcut, sizeof shortcut, "%s.shortcut.1", block);
		LW_TRY(add_named(net, "batchnorm", shortcut));
	}
	lw_layer_defaults(&sum, "add");
	sum.from[0] = main_path;
	sum.from[1] = shortcut;
	sum.from_count = 2;
	LW_TRY(lw_net_add(net, "add", &sum));
	snprintf(name, sizeof name, "%s.out", block);
	return add_named(net, "relu", name);
}

/* ResNet-20 for 32x32 images (He et al. 2015, section 4.2), with projections where the shape changes: 65 trainable tensors. */
static lw_status resnet20(lw_net *net)
{
	static const int channels[] = {16, 32, 64};
	char block[32], from[48] = "relu1";

	LW_TRY(add_conv(net, "conv1", NULL, 16, 3, 1, 1, false));
	LW_TRY(add_named(net, "batchnorm", "bn1"));
	LW_TRY(add_named(net, "relu", "relu1"));
	for (int stage = 0; stage < (int)LW_COUNT(channels); stage++)
		for (int i = 0; i < 3; i++) {
			bool shrinks = stage > 0 && i == 0;

			snprintf(block, sizeof block, "layer%d.%d", stage + 1, i);
			LW_TRY(residual_block(net, block, from, channels[stage], shrinks ? 2 : 1, shrinks));
			snprintf(from, sizeof from, "%s.out", block);
		}
	LW_TRY(lw_net_add(net, "globalavgpool", NULL));
	return add_linear(net, "fc", 10);
}

static const struct architecture {
	const char *name;
	lw_status (*build)(lw_net *net);
	int channels, height, width, batch;
} architectures[] = {
	{"lenet", lenet, 1, 28, 28, 64},
	{"cifar6", cifar6, 3, 32, 32, 64},
	{"resnet20", resnet20, 3, 32, 32, 64},
};

static lw_status unknown(const char *name)
{
	char list[256] = "";

	for (size_t i = 0; i < LW_COUNT(architectures); i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", architectures[i].name);
	return lw_fail(LW_E_ARGUMENT, "there is no architecture `%s`; there are %s", name, list);
}

lw_status lw_arch_create(lw_net **net, const char *name, int *batch)
{
	const struct architecture *found = NULL;
	lw_status status;

	*net = NULL;
	for (size_t i = 0; i < LW_COUNT(architectures); i++)
		if (strcmp(name, architectures[i].name) == 0)
			found = &architectures[i];
	if (!found)
		return unknown(name);
	LW_TRY(lw_net_create(net, found->channels, found->height, found->width));
	status = found->build(*net);
	if (status != LW_OK)
		lw_net_destroy(net);
	else if (batch)
		*batch = found->batch;
	return status;
}
