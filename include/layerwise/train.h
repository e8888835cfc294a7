/*
 * layerwise/train.h - the loop: steps, evaluation, log lines, checkpoints, resume, signals.
 */
#ifndef LAYERWISE_TRAIN_H
#define LAYERWISE_TRAIN_H

#include <layerwise/data.h>
#include <layerwise/plan.h>
#include <layerwise/trace.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_train_progress {
	int64_t step, total;
	int64_t epoch, epochs;
	double loss;               /* of this step */
	double seconds;            /* since the run began */
	double images_per_second;
	double eta_seconds;
	bool evaluated;            /* an evaluation follows in accuracy and evaluation_loss */
	double accuracy, evaluation_loss;
} lw_train_progress;

typedef struct lw_train_options {
	int64_t steps;            /* or, where 0: epochs */
	int64_t epochs;
	bool shuffle;
	uint32_t seed;
	int64_t evaluate_every;   /* epochs between evaluations; 0: only at the end */
	const char *checkpoint_dir; /* NULL: none */
	int64_t checkpoint_every; /* steps; 0: only at the end and on a signal */
	int checkpoint_keep;      /* newest so many are kept, 2 */
	bool resume;              /* from the newest complete checkpoint in resume_dir; none is an error unless resume_or_start */
	bool resume_or_start;
	const char *resume_dir;
	const char *log_path;     /* JSON lines; NULL: none. After a resume, lines past the checkpoint's step are dropped */
	lw_trace *trace;          /* of the plan's devices: records the first trace_steps steps of this run; NULL: none */
	int64_t trace_steps;      /* 20 */
	int skip_not_finite;      /* on_nan: skip:N - so many steps may be skipped before it is an error; 0: abort */
	/* Progress: called after each step. NULL: none. */
	void (*progress)(void *user, const lw_train_progress *progress);
	void *user;
	/* Asked after each step: a signal number ends the run (step finished, checkpoint saved) with LW_E_INTERRUPTED. NULL: never. */
	int (*interrupted)(void *user);
} lw_train_options;

typedef struct lw_train_summary {
	int64_t steps;             /* of the whole run, earlier parts included */
	double loss;               /* mean over the last 50 steps, or the last epoch where that is shorter */
	bool evaluated;
	double accuracy, evaluation_loss; /* on the test set */
	double images_per_second;  /* of training, first step left out */
	double seconds;
	int64_t resumed_from;      /* step, 0: fresh */
	int64_t skipped;           /* steps skipped because not finite */
	char *checkpoint;          /* path of the last one written, NULL: none; the caller's: lw_train_summary_clear */
} lw_train_summary;

LW_API void lw_train_defaults(lw_train_options *options);
LW_API void lw_train_summary_clear(lw_train_summary *summary);

/* How many steps a run has: options.steps, or epochs x floor(count/batch). */
LW_API int64_t lw_train_total_steps(const lw_train_options *options, const lw_dataset *train, int batch);

/*
 * Trains the plan (made with total_steps as lw_train_total_steps says, and the same batch). test may be NULL: no evaluation.
 * LW_E_NUMERIC names the step and the first bad tensor; the last good checkpoint is kept.
 */
LW_API lw_status lw_train(lw_plan *plan, int batch, const lw_dataset *train, const lw_dataset *test, const lw_train_options *options,
			  lw_train_summary *summary);

/* Evaluates over the whole set. each (may be NULL) is called for every sample in order. */
LW_API lw_status lw_evaluate(lw_plan *plan, int batch, const lw_dataset *set, double *accuracy, double *loss,
			     void (*each)(void *user, size_t index, int32_t label, const float *logits, int classes), void *user);

#ifdef __cplusplus
}
#endif
#endif
