/* OpenCL devices: buffers, queues, commands, events, programs, kernels, by the OpenCL 1.2 API. */
#define CL_TARGET_OPENCL_VERSION 120
#include "device/backend.h"

#include <CL/cl.h>
#include <stdlib.h>
#include <string.h>

typedef struct opencl_device {
	cl_context context;
	cl_device_id id;
} opencl_device;

static void opencl_close(lw_device *device)
{
	opencl_device *own = device->handle;

	clReleaseContext(own->context);
	clReleaseDevice(own->id);
	free(own);
}

static lw_status opencl_buf_create(lw_buf *buf)
{
	const opencl_device *own = buf->device->handle;
	/* in other memory than a CPU's a copy at the host would be kept up to date for nothing */
	void *memory = buf->device->info.type == LW_DEVICE_CPU ? buf->memory : NULL;
	cl_int error;

	buf->memory = memory;
	buf->handle = clCreateBuffer(own->context, CL_MEM_READ_WRITE | (memory ? CL_MEM_USE_HOST_PTR : 0), buf->size, memory, &error);
	if (error == CL_OUT_OF_RESOURCES)
		error = CL_MEM_OBJECT_ALLOCATION_FAILURE;
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clCreateBuffer", "%zu bytes on %s", buf->size, buf->device->label);
	return LW_OK;
}

static lw_status opencl_buf_slice(lw_buf *buf)
{
	const cl_buffer_region region = {buf->offset, buf->size};
	cl_int error;

	buf->handle = clCreateSubBuffer(buf->root->handle, 0, CL_BUFFER_CREATE_TYPE_REGION, &region, &error);
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clCreateSubBuffer", "%zu bytes at %zu of %zu on %s", buf->size, buf->offset,
				      buf->root->size, buf->device->label);
	return LW_OK;
}

static void opencl_buf_destroy(lw_buf *buf) { clReleaseMemObject(buf->handle); }

static lw_status opencl_queue_create(lw_queue *queue)
{
	const opencl_device *own = queue->device->handle;
	cl_int error;

	/* Profiling was measured to cost nothing, so every event can tell its time. */
	queue->handle = clCreateCommandQueue(own->context, own->id, CL_QUEUE_PROFILING_ENABLE, &error);
	if (error == CL_INVALID_QUEUE_PROPERTIES)
		queue->handle = clCreateCommandQueue(own->context, own->id, 0, &error);
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clCreateCommandQueue", "%s", queue->device->label);
	return LW_OK;
}

static void opencl_queue_destroy(lw_queue *queue) { clReleaseCommandQueue(queue->handle); }

static lw_status opencl_flush(lw_queue *queue)
{
	cl_int error = clFlush(queue->handle);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clFlush", NULL);
}

static lw_status opencl_finish(lw_queue *queue)
{
	cl_int error = clFinish(queue->handle);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clFinish", NULL);
}

static lw_status opencl_write(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, const void *data, void **event)
{
	cl_int error = clEnqueueWriteBuffer(queue->handle, buf->handle, CL_FALSE, offset, bytes, data, 0, NULL,
					    (cl_event *)event);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clEnqueueWriteBuffer", "%zu bytes", bytes);
}

static lw_status opencl_read(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data, void **event)
{
	cl_int error = clEnqueueReadBuffer(queue->handle, buf->handle, CL_FALSE, offset, bytes, data, 0, NULL,
					   (cl_event *)event);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clEnqueueReadBuffer", "%zu bytes", bytes);
}

static lw_status opencl_copy(lw_queue *queue, lw_buf *from, size_t from_offset, lw_buf *to, size_t to_offset,
			     size_t bytes, void **event)
{
	cl_int error = clEnqueueCopyBuffer(queue->handle, from->handle, to->handle, from_offset, to_offset, bytes, 0,
					   NULL, (cl_event *)event);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clEnqueueCopyBuffer", "%zu bytes", bytes);
}

static lw_status opencl_fill(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, uint32_t pattern, void **event)
{
	cl_int error = clEnqueueFillBuffer(queue->handle, buf->handle, &pattern, sizeof pattern, offset, bytes, 0, NULL,
					   (cl_event *)event);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clEnqueueFillBuffer", "%zu bytes", bytes);
}

