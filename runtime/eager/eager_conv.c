/* eager_conv.c — causal convolution, directly or by zero-padded transforms, and Grünwald weights. */
#include "eager.h"
#include "vector_math.h"
#include <string.h>

/* ---- Direct: tiles of outputs in registers; every LAGS lags their sums are added in f64 ---- */

enum { OUTPUTS = 64, LAGS = 64 };

/* y_n = Σ_{j≤n} w_j x_{n−j}, n < length, j < taps. x has OUTPUTS zeros before it, and after it up to a whole
   tile. A tile is four vectors of 64 bytes. */
#define CONVOLVE(name, T)                                                                                    \
    typedef T name##_vector __attribute__((vector_size(64), aligned(sizeof(T)), may_alias));                 \
    FOR_EACH_VECTOR_WIDTH static void name(const T *w, int64_t taps, const T *x, T *y, int64_t length) {     \
        typedef name##_vector Vector;                                                                        \
        enum { LANES = 64 / sizeof(T), ACROSS = 4 * LANES };                                                 \
        for (int64_t start = 0; start < length; start += ACROSS) {                                           \
            double total[ACROSS] = {0};                                                                      \
            int64_t lags = MIN(MIN(taps, length), start + ACROSS);                                           \
            for (int64_t lag = 0; lag < lags; lag += LAGS) {                                                 \
                Vector a = {0}, b = {0}, c = {0}, d = {0};                                                   \
                for (int64_t j = lag; j < MIN(lags, lag + LAGS); j++) {                                      \
                    const Vector *from = (const Vector *)(x + start - j);                                    \
                    a += w[j] * from[0], b += w[j] * from[1], c += w[j] * from[2], d += w[j] * from[3];      \
                }                                                                                            \
                for (int i = 0; i < LANES; i++) {                                                            \
                    total[i] += (double)a[i], total[LANES + i] += (double)b[i];                              \
                    total[2 * LANES + i] += (double)c[i], total[3 * LANES + i] += (double)d[i];              \
                }                                                                                            \
            }                                                                                                \
            for (int64_t i = 0; i < MIN(ACROSS, length - start); i++) y[start + i] = (T)total[i];            \
        }                                                                                                    \
    }
CONVOLVE(convolve_f64, double)
CONVOLVE(convolve_f32, float)

typedef struct Direct {
    FraxDType dtype;
    const char *w, *x; /* x: the first sample of the first padded row */
    char *y;
    const int64_t *w_of_row;
    int64_t rows, taps, length, row_size, per_chunk;
} Direct;

static void direct_chunk(const void *context, int64_t chunk) {
    const Direct *d = context;
    int64_t end = MIN(d->rows, (chunk + 1) * d->per_chunk), size = (int64_t)frax_dtype_size(d->dtype);
    for (int64_t r = chunk * d->per_chunk; r < end; r++) {
        const void *w = d->w + d->w_of_row[r] * d->taps * size, *x = d->x + r * d->row_size * size;
        void *y = d->y + r * d->length * size;
        if (d->dtype == FRAX_F64)
            convolve_f64(w, d->taps, x, y, d->length);
        else
            convolve_f32(w, d->taps, x, y, d->length);
    }
}

/* x with OUTPUTS zeros before each row, and after it up to whole tiles; the axis is the last. */
static FraxStatus pad_rows(Run *run, const View *x, int64_t rows, View *padded) {
    Shape shape = x->shape;
    int last = shape.rank - 1;
    int64_t length = shape.dims[last], row = OUTPUTS + (length + OUTPUTS - 1) / OUTPUTS * OUTPUTS;
    shape.dims[last] = row;
    FraxStatus status = view_create(run, x->dtype, &shape, padded);
    if (status) return status;
    int64_t size = (int64_t)frax_dtype_size(x->dtype);
    for (int64_t r = 0; r < rows; r++) {
        char *start = padded->data + r * row * size;
        memset(start, 0, (size_t)(OUTPUTS * size));
        memset(start + (OUTPUTS + length) * size, 0, (size_t)((row - OUTPUTS - length) * size));
    }
    View inside = *padded;
    inside.shape = x->shape;
    inside.data += OUTPUTS * size;
    view_copy(run, &inside, x);
    return FRAX_OK;
}

static FraxStatus convolve_directly(Run *run, Value v, const uint8_t *perm, Buffer *rows, int64_t count) {
    const Node *node = graph_node(run->graph, v);
    FraxDType dtype = node->type.dtype;
    View w = view_permuted(run_operand(run, v, 0), perm), x = view_permuted(run_operand(run, v, 1), perm);
    View dense = {0}, padded = {0}, y;
    FraxStatus status = view_dense(run, &w, dtype, &dense);
    if (!status) status = pad_rows(run, &x, count, &padded);
    if (!status) status = view_create(run, dtype, &x.shape, &y);
    if (!status) {
        int64_t length = node->type.shape.dims[node->attrs->axis];
        int64_t taps = w.shape.dims[w.shape.rank - 1];
        Direct d = {.dtype = dtype,
                    .w = dense.data,
                    .x = padded.data + OUTPUTS * frax_dtype_size(dtype),
                    .y = y.data,
                    .w_of_row = (int64_t *)rows->data,
                    .rows = count,
                    .taps = taps,
                    .length = length,
                    .row_size = padded.shape.dims[padded.shape.rank - 1],
                    .per_chunk = MAX(1, CHUNK / MAX(1, length * taps / 16))};
        for_chunks(run, (double)count * (double)length * (double)taps / 16, chunks_of(count, d.per_chunk),
                   direct_chunk, &d);
        run->values[v] = view_unpermuted(&y, perm);
    }
    view_drop(run, &dense);
    view_drop(run, &padded);
    return status;
}

/* ---- By transforms of at least n + taps − 1 points; the result is a view of the first n ---- */

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
    int m; /* order of the derivative */
} Weights;

/* w_0 = 1, w_j = w_{j−1} (j−1−α)/j: the coefficients of (1−z)^α; their m-th derivatives in α are
   w^(m)_j = w^(m)_{j−1} (j−1−α)/j − m w^(m−1)_{j−1}/j. */
static void weights_row(const void *context, int64_t row) {
    const Weights *w = context;
    double *out = w->out + row * w->n, value[MAX_WEIGHTS_ORDER + 1] = {1}, alpha = w->alpha[row];
    for (int64_t j = 0; j < w->n; j++) {
        double factor = ((double)j - 1 - alpha) / (double)j, share = 1 / (double)j;
        for (int m = w->m; j && m > 0; m--) value[m] = value[m] * factor - m * share * value[m - 1];
        if (j) value[0] *= factor;
        out[j] = value[w->m];
    }
}

FraxStatus eager_weights(Run *run, Value v) {
    View alpha;
    FraxStatus status = view_dense(run, run_operand(run, v, 0), FRAX_F64, &alpha);
    if (status) return status;
    status = view_result(run, v);
    if (!status) {
        Weights w = {(const double *)alpha.data, (double *)run->values[v].data,
                     graph_node(run->graph, v)->attrs->n, (int)graph_node(run->graph, v)->attrs->m};
        int64_t rows = shape_size(&alpha.shape);
        for_chunks(run, 4.0 * (double)rows * (double)w.n * (w.m + 1), rows, weights_row, &w);
    }
    view_drop(run, &alpha);
    return status;
}
