/* test_laws.c — the laws of fractional operators, as properties of every row of operators.h over random
 * signals, orders, shapes, axes and layouts.
 *
 * FRAX_SEED starts another sequence of samples. At the end the largest error of each operator against its
 * definition is printed.
 */
#include "operator_samples.h"
#include "model_run.h"
#include <stdio.h>

static uint64_t first_seed(void) {
    const char *given = getenv("FRAX_SEED");
    return given ? strtoull(given, NULL, 10) : 1;
}

static uint64_t seed;
static double worst[COUNT(operators)];

static const int64_t lengths[] = {1, 2, 3, 4, 5, 7, 8, 12, 13, 16, 31, 33};

static void expect_small(double error, double tolerance, const Sample *s, const char *what) {
    char shape[160];
    if (!(error <= tolerance))
        fail_msg("%s, z %s, axes %#x, orders of rank %d, a = %.17g, h = %.17g: %s: error %.3g, allowed %.3g",
                 s->op->name, shape_text(&s->shape, shape), s->axes, s->orders.rank, s->a[0], s->h, what,
                 error, tolerance);
}

/* Runs a check on every operator that has the traits, with samples of each length. */
static void for_each_sample(unsigned traits, void (*check)(const Sample *s)) {
    for (size_t i = 0; i < COUNT(operators); i++)
        for (size_t k = 0; k < COUNT(lengths); k++) {
            if ((operators[i].traits & traits) != traits) continue;
            Sample s = draw_sample(&operators[i], lengths[k], &seed);
            check(&s);
            free_sample(&s);
        }
}

/* ---- Definition ---- */

static void expect_definition(const Sample *s, FraxTarget target, const char *extra, const double *z,
                              const double *expected) {
    char call[256], body[300];
    snprintf(body, sizeof body, "y = %s\n return y", sample_call(s, "z", "a", extra, call));
    Results r = run_sample(s, body, &(RunOptions){.target = target}, z);
    double error = relative_error(r.data[0], expected, r.size[0]);
    worst[s->op - operators] = fmax(worst[s->op - operators], error);
    expect_small(error, 1e-12, s, target_name(target));
    free_results(&r);
}

static void check_definition(const Sample *s) {
    double *expected = expected_result(s, s->z);
    expect_definition(s, FRAX_REFERENCE, "", s->z, expected);
    expect_definition(s, FRAX_EAGER, "", s->z, expected);
    free(expected);
}

static void test_definition(void **state) {
    (void)state;
    for_each_sample(0, check_definition);
}

/* Compiling takes a while: three lengths. */
static void test_definition_compiled(void **state) {
    (void)state;
    static const int64_t few[] = {1, 6, 31};
    for (size_t i = 0; i < COUNT(operators); i++)
        for (size_t k = 0; k < COUNT(few); k++) {
            Sample s = draw_sample(&operators[i], few[k], &seed);
            double *expected = expected_result(&s, s.z);
            expect_definition(&s, FRAX_CPU, "", s.z, expected);
            free(expected);
            free_sample(&s);
        }
}

/* The response to an impulse at each place is a column of the operator: its weights, and at the first places
   whatever the scheme does at its boundary. */
static void test_impulse_response(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        Sample s = draw_sample(&operators[i], 9, &seed);
        int64_t n = shape_size(&s.shape);
        for (int64_t at = 0; at < n; at += 1 + n / 12) {
            double *impulse = calloc((size_t)n, sizeof *impulse);
            assert_non_null(impulse);
            impulse[at] = 1;
            double *expected = expected_result(&s, impulse);
            expect_definition(&s, FRAX_REFERENCE, "", impulse, expected);
            free(expected);
            free(impulse);
        }
        free_sample(&s);
    }
}

/* ---- Linearity and shifts ---- */

static void check_linearity(const Sample *s) {
    char call[3][256], body[800];
    snprintf(body, sizeof body, "u = %s\n v = %s\n w = %s\n y = 2.5*u - 1.5*v\n return w, y",
             sample_call(s, "z", "a", "", call[0]), sample_call(s, "g", "a", "", call[1]),
             sample_call(s, "2.5*z - 1.5*g", "a", "", call[2]));
    Results r = run_sample(s, body, &(RunOptions){.target = FRAX_REFERENCE}, s->z);
    expect_small(relative_error(r.data[0], r.data[1], r.size[0]), 1e-12, s, "linearity");
    free_results(&r);
}

static void test_linearity(void **state) {
    (void)state;
    for_each_sample(0, check_linearity);
}

