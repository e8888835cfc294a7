/* What ranks tell each other between steps: their devices, whether all went well, what a step came to. */
#include "sched/sched.h"

#include <stdlib.h>
#include <string.h>

/* Offsets of parts, one a rank, from their sizes; each[rank] is a size. */
static lw_status gather_parts(lw_plan *plan, void *data, const size_t *each)
{
	lw_status status;
	size_t *offsets;

	LW_TRY(lw_alloc(&offsets, (size_t)plan->ranks->count + 1, sizeof *offsets));
	for (int r = 0; r < plan->ranks->count; r++)
		offsets[r + 1] = offsets[r] + each[r];
	status = plan->ranks->gather(plan->ranks, data, offsets);
	free(offsets);
	return status;
}

/* One record of each rank; all[own rank] is set. */
static lw_status gather_each(lw_plan *plan, void *all, size_t bytes)
{
	lw_status status;
	size_t *each;

	LW_TRY(lw_alloc(&each, (size_t)plan->ranks->count, sizeof *each));
	for (int r = 0; r < plan->ranks->count; r++)
		each[r] = bytes;
	status = gather_parts(plan, all, each);
	free(each);
	return status;
}

/* --- Devices --- */

/* What a device is taken for before it was measured; only how they compare matters. */
static double guess(const lw_device_info *info)
{
	return info->compute_units * (info->type == LW_DEVICE_GPU ? 20.0 : 1.0) * (info->fast_fma ? 1.0 : 0.1);
}

static void describe(const lw_plan *plan, size_t index, lw_peer *peer)
{
	const lw_member *member = &plan->members[index];
	const lw_device_info *info = lw_device_get_info(member->device);
	const int rank = lw_plan_rank(plan);

	*peer = (lw_peer){.rank = rank,
			  .member = (int)index,
			  .lost = member->lost,
			  .computes = !member->lost && !member->opened,
			  .in_place = member->in_place,
			  .speed = member->speed,
			  .guess = guess(info),
			  .share = plan->shares ? plan->shares[index] : 0,
			  .update_bandwidth = member->update_bandwidth,
			  .link_bandwidth = member->link_bandwidth,
			  .memory = info->global_memory};
	if (plan->ranks)
		snprintf(peer->label, sizeof peer->label, "%s of rank %d", lw_device_label(member->device), rank);
	else
		snprintf(peer->label, sizeof peer->label, "%s", lw_device_label(member->device));
}

static lw_status gather_counts(lw_plan *plan, size_t *counts)
{
	counts[lw_plan_rank(plan)] = plan->member_count;
	return plan->ranks ? gather_each(plan, counts, sizeof *counts) : LW_OK;
}

lw_status lw_plan_list_peers(lw_plan *plan, lw_peer **peers, size_t *count)
{
	const int ranks = lw_plan_rank_count(plan);
	size_t *counts = NULL, first = 0;
	lw_status status;

	*peers = NULL;
	*count = 0;
	LW_GO(lw_alloc(&counts, (size_t)ranks, sizeof *counts));
	LW_GO(gather_counts(plan, counts));
	for (int r = 0; r < ranks; r++) {
		first += r < lw_plan_rank(plan) ? counts[r] : 0;
		*count += counts[r];
	}
	LW_GO(lw_alloc(peers, *count, sizeof **peers));
	for (size_t i = 0; i < plan->member_count; i++)
		describe(plan, i, &(*peers)[first + i]);
	for (int r = 0; r < ranks; r++)
		counts[r] *= sizeof **peers;
	if (plan->ranks)
		LW_GO(gather_parts(plan, *peers, counts));
out:
	free(counts);
	if (status != LW_OK) {
		free(*peers);
		*peers = NULL;
	}
	return status;
}

/* --- Whether all went well --- */

typedef struct verdict {
	int status;
	size_t lost, left;
	char text[512];
} verdict;

lw_status lw_plan_agree(lw_plan *plan, lw_status status, size_t *lost, size_t *left)
{
	verdict *all, *own;
	int first = -1;

	if (!plan->ranks)
		return status;
	LW_TRY(lw_alloc(&all, (size_t)plan->ranks->count, sizeof *all));
	own = &all[plan->ranks->index];
	*own = (verdict){.status = status, .lost = *lost, .left = *left};
	if (status != LW_OK)
		snprintf(own->text, sizeof own->text, "%s", lw_last_error());
	status = gather_each(plan, all, sizeof *all);
	*lost = *left = 0;
	for (int r = 0; status == LW_OK && r < plan->ranks->count; r++) {
		const int worst = first < 0 ? LW_OK : all[first].status;

		*lost += all[r].lost;
		*left += all[r].left;
		/* that another failed is no reason */
		if (all[r].status != LW_OK && (worst == LW_OK || worst == LW_E_INTERRUPTED))
			first = r;
	}
	if (first >= 0)
		status = first == plan->ranks->index ? lw_fail(all[first].status, "%s", all[first].text) :
						       lw_fail(all[first].status, "rank %d: %s", first, all[first].text);
	plan->ranks->failed_together = first >= 0;
	free(all);
	return status;
}

lw_status lw_plan_largest(lw_plan *plan, int64_t *number)
{
	lw_status status;
	int64_t *all;

	if (!plan->ranks)
		return LW_OK;
	LW_TRY(lw_alloc(&all, (size_t)plan->ranks->count, sizeof *all));
	all[plan->ranks->index] = *number;
	status = gather_each(plan, all, sizeof *all);
	for (int r = 0; status == LW_OK && r < plan->ranks->count; r++)
		if (all[r] > *number)
			*number = all[r];
	free(all);
	return status;
}

/* --- What a step came to --- */

lw_status lw_plan_take_number(lw_plan *plan, int from, double *number)
{
	lw_status status;
	double *all;

	if (!plan->ranks)
		return LW_OK;
	LW_TRY(lw_alloc(&all, (size_t)plan->ranks->count, sizeof *all));
	all[plan->ranks->index] = *number;
	status = gather_each(plan, all, sizeof *all);
	if (status == LW_OK)
		*number = all[from];
	free(all);
	return status;
}

/* What is there by image, of which each rank has its own images'. */
static lw_status gather_images(lw_plan *plan, void *data, size_t bytes_per_image)
{
	lw_status status;
	size_t *each;

	LW_TRY(lw_alloc(&each, (size_t)plan->ranks->count, sizeof *each));
	for (int r = 0; r < plan->ranks->count; r++)
		each[r] = (size_t)(plan->rank_image[r + 1] - plan->rank_image[r]) * bytes_per_image;
	status = gather_parts(plan, data, each);
	free(each);
	return status;
}

lw_status lw_plan_gather_outcome(lw_plan *plan, float *logits)
{
	if (!plan->ranks)
		return LW_OK;
	LW_TRY(gather_images(plan, plan->outcome, 2 * sizeof(float)));
	return logits ? gather_images(plan, logits, (size_t)lw_net_classes(plan->net) * sizeof(float)) : LW_OK;
}

lw_status lw_plan_sum(lw_plan *plan, double *values, size_t count)
{
	lw_status status;
	double *all;

	if (!plan->ranks)
		return LW_OK;
	LW_TRY(lw_alloc(&all, (size_t)plan->ranks->count * count, sizeof *all));
	memcpy(all + (size_t)plan->ranks->index * count, values, count * sizeof *all);
	status = gather_each(plan, all, count * sizeof *all);
	for (size_t i = 0; status == LW_OK && i < count; i++) {
		values[i] = 0;
		for (int r = 0; r < plan->ranks->count; r++)
			values[i] += all[(size_t)r * count + i];
	}
	free(all);
	return status;
}
