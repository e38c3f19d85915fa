/* fractional_soe.c — engine=soe: weights at long lags as a sum of decaying exponentials.
 *
 * The weights w_k at lags k ≥ J are integrals ∫ e^{−kλ} ρ(λ) dλ over relaxation rates. With λ = exp(x −
 * e^{−x})/H the trapezoidal rule in x converges exponentially (McLean 2018), uniformly for all lags J … H, so
 * that
 *
 *     w_k ≈ Σ_m c_m r_m^{k−J},  r_m = e^{−λ_m},
 *
 * on one bank of rates for all orders; only the coefficients c_m depend on the order, and derivatives in it
 * go through them. The first J lags are an exact short convolution. The step of the rule and the ends of the
 * bank were measured: every weight meets the tolerance, relative to itself.
 */
#include "fractional.h"
#include <math.h>

/* r^k carries the rounding of r k-fold: measured up to H = 1e7, at most 2e-17 H of a weight. */
double soe_least_tolerance(int64_t horizon) {
    return fmax(1e-13, 4e-17 * (double)horizon);
}

/* ---- The bank ---- */

/* How many modes, and where they stand: x_m = step · (first + m). At the left end λ^{0.05} is below the
   tolerance even times log λ, which derivatives in the order bring. */
typedef struct Grid {
    double step, first;
    int64_t modes;
} Grid;

static Grid grid_of(const Frac *f, double digits) {
    double spread = -log(f->tol), step = 3.9 / (digits - log10(f->tol));
    double lo = -log((spread + 9) / 0.05), hi = log((double)f->horizon * (spread + 5) / (SOE_LAGS - 1));
    double first = ceil(lo / step);
    return (Grid){step, first, (int64_t)floor(hi / step - first) + 2};
}

/* Rates λ_m, their logarithms, and log(q_m), the weights of the rule in λ. Along the operator's axis. The
   slowest rates may lie beyond the range of f64; no signal tells them from 1e-200. */
static Bank make_bank(const Frac *f, const Family *family) {
    Graph *g = f->g;
    Grid grid = grid_of(f, family->digits);
    Value x = g_scale(g, g_shift(g, lags(f, 0, grid.modes), grid.first), grid.step);
    Value bend = g_unary(g, OP_exp, g_neg(g, x));
    Value log_rate = g_shift(g, g_sub(g, x, bend), -log((double)f->horizon));
    Value jacobian = g_shift(g, g_unary(g, OP_log1p, bend), log(grid.step));
    Value rate = g_unary(g, OP_exp, log_rate);
    return (Bank){g_binary(g, OP_max, rate, g_like(g, rate, 1e-200)), log_rate, g_add(g, log_rate, jacobian)};
}

/* ---- Coefficients: what stands for w_{J+k} with k = 0 ---- */

static Value minus(const Frac *f, double constant, Value v) {
    return g_sub(f->g, g_like(f->g, v, constant), v);
}

/* scale · e^{exponent + log q − Jλ}, and 0 below 1e-100: the slowest modes, which only the lowest orders
   need, would have products too small for normal numbers, which processors compute many times slower. */
static Value coefficient(const Frac *f, const Bank *bank, Value scale, Value exponent) {
    Graph *g = f->g;
    Value fixed = g_sub(g, bank->log_weight, g_scale(g, bank->rate, SOE_LAGS));
    Value c = g_unary(g, OP_exp, mix(f, OP_add, exponent, fixed));
    Value none = g_binary(g, OP_lt, c, g_like(g, c, 1e-100));
    return mix(f, OP_mul, patch(f, none, 0, c), scale);
}

/* (1 − z)^a: w_k = −sin(πa)/π ∫ e^{−kλ} (e^λ − 1)^a dλ, for a > −1 and, at lags k > a, continued beyond 1. */
static Value binomial_coefficients(const Frac *f, const Bank *bank, Value a) {
    Graph *g = f->g;
    Value scale = g_scale(g, g_unary(g, OP_sin, g_scale(g, a, M_PI)), -M_1_PI);
    Value ratio = g_div(g, g_unary(g, OP_expm1, bank->rate), bank->rate);
    Value log_growth = g_add(g, bank->log_rate, g_unary(g, OP_log, ratio)); /* log(e^λ − 1) */
    return coefficient(f, bank, scale, mix(f, OP_mul, log_growth, a));
}

