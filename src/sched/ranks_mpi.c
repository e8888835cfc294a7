/* Ranks by MPI. Errors of MPI itself end all processes, as MPI does where nothing else is asked for. */
#include "sched/ranks.h"

#include <limits.h>
#include <math.h>
#include <mpi.h>
#include <stdlib.h>
#include <time.h>

typedef struct mpi_ranks {
	lw_ranks base;
	/* messages under way */
	MPI_Request *requests;
	lw_delivery *kinds;
	int *others; /* whom they go to or come from */
	size_t count, capacity[5];
	int *places;
	lw_delivery *done;
	int *sent, *received; /* messages so far, by rank */
	MPI_Comm leaving;     /* who leaves early may meet others that are not that far */
} mpi_ranks;

static mpi_ranks *mpi_of(lw_ranks *ranks) { return (mpi_ranks *)ranks; }

/* MPI's own waiting spins; devices need the cores. False where it took longer than so many seconds. */
static bool wait_asleep(MPI_Request *request, double seconds)
{
	const double began = lw_now();
	long nanoseconds = 10000;
	int done = 0;

	for (MPI_Test(request, &done, MPI_STATUS_IGNORE); !done; MPI_Test(request, &done, MPI_STATUS_IGNORE)) {
		if (lw_now() - began > seconds)
			return false;
		nanosleep(&(struct timespec){.tv_nsec = nanoseconds}, NULL);
		if (nanoseconds < 200000)
			nanoseconds *= 2;
	}
	return true;
}

static lw_status gather(lw_ranks *ranks, void *data, const size_t *offsets)
{
	MPI_Request request;
	lw_status status;
	int *counts = NULL, *at = NULL;

	LW_GO(lw_alloc(&counts, (size_t)ranks->count, sizeof *counts));
	LW_GO(lw_alloc(&at, (size_t)ranks->count, sizeof *at));
	if (offsets[ranks->count] > INT_MAX) {
		status = lw_fail(LW_E_UNSUPPORTED, "%zu bytes are too many to be gathered from all ranks", offsets[ranks->count]);
		goto out;
	}
	for (int r = 0; r < ranks->count; r++) {
		counts[r] = (int)(offsets[r + 1] - offsets[r]);
		at[r] = (int)offsets[r];
	}
	MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, counts, at, MPI_BYTE, MPI_COMM_WORLD, &request);
	wait_asleep(&request, INFINITY);
out:
	free(counts);
	free(at);
	return status;
}

/* --- Messages --- */

static lw_status make_room(mpi_ranks *m)
{
	LW_TRY(lw_grow(&m->requests, &m->capacity[0], m->count + 1, sizeof *m->requests));
	LW_TRY(lw_grow(&m->kinds, &m->capacity[1], m->count + 1, sizeof *m->kinds));
	LW_TRY(lw_grow(&m->others, &m->capacity[2], m->count + 1, sizeof *m->others));
	LW_TRY(lw_grow(&m->places, &m->capacity[3], m->count + 1, sizeof *m->places));
	return lw_grow(&m->done, &m->capacity[4], m->count + 1, sizeof *m->done);
}

static lw_status begin(mpi_ranks *m, int other, int tag, bool sent, size_t bytes)
{
	if (bytes > INT_MAX)
		return lw_fail(LW_E_UNSUPPORTED, "%zu bytes are too many for one message", bytes);
	LW_TRY(make_room(m));
	m->kinds[m->count] = (lw_delivery){tag, sent};
	m->others[m->count] = other;
	return LW_OK;
}

static lw_status start_send(lw_ranks *ranks, int to, int tag, const void *data, size_t bytes)
{
	mpi_ranks *m = mpi_of(ranks);

	LW_TRY(begin(m, to, tag, true, bytes));
	MPI_Isend(data, (int)bytes, MPI_BYTE, to, tag, MPI_COMM_WORLD, &m->requests[m->count++]);
	m->sent[to]++;
	return LW_OK;
}

static lw_status start_receive(lw_ranks *ranks, int from, int tag, void *data, size_t bytes)
{
	mpi_ranks *m = mpi_of(ranks);

	LW_TRY(begin(m, from, tag, false, bytes));
	MPI_Irecv(data, (int)bytes, MPI_BYTE, from, tag, MPI_COMM_WORLD, &m->requests[m->count++]);
	return LW_OK;
}

/* Those that are through are no request any more: the others move up. */
static void close_gaps(mpi_ranks *m)
{
	size_t kept = 0;

	for (size_t i = 0; i < m->count; i++) {
		if (m->requests[i] == MPI_REQUEST_NULL)
			continue;
		m->requests[kept] = m->requests[i];
		m->kinds[kept] = m->kinds[i];
		m->others[kept++] = m->others[i];
	}
	m->count = kept;
}

