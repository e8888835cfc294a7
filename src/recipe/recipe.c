/* A recipe file read whole: parsed, overridden, checked; and what it says. */
#include "recipe/recipe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

lw_status lw_recipe_own(lw_recipe *recipe, void *pointer)
{
	lw_status status = lw_grow(&recipe->owned, &recipe->owned_capacity, recipe->owned_count + 1, sizeof(*recipe->owned));

	if (status == LW_OK)
		recipe->owned[recipe->owned_count++] = pointer;
	else
		free(pointer);
	return status;
}

lw_status lw_recipe_alloc(lw_recipe *recipe, void *pointer_to_pointer, size_t count, size_t size)
{
	void *memory = NULL;

	LW_TRY(lw_alloc(&memory, count, size));
	LW_TRY(lw_recipe_own(recipe, memory));
	memcpy(pointer_to_pointer, &memory, sizeof(memory));
	return LW_OK;
}

/* A name or a list of names, joined by commas as lw_devices_open takes them. */
static lw_status read_devices(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	static const lw_key key = {.name = "devices", .type = LW_KEY_TEXTS};
	lw_texts names = {0};

	(void)target;
	LW_TRY(lw_key_read(recipe, node, path, &key, &names));
	for (size_t i = 0; i < names.count; i++) {
		char *joined = NULL;
		LW_TRY(lw_format_string(&joined, "%s%s%s", i ? recipe->devices : "", i ? "," : "", names.items[i]));
		free(recipe->devices);
		recipe->devices = joined;
	}
	return LW_OK;
}

/* Numbers in proportion to which the devices, as they are listed, share every batch. */
static lw_status read_shares(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	enum { MOST = 64 };
	static const lw_key range = {.name = "shares", LW_AT_LEAST(0)};
	double *shares = NULL;
	bool computes = false;
	int count = 0;

	(void)target;
	LW_TRY(lw_recipe_alloc(recipe, &shares, MOST, sizeof *shares));
	LW_TRY(lw_numbers_read(node, path, &range, MOST, shares, &count));
	for (int i = 0; i < count; i++)
		computes |= shares[i] > 0;
	if (!computes)
		return lw_node_fail(node, "%s has only zeros; expected a number above 0 for a device that computes", path);
	recipe->plan.shares = shares;
	recipe->plan.share_count = (size_t)count;
	return LW_OK;
}

static lw_status read_sections(lw_recipe *recipe)
{
	static const lw_key sections[] = {
		{"model", LW_KEY_CUSTOM, 0, .read = lw_recipe_read_model},
		{"data", LW_KEY_CUSTOM, 0, .read = lw_recipe_read_data},
		{"train", LW_KEY_CUSTOM, 0, .read = lw_recipe_read_train},
		{"groups", LW_KEY_CUSTOM, 0, .read = lw_recipe_read_groups},
		{"devices", LW_KEY_CUSTOM, 0, .read = read_devices},
		{"shares", LW_KEY_CUSTOM, 0, .read = read_shares},
	};

	if (lw_node_is_null(recipe->root))
		return lw_fail(LW_E_FORMAT, "%s: the recipe is empty; expected model, data, train", recipe->path);
	LW_TRY(lw_keys_read(recipe, recipe->root, "", sections, LW_COUNT(sections), recipe));
	if (!lw_node_get(recipe->root, "model"))
		return lw_fail(LW_E_FORMAT, "%s: model is missing; expected a map with input and layers, or arch", recipe->path);
	LW_TRY(lw_recipe_check_data(recipe));
	if (!recipe->devices)
		return lw_copy_string(&recipe->devices, "auto");
	return LW_OK;
}

static lw_status read_tree(lw_recipe *recipe)
{
	void *text = NULL;
	size_t size = 0;
	lw_status status;

	LW_GO(lw_file_read(recipe->path, &text, &size));
	if (size > LW_RECIPE_MAX_BYTES) {
		status = lw_fail(LW_E_FORMAT, "%s: %zu bytes are too many for a recipe", recipe->path, size);
		goto out;
	}
	LW_GO(lw_yaml_parse(&recipe->root, text, size, recipe->path, false));
	for (size_t i = 0; i < recipe->override_count; i++)
		LW_GO(lw_yaml_override(recipe->root, recipe->overrides[i]));
out:
	free(text);
	return status;
}

static lw_status copy_overrides(lw_recipe *recipe, const char *const *overrides, size_t count)
{
	LW_TRY(lw_alloc(&recipe->overrides, count, sizeof(*recipe->overrides)));
	for (size_t i = 0; i < count; i++) {
		LW_TRY(lw_copy_string(&recipe->overrides[i], overrides[i]));
		recipe->override_count++;
	}
	return LW_OK;
}

lw_status lw_recipe_read(lw_recipe **result, const char *path, const char *const *overrides, size_t override_count)
{
	lw_recipe *recipe = NULL;
	lw_status status;

	*result = NULL;
	LW_TRY(lw_alloc(&recipe, 1, sizeof(*recipe)));
	LW_GO(lw_copy_string(&recipe->path, path));
	LW_GO(copy_overrides(recipe, overrides, override_count));
	recipe->init = LW_INIT_HE;
	lw_optim_defaults(&recipe->optim);
	lw_plan_defaults(&recipe->plan);
	lw_train_defaults(&recipe->train);
	recipe->train.steps = 0;
	recipe->train.epochs = 1;
	recipe->plan.seed = recipe->train.seed;
	LW_GO(read_tree(recipe));
	LW_GO(read_sections(recipe));
	*result = recipe;
	return LW_OK;
out:
	lw_recipe_destroy(&recipe);
	return status;
}

void lw_recipe_destroy(lw_recipe **recipe)
{
	lw_recipe *r = *recipe;

	if (!r)
		return;
	lw_node_destroy(&r->root);
	for (size_t i = 0; i < r->owned_count; i++)
		free(r->owned[i]);
	free(r->owned);
	for (size_t i = 0; i < r->override_count; i++)
		free(r->overrides[i]);
	free(r->overrides);
	free(r->devices);
	free(r->path);
	free(r);
	*recipe = NULL;
}

const lw_optim_options *lw_recipe_optim(const lw_recipe *recipe) { return &recipe->optim; }

const lw_group_options *lw_recipe_groups(const lw_recipe *recipe, size_t *count)
{
	*count = recipe->group_count;
	return recipe->groups;
}

const lw_plan_options *lw_recipe_plan(const lw_recipe *recipe) { return &recipe->plan; }

const lw_train_options *lw_recipe_train(const lw_recipe *recipe) { return &recipe->train; }

const char *lw_recipe_devices(const lw_recipe *recipe) { return recipe->devices; }
