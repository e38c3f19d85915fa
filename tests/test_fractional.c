/* test_fractional.c — the kinds of frac one by one: weights against values of 60 digits, discrete formulas
 * against naive sums, analytic values, derivatives against differences, and orders that vary along rows.
 */
#include "model_run.h"
#include "passes.h"
#include "fractional.h"
#include <math.h>
#include "fractional_weights.h"

/* ---- Weights ---- */

/* The weights of a family, run by the reference evaluator. */
static double *run_weights(FracWeights *weights, double alpha, int64_t n) {
    Graph *g = graph_create("weights", "test");
    assert_non_null(g);
    Lower lw = {.g = g, .builtin = "frac"};
    Frac f = {.lw = &lw, .g = g};
    f.x = g_input(g, "x", (Type){FRAX_F64, SHAPE(n)});
    f.alpha = g_input(g, "alpha", (Type){FRAX_F64, SHAPE(1)});
    f.steps[0] = g_like(g, f.alpha, 1);
    graph_output(g, "w", weights(&f, n));
    FraxError err;
    if (graph_status(g, &err)) fail_msg("%s", err.message);
    double *x = calloc((size_t)n, sizeof *x);
    assert_non_null(x);
    FraxTensor out;
    run_graph(g, (const double *[]){x, &alpha}, &out);
    free(x);
    graph_destroy(g);
    return out.data;
}

/* A few units of rounding, at every lag and near the ends of the range of orders. The sum of bdf2's two
   factors cancels by some units more. */
static void test_weights(void **state) {
    (void)state;
    double *w = NULL;
    int wrong = 0;
    for (size_t i = 0; i < COUNT(weight_rows); i++) {
        const struct WeightRow *row = &weight_rows[i];
        if (row->lag == 0) {
            free(w);
            w = run_weights(row->weights, row->alpha, 1 << 18);
        }
        bool summed = row->weights == bdf2_weights || row->weights == atangana_baleanu_weights;
        double error = fabs(w[row->lag] - row->value), bound = summed ? 1e-13 : 4e-15;
        if (!(error <= bound * fabs(row->value))) {
            print_error("%s %g, lag %lld: %.17g, expected %.17g (%.1e)\n", row->name, row->alpha,
                        (long long)row->lag, w[row->lag], row->value, error / fabs(row->value));
            wrong++;
        }
    }
    free(w);
    assert_int_equal(wrong, 0);
}

/* ---- Sums of exponentials ---- */

/* Every weight from the first lag to the last is met to the tolerance, relative to itself. */
static void check_soe(const char *call, FracWeights *weights, double alpha, double scale, int delay,
                      double tol) {
    const int LENGTH = tol < 1e-12 ? 2500 : 20000;
    char text[400];
    double *x = calloc((size_t)LENGTH, sizeof *x), *w = run_weights(weights, alpha, LENGTH), worst = 0;
    bool ramp = weights == l2_weights, step = weights == l1_weights;
    assert_non_null(x);
    for (int k = 1; k < LENGTH; k++) x[k] = ramp ? k : step || k == 1;
    snprintf(text, sizeof text,
             "model m(x: f64[N], a: f64) {\n y = frac(x, a, %s, engine=soe, tol=%g)\n return y\n}\n", call,
             tol);
    Graph *g = lower_text(text, (int64_t[]){LENGTH});
    FraxTensor out;
    run_graph(g, (const double *[]){x, &alpha}, &out);
    for (int k = 0; k < LENGTH - delay; k++)
        worst = fmax(worst, fabs(((double *)out.data)[k + delay] / scale / w[k] - 1));
    if (!(worst <= tol))
        fail_msg("%s, order %g, tolerance %g: a weight is off by %g", call, alpha, tol, worst);
    free(x);
    free(w);
    free_outputs(&out, 1);
    graph_destroy(g);
}

