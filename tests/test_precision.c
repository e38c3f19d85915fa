/* test_precision.c — single precision against double on the same numbers, for every operator and engine, up
 * to 65536 samples; long sums; and results stored in 16 bits.
 *
 * Weights and symbols are f64 tables, rounded once: what is left is the rounding of transforms and sums.
 * Errors are relative to the largest result, of noise or of a smooth signal of the same size, whichever is
 * larger: where an operator makes almost nothing of the smooth one, the rounding of its samples is noise that
 * it amplifies, whatever the arithmetic.
 */
#include "operator_samples.h"
#include <stdio.h>

static const double periodic_limit = 2e-6, causal_limit = 5e-6;

static double worst[COUNT(operators)];

/* Row 0 is noise, row 1 smooth, with a few periods. Both are f32 numbers. */
static double *two_rows(int64_t n) {
    uint64_t seed = 7;
    double *x = malloc(2 * (size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) {
        double t = 2 * M_PI * (double)i / (double)n;
        x[i] = (float)next_uniform(&seed, -1.5, 1.5);
        x[n + i] = (float)(0.3 + sin(3 * t) + 0.5 * cos(5 * t + 1));
    }
    return x;
}

static void expect_close_rows(const Operator *op, const Results *r, int64_t n, const char *what) {
    double limit = op->symbol ? periodic_limit : causal_limit, size = largest_of(r->data[1], 2 * n);
    for (int row = 0; row < 2; row++) {
        const double *got = r->data[0] + row * n, *exact = r->data[1] + row * n;
        double error = relative_error(got, exact, n) * largest_of(exact, n) / (size > 0 ? size : 1);
        worst[op - operators] = fmax(worst[op - operators], error);
        if (!(error <= limit))
            fail_msg("%s%s, %lld samples, %s: error %.3g, allowed %.3g", op->name, what, (long long)n,
                     row ? "smooth" : "noise", error, limit);
    }
}

/* The operator in f32 and in f64, in one model. */
static void check_single(const Operator *op, double alpha, int64_t n, const char *engine) {
    char call[2][256], text[1024];
    double *x = two_rows(n), l = 0.3, t = 0.1, h = op->step > 0 ? op->step : 1;
    snprintf(
        text, sizeof text,
        "model m(x: f32[2,%lld], a: f64, l: f64, t: f64, h: f64) {\n z = cast(x, f64)\n y = %s\n exact = %s\n"
        " return y, exact\n}\n",
        (long long)n, frac_text(op, "x", n, "a", engine, call[0]),
        frac_text(op, "z", n, "a", engine, call[1]));
    Results r = run_model(text, &(RunOptions){.target = FRAX_CPU}, (const double *[]){x, &alpha, &l, &t, &h});
    expect_close_rows(op, &r, n, engine);
    free_results(&r);
    free(x);
}

static double middle_order(const Operator *op) {
    return op->lo > 1 ? 1.5 : 0.5;
}

static void test_single_precision(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        const Operator *op = &operators[i];
        bool matrix = op->traits & TIMES; /* N × N weights */
        check_single(op, middle_order(op), 1, "");
        check_single(op, 0.3 * op->lo + 0.7 * op->hi, 1000, "");
        if (!matrix) check_single(op, middle_order(op), 65536, "");
        if (!matrix && !op->symbol)
            check_single(op, op->lo, 65536, ""); /* the longest memory, or an integral */
    }
}

static void test_single_precision_of_engines(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        const Operator *op = &operators[i];
        if (!(op->traits & ENGINES)) continue;
        check_single(op, middle_order(op), 300, ", engine=dense");
        check_single(op, middle_order(op), 5000, ", engine=direct");
    }
    static const char *const long_ones[] = {", engine=direct", ", engine=fft", ", engine=soe, tol=1e-8"};
    for (size_t i = 0; i < COUNT(long_ones); i++) {
        check_single(find_operator("grunwald"), 0.5, 65536, long_ones[i]);
        check_single(find_operator("caputo l1"), 0.5, 65536, long_ones[i]);
    }
}

