/* The command as a user meets it: exit codes, messages, a small run through train, eval, plan, resume and Ctrl-C. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "base/base.h"

static char folder[] = "/tmp/layerwise-command-XXXXXX";

/* What the last command wrote, and its exit code; -1 where a signal ended it. */
static char output[1 << 16];

static int run(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Runs `layerwise <arguments>` in the folder; the shell's redirections decide what is caught. */
static int run(const char *format, ...)
{
	char arguments[2048], command[4096];
	va_list list;
	size_t size;
	FILE *pipe;
	int status;

	va_start(list, format);
	vsnprintf(arguments, sizeof(arguments), format, list);
	va_end(list);
	snprintf(command, sizeof(command), "cd %s || exit 99; %s %s", folder, LAYERWISE_COMMAND, arguments);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	size = fread(output, 1, sizeof(output) - 1, pipe);
	output[size] = '\0';
	status = pclose(pipe);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *part)
{
	if (!strstr(output, part))
		fail_msg("`%s` was expected in:\n%s", part, output);
}

/* Runs what must exit with code; shows what it wrote where it does not. */
#define expect_run(code, ...)                                                                                          \
	do {                                                                                                           \
		int expect_code = run(__VA_ARGS__);                                                                    \
		if (expect_code != (code))                                                                             \
			fail_msg("exit %d, expected %d:\n%s", expect_code, (code), output);                            \
	} while (0)

static void write_file(const char *name, const void *data, size_t size)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(data, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

enum { IMAGES = 96, SIDE = 6, CLASSES = 3 };

static const char recipe[] =
	"model:\n"
	"  input: [1, 6, 6]\n"
	"  layers:\n"
	"    - conv: {name: conv1, out: 4, kernel: 3, pad: 1}\n"
	"    - relu\n"
	"    - linear: {name: fc, out: 3}\n"
	"data:\n"
	"  format: idx\n"
	"  train: [images, labels]\n"
	"  test: [images, labels]\n"
	"train: {batch: 16, epochs: 20, lr: 0.1, momentum: 0.9}\n"
	"groups:\n"
	"  - {name: body, match: \"conv1.*\", lr: 0.05}\n"
	"  - {name: head, default: true}\n";

/* Images whose class is the pair of rows that is bright: easy to learn. */
static int set_up(void **state)
{
	static unsigned char images[16 + IMAGES * SIDE * SIDE] = {0, 0, 8, 3, 0, 0, 0, IMAGES, 0, 0, 0, SIDE, 0, 0, 0, SIDE};
	static unsigned char labels[8 + IMAGES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};

	(void)state;
	if (!mkdtemp(folder))
		return -1;
	for (int i = 0; i < IMAGES; i++) {
		labels[8 + i] = (unsigned char)(i % CLASSES);
		for (int p = 0; p < SIDE * SIDE; p++) {
			bool bright = p / SIDE / 2 == i % CLASSES;
			images[16 + i * SIDE * SIDE + p] = (unsigned char)((bright ? 200 : 20) + (i * 7 + p * 13) % 40);
		}
	}
	write_file("images", images, sizeof(images));
	write_file("labels", labels, sizeof(labels));
	write_file("r.yaml", recipe, sizeof(recipe) - 1);
	return 0;
}

static int tear_down(void **state)
{
	char command[128];

	(void)state;
	snprintf(command, sizeof(command), "rm -r %s", folder);
	return system(command);
}

static void help_and_version(void **state)
{
	static const char *const commands[] = {"train", "plan", "eval", "devices", "selftest", "bench"};

	(void)state;
	expect_run(0, "--help");
	for (size_t i = 0; i < LW_COUNT(commands); i++)
		expect(commands[i]);
	expect_run(0, "--version");
	expect("layerwise 0.1.0");
	for (size_t i = 0; i < LW_COUNT(commands); i++) {
		expect_run(0, "%s --help", commands[i]);
		expect("Usage: layerwise");
	}
	expect_run(0, "help train");
	expect("--resume-or-start");
}

/* The request was wrong: 2, and the message says what was expected. */
static void wrong_requests(void **state)
{
	static const struct {
		const char *arguments;
		int code;
		const char *message;
	} cases[] = {
		{"", 2, "Usage: layerwise"},
		{"trian r.yaml", 2, "there is no command `trian`; did you mean `train`?"},
		{"train", 2, "a recipe was expected"},
		{"train r.yaml other.yaml", 2, "one recipe was expected; `other.yaml` is a second one"},
		{"train r.yaml --frobnicate", 2, "frobnicate"},
		{"train nothing.yaml", 2, "layerwise train: nothing.yaml"},
		{"train r.yaml --set train.lerning_rate=1", 2, "unknown key `lerning_rate` in train; did you mean `lr`?"},
		{"train r.yaml --set train.steps", 2, "expected KEY=VALUE"},
		{"train r.yaml --set model.layers.2.linear.out=-1", 2, "model.layers.2.linear.out is `-1`"},
		{"train r.yaml --set model.layers.0.conv.kernel=19", 2, "r.yaml:4: "},
		{"train r.yaml --set model.layers.2.linear.out=2", 1, "layerwise train: r.yaml:9: "},
		{"train r.yaml --set groups.0.match=conf1.*", 2, "conf1"},
		{"train r.yaml --device nowhere:0", 2, "nowhere"},
		{"train r.yaml --set data.train=[no-images,no-labels]", 1, "no-images"},
		{"train r.yaml --save no-folder/out.safetensors", 1, "no-folder/out.safetensors cannot be written"},
		{"train r.yaml --save .", 1, "it is a folder"},
		{"train r.yaml --log no-folder/log.jsonl", 1, "no-folder/log.jsonl cannot be written"},
		{"train r.yaml --resume no-run", 1, "no-run"},
		{"train r.yaml --resume a --resume-or-start a", 2, "one of --resume and --resume-or-start"},
		{"eval r.yaml", 2, "there are no weights"},
		{"eval r.yaml --weights nothing.safetensors", 1, "nothing.safetensors cannot be read"},
		{"plan", 2, "a recipe was expected"},
	};
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < LW_COUNT(cases); i++) {
		int code = run("%s 2>&1", cases[i].arguments);

		if (code == cases[i].code && strstr(output, cases[i].message))
			continue;
		print_error("layerwise %s: exit %d, expected %d and `%s`, found:\n%s", cases[i].arguments, code, cases[i].code,
			    cases[i].message, output);
		failed++;
	}
	assert_int_equal(failed, 0);
}

static double field(json_t *object, const char *name)
{
	json_t *value = json_object_get(object, name);

	if (!json_is_number(value))
		fail_msg("%s is no number in:\n%s", name, output);
	return json_number_value(value);
}

static json_t *parse_output(void)
{
	json_error_t error;
	json_t *object = json_loads(output, 0, &error);

	if (!object)
		fail_msg("no JSON (%s):\n%s", error.text, output);
	return object;
}

static void train_then_eval(void **state)
{
	json_t *object;
	double accuracy, loss;

	(void)state;
	expect_run(0, "train r.yaml --save out.safetensors --log log.jsonl --json 2>plan.txt");
	object = parse_output();
	accuracy = field(object, "accuracy");
	loss = field(object, "test_loss");
	assert_true(accuracy > 0.95);
	assert_true(field(object, "loss") < 0.5);
	assert_true(field(object, "images_per_second") > 0);
	assert_true(field(object, "steps") == 120);
	json_decref(object);

	expect_run(0, "eval r.yaml --weights out.safetensors --predict p.jsonl --json");
	object = parse_output();
	assert_true(field(object, "accuracy") == accuracy);
	assert_true(field(object, "loss") - loss < 1e-9 && loss - field(object, "loss") < 1e-9);
	json_decref(object);
	expect_run(0, "--version && wc -l <p.jsonl && tail -n 1 p.jsonl && wc -l <log.jsonl");
	expect("\n96\n{\"index\": 95, \"label\": 2, \"prediction\": ");
	expect("\n121\n"); /* a line a step and one for the evaluation */
}

static void train_speaks_to_people(void **state)
{
	(void)state;
	expect_run(0, "train r.yaml --set train.steps=4 2>progress.txt");
	expect("group  tensors");
	expect("body");
	expect("update: 1 launch a step");
	expect("test accuracy ");
	expect_run(0, "--version && cat progress.txt");
	expect("step 4/4");
	expect_run(2, "train r.yaml --set train.steps=2 --set data.test=[] 2>&1");
}

static void a_plan_needs_no_data(void **state)
{
	json_t *object, *group;

	(void)state;
	expect_run(0, "plan r.yaml --set data.train=[no-images,no-labels] --set groups.0.freeze=true 2>/dev/null");
	expect("frozen");
	expect("pruning saves");
	expect_run(0, "plan r.yaml --set model.weights=none.safetensors 2>&1");
	expect("note: planned without weights");
	expect_run(0, "plan r.yaml --json");
	object = parse_output();
	group = json_array_get(json_object_get(object, "groups"), 0);
	assert_string_equal(json_string_value(json_object_get(group, "name")), "body");
	assert_true(field(group, "tensors") == 2 && field(group, "floats") == 40 && field(group, "lr") == 0.05);
	assert_true(field(object, "update_launches") == 1);
	json_decref(object);
}

/* Weights that fit only in part are said so, and are an error in eval. */
static void fresh_and_left_over_are_listed(void **state)
{
	(void)state;
	expect_run(0, "train r.yaml --set train.steps=1 --save first.safetensors 2>&1");
	expect_run(0, "train r.yaml --set train.steps=1 --set model.weights=first.safetensors "
			     "--set model.layers.2.linear.name=head 2>&1");
	expect("fresh: head.weight, head.bias");
	expect("left over: fc.weight, fc.bias");
	expect_run(1, "eval r.yaml --weights first.safetensors --set model.layers.2.linear.name=head 2>&1");
	expect("the weights lack 2 of the net's parameters, the first is head.weight");
}

/* Ctrl-C finishes the step, saves, exits with 130; a resumed run then ends as one that was never stopped. */
static void an_interrupted_run_goes_on(void **state)
{
	(void)state;
	expect_run(0, "train r.yaml --set train.steps=3000 --save whole.safetensors 2>&1");
	expect_run(0, "train r.yaml --set train.steps=3000 --checkpoint run >stop.txt 2>&1 & pid=$!; "
			     "for i in $(seq 600); do grep -q ^step stop.txt && break; sleep 0.05; done; kill -INT $pid; wait $pid; echo exit $?");
	expect("exit 130");
	expect_run(0, "--version && cat stop.txt");
	expect("it can go on from ");
	expect_run(0, "train r.yaml --set train.steps=3000 --resume run --save parts.safetensors 2>&1");
	expect("resumed from step ");
	expect_run(0, "--version && cmp whole.safetensors parts.safetensors");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(help_and_version),
		cmocka_unit_test(wrong_requests),
		cmocka_unit_test(train_then_eval),
		cmocka_unit_test(train_speaks_to_people),
		cmocka_unit_test(a_plan_needs_no_data),
		cmocka_unit_test(fresh_and_left_over_are_listed),
		cmocka_unit_test(an_interrupted_run_goes_on),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
