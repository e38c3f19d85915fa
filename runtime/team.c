/* team.c — see team.h. What has happened to the process is the process's: two flags, set once. */
#include "team.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

static atomic_bool has_teams, is_orphaned;

static void after_fork(void) {
    if (atomic_load(&has_teams)) atomic_store(&is_orphaned, true);
}

static void watch_forks(void) {
    pthread_atfork(NULL, NULL, after_fork);
}

int team_size(int64_t wanted) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (wanted <= 1 || atomic_load_explicit(&is_orphaned, memory_order_relaxed)) return 1;
    pthread_once(&once, watch_forks);
    atomic_store_explicit(&has_teams, true, memory_order_relaxed);
    return (int)wanted;
}
