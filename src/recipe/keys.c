/* Reading a map of the recipe by a table of its keys: types, ranges, and messages that name what was expected. */
#include "recipe/recipe.h"

#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What people write from habit, and what it is called here: too far apart for an edit distance. */
static const struct {
	const char *habit, *key;
} synonyms[] = {
	{"learning_rate", "lr"}, {"batch_size", "batch"}, {"optimizer", "rule"},     {"optim", "rule"},
	{"algorithm", "rule"},   {"wd", "weight_decay"},  {"decay", "weight_decay"}, {"epoch", "epochs"},
	{"iterations", "steps"}, {"max_iter", "steps"},   {"scheduler", "schedule"}, {"gradient_clip", "clip_norm"},
	{"patterns", "match"},   {"frozen", "freeze"},    {"filters", "out"},        {"out_channels", "out"},
	{"channels", "out"},     {"units", "out"},        {"kernel_size", "kernel"}, {"padding", "pad"},
	{"inputs", "from"},      {"negative_slope", "slope"}, {"rate", "p"},         {"labels", "classes"},
	{"validation", "test"},  {"device", "devices"},   {"network", "model"},      {"dataset", "data"},
};

/* The key that an unknown word most likely means, NULL where nothing is near. */
static const char *nearest_key(const char *word, const lw_key *keys, size_t count)
{
	const char *words[64 + LW_COUNT(synonyms)], *targets[64 + LW_COUNT(synonyms)], *nearest;
	size_t known = 0;

	for (size_t i = 0; i < count && i < 64; i++)
		words[known] = targets[known] = keys[i].name, known++;
	for (size_t s = 0; s < LW_COUNT(synonyms); s++) {
		for (size_t i = 0; i < count; i++) {
			if (strcmp(keys[i].name, synonyms[s].key) == 0) {
				words[known] = synonyms[s].habit;
				targets[known++] = synonyms[s].key;
			}
		}
	}
	nearest = lw_nearest(word, words, known);
	for (size_t i = 0; nearest && i < known; i++) {
		if (words[i] == nearest)
			return targets[i];
	}
	return NULL;
}

static lw_status fail_unknown(const lw_node *node, const char *path, const lw_key *keys, size_t count)
{
	const char *nearest = nearest_key(node->key, keys, count);
	const char *where = *path ? path : "the recipe";
	char list[1024] = "";
	size_t length = 0;

	if (nearest)
		return lw_node_fail(node, "unknown key `%.60s` in %s; did you mean `%s`?", node->key, where, nearest);
	for (size_t i = 0; i < count && length < sizeof(list) - 64; i++)
		length += (size_t)snprintf(list + length, sizeof(list) - length, "%s`%s`", i ? ", " : "", keys[i].name);
	return lw_node_fail(node, "unknown key `%.60s` in %s; it takes %s", node->key, where, list);
}

/* "a number of at least 0" */
static void describe_range(const lw_key *key, bool whole, char buffer[128])
{
	const char *what = whole ? "a whole number" : "a number";

	if (isinf(key->low))
		snprintf(buffer, 128, "%s", what);
	else if (isinf(key->high))
		snprintf(buffer, 128, "%s %s %.15g", what, key->bounds & LW_OPEN_LOW ? "above" : "of at least", key->low);
	else
		snprintf(buffer, 128, "%s %s %.15g %s %.15g", what, key->bounds & LW_OPEN_LOW ? "above" : "from", key->low,
			 key->bounds & LW_OPEN_HIGH ? "and below" : "to", key->high);
}

static bool in_range(const lw_key *key, double value)
{
	bool low = key->bounds & LW_OPEN_LOW ? value > key->low : value >= key->low;
	bool high = key->bounds & LW_OPEN_HIGH ? value < key->high : value <= key->high;

	return low && high;
}

static lw_status fail_expected(const lw_node *node, const char *path, const char *expected)
{
	lw_node_words words;

	return lw_node_fail(node, "%s is %s; expected %s", path, lw_node_describe(node, &words), expected);
}

static lw_status read_number(const lw_node *node, const char *path, const lw_key *key, double *value)
{
	char expected[128];

	if (lw_node_number(node, value) && in_range(key, *value))
		return LW_OK;
	describe_range(key, false, expected);
	return fail_expected(node, path, expected);
}

