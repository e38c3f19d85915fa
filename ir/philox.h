/* philox.h — Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011: Parallel random numbers: as easy as 1, 2, 3):
 * 128 random bits as a function of a counter and a key, the same on every target and for any number of
 * threads.
 *
 * Who draws, by the last two words of the counter:
 *   stream, 0          initial values of params, noise for inputs (runtime/rng.c)
 *   stream, 1          the op `uniform`, here
 *   epoch, 2^32 − 1    the order of mini-batches (frontend/fit/batches.c)
 *   0, 2^32 − 2        the keys of a fit's steps (frontend/fit/keys.c)
 */
#ifndef FRAX_PHILOX_H
#define FRAX_PHILOX_H

#include <stdbool.h>
#include <stdint.h>

enum { PHILOX_ROUNDS = 10 };
#define PHILOX_M0 0xd2511f53u
#define PHILOX_M1 0xcd9e8d57u
#define PHILOX_W0 0x9e3779b9u /* golden ratio */
#define PHILOX_W1 0xbb67ae85u /* √3 − 1 */
/* Last words of counters. */
#define PHILOX_UNIFORM 1u
#define PHILOX_ROWS    UINT32_MAX
#define PHILOX_STEPS   (UINT32_MAX - 1)

static inline void philox4x32(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]) {
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]}, k0 = key[0], k1 = key[1];
    for (int round = 0; round < PHILOX_ROUNDS; round++) {
        uint64_t p = (uint64_t)PHILOX_M0 * c[0], q = (uint64_t)PHILOX_M1 * c[2];
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(q >> 32) ^ c1 ^ k0, c[1] = (uint32_t)q;
        c[2] = (uint32_t)(p >> 32) ^ c3 ^ k1, c[3] = (uint32_t)p;
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
    for (int i = 0; i < 4; i++) out[i] = c[i];
}

/* What the op `uniform` draws (g_uniform in ir.h). */
typedef struct PhiloxDraw {
    uint32_t key[2], stream;
    int which;
    bool wide; /* 52 bits; else 23 */
} PhiloxDraw;

/* Number i, in (0, 1): the middle of one of 2^52 or 2^23 equal parts, so that neither end occurs. */
static inline double philox_uniform(const PhiloxDraw *draw, uint32_t i) {
    uint32_t out[4];
    philox4x32((uint32_t[]){i, 0, draw->stream, PHILOX_UNIFORM}, draw->key, out);
    if (!draw->wide) return ((double)(out[draw->which] >> 9) + 0.5) * 0x1p-23;
    uint64_t word = out[2 * draw->which] | (uint64_t)out[2 * draw->which + 1] << 32;
    return ((double)(word >> 12) + 0.5) * 0x1p-52;
}

#endif
