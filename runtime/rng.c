/* rng.c — see rng.h. A block of the generator is 128 bits: two elements. */
#include "rng.h"
#include "half.h"
#include "philox.h"
#include "team.h"
#include <math.h>
#include <omp.h>

/* The two 64-bit words of a block. */
static void block_words(Rng rng, uint64_t block, uint64_t words[2]) {
    uint32_t counter[4] = {(uint32_t)block, (uint32_t)(block >> 32), rng.stream, 0}, out[4];
    philox4x32(counter, (uint32_t[]){(uint32_t)rng.seed, (uint32_t)(rng.seed >> 32)}, out);
    words[0] = out[0] | (uint64_t)out[1] << 32;
    words[1] = out[2] | (uint64_t)out[3] << 32;
}

static double unit(uint64_t word) {
    return (double)(word >> 11) * 0x1p-53;
}

double rng_uniform(Rng rng, uint64_t i) {
    uint64_t words[2];
    block_words(rng, i / 2, words);
    return unit(words[i % 2]);
}

float rng_uniform_f32(Rng rng, uint64_t i) {
    uint64_t words[2];
    block_words(rng, i / 2, words);
    return (float)(words[i % 2] >> 40) * 0x1p-24f;
}

static void normal_pair(Rng rng, uint64_t block, double pair[2]) {
    uint64_t words[2];
    block_words(rng, block, words);
    double radius = sqrt(-2 * log1p(-unit(words[0]))); /* 1 − u is in (0, 1] */
    double angle = 2 * M_PI * unit(words[1]);
    pair[0] = radius * cos(angle);
    pair[1] = radius * sin(angle);
}

double rng_normal(Rng rng, uint64_t i) {
    double pair[2];
    normal_pair(rng, i / 2, pair);
    return pair[i % 2];
}

/* ---- Arrays ---- */

enum { PARALLEL_BLOCKS = 8192 }; /* from here on threads are worth their start */

static void fill_normal(Rng rng, double scale, FraxDType dtype, void *data, int64_t n) {
    int64_t blocks = (n + 1) / 2;
    int team = blocks < PARALLEL_BLOCKS ? 1 : team_size(omp_get_max_threads());
#pragma omp parallel for num_threads(team) if (team > 1)
    for (int64_t b = 0; b < blocks; b++) {
        double pair[2];
        normal_pair(rng, (uint64_t)b, pair);
        element_set(data, dtype, 2 * b, scale * pair[0]);
        if (2 * b + 1 < n) element_set(data, dtype, 2 * b + 1, scale * pair[1]);
    }
}

static void fill_uniform(Rng rng, double lo, double hi, FraxDType dtype, void *data, int64_t n) {
    int team = n < PARALLEL_BLOCKS ? 1 : team_size(omp_get_max_threads());
#pragma omp parallel for num_threads(team) if (team > 1)
    for (int64_t i = 0; i < n; i++)
        element_set(data, dtype, i, lo + (hi - lo) * rng_uniform(rng, (uint64_t)i));
}

static void fans(const Shape *shape, double *in, double *out) {
    int r = shape->rank;
    *out = r ? (double)MAX(shape->dims[r - 1], 1) : 1;
    *in = r > 1 ? (double)MAX(shape->dims[r - 2], 1) : *out;
}

void param_init(const Node *param, uint64_t seed, uint32_t stream, void *data) {
    const Attrs *at = param->attrs;
    FraxDType dtype = param->type.dtype;
    int64_t n = shape_size(&param->type.shape);
    Rng rng = {seed, stream};
    double in, out;
    fans(&param->type.shape, &in, &out);
    switch ((Init)at->init) {
    case INIT_CONSTANT:
        for (int64_t i = 0; i < n; i++) element_set(data, dtype, i, at->value);
        break;
    case INIT_NORMAL: fill_normal(rng, at->value, dtype, data, n); break;
    case INIT_UNIFORM: fill_uniform(rng, at->value, at->value2, dtype, data, n); break;
    case INIT_GLOROT: /* Glorot and Bengio 2010, eq. 16 */
        fill_uniform(rng, -sqrt(6 / (in + out)), sqrt(6 / (in + out)), dtype, data, n);
        break;
    case INIT_HE: fill_normal(rng, sqrt(2 / in), dtype, data, n); break; /* He et al. 2015, eq. 10 */
    case INIT_COUNT: break;
    }
}

void fill_noise(FraxTensor *tensor, uint64_t seed, uint32_t stream, int32_t range) {
    Rng rng = {seed, stream};
    int64_t n = 1;
    for (int i = 0; i < tensor->rank; i++) n *= tensor->dims[i];
    if (dtype_is_float(tensor->dtype)) {
        fill_normal(rng, 1, tensor->dtype, tensor->data, n);
        return;
    }
    bool coin = tensor->dtype == FRAX_BOOL;
    for (int64_t i = 0; i < n; i++) {
        double u = rng_uniform(rng, (uint64_t)i);
        element_set(tensor->data, tensor->dtype, i, coin ? u < 0.5 : floor(u * range));
    }
}
