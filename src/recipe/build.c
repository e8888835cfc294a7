/* What a recipe describes, made: the net with its weights, and the data sets. */
#include "recipe/recipe.h"

#include <string.h>

/* A ready-made net; errors have the line of its name. */
static lw_status build_arch(const lw_recipe *recipe, lw_net **net)
{
	lw_status status = lw_arch_create(net, &recipe->arch);

	if (status != LW_OK)
		return lw_node_fail_prefix(lw_node_get(lw_node_get(recipe->root, "model"), "arch"), status);
	return LW_OK;
}

lw_status lw_recipe_layers(const lw_recipe *recipe, lw_net **net)
{
	lw_status status;

	*net = NULL;
	if (recipe->arch.name)
		return build_arch(recipe, net);
	status = lw_net_create(net, recipe->input[0], recipe->input[1], recipe->input[2]);
	if (status != LW_OK)
		return lw_node_fail_prefix(lw_node_get(lw_node_get(recipe->root, "model"), "input"), status);
	for (size_t i = 0; i < recipe->layer_count; i++) {
		const lw_recipe_layer *layer = &recipe->layers[i];

		status = lw_net_add(*net, layer->kind, &layer->options);
		if (status != LW_OK) {
			lw_net_destroy(net);
			return lw_node_fail_prefix(layer->node, status);
		}
	}
	return LW_OK;
}

lw_status lw_recipe_net(const lw_recipe *recipe, lw_net **result, lw_load_report *report)
{
	lw_net *net = NULL;
	lw_status status;

	*result = NULL;
	if (report)
		memset(report, 0, sizeof(*report));
	LW_GO(lw_recipe_layers(recipe, &net));
	LW_GO(lw_net_initialize(net, recipe->init, recipe->train.seed));
	if (recipe->weights.count > 0) {
		status = lw_model_load(net, recipe->weights.items, recipe->weights.count, report);
		if (status != LW_OK) {
			lw_node_fail_prefix(lw_node_get(lw_node_get(recipe->root, "model"), "weights"), status);
			goto out;
		}
	}
	*result = net;
	return LW_OK;
out:
	lw_net_destroy(&net);
	return status;
}

lw_status lw_recipe_dataset(const lw_recipe *recipe, bool train, lw_dataset **dataset)
{
	const lw_recipe_data *data = &recipe->data;
	const lw_texts *paths = train ? &data->train : &data->test;
	lw_dataset_options options;
	lw_net *net = NULL;
	lw_status status;

	*dataset = NULL;
	if (paths->count == 0)
		return LW_OK;
	LW_TRY(lw_recipe_layers(recipe, &net)); /* for the number of classes that labels must stay below */
	lw_dataset_defaults(&options);
	options.net_classes = lw_net_classes(net);
	lw_net_destroy(&net);
	options.format = data->format;
	options.paths = paths->items;
	options.path_count = paths->count;
	options.classes = data->classes;
	options.class_count = data->class_count;
	options.limit = train ? data->limit : 0;
	options.channels = recipe->input[0];
	options.height = recipe->input[1];
	options.width = recipe->input[2];
	options.mean_count = data->mean_count;
	options.std_count = data->std_count;
	memcpy(options.mean, data->mean, sizeof(options.mean));
	memcpy(options.std, data->std, sizeof(options.std));
	status = lw_dataset_open(dataset, &options);
	if (status != LW_OK)
		return lw_node_fail_prefix(lw_node_get(data->node, train ? "train" : "test"), status);
	return LW_OK;
}
