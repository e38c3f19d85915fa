/* fractional_times.c — Caputo derivatives on samples at given times: the L1 formula on a non-uniform grid.
 *
 * With x linear between the samples (Zhang, Sun & Liao 2014), and p = 1 − α,
 *
 *     y_n = 1/Γ(2−α) Σ_{k=1…n} (x_k − x_{k−1})/(t_k − t_{k−1}) [(t_n − t_{k−1})^p − (t_n − t_k)^p].
 *
 * The weights depend on n and k apart, so they are a lower triangular matrix and y a matrix product. All
 * arrays here have three axes: rows of x that share an order's matrix, n, k.
 */
#include "fractional.h"

/* x with the operator's axis last; back is the inverse. */
static Value axis_last(const Frac *f, Value x, bool back) {
    uint8_t perm[MAX_RANK];
    if (failed(f->lw)) return NO_VALUE;
    int rank = shape_of(f->lw, x)->rank, last = rank - 1;
    for (int i = 0; i < rank; i++) {
        int there = i == last ? f->axis : i < f->axis ? i : i + 1;
        if (back)
            perm[there] = (uint8_t)i;
        else
            perm[i] = (uint8_t)there;
    }
    return g_transpose(f->g, x, perm);
}

/* One matrix for all rows, or one for each: alpha as [1,1,1] or [rows,1,1]. */
static Value orders(const Frac *f, int64_t rows) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    if (shape_size(shape_of(f->lw, f->alpha)) == 1) return g_reshape(g, f->alpha, SHAPE(1, 1, 1));
    Shape full = *shape_of(f->lw, f->x);
    full.dims[f->axis] = 1;
    return g_reshape(g, axis_last(f, g_broadcast(g, f->alpha, full), false), SHAPE(rows, 1, 1));
}

/* The matrix of weights of x_k − x_{k−1}, without 1/Γ(2−α): zero for k = 0 and above the diagonal. */
static Value weight_matrix(const Frac *f, Value p) {
    Graph *g = f->g;
    int64_t n = samples(f);
    Type row = {FRAX_F64, SHAPE(1, 1, n)}, column = {FRAX_F64, SHAPE(1, n, 1)};
    Value k = g_iota(g, row, 2), start = is_zero(f, k), t = g_reshape(g, f->times, row.shape);
    Value d = patch(f, start, 1, f->intervals);
    Value gap = mix(f, OP_sub, g_iota(g, column, 1), k), diagonal = is_zero(f, gap);
    Value past = g_binary(g, OP_gt, gap, g_like(g, gap, 0)), none = g_unary(g, OP_not, past);
    Value u = patch(f, none, 1, mix(f, OP_sub, g_reshape(g, f->times, column.shape), t));
    Value growth = g_unary(g, OP_expm1, mix(f, OP_mul, g_unary(g, OP_log1p, mix(f, OP_div, d, u)), p));
    Value below = mix(f, OP_mul, mix(f, OP_pow, u, p), growth); /* (u + d)^p − u^p */
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, below);
    Value newest = g_broadcast(g, mix(f, OP_pow, d, p), shape);
    Value w = patch(f, none, 0, below);
    w = failed(f->lw) ? NO_VALUE : g_select(g, g_broadcast(g, diagonal, shape), newest, w);
    return mix(f, OP_div, patch(f, start, 0, w), d);
}

Value caputo_times(const Frac *f) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = samples(f), rows = shape_size(shape_of(f->lw, f->x)) / n;
    Value alpha = orders(f, rows), p = g_sub(g, g_like(g, alpha, 1), alpha);
    Value gamma = g_unary(g, OP_lgamma, g_shift(g, p, 1));
    Value w = mix(f, OP_mul, weight_matrix(f, p), g_unary(g, OP_exp, g_neg(g, gamma)));
    Value d = axis_last(f, differences(f, f->x), false);
    if (failed(f->lw)) return NO_VALUE;
    Shape moved = *shape_of(f->lw, d);
    bool shared = shape_of(f->lw, w)->dims[0] == 1;
    d = g_reshape(g, d, shared ? SHAPE(1, rows, n) : SHAPE(rows, 1, n));
    Value y = g_matmul(g, d, g_cast(g, w, graph_type(g, f->x)->dtype), false, true);
    return axis_last(f, g_reshape(g, y, moved), true);
}
