/* sched/arena: host memory that each device of a plan has as a buffer: a CPU in place, another device as its own copy. */
#ifndef LW_SCHED_ARENA_H
#define LW_SCHED_ARENA_H

#include "device/device.h"

typedef struct lw_arena {
	float *memory;
	size_t floats;
	lw_buf **bufs; /* by member; made when they are asked for */
	size_t members;
} lw_arena;

/* Zeroed. The memory costs nothing until it is touched. */
lw_status lw_arena_create(lw_arena *arena, size_t floats, size_t members);
void lw_arena_clear(lw_arena *arena);
/* The member's buffer; the arena's. */
lw_status lw_arena_buf(lw_arena *arena, size_t member, lw_device *device, lw_buf **buf);
/* Lets go of a member's buffer. */
void lw_arena_forget(lw_arena *arena, size_t member);

/* From the member's copy to the host and back; nothing to do, and nothing is done, where the member works in place. */
lw_status lw_arena_fetch(lw_arena *arena, size_t member, lw_queue *queue, size_t offset, size_t floats);
lw_status lw_arena_send(lw_arena *arena, size_t member, lw_queue *queue, size_t offset, size_t floats);
/* Gives the memory of whole pages of a range back; they are zero when they are touched again. */
void lw_arena_release(lw_arena *arena, size_t offset, size_t floats);

#endif
