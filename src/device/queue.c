/*
 * Queues and events. Every command leaves an event with its queue until it is seen to have ended, so that a command
 * that failed on the device is not lost: its failure stays with the queue and comes out of the next wait.
 */
#include "device/backend.h"
#include "device/trace.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

/* So many commands may be pending before those that ended are looked for. */
enum { REAP_FROM = 64 };

lw_status lw_queue_create(lw_queue **queue, lw_device *device)
{
	lw_queue *q;
	lw_status status;

	*queue = NULL;
	LW_TRY(lw_alloc(&q, 1, sizeof *q));
	q->device = device;
	q->references = 1;
	status = device->backend->queue_create(q);
	if (status != LW_OK) {
		free(q);
		return status;
	}
	pthread_mutex_init(&q->lock, NULL);
	*queue = q;
	return LW_OK;
}

/* Where there are several devices, a failure is worth little without the name of its own. */
static lw_status naming_device(const lw_queue *queue, lw_status status)
{
	bool failed = status != LW_OK && status != LW_E_UNSUPPORTED;

	return failed ? lw_fail_prefix(status, "%s", queue->device->label) : status;
}

/* With the lock held, which is given back. The queue may be gone afterwards. */
static void unlock_and_release(lw_queue *q, unsigned references)
{
	q->references -= references;
	if (q->references) {
		pthread_mutex_unlock(&q->lock);
		return;
	}
	pthread_mutex_unlock(&q->lock);
	pthread_mutex_destroy(&q->lock);
	q->device->backend->queue_destroy(q);
	for (lw_event *spare = q->spare; spare;) {
		lw_event *next = spare->next;

		free(spare);
		spare = next;
	}
	free(q->pending);
	free(q);
}

/* With the lock held: drops one reference, and says whether the event is gone, and its claim on the queue with it. */
static unsigned release_event(lw_event *event)
{
	if (--event->references)
		return 0;
	event->queue->device->backend->event_destroy(event->handle);
	event->next = event->queue->spare;
	event->queue->spare = event;
	return 1;
}

/* With the lock held: a command that ended. */
static void tell_trace(lw_event *event)
{
	if (event->record)
		lw_trace_ended(event->queue->device->trace, event);
}

/*
 * With the lock held: forgets the commands that ended, and keeps the first failure. Gives how many references to the
 * queue went with them.
 */
static unsigned reap(lw_queue *q)
{
	unsigned released = 0;
	size_t ended = 0;

	while (ended < q->pending_count) {
		lw_event *event = q->pending[ended];
		bool done = false;
		lw_status status = naming_device(q, q->device->backend->event_state(event->handle, &done));

		if (!done)
			break;
		if (status != LW_OK && q->failed == LW_OK) {
			q->failed = status;
			snprintf(q->failure, sizeof q->failure, "%s", lw_last_error());
		}
		tell_trace(event);
		released += release_event(event);
		ended++;
	}
	if (!ended)
		return 0;
	q->pending_count -= ended;
	memmove(q->pending, q->pending + ended, q->pending_count * sizeof q->pending[0]);
	return released;
}

void lw_queue_destroy(lw_queue **queue)
{
	lw_queue *q = *queue;
	unsigned released = 1;

	if (!q)
		return;
	lw_queue_drain(q); /* host memory of reads and writes may be freed after this */
	pthread_mutex_lock(&q->lock);
	for (size_t i = 0; i < q->pending_count; i++)
		released += release_event(q->pending[i]);
	q->pending_count = 0;
	if (q->device->trace)
		lw_trace_forget(q->device->trace, q);
	unlock_and_release(q, released);
	*queue = NULL;
}

lw_device *lw_queue_device(const lw_queue *queue) { return queue->device; }

void lw_queue_name(lw_queue *queue, const char *name) { queue->name = name; }

void lw_queue_label(lw_queue *queue, lw_label label)
{
	pthread_mutex_lock(&queue->lock);
	queue->label = label;
	pthread_mutex_unlock(&queue->lock);
}

