/* eager_kernels.c — the pointwise ops on dense arrays, one loop for each op and wide dtype.
 *
 * The lists below give each op as an expression in the operands a, b and c; F(f) is the function f of the
 * element type. NaN in an operand gives NaN, i32 arithmetic wraps modulo 2^32, and a bool is true if it is
 * not 0, as in the reference. No loop assumes that its arrays are distinct: a result may be written over an
 * operand of the same type.
 */
#include "eager.h"
#include "philox.h"
#include "vector_math.h"
#include "special.h"
#include <string.h>

#define WRAP(v)    ((int32_t)(uint32_t)(v))
#define AS_IS(v)   (v)
#define IS_TRUE(v) ((v) != 0)

#define FLOAT_OPS(X)                                                                                         \
    X(neg, -a)                                                                                               \
    X(exp, F(exp)(a))                                                                                        \
    X(expm1, F(expm1)(a))                                                                                    \
    X(log, F(log)(a))                                                                                        \
    X(log1p, F(log1p)(a))                                                                                    \
    X(sin, F(sin)(a))                                                                                        \
    X(cos, F(cos)(a))                                                                                        \
    X(tanh, F(tanh)(a))                                                                                      \
    X(sigmoid, 1 / (1 + F(exp)(-a)))                                                                         \
    X(erf, F(erf)(a))                                                                                        \
    X(sqrt, F(sqrt)(a))                                                                                      \
    X(rsqrt, 1 / F(sqrt)(a))                                                                                 \
    X(abs, F(fabs)(a))                                                                                       \
    X(sign, a != a ? a : (a > 0) - (a < 0))                                                                  \
    X(floor, F(floor)(a))

#define FLOAT_OPS2(X)                                                                                        \
    X(add, a + b)                                                                                            \
    X(sub, a - b)                                                                                            \
    X(mul, a *b)                                                                                             \
    X(div, a / b)                                                                                            \
    X(pow, F(pow)(a, b))                                                                                     \
    X(atan2, F(atan2)(a, b))                                                                                 \
    X(min, a != a || a < b ? a : b)                                                                          \
    X(max, a != a || a > b ? a : b)

#define INTEGER_OPS(X)                                                                                       \
    X(neg, WRAP(0u - (uint32_t)a))                                                                           \
    X(abs, a < 0 ? WRAP(0u - (uint32_t)a) : a)                                                               \
    X(sign, (a > 0) - (a < 0))

#define INTEGER_OPS2(X)                                                                                      \
    X(add, WRAP((uint32_t)a + (uint32_t)b))                                                                  \
    X(sub, WRAP((uint32_t)a - (uint32_t)b))                                                                  \
    X(mul, WRAP((uint32_t)a *(uint32_t)b))                                                                   \
    X(min, a < b ? a : b)                                                                                    \
    X(max, a > b ? a : b)

#define COMPARISONS(X)                                                                                       \
    X(eq, a == b)                                                                                            \
    X(ne, a != b)                                                                                            \
    X(lt, a < b)                                                                                             \
    X(le, a <= b)                                                                                            \
    X(gt, a > b)                                                                                             \
    X(ge, a >= b)

/* ---- Loops: `name`, result type R, operand type T, how an operand is read ---- */

#define UNARY(name, R, T, expression)                                                                        \
    FOR_EACH_VECTOR_WIDTH static void name(const Node *node, void *out, const void *const *args,             \
                                           int64_t n) {                                                      \
        (void)node;                                                                                          \
        const T *x = args[0];                                                                                \
        R *y = out;                                                                                          \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            T a = x[i];                                                                                      \
            y[i] = (R)(expression);                                                                          \
        }                                                                                                    \
    }

#define BINARY(name, R, T, READ, expression)                                                                 \
    FOR_EACH_VECTOR_WIDTH static void name(const Node *node, void *out, const void *const *args,             \
                                           int64_t n) {                                                      \
        (void)node;                                                                                          \
        const T *x0 = args[0], *x1 = args[1];                                                                \
        R *y = out;                                                                                          \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            T a = READ(x0[i]), b = READ(x1[i]);                                                              \
            y[i] = (R)(expression);                                                                          \
        }                                                                                                    \
    }

