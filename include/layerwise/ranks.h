/*
 * layerwise/ranks.h - processes that train one net together, on one machine or several, started by mpirun.
 */
#ifndef LAYERWISE_RANKS_H
#define LAYERWISE_RANKS_H

#include <layerwise/base.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_ranks lw_ranks;

/*
 * Joins the processes that were started together. *ranks is NULL where this one is alone. LW_E_UNSUPPORTED where it is not,
 * but the library was built without MPI.
 *
 * A plan made with them (lw_plan_options.ranks) is one plan of all ranks: every rank makes it of the same net and groups, with
 * the same options and its own devices, and makes the same calls in the same order, lw_evaluate and checkpoints included. All
 * are given the same batches; each computes a part. Rank 0 writes the files.
 */
LW_API lw_status lw_ranks_join(lw_ranks **ranks);

/* failed: this process's work failed; unless all ranks know that already, it ends them all. */
LW_API void lw_ranks_leave(lw_ranks **ranks, bool failed);

/* Whether all ranks know what failed last, so that one may tell of it. */
LW_API bool lw_ranks_failed_together(const lw_ranks *ranks);

/* This process among all, from 0, and how many there are; of those on its machine alone. NULL is one process. */
LW_API int lw_ranks_index(const lw_ranks *ranks);
LW_API int lw_ranks_count(const lw_ranks *ranks);
LW_API int lw_ranks_host_index(const lw_ranks *ranks);
LW_API int lw_ranks_host_count(const lw_ranks *ranks);

#ifdef __cplusplus
}
#endif
#endif
