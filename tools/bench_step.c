/* Whole training steps on random images: by devices, number of groups, what is frozen, gradients once or once for each group. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* What all rows share: a net, its options, and a batch. */
typedef struct work {
	lw_recipe *recipe;
	lw_net *net;
	const char *name;
	lw_optim_options optim;
	lw_plan_options plan;
	const lw_group_options *groups; /* the recipe's own; NULL: none */
	size_t group_count;
	float *images;
	int32_t *labels;
} work;

typedef struct step {
	const work *work;
	lw_plan *plan;
	lw_device *const *devices;
	size_t device_count;
	double seconds; /* that making the plan took; 0 once the first step was told of */
} step;

static void destroy_work(void *state)
{
	work *w = state;

	lw_net_destroy(&w->net);
	lw_recipe_destroy(&w->recipe);
}

static void destroy_step(void *state)
{
	step *s = state;

	lw_plan_destroy(&s->plan);
}

/* A user waits for the first step as long as it takes to compile kernels, or to read them. */
static void tell_first(step *s, double seconds)
{
	unsigned compiled = 0, cached = 0;

	for (size_t i = 0; i < s->device_count; i++) {
		unsigned c[2];

		lw_kernel_statistics(s->devices[i], &c[0], &c[1]);
		compiled += c[0];
		cached += c[1];
	}
	lw_log(LW_LOG_INFO, "%s: first step after %.2f s; so far %u kernels compiled, %u read from the cache", s->work->name,
	       s->seconds + seconds, compiled, cached);
	s->seconds = 0;
}

static lw_status run(bench *b, void *state)
{
	step *s = state;
	const double began = lw_now();
	lw_step_result result;

	(void)b;
	LW_TRY(lw_plan_step(s->plan, s->work->images, s->work->labels, &result));
	if (s->seconds > 0)
		tell_first(s, lw_now() - began);
	return LW_OK;
}

static lw_status from_recipe(work *w, const char *path)
{
	static const char *const fresh[] = {"model.weights=[]"}; /* a step takes as long from any start */

	LW_TRY(lw_recipe_read(&w->recipe, path, fresh, LW_COUNT(fresh)));
	LW_TRY(lw_recipe_net(w->recipe, &w->net, NULL));
	w->name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	w->optim = *lw_recipe_optim(w->recipe);
	w->plan = *lw_recipe_plan(w->recipe);
	w->groups = lw_recipe_groups(w->recipe, &w->group_count);
	return LW_OK;
}

static lw_status from_arch(work *w, const bench_request *r)
{
	lw_arch arch;

	lw_plan_defaults(&w->plan);
	w->name = r->arch ? r->arch : "cifar6";
	LW_TRY(lw_arch_find(&arch, w->name));
	LW_TRY(lw_arch_create(&w->net, &arch));
	w->plan.batch = arch.batch;
	LW_TRY(lw_net_initialize(w->net, LW_INIT_TORCH, 1));
	lw_optim_defaults(&w->optim);
	w->optim.rule.momentum = 0.9;
	w->optim.lr = 1e-3;
	return LW_OK;
}

static lw_status make_batch(bench *b, work *w)
{
	int channels, height, width, classes = lw_net_classes(w->net);
	size_t count;

	lw_net_input(w->net, &channels, &height, &width);
	count = (size_t)w->plan.batch * (size_t)channels * (size_t)height * (size_t)width;
	LW_TRY(bench_memory(b, &w->images, count * sizeof *w->images));
	LW_TRY(bench_memory(b, &w->labels, (size_t)w->plan.batch * sizeof *w->labels));
	for (size_t i = 0; i < count; i++)
		w->images[i] = lw_random_normal(1, 1, i);
	for (int i = 0; i < w->plan.batch; i++)
		w->labels[i] = (int32_t)(lw_random_bits(1, 2, (uint64_t)i) % (uint32_t)classes);
	return LW_OK;
}

static lw_status make_work(bench *b, work **made)
{
	const bench_request *r = b->request;
	work *w;

	LW_TRY(bench_memory(b, &w, sizeof *w));
	LW_TRY(bench_own(b, w, destroy_work));
	LW_TRY(r->recipe ? from_recipe(w, r->recipe) : from_arch(w, r));
	if (r->batch)
		w->plan.batch = r->batch;
	if (r->precision_given)
		w->plan.precision = r->precision;
	*made = w;
	return make_batch(b, w);
}

