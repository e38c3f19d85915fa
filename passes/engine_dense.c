/* engine_dense.c — convolutions and correlations as products with a matrix.
 *
 *     causal      y = x·M, M[i, t] = w[t − i] for i ≤ t           q_j = Σ_i (xᵀy)[i, i + j]
 *     periodic    y = x·C, C[i, t] = h[(t − i) mod n]             q_j = Σ_i (xᵀy)[i, (i + j) mod n]
 *
 * with x and y of one row for each signal. h is the impulse response of a filter. A NaN in x reaches all
 * samples of its row, as it does through a transform, and no other row.
 */
#include "engine.h"
#include "rewrite.h"
#include "transpose.h"

/* ---- Frames ---- */

/* The order of axes in which signals are [sets of weights, rows that share one, samples]. */
typedef struct DenseFrame {
    uint8_t perm[MAX_RANK], inverse[MAX_RANK];
    int rank;
    int64_t sets, rows, samples;
} DenseFrame;

static DenseFrame dense_frame(const Shape *x, const Convolution *c) {
    DenseFrame f = {.rank = x->rank, .sets = 1, .rows = 1, .samples = c->samples};
    int at = 0;
    for (int shared = 0; shared < 2; shared++)
        for (int i = 0; i < x->rank; i++) {
            if (i == c->axis || (int)(c->shared >> i & 1) != shared) continue;
            f.perm[at++] = (uint8_t)i;
            *(shared ? &f.rows : &f.sets) *= x->dims[i];
        }
    f.perm[at] = (uint8_t)c->axis;
    for (int i = 0; i < x->rank; i++) f.inverse[f.perm[i]] = (uint8_t)i;
    return f;
}

/* [sets, a, b], without the sets if there is but one: products of plain matrices. */
static Shape matrices(const DenseFrame *f, int64_t a, int64_t b) {
    if (f->sets == 1) return (Shape){.rank = 2, .dims = {a, b}};
    return (Shape){.rank = 3, .dims = {f->sets, a, b}};
}

static Value to_frame(Graph *g, const DenseFrame *f, Value x, Shape shape) {
    return g_reshape(g, g_transpose(g, x, f->perm), shape);
}

static Value from_frame(Graph *g, const DenseFrame *f, Value y, const Shape *shape) {
    Shape permuted = *shape;
    for (int i = 0; i < f->rank; i++) permuted.dims[i] = shape->dims[f->perm[i]];
    return g_transpose(g, g_reshape(g, y, permuted), f->inverse);
}

/* Zeros before and after, or a part of the last axis. */
static Value pad_last(Graph *g, Value x, int64_t after) {
    int64_t none[MAX_RANK] = {0}, hi[MAX_RANK] = {0};
    if (g->failed) return NO_VALUE;
    hi[graph_type(g, x)->shape.rank - 1] = after;
    return g_pad(g, x, none, hi, NULL);
}

static Value cut_last(Graph *g, Value x, int64_t length) {
    int64_t from[MAX_RANK] = {0};
    if (g->failed) return NO_VALUE;
    Shape shape = graph_type(g, x)->shape;
    shape.dims[shape.rank - 1] = length;
    return g_slice(g, x, from, shape.dims, NULL);
}

/* ---- Causal ---- */

/* M[i, t] = w_{t−i}: the row (w, zeros) of 2n entries, repeated n times and cut into rows of 2n − 1, moves on
   by one from row to row. */
static Value toeplitz(Graph *g, const DenseFrame *f, Value w, int64_t weights) {
    int64_t n = f->samples;
    Value row = pad_last(g, g_reshape(g, w, matrices(f, 1, weights)), 2 * n - weights);
    Value flat = g_reshape(g, g_broadcast(g, row, matrices(f, n, 2 * n)), matrices(f, 1, 2 * n * n));
    Value skewed = g_reshape(g, cut_last(g, flat, 2 * n * n - n), matrices(f, n, 2 * n - 1));
    return cut_last(g, skewed, n);
}

/* Σ_i G[i, i+j] for j < lags: the transpose of toeplitz. */
static Value sum_diagonals(Graph *g, const DenseFrame *f, Value product, int64_t lags) {
    int64_t n = f->samples;
    Value flat = g_reshape(g, pad_last(g, product, n - 1), matrices(f, 1, 2 * n * n - n));
    Value skewed = g_reshape(g, pad_last(g, flat, n), matrices(f, n, 2 * n));
    return g_reduce(g, OP_sum, cut_last(g, skewed, lags), f->sets == 1 ? 1 : 2);
}

