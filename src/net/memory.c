/* Memory by liveness, and the layout of parameter arenas. */
#include "net/net.h"

#include <stdlib.h>

static int by_size(const void *a, const void *b)
{
	const lw_value *x = *(lw_value *const *)a, *y = *(lw_value *const *)b;

	if (x->bytes != y->bytes)
		return x->bytes < y->bytes ? 1 : -1;
	return x < y ? -1 : x > y; /* qsort is not stable */
}

static bool alive_together(const lw_value *a, const lw_value *b) { return a->first <= b->last && b->first <= a->last; }

/* The lowest offset at which value overlaps none of the placed values that live while it does. */
static size_t lowest_offset(lw_value *const *placed, size_t count, const lw_value *value, size_t alignment)
{
	size_t offset = 0;

	for (bool moved = true; moved;) {
		moved = false;
		for (size_t i = 0; i < count; i++) {
			const lw_value *other = placed[i];
			if (!alive_together(other, value) || other->offset >= offset + value->bytes ||
			    offset >= other->offset + other->bytes)
				continue;
			offset = lw_round_up(other->offset + other->bytes, alignment);
			moved = true;
		}
	}
	return offset;
}

/* Greedy by size (Pisarchyk and Lee: Efficient Memory Management for Deep Neural Net Inference, 2020). */
size_t lw_memory_plan(lw_value *values, size_t count, size_t alignment)
{
	lw_value **order = NULL;
	size_t used = 0, arena = 0;

	for (size_t i = 0; i < count; i++)
		used += values[i].first <= values[i].last && values[i].bytes > 0;
	order = malloc((used ? used : 1) * sizeof *order);
	if (!order) { /* still right without reuse */
		for (size_t i = 0; i < count; i++) {
			values[i].offset = arena;
			arena = lw_round_up(arena + values[i].bytes, alignment);
		}
		return arena;
	}
	used = 0;
	for (size_t i = 0; i < count; i++)
		if (values[i].first <= values[i].last && values[i].bytes > 0)
			order[used++] = &values[i];
	qsort(order, used, sizeof *order, by_size);
	for (size_t i = 0; i < used; i++) {
		order[i]->offset = lowest_offset(order, i, order[i], alignment);
		if (order[i]->offset + order[i]->bytes > arena)
			arena = order[i]->offset + order[i]->bytes;
	}
	free(order);
	return lw_round_up(arena, alignment);
}

lw_status lw_layout_create(lw_layout *layout, const lw_net *net, const int *order, size_t trained)
{
	*layout = (lw_layout){0};
	LW_TRY(lw_alloc(&layout->offsets, net->param_count, sizeof *layout->offsets));
	for (size_t i = 0; i < net->param_count; i++) {
		if (i == trained)
			layout->gradient_floats = layout->floats;
		layout->offsets[order[i]] = layout->floats;
		layout->floats = lw_round_up(layout->floats + net->params[order[i]].count, LW_ARENA_ALIGNMENT);
	}
	if (trained == net->param_count)
		layout->gradient_floats = layout->floats;
	return LW_OK;
}

void lw_layout_clear(lw_layout *layout)
{
	free(layout->offsets);
	*layout = (lw_layout){0};
}
