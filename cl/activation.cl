/*
 * activation.cl: relu, leaky_relu, relu6, sigmoid, tanh. Backward reads the output alone.
 *
 * KIND    0 relu, 1 leaky_relu, 2 relu6, 3 sigmoid, 4 tanh
 * VECTOR  width of the kernels that take a run of elements: 1, 4, 8, 16
 * STREAM  1: what is stored goes around the caches
 */
#ifndef KIND
#define KIND 0
#endif
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef STREAM
#define STREAM 0
#endif

/* Written so that NaN goes through, for a float or a vector of type T. */
#if KIND == 0
#define FORWARD(width, T, x) ((x) <= 0.0f ? (T)(0.0f) : (x))
#define BACKWARD(T, y, dy) ((y) <= 0.0f ? (T)(0.0f) : (dy))
#elif KIND == 1
#define FORWARD(width, T, x) ((x) > 0.0f ? (x) : (x) * slope)
#define BACKWARD(T, y, dy) ((y) > 0.0f ? (dy) : (dy) * slope)
#elif KIND == 2
#define FORWARD(width, T, x) ((x) <= 0.0f ? (T)(0.0f) : ((x) >= 6.0f ? (T)(6.0f) : (x)))
#define BACKWARD(T, y, dy) ((y) <= 0.0f ? (T)(0.0f) : ((y) >= 6.0f ? (T)(0.0f) : (dy)))
#elif KIND == 3
#define FORWARD(width, T, x) LW_SIGMOID(width, x)
#define BACKWARD(T, y, dy) ((dy) * ((y) * (1.0f - (y))))
#else
#define FORWARD(width, T, x) LW_TANH(width, x)
#define BACKWARD(T, y, dy) ((dy) * fma(-(y), (y), (T)(1.0f)))
#endif

/* An item per element. */
__kernel void activation_forward(__global const float *input, __global float *output, int count, float slope)
{
	const int i = get_global_id(0);
	if (i < count) {
		const float x = input[i];
		output[i] = FORWARD(1, float, x);
	}
}

__kernel void activation_backward(__global const float *output, __global const float *output_gradient,
				  __global float *input_gradient, int count, float slope)
{
	const int i = get_global_id(0);
	if (i < count) {
		const float y = output[i], dy = output_gradient[i];
		input_gradient[i] = BACKWARD(float, y, dy);
	}
}

typedef LW_FLOAT(VECTOR) vector;

/* An item per `run` elements. */
__kernel void activation_forward_runs(__global const float *input, __global float *output, int count, float slope, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - VECTOR; i += VECTOR) {
		LW_AHEAD(input + i + LW_DISTANCE)
		const vector x = LW_LOAD(VECTOR, input + i);
		const vector y = FORWARD(VECTOR, vector, x);
		LW_STREAM(STREAM, VECTOR, y, output + i);
	}
	for (; i < end; i++) {
		const float x = input[i];
		output[i] = FORWARD(1, float, x);
	}
}

__kernel void activation_backward_runs(__global const float *output, __global const float *output_gradient,
				       __global float *input_gradient, int count, float slope, int run)
{
	int i = (int)get_global_id(0) * run;
	const int end = min(count - i, run) + i;
	for (; i <= end - VECTOR; i += VECTOR) {
		const vector y = LW_LOAD(VECTOR, output + i), dy = LW_LOAD(VECTOR, output_gradient + i);
		const vector dx = BACKWARD(vector, y, dy);
		LW_STREAM(STREAM, VECTOR, dx, input_gradient + i);
	}
	for (; i < end; i++) {
		const float y = output[i], dy = output_gradient[i];
		input_gradient[i] = BACKWARD(float, y, dy);
	}
}
