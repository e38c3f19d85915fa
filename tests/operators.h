/* operators.h — every fractional operator, computed from its definition: what the library is measured by.
 *
 * One row an operator (kind and scheme). A periodic one is its symbol K(ω), applied by a naive Fourier sum;
 * a causal one is a function of the signal, in long double, written from the formula in the literature and
 * not from the library's composition. Nothing here is fast.
 */
#ifndef FRAX_TESTS_OPERATORS_H
#define FRAX_TESTS_OPERATORS_H

#include "ir.h"
#include <complex.h>
#undef I
#define I _Complex_I
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef long double Real;
typedef complex long double Complex;

static const Real pi = 3.141592653589793238462643383279502884L;

typedef struct Parameters {
    double alpha, lambda, theta, h;
} Parameters;

/* K(ω) at a point of the grid; n components of ω, signed. */
typedef Complex SymbolOf(const Real *w, int n, const Parameters *p);
/* y_0 … y_{n−1} from x_0 … x_{n−1}. */
typedef void Causal(const Parameters *p, const double *x, int64_t n, Real *y);

enum Trait {
    LAMBDA = 1,         /* takes lambda= */
    THETA = 2,          /* takes theta= */
    AXES = 4,           /* acts along several axes */
    SEMIGROUP = 8,      /* orders add; periodic kinds: off the Nyquist frequency */
    IDENTITY = 16,      /* order 0 is in the domain, and the identity */
    ENGINES = 32,       /* a causal convolution: engine=dense, direct, fft */
    INITIAL_SLOPE = 64, /* takes slope=, in the place of theta: affine in the signal, not linear */
    TIMES = 128,        /* takes times= instead of step=: see sample_time */
};

/* What the orders of a kind tend to at the lower end of those that are positive. */
enum Limit { NO_LIMIT, SAME, LESS_MEAN, LESS_FIRST, SAME_BUT_FIRST, PREVIOUS, DIFFERENCE };

typedef struct Operator {
    const char *name, *options;
    double lo, hi; /* orders that random tests draw from */
    unsigned traits;
    SymbolOf *symbol; /* NULL: causal */
    Causal *causal;
    enum Limit limit;
    double step; /* samples have steps of about this size; 0: 1 */
    int rest;    /* causal: commutes with shifts of signals that begin with so many zeros */
} Operator;

/* ---- Symbols ---- */

static inline Complex complex_power(Complex base, Real exponent) {
    if (base == 0) return exponent == 0;
    return cexpl(exponent * clogl(base));
}

/* (iω)^α */
static inline Complex weyl_definition(const Real *w, int n, const Parameters *p) {
    (void)n;
    return complex_power(I * w[0], p->alpha);
}

/* (Σ ω²)^{α/2} */
static inline Complex laplacian_definition(const Real *w, int n, const Parameters *p) {
    Real square = 0;
    for (int i = 0; i < n; i++) square += w[i] * w[i];
    return complex_power(square, (Real)p->alpha / 2);
}

/* |ω|^α e^{iπθ/2 sign ω} */
static inline Complex riesz_feller_definition(const Real *w, int n, const Parameters *p) {
    return laplacian_definition(w, n, p) * cexpl(I * pi / 2 * p->theta * ((w[0] > 0) - (w[0] < 0)));
}

/* (λ + iω)^α */
static inline Complex tempered_definition(const Real *w, int n, const Parameters *p) {
    (void)n;
    return complex_power(p->lambda + I * w[0], p->alpha);
}

static inline Complex centered_definition(const Real *w, int n, const Parameters *p) {
    return tempered_definition(w, n, p) - complex_power(p->lambda, p->alpha);
}

/* log Γ(z) for Re z ≥ 20 (Stirling) */
static inline Complex log_gamma_far(Complex z) {
    static const Real c[] = {1 / 12.0L,   -1 / 360.0L,      1 / 1260.0L, -1 / 1680.0L,
                             1 / 1188.0L, -691 / 360360.0L, 1 / 156.0L,  -3617 / 122400.0L};
    Complex sum = 0, power = 1 / z;
    for (int i = 0; i < 8; i++, power /= z * z) sum += c[i] * power;
    return (z - 0.5L) * clogl(z) - z + logl(2 * pi) / 2 + sum;
}

