/* scratch_pool.h — buffers of one size for work that cannot fail: the pool is born with one, gets more while
 * several threads work at once, and where memory is short a thread waits for a buffer of another.
 */
#ifndef FRAX_SCRATCH_POOL_H
#define FRAX_SCRATCH_POOL_H

#include "base.h"
#include <pthread.h>
#include <stddef.h>

typedef struct ScratchPool {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    size_t bytes;
    struct Scratch *idle;
} ScratchPool;

/* False when out of memory; scratch_pool_destroy is due in either case. */
bool scratch_pool_create(ScratchPool *pool, size_t bytes);
void scratch_pool_destroy(ScratchPool *pool); /* all buffers are back */
void *scratch_take(ScratchPool *pool);        /* 64-byte aligned, never NULL */
void scratch_give(ScratchPool *pool, void *data);

#endif
