/* A step, from begin to commit: lanes and owners at work, and what is done when one of them fails. */
#include "sched/sched.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void lw_plan_break(lw_plan *plan)
{
	pthread_mutex_lock(&plan->lock);
	plan->broken = true;
	pthread_cond_broadcast(&plan->changed);
	pthread_mutex_unlock(&plan->lock);
}

lw_status lw_plan_await(lw_plan *plan)
{
	if (!plan->broken)
		pthread_cond_wait(&plan->changed, &plan->lock);
	return plan->broken ? lw_fail(LW_E_INTERRUPTED, "another device failed in the step") : LW_OK;
}

/* --- Work, shared out --- */

/* What a worker's job came to; a failure that is not another's is the member's. */
static void judge(lw_plan *plan, int index, lw_status status, lw_status *worst)
{
	lw_member *member = &plan->members[index];

	if (status == LW_OK)
		return;
	if (*worst == LW_OK || *worst == LW_E_INTERRUPTED)
		*worst = status;
	if (status == LW_E_INTERRUPTED || status == LW_E_ARGUMENT || member->lost)
		return;
	member->lost = true;
	lw_log(LW_LOG_WARNING, "device %s failed: %s", lw_device_label(member->device), lw_last_error());
}

/* Keeps the sentence of the failure that counts while others are waited for. */
typedef struct verdict {
	lw_status status;
	char text[1024];
} verdict;

static void note(lw_plan *plan, int member, lw_status status, verdict *v)
{
	const lw_status before = v->status;

	judge(plan, member, status, &v->status);
	if (v->status != before)
		snprintf(v->text, sizeof v->text, "%s", lw_last_error());
}

static void start_lane(lw_lane *lane, lw_status (*job)(void *lane), lw_status *inline_status)
{
	if (lane->worker)
		lw_worker_start(lane->worker, job, lane);
	else
		*inline_status = job(lane);
}

/* Every lane and owner does its part; returns when all have ended. */
static lw_status work(lw_plan *plan, lw_status (*job)(void *lane), bool owners)
{
	lw_status inline_status = LW_OK;
	verdict v = {LW_OK, ""};

	plan->broken = false;
	if (owners && plan->ranks)
		lw_worker_start(plan->post.worker, lw_post_run, plan);
	for (size_t i = 0; owners && i < plan->owner_count; i++)
		if (plan->owners[i].worker)
			lw_worker_start(plan->owners[i].worker, lw_owner_run, &plan->owners[i]);
	for (size_t i = 0; i < plan->lane_count; i++)
		start_lane(&plan->lanes[i], job, &inline_status);
	for (size_t i = 0; i < plan->lane_count; i++) {
		lw_lane *lane = &plan->lanes[i];
		note(plan, lane->member, lane->worker ? lw_worker_wait(lane->worker) : inline_status, &v);
	}
	for (size_t i = 0; owners && i < plan->owner_count; i++)
		if (plan->owners[i].worker)
			note(plan, plan->owners[i].member, lw_worker_wait(plan->owners[i].worker), &v);
	if (owners && plan->ranks && lw_post_end(plan) != LW_OK && v.status == LW_OK)
		return LW_E_MEMORY;
	return v.status == LW_OK ? LW_OK : lw_fail(v.status, "%s", v.text);
}

/* --- Devices that were lost --- */

static size_t lost(const lw_plan *plan)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->member_count; i++)
		count += plan->members[i].lost;
	return count;
}

static size_t left(const lw_plan *plan)
{
	size_t count = 0;

	for (size_t i = 0; i < plan->member_count; i++)
		count += !plan->members[i].lost && !plan->members[i].opened;
	return count;
}

/* After a failure: whether the others can go on, arranged anew. */
static lw_status go_on_without(lw_plan *plan, lw_status status)
{
	if (plan->all_lost == plan->lost_count || !plan->all_left)
		return status;
	plan->lost_count = plan->all_lost;
	if (lw_plan_rank(plan) == 0)
		lw_log(LW_LOG_WARNING, "step %" PRId64 " is taken again by the %zu device%s that %s left", plan->step + 1, plan->all_left,
		       plan->all_left == 1 ? "" : "s", plan->all_left == 1 ? "is" : "are");
	return lw_plan_arrange(plan);
}

/* What all ranks come to, and the devices that they have left for it. */
lw_status lw_plan_conclude(lw_plan *plan, lw_status status)
{
	plan->all_lost = lost(plan);
	plan->all_left = left(plan);
	return lw_plan_agree(plan, status, &plan->all_lost, &plan->all_left);
}

