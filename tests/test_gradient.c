/* test_gradient.c — every op of the table is differentiated as its kind says.
 *
 * Differentiable ops are compared with differences of the reference evaluator, in both modes and to second
 * order, and the same graphs run compiled and eager; discrete ops must have no tangent. A last test fails if
 * the op table has a row that no case here covers.
 */
#include "derivatives.h"
#include "target_run.h"

typedef struct Case {
    Op op;
    Function f;
} Case;

/* ---- Builders: one per form of op ---- */

/* context: the Op */
static Value build_unary(Graph *g, const Value *x, const void *context) {
    return g_unary(g, *(const Op *)context, x[0]);
}

static Value build_binary(Graph *g, const Value *x, const void *context) {
    return g_binary(g, *(const Op *)context, x[0], x[1]);
}

/* A discrete result is made floating again, so that it can stand as an output. */
static Value build_compare(Graph *g, const Value *x, const void *context) {
    return g_cast(g, g_binary(g, *(const Op *)context, x[0], x[1]), FRAX_F64);
}

static Value build_logic(Graph *g, const Value *x, const void *context) {
    Op op = *(const Op *)context;
    Value a = g_binary(g, OP_gt, x[0], x[1]), b = g_binary(g, OP_gt, x[0], g_like(g, x[0], 0.5));
    return g_cast(g, op == OP_not ? g_unary(g, op, a) : g_binary(g, op, a, b), FRAX_F64);
}

/* Numbers drawn at places that depend on x: steps, without slope. */
static Value build_uniform(Graph *g, const Value *x, const void *context) {
    Value place = g_cast(g, g_scale(g, x[0], 5), FRAX_I32);
    return g_uniform(g, *(const UniformDraw *)context, place, place, place);
}

static Value build_polygamma(Graph *g, const Value *x, const void *context) {
    return g_polygamma(g, *(const int *)context, x[0]);
}

static Value build_complex_lgamma(Graph *g, const Value *x, const void *context) {
    (void)context;
    Value re = g_complex_lgamma(g, 0, PART_RE, x[0], x[1]);
    return g_mul(g, re, g_complex_lgamma(g, 1, PART_IM, x[0], x[1]));
}

/* α, β and z in (0, 2], (½, 3½) and (−5, 2) from operands in (0.1, 0.9); context: n, m */
static Value build_mittag_leffler(Graph *g, const Value *x, const void *context) {
    const int *order = context;
    Value beta = g_shift(g, g_scale(g, x[1], 3), 0.5), z = g_shift(g, g_scale(g, x[2], -7), 2);
    return g_mittag_leffler(g, order[0], order[1], g_scale(g, x[0], 2), beta, z);
}

static Value build_guard(Graph *g, const Value *x, const void *context) {
    (void)context;
    return g_guard(g, g_mul(g, x[0], x[0]), -9, 9, "x", "-9 <= x <= 9");
}

static Value build_cast(Graph *g, const Value *x, const void *context) {
    (void)context;
    Value narrow = g_cast(g, g_mul(g, x[0], x[0]), FRAX_F32);
    return g_cast(g, g_mul(g, narrow, narrow), FRAX_F64);
}

static Value build_select(Graph *g, const Value *x, const void *context) {
    (void)context;
    return g_select(g, g_binary(g, OP_gt, x[0], g_like(g, x[0], 0.5)), g_mul(g, x[1], x[0]), x[2]);
}

static Value build_reshape(Graph *g, const Value *x, const void *context) {
    Value y = g_reshape(g, x[0], *(const Shape *)context);
    return g_mul(g, y, y);
}

static Value build_broadcast(Graph *g, const Value *x, const void *context) {
    Value y = g_broadcast(g, x[0], *(const Shape *)context);
    return g_mul(g, y, y);
}

static Value build_transpose(Graph *g, const Value *x, const void *context) {
    Value y = g_transpose(g, x[0], context);
    return g_mul(g, y, y);
}

typedef struct Ranges {
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
} Ranges;

static Value build_slice(Graph *g, const Value *x, const void *context) {
    const Ranges *r = context;
    return g_slice(g, g_mul(g, x[0], x[0]), r->lo, r->hi, r->step);
}

static Value build_pad(Graph *g, const Value *x, const void *context) {
    const Ranges *r = context;
    return g_pad(g, g_mul(g, x[0], x[0]), r->lo, r->hi, r->step);
}

static Value build_concat(Graph *g, const Value *x, const void *context) {
    Value square = g_mul(g, x[0], x[0]);
    return g_concat(g, (Value[]){square, x[1], square}, 3, *(const int *)context);
}

static Value build_flip(Graph *g, const Value *x, const void *context) {
    return g_flip(g, g_mul(g, x[0], x[0]), *(const uint32_t *)context);
}

