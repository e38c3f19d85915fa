/* test_reference.c — the reference evaluator against hand values, closed forms and laws.
 *
 * A case builds a graph whose inputs are given arrays and compares the first output. Tolerances are a few
 * roundings of f64, scaled by the largest expected value: sums run in long double, so nothing accumulates.
 */
#include "every_op.h"
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 4096 };

static Graph *start(void) {
    Graph *g = graph_create("test", "test");
    assert_non_null(g);
    return g;
}

static FraxTensor tensor(const Type *type, void *data) {
    FraxTensor t = {.dtype = type->dtype, .rank = type->shape.rank, .data = data};
    memcpy(t.dims, type->shape.dims, sizeof t.dims);
    return t;
}

/* Evaluates v of g with f64 inputs and destroys g. */
static void evaluate(Graph *g, Value v, const double *const *inputs, double *out) {
    FraxError err = {0};
    FraxTensor in[4], result;
    graph_output(g, "y", v);
    if (graph_status(g, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < g->ninputs; i++) in[i] = tensor(graph_type(g, g->inputs[i]), (void *)inputs[i]);
    result = tensor(graph_type(g, v), out);
    if (reference_run(g, in, &result, &err)) fail_msg("%s", err.message);
    graph_destroy(g);
}

static void expect_near(const double *got, const double *expected, int64_t n, double tolerance) {
    double scale = 1;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= tolerance * scale))
            fail_msg("element %lld is %.17g, expected %.17g", (long long)i, got[i], expected[i]);
}

/* Deterministic noise in (−1, 1). */
static void noise(uint64_t seed, double *x, int64_t n) {
    for (int64_t i = 0; i < n; i++) x[i] = (double)(int64_t)hash_bytes(seed, &i, sizeof i) / 0x1p63;
}

static double dot(const double *a, const double *b, int64_t n) {
    long double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (long double)a[i] * b[i];
    return (double)sum;
}

static Type f64(Shape shape) {
    return (Type){FRAX_F64, shape};
}

/* K = (iω)^½ turns a sine by π/4. t runs over [0, 2π), so ω_k = k. */
static void test_spectral_half_derivative_of_a_sine(void **state) {
    (void)state;
    enum { N = 256, H = N / 2 + 1 };
    double x[N], k_re[H], k_im[H], y[N], expected[N];
    for (int n = 0; n < N; n++) {
        double t = 2 * M_PI * n / N;
        x[n] = sin(3 * t);
        expected[n] = sqrt(3) * sin(3 * t + M_PI / 4);
    }
    for (int k = 0; k < H; k++) {
        k_re[k] = sqrt(k) * cos(M_PI / 4);
        k_im[k] = sqrt(k) * sin(M_PI / 4);
    }
    Graph *g = start();
    Value in = g_input(g, "x", f64(SHAPE(N)));
    Value re = g_input(g, "re", f64(SHAPE(H))), im = g_input(g, "im", f64(SHAPE(H)));
    evaluate(g, g_spectral(g, in, re, im, 1), (const double *[]){x, k_re, k_im}, y);
    expect_near(y, expected, N, 1e-13);
}

/* ---- Pointwise ops ---- */

static const struct {
    Op op;
    double a, b, expected;
} pointwise[] = {
    {OP_neg, 2, 0, -2},
    {OP_exp, 1, 0, 2.718281828459045},
    {OP_expm1, 1e-10, 0, 1.00000000005e-10},
    {OP_log, 10, 0, 2.302585092994046},
    {OP_log1p, 1e-10, 0, 9.9999999995e-11},
    {OP_sin, 1, 0, 0.8414709848078965},
    {OP_cos, 1, 0, 0.5403023058681398},
    {OP_tanh, 0.5, 0, 0.46211715726000973},
    {OP_sigmoid, 1, 0, 0.7310585786300049},
    {OP_sigmoid, -800, 0, 0},
    {OP_sigmoid, 800, 0, 1},
    {OP_erf, 0.5, 0, 0.5204998778130465},
    {OP_sqrt, 2, 0, 1.4142135623730951},
    {OP_rsqrt, 4, 0, 0.5},
    {OP_abs, -3, 0, 3},
    {OP_lgamma, 0.5, 0, 0.5723649429247001},
    {OP_lgamma, -1.5, 0, 0.8600470153764810},
    {OP_sign, -7, 0, -1},
    {OP_sign, 0, 0, 0},
    {OP_floor, -1.5, 0, -2},
    {OP_stop, 5, 0, 5},
    {OP_add, 2, 3, 5},
    {OP_sub, 2, 3, -1},
    {OP_mul, 2, 3, 6},
    {OP_div, 3, 2, 1.5},
    {OP_pow, 2, -2, 0.25},
    {OP_atan2, 1, -1, 2.356194490192345},
    {OP_min, 2, 3, 2},
    {OP_max, 2, 3, 3},
    {OP_max, NAN, 3, NAN},
    {OP_max, 3, NAN, NAN},
    {OP_min, NAN, 3, NAN},
    {OP_min, 3, NAN, NAN},
    {OP_sign, NAN, 0, NAN},
    {OP_eq, 1, 1, 1},
    {OP_eq, NAN, NAN, 0},
    {OP_ne, NAN, NAN, 1},
    {OP_lt, 1, 2, 1},
    {OP_le, 2, 2, 1},
    {OP_gt, 1, 2, 0},
    {OP_ge, 2, 2, 1},
};

