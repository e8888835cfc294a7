/* sched/worker: a thread that does one job after another and sleeps between them. */
#ifndef LW_SCHED_WORKER_H
#define LW_SCHED_WORKER_H

#include "base/base.h"

typedef struct lw_worker lw_worker;

lw_status lw_worker_create(lw_worker **worker);
/* Waits for the job that is under way. */
void lw_worker_destroy(lw_worker **worker);
/* One job at a time: lw_worker_wait comes before the next. */
void lw_worker_start(lw_worker *worker, lw_status (*job)(void *user), void *user);
/* What the job returned; its error text becomes this thread's. */
lw_status lw_worker_wait(lw_worker *worker);

#endif
