/* test_values.c — fractional operators at known values, through the public interface, compiled and by the
 * reference.
 *
 * Where a scheme is exact for the signal, or the operator for the grid, the expected value is analytic and
 * the tolerance is that of rounding. How fast the others approach theirs is tested in test_convergence.c.
 * Digits were computed with mpmath at 40 digits.
 */
#include "public_run.h"
#include <math.h>
#include <stdio.h>

static const FraxTarget targets[] = {FRAX_CPU, FRAX_REFERENCE};

/* ---- One sample of a result ---- */

typedef double Signal(double t);

static double one(double t) {
    (void)t;
    return 1;
}

static double identity(double t) {
    return t;
}

static double square(double t) {
    return t * t;
}

static double square_root(double t) {
    return sqrt(t);
}

static double damped_square(double t) {
    return t * t * exp(-0.7 * t);
}

static double cube(double t) {
    return t * t * t;
}

/* t² at t = s², and t^5 */
static double fourth_power(double s) {
    return s * s * s * s;
}

static double fifth_power(double t) {
    return t * t * t * t * t;
}

static double square_plus_1(double t) {
    return t * t + 1;
}

/* t e^{−t}, t^{3/2} e^{−t} and t² e^{−t} on the logarithmic grid t = e^u */
static double gamma_pulse(double u) {
    return exp(u - exp(u));
}

static double gamma_pulse_3_2(double u) {
    return exp(1.5 * u - exp(u));
}

static double gamma_pulse_2(double u) {
    return exp(2 * u - exp(u));
}

typedef struct Row {
    const char *call; /* of x[n], sampled at start + i·step; the text has the same step */
    Signal *signal;
    int64_t n;
    double start, step;
    int64_t at;                 /* the sample looked at; from the end if negative */
    double expected, tolerance; /* relative to the expected value, or absolute where that is below 1 */
} Row;

static const double turn = 2 * M_PI;

static double value_of(const Row *row, FraxTarget target) {
    char text[512];
    double *x = malloc((size_t)row->n * sizeof *x);
    assert_non_null(x);
    for (int64_t i = 0; i < row->n; i++) x[i] = row->signal(row->start + (double)i * row->step);
    snprintf(text, sizeof text, "model m(x: f64[%lld]) {\n y = %s\n return y\n}\n", (long long)row->n,
             row->call);
    Results r = run_model(text, &(RunOptions){.target = target}, (const double *[]){x});
    double value = r.data[0][row->at < 0 ? row->n + row->at : row->at];
    free_results(&r);
    free(x);
    return value;
}

static void check_rows(const Row *rows, size_t n) {
    int wrong = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < COUNT(targets); k++) {
            double got = value_of(&rows[i], targets[k]), error = fabs(got - rows[i].expected);
            if (error <= rows[i].tolerance * fmax(1, fabs(rows[i].expected))) continue;
            wrong++;
            print_error("%s, %s, sample %lld: %.17g, expected %.17g, error %.3g\n", target_name(targets[k]),
                        rows[i].call, (long long)rows[i].at, got, rows[i].expected, error);
        }
    assert_int_equal(wrong, 0);
}

/* ---- Periodic kinds: exact for what the grid holds ---- */

/* The whole of D sin(m t), which is gain · sin(m t + phase). */
static void check_sine(const char *call, int m, double gain, double phase) {
    enum { N = 256 };
    char text[256];
    double x[N];
    for (int i = 0; i < N; i++) x[i] = sin(m * turn * i / N);
    snprintf(text, sizeof text, "model m(x: f64[256]) {\n h = 2*pi/256\n y = %s\n return y\n}\n", call);
    for (size_t k = 0; k < COUNT(targets); k++) {
        Results r = run_model(text, &(RunOptions){.target = targets[k]}, (const double *[]){x});
        for (int i = 0; i < N; i++) {
            double error = fabs(r.data[0][i] - gain * sin(m * turn * i / N + phase));
            if (!(error < 1e-12 * fmax(1, gain))) fail_msg("%s, sample %d: error %g", call, i, error);
        }
        free_results(&r);
    }
}

