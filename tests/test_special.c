/* test_special.c — the special functions against tables by mpmath (mittag_leffler.py, complex_lgamma.py),
 * against the laws they obey, and their derivatives against differences.
 *
 * "Within t" is relative or absolute error: at most t times the larger of 1 and the value.
 */
#include "derivatives.h"
#include "special.h"
#include <stdio.h>

static void expect_within(double got, double expected, double tolerance, const char *what) {
    if (got == expected) return;
    if (!(fabs(got - expected) <= tolerance * fmax(1, fabs(expected))))
        fail_msg("%s is %.17g, expected %.17g", what, got, expected);
}

/* ---- Tables ---- */

enum { MOST_COLUMNS = 6 };

typedef void CheckRow(const double *row);

/* Calls `check` on every row of so many numbers; returns how many there are. */
static int each_row(const char *path, int columns, CheckRow *check) {
    FILE *file = fopen(path, "r");
    char line[256];
    int rows = 0;
    if (!file) fail_msg("cannot open %s", path);
    while (fgets(line, sizeof line, file)) {
        double row[MOST_COLUMNS];
        char *at = line, *end;
        if (*line == '#') continue;
        for (int i = 0; i < columns; i++, at = end) {
            row[i] = strtod(at, &end);
            if (end == at) fail_msg("%s: row %d has %d numbers, expected %d", path, rows, i, columns);
        }
        check(row);
        rows++;
    }
    fclose(file);
    return rows;
}

static void check_mittag_leffler(const double *r) {
    char what[160];
    snprintf(what, sizeof what, "E{%g,%g} (%.17g, %.17g, %.17g)", r[3], r[4], r[0], r[1], r[2]);
    expect_within(mittag_leffler(r[0], r[1], r[2], (int64_t)r[3], (int64_t)r[4]), r[5], 1e-12, what);
}

static void test_mittag_leffler_table(void **state) {
    (void)state;
    assert_int_equal(each_row("tests/data/mittag_leffler.txt", 6, check_mittag_leffler), 5500);
}

static void check_complex_lgamma(const double *r) {
    char what[160];
    for (int part = 0; part < PART_COUNT; part++) {
        snprintf(what, sizeof what, "%s of derivative %g of log Γ(%.17g + %.17gi)", part_names[part], r[2],
                 r[0], r[1]);
        expect_within(complex_lgamma(r[0], r[1], (int64_t)r[2], (Part)part), r[3 + part], 1e-13, what);
    }
}

static void test_complex_lgamma_table(void **state) {
    (void)state;
    assert_int_equal(each_row("tests/data/complex_lgamma.txt", 5, check_complex_lgamma), 1500);
}

/* ---- Laws of the Mittag-Leffler function ---- */

/* e^{x²} erfc x, by its continued fraction where erfc alone is too small (Abramowitz & Stegun 7.1.14). */
static double scaled_erfc(double x) {
    double fraction = x;
    if (x < 4) return exp(x * x) * erfc(x);
    for (int k = 80; k > 0; k--) fraction = x + 0.5 * k / fraction;
    return 1 / (sqrt(M_PI) * fraction);
}

static void test_elementary_cases(void **state) {
    (void)state;
    for (double x = -30; x <= 30; x += 0.37) {
        double root = sqrt(fabs(x)), wave = x < 0 ? cos(root) : cosh(root);
        double integral = x < 0 ? sin(root) / root : sinh(root) / root;
        expect_within(mittag_leffler(1, 1, x, 0, 0), exp(x), 1e-12, "E(1, 1, x)");
        expect_within(mittag_leffler(1, 2, x, 0, 0), expm1(x) / x, 1e-12, "E(1, 2, x)");
        expect_within(mittag_leffler(2, 1, x, 0, 0), wave, 1e-12, "E(2, 1, x)");
        expect_within(mittag_leffler(2, 2, x, 0, 0), integral, 1e-12, "E(2, 2, x)");
    }
    for (double x = 0; x <= 1000; x = 1.1 * x + 0.05)
        expect_within(mittag_leffler(0.5, 1, -x, 0, 0), scaled_erfc(x), 1e-12, "E(1/2, 1, -x)");
    expect_within(mittag_leffler(0.5, 1, -5, 0, 0), 0.110704637733069, 1e-14, "E(1/2, 1, -5)");
}

static void expect_relative(double got, double expected, double tolerance, const char *what) {
    if (!(fabs(got - expected) <= tolerance * fabs(expected)))
        fail_msg("%s is %.17g, expected %.17g", what, got, expected);
}

/* Where the first terms of the series vanish, what is left is small and right to its own digits:
   E_{1,−p}(z) = z^{p+1} e^z, E_{2,−1}(z) = z cosh √z, E_{2,0}(z) = √z sinh √z, ∂z (z² e^z) = (z² + 2z) e^z.
 */
