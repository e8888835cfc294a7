/* Batches in an order that (seed, shuffle, number) alone fixes, assembled ahead by a thread. */
#include "data/data.h"
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* The caller may hold the last two batches that it was given; the rest is room to work ahead. */
enum { SLOTS = 3, HELD = 2 };

/* Keeps the numbers of shuffling apart from those that other purposes draw from the same seed. */
static const uint32_t shuffle_stream = 0x73687566;

struct slot {
	float *images;
	int32_t *labels;
	uint32_t *samples;
	size_t begin, end; /* of its images, those that are there */
};

struct lw_loader {
	const lw_dataset *dataset;
	size_t batch;
	bool shuffle;
	uint32_t seed;
	uint64_t first, per_epoch;
	struct slot slots[SLOTS];

	/* the thread's alone */
	uint32_t *order;
	uint64_t order_epoch;
	bool ordered;

	pthread_mutex_t mutex;
	pthread_cond_t changed;
	pthread_t thread;
	bool started;
	/* under the mutex: numbers of batches, counted from first */
	uint64_t assembled, asked;
	size_t begin, end; /* images that are needed of a batch */
	bool stop;
};

/* Fisher and Yates, from the identity each time, so that an epoch's order depends on none before it. */
static void make_order(lw_loader *loader, uint64_t epoch)
{
	size_t count = loader->dataset->count;

	if (loader->ordered && (loader->order_epoch == epoch || !loader->shuffle))
		return;
	for (size_t i = 0; i < count; i++)
		loader->order[i] = (uint32_t)i;
	for (size_t i = count - 1; loader->shuffle && i > 0; i--) {
		uint64_t bits = lw_random_bits(loader->seed, shuffle_stream, epoch << 32 | i);
		size_t other = (size_t)(bits * (i + 1) >> 32);
		uint32_t index = loader->order[i];

		loader->order[i] = loader->order[other];
		loader->order[other] = index;
	}
	loader->order_epoch = epoch;
	loader->ordered = true;
}

static void fill(const lw_loader *loader, struct slot *slot, size_t begin, size_t end)
{
	for (size_t i = begin; i < end; i++)
		lw_dataset_fill(loader->dataset, slot->samples[i], slot->images + i * loader->dataset->image_bytes, slot->labels + i);
}

static void assemble(lw_loader *loader, uint64_t number, struct slot *slot)
{
	size_t begin = (size_t)(number % loader->per_epoch) * loader->batch;

	make_order(loader, number / loader->per_epoch);
	for (size_t i = 0; i < loader->batch; i++) {
		slot->samples[i] = loader->order[begin + i];
		slot->labels[i] = loader->dataset->labels[slot->samples[i]];
	}
	fill(loader, slot, slot->begin, slot->end);
}

static void *run(void *argument)
{
	lw_loader *loader = argument;

	pthread_mutex_lock(&loader->mutex);
	for (;;) {
		/* Batch n takes the slot of batch n - SLOTS, which must not be one of the last HELD asked for. */
		while (!loader->stop && loader->assembled >= SLOTS && loader->assembled >= loader->asked + SLOTS - HELD)
			pthread_cond_wait(&loader->changed, &loader->mutex);
		if (loader->stop)
			break;
		uint64_t number = loader->assembled;
		struct slot *slot = &loader->slots[number % SLOTS];

		slot->begin = loader->begin;
		slot->end = loader->end;
		pthread_mutex_unlock(&loader->mutex);
		assemble(loader, loader->first + number, slot);
		pthread_mutex_lock(&loader->mutex);
		loader->assembled++;
		pthread_cond_broadcast(&loader->changed);
	}
	pthread_mutex_unlock(&loader->mutex);
	return NULL;
}

/* The thread takes no signals: they are the application's. */
static lw_status start(lw_loader *loader)
{
	sigset_t all, before;
	int error;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&loader->thread, NULL, run, loader);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (error)
		return lw_fail(LW_E_MEMORY, "cannot start the thread that assembles batches: error %d", error);
	loader->started = true;
	return LW_OK;
}