/* Does work until it succeeds or no device is left. */
static lw_status insist(lw_plan *plan, lw_status (*attempt)(lw_plan *plan, void *user), void *user)
{
	for (;;) {
		lw_status status = attempt(plan, user);
		size_t before = plan->lost_count;

		if (status == LW_OK)
			return LW_OK;
		do { /* arranging may lose devices, too */
			before = plan->lost_count;
			status = go_on_without(plan, status);
		} while (status != LW_OK && plan->lost_count != before);
		if (status != LW_OK) {
			lw_plan_settle(plan);
			return status;
		}
	}
}

/* --- What a step came to --- */

/* The net's first parameter with a gradient that is not finite; NULL: all are. */
static const char *bad_gradient(const lw_plan *plan)
{
	int first = -1;

	for (size_t i = 0; i < plan->chunk_count; i++)
		if (!isfinite(plan->norms[i]) && (first < 0 || plan->chunks[i].param < first))
			first = plan->chunks[i].param;
	return first < 0 ? NULL : plan->net->params[first].name;
}

static lw_step_result judge_step(const lw_plan *plan)
{
	lw_step_result r = {0};

	for (int i = 0; i < plan->options.batch; i++) {
		r.loss += plan->outcome[2 * i];
		r.correct += plan->outcome[2 * i + 1] > 0.5f;
	}
	r.loss /= plan->options.batch;
	r.gradient_norm = plan->gradient_norm;
	r.bad_tensor = bad_gradient(plan);
	if (!r.bad_tensor && !isfinite(r.loss))
		r.bad_tensor = "loss";
	r.finite = !r.bad_tensor;
	return r;
}

/*
 * Running statistics: the mean, by images, of what each lane made of its share. Where they were computed from the whole batch
 * all lanes' are the same, and so is, to the bit, their mean: products and sums of a float and small numbers are exact.
 */
static lw_status find_statistics(lw_plan *plan)
{
	for (size_t i = 0; i < plan->statistics_floats; i++) {
		double sum = 0;

		for (size_t k = 0; k < plan->lane_count; k++)
			sum += (double)plan->lanes[k].host_statistics[i] * plan->lanes[k].images;
		plan->statistics[i] = sum;
	}
	return plan->statistics_floats ? lw_plan_sum(plan, plan->statistics, plan->statistics_floats) : LW_OK;
}

static void commit_statistics(lw_plan *plan, int to)
{
	float *all = plan->params[to].memory + plan->statistics_at;

	for (size_t i = 0; i < plan->statistics_floats; i++)
		all[i] = (float)(plan->statistics[i] / plan->options.batch);
}

static void commit(lw_plan *plan)
{
	const int to = 1 - plan->which;

	commit_statistics(plan, to);
	if (plan->mode == LW_UPDATE_NONE) {
		commit_statistics(plan, plan->which);
		return;
	}
	plan->which = to;
	for (size_t g = 0; g < plan->groups->count; g++)
		lw_rows_count(plan, (int)g);
	plan->host_current &= lw_plan_is_shared(plan) || plan->members[0].in_place;
}

static void note_speeds(lw_plan *plan)
{
	for (size_t i = 0; i < plan->lane_count; i++) {
		lw_lane *lane = &plan->lanes[i];
		lw_member *member = &plan->members[lane->member];
		const double speed = lane->images / lane->seconds;

		/* the first step compiles kernels */
		if (!plan->balanced && plan->step > plan->arranged_at && speed > member->speed)
			member->speed = speed;
	}
}

/*
 * A driver may take as long for a program's binary as for compiling it, and not beside launches (PoCL 3.1): so not before the
 * first step has been told of.
 */
static void save_kernels(lw_plan *plan)
{
	for (size_t i = 0; i < plan->lane_count && plan->step > plan->arranged_at; i++) {
		lw_member *member = &plan->members[plan->lanes[i].member];

		if (!member->saved_kernels)
			lw_kernel_cache_save(member->device);
		member->saved_kernels = true;
	}
}

/* --- A step --- */

typedef struct batch {
	const float *images;
	const int32_t *labels;
	int count;
	float *logits;
} batch;

static lw_status give_images(lw_plan *plan, const batch *b)
{
	const size_t pixels = lw_shape_count(plan->net->input);

	LW_TRY(lw_plan_ask_images(plan, b->images));
	for (size_t i = 0; i < plan->lane_count; i++) {
		lw_lane *lane = &plan->lanes[i];

		lane->images_in = b->images + (size_t)lane->first_image * pixels;
		lane->labels_in = b->labels + lane->first_image;
	}
	return LW_OK;
}

/* Losses and hits, by image. */
static void collect_outcome(lw_plan *plan)
{
	for (size_t k = 0; k < plan->lane_count; k++) {
		const lw_lane *lane = &plan->lanes[k];
		const size_t hits = lw_round_up((size_t)lane->images, LW_ARENA_ALIGNMENT);
		float *outcome = plan->outcome + 2 * (size_t)lane->first_image;

		for (size_t i = 0; i < (size_t)lane->images; i++) {
			outcome[2 * i] = lane->host_outcome[i];
			outcome[2 * i + 1] = lane->host_outcome[hits + i];
		}
	}
}

