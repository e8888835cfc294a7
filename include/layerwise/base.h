/*
 * layerwise/base.h - status codes, the last error, the log, the version.
 *
 * Every function that can fail returns an lw_status and, where it fails, leaves one sentence in
 * the calling thread's last-error text. The library never prints and never aborts. Arguments
 * stay the caller's, also on failure. A destroy function cannot fail, accepts an empty handle
 * and leaves it empty.
 */
#ifndef LAYERWISE_BASE_H
#define LAYERWISE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define LW_API
#else
#define LW_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define LW_VERSION_MAJOR 0
#define LW_VERSION_MINOR 1
#define LW_VERSION_PATCH 0

typedef enum lw_status {
	LW_OK = 0,
	LW_E_ARGUMENT = -1,    /* the request was wrong: a name, a value, a shape */
	LW_E_MEMORY = -2,      /* out of host or device memory */
	LW_E_IO = -3,          /* a file could not be read or written */
	LW_E_FORMAT = -4,      /* a file does not hold what it should */
	LW_E_DEVICE = -5,      /* an OpenCL call failed */
	LW_E_BUILD = -6,       /* a kernel did not compile; the log is in the message */
	LW_E_UNSUPPORTED = -7, /* the device or this build cannot do it */
	LW_E_NUMERIC = -8,     /* NaN or infinity in loss or gradients */
	LW_E_INTERRUPTED = -9  /* a signal asked for the end */
} lw_status;

/* The sentence set by the last failing call of this thread; "" where none failed. Owned by the library. */
LW_API const char *lw_last_error(void);

/* A short name such as "device error". Never NULL. */
LW_API const char *lw_status_name(lw_status status);

/* "0.1.0" */
LW_API const char *lw_version(void);

typedef enum lw_log_level { LW_LOG_DEBUG, LW_LOG_INFO, LW_LOG_WARNING } lw_log_level;

/* Receives one line without a newline. May be called from any thread. */
typedef void (*lw_log_function)(void *user, lw_log_level level, const char *text);

/* Sets who receives log lines of at least the level, for the process. NULL: nobody, as at the start. */
LW_API void lw_set_log(lw_log_function function, void *user, lw_log_level level);

#ifdef __cplusplus
}
#endif
#endif
