/* mittag_leffler.c — the two-parameter Mittag-Leffler function and its derivatives in z and β.
 *
 * The inverse Laplace transform
 *     ∂_z^n ∂_β^m E_{α,β}(z) = 1/(2πi) ∮ e^λ λ^{α−β} (−ln λ)^m n! / (λ^α − z)^{n+1} dλ
 * on the parabola λ(u) = μ(1 + iu)² by the trapezoidal rule, which converges geometrically (Weideman &
 * Trefethen 2007; Garrappa 2015, SIAM J. Numer. Anal. 53(3)). The parabola runs either around all poles
 * λ^α = z of the principal sheet, or between the branch point 0 and the poles, whose residues are then added.
 *
 * With A = π/h the rule errs by e^{−2Ad}, d the distance in u from the real line to the nearest singularity:
 * the branch point lies at u = i, a pole at Im u = 1 − Re √(λ_p/μ). Downward nothing but e^λ grows, and the
 * error is e^{2A − A²/μ}. All is real for real z, so half of the nodes suffice.
 */
#include "special.h"
#include <math.h>

typedef struct Complex {
    double re, im;
} Complex;

static Complex times(Complex a, Complex b) {
    return (Complex){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

static Complex scaled(Complex a, double s) {
    return (Complex){s * a.re, s * a.im};
}

static Complex inverse(Complex a) {
    return scaled((Complex){a.re, -a.im}, 1 / (a.re * a.re + a.im * a.im));
}

static Complex integer_power(Complex a, int64_t n) {
    Complex r = {1, 0};
    for (; n > 0; n--) r = times(r, a);
    return r;
}

static double reciprocal_gamma(double x) {
    return x <= 0 && x == floor(x) ? 0 : 1 / tgamma(x);
}

/* e^{s(a + ib)} */
static Complex exponential(double s, Complex a) {
    return scaled((Complex){cos(s * a.im), sin(s * a.im)}, exp(s * a.re));
}

typedef struct Point {
    double alpha, beta, z;
    int64_t n, m;
    double log_radius, radius, angle; /* of the pole in the upper half plane, λ_p = |z|^{1/α} e^{i·angle} */
    bool pole;                        /* there is one on the principal sheet */
} Point;

/* |z|^{1/α}, with the rounding of 1/α made good: it would be multiplied by ln λ_p. */
static void find_pole(Point *p) {
    double inverse_alpha = 1 / p->alpha, rest = fma(-p->alpha, inverse_alpha, 1) * inverse_alpha;
    double log_z = log(fabs(p->z));
    p->pole = p->z > 0 || (p->z < 0 && p->alpha > 1);
    p->log_radius = log_z * inverse_alpha;
    p->radius = pow(fabs(p->z), inverse_alpha);
    if (isfinite(p->radius)) p->radius += p->radius * log_z * rest;
    p->angle = p->z > 0 ? 0 : M_PI * inverse_alpha;
}

/* ---- The residue ---- */

/* With g(z) = λ^{1−β} e^λ (−ln λ)^m / α at λ = z^{1/α}, D_z^k g = λ^{1−β−kα} e^λ P_k(λ, ln λ), where
   P_0 = (−ln λ)^m / α and α P_{k+1} = (1 − β − kα + λ) P_k + λ ∂P_k/∂λ + ∂P_k/∂(ln λ). */
static Complex residue_polynomial(const Point *p, Complex pole, Complex log_pole) {
    double c[MAX_MITTAG_LEFFLER + 2][MAX_MITTAG_LEFFLER + 2] = {{0}}; /* of λ^i ln^j λ */
    c[0][p->m] = (p->m % 2 ? -1 : 1) / p->alpha;
    for (int64_t k = 0; k < p->n; k++)
        for (int64_t i = k + 1; i >= 0; i--) /* in place: row i needs the old rows i and i − 1 */
            for (int64_t j = 0; j <= p->m; j++) {
                double here = (1 - p->beta - (double)k * p->alpha + (double)i) * c[i][j];
                double derived = (double)(j + 1) * c[i][j + 1], shifted = i ? c[i - 1][j] : 0;
                c[i][j] = (here + derived + shifted) / p->alpha;
            }
    Complex sum = {0};
    for (int64_t i = p->n; i >= 0; i--) {
        Complex row = {0};
        for (int64_t j = p->m; j >= 0; j--) {
            row = times(row, log_pole);
            row.re += c[i][j];
        }
        sum = times(sum, pole);
        sum = (Complex){sum.re + row.re, sum.im + row.im};
    }
    return sum;
}

/* The sum of the residues: of one real pole, or of a conjugate pair. e^λ in halves, since it may overflow
   where its product with a small power of λ does not. */
static double residues(const Point *p) {
    Complex pole = {p->radius * cos(p->angle), p->radius * sin(p->angle)};
    Complex log_pole = {p->log_radius, p->angle};
    if (pole.re < -800) return 0;
    Complex half = exponential(0.5, pole), r = residue_polynomial(p, pole, log_pole);
    if (p->z > 0 && isinf(p->radius)) return INFINITY;
    r = times(r, exponential(1 - p->beta - (double)p->n * p->alpha, log_pole));
    r = times(times(r, half), half);
    return p->z > 0 ? r.re : 2 * r.re;
}

/* ---- The integral ---- */

typedef struct Parabola {
    double mu, h;
    int nodes;
} Parabola;

enum { DIGITS = 36 }; /* e^−36 = 2e-16 */

/* A = π/h such that the error e^{−2A(d−s)} · s^{−w} (μ)^{−p}, s the distance kept from the singularities, is
   below e^−DIGITS: p bounds the growth of the integrand toward the branch point, w counts its poles too. */
static double resolution(const Point *p, double mu, double strip) {
    double at_origin = fmax(0, p->beta + p->alpha * (double)p->n - 0.5);
    double w = 2 * at_origin + (double)p->n + 1, needed = DIGITS - at_origin * log(mu), a = 20 / strip;
    for (int i = 0; i < 3; i++) a = (needed + w * (1 + log(2 * a / w))) / (2 * strip);
    return fmax(a, mu + sqrt(mu * mu + DIGITS * mu));
}

static Parabola parabola(const Point *p, double mu, double a) {
    double rising = fmax(0, p->alpha - p->beta + 0.5), squared = DIGITS / mu;
    for (int i = 0; rising > 0 && i < 2; i++) squared = (DIGITS + rising * log1p(squared)) / mu;
    return (Parabola){mu, M_PI / a, 1 + (int)(sqrt(squared) * a * M_1_PI)};
}

/* Around the poles: μ as large as rounding allows, since the integrand is e^μ times too large. */
static Parabola around_poles(const Point *p, double rho) {
    double mu = rho * rho + 4 + fmax(0, 0.5 * (p->beta - 4));
    return parabola(p, mu, resolution(p, mu, 1 - rho / sqrt(mu)));
}

/* Between 0 and poles with Re √λ_p = ρ, where the integrand reaches e^{ρ²} unless A comes first. */
static Parabola before_poles(const Point *p, double rho) {
    double mu = fmin(0.25 * rho * rho, 4);
    double a = resolution(p, mu, 1);
    if (a > rho * sqrt(mu)) a = fmax(a, (DIGITS + rho * rho + 3 * (double)p->n) / (2 * (rho / sqrt(mu) - 1)));
    return parabola(p, mu, a);
}

/* λ^{α−β}(1 + iu) e^λ (−ln λ)^m / ((λ^α − z)/unit)^{n+1} */
static Complex integrand(const Point *p, double mu, double u, double unit) {
    Complex log_point = {log(mu) + log1p(u * u), 2 * atan(u)};
    Complex power = exponential(p->alpha, log_point), f = exponential(p->alpha - p->beta, log_point);
    f = times(f, exponential(1, (Complex){mu * (1 - u * u), 2 * mu * u}));
    f = times(f, (Complex){1, u});
    Complex quotient = inverse((Complex){(power.re - p->z) / unit, power.im / unit});
    f = times(f, integer_power(quotient, p->n + 1));
    return times(f, integer_power(scaled(log_point, -1), p->m));
}

static double integral(const Point *p, const Parabola *c) {
    double unit = fmax(1, fabs(p->z)); /* |z|^{n+1} alone may overflow */
    double sum = 0.5 * integrand(p, c->mu, 0, unit).re;
    for (int k = 1; k < c->nodes; k++) sum += integrand(p, c->mu, k * c->h, unit).re;
    sum *= 2 * c->mu * c->h * M_1_PI / unit;
    for (int64_t k = 1; k <= p->n; k++) sum *= (double)k / unit;
    return sum;
}

double mittag_leffler(double alpha, double beta, double z, int64_t n, int64_t m) {
    Point p = {.alpha = alpha, .beta = beta, .z = z, .n = n, .m = m};
    if (!(alpha > 0 && alpha <= 2) || !isfinite(beta) || isnan(z)) return NAN;
    if (z == 0 && m == 0) return tgamma((double)n + 1) * reciprocal_gamma(alpha * (double)n + beta);
    find_pole(&p);
    double rho = p.pole ? sqrt(p.radius) * cos(0.5 * p.angle) : 0;
    if (rho * rho < 4) {
        Parabola around = around_poles(&p, rho);
        return integral(&p, &around);
    }
    Parabola before = before_poles(&p, rho);
    double waves = residues(&p);
    return isfinite(waves) ? waves + integral(&p, &before) : waves;
}
