/*
 * batchnorm.cl: batch normalisation of NHWC images.
 *
 * Statistics are computed in parts: a part is up to 256 consecutive pixels of one image, so the order of every sum depends
 * on the shape alone. An item works on one part and VECTOR channels (1: dimension 0 counts parts and channels) or, in the
 * functions named _parts, on one part and all channels, in vectors of which the last overlaps the one before it.
 *
 * moments: the means of all channels, then the inverse deviations. The workspace: moments by running
 * statistics; the means, over all pixels, of the gradients and of gradient * xhat; two arrays of a number of each part and
 * channel, each `all` long, in which those of the call's images begin `before` from the front.
 */
#ifndef VECTOR
#define VECTOR 1
#endif
/* 1: what is stored goes around the caches */
#ifndef STREAM
#define STREAM 0
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

static inline vector normalize(vector x, vector mean, vector inverse_deviation, vector weight, vector bias)
{
	const vector xhat = (x - mean) * inverse_deviation;
	return fma(xhat, weight, bias);
}

/* The same, then the residual and relu, as add.cl and activation.cl have them. `at` is the element, c its channel. */
static inline vector output_of(__global const float *input, __global const float *residual, size_t at, __global const float *moments,
			       __global const float *weight, __global const float *bias, int c, int channels, int relu)
{
	vector y = normalize(LW_LOAD(VECTOR, input + at), LW_LOAD(VECTOR, moments + c), LW_LOAD(VECTOR, moments + channels + c),
			     LW_LOAD(VECTOR, weight + c), LW_LOAD(VECTOR, bias + c));
	if (residual)
		y += LW_LOAD(VECTOR, residual + at);
	if (relu)
		y = y <= 0.0f ? (vector)(0.0f) : y;
	return y;
}

/* The output's gradient behind relu. What relu's output was is read, or, where `output` is NULL, found again from the input. */
static inline vector gradient_of(__global const float *gradient, __global const float *output, __global const float *input, size_t at,
				 __global const float *moments, __global const float *weight, __global const float *bias, int c,
				 int channels, int relu)
{
	const vector g = LW_LOAD(VECTOR, gradient + at);
	if (!relu)
		return g;
	const vector y = output ? LW_LOAD(VECTOR, output + at) : output_of(input, 0, at, moments, weight, bias, c, channels, 0);
	return y <= 0.0f ? (vector)(0.0f) : g;
}

/* Gradient of the input in training: scale * (g - (sum_g + xhat * sum_gxhat) / n). */
static inline vector input_gradient_of(vector x, vector g, vector mean, vector inverse_deviation, vector scale,
				       vector gradient_mean, vector product_mean)
{
	const vector xhat = (x - mean) * inverse_deviation;
	return scale * (g - fma(xhat, product_mean, gradient_mean));
}

/*
 * By running statistics the input's gradient does not depend on the input: scale * g. Either gradient is masked by the
 * relu whose output the input is, if mask_input.
 */
static inline vector masked_by(vector x, vector dx, int mask_input)
{
	return mask_input ? (x <= 0.0f ? (vector)(0.0f) : dx) : dx;
}

/* What kernels of gradients need to know of the layer besides: see gradient_of. */
#define RELU_ARGUMENTS                                                                                                 \
	__global const float *output, __global const float *moments, __global const float *weight, __global const float *bias
#define RELU_GRADIENT(at, c) gradient_of(output_gradient, output, input, at, moments, weight, bias, c, channels, relu)

/*
 * Statistics of the vector of channels from c on, over a part: those of blocks of BLOCK pixels, or of single pixels after the
 * last whole block, joined in order (Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing
 * sample variances, 1979), so that memory is read once.
 */
#define STATISTICS                                                                                                     \
	{                                                                                                              \
		vector mean = (vector)(0.0f), squares = mean;                                                          \
		FOR_BLOCKS(JOIN_BLOCK, JOIN_PIXEL)                                                                     \
		STORE_PAIR(mean, squares)                                                                              \
	}
/* share: of the pixels from i on in those up to them; between: what the squared distance of their mean counts */
#define FOR_BLOCKS(WHOLE, SINGLE)                                                                                      \
	{                                                                                                              \
		int i = 0;                                                                                             \
		for (; i <= length - BLOCK; i += BLOCK) {                                                              \
			const float share = lw_div_float(BLOCK, (float)(i + BLOCK)), between = (float)i * share;       \
			WHOLE                                                                                          \
		}                                                                                                      \
		for (; i < length; i++) {                                                                              \
			const float share = lw_div_float(1.0f, (float)(i + 1)), between = (float)i * share;            \
			SINGLE                                                                                         \
		}                                                                                                      \
	}
