/* layerwise train: trains as a recipe says; the plan first, progress meanwhile, a summary last. */
#include "base/base.h"
#include "tool.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_SAVE = 256, OPTION_LOG, OPTION_CHECKPOINT, OPTION_RESUME, OPTION_RESUME_OR_START, OPTION_TUNE, OPTION_TRACE, OPTION_TRACE_STEPS, OPTION_PROFILE };

typedef struct arguments {
	tool_options shared;
	const char *recipe, *save, *log, *checkpoint, *resume, *trace;
	int64_t trace_steps; /* 0: as many as usual */
	bool or_start, json, profile;
	lw_tuning_use tuning;
} arguments;

static int64_t parse_steps(const char *argument, const struct argp_state *state)
{
	char *end;
	long long steps = strtoll(argument, &end, 10);

	if (end == argument || *end || steps < 1)
		argp_error(state, "--trace-steps: `%s` was found, a whole number from 1 was expected", argument);
	return steps;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	arguments *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->shared;
		return 0;
	case OPTION_SAVE:
		a->save = argument;
		return 0;
	case OPTION_LOG:
		a->log = argument;
		return 0;
	case OPTION_CHECKPOINT:
		a->checkpoint = argument;
		return 0;
	case OPTION_RESUME:
	case OPTION_RESUME_OR_START:
		if (a->resume)
			argp_error(state, "one of --resume and --resume-or-start was expected, once");
		a->resume = argument;
		a->or_start = key == OPTION_RESUME_OR_START;
		return 0;
	case OPTION_TUNE:
		a->tuning = tool_parse_tune(argument, state);
		return 0;
	case OPTION_TRACE:
		a->trace = argument;
		return 0;
	case OPTION_TRACE_STEPS:
		a->trace_steps = parse_steps(argument, state);
		return 0;
	case OPTION_PROFILE:
		a->profile = true;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	default:
		return tool_parse_recipe(key, argument, state, &a->recipe);
	}
}

static const struct argp_option options[] = {
	{"save", OPTION_SAVE, "OUT.safetensors", 0, "Save the trained weights", 0},
	{"log", OPTION_LOG, "STEPS.jsonl", 0, "Write one JSON object a step, and one an evaluation", 0},
	{"checkpoint", OPTION_CHECKPOINT, "DIR", 0, "Write checkpoints there, also at the end and on Ctrl-C or SIGTERM", 0},
	{"resume", OPTION_RESUME, "DIR", 0,
	 "Go on from the newest complete checkpoint in DIR, bit for bit as if never stopped; checkpoints go on there too, unless "
	 "--checkpoint says otherwise",
	 0},
	{"resume-or-start", OPTION_RESUME_OR_START, "DIR", 0, "The same, but start where there is no checkpoint yet", 0},
	{"tune", OPTION_TUNE, "on|off", 0,
	 "on: search again, and fully, which kernels are fastest on the device; off: take neither the time nor what was found. Without "
	 "it shapes that are new to the device are searched for about 10 s, once (LAYERWISE_TUNE=off in the environment: not)",
	 0},
	{"trace", OPTION_TRACE, "OUT.json", 0,
	 "Write when which queue of which device did what in the first steps, in Chrome's trace format: for ui.perfetto.dev", 0},
	{"profile", OPTION_PROFILE, NULL, 0,
	 "Print where the time of the first steps went: by layer and pass, idle queues, transfers and updates beside other work", 0},
	{"trace-steps", OPTION_TRACE_STEPS, "N", 0, "Steps that --trace and --profile look at (20)", 0},
	{"json", 'j', NULL, 0,
	 "Print the summary as one JSON object: {\"accuracy\", \"loss\", \"steps\", \"images_per_second\"}, with --profile also "
	 "\"profile\"; the plan goes to stderr",
	 0},
	{0},
};
static const struct argp_child children[] = {{&tool_recipe_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.args_doc = "RECIPE",
	.doc = "Trains or fine-tunes a network as a recipe says. Prints the plan, then progress on stderr, then a summary with the "
	       "test accuracy."
	       "\vExamples:\n"
	       "  layerwise train recipe.yaml --save tuned.safetensors\n"
	       "  layerwise train recipe.yaml --set train.steps=20 --log steps.jsonl\n"
	       "  layerwise train recipe.yaml --resume-or-start run --save tuned.safetensors\n"
	       "  mpirun -np 2 layerwise train recipe.yaml --device portable:0/2 (built with LAYERWISE_MPI)\n\n"
	       "Ctrl-C or SIGTERM finishes the step, saves and exits with 130 or 143; a second one ends it at once.",
	.children = children,
};

/* --- Signals --- */

static volatile sig_atomic_t caught_signal;

static void catch_signal(int number) { caught_signal = number; }

/* The first one asks for an end; the second acts as if we had never been here. */
static void catch_signals(void)
{
	struct sigaction action = {.sa_handler = catch_signal, .sa_flags = SA_RESETHAND | SA_RESTART};

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int interrupted(void *user)
{
	(void)user;
	return caught_signal;
}

static void show_progress(void *user, const lw_train_progress *progress) { lw_progress_update(user, progress); }

/* --- Results --- */

static json_t *number_or_null(bool known, double value) { return known && isfinite(value) ? json_real(value) : json_null(); }

/* NULL where it could not be made. */
static json_t *profile_object(lw_trace *trace)
{
	char *text = NULL;
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	json_t *object = NULL;

	if (stream && lw_report_profile(trace, stream, true) == LW_OK && fflush(stream) == 0)
		object = json_loadb(text, size, 0, NULL);
	if (stream)
		fclose(stream);
	free(text);
	return object;
}

/* profiled: NULL where no profile is to be printed. */
static void print_json(const lw_train_summary *s, lw_trace *profiled)
{
	json_t *object = json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:I, s:I}", "accuracy", number_or_null(s->evaluated, s->accuracy), "loss",
				   number_or_null(true, s->loss), "steps", (json_int_t)s->steps, "images_per_second",
				   number_or_null(true, s->images_per_second), "test_loss",
				   number_or_null(s->evaluated, s->evaluation_loss), "seconds", number_or_null(true, s->seconds),
				   "resumed_from", (json_int_t)s->resumed_from, "skipped", (json_int_t)s->skipped);

	if (profiled)
		json_object_set_new(object, "profile", profile_object(profiled));
	json_dumpf(object, stdout, JSON_REAL_PRECISION(12));
	putchar('\n');
	json_decref(object);
}

