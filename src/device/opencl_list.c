/* The OpenCL devices there are, their properties, opening them; the names of OpenCL's errors. */
#define CL_TARGET_OPENCL_VERSION 120
#include "device/backend.h"

#include <CL/cl.h>
#include <stdlib.h>
#include <string.h>

#define INSTALL_HINT "install one: `apt-get install pocl-opencl-icd` for the CPU, or the GPU vendor's OpenCL driver"

static const char *error_name(int error)
{
	/* the errors of OpenCL 1.2, -1 to -19 and -30 to -68, and the loader's */
	static const char *const runtime[] = {"CL_DEVICE_NOT_FOUND",
					      "CL_DEVICE_NOT_AVAILABLE",
					      "CL_COMPILER_NOT_AVAILABLE",
					      "CL_MEM_OBJECT_ALLOCATION_FAILURE",
					      "CL_OUT_OF_RESOURCES",
					      "CL_OUT_OF_HOST_MEMORY",
					      "CL_PROFILING_INFO_NOT_AVAILABLE",
					      "CL_MEM_COPY_OVERLAP",
					      "CL_IMAGE_FORMAT_MISMATCH",
					      "CL_IMAGE_FORMAT_NOT_SUPPORTED",
					      "CL_BUILD_PROGRAM_FAILURE",
					      "CL_MAP_FAILURE",
					      "CL_MISALIGNED_SUB_BUFFER_OFFSET",
					      "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
					      "CL_COMPILE_PROGRAM_FAILURE",
					      "CL_LINKER_NOT_AVAILABLE",
					      "CL_LINK_PROGRAM_FAILURE",
					      "CL_DEVICE_PARTITION_FAILED",
					      "CL_KERNEL_ARG_INFO_NOT_AVAILABLE"};
	static const char *const invalid[] = {"CL_INVALID_VALUE",
					      "CL_INVALID_DEVICE_TYPE",
					      "CL_INVALID_PLATFORM",
					      "CL_INVALID_DEVICE",
					      "CL_INVALID_CONTEXT",
					      "CL_INVALID_QUEUE_PROPERTIES",
					      "CL_INVALID_COMMAND_QUEUE",
					      "CL_INVALID_HOST_PTR",
					      "CL_INVALID_MEM_OBJECT",
					      "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR",
					      "CL_INVALID_IMAGE_SIZE",
					      "CL_INVALID_SAMPLER",
					      "CL_INVALID_BINARY",
					      "CL_INVALID_BUILD_OPTIONS",
					      "CL_INVALID_PROGRAM",
					      "CL_INVALID_PROGRAM_EXECUTABLE",
					      "CL_INVALID_KERNEL_NAME",
					      "CL_INVALID_KERNEL_DEFINITION",
					      "CL_INVALID_KERNEL",
					      "CL_INVALID_ARG_INDEX",
					      "CL_INVALID_ARG_VALUE",
					      "CL_INVALID_ARG_SIZE",
					      "CL_INVALID_KERNEL_ARGS",
					      "CL_INVALID_WORK_DIMENSION",
					      "CL_INVALID_WORK_GROUP_SIZE",
					      "CL_INVALID_WORK_ITEM_SIZE",
					      "CL_INVALID_GLOBAL_OFFSET",
					      "CL_INVALID_EVENT_WAIT_LIST",
					      "CL_INVALID_EVENT",
					      "CL_INVALID_OPERATION",
					      "CL_INVALID_GL_OBJECT",
					      "CL_INVALID_BUFFER_SIZE",
					      "CL_INVALID_MIP_LEVEL",
					      "CL_INVALID_GLOBAL_WORK_SIZE",
					      "CL_INVALID_PROPERTY",
					      "CL_INVALID_IMAGE_DESCRIPTOR",
					      "CL_INVALID_COMPILER_OPTIONS",
					      "CL_INVALID_LINKER_OPTIONS",
					      "CL_INVALID_DEVICE_PARTITION_COUNT"};

	if (error == -1001)
		return "CL_PLATFORM_NOT_FOUND_KHR";
	if (error <= -1 && error >= -(int)LW_COUNT(runtime))
		return runtime[-1 - error];
	if (error <= -30 && error > -30 - (int)LW_COUNT(invalid))
		return invalid[-30 - error];
	return NULL;
}

