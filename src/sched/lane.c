/* A lane: one device's share of every batch, forward and backward once, its gradients reported parcel by parcel. */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

static lw_member *member_of(const lw_lane *lane) { return &lane->plan->members[lane->member]; }

/* --- Making one --- */

static size_t correct_at(const lw_lane *lane) { return lw_round_up((size_t)lane->images, LW_ARENA_ALIGNMENT); }

static lw_status create_outcome(lw_lane *lane, lw_device *device)
{
	const size_t floats = correct_at(lane) + (size_t)lane->images, bytes = (size_t)lane->images * sizeof(float);

	LW_TRY(lw_alloc(&lane->host_outcome, floats, sizeof(float)));
	LW_TRY(lw_buf_create(&lane->outcome, device, floats * sizeof(float)));
	LW_TRY(lw_buf_slice(&lane->loss, lane->outcome, 0, bytes));
	return lw_buf_slice(&lane->correct, lane->outcome, correct_at(lane) * sizeof(float), bytes);
}

/* Which backward pass computes each parameter's gradient; -1: none. Returns how many passes there are. */
static int find_passes(const lw_plan *plan, int *pass_of_param, int *pass_of_group)
{
	int passes = 0;

	for (size_t g = 0; g < plan->groups->count; g++) {
		const lw_group *group = &plan->groups->groups[g];
		const bool counts = !group->frozen && group->param_count > 0;

		pass_of_group[g] = counts && plan->options.gradients == LW_GRADIENTS_PER_GROUP ? passes++ : 0;
		if (counts && plan->options.gradients == LW_GRADIENTS_ONCE)
			passes = 1;
	}
	for (size_t i = 0; i < plan->net->param_count; i++) {
		const int g = plan->groups->group_of_param[i];

		pass_of_param[i] = g < 0 || plan->groups->groups[g].frozen ? -1 : pass_of_group[g];
	}
	return passes;
}

static lw_status gradient_ready(void *user, int param);

static lw_status create_executor(lw_lane *lane)
{
	lw_plan *plan = lane->plan;
	lw_member *member = member_of(lane);
	const bool together = plan->slices || plan->options.synchronise_batchnorm;
	lw_executor_options options = {.batch = lane->images,
				       .precision = plan->options.precision,
				       .reproducible = plan->options.reproducible,
				       .tuning = member->tuning,
				       .label_smoothing = plan->options.label_smoothing,
				       .seed = plan->options.seed,
				       .all_images = plan->options.batch,
				       .first_image = lane->first_image,
				       .slices = plan->slices,
				       .synchronise = plan->options.synchronise_batchnorm,
				       .gather = together && plan->lanes_of_all > 1 ? lw_exchange_gather : NULL,
				       .gather_user = lane,
				       .gradient_ready = gradient_ready,
				       .user = lane};
	lw_executor_buffers buffers = {.statistics = lane->statistics,
				       .statistics_at = plan->statistics_at,
				       .loss = lane->loss,
				       .correct = lane->correct};
	int *pass_of_param = NULL, *pass_of_group = NULL;
	lw_status status;

	LW_GO(lw_alloc(&pass_of_param, plan->net->param_count, sizeof(int)));
	LW_GO(lw_alloc(&pass_of_group, plan->groups->count, sizeof(int)));
	options.pass_count = find_passes(plan, pass_of_param, pass_of_group);
	options.pass_of_param = pass_of_param;
	for (int k = 0; k < 2; k++)
		LW_GO(lw_arena_buf(&plan->params[k], (size_t)lane->member, member->device, &buffers.params[k]));
	for (int r = 0; r < lane->run_count; r++)
		LW_GO(lw_arena_buf(&plan->gradients[lane->first_run + r], (size_t)lane->member, member->device, &buffers.gradients[r]));
	LW_GO(lw_executor_create(&lane->executor, plan->net, member->queue, &plan->layout, &buffers, &options));
out:
	free(pass_of_param);
	free(pass_of_group);
	return status;
}

lw_status lw_lane_create(lw_lane *lane)
{
	lw_plan *plan = lane->plan;
	lw_member *member = member_of(lane);

	LW_TRY(create_outcome(lane, member->device));
	if (plan->statistics_floats) {
		LW_TRY(lw_alloc(&lane->host_statistics, plan->statistics_floats, sizeof(float)));
		LW_TRY(lw_buf_create(&lane->statistics, member->device, plan->statistics_floats * sizeof(float)));
	}
	LW_TRY(lw_alloc(&lane->pending, plan->parcel_count, sizeof(int)));
	LW_TRY(lw_alloc(&lane->arrivals, plan->parcel_count, sizeof *lane->arrivals));
	lane->stale = !member->in_place;
	if (plan->lane_count > 1)
		LW_TRY(lw_worker_create(&lane->worker));
	return create_executor(lane);
}

