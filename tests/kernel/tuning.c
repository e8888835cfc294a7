/* What tuning remembers: between runs, between processes, and with every kind of file that may lie in its place. */
#include "kernel/tuning.h"
#include "kernel/source.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define OK(call)                                                                                                       \
	do {                                                                                                           \
		if ((call) != LW_OK)                                                                                   \
			fail_msg("line %d: %s", __LINE__, lw_last_error());                                            \
	} while (0)

static char home[] = "/tmp/layerwise-tuning-XXXXXX";
static char path[128], log_text[65536];
static lw_device *device;

static void keep_log(void *user, lw_log_level level, const char *text)
{
	(void)user;
	(void)level;
	strncat(log_text, text, sizeof log_text - strlen(log_text) - 2);
	strcat(log_text, "\n");
}

static int begin(void **state)
{
	char command[256];

	(void)state;
	snprintf(command, sizeof command, "rm -rf %s/* && mkdir -p %s/layerwise", home, home);
	if (system(command) != 0)
		return -1;
	setenv("XDG_DATA_HOME", home, 1);
	log_text[0] = 0;
	return 0;
}

static lw_tuning *open_tuning(void)
{
	lw_tuning *tuning;

	OK(lw_tuning_open(&tuning, device, NULL));
	return tuning;
}

static void store(const char *key, const char *choice)
{
	lw_tuning *tuning = open_tuning();

	OK(lw_tuning_store(tuning, key, choice, 1e-3, true));
	assert_true(lw_tuning_lasts(tuning));
	lw_tuning_close(&tuning);
}

static void expect(const char *key, const char *choice)
{
	lw_tuning *tuning = open_tuning();
	const char *found = lw_tuning_find(tuning, key);

	if ((choice == NULL) != (found == NULL) || (choice && strcmp(choice, found) != 0))
		fail_msg("%s: %s was found, %s was expected; log: %s", key, found ? found : "nothing", choice ? choice : "nothing", log_text);
	lw_tuning_close(&tuning);
}

static void sql(const char *text)
{
	sqlite3 *database;

	assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
	if (sqlite3_exec(database, text, NULL, NULL, NULL) != SQLITE_OK)
		fail_msg("%s: %s", text, sqlite3_errmsg(database));
	sqlite3_close(database);
}

/* How many files were moved aside; the first one's path. */
static int aside(char name[512])
{
	char folder[128];
	DIR *directory;
	int count = 0;

	snprintf(folder, sizeof folder, "%s/layerwise", home);
	directory = opendir(folder);
	for (const struct dirent *entry; (entry = readdir(directory)) != NULL;)
		if (strstr(entry->d_name, ".bad")) {
			snprintf(name, 512, "%s/%s", folder, entry->d_name);
			count++;
		}
	closedir(directory);
	return count;
}

static void write_file(const void *data, size_t size)
{
	FILE *stream = fopen(path, "wb");

	assert_non_null(stream);
	assert_int_equal(fwrite(data, 1, size, stream), size);
	assert_int_equal(fclose(stream), 0);
}

/* The file is not believed, nor deleted; a new one takes its place and works. */
static void check_replaced(const void *content, size_t size)
{
	char moved[512];
	size_t kept;
	void *data;

	expect("key", NULL);
	assert_non_null(strstr(log_text, "is begun anew"));
	assert_int_equal(aside(moved), 1);
	if (content) {
		OK(lw_file_read(moved, &data, &kept));
		assert_int_equal(kept, size);
		assert_memory_equal(data, content, size);
		free(data);
	}
	store("key", "new");
	expect("key", "new");
	assert_int_equal(aside(moved), 1);
}

static void test_kept(void **state)
{
	lw_tuning *tuning = open_tuning();
	char key[64], choice[64];

	(void)state;
	assert_null(lw_tuning_find(tuning, "key"));
	for (int i = 0; i < 500; i++) {
		snprintf(key, sizeof key, "key %d", i);
		snprintf(choice, sizeof choice, "choice %d", i);
		OK(lw_tuning_store(tuning, key, choice, i * 1e-3, i % 2));
		assert_string_equal(lw_tuning_find(tuning, key), choice);
	}
	OK(lw_tuning_store(tuning, "key 7", "slower", 1, false)); /* known already */
	assert_string_equal(lw_tuning_find(tuning, "key 7"), "choice 7");
	OK(lw_tuning_store(tuning, "key 8", "faster", 1, true));
	assert_string_equal(lw_tuning_find(tuning, "key 8"), "faster");
	lw_tuning_close(&tuning);
	expect("key 0", "choice 0");
	expect("key 499", "choice 499");
	expect("key 7", "choice 7");
	expect("key 8", "faster");
	expect("key 500", NULL);
	assert_string_equal(log_text, "");
}

