/* Whole runs on small generated data: interrupted and resumed equal uninterrupted, bit for bit; what is not finite is named. */
#include "train/train.h"

#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { IMAGES = 60, SIDE = 8, CLASSES = 3, BATCH = 8, STEPS = 30, PER_EPOCH = IMAGES / BATCH };

static char folder[64];
static lw_device *device;
static lw_dataset *train_set, *test_set;
static char last_warning[1024];

static void keep_warning(void *user, lw_log_level level, const char *text)
{
	(void)user;
	if (level == LW_LOG_WARNING)
		snprintf(last_warning, sizeof last_warning, "%s", text);
}

static void put_big_endian(FILE *stream, uint32_t value)
{
	for (int shift = 24; shift >= 0; shift -= 8)
		fputc((int)(value >> shift & 255), stream);
}

/* Noise with a bright row per class. */
static void write_idx(const char *images_path, const char *labels_path, uint32_t seed)
{
	FILE *images = fopen(images_path, "wb"), *labels = fopen(labels_path, "wb");

	assert_non_null(images);
	assert_non_null(labels);
	put_big_endian(images, 0x803);
	put_big_endian(images, IMAGES);
	put_big_endian(images, SIDE);
	put_big_endian(images, SIDE);
	put_big_endian(labels, 0x801);
	put_big_endian(labels, IMAGES);
	for (uint32_t i = 0; i < IMAGES; i++) {
		uint32_t label = lw_random_bits(seed, 1, i) % CLASSES;

		fputc((int)label, labels);
		for (uint32_t p = 0; p < SIDE * SIDE; p++)
			fputc((int)(lw_random_bits(seed, 2, i * SIDE * SIDE + p) % 128 + (p / SIDE == 2 * label + 1 ? 127 : 0)), images);
	}
	fclose(images);
	fclose(labels);
}

static void open_set(lw_dataset **set, const char *images, const char *labels)
{
	const char *paths[] = {images, labels};
	lw_dataset_options options;

	lw_dataset_defaults(&options);
	options.format = "idx";
	options.paths = paths;
	options.path_count = 2;
	options.channels = 1;
	options.height = options.width = SIDE;
	options.net_classes = CLASSES;
	options.mean_count = options.std_count = 1;
	options.mean[0] = 0.3;
	options.std[0] = 0.25;
	if (lw_dataset_open(set, &options) != LW_OK)
		fail_msg("%s", lw_last_error());
}

static int open_all(void **state)
{
	const char *name = getenv("LAYERWISE_TEST_DEVICE");

	(void)state;
	strcpy(folder, "/tmp/layerwise-run-XXXXXX");
	assert_non_null(mkdtemp(folder));
	assert_int_equal(chdir(folder), 0);
	lw_set_log(keep_warning, NULL, LW_LOG_WARNING);
	if (lw_device_open(&device, name ? name : "auto") != LW_OK)
		fail_msg("%s", lw_last_error());
	write_idx("train-images", "train-labels", 1);
	write_idx("test-images", "test-labels", 2);
	open_set(&train_set, "train-images", "train-labels");
	open_set(&test_set, "test-images", "test-labels");
	return 0;
}

static int close_all(void **state)
{
	char command[128];

	(void)state;
	lw_dataset_close(&train_set);
	lw_dataset_close(&test_set);
	lw_device_close(&device);
	lw_set_log(NULL, NULL, LW_LOG_WARNING);
	assert_int_equal(chdir("/"), 0);
	snprintf(command, sizeof command, "rm -rf %s", folder);
	return system(command);
}

static void add(lw_net *net, const char *kind, const char *name, int out, int kernel, int pad)
{
	lw_layer_options options;

	lw_layer_defaults(&options, kind);
	options.name = name;
	options.out = out;
	if (kernel) {
		options.kernel[0] = options.kernel[1] = kernel;
		options.pad[0] = options.pad[1] = pad;
	}
	if (lw_net_add(net, kind, &options) != LW_OK)
		fail_msg("%s", lw_last_error());
}

