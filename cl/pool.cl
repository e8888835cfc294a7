/*
 * pool.cl: max, average and global average pooling of NHWC images.
 *
 * VECTOR  channels per step: 1 for the kernels with an item per element; 4, 8, 16 for those (named _rows, _images) with an
 *         item per row or image. A tail of channels is covered by a last vector that overlaps the one before it.
 */
#ifndef VECTOR
#define VECTOR 1
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

/* The first and the last window that cover input position i. */
static inline int first_window(int i, int pad, int kernel_size, int stride)
{
	return i + pad < kernel_size ? 0 : (i + pad - kernel_size) / stride + 1;
}

static inline int last_window(int i, int pad, int stride, int out) { return min((i + pad) / stride, out - 1); }

/* Maximum of the window at (y, x), image pointing at the first of the channels. The first of equals wins, but any NaN does. */
static inline vector window_max(const windows w, __global const float *image, int y, int x, int_vector *position)
{
	const int top = max(y * w.stride_height - w.pad_height, 0), left = max(x * w.stride_width - w.pad_width, 0);
	const int bottom = min(y * w.stride_height - w.pad_height + w.kernel_height, w.height);
	const int right = min(x * w.stride_width - w.pad_width + w.kernel_width, w.width);
	vector best = (vector)(-INFINITY);
	int_vector where = (int_vector)(top * w.width + left);
	for (int i = top; i < bottom; i++) {
		for (int j = left; j < right; j++) {
			const vector value = LW_LOAD(VECTOR, image + (size_t)(i * w.width + j) * w.channels);
			const int_vector better = (value > best) | (value != value);
			best = better ? value : best;
			where = better ? (int_vector)(i * w.width + j) : where;
		}
	}
	*position = where;
	return best;
}