static void test_soe_weights(void **state) {
    (void)state;
    static const double tols[] = {1e-3, 1e-6, 1e-10, 1e-13};
    static const double derivatives[] = {-0.9, 0.3, 0.95, 1.7}, firsts[] = {0.06, 0.5, 0.95},
                        seconds[] = {1.06, 1.5, 1.95};
    for (size_t i = 0; i < COUNT(tols); i++) {
        double tol = tols[i];
        for (size_t k = 0; k < COUNT(derivatives); k++)
            check_soe("kind=grunwald", grunwald_weights, derivatives[k], 1, 1, tol);
        for (size_t k = 0; k < COUNT(firsts); k++) {
            double a = firsts[k], b = seconds[k];
            check_soe("kind=caputo", l1_weights, a, 1 / tgamma(2 - a), 1, tol);
            check_soe("kind=caputo, scheme=l2", l2_weights, b, 1 / tgamma(3 - b), 1, tol);
            check_soe("kind=caputo, scheme=gl", grunwald_weights, b, 1, 1, tol);
            check_soe("kind=integral, scheme=gl", integral_weights, a, 1, 1, tol);
            check_soe("kind=integral, scheme=rectangle", rectangle_weights, a, 1 / tgamma(a + 1), 2, tol);
            check_soe("kind=integral", trapezoid_weights, a, 1 / tgamma(a + 2), 1, tol);
        }
        check_soe("kind=riemann_liouville, scheme=bdf2", bdf2_weights, 0.6, pow(1.5, 0.6), 1, tol);
    }
}

/* ---- Discrete formulas ---- */

enum { N = 23 };

static const double test_x[N] = {0.3,  1.2,  -0.7, 2.1,  0.4,  -1.5, 0.9, 1.1, -0.2, 0.6,  1.7, -0.8,
                                 0.05, -1.1, 0.35, 0.75, -0.9, 1.3,  2.2, 0.1, -0.6, 0.85, 1.45};

/* One output of a model of x f64[N] and scalars a, h, l, computed by the reference. */
static void run_expression(const char *expression, const double p[3], double *y) {
    char text[400];
    FraxTensor out;
    snprintf(text, sizeof text,
             "model m(x: f64[N], a: f64, h: f64, l: f64) {\n y = %s + 0 * (a + h + l)\n return y\n}\n",
             expression);
    Graph *g = lower_text(text, (int64_t[]){N});
    run_graph(g, (const double *[]){test_x, &p[0], &p[1], &p[2]}, &out);
    memcpy(y, out.data, sizeof(double) * N);
    free_outputs(&out, 1);
    graph_destroy(g);
}

/* t^p, and 0 at t = 0 also for p = 0 */
static double time_power(double t, double p) {
    return t == 0 ? 0 : pow(t, p);
}

/* x_k − x_{k−1} */
static double slope_at(int k) {
    return test_x[k] - test_x[k - 1];
}

static double naive_l1(int n, double a, double h, double l) {
    double sum = 0;
    (void)l;
    for (int k = 1; k <= n; k++)
        sum += (time_power(n - k + 1, 1 - a) - time_power(n - k, 1 - a)) * slope_at(k);
    return pow(h, -a) / tgamma(2 - a) * sum;
}

/* Gao, Sun & Zhang 2014: a parabola through x_{k−2}, x_{k−1}, x_k on the interval before t_k, k ≥ 2. */
static double naive_l1_2(int n, double a, double h, double l) {
    double sum = naive_l1(n, a, 1, l) * tgamma(2 - a);
    for (int k = 2; k <= n; k++) {
        double j = n - k, up = pow(j + 1, 1 - a), down = j ? pow(j, 1 - a) : 0;
        double b = (up * (j + 1) - down * j) / (2 - a) - (up + down) / 2;
        sum += b * (slope_at(k) - slope_at(k - 1));
    }
    return pow(h, -a) / tgamma(2 - a) * sum;
}

/* Sun & Wu 2006, (3.3), with x'(0) = l */
static double naive_l2(int n, double a, double h, double l) {
    if (n == 0) return 0;
#define A(j) (time_power((j) + 1, 2 - a) - time_power(j, 2 - a))
    double sum = A(0) * slope_at(n) / h - A(n - 1) * l;
    for (int k = 1; k < n; k++) sum -= (A(n - k - 1) - A(n - k)) * slope_at(k) / h;
#undef A
    return pow(h, 1 - a) / tgamma(3 - a) * sum;
}

static double binomial_weight(double a, int j) {
    double w = 1;
    for (int i = 1; i <= j; i++) w *= (i - 1 - a) / i;
    return w;
}

static double naive_gl(int n, double a, double h, double l) {
    double sum = 0;
    for (int j = 0; j <= n; j++)
        sum += binomial_weight(a, j) * (test_x[n - j] - test_x[0] - (a > 1 ? l * h * (n - j) : 0));
    return pow(h, -a) * sum;
}

static double naive_rectangle(int n, double a, double h, double l) {
    double sum = 0;
    (void)l;
    for (int k = 0; k < n; k++) sum += (pow(n - k, a) - pow(n - k - 1, a)) * test_x[k];
    return pow(h, a) / tgamma(a + 1) * sum;
}

