/* sched/forecast: what a placement says of the steps to come, as people are told. */
#ifndef LW_SCHED_FORECAST_H
#define LW_SCHED_FORECAST_H

#include "sched/placement.h"
#include "sched/workload.h"
#include <layerwise/forecast.h>

/* By parcel: owner. By device: images; speeds, images/s that it would compute (0: it computes nothing). */
typedef struct lw_forecast_source {
	const lw_net *net;
	const lw_groups *groups;
	const lw_workload *workload;
	const lw_placement_problem *problem;
	const int *owner, *images;
	const double *speeds;
	int batch;
} lw_forecast_source;

/* Fills what follows from the source; the rest stays as it is. */
lw_status lw_forecast_fill(lw_forecast *forecast, const lw_forecast_source *source);
/* What other owners would have meant: `alone` and `best_move`. Times (parcels + 1) * devices steps. */
lw_status lw_forecast_compare(lw_forecast *forecast, const lw_forecast_source *source);
void lw_forecast_clear(lw_forecast *forecast);

#endif
