/* How fast a device updates, and how fast its memory is reached from the host: what the placement goes by. */
#include "sched/sched.h"

#include <math.h>
#include <stdlib.h>

enum { FLOATS = 1 << 20, CHUNKS = FLOATS / LW_CHUNK_FLOATS, RUNS = 3 };

typedef struct scratch {
	float *memory;
	lw_buf *params, *gradients, *momentum, *chunks, *rows;
} scratch;

static lw_status create(scratch *s, lw_device *device)
{
	LW_TRY(lw_alloc(&s->memory, FLOATS, sizeof(float)));
	LW_TRY(lw_buf_create(&s->params, device, FLOATS * sizeof(float)));
	LW_TRY(lw_buf_create(&s->gradients, device, FLOATS * sizeof(float)));
	LW_TRY(lw_buf_create(&s->momentum, device, FLOATS * sizeof(float)));
	LW_TRY(lw_buf_create(&s->chunks, device, CHUNKS * sizeof(lw_chunk)));
	return lw_buf_create(&s->rows, device, LW_RULE_ROW * sizeof(float));
}

static void clear(scratch *s)
{
	free(s->memory);
	lw_buf_destroy(&s->params);
	lw_buf_destroy(&s->gradients);
	lw_buf_destroy(&s->momentum);
	lw_buf_destroy(&s->chunks);
	lw_buf_destroy(&s->rows);
}

static lw_status fill(scratch *s, lw_queue *queue)
{
	const lw_rule_options options = {.rule = "sgd", .momentum = 0.9};
	float row[LW_RULE_ROW];
	lw_chunk chunks[CHUNKS];

	for (int i = 0; i < CHUNKS; i++)
		chunks[i] = (lw_chunk){i * LW_CHUNK_FLOATS, LW_CHUNK_FLOATS, 0, 0};
	lw_rule_find("sgd")->row(&options, 0.1, 0, 2, row);
	LW_TRY(lw_queue_fill(queue, s->params, 0, FLOATS * sizeof(float), 0, NULL));
	LW_TRY(lw_queue_fill(queue, s->gradients, 0, FLOATS * sizeof(float), 0, NULL));
	LW_TRY(lw_queue_fill(queue, s->momentum, 0, FLOATS * sizeof(float), 0, NULL));
	LW_TRY(lw_queue_write(queue, s->chunks, 0, sizeof chunks, chunks, NULL));
	LW_TRY(lw_queue_write(queue, s->rows, 0, sizeof row, row, NULL));
	return lw_queue_finish(queue);
}

static lw_status update(const lw_op_context *context, const scratch *s)
{
	const lw_arenas arenas = {.params = s->params, .gradients = s->gradients, .states = {s->momentum}};

	LW_TRY(lw_rule_update(context, lw_rule_find("sgd"), s->chunks, CHUNKS, s->rows, NULL, &arenas));
	return lw_queue_finish(context->queue);
}

static lw_status copy(const lw_op_context *context, const scratch *s)
{
	LW_TRY(lw_queue_write(context->queue, s->params, 0, FLOATS * sizeof(float), s->memory, NULL));
	return lw_queue_finish(context->queue);
}

/* Bytes over the shortest time of several runs; the first compiles. */
static lw_status time_bytes(const lw_op_context *context, const scratch *s,
			    lw_status (*run)(const lw_op_context *context, const scratch *s), double bytes, double *bandwidth)
{
	double best = INFINITY;

	LW_TRY(run(context, s));
	for (int i = 0; i < RUNS; i++) {
		const double began = lw_now();
		LW_TRY(run(context, s));
		best = fmin(best, lw_now() - began);
	}
	*bandwidth = bytes / fmax(best, 1e-9);
	return LW_OK;
}

lw_status lw_member_measure(lw_plan *plan, lw_member *member)
{
	const lw_op_context context = {.device = member->device, .queue = member->queue, .reproducible = plan->options.reproducible,
				       .force_variant = -1};
	scratch s = {0};
	lw_status status;

	LW_GO(create(&s, member->device));
	LW_GO(fill(&s, member->queue));
	LW_GO(time_bytes(&context, &s, update, 5.0 * FLOATS * sizeof(float), &member->update_bandwidth));
	member->link_bandwidth = 1e12; /* nothing is copied */
	if (!member->in_place)
		LW_GO(time_bytes(&context, &s, copy, FLOATS * sizeof(float), &member->link_bandwidth));
out:
	clear(&s);
	return status;
}
