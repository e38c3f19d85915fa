/* test_random.c — random numbers in models: which they are, how they are distributed, that targets and
 * adjoints see the same ones, and which keys the steps of a fit have.
 *
 * The keys are fixed, so that the bounds on moments (5 standard errors) either hold or do not.
 */
#include "model.h"
#include "philox.h"
#include "public_run.h"
#include <math.h>

static const RunOptions on_cpu = {.target = FRAX_CPU};
static const FraxTarget targets[] = {FRAX_REFERENCE, FRAX_EAGER, FRAX_CPU};

static double expected_number(const int32_t key[2], uint32_t stream, int64_t i, bool wide, int which) {
    PhiloxDraw draw = {{(uint32_t)key[0], (uint32_t)key[1]}, stream, which, wide};
    return philox_uniform(&draw, (uint32_t)i);
}

/* ---- Which numbers ---- */

/* Calls take streams in the order of the text, those of a function at each of its calls. */
static void test_streams(void **state) {
    (void)state;
    static const char text[] = "fn twice(k) {\n"
                               "    return random_uniform(k, [3]) + random_uniform(k, [3])\n"
                               "}\n"
                               "model m(k: key) {\n"
                               "    a = random_uniform(k, [2, 3, 5])\n"
                               "    b = random_uniform(k, [7], dtype=f32)\n"
                               "    c = twice(k)\n"
                               "    d = twice(k)\n"
                               "    e = random_uniform(k, [])\n"
                               "    return a, b, c, d, e\n"
                               "}\n";
    const int32_t key[] = {-5, 1 << 30};
    for (size_t t = 0; t < COUNT(targets); t++) {
        Results r =
            run_model(text, &(RunOptions){.target = targets[t]}, (const double *[]){(double[]){-5, 1 << 30}});
        for (int i = 0; i < 30; i++) assert_true(r.data[0][i] == expected_number(key, 0, i, true, 0));
        for (int i = 0; i < 7; i++) assert_true(r.data[1][i] == expected_number(key, 1, i, false, 0));
        for (int call = 0; call < 2; call++)
            for (int i = 0; i < 3; i++)
                assert_true(r.data[2 + call][i] ==
                            expected_number(key, 2 + 2 * (uint32_t)call, i, true, 0) +
                                expected_number(key, 3 + 2 * (uint32_t)call, i, true, 0));
        assert_true(r.data[4][0] == expected_number(key, 6, 0, true, 0));
        free_results(&r);
    }
}

/* Moves and slices change no number. */
static void test_numbers_stay_with_their_places(void **state) {
    (void)state;
    static const char text[] = "model m(k: key) {\n"
                               "    a = random_normal(k, [40, 100], dtype=f32)\n"
                               "    b = transpose(a)[3:90:2, ::3]\n"
                               "    c = sum(a, axis=1)\n"
                               "    return a, b, c\n"
                               "}\n";
    Results r = run_model(text, &on_cpu, (const double *[]){(double[]){1, 2}});
    for (int i = 0; i < 44; i++)
        for (int j = 0; j < 14; j++) assert_true(r.data[1][14 * i + j] == r.data[0][100 * 3 * j + 3 + 2 * i]);
    for (int i = 0; i < 40; i++) {
        double sum = 0;
        for (int j = 0; j < 100; j++) sum += r.data[0][100 * i + j];
        assert_true(fabs(sum - r.data[2][i]) < 1e-4);
    }
    free_results(&r);
}

/* ---- Distributions ---- */

enum { N = 200000 };

/* The first four moments about 0, and the products of neighbours, which are independent. */
static void expect_moments(const double *x, const double moments[8], const char *what) {
    for (int k = 1; k <= 4; k++) {
        double sum = 0;
        for (int i = 0; i < N; i++) sum += pow(x[i], k);
        double error = fabs(sum / N - moments[k - 1]);
        if (error > 5 * sqrt(moments[2 * k - 1] / N))
            fail_msg("%s: moment %d is %g, expected %g", what, k, sum / N, moments[k - 1]);
    }
    double products = 0;
    for (int i = 1; i < N; i++) products += x[i] * x[i - 1];
    if (fabs(products / (N - 1) - moments[0] * moments[0]) > 5 * moments[1] / sqrt(N))
        fail_msg("%s: neighbours are correlated", what);
}

static void expect_independent(const double *x, const double *y, double mean, double variance,
                               const char *what) {
    double sum = 0;
    for (int i = 0; i < N; i++) sum += (x[i] - mean) * (y[i] - mean);
    if (fabs(sum / N) > 5 * variance / sqrt(N)) fail_msg("%s: covariance %g", what, sum / N);
}

