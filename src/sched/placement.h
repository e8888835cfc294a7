/*
 * sched/placement: which device owns which parcel of the parameters, and how long a step then takes. Plain data in and
 * out: nothing here knows of OpenCL, so that the same code plans for real devices and for simulated ones.
 *
 * A step, as it is timed: every lane (a device that computes) runs forward and backward over its share; a parcel's gradients
 * are complete there after a fraction of that time. The owner gets them from every lane outside its own memory domain, sums
 * them, runs the update, and sends the new parameters to every other domain that has lanes. The step ends when all lanes
 * have all parameters.
 *
 * A copy passes through host memory: it takes its place on the sender's link out and on the receiver's link in, each of
 * which does one after another in the order in which they come, and takes as long as the slower of the two. Updates of an
 * owner run one after another; one that starts while the device still computes delays what it has yet to compute.
 */
#ifndef LW_SCHED_PLACEMENT_H
#define LW_SCHED_PLACEMENT_H

#include "base/base.h"

typedef struct lw_placement_device {
	const char *name;        /* for messages */
	double update_bandwidth; /* bytes/s that its updates read and write */
	double link_bandwidth;   /* bytes/s to and from the host, each direction */
	double latency;          /* seconds of its links' time that every copy takes beside its bytes */
	uint64_t memory;         /* bytes; 0: as much as is asked for */
	uint64_t used;           /* of it by parameters, gradients and activations */
	int domain;              /* devices of one domain share their memory; any numbers */
	bool is_lane;            /* it computes a share of the batch */
	double compute_seconds;  /* a lane's forward and backward */
} lw_placement_device;

typedef struct lw_placement_parcel {
	const char *name;      /* for messages */
	uint64_t bytes;        /* of its parameters, and of its gradients */
	uint64_t state_bytes;  /* optimizer state, once; an owner holds it twice */
	uint64_t update_bytes; /* that its update reads and writes */
	double ready;          /* fraction of a lane's compute time after which its gradients are complete, 0 to 1 */
	int fixed_owner;       /* the only device that may own it, or -1 */
} lw_placement_parcel;

typedef struct lw_placement_problem {
	const lw_placement_device *devices;
	size_t device_count;
	const lw_placement_parcel *parcels;
	size_t parcel_count;
} lw_placement_problem;

/* When things happen to a parcel, in seconds from the step's start. */
typedef struct lw_placement_times {
	double gathered; /* all lanes' gradients are with the owner */
	double update_start, update_end;
	double spread;   /* all lanes have its parameters */
} lw_placement_times;

/* What a device was busy with, in seconds. */
typedef struct lw_placement_load {
	double compute_end; /* when its backward ended, delays by updates included; 0 where it is no lane */
	double update, in, out;
} lw_placement_load;

typedef struct lw_placement_timeline {
	lw_placement_times *parcels; /* parcel_count, the caller's */
	lw_placement_load *devices;  /* device_count, the caller's */
	double bytes_moved;
	double makespan;
} lw_placement_timeline;

/*
 * Chooses each parcel's owner so that the step ends early: largest first onto the device that ends soonest, then moves and
 * swaps until none helps or a fixed amount of work is done. The same problem always gives the same owners. makespan may be
 * NULL. LW_E_MEMORY names the parcel, and the device that has the most room, where no way was found to hold all state;
 * LW_E_ARGUMENT where the problem itself is wrong (no lane, a rate that is not above 0).
 */
lw_status lw_place(const lw_placement_problem *problem, int *owner, double *makespan);

/* Times one placement. timeline may be NULL. LW_E_ARGUMENT as lw_place, and for an owner that does not exist. */
lw_status lw_placement_makespan(const lw_placement_problem *problem, const int *owner, double *makespan,
				lw_placement_timeline *timeline);

/* LW_OK where the placement fits the devices' memories and the fixed owners. */
lw_status lw_placement_check(const lw_placement_problem *problem, const int *owner);

/* --- Many placements of one problem (placement_clock.c) --- */

typedef struct lw_placement_clock lw_placement_clock;

lw_status lw_placement_clock_create(lw_placement_clock **clock, const lw_placement_problem *problem);
void lw_placement_clock_destroy(lw_placement_clock **clock);
/* The makespan; finish (may be NULL) gets the time at which all lanes have each parcel. Owners must exist. */
double lw_placement_clock_run(lw_placement_clock *clock, const int *owner, lw_placement_timeline *timeline, double *finish);
/* What one run costs, in copies and events. */
size_t lw_placement_clock_cost(const lw_placement_clock *clock);
/* Lanes outside a device's domain, and other domains that have lanes: how often its links carry each parcel that it owns. */
int lw_placement_clock_senders(const lw_placement_clock *clock, int device);
int lw_placement_clock_receivers(const lw_placement_clock *clock, int device);
/* Whether the device receives the new parameters for its domain. */
bool lw_placement_clock_receives(const lw_placement_clock *clock, int device);
/* Seconds that the device takes to sum a parcel's gradients and to run its update. */
double lw_placement_update_seconds(const lw_placement_problem *problem, int device, int parcel, int lanes);

#endif
