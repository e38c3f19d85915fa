/* test_half.c — conversions of the 16-bit formats and access to elements.
 *
 * Every one of the 65536 patterns of both formats is checked three ways: the value by an independent formula
 * (ldexp), the round trip, and the rounding of the neighbourhood of the midpoint to the next pattern. The
 * midpoints are exact in f64, so nextafter on either side must fall to the two neighbours and the midpoint
 * itself to the even one.
 */
#include "half.h"
#include "base.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <cmocka.h>

typedef struct Half {
    const char *name;
    int mantissa, bias;
    double (*to)(uint16_t);
    uint16_t (*from)(double);
} Half;

static const Half halves[] = {
    {"f16", 10, 15, f16_to_f64, f16_from_f64},
    {"bf16", 7, 127, bf16_to_f64, bf16_from_f64},
};

static unsigned infinity_of(const Half *h) {
    return 0x7fffu >> h->mantissa << h->mantissa;
}

static double value_of(const Half *h, unsigned magnitude) {
    int exponent = (int)(magnitude >> h->mantissa), one = 1 << h->mantissa;
    int mantissa = (int)magnitude & (one - 1);
    if (exponent == 0) return ldexp(mantissa, 1 - h->bias - h->mantissa);
    return ldexp(one + mantissa, exponent - h->bias - h->mantissa);
}

static void test_every_finite_pattern(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(halves); k++) {
        const Half *h = &halves[k];
        for (unsigned m = 0; m < infinity_of(h); m++) {
            double v = value_of(h, m);
            assert_true(h->to((uint16_t)m) == v && h->to((uint16_t)(m | 0x8000)) == -v);
            assert_int_equal(h->from(v), m);
            assert_int_equal(h->from(-v), m | 0x8000);
        }
        assert_true(signbit(h->to(0x8000)) && !signbit(h->to(0)));
    }
}

static void test_midpoints_round_to_even(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(halves); k++) {
        const Half *h = &halves[k];
        for (unsigned m = 0; m < infinity_of(h); m++) {
            double midpoint =
                (value_of(h, m) + value_of(h, m + 1)) / 2; /* m + 1 may stand for 2^emax: overflow */
            assert_int_equal(h->from(midpoint), m + (m & 1));
            assert_int_equal(h->from(nextafter(midpoint, 0)), m);
            assert_int_equal(h->from(nextafter(midpoint, INFINITY)), m + 1);
            assert_int_equal(h->from(-midpoint), (m + (m & 1)) | 0x8000);
        }
    }
}

static void test_infinities_and_extremes(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(halves); k++) {
        const Half *h = &halves[k];
        unsigned inf = infinity_of(h);
        assert_true(h->to((uint16_t)inf) == INFINITY && h->to((uint16_t)(inf | 0x8000)) == -INFINITY);
        assert_int_equal(h->from(INFINITY), inf);
        assert_int_equal(h->from(-INFINITY), inf | 0x8000);
        assert_int_equal(h->from(1.7976931348623157e308), inf);
        assert_int_equal(h->from(4.9e-324), 0);
        assert_int_equal(h->from(-4.9e-324), 0x8000);
        assert_int_equal(h->from(-2.2e-308), 0x8000);
    }
}

static void test_nans_become_quiet(void **state) {
    (void)state;
    for (size_t k = 0; k < COUNT(halves); k++) {
        const Half *h = &halves[k];
        unsigned quiet = 1u << (h->mantissa - 1);
        for (unsigned m = infinity_of(h) + 1; m < 0x8000; m++) {
            assert_true(isnan(h->to((uint16_t)m)) && signbit(h->to((uint16_t)(m | 0x8000))));
            assert_int_equal(h->from(h->to((uint16_t)m)), m | quiet);
            assert_int_equal(h->from(h->to((uint16_t)(m | 0x8000))), m | quiet | 0x8000);
        }
        uint64_t low_payload = UINT64_C(0x7ff0000000000001); /* signalling, payload lost by narrowing */
        double v;
        memcpy(&v, &low_payload, sizeof v);
        assert_int_equal(h->from(v), infinity_of(h) | quiet);
    }
}

static void test_rounded_once(void **state) {
    (void)state;
    assert_int_equal(f16_from_f64(1 + 0x1p-11 + 0x1p-40), 0x3c01); /* by way of f32: a tie, 0x3c00 */
    assert_int_equal(bf16_from_f64(1 + 0x1p-8 + 0x1p-40), 0x3f81);
}

static void test_elements(void **state) {
    (void)state;
    static const struct {
        FraxDType dtype;
        double stored, read;
    } cases[] = {
        {FRAX_F64, 0.1, 0.1},
        {FRAX_F32, 0.1, 0.1f},
        {FRAX_F32, 1e300, INFINITY},
        {FRAX_BF16, 1.00390625, 1.0},
        {FRAX_F16, 65520, INFINITY},
        {FRAX_F16, -0.333251953125, -0.333251953125},
        {FRAX_I32, 2.9, 2},
        {FRAX_I32, -2.9, -2},
        {FRAX_I32, 1e10, 2147483647},
        {FRAX_I32, -1e10, -2147483648.0},
        {FRAX_I32, INFINITY, 2147483647},
        {FRAX_I32, NAN, 0},
        {FRAX_I32, 2147483646.5, 2147483646},
        {FRAX_I32, -2147483647.5, -2147483647},
        {FRAX_BOOL, 0.25, 1},
        {FRAX_BOOL, -0.0, 0},
        {FRAX_BOOL, NAN, 1},
    };
    for (size_t k = 0; k < COUNT(cases); k++) {
        double data[4] = {0};
        element_set(data, cases[k].dtype, 2, cases[k].stored);
        assert_true(element_get(data, cases[k].dtype, 2) == cases[k].read);
        assert_true(element_get(data, cases[k].dtype, 1) == 0 && element_get(data, cases[k].dtype, 3) == 0);
    }
    uint8_t odd = 7;
    assert_true(element_get(&odd, FRAX_BOOL, 0) == 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_finite_pattern),
        cmocka_unit_test(test_midpoints_round_to_even),
        cmocka_unit_test(test_infinities_and_extremes),
        cmocka_unit_test(test_nans_become_quiet),
        cmocka_unit_test(test_rounded_once),
        cmocka_unit_test(test_elements),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
