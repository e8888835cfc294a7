/* The arithmetic of cl/common.cl on the device: against C bit for bit, in every way that the device can divide. */
#include "op/runner.h"
#include "op/reference_math.h"
#include "kernel/kernel.h"

#include <float.h>
#include <stdlib.h>
#include <string.h>

static const char kernel_text[] =
	"__kernel void apply(__global const float *a, __global const float *b, __global float *to, int which, int count)\n"
	"{\n"
	"	const int i = get_global_id(0);\n"
	"	if (i >= count)\n"
	"		return;\n"
	"	const float x = a[i], y = b[i];\n"
	"	float r = 0.0f;\n"
	"	switch (which) {\n"
	"	case 0: r = lw_div_float(x, y); break;\n"
	"	case 1: r = lw_sqrt_float(x); break;\n"
	"	case 2: { const float16 v = LW_DIV(16, (float16)(x), (float16)(y)); r = v.s9; break; }\n"
	"	case 3: { const float8 v = LW_SQRT(8, (float8)(x)); r = v.s5; break; }\n"
	"	case 4: { const float4 v = LW_DIV(4, (float4)(x), (float4)(y)); r = v.s2; break; }\n"
	"	case 5: r = lw_exp(x); break;\n"
	"	case 6: r = lw_log(x); break;\n"
	"	case 7: r = lw_sigmoid(x); break;\n"
	"	case 8: r = lw_tanh(x); break;\n"
	"	case 9: r = fma(x, y, x); break;\n"
	"	case 10: r = x * y + x; break;\n"
	"	case 11: { const float16 v = LW_EXP(16, (float16)(x)); r = v.s3; break; }\n"
	"	case 12: { const float8 v = LW_SIGMOID(8, (float8)(x)); r = v.s6; break; }\n"
	"	case 13: { const float4 v = LW_TANH(4, (float4)(x)); r = v.s1; break; }\n"
	"	}\n"
	"	to[i] = r;\n"
	"}\n"
	"__kernel void random_bits(__global uint *to, uint seed, uint stream, uint high, int count)\n"
	"{\n"
	"	const int i = get_global_id(0);\n"
	"	if (i < count)\n"
	"		to[i] = lw_random_bits(seed, stream, (uint)(i / 32) * 0x9000021u + (uint)(i % 32), high);\n"
	"}\n"
	"__kernel void random_bits_32(__global uint *to, uint seed, uint stream, uint high, int count)\n"
	"{\n"
	"	const int i = get_global_id(0) * 32;\n"
	"	uint16 first, second;\n"
	"	uint bits[32];\n"
	"	lw_random_bits_32(seed, stream, (ulong)get_global_id(0) * 0x9000021UL, high, &first, &second);\n"
	"	vstore16(first, 0, bits);\n"
	"	vstore16(second, 1, bits);\n"
	"	for (int k = 0; k < 32 && i + k < count; k++)\n"
	"		to[i + k] = bits[k];\n"
	"}\n";

static float divide(float a, float b) { return a / b; }
static float root(float a, float b) { return (void)b, sqrtf(a); }
static float exponential(float a, float b) { return (void)b, lw_ref_exp(a); }
static float logarithm(float a, float b) { return (void)b, lw_ref_log(a); }
static float sigmoid(float a, float b) { return (void)b, lw_ref_sigmoid(a); }
static float hyperbolic(float a, float b) { return (void)b, lw_ref_tanh(a); }
static float fused(float a, float b) { return fmaf(a, b, a); }
/* built with -ffp-contract=off */
static float apart(float a, float b) { return a * b + a; }

static double exponential_double(double x) { return exp(x); }
static double logarithm_double(double x) { return log(x); }
static double sigmoid_double(double x) { return 1.0 / (1.0 + exp(-x)); }
static double hyperbolic_double(double x) { return tanh(x); }

static const struct function {
	const char *name;
	float (*bits)(float, float);
	double (*in_double)(double);
	double units; /* in the last place, that it may be off */
} functions[] = {
	{"division", divide, NULL, 0},
	{"square root", root, NULL, 0},
	{"division, float16", divide, NULL, 0},
	{"square root, float8", root, NULL, 0},
	{"division, float4", divide, NULL, 0},
	{"lw_exp", exponential, exponential_double, 1},
	{"lw_log", logarithm, logarithm_double, 1},
	{"lw_sigmoid", sigmoid, sigmoid_double, 2.5},
	{"lw_tanh", hyperbolic, hyperbolic_double, 1.5},
	{"fma", fused, NULL, 0},
	{"product and sum", apart, NULL, 0},
	{"lw_exp, float16", exponential, NULL, 0},
	{"lw_sigmoid, float8", sigmoid, NULL, 0},
	{"lw_tanh, float4", hyperbolic, NULL, 0},
};
enum { DIVISIONS = 5 };

