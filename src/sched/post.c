/*
 * The post: what a step's lanes and owners have for other ranks, sent as soon as it is there, and what comes from them.
 * Gradients go to their owner's rank, new parameters and norms from the owners to all, and statistics in the middle of a
 * step from all to all. One thread a rank does it. A rank in which something failed tells the others, whose step is then
 * broken as well; what was under way is cleared away when all have seen it.
 */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { TAG_FAILURE, TAG_NORMS, TAG_EXCHANGE, TAG_PARAMS, TAG_GRADIENTS, TAG_SPREAD, TAG_KINDS };

static int tag_of(int kind, int parcel, int run) { return (parcel * LW_MAX_SLICES + run) * TAG_KINDS + kind; }
static int kind_of(int tag) { return tag % TAG_KINDS; }
static int parcel_of(int tag) { return tag / TAG_KINDS / LW_MAX_SLICES; }

static bool has_images(const lw_plan *plan, int rank) { return plan->rank_image[rank + 1] > plan->rank_image[rank]; }
static bool has_parcels(const lw_plan *plan, int rank) { return plan->post.norms_at[rank + 1] > plan->post.norms_at[rank]; }
static int owning_rank(const lw_plan *plan, const lw_plan_parcel *parcel) { return plan->peers[parcel->peer].rank; }

/* --- For an arrangement --- */

lw_status lw_post_create(lw_plan *plan)
{
	lw_post *post = &plan->post;

	if (!plan->ranks)
		return LW_OK;
	LW_TRY(lw_alloc(&post->gradients_sent, plan->parcel_count, sizeof(bool)));
	LW_TRY(lw_alloc(&post->params_sent, plan->parcel_count, sizeof(bool)));
	LW_TRY(lw_alloc(&post->norms, plan->chunk_count, sizeof(float)));
	LW_TRY(lw_alloc(&post->norms_at, (size_t)plan->ranks->count + 1, sizeof(size_t)));
	for (int r = 0; r < plan->ranks->count; r++) {
		post->norms_at[r + 1] = post->norms_at[r];
		for (size_t k = 0; k < plan->parcel_count; k++)
			post->norms_at[r + 1] += owning_rank(plan, &plan->parcels[k]) == r ? plan->parcels[k].chunks : 0;
	}
	return lw_worker_create(&post->worker);
}

void lw_post_clear(lw_post *post)
{
	lw_worker_destroy(&post->worker);
	free(post->gradients_sent);
	free(post->params_sent);
	free(post->norms);
	free(post->norms_at);
	*post = (lw_post){.listening = post->listening};
}

/* --- Messages --- */

static lw_status start_send(lw_plan *plan, int to, int tag, const void *data, size_t bytes)
{
	LW_TRY(plan->ranks->send(plan->ranks, to, tag, data, bytes));
	plan->post.under_way++;
	return LW_OK;
}

static lw_status start_receive(lw_plan *plan, int from, int tag, void *data, size_t bytes)
{
	LW_TRY(plan->ranks->receive(plan->ranks, from, tag, data, bytes));
	plan->post.under_way++;
	return LW_OK;
}

static lw_status send_to_all(lw_plan *plan, int tag, const void *data, size_t bytes)
{
	for (int r = 0; r < plan->ranks->count; r++)
		if (r != plan->ranks->index)
			LW_TRY(start_send(plan, r, tag, data, bytes));
	return LW_OK;
}

static lw_status listen(lw_plan *plan)
{
	for (int r = 0; !plan->post.listening && r < plan->ranks->count; r++)
		if (r != plan->ranks->index)
			LW_TRY(plan->ranks->receive(plan->ranks, r, TAG_FAILURE, NULL, 0));
	plan->post.listening = true;
	return LW_OK;
}

