/* sched/shares: whole images (or slices) of a batch, shared out by speed. */
#ifndef LW_SCHED_SHARES_H
#define LW_SCHED_SHARES_H

#include "base/base.h"

/*
 * Shares `total` out in proportion to the speeds, so that all end as soon as can be: parts[i] <= most[i] (NULL: no
 * limit). Returns what no part has room for.
 */
int lw_share_out(int total, size_t count, const double *speeds, const int *most, int *parts);

#endif
