/*
 * adam.cl: Adam (Kingma and Ba 2015) with weight decay as L2, AdamW (Loshchilov and Hutter 2019), AMSGrad (Reddi et al.
 * 2018), on every chunk in one launch.
 *
 * A work-group takes a chunk: it reads the chunk's row of numbers once. Every product and sum is rounded where it is
 * written; there is no fma. The bias corrections come from the host, computed in double.
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

/* As src/optim/adam.c writes a row. */
enum { STEP, WEIGHT_DECAY, KEEP, BETA1, REST1, BETA2, REST2, EPS, CORRECTION2, AMSGRAD, FIRST, ROW = 16 };

/* Exponential averages of the gradient and of its square, and the largest of the latter. */
typedef struct moments {
	vector m, v, largest;
} moments;

/* The parameter's new value. At the first update the moments are not read: they start at zero. */
static inline vector adam(vector p, vector g, moments *s, int amsgrad, int first, __global const float *row)
{
	p = row[KEEP] * p;
	g = g + row[WEIGHT_DECAY] * p;
	s->m = first ? row[REST1] * g : row[BETA1] * s->m + row[REST1] * g;
	s->v = first ? row[REST2] * g * g : row[BETA2] * s->v + row[REST2] * g * g;
	vector v = s->v;
	if (amsgrad) {
		/* written so that NaN goes through */
		s->largest = first ? v : v <= s->largest ? s->largest : v;
		v = s->largest;
	}
	const vector denominator = LW_DIV(VECTOR, LW_SQRT(VECTOR, v), (vector)row[CORRECTION2]) + row[EPS];
	return p - row[STEP] * LW_DIV(VECTOR, s->m, denominator);
}

/*
 * chunks: offset, length, row, parameter. scale: by row, multiplies the gradient first; NaN leaves the chunk alone; may
 * be NULL, as may max_exp_avg_sq where no row has amsgrad. What is new may go where the old is.
 */
__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
adam_update(__global const int4 *restrict chunks, __global const float *restrict rows, __global const float *restrict scale, __global const float *params,
	    __global const float *restrict gradients, __global const float *exp_avg, __global const float *exp_avg_sq,
	    __global const float *max_exp_avg_sq, __global float *new_params, __global float *new_exp_avg,
	    __global float *new_exp_avg_sq, __global float *new_max_exp_avg_sq)
{
	const int4 chunk = chunks[get_group_id(0)];
	__global const float *row = rows + chunk.s2 * ROW;
	const float coefficient = scale ? scale[chunk.s2] : 1.0f;
	const int amsgrad = row[AMSGRAD] != 0.0f, first = row[FIRST] != 0.0f;
	int i = chunk.s0 + (int)get_local_id(0) * VECTOR;
	const int end = chunk.s0 + chunk.s1;
	moments s = {0.0f, 0.0f, 0.0f};

	if (isnan(coefficient))
		return;
	for (; i <= end - VECTOR; i += WORK_GROUP * VECTOR) {
		LW_AHEAD(params + i + LW_DISTANCE)
		LW_AHEAD(gradients + i + LW_DISTANCE)
		LW_AHEAD(exp_avg + i + LW_DISTANCE)
		LW_AHEAD(exp_avg_sq + i + LW_DISTANCE)
		const vector g = LW_LOAD(VECTOR, gradients + i) * coefficient;

		if (!first) {
			s.m = LW_LOAD(VECTOR, exp_avg + i);
			s.v = LW_LOAD(VECTOR, exp_avg_sq + i);
			if (amsgrad)
				s.largest = LW_LOAD(VECTOR, max_exp_avg_sq + i);
		}
		const vector p = adam(LW_LOAD(VECTOR, params + i), g, &s, amsgrad, first, row);
		LW_STREAM(STREAM, VECTOR, p, new_params + i);
		LW_STREAM(STREAM, VECTOR, s.m, new_exp_avg + i);
		LW_STREAM(STREAM, VECTOR, s.v, new_exp_avg_sq + i);
		if (amsgrad)
			LW_STREAM(STREAM, VECTOR, s.largest, new_max_exp_avg_sq + i);
	}
	if (i < end) {
		const int count = end - i;
		const vector g = LW_LOAD_PART(VECTOR, gradients + i, count) * coefficient;

		if (!first) {
			s.m = LW_LOAD_PART(VECTOR, exp_avg + i, count);
			s.v = LW_LOAD_PART(VECTOR, exp_avg_sq + i, count);
			if (amsgrad)
				s.largest = LW_LOAD_PART(VECTOR, max_exp_avg_sq + i, count);
		}
		const vector p = adam(LW_LOAD_PART(VECTOR, params + i, count), g, &s, amsgrad, first, row);
		LW_STORE_PART(VECTOR, p, new_params + i, count);
		LW_STORE_PART(VECTOR, s.m, new_exp_avg + i, count);
		LW_STORE_PART(VECTOR, s.v, new_exp_avg_sq + i, count);
		if (amsgrad)
			LW_STORE_PART(VECTOR, s.largest, new_max_exp_avg_sq + i, count);
	}
}