/* Gradients of what is owned here, new parameters of what is not. */
static lw_status receive_parcel(lw_plan *plan, int index)
{
	const lw_plan_parcel *parcel = &plan->parcels[index];
	const size_t bytes = parcel->floats * sizeof(float);

	if (parcel->owner < 0)
		return plan->mode != LW_UPDATE_ALL ? LW_OK :
			start_receive(plan, owning_rank(plan, parcel), tag_of(TAG_PARAMS, index, 0),
				      plan->params[1 - plan->which].memory + parcel->offset, bytes);
	for (size_t i = 0; i < plan->peer_count; i++) {
		const lw_peer *peer = &plan->peers[i];

		for (int r = peer->first_run; peer->rank != plan->ranks->index && r < peer->first_run + peer->run_count; r++)
			LW_TRY(start_receive(plan, peer->rank, tag_of(TAG_GRADIENTS, index, r),
					     plan->gradients[r].memory + parcel->offset, bytes));
	}
	return LW_OK;
}

static lw_status receive_step(lw_plan *plan)
{
	lw_post *post = &plan->post;

	LW_TRY(listen(plan));
	for (int r = 0; r < plan->ranks->count; r++)
		if (r != plan->ranks->index && has_parcels(plan, r))
			LW_TRY(start_receive(plan, r, TAG_NORMS, post->norms + post->norms_at[r],
					     (post->norms_at[r + 1] - post->norms_at[r]) * sizeof(float)));
	for (size_t k = 0; k < plan->parcel_count; k++)
		LW_TRY(receive_parcel(plan, (int)k));
	return LW_OK;
}

/* --- What has become ready here --- */

static lw_status send_gradients(lw_plan *plan, int index)
{
	const lw_plan_parcel *parcel = &plan->parcels[index];

	plan->post.gradients_sent[index] = true;
	for (size_t i = 0; i < plan->lane_count; i++) {
		const lw_lane *lane = &plan->lanes[i];

		for (int r = lane->first_run; r < lane->first_run + lane->run_count; r++)
			LW_TRY(start_send(plan, owning_rank(plan, parcel), tag_of(TAG_GRADIENTS, index, r),
					  plan->gradients[r].memory + parcel->offset, parcel->floats * sizeof(float)));
	}
	return LW_OK;
}

static lw_status send_params(lw_plan *plan, int index)
{
	const lw_plan_parcel *parcel = &plan->parcels[index];

	plan->post.params_sent[index] = true;
	return send_to_all(plan, tag_of(TAG_PARAMS, index, 0), plan->params[1 - plan->which].memory + parcel->offset,
			   parcel->floats * sizeof(float));
}

/* Between the plan's norms, in the arenas' order, and a rank's, which lie together. */
static void copy_norms(lw_plan *plan, int rank, bool packing)
{
	float *packed = plan->post.norms + plan->post.norms_at[rank];

	for (size_t k = 0; k < plan->parcel_count; k++) {
		const lw_plan_parcel *parcel = &plan->parcels[k];
		float *norms = plan->norms + parcel->chunk;

		if (owning_rank(plan, parcel) != rank)
			continue;
		memcpy(packing ? packed : norms, packing ? norms : packed, parcel->chunks * sizeof(float));
		packed += parcel->chunks;
	}
}

static lw_status send_norms(lw_plan *plan)
{
	lw_post *post = &plan->post;
	const int own = plan->ranks->index;

	post->norms_sent = true;
	copy_norms(plan, own, true);
	return send_to_all(plan, TAG_NORMS, post->norms + post->norms_at[own],
			   (post->norms_at[own + 1] - post->norms_at[own]) * sizeof(float));
}

/* A rank's part of each array of the round's records. */
static char *records_of(const lw_plan *plan, int rank, int array, size_t *bytes)
{
	const lw_exchange *x = &plan->exchange;
	const size_t images = (size_t)(plan->rank_image[rank + 1] - plan->rank_image[rank]);
	const size_t at = (size_t)array * (size_t)plan->options.batch + (size_t)plan->rank_image[rank];

	*bytes = images * x->bytes_per_image;
	return (char *)x->staging[x->round % 2] + at * x->bytes_per_image;
}

