/* Bytes of a file that may be compressed with gzip. */
#include "data/data.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct lw_source {
	gzFile file;
	char *path;
	size_t position; /* bytes read so far, unpacked */
};

lw_status lw_source_open(lw_source **source, const char *path)
{
	lw_source *fresh = NULL;
	lw_status status;

	*source = NULL;
	LW_GO(lw_alloc(&fresh, 1, sizeof(*fresh)));
	LW_GO(lw_copy_string(&fresh->path, path));
	errno = 0;
	fresh->file = gzopen(path, "rbe");
	if (!fresh->file) {
		status = errno ? lw_fail(LW_E_IO, "%s: cannot open: %s", path, strerror(errno))
			       : lw_fail(LW_E_MEMORY, "%s: out of memory", path);
		goto out;
	}
	gzbuffer(fresh->file, 1 << 17);
	*source = fresh;
	fresh = NULL;
out:
	lw_source_close(&fresh);
	return status;
}

void lw_source_close(lw_source **source)
{
	if (!source || !*source)
		return;
	if ((*source)->file)
		gzclose((*source)->file);
	free((*source)->path);
	free(*source);
	*source = NULL;
}

/* zlib tells of a truncated archive only here: gzread gives what there was. */
static lw_status check_error(lw_source *source)
{
	int error;
	const char *text = gzerror(source->file, &error);

	switch (error) {
	case Z_OK:
	case Z_STREAM_END:
		return LW_OK;
	case Z_ERRNO:
		return lw_fail(LW_E_IO, "%s: cannot read: %s", source->path, strerror(errno));
	case Z_MEM_ERROR:
		return lw_fail(LW_E_MEMORY, "%s: out of memory", source->path);
	case Z_BUF_ERROR:
		return lw_fail(LW_E_FORMAT, "%s: truncated: the gzip archive ends after %zu bytes unpacked",
			       source->path, source->position);
	default:
		return lw_fail(LW_E_FORMAT, "%s: damaged gzip archive: %s", source->path, text);
	}
}

lw_status lw_source_read(lw_source *source, void *data, size_t size, size_t *got)
{
	*got = 0;
	while (*got < size) {
		size_t left = size - *got;
		int part = gzread(source->file, (char *)data + *got, left > 1 << 30 ? 1 << 30 : (unsigned)left);

		if (part <= 0)
			return check_error(source);
		*got += (size_t)part;
		source->position += (size_t)part;
	}
	return LW_OK;
}

lw_status lw_source_read_all(lw_source *source, void *data, size_t size, const char *what)
{
	size_t begin = source->position, got;

	LW_TRY(lw_source_read(source, data, size, &got));
	if (got < size)
		return lw_fail(LW_E_FORMAT, "%s: truncated: %s at byte %zu needs %zu bytes, but only %zu are left",
			       source->path, what, begin, size, got);
	return LW_OK;
}

lw_status lw_source_expect_end(lw_source *source)
{
	size_t end = source->position, got;
	char byte;

	LW_TRY(lw_source_read(source, &byte, 1, &got));
	if (got > 0)
		return lw_fail(LW_E_FORMAT, "%s: trailing bytes: the data ends at byte %zu, but the file goes on",
			       source->path, end);
	return LW_OK;
}