/* What a case varies. */
typedef struct setting {
	const char *rule;
	double lr;
	int64_t unfreeze_at; /* of the first conv; 0: never frozen */
	int64_t total;
} setting;

typedef struct trainer {
	lw_net *net;
	lw_plan *plan;
} trainer;

static void trainer_open(trainer *t, const setting *s)
{
	static const char *const first[] = {"conv1.*"};
	lw_optim_options optim;
	lw_group_options groups[2];
	lw_plan_options options;

	assert_int_equal(lw_net_create(&t->net, 1, SIDE, SIDE), LW_OK);
	add(t->net, "conv", "conv1", 6, 3, 1);
	add(t->net, "batchnorm", "bn1", 0, 0, 0);
	add(t->net, "relu", "relu1", 0, 0, 0);
	add(t->net, "maxpool", "pool1", 0, 2, 0);
	add(t->net, "dropout", "drop1", 0, 0, 0);
	add(t->net, "linear", "fc", CLASSES, 0, 0);
	assert_int_equal(lw_net_initialize(t->net, LW_INIT_HE, 3), LW_OK);
	lw_optim_defaults(&optim);
	optim.rule.rule = s->rule;
	optim.rule.momentum = 0.9;
	optim.lr = s->lr;
	optim.schedule.kind = LW_SCHEDULE_COSINE;
	optim.schedule.warmup = 5;
	optim.clip_norm = 5.0;
	for (int i = 0; i < 2; i++)
		lw_group_defaults(&groups[i]);
	groups[0].name = "old \"one\"";
	groups[0].match = first;
	groups[0].match_count = 1;
	groups[0].freeze = s->unfreeze_at > 0;
	groups[0].unfreeze_at = s->unfreeze_at;
	groups[0].lr_mult = 0.5;
	groups[1].name = "rest";
	groups[1].is_default = true;
	lw_plan_defaults(&options);
	options.batch = BATCH;
	options.seed = 11;
	options.total_steps = s->total;
	if (lw_plan_create(&t->plan, t->net, &device, 1, &optim, groups, 2, &options) != LW_OK)
		fail_msg("%s", lw_last_error());
}

static void trainer_close(trainer *t)
{
	lw_plan_destroy(&t->plan);
	lw_net_destroy(&t->net);
}

static int stop_at(void *user) { return --*(int *)user == 0 ? SIGTERM : 0; }

/* Runs from a fresh plan; stop > 0: a signal comes after that many steps. The weights are saved as `name`. */
static lw_status run_once(const setting *s, lw_train_options *options, int stop, lw_train_summary *summary, const char *name)
{
	trainer t;
	lw_status status;

	trainer_open(&t, s);
	options->steps = s->total;
	options->seed = 5;
	options->interrupted = stop ? stop_at : NULL;
	options->user = &stop;
	status = lw_train(t.plan, BATCH, train_set, test_set, options, summary);
	if (name) {
		assert_int_equal(lw_plan_download(t.plan), LW_OK);
		assert_int_equal(lw_model_save(t.net, name), LW_OK);
	}
	trainer_close(&t);
	return status;
}

static void *read_file(const char *path, size_t *size)
{
	void *data;

	if (lw_file_read(path, &data, size) != LW_OK)
		fail_msg("%s", lw_last_error());
	return data;
}

static void expect_same_files(const char *a, const char *b)
{
	size_t size_a, size_b;
	void *data_a = read_file(a, &size_a), *data_b = read_file(b, &size_b);

	assert_int_equal(size_a, size_b);
	assert_memory_equal(data_a, data_b, size_a);
	free(data_a);
	free(data_b);
}