typedef struct Reduction {
    Op op;
    uint32_t axes;
} Reduction;

static Value build_reduce(Graph *g, const Value *x, const void *context) {
    const Reduction *r = context;
    return g_reduce(g, r->op, g_mul(g, x[0], x[0]), r->axes);
}

static Value build_argmax(Graph *g, const Value *x, const void *context) {
    return g_cast(g, g_argmax(g, x[0], *(const int *)context), FRAX_F64);
}

/* context: bit 0 ta, bit 1 tb */
static Value build_matmul(Graph *g, const Value *x, const void *context) {
    int form = *(const int *)context;
    return g_matmul(g, x[0], x[1], form & 1, form >> 1);
}

static Value build_square_matmul(Graph *g, const Value *x, const void *context) {
    int form = *(const int *)context;
    return g_matmul(g, x[0], x[0], form & 1, form >> 1);
}

typedef struct Transformed {
    uint32_t axes, sum;
    Part part;
} Transformed;

static Value build_rfft(Graph *g, const Value *x, const void *context) {
    const Transformed *t = context;
    return g_rfft(g, g_mul(g, x[0], x[0]), t->axes, t->part);
}

static Value build_spectral(Graph *g, const Value *x, const void *context) {
    return g_spectral(g, x[0], x[1], x[2], ((const Transformed *)context)->axes);
}

static Value build_cross_spectrum(Graph *g, const Value *x, const void *context) {
    const Transformed *t = context;
    return g_cross_spectrum(g, x[0], x[1], t->axes, t->sum, t->part);
}

typedef struct Convolved {
    int axis;
    Engine engine;
} Convolved;

static Value build_causal_conv(Graph *g, const Value *x, const void *context) {
    const Convolved *c = context;
    return g_causal_conv(g, x[0], x[1], c->axis, c->engine);
}

typedef struct Correlated {
    int axis;
    uint32_t sum;
    int64_t n;
    Engine engine;
} Correlated;

static Value build_causal_correlation(Graph *g, const Value *x, const void *context) {
    const Correlated *c = context;
    return g_causal_correlation(g, x[0], x[1], c->axis, c->sum, c->n, c->engine);
}

typedef struct Weighted {
    int64_t n, m;
} Weighted;

static Value build_weights(Graph *g, const Value *x, const void *context) {
    const Weighted *w = context;
    return g_grunwald_derivative(g, x[0], w->n, w->m);
}

static Value build_exponential_conv(Graph *g, const Value *x, const void *context) {
    return g_exponential_conv(g, x[0], x[1], x[2], *(const Exponential *)context);
}

static Value build_exponential_correlation(Graph *g, const Value *x, const void *context) {
    return g_exponential_correlation(g, x[0], x[1], x[2], *(const Exponential *)context);
}

/* x0³·x1 with the derivative of x0² ·x1 spelt out, so that a test can tell whether the given one is used. */
static Value build_custom(Graph *g, const Value *x, const void *context) {
    (void)context;
    Value square = g_mul(g, x[0], x[0]);
    Type types[] = {*graph_type(g, x[0]), *graph_type(g, x[1])};
    Value holes[] = {g_hole(g, types[0], 100), g_hole(g, types[1], 101)};
    Value d0 = g_mul(g, g_scale(g, g_mul(g, square, x[1]), 3), holes[0]);
    Value d1 = g_mul(g, g_mul(g, square, x[0]), holes[1]);
    return g_custom(g, g_mul(g, g_mul(g, square, x[0]), x[1]), x, holes, 2, g_add(g, d0, d1));
}

/* ---- Cases ---- */

#define CONTEXT(type, ...)                                                                                   \
    &(const type) {                                                                                          \
        __VA_ARGS__                                                                                          \
    }
#define UNARY(op, lo, hi)                                                                                    \
    {OP_##op, {#op, 1, {SHAPE(2, 3)}, lo, hi, build_unary, CONTEXT(Op, OP_##op)}},                           \
        {OP_##op, {#op " of one", 1, {SHAPE(1)}, lo, hi, build_unary, CONTEXT(Op, OP_##op)}}, {              \
        OP_##op, {                                                                                           \
#op " of none", 1, {SHAPE(0) }, lo, hi, build_unary, CONTEXT(Op, OP_##op)                        \
        }                                                                                                    \
    }
#define BINARY(op, lo, hi)                                                                                   \
    {OP_##op, {#op, 2, {SHAPE(2, 3), SHAPE(2, 3)}, lo, hi, build_binary, CONTEXT(Op, OP_##op)}}, {           \
        OP_##op, {                                                                                           \
#op " of scalars", 2, {SCALAR, SCALAR }, lo, hi, build_binary, CONTEXT(Op, OP_##op)              \
        }                                                                                                    \
    }
