/* What a device's name means, and opening devices by name. */
#include "device/backend.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A piece of a name. */
typedef struct span {
	const char *start;
	size_t length;
} span;

static bool span_number(span s, unsigned *number)
{
	unsigned value = 0;

	if (s.length == 0 || s.length > 6)
		return false;
	for (size_t i = 0; i < s.length; i++) {
		if (!isdigit((unsigned char)s.start[i]))
			return false;
		value = value * 10 + (unsigned)(s.start[i] - '0');
	}
	*number = value;
	return true;
}

static bool span_equals(span s, const char *text)
{
	return strlen(text) == s.length && strncasecmp(text, s.start, s.length) == 0;
}

static bool span_within(span s, const char *text)
{
	if (s.length == 0)
		return false;
	for (; *text; text++)
		if (strncasecmp(text, s.start, s.length) == 0)
			return true;
	return false;
}

static span span_trim(span s)
{
	while (s.length && isspace((unsigned char)s.start[0]))
		s = (span){s.start + 1, s.length - 1};
	while (s.length && isspace((unsigned char)s.start[s.length - 1]))
		s.length--;
	return s;
}

/* How well a number or part of a name fits: 0 not, 1 as a part, 2 wholly. */
static int fit(span wanted, int index, const char *name, const char *other_name)
{
	unsigned number;

	if (span_number(wanted, &number))
		return number == (unsigned)index ? 2 : 0;
	if (span_equals(wanted, name))
		return 2;
	return span_within(wanted, name) || (other_name && span_within(wanted, other_name)) ? 1 : 0;
}

/* How many devices fit best, and the first of them. A whole name goes before a part of one. */
static size_t find(size_t *index, const lw_device_info *list, size_t count, span platform, span device)
{
	size_t found = 0;
	int best = 1;

	for (size_t i = 0; i < count; i++) {
		int platform_fit = fit(platform, list[i].platform_index, list[i].platform, list[i].platform_vendor);
		int device_fit = fit(device, list[i].device_index, list[i].name, NULL);
		int both = platform_fit && device_fit ? 2 * platform_fit + device_fit : 0;

		if (both > best) {
			best = both;
			found = 0;
			*index = i;
		}
		found += both == best;
	}
	return found;
}

/*
 * GPUs, then accelerators, then CPUs; among those the devices whose floats behave, then the wider CPU, which keeps
 * simulators and emulations of a GPU behind real runtimes.
 */
static uint64_t preference(const lw_device_info *info)
{
	uint64_t rank = info->type == LW_DEVICE_GPU ? 2 : info->type == LW_DEVICE_ACCELERATOR ? 1 : 0;
	uint64_t behaved = (uint64_t)info->denormals + info->correctly_rounded;
	uint64_t width = rank ? 0 : (uint64_t)info->compute_units * info->vector_width;

	return rank << 60 | behaved << 56 | (width & 0xffffffff);
}

static size_t find_auto(size_t *index, const lw_device_info *list, size_t count)
{
	*index = 0;
	for (size_t i = 1; i < count; i++)
		if (preference(&list[i]) > preference(&list[*index]))
			*index = i;
	return count ? 1 : 0;
}

/* Takes "/n" or "/n.k" off the end of a name. A slash before anything but numbers belongs to the name. */
static lw_status take_parts(lw_selection *selection, span *name)
{
	const char *slash = memrchr(name->start, '/', name->length), *end = name->start + name->length, *dot;
	unsigned parts, part = 0;
	span n, k;

	selection->parts = 1;
	selection->part = -1;
	if (!slash)
		return LW_OK;
	dot = memchr(slash, '.', (size_t)(end - slash));
	n = (span){slash + 1, (size_t)((dot ? dot : end) - slash - 1)};
	k = dot ? (span){dot + 1, (size_t)(end - dot - 1)} : (span){end, 0};
	if (!span_number(n, &parts) || (dot && !span_number(k, &part)))
		return LW_OK;
	if (parts == 0 || part >= parts)
		return lw_fail(LW_E_ARGUMENT,
			       "device `%.*s`: %u parts are counted from 1 up, a part of them from 0 to n-1",
			       (int)name->length, name->start, parts);
	selection->parts = parts;
	selection->part = dot ? (int)part : -1;
	*name = span_trim((span){name->start, (size_t)(slash - name->start)});
	return LW_OK;
}

static lw_status fail_listing(const lw_device_info *list, size_t count, const char *name, size_t found)
{
	char text[4096] = "";
	size_t used = 0;

	for (size_t i = 0; i < count && used < sizeof text; i++) {
		int length = snprintf(text + used, sizeof text - used, "%s%d:%d (%s: %s)", i ? ", " : "",
				      list[i].platform_index, list[i].device_index, list[i].platform, list[i].name);
		used += length > 0 ? (size_t)length : 0;
	}
	return lw_fail(LW_E_ARGUMENT, "device `%s` fits %s; there is: %s", name, found ? "several devices" : "none",
		       text);
}