static void test_sines(void **state) {
    (void)state;
    const double root3 = 1.7320508075688772;
    check_sine("frac(x, 0.5, kind=riesz, step=h)", 3, root3, 0);
    check_sine("frac(x, 0.5, kind=weyl, step=h)", 3, root3, M_PI / 4);
    check_sine("frac(x, -0.5, kind=weyl, step=h)", 3, 1 / root3, -M_PI / 4);
    check_sine("frac(x, 1, kind=weyl, step=h)", 5, 5, M_PI / 2);
    check_sine("frac(x, 2, kind=riesz, step=h)", 5, 25, 0);
    check_sine("frac(x, 1.5, kind=laplacian, step=h)", 4, 8, 0);
    /* |2 + 3i| = √13, arg = atan 3/2 */
    check_sine("frac(x, 0.7, kind=riesz_feller, theta=0.3, step=h)", 2, 1.62450479271247105,
               0.471238898038468986);
    check_sine("frac(x, 1.2, kind=riesz_feller, theta=-0.4, step=h)", 2, 2.29739670999407001,
               -0.628318530717958648);
    check_sine("frac(x, 0.6, kind=tempered, lambda=2, step=h)", 3, 2.15865384442157976, 0.589676233948397441);
}

/* sin x · sin 2y under (−Δ)^{α/2} is multiplied by 5^{α/2}. */
static void test_laplacian_in_the_plane(void **state) {
    (void)state;
    enum { N = 12, M = 15 };
    double x[N * M];
    for (int i = 0; i < N * M; i++) x[i] = sin(turn * (i / M) / N) * sin(2 * turn * (i % M) / M);
    for (size_t k = 0; k < COUNT(targets); k++) {
        Results r = run_model("model m(x: f64[12,15]) {\n y = frac(x, 1.4, kind=laplacian, axes=(0, 1), "
                              "step=(2*pi/12, 2*pi/15))\n return y\n}\n",
                              &(RunOptions){.target = targets[k]}, (const double *[]){x});
        for (int i = 0; i < N * M; i++) assert_true(fabs(r.data[0][i] - 3.08516931360004818 * x[i]) < 1e-12);
        free_results(&r);
    }
}

/* The mean of x is at ω = 0: no derivative may see it, whatever the order, and the integral must not either.
 */
static void test_constants_vanish(void **state) {
    (void)state;
    static const char *const calls[] = {"0.3, kind=weyl", "-0.3, kind=weyl", "0.3, kind=riesz",
                                        "1.5, kind=laplacian", "0.5, kind=tempered, lambda=2, centered=true"};
    const double x[7] = {1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6};
    for (size_t i = 0; i < COUNT(calls); i++)
        for (size_t k = 0; k < COUNT(targets); k++) {
            char text[160];
            snprintf(text, sizeof text, "model m(x: f64[7]) {\n y = frac(x, %s)\n return y\n}\n", calls[i]);
            Results r = run_model(text, &(RunOptions){.target = targets[k]}, (const double *[]){x});
            for (int n = 0; n < 7; n++)
                if (!(fabs(r.data[0][n]) < 4e-9)) /* 1e6 · rounding of seven terms · π^α */
                    fail_msg("%s, %s: %g", target_name(targets[k]), calls[i], r.data[0][n]);
            free_results(&r);
        }
}

/* ---- Causal kinds ---- */

static void test_grunwald(void **state) {
    (void)state;
    static const Row rows[] = {
        {"frac(x, 0.5, kind=grunwald)", square, 256, 0, 1 / 255.0, -1, 0.0940772965107795, 1e-12},
        {"frac(x, 0.5, kind=grunwald, step=0.05)", square, 2, 0, 0.05, 1, 0.0111803398874990, 1e-12},
        {"frac(x, 1, kind=grunwald, step=0.125)", square, 9, 0, 0.125, -1, 1.875, 1e-15},
        {"frac(x, 2, kind=grunwald, step=0.125)", square, 9, 0, 0.125, -1, 2, 1e-15},
        {"frac(x, -1, kind=grunwald, step=0.25)", identity, 9, 0, 0.25, -1, 2.25, 1e-15},
        {"frac(x, 0.5, kind=grunwald, step=0.0009765625)", square_root, 1025, 0, 1 / 1024.0, -1,
         0.88622692545275801, 3e-4},
    };
    check_rows(rows, COUNT(rows));
}

