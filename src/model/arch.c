/* Ready-made nets by name, and the steps that their builders share. */
#include "model/arch.h"

#include <stdlib.h>
#include <string.h>

static const struct architecture {
	lw_arch arch; /* first, and its name first in it: see lw_nearest_named */
	lw_arch_builder build;
} architectures[] = {
	{{"lenet", 1, 28, 28, 10, 64}, lw_arch_lenet},
	{{"cifar6", 3, 32, 32, 10, 64}, lw_arch_cifar6},
	{{"resnet20", 3, 32, 32, 10, 64}, lw_arch_resnet20},
	{{"alexnet", 3, 224, 224, 1000, 16}, lw_arch_alexnet},
	{{"vgg16", 3, 224, 224, 1000, 8}, lw_arch_vgg16},
	{{"resnet18", 3, 224, 224, 1000, 8}, lw_arch_resnet18},
	{{"resnet50", 3, 224, 224, 1000, 8}, lw_arch_resnet50},
	{{"mobilenet_v2", 3, 224, 224, 1000, 8}, lw_arch_mobilenet_v2},
	{{"squeezenet1_1", 3, 224, 224, 1000, 8}, lw_arch_squeezenet1_1},
};

static const struct architecture *find(const char *name)
{
	for (size_t i = 0; i < LW_COUNT(architectures); i++)
		if (strcmp(name, architectures[i].arch.name) == 0)
			return &architectures[i];
	return NULL;
}

static lw_status fail_unknown(const char *name)
{
	char list[256] = "";

	for (size_t i = 0; i < LW_COUNT(architectures); i++)
		snprintf(list + strlen(list), sizeof list - strlen(list), "%s%s", i ? ", " : "", architectures[i].arch.name);
	return lw_fail_suggest(LW_E_ARGUMENT, lw_nearest_named(name, architectures, LW_COUNT(architectures), sizeof *architectures),
			       "there is no architecture `%.60s`; there are %s", name, list);
}

lw_status lw_arch_find(lw_arch *arch, const char *name)
{
	const struct architecture *found = find(name);

	if (!found)
		return fail_unknown(name);
	*arch = found->arch;
	return LW_OK;
}

lw_status lw_arch_create(lw_net **net, const lw_arch *arch)
{
	const struct architecture *found = find(arch->name);
	lw_status status;

	*net = NULL;
	if (!found)
		return fail_unknown(arch->name);
	if (arch->classes < 1)
		return lw_fail(LW_E_ARGUMENT, "%s: %d classes; at least 1 was expected", arch->name, arch->classes);
	LW_TRY(lw_net_create(net, arch->channels, arch->height, arch->width));
	status = found->build(*net, arch->classes);
	if (status != LW_OK) {
		lw_net_destroy(net);
		return lw_fail_prefix(status, "%s for images of %d x %d", arch->name, arch->height, arch->width);
	}
	return LW_OK;
}

/* --- Steps of the builders --- */

static void set_pair(int pair[2], int value)
{
	if (value)
		pair[0] = pair[1] = value;
}

static lw_status add_named(lw_net *net, const lw_arch_layer *layer, const char *name)
{
	lw_layer_options options;

	lw_layer_defaults(&options, layer->kind);
	options.name = name;
	options.from[0] = layer->from;
	options.from[1] = layer->second;
	options.from_count = layer->from == NULL ? 0 : layer->second == NULL ? 1 : 2;
	options.out = layer->out;
	set_pair(options.kernel, layer->kernel);
	set_pair(options.stride, layer->stride);
	set_pair(options.pad, layer->pad);
	options.groups = layer->groups ? layer->groups : 1;
	options.bias = !layer->no_bias;
	options.ceil_mode = layer->ceil_mode;
	options.p = layer->p > 0 ? layer->p : options.p;
	return lw_net_add(net, layer->kind, &options);
}

lw_status lw_arch_add(lw_net *net, lw_arch_layer layer, const char *format, ...)
{
	va_list arguments;
	char name[64];

	va_start(arguments, format);
	vsnprintf(name, sizeof name, format, arguments);
	va_end(arguments);
	return add_named(net, &layer, name);
}

lw_status lw_arch_add_all(lw_net *net, const lw_arch_layer *layers, size_t count, const char *scope)
{
	for (size_t i = 0; i < count; i++)
		LW_TRY(lw_arch_add(net, layers[i], "%s.%zu", scope, i));
	return LW_OK;
}

lw_status lw_arch_add_normed(lw_net *net, lw_arch_layer conv, const char *conv_name, const char *norm_name)
{
	conv.kind = "conv";
	conv.no_bias = true;
	LW_TRY(add_named(net, &conv, conv_name));
	return lw_arch_add(net, (lw_arch_layer){.kind = "batchnorm"}, "%s", norm_name);
}

lw_status lw_arch_add_adaptive(lw_net *net, int side, const char *name)
{
	lw_layer_options options;
	lw_layer_info before;

	LW_TRY(lw_net_layer_info(net, lw_net_layer_count(net) - 1, &before));
	if (before.height == side && before.width == side)
		return LW_OK;
	if (before.height % side || before.width % side)
		return lw_fail(LW_E_ARGUMENT, "the last features are %d x %d; a multiple of %d x %d was expected, as of 224 x 224 pixels",
			       before.height, before.width, side, side);
	lw_layer_defaults(&options, "avgpool");
	options.name = name;
	options.kernel[0] = before.height / side;
	options.kernel[1] = before.width / side;
	return lw_net_add(net, "avgpool", &options);
}
