/*
 * tile_gpu.cl: what the tiled products for GPUs share, for inclusion. A work-group of LINES x ACROSS items computes a tile of
 * C = A B, TILE_M x TILE_N, in steps of DEPTH through local memory; an item holds ROWS x 4 VECTORS sums in registers.
 *
 * An item's rows and columns are fours that lie LINES and ACROSS fours apart: neighbours read neighbouring float4, or the
 * same one, and no bank twice. The four floats of padding keep what is stored transposed to two items a bank.
 *
 * LINES, ACROSS  work-items along M and N; their product is a multiple of 64
 * ROWS           rows of an item, 4 or 8
 * VECTORS        float4 of an item's row, 1 or 2
 */
#ifndef LINES
#define LINES 8
#endif
#ifndef ACROSS
#define ACROSS 8
#endif
#ifndef ROWS
#define ROWS 4
#endif
#ifndef VECTORS
#define VECTORS 1
#endif
#define DEPTH 16
#define ITEMS (LINES * ACROSS)
#define TILE_M (LINES * ROWS)
#define TILE_N (ACROSS * VECTORS * 4)
/* float4 from one k to the next */
#define A_STRIDE (TILE_M / 4 + 1)
#define B_STRIDE (TILE_N / 4 + 1)
/* float4 that an item brings in at each step */
#define A_LOADS (TILE_M * DEPTH / 4 / ITEMS)
#define B_LOADS (TILE_N * DEPTH / 4 / ITEMS)
#define SUMS (ROWS * VECTORS)

/* The item's first row and column within the tile, and those of its row i, vector v. */
#define TILE_ROW(i) (((int)get_local_id(0) / ACROSS + (i) / 4 * LINES) * 4 + (i) % 4)
#define TILE_COLUMN(v) (((int)get_local_id(0) % ACROSS + (v) * ACROSS) * 4)

static inline void tile_clear(float4 *sum)
{
#pragma unroll
	for (int i = 0; i < SUMS; i++)
		sum[i] = (float4)(0.0f);
}

/* sum[row][column] += a[k][row] * b[k][column], k from begin to end */
static inline void tile_multiply(__local const float4 *a, __local const float4 *b, int begin, int end, float4 *sum)
{
	const int line = (int)get_local_id(0) / ACROSS, across = (int)get_local_id(0) % ACROSS;

	for (int k = begin; k < end; k++) {
		float4 column[VECTORS];
#pragma unroll
		for (int v = 0; v < VECTORS; v++)
			column[v] = b[k * B_STRIDE + across + v * ACROSS];
#pragma unroll
		for (int i = 0; i < ROWS; i += 4) {
			const float4 row = a[k * A_STRIDE + line + i / 4 * LINES];
#pragma unroll
			for (int v = 0; v < VECTORS; v++) {
				sum[(i + 0) * VECTORS + v] = fma((float4)(row.x), column[v], sum[(i + 0) * VECTORS + v]);
				sum[(i + 1) * VECTORS + v] = fma((float4)(row.y), column[v], sum[(i + 1) * VECTORS + v]);
				sum[(i + 2) * VECTORS + v] = fma((float4)(row.z), column[v], sum[(i + 2) * VECTORS + v]);
				sum[(i + 3) * VECTORS + v] = fma((float4)(row.w), column[v], sum[(i + 3) * VECTORS + v]);
			}
		}
	}
}

/*
 * The item's load number i of a tile `length` long: four floats along the tile at one k (tile_along, tile_k, stored by
 * tile_store), or four along k at one place of the tile (tile_across, tile_k4, stored by tile_store_transposed).
 */
static inline int tile_along(int i, int length) { return ((int)get_local_id(0) + i * ITEMS) % (length / 4) * 4; }
static inline int tile_k(int i, int length) { return ((int)get_local_id(0) + i * ITEMS) / (length / 4); }
static inline int tile_across(int i) { return (int)get_local_id(0) / (DEPTH / 4) + i * (ITEMS / (DEPTH / 4)); }
static inline int tile_k4(void) { return (int)get_local_id(0) % (DEPTH / 4) * 4; }

static inline void tile_store(__local float4 *tile, int length, int i, float4 value)
{
	tile[tile_k(i, length) * (length / 4 + 1) + tile_along(i, length) / 4] = value;
}

static inline void tile_store_transposed(__local float4 *tile, int length, int i, float4 value)
{
	__local float *to = (__local float *)tile + tile_k4() * (length + 4) + tile_across(i);

	to[0] = value.x;
	to[length + 4] = value.y;
	to[2 * (length + 4)] = value.z;
	to[3 * (length + 4)] = value.w;
}

/* Four floats, of which `count` are there, the rest 0; aligned: where all are there, p is a multiple of 16 bytes. */
static inline float4 tile_load(__global const float *p, int count, int aligned)
{
	if (aligned && count >= 4)
		return *(__global const float4 *)p;
	return (float4)(count > 0 ? p[0] : 0.0f, count > 1 ? p[1] : 0.0f, count > 2 ? p[2] : 0.0f, count > 3 ? p[3] : 0.0f);
}

static inline void tile_save(float4 value, __global float *p, int count, int aligned)
{
	if (aligned && count >= 4) {
		*(__global float4 *)p = value;
		return;
	}
	if (count > 0)
		p[0] = value.x;
	if (count > 1)
		p[1] = value.y;
	if (count > 2)
		p[2] = value.z;
	if (count > 3)
		p[3] = value.w;
}
