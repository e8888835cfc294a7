/* Words: edit distance for "did you mean", glob patterns. */
#include "base/base.h"

#include <string.h>

enum { LONGEST_WORD = 64 };

int lw_edit_distance(const char *a, const char *b)
{
	int row[LONGEST_WORD + 1];
	size_t la = strlen(a), lb = strlen(b);

	if (la > LONGEST_WORD || lb > LONGEST_WORD)
		return LONGEST_WORD;
	for (size_t j = 0; j <= lb; j++)
		row[j] = (int)j;
	for (size_t i = 1; i <= la; i++) {
		int diagonal = row[0];
		row[0] = (int)i;
		for (size_t j = 1; j <= lb; j++) {
			int above = row[j];
			int best = diagonal + (a[i - 1] != b[j - 1]);
			best = lw_min_int(best, above + 1);
			best = lw_min_int(best, row[j - 1] + 1);
			row[j] = best;
			diagonal = above;
		}
	}
	return row[lb];
}

const char *lw_nearest_named(const char *word, const void *structures, size_t count, size_t size)
{
	const char *nearest = NULL;
	int best = lw_max_int(2, (int)strlen(word) / 2) + 1;

	for (size_t i = 0; i < count; i++) {
		const char *name = *(const char *const *)((const char *)structures + i * size);
		int distance = lw_edit_distance(word, name);
		if (distance < best) {
			best = distance;
			nearest = name;
		}
	}
	return nearest;
}

const char *lw_nearest(const char *word, const char *const *words, size_t count)
{
	return lw_nearest_named(word, words, count, sizeof *words);
}

/* Matches one character against the set that begins after '['; *end is set past the ']'. NULL where it is not closed. */
static bool match_set(const char *set, char c, const char **end)
{
	bool negated = *set == '!' || *set == '^', found = false;
	const char *p = set + negated;

	*end = NULL;
	for (bool first = true; *p && (first || *p != ']'); first = false, p++) {
		if (p[1] == '-' && p[2] && p[2] != ']') {
			found |= c >= p[0] && c <= p[2];
			p += 2;
		} else {
			found |= *p == c;
		}
	}
	if (*p == ']')
		*end = p + 1;
	return found != negated;
}

bool lw_glob_match(const char *pattern, const char *text)
{
	const char *star = NULL, *resume = NULL, *p = pattern, *t = text;

	while (*t) {
		const char *end;
		bool matched = false;

		if (*p == '*') {
			star = ++p;
			resume = t;
			continue;
		}
		if (*p == '[') {
			matched = match_set(p + 1, *t, &end);
			if (end && matched) {
				p = end;
				t++;
				continue;
			}
			matched = !end && *t == '[';
		} else if (*p == '\\' && p[1]) {
			matched = p[1] == *t;
			p += matched;
		} else {
			matched = *p == '?' || *p == *t;
		}
		if (matched && *p) {
			p++;
			t++;
		} else if (star) { /* let the last star swallow one more */
			p = star;
			t = ++resume;
		} else {
			return false;
		}
	}
	while (*p == '*')
		p++;
	return !*p;
}
