/* Kernels by variant: a table per device of those built so far, in front of disk cache and compiler. */
#include "kernel/kernel.h"
#include "kernel/cache.h"
#include "kernel/source.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A variant's bytes (see variant_key) and what was made of it. */
typedef struct built_kernel {
	char *bytes;
	size_t size;
	uint64_t hash;
	lw_kernel *kernel;
	lw_program *program;
	lw_cache_key key;
	bool saved; /* it is in the disk cache, or cannot be */
	bool wanted; /* it was asked for while trials were off */
} built_kernel;

typedef struct kernel_table {
	lw_device *device;
	char *folder; /* of the disk cache; NULL: none */
	atomic_bool announced;
	bool trials; /* of kernels that may never be used */
	atomic_uint compiled, cached;
	pthread_mutex_t lock;  /* of all below; lw_kernel_get holds it while compiling, so that nothing is compiled twice */
	built_kernel *kernels; /* an open hash table; a free place has no kernel */
	size_t kernel_count, kernel_places;
} kernel_table;

static void save_kernels(kernel_table *table);

static void clear_kernel(built_kernel *k)
{
	lw_kernel_destroy(&k->kernel);
	lw_program_destroy(&k->program);
	free(k->bytes);
	k->bytes = NULL;
}

static void destroy_table(void *data)
{
	kernel_table *table = data;

	save_kernels(table);
	for (size_t i = 0; i < table->kernel_places; i++)
		clear_kernel(&table->kernels[i]);
	free(table->kernels);
	free(table->folder);
	pthread_mutex_destroy(&table->lock);
	free(table);
}

/* The device's table, made at the first call. */
static lw_status get_table(kernel_table **table, lw_device *device)
{
	static pthread_mutex_t making = PTHREAD_MUTEX_INITIALIZER;
	lw_status status = LW_OK;

	pthread_mutex_lock(&making);
	*table = lw_device_attachment(device);
	if (!*table) {
		status = lw_alloc(table, 1, sizeof **table);
		if (status == LW_OK) {
			(*table)->device = device;
			(*table)->folder = lw_cache_folder();
			pthread_mutex_init(&(*table)->lock, NULL);
			lw_device_attach(device, *table, destroy_table);
		}
	}
	pthread_mutex_unlock(&making);
	return status;
}

/* A variant as bytes, which are equal where variants are. */
enum { VARIANT_BYTES = 2048 };
static lw_status variant_key(char bytes[VARIANT_BYTES], size_t *size, const lw_variant *variant)
{
	size_t used = 0, length;

	for (int i = -2; i < variant->option_count; i++) {
		const char *text = i == -2 ? variant->source : i == -1 ? variant->function : variant->options[i].name;

		length = strlen(text) + 1;
		if (used + length + sizeof(int) > VARIANT_BYTES)
			return lw_fail(LW_E_ARGUMENT, "kernel %s: its options are too long", variant->function);
		memcpy(bytes + used, text, length);
		used += length;
		if (i < 0)
			continue;
		memcpy(bytes + used, &variant->options[i].value, sizeof(int));
		used += sizeof(int);
	}
	*size = used;
	return LW_OK;
}

/* The place of the variant, or the free one where it belongs. There is always a free one. */
static built_kernel *find_place(built_kernel *kernels, size_t places, const char *bytes, size_t size, uint64_t hash)
{
	size_t i = hash & (places - 1);

	while (kernels[i].kernel &&
	       (kernels[i].hash != hash || kernels[i].size != size || memcmp(kernels[i].bytes, bytes, size) != 0))
		i = (i + 1) & (places - 1);
	return &kernels[i];
}

