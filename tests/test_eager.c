/* test_eager.c — the eager target against the reference evaluator: every op of the table, odd sizes, sizes 1
 * and 0, all dtypes that an op takes; and the same bits for any number of threads.
 *
 * Tolerances. A pointwise result is compared element by element, relative to |expected| + 1e-3: f64 1e-12,
 * f32 2e-6 (the vector library errs by up to 4 units of 6e-8, a quotient or power by a few more). In the
 * 16-bit formats every node rounds, and so does the expected value: 2 unit roundoffs for each node of a
 * chain. Sums, products and transforms are compared relative to the largest element of the result or the
 * inputs, with √n for the growth of rounding errors: f64 1e-13·√n, f32 4e-7·√n.
 */
#include "executable.h"
#include "half.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef struct Bench { /* a graph under construction and how its inputs are filled */
    Graph *g;
    double lo, hi;
    int64_t terms; /* summed into one element; 0: pointwise */
    int chain;     /* nodes in a row that round */
    bool waves;    /* values change sign along the last axis: beside a zero, larger terms cancel */
} Bench;

static Bench start(double lo, double hi, int64_t terms) {
    Graph *g = graph_create("test", "test");
    assert_non_null(g);
    return (Bench){g, lo, hi, terms, 1, false};
}

static Value input(Bench *b, FraxDType dtype, Shape shape) {
    char name[16];
    snprintf(name, sizeof name, "x%zu", b->g->ninputs);
    return g_input(b->g, name, (Type){dtype, shape});
}

static double random_unit(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

static void *filled(const Type *type, double lo, double hi) {
    int64_t n = shape_size(&type->shape);
    void *data = mem_alloc((size_t)n * frax_dtype_size(type->dtype));
    for (int64_t i = 0; i < n; i++) {
        double u = random_unit(), v = lo + (hi - lo) * u;
        if (type->dtype == FRAX_I32) v = floor(11 * u) - 5;
        if (type->dtype == FRAX_BOOL) v = u < 0.5;
        element_set(data, type->dtype, i, v);
    }
    return data;
}

static FraxTensor tensor(const Type *type, void *data) {
    FraxTensor t = {.dtype = type->dtype, .rank = type->shape.rank, .data = data};
    memcpy(t.dims, type->shape.dims, sizeof t.dims);
    return t;
}

static double tolerance(const Bench *b, FraxDType dtype) {
    int64_t terms = b->terms;
    double growth = sqrt((double)MAX(terms, 1));
    switch (dtype) {
    case FRAX_F64: return terms ? 1e-13 * growth : 1e-12;
    case FRAX_F32: return terms ? 4e-7 * growth : 2e-6;
    case FRAX_BF16: return 0x1p-7 * b->chain;
    case FRAX_F16: return 0x1p-10 * b->chain;
    default: return 0;
    }
}

/* What the error of element i is relative to. */
static double magnitude(const Bench *b, const Type *type, const void *expected, int64_t i) {
    double size = fabs(element_get(expected, type->dtype, i));
    int64_t length = b->waves ? type->shape.dims[type->shape.rank - 1] : 1, j = i % length;
    for (int64_t k = j / 2; k < j; k++)
        size = fmax(size, fabs(element_get(expected, type->dtype, i - j + k)));
    return size;
}

static void compare(const Bench *b, const Type *type, const void *got, const void *expected,
                    const char *what) {
    int64_t n = shape_size(&type->shape);
    double largest = fmax(fabs(b->lo), fabs(b->hi)), tol = tolerance(b, type->dtype);
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(element_get(expected, type->dtype, i)));
    for (int64_t i = 0; i < n; i++) {
        double a = element_get(got, type->dtype, i), e = element_get(expected, type->dtype, i);
        if (a == e || (isnan(a) && isnan(e))) continue;
        double bound = tol * (b->terms ? largest : magnitude(b, type, expected, i) + 1e-3);
        char text[176];
        if (!(fabs(a - e) <= bound))
            fail_msg("%s %s element %lld: got %.17g, expected %.17g, bound %g", what, type_text(type, text),
                     (long long)i, a, e, bound);
    }
}

typedef struct Data {
    void *inputs[8], *outputs[8], *expected[8];
} Data;

