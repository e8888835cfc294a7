/* report/forecast: how a step will run, told alike of real devices and of described ones. */
#ifndef LW_REPORT_FORECAST_H
#define LW_REPORT_FORECAST_H

#include "base/base.h"
#include <jansson.h>
#include <layerwise/report.h>

/* Devices, the largest parcels, the step's time against its bounds, and why owners are what they are. */
lw_status lw_forecast_print(const lw_forecast *forecast, FILE *stream);
json_t *lw_forecast_object(const lw_forecast *forecast);

/* null where it is not finite: JSON has no NaN. */
json_t *lw_report_number(double value);

#endif
