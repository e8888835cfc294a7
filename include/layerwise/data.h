/*
 * layerwise/data.h - image datasets in host memory, and batches assembled in the background.
 */
#ifndef LAYERWISE_DATA_H
#define LAYERWISE_DATA_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_dataset lw_dataset;

enum { LW_DATA_MAX_CHANNELS = 4 };

typedef struct lw_dataset_options {
	const char *format;        /* "idx", "cifar10", "images" */
	const char *const *paths;  /* idx: images file, labels file (.gz or not); cifar10: one or more batch files; images: one folder with a folder per class */
	size_t path_count;
	const int *classes;        /* keep only these, relabelled 0.. in this order; NULL: all */
	size_t class_count;
	size_t limit;              /* the first N samples (after the class filter); 0: all */
	int channels, height, width; /* what the net expects; checked (images: resized to it) */
	int net_classes;           /* labels must be below it; 0: not checked */
	int mean_count, std_count; /* 0 or channels (or 1, for all channels) */
	double mean[LW_DATA_MAX_CHANNELS], std[LW_DATA_MAX_CHANNELS]; /* of values in 0..1 */
} lw_dataset_options;

LW_API void lw_dataset_defaults(lw_dataset_options *options);

/* Loads and checks the files. LW_E_IO or LW_E_FORMAT name the file and what was expected: truncated, wrong magic, label out of range, count mismatch. */
LW_API lw_status lw_dataset_open(lw_dataset **dataset, const lw_dataset_options *options);
LW_API void lw_dataset_close(lw_dataset **dataset);

LW_API size_t lw_dataset_count(const lw_dataset *dataset);
LW_API int lw_dataset_classes(const lw_dataset *dataset); /* largest label + 1 */
LW_API void lw_dataset_shape(const lw_dataset *dataset, int *channels, int *height, int *width);

/* Sample i: NHWC normalised floats (channels*height*width) and its label. LW_E_ARGUMENT past the end. */
LW_API lw_status lw_dataset_sample(const lw_dataset *dataset, size_t index, float *image, int32_t *label);

/*
 * Batches in a fixed order: batch b (from 0, without end) is a pure function of (seed, shuffle, b), so a run can go on anywhere. An
 * epoch is floor(count/batch) batches; the rest of its permutation is left out. A thread assembles ahead.
 */
typedef struct lw_loader lw_loader;

/* first: the batch that lw_loader_next gives first. LW_E_ARGUMENT where the set is smaller than a batch. The dataset must outlive it. */
LW_API lw_status lw_loader_create(lw_loader **loader, const lw_dataset *dataset, int batch, bool shuffle, uint32_t seed, uint64_t first);
LW_API void lw_loader_destroy(lw_loader **loader);
LW_API uint64_t lw_loader_batches_per_epoch(const lw_loader *loader);
/* The next batch: NHWC images and labels, the loader's; valid until the next call but one. */
LW_API lw_status lw_loader_next(lw_loader *loader, const float **images, const int32_t **labels);
/*
 * Only `count` images of a batch, from `first`, are needed, of this one (as lw_loader_next gave it) and of those to come:
 * what it lacks of them is filled in. Before the first call batches are whole; labels always are.
 */
LW_API void lw_loader_need(lw_loader *loader, const float *images, int first, int count);

#ifdef __cplusplus
}
#endif
#endif