static void test_distributions(void **state) {
    (void)state;
    static const double uniform[8] = {1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9};
    static const double normal[8] = {0, 1, 0, 3, 0, 15, 0, 105};
    static const char *const names[] = {"uniform f64", "uniform f32", "normal f64", "normal f32", "again"};
    char text[512];
    snprintf(
        text, sizeof text,
        "model m(k: key) {\n a = random_uniform(k, [%d])\n b = random_uniform(k, [%d], dtype=f32)\n"
        " c = random_normal(k, [%d])\n d = random_normal(k, [%d], dtype=f32)\n e = random_normal(k, [%d])\n"
        " return a, b, c, d, e\n}\n",
        N, N, N, N, N);
    Results r = run_model(text, &on_cpu, (const double *[]){(double[]){11, 0}});
    Results other = run_model(text, &on_cpu, (const double *[]){(double[]){12, 0}});
    for (int i = 0; i < 5; i++) expect_moments(r.data[i], i < 2 ? uniform : normal, names[i]);
    expect_independent(r.data[0], r.data[1], 0.5, 1. / 12, "two calls of random_uniform");
    expect_independent(r.data[2], r.data[4], 0, 1, "two calls of random_normal");
    expect_independent(r.data[2], other.data[2], 0, 1, "two keys");
    free_results(&r);
    free_results(&other);
}

static void test_16_bits(void **state) {
    (void)state;
    static const char text[] = "model m(k: key) {\n"
                               "    a = random_normal(k, [5000], dtype=f16)\n"
                               "    b = random_uniform(k, [5000], dtype=bf16)\n"
                               "    return a, b\n"
                               "}\n";
    Results r = run_model(text, &on_cpu, (const double *[]){(double[]){3, 3}});
    double square = 0;
    for (int i = 0; i < 5000; i++) {
        square += r.data[0][i] * r.data[0][i] / 5000;
        assert_true(r.data[1][i] > 0 && r.data[1][i] < 1); /* of 5000 about ten would round to 1 */
    }
    assert_true(fabs(square - 1) < 5 * sqrt(2. / 5000));
    free_results(&r);
}

/* ---- Targets and adjoints ---- */

/* Uniform numbers agree in all bits, and dropout in what it drops; normal ones but for the functions. */
static void test_targets_agree(void **state) {
    (void)state;
    static const char text[] = "model m(x: f64[3, 333], k: key) {\n"
                               "    u = random_uniform(k, [3, 333], dtype=f32)\n"
                               "    d = dropout(x, k, rate=0.3)\n"
                               "    z = random_normal(k, [3, 333])\n"
                               "    return u, d, z\n"
                               "}\n";
    double x[999], key[] = {77, -1};
    for (int i = 0; i < 999; i++) x[i] = 1 + i;
    Results first = {0};
    int dropped = 0;
    for (size_t t = 0; t < COUNT(targets); t++) {
        Results r = run_model(text, &(RunOptions){.target = targets[t]}, (const double *[]){x, key});
        if (!t) {
            first = r;
            continue;
        }
        for (int i = 0; i < 999; i++) {
            assert_true(r.data[0][i] == first.data[0][i]);
            assert_true(fabs(r.data[1][i] - first.data[1][i]) <= 0x1p-52 * x[i]);
            assert_true(fabs(r.data[2][i] - first.data[2][i]) <= 1e-14 * (1 + fabs(first.data[2][i])));
        }
        free_results(&r);
    }
    for (int i = 0; i < 999; i++) {
        dropped += first.data[1][i] == 0;
        assert_true(first.data[1][i] == 0 || fabs(first.data[1][i] - x[i] / 0.7) < 1e-9);
    }
    assert_true(abs(dropped - 300) < 5 * 15); /* √(999 · 0.3 · 0.7) = 14.5 */
    free_results(&first);
}

