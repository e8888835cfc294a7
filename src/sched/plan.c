/* The plan: a net bound to devices, its steps, and gradients and updates one by one. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

void lw_plan_defaults(lw_plan_options *options)
{
	*options = (lw_plan_options){.batch = 64, .precision = LW_PRECISION_FAST, .gradients = LW_GRADIENTS_ONCE, .seed = 1};
}

/* Sort key of a parameter in the arena: what never trains last; then by rule, by when it trains, by group, in net order. */
typedef struct place {
	int never, rule, later, group, param;
} place;

static int compare_places(const void *a, const void *b)
{
	const int *x = a, *y = b;

	for (size_t i = 0; i < sizeof(place) / sizeof(int); i++)
		if (x[i] != y[i])
			return x[i] < y[i] ? -1 : 1;
	return 0;
}

static int rule_index(const char *name)
{
	int index = 0;

	while (lw_rule_at((size_t)index) && lw_rule_at((size_t)index) != lw_rule_find(name))
		index++;
	return index;
}

static lw_status create_layout(lw_plan *plan)
{
	size_t count = plan->net->param_count, trained = 0;
	lw_status status;
	place *places = NULL;
	int *order;

	LW_GO(lw_alloc(&places, count, sizeof *places));
	LW_GO(lw_alloc(&plan->order, count, sizeof *plan->order));
	order = plan->order;
	for (size_t i = 0; i < count; i++) {
		int g = plan->groups->group_of_param[i];
		const lw_group *group = g < 0 ? NULL : &plan->groups->groups[g];
		bool never = !group || (group->frozen && !group->unfreeze_at);
		places[i] = (place){never, group ? rule_index(group->rule.rule) : 0, group && group->frozen, g, (int)i};
		trained += !never;
	}
	qsort(places, count, sizeof *places, compare_places);
	for (size_t i = 0; i < count; i++)
		order[i] = places[i].param;
	LW_GO(lw_layout_create(&plan->layout, plan->net, order, trained));
	/* what no group claims stands first among what never trains */
	plan->statistics_at = plan->layout.gradient_floats;
	for (size_t i = trained; i < count && plan->groups->group_of_param[order[i]] < 0; i++)
		plan->statistics_floats += lw_round_up(plan->net->params[order[i]].count, LW_ARENA_ALIGNMENT);
	if (plan->layout.floats > INT32_MAX)
		status = lw_fail(LW_E_UNSUPPORTED, "the network has %zu parameters; at most %d can be held",
				 plan->layout.floats, INT32_MAX);
out:
	free(places);
	return status;
}

static lw_status check_options(const lw_plan_options *options, const lw_net *net)
{
	if (options->slices < 0 || options->slices > LW_MAX_SLICES)
		return lw_fail(LW_E_ARGUMENT, "slices: %d; 0 (the usual number) to %d were expected", options->slices, LW_MAX_SLICES);
	if (options->batch < 1)
		return lw_fail(LW_E_ARGUMENT, "batch: %d; at least 1 was expected", options->batch);
	if (!(options->label_smoothing >= 0 && options->label_smoothing < 1))
		return lw_fail(LW_E_ARGUMENT, "label_smoothing: %g; 0 or more and below 1 was expected", options->label_smoothing);
	if ((double)lw_shape_count(net->input) * options->batch > (double)INT32_MAX)
		return lw_fail(LW_E_ARGUMENT, "batch: %d images of this size are too many", options->batch);
	return LW_OK;
}

static lw_status check_schedules(const lw_plan *plan)
{
	for (size_t g = 0; g < plan->groups->count; g++) {
		lw_status status = lw_schedule_check_total(&plan->groups->groups[g].schedule, plan->options.total_steps);
		if (status != LW_OK)
			return lw_fail_prefix(status, "group `%s`", plan->groups->groups[g].name);
	}
	return LW_OK;
}

/* --- Members --- */

static lw_status add_member(lw_plan *plan, lw_device *device, bool opened)
{
	lw_member *member = &plan->members[plan->member_count++];

	*member = (lw_member){.device = device, .opened = opened};
	LW_TRY(lw_queue_create(&member->queue, device));
	lw_queue_name(member->queue, opened ? "updates" : "compute");
	return lw_plan_open_tuning(plan, member);
}

static int find_member(const lw_plan *plan, const char *label)
{
	for (size_t i = 0; i < plan->member_count; i++)
		if (strcmp(lw_device_label(plan->members[i].device), label) == 0)
			return (int)i;
	return -1;
}

