/* layerwise tune: measures the ways of computing each layer on a device and remembers the fastest. */
#include "op/tune.h"
#include "tool.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPTION_ARCH = 256, OPTION_BATCH, OPTION_SHAPE, OPTION_BUDGET, OPTION_PRECISION, OPTION_REPRODUCIBLE, OPTION_FORMAT,
       OPTION_EXPORT, SHAPE_NUMBERS = 10, MAX_SHAPES = 64 };

typedef struct arguments {
	tool_options shared;
	const char *recipe, *arch;
	int shapes[MAX_SHAPES][SHAPE_NUMBERS], shape_count, batch;
	double budget;
	bool precision_given, reproducible, export;
	lw_precision precision;
	lw_table_format format;
} arguments;

/* N,C,H,W,K,R,S,stride,pad[,groups] */
static void read_shape(arguments *a, const char *text, struct argp_state *state)
{
	int *shape = a->shapes[a->shape_count], count = 0;
	const char *p = text;

	if (a->shape_count == MAX_SHAPES)
		argp_error(state, "--shape: at most %d may be given", MAX_SHAPES);
	shape[9] = 1;
	while (count < SHAPE_NUMBERS && isdigit((unsigned char)*p)) {
		char *end;
		long value = strtol(p, &end, 10);
		if (value < (count != 8) || value > INT_MAX || (*end && *end != ','))
			break;
		shape[count++] = (int)value;
		p = *end ? end + 1 : end;
	}
	if (*p || count < SHAPE_NUMBERS - 1)
		argp_error(state, "--shape: `%s` was found, N,C,H,W,K,R,S,stride,pad[,groups] was expected", text);
	a->shape_count++;
}

static double read_number(const char *name, const char *text, double most, bool whole, struct argp_state *state)
{
	char *end;
	double value = strtod(text, &end);

	if (end == text || *end || !(value > 0 && value <= most) || (whole && value != floor(value)))
		argp_error(state, "--%s: `%s` was found, a %snumber above 0 was expected", name, text, whole ? "whole " : "");
	return value;
}

/* Which of the words the text is. */
static int read_word(const char *name, const char *text, const char *const *words, int count, struct argp_state *state)
{
	char list[64] = "";

	for (int i = 0; i < count; i++) {
		if (strcmp(text, words[i]) == 0)
			return i;
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", words[i]);
	}
	argp_error(state, "--%s: `%s` was found, one of %s was expected", name, text, list);
	return 0;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	static const char *const precisions[] = {"fast", "accurate"}, *const formats[] = {"text", "md", "csv", "json"};
	static const lw_table_format table_formats[] = {LW_TABLE_TEXT, LW_TABLE_MARKDOWN, LW_TABLE_CSV, LW_TABLE_JSON};
	arguments *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->shared;
		return 0;
	case OPTION_ARCH:
		a->arch = argument;
		return 0;
	case OPTION_BATCH:
		a->batch = (int)read_number("batch", argument, 1 << 20, true, state);
		return 0;
	case OPTION_SHAPE:
		read_shape(a, argument, state);
		return 0;
	case OPTION_BUDGET:
		a->budget = read_number("budget", argument, 1e9, false, state);
		return 0;
	case OPTION_PRECISION:
		a->precision = read_word("precision", argument, precisions, 2, state) ? LW_PRECISION_ACCURATE : LW_PRECISION_FAST;
		a->precision_given = true;
		return 0;
	case OPTION_REPRODUCIBLE:
		a->reproducible = true;
		return 0;
	case OPTION_FORMAT:
		a->format = table_formats[read_word("format", argument, formats, 4, state)];
		return 0;
	case OPTION_EXPORT:
		a->export = true;
		return 0;
	case 'j':
		a->format = LW_TABLE_JSON;
		return 0;
	case ARGP_KEY_NO_ARGS:
		return 0;
	case ARGP_KEY_END:
		if ((a->recipe != NULL) + (a->arch != NULL) + (a->shape_count > 0) != 1)
			argp_error(state, "one of a recipe, --arch and --shape was expected");
		if (a->batch && a->shape_count)
			argp_error(state, "--shape has the batch as its first number; --batch is for --arch and recipes");
		return 0;
	default:
		return tool_parse_recipe(key, argument, state, &a->recipe);
	}
}