Value form_dense_causal(Graph *g, const Node *node, const Convolution *c) {
    Shape shape = node->type.shape, x = graph_type(g, node->args[1])->shape;
    DenseFrame f = dense_frame(&x, c);
    Shape signals = matrices(&f, f.rows, f.samples);
    Value b = to_frame(g, &f, node->args[1], signals), y;
    if (c->correlates) {
        Value a = to_frame(g, &f, node->args[0], signals);
        y = sum_diagonals(g, &f, g_matmul(g, a, b, true, false), c->weights);
    } else {
        Value w = g_transpose(g, node->args[0], f.perm);
        y = g_matmul(g, b, toeplitz(g, &f, w, c->weights), false, false);
    }
    return from_frame(g, &f, y, &shape);
}

/* ---- Periodic ---- */

static Value flip_last(Graph *g, Value x) {
    if (g->failed) return NO_VALUE;
    return g_flip(g, x, 1u << (graph_type(g, x)->shape.rank - 1));
}

/* C[i, t] = h[(t − i) mod n]: with r = h reversed, the row r repeated n + 1 times and cut into rows of n + 1
   is r[(i + t) mod n], which is h[(n − 1 − t − i) mod n]. */
static Value circulant(Graph *g, const DenseFrame *f, Value h) {
    int64_t n = f->samples;
    Value row = flip_last(g, g_reshape(g, h, matrices(f, 1, n)));
    Value skewed = g_reshape(g, g_broadcast(g, row, matrices(f, n + 1, n)), matrices(f, n, n + 1));
    return flip_last(g, cut_last(g, skewed, n));
}

/* q_j = Σ_i G[i, (i + j) mod n]: the transpose of circulant. */
static Value sum_wrapped_diagonals(Graph *g, const DenseFrame *f, Value product) {
    int64_t n = f->samples;
    Value skewed = g_reshape(g, pad_last(g, flip_last(g, product), 1), matrices(f, n + 1, n));
    return flip_last(g, g_reduce(g, OP_sum, skewed, f->sets == 1 ? 1 : 2));
}

/* x·C; of one row for each K, so that h is made by a transform. */
static Value filter(Graph *g, const Node *node, const Convolution *c) {
    Type type = node->type, row = type;
    uint32_t axes = node->attrs->axes;
    DenseFrame f = dense_frame(&type.shape, c);
    for (int i = 0; i < type.shape.rank; i++)
        if (c->shared >> i & 1) row.shape.dims[i] = 1;
    Value h = g_spectral(g, impulse(g, row, axes), node->args[1], node->args[2], axes);
    Value x = to_frame(g, &f, node->args[0], matrices(&f, f.rows, f.samples));
    Value y = g_matmul(g, x, circulant(g, &f, g_transpose(g, h, f.perm)), false, false);
    return from_frame(g, &f, y, &type.shape);
}

/* conj X·Y is the spectrum of the circular correlation q_j = Σ_t y_t x_{t−j}. */
static Value cross_spectrum(Graph *g, const Node *node, const Convolution *c) {
    Type type = *graph_type(g, node->args[0]);
    Shape bins = node->type.shape;
    uint32_t axes = node->attrs->axes;
    Part part = (Part)node->attrs->part;
    DenseFrame f = dense_frame(&type.shape, c);
    Shape signals = matrices(&f, f.rows, f.samples);
    Value x = to_frame(g, &f, node->args[0], signals), y = to_frame(g, &f, node->args[1], signals);
    Value q = sum_wrapped_diagonals(g, &f, g_matmul(g, x, y, true, false));
    for (int i = 0; i < type.shape.rank; i++)
        if (c->shared >> i & 1) type.shape.dims[i] = 1;
    Value weights = g_broadcast(g, inverse_bin_weights(g, type, axes), bins);
    return g_binary(g, OP_div, g_rfft(g, from_frame(g, &f, q, &type.shape), axes, part), weights);
}

Value form_dense_periodic(Graph *g, const Node *node, const Convolution *c) {
    return c->correlates ? cross_spectrum(g, node, c) : filter(g, node, c);
}
