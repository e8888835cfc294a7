/* layerwise: fine-tuning with a learning rate per layer on any OpenCL device. This header includes all others. */
#ifndef LAYERWISE_LAYERWISE_H
#define LAYERWISE_LAYERWISE_H

#include <layerwise/base.h>
#include <layerwise/data.h>
#include <layerwise/device.h>
#include <layerwise/forecast.h>
#include <layerwise/model.h>
#include <layerwise/net.h>
#include <layerwise/optim.h>
#include <layerwise/plan.h>
#include <layerwise/ranks.h>
#include <layerwise/recipe.h>
#include <layerwise/report.h>
#include <layerwise/simulate.h>
#include <layerwise/trace.h>
#include <layerwise/train.h>
#include <layerwise/tune.h>

#endif
