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
                 s->op->name, shape_text(&s->shape, shape), s->axes, s->orders.rank, s->a[0], s->h[0], what,
                 error, tolerance);
}

/* Runs a check on every operator that has some traits and lacks others, with samples of each length. */
static void for_each_sample(unsigned with, unsigned without, void (*check)(const Sample *s)) {
    for (size_t i = 0; i < COUNT(operators); i++)
        for (size_t k = 0; k < COUNT(lengths); k++) {
            unsigned traits = operators[i].traits;
            if ((traits & with) != with || traits & without) continue;
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
    for_each_sample(0, 0, check_definition);
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
    for_each_sample(0, INITIAL_SLOPE, check_linearity);
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
    for_each_sample(0, INITIAL_SLOPE | TIMES, check_shift);
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
    for_each_sample(0, INITIAL_SLOPE, check_adjoint);
}

static void test_adjoint_compiled(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        if (operators[i].traits & INITIAL_SLOPE) continue;
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
    for_each_sample(SEMIGROUP, 0, check_semigroup);
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
    for_each_sample(IDENTITY, 0, check_identity);
}

/* ---- Orders where formulas have poles or ends ---- */

/* One row, n points, order a, λ = 0, without a mean: 0^α has no derivative in α at α = 0. */
static Sample plain_sample(const Operator *op, int64_t n, double a) {
    Sample s = {.op = op, .shape = {1, {n}}, .stored = {1, {n}}, .axes = 1};
    double mean = 0, step = op->step > 0 ? op->step : 1;
    s.z = draw_array(&s.shape, -1, 1, &seed);
    s.g = draw_array(&s.shape, -1, 1, &seed);
    s.a = draw_array(&s.orders, a, a, &seed);
    s.l = draw_array(&s.orders, 0, 0, &seed);
    s.t = draw_array(&s.orders, 0, 0, &seed);
    s.h = draw_array(&s.orders, step, step, &seed);
    for (int64_t i = 0; i < n; i++) mean += s.z[i] / (double)n;
    for (int64_t i = 0; i < n; i++) s.z[i] -= mean;
    return s;
}

/* ⟨g, ∂y/∂α⟩ by differences of the definition, fourth order. */
static double slope_of_definition(Sample *s) {
    const double a = s->a[0], step = 1e-3, weights[] = {1, -8, 8, -1}, at[] = {-2, -1, 1, 2};
    double sum = 0;
    for (int k = 0; k < 4; k++) {
        s->a[0] = a + at[k] * step;
        double *y = expected_result(s, s->z);
        sum += weights[k] / (12 * step) * dot_product(y, s->g, shape_size(&s->shape));
        free(y);
    }
    s->a[0] = a;
    return sum;
}

static void check_order(const Operator *op, double a, bool inside) {
    Sample s = plain_sample(op, 15, a);
    char call[256], body[300];
    double *expected = expected_result(&s, s.z), size = largest_of(expected, 15);
    snprintf(body, sizeof body, "y = %s\n loss = sum(y * g)\n return loss, y",
             sample_call(&s, "z", "a", "", call));
    Results r = run_sample(&s, body, &(RunOptions){.target = FRAX_REFERENCE, .wrt = {"x", "a", "h"}}, s.z);
    expect_small(relative_error(r.data[1], expected, 15), 1e-12, &s, "definition");
    for (int i = 0; i < 15; i++) assert_true(isfinite(r.data[2][i]));
    assert_true(isfinite(r.data[3][0]) && isfinite(r.data[4][0]));
    /* the stencil's error is some 1e-10 */
    double slope = inside ? slope_of_definition(&s) : 0;
    if (inside)
        expect_small(fabs(r.data[3][0] - slope) / fmax(1, fmax(size, fabs(slope))), 1e-8, &s,
                     "slope in the order");
    free_results(&r);
    free(expected);
    free_sample(&s);
}

/* Whole orders, and the ends of the orders' ranges, with gradients; λ = 0 makes tempered kinds others. */
static void test_special_orders(void **state) {
    (void)state;
    static const struct {
        const char *name;
        double inside[5], ends[2]; /* NAN: no more */
    } rows[] = {
        {"weyl", {-2, -1, 1, 2, 3}, {NAN, NAN}},
        {"riesz", {-2, -1, 1, 2, 3}, {NAN, NAN}},
        {"laplacian", {-2, -1, 1, 2, 3}, {NAN, NAN}},
        {"tempered", {-2, -1, 1, 2, 3}, {NAN, NAN}},
        {"mellin", {-2, -1, 1, 2, 3}, {0, NAN}},
        {"riesz_feller", {0.5, 1, 1.5, NAN}, {0, 2}},
        {"grunwald", {-2, -1, 0, 1, 2}, {3, NAN}},
        {"tempered causal", {-2, -1, 0, 1, 2}, {3, NAN}},
        {"riemann_liouville bdf2", {-2, -1, 0, 1, 2}, {-6, NAN}},
        {"caputo l1", {0.01, NAN}, {1, NAN}},
        {"caputo l1 on times", {0.01, NAN}, {1, NAN}},
        {"caputo l2", {1.01, NAN}, {2, NAN}},
        {"caputo gl", {0.5, 1, 1.5, NAN}, {2, NAN}},
        {"integral gl", {1, 2, 3, 4, NAN}, {NAN, NAN}},
        {"integral rectangle", {1, 2, 3, 4, NAN}, {NAN, NAN}},
        {"integral trapezoid", {1, 2, 3, 4, NAN}, {NAN, NAN}},
        {"caputo_fabrizio", {0.01, 0.99, NAN}, {1e-6, NAN}},
        {"atangana_baleanu", {0.01, 0.7, NAN}, {NAN, NAN}},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        const Operator *op = find_operator(rows[i].name);
        for (int k = 0; k < 5 && !isnan(rows[i].inside[k]); k++) check_order(op, rows[i].inside[k], true);
        for (int k = 0; k < 2 && !isnan(rows[i].ends[k]); k++) check_order(op, rows[i].ends[k], false);
    }
}

static double limit_at(enum Limit limit, const double *x, int n, int i) {
    double mean = 0;
    for (int k = 0; k < n; k++) mean += x[k] / n;
    switch (limit) {
    case LESS_MEAN: return x[i] - mean;
    case LESS_FIRST: return x[i] - x[0];
    case SAME_BUT_FIRST: return i ? x[i] : 0;
    case PREVIOUS: return i ? x[i - 1] : 0;
    case DIFFERENCE: return i ? x[i] - x[i - 1] : 0;
    default: return x[i];
    }
}

/* Just above the end of the orders, 0 or 1 for l2, whose step is 1; weights change there like order · ln 9.
 */
static void test_orders_tend_to_the_identity(void **state) {
    (void)state;
    enum { N = 9 };
    double x[N], l = 0.7, t = 0;
    for (int i = 0; i < N; i++) x[i] = next_uniform(&seed, -1, 1);
    for (size_t i = 0; i < COUNT(operators); i++) {
        const Operator *op = &operators[i];
        char call[256], text[512];
        double a = 1e-9 + (op->limit == DIFFERENCE), h = 1;
        if (op->limit == NO_LIMIT) continue;
        snprintf(text, sizeof text,
                 "model m(x: f64[9], a: f64, l: f64, t: f64, h: f64) {\n y = %s\n return y\n}\n",
                 frac_text(op, "x", N, "a", "", call));
        Results r =
            run_model(text, &(RunOptions){.target = FRAX_REFERENCE}, (const double *[]){x, &a, &l, &t, &h});
        for (int k = 0; k < N; k++)
            if (!(fabs(r.data[0][k] - limit_at(op->limit, x, N, k)) < 1e-8))
                fail_msg("%s of order 1e-9, sample %d: %.17g, expected %.17g", op->name, k, r.data[0][k],
                         limit_at(op->limit, x, N, k));
        free_results(&r);
    }
}

/* At whole orders m: h^{−m} Σ c_k x_{n−k}, exactly; the Caputo kinds come from below and start from 0. */
static void test_whole_orders(void **state) {
    (void)state;
    enum { N = 12 };
    static const struct {
        const char *options;
        double order, c[3], tolerance; /* relative to the largest result: rounding, or the distance from m */
    } rows[] = {
        {"kind=grunwald", 1, {1, -1, 0}, 1e-15},
        {"kind=grunwald", 2, {1, -2, 1}, 1e-15},
        {"kind=hadamard", 1, {1, -1, 0}, 1e-15},
        {"kind=riemann_liouville", 1, {1, -1, 0}, 1e-15},
        {"kind=riemann_liouville, scheme=bdf2", 1, {1.5, -2, 0.5}, 1e-15},
        {"kind=tempered, causal=true, lambda=0", 1, {1, -1, 0}, 1e-15},
        {"kind=caputo, scheme=l1", 1 - 1e-10, {1, -1, 0}, 1e-8},
        {"kind=caputo, scheme=l1_2", 1 - 1e-10, {1.5, -2, 0.5}, 1e-8},
        {"kind=caputo, scheme=gl", 1, {1, -1, 0}, 1e-15},
        {"kind=caputo, scheme=l2", 2 - 1e-10, {1, -2, 1}, 1e-8},
    };
    double x[N] = {0}, h = 0.25, expected[N];
    for (int i = 2; i < N; i++) x[i] = next_uniform(&seed, -1, 1);
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[256];
        snprintf(text, sizeof text,
                 "model m(x: f64[12], a: f64) {\n y = frac(x, a, %s, step=0.25)\n return y\n}\n",
                 rows[i].options);
        for (int n = 0; n < N; n++) {
            expected[n] = 0;
            for (int k = 0; k <= 2 && k <= n; k++) expected[n] += rows[i].c[k] * x[n - k];
            expected[n] *= pow(h, -round(rows[i].order));
        }
        Results r =
            run_model(text, &(RunOptions){.target = FRAX_REFERENCE}, (const double *[]){x, &rows[i].order});
        double error = relative_error(r.data[0], expected, N);
        if (!(error <= rows[i].tolerance))
            fail_msg("%s, order %g: error %g", rows[i].options, rows[i].order, error);
        free_results(&r);
    }
}

