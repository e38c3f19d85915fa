/* fractional_weights.c — the weights of causal fractional operators, as f64 nodes along the operator's axis.
 *
 * Differences of powers are never formed as such: they lose all their digits at long lags. Each family is
 * written in a form that is accurate to a few units of rounding at every lag and for every order of its
 * range, down to the orders at which the weights vanish.
 */
#include "fractional.h"
#include <math.h>

/* The op puts the weights along the last axis. */
Value grunwald_along(const Frac *f, Value alpha, int64_t n) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, alpha), moved = {.rank = shape.rank};
    uint8_t perm[MAX_RANK];
    for (int i = 0; i < shape.rank; i++) {
        if (i != f->axis) moved.dims[i < f->axis ? i : i - 1] = shape.dims[i];
        perm[i] = (uint8_t)(i == f->axis ? shape.rank - 1 : i < f->axis ? i : i - 1);
    }
    moved.dims[shape.rank - 1] = 1;
    Value w = g_grunwald_weights(g, g_reshape(g, alpha, moved), n);
    if (shape_size(&shape) != 1) return g_transpose(g, w, perm);
    shape.dims[f->axis] = n;
    return g_reshape(g, w, shape);
}

Value grunwald_weights(const Frac *f, int64_t n) {
    return grunwald_along(f, f->alpha, n);
}

/* Those of the integral of order alpha. */
Value integral_weights(const Frac *f, int64_t n) {
    return grunwald_along(f, g_neg(f->g, f->alpha), n);
}

/* λh */
Value tempering(const Frac *f) {
    return mix(f, OP_mul, f->lambda, f->steps[f->axis]);
}

/* w_j e^{−λjh} */
Value tempered_weights(const Frac *f, int64_t n) {
    Value decay = g_neg(f->g, mix(f, OP_mul, lags(f, 0, n), tempering(f)));
    return mix(f, OP_mul, grunwald_weights(f, n), g_unary(f->g, OP_exp, decay));
}

/* (1 − z/3)^α has the coefficients w_j(α) 3^{−j}, cut off where they are below 1e-16 for every alpha of the
   scheme. */
Value bdf2_tail(const Frac *f, int64_t n) {
    enum { TAPS = 48 };
    int64_t taps = MIN(n, TAPS);
    Value decay = g_unary(f->g, OP_exp, g_scale(f->g, lags(f, 0, taps), -log(3)));
    return mix(f, OP_mul, grunwald_weights(f, taps), decay);
}

/* (1 − z)^α (1 − z/3)^α = (1 − 4z/3 + z²/3)^α */
Value bdf2_weights(const Frac *f, int64_t n) {
    return g_causal_conv(f->g, bdf2_tail(f, n), grunwald_weights(f, n), f->axis, ENGINE_DIRECT);
}

/* (j+1)^p − j^p = j^p expm1(p log1p(1/j)) */
static Value power_differences(const Frac *f, Value p, int64_t n) {
    Graph *g = f->g;
    Value j = lags(f, 0, n), first = is_zero(f, j), safe = patch(f, first, 1, j);
    Value ratio = g_unary(g, OP_log1p, g_div(g, g_like(g, safe, 1), safe));
    Value growth = g_unary(g, OP_expm1, mix(f, OP_mul, ratio, p));
    return patch(f, first, 1, mix(f, OP_mul, mix(f, OP_pow, safe, p), growth));
}

static Value minus(const Frac *f, double constant, Value v) {
    return g_sub(f->g, g_like(f->g, v, constant), v);
}

/* (j+1)^{1−α} − j^{1−α} */
Value l1_weights(const Frac *f, int64_t n) {
    return power_differences(f, minus(f, 1, f->alpha), n);
}

/* (j+1)^{2−α} − j^{2−α} */
Value l2_weights(const Frac *f, int64_t n) {
    return power_differences(f, minus(f, 2, f->alpha), n);
}

