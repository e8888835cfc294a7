/*
 * winograd_gpu.cl: the transforms of Winograd's convolutions on GPUs, the algorithm of winograd.cl. Points are matrices in
 * global memory: of the filter u[point][channel][output], of the input v[point][tile][channel], of the sums
 * m[point][tile][output]; gemm_gpu.cl multiplies them. An item transforms one square, in registers once its loops are
 * unrolled; its neighbours have the next channels, so that every access is coalesced.
 */
#include "winograd_transform.cl"

#define SIZE WINOGRAD_SIZE
#define OUTPUTS WINOGRAD_OUTPUTS
#define TAPS WINOGRAD_TAPS

/* n: the tile's outputs on that side; filters have none */
#if WINOGRAD_SIZE == 4
#define TRANSFORM_INPUT(i, from, step, o, n)                                                                           \
	WINOGRAD_INPUT_4(float, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], o[0], o[1], o[2], o[3])
#define TRANSFORM_FILTER(i, from, step, o, n)                                                                          \
	WINOGRAD_FILTER_2_3(float, i[from], i[from + step], i[from + 2 * step], o[0], o[1], o[2], o[3])
#define TRANSFORM_OUTPUT(i, from, step, o, n)                                                                          \
	WINOGRAD_OUTPUT_2_3(float, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], o[0], o[1])
#elif WINOGRAD_TAPS == 3
#define TRANSFORM_INPUT(i, from, step, o, n)                                                                           \
	WINOGRAD_INPUT_4_3(float, n, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], i[from + 4 * step], \
			   i[from + 5 * step], o[0], o[1], o[2], o[3], o[4], o[5])
#define TRANSFORM_FILTER(i, from, step, o, n)                                                                          \
	WINOGRAD_FILTER_4_3(float, i[from], i[from + step], i[from + 2 * step], o[0], o[1], o[2], o[3], o[4], o[5])
#define TRANSFORM_OUTPUT(i, from, step, o, n)                                                                          \
	WINOGRAD_OUTPUT_4_3(float, n, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], i[from + 4 * step], \
			    i[from + 5 * step], o[0], o[1], o[2], o[3])
#else
#define TRANSFORM_INPUT(i, from, step, o, n)                                                                           \
	WINOGRAD_INPUT_6(float, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], i[from + 4 * step],   \
			 i[from + 5 * step], o[0], o[1], o[2], o[3], o[4], o[5])
#define TRANSFORM_FILTER(i, from, step, o, n)                                                                          \
	WINOGRAD_FILTER_2_5(float, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], i[from + 4 * step], \
			    o[0], o[1], o[2], o[3], o[4], o[5])
#define TRANSFORM_OUTPUT(i, from, step, o, n)                                                                          \
	WINOGRAD_OUTPUT_2_5(float, i[from], i[from + step], i[from + 2 * step], i[from + 3 * step], i[from + 4 * step], \
			    i[from + 5 * step], o[0], o[1])
#endif

/* Defines `name`: a square of so many values a side to its points, which are stored `pitch` floats apart. */
#define DEFINE_POINTS(name, side, TRANSFORM)                                                                           \
	static inline void name(const float *square, __global float *to, size_t pitch, int rows, int columns)          \
	{                                                                                                              \
		float middle[SIZE * side], line[SIZE];                                                                 \
		_Pragma("unroll") for (int j = 0; j < side; j++) {                                                     \
			TRANSFORM(square, j, side, line, rows)                                                         \
			_Pragma("unroll") for (int i = 0; i < SIZE; i++) middle[i * side + j] = line[i];               \
		}                                                                                                      \
		_Pragma("unroll") for (int i = 0; i < SIZE; i++) {                                                     \
			TRANSFORM(middle, i * side, 1, line, columns)                                                  \
			_Pragma("unroll") for (int j = 0; j < SIZE; j++) to[(i * SIZE + j) * pitch] = line[j];         \
		}                                                                                                      \
	}
DEFINE_POINTS(filter_points, TAPS, TRANSFORM_FILTER)
DEFINE_POINTS(input_points, SIZE, TRANSFORM_INPUT)

/*
 * ids: output, channel. The weight of an output and channel starts at output * out_step + channel * channel_step; flip: its
 * taps are read backwards.
 */
