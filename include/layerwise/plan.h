/*
 * layerwise/plan.h - a net bound to devices: one backward per step, each group's update with its own options.
 *
 * The idiom that is two optimizers and two backward passes elsewhere:
 *
 *     lw_compute_gradients(plan, images, labels, &result);   // once
 *     lw_apply_gradients(plan, "pretrained");                // lr 1e-5
 *     lw_apply_gradients(plan, "new");                       // lr 1e-3
 *
 * lw_plan_step does both in one submission.
 */
#ifndef LAYERWISE_PLAN_H
#define LAYERWISE_PLAN_H

#include <layerwise/device.h>
#include <layerwise/forecast.h>
#include <layerwise/model.h>
#include <layerwise/optim.h>
#include <layerwise/ranks.h>
#include <layerwise/tune.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_plan lw_plan;

/* once: one backward for all groups. per_group: one backward per group, the naive way, as a baseline; same bits. */
typedef enum lw_gradients { LW_GRADIENTS_ONCE, LW_GRADIENTS_PER_GROUP } lw_gradients;

/*
 * Whether a plan takes what earlier tuning found fastest on the device (which may be another algorithm, and other bits,
 * unless `reproducible`): default: unless the environment has LAYERWISE_TUNE=off.
 */
typedef enum lw_tuning_use { LW_TUNING_DEFAULT, LW_TUNING_OFF, LW_TUNING_ON } lw_tuning_use;

typedef struct lw_plan_options {
	int batch;           /* images of a step, 64 */
	lw_precision precision;
	bool reproducible;   /* the same bits on every vendor's device */
	lw_gradients gradients;
	double label_smoothing;
	uint32_t seed;       /* of dropout */
	int64_t total_steps; /* what schedules run to; 0 where no schedule needs it */
	lw_tuning_use tuning;
	/*
	 * Several devices share every batch in proportion to how fast they turn out to be in the first steps, or to these numbers,
	 * one a device (share_count 0: none are given; copied).
	 */
	const double *shares;
	size_t share_count;
	bool synchronise_batchnorm; /* statistics over the whole batch, not each device's share; reproducible implies it */
	lw_ranks *ranks;     /* other processes that take the same steps; NULL: none. They must outlive the plan */
	int slices;          /* of a reproducible step's batch, which devices take whole: 0: 4, of fewer than 16 images 2, of one 1 */
} lw_plan_options;

LW_API void lw_plan_defaults(lw_plan_options *options);

/* One step's outcome. */
typedef struct lw_step_result {
	double loss;           /* mean over the batch */
	double gradient_norm;  /* over the groups that share the global clip */
	size_t correct;        /* images whose largest logit was the label's */
	bool finite;           /* false: loss or a gradient is NaN or infinite, and no parameter was changed */
	const char *bad_tensor; /* where not finite: the first such gradient's parameter, in the net's order, or "loss"; the plan's */
} lw_step_result;

/*
 * Binds the net to devices and resolves the groups (group_count 0: everything in one). Each device computes a share of every
 * batch; every parameter is owned, and updated, by one of them, or by the device that its group names, which is opened for
 * that. The net and the devices must outlive the plan. Parameters are copied; the net's own stay as they are until
 * lw_plan_download. Devices that fail in a step are dropped, and the step is taken again by the others: the log says so.
 */
LW_API lw_status lw_plan_create(lw_plan **plan, lw_net *net, lw_device *const *devices, size_t device_count,
				const lw_optim_options *optim, const lw_group_options *groups, size_t group_count,
				const lw_plan_options *options);
LW_API void lw_plan_destroy(lw_plan **plan);

/*
 * Forward and one pruned backward over options.batch images (NHWC floats) and labels. Waits for the loss; result may be
 * NULL, and then it does not wait: images and labels must stay valid until lw_apply_gradients has returned.
 */
LW_API lw_status lw_compute_gradients(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result);

/* Applies the gradients of the last lw_compute_gradients to one group (by name), or to all (NULL). A frozen group is left alone.
 * A group is applied at most once per gradients: LW_E_ARGUMENT. */
LW_API lw_status lw_apply_gradients(lw_plan *plan, const char *group);

/* Copies a parameter's gradient of the last lw_compute_gradients out: as many floats as the parameter has. LW_E_ARGUMENT for a frozen one. */
LW_API lw_status lw_plan_get_gradient(lw_plan *plan, size_t param, float *values);

