/* Evaluation over a whole set, in order, the last partial batch included. */
#include "data/data.h"
#include "sched/sched.h"
#include "train/train.h"

#include <stdlib.h>
#include <string.h>

typedef struct evaluation {
	lw_plan *plan;
	const lw_dataset *set;
	size_t pixels; /* floats of an image */
	int classes;
	float *images, *logits;
	int32_t *labels;
	size_t first;  /* of the set, in the batch under way */
	int count;
	double loss_sum;
	size_t correct;
} evaluation;

/* The images of a batch that this process computes. */
static lw_status supply(void *user, const float *images, int first, int count)
{
	evaluation *e = user;

	(void)images;
	for (int i = first; i < lw_min_int(first + count, e->count); i++)
		LW_TRY(lw_dataset_sample(e->set, e->first + (size_t)i, e->images + (size_t)i * e->pixels, e->labels + i));
	return LW_OK;
}

static lw_status evaluate_batch(evaluation *e, size_t first, int count)
{
	e->first = first;
	e->count = count;
	memcpy(e->labels, e->set->labels + first, (size_t)count * sizeof *e->labels);
	return lw_plan_evaluate(e->plan, e->images, e->labels, count, &e->loss_sum, &e->correct, e->logits);
}

lw_status lw_evaluate(lw_plan *plan, int batch, const lw_dataset *set, double *accuracy, double *loss,
		      void (*each)(void *user, size_t index, int32_t label, const float *logits, int classes), void *user)
{
	lw_plan_supply *const before = plan->supply;
	void *const before_user = plan->supply_user;
	evaluation e = {.plan = plan, .set = set};
	size_t total = lw_dataset_count(set);
	int channels, height, width;
	lw_status status;

	if (batch < 1)
		return lw_fail(LW_E_ARGUMENT, "a batch of %d images was asked for, at least 1 was expected", batch);
	if (!total)
		return lw_fail(LW_E_ARGUMENT, "the set to evaluate on is empty");
	lw_dataset_shape(set, &channels, &height, &width);
	e.pixels = (size_t)channels * (size_t)height * (size_t)width;
	e.classes = lw_plan_classes(plan);
	LW_GO(lw_alloc(&e.images, (size_t)batch * e.pixels, sizeof *e.images));
	LW_GO(lw_alloc(&e.labels, (size_t)batch, sizeof *e.labels));
	if (each)
		LW_GO(lw_alloc(&e.logits, (size_t)batch * (size_t)e.classes, sizeof *e.logits));
	lw_plan_set_supply(plan, supply, &e);
	for (size_t first = 0; first < total; first += (size_t)batch) {
		int count = total - first < (size_t)batch ? (int)(total - first) : batch;

		LW_GO(evaluate_batch(&e, first, count));
		for (int i = 0; each && i < count; i++)
			each(user, first + (size_t)i, e.labels[i], e.logits + (size_t)i * (size_t)e.classes, e.classes);
	}
	*accuracy = (double)e.correct / (double)total;
	*loss = e.loss_sum / (double)total;
out:
	lw_plan_set_supply(plan, before, before_user);
	free(e.images);
	free(e.labels);
	free(e.logits);
	return status;
}
