/*
 * What the tuner found, by key: a hash table in memory in front of an SQLite file that many processes may share.
 *
 * The file is a convenience. Whatever is wrong with it is said in the log, and the run goes on without it.
 */
#include "kernel/tuning.h"
#include "kernel/source.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* "LWtn" in the file's header: the file is ours. */
enum { APPLICATION_ID = 0x4c57746e, SCHEMA_VERSION = 1, BUSY_MILLISECONDS = 5000 };

typedef struct finding {
	char *key, *choice;
	uint64_t hash;
} finding;

struct lw_tuning {
	finding *findings; /* an open hash table; a free place has no key */
	size_t count, places;
	sqlite3 *database;    /* NULL: only in memory */
	sqlite3_stmt *insert, *replace, *select_one;
	char *path, *device, *driver, kernels[17];
};

/* --- The table in memory --- */

static finding *find_place(finding *findings, size_t places, const char *key, uint64_t hash)
{
	size_t i = hash & (places - 1);

	while (findings[i].key && (findings[i].hash != hash || strcmp(findings[i].key, key) != 0))
		i = (i + 1) & (places - 1);
	return &findings[i];
}

/* Keeps at least half of the places free. */
static lw_status make_room(lw_tuning *t)
{
	size_t places = t->places ? 2 * t->places : 64;
	finding *fresh;

	if (2 * (t->count + 1) <= t->places)
		return LW_OK;
	LW_TRY(lw_alloc(&fresh, places, sizeof *fresh));
	for (size_t i = 0; i < t->places; i++)
		if (t->findings[i].key)
			*find_place(fresh, places, t->findings[i].key, t->findings[i].hash) = t->findings[i];
	free(t->findings);
	t->findings = fresh;
	t->places = places;
	return LW_OK;
}

static lw_status remember(lw_tuning *t, const char *key, const char *choice, bool replace)
{
	const uint64_t hash = lw_hash(key, strlen(key), 0);
	char *copy = NULL;
	finding *f;

	LW_TRY(make_room(t));
	f = find_place(t->findings, t->places, key, hash);
	if (f->key && !replace)
		return LW_OK;
	LW_TRY(lw_copy_string(&copy, choice));
	if (!f->key) {
		lw_status status = lw_copy_string(&f->key, key);
		if (status != LW_OK) {
			free(copy);
			return status;
		}
		f->hash = hash;
		t->count++;
	}
	free(f->choice);
	f->choice = copy;
	return LW_OK;
}

const char *lw_tuning_find(const lw_tuning *t, const char *key)
{
	return t->count ? find_place(t->findings, t->places, key, lw_hash(key, strlen(key), 0))->choice : NULL;
}

/* --- The file --- */

static void close_database(lw_tuning *t)
{
	sqlite3_finalize(t->insert);
	sqlite3_finalize(t->replace);
	sqlite3_finalize(t->select_one);
	t->insert = t->replace = t->select_one = NULL;
	sqlite3_close(t->database);
	t->database = NULL;
}

/* From here on only in memory. */
static void give_up(lw_tuning *t, const char *what)
{
	lw_log(LW_LOG_WARNING, "what tuning finds is not kept: %s: %s%s", t->path, what, t->database ? sqlite3_errmsg(t->database) : "");
	close_database(t);
}

static lw_status default_path(char **path)
{
	const char *base = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

	if (base && base[0] == '/')
		return lw_format_string(path, "%s/layerwise/tuning.sqlite", base);
	if (home && home[0] == '/')
		return lw_format_string(path, "%s/.local/share/layerwise/tuning.sqlite", home);
	return lw_fail(LW_E_IO, "there is no home folder");
}

static lw_status make_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	lw_status status;
	char *folder;

	if (!slash || slash == path)
		return LW_OK;
	LW_TRY(lw_format_string(&folder, "%.*s", (int)(slash - path), path));
	status = lw_make_directories(folder, 0700);
	free(folder);
	return status;
}

