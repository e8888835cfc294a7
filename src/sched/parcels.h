/* sched/parcels: gradients cut into parcels, each of which one device owns. */
#ifndef LW_SCHED_PARCELS_H
#define LW_SCHED_PARCELS_H

#include "base/base.h"

/* Parameters order[first .. first+count) of one group, or a piece of a large one. */
typedef struct lw_parcel {
	int group;
	size_t first, count;
	size_t floats; /* with what each parameter is padded to in the arenas */
	size_t from;   /* where it begins within its only parameter */
} lw_parcel;

enum { LW_PARCEL_FLOATS = 1 << 20 }; /* 4 MB: long enough for a link's bandwidth, short enough to hide behind backward */

/*
 * Cuts parameters, in the order in which they lie in the arenas, into runs of one group of at most max_floats; a larger
 * parameter comes in pieces of max_floats. By parameter: sizes in floats, and the group (negative: it never trains, and
 * ends a run). The caller frees *parcels.
 */
lw_status lw_parcels_cut(lw_parcel **parcels, size_t *parcel_count, const int *order, size_t count, const size_t *sizes,
			 const int *group_of_param, size_t max_floats);

#endif
