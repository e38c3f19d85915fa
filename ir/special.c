/* special.c — log Γ and its derivatives, on the real line and in the complex plane.
 *
 * All by the asymptotic series for arguments far from the negative axis, which the recurrence
 * Γ(z + 1) = z Γ(z) moves there; far left of 0 by reflection.
 *
 * Device code too: cuda_special.c.
 */
#include "special.h"
#include "complex_math.h"
#include <math.h>

/* B_2 … B_24 */
static const double bernoulli[] = {1.0 / 6,       -1.0 / 30,       1.0 / 42,       -1.0 / 30,
                                   5.0 / 66,      -691.0 / 2730,   7.0 / 6,        -3617.0 / 510,
                                   43867.0 / 798, -174611.0 / 330, 854513.0 / 138, -236364091.0 / 2730};

/* ---- Real arguments ---- */

/* The host's lgamma stores a sign in a global; this one may run in many threads. */
SPECIAL_FUNCTION double log_gamma(double x) {
#ifdef FRAX_DEVICE
    return lgamma(x);
#else
    int sign;
    return lgamma_r(x, &sign);
#endif
}

/* ψ^{(n)}(x) for x > 0: recurrence up to x ≥ 15 + n, then the asymptotic series
   (Abramowitz & Stegun 6.4.11). */
static double polygamma_positive(int64_t n, double x) {
    double shifted = 0, factorial = tgamma((double)n + 1), sign = n % 2 ? 1 : -1; /* (−1)^{n+1} */
    for (; x < 15 + (double)n; x += 1) shifted += pow(x, -(double)(n + 1));
    double scaled = 1; /* n!/x^n, whose factors alone may over- or underflow */
    for (int64_t i = 1; i <= n; i++) scaled *= (double)i / x;
    double tail = (n ? scaled / (double)n : -log(x)) + scaled / (2 * x);
    double term = scaled * (double)(n + 1) / (2 * x * x); /* (2k+n−1)! / ((2k)! x^{2k+n}) */
    for (size_t k = 1; k <= COUNT(bernoulli); k++) {
        double m = 2 * (double)k;
        tail += bernoulli[k - 1] * term;
        term *= (m + (double)n + 1) * (m + (double)n) / ((m + 2) * (m + 1) * x * x);
    }
    return sign * (factorial * shifted + tail);
}

/* cot πx, by exact reductions to |πr| ≤ π/4: near a zero the polynomials below need its relative accuracy. */
static double cotangent(double x) {
    double r = x - round(x);
    if (fabs(r) <= 0.25) return 1 / tan(M_PI * r);
    return copysign(tan(M_PI * (0.5 - fabs(r))), r);
}

/* d^n/dx^n of π cot πx, by the polynomial recurrence in c = cot πx: P_0 = c, P' = −π(1 + c²) dP/dc. */
static double cotangent_derivative(int64_t n, double x) {
    double p[MAX_POLYGAMMA + 2] = {0, 1}, c = cotangent(x), value = 0;
    for (int64_t d = 0; d < n; d++) {
        double next[MAX_POLYGAMMA + 2] = {0};
        for (int i = 1; i <= d + 1; i++) {
            next[i - 1] -= M_PI * i * p[i];
            next[i + 1] -= M_PI * i * p[i];
        }
        for (int i = 0; i <= d + 2; i++) p[i] = next[i];
    }
    for (int64_t i = n + 1; i >= 0; i--) value = value * c + p[i];
    return M_PI * value;
}

/* Reflection for x < 0: (−1)^n ψ^{(n)}(1−x) − ψ^{(n)}(x) = d^n/dx^n π cot πx. Poles at 0, −1, −2, … give NaN.
 */
SPECIAL_FUNCTION double polygamma(int64_t n, double x) {
    if (isnan(x) || (x <= 0 && x == floor(x))) return NAN;
    if (x == INFINITY) return n ? 0 : INFINITY;
    if (x > 0) return polygamma_positive(n, x);
    return (n % 2 ? -1 : 1) * polygamma_positive(n, 1 - x) - cotangent_derivative(n, x);
}

/* ---- Complex arguments: x + iy with y ≥ 0; the other half plane is the mirror image ---- */

/* The series needs |z| cos²(arg z/2) large, which is (|z| + Re z)/2: how far z is from the negative axis. */
static bool is_far(double x, double y, double distance) {
    double r = hypot(x, y);
    return !(r * (r + x) < 2 * distance * distance);
}

/* (z − ½) log z − z + ½ log 2π + Σ B_2k / (2k (2k − 1) z^{2k−1}) (Abramowitz & Stegun 6.1.40) */
static Complex stirling(Complex z) {
    Complex inverse = over(complex_of(1, 0), z), square = times(inverse, inverse), tail = complex_of(0, 0);
    for (int k = (int)COUNT(bernoulli); k >= 1; k--) {
        tail = times(tail, square);
        tail.re += bernoulli[k - 1] / (2.0 * k * (2.0 * k - 1));
    }
    Complex sum = minus(times(complex_of(z.re - 0.5, z.im), complex_log(z)), z);
    sum.re += 0.5 * log(2 * M_PI);
    return plus(sum, times(tail, inverse));
}

/* For Re z ≥ 0: log of Γ(z + k) less log of Π (z + j), whose angle passes π whenever its sine turns negative.
 */
static Complex log_gamma_right(double x, double y) {
    Complex z = complex_of(x, y), product = complex_of(1, 0);
    double turns = 0;
    for (int k = 0; !is_far(x + k, y, 7); k++) {
        Complex next = times(product, complex_of(x + k, y));
        if (next.im < 0 && product.im >= 0) turns++;
        product = next;
        z.re = x + k + 1;
    }
    Complex value = minus(stirling(z), complex_log(product));
    value.im -= 2 * M_PI * turns;
    return value;
}