#define SELECT(name, T)                                                                                      \
    FOR_EACH_VECTOR_WIDTH static void name(const Node *node, void *out, const void *const *args,             \
                                           int64_t n) {                                                      \
        (void)node;                                                                                          \
        const uint8_t *condition = args[0];                                                                  \
        const T *yes = args[1], *no = args[2];                                                               \
        T *y = out;                                                                                          \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            T a = yes[i], b = no[i];                                                                         \
            y[i] = condition[i] ? a : b;                                                                     \
        }                                                                                                    \
    }

#define F(name)           name
#define X(op, expression) UNARY(op##_f64, double, double, expression)
FLOAT_OPS(X)
#undef X
#define X(op, expression) BINARY(op##_f64, double, double, AS_IS, expression)
FLOAT_OPS2(X)
#undef X
#define X(op, expression) BINARY(op##_f64, uint8_t, double, AS_IS, expression)
COMPARISONS(X)
#undef X
#undef F

#define F(name)           name##f
#define X(op, expression) UNARY(op##_f32, float, float, expression)
FLOAT_OPS(X)
#undef X
#define X(op, expression) BINARY(op##_f32, float, float, AS_IS, expression)
FLOAT_OPS2(X)
#undef X
#define X(op, expression) BINARY(op##_f32, uint8_t, float, AS_IS, expression)
COMPARISONS(X)
#undef X
#undef F

#define X(op, expression) UNARY(op##_i32, int32_t, int32_t, expression)
INTEGER_OPS(X)
#undef X
#define X(op, expression) BINARY(op##_i32, int32_t, int32_t, AS_IS, expression)
INTEGER_OPS2(X)
#undef X
#define X(op, expression) BINARY(op##_i32, uint8_t, int32_t, AS_IS, expression)
COMPARISONS(X)
#undef X

/* Any byte but 0 is true. */
#define X(op, expression) BINARY(op##_bool, uint8_t, uint8_t, IS_TRUE, expression)
COMPARISONS(X)
X(and, a &b)
X(or, a | b)
#undef X
UNARY(not_bool, uint8_t, uint8_t, a == 0)

SELECT(select_f64, double)
SELECT(select_f32, float)
SELECT(select_i32, int32_t)
SELECT(select_bool, uint8_t)

/* ---- Special functions: no vector library has them ---- */

/* ψ(x) for x > 0: recurrence up to x ≥ 10, then the asymptotic series (Abramowitz & Stegun 6.3.18); by
   reflection for x < 0. Poles give NaN. */
static double digamma(double x) {
    if (isnan(x) || (x <= 0 && x == floor(x))) return NAN;
    if (x < 0) return digamma(1 - x) - M_PI / tan(M_PI * (x - round(x)));
    if (x == INFINITY) return x;
    double shifted = 0;
    for (; x < 10; x += 1) shifted += 1 / x;
    static const double series[] = {1.0 / 12,  -1.0 / 120,     1.0 / 252, -1.0 / 240,
                                    1.0 / 132, -691.0 / 32760, 1.0 / 12,  -3617.0 / 8160};
    double square = 1 / (x * x), tail = 0;
    for (int k = (int)COUNT(series) - 1; k >= 0; k--) tail = (tail + series[k]) * square;
    return log(x) - 0.5 / x - tail - shifted;
}

/* The operands a, b, c are f64, whatever the arrays are. */
#define SPECIAL_OPS(X)                                                                                       \
    X(lgamma, log_gamma(a))                                                                                  \
    X(polygamma, node->attrs->n ? polygamma(node->attrs->n, a) : digamma(a))                                 \
    X(complex_lgamma, complex_lgamma(a, b, node->attrs->n, (Part)node->attrs->part))                         \
    X(mittag_leffler, mittag_leffler(a, b, c, node->attrs->n, node->attrs->m))

