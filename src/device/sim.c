/*
 * A simulated device, for testing what schedules work without a driver. Memory is host memory; launches do nothing but
 * are counted and take the time that a model gives them; calls fail on demand. Time is the device's own: it stands
 * still unless work is enqueued.
 */
#include "device/backend.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct sim_device {
	double gflops, gbs, launch_us; /* what it computes and moves, and what a command costs at least */
	double memory, used;	       /* bytes */
	double fail, fail_async;       /* the number of the call or command that fails, from 1; 0: none */
	double calls, commands;
	pthread_mutex_t lock;
} sim_device;

typedef struct sim_queue {
	double time; /* when its last command ends */
} sim_queue;

typedef struct sim_event {
	double start, end;
	lw_status status;
} sim_event;

static lw_status parse_options(sim_device *sim, lw_device_info *info, const char *options)
{
	double units = 4, width = 8, local = 65536, group = 1024, alignment = 64, fp64 = 1;
	const struct {
		const char *name;
		double *value;
	} known[] = {{"gflops", &sim->gflops}, {"gbs", &sim->gbs},	  {"launch_us", &sim->launch_us},
		     {"memory", &sim->memory}, {"fail", &sim->fail},	  {"fail_async", &sim->fail_async},
		     {"units", &units},	       {"width", &width},	  {"local", &local},
		     {"group", &group},	       {"alignment", &alignment}, {"fp64", &fp64}};

	for (const char *p = options; *p;) {
		size_t length = strcspn(p, "="), i;
		char *end;

		if (strncmp(p, "name=", 5) == 0) { /* tells two of them apart, by their labels */
			p += strcspn(p, ",");
			p += *p == ',';
			continue;
		}
		for (i = 0; i < LW_COUNT(known); i++)
			if (strlen(known[i].name) == length && strncmp(p, known[i].name, length) == 0)
				break;
		if (i == LW_COUNT(known) || p[length] != '=')
			return lw_fail(LW_E_ARGUMENT, "simulated device: unknown option in `%s`", p);
		*known[i].value = strtod(p + length + 1, &end);
		if (end == p + length + 1 || (*end && *end != ',') || !(*known[i].value >= 0))
			return lw_fail(LW_E_ARGUMENT, "simulated device: `%s` is no number from 0 up", p + length + 1);
		p = end + (*end == ',');
	}
	if (!(sim->gflops > 0) || !(sim->gbs > 0))
		return lw_fail(LW_E_ARGUMENT, "simulated device: gflops and gbs must be above 0");
	*info = (lw_device_info){.platform = "Simulated",
				 .platform_vendor = "layerwise",
				 .vendor = "layerwise",
				 .name = "simulated device",
				 .driver = "1",
				 .opencl_version = "OpenCL 1.2",
				 .opencl_c_version = "OpenCL C 1.2",
				 .type = LW_DEVICE_SIMULATED,
				 .compute_units = (unsigned)units,
				 .clock_mhz = 1000,
				 .global_memory = (uint64_t)sim->memory,
				 .local_memory = (uint64_t)local,
				 .max_allocation = (uint64_t)sim->memory,
				 .max_work_group = (size_t)group,
				 .max_local_size = {(size_t)group, (size_t)group, (size_t)group},
				 .vector_width = (unsigned)width,
				 .alignment = (unsigned)alignment,
				 .fp64 = fp64 > 0,
				 .fast_fma = true,
				 .denormals = true,
				 .correctly_rounded = true};
	return LW_OK;
}

/* Counts a call, and fails if it is the one that should. */
static lw_status count_call(const lw_device *device, const char *what)
{
	sim_device *sim = device->handle;
	double call;

	pthread_mutex_lock(&sim->lock);
	call = ++sim->calls;
	pthread_mutex_unlock(&sim->lock);
	if (call == sim->fail)
		return lw_fail(LW_E_DEVICE, "%s: simulated failure of call %.0f", what, call);
	return LW_OK;
}

static void sim_close(lw_device *device)
{
	sim_device *sim = device->handle;

	pthread_mutex_destroy(&sim->lock);
	free(sim);
}

