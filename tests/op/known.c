/* known: every row of the shipped table names a choice that there is; which row counts; what the tuner found counts more. */
#include "op/known.h"
#include "op/runner.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void expect(lw_test_run *run, bool holds, const char *what, const char *detail)
{
	if (holds)
		lw_test_pass(run);
	else
		lw_test_fail(run, "%s: %s", what, detail);
}

/* A call whose key the glob matches: stars stand for the images, and 8 will do, or for what follows the options. */
typedef struct example {
	const lw_op *op;
	lw_layer_options options;
	lw_op_call call;
	lw_pass pass;
} example;

static bool make_example(const char *glob, example *e)
{
	char text[2 * LW_TUNING_KEY], kind[16], pass[16];
	lw_layer_options *o = &e->options;
	lw_shape in, out;
	lw_op_rule rule;
	size_t length = 0;

	for (const char *p = strncmp(glob, "gpu ", 4) == 0 ? glob + 4 : glob; *p && length < sizeof text - 1; p++)
		text[length++] = *p == '*' ? '8' : *p;
	text[length] = 0;
	*e = (example){.pass = LW_PASS_COUNT};
	lw_layer_defaults(o, "conv");
	if (sscanf(text, "%15s %15s %dx%dx%dx%d %dx%dx%dx%d kernel %dx%d stride %dx%d pad %dx%d dilation %dx%d groups %d", kind, pass, &in.n,
		   &in.c, &in.h, &in.w, &out.n, &out.c, &out.h, &out.w, &o->kernel[0], &o->kernel[1], &o->stride[0], &o->stride[1], &o->pad[0],
		   &o->pad[1], &o->dilation[0], &o->dilation[1], &o->groups) != 19)
		return false;
	o->out = out.c;
	e->op = lw_op_find(kind);
	for (int i = 0; i < LW_PASS_COUNT; i++)
		if (strcmp(pass, lw_pass_names[i]) == 0)
			e->pass = (lw_pass)i;
	if (!e->op || !e->op->choices || e->pass == LW_PASS_COUNT || e->op->rule(o, &in, 1, &rule) != LW_OK ||
	    memcmp(&rule.output, &out, sizeof out) != 0)
		return false;
	e->call = (lw_op_call){.options = o, .input_count = 1, .input_shape = {in}, .output_shape = out};
	return true;
}

/* A row of CPUs, on the device as if it preferred the row's vectors. */
static void check_row(lw_test_run *run, const lw_known *row)
{
	lw_device_info *info = (lw_device_info *)lw_device_get_info(run->context.device);
	const unsigned width = info->vector_width;
	lw_choice list[LW_MAX_CHOICES], first;
	char key[LW_TUNING_KEY];
	bool found = false;
	example e;
	int count;

	if (!make_example(row->key, &e)) {
		lw_test_fail(run, "`%s` is no key of a shape that there is", row->key);
		return;
	}
	lw_op_tuning_key(&run->context, e.op, &e.call, e.pass, key);
	expect(run, fnmatch(row->key, key, 0) == 0, row->key, key);
	if (info->type != LW_DEVICE_CPU || !info->fast_fma || strncmp(row->key, "gpu ", 4) == 0)
		return;
	info->vector_width = row->vector ? (unsigned)row->vector : width;
	count = e.op->choices(&run->context, &e.call, e.pass, list);
	first = list[0];
	for (int i = 0; i < count; i++)
		found |= list[i].algorithm == first.algorithm && fnmatch(row->choice, list[i].name, 0) == 0;
	expect(run, found, row->key, row->choice);
	lw_op_choices(&run->context, e.op, &e.call, e.pass, list);
	expect(run, fnmatch(row->choice, list[0].name, 0) == 0 && list[0].algorithm == first.algorithm, row->key, list[0].name);
	info->vector_width = width;
}

/* Three choices, the last of another algorithm. */
static int choices(const lw_op_context *context, const lw_op_call *call, lw_pass pass, lw_choice *list)
{
	(void)context, (void)call, (void)pass;
	list[0] = (lw_choice){.name = "direct/a 1x1"};
	list[1] = (lw_choice){.name = "direct/b 2x2"};
	list[2] = (lw_choice){.name = "other/c 3x3", .algorithm = 1};
	return 3;
}

static lw_status check_taken(lw_test_run *run, example *e, const lw_known *rows, const char *what, const char *expected)
{
	lw_choice choice;

	run->context.known = rows;
	LW_TRY(lw_op_choose(&run->context, e->op, &e->call, e->pass, &choice));
	expect(run, strcmp(choice.name, expected) == 0, what, choice.name);
	return LW_OK;
}