static cl_int set_argument(cl_kernel kernel, cl_uint index, const lw_arg *arg)
{
	cl_mem memory = NULL;

	switch (arg->kind) {
	case LW_ARG_BUF:
		if (arg->value.buf)
			memory = arg->value.buf->handle;
		return clSetKernelArg(kernel, index, sizeof memory, &memory);
	case LW_ARG_INT:
		return clSetKernelArg(kernel, index, sizeof(cl_int), &arg->value.i);
	case LW_ARG_UINT:
		return clSetKernelArg(kernel, index, sizeof(cl_uint), &arg->value.u);
	case LW_ARG_FLOAT:
		return clSetKernelArg(kernel, index, sizeof(cl_float), &arg->value.f);
	case LW_ARG_LOCAL:
		return clSetKernelArg(kernel, index, arg->value.local_bytes, NULL);
	}
	return CL_INVALID_ARG_VALUE;
}

static lw_status opencl_launch(lw_queue *queue, const lw_launch *launch, void **event)
{
	lw_kernel *kernel = launch->kernel;
	const size_t *g = launch->global, *l = launch->local;
	lw_status status = LW_OK;
	cl_int error = CL_SUCCESS;

	pthread_mutex_lock(&kernel->lock);
	for (int i = 0; i < launch->arg_count && error == CL_SUCCESS; i++) {
		error = set_argument(kernel->handle, (cl_uint)i, &launch->args[i]);
		if (error != CL_SUCCESS)
			status = lw_opencl_fail(error, "clSetKernelArg", "kernel %s, argument %d", kernel->name, i);
	}
	if (error == CL_SUCCESS) {
		error = clEnqueueNDRangeKernel(queue->handle, kernel->handle, (cl_uint)launch->dimensions, NULL, g,
					       l[0] ? l : NULL, 0, NULL, (cl_event *)event);
		if (error != CL_SUCCESS)
			status = lw_opencl_fail(error, "clEnqueueNDRangeKernel",
						"kernel %s, %d dimensions, global %zu %zu %zu, local %zu %zu %zu",
						kernel->name, launch->dimensions, g[0], g[1], g[2], l[0], l[1], l[2]);
	}
	pthread_mutex_unlock(&kernel->lock);
	return status;
}

/* The other queue must be flushed, or the two could wait for ever. */
static lw_status opencl_wait_event(lw_queue *queue, void *other_event, void **event)
{
	cl_event other = other_event;
	cl_command_queue other_queue = NULL;
	cl_int error;

	error = clGetEventInfo(other, CL_EVENT_COMMAND_QUEUE, sizeof other_queue, &other_queue, NULL);
	if (error == CL_SUCCESS && other_queue && other_queue != queue->handle)
		error = clFlush(other_queue);
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clFlush", "of the queue that is waited for");
	error = clEnqueueBarrierWithWaitList(queue->handle, 1, &other, (cl_event *)event);
	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clEnqueueBarrierWithWaitList", NULL);
}

static lw_status opencl_mark(lw_queue *queue, void **event)
{
	cl_int error = clEnqueueMarkerWithWaitList(queue->handle, 0, NULL, (cl_event *)event);

	lw_status status;

	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clEnqueueMarkerWithWaitList", NULL);
	status = opencl_flush(queue);
	if (status != LW_OK)
		clReleaseEvent(*event);
	return status;
}

static lw_status opencl_event_wait(void *event)
{
	cl_event handle = event;
	cl_int error = clWaitForEvents(1, &handle);

	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clWaitForEvents", NULL);
}

static const char *command_name(cl_command_type type)
{
	switch (type) {
	case CL_COMMAND_NDRANGE_KERNEL:
		return "kernel";
	case CL_COMMAND_READ_BUFFER:
		return "read";
	case CL_COMMAND_WRITE_BUFFER:
		return "write";
	case CL_COMMAND_COPY_BUFFER:
		return "copy";
	case CL_COMMAND_FILL_BUFFER:
		return "fill";
	default:
		return "command";
	}
}

static lw_status opencl_event_state(void *event, bool *done)
{
	cl_command_type type = 0;
	cl_int state = CL_COMPLETE, error;

	error = clGetEventInfo(event, CL_EVENT_COMMAND_EXECUTION_STATUS, sizeof state, &state, NULL);
	*done = error != CL_SUCCESS || state <= CL_COMPLETE;
	if (error == CL_SUCCESS && state >= CL_COMPLETE)
		return LW_OK;
	clGetEventInfo(event, CL_EVENT_COMMAND_TYPE, sizeof type, &type, NULL);
	return lw_opencl_fail(error != CL_SUCCESS ? error : state, "an enqueued command failed on the device", "a %s",
			      command_name(type));
}

