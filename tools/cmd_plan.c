/* layerwise plan: what a recipe would do, without doing it. */
#include "base/base.h"
#include "tool.h"

#include <inttypes.h>
#include <stdlib.h>

typedef struct arguments {
	tool_options shared;
	const char *recipe;
	bool json, measure;
	const char *cluster; /* NULL: nothing is simulated */
	int64_t steps;
} arguments;

enum { KEY_SIMULATE = 1000, KEY_STEPS, KEY_MEASURE };

static int64_t parse_steps(const char *argument, struct argp_state *state)
{
	char *end;
	long long steps = strtoll(argument, &end, 10);

	if (*end || end == argument || steps < 1 || steps > 1000000000)
		argp_error(state, "--steps: `%s` was found, a number from 1 to 1000000000 was expected", argument);
	return steps;
}

static error_t parse(int key, char *argument, struct argp_state *state)
{
	arguments *a = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &a->shared;
		return 0;
	case 'j':
		a->json = true;
		return 0;
	case KEY_SIMULATE:
		a->cluster = argument;
		return 0;
	case KEY_MEASURE:
		a->measure = true;
		return 0;
	case KEY_STEPS:
		a->steps = parse_steps(argument, state);
		return 0;
	default:
		return tool_parse_recipe(key, argument, state, &a->recipe);
	}
}

static const struct argp_option options[] = {
	{"json", 'j', NULL, 0, "Print one JSON object", 0},
	{"measure", KEY_MEASURE, NULL, 0,
	 "Of several devices: take seven steps on random images first, so that shares and times are by what was measured", 0},
	{"simulate", KEY_SIMULATE, "CLUSTER.yaml", 0, "Show how steps would run on the devices that the file describes; none is opened", 0},
	{"steps", KEY_STEPS, "N", 0, "With --simulate: how many steps, 10 unless given", 0},
	{0},
};
static const struct argp_child children[] = {{&tool_recipe_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.args_doc = "RECIPE",
	.doc = "Shows what a recipe would do: the groups with their parameters, learning rates and rules; launches, FLOPs and what "
	       "pruning saves of them; memory; with several devices also each one's share, what it owns, and how a step will run. Nothing "
	       "is trained, and the data need not be there."
	       "\vExamples:\n"
	       "  layerwise plan recipe.yaml\n"
	       "  layerwise plan recipe.yaml --set groups.0.freeze=true --json\n"
	       "  layerwise plan recipe.yaml --device portable:0,portable:1 --measure\n"
	       "  layerwise plan recipe.yaml --simulate cluster.yaml --set train.batch=4096",
	.children = children,
};

/* The run's number of steps; where the data cannot be read, one per epoch stands for it, which changes nothing that is shown. */
static int64_t total_steps(const lw_recipe *recipe, const char *command)
{
	const lw_train_options *train = lw_recipe_train(recipe);
	lw_dataset *dataset = NULL;
	int64_t steps = train->steps;

	if (steps > 0)
		return steps;
	if (lw_recipe_dataset(recipe, true, &dataset) != LW_OK)
		fprintf(stderr, "%s: note: the number of steps is not known: %s\n", command, lw_last_error());
	if (dataset)
		steps = lw_train_total_steps(train, dataset, lw_recipe_plan(recipe)->batch);
	lw_dataset_close(&dataset);
	return steps > 0 ? steps : train->epochs;
}

/* The net with its weights, or without where their file is not there yet: the plan is the same. */
static int make_net(arguments *a, tool_work *work)
{
	lw_status status = lw_recipe_net(work->recipe, &work->net, &work->load);
	int code;

	if (status == LW_OK)
		return TOOL_OK;
	if (status != LW_E_IO)
		return tool_fail(work->command, status);
	fprintf(stderr, "%s: note: planned without weights: %s\n", work->command, lw_last_error());
	tool_work_close(work);
	status = tool_add_set(&a->shared, "model.weights", NULL, 0);
	if (status != LW_OK)
		return tool_fail(work->command, status);
	code = tool_work_recipe(work, a->recipe, &a->shared);
	return code == TOOL_OK ? tool_work_net(work) : code;
}

static int simulate(const arguments *a, tool_work *work)
{
	lw_cluster *cluster = NULL;
	lw_simulation *simulation = NULL;
	const lw_cluster_device *devices;
	const lw_group_options *groups;
	size_t device_count, group_count;
	lw_status status = lw_cluster_read(&cluster, a->cluster);

	if (status != LW_OK) {
		tool_fail(work->command, status);
		return status == LW_E_MEMORY ? TOOL_FAILED : TOOL_USAGE; /* as for a recipe */
	}
	devices = lw_cluster_devices(cluster, &device_count);
	groups = lw_recipe_groups(work->recipe, &group_count);
	status = lw_recipe_layers(work->recipe, &work->net);
	if (status == LW_OK)
		status = lw_simulate(&simulation, work->net, lw_recipe_optim(work->recipe), groups, group_count,
				     lw_recipe_plan(work->recipe), devices, device_count, a->steps ? a->steps : 10);
	if (status == LW_OK)
		status = lw_report_simulation(simulation, stdout, a->json);
	lw_simulation_destroy(&simulation);
	lw_cluster_destroy(&cluster);
	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

/* As many steps as it takes until shares have been looked at; what they train is thrown away. */
static lw_status measure(tool_work *work)
{
	enum { STEPS = 7 };
	const int batch = lw_recipe_plan(work->recipe)->batch;
	int channels, height, width;
	float *images = NULL;
	int32_t *labels = NULL;
	size_t count;
	lw_status status;

	lw_net_input(work->net, &channels, &height, &width);
	count = (size_t)batch * (size_t)channels * (size_t)height * (size_t)width;
	LW_GO(lw_alloc(&images, count, sizeof *images));
	LW_GO(lw_alloc(&labels, (size_t)batch, sizeof *labels));
	for (size_t i = 0; i < count; i++)
		images[i] = lw_random_normal(1, 1, i);
	for (int i = 0; i < STEPS; i++)
		LW_GO(lw_plan_step(work->plan, images, labels, NULL));
out:
	free(images);
	free(labels);
	return status;
}

static int run(arguments *a, tool_work *work)
{
	int code = tool_work_recipe(work, a->recipe, &a->shared);
	lw_status status;

	if (a->steps && !a->cluster)
		return tool_error(work->command, TOOL_USAGE, "--steps goes with --simulate");
	if (a->measure && a->cluster)
		return tool_error(work->command, TOOL_USAGE, "--measure and --simulate were given; one of them was expected");
	if (code == TOOL_OK && a->cluster)
		return simulate(a, work);
	if (code == TOOL_OK)
		code = make_net(a, work);
	if (code == TOOL_OK)
		code = tool_work_plan(work, &a->shared, total_steps(work->recipe, work->command), false);
	if (code != TOOL_OK)
		return code;
	if (!a->json)
		tool_print_load(stdout, &work->load);
	status = a->measure && work->device_count > 1 ? measure(work) : LW_OK;
	if (status == LW_OK)
		status = lw_report_plan(work->plan, stdout, a->json);
	return status == LW_OK ? TOOL_OK : tool_fail(work->command, status);
}

int cmd_plan(int argc, char **argv)
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
