/* tuning: which way of computing each pass of each shape was found fastest on a device, remembered between runs. */
#ifndef LW_KERNEL_TUNING_H
#define LW_KERNEL_TUNING_H

#include "device/device.h"

typedef struct lw_tuning lw_tuning;

/* Longer texts are not kept, bytes with the final NUL. */
enum { LW_TUNING_KEY = 256, LW_TUNING_CHOICE = 64 };

/*
 * Reads what is known about the device (its name, driver and version; this version's kernels). path: the database, NULL:
 * layerwise/tuning.sqlite under the XDG data directory. A file that is missing, locked, foreign or broken counts as empty:
 * tuning never fails a run. What is broken or another program's is moved aside, under a name that the log says.
 */
lw_status lw_tuning_open(lw_tuning **tuning, lw_device *device, const char *path);
void lw_tuning_close(lw_tuning **tuning);

/* The name of the choice stored under a key, owned by tuning; NULL where there is none. */
const char *lw_tuning_find(const lw_tuning *tuning, const char *key);

/*
 * Remembers a choice, in memory and, where that is possible, in the database. replace: also where one is known; otherwise
 * what is known stays, in memory too, be it another process's, so that all runs take the same. seconds: of one run, 0: it
 * was not measured.
 */
lw_status lw_tuning_store(lw_tuning *tuning, const char *key, const char *choice, double seconds, bool replace);

/* Whether what is stored outlives the process. */
bool lw_tuning_lasts(const lw_tuning *tuning);

#endif
