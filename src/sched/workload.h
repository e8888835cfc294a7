/* sched/workload: what a step of training a net asks of a device, by FLOPs and bytes, for devices that are only described. */
#ifndef LW_SCHED_WORKLOAD_H
#define LW_SCHED_WORKLOAD_H

#include "net/net.h"
#include "optim/optim.h"
#include "sched/parcels.h"
#include "sched/placement.h"

typedef struct lw_workload {
	double forward_flops, backward_flops;    /* of an image */
	uint64_t parameter_bytes, gradient_bytes;
	double activation_bytes, image_bytes;    /* a share of n images needs activation_bytes + n * image_bytes */
	int *order;                              /* parameters, those of a class together */
	lw_parcel *parcels;                      /* their group is the class */
	lw_placement_parcel *placed;             /* the same parcels: named by their first parameter, owners not fixed */
	size_t parcel_count;
} lw_workload;

/*
 * Of the groups as they are frozen now. class_of_group: groups of one class may share a parcel; they have one rule. NULL:
 * every group is a class. order: all parameters, those of a class together; NULL: class by class.
 */
lw_status lw_workload_create(lw_workload *workload, const lw_net *net, const lw_groups *groups, const int *class_of_group,
			     const int *order);
void lw_workload_clear(lw_workload *workload);

#endif
