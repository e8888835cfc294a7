/* sched/placer: the search for owners, in two files: placement_first.c places, placement.c improves by timing steps. */
#ifndef LW_SCHED_PLACER_H
#define LW_SCHED_PLACER_H

#include "sched/placement.h"

/* Ways to begin: orders by size and readiness, mixed orders, and everything on one of so many devices. */
enum { LW_ORDERED_STARTS = 4, LW_MIXED_STARTS = 8, LW_ALONE_STARTS = 8 };

typedef struct lw_load {
	double compute, update, in, out;
} lw_load;

typedef struct lw_placer {
	const lw_placement_problem *problem;
	lw_placement_clock *clock;
	int lanes;
	double slowest;  /* the longest that a lane computes */
	bool mind_late;  /* a first placement looks at when a parcel is ready, too */
	lw_load *loads;     /* by device */
	uint64_t *room;  /* by device: bytes that are left */
	int *owner;      /* the placement being worked on */
	int *best;       /* the best so far, and its value */
	double best_value, best_makespan;
	double enough;   /* a makespan that ends the search */
	double *finish;
	int *order;      /* parcels or devices, for walking through them */
	double work;
} lw_placer;

/* Bytes that a device has for state; what a parcel takes of them. */
uint64_t lw_placer_room(const lw_placement_device *device);
lw_status lw_placer_fail_memory(const lw_placement_problem *problem, int parcel, int device, uint64_t room);
static inline const char *lw_placer_named(const char *name) { return name ? name : "(unnamed)"; }
static inline bool lw_placer_movable(const lw_placer *p, int parcel) { return p->problem->parcels[parcel].fixed_owner < 0; }

/* Nothing placed but the parcels whose owners are fixed. */
lw_status lw_placer_reset(lw_placer *p);
/* A placement to start from, by its number, improved by loads; false where it found no room for all. */
bool lw_placer_begin(lw_placer *p, int start);
/* One that fits, whatever time it takes. */
lw_status lw_placer_pack(lw_placer *p);
/* Puts a parcel that lies nowhere onto a device. */
void lw_placer_put(lw_placer *p, int parcel, int device);
/* The parcel goes to the device, and another of that one's (or -1) comes back for it. */
bool lw_placer_fits(const lw_placer *p, int parcel, int other, int to);
void lw_placer_exchange(lw_placer *p, int parcel, int other, int to);

/* Indices by falling key. */
lw_status lw_placer_sort(int *order, const double *keys, size_t count);

#endif
