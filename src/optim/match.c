/* Patterns over parameter names, and the claims of groups that follow from them. */
#include "optim/match.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

typedef struct pattern {
	const char *text;
	size_t group;
	bool is_regex;
	regex_t regex;
	bool matched;	/* some trainable parameter, be it claimed or not */
	size_t sample;	/* one of those */
	bool statistic; /* matched running statistics */
} pattern;

typedef struct matcher {
	lw_groups *groups;
	pattern *patterns; /* of all groups, in their order */
	size_t pattern_count;
	const char **names; /* of the parameters */
	bool *trainable;
	size_t *floats;
	const lw_group *default_group; /* may be NULL */
} matcher;

static lw_status compile(pattern *p, const char *text, size_t group, const char *group_name)
{
	char reason[128];
	int error;

	*p = (pattern){.text = text, .group = group};
	if (!text || !*text)
		return lw_fail(LW_E_ARGUMENT, "group `%s` has an empty pattern", group_name);
	if (strncmp(text, "re:", 3) != 0)
		return LW_OK;
	error = regcomp(&p->regex, text + 3, REG_EXTENDED | REG_NOSUB);
	p->is_regex = error == 0;
	if (!error)
		return LW_OK;
	regerror(error, &p->regex, reason, sizeof reason);
	return lw_fail(LW_E_ARGUMENT, "group `%s`: `%s` is not a regular expression: %s", group_name, text, reason);
}

static bool matches(const pattern *p, const char *name)
{
	return p->is_regex ? regexec(&p->regex, name, 0, NULL, 0) == 0 : lw_glob_match(p->text, name);
}

static void matcher_clear(matcher *m)
{
	for (size_t i = 0; i < m->pattern_count; i++)
		if (m->patterns[i].is_regex)
			regfree(&m->patterns[i].regex);
	free(m->patterns);
	free(m->names);
	free(m->trainable);
	free(m->floats);
}

static lw_status read_params(matcher *m, const lw_net *net)
{
	lw_param_info info;

	LW_TRY(lw_alloc(&m->names, m->groups->param_count, sizeof *m->names));
	LW_TRY(lw_alloc(&m->trainable, m->groups->param_count, sizeof *m->trainable));
	LW_TRY(lw_alloc(&m->floats, m->groups->param_count, sizeof *m->floats));
	for (size_t i = 0; i < m->groups->param_count; i++) {
		LW_TRY(lw_net_param_info(net, i, &info));
		m->names[i] = info.name;
		m->trainable[i] = info.trainable;
		m->floats[i] = info.count;
	}
	return LW_OK;
}

static lw_status compile_all(matcher *m, const lw_group_options *options)
{
	const lw_groups *groups = m->groups;
	size_t count = 0;

	for (size_t g = 0; g < groups->count; g++)
		count += options[g].match_count;
	LW_TRY(lw_alloc(&m->patterns, count, sizeof *m->patterns));
	for (size_t g = 0; g < groups->count; g++) {
		const char *name = groups->groups[g].name;

		if (!options[g].match_count && !options[g].is_default)
			return lw_fail(LW_E_ARGUMENT, "group `%s` has no pattern and is not the default", name);
		if (options[g].is_default && m->default_group)
			return lw_fail(LW_E_ARGUMENT, "groups `%s` and `%s` are both the default: only one can be",
				       m->default_group->name, name);
		if (options[g].is_default)
			m->default_group = &groups->groups[g];
		for (size_t i = 0; i < options[g].match_count; i++)
			LW_TRY(compile(&m->patterns[m->pattern_count++], options[g].match[i], g, name));
	}
	return LW_OK;
}

/* How far a pattern is from a name: what stands before its first wildcard from as many letters of the name. */
static int distance(const pattern *p, const char *name)
{
	const char *text = p->text + (p->is_regex ? 3 : 0);
	size_t head = strcspn(text, p->is_regex ? "\\^.[$()|*+?{" : "\\*?[");
	char a[64], b[64];

	if (head < 2) /* that says nothing: compare the whole */
		head = sizeof a - 1;
	snprintf(a, sizeof a, "%.*s", (int)head, text);
	snprintf(b, sizeof b, "%.*s", (int)head, name);
	return lw_edit_distance(a, b);
}

/* The last words of an error or a warning: what is nearest; "" where there is nothing at all. */
typedef struct hint {
	char text[256];
} hint;

