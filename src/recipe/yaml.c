/* A YAML document as a tree of nodes that know their line; and settings that override one place of it. */
#include "recipe/recipe.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

typedef struct yaml_reader {
	yaml_parser_t parser;
	const char *origin;
	bool is_override;
} yaml_reader;

static const char no_alias[] = "aliases (`*name`) are not taken in a recipe; a text that begins with * needs quotes";

static lw_status fail_at(const yaml_reader *reader, size_t line, const char *problem)
{
	if (reader->is_override)
		return lw_fail(LW_E_FORMAT, "override `%s`: %s", reader->origin, problem);
	return lw_fail(LW_E_FORMAT, "%s:%zu: %s", reader->origin, line + 1, problem);
}

/* The next event; the caller deletes it. */
static lw_status next_event(yaml_reader *reader, yaml_event_t *event)
{
	const yaml_parser_t *parser = &reader->parser;
	size_t line = 0;

	if (yaml_parser_parse(&reader->parser, event))
		return LW_OK;
	memset(event, 0, sizeof(*event));
	if (parser->error == YAML_MEMORY_ERROR)
		return lw_fail(LW_E_MEMORY, "out of memory while reading %s", reader->origin);
	if (parser->error != YAML_READER_ERROR) {
		line = parser->problem_mark.line;
		if (parser->context && strcmp(parser->context, "while scanning an alias") == 0) /* `match: *.bias` */
			return fail_at(reader, line, no_alias);
		return fail_at(reader, line, parser->problem ? parser->problem : "this is not YAML");
	}
	for (size_t i = 0; i < parser->problem_offset && parser->input.string.start + i < parser->input.string.end; i++)
		line += parser->input.string.start[i] == '\n';
	return fail_at(reader, line, parser->problem ? parser->problem : "this is not text");
}

void lw_node_destroy(lw_node **node)
{
	lw_node *n = *node;

	if (!n)
		return;
	for (size_t i = 0; i < n->count; i++)
		lw_node_destroy(&n->items[i]);
	free(n->items);
	free(n->key);
	free(n->text);
	free(n);
	*node = NULL;
}

/* Appends an empty place to the node's items, and says where. */
static lw_status add_place(lw_node *node, lw_node ***place)
{
	LW_TRY(lw_grow(&node->items, &node->capacity, node->count + 1, sizeof(*node->items)));
	*place = &node->items[node->count++];
	return LW_OK;
}

static lw_status new_node(lw_node **node, lw_node_kind kind, const char *origin, int line)
{
	LW_TRY(lw_alloc(node, 1, sizeof(**node)));
	(*node)->kind = kind;
	(*node)->origin = origin;
	(*node)->line = line;
	return LW_OK;
}

static const char *refuse_properties(const yaml_char_t *anchor, const yaml_char_t *tag)
{
	if (anchor)
		return "anchors (`&name`) are not taken in a recipe; a text that begins with & needs quotes";
	if (tag)
		return "tags (`!name`) are not taken in a recipe; a text that begins with ! needs quotes";
	return NULL;
}

static const char *refused(const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		if (memchr(event->data.scalar.value, 0, event->data.scalar.length))
			return "a text may not hold the character NUL";
		return refuse_properties(event->data.scalar.anchor, event->data.scalar.tag);
	case YAML_SEQUENCE_START_EVENT:
		return refuse_properties(event->data.sequence_start.anchor, event->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return refuse_properties(event->data.mapping_start.anchor, event->data.mapping_start.tag);
	case YAML_ALIAS_EVENT:
		return no_alias;
	default:
		return NULL;
	}
}

static lw_status parse_list(yaml_reader *reader, lw_node *node, int depth);
static lw_status parse_map(yaml_reader *reader, lw_node *node, int depth);

