/* Fused layers: random nets give the same bits as with every layer alone, with anything frozen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "net/net.h"
#include <stdlib.h>
#include <string.h>

enum { BATCH = 3, SIZE = 6, CHANNELS = 5, CLASSES = 4, NETS = 60, MAX_LAYERS = 24 };

static lw_device *device;
static int fused_relus, fused_adds, masks_by_readers, masks_alone;

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

static uint32_t pick(uint32_t net, uint32_t what, uint32_t layer, uint32_t count) { return lw_random_bits(net, what, layer) % count; }

/* A layer that keeps the shape, or pools once; its inputs are the last layer or, now and then, an earlier one. */
static void add_random_layer(lw_net *net, uint32_t seed, uint32_t index, bool *pooled)
{
	static const char *const kinds[] = {"conv", "conv", "batchnorm", "batchnorm", "relu", "relu", "relu", "add", "add", "dropout", "maxpool", "leaky_relu"};
	const char *kind = kinds[pick(seed, 1, index, LW_COUNT(kinds))];
	lw_layer_info last, other;
	lw_layer_options options;

	if (index < 2)
		kind = "conv";
	lw_layer_defaults(&options, kind);
	if (strcmp(kind, "conv") == 0) {
		options.out = CHANNELS;
		options.kernel[0] = options.kernel[1] = pick(seed, 2, index, 2) ? 3 : 1;
		options.pad[0] = options.pad[1] = options.kernel[0] / 2;
	}
	if (strcmp(kind, "maxpool") == 0) {
		if (*pooled)
			return;
		options.kernel[0] = options.kernel[1] = 2;
		*pooled = true;
	}
	if (index >= 2 && (strcmp(kind, "add") == 0 || pick(seed, 3, index, 5) == 0)) {
		const size_t count = lw_net_layer_count(net), from = pick(seed, 4, index, (uint32_t)count);

		lw_net_layer_info(net, count - 1, &last);
		lw_net_layer_info(net, from, &other);
		if (other.height != last.height)
			return;
		options.from[0] = other.name;
		options.from[1] = last.name;
		options.from_count = strcmp(kind, "add") == 0 ? 2 : 1;
	}
	assert_int_equal(lw_net_add(net, kind, &options), LW_OK);
}

static lw_net *random_net(uint32_t seed)
{
	lw_layer_options options;
	bool pooled = false;
	lw_net *net;

	assert_int_equal(lw_net_create(&net, 3, SIZE, SIZE), LW_OK);
	for (uint32_t i = 0; i < 4 + pick(seed, 5, 0, MAX_LAYERS - 4); i++)
		add_random_layer(net, seed, i, &pooled);
	lw_layer_defaults(&options, "linear");
	options.out = CLASSES;
	assert_int_equal(lw_net_add(net, "linear", &options), LW_OK);
	if (pick(seed, 6, 0, 3) == 0)
		assert_int_equal(lw_net_add(net, "relu", NULL), LW_OK);
	assert_int_equal(lw_net_initialize(net, LW_INIT_HE, seed), LW_OK);
	return net;
}

static void count_fusions(const lw_tape *tape)
{
	for (size_t i = 0; i < tape->count; i++) {
		const lw_instruction *instruction = &tape->instructions[i];
		fused_relus += instruction->kind == LW_FORWARD && instruction->unit.relu;
		fused_adds += instruction->kind == LW_FORWARD && instruction->unit.residual != LW_NO_NODE;
		masks_by_readers += instruction->kind == LW_BACKWARD && instruction->unit.mask_input;
		masks_alone += instruction->kind == LW_MASK;
	}
}