#define COMPARE(op)                                                                                          \
    {                                                                                                        \
        OP_##op, {                                                                                           \
#op, 2, {SHAPE(7), SHAPE(7) }, 0, 1, build_compare, CONTEXT(Op, OP_##op)                         \
        }                                                                                                    \
    }
#define LOGIC(op)                                                                                            \
    {                                                                                                        \
        OP_##op, {                                                                                           \
#op, 2, {SHAPE(7), SHAPE(7) }, 0, 1, build_logic, CONTEXT(Op, OP_##op)                           \
        }                                                                                                    \
    }
#define MATMUL(form, a, b)                                                                                   \
    {OP_matmul, {"matmul " #form, 2, {a, b}, -1, 1, build_matmul, CONTEXT(int, form)}}, {                    \
        OP_matmul, {                                                                                         \
            "matmul of itself " #form, 1, {SHAPE(2, 3, 3)}, -1, 1, build_square_matmul, CONTEXT(int, form)   \
        }                                                                                                    \
    }
#define TRANSFORMED(...) CONTEXT(Transformed, __VA_ARGS__)
#define RFFT(shape, axes)                                                                                    \
    {OP_rfft, {"Re rfft " #shape, 1, {shape}, -1, 1, build_rfft, TRANSFORMED(axes, 0, PART_RE)}}, {          \
        OP_rfft, {                                                                                           \
            "Im rfft " #shape, 1, {shape}, -1, 1, build_rfft, TRANSFORMED(axes, 0, PART_IM)                  \
        }                                                                                                    \
    }
#define SPECTRAL(shape, k, axes)                                                                             \
    {                                                                                                        \
        OP_spectral, {                                                                                       \
            "spectral " #shape, 3, {shape, k, k}, -1, 1, build_spectral, TRANSFORMED(axes)                   \
        }                                                                                                    \
    }
#define CROSS(shape, axes, sum)                                                                              \
    {OP_cross_spectrum,                                                                                      \
     {"Re cross_spectrum " #shape,                                                                           \
      2,                                                                                                     \
      {shape, shape},                                                                                        \
      -1,                                                                                                    \
      1,                                                                                                     \
      build_cross_spectrum,                                                                                  \
      TRANSFORMED(axes, sum, PART_RE)}},                                                                     \
    {                                                                                                        \
        OP_cross_spectrum, {                                                                                 \
            "Im cross_spectrum " #shape, 2, {shape, shape}, -1, 1, build_cross_spectrum,                     \
                TRANSFORMED(axes, sum, PART_IM)                                                              \
        }                                                                                                    \
    }
#define CONV_BY(engine, w, x, axis)                                                                          \
    {                                                                                                        \
        OP_causal_conv, {                                                                                    \
            "causal_conv " #engine " " #w " " #x, 2, {w, x}, -1, 1, build_causal_conv,                       \
                CONTEXT(Convolved, axis, ENGINE_##engine)                                                    \
        }                                                                                                    \
    }
#define CONV(w, x, axis)                                                                                     \
    CONV_BY(AUTO, w, x, axis), CONV_BY(DIRECT, w, x, axis), CONV_BY(FFT, w, x, axis),                        \
        CONV_BY(DENSE, w, x, axis)
#define CORRELATION_BY(engine, x, axis, sum, n)                                                              \
    {                                                                                                        \
        OP_causal_correlation, {                                                                             \
            "causal_correlation " #engine " " #x, 2, {x, x}, -1, 1, build_causal_correlation,                \
                CONTEXT(Correlated, axis, sum, n, ENGINE_##engine)                                           \
        }                                                                                                    \
    }
#define CORRELATION(x, axis, sum, n)                                                                         \
    CORRELATION_BY(DIRECT, x, axis, sum, n), CORRELATION_BY(FFT, x, axis, sum, n),                           \
        CORRELATION_BY(DENSE, x, axis, sum, n)
#define WEIGHTS(shape, n, m)                                                                                 \
    {                                                                                                        \
        OP_grunwald_weights, {                                                                               \
            "grunwald_weights " #n " " #m, 1, {shape}, -1, 2, build_weights, CONTEXT(Weighted, n, m)         \
        }                                                                                                    \
    }
#define EXPONENTIAL(x, c, r, ...)                                                                            \
    {OP_exponential_conv,                                                                                    \
     {"exponential_conv " #x " " #c " " #r,                                                                  \
      3,                                                                                                     \
      {x, c, r},                                                                                             \
      -0.9,                                                                                                  \
      0.9,                                                                                                   \
      build_exponential_conv,                                                                                \
      CONTEXT(Exponential, __VA_ARGS__)}},                                                                   \
    {                                                                                                        \
        OP_exponential_correlation, {                                                                        \
            "exponential_correlation " #x " " #r, 3, {x, x, r}, -0.9, 0.9, build_exponential_correlation,    \
                CONTEXT(Exponential, __VA_ARGS__)                                                            \
        }                                                                                                    \
    }
#define REDUCE(op, shape, axes)                                                                              \
    {                                                                                                        \
        OP_##op, {                                                                                           \
#op " " #shape, 1, {shape }, -1, 1, build_reduce, CONTEXT(Reduction, OP_##op, axes)              \
        }                                                                                                    \
    }

#define MITTAG_LEFFLER(n, m)                                                                                 \
    {                                                                                                        \
        OP_mittag_leffler, {                                                                                 \
            "mittag_leffler " #n #m, 3, {SHAPE(7), SHAPE(7), SHAPE(7)}, 0.1, 0.9, build_mittag_leffler,      \
                (const int[]) {                                                                              \
                n, m                                                                                         \
            }                                                                                                \
        }                                                                                                    \
    }

static const Case cases[] = {
    UNARY(neg, -1, 1),
    UNARY(exp, -1, 1),
    UNARY(expm1, -1, 1),
    UNARY(log, 0.3, 2),
    UNARY(log1p, -0.5, 1),
    UNARY(sin, -2, 2),
    UNARY(cos, -2, 2),
    UNARY(tanh, -2, 2),
    UNARY(sigmoid, -3, 3),
    UNARY(erf, -2, 2),
    UNARY(sqrt, 0.3, 2),
    UNARY(rsqrt, 0.3, 2),
    UNARY(abs, 0.1, 1),
    UNARY(abs, -1, -0.1),
    UNARY(lgamma, 0.5, 4),
    UNARY(lgamma, -0.8, -0.2),
    UNARY(sign, 0.1, 1),
    UNARY(floor, 0.1, 0.9),
    UNARY(stop, -1, 1),
    {OP_uniform, {"uniform", 1, {SHAPE(3)}, 0.21, 0.39, build_uniform, CONTEXT(UniformDraw, FRAX_F64, 1, 0)}},
    {OP_polygamma, {"digamma", 1, {SHAPE(3)}, 0.5, 4, build_polygamma, CONTEXT(int, 0)}},
    {OP_polygamma, {"polygamma 2", 1, {SHAPE(3)}, 0.5, 4, build_polygamma, CONTEXT(int, 2)}},
    {OP_complex_lgamma, {"complex_lgamma", 2, {SHAPE(5), SHAPE(5)}, 0.3, 4, build_complex_lgamma, NULL}},
    {OP_complex_lgamma,
     {"complex_lgamma left", 2, {SHAPE(5), SHAPE(5)}, -2.5, -0.5, build_complex_lgamma, NULL}},
    MITTAG_LEFFLER(0, 0),
    MITTAG_LEFFLER(1, 0),
    MITTAG_LEFFLER(2, 1),
    {OP_guard, {"guard", 1, {SHAPE(3)}, -1, 1, build_guard, NULL}},
    {OP_cast, {"cast", 1, {SHAPE(3)}, -1, 1, build_cast, NULL}},
    BINARY(add, -1, 1),
    BINARY(sub, -1, 1),
    BINARY(mul, -1, 1),
    BINARY(div, 0.3, 1),
    BINARY(pow, 0.3, 2),
    BINARY(atan2, -1, 1),
    BINARY(min, -1, 1),
    BINARY(max, -1, 1),
    COMPARE(eq),
    COMPARE(ne),
    COMPARE(lt),
    COMPARE(le),
    COMPARE(gt),
    COMPARE(ge),
    LOGIC(and),
    LOGIC(or),
    LOGIC(not ),
    {OP_select, {"select", 3, {SHAPE(3, 3), SHAPE(3, 3), SHAPE(3, 3)}, 0, 1, build_select, NULL}},
    {OP_reshape,
     {"reshape", 1, {SHAPE(2, 3)}, -1, 1, build_reshape, CONTEXT(Shape, .rank = 3, .dims = {3, 1, 2})}},
    {OP_transpose, {"transpose", 1, {SHAPE(2, 3, 4)}, -1, 1, build_transpose, (const uint8_t[]){2, 0, 1}}},
    {OP_broadcast,
     {"broadcast",
      1,
      {SHAPE(1, 3, 1)},
      -1,
      1,
      build_broadcast,
      CONTEXT(Shape, .rank = 3, .dims = {2, 3, 4})}},
    {OP_broadcast,
     {"broadcast to none", 1, {SHAPE(1)}, -1, 1, build_broadcast, CONTEXT(Shape, .rank = 1, .dims = {0})}},
    {OP_slice, {"slice", 1, {SHAPE(4, 7)}, -1, 1, build_slice, CONTEXT(Ranges, {1, 0}, {3, 6}, {1, 3})}},
    {OP_slice, {"slice to none", 1, {SHAPE(4)}, -1, 1, build_slice, CONTEXT(Ranges, {2}, {2}, {1})}},
    {OP_pad, {"pad", 1, {SHAPE(2, 3)}, -1, 1, build_pad, CONTEXT(Ranges, {1, 0}, {2, 3}, {1, 3})}},
    {OP_pad, {"pad of none", 1, {SHAPE(0)}, -1, 1, build_pad, CONTEXT(Ranges, {1}, {2}, {2})}},
    {OP_concat, {"concat", 2, {SHAPE(2, 3), SHAPE(2, 1)}, -1, 1, build_concat, CONTEXT(int, 1)}},
    {OP_concat, {"concat rows", 2, {SHAPE(1, 3), SHAPE(0, 3)}, -1, 1, build_concat, CONTEXT(int, 0)}},
    {OP_flip, {"flip", 1, {SHAPE(2, 3)}, -1, 1, build_flip, CONTEXT(uint32_t, 3)}},
    REDUCE(sum, SHAPE(2, 3, 2), 5),
    REDUCE(sum, SHAPE(0, 3), 1),
    REDUCE(reduce_max, SHAPE(2, 3, 2), 5),
    REDUCE(reduce_min, SHAPE(2, 3), 2),
    {OP_argmax, {"argmax", 1, {SHAPE(2, 3)}, -1, 1, build_argmax, CONTEXT(int, 1)}},
    MATMUL(0, SHAPE(2, 3, 4), SHAPE(2, 4, 5)),
    MATMUL(1, SHAPE(4, 3), SHAPE(4, 5)),
    MATMUL(2, SHAPE(1, 3, 4), SHAPE(1, 5, 4)),
    MATMUL(3, SHAPE(2, 4, 1), SHAPE(2, 5, 4)),
    RFFT(SHAPE(2, 6), 2),
    RFFT(SHAPE(7, 2), 1),
    RFFT(SHAPE(1), 1),
    RFFT(SHAPE(2), 1),
    RFFT(SHAPE(3, 4), 3),
    RFFT(SHAPE(4, 2, 3), 5),
    SPECTRAL(SHAPE(3, 6), SHAPE(1, 4), 2),
    SPECTRAL(SHAPE(5), SHAPE(3), 1),
    SPECTRAL(SHAPE(1), SHAPE(1), 1),
    SPECTRAL(SHAPE(4, 5), SHAPE(4, 3), 3),
    SPECTRAL(SHAPE(2, 3, 4), SHAPE(2, 1, 3), 5),
    SPECTRAL(SHAPE(4, 3), SHAPE(3, 1), 1),
    CROSS(SHAPE(3, 6), 2, 1),
    CROSS(SHAPE(3, 5), 2, 0),
    CROSS(SHAPE(4, 3, 2), 3, 4),
    CROSS(SHAPE(1), 1, 0),
    CONV(SHAPE(5), SHAPE(5), 0),
    CONV(SHAPE(1, 4), SHAPE(3, 4), 1),
    CONV(SHAPE(4, 1), SHAPE(4, 3), 0),
    CONV(SHAPE(2, 1, 1), SHAPE(2, 3, 1), 2),
    CONV(SHAPE(3), SHAPE(7), 0),
    CONV(SHAPE(3, 1), SHAPE(3, 5), 1),
    CONV(SHAPE(2, 1, 2), SHAPE(5, 3, 2), 0),
    CONV(SHAPE(1), SHAPE(1), 0),
    CORRELATION(SHAPE(6), 0, 0, 6),
    CORRELATION(SHAPE(2, 5), 1, 1, 3),
    CORRELATION(SHAPE(4, 3), 0, 0, 2),
    CORRELATION(SHAPE(2, 3, 2), 1, 5, 3),
    WEIGHTS(SHAPE(1), 6, 0),
    WEIGHTS(SHAPE(2, 1), 1, 0),
    WEIGHTS(SHAPE(3, 1), 9, 0),
    WEIGHTS(SHAPE(2, 1), 7, 3),
    EXPONENTIAL(SHAPE(9), SHAPE(3), SHAPE(3), 0, 0, 0),
    EXPONENTIAL(SHAPE(9), SHAPE(2), SHAPE(2), 0, 2, 3),
    EXPONENTIAL(SHAPE(1), SHAPE(3), SHAPE(3), 0, 0, 0),
    EXPONENTIAL(SHAPE(3, 6), SHAPE(1, 2), SHAPE(3, 2), 1, 0, 1),
    EXPONENTIAL(SHAPE(6, 3), SHAPE(2, 3), SHAPE(2, 1), 0, 1, 0),
    {OP_custom, {"custom", 2, {SHAPE(3), SHAPE(3)}, -1, 1, build_custom, NULL}},
};

static bool has_op(const Graph *g, Op op) {
    for (size_t v = 0; v < g->count; v++)
        if (g->nodes[v].op == op) return true;
    return false;
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (cases[i].op != OP_stop) check_derivatives(&cases[i].f, i); /* stop: zero by decree, see below */
}

/* All derivatives of every case, compiled and eager; rounding of a dozen ops relative to the largest element.
 */
static void test_compiled_derivatives(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        const Function *f = &cases[i].f;
        Graph *g = derivative_graph(f);
        bool single = false;
        for (size_t v = 0; v < g->count; v++) single |= g->nodes[v].type.dtype == FRAX_F32;
        compare_targets(g, (Fill){i, f->lo, f->hi}, (Bound){0, single ? 1e-6 : 1e-12}, f->name);
        graph_destroy(g);
    }
}

/* The graph of a case alone. */
static Graph *case_graph(const Case *c, Value *x, Value *y) {
    Graph *g = graph_create(c->f.name, "test");
    FraxError err;
    assert_non_null(g);
    for (int i = 0; i < c->f.n; i++)
        x[i] = g_input(g, (char[]){(char)('a' + i), 0}, (Type){FRAX_F64, c->f.shapes[i]});
    *y = c->f.build(g, x, c->f.context);
    if (graph_status(g, &err)) fail_msg("%s: %s", c->f.name, err.message);
    if (!has_op(g, c->op)) fail_msg("the case %s has no node %s", c->f.name, op_table[c->op].name);
    return g;
}

static void test_discrete_ops_have_no_tangent(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        Value x[MOST_INPUTS], y, dy;
        FraxError err;
        Graph *g = case_graph(&cases[i], x, &y);
        if (jvp(g, &y, 1, x, x, (size_t)cases[i].f.n, &dy, &err)) fail_msg("%s", err.message);
        if ((dy == NO_VALUE) != (op_table[cases[i].op].kind == KIND_DISCRETE))
            fail_msg("%s has %s tangent", cases[i].f.name, dy == NO_VALUE ? "no" : "a");
        graph_destroy(g);
    }
}

static void test_every_op_is_covered(void **state) {
    (void)state;
    for (int op = 0; op < OP_COUNT; op++) {
        bool covered = op_table[op].kind == KIND_LEAF; /* test_leaves */
        for (size_t i = 0; i < COUNT(cases); i++) covered |= cases[i].op == (Op)op;
        if (!covered) fail_msg("no case for %s", op_table[op].name);
    }
}

static void test_leaves(void **state) {
    (void)state;
    Graph *g = graph_create("leaves", "test");
    Type type = {FRAX_F64, SHAPE(3)};
    Value x = g_input(g, "x", type), p = g_param(g, "p", type, INIT_CONSTANT, 1, 0), dy[5];
    Value y[] = {x, p, g_constant(g, type, 2), g_iota(g, type, 0), g_hole(g, type, 7)};
    Value dx[] = {g_input(g, "dx", type), g_input(g, "dp", type)};
    assert_int_equal(jvp(g, y, 5, (Value[]){x, p}, dx, 2, dy, NULL), FRAX_OK);
    assert_int_equal(dy[0], dx[0]);
    assert_int_equal(dy[1], dx[1]);
    for (int i = 2; i < 5; i++) assert_int_equal(dy[i], NO_VALUE);
    graph_destroy(g);
}

/* ---- Points where a formula alone would fail ---- */

/* The derivative of build(x) at one point, all elements of x being equal. */
static void expect_slope(Value (*build)(Graph *, Value), double at, double expected) {
    Graph *g = graph_create("slope", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SCALAR}), dx;
    FraxError err;
    double *out;
    if (gradient(g, build(g, x), NO_VALUE, &x, 1, &dx, &err)) fail_msg("%s", err.message);
    graph_output(g, "dx", dx);
    evaluate(g, (double *[]){&at}, &out);
    if (isnan(expected))
        assert_true(isnan(*out));
    else
        assert_true(*out == expected);
    free(out);
    graph_destroy(g);
}

