/* maxpool, avgpool, globalavgpool. */
#include "op/runner.h"

#include <math.h>

static const lw_op_case max_cases[] = {
	{.name = "2x2", .inputs = {{2, 6, 8, 17}}, .options = {.kernel = {2, 2}}, .training = true},
	{.name = "3x3 stride 2 pad 1", .inputs = {{1, 9, 7, 5}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}}, .training = true},
	{.name = "overlapping, 3x2 stride 1", .inputs = {{2, 5, 6, 8}}, .options = {.kernel = {3, 2}, .stride = {1, 1}, .pad = {1, 0}}, .training = true},
	{.name = "stride past the kernel", .inputs = {{1, 8, 9, 4}}, .options = {.kernel = {2, 2}, .stride = {3, 4}}, .training = true},
	{.name = "ceil_mode", .inputs = {{1, 6, 7, 3}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true}, .training = true},
	{.name = "ceil_mode, a window dropped", .inputs = {{1, 4, 4, 1}}, .options = {.kernel = {2, 2}, .stride = {3, 3}, .pad = {1, 1}, .ceil_mode = true}, .training = true},
	{.name = "ceil_mode, kernel beyond the image", .inputs = {{1, 2, 3, 2}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true}, .training = true},
	{.name = "one pixel", .inputs = {{3, 1, 1, 1}}, .options = {.kernel = {1, 1}}, .training = true},
	{.name = "one pixel, padded", .inputs = {{1, 1, 1, 9}}, .options = {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}}, .training = true},
	{.name = "equal values", .inputs = {{1, 7, 7, 8}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}}, .training = true, .values = LW_VALUES_TIES},
	{.name = "NaN, infinities", .inputs = {{1, 8, 8, 16}}, .options = {.kernel = {2, 2}}, .training = true, .values = LW_VALUES_SPECIAL},
	{.name = "evaluation", .inputs = {{1, 6, 6, 4}}, .options = {.kernel = {2, 2}}},
	{.name = "2x2, input masked", .inputs = {{2, 6, 7, 19}}, .options = {.kernel = {2, 2}}, .training = true, .mask_input = true},
	{.name = "3x3 stride 2, input masked", .inputs = {{1, 9, 7, 16}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}}, .training = true, .mask_input = true},
	{.name = "larger", .inputs = {{3, 29, 31, 33}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}}, .training = true, .large = true},
};

static const lw_op_case average_cases[] = {
	{.name = "2x2", .inputs = {{2, 6, 8, 17}}, .options = {.kernel = {2, 2}, .count_include_pad = true}},
	{.name = "3x3 stride 2 pad 1", .inputs = {{1, 9, 7, 5}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .count_include_pad = true}},
	{.name = "pad not counted", .inputs = {{1, 8, 7, 8}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}}},
	{.name = "ceil_mode", .inputs = {{1, 6, 7, 3}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .ceil_mode = true, .count_include_pad = true}},
	{.name = "ceil_mode, pad not counted", .inputs = {{1, 6, 7, 9}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .ceil_mode = true}},
	{.name = "overlapping, 3x2 stride 1", .inputs = {{2, 5, 6, 4}}, .options = {.kernel = {3, 2}, .stride = {1, 1}, .pad = {1, 0}, .count_include_pad = true}},
	{.name = "one pixel, padded", .inputs = {{1, 1, 1, 1}}, .options = {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1}, .count_include_pad = true}},
	{.name = "NaN, infinities", .inputs = {{1, 8, 8, 16}}, .options = {.kernel = {2, 2}, .count_include_pad = true}, .values = LW_VALUES_SPECIAL},
	{.name = "2x2, input masked", .inputs = {{2, 6, 7, 19}}, .options = {.kernel = {2, 2}, .count_include_pad = true}, .mask_input = true},
	{.name = "3x3 stride 2, input masked", .inputs = {{1, 9, 7, 16}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .count_include_pad = true}, .mask_input = true},
	{.name = "larger", .inputs = {{3, 29, 31, 33}}, .options = {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1}, .count_include_pad = true}, .large = true},
};

