/* test_spectral_filter.c — symbols of one's own: against frac, against what a filter does to a trigonometric
 * polynomial, on every target; derivatives in x, the symbol's parameters and the step against differences.
 *
 * With x_n = cos(ω n + φ), ω on the grid and not 0 or Nyquist, K gives |K(ω)| cos(ω n + φ + arg K(ω))
 * exactly.
 */
#include "derivatives.h"
#include "model.h"
#include "public_run.h"

enum { LONGEST = 24 };
static const FraxTarget targets[] = {FRAX_CPU, FRAX_EAGER, FRAX_REFERENCE};

static void expect_values(const char *what, const double *got, const double *expected, int64_t n,
                          double tolerance) {
    double scale = 1e-300;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= tolerance * scale))
            fail_msg("%s: element %lld is %.17g, expected %.17g", what, (long long)i, got[i], expected[i]);
}

/* ---- Against frac ---- */

/* (iω)^α by hand, with its gradients in x, α and the step; even and odd lengths down to 1. */
static void test_weyl_by_hand(void **state) {
    (void)state;
    static const char *const forms[] = {
        "frac(x, a, kind=weyl, step=h)",
        "spectral_filter(x, w => (w^a * cos(pi / 2 * a), w^a * sin(pi / 2 * a)), "
        "step=h)"};
    uint64_t seed = 1;
    for (int64_t n = 1; n <= LONGEST; n++)
        for (size_t t = 0; t < COUNT(targets); t++) {
            double x[LONGEST], c[LONGEST], alpha = 0.7, h = 0.3;
            Results results[2];
            for (int64_t i = 0; i < n; i++) {
                x[i] = next_uniform(&seed, -1, 1);
                c[i] = next_uniform(&seed, -1, 1);
            }
            for (int form = 0; form < 2; form++) {
                char text[400];
                snprintf(text, sizeof text,
                         "model m(x: f64[%d], c: f64[%d], a: f64, h: f64) {\n y = %s\n loss = sum(c * y)\n"
                         " return loss, y\n}\n",
                         (int)n, (int)n, forms[form]);
                RunOptions options = {targets[t], {"x", "a", "h"}};
                results[form] = run_model(text, &options, (const double *[]){x, c, &alpha, &h});
            }
            assert_int_equal(results[1].count, 5);
            for (size_t i = 0; i < results[1].count; i++)
                if (n > 1 || i != 3) /* one sample: d/dα of 0^α is 0 in both, up to the sign of zero */
                    expect_values(forms[1], results[1].data[i], results[0].data[i], results[0].size[i],
                                  1e-15);
            free_results(&results[0]);
            free_results(&results[1]);
        }
}

/* ---- Against what is known of filters ---- */

/* A Gaussian low-pass and a delay of τ, in f64 and f32, along either axis. */
static void test_gaussian_and_delay(void **state) {
    (void)state;
    const double step = 0.25, width = 0.4, tau = 0.37;
    for (int n = 5; n <= 12; n++)
        for (int k = 1; 2 * k < n; k++)
            for (int single = 0; single < 2; single++)
                for (size_t t = 0; t < COUNT(targets); t++) {
                    double x[2 * LONGEST], low[2 * LONGEST], late[2 * LONGEST], w = 2 * M_PI * k / (n * step);
                    char text[400];
                    for (int i = 0; i < n; i++)
                        for (int row = 0; row < 2; row++) {
                            double phase = w * i * step + 0.3 + row;
                            x[2 * i + row] = cos(phase);
                            low[2 * i + row] = exp(-width * width * w * w / 2) * cos(phase);
                            late[2 * i + row] = cos(phase - w * tau);
                        }
                    snprintf(
                        text, sizeof text,
                        "model m(x: %s[%d, 2], s: f64, tau: f64) {\n"
                        "  low  = spectral_filter(x, w => exp(-s^2 * w^2 / 2), axis=0, step=%g)\n"
                        "  late = spectral_filter(x, w => (cos(tau * w), -sin(tau * w)), axis=0, step=%g)\n"
                        "  return low, late\n}\n",
                        single ? "f32" : "f64", n, step, step);
                    Results r = run_model(text, &(RunOptions){targets[t], {NULL}},
                                          (const double *[]){x, &width, &tau});
                    double tolerance = single ? 2e-6 : 1e-14;
                    double floor = exp(-width * width * w * w / 2); /* errors of x are not damped */
                    expect_values("low", r.data[0], low, 2 * n, tolerance / floor);
                    expect_values("late", r.data[1], late, 2 * n, tolerance);
                    free_results(&r);
                }
}