static lw_status check_order(lw_test_run *run, example *e)
{
	const bool gpu = lw_device_get_info(run->context.device)->type != LW_DEVICE_CPU;
	const char *all = gpu ? "gpu conv data *" : "conv data *", *foreign = gpu ? "conv data *" : "gpu conv data *";
	const lw_known none[] = {{0}}, plain[] = {{0, all, "direct/b*"}, {0}}, two[] = {{0, all, "direct/?"}, {0, all, "*b*"}, {0, all, "*a*"}, {0}};
	const lw_known other[] = {{0, all, "other/*"}, {0}}, width[] = {{3, all, "*b*"}, {0}}, kind[] = {{0, foreign, "*b*"}, {0}};

	LW_TRY(check_taken(run, e, none, "no rows", "direct/a 1x1"));
	LW_TRY(check_taken(run, e, plain, "a row", "direct/b 2x2"));
	LW_TRY(check_taken(run, e, two, "the first row that names a choice", "direct/b 2x2"));
	LW_TRY(check_taken(run, e, width, "a row of other vectors", "direct/a 1x1"));
	LW_TRY(check_taken(run, e, kind, "a row of other devices", "direct/a 1x1"));
	LW_TRY(check_taken(run, e, other, "a row of another algorithm", "direct/a 1x1"));
	run->context.reproducible = true;
	LW_TRY(check_taken(run, e, other, "a row of another algorithm, reproducible", "direct/a 1x1"));
	LW_TRY(check_taken(run, e, plain, "a row, reproducible", "direct/b 2x2"));
	run->context.reproducible = false;
	return LW_OK;
}

/* What the tuner found, the table's first guess being another; what --export would print of it leads back to it. */
static lw_status check_tuned(lw_test_run *run, example *e)
{
	char folder[] = "/tmp/layerwise-known-XXXXXX", path[64], key[LW_TUNING_KEY], text[LW_KNOWN_TEXT], glob[LW_KNOWN_TEXT], choice[64];
	const lw_known plain[] = {{0, "*", "direct/b*"}, {0}};
	lw_choice list[LW_MAX_CHOICES];
	lw_tuning *tuning = NULL;
	lw_known row = {0};
	lw_status status;

	if (!mkdtemp(folder))
		return lw_fail(LW_E_IO, "%s cannot be made", folder);
	snprintf(path, sizeof path, "%s/tuning.sqlite", folder);
	lw_op_tuning_key(&run->context, e->op, &e->call, e->pass, key);
	LW_GO(lw_tuning_open(&tuning, run->context.device, path));
	LW_GO(lw_tuning_store(tuning, key, "other/c 3x3", 1, true));
	run->context.tuning = tuning;
	LW_GO(check_taken(run, e, plain, "what the tuner found", "other/c 3x3"));
	choices(&run->context, &e->call, e->pass, list);
	lw_known_print(run->context.device, key, &list[0], &list[1], 1.5, text);
	if (sscanf(text, "LW_KNOWN(%d, \"%511[^\"]\", \"%63[^\"]\") /* 1.50 x", &row.vector, glob, choice) == 3) {
		row.key = glob;
		row.choice = choice;
	}
	expect(run, row.key && lw_known_find((lw_known[]){row, {0}}, run->context.device, key, list, 3) == 1, "a printed row", text);
	lw_known_print(run->context.device, key, &list[0], &list[2], 1.5, text);
	expect(run, strncmp(text, "/* another algorithm", 20) == 0 && strstr(text, "*/") == text + strlen(text) - 2, "a printed row", text);
out:
	run->context.tuning = NULL;
	lw_tuning_close(&tuning);
	unlink(path);
	rmdir(folder);
	return status;
}

static lw_status check_known(lw_test_run *run)
{
	const lw_op_context given = run->context;
	lw_status status = LW_OK;
	example e;
	lw_op op;

	run->context.force_variant = -1;
	for (const lw_known *row = lw_known_rows; row->key; row++)
		check_row(run, row);
	make_example("conv data *x3x9x7 *x5x9x7 kernel 3x3 stride 1x1 pad 1x1 dilation 1x1 groups 1 *", &e);
	op = *e.op;
	op.choices = choices;
	e.op = &op;
	LW_GO(check_order(run, &e));
	LW_GO(check_tuned(run, &e));
out:
	run->context = given;
	return status;
}

const lw_check lw_check_known = {"known", check_known};