static lw_status start_exchange(lw_plan *plan)
{
	lw_exchange *x = &plan->exchange;

	x->leaving = false;
	for (int r = 0; r < plan->ranks->count; r++)
		for (int k = 0; r != plan->ranks->index && has_images(plan, r) && k < x->arrays; k++) {
			size_t there, here;
			char *theirs = records_of(plan, r, k, &there), *ours = records_of(plan, plan->ranks->index, k, &here);

			LW_TRY(start_receive(plan, r, TAG_EXCHANGE, theirs, there));
			LW_TRY(start_send(plan, r, TAG_EXCHANGE, ours, here));
			x->missing += 2;
		}
	return LW_OK;
}

/* Under the lock. */
static lw_status send_ready(lw_plan *plan)
{
	lw_post *post = &plan->post;

	if (plan->exchange.leaving)
		LW_TRY(start_exchange(plan));
	for (size_t k = 0; k < plan->parcel_count; k++) {
		const lw_plan_parcel *parcel = &plan->parcels[k];

		if (parcel->owner < 0 && parcel->arrived == plan->own_runs && !post->gradients_sent[k])
			LW_TRY(send_gradients(plan, (int)k));
		if (parcel->owner >= 0 && parcel->updated && plan->mode == LW_UPDATE_ALL && !post->params_sent[k])
			LW_TRY(send_params(plan, (int)k));
	}
	if (plan->owner_count && plan->owners_normed == plan->owner_count && !post->norms_sent)
		LW_TRY(send_norms(plan));
	return LW_OK;
}

/* --- What has come --- */

static void take_norms(lw_plan *plan)
{
	for (int r = 0; r < plan->ranks->count; r++)
		if (r != plan->ranks->index)
			copy_norms(plan, r, false);
}

/* Under the lock. */
static void take(lw_plan *plan, const lw_delivery *delivery)
{
	lw_plan_parcel *parcel = &plan->parcels[parcel_of(delivery->tag)];
	lw_exchange *x = &plan->exchange;
	const int kind = kind_of(delivery->tag);

	if (kind == TAG_FAILURE) {
		plan->broken = plan->post.told = true;
		return;
	}
	plan->post.under_way--;
	if (kind == TAG_EXCHANGE && --x->missing == 0) { /* both ways: its memory is free again */
		x->waiting = 0;
		x->round++;
	}
	if (delivery->sent)
		return;
	if (kind == TAG_NORMS && --plan->post.norms_missing == 0)
		take_norms(plan);
	if (kind == TAG_GRADIENTS) {
		parcel->arrived++;
		parcel->times.ready = lw_now() - plan->began;
	}
	if (kind == TAG_PARAMS) {
		parcel->updated = true;
		parcel->times.update_end = lw_now() - plan->began;
	}
}

/* --- A step --- */

void lw_post_begin(lw_plan *plan)
{
	lw_post *post = &plan->post;

	if (!plan->ranks)
		return;
	post->closing = post->told = post->norms_sent = false;
	post->under_way = post->norms_missing = 0;
	for (int r = 0; r < plan->ranks->count; r++)
		post->norms_missing += r != plan->ranks->index && has_parcels(plan, r);
	memset(post->gradients_sent, 0, plan->parcel_count * sizeof(bool));
	memset(post->params_sent, 0, plan->parcel_count * sizeof(bool));
	plan->exchange.leaving = false;
	plan->exchange.missing = 0;
}

/* What is ready here wakes us at once; what comes from elsewhere is looked for now and then. */
static void doze(lw_plan *plan)
{
	enum { NANOSECONDS = 100000, SECOND = 1000000000 };
	struct timespec until;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += NANOSECONDS;
	until.tv_sec += until.tv_nsec / SECOND;
	until.tv_nsec %= SECOND;
	pthread_cond_timedwait(&plan->changed, &plan->lock, &until);
}