static lw_status status_of(int error)
{
	switch (error) {
	case CL_MEM_OBJECT_ALLOCATION_FAILURE:
	case CL_OUT_OF_HOST_MEMORY:
	case CL_INVALID_BUFFER_SIZE:
		return LW_E_MEMORY;
	default:
		return LW_E_DEVICE;
	}
}

lw_status lw_opencl_fail(int error, const char *call, const char *format, ...)
{
	char about[512] = "", number[32];
	const char *name = error_name(error);
	va_list args;

	if (!name) {
		snprintf(number, sizeof number, "OpenCL error %d", error);
		name = number;
	}
	if (!format)
		return lw_fail(status_of(error), "%s: %s", call, name);
	va_start(args, format);
	vsnprintf(about, sizeof about, format, args);
	va_end(args);
	return lw_fail(status_of(error), "%s: %s (%s)", call, name, about);
}

static void platform_text(cl_platform_id id, cl_platform_info what, char *text, size_t size)
{
	char long_text[4096];

	text[0] = 0;
	if (clGetPlatformInfo(id, what, sizeof long_text, long_text, NULL) == CL_SUCCESS)
		snprintf(text, size, "%.*s", (int)size - 1, long_text);
}

/* Names come padded on some drivers. */
static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size)
{
	char long_text[4096];
	const char *start = long_text;
	size_t length;

	text[0] = 0;
	if (clGetDeviceInfo(id, what, sizeof long_text, long_text, NULL) != CL_SUCCESS)
		return;
	start += strspn(start, " \t");
	length = strlen(start);
	while (length && (start[length - 1] == ' ' || start[length - 1] == '\n'))
		length--;
	snprintf(text, size, "%.*s", (int)(length < size ? length : size - 1), start);
}

static uint64_t device_number(cl_device_id id, cl_device_info what)
{
	uint64_t wide = 0;
	uint32_t narrow = 0;
	size_t size = 0;

	if (clGetDeviceInfo(id, what, 0, NULL, &size) != CL_SUCCESS)
		return 0;
	if (size == sizeof narrow)
		return clGetDeviceInfo(id, what, sizeof narrow, &narrow, NULL) == CL_SUCCESS ? narrow : 0;
	if (size == sizeof wide)
		return clGetDeviceInfo(id, what, sizeof wide, &wide, NULL) == CL_SUCCESS ? wide : 0;
	return 0;
}

/* A simulator may claim every type at once: whatever is a CPU too is treated as a CPU. */
static lw_device_type device_type(uint64_t bits)
{
	if (bits & CL_DEVICE_TYPE_CPU)
		return LW_DEVICE_CPU;
	return bits & CL_DEVICE_TYPE_GPU ? LW_DEVICE_GPU : LW_DEVICE_ACCELERATOR;
}

static bool has_word(const char *words, const char *word)
{
	size_t length = strlen(word);

	for (const char *p = words; (p = strstr(p, word)) != NULL; p += length)
		if ((p == words || p[-1] == ' ') && (p[length] == ' ' || !p[length]))
			return true;
	return false;
}

static void query_device(lw_device_info *info, cl_device_id id)
{
	char *extensions = NULL;
	size_t size = 0, sizes[16] = {1, 1, 1};
	uint64_t single;

	device_text(id, CL_DEVICE_VENDOR, info->vendor, sizeof info->vendor);
	device_text(id, CL_DEVICE_NAME, info->name, sizeof info->name);
	device_text(id, CL_DRIVER_VERSION, info->driver, sizeof info->driver);
	device_text(id, CL_DEVICE_VERSION, info->opencl_version, sizeof info->opencl_version);
	device_text(id, CL_DEVICE_OPENCL_C_VERSION, info->opencl_c_version, sizeof info->opencl_c_version);
	info->type = device_type(device_number(id, CL_DEVICE_TYPE));
	info->compute_units = (unsigned)device_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
	info->clock_mhz = (unsigned)device_number(id, CL_DEVICE_MAX_CLOCK_FREQUENCY);
	info->global_memory = device_number(id, CL_DEVICE_GLOBAL_MEM_SIZE);
	info->local_memory = device_number(id, CL_DEVICE_LOCAL_MEM_SIZE);
	info->max_allocation = device_number(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
	info->max_work_group = (size_t)device_number(id, CL_DEVICE_MAX_WORK_GROUP_SIZE);
	if (clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_ITEM_SIZES, sizeof sizes, sizes, NULL) == CL_SUCCESS)
		memcpy(info->max_local_size, sizes, sizeof info->max_local_size);
	info->vector_width = (unsigned)device_number(id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT);
	info->vector_width = info->vector_width ? info->vector_width : 1;
	info->alignment = (unsigned)device_number(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN) / 8;
	info->alignment = info->alignment > 64 ? info->alignment : 64;
	single = device_number(id, CL_DEVICE_SINGLE_FP_CONFIG);
	info->denormals = (single & CL_FP_DENORM) != 0;
	info->correctly_rounded = (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
	if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &size) == CL_SUCCESS && size)
		extensions = calloc(size + 1, 1);
	if (extensions && clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, size, extensions, NULL) == CL_SUCCESS) {
		info->fp16 = has_word(extensions, "cl_khr_fp16");
		info->fp64 = has_word(extensions, "cl_khr_fp64");
	}
	info->fp64 = info->fp64 && device_number(id, CL_DEVICE_DOUBLE_FP_CONFIG) != 0;
	/* Some say nothing of float's fma; a device with double must have double's, and has the instructions. */
	info->fast_fma = single & CL_FP_FMA || (info->fp64 && device_number(id, CL_DEVICE_DOUBLE_FP_CONFIG) & CL_FP_FMA);
	free(extensions);
}