/* (j+1)^α − j^α */
Value rectangle_weights(const Frac *f, int64_t n) {
    return power_differences(f, f->alpha, n);
}

/* Second differences (j+1)^{1+α} − 2j^{1+α} + (j−1)^{1+α}, and 1 at j = 0. With u = 1/j, s = log(1 − u²)/2
   and d = atanh u, (1 ± u)^α = e^{α(s ± d)}, and since e^s cosh d = 1 and e^s sinh d = u, j^{1+α}
   [(1+u)^{1+α} + (1−u)^{1+α} − 2] = 2 j^{1+α} [e^{αs} (cosh αd + u sinh αd) − 1]. */
Value trapezoid_weights(const Frac *f, int64_t n) {
    Graph *g = f->g;
    Value j = lags(f, 0, n), early = g_binary(g, OP_le, j, g_like(g, j, 1)), safe = patch(f, early, 2, j);
    Value u = g_div(g, g_like(g, j, 1), safe), up = g_unary(g, OP_log1p, u);
    Value down = g_unary(g, OP_log1p, g_neg(g, u));
    Value s = g_scale(g, g_unary(g, OP_log1p, g_neg(g, g_mul(g, u, u))), 0.5);
    Value d = g_scale(g, g_sub(g, up, down), 0.5);
    Value e = g_unary(g, OP_expm1, mix(f, OP_mul, d, f->alpha)); /* e^{αd} − 1 */
    Value half = g_div(g, e, g_scale(g, g_shift(g, e, 1), 2));
    Value cosh = g_mul(g, e, half), sinh = g_mul(g, g_shift(g, e, 2), half); /* cosh αd − 1, sinh αd */
    Value rise = g_add(g, cosh, mix(f, OP_mul, sinh, u));
    Value fall = g_unary(g, OP_expm1, mix(f, OP_mul, s, f->alpha));
    Value bracket = g_add(g, g_mul(g, fall, g_shift(g, rise, 1)), rise);
    Value power = mix(f, OP_pow, safe, g_shift(g, f->alpha, 1));
    Value a = g_scale(g, g_mul(g, power, bracket), 2);
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, a);
    Value second = g_scale(g, g_unary(g, OP_expm1, g_scale(g, f->alpha, log(2))), 2); /* 2^{1+α} − 2 */
    a = g_select(g, g_broadcast(g, early, shape), g_broadcast(g, second, shape), a);
    return patch(f, is_zero(f, j), 1, a);
}

/* How the mean of t^p over [j, j+1] exceeds the mean of its end values, p = 1 − α:
   b_j = [(j+1)^{p+1} − j^{p+1}]/(p+1) − [(j+1)^p + j^p]/2 = −m^p Σ_{k≥1} C(p, 2k) 2k/(2k+1) (2m)^{−2k}, m = j
   + ½. All terms have one sign. At j = 1 the series falls by 1/9 a term; b_0 = 1/(2−α) − 1/2. */
Value l1_2_corrections(const Frac *f, int64_t n) {
    enum { TERMS = 16 };
    Graph *g = f->g;
    Value c[TERMS], j = lags(f, 0, n), first = is_zero(f, j), m = patch(f, first, 1.5, g_shift(g, j, 0.5));
    Value p = minus(f, 1, f->alpha), u = g_div(g, g_like(g, m, 0.25), g_mul(g, m, m)), sum;
    c[0] = g_scale(g, g_mul(g, p, f->alpha), 0.5); /* −C(p, 2k), k = 1, 2 … */
    for (int k = 1; k < TERMS; k++) {
        Value next = g_mul(g, minus(f, 2 * k, p), minus(f, 2 * k + 1, p));
        c[k] = g_scale(g, g_mul(g, c[k - 1], next), 1.0 / ((2 * k + 1) * (2 * k + 2)));
    }
    sum = g_scale(g, c[TERMS - 1], 2.0 * TERMS / (2 * TERMS + 1));
    for (int k = TERMS - 1; k >= 1; k--)
        sum = mix(f, OP_add, mix(f, OP_mul, sum, u), g_scale(g, c[k - 1], 2.0 * k / (2 * k + 1)));
    Value b = mix(f, OP_mul, mix(f, OP_pow, m, p), mix(f, OP_mul, sum, u));
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, b);
    Value at_zero = g_scale(g, g_div(g, f->alpha, minus(f, 2, f->alpha)), 0.5);
    return g_select(g, g_broadcast(g, first, shape), g_broadcast(g, at_zero, shape), b);
}