static Value square(Graph *g, Value x) {
    return g_binary(g, OP_pow, x, g_like(g, x, 2));
}
static Value first_power(Graph *g, Value x) { /* the exponent is no constant, so that it does not fold */
    return g_binary(g, OP_pow, x, g_unary(g, OP_stop, g_like(g, x, 1)));
}
static Value zeroth_power(Graph *g, Value x) {
    return g_binary(g, OP_pow, x, g_unary(g, OP_stop, g_like(g, x, 0)));
}
static Value slope_of_power(Graph *g, Value p) { /* ∂x x^p at x = 2 */
    Value x = g_unary(g, OP_stop, g_like(g, p, 2)), dx;
    assert_int_equal(gradient(g, g_binary(g, OP_pow, x, p), NO_VALUE, &x, 1, &dx, NULL), FRAX_OK);
    return dx;
}
static Value exponential_of_zero(Graph *g, Value x) {
    return g_binary(g, OP_pow, g_like(g, x, 0), x);
}
static Value exponential_of_minus_two(Graph *g, Value x) {
    return g_binary(g, OP_pow, g_like(g, x, -2), x);
}
static Value relu(Graph *g, Value x) {
    return g_binary(g, OP_max, x, g_like(g, x, 0));
}
static Value least(Graph *g, Value x) {
    return g_binary(g, OP_min, x, g_like(g, x, 0));
}
static Value magnitude(Graph *g, Value x) {
    return g_unary(g, OP_abs, x);
}
static Value largest_of_three(Graph *g, Value x) { /* max(x, x, 1): two shares of three at x = 1 */
    Value row = g_reshape(g, x, SHAPE(1));
    Value parts[] = {row, row, g_like(g, row, 1)};
    return g_reshape(g, g_reduce(g, OP_reduce_max, g_concat(g, parts, 3, 0), 1), SCALAR);
}
static Value same_twice(Graph *g, Value x) {
    return g_mul(g, g_mul(g, x, x), x);
}

