/* kernel: embedded .cl sources, variants (integer -D options), program build, on-disk binary cache. */
#ifndef LW_KERNEL_KERNEL_H
#define LW_KERNEL_KERNEL_H

#include "device/device.h"

typedef struct lw_option {
	const char *name;
	int value;
} lw_option;

enum { LW_VARIANT_MAX_OPTIONS = 24 };

/* One compiled form of a kernel: cl/<source>.cl (common.cl in front), the function, and its integer options. */
typedef struct lw_variant {
	const char *source;
	const char *function;
	int option_count;
	lw_option options[LW_VARIANT_MAX_OPTIONS];
} lw_variant;

static inline void lw_variant_option(lw_variant *v, const char *name, int value)
{
	v->options[v->option_count++] = (lw_option){name, value};
}

/*
 * The built kernel of a variant, from the device's table, the disk cache or the compiler. Owned by the device.
 * The first compile of a process is announced in the log. LW_E_BUILD with the compiler's log.
 */
lw_status lw_kernel_get(lw_kernel **kernel, lw_device *device, const lw_variant *variant);

/* lw_kernel_get, then the launch starts with that kernel and no arguments. */
lw_status lw_launch_begin(lw_launch *launch, lw_device *device, const lw_variant *variant);

/*
 * Calls rehearse, in which lw_launch_begin only notes what this thread would launch on the device (so its queues must be rehearsing: see
 * lw_queue_rehearse), and then builds all that was noted, or reads it from the disk cache, on several threads.
 */
lw_status lw_kernel_prepare(lw_device *device, lw_status (*rehearse)(void *user), void *user);

/* Writes to disk the binaries of programs built since the last call (after they ran once: PoCL compiles then). */
void lw_kernel_cache_save(lw_device *device);

/* While on, kernels that are built are not written to disk, which costs as much as compiling them: until they are asked for later. */
void lw_kernel_trials(lw_device *device, bool on);

/* How many programs this device compiled from source, and took from the disk cache. */
void lw_kernel_statistics(lw_device *device, unsigned *compiled, unsigned *cached);

/* The embedded text of cl/<name>.cl; NULL where there is none. Generated at build. */
const char *lw_kernel_source(const char *name);

#endif
