/*
 * The safetensors format: the header's length (8 bytes, little-endian), the header (a JSON object: name -> dtype,
 * shape, data_offsets), the tensors' bytes without holes or overlaps. A file is read as if an enemy had written it.
 */
#include "model/model.h"
#include <stdlib.h>
#include <string.h>

enum { LENGTH_BYTES = 8, MAX_HEADER = 100000000, ALIGNMENT = 8 };

/* A tensor as the header tells of it. */
struct entry {
	const char *name;
	const lw_dtype *dtype;
	int rank;
	int64_t dims[LW_TENSOR_MAX_RANK];
	size_t count, begin, end;
};

/* A file being read. */
struct file {
	const char *path;
	const uint8_t *data; /* what follows the header */
	size_t size;
	json_t *header;
	struct entry *entries; /* in the header's order */
	size_t count;
};

#define FAIL_AT(entry, format, ...)                                                                                    \
	lw_fail(LW_E_FORMAT, "%s: tensor '%s': " format, file->path, (entry)->name, __VA_ARGS__)

static lw_status parse_header(struct file *file, const uint8_t *bytes, size_t size)
{
	uint64_t length = 0;
	json_error_t error;

	if (size < LENGTH_BYTES)
		return lw_fail(LW_E_FORMAT, "%s: %zu bytes are too few for a safetensors file", file->path, size);
	for (int i = LENGTH_BYTES - 1; i >= 0; i--)
		length = length << 8 | bytes[i];
	if (length > MAX_HEADER)
		return lw_fail(LW_E_FORMAT, "%s: a header of %llu bytes, expected at most %d", file->path,
			       (unsigned long long)length, MAX_HEADER);
	if (length > size - LENGTH_BYTES)
		return lw_fail(LW_E_FORMAT, "%s: truncated: a header of %llu bytes, but only %zu follow", file->path,
			       (unsigned long long)length, size - LENGTH_BYTES);
	if (length == 0 || bytes[LENGTH_BYTES] != '{')
		return lw_fail(LW_E_FORMAT, "%s: the header does not begin with '{': not a safetensors file",
			       file->path);
	file->header = json_loadb((const char *)bytes + LENGTH_BYTES, (size_t)length, JSON_REJECT_DUPLICATES, &error);
	if (!file->header && json_error_code(&error) == json_error_out_of_memory)
		return lw_fail(LW_E_MEMORY, "%s: out of memory for the header", file->path);
	if (!file->header)
		return lw_fail(LW_E_FORMAT, "%s: the header is not JSON as it should be: %s (at byte %d of it)",
			       file->path, error.text, error.position);
	file->data = bytes + LENGTH_BYTES + length;
	file->size = size - LENGTH_BYTES - (size_t)length;
	return LW_OK;
}

static lw_status parse_shape(const struct file *file, struct entry *entry, const json_t *shape)
{
	size_t rank = json_array_size(shape), bytes;
	char text[200];

	if (!json_is_array(shape))
		return FAIL_AT(entry, "%s", "no shape, expected a list of whole numbers");
	if (rank > LW_TENSOR_MAX_RANK)
		return FAIL_AT(entry, "a shape of rank %zu, expected at most %d", rank, LW_TENSOR_MAX_RANK);
	entry->rank = (int)rank;
	for (size_t i = 0; i < rank; i++) {
		const json_t *dim = json_array_get(shape, i);

		if (!json_is_integer(dim) || json_integer_value(dim) < 0)
			return FAIL_AT(entry, "dimension %zu of its shape is not a whole number from 0", i);
		entry->dims[i] = json_integer_value(dim);
	}
	if (!lw_shape_count(entry->dims, entry->rank, &entry->count) ||
	    !lw_mul_size(entry->count, entry->dtype->size, &bytes))
		return FAIL_AT(entry, "the shape %s is too large", lw_shape_text(text, entry->dims, entry->rank));
	if (entry->end - entry->begin != bytes)
		return FAIL_AT(entry, "data_offsets give %zu bytes, but the shape %s in %s needs %zu",
			       entry->end - entry->begin, lw_shape_text(text, entry->dims, entry->rank),
			       entry->dtype->name, bytes);
	return LW_OK;
}

static lw_status parse_offsets(const struct file *file, struct entry *entry, const json_t *offsets)
{
	const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);

	if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end) ||
	    json_integer_value(begin) < 0 || json_integer_value(end) < json_integer_value(begin))
		return FAIL_AT(entry, "%s", "data_offsets are not two ascending whole numbers from 0");
	if ((uint64_t)json_integer_value(end) > file->size)
		return FAIL_AT(entry, "data_offsets end at byte %lld, but the file has only %zu bytes of data",
			       (long long)json_integer_value(end), file->size);
	entry->begin = (size_t)json_integer_value(begin);
	entry->end = (size_t)json_integer_value(end);
	return LW_OK;
}