/* log(1 − q) with q = e^{2πiz}, exact beside the poles, where q is near 1. */
static Complex log_one_minus_wave(double x, double y) {
    double f = x - round(x), half = sin(M_PI * f), decay = exp(-2 * M_PI * y);
    double re = -expm1(-2 * M_PI * y) + 2 * decay * half * half, im = -decay * sin(2 * M_PI * f);
    return complex_of(log(hypot(re, im)), atan2(im, re));
}

/* For Re z < 0, by Γ(z) Γ(1 − z) sin πz = π: in the upper half plane sin πz = (i/2) e^{−iπz} (1 − e^{2πiz}).
 */
static Complex log_gamma_left(double x, double y) {
    Complex mirrored = log_gamma_right(1 - x, y); /* conjugate of log Γ(1 − z) */
    Complex wave = log_one_minus_wave(x, y);
    return complex_of(log(2 * M_PI) - M_PI * y - wave.re - mirrored.re,
                      M_PI * (x - 0.5) - wave.im + mirrored.im);
}

/* z^n by squaring; z is not 0 */
static Complex whole_power(Complex z, int64_t n) {
    Complex r = complex_of(1, 0);
    for (; n; n >>= 1, z = times(z, z))
        if (n & 1) r = times(r, z);
    return r;
}

/* ψ^{(n)} far from the negative axis: as polygamma_positive, the series by Horner's rule. */
static Complex polygamma_series(int64_t n, Complex z) {
    Complex inverse = over(complex_of(1, 0), z), square = times(inverse, inverse);
    Complex leading = complex_of(1, 0), tail = complex_of(0, 0);
    double factors[COUNT(bernoulli)], factor = (double)(n + 1) / 2; /* (2k + n − 1)! / ((2k)! n!) */
    for (size_t k = 0; k < COUNT(bernoulli); k++) {
        double m = 2 * (double)(k + 1);
        factors[k] = factor * bernoulli[k];
        factor *= (m + (double)n + 1) * (m + (double)n) / ((m + 2) * (m + 1));
    }
    for (size_t k = COUNT(bernoulli); k-- > 0;) {
        tail = times(tail, square);
        tail.re += factors[k];
    }
    for (int64_t i = 1; i <= n; i++) leading = times(leading, scaled((double)i, inverse)); /* n!/z^n */
    Complex first = n ? complex_of(leading.re / (double)n, leading.im / (double)n) : negated(complex_log(z));
    Complex half = complex_of(inverse.re / 2, inverse.im / 2);
    return plus(first, times(leading, plus(half, times(tail, square))));
}

static Complex polygamma_shifted(int64_t n, double x, double y) {
    Complex shifted = complex_of(0, 0);
    int k = 0;
    for (; !is_far(x + k, y, 15 + (double)n); k++)
        shifted = plus(shifted, over(complex_of(1, 0), whole_power(complex_of(x + k, y), n + 1)));
    double sign = n % 2 ? 1 : -1;
    Complex series = polygamma_series(n, complex_of(x + k, y));
    return scaled(sign, plus(scaled(tgamma((double)n + 1), shifted), series));
}

/* d^n/dz^n of π cot πz = −iπ (1 + 2w), w = q/(1 − q), q = e^{2πiz}: a polynomial in w, by
   dw/dz = 2πi (w + w²). */
static Complex complex_cotangent_derivative(int64_t n, double x, double y) {
    double p[MAX_POLYGAMMA + 2] = {0, 1}, f = x - round(x), decay = exp(-2 * M_PI * y);
    double half = sin(M_PI * f);
    Complex q = scaled(decay, complex_of(cos(2 * M_PI * f), sin(2 * M_PI * f)));
    Complex w = over(q, complex_of(-expm1(-2 * M_PI * y) + 2 * decay * half * half, -q.im));
    Complex value = complex_of(0, 0), factor = complex_of(-0.0, -2 * M_PI);
    for (int64_t d = 0; d < n; d++, factor = times(factor, complex_of(0, 2 * M_PI)))
        for (int64_t i = d + 2; i >= 1; i--) p[i] = (double)i * p[i] + (double)(i - 1) * p[i - 1];
    for (int64_t i = n + 1; i >= 1; i--) value = times(complex_of(value.re + p[i], value.im), w);
    value = times(factor, value);
    if (n == 0) value.im -= M_PI;
    return value;
}

enum { LEFTMOST = -64 }; /* beyond it reflection is cheaper than so many steps, and nearly as exact */

static Complex complex_polygamma(int64_t n, double x, double y) {
    if (!(x < LEFTMOST)) return polygamma_shifted(n, x, y);
    if (y == 0) return complex_of(polygamma(n, x), 0);
    Complex mirrored = polygamma_shifted(n, 1 - x, y); /* the conjugate of what is meant */
    Complex cotangent = complex_cotangent_derivative(n, x, y);
    double sign = n % 2 ? -1 : 1;
    return complex_of(sign * mirrored.re - cotangent.re, sign * -mirrored.im - cotangent.im);
}

SPECIAL_FUNCTION double complex_lgamma(double x, double y, int64_t n, Part part) {
    bool pole = x <= 0 && x == floor(x) && y == 0;
    double height = fabs(y);
    if (isnan(x) || isnan(y) || (pole && n)) return NAN;
    Complex value = n        ? complex_polygamma(n - 1, x, height)
                    : x >= 0 ? log_gamma_right(x, height)
                             : log_gamma_left(x, height);
    if (part == PART_RE) return pole ? INFINITY : value.re;
    return signbit(y) ? -value.im : value.im;
}