/* Pairs: every edge with every other, then random bits, then random values of moderate size. */
static void fill_pairs(const lw_test_run *run, float *a, float *b, size_t count)
{
	static const uint32_t edges[] = {0,          1,          2,          0x007fffff, 0x00800000, 0x00800001, 0x00ffffff,
					 0x01000000, 0x33800000, 0x3f7fffff, 0x3f800000, 0x3f800001, 0x3fffffff, 0x40000000,
					 0x4b800000, 0x7e800000, 0x7effffff, 0x7f7fffff, 0x7f800000, 0x7fc00000, 0x80000000,
					 0x80000001, 0x807fffff, 0x80800000, 0xbf800000, 0xc2ce0000, 0xff7fffff, 0xff800000,
					 0x42b17218, 0xc2cff1b4, 0x3f317218, 0xbf317218};
	const size_t n = LW_COUNT(edges);
	const bool denormals = lw_device_get_info(run->context.device)->denormals;

	for (size_t i = 0; i < count; i++) {
		if (i < n * n) {
			a[i] = lw_ref_as_float(edges[i % n]);
			b[i] = lw_ref_as_float(edges[i / n]);
		} else if (i % 2) {
			a[i] = lw_ref_as_float(lw_random_bits(11, 0, i));
			b[i] = lw_ref_as_float(lw_random_bits(11, 1, i));
		} else {
			a[i] = 120.0f * lw_random_uniform(11, 2, i) - 60.0f;
			b[i] = 1.0f + lw_random_uniform(11, 3, i);
		}
		if (!denormals && fabsf(a[i]) < FLT_MIN)
			a[i] = 0.0f;
		if (!denormals && fabsf(b[i]) < FLT_MIN)
			b[i] = 0.0f;
	}
}

/* Results that are denormal, where the device has none. */
static void forget_denormals(const lw_test_run *run, float *got, float *expected, size_t count)
{
	if (lw_device_get_info(run->context.device)->denormals)
		return;
	for (size_t i = 0; i < count; i++)
		if (fabsf(expected[i]) <= FLT_MIN)
			got[i] = expected[i] = 0.0f;
}

static void check_units(lw_test_run *run, const struct function *f, const char *mode, const float *a, const float *got, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const double expected = f->in_double(a[i]), error = fabs(got[i] - expected);
		int exponent;

		if (isnan(expected) || fabs(expected) > FLT_MAX || fabs(expected) < FLT_TRUE_MIN)
			continue;
		frexp(expected, &exponent);
		if (error <= f->units * fmax(ldexp(1, exponent - 24), FLT_TRUE_MIN))
			continue;
		if (fabs(expected) <= FLT_MIN && !lw_device_get_info(run->context.device)->denormals)
			continue;
		lw_test_fail(run, "%s (%s) of %.9g: got %.9g, expected %.9g within %.1f units in the last place", f->name, mode, a[i],
			     got[i], expected, f->units);
		return;
	}
	lw_test_pass(run);
}

typedef struct arrays {
	size_t count;
	float *a, *b, *got, *expected;
	lw_test_buf a_buf, b_buf, to;
} arrays;

static lw_status apply(lw_test_run *run, lw_kernel *kernel, int which, const char *mode, arrays *x)
{
	const struct function *f = &functions[which];
	lw_launch launch = {.kernel = kernel};
	char where[100];

	lw_arg_buf(&launch, x->a_buf.buf);
	lw_arg_buf(&launch, x->b_buf.buf);
	lw_arg_buf(&launch, x->to.buf);
	lw_arg_int(&launch, which);
	lw_arg_int(&launch, (int)x->count);
	lw_launch_1d(&launch, lw_round_up(x->count, 64), 64);
	LW_TRY(lw_queue_launch(run->context.queue, &launch, NULL));
	LW_TRY(lw_test_buf_read(run, &x->to, x->got));
	for (size_t i = 0; i < x->count; i++)
		x->expected[i] = f->bits(x->a[i], x->b[i]);
	forget_denormals(run, x->got, x->expected, x->count);
	snprintf(where, sizeof where, "%s (%s)", f->name, mode);
	lw_test_bits(run, where, x->got, x->expected, x->count);
	if (f->in_double)
		check_units(run, f, mode, x->a, x->got, x->count);
	return LW_OK;
}

