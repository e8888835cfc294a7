/*
 * common.cl: in front of every kernel. The arithmetic that has the same bits on every device.
 *
 * The idiom: a sum or product is rounded where it is written and fused where fma() is written, nowhere else; no
 * built-in exp, log, pow, tanh, rsqrt, mad, native_ or half_; division and square root by LW_DIV and LW_SQRT.
 * The functions below come for float and, with the width appended, for float4, float8, float16.
 *
 * LW_CORRECTLY_ROUNDED  1: the program is built with correctly rounded divide and sqrt
 * LW_FP64               1: the device has double; a double quotient or root rounded once to float is the correct float
 */
#pragma OPENCL FP_CONTRACT OFF

#ifndef LW_CORRECTLY_ROUNDED
#define LW_CORRECTLY_ROUNDED 0
#endif
#ifndef LW_FP64
#define LW_FP64 0
#endif
#ifndef LW_DEVICE_CPU
#define LW_DEVICE_CPU 0
#endif
#if LW_FP64 && !LW_CORRECTLY_ROUNDED
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define LW_JOIN_(a, b) a##b
#define LW_JOIN(a, b) LW_JOIN_(a, b)

/* float<width> as a type name: LW_FLOAT(1) is float. */
#define LW_FLOAT1 float
#define LW_FLOAT(width) LW_JOIN(LW_FLOAT, width)
#define LW_FLOAT4 float4
#define LW_FLOAT8 float8
#define LW_FLOAT16 float16
/* int<width> */
#define LW_INT(width) LW_JOIN(LW_INT, width)
#define LW_INT1 int
#define LW_INT4 int4
#define LW_INT8 int8
#define LW_INT16 int16
#define LW_LOAD1(p) (*(p))
#define LW_LOAD4(p) vload4(0, p)
#define LW_LOAD8(p) vload8(0, p)
#define LW_LOAD16(p) vload16(0, p)
#define LW_STORE1(v, p) (*(p) = (v))
#define LW_STORE4(v, p) vstore4(v, 0, p)
#define LW_STORE8(v, p) vstore8(v, 0, p)
#define LW_STORE16(v, p) vstore16(v, 0, p)
/* An unaligned vector of `width` floats (or ints, by the type of p) from or to p. */
#define LW_LOAD(width, p) LW_JOIN(LW_LOAD, width)(p)
#define LW_STORE(width, v, p) LW_JOIN(LW_STORE, width)(v, p)

/* LW_LOAD_PART(width, p, count), LW_STORE_PART(width, v, p, count): only the first `count` floats, the rest 0. For tails. */
#define LW_DEFINE_PART(width)                                                                                          \
	static inline LW_FLOAT(width) LW_JOIN(lw_load_part_, width)(__global const float *p, int count)                \
	{                                                                                                              \
		float part[width];                                                                                     \
		for (int i = 0; i < width; i++)                                                                        \
			part[i] = i < count ? p[i] : 0.0f;                                                             \
		return LW_LOAD(width, part);                                                                           \
	}                                                                                                              \
	static inline void LW_JOIN(lw_store_part_, width)(LW_FLOAT(width) v, __global float *p, int count)             \
	{                                                                                                              \
		float part[width];                                                                                     \
		LW_STORE(width, v, part);                                                                              \
		for (int i = 0; i < width && i < count; i++)                                                           \
			p[i] = part[i];                                                                                \
	}
LW_DEFINE_PART(1)
LW_DEFINE_PART(4)
LW_DEFINE_PART(8)
LW_DEFINE_PART(16)
#define LW_LOAD_PART(width, p, count) LW_JOIN(lw_load_part_, width)(p, count)
#define LW_STORE_PART(width, v, p, count) LW_JOIN(lw_store_part_, width)(v, p, count)

/*
 * LW_EACH(n, F) is F(0) F(1) .. F(n-1), n up to 16: register tiles are written with it, because accumulators in a
 * private array leave the registers on some compilers.
 */
#define LW_EACH1(F) F(0)
#define LW_EACH2(F) LW_EACH1(F) F(1)
#define LW_EACH3(F) LW_EACH2(F) F(2)
#define LW_EACH4(F) LW_EACH3(F) F(3)
#define LW_EACH5(F) LW_EACH4(F) F(4)
#define LW_EACH6(F) LW_EACH5(F) F(5)
#define LW_EACH7(F) LW_EACH6(F) F(6)
#define LW_EACH8(F) LW_EACH7(F) F(7)
#define LW_EACH9(F) LW_EACH8(F) F(8)
#define LW_EACH10(F) LW_EACH9(F) F(9)
#define LW_EACH11(F) LW_EACH10(F) F(10)
#define LW_EACH12(F) LW_EACH11(F) F(11)
#define LW_EACH13(F) LW_EACH12(F) F(12)
#define LW_EACH14(F) LW_EACH13(F) F(13)
#define LW_EACH15(F) LW_EACH14(F) F(14)
#define LW_EACH16(F) LW_EACH15(F) F(15)
#define LW_EACH(n, F) LW_JOIN(LW_EACH, n)(F)

/*
 * Division and square root, rounded to nearest. Without hardware or double help, one step on the exact residual
 * (fma) corrects the device's own result, which is at most a few units off (Markstein 1990).
 */
#if LW_CORRECTLY_ROUNDED
#define LW_DEFINE_DIV_SQRT(T, D, convert_double, convert_float)                                                        \
	static inline T LW_JOIN(lw_div_, T)(T a, T b) { return a / b; }                                                       \
	static inline T LW_JOIN(lw_sqrt_, T)(T a) { return sqrt(a); }
