/* recipe: the recipe file as a tree of nodes, tables of its keys, and what they fill. */
#ifndef LW_RECIPE_RECIPE_H
#define LW_RECIPE_RECIPE_H

#include "optim/optim.h"
#include <layerwise/recipe.h>

enum { LW_RECIPE_MAX_DEPTH = 32, LW_RECIPE_MAX_KEYS = 256, LW_RECIPE_MAX_BYTES = 4 << 20 };

/* --- The tree (yaml.c, node.c) --- */

typedef enum lw_node_kind { LW_NODE_SCALAR, LW_NODE_LIST, LW_NODE_MAP } lw_node_kind;

typedef struct lw_node {
	lw_node_kind kind;
	char *key;          /* its name in the map that holds it, NULL elsewhere */
	char *text;         /* of a scalar */
	bool quoted;        /* a scalar in quotes: never a number or a boolean */
	const char *origin; /* the file's path, or the whole override; the recipe's */
	int line;           /* of the key, or else of the value; 0: from an override */
	struct lw_node **items;
	size_t count, capacity;
} lw_node;

/* Parses one YAML document; is_override: it is a value that was set, and every line is 0. An empty text gives an empty scalar. origin must outlive the tree. */
lw_status lw_yaml_parse(lw_node **root, const char *text, size_t size, const char *origin, bool is_override);
/* Applies "a.0.b=VALUE" to the tree. setting must outlive the tree. */
lw_status lw_yaml_override(lw_node *root, const char *setting);
void lw_node_destroy(lw_node **node);

/* The item of a map by key, NULL where there is none. */
const lw_node *lw_node_get(const lw_node *map, const char *key);
bool lw_node_is_null(const lw_node *node);
bool lw_node_boolean(const lw_node *node, bool *value);
bool lw_node_number(const lw_node *node, double *value);
bool lw_node_integer(const lw_node *node, int64_t *value);

