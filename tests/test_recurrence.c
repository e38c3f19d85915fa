/* test_recurrence.c — sums of exponentials by recurrence: closed forms, the convolution with the kernel
 * written out, laws, precision, and what kernels make of them. Derivatives are in test_gradient.c, operands
 * of every shape and dtype in test_op_table.c.
 *
 * Bound between targets: 2 · 10⁻¹³ of the largest result, the rounding of a few hundred terms.
 */
#include "passes.h"
#include "target_run.h"

static const Bound rounding = {0, 2e-13};
static const FraxTarget targets[] = {FRAX_REFERENCE, FRAX_EAGER, FRAX_CPU};

static Value input(Graph *g, FraxDType dtype, Shape shape) {
    char name[24];
    snprintf(name, sizeof name, "x%zu", g->ninputs);
    return g_input(g, name, (Type){dtype, shape});
}

static void output(Graph *g, Value v) {
    char name[24];
    snprintf(name, sizeof name, "y%zu", g->noutputs);
    graph_output(g, name, v);
}

static Graph *start(void) {
    Graph *g = graph_create("recurrence", "test");
    assert_non_null(g);
    return g;
}

/* y of one signal, run on a target. */
static void run_conv(FraxTarget target, int64_t n, const double *x, int64_t modes, const double *c,
                     const double *r, Exponential how, double *y) {
    Graph *g = start();
    Value vx = input(g, FRAX_F64, SHAPE(n)), vc = input(g, FRAX_F64, SHAPE(modes)),
          vr = input(g, FRAX_F64, SHAPE(modes));
    output(g, g_exponential_conv(g, vx, vc, vr, how));
    void *in[] = {(void *)x, (void *)c, (void *)r}, *out[] = {y};
    run_on(g, target, 1, in, out, "conv");
    graph_destroy(g);
}

/* ---- Closed forms ---- */

static void expect_near(double got, double expected, double tolerance) {
    if (!(fabs(got - expected) <= tolerance * fmax(1, fabs(expected))))
        fail_msg("got %.17g, expected %.17g", got, expected);
}

/* A step: the geometric series c (1 − r^{t+1})/(1 − r) of each mode. */
static void test_step_response(void **state) {
    (void)state;
    enum { N = 1100 };
    double x[N], y[N], c[] = {2, -0.5, 1}, r[] = {0.5, 0.999, -0.9};
    for (int t = 0; t < N; t++) x[t] = 1;
    for (size_t i = 0; i < COUNT(targets); i++) {
        run_conv(targets[i], N, x, 3, c, r, (Exponential){0}, y);
        for (int t = 0; t < N; t++) {
            double expected = 0;
            for (int m = 0; m < 3; m++) expected += c[m] * (1 - pow(r[m], t + 1)) / (1 - r[m]);
            expect_near(y[t], expected, 1e-12);
        }
    }
}

/* An impulse: the kernel itself, c C(t − lag, n) r^{t−lag−n}. */
static void test_impulse_response(void **state) {
    (void)state;
    enum { N = 600 };
    double x[N] = {1}, y[N], c = 3, r = 0.97;
    for (size_t i = 0; i < COUNT(targets); i++)
        for (int n = 0; n < 4; n++) {
            run_conv(targets[i], N, x, 1, &c, &r, (Exponential){.n = n, .lag = 2}, y);
            for (int t = 0; t < N; t++) {
                double binomial = 1, k = t - 2;
                for (int j = 0; j < n; j++) binomial *= (k - j) / (j + 1);
                expect_near(y[t], k < n ? 0 : c * binomial * pow(r, k - n), 1e-11);
            }
        }
}

/* Silence after an impulse decays to zero, and never stays among the subnormal numbers. */
static void test_silence(void **state) {
    (void)state;
    enum { N = 20000 };
    static double x[N], y[N];
    double c = 1, r = 0.9;
    x[0] = 1;
    run_conv(FRAX_CPU, N, x, 1, &c, &r, (Exponential){0}, y);
    for (int t = 0; t < 6000; t++) expect_near(y[t] / pow(r, t), 1, 1e-10);
    for (int t = 8000; t < N; t++) assert_true(y[t] == 0);
}