/* The loss and its gradient draw the same numbers: of m + s z, Kingma and Welling 2014, eq. 4. */
static void test_gradients(void **state) {
    (void)state;
    static const char text[] = "model m(m: f64, s: f64, x: f64[64], k: key) {\n"
                               "    z = random_normal(k, [64])\n"
                               "    h = dropout(x, k, rate=0.25)\n"
                               "    loss = mean((m + s * z)^2) + sum(h)\n"
                               "    return loss, z, h\n"
                               "}\n";
    double m = 0.3, s = 1.7, x[64], key[] = {9, 9};
    for (int i = 0; i < 64; i++) x[i] = 2;
    for (size_t t = 0; t < COUNT(targets); t++) {
        Results r = run_model(text, &(RunOptions){.target = targets[t], .wrt = {"m", "s", "x"}},
                              (const double *[]){&m, &s, x, key});
        const double *z = r.data[1], *h = r.data[2];
        double dm = 0, ds = 0;
        for (int i = 0; i < 64; i++) {
            dm += 2 * (m + s * z[i]) / 64;
            ds += 2 * (m + s * z[i]) * z[i] / 64;
            assert_true(r.data[5][i] == (h[i] == 0 ? 0 : 1 / 0.75));
        }
        assert_true(fabs(r.data[3][0] - dm) < 1e-13 && fabs(r.data[4][0] - ds) < 1e-13);
        free_results(&r);
    }
}

/* ---- Fits ---- */

enum { STEPS = 4 };

static const char drift[] = "model drift(k: key) {\n"
                            "    param p: f64 = 0\n"
                            "    loss = p * random_uniform(k, [])\n"
                            "    return loss\n"
                            "}\n";

/* A trainer of the model, whose size B is 100 where it has one. */
static FraxTrainer *make_trainer(const char *text, const FraxFitOptions *fit) {
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxTrainer *t;
    FraxError err;
    options.no_cache = 1;
    options.sizes = &(FraxSize){"B", 100};
    options.nsizes = strstr(text, "[B]") != NULL;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_trainer_create(model, &options, fit, &t, &err)) fail_msg("%s", err.message);
    frax_model_destroy(model);
    return t;
}

/* The numbers of each step: what p moves by, at rate 1. */
static void fit_steps(const char *text, int32_t *key, double p[STEPS + 1]) {
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    FraxError err;
    fit.lr = 1;
    FraxTrainer *t = make_trainer(text, &fit);
    for (int i = 0; i <= STEPS; i++) {
        assert_int_equal(frax_trainer_get_param(t, 0, &p[i], &err), FRAX_OK);
        if (frax_trainer_step(t, (const void *const[]){key}, NULL, &err)) fail_msg("%s", err.message);
    }
    frax_trainer_destroy(t);
}

static void test_steps_have_keys_of_their_own(void **state) {
    (void)state;
    int32_t key[] = {21, 0}, other[] = {22, 0};
    double p[STEPS + 1], again[STEPS + 1], q[STEPS + 1];
    fit_steps(drift, key, p);
    fit_steps(drift, key, again);
    fit_steps(drift, other, q);
    assert_memory_equal(p, again, sizeof p);
    assert_true(key[0] == 21 && key[1] == 0);
    for (int i = 0; i < STEPS; i++) {
        uint32_t words[4];
        philox4x32((uint32_t[]){(uint32_t)i + 1, 0, 0, PHILOX_STEPS}, (uint32_t[]){21, 0}, words);
        double drawn = expected_number((int32_t[]){(int32_t)words[0], (int32_t)words[1]}, 0, 0, true, 0);
        assert_true(fabs(p[i] - p[i + 1] - drawn) < 1e-15);
        assert_true(fabs(q[i] - q[i + 1] - drawn) > 1e-6);
        for (int j = 0; j < i; j++) assert_true(fabs(p[i] - p[i + 1] - p[j] + p[j + 1]) > 1e-6);
    }
}

/* Its line search compares values of one function: the minimum is the mean of the same numbers. */
static void test_lbfgs_keeps_its_numbers(void **state) {
    (void)state;
    static const char text[] = "model centre(k: key) {\n"
                               "    param p: f64 = 0\n"
                               "    loss = mean((p - random_normal(k, [50]))^2)\n"
                               "    return loss\n"
                               "}\n";
    FraxFitOptions fit = frax_default_fit_options(FRAX_LBFGS);
    FraxError err;
    int32_t key[] = {4, 4};
    double p, mean = 0;
    FraxTrainer *t = make_trainer(text, &fit);
    if (frax_trainer_run(t, (const void *const[]){key}, NULL, &err)) fail_msg("%s", err.message);
    assert_true(frax_trainer_converged(t));
    assert_int_equal(frax_trainer_get_param(t, 0, &p, &err), FRAX_OK);
    Results r = run_model("model z(k: key) {\n z = random_normal(k, [50])\n return z\n}\n", &on_cpu,
                          (const double *[]){(double[]){4, 4}});
    for (int i = 0; i < 50; i++) mean += r.data[0][i] / 50;
    assert_true(fabs(p - mean) < 1e-9);
    free_results(&r);
    frax_trainer_destroy(t);
}

