/*
 * layerwise/trace.h - a record of what devices do in some steps, for Chrome's trace format and for a profile (report.h).
 *
 *     lw_trace_create(&trace, devices, count);
 *     lw_trace_begin_step(trace, 1);
 *     lw_plan_step(plan, images, labels, &result);
 *     lw_trace_end_step(trace);
 *     lw_report_trace(trace, "trace.json");
 *     lw_trace_destroy(&trace);
 */
#ifndef LAYERWISE_TRACE_H
#define LAYERWISE_TRACE_H

#include <layerwise/device.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lw_trace lw_trace;

/*
 * Made for devices, which must stay open until it is destroyed. A device has one trace at a time (LW_E_ARGUMENT), and must
 * tell when its commands ran (LW_E_UNSUPPORTED). To be made and destroyed while nothing uses the devices.
 */
LW_API lw_status lw_trace_create(lw_trace **trace, lw_device *const *devices, size_t count);
LW_API void lw_trace_destroy(lw_trace **trace);

/*
 * What is enqueued, and waited for, between the two is recorded, up to 262144 records (then the log has a warning). Between
 * steps nothing is. Both do nothing where trace is NULL.
 */
LW_API void lw_trace_begin_step(lw_trace *trace, int64_t step);
LW_API void lw_trace_end_step(lw_trace *trace);

#ifdef __cplusplus
}
#endif
#endif