static void print_text(const lw_train_summary *s, const char *saved)
{
	char duration[32];

	printf("\nsteps %" PRId64, s->steps);
	if (isfinite(s->loss)) /* a run that was resumed at its end had no step */
		printf("  loss %.4f  %.0f images/s", s->loss, s->images_per_second);
	printf("  %s\n", lw_format_duration(duration, s->seconds));
	if (s->resumed_from)
		printf("resumed from step %" PRId64 "\n", s->resumed_from);
	if (s->skipped)
		printf("skipped %" PRId64 " steps that were not finite\n", s->skipped);
	if (s->checkpoint)
		printf("checkpoint %s\n", s->checkpoint);
	if (saved)
		printf("saved %s\n", saved);
	if (s->evaluated)
		printf("test loss %.4f\ntest accuracy %.4f\n", s->evaluation_loss, s->accuracy);
}

/* The last step's update is followed by no gradient that would show what it did. */
static lw_status check_finite(const lw_net *net)
{
	lw_status status = LW_OK;

	for (size_t i = 0; i < lw_net_param_count(net) && status == LW_OK; i++) {
		lw_param_info info;
		float *values;
		bool finite = true;

		LW_TRY(lw_net_param_info(net, i, &info));
		LW_TRY(lw_alloc(&values, info.count, sizeof(*values)));
		status = lw_net_param_get(net, i, values);
		for (size_t k = 0; k < info.count && status == LW_OK && finite; k++)
			finite = isfinite(values[k]);
		free(values);
		if (status == LW_OK && !finite)
			status = lw_fail(LW_E_NUMERIC, "after the last step %s is not finite, so no weights were saved", info.name);
	}
	return status;
}

static lw_status save_weights(const tool_work *work, const char *path)
{
	LW_TRY(lw_plan_download(work->plan));
	LW_TRY(check_finite(work->net));
	return lw_model_save(work->net, path);
}

/* --- The run --- */

static lw_train_options train_options(const arguments *a, const lw_recipe *recipe, lw_progress_line *line)
{
	lw_train_options train = *lw_recipe_train(recipe);

	if (a->checkpoint)
		train.checkpoint_dir = a->checkpoint;
	else if (a->resume) /* or the same command, given again, would begin anew */
		train.checkpoint_dir = a->resume;
	train.resume_dir = a->resume;
	train.resume = a->resume != NULL;
	train.resume_or_start = a->resume && a->or_start;
	train.log_path = a->log;
	if (a->trace_steps)
		train.trace_steps = a->trace_steps;
	train.progress = line ? show_progress : NULL;
	train.user = line;
	train.interrupted = interrupted;
	return train;
}

/* Of what all ranks failed in rank 0 tells. */
static int fail(const tool_work *work, lw_status status)
{
	if (lw_ranks_index(work->ranks) == 0 || !lw_ranks_failed_together(work->ranks))
		return tool_fail(work->command, status);
	return status == LW_E_ARGUMENT ? TOOL_USAGE : TOOL_FAILED;
}

static lw_status report(const arguments *a, lw_trace *trace, const lw_train_summary *summary)
{
	const bool profile = a->profile && summary->steps > summary->resumed_from;

	if (a->json)
		print_json(summary, profile ? trace : NULL);
	else
		print_text(summary, a->save);
	if (profile && !a->json)
		LW_TRY(lw_report_profile(trace, stdout, false));
	return a->trace ? lw_report_trace(trace, a->trace) : LW_OK;
}