/* Some drivers report an error where they mean that they have no device. */
static lw_status platform_devices(cl_platform_id platform, cl_device_id **ids, cl_uint *count)
{
	cl_int error = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, count);

	*ids = NULL;
	if (error != CL_SUCCESS) {
		*count = 0;
		return lw_opencl_fail(error, "clGetDeviceIDs", NULL);
	}
	LW_TRY(lw_alloc(ids, *count, sizeof **ids));
	error = *count ? clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, *count, *ids, NULL) : CL_SUCCESS;
	if (error != CL_SUCCESS) {
		*count = 0;
		return lw_opencl_fail(error, "clGetDeviceIDs", NULL);
	}
	return LW_OK;
}

static lw_status get_platforms(cl_platform_id **platforms, cl_uint *count)
{
	cl_int error = clGetPlatformIDs(0, NULL, count);

	*platforms = NULL;
	if (error != CL_SUCCESS || *count == 0) {
		*count = 0;
		return lw_fail(LW_E_DEVICE, "there is no OpenCL driver on this machine (%s); %s",
			       error != CL_SUCCESS && error_name(error) ? error_name(error) : "no platforms",
			       INSTALL_HINT);
	}
	LW_TRY(lw_alloc(platforms, *count, sizeof **platforms));
	error = clGetPlatformIDs(*count, *platforms, NULL);
	return error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clGetPlatformIDs", NULL);
}

static lw_status add_platform(lw_device_info **list, size_t *count, size_t *capacity, cl_platform_id platform,
			      int platform_index, lw_log_level level)
{
	char name[128], vendor[128];
	cl_device_id *ids = NULL;
	cl_uint id_count = 0;
	lw_status status;

	platform_text(platform, CL_PLATFORM_NAME, name, sizeof name);
	platform_text(platform, CL_PLATFORM_VENDOR, vendor, sizeof vendor);
	status = platform_devices(platform, &ids, &id_count);
	if (status == LW_E_MEMORY)
		return status;
	if (id_count == 0)
		lw_log(level, "platform %d (%s) has no devices%s%s", platform_index, name, status != LW_OK ? ": " : "",
		       status != LW_OK ? lw_last_error() : "");
	status = LW_OK;
	for (cl_uint i = 0; i < id_count; i++) {
		lw_device_info *info;

		if (!device_number(ids[i], CL_DEVICE_AVAILABLE) ||
		    !device_number(ids[i], CL_DEVICE_COMPILER_AVAILABLE)) {
			lw_log(level, "device %u of platform %s is not available or has no compiler", i, name);
			continue;
		}
		LW_GO(lw_grow(list, capacity, *count + 1, sizeof **list));
		info = &(*list)[(*count)++];
		*info = (lw_device_info){.platform_index = platform_index, .device_index = (int)i};
		memcpy(info->platform, name, sizeof name);
		memcpy(info->platform_vendor, vendor, sizeof vendor);
		query_device(info, ids[i]);
	}
out:
	free(ids);
	return status;
}