/* ---- Derivatives ---- */

/* Inputs are drawn from one range; the model moves them to where its operator is defined. */
static Graph *derivatives_of_operator(const Operator *op, const char *x, int64_t n, const char *orders) {
    char call[256];
    Text text = {0};
    double step = op->step > 0 ? op->step : 1;
    const char *other = op->traits & LAMBDA ? "l" : op->traits & (THETA | INITIAL_SLOPE) ? "t" : NULL;
    text_printf(&text, "model m(x: f64%s, a0: f64%s, h0: f64", x, orders);
    if (other) text_printf(&text, ", %s0: f64%s", other, orders);
    text_printf(&text, ") {\n a = %.17g + %.17g * a0\n h = %.17g * (0.5 + h0)\n", op->lo, op->hi - op->lo,
                step);
    if (other) text_printf(&text, op->traits & LAMBDA ? " l = 0.2 + l0\n" : " t = 0.4 * (t0 - 0.5)\n");
    text_printf(&text, " y = %s\n return y\n}\n", frac_text(op, "x", n, "a", "", call));
    assert_false(text.failed);
    Graph *g = lower_text(text.data, NULL);
    append_derivatives(g, (int)g->ninputs, op->name);
    text_free(&text);
    return g;
}

/* In x, order, step, lambda and theta together, first and second order, along random directions. */
static void test_derivatives(void **state) {
    (void)state;
    static const struct {
        const char *x, *orders;
        int64_t n;
    } shapes[] = {{"[1]", "", 1}, {"[6]", "", 6}, {"[2,7]", "[2,1]", 7}, {"[3,2,4]", "[2,1]", 4}};
    for (size_t i = 0; i < COUNT(operators); i++)
        for (size_t k = 0; k < COUNT(shapes); k++) {
            Graph *g = derivatives_of_operator(&operators[i], shapes[k].x, shapes[k].n, shapes[k].orders);
            size_t inputs = (g->ninputs - 1) / 3; /* x…, v…, u…, ct */
            Function f = {.name = operators[i].name, .n = (int)inputs, .lo = 0.1, .hi = 0.9};
            compare_derivatives(g, &f, next_random(&seed));
            graph_destroy(g);
        }
}

