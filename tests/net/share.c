/* Shares of a batch: with slices, sums over the batch have the same bits however it was shared out; without, the same value. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/net.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 8, CLASSES = 3, MAX_BATCH = 16, MAX_SHARES = 4, MAX_PARAMS = 64 };

static lw_device *device;

static int open_device(void **state)
{
	(void)state;
	return lw_device_open(&device, "auto") == LW_OK ? 0 : -1;
}

static int close_device(void **state)
{
	(void)state;
	lw_device_close(&device);
	return 0;
}

/* --- Random nets --- */

static uint32_t pick(uint32_t net, uint32_t what, uint32_t layer, uint32_t count) { return lw_random_bits(net, what, layer) % count; }

static void add(lw_net *net, const char *kind, const lw_layer_options *options)
{
	if (lw_net_add(net, kind, options) != LW_OK)
		fail_msg("%s", lw_last_error());
}

static void add_conv(lw_net *net, uint32_t seed, uint32_t index)
{
	const uint32_t kind = pick(seed, 2, index, 4);
	lw_layer_options options;
	lw_layer_info last;

	lw_net_layer_info(net, lw_net_layer_count(net) - 1, &last);
	lw_layer_defaults(&options, "conv");
	options.out = last.channels;
	options.kernel[0] = options.kernel[1] = kind == 0 ? 1 : kind == 1 ? 5 : 3;
	options.pad[0] = options.pad[1] = options.kernel[0] / 2;
	options.groups = kind == 2 ? options.out : 1;
	options.bias = pick(seed, 3, index, 2);
	add(net, "conv", &options);
}

static void add_sum(lw_net *net, uint32_t seed, uint32_t index)
{
	const size_t count = lw_net_layer_count(net);
	lw_layer_options options;
	lw_layer_info last, other;

	lw_net_layer_info(net, count - 1, &last);
	lw_net_layer_info(net, pick(seed, 4, index, (uint32_t)count), &other);
	if (other.height != last.height || other.channels != last.channels)
		return;
	lw_layer_defaults(&options, "add");
	options.from[0] = other.name;
	options.from[1] = last.name;
	options.from_count = 2;
	add(net, "add", &options);
}

static void add_random_layer(lw_net *net, uint32_t seed, uint32_t index, bool batchnorm)
{
	switch (pick(seed, 1, index, 6)) {
	case 0:
	case 1:
		add_conv(net, seed, index);
		break;
	case 2:
		if (batchnorm)
			add(net, "batchnorm", NULL);
		break;
	case 3:
		add(net, "relu", NULL);
		break;
	case 4:
		add_sum(net, seed, index);
		break;
	case 5:
		add(net, "dropout", NULL);
		break;
	}
}

static lw_net *random_net(uint32_t seed, bool batchnorm)
{
	const uint32_t layers = 4 + pick(seed, 5, 0, 6);
	lw_layer_options options;
	lw_net *net;

	assert_int_equal(lw_net_create(&net, 3, SIZE, SIZE), LW_OK);
	lw_layer_defaults(&options, "conv");
	options.out = pick(seed, 6, 0, 2) ? 5 : 16;
	options.kernel[0] = options.kernel[1] = 3;
	options.pad[0] = options.pad[1] = 1;
	add(net, "conv", &options);
	for (uint32_t i = 0; i < layers; i++) {
		if (i == layers / 2) {
			lw_layer_defaults(&options, "maxpool");
			options.kernel[0] = options.kernel[1] = 2;
			add(net, "maxpool", &options);
		}
		add_random_layer(net, seed, i, batchnorm);
	}
	lw_layer_defaults(&options, "linear");
	options.out = CLASSES;
	add(net, "linear", &options);
	assert_int_equal(lw_net_initialize(net, LW_INIT_HE, seed), LW_OK);
	assert_true(net->param_count <= MAX_PARAMS);
	return net;
}

/* --- Shares, each with an executor on a thread of its own --- */

typedef struct problem {
	const lw_net *net;
	uint32_t seed;
	int batch, slices;
	int pass_of_param[MAX_PARAMS];
	lw_layout layout;
	float *images;
	int32_t labels[MAX_BATCH];
	pthread_barrier_t barrier;
	float *records; /* that shares show each other */
} problem;