void lw_lane_clear(lw_lane *lane)
{
	lw_worker_destroy(&lane->worker);
	lw_executor_destroy(&lane->executor);
	for (size_t i = 0; i < lane->arrival_count; i++)
		lw_event_destroy(&lane->arrivals[i].event);
	lw_buf_destroy(&lane->statistics);
	lw_buf_destroy(&lane->loss);
	lw_buf_destroy(&lane->correct);
	lw_buf_destroy(&lane->outcome);
	free(lane->host_statistics);
	free(lane->host_outcome);
	free(lane->pending);
	free(lane->arrivals);
	*lane = (lw_lane){0};
}

/* --- A step --- */

/* Running statistics as they are committed, and parameters where the device has a copy that is not theirs. */
static lw_status send_parameters(lw_lane *lane)
{
	lw_plan *plan = lane->plan;
	lw_queue *queue = member_of(lane)->queue;

	if (lane->stale)
		for (int k = 0; k < 2; k++)
			LW_TRY(lw_arena_send(&plan->params[k], (size_t)lane->member, queue, 0, plan->layout.floats));
	lane->stale = false;
	if (!plan->statistics_floats)
		return LW_OK;
	return lw_queue_write(queue, lane->statistics, 0, plan->statistics_floats * sizeof(float),
			      plan->params[plan->which].memory + plan->statistics_at, NULL);
}

/* All of a parcel's gradients are enqueued: on their way to the host, if they must go there, and to be reported. */
static lw_status report(lw_lane *lane, int index)
{
	lw_plan *plan = lane->plan;
	const lw_plan_parcel *parcel = &plan->parcels[index];
	lw_member *member = member_of(lane);
	lw_arrival *arrival = &lane->arrivals[lane->arrival_count];
	lw_queue *queue = member->queue;

	*arrival = (lw_arrival){.parcel = index};
	LW_TRY(lw_queue_mark(queue, &arrival->event));
	lane->arrival_count++;
	if (!member->transfers || !arrival->event)
		return LW_OK;
	LW_TRY(lw_queue_wait_event(member->transfers, arrival->event));
	lw_event_destroy(&arrival->event);
	for (int r = 0; r < lane->run_count; r++)
		LW_TRY(lw_arena_fetch(&plan->gradients[lane->first_run + r], (size_t)lane->member, member->transfers, parcel->offset,
				      parcel->floats));
	return lw_queue_mark(member->transfers, &arrival->event);
}

/* The only lane does its own device's updates where they stand: in its queue, with nobody to wait for. */
static lw_status update_directly(lw_lane *lane, int index)
{
	lw_owner *owner = &lane->plan->owners[0];

	for (size_t k = 0; k < owner->count; k++)
		if (owner->owned[k].parcel == index)
			return lw_owner_enqueue(owner, &owner->owned[k]);
	return LW_OK;
}

static lw_status gradient_ready(void *user, int param)
{
	lw_lane *lane = user;
	lw_plan *plan = lane->plan;

	for (int k = plan->first_parcel[param]; k <= plan->last_parcel[param]; k++)
		if (--lane->pending[k] == 0)
			LW_TRY(lane->direct ? update_directly(lane, k) : report(lane, k));
	return LW_OK;
}

static lw_status enqueue(lw_lane *lane)
{
	lw_plan *plan = lane->plan;
	lw_queue *queue = member_of(lane)->queue;

	for (size_t k = 0; k < plan->parcel_count; k++)
		lane->pending[k] = plan->parcels[k].params;
	LW_TRY(send_parameters(lane));
	if (lane->direct)
		LW_TRY(lw_owner_begin(&plan->owners[0]));
	lw_executor_use(lane->executor, plan->which);
	LW_TRY(lw_executor_train(lane->executor, lane->images_in, lane->labels_in, (uint32_t)(plan->step + 1)));
	LW_TRY(lw_queue_read(queue, lane->outcome, 0, lw_buf_size(lane->outcome), lane->host_outcome, NULL));
	if (plan->statistics_floats)
		LW_TRY(lw_queue_read(queue, lane->statistics, 0, plan->statistics_floats * sizeof(float), lane->host_statistics, NULL));
	if (lane->direct)
		LW_TRY(lw_owner_enqueue_rest(&plan->owners[0]));
	return lw_queue_flush(queue);
}