/* ---- Long sums ---- */

/* `sum` is of V. The numbers are of one sign, so that an error of each addition shows. */
static void check_sum(const char *dtype, int64_t rows, int64_t columns, const char *sum, double limit) {
    char text[512], exact[128];
    uint64_t seed = 3;
    int64_t n = rows * columns;
    double *x = malloc((size_t)n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = (float)next_uniform(&seed, 0, 1);
    snprintf(exact, sizeof exact, "%s", sum);
    for (char *c = exact; *c; c++)
        if (*c == 'V') *c = 'W';
    snprintf(text, sizeof text,
             "model m(V: %s[%lld,%lld]) {\n W = cast(V, f64)\n y = %s\n exact = %s\n"
             " return y, exact\n}\n",
             dtype, (long long)rows, (long long)columns, sum, exact);
    Results r = run_model(text, &(RunOptions){.target = FRAX_CPU}, (const double *[]){x});
    double largest = largest_of(r.data[1], r.size[1]);
    for (int64_t i = 0; i < r.size[0]; i++)
        if (!(fabs(r.data[0][i] - r.data[1][i]) <= limit * largest))
            fail_msg("%s of %s %lld x %lld, element %lld: %.9g, expected %.9g", sum, dtype, (long long)rows,
                     (long long)columns, (long long)i, r.data[0][i], r.data[1][i]);
    free_results(&r);
    free(x);
}

/* To the rounding of the result, and of what is summed up. */
static void test_long_sums(void **state) {
    (void)state;
    check_sum("f32", 1 << 20, 4, "mean(V^2, axis=0)", 1.2e-7);
    check_sum("f32", (1 << 18) + 3, 37, "mean(V^2, axis=0)", 1.2e-7);
    check_sum("f32", (1 << 15) + 1, 67, "sum(V^2, axis=0) + max(V, axis=0) / min(V + 1, axis=0)", 1.2e-7);
    check_sum("f32", 2, (1 << 21) + 5, "mean(V^2, axis=1)", 1.2e-7);
    check_sum("f32", 1, 1 << 22, "mean(V^2)", 1.2e-7);
    check_sum("f32", 1 << 19, 8, "mean(softmax(V) * V)", 2e-7);
    check_sum("f32", 190000, 18, "sum(V[:, :17])", 1.2e-7); /* whose loops do not merge */
    check_sum("f32", 2, 1 << 17, "mean(frac(V, 0.2, kind=riesz)^2 + V, axis=1)",
              4e-7); /* within the transform */
    check_sum("f32", 2, 1 << 20, "mean(frac(V, 0.2, kind=riesz)^2 + V, axis=1)", 4e-7);
}

/* ---- Half precision ---- */

/* Computed in f32 and rounded once more, when stored. */
static void check_half(const Operator *op, const char *dtype, double rounding) {
    enum { N = 40 };
    char call[2][256], text[1024];
    double *x = two_rows(N), l = 0.3, t = 0.1, h = op->step > 0 ? op->step : 1, alpha = middle_order(op);
    snprintf(
        text, sizeof text,
        "model m(x: %s[2,40], a: f64, l: f64, t: f64, h: f64) {\n z = cast(x, f64)\n y = %s\n exact = %s\n"
        " return y, exact\n}\n",
        dtype, frac_text(op, "x", N, "a", "", call[0]), frac_text(op, "z", N, "a", "", call[1]));
    for (FraxTarget target = FRAX_CPU; target <= FRAX_EAGER; target++) {
        Results r =
            run_model(text, &(RunOptions){.target = target}, (const double *[]){x, &alpha, &l, &t, &h});
        for (int i = 0; i < 2 * N; i++) {
            double exact = r.data[1][i];
            if (!(fabs(r.data[0][i] - exact) <=
                  rounding * fabs(exact) + causal_limit * largest_of(r.data[1], 2 * N)))
                fail_msg("%s, %s, %s, element %d: %.9g, expected %.9g", op->name, dtype, target_name(target),
                         i, r.data[0][i], exact);
        }
        free_results(&r);
    }
    free(x);
}

/* Sums and squares go beyond the numbers of f16, the results do not. */
static void test_half_compositions(void **state) {
    (void)state;
    static const char *const bodies[] = {"mean(V + 2, axis=1)", "V - mean(V)",
                                         "var(9 * V)",          "layer_norm(V)",
                                         "rms_norm(V)",         "1000 * softmax(0 * V)",
                                         "log_softmax(V)",      "logsumexp(V + 3, axis=0)",
                                         "norm(V + 2) / 100",   "mse(300 * V, 0 * V) / 9"};
    for (size_t i = 0; i < COUNT(bodies); i++) {
        bool squares =
            strstr(bodies[i], "mse") != NULL; /* 27000, of which a half is too large for 3 times as much */
        check_sum("f16", 3, 70001, bodies[i], squares ? 0x1p-9 : 0x1p-10);
        check_sum("bf16", 3, 70001, bodies[i], 0x1p-6);
    }
}

/* Which element is the maximum is asked in other kernels than found it, of values that are stored, and so
   rounded, or computed again: it stays the maximum, and its slopes add up to 1 in each row. */
static void test_half_extremes(void **state) {
    (void)state;
    enum { N = 140000 };
    static const struct {
        int rows, columns, extremes;
        const char *extreme;
    } cases[] = {{1, N, 1, "max(v, axis=1)"},
                 {N / 2, 2, 2, "min(v, axis=0)"},
                 {2, N / 2, 1, "max(v)"},
                 {3, 5, 3, "max(v, axis=1)"},
                 {40, 50, 50, "min(v, axis=0)"}};
    static const char *const results[] = {"loss", "loss, v", "loss, h"}, *const dtypes[] = {"f16", "bf16"};
    uint64_t seed = 3;
    double *x = malloc(N * sizeof *x);
    assert_non_null(x);
    for (int i = 0; i < N; i++) x[i] = next_uniform(&seed, -1, 1);
    for (size_t i = 0; i < COUNT(cases) * COUNT(results) * COUNT(dtypes); i++) {
        char text[512];
        size_t c = i / COUNT(results) / COUNT(dtypes);
        const char *dtype = dtypes[i % 2];
        int rows = cases[c].rows, columns = cases[c].columns;
        snprintf(text, sizeof text,
                 "model m(x: f32[%d, %d], u: f32[%d, %d]) {\n h = sin(cast(x, %s))\n v = h * (h - 0.3) + "
                 "cast(u, %s)\n"
                 " loss = sum(cast(%s, f32))\n return %s\n}\n",
                 rows, columns, rows, columns, dtype, dtype, cases[c].extreme,
                 results[i / 2 % COUNT(results)]);
        Results r =
            run_model(text, &(RunOptions){.target = FRAX_CPU, .wrt = {"u"}}, (const double *[]){x, x});
        double slopes = 0;
        for (int k = 0; k < rows * columns; k++) slopes += r.data[r.count - 1][k];
        if (!(fabs(slopes - cases[c].extremes) < 0.02 * cases[c].extremes))
            fail_msg("the slopes add up to %g, expected %d\n%s", slopes, cases[c].extremes, text);
        free_results(&r);
    }
    free(x);
}

static void test_half_precision(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        check_half(&operators[i], "bf16", 0x1p-8);
        check_half(&operators[i], "f16", 0x1p-11);
    }
}

static int print_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++)
        print_message("%-28s largest error of f32 against f64 %.2g\n", operators[i].name, worst[i]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single_precision),  cmocka_unit_test(test_single_precision_of_engines),
        cmocka_unit_test(test_half_extremes),     cmocka_unit_test(test_long_sums),
        cmocka_unit_test(test_half_compositions), cmocka_unit_test(test_half_precision),
    };
    return cmocka_run_group_tests(tests, NULL, print_errors);
}