typedef struct share {
	problem *p;
	int first, images;
	bool alone;
	lw_queue *queue;
	lw_run runs[LW_MAX_RUNS];
	int run_count;
	lw_buf *gradients[LW_MAX_RUNS];
	float *params; /* after the step */
	float loss[MAX_BATCH];
	lw_status status;
	char error[512];
} share;

enum { MOST_RECORDS = 1 << 16 };

static lw_status gather(void *user, lw_queue *queue, lw_buf *buf, size_t offset, size_t bytes_per_image, int arrays)
{
	const share *s = user;
	const size_t record = bytes_per_image / sizeof(float), all = (size_t)s->p->batch;
	const size_t before = (size_t)s->first, end = before + (size_t)s->images;
	lw_status status = LW_OK;

	for (size_t a = 0; a < (size_t)arrays && status == LW_OK; a++)
		status = lw_queue_read(queue, buf, offset + (a * all + before) * bytes_per_image, (size_t)s->images * bytes_per_image,
				       s->p->records + (a * all + before) * record, NULL);
	if (status == LW_OK)
		status = lw_queue_finish(queue);
	pthread_barrier_wait(&s->p->barrier);
	for (size_t a = 0; a < (size_t)arrays && status == LW_OK; a++) {
		status = lw_queue_write(queue, buf, offset + a * all * bytes_per_image, before * bytes_per_image,
					s->p->records + a * all * record, NULL);
		if (status == LW_OK)
			status = lw_queue_write(queue, buf, offset + (a * all + end) * bytes_per_image, (all - end) * bytes_per_image,
						s->p->records + (a * all + end) * record, NULL);
	}
	if (status == LW_OK)
		status = lw_queue_finish(queue);
	pthread_barrier_wait(&s->p->barrier);
	return status;
}

static lw_status send_params(const share *s, lw_buf *params)
{
	const lw_net *net = s->p->net;

	LW_TRY(lw_queue_fill(s->queue, params, 0, lw_buf_size(params), 0, NULL));
	for (size_t i = 0; i < net->param_count; i++)
		LW_TRY(lw_queue_write(s->queue, params, s->p->layout.offsets[i] * sizeof(float), net->params[i].count * sizeof(float),
				      net->params[i].values, NULL));
	return LW_OK;
}

static lw_status run_share(share *s)
{
	problem *p = s->p;
	const size_t bytes = p->layout.floats * sizeof(float);
	lw_executor_options options = {.batch = s->images, .pass_count = 1, .pass_of_param = p->pass_of_param, .reproducible = true,
				       .all_images = p->batch, .first_image = s->first, .slices = p->slices, .synchronise = true, .seed = 7};
	lw_executor_buffers buffers = {0};
	lw_executor *executor = NULL;
	lw_status status;

	if (!s->alone) {
		options.gather = gather;
		options.gather_user = s;
	}
	LW_GO(lw_queue_create(&s->queue, device));
	LW_GO(lw_buf_create(&buffers.params[0], device, bytes));
	LW_GO(lw_buf_create(&buffers.loss, device, MAX_BATCH * sizeof(float)));
	LW_GO(lw_buf_create(&buffers.correct, device, MAX_BATCH * sizeof(float)));
	for (int r = 0; r < s->run_count; r++) {
		LW_GO(lw_buf_create(&s->gradients[r], device, bytes));
		LW_GO(lw_queue_fill(s->queue, s->gradients[r], 0, bytes, 0, NULL));
		buffers.gradients[r] = s->gradients[r];
	}
	LW_GO(send_params(s, buffers.params[0]));
	LW_GO(lw_executor_create(&executor, p->net, s->queue, &p->layout, &buffers, &options));
	LW_GO(lw_executor_train(executor, p->images + (size_t)s->first * SIZE * SIZE * 3, p->labels + s->first, 3));
	LW_GO(lw_queue_read(s->queue, buffers.loss, 0, (size_t)s->images * sizeof(float), s->loss, NULL));
	LW_GO(lw_alloc(&s->params, p->layout.floats, sizeof(float)));
	LW_GO(lw_queue_read(s->queue, buffers.params[0], 0, bytes, s->params, NULL));
	LW_GO(lw_queue_finish(s->queue));
out:
	if (status != LW_OK)
		snprintf(s->error, sizeof s->error, "%s", lw_last_error());
	lw_executor_destroy(&executor);
	lw_buf_destroy(&buffers.params[0]);
	lw_buf_destroy(&buffers.loss);
	lw_buf_destroy(&buffers.correct);
	return status;
}

