/* fractional_causal.c — causal fractional operators: y_n = Σ_{j≤n} w_j x_{n−j}, history before the first
 * sample zero, and the schemes of the Caputo derivative, which put differences of x in its place.
 */
#include "fractional.h"
#include <math.h>

static Value cast_to_x(const Frac *f, Value v) {
    return failed(f->lw) ? NO_VALUE : g_cast(f->g, v, graph_type(f->g, f->x)->dtype);
}

/* Σ_j factor · w_j z_{n−j}. The factor (NO_VALUE: none) joins the weights, which are fewer than the samples
   wherever x has rows. */
static Value convolve(const Frac *f, FracWeights *weights, Value factor, Value z) {
    Value w = weights(f, samples(f));
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
    return convolve(f, grunwald_weights, step_power(f, g_neg(f->g, f->alpha)), f->x);
}

Value integral_gl(const Frac *f) {
    return convolve(f, integral_weights, step_power(f, f->alpha), f->x);
}

/* (3/2)^α h^{−α} is the factor of (1 − 4z/3 + z²/3)^α. */
Value bdf2(const Frac *f) {
    Graph *g = f->g;
    Value scale = g_unary(g, OP_exp, g_scale(g, f->alpha, log(1.5)));
    Value h = step_power(f, g_neg(g, f->alpha));
    return convolve(f, bdf2_weights, h == NO_VALUE ? scale : mix(f, OP_mul, scale, h), f->x);
}

/* centered subtracts λ^α x. */
Value tempered_causal(const Frac *f) {
    Value y = convolve(f, tempered_weights, step_power(f, g_neg(f->g, f->alpha)), f->x);
    if (!f->centered || failed(f->lw)) return y;
    Value scale = cast_to_x(f, guarded_power(f, f->lambda, f->alpha));
    return mix(f, OP_sub, y, mix(f, OP_mul, f->x, scale));
}

/* ---- Product integration (Diethelm, Ford & Freed 2002) ---- */

/* h^α/Γ(α+1) Σ_{k<n} [(n−k)^α − (n−k−1)^α] x_k */
Value integral_rectangle(const Frac *f) {
    Value factor = power_over_gamma(f, f->alpha, g_shift(f->g, f->alpha, 1));
    return convolve(f, rectangle_weights, factor, delayed(f, f->x));
}

/* (nh)^α/Γ(α+1), and 0 at n = 0 */
static Value power_of_time(const Frac *f) {
    Value n = lags(f, 0, samples(f)), first = is_zero(f, n);
    Value power = patch(f, first, 0, mix(f, OP_pow, patch(f, first, 1, n), f->alpha));
    return mix(f, OP_mul, power, power_over_gamma(f, f->alpha, g_shift(f->g, f->alpha, 1)));
}

/* Of x − x_0 by the weights that depend on the lag alone; of the constant x_0 exactly, as the formula's own
   first column makes it. */
Value integral_trapezoid(const Frac *f) {
    Value factor = power_over_gamma(f, f->alpha, g_shift(f->g, f->alpha, 2)), x0 = cut(f, f->x, 0, 1);
    Value y = convolve(f, trapezoid_weights, factor, mix(f, OP_sub, f->x, x0));
    return mix(f, OP_add, y, mix(f, OP_mul, x0, cast_to_x(f, power_of_time(f))));
}

/* ---- Caputo ---- */

Value caputo_l1(const Frac *f) {
    return convolve(f, l1_weights, caputo_factor(f, 2), differences(f, f->x));
}

/* The weights hold b_{n−1} (x_1 − x_0) too many: the first sample has no second difference. */
Value caputo_l1_2(const Frac *f) {
    Value factor = caputo_factor(f, 2), y = convolve(f, l1_2_weights, factor, differences(f, f->x));
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
    return convolve(f, l2_weights, caputo_factor(f, 3), differences(f, d));
}

/* grunwald of x − x_0 − slope·t, the slope where α > 1 */
Value caputo_gl(const Frac *f) {
    Graph *g = f->g;
    Value rest = mix(f, OP_sub, f->x, cut(f, f->x, 0, 1));
    if (!failed(f->lw) && !is_constant_zero(f, f->slope)) {
        Value flat = g_binary(g, OP_le, f->alpha, g_like(g, f->alpha, 1));
        Value rate = mix(f, OP_mul, f->slope, f->steps[f->axis]);
        if (failed(f->lw)) return NO_VALUE;
        Shape joint;
        shape_broadcast(shape_of(f->lw, rate), shape_of(f->lw, flat), &joint);
        rate = patch(f, flat, 0, g_broadcast(g, rate, joint));
        rest = mix(f, OP_sub, rest, cast_to_x(f, mix(f, OP_mul, rate, lags(f, 0, samples(f)))));
    }
    return convolve(f, grunwald_weights, step_power(f, g_neg(g, f->alpha)), rest);
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
    return convolve(f, atangana_baleanu_weights, g_div(g, g_like(g, rest, 1), rest), differences(f, f->x));
}