static lw_status poll(lw_ranks *ranks, const lw_delivery **done, int *count)
{
	mpi_ranks *m = mpi_of(ranks);

	*count = 0;
	*done = m->done;
	if (!m->count)
		return LW_OK;
	MPI_Testsome((int)m->count, m->requests, count, m->places, MPI_STATUSES_IGNORE);
	for (int i = 0; i < *count; i++) {
		m->done[i] = m->kinds[m->places[i]];
		if (!m->done[i].sent)
			m->received[m->others[m->places[i]]]++;
	}
	if (*count)
		close_gaps(m);
	return LW_OK;
}

/* --- After a failure --- */

static void cancel_receives(mpi_ranks *m)
{
	for (size_t i = 0; i < m->count; i++) {
		MPI_Status status;
		int cancelled;

		if (m->kinds[i].sent)
			continue;
		MPI_Cancel(&m->requests[i]);
		MPI_Wait(&m->requests[i], &status);
		MPI_Test_cancelled(&status, &cancelled);
		m->received[m->others[i]] += !cancelled;
	}
	close_gaps(m);
}

static lw_status receive_for_nothing(int from)
{
	MPI_Message message;
	MPI_Status status;
	void *scratch;
	int bytes;

	MPI_Mprobe(from, MPI_ANY_TAG, MPI_COMM_WORLD, &message, &status);
	MPI_Get_count(&status, MPI_BYTE, &bytes);
	LW_TRY(lw_alloc(&scratch, (size_t)bytes, 1));
	MPI_Mrecv(scratch, bytes, MPI_BYTE, &message, MPI_STATUS_IGNORE);
	free(scratch);
	return LW_OK;
}

static lw_status drain(lw_ranks *ranks)
{
	mpi_ranks *m = mpi_of(ranks);
	lw_status status;
	int *due = NULL;

	LW_GO(lw_alloc(&due, (size_t)ranks->count, sizeof *due));
	cancel_receives(m);
	MPI_Alltoall(m->sent, 1, MPI_INT, due, 1, MPI_INT, MPI_COMM_WORLD);
	for (int r = 0; r < ranks->count; r++)
		for (; m->received[r] < due[r]; m->received[r]++)
			LW_GO(receive_for_nothing(r));
	MPI_Waitall((int)m->count, m->requests, MPI_STATUSES_IGNORE);
	m->count = 0;
out:
	free(due);
	return status;
}

/* --- Joining and leaving --- */

static void clear(mpi_ranks *m)
{
	free(m->requests);
	free(m->kinds);
	free(m->others);
	free(m->places);
	free(m->done);
	free(m->sent);
	free(m->received);
	free(m);
}

static void leave(lw_ranks *ranks, bool failed)
{
	static const double grace = 2; /* in which all may have failed for the same reason */
	const bool alone = failed && !ranks->failed_together;
	mpi_ranks *m = mpi_of(ranks);
	MPI_Request all;

	MPI_Ibarrier(m->leaving, &all);
	if (!wait_asleep(&all, alone ? grace : INFINITY))
		MPI_Abort(MPI_COMM_WORLD, 1);
	for (size_t i = 0; i < m->count; i++) {
		MPI_Cancel(&m->requests[i]);
		MPI_Request_free(&m->requests[i]);
	}
	MPI_Comm_free(&m->leaving);
	clear(m);
	MPI_Finalize();
}

static void find_neighbours(lw_ranks *ranks)
{
	MPI_Comm host;

	MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
	MPI_Comm_rank(host, &ranks->host_index);
	MPI_Comm_size(host, &ranks->host_count);
	MPI_Comm_free(&host);
}

lw_status lw_ranks_join_mpi(lw_ranks **ranks)
{
	mpi_ranks *m = NULL;
	lw_status status;
	int provided;

	LW_GO(lw_alloc(&m, 1, sizeof *m));
	MPI_Init_thread(NULL, NULL, MPI_THREAD_SERIALIZED, &provided);
	if (provided < MPI_THREAD_SERIALIZED) {
		status = lw_fail(LW_E_UNSUPPORTED, "this MPI cannot be called from several threads, not even in turns");
		goto out;
	}
	m->base = (lw_ranks){.gather = gather, .send = start_send, .receive = start_receive, .poll = poll, .drain = drain, .leave = leave};
	MPI_Comm_rank(MPI_COMM_WORLD, &m->base.index);
	MPI_Comm_size(MPI_COMM_WORLD, &m->base.count);
	MPI_Comm_dup(MPI_COMM_WORLD, &m->leaving);
	find_neighbours(&m->base);
	LW_GO(lw_alloc(&m->sent, (size_t)m->base.count, sizeof(int)));
	LW_GO(lw_alloc(&m->received, (size_t)m->base.count, sizeof(int)));
	if (m->base.count > 1)
		*ranks = &m->base;
	else
		leave(&m->base, false);
	return LW_OK;
out:
	if (m)
		clear(m);
	return status;
}
