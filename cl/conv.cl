/*
 * conv.cl: convolution, one work-item per result. Activations NHWC, weight OIHW.
 *
 * The chains of every variant: forward over (r, s, c) ascending, backward of data over (r, s) descending and k ascending,
 * backward of the weight over (image, p, q) ascending in each part of the batch. Padded places count as zeros. Every result ends with LW_ZERO.
 * With col2im's algorithm (conv_col2im.cl) backward of data has a chain for each tap that meets an output pixel, and adds these.
 */

/* ids: output channel, output pixel, image */
__kernel void conv_forward(__global const float *x, __global const float *weight, __global const float *bias,
			   __global float *y, int height, int width, int channels, int out_height, int out_width,
			   int out_channels, int kernel_height, int kernel_width, int stride_height, int stride_width,
			   int pad_height, int pad_width, int dilation_height, int dilation_width, int groups,
			   int relu)
{
	const int k = get_global_id(0), pixel = get_global_id(1), image = get_global_id(2);
	const int p = pixel / out_width, q = pixel % out_width;
	const int group_channels = channels / groups, first = k / (out_channels / groups) * group_channels;
	__global const float *w = weight + (size_t)k * group_channels * kernel_height * kernel_width;
	float sum = 0.0f;

	for (int r = 0; r < kernel_height; r++)
		for (int s = 0; s < kernel_width; s++) {
			const int h = p * stride_height - pad_height + r * dilation_height;
			const int v = q * stride_width - pad_width + s * dilation_width;
			const int inside = h >= 0 && h < height && v >= 0 && v < width;
			for (int c = 0; c < group_channels; c++) {
				const float value =
					inside ? x[(((size_t)image * height + h) * width + v) * channels + first + c] : 0.0f;
				sum = fma(value, w[(c * kernel_height + r) * kernel_width + s], sum);
			}
		}
	sum = (bias ? sum + bias[k] : sum) + LW_ZERO(height);
	y[((size_t)image * out_height * out_width + pixel) * out_channels + k] = relu && sum <= 0.0f ? 0.0f : sum;
}

/* ids: input channel, input pixel, image. mask: x, where the gradient is to end at a relu, else NULL; apart: as col2im does */
__kernel void conv_backward_data(__global const float *gy, __global const float *weight, __global float *gx,
				 __global const float *mask, int height, int width, int channels, int out_height, int out_width, int out_channels,
				 int kernel_height, int kernel_width, int stride_height, int stride_width,
				 int pad_height, int pad_width, int dilation_height, int dilation_width, int groups, int apart)
{
	const int c = get_global_id(0), pixel = get_global_id(1), image = get_global_id(2);
	const int h = pixel / width, v = pixel % width;
	const int group_channels = channels / groups, group_out = out_channels / groups;
	const int first = c / group_channels * group_out;
	const int taps = kernel_height * kernel_width;
	float sum = 0.0f, total = 0.0f;

	for (int r = kernel_height - 1; r >= 0; r--)
		for (int s = kernel_width - 1; s >= 0; s--) {
			const int down = h + pad_height - r * dilation_height, right = v + pad_width - s * dilation_width;
			if (down % stride_height != 0 || right % stride_width != 0)
				continue;
			const int p = down / stride_height, q = right / stride_width;
			const int inside = p >= 0 && p < out_height && q >= 0 && q < out_width;
			if (apart && !inside)
				continue;
			for (int k = first; k < first + group_out; k++) {
				const float g =
					inside ? gy[(((size_t)image * out_height + p) * out_width + q) * out_channels + k] : 0.0f;
				const float w = weight[((size_t)k * group_channels + c % group_channels) * taps + r * kernel_width + s];
				sum = fma(g, w, sum);
			}
			if (apart) {
				total += sum;
				sum = 0.0f;
			}
		}
	sum = apart ? total : sum;
	const size_t at = ((size_t)image * height * width + pixel) * channels + c;
	gx[at] = mask && mask[at] <= 0.0f ? 0.0f : sum + LW_ZERO(height);
}

/* ids: weight, part of the batch. partial is [part][weight] */
__kernel void conv_backward_weight(__global const float *x, __global const float *gy, __global float *partial,
				   int images, int height, int width, int channels, int out_height, int out_width,
				   int out_channels, int kernel_height, int kernel_width, int stride_height,
				   int stride_width, int pad_height, int pad_width, int dilation_height,
				   int dilation_width, int groups)
{
	const int index = get_global_id(0), part = get_global_id(1), parts = get_global_size(1);
	const int s = index % kernel_width, r = index / kernel_width % kernel_height;
	const int group_channels = channels / groups;
	const int k = index / kernel_width / kernel_height / group_channels;
	const int c = index / kernel_width / kernel_height % group_channels + k / (out_channels / groups) * group_channels;
	const int begin = (int)((long)images * part / parts), end = (int)((long)images * (part + 1) / parts);
	float sum = 0.0f;

	for (int image = begin; image < end; image++)
		for (int p = 0; p < out_height; p++)
			for (int q = 0; q < out_width; q++) {
				const int h = p * stride_height - pad_height + r * dilation_height;
				const int v = q * stride_width - pad_width + s * dilation_width;
				const int inside = h >= 0 && h < height && v >= 0 && v < width;
				const float value =
					inside ? x[(((size_t)image * height + h) * width + v) * channels + c] : 0.0f;
				const size_t pixel = ((size_t)image * out_height + p) * out_width + q;
				sum = fma(value, gy[pixel * out_channels + k], sum);
			}
	partial[(size_t)part * get_global_size(0) + index] = sum;
}