static void test_guarded_points(void **state) {
    (void)state;
    expect_slope(square, 0, 0);
    expect_slope(square, -3, -6);
    expect_slope(first_power, 0, 1);
    expect_slope(zeroth_power, 0, 0);
    expect_slope(zeroth_power, -2, 0);
    expect_slope(zeroth_power, 1e-310, 0);
    expect_slope(slope_of_power, 0, 0.5);
    expect_slope(exponential_of_zero, 2, 0);
    expect_slope(exponential_of_zero, 0, 0);
    expect_slope(exponential_of_zero, -1, 0);
    expect_slope(exponential_of_minus_two, 2, NAN);
    expect_slope(relu, 0, 0.5);
    expect_slope(relu, 1, 1);
    expect_slope(relu, -1, 0);
    expect_slope(least, 0, 0.5);
    expect_slope(magnitude, 0, 0);
    expect_slope(largest_of_three, 1, 2.0 / 3);
    expect_slope(same_twice, 2, 12);
}

/* ∂w/∂α at α = ½ (maths.md §2): no pole at j = 1, and right far out. */
static void test_derivative_of_grunwald_weights(void **state) {
    (void)state;
    enum { N = 101 };
    Graph *g = graph_create("weights", "test");
    Value alpha = g_input(g, "alpha", (Type){FRAX_F64, SHAPE(1)}), w = g_grunwald_weights(g, alpha, N), dw;
    Value one = g_like(g, alpha, 1);
    double half = 0.5, *out;
    assert_int_equal(jvp(g, &w, 1, &alpha, &one, 1, &dw, NULL), FRAX_OK);
    graph_output(g, "dw", dw);
    evaluate(g, (double *[]){&half}, &out);
    assert_float_equal(out[1], -1, 1e-14);
    assert_float_equal(out[2], 0, 1e-14);
    assert_float_equal(out[3], 1.0 / 24, 1e-14);
    assert_float_equal(out[100], 0.00129081457003, 1e-14);
    free(out);
    graph_destroy(g);
}

