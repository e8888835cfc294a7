/* The functions of cl/common.cl in C: the same steps, so the same bits (with -ffp-contract=off). */
#ifndef LW_TESTS_OP_REFERENCE_MATH_H
#define LW_TESTS_OP_REFERENCE_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline float lw_ref_as_float(uint32_t bits)
{
	float value;

	memcpy(&value, &bits, sizeof value);
	return value;
}

static inline uint32_t lw_ref_as_uint(float value)
{
	uint32_t bits;

	memcpy(&bits, &value, sizeof bits);
	return bits;
}

static inline float lw_ref_exp(float x)
{
	float n, high, r, low, y, p = 1.98412698e-4f;
	int whole, first;

	x = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
	n = rintf(x * 1.44269504f);
	high = fmaf(n, -0.693145752f, x);
	r = fmaf(n, -1.42860677e-6f, high);
	low = fmaf(n, -1.42860677e-6f, high - r);
	p = fmaf(p, r, 1.38888889e-3f);
	p = fmaf(p, r, 8.33333333e-3f);
	p = fmaf(p, r, 4.16666667e-2f);
	p = fmaf(p, r, 1.66666667e-1f);
	p = fmaf(p, r, 0.5f);
	y = r + fmaf(p * r, r, low) + 1.0f;
	whole = isnan(x) ? 0 : (int)n;
	first = whole / 2;
	return y * lw_ref_as_float((uint32_t)(first + 127) << 23) * lw_ref_as_float((uint32_t)(whole - first + 127) << 23);
}

static inline float lw_ref_log(float x)
{
	int e = 0, bits;
	float m, f, s, z, half_square, p = 0.15384615f;

	if (isnan(x) || x < 0.0f)
		return NAN;
	if (x == 0.0f)
		return -INFINITY;
	if (isinf(x))
		return x;
	if (x < 1.17549435e-38f) {
		x = x * 8388608.0f;
		e = -23;
	}
	bits = (int)lw_ref_as_uint(x) - 0x3f3504f3;
	e += bits >> 23;
	m = lw_ref_as_float((uint32_t)((bits & 0x007fffff) + 0x3f3504f3));
	f = m - 1.0f;
	s = f / (2.0f + f);
	z = s * s;
	p = fmaf(p, z, 0.18181818f);
	p = fmaf(p, z, 0.22222222f);
	p = fmaf(p, z, 0.28571429f);
	p = fmaf(p, z, 0.4f);
	p = fmaf(p, z, 0.66666667f);
	half_square = 0.5f * f * f;
	z = fmaf(s, fmaf(z, p, half_square), (float)e * 1.42860677e-6f);
	return (float)e * 0.693145752f + (f - (half_square - z));
}

static inline float lw_ref_sigmoid(float x)
{
	const float e = lw_ref_exp(-fabsf(x));

	return (x >= 0.0f ? 1.0f : e) / (1.0f + e);
}

static inline float lw_ref_tanh(float x)
{
	const float a = fabsf(x), z = x * x;
	float p = -5.70498872745e-3f, near, far;

	p = fmaf(p, z, 2.06390887954e-2f);
	p = fmaf(p, z, -5.37397155531e-2f);
	p = fmaf(p, z, 1.33314422036e-1f);
	p = fmaf(p, z, -3.33332819422e-1f);
	near = fmaf(a * z, p, a);
	far = 1.0f - 2.0f / (lw_ref_exp(2.0f * a) + 1.0f);
	return copysignf(a < 0.625f ? near : far, x);
}

#endif