/* Each row through a graph of its own, so that the walk and the shared scalar function are both met. */
static void test_pointwise(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(pointwise); i++) {
        Graph *g = start();
        Value a = g_input(g, "a", f64(SCALAR)), b = g_input(g, "b", f64(SCALAR));
        Value args[] = {a, b};
        double y, expected = pointwise[i].expected;
        Value v = graph_emit(g, pointwise[i].op, args, op_table[pointwise[i].op].arity, NULL, NULL);
        evaluate(g, g_cast(g, v, FRAX_F64), (const double *[]){&pointwise[i].a, &pointwise[i].b}, &y);
        if (isnan(expected) ? !isnan(y) : fabs(y - expected) > 3e-16 * fmax(fabs(expected), 1e-9))
            fail_msg("%s(%g, %g) is %.17g, expected %.17g", op_table[pointwise[i].op].name, pointwise[i].a,
                     pointwise[i].b, y, expected);
    }
}

static void test_logic_and_select(void **state) {
    (void)state;
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < 2; b++) {
            const Node node[] = {{.op = OP_and}, {.op = OP_or}, {.op = OP_not}, {.op = OP_select}};
            const double args[] = {a, b, 7};
            assert_true(reference_pointwise(&node[0], args) == (a && b));
            assert_true(reference_pointwise(&node[1], args) == (a || b));
            assert_true(reference_pointwise(&node[2], args) == !a);
            assert_true(reference_pointwise(&node[3], args) == (a ? b : 7));
        }
}

