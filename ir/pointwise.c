/* pointwise.c — pointwise ops on scalars: their meaning, in f64. Used by folding and by the reference
 * evaluator. */
#include "philox.h"
#include "special.h"
#include <math.h>

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
    case OP_complex_lgamma: return complex_lgamma(a[0], a[1], node->attrs->n, node->attrs->part);
    case OP_mittag_leffler: return mittag_leffler(a[0], a[1], a[2], node->attrs->n, node->attrs->m);
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
    case OP_uniform:
        return philox_uniform(&(PhiloxDraw){{(uint32_t)(int32_t)a[1], (uint32_t)(int32_t)a[2]},
                                            (uint32_t)node->attrs->n,
                                            (int)node->attrs->m,
                                            node->type.dtype == FRAX_F64},
                              (uint32_t)(int32_t)a[0]);
    case OP_select: return a[0] != 0 ? a[1] : a[2];
    default: return NAN;
    }
}