/* z moved by `shift` samples along the last of the axes: around, or with zeros coming in. */
static double *shifted(const Sample *s, const double *z, int64_t shift, bool around) {
    int64_t n = s->shape.dims[s->axis], strides[MAX_RANK], total = shape_size(&s->shape);
    double *moved = calloc((size_t)total + 1, sizeof *moved);
    assert_non_null(moved);
    shape_strides(&s->shape, strides);
    for (int64_t i = 0; i < total; i++) {
        int64_t at = i / strides[s->axis] % n, to = around ? (at + shift) % n : at + shift;
        if (to < n) moved[i + (to - at) * strides[s->axis]] = z[i];
    }
    return moved;
}

static void check_shift(const Sample *s) {
    char call[256], body[300];
    int64_t n = s->shape.dims[s->axis], shift = 1 + (int64_t)(next_random(&seed) % 5);
    bool around = s->op->symbol != NULL;
    double *z = s->z, *rested = NULL;
    if (!around) z = rested = shifted(s, s->z, s->op->rest, false);
    snprintf(body, sizeof body, "y = %s\n return y", sample_call(s, "z", "a", "", call));
    RunOptions options = {.target = FRAX_REFERENCE};
    Results r = run_sample(s, body, &options, z);
    double *moved = shifted(s, z, shift % n, around), *expected = shifted(s, r.data[0], shift % n, around);
    Results m = run_sample(s, body, &options, moved);
    expect_small(relative_error(m.data[0], expected, m.size[0]), 1e-12, s, "shift");
    free_results(&r);
    free_results(&m);
    free(moved);
    free(expected);
    free(rested);
}

static void test_shift_equivariance(void **state) {
    (void)state;
    for_each_sample(0, check_shift);
}

/* ---- Adjoint ---- */

static double dot_product(const double *a, const double *b, int64_t n) {
    Real sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (Real)a[i] * b[i];
    return (double)sum;
}

/* ⟨Dz, g⟩ = ⟨x, D*g⟩, where D*g is the gradient of the left side in x as it is stored. */
static void expect_adjoint(const Sample *s, FraxTarget target) {
    char call[256], body[300];
    double *x = stored_signal(s, s->z);
    snprintf(body, sizeof body, "y = %s\n loss = sum(y * g)\n return loss, y",
             sample_call(s, "z", "a", "", call));
    Results r = run_sample(s, body, &(RunOptions){.target = target, .wrt = {"x"}}, s->z);
    int64_t n = r.size[1], stored = r.size[2];
    double left = dot_product(r.data[1], s->g, n), right = dot_product(x, r.data[2], stored),
           size = sqrt(dot_product(r.data[1], r.data[1], n) * dot_product(s->g, s->g, n)) +
                  sqrt(dot_product(s->z, s->z, n) * dot_product(r.data[2], r.data[2], stored));
    expect_small(fabs(left - right) / fmax(size, 1e-300), 1e-13, s, "adjoint");
    free_results(&r);
    free(x);
}

static void check_adjoint(const Sample *s) {
    expect_adjoint(s, FRAX_REFERENCE);
    expect_adjoint(s, FRAX_EAGER);
}

static void test_adjoint(void **state) {
    (void)state;
    for_each_sample(0, check_adjoint);
}

static void test_adjoint_compiled(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        Sample s = draw_sample(&operators[i], 21, &seed);
        expect_adjoint(&s, FRAX_CPU);
        free_sample(&s);
    }
}

/* ---- Orders ---- */

/* D^a D^{0.4a} = D^{1.4a}; an even number of points has a Nyquist frequency, where it does not hold. */
static void check_semigroup(const Sample *s) {
    char inner[256], outer[256], both[256], body[600];
    for (int i = 0; i < s->shape.rank && s->op->symbol; i++)
        if (s->axes >> i & 1 && s->shape.dims[i] % 2 == 0) return;
    snprintf(body, sizeof body, "u = %s\n v = %s\n y = %s\n return v, y",
             sample_call(s, "z", "0.4*a", "", inner), sample_call(s, "u", "a", "", outer),
             sample_call(s, "z", "1.4*a", "", both));
    Results r = run_sample(s, body, &(RunOptions){.target = FRAX_REFERENCE}, s->z);
    expect_small(relative_error(r.data[0], r.data[1], r.size[0]), 1e-12, s, "semigroup");
    free_results(&r);
}

static void test_semigroup(void **state) {
    (void)state;
    for_each_sample(SEMIGROUP, check_semigroup);
}