static lw_status read_integer(const lw_node *node, const char *path, const lw_key *key, double limit, int64_t *value)
{
	lw_key range = *key;
	char expected[128];
	double number;
	bool read = lw_node_integer(node, value);

	if (!read && lw_node_number(node, &number) && number == floor(number) && fabs(number) <= 9007199254740992.0) {
		*value = (int64_t)number;
		read = true;
	}
	if (read && in_range(key, (double)*value) && fabs((double)*value) <= limit)
		return LW_OK;
	if (read && in_range(key, (double)*value))
		range.high = limit; /* it is too large for what holds it: say how large it may be */
	describe_range(&range, true, expected);
	return fail_expected(node, path, expected);
}

static lw_status read_choice(const lw_node *node, const char *path, const lw_key *key, int *value)
{
	char expected[256] = "";
	size_t length = 0, count = 0;
	const char *nearest = NULL;

	for (count = 0; key->choices[count]; count++) {
		if (node->kind == LW_NODE_SCALAR && strcmp(node->text, key->choices[count]) == 0) {
			*value = (int)count;
			return LW_OK;
		}
		length += (size_t)snprintf(expected + length, sizeof(expected) - length, "%s%s", count ? " or " : "",
					   key->choices[count]);
	}
	if (node->kind == LW_NODE_SCALAR && !lw_node_is_null(node))
		nearest = lw_nearest(node->text, key->choices, count);
	if (nearest)
		snprintf(expected + length, sizeof(expected) - length, "; did you mean `%s`?", nearest);
	return fail_expected(node, path, expected);
}

static lw_status read_text(const lw_node *node, const char *path, const char *expected, const char **value)
{
	if (node->kind != LW_NODE_SCALAR || lw_node_is_null(node) || !*node->text)
		return fail_expected(node, path, expected);
	*value = node->text;
	return LW_OK;
}

static lw_status read_path(lw_recipe *recipe, const lw_node *node, const char *path, const char **value)
{
	const char *text = NULL;
	char *joined = NULL;

	LW_TRY(read_text(node, path, "a path", &text));
	LW_TRY(lw_path_beside(&joined, recipe->path, text));
	*value = joined;
	return lw_recipe_own(recipe, joined);
}

static lw_status read_pair(const lw_node *node, const char *path, const lw_key *key, int *pair)
{
	int64_t value;

	if (node->kind == LW_NODE_SCALAR) {
		LW_TRY(read_integer(node, path, key, INT_MAX, &value));
		pair[0] = pair[1] = (int)value;
		return LW_OK;
	}
	if (node->kind != LW_NODE_LIST || node->count != 2)
		return fail_expected(node, path, "a whole number, or two: [height, width]");
	for (int i = 0; i < 2; i++) {
		LW_TRY(read_integer(node->items[i], path, key, INT_MAX, &value));
		pair[i] = (int)value;
	}
	return LW_OK;
}

static lw_status read_betas(const lw_node *node, const char *path, const lw_key *key, double *betas)
{
	if (node->kind != LW_NODE_LIST || node->count != 2)
		return fail_expected(node, path, "two numbers, e.g. [0.9, 0.999]");
	for (int i = 0; i < 2; i++)
		LW_TRY(read_number(node->items[i], path, key, &betas[i]));
	return LW_OK;
}

static lw_status read_boolean(const lw_node *node, const char *path, bool *value)
{
	return lw_node_boolean(node, value) ? LW_OK : fail_expected(node, path, "true or false");
}

/* The nodes of a list, or the node alone: what a key takes that may be one or several. */
static size_t one_or_several(const lw_node *node, const lw_node *const **items, const lw_node **alone)
{
	*alone = node;
	*items = node->kind == LW_NODE_LIST ? (const lw_node *const *)node->items : alone;
	return node->kind == LW_NODE_LIST ? node->count : 1;
}

static lw_status read_texts(lw_recipe *recipe, const lw_node *node, const char *path, const lw_key *key, lw_texts *texts)
{
	const lw_node *alone, *const *items;
	size_t count = one_or_several(node, &items, &alone);
	bool paths = key->type == LW_KEY_PATHS;

	if (count == 0 && !key->may_be_empty)
		return fail_expected(node, path, paths ? "at least one path" : "at least one text");
	LW_TRY(lw_recipe_alloc(recipe, &texts->items, count, sizeof(*texts->items)));
	for (size_t i = 0; i < count; i++) {
		if (paths)
			LW_TRY(read_path(recipe, items[i], path, &texts->items[i]));
		else
			LW_TRY(read_text(items[i], path, "a text", &texts->items[i]));
	}
	texts->count = count;
	return LW_OK;
}

