/*
 * layerwise/simulate.h - a training step on devices that are only described: how the batch is shared, who owns which
 * parameters, and how long a step takes. No device is opened.
 *
 * A device computes as fast as its gflops say, whatever the layer; its updates and its links take the time of their bytes.
 */
#ifndef LAYERWISE_SIMULATE_H
#define LAYERWISE_SIMULATE_H

#include <layerwise/plan.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Devices of one kind. */
typedef struct lw_cluster_device {
	const char *name;
	size_t count;            /* several are called name.0, name.1, ... */
	double gflops;           /* 1e9 FLOP/s that it trains with; 0: it computes nothing, but may own parameters */
	double update_bandwidth; /* bytes/s that its updates read and write */
	double link_bandwidth;   /* bytes/s to and from the host, each direction */
	double latency;          /* seconds of a copy beside its bytes */
	uint64_t memory;         /* bytes; 0: as much as is asked for */
	const char *domain;      /* devices of one domain share their memory; NULL: each has its own */
	int64_t fails_at_step;   /* all of them fail in this step (1-based); 0: never */
} lw_cluster_device;

typedef struct lw_simulation lw_simulation;

/*
 * Simulates `steps` steps of training the net. In the step in which a device fails the work is lost: the step is replayed
 * without it. Of plan_options only the batch is read; gradients are computed once. A group's device is a name of the
 * cluster's. The net must outlive the simulation. LW_E_ARGUMENT for a wrong description, LW_E_MEMORY where memories do not
 * suffice (the device is named), LW_E_DEVICE where no device that computes is left.
 */
LW_API lw_status lw_simulate(lw_simulation **simulation, const lw_net *net, const lw_optim_options *optim,
			     const lw_group_options *groups, size_t group_count, const lw_plan_options *plan_options,
			     const lw_cluster_device *kinds, size_t kind_count, int64_t steps);
LW_API void lw_simulation_destroy(lw_simulation **simulation);

typedef struct lw_simulation_info {
	int batch;
	int64_t steps, replayed;
	double seconds; /* of all steps, replayed ones twice */
	double forward_flops, backward_flops; /* of a step under the last plan */
	size_t plan_count;
} lw_simulation_info;

LW_API void lw_simulation_get_info(const lw_simulation *simulation, lw_simulation_info *info);
/*
 * A plan by its number, until devices failed or a group was unfrozen, which makes a new one; the simulation's. A device's kind
 * is the index of its lw_cluster_device.
 */
LW_API const lw_forecast *lw_simulation_plan(const lw_simulation *simulation, size_t index);

#ifdef __cplusplus
}
#endif
#endif
