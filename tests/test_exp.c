/* test_exp.c — the exponential that generated code computes in place, against libm in higher precision: over
 * the whole range, where results leave the normal numbers, and for what is no number. The bound is 2 units in
 * the last place (libmvec, whose call it replaces, promises 4).
 */
#include "base.h"
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const double most_ulps = 2;

/* exp of n values of a dtype in generated code. n is no multiple of any vector, so that the masked rest is
 * met. */
static void run_exp(FraxDType dtype, int64_t n, const void *x, void *y) {
    char text[128];
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    FraxOptions options = frax_default_options();
    FraxSize size = {"N", n};
    options.sizes = &size;
    options.nsizes = 1;
    options.no_cache = 1;
    snprintf(text, sizeof text, "model m(x: %s[N]) {\n y = exp(x)\n return y\n}\n", frax_dtype_name(dtype));
    if (frax_model_parse(text, "exp.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
    if (frax_run(exe, &x, NULL, &y, &err)) fail_msg("%s", err.message);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* |y − exact| in units of the last place of a format with this many digits and least normal exponent. */
static double ulps(long double y, long double exact, int digits, int least_exponent) {
    int exponent;
    frexpl(exact, &exponent);
    if (exponent < least_exponent) exponent = least_exponent;
    return (double)(fabsl(y - exact) / ldexpl(1, exponent - digits));
}

static void exponentials_of_f32(void **state) {
    enum { COUNT_F32 = 4000003 };
    float *x = malloc(COUNT_F32 * sizeof *x), *y = malloc(COUNT_F32 * sizeof *y);
    double worst = 0, worst_at = 0;
    (void)state;
    assert_true(x && y);
    for (int i = 0; i < COUNT_F32; i++) x[i] = (float)(-104 + (88.7 + 104) * i / (COUNT_F32 - 1));
    run_exp(FRAX_F32, COUNT_F32, x, y);
    for (int i = 0; i < COUNT_F32; i++) {
        double error = ulps(y[i], exp((double)x[i]), FLT_MANT_DIG, FLT_MIN_EXP);
        if (!(error <= worst)) worst = error, worst_at = x[i];
    }
    free(x);
    free(y);
    if (!(worst <= most_ulps)) fail_msg("exp(%.9g) in f32 is %.3g ulp wrong", worst_at, worst);
}

static void exponentials_of_f64(void **state) {
    enum { COUNT_F64 = 1000003 };
    double *x = malloc(COUNT_F64 * sizeof *x), *y = malloc(COUNT_F64 * sizeof *y);
    double worst = 0, worst_at = 0;
    (void)state;
    assert_true(x && y);
    for (int i = 0; i < COUNT_F64; i++) x[i] = -745.5 + (709.7 + 745.5) * i / (COUNT_F64 - 1);
    run_exp(FRAX_F64, COUNT_F64, x, y);
    for (int i = 0; i < COUNT_F64; i++) {
        double error = ulps(y[i], expl(x[i]), DBL_MANT_DIG, DBL_MIN_EXP);
        if (!(error <= worst)) worst = error, worst_at = x[i];
    }
    free(x);
    free(y);
    if (!(worst <= most_ulps)) fail_msg("exp(%.17g) in f64 is %.3g ulp wrong", worst_at, worst);
}

/* Small arguments, where 1 + x counts, and the ends of the range. */
static void exponentials_at_the_ends(void **state) {
    const float x[] = {0,       -0.0f,    1e-30f, -1e-9f,  3e-8f,   INFINITY, -INFINITY, NAN, -NAN,
                       FLT_MAX, -FLT_MAX, 88.8f,  -104.1f, -103.9f, -87.5f,   1,         -1};
    double wide[COUNT(x)], wide_y[COUNT(x)];
    float y[COUNT(x)];
    (void)state;
    for (size_t i = 0; i < COUNT(x); i++) wide[i] = x[i];
    run_exp(FRAX_F32, COUNT(x), x, y);
    run_exp(FRAX_F64, COUNT(x), wide, wide_y);
    for (size_t i = 0; i < COUNT(x); i++) {
        if (isnan(x[i])) {
            assert_true(isnan(y[i]) && isnan(wide_y[i]));
            continue;
        }
        float exact = (float)exp((double)x[i]);
        if (isinf(exact) || exact == 0 || exact == 1) assert_true(y[i] == exact);
        assert_true(y[i] == exact || ulps(y[i], exp((double)x[i]), FLT_MANT_DIG, FLT_MIN_EXP) <= most_ulps);
        double exact_wide = exp(wide[i]);
        assert_true(wide_y[i] == exact_wide ||
                    ulps(wide_y[i], expl(wide[i]), DBL_MANT_DIG, DBL_MIN_EXP) <= most_ulps);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exponentials_of_f32),
        cmocka_unit_test(exponentials_of_f64),
        cmocka_unit_test(exponentials_at_the_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