/* One look at what came and what is to go; *done: there is nothing more to do. */
static lw_status look(lw_plan *plan, bool *done)
{
	const lw_delivery *deliveries;
	lw_status status = LW_OK;
	int count;

	LW_TRY(plan->ranks->poll(plan->ranks, &deliveries, &count));
	pthread_mutex_lock(&plan->lock);
	for (int i = 0; i < count; i++)
		take(plan, &deliveries[i]);
	if (count)
		pthread_cond_broadcast(&plan->changed);
	if (!plan->broken)
		status = send_ready(plan);
	*done = plan->broken || (plan->post.closing && !plan->post.under_way);
	if (!*done && !count)
		doze(plan);
	pthread_mutex_unlock(&plan->lock);
	return status;
}

/* What failed here is not known elsewhere. */
static lw_status tell(lw_plan *plan)
{
	for (int r = 0; !plan->post.told && r < plan->ranks->count; r++)
		if (r != plan->ranks->index)
			LW_TRY(plan->ranks->send(plan->ranks, r, TAG_FAILURE, NULL, 0));
	return LW_OK;
}

lw_status lw_post_run(void *user)
{
	lw_plan *plan = user;
	bool done = false;
	lw_status status;

	status = receive_step(plan);
	while (status == LW_OK && !done)
		status = look(plan, &done);
	if (status != LW_OK)
		lw_plan_break(plan);
	if (plan->broken)
		tell(plan);
	return status;
}

lw_status lw_post_end(lw_plan *plan)
{
	pthread_mutex_lock(&plan->lock);
	plan->post.closing = true;
	pthread_cond_broadcast(&plan->changed);
	pthread_mutex_unlock(&plan->lock);
	return lw_worker_wait(plan->post.worker);
}

/* --- Between steps: what owners have --- */

static lw_status start_parcel(lw_plan *plan, const lw_plan_parcel *parcel, int tag, float *at, int to, int *messages)
{
	lw_ranks *ranks = plan->ranks;
	const int from = plan->peers[parcel->peer].rank;

	if (from == ranks->index) {
		for (int r = 0; r < ranks->count; r++)
			if (r != from && (to < 0 || r == to)) {
				LW_TRY(ranks->send(ranks, r, tag, at, parcel->floats * sizeof(float)));
				++*messages;
			}
	} else if (to < 0 || to == ranks->index) {
		LW_TRY(ranks->receive(ranks, from, tag, at, parcel->floats * sizeof(float)));
		++*messages;
	}
	return LW_OK;
}

/* Waits for messages that were begun. */
static lw_status await_messages(lw_plan *plan, int messages)
{
	while (messages > 0) {
		const lw_delivery *done;
		int count;

		LW_TRY(plan->ranks->poll(plan->ranks, &done, &count));
		messages -= count;
		if (!count)
			usleep(50);
	}
	return LW_OK;
}

/* Those that a mask of states names, or all. */
static lw_status spread(lw_plan *plan, const lw_arena *arena, unsigned states, int to)
{
	int messages = 0;

	for (size_t k = 0; k < plan->parcel_count; k++)
		if (!states || plan->parcels[k].state_mask & states)
			LW_TRY(start_parcel(plan, &plan->parcels[k], tag_of(TAG_SPREAD, (int)k, 0), arena->memory + plan->parcels[k].offset, to, &messages));
	return await_messages(plan, messages);
}

lw_status lw_plan_spread(lw_plan *plan, const lw_arena *arena, int to) { return plan->ranks ? spread(plan, arena, 0, to) : LW_OK; }

lw_status lw_plan_spread_states(lw_plan *plan, int to)
{
	for (int s = 0; plan->ranks && s < LW_RULE_MAX_STATES; s++)
		LW_TRY(spread(plan, &plan->states[s][plan->which], 1u << s, to));
	return LW_OK;
}