/* exp(−u² − u v / 2 − v² / 8) tells the signs of u against v apart. */
static void test_anisotropic(void **state) {
    (void)state;
    for (int rows = 5; rows <= 6; rows++)
        for (int columns = 7; columns <= 8; columns++)
            for (int k = -2; k <= 2; k++)
                for (int l = 1; l <= 3; l++)
                    for (size_t t = 0; t < COUNT(targets); t++) {
                        double x[8 * 8], y[8 * 8], u = 2 * M_PI * k / (rows * 0.5),
                                                   v = 2 * M_PI * l / (columns * 2.);
                        double gain = exp(-(u * u + u * v / 2 + v * v / 8) / 40);
                        char text[300];
                        for (int i = 0; i < rows; i++)
                            for (int j = 0; j < columns; j++) {
                                double phase = u * i * 0.5 + v * j * 2 + 0.2;
                                x[i * columns + j] = cos(phase);
                                y[i * columns + j] = gain * cos(phase + (u - v) / 7);
                            }
                        snprintf(text, sizeof text,
                                 "model m(x: f64[%d, %d]) {\n"
                                 "  gain = 40\n"
                                 "  y = spectral_filter(x, (u, v) => (exp(-(u^2 + u*v/2 + v^2/8) / gain) * "
                                 "cos((u - v) / 7),\n"
                                 "      exp(-(u^2 + u*v/2 + v^2/8) / gain) * sin((u - v) / 7)), axes=(0, 1), "
                                 "step=(0.5, 2))\n"
                                 "  return y\n}\n",
                                 rows, columns);
                        Results r = run_model(text, &(RunOptions){targets[t], {NULL}}, (const double *[]){x});
                        expect_values("anisotropic", r.data[0], y, rows * columns, 1e-14);
                        free_results(&r);
                    }
}

/* At ω = 0 and at the Nyquist frequency the imaginary part of K counts for nothing. */
static void test_imaginary_ends(void **state) {
    (void)state;
    for (int n = 1; n <= 9; n++)
        for (size_t t = 0; t < COUNT(targets); t++) {
            double x[LONGEST], constant[LONGEST], zero[LONGEST] = {0};
            char text[300];
            for (int i = 0; i < n; i++) {
                x[i] = 2 + (n % 2   ? 0
                            : i % 2 ? -1
                                    : 1); /* a constant, and the highest frequency of an even N */
                constant[i] = 3 * x[i];
            }
            snprintf(text, sizeof text,
                     "model m(x: f64[%d]) {\n y = spectral_filter(x, w => (3, 5))\n"
                     " z = spectral_filter(x, w => (0, w + 7))\n return y, z\n}\n",
                     n);
            Results r = run_model(text, &(RunOptions){targets[t], {NULL}}, (const double *[]){x});
            expect_values("re", r.data[0], constant, n, 1e-15);
            for (int i = 0; i < n; i++) assert_true(fabs(r.data[1][i] - zero[i]) <= 1e-14);
            free_results(&r);
        }
}

/* One filter for each of three widths grows x, and so does one step for each. */
static void test_x_grows(void **state) {
    (void)state;
    const double x[7] = {1, -2, 0.5, 3, 0, 1, -1}, a[3] = {0, 0.1, 0.7};
    for (size_t t = 0; t < COUNT(targets); t++) {
        Results r = run_model("model m(x: f64[7], a: f64[3]) {\n"
                              "  y = spectral_filter(x[none], w => exp(-a[:, none] * w^2))\n"
                              "  z = spectral_filter(x[none], w => exp(-w^2), step=rsqrt(a[1:, none]))\n"
                              "  u = spectral_filter(x, w => 2 * w / w^0.5, step=exp(a[0]))\n"
                              "  v = spectral_filter(x, w => 1)\n"
                              "  return y, z, v\n}\n",
                              &(RunOptions){targets[t], {NULL}}, (const double *[]){x, a});
        assert_int_equal(r.size[0], 21);
        assert_int_equal(r.size[1], 14);
        expect_values("no damping", r.data[0], x, 7, 1e-15);
        expect_values("step for each", r.data[1], r.data[0] + 7, 14, 1e-14);
        expect_values("a number", r.data[2], x, 7, 1e-15);
        free_results(&r);
    }
}

