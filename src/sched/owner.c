/* An owner: sums its parcels' gradients as they become complete, measures their norms, updates. */
#include "op/support.h"
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static lw_member *member_of(const lw_owner *owner) { return &owner->plan->members[owner->member]; }

/* --- Making one --- */

static lw_status slice(lw_buf **to, lw_arena *arena, const lw_owner *owner, const lw_plan_parcel *parcel)
{
	lw_buf *whole;

	LW_TRY(lw_arena_buf(arena, (size_t)owner->member, member_of(owner)->device, &whole));
	return lw_buf_slice(to, whole, parcel->offset * sizeof(float), parcel->floats * sizeof(float));
}

static lw_status send_table(lw_owner *owner, lw_buf **buf, const void *data, size_t bytes)
{
	LW_TRY(lw_buf_create(buf, member_of(owner)->device, bytes));
	return lw_queue_write(owner->context.queue, *buf, 0, bytes, data, NULL);
}

static lw_status create_owned(lw_owner *owner, lw_owned *owned)
{
	lw_plan *plan = owner->plan;
	const lw_plan_parcel *parcel = &plan->parcels[owned->parcel];

	LW_TRY(send_table(owner, &owned->chunks, plan->chunks + parcel->chunk, parcel->chunks * sizeof(lw_chunk)));
	LW_TRY(lw_buf_create(&owned->norms, member_of(owner)->device, parcel->chunks * sizeof(float)));
	for (int k = 0; k < 2; k++) {
		LW_TRY(slice(&owned->params[k], &plan->params[k], owner, parcel));
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			if (parcel->state_mask >> s & 1)
				LW_TRY(slice(&owned->states[s][k], &plan->states[s][k], owner, parcel));
	}
	for (int r = 0; r < plan->run_count; r++)
		LW_TRY(slice(&owned->gradients[r], &plan->gradients[r], owner, parcel));
	return LW_OK;
}

static void clear_owned(lw_owned *owned)
{
	lw_buf_destroy(&owned->chunks);
	lw_buf_destroy(&owned->norms);
	for (int k = 0; k < 2; k++) {
		lw_buf_destroy(&owned->params[k]);
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			lw_buf_destroy(&owned->states[s][k]);
	}
	for (int r = 0; r < LW_MAX_RUNS; r++)
		lw_buf_destroy(&owned->gradients[r]);
}

static lw_status create_tables(lw_owner *owner)
{
	lw_plan *plan = owner->plan;
	const lw_rows *rows = &plan->rows;
	lw_device *device = member_of(owner)->device;

	LW_TRY(send_table(owner, &owner->chunks, plan->chunks, plan->chunk_count * sizeof(lw_chunk)));
	LW_TRY(send_table(owner, &owner->domain_of_row, rows->domain, rows->count * sizeof *rows->domain));
	LW_TRY(send_table(owner, &owner->limits, rows->limits, rows->domain_count * sizeof(float)));
	LW_TRY(lw_buf_create(&owner->rows, device, rows->count * LW_RULE_ROW * sizeof(float)));
	LW_TRY(lw_buf_create(&owner->scale, device, rows->count * sizeof(float)));
	LW_TRY(lw_buf_create(&owner->domain_norms, device, rows->domain_count * sizeof(float)));
	LW_TRY(lw_buf_create(&owner->norms, device, plan->chunk_count * sizeof(float)));
	return lw_alloc(&owner->host_norms, plan->chunk_count, sizeof(float));
}

lw_status lw_owner_create(lw_owner *owner)
{
	lw_plan *plan = owner->plan;
	lw_member *member = member_of(owner);
	const bool direct = plan->lane_count == 1 && plan->lanes[0].direct;

	owner->stale = !member->in_place;
	owner->context = (lw_op_context){.device = member->device,
					 .queue = direct || !member->updates ? member->queue : member->updates,
					 .precision = plan->options.precision,
					 .reproducible = plan->options.reproducible,
					 .force_variant = -1};
	LW_TRY(create_tables(owner));
	for (size_t i = 0; i < owner->count; i++)
		LW_TRY(create_owned(owner, &owner->owned[i]));
	LW_TRY(lw_queue_finish(owner->context.queue));
	return direct ? LW_OK : lw_worker_create(&owner->worker);
}

