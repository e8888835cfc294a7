/*
 * The disk cache of compiled programs: one file each, named by its key. Drivers trust binaries blindly (PoCL dies on a
 * truncated one), so a file that is not exactly what was written by this user is as good as absent.
 */
#include "kernel/cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char cache_magic[8] = "LWKERN1";

/* In front of the binary. The cache never leaves the machine, so in the machine's own byte order. */
typedef struct cache_header {
	char magic[8];
	lw_cache_key key;
	uint64_t size, checksum;
} cache_header;

/* Ours alone: nobody else could have put something there. */
static bool is_private(const struct stat *info)
{
	return info->st_uid == geteuid() && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

char *lw_cache_folder(void)
{
	const char *setting = getenv("LAYERWISE_CACHE"), *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char *folder = NULL;
	struct stat info;
	lw_status status;

	if (setting && strcmp(setting, "off") == 0)
		return NULL;
	if (base && base[0] == '/')
		status = lw_format_string(&folder, "%s/layerwise/kernels", base);
	else if (home && home[0] == '/')
		status = lw_format_string(&folder, "%s/.cache/layerwise/kernels", home);
	else
		return NULL;
	if (status == LW_OK)
		status = lw_make_directories(folder, 0700);
	if (status != LW_OK)
		lw_log(LW_LOG_DEBUG, "compiled kernels are not kept: %s", lw_last_error());
	else if (lstat(folder, &info) == 0 && S_ISDIR(info.st_mode) && is_private(&info) && access(folder, W_OK) == 0)
		return folder;
	else
		lw_log(LW_LOG_DEBUG, "compiled kernels are not kept: %s is not this user's own folder", folder);
	free(folder);
	return NULL;
}

static lw_status entry_path(char **path, const char *folder, const lw_cache_key *key)
{
	return lw_format_string(path, "%s/%016llx%016llx", folder, (unsigned long long)key->words[0],
				(unsigned long long)key->words[1]);
}

static bool read_all(int descriptor, void *data, size_t size)
{
	char *p = data;

	while (size) {
		ssize_t got = read(descriptor, p, size);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return false;
		p += got;
		size -= (size_t)got;
	}
	return true;
}

static uint64_t checksum(const lw_cache_key *key, const void *binary, size_t size)
{
	return lw_hash(binary, size, key->words[0] ^ key->words[1]);
}

/* NULL with a reason where the file is not to be believed. */
static void *read_entry(int descriptor, const lw_cache_key *key, size_t *size, const char **reason)
{
	cache_header header;
	struct stat info;
	void *binary;

	*reason = "it is not this user's own file";
	if (fstat(descriptor, &info) != 0 || !S_ISREG(info.st_mode) || !is_private(&info))
		return NULL;
	*reason = "it does not hold this program";
	if (!read_all(descriptor, &header, sizeof header) || memcmp(header.magic, cache_magic, sizeof header.magic) ||
	    memcmp(&header.key, key, sizeof *key))
		return NULL;
	*reason = "its size is wrong";
	if (header.size == 0 || (uint64_t)info.st_size != header.size + sizeof header)
		return NULL;
	*reason = "it could not be read";
	if (lw_alloc(&binary, (size_t)header.size, 1) != LW_OK)
		return NULL;
	if (read_all(descriptor, binary, (size_t)header.size)) {
		*reason = "its checksum is wrong";
		if (checksum(key, binary, (size_t)header.size) == header.checksum) {
			*size = (size_t)header.size;
			return binary;
		}
	}
	free(binary);
	return NULL;
}

void *lw_cache_load(const char *folder, const lw_cache_key *key, size_t *size)
{
	const char *reason = NULL;
	void *binary = NULL;
	char *path;
	int descriptor;

	*size = 0;
	if (!folder || entry_path(&path, folder, key) != LW_OK)
		return NULL;
	descriptor = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (descriptor >= 0) {
		binary = read_entry(descriptor, key, size, &reason);
		close(descriptor);
		if (!binary)
			lw_log(LW_LOG_DEBUG, "%s is compiled anew: %s", path, reason);
	}
	free(path);
	return binary;
}

void lw_cache_store(const char *folder, const lw_cache_key *key, const void *binary, size_t size)
{
	cache_header header = {.key = *key, .size = size, .checksum = checksum(key, binary, size)};
	lw_file *file = NULL;
	lw_status status;
	char *path = NULL;

	if (!folder)
		return;
	memcpy(header.magic, cache_magic, sizeof header.magic);
	LW_GO(entry_path(&path, folder, key));
	LW_GO(lw_file_begin(&file, path, 0600));
	LW_GO(lw_file_write(file, &header, sizeof header));
	LW_GO(lw_file_write(file, binary, size));
	LW_GO(lw_file_commit(&file));
out:
	if (status != LW_OK)
		lw_log(LW_LOG_DEBUG, "a compiled kernel was not kept: %s", lw_last_error());
	lw_file_abandon(&file);
	free(path);
}