lw_status lw_key_read(lw_recipe *recipe, const lw_node *node, const char *path, const lw_key *key, void *target)
{
	void *place = (char *)target + key->offset;
	int64_t integer = 0;
	bool flag = false;
	int choice = 0;

	switch (key->type) {
	case LW_KEY_BOOL:
		return read_boolean(node, path, place);
	case LW_KEY_FLAG:
		LW_TRY(read_boolean(node, path, &flag));
		*(int *)place = flag;
		return LW_OK;
	case LW_KEY_INT:
		LW_TRY(read_integer(node, path, key, INT_MAX, &integer));
		*(int *)place = (int)integer;
		return LW_OK;
	case LW_KEY_UINT32:
		LW_TRY(read_integer(node, path, key, UINT32_MAX, &integer));
		*(uint32_t *)place = (uint32_t)integer;
		return LW_OK;
	case LW_KEY_INT64:
		return read_integer(node, path, key, 9007199254740992.0, place);
	case LW_KEY_SIZE:
		LW_TRY(read_integer(node, path, key, 9007199254740992.0, &integer));
		*(size_t *)place = (size_t)integer;
		return LW_OK;
	case LW_KEY_NUMBER:
		return read_number(node, path, key, place);
	case LW_KEY_TEXT:
		return read_text(node, path, "a text", place);
	case LW_KEY_PATH:
		return read_path(recipe, node, path, place);
	case LW_KEY_CHOICE:
		return read_choice(node, path, key, place);
	case LW_KEY_WORD:
		LW_TRY(read_choice(node, path, key, &choice));
		*(const char **)place = key->choices[choice];
		return LW_OK;
	case LW_KEY_TEXTS:
	case LW_KEY_PATHS:
		return read_texts(recipe, node, path, key, place);
	case LW_KEY_PAIR:
		return read_pair(node, path, key, place);
	case LW_KEY_BETAS:
		return read_betas(node, path, key, place);
	case LW_KEY_CUSTOM:
		return key->read(recipe, node, path, place);
	}
	return lw_fail(LW_E_ARGUMENT, "%s has a type that nothing reads", path);
}

lw_status lw_keys_read(lw_recipe *recipe, const lw_node *map, const char *path, const lw_key *keys, size_t count, void *target)
{
	if (map->kind != LW_NODE_MAP)
		return fail_expected(map, *path ? path : "the recipe", "a map of keys");
	for (size_t i = 0; i < map->count; i++) {
		const lw_node *node = map->items[i];
		const lw_key *key = NULL;
		char full[192];

		for (size_t k = 0; k < count && !key; k++) {
			if (strcmp(keys[k].name, node->key) == 0)
				key = &keys[k];
		}
		if (!key)
			return fail_unknown(node, path, keys, count);
		snprintf(full, sizeof(full), "%s%s%s", path, *path ? "." : "", key->name);
		LW_TRY(lw_key_read(recipe, node, full, key, target));
	}
	return LW_OK;
}

lw_status lw_numbers_read(const lw_node *node, const char *path, const lw_key *range, int max, double *numbers, int *count)
{
	const lw_node *alone, *const *items;
	size_t n = one_or_several(node, &items, &alone);

	if (n == 0 || n > (size_t)max)
		return lw_node_fail(node, "%s is a list of %zu; expected 1 to %d numbers", path, n, max);
	for (size_t i = 0; i < n; i++)
		LW_TRY(read_number(items[i], path, range, &numbers[i]));
	*count = (int)n;
	return LW_OK;
}

lw_status lw_integers_read(lw_recipe *recipe, const lw_node *node, const char *path, const lw_key *range, int **integers,
			   size_t *count)
{
	const lw_node *alone, *const *items;
	size_t n = one_or_several(node, &items, &alone);

	if (n == 0)
		return fail_expected(node, path, "at least one whole number");
	LW_TRY(lw_recipe_alloc(recipe, integers, n, sizeof(**integers)));
	for (size_t i = 0; i < n; i++) {
		int64_t value;
		LW_TRY(read_integer(items[i], path, range, INT_MAX, &value));
		(*integers)[i] = (int)value;
	}
	*count = n;
	return LW_OK;
}