#define BLOCK 8
#define X(k) LW_LOAD(VECTOR, input + (size_t)(i + (k)) * channels + c)
#define LOAD_PIXEL(k)                                                                                                  \
	LW_AHEAD(input + (size_t)(i + BLOCK + (k)) * channels + c)                                                     \
	const vector x##k = X(k);
#define ADD_SQUARE(k)                                                                                                  \
	const vector deviation##k = x##k - block_mean;                                                                 \
	block_squares = fma(deviation##k, deviation##k, block_squares);
#define JOIN(joined_mean, joined_squares)                                                                              \
	const vector distance = joined_mean - mean;                                                                    \
	mean = fma(distance, (vector)(share), mean);                                                                   \
	squares += fma(between * distance, distance, joined_squares);
#define JOIN_BLOCK                                                                                                     \
	{                                                                                                              \
		LW_EACH(BLOCK, LOAD_PIXEL)                                                                             \
		const vector block_mean = (((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7))) * (1.0f / BLOCK);        \
		vector block_squares = (vector)(0.0f);                                                                 \
		LW_EACH(BLOCK, ADD_SQUARE)                                                                             \
		JOIN(block_mean, block_squares)                                                                        \
	}
#define JOIN_PIXEL                                                                                                     \
	{                                                                                                              \
		JOIN(X(0), (vector)(0.0f))                                                                             \
	}

/*
 * The sums of the vector of channels from c on: a chain over a part's pixels, of which ADD_PIXEL adds pixel i. `masked`, where it
 * is not NULL, is given the gradient behind relu.
 */
#define SUMS                                                                                                           \
	{                                                                                                              \
		vector sum = (vector)(0.0f), product = sum;                                                            \
		for (int i = 0; i < length; i++)                                                                       \
			ADD_PIXEL                                                                                      \
		STORE_PAIR(sum, product)                                                                               \
	}
#define ADD_PIXEL                                                                                                      \
	{                                                                                                              \
		const size_t at = first + (size_t)i * channels + c;                                                    \
		LW_AHEAD(input + at + LW_DISTANCE)                                                                     \
		LW_AHEAD(output_gradient + at + LW_DISTANCE)                                                           \
		const vector centred = LW_LOAD(VECTOR, input + at) - LW_LOAD(VECTOR, moments + c);                     \
		const vector xhat = centred * LW_LOAD(VECTOR, moments + channels + c), g = RELU_GRADIENT(at, c);       \
		sum += g;                                                                                              \
		product = fma(g, xhat, product);                                                                       \
		if (masked)                                                                                            \
			LW_STREAM(STREAM, VECTOR, g, masked + at);                                                     \
	}
/* The two numbers of each channel that a part has in the workspace. */
#define STORE_PAIR(a, b)                                                                                               \
	LW_STORE(VECTOR, a, workspace + c);                                                                            \
	LW_STORE(VECTOR, b, workspace + all + c);

#if VECTOR == 1
/* An item per part and channel, or per element; count of them. */
__kernel void batchnorm_statistics(__global const float *input, __global float *workspace, int count, int pixels, int channels,
				   int before, int all)
{
	const int item = get_global_id(0), c = item % channels, part = item / channels, length = part_length(part, pixels);
	if (item >= count)
		return;
	input += (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + before + (size_t)part * channels;
	STATISTICS
}

__kernel void batchnorm_normalize(__global const float *input, __global float *output, __global const float *moments,
				  __global const float *weight, __global const float *bias, __global const float *residual, int count,
				  int pixels, int channels, int relu)
{
	const int i = get_global_id(0);
	if (i < count)
		output[i] = output_of(input, residual, i, moments, weight, bias, i % channels, channels, relu);
}

__kernel void batchnorm_sums(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
			     __global float *masked, __global float *workspace, int count, int pixels, int channels, int relu,
			     int before, int all)
{
	const int i = get_global_id(0), c = i % channels, part = i / channels, length = part_length(part, pixels);
	if (i >= count)
		return;
	const size_t first = (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + before + (size_t)part * channels;
	SUMS
}

__kernel void batchnorm_input_gradient(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
				       __global const float *workspace, __global float *input_gradient, int count, int pixels,
				       int channels, int relu, int mask_input)
{
	const int i = get_global_id(0), c = i % channels;
	if (i >= count)
		return;
	workspace += MEANS_AT(channels) + c;
	const float dx = input_gradient_of(input[i], RELU_GRADIENT(i, c), moments[c], moments[channels + c],
					   weight[c] * moments[channels + c], workspace[0], workspace[channels]);
	input_gradient[i] = masked_by(input[i], dx, mask_input);
}

__kernel void batchnorm_scale_gradient(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
				       __global float *input_gradient, int count, int pixels, int channels, int relu, int mask_input)
{
	const int i = get_global_id(0), c = i % channels;
	if (i >= count)
		return;
	const float dx = weight[c] * moments[channels + c] * RELU_GRADIENT(i, c);
	input_gradient[i] = mask_input ? masked_by(input[i], dx, 1) : dx;
}

/* An item per channel. */
__kernel void batchnorm_running_moments(__global const float *running_mean, __global const float *running_var,
					__global float *workspace, int channels, float eps)
{
	const int c = get_global_id(0);
	if (c >= channels)
		return;
	workspace[c] = running_mean[c];
	workspace[channels + c] = lw_div_float(1.0f, lw_sqrt_float(running_var[c] + eps));
}
#else
/*
 * An item per part, all channels, of which there are at least VECTOR; count is the number of parts and channels. The last
 * vector overlaps the one before it where channels are no multiple.
 */
#define FOR_CHANNELS for (int k = 0, c = 0; k < channels; k += VECTOR, c = min(k, channels - VECTOR))
#define AT(p) LW_LOAD(VECTOR, (p) + c)

/*
 * Memory is read in order, a pixel or a block of them at once, and the numbers of all channels so far wait in the workspace:
 * a part's lie in the nearest cache. A last vector that overlaps comes after these, with all pixels.
 */
#define FOR_VECTORS for (int c = 0; c <= channels - VECTOR; c += VECTOR)
#define CLEAR_PAIRS                                                                                                    \
	FOR_VECTORS {                                                                                                  \
		STORE_PAIR((vector)(0.0f), (vector)(0.0f))                                                             \
	}
#define UPDATE_PAIRS(a, b, STEP)                                                                                       \
	FOR_VECTORS {                                                                                                  \
		vector a = AT(workspace), b = AT(workspace + all);                                                     \
		STEP                                                                                                   \
		STORE_PAIR(a, b)                                                                                       \
	}

__kernel void batchnorm_statistics_parts(__global const float *input, __global float *workspace, int count, int pixels,
					 int channels, int before, int all)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	input += (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + before + (size_t)part * channels;
	CLEAR_PAIRS
	FOR_BLOCKS(UPDATE_PAIRS(mean, squares, JOIN_BLOCK), UPDATE_PAIRS(mean, squares, JOIN_PIXEL))
	if (channels % VECTOR) {
		const int c = channels - VECTOR;
		STATISTICS
	}
}

__kernel void batchnorm_normalize_parts(__global const float *input, __global float *output, __global const float *moments,
					__global const float *weight, __global const float *bias, __global const float *residual,
					int count, int pixels, int channels, int relu)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			LW_AHEAD(input + at + c + LW_DISTANCE)
			const vector y = output_of(input, residual, at + c, moments, weight, bias, c, channels, relu);
			LW_STREAM(STREAM, VECTOR, y, output + at + c);
		}
}

__kernel void batchnorm_sums_parts(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
				   __global float *masked, __global float *workspace, int count, int pixels, int channels, int relu,
				   int before, int all)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	const size_t first = (size_t)part_first(part, pixels) * channels;
	workspace += PARTS_AT(channels) + before + (size_t)part * channels;
	CLEAR_PAIRS
	for (int i = 0; i < length; i++)
		UPDATE_PAIRS(sum, product, ADD_PIXEL)
	if (channels % VECTOR) {
		const int c = channels - VECTOR;
		SUMS
	}
}