static const struct argp_option options[] = {
	{"arch", OPTION_ARCH, "NAME", 0, "A ready-made network instead of a recipe: lenet, cifar6, resnet18, ...", 0},
	{"batch", OPTION_BATCH, "N", 0, "Images of a step (of a network: what it usually has; of a recipe: its own)", 0},
	{"shape", OPTION_SHAPE, "NUMBERS", 0, "A convolution: N,C,H,W,K,R,S,stride,pad[,groups]; may be repeated", 0},
	{"budget", OPTION_BUDGET, "SECONDS", 0, "Search no longer than about this; what is left keeps its default (no limit)", 0},
	{"precision", OPTION_PRECISION, "fast|accurate", 0, "fast allows algorithms that round more (fast; of a recipe: its own)", 0},
	{"reproducible", OPTION_REPRODUCIBLE, NULL, 0, "For runs with the same bits on every device: each shape's own algorithm", 0},
	{"export", OPTION_EXPORT, NULL, 0, "Instead of the table, rows for src/op/known.inc of what was clearly faster than the default (by 15 %)", 0},
	{"format", OPTION_FORMAT, "text|md|csv|json", 0, "Of the table (text)", 0},
	{"json", 'j', NULL, 0, "The same as --format json", 0},
	{0},
};
static const struct argp_child children[] = {{&tool_recipe_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.args_doc = "RECIPE\n--arch NAME\n--shape NUMBERS...",
	.doc = "Measures the ways there are to compute each layer on a device, checks what each computes, and remembers the fastest: runs "
	       "with the same shapes take it. `train` does so by itself, shortly, where a shape is new."
	       "\vExamples:\n"
	       "  layerwise tune recipe.yaml\n"
	       "  layerwise tune --arch resnet18 --batch 16 --budget 60\n"
	       "  layerwise tune --shape 32,64,16,16,64,3,3,1,1 --format md\n"
	       "  layerwise tune --arch resnet50 --export >rows.txt\n\n"
	       "Kept in layerwise/tuning.sqlite under $XDG_DATA_HOME, or ~/.local/share. A run with other choices may have other bits; "
	       "with `reproducible: true` it never has. Last, on standard error, it says how much slower than tuned ones untuned runs are. What "
	       "--export prints makes them faster for everyone with such a device: send it in.",
	.children = children,
};

/* --- The table --- */

typedef struct output {
	lw_table *table;
	lw_status status;
	bool terminal, export;
	/* of the passes that were measured: how many, of the default's time over the best's the logarithms' sum and the most, and whose that is */
	size_t measured;
	double logarithms, worst;
	char worst_name[160];
} output;

static lw_status milliseconds(lw_table *table, double seconds)
{
	return seconds > 0 ? lw_table_cell(table, "%.4g", 1e3 * seconds) : lw_table_cell(table, "-");
}

static lw_status add_row(lw_table *t, const lw_tune_event *e)
{
	LW_TRY(lw_table_cell(t, "%s", e->layer));
	LW_TRY(lw_table_cell(t, "%s", e->pass));
	LW_TRY(lw_table_cell(t, "%s", e->shape));
	LW_TRY(lw_table_cell(t, "%s", e->usual));
	LW_TRY(milliseconds(t, e->usual_seconds));
	LW_TRY(lw_table_cell(t, "%s", e->best));
	LW_TRY(milliseconds(t, e->best_seconds));
	return e->usual_seconds > 0 && e->best_seconds > 0 ? lw_table_cell(t, "%.2f", e->usual_seconds / e->best_seconds) :
							      lw_table_cell(t, "-");
}

static void count_gain(output *out, const lw_tune_event *e)
{
	const double gain = e->usual_seconds / e->best_seconds;

	if (!(e->usual_seconds > 0 && e->best_seconds > 0))
		return;
	out->measured++;
	out->logarithms += log(gain);
	if (gain > out->worst) {
		out->worst = gain;
		snprintf(out->worst_name, sizeof out->worst_name, "%s %s %s", e->layer, e->pass, e->shape);
	}
}

static void print_gains(const output *out)
{
	if (out->measured)
		fprintf(stderr, "untuned over tuned time: %.3f (geometric mean of %zu passes), %.2f at worst (%s)\n",
			exp(out->logarithms / (double)out->measured), out->measured, out->worst, out->worst_name);
}

static void show(void *user, const lw_tune_event *event)
{
	output *out = user;

	if (out->terminal && event->done)
		fprintf(stderr, "\r\033[Ktuning %zu/%zu  %.0f s  %s %s %s", event->done, event->total, event->seconds, event->layer, event->pass,
			event->shape);
	if (!event->done)
		return;
	count_gain(out, event);
	if (out->export && event->known)
		puts(event->known);
	if (out->status == LW_OK)
		out->status = add_row(out->table, event);
}

static lw_tune_options tune_options(const arguments *a, output *out)
{
	return (lw_tune_options){.budget = a->budget, .again = true, .progress = show, .user = out};
}

/* --- What is tuned --- */

static lw_status tune_shapes(const arguments *a, lw_device *device, output *out)
{
	static const lw_op_context none = {.force_variant = -1};
	lw_op_context context = none;
	lw_layer_options layers[MAX_SHAPES];
	lw_tune_item items[MAX_SHAPES * LW_PASS_COUNT];
	const lw_tune_options tune = tune_options(a, out);
	lw_tuning *tuning = NULL;
	size_t count = 0;
	lw_status status;

	context.device = device;
	context.precision = a->precision;
	context.reproducible = a->reproducible;
	for (int i = 0; i < a->shape_count; i++) {
		const int *shape = a->shapes[i];
		lw_op_call call = {.options = &layers[i], .input_count = 1, .training = true};
		lw_op_rule rule;

		lw_layer_defaults(&layers[i], "conv");
		layers[i].out = shape[4];
		for (int axis = 0; axis < 2; axis++) {
			layers[i].kernel[axis] = shape[5 + axis];
			layers[i].stride[axis] = shape[7];
			layers[i].pad[axis] = shape[8];
		}
		layers[i].groups = shape[9];
		layers[i].bias = false;
		call.input_shape[0] = (lw_shape){.n = shape[0], .h = shape[2], .w = shape[3], .c = shape[1]};
		LW_TRY(lw_op_find("conv")->rule(&layers[i], call.input_shape, 1, &rule));
		call.output_shape = rule.output;
		for (int pass = 0; pass < LW_PASS_COUNT; pass++)
			items[count++] = (lw_tune_item){lw_op_find("conv"), call, (lw_pass)pass, rule.flops};
	}
	LW_GO(lw_tuning_open(&tuning, device, NULL));
	LW_GO(lw_tune_items(&context, tuning, items, count, &tune));
out:
	lw_tuning_close(&tuning);
	return status;
}

static int tune_plan(const arguments *a, tool_work *work, output *out)
{
	const lw_tune_options tune = tune_options(a, out);
	lw_status status = lw_plan_tune(work->plan, &tune);

	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

static int tune_recipe(arguments *a, tool_work *work, output *out)
{
	static const char *const none[] = {NULL};
	lw_status status = tool_add_set(&a->shared, "model.weights", none, 0); /* they change nothing here */
	char text[32];
	int code;

	snprintf(text, sizeof text, "train.batch=%d", a->batch);
	if (status == LW_OK && a->batch)
		status = tool_add_text(&a->shared, text);
	if (status == LW_OK && a->precision_given)
		status = tool_add_text(&a->shared, a->precision == LW_PRECISION_FAST ? "train.precision=fast" : "train.precision=accurate");
	if (status == LW_OK && a->reproducible)
		status = tool_add_text(&a->shared, "train.reproducible=true");
	if (status != LW_OK)
		return tool_fail(work->command, status);
	code = tool_work_recipe(work, a->recipe, &a->shared);
	if (code == TOOL_OK)
		code = tool_work_net(work);
	if (code == TOOL_OK)
		code = tool_work_plan(work, &a->shared, 1000, false); /* a length for schedules that run to one */
	return code == TOOL_OK ? tune_plan(a, work, out) : code;
}

static int tune_arch(const arguments *a, tool_work *work, output *out)
{
	lw_plan_options plan;
	lw_optim_options optim;
	lw_status status;
	lw_arch arch;

	lw_plan_defaults(&plan);
	lw_optim_defaults(&optim);
	LW_GO(lw_arch_find(&arch, a->arch));
	LW_GO(lw_arch_create(&work->net, &arch));
	plan.batch = a->batch ? a->batch : arch.batch;
	plan.precision = a->precision;
	plan.reproducible = a->reproducible;
	plan.tuning = LW_TUNING_ON;
	LW_GO(lw_devices_open(&work->devices, &work->device_count, a->shared.devices ? a->shared.devices : "auto"));
	LW_GO(lw_plan_create(&work->plan, work->net, work->devices, work->device_count, &optim, NULL, 0, &plan));
out:
	return status == LW_OK ? tune_plan(a, work, out) : tool_fail(work->command, status);
}

static int tune(arguments *a, tool_work *work, output *out)
{
	lw_status status;

	work->tuning = LW_TUNING_ON;
	if (a->recipe)
		return tune_recipe(a, work, out);
	if (a->arch)
		return tune_arch(a, work, out);
	status = lw_devices_open(&work->devices, &work->device_count, a->shared.devices ? a->shared.devices : "auto");
	if (status == LW_OK && work->device_count != 1)
		status = lw_fail(LW_E_ARGUMENT, "%zu devices were given; one was expected", work->device_count);
	if (status == LW_OK)
		status = tune_shapes(a, work->devices[0], out);
	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

int cmd_tune(int argc, char **argv)
{
	arguments a = {.budget = INFINITY, .format = LW_TABLE_TEXT};
	tool_work work = {.command = argv[0]};
	output out = {.terminal = isatty(STDERR_FILENO) == 1};
	lw_status status;
	int code;

	argp_parse(&parser, argc, argv, 0, NULL, &a);
	out.export = a.export;
	status = lw_table_create(&out.table, "layer,pass,shape,default,default_ms>,best,best_ms>,gain>");
	code = status == LW_OK ? tune(&a, &work, &out) : tool_fail(work.command, status);
	if (out.terminal)
		fputs("\r\033[K", stderr);
	status = code == TOOL_OK ? out.status : LW_OK;
	if (code == TOOL_OK && status == LW_OK && !a.export)
		status = lw_table_print(out.table, stdout, a.format);
	if (code == TOOL_OK)
		print_gains(&out);
	if (status != LW_OK)
		code = tool_fail(work.command, status);
	lw_table_destroy(&out.table);
	tool_work_close(&work);
	tool_options_clear(&a.shared);
	return code;
}
