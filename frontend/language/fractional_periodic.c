/* fractional_periodic.c — periodic fractional operators: symbols K(ω) on a frequency grid.
 *
 * ω_k = 2πk/(N h) runs over the half spectrum; K is built in f64 as ordinary pointwise nodes and applied by
 * one `spectral` node. K has size 1 wherever none of alpha, step and lambda varies.
 */
#include "fractional.h"
#include <math.h>

/* ---- Frequency grids ---- */

Value frequencies(const Frac *f, int axis, bool with_sign) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = shape_of(f->lw, f->x)->dims[axis];
    Type type = {.dtype = FRAX_F64, .shape.rank = shape_of(f->lw, f->x)->rank};
    for (int i = 0; i < type.shape.rank; i++) type.shape.dims[i] = 1;
    type.shape.dims[axis] = axis == f->axis ? n / 2 + 1 : n;
    Value k = g_iota(g, type, axis);
    if (axis != f->axis && !with_sign) k = g_binary(g, OP_min, k, g_sub(g, g_like(g, k, (double)n), k));
    if (axis != f->axis && with_sign && !failed(f->lw)) {
        Value negative = g_binary(g, OP_ge, k, g_like(g, k, (double)((n + 1) / 2)));
        k = g_select(g, negative, g_shift(g, k, -(double)n), k);
    }
    Value h = f->steps[axis];
    if (failed(f->lw)) return NO_VALUE;
    if (graph_node(g, h)->op == OP_constant)
        return g_scale(g, k, 2 * M_PI / ((double)n * graph_node(g, h)->attrs->value));
    return mix(f, OP_div, g_scale(g, k, 2 * M_PI / (double)n), h);
}

/* ---- Periodic kinds ---- */

/* mag · (cos phase, sin phase) */
static Symbol polar(const Frac *f, Value mag, Value phase) {
    Value re = mix(f, OP_mul, mag, g_unary(f->g, OP_cos, phase));
    return (Symbol){re, mix(f, OP_mul, mag, g_unary(f->g, OP_sin, phase))};
}

/* (iω)^α = ω^α e^{iπα/2} */
static Symbol weyl_symbol(const Frac *f) {
    Value mag = guarded_power(f, frequencies(f, f->axis, false), f->alpha);
    return polar(f, mag, g_scale(f->g, f->alpha, M_PI_2));
}

static Symbol real_symbol(const Frac *f, Value re) {
    return (Symbol){re, g_like(f->g, re, 0)};
}

/* |ω|^α */
static Symbol riesz_symbol(const Frac *f) {
    return real_symbol(f, guarded_power(f, frequencies(f, f->axis, false), f->alpha));
}

/* ω^α e^{iπθ/2} */
static Symbol riesz_feller_symbol(const Frac *f) {
    Value mag = guarded_power(f, frequencies(f, f->axis, false), f->alpha);
    return polar(f, mag, g_scale(f->g, f->theta, M_PI_2));
}

/* (Σ ω_i²)^{α/2} */
static Symbol laplacian_symbol(const Frac *f) {
    Value sum = NO_VALUE;
    for (int i = 0; i <= f->axis && !failed(f->lw); i++) {
        if (!(f->axes >> i & 1)) continue;
        Value w = frequencies(f, i, false), square = g_mul(f->g, w, w);
        sum = sum == NO_VALUE ? square : mix(f, OP_add, sum, square);
    }
    return real_symbol(f, guarded_power(f, sum, g_scale(f->g, f->alpha, 0.5)));
}

/* (λ + iω)^α = (λ² + ω²)^{α/2} e^{iα atan2(ω, λ)}; centered subtracts λ^α, which leaves exactly 0 at ω = 0.
 */
static Symbol tempered_symbol(const Frac *f) {
    Graph *g = f->g;
    Value w = frequencies(f, f->axis, false), lambda = f->lambda;
    Value w2 = g_mul(g, w, w), square = mix(f, OP_add, w2, g_mul(g, lambda, lambda));
    if (failed(f->lw)) return (Symbol){NO_VALUE, NO_VALUE};
    Shape shape = *shape_of(f->lw, square);
    Value origin = is_zero(f, square), full_w = g_broadcast(g, w, shape);
    Value angle =
        g_binary(g, OP_atan2, full_w, replace_where(f->lw, origin, 1, g_broadcast(g, lambda, shape)));
    Value mag = guarded_power(f, square, g_scale(g, f->alpha, 0.5));
    Symbol k = polar(f, mag, mix(f, OP_mul, angle, f->alpha));
    if (!f->centered || failed(f->lw)) return k;
    k.re = mix(f, OP_sub, k.re, guarded_power(f, lambda, f->alpha));
    if (failed(f->lw)) return k;
    Value constant = g_broadcast(g, is_zero(f, w), *shape_of(f->lw, k.re));
    k.re = replace_where(f->lw, constant, 0, k.re);
    return k;
}

/* Γ(1 + iω)/Γ(1 + iω − α). With z = 1 + iω − α, 1/Γ(z) = z(z+1)(z+2)(z+3)/Γ(z + 4), so that no Γ meets its
   poles for α < 5, and at ω = 0 the whole orders vanish exactly. */
static Symbol mellin_symbol(const Frac *f) {
    enum { SHIFT = 4 };
    Graph *g = f->g;
    Value w = frequencies(f, f->axis, false), alpha = f->alpha, log_k[2];
    if (failed(f->lw)) return (Symbol){NO_VALUE, NO_VALUE};
    Shape shape;
    shape_broadcast(shape_of(f->lw, w), shape_of(f->lw, alpha), &shape);
    Value im = g_broadcast(g, w, shape);
    Value z = g_broadcast(g, g_sub(g, g_like(g, alpha, 1), alpha), shape), up = g_shift(g, z, SHIFT);
    for (Part part = PART_RE; part <= PART_IM; part++) {
        Value top = g_broadcast(g, g_complex_lgamma(g, 0, part, g_like(g, w, 1), w), shape);
        log_k[part] = g_sub(g, top, g_complex_lgamma(g, 0, part, up, im));
    }
    Symbol k = polar(f, g_unary(g, OP_exp, log_k[PART_RE]), log_k[PART_IM]);
    for (int i = 0; i < SHIFT; i++) {
        Value re = g_shift(g, z, i);
        k = (Symbol){g_sub(g, g_mul(g, k.re, re), g_mul(g, k.im, im)),
                     g_add(g, g_mul(g, k.re, im), g_mul(g, k.im, re))};
    }
    return k;
}

Value apply_symbol(const Frac *f, Symbol k) {
    if (failed(f->lw)) return NO_VALUE;
    FraxDType dtype = graph_type(f->g, f->x)->dtype;
    Value re = g_cast(f->g, k.re, dtype), im = g_cast(f->g, k.im, dtype);
    return g_spectral(f->g, f->x, re, im, f->axes);
}

Value weyl(const Frac *f) {
    return apply_symbol(f, weyl_symbol(f));
}

Value riesz(const Frac *f) {
    return apply_symbol(f, riesz_symbol(f));
}

Value riesz_feller(const Frac *f) {
    return apply_symbol(f, riesz_feller_symbol(f));
}

Value laplacian(const Frac *f) {
    return apply_symbol(f, laplacian_symbol(f));
}

Value tempered(const Frac *f) {
    return apply_symbol(f, tempered_symbol(f));
}

Value mellin(const Frac *f) {
    return apply_symbol(f, mellin_symbol(f));
}
