/* What commands share: options, error messages and exit codes, and the things that a recipe describes. */
#include "base/base.h"
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int tool_fail(const char *command, lw_status status)
{
	const char *text = lw_last_error();

	fprintf(stderr, "%s: %s\n", command, *text ? text : lw_status_name(status));
	return status == LW_E_ARGUMENT ? TOOL_USAGE : TOOL_FAILED;
}

int tool_error(const char *command, int code, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s: ", command);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	return code;
}

/* --- Options --- */

static lw_status add_text(tool_options *options, char *text)
{
	char **grown = text ? realloc(options->sets, (options->set_count + 1) * sizeof(*grown)) : NULL;

	if (!grown) {
		free(text);
		return lw_fail(LW_E_MEMORY, "out of memory");
	}
	options->sets = grown;
	options->sets[options->set_count++] = text;
	return LW_OK;
}

lw_status tool_add_text(tool_options *options, const char *text) { return add_text(options, strdup(text)); }

lw_status tool_add_set(tool_options *options, const char *key, const char *const *texts, size_t count)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);

	if (!stream)
		return lw_fail(LW_E_MEMORY, "out of memory");
	fprintf(stream, "%s=[", key);
	for (size_t i = 0; i < count; i++) {
		fputs(i ? ", '" : "'", stream); /* in YAML's single quotes only a quote means something: it is doubled */
		for (const char *p = texts[i]; *p; p++)
			fprintf(stream, *p == '\'' ? "''" : "%c", *p);
		fputc('\'', stream);
	}
	fputc(']', stream);
	if (fclose(stream) != 0) {
		free(text);
		return lw_fail(LW_E_MEMORY, "out of memory");
	}
	return add_text(options, text);
}

void tool_options_clear(tool_options *options)
{
	for (size_t i = 0; i < options->set_count; i++)
		free(options->sets[i]);
	free(options->sets);
	free(options->devices);
	memset(options, 0, sizeof(*options));
}

static lw_status add_device(tool_options *options, const char *name)
{
	char *joined = NULL;

	LW_TRY(lw_format_string(&joined, "%s%s%s", options->devices ? options->devices : "", options->devices ? "," : "", name));
	free(options->devices);
	options->devices = joined;
	return LW_OK;
}