/* Γ(1 + iω)/Γ(1 + iω − α), through the recurrence so that no pole is met. */
static inline Complex mellin_definition(const Real *w, int n, const Parameters *p) {
    (void)n;
    Complex z = 1 + I * w[0], ratio = 1;
    for (int j = 0; j < 30; j++) ratio *= (z - p->alpha + j) / (z + j);
    return ratio * cexpl(log_gamma_far(z + 30) - log_gamma_far(z + 30 - p->alpha));
}

/* ---- Causal operators ---- */

/* y = scale · w * x */
static inline void convolve(Real scale, const Real *w, const double *x, int64_t n, Real *y) {
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t j = 0; j <= i; j++) y[i] += w[j] * x[i - j];
        y[i] *= scale;
    }
}

static inline Real *new_reals(int64_t n) {
    Real *w = calloc((size_t)n + 2, sizeof *w);
    if (!w) abort();
    return w;
}

/* h^{−α} (1 − e^{−λh} z)^α */
static inline void grunwald_of_order(Real alpha, Real decay, Real scale, const double *x, int64_t n,
                                     Real *y) {
    Real *w = new_reals(n);
    w[0] = 1;
    for (int64_t j = 1; j < n; j++) w[j] = w[j - 1] * decay * (j - 1 - alpha) / j;
    convolve(scale, w, x, n, y);
    free(w);
}

static inline void grunwald_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    grunwald_of_order(p->alpha, 1, powl(p->h, -(Real)p->alpha), x, n, y);
}

static inline void tempered_causal(const Parameters *p, const double *x, int64_t n, Real *y) {
    grunwald_of_order(p->alpha, expl(-(Real)p->lambda * p->h), powl(p->h, -(Real)p->alpha), x, n, y);
}

static inline void tempered_causal_centered(const Parameters *p, const double *x, int64_t n, Real *y) {
    tempered_causal(p, x, n, y);
    for (int64_t i = 0; i < n; i++) y[i] -= powl(p->lambda, p->alpha) * x[i];
}

/* (3/2 − 2z + z²/2)^α by Miller's recursion (Henrici 1974, theorem 1.6c) */
static inline void bdf2_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    const Real c[3] = {1.5L, -2, 0.5L}, alpha = p->alpha;
    Real *w = new_reals(n);
    w[0] = powl(c[0], alpha);
    for (int64_t j = 1; j < n; j++) {
        for (int k = 1; k <= 2 && k <= j; k++) w[j] += (k * alpha - (j - k)) * c[k] * w[j - k];
        w[j] /= j * c[0];
    }
    convolve(powl(p->h, -alpha), w, x, n, y);
    free(w);
}

/* (k+1)^p − k^p */
static inline Real power_step(int64_t k, Real p) {
    return k ? powl(k, p) * expm1l(p * log1pl(1.0L / k)) : 1;
}

/* L1 (Oldham & Spanier 1974; Sun & Wu 2006): x' is piecewise constant. y_0 = 0. */
static inline void l1_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real alpha = p->alpha, scale = powl(p->h, -alpha) / tgammal(2 - alpha);
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t j = 0; j < i; j++) y[i] += power_step(j, 1 - alpha) * ((Real)x[i - j] - x[i - j - 1]);
        y[i] *= scale;
    }
}

/* The times of the operators that take them, in steps: a grid with intervals of 0.7 to 1.3. */
static inline Real sample_time(int64_t i) {
    return i + 0.3L * sinl(i);
}

/* L1 on any grid (Zhang, Sun & Liao 2014): x' is piecewise constant. */
static inline void l1_on_times(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real power = 1 - (Real)p->alpha, scale = powl(p->h, -(Real)p->alpha) / tgammal(1 + power);
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t k = 1; k <= i; k++) {
            Real from = sample_time(k - 1), to = sample_time(k), now = sample_time(i);
            Real rest = k < i ? powl(now - to, power) : 0; /* also for power 0 */
            y[i] += ((Real)x[k] - x[k - 1]) / (to - from) * (powl(now - from, power) - rest);
        }
        y[i] *= scale;
    }
}

/* Sun & Wu 2006, eq. 2.14: L1 of order α − 1 for the slopes at the half points, after x'(0); the result
   stands at the half points. y_0 = 0. */
static inline void l2_with_slope(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real alpha = p->alpha, scale = powl(p->h, -alpha) / tgammal(3 - alpha), start = (Real)p->theta * p->h;
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t k = 1; k <= i; k++) {
            Real before = k > 1 ? (Real)x[k - 1] - x[k - 2] : start;
            y[i] += power_step(i - k, 2 - alpha) * ((Real)x[k] - x[k - 1] - before);
        }
        y[i] *= scale;
    }
}