/* The first CPU of the plan, or else of the machine. */
static lw_status find_cpu(const lw_plan *plan, char *name, size_t size)
{
	lw_device_info *list;
	size_t count;

	for (size_t i = 0; i < plan->member_count; i++)
		if (lw_device_get_info(plan->members[i].device)->type == LW_DEVICE_CPU) {
			snprintf(name, size, "%s", lw_device_label(plan->members[i].device));
			return LW_OK;
		}
	LW_TRY(lw_device_list(&list, &count));
	name[0] = '\0';
	for (size_t i = 0; i < count && !name[0]; i++)
		if (list[i].type == LW_DEVICE_CPU)
			snprintf(name, size, "%d:%d", list[i].platform_index, list[i].device_index);
	lw_device_list_free(&list);
	return name[0] ? LW_OK : lw_fail(LW_E_DEVICE, "there is no CPU device to keep its state");
}

/* A group's `device:` fixes its owner, a member; one that computes nothing is opened for that. */
static lw_status find_owner(lw_plan *plan, const char *name, int *owner)
{
	char cpu[64];
	lw_device *device;

	*owner = find_member(plan, name);
	if (*owner >= 0)
		return LW_OK;
	if (strcmp(name, "cpu") == 0) {
		LW_TRY(find_cpu(plan, cpu, sizeof cpu));
		name = cpu;
	}
	LW_TRY(lw_device_open(&device, name));
	*owner = find_member(plan, lw_device_label(device));
	if (*owner >= 0) {
		lw_device_close(&device);
		return LW_OK;
	}
	*owner = (int)plan->member_count;
	return add_member(plan, device, true);
}

static lw_status create_members(lw_plan *plan, lw_device *const *devices, size_t count)
{
	const lw_groups *groups = plan->groups;

	LW_TRY(lw_alloc(&plan->members, count + groups->count, sizeof *plan->members));
	LW_TRY(lw_alloc(&plan->owner_of_group, groups->count, sizeof(int)));
	for (size_t i = 0; i < count; i++)
		LW_TRY(add_member(plan, devices[i], false));
	for (size_t g = 0; g < groups->count; g++) {
		lw_status status = LW_OK;

		plan->owner_of_group[g] = -1;
		if (groups->groups[g].device)
			status = find_owner(plan, groups->groups[g].device, &plan->owner_of_group[g]);
		if (status != LW_OK)
			return lw_fail_prefix(status, "group `%s`", groups->groups[g].name);
	}
	return LW_OK;
}

static lw_status create_arenas(lw_plan *plan)
{
	for (int k = 0; k < 2; k++)
		LW_TRY(lw_arena_create(&plan->params[k], plan->layout.floats, plan->member_count));
	LW_TRY(lw_alloc(&plan->gradients, LW_MAX_RUNS, sizeof *plan->gradients));
	for (size_t i = 0; i < plan->member_count; i++) {
		lw_member *member = &plan->members[i];
		lw_buf *params;

		LW_TRY(lw_arena_buf(&plan->params[0], i, member->device, &params));
		member->in_place = lw_buf_in_place(params);
		if (lw_plan_is_shared(plan))
			LW_TRY(lw_member_measure(plan, member));
	}
	return lw_plan_upload(plan);
}

/* Rank 0's, for all: it owns what groups' `device:` names. Its members come first among the peers. */
static lw_status take_owners(lw_plan *plan)
{
	for (size_t g = 0; plan->ranks && g < plan->groups->count; g++) {
		double owner = plan->owner_of_group[g];

		LW_TRY(lw_plan_take_number(plan, 0, &owner));
		plan->owner_of_group[g] = (int)owner;
	}
	return LW_OK;
}

static lw_status check_devices(const lw_plan_options *options, lw_device *const *devices, size_t count)
{
	if (!count)
		return lw_fail(LW_E_ARGUMENT, "a plan needs at least one device");
	if (count > LW_MAX_RUNS)
		return lw_fail(LW_E_UNSUPPORTED, "%zu devices were given; at most %d can share a batch", count, LW_MAX_RUNS);
	for (size_t i = 1; i < count; i++)
		for (size_t k = 0; k < i; k++)
			if (devices[i] == devices[k])
				return lw_fail(LW_E_ARGUMENT, "device %s is given twice", lw_device_label(devices[i]));
	if (options->share_count && options->share_count != count)
		return lw_fail(LW_E_ARGUMENT, "shares: %zu numbers for %zu devices; one for each was expected", options->share_count, count);
	for (size_t i = 0; i < options->share_count; i++)
		if (!(options->shares[i] >= 0 && isfinite(options->shares[i])))
			return lw_fail(LW_E_ARGUMENT, "shares: %g; a number of 0 or more was expected", options->shares[i]);
	return LW_OK;
}

/* Reproducible sums are cut where the recipe says, whatever devices there are; else in few slices, for each costs a sum of its own. */
static int slices_of(const lw_plan_options *options)
{
	const int usual = options->batch < 16 ? 2 : 4;

	if (!options->reproducible)
		return 0;
	return lw_min_int(options->slices ? options->slices : usual, options->batch);
}