static void *thread(void *user)
{
	share *s = user;

	s->status = run_share(s);
	return NULL;
}

/* What a step gives: losses, gradients summed over all runs in order, and each share's parameters with its statistics. */
typedef struct outcome {
	float loss[MAX_BATCH];
	float *gradients, *params[MAX_SHARES];
	int shares;
} outcome;

static void sum_shares(problem *p, const share *shares, int count, outcome *o)
{
	const size_t bytes = p->layout.floats * sizeof(float);
	lw_op_context context = {.device = device, .queue = shares[0].queue, .force_variant = -1};
	lw_run runs[LW_MAX_SLICES];
	lw_buf *partials[LW_MAX_SLICES], *sum;
	int n = 0;

	for (int i = 0; i < count; i++)
		for (int r = 0; r < shares[i].run_count; r++) {
			runs[n] = p->slices ? shares[i].runs[r] : (lw_run){n, 1};
			partials[n++] = shares[i].gradients[r];
		}
	assert_int_equal(lw_buf_create(&sum, device, bytes), LW_OK);
	assert_non_null(o->gradients = malloc(bytes));
	if (lw_sum_runs(&context, p->layout.floats, runs, partials, n, 0, sum) != LW_OK)
		fail_msg("%s", lw_last_error());
	assert_int_equal(lw_queue_read(context.queue, sum, 0, bytes, o->gradients, NULL), LW_OK);
	assert_int_equal(lw_queue_finish(context.queue), LW_OK);
	lw_buf_destroy(&sum);
}

/* Shares begin at the given images, the first of which is 0. */
static outcome run_step(problem *p, const int *begins, int count)
{
	share shares[MAX_SHARES] = {0};
	pthread_t threads[MAX_SHARES];
	outcome o = {.shares = count};

	pthread_barrier_init(&p->barrier, NULL, (unsigned)count);
	for (int i = 0; i < count; i++) {
		share *s = &shares[i];
		const int end = i + 1 < count ? begins[i + 1] : p->batch;
		int first = 0, last = 0;

		*s = (share){.p = p, .first = begins[i], .images = end - begins[i], .alone = count == 1, .run_count = 1};
		while (p->slices && lw_slice_begin(p->batch, p->slices, first) < s->first)
			first++;
		while (p->slices && lw_slice_begin(p->batch, p->slices, last) < end)
			last++;
		if (p->slices)
			s->run_count = lw_slice_runs(first, last - first, s->runs);
		pthread_create(&threads[i], NULL, thread, s);
	}
	for (int i = 0; i < count; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < count; i++) {
		if (shares[i].status != LW_OK)
			fail_msg("share %d: %s", i, shares[i].error);
		memcpy(o.loss + begins[i], shares[i].loss, (size_t)shares[i].images * sizeof(float));
		o.params[i] = shares[i].params;
	}
	sum_shares(p, shares, count, &o);
	for (int i = 0; i < count; i++) {
		for (int r = 0; r < shares[i].run_count; r++)
			lw_buf_destroy(&shares[i].gradients[r]);
		lw_queue_destroy(&shares[i].queue);
	}
	pthread_barrier_destroy(&p->barrier);
	return o;
}

static void free_outcome(outcome *o)
{
	free(o->gradients);
	for (int i = 0; i < o->shares; i++)
		free(o->params[i]);
}

static void setup(problem *p, uint32_t seed, bool batchnorm, int batch, int slices)
{
	lw_net *net = random_net(seed, batchnorm);
	const size_t pixels = (size_t)batch * SIZE * SIZE * 3;
	int order[MAX_PARAMS];

	*p = (problem){.net = net, .seed = seed, .batch = batch, .slices = slices};
	for (size_t i = 0; i < net->param_count; i++) {
		order[i] = (int)i;
		p->pass_of_param[i] = lw_param_rule_of(net, i)->trainable && pick(seed, 7, (uint32_t)i, 6) ? 0 : -1;
	}
	assert_int_equal(lw_layout_create(&p->layout, net, order, net->param_count), LW_OK);
	assert_non_null(p->images = malloc(pixels * sizeof(float)));
	assert_non_null(p->records = malloc(MOST_RECORDS * sizeof(float)));
	for (size_t i = 0; i < pixels; i++)
		p->images[i] = lw_random_normal(seed, 8, i);
	for (int i = 0; i < batch; i++)
		p->labels[i] = i % CLASSES;
}

