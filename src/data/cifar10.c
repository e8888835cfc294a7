/* CIFAR-10's binary version: records of a label and three planes of 32x32 bytes. cs.toronto.edu/~kriz/cifar.html */
#include "data/data.h"

enum { CLASSES = 10, CHANNELS = 3, SIDE = 32, PLANE = SIDE * SIDE, RECORD = 1 + CHANNELS * PLANE };

static lw_status take_record(lw_reader *reader, const char *path, size_t sample, const uint8_t *record)
{
	uint8_t *pixels;

	if (record[0] >= CLASSES)
		return lw_fail(LW_E_FORMAT, "%s: sample %zu has label %d, expected 0 to %d", path, sample, record[0],
			       CLASSES - 1);
	LW_TRY(lw_reader_place(reader, path, sample, record[0], &pixels));
	for (int i = 0; pixels && i < PLANE; i++)
		for (int channel = 0; channel < CHANNELS; channel++)
			pixels[i * CHANNELS + channel] = record[1 + channel * PLANE + i];
	return LW_OK;
}

static lw_status read_batch(lw_reader *reader, const char *path)
{
	uint8_t record[RECORD];
	lw_source *source = NULL;
	size_t got;
	lw_status status;

	LW_GO(lw_source_open(&source, path));
	for (size_t sample = 0;; sample++) {
		LW_GO(lw_source_read(source, record, RECORD, &got));
		if (got < RECORD) {
			if (got > 0 || sample == 0)
				status = lw_fail(LW_E_FORMAT, "%s: truncated: record %zu has %zu bytes, expected %d",
						 path, sample, got, RECORD);
			goto out;
		}
		LW_GO(take_record(reader, path, sample, record));
	}
out:
	lw_source_close(&source);
	return status;
}

lw_status lw_read_cifar10(lw_reader *reader)
{
	const lw_dataset_options *options = reader->options;

	LW_TRY(lw_reader_check_shape(reader, options->paths[0], CHANNELS, SIDE, SIDE));
	for (size_t i = 0; i < options->path_count; i++)
		LW_TRY(read_batch(reader, options->paths[i]));
	return LW_OK;
}
