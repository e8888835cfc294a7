/* layerwise bench: measures a device's peaks, convolutions, matrix products, updates and whole steps. */
#include "bench.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_REPEAT = 256, OPTION_TUNE, OPTION_PRECISION, OPTION_REPRODUCIBLE, OPTION_FORMAT, OPTION_COMPARE, OPTION_SHAPE, OPTION_PASS, OPTION_PACKED, OPTION_VARIANTS,
       OPTION_PARAMS, OPTION_RULE, OPTION_OP, OPTION_GROUPS, OPTION_RECIPE, OPTION_ARCH, OPTION_BATCH, OPTION_FREEZE, OPTION_GRADIENTS,
       OPTION_ON, OPTION_SHARES, OPTION_PROFILE };

/* The benchmarks; options names those that it takes beside the common ones. */
static const struct benchmark {
	const char *name;
	lw_status (*rows)(bench *b);
	const char *options;
	int shape_numbers, shape_needed;
} benchmarks[] = {
	{"peak", NULL, "", 0, 0},
	{"conv", bench_conv_rows, "shape pass packed variants", 10, 9},
	{"gemm", bench_gemm_rows, "shape variants", 3, 3},
	{"update", bench_update_rows, "params rule groups", 0, 0},
	{"op", bench_op_rows, "op", 0, 0},
	{"step", bench_step_rows, "recipe arch batch groups freeze gradients on shares profile", 0, 0},
};

typedef struct arguments {
	bench_request request;
	const struct benchmark *benchmark;
	const char *shapes[BENCH_MAX_LIST]; /* read when the benchmark is known */
	const char *given[32];              /* names of the options given that not every benchmark takes */
	int given_count;
} arguments;

static const struct argp_option options[] = {
	{NULL, 0, NULL, 0, "All benchmarks:", 1},
	{"repeat", OPTION_REPEAT, "N", 0, "Rounds; every row is measured once in each (11)", 1},
	{"tune", OPTION_TUNE, "on|off", 0, "on: try the variants that apply and take the fastest; off: what training takes (on)", 1},
	{"precision", OPTION_PRECISION, "fast|accurate", 0, "fast allows algorithms that round more (fast; of a recipe: its own)", 1},
	{"reproducible", OPTION_REPRODUCIBLE, "both", OPTION_ARG_OPTIONAL,
	 "Only algorithms with the same bits on every device; =both, of steps: rows with and without", 1},
	{"compare", OPTION_COMPARE, "FILE", 0,
	 "Add a column: the median of an earlier run, saved with --format csv or json, over this one's; above 1 is faster now", 1},
	{"format", OPTION_FORMAT, "md|csv|json", 0, "Of the table (md)", 1},
	{NULL, 0, NULL, 0, "conv, gemm:", 2},
	{"shape", OPTION_SHAPE, "NUMBERS", 0,
	 "conv: N,C,H,W,K,R,S,stride,pad[,groups]; gemm: M,N,K; may be repeated (a table of common shapes)", 2},
	{"pass", OPTION_PASS, "LIST", 0, "conv: of fwd, bwd_data, bwd_filter (all)", 2},
	{"packed", OPTION_PACKED, NULL, 0, "conv: filters stay packed from run to run, as where they do not change", 2},
	{"variants", OPTION_VARIANTS, NULL, 0, "A row for every way there is on the device to compute it, best guess first", 2},
	{NULL, 0, NULL, 0, "update:", 3},
	{"params", OPTION_PARAMS, "LIST", 0, "Numbers of parameters, rows each (11000000,60000000)", 3},
	{"rule", OPTION_RULE, "RULE", 0, "Update rule (sgd with momentum, and adamw)", 3},
	{"groups", OPTION_GROUPS, "LIST", 0, "update, step: numbers of groups, a row each, e.g. 1,2,8,32 (update: 1,160; step: 1)", 3},
	{NULL, 0, NULL, 0, "op:", 3},
	{"op", OPTION_OP, "KIND", 0, "Only this operator (all that memory bounds)", 3},
	{NULL, 0, NULL, 0, "step:", 4},
	{"recipe", OPTION_RECIPE, "FILE", 0, "The recipe's network, rules and groups; its data is not needed", 4},
	{"arch", OPTION_ARCH, "NAME", 0, 
	 "A ready-made network: lenet, cifar6, resnet20, alexnet, vgg16, resnet18, resnet50, mobilenet_v2, squeezenet1_1 (cifar6)", 4},
	{"batch", OPTION_BATCH, "N", 0, "Images of a step (what the network usually has)", 4},
	{"freeze", OPTION_FREEZE, "GLOB", 0, "Freeze parameters by name; may be repeated, a row each; none: nothing is frozen", 4},
	{"gradients", OPTION_GRADIENTS, "LIST", 0, "once, per_group (the naive way), or both (once)", 4},
	{"profile", OPTION_PROFILE, NULL, 0, "Also print where the time of each row's steps goes (to stderr unless the table is Markdown)", 4},
	{"on", OPTION_ON, "DEVICES", 0,
	 "Share every batch among these, e.g. portable:0/2 or portable:0,portable:1; may be repeated, rows each; the peak stays that of "
	 "--device, or of its first (all of --device)", 4},
	{"shares", OPTION_SHARES, "LIST", 0, "Numbers in proportion to which several devices share a batch, e.g. 1,2.5 (as fast as they are)", 4},
	{0},
};