/* What is known when the run was stopped: the weights so far, and the trace, are worth having. */
static int end_interrupted(const arguments *a, const tool_work *work, lw_trace *trace)
{
	fail(work, LW_E_INTERRUPTED);
	if (trace && a->trace && lw_ranks_index(work->ranks) == 0 && lw_report_trace(trace, a->trace) != LW_OK)
		tool_fail(work->command, LW_E_IO);
	if (a->save && lw_ranks_index(work->ranks) == 0) {
		if (save_weights(work, a->save) == LW_OK)
			fprintf(stderr, "%s: the weights so far are in %s\n", work->command, a->save);
		else
			tool_fail(work->command, LW_E_IO);
	}
	return 128 + (caught_signal ? caught_signal : SIGTERM); /* another process may have caught it */
}

static int train(const arguments *a, tool_work *work, const lw_dataset *set, const lw_dataset *test)
{
	const bool first = lw_ranks_index(work->ranks) == 0; /* who writes */
	lw_progress_line line;
	lw_train_options options_ = train_options(a, work->recipe, first ? &line : NULL);
	lw_train_summary summary = {0};
	lw_status status;
	int code = TOOL_OK;

	if (a->trace || a->profile) {
		status = lw_trace_create(&options_.trace, work->devices, work->device_count);
		if (status != LW_OK)
			return tool_fail(work->command, status);
	}
	if (first)
		lw_progress_begin(&line, stderr);
	catch_signals();
	status = lw_train(work->plan, lw_recipe_plan(work->recipe)->batch, set, test, &options_, &summary);
	if (first)
		lw_progress_end(&line);
	if (status == LW_OK && a->save && first)
		status = save_weights(work, a->save);
	if (status == LW_OK && first)
		status = report(a, options_.trace, &summary);
	if (status == LW_E_INTERRUPTED && (caught_signal || work->ranks))
		code = end_interrupted(a, work, options_.trace);
	else if (status != LW_OK)
		code = fail(work, status);
	lw_trace_destroy(&options_.trace);
	lw_train_summary_clear(&summary);
	return code;
}

/* Outputs are checked before the work: nothing is lost at its end. */
static int check_outputs(const arguments *a, const char *command)
{
	int code = a->save ? tool_check_writable(command, a->save) : TOOL_OK;

	if (code == TOOL_OK && a->log)
		code = tool_check_writable(command, a->log);
	if (code == TOOL_OK && a->trace)
		code = tool_check_writable(command, a->trace);
	return code;
}

static int plan_and_train(const arguments *a, tool_work *work, const lw_dataset *set, const lw_dataset *test)
{
	FILE *stream = a->json ? stderr : stdout;
	int64_t steps = lw_train_total_steps(lw_recipe_train(work->recipe), set, lw_recipe_plan(work->recipe)->batch);
	lw_status status;
	int code;

	work->tuning = a->tuning;
	code = tool_work_plan(work, &a->shared, steps, false);
	if (code != TOOL_OK)
		return code;
	if (lw_ranks_index(work->ranks) == 0) {
		tool_print_load(stream, &work->load);
		status = lw_report_plan(work->plan, stream, false);
		if (status != LW_OK)
			return tool_fail(work->command, status);
		fflush(stream);
	}
	code = tool_work_tune(work, a->tuning == LW_TUNING_ON);
	return code == TOOL_OK ? train(a, work, set, test) : code;
}

static int run(const arguments *a, tool_work *work)
{
	lw_dataset *set = NULL, *test = NULL;
	const bool first = lw_ranks_index(work->ranks) == 0;
	lw_status status;
	int code = first ? check_outputs(a, work->command) : TOOL_OK;

	if (code == TOOL_OK)
		code = tool_work_recipe(work, a->recipe, &a->shared);
	if (code == TOOL_OK)
		code = tool_work_net(work);
	if (code != TOOL_OK)
		return code;
	status = lw_recipe_dataset(work->recipe, true, &set);
	if (status == LW_OK)
		status = lw_recipe_dataset(work->recipe, false, &test);
	if (status != LW_OK)
		code = tool_fail(work->command, status);
	else if (!set)
		code = tool_error(work->command, TOOL_USAGE, "%s names no training set: data.train is missing", a->recipe);
	else
		code = plan_and_train(a, work, set, test);
	lw_dataset_close(&set);
	lw_dataset_close(&test);
	return code;
}

int cmd_train(int argc, char **argv)
{
	arguments a = {0};
	tool_work work = {.command = argv[0]};
	char name[64];
	int code;

	argp_parse(&parser, argc, argv, 0, NULL, &a);
	if (lw_ranks_join(&work.ranks) != LW_OK)
		return tool_fail(work.command, LW_E_UNSUPPORTED);
	if (work.ranks) {
		snprintf(name, sizeof(name), "%s, rank %d", argv[0], lw_ranks_index(work.ranks));
		work.command = name;
	}
	code = run(&a, &work);
	tool_work_close(&work);
	lw_ranks_leave(&work.ranks, code != TOOL_OK);
	tool_options_clear(&a.shared);
	return code;
}