static hint nearest_pattern(const matcher *m, size_t param)
{
	const pattern *near = NULL;
	hint h = {""};

	for (size_t i = 0; i < m->pattern_count; i++)
		if (!near || distance(&m->patterns[i], m->names[param]) < distance(near, m->names[param]))
			near = &m->patterns[i];
	if (near)
		snprintf(h.text, sizeof h.text, "; the nearest pattern is `%s` of group `%s`", near->text,
			 m->groups->groups[near->group].name);
	return h;
}

static hint nearest_param(const matcher *m, const pattern *p)
{
	const char *near = NULL;
	hint h = {""};

	for (size_t i = 0; i < m->groups->param_count; i++)
		if (m->trainable[i] && (!near || distance(p, m->names[i]) < distance(p, near)))
			near = m->names[i];
	if (near)
		snprintf(h.text, sizeof h.text, "; the nearest is `%s`", near);
	return h;
}

/* The group of the first pattern that matches; notes in every pattern what it matches. */
static const lw_group *find_group(matcher *m, size_t param)
{
	const lw_group *found = NULL;

	for (size_t i = 0; i < m->pattern_count; i++) {
		pattern *p = &m->patterns[i];

		if (!matches(p, m->names[param]))
			continue;
		if (!m->trainable[param]) {
			p->statistic = true;
			continue;
		}
		if (!p->matched)
			p->sample = param;
		p->matched = true;
		if (!found)
			found = &m->groups->groups[p->group];
	}
	return found ? found : m->default_group;
}

static lw_status claim(matcher *m)
{
	lw_groups *groups = m->groups;

	for (size_t i = 0; i < groups->param_count; i++) {
		const lw_group *found = find_group(m, i);
		lw_group *group;

		groups->group_of_param[i] = -1;
		if (!m->trainable[i])
			continue;
		if (!found)
			return lw_fail(LW_E_ARGUMENT, "no group claims the parameter `%s`%s", m->names[i],
				       nearest_pattern(m, i).text);
		groups->group_of_param[i] = (int)(found - groups->groups);
		group = &groups->groups[groups->group_of_param[i]];
		group->param_count++;
		group->float_count += m->floats[i];
	}
	return LW_OK;
}

/* Why a group that has patterns claims nothing. */
static lw_status fail_empty(const matcher *m, size_t group)
{
	const lw_groups *groups = m->groups;
	const char *name = groups->groups[group].name;
	const pattern *first = NULL;
	bool statistic = false;

	for (size_t i = 0; i < m->pattern_count; i++) {
		const pattern *p = &m->patterns[i];

		if (p->group != group)
			continue;
		if (p->matched)
			return lw_fail(LW_E_ARGUMENT,
				       "group `%s` is left with nothing: `%s` matches `%s`, but group `%s` comes first",
				       name, p->text, m->names[p->sample],
				       groups->groups[groups->group_of_param[p->sample]].name);
		statistic |= p->statistic;
		if (!first)
			first = p;
	}
	if (statistic)
		return lw_fail(LW_E_ARGUMENT, "group `%s` matches only running statistics, which are not trained",
			       name);
	return lw_fail(LW_E_ARGUMENT, "group `%s`: `%s` matches no parameter%s", name, first->text,
		       nearest_param(m, first).text);
}

/* A group without a parameter is an error, a pattern without one only worth a word. */
static lw_status check_claims(const matcher *m)
{
	for (size_t i = 0; i < m->pattern_count; i++) {
		const pattern *p = &m->patterns[i];
		const lw_group *group = &m->groups->groups[p->group];

		if (!group->param_count && group != m->default_group)
			return fail_empty(m, p->group);
		if (!p->matched && !p->statistic)
			lw_log(LW_LOG_WARNING, "group `%s`: `%s` matches no parameter%s", group->name, p->text,
			       nearest_param(m, p).text);
	}
	return LW_OK;
}

lw_status lw_match_params(lw_groups *groups, const lw_net *net, const lw_group_options *options)
{
	matcher m = {.groups = groups};
	lw_status status;

	LW_GO(read_params(&m, net));
	LW_GO(compile_all(&m, options));
	LW_GO(claim(&m));
	LW_GO(check_claims(&m));
out:
	matcher_clear(&m);
	return status;
}