static void teardown(problem *p)
{
	lw_net *net = (lw_net *)p->net;

	lw_layout_clear(&p->layout);
	free(p->images);
	free(p->records);
	lw_net_destroy(&net);
}

/* --- What must hold --- */

static void expect_same(const problem *p, const char *what, const float *got, const float *expected)
{
	for (size_t i = 0; i < p->net->param_count; i++)
		if (memcmp(got + p->layout.offsets[i], expected + p->layout.offsets[i], p->net->params[i].count * sizeof(float)))
			fail_msg("net %u, %d images in %d slices: %s of %s has other bits", (unsigned)p->seed, p->batch, p->slices, what,
				 p->net->params[i].name);
}

static void shares_of_slices_change_no_bit(void **state)
{
	static const int cases[][2] = {{5, 1}, {8, 4}, {16, 4}, {9, 4}, {7, 3}, {12, 3}, {13, 6}, {12, 6}, {15, 5}, {16, 8}};

	(void)state;
	for (uint32_t seed = 0; seed < 3 * LW_COUNT(cases); seed++) {
		const int *c = cases[seed % LW_COUNT(cases)];
		int begins[MAX_SHARES] = {0}, count = 1;
		outcome alone, shared;
		problem p;

		setup(&p, seed, true, c[0], c[1]);
		/* about every other slice begins a share */
		for (int s = 1; s < c[1] && count < MAX_SHARES; s++)
			if (pick(seed, 9, (uint32_t)s, 2))
				begins[count++] = lw_slice_begin(c[0], c[1], s);
		alone = run_step(&p, begins, 1);
		shared = run_step(&p, begins, count);
		if (memcmp(alone.loss, shared.loss, (size_t)p.batch * sizeof(float)))
			fail_msg("net %u, %d images in %d slices: losses have other bits", (unsigned)seed, c[0], c[1]);
		expect_same(&p, "gradient", shared.gradients, alone.gradients);
		for (int i = 0; i < count; i++)
			expect_same(&p, "value", shared.params[i], alone.params[0]);
		free_outcome(&alone);
		free_outcome(&shared);
		teardown(&p);
	}
}

static void expect_close(const problem *p, const float *got, const float *expected)
{
	for (size_t i = 0; i < p->net->param_count; i++) {
		const float *a = got + p->layout.offsets[i], *b = expected + p->layout.offsets[i];
		double largest = 0, worst = 0;

		for (size_t k = 0; k < p->net->params[i].count; k++) {
			largest = fmax(largest, fabs((double)b[k]));
			worst = fmax(worst, fabs((double)a[k] - b[k]));
		}
		/* what cancels, as a bias before a batchnorm does, has nothing but rounding */
		if (!(worst <= 2e-4 * largest + 1e-6))
			fail_msg("net %u: the gradient of %s is off by %g of %g", (unsigned)p->seed, p->net->params[i].name, worst, largest);
	}
}

static void shares_without_slices_add_up(void **state)
{
	static const int begins[] = {0, 3, 4};

	(void)state;
	for (uint32_t seed = 100; seed < 110; seed++) {
		outcome alone, shared;
		problem p;

		setup(&p, seed, seed % 2, 9, 0);
		alone = run_step(&p, begins, 1);
		shared = run_step(&p, begins, LW_COUNT(begins));
		expect_close(&p, shared.gradients, alone.gradients);
		free_outcome(&alone);
		free_outcome(&shared);
		teardown(&p);
	}
}

static void runs_are_the_largest_subtrees(void **state)
{
	lw_run runs[LW_MAX_RUNS];

	(void)state;
	for (int first = 0; first < LW_MAX_SLICES; first++)
		for (int count = 1; first + count <= LW_MAX_SLICES; count++) {
			const int n = lw_slice_runs(first, count, runs);
			int at = first;

			assert_in_range(n, 1, LW_MAX_RUNS);
			for (int i = 0; i < n; at += runs[i++].count) {
				assert_int_equal(runs[i].first, at);
				assert_int_equal(runs[i].count & (runs[i].count - 1), 0);
				assert_int_equal(at % runs[i].count, 0);
				/* two siblings would be one run */
				assert_false(i + 1 < n && runs[i + 1].count == runs[i].count && at % (2 * runs[i].count) == 0);
			}
			assert_int_equal(at, first + count);
		}
}

