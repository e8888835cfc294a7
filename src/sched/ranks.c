/* Joining other processes, where the build can. */
#include "sched/ranks.h"

#include <stdlib.h>

/* How many processes a launcher says it started, in the words of Open MPI, of MPICH, Intel MPI and others, and of Slurm. */
static int started(void)
{
	static const char *const variables[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};

	for (size_t i = 0; i < LW_COUNT(variables); i++) {
		const char *text = getenv(variables[i]);

		if (text)
			return atoi(text);
	}
	return 1;
}

lw_status lw_ranks_join(lw_ranks **ranks)
{
	const int count = started();

	*ranks = NULL;
	if (count < 2)
		return LW_OK;
#ifdef LW_HAVE_MPI
	return lw_ranks_join_mpi(ranks);
#else
	return lw_fail(LW_E_UNSUPPORTED,
		       "%d processes were started, which this build cannot join: it was made without MPI (cmake -DLAYERWISE_MPI=ON)", count);
#endif
}

void lw_ranks_leave(lw_ranks **ranks, bool failed)
{
	if (*ranks)
		(*ranks)->leave(*ranks, failed);
	*ranks = NULL;
}

bool lw_ranks_failed_together(const lw_ranks *ranks) { return ranks && ranks->failed_together; }
int lw_ranks_index(const lw_ranks *ranks) { return ranks ? ranks->index : 0; }
int lw_ranks_count(const lw_ranks *ranks) { return ranks ? ranks->count : 1; }
int lw_ranks_host_index(const lw_ranks *ranks) { return ranks ? ranks->host_index : 0; }
int lw_ranks_host_count(const lw_ranks *ranks) { return ranks ? ranks->host_count : 1; }
