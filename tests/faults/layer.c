/*
 * A layer between the OpenCL loader and its drivers that loses devices: OPENCL_LAYERS names it, and
 *
 *   LAYERWISE_FAULT="device=K;after=N[;call=enqueue|any][;mode=sync|event][;error=CODE]"
 *
 * loses device K at the N-th call on its queues, from 1. Devices are numbered from 0 in the order in which each got its
 * first queue; a sub-device is a device. call: which calls count, clEnqueue* only, or clFlush, clFinish and
 * clWaitForEvents as well. A device stays lost: sync, every call on it fails with the code, CL_OUT_OF_RESOURCES unless
 * told; event, enqueues are accepted and not done, and only their events tell. Each further device= begins another loss;
 * create=N fails the N-th clCreateBuffer, once. LAYERWISE_FAULT_COUNT=FILE is told at the end how many calls there were.
 */
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64 }; /* devices, and losses */

/* A device that is to be lost. */
typedef struct loss {
	long device, after;
	bool any, asynchronous;
	cl_int error;
} loss;

typedef struct device {
	cl_device_id id;
	char name[128];
	long enqueues, others;
	bool lost;
	loss loss; /* after: 0 where there is none */
} device;

static const struct _cl_icd_dispatch *driver;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all below */
static device devices[MOST];
static long device_count, creates;
static loss losses[MOST];
static long loss_count, failing_create;

/* --- What the environment asks for --- */

static void refuse(const char *word)
{
	fprintf(stderr, "fault layer: LAYERWISE_FAULT: `%s` is not understood\n", word);
	abort();
}

static long number(const char *word, const char *text)
{
	char *end;
	long value = strtol(text, &end, 10);

	if (end == text || *end)
		refuse(word);
	return value;
}

static void read_word(const char *word, const char *value)
{
	bool begun = loss_count > 0;
	loss *last = begun ? &losses[loss_count - 1] : NULL;

	if (strncmp(word, "create=", 7) == 0)
		failing_create = number(word, value);
	else if (strncmp(word, "device=", 7) == 0 && loss_count < MOST)
		losses[loss_count++] = (loss){.device = number(word, value), .after = 1, .error = CL_OUT_OF_RESOURCES};
	else if (begun && strncmp(word, "after=", 6) == 0)
		last->after = number(word, value);
	else if (begun && strncmp(word, "error=", 6) == 0)
		last->error = (cl_int)number(word, value);
	else if (begun && (strcmp(word, "call=any") == 0 || strcmp(word, "call=enqueue") == 0))
		last->any = strcmp(value, "any") == 0;
	else if (begun && (strcmp(word, "mode=event") == 0 || strcmp(word, "mode=sync") == 0))
		last->asynchronous = strcmp(value, "event") == 0;
	else
		refuse(word);
}

static void read_environment(void)
{
	const char *text = getenv("LAYERWISE_FAULT");
	char copy[4096], *rest = copy, *word;

	snprintf(copy, sizeof copy, "%s", text ? text : "");
	while ((word = strsep(&rest, ";")))
		if (*word)
			read_word(word, word + strcspn(word, "=") + 1);
}

__attribute__((destructor)) static void write_counts(void)
{
	const char *path = getenv("LAYERWISE_FAULT_COUNT");
	FILE *file = path ? fopen(path, "w") : NULL;

	if (!file)
		return;
	for (long i = 0; i < device_count; i++)
		fprintf(file, "device=%ld enqueue=%ld any=%ld %s\n", i, devices[i].enqueues,
			devices[i].enqueues + devices[i].others, devices[i].name);
	fprintf(file, "create=%ld\n", creates);
	fclose(file);
}

/* --- Devices, and their ends --- */

/* With the lock held. The device is retained: another in its place must not be taken for it. */
static device *find_device(cl_device_id id, bool add)
{
	device *d = devices;

	while (d < devices + device_count && d->id != id)
		d++;
	if (d < devices + device_count)
		return d;
	if (!add || device_count == MOST)
		return NULL;
	d->id = id;
	driver->clRetainDevice(id);
	driver->clGetDeviceInfo(id, CL_DEVICE_NAME, sizeof d->name - 1, d->name, NULL);
	for (long i = 0; i < loss_count; i++)
		if (losses[i].device == device_count)
			d->loss = losses[i];
	device_count++;
	return d;
}

static cl_device_id device_of(cl_command_queue queue)
{
	cl_device_id id = NULL;

	driver->clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof id, &id, NULL);
	return id;
}

