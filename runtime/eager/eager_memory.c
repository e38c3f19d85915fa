/* eager_memory.c — the pool of buffers that the runs of one Eager share, and chunks spread over threads.
 *
 * The pool is a caching allocator: a buffer that is given back waits for the next node or run that needs one
 * of its size, up to a quarter larger. When the system has no memory left, everything idle is freed and the
 * request is tried once more.
 */
#include "eager.h"
#include "program.h"
#include "team.h"
#include <pthread.h>

struct Pool {
    pthread_mutex_t lock;
    Buffer *idle;
};

Pool *pool_create(void) {
    Pool *pool = mem_calloc(1, sizeof *pool);
    if (pool) pthread_mutex_init(&pool->lock, NULL);
    return pool;
}

static void free_list(Buffer *buffer) {
    for (Buffer *next; buffer; buffer = next) {
        next = buffer->next;
        mem_free(buffer);
    }
}

void pool_destroy(Pool *pool) {
    if (!pool) return;
    free_list(pool->idle);
    pthread_mutex_destroy(&pool->lock);
    mem_free(pool);
}

/* Takes the smallest idle buffer that fits, or NULL. */
static Buffer *reuse(Pool *pool, size_t bytes) {
    Buffer **best = NULL;
    pthread_mutex_lock(&pool->lock);
    for (Buffer **at = &pool->idle; *at; at = &(*at)->next)
        if ((*at)->bytes >= bytes && (*at)->bytes <= bytes + bytes / 4 &&
            (!best || (*at)->bytes < (*best)->bytes))
            best = at;
    Buffer *buffer = best ? *best : NULL;
    if (best) *best = buffer->next;
    pthread_mutex_unlock(&pool->lock);
    return buffer;
}

static void free_idle(Pool *pool) {
    pthread_mutex_lock(&pool->lock);
    Buffer *idle = pool->idle;
    pool->idle = NULL;
    pthread_mutex_unlock(&pool->lock);
    free_list(idle);
}

Buffer *pool_take(Pool *pool, size_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + 255) / 256 * 256 + (bytes == 0) * 256;
    Buffer *buffer = reuse(pool, bytes);
    if (!buffer) {
        buffer = mem_aligned(sizeof *buffer + bytes);
        if (!buffer) {
            free_idle(pool);
            buffer = mem_aligned(sizeof *buffer + bytes);
        }
        if (!buffer) return NULL;
        buffer->bytes = bytes;
    }
    buffer->views = 1;
    return buffer;
}

void pool_give(Pool *pool, Buffer *buffer) {
    if (!buffer || --buffer->views > 0) return;
    pthread_mutex_lock(&pool->lock);
    buffer->next = pool->idle;
    pool->idle = buffer;
    pthread_mutex_unlock(&pool->lock);
}

FraxStatus run_scratch(Run *run, size_t bytes, Buffer **buffer) {
    *buffer = pool_take(run->eager->pool, bytes);
    return *buffer ? FRAX_OK : fail_memory(run->err, "running a graph eagerly");
}

void for_chunks(const Run *run, double work, int64_t chunks, ChunkBody *body, const void *context) {
    int team = work < PARALLEL_WORK ? 1 : team_size(MIN(run->eager->threads, chunks));
    if (team == 1) {
        for (int64_t i = 0; i < chunks; i++) body(context, i);
        return;
    }
#pragma omp parallel for num_threads(team) schedule(static)
    for (int64_t i = 0; i < chunks; i++) body(context, i);
}
