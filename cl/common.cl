/*
 * common.cl: in front of every kernel. The arithmetic that has the same bits on every device.
 *
 * The idiom: a sum or product is rounded where it is written and fused where fma() is written, nowhere else; no
 * built-in exp, log, pow, tanh, rsqrt, mad, native_ or half_; division and square root by LW_DIV and LW_SQRT.
 * LW_DIV and LW_SQRT come for float, float4, float8 and float16, the functions after them for float.
 *
 * LW_CORRECTLY_ROUNDED  1: the program is built with correctly rounded divide and sqrt
 * LW_FP64               1: the device has double
 * LW_FAST_FMA           1: fma() is an instruction
 * LW_DEVICE_CPU         1: the device is a CPU
 */
#pragma OPENCL FP_CONTRACT OFF

#ifndef LW_CORRECTLY_ROUNDED
#define LW_CORRECTLY_ROUNDED 0
#endif
#ifndef LW_FP64
#define LW_FP64 0
#endif
#ifndef LW_FAST_FMA
#define LW_FAST_FMA 0
#endif
#ifndef LW_DEVICE_CPU
#define LW_DEVICE_CPU 0
#endif
#if LW_FP64 && !LW_CORRECTLY_ROUNDED
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

#define LW_JOIN_(a, b) a##b
#define LW_JOIN(a, b) LW_JOIN_(a, b)

/* A hint that what p points to is soon read, for compilers to a processor's own code: an interpreter of SPIR may not know it. */
#define LW_AHEAD(p) (void)(p);
#if LW_DEVICE_CPU && defined(__has_builtin) && !defined(__SPIR__) && !defined(__SPIR64__)
#if __has_builtin(__builtin_prefetch)
#undef LW_AHEAD
#define LW_AHEAD(p) __builtin_prefetch(p, 0, 2);
#endif
#endif

