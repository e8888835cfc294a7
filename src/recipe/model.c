/* The model section: input, layers or arch, weights, init; and the data section. */
#include "recipe/recipe.h"

#include <math.h>
#include <string.h>

/* --- Layers --- */

static lw_status read_from(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_layer_options *options = target;
	static const lw_key key = {.name = "from", .type = LW_KEY_TEXTS};
	lw_texts names = {0};

	LW_TRY(lw_key_read(recipe, node, path, &key, &names));
	if (names.count > LW_LAYER_MAX_INPUTS)
		return lw_node_fail(node, "%s names %zu layers; expected at most %d", path, names.count, LW_LAYER_MAX_INPUTS);
	for (size_t i = 0; i < names.count; i++)
		options->from[i] = names.items[i];
	options->from_count = (int)names.count;
	return LW_OK;
}

#define LAYER(field) offsetof(lw_layer_options, field)

static const lw_key layer_keys[] = {
	{"name", LW_KEY_TEXT, LAYER(name), LW_ANY},
	{"from", LW_KEY_CUSTOM, 0, .read = read_from},
	{"out", LW_KEY_INT, LAYER(out), LW_AT_LEAST(1)},
	{"kernel", LW_KEY_PAIR, LAYER(kernel), LW_AT_LEAST(1)},
	{"stride", LW_KEY_PAIR, LAYER(stride), LW_AT_LEAST(1)},
	{"pad", LW_KEY_PAIR, LAYER(pad), LW_AT_LEAST(0)},
	{"dilation", LW_KEY_PAIR, LAYER(dilation), LW_AT_LEAST(1)},
	{"groups", LW_KEY_INT, LAYER(groups), LW_AT_LEAST(1)},
	{"bias", LW_KEY_BOOL, LAYER(bias), LW_ANY},
	{"ceil_mode", LW_KEY_BOOL, LAYER(ceil_mode), LW_ANY},
	{"count_include_pad", LW_KEY_BOOL, LAYER(count_include_pad), LW_ANY},
	{"update_frozen", LW_KEY_BOOL, LAYER(update_frozen), LW_ANY},
	{"slope", LW_KEY_NUMBER, LAYER(slope), LW_ANY},
	{"eps", LW_KEY_NUMBER, LAYER(eps), LW_ABOVE(0)},
	{"momentum", LW_KEY_NUMBER, LAYER(momentum), LW_FROM_TO(0, 1)},
	{"p", LW_KEY_NUMBER, LAYER(p), LW_FROM_BELOW(0, 1)},
};

static lw_status find_kind(const lw_node *node, const char *kind, const lw_op **op)
{
	const char *kinds[64], *nearest;
	char list[1024] = "";
	size_t count = 0, length = 0;

	*op = lw_op_find(kind);
	if (*op)
		return LW_OK;
	for (const lw_op *at; count < LW_COUNT(kinds) && (at = lw_op_at(count)); count++) {
		kinds[count] = at->kind;
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s`%s`", count ? ", " : "", at->kind);
	}
	nearest = lw_nearest(kind, kinds, count);
	if (nearest)
		return lw_node_fail(node, "unknown kind of layer `%.60s`; did you mean `%s`?", kind, nearest);
	return lw_node_fail(node, "unknown kind of layer `%.60s`; there are %s", kind, list);
}

/* `- relu`, `- relu:`, `- relu: {}` or `- conv: {out: 32}`. */
static lw_status read_layer(lw_recipe *recipe, const lw_node *node, const char *path, lw_recipe_layer *layer)
{
	lw_key accepted[LW_COUNT(layer_keys)];
	const lw_node *options = NULL;
	const lw_op *op = NULL;
	char full[192];
	size_t count = 0;
	lw_node_words words;

	if (node->kind == LW_NODE_MAP && node->count == 1) {
		options = node->items[0];
		layer->kind = options->key;
	} else if (node->kind == LW_NODE_SCALAR && !lw_node_is_null(node)) {
		layer->kind = node->text;
	} else {
		return lw_node_fail(node, "%s is %s; expected one kind of layer and its options, e.g. conv: {out: 32, kernel: 3}",
				    path, lw_node_describe(node, &words));
	}
	layer->node = options ? options : node;
	LW_TRY(find_kind(layer->node, layer->kind, &op));
	lw_layer_defaults(&layer->options, op->kind);
	if (!options || lw_node_is_null(options))
		return LW_OK;
	for (size_t i = 0; i < LW_COUNT(layer_keys); i++) {
		if (i < 2 || lw_op_accepts(op, layer_keys[i].name)) /* name and from are every layer's */
			accepted[count++] = layer_keys[i];
	}
	snprintf(full, sizeof(full), "%s.%s", path, op->kind);
	return lw_keys_read(recipe, options, full, accepted, count, &layer->options);
}

