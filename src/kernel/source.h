/* The text that a kernel is compiled from. */
#ifndef LW_KERNEL_SOURCE_H
#define LW_KERNEL_SOURCE_H

#include "kernel/kernel.h"

/*
 * common.cl and the source's text without its other kernels. *text is the caller's to free. Drivers compile all that
 * they are given, PoCL even twice where the binary is asked for, and most sources hold kernels that a net does not use.
 */
lw_status lw_kernel_text(char **text, const char *source, const char *function);

/* Of this version and all its sources: another where any kernel may be another. */
uint64_t lw_kernel_sources_hash(void);

#endif