static error_t parse_shared(int key, char *argument, struct argp_state *state)
{
	tool_options *options = state->input;
	lw_status status = LW_OK;

	switch (key) {
	case 's':
		status = add_text(options, strdup(argument));
		break;
	case 'd':
		status = add_device(options, argument);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	if (status != LW_OK)
		argp_failure(state, TOOL_FAILED, 0, "%s", lw_last_error());
	return 0;
}

#define DEVICE_OPTION                                                                                                  \
	{"device", 'd', "D", 0,                                                                                        \
	 "Device to use instead of the recipe's: auto, or PLATFORM:DEVICE by number or part of a name, e.g. portable:0; " \
	 "may be repeated or hold commas. `layerwise devices` lists them. Of at least as many as there are processes on a machine " \
	 "(mpirun) each process takes its part, every nth; of fewer, all",                                             \
	 90}

static const struct argp_option recipe_options[] = {
	{"set", 's', "KEY=VALUE", 0,
	 "Set a value of the recipe, e.g. train.steps=20, groups.1.lr=0.01 (list items by number from 0), data.classes=[5,6]; "
	 "a relative path is relative to the recipe",
	 90},
	DEVICE_OPTION,
	{0},
};
static const struct argp_option device_options[] = {DEVICE_OPTION, {0}};

error_t tool_parse_recipe(int key, char *argument, struct argp_state *state, const char **recipe)
{
	if (key == ARGP_KEY_NO_ARGS)
		argp_error(state, "a recipe was expected");
	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	if (*recipe)
		argp_error(state, "one recipe was expected; `%s` is a second one", argument);
	*recipe = argument;
	return 0;
}

lw_tuning_use tool_parse_tune(const char *argument, const struct argp_state *state)
{
	if (strcmp(argument, "on") != 0 && strcmp(argument, "off") != 0)
		argp_error(state, "--tune: `%s` was found, on or off was expected", argument);
	return strcmp(argument, "on") == 0 ? LW_TUNING_ON : LW_TUNING_OFF;
}

const struct argp tool_recipe_argp = {.options = recipe_options, .parser = parse_shared};
const struct argp tool_device_argp = {.options = device_options, .parser = parse_shared};

int tool_check_writable(const char *command, const char *path)
{
	char *folder = strdup(path), *slash = folder ? strrchr(folder, '/') : NULL;
	const char *where = ".";
	struct stat info;
	int code = TOOL_OK;

	if (!folder)
		return tool_error(command, TOOL_FAILED, "out of memory");
	if (slash) {
		slash[slash == folder] = '\0';
		where = folder;
	}
	if (stat(path, &info) == 0 && !S_ISREG(info.st_mode) && !S_ISDIR(info.st_mode))
		code = access(path, W_OK) == 0 ? TOOL_OK : /* a device or a pipe: nothing is made in its folder */
		       tool_error(command, TOOL_FAILED, "%s cannot be written: %s", path, strerror(errno));
	else if (stat(where, &info) != 0)
		code = tool_error(command, TOOL_FAILED, "%s cannot be written: the folder %s: %s", path, where, strerror(errno));
	else if (!S_ISDIR(info.st_mode))
		code = tool_error(command, TOOL_FAILED, "%s cannot be written: %s is not a folder", path, where);
	else if (access(where, W_OK | X_OK) != 0)
		code = tool_error(command, TOOL_FAILED, "%s cannot be written: the folder %s: %s", path, where, strerror(errno));
	else if (!*path || (stat(path, &info) == 0 && S_ISDIR(info.st_mode)))
		code = tool_error(command, TOOL_FAILED, "`%s` cannot be written: it is a folder, not a file", path);
	free(folder);
	return code;
}

/* --- What a recipe describes --- */

int tool_work_recipe(tool_work *work, const char *path, const tool_options *options)
{
	lw_status status = lw_recipe_read(&work->recipe, path, (const char *const *)options->sets, options->set_count);

	if (status == LW_OK)
		return TOOL_OK;
	tool_fail(work->command, status);
	return status == LW_E_MEMORY ? TOOL_FAILED : TOOL_USAGE; /* a file that is missing or malformed is a wrong request */
}

int tool_work_net(tool_work *work)
{
	lw_status status = lw_recipe_net(work->recipe, &work->net, &work->load);

	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

/*
 * Of the devices that were named each process of a machine takes its part, and of shares that go with them, if there are
 * enough for all: every nth. *shares is the caller's.
 */
static lw_status take_part(tool_work *work, lw_plan_options *plan, double **shares)
{
	const size_t processes = (size_t)lw_ranks_host_count(work->ranks), own = (size_t)lw_ranks_host_index(work->ranks);
	const bool shared = plan->share_count == work->device_count;
	size_t kept = 0;

	*shares = NULL;
	if (processes == 1 || processes > work->device_count)
		return LW_OK;
	LW_TRY(lw_alloc(shares, work->device_count, sizeof **shares));
	for (size_t i = 0; i < work->device_count; i++) {
		if (i % processes != own) {
			lw_device_close(&work->devices[i]);
			continue;
		}
		(*shares)[kept] = shared ? plan->shares[i] : 0;
		work->devices[kept++] = work->devices[i];
	}
	work->device_count = kept;
	if (shared) {
		plan->shares = *shares;
		plan->share_count = kept;
	}
	return LW_OK;
}

int tool_work_plan(tool_work *work, const tool_options *options, int64_t total_steps, bool frozen)
{
	const char *names = options->devices ? options->devices : lw_recipe_devices(work->recipe);
	lw_plan_options plan = *lw_recipe_plan(work->recipe);
	size_t count = 0;
	const lw_group_options *groups = lw_recipe_groups(work->recipe, &count);
	double *shares = NULL;
	lw_group_options nothing;
	lw_status status;

	if (frozen) {
		lw_group_defaults(&nothing);
		nothing.name = "all";
		nothing.is_default = true;
		nothing.freeze = true;
		groups = &nothing;
		count = 1;
	}
	plan.total_steps = total_steps;
	plan.tuning = work->tuning;
	plan.ranks = work->ranks;
	status = lw_devices_open(&work->devices, &work->device_count, names);
	if (status == LW_OK)
		status = take_part(work, &plan, &shares);
	if (status == LW_OK)
		status = lw_plan_create(&work->plan, work->net, work->devices, work->device_count, lw_recipe_optim(work->recipe),
					groups, count, &plan);
	free(shares);
	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

/* --- Tuning --- */

static const double short_budget = 10;

typedef struct tune_line {
	const char *command;
	bool terminal, again;
	size_t searched, faster;
	lw_tune_event last;
} tune_line;

static void show_tuning(void *user, const lw_tune_event *event)
{
	tune_line *line = user;

	line->last = *event;
	line->searched += event->best_seconds > 0;
	line->faster += event->best_seconds > 0 && strcmp(event->best, event->usual) != 0;
	if (!event->done)
		fprintf(stderr, "%s: tuning %zu kernels for shapes that are %s on this device, %s; --tune off leaves it out%s", line->command,
			event->total, line->again ? "searched again" : "new", line->again ? "all of them" : "for about 10 s",
			line->terminal ? "" : "\n");
	else if (line->terminal)
		fprintf(stderr, "\r\033[Ktuning %zu/%zu  %.0f s  %s %s %s", event->done, event->total, event->seconds, event->layer, event->pass,
			event->shape);
}

int tool_work_tune(tool_work *work, bool again)
{
	tune_line line = {.command = work->command, .terminal = isatty(STDERR_FILENO) == 1, .again = again};
	lw_tune_options options = {.budget = again ? INFINITY : short_budget, .again = again, .progress = show_tuning, .user = &line};
	lw_status status = lw_plan_tune(work->plan, &options);

	if (line.last.total)
		fprintf(stderr, "%stuned in %.1f s: %zu of %zu searched, %zu faster than their defaults\n", line.terminal ? "\r\033[K" : "",
			line.last.seconds, line.searched, line.last.total, line.faster);
	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

void tool_work_close(tool_work *work)
{
	lw_plan_destroy(&work->plan);
	lw_devices_close(&work->devices, work->device_count);
	lw_load_report_clear(&work->load);
	lw_net_destroy(&work->net);
	lw_recipe_destroy(&work->recipe);
}

static void print_names(FILE *stream, const char *title, char *const *names, size_t count)
{
	fprintf(stream, "%s:", title);
	for (size_t i = 0; i < count; i++)
		fprintf(stream, "%s %s", i ? "," : "", names[i]);
	fputc('\n', stream);
}

void tool_print_load(FILE *stream, const lw_load_report *report)
{
	if (!report->loaded)
		return;
	fprintf(stream, "weights: %zu parameters loaded, %zu start fresh, %zu of the file left over\n", report->loaded,
		report->fresh_count, report->left_over_count);
	if (report->fresh_count)
		print_names(stream, "  fresh", report->fresh, report->fresh_count);
	if (report->left_over_count)
		print_names(stream, "  left over", report->left_over, report->left_over_count);
}
