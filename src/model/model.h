/* model: tensors in files, and a net's parameters from and to them. */
#ifndef LW_MODEL_MODEL_H
#define LW_MODEL_MODEL_H

#include "base/base.h"
#include <jansson.h>
#include <layerwise/model.h>

typedef struct lw_tensor {
	char *name;
	int rank;
	int64_t dims[8];
	size_t count;
	float *values;
} lw_tensor;

/* Both lookups are jansson's objects: hash tables that keep their order and are what the file's header is made of. */
struct lw_tensors {
	lw_tensor *list;
	size_t count, capacity;
	json_t *index;	  /* name -> position in list */
	json_t *metadata; /* key -> string */
};

enum { LW_TENSOR_MAX_RANK = 8 };

/* As lw_tensors_add, but the values are left zero, for the caller to fill. */
lw_status lw_tensors_reserve(lw_tensors *tensors, const char *name, const int64_t *dims, int rank, float **values);
/* The position of a name; false where there is none. */
bool lw_tensors_position(const lw_tensors *tensors, const char *name, size_t *position);
/* "[64, 3, 3, 3]" */
const char *lw_shape_text(char buffer[200], const int64_t *dims, int rank);
/* The product of the dims; false where one is negative or the product overflows. */
bool lw_shape_count(const int64_t *dims, int rank, size_t *count);

/* Parses a whole safetensors file in memory; path is for messages. */
lw_status lw_safetensors_parse(lw_tensors **tensors, const char *path, const void *data, size_t size);

/* An element type of the format. Types without convert are known but not read as float. */
typedef struct lw_dtype {
	const char *name;
	size_t size;
	void (*convert)(float *values, const uint8_t *bytes, size_t count);
} lw_dtype;

/* NULL where the name is not known */
const lw_dtype *lw_dtype_find(const char *name);
/* Floats to little-endian bytes. */
void lw_floats_to_bytes(uint8_t *bytes, const float *values, size_t count);

#endif
