/*
 * sgd.cl: stochastic gradient descent with momentum, PyTorch's and Caffe's, on every chunk in one launch.
 *
 * A work-group takes a chunk: it reads the chunk's row of numbers once and branches on them per chunk, so groups whose
 * options differ share the launch. Every product and sum is rounded where it is written; there is no fma.
 *
 * VECTOR      floats a work-item takes at once: 1, 4, 8, 16
 * WORK_GROUP  work-items of a work-group: 1 on a CPU, 64 or 256 elsewhere
 */
#ifndef VECTOR
#define VECTOR 1
#endif
#ifndef WORK_GROUP
#define WORK_GROUP 1
#endif
/* 1: what is new goes around the caches; chunks begin at multiples of VECTOR then */
#ifndef STREAM
#define STREAM 0
#endif

typedef LW_FLOAT(VECTOR) vector;

/* As src/optim/sgd.c writes a row. */
enum { LR, WEIGHT_DECAY, MOMENTUM, UNDAMPED, FORM, FIRST, ROW = 16 };
enum { PLAIN, HEAVY_BALL, NESTEROV, CAFFE };

/* The parameter's new value; *state is read unless this is the first update, and written unless there is no momentum. */
static inline vector sgd(vector p, vector g, vector *state, int form, int first, __global const float *row)
{
	const float lr = row[LR], momentum = row[MOMENTUM];

	g = g + row[WEIGHT_DECAY] * p;
	if (form == PLAIN)
		return p - lr * g;
	if (form == CAFFE) {
		*state = first ? lr * g : momentum * *state + lr * g;
		return p - *state;
	}
	*state = first ? g : momentum * *state + row[UNDAMPED] * g;
	if (form == NESTEROV)
		return p - lr * (g + momentum * *state);
	return p - lr * *state;
}

/*
 * chunks: offset, length, row, parameter. scale: by row, multiplies the gradient first; NaN leaves the chunk alone; may be
 * NULL. What is new may go where the old is.
 */
__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
sgd_update(__global const int4 *restrict chunks, __global const float *restrict rows, __global const float *restrict scale, __global const float *params,
	   __global const float *restrict gradients, __global const float *momentum, __global float *new_params,
	   __global float *new_momentum)
{
	const int4 chunk = chunks[get_group_id(0)];
	__global const float *row = rows + chunk.s2 * ROW;
	const float coefficient = scale ? scale[chunk.s2] : 1.0f;
	const int form = (int)row[FORM], first = row[FIRST] != 0.0f;
	const int loads_state = form != PLAIN && !first;
	int i = chunk.s0 + (int)get_local_id(0) * VECTOR;
	const int end = chunk.s0 + chunk.s1;
	vector state = 0.0f;

	if (isnan(coefficient))
		return;
	for (; i <= end - VECTOR; i += WORK_GROUP * VECTOR) {
		LW_AHEAD(params + i + LW_DISTANCE)
		LW_AHEAD(gradients + i + LW_DISTANCE)
		LW_AHEAD(momentum + i + LW_DISTANCE)
		const vector g = LW_LOAD(VECTOR, gradients + i) * coefficient;

		if (loads_state)
			state = LW_LOAD(VECTOR, momentum + i);
		const vector p = sgd(LW_LOAD(VECTOR, params + i), g, &state, form, first, row);
		LW_STREAM(STREAM, VECTOR, p, new_params + i);
		if (form != PLAIN)
			LW_STREAM(STREAM, VECTOR, state, new_momentum + i);
	}
	if (i < end) {
		const vector g = LW_LOAD_PART(VECTOR, gradients + i, end - i) * coefficient;

		if (loads_state)
			state = LW_LOAD_PART(VECTOR, momentum + i, end - i);
		const vector p = sgd(LW_LOAD_PART(VECTOR, params + i, end - i), g, &state, form, first, row);
		LW_STORE_PART(VECTOR, p, new_params + i, end - i);
		if (form != PLAIN)
			LW_STORE_PART(VECTOR, state, new_momentum + i, end - i);
	}
}