lw_status lw_select(lw_selection *selection, const lw_device_info *list, size_t count, const char *name)
{
	span whole = span_trim((span){name, strlen(name)});
	const char *end, *colon;
	size_t found = 0;

	LW_TRY(take_parts(selection, &whole));
	end = whole.start + whole.length;
	if (span_equals(whole, "auto"))
		found = find_auto(&selection->index, list, count);
	/* a name may hold a colon itself: the first split that fits counts */
	for (colon = whole.start; !found && (colon = memchr(colon, ':', (size_t)(end - colon))) != NULL; colon++) {
		span platform = span_trim((span){whole.start, (size_t)(colon - whole.start)});
		span device = span_trim((span){colon + 1, (size_t)(end - colon - 1)});

		found = find(&selection->index, list, count, platform, device);
	}
	if (!found)
		found = find(&selection->index, list, count, whole, (span){"0", 1});
	return found == 1 ? LW_OK : fail_listing(list, count, name, found);
}

void lw_select_label(char *label, size_t size, const lw_device_info *list, size_t count, size_t index)
{
	const lw_device_info *info = &list[index];
	lw_selection selection;

	snprintf(label, size, "%s:%d", info->platform, info->device_index);
	if (strchr(label, ',') || lw_select(&selection, list, count, label) != LW_OK || selection.index != index ||
	    selection.parts != 1)
		snprintf(label, size, "%d:%d", info->platform_index, info->device_index);
}

/* The devices opened so far by a list of names, and what the machine has, once it was asked. */
typedef struct opening {
	lw_device **devices;
	size_t count, capacity;
	lw_device_info *list;
	size_t list_count;
} opening;

static lw_status add_device(opening *o, lw_device *device)
{
	for (size_t i = 0; i < o->count; i++)
		if (strcmp(o->devices[i]->label, device->label) == 0)
			return lw_fail(LW_E_ARGUMENT, "device %s is named twice", device->label);
	LW_TRY(lw_grow(&o->devices, &o->capacity, o->count + 1, sizeof o->devices[0]));
	o->devices[o->count++] = device;
	return LW_OK;
}

static lw_status open_simulated(opening *o, const char *name)
{
	lw_device *device;
	lw_status status;

	LW_TRY(lw_alloc(&device, 1, sizeof *device));
	if ((size_t)snprintf(device->label, sizeof device->label, "%s", name) >= sizeof device->label)
		status = lw_fail(LW_E_ARGUMENT, "device `%s`: the name is too long", name);
	else
		status = lw_sim_open(device, name[3] == ':' ? name + 4 : "");
	if (status == LW_OK)
		status = add_device(o, device);
	if (status != LW_OK)
		lw_device_close(&device);
	return status;
}

static lw_status open_part(opening *o, const lw_selection *selection, unsigned part)
{
	lw_device *device;
	lw_status status;
	size_t used;

	LW_TRY(lw_alloc(&device, 1, sizeof *device));
	lw_select_label(device->label, sizeof device->label, o->list, o->list_count, selection->index);
	used = strlen(device->label);
	if (selection->parts > 1)
		snprintf(device->label + used, sizeof device->label - used, "/%u.%u", selection->parts, part);
	status = lw_opencl_open(device, &o->list[selection->index], selection->parts, part);
	if (status != LW_OK)
		lw_fail_prefix(status, "device %s", device->label);
	else
		status = add_device(o, device);
	if (status != LW_OK)
		lw_device_close(&device);
	return status;
}

static lw_status open_name(opening *o, const char *name)
{
	lw_selection selection = {.parts = 1};
	unsigned first, end;

	if (strcmp(name, "sim") == 0 || strncmp(name, "sim:", 4) == 0)
		return open_simulated(o, name);
	if (!o->list)
		LW_TRY(lw_opencl_list(&o->list, &o->list_count, LW_LOG_DEBUG));
	LW_TRY(lw_select(&selection, o->list, o->list_count, name));
	first = selection.part < 0 ? 0 : (unsigned)selection.part;
	end = selection.part < 0 ? selection.parts : first + 1;
	for (unsigned part = first; part < end; part++)
		LW_TRY(open_part(o, &selection, part));
	return LW_OK;
}

/* The end of the name that begins here: the next comma, but a simulated device's options hold commas, too. */
static const char *name_end(const char *name)
{
	bool simulated = strncmp(name, "sim:", 4) == 0;
	const char *end = name + strcspn(name, ",");

	while (simulated && *end) {
		size_t length = strcspn(end + 1, ","), plain = strcspn(end + 1, "=:,");

		if (end[1 + plain] != '=')
			break;
		end += 1 + length;
	}
	return end;
}

lw_status lw_devices_open(lw_device ***devices, size_t *count, const char *names)
{
	opening o = {0};
	lw_status status = LW_OK;
	const char *rest = names;
	char *name = NULL;

	*devices = NULL;
	*count = 0;
	for (bool more = true; more;) {
		const char *end;
		span s;

		rest += strspn(rest, " \t");
		end = name_end(rest);
		s = span_trim((span){rest, (size_t)(end - rest)});
		if (s.length == 0) {
			status = lw_fail(LW_E_ARGUMENT,
					 "`%s`: a device's name is empty; `auto` means the best there is", names);
			goto out;
		}
		LW_GO(lw_format_string(&name, "%.*s", (int)s.length, s.start));
		LW_GO(open_name(&o, name));
		free(name);
		name = NULL;
		more = *end == ',';
		rest = end + more;
	}
	lw_opencl_join(o.devices, o.count);
	*devices = o.devices;
	*count = o.count;
	o.devices = NULL;
out:
	free(name);
	lw_device_list_free(&o.list);
	if (status != LW_OK)
		lw_devices_close(&o.devices, o.count);
	return status;
}
