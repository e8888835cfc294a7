/* Arenas: anonymous pages of the host, and buffers over them. */
#include "sched/arena.h"

#include <stdlib.h>
#include <sys/mman.h>

static size_t bytes_of(const lw_arena *arena) { return lw_round_up(arena->floats * sizeof(float), LW_HOST_ALIGNMENT); }

lw_status lw_arena_create(lw_arena *arena, size_t floats, size_t members)
{
	void *memory;

	*arena = (lw_arena){.floats = floats ? floats : 1, .members = members};
	memory = mmap(NULL, bytes_of(arena), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return lw_fail(LW_E_MEMORY, "the host has no %zu bytes for parameters", bytes_of(arena));
	arena->memory = memory;
	return lw_alloc(&arena->bufs, members, sizeof(lw_buf *));
}

void lw_arena_clear(lw_arena *arena)
{
	for (size_t i = 0; arena->bufs && i < arena->members; i++)
		lw_buf_destroy(&arena->bufs[i]);
	free(arena->bufs);
	if (arena->memory)
		munmap(arena->memory, bytes_of(arena));
	*arena = (lw_arena){0};
}

lw_status lw_arena_buf(lw_arena *arena, size_t member, lw_device *device, lw_buf **buf)
{
	if (!arena->bufs[member])
		LW_TRY(lw_buf_create_in(&arena->bufs[member], device, arena->memory, bytes_of(arena)));
	*buf = arena->bufs[member];
	return LW_OK;
}

void lw_arena_forget(lw_arena *arena, size_t member)
{
	if (arena->bufs)
		lw_buf_destroy(&arena->bufs[member]);
}

lw_status lw_arena_fetch(lw_arena *arena, size_t member, lw_queue *queue, size_t offset, size_t floats)
{
	if (!arena->bufs[member] || lw_buf_in_place(arena->bufs[member]))
		return LW_OK;
	return lw_queue_read(queue, arena->bufs[member], offset * sizeof(float), floats * sizeof(float), arena->memory + offset, NULL);
}

lw_status lw_arena_send(lw_arena *arena, size_t member, lw_queue *queue, size_t offset, size_t floats)
{
	if (!arena->bufs[member] || lw_buf_in_place(arena->bufs[member]))
		return LW_OK;
	return lw_queue_write(queue, arena->bufs[member], offset * sizeof(float), floats * sizeof(float), arena->memory + offset, NULL);
}

void lw_arena_release(lw_arena *arena, size_t offset, size_t floats)
{
	const size_t page = LW_HOST_ALIGNMENT, end = (offset + floats) * sizeof(float) / page * page;
	const size_t begin = lw_round_up(offset * sizeof(float), page);

	if (begin < end)
		madvise((char *)arena->memory + begin, end - begin, MADV_DONTNEED);
}