/* Keeps at least half of the places free. */
static lw_status make_room(kernel_table *table)
{
	size_t places = table->kernel_places ? 2 * table->kernel_places : 64;
	built_kernel *fresh;

	if (2 * (table->kernel_count + 1) <= table->kernel_places)
		return LW_OK;
	LW_TRY(lw_alloc(&fresh, places, sizeof *fresh));
	for (size_t i = 0; i < table->kernel_places; i++) {
		const built_kernel *old = &table->kernels[i];

		if (old->kernel)
			*find_place(fresh, places, old->bytes, old->size, old->hash) = *old;
	}
	free(table->kernels);
	table->kernels = fresh;
	table->kernel_places = places;
	return LW_OK;
}

static lw_status compiler_options(char **text, const lw_device_info *info, const lw_variant *variant)
{
	char options[2 * VARIANT_BYTES] = ""; /* enough: variant_key took these names */
	size_t used = 0;

	for (int i = 0; i < variant->option_count && used < sizeof options; i++) {
		const lw_option *option = &variant->options[i];
		int length = snprintf(options + used, sizeof options - used, " -D %s=%d", option->name, option->value);

		used += length > 0 ? (size_t)length : 0;
	}
	return lw_format_string(text, "-cl-std=CL1.2%s -D LW_CORRECTLY_ROUNDED=%d -D LW_FP64=%d -D LW_FAST_FMA=%d -D LW_DEVICE_CPU=%d%s",
				info->correctly_rounded ? " -cl-fp32-correctly-rounded-divide-sqrt" : "",
				info->correctly_rounded, info->fp64, info->fast_fma, info->type == LW_DEVICE_CPU, options);
}

/* Everything that decides what the compiler makes of it. */
static lw_status program_key(lw_cache_key *key, const lw_device_info *info, const char *text, const char *options)
{
	char *all;

	LW_TRY(lw_format_string(&all, "%s\n%s\n%s\n%s\n%s\n%s\n%s\n%s\n%u", lw_version(), info->platform, info->vendor,
				info->name, info->driver, info->opencl_version, options, text, info->compute_units));
	key->words[0] = lw_hash(all, strlen(all), 0x6c61796572ull);
	key->words[1] = lw_hash(all, strlen(all), 0x77697365ull);
	free(all);
	return LW_OK;
}

static void announce(kernel_table *table)
{
	if (atomic_exchange(&table->announced, true))
		return;
	if (table->folder)
		lw_log(LW_LOG_INFO, "compiling kernels for %s (first run; kept in %s)", lw_device_label(table->device),
		       table->folder);
	else
		lw_log(LW_LOG_INFO, "compiling kernels for %s", lw_device_label(table->device));
}

/* Not every driver takes programs from several threads at once (Oclgrind does not): files are read and checked side by side, programs made in turn. */
static pthread_mutex_t driver = PTHREAD_MUTEX_INITIALIZER;

/* From the disk cache, as far as the driver takes what was kept. */
static bool load(kernel_table *table, built_kernel *k, const lw_variant *variant, const char *options)
{
	size_t size;
	void *binary = lw_cache_load(table->folder, &k->key, &size);
	lw_status status;

	if (!binary)
		return false;
	pthread_mutex_lock(&driver);
	status = lw_program_create_binary(&k->program, table->device, binary, size, options);
	if (status == LW_OK)
		status = lw_kernel_create(&k->kernel, k->program, variant->function);
	pthread_mutex_unlock(&driver);
	free(binary);
	if (status != LW_OK) {
		lw_log(LW_LOG_DEBUG, "the driver refuses the kept %s: %s", variant->function, lw_last_error());
		lw_program_destroy(&k->program);
		return false;
	}
	k->saved = true;
	table->cached++;
	return true;
}

static lw_status compile(kernel_table *table, built_kernel *k, const lw_variant *variant, const char *text,
			 const char *options)
{
	lw_status status;

	announce(table);
	pthread_mutex_lock(&driver);
	status = lw_program_create(&k->program, table->device, text, options);
	if (status != LW_OK)
		status = lw_fail_prefix(status, "%s.cl on %s", variant->source, lw_device_label(table->device));
	else
		status = lw_kernel_create(&k->kernel, k->program, variant->function);
	pthread_mutex_unlock(&driver);
	table->compiled += status == LW_OK;
	return status;
}

