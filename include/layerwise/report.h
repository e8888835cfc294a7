/*
 * layerwise/report.h - tables, numbers for people, progress lines. Formats text; writes only to the stream it is given.
 */
#ifndef LAYERWISE_REPORT_H
#define LAYERWISE_REPORT_H

#include <layerwise/recipe.h>
#include <layerwise/trace.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A table: a header row, then rows of text; printed aligned, as Markdown, CSV (RFC 4180) or JSON (a list of objects). */
typedef struct lw_table lw_table;
typedef enum lw_table_format { LW_TABLE_TEXT, LW_TABLE_MARKDOWN, LW_TABLE_CSV, LW_TABLE_JSON } lw_table_format;

/* header: column names, comma-separated; a name that ends in '>' is aligned right (and a number in JSON). */
LW_API lw_status lw_table_create(lw_table **table, const char *header);
LW_API void lw_table_destroy(lw_table **table);
/* One cell of the current row; after the last column the next row begins. */
LW_API lw_status lw_table_cell(lw_table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
LW_API lw_status lw_table_print(const lw_table *table, FILE *stream, lw_table_format format);

/* 1536 -> "1.5 KiB", 3.2e9 -> "3.20 G", 75.3 s -> "1:15"; buffers of at least 32 bytes. */
LW_API const char *lw_format_bytes(char buffer[32], double bytes);
LW_API const char *lw_format_count(char buffer[32], double count);
LW_API const char *lw_format_duration(char buffer[32], double seconds);

/* The plan as people read it: groups, launches, FLOPs saved, memory; of several devices also its forecast; json: one object. */
LW_API lw_status lw_report_plan(const lw_plan *plan, FILE *stream, bool json);

/* A simulated run: shares, owners, times against what no placement could beat; json: one object. */
LW_API lw_status lw_report_simulation(const lw_simulation *simulation, FILE *stream, bool json);

/* Writes a trace in Chrome's format, which Perfetto shows: a lane for each queue of each device, and for each thread that waited. */
LW_API lw_status lw_report_trace(lw_trace *trace, const char *path);

/*
 * Where the recorded steps' time went, but the first's, which compiles kernels, if there are others: time, share and GFLOP/s
 * of each layer's passes, sums, how long queues were idle, how much of transfers and updates ran beside other work; json: one object.
 */
LW_API lw_status lw_report_profile(lw_trace *trace, FILE *stream, bool json);

/* A progress line: rewritten in place on a terminal, a plain line now and then elsewhere. */
typedef struct lw_progress_line {
	FILE *stream;
	bool terminal;
	double last; /* when it was last written */
	double every; /* seconds between plain lines, 5 */
} lw_progress_line;
LW_API void lw_progress_begin(lw_progress_line *line, FILE *stream);
LW_API void lw_progress_update(lw_progress_line *line, const lw_train_progress *progress);
LW_API void lw_progress_end(lw_progress_line *line);

#ifdef __cplusplus
}
#endif
#endif