/* Batches are drawn as ever; what is drawn inside does not read the order of rows. */
static void test_batches(void **state) {
    (void)state;
    static const char text[] = "model noisy(x: f64[B], k: key) {\n"
                               "    param p: f64 = 0\n"
                               "    loss = mean((p - x - random_normal(k, [B]))^2)\n"
                               "    return loss\n"
                               "}\n";
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxError err;
    double x[100], p;
    for (int i = 0; i < 100; i++) x[i] = 3;
    fit.batch = 25, fit.steps = 400, fit.lr = 0.05;
    FraxTrainer *t = make_trainer(text, &fit);
    if (frax_trainer_run(t, (const void *const[]){x, (int32_t[]){8, 0}}, NULL, &err))
        fail_msg("%s", err.message);
    assert_int_equal(frax_trainer_get_param(t, 0, &p, &err), FRAX_OK);
    assert_true(fabs(p - 3) < 0.2); /* about the last 1/lr steps of 25 numbers count: 1/√500 = 0.045 */
    frax_trainer_destroy(t);
}

/* ---- Declarations and faults ---- */

static void test_signature(void **state) {
    (void)state;
    static const char text[] = "model m(x: f32[N], k: key) {\n y = dropout(x, k)\n return y\n}\n";
    FraxModel *model;
    FraxError err;
    Text signature = {0};
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    assert_false(model_is_key(model, 0));
    assert_true(model_is_key(model, 1));
    assert_string_equal(frax_model_value_type(model, FRAX_INPUT, 1), "i32[2]");
    assert_int_equal(model_check(model, &signature, &err), FRAX_OK);
    assert_string_equal(signature.data, "model m(x: f32[N], k: key)\n  return y: f32[N]\n");
    text_free(&signature);
    frax_model_destroy(model);
}

static void test_builder(void **state) {
    (void)state;
    FraxBuilder *b;
    FraxModel *model;
    FraxError err;
    assert_int_equal(frax_builder_create("m", &b, &err), FRAX_OK);
    FraxValue k = frax_builder_key(b, "k"), three = frax_builder_number(b, 3);
    FraxValue shape = frax_builder_call(b, "()", 1, &three, NULL);
    frax_builder_return(b, "u", frax_builder_call(b, "random_uniform", 2, (FraxValue[]){k, shape}, NULL));
    if (frax_builder_finish(b, &model, &err)) fail_msg("%s", err.message);
    assert_true(model_is_key(model, 0));
    frax_builder_destroy(b);
    frax_model_destroy(model);
}

static void test_faults(void **state) {
    (void)state;
    static const struct {
        const char *inputs, *statement, *message;
    } faults[] = {
        {"k: i32[3]", "y = random_uniform(k, [4])",
         "expected a key, which a model takes as an input: k: key"},
        {"k: f32[2]", "y = random_uniform(k, [4])", "expected a key"},
        {"k: key", "y = random_uniform(7, [4])", "expected a key"},
        {"k: key", "y = random_normal(k, [4], dtype=i32)", "expected a floating dtype"},
        {"k: key", "y = dropout(ones([3]), k, rate=1)", "rate is 1, expected at least 0 and below 1"},
        {"k: key", "y = dropout(ones([3]), k, rate=-0.1)", "expected at least 0 and below 1"},
        {"k: key", "y = random_uniform(k, [65536, 65536], dtype=f32)",
         "4294967296 numbers, the limit of one call is 2^31"},
        {"k: key[2]", "y = random_uniform(k, [4])", "found '['"},
        {"k: keys", "y = 1", "did you mean 'key'?"},
        {"x: f32", "param k: key = 0\n y = x", "param 'k' is a key, which is not learnable"},
    };
    for (size_t i = 0; i < COUNT(faults); i++) {
        char text[512];
        FraxExecutable *exe;
        FraxError err;
        snprintf(text, sizeof text, "model m(%s) {\n %s\n return y\n}\n", faults[i].inputs,
                 faults[i].statement);
        assert_int_not_equal(try_compile(text, &on_cpu, &exe, &err), FRAX_OK);
        if (!strstr(err.message, faults[i].message)) fail_msg("%s\n%s", err.message, text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_numbers_stay_with_their_places),
        cmocka_unit_test(test_distributions),
        cmocka_unit_test(test_16_bits),
        cmocka_unit_test(test_targets_agree),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_steps_have_keys_of_their_own),
        cmocka_unit_test(test_lbfgs_keeps_its_numbers),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_signature),
        cmocka_unit_test(test_builder),
        cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
