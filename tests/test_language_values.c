/* test_language_values.c — what models compute: every built-in against NumPy and SciPy (language_values.h),
 * and derivatives where a composition has a singular point.
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

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_every_builtin_has_a_value),
        cmocka_unit_test(test_narrow_dtypes),
        cmocka_unit_test(test_no_nan_at_rest),
        cmocka_unit_test(test_derivatives_at_zero),
        cmocka_unit_test(test_given_derivative),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