/* Diethelm, Ford & Freed 2002: the weights of the corrector. */
static double naive_trapezoid(int n, double a, double h, double l) {
    (void)l;
    if (n == 0) return 0;
    double sum = test_x[n] + (pow(n - 1, a + 1) - (n - 1 - a) * pow(n, a)) * test_x[0];
    for (int k = 1; k < n; k++)
        sum += (pow(n - k + 1, a + 1) - 2 * pow(n - k, a + 1) + pow(n - k - 1, a + 1)) * test_x[k];
    return pow(h, a) / tgamma(a + 2) * sum;
}

/* Miller's recursion for (3/2 − 2z + z²/2)^α */
static double naive_bdf2(int n, double a, double h, double l) {
    double w[N] = {pow(1.5, a)}, sum = 0;
    (void)l;
    w[1] = -4 * a / 3 * w[0];
    for (int k = 2; k < N; k++) w[k] = (4 * (k - 1 - a) * w[k - 1] - (k - 2 - 2 * a) * w[k - 2]) / (3 * k);
    for (int j = 0; j <= n; j++) sum += w[j] * test_x[n - j];
    return pow(h, -a) * sum;
}

static double naive_integral_gl(int n, double a, double h, double l) {
    double sum = 0;
    (void)l;
    for (int j = 0; j <= n; j++) sum += binomial_weight(-a, j) * test_x[n - j];
    return pow(h, a) * sum;
}

static double naive_caputo_fabrizio(int n, double a, double h, double l) {
    double y = 0, r = exp(-a * h / (1 - a));
    (void)l;
    for (int k = 1; k <= n; k++) y = r * y + (1 - r) / (a * h) * slope_at(k);
    return y;
}

/* Every scheme is the formula of its reference, with the order a constant and a value. */
static void test_formulas(void **state) {
    (void)state;
    static const struct {
        const char *arguments;
        double (*naive)(int n, double a, double h, double l);
        double a;
    } rows[] = {
        {"kind=caputo, scheme=l1, step=h", naive_l1, 0.5},
        {"kind=caputo, step=h", naive_l1, 0.93},
        {"kind=caputo, scheme=l1, step=h", naive_l1, 1},
        {"kind=caputo, scheme=l1, times=1 + h * iota(N, dtype=f64)", naive_l1, 0.4},
        {"kind=caputo, scheme=l1_2, step=h", naive_l1_2, 0.3},
        {"kind=caputo, scheme=l1_2, step=h", naive_l1_2, 1},
        {"kind=caputo, scheme=l2, step=h, slope=l", naive_l2, 1.6},
        {"kind=caputo, scheme=l2, step=h, slope=l", naive_l2, 2},
        {"kind=caputo, scheme=gl, step=h, slope=l", naive_gl, 1.6},
        {"kind=caputo, scheme=gl, step=h", naive_gl, 0.6},
        {"kind=integral, step=h", naive_trapezoid, 0.5},
        {"kind=integral, scheme=trapezoid, step=h", naive_trapezoid, 1.7},
        {"kind=integral, scheme=rectangle, step=h", naive_rectangle, 0.5},
        {"kind=integral, scheme=gl, step=h", naive_integral_gl, 1.7},
        {"kind=riemann_liouville, scheme=bdf2, step=h", naive_bdf2, 0.5},
        {"kind=riemann_liouville, scheme=bdf2, step=h", naive_bdf2, -1.3},
        {"kind=caputo_fabrizio, step=h", naive_caputo_fabrizio, 0.35},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int constant = 0; constant < 2; constant++) {
            double y[N], p[3] = {rows[i].a, 0.7, 0.4};
            char expression[200], order[32];
            snprintf(order, sizeof order, "%.17g", rows[i].a);
            snprintf(expression, sizeof expression, "frac(x, %s, %s)", constant ? order : "a",
                     rows[i].arguments);
            if (!constant && strstr(rows[i].arguments, "kind=caputo, step")) continue; /* l1 by default */
            run_expression(expression, p, y);
            for (int n = 0; n < N; n++) {
                double expected = rows[i].naive(n, p[0], p[1], p[2]);
                if (!(fabs(y[n] - expected) <= 1e-13 * (10 + fabs(expected)))) /* the naive sum's rounding */
                    fail_msg("%s: y[%d] is %.17g, expected %.17g", expression, n, y[n], expected);
            }
        }
}

/* ---- Analytic values ---- */

/* One output of a model of x f64[n]; freed by the caller. */
static double *run_on_signal(const char *expression, const double *x, int64_t n) {
    char text[400];
    FraxTensor out;
    snprintf(text, sizeof text, "model m(x: f64[N]) {\n y = %s\n return y\n}\n", expression);
    Graph *g = lower_text(text, &n);
    run_graph(g, &x, &out);
    graph_destroy(g);
    return out.data;
}

