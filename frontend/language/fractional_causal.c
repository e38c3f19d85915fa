/* fractional_causal.c — causal fractional operators: y_n = Σ_{j≤n} w_j x_{n−j}, history before the first
 * sample zero, and the schemes of the Caputo derivative, which put differences of x in its place.
 */
#include "fractional.h"
#include <math.h>

static Value cast_to_x(const Frac *f, Value v) {
    return failed(f->lw) ? NO_VALUE : g_cast(f->g, v, graph_type(f->g, f->x)->dtype);
}

static const Family grunwald_family = {grunwald_weights, grunwald_coefficients, 3, NULL},
                    integral_family = {integral_weights, integral_coefficients, 3, NULL},
                    tempered_family = {tempered_weights, grunwald_coefficients, 3, tempering},
                    bdf2_family = {bdf2_weights, NULL, 0, NULL},
                    l1_family = {l1_weights, l1_coefficients, 2, NULL},
                    l2_family = {l2_weights, l2_coefficients, 2, NULL},
                    l1_2_family = {l1_2_weights, NULL, 0, NULL},
                    rectangle_family = {rectangle_weights, rectangle_coefficients, 2, NULL},
                    trapezoid_family = {trapezoid_weights, trapezoid_coefficients, 2, NULL},
                    atangana_baleanu_family = {atangana_baleanu_weights, NULL, 0, NULL};

/* Σ_j factor · w_j z_{n−j}. The factor (NO_VALUE: none) joins the weights, which are fewer than the samples
   wherever x has rows. */
static Value convolve(const Frac *f, const Family *family, Value factor, Value z) {
    if (f->soe && samples(f) > SOE_LAGS) return convolve_soe(f, family, factor, z);
    Value w = family->weights(f, samples(f));
    if (factor != NO_VALUE) w = mix(f, OP_mul, w, factor);
    return failed(f->lw) ? NO_VALUE : g_causal_conv(f->g, cast_to_x(f, w), z, f->axis, f->engine);
}

/* h^{exponent}, or NO_VALUE for 1 */
static Value step_power(const Frac *f, Value exponent) {
    Value h = f->steps[f->axis];
    return failed(f->lw) || is_one(f, h) ? NO_VALUE : mix(f, OP_pow, h, exponent);
}

/* h^{−α}/Γ(m − α) */
static Value caputo_factor(const Frac *f, double m) {
    Value alpha = f->alpha;
    return power_over_gamma(f, g_neg(f->g, alpha), g_sub(f->g, g_like(f->g, alpha, m), alpha));
}

/* ---- Binomial weights ---- */

Value grunwald(const Frac *f) {
    return convolve(f, &grunwald_family, step_power(f, g_neg(f->g, f->alpha)), f->x);
}

Value integral_gl(const Frac *f) {
    return convolve(f, &integral_family, step_power(f, f->alpha), f->x);
}

/* (3/2)^α h^{−α} is the factor of (1 − 4z/3 + z²/3)^α. By exponentials, which stand for (1 − z)^α, the other
   factor is a convolution of its own. */
Value bdf2(const Frac *f) {
    Graph *g = f->g;
    Value scale = g_unary(g, OP_exp, g_scale(g, f->alpha, log(1.5))), h = step_power(f, g_neg(g, f->alpha));
    if (h != NO_VALUE) scale = mix(f, OP_mul, scale, h);
    if (!f->soe) return convolve(f, &bdf2_family, scale, f->x);
    Value y = convolve(f, &grunwald_family, scale, f->x), tail = bdf2_tail(f, samples(f));
    return failed(f->lw) ? NO_VALUE : g_causal_conv(g, cast_to_x(f, tail), y, f->axis, ENGINE_AUTO);
}

/* centered subtracts λ^α x. */
Value tempered_causal(const Frac *f) {
    Value y = convolve(f, &tempered_family, step_power(f, g_neg(f->g, f->alpha)), f->x);
    if (!f->centered || failed(f->lw)) return y;
    Value scale = cast_to_x(f, guarded_power(f, f->lambda, f->alpha));
    return mix(f, OP_sub, y, mix(f, OP_mul, f->x, scale));
}

/* ---- Product integration (Diethelm, Ford & Freed 2002) ---- */

/* h^α/Γ(α+1) Σ_{k<n} [(n−k)^α − (n−k−1)^α] x_k */
Value integral_rectangle(const Frac *f) {
    Value factor = power_over_gamma(f, f->alpha, g_shift(f->g, f->alpha, 1));
    return convolve(f, &rectangle_family, factor, delayed(f, f->x));
}

/* How the weight of x_0 differs from those that depend on the lag alone: −[(n+1)^p − n^p − p n^{p−1}], p = 1
   + α, which is −n^p [(1 + u) (F + 1) − 1 − pu] with u = 1/n and F = (1 + u)^α − 1. */