/* Correlation with a step of a step: Σ_t (1 − r^{t+1})/(1 − r). */
static void test_correlation(void **state) {
    (void)state;
    enum { N = 1000 };
    double x[N], q[2], r[] = {0.5, -0.25};
    for (int t = 0; t < N; t++) x[t] = 1;
    for (size_t i = 0; i < COUNT(targets); i++) {
        Graph *g = start();
        Value a = input(g, FRAX_F64, SHAPE(N)), b = input(g, FRAX_F64, SHAPE(N)),
              vr = input(g, FRAX_F64, SHAPE(2));
        output(g, g_exponential_correlation(g, a, b, vr, (Exponential){0}));
        run_on(g, targets[i], 1, (void *[]){x, x, r}, (void *[]){q}, "correlation");
        for (int m = 0; m < 2; m++)
            expect_near(q[m], (N - r[m] * (1 - pow(r[m], N)) / (1 - r[m])) / (1 - r[m]), 1e-13);
        graph_destroy(g);
    }
}

/* ---- Against causal_conv with w_k = Σ_m c_m r_m^{k−lag} for k ≥ lag ---- */

static void *written_out(int64_t n, int64_t modes, const double *c, const double *r, int64_t lag) {
    double *w = calloc((size_t)n, sizeof *w);
    assert_non_null(w);
    for (int64_t k = lag; k < n; k++) {
        long double sum = 0;
        for (int64_t m = 0; m < modes; m++) sum += c[m] * powl(r[m], (long double)(k - lag));
        w[k] = (double)sum;
    }
    return w;
}

static void check_against_weights(int64_t n, int64_t modes, int axis, int64_t lag) {
    enum { ROWS = 3 };
    Graph *g = start();
    Shape shape = axis ? SHAPE(ROWS, n) : SHAPE(n, ROWS), mode = axis ? SHAPE(1, modes) : SHAPE(modes, 1),
          line = axis ? SHAPE(1, n) : SHAPE(n, 1);
    char name[80];
    Value x = input(g, FRAX_F64, shape), c = input(g, FRAX_F64, mode), r = input(g, FRAX_F64, mode),
          w = input(g, FRAX_F64, line);
    output(g, g_exponential_conv(g, x, c, r, (Exponential){.axis = axis, .lag = lag}));
    output(g, g_causal_conv(g, w, x, axis, ENGINE_DIRECT));
    snprintf(name, sizeof name, "%lld samples, %lld modes, axis %d, lag %lld", (long long)n, (long long)modes,
             axis, (long long)lag);
    Fill fill = {(uint64_t)(n + modes), 0, 1};
    void **in = make_inputs(g, fill), **out = make_outputs(g);
    free(in[3]);
    in[3] = written_out(n, modes, in[1], in[2], lag);
    for (size_t i = 1; i < COUNT(targets); i++) {
        run_on(g, targets[i], 1, in, out, name);
        expect_output(output_type(g, 0), out[1], out[0], (Bound){0, 1e-12}, name, "y");
        for (int64_t k = 0; k < ROWS * n && lag >= n; k++) assert_true(((double *)out[0])[k] == 0);
    }
    free_tensors(in, g->ninputs);
    free_tensors(out, g->noutputs);
    graph_destroy(g);
}

static void test_against_weights(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 2, 7, 8, 511, 512, 513, 1500}, modes[] = {1, 7, 8, 70, 200};
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (size_t m = 0; m < COUNT(modes); m++) {
            int64_t lags[] = {0, 1, 513, lengths[i]};
            check_against_weights(lengths[i], modes[m], (int)(i + m) % 2, lags[(i + 2 * m) % 4]);
        }
}

/* ---- Laws ---- */

/* A delayed kernel is a delayed signal, bit by bit; and the operator is linear in the signal. */
static void test_shift_and_linearity(void **state) {
    (void)state;
    enum { N = 1300, M = 20, LAG = 517 };
    static double x[2][N], y[4][N], sum[N];
    double c[M], r[M];
    uint64_t seed = 1;
    for (int m = 0; m < M; m++) c[m] = (double)m - 9.5, r[m] = 1 - pow(0.7, m);
    for (int t = 0; t < 2 * N; t++) x[t / N][t % N] = (double)(fill_random(&seed) >> 11) * 0x1p-52 - 1;
    for (int t = 0; t < N; t++) sum[t] = 2 * x[0][t] - 0.75 * x[1][t];
    for (size_t i = 1; i < COUNT(targets); i++) {
        const double *signals[] = {x[0], x[1], sum, x[0]};
        for (int k = 0; k < 4; k++)
            run_conv(targets[i], N, signals[k], M, c, r, (Exponential){.lag = k == 3 ? LAG : 0}, y[k]);
        double largest = 1;
        for (int t = 0; t < N; t++) largest = fmax(largest, fabs(y[2][t]));
        for (int t = 0; t < N; t++) {
            assert_true(y[3][t] == (t < LAG ? 0 : y[0][t - LAG]));
            assert_true(fabs(y[2][t] - 2 * y[0][t] + 0.75 * y[1][t]) <= 1e-13 * largest);
        }
    }
}

