/* pointwise.c — pointwise ops on scalars: their meaning, in f64. Used by folding and by the reference
 * evaluator. */
#include "ir.h"
#include <math.h>

/* ψ^{(n)}(x) for x > 0: recurrence up to x ≥ 15 + n, then the asymptotic series
   (Abramowitz & Stegun 6.4.11; Bernoulli numbers B_2 … B_24). */
static double polygamma_positive(int64_t n, double x) {
    static const double bernoulli[] = {1.0 / 6,       -1.0 / 30,       1.0 / 42,       -1.0 / 30,
                                       5.0 / 66,      -691.0 / 2730,   7.0 / 6,        -3617.0 / 510,
                                       43867.0 / 798, -174611.0 / 330, 854513.0 / 138, -236364091.0 / 2730};
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
static double polygamma(int64_t n, double x) {
    if (isnan(x) || (x <= 0 && x == floor(x))) return NAN;
    if (x == INFINITY) return n ? 0 : INFINITY;
    if (x > 0) return polygamma_positive(n, x);
    return (n % 2 ? -1 : 1) * polygamma_positive(n, 1 - x) - cotangent_derivative(n, x);
}

/* lgamma stores a sign in a global; this one may run in many threads. */
static double log_gamma(double x) {
    int sign;
    return lgamma_r(x, &sign);
}

static double sigmoid(double x) {
    return x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x));
}

static double sign(double x) {
    return isnan(x) ? x : (x > 0) - (x < 0);
}

/* NaN in either operand gives NaN, as in NumPy. */
static double maximum(double a, double b) {
    return isnan(a) || a > b ? a : b;
}

static double minimum(double a, double b) {
    return isnan(a) || a < b ? a : b;
}

/* To an integer: toward zero, saturating, NaN to 0. */
static double to_integer(double x) {
    if (isnan(x)) return 0;
    return x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : trunc(x);
}

static double cast(FraxDType dtype, double x) {
    if (dtype == FRAX_BOOL) return x != 0;
    return dtype == FRAX_I32 ? to_integer(x) : x;
}

double wrap_i32(int64_t v) {
    uint32_t low = (uint32_t)v;
    return low > INT32_MAX ? (double)low - 0x1p32 : (double)low;
}

/* i32 operands of the ops whose exact result may leave i32. */
static double i32_arithmetic(Op op, const double *a) {
    int64_t x = (int64_t)a[0], y = op_table[op].arity > 1 ? (int64_t)a[1] : 0;
    switch (op) {
    case OP_neg: return wrap_i32(-x);
    case OP_abs: return wrap_i32(x < 0 ? -x : x);
    case OP_add: return wrap_i32(x + y);
    case OP_sub: return wrap_i32(x - y);
    default: return wrap_i32(x * y);
    }
}

static bool may_leave_i32(Op op) {
    return op == OP_neg || op == OP_abs || op == OP_add || op == OP_sub || op == OP_mul;
}

double reference_pointwise(const Node *node, const double *a) {
    if (node->type.dtype == FRAX_I32 && may_leave_i32(node->op)) return i32_arithmetic(node->op, a);
    switch (node->op) {
    case OP_neg: return -a[0];
    case OP_exp: return exp(a[0]);
    case OP_expm1: return expm1(a[0]);
    case OP_log: return log(a[0]);
    case OP_log1p: return log1p(a[0]);
    case OP_sin: return sin(a[0]);
    case OP_cos: return cos(a[0]);
    case OP_tanh: return tanh(a[0]);
    case OP_sigmoid: return sigmoid(a[0]);
    case OP_erf: return erf(a[0]);
    case OP_sqrt: return sqrt(a[0]);
    case OP_rsqrt: return 1 / sqrt(a[0]);
    case OP_abs: return fabs(a[0]);
    case OP_lgamma: return log_gamma(a[0]);
    case OP_polygamma: return polygamma(node->attrs->n, a[0]);
    case OP_sign: return sign(a[0]);
    case OP_floor: return floor(a[0]);
    case OP_not: return a[0] == 0;
    case OP_cast: return cast(node->type.dtype, a[0]);
    case OP_stop: return a[0];
    case OP_add: return a[0] + a[1];
    case OP_sub: return a[0] - a[1];
    case OP_mul: return a[0] * a[1];
    case OP_div: return a[0] / a[1];
    case OP_pow: return pow(a[0], a[1]);
    case OP_atan2: return atan2(a[0], a[1]);
    case OP_min: return minimum(a[0], a[1]);
    case OP_max: return maximum(a[0], a[1]);
    case OP_eq: return a[0] == a[1];
    case OP_ne: return a[0] != a[1];
    case OP_lt: return a[0] < a[1];
    case OP_le: return a[0] <= a[1];
    case OP_gt: return a[0] > a[1];
    case OP_ge: return a[0] >= a[1];
    case OP_and: return a[0] != 0 && a[1] != 0;
    case OP_or: return a[0] != 0 || a[1] != 0;
    case OP_select: return a[0] != 0 ? a[1] : a[2];
    default: return NAN;
    }
}