/* Sum of the output gradients of the windows whose maximum was input pixel (i, j). */
static inline vector max_gradient(const windows w, __global const float *output_gradient, __global const int *argmax, int i, int j)
{
	const int_vector me = (int_vector)(i * w.width + j);
	const int bottom = last_window(i, w.pad_height, w.stride_height, w.out_height);
	const int right = last_window(j, w.pad_width, w.stride_width, w.out_width);
	vector sum = (vector)(0.0f);
	for (int y = first_window(i, w.pad_height, w.kernel_height, w.stride_height); y <= bottom; y++) {
		for (int x = first_window(j, w.pad_width, w.kernel_width, w.stride_width); x <= right; x++) {
			const size_t at = (size_t)(y * w.out_width + x) * w.channels;
			const vector gradient = LW_LOAD(VECTOR, output_gradient + at);
			sum += LW_LOAD(VECTOR, argmax + at) == me ? gradient : (vector)(0.0f);
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

static inline vector window_average(const windows w, __global const float *image, int y, int x, int count_include_pad)
{
	const int top = max(y * w.stride_height - w.pad_height, 0), left = max(x * w.stride_width - w.pad_width, 0);
	const int bottom = min(y * w.stride_height - w.pad_height + w.kernel_height, w.height);
	const int right = min(x * w.stride_width - w.pad_width + w.kernel_width, w.width);
	vector sum = (vector)(0.0f);
	for (int i = top; i < bottom; i++)
		for (int j = left; j < right; j++)
			sum += LW_LOAD(VECTOR, image + (size_t)(i * w.width + j) * w.channels);
	return LW_DIV(VECTOR, sum, (vector)(divisor(w, y, x, count_include_pad)));
}

static inline vector average_gradient(const windows w, __global const float *output_gradient, int i, int j, int count_include_pad)
{
	const int bottom = last_window(i, w.pad_height, w.stride_height, w.out_height);
	const int right = last_window(j, w.pad_width, w.stride_width, w.out_width);
	vector sum = (vector)(0.0f);
	for (int y = first_window(i, w.pad_height, w.kernel_height, w.stride_height); y <= bottom; y++) {
		for (int x = first_window(j, w.pad_width, w.kernel_width, w.stride_width); x <= right; x++) {
			const vector gradient = LW_LOAD(VECTOR, output_gradient + (size_t)(y * w.out_width + x) * w.channels);
			sum += LW_DIV(VECTOR, gradient, (vector)(divisor(w, y, x, count_include_pad)));
		}
	}
	return sum;
}

#if VECTOR == 1
/* An item per output element (forward) or input element (backward); count is their number. argmax may be NULL. */
__kernel void maxpool_forward(__global const float *input, __global float *output, __global int *argmax, int count,
			      WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % out_width, row = i / channels / out_width;
	const int image = row / out_height;
	int position;
	output[i] = window_max(w, input + (size_t)image * height * width * channels + c, row % out_height, x, &position);
	if (argmax)
		argmax[i] = position;
}

__kernel void maxpool_backward(__global const float *output_gradient, __global const int *argmax,
			       __global float *input_gradient, int count, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % width, row = i / channels / width;
	const size_t at = (size_t)(row / height) * out_height * out_width * channels + c;
	input_gradient[i] = max_gradient(w, output_gradient + at, argmax + at, row % height, x);
}

__kernel void avgpool_forward(__global const float *input, __global float *output, int count, int count_include_pad,
			      WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % out_width, row = i / channels / out_width;
	const size_t at = (size_t)(row / out_height) * height * width * channels + c;
	output[i] = window_average(w, input + at, row % out_height, x, count_include_pad);
}

__kernel void avgpool_backward(__global const float *output_gradient, __global float *input_gradient, int count,
			       int count_include_pad, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int i = get_global_id(0);
	if (i >= count)
		return;
	const int c = i % channels, x = i / channels % width, row = i / channels / width;
	const size_t at = (size_t)(row / height) * out_height * out_width * channels + c;
	input_gradient[i] = average_gradient(w, output_gradient + at, row % height, x, count_include_pad);
}

__kernel void globalavgpool_backward(__global const float *output_gradient, __global float *input_gradient, int count,
				     int pixels, int channels)
{
	const int i = get_global_id(0);
	if (i < count)
		input_gradient[i] = lw_div_float(output_gradient[i / (pixels * channels) * channels + i % channels], (float)pixels);
}
#else
/* An item per row of the output (forward) or of the input (backward), of all images; at least VECTOR channels. */
__kernel void maxpool_forward_rows(__global const float *input, __global float *output, __global int *argmax,
				   WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % out_height;
	input += (size_t)(row / out_height) * height * width * channels;
	for (int x = 0; x < out_width; x++) {
		const size_t at = ((size_t)row * out_width + x) * channels;
		for (int c = 0; c < channels; c += VECTOR) {
			const int from = min(c, channels - VECTOR);
			int_vector position;
			const vector best = window_max(w, input + from, y, x, &position);
			LW_STORE(VECTOR, best, output + at + from);
			if (argmax)
				LW_STORE(VECTOR, position, argmax + at + from);
		}
	}
}

__kernel void maxpool_backward_rows(__global const float *output_gradient, __global const int *argmax,
				    __global float *input_gradient, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % height;
	output_gradient += (size_t)(row / height) * out_height * out_width * channels;
	argmax += (size_t)(row / height) * out_height * out_width * channels;
	for (int x = 0; x < width; x++) {
		const size_t at = ((size_t)row * width + x) * channels;
		for (int c = 0; c < channels; c += VECTOR) {
			const int from = min(c, channels - VECTOR);
			LW_STORE(VECTOR, max_gradient(w, output_gradient + from, argmax + from, y, x), input_gradient + at + from);
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
		for (int c = 0; c < channels; c += VECTOR) {
			const int from = min(c, channels - VECTOR);
			LW_STORE(VECTOR, window_average(w, input + from, y, x, count_include_pad), output + at + from);
		}
	}
}

__kernel void avgpool_backward_rows(__global const float *output_gradient, __global float *input_gradient,
				    int count_include_pad, WINDOWS_ARGUMENTS)
{
	const windows w = WINDOWS;
	const int row = get_global_id(0), y = row % height;
	output_gradient += (size_t)(row / height) * out_height * out_width * channels;
	for (int x = 0; x < width; x++) {
		const size_t at = ((size_t)row * width + x) * channels;
		for (int c = 0; c < channels; c += VECTOR) {
			const int from = min(c, channels - VECTOR);
			const vector gradient = average_gradient(w, output_gradient + from, y, x, count_include_pad);
			LW_STORE(VECTOR, gradient, input_gradient + at + from);
		}
	}
}

/* An item per image. */
__kernel void globalavgpool_backward_images(__global const float *output_gradient, __global float *input_gradient, int pixels,
					    int channels)
{
	const int image = get_global_id(0);
	for (int c = 0; c < channels; c += VECTOR) {
		const int from = min(c, channels - VECTOR);
		const vector total = LW_LOAD(VECTOR, output_gradient + (size_t)image * channels + from);
		const vector each = LW_DIV(VECTOR, total, (vector)((float)pixels));
		for (int pixel = 0; pixel < pixels; pixel++)
			LW_STORE(VECTOR, each, input_gradient + ((size_t)image * pixels + pixel) * channels + from);
	}
}
#endif

/*
 * Mean over an image's pixels: a chain from 0 for every 256 pixels, these added in order. An item per image and vector of
 * channels (dimension 0: channels, 1: image).
 */
__kernel void globalavgpool_forward(__global const float *input, __global float *output, int pixels, int channels)
{
	const int from = min((int)get_global_id(0) * VECTOR, channels - VECTOR), image = get_global_id(1);
	if ((int)get_global_id(0) * VECTOR >= channels)
		return;
	input += (size_t)image * pixels * channels + from;
	vector sum = (vector)(0.0f);
	for (int start = 0; start < pixels; start += 256) {
		vector part = (vector)(0.0f);
		for (int pixel = start; pixel < min(start + 256, pixels); pixel++)
			part += LW_LOAD(VECTOR, input + (size_t)pixel * channels);
		sum += part;
	}
	LW_STORE(VECTOR, LW_DIV(VECTOR, sum, (vector)((float)pixels)), output + (size_t)image * channels + from);
}