/* After the ranks agreed that all went well. */
static lw_status gather_step(lw_plan *plan)
{
	plan->gradient_norm = plan->owner_count ? plan->domain_norms[0] : 0;
	if (plan->parcel_count) /* a rank that owns nothing does not compute it */
		LW_TRY(lw_plan_take_number(plan, plan->peers[plan->parcels[0].peer].rank, &plan->gradient_norm));
	collect_outcome(plan);
	LW_TRY(lw_plan_gather_outcome(plan, NULL));
	return find_statistics(plan);
}

static lw_status attempt_step(lw_plan *plan, void *user)
{
	bool changed = false, unbalanced;
	lw_status status;

	lw_groups_at_step(plan->groups, plan->step + 1, &changed);
	LW_TRY(lw_plan_weigh(plan, &unbalanced));
	if (changed || plan->moved || unbalanced)
		LW_TRY(lw_plan_arrange(plan));
	lw_rows_fill(&plan->rows, plan, plan->step + 1);
	for (size_t k = 0; k < plan->parcel_count; k++) {
		plan->parcels[k].arrived = 0;
		plan->parcels[k].updated = false;
		plan->parcels[k].times = (lw_parcel_times){0};
	}
	plan->owners_normed = 0;
	plan->coefficients_known = false;
	plan->exchange.waiting = 0;
	plan->began = lw_now();
	lw_post_begin(plan);
	LW_TRY(give_images(plan, user));
	status = lw_plan_conclude(plan, work(plan, lw_lane_train, true));
	if (status != LW_OK && plan->ranks) {
		LW_TRY(plan->ranks->drain(plan->ranks));
		plan->post.listening = false;
	}
	return status == LW_OK ? gather_step(plan) : status;
}

lw_status lw_plan_run(lw_plan *plan, const float *images, const int32_t *labels, lw_update_mode mode, lw_step_result *result)
{
	batch b = {.images = images, .labels = labels};
	lw_step_result r;

	plan->mode = mode;
	save_kernels(plan);
	LW_TRY(insist(plan, attempt_step, &b));
	r = judge_step(plan);
	plan->finite = r.finite;
	if (r.finite)
		commit(plan);
	note_speeds(plan);
	plan->step++;
	if (result)
		*result = r;
	return LW_OK;
}

/* --- Evaluation --- */

static lw_status attempt_evaluation(lw_plan *plan, void *user)
{
	const batch *b = user;

	LW_TRY(give_images(plan, b));
	for (size_t i = 0; i < plan->lane_count; i++) {
		lw_lane *lane = &plan->lanes[i];

		lane->evaluate_count = lw_max_int(0, lw_min_int(b->count - lane->first_image, lane->images));
		lane->logits = b->logits ? b->logits + (size_t)lane->first_image * (size_t)lw_net_classes(plan->net) : NULL;
	}
	LW_TRY(lw_plan_conclude(plan, work(plan, lw_lane_evaluate, false)));
	collect_outcome(plan);
	return lw_plan_gather_outcome(plan, b->logits);
}

lw_status lw_plan_run_evaluation(lw_plan *plan, const float *images, const int32_t *labels, int count, float *logits)
{
	batch b = {images, labels, count, logits};

	if (count < 1 || count > plan->options.batch)
		return lw_fail(LW_E_ARGUMENT, "%d images were given; 1 to the batch of %d were expected", count, plan->options.batch);
	return insist(plan, attempt_evaluation, &b);
}

/* --- The host's memory and the devices' --- */

lw_status lw_plan_fetch(lw_plan *plan)
{
	for (size_t i = 0; !plan->host_current && i < plan->owner_count; i++)
		LW_TRY(lw_owner_fetch(&plan->owners[i]));
	plan->host_current = true;
	return LW_OK;
}

void lw_plan_set_supply(lw_plan *plan, lw_plan_supply *supply, void *user)
{
	plan->supply = supply;
	plan->supply_user = user;
}

lw_status lw_plan_ask_images(lw_plan *plan, const float *images)
{
	const int *from = plan->rank_image + lw_plan_rank(plan);

	return plan->supply ? plan->supply(plan->supply_user, images, from[0], from[1] - from[0]) : LW_OK;
}

void lw_plan_stale(lw_plan *plan)
{
	for (size_t i = 0; i < plan->lane_count; i++)
		plan->lanes[i].stale = !plan->members[plan->lanes[i].member].in_place;
	for (size_t i = 0; i < plan->owner_count; i++)
		plan->owners[i].stale = !plan->members[plan->owners[i].member].in_place;
}
