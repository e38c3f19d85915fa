/* eager_conv.c — causal convolution, directly or by zero-padded transforms, and Grünwald weights. */
#include "eager.h"
#include "eager_math.h"
#include <string.h>

/* ---- Direct: tiles of outputs, lags in groups, each group's sum added in f64 ---- */

enum { OUTPUTS = 256, LAGS = 64 };

/* y_n = Σ_{j≤n} w_j x_{n−j}, n < length. */
#define CONVOLVE(name, T)                                                                                    \
    FOR_EACH_VECTOR_WIDTH static void name(const T *w, const T *x, T *y, int64_t length) {                   \
        for (int64_t start = 0; start < length; start += OUTPUTS) {                                          \
            int64_t n = MIN(OUTPUTS, length - start);                                                        \
            double total[OUTPUTS] = {0};                                                                     \
            for (int64_t lag = 0; lag < start + n; lag += LAGS) {                                            \
                T group[OUTPUTS] = {0};                                                                      \
                int64_t end = MIN(start + n, lag + LAGS);                                                    \
                for (int64_t j = lag; j < end; j++) {                                                        \
                    int64_t first = MAX(0, j - start); /* history before the first sample is zero */         \
                    const T *from = x + start - j;                                                           \
                    T wj = w[j];                                                                             \
                    VECTORISED                                                                               \
                    for (int64_t i = first; i < n; i++) group[i] += wj * from[i];                            \
                }                                                                                            \
                VECTORISED                                                                                   \
                for (int64_t i = 0; i < n; i++) total[i] += (double)group[i];                                \
            }                                                                                                \
            for (int64_t i = 0; i < n; i++) y[start + i] = (T)total[i];                                      \
        }                                                                                                    \
    }
CONVOLVE(convolve_f64, double)
CONVOLVE(convolve_f32, float)

typedef struct Direct {
    FraxDType dtype;
    const char *w, *x;
    char *y;
    const int64_t *w_of_row;
    int64_t rows, length, per_chunk;
} Direct;

static void direct_chunk(const void *context, int64_t chunk) {
    const Direct *d = context;
    int64_t end = MIN(d->rows, (chunk + 1) * d->per_chunk), size = (int64_t)frax_dtype_size(d->dtype);
    for (int64_t r = chunk * d->per_chunk; r < end; r++) {
        const void *w = d->w + d->w_of_row[r] * d->length * size, *x = d->x + r * d->length * size;
        void *y = d->y + r * d->length * size;
        if (d->dtype == FRAX_F64)
            convolve_f64(w, x, y, d->length);
        else
            convolve_f32(w, x, y, d->length);
    }
}

static FraxStatus convolve_directly(Run *run, Value v, const uint8_t *perm, Buffer *rows, int64_t count) {
    const Node *node = graph_node(run->graph, v);
    View operands[2] = {0}, y;
    FraxStatus status = FRAX_OK;
    for (int i = 0; i < 2 && !status; i++) {
        View permuted = view_permuted(run_operand(run, v, i), perm);
        status = view_dense(run, &permuted, node->type.dtype, &operands[i]);
    }
    if (!status) status = view_create(run, node->type.dtype, &operands[1].shape, &y);
    if (!status) {
        int64_t length = node->type.shape.dims[node->attrs->axis];
        Direct d = {node->type.dtype,
                    operands[0].data,
                    operands[1].data,
                    y.data,
                    (int64_t *)rows->data,
                    count,
                    length,
                    MAX(1, CHUNK / MAX(1, length * length / 4))};
        for_chunks(run->eager->threads, chunks_of(count, d.per_chunk), direct_chunk, &d);
        run->values[v] = view_unpermuted(&y, perm);
    }
    view_drop(run, &operands[0]);
    view_drop(run, &operands[1]);
    return status;
}

/* ---- By transforms of at least 2n − 1 points; the result is a view of the first n ---- */

static FraxStatus convolve_spectra(Run *run, Value v, const uint8_t *perm, Buffer *rows) {
    const Node *node = graph_node(run->graph, v);
    const Spectrum *s = &run->eager->spectrum[run->eager->spectra[v][1]];
    int last = node->type.shape.rank - 1;
    View frame = {.shape = node->type.shape}, y;
    frame = view_permuted(&frame, perm);
    Shape padded = frame.shape;
    padded.dims[last] = s->padded;
    Buffer *w, *x, *product = NULL;
    FraxStatus status = spectrum_get(run, v, 0, &w);
    if (status) return status;
    status = spectrum_get(run, v, 1, &x);
    if (status) return status;
    status = spectrum_writable(run, v, 1, &product);
    if (!status) status = view_create(run, node->type.dtype, &padded, &y);
    if (!status) {
        spectrum_multiply(run, &(SpectrumProduct){.dtype = node->type.dtype,
                                                  .rows = s->rows,
                                                  .bins = s->bins,
                                                  .scale = 1 / (double)s->points,
                                                  .x = x->data,
                                                  .out = product->data,
                                                  .k = w->data,
                                                  .k_of_row = (int64_t *)rows->data});
        spectrum_inverse(run, s, product, &y);
        y.shape = frame.shape;
        run->values[v] = view_unpermuted(&y, perm);
    }
    pool_give(run->eager->pool, product);
    spectrum_release(run, v, 0);
    spectrum_release(run, v, 1);
    return status;
}

FraxStatus eager_causal_conv(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    uint8_t perm[MAX_RANK];
    int rank = node->type.shape.rank;
    axes_last(rank, 1u << node->attrs->axis, perm);
    View w = view_permuted(run_operand(run, v, 0), perm), x = view_permuted(run_operand(run, v, 1), perm);
    int64_t count = 1;
    for (int i = 0; i < rank - 1; i++) count *= x.shape.dims[i];
    Buffer *rows;
    FraxStatus status = batch_rows(run, &x.shape, &w.shape, rank - 1, &rows);
    if (status) return status;
    status = run->eager->spectra[v][0] < 0 ? convolve_directly(run, v, perm, rows, count)
                                           : convolve_spectra(run, v, perm, rows);
    pool_give(run->eager->pool, rows);
    return status;
}

/* ---- Weights ---- */

typedef struct Weights {
    const double *alpha;
    double *out;
    int64_t n;
} Weights;

/* w_0 = 1, w_j = w_{j−1} (j−1−α)/j: the coefficients of (1−z)^α. */
static void weights_row(const void *context, int64_t row) {
    const Weights *w = context;
    double *out = w->out + row * w->n, value = 1, alpha = w->alpha[row];
    for (int64_t j = 0; j < w->n; j++) {
        if (j) value *= ((double)j - 1 - alpha) / (double)j;
        out[j] = value;
    }
}

FraxStatus eager_weights(Run *run, Value v) {
    View alpha;
    FraxStatus status = view_dense(run, run_operand(run, v, 0), FRAX_F64, &alpha);
    if (status) return status;
    status = view_result(run, v);
    if (!status) {
        Weights w = {(const double *)alpha.data, (double *)run->values[v].data,
                     graph_node(run->graph, v)->attrs->n};
        for_chunks(run->eager->threads, shape_size(&alpha.shape), weights_row, &w);
    }
    view_drop(run, &alpha);
    return status;
}