#elif LW_FP64
#define LW_DEFINE_DIV_SQRT(T, D, convert_double, convert_float)                                                        \
	static inline T LW_JOIN(lw_div_, T)(T a, T b) { return convert_float(convert_double(a) / convert_double(b)); }        \
	static inline T LW_JOIN(lw_sqrt_, T)(T a) { return convert_float(sqrt(convert_double(a))); }
#else
#define LW_DEFINE_DIV_SQRT(T, D, convert_double, convert_float)                                                        \
	static inline T LW_JOIN(lw_div_, T)(T a, T b)                                                                         \
	{                                                                                                              \
		const T q = a / b;                                                                                     \
		const T corrected = fma(fma(-q, b, a), 1.0f / b, q);                                                   \
		return isfinite(q) && isfinite(b) && isfinite(1.0f / b) ? corrected : q;                               \
	}                                                                                                              \
	static inline T LW_JOIN(lw_sqrt_, T)(T a)                                                                             \
	{                                                                                                              \
		const T s = sqrt(a);                                                                                   \
		const T corrected = fma(fma(-s, s, a), 0.5f / s, s);                                                   \
		return a > 0.0f && isfinite(a) ? corrected : s;                                                        \
	}
#endif
LW_DEFINE_DIV_SQRT(float, double, convert_double, convert_float)
LW_DEFINE_DIV_SQRT(float4, double4, convert_double4, convert_float4)
LW_DEFINE_DIV_SQRT(float8, double8, convert_double8, convert_float8)
LW_DEFINE_DIV_SQRT(float16, double16, convert_double16, convert_float16)
/* LW_DIV(width, a, b), LW_SQRT(width, a) */
#define LW_DIV(width, a, b) LW_JOIN(lw_div_, LW_FLOAT(width))(a, b)
#define LW_SQRT(width, a) LW_JOIN(lw_sqrt_, LW_FLOAT(width))(a)

/* e^x within 1 unit in the last place: x = n ln 2 + r, a polynomial in r, and 2^n in two steps so that denormals come out right. */
static inline float lw_exp(float x)
{
	if (isnan(x))
		return x;
	if (x > 88.7228394f)
		return INFINITY;
	if (x < -103.972084f)
		return 0.0f;
	const float n = rint(x * 1.44269504f);
	float r = fma(n, -0.693145752f, x);
	r = fma(n, -1.42860677e-6f, r);
	float p = 1.98412698e-4f;
	p = fma(p, r, 1.38888889e-3f);
	p = fma(p, r, 8.33333333e-3f);
	p = fma(p, r, 4.16666667e-2f);
	p = fma(p, r, 1.66666667e-1f);
	p = fma(p, r, 0.5f);
	const float y = fma(p * r, r, r) + 1.0f;
	const int whole = (int)n, first = whole / 2;
	return y * as_float((first + 127) << 23) * as_float((whole - first + 127) << 23);
}

/* Natural logarithm of a positive normal or denormal x; log 0 = -infinity, of a negative number NaN. x = 2^e m, m in [sqrt 1/2, sqrt 2). */
static inline float lw_log(float x)
{
	if (isnan(x) || x < 0.0f)
		return NAN;
	if (x == 0.0f)
		return -INFINITY;
	if (isinf(x))
		return x;
	int e = 0;
	if (x < 1.17549435e-38f) {
		x = x * 8388608.0f;
		e = -23;
	}
	int bits = as_int(x) - 0x3f3504f3;
	e += bits >> 23;
	const float m = as_float((bits & 0x007fffff) + 0x3f3504f3);
	/* log m = 2 atanh(s), s = (m-1)/(m+1) */
	const float f = m - 1.0f;
	const float s = lw_div_float(f, 2.0f + f);
	const float z = s * s;
	float p = 0.15384615f;
	p = fma(p, z, 0.18181818f);
	p = fma(p, z, 0.22222222f);
	p = fma(p, z, 0.28571429f);
	p = fma(p, z, 0.4f);
	p = fma(p, z, 0.66666667f);
	const float tail = s * z * p;
	const float high = (float)e * 0.693145752f;
	return high + (fma((float)e, 1.42860677e-6f, tail) + 2.0f * s);
}

static inline float lw_sigmoid(float x)
{
	const float e = lw_exp(-fabs(x));
	const float q = lw_div_float(1.0f, 1.0f + e);
	return x >= 0.0f ? q : e * q;
}

static inline float lw_tanh(float x)
{
	const float a = fabs(x);
	if (a < 0.625f) {
		const float z = x * x;
		float p = -5.70498872745e-3f;
		p = fma(p, z, 2.06390887954e-2f);
		p = fma(p, z, -5.37397155531e-2f);
		p = fma(p, z, 1.33314422036e-1f);
		p = fma(p, z, -3.33332819422e-1f);
		return fma(x * z, p, x);
	}
	if (isnan(x))
		return x;
	const float t = 1.0f - lw_div_float(2.0f, lw_exp(2.0f * a) + 1.0f);
	return copysign(t, x);
}

/* Philox-2x32-10 (Salmon et al. 2011), as lw_random_bits on the host. */
static inline uint lw_random_bits(uint seed, uint stream, uint low, uint high)
{
	uint x = low, y = high ^ (stream * 0x9E3779B9u), key = seed ^ (stream * 0x85EBCA6Bu);
	for (int round = 0; round < 10; round++) {
		const uint hi = mul_hi(x, 0xD256D193u), lo = x * 0xD256D193u;
		x = hi ^ key ^ y;
		y = lo;
		key += 0x9E3779B9u;
	}
	return x;
}
