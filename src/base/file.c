/* Files: read whole, written whole or not at all. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

lw_status lw_file_read(const char *path, void **data, size_t *size)
{
	lw_status status = LW_OK;
	size_t capacity = 0, used = 0;
	char *bytes = NULL;
	struct stat info;
	FILE *stream = fopen(path, "rb");

	*data = NULL;
	*size = 0;
	if (!stream)
		return lw_fail(LW_E_IO, "%s: cannot be opened: %s", path, strerror(errno));
	if (fstat(fileno(stream), &info) == 0 && S_ISDIR(info.st_mode)) {
		status = lw_fail(LW_E_IO, "%s: is a folder, a file was expected", path);
		goto out;
	}
	LW_GO(lw_grow(&bytes, &capacity, info.st_size > 0 ? (size_t)info.st_size + 1 : 4096, 1));
	for (;;) {
		size_t got = fread(bytes + used, 1, capacity - used - 1, stream);
		used += got;
		if (got == 0)
			break;
		if (used + 1 == capacity)
			LW_GO(lw_grow(&bytes, &capacity, capacity + 1, 1));
	}
	if (ferror(stream)) {
		status = lw_fail(LW_E_IO, "%s: cannot be read: %s", path, strerror(errno));
		goto out;
	}
	bytes[used] = 0;
	*data = bytes;
	*size = used;
	bytes = NULL;
out:
	free(bytes);
	fclose(stream);
	return status;
}

bool lw_file_exists(const char *path) { return access(path, F_OK) == 0; }

lw_status lw_make_directories(const char *path, unsigned mode)
{
	lw_status status = LW_OK;
	char *copy;

	LW_TRY(lw_copy_string(&copy, path));
	for (char *p = copy + 1;; p++) {
		char kept = *p;
		if (kept != '/' && kept != 0)
			continue;
		*p = 0;
		if (mkdir(copy, mode) != 0 && errno != EEXIST) {
			status = lw_fail(LW_E_IO, "%s: the folder cannot be made: %s", copy, strerror(errno));
			break;
		}
		if (!kept)
			break;
		*p = kept;
	}
	free(copy);
	return status;
}

lw_status lw_path_beside(char **joined, const char *base, const char *path)
{
	const char *slash = base ? strrchr(base, '/') : NULL;

	if (path[0] == '/' || !slash)
		return lw_copy_string(joined, path);
	return lw_format_string(joined, "%.*s/%s", (int)(slash - base), base, path);
}

struct lw_file {
	char *path, *temporary; /* no temporary: what is written to is a device or a pipe */
	int descriptor;
};

static void file_free(lw_file **file)
{
	free((*file)->path);
	free((*file)->temporary);
	free(*file);
	*file = NULL;
}

/* direct: what is there is opened as it is. */
static lw_status begin(lw_file **file, const char *path, unsigned mode, bool direct)
{
	lw_file *f;
	lw_status status;

	*file = NULL;
	LW_TRY(lw_alloc(&f, 1, sizeof *f));
	f->descriptor = -1;
	LW_GO(lw_copy_string(&f->path, path));
	if (direct) {
		f->descriptor = open(path, O_WRONLY);
	} else {
		LW_GO(lw_format_string(&f->temporary, "%s.XXXXXX", f->path));
		f->descriptor = mkstemp(f->temporary);
	}
	if (f->descriptor < 0 || (f->temporary && fchmod(f->descriptor, mode) != 0)) {
		status = lw_fail(LW_E_IO, "%s: cannot be written: %s", path, strerror(errno));
		goto out;
	}
	*file = f;
	return LW_OK;
out:
	if (f->descriptor >= 0) {
		close(f->descriptor);
		if (f->temporary)
			unlink(f->temporary);
	}
	file_free(&f);
	return status;
}

lw_status lw_file_begin(lw_file **file, const char *path, unsigned mode) { return begin(file, path, mode, false); }

lw_status lw_file_begin_output(lw_file **file, const char *path, unsigned mode)
{
	struct stat info;
	bool exists = stat(path, &info) == 0, direct = exists && !S_ISREG(info.st_mode);
	char *real = exists && !direct ? realpath(path, NULL) : NULL; /* a rename would replace a link */
	lw_status status = begin(file, real ? real : path, mode, direct);

	free(real);
	return status;
}

lw_status lw_file_write(lw_file *file, const void *data, size_t size)
{
	const char *p = data;

	while (size) {
		ssize_t done = write(file->descriptor, p, size);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return lw_fail(LW_E_IO, "%s: cannot be written: %s", file->path, strerror(errno));
		p += done;
		size -= (size_t)done;
	}
	return LW_OK;
}

/* The rename survives a power cut only once its folder is synced too. */
static void sync_directory_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *directory = slash ? strndup(path, (size_t)(slash - path) + (slash == path)) : strdup(".");
	int descriptor = directory ? open(directory, O_RDONLY | O_DIRECTORY) : -1;

	if (descriptor >= 0) {
		fsync(descriptor);
		close(descriptor);
	}
	free(directory);
}

lw_status lw_file_commit(lw_file **file)
{
	lw_file *f = *file;
	bool synced = fsync(f->descriptor) == 0 || errno == EINVAL || !f->temporary;

	if (close(f->descriptor) != 0 || !synced || (f->temporary && rename(f->temporary, f->path) != 0)) {
		lw_status status = lw_fail(LW_E_IO, "%s: cannot be written: %s", f->path, strerror(errno));
		if (f->temporary)
			unlink(f->temporary);
		file_free(file);
		return status;
	}
	if (f->temporary)
		sync_directory_of(f->path);
	file_free(file);
	return LW_OK;
}

void lw_file_abandon(lw_file **file)
{
	if (!*file)
		return;
	close((*file)->descriptor);
	if ((*file)->temporary)
		unlink((*file)->temporary);
	file_free(file);
}
