/* test_domain.c — orders and other parameters outside the domain of a kind or scheme.
 *
 * A constant one does not compile, and the fault points at the argument; one that is known only at run time
 * fails the run with FRAX_VALUE and a message that says which value left its range. Ends of a domain that
 * belong to it run and give finite results.
 */
#include "public_run.h"
#include <math.h>
#include <stdio.h>

typedef struct Domain {
    const char *options;
    double inside[2], outside[3]; /* orders; NAN ends */
} Domain;

static const Domain domains[] = {
    {"kind=riesz_feller", {0, 2}, {-0.01, 2.01, -1}},
    {"kind=riemann_liouville, scheme=bdf2", {-6, 3}, {-6.01, -9, NAN}},
    {"kind=caputo, scheme=l1", {0.01, 1}, {0, -0.3, 1.01}},
    {"kind=caputo, scheme=l1_2", {0.01, 1}, {0, -0.3, 1.01}},
    {"kind=caputo, scheme=l2", {1.01, 2}, {1, 0.5, 2.01}},
    {"kind=caputo, scheme=gl", {0.01, 2}, {0, -0.5, 2.01}},
    {"kind=caputo, times=iota(5, f64)", {0.01, 1}, {0, -0.3, 1.01}},
    {"kind=integral, scheme=trapezoid", {0.01, 30}, {0, -0.5, 30.01}},
    {"kind=integral, scheme=rectangle", {0.01, 30}, {0, -0.5, 30.01}},
    {"kind=integral, scheme=gl", {0.01, 150}, {0, -0.5, NAN}},
    {"kind=caputo_fabrizio", {0.01, 0.99}, {0, 1, 1.5}},
    {"kind=atangana_baleanu", {0.01, 0.99}, {0, 1, 1.5}},
    {"kind=mellin", {-3, 4.9}, {5, 7, NAN}},
};

static const double signal[5] = {1, -0.5, 2, 0.25, -1};

/* The result of running y = call, of x and the scalar v. */
static FraxStatus run_call(const char *call, double v, FraxTarget target, double y[5], FraxError *err) {
    char text[300];
    Results r;
    snprintf(text, sizeof text, "model m(x: f64[5], v: f64) {\n y = %s\n return y\n}\n", call);
    FraxStatus status =
        try_model(text, &(RunOptions){.target = target}, (const double *[]){signal, &v}, &r, err);
    if (!status) memcpy(y, r.data[0], sizeof signal);
    free_results(&r);
    return status;
}

/* The fault stands in the second line of the text, at the end of `before` in the call. */
static void expect_fault_after(const char *call, const char *before, FraxStatus status,
                               const FraxError *err) {
    int column = 6 + (int)(strstr(call, before) - call) + (int)strlen(before);
    if (status != FRAX_VALUE || err->line != 2 || err->column != column)
        fail_msg("%s: status %s at %d:%d, expected a value outside its domain at 2:%d\n%s", call,
                 frax_status_string(status), err->line, err->column, column, status ? err->message : "");
}

static void test_constant_orders(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(domains); i++) {
        char call[200], number[40];
        FraxError err;
        double y[5];
        for (int k = 0; k < 2; k++) {
            snprintf(call, sizeof call, "frac(x, %.17g, %s)", domains[i].inside[k], domains[i].options);
            if (run_call(call, 0, FRAX_REFERENCE, y, &err)) fail_msg("%s: %s", call, err.message);
            for (int n = 0; n < 5; n++)
                if (!isfinite(y[n])) fail_msg("%s: sample %d is %g", call, n, y[n]);
        }
        for (int k = 0; k < 3 && !isnan(domains[i].outside[k]); k++) {
            snprintf(number, sizeof number, "%.17g", domains[i].outside[k]);
            snprintf(call, sizeof call, "frac(x, %s, %s)", number, domains[i].options);
            expect_fault_after(call, "x, ", run_call(call, 0, FRAX_REFERENCE, y, &err), &err);
        }
    }
}

/* The same orders, known only at run time. */
static void test_orders_at_run_time(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(domains); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
            char call[200];
            FraxError err;
            double y[5];
            snprintf(call, sizeof call, "frac(x, v, %s)", domains[i].options);
            for (int k = 0; k < 2; k++)
                if (run_call(call, domains[i].inside[k], target, y, &err))
                    fail_msg("%s, %s, %g: %s", target_name(target), call, domains[i].inside[k], err.message);
            for (int k = 0; k < 3 && !isnan(domains[i].outside[k]); k++) {
                FraxStatus status = run_call(call, domains[i].outside[k], target, y, &err);
                if (status != FRAX_VALUE || !strstr(err.message, "alpha"))
                    fail_msg("%s, %s, %g: %s, %s", target_name(target), call, domains[i].outside[k],
                             frax_status_string(status), status ? err.message : "no error");
            }
            FraxStatus status = run_call(call, NAN, target, y, &err);
            if (status != FRAX_VALUE) fail_msg("%s, NaN: %s", call, frax_status_string(status));
        }
}

/* The largest order of the schemes whose weights are differences of powers, on a long signal. */
static void test_largest_power(void **state) {
    (void)state;
    static const char *const schemes[] = {"trapezoid", "rectangle"};
    for (size_t i = 0; i < COUNT(schemes); i++) {
        char call[200];
        FraxError err;
        double y[5];
        snprintf(call, sizeof call,
                 "frac(concat([x, zeros([99995], f64)]), v, kind=integral, scheme=%s, engine=fft)[-5:]",
                 schemes[i]);
        if (run_call(call, 30, FRAX_CPU, y, &err)) fail_msg("%s: %s", call, err.message);
        for (int n = 0; n < 5; n++)
            if (!isfinite(y[n]) || y[n] == 0) fail_msg("%s: sample %d is %g", call, n, y[n]);
    }
}

