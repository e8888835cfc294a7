/* base: status and last-error text, log, checked sizes, random numbers, hashing, files. */
#ifndef LW_BASE_BASE_H
#define LW_BASE_BASE_H

#include <layerwise/base.h>
#include <stdarg.h>
#include <stdio.h>

/* Sets the thread's last-error text and returns status: `return lw_fail(LW_E_IO, "%s: ...", path);` */
lw_status lw_fail(lw_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* As lw_fail, and "; did you mean `nearest`?" after it where nearest is not NULL. */
lw_status lw_fail_suggest(lw_status status, const char *nearest, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Puts "prefix: " before the text already set; for a caller that knows the file or the line. */
lw_status lw_fail_prefix(lw_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Returns from the calling function if the expression fails. Only where nothing is owned yet. */
#define LW_TRY(expression)                                                                                             \
	do {                                                                                                           \
		lw_status lw_try_status = (expression);                                                                \
		if (lw_try_status != LW_OK)                                                                            \
			return lw_try_status;                                                                          \
	} while (0)

/* Goes to the function's `out:` label with `status` set if the expression fails. */
#define LW_GO(expression)                                                                                              \
	do {                                                                                                           \
		status = (expression);                                                                                 \
		if (status != LW_OK)                                                                                   \
			goto out;                                                                                      \
	} while (0)

void lw_log(lw_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Zeroed memory for count elements of size bytes; overflow and exhaustion are LW_E_MEMORY. count 0 gives a valid pointer. */
lw_status lw_alloc(void *pointer_to_pointer, size_t count, size_t size);
/* Grows *array to hold at least needed elements (doubling); *capacity is updated. Contents kept, new elements zeroed. */
lw_status lw_grow(void *pointer_to_array, size_t *capacity, size_t needed, size_t size);
lw_status lw_copy_string(char **copy, const char *text);
/* printf into fresh memory */
lw_status lw_format_string(char **text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* a*b and a+b; false on overflow, and the result is then undefined. */
bool lw_mul_size(size_t a, size_t b, size_t *result);
bool lw_add_size(size_t a, size_t b, size_t *result);

static inline size_t lw_round_up(size_t value, size_t multiple) { return (value + multiple - 1) / multiple * multiple; }
static inline int lw_min_int(int a, int b) { return a < b ? a : b; }
static inline int lw_max_int(int a, int b) { return a > b ? a : b; }

#define LW_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/*
 * Counter-based random numbers: the same (seed, stream, counter) gives the same 32 bits on any host and, in
 * cl/common.cl, on any device. Philox-2x32-10 (Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy
 * as 1, 2, 3, SC 2011). counter's low half indexes within the stream, its high half is the caller's (a step).
 */
uint32_t lw_random_bits(uint32_t seed, uint32_t stream, uint64_t counter);
/* Uniform in [0,1) with 24 bits, and standard normal (Box-Muller in double). */
float lw_random_uniform(uint32_t seed, uint32_t stream, uint64_t counter);
float lw_random_normal(uint32_t seed, uint32_t stream, uint64_t counter);

/* 64-bit hash (XXH3) of bytes, continuing from seed. */
uint64_t lw_hash(const void *data, size_t size, uint64_t seed);

/* Seconds of a monotonic clock. */
double lw_now(void);

/* Edit distance between two words, for "did you mean"; and the nearest of a list, NULL where nothing is near. */
int lw_edit_distance(const char *a, const char *b);
const char *lw_nearest(const char *word, const char *const *words, size_t count);
/* The same among `count` structures of `size` bytes whose first member is the name. */
const char *lw_nearest_named(const char *word, const void *structures, size_t count, size_t size);

/* Shell-style pattern match of a whole text: `*`, `?`, `[set]`, `\x`. */
bool lw_glob_match(const char *pattern, const char *text);

/* Reads a whole file; *data is the caller's (free), with a NUL after its *size bytes. */
lw_status lw_file_read(const char *path, void **data, size_t *size);
bool lw_file_exists(const char *path);
/* Creates the directory and its parents with the mode. */
lw_status lw_make_directories(const char *path, unsigned mode);
/* Joins a relative path to the directory of the file `base`; an absolute path, or base NULL, is copied. */
lw_status lw_path_beside(char **joined, const char *base, const char *path);

/*
 * A file that appears whole or not at all: written under a temporary name in the same directory, synced, renamed.
 * After lw_file_commit or lw_file_abandon *file is NULL. mode is of the new file, e.g. 0644.
 */
typedef struct lw_file lw_file;
lw_status lw_file_begin(lw_file **file, const char *path, unsigned mode);
/* The same for a path that a user gave: a link stays one, and a device or a pipe is written to as it is. */
lw_status lw_file_begin_output(lw_file **file, const char *path, unsigned mode);
lw_status lw_file_write(lw_file *file, const void *data, size_t size);
lw_status lw_file_commit(lw_file **file);
void lw_file_abandon(lw_file **file);

#endif
