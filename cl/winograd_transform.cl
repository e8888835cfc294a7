/*
 * winograd_transform.cl: Winograd's one-dimensional transforms (Lavin and Gray 2015), for inclusion.
 *
 * F(2,3) takes 4 points 0, 1, -1, infinity; F(4,3) and F(2,5) take 6: 0, 1, -1, 2, -2, infinity. With d the input tile, g the
 * filter, outputs are A^T ((G g G^T) * (B^T d B)) A. These steps are part of the algorithm: each is rounded as written.
 * A transform of a square is done down its columns first, then along its rows.
 *
 * A tile of F(4,3) that only n = 1, 2 or 3 outputs are left for is one of F(n,3), by the same filters: it sees n + 2 inputs and
 * takes the first n + 1 points and infinity, WINOGRAD_HAS_POINT. What its inputs' points are multiplied by makes up for the
 * filters' being scaled for F(4,3); its points that are not taken are 0.
 *
 * Macros over names, because private arrays leave the registers on some compilers: T the type (float or a vector of
 * them), i0 .. the inputs, o0 .. the outputs, assigned to, none of them an input.
 *
 * WINOGRAD_OUTPUTS  outputs of a tile along a side: 2, 4
 * WINOGRAD_TAPS     taps of the filter along a side: 3, 5
 */
#ifndef WINOGRAD_OUTPUTS
#define WINOGRAD_OUTPUTS 4
#endif
#ifndef WINOGRAD_TAPS
#define WINOGRAD_TAPS 3
#endif
#define WINOGRAD_SIZE (WINOGRAD_OUTPUTS + WINOGRAD_TAPS - 1)
#define WINOGRAD_POINTS (WINOGRAD_SIZE * WINOGRAD_SIZE)

/* Outputs of a tile's side that `left` are left for, and whether it takes a point */
#define WINOGRAD_SIDE(left) (WINOGRAD_OUTPUTS == 4 ? min(WINOGRAD_OUTPUTS, left) : WINOGRAD_OUTPUTS)
#define WINOGRAD_HAS_POINT(i, n) ((i) < (n) + WINOGRAD_TAPS - 2 || (i) == WINOGRAD_SIZE - 1)

/* For kernels with lines of named variables, of type vector: the inputs d0 .., the outputs o0 .. ; n: the tile's outputs on that side */
#if WINOGRAD_SIZE == 4
#define EACH_POINT(F) F(0) F(1) F(2) F(3)
#define INPUT_LINE(n) WINOGRAD_INPUT_4(vector, d0, d1, d2, d3, o0, o1, o2, o3)
#else
#define EACH_POINT(F) F(0) F(1) F(2) F(3) F(4) F(5)
#if WINOGRAD_TAPS == 3
#define INPUT_LINE(n) WINOGRAD_INPUT_4_3(vector, n, d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5)
#else
#define INPUT_LINE(n) WINOGRAD_INPUT_6(vector, d0, d1, d2, d3, d4, d5, o0, o1, o2, o3, o4, o5)
#endif
#endif
#if WINOGRAD_OUTPUTS == 4
#define EACH_OUTPUT(F) F(0) F(1) F(2) F(3)
#else
#define EACH_OUTPUT(F) F(0) F(1)
#endif
#define DECLARE_IN(i) vector d##i;
#define DECLARE_OUT(i) vector o##i;

/* B^T: an input tile to its points. */
#define WINOGRAD_INPUT_4(T, i0, i1, i2, i3, o0, o1, o2, o3)                                                            \
	{                                                                                                              \
		o0 = i0 - i2;                                                                                          \
		o1 = i1 + i2;                                                                                          \
		o2 = i2 - i1;                                                                                          \
		o3 = i1 - i3;                                                                                          \
	}
#define WINOGRAD_INPUT_6(T, i0, i1, i2, i3, i4, i5, o0, o1, o2, o3, o4, o5)                                            \
	{                                                                                                              \
		const T even = fma((T)(-4.0f), i2, i4), odd = fma((T)(-4.0f), i1, i3);                                 \
		const T far_even = i4 - i2, far_odd = i3 - i1;                                                         \
		o0 = fma((T)(4.0f), i0, fma((T)(-5.0f), i2, i4));                                                      \
		o1 = even + odd;                                                                                       \
		o2 = even - odd;                                                                                       \
		o3 = fma((T)(2.0f), far_odd, far_even);                                                                \
		o4 = fma((T)(-2.0f), far_odd, far_even);                                                               \
		o5 = fma((T)(4.0f), i1, fma((T)(-5.0f), i3, i5));                                                      \
	}