/* Reference values to 20 digits from an arbitrary-precision evaluation. */
static void test_polygamma(void **state) {
    (void)state;
    static const struct {
        int n;
        double x, expected;
    } cases[] = {
        {0, 1, -0.57721566490153286061},
        {0, 10.5, 2.3030010342976863753},
        {0, -0.5, 0.036489973978576520559},
        {1, 1, 1.6449340668482264365},
        {1, -2.25, 19.379410511869137363},
        {1, -100000.25, 19.739198802253716759},
        {2, 0.3, -75.272536588726038917},
        {3, 1e6, 2.000003000002e-18},
        {4, -10.5, -0.00040701383905697658894},
        {5, 0.001, 1.1999999999999998513e+20},
        {6, -1.5, -1.3180061075500352023},
        {6, 17, -5.9087879701861508609e-6},
        {32, 2.5, -1.9415921266113627239e+22},
        {32, 1e10, -8.2228386673344646716e-287},
        {0, -3, NAN},
        {2, 0, NAN},
        {0, INFINITY, INFINITY},
        {3, INFINITY, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Attrs attrs = {.n = cases[i].n};
        Node node = {.op = OP_polygamma, .attrs = &attrs};
        double y = reference_pointwise(&node, &cases[i].x), expected = cases[i].expected;
        bool good = isnan(expected)   ? isnan(y)
                    : isinf(expected) ? y == expected
                                      : fabs(y - expected) <= 1e-13 * fabs(expected);
        if (!good)
            fail_msg("polygamma(%d, %g) is %.17g, expected %.17g", cases[i].n, cases[i].x, y, expected);
    }
}

/* ---- Dtypes ---- */

static void test_i32_wraps(void **state) {
    (void)state;
    static const struct {
        Op op;
        double a, b, expected;
    } cases[] = {
        {OP_add, INT32_MAX, 1, INT32_MIN}, {OP_sub, INT32_MIN, 1, INT32_MAX},
        {OP_neg, INT32_MIN, 0, INT32_MIN}, {OP_abs, INT32_MIN, 0, INT32_MIN},
        {OP_mul, 65536, 65537, 65536},     {OP_mul, -3, 5, -15},
        {OP_mul, INT32_MIN, INT32_MIN, 0}, {OP_add, -5, 3, -2},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        Node node = {.op = cases[i].op, .type = {.dtype = FRAX_I32}};
        assert_true(reference_pointwise(&node, (double[]){cases[i].a, cases[i].b}) == cases[i].expected);
    }
    int32_t x[] = {INT32_MAX, INT32_MAX, 5}, y;
    Graph *g = start();
    Value in = g_input(g, "x", (Type){FRAX_I32, SHAPE(3)});
    graph_output(g, "y", g_reduce(g, OP_sum, in, 1));
    FraxTensor tx = tensor(graph_type(g, in), x), ty = tensor(graph_type(g, g->outputs[0].value), &y);
    assert_int_equal(reference_run(g, &tx, &ty, NULL), FRAX_OK);
    assert_int_equal(y, 3);
    graph_destroy(g);
}

static void test_casts_and_outputs(void **state) {
    (void)state;
    float x[] = {2.9f, -2.9f, 1e20f, NAN, 0, 0.1f};
    int32_t integers[6];
    uint8_t flags[6];
    uint16_t halves[6];
    Graph *g = start();
    Value in = g_input(g, "x", (Type){FRAX_F32, SHAPE(6)});
    graph_output(g, "i", g_cast(g, in, FRAX_I32));
    graph_output(g, "b", g_cast(g, in, FRAX_BOOL));
    graph_output(g, "h", g_cast(g, in, FRAX_F16));
    FraxTensor tx = tensor(graph_type(g, in), x), out[3];
    void *data[] = {integers, flags, halves};
    for (int i = 0; i < 3; i++) out[i] = tensor(graph_type(g, g->outputs[i].value), data[i]);
    assert_int_equal(reference_run(g, &tx, out, NULL), FRAX_OK);
    assert_memory_equal(integers, ((int32_t[]){2, -2, INT32_MAX, 0, 0, 0}), sizeof integers);
    assert_memory_equal(flags, ((uint8_t[]){1, 1, 1, 1, 0, 1}), sizeof flags);
    assert_int_equal(halves[0], 0x41cd);
    assert_int_equal(halves[2], 0x7c00);

    FraxError err;
    tx.dtype = FRAX_F64;
    assert_int_equal(reference_run(g, &tx, out, &err), FRAX_TYPE);
    assert_string_equal(err.message, "input x is f64[6], expected f32[6]");
    tx.dtype = FRAX_F32;
    out[1].dims[0] = 5;
    assert_int_equal(reference_run(g, &tx, out, &err), FRAX_SHAPE);
    assert_string_equal(err.message, "output b is bool[5], expected bool[6]");
    graph_destroy(g);
}

/* ---- Shape ops: x is [[0,1,2],[3,4,5]] ---- */

static const double counting[] = {0, 1, 2, 3, 4, 5};

static Value start_2x3(Graph **g) {
    *g = start();
    return g_input(*g, "x", f64(SHAPE(2, 3)));
}

static void expect_2x3(Graph *g, Value v, const double *expected, int64_t n) {
    double y[MOST];
    assert_int_equal(shape_size(&graph_type(g, v)->shape), n);
    evaluate(g, v, (const double *[]){counting}, y);
    expect_near(y, expected, n, 0);
}

#define EXPECT_2x3(call, ...)                                                                                \
    do {                                                                                                     \
        Graph *g;                                                                                            \
        Value x = start_2x3(&g);                                                                             \
        const double expected[] = {__VA_ARGS__};                                                             \
        expect_2x3(g, call, expected, COUNT(expected));                                                      \
    } while (0)

static void test_shape_ops(void **state) {
    (void)state;
    const int64_t zero[] = {0, 0}, one[] = {1, 1}, ends[] = {2, 3}, steps[] = {1, 2}, pads[] = {1, 0};
    EXPECT_2x3(g_reshape(g, x, SHAPE(3, 2)), 0, 1, 2, 3, 4, 5);
    EXPECT_2x3(g_transpose(g, x, (uint8_t[]){1, 0}), 0, 3, 1, 4, 2, 5);
    EXPECT_2x3(g_slice(g, x, zero, ends, steps), 0, 2, 3, 5);
    EXPECT_2x3(g_slice(g, x, one, ends, NULL), 4, 5);
    EXPECT_2x3(g_pad(g, x, pads, zero, steps), 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 3, 0, 4, 0, 5);
    EXPECT_2x3(g_pad(g, x, zero, one, NULL), 0, 1, 2, 0, 3, 4, 5, 0, 0, 0, 0, 0);
    EXPECT_2x3(g_flip(g, x, 2), 2, 1, 0, 5, 4, 3);
    EXPECT_2x3(g_flip(g, x, 3), 5, 4, 3, 2, 1, 0);
    EXPECT_2x3(g_concat(g, (Value[]){x, g_flip(g, x, 1)}, 2, 1), 0, 1, 2, 3, 4, 5, 3, 4, 5, 0, 1, 2);
    EXPECT_2x3(g_concat(g, (Value[]){x, g_flip(g, x, 1)}, 2, 0), 0, 1, 2, 3, 4, 5, 3, 4, 5, 0, 1, 2);
    EXPECT_2x3(g_broadcast(g, g_slice(g, x, zero, (int64_t[]){2, 1}, NULL), SHAPE(2, 2)), 0, 0, 3, 3);
    EXPECT_2x3(g_broadcast(g, g_slice(g, x, zero, (int64_t[]){1, 3}, NULL), SHAPE(2, 3)), 0, 1, 2, 0, 1, 2);
    EXPECT_2x3(g_sub(g, g_iota(g, f64(SHAPE(2, 3)), 1), x), 0, 0, 0, -3, -3, -3);
    EXPECT_2x3(g_sub(g, g_iota(g, f64(SHAPE(2, 3)), 0), x), 0, -1, -2, -2, -3, -4);
    EXPECT_2x3(g_add(g, x, g_like(g, x, 0.5)), 0.5, 1.5, 2.5, 3.5, 4.5, 5.5);
}

static void test_reductions(void **state) {
    (void)state;
    EXPECT_2x3(g_reduce(g, OP_sum, x, 1), 3, 5, 7);
    EXPECT_2x3(g_reduce(g, OP_sum, x, 2), 3, 12);
    EXPECT_2x3(g_reduce(g, OP_sum, x, 3), 15);
    EXPECT_2x3(g_reduce(g, OP_reduce_max, g_neg(g, x), 2), 0, -3);
    EXPECT_2x3(g_reduce(g, OP_reduce_min, x, 1), 0, 1, 2);
    EXPECT_2x3(g_reduce(g, OP_sum, g_slice(g, x, (int64_t[]){0, 0}, (int64_t[]){2, 0}, NULL), 2), 0, 0);
}

static void test_nan_and_ties_in_reductions(void **state) {
    (void)state;
    const double x[] = {1, 7, 7, 2, NAN, 3, NAN, 9, -1, -5, -1, -5};
    double highest[3], lowest[3], where[3];
    Graph *g = start();
    Value in = g_input(g, "x", f64(SHAPE(3, 4)));
    evaluate(g, g_reduce(g, OP_reduce_max, in, 2), (const double *[]){x}, highest);
    g = start();
    in = g_input(g, "x", f64(SHAPE(3, 4)));
    evaluate(g, g_reduce(g, OP_reduce_min, in, 2), (const double *[]){x}, lowest);
    g = start();
    in = g_input(g, "x", f64(SHAPE(3, 4)));
    evaluate(g, g_cast(g, g_argmax(g, in, 1), FRAX_F64), (const double *[]){x}, where);
    assert_true(highest[0] == 7 && isnan(highest[1]) && highest[2] == -1);
    assert_true(lowest[0] == 1 && isnan(lowest[1]) && lowest[2] == -5);
    assert_true(where[0] == 1 && where[1] == 0 && where[2] == 0);
}

/* [2,m,k] · [2,k,n] for each way of storing the operands, against the double loop written out. */
static void test_matmul(void **state) {
    (void)state;
    enum { B = 2, M = 3, K = 5, N = 4 };
    double a[B * M * K], b[B * K * N], c[B * M * N], expected[B * M * N];
    noise(1, a, B * M * K);
    noise(2, b, B * K * N);
    for (int ta = 0; ta < 2; ta++)
        for (int tb = 0; tb < 2; tb++) {
            for (int i = 0; i < B * M * N; i++) {
                int batch = i / (M * N), m = i / N % M, n = i % N;
                expected[i] = 0;
                for (int k = 0; k < K; k++)
                    expected[i] += a[batch * M * K + (ta ? k * M + m : m * K + k)] *
                                   b[batch * K * N + (tb ? n * K + k : k * N + n)];
            }
            Graph *g = start();
            Value va = g_input(g, "a", f64(ta ? SHAPE(B, K, M) : SHAPE(B, M, K)));
            Value vb = g_input(g, "b", f64(tb ? SHAPE(B, N, K) : SHAPE(B, K, N)));
            evaluate(g, g_matmul(g, va, vb, ta, tb), (const double *[]){a, b}, c);
            expect_near(c, expected, B * M * N, 1e-15);
        }
}

/* ---- Transforms ---- */

static void rfft(const double *x, Shape shape, uint32_t axes, Part part, double *out) {
    Graph *g = start();
    Value v = g_input(g, "x", f64(shape));
    evaluate(g, g_rfft(g, v, axes, part), (const double *[]){x}, out);
}

static void spectral(const double *x, Shape shape, const double *re, const double *im, Shape k, uint32_t axes,
                     double *out) {
    Graph *g = start();
    Value v = g_input(g, "x", f64(shape)), kr = g_input(g, "re", f64(k)), ki = g_input(g, "im", f64(k));
    evaluate(g, g_spectral(g, v, kr, ki, axes), (const double *[]){x, re, im}, out);
}

/* The transform of an impulse at m is exp(−iωm). */
static void test_rfft_of_impulses(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 4, 7, 8, 30};
    for (size_t s = 0; s < COUNT(sizes); s++) {
        int n = sizes[s], h = n / 2 + 1;
        for (int m = 0; m < n; m++) {
            double x[30] = {0}, re[16], im[16], cosines[16], sines[16];
            x[m] = 1;
            for (int k = 0; k < h; k++) {
                cosines[k] = cos(2 * M_PI * (m * k % n) / n);
                sines[k] = -sin(2 * M_PI * (m * k % n) / n);
            }
            rfft(x, SHAPE(n), 1, PART_RE, re);
            rfft(x, SHAPE(n), 1, PART_IM, im);
            expect_near(re, cosines, h, 1e-15);
            expect_near(im, sines, h, 1e-15);
        }
    }
}