static lw_status sim_buf_create(lw_buf *buf)
{
	sim_device *sim = buf->device->handle;
	bool fits;

	buf->memory = NULL; /* as a GPU: it has a copy */
	LW_TRY(count_call(buf->device, "buffer"));
	pthread_mutex_lock(&sim->lock);
	fits = sim->used + (double)buf->size <= sim->memory;
	sim->used += fits ? (double)buf->size : 0;
	pthread_mutex_unlock(&sim->lock);
	if (!fits)
		return lw_fail(LW_E_MEMORY, "buffer: %zu bytes do not fit on the simulated device beside %.0f of %.0f",
			       buf->size, sim->used, sim->memory);
	return lw_alloc(&buf->handle, buf->size, 1);
}

static lw_status sim_buf_slice(lw_buf *buf)
{
	LW_TRY(count_call(buf->device, "slice"));
	buf->handle = (char *)buf->root->handle + buf->offset;
	return LW_OK;
}

static void sim_buf_destroy(lw_buf *buf)
{
	sim_device *sim = buf->device->handle;

	if (buf->root != buf)
		return;
	pthread_mutex_lock(&sim->lock);
	sim->used -= (double)buf->size;
	pthread_mutex_unlock(&sim->lock);
	free(buf->handle);
}

static lw_status sim_queue_create(lw_queue *queue)
{
	LW_TRY(count_call(queue->device, "queue"));
	return lw_alloc(&queue->handle, 1, sizeof(sim_queue));
}

static void sim_queue_destroy(lw_queue *queue) { free(queue->handle); }

static lw_status sim_flush(lw_queue *queue) { return count_call(queue->device, "flush"); }

static lw_status sim_finish(lw_queue *queue) { return count_call(queue->device, "finish"); }

/* A command of so many floating-point operations and bytes, from when the queue is free and not before `earliest`. */
static lw_status command(lw_queue *queue, const char *what, double flops, double bytes, double earliest, void **event)
{
	sim_device *sim = queue->device->handle;
	sim_queue *own = queue->handle;
	double compute = flops / (1e9 * sim->gflops), move = bytes / (1e9 * sim->gbs), number;
	sim_event *e;

	LW_TRY(count_call(queue->device, what));
	LW_TRY(lw_alloc(&e, 1, sizeof *e));
	pthread_mutex_lock(&sim->lock);
	number = ++sim->commands;
	e->start = own->time > earliest ? own->time : earliest;
	e->end = e->start + 1e-6 * sim->launch_us + (compute > move ? compute : move);
	own->time = e->end;
	pthread_mutex_unlock(&sim->lock);
	e->status = number == sim->fail_async ? LW_E_DEVICE : LW_OK;
	*event = e;
	return LW_OK;
}

double lw_queue_simulated_seconds(const lw_queue *queue)
{
	const sim_queue *own = queue->handle;

	return queue->device->info.type == LW_DEVICE_SIMULATED ? own->time : 0;
}

static lw_status sim_write(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, const void *data, void **event)
{
	LW_TRY(command(queue, "write", 0, (double)bytes, 0, event));
	memcpy((char *)buf->handle + offset, data, bytes);
	return LW_OK;
}

static lw_status sim_read(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data, void **event)
{
	LW_TRY(command(queue, "read", 0, (double)bytes, 0, event));
	memcpy(data, (char *)buf->handle + offset, bytes);
	return LW_OK;
}

static lw_status sim_copy(lw_queue *queue, lw_buf *from, size_t from_offset, lw_buf *to, size_t to_offset, size_t bytes,
			  void **event)
{
	LW_TRY(command(queue, "copy", 0, 2 * (double)bytes, 0, event));
	memcpy((char *)to->handle + to_offset, (char *)from->handle + from_offset, bytes);
	return LW_OK;
}

static lw_status sim_fill(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, uint32_t pattern, void **event)
{
	char *goal = (char *)buf->handle + offset;

	LW_TRY(command(queue, "fill", 0, (double)bytes, 0, event));
	for (size_t i = 0; i < bytes; i += sizeof pattern)
		memcpy(goal + i, &pattern, sizeof pattern);
	return LW_OK;
}

