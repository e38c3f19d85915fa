/* test_rng.c — the generator against the published known answers of Random123, and the distributions made of
 * it by their moments. The seeds are fixed, so the bounds (5 standard errors) either hold or do not.
 */
#include "bandwidth.h"
#include "half.h"
#include "philox.h"
#include "rng.h"
#include <math.h>
#include <stdlib.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { N = 200000 };

static void test_known_answers(void **state) {
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], out[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        uint32_t out[4];
        philox4x32(cases[i].counter, cases[i].key, out);
        assert_memory_equal(out, cases[i].out, sizeof out);
    }
}

/* The first four moments about 0 of n samples against the expected ones; the standard error of the k-th is
   at most sqrt(E x^2k / n). */
static void expect_moments(const double *x, int64_t n, const double expected[8]) {
    for (int k = 1; k <= 4; k++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++) sum += pow(x[i], k);
        double error = fabs(sum / (double)n - expected[k - 1]);
        if (error > 5 * sqrt(expected[2 * k - 1] / (double)n))
            fail_msg("moment %d is %g, expected %g", k, sum / (double)n, expected[k - 1]);
    }
}

static const double normal_moments[8] = {0, 1, 0, 3, 0, 15, 0, 105};
static const double uniform_moments[8] = {1. / 2, 1. / 3, 1. / 4, 1. / 5, 1. / 6, 1. / 7, 1. / 8, 1. / 9};

static double samples[N];

static void test_uniform(void **state) {
    (void)state;
    Rng rng = {42, 7};
    for (int i = 0; i < N; i++) {
        samples[i] = rng_uniform(rng, (uint64_t)i);
        float f = rng_uniform_f32(rng, (uint64_t)i);
        assert_true(samples[i] >= 0 && samples[i] < 1 && f >= 0 && f < 1);
        assert_true(fabs(samples[i] - (double)f) < 0x1p-24);
    }
    expect_moments(samples, N, uniform_moments);
    double together = 0; /* neighbours are independent: E u v = 1/4 with variance 7/144 */
    for (int i = 0; i + 1 < N; i++) together += samples[i] * samples[i + 1];
    assert_true(fabs(together / (N - 1) - 0.25) < 5 * sqrt(7.0 / 144 / N));
}

static void test_normal(void **state) {
    (void)state;
    for (int i = 0; i < N; i++) samples[i] = rng_normal((Rng){1, 0}, (uint64_t)i);
    expect_moments(samples, N, normal_moments);
    double beyond = 0; /* P(|z| > 1.96) = 0.05 */
    for (int i = 0; i < N; i++) beyond += fabs(samples[i]) > 1.959963984540054;
    assert_true(fabs(beyond / N - 0.05) < 5 * sqrt(0.05 * 0.95 / N));
}

static void test_streams_and_seeds_differ(void **state) {
    (void)state;
    double a = rng_uniform((Rng){1, 1}, 0);
    assert_true(a == rng_uniform((Rng){1, 1}, 0));
    assert_true(a != rng_uniform((Rng){2, 1}, 0) && a != rng_uniform((Rng){1, 2}, 0));
    assert_true(a != rng_uniform((Rng){1 + (UINT64_C(1) << 32), 1}, 0) && a != rng_uniform((Rng){1, 1}, 2));
}

/* The initial value of a param, as f64. */
static int64_t initial(Init init, double value, double value2, Type type, double *out) {
    static char data[N * 8];
    Graph *g = graph_create("test", "test");
    Value v = g_param(g, "w", type, init, value, value2);
    param_init(graph_node(g, v), 3, 5, data);
    int64_t n = shape_size(&type.shape);
    for (int64_t i = 0; i < n; i++) out[i] = element_get(data, type.dtype, i);
    graph_destroy(g);
    return n;
}

/* x → (x − shift) / scale */
static void standardise(double *x, int64_t n, double shift, double scale) {
    for (int64_t i = 0; i < n; i++) x[i] = (x[i] - shift) / scale;
}

static void test_initial_values(void **state) {
    (void)state;
    Type matrix = {FRAX_F32, SHAPE(200, 600)}, vector = {FRAX_F64, SHAPE(9999)};
    int64_t n = initial(INIT_CONSTANT, 0.5, 0, (Type){FRAX_BF16, SHAPE(3)}, samples);
    for (int64_t i = 0; i < n; i++) assert_true(samples[i] == 0.5);
    n = initial(INIT_NORMAL, 0.02, 0, matrix, samples);
    standardise(samples, n, 0, 0.02);
    expect_moments(samples, n, normal_moments);
    n = initial(INIT_HE, 0, 0, matrix, samples);
    standardise(samples, n, 0, sqrt(2.0 / 200));
    expect_moments(samples, n, normal_moments);
    n = initial(INIT_HE, 0, 0, vector, samples);
    standardise(samples, n, 0, sqrt(2.0 / 9999));
    expect_moments(samples, n, normal_moments);
    n = initial(INIT_UNIFORM, -2, 5, vector, samples);
    standardise(samples, n, -2, 7);
    expect_moments(samples, n, uniform_moments);
    n = initial(INIT_GLOROT, 0, 0, matrix, samples);
    double end = sqrt(6.0 / 800), largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(samples[i]));
    assert_true(largest <= end * (1 + 1e-7) && largest > 0.999 * end);
    standardise(samples, n, -end, 2 * end);
    expect_moments(samples, n, uniform_moments);
}

static void test_noise(void **state) {
    (void)state;
    static int32_t whole[N];
    static uint8_t coins[N];
    static float real[N];
    int counts[10] = {0}, heads = 0;
    fill_noise(&(FraxTensor){FRAX_I32, 1, {N}, whole}, 1, 1, 10);
    fill_noise(&(FraxTensor){FRAX_BOOL, 1, {N}, coins}, 1, 2, 10);
    fill_noise(&(FraxTensor){FRAX_F32, 2, {N / 2, 2}, real}, 1, 3, 10);
    for (int i = 0; i < N; i++) {
        assert_in_range(whole[i], 0, 9);
        counts[whole[i]]++;
        assert_true(coins[i] <= 1);
        heads += coins[i];
        samples[i] = real[i];
    }
    for (int i = 0; i < 10; i++) assert_true(abs(counts[i] - N / 10) < 5 * sqrt(N * 0.09));
    assert_true(abs(heads - N / 2) < 5 * sqrt(N * 0.25));
    expect_moments(samples, N, normal_moments);
    assert_true(real[N - 1] == (float)rng_normal((Rng){1, 3}, N - 1));
}

/* Faster than a disk, slower than light: the unit is bytes per second. */
static void test_copy_bandwidth(void **state) {
    (void)state;
    double one = copy_bandwidth(1);
    assert_true(one > 1e8 && one < 1e13);
    mem_fail_after(2);
    assert_true(copy_bandwidth(1) == 0);
    mem_fail_after(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),  cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_normal),         cmocka_unit_test(test_streams_and_seeds_differ),
        cmocka_unit_test(test_initial_values), cmocka_unit_test(test_noise),
        cmocka_unit_test(test_copy_bandwidth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