/* One order of several is out of range: the message names its value. */
static void test_one_order_of_many(void **state) {
    (void)state;
    double orders[3] = {0.5, 1.25, 0.25}, x[15] = {0};
    for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
        Results r;
        FraxError err;
        FraxStatus status = try_model(
            "model m(x: f64[3,5], a: f64[3]) {\n y = frac(x, a[:, none], kind=caputo)\n return y\n}\n",
            &(RunOptions){.target = target}, (const double *[]){x, orders}, &r, &err);
        if (status != FRAX_VALUE || !strstr(err.message, "1.25"))
            fail_msg("%s: %s, %s", target_name(target), frax_status_string(status),
                     status ? err.message : "");
    }
}

/* Kinds of any order take none that is not finite. */
static void test_orders_are_finite(void **state) {
    (void)state;
    static const char *const kinds[] = {"weyl",
                                        "riesz",
                                        "laplacian",
                                        "tempered",
                                        "tempered, causal=true",
                                        "hadamard",
                                        "grunwald",
                                        "riemann_liouville",
                                        "riemann_liouville, scheme=bdf2"};
    static const char *const constants[] = {"0/0", "1/0", "-1/0"};
    const double values[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < COUNT(kinds); i++)
        for (size_t k = 0; k < COUNT(values); k++) {
            char call[200];
            FraxError err;
            double y[5];
            snprintf(call, sizeof call, "frac(x, full([], %s), kind=%s)", constants[k], kinds[i]);
            FraxStatus status = run_call(call, 0, FRAX_REFERENCE, y, &err);
            if (status != FRAX_VALUE) fail_msg("%s: %s", call, frax_status_string(status));
            snprintf(call, sizeof call, "frac(x, v, kind=%s)", kinds[i]);
            for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
                status = run_call(call, values[k], target, y, &err);
                if (status != FRAX_VALUE || !strstr(err.message, "alpha"))
                    fail_msg("%s, %g: %s", call, values[k], frax_status_string(status));
            }
        }
}

/* A symbol that is not finite on the grid, whether it depends on inputs or not; poles beside it do not count.
 */
static void test_symbols_are_finite(void **state) {
    (void)state;
    static const char *const outside[] = {"w => 1/w", "w => v/w", "w => (1, log(v*w))"};
    for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
        char call[200];
        FraxError err;
        double y[5];
        for (size_t i = 0; i < COUNT(outside); i++) {
            snprintf(call, sizeof call, "spectral_filter(x, %s)", outside[i]);
            FraxStatus status = run_call(call, 1, target, y, &err);
            if (status != FRAX_VALUE || !strstr(err.message, "spectral_filter: the ") ||
                !strstr(err.message, "element 0"))
                fail_msg("%s, %s: %s, %s", target_name(target), call, frax_status_string(status),
                         status ? err.message : "no error");
        }
        if (run_call("spectral_filter(x, w => 1/(w - 1), step=v)", 1, target, y, &err))
            fail_msg("a pole beside the grid: %s", err.message);
    }
}

/* Other parameters, as numbers and at run time. */
static void test_other_parameters(void **state) {
    (void)state;
    static const struct {
        const char *call, *name; /* %s: the value */
        double value;
    } rows[] = {
        {"frac(x, 0.5, kind=weyl, step=%s)", "step", 0},
        {"frac(x, 0.5, kind=grunwald, step=%s)", "step", -1},
        {"frac(x, 0.5, kind=tempered, lambda=%s)", "lambda", -0.5},
        {"frac(x, 0.5, kind=tempered, causal=true, lambda=%s)", "lambda", -0.5},
        {"frac(x, 0.5, kind=riesz_feller, theta=%s)", "theta", 0.625},
        {"frac(x, 1.75, kind=riesz_feller, theta=%s)", "theta", -0.375},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        char call[200], number[40], before[40];
        FraxError err;
        double y[5];
        snprintf(before, sizeof before, "%s=", rows[i].name);
        snprintf(number, sizeof number, "%g", rows[i].value);
        snprintf(call, sizeof call, rows[i].call, number);
        FraxStatus status = run_call(call, 0, FRAX_REFERENCE, y, &err);
        expect_fault_after(call, before, status, &err);
        snprintf(call, sizeof call, rows[i].call, "v");
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
            status = run_call(call, rows[i].value, target, y, &err);
            if (status != FRAX_VALUE || !strstr(err.message, rows[i].name))
                fail_msg("%s, %s, %g: %s, %s", target_name(target), call, rows[i].value,
                         frax_status_string(status), status ? err.message : "no error");
        }
    }
}

static void test_times_must_increase(void **state) {
    (void)state;
    double t[5] = {0, 1, 2, 2, 3}, alpha = 0.5;
    for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
        Results r;
        FraxError err;
        FraxStatus status = try_model(
            "model m(x: f64[5], t: f64[5], a: f64) {\n y = frac(x, a, kind=caputo, times=t)\n return y\n}\n",
            &(RunOptions){.target = target}, (const double *[]){signal, t, &alpha}, &r, &err);
        if (status != FRAX_VALUE || !strstr(err.message, "times"))
            fail_msg("%s: %s, %s", target_name(target), frax_status_string(status),
                     status ? err.message : "");
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constant_orders),    cmocka_unit_test(test_orders_at_run_time),
        cmocka_unit_test(test_largest_power),      cmocka_unit_test(test_orders_are_finite),
        cmocka_unit_test(test_symbols_are_finite), cmocka_unit_test(test_one_order_of_many),
        cmocka_unit_test(test_other_parameters),   cmocka_unit_test(test_times_must_increase),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
