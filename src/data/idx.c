/* IDX, the format of the MNIST family: a big-endian header (magic, sizes), then bytes. yann.lecun.com/exdb/mnist */
#include "data/data.h"
#include <stdlib.h>

enum { MAGIC_LABELS = 0x0801, MAGIC_IMAGES = 0x0803, MAX_RANK = 3 };

static uint32_t big_endian(const uint8_t *bytes)
{
	return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The magic's lowest byte is the number of sizes that follow. */
static lw_status read_header(lw_source *source, const char *path, uint32_t magic, uint32_t *sizes)
{
	int rank = (int)(magic & 255);
	uint8_t bytes[4 * MAX_RANK];

	LW_TRY(lw_source_read_all(source, bytes, 4, "the magic number"));
	if (big_endian(bytes) != magic)
		return lw_fail(LW_E_FORMAT, "%s: wrong magic number 0x%08x, expected 0x%08x (IDX %s)", path,
			       big_endian(bytes), magic, magic == MAGIC_IMAGES ? "images" : "labels");
	LW_TRY(lw_source_read_all(source, bytes, 4 * (size_t)rank, "the header"));
	for (int i = 0; i < rank; i++)
		sizes[i] = big_endian(bytes + 4 * i);
	return LW_OK;
}

/* In parts, so that a header that lies about the count does not take memory that the file does not fill. */
static lw_status read_labels(const char *path, uint8_t **labels, uint32_t *count)
{
	lw_source *source = NULL;
	size_t capacity = 0, done = 0;
	lw_status status;

	LW_GO(lw_source_open(&source, path));
	LW_GO(read_header(source, path, MAGIC_LABELS, count));
	while (done < *count) {
		size_t part = *count - done < 65536 ? *count - done : 65536;

		LW_GO(lw_grow(labels, &capacity, done + part, 1));
		LW_GO(lw_source_read_all(source, *labels + done, part, "a run of labels"));
		done += part;
	}
	LW_GO(lw_source_expect_end(source));
out:
	lw_source_close(&source);
	return status;
}

static lw_status read_images(lw_reader *reader, lw_source *source, const uint8_t *labels, uint32_t count,
			     uint8_t *unwanted)
{
	for (uint32_t i = 0; i < count; i++) {
		uint8_t *pixels;

		LW_TRY(lw_reader_place(reader, reader->options->paths[1], i, labels[i], &pixels));
		LW_TRY(lw_source_read_all(source, pixels ? pixels : unwanted, reader->dataset->image_bytes,
					  "an image"));
	}
	return lw_source_expect_end(source);
}

lw_status lw_read_idx(lw_reader *reader)
{
	const char *images_path = reader->options->paths[0], *labels_path = reader->options->paths[1];
	uint8_t *labels = NULL, *unwanted = NULL;
	uint32_t label_count = 0, sizes[MAX_RANK];
	lw_source *source = NULL;
	lw_status status;

	LW_GO(lw_source_open(&source, images_path));
	LW_GO(read_header(source, images_path, MAGIC_IMAGES, sizes));
	LW_GO(lw_reader_check_shape(reader, images_path, 1, sizes[1], sizes[2]));
	LW_GO(read_labels(labels_path, &labels, &label_count));
	if (sizes[0] != label_count) {
		status = lw_fail(LW_E_FORMAT, "%s holds %u images, but %s holds %u labels", images_path, sizes[0],
				 labels_path, label_count);
		goto out;
	}
	LW_GO(lw_alloc(&unwanted, reader->dataset->image_bytes, 1));
	LW_GO(read_images(reader, source, labels, label_count, unwanted));
out:
	lw_source_close(&source);
	free(labels);
	free(unwanted);
	return status;
}