static void data_create(const Bench *b, Data *d) {
    const Graph *g = b->g;
    FraxError err = {0};
    if (graph_status(g, &err)) fail_msg("%s", err.message);
    FraxTensor in[8], out[8];
    assert_true(g->ninputs <= 8 && g->noutputs <= 8);
    for (size_t i = 0; i < g->ninputs; i++) {
        d->inputs[i] = filled(graph_type(g, g->inputs[i]), b->lo, b->hi);
        in[i] = tensor(graph_type(g, g->inputs[i]), d->inputs[i]);
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        size_t bytes = (size_t)shape_size(&type->shape) * frax_dtype_size(type->dtype);
        d->expected[i] = mem_calloc(1, bytes);
        d->outputs[i] = mem_calloc(1, bytes);
        out[i] = tensor(type, d->expected[i]);
    }
    if (reference_run(g, in, out, &err)) fail_msg("reference: %s", err.message);
}

static void data_free(const Bench *b, Data *d) {
    for (size_t i = 0; i < b->g->ninputs; i++) mem_free(d->inputs[i]);
    for (size_t i = 0; i < b->g->noutputs; i++) {
        mem_free(d->outputs[i]);
        mem_free(d->expected[i]);
    }
}

/* Runs twice (the second time from pooled memory) with 1, 2 and 5 threads; all must agree in every bit, and
   with the reference within the tolerance. Destroys the graph. */
static void check(Bench *b, const char *what) {
    static const int threads[] = {1, 2, 5};
    Graph *g = b->g;
    Data d;
    data_create(b, &d);
    void *first[8] = {0};
    for (size_t t = 0; t < COUNT(threads); t++) {
        Eager *eager;
        FraxError err;
        if (eager_create(g, threads[t], &eager, &err)) fail_msg("%s: %s", what, err.message);
        for (int again = 0; again < 2; again++) {
            if (eager_run(eager, (const void *const *)d.inputs, d.outputs, &err))
                fail_msg("%s: %s", what, err.message);
            for (size_t i = 0; i < g->noutputs; i++) {
                const Type *type = graph_type(g, g->outputs[i].value);
                size_t bytes = (size_t)shape_size(&type->shape) * frax_dtype_size(type->dtype);
                compare(b, type, d.outputs[i], d.expected[i], what);
                if (!first[i])
                    first[i] = memcpy(mem_alloc(bytes), d.outputs[i], bytes);
                else if (memcmp(first[i], d.outputs[i], bytes))
                    fail_msg("%s: other bits with %d threads", what, threads[t]);
            }
        }
        eager_destroy(eager);
    }
    for (size_t i = 0; i < g->noutputs; i++) mem_free(first[i]);
    data_free(b, &d);
    graph_destroy(g);
}

static void check_value(Bench *b, Value y, const char *what) {
    graph_output(b->g, "y", y);
    check(b, what);
}

/* ---- Pointwise ---- */

static const FraxDType floats[] = {FRAX_F64, FRAX_F32, FRAX_BF16, FRAX_F16};
static const Shape sizes[] = {{.rank = 0},
                              {.rank = 1, .dims = {0}},
                              {.rank = 1, .dims = {1}},
                              {.rank = 2, .dims = {3, 5}},
                              {.rank = 3, .dims = {2, 1, 1027}},
                              {.rank = 1, .dims = {33333}}};

/* Where the op's operands lie: [lo, hi]. */
static void domain(Op op, double *lo, double *hi) {
    *lo = -4, *hi = 4;
    if (op == OP_log || op == OP_sqrt || op == OP_rsqrt || op == OP_pow || op == OP_lgamma ||
        op == OP_polygamma || op == OP_complex_lgamma || op == OP_mittag_leffler)
        *lo = 0.25;
    if (op == OP_mittag_leffler) *hi = 2;
    if (op == OP_log1p) *lo = -0.75;
    if (op == OP_div) *lo = 0.5;
}

/* Builds the op on inputs of this dtype; NO_VALUE if it does not take it. */
static Value pointwise(Bench *b, Op op, FraxDType dtype, Shape shape) {
    Type bools = {FRAX_BOOL, shape};
    if (op == OP_select) {
        Value c = input(b, bools.dtype, shape), yes = input(b, dtype, shape);
        return g_select(b->g, c, yes, input(b, dtype, shape));
    }
    Value x = input(b, dtype, shape);
    if (op == OP_mittag_leffler) {
        Value beta = input(b, dtype, shape);
        return g_mittag_leffler(b->g, 0, 1, x, beta, input(b, dtype, shape));
    }
    if (op == OP_complex_lgamma) return g_complex_lgamma(b->g, 0, PART_IM, x, input(b, dtype, shape));
    if (op == OP_polygamma) return g_polygamma(b->g, 0, x);
    if (op == OP_uniform) {
        Value low = input(b, dtype, shape);
        return g_uniform(b->g, (UniformDraw){FRAX_F64, 5, 1}, x, low, input(b, dtype, shape));
    }
    if (op_table[op].arity == 1) return g_unary(b->g, op, x);
    return g_binary(b->g, op, x, input(b, dtype, shape));
}