lw_status lw_plan_create(lw_plan **plan, lw_net *net, lw_device *const *devices, size_t device_count,
			 const lw_optim_options *optim, const lw_group_options *groups, size_t group_count,
			 const lw_plan_options *options)
{
	lw_status status;
	bool changed;
	lw_plan *p;

	*plan = NULL;
	LW_TRY(check_options(options, net));
	LW_TRY(check_devices(options, devices, device_count));
	LW_TRY(lw_alloc(&p, 1, sizeof *p));
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->changed, NULL);
	p->net = net;
	p->options = *options;
	p->optim = *optim;
	p->slices = slices_of(options);
	p->ranks = options->ranks;
	p->host_current = true;
	if (options->share_count) {
		LW_GO(lw_alloc(&p->shares, device_count + group_count, sizeof *p->shares));
		memcpy(p->shares, options->shares, device_count * sizeof *p->shares);
	}
	LW_GO(lw_groups_create(&p->groups, net, optim, groups, group_count));
	LW_GO(create_members(p, devices, device_count));
	LW_GO(lw_alloc(&p->t, net->param_count, sizeof *p->t));
	LW_GO(lw_alloc(&p->applied, p->groups->count, sizeof *p->applied));
	LW_GO(create_layout(p));
	LW_GO(create_arenas(p));
	LW_GO(take_owners(p));
	LW_GO(lw_alloc(&p->outcome, 2 * (size_t)options->batch, sizeof *p->outcome));
	LW_GO(lw_alloc(&p->statistics, p->statistics_floats, sizeof *p->statistics));
	lw_groups_at_step(p->groups, 1, &changed);
	LW_GO(lw_plan_arrange(p));
	*plan = p;
	return LW_OK;
out:
	lw_plan_destroy(&p);
	return status;
}

static void clear_member(lw_member *member)
{
	lw_tuning_close(&member->tuning);
	lw_queue_destroy(&member->queue);
	lw_queue_destroy(&member->updates);
	lw_queue_destroy(&member->transfers);
	if (member->opened)
		lw_device_close(&member->device);
}

void lw_plan_destroy(lw_plan **plan)
{
	lw_plan *p = *plan;

	if (!p)
		return;
	lw_plan_disband(p);
	for (int k = 0; k < 2; k++) {
		lw_arena_clear(&p->params[k]);
		for (int s = 0; s < LW_RULE_MAX_STATES; s++)
			lw_arena_clear(&p->states[s][k]);
		free(p->exchange.staging[k]);
	}
	for (int r = 0; p->gradients && r < LW_MAX_RUNS; r++)
		lw_arena_clear(&p->gradients[r]);
	for (size_t i = 0; i < p->member_count; i++)
		clear_member(&p->members[i]);
	lw_layout_clear(&p->layout);
	lw_groups_destroy(&p->groups);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->changed);
	free(p->gradients);
	free(p->members);
	free(p->owner_of_group);
	free(p->outcome);
	free(p->statistics);
	free(p->shares);
	free(p->order);
	free(p->applied);
	free(p->t);
	free(p);
	*plan = NULL;
}

/* --- Steps --- */

static lw_status check_labels(const lw_plan *plan, const int32_t *labels, int count)
{
	int classes = lw_net_classes(plan->net);

	for (int i = 0; i < count; i++)
		if (labels[i] < 0 || labels[i] >= classes)
			return lw_fail(LW_E_ARGUMENT, "image %d of the batch has label %d; the network has %d classes", i,
				       (int)labels[i], classes);
	return LW_OK;
}

lw_status lw_plan_prefetch(lw_plan *plan, const float *images, const int32_t *labels)
{
	LW_TRY(lw_plan_ask_images(plan, images));
	for (size_t i = 0; i < plan->lane_count; i++) {
		const lw_status status = lw_lane_prefetch(&plan->lanes[i], images, labels);

		if (status != LW_OK && !lw_plan_is_shared(plan))
			return status;
		if (status != LW_OK) /* the step will meet it, too, and go on without the device */
			lw_log(LW_LOG_DEBUG, "a batch was not fetched ahead: %s", lw_last_error());
	}
	return LW_OK;
}

static lw_status check_step(const lw_plan *plan, const int32_t *labels)
{
	LW_TRY(check_schedules(plan));
	return check_labels(plan, labels, plan->options.batch);
}

lw_status lw_plan_step(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result)
{
	plan->computed = false;
	LW_TRY(check_step(plan, labels));
	return lw_plan_run(plan, images, labels, LW_UPDATE_ALL, result);
}