#define SPECIAL(name, T, expression)                                                                         \
    static void name(const Node *node, void *out, const void *const *args, int64_t n) {                      \
        const T *x0 = args[0], *x1 = node->nargs > 1 ? args[1] : x0, *x2 = node->nargs > 2 ? args[2] : x0;   \
        T *y = out;                                                                                          \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            double a = x0[i], b = x1[i], c = x2[i];                                                          \
            (void)b, (void)c;                                                                                \
            y[i] = (T)(expression);                                                                          \
        }                                                                                                    \
    }
#define X(op, expression) SPECIAL(op##_f64, double, expression) SPECIAL(op##_f32, float, expression)
SPECIAL_OPS(X)
#undef X

/* ---- Random numbers: i32 operands, a result of f64 or f32 ---- */

static void uniform_i32(const Node *node, void *out, const void *const *args, int64_t n) {
    const int32_t *i = args[0], *low = args[1], *high = args[2];
    bool wide = node->type.dtype == FRAX_F64;
    PhiloxDraw draw = {.stream = (uint32_t)node->attrs->n, .which = (int)node->attrs->m, .wide = wide};
    for (int64_t j = 0; j < n; j++) {
        draw.key[0] = (uint32_t)low[j], draw.key[1] = (uint32_t)high[j];
        double u = philox_uniform(&draw, (uint32_t)i[j]);
        if (wide)
            ((double *)out)[j] = u;
        else
            ((float *)out)[j] = (float)u;
    }
}

/* ---- Casts: to an integer toward zero, saturating, NaN to 0 ---- */

#define TO_INTEGER(v)                                                                                        \
    (a != a ? 0 : a >= 0x1p31 ? INT32_MAX : a <= -0x1p31 ? INT32_MIN : (int32_t)a) /* the type's ends */

#define CASTS(X)                                                                                             \
    X(F64, double, F64, double, a)                                                                           \
    X(F64, double, F32, float, a)                                                                            \
    X(F64, double, I32, int32_t, TO_INTEGER(a))                                                              \
    X(F64, double, BOOL, uint8_t, a != 0)                                                                    \
    X(F32, float, F64, double, a)                                                                            \
    X(F32, float, F32, float, a)                                                                             \
    X(F32, float, I32, int32_t, TO_INTEGER(a))                                                               \
    X(F32, float, BOOL, uint8_t, a != 0)                                                                     \
    X(I32, int32_t, F64, double, a)                                                                          \
    X(I32, int32_t, F32, float, a)                                                                           \
    X(I32, int32_t, I32, int32_t, a)                                                                         \
    X(I32, int32_t, BOOL, uint8_t, a != 0)                                                                   \
    X(BOOL, uint8_t, F64, double, a != 0)                                                                    \
    X(BOOL, uint8_t, F32, float, a != 0)                                                                     \
    X(BOOL, uint8_t, I32, int32_t, a != 0)                                                                   \
    X(BOOL, uint8_t, BOOL, uint8_t, a != 0)

#define X(from, T, to, R, expression) UNARY(cast_##from##_##to, R, T, expression)
CASTS(X)
#undef X

PointwiseKernel *cast_kernel(FraxDType from, FraxDType to) {
    static PointwiseKernel *const table[FRAX_BOOL + 1][FRAX_BOOL + 1] = {
#define X(from, T, to, R, expression) [FRAX_##from][FRAX_##to] = cast_##from##_##to,
        CASTS(X)
#undef X
    };
    return table[from][to];
}

PointwiseKernel *pointwise_kernel(Op op, FraxDType operand) {
    static PointwiseKernel *const table[OP_COUNT][FRAX_BOOL + 1] = {
#define X(op, expression) [OP_##op][FRAX_F64] = op##_f64, [OP_##op][FRAX_F32] = op##_f32,
        FLOAT_OPS(X) FLOAT_OPS2(X) COMPARISONS(X) SPECIAL_OPS(X) X(select, )
#undef X
#define X(op, expression) [OP_##op][FRAX_I32] = op##_i32,
            INTEGER_OPS(X) INTEGER_OPS2(X) COMPARISONS(X) X(select, ) X(uniform, )
#undef X
#define X(op, expression) [OP_##op][FRAX_BOOL] = op##_bool,
                COMPARISONS(X) X(and, ) X(or, ) X(not, ) X(select, )
#undef X
    };
    return table[op][operand];
}
