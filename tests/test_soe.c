/* test_soe.c — engine=soe against the exact convolution by transforms: result and gradients in x and alpha
 * within the tolerance asked for, up to a million samples.
 *
 * Every weight is within tol of its value, relatively, so that results are compared relative to their largest
 * element. The loss is Σ y²/2; its gradient in alpha is an inner product of y with something of y's size, and
 * is compared to that.
 */
#include "operator_samples.h"
#include <stdio.h>

typedef struct Case {
    const Operator *op;
    double alpha;
    int64_t n;
} Case;

static double largest_ratio; /* of an error to its tolerance */

/* loss, y, the gradients in x and in alpha */
static Results run_engine(const Case *c, const char *engine, const double *x, FraxTarget target) {
    char call[256], text[512];
    double l = 1e-4, t = 0, h = 0.5;
    snprintf(text, sizeof text,
             "model m(x: f64[%lld], a: f64, l: f64, t: f64, h: f64) {\n y = %s\n loss = sum(y^2) / 2\n "
             "return loss, y\n}\n",
             (long long)c->n, frac_text(c->op, "x", c->n, "a", engine, call));
    return run_model(text, &(RunOptions){target, {"x", "a"}}, (const double *[]){x, &c->alpha, &l, &t, &h});
}

static double *noise(int64_t n) {
    uint64_t seed = 11;
    return draw_array(&(Shape){1, {n}}, -1, 1, &seed);
}

/* Of result i. */
static double error_of(const Results *r, const Results *exact, size_t i) {
    double error = relative_error(r->data[i], exact->data[i], r->size[i]);
    if (i < 3) return error;
    return error * fabs(exact->data[3][0]) / fmax(fabs(exact->data[3][0]), 2 * exact->data[0][0]);
}

static int count_failures(const Case *c, double tol, const double *x, const Results *exact,
                          FraxTarget target) {
    static const char *const names[] = {"loss", "y", "gradient in x", "gradient in alpha"};
    char engine[64];
    int wrong = 0;
    snprintf(engine, sizeof engine, ", engine=soe, tol=%g", tol);
    Results r = run_engine(c, engine, x, target);
    for (size_t i = 1; i < 4; i++) {
        double error = error_of(&r, exact, i);
        largest_ratio = fmax(largest_ratio, error / tol);
        if (error <= tol) continue;
        wrong++;
        print_error("%s, %s, alpha %g, %lld samples, tol %g: %s has the error %.3g\n", target_name(target),
                    c->op->name, c->alpha, (long long)c->n, tol, names[i], error);
    }
    free_results(&r);
    return wrong;
}

static const double tolerances[] = {1e-4, 1e-6, 1e-8, 1e-10};

/* All tolerances, compiled; the last one eager as well if `eager`. */
static int check_case(const Case *c, bool eager) {
    double *x = noise(c->n);
    int wrong = 0;
    Results exact = run_engine(c, ", engine=fft", x, FRAX_EAGER);
    for (size_t i = 0; i < COUNT(tolerances); i++)
        wrong += count_failures(c, tolerances[i], x, &exact, FRAX_CPU);
    if (eager) wrong += count_failures(c, tolerances[3], x, &exact, FRAX_EAGER);
    free_results(&exact);
    free(x);
    return wrong;
}

static int check_order(const Case *c, FraxTarget target) {
    double *x = noise(c->n);
    Results exact = run_engine(c, ", engine=fft", x, FRAX_EAGER);
    int wrong = count_failures(c, 1e-8, x, &exact, target);
    free_results(&exact);
    free(x);
    return wrong;
}

static void test_lengths_and_tolerances(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double alpha;
    } rows[] = {{"grunwald", 0.5}, {"caputo l1", 0.6}};
    int wrong = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int64_t n = 1000; n <= 100000; n *= 10)
            wrong += check_case(&(Case){find_operator(rows[i].name), rows[i].alpha, n}, n == 1000);
    assert_int_equal(wrong, 0);
}

static void test_a_million_samples(void **state) {
    (void)state;
    assert_int_equal(check_case(&(Case){find_operator("grunwald"), 0.5, 1000000}, false), 0);
}

/* Every kind that has the engine, over its range of orders. */
static void test_kinds_and_orders(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double alphas[4];
    } rows[] = {
        {"grunwald", {-0.9, 0.05, 0.95, 1.9}},
        {"hadamard", {-0.5, 0.3, 0.7, 1.5}},
        {"tempered causal", {-0.5, 0.2, 0.8, 1.5}},
        {"tempered causal centered", {0.2, 0.5, 0.8, 1.5}},
        {"riemann_liouville gl", {-0.7, 0.4, 1, 2}},
        {"riemann_liouville bdf2", {-0.9, 0.1, 0.9, 1.7}},
        {"caputo l1", {0.05, 0.3, 0.8, 1}},
        {"caputo l2", {1.05, 1.3, 1.8, 2}},
        {"caputo gl", {0.05, 0.5, 0.9, 1.6}},
        {"integral gl", {0.05, 0.3, 0.6, 0.95}},
        {"integral rectangle", {0.05, 0.3, 0.6, 0.95}},
        {"integral trapezoid", {0.05, 0.3, 0.6, 0.95}},
    };
    int wrong = 0;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int k = 0; k < 4; k++)
            wrong += check_order(&(Case){find_operator(rows[i].name), rows[i].alphas[k], 3000},
                                 k == 1 ? FRAX_CPU : FRAX_EAGER);
    assert_int_equal(wrong, 0);
}

static int print_ratio(void **state) {
    (void)state;
    print_message("largest error in units of its tolerance: %.2g\n", largest_ratio);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths_and_tolerances),
        cmocka_unit_test(test_a_million_samples),
        cmocka_unit_test(test_kinds_and_orders),
    };
    return cmocka_run_group_tests(tests, NULL, print_ratio);
}