static void test_every_pointwise_op(void **state) {
    (void)state;
    int checked[OP_COUNT] = {0};
    for (Op op = 0; op < OP_COUNT; op++) {
        if (!op_is_pointwise(op) || op == OP_cast) continue;
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_BOOL; dtype++)
            for (size_t s = 0; s < COUNT(sizes); s++) {
                double lo, hi;
                domain(op, &lo, &hi);
                Bench b = start(lo, hi, 0);
                Value y = pointwise(&b, op, dtype, sizes[s]);
                if (y == NO_VALUE) {
                    graph_destroy(b.g);
                    continue;
                }
                checked[op]++;
                check_value(&b, y, op_table[op].name);
            }
        if (!checked[op]) fail_msg("%s takes no dtype", op_table[op].name);
    }
}

static void test_polygamma_orders(void **state) {
    (void)state;
    for (int64_t n = 0; n < 4; n++) {
        Bench b = start(-3.9, 12, 0);
        check_value(&b, g_polygamma(b.g, n, input(&b, FRAX_F64, SHAPE(64))), "polygamma");
    }
}

static void test_casts(void **state) {
    (void)state;
    for (FraxDType from = FRAX_F64; from <= FRAX_BOOL; from++)
        for (FraxDType to = FRAX_F64; to <= FRAX_BOOL; to++) {
            Bench b = start(-70000, 70000, 0);
            check_value(&b, g_cast(b.g, input(&b, from, SHAPE(1500)), to), "cast");
        }
}

/* Runs a graph of one input and one output on given data. */
static void run_once(Graph *g, const void *x, void *y) {
    Eager *eager;
    FraxError err;
    if (graph_status(g, &err) || eager_create(g, 1, &eager, &err)) fail_msg("%s", err.message);
    if (eager_run(eager, &x, &y, &err)) fail_msg("%s", err.message);
    eager_destroy(eager);
    graph_destroy(g);
}

/* Infinities, NaN, signed zeros and the ends of the formats, against the scalar definitions. */
static void test_special_values(void **state) {
    (void)state;
    static const double values[] = {0,     -0.0,  INFINITY, -INFINITY, NAN,        1e300,   -1e300,
                                    5e-39, 1e-45, 3e9,      -3e9,      0x1p-24,    0x1p-25, 65519.9,
                                    65520, 6e-8,  0x1p-133, 3.3e38,    2147483647, 1e-320,  1.00048828125};
    static const Op ops[] = {OP_neg, OP_abs, OP_sign, OP_floor, OP_exp, OP_log, OP_sqrt, OP_tanh, OP_sigmoid};
    enum { N = COUNT(values) };
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t i = 0; i < COUNT(ops); i++) {
            double x[N], y[N];
            Bench b = start(0, 0, 0);
            Type type = {dtype, SHAPE(N)};
            Value v = g_unary(b.g, ops[i], input(&b, dtype, type.shape));
            graph_output(b.g, "y", v);
            Node node = *graph_node(b.g, v);
            for (int k = 0; k < N; k++) element_set(x, dtype, k, values[k]);
            run_once(b.g, x, y);
            for (int k = 0; k < N; k++) {
                double a = element_get(x, dtype, k), got = element_get(y, dtype, k), rounded[1];
                node.attrs = &(Attrs){0};
                element_set(rounded, dtype, 0, reference_pointwise(&node, &a));
                double want = element_get(rounded, dtype, 0);
                bool same =
                    got == want || (isnan(got) && isnan(want)) || fabs(got - want) <= 2e-6 * fabs(want);
                /* A vanishing sigmoid may be 0 where the exact value is subnormal. */
                if (!same && !(ops[i] == OP_sigmoid && fabs(want) < 1.2e-38))
                    fail_msg("%s(%g) %s: got %.17g, expected %.17g", op_table[ops[i]].name, a,
                             frax_dtype_name(dtype), got, want);
            }
        }
    for (FraxDType to = FRAX_BF16; to <= FRAX_BOOL; to++)
        for (FraxDType from = FRAX_F64; from <= FRAX_F32; from++) {
            double x[N], y[N], expected[N];
            Bench b = start(0, 0, 0);
            graph_output(b.g, "y", g_cast(b.g, input(&b, from, SHAPE(N)), to));
            for (int k = 0; k < N; k++) {
                element_set(x, from, k, values[k]);
                element_set(expected, to, k, element_get(x, from, k));
            }
            run_once(b.g, x, y);
            for (int k = 0; k < N; k++) {
                double got = element_get(y, to, k), want = element_get(expected, to, k);
                if (got != want && !(isnan(got) && isnan(want)))
                    fail_msg("cast %g to %s: got %g, expected %g", values[k], frax_dtype_name(to), got, want);
            }
        }
}

