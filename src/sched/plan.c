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
	int *order = NULL;

	LW_GO(lw_alloc(&places, count, sizeof *places));
	LW_GO(lw_alloc(&order, count, sizeof *order));
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
	free(order);
	return status;
}

/* Slices of a reproducible step, where the batch has as many images: the sums over it that devices may share. */
enum { SLICES = 4 };

static lw_status create_executor(lw_plan *plan)
{
	lw_executor_options options = {.batch = plan->options.batch,
				       .precision = plan->options.precision,
				       .reproducible = plan->options.reproducible,
				       .slices = plan->options.reproducible ? lw_min_int(SLICES, plan->options.batch) : 0,
				       .tuning = plan->tuning,
				       .label_smoothing = plan->options.label_smoothing,
				       .seed = plan->options.seed,
				       .gradient_ready = lw_updates_gradient_ready,
				       .user = plan};
	int *pass_of_param = NULL, *pass_of_group = NULL;
	lw_status status;

	LW_GO(lw_alloc(&pass_of_param, plan->net->param_count, sizeof(int)));
	LW_GO(lw_alloc(&pass_of_group, plan->groups->count, sizeof(int)));
	for (size_t g = 0; g < plan->groups->count; g++) {
		const lw_group *group = &plan->groups->groups[g];
		bool counts = !group->frozen && group->param_count > 0;
		pass_of_group[g] = counts && plan->options.gradients == LW_GRADIENTS_PER_GROUP ? options.pass_count++ : 0;
		if (counts && plan->options.gradients == LW_GRADIENTS_ONCE)
			options.pass_count = 1;
	}
	for (size_t i = 0; i < plan->net->param_count; i++) {
		int g = plan->groups->group_of_param[i];
		pass_of_param[i] = g < 0 || plan->groups->groups[g].frozen ? -1 : pass_of_group[g];
	}
	options.pass_of_param = pass_of_param;
	lw_executor_destroy(&plan->executor);
	LW_GO(lw_executor_create(&plan->executor, plan->net, plan->queue, &plan->layout,
				 &(lw_executor_buffers){.params = {plan->params},
							.gradients = {plan->gradients},
							.loss = plan->outcome.loss,
							.correct = plan->outcome.correct},
				 &options));
out:
	free(pass_of_param);
	free(pass_of_group);
	return status;
}

lw_status lw_plan_rebuild(lw_plan *plan)
{
	lw_updates fresh;
	lw_status status = lw_updates_create(plan, &fresh, &plan->updates);

	if (status != LW_OK) {
		lw_updates_clear(&fresh, plan->groups->count);
		return status;
	}
	lw_updates_clear(&plan->updates, plan->groups->count);
	plan->updates = fresh;
	lw_executor_destroy(&plan->executor); /* it has slices of the outcome */
	lw_outcome_clear(&plan->outcome);
	LW_TRY(lw_outcome_create(plan));
	return create_executor(plan);
}

