/* tuning: which way of computing each pass of each shape was found fastest on a device, remembered between runs. */
#ifndef LW_KERNEL_TUNING_H
#define LW_KERNEL_TUNING_H

#include "device/device.h"

typedef struct lw_tuning lw_tuning;

/*
 * Reads what is known about the device (its name, driver and version; this version's kernels). path: the database, NULL: layerwise/tuning.sqlite
 * under the XDG data directory. A file that is missing, foreign or broken counts as empty: tuning never fails a run.
 */
lw_status lw_tuning_open(lw_tuning **tuning, lw_device *device, const char *path);
void lw_tuning_close(lw_tuning **tuning);

/* The name of the choice stored under a key, owned by tuning; NULL where there is none. */
const char *lw_tuning_find(const lw_tuning *tuning, const char *key);

/* Remembers a choice, in memory and, where that is possible, in the database. */
lw_status lw_tuning_store(lw_tuning *tuning, const char *key, const char *choice, double seconds);

#endif
