/*
 * pool.cl: max, average and global average pooling of NHWC images.
 *
 * VECTOR  channels per step: 1 for the kernels with an item per element; 4, 8, 16 for those (named _rows, _images) with an
 *         item per row or image. A tail of channels is covered by a last vector that overlaps the one before it.
 */
#ifndef VECTOR
#define VECTOR 1
#endif
/* 1: what is stored goes around the caches */
#ifndef STREAM
#define STREAM 0
#endif
typedef LW_FLOAT(VECTOR) vector;
typedef LW_INT(VECTOR) int_vector;

/* The windows of a layer; a window's row y starts at y*stride - pad. */
typedef struct windows {
	int height, width, channels, out_height, out_width;
	int kernel_height, kernel_width, stride_height, stride_width, pad_height, pad_width;
} windows;

#define WINDOWS_ARGUMENTS                                                                                              \
	int height, int width, int channels, int out_height, int out_width, int kernel_height, int kernel_width,       \
		int stride_height, int stride_width, int pad_height, int pad_width
#define WINDOWS                                                                                                        \
	{                                                                                                              \
		height, width, channels, out_height, out_width, kernel_height, kernel_width, stride_height,            \
			stride_width, pad_height, pad_width                                                            \
	}

/* Rows and columns from top and left to before bottom and right: of pixels that a window covers, or of windows that cover a pixel. */
typedef struct area {
	int top, bottom, left, right;
} area;

static inline area window_at(const windows w, int y, int x)
{
	const int top = y * w.stride_height - w.pad_height, left = x * w.stride_width - w.pad_width;
	const area a = {max(top, 0), min(top + w.kernel_height, w.height), max(left, 0), min(left + w.kernel_width, w.width)};
	return a;
}

/* The first window that covers input position i, and the one past the last. */
static inline int first_window(int i, int pad, int kernel_size, int stride)
{
	return i + pad < kernel_size ? 0 : (i + pad - kernel_size) / stride + 1;
}

static inline int past_window(int i, int pad, int stride, int out) { return min((i + pad) / stride + 1, out); }

static inline area windows_over(const windows w, int i, int j)
{
	const area a = {first_window(i, w.pad_height, w.kernel_height, w.stride_height),
			past_window(i, w.pad_height, w.stride_height, w.out_height),
			first_window(j, w.pad_width, w.kernel_width, w.stride_width),
			past_window(j, w.pad_width, w.stride_width, w.out_width)};
	return a;
}

/* The gradient of an input that relu made. */
static inline vector masked(vector gradient, __global const float *input)
{
	return LW_LOAD(VECTOR, input) <= 0.0f ? (vector)(0.0f) : gradient;
}

/* Maximum of a window, image pointing at the first of the channels. The first of equals wins, but any NaN does. */
static inline vector window_max(const area a, int width, int channels, __global const float *image, int_vector *position)
{
	vector best = (vector)(-INFINITY);
	int_vector where = (int_vector)(a.top * width + a.left);
	for (int i = a.top; i < a.bottom; i++) {
		int pixel = i * width + a.left;
		__global const float *from = image + (size_t)pixel * channels;
		for (int j = a.left; j < a.right; j++, pixel++, from += channels) {
			LW_AHEAD(from + LW_DISTANCE)
			const vector value = LW_LOAD(VECTOR, from);
			const int_vector better = (value > best) | (value != value);
			best = better ? value : best;
			where = better ? (int_vector)(pixel) : where;
		}
	}
	*position = where;
	return best;
}

/* Sum of the output gradients of those windows whose maximum was the pixel `me`. */
static inline vector max_gradient(const area a, int out_width, int channels, __global const float *output_gradient,
				  __global const int *argmax, int me)
{
	vector sum = (vector)(0.0f);
	for (int y = a.top; y < a.bottom; y++) {
		for (int x = a.left; x < a.right; x++) {
			const size_t at = (size_t)(y * out_width + x) * channels;
			const vector gradient = LW_LOAD(VECTOR, output_gradient + at);
			sum += LW_LOAD(VECTOR, argmax + at) == (int_vector)(me) ? gradient : (vector)(0.0f);
		}
	}
	return sum;
}

/* What the sum over the window at (y, x) is divided by (PyTorch's rule: padding counts up to one pad past the edge). */
static inline float divisor(const windows w, int y, int x, int count_include_pad)
{
	int top = y * w.stride_height - w.pad_height, left = x * w.stride_width - w.pad_width;
	int bottom = min(top + w.kernel_height, w.height + w.pad_height), right = min(left + w.kernel_width, w.width + w.pad_width);
	if (!count_include_pad) {
		top = max(top, 0), left = max(left, 0);
		bottom = min(bottom, w.height), right = min(right, w.width);
	}
	return (float)((bottom - top) * (right - left));
}

