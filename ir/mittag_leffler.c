/* mittag_leffler.c — the two-parameter Mittag-Leffler function and its derivatives in z and β.
 *
 * The inverse Laplace transform
 *     ∂_z^n ∂_β^m E_{α,β}(z) = 1/(2πi) ∮ e^λ λ^{α−β} (−ln λ)^m n! / (λ^α − z)^{n+1} dλ
 * on the parabola λ(u) = μ(1 + iu)² by the trapezoidal rule, which converges geometrically (Weideman &
 * Trefethen 2007; Garrappa 2015, SIAM J. Numer. Anal. 53(3)). The parabola runs either around all poles
 * λ^α = z of the principal sheet, or between the branch point 0 and the poles, whose residues are then added.
 *
 * With A = π/h the rule errs by e^{−2Ad}, d the distance in u from the real line to the nearest singularity:
 * the branch point lies at u = i, a pole λ_p at Im u = 1 − Re √(λ_p/μ). Downward nothing but e^λ grows, and
 * the error is e^{2A − A²/μ}. All is real for real z, so half of the nodes suffice.
 *
 * That error is relative to 1. Where |z| ≤ 1/4 and m = 0 the power series is summed instead, whose error is
 * relative to its terms: for β = 0, −1, … the first of them vanish, and what is left is small.
 *
 * Device code too: cuda_special.c.
 */
#include "special.h"
#include "complex_math.h"
#include "vector_math.h"

static Complex integer_power(Complex a, int64_t n) {
    Complex r = complex_of(1, 0);
    for (; n > 0; n--) r = times(r, a);
    return r;
}

static double reciprocal_gamma(double x) {
    return x <= 0 && x == floor(x) ? 0 : 1 / tgamma(x);
}

typedef struct Point {
    double alpha, beta, z, unit; /* unit: of z, whose power n + 1 alone may overflow */
    int64_t n, m;
    double log_radius, radius, angle; /* of the pole in the upper half plane, |z|^{1/α} e^{i·angle} */
    Complex pole;
    double rho; /* Re √pole; 0 where no pole is on the principal sheet */
} Point;

/* |z|^{1/α}, with the rounding of 1/α made good: it would be multiplied by ln |pole|. Cosines by sines that
   are exact beside α = 1 and α = 2. */
static void find_pole(Point *p) {
    double inverse_alpha = 1 / p->alpha, rest = fma(-p->alpha, inverse_alpha, 1.0) * inverse_alpha;
    double log_z = log(fabs(p->z));
    p->log_radius = log_z * inverse_alpha;
    p->radius = pow(fabs(p->z), inverse_alpha);
    if (isfinite(p->radius)) p->radius += p->radius * log_z * rest;
    if (p->z > 0) {
        p->pole.re = p->radius;
        p->rho = sqrt(p->radius);
    } else if (p->z < 0 && p->alpha > 1) {
        p->angle = M_PI * inverse_alpha;
        p->pole.re = p->radius * sin(M_PI * (p->alpha - 2) / (2 * p->alpha));
        p->pole.im = p->radius * sin(p->angle);
        p->rho = sqrt(p->radius) * sin(M_PI * (p->alpha - 1) / (2 * p->alpha));
    }
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
    Complex sum = complex_of(0, 0);
    for (int64_t i = p->n; i >= 0; i--) {
        Complex row = complex_of(0, 0);
        for (int64_t j = p->m; j >= 0; j--) {
            row = times(row, log_pole);
            row.re += c[i][j];
        }
        sum = times(sum, pole);
        sum = plus(sum, row);
    }
    return sum;
}

/* The sum of the residues: of one real pole, or of a conjugate pair. The power of λ and e^λ together and in
   halves, since either alone may overflow. */
static double residues(const Point *p) {
    if (p->z > 0 && p->radius > 1e5) return p->m % 2 ? -INFINITY : INFINITY; /* whatever β */
    if (p->pole.re < -800) return 0;
    double exponent = 1 - p->beta - (double)p->n * p->alpha;
    double half = exp(0.5 * (exponent * p->log_radius + p->pole.re));
    double phase = exponent * p->angle + p->pole.im;
    Complex polynomial = residue_polynomial(p, p->pole, complex_of(p->log_radius, p->angle));
    Complex r = times(polynomial, complex_of(cos(phase), sin(phase)));
    return (p->z > 0 ? 1 : 2) * r.re * half * half;
}