static void check_resume(const setting *s, int stop, const char *name)
{
	char whole[64], resumed[64], whole_log[64], resumed_log[64], checkpoints[64];
	lw_train_summary summary;
	lw_train_options options;

	snprintf(whole, sizeof whole, "%s-whole", name);
	snprintf(resumed, sizeof resumed, "%s-resumed", name);
	snprintf(whole_log, sizeof whole_log, "%s-whole.jsonl", name);
	snprintf(resumed_log, sizeof resumed_log, "%s-resumed.jsonl", name);
	snprintf(checkpoints, sizeof checkpoints, "%s-run", name);
	lw_train_defaults(&options);
	options.evaluate_every = 1;
	options.log_path = whole_log;
	assert_int_equal(run_once(s, &options, 0, &summary, whole), LW_OK);
	assert_int_equal(summary.steps, s->total);
	assert_true(summary.evaluated && summary.images_per_second > 0 && isfinite(summary.loss));
	assert_null(summary.checkpoint);
	lw_train_summary_clear(&summary);

	options.log_path = resumed_log;
	options.checkpoint_dir = options.resume_dir = checkpoints;
	options.checkpoint_every = 4;
	options.resume_or_start = true;
	assert_int_equal(run_once(s, &options, stop, &summary, NULL), LW_E_INTERRUPTED);
	assert_non_null(strstr(lw_last_error(), "SIGTERM"));
	assert_int_equal(summary.steps, stop);
	assert_non_null(strstr(lw_last_error(), summary.checkpoint));
	lw_train_summary_clear(&summary);
	if (run_once(s, &options, 0, &summary, resumed) != LW_OK)
		fail_msg("%s", lw_last_error());
	assert_int_equal(summary.resumed_from, stop);
	assert_int_equal(summary.steps, s->total);
	lw_train_summary_clear(&summary);
	expect_same_files(whole, resumed);
	expect_same_files(whole_log, resumed_log);

	/* a run that is over: nothing more happens to it */
	assert_int_equal(run_once(s, &options, 0, &summary, resumed), LW_OK);
	assert_int_equal(summary.resumed_from, s->total);
	lw_train_summary_clear(&summary);
	expect_same_files(whole, resumed);
	expect_same_files(whole_log, resumed_log);
}

static void test_resume_adam(void **state)
{
	(void)state;
	check_resume(&(setting){.rule = "adam", .lr = 0.01, .total = STEPS}, 11, "adam");
}

static void test_resume_sgd_at_an_evaluation(void **state)
{
	(void)state;
	check_resume(&(setting){.rule = "sgd", .lr = 0.05, .total = STEPS}, 2 * PER_EPOCH, "sgd");
}

static void test_unfreeze_after_the_resume(void **state)
{
	(void)state;
	check_resume(&(setting){.rule = "adamw", .lr = 0.01, .unfreeze_at = 15, .total = STEPS}, 11, "unfreeze-after");
}

static void test_unfreeze_before_the_resume(void **state)
{
	(void)state;
	check_resume(&(setting){.rule = "adam", .lr = 0.01, .unfreeze_at = 6, .total = STEPS}, 11, "unfreeze-before");
}

static void test_unfreeze_at_the_resume(void **state)
{
	(void)state;
	check_resume(&(setting){.rule = "adam", .lr = 0.01, .unfreeze_at = 12, .total = STEPS}, 11, "unfreeze-at");
}

static void test_resume_from_nothing(void **state)
{
	const setting s = {.rule = "sgd", .lr = 0.01, .total = 4};
	lw_train_summary summary;
	lw_train_options options;

	(void)state;
	lw_train_defaults(&options);
	options.resume = true;
	options.resume_dir = "no-such-folder";
	assert_int_equal(run_once(&s, &options, 0, &summary, NULL), LW_E_IO);
	assert_non_null(strstr(lw_last_error(), "no-such-folder"));
	lw_train_summary_clear(&summary);
	options.resume_or_start = true;
	assert_int_equal(run_once(&s, &options, 0, &summary, NULL), LW_OK);
	assert_int_equal(summary.resumed_from, 0);
	lw_train_summary_clear(&summary);
}

