/*
 * device: devices, buffers, queues, events. A device is a table of functions (lw_backend); the public functions
 * below check a request once and then call the backend. opencl*.c and sim.c are the backends.
 */
#ifndef LW_DEVICE_DEVICE_H
#define LW_DEVICE_DEVICE_H

#include "base/base.h"
#include <layerwise/device.h>

typedef struct lw_buf lw_buf;
typedef struct lw_queue lw_queue;
typedef struct lw_event lw_event;
typedef struct lw_program lw_program;
typedef struct lw_kernel lw_kernel;

/*
 * True for devices that work on the same memory: each takes the other's buffers as its own. What one wrote the other may
 * read once its event was waited for.
 */
bool lw_device_shares_memory(const lw_device *a, const lw_device *b);

/* Device memory. A new buffer's contents are undefined; tests poison it. */
lw_status lw_buf_create(lw_buf **buf, lw_device *device, size_t bytes);
/* A part of parent, which must outlive it; offset must be a multiple of the device's alignment. */
lw_status lw_buf_slice(lw_buf **buf, lw_buf *parent, size_t offset, size_t bytes);
/*
 * A buffer in memory of the caller's, which must outlive it and start at a multiple of LW_HOST_ALIGNMENT: what the buffer
 * holds goes there by lw_queue_read and comes from there by lw_queue_write, which copy nothing on a CPU. Contents undefined.
 */
enum { LW_HOST_ALIGNMENT = 4096 };
lw_status lw_buf_create_in(lw_buf **buf, lw_device *device, void *memory, size_t bytes);
void lw_buf_destroy(lw_buf **buf);
/*
 * True for a buffer (or a part of one) that is the caller's memory itself: a CPU's. What commands wrote is there once they
 * ended, and what the host wrote is seen by those enqueued later, without lw_queue_read and lw_queue_write. OpenCL promises
 * it only between those calls; PoCL, Intel's runtime, rusticl and Oclgrind were all seen to do it.
 */
bool lw_buf_in_place(const lw_buf *buf);
size_t lw_buf_size(const lw_buf *buf);
lw_device *lw_buf_device(const lw_buf *buf);

/*
 * An in-order queue: what is enqueued runs in order. An asynchronous failure sticks to the queue and comes out of
 * the next lw_queue_finish or lw_event_wait. Host memory of write/read must stay valid until then. event may be
 * NULL; otherwise *event is the caller's (lw_event_destroy).
 */
lw_status lw_queue_create(lw_queue **queue, lw_device *device);
void lw_queue_destroy(lw_queue **queue);
lw_device *lw_queue_device(const lw_queue *queue);
/* What a trace calls the queue: "compute"; a literal. */
void lw_queue_name(lw_queue *queue, const char *name);
/*
 * What the commands that follow are for, until the next label, in a trace: a layer (or a rule, a group) and which part of the
 * step: "forward", "update"; {0}: nothing of the kind. flops: of all of them together. Texts must last as long as the label.
 */
typedef struct lw_label {
	const char *layer, *part;
	double flops;
} lw_label;
void lw_queue_label(lw_queue *queue, lw_label label);
lw_status lw_queue_write(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, const void *data, lw_event **event);
lw_status lw_queue_read(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, void *data, lw_event **event);
lw_status lw_queue_copy(lw_queue *queue, lw_buf *from, size_t from_offset, lw_buf *to, size_t to_offset, size_t bytes,
			lw_event **event);
/* Fills with a 32-bit pattern; offset and bytes are multiples of 4. */
lw_status lw_queue_fill(lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes, uint32_t pattern, lw_event **event);
/* Makes later work of the queue wait for an event of another queue. */
lw_status lw_queue_wait_event(lw_queue *queue, lw_event *event);
/* An event that ends when all that was enqueued so far has ended; the queue is flushed. */
lw_status lw_queue_mark(lw_queue *queue, lw_event **event);
/* While it rehearses, a queue takes everything and does nothing: for finding out what would be enqueued. */
void lw_queue_rehearse(lw_queue *queue, bool rehearse);
bool lw_queue_rehearses(const lw_queue *queue);
lw_status lw_queue_flush(lw_queue *queue);
lw_status lw_queue_finish(lw_queue *queue);
/* Waits without asking how it went, and leaves the last error as it was: for tidying up after a failure. */
void lw_queue_drain(lw_queue *queue);