static void test_small_arguments(void **state) {
    (void)state;
    for (double z = 0.25; z > 1e-100; z *= 0.3)
        for (int sign = -1; sign <= 1; sign += 2) {
            double x = sign * z, root = sqrt(z), cosine = x < 0 ? cos(root) : cosh(root);
            double sine = x < 0 ? sin(root) / root : sinh(root) / root;
            expect_relative(mittag_leffler(1, 0, x, 0, 0), x * exp(x), 1e-14, "E(1, 0, x)");
            expect_relative(mittag_leffler(1, -1, x, 0, 0), x * x * exp(x), 1e-14, "E(1, -1, x)");
            expect_relative(mittag_leffler(2, -1, x, 0, 0), x * cosine, 1e-14, "E(2, -1, x)");
            expect_relative(mittag_leffler(2, 0, x, 0, 0), x * sine, 1e-14, "E(2, 0, x)");
            expect_relative(mittag_leffler(1, -1, x, 1, 0), x * (x + 2) * exp(x), 1e-14, "E'(1, -1, x)");
            expect_relative(mittag_leffler(0.5, -0.5, x, 0, 0),
                            -0.5 / sqrt(M_PI) + x * x * (1 / sqrt(M_PI) + x * exp(x * x) * erfc(-x)), 1e-14,
                            "E(1/2, -1/2, x)");
        }
    expect_relative(mittag_leffler(1, -200, 0.1, 0, 0), 1e-201 * exp(0.1), 1e-12, "E(1, -200, 0.1)");
}

static double rgamma(double x) {
    return x <= 0 && x == floor(x) ? 0 : 1 / tgamma(x);
}

/* A point of the domain that is wanted: α in (0.02, 2], β in [0.05, 8], z in [−100, 10] where E is finite. */
static void draw_point(uint64_t *seed, double *alpha, double *beta, double *z) {
    do {
        *alpha = next_uniform(seed, 0.02, 2);
        *beta = next_uniform(seed, 0.05, 8);
        *z = next_random(seed) % 2 ? next_uniform(seed, -100, 10) : next_uniform(seed, -3, 3);
    } while (*z > 0 && pow(*z, 1 / *alpha) > 600);
}

/* E_{α,β}(z) = z E_{α,α+β}(z) + 1/Γ(β); the error of the right side is |z| times that of one value. */
static void test_recurrence_in_beta(void **state) {
    (void)state;
    uint64_t seed = 3;
    for (int i = 0; i < 3000; i++) {
        double alpha, beta, z;
        draw_point(&seed, &alpha, &beta, &z);
        double left = mittag_leffler(alpha, beta, z, 0, 0),
               next = mittag_leffler(alpha, alpha + beta, z, 0, 0);
        double error = 1e-12 * (1 + fabs(left) + fabs(z) * fmax(1, fabs(next)));
        if (!(fabs(left - z * next - rgamma(beta)) <= error))
            fail_msg("E(%.17g, %.17g, %.17g) breaks the recurrence", alpha, beta, z);
    }
}

/* αz ∂z E_{α,β+1} + β E_{α,β+1} = E_{α,β}, and once more differentiated in z and in β. The errors of the
   derivatives, 1e-12 each, come multiplied by αz and β < 9. */
static void test_differential_recurrence(void **state) {
    (void)state;
    uint64_t seed = 4;
    for (int i = 0; i < 1000; i++) {
        double a, b, z;
        draw_point(&seed, &a, &b, &z);
        double e = mittag_leffler(a, b + 1, z, 0, 0), ez = mittag_leffler(a, b + 1, z, 1, 0);
        double ezz = mittag_leffler(a, b + 1, z, 2, 0), eb = mittag_leffler(a, b + 1, z, 0, 1);
        double ezb = mittag_leffler(a, b + 1, z, 1, 1);
        double sums[] = {a * z * ez + b * e, a * z * ezz + (a + b) * ez, a * z * ezb + b * eb + e};
        double expected[] = {mittag_leffler(a, b, z, 0, 0), mittag_leffler(a, b, z, 1, 0),
                             mittag_leffler(a, b, z, 0, 1)};
        double terms[] = {a * z * ez, a * z * ezz, a * z * ezb};
        for (int k = 0; k < 3; k++)
            if (!(fabs(sums[k] - expected[k]) <= 1e-11 * (1 + fabs(terms[k]) + fabs(z) + fabs(expected[k]))))
                fail_msg("law %d at (%.17g, %.17g, %.17g): %.17g, expected %.17g", k, a, b, z, sums[k],
                         expected[k]);
    }
}

