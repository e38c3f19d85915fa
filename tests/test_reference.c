/* test_reference.c — the reference evaluator against hand values, closed forms and laws.
 *
 * A case builds a graph whose inputs are given arrays and compares the first output. Tolerances are a few
 * roundings of f64, scaled by the largest expected value: sums run in long double, so nothing accumulates.
 */
#include "ir.h"
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spectral_half_derivative_of_a_sine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
