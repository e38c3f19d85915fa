/* test_language_values.c — what models compute: every built-in against NumPy and SciPy (language_values.h),
 * the analytic values of fractional operators, and the fractional orders of the Nile and of the sunspots.
 */
#include "model_run.h"
#include "passes.h"
#include <math.h>
#include "language_values.h"

/* ---- Built-ins ---- */

static char *value_model(const char *expression) {
    Text text = {0};
    text_printf(&text, "model m(");
    for (size_t i = 0; i < COUNT(value_inputs); i++)
        text_printf(&text, "%s%s: %s", i ? ", " : "", value_inputs[i].name, value_inputs[i].type);
    text_printf(&text, ") {\n out = %s\n return out\n}\n", expression);
    assert_false(text.failed);
    return text.data;
}

/* Sums over some hundred terms of size 1 in another order than NumPy's, and pow of exp of log in K: a few
   hundred units of rounding against the largest element. */
static const double tolerance = 2e-13;

static bool matches(const struct ValueRow *row, const FraxTensor *out) {
    char type[176];
    Type got = {out->dtype, {.rank = out->rank}};
    memcpy(got.shape.dims, out->dims, sizeof out->dims);
    bool same = !strcmp(type_text(&got, type), row->type);
    if (!same) print_error("%s: type %s, expected %s\n", row->expression, type, row->type);
    double scale = 1;
    int64_t n = same ? shape_size(&got.shape) : 0;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(row->data[i]));
    for (int64_t i = 0; i < n; i++) {
        double v = element_get(out->data, out->dtype, i), expected = row->data[i];
        bool close = isnan(expected) ? isnan(v) : fabs(v - expected) <= tolerance * scale;
        if (!close)
            print_error("%s: element %lld is %.17g, expected %.17g\n", row->expression, (long long)i, v,
                        expected);
        same = same && close;
    }
    return same;
}

static void test_values(void **state) {
    (void)state;
    const double *inputs[COUNT(value_inputs)];
    int wrong = 0;
    for (size_t i = 0; i < COUNT(value_inputs); i++) inputs[i] = value_inputs[i].data;
    for (size_t i = 0; i < COUNT(value_rows); i++) {
        char *text = value_model(value_rows[i].expression);
        Graph *g = lower_text(text, NULL);
        FraxTensor out;
        run_graph(g, inputs, &out);
        wrong += !matches(&value_rows[i], &out);
        free_outputs(&out, 1);
        graph_destroy(g);
        mem_free(text);
    }
    assert_int_equal(wrong, 0);
}

/* Every built-in stands in some row, so that a new one cannot come without a value. */
static void test_every_builtin_has_a_value(void **state) {
    (void)state;
    BuiltinInfo info;
    for (size_t i = 0; builtin_info(i, &info); i++) {
        char call[64];
        bool found = false;
        snprintf(call, sizeof call, "%s(", info.name);
        for (size_t k = 0; k < COUNT(value_rows) && !found; k++) {
            const char *at = strstr(value_rows[k].expression, call);
            found = at && (at == value_rows[k].expression || !strchr("abcdefghijklmnopqrstuvwxyz_", at[-1]));
        }
        if (!found) fail_msg("no value tests the built-in %s", info.name);
    }
}

/* f32 is computed in f32, bf16 and f16 go through f32: close to f64 within their own rounding. */
static void test_narrow_dtypes(void **state) {
    (void)state;
    static const struct {
        const char *dtype;
        double tolerance; /* a few units of rounding at size 4 */
    } rows[] = {{"f32", 2e-6}, {"bf16", 6e-2}, {"f16", 6e-3}};
    double x[8] = {1, -0.5, 2, 0.25, -1, 0.75, 1.5, -2}, exact[8];
    for (int pass = -1; pass < (int)COUNT(rows); pass++) {
        char text[256];
        snprintf(text, sizeof text, "model m(x: %s[8]) {\n y = frac(x, 0.5, kind=%s)\n return y\n}\n",
                 pass < 0 ? "f64" : rows[pass].dtype, "grunwald");
        Graph *g = lower_text(text, NULL);
        FraxTensor out;
        run_graph(g, (const double *[]){x}, &out);
        for (int i = 0; i < 8; i++) {
            double v = element_get(out.data, out.dtype, i);
            if (pass < 0)
                exact[i] = v;
            else
                assert_true(fabs(v - exact[i]) <= rows[pass].tolerance);
        }
        free_outputs(&out, 1);
        graph_destroy(g);
    }
}

/* ---- Analytic values ---- */