/* Of an area of image, which points at the first of the channels. */
static inline vector window_sum(const area a, int width, int channels, __global const float *image, float scale)
{
	vector sum = (vector)(0.0f);
	for (int i = a.top; i < a.bottom; i++)
		for (int j = a.left; j < a.right; j++) {
			__global const float *from = image + (size_t)(i * width + j) * channels;
			LW_AHEAD(from + LW_DISTANCE)
			sum += LW_LOAD(VECTOR, from) * scale;
		}
	return sum;
}

static inline vector window_average(const area a, int width, int channels, __global const float *image, float divide_by)
{
	return LW_DIV(VECTOR, window_sum(a, width, channels, image, 1.0f), (vector)(divide_by));
}

static inline vector average_gradient(const windows w, const area a, __global const float *output_gradient, int count_include_pad)
{
	vector sum = (vector)(0.0f);
	for (int y = a.top; y < a.bottom; y++) {
		for (int x = a.left; x < a.right; x++) {
			const vector gradient = LW_LOAD(VECTOR, output_gradient + (size_t)(y * w.out_width + x) * w.channels);
			sum += LW_DIV(VECTOR, gradient, (vector)(divisor(w, y, x, count_include_pad)));
		}
	}
	return sum;
}

#if VECTOR == 1
/*
 * An item per output element (forward) or input element (backward); count is their number. argmax may be NULL, and so may
 * the input of backward, which masks the gradient.
 */
__kernel void maxpool_forward(__global const float *input, __global float *output, __global int *argmax, int count,
			      WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % out_width, row = i / channels / out_width;
	const area window = window_at(w, row % out_height, x);
	int position;
	output[i] = window_max(window, width, channels, input + (size_t)(row / out_height) * height * width * channels + c, &position);
	if (argmax)
		argmax[i] = position;
}

__kernel void maxpool_backward(__global const float *output_gradient, __global const int *argmax, __global const float *input,
			       __global float *input_gradient, int count, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % width, row = i / channels / width, y = row % height;
	const size_t at = (size_t)(row / height) * out_height * out_width * channels + c;
	const float gradient = max_gradient(windows_over(w, y, x), out_width, channels, output_gradient + at, argmax + at, y * width + x);
	input_gradient[i] = input ? masked(gradient, input + i) : gradient;
}

__kernel void avgpool_forward(__global const float *input, __global float *output, int count, int count_include_pad,
			      WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % out_width, row = i / channels / out_width, y = row % out_height;
	const size_t at = (size_t)(row / out_height) * height * width * channels + c;
	output[i] = window_average(window_at(w, y, x), width, channels, input + at, divisor(w, y, x, count_include_pad));
}

__kernel void avgpool_backward(__global const float *output_gradient, __global const float *input, __global float *input_gradient,
			       int count, int count_include_pad, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % width, row = i / channels / width;
	const size_t at = (size_t)(row / height) * out_height * out_width * channels + c;
	const float gradient = average_gradient(w, windows_over(w, row % height, x), output_gradient + at, count_include_pad);
	input_gradient[i] = input ? masked(gradient, input + i) : gradient;
}

__kernel void globalavgpool_backward(__global const float *output_gradient, __global const float *input, __global float *input_gradient,
				     int count, int pixels, int channels)
{
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const float each = lw_div_float(output_gradient[i / (pixels * channels) * channels + i % channels], (float)pixels);
	input_gradient[i] = input ? masked(each, input + i) : each;
}
#else
#define FOR_CHANNELS for (int k = 0, c = 0; k < channels; k += VECTOR, c = min(k, channels - VECTOR))

/* An item per row of the output (forward) or of the input (backward), of all images; at least VECTOR channels. */
__kernel void maxpool_forward_rows(__global const float *input, __global float *output, __global int *argmax,
				   WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % out_height;
	input += (size_t)(row / out_height) * height * width * channels;
	for (int x = 0; x < out_width; x++) {
		const size_t at = ((size_t)row * out_width + x) * channels;
		const area window = window_at(w, y, x);
		FOR_CHANNELS {
			int_vector position;
			const vector best = window_max(window, width, channels, input + c, &position);
			LW_STREAM(STREAM, VECTOR, best, output + at + c);
			if (argmax)
				LW_STREAM(STREAM, VECTOR, LW_JOIN(as_, LW_FLOAT(VECTOR))(position), (__global float *)argmax + at + c);
		}
	}
}

__kernel void maxpool_backward_rows(__global const float *output_gradient, __global const int *argmax, __global const float *input,
				    __global float *input_gradient, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % height;
	output_gradient += (size_t)(row / height) * out_height * out_width * channels;
	argmax += (size_t)(row / height) * out_height * out_width * channels;
	for (int x = 0; x < width; x++) {
		const size_t at = ((size_t)row * width + x) * channels;
		const area over = windows_over(w, y, x);
		FOR_CHANNELS {
			vector gradient = max_gradient(over, out_width, channels, output_gradient + c, argmax + c, y * width + x);
			if (input)
				gradient = masked(gradient, input + at + c);
			LW_STREAM(STREAM, VECTOR, gradient, input_gradient + at + c);
		}
	}
}

