/*
 * sched/ranks: the processes that train together, as the rest sees them. The calls are a message passing library's
 * (ranks_mpi.c); a process that is alone has none of this. One thread at a time may call.
 */
#ifndef LW_SCHED_RANKS_H
#define LW_SCHED_RANKS_H

#include "base/base.h"
#include <layerwise/ranks.h>

/* A message that is through: it may be used again, or was received. */
typedef struct lw_delivery {
	int tag;
	bool sent;
} lw_delivery;

struct lw_ranks {
	int index, count;
	int host_index, host_count; /* among those on the same machine */
	bool failed_together;       /* all ranks know of the failure that ends the work */

	/* All ranks' parts to all: rank r's lies at data + offsets[r], and ends at offsets[r + 1]. All call it, and wait. */
	lw_status (*gather)(lw_ranks *ranks, void *data, const size_t *offsets);
	/* Begin a message; what they point to is the library's until poll names the tag. Those of one tag keep their order. */
	lw_status (*send)(lw_ranks *ranks, int to, int tag, const void *data, size_t bytes);
	lw_status (*receive)(lw_ranks *ranks, int from, int tag, void *data, size_t bytes);
	/* What is through since the last time, which may be nothing; *done is good until the next call of anything here. */
	lw_status (*poll)(lw_ranks *ranks, const lw_delivery **done, int *count);
	/* After a failure: takes back what is to be received, and receives for nothing what was sent. All call it, and wait. */
	lw_status (*drain)(lw_ranks *ranks);
	void (*leave)(lw_ranks *ranks, bool failed);
};

/* ranks_mpi.c, in a build with MPI. */
lw_status lw_ranks_join_mpi(lw_ranks **ranks);

#endif