uint64_t lw_queue_launches(const lw_queue *queue)
{
	lw_queue *q = (lw_queue *)queue;
	uint64_t launches;

	pthread_mutex_lock(&q->lock);
	launches = q->launches;
	pthread_mutex_unlock(&q->lock);
	return launches;
}

/* Books a command that the backend accepted; takes the handle. */
static lw_status book(lw_queue *q, void *handle, const lw_command *command, lw_event **event)
{
	lw_event *e = NULL;
	lw_status status;
	unsigned released = 0;

	pthread_mutex_lock(&q->lock);
	q->launches += command->kind == LW_TRACED_LAUNCH;
	if (q->pending_count >= REAP_FROM)
		released = reap(q);
	status = lw_grow(&q->pending, &q->pending_capacity, q->pending_count + 1, sizeof q->pending[0]);
	if (status == LW_OK && q->spare) {
		e = q->spare;
		q->spare = e->next;
	} else if (status == LW_OK) {
		status = lw_alloc(&e, 1, sizeof *e);
	}
	if (status == LW_OK) {
		*e = (lw_event){.queue = q, .handle = handle, .references = event ? 2 : 1};
		q->pending[q->pending_count++] = e;
		q->references++;
		if (q->device->trace)
			e->record = lw_trace_command(q->device->trace, q, command);
		if (event)
			*event = e;
	} else {
		q->device->backend->event_destroy(handle);
	}
	unlock_and_release(q, released);
	return status;
}

static lw_status check_range(const lw_queue *queue, const lw_buf *buf, size_t offset, size_t bytes, const char *what)
{
	if (!lw_device_shares_memory(buf->device, queue->device))
		return lw_fail(LW_E_ARGUMENT, "%s: the buffer is on %s, the queue on %s", what, buf->device->label,
			       queue->device->label);
	if (offset > buf->size || bytes > buf->size - offset)
		return lw_fail(LW_E_ARGUMENT, "%s: %zu bytes at %zu do not lie in a buffer of %zu bytes", what, bytes,
			       offset, buf->size);
	return LW_OK;
}

