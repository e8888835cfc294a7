/*
 * winograd_simple.cl: Winograd's convolutions with one work-item per result: anywhere. The algorithm is winograd.cl's. Filters U
 * are [point][channel][output], points of the input V [point][tile][channel].
 */
#include "winograd_transform.cl"

#define SIZE WINOGRAD_SIZE
#define OUTPUTS WINOGRAD_OUTPUTS
#define TAPS WINOGRAD_TAPS

/* One line of numbers, `step` apart, to another; n: the tile's outputs on that side. */
static inline void filter_line(const float *i, int step, float *o, int out_step)
{
#if WINOGRAD_SIZE == 4
	WINOGRAD_FILTER_2_3(float, i[0], i[step], i[2 * step], o[0], o[out_step], o[2 * out_step], o[3 * out_step])
#elif WINOGRAD_TAPS == 3
	WINOGRAD_FILTER_4_3(float, i[0], i[step], i[2 * step], o[0], o[out_step], o[2 * out_step], o[3 * out_step],
			    o[4 * out_step], o[5 * out_step])
#else
	WINOGRAD_FILTER_2_5(float, i[0], i[step], i[2 * step], i[3 * step], i[4 * step], o[0], o[out_step], o[2 * out_step],
			    o[3 * out_step], o[4 * out_step], o[5 * out_step])
#endif
}

static inline void input_line(const float *i, int step, float *o, int out_step, int n)
{
#if WINOGRAD_SIZE == 4
	WINOGRAD_INPUT_4(float, i[0], i[step], i[2 * step], i[3 * step], o[0], o[out_step], o[2 * out_step], o[3 * out_step])
#elif WINOGRAD_TAPS == 3
	WINOGRAD_INPUT_4_3(float, n, i[0], i[step], i[2 * step], i[3 * step], i[4 * step], i[5 * step], o[0], o[out_step],
			   o[2 * out_step], o[3 * out_step], o[4 * out_step], o[5 * out_step])
#else
	WINOGRAD_INPUT_6(float, i[0], i[step], i[2 * step], i[3 * step], i[4 * step], i[5 * step], o[0], o[out_step],
			 o[2 * out_step], o[3 * out_step], o[4 * out_step], o[5 * out_step])
#endif
}

static inline void output_line(const float *i, int step, float *o, int out_step, int n)
{
#if WINOGRAD_SIZE == 4
	WINOGRAD_OUTPUT_2_3(float, i[0], i[step], i[2 * step], i[3 * step], o[0], o[out_step])
#elif WINOGRAD_TAPS == 3
	WINOGRAD_OUTPUT_4_3(float, n, i[0], i[step], i[2 * step], i[3 * step], i[4 * step], i[5 * step], o[0], o[out_step],
			    o[2 * out_step], o[3 * out_step])
#else
	WINOGRAD_OUTPUT_2_5(float, i[0], i[step], i[2 * step], i[3 * step], i[4 * step], i[5 * step], o[0], o[out_step])
#endif
}

/* ids: output, channel. The weight's steps as in winograd.cl. */
__kernel void winograd_simple_filter(__global const float *restrict weight, __global float *restrict u, int channels, int outputs,
				     int out_step, int inner_step, int flip)
{
	const int k = get_global_id(0), c = get_global_id(1);
	float filter[TAPS * TAPS], middle[SIZE * TAPS], points[WINOGRAD_POINTS];

	for (int tap = 0; tap < TAPS * TAPS; tap++)
		filter[flip ? TAPS * TAPS - 1 - tap : tap] = weight[(size_t)k * out_step + (size_t)c * inner_step + tap];
	for (int s = 0; s < TAPS; s++)
		filter_line(filter + s, TAPS, middle + s, TAPS);
	for (int i = 0; i < SIZE; i++)
		filter_line(middle + i * TAPS, 1, points + i * SIZE, 1);
	for (int point = 0; point < WINOGRAD_POINTS; point++)
		u[((size_t)point * channels + c) * outputs + k] = points[point];
}