/* Every 16-bit pattern to f32 and back is itself. */
static void test_16_bit_round_trip(void **state) {
    (void)state;
    for (FraxDType dtype = FRAX_BF16; dtype <= FRAX_F16; dtype++) {
        static uint16_t x[65536], y[65536];
        static float wide[65536];
        for (int i = 0; i < 65536; i++) x[i] = (uint16_t)i;
        Bench b = start(0, 0, 0);
        graph_output(b.g, "y", g_cast(b.g, input(&b, dtype, SHAPE(65536)), FRAX_F32));
        run_once(b.g, x, wide);
        b = start(0, 0, 0);
        graph_output(b.g, "y", g_cast(b.g, input(&b, FRAX_F32, SHAPE(65536)), dtype));
        run_once(b.g, wide, y);
        for (int i = 0; i < 65536; i++) {
            double v = element_get(x, dtype, i);
            assert_true(isnan(v) ? isnan(wide[i]) && isnan(element_get(y, dtype, i))
                                 : v == wide[i] && y[i] == x[i]);
        }
    }
}

/* ---- Views into pointwise ops ---- */

static void test_views(void **state) {
    (void)state;
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_I32; dtype++)
        for (int64_t n = 1; n <= 70; n += 23) {
            Bench b = start(-1, 1, 0);
            b.chain = 2;
            Graph *g = b.g;
            Value x = input(&b, dtype, SHAPE(n, 3, 40)), row = input(&b, dtype, SHAPE(1, 3, 1));
            Value t = g_transpose(g, x, (uint8_t[]){2, 0, 1});
            Value wide = g_broadcast(g, g_transpose(g, row, (uint8_t[]){0, 2, 1}), SHAPE(40, n, 3));
            Value sum = g_add(g, t, wide);
            Value flipped = g_flip(g, sum, 5);
            Value part =
                g_slice(g, flipped, (int64_t[]){3, 0, 1}, (int64_t[]){39, n, 3}, (int64_t[]){7, 2, 1});
            graph_output(g, "sum", sum);
            graph_output(g, "flipped", flipped);
            graph_output(g, "part", part);
            graph_output(g, "reshaped", g_reshape(g, part, SHAPE(shape_size(&graph_type(g, part)->shape))));
            graph_output(g, "product", g_mul(g, part, part));
            graph_output(g, "scaled", g_mul(g, t, g_constant(g, *graph_type(g, t), 3)));
            check(&b, "views");
        }
}

static void test_shape_ops(void **state) {
    (void)state;
    static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_BF16, FRAX_I32, FRAX_BOOL};
    static const int64_t lengths[] = {0, 1, 5, 300};
    for (size_t k = 0; k < COUNT(dtypes) * COUNT(lengths); k++) {
        FraxDType dtype = dtypes[k % COUNT(dtypes)];
        int64_t n = lengths[k / COUNT(dtypes)];
        Bench b = start(-1, 1, 0);
        Graph *g = b.g;
        Value x = input(&b, dtype, SHAPE(n, 4)), y = input(&b, dtype, SHAPE(n, 7));
        Value flat = g_reshape(g, x, SHAPE(4 * n));
        graph_output(g, "joined", g_concat(g, (Value[]){x, y, x}, 3, 1));
        graph_output(
            g, "stacked",
            g_concat(g, (Value[]){x, g_transpose(g, g_reshape(g, x, SHAPE(4, n)), (uint8_t[]){1, 0})}, 2, 0));
        graph_output(g, "padded", g_pad(g, y, (int64_t[]){1, 2}, (int64_t[]){0, 3}, (int64_t[]){2, 3}));
        graph_output(g, "same", g_unary(g, OP_stop, flat));
        graph_output(g, "turned", g_transpose(g, y, (uint8_t[]){1, 0}));
        if (dtype != FRAX_BOOL) graph_output(g, "count", g_iota(g, (Type){dtype, SHAPE(n, 4)}, 1));
        graph_output(g, "wide", g_broadcast(g, g_reshape(g, x, SHAPE(n, 1, 4)), SHAPE(n, 3, 4)));
        check(&b, "shape ops");
    }
}