/* Names of the trainable parameters that the freeze pattern leaves; *names is the bench's. */
static lw_status list_trained(bench *b, const lw_net *net, const char *freeze, const char ***names, size_t *count)
{
	*count = 0;
	LW_TRY(bench_memory(b, names, lw_net_param_count(net) * sizeof **names));
	for (size_t i = 0; i < lw_net_param_count(net); i++) {
		lw_param_info info;

		LW_TRY(lw_net_param_info(net, i, &info));
		if (info.trainable && !(freeze && lw_glob_match(freeze, info.name)))
			(*names)[(*count)++] = info.name;
	}
	return LW_OK;
}

/* groups groups over the trainable parameters, in the net's order, each with its own rate, after one that is frozen. */
static lw_status make_groups(bench *b, const work *w, int groups, const char *const *freeze, lw_group_options **made, size_t *made_count)
{
	const char **names;
	size_t count;
	lw_group_options *options;
	char (*titles)[24];

	LW_TRY(list_trained(b, w->net, *freeze, &names, &count));
	if ((size_t)groups > count)
		return lw_fail(LW_E_ARGUMENT, "%s has %zu parameters to train, too few for %d groups", w->name, count, groups);
	LW_TRY(bench_memory(b, &options, ((size_t)groups + 1) * sizeof *options));
	LW_TRY(bench_memory(b, &titles, (size_t)groups * sizeof *titles));
	*made = options;
	if (*freeze) {
		lw_group_defaults(options);
		options->name = "frozen";
		options->match = freeze;
		options->match_count = 1;
		options->freeze = true;
		options++;
	}
	for (int g = 0; g < groups; g++, options++) {
		size_t first = count * (size_t)g / (size_t)groups, end = count * ((size_t)g + 1) / (size_t)groups;

		snprintf(titles[g], sizeof titles[g], "group%d", g + 1);
		lw_group_defaults(options);
		options->name = titles[g];
		options->match = names + first;
		options->match_count = end - first;
		options->lr = 1e-3 / (g + 1);
	}
	*made_count = (size_t)(options - *made);
	return LW_OK;
}

/* Devices that share every batch. */
typedef struct device_set {
	const char *names; /* NULL: not to be told, there is one for all rows */
	lw_device *const *devices;
	lw_device **opened;
	size_t count;
} device_set;

static void destroy_set(void *state)
{
	device_set *set = state;

	lw_devices_close(&set->opened, set->count);
}

/* Those of --on, each opened on its own; else those of --device. */
static lw_status make_sets(bench *b, device_set **sets, int *count)
{
	const bench_request *r = b->request;

	*count = lw_max_int(r->set_count, 1);
	LW_TRY(bench_memory(b, sets, (size_t)*count * sizeof **sets));
	if (!r->set_count)
		**sets = (device_set){b->device_count > 1 ? r->shared.devices : NULL, b->devices, NULL, b->device_count};
	for (int i = 0; i < r->set_count; i++) {
		device_set *set = &(*sets)[i];

		set->names = r->sets[i];
		LW_TRY(lw_devices_open(&set->opened, &set->count, set->names));
		LW_TRY(bench_own(b, set, destroy_set));
		set->devices = set->opened;
	}
	return LW_OK;
}

/* What rows differ by. */
typedef struct choice {
	const device_set *set;
	bool reproducible;
	const char *const *freeze; /* a glob, or NULL */
	int groups; /* 0: the recipe's own, or one */
	lw_gradients gradients;
} choice;

/* One device takes the whole batch, whatever the shares of several. */
static void choose_shares(const bench_request *r, const device_set *set, lw_plan_options *options)
{
	if (r->share_count && (set->count > 1 || r->set_count <= 1)) {
		options->shares = r->shares;
		options->share_count = (size_t)r->share_count;
	} else if (options->share_count != set->count) { /* a recipe's are of the devices that it names */
		options->share_count = 0;
	}
}

static void name_row(bench_row *row, const work *w, const choice *c, size_t count)
{
	const size_t groups = count - (*c->freeze != NULL);

	snprintf(row->shape, sizeof row->shape, "%.40s, batch %d", w->name, w->plan.batch);
	snprintf(row->pass, sizeof row->pass, c->gradients == LW_GRADIENTS_ONCE ? "once" : "per_group");
	snprintf(row->variant, sizeof row->variant, "%zu group%s%s%.48s%s%s%.64s", groups, groups > 1 ? "s" : "", *c->freeze ? ", frozen " : "",
		 *c->freeze ? *c->freeze : "", c->reproducible ? ", reproducible" : "", c->set->names ? ", on " : "",
		 c->set->names ? c->set->names : "");
}

