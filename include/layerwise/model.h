/*
 * layerwise/model.h - tensors in files (safetensors), and a net's parameters from and to them.
 */
#ifndef LAYERWISE_MODEL_H
#define LAYERWISE_MODEL_H

#include <layerwise/net.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A set of named float tensors, with string metadata; the content of a safetensors file. */
typedef struct lw_tensors lw_tensors;

typedef struct lw_tensor_info {
	const char *name;
	int rank;
	int64_t dims[8];
	size_t count;
	const float *values; /* owned by the set */
} lw_tensor_info;

LW_API lw_status lw_tensors_create(lw_tensors **tensors);
LW_API void lw_tensors_destroy(lw_tensors **tensors);
/* Copies the values in. LW_E_ARGUMENT for a name that is there already. */
LW_API lw_status lw_tensors_add(lw_tensors *tensors, const char *name, const int64_t *dims, int rank, const float *values);
LW_API size_t lw_tensors_count(const lw_tensors *tensors);
LW_API lw_status lw_tensors_at(const lw_tensors *tensors, size_t index, lw_tensor_info *info);
/* false where there is none of that name */
LW_API bool lw_tensors_find(const lw_tensors *tensors, const char *name, lw_tensor_info *info);
/* Metadata: strings by key. set copies; get returns NULL where there is none. */
LW_API lw_status lw_tensors_set_metadata(lw_tensors *tensors, const char *key, const char *value);
LW_API const char *lw_tensors_get_metadata(const lw_tensors *tensors, const char *key);

/*
 * Reads a safetensors file (format: huggingface.co/docs/safetensors): F32, and F16, BF16 and F64 converted to F32; integer tensors (e.g.
 * num_batches_tracked) are left out and said so in the log. LW_E_FORMAT for overlaps, holes, overflow, a header
 * above 100 MB, duplicate names, a wrong size or dtype.
 */
LW_API lw_status lw_tensors_read(lw_tensors **tensors, const char *path);
/* Writes it as F32, whole or not at all. */
LW_API lw_status lw_tensors_write(const lw_tensors *tensors, const char *path);

/* What a load did: names that started fresh (in the net, not in the files) and that were left over (in a file, not in the net). Owned by the caller: lw_load_report_clear. */
typedef struct lw_load_report {
	size_t loaded;
	char **fresh;
	size_t fresh_count;
	char **left_over;
	size_t left_over_count;
} lw_load_report;
LW_API void lw_load_report_clear(lw_load_report *report);

/* Loads parameters by name and shape from files, later files winning; LW_E_FORMAT for a wrong shape, or where nothing matched at all. report may be NULL. */
LW_API lw_status lw_model_load(lw_net *net, const char *const *paths, size_t count, lw_load_report *report);
/* Saves all parameters under their names. */
LW_API lw_status lw_model_save(const lw_net *net, const char *path);

/*
 * A ready-made net: lenet, cifar6, resnet20 (small images), alexnet, vgg16, resnet18, resnet50, mobilenet_v2, squeezenet1_1
 * (224 x 224, torchvision's parameter names and shapes). find fills in what the net usually has; the input's shape and the
 * number of classes may then be changed.
 */
typedef struct lw_arch {
	const char *name;
	int channels, height, width;
	int classes;
	int batch; /* that it is usually measured with */
} lw_arch;
/* LW_E_ARGUMENT lists the names there are, and the nearest. */
LW_API lw_status lw_arch_find(lw_arch *arch, const char *name);
/* The net, not yet initialised. LW_E_ARGUMENT where its windows do not fit the images. */
LW_API lw_status lw_arch_create(lw_net **net, const lw_arch *arch);

#ifdef __cplusplus
}
#endif
#endif