static void check_identity(const Sample *s) {
    char call[256], body[300];
    snprintf(body, sizeof body, "y = %s\n return y", sample_call(s, "z", "0*a", "", call));
    Results r = run_sample(s, body, &(RunOptions){.target = FRAX_REFERENCE}, s->z);
    expect_small(relative_error(r.data[0], s->z, r.size[0]), 1e-14, s, "order 0");
    free_results(&r);
}

static void test_order_zero_is_the_identity(void **state) {
    (void)state;
    for_each_sample(IDENTITY, check_identity);
}

/* ---- Derivatives ---- */

static Graph *derivatives_of_operator(const Operator *op, const char *x, const char *orders) {
    char text[512], call[256];
    const char *other = op->traits & LAMBDA ? "l" : op->traits & THETA ? "t" : NULL;
    snprintf(
        text, sizeof text,
        "model m(x: f64%s, a0: f64%s, h0: f64%s%s%s%s) {\n a = %.17g + %.17g * a0\n h = %.17g * (0.5 + h0)\n"
        " y = %s\n return y\n}\n",
        x, orders, other ? ", " : "", other ? other : "", other ? "0: f64" : "", other ? orders : "", op->lo,
        op->hi - op->lo, op->step > 0 ? op->step : 1, frac_text(op, "x", "a", "", call));
    if (other) {
        char *at = strstr(text, "\n y = "), rest[300];
        snprintf(rest, sizeof rest, "%s", at);
        snprintf(at, sizeof text - (size_t)(at - text), "\n %s = %s%s0%s", other,
                 op->traits & LAMBDA ? "0.2 + " : "0.4 * (", other, op->traits & LAMBDA ? "" : " - 0.5)");
        strncat(text, rest, sizeof text - strlen(text) - 1);
    }
    Graph *g = lower_text(text, NULL);
    append_derivatives(g, (int)g->ninputs, op->name);
    return g;
}

/* In x, order, step, lambda and theta together, first and second order, along random directions. */
static void test_derivatives(void **state) {
    (void)state;
    static const char *const shapes[][2] = {
        {"[1]", ""}, {"[6]", ""}, {"[2,7]", "[2,1]"}, {"[3,2,4]", "[2,1]"}};
    for (size_t i = 0; i < COUNT(operators); i++)
        for (size_t k = 0; k < COUNT(shapes); k++) {
            Graph *g = derivatives_of_operator(&operators[i], shapes[k][0], shapes[k][1]);
            size_t inputs = (g->ninputs - 1) / 3; /* x…, v…, u…, ct */
            Function f = {.name = operators[i].name, .n = (int)inputs, .lo = 0.1, .hi = 0.9};
            compare_derivatives(g, &f, next_random(&seed));
            graph_destroy(g);
        }
}

/* ---- Engines ---- */

static const char *const engine_options[] = {", engine=direct", ", engine=fft", ""};

/* y and its gradients, of all engines in one model. */
static void expect_engines_agree(const Operator *op, int64_t n) {
    Sample s = draw_sample(op, n, &seed);
    s.layout = DENSE;
    s.stored = s.shape;
    double *first[4] = {NULL};
    for (size_t e = 0; e < COUNT(engine_options); e++) {
        char call[256], body[300];
        snprintf(body, sizeof body, "y = %s\n loss = sum(y * g)\n return loss, y",
                 sample_call(&s, "z", "a", engine_options[e], call));
        Results r = run_sample(&s, body, &(RunOptions){.target = FRAX_CPU, .wrt = {"x", "a", "h"}}, s.z);
        for (size_t i = 1; i < r.count; i++) {
            if (e)
                expect_small(relative_error(r.data[i], first[i - 1], r.size[i]), 1e-12, &s,
                             engine_options[e]);
            if (e)
                free(r.data[i]);
            else
                first[i - 1] = r.data[i];
        }
        free(r.data[0]);
    }
    for (int i = 0; i < 4; i++) free(first[i]);
    free_sample(&s);
}

static void test_engines_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        if (!(operators[i].traits & ENGINES)) continue;
        expect_engines_agree(&operators[i], 45);
        expect_engines_agree(&operators[i], 700);
    }
}

static int print_errors(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++)
        print_message("%-28s largest error against the definition %.2g\n", operators[i].name, worst[i]);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_definition),
        cmocka_unit_test(test_definition_compiled),
        cmocka_unit_test(test_impulse_response),
        cmocka_unit_test(test_linearity),
        cmocka_unit_test(test_shift_equivariance),
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_adjoint_compiled),
        cmocka_unit_test(test_semigroup),
        cmocka_unit_test(test_order_zero_is_the_identity),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_engines_agree),
    };
    seed = first_seed();
    print_message("FRAX_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, print_errors);
}