/* ---- Derivatives given by the user ---- */

/* y = x² with a given derivative at x = 3: the given one counts, in both modes, and x² is not differentiated.
 */
static void expect_given_derivative(bool divided, double expected) {
    Graph *g = graph_create("custom", "test");
    Type type = {FRAX_F64, SCALAR};
    Value x = g_input(g, "x", type), hole = g_hole(g, type, 0), dx, dy, one = g_like(g, x, 1);
    Value given = divided ? g_div(g, hole, g_shift(g, x, 1)) : g_scale(g, hole, 5);
    Value y = g_custom(g, g_mul(g, x, x), &x, &hole, 1, given);
    double at = 3, *out[2];
    assert_int_equal(gradient(g, y, NO_VALUE, &x, 1, &dx, NULL), FRAX_OK);
    assert_int_equal(jvp(g, &y, 1, &x, &one, 1, &dy, NULL), FRAX_OK);
    graph_output(g, "dx", dx);
    graph_output(g, "dy", dy);
    evaluate(g, (double *[]){&at}, out);
    assert_true(*out[0] == expected && *out[1] == expected);
    free(out[0]);
    free(out[1]);
    graph_destroy(g);
}

/* 5·dx, and dx / (x + 1): a quotient is linear in its numerator. */
static void test_given_derivative_is_used(void **state) {
    (void)state;
    expect_given_derivative(false, 5);
    expect_given_derivative(true, 0.25);
}

