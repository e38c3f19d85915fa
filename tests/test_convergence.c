/* test_convergence.c — how fast schemes approach the operator they discretise: the error at t = 1 on powers
 * of t, over four halvings of the step, falls by the stated order within 0.1.
 *
 * Powers are smooth enough for the order where p is large; the exact values are closed forms. Spectral kinds
 * are exact for what the grid holds (test_values.c).
 */
#include "operators.h"
#include "public_run.h"
#include <math.h>
#include <stdio.h>

/* D^α or I^α of t^p at t. */
typedef double Exact(double alpha, double p, double t);
typedef double Rate(double alpha);

static double power_derivative(double alpha, double p, double t) {
    return tgamma(p + 1) / tgamma(p + 1 - alpha) * pow(t, p - alpha);
}

static double power_integral(double alpha, double p, double t) {
    return power_derivative(-alpha, p, t);
}

static const double lambda = 0.7;

/* The signal is e^{−λt} t^p. */
static double tempered_derivative(double alpha, double p, double t) {
    return exp(-lambda * t) * power_derivative(alpha, p, t);
}

/* 1/(1−α) ∫ 2s e^{−r(t−s)} ds over [0, t], r = α/(1−α) */
static double caputo_fabrizio_of_square(double alpha, double p, double t) {
    double r = alpha / (1 - alpha);
    assert_true(p == 2);
    return 2 / (1 - alpha) * (t / r + expm1(-r * t) / (r * r));
}

/* 2 t² E_{α,3}(−r t^α)/(1−α) */
static double atangana_baleanu_of_square(double alpha, double p, double t) {
    Real z = -(Real)alpha / (1 - (Real)alpha) * powl(t, alpha);
    assert_true(p == 2);
    return (double)(2 * t * t * mittag_leffler_series(alpha, 3, z)) / (1 - alpha);
}

static double first(double alpha) {
    (void)alpha;
    return 1;
}

static double second(double alpha) {
    (void)alpha;
    return 2;
}

static double two_less(double alpha) {
    return 2 - alpha;
}

static double three_less(double alpha) {
    return 3 - alpha;
}

typedef struct Scheme {
    const char *options; /* after alpha, step= left to the test */
    Exact *exact;
    Rate *rate;
    double p, alphas[4]; /* 0 ends */
    double place;        /* the last sample stands for t = 1 − place · h */
    double decay;        /* the signal is e^{−decay·t} t^p */
    double grading;      /* samples at (k/N)^grading, given as times=; 0: uniform */
} Scheme;

static const Scheme schemes[] = {
    {"kind=grunwald", power_derivative, first, 2, {0.3, 0.5, 0.8, 1.6}},
    {"kind=grunwald", power_derivative, first, 2, {-0.3, -0.7, -1.5}},
    {"kind=riemann_liouville, scheme=gl", power_derivative, first, 2, {0.4, 0.9}},
    {"kind=riemann_liouville, scheme=bdf2", power_derivative, second, 3, {0.3, 0.5, 0.8, 1.5}},
    {"kind=riemann_liouville, scheme=bdf2", power_derivative, second, 2, {-0.6, -1.2}},
    {"kind=tempered, causal=true, lambda=0.7", tempered_derivative, first, 2, {0.3, 0.7, 1.4}, .decay = 0.7},
    {"kind=caputo, scheme=l1", power_derivative, two_less, 2, {0.2, 0.5, 0.8}},
    {"kind=caputo, scheme=l1", power_derivative, two_less, 3, {0.3, 0.5, 0.9}},
    {"kind=caputo, scheme=l1_2", power_derivative, three_less, 3, {0.2, 0.5, 0.8}},
    {"kind=caputo, scheme=l2", power_derivative, three_less, 4, {1.3, 1.5, 1.8}, .place = 0.5},
    {"kind=caputo, scheme=gl", power_derivative, first, 2, {0.3, 0.7, 1.5}},
    {"kind=integral, scheme=gl", power_integral, first, 2, {0.3, 0.7, 1.5}},
    {"kind=integral, scheme=rectangle", power_integral, first, 2, {0.3, 0.7, 1.5}},
    {"kind=integral, scheme=trapezoid", power_integral, second, 2, {0.3, 0.7, 1.5}},
    {"kind=caputo_fabrizio", caputo_fabrizio_of_square, second, 2, {0.3, 0.5, 0.8}},
    {"kind=atangana_baleanu", atangana_baleanu_of_square, second, 2, {0.3, 0.5, 0.7}},
    {"kind=hadamard", power_derivative, first, 2, {0.4, 0.8}},
};