/* The weights of x_k − x_{k−1} in the L1-2 formula (Gao, Sun & Zhang 2014), but for the first difference,
   whose own second difference is not taken: a_j + b_j − b_{j−1}. */
Value l1_2_weights(const Frac *f, int64_t n) {
    Value b = l1_2_corrections(f, n);
    return g_add(f->g, l1_weights(f, n), g_sub(f->g, b, delayed(f, b)));
}

/* ---- The Mittag-Leffler kernel ---- */

/* E_{α,beta}(−α/(1−α) (s h)^α) */
static Value mittag_leffler_at(const Frac *f, double beta, Value s) {
    Graph *g = f->g;
    Value zero = is_zero(f, s), t = mix(f, OP_mul, patch(f, zero, 1, s), f->steps[f->axis]);
    Value rate = g_div(g, f->alpha, g_shift(g, f->alpha, -1));
    Value z = patch(f, zero, 0, mix(f, OP_mul, mix(f, OP_pow, t, f->alpha), rate));
    if (failed(f->lw)) return NO_VALUE;
    return g_mittag_leffler(g, 0, 0, g_broadcast(g, f->alpha, *shape_of(f->lw, z)), g_like(g, z, beta), z);
}

/* From differences of the integral s E_{α,2}, which lose j units of rounding. */
static Value kernel_by_differences(const Frac *f, int64_t from, int64_t n) {
    Value s = lags(f, from, n), end = g_shift(f->g, s, 1);
    Value upper = mix(f, OP_mul, mittag_leffler_at(f, 2, end), end);
    return mix(f, OP_sub, upper, mix(f, OP_mul, mittag_leffler_at(f, 2, s), s));
}

/* By Gauss's rule of 2 or 3 points: the error relative to the weight is below 24 j^{−4}/4320 or 720
 * j^{−6}/2016000. */
static Value kernel_by_gauss(const Frac *f, int64_t from, int64_t n, int points) {
    static const double nodes[2][3] = {{-0.57735026918962576451, 0.57735026918962576451},
                                       {-0.77459666924148337704, 0, 0.77459666924148337704}},
                        weights[2][3] = {{0.5, 0.5}, {5.0 / 18, 8.0 / 18, 5.0 / 18}};
    Value s = lags(f, from, n), sum = NO_VALUE;
    for (int i = 0; i < points; i++) {
        Value at = g_shift(f->g, s, 0.5 + 0.5 * nodes[points - 2][i]);
        Value part = g_scale(f->g, mittag_leffler_at(f, 1, at), weights[points - 2][i]);
        sum = i ? g_add(f->g, sum, part) : part;
    }
    return sum;
}

/* The mean of E_α(−α/(1−α) t^α) over [jh, (j+1)h]. */
Value atangana_baleanu_weights(const Frac *f, int64_t n) {
    enum { GAUSS_3 = 64, GAUSS_2 = 1024 };
    Value parts[3] = {kernel_by_differences(f, 0, MIN(n, GAUSS_3))};
    int count = 1;
    if (n > GAUSS_3) parts[count++] = kernel_by_gauss(f, GAUSS_3, MIN(n, GAUSS_2) - GAUSS_3, 3);
    if (n > GAUSS_2) parts[count++] = kernel_by_gauss(f, GAUSS_2, n - GAUSS_2, 2);
    return failed(f->lw) ? NO_VALUE : g_concat(f->g, parts, count, f->axis);
}