__kernel void avgpool_forward_rows(__global const float *input, __global float *output, int count_include_pad,
				   WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % out_height;
	input += (size_t)(row / out_height) * height * width * channels;
	for (int x = 0; x < out_width; x++) {
		const size_t at = ((size_t)row * out_width + x) * channels;
		const area window = window_at(w, y, x);
		const float divide_by = divisor(w, y, x, count_include_pad);
		FOR_CHANNELS
			LW_STREAM(STREAM, VECTOR, window_average(window, width, channels, input + c, divide_by), output + at + c);
	}
}

/* What every window's average gives each of its pixels, an item per row of the output. */
__kernel void avgpool_share_rows(__global const float *output_gradient, __global float *shares, int count_include_pad,
				 WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % out_height;
	for (int x = 0; x < out_width; x++) {
		const size_t at = ((size_t)row * out_width + x) * channels;
		const vector by = (vector)(divisor(w, y, x, count_include_pad));
		FOR_CHANNELS
			LW_STREAM(STREAM, VECTOR, LW_DIV(VECTOR, LW_LOAD(VECTOR, output_gradient + at + c), by), shares + at + c);
	}
}

/* shares * scale: what avgpool_share_rows leaves, and 1; or the output's gradient, and a power of 2. */
__kernel void avgpool_backward_rows(__global const float *shares, __global const float *input, __global float *input_gradient,
				    float scale, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % height;
	shares += (size_t)(row / height) * out_height * out_width * channels;
	for (int x = 0; x < width; x++) {
		const size_t at = ((size_t)row * width + x) * channels;
		const area over = windows_over(w, y, x);
		FOR_CHANNELS {
			vector gradient = window_sum(over, out_width, channels, shares + c, scale);
			if (input)
				gradient = masked(gradient, input + at + c);
			LW_STREAM(STREAM, VECTOR, gradient, input_gradient + at + c);
		}
	}
}

/* An item per image and 256 pixels (dimension 0: these, 1: image). */
__kernel void globalavgpool_backward_images(__global const float *output_gradient, __global const float *input,
					    __global float *input_gradient, int pixels, int channels)
{
	const int image = get_global_id(1), first = (int)get_global_id(0) * 256, end = min(first + 256, pixels);
	output_gradient += (size_t)image * channels;
	for (int pixel = first; pixel < end; pixel++) {
		const size_t at = ((size_t)image * pixels + pixel) * channels;
		FOR_CHANNELS {
			vector each = LW_DIV(VECTOR, LW_LOAD(VECTOR, output_gradient + c), (vector)((float)pixels));
			if (input)
				each = masked(each, input + at + c);
			LW_STREAM(STREAM, VECTOR, each, input_gradient + at + c);
		}
	}
}
#endif

/*
 * Mean over an image's pixels: a chain from 0 for every 256 pixels, these added in order. An item per image and BLOCK
 * channels (dimension 0: channels, 1: image): several vectors side by side, so that whole lines of memory are read.
 */
#if VECTOR == 1
#define BLOCK 1
#else
#define BLOCK (8 * VECTOR)
#endif
#define MEANS(n)                                                                                                       \
	{                                                                                                              \
		LW_EACH(n, MEAN_START)                                                                                 \
		for (int start = 0; start < pixels; start += 256) {                                                    \
			LW_EACH(n, MEAN_PART)                                                                          \
			for (int pixel = start; pixel < min(start + 256, pixels); pixel++) {                           \
				__global const float *from = input + (size_t)pixel * channels + c;                     \
				LW_EACH(n, MEAN_ADD)                                                                   \
			}                                                                                              \
			LW_EACH(n, MEAN_JOIN)                                                                          \
		}                                                                                                      \
		LW_EACH(n, MEAN_STORE)                                                                                 \
	}
#define MEAN_START(k) vector sum##k = (vector)(0.0f);
#define MEAN_PART(k) vector part##k = (vector)(0.0f);
#define MEAN_ADD(k)                                                                                                    \
	part##k += LW_LOAD(VECTOR, from + (k) * VECTOR);
#define MEAN_JOIN(k) sum##k += part##k;
#define MEAN_STORE(k) LW_STORE(VECTOR, LW_DIV(VECTOR, sum##k, (vector)((float)pixels)), output + c + (k) * VECTOR);

__kernel void globalavgpool_forward(__global const float *input, __global float *output, int pixels, int channels)
{
	const int image = get_global_id(1), end = min(((int)get_global_id(0) + 1) * BLOCK, channels);
	int c = (int)get_global_id(0) * BLOCK;
	input += (size_t)image * pixels * channels;
	output += (size_t)image * channels;
	if (c + 8 * VECTOR <= end)
		MEANS(8)
	else
		for (int k = c; k < end; k += VECTOR) {
			c = min(k, channels - VECTOR);
			MEANS(1)
		}
}