/* ---- Reductions and products ---- */

static void test_reductions(void **state) {
    (void)state;
    static const Shape shapes[] = {{.rank = 1, .dims = {1}},          {.rank = 1, .dims = {50001}},
                                   {.rank = 2, .dims = {7, 1000}},    {.rank = 2, .dims = {3000, 7}},
                                   {.rank = 3, .dims = {5, 33, 600}}, {.rank = 4, .dims = {3, 4, 1, 5}}};
    static const Op ops[] = {OP_sum, OP_reduce_max, OP_reduce_min};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_I32; dtype++)
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (uint32_t axes = 0; axes < 1u << shapes[s].rank; axes++) {
                Bench b = start(-0.5, 1, shape_size(&shapes[s]));
                Value x = input(&b, dtype, shapes[s]);
                for (size_t k = 0; k < COUNT(ops); k++)
                    graph_output(b.g, op_table[ops[k]].name, g_reduce(b.g, ops[k], x, axes));
                for (int i = 0; i < shapes[s].rank && axes == 1u << i; i++)
                    graph_output(b.g, "argmax", g_argmax(b.g, x, i));
                check(&b, "reductions");
            }
    Bench b = start(-1, 1, 1);
    graph_output(b.g, "none", g_reduce(b.g, OP_sum, input(&b, FRAX_F32, SHAPE(0, 3)), 1));
    graph_output(b.g, "empty", g_reduce(b.g, OP_sum, input(&b, FRAX_F64, SHAPE(4, 0, 3)), 1));
    graph_output(b.g, "nothing", g_reduce(b.g, OP_reduce_max, input(&b, FRAX_F64, SHAPE(0, 3)), 2));
    check(&b, "empty reductions");
}

static void test_reductions_of_nan(void **state) {
    (void)state;
    float x[35], y[3][7];
    int32_t at[5];
    for (int i = 0; i < 35; i++) x[i] = (float)(i % 11);
    x[10] = NAN, x[13] = NAN;
    Bench b = start(0, 0, 0);
    Value v = input(&b, FRAX_F32, SHAPE(5, 7));
    graph_output(b.g, "rows", g_reduce(b.g, OP_reduce_max, v, 2));
    graph_output(b.g, "columns", g_reduce(b.g, OP_reduce_min, v, 1));
    graph_output(b.g, "all", g_reduce(b.g, OP_reduce_max, v, 3));
    graph_output(b.g, "at", g_argmax(b.g, v, 1));
    Eager *eager;
    assert_int_equal(eager_create(b.g, 1, &eager, NULL), FRAX_OK);
    assert_int_equal(eager_run(eager, (const void *[]){x}, (void *[]){y[0], y[1], y[2], at}, NULL), FRAX_OK);
    for (int i = 0; i < 5; i++) assert_true(isnan(y[0][i]) == (i == 1));
    for (int i = 0; i < 7; i++) assert_true(isnan(y[1][i]) == (i == 3 || i == 6));
    assert_true(isnan(y[2][0]));
    assert_int_equal(at[1], 3);
    eager_destroy(eager);
    graph_destroy(b.g);
}

static void test_matmul(void **state) {
    (void)state;
    static const int64_t shapes[][4] = {{1, 1, 1, 1}, {2, 3, 4, 5}, {0, 3, 4, 5},     {2, 0, 4, 5},
                                        {2, 3, 0, 5}, {2, 3, 4, 0}, {1, 270, 9, 300}, {3, 17, 65, 33}};
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (int flags = 0; flags < 16; flags++)
            for (size_t k = 0; k < COUNT(floats); k++) {
                const int64_t *d = shapes[s];
                bool ta = flags & 1, tb = flags & 2;
                Bench b = start(-1, 1, d[3] + 1);
                Shape sa = ta ? SHAPE(d[0], d[2], d[1]) : SHAPE(d[0], d[1], d[2]);
                Shape sb = tb ? SHAPE(d[0], d[3], d[2]) : SHAPE(d[0], d[2], d[3]);
                const uint8_t swap[] = {0, 2, 1};
                Value x, y;
                if (flags & 4) { /* a transposed view in the place of the flag */
                    x = g_transpose(b.g, input(&b, floats[k], SHAPE(sa.dims[0], sa.dims[2], sa.dims[1])),
                                    swap);
                    y = input(&b, floats[k], sb);
                } else {
                    x = input(&b, floats[k], sa);
                    y = g_transpose(b.g, input(&b, floats[k], SHAPE(sb.dims[0], sb.dims[2], sb.dims[1])),
                                    swap);
                }
                if (flags & 8) { /* a broadcast and a strided operand */
                    x = g_broadcast(b.g, input(&b, floats[k], SHAPE(sa.dims[0], 1, sa.dims[2])), sa);
                    y = g_flip(b.g, y, 4);
                }
                check_value(&b, g_matmul(b.g, x, y, ta, tb), "matmul");
            }
}

