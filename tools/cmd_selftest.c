/* layerwise selftest: every kernel on a device against the references of tests/op. */
#include "tool.h"
#include "op/runner.h"

#include <string.h>
#include <unistd.h>

typedef struct request {
	tool_options options;
	const char *only;
	bool quick, verbose;
} request;

static error_t parse(int key, char *argument, struct argp_state *state)
{
	request *r = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &r->options;
		return 0;
	case 'o':
		r->only = argument;
		return 0;
	case 'q':
		r->quick = true;
		return 0;
	case 'v':
		r->verbose = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "no argument was expected, but there is `%s`", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"op", 'o', "NAME", 0, "Only the tests whose name contains NAME, e.g. conv", 0},
	{"quick", 'q', NULL, 0, "Leave the larger cases out (for devices that are slow, e.g. emulated ones)", 0},
	{"verbose", 'v', NULL, 0, "A line for every test, with its time", 0},
	{0},
};
static const struct argp_child children[] = {{&tool_device_argp, 0, NULL, 0}, {0}};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.doc = "Checks every kernel on a device: against references computed in C, bit for bit, and in double; gradients by "
	       "finite differences; nothing written beside a buffer."
	       "\vThe last line is `selftest: N passed, N failed`; the exit code is 1 if any failed.",
	.children = children,
};

static const char *yes(bool value) { return value ? "yes" : "no"; }

static void print_device(lw_device *device)
{
	const lw_device_info *info = lw_device_get_info(device);

	printf("%s: %s, driver %s\n", lw_device_label(device), info->name, info->driver);
	printf("  fused multiply-add %s; denormals kept: %s; division and square root %s; double %s\n",
	       info->fast_fma ? "in hardware" : "slow or emulated", yes(info->denormals),
	       info->correctly_rounded ? "correctly rounded by the device"
	       : info->fp64            ? "correctly rounded through double"
				       : "correctly rounded through residuals",
	       info->fp64 ? "available" : "missing");
}

static lw_status test_device(lw_device *device, const request *r, unsigned *passed, unsigned *failed)
{
	lw_test_run run = {
		.context = {.device = device, .precision = LW_PRECISION_ACCURATE, .reproducible = true, .force_variant = -1},
		.quick = r->quick,
		.verbose = r->verbose,
		.out = stdout,
		.progress = isatty(STDERR_FILENO) ? stderr : NULL,
	};
	lw_status status;

	if (lw_device_get_info(device)->type == LW_DEVICE_SIMULATED)
		return lw_fail(LW_E_ARGUMENT, "%s: a simulated device runs no kernels", lw_device_label(device));
	print_device(device);
	LW_TRY(lw_queue_create(&run.context.queue, device));
	status = lw_test_all(&run, r->only);
	lw_queue_destroy(&run.context.queue);
	*passed += run.passed;
	*failed += run.failed;
	return status;
}

static bool names_a_test(const char *only)
{
	for (size_t i = 0; i < lw_test_count(); i++)
		if (strstr(lw_test_name(i), only))
			return true;
	return false;
}

int cmd_selftest(int argc, char **argv)
{
	request r = {0};
	lw_device **devices = NULL;
	size_t count = 0;
	unsigned passed = 0, failed = 0;
	lw_status status;
	int code = TOOL_OK;

	if (argp_parse(&parser, argc, argv, 0, NULL, &r))
		return TOOL_USAGE;
	if (r.only && !names_a_test(r.only)) {
		code = tool_error(argv[0], TOOL_USAGE, "no test's name contains `%s`", r.only);
		goto out;
	}
	status = lw_devices_open(&devices, &count, r.options.devices ? r.options.devices : "auto");
	for (size_t i = 0; status == LW_OK && i < count; i++)
		status = test_device(devices[i], &r, &passed, &failed);
	if (status != LW_OK) {
		code = tool_fail(argv[0], status);
		failed++;
	}
	if (count)
		printf("selftest: %u passed, %u failed\n", passed, failed);
	if (code == TOOL_OK && failed)
		code = TOOL_FAILED;
out:
	lw_devices_close(&devices, count);
	tool_options_clear(&r.options);
	return code;
}