lw_status lw_opencl_list(lw_device_info **list, size_t *count, lw_log_level level)
{
	cl_platform_id *platforms = NULL;
	cl_uint platform_count = 0;
	size_t capacity = 0;
	lw_status status;

	*list = NULL;
	*count = 0;
	LW_GO(get_platforms(&platforms, &platform_count));
	for (cl_uint i = 0; i < platform_count; i++)
		LW_GO(add_platform(list, count, &capacity, platforms[i], (int)i, level));
	if (*count == 0)
		status = lw_fail(LW_E_DEVICE, "none of the %u OpenCL platforms on this machine has a usable device; %s",
				 platform_count, INSTALL_HINT);
out:
	free(platforms);
	if (status != LW_OK)
		lw_device_list_free(list);
	return status;
}

/* Asked first, because a driver that cannot may lack the function altogether. */
static bool divides_equally(cl_device_id id)
{
	cl_device_partition_property kinds[16] = {0};

	if (clGetDeviceInfo(id, CL_DEVICE_PARTITION_PROPERTIES, sizeof kinds, kinds, NULL) != CL_SUCCESS)
		return false;
	for (size_t i = 0; i < LW_COUNT(kinds); i++)
		if (kinds[i] == CL_DEVICE_PARTITION_EQUALLY)
			return true;
	return false;
}

/* One of the equal parts of a device; the others are let go. */
static lw_status open_part(cl_device_id *id, unsigned parts, unsigned part)
{
	unsigned units = (unsigned)device_number(*id, CL_DEVICE_MAX_COMPUTE_UNITS);
	cl_device_partition_property properties[] = {CL_DEVICE_PARTITION_EQUALLY, units / parts, 0};
	cl_device_id *ids = NULL;
	cl_uint count = 0;
	cl_int error;
	lw_status status;

	if (parts > units)
		return lw_fail(LW_E_ARGUMENT, "the device has %u compute units and cannot be made %u devices", units,
			       parts);
	if (!divides_equally(*id))
		return lw_fail(LW_E_UNSUPPORTED, "the driver cannot divide it into equal devices");
	error = clCreateSubDevices(*id, properties, 0, NULL, &count);
	if (error == CL_SUCCESS && count < parts)
		error = CL_DEVICE_PARTITION_FAILED;
	if (error != CL_SUCCESS)
		return lw_opencl_fail(error, "clCreateSubDevices", "%u parts", parts);
	LW_TRY(lw_alloc(&ids, count, sizeof *ids));
	error = clCreateSubDevices(*id, properties, count, ids, NULL);
	status = error == CL_SUCCESS ? LW_OK : lw_opencl_fail(error, "clCreateSubDevices", "%u parts", parts);
	if (status == LW_OK) {
		for (cl_uint i = 0; i < count; i++)
			if (i != part)
				clReleaseDevice(ids[i]);
		*id = ids[part];
	}
	free(ids);
	return status;
}

lw_status lw_opencl_open(lw_device *device, const lw_device_info *info, unsigned parts, unsigned part)
{
	cl_platform_id *platforms = NULL;
	cl_uint platform_count = 0, id_count = 0;
	cl_device_id *ids = NULL, id;
	cl_context context;
	cl_int error;
	lw_status status;

	LW_GO(get_platforms(&platforms, &platform_count));
	if ((cl_uint)info->platform_index >= platform_count) {
		status = lw_fail(LW_E_DEVICE, "platform %s went away", info->platform);
		goto out;
	}
	LW_GO(platform_devices(platforms[info->platform_index], &ids, &id_count));
	if ((cl_uint)info->device_index >= id_count) {
		status = lw_fail(LW_E_DEVICE, "device %s went away", info->name);
		goto out;
	}
	id = ids[info->device_index];
	device->info = *info;
	if (parts > 1) {
		LW_GO(open_part(&id, parts, part));
		device->info.compute_units = (unsigned)device_number(id, CL_DEVICE_MAX_COMPUTE_UNITS);
	}
	context = clCreateContext(NULL, 1, &id, NULL, NULL, &error);
	if (error != CL_SUCCESS) {
		clReleaseDevice(id); /* does nothing to a whole device */
		status = lw_opencl_fail(error, "clCreateContext", "%s", info->name);
		goto out;
	}
	status = lw_opencl_attach(device, context, id);
out:
	free(ids);
	free(platforms);
	return status;
}