/* ---- The integral ---- */

typedef struct Parabola {
    double mu, h;
    int nodes;
} Parabola;

enum { DIGITS = 36 /* e^−36 = 2e-16 */, MOST_BETA = 1000, MOST_POWER = 16 };

/* A = π/h such that the error e^{−2A(d−s)} s^{−w} μ^{−p}, s the distance kept from the singularities, is
   below e^−DIGITS: p bounds the growth of the integrand toward the branch point, w counts its poles too. */
static double resolution(const Point *p, double mu, double strip) {
    double at_origin = fmax(0.0, p->beta + p->alpha * (double)p->n - 0.5);
    double factors = log_gamma((double)p->n + 1) + (double)p->m; /* n! and powers of ln λ */
    double w = 2 * at_origin + (double)p->n + 1, needed = DIGITS + factors - at_origin * log(mu);
    double a = 20 / strip;
    for (int i = 0; i < 3; i++) a = (needed + w * (1 + log(2 * a / w))) / (2 * strip);
    return fmax(a, mu + sqrt(mu * mu + DIGITS * mu));
}

static Parabola parabola(const Point *p, double mu, double a) {
    double rising = fmax(0.0, p->alpha - p->beta + 0.5), squared = DIGITS / mu;
    for (int i = 0; rising > 0 && i < 2; i++) squared = (DIGITS + rising * log1p(squared)) / mu;
    Parabola c = {mu, M_PI / a, 1 + (int)(sqrt(squared) * a * M_1_PI)};
    return c;
}

/* Around the poles: μ no larger than rounding allows, since the integrand is e^μ μ^{−β} times too large. */
static Parabola around_poles(const Point *p) {
    double mu = p->rho * p->rho + fmax(1.0, 4 + 0.5 * (fmin(p->beta, 0.0) + fmax(p->beta - 4, 0.0)));
    return parabola(p, mu, resolution(p, mu, 1 - p->rho / sqrt(mu)));
}

/* Between 0 and the poles, where the integrand reaches e^{ρ²} unless A comes first. */
static Parabola before_poles(const Point *p) {
    double rho = p->rho, mu = fmin(0.25 * rho * rho, 4.0), a = resolution(p, mu, 1);
    if (a > rho * sqrt(mu)) a = fmax(a, (DIGITS + rho * rho + 3 * (double)p->n) / (2 * (rho / sqrt(mu) - 1)));
    return parabola(p, mu, a);
}

#ifdef FRAX_DEVICE
enum { TILE = 1 }; /* lanes are threads there, and what is not kept in memory stays in registers */
#else
enum { TILE = 32 };
#endif

/* The integrand at some nodes is f q^{n+1} (−ln λ)^m with f = λ^{α−β} e^λ (1 + iu), q = unit/(λ^α − z). */
typedef struct Nodes {
    double log_radius[TILE], angle[TILE];
    double size[TILE], phase[TILE]; /* of λ^{α−β} e^λ */
    double cosine[TILE], power_cosine[TILE];
    double f_re[TILE], f_im[TILE], q_re[TILE], q_im[TILE];
} Nodes;

/* Sines in a loop after the cosines: side by side they become calls of sincos, which has no vector form. */
FOR_EACH_VECTOR_WIDTH static void evaluate_nodes(const Point *p, const Parabola *c, int first, Nodes *t) {
    double alpha = p->alpha, shift = p->alpha - p->beta, z = p->z / p->unit, unit = 1 / p->unit;
    double mu = c->mu, h = c->h, log_mu = log(c->mu);
    int count = MIN(TILE, (c->nodes - first + 7) / 8 * 8);
    VECTORISED
    for (int k = 0; k < count; k++) {
        double u = h * (first + k);
        t->log_radius[k] = log_mu + log1p(u * u);
        t->angle[k] = 2 * atan2(u, 1.0);
        t->size[k] = exp(shift * t->log_radius[k] + mu * (1 - u * u));
        t->phase[k] = shift * t->angle[k] + 2 * mu * u;
        t->cosine[k] = cos(t->phase[k]);
        t->power_cosine[k] = cos(alpha * t->angle[k]);
    }
    VECTORISED
    for (int k = 0; k < count; k++) {
        double u = h * (first + k), power = unit * exp(alpha * t->log_radius[k]);
        double f_re = t->size[k] * t->cosine[k], f_im = t->size[k] * sin(t->phase[k]);
        double re = power * t->power_cosine[k] - z, im = power * sin(alpha * t->angle[k]);
        double scale = 1 / (re * re + im * im);
        t->f_re[k] = f_re - u * f_im, t->f_im[k] = f_im + u * f_re;
        t->q_re[k] = scale * re, t->q_im[k] = -scale * im;
    }
}

