/*
 * layerwise/net.h - a network: a directed graph of layers, and its named parameters on the host.
 *
 * A net holds no device memory; a plan (plan.h) binds it to devices.
 */
#ifndef LAYERWISE_NET_H
#define LAYERWISE_NET_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Into so many slices at most a batch is cut for sums that do not depend on the devices. */
enum { LW_MAX_SLICES = 64 };

typedef struct lw_net lw_net;

/* fast lets an algorithm with larger rounding (Winograd F4) serve; accurate does not. */
typedef enum lw_precision { LW_PRECISION_FAST, LW_PRECISION_ACCURATE } lw_precision;

/* How weights that no file gives start: He et al. 2015 (normal, fan_in), Glorot and Bengio 2010 (uniform), or PyTorch's default. */
typedef enum lw_init { LW_INIT_HE, LW_INIT_XAVIER, LW_INIT_TORCH } lw_init;

enum { LW_LAYER_MAX_INPUTS = 8 };

/*
 * Options of a layer. Each kind reads its own: conv: out, kernel, stride, pad, dilation, groups, bias; linear: out, bias;
 * maxpool, avgpool: kernel, stride (0: as kernel), pad, ceil_mode, avgpool also count_include_pad; leaky_relu: slope;
 * batchnorm: eps, momentum, update_frozen; dropout: p. Pairs are height, width.
 */
typedef struct lw_layer_options {
	const char *name;                       /* NULL: the kind and a number, e.g. "relu3" */
	const char *from[LW_LAYER_MAX_INPUTS];  /* layers it reads; none: the one before it; "input" is the network's input */
	int from_count;
	int out;
	int kernel[2], stride[2], pad[2], dilation[2];
	int groups;
	bool bias;
	bool ceil_mode;
	bool count_include_pad;
	bool update_frozen; /* batchnorm: a frozen layer still uses batch statistics and updates the running ones (PyTorch) */
	double slope;       /* 0.01 */
	double eps;         /* 1e-5 */
	double momentum;    /* 0.1, PyTorch's convention */
	double p;           /* 0.5 */
} lw_layer_options;

/* The documented defaults: kernel 1, stride 1 (pools: 0), pad 0, dilation 1, groups 1, bias true, count_include_pad true. */
LW_API void lw_layer_defaults(lw_layer_options *options, const char *kind);

typedef struct lw_param_info {
	const char *name; /* "<layer>.weight"; owned by the net */
	int rank;
	int dims[4];      /* [out, in/groups, kH, kW], [out, in] or [n] */
	size_t count;     /* floats */
	bool trainable;   /* false: running statistics */
	int layer;        /* index of its layer */
	int depth;        /* how many layers with parameters stand between it and the output; the last has 0 */
	bool no_decay;    /* a bias or a norm's scale */
} lw_param_info;

typedef struct lw_layer_info {
	const char *name, *kind;
	int channels, height, width; /* of its output */
	double flops;                /* of one image's forward pass */
} lw_layer_info;

/* An empty net for images of the given shape. */
LW_API lw_status lw_net_create(lw_net **net, int channels, int height, int width);
LW_API void lw_net_destroy(lw_net **net);

/* Adds a layer: conv, linear, relu, leaky_relu, relu6, sigmoid, tanh, maxpool, avgpool, globalavgpool, batchnorm, dropout,
 * add, concat, flatten. options NULL: defaults. linear flattens what it gets, in C, H, W order. LW_E_ARGUMENT names the
 * layer, the option and what was expected; the net is then as before. */
LW_API lw_status lw_net_add(lw_net *net, const char *kind, const lw_layer_options *options);

LW_API size_t lw_net_layer_count(const lw_net *net);
LW_API lw_status lw_net_layer_info(const lw_net *net, size_t index, lw_layer_info *info);

/* Parameters in the order of the layers, trainable or not. */
LW_API size_t lw_net_param_count(const lw_net *net);
LW_API lw_status lw_net_param_info(const lw_net *net, size_t index, lw_param_info *info);
/* Index of a parameter by name; LW_E_ARGUMENT names the nearest. */
LW_API lw_status lw_net_param_find(const lw_net *net, const char *name, size_t *index);

/* Fills every parameter afresh from the seed: the same seed and name give the same values, whatever the other layers are. */
LW_API lw_status lw_net_initialize(lw_net *net, lw_init init, uint32_t seed);

/* Copies values in or out: info.count floats, in the parameter's shape, row-major. */
LW_API lw_status lw_net_param_set(lw_net *net, size_t index, const float *values);
LW_API lw_status lw_net_param_get(const lw_net *net, size_t index, float *values);

/* Input and output shape: channels, height, width of an image; classes = channels of the last layer. */
LW_API void lw_net_input(const lw_net *net, int *channels, int *height, int *width);
LW_API int lw_net_classes(const lw_net *net);

#ifdef __cplusplus
}
#endif
#endif
