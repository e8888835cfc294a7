/*
 * Statistics over the whole batch, in the middle of a step: every lane puts its images' records into the host's memory and,
 * when all have, takes the others'. Where there are other ranks, the post brings theirs (post.c). The memory is used in turns: who begins round r + 2 has seen that all ended round r.
 */
#include "sched/sched.h"

#include <stdlib.h>

static lw_status make_room(lw_exchange *x, size_t bytes)
{
	const int turn = (int)(x->round % 2);

	if (x->capacity[turn] >= bytes)
		return LW_OK;
	free(x->staging[turn]);
	x->capacity[turn] = 0;
	LW_TRY(lw_alloc(&x->staging[turn], bytes, 1));
	x->capacity[turn] = bytes;
	return LW_OK;
}

/* The memory of the round that the lane is in. */
static lw_status enter(lw_plan *plan, size_t bytes, char **staging)
{
	lw_exchange *x = &plan->exchange;
	lw_status status;

	pthread_mutex_lock(&plan->lock);
	status = make_room(x, bytes);
	*staging = (char *)x->staging[x->round % 2];
	pthread_mutex_unlock(&plan->lock);
	return status;
}

/* The last one lets all go on, or has the post do so when it has the other ranks' records. */
static lw_status meet(lw_plan *plan, size_t bytes_per_image, int arrays)
{
	lw_exchange *x = &plan->exchange;
	lw_status status = LW_OK;
	int64_t round;

	pthread_mutex_lock(&plan->lock);
	round = x->round;
	if (++x->waiting == (int)plan->lane_count) {
		x->bytes_per_image = bytes_per_image;
		x->arrays = arrays;
		x->leaving = plan->lanes_of_all > (int)plan->lane_count;
		if (!x->leaving) {
			x->waiting = 0;
			x->round++;
		}
		pthread_cond_broadcast(&plan->changed);
	}
	while (x->round == round && status == LW_OK)
		status = lw_plan_await(plan);
	pthread_mutex_unlock(&plan->lock);
	return status;
}

lw_status lw_exchange_gather(void *user, lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes_per_image, int arrays)
{
	lw_lane *lane = user;
	lw_plan *plan = lane->plan;
	const size_t whole = (size_t)plan->options.batch * bytes_per_image;
	const size_t first = (size_t)lane->first_image * bytes_per_image, own = (size_t)lane->images * bytes_per_image;
	char *staging;

	if (plan->lanes_of_all == 1 || lw_queue_rehearses(queue))
		return LW_OK;
	LW_TRY(enter(plan, whole * (size_t)arrays, &staging));
	for (int k = 0; k < arrays; k++)
		LW_TRY(lw_queue_read(queue, buf, offset + (size_t)k * whole + first, own, staging + (size_t)k * whole + first, NULL));
	LW_TRY(lw_queue_finish(queue));
	LW_TRY(meet(plan, bytes_per_image, arrays));
	for (int k = 0; k < arrays; k++) {
		const size_t at = (size_t)k * whole, after = first + own;

		LW_TRY(lw_queue_write(queue, buf, offset + at, first, staging + at, NULL));
		LW_TRY(lw_queue_write(queue, buf, offset + at + after, whole - after, staging + at + after, NULL));
	}
	return LW_OK;
}