static double integral(const Point *p, const Parabola *c) {
    Nodes t;
    double sum = 0, scale = 2 * c->mu * c->h * M_1_PI / p->unit;
    for (int k = 0; k < c->nodes; k++) {
        int i = k % TILE;
        if (i == 0) evaluate_nodes(p, c, k, &t);
        Complex f = complex_of(t.f_re[i], t.f_im[i]);
        f = times(f, integer_power(complex_of(t.q_re[i], t.q_im[i]), p->n + 1));
        if (p->m) f = times(f, integer_power(complex_of(-t.log_radius[i], -t.angle[i]), p->m));
        sum += k ? f.re : 0.5 * f.re; /* real at u = 0, and conjugate at −u */
    }
    for (int64_t k = 1; k <= p->n; k++) scale *= (double)k / p->unit;
    return sum * scale;
}

/* ---- The power series ---- */

/* Σ_{k≥n} k!/(k−n)! z^{k−n} / Γ(αk + β), for |z| ≤ 1/4. By reflection |1/Γ(x)| < 2 + Γ(1 − β) for x ≥ β, and
   from k = 2n on the factors k!/(k−n)! z^{k−n} at least halve. */
static double power_series(const Point *p) {
    enum { LARGEST_GAMMA = 172 };
    double sum = 0, power = tgamma((double)p->n + 1), most = 2 + (p->beta < 0 ? tgamma(1 - p->beta) : 0);
    for (int64_t k = p->n; power != 0; k++) {
        double x = fma(p->alpha, (double)k, p->beta);
        sum += power * reciprocal_gamma(x);
        if (x > LARGEST_GAMMA || (k >= 2 * p->n && fabs(power) * most < 1e-17 * fabs(sum))) break;
        power *= p->z * (double)(k + 1) / (double)(k + 1 - p->n);
    }
    return sum;
}

/* ∂_z^n of E_{1,1−q}(z) = z^q e^z, which vanishes faster at −∞ than an error relative to 1 allows. */
static double exponential_form(int64_t q, double z, int64_t n) {
    double sum = 0, factor = 1, half = exp(0.5 * z); /* factor: C(n, k) q!/(q − k)! */
    if (z < -1600) return 0;
    for (int64_t k = 0; k <= MIN(n, q); k++) {
        double power = 1;
        for (int64_t i = k; i < q; i++) power *= z;
        sum += factor * power;
        factor *= (double)(n - k) / (double)(k + 1) * (double)(q - k);
    }
    return half * sum * half;
}

SPECIAL_FUNCTION double mittag_leffler(double alpha, double beta, double z, int64_t n, int64_t m) {
    Point p = {alpha, beta, z, fmax(1.0, fabs(z)), n, m, 0, 0, 0, {0, 0}, 0};
    if (!(alpha > 0 && alpha <= 2 && fabs(beta) <= MOST_BETA) || isnan(z)) return NAN;
    if (z == -INFINITY) return alpha < 2 ? 0 : NAN;
    if (alpha == 1 && m == 0 && beta <= 1 && beta > -MOST_POWER && beta == floor(beta))
        return exponential_form((int64_t)(1 - beta), z, n);
    if (z == 0 && m == 0) return tgamma((double)n + 1) * reciprocal_gamma(alpha * (double)n + beta);
    if (fabs(z) <= 0.25 && m == 0) {
        double sum = power_series(&p);
        if (isfinite(sum)) return sum;
    }
    find_pole(&p);
    if (p.rho * p.rho < fmax(3.0, beta)) {
        Parabola around = around_poles(&p);
        return integral(&p, &around);
    }
    double sum = residues(&p);
    Parabola before = before_poles(&p);
    return isfinite(sum) ? sum + integral(&p, &before) : sum;
}