/* ids: channel, tile */
__kernel void winograd_simple_input(__global const float *restrict x, __global float *restrict workspace, int v_at, int height,
				    int width, int pad_height, int pad_width, int out_height, int out_width)
{
	const int c = get_global_id(0), channels = get_global_size(0), t = get_global_id(1), tiles = get_global_size(1);
	const int across = (out_width + OUTPUTS - 1) / OUTPUTS, image_tiles = (out_height + OUTPUTS - 1) / OUTPUTS * across;
	const int image = t / image_tiles, first_row = t % image_tiles / across * OUTPUTS, first_column = t % across * OUTPUTS;
	const int top = first_row - pad_height, left = first_column - pad_width;
	const int rows = WINOGRAD_SIDE(out_height - first_row), columns = WINOGRAD_SIDE(out_width - first_column);
	float values[WINOGRAD_POINTS], middle[WINOGRAD_POINTS];

	for (int i = 0; i < SIZE; i++)
		for (int j = 0; j < SIZE; j++) {
			const int h = top + i, w = left + j;
			const bool inside = h >= 0 && h < height && w >= 0 && w < width;
			values[i * SIZE + j] = inside ? x[(((size_t)image * height + h) * width + w) * channels + c] : 0.0f;
		}
	for (int j = 0; j < SIZE; j++)
		input_line(values + j, SIZE, middle + j, SIZE, rows);
	for (int i = 0; i < SIZE; i++)
		input_line(middle + i * SIZE, 1, values + i * SIZE, 1, columns);
	for (int point = 0; point < WINOGRAD_POINTS; point++)
		workspace[v_at + ((size_t)point * tiles + t) * channels + c] = values[point];
}

/* ids: output, tile. bias and mask may be null. */
__kernel void winograd_simple_output(__global const float *restrict workspace, __global const float *restrict bias,
				     __global float *restrict y, __global const float *restrict mask, int v_at, int channels,
				     int height, int width, int relu)
{
	const int k = get_global_id(0), outputs = get_global_size(0), t = get_global_id(1), tiles = get_global_size(1);
	const int across = (width + OUTPUTS - 1) / OUTPUTS, image_tiles = (height + OUTPUTS - 1) / OUTPUTS * across;
	const int image = t / image_tiles, top = t % image_tiles / across * OUTPUTS, left = t % across * OUTPUTS;
	const int rows = WINOGRAD_SIDE(height - top), columns = WINOGRAD_SIDE(width - left);
	float points[WINOGRAD_POINTS], middle[OUTPUTS * SIZE], results[OUTPUTS * OUTPUTS];

	for (int point = 0; point < WINOGRAD_POINTS; point++) {
		__global const float *u = workspace + ((size_t)point * channels * outputs + k);
		__global const float *v = workspace + (v_at + ((size_t)point * tiles + t) * channels);
		float sum = 0.0f;
		for (int c = 0; c < channels; c++)
			sum = fma(v[c], u[(size_t)c * outputs], sum);
		points[point] = sum;
	}
	for (int j = 0; j < SIZE; j++)
		output_line(points + j, SIZE, middle + j, SIZE, rows);
	for (int p = 0; p < rows; p++)
		output_line(middle + p * SIZE, 1, results + p * OUTPUTS, 1, columns);
	for (int p = 0; p < OUTPUTS && top + p < height; p++)
		for (int q = 0; q < OUTPUTS && left + q < width; q++) {
			const size_t at = (((size_t)image * height + top + p) * width + left + q) * outputs + k;
			float result = results[p * OUTPUTS + q];
			if (bias)
				result = result + bias[k];
			result = result + LW_ZERO(height);
			if (relu && result <= 0.0f)
				result = 0.0f;
			if (mask && mask[at] <= 0.0f)
				result = 0.0f;
			y[at] = result;
		}
}