/* Both for all groups, in one submission, with clipping and the check for NaN and infinity on the device. */
LW_API lw_status lw_plan_step(lw_plan *plan, const float *images, const int32_t *labels, lw_step_result *result);

/*
 * Optional: starts the upload of the batch that the step after the next call of lw_plan_step will be given, so that it
 * runs beside that step. The same pointers must be given then; what they point to must stay as it is until that step returns.
 */
LW_API lw_status lw_plan_prefetch(lw_plan *plan, const float *images, const int32_t *labels);

/* Forward in evaluation mode over count images (any number up to batch): adds to *loss_sum and *correct; logits (count x classes) may be NULL. */
LW_API lw_status lw_plan_evaluate(lw_plan *plan, const float *images, const int32_t *labels, int count, double *loss_sum,
				  size_t *correct, float *logits);

/*
 * Searches what is fastest on the device for each pass of each layer that is not known yet, most FLOPs first, and
 * remembers it for later runs. What the budget does not suffice for is remembered with its default, so that a second run
 * takes the same choices and has the same bits. Before the first step: LW_E_ARGUMENT later. Without tuning (see
 * lw_tuning_use) and on simulated devices it does nothing.
 */
LW_API lw_status lw_plan_tune(lw_plan *plan, const lw_tune_options *options);

/*
 * From the next step on the group's parameters are owned by that device (a label of one of the plan's; NULL: as the plan
 * decides). Changes no bit of any result. LW_E_ARGUMENT names what is not there.
 */
LW_API lw_status lw_plan_move_group(lw_plan *plan, const char *group, const char *device);

/* How many logits an image gets. */
LW_API int lw_plan_classes(const lw_plan *plan);

/* Copies parameters from the device to the net, or from the net to the device (optimizer state stays). */
LW_API lw_status lw_plan_download(lw_plan *plan);
LW_API lw_status lw_plan_upload(lw_plan *plan);

/* The number of steps taken, and the learning rate that a group (by index) has at a step (1-based). */
LW_API int64_t lw_plan_steps(const lw_plan *plan);
LW_API double lw_plan_learning_rate(const lw_plan *plan, size_t group, int64_t step);

/*
 * Everything a run needs to go on bit for bit: parameters and optimizer state by parameter name, each parameter's t, the
 * step. restore matches by name: a group may have been redrawn since; what the file lacks starts fresh.
 */
LW_API lw_status lw_plan_save(lw_plan *plan, lw_tensors *tensors);
LW_API lw_status lw_plan_restore(lw_plan *plan, const lw_tensors *tensors);

typedef struct lw_plan_group_info {
	const char *name, *rule, *device; /* device: its owner, also another rank's; NULL: several, or none */
	size_t params, floats;   /* trainable tensors and floats it claims */
	bool frozen;
	int64_t unfreeze_at;
	double lr, weight_decay, clip_norm; /* clip_norm 0: none, NAN: shares the global one */
	const char *schedule;
} lw_plan_group_info;

typedef struct lw_plan_info {
	size_t group_count;
	size_t update_launches;     /* per step */
	size_t backward_passes;     /* per step */
	double forward_flops, backward_flops, pruned_flops; /* per step; pruned: what a full backward would add */
	uint64_t parameter_bytes, gradient_bytes, state_bytes, activation_bytes, peak_bytes; /* device memory */
	uint64_t activation_bytes_unplanned; /* were no memory reused */
	const char *lowest_trainable;        /* the lowest layer that backward reaches; NULL: none */
} lw_plan_info;

LW_API lw_status lw_plan_get_info(const lw_plan *plan, lw_plan_info *info);
LW_API lw_status lw_plan_get_group(const lw_plan *plan, size_t index, lw_plan_group_info *info);

/*
 * How its steps run on its devices as they are shared out and owned now, by what was measured of them: bandwidths when the plan was
 * made, how fast they compute in its first steps. Names are the net's and the plan's. lw_forecast_destroy frees it.
 */
LW_API lw_status lw_plan_forecast(const lw_plan *plan, lw_forecast **forecast);
LW_API void lw_forecast_destroy(lw_forecast **forecast);

#ifdef __cplusplus
}
#endif
#endif
