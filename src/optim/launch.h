/* launch: which form of the update kernels a device gets. */
#ifndef LW_OPTIM_LAUNCH_H
#define LW_OPTIM_LAUNCH_H

#include "optim/optim.h"

/* Floats that a work-item takes at once, and work-items of a work-group: context->force_variant's or the device's. */
int lw_update_vector(const lw_op_context *context);
int lw_update_work_group(const lw_op_context *context);

#endif
