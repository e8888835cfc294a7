/* A set of named float tensors with string metadata. */
#include "model/model.h"
#include <stdlib.h>
#include <string.h>

lw_status lw_tensors_create(lw_tensors **tensors)
{
	lw_tensors *fresh;

	*tensors = NULL;
	LW_TRY(lw_alloc(&fresh, 1, sizeof(*fresh)));
	fresh->index = json_object();
	fresh->metadata = json_object();
	if (!fresh->index || !fresh->metadata) {
		lw_tensors_destroy(&fresh);
		return lw_fail(LW_E_MEMORY, "out of memory for a set of tensors");
	}
	*tensors = fresh;
	return LW_OK;
}

void lw_tensors_destroy(lw_tensors **tensors)
{
	lw_tensors *old = tensors ? *tensors : NULL;

	if (!old)
		return;
	for (size_t i = 0; i < old->count; i++) {
		free(old->list[i].name);
		free(old->list[i].values);
	}
	free(old->list);
	json_decref(old->index);
	json_decref(old->metadata);
	free(old);
	*tensors = NULL;
}

bool lw_shape_count(const int64_t *dims, int rank, size_t *count)
{
	*count = 1;
	for (int i = 0; i < rank; i++)
		if (dims[i] < 0 || (uint64_t)dims[i] > SIZE_MAX || !lw_mul_size(*count, (size_t)dims[i], count))
			return false;
	return true;
}

const char *lw_shape_text(char buffer[200], const int64_t *dims, int rank)
{
	int length = snprintf(buffer, 200, "[");

	for (int i = 0; i < rank && length < 180; i++)
		length += snprintf(buffer + length, 200 - (size_t)length, "%s%lld", i > 0 ? ", " : "",
				   (long long)dims[i]);
	snprintf(buffer + length, 200 - (size_t)length, "]");
	return buffer;
}

lw_status lw_tensors_reserve(lw_tensors *tensors, const char *name, const int64_t *dims, int rank, float **values)
{
	lw_tensor tensor = {.rank = rank};
	lw_status status;

	if (strcmp(name, "__metadata__") == 0)
		return lw_fail(LW_E_ARGUMENT, "tensor '%s': the name is kept for metadata", name);
	if (rank < 0 || rank > LW_TENSOR_MAX_RANK)
		return lw_fail(LW_E_ARGUMENT, "tensor '%s': rank %d, expected 0 to %d", name, rank, LW_TENSOR_MAX_RANK);
	if (!lw_shape_count(dims, rank, &tensor.count))
		return lw_fail(LW_E_ARGUMENT, "tensor '%s': its shape is negative or too large", name);
	if (json_object_get(tensors->index, name))
		return lw_fail(LW_E_ARGUMENT, "tensor '%s' is there already", name);
	if (rank > 0)
		memcpy(tensor.dims, dims, (size_t)rank * sizeof(*dims));
	LW_TRY(lw_grow(&tensors->list, &tensors->capacity, tensors->count + 1, sizeof(*tensors->list)));
	LW_GO(lw_copy_string(&tensor.name, name));
	LW_GO(lw_alloc(&tensor.values, tensor.count, sizeof(float)));
	if (json_object_set_new(tensors->index, name, json_integer((json_int_t)tensors->count)) != 0) {
		status = lw_fail(LW_E_ARGUMENT, "tensor '%s': the name is not UTF-8, or there is no memory for it",
				 name);
		goto out;
	}
	tensors->list[tensors->count++] = tensor;
	*values = tensor.values;
	return LW_OK;
out:
	free(tensor.name);
	free(tensor.values);
	return status;
}

lw_status lw_tensors_add(lw_tensors *tensors, const char *name, const int64_t *dims, int rank, const float *values)
{
	float *copy;

	LW_TRY(lw_tensors_reserve(tensors, name, dims, rank, &copy));
	size_t count = tensors->list[tensors->count - 1].count;

	if (count > 0)
		memcpy(copy, values, count * sizeof(float));
	return LW_OK;
}

size_t lw_tensors_count(const lw_tensors *tensors) { return tensors->count; }

lw_status lw_tensors_at(const lw_tensors *tensors, size_t index, lw_tensor_info *info)
{
	if (index >= tensors->count)
		return lw_fail(LW_E_ARGUMENT, "tensor %zu asked for, but the set has %zu", index, tensors->count);
	const lw_tensor *tensor = &tensors->list[index];

	*info = (lw_tensor_info){
		.name = tensor->name, .rank = tensor->rank, .count = tensor->count, .values = tensor->values};
	memcpy(info->dims, tensor->dims, sizeof(info->dims));
	return LW_OK;
}

bool lw_tensors_position(const lw_tensors *tensors, const char *name, size_t *position)
{
	const json_t *found = json_object_get(tensors->index, name);

	if (found)
		*position = (size_t)json_integer_value(found);
	return found != NULL;
}

bool lw_tensors_find(const lw_tensors *tensors, const char *name, lw_tensor_info *info)
{
	size_t position;

	return lw_tensors_position(tensors, name, &position) && lw_tensors_at(tensors, position, info) == LW_OK;
}

lw_status lw_tensors_set_metadata(lw_tensors *tensors, const char *key, const char *value)
{
	if (json_object_set_new(tensors->metadata, key, json_string(value)) != 0)
		return lw_fail(LW_E_ARGUMENT, "metadata '%s': the text is not UTF-8, or there is no memory for it",
			       key);
	return LW_OK;
}

const char *lw_tensors_get_metadata(const lw_tensors *tensors, const char *key)
{
	return json_string_value(json_object_get(tensors->metadata, key));
}