/* Another device, driver or version of our kernels has findings of its own. */
static void test_whose(void **state)
{
	static const char *const columns[] = {"device", "driver", "kernels"};
	lw_device *other;
	lw_tuning *tuning;
	char text[128];

	(void)state;
	for (size_t i = 0; i < LW_COUNT(columns); i++) {
		store("key", "choice");
		snprintf(text, sizeof text, "UPDATE findings SET %s = %s || 'x'", columns[i], columns[i]);
		sql(text);
		expect("key", NULL);
		sql("DELETE FROM findings");
	}
	store("key", "choice");
	OK(lw_device_open(&other, "auto"));
	OK(lw_tuning_open(&tuning, other, NULL));
	assert_null(lw_tuning_find(tuning, "key"));
	lw_tuning_close(&tuning);
	lw_device_close(&other);
	expect("key", "choice");
}

static void test_damaged(void **state)
{
	char noise[4096];
	lw_tuning *tuning;
	size_t size;
	void *data;

	/* noise */
	for (size_t i = 0; i < sizeof noise; i++)
		noise[i] = (char)lw_random_bits(1, 1, i);
	write_file(noise, sizeof noise);
	check_replaced(noise, sizeof noise);
	/* too short to be anything */
	assert_int_equal(begin(state), 0);
	write_file("SQLite format 3", 16);
	check_replaced("SQLite format 3", 16);
	/* cut off, at a page and elsewhere */
	for (int cut = 0; cut < 2; cut++) {
		assert_int_equal(begin(state), 0);
		tuning = open_tuning();
		for (int i = 0; i < 300; i++) {
			char key[160];
			snprintf(key, sizeof key, "a key that is long enough for many pages to be needed by all of them together, number %d", i);
			OK(lw_tuning_store(tuning, key, "choice", 1, true));
		}
		lw_tuning_close(&tuning);
		OK(lw_file_read(path, &data, &size));
		assert_true(size > 16384);
		size = cut ? 8192 : size - 5000;
		assert_int_equal(truncate(path, (off_t)size), 0);
		check_replaced(data, size);
		free(data);
	}
	/* noise in the middle of a page */
	assert_int_equal(begin(state), 0);
	store("key", "choice");
	OK(lw_file_read(path, &data, &size));
	memcpy((char *)data + 4096, noise, size - 4096);
	write_file(data, size);
	check_replaced(data, size);
	free(data);
	/* empty: nothing to keep */
	assert_int_equal(begin(state), 0);
	write_file("", 0);
	expect("key", NULL);
	assert_string_equal(log_text, "");
	store("key", "choice");
	expect("key", "choice");
}

static void test_foreign(void **state)
{
	char moved[512];

	(void)state;
	sql("CREATE TABLE bookmarks (url TEXT); INSERT INTO bookmarks VALUES ('https://example.org')");
	check_replaced(NULL, 0);
	assert_int_equal(begin(state), 0);
	sql("PRAGMA application_id = 17; PRAGMA journal_mode = WAL; CREATE TABLE findings (key TEXT)");
	check_replaced(NULL, 0);
	/* ours by its header, but with other columns */
	assert_int_equal(begin(state), 0);
	sql("PRAGMA application_id = 1280799854; PRAGMA user_version = 1; CREATE TABLE findings (key TEXT)");
	check_replaced(NULL, 0);
	/* another version's stays where it is */
	assert_int_equal(begin(state), 0);
	store("key", "choice");
	sql("PRAGMA user_version = 2");
	expect("key", NULL);
	assert_non_null(strstr(log_text, "another version"));
	assert_int_equal(aside(moved), 0);
}

/* Rows that we would not have written. */
static void test_rows(void **state)
{
	char long_key[LW_TUNING_KEY + 1], text[2 * LW_TUNING_KEY];
	lw_tuning *tuning;

	(void)state;
	store("key", "choice");
	sql("INSERT INTO findings SELECT device, driver, kernels, 'long', printf('%.*c', 5000, 'x'), 1, '' FROM findings WHERE key = 'key'");
	sql("INSERT INTO findings SELECT device, driver, kernels, 'blob', x'00ff', 1, '' FROM findings WHERE key = 'key'");
	sql("INSERT INTO findings SELECT device, driver, kernels, 'nul', 'a' || char(0) || 'b', 1, '' FROM findings WHERE key = 'key'");
	sql("INSERT INTO findings SELECT device, driver, kernels, 'empty', '', 1, '' FROM findings WHERE key = 'key'");
	sql("INSERT INTO findings SELECT device, driver, kernels, 'time', 'good', NULL, '' FROM findings WHERE key = 'key'");
	memset(long_key, 'k', LW_TUNING_KEY);
	long_key[LW_TUNING_KEY] = 0;
	snprintf(text, sizeof text, "UPDATE findings SET key = '%s' WHERE key = 'empty'", long_key);
	sql(text);
	expect("key", "choice");
	expect("time", "good");
	expect("long", NULL);
	expect("blob", NULL);
	expect("nul", NULL);
	expect(long_key, NULL);
	/* columns that may hold NULL */
	sql("ALTER TABLE findings RENAME TO old; CREATE TABLE findings (device, driver, kernels, key, choice, seconds, found);"
	    "INSERT INTO findings SELECT device, driver, kernels, key, NULL, seconds, found FROM old");
	expect("key", NULL);
	tuning = open_tuning();
	assert_int_equal(lw_tuning_store(tuning, long_key, "choice", 1, true), LW_E_ARGUMENT);
	assert_int_equal(lw_tuning_store(tuning, "key", long_key, 1, true), LW_E_ARGUMENT);
	assert_int_equal(lw_tuning_store(tuning, "key", "", 1, true), LW_E_ARGUMENT);
	lw_tuning_close(&tuning);
}