static const lw_op_case global_cases[] = {
	{.name = "one pixel", .inputs = {{2, 1, 1, 1}}},
	{.name = "7x7", .inputs = {{3, 7, 7, 21}}},
	{.name = "one channel", .inputs = {{2, 5, 4, 1}}},
	{.name = "151 channels", .inputs = {{2, 3, 4, 151}}},
	{.name = "input masked", .inputs = {{2, 17, 19, 21}}, .mask_input = true},
	{.name = "more than one part", .inputs = {{1, 17, 31, 5}}},
	{.name = "NaN, infinities", .inputs = {{2, 3, 5, 16}}, .values = LW_VALUES_SPECIAL},
};

/* A window's rows or columns: where it starts and ends with padding, and within the image. */
typedef struct span {
	int start, end, first, last;
} span;

static span span_of(const lw_op_problem *p, int side, int window)
{
	const lw_layer_options *o = p->options;
	const int length = side ? p->input[0].w : p->input[0].h, stride = o->stride[side] ? o->stride[side] : o->kernel[side];
	const int start = window * stride - o->pad[side];

	return (span){start, lw_min_int(start + o->kernel[side], length + o->pad[side]), lw_max_int(start, 0),
		      lw_min_int(start + o->kernel[side], length)};
}

static size_t input_at(const lw_op_problem *p, int n, int y, int x, int c)
{
	const lw_shape s = p->input[0];

	return (((size_t)n * s.h + y) * s.w + x) * s.c + c;
}

static int divisor_of(const lw_op_problem *p, span rows, span columns)
{
	if (p->options->count_include_pad)
		return (rows.end - rows.start) * (columns.end - columns.start);
	return (rows.last - rows.first) * (columns.last - columns.first);
}

/* Calls visit for every window and channel, in the order of the output. */
typedef void visitor(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user);
static void each_window(const lw_op_problem *p, visitor *visit, void *user)
{
	size_t at = 0;

	for (int n = 0; n < p->output.n; n++)
		for (int y = 0; y < p->output.h; y++)
			for (int x = 0; x < p->output.w; x++)
				for (int c = 0; c < p->output.c; c++)
					visit(p, span_of(p, 0, y), span_of(p, 1, x), n, c, at++, user);
}

typedef struct arrays {
	const double *input_double;
	double *output_double;
	const float *input, *output_gradient;
	float *output, *input_gradient;
	int32_t *argmax;
} arrays;

static void max_double(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;
	double best = -INFINITY;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++)
			best = fmax(best, a->input_double[input_at(p, n, y, x, c)]);
	a->output_double[at] = best;
}

static void max_bits(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;
	float best = -INFINITY;
	int where = rows.first * p->input[0].w + columns.first;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++) {
			const float value = a->input[input_at(p, n, y, x, c)];

			if (value > best || isnan(value)) {
				best = value;
				where = y * p->input[0].w + x;
			}
		}
	a->output[at] = best;
	a->argmax[at] = where;
}

/* Windows come in order, so every input pixel gets its terms in the order in which the kernel gathers them. */
static void max_backward(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++)
			a->input_gradient[input_at(p, n, y, x, c)] +=
				a->argmax[at] == y * p->input[0].w + x ? a->output_gradient[at] : 0.0f;
}

static void average_double(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;
	double sum = 0;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++)
			sum += a->input_double[input_at(p, n, y, x, c)];
	a->output_double[at] = sum / divisor_of(p, rows, columns);
}

static void average_bits(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;
	float sum = 0;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++)
			sum += a->input[input_at(p, n, y, x, c)];
	a->output[at] = sum / (float)divisor_of(p, rows, columns);
}

static void average_backward(const lw_op_problem *p, span rows, span columns, int n, int c, size_t at, void *user)
{
	const arrays *a = user;

	for (int y = rows.first; y < rows.last; y++)
		for (int x = columns.first; x < columns.last; x++)
			a->input_gradient[input_at(p, n, y, x, c)] +=
				a->output_gradient[at] / (float)divisor_of(p, rows, columns);
}