#define WINOGRAD_INPUT_4_3(T, n, i0, i1, i2, i3, i4, i5, o0, o1, o2, o3, o4, o5)                                       \
	if (n == 4) {                                                                                                  \
		WINOGRAD_INPUT_6(T, i0, i1, i2, i3, i4, i5, o0, o1, o2, o3, o4, o5)                                    \
	} else if (n == 3) {                                                                                           \
		const T even = i0 - i2, odd = i3 - i1;                                                                 \
		o0 = fma((T)(4.0f), even, (T)(2.0f) * odd);                                                            \
		o1 = (T)(3.0f) * fma((T)(-2.0f), i1, i3 - i2);                                                         \
		o2 = fma((T)(-3.0f), i2, fma((T)(2.0f), i1, i3));                                                      \
		o3 = (T)(4.0f) * odd;                                                                                  \
		o4 = (T)(0.0f);                                                                                        \
		o5 = fma((T)(-2.0f), odd, i4 - i2);                                                                    \
	} else if (n == 2) {                                                                                           \
		o0 = (T)(4.0f) * (i0 - i2);                                                                            \
		o1 = (T)(-3.0f) * (i1 + i2);                                                                           \
		o2 = (T)(3.0f) * (i1 - i2);                                                                            \
		o3 = o4 = (T)(0.0f);                                                                                   \
		o5 = i3 - i1;                                                                                          \
	} else {                                                                                                       \
		o0 = (T)(4.0f) * (i0 - i1);                                                                            \
		o1 = (T)(-6.0f) * i1;                                                                                  \
		o2 = o3 = o4 = (T)(0.0f);                                                                              \
		o5 = i2 - i1;                                                                                          \
	}

/* A^T: points to outputs. The name has outputs and taps. Of an edge's tile the first n outputs are told. */
#define WINOGRAD_OUTPUT_2_3(T, i0, i1, i2, i3, o0, o1)                                                                 \
	{                                                                                                              \
		o0 = i0 + i1 + i2;                                                                                     \
		o1 = i1 - i2 - i3;                                                                                     \
	}
#define WINOGRAD_OUTPUT_4_3(T, n, i0, i1, i2, i3, i4, i5, o0, o1, o2, o3)                                              \
	if (n == 4) {                                                                                                  \
		const T even = i1 + i2, odd = i1 - i2, far_even = i3 + i4, far_odd = i3 - i4;                          \
		o0 = i0 + even + far_even;                                                                             \
		o1 = fma((T)(2.0f), far_odd, odd);                                                                     \
		o2 = fma((T)(4.0f), far_even, even);                                                                   \
		o3 = fma((T)(8.0f), far_odd, odd) + i5;                                                                \
	} else if (n == 3) {                                                                                           \
		const T even = i1 + i2, odd = i1 - i2;                                                                 \
		o0 = i0 + even + i3;                                                                                   \
		o1 = fma((T)(2.0f), i3, odd);                                                                          \
		o2 = fma((T)(4.0f), i3, even) + i5;                                                                    \
	} else if (n == 2) {                                                                                           \
		o0 = i0 + (i1 + i2);                                                                                   \
		o1 = (i1 - i2) + i5;                                                                                   \
	} else {                                                                                                       \
		o0 = i0 + i1 + i5;                                                                                     \
	}
#define WINOGRAD_OUTPUT_2_5(T, i0, i1, i2, i3, i4, i5, o0, o1)                                                         \
	{                                                                                                              \
		const T even = i1 + i2, odd = i1 - i2, far_even = i3 + i4, far_odd = i3 - i4;                          \
		o0 = i0 + even + far_even;                                                                             \
		o1 = fma((T)(2.0f), far_odd, odd) + i5;                                                                \
	}

/* A: outputs to points, the adjoint of A^T, for the gradient of the filter. */
#define WINOGRAD_OUTPUT_ADJOINT_2_3(T, i0, i1, o0, o1, o2, o3)                                                         \
	{                                                                                                              \
		o0 = i0;                                                                                               \
		o1 = i0 + i1;                                                                                          \
		o2 = i0 - i1;                                                                                          \
		o3 = -i1;                                                                                              \
	}
#define WINOGRAD_OUTPUT_ADJOINT_4_3(T, n, i0, i1, i2, i3, o0, o1, o2, o3, o4, o5)                                      \
	if (n == 4) {                                                                                                  \
		const T even = i0 + i2, odd = i1 + i3;                                                                 \
		const T far_even = fma((T)(4.0f), i2, i0), far_odd = fma((T)(4.0f), i3, i1);                           \
		o0 = i0;                                                                                               \
		o1 = even + odd;                                                                                       \
		o2 = even - odd;                                                                                       \
		o3 = fma((T)(2.0f), far_odd, far_even);                                                                \
		o4 = fma((T)(-2.0f), far_odd, far_even);                                                               \
		o5 = i3;                                                                                               \
	} else if (n == 3) {                                                                                           \
		const T even = i0 + i2;                                                                                \
		o0 = i0;                                                                                               \
		o1 = even + i1;                                                                                        \
		o2 = even - i1;                                                                                        \
		o3 = fma((T)(2.0f), i1, fma((T)(4.0f), i2, i0));                                                       \
		o4 = (T)(0.0f);                                                                                        \
		o5 = i2;                                                                                               \
	} else if (n == 2) {                                                                                           \
		o0 = i0;                                                                                               \
		o1 = i0 + i1;                                                                                          \
		o2 = i0 - i1;                                                                                          \
		o3 = o4 = (T)(0.0f);                                                                                   \
		o5 = i1;                                                                                               \
	} else {                                                                                                       \
		o0 = o1 = o5 = i0;                                                                                     \
		o2 = o3 = o4 = (T)(0.0f);                                                                              \
	}