void lw_owner_clear(lw_owner *owner)
{
	lw_worker_destroy(&owner->worker);
	for (size_t i = 0; i < owner->count; i++)
		clear_owned(&owner->owned[i]);
	free(owner->owned);
	free(owner->host_norms);
	lw_buf_destroy(&owner->chunks);
	lw_buf_destroy(&owner->rows);
	lw_buf_destroy(&owner->norms);
	lw_buf_destroy(&owner->domain_of_row);
	lw_buf_destroy(&owner->limits);
	lw_buf_destroy(&owner->scale);
	lw_buf_destroy(&owner->domain_norms);
	*owner = (lw_owner){0};
}

/* --- Copies, where its device does not work in the host's memory --- */

typedef lw_status (*mover)(lw_arena *arena, size_t member, lw_queue *queue, size_t offset, size_t floats);

/* A parcel's parameters and state, of one of the two. */
static lw_status move_parcel(lw_owner *owner, const lw_plan_parcel *parcel, int which, mover move)
{
	lw_plan *plan = owner->plan;
	const size_t member = (size_t)owner->member;

	LW_TRY(move(&plan->params[which], member, owner->context.queue, parcel->offset, parcel->floats));
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		if (parcel->state_mask >> s & 1)
			LW_TRY(move(&plan->states[s][which], member, owner->context.queue, parcel->offset, parcel->floats));
	return LW_OK;
}

lw_status lw_owner_fetch(lw_owner *owner)
{
	for (size_t i = 0; i < owner->count; i++)
		LW_TRY(move_parcel(owner, &owner->plan->parcels[owner->owned[i].parcel], owner->plan->which, lw_arena_fetch));
	return lw_queue_finish(owner->context.queue);
}

lw_status lw_owner_begin(lw_owner *owner)
{
	const lw_rows *rows = &owner->plan->rows;

	for (size_t i = 0; owner->stale && i < owner->count; i++)
		for (int k = 0; k < 2; k++)
			LW_TRY(move_parcel(owner, &owner->plan->parcels[owner->owned[i].parcel], k, lw_arena_send));
	owner->stale = false;
	return lw_queue_write(owner->context.queue, owner->rows, 0, rows->count * LW_RULE_ROW * sizeof(float), rows->values, NULL);
}

/* --- A parcel --- */

/* The member whose lane computes a run; -1: another rank's. */
static int member_of_run(const lw_plan *plan, int run)
{
	for (size_t i = 0; i < plan->lane_count; i++)
		if (run >= plan->lanes[i].first_run && run < plan->lanes[i].first_run + plan->lanes[i].run_count)
			return plan->lanes[i].member;
	return -1;
}

static lw_status sum(lw_owner *owner, lw_owned *owned)
{
	lw_plan *plan = owner->plan;
	const lw_plan_parcel *parcel = &plan->parcels[owned->parcel];

	for (int r = 0; r < plan->run_count; r++)
		if (member_of_run(plan, r) != owner->member)
			LW_TRY(lw_arena_send(&plan->gradients[r], (size_t)owner->member, owner->context.queue, parcel->offset, parcel->floats));
	if (plan->run_count == 1)
		return LW_OK;
	return lw_sum_runs(&owner->context, parcel->floats, plan->runs, owned->gradients, plan->run_count, 0, owned->gradients[0]);
}

/* fresh: what is new goes to the other ones of params and states, else it replaces what was. */
static lw_status update(lw_owner *owner, lw_owned *owned, lw_buf *scale, bool fresh)
{
	lw_plan *plan = owner->plan;
	const lw_plan_parcel *parcel = &plan->parcels[owned->parcel];
	const int from = plan->which, to = 1 - plan->which;
	lw_arenas arenas = {.params = owned->params[from], .gradients = owned->gradients[0], .new_params = fresh ? owned->params[to] : NULL,
			    .stream = fresh && lw_op_streams(owner->context.device, plan->layout.gradient_floats, LW_ARENA_ALIGNMENT)};

	for (int s = 0; s < LW_RULE_MAX_STATES; s++) {
		arenas.states[s] = owned->states[s][from];
		arenas.new_states[s] = owned->states[s][to];
	}
	LW_TRY(lw_rule_update(&owner->context, parcel->rule, owned->chunks, (int)parcel->chunks, owner->rows, scale, &arenas));
	/* for the others, and for when this device is lost */
	return lw_plan_is_shared(plan) ? move_parcel(owner, parcel, fresh ? to : from, lw_arena_fetch) : LW_OK;
}