__kernel void winograd_gpu_filter(__global const float *weight, __global float *u, int out_step, int channel_step, int flip)
{
	const int out = get_global_id(0), c = get_global_id(1);
	const size_t pitch = get_global_size(0) * get_global_size(1), at = (size_t)c * get_global_size(0) + out;
	__global const float *from = weight + ((size_t)out * out_step + (size_t)c * channel_step);
	float filter[TAPS * TAPS];

#pragma unroll
	for (int tap = 0; tap < TAPS * TAPS; tap++)
		filter[tap] = from[flip ? TAPS * TAPS - 1 - tap : tap];
	filter_points(filter, u + at, pitch, 0, 0);
}

/* x_at: the first tile's image. id: channel + channels * tile */
__kernel void winograd_gpu_input(__global const float *all_x, __global float *workspace, int x_at, int v_at, int tiles, int height,
				 int width, int channels, int pad_height, int pad_width, int out_height, int out_width)
{
	const int tile = (int)(get_global_id(0) / channels), c = (int)(get_global_id(0) % channels);

	if (tile >= tiles)
		return;
	const int down = (out_height + OUTPUTS - 1) / OUTPUTS, across = (out_width + OUTPUTS - 1) / OUTPUTS;
	const int image = tile / across / down, row = tile / across % down * OUTPUTS, column = tile % across * OUTPUTS;
	const int top = row - pad_height, left = column - pad_width;
	const size_t pitch = (size_t)tiles * channels;
	__global const float *x = all_x + x_at + (size_t)image * height * width * channels + c;
	__global float *v = workspace + v_at + (size_t)tile * channels + c;
	float square[SIZE * SIZE];

#pragma unroll
	for (int i = 0; i < SIZE; i++)
#pragma unroll
		for (int j = 0; j < SIZE; j++) {
			const int inside = top + i >= 0 && top + i < height && left + j >= 0 && left + j < width;
			square[i * SIZE + j] = inside ? x[((top + i) * width + left + j) * channels] : 0.0f;
		}
	input_points(square, v, pitch, WINOGRAD_SIDE(out_height - row), WINOGRAD_SIDE(out_width - column));
}

/* y_at: the first tile's image. id: output + outputs * tile */
__kernel void winograd_gpu_output(__global const float *workspace, __global const float *bias, __global float *all_y,
				  __global const float *all_mask, int m_at, int y_at, int tiles, int height, int width,
				  int outputs, int relu)
{
	const int tile = (int)(get_global_id(0) / outputs), k = (int)(get_global_id(0) % outputs);

	if (tile >= tiles)
		return;
	const int down = (height + OUTPUTS - 1) / OUTPUTS, across = (width + OUTPUTS - 1) / OUTPUTS;
	const int image = tile / across / down, top = tile / across % down * OUTPUTS, left = tile % across * OUTPUTS;
	const int rows = WINOGRAD_SIDE(height - top), columns = WINOGRAD_SIDE(width - left);
	const size_t pitch = (size_t)tiles * outputs, place = y_at + (size_t)image * height * width * outputs + k;
	__global const float *m = workspace + m_at + (size_t)tile * outputs + k;
	float square[SIZE * SIZE], middle[OUTPUTS * SIZE], line[OUTPUTS];

#pragma unroll
	for (int point = 0; point < SIZE * SIZE; point++)
		square[point] = m[point * pitch];
#pragma unroll
	for (int j = 0; j < SIZE; j++) {
		TRANSFORM_OUTPUT(square, j, SIZE, line, rows)
#pragma unroll
		for (int i = 0; i < OUTPUTS; i++)
			middle[i * SIZE + j] = line[i];
	}
#pragma unroll
	for (int i = 0; i < OUTPUTS; i++) {
		TRANSFORM_OUTPUT(middle, i * SIZE, 1, line, columns)
#pragma unroll
		for (int j = 0; j < OUTPUTS; j++) {
			const size_t at = place + ((size_t)(top + i) * width + left + j) * outputs;
			float result = (bias ? line[j] + bias[k] : line[j]) + LW_ZERO(height);
			if (top + i >= height || left + j >= width)
				continue;
			if ((relu && result <= 0.0f) || (all_mask && all_mask[at] <= 0.0f))
				result = 0.0f;
			all_y[at] = result;
		}
	}
}
