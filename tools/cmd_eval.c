/* layerwise eval: accuracy and loss of weights on the test set, and a prediction for each sample. */
#include "base/base.h"
#include "tool.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_WEIGHTS = 16, OPTION_TUNE = 256 };

typedef struct arguments {
	tool_options shared;
	const char *recipe, *predictions;
	const char *weights[MAX_WEIGHTS];
	size_t weight_count;
	bool json;
	lw_tuning_use tuning;
} arguments;

static error_t parse(int key, char *argument, struct argp_state *state)
{
	arguments *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->shared;
		return 0;
	case 'w':
		if (a->weight_count == MAX_WEIGHTS)
			argp_error(state, "at most %d files of weights were expected", MAX_WEIGHTS);
		a->weights[a->weight_count++] = argument;
		return 0;
	case 'p':
		a->predictions = argument;
		return 0;
	case OPTION_TUNE:
		a->tuning = tool_parse_tune(argument, state);
		return 0;
	case 'j':
		a->json = true;
		return 0;
	default:
		return tool_parse_recipe(key, argument, state, &a->recipe);
	}
}

static const struct argp_option options[] = {
	{"weights", 'w', "W", 0, "Weights to evaluate (safetensors), instead of the recipe's model.weights; may be repeated, later files win", 0},
	{"predict", 'p', "OUT.jsonl", 0,
	 "Write one JSON object a sample: {\"index\", \"label\", \"prediction\", \"probabilities\"}", 0},
	{"tune", OPTION_TUNE, "on|off", 0,
	 "on: search which kernels are fastest on the device, first; off: do not take what was found earlier. Without it what is "
	 "known is taken, and nothing is searched",
	 0},
	{"json", 'j', NULL, 0, "Print one JSON object: {\"accuracy\", \"loss\", \"samples\"}", 0},
	{0},
};
static const struct argp_child children[] = {{&tool_recipe_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.args_doc = "RECIPE",
	.doc = "Prints accuracy and loss of weights on the recipe's test set."
	       "\vExamples:\n"
	       "  layerwise eval recipe.yaml --weights tuned.safetensors\n"
	       "  layerwise eval recipe.yaml --weights tuned.safetensors --predict predictions.jsonl --json",
	.children = children,
};

/* --- Predictions --- */

typedef struct predictions {
	lw_file *file;
	lw_status status; /* of the first line that failed */
} predictions;

static int largest(const float *values, int count)
{
	int best = 0;

	for (int i = 1; i < count; i++)
		best = values[i] > values[best] ? i : best;
	return best;
}

/* Softmax of the logits; null for what is not a number. */
static json_t *probabilities(const float *logits, int classes)
{
	double top = logits[largest(logits, classes)], sum = 0;
	json_t *list = json_array();

	for (int i = 0; i < classes; i++)
		sum += exp(logits[i] - top);
	for (int i = 0; i < classes; i++) {
		double p = exp(logits[i] - top) / sum;
		json_array_append_new(list, isfinite(p) ? json_real(p) : json_null());
	}
	return list;
}

static void write_prediction(void *user, size_t index, int32_t label, const float *logits, int classes)
{
	predictions *out = user;
	json_t *line;
	char *text;

	if (out->status != LW_OK)
		return;
	line = json_pack("{s:I, s:i, s:i, s:o}", "index", (json_int_t)index, "label", (int)label, "prediction",
			 largest(logits, classes), "probabilities", probabilities(logits, classes));
	text = line ? json_dumps(line, JSON_REAL_PRECISION(7)) : NULL;
	if (!text)
		out->status = lw_fail(LW_E_MEMORY, "out of memory for a prediction");
	else
		out->status = lw_file_write(out->file, text, strlen(text));
	if (out->status == LW_OK)
		out->status = lw_file_write(out->file, "\n", 1);
	free(text);
	json_decref(line);
}

static lw_status evaluate(const arguments *a, const tool_work *work, const lw_dataset *set, double *accuracy, double *loss)
{
	predictions out = {0};
	lw_status status;

	if (a->predictions)
		LW_GO(lw_file_begin_output(&out.file, a->predictions, 0644));
	LW_GO(lw_evaluate(work->plan, lw_recipe_plan(work->recipe)->batch, set, accuracy, loss,
			  a->predictions ? write_prediction : NULL, &out));
	LW_GO(out.status);
	if (a->predictions)
		status = lw_file_commit(&out.file);
out:
	lw_file_abandon(&out.file);
	return status;
}

/* --- The command --- */

/* A net that is not wholly loaded would give numbers that mean nothing. */
static int check_loaded(const arguments *a, const tool_work *work)
{
	const lw_load_report *load = &work->load;

	if (!load->loaded)
		return tool_error(work->command, TOOL_USAGE, "there are no weights: %s has no model.weights, and --weights is not given",
				  a->recipe);
	if (load->fresh_count)
		return tool_error(work->command, TOOL_FAILED, "the weights lack %zu of the net's parameters, the first is %s",
				  load->fresh_count, load->fresh[0]);
	return TOOL_OK;
}

static int print_result(const arguments *a, const lw_dataset *set, double accuracy, double loss)
{
	size_t samples = lw_dataset_count(set);

	if (a->json) {
		json_t *object = json_pack("{s:f, s:o, s:I}", "accuracy", accuracy, "loss", isfinite(loss) ? json_real(loss) : json_null(),
					   "samples", (json_int_t)samples);
		json_dumpf(object, stdout, JSON_REAL_PRECISION(12));
		putchar('\n');
		json_decref(object);
	} else {
		printf("test accuracy %.4f\ntest loss %.4f\nsamples %zu\n", accuracy, loss, samples);
	}
	return TOOL_OK;
}

static int run_on(const arguments *a, tool_work *work, const lw_dataset *set)
{
	double accuracy, loss;
	lw_status status;
	int code;

	work->tuning = a->tuning;
	code = tool_work_plan(work, &a->shared, 1, true);
	if (code == TOOL_OK && a->tuning == LW_TUNING_ON)
		code = tool_work_tune(work, true);
	if (code != TOOL_OK)
		return code;
	status = evaluate(a, work, set, &accuracy, &loss);
	if (status != LW_OK)
		return tool_fail(work->command, status);
	return print_result(a, set, accuracy, loss);
}

/* The command line's paths are relative to where the user is, the recipe's to the recipe: the former become absolute. */
static int set_weights(arguments *a, const char *command)
{
	char *paths[MAX_WEIGHTS] = {0};
	int code = TOOL_OK;
	lw_status status;

	for (size_t i = 0; i < a->weight_count && code == TOOL_OK; i++) {
		paths[i] = realpath(a->weights[i], NULL);
		if (!paths[i])
			code = tool_error(command, TOOL_FAILED, "%s cannot be read: %m", a->weights[i]);
	}
	if (code == TOOL_OK && a->weight_count) {
		status = tool_add_set(&a->shared, "model.weights", (const char *const *)paths, a->weight_count);
		code = status == LW_OK ? TOOL_OK : tool_fail(command, status);
	}
	for (size_t i = 0; i < a->weight_count; i++)
		free(paths[i]);
	return code;
}

static int run(arguments *a, tool_work *work)
{
	lw_dataset *set = NULL;
	lw_status status;
	int code = a->predictions ? tool_check_writable(work->command, a->predictions) : TOOL_OK;

	if (code == TOOL_OK)
		code = set_weights(a, work->command);
	if (code == TOOL_OK)
		code = tool_work_recipe(work, a->recipe, &a->shared);
	if (code == TOOL_OK)
		code = tool_work_net(work);
	if (code == TOOL_OK)
		code = check_loaded(a, work);
	if (code != TOOL_OK)
		return code;
	status = lw_recipe_dataset(work->recipe, false, &set);
	if (status != LW_OK)
		return tool_fail(work->command, status);
	if (!set)
		return tool_error(work->command, TOOL_USAGE, "%s names no test set: data.test is missing", a->recipe);
	code = run_on(a, work, set);
	lw_dataset_close(&set);
	return code;
}

int cmd_eval(int argc, char **argv)
{
	arguments a = {0};
	tool_work work = {.command = argv[0]};
	int code;

	argp_parse(&parser, argc, argv, 0, NULL, &a);
	code = run(&a, &work);
	tool_work_close(&work);
	tool_options_clear(&a.shared);
	return code;
}
