/*
 * layerwise/forecast.h - how a step will run: how the batch is shared, who owns and updates which parameters, when, and how long
 * it takes. Of a plan's own devices (lw_plan_describe) or of devices that are only described (layerwise/simulate.h).
 *
 * A step: all devices compute their shares; a parcel's gradients go to its owner as soon as they are complete, while
 * backward goes on; the owner sums them, updates, and sends the new parameters out.
 */
#ifndef LAYERWISE_FORECAST_H
#define LAYERWISE_FORECAST_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_forecast_device {
	char name[80];
	size_t kind;  /* devices of one kind follow each other and are alike but for their shares */
	int images;   /* its share of the batch */
	size_t parcels, fixed_parcels; /* that it owns; those of them that a group's `device:` or `offload:` gave it */
	uint64_t owned_bytes, state_bytes; /* parameters that it owns, and the optimizer's state of them (held twice) */
	uint64_t memory_bytes; /* that it needs: parameters twice, gradients, activations, state */
	double update_bandwidth, link_bandwidth; /* bytes/s of its updates; and to and from the host, 0: it works in the host's memory */
	double compute, update, in, out; /* seconds of a step that it computes, updates, receives, sends */
	double alone; /* seconds of a step in which it owned all that no group fixes; 0: not looked at, INFINITY: too little memory */
} lw_forecast_device;

/* Parameters that are sent and updated together. */
typedef struct lw_forecast_parcel {
	const char *first, *last; /* the first and last parameter's name, the net's */
	const char *group, *last_group; /* the first and last parameter's */
	size_t params;
	uint64_t bytes;
	size_t owner; /* index among the devices */
	bool fixed;   /* the owner is the one that its group names */
	double gathered, update_start, update_end, spread; /* seconds from the step's start */
} lw_forecast_parcel;

/* Of steps first_step to last_step (-1: until devices fail, shares change or a group is unfrozen). */
typedef struct lw_forecast {
	int64_t first_step, last_step;
	size_t lost;  /* devices that failed just before (simulated), or so far */
	bool guessed; /* how fast devices compute was not measured yet, but guessed from their compute units */
	int batch;
	size_t device_count, parcel_count;
	lw_forecast_device *devices;
	lw_forecast_parcel *parcels;
	double makespan;    /* seconds of a step */
	double work_bound;  /* all work over all devices' speeds: no step is shorter */
	double path_bound;  /* one image on the fastest device and the last update: nor than this */
	double best_move;   /* seconds of a step with the one parcel elsewhere for which it is shortest; 0: not looked at */
	double bytes_moved; /* per step */
	double planning_seconds;
} lw_forecast;

#ifdef __cplusplus
}
#endif
#endif
