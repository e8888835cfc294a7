/* A net's parameters from and to files, by name and shape. */
#include "model/model.h"
#include <stdlib.h>
#include <string.h>

/* What was seen so far while a net is loaded. */
struct load {
	lw_net *net;
	size_t param_count, loaded_count;
	bool *loaded;	   /* for each parameter of the net */
	json_t *left_over; /* a set of names, in order */
};

void lw_load_report_clear(lw_load_report *report)
{
	if (!report)
		return;
	for (size_t i = 0; i < report->fresh_count; i++)
		free(report->fresh[i]);
	for (size_t i = 0; i < report->left_over_count; i++)
		free(report->left_over[i]);
	free(report->fresh);
	free(report->left_over);
	*report = (lw_load_report){0};
}

static bool same_shape(const lw_param_info *param, const lw_tensor *tensor)
{
	bool same = param->rank == tensor->rank;

	for (int i = 0; i < param->rank && same; i++)
		same = param->dims[i] == tensor->dims[i];
	return same;
}

static lw_status wrong_shape(const char *path, const lw_param_info *param, const lw_tensor *tensor)
{
	char found[200], expected[200];
	int64_t dims[4];

	for (int i = 0; i < param->rank; i++)
		dims[i] = param->dims[i];
	return lw_fail(LW_E_FORMAT, "%s: tensor '%s' has the shape %s, but the network expects %s", path, param->name,
		       lw_shape_text(found, tensor->dims, tensor->rank), lw_shape_text(expected, dims, param->rank));
}

/* used: for each tensor, whether the net has it */
static lw_status load_params(struct load *load, const char *path, const lw_tensors *tensors, bool *used)
{
	for (size_t i = 0; i < load->param_count; i++) {
		lw_param_info param;
		size_t position;

		LW_TRY(lw_net_param_info(load->net, i, &param));
		if (!lw_tensors_position(tensors, param.name, &position))
			continue;
		const lw_tensor *tensor = &tensors->list[position];

		if (!same_shape(&param, tensor))
			return wrong_shape(path, &param, tensor);
		LW_TRY(lw_net_param_set(load->net, i, tensor->values));
		used[position] = true;
		load->loaded_count += !load->loaded[i];
		load->loaded[i] = true;
	}
	return LW_OK;
}

static lw_status load_file(struct load *load, const char *path)
{
	lw_tensors *tensors = NULL;
	bool *used = NULL;
	lw_status status;

	LW_GO(lw_tensors_read(&tensors, path));
	LW_GO(lw_alloc(&used, tensors->count, sizeof(*used)));
	LW_GO(load_params(load, path, tensors, used));
	for (size_t i = 0; i < tensors->count; i++)
		if (!used[i] && json_object_set_new(load->left_over, tensors->list[i].name, json_true()) != 0) {
			status = lw_fail(LW_E_MEMORY, "%s: out of memory", path);
			goto out;
		}
out:
	free(used);
	lw_tensors_destroy(&tensors);
	return status;
}

static lw_status fill_report(const struct load *load, lw_load_report *report)
{
	const char *name;
	json_t *value;

	report->loaded = load->loaded_count;
	LW_TRY(lw_alloc(&report->fresh, load->param_count - load->loaded_count, sizeof(*report->fresh)));
	LW_TRY(lw_alloc(&report->left_over, json_object_size(load->left_over), sizeof(*report->left_over)));
	for (size_t i = 0; i < load->param_count; i++) {
		lw_param_info param;

		if (load->loaded[i])
			continue;
		LW_TRY(lw_net_param_info(load->net, i, &param));
		LW_TRY(lw_copy_string(&report->fresh[report->fresh_count], param.name));
		report->fresh_count++;
	}
	json_object_foreach(load->left_over, name, value)
	{
		LW_TRY(lw_copy_string(&report->left_over[report->left_over_count], name));
		report->left_over_count++;
	}
	return LW_OK;
}

static lw_status nothing_matched(const struct load *load, const char *path)
{
	void *first = json_object_iter(load->left_over);
	lw_param_info param = {.name = ""};

	if (load->param_count > 0)
		LW_TRY(lw_net_param_info(load->net, 0, &param));
	return lw_fail(LW_E_FORMAT,
		       "%s: no tensor has the name of a parameter of the network; the first tensor is '%s', the first "
		       "parameter '%s'",
		       path, first ? json_object_iter_key(first) : "", param.name);
}

lw_status lw_model_load(lw_net *net, const char *const *paths, size_t count, lw_load_report *report)
{
	struct load load = {.net = net, .param_count = lw_net_param_count(net)};
	lw_status status;

	if (report)
		*report = (lw_load_report){0};
	if (count == 0)
		return lw_fail(LW_E_ARGUMENT, "no file to load parameters from");
	load.left_over = json_object();
	if (!load.left_over)
		return lw_fail(LW_E_MEMORY, "out of memory for the names of tensors");
	LW_GO(lw_alloc(&load.loaded, load.param_count, sizeof(*load.loaded)));
	for (size_t i = 0; i < count; i++)
		LW_GO(load_file(&load, paths[i]));
	if (load.loaded_count == 0)
		LW_GO(nothing_matched(&load, paths[count - 1]));
	if (report)
		LW_GO(fill_report(&load, report));
out:
	if (status != LW_OK)
		lw_load_report_clear(report);
	json_decref(load.left_over);
	free(load.loaded);
	return status;
}

lw_status lw_model_save(const lw_net *net, const char *path)
{
	lw_tensors *tensors = NULL;
	lw_status status;

	LW_GO(lw_tensors_create(&tensors));
	LW_GO(lw_tensors_set_metadata(tensors, "format", "pt")); /* names and shapes are PyTorch's */
	for (size_t i = 0; i < lw_net_param_count(net); i++) {
		lw_param_info param;
		int64_t dims[4];
		float *values;

		LW_GO(lw_net_param_info(net, i, &param));
		for (int k = 0; k < param.rank; k++)
			dims[k] = param.dims[k];
		LW_GO(lw_tensors_reserve(tensors, param.name, dims, param.rank, &values));
		LW_GO(lw_net_param_get(net, i, values));
	}
	status = lw_tensors_write(tensors, path);
out:
	lw_tensors_destroy(&tensors);
	return status;
}