/* sin 3t on [0, 2π): riesz gives √3 sin 3t, weyl √3 sin(3t + π/4). */
static void test_half_derivative_of_sine(void **state) {
    (void)state;
    enum { N = 256 };
    double x[N];
    for (int n = 0; n < N; n++) x[n] = sin(3 * 2 * M_PI * n / N);
    Graph *g = lower_text("model m(x: f64[N]) {\n h = 2*pi/N\n r = frac(x, 0.5, kind=riesz, step=h)\n"
                          " w = frac(x, 0.5, kind=weyl, step=h)\n return r, w\n}\n",
                          (int64_t[]){N});
    FraxTensor out[2];
    run_graph(g, (const double *[]){x}, out);
    for (int n = 0; n < N; n++) {
        double t = 2 * M_PI * n / N;
        assert_true(fabs(((double *)out[0].data)[n] - sqrt(3) * sin(3 * t)) < 1e-12);
        assert_true(fabs(((double *)out[1].data)[n] - sqrt(3) * sin(3 * t + M_PI / 4)) < 1e-12);
    }
    free_outputs(out, 2);
    graph_destroy(g);
}

static double last_sample(const char *text, const double *x, int64_t n) {
    Graph *g = lower_text(text, &n);
    FraxTensor out;
    run_graph(g, (const double *[]){x}, &out);
    double last = ((double *)out.data)[shape_size(&graph_type(g, g->outputs[0].value)->shape) - 1];
    free_outputs(&out, 1);
    graph_destroy(g);
    return last;
}

static void test_grunwald_of_a_square(void **state) {
    (void)state;
    double fine[256], coarse[2] = {0, 0.05 * 0.05};
    for (int j = 0; j < 256; j++) fine[j] = j / 255.0 * (j / 255.0);
    double y =
        last_sample("model m(x: f64[N]) {\n y = frac(x, 0.5, kind=grunwald)\n return y\n}\n", fine, 256);
    assert_true(fabs(y - 0.0940772965107795) < 1e-12);
    y = last_sample("model m(x: f64[N]) {\n y = frac(x, 0.5, kind=grunwald, step=0.05)\n return y\n}\n",
                    coarse, 2);
    assert_true(fabs(y - 0.0111803398874990) < 1e-12);
}

/* The mean of x is at ω = 0: no derivative may see it, whatever the order, and the integral must not either.
 */
static void test_constants_vanish(void **state) {
    (void)state;
    double x[7] = {1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6};
    static const char *const operators[] = {"0.3, kind=weyl", "-0.3, kind=weyl", "0.3, kind=riesz",
                                            "1.5, kind=laplacian",
                                            "0.5, kind=tempered, lambda=2, centered=true"};
    for (size_t i = 0; i < COUNT(operators); i++) {
        char text[160];
        snprintf(text, sizeof text, "model m(x: f64[N]) {\n y = frac(x, %s)\n return y\n}\n", operators[i]);
        assert_true(fabs(last_sample(text, x, 7)) < 1e-9); /* 1e6 times rounding */
    }
}

/* ---- Derivatives through the singular point ---- */

/* Values and derivatives in alpha, step and lambda, of first and second order, are finite everywhere. */
static void test_no_nan_at_rest(void **state) {
    (void)state;
    static const char *const models[] = {
        "frac(x, a, kind=weyl, step=h)",
        "frac(x, a, kind=riesz, step=h)",
        "frac(x, a, kind=laplacian, step=h)",
        "frac(x, a, kind=tempered, lambda=l, step=h)",
        "frac(x, a, kind=tempered, lambda=l, step=h, centered=true)",
        "frac(x, a, kind=grunwald, step=h)",
        "frac(x, a, kind=tempered, lambda=l, step=h, causal=true, centered=true)"};
    static const double alphas[] = {0, -0.5, 0.5, 1, 2}, lambdas[] = {0, 0.5};
    double x[6] = {1, 2, -1, 0.5, 3, 1}, h = 0.5;
    for (size_t i = 0; i < COUNT(models); i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "model m(x: f64[N], l: f64) {\n param a: f64 = 0\n param h: f64 = 1\n y = sum(%s^2) + 0 * "
                 "l\n return y\n}\n",
                 models[i]);
        Graph *g = lower_text(text, (int64_t[]){6});
        Value wrt[4], first[4], second[4];
        FraxError err;
        memcpy(wrt, g->inputs, sizeof wrt); /* x, l, a, h */
        if (gradient(g, g->outputs[0].value, NO_VALUE, wrt, 4, first, &err)) fail_msg("%s", err.message);
        graph_output(g, "dl", first[1]);
        graph_output(g, "da", first[2]);
        if (gradient(g, first[2], NO_VALUE, wrt, 4, second, &err)) fail_msg("%s", err.message);
        graph_output(g, "daa", second[2]);
        graph_output(g, "dah", second[3]);
        for (size_t k = 0; k < COUNT(alphas) * COUNT(lambdas); k++) {
            FraxTensor out[5];
            run_graph(g, (const double *[]){x, &lambdas[k % 2], &alphas[k / 2], &h}, out);
            for (int o = 0; o < 5; o++)
                /* λ^α has no finite slope in λ at λ = 0 for α < 1: that one may be infinite. */
                if (!isfinite(((double *)out[o].data)[0]) && !(o == 1 && lambdas[k % 2] == 0))
                    fail_msg("%s: %s is %g at alpha = %g, lambda = %g", models[i], g->outputs[o].name,
                             ((double *)out[o].data)[0], alphas[k / 2], lambdas[k % 2]);
            free_outputs(out, 5);
        }
        graph_destroy(g);
    }
}