lw_status lw_owner_enqueue(lw_owner *owner, lw_owned *owned)
{
	const lw_plan_parcel *parcel = &owner->plan->parcels[owned->parcel];

	lw_queue_label(owner->context.queue, (lw_label){.layer = parcel->rule->name, .part = "gather"});
	LW_TRY(sum(owner, owned));
	lw_queue_label(owner->context.queue, (lw_label){.layer = parcel->rule->name, .part = "update"});
	LW_TRY(lw_chunk_norms(&owner->context, owned->chunks, (int)parcel->chunks, owned->gradients[0], owned->norms));
	if (!parcel->clipped && owner->plan->mode == LW_UPDATE_ALL)
		LW_TRY(update(owner, owned, NULL, true));
	lw_queue_label(owner->context.queue, (lw_label){0});
	return LW_OK;
}

/* --- Clipping: the norms of all parcels, whoever owns them --- */

static lw_status coefficients(lw_owner *owner)
{
	const lw_plan *plan = owner->plan;

	lw_queue_label(owner->context.queue, (lw_label){.layer = "gradient norms", .part = "update"});
	return lw_clip_coefficients(&owner->context, owner->chunks, (int)plan->chunk_count, owner->norms, owner->domain_of_row,
				    (int)plan->rows.count, owner->limits, (int)plan->rows.domain_count, owner->scale, owner->domain_norms);
}

static lw_status read_coefficients(lw_owner *owner)
{
	lw_plan *plan = owner->plan;

	LW_TRY(lw_queue_read(owner->context.queue, owner->scale, 0, plan->rows.count * sizeof(float), plan->scale, NULL));
	return lw_queue_read(owner->context.queue, owner->domain_norms, 0, plan->rows.domain_count * sizeof(float), plan->domain_norms, NULL);
}

static lw_status update_clipped(lw_owner *owner)
{
	lw_queue_label(owner->context.queue, (lw_label){.layer = "clipped", .part = "update"});
	for (size_t i = 0; owner->plan->mode == LW_UPDATE_ALL && i < owner->count; i++)
		if (owner->plan->parcels[owner->owned[i].parcel].clipped)
			LW_TRY(update(owner, &owner->owned[i], owner->scale, true));
	lw_queue_label(owner->context.queue, (lw_label){0});
	return LW_OK;
}

lw_status lw_owner_enqueue_rest(lw_owner *owner)
{
	lw_plan *plan = owner->plan;

	for (size_t i = 0; i < owner->count; i++) {
		const lw_plan_parcel *parcel = &plan->parcels[owner->owned[i].parcel];

		LW_TRY(lw_queue_copy(owner->context.queue, owner->owned[i].norms, 0, owner->norms, parcel->chunk * sizeof(float),
				     parcel->chunks * sizeof(float), NULL));
	}
	LW_TRY(coefficients(owner));
	LW_TRY(update_clipped(owner));
	LW_TRY(lw_queue_read(owner->context.queue, owner->norms, 0, plan->chunk_count * sizeof(float), plan->norms, NULL));
	return read_coefficients(owner);
}

/* Adds the norms of its parcels to everybody's; *last: they are complete now. */
static lw_status give_norms(lw_owner *owner, bool *last)
{
	lw_plan *plan = owner->plan;

	for (size_t i = 0; i < owner->count; i++) {
		const lw_plan_parcel *parcel = &plan->parcels[owner->owned[i].parcel];

		LW_TRY(lw_queue_read(owner->context.queue, owner->owned[i].norms, 0, parcel->chunks * sizeof(float),
				     owner->host_norms + parcel->chunk, NULL));
	}
	LW_TRY(lw_queue_finish(owner->context.queue));
	pthread_mutex_lock(&plan->lock);
	for (size_t i = 0; i < owner->count; i++) {
		const lw_plan_parcel *parcel = &plan->parcels[owner->owned[i].parcel];

		memcpy(plan->norms + parcel->chunk, owner->host_norms + parcel->chunk, parcel->chunks * sizeof(float));
	}
	*last = ++plan->owners_normed == plan->owner_count;
	pthread_cond_broadcast(&plan->changed);
	pthread_mutex_unlock(&plan->lock);
	return LW_OK;
}

/* Those of other ranks' parcels. */
static lw_status await_norms(lw_plan *plan)
{
	lw_status status = LW_OK;

	pthread_mutex_lock(&plan->lock);
	while (plan->post.norms_missing && status == LW_OK)
		status = lw_plan_await(plan);
	pthread_mutex_unlock(&plan->lock);
	return status;
}

