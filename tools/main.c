/* The command `layerwise`: finds the command that was asked for and runs it. */
#include "base/base.h"
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *purpose;
} commands[] = {
	{"train", cmd_train, "train or fine-tune as a recipe says"},
	{"plan", cmd_plan, "show what a recipe would do: groups, launches, FLOPs, memory, devices"},
	{"eval", cmd_eval, "accuracy and loss of saved weights on a recipe's test set"},
	{"devices", cmd_devices, "list the OpenCL devices there are"},
	{"selftest", cmd_selftest, "check every kernel on a device against the reference"},
	{"bench", cmd_bench, "measure peak, conv, gemm, update or step on a device"},
	{"tune", cmd_tune, "find the fastest way to compute each layer on a device, and remember it"},
};

static void print_help(FILE *stream)
{
	fprintf(stream, "Usage: layerwise COMMAND [OPTION...]\n"
			"Fine-tunes convolutional networks on any OpenCL device, with a learning rate per parameter group.\n\n"
			"Commands:\n");
	for (size_t i = 0; i < LW_COUNT(commands); i++)
		fprintf(stream, "  %-10s %s\n", commands[i].name, commands[i].purpose);
	fprintf(stream, "\nExamples:\n"
			"  layerwise train recipe.yaml --save tuned.safetensors\n"
			"  layerwise train recipe.yaml --set train.epochs=5 --set groups.0.lr=1e-5 --device portable:0\n"
			"  layerwise plan recipe.yaml\n"
			"  layerwise eval recipe.yaml --weights tuned.safetensors\n"
			"\n`layerwise COMMAND --help` says more about one. `layerwise --version` prints the version.\n"
			"Exit codes: 0 done, 1 the work failed, 2 the request was wrong.\n");
}

static void print_log(void *user, lw_log_level level, const char *text)
{
	(void)user;
	/* On a terminal a progress line may be standing there. */
	fprintf(stderr, "%slayerwise: %s%s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", level == LW_LOG_WARNING ? "warning: " : "",
		text);
}

static const struct command *find_command(const char *name)
{
	const char *names[LW_COUNT(commands)], *nearest;

	for (size_t i = 0; i < LW_COUNT(commands); i++) {
		names[i] = commands[i].name;
		if (strcmp(name, names[i]) == 0)
			return &commands[i];
	}
	nearest = lw_nearest(name, names, LW_COUNT(names));
	fprintf(stderr, "layerwise: there is no command `%s`", name);
	fprintf(stderr, nearest ? "; did you mean `%s`?\n" : "; `layerwise --help` lists them\n", nearest);
	return NULL;
}

static int run_command(const struct command *command, int argc, char **argv)
{
	char name[64];
	int code;

	snprintf(name, sizeof(name), "layerwise %s", command->name);
	argv[0] = name;
	code = command->run(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		perror("layerwise: standard output");
		return code ? code : TOOL_FAILED;
	}
	return code;
}

int main(int argc, char **argv)
{
	const char *first = argc > 1 ? argv[1] : NULL;
	const struct command *command;

	argp_err_exit_status = TOOL_USAGE;
	lw_set_log(print_log, NULL, LW_LOG_INFO);
	if (!first) {
		print_help(stderr);
		return TOOL_USAGE;
	}
	if (strcmp(first, "--version") == 0 || strcmp(first, "-V") == 0) {
		printf("layerwise %s\n", lw_version());
		return TOOL_OK;
	}
	if (strcmp(first, "--help") == 0 || strcmp(first, "-h") == 0 || (strcmp(first, "help") == 0 && argc == 2)) {
		print_help(stdout);
		return TOOL_OK;
	}
	if (strcmp(first, "help") == 0) { /* `help train` is `train --help` */
		static char option[] = "--help";
		argv[1] = argv[2];
		argv[2] = option;
		first = argv[1];
	}
	command = find_command(first);
	return command ? run_command(command, argc - 1, argv + 1) : TOOL_USAGE;
}