static lw_status build(built_kernel *k, kernel_table *table, const lw_variant *variant)
{
	const lw_device_info *info = lw_device_get_info(table->device);
	char *text = NULL, *options = NULL;
	lw_status status;

	LW_GO(lw_kernel_text(&text, variant->source, variant->function));
	LW_GO(compiler_options(&options, info, variant));
	LW_GO(program_key(&k->key, info, text, options));
	if (!load(table, k, variant, options))
		status = compile(table, k, variant, text, options);
out:
	free(options);
	free(text);
	return status;
}

lw_status lw_kernel_get(lw_kernel **kernel, lw_device *device, const lw_variant *variant)
{
	char bytes[VARIANT_BYTES];
	size_t size = 0;
	uint64_t hash;
	kernel_table *table;
	built_kernel fresh = {0}, *place;
	lw_status status;

	*kernel = NULL;
	LW_TRY(variant_key(bytes, &size, variant));
	LW_TRY(get_table(&table, device));
	hash = lw_hash(bytes, size, 0);
	pthread_mutex_lock(&table->lock);
	LW_GO(make_room(table));
	place = find_place(table->kernels, table->kernel_places, bytes, size, hash);
	if (!place->kernel) {
		fresh = (built_kernel){.size = size, .hash = hash};
		LW_GO(lw_alloc(&fresh.bytes, size, 1));
		memcpy(fresh.bytes, bytes, size);
		LW_GO(build(&fresh, table, variant));
		*place = fresh;
		fresh = (built_kernel){0};
		table->kernel_count++;
	}
	place->wanted |= !table->trials;
	*kernel = place->kernel;
out:
	pthread_mutex_unlock(&table->lock);
	clear_kernel(&fresh); /* what a failure left */
	return status;
}

/* The variants that this thread's rehearsal asked for: see lw_kernel_prepare. */
typedef struct rehearsal {
	lw_device *device;
	kernel_table *table;
	lw_variant *variants;
	size_t count, capacity;
	atomic_size_t taken; /* by the threads that build them */
} rehearsal;

static _Thread_local rehearsal *rehearsing;

lw_status lw_launch_begin(lw_launch *launch, lw_device *device, const lw_variant *variant)
{
	rehearsal *r = rehearsing;

	memset(launch, 0, sizeof *launch);
	if (!r || r->device != device)
		return lw_kernel_get(&launch->kernel, device, variant);
	LW_TRY(lw_grow(&r->variants, &r->capacity, r->count + 1, sizeof *r->variants));
	r->variants[r->count++] = *variant;
	return LW_OK;
}

/* Builds one kernel without holding the table's lock meanwhile, unless the table has it already. */
static lw_status prepare_one(kernel_table *table, const lw_variant *variant)
{
	char bytes[VARIANT_BYTES];
	size_t size = 0;
	built_kernel fresh = {0}, *place;
	bool there;
	lw_status status;

	LW_TRY(variant_key(bytes, &size, variant));
	fresh.hash = lw_hash(bytes, size, 0);
	fresh.size = size;
	pthread_mutex_lock(&table->lock);
	status = make_room(table);
	there = status == LW_OK && find_place(table->kernels, table->kernel_places, bytes, size, fresh.hash)->kernel;
	pthread_mutex_unlock(&table->lock);
	if (status != LW_OK || there)
		return status;
	LW_GO(lw_alloc(&fresh.bytes, size, 1));
	memcpy(fresh.bytes, bytes, size);
	LW_GO(build(&fresh, table, variant));
	pthread_mutex_lock(&table->lock);
	status = make_room(table);
	if (status == LW_OK) {
		place = find_place(table->kernels, table->kernel_places, bytes, size, fresh.hash);
		if (!place->kernel) {
			*place = fresh;
			fresh = (built_kernel){0};
			table->kernel_count++;
		}
	}
	pthread_mutex_unlock(&table->lock);
out:
	clear_kernel(&fresh); /* what a failure, or another thread that was faster, left */
	return status;
}

