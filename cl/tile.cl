/*
 * tile.cl: register tiles of the kernels for CPUs, for inclusion: ROWS rows of VECTORS vectors, accumulators c<row>_<vector>.
 * They are named variables, because a private array leaves the registers on some compilers.
 *
 * VECTOR   width of a vector: 1, 4, 8, 16
 * VECTORS  vectors in a tile's row: 1 .. 4
 * ROWS     rows of a tile: 1 .. 16
 */
#ifndef VECTOR
#define VECTOR 4
#endif
#ifndef VECTORS
#define VECTORS 2
#endif
#ifndef ROWS
#define ROWS 4
#endif
#define LANES (VECTOR * VECTORS)

/* F(i, 0) F(i, 1) .. for the vectors of row i */
#if VECTORS == 1
#define EACH_VECTOR(i, F) F(i, 0)
#elif VECTORS == 2
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1)
#elif VECTORS == 3
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1) F(i, 2)
#else
#define EACH_VECTOR(i, F) F(i, 0) F(i, 1) F(i, 2) F(i, 3)
#endif

typedef LW_FLOAT(VECTOR) vector;
/* One at any address, for loops that copy: compilers may make several narrow moves of vloadn and vstoren there. */
typedef vector __attribute__((aligned(4))) loose_vector;

/* The first `count` of VECTOR floats, one or more, and zeros */
static inline vector load_some(__global const float *from, int count)
{
	if (count >= VECTOR)
		return LW_LOAD(VECTOR, from);
	return LW_LOAD_PART(VECTOR, from, count);
}

/* For LW_EACH(ROWS, ..): the accumulators start as `zero`, come from from[row * pitch], go to to[row * pitch]. */
#define DECLARE_ONE(i, j) vector c##i##_##j = zero;
#define DECLARE(i) EACH_VECTOR(i, DECLARE_ONE)
#define CLEAR_ONE(i, j) c##i##_##j = zero;
#define CLEAR(i) EACH_VECTOR(i, CLEAR_ONE)
#define LOAD_ONE(i, j) c##i##_##j = LW_LOAD(VECTOR, from + i * pitch + j * VECTOR);
#define LOAD(i) EACH_VECTOR(i, LOAD_ONE)
#define STORE_ONE(i, j) LW_STORE(VECTOR, c##i##_##j, to + i * pitch + j * VECTOR);
#define STORE(i) EACH_VECTOR(i, STORE_ONE)
/* a row's accumulators += value<row> times the vectors b0, b1 .. */
#define STEP_ONE(i, j) c##i##_##j = fma(value##i, b##j, c##i##_##j);
/* a row's accumulators + the vectors b0, b1 .. */
#define BIAS_ONE(i, j) c##i##_##j = c##i##_##j + b##j;
#define BIAS(i) EACH_VECTOR(i, BIAS_ONE)
/* what ends a chain: + LW_ZERO */
#define END_ONE(i, j) c##i##_##j = c##i##_##j + zero;
#define END(i) EACH_VECTOR(i, END_ONE)
/* relu that lets NaN pass */
#define RELU_ONE(i, j) c##i##_##j = select(c##i##_##j, (vector)(0.0f), c##i##_##j <= (vector)(0.0f));
#define RELU(i) EACH_VECTOR(i, RELU_ONE)
/* zero where mask[row * pitch], a relu's output, is not above 0 */
#define MASK_ONE(i, j)                                                                                                 \
	c##i##_##j = select(c##i##_##j, (vector)(0.0f),                                                                \
			    LW_LOAD(VECTOR, mask + i * pitch + j * VECTOR) <= (vector)(0.0f));
#define MASK(i) EACH_VECTOR(i, MASK_ONE)

/* Declares b0, b1 .. from p. */
#define LOAD_VECTOR(p, j) const vector b##j = LW_LOAD(VECTOR, (p) + j * VECTOR);
#if VECTORS == 1
#define LOAD_VECTORS(p) LOAD_VECTOR(p, 0)
#elif VECTORS == 2
#define LOAD_VECTORS(p) LOAD_VECTOR(p, 0) LOAD_VECTOR(p, 1)
#elif VECTORS == 3
#define LOAD_VECTORS(p) LOAD_VECTOR(p, 0) LOAD_VECTOR(p, 1) LOAD_VECTOR(p, 2)
#else
#define LOAD_VECTORS(p) LOAD_VECTOR(p, 0) LOAD_VECTOR(p, 1) LOAD_VECTOR(p, 2) LOAD_VECTOR(p, 3)
#endif

/*
 * What ends a tile of a convolution's outputs: the bias, which lies behind the weights at w, + LW_ZERO, relu and the mask. Rows
 * first .. last - 1, `lanes` outputs of each, go to out + row * row_pitch; mask, laid out as out, may be NULL; room is a
 * tile in local memory, by which what is not whole goes. Kernels have the names bias, relu, zero, w, mask and out.
 */
#define FINISH_OUTPUTS(row_pitch, first, last, lanes, room)                                                            \
	if (bias) {                                                                                                    \
		LOAD_VECTORS(w)                                                                                        \
		LW_EACH(ROWS, BIAS)                                                                                    \
	}                                                                                                              \
	LW_EACH(ROWS, END)                                                                                             \
	if (relu) {                                                                                                    \
		LW_EACH(ROWS, RELU)                                                                                    \
	}                                                                                                              \
	if ((lanes) == LANES && (first) == 0 && (last) == ROWS) {                                                      \
		__global float *to = out;                                                                              \
		const size_t pitch = row_pitch;                                                                        \
		if (mask) {                                                                                            \
			LW_EACH(ROWS, MASK)                                                                            \
		}                                                                                                      \
		LW_EACH(ROWS, STORE)                                                                                   \
	} else {                                                                                                       \
		__local float *to = room;                                                                              \
		const size_t pitch = LANES;                                                                            \
		LW_EACH(ROWS, STORE)                                                                                   \
		for (int i = first; i < (last); i++) {                                                                 \
			const size_t row = (size_t)i * (row_pitch);                                                    \
			int j = 0;                                                                                     \
			for (; !mask && j <= (lanes) - VECTOR; j += VECTOR)                                            \
				LW_STORE(VECTOR, LW_LOAD(VECTOR, room + i * LANES + j), out + row + j);                \
			for (; j < (lanes); j++)                                                                       \
				out[row + j] = mask && mask[row + j] <= 0.0f ? 0.0f : room[i * LANES + j];             \
		}                                                                                                      \
	}

/* Four rows of 4 floats become to[0..3], to[pitch ..], to[2 * pitch ..], to[3 * pitch ..]. */
#define TRANSPOSE4(r0, r1, r2, r3, to, pitch)                                                                          \
	{                                                                                                              \
		const float4 low02 = (float4)(r0.lo, r2.lo), low13 = (float4)(r1.lo, r3.lo);                           \
		const float4 high02 = (float4)(r0.hi, r2.hi), high13 = (float4)(r1.hi, r3.hi);                         \
		vstore4((float4)(low02.s0, low13.s0, low02.s2, low13.s2), 0, to);                                      \
		vstore4((float4)(low02.s1, low13.s1, low02.s3, low13.s3), 0, (to) + (pitch));                          \
		vstore4((float4)(high02.s0, high13.s0, high02.s2, high13.s2), 0, (to) + 2 * (pitch));                  \
		vstore4((float4)(high02.s1, high13.s1, high02.s3, high13.s3), 0, (to) + 3 * (pitch));                  \
	}