static lw_status add(bench *b, const work *w, const choice *c)
{
	static const lw_tune_options tune = {.budget = 10}; /* as train's */
	lw_plan_options options = w->plan;
	lw_group_options *made = NULL;
	const lw_group_options *used = w->groups;
	size_t count = w->group_count;
	const double began = lw_now();
	lw_plan_info info;
	bench_row *row;
	step *s;

	if (c->groups || *c->freeze || !used) {
		LW_TRY(make_groups(b, w, c->groups ? c->groups : 1, c->freeze, &made, &count));
		used = made;
	}
	options.gradients = c->gradients;
	options.reproducible = c->reproducible;
	options.total_steps = 1000; /* a length for schedules that run to one */
	options.tuning = b->request->tune ? LW_TUNING_DEFAULT : LW_TUNING_OFF;
	choose_shares(b->request, c->set, &options);
	LW_TRY(bench_memory(b, &s, sizeof *s));
	s->work = w;
	s->devices = c->set->devices;
	s->device_count = c->set->count;
	LW_TRY(bench_own(b, s, destroy_step));
	LW_TRY(lw_plan_create(&s->plan, w->net, c->set->devices, c->set->count, &w->optim, used, count, &options));
	LW_TRY(lw_plan_tune(s->plan, &tune));
	LW_TRY(lw_plan_get_info(s->plan, &info));
	s->seconds = lw_now() - began;
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->state = s;
	row->unit = "images/s";
	row->peak = BENCH_FMA;
	row->amount = options.batch;
	row->activation_bytes = (double)info.activation_bytes;
	row->peak_amount = 1e-9 * (info.forward_flops + info.backward_flops);
	name_row(row, w, c, count);
	return LW_OK;
}

/* Rows on one set of devices. */
static lw_status add_rows(bench *b, const work *w, choice c)
{
	static const char *const nothing[] = {NULL};
	const bench_request *r = b->request;

	for (int f = 0; f < lw_max_int(r->freeze_count, 1); f++) {
		c.freeze = r->freeze_count ? r->freezes + f : nothing;
		for (int g = 0; g < lw_max_int(r->group_count, 1); g++) {
			c.groups = r->group_count ? r->groups[g] : 0;
			for (c.gradients = LW_GRADIENTS_ONCE; c.gradients <= LW_GRADIENTS_PER_GROUP; c.gradients++)
				if (c.gradients == LW_GRADIENTS_ONCE ? r->once : r->per_group)
					LW_TRY(add(b, w, &c));
		}
	}
	return LW_OK;
}

lw_status bench_step_rows(bench *b)
{
	device_set *sets;
	int count;
	work *w;

	LW_TRY(make_work(b, &w));
	LW_TRY(make_sets(b, &sets, &count));
	for (int i = 0; i < count; i++) {
		if (b->request->plain)
			LW_TRY(add_rows(b, w, (choice){.set = &sets[i]}));
		LW_TRY(add_rows(b, w, (choice){.set = &sets[i], .reproducible = b->request->reproducible || w->plan.reproducible}));
	}
	return LW_OK;
}

static lw_status profile(bench *b, const bench_row *row, FILE *stream)
{
	enum { STEPS = 11 }; /* the first does not count */
	const step *s = row->state;
	lw_trace *trace = NULL;
	lw_status status;

	LW_GO(lw_trace_create(&trace, s->devices, s->device_count));
	for (int i = 1; i <= STEPS; i++) {
		lw_trace_begin_step(trace, i);
		status = run(b, row->state);
		lw_trace_end_step(trace);
		if (status != LW_OK)
			goto out;
	}
	fprintf(stream, "\n%s, %s, %s:", row->shape, row->pass, row->variant);
	LW_GO(lw_report_profile(trace, stream, false));
out:
	lw_trace_destroy(&trace);
	return status;
}

lw_status bench_step_profiles(bench *b, FILE *stream)
{
	for (size_t i = 0; i < b->row_count; i++)
		if (b->rows[i].run == run)
			LW_TRY(profile(b, &b->rows[i], stream));
	return LW_OK;
}
