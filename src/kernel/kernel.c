/* Kernels by variant: a table per device of the programs and kernels built so far, in front of disk cache and compiler. */
#include "kernel/kernel.h"
#include "kernel/cache.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct lw_embedded_kernel {
	const char *name, *text;
};
extern const struct lw_embedded_kernel lw_embedded_kernels[];

/* One source with one set of options; several kernels may come from it. */
typedef struct built_program {
	lw_program *program;
	char *source, *options;
	lw_cache_key key;
	bool from_cache;
	bool saved;
} built_program;

/* A variant's bytes (see variant_key) and its kernel. */
typedef struct built_kernel {
	char *bytes;
	size_t size;
	uint64_t hash;
	lw_kernel *kernel;
} built_kernel;

typedef struct kernel_table {
	lw_device *device;
	pthread_mutex_t lock; /* of all below; held while compiling, too, so that nothing is compiled twice */
	char *folder;	      /* of the disk cache; NULL: none */
	bool announced;
	unsigned compiled, cached;
	built_program *programs;
	size_t program_count, program_capacity;
	built_kernel *kernels; /* an open hash table; a free place has no kernel */
	size_t kernel_count, kernel_places;
} kernel_table;

const char *lw_kernel_source(const char *name)
{
	for (const struct lw_embedded_kernel *k = lw_embedded_kernels; k->name; k++)
		if (strcmp(k->name, name) == 0)
			return k->text;
	return NULL;
}

static void save_programs(kernel_table *table);

static void destroy_table(void *data)
{
	kernel_table *table = data;

	save_programs(table);
	for (size_t i = 0; i < table->kernel_places; i++) {
		lw_kernel_destroy(&table->kernels[i].kernel);
		free(table->kernels[i].bytes);
	}
	for (size_t i = 0; i < table->program_count; i++) {
		lw_program_destroy(&table->programs[i].program);
		free(table->programs[i].source);
		free(table->programs[i].options);
	}
	free(table->kernels);
	free(table->programs);
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
	return lw_format_string(text, "-cl-std=CL1.2%s -D LW_CORRECTLY_ROUNDED=%d -D LW_FP64=%d -D LW_DEVICE_CPU=%d%s",
				info->correctly_rounded ? " -cl-fp32-correctly-rounded-divide-sqrt" : "",
				info->correctly_rounded, info->fp64, info->type == LW_DEVICE_CPU, options);
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
	if (!table->announced && table->folder)
		lw_log(LW_LOG_INFO, "compiling kernels for %s (first run; kept in %s)", lw_device_label(table->device),
		       table->folder);
	else if (!table->announced)
		lw_log(LW_LOG_INFO, "compiling kernels for %s", lw_device_label(table->device));
	table->announced = true;
}

static lw_status compile(kernel_table *table, built_program *p, const char *text)
{
	lw_status status;

	announce(table);
	p->from_cache = p->saved = false;
	status = lw_program_create(&p->program, table->device, text, p->options);
	if (status != LW_OK)
		return lw_fail_prefix(status, "%s.cl on %s", p->source, lw_device_label(table->device));
	table->compiled++;
	return LW_OK;
}

static bool load(kernel_table *table, built_program *p)
{
	size_t size;
	void *binary = lw_cache_load(table->folder, &p->key, &size);

	if (!binary)
		return false;
	p->from_cache = p->saved =
		lw_program_create_binary(&p->program, table->device, binary, size, p->options) == LW_OK;
	if (!p->from_cache)
		lw_log(LW_LOG_DEBUG, "the driver refuses the kept binary of %s.cl: %s", p->source, lw_last_error());
	free(binary);
	return p->from_cache;
}

static lw_status program_text(char **text, const char *source)
{
	const char *common = lw_kernel_source("common"), *own = lw_kernel_source(source);

	*text = NULL;
	if (!own)
		return lw_fail(LW_E_ARGUMENT, "there is no kernel source %s.cl", source);
	return lw_format_string(text, "#line 1 \"common.cl\"\n%s\n#line 1 \"%s.cl\"\n%s", common ? common : "", source,
				own);
}

