/* arch: ready-made nets, one file a family; what they are built with. */
#ifndef LW_MODEL_ARCH_H
#define LW_MODEL_ARCH_H

#include "model/model.h"

/* A layer as the nets' tables have it: 0 stands for the usual value. Windows are square. */
typedef struct lw_arch_layer {
	const char *kind;
	int out, kernel, stride, pad;
	int groups;
	bool no_bias;
	bool ceil_mode;
	double p;                  /* of dropout */
	const char *from, *second; /* NULL: the layer before it, alone */
} lw_arch_layer;

/* Adds a layer named by the format. */
lw_status lw_arch_add(lw_net *net, lw_arch_layer layer, const char *name, ...) __attribute__((format(printf, 3, 4)));
/* Adds layers one after the other, named <scope>.0, <scope>.1, ...: PyTorch's Sequential. */
lw_status lw_arch_add_all(lw_net *net, const lw_arch_layer *layers, size_t count, const char *scope);
/* convolution and batchnorm named so, without a relu */
lw_status lw_arch_add_normed(lw_net *net, lw_arch_layer conv, const char *conv_name, const char *norm_name);
/* Averages to side x side as PyTorch's AdaptiveAvgPool2d, where the image before it is a multiple of that. */
lw_status lw_arch_add_adaptive(lw_net *net, int side, const char *name);

/* Builders: the net is empty but for its input. Names and shapes are torchvision's where it has the net. */
typedef lw_status (*lw_arch_builder)(lw_net *net, int classes);
lw_status lw_arch_lenet(lw_net *net, int classes);
lw_status lw_arch_cifar6(lw_net *net, int classes);
lw_status lw_arch_alexnet(lw_net *net, int classes);
lw_status lw_arch_vgg16(lw_net *net, int classes);
lw_status lw_arch_resnet18(lw_net *net, int classes);
lw_status lw_arch_resnet20(lw_net *net, int classes);
lw_status lw_arch_resnet50(lw_net *net, int classes);
lw_status lw_arch_mobilenet_v2(lw_net *net, int classes);
lw_status lw_arch_squeezenet1_1(lw_net *net, int classes);

#endif
