/* The update rules on a device: bits of the plain C twins, for every form of the kernels, and nothing else touched. */
#include "op/runner.h"
#include "optim/twins.h"

#include <stdlib.h>

/* Groups of three rules; every launch mixes all of a rule. */
static const lw_rule_options group_options[] = {
	{.rule = "sgd"},
	{.rule = "sgd", .weight_decay = 0.05},
	{.rule = "sgd", .momentum = 0.9},
	{.rule = "sgd", .momentum = 0.9, .dampening = 0.3, .weight_decay = 0.01},
	{.rule = "sgd", .momentum = 0.8, .nesterov = true, .weight_decay = 0.01},
	{.rule = "sgd", .momentum = 0.95, .caffe = true, .weight_decay = 0.02},
	{.rule = "adam", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
	{.rule = "adam", .beta1 = 0.8, .beta2 = 0.99, .eps = 1e-6, .weight_decay = 0.1},
	{.rule = "adam", .beta1 = 0.9, .beta2 = 0.99, .eps = 1e-8, .amsgrad = true, .weight_decay = 0.01},
	{.rule = "adam", .beta1 = 0.0, .beta2 = 0.0, .eps = 1e-30},
	{.rule = "adamw", .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8},
	{.rule = "adamw", .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.3},
	{.rule = "adamw", .beta1 = 0.7, .beta2 = 0.9, .eps = 1e-7, .amsgrad = true, .weight_decay = 0.1},
};

/* Lengths of the segments, with a few floats that belong to nobody after each; every fifth segment is frozen. */
static const int lengths[] = {1, 17, 64, 5,   3, 16, 8,	 31,  100,  2, 4,     33,
			      7, 15, 65, 256, 9, 63, 12, 257, 1000, 6, 16389, 513};
enum { QUICK_LENGTHS = 20, GAP = 3, STEPS = 4, MAX_GROUPS = 8, MAX_CHUNKS = 64, GRADIENT_STREAM = 100 };

/* A way to fill the arenas. */
typedef enum values_kind { ORDINARY, TINY, SPECIAL, VALUES_KINDS } values_kind;

typedef struct arenas {
	size_t floats;
	float *p, *g, *states[LW_RULE_MAX_STATES]; /* the twin's */
	float *got;
	lw_test_buf device_p, device_g, device_states[LW_RULE_MAX_STATES];
} arenas;

typedef struct problem {
	const lw_rule *rule;
	const lw_rule_options *groups[MAX_GROUPS];
	int group_count;
	lw_chunk chunks[MAX_CHUNKS]; /* row: the group; -1: frozen */
	int chunk_count;
	values_kind kind;
	bool separate; /* a launch per chunk, and what is new goes elsewhere first */
} problem;

/* Floats from huge to denormal in TINY, so that products of them are denormal, too. */
static void fill(float *values, size_t count, values_kind kind, uint32_t stream)
{
	static const float factors[] = {1.0f, 1.0f, 0x1p-20f, 0x1p-64f, 0x1p-126f, 0x1p-140f};

	lw_test_fill(values, count, kind == SPECIAL ? LW_VALUES_SPECIAL : LW_VALUES_RANDOM, 7, stream);
	for (size_t i = 0; kind == TINY && i < count; i++)
		values[i] *= factors[lw_random_bits(8, stream, i) % LW_COUNT(factors)];
}

static void destroy_arenas(arenas *a)
{
	lw_test_buf_destroy(&a->device_p);
	lw_test_buf_destroy(&a->device_g);
	for (int s = 0; s < LW_RULE_MAX_STATES; s++) {
		lw_test_buf_destroy(&a->device_states[s]);
		free(a->states[s]);
	}
	free(a->p);
	free(a->g);
	free(a->got);
}

/* States start as poison: nothing of it may be read. */
static lw_status create_arenas(lw_test_run *run, const problem *pr, size_t floats, arenas *a)
{
	*a = (arenas){.floats = floats};
	LW_TRY(lw_alloc(&a->p, floats, sizeof(float)));
	LW_TRY(lw_alloc(&a->g, floats, sizeof(float)));
	LW_TRY(lw_alloc(&a->got, floats, sizeof(float)));
	fill(a->p, floats, pr->kind, 1);
	LW_TRY(lw_test_buf_create(run, &a->device_p, floats * sizeof(float), false, a->p));
	LW_TRY(lw_test_buf_create(run, &a->device_g, floats * sizeof(float), false, NULL));
	for (int s = 0; s < LW_RULE_MAX_STATES; s++) {
		const uint32_t poison = LW_TEST_POISON;

		LW_TRY(lw_alloc(&a->states[s], floats, sizeof(float)));
		for (size_t i = 0; i < floats; i++)
			memcpy(&a->states[s][i], &poison, sizeof poison);
		if (s < pr->rule->state_count)
			LW_TRY(lw_test_buf_create(run, &a->device_states[s], floats * sizeof(float), false, NULL));
	}
	return LW_OK;
}

/* Group r joins at step 1 + r % 3: its t then starts at 1. */
static int64_t updates_of(int group, int step) { return step - group % 3; }

static double lr_of(int group, int step) { return 0.01 * (1 + group) / step; }

/* No clipping at all at step 1; later some groups are clipped, and one is left alone. */
static float scale_of(int group, int step)
{
	if (step == 3 && group == 1)
		return NAN;
	return step > 1 && group % 2 ? 0.37f : 1.0f;
}

static void step_on_host(const problem *pr, arenas *a, int step)
{
	for (int c = 0; c < pr->chunk_count; c++) {
		const lw_chunk *chunk = &pr->chunks[c];
		const size_t at = (size_t)chunk->offset;
		twin_step twin;

		if (chunk->row < 0 || updates_of(chunk->row, step) < 1)
			continue;
		twin = (twin_step){pr->groups[chunk->row], lr_of(chunk->row, step),
				   pr->groups[chunk->row]->weight_decay, updates_of(chunk->row, step),
				   scale_of(chunk->row, step)};
		twin_update(&twin, (size_t)chunk->length, a->p + at, a->g + at,
			    (float *[]){a->states[0] + at, a->states[1] + at, a->states[2] + at});
	}
}

static lw_status copy_one(lw_test_run *run, size_t floats, lw_buf *old, lw_buf **new, bool back)
{
	const size_t bytes = floats * sizeof(float);

	if (!old)
		return LW_OK;
	if (back)
		return lw_queue_copy(run->context.queue, *new, 0, old, 0, bytes, NULL);
	LW_TRY(lw_buf_create(new, lw_queue_device(run->context.queue), bytes));
	return lw_queue_copy(run->context.queue, old, 0, *new, 0, bytes, NULL);
}

/* Makes the new arenas as copies of the old ones; or copies them back, after an update that should have changed the chunks only. */
static lw_status copy_all(lw_test_run *run, size_t floats, lw_arenas *all, bool back)
{
	LW_TRY(copy_one(run, floats, all->params, &all->new_params, back));
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		LW_TRY(copy_one(run, floats, all->states[s], &all->new_states[s], back));
	return LW_OK;
}

static lw_status launch(lw_test_run *run, const problem *pr, const arenas *a, const lw_chunk *chunks, int count,
			const lw_test_buf *rows, const lw_test_buf *scale)
{
	lw_arenas all = {.params = a->device_p.buf, .gradients = a->device_g.buf};
	lw_test_buf table = {0};
	lw_status status;

	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		all.states[s] = a->device_states[s].buf;
	LW_GO(lw_test_buf_create(run, &table, (size_t)count * sizeof *chunks, true, chunks));
	if (pr->separate)
		LW_GO(copy_all(run, a->floats, &all, false));
	LW_GO(lw_rule_update(&run->context, pr->rule, table.buf, count, rows->buf, scale->buf, &all));
	if (pr->separate)
		LW_GO(copy_all(run, a->floats, &all, true));
	LW_GO(lw_queue_finish(run->context.queue));
out:
	lw_buf_destroy(&all.new_params);
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		lw_buf_destroy(&all.new_states[s]);
	lw_test_buf_destroy(&table);
	return status;
}

static lw_status step_on_device(lw_test_run *run, const problem *pr, const arenas *a, int step)
{
	float rows[MAX_GROUPS][LW_RULE_ROW] = {{0}}, scales[MAX_GROUPS] = {0};
	lw_test_buf device_rows = {0}, device_scales = {0};
	lw_chunk chunks[MAX_CHUNKS];
	lw_status status;
	int count = 0;

	for (int r = 0; r < pr->group_count; r++) {
		pr->rule->row(pr->groups[r], lr_of(r, step), pr->groups[r]->weight_decay, updates_of(r, step), rows[r]);
		scales[r] = scale_of(r, step);
	}
	for (int c = 0; c < pr->chunk_count; c++)
		if (pr->chunks[c].row >= 0 && updates_of(pr->chunks[c].row, step) >= 1)
			chunks[count++] = pr->chunks[c];
	LW_GO(lw_test_buf_create(run, &device_rows, (size_t)pr->group_count * sizeof rows[0], true, rows));
	if (step > 1)
		LW_GO(lw_test_buf_create(run, &device_scales, (size_t)pr->group_count * sizeof(float), true, scales));
	if (!pr->separate)
		LW_GO(launch(run, pr, a, chunks, count, &device_rows, &device_scales));
	for (int c = 0; pr->separate && c < count; c++)
		LW_GO(launch(run, pr, a, chunks + c, 1, &device_rows, &device_scales));
out:
	lw_test_buf_destroy(&device_rows);
	lw_test_buf_destroy(&device_scales);
	return status;
}

/* The whole arenas are compared, so frozen segments and the floats between are, too. */
static lw_status compare(lw_test_run *run, const lw_test_buf *buf, const float *expected, arenas *a, const char *where)
{
	bool intact;

	LW_TRY(lw_test_buf_read(run, buf, a->got));
	lw_test_bits(run, where, a->got, expected, a->floats);
	LW_TRY(lw_test_buf_intact(run, buf, &intact));
	if (!intact)
		lw_test_fail(run, "%s: something was written outside the arena", where);
	return LW_OK;
}

static lw_status run_problem(lw_test_run *run, const problem *pr, const char *form)
{
	const lw_chunk *last = &pr->chunks[pr->chunk_count - 1];
	static const char *const kinds[] = {"ordinary", "tiny", "special"};
	lw_status status;
	arenas a;

	LW_GO(create_arenas(run, pr, (size_t)(last->offset + last->length + GAP), &a));
	for (int step = 1; step <= STEPS; step++) {
		char where[160];

		fill(a.g, a.floats, pr->kind, GRADIENT_STREAM + (uint32_t)step);
		LW_GO(lw_queue_write(run->context.queue, a.device_g.buf, 0, a.floats * sizeof(float), a.g, NULL));
		step_on_host(pr, &a, step);
		LW_GO(step_on_device(run, pr, &a, step));
		snprintf(where, sizeof where, "%s, %s, %s values, %s, step %d: params", pr->rule->name, form,
			 kinds[pr->kind], pr->separate ? "a launch per chunk" : "one launch", step);
		LW_GO(compare(run, &a.device_p, a.p, &a, where));
		for (int s = 0; s < pr->rule->state_count; s++) {
			snprintf(where, sizeof where, "%s, %s, %s values, %s, step %d: %s", pr->rule->name, form,
				 kinds[pr->kind], pr->separate ? "a launch per chunk" : "one launch", step,
				 pr->rule->state_names[s]);
			LW_GO(compare(run, &a.device_states[s], a.states[s], &a, where));
		}
	}
out:
	destroy_arenas(&a);
	return status;
}

/* Segments in the order of their lengths, long ones in several chunks. */
static void lay_out(problem *pr, size_t length_count)
{
	int at = 0;

	pr->chunk_count = 0;
	for (size_t i = 0; i < length_count; i++) {
		for (int done = 0; done < lengths[i]; done += LW_CHUNK_FLOATS) {
			lw_chunk *chunk = &pr->chunks[pr->chunk_count++];
			*chunk = (lw_chunk){at + done, lw_min_int(lengths[i] - done, LW_CHUNK_FLOATS),
					    i % 5 == 4 ? -1 : (int)i % pr->group_count, (int)i};
		}
		at += lengths[i] + GAP;
	}
}

static lw_status run_rule(lw_test_run *run, const lw_rule *rule, const char *form, bool short_form)
{
	problem pr = {.rule = rule};

	for (size_t i = 0; i < LW_COUNT(group_options); i++)
		if (strcmp(group_options[i].rule, rule->name) == 0)
			pr.groups[pr.group_count++] = &group_options[i];
	for (int kind = 0; kind < VALUES_KINDS; kind++) {
		if (kind == TINY && !lw_device_get_info(run->context.device)->denormals)
			continue;
		pr.kind = (values_kind)kind;
		lay_out(&pr, run->quick || short_form ? QUICK_LENGTHS : LW_COUNT(lengths));
		pr.separate = false;
		LW_TRY(run_problem(run, &pr, form));
		pr.separate = true;
		if (kind == ORDINARY && !run->quick)
			LW_TRY(run_problem(run, &pr, form));
	}
	return LW_OK;
}

static lw_status run_update(lw_test_run *run)
{
	lw_status status = LW_OK;
	const int forced = run->context.force_variant;

	for (int v = 0; v < lw_update_variant_count(); v++) {
		if (!lw_update_variant_applies(&run->context, v))
			continue;
		run->context.force_variant = v;
		for (size_t i = 0; lw_rule_at(i); i++)
			LW_GO(run_rule(run, lw_rule_at(i), lw_update_variant_name(v), v == 0));
	}
out:
	run->context.force_variant = forced;
	return status;
}

const lw_check lw_check_update = {"update", run_update};