static inline void l2_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    l2_with_slope(&(Parameters){p->alpha, 0, 0, p->h}, x, n, y);
}

/* L1-2 (Gao, Sun & Zhang 2014): on interval k, in units of the step, x' = δ_k + (s − k + ½)(δ_k − δ_{k−1})
   with δ_k = x_k − x_{k−1}; on the first one x' = δ_1. y_0 = 0. */
static inline void l1_2_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real power = 1 - (Real)p->alpha, scale = powl(p->h, -(Real)p->alpha) / tgammal(power);
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t k = 1; k <= i; k++) {
            int64_t lag = i - k;
            Real flat = power_step(lag, power) / power; /* ∫ (i − s)^{−α} ds */
            Real tilted = (lag + 0.5L) * flat - power_step(lag, power + 1) / (power + 1);
            Real d = (Real)x[k] - x[k - 1];
            y[i] += flat * d + (k > 1 ? tilted * (d - ((Real)x[k - 1] - x[k - 2])) : 0);
        }
        y[i] *= scale;
    }
}

/* Grünwald of x − x_0, and less slope · t where α > 1. */
static inline void caputo_gl_with_slope(const Parameters *p, const double *x, int64_t n, Real *y) {
    double *rest = malloc((size_t)n * sizeof *rest);
    if (!rest) abort();
    for (int64_t i = 0; i < n; i++) rest[i] = x[i] - x[0] - (p->alpha > 1 ? p->theta * (double)i * p->h : 0);
    grunwald_definition(p, rest, n, y);
    free(rest);
}

static inline void caputo_gl_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    caputo_gl_with_slope(&(Parameters){p->alpha, 0, 0, p->h}, x, n, y);
}

/* x_k on the interval after it. */
static inline void integral_rectangle(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real scale = powl(p->h, p->alpha) / tgammal((Real)p->alpha + 1);
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t k = 0; k < i; k++) y[i] += power_step(i - k - 1, p->alpha) * x[k];
        y[i] *= scale;
    }
}

static inline void integral_gl(const Parameters *p, const double *x, int64_t n, Real *y) {
    grunwald_of_order(-(Real)p->alpha, 1, powl(p->h, p->alpha), x, n, y);
}

/* Product trapezoid (Diethelm, Ford & Freed 2004, eq. 2.5): x is piecewise linear. y_0 = 0. */
static inline void integral_trapezoid(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real a = p->alpha, scale = powl(p->h, a) / tgammal(a + 2);
    for (int64_t i = 0; i < n; i++) {
        y[i] = i ? (powl(i - 1, a + 1) - (i - 1 - a) * powl(i, a)) * x[0] + x[i] : 0;
        for (int64_t k = 1; k < i; k++) y[i] += (power_step(k, a + 1) - power_step(k - 1, a + 1)) * x[i - k];
        y[i] *= scale;
    }
}

/* Caputo & Fabrizio 2015 with M = 1: ∫ x'(s) e^{−α(t−s)/(1−α)} ds/(1−α) on piecewise linear x. */
static inline void caputo_fabrizio_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real rate = p->alpha / (1 - (Real)p->alpha), h = p->h;
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t j = 1; j <= i; j++) {
            Real near = expl(-rate * h * (i - j)), far = expl(-rate * h * (i - j + 1));
            y[i] += ((Real)x[j] - x[j - 1]) / h * (near - far) / p->alpha;
        }
    }
}

/* E_{α,β}(z) by its power series: for |z| of a few units */
static inline Real mittag_leffler_series(Real alpha, Real beta, Real z) {
    Real sum = 0, power = 1;
    for (int k = 0; k < 400 && alpha * k + beta < 1700; k++, power *= z)
        sum += power / tgammal(alpha * k + beta);
    return sum;
}

/* Atangana & Baleanu 2016 in Caputo's sense with B = 1: kernel E_α(−α τ^α/(1−α))/(1−α) on piecewise linear
   x; its integral over [0, τ] is τ E_{α,2}(−α τ^α/(1−α))/(1−α). */
static inline Real atangana_baleanu_step(const Parameters *p, int64_t k) {
    Real alpha = p->alpha, tau = k * (Real)p->h;
    return tau * mittag_leffler_series(alpha, 2, -alpha / (1 - alpha) * powl(tau, alpha)) / (1 - alpha);
}

