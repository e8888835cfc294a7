/* The embedded sources of kernels, and the text of one kernel. */
#include "kernel/source.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct lw_embedded_kernel {
	const char *name, *text;
};
extern const struct lw_embedded_kernel lw_embedded_kernels[];

const char *lw_kernel_source(const char *name)
{
	for (const struct lw_embedded_kernel *k = lw_embedded_kernels; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k->text;
	return NULL;
}

uint64_t lw_kernel_sources_hash(void)
{
	uint64_t hash = lw_hash(lw_version(), strlen(lw_version()), 0);

	for (const struct lw_embedded_kernel *k = lw_embedded_kernels; k->name; k++)
		hash = lw_hash(k->text, strlen(k->text), lw_hash(k->name, strlen(k->name), hash));
	return hash;
}

/* The line after this one, or the end. */
static char *next_line(char *line)
{
	char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

/* Whether the function that begins here is the wanted one: its name and a bracket come before its body. */
static bool defines(const char *start, const char *function)
{
	const char *body = strchr(start, '{');
	size_t length = strlen(function);

	for (const char *p = start; body && (p = strstr(p, function)) != NULL && p < body; p += length)
		if (p[length] == '(' && (isspace((unsigned char)p[-1]) || p[-1] == '*'))
			return true;
	return false;
}

/*
 * Blanks out, line by line so that numbers in the compiler's messages stay right, every kernel but the wanted one. In
 * our sources a kernel begins with a line that starts with __kernel and ends with a line that starts with a brace.
 */
static void remove_other_kernels(char *text, const char *function)
{
	for (char *line = text; *line; line = next_line(line)) {
		bool last = false;

		if (strncmp(line, "__kernel", 8) != 0 || defines(line, function))
			continue;
		for (; *line && !last; line = next_line(line)) {
			last = *line == '}';
			for (char *p = line; *p && *p != '\n'; p++)
				*p = ' ';
		}
		line--; /* the line after it may begin another one */
	}
}

/*
 * Puts the embedded file in the place of the first `#include "name.cl"` line, if there is one; text is replaced. The
 * compiler sees no files, but a checker that is given cl/ does.
 */
static lw_status expand_include(char **text, const char *source, bool *expanded)
{
	static const char directive[] = "#include \"";
	char name[64], *line = strstr(*text, directive), *longer;
	const char *included, *rest;
	long number = 2;

	*expanded = line && (line == *text || line[-1] == '\n');
	if (!*expanded)
		return LW_OK;
	if (sscanf(line, "#include \"%63[a-z0-9_].cl\"", name) != 1 || !(included = lw_kernel_source(name)))
		return lw_fail(LW_E_ARGUMENT, "%s.cl includes a file that is no kernel source", source);
	for (const char *p = *text; p < line; p++)
		number += *p == '\n';
	rest = next_line(line);
	*line = '\0';
	LW_TRY(lw_format_string(&longer, "%s#line 1 \"%s.cl\"\n%s\n#line %ld \"%s.cl\"\n%s", *text, name, included, number, source, rest));
	free(*text);
	*text = longer;
	return LW_OK;
}

lw_status lw_kernel_text(char **text, const char *source, const char *function)
{
	const char *common = lw_kernel_source("common"), *own = lw_kernel_source(source);
	bool more = true;
	lw_status status;
	char *copy;

	*text = NULL;
	if (!own)
		return lw_fail(LW_E_ARGUMENT, "there is no kernel source %s.cl", source);
	LW_TRY(lw_copy_string(&copy, own));
	remove_other_kernels(copy, function);
	while (more)
		LW_GO(expand_include(&copy, source, &more));
	LW_GO(lw_format_string(text, "#line 1 \"common.cl\"\n%s\n#line 1 \"%s.cl\"\n%s", common ? common : "", source, copy));
out:
	free(copy);
	return status;
}