/* Far out: −1/(zΓ(β−α)) − 1/(z²Γ(β−2α)) on the left, e^{z^{1/α}}/α on the right. */
static void test_asymptotes(void **state) {
    (void)state;
    for (double alpha = 0.1; alpha < 1.95; alpha += 0.1) {
        double z = -1e6, expected = -rgamma(3 - alpha) / z - rgamma(3 - 2 * alpha) / (z * z);
        double got = mittag_leffler(alpha, 3, z, 0, 0);
        if (alpha < 1.3 && !(fabs(got - expected) <= 1e-9 * fabs(expected)))
            fail_msg("E(%g, 3, -1e6) is %.17g, expected %.17g", alpha, got, expected);
        expect_within(mittag_leffler(alpha, 1, pow(500, alpha), 0, 0), exp(500) / alpha, 1e-11,
                      "E(alpha, 1, z)");
    }
    assert_true(mittag_leffler(0.5, 1, -INFINITY, 0, 0) == 0);
    assert_true(mittag_leffler(0.5, 1, 30, 0, 0) == INFINITY &&
                mittag_leffler(0.5, 1, INFINITY, 2, 0) == INFINITY);
    assert_true(mittag_leffler(0.02, 1, 10, 0, 0) == INFINITY &&
                mittag_leffler(0.02, 1, 10, 0, 1) == -INFINITY);
    assert_true(mittag_leffler(1, 10, 720, 0, 0) < INFINITY); /* e^720 alone overflows */
    double product = exp(1500 - 109 * log(1500));             /* whose factors over- and underflow */
    expect_within(mittag_leffler(1, 110, 1500, 0, 0), product, 1e-12, "E(1, 110, 1500)");
}

/* E_{1,β} with β = 1, 0, −1 falls as e^z, not as a power of 1/z. */
static void test_exponential_decay(void **state) {
    (void)state;
    for (double z = -700; z < -0.3; z *= 0.83) {
        expect_relative(mittag_leffler(1, 1, z, 0, 0), exp(z), 1e-14, "E(1, 1, z)");
        expect_relative(mittag_leffler(1, 1, z, 3, 0), exp(z), 1e-14, "third derivative of E(1, 1, z)");
        expect_relative(mittag_leffler(1, 0, z, 0, 0), z * exp(z), 1e-14, "E(1, 0, z)");
        double slope = (z * z + 2 * z) * exp(z), size = (z * z - 2 * z) * exp(z);
        if (!(fabs(mittag_leffler(1, -1, z, 1, 0) - slope) <= 1e-14 * size))
            fail_msg("E'(1, -1, %g) is %.17g, expected %.17g", z, mittag_leffler(1, -1, z, 1, 0), slope);
    }
    assert_true(mittag_leffler(1, -3, -1e300, 0, 0) == 0);
}

static void test_domain(void **state) {
    (void)state;
    static const double outside[] = {0, -1, 2.0000001, INFINITY, NAN};
    for (size_t i = 0; i < COUNT(outside); i++) assert_true(isnan(mittag_leffler(outside[i], 1, -1, 0, 0)));
    assert_true(isnan(mittag_leffler(0.5, NAN, -1, 0, 0)) && isnan(mittag_leffler(0.5, INFINITY, -1, 0, 0)));
    assert_true(isnan(mittag_leffler(0.5, 1, NAN, 0, 0)));
    assert_true(mittag_leffler(0.7, 1, 0, 0, 0) == 1 && mittag_leffler(0.7, 0, 0, 0, 0) == 0);
}

/* ---- Laws of complex log Γ ---- */

/* f(z + 1) − f(z) = d^n log z, with no whole turns of the angle: log Γ is continuous. */
static void test_recurrence_of_log_gamma(void **state) {
    (void)state;
    uint64_t seed = 5;
    for (int i = 0; i < 4000; i++) {
        double x = next_uniform(&seed, -25, 30),
               y = next_uniform(&seed, -1, 1) * pow(10, next_uniform(&seed, -6, 3));
        double re = complex_lgamma(x + 1, y, 0, PART_RE) - complex_lgamma(x, y, 0, PART_RE);
        double im = complex_lgamma(x + 1, y, 0, PART_IM) - complex_lgamma(x, y, 0, PART_IM);
        double scale = fmax(1, hypot(x, y)) * 20; /* of log Γ itself */
        expect_within(re / scale, log(hypot(x, y)) / scale, 1e-13, "Re log(z)");
        expect_within(im / scale, atan2(y, x) / scale, 1e-13, "Im log(z)");
        double square = x * x + y * y, slope_scale = fmax(1, 1 / square);
        re = complex_lgamma(x + 1, y, 1, PART_RE) - complex_lgamma(x, y, 1, PART_RE);
        im = complex_lgamma(x + 1, y, 1, PART_IM) - complex_lgamma(x, y, 1, PART_IM);
        expect_within(re, x / square, 1e-12 * slope_scale, "Re 1/z");
        expect_within(im, -y / square, 1e-12 * slope_scale, "Im 1/z");
    }
}