/* Floats from what is read now to what LW_AHEAD asks for, where memory is walked through in order. */
#define LW_DISTANCE 512

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
#define LW_STORE1(v, p) (*(p) = (v))
#if LW_DEVICE_CPU && defined(__clang__) && !defined(__SPIR__) && !defined(__SPIR64__)
/* PoCL's vload and vstore go through halves of halves, in which its compiler may then compute: here vectors that may lie anywhere. */
#define LW_DEFINE_ACCESS(space, T, width)                                                                              \
	static inline T##width __attribute__((overloadable)) lw_load_##width(space const T *p)                         \
	{                                                                                                              \
		return *(space const lw_##T##width *)p;                                                                \
	}                                                                                                              \
	static inline void __attribute__((overloadable)) lw_store_##width(T##width v, space T *p)                      \
	{                                                                                                              \
		*(space lw_##T##width *)p = v;                                                                         \
	}
#define LW_DEFINE_ACCESSES(T, width)                                                                                   \
	typedef T lw_##T##width __attribute__((ext_vector_type(width), aligned(4)));                                   \
	LW_DEFINE_ACCESS(__global, T, width)                                                                           \
	LW_DEFINE_ACCESS(__local, T, width)                                                                            \
	LW_DEFINE_ACCESS(__private, T, width)
LW_DEFINE_ACCESSES(float, 4)
LW_DEFINE_ACCESSES(float, 8)
LW_DEFINE_ACCESSES(float, 16)
LW_DEFINE_ACCESSES(int, 4)
LW_DEFINE_ACCESSES(int, 8)
LW_DEFINE_ACCESSES(int, 16)
#define LW_LOAD4(p) lw_load_4(p)
#define LW_LOAD8(p) lw_load_8(p)
#define LW_LOAD16(p) lw_load_16(p)
#define LW_STORE4(v, p) lw_store_4(v, p)
#define LW_STORE8(v, p) lw_store_8(v, p)
#define LW_STORE16(v, p) lw_store_16(v, p)
#else
#define LW_LOAD4(p) vload4(0, p)
#define LW_LOAD8(p) vload8(0, p)
#define LW_LOAD16(p) vload16(0, p)
#define LW_STORE4(v, p) vstore4(v, 0, p)
#define LW_STORE8(v, p) vstore8(v, 0, p)
#define LW_STORE16(v, p) vstore16(v, 0, p)
#endif
/* An unaligned vector of `width` floats (or ints, by the type of p) from or to p. */
#define LW_LOAD(width, p) LW_JOIN(LW_LOAD, width)(p)
#define LW_STORE(width, v, p) LW_JOIN(LW_STORE, width)(v, p)

/*
 * LW_STREAM(stream, width, v, p): as LW_STORE; where `stream` (a constant) is not 0 the address is a multiple of the
 * vector's size, and what is written is more than caches hold: it goes around them where the compiler knows how.
 */
#if defined(__has_builtin)
#if __has_builtin(__builtin_nontemporal_store)
#define LW_STREAM1(width, v, p) __builtin_nontemporal_store(v, (__global LW_FLOAT(width) *)(p))
#endif
#endif
#ifndef LW_STREAM1
#define LW_STREAM1(width, v, p) LW_STORE(width, v, p)
#endif
#define LW_STREAM0(width, v, p) LW_STORE(width, v, p)
#define LW_STREAM(stream, width, v, p) LW_JOIN(LW_STREAM, stream)(width, v, p)

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
 * What ends every chain of fma: sum + LW_ZERO(size), size being any number above 0 that the compiler does not know. A sum
 * of 0 is then +0 also where an emulated fma(0, -1, 0) is -0, as in Mesa; a constant 0 would be optimised away.
 */
#define LW_ZERO(size) as_float(min(size, 0))

/*
 * Declares `sum`, of type T: of the batch's parts, PART(part) being one's. Those of a slice are added in order, and slices,
 * 1, 2 or 4 of as many parts each, as ((first + second) + (third + fourth)).
 */
#define LW_SUM_PARTS(T, sum, parts, slices, PART)                                                                      \
	T sum = PART(0), lw_even = sum, lw_pair = sum;                                                                 \
	for (int lw_slice = 0; lw_slice < slices; lw_slice++) {                                                        \
		const int lw_begin = (parts) / (slices) * lw_slice;                                                    \
		if (lw_slice)                                                                                          \
			sum = PART(lw_begin);                                                                          \
		for (int lw_part = lw_begin + 1; lw_part < lw_begin + (parts) / (slices); lw_part++)                   \
			sum = sum + PART(lw_part);                                                                     \
		if (lw_slice % 2) {                                                                                    \
			sum = lw_even + sum;                                                                           \
			if (lw_slice == 3)                                                                             \
				sum = lw_pair + sum;                                                                   \
			lw_pair = sum;                                                                                 \
		} else {                                                                                               \
			lw_even = sum;                                                                                 \
		}                                                                                                      \
	}

/*
 * Division and square root, rounded to nearest, denormals included: as the device does it where that is promised, or where
 * the exact residual (fma) shows that it did; in double, rounded once, which is exact for float; else by the device's own quotient of the significands, at most a few
 * units off, moved to the right neighbour by its exact residual (fma).
 */
#if LW_CORRECTLY_ROUNDED
#define LW_DEFINE_DIV_SQRT(T, convert_double, convert_float, U, all)                                                   \
	static inline T LW_JOIN(lw_div_, T)(T a, T b) { return a / b; }                                                \
	static inline T LW_JOIN(lw_sqrt_, T)(T a) { return sqrt(a); }
LW_DEFINE_DIV_SQRT(float, , , , )
#elif LW_FP64 && LW_FAST_FMA
/* What the device makes of a / b and of the root of a; tests have worse ones. */
#ifndef LW_QUOTIENT
#define LW_QUOTIENT(T, U, a, b) ((a) / (b))
#define LW_ROOT(T, U, a) sqrt(a)
#endif
/*
 * A quotient q is the nearest where |a - qb| <= |b| * (half the distance of q to its lower neighbour), a root s where
 * |a - ss| < s * (that distance): there are no ties, and the residuals are exact away from the range's ends. `below` is 2^23 times the distance.
 */
#define LW_BELOW(T, U, q) LW_JOIN(as_, T)((LW_JOIN(as_, U)(q) - 1u) & 0x7f800000u)
#define LW_MAGNITUDE(U, a) (LW_JOIN(as_, U)(a) & 0x7fffffffu)
#define LW_IS_MODERATE(a) ((a) - 0x0e800000u < 0x62000000u)   /* 2^-98 to 2^98 */
#define LW_IS_NEAR_ONE(a) ((a) - 0x31800000u < 0x1c000000u) /* 2^-28 to 2^28 */
#define LW_DEFINE_DIV_SQRT(T, convert_double, convert_float, U, all)                                                   \
	static inline T LW_JOIN(lw_div_, T)(T a, T b)                                                                  \
	{                                                                                                              \
		const T q = LW_QUOTIENT(T, U, a, b), below = LW_BELOW(T, U, q);                                        \
		if (all(LW_IS_NEAR_ONE(LW_MAGNITUDE(U, b)) &                                                           \
			((a == 0.0f) | (LW_IS_MODERATE(LW_MAGNITUDE(U, a)) &                                            \
				       (fabs(fma(-q, b, a)) <= below * fabs(b) * 0x1p-24f)))))                         \
			return q;                                                                                      \
		return convert_float(convert_double(a) / convert_double(b));                                           \
	}                                                                                                              \
	static inline T LW_JOIN(lw_sqrt_, T)(T a)                                                                      \
	{                                                                                                              \
		const T s = LW_ROOT(T, U, a), below = LW_BELOW(T, U, s);                                               \
		if (all((a == 0.0f) |                                                                                   \
			(LW_IS_MODERATE(LW_JOIN(as_, U)(a)) & (fabs(fma(-s, s, a)) < s * below * 0x1p-23f))))          \
			return s;                                                                                      \
		return convert_float(sqrt(convert_double(a)));                                                         \
	}
#define LW_ALL_OF_ONE(x) (x)
LW_DEFINE_DIV_SQRT(float, convert_double, convert_float, uint, LW_ALL_OF_ONE)
#elif LW_FP64
#define LW_DEFINE_DIV_SQRT(T, convert_double, convert_float, U, all)                                                   \
	static inline T LW_JOIN(lw_div_, T)(T a, T b) { return convert_float(convert_double(a) / convert_double(b)); } \
	static inline T LW_JOIN(lw_sqrt_, T)(T a) { return convert_float(sqrt(convert_double(a))); }
LW_DEFINE_DIV_SQRT(float, convert_double, convert_float, , )
#else
/* Significand in [1, 2) and exponent of a positive finite float's bits. */
static inline float lw_significand(uint bits, int *exponent)
{
	const int shift = bits < 0x00800000u ? (int)clz(bits) - 8 : 0;
	bits <<= shift;
	*exponent = (int)(bits >> 23) - 127 + (shift ? 1 - shift - (int)(bits >> 23) : 0);
	return as_float((bits & 0x007fffffu) | 0x3f800000u);
}

/* q * 2^exponent, q in [1/2, 2] being a rounded quotient; residual has the sign of what the rounding took away. */
static inline uint lw_scaled_bits(float q, int exponent, float residual)
{
	const uint bits = as_uint(q), significand = (bits & 0x007fffffu) | 0x00800000u;
	const int biased = (int)(bits >> 23) + exponent;
	if (biased > 254)
		return 0x7f800000u;
	if (biased > 0)
		return ((uint)biased << 23) | (bits & 0x007fffffu);
	const int shift = 1 - biased;
	if (shift > 24)
		return 0u;
	const uint keep = significand >> shift, rest = significand & ((1u << shift) - 1u), half_way = 1u << (shift - 1);
	const bool up = rest > half_way || (rest == half_way && (residual > 0.0f || (residual == 0.0f && (keep & 1u))));
	return keep + (up ? 1u : 0u);
}

static inline float lw_div_float(float a, float b)
{
	const uint sign = (as_uint(a) ^ as_uint(b)) & 0x80000000u, x = as_uint(a) & 0x7fffffffu, y = as_uint(b) & 0x7fffffffu;
	if (x > 0x7f800000u || y > 0x7f800000u || (x == 0u && y == 0u) || (x == 0x7f800000u && y == 0x7f800000u))
		return NAN;
	if (x == 0u || y == 0x7f800000u)
		return as_float(sign);
	if (y == 0u || x == 0x7f800000u)
		return as_float(sign | 0x7f800000u);
	int x_exponent, y_exponent;
	const float m = lw_significand(x, &x_exponent), n = lw_significand(y, &y_exponent);
	float q = m / n;
	q += fma(-q, n, m) / n;
	/* now q is next to the quotient on one side, and its residual is exact */
	float residual = fma(-q, n, m);
	const float above = q >= 1.0f ? 1.1920929e-7f : 5.9604645e-8f, below = q > 1.0f ? 1.1920929e-7f : 5.9604645e-8f;
	q += 2.0f * residual > n * above ? above : -2.0f * residual > n * below ? -below : 0.0f;
	residual = fma(-q, n, m);
	return as_float(sign | lw_scaled_bits(q, x_exponent - y_exponent, residual));
}

static inline float lw_sqrt_float(float a)
{
	const uint x = as_uint(a);
	if ((x & 0x7fffffffu) == 0u || x == 0x7f800000u)
		return a;
	if (x > 0x7f800000u)
		return NAN;
	int exponent;
	float m = lw_significand(x, &exponent);
	if (exponent & 1)
		m *= 2.0f;
	float s = sqrt(m);
	s += 0.5f * fma(-s, s, m) / s;
	const float residual = fma(-s, s, m), unit = 1.1920929e-7f;
	s += residual > s * unit ? unit : residual <= -s * unit ? -unit : 0.0f;
	return as_float(as_uint(s) + ((uint)((exponent - (exponent & 1)) / 2) << 23));
}

#define LW_DEFINE_DIV_SQRT(T, half_function, unused, U, all)                                                                   \
	static inline T LW_JOIN(lw_div_, T)(T a, T b)                                                                  \
	{                                                                                                              \
		return (T)(LW_JOIN(lw_div_, half_function)(a.lo, b.lo), LW_JOIN(lw_div_, half_function)(a.hi, b.hi));  \
	}                                                                                                              \
	static inline T LW_JOIN(lw_sqrt_, T)(T a)                                                                      \
	{                                                                                                              \
		return (T)(LW_JOIN(lw_sqrt_, half_function)(a.lo), LW_JOIN(lw_sqrt_, half_function)(a.hi));            \
	}
LW_DEFINE_DIV_SQRT(float2, float, , , )
#endif
#if LW_CORRECTLY_ROUNDED || LW_FP64
LW_DEFINE_DIV_SQRT(float4, convert_double4, convert_float4, uint4, all)
LW_DEFINE_DIV_SQRT(float8, convert_double8, convert_float8, uint8, all)
LW_DEFINE_DIV_SQRT(float16, convert_double16, convert_float16, uint16, all)
#else
LW_DEFINE_DIV_SQRT(float4, float2, , , )
LW_DEFINE_DIV_SQRT(float8, float4, , , )
LW_DEFINE_DIV_SQRT(float16, float8, , , )
#endif
/* LW_DIV(width, a, b), LW_SQRT(width, a) */
#define LW_DIV(width, a, b) LW_JOIN(lw_div_, LW_FLOAT(width))(a, b)
#define LW_SQRT(width, a) LW_JOIN(lw_sqrt_, LW_FLOAT(width))(a)

/*
 * e^x within 1 unit in the last place: x = n ln 2 + r, a polynomial in r, and 2^n in two steps so that denormals come out
 * right. No branches, so that compilers can work on several x at once; NaN goes through.
 */
static inline float lw_exp(float x)
{
	x = x > 89.0f ? 89.0f : x < -104.0f ? -104.0f : x;
	/* rounded by 1.5 * 2^23, whose last place is 1 */
	const float n = x * 1.44269504f + 12582912.0f - 12582912.0f;
	const float high = fma(n, -0.693145752f, x), r = fma(n, -1.42860677e-6f, high);
	const float low = fma(n, -1.42860677e-6f, high - r);
	float p = 1.98412698e-4f;
	p = fma(p, r, 1.38888889e-3f);
	p = fma(p, r, 8.33333333e-3f);
	p = fma(p, r, 4.16666667e-2f);
	p = fma(p, r, 1.66666667e-1f);
	p = fma(p, r, 0.5f);
	const float y = r + fma(p * r, r, low) + 1.0f;
	const int whole = isnan(x) ? 0 : (int)n, first = whole >> 1;
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
	/* log m = log(1+f) = f - f^2/2 + s (f^2/2 + s^2 p), s = f/(2+f), from 2 atanh(s): only small terms are rounded */
	const float f = m - 1.0f;
	const float s = lw_div_float(f, 2.0f + f);
	const float z = s * s;
	float p = 0.15384615f;
	p = fma(p, z, 0.18181818f);
	p = fma(p, z, 0.22222222f);
	p = fma(p, z, 0.28571429f);
	p = fma(p, z, 0.4f);
	p = fma(p, z, 0.66666667f);
	const float half_square = 0.5f * f * f;
	const float small = fma(s, fma(z, p, half_square), (float)e * 1.42860677e-6f);
	return (float)e * 0.693145752f + (f - (half_square - small));
}

/* within 2.5 units; lw_tanh within 1.5, lw_log within 1 */
static inline float lw_sigmoid(float x)
{
	const float e = lw_exp(-fabs(x));
	return lw_div_float(x >= 0.0f ? 1.0f : e, 1.0f + e);
}

/* An odd polynomial near 0, else by lw_exp; both are computed, so that there is no branch. */
static inline float lw_tanh(float x)
{
	const float a = fabs(x), z = x * x;
	float p = -5.70498872745e-3f;
	p = fma(p, z, 2.06390887954e-2f);
	p = fma(p, z, -5.37397155531e-2f);
	p = fma(p, z, 1.33314422036e-1f);
	p = fma(p, z, -3.33332819422e-1f);
	const float near = fma(a * z, p, a), far = 1.0f - lw_div_float(2.0f, lw_exp(2.0f * a) + 1.0f);
	return copysign(a < 0.625f ? near : far, x);
}

/* The same for vectors: LW_SIGMOID(width, x), LW_TANH(width, x) and LW_EXP(width, x). */
#define LW_DEFINE_VECTOR_MATH(T, I, convert_int)                                                                       \
	static inline T LW_JOIN(lw_exp_, T)(T x)                                                                       \
	{                                                                                                              \
		x = x > 89.0f ? (T)(89.0f) : x < -104.0f ? (T)(-104.0f) : x;                                           \
		const T n = x * 1.44269504f + 12582912.0f - 12582912.0f;                                               \
		const T high = fma(n, (T)(-0.693145752f), x), r = fma(n, (T)(-1.42860677e-6f), high);                  \
		const T low = fma(n, (T)(-1.42860677e-6f), high - r);                                                  \
		T p = (T)(1.98412698e-4f);                                                                             \
		p = fma(p, r, (T)(1.38888889e-3f));                                                                    \
		p = fma(p, r, (T)(8.33333333e-3f));                                                                    \
		p = fma(p, r, (T)(4.16666667e-2f));                                                                    \
		p = fma(p, r, (T)(1.66666667e-1f));                                                                    \
		p = fma(p, r, (T)(0.5f));                                                                              \
		const T y = r + fma(p * r, r, low) + 1.0f;                                                             \
		const I whole = convert_int(x == x ? n : (T)(0.0f)), first = whole >> 1;                               \
		return y * LW_JOIN(as_, T)((first + 127) << 23) * LW_JOIN(as_, T)((whole - first + 127) << 23);        \
	}                                                                                                              \
	static inline T LW_JOIN(lw_sigmoid_, T)(T x)                                                                   \
	{                                                                                                              \
		const T e = LW_JOIN(lw_exp_, T)(-fabs(x));                                                             \
		return LW_JOIN(lw_div_, T)(x >= 0.0f ? (T)(1.0f) : e, 1.0f + e);                                       \
	}                                                                                                              \
	static inline T LW_JOIN(lw_tanh_, T)(T x)                                                                      \
	{                                                                                                              \
		const T a = fabs(x), z = x * x;                                                                        \
		T p = (T)(-5.70498872745e-3f);                                                                         \
		p = fma(p, z, (T)(2.06390887954e-2f));                                                                 \
		p = fma(p, z, (T)(-5.37397155531e-2f));                                                                \
		p = fma(p, z, (T)(1.33314422036e-1f));                                                                 \
		p = fma(p, z, (T)(-3.33332819422e-1f));                                                                \
		const T near = fma(a * z, p, a);                                                                       \
		const T far = 1.0f - LW_JOIN(lw_div_, T)((T)(2.0f), LW_JOIN(lw_exp_, T)(2.0f * a) + 1.0f);             \
		return copysign(a < 0.625f ? near : far, x);                                                           \
	}
LW_DEFINE_VECTOR_MATH(float4, int4, convert_int4)
LW_DEFINE_VECTOR_MATH(float8, int8, convert_int8)
LW_DEFINE_VECTOR_MATH(float16, int16, convert_int16)
static inline float lw_exp_float(float x) { return lw_exp(x); }
static inline float lw_sigmoid_float(float x) { return lw_sigmoid(x); }
static inline float lw_tanh_float(float x) { return lw_tanh(x); }
#define LW_EXP(width, x) LW_JOIN(lw_exp_, LW_FLOAT(width))(x)
#define LW_SIGMOID(width, x) LW_JOIN(lw_sigmoid_, LW_FLOAT(width))(x)
#define LW_TANH(width, x) LW_JOIN(lw_tanh_, LW_FLOAT(width))(x)

/* Philox-2x32-10 (Salmon et al. 2011), as lw_random_bits on the host. */
static inline uint lw_random_bits(uint seed, uint stream, uint low, uint high)
{
	uint x = low, y = high ^ (stream * 0x9E3779B9u), key = seed ^ (stream * 0x85EBCA6Bu);
#pragma unroll
	for (int round = 0; round < 10; round++) {
		const ulong product = (ulong)x * 0xD256D193u;
		x = (uint)(product >> 32) ^ key ^ y;
		y = (uint)product;
		key += 0x9E3779B9u;
	}
	return x;
}

/* A round for eight counters at once; the high halves of x and y are never looked at. */
static inline void lw_random_round(ulong8 *x, ulong8 *y, uint key)
{
	const ulong8 product = (*x & 0xffffffffUL) * 0xD256D193UL;
	*x = (product >> 32) ^ (ulong8)((ulong)key) ^ *y;
	*y = product;
}

/* The same for the 32 counters low + (0, 1, .. 31): their rounds side by side, as each waits for the one before. */
static inline void lw_random_bits_32(uint seed, uint stream, ulong low, uint high, uint16 *first, uint16 *second)
{
	ulong8 a = (ulong8)(0, 1, 2, 3, 4, 5, 6, 7) + low, b = a + 8, c = a + 16, d = a + 24;
	ulong8 p = (ulong8)((ulong)(high ^ (stream * 0x9E3779B9u))), q = p, r = p, s = p;
	uint key = seed ^ (stream * 0x85EBCA6Bu);
#pragma unroll
	for (int round = 0; round < 10; round++) {
		lw_random_round(&a, &p, key);
		lw_random_round(&b, &q, key);
		lw_random_round(&c, &r, key);
		lw_random_round(&d, &s, key);
		key += 0x9E3779B9u;
	}
#define LW_LOW_HALVES(x) convert_uint8((x) & 0xffffffffUL)
	*first = (uint16)(LW_LOW_HALVES(a), LW_LOW_HALVES(b));
	*second = (uint16)(LW_LOW_HALVES(c), LW_LOW_HALVES(d));
}
