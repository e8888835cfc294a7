/*
 * softmax_cross_entropy.cl: the loss. An item per row of logits; sums over the classes are chains in their order.
 *
 * A row labelled -1 is ignored: loss and gradient 0. Any other label that is no class makes both NaN.
 */
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
	int best = 0;
	for (int j = 1; j < classes; j++)
		best = logits[j] > logits[best] ? j : best;
	const float largest = logits[best];
	float sum = 0.0f, total = 0.0f;
	for (int j = 0; j < classes; j++) {
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
	for (int j = 0; j < classes; j++) {
		const float p = lw_div_float(lw_exp(logits[j] - largest), sum);
		const float target = j == label ? on_label + on_all : on_all;
		gradient[j] = (p - target) * scale;
	}
}