static Value derivative_squared(Graph *g, Value x, Value hole) {
    (void)x;
    return g_mul(g, hole, hole);
}
static Value derivative_sine(Graph *g, Value x, Value hole) {
    (void)x;
    return g_unary(g, OP_sin, hole);
}
static Value derivative_affine(Graph *g, Value x, Value hole) {
    return g_add(g, x, hole);
}
static Value derivative_without_hole(Graph *g, Value x, Value hole) {
    (void)g;
    (void)hole;
    return x;
}

static void test_given_derivative_must_be_linear(void **state) {
    (void)state;
    Value (*const wrong[])(Graph *, Value, Value) = {derivative_squared, derivative_sine, derivative_affine,
                                                     derivative_without_hole};
    for (size_t i = 0; i < COUNT(wrong); i++) {
        Graph *g = graph_create("custom", "test");
        Type type = {FRAX_F64, SCALAR};
        Value x = g_input(g, "x", type), hole = g_hole(g, type, 0), dx;
        g->loc = (Loc){4, 9};
        Value y = g_custom(g, g_mul(g, x, x), &x, &hole, 1, wrong[i](g, x, hole));
        FraxError err = {0};
        assert_int_equal(gradient(g, y, NO_VALUE, &x, 1, &dx, &err), FRAX_NOT_DIFFERENTIABLE);
        assert_non_null(strstr(err.message, "not linear in its tangent"));
        graph_destroy(g);
    }
}

