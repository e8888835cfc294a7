/*
 * batchnorm.cl: batch normalisation of NHWC images.
 *
 * Statistics are computed in parts: a part is up to 256 consecutive pixels of one image, so the order of every sum depends
 * on the shape alone. An item works on one part and VECTOR channels (1: dimension 0 counts parts and channels) or, in the
 * functions named _parts, on one part and all channels, in vectors of which the last overlaps the one before it.
 *
 * moments: the means of all channels, then the inverse deviations. The workspace: moments by running
 * statistics; the means, over all pixels, of the gradients and of gradient * xhat; two numbers of each part and channel.
 */
#ifndef VECTOR
#define VECTOR 1
#endif
#define PART 256
typedef LW_FLOAT(VECTOR) vector;

#define MEANS_AT(channels) (2 * (size_t)(channels))
#define PARTS_AT(channels) (4 * (size_t)(channels))

/* Where the pixels of a part lie: an image has parts_per_image of them. */
static inline int part_first(int part, int pixels)
{
	const int parts_per_image = (pixels + PART - 1) / PART;
	return part / parts_per_image * pixels + part % parts_per_image * PART;
}

static inline int part_length(int part, int pixels)
{
	const int parts_per_image = (pixels + PART - 1) / PART;
	return min(pixels - part % parts_per_image * PART, PART);
}

/* Mean and sum of squared deviations of `length` pixels. */
static inline vector mean_of(__global const float *x, int length, int channels, vector *squares)
{
	vector sum = (vector)(0.0f), m2 = (vector)(0.0f);
	for (int i = 0; i < length; i++)
		sum += LW_LOAD(VECTOR, x + (size_t)i * channels);
	const vector mean = LW_DIV(VECTOR, sum, (vector)((float)length));
	for (int i = 0; i < length; i++) {
		const vector deviation = LW_LOAD(VECTOR, x + (size_t)i * channels) - mean;
		m2 = fma(deviation, deviation, m2);
	}
	*squares = m2;
	return mean;
}

static inline vector normalize(vector x, vector mean, vector inverse_deviation, vector weight, vector bias)
{
	const vector xhat = (x - mean) * inverse_deviation;
	return fma(xhat, weight, bias);
}

/* Sum of the gradients and of gradient * xhat. */
static inline vector sums_of(__global const float *x, __global const float *gradient, int length, int channels, vector mean,
			     vector inverse_deviation, vector *product)
{
	vector sum = (vector)(0.0f), sum_product = (vector)(0.0f);
	for (int i = 0; i < length; i++) {
		const vector g = LW_LOAD(VECTOR, gradient + (size_t)i * channels);
		const vector xhat = (LW_LOAD(VECTOR, x + (size_t)i * channels) - mean) * inverse_deviation;
		sum += g;
		sum_product = fma(g, xhat, sum_product);
	}
	*product = sum_product;
	return sum;
}

/* Gradient of the input in training: scale * (g - (sum_g + xhat * sum_gxhat) / n). */
static inline vector input_gradient_of(vector x, vector g, vector mean, vector inverse_deviation, vector scale,
				       vector gradient_mean, vector product_mean)
{
	const vector xhat = (x - mean) * inverse_deviation;
	return scale * (g - fma(xhat, product_mean, gradient_mean));
}

#if VECTOR == 1
/* An item per part and channel, or per element; count of them. */
__kernel void batchnorm_statistics(__global const float *input, __global float *workspace, int count, int pixels, int channels)
{
	const int i = get_global_id(0), c = i % channels, part = i / channels;
	if (i >= count)
		return;
	float squares;
	workspace += PARTS_AT(channels) + i;
	workspace[0] = mean_of(input + (size_t)part_first(part, pixels) * channels + c, part_length(part, pixels), channels,
			       &squares);
	workspace[count] = squares;
}

__kernel void batchnorm_normalize(__global const float *input, __global float *output, __global const float *moments,
				  __global const float *weight, __global const float *bias, int count,
				  int pixels, int channels)
{
	const int i = get_global_id(0), c = i % channels;
	moments += c;
	if (i < count)
		output[i] = normalize(input[i], moments[0], moments[channels], weight[c], bias[c]);
}

__kernel void batchnorm_sums(__global const float *input, __global const float *output_gradient,
			     __global const float *moments, __global float *workspace, int count, int pixels,
			     int channels)
{
	const int i = get_global_id(0), c = i % channels, part = i / channels;
	if (i >= count)
		return;
	const size_t at = (size_t)part_first(part, pixels) * channels + c;
	float product;
	moments += c;
	workspace += PARTS_AT(channels) + i;
	workspace[0] = sums_of(input + at, output_gradient + at, part_length(part, pixels), channels, moments[0],
			       moments[channels], &product);
	workspace[count] = product;
}

__kernel void batchnorm_input_gradient(__global const float *input, __global const float *output_gradient,
				       __global const float *moments, __global const float *weight,
				       __global const float *workspace, __global float *input_gradient, int count, int pixels, int channels)
{
	const int i = get_global_id(0), c = i % channels;
	if (i >= count)
		return;
	moments += c;
	workspace += MEANS_AT(channels) + c;
	input_gradient[i] = input_gradient_of(input[i], output_gradient[i], moments[0], moments[channels],
					      weight[c] * moments[channels], workspace[0], workspace[channels]);
}

/* By running statistics, which do not depend on the input. */
__kernel void batchnorm_scale_gradient(__global const float *output_gradient, __global const float *moments,
				       __global const float *weight, __global float *input_gradient, int count, int pixels, int channels)
{
	const int i = get_global_id(0), c = i % channels;
	if (i < count)
		input_gradient[i] = weight[c] * moments[channels + c] * output_gradient[i];
}