/* ---- Precision: f32 signals, f64 states ---- */

static void test_f32(void **state) {
    (void)state;
    enum { N = 65536, M = 70 };
    float *y32 = malloc(N * sizeof *y32), *x32 = malloc(N * sizeof *x32);
    double *x = malloc(N * sizeof *x), *y = malloc(N * sizeof *y), c[M], r[M], largest = 0;
    uint64_t seed = 5;
    assert_true(y32 && x32 && x && y);
    for (int m = 0; m < M; m++) c[m] = pow(-0.9, m), r[m] = exp(-pow(10, -0.1 * m));
    for (int t = 0; t < N; t++) x[t] = x32[t] = (float)(fill_random(&seed) >> 40) * 0x1p-23f - 1;
    run_conv(FRAX_REFERENCE, N, x, M, c, r, (Exponential){0}, y);
    for (int t = 0; t < N; t++) largest = fmax(largest, fabs(y[t]));
    Graph *g = start();
    Value vx = input(g, FRAX_F32, SHAPE(N)), vc = input(g, FRAX_F64, SHAPE(M)),
          vr = input(g, FRAX_F64, SHAPE(M));
    output(g, g_exponential_conv(g, vx, vc, vr, (Exponential){0}));
    for (size_t i = 1; i < COUNT(targets); i++) {
        run_on(g, targets[i], 1, (void *[]){x32, c, r}, (void *[]){y32}, "f32");
        for (int t = 0; t < N; t++) assert_true(fabs(y32[t] - y[t]) <= 5e-6 * largest);
    }
    graph_destroy(g);
    free(y32), free(x32), free(x), free(y);
}

/* ---- Kernels ---- */

/* Recurrences before, after and beside pointwise work, reductions, transforms and each other. */
static void build_company(Graph *g, FraxDType dtype) {
    enum { ROWS = 4, N = 1030, M = 11 };
    Value x = input(g, dtype, SHAPE(ROWS, N)), c = input(g, FRAX_F64, SHAPE(1, M)),
          r = input(g, FRAX_F64, SHAPE(1, M)), own = input(g, FRAX_F64, SHAPE(ROWS, M));
    Exponential how = {.axis = 1}, late = {.axis = 1, .n = 1, .lag = 3};
    Value shape = x, e = g_unary(g, OP_exp, x), y = g_exponential_conv(g, e, c, r, how);
    output(g, g_mul(g, y, e));
    output(g, g_reduce(g, OP_sum, g_mul(g, y, x), 2));
    output(g, g_reduce(g, OP_sum, g_mul(g, y, x), 3));
    output(g, g_argmax(g, y, 1));
    output(g, g_exponential_conv(g, g_unary(g, OP_sin, y), own, r, late)); /* one after the other */
    Value top = g_broadcast(g, g_reduce(g, OP_reduce_max, y, 2), graph_type(g, shape)->shape);
    output(g, g_exponential_conv(g, g_sub(g, y, top), c, r, how)); /* a whole row between them */
    output(g, g_exponential_correlation(g, e, y, r, late));
    output(g, g_exponential_conv(g,
                                 g_causal_conv(g, g_slice(g, x, (int64_t[]){0, 0}, (int64_t[]){1, 9}, NULL),
                                               x, 1, ENGINE_DIRECT),
                                 c, r, how));
    output(g, g_flip(g, g_mul(g, g_exponential_conv(g, g_flip(g, x, 2), c, own, how), g_flip(g, e, 2)), 2));
    for (int n = 0; n < 10; n++) /* more than share one set of states */
        output(g, g_exponential_conv(g, x, n % 2 ? c : own, r, (Exponential){.axis = 1, .n = n % 3}));
    output(g, g_exponential_conv(g, x, c, g_scale(g, g_like(g, c, 1), 0.5), how));
}

