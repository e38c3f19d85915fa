/* bandwidth.c — see bandwidth.h. The loop adds one, lest the compiler call memcpy, whose non-temporal stores
 * would make it another measurement.
 */
#include "bandwidth.h"
#include "base.h"
#include <omp.h>
#include <time.h>

enum { BYTES = 128 * 1024 * 1024, WORDS = BYTES / 8, ROUNDS = 7 };

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void copy(uint64_t *to, const uint64_t *from, int threads) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
    for (int64_t i = 0; i < WORDS; i++) to[i] = from[i] + 1;
}

double copy_bandwidth(int threads) {
    if (threads <= 0) threads = omp_get_max_threads();
    uint64_t *from = mem_aligned(BYTES), *to = mem_aligned(BYTES);
    double best = 0;
    if (from && to) {
#pragma omp parallel for simd num_threads(threads) schedule(static)
        for (int64_t i = 0; i < WORDS; i++)
            from[i] = (uint64_t)i; /* each thread touches its own pages first */
        copy(to, from, threads);
        for (int round = 0; round < ROUNDS; round++) {
            double start = seconds();
            copy(to, from, threads);
            best = MAX(best, 2.0 * BYTES / (seconds() - start));
        }
    }
    mem_free(from);
    mem_free(to);
    return best;
}
