/* tools: the commands of `layerwise`, one file each (cmd_*.c; main.c has the table), and what they share. */
#ifndef LAYERWISE_TOOL_H
#define LAYERWISE_TOOL_H

#include <argp.h>
#include <layerwise/layerwise.h>
#include <stdio.h>

enum { TOOL_OK = 0, TOOL_FAILED = 1, TOOL_USAGE = 2 };

/* A command: argv[0] is "layerwise train"; returns the exit code. */
int cmd_train(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_eval(int argc, char **argv);
int cmd_devices(int argc, char **argv);
int cmd_selftest(int argc, char **argv);
int cmd_bench(int argc, char **argv);
int cmd_tune(int argc, char **argv);

/*
 * Options that commands share. A command names tool_recipe_argp (--set, --device) or tool_device_argp (--device) as an
 * argp child and gives it a tool_options in ARGP_KEY_INIT: state->child_inputs[0] = &options.
 */
typedef struct tool_options {
	char **sets; /* "KEY=VALUE", owned */
	size_t set_count;
	char *devices; /* names joined by commas; NULL: none given */
} tool_options;
extern const struct argp tool_recipe_argp;
extern const struct argp tool_device_argp;
/* The one argument of commands that take a recipe: what their parsers give unknown keys to. */
error_t tool_parse_recipe(int key, char *argument, struct argp_state *state, const char **recipe);
/* The value of --tune; anything but on and off ends the command. */
lw_tuning_use tool_parse_tune(const char *argument, const struct argp_state *state);
/* One more --set: the key becomes a list of these texts, taken as they are whatever they hold. */
lw_status tool_add_set(tool_options *options, const char *key, const char *const *texts, size_t count);
/* One more --set as it would be given. */
lw_status tool_add_text(tool_options *options, const char *text);
void tool_options_clear(tool_options *options);

/* Prints "<command>: <last error>" to stderr and returns the exit code of the status. */
int tool_fail(const char *command, lw_status status);

/* Prints "<command>: ..." to stderr and returns code. */
int tool_error(const char *command, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* TOOL_OK where a file could be written at path (its directory is there and lets us), else a message and TOOL_FAILED. */
int tool_check_writable(const char *command, const char *path);

/* What a recipe describes, made. Every part may be missing; tool_work_close empties it. */
typedef struct tool_work {
	const char *command; /* for messages */
	lw_recipe *recipe;
	lw_net *net;
	lw_load_report load;
	lw_device **devices;
	size_t device_count;
	lw_tuning_use tuning; /* of the plan: set before it is made */
	lw_ranks *ranks;      /* the same; not closed with the rest */
	lw_plan *plan;
} tool_work;

/* Reads the recipe; makes its net and loads its weights. Each of these prints its error and returns the exit code. */
int tool_work_recipe(tool_work *work, const char *path, const tool_options *options);
int tool_work_net(tool_work *work);
/* Opens the devices and makes the plan. frozen: nothing is trained, so there are no gradients and no optimizer state. */
int tool_work_plan(tool_work *work, const tool_options *options, int64_t total_steps, bool frozen);
/*
 * Searches the fastest way of computing what the plan computes, and says on stderr that it does. again: also what is known,
 * without a limit of time; otherwise shortly. Does nothing where all is known, or tuning is off.
 */
int tool_work_tune(tool_work *work, bool again);
void tool_work_close(tool_work *work);

/* After weights were loaded: how many, which started fresh, which were left over. Nothing where none were loaded. */
void tool_print_load(FILE *stream, const lw_load_report *report);

#endif