/* ---- Engines ---- */

static const char *const engine_options[] = {", engine=direct", ", engine=dense", ", engine=fft"};

static double norm(const double *x, int64_t n) {
    return sqrt(dot_product(x, x, n));
}

/* Relative to the largest element of y, or of the gradient in x; gradients in orders and step are inner
   products of g with something of y's size, and are exact to that. */
static void expect_close_results(const Sample *s, const Results *got, const Results *expected,
                                 const char *what) {
    int64_t n = expected->size[1];
    double product = norm(expected->data[1], n) * norm(s->g, n);
    for (size_t i = 1; i < got->count; i++) {
        double error = relative_error(got->data[i], expected->data[i], got->size[i]),
               size = largest_of(expected->data[i], got->size[i]);
        expect_small(i > 2 ? error * size / fmax(size, product) : error, 1e-12, s, what);
    }
}

/* loss, y and the gradients in x, a and h, by every engine. */
static void expect_engines_agree(const Operator *op, int64_t n) {
    Sample s = draw_sample(op, n, &seed);
    Results first = {0};
    for (size_t e = 0; e < COUNT(engine_options); e++) {
        char call[256], body[300];
        snprintf(body, sizeof body, "y = %s\n loss = sum(y * g)\n return loss, y",
                 sample_call(&s, "z", "a", engine_options[e], call));
        Results r = run_sample(&s, body, &(RunOptions){.target = FRAX_CPU, .wrt = {"x", "a", "h"}}, s.z);
        if (e == 0) {
            first = r;
            continue;
        }
        expect_close_results(&s, &r, &first, engine_options[e]);
        free_results(&r);
    }
    free_results(&first);
    free_sample(&s);
}

static void test_engines_agree(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        /* With a slope the signal grows without bound and the result does not: transforms cannot see it. */
        if (!(operators[i].traits & ENGINES) || operators[i].traits & INITIAL_SLOPE) continue;
        expect_engines_agree(&operators[i], 150);
    }
    expect_engines_agree(find_operator("grunwald"), 700);
    expect_engines_agree(find_operator("caputo l1_2"), 701);
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
        cmocka_unit_test(test_special_orders),
        cmocka_unit_test(test_orders_tend_to_the_identity),
        cmocka_unit_test(test_whole_orders),
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_engines_agree),
    };
    seed = first_seed();
    print_message("FRAX_SEED=%llu\n", (unsigned long long)seed);
    return cmocka_run_group_tests(tests, NULL, print_errors);
}