static void test_resume_of_another_run(void **state)
{
	const setting s = {.rule = "sgd", .lr = 0.01, .total = 4};
	lw_train_summary summary;
	lw_train_options options;

	(void)state;
	lw_train_defaults(&options);
	options.checkpoint_dir = "other";
	assert_int_equal(run_once(&s, &options, 0, &summary, NULL), LW_OK);
	lw_train_summary_clear(&summary);
	options.resume = true;
	options.resume_dir = options.checkpoint_dir;
	options.shuffle = false;
	assert_int_equal(run_once(&s, &options, 0, &summary, NULL), LW_E_ARGUMENT);
	assert_non_null(strstr(lw_last_error(), "shuffle"));
	lw_train_summary_clear(&summary);
}

static void check_progress(void *user, const lw_train_progress *p)
{
	int64_t *last = user;

	assert_int_equal(p->step, ++*last);
	assert_int_equal(p->total, 2 * PER_EPOCH + 1);
	assert_int_equal(p->epoch, (p->step - 1) / PER_EPOCH + 1);
	assert_int_equal(p->epochs, 3);
	assert_int_equal(p->evaluated, p->step == PER_EPOCH || p->step == 2 * PER_EPOCH);
	assert_true(p->loss > 0 && p->images_per_second > 0 && p->seconds > 0);
	assert_true(p->step == p->total ? p->eta_seconds == 0 : p->eta_seconds > 0);
}

static void test_progress(void **state)
{
	const setting s = {.rule = "sgd", .lr = 0.01, .total = 2 * PER_EPOCH + 1};
	lw_train_summary summary;
	lw_train_options options;
	int64_t last = 0;
	trainer t;

	(void)state;
	trainer_open(&t, &s);
	lw_train_defaults(&options);
	options.steps = s.total;
	options.evaluate_every = 1;
	options.progress = check_progress;
	options.user = &last;
	assert_int_equal(lw_train(t.plan, BATCH, train_set, test_set, &options, &summary), LW_OK);
	assert_int_equal(last, s.total);
	lw_train_summary_clear(&summary);
	trainer_close(&t);
}

static void test_stop_without_a_folder(void **state)
{
	const setting s = {.rule = "sgd", .lr = 0.01, .total = 9};
	lw_train_summary summary;
	lw_train_options options;

	(void)state;
	lw_train_defaults(&options);
	assert_int_equal(run_once(&s, &options, 3, &summary, NULL), LW_E_INTERRUPTED);
	assert_non_null(strstr(lw_last_error(), "after step 3 of 9; nothing was saved"));
	lw_train_summary_clear(&summary);
}

/* A learning rate that sends the weights to infinity in a step or two. */
static void test_not_finite(void **state)
{
	const setting calm = {.rule = "sgd", .lr = 0.01, .total = 4}, wild = {.rule = "sgd", .lr = 1e38, .total = STEPS};
	lw_train_summary summary;
	lw_train_options options;

	(void)state;
	lw_train_defaults(&options);
	options.checkpoint_dir = "wild";
	assert_int_equal(run_once(&calm, &options, 0, &summary, NULL), LW_OK);
	lw_train_summary_clear(&summary);
	options.resume = true;
	options.resume_dir = options.checkpoint_dir;
	assert_int_equal(run_once(&wild, &options, 0, &summary, NULL), LW_E_NUMERIC);
	assert_non_null(strstr(lw_last_error(), "not finite"));
	assert_non_null(strstr(lw_last_error(), "wild/checkpoint-0000000004.safetensors"));
	assert_true(lw_file_exists("wild/checkpoint-0000000004.safetensors"));
	lw_train_summary_clear(&summary);

	options.skip_not_finite = 5;
	options.log_path = "wild.jsonl";
	assert_int_equal(run_once(&wild, &options, 0, &summary, NULL), LW_E_NUMERIC);
	assert_non_null(strstr(lw_last_error(), "5 such steps were skipped before"));
	assert_non_null(strstr(last_warning, "skipped (5 of at most 5)"));
	assert_int_equal(summary.skipped, 6);
	lw_train_summary_clear(&summary);
}

