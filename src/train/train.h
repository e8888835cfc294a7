/* train: the loop, evaluation, checkpoints, the log of steps. */
#ifndef LW_TRAIN_TRAIN_H
#define LW_TRAIN_TRAIN_H

#include "base/base.h"
#include <layerwise/train.h>

/* What a checkpoint says of its run, beside what lw_plan_save put there. Whole numbers all, kept as metadata. */
typedef struct lw_checkpoint {
	int64_t format;    /* LW_CHECKPOINT_FORMAT */
	int64_t step;      /* steps done; the batch that comes next, from 0 */
	int64_t total;     /* steps the run had */
	int64_t skipped;   /* steps skipped because not finite */
	int64_t evaluated; /* step of the last evaluation; 0: none */
	int64_t batch, seed, shuffle, samples;
} lw_checkpoint;

enum { LW_CHECKPOINT_FORMAT = 1 };

/*
 * Makes the folder, removes temporary files that killed runs left, and renames checkpoints past the step `from` to
 * *.old: the run that begins at `from` goes another way than the one that wrote them. from -1: all of them.
 */
lw_status lw_checkpoint_prepare(const char *directory, int64_t from);

/*
 * Writes directory/checkpoint-<step>.safetensors, whole or not at all, and then removes all but the newest `keep`.
 * tensors is what lw_plan_save gave; the facts are added to it. *path is the caller's. LW_E_NUMERIC where a value is
 * not finite: such a checkpoint would be worth nothing, and nothing is written or removed.
 */
lw_status lw_checkpoint_write(char **path, const char *directory, const lw_checkpoint *facts, lw_tensors *tensors, int keep);

/*
 * Reads the newest complete checkpoint of a folder; incomplete ones are passed over with a warning in the log. None
 * there: *tensors and *path are NULL, and that is LW_OK. LW_E_FORMAT where there are some and none is complete.
 */
lw_status lw_checkpoint_read(lw_tensors **tensors, lw_checkpoint *facts, char **path, const char *directory);

/* LW_E_ARGUMENT names what differs between a checkpoint and the run that would go on from it. */
lw_status lw_checkpoint_check(const char *path, const lw_checkpoint *saved, const lw_checkpoint *run);

/* One JSON object a line, flushed line by line. */
typedef struct lw_step_log lw_step_log;

/*
 * Opens the log; a fresh run's (from 0) begins empty, a resumed one's loses the steps after `from` and the evaluations
 * after the step `evaluated`: they will be written again.
 */
lw_status lw_step_log_open(lw_step_log **log, const char *path, int64_t from, int64_t evaluated);
void lw_step_log_close(lw_step_log **log);
/* The step that the plan took last. Both do nothing where log is NULL. */
lw_status lw_step_log_step(lw_step_log *log, const lw_plan *plan, int64_t step, const lw_step_result *result);
lw_status lw_step_log_evaluation(lw_step_log *log, int64_t step, double accuracy, double loss);

#endif