/* On the real axis: log |Γ| and polygamma, which loses two digits in its reflection; seen from above, the
   angle falls by π at each pole. */
static void test_real_axis(void **state) {
    (void)state;
    for (double x = -24.75; x < 30; x += 0.5) {
        expect_within(complex_lgamma(x, 0, 0, PART_RE), log_gamma(x), 1e-13, "Re log Γ(x)");
        expect_within(complex_lgamma(x, 0, 0, PART_IM), x < 0 ? M_PI * floor(x) : 0, 1e-13, "Im log Γ(x)");
        expect_within(complex_lgamma(x, -0.0, 0, PART_IM), x < 0 ? -M_PI * floor(x) : 0, 1e-13, "Im below");
        expect_within(complex_lgamma(x, 1e-300, 0, PART_IM), complex_lgamma(x, 0, 0, PART_IM), 1e-13,
                      "above");
        for (int64_t n = 1; n < 5; n++) {
            expect_within(complex_lgamma(x, 0, n, PART_RE), polygamma(n - 1, x), 1e-11, "ψ(x)");
            assert_true(complex_lgamma(x, 0, n, PART_IM) == 0);
        }
    }
    assert_true(complex_lgamma(0, 0, 0, PART_RE) == INFINITY &&
                complex_lgamma(-7, 0, 0, PART_RE) == INFINITY);
    assert_true(isnan(complex_lgamma(-7, 0, 1, PART_RE)) && isnan(complex_lgamma(NAN, 0, 0, PART_RE)));
    assert_true(isfinite(complex_lgamma(-1e6, 0.5, 3, PART_RE))); /* by reflection, not a million steps */
}

/* ---- Derivatives: first and second order, in both modes, against differences ---- */

typedef struct Orders {
    int64_t n, m;
    double alpha[2], z[2]; /* the ranges that operands in (0, 1) stand for */
} Orders;

static Value into(Graph *g, Value x, const double range[2]) {
    return g_shift(g, g_scale(g, x, range[1] - range[0]), range[0]);
}

static Value build_mittag_leffler(Graph *g, const Value *x, const void *context) {
    const Orders *o = context;
    return g_mittag_leffler(g, o->n, o->m, into(g, x[0], o->alpha), into(g, x[1], (double[]){0.05, 4}),
                            into(g, x[2], o->z));
}

static void test_mittag_leffler_derivatives(void **state) {
    (void)state;
    static const Orders orders[] = {
        {0, 0, {0.1, 0.9}, {-10, 0.5}},   {0, 0, {0.9, 1.1}, {-8, 3}},  {0, 0, {1.1, 1.9}, {-60, 8}},
        {1, 0, {0.4, 1.6}, {-3, 3}},      {0, 1, {0.4, 1.6}, {-20, 2}}, {2, 2, {0.6, 1.4}, {-3, 1}},
        {0, 0, {0.3, 0.6}, {-1e4, -9e3}},
    };
    for (size_t i = 0; i < COUNT(orders); i++) {
        char name[80];
        snprintf(name, sizeof name, "mittag_leffler %zu", i);
        Function f = {name, 3, {SHAPE(8), SHAPE(8), SHAPE(8)}, 0.05, 0.95, build_mittag_leffler, &orders[i]};
        check_derivatives(&f, i);
    }
}

static Value build_complex_lgamma(Graph *g, const Value *x, const void *context) {
    const Attrs *at = context;
    return g_complex_lgamma(g, at->n, (Part)at->part, x[0], x[1]);
}

static void test_complex_lgamma_derivatives(void **state) {
    (void)state;
    for (int64_t n = 0; n < 3; n++)
        for (int part = 0; part < PART_COUNT; part++)
            for (int left = 0; left < 2; left++) {
                Attrs at = {.n = n, .part = (uint8_t)part};
                double lo = left ? -9 : 0.5, hi = left ? -0.5 : 12;
                Function f = {"complex_lgamma", 2, {SHAPE(9), SHAPE(9)}, lo, hi, build_complex_lgamma, &at};
                check_derivatives(&f, (uint64_t)n);
            }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mittag_leffler_table),
        cmocka_unit_test(test_small_arguments),
        cmocka_unit_test(test_complex_lgamma_table),
        cmocka_unit_test(test_elementary_cases),
        cmocka_unit_test(test_recurrence_in_beta),
        cmocka_unit_test(test_differential_recurrence),
        cmocka_unit_test(test_asymptotes),
        cmocka_unit_test(test_exponential_decay),
        cmocka_unit_test(test_domain),
        cmocka_unit_test(test_recurrence_of_log_gamma),
        cmocka_unit_test(test_real_axis),
        cmocka_unit_test(test_mittag_leffler_derivatives),
        cmocka_unit_test(test_complex_lgamma_derivatives),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