/* Loss, gradients and parameters (running statistics move) after a step. */
static float *run_step(const lw_net *net, uint32_t seed, bool separate, size_t *count)
{
	const size_t pixels = SIZE * SIZE * 3;
	float images[BATCH * SIZE * SIZE * 3], *result;
	int32_t labels[BATCH];
	int order[64], pass_of_param[64];
	lw_executor_options options = {.batch = BATCH, .pass_count = 1, .pass_of_param = pass_of_param, .separate = separate};
	lw_buf *params, *gradients, *loss, *correct;
	lw_executor *executor;
	lw_executor_buffers buffers;
	lw_layout layout;
	lw_queue *queue;
	size_t bytes;

	assert_true(net->param_count <= 64);
	for (size_t i = 0; i < net->param_count; i++) {
		order[i] = (int)i;
		pass_of_param[i] = lw_param_rule_of(net, i)->trainable && pick(seed, 7, (uint32_t)i, 4) ? 0 : -1;
	}
	for (size_t i = 0; i < BATCH * pixels; i++)
		images[i] = lw_random_normal(seed, 8, i);
	for (int i = 0; i < BATCH; i++)
		labels[i] = i % CLASSES;
	assert_int_equal(lw_layout_create(&layout, net, order, net->param_count), LW_OK);
	bytes = layout.floats * sizeof(float);
	*count = 2 * layout.floats + BATCH;
	assert_non_null(result = calloc(*count, sizeof *result));
	assert_int_equal(lw_queue_create(&queue, device), LW_OK);
	assert_int_equal(lw_buf_create(&params, device, bytes), LW_OK);
	assert_int_equal(lw_buf_create(&gradients, device, bytes), LW_OK);
	assert_int_equal(lw_buf_create(&loss, device, BATCH * sizeof(float)), LW_OK);
	assert_int_equal(lw_buf_create(&correct, device, BATCH * sizeof(float)), LW_OK);
	lw_queue_fill(queue, gradients, 0, bytes, 0, NULL);
	for (size_t i = 0; i < net->param_count; i++)
		lw_queue_write(queue, params, layout.offsets[i] * sizeof(float), net->params[i].count * sizeof(float), net->params[i].values, NULL);
	buffers = (lw_executor_buffers){.params = {params}, .gradients = {gradients}, .loss = loss, .correct = correct};
	assert_int_equal(lw_executor_create(&executor, net, queue, &layout, &buffers, &options), LW_OK);
	if (!separate)
		count_fusions(lw_executor_tape(executor));
	if (lw_executor_train(executor, images, labels, 1) != LW_OK)
		fail_msg("%s", lw_last_error());
	lw_queue_read(queue, loss, 0, BATCH * sizeof(float), result, NULL);
	lw_queue_read(queue, gradients, 0, bytes, result + BATCH, NULL);
	for (size_t i = 0; i < net->param_count; i++) /* what lies between parameters is not defined */
		lw_queue_read(queue, params, layout.offsets[i] * sizeof(float), net->params[i].count * sizeof(float),
			      result + BATCH + layout.floats + layout.offsets[i], NULL);
	assert_int_equal(lw_queue_finish(queue), LW_OK);
	lw_executor_destroy(&executor);
	lw_buf_destroy(&params);
	lw_buf_destroy(&gradients);
	lw_buf_destroy(&loss);
	lw_buf_destroy(&correct);
	lw_layout_clear(&layout);
	lw_queue_destroy(&queue);
	return result;
}

static void fusing_changes_no_bit(void **state)
{
	(void)state;
	for (uint32_t seed = 0; seed < NETS; seed++) {
		lw_net *net = random_net(seed);
		size_t count;
		float *fused = run_step(net, seed, false, &count), *separate = run_step(net, seed, true, &count);

		if (memcmp(fused, separate, count * sizeof *fused) != 0)
			fail_msg("net %u: fused and separate layers give different bits", (unsigned)seed);
		free(fused);
		free(separate);
		lw_net_destroy(&net);
	}
	/* the random nets had all there is */
	assert_true(fused_relus > 0 && masks_by_readers > 0 && masks_alone > 0);
	if (lw_op_find("batchnorm")->fuses & LW_FUSES_RESIDUAL)
		assert_true(fused_adds > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(fusing_changes_no_bit)};

	return cmocka_run_group_tests(tests, open_device, close_device);
}