/* The number that a statement such as a pragma gives; the result is SQLite's code. */
static int get_number(sqlite3 *database, const char *sql, int64_t *number)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(database, sql, -1, &statement, NULL);

	*number = 0;
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		*number = sqlite3_column_int64(statement, 0);
		code = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int check_whole(sqlite3 *database, bool *whole)
{
	sqlite3_stmt *statement = NULL;
	int code = sqlite3_prepare_v2(database, "PRAGMA quick_check(1)", -1, &statement, NULL);

	*whole = false;
	if (code == SQLITE_OK)
		code = sqlite3_step(statement);
	if (code == SQLITE_ROW) {
		const char *text = (const char *)sqlite3_column_text(statement, 0);
		*whole = text && strcmp(text, "ok") == 0;
		code = SQLITE_OK;
	}
	sqlite3_finalize(statement);
	return code;
}

/* A new file becomes ours; by IF NOT EXISTS also where another process was first. */
static int create_schema(sqlite3 *database)
{
	static const char sql[] =
		"CREATE TABLE IF NOT EXISTS findings (device TEXT NOT NULL, driver TEXT NOT NULL, kernels TEXT NOT NULL, key TEXT NOT NULL,"
		" choice TEXT NOT NULL, seconds REAL, found TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,"
		" PRIMARY KEY (device, driver, kernels, key)) WITHOUT ROWID;"
		"PRAGMA application_id = 1280799854; PRAGMA user_version = 1; COMMIT";
	int code = sqlite3_exec(database, "BEGIN IMMEDIATE", NULL, NULL, NULL);

	_Static_assert(APPLICATION_ID == 1280799854 && SCHEMA_VERSION == 1, "as in the text");
	if (code == SQLITE_OK)
		code = sqlite3_exec(database, sql, NULL, NULL, NULL);
	if (code != SQLITE_OK)
		sqlite3_exec(database, "ROLLBACK", NULL, NULL, NULL);
	return code;
}

typedef enum verdict { USABLE, NOT_OURS, UNUSABLE } verdict;

/* What the file is; reason says why it is not used. */
static verdict judge(sqlite3 *database, const char **reason)
{
	int64_t application = 0, version = 0, tables = 0;
	bool whole = false;
	/* one transaction: between two answers another process may begin the file, and half of it would seem another program's */
	int code = sqlite3_exec(database, "BEGIN", NULL, NULL, NULL);

	if (code == SQLITE_OK)
		code = get_number(database, "PRAGMA application_id", &application);
	if (code == SQLITE_OK)
		code = get_number(database, "PRAGMA user_version", &version);
	if (code == SQLITE_OK)
		code = get_number(database, "SELECT count(*) FROM sqlite_master", &tables);
	if (code == SQLITE_OK)
		code = sqlite3_exec(database, "COMMIT", NULL, NULL, NULL);
	if (code == SQLITE_OK && application == 0 && version == 0 && tables == 0) { /* new */
		code = create_schema(database);
		application = APPLICATION_ID;
		version = SCHEMA_VERSION;
	}
	if (code == SQLITE_OK)
		code = check_whole(database, &whole);
	*reason = sqlite3_errmsg(database);
	if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB)
		return NOT_OURS;
	if (code != SQLITE_OK)
		return UNUSABLE;
	*reason = "it is damaged";
	if (!whole)
		return NOT_OURS;
	*reason = "it is another program's";
	if (application != APPLICATION_ID)
		return NOT_OURS;
	*reason = "it is another version's";
	return version == SCHEMA_VERSION ? USABLE : UNUSABLE;
}