/* Makes the node that begins with the event, and deletes the event. */
static lw_status parse_node(yaml_reader *reader, yaml_event_t *event, int depth, lw_node **node)
{
	size_t line = event->start_mark.line;
	yaml_event_type_t type = event->type;
	const char *problem = refused(event);
	lw_status status = LW_OK;
	lw_node_kind kind;

	if (!problem && depth > LW_RECIPE_MAX_DEPTH)
		problem = "lists and maps are nested too deep";
	if (problem) {
		status = fail_at(reader, line, problem);
		goto out;
	}
	kind = type == YAML_SCALAR_EVENT ? LW_NODE_SCALAR : type == YAML_MAPPING_START_EVENT ? LW_NODE_MAP : LW_NODE_LIST;
	LW_GO(new_node(node, kind, reader->origin, reader->is_override ? 0 : (int)line + 1));
	if (kind == LW_NODE_SCALAR) {
		LW_GO(lw_copy_string(&(*node)->text, (const char *)event->data.scalar.value));
		(*node)->quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	}
out:
	yaml_event_delete(event);
	if (status != LW_OK || type == YAML_SCALAR_EVENT)
		return status;
	return type == YAML_MAPPING_START_EVENT ? parse_map(reader, *node, depth) : parse_list(reader, *node, depth);
}

static lw_status parse_list(yaml_reader *reader, lw_node *node, int depth)
{
	for (;;) {
		yaml_event_t event;
		lw_node **place;
		lw_status status;

		LW_TRY(next_event(reader, &event));
		if (event.type == YAML_SEQUENCE_END_EVENT) {
			yaml_event_delete(&event);
			return LW_OK;
		}
		status = add_place(node, &place);
		if (status != LW_OK) {
			yaml_event_delete(&event);
			return status;
		}
		LW_TRY(parse_node(reader, &event, depth + 1, place));
	}
}

/* Takes the key out of the event, after checking that it is one and new. The event is deleted. */
static lw_status parse_key(yaml_reader *reader, yaml_event_t *event, const lw_node *map, char **key)
{
	size_t line = event->start_mark.line;
	const char *problem = refused(event);
	lw_status status = LW_OK;

	if (!problem && event->type != YAML_SCALAR_EVENT)
		problem = "a key must be a word, not a list or a map";
	if (!problem && map->count >= LW_RECIPE_MAX_KEYS)
		problem = "a map has too many keys";
	if (problem) {
		status = fail_at(reader, line, problem);
		goto out;
	}
	LW_GO(lw_copy_string(key, (const char *)event->data.scalar.value));
	if (lw_node_get(map, *key)) {
		char text[160];
		snprintf(text, sizeof(text), "the key `%.60s` is there twice, first in line %d", *key,
			 lw_node_get(map, *key)->line);
		status = fail_at(reader, line, text);
	}
out:
	yaml_event_delete(event);
	return status;
}

static lw_status parse_map(yaml_reader *reader, lw_node *node, int depth)
{
	char *key = NULL;
	lw_status status = LW_OK;

	for (;;) {
		yaml_event_t event;
		lw_node *item = NULL, **place;
		size_t line;

		LW_GO(next_event(reader, &event));
		if (event.type == YAML_MAPPING_END_EVENT) {
			yaml_event_delete(&event);
			return LW_OK;
		}
		line = event.start_mark.line;
		LW_GO(parse_key(reader, &event, node, &key));
		LW_GO(next_event(reader, &event));
		status = parse_node(reader, &event, depth + 1, &item);
		if (status == LW_OK)
			status = add_place(node, &place);
		if (status != LW_OK) {
			lw_node_destroy(&item);
			goto out;
		}
		*place = item;
		item->key = key;
		key = NULL;
		if (!reader->is_override)
			item->line = (int)line + 1;
	}
out:
	free(key);
	return status;
}

static lw_status expect_event(yaml_reader *reader, yaml_event_type_t type, const char *problem)
{
	yaml_event_t event;
	size_t line;
	bool right;

	LW_TRY(next_event(reader, &event));
	right = event.type == type;
	line = event.start_mark.line;
	yaml_event_delete(&event);
	return right ? LW_OK : fail_at(reader, line, problem);
}

static lw_status parse_document(yaml_reader *reader, lw_node **root)
{
	yaml_event_t event;

	LW_TRY(expect_event(reader, YAML_STREAM_START_EVENT, "this is not YAML"));
	LW_TRY(next_event(reader, &event));
	if (event.type == YAML_STREAM_END_EVENT) {
		yaml_event_delete(&event);
		LW_TRY(new_node(root, LW_NODE_SCALAR, reader->origin, reader->is_override ? 0 : 1));
		return lw_copy_string(&(*root)->text, "");
	}
	yaml_event_delete(&event);
	LW_TRY(next_event(reader, &event));
	LW_TRY(parse_node(reader, &event, 0, root));
	LW_TRY(expect_event(reader, YAML_DOCUMENT_END_EVENT, "the document should end here"));
	return expect_event(reader, YAML_STREAM_END_EVENT, "a recipe is one document; a second one (`---`) begins here");
}

