/* The disk cache of compiled programs. A file is believed only after its owner, key and checksum were verified. */
#ifndef LW_KERNEL_CACHE_H
#define LW_KERNEL_CACHE_H

#include "base/base.h"

typedef struct lw_cache_key {
	uint64_t words[2];
} lw_cache_key;

/*
 * The folder of the cache, made where it is missing; the caller's to free. NULL where there is none: switched off
 * (LAYERWISE_CACHE=off), no home, not writable, or writable by others.
 */
char *lw_cache_folder(void);

/* The kept binary; NULL where there is none that can be believed. The caller's to free. */
void *lw_cache_load(const char *folder, const lw_cache_key *key, size_t *size);

/* Keeps a binary; what goes wrong is only logged, for the cache is a convenience. */
void lw_cache_store(const char *folder, const lw_cache_key *key, const void *binary, size_t size);

#endif