static lw_status parse_entry(const struct file *file, struct entry *entry, const char *name, const json_t *value)
{
	const char *dtype = json_string_value(json_object_get(value, "dtype"));

	entry->name = name;
	if (!json_is_object(value))
		return FAIL_AT(entry, "%s", "not an object with dtype, shape and data_offsets");
	if (!dtype)
		return FAIL_AT(entry, "%s", "no dtype, expected a name such as F32");
	entry->dtype = lw_dtype_find(dtype);
	if (!entry->dtype)
		return FAIL_AT(entry, "unknown dtype '%.40s', expected F32, F16, BF16, F64, an integer type or BOOL",
			       dtype);
	LW_TRY(parse_offsets(file, entry, json_object_get(value, "data_offsets")));
	return parse_shape(file, entry, json_object_get(value, "shape"));
}

static lw_status parse_metadata(const struct file *file, lw_tensors *tensors, json_t *metadata)
{
	const char *key;
	json_t *value;

	if (!json_is_object(metadata))
		return lw_fail(LW_E_FORMAT, "%s: __metadata__ is not an object", file->path);
	json_object_foreach(metadata, key, value) if (!json_is_string(value)) return lw_fail(
		LW_E_FORMAT, "%s: __metadata__: '%s' is not a string", file->path, key);
	json_decref(tensors->metadata);
	tensors->metadata = json_incref(metadata);
	return LW_OK;
}

static lw_status parse_entries(struct file *file, lw_tensors *tensors)
{
	const char *name;
	json_t *value;

	LW_TRY(lw_alloc(&file->entries, json_object_size(file->header), sizeof(*file->entries)));
	json_object_foreach(file->header, name, value)
	{
		if (strcmp(name, "__metadata__") == 0)
			LW_TRY(parse_metadata(file, tensors, value));
		else
			LW_TRY(parse_entry(file, &file->entries[file->count++], name, value));
	}
	return LW_OK;
}