/* Under a name that is free, with SQLite's companions, which would be taken for the next file's. Never deletes. */
static bool move_aside(const char *path, const struct stat *seen, const char *reason)
{
	static const char *const companions[] = {"-journal", "-wal", "-shm"};
	char *aside = NULL, *from, *to;
	bool moved = false;
	struct stat now;

	/* another process may have done so already and begun a new one */
	if (stat(path, &now) != 0 || now.st_ino != seen->st_ino || now.st_dev != seen->st_dev)
		return true;
	for (int i = 1; i < 1000 && !moved; i++) {
		free(aside);
		if (lw_format_string(&aside, "%s.bad%d", path, i) != LW_OK)
			return false;
		moved = !lw_file_exists(aside) && rename(path, aside) == 0;
	}
	for (size_t i = 0; moved && i < LW_COUNT(companions); i++) {
		if (lw_format_string(&from, "%s%s", path, companions[i]) != LW_OK)
			break;
		if (lw_format_string(&to, "%s%s", aside, companions[i]) == LW_OK) {
			if (lw_file_exists(from) && rename(from, to) != 0)
				moved = false;
			free(to);
		}
		free(from);
	}
	if (moved)
		lw_log(LW_LOG_WARNING, "%s is begun anew, what was there is now %s: %s", path, aside, reason);
	free(aside);
	return moved;
}

static bool prepare(lw_tuning *t)
{
#define ROW "device = ?1 AND driver = ?2 AND kernels = ?3"
	static const char *const texts[] = {
		"INSERT OR IGNORE INTO findings (device, driver, kernels, key, choice, seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		"INSERT OR REPLACE INTO findings (device, driver, kernels, key, choice, seconds) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
		"SELECT key, choice FROM findings WHERE " ROW " AND key = ?4"};
	sqlite3_stmt **const statements[] = {&t->insert, &t->replace, &t->select_one};

	for (size_t i = 0; i < LW_COUNT(texts); i++)
		if (sqlite3_prepare_v2(t->database, texts[i], -1, statements[i], NULL) != SQLITE_OK)
			return false;
	return true;
}

static void bind_device(const lw_tuning *t, sqlite3_stmt *statement)
{
	sqlite3_bind_text(statement, 1, t->device, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 2, t->driver, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 3, t->kernels, -1, SQLITE_STATIC);
}

/* The text of a column; NULL where it is none that we would have written. */
static const char *column(sqlite3_stmt *statement, int index, size_t limit)
{
	const bool is_text = sqlite3_column_type(statement, index) == SQLITE_TEXT;
	const char *text = is_text ? (const char *)sqlite3_column_text(statement, index) : NULL;
	const size_t bytes = (size_t)sqlite3_column_bytes(statement, index);

	return text && bytes > 0 && bytes < limit && strlen(text) == bytes ? text : NULL;
}

/* Remembers the rows that a statement gives. */
static lw_status read_rows(lw_tuning *t, sqlite3_stmt *statement, int *code)
{
	lw_status status = LW_OK;

	while ((*code = sqlite3_step(statement)) == SQLITE_ROW && status == LW_OK) {
		const char *key = column(statement, 0, LW_TUNING_KEY), *choice = column(statement, 1, LW_TUNING_CHOICE);
		if (key && choice)
			status = remember(t, key, choice, true);
	}
	return status;
}

static lw_status read_all(lw_tuning *t)
{
	sqlite3_stmt *statement = NULL;
	lw_status status = LW_OK;
	int code = sqlite3_prepare_v2(t->database, "SELECT key, choice FROM findings WHERE " ROW, -1, &statement, NULL);

	if (code == SQLITE_OK) {
		bind_device(t, statement);
		status = read_rows(t, statement, &code);
	}
	sqlite3_finalize(statement);
	if (code != SQLITE_DONE && status == LW_OK)
		give_up(t, "");
	return status;
}