#define WINOGRAD_OUTPUT_ADJOINT_2_5(T, i0, i1, o0, o1, o2, o3, o4, o5)                                                 \
	{                                                                                                              \
		o0 = i0;                                                                                               \
		o1 = i0 + i1;                                                                                          \
		o2 = i0 - i1;                                                                                          \
		o3 = fma((T)(2.0f), i1, i0);                                                                           \
		o4 = fma((T)(-2.0f), i1, i0);                                                                          \
		o5 = i1;                                                                                               \
	}

/* G: a filter to its points. */
#define WINOGRAD_FILTER_2_3(T, i0, i1, i2, o0, o1, o2, o3)                                                             \
	{                                                                                                              \
		const T even = (T)(0.5f) * (i0 + i2);                                                                  \
		o0 = i0;                                                                                               \
		o1 = fma((T)(0.5f), i1, even);                                                                         \
		o2 = fma((T)(-0.5f), i1, even);                                                                        \
		o3 = i2;                                                                                               \
	}
#define WINOGRAD_FILTER_4_3(T, i0, i1, i2, o0, o1, o2, o3, o4, o5)                                                     \
	{                                                                                                              \
		const T even = (T)(-1.0f / 6.0f) * (i0 + i2);                                                          \
		const T far_even = fma((T)(1.0f / 6.0f), i2, (T)(1.0f / 24.0f) * i0);                                  \
		o0 = (T)(0.25f) * i0;                                                                                  \
		o1 = fma((T)(-1.0f / 6.0f), i1, even);                                                                 \
		o2 = fma((T)(1.0f / 6.0f), i1, even);                                                                  \
		o3 = fma((T)(1.0f / 12.0f), i1, far_even);                                                             \
		o4 = fma((T)(-1.0f / 12.0f), i1, far_even);                                                            \
		o5 = i2;                                                                                               \
	}
#define WINOGRAD_FILTER_2_5(T, i0, i1, i2, i3, i4, o0, o1, o2, o3, o4, o5)                                             \
	{                                                                                                              \
		const T even = (T)(-1.0f / 6.0f) * (i0 + i2 + i4), odd = i1 + i3;                                      \
		const T far_even = fma((T)(2.0f / 3.0f), i4, fma((T)(1.0f / 6.0f), i2, (T)(1.0f / 24.0f) * i0));       \
		const T far_odd = fma((T)(1.0f / 3.0f), i3, (T)(1.0f / 12.0f) * i1);                                   \
		o0 = (T)(0.25f) * i0;                                                                                  \
		o1 = fma((T)(-1.0f / 6.0f), odd, even);                                                                \
		o2 = fma((T)(1.0f / 6.0f), odd, even);                                                                 \
		o3 = far_even + far_odd;                                                                               \
		o4 = far_even - far_odd;                                                                               \
		o5 = i4;                                                                                               \
	}

/* G^T: points to a filter, the adjoint of G, for the gradient of the filter. */
#define WINOGRAD_FILTER_ADJOINT_2_3(T, i0, i1, i2, i3, o0, o1, o2)                                                     \
	{                                                                                                              \
		const T even = i1 + i2;                                                                                \
		o0 = fma((T)(0.5f), even, i0);                                                                         \
		o1 = (T)(0.5f) * (i1 - i2);                                                                            \
		o2 = fma((T)(0.5f), even, i3);                                                                         \
	}
#define WINOGRAD_FILTER_ADJOINT_4_3(T, i0, i1, i2, i3, i4, i5, o0, o1, o2)                                             \
	{                                                                                                              \
		const T even = i1 + i2, far_even = i3 + i4;                                                            \
		o0 = fma((T)(1.0f / 24.0f), far_even, fma((T)(-1.0f / 6.0f), even, (T)(0.25f) * i0));                  \
		o1 = fma((T)(1.0f / 12.0f), i3 - i4, (T)(1.0f / 6.0f) * (i2 - i1));                                    \
		o2 = fma((T)(1.0f / 6.0f), far_even - even, i5);                                                       \
	}
#define WINOGRAD_FILTER_ADJOINT_2_5(T, i0, i1, i2, i3, i4, i5, o0, o1, o2, o3, o4)                                     \
	{                                                                                                              \
		const T even = i1 + i2, far_even = i3 + i4, odd = (T)(1.0f / 6.0f) * (i2 - i1), far_odd = i3 - i4;     \
		o0 = fma((T)(1.0f / 24.0f), far_even, fma((T)(-1.0f / 6.0f), even, (T)(0.25f) * i0));                  \
		o1 = fma((T)(1.0f / 12.0f), far_odd, odd);                                                             \
		o2 = (T)(1.0f / 6.0f) * (far_even - even);                                                             \
		o3 = fma((T)(1.0f / 3.0f), far_odd, odd);                                                              \
		o4 = fma((T)(2.0f / 3.0f), far_even, fma((T)(-1.0f / 6.0f), even, i5));                                \
	}