/* ---- Transforms ---- */

static Shape half_shape(Shape s, uint32_t axes, bool batch) {
    int last = 31 - __builtin_clz(axes);
    s.dims[last] = s.dims[last] / 2 + 1;
    for (int i = 0; i < s.rank; i++)
        if (!batch && !(axes >> i & 1)) s.dims[i] = 1;
    return s;
}

/* Two nodes that read one spectrum, both parts, one K for all rows and one for each; any set of axes. */
static void test_spectra(void **state) {
    (void)state;
    static const Shape shapes[] = {{.rank = 1, .dims = {1}},       {.rank = 1, .dims = {12}},
                                   {.rank = 2, .dims = {37, 9}},   {.rank = 2, .dims = {3, 64}},
                                   {.rank = 3, .dims = {4, 6, 5}}, {.rank = 4, .dims = {2, 3, 4, 5}},
                                   {.rank = 2, .dims = {0, 8}}};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (uint32_t axes = 1; axes < 1u << shapes[s].rank; axes++) {
                Shape shape = shapes[s], one = half_shape(shape, axes, false),
                      each = half_shape(shape, axes, true);
                if (__builtin_popcount(axes) > 3 || (shape.dims[0] == 0 && axes & 1)) continue;
                Bench b = start(-1, 1, MAX(1, shape_size(&shape)));
                Graph *g = b.g;
                Value x = input(&b, dtype, shape), y = input(&b, dtype, shape);
                Value kr = input(&b, dtype, one), ki = input(&b, dtype, one);
                Value er = input(&b, dtype, each), ei = input(&b, dtype, each);
                Value dx = g_spectral(g, x, kr, ki, axes);
                graph_output(g, "dx", dx);
                graph_output(g, "ex", g_spectral(g, g_unary(g, OP_stop, x), er, ei, axes));
                graph_output(g, "re", g_rfft(g, x, axes, PART_RE));
                graph_output(g, "im", g_rfft(g, y, axes, PART_IM));
                uint32_t batch = ~axes & ((1u << shape.rank) - 1);
                graph_output(g, "cross_im", g_cross_spectrum(g, x, y, axes, batch, PART_IM));
                graph_output(g, "cross_re", g_cross_spectrum(g, x, y, axes, batch, PART_RE));
                graph_output(g, "some", g_cross_spectrum(g, y, x, axes, batch & 1, PART_RE));
                graph_output(g, "sum", g_add(g, dx, y));
                check(&b, "spectra");
            }
}

static void test_causal_conv(void **state) {
    (void)state;
    static const int64_t lengths[] = {0, 1, 2, 5, 127, 128, 129, 200, 257, 600};
    static const Engine engines[] = {ENGINE_AUTO, ENGINE_DIRECT, ENGINE_FFT};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t l = 0; l < COUNT(lengths); l++)
            for (size_t e = 0; e < COUNT(engines); e++) {
                int64_t n = lengths[l];
                Bench b = start(-1, 1, n + 1);
                Graph *g = b.g;
                Value x = input(&b, dtype, SHAPE(3, n, 2)), w = input(&b, dtype, SHAPE(1, n, 1));
                Value each = input(&b, dtype, SHAPE(3, n, 1)), line = input(&b, dtype, SHAPE(n));
                Value y = g_causal_conv(g, w, x, 1, engines[e]);
                graph_output(g, "y", y);
                graph_output(g, "back", g_flip(g, g_causal_conv(g, w, g_flip(g, y, 2), 1, engines[e]), 2));
                graph_output(g, "each", g_causal_conv(g, each, x, 1, engines[e]));
                graph_output(g, "square", g_causal_conv(g, line, line, 0, engines[e]));
                Value few = input(&b, dtype, SHAPE(3, (n + 2) / 3, 1));
                graph_output(g, "few", g_causal_conv(g, few, x, 1, engines[e]));
                check(&b, "causal_conv");
            }
}