static double grid_time(const Scheme *s, int64_t k, int64_t intervals) {
    double t = (double)k / (double)intervals;
    return s->grading > 0 ? pow(t, s->grading) : t;
}

enum { MOST_ALPHAS = 4 };

/* The error of the last sample with so many intervals on [0, 1], for each order. */
static void errors_with(const Scheme *s, int64_t intervals, double errors[MOST_ALPHAS]) {
    char text[512];
    int64_t n = intervals + 1;
    double *x = malloc((size_t)n * sizeof *x), *t = malloc((size_t)n * sizeof *t), h = 1 / (double)intervals,
           alphas[MOST_ALPHAS];
    assert_true(x && t);
    for (int64_t k = 0; k < n; k++) {
        t[k] = grid_time(s, k, intervals);
        x[k] = exp(-s->decay * t[k]) * pow(t[k], s->p);
    }
    for (int i = 0; i < MOST_ALPHAS; i++) alphas[i] = s->alphas[i] != 0 ? s->alphas[i] : s->alphas[0];
    snprintf(text, sizeof text,
             "model m(x: f64[%lld], t: f64[%lld], a: f64[4], h: f64) {\n"
             " y = frac(expand(x, 0, 4), a[:, none], %s, %s)\n last = y[:, -1]\n return last\n}\n",
             (long long)n, (long long)n, s->options, s->grading > 0 ? "times=t" : "step=h");
    Results r = run_model(text, &(RunOptions){.target = FRAX_EAGER}, (const double *[]){x, t, alphas, &h});
    for (int i = 0; i < MOST_ALPHAS; i++)
        errors[i] = fabs(r.data[0][i] - s->exact(alphas[i], s->p, 1 - s->place * h));
    free_results(&r);
    free(x);
    free(t);
}

/* The mean rate over four refinements, and that of the last one; how many orders miss theirs. */
static int count_failures(const Scheme *s) {
    enum { REFINEMENTS = 4, COARSEST = 64 };
    double errors[REFINEMENTS + 1][MOST_ALPHAS];
    int wrong = 0;
    for (int i = 0; i <= REFINEMENTS; i++) errors_with(s, COARSEST << i, errors[i]);
    for (int k = 0; k < MOST_ALPHAS && s->alphas[k] != 0; k++) {
        double expected = s->rate(s->alphas[k]),
               mean = log2(errors[0][k] / errors[REFINEMENTS][k]) / REFINEMENTS,
               last = log2(errors[REFINEMENTS - 1][k] / errors[REFINEMENTS][k]);
        if (fabs(mean - expected) <= 0.1 && fabs(last - expected) <= 0.1) continue;
        wrong++;
        print_error("%s, alpha %g, t^%g: errors %.3g … %.3g, order %.3f (%.3f at last), expected %.3f\n",
                    s->options, s->alphas[k], s->p, errors[0][k], errors[REFINEMENTS][k], mean, last,
                    expected);
    }
    return wrong;
}

static void test_orders_of_convergence(void **state) {
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < COUNT(schemes); i++) wrong += count_failures(&schemes[i]);
    assert_int_equal(wrong, 0);
}

/* On a graded mesh the L1 formula keeps its order where the signal has a singular start: t^α with samples at
   (k/N)^r, r = (2 − α)/α (Stynes, O'Riordan & Gracia 2017). */
static void test_graded_times(void **state) {
    (void)state;
    static const double alphas[] = {0.5, 0.7};
    for (size_t i = 0; i < COUNT(alphas); i++) {
        double a = alphas[i];
        Scheme graded = {"kind=caputo", power_derivative, two_less, a, {a}, .grading = (2 - a) / a};
        Scheme smooth = {"kind=caputo", power_derivative, two_less, 2, {a}, .grading = 1.5};
        assert_int_equal(count_failures(&graded) + count_failures(&smooth), 0);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_orders_of_convergence),
        cmocka_unit_test(test_graded_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
