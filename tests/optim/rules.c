/* Update rules: PyTorch's numbers through the kernels, which state they need, and what is refused. */
#include "optim/optim.h"
#include "optim/reference_torch.h"

#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static lw_device *device;
static lw_queue *queue;

static int open_device(void **state)
{
	(void)state;
	return lw_device_open(&device, "auto") != LW_OK || lw_queue_create(&queue, device) != LW_OK;
}

static int close_device(void **state)
{
	(void)state;
	lw_queue_destroy(&queue);
	lw_device_close(&device);
	return 0;
}

static void ok(lw_status status)
{
	if (status != LW_OK)
		fail_msg("%s", lw_last_error());
}

static lw_buf *buffer(size_t bytes, const void *values)
{
	lw_buf *buf;

	ok(lw_buf_create(&buf, device, bytes));
	if (values)
		ok(lw_queue_write(queue, buf, 0, bytes, values, NULL));
	else /* a NaN: states may hold anything before the first update */
		ok(lw_queue_fill(queue, buf, 0, bytes, 0x7fc0dead, NULL));
	ok(lw_queue_finish(queue));
	return buf;
}

/* As in reference_torch.py. */
static float gradient(int step, int index) { return (float)((step * 37 + index * 53) % 101 - 50) / 64.0f; }

/* All steps of a case; parameters end in p. Only the state that the rule asks for exists. */
static void run_case(const lw_rule_options *options, float p[REFERENCE_PARAMS])
{
	const lw_op_context context = {.device = device, .queue = queue, .force_variant = -1};
	const lw_rule *rule = lw_rule_find(options->rule);
	const lw_chunk chunk = {0, REFERENCE_PARAMS, 0, 0};
	lw_buf *chunks = buffer(sizeof chunk, &chunk), *params = buffer(sizeof reference_start, reference_start);
	lw_buf *gradients = buffer(sizeof reference_start, NULL), *rows = buffer(LW_RULE_ROW * sizeof(float), NULL);
	lw_buf *states[LW_RULE_MAX_STATES] = {NULL};

	for (int s = 0; s < rule->state_count; s++)
		if (rule->states(options) >> s & 1)
			states[s] = buffer(sizeof reference_start, NULL);
	for (int step = 1; step <= REFERENCE_STEPS; step++) {
		float g[REFERENCE_PARAMS], row[LW_RULE_ROW];

		for (int i = 0; i < REFERENCE_PARAMS; i++)
			g[i] = gradient(step, i);
		rule->row(options, 0.05 / step, options->weight_decay, step, row);
		ok(lw_queue_write(queue, gradients, 0, sizeof g, g, NULL));
		ok(lw_queue_write(queue, rows, 0, sizeof row, row, NULL));
		ok(lw_rule_update(&context, rule, chunks, 1, rows, NULL,
				  &(lw_arenas){.params = params, .gradients = gradients, .states = {states[0], states[1], states[2]}}));
		ok(lw_queue_finish(queue));
	}
	ok(lw_queue_read(queue, params, 0, sizeof reference_start, p, NULL));
	ok(lw_queue_finish(queue));
	for (int s = 0; s < LW_RULE_MAX_STATES; s++)
		lw_buf_destroy(&states[s]);
	lw_buf_destroy(&chunks);
	lw_buf_destroy(&params);
	lw_buf_destroy(&gradients);
	lw_buf_destroy(&rows);
}

static void torch_values(void **state)
{
	(void)state;
	for (size_t i = 0; i < LW_COUNT(reference_rules); i++) {
		float p[REFERENCE_PARAMS];

		ok(lw_rule_check(&reference_rules[i].options));
		run_case(&reference_rules[i].options, p);
		for (int k = 0; k < REFERENCE_PARAMS; k++)
			if (!(fabs(p[k] - reference_rules[i].values[k]) <= 5e-7))
				fail_msg("case %zu, parameter %d: got %.9g, PyTorch has %.9g", i, k, p[k],
					 reference_rules[i].values[k]);
	}
}

/* At a constant learning rate Caffe's momentum is PyTorch's; when the rate changes it is not. */
static void caffe_differs_when_the_rate_changes(void **state)
{
	const lw_rule_options torch = {.rule = "sgd", .momentum = 0.9},
			      caffe = {.rule = "sgd", .momentum = 0.9, .caffe = true};
	double v = 0.0, expected = reference_start[0];
	float a[REFERENCE_PARAMS], b[REFERENCE_PARAMS];

	(void)state;
	run_case(&torch, a);
	run_case(&caffe, b);
	for (int step = 1; step <= REFERENCE_STEPS; step++) {
		v = 0.9 * v + 0.05 / step * gradient(step, 0);
		expected -= v;
	}
	assert_true(fabs(b[0] - expected) <= 5e-7);
	assert_true(fabs(a[0] - b[0]) > 1e-4);
}

static void states_needed(void **state)
{
	static const struct {
		lw_rule_options options;
		unsigned states;
		double bytes;
	} rows[] = {
		{{.rule = "sgd"}, 0, 12},
		{{.rule = "sgd", .momentum = 0.5}, 1, 20},
		{{.rule = "adam"}, 3, 28},
		{{.rule = "adamw", .amsgrad = true}, 7, 36},
	};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(rows); i++) {
		const lw_rule *rule = lw_rule_find(rows[i].options.rule);

		assert_int_equal(rule->states(&rows[i].options), rows[i].states);
		assert_true(rule->bytes_per_param(&rows[i].options) == rows[i].bytes);
		for (int s = 0; s < rule->state_count; s++)
			assert_non_null(rule->state_names[s]);
	}
	assert_null(lw_rule_find("rmsprop"));
	assert_string_equal(lw_rule_at(0)->name, "sgd");
	assert_null(lw_rule_at(3));
}

static void refused(void **state)
{
	static const struct {
		lw_rule_options options;
		const char *word;
	} rows[] = {
		{{.rule = NULL}, "no update rule"},
		{{.rule = "adan"}, "`adam`"},
		{{.rule = "stochastic gradient descent"}, "sgd adam adamw"},
		{{.rule = "sgd", .weight_decay = -1}, "weight_decay"},
		{{.rule = "sgd", .momentum = 1}, "momentum"},
		{{.rule = "sgd", .momentum = NAN}, "momentum"},
		{{.rule = "sgd", .dampening = 2}, "dampening"},
		{{.rule = "sgd", .nesterov = true}, "nesterov"},
		{{.rule = "sgd", .momentum = 0.9, .dampening = 0.1, .nesterov = true}, "nesterov"},
		{{.rule = "sgd", .momentum = 0.9, .nesterov = true, .caffe = true}, "caffe"},
		{{.rule = "adam", .beta1 = 1, .beta2 = 0.9, .eps = 1e-8}, "beta1"},
		{{.rule = "adam", .beta1 = 0.9, .beta2 = -0.1, .eps = 1e-8}, "beta2"},
		{{.rule = "adamw", .beta1 = 0.9, .beta2 = 0.9}, "eps"},
	};

	(void)state;
	for (size_t i = 0; i < LW_COUNT(rows); i++) {
		assert_int_equal(lw_rule_check(&rows[i].options), LW_E_ARGUMENT);
		if (!strstr(lw_last_error(), rows[i].word))
			fail_msg("row %zu: `%s` does not say `%s`", i, lw_last_error(), rows[i].word);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torch_values),
		cmocka_unit_test(caffe_differs_when_the_rate_changes),
		cmocka_unit_test(states_needed),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, open_device, close_device);
}