static void test_causal_correlation(void **state) {
    (void)state;
    static const int64_t lengths[] = {0, 1, 2, 5, 127, 129, 200, 600};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t l = 0; l < COUNT(lengths); l++)
            for (int e = 0; e < ENGINE_COUNT; e++) {
                int64_t n = lengths[l];
                Bench b = start(-1, 1, n + 1);
                Graph *g = b.g;
                Value x = input(&b, dtype, SHAPE(3, n, 2)), y = input(&b, dtype, SHAPE(3, n, 2));
                graph_output(g, "each", g_causal_correlation(g, x, y, 1, 0, n, (Engine)e));
                graph_output(g, "all", g_causal_correlation(g, x, y, 1, 5, (n + 2) / 3, (Engine)e));
                graph_output(g, "some", g_causal_correlation(g, x, g_neg(g, y), 1, 1, MIN(n, 2), (Engine)e));
                check(&b, "causal_correlation");
            }
}

static void test_grunwald_weights(void **state) {
    (void)state;
    for (int64_t n = 0; n < 4000; n = 3 * n + 1) {
        Bench b = start(-1.5, 2.5, 0);
        Value alpha = input(&b, FRAX_F64, SHAPE(3, 1));
        graph_output(b.g, "w", g_grunwald_weights(b.g, alpha, n));
        check(&b, "grunwald_weights");
        b = start(-1.5, 2.5, 0);
        b.waves = true;
        alpha = input(&b, FRAX_F64, SHAPE(3, 1));
        graph_output(b.g, "slope", g_grunwald_derivative(b.g, alpha, n, 1));
        graph_output(b.g, "high", g_grunwald_derivative(b.g, alpha, n, MAX_WEIGHTS_ORDER));
        check(&b, "derivatives of grunwald_weights");
    }
}

/* ---- Outputs, donation, faults ---- */

static void test_custom_is_its_first_operand(void **state) {
    (void)state;
    Bench b = start(-1, 1, 0);
    Graph *g = b.g;
    Type type = {FRAX_F64, SHAPE(9)};
    Value x = input(&b, FRAX_F64, SHAPE(9)), hole = g_hole(g, type, 0);
    Value y = g_custom(g, g_unary(g, OP_exp, x), &x, &hole, 1, g_scale(g, hole, 2));
    check_value(&b, y, "custom");
}

static void test_a_hole_is_an_error(void **state) {
    (void)state;
    Bench b = start(0, 0, 0);
    FraxError err;
    Eager *eager;
    double y[2];
    graph_output(b.g, "y", g_unary(b.g, OP_exp, g_hole(b.g, (Type){FRAX_F64, SHAPE(2)}, 0)));
    assert_int_equal(eager_create(b.g, 1, &eager, &err), FRAX_OK);
    assert_int_equal(eager_run(eager, NULL, (void *[]){y}, &err), FRAX_INTERNAL);
    eager_destroy(eager);
    graph_destroy(b.g);
}

static void test_transforms_along_four_axes_are_refused(void **state) {
    (void)state;
    Bench b = start(0, 0, 0);
    FraxError err;
    Eager *eager;
    graph_output(b.g, "y", g_rfft(b.g, input(&b, FRAX_F64, SHAPE(2, 2, 2, 2)), 15, PART_RE));
    assert_int_equal(eager_create(b.g, 1, &eager, &err), FRAX_UNSUPPORTED);
    assert_null(eager);
    graph_destroy(b.g);
}

/* p := p − g/2 and m := p (old) over each other's and their own memory: every result is of the old values. */
static void test_donated_memory(void **state) {
    (void)state;
    enum { N = 40000 };
    Bench b = start(0, 0, 0);
    Graph *g = b.g;
    Value p = input(&b, FRAX_F32, SHAPE(N)), m = input(&b, FRAX_F32, SHAPE(N)),
          q = input(&b, FRAX_F32, SHAPE(N));
    graph_output_donated(g, "p", g_sub(g, p, g_scale(g, m, 0.5)), p);
    graph_output_donated(g, "m", q, m);
    graph_output_donated(g, "q", g_add(g, q, g_flip(g, q, 1)), q);
    graph_output(g, "old", g_reshape(g, m, SHAPE(N / 2, 2)));
    float *x[3], *old = mem_alloc(N * sizeof *old);
    for (int i = 0; i < 3; i++) {
        x[i] = mem_alloc(N * sizeof **x);
        for (int k = 0; k < N; k++) x[i][k] = (float)((k * (i + 3)) % 1001);
    }
    Eager *eager;
    assert_int_equal(eager_create(g, 2, &eager, NULL), FRAX_OK);
    assert_int_equal(
        eager_run(eager, (const void *[]){x[0], x[1], x[2]}, (void *[]){x[0], x[1], x[2], old}, NULL),
        FRAX_OK);
    for (int k = 0; k < N; k++) {
        float a = (float)((k * 3) % 1001), c = (float)((k * 4) % 1001), d = (float)((k * 5) % 1001);
        float mirror = (float)(((N - 1 - k) * 5) % 1001);
        assert_true(x[0][k] == a - c * 0.5f && x[1][k] == d && x[2][k] == d + mirror && old[k] == c);
    }
    eager_destroy(eager);
    for (int i = 0; i < 3; i++) mem_free(x[i]);
    mem_free(old);
    graph_destroy(g);
}