static lw_status sim_launch(lw_queue *queue, const lw_launch *launch, void **event)
{
	return command(queue, launch->kernel->name, launch->flops, launch->bytes, 0, event);
}

static lw_status sim_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			  lw_buf *b, int ldb, lw_buf *c, int ldc, void **event)
{
	double dm = m, dn = n, dk = k;

	(void)transpose_a, (void)transpose_b, (void)a, (void)lda, (void)b, (void)ldb, (void)c, (void)ldc;
	return command(queue, "gemm", 2 * dm * dn * dk, 4 * (dm * dk + dk * dn + dm * dn), 0, event);
}

static lw_status sim_wait_event(lw_queue *queue, void *other_event, void **event)
{
	const sim_event *other = other_event;

	return command(queue, "wait", 0, 0, other->end, event);
}

static lw_status sim_mark(lw_queue *queue, void **event) { return command(queue, "mark", 0, 0, 0, event); }

static lw_status sim_event_wait(void *event)
{
	(void)event;
	return LW_OK;
}

static lw_status sim_event_state(void *event, bool *done)
{
	const sim_event *e = event;

	*done = true;
	return e->status == LW_OK ? LW_OK : lw_fail(e->status, "a command failed on the device: simulated failure");
}

static uint64_t nanoseconds(double seconds) { return (uint64_t)llround(1e9 * seconds); }

static lw_status sim_event_times(void *event, lw_times *times)
{
	const sim_event *e = event;

	*times = (lw_times){nanoseconds(e->start), nanoseconds(e->end)};
	return LW_OK;
}

static lw_status sim_program_create(lw_program *program, const char *source, const void *binary, size_t size,
				    const char *options)
{
	(void)source, (void)binary, (void)size, (void)options;
	return count_call(program->device, "program");
}

static lw_status sim_program_binary(lw_program *program, void **binary, size_t *size)
{
	(void)binary, (void)size;
	LW_TRY(count_call(program->device, "binary"));
	return lw_fail(LW_E_UNSUPPORTED, "a simulated device has no binaries");
}

static void sim_program_destroy(lw_program *program) { (void)program; }

static lw_status sim_kernel_create(lw_kernel *kernel, lw_program *program)
{
	(void)program;
	kernel->max_work_group = kernel->device->info.max_work_group;
	return count_call(kernel->device, kernel->name);
}

static void sim_kernel_destroy(lw_kernel *kernel) { (void)kernel; }

static const lw_backend backend = {
	.close = sim_close,
	.buf_create = sim_buf_create,
	.buf_slice = sim_buf_slice,
	.buf_destroy = sim_buf_destroy,
	.queue_create = sim_queue_create,
	.queue_destroy = sim_queue_destroy,
	.flush = sim_flush,
	.finish = sim_finish,
	.write = sim_write,
	.read = sim_read,
	.copy = sim_copy,
	.fill = sim_fill,
	.launch = sim_launch,
	.gemm = sim_gemm,
	.wait_event = sim_wait_event,
	.mark = sim_mark,
	.event_wait = sim_event_wait,
	.event_state = sim_event_state,
	.event_times = sim_event_times,
	.event_destroy = free,
	.program_create = sim_program_create,
	.program_binary = sim_program_binary,
	.program_destroy = sim_program_destroy,
	.kernel_create = sim_kernel_create,
	.kernel_destroy = sim_kernel_destroy,
};

lw_status lw_sim_open(lw_device *device, const char *options)
{
	sim_device *sim;
	lw_status status;

	LW_TRY(lw_alloc(&sim, 1, sizeof *sim));
	sim->gflops = 100;
	sim->gbs = 20;
	sim->launch_us = 2;
	sim->memory = 1024.0 * 1024 * 1024;
	status = parse_options(sim, &device->info, options);
	if (status != LW_OK) {
		free(sim);
		return status;
	}
	pthread_mutex_init(&sim->lock, NULL);
	device->handle = sim;
	device->backend = &backend;
	return LW_OK;
}