static lw_status read_layers(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_node_words words;

	(void)target;
	if (node->kind != LW_NODE_LIST || node->count == 0)
		return lw_node_fail(node, "%s is %s; expected a list of layers", path, lw_node_describe(node, &words));
	LW_TRY(lw_recipe_alloc(recipe, &recipe->layers, node->count, sizeof(*recipe->layers)));
	recipe->layer_count = node->count;
	for (size_t i = 0; i < node->count; i++) {
		char full[64];
		snprintf(full, sizeof(full), "%s.%zu", path, i);
		LW_TRY(read_layer(recipe, node->items[i], full, &recipe->layers[i]));
	}
	return LW_OK;
}

static lw_status read_input(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key range = {.name = "input", .type = LW_KEY_INT, LW_AT_LEAST(1)};
	int *input = target;
	lw_node_words words;

	if (node->kind != LW_NODE_LIST || node->count != 3)
		return lw_node_fail(node, "%s is %s; expected [channels, height, width]", path, lw_node_describe(node, &words));
	for (int i = 0; i < 3; i++)
		LW_TRY(lw_key_read(recipe, node->items[i], path, &range, &input[i]));
	return LW_OK;
}

static lw_status read_arch_name(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key key = {.name = "name", .type = LW_KEY_TEXT};
	lw_arch *arch = target;
	const int classes = arch->classes;
	const char *name = NULL;
	lw_status status;

	LW_TRY(lw_key_read(recipe, node, path, &key, &name));
	status = lw_arch_find(arch, name);
	if (status != LW_OK)
		return lw_node_fail_prefix(node, status);
	if (classes) /* they stood before the name */
		arch->classes = classes;
	return LW_OK;
}

/* `arch: resnet18`, or `arch: {name: resnet18, classes: 10}`. */
static lw_status read_arch(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key keys[] = {
		{"name", LW_KEY_CUSTOM, 0, .read = read_arch_name},
		{"classes", LW_KEY_INT, offsetof(lw_arch, classes), LW_AT_LEAST(1)},
	};

	if (node->kind != LW_NODE_MAP)
		return read_arch_name(recipe, node, path, target);
	LW_TRY(lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), target));
	if (!lw_node_get(node, "name"))
		return lw_node_fail(node, "%s.name is missing; expected the name of a network, e.g. resnet18", path);
	return LW_OK;
}

/* The input and the number of classes may stand beside the architecture; else they are its own. */
static lw_status complete_arch(lw_recipe *recipe, const lw_node *node, const char *path)
{
	const lw_node *classes = lw_node_get(node, "classes");
	lw_arch *arch = &recipe->arch;

	if (classes && lw_node_get(lw_node_get(node, "arch"), "classes"))
		return lw_node_fail(classes, "%s.classes and %s.arch.classes are both there; expected one of them", path, path);
	if (classes)
		arch->classes = recipe->classes;
	if (lw_node_get(node, "input")) {
		arch->channels = recipe->input[0];
		arch->height = recipe->input[1];
		arch->width = recipe->input[2];
	} else {
		recipe->input[0] = arch->channels;
		recipe->input[1] = arch->height;
		recipe->input[2] = arch->width;
	}
	return LW_OK;
}

lw_status lw_recipe_read_model(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const char *const inits[] = {[LW_INIT_HE] = "he", [LW_INIT_XAVIER] = "xavier", [LW_INIT_TORCH] = "torch", NULL};
	static const lw_key keys[] = {
		{"input", LW_KEY_CUSTOM, offsetof(lw_recipe, input), .read = read_input},
		{"layers", LW_KEY_CUSTOM, 0, .read = read_layers},
		{"arch", LW_KEY_CUSTOM, offsetof(lw_recipe, arch), .read = read_arch},
		{"classes", LW_KEY_INT, offsetof(lw_recipe, classes), LW_AT_LEAST(1)},
		{"weights", LW_KEY_PATHS, offsetof(lw_recipe, weights), LW_ANY, .may_be_empty = true}, /* --set model.weights=[] */
		{"init", LW_KEY_CHOICE, offsetof(lw_recipe, init), .choices = inits},
	};

	(void)target;
	LW_TRY(lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), recipe));
	if (lw_node_get(node, "arch") && lw_node_get(node, "layers"))
		return lw_node_fail(lw_node_get(node, "layers"), "%s has both arch and layers; expected one of them", path);
	if (lw_node_get(node, "arch"))
		return complete_arch(recipe, node, path);
	if (lw_node_get(node, "classes"))
		return lw_node_fail(lw_node_get(node, "classes"), "%s.classes goes with arch; the last layer says how many here", path);
	if (!lw_node_get(node, "input"))
		return lw_node_fail(node, "%s.input is missing; expected [channels, height, width]", path);
	if (!lw_node_get(node, "layers"))
		return lw_node_fail(node, "%s.layers is missing; expected a list of layers, or arch: the name of a network", path);
	return LW_OK;
}