/* A whole number from 1; the argument's end or a comma ends it. */
static bool parse_number(const char *text, int least, int *number, const char **rest)
{
	char *end;
	long value;

	errno = 0;
	value = strtol(text, &end, 10);
	if (end == text || !isdigit((unsigned char)*text) || errno || value < least || value > INT_MAX || (*end && *end != ','))
		return false;
	*number = (int)value;
	*rest = *end ? end + 1 : end;
	return *end == 0 || end[1];
}

static int read_number(const char *name, const char *text, int most, struct argp_state *state)
{
	const char *rest;
	int number = 0;

	if (!parse_number(text, 1, &number, &rest) || *rest || number > most)
		argp_error(state, "--%s: `%s` was found, a whole number from 1 to %d was expected", name, text, most);
	return number;
}

/* Which of the words the text is. */
static int read_word(const char *name, const char *text, size_t length, const char *const *words, int count, struct argp_state *state)
{
	char list[128] = "";

	for (int i = 0; i < count; i++) {
		if (strlen(words[i]) == length && strncmp(words[i], text, length) == 0)
			return i;
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", words[i]);
	}
	argp_error(state, "--%s: `%.*s` was found, one of %s was expected", name, (int)length, text, list);
	return 0;
}

/* A bit for each of the words that a comma-separated text holds. */
static unsigned read_words(const char *name, const char *text, const char *const *words, int count, struct argp_state *state)
{
	unsigned bits = 0;

	for (;; text++) {
		size_t length = strcspn(text, ",");

		bits |= 1u << read_word(name, text, length, words, count, state);
		text += length;
		if (!*text)
			return bits;
	}
}

static int read_numbers(const char *name, const char *text, int numbers[BENCH_MAX_LIST], int most, struct argp_state *state)
{
	int count = 0;

	for (; *text; count++)
		if (count == BENCH_MAX_LIST || !parse_number(text, 1, &numbers[count], &text) || numbers[count] > most)
			argp_error(state, "--%s: whole numbers from 1 to %d were expected, with commas between them", name, most);
	if (!count)
		argp_error(state, "--%s: a number was expected", name);
	return count;
}

static void read_shapes(arguments *a, struct argp_state *state)
{
	bench_request *r = &a->request;
	const struct benchmark *m = a->benchmark;

	for (int i = 0; i < r->shape_count; i++) {
		const char *text = a->shapes[i];
		int count = 0;

		r->shapes[i][9] = 1; /* groups of a convolution */
		/* only pad, the ninth, may be 0 */
		while (*text && count < m->shape_numbers && parse_number(text, count != 8, &r->shapes[i][count], &text))
			count++;
		if (*text || count < m->shape_needed)
			argp_error(state, "--shape: `%s` was found, %s was expected", a->shapes[i],
				   m->shape_numbers == 3 ? "M,N,K" : "N,C,H,W,K,R,S,stride,pad[,groups]");
	}
}

static void check_options(const arguments *a, struct argp_state *state)
{
	if (!a->benchmark)
		argp_error(state, "what to measure was expected: peak, conv, gemm, update, op or step");
	for (int i = 0; i < a->given_count; i++)
		if (!strstr(a->benchmark->options, a->given[i]))
			argp_error(state, "%s takes no --%s", a->benchmark->name, a->given[i]);
	if (a->request.plain && a->benchmark->rows != bench_step_rows)
		argp_error(state, "%s takes no --reproducible=both", a->benchmark->name);
	if (a->request.recipe && a->request.arch)
		argp_error(state, "--recipe and --arch were given; one of them was expected");
}

