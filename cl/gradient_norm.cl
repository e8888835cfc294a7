/*
 * gradient_norm.cl: the 2-norm of each chunk's gradients, then of each clip domain, and the coefficients of clipping.
 *
 * A sum runs in LANES interleaved chains (element i goes to chain i mod LANES, ascending) that a binary tree joins, in
 * both forms, so all devices have the same bits. Where squares overflow though every term is finite, the sum is done
 * again on terms scaled by a power of two: a norm is NaN only where a gradient is not finite, and at most FLT_MAX.
 *
 * lanes is an argument: PoCL 3.1 lets threads share a __local array of the kernel's own that reaches a function.
 *
 * WORK_GROUP  1: one work-item runs all chains, in vectors (CPUs); 64, that is LANES: each work-item runs one
 */
#ifndef WORK_GROUP
#define WORK_GROUP 1
#endif
#define LANES 64

#if WORK_GROUP == 1
#define SYNCHRONISE
#else
#define SYNCHRONISE barrier(CLK_LOCAL_MEM_FENCE)
#endif

#define SMALL 0x1p-80f
#define LARGE 0x1p80f

/* The sum of all lanes, to every work-item. */
static inline float join(__local float *lanes)
{
	for (int width = LANES / 2; width; width /= 2) {
		SYNCHRONISE;
		for (int j = get_local_id(0); j < width; j += WORK_GROUP)
			lanes[j] = lanes[j] + lanes[j + width];
	}
	SYNCHRONISE;
	const float sum = lanes[0];
	SYNCHRONISE;
	return sum;
}

/* The norm from a sum of squares of terms that were scaled by 1 or by SMALL. */
static inline float norm_of(float sum, float scale)
{
	if (!isfinite(sum))
		return NAN;
	return fmin(LW_SQRT(1, sum) * (scale == SMALL ? LARGE : 1.0f), FLT_MAX);
}

static inline float chunk_sum(__global const float *g, int count, float scale, __local float *lanes)
{
#if WORK_GROUP == 1
	float16 sum0 = 0.0f, sum1 = 0.0f, sum2 = 0.0f, sum3 = 0.0f;
	int i = 0;

	for (; i <= count - LANES; i += LANES) {
		const float16 g0 = vload16(0, g + i) * scale, g1 = vload16(1, g + i) * scale;
		const float16 g2 = vload16(2, g + i) * scale, g3 = vload16(3, g + i) * scale;
		sum0 = sum0 + g0 * g0;
		sum1 = sum1 + g1 * g1;
		sum2 = sum2 + g2 * g2;
		sum3 = sum3 + g3 * g3;
	}
	vstore16(sum0, 0, lanes);
	vstore16(sum1, 1, lanes);
	vstore16(sum2, 2, lanes);
	vstore16(sum3, 3, lanes);
	for (int j = 0; i + j < count; j++) {
		const float rest = g[i + j] * scale;
		lanes[j] = lanes[j] + rest * rest;
	}
#else
	float sum = 0.0f;

	for (int i = get_local_id(0); i < count; i += LANES) {
		const float term = g[i] * scale;
		sum = sum + term * term;
	}
	lanes[get_local_id(0)] = sum;
#endif
	return join(lanes);
}

/* A work-group takes a chunk (offset, length, row, parameter): norms[chunk]. */
__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
chunk_norms(__global const int4 *chunks, __global const float *gradients, __global float *norms,
	    __local float *lanes)
{
	const int4 chunk = chunks[get_group_id(0)];
	float scale = 1.0f;
	float sum = chunk_sum(gradients + chunk.s0, chunk.s1, scale, lanes);

	if (!isfinite(sum)) {
		scale = SMALL;
		sum = chunk_sum(gradients + chunk.s0, chunk.s1, scale, lanes);
	}
	if (get_local_id(0) == 0)
		norms[get_group_id(0)] = norm_of(sum, scale);
}

/* Over the chunks of domain d; NaN where any chunk's norm is, in this domain or another. */
static inline float domain_sum(int d, __global const int4 *chunks, int chunk_count, __global const float *norms,
			       __global const int *domain_of_row, float scale, __local float *lanes)
{
	for (int j = get_local_id(0); j < LANES; j += WORK_GROUP)
		lanes[j] = 0.0f;
	for (int c = get_local_id(0); c < chunk_count; c += WORK_GROUP) {
		const float term = norms[c] * scale;

		if (isnan(term))
			lanes[c % LANES] = term;
		else if (domain_of_row[chunks[c].s2] == d)
			lanes[c % LANES] = lanes[c % LANES] + term * term;
	}
	return join(lanes);
}

/*
 * A work-group takes a clip domain d: domain_norms[d] from the norms of its chunks, and scale[row] of its rows; the
 * first one also takes the rows of no domain. A max_norm of 0 or less clips nothing.
 */
__kernel __attribute__((reqd_work_group_size(WORK_GROUP, 1, 1))) void
clip_coefficients(__global const int4 *chunks, int chunk_count, __global const float *norms,
		  __global const int *domain_of_row, int row_count, __global const float *max_norms,
		  __global float *domain_norms, __global float *scales, __local float *lanes)
{
	const int d = get_group_id(0);
	float scale = 1.0f;
	float sum = domain_sum(d, chunks, chunk_count, norms, domain_of_row, scale, lanes);

	if (!isfinite(sum)) {
		scale = SMALL;
		sum = domain_sum(d, chunks, chunk_count, norms, domain_of_row, scale, lanes);
	}
	const float norm = norm_of(sum, scale), limit = max_norms[d];
	float coefficient = 1.0f;

	if (limit > 0.0f)
		coefficient = fmin(LW_DIV(1, limit, norm + 1e-6f), 1.0f);
	if (get_local_id(0) == 0)
		domain_norms[d] = norm;
	for (int row = get_local_id(0); row < row_count; row += WORK_GROUP) {
		const int domain = domain_of_row[row];

		if (domain == d)
			scales[row] = isnan(norm) ? norm : coefficient;
		else if (domain < 0 && d == 0)
			scales[row] = isnan(norm) ? norm : 1.0f;
	}
}