/* Below: an item per channel. */

/* Joins the parts' statistics, in order, and moves the running ones; n is the number of pixels of all images. */
__kernel void batchnorm_join_statistics(__global const float *workspace, __global float *moments,
					__global float *running_mean, __global float *running_var, int parts, int pixels,
					int channels, float n, float eps, float keep, float momentum)
{
	const int c = get_global_id(0);
	if (c >= channels)
		return;
	__global const float *means = workspace + PARTS_AT(channels) + c, *squares = means + (size_t)parts * channels;
	float sum = 0.0f, total = 0.0f;
	for (int part = 0; part < parts; part++)
		sum = fma((float)part_length(part, pixels), means[(size_t)part * channels], sum);
	const float mean = lw_div_float(sum, n);
	for (int part = 0; part < parts; part++) {
		const float deviation = means[(size_t)part * channels] - mean;
		const float between = (float)part_length(part, pixels) * deviation;
		total += fma(between, deviation, squares[(size_t)part * channels]);
	}
	moments[c] = mean;
	moments[channels + c] = lw_div_float(1.0f, lw_sqrt_float(lw_div_float(total, n) + eps));
	running_mean[c] = fma(momentum, mean, keep * running_mean[c]);
	/* the unbiased variance; a single pixel has none, and the biased one, 0, stands in */
	running_var[c] = fma(momentum, lw_div_float(total, fmax(n - 1.0f, 1.0f)), keep * running_var[c]);
}

__kernel void batchnorm_running_moments(__global const float *running_mean, __global const float *running_var,
					__global float *workspace, int channels, float eps)
{
	const int c = get_global_id(0);
	if (c >= channels)
		return;
	workspace[c] = running_mean[c];
	workspace[channels + c] = lw_div_float(1.0f, lw_sqrt_float(running_var[c] + eps));
}

/* Joins the parts' sums. weight_gradient and bias_gradient may be NULL. */
__kernel void batchnorm_join_sums(__global float *workspace, __global float *weight_gradient, __global float *bias_gradient,
				  int parts, int channels, float n)
{
	const int c = get_global_id(0);
	if (c >= channels)
		return;
	__global const float *sums = workspace + PARTS_AT(channels) + c, *products = sums + (size_t)parts * channels;
	float sum = 0.0f, product = 0.0f;
	for (int part = 0; part < parts; part++) {
		sum += sums[(size_t)part * channels];
		product += products[(size_t)part * channels];
	}
	workspace[MEANS_AT(channels) + c] = lw_div_float(sum, n);
	workspace[MEANS_AT(channels) + channels + c] = lw_div_float(product, n);
	if (weight_gradient)
		weight_gradient[c] = product;
	if (bias_gradient)
		bias_gradient[c] = sum;
}
#else
/* An item per part, all channels, of which there are at least VECTOR; count is the number of parts and channels. */
#define FOR_CHANNELS for (int k = 0, c = 0; k < channels; k += VECTOR, c = min(k, channels - VECTOR))
#define AT(p) LW_LOAD(VECTOR, (p) + c)

__kernel void batchnorm_statistics_parts(__global const float *input, __global float *workspace, int count, int pixels,
					 int channels)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	input += (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + (size_t)part * channels;
	FOR_CHANNELS {
		vector squares;
		const vector mean = mean_of(input + c, length, channels, &squares);
		LW_STORE(VECTOR, mean, workspace + c);
		LW_STORE(VECTOR, squares, workspace + count + c);
	}
}

__kernel void batchnorm_normalize_parts(__global const float *input, __global float *output, __global const float *moments,
					__global const float *weight, __global const float *bias, int count,
					int pixels, int channels)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			const vector y = normalize(AT(input + at), AT(moments), AT(moments + channels), AT(weight), AT(bias));
			LW_STORE(VECTOR, y, output + at + c);
		}
}

__kernel void batchnorm_sums_parts(__global const float *input, __global const float *output_gradient,
				   __global const float *moments, __global float *workspace, int count,
				   int pixels, int channels)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	const size_t at = (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + (size_t)part * channels;
	FOR_CHANNELS {
		vector product;
		const vector sum = sums_of(input + at + c, output_gradient + at + c, length, channels, AT(moments),
					   AT(moments + channels), &product);
		LW_STORE(VECTOR, sum, workspace + c);
		LW_STORE(VECTOR, product, workspace + count + c);
	}
}

__kernel void batchnorm_input_gradient_parts(__global const float *input, __global const float *output_gradient,
					     __global const float *moments, __global const float *weight,
					     __global const float *workspace, __global float *input_gradient,
					     int count, int pixels, int channels)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	workspace += MEANS_AT(channels);
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			const vector inverse_deviation = AT(moments + channels);
			const vector dx = input_gradient_of(AT(input + at), AT(output_gradient + at), AT(moments),
							    inverse_deviation, AT(weight) * inverse_deviation,
							    AT(workspace), AT(workspace + channels));
			LW_STORE(VECTOR, dx, input_gradient + at + c);
		}
}

__kernel void batchnorm_scale_gradient_parts(__global const float *output_gradient, __global const float *moments,
					     __global const float *weight, __global float *input_gradient,
					     int count, int pixels, int channels)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	moments += channels;
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			const vector dx = AT(weight) * AT(moments) * AT(output_gradient + at);
			LW_STORE(VECTOR, dx, input_gradient + at + c);
		}
}
#endif
