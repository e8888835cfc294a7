/*
 * trace: what the queues of some devices did, by the devices' own times put on the host's clock, and where the host waited
 * for them. queue.c hands in commands; report/ reads the records.
 */
#ifndef LW_DEVICE_TRACE_H
#define LW_DEVICE_TRACE_H

#include "device/device.h"
#include <layerwise/trace.h>
#include <pthread.h>

/* The first are of devices, in a queue each; the last two of threads of the host. */
typedef enum lw_traced_kind {
	LW_TRACED_LAUNCH,
	LW_TRACED_TRANSFER, /* write, read, copy */
	LW_TRACED_FILL,
	LW_TRACED_WAIT, /* of a queue for another's command */
	LW_TRACED_HOST_WAIT,
	LW_TRACED_STEP
} lw_traced_kind;

/* What a queue is about to do, as the trace is told. */
typedef struct lw_command {
	lw_traced_kind kind;
	const char *name; /* of a launch: the kernel's; NULL: not to be recorded */
	double flops, bytes;
	const lw_queue *awaited; /* of a wait */
} lw_command;

/* One record; texts are the trace's. */
typedef struct lw_traced {
	lw_traced_kind kind;
	int lane, awaited; /* lanes; awaited -1: none, or nothing is recorded of it */
	int64_t step;
	const char *name;  /* "write", "wait", or a launch's kernel */
	lw_label label;    /* flops: at the first launch under the label, 0 at the others */
	double bytes;
	double start, end; /* lw_now's; end NAN: unknown, as the command failed */
} lw_traced;

/* Where commands follow each other: a queue of a device, or (device -1) a thread of the host. */
typedef struct lw_trace_lane {
	int device;
	const char *name;
	lw_queue *queue; /* while it is there */
	pthread_t thread;
	double last_end;
} lw_trace_lane;

/* The host's clock was at origin when the device's was at base (nanoseconds). */
typedef struct lw_trace_device {
	lw_device *device;
	uint64_t base;
	double origin;
} lw_trace_device;

struct lw_trace {
	pthread_mutex_t lock; /* of what follows; taken after a queue's */
	lw_trace_device *devices;
	size_t device_count;
	lw_trace_lane *lanes;
	size_t lane_count, lane_capacity;
	lw_traced *records; /* by lane in order */
	size_t record_count, record_capacity;
	size_t left_out; /* records that there was no room for */
	void *texts;     /* search.h's tree */
	double began;
	bool recording;
	int64_t step;
	size_t step_record; /* of the step that is recorded, from 1; 0: none */
};

/* With the queue's lock held. A record of the command, from 1; 0: none. */
size_t lw_trace_command(lw_trace *trace, lw_queue *queue, const lw_command *command);
/* With the queue's lock held: the event's command ended. Gives its record the times. */
void lw_trace_ended(lw_trace *trace, lw_event *event);
/* This thread waited from `start` until now for the queue. */
void lw_trace_host_wait(lw_trace *trace, const lw_queue *queue, double start);
/* With the queue's lock held: the queue goes away. */
void lw_trace_forget(lw_trace *trace, lw_queue *queue);

/* Waits until all that was recorded has ended, so that times are known; the records may be read then. */
void lw_trace_collect(lw_trace *trace);

#endif
