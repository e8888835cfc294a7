/* Nets without branches: LeNet, a small one for CIFAR, AlexNet, VGG. */
#include "model/arch.h"

/* LeNet as Caffe has it (after LeCun et al. 1998): 431,080 parameters. */
lw_status lw_arch_lenet(lw_net *net, int classes)
{
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = 20, .kernel = 5}, "conv1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 2}, "pool1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = 50, .kernel = 5}, "conv2"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 2}, "pool2"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "linear", .out = 500}, "fc1"));
	LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "relu1"));
	return lw_arch_add(net, (lw_arch_layer){.kind = "linear", .out = classes}, "fc2");
}

/* Six convolutions of 3x3 in three stages, for 32x32 images. */
lw_status lw_arch_cifar6(lw_net *net, int classes)
{
	static const int channels[] = {32, 32, 64, 64, 128, 128};

	for (int i = 0; i < (int)LW_COUNT(channels); i++) {
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = channels[i], .kernel = 3, .pad = 1}, "conv%d", i + 1));
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "relu%d", i + 1));
		if (i % 2)
			LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 2}, "pool%d", i / 2 + 1));
	}
	return lw_arch_add(net, (lw_arch_layer){.kind = "linear", .out = classes}, "fc");
}

/* Krizhevsky 2014, one tower: 61,100,840 parameters. */
lw_status lw_arch_alexnet(lw_net *net, int classes)
{
	static const lw_arch_layer features[] = {
		{.kind = "conv", .out = 64, .kernel = 11, .stride = 4, .pad = 2}, {.kind = "relu"}, {.kind = "maxpool", .kernel = 3, .stride = 2},
		{.kind = "conv", .out = 192, .kernel = 5, .pad = 2},		  {.kind = "relu"}, {.kind = "maxpool", .kernel = 3, .stride = 2},
		{.kind = "conv", .out = 384, .kernel = 3, .pad = 1},		  {.kind = "relu"},
		{.kind = "conv", .out = 256, .kernel = 3, .pad = 1},		  {.kind = "relu"},
		{.kind = "conv", .out = 256, .kernel = 3, .pad = 1},		  {.kind = "relu"}, {.kind = "maxpool", .kernel = 3, .stride = 2},
	};
	const lw_arch_layer classifier[] = {
		{.kind = "dropout"}, {.kind = "linear", .out = 4096}, {.kind = "relu"},
		{.kind = "dropout"}, {.kind = "linear", .out = 4096}, {.kind = "relu"}, {.kind = "linear", .out = classes},
	};

	LW_TRY(lw_arch_add_all(net, features, LW_COUNT(features), "features"));
	LW_TRY(lw_arch_add_adaptive(net, 6, "avgpool"));
	return lw_arch_add_all(net, classifier, LW_COUNT(classifier), "classifier");
}

/* Simonyan and Zisserman 2014, configuration D: 138,357,544 parameters. */
lw_status lw_arch_vgg16(lw_net *net, int classes)
{
	static const int channels[] = {64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0}; /* 0: a pool */
	const lw_arch_layer classifier[] = {
		{.kind = "linear", .out = 4096}, {.kind = "relu"}, {.kind = "dropout"},
		{.kind = "linear", .out = 4096}, {.kind = "relu"}, {.kind = "dropout"}, {.kind = "linear", .out = classes},
	};
	int index = 0;

	for (size_t i = 0; i < LW_COUNT(channels); i++) {
		if (channels[i] == 0) {
			LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "maxpool", .kernel = 2}, "features.%d", index++));
			continue;
		}
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "conv", .out = channels[i], .kernel = 3, .pad = 1}, "features.%d", index++));
		LW_TRY(lw_arch_add(net, (lw_arch_layer){.kind = "relu"}, "features.%d", index++));
	}
	LW_TRY(lw_arch_add_adaptive(net, 7, "avgpool"));
	return lw_arch_add_all(net, classifier, LW_COUNT(classifier), "classifier");
}
