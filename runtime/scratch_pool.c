/* scratch_pool.c — see scratch_pool.h. */
#include "scratch_pool.h"

typedef struct Scratch {
    struct Scratch *next; /* in the list of idle ones */
    _Alignas(64) char data[];
} Scratch;

static Scratch *scratch_create(size_t bytes) {
    return mem_aligned(sizeof(Scratch) + bytes);
}

bool scratch_pool_create(ScratchPool *pool, size_t bytes) {
    *pool = (ScratchPool){.bytes = bytes};
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->returned, NULL);
    pool->idle = scratch_create(bytes);
    if (pool->idle) pool->idle->next = NULL;
    return pool->idle;
}

void scratch_pool_destroy(ScratchPool *pool) {
    for (Scratch *s = pool->idle, *next; s; s = next) {
        next = s->next;
        mem_free(s);
    }
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->returned);
}

void *scratch_take(ScratchPool *pool) {
    pthread_mutex_lock(&pool->lock);
    Scratch *scratch = pool->idle ? NULL : scratch_create(pool->bytes);
    while (!scratch) {
        while (!pool->idle) pthread_cond_wait(&pool->returned, &pool->lock);
        scratch = pool->idle;
        pool->idle = scratch->next;
    }
    pthread_mutex_unlock(&pool->lock);
    return scratch->data;
}

void scratch_give(ScratchPool *pool, void *data) {
    Scratch *scratch = (Scratch *)((char *)data - offsetof(Scratch, data));
    pthread_mutex_lock(&pool->lock);
    scratch->next = pool->idle;
    pool->idle = scratch;
    pthread_cond_signal(&pool->returned);
    pthread_mutex_unlock(&pool->lock);
}