__kernel void batchnorm_input_gradient_parts(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
					     __global const float *workspace, __global float *input_gradient, int count, int pixels,
					     int channels, int relu, int mask_input)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	workspace += MEANS_AT(channels);
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			LW_AHEAD(input + at + c + LW_DISTANCE)
			LW_AHEAD(output_gradient + at + c + LW_DISTANCE)
			const vector x = AT(input + at), inverse_deviation = AT(moments + channels);
			const vector dx = input_gradient_of(x, RELU_GRADIENT(at + c, c), AT(moments), inverse_deviation,
							    AT(weight) * inverse_deviation, AT(workspace), AT(workspace + channels));
			LW_STREAM(STREAM, VECTOR, masked_by(x, dx, mask_input), input_gradient + at + c);
		}
}

__kernel void batchnorm_scale_gradient_parts(__global const float *input, __global const float *output_gradient, RELU_ARGUMENTS,
					     __global float *input_gradient, int count, int pixels, int channels, int relu,
					     int mask_input)
{
	const int part = get_global_id(0), length = part_length(part, pixels);
	size_t at = (size_t)part_first(part, pixels) * channels;
	for (int i = 0; i < length; i++, at += channels)
		FOR_CHANNELS {
			LW_AHEAD(output_gradient + at + c + LW_DISTANCE)
			vector dx = AT(weight) * AT(moments + channels) * RELU_GRADIENT(at + c, c);
			if (mask_input)
				dx = masked_by(AT(input + at), dx, 1);
			LW_STREAM(STREAM, VECTOR, dx, input_gradient + at + c);
		}
}
#endif