/* The tree over slices [first, end), of which `all` are there in total, down to runs. */
static float tree_sum(int first, int end, const lw_run *runs, const float *values)
{
	int half = 1;

	for (int i = 0; runs[i].first <= first; i++)
		if (runs[i].first == first && runs[i].count == end - first)
			return values[i];
	while (2 * half < end - first)
		half *= 2;
	return tree_sum(first, first + half, runs, values) + tree_sum(first + half, end, runs, values);
}

static void runs_are_summed_by_the_tree(void **state)
{
	enum { COUNT = 8200, OFFSET = 5 };
	static float host[LW_MAX_SLICES][OFFSET + COUNT], sum[COUNT];
	lw_op_context context = {.device = device, .force_variant = -1};

	(void)state;
	assert_int_equal(lw_queue_create(&context.queue, device), LW_OK);
	for (uint32_t round = 0; round < 60; round++) {
		const int slices = 1 + (int)pick(round, 1, 0, 24);
		lw_run runs[LW_MAX_SLICES + 1];
		lw_buf *partials[LW_MAX_SLICES], *to;
		int n = 0;

		for (int s = 0; s < slices;) {
			const int more = 1 + (int)pick(round, 2, (uint32_t)s, (uint32_t)(slices - s));
			n += lw_slice_runs(s, more, runs + n);
			s += more;
		}
		runs[n].first = INT32_MAX;
		for (int i = 0; i < n; i++) {
			for (uint64_t k = 0; k < OFFSET + COUNT; k++)
				host[i][k] = lw_random_normal(round, (uint32_t)i, k);
			assert_int_equal(lw_buf_create(&partials[i], device, sizeof host[i]), LW_OK);
			lw_queue_write(context.queue, partials[i], 0, sizeof host[i], host[i], NULL);
		}
		assert_int_equal(lw_buf_create(&to, device, sizeof sum), LW_OK);
		if (lw_sum_runs(&context, COUNT, runs, partials, n, OFFSET, to) != LW_OK)
			fail_msg("%s", lw_last_error());
		lw_queue_read(context.queue, to, 0, sizeof sum, sum, NULL);
		assert_int_equal(lw_queue_finish(context.queue), LW_OK);
		for (int k = 0; k < COUNT; k++) {
			float values[LW_MAX_SLICES];
			for (int i = 0; i < n; i++)
				values[i] = host[i][OFFSET + k];
			assert_true(sum[k] == tree_sum(0, slices, runs, values));
		}
		for (int i = 0; i < n; i++)
			lw_buf_destroy(&partials[i]);
		lw_buf_destroy(&to);
	}
	lw_queue_destroy(&context.queue);
}

static void shares_that_do_not_fit_are_refused(void **state)
{
	const lw_executor_options wrong[] = {
		{.batch = 4, .all_images = 8, .first_image = 5},
		{.batch = 4, .all_images = 8, .first_image = -1},
		{.batch = 4, .all_images = 8, .first_image = 1, .slices = 4},
		{.batch = 3, .all_images = 8, .slices = 4},
		{.batch = 4, .slices = 5},
		{.batch = 100, .slices = 65},
	};
	lw_cut cut;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(wrong); i++)
		assert_int_equal(lw_cut_create(&cut, &wrong[i], 128), LW_E_ARGUMENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(runs_are_the_largest_subtrees),
		cmocka_unit_test(runs_are_summed_by_the_tree),
		cmocka_unit_test(shares_that_do_not_fit_are_refused),
		cmocka_unit_test(shares_of_slices_change_no_bit),
		cmocka_unit_test(shares_without_slices_add_up),
	};

	/* PoCL 3.1 loses count of its compiled kernels where two threads begin with one that it makes in several forms */
	setenv("POCL_WORK_GROUP_SPECIALIZATION", "0", 1);
	return cmocka_run_group_tests(tests, open_device, close_device);
}