static void expect_close(const char *what, double got, double expected, double bound) {
    if (!(fabs(got - expected) <= bound)) fail_msg("%s: got %.17g, expected %.17g", what, got, expected);
}

/* t e^{−t} on a logarithmic grid: t^½ D^½ gives t/Γ(3/2) ₁F₁(2; 3/2; −t), by mpmath; t D gives t (1 − t)
   e^{−t}. The signal ends at e^{−30} and leaves a spectrum of that size. */
static void test_mellin(void **state) {
    (void)state;
    enum { POINTS = 2048 };
    static const struct {
        int k;
        double t, y;
    } rows[] = {{700, 0.000075438900065590335224, 0.000085115121427445153771},
                {980, 0.2755289704553163819, 0.21372782290195051056},
                {1024, 1.0, 0.26061073062705942239},
                {1060, 2.8710778018843073303, -0.075876894666253518135},
                {1100, 9.2679526724288781502, -0.049326776346761461687},
                {1200, 173.51256196111179701, -0.0016545228582270693895},
                {1500, 1138602.8516282745594, -2.4775586556677762148e-7}};
    double x[POINTS];
    for (int k = 0; k < POINTS; k++) {
        double t = exp(-30 + 60.0 * k / POINTS);
        x[k] = t * exp(-t);
    }
    double *half = run_on_signal("frac(x, 0.5, kind=mellin, step=60/2048)", x, POINTS);
    double *one = run_on_signal("frac(x, 1, kind=mellin, step=60/2048)", x, POINTS);
    for (size_t i = 0; i < COUNT(rows); i++) {
        double t = rows[i].t;
        expect_close("half order", half[rows[i].k], rows[i].y, 1e-10);
        expect_close("order 1", one[rows[i].k], t * (1 - t) * exp(-t), 1e-10);
    }
    free(half);
    free(one);
}

/* θ turns the phase: cos t becomes cos(t + πθ/2); α = θ is weyl, θ = 0 riesz. */
static void test_riesz_feller(void **state) {
    (void)state;
    enum { POINTS = 60 };
    double x[POINTS];
    for (int n = 0; n < POINTS; n++) x[n] = cos(2 * M_PI * 4 * n / POINTS);
    double *y = run_on_signal("frac(x, 1.5, kind=riesz_feller, theta=-0.3, step=2*pi/N)", x, POINTS);
    double *weyl_too = run_on_signal("frac(x, 0.7, kind=riesz_feller, theta=0.7) - frac(x, 0.7)", x, POINTS);
    for (int n = 0; n < POINTS; n++) {
        expect_close("riesz_feller", y[n], 8 * cos(2 * M_PI * 4 * n / POINTS - 0.15 * M_PI), 1e-12);
        expect_close("theta = alpha", weyl_too[n], 0, 1e-14);
    }
    free(y);
    free(weyl_too);
}

/* Exact for x linear between the samples: of x = t at t = 1, α = ½, 2(1 − 1/e) and 2E_{½,2}(−1). */
static void test_kernels_without_singularity(void **state) {
    (void)state;
    double x[41];
    for (int n = 0; n <= 40; n++) x[n] = n / 40.0;
    double *y = run_on_signal("frac(x, 0.5, kind=caputo_fabrizio, step=0.025)", x, 41);
    expect_close("Caputo-Fabrizio", y[40], 1.2642411176571154, 1e-14);
    free(y);
    y = run_on_signal("frac(x, 0.5, kind=atangana_baleanu, step=0.025)", x, 41);
    expect_close("Atangana-Baleanu", y[40], 1.1119254865026391566, 1e-13);
    free(y);
}

/* ---- The README ---- */

/* text with | escaped, as a cell of a table. */
static void append_cell(Text *row, const char *text) {
    text_printf(row, "| ");
    for (const char *c = text; *c; c++) text_printf(row, *c == '|' ? "\\|" : "%c", *c);
    text_printf(row, " ");
}