/* Along a middle axis, and along two axes at once: the last of them is halved. */
static void test_rfft_axes(void **state) {
    (void)state;
    enum { A = 3, B = 4, C = 5 };
    double x[A * B * C], re[A * B * C], expected[A * B * C];
    noise(3, x, A * B * C);
    rfft(x, SHAPE(A, B, C), 2, PART_RE, re);
    for (int i = 0; i < A * 3 * C; i++) {
        int a = i / (3 * C), k = i / C % 3, c = i % C;
        expected[i] = 0;
        for (int b = 0; b < B; b++) expected[i] += x[(a * B + b) * C + c] * cos(2 * M_PI * b * k / B);
    }
    expect_near(re, expected, A * 3 * C, 1e-15);
    rfft(x, SHAPE(A, B, C), 1 | 4, PART_IM, re);
    for (int i = 0; i < A * B * 3; i++) {
        int ka = i / (B * 3), b = i / 3 % B, kc = i % 3;
        expected[i] = 0;
        for (int a = 0; a < A; a++)
            for (int c = 0; c < C; c++)
                expected[i] -=
                    x[(a * B + b) * C + c] * sin(2 * M_PI * ((double)ka * a / A + (double)kc * c / C));
    }
    expect_near(re, expected, A * B * 3, 3e-15);
}

