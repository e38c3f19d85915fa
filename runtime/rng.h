/* rng.h — random numbers by counting: element i of a stream is a function of (seed, stream, i) alone, so
 * arrays can be filled in any order by any number of threads, and each parameter and input takes a stream of
 * its own.
 */
#ifndef FRAX_RNG_H
#define FRAX_RNG_H

#include "ir.h"

typedef struct Rng {
    uint64_t seed;
    uint32_t stream;
} Rng;

double rng_uniform(Rng rng, uint64_t i);    /* [0, 1), a multiple of 2^-53 */
float rng_uniform_f32(Rng rng, uint64_t i); /* [0, 1), a multiple of 2^-24 */
double rng_normal(Rng rng, uint64_t i);     /* mean 0, variance 1; by Box and Muller (1958) */

/* The initial value of a param node (op, type and attributes) into data, dense. value and value2 of INIT_*:
   constant c; normal: standard deviation; uniform: ends. Fans are the last two axes, [in, out]; a vector's
   are both its size, a scalar's 1. */
void param_init(const Node *param, uint64_t seed, uint32_t stream, void *data);
/* Noise for an input without data: floats standard normal, i32 uniform in 0 … range − 1 (range ≥ 1), bool a
   fair coin. */
void fill_noise(FraxTensor *tensor, uint64_t seed, uint32_t stream, int32_t range);

#endif
