/*
 * softmax_cross_entropy.cl: the loss. An item per row of logits; sums over the classes are chains in their order.
 *
 * A row labelled -1 is ignored: loss and gradient 0. Any other label that is no class makes both NaN.
 *
 * VECTOR  logits at once; the chains are the same
 */
#ifndef VECTOR
#define VECTOR 1
#endif
typedef LW_FLOAT(VECTOR) vector;
typedef LW_INT(VECTOR) int_vector;

/* The first of the largest logits; NaN is never larger. */
static inline int largest_of(__global const float *logits, int classes)
{
	int best = 0, j = 0, lanes[VECTOR];
	vector value = (vector)(logits[0]);
	int_vector where = (int_vector)(0);
	for (int k = 0; k < VECTOR; k++)
		lanes[k] = k;
	int_vector at = LW_LOAD(VECTOR, lanes);
	for (; j <= classes - VECTOR; j += VECTOR, at += VECTOR) {
		const vector next = LW_LOAD(VECTOR, logits + j);
		const int_vector better = next > value;
		where = better ? at : where;
		value = better ? next : value;
	}
	LW_STORE(VECTOR, where, lanes);
	best = lanes[0];
	for (int k = 1; k < VECTOR; k++) {
		const float candidate = logits[lanes[k]];
		best = candidate > logits[best] || (candidate == logits[best] && lanes[k] < best) ? lanes[k] : best;
	}
	for (; j < classes; j++)
		best = logits[j] > logits[best] ? j : best;
	return best;
}

static inline float add_in_order(vector terms, float sum)
{
	float lanes[VECTOR];
	LW_STORE(VECTOR, terms, lanes);
#pragma unroll
	for (int k = 0; k < VECTOR; k++)
		sum += lanes[k];
	return sum;
}

__kernel void softmax_cross_entropy(__global const float *logits, __global const int *labels, __global float *loss,
				    __global float *correct, __global float *gradient, int rows, int classes,
				    float on_label, float on_all, float scale)
{
	const int row = get_global_id(0);
	if (row >= rows)
		return;
	const int label = labels[row];
	logits += (size_t)row * classes;
	if (gradient)
		gradient += (size_t)row * classes;
	if (label < 0 || label >= classes) {
		const float nothing = label == -1 ? 0.0f : NAN;
		loss[row] = nothing;
		correct[row] = 0.0f;
		if (gradient)
			for (int j = 0; j < classes; j++)
				gradient[j] = nothing;
		return;
	}
	const int best = largest_of(logits, classes);
	const float largest = logits[best];
	float sum = 0.0f, total = 0.0f;
	int j = 0;
	for (; j <= classes - VECTOR; j += VECTOR) {
		const vector shifted = LW_LOAD(VECTOR, logits + j) - largest;
		sum = add_in_order(LW_EXP(VECTOR, shifted), sum);
		total = add_in_order(shifted, total);
	}
	for (; j < classes; j++) {
		const float shifted = logits[j] - largest;
		sum += lw_exp(shifted);
		total += shifted;
	}
	/* with log p = shifted - log sum: loss = -on_label * log p[label] - on_all * sum of log p */
	const float log_sum = lw_log(sum), shifted_label = logits[label] - largest;
	const float all = fma(-(float)classes, log_sum, total);
	const float smooth = on_all > 0.0f ? on_all * all : 0.0f;
	loss[row] = -fma(on_label, shifted_label - log_sum, smooth);
	correct[row] = best == label ? 1.0f : 0.0f;
	if (!gradient)
		return;
	for (j = 0; j <= classes - VECTOR; j += VECTOR) {
		const vector p = LW_DIV(VECTOR, LW_EXP(VECTOR, LW_LOAD(VECTOR, logits + j) - largest), (vector)(sum));
		LW_STORE(VECTOR, (p - on_all) * scale, gradient + j);
	}
	for (; j < classes; j++) {
		const float p = lw_div_float(lw_exp(logits[j] - largest), sum);
		gradient[j] = (p - on_all) * scale;
	}
	gradient[label] = (lw_div_float(lw_exp(shifted_label), sum) - (on_label + on_all)) * scale;
}
