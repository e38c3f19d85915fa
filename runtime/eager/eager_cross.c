/* eager_cross.c — cross_spectrum: (c_k/N) conj(X_k) Y_k, summed over batch axes; both parts at once.
 *
 * Threads share out the rows of the result and pieces of its bins; each sums over the batch in order, in
 * f64.
 */
#include "eager.h"
#include "vector_math.h"
#include <string.h>

enum { BINS = 128 }; /* per chunk */

typedef struct Cross {
    FraxDType dtype;
    const char *x, *y;
    char *parts[2]; /* NULL: not wanted */
    int64_t bins, line_bins, line;
    int64_t results, summed; /* rows of the result; batch rows summed into each */
    const int64_t *rows;     /* [results, summed] */
    int64_t pieces;
    double scale;
} Cross;

#define ACCUMULATE(name, T)                                                                                  \
    FOR_EACH_VECTOR_WIDTH static void name(const T *x, const T *y, int64_t n, double *re, double *im) {      \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            double a = x[2 * i], b = x[2 * i + 1], c = y[2 * i], d = y[2 * i + 1];                           \
            re[i] += a * c + b * d;                                                                          \
            im[i] += a * d - b * c;                                                                          \
        }                                                                                                    \
    }
ACCUMULATE(accumulate_f64, double)
ACCUMULATE(accumulate_f32, float)

/* How many bins of the whole spectrum this one stands for, over N. */
static double weight(const Cross *c, int64_t bin) {
    int64_t k = bin % c->line_bins;
    return (k == 0 || 2 * k == c->line ? 1 : 2) * c->scale;
}

static void cross_chunk(const void *context, int64_t chunk) {
    const Cross *c = context;
    int64_t result = chunk / c->pieces, start = chunk % c->pieces * BINS, n = MIN(BINS, c->bins - start);
    double sums[2][BINS] = {{0}};
    for (int64_t i = 0; i < c->summed; i++) {
        int64_t at = 2 * (c->rows[result * c->summed + i] * c->bins + start);
        if (c->dtype == FRAX_F64)
            accumulate_f64((const double *)c->x + at, (const double *)c->y + at, n, sums[0], sums[1]);
        else
            accumulate_f32((const float *)c->x + at, (const float *)c->y + at, n, sums[0], sums[1]);
    }
    for (int part = 0; part < 2; part++)
        for (int64_t i = 0; c->parts[part] && i < n; i++) {
            double v = sums[part][i] * weight(c, start + i);
            if (c->dtype == FRAX_F64)
                ((double *)c->parts[part])[result * c->bins + start + i] = v;
            else
                ((float *)c->parts[part])[result * c->bins + start + i] = (float)v;
        }
}

static FraxStatus compute(Run *run, Value v, const Value nodes[2], Cross *c) {
    const Node *node = graph_node(run->graph, v);
    uint8_t perm[MAX_RANK];
    axes_last(node->type.shape.rank, node->attrs->axes, perm);
    int rank = node->type.shape.rank - __builtin_popcount(node->attrs->axes);
    View batch = {.shape = graph_type(run->graph, node->args[0])->shape},
         result = {.shape = node->type.shape};
    batch = view_permuted(&batch, perm);
    result = view_permuted(&result, perm);
    View out[2] = {0};
    Buffer *rows = NULL;
    FraxStatus status = summed_rows(run, &batch.shape, &result.shape, rank, &c->results, &c->summed, &rows);
    if (!status) c->rows = (const int64_t *)rows->data;
    for (int part = 0; part < 2 && !status; part++) {
        if (nodes[part] == NO_VALUE) continue;
        status = view_create(run, node->type.dtype, &result.shape, &out[part]);
        c->parts[part] = out[part].data;
    }
    double work = 2 * (double)c->results * (double)c->summed * (double)c->bins;
    if (!status) for_chunks(run, work, c->results * c->pieces, cross_chunk, c);
    for (int part = 0; part < 2; part++) {
        if (nodes[part] == NO_VALUE) continue;
        if (status)
            view_drop(run, &out[part]);
        else
            run->values[nodes[part]] = view_unpermuted(&out[part], perm);
    }
    pool_give(run->eager->pool, rows);
    return status;
}

FraxStatus eager_cross_spectrum(Run *run, Value v) {
    if (run->values[v].data) return FRAX_OK; /* computed together with the other part */
    const Node *node = graph_node(run->graph, v);
    const Spectrum *s = &run->eager->spectrum[run->eager->spectra[v][0]];
    Value partner = run->eager->partner[v];
    Value nodes[2] = {partner, partner};
    nodes[node->attrs->part] = v;
    Cross c = {.dtype = node->type.dtype,
               .bins = s->bins,
               .line = s->shape.dims[s->shape.rank - 1],
               .pieces = chunks_of(s->bins, BINS),
               .scale = 1 / (double)s->points};
    c.line_bins = c.line / 2 + 1;
    Buffer *x, *y;
    FraxStatus status = spectrum_get(run, v, 0, &x);
    if (status) return status;
    status = spectrum_get(run, v, 1, &y);
    if (status) return status;
    c.x = x->data, c.y = y->data;
    status = compute(run, v, nodes, &c);
    for (int part = 0; part < 2; part++)
        for (int i = 0; nodes[part] != NO_VALUE && i < 2; i++) spectrum_release(run, nodes[part], i);
    return status;
}