/* Discrete formulas, evaluated with mpmath; a power of two as the step keeps the samples exact. */
static void test_discrete_results(void **state) {
    (void)state;
    static const Row rows[] = {
        {"frac(x, 0.5, kind=riemann_liouville, scheme=bdf2, step=0.125)", square, 9, 0, 0.125, -1,
         1.50140954696523484, 1e-13},
        {"frac(x, 1.3, kind=riemann_liouville, scheme=bdf2, step=0.125)", square, 9, 0, 0.125, -1,
         2.20465134030804342, 1e-13},
        {"frac(x, 0.5, kind=tempered, causal=true, lambda=0.7, step=0.0625)", damped_square, 17, 0, 0.0625,
         -1, 0.729719345631937858, 1e-13},
        {"frac(x, -0.4, kind=tempered, causal=true, lambda=0.7, step=0.0625)", damped_square, 17, 0, 0.0625,
         -1, 0.343152545830465009, 1e-13},
        {"frac(x, 0.5, kind=hadamard, step=0.1)", square, 11, 0, 0.1, -1, 1.44867840346658672, 1e-13},
        {"frac(x, -0.6, kind=hadamard, step=0.1)", square, 11, 0, 0.1, -1, 0.580477812348637496, 1e-13},
        {"frac(x, 0.5, kind=caputo, scheme=l1, step=0.05)", square, 3, 0, 0.05, 1, 0.0126156626101008, 1e-12},
        {"frac(x, 0.5, kind=caputo, scheme=l1, step=0.05)", square, 3, 0, 0.05, 2, 0.0430725663817293, 1e-12},
        {"frac(x, 0.5, kind=caputo, scheme=l1, step=0.05)", square, 3, 0, 0.05, 0, 0, 0},
        {"frac(x, 0.4, kind=caputo, scheme=l1_2, step=0.2)", cube, 6, 0, 0.2, -1, 1.60543402933606989, 1e-13},
        {"frac(x, 0.7, kind=caputo, scheme=l1_2, step=0.25)", square, 5, 0, 0.25, -1, 1.7134473543259557,
         1e-13},
        {"frac(x, 1.5, kind=caputo, scheme=l2, step=0.25)", square, 5, 0, 0.25, -1, 2.10558419090135242,
         1e-13},
        {"frac(x, 1.2, kind=caputo, scheme=l2, step=0.2)", cube, 6, 0, 0.2, -1, 2.94361394485981845, 1e-13},
        {"frac(x, 1.6, kind=caputo, scheme=l2, slope=1, step=0.2)", exp, 6, 0, 0.2, -1, 2.06256623160815325,
         1e-13},
        {"frac(x, 0.5, kind=caputo, times=iota(5, f64)^2/16)", fourth_power, 5, 0, 0.25, -1,
         1.39202781637958231, 1e-13},
        {"frac(x, 0.8, kind=caputo, times=iota(5, f64)^2/16)", fourth_power, 5, 0, 0.25, -1,
         1.5433376536270728, 1e-13},
        {"frac(x, 0.5, kind=caputo, scheme=gl, step=0.125)", square_plus_1, 9, 0, 0.125, -1,
         1.43490800216673211, 1e-13},
        {"frac(x, 1.5, kind=caputo, scheme=gl, slope=1, step=0.125)", exp, 9, 0, 0.125, -1,
         2.03620108074276792, 1e-13},
        {"frac(x, 0.7, kind=integral, scheme=rectangle, step=0.125)", identity, 9, 0, 0.125, -1,
         0.574907014595372321, 1e-13},
        {"frac(x, 0.7, kind=integral, scheme=trapezoid, step=0.125)", square, 9, 0, 0.125, -1,
         0.482348506946356955, 1e-13},
        {"frac(x, 0.4, kind=integral, scheme=trapezoid, step=0.125)", square_plus_1, 9, 0, 0.125, -1,
         1.80049533568777245, 1e-13},
        {"frac(x, 1.2, kind=integral, scheme=trapezoid, step=0.125)", square, 9, 0, 0.125, -1,
         0.260210546947021459, 1e-13},
        {"frac(x, 0.8, kind=caputo_fabrizio, step=0.125)", square, 9, 0, 0.125, -1, 1.87371787058513544,
         1e-13},
        {"frac(x, 0.5, kind=atangana_baleanu, step=0.125)", square, 9, 0, 0.125, -1, 1.23029833090258317,
         1e-12},
        {"frac(x, 0.9, kind=atangana_baleanu, step=0.125)", square, 9, 0, 0.125, -1, 1.8408874472889082,
         1e-12},
    };
    check_rows(rows, COUNT(rows));
}