/* K = 1 gives x back, for odd, even and tiny sizes and several axes. */
static void test_spectral_identity(void **state) {
    (void)state;
    static const struct {
        int64_t a, b;
        uint32_t axes;
    } cases[] = {{1, 1, 2}, {3, 2, 2}, {2, 3, 2}, {5, 4, 1}, {4, 5, 3}, {6, 7, 3}, {5, 8, 3}, {1, 6, 3}};
    double x[64], y[64], ones[64], zeros[64] = {0};
    for (int i = 0; i < 64; i++) ones[i] = 1;
    noise(4, x, 64);
    for (size_t i = 0; i < COUNT(cases); i++) {
        Shape shape = SHAPE(cases[i].a, cases[i].b), k = shape;
        int last = cases[i].axes >> 1;
        k.dims[last] = k.dims[last] / 2 + 1;
        spectral(x, shape, ones, zeros, k, cases[i].axes, y);
        expect_near(y, x, shape_size(&shape), 1e-15);
    }
}

/* At the Nyquist bin only the real part of K counts, as at DC. */
static void test_spectral_real_bins(void **state) {
    (void)state;
    const double x[] = {1, -1, 1, -1}, one[] = {3, 3, 3, 3};
    double y[4];
    spectral(x, SHAPE(4), (double[]){0, 0, 2}, (double[]){0, 0, 9}, SHAPE(3), 1, y);
    expect_near(y, (double[]){2, -2, 2, -2}, 4, 1e-15);
    spectral(one, SHAPE(4), (double[]){2, 0, 0}, (double[]){9, 0, 0}, SHAPE(3), 1, y);
    expect_near(y, (double[]){6, 6, 6, 6}, 4, 1e-15);
}