/* A weight that is not finite from the start: its layer's gradient is the first bad tensor, or the loss. */
static void test_bad_tensor_is_named(void **state)
{
	const setting s = {.rule = "sgd", .lr = 0.01, .total = 4};
	lw_train_summary summary;
	lw_train_options options;
	float weights[CLASSES * 6 * SIDE * SIDE / 4];
	size_t index;
	trainer t;

	(void)state;
	trainer_open(&t, &s);
	assert_int_equal(lw_net_param_find(t.net, "fc.weight", &index), LW_OK);
	assert_int_equal(lw_net_param_get(t.net, index, weights), LW_OK);
	weights[7] = NAN;
	assert_int_equal(lw_net_param_set(t.net, index, weights), LW_OK);
	assert_int_equal(lw_plan_upload(t.plan), LW_OK);
	lw_train_defaults(&options);
	options.steps = 4;
	assert_int_equal(lw_train(t.plan, BATCH, train_set, NULL, &options, &summary), LW_E_NUMERIC);
	assert_non_null(strstr(lw_last_error(), "step 1: the "));
	assert_non_null(strstr(lw_last_error(), "not finite"));
	lw_train_summary_clear(&summary);
	trainer_close(&t);
}

static void collect(void *user, size_t index, int32_t label, const float *logits, int classes)
{
	size_t *correct = user;
	int best = 0;

	assert_int_equal(classes, CLASSES);
	assert_in_range(label, 0, CLASSES - 1);
	assert_in_range(index, 0, IMAGES - 1);
	for (int c = 1; c < classes; c++)
		if (logits[c] > logits[best])
			best = c;
	*correct += best == label;
}

/* 60 images in batches of 8: the last one has 4. */
static void test_evaluate(void **state)
{
	const setting s = {.rule = "adam", .lr = 0.02, .total = 40};
	double accuracy, loss, again, again_loss;
	lw_train_summary summary;
	lw_train_options options;
	size_t correct = 0;
	trainer t;

	(void)state;
	trainer_open(&t, &s);
	lw_train_defaults(&options);
	options.steps = s.total;
	assert_int_equal(lw_train(t.plan, BATCH, train_set, test_set, &options, &summary), LW_OK);
	assert_int_equal(lw_evaluate(t.plan, BATCH, test_set, &accuracy, &loss, collect, &correct), LW_OK);
	assert_int_equal(correct, (size_t)lround(accuracy * IMAGES));
	assert_true(accuracy == summary.accuracy && loss == summary.evaluation_loss);
	assert_int_equal(lw_evaluate(t.plan, 1, test_set, &again, &again_loss, NULL, NULL), LW_OK);
	assert_true(accuracy == again && fabs(again_loss - loss) < 1e-6);
	assert_true(accuracy > 0.8); /* the bright row is easy to see */
	lw_train_summary_clear(&summary);
	trainer_close(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resume_adam),
		cmocka_unit_test(test_resume_sgd_at_an_evaluation),
		cmocka_unit_test(test_unfreeze_after_the_resume),
		cmocka_unit_test(test_unfreeze_before_the_resume),
		cmocka_unit_test(test_unfreeze_at_the_resume),
		cmocka_unit_test(test_resume_from_nothing),
		cmocka_unit_test(test_resume_of_another_run),
		cmocka_unit_test(test_progress),
		cmocka_unit_test(test_stop_without_a_folder),
		cmocka_unit_test(test_not_finite),
		cmocka_unit_test(test_bad_tensor_is_named),
		cmocka_unit_test(test_evaluate),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