lw_status lw_compute_gradients(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result)
{
	plan->computed = false;
	LW_TRY(check_step(plan, labels));
	LW_TRY(lw_plan_run(plan, images, labels, LW_UPDATE_NONE, result));
	memset(plan->applied, 0, plan->groups->count * sizeof *plan->applied);
	plan->computed = true;
	return LW_OK;
}

static lw_status find_group(const lw_plan *plan, const char *name, size_t *group)
{
	const lw_groups *groups = plan->groups;

	for (size_t g = 0; g < groups->count; g++)
		if (strcmp(name, groups->groups[g].name) == 0) {
			*group = g;
			return LW_OK;
		}
	return lw_fail_suggest(LW_E_ARGUMENT, lw_nearest_named(name, groups->groups, groups->count, sizeof *groups->groups),
			       "no group is named `%s`", name);
}

static lw_status apply_one(lw_plan *plan, size_t group)
{
	plan->applied[group] = true;
	if (plan->groups->groups[group].frozen)
		return LW_OK;
	for (size_t i = 0; i < plan->owner_count; i++)
		LW_TRY(lw_owner_apply(&plan->owners[i], (int)group));
	LW_TRY(lw_plan_spread(plan, &plan->params[plan->which], -1));
	for (size_t i = 0; i < plan->lane_count; i++) /* copies of what another device owns */
		plan->lanes[i].stale = lw_plan_is_shared(plan) && !plan->members[plan->lanes[i].member].in_place;
	plan->host_current &= lw_plan_is_shared(plan) || plan->members[0].in_place;
	if (plan->finite)
		lw_rows_count(plan, (int)group);
	return LW_OK;
}

lw_status lw_apply_gradients(lw_plan *plan, const char *name)
{
	size_t first = 0, last = plan->groups->count;

	if (!plan->computed)
		return lw_fail(LW_E_ARGUMENT, "there are no gradients to apply; lw_compute_gradients comes first");
	if (name) {
		LW_TRY(find_group(plan, name, &first));
		last = first + 1;
		if (plan->applied[first])
			return lw_fail(LW_E_ARGUMENT, "group `%s` was applied already for these gradients", name);
	}
	for (size_t g = first; g < last; g++)
		if (!plan->applied[g])
			LW_TRY(apply_one(plan, g));
	return LW_OK;
}

/* Where the whole batch's gradient is: its owner summed it into the first run's. */
static lw_status fetch_gradient(lw_plan *plan, size_t param)
{
	for (int k = plan->first_parcel[param]; k <= plan->last_parcel[param]; k++) {
		const lw_plan_parcel *parcel = &plan->parcels[k];
		lw_queue *queue;

		if (parcel->owner < 0)
			return lw_fail(LW_E_UNSUPPORTED, "the gradient of %s is with another rank", plan->net->params[param].name);
		queue = plan->members[parcel->owner].queue;
		LW_TRY(lw_arena_fetch(&plan->gradients[0], (size_t)parcel->owner, queue, parcel->offset, parcel->floats));
		LW_TRY(lw_queue_finish(queue));
	}
	return LW_OK;
}

lw_status lw_plan_get_gradient(lw_plan *plan, size_t param, float *values)
{
	if (param >= plan->net->param_count || plan->rows.of_param[param] < 0)
		return lw_fail(LW_E_ARGUMENT, "parameter %zu has no gradient: it is frozen, or there is none of that number", param);
	LW_TRY(fetch_gradient(plan, param));
	memcpy(values, plan->gradients[0].memory + plan->layout.offsets[param], plan->net->params[param].count * sizeof(float));
	return LW_OK;
}

lw_status lw_plan_evaluate(lw_plan *plan, const float *images, const int32_t *labels, int count, double *loss_sum, size_t *correct,
			   float *logits)
{
	LW_TRY(check_labels(plan, labels, lw_min_int(count, plan->options.batch)));
	LW_TRY(lw_plan_run_evaluation(plan, images, labels, count, logits));
	for (int i = 0; i < count; i++) {
		*loss_sum += plan->outcome[2 * i];
		*correct += plan->outcome[2 * i + 1] > 0.5f;
	}
	return LW_OK;
}

lw_status lw_plan_move_group(lw_plan *plan, const char *group, const char *device)
{
	size_t index = 0;
	int owner = -1;

	LW_TRY(find_group(plan, group, &index));
	for (size_t i = 0; device && i < plan->peer_count && owner < 0; i++)
		if (strcmp(plan->peers[i].label, device) == 0)
			owner = (int)i;
	if (device && owner < 0)
		return lw_fail(LW_E_ARGUMENT, "group `%s`: `%s` is none of the plan's devices", group, device);
	plan->owner_of_group[index] = owner;
	plan->moved = true;
	return LW_OK;
}
