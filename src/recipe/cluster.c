/* A cluster that a step is simulated on, as a file describes it: a list of devices. */
#include "recipe/recipe.h"

#include <math.h>
#include <stdlib.h>

struct lw_cluster {
	char *path;
	lw_node *root;
	lw_cluster_device *devices;
	size_t count;
};

/* As the file says it: GB/s, us, GB. */
typedef struct described {
	lw_cluster_device device;
	double update_bandwidth, link_bandwidth, latency, memory;
} described;

static lw_status read_device(const lw_node *node, const char *path, lw_cluster_device *device)
{
	static const lw_key keys[] = {
		{"name", LW_KEY_TEXT, offsetof(described, device.name), LW_ANY},
		{"count", LW_KEY_SIZE, offsetof(described, device.count), LW_FROM_TO(1, 1e6)},
		{"gflops", LW_KEY_NUMBER, offsetof(described, device.gflops), LW_FROM_TO(0, 1e12)},
		{"update_bandwidth", LW_KEY_NUMBER, offsetof(described, update_bandwidth), LW_ABOVE_TO(0, 1e9)},
		{"link_bandwidth", LW_KEY_NUMBER, offsetof(described, link_bandwidth), LW_ABOVE_TO(0, 1e9)},
		{"latency", LW_KEY_NUMBER, offsetof(described, latency), LW_FROM_TO(0, 1e9)},
		{"memory", LW_KEY_NUMBER, offsetof(described, memory), LW_ABOVE_TO(0, 1e9)},
		{"domain", LW_KEY_TEXT, offsetof(described, device.domain), LW_ANY},
		{"fails_at_step", LW_KEY_INT64, offsetof(described, device.fails_at_step), LW_AT_LEAST(1)},
	};
	static const char *const needed[] = {"name", "gflops", "update_bandwidth", "link_bandwidth"};
	described d = {.device.count = 1, .latency = 10};

	LW_TRY(lw_keys_read(NULL, node, path, keys, LW_COUNT(keys), &d));
	for (size_t i = 0; i < LW_COUNT(needed); i++)
		if (!lw_node_get(node, needed[i]))
			return lw_node_fail(node, "%s: %s is missing", path, needed[i]);
	d.device.update_bandwidth = d.update_bandwidth * 1e9;
	d.device.link_bandwidth = d.link_bandwidth * 1e9;
	d.device.latency = d.latency * 1e-6;
	d.device.memory = (uint64_t)(d.memory * 1e9);
	*device = d.device;
	return LW_OK;
}

static lw_status read_devices(lw_recipe *recipe, const lw_node *node, const char *path, void *target)
{
	lw_cluster *cluster = target;
	lw_node_words words;

	(void)recipe;
	if (node->kind != LW_NODE_LIST || node->count == 0)
		return lw_node_fail(node, "%s is %s; expected a list of devices", path, lw_node_describe(node, &words));
	LW_TRY(lw_alloc(&cluster->devices, node->count, sizeof *cluster->devices));
	cluster->count = node->count;
	for (size_t i = 0; i < node->count; i++) {
		char name[64];

		snprintf(name, sizeof name, "%s.%zu", path, i);
		LW_TRY(read_device(node->items[i], name, &cluster->devices[i]));
	}
	return LW_OK;
}

lw_status lw_cluster_read(lw_cluster **result, const char *path)
{
	static const lw_key sections[] = {{"devices", LW_KEY_CUSTOM, 0, .read = read_devices}};
	lw_cluster *cluster = NULL;
	void *text = NULL;
	size_t size = 0;
	lw_status status;

	*result = NULL;
	LW_TRY(lw_alloc(&cluster, 1, sizeof *cluster));
	LW_GO(lw_copy_string(&cluster->path, path));
	LW_GO(lw_file_read(path, &text, &size));
	if (size > LW_RECIPE_MAX_BYTES) {
		status = lw_fail(LW_E_FORMAT, "%s: %zu bytes are too many for a cluster", path, size);
		goto out;
	}
	LW_GO(lw_yaml_parse(&cluster->root, text, size, cluster->path, false));
	LW_GO(lw_keys_read(NULL, cluster->root, "cluster", sections, LW_COUNT(sections), cluster));
	if (!cluster->devices) {
		status = lw_fail(LW_E_FORMAT, "%s: devices is missing; expected a list of devices", path);
		goto out;
	}
	*result = cluster;
	cluster = NULL;
out:
	free(text);
	lw_cluster_destroy(&cluster);
	return status;
}

void lw_cluster_destroy(lw_cluster **cluster)
{
	if (!*cluster)
		return;
	lw_node_destroy(&(*cluster)->root);
	free((*cluster)->devices);
	free((*cluster)->path);
	free(*cluster);
	*cluster = NULL;
}

const lw_cluster_device *lw_cluster_devices(const lw_cluster *cluster, size_t *count)
{
	*count = cluster->count;
	return cluster->devices;
}