lw_status lw_loader_create(lw_loader **loader, const lw_dataset *dataset, int batch, bool shuffle, uint32_t seed,
			   uint64_t first)
{
	lw_loader *fresh = NULL;
	size_t floats;
	lw_status status;

	*loader = NULL;
	if (batch < 1)
		return lw_fail(LW_E_ARGUMENT, "a batch of %d images, expected at least 1", batch);
	if (dataset->count < (size_t)batch)
		return lw_fail(LW_E_ARGUMENT, "the set has %zu samples, fewer than a batch of %d", dataset->count,
			       batch);
	if (dataset->count > UINT32_MAX)
		return lw_fail(LW_E_ARGUMENT, "the set has %zu samples, expected at most %u", dataset->count,
			       UINT32_MAX);
	if (!lw_mul_size((size_t)batch, dataset->image_bytes, &floats))
		return lw_fail(LW_E_MEMORY, "a batch of %d images is too large", batch);
	LW_TRY(lw_alloc(&fresh, 1, sizeof(*fresh)));
	pthread_mutex_init(&fresh->mutex, NULL);
	pthread_cond_init(&fresh->changed, NULL);
	fresh->dataset = dataset;
	fresh->batch = fresh->end = (size_t)batch;
	fresh->shuffle = shuffle;
	fresh->seed = seed;
	fresh->first = first;
	fresh->per_epoch = dataset->count / (size_t)batch;
	LW_GO(lw_alloc(&fresh->order, dataset->count, sizeof(*fresh->order)));
	for (int i = 0; i < SLOTS; i++) {
		LW_GO(lw_alloc(&fresh->slots[i].images, floats, sizeof(float)));
		LW_GO(lw_alloc(&fresh->slots[i].labels, (size_t)batch, sizeof(int32_t)));
		LW_GO(lw_alloc(&fresh->slots[i].samples, (size_t)batch, sizeof(uint32_t)));
	}
	LW_GO(start(fresh));
	*loader = fresh;
	fresh = NULL;
out:
	lw_loader_destroy(&fresh);
	return status;
}

void lw_loader_destroy(lw_loader **loader)
{
	lw_loader *old = loader ? *loader : NULL;

	if (!old)
		return;
	if (old->started) {
		pthread_mutex_lock(&old->mutex);
		old->stop = true;
		pthread_cond_broadcast(&old->changed);
		pthread_mutex_unlock(&old->mutex);
		pthread_join(old->thread, NULL);
	}
	pthread_cond_destroy(&old->changed);
	pthread_mutex_destroy(&old->mutex);
	for (int i = 0; i < SLOTS; i++) {
		free(old->slots[i].images);
		free(old->slots[i].labels);
		free(old->slots[i].samples);
	}
	free(old->order);
	free(old);
	*loader = NULL;
}

uint64_t lw_loader_batches_per_epoch(const lw_loader *loader) { return loader->per_epoch; }

lw_status lw_loader_next(lw_loader *loader, const float **images, const int32_t **labels)
{
	pthread_mutex_lock(&loader->mutex);
	uint64_t number = loader->asked++;
	const struct slot *slot = &loader->slots[number % SLOTS];

	pthread_cond_broadcast(&loader->changed);
	while (loader->assembled <= number)
		pthread_cond_wait(&loader->changed, &loader->mutex);
	pthread_mutex_unlock(&loader->mutex);
	*images = slot->images;
	*labels = slot->labels;
	return LW_OK;
}

/* The batch is the caller's: the thread does not touch it. */
static void complete(const lw_loader *loader, struct slot *slot, size_t begin, size_t end)
{
	if (begin >= slot->end || end <= slot->begin) {
		fill(loader, slot, begin, end);
		slot->begin = begin;
		slot->end = end;
		return;
	}
	if (begin < slot->begin) {
		fill(loader, slot, begin, slot->begin);
		slot->begin = begin;
	}
	if (end > slot->end) {
		fill(loader, slot, slot->end, end);
		slot->end = end;
	}
}

void lw_loader_need(lw_loader *loader, const float *images, int first, int count)
{
	const size_t begin = (size_t)first, end = (size_t)(first + count);

	pthread_mutex_lock(&loader->mutex);
	loader->begin = begin;
	loader->end = end;
	pthread_mutex_unlock(&loader->mutex);
	for (int i = 0; i < SLOTS; i++)
		if (loader->slots[i].images == images && begin < end)
			complete(loader, &loader->slots[i], begin, end);
}
