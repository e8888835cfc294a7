/* A folder with a folder of PNG and JPEG files for each class; names are sorted by bytes, classes numbered from 0. */
#include "data/data.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

struct names {
	char **list;
	size_t count, capacity;
};

static void free_names(struct names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->list[i]);
	free(names->list);
	*names = (struct names){0};
}

static int compare_names(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static bool is_folder(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool is_picture(const char *path)
{
	static const char *const endings[] = {".png", ".jpg", ".jpeg"};
	const char *dot = strrchr(path, '.');

	for (size_t i = 0; dot && i < LW_COUNT(endings); i++)
		if (strcasecmp(dot, endings[i]) == 0)
			return !is_folder(path);
	return false;
}

/* The paths in a folder that are wanted, hidden ones left out. */
static lw_status list_folder(struct names *names, const char *folder, bool (*wanted)(const char *path))
{
	DIR *directory = opendir(folder);
	struct dirent *entry;
	lw_status status = LW_OK;

	if (!directory)
		return lw_fail(LW_E_IO, "%s: cannot open the folder: %s", folder, strerror(errno));
	while ((errno = 0, entry = readdir(directory))) {
		char *path = NULL;

		if (entry->d_name[0] == '.')
			continue;
		LW_GO(lw_grow(&names->list, &names->capacity, names->count + 1, sizeof(*names->list)));
		LW_GO(lw_format_string(&path, "%s/%s", folder, entry->d_name));
		if (wanted(path))
			names->list[names->count++] = path;
		else
			free(path);
	}
	if (errno)
		status = lw_fail(LW_E_IO, "%s: cannot read the folder: %s", folder, strerror(errno));
	if (names->count > 0)
		qsort(names->list, names->count, sizeof(*names->list), compare_names);
out:
	closedir(directory);
	return status;
}

/* Luma of ITU-R BT.601 in 16-bit fixed point; grey stays what it is. In place. */
static void make_grey(lw_picture *picture)
{
	size_t count = (size_t)picture->width * (size_t)picture->height;
	uint8_t *pixels = picture->rgb;

	for (size_t i = 0; i < count; i++) {
		const uint8_t *rgb = pixels + 3 * i;

		pixels[i] = (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 32768u) >> 16);
	}
}

/*
 * Turns one line of `from` bytes into `to` bytes with a triangle filter, bilinear where it grows and as wide as
 * the reduction where it shrinks. Weights are whole numbers, so every machine makes the same bytes.
 */
static void resize_line(const uint8_t *in, size_t in_step, int from, uint8_t *out, size_t out_step, int to)
{
	int64_t reach = 2 * (int64_t)lw_max_int(from, to);
	int64_t first = 0;

	/* Positions are in units of 1/(2*from*to) of the line; input x stands at (2x+1)*to, output i at (2i+1)*from. */
	for (int64_t i = 0; i < to; i++) {
		int64_t centre = (2 * i + 1) * from, sum = 0, total = 0;

		while ((2 * first + 1) * to <= centre - reach)
			first++;
		for (int64_t x = first; x < from; x++) {
			int64_t weight = reach - llabs((2 * x + 1) * to - centre);

			if (weight <= 0)
				break;
			sum += weight * in[(size_t)x * in_step];
			total += weight;
		}
		out[(size_t)i * out_step] = (uint8_t)((sum + total / 2) / total);
	}
}

/* Lines across first, then down. */
static lw_status resize(uint8_t *out, int out_height, int out_width, const uint8_t *in, int in_height, int in_width,
			int channels)
{
	size_t depth = (size_t)channels, in_row = (size_t)in_width * depth, out_row = (size_t)out_width * depth;
	uint8_t *narrow = NULL;

	LW_TRY(lw_alloc(&narrow, (size_t)in_height, out_row));
	for (size_t y = 0; y < (size_t)in_height; y++)
		for (size_t channel = 0; channel < depth; channel++)
			resize_line(in + y * in_row + channel, depth, in_width, narrow + y * out_row + channel, depth,
				    out_width);
	for (size_t x = 0; x < out_row; x++)
		resize_line(narrow + x, out_row, in_height, out + x, out_row, out_height);
	free(narrow);
	return LW_OK;
}

static lw_status read_picture(const lw_dataset *dataset, const char *path, uint8_t *pixels)
{
	lw_picture picture = {0};
	void *data = NULL;
	size_t size;
	lw_status status;

	LW_GO(lw_file_read(path, &data, &size));
	LW_GO(lw_picture_decode(&picture, path, data, size));
	if (dataset->channels == 1)
		make_grey(&picture);
	status = resize(pixels, dataset->height, dataset->width, picture.rgb, picture.height, picture.width,
			dataset->channels);
out:
	free(data);
	free(picture.rgb);
	return status;
}

static lw_status read_class(lw_reader *reader, const char *folder, int label)
{
	struct names files = {0};
	lw_status status;

	LW_GO(list_folder(&files, folder, is_picture));
	if (files.count == 0) {
		status = lw_fail(LW_E_FORMAT, "%s: no .png, .jpg or .jpeg file in the folder of a class", folder);
		goto out;
	}
	for (size_t i = 0; i < files.count; i++) {
		uint8_t *pixels;

		LW_GO(lw_reader_place(reader, files.list[i], i, label, &pixels));
		if (pixels)
			LW_GO(read_picture(reader->dataset, files.list[i], pixels));
	}
out:
	free_names(&files);
	return status;
}

lw_status lw_read_images(lw_reader *reader)
{
	const char *root = reader->options->paths[0];
	struct names folders = {0};
	lw_status status;

	if (reader->dataset->channels != 1 && reader->dataset->channels != 3)
		return lw_fail(LW_E_ARGUMENT,
			       "data format images: the network expects %d channels, but pictures give 1 or 3",
			       reader->dataset->channels);
	LW_GO(list_folder(&folders, root, is_folder));
	if (folders.count == 0) {
		status = lw_fail(LW_E_FORMAT, "%s: expected a folder for each class in it, found none", root);
		goto out;
	}
	for (size_t i = 0; i < folders.count; i++)
		if (lw_reader_label(reader, (int)i) >= 0)
			LW_GO(read_class(reader, folders.list[i], (int)i));
out:
	free_names(&folders);
	return status;
}
