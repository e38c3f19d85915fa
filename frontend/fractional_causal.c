/* fractional_causal.c — causal fractional operators: weights w_j and y_n = Σ_{j≤n} w_j x_{n−j}.
 *
 * The weights are f64 nodes along the operator's axis, applied by one `causal_conv` node; history before the
 * first sample is zero.
 */
#include "fractional.h"

/* The weights w_0 … w_{n−1} of (1 − z)^α, along the operator's axis of an array of x's rank. The op puts them
   along the last axis. */
static Value weights_along(const Frac *f, int64_t n) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    Shape alpha = *shape_of(f->lw, f->alpha), moved = {.rank = alpha.rank};
    uint8_t perm[MAX_RANK];
    for (int i = 0; i < alpha.rank; i++) {
        if (i != f->axis) moved.dims[i < f->axis ? i : i - 1] = alpha.dims[i];
        perm[i] = (uint8_t)(i == f->axis ? alpha.rank - 1 : i < f->axis ? i : i - 1);
    }
    moved.dims[alpha.rank - 1] = 1;
    Value w = g_grunwald_weights(g, g_reshape(g, f->alpha, moved), n);
    if (shape_size(&alpha) != 1) return g_transpose(g, w, perm);
    alpha.dims[f->axis] = n;
    return g_reshape(g, w, alpha);
}

static bool is_one(const Frac *f, Value v) {
    const Node *node = graph_node(f->g, v);
    return node->op == OP_constant && node->attrs->value == 1;
}

/* h^{−α} w, times e^{−λjh} when tempered */
static Value scaled_weights(const Frac *f) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = shape_of(f->lw, f->x)->dims[f->axis];
    Value w = weights_along(f, n), h = f->steps[f->axis];
    if (f->causal && !failed(f->lw)) {
        Type type = {.dtype = FRAX_F64, .shape.rank = shape_of(f->lw, f->x)->rank};
        for (int i = 0; i < type.shape.rank; i++) type.shape.dims[i] = i == f->axis ? n : 1;
        Value j = g_iota(g, type, f->axis), rate = mix(f, OP_mul, f->lambda, h);
        Value decay = g_neg(g, mix(f, OP_mul, j, rate));
        w = mix(f, OP_mul, w, g_unary(g, OP_exp, decay));
    }
    if (failed(f->lw) || is_one(f, h)) return w;
    return mix(f, OP_mul, w, mix(f, OP_pow, h, g_neg(g, f->alpha)));
}

/* y_n = Σ_{j≤n} w_j x_{n−j}; centered subtracts λ^α x. */
Value apply_weights(const Frac *f) {
    Graph *g = f->g;
    Value w = scaled_weights(f);
    if (failed(f->lw)) return NO_VALUE;
    FraxDType dtype = graph_type(g, f->x)->dtype;
    Value y = g_causal_conv(g, g_cast(g, w, dtype), f->x, f->axis, f->engine);
    if (!f->centered || failed(f->lw)) return y;
    Value scale = g_cast(g, guarded_power(f, f->lambda, f->alpha), dtype);
    return mix(f, OP_sub, y, mix(f, OP_mul, f->x, scale));
}