/* The README's table of kinds is the table of kinds. */
static void test_table_of_kinds(void **state) {
    (void)state;
    FILE *file = fopen("README.md", "rb");
    assert_non_null(file);
    Text readme = {0};
    char buffer[4096];
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, file)) > 0;) text_append(&readme, buffer, n);
    fclose(file);
    assert_true(readme.data && !readme.failed);
    FracKindInfo kind;
    bool missing = false;
    for (size_t i = 0; frac_kind_info(i, &kind); i++) {
        Text row = {0};
        char name[128];
        snprintf(name, sizeof name, "`%s`%s%s%s", kind.name, kind.alias ? ", `" : "",
                 kind.alias ? kind.alias : "", kind.alias ? "`" : "");
        append_cell(&row, name);
        append_cell(&row, kind.choice);
        append_cell(&row, kind.formula);
        append_cell(&row, kind.domain);
        append_cell(&row, kind.soe);
        append_cell(&row, kind.order);
        append_cell(&row, kind.reference);
        text_printf(&row, "|\n");
        assert_false(row.failed);
        if (!strstr(readme.data, row.data)) {
            missing = true;
            print_error("%s", row.data);
        }
        text_free(&row);
    }
    text_free(&readme);
    if (missing) fail_msg("the README's table of kinds lacks these rows");
}

/* ---- Values out of range at run time ---- */

static void test_guards(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        double a, h, l;
        const char *message;
    } rows[] = {
        {"frac(x, a, kind=caputo)", 1.5, 1, 0,
         "frac: alpha is 1.5, expected 0 < alpha <= 1 (kind=caputo, scheme=l1)"},
        {"frac(x, a, kind=caputo, scheme=l2)", 1, 1, 0, "frac: alpha is 1, expected 1 < alpha <= 2"},
        {"frac(x, a, kind=integral)", 0, 1, 0, "frac: alpha is 0, expected 0 < alpha <= 30"},
        {"frac(x, a, kind=caputo_fabrizio)", 1, 1, 0, "frac: alpha is 1, expected 0 < alpha < 1"},
        {"frac(x, a, kind=mellin)", 5, 1, 0, "frac: alpha is 5, expected alpha < 5"},
        {"frac(x, a, kind=caputo)", NAN, 1, 0, "frac: alpha is nan"},
        {"frac(x, a, step=h)", 0.5, 0, 0, "frac: step is 0, expected more than 0"},
        {"frac(x, 0.5, kind=tempered, lambda=l)", 0.5, 1, -1, "frac: lambda is -1, expected 0 or more"},
        {"frac(x, a, kind=riesz_feller, theta=l)", 0.5, 1, 0.6,
         "frac: min(alpha, 2 - alpha) - |theta| is -0.09999"},
        {"frac(x, a, kind=caputo, times=h * iota(N, dtype=f64))", 0.5, -1, 0,
         "frac: an interval between times is -1 at element 0, expected more than 0"},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int grad = 0; grad < 2; grad++) {
            char text[300];
            FraxError err = {0};
            FraxTensor in[4], out;
            const double p[] = {rows[i].a, rows[i].h, rows[i].l};
            snprintf(text, sizeof text,
                     "model m(x: f64[N], a: f64, h: f64, l: f64) {\n y = sum(sin(%s)) + 0 * (a + h + l)\n "
                     "return y\n}\n",
                     rows[i].expression);
            Graph *g = lower_text(text, (int64_t[]){N});
            Value dx;
            if (grad) {
                assert_int_equal(gradient(g, g->outputs[0].value, NO_VALUE, g->inputs, 1, &dx, &err),
                                 FRAX_OK);
                g->outputs[0].value = dx;
            }
            for (int k = 0; k < 4; k++)
                in[k] = make_tensor(graph_type(g, g->inputs[k]), k ? &p[k - 1] : test_x);
            out = make_tensor(graph_type(g, g->outputs[0].value), NULL);
            assert_int_equal(reference_run(g, in, &out, &err), FRAX_VALUE);
            if (!strstr(err.message, rows[i].message)) fail_msg("%s: %s", rows[i].expression, err.message);
            for (int k = 0; k < 4; k++) free(in[k].data);
            free(out.data);
            graph_destroy(g);
        }
}

/* ---- Derivatives ---- */

typedef struct Point {
    double x[N], p[3]; /* p: a, h, l */
} Point;

static Point moved(const Point *from, const Point *direction, double by) {
    Point to = *from;
    for (int i = 0; i < N; i++) to.x[i] += by * direction->x[i];
    for (int i = 0; i < 3; i++) to.p[i] += by * direction->p[i];
    return to;
}

/* Outputs 0 … 2 of a graph: the loss, its slope along one direction, and the slope of that along another. */
static void evaluate(const Graph *g, const Point *at, double result[3]) {
    FraxTensor out[3];
    run_graph(g, (const double *[]){at->x, &at->p[0], &at->p[1], &at->p[2]}, out);
    for (int i = 0; i < 3; i++) result[i] = ((double *)out[i].data)[0];
    free_outputs(out, 3);
}

