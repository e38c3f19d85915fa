/* fractional_nodes.c — small compositions that all fractional operators use: pointwise nodes on operands of
 * one rank under broadcasting, and powers that stay differentiable where their base vanishes.
 */
#include "fractional.h"

Value mix(const Frac *f, Op op, Value a, Value b) {
    Item items[2] = {item_value(a), item_value(b)};
    Item result = failed(f->lw) ? (Item){0} : pointwise(f->lw, "frac", op, items, 2);
    return failed(f->lw) ? NO_VALUE : result.value;
}

Value is_zero(const Frac *f, Value v) {
    return g_binary(f->g, OP_eq, v, g_like(f->g, v, 0));
}

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