/* Multiplying by the transform of h is circular convolution with h. */
static void test_spectral_convolves(void **state) {
    (void)state;
    enum { N = 9, H = 5 };
    double x[2 * N], h[N], re[H], im[H], y[2 * N], expected[2 * N];
    noise(5, x, 2 * N);
    noise(6, h, N);
    rfft(h, SHAPE(N), 1, PART_RE, re);
    rfft(h, SHAPE(N), 1, PART_IM, im);
    for (int i = 0; i < 2 * N; i++) {
        expected[i] = 0;
        for (int j = 0; j < N; j++) expected[i] += h[j] * x[i / N * N + (i % N - j + N) % N];
    }
    spectral(x, SHAPE(2, N), re, im, SHAPE(1, H), 2, y);
    expect_near(y, expected, 2 * N, 2e-15);
}

/* ⟨spectral(x,K), g⟩ = ⟨x, spectral(g, conj K)⟩ = Σ Re K · Re C + Im K · Im C with C = cross_spectrum(x, g)
   summed over the axes along which K broadcasts. */
static void test_spectral_adjoints(void **state) {
    (void)state;
    static const int64_t sizes[] = {1, 4, 5};
    for (size_t s = 0; s < COUNT(sizes); s++)
        for (uint32_t axes = 2; axes <= 6; axes += 2) { /* axis 1, axis 2, both */
            int64_t n = sizes[s];
            Shape shape = SHAPE(3, n, 4), k = shape;
            int last = axes & 4 ? 2 : 1;
            k.dims[0] = 1;
            k.dims[last] = k.dims[last] / 2 + 1;
            int64_t size = shape_size(&shape), bins = shape_size(&k);
            double x[60], u[60], y[60], back[60], re[60], im[60], minus[60], c_re[60], c_im[60];
            noise(7, x, size), noise(8, u, size), noise(9, re, bins), noise(10, im, bins);
            for (int64_t i = 0; i < bins; i++) minus[i] = -im[i];
            spectral(x, shape, re, im, k, axes, y);
            spectral(u, shape, re, minus, k, axes, back);
            double *parts[] = {c_re, c_im};
            for (int part = PART_RE; part <= PART_IM; part++) {
                Graph *g = start();
                Value vx = g_input(g, "x", f64(shape)), vu = g_input(g, "u", f64(shape));
                evaluate(g, g_cross_spectrum(g, vx, vu, axes, 1, (Part)part), (const double *[]){x, u},
                         parts[part]);
            }
            double forward = dot(y, u, size), through_k = dot(re, c_re, bins) + dot(im, c_im, bins);
            expect_near(&forward, (double[]){dot(x, back, size)}, 1, 1e-14);
            expect_near(&forward, &through_k, 1, 1e-14);
        }
}

/* ---- Causal convolution ---- */

static void causal_conv(const double *w, Shape ws, const double *x, Shape xs, int axis, double *y) {
    Graph *g = start();
    Value vw = g_input(g, "w", f64(ws)), vx = g_input(g, "x", f64(xs));
    evaluate(g, g_causal_conv(g, vw, vx, axis, ENGINE_AUTO), (const double *[]){w, x}, y);
}

static void weights_derivative(double alpha, int64_t n, int64_t m, double *w) {
    Graph *g = start();
    Value a = g_input(g, "alpha", f64(SHAPE(1)));
    evaluate(g, g_grunwald_derivative(g, a, n, m), (const double *[]){&alpha}, w);
}

static void weights(double alpha, int64_t n, double *w) {
    weights_derivative(alpha, n, 0, w);
}

