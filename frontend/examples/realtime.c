/* realtime.c — a fractional filter in a real-time loop, from an object compiled ahead of time.
 *
 *     frax compile pink.frax --size T=48000 --stream T:64 --params -o pink     # a chunk of 64 samples a run
 *     frax compile pink.frax --size T=48000               --params -o whole    # the whole second at once
 *     cc realtime.c pink.o whole.o -lm -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
 *         -Wl,--wrap=posix_memalign,--wrap=aligned_alloc -o realtime && ./realtime
 *
 * No part of frax runs here: pink.h tells what pink.o wants. At 48 kHz a chunk comes every 1333 µs and its
 * result leaves with it, so the latency is 64 samples, always. Nothing in the loop may wait: no locks, no
 * files, no allocation. The last is checked: the linker's --wrap sends each call of malloc and its kin, by
 * this program or by the objects, through the counters below.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "pink.h"
#include "whole.h"

enum { CHUNKS = PINK_T / PINK_CHUNK };

/* ---- The hook ---- */

static long allocations;

#define COUNTED(result, name, parameters, arguments)                                                         \
    result __real_##name parameters;                                                                         \
    result __wrap_##name parameters;                                                                         \
    result __wrap_##name parameters {                                                                        \
        allocations++;                                                                                       \
        return __real_##name arguments;                                                                      \
    }
COUNTED(void *, malloc, (size_t n), (n))
COUNTED(void *, calloc, (size_t n, size_t size), (n, size))
COUNTED(void *, realloc, (void *p, size_t n), (p, n))
COUNTED(void, free, (void *p), (p))
COUNTED(int, posix_memalign, (void **p, size_t alignment, size_t n), (p, alignment, n))
COUNTED(void *, aligned_alloc, (size_t alignment, size_t n), (alignment, n))

/* A hook that counts nothing would find nothing. Without volatile the compiler may leave out both calls. */
static int hook_works(void) {
    void *volatile p = malloc(1);
    free(p);
    return allocations == 2;
}

/* ---- The filter: all its memory, set aside before the first chunk ---- */

static pink_states states; /* zeros */
static _Alignas(64) unsigned char workspace[PINK_WORKSPACE_BYTES];

/* A chunk in, a chunk out. The states are replaced: the next call carries on from here. */
static int filter(const float *x, float *y) {
    return pink_next(x, pink_initial_gain, y, &states, workspace);
}

/* ---- The loop ---- */

static double microseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The largest difference from the whole signal filtered at once, relative to its largest value. */
static double difference(const float *x, const float *y) {
    static float at_once[WHOLE_T];
    double most = 0, largest = 0;
    void *space = aligned_alloc(64, (WHOLE_WORKSPACE_BYTES + 64) / 64 * 64); /* no hurry here */
    if (!space || whole_call(x, whole_initial_gain, at_once, space)) return INFINITY;
    free(space);
    for (int t = 0; t < WHOLE_T; t++) {
        most = fmax(most, fabs((double)y[t] - at_once[t]));
        largest = fmax(largest, fabs(at_once[t]));
    }
    return most / largest;
}

int main(void) {
    static float signal[PINK_T], result[PINK_T];
    static double time[CHUNKS];
    unsigned seed = 1;
    for (int t = 0; t < PINK_T / 2; t++) { /* half a second of noise, then silence */
        seed = seed * 1664525u + 1013904223u;
        signal[t] = (float)seed / 2147483648.0f - 1.0f;
    }
    if (!hook_works()) return fprintf(stderr, "the hook counts no allocations: link with --wrap\n"), 1;

    long before = allocations;
    for (int i = 0; i < CHUNKS; i++) {
        float x[PINK_CHUNK], y[PINK_CHUNK]; /* the driver's buffers, say */
        memcpy(x, signal + i * PINK_CHUNK, sizeof x);
        double start = microseconds();
        if (filter(x, y)) return fprintf(stderr, "the filter failed\n"), 1;
        time[i] = microseconds() - start;
        memcpy(result + i * PINK_CHUNK, y, sizeof y);
    }
    long during = allocations - before;

    double apart = difference(signal, result);
    qsort(time, CHUNKS, sizeof *time, by_size);
    printf("%d chunks of %d samples, one every %.0f us\n", CHUNKS, PINK_CHUNK, 1e6 * PINK_CHUNK / 48000);
    printf("time of a chunk: median %.2f us, worst %.2f us\n", time[CHUNKS / 2], time[CHUNKS - 1]);
    printf("allocations in the loop: %ld\n", during);
    printf("largest difference from the signal at once: %.1e of its peak\n", apart);
    /* Results are rounded to f32, 6e-8, and summed in another order. Times are not judged: other work may
       share this machine. */
    return during != 0 || !(apart < 1e-6);
}