static Value first_column(const Frac *f) {
    Graph *g = f->g;
    Value n = lags(f, 0, samples(f)), first = is_zero(f, n), safe = patch(f, first, 1, n);
    Value u = g_div(g, g_like(g, safe, 1), safe);
    Value growth = g_unary(g, OP_expm1, mix(f, OP_mul, g_unary(g, OP_log1p, u), f->alpha));
    Value curve = g_sub(g, mix(f, OP_mul, growth, g_shift(g, u, 1)), mix(f, OP_mul, u, f->alpha));
    Value power = mix(f, OP_pow, safe, g_shift(g, f->alpha, 1));
    return g_neg(g, patch(f, first, 1, g_mul(g, power, curve)));
}

Value integral_trapezoid(const Frac *f) {
    Value factor = power_over_gamma(f, f->alpha, g_shift(f->g, f->alpha, 2)), x0 = cut(f, f->x, 0, 1);
    Value y = convolve(f, &trapezoid_family, factor, f->x);
    Value start = cast_to_x(f, mix(f, OP_mul, first_column(f), factor));
    return mix(f, OP_add, y, mix(f, OP_mul, x0, start));
}

/* ---- Caputo ---- */

Value caputo_l1(const Frac *f) {
    return convolve(f, &l1_family, caputo_factor(f, 2), differences(f, f->x));
}

/* The weights hold b_{n−1} (x_1 − x_0) too many: the first sample has no second difference. */
Value caputo_l1_2(const Frac *f) {
    Value factor = caputo_factor(f, 2), y = convolve(f, &l1_2_family, factor, differences(f, f->x));
    if (failed(f->lw) || samples(f) == 1) return y;
    Value step = mix(f, OP_sub, cut(f, f->x, 1, 2), cut(f, f->x, 0, 1));
    Value b = delayed(f, mix(f, OP_mul, l1_2_corrections(f, samples(f)), factor));
    return mix(f, OP_sub, y, mix(f, OP_mul, cast_to_x(f, b), step));
}

static bool is_constant_zero(const Frac *f, Value v) {
    const Node *node = graph_node(f->g, v);
    return node->op == OP_constant && node->attrs->value == 0;
}

/* L1 of order α − 1 for the slopes at the half points, after the given one at 0 (Sun & Wu 2006). */
Value caputo_l2(const Frac *f) {
    Graph *g = f->g;
    Value d = differences(f, f->x);
    if (!failed(f->lw) && !is_constant_zero(f, f->slope)) {
        Value first = is_zero(f, lags(f, 0, samples(f)));
        Value start = cast_to_x(f, mix(f, OP_mul, f->slope, f->steps[f->axis]));
        if (failed(f->lw)) return NO_VALUE;
        Shape shape = *shape_of(f->lw, d);
        d = g_select(g, g_broadcast(g, first, shape), g_broadcast(g, start, shape), d);
    }
    return convolve(f, &l2_family, caputo_factor(f, 3), differences(f, d));
}

/* grunwald of x − x_0 − slope·t, the slope where α > 1. That of t is h^{1−α} times the coefficients of
   z (1 − z)^{α−2}: t itself would outgrow the result. */
Value caputo_gl(const Frac *f) {
    Graph *g = f->g;
    Value scale = step_power(f, g_neg(g, f->alpha));
    Value y = convolve(f, &grunwald_family, scale, mix(f, OP_sub, f->x, cut(f, f->x, 0, 1)));
    if (failed(f->lw) || is_constant_zero(f, f->slope)) return y;
    Value flat = g_binary(g, OP_le, f->alpha, g_like(g, f->alpha, 1));
    Value line = delayed(f, grunwald_along(f, patch(f, flat, 2, g_shift(g, f->alpha, -2)), samples(f)));
    Value rate = mix(f, OP_mul, f->slope, f->steps[f->axis]);
    if (scale != NO_VALUE) rate = mix(f, OP_mul, rate, scale);
    line = mix(f, OP_mul, patch(f, flat, 0, line), rate);
    return mix(f, OP_sub, y, cast_to_x(f, line));
}

/* ---- Kernels without singularity ---- */

/* The kernel is one exponential: e^{−λ(t − s)} with λ = α/(1−α), on the slope of x between two samples. */
Value caputo_fabrizio(const Frac *f) {
    Graph *g = f->g;
    Value rest = g_sub(g, g_like(g, f->alpha, 1), f->alpha), h = f->steps[f->axis];
    Value run = mix(f, OP_mul, f->alpha, h), rate = g_neg(g, mix(f, OP_div, run, rest));
    Value c = g_div(g, g_neg(g, g_unary(g, OP_expm1, rate)), run);
    if (failed(f->lw)) return NO_VALUE;
    return g_exponential_conv(g, differences(f, f->x), c, g_unary(g, OP_exp, rate),
                              (Exponential){.axis = f->axis});
}

Value atangana_baleanu(const Frac *f) {
    Graph *g = f->g;
    Value rest = g_sub(g, g_like(g, f->alpha, 1), f->alpha);
    return convolve(f, &atangana_baleanu_family, g_div(g, g_like(g, rest, 1), rest), differences(f, f->x));
}
