/* An image set: checks the options, lets the format's reader fill it, gives its samples. */
#include "data/data.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const struct format {
	const char *name;
	size_t min_paths, max_paths;
	const char *paths; /* what the paths are, for the error */
	lw_status (*read)(lw_reader *reader);
} formats[] = {
	{"idx", 2, 2, "an images file and a labels file", lw_read_idx},
	{"cifar10", 1, SIZE_MAX, "one or more batch files", lw_read_cifar10},
	{"images", 1, 1, "one folder with a folder for each class", lw_read_images},
};

void lw_dataset_defaults(lw_dataset_options *options) { *options = (lw_dataset_options){.format = "idx"}; }

static lw_status find_format(const struct format **found, const lw_dataset_options *options)
{
	const char *names[LW_COUNT(formats)];

	if (!options->format)
		return lw_fail(LW_E_ARGUMENT, "no data format given, expected idx, cifar10 or images");
	for (size_t i = 0; i < LW_COUNT(formats); i++) {
		const struct format *format = &formats[i];

		names[i] = format->name;
		if (strcmp(options->format, format->name) != 0)
			continue;
		if (options->path_count < format->min_paths || options->path_count > format->max_paths)
			return lw_fail(LW_E_ARGUMENT, "data format %s: %zu path%s given, expected %s", format->name,
				       options->path_count, options->path_count == 1 ? "" : "s", format->paths);
		*found = format;
		return LW_OK;
	}
	const char *nearest = lw_nearest(options->format, names, LW_COUNT(names));

	return lw_fail(LW_E_ARGUMENT, "unknown data format '%s', expected idx, cifar10 or images%s%s%s",
		       options->format, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static lw_status check_classes(const lw_dataset_options *options)
{
	for (size_t i = 0; i < options->class_count; i++) {
		if (options->classes[i] < 0)
			return lw_fail(LW_E_ARGUMENT, "data classes: %d is not a class, expected 0 or more",
				       options->classes[i]);
		for (size_t k = 0; k < i; k++)
			if (options->classes[k] == options->classes[i])
				return lw_fail(LW_E_ARGUMENT, "data classes: %d is given twice", options->classes[i]);
	}
	if (options->net_classes > 0 && options->class_count > (size_t)options->net_classes)
		return lw_fail(LW_E_ARGUMENT, "data classes: %zu are given, but the network has %d outputs",
			       options->class_count, options->net_classes);
	return LW_OK;
}

static lw_status check_options(const lw_dataset_options *options)
{
	if (options->channels < 1 || options->channels > LW_DATA_MAX_CHANNELS || options->height < 1 ||
	    options->width < 1)
		return lw_fail(LW_E_ARGUMENT,
			       "data: images of %dx%dx%d (C, H, W), expected 1 to %d channels and sizes above 0",
			       options->channels, options->height, options->width, LW_DATA_MAX_CHANNELS);
	for (size_t i = 0; i < options->path_count; i++)
		if (!options->paths[i])
			return lw_fail(LW_E_ARGUMENT, "data: path %zu is missing", i);
	LW_TRY(check_classes(options));
	if (options->mean_count != 0 && options->mean_count != 1 && options->mean_count != options->channels)
		return lw_fail(LW_E_ARGUMENT, "data normalize: %d means, expected 1 or %d", options->mean_count,
			       options->channels);
	if (options->std_count != 0 && options->std_count != 1 && options->std_count != options->channels)
		return lw_fail(LW_E_ARGUMENT, "data normalize: %d standard deviations, expected 1 or %d",
			       options->std_count, options->channels);
	for (int i = 0; i < options->mean_count; i++)
		if (!isfinite(options->mean[i]))
			return lw_fail(LW_E_ARGUMENT, "data normalize: mean %g, expected a finite number",
				       options->mean[i]);
	for (int i = 0; i < options->std_count; i++)
		if (!isfinite(options->std[i]) || options->std[i] <= 0)
			return lw_fail(LW_E_ARGUMENT,
				       "data normalize: standard deviation %g, expected a number above 0",
				       options->std[i]);
	return LW_OK;
}

/* One number for all channels, one for each, or none. */
static double of_channel(const double *values, int count, int channel, double none)
{
	return count == 0 ? none : values[count == 1 ? 0 : channel];
}

static void fill_values(lw_dataset *dataset, const lw_dataset_options *options)
{
	for (int channel = 0; channel < dataset->channels; channel++) {
		double mean = of_channel(options->mean, options->mean_count, channel, 0);
		double std = of_channel(options->std, options->std_count, channel, 1);

		for (int byte = 0; byte < 256; byte++)
			dataset->value[channel][byte] = (float)((byte / 255.0 - mean) / std);
	}
}

int lw_reader_label(lw_reader *reader, int label)
{
	const lw_dataset_options *options = reader->options;

	if (options->class_count == 0)
		return label;
	for (size_t i = 0; i < options->class_count; i++)
		if (options->classes[i] == label) {
			reader->seen[i] = true;
			return (int)i;
		}
	return -1;
}

lw_status lw_reader_place(lw_reader *reader, const char *path, size_t sample, int label, uint8_t **pixels)
{
	const lw_dataset_options *options = reader->options;
	lw_dataset *dataset = reader->dataset;
	int relabelled = lw_reader_label(reader, label);
	size_t needed;

	*pixels = NULL;
	if (options->net_classes > 0 && relabelled >= options->net_classes)
		return lw_fail(LW_E_FORMAT,
			       "%s: sample %zu has label %d, expected 0 to %d as the network has %d outputs", path,
			       sample, label, options->net_classes - 1, options->net_classes);
	if (relabelled < 0 || (options->limit > 0 && dataset->count >= options->limit))
		return LW_OK;
	if (!lw_mul_size(dataset->count + 1, dataset->image_bytes, &needed))
		return lw_fail(LW_E_MEMORY, "%s: too many samples", path);
	LW_TRY(lw_grow(&dataset->pixels, &dataset->pixel_capacity, needed, 1));
	LW_TRY(lw_grow(&dataset->labels, &dataset->label_capacity, dataset->count + 1, sizeof(*dataset->labels)));
	*pixels = dataset->pixels + dataset->count * dataset->image_bytes;
	dataset->labels[dataset->count] = relabelled;
	dataset->classes = lw_max_int(dataset->classes, relabelled + 1);
	dataset->count++;
	return LW_OK;
}

lw_status lw_reader_check_shape(const lw_reader *reader, const char *path, size_t channels, size_t height, size_t width)
{
	const lw_dataset *dataset = reader->dataset;

	if (channels == (size_t)dataset->channels && height == (size_t)dataset->height &&
	    width == (size_t)dataset->width)
		return LW_OK;
	return lw_fail(LW_E_FORMAT, "%s: its images are %zux%zux%zu (C, H, W), but the network expects %dx%dx%d", path,
		       channels, height, width, dataset->channels, dataset->height, dataset->width);
}

/* What only the whole of the files can tell. */
static lw_status check_result(const lw_reader *reader)
{
	const lw_dataset_options *options = reader->options;

	for (size_t i = 0; i < options->class_count; i++)
		if (!reader->seen[i])
			return lw_fail(LW_E_ARGUMENT, "%s: class %d was asked for, but no sample has that label",
				       options->paths[options->path_count - 1], options->classes[i]);
	if (reader->dataset->count == 0)
		return lw_fail(LW_E_FORMAT, "%s: no samples", options->paths[0]);
	return LW_OK;
}

/* Gives back what growing by doubling took too much; where that fails, all stays as it is. */
static void trim(lw_dataset *dataset)
{
	void *trimmed = realloc(dataset->pixels, dataset->count * dataset->image_bytes);

	if (trimmed)
		dataset->pixels = trimmed;
	trimmed = realloc(dataset->labels, dataset->count * sizeof(*dataset->labels));
	if (trimmed)
		dataset->labels = trimmed;
}

lw_status lw_dataset_open(lw_dataset **dataset, const lw_dataset_options *options)
{
	const struct format *format = NULL;
	lw_reader reader = {.options = options};
	lw_dataset *fresh = NULL;
	lw_status status;

	*dataset = NULL;
	LW_TRY(find_format(&format, options));
	LW_TRY(check_options(options));
	LW_GO(lw_alloc(&fresh, 1, sizeof(*fresh)));
	fresh->channels = options->channels;
	fresh->height = options->height;
	fresh->width = options->width;
	if (!lw_mul_size((size_t)options->channels, (size_t)options->height, &fresh->image_bytes) ||
	    !lw_mul_size(fresh->image_bytes, (size_t)options->width, &fresh->image_bytes)) {
		status = lw_fail(LW_E_MEMORY, "data: images of %dx%d are too large", options->height, options->width);
		goto out;
	}
	fill_values(fresh, options);
	reader.dataset = fresh;
	LW_GO(lw_alloc(&reader.seen, options->class_count, sizeof(*reader.seen)));
	LW_GO(format->read(&reader));
	LW_GO(check_result(&reader));
	trim(fresh);
	*dataset = fresh;
	fresh = NULL;
out:
	free(reader.seen);
	lw_dataset_close(&fresh);
	return status;
}

void lw_dataset_close(lw_dataset **dataset)
{
	if (!dataset || !*dataset)
		return;
	free((*dataset)->pixels);
	free((*dataset)->labels);
	free(*dataset);
	*dataset = NULL;
}

size_t lw_dataset_count(const lw_dataset *dataset) { return dataset->count; }

int lw_dataset_classes(const lw_dataset *dataset) { return dataset->classes; }

void lw_dataset_shape(const lw_dataset *dataset, int *channels, int *height, int *width)
{
	*channels = dataset->channels;
	*height = dataset->height;
	*width = dataset->width;
}

void lw_dataset_fill(const lw_dataset *dataset, size_t index, float *image, int32_t *label)
{
	const uint8_t *bytes = dataset->pixels + index * dataset->image_bytes;
	size_t channels = (size_t)dataset->channels;

	for (size_t channel = 0; channel < channels; channel++) {
		const float *value = dataset->value[channel];

		for (size_t i = channel; i < dataset->image_bytes; i += channels)
			image[i] = value[bytes[i]];
	}
	*label = dataset->labels[index];
}

lw_status lw_dataset_sample(const lw_dataset *dataset, size_t index, float *image, int32_t *label)
{
	if (index >= dataset->count)
		return lw_fail(LW_E_ARGUMENT, "sample %zu asked for, but the set has %zu", index, dataset->count);
	lw_dataset_fill(dataset, index, image, label);
	return LW_OK;
}
