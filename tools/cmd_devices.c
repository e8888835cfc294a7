/* layerwise devices: every OpenCL device of this machine, and how it is named. */
#include "tool.h"

#include <jansson.h>
#include <stdlib.h>

static error_t parse(int key, char *argument, struct argp_state *state)
{
	bool *json = state->input;

	switch (key) {
	case 'j':
		*json = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "no argument was expected, but there is `%s`", argument);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

static const struct argp_option options[] = {
	{"json", 'j', NULL, 0, "Print a JSON list with one object a device", 0},
	{0},
};
static const struct argp parser = {
	.options = options,
	.parser = parse,
	.doc = "Lists the OpenCL devices of this machine."
	       "\vThe first column is a name for --device, `platform:device` by number. Numbers may change when "
	       "drivers come and go, so "
	       "parts of names serve too, without regard to case: `portable:0`, `intel`, `nvidia:1`. `auto` is a GPU "
	       "before a CPU; "
	       "`portable:0/2` makes two devices of the halves of one, `portable:0/2.1` is the second half alone.\n\n"
	       "`rounded` says whether division and square root can be correctly rounded, `denormals` whether tiny "
	       "numbers are kept; "
	       "`reproducible: true` gets the same bits either way.",
};

static const char *type_name(lw_device_type type)
{
	switch (type) {
	case LW_DEVICE_CPU:
		return "CPU";
	case LW_DEVICE_GPU:
		return "GPU";
	case LW_DEVICE_ACCELERATOR:
		return "accelerator";
	case LW_DEVICE_SIMULATED:
		return "simulated";
	}
	return "unknown";
}

/* A driver's text need not be UTF-8. */
static json_t *text(const char *value)
{
	json_t *string = json_string(value);

	return string ? string : json_string("?");
}

static json_t *device_object(const lw_device_info *d)
{
	char name[32];

	snprintf(name, sizeof(name), "%d:%d", d->platform_index, d->device_index);
	return json_pack("{s:s, s:o, s:o, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o, s:o, s:b, "
			 "s:b, s:b, s:b}",
			 "device", name, "platform", text(d->platform), "platform_vendor", text(d->platform_vendor),
			 "vendor", text(d->vendor), "name", text(d->name), "driver", text(d->driver), "type",
			 type_name(d->type), "compute_units", (json_int_t)d->compute_units, "clock_mhz",
			 (json_int_t)d->clock_mhz, "memory", (json_int_t)d->global_memory, "local_memory",
			 (json_int_t)d->local_memory, "max_allocation", (json_int_t)d->max_allocation, "max_work_group",
			 (json_int_t)d->max_work_group, "vector_width", (json_int_t)d->vector_width, "alignment",
			 (json_int_t)d->alignment, "opencl_version", text(d->opencl_version), "opencl_c_version",
			 text(d->opencl_c_version), "fp16", d->fp16, "fp64", d->fp64, "correctly_rounded_divide_sqrt",
			 d->correctly_rounded, "denormals", d->denormals);
}

static int print_json(const char *command, const lw_device_info *list, size_t count)
{
	json_t *array = json_array();
	int code = TOOL_OK;

	for (size_t i = 0; i < count; i++)
		if (json_array_append_new(array, device_object(&list[i])) != 0)
			code = tool_error(command, TOOL_FAILED, "out of memory");
	if (code == TOOL_OK && json_dumpf(array, stdout, JSON_INDENT(2)) != 0)
		code = tool_error(command, TOOL_FAILED, "standard output cannot be written");
	putchar('\n');
	json_decref(array);
	return code;
}

static lw_status add_row(lw_table *table, const lw_device_info *d)
{
	const char *prefix = "OpenCL C ";
	const char *version = d->opencl_c_version;
	const bool yes[] = {d->fp16, d->fp64, d->correctly_rounded, d->denormals};
	char memory[32], local[32];
	lw_status status = lw_table_cell(table, "%d:%d", d->platform_index, d->device_index);

	for (size_t i = 0; prefix[i] && *version == prefix[i]; i++) /* every version begins so */
		version++;
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", d->platform);
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", d->name);
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", d->vendor);
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", d->driver);
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", type_name(d->type));
	if (status == LW_OK)
		status = lw_table_cell(table, "%u", d->compute_units);
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", lw_format_bytes(memory, (double)d->global_memory));
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", lw_format_bytes(local, (double)d->local_memory));
	if (status == LW_OK)
		status = lw_table_cell(table, "%s", version);
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]) && status == LW_OK; i++)
		status = lw_table_cell(table, "%s", yes[i] ? "yes" : "no");
	return status;
}

static int print_table(const char *command, const lw_device_info *list, size_t count)
{
	lw_table *table = NULL;
	lw_status status = lw_table_create(
		&table, "device,platform,name,vendor,driver,type,units>,memory>,local>,OpenCL C,fp16,fp64,"
			"rounded,denormals");

	for (size_t i = 0; i < count && status == LW_OK; i++)
		status = add_row(table, &list[i]);
	if (status == LW_OK)
		status = lw_table_print(table, stdout, LW_TABLE_TEXT);
	lw_table_destroy(&table);
	return status == LW_OK ? TOOL_OK : tool_fail(command, status);
}

int cmd_devices(int argc, char **argv)
{
	lw_device_info *list = NULL;
	bool json = false;
	size_t count = 0;
	lw_status status;
	int code;

	argp_parse(&parser, argc, argv, 0, NULL, &json);
	status = lw_device_list(&list, &count);
	if (status != LW_OK)
		return tool_fail(argv[0], status);
	code = json ? print_json(argv[0], list, count) : print_table(argv[0], list, count);
	lw_device_list_free(&list);
	return code;
}