/* Below: an item per VECTOR channels, of which channels are a multiple. */
#define AT_PART(p) LW_LOAD(VECTOR, (p) + (size_t)part * channels)

/* left: pixels of the image that are not in parts before */
#define FOR_PARTS for (int part = 0, left = pixels; part < parts; part++, left = left > PART ? left - PART : pixels)

/* Joins the parts' statistics, in order, and moves the running ones; n is the number of pixels of all images. */
__kernel void batchnorm_join_statistics(__global const float *workspace, __global float *moments, __global float *running_mean,
					__global float *running_var, int parts, int pixels, int channels, float n, float eps,
					float keep, float momentum)
{
	const int c = get_global_id(0) * VECTOR;
	if (c >= channels)
		return;
	__global const float *means = workspace + PARTS_AT(channels) + c, *squares = means + (size_t)parts * channels;
	const vector all = (vector)(n);
	vector sum = (vector)(0.0f), total = sum;
	FOR_PARTS
		sum = fma((vector)((float)min(left, PART)), AT_PART(means), sum);
	const vector mean = LW_DIV(VECTOR, sum, all);
	FOR_PARTS {
		const vector deviation = AT_PART(means) - mean, between = (float)min(left, PART) * deviation;
		total += fma(between, deviation, AT_PART(squares));
	}
	const vector deviation = LW_SQRT(VECTOR, LW_DIV(VECTOR, total, all) + eps);
	/* the unbiased variance; a single pixel has none, and the biased one, 0, stands in */
	const vector variance = LW_DIV(VECTOR, total, (vector)(fmax(n - 1.0f, 1.0f)));
	LW_STORE(VECTOR, mean, moments + c);
	LW_STORE(VECTOR, LW_DIV(VECTOR, (vector)(1.0f), deviation), moments + channels + c);
	running_mean += c;
	running_var += c;
	LW_STORE(VECTOR, fma((vector)(momentum), mean, keep * LW_LOAD(VECTOR, running_mean)), running_mean);
	LW_STORE(VECTOR, fma((vector)(momentum), variance, keep * LW_LOAD(VECTOR, running_var)), running_var);
}

/* Joins the parts' sums. weight_gradient and bias_gradient may be NULL. */
__kernel void batchnorm_join_sums(__global float *workspace, __global float *weight_gradient, __global float *bias_gradient,
				  int parts, int channels, float n)
{
	const int c = get_global_id(0) * VECTOR;
	if (c >= channels)
		return;
	__global const float *sums = workspace + PARTS_AT(channels) + c, *products = sums + (size_t)parts * channels;
	__global float *means = workspace + MEANS_AT(channels) + c;
	vector sum = (vector)(0.0f), product = sum;
	for (int part = 0; part < parts; part++) {
		sum += AT_PART(sums);
		product += AT_PART(products);
	}
	LW_STORE(VECTOR, LW_DIV(VECTOR, sum, (vector)(n)), means);
	LW_STORE(VECTOR, LW_DIV(VECTOR, product, (vector)(n)), means + channels);
	if (weight_gradient)
		LW_STORE(VECTOR, product, weight_gradient + c);
	if (bias_gradient)
		LW_STORE(VECTOR, sum, bias_gradient + c);
}