/* y, dy/dx and d²y/dx² of a scalar model of one input x. */
static void three_orders(const char *text, double x, double result[3]) {
    Graph *g = lower_text(text, NULL);
    Value first, second;
    FraxError err;
    FraxTensor out[3];
    if (gradient(g, g->outputs[0].value, NO_VALUE, g->inputs, 1, &first, &err)) fail_msg("%s", err.message);
    graph_output(g, "first", first);
    if (gradient(g, first, NO_VALUE, g->inputs, 1, &second, &err)) fail_msg("%s", err.message);
    graph_output(g, "second", second);
    run_graph(g, (const double *[]){&x}, out);
    for (int i = 0; i < 3; i++) result[i] = ((double *)out[i].data)[0];
    free_outputs(out, 3);
    graph_destroy(g);
}

/* Where |x| and max have corners, the functions made of them have none: logits start at 0. */
static void test_derivatives_at_zero(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        double y, first, second;
    } rows[] = {{"softplus(x)", 0.69314718055994531, 0.5, 0.25},
                {"bce(x, 1)", 0.69314718055994531, -0.5, 0.25},
                {"relu(x)", 0, 0, 0},
                {"silu(x)", 0, 0.5, 0.5},
                {"gelu(x)", 0, 0.5, 0.79788456080286541},
                {"norm(x)", 0, 0, 0},
                {"huber(x, 0)", 0, 0, 1},
                {"x^2", 0, 0, 2},
                {"logsumexp(concat([x[none], zeros(1)]))", 0.69314718055994531, 0.5, 0.25}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[160];
        double got[3];
        snprintf(text, sizeof text, "model m(x: f64) {\n y = %s\n return y\n}\n", rows[i].expression);
        three_orders(text, 0, got);
        if (!(fabs(got[0] - rows[i].y) < 1e-14 && fabs(got[1] - rows[i].first) < 1e-14 &&
              fabs(got[2] - rows[i].second) < 1e-14))
            fail_msg("%s: got %.17g, %.17g, %.17g", rows[i].expression, got[0], got[1], got[2]);
    }
}

/* x³ with the derivative 5x² given: the second derivative is that of 5x². */
static void test_given_derivative(void **state) {
    (void)state;
    double got[3];
    three_orders("fn cube(x, k) {\n y = x^3\n return y, k * x\n} derivative(dx, dk) {\n return 5 * x^2 * dx, "
                 "7 * dx\n}\n"
                 "model m(x: f64) {\n a, b = cube(x, 2)\n y = a + b\n return y\n}\n",
                 3, got);
    assert_true(got[0] == 33 && got[1] == 52 && got[2] == 30);
}

static double loss_of_three(const Graph *g, const double *x, const double p[3]) {
    FraxTensor out[4];
    run_graph(g, (const double *[]){x, &p[0], &p[1], &p[2]}, out);
    double loss = ((double *)out[0].data)[0];
    free_outputs(out, g->noutputs);
    return loss;
}