/* --- Data --- */

static lw_status read_classes(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key range = {.name = "classes", LW_AT_LEAST(0)};
	lw_recipe_data *data = &recipe->data;

	(void)target;
	LW_TRY(lw_integers_read(recipe, node, path, &range, &data->classes, &data->class_count));
	for (size_t i = 0; i < data->class_count; i++) {
		for (size_t j = 0; j < i; j++) {
			if (data->classes[i] == data->classes[j])
				return lw_node_fail(node, "%s names the class %d twice", path, data->classes[i]);
		}
	}
	return LW_OK;
}

static lw_status read_mean(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key range = {.name = "mean", LW_ANY};

	(void)target;
	return lw_numbers_read(node, path, &range, LW_DATA_MAX_CHANNELS, recipe->data.mean, &recipe->data.mean_count);
}

static lw_status read_std(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key range = {.name = "std", LW_ABOVE(0)};

	(void)target;
	return lw_numbers_read(node, path, &range, LW_DATA_MAX_CHANNELS, recipe->data.std, &recipe->data.std_count);
}

static lw_status read_normalize(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key keys[] = {
		{"mean", LW_KEY_CUSTOM, 0, .read = read_mean},
		{"std", LW_KEY_CUSTOM, 0, .read = read_std},
	};

	return lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), target);
}

/* Statistics are one for all channels or one for each. */
static lw_status check_statistics(const lw_recipe *recipe, const lw_node *node, const char *key, int count)
{
	if (count == 0 || count == 1 || count == recipe->input[0])
		return LW_OK;
	node = lw_node_get(lw_node_get(node, "normalize"), key);
	return lw_node_fail(node, "data.normalize.%s has %d numbers; expected 1, or %d as model.input has channels", key, count,
			    recipe->input[0]);
}

static lw_status check_path_count(const lw_recipe_data *data, const lw_node *node, const char *path, size_t count)
{
	if (node && count != 2 && strcmp(data->format, "idx") == 0)
		return lw_node_fail(node, "%s names %zu files; the format idx takes two: [images, labels]", path, count);
	if (node && count != 1 && strcmp(data->format, "images") == 0)
		return lw_node_fail(node, "%s names %zu paths; the format images takes one folder", path, count);
	return LW_OK;
}

lw_status lw_recipe_read_data(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const char *const formats[] = {"idx", "cifar10", "images", NULL};
	static const lw_key keys[] = {
		{"format", LW_KEY_WORD, offsetof(lw_recipe, data.format), .choices = formats},
		{"train", LW_KEY_PATHS, offsetof(lw_recipe, data.train), LW_ANY},
		{"test", LW_KEY_PATHS, offsetof(lw_recipe, data.test), LW_ANY},
		{"classes", LW_KEY_CUSTOM, 0, .read = read_classes},
		{"limit", LW_KEY_SIZE, offsetof(lw_recipe, data.limit), LW_AT_LEAST(1)},
		{"normalize", LW_KEY_CUSTOM, 0, .read = read_normalize},
	};
	lw_recipe_data *data = &recipe->data;

	(void)target;
	LW_TRY(lw_keys_read(recipe, node, path, keys, LW_COUNT(keys), recipe));
	if (!data->format)
		return lw_node_fail(node, "data.format is missing; expected idx, cifar10 or images");
	if (data->train.count == 0 && data->test.count == 0)
		return lw_node_fail(node, "data.train is missing; expected the path of the training set, or a list of paths");
	LW_TRY(check_path_count(data, lw_node_get(node, "train"), "data.train", data->train.count));
	LW_TRY(check_path_count(data, lw_node_get(node, "test"), "data.test", data->test.count));
	data->node = node;
	return LW_OK;
}

lw_status lw_recipe_check_data(const lw_recipe *recipe)
{
	const lw_recipe_data *data = &recipe->data;

	LW_TRY(check_statistics(recipe, data->node, "mean", data->mean_count));
	return check_statistics(recipe, data->node, "std", data->std_count);
}
