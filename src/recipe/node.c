/* Nodes of the tree: looked up, read as numbers and booleans, named in messages. */
#include "recipe/recipe.h"

#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const lw_node *lw_node_get(const lw_node *map, const char *key)
{
	for (size_t i = 0; i < map->count; i++) {
		if (map->items[i]->key && strcmp(map->items[i]->key, key) == 0)
			return map->items[i];
	}
	return NULL;
}

bool lw_node_is_null(const lw_node *node)
{
	return node->kind == LW_NODE_SCALAR && !node->quoted &&
	       (!*node->text || strcmp(node->text, "~") == 0 || strcasecmp(node->text, "null") == 0);
}

bool lw_node_boolean(const lw_node *node, bool *value)
{
	static const char *const yes[] = {"true", "yes", "on"}, *const no[] = {"false", "no", "off"};

	if (node->kind != LW_NODE_SCALAR || node->quoted)
		return false;
	for (size_t i = 0; i < LW_COUNT(yes); i++) {
		*value = strcasecmp(node->text, yes[i]) == 0;
		if (*value || strcasecmp(node->text, no[i]) == 0)
			return true;
	}
	return false;
}

/* Copies a plain scalar without the underscores that YAML 1.1 lets stand between digits; false where it is no number's text. */
static bool number_text(const lw_node *node, char buffer[64])
{
	size_t length = 0;

	if (node->kind != LW_NODE_SCALAR || node->quoted || !*node->text || *node->text == '_')
		return false;
	for (const char *p = node->text; *p; p++) {
		if (*p == '_')
			continue;
		if (length == 63)
			return false;
		buffer[length++] = *p;
	}
	buffer[length] = '\0';
	return true;
}

bool lw_node_number(const lw_node *node, double *value)
{
	char buffer[64], *end;
	const char *digits;
	int64_t integer;
	locale_t locale;

	if (lw_node_integer(node, &integer)) {
		*value = (double)integer;
		return true;
	}
	if (!number_text(node, buffer))
		return false;
	digits = buffer + (*buffer == '-' || *buffer == '+');
	if (!strpbrk(digits, "0123456789") || strspn(digits, "0123456789.eE+-") != strlen(digits) || !strpbrk(digits, ".eE"))
		return false;
	locale = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* a program may have a locale with a decimal comma */
	if (!locale)
		return false;
	*value = strtod_l(buffer, &end, locale);
	freelocale(locale);
	return !*end && isfinite(*value);
}

/* YAML 1.1: 0b1 binary, 017 octal, 0x1f hexadecimal; beyond that a whole number written as 1e3. */
bool lw_node_integer(const lw_node *node, int64_t *value)
{
	char buffer[64], *end;
	const char *digits;
	int base = 10;

	if (!number_text(node, buffer))
		return false;
	digits = buffer + (*buffer == '-' || *buffer == '+');
	if (digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'b')) {
		base = digits[1] == 'x' ? 16 : 2;
		digits += 2;
	} else if (digits[0] == '0' && digits[1]) {
		base = 8;
	}
	if (!*digits || strspn(digits, "0123456789abcdefABCDEF") != strlen(digits))
		return false;
	errno = 0;
	*value = strtoll(digits, &end, base);
	if (*end || errno)
		return false;
	if (*buffer == '-')
		*value = -*value;
	return true;
}

static lw_status fail_prefix(const lw_node *node, lw_status status)
{
	if (node->line == 0)
		return lw_fail_prefix(status, "override `%s`", node->origin);
	return lw_fail_prefix(status, "%s:%d", node->origin, node->line);
}

lw_status lw_node_fail(const lw_node *node, const char *format, ...)
{
	char *text = NULL;
	va_list arguments;
	int length;

	va_start(arguments, format);
	length = vasprintf(&text, format, arguments);
	va_end(arguments);
	if (length < 0)
		return lw_fail(LW_E_MEMORY, "out of memory");
	lw_fail(LW_E_FORMAT, "%s", text);
	free(text);
	return fail_prefix(node, LW_E_FORMAT);
}

lw_status lw_node_fail_prefix(const lw_node *node, lw_status status)
{
	return fail_prefix(node, status);
}

const char *lw_node_describe(const lw_node *node, lw_node_words *words)
{
	enum { SHOWN = 60 };

	if (node->kind != LW_NODE_SCALAR) {
		const char *what = node->kind == LW_NODE_LIST ? "a list" : "a map";
		snprintf(words->text, sizeof(words->text), "%s of %zu", what, node->count);
	} else if (lw_node_is_null(node)) {
		snprintf(words->text, sizeof(words->text), "empty");
	} else {
		bool whole = strlen(node->text) <= SHOWN;
		const char *format = node->quoted ? "the text \"%.*s%s\"" : "`%.*s%s`";
		snprintf(words->text, sizeof(words->text), format, SHOWN, node->text, whole ? "" : "...");
		for (char *p = words->text; *p; p++)
			*p = (unsigned char)*p < ' ' ? ' ' : *p;
	}
	return words->text;
}
