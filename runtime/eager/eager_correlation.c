/* eager_correlation.c — causal_correlation: q_j = Σ_t y_t x_{t−j}, j < n, summed over batch axes; the adjoint
 * of causal_conv in its weights.
 *
 * Directly, or by transforms as long as those of the convolution, so that both share the spectrum of x: the
 * first n samples of the inverse transform of Σ conj(X)·Y. Threads share out rows of the result and pieces of
 * its lags or bins; each sums over the batch in order, in f64.
 */
#include "eager.h"
#include "vector_math.h"
#include <string.h>

enum { PIECE = 64 }; /* lags or bins per chunk */

typedef struct Correlation {
    FraxDType dtype;
    const char *x, *y;     /* rows of samples, or of interleaved bins */
    char *out;             /* rows of lags, or of interleaved bins */
    int64_t length, count; /* of a row: samples or bins; lags or bins of the result */
    int64_t results, summed, pieces;
    const int64_t *rows; /* [results, summed] */
    double scale;        /* of bins */
} Correlation;

#define PRAGMA(text) _Pragma(#text)

#define CORRELATE(name, T)                                                                                   \
    FOR_EACH_VECTOR_WIDTH static double name(const T *y, const T *x, int64_t n) {                            \
        enum { BLOCK = 256 };                                                                                \
        double total = 0;                                                                                    \
        for (int64_t start = 0; start < n; start += BLOCK) {                                                 \
            T sum = 0;                                                                                       \
            PRAGMA(omp simd reduction(+ : sum))                                                              \
            for (int64_t t = start; t < MIN(n, start + BLOCK); t++) sum += y[t] * x[t];                      \
            total += (double)sum;                                                                            \
        }                                                                                                    \
        return total;                                                                                        \
    }                                                                                                        \
    FOR_EACH_VECTOR_WIDTH static void name##_bins(const T *x, const T *y, int64_t n, double *sums) {         \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            double a = x[2 * i], b = x[2 * i + 1], c = y[2 * i], d = y[2 * i + 1];                           \
            sums[2 * i] += a * c + b * d;                                                                    \
            sums[2 * i + 1] += a * d - b * c;                                                                \
        }                                                                                                    \
    }
CORRELATE(correlate_f64, double)
CORRELATE(correlate_f32, float)

static void store_sum(const Correlation *c, int64_t at, double value) {
    if (c->dtype == FRAX_F64)
        ((double *)c->out)[at] = value;
    else
        ((float *)c->out)[at] = (float)value;
}

static void lags_chunk(const void *context, int64_t chunk) {
    const Correlation *c = context;
    int64_t result = chunk / c->pieces, first = chunk % c->pieces * PIECE;
    for (int64_t j = first; j < MIN(c->count, first + PIECE); j++) {
        double sum = 0;
        for (int64_t i = 0; i < c->summed; i++) {
            int64_t row = c->rows[result * c->summed + i] * c->length, n = c->length - j;
            sum += c->dtype == FRAX_F64
                       ? correlate_f64((const double *)c->y + row + j, (const double *)c->x + row, n)
                       : correlate_f32((const float *)c->y + row + j, (const float *)c->x + row, n);
        }
        store_sum(c, result * c->count + j, sum);
    }
}

static void bins_chunk(const void *context, int64_t chunk) {
    const Correlation *c = context;
    int64_t result = chunk / c->pieces, first = chunk % c->pieces * PIECE;
    int64_t n = MIN(PIECE, c->count - first);
    double sums[2 * PIECE] = {0};
    for (int64_t i = 0; i < c->summed; i++) {
        int64_t at = 2 * (c->rows[result * c->summed + i] * c->length + first);
        if (c->dtype == FRAX_F64)
            correlate_f64_bins((const double *)c->x + at, (const double *)c->y + at, n, sums);
        else
            correlate_f32_bins((const float *)c->x + at, (const float *)c->y + at, n, sums);
    }
    for (int64_t i = 0; i < 2 * n; i++) store_sum(c, 2 * (result * c->count + first) + i, sums[i] * c->scale);
}

/* `visits`: element visits of one sum. */
static void correlate(const Run *run, Correlation *c, double visits, ChunkBody *body) {
    c->pieces = chunks_of(c->count, PIECE);
    double work = (double)c->results * (double)c->summed * (double)c->count * visits;
    for_chunks(run, work, c->results * c->pieces, body, c);
}

static FraxStatus by_lags(Run *run, Value v, const uint8_t *perm, Correlation *c, View *out) {
    View x = view_permuted(run_operand(run, v, 0), perm), y = view_permuted(run_operand(run, v, 1), perm);
    View dense[2] = {0};
    FraxStatus status = view_dense(run, &x, c->dtype, &dense[0]);
    if (!status) status = view_dense(run, &y, c->dtype, &dense[1]);
    if (!status) status = view_create(run, c->dtype, &out->shape, out);
    if (!status) {
        c->x = dense[0].data, c->y = dense[1].data, c->out = out->data;
        c->length = x.shape.dims[x.shape.rank - 1];
        c->count = out->shape.dims[out->shape.rank - 1];
        correlate(run, c, (double)c->length / 16, lags_chunk);
    }
    view_drop(run, &dense[0]);
    view_drop(run, &dense[1]);
    return status;
}

static FraxStatus by_bins(Run *run, Value v, Correlation *c, View *out) {
    const Spectrum *s = &run->eager->spectrum[run->eager->spectra[v][2]];
    Shape lags = out->shape, padded = lags;
    padded.dims[padded.rank - 1] = s->padded;
    Buffer *x, *y, *product = NULL;
    FraxStatus status = spectrum_get(run, v, 0, &x);
    if (status) return status;
    status = spectrum_get(run, v, 1, &y);
    if (status) return status;
    status = run_scratch(run, (size_t)(s->rows * s->bins) * 2 * frax_dtype_size(c->dtype), &product);
    if (!status) status = view_create(run, c->dtype, &padded, out);
    if (!status) {
        c->x = x->data, c->y = y->data, c->out = product->data;
        c->length = c->count = s->bins;
        c->scale = 1 / (double)s->points;
        correlate(run, c, 2, bins_chunk);
        spectrum_inverse(run, s, product, out);
        out->shape = lags; /* the first n samples of each row */
    }
    pool_give(run->eager->pool, product);
    spectrum_release(run, v, 0);
    spectrum_release(run, v, 1);
    return status;
}

FraxStatus eager_causal_correlation(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    uint8_t perm[MAX_RANK];
    int rank = node->type.shape.rank;
    axes_last(rank, 1u << node->attrs->axis, perm);
    View batch = {.shape = graph_type(run->graph, node->args[0])->shape}, out = {.shape = node->type.shape};
    batch = view_permuted(&batch, perm);
    out = view_permuted(&out, perm);
    Correlation c = {.dtype = node->type.dtype};
    Buffer *rows = NULL;
    FraxStatus status = summed_rows(run, &batch.shape, &out.shape, rank - 1, &c.results, &c.summed, &rows);
    if (status) return status;
    c.rows = (const int64_t *)rows->data;
    status = run->eager->spectra[v][0] < 0 ? by_lags(run, v, perm, &c, &out) : by_bins(run, v, &c, &out);
    if (!status) run->values[v] = view_unpermuted(&out, perm);
    pool_give(run->eager->pool, rows);
    return status;
}