/* Schemes that are exact for lines, or for steps, at t = 1: the operator's own value. */
static void test_exact_results(void **state) {
    (void)state;
    static const Row rows[] = {
        {"frac(x, 0.5, kind=caputo, scheme=l1, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.12837916709551257, 1e-13},
        {"frac(x, 0.3, kind=caputo, scheme=l1, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.10054740552366571, 1e-13},
        {"frac(x, 0.3, kind=caputo, scheme=l1_2, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.10054740552366571, 1e-13},
        {"frac(x, 0.5, kind=caputo, times=iota(9, f64)^2/64)", square, 9, 0, 0.125, -1, 1.12837916709551257,
         1e-13},
        {"frac(x, 0.7, kind=integral, scheme=rectangle, step=0.015625)", one, 65, 0, 0.015625, -1,
         1.10054740552366571, 1e-13},
        {"frac(x, 0.7, kind=integral, scheme=trapezoid, step=0.015625)", one, 65, 0, 0.015625, -1,
         1.10054740552366571, 1e-13},
        {"frac(x, 0.5, kind=integral, scheme=trapezoid, step=0.015625)", identity, 65, 0, 0.015625, -1,
         0.752252778063675049, 1e-13},
        {"frac(x, 0.7, kind=integral, scheme=trapezoid, step=0.015625)", identity, 65, 0, 0.015625, -1,
         0.64738082677862689, 1e-13},
        {"frac(x, 0.5, kind=caputo_fabrizio, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.2642411176571154, 1e-13},
        {"frac(x, 0.3, kind=caputo_fabrizio, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.1618698082298147, 1e-13},
        {"frac(x, 0.5, kind=atangana_baleanu, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.11192548650263916, 1e-12},
        {"frac(x, 0.9, kind=atangana_baleanu, step=0.015625)", identity, 65, 0, 0.015625, -1,
         1.13690866563220281, 1e-12},
    };
    check_rows(rows, COUNT(rows));
}

/* ---- Logarithmic grid ---- */

/* t^α D^α of t^s e^{−t} is t^s Γ(s+1)/Γ(s+1−α) ₁F₁(s+1; s+1−α; −t); u = 30·(i/1024 − 1), and t = 1 at i =
 * 1024. */
static void test_mellin(void **state) {
    (void)state;
    static const Row rows[] = {
        {"frac(x, 0.5, kind=mellin, step=60/2048)", gamma_pulse, 2048, -30, 60.0 / 2048, 1024,
         0.26061073062705942, 1e-10},
        {"frac(x, 0.3, kind=mellin, step=60/2048)", gamma_pulse_3_2, 2048, -30, 60.0 / 2048, 1024,
         0.37568197509818079105, 1e-10},
        {"frac(x, 1.7, kind=mellin, step=60/2048)", gamma_pulse, 2048, -30, 60.0 / 2048, 1024,
         -0.37720227053322598043, 1e-10},
        {"frac(x, -0.6, kind=mellin, step=60/2048)", gamma_pulse_2, 2048, -30, 60.0 / 2048, 1024,
         0.23769643374264599753, 1e-10},
    };
    check_rows(rows, COUNT(rows));
}

/* ---- Convergence to known values ---- */

/* Errors at t = 1 with 1024 steps, which the formulas themselves have: 1.42e-5, 5.5e-4 and 1.8e-7 for D^½ t².
 */
static void test_stated_errors(void **state) {
    (void)state;
    static const struct {
        const char *options;
        double error;
    } rows[] = {{"kind=caputo, scheme=l1", 1.42e-5},
                {"kind=riemann_liouville, scheme=gl", 5.5e-4},
                {"kind=riemann_liouville, scheme=bdf2", 1.8e-7}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        char call[128];
        snprintf(call, sizeof call, "frac(x, 0.5, %s, step=1/1024)", rows[i].options);
        Row row = {call, square, 1025, 0, 1 / 1024.0, -1};
        for (size_t k = 0; k < COUNT(targets); k++) {
            double error = fabs(value_of(&row, targets[k]) - 1.50450555612735010);
            if (!(fabs(error / rows[i].error - 1) < 0.02)) fail_msg("%s: error %g", call, error);
        }
    }
}

/* Caputo D^½ t^5 at 3.2, and RL D^½ √t = Γ(3/2). */
static void test_limits(void **state) {
    (void)state;
    static const Row rows[] = {
        {"frac(x, 0.5, kind=caputo, scheme=l1_2, step=0.0015625)", fifth_power, 2049, 0, 0.0015625, -1,
         430.03062164883283, 1e-6},
        {"frac(x, 0.5, kind=riemann_liouville, step=1/1024)", square_root, 1025, 0, 1 / 1024.0, -1,
         0.88622692545275801, 3e-4},
    };
    check_rows(rows, COUNT(rows));
}

/* ∂D^α t²/∂α at t = 1, α = ½, by the second-order scheme on two grids, extrapolated. */
static void test_slope_in_the_order(void **state) {
    (void)state;
    double slope[2];
    for (int i = 0; i < 2; i++) {
        int intervals = 512 << i;
        char text[300];
        double a = 0.5, *x = malloc(sizeof *x * (size_t)(intervals + 1));
        assert_non_null(x);
        for (int n = 0; n <= intervals; n++) x[n] = square((double)n / intervals);
        snprintf(
            text, sizeof text,
            "model m(x: f64[%d], a: f64) {\n y = frac(x, a, kind=riemann_liouville, scheme=bdf2, step=1/%d)\n"
            " loss = y[-1]\n return loss\n}\n",
            intervals + 1, intervals);
        Results r = run_model(text, &(RunOptions){FRAX_CPU, {"a"}}, (const double *[]){x, &a});
        slope[i] = r.data[1][0];
        free_results(&r);
        free(x);
    }
    assert_true(fabs((4 * slope[1] - slope[0]) / 3 - 1.0579030726786109) < 1e-8);
}

/* ∂w_j/∂α at α = ½ */
static void test_derivative_of_grunwald_weights(void **state) {
    (void)state;
    static const struct {
        int j;
        double slope;
    } rows[] = {{1, -1}, {2, 0}, {3, 1 / 24.0}, {100, 0.00129081457003}};
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(targets); k++) {
            char text[160];
            snprintf(text, sizeof text,
                     "model m(a: f64) {\n w = grunwald_weights(a, 101)\n loss = w[%d]\n return loss\n}\n",
                     rows[i].j);
            Results r =
                run_model(text, &(RunOptions){targets[k], {"a"}}, (const double *[]){(double[]){0.5}});
            assert_true(fabs(r.data[1][0] - rows[i].slope) < 1e-14);
            free_results(&r);
        }
}

/* ---- Mittag-Leffler ---- */

static void test_mittag_leffler(void **state) {
    (void)state;
    static const double rows[][4] = {
        {0.5, 1, -1, 0.427583576155807},     {0.8, 1, -1, 0.38694857861897685},
        {1.5, 1, -1, 0.39662936531808808},   {0.5, 0.5, -1, 0.13660600739194928},
        {0.5, 1, -10, 0.056140992743822586}, {0.5, 1, -5, 0.110704637733069},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) {
            Results r = run_model(
                "model m(a: f64, b: f64, z: f64) {\n y = mittag_leffler(a, b, z)\n return y\n}\n",
                &(RunOptions){.target = target}, (const double *[]){&rows[i][0], &rows[i][1], &rows[i][2]});
            if (!(fabs(r.data[0][0] - rows[i][3]) < 1e-14))
                fail_msg("%s, E(%g, %g, %g) = %.17g", target_name(target), rows[i][0], rows[i][1], rows[i][2],
                         r.data[0][0]);
            free_results(&r);
        }
}

/* ---- Real series ---- */

static int64_t read_series(const char *path, double *x, int64_t max) {
    char line[128];
    int64_t n = 0;
    FILE *file = fopen(path, "r");
    if (!file) fail_msg("cannot read %s", path);
    assert_non_null(fgets(line, sizeof line, file)); /* the names of the columns */
    while (n < max && fgets(line, sizeof line, file) && strchr(line, ','))
        x[n++] = strtod(strchr(line, ',') + 1, NULL);
    fclose(file);
    return n;
}

static double loss_at(const FraxExecutable *exe, const double *x, double d) {
    Results r;
    FraxError err;
    if (run_executable(exe, (const double *[]){x, &d}, &r, &err)) fail_msg("%s", err.message);
    double loss = r.data[0][0];
    free_results(&r);
    return loss;
}

/* Golden-section search: needs values alone. */
static double minimise(const FraxExecutable *exe, const double *x, double lo, double hi) {
    const double phi = (sqrt(5) - 1) / 2;
    while (hi - lo > 1e-7) {
        double a = hi - phi * (hi - lo), b = lo + phi * (hi - lo);
        if (loss_at(exe, x, a) < loss_at(exe, x, b))
            hi = b;
        else
            lo = a;
    }
    return (lo + hi) / 2;
}

/* Order and loss were found by an independent optimiser; loss 0: not known. */
static void check_series(const char *path, int64_t n, double order, double loss) {
    double x[400];
    char text[256];
    assert_int_equal(read_series(path, x, 400), n);
    snprintf(text, sizeof text,
             "model m(x: f64[%lld], d: f64) {\n e = frac(x - mean(x), d, kind=grunwald)\n loss = mean(e^2)\n"
             " return loss\n}\n",
             (long long)n);
    for (size_t k = 0; k < COUNT(targets); k++) {
        FraxExecutable *exe = compile_model(text, &(RunOptions){.target = targets[k]});
        double d = minimise(exe, x, order - 0.3, order + 0.2);
        assert_true(fabs(d - order) < 1e-6);
        if (loss > 0) assert_true(fabs(loss_at(exe, x, d) - loss) < 1e-6);
        frax_executable_destroy(exe);
    }
}

static void test_memory_of_two_series(void **state) {
    (void)state;
    check_series("frontend/examples/data/nile.csv", 100, 0.383052, 20080.7128019795);
    check_series("frontend/examples/data/sunspots.csv", 309, 1.574052, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sines),
        cmocka_unit_test(test_laplacian_in_the_plane),
        cmocka_unit_test(test_constants_vanish),
        cmocka_unit_test(test_grunwald),
        cmocka_unit_test(test_discrete_results),
        cmocka_unit_test(test_exact_results),
        cmocka_unit_test(test_mellin),
        cmocka_unit_test(test_stated_errors),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_slope_in_the_order),
        cmocka_unit_test(test_derivative_of_grunwald_weights),
        cmocka_unit_test(test_mittag_leffler),
        cmocka_unit_test(test_memory_of_two_series),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