static inline void atangana_baleanu_definition(const Parameters *p, const double *x, int64_t n, Real *y) {
    Real *weights = new_reals(n);
    for (int64_t k = 0; k < n; k++)
        weights[k] = (atangana_baleanu_step(p, k + 1) - atangana_baleanu_step(p, k)) / p->h;
    for (int64_t i = 0; i < n; i++) {
        y[i] = 0;
        for (int64_t j = 1; j <= i; j++) y[i] += weights[i - j] * ((Real)x[j] - x[j - 1]);
    }
    free(weights);
}

/* ---- The operators ---- */

static const Operator operators[] = {
    {"weyl", "kind=weyl", -0.9, 2.4, SEMIGROUP | IDENTITY, weyl_definition, .limit = LESS_MEAN},
    {"liouville", "kind=liouville", -0.9, 2.4, SEMIGROUP | IDENTITY, weyl_definition, .limit = LESS_MEAN},
    {"riesz", "kind=riesz", -0.9, 2.4, SEMIGROUP | IDENTITY, laplacian_definition, .limit = LESS_MEAN},
    {"riesz_feller", "kind=riesz_feller", 0.21, 1.79, THETA, riesz_feller_definition},
    {"laplacian", "kind=laplacian", -0.9, 2.4, SEMIGROUP | IDENTITY | AXES, laplacian_definition,
     .limit = LESS_MEAN},
    {"tempered", "kind=tempered", -0.9, 2.4, SEMIGROUP | IDENTITY | LAMBDA, tempered_definition,
     .limit = SAME},
    {"tempered centered", "kind=tempered, centered=true", 0.1, 1.9, LAMBDA, centered_definition},
    {"mellin", "kind=mellin", -0.9, 2.4, IDENTITY, mellin_definition, .limit = SAME},
    {"grunwald", "kind=grunwald", -0.9, 2.4, SEMIGROUP | IDENTITY | ENGINES, .causal = grunwald_definition,
     .limit = SAME},
    {"hadamard", "kind=hadamard", -0.9, 2.4, SEMIGROUP | IDENTITY | ENGINES, .causal = grunwald_definition,
     .limit = SAME},
    {"tempered causal", "kind=tempered, causal=true", -0.9, 1.9, SEMIGROUP | IDENTITY | ENGINES | LAMBDA,
     .causal = tempered_causal, .limit = SAME},
    {"tempered causal centered", "kind=tempered, causal=true, centered=true", 0.1, 1.9, ENGINES | LAMBDA,
     .causal = tempered_causal_centered},
    {"riemann_liouville gl", "kind=riemann_liouville, scheme=gl", -0.9, 2.4, SEMIGROUP | IDENTITY | ENGINES,
     .causal = grunwald_definition, .limit = SAME},
    {"riemann_liouville bdf2", "kind=riemann_liouville, scheme=bdf2", -0.9, 2.4,
     SEMIGROUP | IDENTITY | ENGINES, .causal = bdf2_definition, .limit = SAME},
    {"caputo l1", "kind=caputo, scheme=l1", 0.05, 0.95, ENGINES, .causal = l1_definition, .rest = 1,
     .limit = LESS_FIRST},
    {"caputo l1 on times", "kind=caputo", 0.05, 0.95, TIMES, .causal = l1_on_times, .limit = LESS_FIRST},
    {"caputo l1_2", "kind=caputo, scheme=l1_2", 0.05, 0.95, ENGINES, .causal = l1_2_definition, .rest = 2,
     .limit = LESS_FIRST},
    {"caputo l2", "kind=caputo, scheme=l2", 1.05, 1.95, ENGINES, .causal = l2_definition, .rest = 1,
     .limit = DIFFERENCE},
    {"caputo l2 slope", "kind=caputo, scheme=l2", 1.05, 1.95, ENGINES | INITIAL_SLOPE,
     .causal = l2_with_slope},
    {"caputo gl", "kind=caputo, scheme=gl", 0.05, 1.95, ENGINES, .causal = caputo_gl_definition, .rest = 1,
     .limit = LESS_FIRST},
    {"caputo gl slope", "kind=caputo, scheme=gl", 1.05, 1.95, ENGINES | INITIAL_SLOPE,
     .causal = caputo_gl_with_slope},
    {"integral gl", "kind=integral, scheme=gl", 0.1, 2.4, SEMIGROUP | ENGINES, .causal = integral_gl,
     .limit = SAME},
    {"integral rectangle", "kind=integral, scheme=rectangle", 0.1, 2.4, ENGINES, .causal = integral_rectangle,
     .limit = PREVIOUS},
    {"integral trapezoid", "kind=integral, scheme=trapezoid", 0.1, 2.4, ENGINES, .causal = integral_trapezoid,
     .rest = 1, .limit = SAME_BUT_FIRST},
    {"caputo_fabrizio", "kind=caputo_fabrizio", 0.1, 0.9, 0, .causal = caputo_fabrizio_definition,
     .limit = LESS_FIRST, .rest = 1},
    {"atangana_baleanu", "kind=atangana_baleanu", 0.2, 0.6, ENGINES, .causal = atangana_baleanu_definition,
     .limit = LESS_FIRST, .step = 0.05, .rest = 1},
};