static void release_kernel_and_program(lw_kernel **kernel, built_program *p)
{
	lw_kernel_destroy(kernel);
	lw_program_destroy(&p->program);
}

/* The program is added to the table only when its kernel is there, so a failure leaves nothing behind. */
static lw_status build(lw_kernel **kernel, kernel_table *table, const char *options, const lw_variant *variant)
{
	built_program p = {0};
	char *text = NULL;
	lw_status status;

	LW_GO(lw_grow(&table->programs, &table->program_capacity, table->program_count + 1, sizeof p));
	LW_GO(program_text(&text, variant->source));
	LW_GO(lw_copy_string(&p.source, variant->source));
	LW_GO(lw_copy_string(&p.options, options));
	LW_GO(program_key(&p.key, lw_device_get_info(table->device), text, options));
	if (load(table, &p)) {
		if (lw_kernel_create(kernel, p.program, variant->function) == LW_OK)
			table->cached++;
		else
			release_kernel_and_program(kernel, &p);
	}
	if (!p.program) {
		LW_GO(compile(table, &p, text));
		LW_GO(lw_kernel_create(kernel, p.program, variant->function));
	}
	table->programs[table->program_count++] = p;
	memset(&p, 0, sizeof p);
out:
	lw_program_destroy(&p.program);
	free(p.source);
	free(p.options);
	free(text);
	return status;
}

/* From a program built already, or a new one. */
static lw_status make_kernel(lw_kernel **kernel, kernel_table *table, const lw_variant *variant)
{
	char *options = NULL;
	lw_status status = LW_OK;

	LW_TRY(compiler_options(&options, lw_device_get_info(table->device), variant));
	for (size_t i = 0; i < table->program_count; i++) {
		built_program *p = &table->programs[i];

		if (strcmp(p->source, variant->source) == 0 && strcmp(p->options, options) == 0) {
			status = lw_kernel_create(kernel, p->program, variant->function);
			goto out;
		}
	}
	status = build(kernel, table, options, variant);
out:
	free(options);
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
		LW_GO(make_kernel(&fresh.kernel, table, variant));
		*place = fresh;
		fresh.bytes = NULL;
		table->kernel_count++;
	}
	*kernel = place->kernel;
out:
	pthread_mutex_unlock(&table->lock);
	free(fresh.bytes);
	return status;
}

lw_status lw_launch_begin(lw_launch *launch, lw_device *device, const lw_variant *variant)
{
	memset(launch, 0, sizeof *launch);
	return lw_kernel_get(&launch->kernel, device, variant);
}

static void save_programs(kernel_table *table)
{
	for (size_t i = 0; i < table->program_count && table->folder; i++) {
		built_program *p = &table->programs[i];
		void *binary;
		size_t size;

		if (p->saved)
			continue;
		p->saved = true;
		if (lw_program_binary(p->program, &binary, &size) != LW_OK) {
			lw_log(LW_LOG_DEBUG, "the compiled %s.cl is not kept: %s", p->source, lw_last_error());
			continue;
		}
		lw_cache_store(table->folder, &p->key, binary, size);
		free(binary);
	}
}

void lw_kernel_cache_save(lw_device *device)
{
	kernel_table *table = lw_device_attachment(device);

	if (!table)
		return;
	pthread_mutex_lock(&table->lock);
	save_programs(table);
	pthread_mutex_unlock(&table->lock);
}

void lw_kernel_statistics(lw_device *device, unsigned *compiled, unsigned *cached)
{
	kernel_table *table = lw_device_attachment(device);

	*compiled = *cached = 0;
	if (!table)
		return;
	pthread_mutex_lock(&table->lock);
	*compiled = table->compiled;
	*cached = table->cached;
	pthread_mutex_unlock(&table->lock);
}
