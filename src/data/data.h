/* data: image sets in memory, and batches of them. A file format is one file here and one row in dataset.c's table. */
#ifndef LW_DATA_DATA_H
#define LW_DATA_DATA_H

#include "base/base.h"
#include <layerwise/data.h>

/* Samples stay bytes (height, width, channel) and become floats when a batch is assembled. */
struct lw_dataset {
	int channels, height, width;
	int classes; /* largest label + 1 */
	size_t count, image_bytes;
	uint8_t *pixels;
	int32_t *labels;
	size_t pixel_capacity, label_capacity;
	float value[LW_DATA_MAX_CHANNELS][256]; /* what a byte of a channel is after normalising */
};

/* A dataset while its files are read. */
typedef struct lw_reader {
	const lw_dataset_options *options;
	lw_dataset *dataset;
	bool *seen; /* for each of options->classes: a sample of it, or its folder, was there */
} lw_reader;

/* The label that a class of the files has in the set; -1 where options->classes leaves it out. Marks it as seen. */
int lw_reader_label(lw_reader *reader, int label);
/*
 * The place for the pixels of the next sample, which has this label in its file; NULL where it is left out.
 * Called for every sample of the files in their order; sample is its number in the file, for errors.
 */
lw_status lw_reader_place(lw_reader *reader, const char *path, size_t sample, int label, uint8_t **pixels);
/* LW_E_FORMAT where a file's images are not what the network expects. */
lw_status lw_reader_check_shape(const lw_reader *reader, const char *path, size_t channels, size_t height,
				size_t width);

/* The formats: they read all files of reader->options. */
lw_status lw_read_idx(lw_reader *reader);
lw_status lw_read_cifar10(lw_reader *reader);
lw_status lw_read_images(lw_reader *reader);

/* A file that may be compressed with gzip. */
typedef struct lw_source lw_source;
lw_status lw_source_open(lw_source **source, const char *path);
void lw_source_close(lw_source **source);
/* Reads up to size bytes; *got is less only at the end of the file. */
lw_status lw_source_read(lw_source *source, void *data, size_t size, size_t *got);
/* Reads exactly size bytes of `what`; LW_E_FORMAT where the file ends before. */
lw_status lw_source_read_all(lw_source *source, void *data, size_t size, const char *what);
/* LW_E_FORMAT where anything follows. */
lw_status lw_source_expect_end(lw_source *source);

/* A decoded picture: 8 bits each of red, green and blue. rgb is the caller's to free. */
typedef struct lw_picture {
	uint8_t *rgb;
	int width, height;
} lw_picture;

/* Decodes a PNG or JPEG file that was read from path. Alpha and colour profiles are ignored. */
lw_status lw_picture_decode(lw_picture *picture, const char *path, const void *data, size_t size);

/* Assembles the normalised floats of one sample. index must be in range. */
void lw_dataset_fill(const lw_dataset *dataset, size_t index, float *image, int32_t *label);

#endif