static int compare_places(const void *a, const void *b)
{
	const struct entry *x = *(const struct entry *const *)a, *y = *(const struct entry *const *)b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

/* The tensors must cover the data exactly: each begins where the one before it ends. */
static lw_status check_coverage(const struct file *file, const struct entry **order)
{
	const char *previous = NULL;
	size_t end = 0;

	for (size_t i = 0; i < file->count; i++)
		order[i] = &file->entries[i];
	if (file->count > 0)
		qsort(order, file->count, sizeof(*order), compare_places);
	for (size_t i = 0; i < file->count; i++) {
		if (order[i]->begin < end)
			return FAIL_AT(order[i], "its data at byte %zu overlaps that of '%s', which ends at %zu",
				       order[i]->begin, previous, end);
		if (order[i]->begin > end)
			return FAIL_AT(order[i],
				       "its data begins at byte %zu, a hole of %zu bytes after what is before it",
				       order[i]->begin, order[i]->begin - end);
		end = order[i]->end;
		previous = order[i]->name;
	}
	if (end != file->size)
		return lw_fail(LW_E_FORMAT, "%s: trailing bytes: %zu follow the last tensor%s%s%s", file->path,
			       file->size - end, previous ? " '" : "", previous ? previous : "", previous ? "'" : "");
	return LW_OK;
}

static lw_status take_values(const struct file *file, lw_tensors *tensors)
{
	const char *skipped = NULL;
	size_t skips = 0;

	for (size_t i = 0; i < file->count; i++) {
		const struct entry *entry = &file->entries[i];
		float *values;

		if (!entry->dtype->convert) {
			skipped = entry->name;
			skips++;
			continue;
		}
		if (lw_tensors_reserve(tensors, entry->name, entry->dims, entry->rank, &values) != LW_OK)
			return lw_fail_prefix(LW_E_MEMORY, "%s", file->path);
		entry->dtype->convert(values, file->data + entry->begin, entry->count);
	}
	if (skips > 0)
		lw_log(LW_LOG_INFO, "%s: %zu tensor%s of whole numbers left out, the last is '%s'", file->path, skips,
		       skips == 1 ? "" : "s", skipped);
	return LW_OK;
}

lw_status lw_safetensors_parse(lw_tensors **tensors, const char *path, const void *data, size_t size)
{
	struct file file = {.path = path};
	const struct entry **order = NULL;
	lw_tensors *fresh = NULL;
	lw_status status;

	*tensors = NULL;
	LW_GO(lw_tensors_create(&fresh));
	LW_GO(parse_header(&file, data, size));
	LW_GO(parse_entries(&file, fresh));
	LW_GO(lw_alloc(&order, file.count, sizeof(*order)));
	LW_GO(check_coverage(&file, order));
	LW_GO(take_values(&file, fresh));
	*tensors = fresh;
	fresh = NULL;
out:
	free(order);
	free(file.entries);
	json_decref(file.header);
	lw_tensors_destroy(&fresh);
	return status;
}

lw_status lw_tensors_read(lw_tensors **tensors, const char *path)
{
	void *data = NULL;
	size_t size;
	lw_status status;

	*tensors = NULL;
	LW_TRY(lw_file_read(path, &data, &size));
	status = lw_safetensors_parse(tensors, path, data, size);
	free(data);
	return status;
}

/* {"dtype":"F32","shape":[..],"data_offsets":[begin,end]}; NULL where memory is out. */
static json_t *describe(const lw_tensor *tensor, size_t begin)
{
	json_t *shape = json_array();
	bool failed = !shape;

	for (int i = 0; i < tensor->rank && !failed; i++)
		failed = json_array_append_new(shape, json_integer(tensor->dims[i])) != 0;
	if (failed) {
		json_decref(shape);
		return NULL;
	}
	return json_pack("{s:s, s:o, s:[I, I]}", "dtype", "F32", "shape", shape, "data_offsets", (json_int_t)begin,
			 (json_int_t)(begin + tensor->count * sizeof(float)));
}

/* The header's JSON text, the caller's to free; NULL where memory is out. */
static char *make_header(const lw_tensors *tensors)
{
	json_t *header = json_object();
	bool failed = !header;
	char *text = NULL;
	size_t begin = 0;

	if (!failed && json_object_size(tensors->metadata) > 0)
		failed = json_object_set(header, "__metadata__", tensors->metadata) != 0;
	for (size_t i = 0; i < tensors->count && !failed; i++) {
		const lw_tensor *tensor = &tensors->list[i];

		failed = json_object_set_new(header, tensor->name, describe(tensor, begin)) != 0;
		begin += tensor->count * sizeof(float);
	}
	if (!failed)
		text = json_dumps(header, JSON_COMPACT);
	json_decref(header);
	return text;
}

static lw_status write_header(lw_file *file, const char *path, const lw_tensors *tensors)
{
	static const char padding[ALIGNMENT] = {' ', ' ', ' ', ' ', ' ', ' ', ' ', ' '};
	char *text = make_header(tensors);
	size_t size, padded;
	uint8_t length[LENGTH_BYTES];
	lw_status status;

	if (!text)
		return lw_fail(LW_E_MEMORY, "%s: out of memory for the header", path);
	size = strlen(text);
	padded = lw_round_up(size, ALIGNMENT);
	if (padded > MAX_HEADER) {
		status = lw_fail(LW_E_ARGUMENT, "%s: the header would have %zu bytes, the format allows %d", path,
				 padded, MAX_HEADER);
		goto out;
	}
	for (int i = 0; i < LENGTH_BYTES; i++)
		length[i] = (uint8_t)((uint64_t)padded >> 8 * i);
	LW_GO(lw_file_write(file, length, sizeof(length)));
	LW_GO(lw_file_write(file, text, size));
	LW_GO(lw_file_write(file, padding, padded - size));
out:
	free(text);
	return status;
}

static lw_status write_values(lw_file *file, const lw_tensor *tensor)
{
	enum { PART = 16384 };
	uint8_t bytes[PART * sizeof(float)];

	for (size_t done = 0; done < tensor->count;) {
		size_t part = tensor->count - done < PART ? tensor->count - done : PART;

		lw_floats_to_bytes(bytes, tensor->values + done, part);
		LW_TRY(lw_file_write(file, bytes, part * sizeof(float)));
		done += part;
	}
	return LW_OK;
}

lw_status lw_tensors_write(const lw_tensors *tensors, const char *path)
{
	lw_file *file = NULL;
	lw_status status;

	LW_TRY(lw_file_begin_output(&file, path, 0644));
	LW_GO(write_header(file, path, tensors));
	for (size_t i = 0; i < tensors->count; i++)
		LW_GO(write_values(file, &tensors->list[i]));
	status = lw_file_commit(&file);
out:
	lw_file_abandon(&file);
	return status;
}