/* A run without the file remembers in memory. */
static void check_memory_only(void)
{
	lw_tuning *tuning = open_tuning();

	assert_false(lw_tuning_lasts(tuning));
	OK(lw_tuning_store(tuning, "memory", "only", 1, false));
	assert_string_equal(lw_tuning_find(tuning, "memory"), "only");
	lw_tuning_close(&tuning);
}

static void test_locked(void **state)
{
	sqlite3 *other;
	lw_tuning *tuning;
	char moved[512];

	(void)state;
	store("key", "choice");
	tuning = open_tuning();
	assert_int_equal(sqlite3_open(path, &other), SQLITE_OK);
	assert_int_equal(sqlite3_exec(other, "BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
	check_memory_only();
	assert_non_null(strstr(log_text, "not kept"));
	/* locked after it was read */
	OK(lw_tuning_store(tuning, "other", "choice", 1, true));
	assert_string_equal(lw_tuning_find(tuning, "other"), "choice");
	assert_string_equal(lw_tuning_find(tuning, "key"), "choice");
	assert_false(lw_tuning_lasts(tuning));
	lw_tuning_close(&tuning);
	sqlite3_close(other);
	expect("key", "choice"); /* it was only locked */
	assert_int_equal(aside(moved), 0);
}

static void test_read_only(void **state)
{
	const bool root = geteuid() == 0;
	lw_tuning *tuning;
	char folder[128];

	(void)state;
	snprintf(folder, sizeof folder, "%s/layerwise", home);
	store("key", "choice");
	chmod(home, 0755);
	chmod(folder, 0555);
	chmod(path, 0444);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	expect("key", "choice");
	check_memory_only();
	tuning = open_tuning();
	OK(lw_tuning_store(tuning, "key", "other", 1, true));
	assert_string_equal(lw_tuning_find(tuning, "key"), "other");
	lw_tuning_close(&tuning);
	/* damaged, and it cannot be moved */
	if (root)
		assert_int_equal(seteuid(0), 0);
	chmod(path, 0644);
	write_file("not a database, but long enough to be looked at", 47);
	chmod(path, 0444);
	if (root)
		assert_int_equal(seteuid(65534), 0);
	check_memory_only();
	if (root)
		assert_int_equal(seteuid(0), 0);
	chmod(folder, 0755);
}

static void test_no_place(void **state)
{
	char other[160];

	(void)state;
	assert_int_equal(mkdir(path, 0755), 0); /* a folder of that name */
	check_memory_only();
	snprintf(other, sizeof other, "%s/file", home);
	OK(lw_make_directories(other, 0755));
	snprintf(path, sizeof path, "%s/file/here", home);
	write_file("", 0);
	setenv("XDG_DATA_HOME", path, 1); /* a file where a folder should be */
	check_memory_only();
	snprintf(path, sizeof path, "%s/layerwise/tuning.sqlite", home);
	/* a relative folder counts as none, says the standard */
	setenv("XDG_DATA_HOME", "relative", 1);
	setenv("HOME", other, 1);
	store("key", "choice");
	assert_int_not_equal(access("relative", F_OK), 0);
	snprintf(other, sizeof other, "%s/file/.local/share/layerwise/tuning.sqlite", home);
	assert_true(lw_file_exists(other));
	unsetenv("HOME");
	check_memory_only();
}

/* Processes that begin the file and write at once: nothing is lost, and all agree on what was first. */
static void test_processes(void **state)
{
	enum { PROCESSES = 4, KEYS = 25 };
	lw_tuning *tuning;
	char key[64];

	(void)state;
	for (int p = 0; p < PROCESSES; p++) {
		pid_t child = fork();
		assert_true(child >= 0);
		if (child)
			continue;
		/* no device calls here: threads do not survive a fork */
		bool fine = lw_tuning_open(&tuning, device, NULL) == LW_OK;
		for (int i = 0; fine && i < KEYS; i++) {
			char choice[64];
			snprintf(key, sizeof key, "own %d %d", p, i);
			fine = lw_tuning_store(tuning, key, "choice", 1, true) == LW_OK;
			snprintf(key, sizeof key, "shared %d", i);
			snprintf(choice, sizeof choice, "of %d", p);
			fine = fine && lw_tuning_store(tuning, key, choice, 1, false) == LW_OK;
		}
		_exit(fine && lw_tuning_lasts(tuning) ? 0 : 1);
	}
	for (int p = 0; p < PROCESSES; p++) {
		int status;
		assert_true(wait(&status) > 0);
		assert_int_equal(status, 0);
	}
	tuning = open_tuning();
	for (int i = 0; i < KEYS; i++) {
		for (int p = 0; p < PROCESSES; p++) {
			snprintf(key, sizeof key, "own %d %d", p, i);
			assert_non_null(lw_tuning_find(tuning, key));
		}
		snprintf(key, sizeof key, "shared %d", i);
		assert_non_null(lw_tuning_find(tuning, key));
	}
	lw_tuning_close(&tuning);
	/* what another process found first is what this one takes */
	tuning = open_tuning();
	store("late", "theirs");
	OK(lw_tuning_store(tuning, "late", "ours", 1, false));
	assert_string_equal(lw_tuning_find(tuning, "late"), "theirs");
	lw_tuning_close(&tuning);
	expect("late", "theirs");
}

/* Processes that begin the file in the same moment use the same one: none takes another's for a foreign file. */
static void test_begun_at_once(void **state)
{
	enum { ROUNDS = 60, PROCESSES = 4 };

	for (int round = 0; round < ROUNDS; round++) {
		int gate[2];
		struct stat aside;
		char other[160];

		begin(state);
		assert_int_equal(pipe(gate), 0);
		for (int p = 0; p < PROCESSES; p++) {
			lw_tuning *tuning;
			char nothing;
			pid_t child = fork();

			assert_true(child >= 0);
			if (child)
				continue;
			close(gate[1]);
			bool fine = read(gate[0], &nothing, 1) == 0; /* until the gate is closed */
			fine = fine && lw_tuning_open(&tuning, device, NULL) == LW_OK;
			_exit(fine && lw_tuning_lasts(tuning) ? 0 : 1);
		}
		close(gate[0]);
		close(gate[1]);
		for (int p = 0; p < PROCESSES; p++) {
			int status;

			assert_true(wait(&status) > 0);
			assert_int_equal(status, 0);
		}
		snprintf(other, sizeof other, "%s.bad1", path);
		assert_int_not_equal(stat(other, &aside), 0);
	}
}

/* It is asked for every launch. */
static void test_fast(void **state)
{
	const char *const key = "conv forward 128x256x14x14 128x256x14x14 kernel 3x3 stride 1x1 pad 1x1 dilation 1x1 groups 1 fast 4999";
	lw_tuning *tuning = open_tuning();
	double start, seconds;
	char text[128];

	(void)state;
	sql("PRAGMA journal_mode = WAL"); /* other programs may do so */
	for (int i = 0; i < 300; i++) {
		snprintf(text, sizeof text, "%.*s%d", (int)strlen(key) - 4, key, 4700 + i);
		OK(lw_tuning_store(tuning, text, "direct/cpu 14x2", 1, true));
	}
	start = lw_now();
	for (int i = 0; i < 100000; i++)
		assert_non_null(lw_tuning_find(tuning, key));
	seconds = (lw_now() - start) / 100000;
	if (seconds > 5e-6) /* some 50 ns, more under the sanitizers */
		fail_msg("a look-up takes %g us", 1e6 * seconds);
	lw_tuning_close(&tuning);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_kept, begin),      cmocka_unit_test_setup(test_whose, begin),
		cmocka_unit_test_setup(test_damaged, begin),   cmocka_unit_test_setup(test_foreign, begin),
		cmocka_unit_test_setup(test_rows, begin),      cmocka_unit_test_setup(test_locked, begin),
		cmocka_unit_test_setup(test_read_only, begin), cmocka_unit_test_setup(test_processes, begin),
		cmocka_unit_test_setup(test_begun_at_once, begin),
		cmocka_unit_test_setup(test_fast, begin),      cmocka_unit_test_setup(test_no_place, begin),
	};
	char command[128];
	int failed;

	if (!mkdtemp(home) || lw_device_open(&device, "sim") != LW_OK)
		return 1;
	snprintf(path, sizeof path, "%s/layerwise/tuning.sqlite", home);
	lw_set_log(keep_log, NULL, LW_LOG_DEBUG);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	lw_device_close(&device);
	snprintf(command, sizeof command, "rm -rf %s", home);
	return system(command) == 0 ? failed : 1;
}