static lw_status check_options(const lw_plan_options *options, const lw_net *net)
{
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

/* A group's `device:` fixes its owner; with one device the owner can only be that one. */
static lw_status check_owners(const lw_plan *plan)
{
	for (size_t g = 0; g < plan->groups->count; g++) {
		const lw_group *group = &plan->groups->groups[g];
		lw_device *owner;
		bool same;

		if (!group->device)
			continue;
		LW_TRY(lw_device_open(&owner, group->device));
		same = strcmp(lw_device_label(owner), lw_device_label(plan->device)) == 0;
		lw_device_close(&owner);
		if (!same)
			return lw_fail(LW_E_UNSUPPORTED,
				       "group `%s`: device `%s` is not %s, which trains; this version keeps all groups there", group->name,
				       group->device, lw_device_label(plan->device));
	}
	return LW_OK;
}

static lw_status create_arenas(lw_plan *plan)
{
	size_t floats = plan->layout.floats ? plan->layout.floats : 1;
	size_t gradients = plan->layout.gradient_floats ? plan->layout.gradient_floats : 1;

	LW_TRY(lw_buf_create(&plan->params, plan->device, floats * sizeof(float)));
	LW_TRY(lw_buf_create(&plan->gradients, plan->device, gradients * sizeof(float)));
	LW_TRY(lw_queue_fill(plan->queue, plan->gradients, 0, gradients * sizeof(float), 0, NULL));
	LW_TRY(lw_queue_fill(plan->queue, plan->params, 0, floats * sizeof(float), 0, NULL));
	if (plan->statistics_floats)
		LW_TRY(lw_buf_create(&plan->statistics_before, plan->device, plan->statistics_floats * sizeof(float)));
	return lw_plan_upload(plan);
}

lw_status lw_plan_create(lw_plan **plan, lw_net *net, lw_device *const *devices, size_t device_count,
			 const lw_optim_options *optim, const lw_group_options *groups, size_t group_count,
			 const lw_plan_options *options)
{
	lw_status status;
	bool changed;
	lw_plan *p;

	*plan = NULL;
	if (device_count != 1)
		return lw_fail(LW_E_UNSUPPORTED, "%zu devices were given; this version trains on exactly one", device_count);
	LW_TRY(check_options(options, net));
	LW_TRY(lw_alloc(&p, 1, sizeof *p));
	p->net = net;
	p->options = *options;
	p->optim = *optim;
	p->device = devices[0];
	LW_GO(lw_groups_create(&p->groups, net, optim, groups, group_count));
	LW_GO(check_owners(p));
	LW_GO(lw_plan_open_tuning(p));
	LW_GO(lw_queue_create(&p->queue, p->device));
	p->context = (lw_op_context){.device = p->device,
				     .queue = p->queue,
				     .precision = options->precision,
				     .reproducible = options->reproducible,
				     .force_variant = -1};
	LW_GO(lw_alloc(&p->t, net->param_count, sizeof *p->t));
	LW_GO(lw_alloc(&p->applied, p->groups->count, sizeof *p->applied));
	LW_GO(create_layout(p));
	LW_GO(create_arenas(p));
	lw_groups_at_step(p->groups, 1, &changed);
	LW_GO(lw_plan_rebuild(p));
	LW_GO(lw_queue_finish(p->queue));
	*plan = p;
	return LW_OK;
out:
	lw_plan_destroy(&p);
	return status;
}

void lw_plan_destroy(lw_plan **plan)
{
	lw_plan *p = *plan;

	if (!p)
		return;
	if (p->queue)
		lw_queue_finish(p->queue);
	lw_executor_destroy(&p->executor);
	if (p->groups)
		lw_updates_clear(&p->updates, p->groups->count);
	lw_outcome_clear(&p->outcome);
	lw_buf_destroy(&p->statistics_before);
	lw_buf_destroy(&p->params);
	lw_buf_destroy(&p->gradients);
	lw_layout_clear(&p->layout);
	lw_groups_destroy(&p->groups);
	lw_tuning_close(&p->tuning);
	lw_queue_destroy(&p->queue);
	free(p->applied);
	free(p->t);
	free(p);
	*plan = NULL;
}

static lw_status check_labels(const lw_plan *plan, const int32_t *labels, int count)
{
	int classes = lw_net_classes(plan->net);

	for (int i = 0; i < count; i++)
		if (labels[i] < 0 || labels[i] >= classes)
			return lw_fail(LW_E_ARGUMENT, "image %d of the batch has label %d; the network has %d classes", i,
				       (int)labels[i], classes);
	return LW_OK;
}

/* Enqueues forward, backward and the norms of the step that follows the last one. */
static lw_status enqueue_gradients(lw_plan *plan, const float *images, const int32_t *labels)
{
	bool changed = false;

	LW_TRY(check_schedules(plan));
	LW_TRY(check_labels(plan, labels, plan->options.batch));
	lw_groups_at_step(plan->groups, plan->step + 1, &changed);
	if (changed)
		LW_TRY(lw_plan_rebuild(plan));
	LW_TRY(lw_updates_send_rows(plan, plan->step + 1));
	LW_TRY(lw_plan_keep_statistics(plan));
	LW_TRY(lw_executor_train(plan->executor, images, labels, (uint32_t)(plan->step + 1)));
	return lw_updates_norms(plan);
}

/* PoCL has compiled its kernels once they ran. */
static void save_kernels(lw_plan *plan)
{
	if (!plan->saved_kernels)
		lw_kernel_cache_save(plan->device);
	plan->saved_kernels = true;
}

lw_status lw_plan_prefetch(lw_plan *plan, const float *images, const int32_t *labels)
{
	return lw_executor_prefetch(plan->executor, images, labels);
}

lw_status lw_plan_step(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result)
{
	plan->computed = false;
	LW_TRY(enqueue_gradients(plan, images, labels));
	LW_TRY(lw_updates_apply_all(plan));
	LW_TRY(lw_outcome_read(plan, result));
	plan->step++;
	for (size_t g = 0; plan->finite && g < plan->groups->count; g++)
		lw_updates_count(plan, (int)g);
	save_kernels(plan);
	return LW_OK;
}

lw_status lw_compute_gradients(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result)
{
	LW_TRY(lw_queue_finish(plan->queue)); /* the rows of the step before may still be on their way */
	plan->computed = false;
	LW_TRY(enqueue_gradients(plan, images, labels));
	plan->outcome_known = false;
	memset(plan->applied, 0, plan->groups->count * sizeof *plan->applied);
	if (result)
		LW_TRY(lw_outcome_read(plan, result));
	plan->computed = true;
	plan->step++;
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
	LW_TRY(lw_updates_apply_group(plan, (int)group));
	if (plan->finite)
		lw_updates_count(plan, (int)group);
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
	if (!plan->outcome_known)
		LW_TRY(lw_outcome_read(plan, NULL));
	for (size_t g = first; g < last; g++)
		if (!plan->applied[g])
			LW_TRY(apply_one(plan, g));
	save_kernels(plan);
	return LW_OK;
}

lw_status lw_plan_get_gradient(lw_plan *plan, size_t param, float *values)
{
	if (param >= plan->net->param_count || plan->updates.row_of_param[param] < 0)
		return lw_fail(LW_E_ARGUMENT, "parameter %zu has no gradient: it is frozen, or there is none of that number", param);
	LW_TRY(lw_queue_read(plan->queue, plan->gradients, plan->layout.offsets[param] * sizeof(float),
			     plan->net->params[param].count * sizeof(float), values, NULL));
	return lw_queue_finish(plan->queue);
}

lw_status lw_plan_evaluate(lw_plan *plan, const float *images, const int32_t *labels, int count, double *loss_sum, size_t *correct,
			   float *logits)
{
	lw_outcome *o = &plan->outcome;
	size_t classes = (size_t)lw_net_classes(plan->net);

	LW_TRY(lw_queue_finish(plan->queue));
	LW_TRY(check_labels(plan, labels, count));
	LW_TRY(lw_executor_evaluate(plan->executor, images, labels, count));
	if (logits)
		LW_TRY(lw_queue_read(plan->queue, lw_executor_logits(plan->executor), 0, (size_t)count * classes * sizeof(float), logits,
				     NULL));
	LW_TRY(lw_queue_read(plan->queue, o->buf, 0, o->norms_at * sizeof(float), o->host, NULL));
	LW_TRY(lw_queue_finish(plan->queue));
	for (int i = 0; i < count; i++) {
		*loss_sum += o->host[i];
		*correct += o->host[o->correct_at + (size_t)i] > 0.5f;
	}
	return LW_OK;
}
