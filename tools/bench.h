/*
 * bench: rows that are measured in turn (A B A B ...), so that what disturbs the machine disturbs all alike, beside the
 * device's peaks measured in the same rounds. One file a benchmark (bench_*.c); cmd_bench.c has the options.
 */
#ifndef LAYERWISE_BENCH_H
#define LAYERWISE_BENCH_H

#include "op/op.h"
#include "tool.h"
#include <jansson.h>
#include <layerwise/report.h>

enum { BENCH_MAX_LIST = 64, BENCH_MAX_SHAPE = 10 };

/* What the command line asks for. */
typedef struct bench_request {
	tool_options shared;
	const char *bench;
	int repeat;
	bool tune, plain, reproducible, precision_given, packed, variants; /* plain: not reproducible; a step is measured both ways where both are */
	const char *compare; /* the table of an earlier run */
	lw_precision precision;
	lw_table_format format;
	int shapes[BENCH_MAX_LIST][BENCH_MAX_SHAPE];
	int shape_count;
	unsigned passes; /* bit p: pass p of bench_conv.c */
	int params[BENCH_MAX_LIST];
	int param_count;
	const char *rule, *op;
	int groups[BENCH_MAX_LIST];
	int group_count;
	const char *recipe, *arch;
	int batch;
	const char *freezes[BENCH_MAX_LIST];
	int freeze_count;
	bool once, per_group, profile;
	const char *sets[BENCH_MAX_LIST]; /* names of devices that share a batch, rows each */
	int set_count;
	double shares[BENCH_MAX_LIST];
	int share_count;
} bench_request;

typedef enum bench_peak { BENCH_FMA, BENCH_COPY, BENCH_TRIAD, BENCH_PEAK_COUNT } bench_peak;

struct bench;
typedef struct bench_row {
	const char *bench, *unit;
	char shape[64], pass[24], variant[192];
	double amount;      /* of one run, in the unit times seconds: FLOPs / 1e9, bytes / 1e9, images */
	double peak_amount; /* of one run, as the peak counts: FLOPs or bytes, / 1e9 */
	bench_peak peak;
	/* Enqueues one run on bench->queue, or does it. */
	lw_status (*run)(struct bench *bench, void *state);
	void *state;
	int inner;       /* runs per sample, so that a sample takes some milliseconds */
	bool cold;       /* no runs before a sample: memory is to bound it, as in a step, where caches have held other things since */
	int warm;        /* runs before each sample */
	double *seconds; /* of one run, by round */
	double activation_bytes; /* of a step; 0: none */
} bench_row;

typedef struct bench {
	const bench_request *request;
	lw_device **devices; /* a step's; others have one alone */
	size_t device_count;
	lw_device *device;   /* whose peaks are measured */
	lw_queue *queue;
	lw_op_context context;
	bench_row *rows;
	size_t row_count, row_capacity;
	size_t peak_rows[BENCH_PEAK_COUNT];   /* the device's best */
	double peak_rates[BENCH_PEAK_COUNT];  /* seen when they were chosen, / 1e9 */
	/* memory and handles of the rows, freed in reverse order */
	struct bench_owned {
		void *pointer;
		void (*destroy)(void *pointer);
	} *owned;
	size_t owned_count, owned_capacity;
} bench;

/* A zeroed row at the end; *row is valid until the next one is added. */
lw_status bench_add(bench *b, bench_row **row);
/* Zeroed memory, or a buffer filled with random values in -1..1 (or, where value is not NAN, with that), that lives as long as b. */
lw_status bench_memory(bench *b, void *pointer_to_pointer, size_t bytes);
lw_status bench_buffer(bench *b, lw_buf **buf, size_t floats, float value);
/* Hands a thing over to b, also on failure. */
lw_status bench_own(bench *b, void *pointer, void (*destroy)(void *pointer));

/* Seconds of one run of a row, the best of a few after a first that is not counted. */
lw_status bench_try(bench *b, const bench_row *row, double *seconds);

/* Adds the rows of a benchmark. all: every candidate; else the best of each kind alone. */
lw_status bench_peak_rows(bench *b, bool all);
lw_status bench_conv_rows(bench *b);
lw_status bench_gemm_rows(bench *b);
lw_status bench_update_rows(bench *b);
lw_status bench_op_rows(bench *b);
lw_status bench_step_rows(bench *b);

/* Measures all rows in turn and prints the table. */
lw_status bench_measure(bench *b);
lw_status bench_print(const bench *b, FILE *stream);

/* Takes some more steps of each row and prints where their time goes. */
lw_status bench_step_profiles(bench *b, FILE *stream);

/* The rows of an earlier run's table, CSV or JSON; and the median of the row with the same bench, shape and pass (and, of several, variant), else NAN. */
lw_status bench_read_earlier(const char *path, json_t **rows);
double bench_earlier_median(const json_t *rows, const bench_row *row);

enum { BENCH_FORWARD, BENCH_BACKWARD_DATA, BENCH_BACKWARD_FILTER, BENCH_PASS_COUNT };
extern const char *const bench_pass_names[BENCH_PASS_COUNT];

#endif