/* What follows from a whole row cannot be stored along it by a kernel that sees it piece by piece. */
static void test_whole_row_beside(void **state) {
    (void)state;
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(9)), c = input(g, FRAX_F64, SHAPE(3)),
          r = input(g, FRAX_F64, SHAPE(3));
    Value sum = g_unary(g, OP_sin, g_reduce(g, OP_sum, x, 1));
    output(g, g_exponential_conv(g, x, c, r, (Exponential){0}));
    output(g, g_broadcast(g, sum, SHAPE(9)));
    compare_targets(g, (Fill){3, -0.9, 0.9}, rounding, "a sum beside");
    graph_destroy(g);
}

static void test_company(void **state) {
    (void)state;
    for (int single = 0; single < 2; single++) {
        Graph *g = start();
        build_company(g, single ? FRAX_F32 : FRAX_F64);
        compare_targets(g, (Fill){9, -0.9, 0.9}, single ? (Bound){0, 2e-6} : rounding, "company");
        graph_destroy(g);
    }
}

/* The gradients in x and c of Σ y² by one kernel, whose memory does not grow with the signal. */
static void check_gradient_kernels(int64_t n, size_t *bytes) {
    enum { M = 70 };
    Graph *g = start();
    FraxError err;
    Value x = input(g, FRAX_F64, SHAPE(n)), c = input(g, FRAX_F64, SHAPE(M)),
          r = input(g, FRAX_F64, SHAPE(M)), grads[2];
    Value y = g_exponential_conv(g, x, c, r, (Exponential){0}), wrt[] = {x, c};
    Value loss = g_reshape(g, g_reduce(g, OP_sum, g_mul(g, y, y), 1), SCALAR);
    output(g, y);
    if (gradient(g, loss, NO_VALUE, wrt, 2, grads, &err)) fail_msg("%s", err.message);
    output(g, grads[0]);
    output(g, grads[1]);
    Executable *exe = make_executable(g, FRAX_CPU, 1, "gradient");
    *bytes = executable_stats(exe).arena_bytes;
    executable_destroy(exe);
    if (run_passes(&g, NULL, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < 3; i++) assert_int_equal(graph_node(g, g->outputs[i].value)->kernel, i != 0);
    graph_destroy(g);
}

static void test_gradient_kernels(void **state) {
    (void)state;
    size_t few, many;
    check_gradient_kernels(5000, &few);
    check_gradient_kernels(5000000, &many);
    assert_int_equal(few, many);
    assert_true(many < 100000);
}

/* ---- Faults ---- */

static void expect_fault(FraxStatus status, const char *text, Type c, Type r, Exponential how) {
    Graph *g = start();
    FraxError err = {0};
    Value x = input(g, FRAX_F64, SHAPE(3, 9)), vc = g_input(g, "c", c), vr = g_input(g, "r", r);
    assert_int_equal(g_exponential_conv(g, x, vc, vr, how), NO_VALUE);
    assert_int_equal(graph_status(g, &err), status);
    if (!strstr(err.message, text)) fail_msg("'%s' is not in: %s", text, err.message);
    graph_destroy(g);
}

static void test_faults(void **state) {
    (void)state;
    Type one = {FRAX_F64, SHAPE(1, 5)}, each = {FRAX_F64, SHAPE(3, 5)}, two = {FRAX_F64, SHAPE(2, 5)},
         more = {FRAX_F64, SHAPE(1, 6)}, single = {FRAX_F32, SHAPE(1, 5)}, vector = {FRAX_F64, SHAPE(5)};
    Exponential along = {.axis = 1};
    expect_fault(FRAX_SHAPE, "operand 1 is f64[2,5]", two, one, along);
    expect_fault(FRAX_SHAPE, "operand 1 is f64[1,6]", more, each, along);
    expect_fault(FRAX_SHAPE, "operand 1 is f64[5]", vector, one, along);
    expect_fault(FRAX_TYPE, "operand 2 is f32[1,5]", each, single, along);
    expect_fault(FRAX_SHAPE, "axis 2", one, one, (Exponential){.axis = 2});
    expect_fault(FRAX_VALUE, "lag is -1", one, one, (Exponential){.axis = 1, .lag = -1});
    expect_fault(FRAX_VALUE, "order 33", one, one, (Exponential){.axis = 1, .n = MAX_CASCADE + 1});
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_step_response),
        cmocka_unit_test(test_impulse_response),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_correlation),
        cmocka_unit_test(test_against_weights),
        cmocka_unit_test(test_shift_and_linearity),
        cmocka_unit_test(test_f32),
        cmocka_unit_test(test_whole_row_beside),
        cmocka_unit_test(test_company),
        cmocka_unit_test(test_gradient_kernels),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