static lw_status opencl_event_times(void *event, lw_times *times)
{
	cl_int error = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_START, sizeof times->start, &times->start, NULL);

	if (error == CL_SUCCESS)
		error = clGetEventProfilingInfo(event, CL_PROFILING_COMMAND_END, sizeof times->end, &times->end, NULL);
	if (error != CL_SUCCESS || times->end < times->start)
		return lw_fail(LW_E_UNSUPPORTED, "the device does not tell when a command ran");
	return LW_OK;
}

static void opencl_event_destroy(void *event) { clReleaseEvent(event); }

static lw_status build_failure(cl_program program, cl_device_id id, cl_int error, const char *options)
{
	size_t size = 0;
	char *text = NULL;
	lw_status status;

	if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) == CL_SUCCESS && size)
		text = calloc(size + 1, 1);
	if (text)
		clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, text, NULL);
	status = lw_opencl_fail(error, "clBuildProgram", NULL);
	if (error != CL_OUT_OF_HOST_MEMORY)
		status = lw_fail(LW_E_BUILD, "%s with options `%s`; the compiler says:\n%s", lw_last_error(), options,
				 text ? text : "nothing");
	free(text);
	return status;
}

static lw_status opencl_program_create(lw_program *program, const char *source, const void *binary, size_t size,
				       const char *options)
{
	const opencl_device *own = program->device->handle;
	const unsigned char *bytes = binary;
	const char *call = source ? "clCreateProgramWithSource" : "clCreateProgramWithBinary";
	cl_int error, accepted = CL_SUCCESS;
	cl_program handle;
	lw_status status;

	if (source)
		handle = clCreateProgramWithSource(own->context, 1, &source, NULL, &error);
	else
		handle = clCreateProgramWithBinary(own->context, 1, &own->id, &size, &bytes, &accepted, &error);
	if (error == CL_SUCCESS && accepted != CL_SUCCESS) {
		clReleaseProgram(handle);
		error = accepted;
	}
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, call, "%s", program->device->label);
	error = clBuildProgram(handle, 1, &own->id, options, NULL, NULL);
	if (error != CL_SUCCESS) {
		status = build_failure(handle, own->id, error, options);
		clReleaseProgram(handle);
		return status;
	}
	program->handle = handle;
	return LW_OK;
}

/* Drivers may list more devices than the context was made with, so the right one is looked for. */
static lw_status opencl_program_binary(lw_program *program, void **binary, size_t *size)
{
	const opencl_device *own = program->device->handle;
	cl_device_id ids[16];
	size_t sizes[16] = {0};
	unsigned char *parts[16] = {NULL};
	size_t count = 0, bytes = 0;
	cl_int error;

	error = clGetProgramInfo(program->handle, CL_PROGRAM_DEVICES, sizeof ids, ids, &bytes);
	if (error == CL_SUCCESS)
		error = clGetProgramInfo(program->handle, CL_PROGRAM_BINARY_SIZES, sizeof sizes, sizes, NULL);
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clGetProgramInfo", "of a binary");
	while (count < bytes / sizeof ids[0] && ids[count] != own->id)
		count++;
	if (count == bytes / sizeof ids[0] || sizes[count] == 0)
		return lw_fail(LW_E_UNSUPPORTED, "the driver gives no binary of the program");
	LW_TRY(lw_alloc(&parts[count], sizes[count], 1));
	error = clGetProgramInfo(program->handle, CL_PROGRAM_BINARIES, bytes / sizeof ids[0] * sizeof parts[0], parts,
				 NULL);
	if (error != CL_SUCCESS) {
		free(parts[count]);
		return lw_opencl_fail(error, "clGetProgramInfo", "of a binary of %zu bytes", sizes[count]);
	}
	*binary = parts[count];
	*size = sizes[count];
	return LW_OK;
}

static void opencl_program_destroy(lw_program *program) { clReleaseProgram(program->handle); }

/*
 * Some drivers (rusticl of Mesa 22.3) give a kernel's preferred multiple as its limit, and take many times more. Where
 * the two are equal the device's limit counts, and the enqueue tells if it is too much after all.
 */