/* "FILE:LINE: ..." or "override `a.b=c`: ..."; returns LW_E_FORMAT. */
lw_status lw_node_fail(const lw_node *node, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Puts the same prefix before the error already set. */
lw_status lw_node_fail_prefix(const lw_node *node, lw_status status);

/* What was found, for messages: "`abc`", "a list of 3", "nothing". */
typedef struct lw_node_words {
	char text[96];
} lw_node_words;
const char *lw_node_describe(const lw_node *node, lw_node_words *words);

/* --- Tables of keys (keys.c) --- */

typedef struct lw_texts {
	const char **items; /* the recipe's */
	size_t count;
} lw_texts;

typedef enum lw_key_type {
	LW_KEY_BOOL,   /* bool */
	LW_KEY_FLAG,   /* int, 0 or 1 */
	LW_KEY_INT,    /* int */
	LW_KEY_INT64,  /* int64_t */
	LW_KEY_UINT32, /* uint32_t */
	LW_KEY_SIZE,   /* size_t */
	LW_KEY_NUMBER, /* double */
	LW_KEY_TEXT,   /* const char * */
	LW_KEY_PATH,   /* const char *, relative to the recipe */
	LW_KEY_CHOICE, /* an enum: the position among choices */
	LW_KEY_PAIR,   /* int[2]: one for both, or [h, w] */
	LW_KEY_WORD,   /* const char *: one of choices */
	LW_KEY_TEXTS,  /* lw_texts: one or a list */
	LW_KEY_PATHS,  /* lw_texts, relative to the recipe */
	LW_KEY_BETAS,  /* double[2] */
	LW_KEY_CUSTOM  /* read does it */
} lw_key_type;

typedef enum lw_key_bounds { LW_CLOSED = 0, LW_OPEN_LOW = 1, LW_OPEN_HIGH = 2 } lw_key_bounds;

/* path is where the key stands, as an override would name it: "train.lr". target: the key's section's, at offset. */
typedef lw_status (*lw_key_reader)(lw_recipe *recipe, const lw_node *node, const char *path, void *target);

typedef struct lw_key {
	const char *name;
	lw_key_type type;
	size_t offset;
	double low, high; /* of numbers; LW_AT_LEAST and its like fill them */
	int bounds;       /* of lw_key_bounds */
	const char *const *choices; /* NULL-ended */
	lw_key_reader read;
	bool may_be_empty; /* of lists */
} lw_key;

#define LW_ANY .low = -INFINITY, .high = INFINITY
#define LW_AT_LEAST(l) .low = (l), .high = INFINITY
#define LW_ABOVE(l) .low = (l), .high = INFINITY, .bounds = LW_OPEN_LOW
#define LW_FROM_TO(l, h) .low = (l), .high = (h)
#define LW_FROM_BELOW(l, h) .low = (l), .high = (h), .bounds = LW_OPEN_HIGH
#define LW_ABOVE_TO(l, h) .low = (l), .high = (h), .bounds = LW_OPEN_LOW
#define LW_BETWEEN(l, h) .low = (l), .high = (h), .bounds = LW_OPEN_LOW | LW_OPEN_HIGH

/* Reads every key of the map into target by the table; a key that is not in it is an error that names the nearest. */
lw_status lw_keys_read(lw_recipe *recipe, const lw_node *map, const char *path, const lw_key *keys, size_t count,
		       void *target);
lw_status lw_key_read(lw_recipe *recipe, const lw_node *node, const char *path, const lw_key *key, void *target);

/* One number or a list of up to max of them. */
lw_status lw_numbers_read(const lw_node *node, const char *path, const lw_key *range, int max, double *numbers, int *count);
/* One whole number or a list; the array is the recipe's. */
lw_status lw_integers_read(lw_recipe *recipe, const lw_node *node, const char *path, const lw_key *range, int **integers,
			   size_t *count);

/* --- What was read --- */

typedef struct lw_recipe_layer {
	const char *kind;
	lw_layer_options options;
	const lw_node *node;
} lw_recipe_layer;

typedef struct lw_recipe_data {
	const lw_node *node; /* NULL: no data section */
	const char *format;
	lw_texts train, test; /* paths */
	int *classes;
	size_t class_count;
	size_t limit;
	int mean_count, std_count;
	double mean[LW_DATA_MAX_CHANNELS], std[LW_DATA_MAX_CHANNELS];
} lw_recipe_data;

struct lw_recipe {
	char *path;
	char **overrides;
	size_t override_count;
	lw_node *root;
	void **owned; /* arrays and joined paths that the options point to */
	size_t owned_count, owned_capacity;

	lw_arch arch; /* name NULL: the net is made of layers */
	int classes;  /* model.classes, of an architecture; 0: not given */
	int input[3];  /* all zero until it is read or the architecture's is taken */
	lw_recipe_layer *layers;
	size_t layer_count;
	lw_texts weights; /* paths */
	lw_init init;

	lw_recipe_data data;
	lw_optim_options optim;
	lw_plan_options plan;
	lw_train_options train;
	lw_group_options *groups;
	size_t group_count;
	char *devices;
};

/* Zeroed memory that lives as long as the recipe; and memory taken over, freed also where this fails. */
lw_status lw_recipe_alloc(lw_recipe *recipe, void *pointer_to_pointer, size_t count, size_t size);
lw_status lw_recipe_own(lw_recipe *recipe, void *pointer);

/* The sections: each reads its node into the recipe (model.c, options.c). */
lw_status lw_recipe_read_model(lw_recipe *recipe, const lw_node *node, const char *path, void *target);
lw_status lw_recipe_read_data(lw_recipe *recipe, const lw_node *node, const char *path, void *target);
/* What data says against the model's input, when both were read: either may stand first. */
lw_status lw_recipe_check_data(const lw_recipe *recipe);
lw_status lw_recipe_read_train(lw_recipe *recipe, const lw_node *node, const char *path, void *target);
lw_status lw_recipe_read_groups(lw_recipe *recipe, const lw_node *node, const char *path, void *target);

#endif