/* The database where it is usable; otherwise none. */
static void open_database(lw_tuning *t)
{
	for (int attempt = 0; attempt < 2; attempt++) {
		const char *reason = "";
		struct stat seen = {0};
		verdict v;

		if (sqlite3_open_v2(t->path, &t->database, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK) {
			give_up(t, "");
			return;
		}
		sqlite3_busy_timeout(t->database, BUSY_MILLISECONDS);
		/* what is lost with the power is searched again; waiting for the disk would keep other processes out for seconds */
		sqlite3_exec(t->database, "PRAGMA synchronous = OFF", NULL, NULL, NULL);
		if (stat(t->path, &seen) != 0) {
			give_up(t, "it cannot be looked at: ");
			return;
		}
		v = judge(t->database, &reason);
		if (v == USABLE && prepare(t))
			return;
		if (v == USABLE) { /* tables of other columns */
			reason = sqlite3_errmsg(t->database);
			v = NOT_OURS;
		}
		lw_fail(LW_E_FORMAT, "%s", reason); /* it may be the database's text */
		close_database(t);
		if (v == UNUSABLE || attempt || !move_aside(t->path, &seen, lw_last_error())) {
			give_up(t, lw_last_error());
			return;
		}
	}
}

static lw_status name_device(lw_tuning *t, lw_device *device)
{
	const lw_device_info *info = lw_device_get_info(device);

	LW_TRY(lw_format_string(&t->device, "%s, %s, %u units", info->platform, info->name, info->compute_units));
	LW_TRY(lw_format_string(&t->driver, "%s, %s", info->driver, info->opencl_version));
	snprintf(t->kernels, sizeof t->kernels, "%016llx", (unsigned long long)lw_kernel_sources_hash());
	return LW_OK;
}

lw_status lw_tuning_open(lw_tuning **tuning, lw_device *device, const char *path)
{
	lw_status status;
	lw_tuning *t;

	*tuning = NULL;
	LW_TRY(lw_alloc(&t, 1, sizeof *t));
	LW_GO(name_device(t, device));
	status = path ? lw_copy_string(&t->path, path) : default_path(&t->path);
	if (status == LW_OK)
		status = make_folder(t->path);
	if (status == LW_E_MEMORY)
		goto out;
	if (status == LW_OK)
		open_database(t);
	else
		lw_log(LW_LOG_WARNING, "what tuning finds is not kept: %s", lw_last_error());
	status = LW_OK;
	if (t->database)
		LW_GO(read_all(t));
	*tuning = t;
	return LW_OK;
out:
	lw_tuning_close(&t);
	return status;
}

void lw_tuning_close(lw_tuning **tuning)
{
	lw_tuning *t = *tuning;

	if (!t)
		return;
	close_database(t);
	for (size_t i = 0; i < t->places; i++) {
		free(t->findings[i].key);
		free(t->findings[i].choice);
	}
	free(t->findings);
	free(t->path);
	free(t->device);
	free(t->driver);
	free(t);
	*tuning = NULL;
}

bool lw_tuning_lasts(const lw_tuning *t) { return t->database && !sqlite3_db_readonly(t->database, "main"); }

/* Into the file; false where that failed. */
static bool write_row(lw_tuning *t, const char *key, const char *choice, double seconds, bool replace)
{
	sqlite3_stmt *statement = replace ? t->replace : t->insert;
	int code;

	bind_device(t, statement);
	sqlite3_bind_text(statement, 4, key, -1, SQLITE_STATIC);
	sqlite3_bind_text(statement, 5, choice, -1, SQLITE_STATIC);
	if (seconds > 0)
		sqlite3_bind_double(statement, 6, seconds);
	else
		sqlite3_bind_null(statement, 6);
	code = sqlite3_step(statement);
	sqlite3_reset(statement);
	sqlite3_clear_bindings(statement);
	return code == SQLITE_DONE;
}

lw_status lw_tuning_store(lw_tuning *t, const char *key, const char *choice, double seconds, bool replace)
{
	lw_status status = LW_OK;
	int code;

	if (strlen(key) >= LW_TUNING_KEY || strlen(choice) >= LW_TUNING_CHOICE || !*key || !*choice)
		return lw_fail(LW_E_ARGUMENT, "a finding's key or choice is empty or too long: `%.300s`, `%.80s`", key, choice);
	if (lw_tuning_lasts(t) && !write_row(t, key, choice, seconds, replace))
		give_up(t, "");
	if (t->database && !replace) { /* what another process wrote since counts */
		bind_device(t, t->select_one);
		sqlite3_bind_text(t->select_one, 4, key, -1, SQLITE_STATIC);
		status = read_rows(t, t->select_one, &code);
		sqlite3_reset(t->select_one);
		sqlite3_clear_bindings(t->select_one);
		LW_TRY(status);
	}
	return remember(t, key, choice, replace);
}