static void choose_benchmark(arguments *a, const char *name, struct argp_state *state)
{
	if (a->benchmark)
		argp_error(state, "one benchmark was expected; `%s` is a second one", name);
	for (size_t i = 0; i < LW_COUNT(benchmarks); i++)
		if (strcmp(name, benchmarks[i].name) == 0)
			a->benchmark = &benchmarks[i];
	if (!a->benchmark)
		argp_error(state, "there is no benchmark `%s`; there are peak, conv, gemm, update, op and step", name);
	a->request.bench = a->benchmark->name;
}

static void note_given(arguments *a, const char *name)
{
	if (a->given_count < (int)LW_COUNT(a->given))
		a->given[a->given_count++] = name;
}

static void add_freeze(bench_request *r, const char *glob, struct argp_state *state)
{
	if (r->freeze_count == BENCH_MAX_LIST)
		argp_error(state, "--freeze: at most %d may be given", BENCH_MAX_LIST);
	r->freezes[r->freeze_count++] = strcmp(glob, "none") == 0 ? NULL : glob;
}

static void add_set(bench_request *r, const char *names, struct argp_state *state)
{
	if (r->set_count == BENCH_MAX_LIST)
		argp_error(state, "--on: at most %d may be given", BENCH_MAX_LIST);
	r->sets[r->set_count++] = names;
}

static void read_shares(bench_request *r, const char *text, struct argp_state *state)
{
	char *end = NULL;

	for (r->share_count = 0; !end || *end; text = end + 1) {
		if (r->share_count == BENCH_MAX_LIST)
			argp_error(state, "--shares: at most %d numbers may be given", BENCH_MAX_LIST);
		r->shares[r->share_count] = strtod(text, &end);
		if (end == text || (*end && *end != ',') || !(r->shares[r->share_count++] >= 0))
			argp_error(state, "--shares: numbers of at least 0 were expected, with commas between them");
	}
}

static void add_shape(arguments *a, const char *text, struct argp_state *state)
{
	if (a->request.shape_count == BENCH_MAX_LIST)
		argp_error(state, "--shape: at most %d may be given", BENCH_MAX_LIST);
	a->shapes[a->request.shape_count++] = text;
}

