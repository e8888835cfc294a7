/* Cutting gradients into parcels. */
#include "sched/parcels.h"

#include "net/net.h"

#include <stdlib.h>

typedef struct list {
	lw_parcel *parcels;
	size_t count, capacity;
} list;

static lw_status add(list *l, lw_parcel parcel)
{
	LW_TRY(lw_grow(&l->parcels, &l->capacity, l->count + 1, sizeof *l->parcels));
	l->parcels[l->count++] = parcel;
	return LW_OK;
}

static lw_status add_pieces(list *l, lw_parcel whole, size_t max_floats)
{
	const size_t floats = whole.floats;

	for (size_t from = 0; from < floats; from += max_floats) {
		whole.from = from;
		whole.floats = floats - from < max_floats ? floats - from : max_floats;
		LW_TRY(add(l, whole));
	}
	return LW_OK;
}

lw_status lw_parcels_cut(lw_parcel **parcels, size_t *parcel_count, const int *order, size_t count, const size_t *sizes,
			 const int *group_of_param, size_t max_floats)
{
	lw_status status = LW_OK;
	bool open = false;
	list l = {0};

	*parcels = NULL;
	*parcel_count = 0;
	for (size_t k = 0; k < count; k++) {
		const int group = group_of_param[order[k]];
		const size_t floats = lw_round_up(sizes[order[k]], LW_ARENA_ALIGNMENT);
		lw_parcel *last = open ? &l.parcels[l.count - 1] : NULL;

		if (group >= 0 && last && last->group == group && last->floats + floats <= max_floats) {
			last->count++;
			last->floats += floats;
			continue;
		}
		open = group >= 0 && floats <= max_floats;
		if (group >= 0)
			LW_GO(add_pieces(&l, (lw_parcel){.group = group, .first = k, .count = 1, .floats = floats}, max_floats));
	}
	*parcels = l.parcels;
	*parcel_count = l.count;
	l.parcels = NULL;
out:
	free(l.parcels);
	return status;
}