/* Gradients in order, step and tempering of every kind against central differences. */
static void test_gradients_of_fractional_parameters(void **state) {
    (void)state;
    static const char *const operators[] = {
        "frac(x, a, kind=weyl, step=h) + 0*l",
        "frac(x, a, kind=riesz, step=h) + 0*l",
        "frac(x, a, kind=laplacian, step=h) + 0*l",
        "frac(x, a, kind=grunwald, step=h) + 0*l",
        "frac(x, a, kind=tempered, step=h, lambda=l)",
        "frac(x, a, kind=tempered, step=h, lambda=l, centered=true)",
        "frac(x, a, kind=tempered, step=h, lambda=l, causal=true)",
        "frac(x, a, kind=tempered, step=h, lambda=l, causal=true, centered=true)"};
    double x[9] = {1, 2, -1, 0.5, 3, 1, -2, 0.1, 0.7}, p[3] = {0.6, 0.8, 0.4};
    const double delta = 1e-5;
    for (size_t i = 0; i < COUNT(operators); i++) {
        char text[256];
        Value grads[3];
        FraxError err;
        FraxTensor out[4];
        snprintf(text, sizeof text,
                 "model m(x: f64[N], a: f64, h: f64, l: f64) {\n y = sum(sin(%s))\n return y\n}\n",
                 operators[i]);
        Graph *g = lower_text(text, (int64_t[]){9});
        if (gradient(g, g->outputs[0].value, NO_VALUE, g->inputs + 1, 3, grads, &err))
            fail_msg("%s", err.message);
        for (int k = 0; k < 3; k++) graph_output(g, (const char *[]){"da", "dh", "dl"}[k], grads[k]);
        run_graph(g, (const double *[]){x, &p[0], &p[1], &p[2]}, out);
        for (int k = 0; k < 3; k++) {
            double up[3] = {p[0], p[1], p[2]}, down[3] = {p[0], p[1], p[2]};
            up[k] += delta;
            down[k] -= delta;
            double slope = (loss_of_three(g, x, up) - loss_of_three(g, x, down)) / (2 * delta);
            double got = ((double *)out[1 + k].data)[0];
            /* delta² times a third derivative of size 100, and rounding over delta */
            if (!(fabs(got - slope) < 1e-7 * (1 + fabs(slope))))
                fail_msg("%s, parameter %d: %.12g, by differences %.12g", operators[i], k, got, slope);
        }
        free_outputs(out, 4);
        graph_destroy(g);
    }
}

/* ---- Real series ---- */

static char *read_text(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) fail_msg("cannot read %s", path);
    char *text = calloc(1, 1 << 16);
    assert_non_null(text);
    assert_true(fread(text, 1, (1 << 16) - 1, file) > 0);
    fclose(file);
    return text;
}

static int64_t read_series(const char *path, double *x, int64_t max) {
    char *text = read_text(path);
    int64_t n = 0;
    for (char *line = strchr(text, '\n'); line && line[1] && n < max; line = strchr(line + 1, '\n'))
        x[n++] = strtod(strchr(line, ',') + 1, NULL);
    free(text);
    return n;
}

static double loss_at(const Graph *g, const double *x, double d) {
    FraxTensor out[2];
    run_graph(g, (const double *[]){x, &d}, out);
    double loss = ((double *)out[0].data)[0];
    free_outputs(out, 2);
    return loss;
}

/* Golden-section search: needs values alone. */
static double minimise(const Graph *g, const double *x, double lo, double hi) {
    const double phi = (sqrt(5) - 1) / 2;
    while (hi - lo > 1e-7) {
        double a = hi - phi * (hi - lo), b = lo + phi * (hi - lo);
        if (loss_at(g, x, a) < loss_at(g, x, b))
            hi = b;
        else
            lo = a;
    }
    return (lo + hi) / 2;
}

static void test_memory_of_two_series(void **state) {
    (void)state;
    static const struct {
        const char *path;
        int64_t n;
        double order, loss; /* found by an independent optimiser; loss 0: not known */
    } rows[] = {{"frontend/examples/data/nile.csv", 100, 0.383052, 20080.7128019795},
                {"frontend/examples/data/sunspots.csv", 309, 1.574052, 0}};
    char *text = read_text("frontend/examples/nile.frax");
    for (size_t i = 0; i < COUNT(rows); i++) {
        double x[400];
        int64_t n = read_series(rows[i].path, x, 400);
        assert_int_equal(n, rows[i].n);
        Graph *g = lower_text(text, &n);
        double d = minimise(g, x, rows[i].order - 0.3, rows[i].order + 0.2);
        assert_true(fabs(d - rows[i].order) < 1e-6);
        if (rows[i].loss > 0) assert_true(fabs(loss_at(g, x, d) - rows[i].loss) < 1e-6);
        graph_destroy(g);
    }
    free(text);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_every_builtin_has_a_value),
        cmocka_unit_test(test_narrow_dtypes),
        cmocka_unit_test(test_half_derivative_of_sine),
        cmocka_unit_test(test_grunwald_of_a_square),
        cmocka_unit_test(test_constants_vanish),
        cmocka_unit_test(test_no_nan_at_rest),
        cmocka_unit_test(test_derivatives_at_zero),
        cmocka_unit_test(test_given_derivative),
        cmocka_unit_test(test_gradients_of_fractional_parameters),
        cmocka_unit_test(test_memory_of_two_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