/* Options that every benchmark takes. */
static error_t parse_common(int key, char *argument, struct argp_state *state)
{
	static const char *const switches[] = {"off", "on"}, *const precisions[] = {"fast", "accurate"},
				 *const formats[] = {"md", "csv", "json"};
	static const lw_table_format table_formats[] = {LW_TABLE_MARKDOWN, LW_TABLE_CSV, LW_TABLE_JSON};
	arguments *a = state->input;
	bench_request *r = &a->request;

	switch (key) {
	case OPTION_REPEAT:
		r->repeat = read_number("repeat", argument, 100000, state);
		return 0;
	case OPTION_TUNE:
		r->tune = read_word("tune", argument, strlen(argument), switches, 2, state);
		return 0;
	case OPTION_PRECISION:
		r->precision = read_word("precision", argument, strlen(argument), precisions, 2, state) ? LW_PRECISION_ACCURATE :
													   LW_PRECISION_FAST;
		r->precision_given = true;
		return 0;
	case OPTION_REPRODUCIBLE:
		r->reproducible = true;
		if (argument && strcmp(argument, "both") != 0)
			argp_error(state, "--reproducible: `%s` was found, both or nothing was expected", argument);
		r->plain = argument != NULL;
		return 0;
	case OPTION_FORMAT:
		r->format = table_formats[read_word("format", argument, strlen(argument), formats, 3, state)];
		return 0;
	case OPTION_COMPARE:
		r->compare = argument;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* Options of some benchmarks. */
static error_t parse_special(int key, char *argument, struct argp_state *state)
{
	static const char *const ways[] = {"once", "per_group"};
	arguments *a = state->input;
	bench_request *r = &a->request;
	unsigned bits;

	for (size_t i = 0; i < LW_COUNT(options); i++)
		if (options[i].key == key && key >= OPTION_SHAPE)
			note_given(a, options[i].name);
	switch (key) {
	case OPTION_SHAPE:
		add_shape(a, argument, state);
		return 0;
	case OPTION_PASS:
		r->passes = read_words("pass", argument, bench_pass_names, BENCH_PASS_COUNT, state);
		return 0;
	case OPTION_PACKED:
		r->packed = true;
		return 0;
	case OPTION_VARIANTS:
		r->variants = true;
		return 0;
	case OPTION_PARAMS:
		r->param_count = read_numbers("params", argument, r->params, 1 << 30, state);
		return 0;
	case OPTION_OP:
		r->op = argument;
		return 0;
	case OPTION_RULE:
		r->rule = argument;
		return 0;
	case OPTION_GROUPS:
		r->group_count = read_numbers("groups", argument, r->groups, INT_MAX, state);
		return 0;
	case OPTION_RECIPE:
		r->recipe = argument;
		return 0;
	case OPTION_ARCH:
		r->arch = argument;
		return 0;
	case OPTION_BATCH:
		r->batch = read_number("batch", argument, 1 << 20, state);
		return 0;
	case OPTION_FREEZE:
		add_freeze(r, argument, state);
		return 0;
	case OPTION_GRADIENTS:
		bits = read_words("gradients", argument, ways, 2, state);
		r->once = bits & 1;
		r->per_group = bits & 2;
		return 0;
	case OPTION_PROFILE:
		r->profile = true;
		return 0;
	case OPTION_ON:
		add_set(r, argument, state);
		return 0;
	case OPTION_SHARES:
		read_shares(r, argument, state);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	arguments *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->request.shared;
		return 0;
	case ARGP_KEY_ARG:
		choose_benchmark(a, argument, state);
		return 0;
	case ARGP_KEY_END:
		check_options(a, state);
		read_shapes(a, state);
		return 0;
	default:
		return parse_common(key, argument, state) == 0 ? 0 : parse_special(key, argument, state);
	}
}

static const struct argp_child children[] = {{&tool_device_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.args_doc = "peak|conv|gemm|update|op|step",
	.doc = "Measures what a device does, each row beside the device's peak (fused multiply-adds, or moving memory) measured in the "
	       "same rounds. Rows are measured in turn; the table has medians and minima."
	       "\vExamples:\n"
	       "  layerwise bench peak\n"
	       "  layerwise bench conv --shape 32,64,16,16,64,3,3,1,1 --pass fwd,bwd_data\n"
	       "  layerwise bench step --arch resnet20 --groups 1,2,8,32\n"
	       "  layerwise bench step --arch cifar6 --groups 2 --gradients once,per_group --freeze none --freeze 'conv[1-5].*'\n"
	       "  layerwise bench step --arch cifar6 --device portable:0 --on portable:0 --on portable:0/2 --on portable:0/2.0",
	.children = children,
};

static lw_status open_devices(bench *b, const char *names, bool several)
{
	if (!several)
		return lw_device_open(&b->device, names);
	LW_TRY(lw_devices_open(&b->devices, &b->device_count, names));
	b->device = b->devices[0];
	return LW_OK;
}

static void close_devices(bench *b)
{
	if (b->devices)
		lw_devices_close(&b->devices, b->device_count);
	else
		lw_device_close(&b->device);
}

static lw_status measure(bench *b, const arguments *a)
{
	const char *names = a->request.shared.devices ? a->request.shared.devices : "auto";
	json_t *earlier = NULL;

	if (a->request.compare) { /* a file that cannot be read is found before everything is measured */
		LW_TRY(bench_read_earlier(a->request.compare, &earlier));
		json_decref(earlier);
	}
	LW_TRY(open_devices(b, names, a->benchmark->rows == bench_step_rows));
	LW_TRY(lw_queue_create(&b->queue, b->device));
	b->context = (lw_op_context){.device = b->device, .queue = b->queue, .precision = a->request.precision,
				     .reproducible = a->request.reproducible, .force_variant = -1};
	LW_TRY(bench_peak_rows(b, a->benchmark->rows == NULL));
	if (a->benchmark->rows)
		LW_TRY(a->benchmark->rows(b));
	LW_TRY(bench_measure(b));
	LW_TRY(bench_print(b, stdout));
	return a->request.profile ? bench_step_profiles(b, a->request.format == LW_TABLE_MARKDOWN ? stdout : stderr) : LW_OK;
}

int cmd_bench(int argc, char **argv)
{
	arguments a = {.request = {.repeat = 11, .tune = true, .format = LW_TABLE_MARKDOWN, .passes = ~0u, .once = true}};
	bench b = {.request = &a.request};
	lw_status status;
	int code;

	argp_parse(&parser, argc, argv, 0, NULL, &a);
	status = measure(&b, &a);
	code = status == LW_OK ? TOOL_OK : tool_fail(argv[0], status);
	while (b.owned_count) {
		b.owned_count--;
		b.owned[b.owned_count].destroy(b.owned[b.owned_count].pointer);
	}
	free(b.owned);
	free(b.rows);
	lw_queue_destroy(&b.queue);
	close_devices(&b);
	tool_options_clear(&a.request.shared);
	return code;
}