static size_t kernel_work_group(cl_kernel kernel, cl_device_id id, size_t device_limit)
{
	size_t limit = 0, multiple = 0;

	if (clGetKernelWorkGroupInfo(kernel, id, CL_KERNEL_WORK_GROUP_SIZE, sizeof limit, &limit, NULL) != CL_SUCCESS)
		return device_limit;
	if (clGetKernelWorkGroupInfo(kernel, id, CL_KERNEL_PREFERRED_WORK_GROUP_SIZE_MULTIPLE, sizeof multiple,
				     &multiple, NULL) != CL_SUCCESS)
		multiple = 0;
	return limit == 0 || (limit == multiple && limit > 1) ? device_limit : limit;
}

static lw_status opencl_kernel_create(lw_kernel *kernel, lw_program *program)
{
	const opencl_device *own = kernel->device->handle;
	cl_ulong local = 0;
	cl_int error;

	kernel->handle = clCreateKernel(program->handle, kernel->name, &error);
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clCreateKernel", "kernel %s", kernel->name);
	if (clGetKernelWorkGroupInfo(kernel->handle, own->id, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local, &local, NULL) !=
	    CL_SUCCESS)
		local = 0;
	kernel->max_work_group = kernel_work_group(kernel->handle, own->id, kernel->device->info.max_work_group);
	kernel->local_bytes = (size_t)local;
	return LW_OK;
}

static void opencl_kernel_destroy(lw_kernel *kernel) { clReleaseKernel(kernel->handle); }

static const lw_backend backend = {
	.close = opencl_close,
	.buf_create = opencl_buf_create,
	.buf_slice = opencl_buf_slice,
	.buf_destroy = opencl_buf_destroy,
	.queue_create = opencl_queue_create,
	.queue_destroy = opencl_queue_destroy,
	.flush = opencl_flush,
	.finish = opencl_finish,
	.write = opencl_write,
	.read = opencl_read,
	.copy = opencl_copy,
	.fill = opencl_fill,
	.launch = opencl_launch,
	.gemm = lw_opencl_gemm,
	.wait_event = opencl_wait_event,
	.mark = opencl_mark,
	.event_wait = opencl_event_wait,
	.event_state = opencl_event_state,
	.event_times = opencl_event_times,
	.event_destroy = opencl_event_destroy,
	.program_create = opencl_program_create,
	.program_binary = opencl_program_binary,
	.program_destroy = opencl_program_destroy,
	.kernel_create = opencl_kernel_create,
	.kernel_destroy = opencl_kernel_destroy,
};

lw_status lw_opencl_attach(lw_device *device, void *context, void *id)
{
	opencl_device *own;
	lw_status status = lw_alloc(&own, 1, sizeof *own);

	if (status != LW_OK) {
		clReleaseContext(context);
		clReleaseDevice(id);
		return status;
	}
	own->context = context;
	own->id = id;
	device->handle = own;
	device->backend = &backend;
	return LW_OK;
}

static bool can_join(const lw_device *a, const lw_device *b)
{
	return a->backend == &backend && b->backend == &backend && a->info.type == LW_DEVICE_CPU && b->info.type == LW_DEVICE_CPU &&
	       a->info.platform_index == b->info.platform_index;
}

/* One context for the devices[0] and those after it that can share memory with it. */
static void join_first(lw_device *const *devices, size_t count)
{
	enum { MOST = 64 };
	lw_device *joined[MOST];
	cl_device_id ids[MOST];
	cl_uint together = 0;
	cl_context context;
	cl_int error;

	for (size_t i = 0; i < count && together < MOST; i++)
		if (can_join(devices[0], devices[i])) {
			joined[together] = devices[i];
			ids[together++] = ((opencl_device *)devices[i]->handle)->id;
		}
	if (together < 2)
		return;
	context = clCreateContext(NULL, together, ids, NULL, NULL, &error);
	if (error != CL_SUCCESS) {
		lw_log(LW_LOG_DEBUG, "%u devices of %s get no common context: error %d", together, devices[0]->info.platform, error);
		return;
	}
	for (cl_uint i = 0; i < together; i++) {
		opencl_device *own = joined[i]->handle;

		clRetainContext(context);
		clReleaseContext(own->context);
		own->context = context;
		joined[i]->memory = context;
	}
	clReleaseContext(context);
}

void lw_opencl_join(lw_device *const *devices, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (devices[i]->backend == &backend && !devices[i]->memory)
			join_first(devices + i, count - i);
}
