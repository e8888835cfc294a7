/*
 * layerwise/recipe.h - the recipe file (YAML) read into options, and a net, groups, datasets made from it.
 */
#ifndef LAYERWISE_RECIPE_H
#define LAYERWISE_RECIPE_H

#include <layerwise/simulate.h>
#include <layerwise/train.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_recipe lw_recipe;

/*
 * Reads a recipe; overrides are "train.steps=20"-style settings (list items by number from 0), applied before it is
 * checked. Every error names the file and the line (or the override), what was found and what was expected; an unknown key, the
 * nearest known one. Nothing it names is opened yet.
 */
LW_API lw_status lw_recipe_read(lw_recipe **recipe, const char *path, const char *const *overrides, size_t override_count);
LW_API void lw_recipe_destroy(lw_recipe **recipe);

/* The net that the recipe describes, initialised by init and seed and then loaded from its weights files (report may be NULL). The caller's. */
LW_API lw_status lw_recipe_net(const lw_recipe *recipe, lw_net **net, lw_load_report *report);

/* The net without values, for what depends on its layers alone: nothing is initialised, no file read. The caller's. */
LW_API lw_status lw_recipe_layers(const lw_recipe *recipe, lw_net **net);

/* The training or test set; *dataset is NULL where the recipe names none. The caller's. */
LW_API lw_status lw_recipe_dataset(const lw_recipe *recipe, bool train, lw_dataset **dataset);

/* What the recipe says; strings and arrays are the recipe's. */
LW_API const lw_optim_options *lw_recipe_optim(const lw_recipe *recipe);
LW_API const lw_group_options *lw_recipe_groups(const lw_recipe *recipe, size_t *count);
LW_API const lw_plan_options *lw_recipe_plan(const lw_recipe *recipe); /* total_steps is left 0 */
LW_API const lw_train_options *lw_recipe_train(const lw_recipe *recipe);
/* Device names joined by commas, "auto" where it says nothing. */
LW_API const char *lw_recipe_devices(const lw_recipe *recipe);

/*
 * A cluster for lw_simulate, from a file of its own: `devices:`, a list of maps with name, gflops, update_bandwidth and
 * link_bandwidth (GB/s), and optionally count (1), latency (us, 10), memory (GB), domain, fails_at_step. Errors as lw_recipe_read's.
 */
typedef struct lw_cluster lw_cluster;
LW_API lw_status lw_cluster_read(lw_cluster **cluster, const char *path);
LW_API void lw_cluster_destroy(lw_cluster **cluster);
/* The cluster's. */
LW_API const lw_cluster_device *lw_cluster_devices(const lw_cluster *cluster, size_t *count);

#ifdef __cplusplus
}
#endif
#endif