static Value everything(Bench *b) {
    Graph *g = b->g;
    Value x = input(b, FRAX_F64, SHAPE(6, 38)), w = input(b, FRAX_F64, SHAPE(1, 38));
    Value k = input(b, FRAX_F64, SHAPE(1, 20));
    Value y = g_causal_conv(g, w, g_spectral(g, x, k, k, 2), 1, ENGINE_FFT);
    Value c = g_cross_spectrum(g, x, y, 2, 1, PART_IM);
    Value p = g_matmul(g, g_transpose(g, y, (uint8_t[]){1, 0}), g_unary(g, OP_exp, x), false, false);
    Value s =
        g_add(g, g_reduce(g, OP_sum, p, 1), g_broadcast(g, g_reduce(g, OP_reduce_max, c, 3), SHAPE(1, 38)));
    return g_cast(g, g_pad(g, s, (int64_t[]){0, 1}, (int64_t[]){0, 0}, (int64_t[]){1, 1}), FRAX_BF16);
}

/* Each allocation of creation and of a run fails in turn; the sanitizers see leaks. */
static void test_out_of_memory(void **state) {
    (void)state;
    Bench b = start(-1, 1, 1);
    graph_output(b.g, "y", everything(&b));
    Data d;
    data_create(&b, &d);
    FraxStatus status = FRAX_MEMORY;
    FraxError err;
    Eager *eager;
    int creations = 0, runs = 0;
    /* Once without failures: transforms stay planned, so every later try makes the same allocations. */
    assert_int_equal(eager_create(b.g, 2, &eager, &err), FRAX_OK);
    eager_destroy(eager);
    for (long n = 1; status == FRAX_MEMORY; n++) {
        mem_fail_after(n);
        status = eager_create(b.g, 2, &eager, &err);
        bool created = status == FRAX_OK;
        if (created) status = eager_run(eager, (const void *const *)d.inputs, d.outputs, &err);
        mem_fail_after(0);
        creations += !created, runs += created && status;
        if (status) assert_int_equal(status, FRAX_MEMORY);
        if (created && status) /* and it recovers */
            assert_int_equal(eager_run(eager, (const void *const *)d.inputs, d.outputs, &err), FRAX_OK);
        eager_destroy(eager);
    }
    assert_int_equal(status, FRAX_OK);
    if (creations < 8 || runs < 5) fail_msg("only %d and %d failures", creations, runs);
    data_free(&b, &d);
    graph_destroy(b.g);
}

static void test_moved_bytes(void **state) {
    (void)state;
    Bench b = start(0, 0, 0);
    Value x = input(&b, FRAX_F32, SHAPE(1000));
    Value y = g_unary(b.g, OP_exp, g_scale(b.g, x, 2)); /* the constant is no traffic */
    graph_output(b.g, "y", g_reshape(b.g, g_reduce(b.g, OP_sum, y, 1), (Shape){0}));
    Eager *eager;
    assert_int_equal(eager_create(b.g, 1, &eager, NULL), FRAX_OK);
    assert_int_equal(eager_moved_bytes(eager), 4 * (1000 + 1000 + 1000 + 1000 + 1000 + 1));
    eager_destroy(eager);
    graph_destroy(b.g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_pointwise_op),
        cmocka_unit_test(test_polygamma_orders),
        cmocka_unit_test(test_casts),
        cmocka_unit_test(test_special_values),
        cmocka_unit_test(test_16_bit_round_trip),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_shape_ops),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_reductions_of_nan),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_spectra),
        cmocka_unit_test(test_causal_conv),
        cmocka_unit_test(test_causal_correlation),
        cmocka_unit_test(test_grunwald_weights),
        cmocka_unit_test(test_custom_is_its_first_operand),
        cmocka_unit_test(test_a_hole_is_an_error),
        cmocka_unit_test(test_transforms_along_four_axes_are_refused),
        cmocka_unit_test(test_donated_memory),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_moved_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