/* ---- Derivatives of first and second order ---- */

static const struct {
    const char *name, *text;
    int n;
} functions[] = {
    {"Gaussian",
     "model m(x: f64[2,9], s: f64, h: f64) {\n y = spectral_filter(x, w => exp(-s^2 * w^2), step=h)\n return "
     "y\n}\n",
     3},
    {"rows",
     "model m(x: f64[3,8], s: f64[3], h: f64) {\n"
     " y = spectral_filter(x, w => (1 / (1 + s[:, none] * w^2), -s[:, none] * w), step=h)\n return y\n}\n",
     3},
    {"grown",
     "model m(x: f64[1,7], s: f64[2,1]) {\n y = spectral_filter(x, w => (sin(s * w), cos(s * w)))\n return "
     "y\n}\n",
     2},
    {"two axes",
     "fn bell(u, s) {\n return exp(-s * u^2)\n}\n"
     "model m(x: f64[4,5], s: f64, h: f64, g: f64) {\n"
     " y = spectral_filter(x, (u, v) => (bell(u, s) * bell(v, h), tanh(u * v * s)), axes=(0, 1), step=(h, "
     "g))\n"
     " return y\n}\n",
     4},
    {"weyl",
     "model m(x: f64[8], a: f64, h: f64) {\n"
     " y = spectral_filter(x, w => (w^a * cos(pi / 2 * a), w^a * sin(pi / 2 * a)), step=h)\n return y\n}\n",
     3},
    {"nested",
     "model m(x: f64[6], s: f64[6]) {\n"
     " k = spectral_filter(s, w => exp(-w))\n"
     " y = spectral_filter(x, w => (w * sum(k), norm(spectral_filter(k * x, u => (u, u)))))\n return y\n}\n",
     2},
};

static Graph *lower_text(const char *text, FraxError *err) {
    FraxModel *model;
    Graph *g = NULL;
    if (model_parse(text, strlen(text), "test.frax", NULL, &model, err)) return NULL;
    int64_t none = 0;
    model_lower(model, &none, &g, err);
    model_destroy(model);
    return g;
}

static void test_derivatives(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(functions); i++) {
        FraxError err = {0};
        Graph *g = lower_text(functions[i].text, &err);
        if (!g) fail_msg("%s", err.message);
        Function f = {.name = functions[i].name, .n = functions[i].n, .lo = 0.3, .hi = 0.9};
        append_derivatives(g, f.n, f.name);
        for (uint64_t seed = 0; seed < 3; seed++) compare_derivatives(g, &f, seed);
        graph_destroy(g);
    }
}

static void test_failing_allocations(void **state) {
    (void)state;
    for (long n = 1;; n++) {
        FraxError err = {0};
        mem_fail_after(n);
        Graph *g = lower_text(functions[3].text, &err);
        mem_fail_after(0);
        graph_destroy(g);
        if (g) break;
        assert_int_equal(err.status, FRAX_MEMORY);
    }
}

/* One node, with K of no more elements than it varies in. */
static void test_nodes(void **state) {
    (void)state;
    FraxError err;
    Graph *g = lower_text("model m(x: f32[5,6,8], s: f64) {\n"
                          " y = spectral_filter(x, w => exp(-s * w), axis=1)\n return y\n}\n",
                          &err);
    const Node *node = graph_node(g, g->outputs[0].value);
    char text[176];
    assert_int_equal(node->op, OP_spectral);
    assert_string_equal(type_text(graph_type(g, node->args[1]), text), "f32[1,4,1]");
    assert_int_equal(graph_node(g, node->args[2])->op, OP_constant);
    graph_destroy(g);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weyl_by_hand),
        cmocka_unit_test(test_gaussian_and_delay),
        cmocka_unit_test(test_anisotropic),
        cmocka_unit_test(test_imaginary_ends),
        cmocka_unit_test(test_x_grows),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
