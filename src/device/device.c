/* Devices, buffers, programs and kernels: requests are checked here, then a backend carries them out. */
#include "device/backend.h"

#include <stdlib.h>
#include <string.h>

lw_status lw_device_list(lw_device_info **list, size_t *count) { return lw_opencl_list(list, count, LW_LOG_INFO); }

void lw_device_list_free(lw_device_info **list)
{
	free(*list);
	*list = NULL;
}

lw_status lw_device_open(lw_device **device, const char *name)
{
	lw_device **devices = NULL;
	size_t count = 0;

	*device = NULL;
	LW_TRY(lw_devices_open(&devices, &count, name));
	if (count != 1) {
		lw_devices_close(&devices, count);
		return lw_fail(LW_E_ARGUMENT, "`%s` means %zu devices, one is needed", name, count);
	}
	*device = devices[0];
	free(devices);
	return LW_OK;
}

void lw_device_close(lw_device **device)
{
	lw_device *d = *device;

	if (!d)
		return;
	if (d->attachment_destroy)
		d->attachment_destroy(d->attachment);
	if (d->backend)
		d->backend->close(d);
	free(d);
	*device = NULL;
}

void lw_devices_close(lw_device ***devices, size_t count)
{
	if (!*devices)
		return;
	for (size_t i = 0; i < count; i++)
		lw_device_close(&(*devices)[i]);
	free(*devices);
	*devices = NULL;
}

const lw_device_info *lw_device_get_info(const lw_device *device) { return &device->info; }

const char *lw_device_label(const lw_device *device) { return device->label; }

void *lw_device_attachment(lw_device *device) { return device->attachment; }

void lw_device_attach(lw_device *device, void *data, void (*destroy)(void *data))
{
	device->attachment = data;
	device->attachment_destroy = destroy;
}

bool lw_device_shares_memory(const lw_device *a, const lw_device *b) { return a == b || (a->memory && a->memory == b->memory); }

lw_status lw_buf_create(lw_buf **buf, lw_device *device, size_t bytes) { return lw_buf_create_in(buf, device, NULL, bytes); }

lw_status lw_buf_create_in(lw_buf **buf, lw_device *device, void *memory, size_t bytes)
{
	lw_buf *b;
	lw_status status;

	*buf = NULL;
	if (bytes == 0)
		return lw_fail(LW_E_ARGUMENT, "a buffer of 0 bytes was asked for");
	if (bytes > device->info.max_allocation)
		return lw_fail(LW_E_MEMORY, "a buffer of %zu bytes was asked for, %s gives at most %llu", bytes,
			       device->label, (unsigned long long)device->info.max_allocation);
	LW_TRY(lw_alloc(&b, 1, sizeof *b));
	b->device = device;
	b->memory = memory;
	b->root = b;
	b->size = bytes;
	status = device->backend->buf_create(b);
	if (status != LW_OK) {
		free(b);
		return status;
	}
	*buf = b;
	return LW_OK;
}

lw_status lw_buf_slice(lw_buf **buf, lw_buf *parent, size_t offset, size_t bytes)
{
	unsigned alignment = parent->device->info.alignment;
	lw_buf *b;
	lw_status status;

	*buf = NULL;
	if (bytes == 0 || offset > parent->size || bytes > parent->size - offset)
		return lw_fail(LW_E_ARGUMENT, "%zu bytes at %zu are no part of a buffer of %zu bytes", bytes, offset,
			       parent->size);
	if ((parent->offset + offset) % alignment)
		return lw_fail(LW_E_ARGUMENT, "a slice at byte %zu is not aligned to %u bytes", parent->offset + offset,
			       alignment);
	LW_TRY(lw_alloc(&b, 1, sizeof *b));
	b->device = parent->device;
	b->root = parent->root; /* OpenCL has no part of a part */
	b->offset = parent->offset + offset;
	b->size = bytes;
	status = b->device->backend->buf_slice(b);
	if (status != LW_OK) {
		free(b);
		return status;
	}
	*buf = b;
	return LW_OK;
}

void lw_buf_destroy(lw_buf **buf)
{
	if (!*buf)
		return;
	(*buf)->device->backend->buf_destroy(*buf);
	free(*buf);
	*buf = NULL;
}

bool lw_buf_in_place(const lw_buf *buf) { return buf->root->memory != NULL; }

size_t lw_buf_size(const lw_buf *buf) { return buf->size; }

lw_device *lw_buf_device(const lw_buf *buf) { return buf->device; }

static lw_status program_create(lw_program **program, lw_device *device, const char *source, const void *binary,
				size_t size, const char *options)
{
	lw_program *p;
	lw_status status;

	*program = NULL;
	LW_TRY(lw_alloc(&p, 1, sizeof *p));
	p->device = device;
	status = device->backend->program_create(p, source, binary, size, options ? options : "");
	if (status != LW_OK) {
		free(p);
		return status;
	}
	*program = p;
	return LW_OK;
}

lw_status lw_program_create(lw_program **program, lw_device *device, const char *source, const char *options)
{
	return program_create(program, device, source, NULL, 0, options);
}

lw_status lw_program_create_binary(lw_program **program, lw_device *device, const void *binary, size_t size,
				   const char *options)
{
	*program = NULL;
	if (size == 0)
		return lw_fail(LW_E_FORMAT, "a program's binary is empty");
	return program_create(program, device, NULL, binary, size, options);
}

lw_status lw_program_binary(lw_program *program, void **binary, size_t *size)
{
	*binary = NULL;
	*size = 0;
	return program->device->backend->program_binary(program, binary, size);
}

void lw_program_destroy(lw_program **program)
{
	if (!*program)
		return;
	(*program)->device->backend->program_destroy(*program);
	free(*program);
	*program = NULL;
}

lw_status lw_kernel_create(lw_kernel **kernel, lw_program *program, const char *name)
{
	lw_kernel *k;
	lw_status status;

	*kernel = NULL;
	LW_TRY(lw_alloc(&k, 1, sizeof *k));
	k->device = program->device;
	status = lw_copy_string(&k->name, name);
	if (status == LW_OK)
		status = k->device->backend->kernel_create(k, program);
	if (status != LW_OK) {
		free(k->name);
		free(k);
		return status;
	}
	pthread_mutex_init(&k->lock, NULL);
	*kernel = k;
	return LW_OK;
}

void lw_kernel_destroy(lw_kernel **kernel)
{
	lw_kernel *k = *kernel;

	if (!k)
		return;
	k->device->backend->kernel_destroy(k);
	pthread_mutex_destroy(&k->lock);
	free(k->name);
	free(k);
	*kernel = NULL;
}

const char *lw_kernel_name(const lw_kernel *kernel) { return kernel->name; }

size_t lw_kernel_max_work_group(const lw_kernel *kernel) { return kernel->max_work_group; }
