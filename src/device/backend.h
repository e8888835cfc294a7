/*
 * backend: what a kind of device must be able to do. device.c and queue.c check requests and keep the books;
 * a backend only carries them out. A handle is the backend's own object behind a public one.
 */
#ifndef LW_DEVICE_BACKEND_H
#define LW_DEVICE_BACKEND_H

#include "device/device.h"
#include <pthread.h>

/* When a command began and ended, in nanoseconds of the device's clock. */
typedef struct lw_times {
	uint64_t start, end;
} lw_times;

typedef struct lw_backend {
	void (*close)(lw_device *device);

	lw_status (*buf_create)(lw_buf *buf);
	lw_status (*buf_slice)(lw_buf *buf); /* buf->root and buf->offset are set */
	void (*buf_destroy)(lw_buf *buf);

	lw_status (*queue_create)(lw_queue *queue);
	void (*queue_destroy)(lw_queue *queue);
	lw_status (*flush)(lw_queue *queue);
	lw_status (*finish)(lw_queue *queue);

	/* Each gives a handle of an event, which tells how the command ended. */
	lw_status (*write)(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, const void *data, void **event);
	lw_status (*read)(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data, void **event);
	lw_status (*copy)(lw_queue *queue, lw_buf *from, size_t from_offset, lw_buf *to, size_t to_offset, size_t bytes,
			  void **event);
	lw_status (*fill)(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, uint32_t pattern, void **event);
	lw_status (*launch)(lw_queue *queue, const lw_launch *launch, void **event);
	lw_status (*gemm)(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			  lw_buf *b, int ldb, lw_buf *c, int ldc, void **event);
	lw_status (*wait_event)(lw_queue *queue, void *other_event, void **event);
	lw_status (*mark)(lw_queue *queue, void **event);

	/* Blocks until it ended. */
	lw_status (*event_wait)(void *event);
	/* *done, and the failure of the command if it had one. */
	lw_status (*event_state)(void *event, bool *done);
	/* After it ended. */
	lw_status (*event_times)(void *event, lw_times *times);
	void (*event_destroy)(void *event);

	/* source, or where that is NULL the binary */
	lw_status (*program_create)(lw_program *program, const char *source, const void *binary, size_t size,
				    const char *options);
	lw_status (*program_binary)(lw_program *program, void **binary, size_t *size);
	void (*program_destroy)(lw_program *program);

	/* Sets max_work_group and local_bytes, too. */
	lw_status (*kernel_create)(lw_kernel *kernel, lw_program *program);
	void (*kernel_destroy)(lw_kernel *kernel);
} lw_backend;

struct lw_device {
	const lw_backend *backend;
	void *handle;
	lw_device_info info;
	const void *memory; /* the same for devices that share memory; NULL: nobody's but its own */
	char label[320];
	void *attachment;
	void (*attachment_destroy)(void *data);
	struct lw_trace *trace; /* NULL: what its queues do is not recorded */
};

struct lw_buf {
	lw_device *device;
	void *handle;
	void *memory;  /* the caller's that it lies in; NULL, which the backend may set: the device's own */
	lw_buf *root;  /* the buffer that owns the memory; itself where it is no slice */
	size_t offset; /* within root */
	size_t size;
};

struct lw_queue {
	lw_device *device;
	void *handle;
	bool rehearsing;      /* its user's */
	const char *name;     /* NULL: none */
	int lane;             /* of the trace, from 1, under the trace's lock; 0: none yet */
	pthread_mutex_t lock; /* of all below */
	lw_label label;
	unsigned references;  /* the owner's and its events' */
	uint64_t launches;
	lw_event **pending; /* commands not yet seen to have ended, in order */
	size_t pending_count, pending_capacity;
	lw_event *spare; /* ended and released: used again, so that a step allocates nothing */
	lw_status failed; /* what a command left behind; reported by the next wait */
	char failure[512];
};

struct lw_event {
	lw_queue *queue;
	void *handle;
	unsigned references; /* under the queue's lock */
	size_t record; /* of the trace, from 1, until it was seen to have ended; 0: none */
	lw_event *next; /* among the queue's spare ones */
};

struct lw_program {
	lw_device *device;
	void *handle;
};

struct lw_kernel {
	lw_device *device;
	void *handle;
	char *name;
	size_t max_work_group;
	size_t local_bytes;
	pthread_mutex_t lock; /* arguments are set one by one, so a launch holds it */
};

/* A list of the OpenCL devices there are; problems of single platforms are logged at the level. */
lw_status lw_opencl_list(lw_device_info **list, size_t *count, lw_log_level level);
/* Opens a listed device, or part `part` of its `parts` equal sub-devices where parts is above 1. */
lw_status lw_opencl_open(lw_device *device, const lw_device_info *info, unsigned parts, unsigned part);
/* Sets the error of a failed OpenCL call: "clFinish: CL_OUT_OF_RESOURCES (...)". Without format no brackets. */
lw_status lw_opencl_fail(int error, const char *call, const char *format, ...) __attribute__((format(printf, 3, 4)));
lw_status lw_opencl_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			 lw_buf *b, int ldb, lw_buf *c, int ldc, void **event);
/* Makes the device one of this context (cl_context) and cl_device_id, which become its own. */
lw_status lw_opencl_attach(lw_device *device, void *context, void *id);

/*
 * CPU devices of one platform are given one context, and so share memory; to be called before anything is made on them.
 * A driver that cannot leaves them apart.
 */
void lw_opencl_join(lw_device *const *devices, size_t count);

/* Opens a simulated device; options are what follows "sim:", or "". */
lw_status lw_sim_open(lw_device *device, const char *options);

/* What one name of a device means in a list of devices. */
typedef struct lw_selection {
	size_t index;	/* in the list */
	unsigned parts; /* equal sub-devices to make of it; 1: none, it is meant whole */
	int part;	/* the one of them that is meant; -1: all */
} lw_selection;

/* LW_E_ARGUMENT where the name fits nothing or several, with what there is in the message. */
lw_status lw_select(lw_selection *selection, const lw_device_info *list, size_t count, const char *name);
/* The shortest name that means this device in the list, and can stand in a list of names. */
void lw_select_label(char *label, size_t size, const lw_device_info *list, size_t count, size_t index);

#endif