/* New parameters that owners have finished, to the device's copy; all: waits for those that are missing. */
static lw_status take_parameters(lw_lane *lane, bool *taken, bool all)
{
	lw_plan *plan = lane->plan;
	lw_member *member = member_of(lane);

	for (size_t k = 0; k < plan->parcel_count; k++) {
		const lw_plan_parcel *parcel = &plan->parcels[k];
		lw_status status = LW_OK;
		bool ready;

		if (taken[k])
			continue;
		pthread_mutex_lock(&plan->lock);
		while (all && !parcel->updated && status == LW_OK)
			status = lw_plan_await(plan);
		ready = parcel->updated;
		pthread_mutex_unlock(&plan->lock);
		LW_TRY(status);
		taken[k] = ready;
		if (ready && parcel->owner != lane->member)
			LW_TRY(lw_arena_send(&plan->params[1 - plan->which], (size_t)lane->member, member->transfers, parcel->offset,
					     parcel->floats));
	}
	return LW_OK;
}

/* Reports parcels as their gradients become complete. */
static lw_status report_arrivals(lw_lane *lane)
{
	lw_plan *plan = lane->plan;
	const bool copies = !lane->direct && member_of(lane)->transfers && plan->mode == LW_UPDATE_ALL;
	lw_status status = LW_OK;
	bool *taken = NULL;

	if (copies)
		LW_TRY(lw_alloc(&taken, plan->parcel_count, sizeof *taken));
	for (size_t i = 0; i < lane->arrival_count; i++) {
		lw_plan_parcel *parcel = &plan->parcels[lane->arrivals[i].parcel];

		LW_GO(lw_event_wait(lane->arrivals[i].event));
		pthread_mutex_lock(&plan->lock);
		parcel->arrived += lane->run_count;
		parcel->times.ready = lw_now() - plan->began;
		pthread_cond_broadcast(&plan->changed);
		pthread_mutex_unlock(&plan->lock);
		if (copies)
			LW_GO(take_parameters(lane, taken, false));
	}
	lane->seconds = lw_now() - plan->began;
	if (copies)
		LW_GO(take_parameters(lane, taken, true));
out:
	free(taken);
	return status;
}

static lw_status finish(lw_lane *lane)
{
	lw_member *member = member_of(lane);

	LW_TRY(lw_queue_finish(member->queue));
	return member->transfers ? lw_queue_finish(member->transfers) : LW_OK;
}

lw_status lw_lane_train(void *user)
{
	lw_lane *lane = user;
	lw_status status;

	LW_GO(enqueue(lane));
	LW_GO(report_arrivals(lane));
	LW_GO(finish(lane));
	if (lane->direct || !lane->arrival_count)
		lane->seconds = lw_now() - lane->plan->began;
out:
	for (size_t i = 0; i < lane->arrival_count; i++)
		lw_event_destroy(&lane->arrivals[i].event);
	lane->arrival_count = 0;
	if (status != LW_OK)
		lw_plan_break(lane->plan);
	return status;
}

/* --- Besides steps --- */

lw_status lw_lane_evaluate(void *user)
{
	lw_lane *lane = user;
	lw_plan *plan = lane->plan;
	lw_queue *queue = member_of(lane)->queue;

	if (!lane->evaluate_count)
		return LW_OK;
	LW_TRY(send_parameters(lane));
	lw_executor_use(lane->executor, plan->which);
	LW_TRY(lw_executor_evaluate(lane->executor, lane->images_in, lane->labels_in, lane->evaluate_count));
	if (lane->logits)
		LW_TRY(lw_queue_read(queue, lw_executor_logits(lane->executor), 0,
				     (size_t)lane->evaluate_count * (size_t)lw_net_classes(plan->net) * sizeof(float), lane->logits, NULL));
	LW_TRY(lw_queue_read(queue, lane->outcome, 0, lw_buf_size(lane->outcome), lane->host_outcome, NULL));
	return finish(lane);
}

lw_status lw_lane_prefetch(lw_lane *lane, const float *images, const int32_t *labels)
{
	const size_t pixels = lw_shape_count(lane->plan->net->input);

	return lw_executor_prefetch(lane->executor, images + (size_t)lane->first_image * pixels, labels + lane->first_image);
}