lw_status lw_event_wait(lw_event *event);
/* Seconds the device spent on it, after it completed; LW_E_UNSUPPORTED where the device does not tell. */
lw_status lw_event_seconds(lw_event *event, double *seconds);
void lw_event_destroy(lw_event **event);

/* Compiles source (or loads a binary that lw_program_binary gave). options are the compiler's. The build log is part of the error. */
lw_status lw_program_create(lw_program **program, lw_device *device, const char *source, const char *options);
lw_status lw_program_create_binary(lw_program **program, lw_device *device, const void *binary, size_t size,
				   const char *options);
/* The program's binary, the caller's to free. On PoCL it holds the kernels that ran already. */
lw_status lw_program_binary(lw_program *program, void **binary, size_t *size);
void lw_program_destroy(lw_program **program);

lw_status lw_kernel_create(lw_kernel **kernel, lw_program *program, const char *name);
void lw_kernel_destroy(lw_kernel **kernel);
const char *lw_kernel_name(const lw_kernel *kernel);
/* Largest work-group this kernel can run with, and bytes of local memory it declares itself. */
size_t lw_kernel_max_work_group(const lw_kernel *kernel);

/* Arguments of a launch, in the kernel's order. */
typedef enum lw_arg_kind { LW_ARG_BUF, LW_ARG_INT, LW_ARG_UINT, LW_ARG_FLOAT, LW_ARG_LOCAL } lw_arg_kind;
typedef struct lw_arg {
	lw_arg_kind kind;
	union {
		lw_buf *buf; /* may be NULL: a null pointer in the kernel */
		int32_t i;
		uint32_t u;
		float f;
		size_t local_bytes;
	} value;
} lw_arg;

enum { LW_LAUNCH_MAX_ARGS = 40 };

typedef struct lw_launch {
	lw_kernel *kernel;
	int arg_count;
	lw_arg args[LW_LAUNCH_MAX_ARGS];
	int dimensions;
	size_t global[3];
	size_t local[3];     /* all 0: the driver chooses */
	double flops, bytes; /* what it does and moves, for models and reports */
} lw_launch;

static inline void lw_arg_buf(lw_launch *l, lw_buf *buf)
{
	l->args[l->arg_count++] = (lw_arg){LW_ARG_BUF, {.buf = buf}};
}
static inline void lw_arg_int(lw_launch *l, int i) { l->args[l->arg_count++] = (lw_arg){LW_ARG_INT, {.i = i}}; }
static inline void lw_arg_uint(lw_launch *l, uint32_t u) { l->args[l->arg_count++] = (lw_arg){LW_ARG_UINT, {.u = u}}; }
static inline void lw_arg_float(lw_launch *l, float f) { l->args[l->arg_count++] = (lw_arg){LW_ARG_FLOAT, {.f = f}}; }
static inline void lw_arg_local(lw_launch *l, size_t bytes)
{
	l->args[l->arg_count++] = (lw_arg){LW_ARG_LOCAL, {.local_bytes = bytes}};
}
static inline void lw_launch_1d(lw_launch *l, size_t global, size_t local)
{
	l->dimensions = 1;
	l->global[0] = global;
	l->local[0] = local;
}

/* Checks limits (work-group, local memory, global a multiple of local) and enqueues. A launch of 0 items is LW_OK and does nothing. */
lw_status lw_queue_launch(lw_queue *queue, const lw_launch *launch, lw_event **event);

/* How many launches this queue has enqueued since it was made. */
uint64_t lw_queue_launches(const lw_queue *queue);

/* On a simulated device, when all that is enqueued ends on its clock, which begins at 0; on others 0. */
double lw_queue_simulated_seconds(const lw_queue *queue);

/* C[M,N] = op(A)[M,K] * op(B)[K,N], row-major, by the vendor-tuned library (CLBlast); LW_E_UNSUPPORTED where it cannot. */
lw_status lw_queue_gemm(lw_queue *queue, bool transpose_a, bool transpose_b, int m, int n, int k, lw_buf *a, int lda,
			lw_buf *b, int ldb, lw_buf *c, int ldc);

/* Room for the kernel room's table of built kernels: freed with the device by the given function. */
void *lw_device_attachment(lw_device *device);
void lw_device_attach(lw_device *device, void *data, void (*destroy)(void *data));

#endif