/* The three references of a pooling over windows. */
#define WINDOWS(name, its_cases, visit_double, visit_bits, visit_backward)                                             \
	static void name##_forward_double(const lw_op_problem *p, const double *const *input, double *const *param,    \
					  double *output)                                                              \
	{                                                                                                              \
		(void)param;                                                                                           \
		each_window(p, visit_double, &(arrays){.input_double = input[0], .output_double = output});            \
	}                                                                                                              \
	static void name##_forward_bits(const lw_op_problem *p, const float *const *input, float *const *param,        \
					float *output, void *saved)                                                    \
	{                                                                                                              \
		(void)param;                                                                                           \
		each_window(p, visit_bits, &(arrays){.input = input[0], .output = output, .argmax = saved});           \
	}                                                                                                              \
	static void name##_backward_bits(const lw_op_problem *p, const float *const *input, float *const *param,       \
					 const float *output, const void *saved, const float *output_gradient,         \
					 float *const *input_gradient, float *const *param_gradient)                   \
	{                                                                                                              \
		(void)input, (void)param, (void)output, (void)param_gradient;                                          \
		for (size_t i = 0; i < lw_shape_count(p->input[0]); i++)                                               \
			input_gradient[0][i] = 0.0f;                                                                   \
		each_window(p, visit_backward,                                                                         \
			    &(arrays){.output_gradient = output_gradient, .argmax = (int32_t *)(uintptr_t)saved,       \
				      .input_gradient = input_gradient[0]});                                           \
	}                                                                                                              \
	extern const lw_op_test lw_test_##name;                                                                        \
	const lw_op_test lw_test_##name = {#name, its_cases, LW_COUNT(its_cases), window_terms, NULL,                      \
					   name##_forward_double, name##_forward_bits, name##_backward_bits};

static double window_terms(const lw_op_problem *p) { return p->options->kernel[0] * p->options->kernel[1]; }

WINDOWS(maxpool, max_cases, max_double, max_bits, max_backward)
WINDOWS(avgpool, average_cases, average_double, average_bits, average_backward)

static double global_terms(const lw_op_problem *p) { return p->input[0].h * p->input[0].w; }

static void global_double(const lw_op_problem *p, const double *const *input, double *const *param, double *output)
{
	const lw_shape s = p->input[0];

	(void)param;
	for (size_t i = 0; i < lw_shape_count(p->output); i++) {
		double sum = 0;

		for (int pixel = 0; pixel < s.h * s.w; pixel++)
			sum += input[0][(i / s.c * s.h * s.w + pixel) * s.c + i % s.c];
		output[i] = sum / (s.h * s.w);
	}
}

static void global_bits(const lw_op_problem *p, const float *const *input, float *const *param, float *output, void *saved)
{
	const lw_shape s = p->input[0];

	(void)param, (void)saved;
	for (size_t i = 0; i < lw_shape_count(p->output); i++) {
		float sum = 0, part = 0;

		for (int pixel = 0; pixel < s.h * s.w; pixel++) {
			part += input[0][(i / s.c * s.h * s.w + pixel) * s.c + i % s.c];
			if (pixel % 256 == 255 || pixel == s.h * s.w - 1) {
				sum += part;
				part = 0;
			}
		}
		output[i] = sum / (float)(s.h * s.w);
	}
}

static void global_backward(const lw_op_problem *p, const float *const *input, float *const *param, const float *output,
			    const void *saved, const float *output_gradient, float *const *input_gradient,
			    float *const *param_gradient)
{
	const lw_shape s = p->input[0];

	(void)input, (void)param, (void)output, (void)saved, (void)param_gradient;
	for (size_t i = 0; i < lw_shape_count(s); i++)
		input_gradient[0][i] = output_gradient[i / s.c / (s.h * s.w) * s.c + i % s.c] / (float)(s.h * s.w);
}

extern const lw_op_test lw_test_globalavgpool;
const lw_op_test lw_test_globalavgpool = {"globalavgpool", global_cases, LW_COUNT(global_cases), global_terms, NULL,
					  global_double,   global_bits,  global_backward};
