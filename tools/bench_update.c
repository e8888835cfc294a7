/* One update launch for all groups, by rule and number of groups; as in a step from one set of parameters and state to another. */
#include "bench.h"
#include "net/net.h"
#include "op/support.h"
#include "optim/optim.h"

#include <math.h>

static const char *const default_rules[] = {"sgd", "adamw"};
static const int default_groups[] = {1, 160}, default_params[] = {11000000, 60000000};

/* All rows share params and gradients. */
typedef struct update {
	const lw_rule *rule;
	lw_op_context context;
	lw_arenas arenas;
	lw_buf *chunks, *rows;
	int chunk_count;
} update;

static void swap(lw_buf **a, lw_buf **b)
{
	lw_buf *const was = *a;

	*a = *b;
	*b = was;
}

static lw_status run(bench *b, void *state)
{
	update *u = state;

	(void)b;
	swap(&u->arenas.params, &u->arenas.new_params);
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		swap(&u->arenas.states[s], &u->arenas.new_states[s]);
	return lw_rule_update(&u->context, u->rule, u->chunks, u->chunk_count, u->rows, NULL, &u->arenas);
}

/* Cuts params floats into groups of about the same size that begin as in a plan's arena, and those into chunks. */
static lw_status make_chunks(bench *b, int params, int groups, update *u)
{
	size_t most = (size_t)params / LW_CHUNK_FLOATS + (size_t)groups + 1;
	lw_chunk *chunks;

	LW_TRY(bench_memory(b, &chunks, most * sizeof *chunks));
	for (int g = 0; g < groups; g++) {
		int64_t pieces = (params + LW_ARENA_ALIGNMENT - 1) / LW_ARENA_ALIGNMENT;
		int at = (int)(pieces * g / groups * LW_ARENA_ALIGNMENT), end = (int)(pieces * (g + 1) / groups * LW_ARENA_ALIGNMENT);

		end = lw_min_int(end, params);
		for (int length; at < end; at += length) {
			length = lw_min_int(end - at, LW_CHUNK_FLOATS);
			chunks[u->chunk_count++] = (lw_chunk){.offset = at, .length = length, .row = g, .param = g};
		}
	}
	LW_TRY(lw_buf_create(&u->chunks, b->device, (size_t)u->chunk_count * sizeof *chunks));
	return lw_queue_write(b->queue, u->chunks, 0, (size_t)u->chunk_count * sizeof *chunks, chunks, NULL);
}

static void destroy_tables(void *state)
{
	update *u = state;

	lw_buf_destroy(&u->chunks);
	lw_buf_destroy(&u->rows);
}

static lw_status make_tables(bench *b, const lw_rule_options *options, int params, int groups, update *u)
{
	float *rows;

	LW_TRY(bench_own(b, u, destroy_tables));
	LW_TRY(make_chunks(b, params, groups, u));
	LW_TRY(bench_memory(b, &rows, (size_t)groups * LW_RULE_ROW * sizeof *rows));
	for (int g = 0; g < groups; g++)
		u->rule->row(options, 1e-6 / (g + 1), options->weight_decay, 1000, rows + g * LW_RULE_ROW);
	LW_TRY(lw_buf_create(&u->rows, b->device, (size_t)groups * LW_RULE_ROW * sizeof *rows));
	LW_TRY(lw_queue_write(b->queue, u->rows, 0, (size_t)groups * LW_RULE_ROW * sizeof *rows, rows, NULL));
	return lw_queue_finish(b->queue);
}

static lw_status add(bench *b, const lw_rule_options *options, const lw_arenas *shared, int params, int groups)
{
	const lw_rule *rule = lw_rule_find(options->rule);
	bench_row *row;
	update *u;

	if (groups > (params + LW_ARENA_ALIGNMENT - 1) / LW_ARENA_ALIGNMENT)
		return lw_fail(LW_E_ARGUMENT, "%d parameters are too few for %d groups", params, groups);
	LW_TRY(bench_memory(b, &u, sizeof *u));
	*u = (update){.rule = rule, .context = b->context, .arenas = *shared};
	LW_TRY(make_tables(b, options, params, groups, u));
	LW_TRY(bench_add(b, &row));
	row->run = run;
	row->cold = true;
	row->state = u;
	row->unit = "GB/s";
	row->peak = BENCH_TRIAD;
	row->amount = row->peak_amount = 1e-9 * rule->bytes_per_param(options) * params;
	snprintf(row->shape, sizeof row->shape, "%d", params);
	snprintf(row->pass, sizeof row->pass, "%s", rule->name);
	snprintf(row->variant, sizeof row->variant, "%d group%s, %d chunks", groups, groups > 1 ? "s" : "", u->chunk_count);
	return LW_OK;
}

static lw_status add_rule(bench *b, const char *name, int params, lw_arenas shared)
{
	const bench_request *r = b->request;
	lw_optim_options optim;
	const lw_rule *rule = lw_rule_find(name);
	unsigned states;

	if (!rule)
		return lw_fail(LW_E_ARGUMENT, "there is no update rule `%s`", name);
	lw_optim_defaults(&optim);
	optim.rule.rule = rule->name;
	optim.rule.momentum = 0.9;
	optim.rule.weight_decay = 1e-4;
	states = rule->states(&optim.rule);
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		if (states >> s & 1) {
			LW_TRY(bench_buffer(b, &shared.states[s], (size_t)params, 0.01f));
			LW_TRY(bench_buffer(b, &shared.new_states[s], (size_t)params, 0.01f));
		}
	for (int i = 0; i < (r->group_count ? r->group_count : (int)LW_COUNT(default_groups)); i++)
		LW_TRY(add(b, &optim.rule, &shared, params, r->group_count ? r->groups[i] : default_groups[i]));
	return LW_OK;
}

static lw_status add_size(bench *b, int params)
{
	lw_arenas shared = {.stream = lw_op_streams(b->device, (size_t)params, LW_ARENA_ALIGNMENT)};

	LW_TRY(bench_buffer(b, &shared.params, (size_t)params, NAN));
	LW_TRY(bench_buffer(b, &shared.new_params, (size_t)params, NAN));
	LW_TRY(bench_buffer(b, &shared.gradients, (size_t)params, NAN));
	if (b->request->rule)
		return add_rule(b, b->request->rule, params, shared);
	for (size_t i = 0; i < LW_COUNT(default_rules); i++)
		LW_TRY(add_rule(b, default_rules[i], params, shared));
	return LW_OK;
}

lw_status bench_update_rows(bench *b)
{
	const bench_request *r = b->request;

	for (int i = 0; i < (r->param_count ? r->param_count : (int)LW_COUNT(default_params)); i++)
		LW_TRY(add_size(b, r->param_count ? r->params[i] : default_params[i]));
	return LW_OK;
}
