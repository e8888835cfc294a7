/*
 * Slices: sums over the step's batch that do not depend on how it was shared out. The batch is cut into slices; a parameter's
 * gradient is summed over each of them, and the sums are joined in a fixed tree, runs of slices being its subtrees.
 */
#include "net/net.h"
#include "op/support.h"

int lw_slice_runs(int first, int count, lw_run runs[LW_MAX_RUNS])
{
	int run_count = 0;

	for (int end = first + count; first < end; first += runs[run_count++].count) {
		int size = 1;
		while (first % (2 * size) == 0 && first + 2 * size <= end)
			size *= 2;
		runs[run_count] = (lw_run){first, size};
	}
	return run_count;
}

/* The slice that begins at an image; -1: none does. slices itself begins after the last image. */
static int slice_at(int all, int slices, int image)
{
	for (int s = 0; s <= slices; s++)
		if (lw_slice_begin(all, slices, s) == image)
			return s;
	return -1;
}

lw_status lw_cut_create(lw_cut *cut, const lw_executor_options *o, unsigned alignment)
{
	const int all = o->all_images ? o->all_images : o->batch;
	int first = 0, end = 1;

	*cut = (lw_cut){.share = {.first = o->first_image,
				  .all = all,
				  .slices = o->slices,
				  .rule_images = o->slices ? all : 0, /* whatever the share */
				  .whole = o->synchronise || o->slices,
				  .gather = o->gather,
				  .user = o->gather_user},
			.alignment = alignment};
	if (o->first_image < 0 || o->batch < 1 || o->batch > all - o->first_image)
		return lw_fail(LW_E_ARGUMENT, "images %d to %d are no part of a batch of %d", o->first_image,
			       o->first_image + o->batch - 1, all);
	if (o->slices < 0 || o->slices > LW_MAX_SLICES || o->slices > all)
		return lw_fail(LW_E_ARGUMENT, "%d slices of %d images; at most %d were expected", o->slices, all,
			       lw_min_int(LW_MAX_SLICES, all));
	if (o->slices) {
		first = slice_at(all, o->slices, o->first_image);
		end = slice_at(all, o->slices, o->first_image + o->batch);
		if (first < 0 || end < 0)
			return lw_fail(LW_E_ARGUMENT, "images %d to %d are not whole slices of a batch of %d in %d slices",
				       o->first_image, o->first_image + o->batch - 1, all, o->slices);
	}
	cut->run_count = lw_slice_runs(first, end - first, cut->runs);
	return LW_OK;
}

/* --- Sums of runs --- */

/*
 * The tree over runs in order, as which of those that are left is joined with the next, again and again: complete siblings
 * as soon as both are there, and what remains from the right.
 */
static void list_joins(const lw_run *runs, int count, int joins[LW_MAX_SLICES])
{
	lw_run stack[LW_MAX_SLICES];
	int depth = 0, n = 0;

	for (int i = 0; i < count; i++) {
		stack[depth++] = runs[i];
		while (depth > 1 && stack[depth - 2].count == stack[depth - 1].count &&
		       stack[depth - 2].first % (2 * stack[depth - 2].count) == 0) {
			stack[--depth - 1].count *= 2;
			joins[n++] = depth - 1;
		}
	}
	while (depth > 1)
		joins[n++] = --depth - 1;
}

enum { MOST_TERMS = 4 }; /* of sum_terms in cl/sum.cl */

static lw_status sum_terms(const lw_op_context *context, size_t count, lw_buf *const *terms, int term_count, size_t offset,
			   const int *joins, lw_buf *sum, size_t sum_offset)
{
	const bool runs = lw_op_form(context) == LW_VECTOR;
	lw_variant variant = {.source = "sum", .function = runs ? "sum_terms_runs" : "sum_terms"};
	lw_launch launch;

	lw_variant_option(&variant, "TERMS", term_count);
	if (runs)
		lw_variant_option(&variant, "VECTOR", lw_op_vector_width(context->device, count));
	LW_TRY(lw_launch_begin(&launch, context->device, &variant));
	for (int i = 0; i < MOST_TERMS; i++)
		lw_arg_buf(&launch, i < term_count ? terms[i] : NULL);
	lw_arg_buf(&launch, sum);
	lw_arg_int(&launch, (int)offset);
	lw_arg_int(&launch, (int)sum_offset);
	lw_arg_int(&launch, (int)count);
	for (int i = 0; i < MOST_TERMS - 1; i++)
		lw_arg_int(&launch, i < term_count - 1 ? joins[i] : 0);
	if (runs) {
		lw_arg_int(&launch, LW_OP_RUN);
		lw_launch_1d(&launch, lw_op_runs(count), 1);
	} else {
		lw_op_items(&launch, count);
	}
	launch.flops = (double)(term_count - 1) * (double)count;
	launch.bytes = 4.0 * (term_count + 1) * (double)count;
	return lw_queue_launch(context->queue, &launch, NULL);
}

lw_status lw_sum_runs(const lw_op_context *context, size_t count, const lw_run *runs, lw_buf *const *partials, int run_count,
		      size_t partial_offset_floats, lw_buf *sum)
{
	int joins[LW_MAX_SLICES], *next = joins;
	lw_buf *left[LW_MAX_SLICES];

	if (run_count < 1 || run_count > LW_MAX_SLICES)
		return lw_fail(LW_E_ARGUMENT, "a sum of %d runs; 1 to %d were expected", run_count, LW_MAX_SLICES);
	if (!count)
		return LW_OK;
	list_joins(runs, run_count, joins);
	for (int i = 0; i < run_count; i++)
		left[i] = partials[i];
	/* two become one in place until one launch can take the rest */
	for (; run_count > MOST_TERMS; run_count--, next++) {
		LW_TRY(sum_terms(context, count, &left[*next], 2, partial_offset_floats, (const int[]){0}, left[*next],
				 partial_offset_floats));
		for (int i = *next + 1; i < run_count - 1; i++)
			left[i] = left[i + 1];
	}
	if (run_count > 1)
		return sum_terms(context, count, left, run_count, partial_offset_floats, next, sum, 0);
	if (sum == left[0] && !partial_offset_floats)
		return LW_OK;
	return lw_queue_copy(context->queue, left[0], partial_offset_floats * sizeof(float), sum, 0, count * sizeof(float), NULL);
}
