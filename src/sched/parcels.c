/* Cutting gradients into parcels. */
#include "sched/parcels.h"

#include "net/net.h"

lw_status lw_parcels_cut(lw_parcel **parcels, size_t *parcel_count, const int *order, size_t count, const size_t *sizes,
			 const int *group_of_param, size_t max_floats)
{
	size_t made = 0;
	bool open = false;

	*parcel_count = 0;
	LW_TRY(lw_alloc(parcels, count, sizeof **parcels));
	for (size_t k = 0; k < count; k++) {
		const int param = order[k], group = group_of_param[param];
		const size_t floats = lw_round_up(sizes[param], LW_ARENA_ALIGNMENT);
		lw_parcel *last = made ? &(*parcels)[made - 1] : NULL;

		if (group < 0) {
			open = false;
			continue;
		}
		if (!open || last->group != group || last->floats + floats > max_floats) {
			last = &(*parcels)[made++];
			*last = (lw_parcel){.group = group, .first = k};
			open = true;
		}
		last->count++;
		last->floats += floats;
	}
	*parcel_count = made;
	return LW_OK;
}