/* Σ ⟨∂y/∂inputs, direction⟩ */
static Value slope_along(Graph *g, Value y, const Point *direction) {
    Value grads[4], total = NO_VALUE;
    FraxError err;
    if (gradient(g, y, NO_VALUE, g->inputs, 4, grads, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 4; i++) {
        Value part = i ? g_scale(g, grads[i], direction->p[i - 1]) : NO_VALUE;
        for (int k = 0; i == 0 && k < N; k++) {
            int64_t lo = k, hi = k + 1;
            Value element = g_reshape(g, g_slice(g, grads[0], &lo, &hi, NULL), SCALAR);
            element = g_scale(g, element, direction->x[k]);
            part = k ? g_add(g, part, element) : element;
        }
        total = i ? g_add(g, total, part) : part;
    }
    return total;
}

/* Central differences of fourth order, of the outputs 0 and 1. */
static void difference(const Graph *g, const Point *at, const Point *direction, double d, double result[2]) {
    static const double steps[] = {-2, -1, 1, 2}, weights[] = {1, -8, 8, -1};
    result[0] = result[1] = 0;
    for (int i = 0; i < 4; i++) {
        double values[3];
        Point there = moved(at, direction, steps[i] * d);
        evaluate(g, &there, values);
        for (int k = 0; k < 2; k++) result[k] += weights[i] * values[k] / (12 * d);
    }
}

static void expect_slope(const char *expression, double a, const char *what, double got, double expected) {
    if (!(fabs(got - expected) <= 1e-7 * (1 + fabs(expected))))
        fail_msg("%s at %g, %s: %.12g, by differences %.12g", expression, a, what, got, expected);
}

/* First and second order in x, alpha, step and the other parameter at once, along two directions. */
static void check_derivatives(const char *expression, double a) {
    char text[400];
    Point at = {.p = {a, 0.7, 0.4}}, u, v;
    memcpy(at.x, test_x, sizeof test_x);
    for (int i = 0; i < N; i++) u.x[i] = cos(3 * i), v.x[i] = sin(2 * i + 1);
    memcpy(u.p, (double[]){0.3, -0.2, 0.25}, sizeof u.p);
    memcpy(v.p, (double[]){-0.4, 0.1, 0.2}, sizeof v.p);
    snprintf(text, sizeof text,
             "model m(x: f64[N], a: f64, h: f64, l: f64) {\n y = mean(sin(0.3 * %s)) + 0 * (h + l)\n return "
             "y\n}\n",
             expression);
    Graph *g = lower_text(text, (int64_t[]){N});
    Value first = slope_along(g, g->outputs[0].value, &v);
    graph_output(g, "first", first);
    graph_output(g, "second", slope_along(g, first, &u));
    double values[3], slopes[2], other[2];
    evaluate(g, &at, values);
    difference(g, &at, &v, 1e-3, slopes);
    difference(g, &at, &u, 1e-3, other);
    expect_slope(expression, a, "first order", values[1], slopes[0]);
    expect_slope(expression, a, "second order", values[2], other[1]);
    graph_destroy(g);
}

static void test_derivatives(void **state) {
    (void)state;
    static const struct {
        const char *expression;
        double orders[3];
    } rows[] = {
        {"frac(x, a, kind=riesz_feller, theta=l, step=h)", {0.5, 1, 1.5}},
        {"frac(x, a, kind=hadamard, step=h)", {0.5, 1, -0.5}},
        {"frac(x, a, kind=riemann_liouville, scheme=gl, step=h)", {0.5, 1, -0.5}},
        {"frac(x, a, kind=riemann_liouville, scheme=bdf2, step=h)", {0.5, 1, -0.5}},
        {"frac(x, a, kind=caputo, scheme=l1, step=h)", {0.2, 0.5, 0.9}},
        {"frac(x, a, kind=caputo, scheme=l1, times=h * iota(N, dtype=f64)^(1 + l))", {0.2, 0.5, 0.9}},
        {"frac(x, a, kind=caputo, scheme=l1_2, step=h)", {0.2, 0.5, 0.9}},
        {"frac(x, a, kind=caputo, scheme=l2, step=h, slope=l)", {1.2, 1.5, 1.9}},
        {"frac(x, a, kind=caputo, scheme=gl, step=h, slope=l)", {0.5, 1.3, 1.9}},
        {"frac(x, a, kind=integral, scheme=trapezoid, step=h)", {0.2, 0.9, 2.5}},
        {"frac(x, a, kind=integral, scheme=rectangle, step=h)", {0.2, 0.9, 2.5}},
        {"frac(x, a, kind=integral, scheme=gl, step=h)", {0.2, 0.9, 2.5}},
        {"frac(x, a, kind=mellin, step=h)", {-0.5, 1, 1.7}},
        {"frac(concat([x, 0.5 * x]), a, kind=grunwald, step=h, engine=soe)", {-0.5, 0.6, 1.4}},
        {"frac(concat([x, 0.5 * x]), a, kind=tempered, lambda=l, causal=true, step=h, engine=soe)",
         {-0.5, 0.6, 1.4}},
        {"frac(concat([x, 0.5 * x]), a, kind=caputo, step=h, engine=soe, tol=1e-6)", {0.2, 0.5, 0.9}},
        {"frac(concat([x, 0.5 * x]), a, kind=caputo, scheme=l2, slope=l, step=h, engine=soe)",
         {1.2, 1.5, 1.9}},
        {"frac(concat([x, 0.5 * x]), a, kind=integral, step=h, engine=soe)", {0.2, 0.5, 0.9}},
        {"frac(concat([x, 0.5 * x]), a, kind=riemann_liouville, scheme=bdf2, step=h, engine=soe)",
         {0.2, 0.5, 1.3}},
        {"frac(x, a, kind=caputo_fabrizio, step=h)", {0.2, 0.5, 0.9}},
        {"frac(x, a, kind=atangana_baleanu, step=h)", {0.2, 0.5, 0.7}},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (int k = 0; k < 3; k++) check_derivatives(rows[i].expression, rows[i].orders[k]);
}

/* ---- Shapes ---- */

/* A single sample: the derivatives of Caputo and the integrals by product rules are 0, the others the sample
   times a power of the step. */
static void test_one_sample(void **state) {
    (void)state;
    static const struct {
        const char *arguments;
        double y;
    } rows[] = {{"0.5, kind=caputo, scheme=l1", 0},
                {"0.5, kind=caputo, scheme=l1_2", 0},
                {"1.5, kind=caputo, scheme=l2", 0},
                {"0.5, kind=caputo, scheme=gl", 0},
                {"0.5, kind=caputo, times=x", 0},
                {"0.5, kind=integral, scheme=trapezoid", 0},
                {"0.5, kind=integral, scheme=rectangle", 0},
                {"2, kind=integral, scheme=gl, step=0.5", 0.75},
                {"1, kind=riemann_liouville, scheme=bdf2, step=0.5", 9},
                {"1, kind=hadamard, step=0.5", 6},
                {"0.5, kind=caputo_fabrizio", 0},
                {"0.5, kind=atangana_baleanu", 0},
                {"1, kind=mellin", 0},
                {"1, kind=riesz_feller, theta=0.3", 0}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char text[200];
        double x = 3;
        FraxTensor out;
        snprintf(text, sizeof text, "model m(x: f64[1]) {\n y = frac(x, %s)\n return y\n}\n",
                 rows[i].arguments);
        Graph *g = lower_text(text, NULL);
        run_graph(g, (const double *[]){&x}, &out);
        if (!(fabs(((double *)out.data)[0] - rows[i].y) < 1e-14))
            fail_msg("%s: %g", rows[i].arguments, ((double *)out.data)[0]);
        free_outputs(&out, 1);
        graph_destroy(g);
    }
}

/* Orders, steps and parameters that vary along rows, on an axis in the middle: each row as if it were alone.
 */
static void test_rows(void **state) {
    (void)state;
    static const char *const kinds[] = {"kind=riesz_feller, theta=0.1 * l",
                                        "kind=hadamard",
                                        "kind=riemann_liouville, scheme=bdf2",
                                        "kind=caputo, scheme=l1",
                                        "kind=caputo, scheme=l1_2",
                                        "kind=caputo, scheme=l2, slope=l",
                                        "kind=caputo, scheme=gl, slope=l",
                                        "kind=integral, scheme=trapezoid",
                                        "kind=integral, scheme=rectangle",
                                        "kind=integral, scheme=gl",
                                        "kind=caputo, times=t, scheme=l1",
                                        "kind=caputo_fabrizio",
                                        "kind=atangana_baleanu",
                                        "kind=mellin"};
    enum { A = 2, T = 5, B = 3 };
    double x[A * T * B], a[A], h[B] = {0.5, 1, 2}, l[A * B], t[T] = {0, 0.3, 1, 1.2, 2};
    for (int i = 0; i < A * T * B; i++) x[i] = sin(i * i);
    for (int i = 0; i < A * B; i++) l[i] = 0.5 + 0.2 * i;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        char text[400];
        bool steep = strstr(kinds[i], "l2, slope") != NULL, timed = strstr(kinds[i], "times") != NULL;
        a[0] = steep ? 1.3 : 0.3, a[1] = steep ? 1.8 : 0.8;
        FraxTensor all, one;
        const char *step = timed ? "" : ", step=h";
        snprintf(text, sizeof text,
                 "model m(x: f64[2, 5, 3], a: f64[2, 1, 1], h: f64[3], l: f64[2, 1, 3], t: f64[5]) {\n"
                 " y = frac(x, a, %s, axis=1%s) + 0 * (h + l + t[0])\n return y\n}\n",
                 kinds[i], step);
        Graph *g = lower_text(text, NULL);
        run_graph(g, (const double *[]){x, a, h, l, t}, &all);
        graph_destroy(g);
        snprintf(text, sizeof text,
                 "model m(x: f64[5], a: f64, h: f64, l: f64, t: f64[5]) {\n"
                 " y = frac(x, a, %s%s) + 0 * (h + l + t)\n return y\n}\n",
                 kinds[i], step);
        g = lower_text(text, NULL);
        for (int r = 0; r < A * B; r++) {
            double row[T];
            for (int k = 0; k < T; k++) row[k] = x[(r / B * T + k) * B + r % B];
            run_graph(g, (const double *[]){row, &a[r / B], &h[r % B], &l[r], t}, &one);
            for (int k = 0; k < T; k++) {
                double got = ((double *)all.data)[(r / B * T + k) * B + r % B],
                       alone = ((double *)one.data)[k];
                if (!(fabs(got - alone) < 1e-13 * (1 + fabs(alone))))
                    fail_msg("%s, row %d, sample %d: %.17g, alone %.17g", kinds[i], r, k, got, alone);
            }
            free_outputs(&one, 1);
        }
        free_outputs(&all, 1);
        graph_destroy(g);
    }
}

/* ---- Lack of memory ---- */

/* Every builder is lowered with every allocation failing in its turn. */
static FraxStatus lower_all_kinds(void) {
    static const char text[] =
        "model m(x: f32[2, 40], a: f64[2, 1], t: f64[40]) {\n"
        " p = frac(x, a, kind=riesz_feller, theta=0.1) + frac(x, a, kind=mellin) + frac(x, a, "
        "kind=hadamard)\n"
        " q = frac(x, a, kind=riemann_liouville, scheme=bdf2, engine=soe) + frac(x, a, kind=integral, "
        "engine=soe)\n"
        " r = frac(x, a, kind=caputo) + frac(x, a, kind=caputo, scheme=l1_2) + frac(x, a, kind=caputo, "
        "times=t)\n"
        " s = frac(x, a + 1, kind=caputo, scheme=l2, slope=a) + frac(x, a, kind=caputo, scheme=gl, slope=a)\n"
        " u = frac(x, a, kind=integral) + frac(x, a, kind=integral, scheme=rectangle)\n"
        " v = frac(x, a, kind=caputo_fabrizio) + frac(x, a, kind=atangana_baleanu)\n"
        " w = frac(x, a, kind=tempered, lambda=a, causal=true, centered=true, engine=soe, step=a)\n"
        " y = p + q + r + s + u + v + w\n return y\n}\n";
    FraxModel *model = NULL;
    Graph *g = NULL;
    FraxError err;
    FraxStatus status = model_parse(text, strlen(text), "test.frax", NULL, &model, &err);
    if (!status) status = model_lower(model, NULL, &g, &err);
    if (status && status != FRAX_MEMORY) fail_msg("%s", err.message);
    graph_destroy(g);
    model_destroy(model);
    return status;
}

static void test_out_of_memory(void **state) {
    (void)state;
    long before = mem_count();
    assert_int_equal(lower_all_kinds(), FRAX_OK);
    long total = mem_count() - before;
    for (long n = 1; n <= total; n++) {
        mem_fail_after(n);
        FraxStatus status = lower_all_kinds();
        mem_fail_after(0);
        if (status != FRAX_MEMORY) fail_msg("allocation %ld of %ld fails, status %d", n, total, status);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_weights),        cmocka_unit_test(test_soe_weights),
        cmocka_unit_test(test_formulas),       cmocka_unit_test(test_mellin),
        cmocka_unit_test(test_riesz_feller),   cmocka_unit_test(test_kernels_without_singularity),
        cmocka_unit_test(test_table_of_kinds), cmocka_unit_test(test_guards),
        cmocka_unit_test(test_derivatives),    cmocka_unit_test(test_one_sample),
        cmocka_unit_test(test_rows),           cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
