/* Workers: a mutex, a condition, a job. */
#include "sched/worker.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct lw_worker {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	lw_status (*job)(void *user); /* NULL: none is under way */
	void *user;
	bool leaving;
	lw_status status;
	char failure[1024];
};

static void *work(void *argument)
{
	lw_worker *w = argument;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		lw_status status;

		while (!w->job && !w->leaving)
			pthread_cond_wait(&w->changed, &w->lock);
		if (!w->job)
			break;
		pthread_mutex_unlock(&w->lock);
		status = w->job(w->user);
		pthread_mutex_lock(&w->lock);
		w->status = status;
		if (status != LW_OK)
			snprintf(w->failure, sizeof w->failure, "%s", lw_last_error());
		w->job = NULL;
		pthread_cond_broadcast(&w->changed);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

lw_status lw_worker_create(lw_worker **worker)
{
	lw_worker *w;
	int error;

	*worker = NULL;
	LW_TRY(lw_alloc(&w, 1, sizeof *w));
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->changed, NULL);
	error = pthread_create(&w->thread, NULL, work, w);
	if (error) {
		pthread_mutex_destroy(&w->lock);
		pthread_cond_destroy(&w->changed);
		free(w);
		return lw_fail(LW_E_MEMORY, "no thread could be made for a device: %s", strerror(error));
	}
	*worker = w;
	return LW_OK;
}

void lw_worker_destroy(lw_worker **worker)
{
	lw_worker *w = *worker;

	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->leaving = true;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
	pthread_join(w->thread, NULL);
	pthread_mutex_destroy(&w->lock);
	pthread_cond_destroy(&w->changed);
	free(w);
	*worker = NULL;
}

void lw_worker_start(lw_worker *w, lw_status (*job)(void *user), void *user)
{
	pthread_mutex_lock(&w->lock);
	w->job = job;
	w->user = user;
	w->status = LW_OK;
	pthread_cond_broadcast(&w->changed);
	pthread_mutex_unlock(&w->lock);
}

lw_status lw_worker_wait(lw_worker *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->job)
		pthread_cond_wait(&w->changed, &w->lock);
	pthread_mutex_unlock(&w->lock);
	return w->status == LW_OK ? LW_OK : lw_fail(w->status, "%s", w->failure);
}