lw_status lw_queue_write(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, const void *data, lw_event **event)
{
	void *handle = NULL;

	if (event)
		*event = NULL;
	LW_TRY(check_range(queue, buf, offset, bytes, "write"));
	if (bytes == 0 || queue->rehearsing)
		return LW_OK;
	LW_TRY(naming_device(queue, queue->device->backend->write(queue, buf, offset, bytes, data, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_TRANSFER, .name = "write", .bytes = (double)bytes}, event);
}

lw_status lw_queue_read(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data, lw_event **event)
{
	void *handle = NULL;

	if (event)
		*event = NULL;
	LW_TRY(check_range(queue, buf, offset, bytes, "read"));
	if (bytes == 0 || queue->rehearsing)
		return LW_OK;
	LW_TRY(naming_device(queue, queue->device->backend->read(queue, buf, offset, bytes, data, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_TRANSFER, .name = "read", .bytes = (double)bytes}, event);
}

lw_status lw_queue_copy(lw_queue *queue, lw_buf *from, size_t from_offset, lw_buf *to, size_t to_offset, size_t bytes,
			lw_event **event)
{
	size_t start = from->offset + from_offset, goal = to->offset + to_offset;
	void *handle = NULL;

	if (event)
		*event = NULL;
	LW_TRY(check_range(queue, from, from_offset, bytes, "copy from"));
	LW_TRY(check_range(queue, to, to_offset, bytes, "copy to"));
	if (bytes == 0 || queue->rehearsing)
		return LW_OK;
	if (from->root == to->root && start < goal + bytes && goal < start + bytes)
		return lw_fail(LW_E_ARGUMENT, "copy: %zu bytes from %zu to %zu of the same buffer overlap", bytes,
			       start, goal);
	LW_TRY(naming_device(queue, queue->device->backend->copy(queue, from, from_offset, to, to_offset, bytes, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_TRANSFER, .name = "copy", .bytes = (double)bytes}, event);
}

lw_status lw_queue_fill(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, uint32_t pattern, lw_event **event)
{
	void *handle = NULL;

	if (event)
		*event = NULL;
	LW_TRY(check_range(queue, buf, offset, bytes, "fill"));
	if (offset % sizeof pattern || bytes % sizeof pattern)
		return lw_fail(LW_E_ARGUMENT, "fill: %zu bytes at %zu are not whole 32-bit words", bytes, offset);
	if (bytes == 0 || queue->rehearsing)
		return LW_OK;
	LW_TRY(naming_device(queue, queue->device->backend->fill(queue, buf, offset, bytes, pattern, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_FILL, .name = "fill", .bytes = (double)bytes}, event);
}

static lw_status check_group(const lw_launch *launch)
{
	const lw_kernel *kernel = launch->kernel;
	const lw_device_info *info = &kernel->device->info;
	size_t group = 1;

	if (launch->local[0] == 0) {
		for (int d = 1; d < launch->dimensions; d++)
			if (launch->local[d])
				return lw_fail(LW_E_ARGUMENT, "kernel %s: local size is 0 x %zu: give all or none",
					       kernel->name, launch->local[d]);
		return LW_OK;
	}
	for (int d = 0; d < launch->dimensions; d++) {
		size_t local = launch->local[d];

		if (local == 0 || launch->global[d] % local)
			return lw_fail(LW_E_ARGUMENT,
				       "kernel %s: global size %zu of dimension %d is no multiple of local size %zu",
				       kernel->name, launch->global[d], d, local);
		if (local > info->max_local_size[d] || !lw_mul_size(group, local, &group))
			return lw_fail(LW_E_ARGUMENT,
				       "kernel %s: local size %zu of dimension %d is above %s's limit %zu",
				       kernel->name, local, d, kernel->device->label, info->max_local_size[d]);
	}
	if (group > kernel->max_work_group)
		return lw_fail(LW_E_ARGUMENT, "kernel %s: a work-group of %zu items, %s takes at most %zu",
			       kernel->name, group, kernel->device->label, kernel->max_work_group);
	return LW_OK;
}

static lw_status check_launch(const lw_queue *queue, const lw_launch *launch)
{
	const lw_kernel *kernel = launch->kernel;
	size_t local_bytes;

	if (!kernel)
		return lw_fail(LW_E_ARGUMENT, "a launch without a kernel");
	local_bytes = kernel->local_bytes;
	if (kernel->device != queue->device)
		return lw_fail(LW_E_ARGUMENT, "kernel %s is built for %s, the queue is on %s", kernel->name,
			       kernel->device->label, queue->device->label);
	if (launch->dimensions < 1 || launch->dimensions > 3)
		return lw_fail(LW_E_ARGUMENT, "kernel %s: %d dimensions, 1 to 3 are possible", kernel->name,
			       launch->dimensions);
	if (launch->arg_count < 0 || launch->arg_count > LW_LAUNCH_MAX_ARGS)
		return lw_fail(LW_E_ARGUMENT, "kernel %s: %d arguments, at most %d are possible", kernel->name,
			       launch->arg_count, LW_LAUNCH_MAX_ARGS);
	for (int i = 0; i < launch->arg_count; i++) {
		const lw_arg *arg = &launch->args[i];

		if (arg->kind == LW_ARG_BUF && arg->value.buf &&
		    !lw_device_shares_memory(arg->value.buf->device, queue->device))
			return lw_fail(LW_E_ARGUMENT, "kernel %s: the buffer of argument %d is on %s, the queue on %s",
				       kernel->name, i, arg->value.buf->device->label, queue->device->label);
		if (arg->kind == LW_ARG_LOCAL && arg->value.local_bytes == 0)
			return lw_fail(LW_E_ARGUMENT, "kernel %s: argument %d is 0 bytes of local memory", kernel->name,
				       i);
		if (arg->kind == LW_ARG_LOCAL && !lw_add_size(local_bytes, arg->value.local_bytes, &local_bytes))
			local_bytes = SIZE_MAX;
	}
	if (local_bytes > queue->device->info.local_memory)
		return lw_fail(LW_E_ARGUMENT, "kernel %s: %zu bytes of local memory, %s has %llu", kernel->name,
			       local_bytes, queue->device->label, (unsigned long long)queue->device->info.local_memory);
	return check_group(launch);
}

lw_status lw_queue_launch(lw_queue *queue, const lw_launch *launch, lw_event **event)
{
	void *handle = NULL;

	if (event)
		*event = NULL;
	if (queue->rehearsing)
		return LW_OK;
	LW_TRY(check_launch(queue, launch));
	for (int d = 0; d < launch->dimensions; d++)
		if (launch->global[d] == 0)
			return LW_OK;
	LW_TRY(naming_device(queue, queue->device->backend->launch(queue, launch, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_LAUNCH, .name = launch->kernel->name, .flops = launch->flops,
						 .bytes = launch->bytes}, event);
}

lw_status lw_queue_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			lw_buf *b, int ldb, lw_buf *c, int ldc)
{
	const int a_rows = transpose_a ? k : m, a_columns = transpose_a ? m : k;
	const int b_rows = transpose_b ? n : k, b_columns = transpose_b ? k : n;
	void *handle = NULL;

	if (m < 0 || n < 0 || k <= 0 || lda < a_columns || ldb < b_columns || ldc < n)
		return lw_fail(LW_E_ARGUMENT, "matrix product %d x %d x %d with rows of %d, %d and %d elements", m, n,
			       k, lda, ldb, ldc);
	if (m == 0 || n == 0 || queue->rehearsing)
		return LW_OK;
	LW_TRY(check_range(queue, a, 0, ((size_t)(a_rows - 1) * (size_t)lda + (size_t)a_columns) * 4, "matrix A"));
	LW_TRY(check_range(queue, b, 0, ((size_t)(b_rows - 1) * (size_t)ldb + (size_t)b_columns) * 4, "matrix B"));
	LW_TRY(check_range(queue, c, 0, ((size_t)(m - 1) * (size_t)ldc + (size_t)n) * 4, "matrix C"));
	LW_TRY(naming_device(queue, queue->device->backend->gemm(queue, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc,
								 &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_LAUNCH, .name = "gemm", .flops = 2.0 * m * n * k}, NULL);
}

/* Devices do not see each other's events, so between two of them the host waits. */
lw_status lw_queue_wait_event(lw_queue *queue, lw_event *event)
{
	void *handle = NULL;

	if (!event || event->queue == queue)
		return LW_OK;
	if (event->queue->device != queue->device)
		return lw_event_wait(event);
	LW_TRY(naming_device(queue, queue->device->backend->wait_event(queue, event->handle, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_WAIT, .name = "wait", .awaited = event->queue}, NULL);
}

lw_status lw_queue_mark(lw_queue *queue, lw_event **event)
{
	void *handle = NULL;

	*event = NULL;
	if (queue->rehearsing)
		return LW_OK;
	LW_TRY(naming_device(queue, queue->device->backend->mark(queue, &handle)));
	return book(queue, handle, &(lw_command){.kind = LW_TRACED_WAIT, .name = NULL}, event);
}

void lw_queue_rehearse(lw_queue *queue, bool rehearse) { queue->rehearsing = rehearse; }

bool lw_queue_rehearses(const lw_queue *queue) { return queue->rehearsing; }

lw_status lw_queue_flush(lw_queue *queue) { return naming_device(queue, queue->device->backend->flush(queue)); }

static double wait_begins(const lw_queue *q) { return q->device->trace ? lw_now() : 0; }

static void wait_ends(const lw_queue *q, double began)
{
	if (q->device->trace)
		lw_trace_host_wait(q->device->trace, q, began);
}

/* With the lock held. */
static lw_status report_failure(const lw_queue *q)
{
	return q->failed == LW_OK ? LW_OK : lw_fail(q->failed, "%s", q->failure);
}

/* The last command, kept until it is let go; NULL: none is pending. */
static lw_event *hold_last(lw_queue *q)
{
	lw_event *last = NULL;

	pthread_mutex_lock(&q->lock);
	if (q->pending_count) {
		last = q->pending[q->pending_count - 1];
		last->references++;
	}
	pthread_mutex_unlock(&q->lock);
	return last;
}

static void let_go(lw_queue *q, lw_event *event)
{
	pthread_mutex_lock(&q->lock);
	unlock_and_release(q, release_event(event));
}

/* A device that can no longer be waited for may still work in memory that is about to be freed: it is looked at for a while. */
static void watch(const lw_backend *backend, lw_event *last)
{
	enum { MOST = 5000 }; /* milliseconds */
	const struct timespec pause = {.tv_nsec = 1000000};
	bool done = false;

	for (int i = 0; i < MOST; i++) {
		backend->event_state(last->handle, &done);
		if (done)
			return;
		nanosleep(&pause, NULL);
	}
}

/*
 * Waits for all that was enqueued. Mesa 22.3's rusticl, once a queue was flushed, waits in clFinish only for what came
 * after; so the last command is waited for, too. How it ended is told when it is reaped.
 */
static lw_status finish(lw_queue *q)
{
	const lw_backend *backend = q->device->backend;
	lw_status status = backend->finish(q);
	lw_event *last = hold_last(q);
	char *error = NULL;

	if (!last)
		return status;
	lw_copy_string(&error, lw_last_error());
	if (status != LW_OK || backend->event_wait(last->handle) != LW_OK)
		watch(backend, last);
	let_go(q, last);
	if (status != LW_OK)
		lw_fail(status, "%s", error ? error : "");
	free(error);
	return status;
}

lw_status lw_queue_finish(lw_queue *queue)
{
	const double began = wait_begins(queue);
	lw_status status = naming_device(queue, finish(queue));
	unsigned released;

	wait_ends(queue, began);
	pthread_mutex_lock(&queue->lock);
	released = reap(queue);
	if (queue->failed != LW_OK) /* the command that failed says more */
		status = report_failure(queue);
	queue->failed = LW_OK; /* reported, and nothing is left in the queue: it may be used again */
	unlock_and_release(queue, released);
	return status;
}

void lw_queue_drain(lw_queue *queue)
{
	char *error = NULL;

	lw_copy_string(&error, lw_last_error());
	finish(queue);
	pthread_mutex_lock(&queue->lock);
	for (size_t i = 0; i < queue->pending_count; i++)
		tell_trace(queue->pending[i]);
	pthread_mutex_unlock(&queue->lock);
	lw_fail(LW_OK, "%s", error ? error : "");
	free(error);
}

lw_status lw_event_wait(lw_event *event)
{
	lw_queue *q;
	lw_status status, waited;
	unsigned released;
	double began;

	if (!event)
		return LW_OK;
	q = event->queue;
	began = wait_begins(q);
	waited = naming_device(q, q->device->backend->event_wait(event->handle));
	wait_ends(q, began);
	pthread_mutex_lock(&q->lock);
	released = reap(q);
	status = report_failure(q);
	if (status == LW_OK) { /* it may have been reaped and reported before: its waiter is told all the same */
		bool done;
		status = naming_device(q, q->device->backend->event_state(event->handle, &done));
	}
	if (status == LW_OK)
		status = waited;
	unlock_and_release(q, released);
	return status;
}

lw_status lw_event_seconds(lw_event *event, double *seconds)
{
	lw_times times;

	*seconds = 0;
	if (!event)
		return LW_OK;
	LW_TRY(event->queue->device->backend->event_times(event->handle, &times));
	*seconds = 1e-9 * (double)(times.end - times.start);
	return LW_OK;
}

void lw_event_destroy(lw_event **event)
{
	lw_event *e = *event;
	lw_queue *q;

	if (!e)
		return;
	q = e->queue;
	pthread_mutex_lock(&q->lock);
	unlock_and_release(q, release_event(e));
	*event = NULL;
}