static lw_status check_random(lw_test_run *run, lw_program *program, const char *function, arrays *x)
{
	static const uint32_t numbers[][3] = {{0, 0, 0}, {1, 2, 3}, {4294967295u, 7, 4294967295u}};
	lw_launch launch = {0};
	lw_status status;

	LW_TRY(lw_kernel_create(&launch.kernel, program, function));
	for (size_t k = 0; k < LW_COUNT(numbers); k++) {
		bool same = true;

		launch.arg_count = 0;
		lw_arg_buf(&launch, x->to.buf);
		for (int i = 0; i < 3; i++)
			lw_arg_uint(&launch, numbers[k][i]);
		lw_arg_int(&launch, 1000);
		lw_launch_1d(&launch, 1024, 64);
		LW_GO(lw_queue_launch(run->context.queue, &launch, NULL));
		LW_GO(lw_test_buf_read(run, &x->to, x->got));
		for (uint32_t i = 0; i < 1000; i++)
			same = same && lw_ref_as_uint(x->got[i]) == lw_random_bits(numbers[k][0], numbers[k][1],
										   (uint64_t)numbers[k][2] << 32 | (uint32_t)(i / 32 * 0x9000021u + i % 32));
		if (same)
			lw_test_pass(run);
		else
			lw_test_fail(run, "%s(%u, %u, ...) differs from the host's", function, numbers[k][0], numbers[k][1]);
	}
out:
	lw_kernel_destroy(&launch.kernel);
	return status;
}

/* Ways to divide; the last two check the device's own quotients, or those of a device that is often wrong. */
enum { BY_RESIDUALS, IN_DOUBLE, BY_DEVICE, CHECKED, CHECKED_WRONG, WAYS };
static const char wrong_text[] =
	"#define LW_QUOTIENT(T, U, a, b) LW_JOIN(as_, T)(LW_JOIN(as_, U)((a) / (b)) + (LW_JOIN(as_, U)(a) & 3u) - min(LW_JOIN(as_, U)(a) << 1, (U)(1u)))\n"
	"#define LW_ROOT(T, U, a) LW_JOIN(as_, T)(LW_JOIN(as_, U)(sqrt(a)) + (LW_JOIN(as_, U)(a) & 3u) - min(LW_JOIN(as_, U)(a) << 1, (U)(1u)))\n";

static lw_status check_mode(lw_test_run *run, int way, arrays *x)
{
	static const char *const names[] = {"by residuals", "in double", "as the device does", "as the device does, checked",
					    "as a bad device does, checked"};
	lw_program *program = NULL;
	lw_kernel *kernel = NULL;
	char *source = NULL, options[200];
	lw_status status;

	LW_TRY(lw_format_string(&source, "%s%s%s", way == CHECKED_WRONG ? wrong_text : "", lw_kernel_source("common"), kernel_text));
	snprintf(options, sizeof options, "-cl-std=CL1.2%s -D LW_CORRECTLY_ROUNDED=%d -D LW_FP64=%d -D LW_DEVICE_CPU=0 -D LW_FAST_FMA=%d",
		 way == BY_DEVICE ? " -cl-fp32-correctly-rounded-divide-sqrt" : "", way == BY_DEVICE,
		 way == IN_DOUBLE || way >= CHECKED, way >= CHECKED);
	LW_GO(lw_program_create(&program, run->context.device, source, options));
	LW_GO(lw_kernel_create(&kernel, program, "apply"));
	for (int which = 0; which < (int)LW_COUNT(functions); which++)
		LW_GO(apply(run, kernel, which, names[way], x));
	LW_GO(check_random(run, program, "random_bits", x));
	LW_GO(check_random(run, program, "random_bits_32", x));
out:
	lw_kernel_destroy(&kernel);
	lw_program_destroy(&program);
	free(source);
	return status;
}

static lw_status check(lw_test_run *run)
{
	const lw_device_info *info = lw_device_get_info(run->context.device);
	arrays x = {.count = run->quick ? 2000 : 200000};
	lw_status status;

	LW_GO(lw_alloc(&x.a, x.count, sizeof(float)));
	LW_GO(lw_alloc(&x.b, x.count, sizeof(float)));
	LW_GO(lw_alloc(&x.got, x.count, sizeof(float)));
	LW_GO(lw_alloc(&x.expected, x.count, sizeof(float)));
	fill_pairs(run, x.a, x.b, x.count);
	LW_GO(lw_test_buf_create(run, &x.a_buf, x.count * sizeof(float), false, x.a));
	LW_GO(lw_test_buf_create(run, &x.b_buf, x.count * sizeof(float), false, x.b));
	LW_GO(lw_test_buf_create(run, &x.to, x.count * sizeof(float), false, NULL));
	for (int way = 0; way < WAYS; way++)
		if (way == BY_RESIDUALS || (way == BY_DEVICE ? info->correctly_rounded : info->fp64))
			LW_GO(check_mode(run, way, &x));
out:
	lw_test_buf_destroy(&x.a_buf);
	lw_test_buf_destroy(&x.b_buf);
	lw_test_buf_destroy(&x.to);
	free(x.a);
	free(x.b);
	free(x.got);
	free(x.expected);
	return status;
}

extern const lw_check lw_check_math;
const lw_check lw_check_math = {"math", check};