/* With the lock held: counts a call, with which the device may be lost. */
static void count(device *d, bool enqueue, const char *call)
{
	long counted;

	if (enqueue)
		d->enqueues++;
	else
		d->others++;
	counted = d->enqueues + (d->loss.any ? d->others : 0);
	if (d->lost || !d->loss.after || counted < d->loss.after || (!enqueue && !d->loss.any))
		return;
	d->lost = true;
	fprintf(stderr, "fault layer: device %ld is lost at %s\n", (long)(d - devices), call);
}

/* Counts a call on a device; what it is to return where that is lost. */
static cl_int visit(cl_device_id id, bool enqueue, const char *call, bool *asynchronous)
{
	cl_int error = CL_SUCCESS;
	device *d;

	pthread_mutex_lock(&lock);
	d = find_device(id, false);
	if (d)
		count(d, enqueue, call);
	if (d && d->lost)
		error = d->loss.error;
	*asynchronous = d && d->loss.asynchronous;
	pthread_mutex_unlock(&lock);
	return error;
}

/* True where the driver is not to see an enqueue, which then returns *error. */
static bool swallowed(cl_command_queue queue, const char *call, cl_event *event, cl_int *error)
{
	bool asynchronous;
	cl_int code = visit(device_of(queue), true, call, &asynchronous);
	cl_context context = NULL;

	*error = code;
	if (code == CL_SUCCESS || !asynchronous)
		return code != CL_SUCCESS;
	*error = CL_SUCCESS;
	if (event) {
		driver->clGetCommandQueueInfo(queue, CL_QUEUE_CONTEXT, sizeof context, &context, NULL);
		*event = driver->clCreateUserEvent(context, error);
		if (*error == CL_SUCCESS)
			driver->clSetUserEventStatus(*event, code);
	}
	return true;
}

/* Of a call that waits for what was enqueued before; the driver has done that, so that nobody's memory is in use any more. */
static cl_int after_wait(cl_device_id id, const char *call, cl_int done)
{
	bool asynchronous;
	cl_int error = visit(id, false, call, &asynchronous);

	return error == CL_SUCCESS || asynchronous ? done : error;
}

/* --- The calls; of clEnqueue* those that layerwise and CLBlast make, none of which blocks --- */

#define ENQUEUE(name, parameters, arguments)                                                                           \
	static cl_int CL_API_CALL faulty_##name parameters                                                             \
	{                                                                                                              \
		cl_int error;                                                                                          \
                                                                                                                       \
		return swallowed(queue, #name, event, &error) ? error : driver->name arguments;                        \
	}

ENQUEUE(clEnqueueReadBuffer,
	(cl_command_queue queue, cl_mem from, cl_bool blocking, size_t offset, size_t size, void *to, cl_uint count,
	 const cl_event *waits, cl_event *event),
	(queue, from, blocking, offset, size, to, count, waits, event))
ENQUEUE(clEnqueueWriteBuffer,
	(cl_command_queue queue, cl_mem to, cl_bool blocking, size_t offset, size_t size, const void *from, cl_uint count,
	 const cl_event *waits, cl_event *event),
	(queue, to, blocking, offset, size, from, count, waits, event))
ENQUEUE(clEnqueueCopyBuffer,
	(cl_command_queue queue, cl_mem from, cl_mem to, size_t from_offset, size_t to_offset, size_t size, cl_uint count,
	 const cl_event *waits, cl_event *event),
	(queue, from, to, from_offset, to_offset, size, count, waits, event))
ENQUEUE(clEnqueueFillBuffer,
	(cl_command_queue queue, cl_mem buffer, const void *pattern, size_t pattern_size, size_t offset, size_t size,
	 cl_uint count, const cl_event *waits, cl_event *event),
	(queue, buffer, pattern, pattern_size, offset, size, count, waits, event))
ENQUEUE(clEnqueueNDRangeKernel,
	(cl_command_queue queue, cl_kernel kernel, cl_uint dimensions, const size_t *offset, const size_t *global,
	 const size_t *local, cl_uint count, const cl_event *waits, cl_event *event),
	(queue, kernel, dimensions, offset, global, local, count, waits, event))
ENQUEUE(clEnqueueMarkerWithWaitList, (cl_command_queue queue, cl_uint count, const cl_event *waits, cl_event *event),
	(queue, count, waits, event))
ENQUEUE(clEnqueueBarrierWithWaitList, (cl_command_queue queue, cl_uint count, const cl_event *waits, cl_event *event),
	(queue, count, waits, event))

static cl_int CL_API_CALL faulty_clFlush(cl_command_queue queue)
{
	return after_wait(device_of(queue), "clFlush", driver->clFlush(queue));
}

static cl_int CL_API_CALL faulty_clFinish(cl_command_queue queue)
{
	return after_wait(device_of(queue), "clFinish", driver->clFinish(queue));
}

static cl_int CL_API_CALL faulty_clWaitForEvents(cl_uint event_count, const cl_event *events)
{
	cl_int error = driver->clWaitForEvents(event_count, events);

	for (cl_uint i = 0; i < event_count && error == CL_SUCCESS; i++) {
		cl_command_queue queue = NULL;

		driver->clGetEventInfo(events[i], CL_EVENT_COMMAND_QUEUE, sizeof queue, &queue, NULL);
		if (queue)
			error = after_wait(device_of(queue), "clWaitForEvents", CL_SUCCESS);
	}
	return error;
}

static cl_command_queue CL_API_CALL faulty_clCreateCommandQueue(cl_context context, cl_device_id id,
								cl_command_queue_properties properties, cl_int *error)
{
	cl_int code = CL_OUT_OF_RESOURCES;
	device *d;

	pthread_mutex_lock(&lock);
	d = find_device(id, true);
	if (d)
		code = d->lost && !d->loss.asynchronous ? d->loss.error : CL_SUCCESS;
	pthread_mutex_unlock(&lock);
	if (code == CL_SUCCESS)
		return driver->clCreateCommandQueue(context, id, properties, error);
	if (error)
		*error = code;
	return NULL;
}

/* Which device a buffer is for shows only where its context has one alone. */
static cl_int lost_context(cl_context context)
{
	cl_device_id ids[2] = {NULL, NULL};
	size_t size = 0;
	device *d;

	if (driver->clGetContextInfo(context, CL_CONTEXT_DEVICES, sizeof ids, ids, &size) != CL_SUCCESS || size != sizeof ids[0])
		return CL_SUCCESS;
	d = find_device(ids[0], false);
	return d && d->lost && !d->loss.asynchronous ? d->loss.error : CL_SUCCESS;
}

static cl_mem CL_API_CALL faulty_clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size, void *memory, cl_int *error)
{
	cl_int code;

	pthread_mutex_lock(&lock);
	code = lost_context(context);
	if (++creates == failing_create) {
		code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
		fprintf(stderr, "fault layer: clCreateBuffer of %zu bytes fails\n", size);
	}
	pthread_mutex_unlock(&lock);
	if (code == CL_SUCCESS)
		return driver->clCreateBuffer(context, flags, size, memory, error);
	if (error)
		*error = code;
	return NULL;
}

