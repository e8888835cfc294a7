/* Element types of safetensors and their exact conversion to float. The file is little-endian, whatever the host is. */
#include "model/model.h"
#include <string.h>

static uint16_t get16(const uint8_t *bytes) { return (uint16_t)(bytes[0] | bytes[1] << 8); }

static uint32_t get32(const uint8_t *bytes) { return get16(bytes) | (uint32_t)get16(bytes + 2) << 16; }

static uint64_t get64(const uint8_t *bytes) { return get32(bytes) | (uint64_t)get32(bytes + 4) << 32; }

/* Bits are moved, not values: a NaN keeps its payload. */
static void from_f32(float *values, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits = get32(bytes + 4 * i);

		memcpy(values + i, &bits, sizeof(bits));
	}
}

static void from_bf16(float *values, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits = (uint32_t)get16(bytes + 2 * i) << 16;

		memcpy(values + i, &bits, sizeof(bits));
	}
}

static uint32_t half_to_bits(uint16_t half)
{
	uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;

	if (exponent == 31) /* infinity and NaN */
		return sign | 0x7f800000 | fraction << 13;
	if (exponent > 0)
		return sign | (exponent + 112) << 23 | fraction << 13;
	if (fraction == 0)
		return sign;
	/* A denormal: every half is a normal float. Shift until the leading bit stands where it is implied. */
	for (exponent = 113; !(fraction & 0x400); exponent--)
		fraction <<= 1;
	return sign | exponent << 23 | (fraction & 0x3ff) << 13;
}

static void from_f16(float *values, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits = half_to_bits(get16(bytes + 2 * i));

		memcpy(values + i, &bits, sizeof(bits));
	}
}

/* Rounded to nearest, as C converts. */
static void from_f64(float *values, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint64_t bits = get64(bytes + 8 * i);
		double value;

		memcpy(&value, &bits, sizeof(value));
		values[i] = (float)value;
	}
}

void lw_floats_to_bytes(uint8_t *bytes, const float *values, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, values + i, sizeof(bits));
		for (int k = 0; k < 4; k++)
			bytes[4 * i + (size_t)k] = (uint8_t)(bits >> 8 * k);
	}
}

const lw_dtype *lw_dtype_find(const char *name)
{
	static const lw_dtype types[] = {
		{"F32", 4, from_f32}, {"F16", 2, from_f16}, {"BF16", 2, from_bf16}, {"F64", 8, from_f64},
		{"I64", 8, NULL},     {"I32", 4, NULL},	    {"I16", 2, NULL},	    {"I8", 1, NULL},
		{"U64", 8, NULL},     {"U32", 4, NULL},	    {"U16", 2, NULL},	    {"U8", 1, NULL},
		{"BOOL", 1, NULL},
	};

	for (size_t i = 0; i < LW_COUNT(types); i++)
		if (strcmp(types[i].name, name) == 0)
			return &types[i];
	return NULL;
}