lw_status lw_yaml_parse(lw_node **root, const char *text, size_t size, const char *origin, bool is_override)
{
	yaml_reader reader = {.origin = origin, .is_override = is_override};
	lw_status status;

	*root = NULL;
	if (!yaml_parser_initialize(&reader.parser))
		return lw_fail(LW_E_MEMORY, "out of memory while reading %s", origin);
	yaml_parser_set_input_string(&reader.parser, (const unsigned char *)text, size);
	status = parse_document(&reader, root);
	yaml_parser_delete(&reader.parser);
	if (status != LW_OK)
		lw_node_destroy(root);
	return status;
}

/* --- Overrides --- */

static bool parse_index(const char *word, size_t *index)
{
	size_t length = strlen(word);

	if (length == 0 || length > 6 || strspn(word, "0123456789") != length)
		return false;
	*index = (size_t)strtoul(word, NULL, 10);
	return true;
}

/* An empty node becomes a list or a map, as the next word of an override wants it. */
static void become_container(lw_node *node, const char *word)
{
	size_t index;

	if (!lw_node_is_null(node))
		return;
	free(node->text);
	node->text = NULL;
	node->kind = parse_index(word, &index) ? LW_NODE_LIST : LW_NODE_MAP;
}

/* The place below node that word names; made empty where it is not there yet. */
static lw_status find_place(lw_node *node, const char *word, const char *setting, lw_node ***place)
{
	lw_node *item = NULL;
	lw_node_words words;
	lw_status status;
	size_t index;

	become_container(node, word);
	if (node->kind == LW_NODE_SCALAR)
		return lw_fail(LW_E_ARGUMENT, "override `%s`: there is no `%s` in %s", setting, word, lw_node_describe(node, &words));
	if (node->kind == LW_NODE_LIST) {
		if (!parse_index(word, &index))
			return lw_fail(LW_E_ARGUMENT, "override `%s`: `%s` is not a position in a list of %zu; the first is 0", setting,
				       word, node->count);
		if (index > node->count)
			return lw_fail(LW_E_ARGUMENT, "override `%s`: position %zu is beyond a list of %zu; %zu would append", setting,
				       index, node->count, node->count);
		if (index < node->count) {
			*place = &node->items[index];
			return LW_OK;
		}
	} else {
		for (size_t i = 0; i < node->count; i++) {
			if (strcmp(node->items[i]->key, word) == 0) {
				*place = &node->items[i];
				return LW_OK;
			}
		}
	}
	LW_GO(new_node(&item, LW_NODE_SCALAR, setting, 0));
	LW_GO(lw_copy_string(&item->text, ""));
	if (node->kind == LW_NODE_MAP)
		LW_GO(lw_copy_string(&item->key, word));
	LW_GO(add_place(node, place));
	**place = item;
	return LW_OK;
out:
	lw_node_destroy(&item);
	return status;
}

lw_status lw_yaml_override(lw_node *root, const char *setting)
{
	const char *equals = strchr(setting, '=');
	lw_node *node = root, **place = NULL, *value = NULL;
	char *path = NULL, *word, *rest;
	lw_status status;

	if (!equals || equals == setting)
		return lw_fail(LW_E_ARGUMENT, "override `%s`: expected KEY=VALUE, e.g. train.lr=0.01 or groups.1.lr=0.01", setting);
	LW_GO(lw_yaml_parse(&value, equals + 1, strlen(equals + 1), setting, true));
	LW_GO(lw_copy_string(&path, setting));
	path[equals - setting] = '\0';
	for (word = path; word; word = rest) {
		rest = strchr(word, '.');
		if (rest)
			*rest++ = '\0';
		if (!*word) {
			status = lw_fail(LW_E_ARGUMENT, "override `%s`: a part of the key is empty", setting);
			goto out;
		}
		LW_GO(find_place(node, word, setting, &place));
		node = *place;
	}
	value->key = node->key;
	node->key = NULL;
	lw_node_destroy(place);
	*place = value;
	value = NULL;
out:
	free(path);
	lw_node_destroy(&value);
	return status;
}