/* The last to give norms computes the coefficients for all. */
static lw_status share_coefficients(lw_owner *owner, bool last)
{
	lw_plan *plan = owner->plan;
	lw_queue *queue = owner->context.queue;
	lw_status status = LW_OK;

	if (last) {
		LW_TRY(await_norms(plan));
		LW_TRY(lw_queue_write(queue, owner->norms, 0, plan->chunk_count * sizeof(float), plan->norms, NULL));
		LW_TRY(coefficients(owner));
		LW_TRY(read_coefficients(owner));
		LW_TRY(lw_queue_finish(queue));
	}
	pthread_mutex_lock(&plan->lock);
	if (last) {
		plan->coefficients_known = true;
		pthread_cond_broadcast(&plan->changed);
	}
	while (!plan->coefficients_known && status == LW_OK)
		status = lw_plan_await(plan);
	pthread_mutex_unlock(&plan->lock);
	LW_TRY(status);
	return last ? LW_OK : lw_queue_write(queue, owner->scale, 0, plan->rows.count * sizeof(float), plan->scale, NULL);
}

/* --- A step --- */

static lw_status await_gradients(lw_plan *plan, const lw_plan_parcel *parcel)
{
	lw_status status = LW_OK;

	pthread_mutex_lock(&plan->lock);
	while (parcel->arrived < plan->run_count && status == LW_OK)
		status = lw_plan_await(plan);
	pthread_mutex_unlock(&plan->lock);
	return status;
}

static void announce(lw_owner *owner, bool clipped)
{
	lw_plan *plan = owner->plan;

	pthread_mutex_lock(&plan->lock);
	for (size_t i = 0; i < owner->count; i++) {
		lw_plan_parcel *parcel = &plan->parcels[owner->owned[i].parcel];

		if (parcel->times.update_start > 0 && !parcel->updated && parcel->clipped <= clipped) {
			parcel->updated = true;
			parcel->times.update_end = lw_now() - plan->began;
		}
	}
	pthread_cond_broadcast(&plan->changed);
	pthread_mutex_unlock(&plan->lock);
}

/* Whether a lane, or another rank, waits for new parameters while the step is going on. */
static bool somebody_copies(const lw_plan *plan)
{
	if (plan->ranks)
		return true;
	for (size_t i = 0; i < plan->lane_count; i++)
		if (plan->members[plan->lanes[i].member].transfers)
			return true;
	return false;
}

static lw_status run(lw_owner *owner)
{
	lw_plan *plan = owner->plan;
	const bool copies = somebody_copies(plan);
	bool last;

	LW_TRY(lw_owner_begin(owner));
	for (size_t i = 0; i < owner->count; i++) {
		lw_plan_parcel *parcel = &plan->parcels[owner->owned[i].parcel];

		LW_TRY(await_gradients(plan, parcel));
		parcel->times.update_start = lw_now() - plan->began;
		LW_TRY(lw_owner_enqueue(owner, &owner->owned[i]));
		LW_TRY(copies ? lw_queue_finish(owner->context.queue) : lw_queue_flush(owner->context.queue));
		if (copies)
			announce(owner, false);
	}
	LW_TRY(give_norms(owner, &last));
	announce(owner, false);
	LW_TRY(share_coefficients(owner, last));
	LW_TRY(update_clipped(owner));
	LW_TRY(lw_queue_finish(owner->context.queue));
	announce(owner, true);
	return LW_OK;
}

lw_status lw_owner_run(void *user)
{
	lw_owner *owner = user;
	const lw_status status = run(owner);

	if (status != LW_OK)
		lw_plan_break(owner->plan);
	return status;
}

/* --- Groups one by one --- */

static bool holds_group(const lw_plan *plan, const lw_plan_parcel *parcel, int group)
{
	for (size_t i = 0; i < parcel->chunks; i++)
		if (plan->rows.rows[plan->chunks[parcel->chunk + i].row].group == group)
			return true;
	return false;
}

lw_status lw_owner_apply(lw_owner *owner, int group)
{
	lw_plan *plan = owner->plan;
	const lw_rows *rows = &plan->rows;
	lw_status status;
	float *scale;

	LW_TRY(lw_alloc(&scale, rows->count, sizeof *scale));
	for (size_t i = 0; i < rows->count; i++) /* NaN leaves a row's parameters alone */
		scale[i] = rows->rows[i].group == group ? plan->scale[i] : NAN;
	LW_GO(lw_queue_write(owner->context.queue, owner->scale, 0, rows->count * sizeof *scale, scale, NULL));
	for (size_t i = 0; i < owner->count; i++)
		if (holds_group(plan, &plan->parcels[owner->owned[i].parcel], group))
			LW_GO(update(owner, &owner->owned[i], owner->scale, false));
	status = lw_queue_finish(owner->context.queue);
out:
	free(scale);
	return status;
}