/* A kernel that cannot be built is left to the launch that needs it: it says why. */
static void *prepare_some(void *argument)
{
	rehearsal *r = argument;
	size_t i;

	while ((i = atomic_fetch_add(&r->taken, 1)) < r->count)
		prepare_one(r->table, &r->variants[i]);
	return NULL;
}

static int compare_variants(const void *a, const void *b)
{
	char bytes[2][VARIANT_BYTES];
	size_t size[2] = {0, 0};
	int order;

	if (variant_key(bytes[0], &size[0], a) != LW_OK || variant_key(bytes[1], &size[1], b) != LW_OK)
		return 0;
	order = memcmp(bytes[0], bytes[1], size[0] < size[1] ? size[0] : size[1]);
	return order ? order : (size[0] > size[1]) - (size[0] < size[1]);
}

static void drop_repeated(rehearsal *r)
{
	size_t kept = 0;

	qsort(r->variants, r->count, sizeof *r->variants, compare_variants);
	for (size_t i = 0; i < r->count; i++)
		if (i == 0 || compare_variants(&r->variants[i], &r->variants[kept - 1]) != 0)
			r->variants[kept++] = r->variants[i];
	r->count = kept;
}

enum { PREPARING_THREADS = 8 };

lw_status lw_kernel_prepare(lw_device *device, lw_status (*rehearse)(void *user), void *user)
{
	const int processors = (int)sysconf(_SC_NPROCESSORS_ONLN), threads = processors < PREPARING_THREADS ? processors : PREPARING_THREADS;
	rehearsal r = {.device = device};
	pthread_t thread[PREPARING_THREADS];
	int started = 0;
	lw_status status;

	LW_TRY(get_table(&r.table, device));
	rehearsing = &r;
	status = rehearse(user);
	rehearsing = NULL;
	if (status == LW_OK) {
		drop_repeated(&r);
		while (started < threads - 1 && pthread_create(&thread[started], NULL, prepare_some, &r) == 0)
			started++;
		prepare_some(&r);
		while (started > 0)
			pthread_join(thread[--started], NULL);
	}
	free(r.variants);
	return status;
}

static void save_kernels(kernel_table *table)
{
	for (size_t i = 0; i < table->kernel_places && table->folder; i++) {
		built_kernel *k = &table->kernels[i];
		void *binary;
		size_t size;

		if (!k->kernel || k->saved || !k->wanted)
			continue;
		k->saved = true;
		if (lw_program_binary(k->program, &binary, &size) != LW_OK) {
			lw_log(LW_LOG_DEBUG, "the compiled %s is not kept: %s", lw_kernel_name(k->kernel),
			       lw_last_error());
			continue;
		}
		lw_cache_store(table->folder, &k->key, binary, size);
		free(binary);
	}
}

void lw_kernel_cache_save(lw_device *device)
{
	kernel_table *table = lw_device_attachment(device);

	if (!table)
		return;
	pthread_mutex_lock(&table->lock);
	save_kernels(table);
	pthread_mutex_unlock(&table->lock);
}

void lw_kernel_trials(lw_device *device, bool on)
{
	kernel_table *table;

	if (get_table(&table, device) != LW_OK)
		return;
	pthread_mutex_lock(&table->lock);
	table->trials = on;
	pthread_mutex_unlock(&table->lock);
}

void lw_kernel_statistics(lw_device *device, unsigned *compiled, unsigned *cached)
{
	kernel_table *table = lw_device_attachment(device);

	*compiled = *cached = 0;
	if (!table)
		return;
	*compiled = table->compiled;
	*cached = table->cached;
}