static inline const Operator *find_operator(const char *name) {
    for (size_t i = 0; i < COUNT(operators); i++)
        if (!strcmp(operators[i].name, name)) return &operators[i];
    abort();
}

/* ---- Application along axes ---- */

/* In place, along an axis of n points with the given stride among `total`: Σ a_m e^{∓2πi km/n}. */
static inline void fourier(Complex *a, int64_t total, int64_t n, int64_t stride, int sign) {
    Complex *line = malloc(sizeof *line * (size_t)n);
    for (int64_t start = 0; line && start < total; start++) {
        if (start / stride % n) continue;
        for (int64_t k = 0; k < n; k++) {
            line[k] = 0;
            for (int64_t m = 0; m < n; m++)
                line[k] += a[start + m * stride] * cexpl(sign * 2 * pi * I * (Real)(k * m % n) / n);
        }
        for (int64_t k = 0; k < n; k++) a[start + k * stride] = line[k];
    }
    free(line);
}

/* K on the full grid: K(−ω) = conj K(ω), and the real part where n/2 meets −n/2. */
static inline Complex symbol_at(const Operator *op, const Parameters *p, const Shape *block, int64_t at) {
    Real w[MAX_RANK];
    bool negative = false, nyquist = false;
    for (int i = block->rank - 1; i >= 0; i--) {
        int64_t n = block->dims[i], k = at % n;
        at /= n;
        w[i] = 2 * pi * (k <= n / 2 ? k : n - k) / (n * (Real)p->h);
        negative = k > n / 2;
        nyquist = 2 * k == n;
    }
    Complex value = op->symbol(w, block->rank, p);
    return nyquist && block->rank == 1 ? creall(value) : negative && block->rank == 1 ? conjl(value) : value;
}

static inline void apply_periodic(const Operator *op, const Parameters *p, const Shape *block,
                                  const double *x, Real *y) {
    int64_t total = shape_size(block), stride = 1;
    Complex *a = malloc(sizeof *a * (size_t)total);
    for (int64_t i = 0; i < total; i++) a[i] = x[i];
    for (int i = block->rank - 1; i >= 0; stride *= block->dims[i--])
        fourier(a, total, block->dims[i], stride, -1);
    for (int64_t i = 0; i < total; i++) a[i] *= symbol_at(op, p, block, i) / total;
    stride = 1;
    for (int i = block->rank - 1; i >= 0; stride *= block->dims[i--])
        fourier(a, total, block->dims[i], stride, 1);
    for (int64_t i = 0; i < total; i++) y[i] = creall(a[i]);
    free(a);
}

/* One block: the points along the operator's axes, dense. */
static inline void apply_definition(const Operator *op, const Parameters *p, const Shape *block,
                                    const double *x, Real *y) {
    if (op->symbol)
        apply_periodic(op, p, block, x, y);
    else
        op->causal(p, x, block->dims[0], y);
}

/* frac(x, alpha, …) of n points as text, with the names h, l and t for the other parameters; extra: "" or
   ", engine=fft". */
static inline const char *frac_text(const Operator *op, const char *x, int64_t n, const char *alpha,
                                    const char *extra, char out[256]) {
    char step[100] = "step=h";
    if (op->traits & TIMES)
        snprintf(step, sizeof step, "times=h*(iota(%lld, f64) + 0.3*sin(iota(%lld, f64)))", (long long)n,
                 (long long)n);
    snprintf(out, 256, "frac(%s, %s, %s, %s%s%s%s%s)", x, alpha, op->options, step,
             op->traits & LAMBDA ? ", lambda=l" : "", op->traits & THETA ? ", theta=t" : "",
             op->traits & INITIAL_SLOPE ? ", slope=t" : "", extra);
    return out;
}

#endif