Value grunwald_coefficients(const Frac *f, const Bank *bank) {
    return binomial_coefficients(f, bank, f->alpha);
}

Value integral_coefficients(const Frac *f, const Bank *bank) {
    return binomial_coefficients(f, bank, g_neg(f->g, f->alpha));
}

/* (k+1)^p − k^p = p/Γ(1−p) ∫ e^{−kλ} λ^{−p} (1 − e^{−λ})/λ dλ, 0 < p < 1 */
static Value power_coefficients(const Frac *f, const Bank *bank, Value p) {
    Graph *g = f->g;
    Value gamma = g_unary(g, OP_lgamma, minus(f, 1, p));
    Value scale = g_mul(g, p, g_unary(g, OP_exp, g_neg(g, gamma)));
    Value drop = g_neg(g, g_unary(g, OP_expm1, g_neg(g, bank->rate)));
    Value shape = g_unary(g, OP_log, g_div(g, drop, bank->rate));
    Value powers = mix(f, OP_mul, bank->log_rate, g_neg(g, p));
    return coefficient(f, bank, scale, mix(f, OP_add, powers, shape));
}

Value l1_coefficients(const Frac *f, const Bank *bank) {
    return power_coefficients(f, bank, minus(f, 1, f->alpha));
}

Value l2_coefficients(const Frac *f, const Bank *bank) {
    return power_coefficients(f, bank, minus(f, 2, f->alpha));
}

Value rectangle_coefficients(const Frac *f, const Bank *bank) {
    return power_coefficients(f, bank, f->alpha);
}

/* Second differences of k^{1+α}: α(1+α)/Γ(1−α) ∫ e^{−kλ} λ^{−α} (2 sinh(λ/2)/λ)² dλ, 0 < α < 1, with
   (2 sinh(λ/2))² = (e^λ − 1)(1 − e^{−λ}) */
Value trapezoid_coefficients(const Frac *f, const Bank *bank) {
    Graph *g = f->g;
    Value alpha = f->alpha, gamma = g_unary(g, OP_lgamma, minus(f, 1, alpha));
    Value scale = g_mul(g, g_mul(g, alpha, g_shift(g, alpha, 1)), g_unary(g, OP_exp, g_neg(g, gamma)));
    Value rise = g_div(g, g_unary(g, OP_expm1, bank->rate), bank->rate);
    Value drop = g_div(g, g_neg(g, g_unary(g, OP_expm1, g_neg(g, bank->rate))), bank->rate);
    Value shape = g_unary(g, OP_log, g_mul(g, rise, drop));
    Value powers = mix(f, OP_mul, bank->log_rate, g_neg(g, alpha));
    return coefficient(f, bank, scale, mix(f, OP_add, powers, shape));
}

/* ---- The convolution ---- */

Value convolve_soe(const Frac *f, const Family *family, Value factor, Value z) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    char kind[96];
    FraxDType dtype = graph_type(g, z)->dtype;
    Value w = family->weights(f, SOE_LAGS);
    Bank bank = make_bank(f, family);
    Value c = family->coefficients(f, &bank), rate = bank.rate;
    if (!failed(f->lw))
        graph_note(g, g->loc, "%s of %lld samples: soe, %lld modes, lags 0 to %d exact, tol %g",
                   kind_text(f->kind, kind), (long long)samples(f),
                   (long long)shape_of(f->lw, rate)->dims[f->axis], SOE_LAGS - 1, f->tol);
    if (family->decay) {
        Value decay = family->decay(f);
        rate = mix(f, OP_add, rate, decay);
        c = mix(f, OP_mul, c, g_unary(g, OP_exp, g_scale(g, decay, -SOE_LAGS)));
    }
    if (factor != NO_VALUE) {
        w = mix(f, OP_mul, w, factor);
        c = mix(f, OP_mul, c, factor);
    }
    if (failed(f->lw)) return NO_VALUE;
    Value near = g_causal_conv(g, g_cast(g, w, dtype), z, f->axis, ENGINE_AUTO);
    Value r = g_unary(g, OP_exp, g_neg(g, rate));
    Exponential how = {.axis = f->axis, .lag = SOE_LAGS};
    return g_add(g, near, g_exponential_conv(g, z, c, r, how));
}