/* ---- Faults ---- */

static void test_faults(void **state) {
    (void)state;
    Graph *g = graph_create("faults", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(3)}), n = g_input(g, "n", (Type){FRAX_I32, SHAPE(3)}),
          dx;
    Value scalar = g_input(g, "s", (Type){FRAX_F64, SCALAR});
    FraxError err = {0};
    assert_int_equal(gradient(g, x, NO_VALUE, &x, 1, &dx, &err), FRAX_SHAPE);
    assert_non_null(strstr(err.message, "f64[3]"));
    assert_int_equal(gradient(g, n, n, &x, 1, &dx, &err), FRAX_NOT_DIFFERENTIABLE);
    assert_int_equal(gradient(g, x, scalar, &x, 1, &dx, &err), FRAX_SHAPE);
    assert_int_equal(gradient(g, scalar, NO_VALUE, &n, 1, &dx, &err), FRAX_NOT_DIFFERENTIABLE);
    assert_non_null(strstr(err.message, "i32[3]"));
    assert_int_equal(gradient(g, scalar, NO_VALUE, &x, 1, &dx, &err), FRAX_OK);
    assert_int_equal(graph_node(g, dx)->op, OP_constant);
    graph_destroy(g);
}

/* Each allocation in turn fails: a status comes back, and nothing leaks (seen by the address sanitizer). */
static void test_out_of_memory(void **state) {
    (void)state;
    for (long n = 1, status = FRAX_MEMORY; status; n++) {
        Graph *g = graph_create("memory", "test");
        Type type = {FRAX_F64, SHAPE(2, 4)};
        Value x = g_input(g, "x", type), w = g_input(g, "w", type), both[] = {x, w}, grads[2];
        Value part = g_concat(g, (Value[]){g_causal_conv(g, w, x, 1, ENGINE_AUTO), x}, 2, 0);
        Value holes[] = {g_hole(g, type, 0), g_hole(g, type, 1)};
        Value y = g_custom(g, g_mul(g, x, w), both, holes, 2,
                           g_add(g, g_mul(g, holes[0], w), g_mul(g, x, holes[1])));
        Value loss = g_add(g, dot(g, part, part), dot(g, y, x));
        mem_fail_after(n);
        status = gradient(g, loss, NO_VALUE, both, 2, grads, NULL);
        mem_fail_after(0);
        assert_true(status == FRAX_OK || status == FRAX_MEMORY);
        graph_destroy(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_compiled_derivatives),
        cmocka_unit_test(test_discrete_ops_have_no_tangent),
        cmocka_unit_test(test_every_op_is_covered),
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_guarded_points),
        cmocka_unit_test(test_derivative_of_grunwald_weights),
        cmocka_unit_test(test_given_derivative_is_used),
        cmocka_unit_test(test_given_derivative_must_be_linear),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