/* --- What the loader calls --- */

#define EXPORTED __attribute__((visibility("default"))) CL_API_ENTRY

EXPORTED cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value, size_t *size_given)
{
	static const char name[] = "layerwise's faults";
	static const cl_layer_api_version version = CL_LAYER_API_VERSION_100;
	const void *answer = what == CL_LAYER_NAME ? (const void *)name : &version;
	size_t length = what == CL_LAYER_NAME ? sizeof name : sizeof version;

	if ((what != CL_LAYER_NAME && what != CL_LAYER_API_VERSION) || (value && size < length))
		return CL_INVALID_VALUE;
	if (value)
		memcpy(value, answer, length);
	if (size_given)
		*size_given = length;
	return CL_SUCCESS;
}

EXPORTED cl_int CL_API_CALL clInitLayer(cl_uint count_given, const cl_icd_dispatch *next, cl_uint *count_taken,
					const cl_icd_dispatch **layer)
{
	/* the loader fills in the driver's own where there is none here */
	static const cl_icd_dispatch calls = {
		.clCreateBuffer = faulty_clCreateBuffer,
		.clCreateCommandQueue = faulty_clCreateCommandQueue,
		.clEnqueueBarrierWithWaitList = faulty_clEnqueueBarrierWithWaitList,
		.clEnqueueCopyBuffer = faulty_clEnqueueCopyBuffer,
		.clEnqueueFillBuffer = faulty_clEnqueueFillBuffer,
		.clEnqueueMarkerWithWaitList = faulty_clEnqueueMarkerWithWaitList,
		.clEnqueueNDRangeKernel = faulty_clEnqueueNDRangeKernel,
		.clEnqueueReadBuffer = faulty_clEnqueueReadBuffer,
		.clEnqueueWriteBuffer = faulty_clEnqueueWriteBuffer,
		.clFinish = faulty_clFinish,
		.clFlush = faulty_clFlush,
		.clWaitForEvents = faulty_clWaitForEvents,
	};

	if (count_given < sizeof calls / sizeof calls.clGetPlatformIDs)
		return CL_INVALID_VALUE;
	driver = next;
	read_environment();
	*layer = &calls;
	*count_taken = sizeof calls / sizeof calls.clGetPlatformIDs;
	return CL_SUCCESS;
}