static void test_causal_conv(void **state) {
    (void)state;
    double y[6];
    causal_conv((double[]){1, 2, 3}, SHAPE(3), (double[]){4, 5, 6}, SHAPE(3), 0, y);
    expect_near(y, (double[]){4, 13, 28}, 3, 0);
    causal_conv((double[]){1, 2, 3}, SHAPE(1, 3), (double[]){1, 0, 0, 0, 1, 0}, SHAPE(2, 3), 1, y);
    expect_near(y, (double[]){1, 2, 3, 0, 1, 2}, 6,
                0); /* an impulse gives the weights, a later one is shifted */
    causal_conv((double[]){1, 10, 2, 20}, SHAPE(2, 2), (double[]){1, 1, 3, 4}, SHAPE(2, 2), 0, y);
    expect_near(y, (double[]){1, 10, 5, 60}, 4, 0); /* weights of their own along axis 0 for each column */
    causal_conv((double[]){1, 2}, SHAPE(2, 1), (double[]){1, 2, 3, 4}, SHAPE(2, 2), 0, y);
    expect_near(y, (double[]){1, 2, 5, 8}, 4, 0);
    causal_conv((double[]){1, -1}, SHAPE(2), (double[]){1, 4, 9, 16, 25}, SHAPE(5), 0, y);
    expect_near(y, (double[]){1, 3, 5, 7, 9}, 5, 0); /* fewer weights than samples: differences */
    causal_conv((double[]){1, 2, 3}, SHAPE(3, 1), (double[]){1, 2, 3, 4, 5, 6}, SHAPE(3, 2), 1, y);
    expect_near(y, (double[]){1, 2, 6, 8, 15, 18}, 6, 0); /* one weight a row */
}

static void test_causal_correlation(void **state) {
    (void)state;
    const double x[] = {1, 2, 3, 4, 5, 6}, y[] = {1, 10, 100, 1, 10, 100};
    double q[6];
    Graph *g = start();
    Value vx = g_input(g, "x", f64(SHAPE(2, 3))), vy = g_input(g, "y", f64(SHAPE(2, 3)));
    evaluate(g, g_causal_correlation(g, vx, vy, 1, 0, 2, ENGINE_AUTO), (const double *[]){x, y}, q);
    expect_near(q, (double[]){321, 210, 654, 540}, 4, 0);
    g = start();
    vx = g_input(g, "x", f64(SHAPE(2, 3))), vy = g_input(g, "y", f64(SHAPE(2, 3)));
    evaluate(g, g_causal_correlation(g, vx, vy, 1, 1, 3, ENGINE_AUTO), (const double *[]){x, y}, q);
    expect_near(q, (double[]){975, 750, 500}, 3, 0);
}

static void test_grunwald_weights(void **state) {
    (void)state;
    double w[101], v[101], product[101], derivative[101], l[101] = {0};
    weights(1, 5, w);
    expect_near(w, (double[]){1, -1, 0, 0, 0}, 5, 0);
    weights(2, 5, w);
    expect_near(w, (double[]){1, -2, 1, 0, 0}, 5, 0);
    weights(0, 3, w);
    expect_near(w, (double[]){1, 0, 0}, 3, 0);
    weights(-1, 4, w);
    expect_near(w, (double[]){1, 1, 1, 1}, 4, 0);
    weights(0.5, 5, w);
    expect_near(w, (double[]){1, -0.5, -0.125, -0.0625, -0.0390625}, 5, 0);

    weights(0.3, 101, w); /* semigroup: (1−z)^0.3 (1−z)^0.9 = (1−z)^1.2 */
    weights(0.9, 101, v);
    causal_conv(w, SHAPE(101), v, SHAPE(101), 0, product);
    weights(1.2, 101, v);
    expect_near(product, v, 101, 1e-15);

    for (int j = 1; j <= 100; j++) l[j] = -1.0 / j; /* log(1−z), so l ∗ w = ∂w/∂α */
    weights(0.5, 101, w);
    causal_conv(l, SHAPE(101), w, SHAPE(101), 0, derivative);
    expect_near((double[]){derivative[1], derivative[2], derivative[3], derivative[100]},
                (double[]){-1, 0, 1.0 / 24, 0.00129081457003}, 4, 1e-14);
    for (int m = 1; m <= MAX_WEIGHTS_ORDER; m++) { /* and each further derivative is L ∗ the one before */
        for (int j = 0; j <= 100; j++) v[j] = m == 1 ? w[j] : product[j];
        causal_conv(l, SHAPE(101), v, SHAPE(101), 0, derivative);
        weights_derivative(0.5, 101, m, product);
        expect_near(product, derivative, 101, 1e-12);
    }
}

static void test_weights_faults(void **state) {
    (void)state;
    for (int64_t m = -1; m <= MAX_WEIGHTS_ORDER + 1; m += MAX_WEIGHTS_ORDER + 2) {
        Graph *g = start();
        FraxError err;
        g_grunwald_derivative(g, g_input(g, "alpha", f64(SHAPE(1))), 4, m);
        assert_int_equal(graph_status(g, &err), FRAX_VALUE);
        assert_non_null(strstr(err.message, "expected 0…8"));
        graph_destroy(g);
    }
}

