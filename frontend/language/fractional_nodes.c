/* fractional_nodes.c — small compositions that all fractional operators use: pointwise nodes on operands of
 * one rank under broadcasting, samples along the operator's axis, and powers that stay differentiable where
 * their base vanishes.
 */
#include "fractional.h"

Value mix(const Frac *f, Op op, Value a, Value b) {
    Item items[2] = {item_value(a), item_value(b)};
    Item result = failed(f->lw) ? (Item){0} : pointwise(f->lw, f->lw->builtin, op, items, 2);
    return failed(f->lw) ? NO_VALUE : result.value;
}

Value is_zero(const Frac *f, Value v) {
    return g_binary(f->g, OP_eq, v, g_like(f->g, v, 0));
}

bool is_one(const Frac *f, Value v) {
    const Node *node = graph_node(f->g, v);
    return node->op == OP_constant && node->attrs->value == 1;
}

Value patch(const Frac *f, Value mask, double constant, Value v) {
    if (failed(f->lw)) return NO_VALUE;
    return replace_where(f->lw, g_broadcast(f->g, mask, *shape_of(f->lw, v)), constant, v);
}

/* ---- Powers ---- */

/* What 0^alpha stands for: 1 if alpha = 0, and 0 otherwise (for alpha < 0, the integral without the mean). */
static Value zero_power(const Frac *f) {
    Value zero = g_like(f->g, f->alpha, 0), one = g_like(f->g, f->alpha, 1);
    return g_select(f->g, is_zero(f, f->alpha), one, zero);
}

Value guarded_power(const Frac *f, Value base, Value exponent) {
    Value zero = is_zero(f, base), safe = replace_where(f->lw, zero, 1, base);
    Value value = mix(f, OP_pow, safe, exponent);
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, value);
    Value at_zero = g_broadcast(f->g, zero_power(f), shape);
    return g_select(f->g, g_broadcast(f->g, zero, shape), at_zero, value);
}

Value power_over_gamma(const Frac *f, Value exponent, Value argument) {
    Graph *g = f->g;
    Value over_gamma = g_unary(g, OP_exp, g_neg(g, g_unary(g, OP_lgamma, argument))), h = f->steps[f->axis];
    if (failed(f->lw) || is_one(f, h)) return over_gamma;
    return mix(f, OP_mul, mix(f, OP_pow, h, exponent), over_gamma);
}

/* ---- Samples along the operator's axis ---- */

int64_t samples(const Frac *f) {
    return shape_of(f->lw, f->x)->dims[f->axis];
}

Value lags(const Frac *f, int64_t from, int64_t n) {
    Type type = {.dtype = FRAX_F64};
    if (failed(f->lw)) return NO_VALUE;
    type.shape.rank = shape_of(f->lw, f->x)->rank;
    for (int i = 0; i < type.shape.rank; i++) type.shape.dims[i] = i == f->axis ? n : 1;
    Value j = g_iota(f->g, type, f->axis);
    return from ? g_shift(f->g, j, (double)from) : j;
}

Value cut(const Frac *f, Value v, int64_t lo, int64_t hi) {
    return failed(f->lw) ? NO_VALUE : slice_axis(f->lw, v, f->axis, &lo, &hi, 1);
}

Value delayed(const Frac *f, Value v) {
    int64_t before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    if (failed(f->lw)) return NO_VALUE;
    before[f->axis] = 1;
    return g_pad(f->g, cut(f, v, 0, shape_of(f->lw, v)->dims[f->axis] - 1), before, after, NULL);
}

Value differences(const Frac *f, Value v) {
    int64_t before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = shape_of(f->lw, v)->dims[f->axis];
    if (n == 1) return g_like(f->g, v, 0);
    before[f->axis] = 1;
    return g_pad(f->g, g_sub(f->g, cut(f, v, 1, n), cut(f, v, 0, n - 1)), before, after, NULL);
}