/* Fractional derivatives of t², order ½: Grünwald–Letnikov and Caputo's L1 with step 0.05, and a long series.
 */
static void test_derivatives_of_powers(void **state) {
    (void)state;
    enum { N = 256 };
    double x[N], w[N], y[N];
    for (int j = 0; j < N; j++) x[j] = (j / 255.0) * (j / 255.0);
    weights(0.5, N, w);
    causal_conv(w, SHAPE(N), x, SHAPE(N), 0, y);
    expect_near(&y[N - 1], (double[]){0.0940772965107795}, 1, 1e-14);

    const double h = 0.05, t2[] = {0, h * h, 4 * h * h}, differences[] = {0, h * h, 3 * h * h};
    causal_conv(w, SHAPE(3), t2, SHAPE(3), 0, y);
    double gl = y[1] / sqrt(h), b[3], l1[2];
    expect_near(&gl, (double[]){0.0111803398874990}, 1, 1e-15);
    for (int j = 0; j < 3; j++) b[j] = (sqrt(j + 1) - sqrt(j)) / sqrt(h) / tgamma(1.5);
    causal_conv(b, SHAPE(3), differences, SHAPE(3), 0, y);
    memcpy(l1, y + 1, sizeof l1);
    expect_near(l1, (double[]){0.0126156626101008, 0.0430725663817293}, 2, 1e-15);
}

/* ---- Differentiation nodes, memory ---- */

static void test_custom_and_hole(void **state) {
    (void)state;
    double x = 0.5, y;
    Graph *g = start();
    Value in = g_input(g, "x", f64(SCALAR)), hole = g_hole(g, f64(SCALAR), 0);
    evaluate(g, g_custom(g, g_unary(g, OP_exp, in), &in, &hole, 1, g_mul(g, hole, in)),
             (const double *[]){&x}, &y);
    assert_true(y == exp(0.5));
    g = start();
    graph_output(g, "y", g_neg(g, g_hole(g, f64(SCALAR), 3)));
    FraxError err;
    FraxTensor out = tensor(graph_type(g, g->outputs[0].value), &y);
    assert_int_equal(reference_run(g, NULL, &out, &err), FRAX_INTERNAL);
    assert_string_equal(err.message, "a hole for a tangent (n = 3) cannot be executed");
    graph_destroy(g);
}

static void test_memory_runs_out(void **state) {
    (void)state;
    double x[24], y2[24], d = 0.5, alpha[] = {0.2, 0.5, 0.8}, total, next;
    noise(11, x, 24);
    noise(12, y2, 24);
    Graph *g = every_op();
    FraxTensor in[] = {tensor(graph_type(g, g->inputs[0]), x), tensor(graph_type(g, g->inputs[1]), y2),
                       tensor(graph_type(g, g->inputs[2]), &d), tensor(graph_type(g, g->inputs[3]), alpha)};
    FraxTensor out[] = {tensor(graph_type(g, g->outputs[0].value), &total),
                        tensor(graph_type(g, g->outputs[1].value), &next)};
    long before = mem_count();
    assert_int_equal(reference_run(g, in, out, NULL), FRAX_OK);
    long needed = mem_count() - before;
    for (long n = 1; n <= needed; n++) {
        mem_fail_after(n);
        FraxStatus status = reference_run(g, in, out, NULL);
        mem_fail_after(0);
        assert_int_equal(status, FRAX_MEMORY);
    }
    graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise),
        cmocka_unit_test(test_logic_and_select),
        cmocka_unit_test(test_polygamma),
        cmocka_unit_test(test_i32_wraps),
        cmocka_unit_test(test_casts_and_outputs),
        cmocka_unit_test(test_shape_ops),
        cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_nan_and_ties_in_reductions),
        cmocka_unit_test(test_matmul),
        cmocka_unit_test(test_rfft_of_impulses),
        cmocka_unit_test(test_rfft_axes),
        cmocka_unit_test(test_spectral_half_derivative_of_a_sine),
        cmocka_unit_test(test_spectral_identity),
        cmocka_unit_test(test_spectral_real_bins),
        cmocka_unit_test(test_spectral_convolves),
        cmocka_unit_test(test_spectral_adjoints),
        cmocka_unit_test(test_causal_conv),
        cmocka_unit_test(test_causal_correlation),
        cmocka_unit_test(test_grunwald_weights),
        cmocka_unit_test(test_weights_faults),
        cmocka_unit_test(test_derivatives_of_powers),
        cmocka_unit_test(test_custom_and_hole),
        cmocka_unit_test(test_memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
