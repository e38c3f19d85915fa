/* test_half_code.c — 16-bit floats in generated code, on targets with instructions for them and on targets
 * without: all patterns to f32, and to them every place where rounding turns, its neighbours, and random
 * bits; in whole vectors and in every number of lanes that may be left over.
 *
 * Expected bits are those of ir/half.c, which rounds once from f64; a NaN keeps its sign and the upper bits
 * of its payload, and is quiet.
 */
#include "model_run.h"
#include "passes.h"
#include "target_run.h"
#include "jit.h"

enum { PATTERNS = 65536, RANDOM = 1 << 20, MOST_LEFT = 40, BEHIND = 64 };

typedef struct Format {
    const char *name;
    int mantissa;
    uint16_t infinity;
    double (*to)(uint16_t);
    uint16_t (*from)(double);
} Format;

static const Format formats[] = {{"f16", 10, 0x7c00, f16_to_f64, f16_from_f64},
                                 {"bf16", 7, 0x7f80, bf16_to_f64, bf16_from_f64}};

static float as_float(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A NaN of bf16 that is not quiet is only moved. */
static uint32_t expected_wide(const Format *f, uint16_t bits) {
    uint32_t magnitude = bits & 0x7fff, quiet = f->mantissa == 10 ? 0x400000 : 0;
    if (magnitude <= f->infinity) return bits_of((float)f->to(bits));
    return (uint32_t)(bits & 0x8000) << 16 | 0x7f800000 | quiet |
           (magnitude & ~(uint32_t)f->infinity) << (23 - f->mantissa);
}

static uint16_t expected_half(const Format *f, uint32_t bits) {
    uint32_t magnitude = bits & 0x7fffffff, payload = (magnitude & 0x7fffff) >> (23 - f->mantissa);
    if (magnitude <= 0x7f800000) return f->from((double)as_float(bits));
    return (uint16_t)((bits >> 16 & 0x8000) | f->infinity | 1u << (f->mantissa - 1) | payload);
}

/* ---- Targets ---- */

/* This machine's target, or a named one; without instructions for f16 where `plain`. */
static HostTarget open_target(const char *name, bool plain) {
    HostTarget target;
    FraxError err;
    if (named_target(name, &target, &err)) fail_msg("%s", err.message);
    if (plain) target.converts_f16 = false;
    return target;
}

static void convert(const HostTarget *target, const char *from, const char *to, int64_t n, const void *in,
                    void *out) {
    char text[128];
    FraxError err;
    Executable *exe;
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 1, .no_cache = true, .host = target};
    snprintf(text, sizeof text, "model m(x: %s[N]) {\n y = cast(x, %s)\n return y\n}\n", from, to);
    Graph *g = lower_text(text, &n);
    if (executable_create(g, &options, &exe, &err)) fail_msg("%s", err.message);
    if (executable_run(exe, &in, &out, &err)) fail_msg("%s", err.message);
    executable_destroy(exe);
}

/* ---- To f32 ---- */

static void check_wide(const HostTarget *target, const Format *f, const char *name) {
    uint16_t *in = malloc(PATTERNS * sizeof *in);
    uint32_t *got = malloc(PATTERNS * sizeof *got);
    for (uint32_t i = 0; i < PATTERNS; i++) in[i] = (uint16_t)i;
    convert(target, f->name, "f32", PATTERNS, in, got);
    for (uint32_t i = 0; i < PATTERNS; i++)
        if (got[i] != expected_wide(f, (uint16_t)i))
            fail_msg("%s, %s: %04x becomes %08x, expected %08x", name, f->name, i, got[i],
                     expected_wide(f, (uint16_t)i));
    free(in);
    free(got);
}

/* ---- From f32 ---- */

/* Every value of the format and every midpoint to the next one, each with both neighbours; the ends of each
   exponent; NaNs; then random bits. */
static uint32_t *make_samples(const Format *f, int64_t *count) {
    uint32_t *samples = malloc((PATTERNS * 6 + 1024 * 6 + RANDOM) * sizeof *samples);
    uint64_t seed = 7;
    int64_t n = 0;
    for (uint32_t i = 0; i < PATTERNS; i++) {
        uint32_t value = bits_of((float)f->to((uint16_t)i));
        float next = (float)f->to((uint16_t)(i + 1));
        float middle = as_float(value) / 2 + next / 2;
        for (uint32_t k = 0; k < 3; k++) {
            samples[n++] = value + k - 1;
            samples[n++] = bits_of(middle) + k - 1;
        }
    }
    for (uint32_t exponent = 0; exponent < 512; exponent++)
        for (uint32_t k = 0; k < 6; k++) samples[n++] = (exponent << 23) + k - 3;
    for (uint32_t k = 0; k < 1024; k++) samples[n++] = 0x7f800000 | k << 13 | k >> 4;
    for (int64_t i = 0; i < RANDOM; i++) samples[n++] = (uint32_t)fill_random(&seed);
    *count = n;
    return samples;
}

static void expect_halves(const Format *f, const uint32_t *in, const uint16_t *got, int64_t n,
                          const char *name) {
    for (int64_t i = 0; i < n; i++)
        if (got[i] != expected_half(f, in[i]))
            fail_msg("%s, %s: %08x becomes %04x, expected %04x", name, f->name, in[i], got[i],
                     expected_half(f, in[i]));
}

static void check_half(const HostTarget *target, const Format *f, const char *name) {
    int64_t n;
    uint32_t *in = make_samples(f, &n);
    uint16_t *got = malloc((size_t)n * sizeof *got);
    convert(target, "f32", f->name, n, in, got);
    expect_halves(f, in, got, n, name);
    free(in);
    free(got);
}

/* A few elements: nothing behind them is written. */
static void check_left_over(const HostTarget *target, const Format *f, const char *name) {
    int64_t n;
    uint32_t *in = make_samples(f, &n);
    for (int64_t left = 1; left <= MOST_LEFT; left++) {
        uint16_t got[MOST_LEFT + BEHIND];
        memset(got, 0x5a, sizeof got);
        convert(target, "f32", f->name, left, in + n - left, got);
        expect_halves(f, in + n - left, got, left, name);
        for (int64_t i = left; i < left + BEHIND && i < MOST_LEFT + BEHIND; i++)
            if (got[i] != 0x5a5a)
                fail_msg("%s, %s: element %lld of %lld is written", name, f->name, (long long)i,
                         (long long)left);
    }
    free(in);
}

static void check_target(const char *cpu, bool plain) {
    char name[64];
    HostTarget target = open_target(cpu, plain);
    snprintf(name, sizeof name, "%s%s", cpu, plain ? " without instructions" : "");
    for (size_t f = 0; f < COUNT(formats); f++) {
        check_wide(&target, &formats[f], name);
        check_half(&target, &formats[f], name);
        check_left_over(&target, &formats[f], name);
    }
    host_target_free(&target);
}

static void test_native(void **state) {
    (void)state;
    check_target("native", false);
}

/* The same vectors, by integers. */
static void test_native_by_integers(void **state) {
    (void)state;
    check_target("native", true);
}

static void test_generic(void **state) {
    (void)state;
    check_target("generic", false);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_native),
        cmocka_unit_test(test_native_by_integers),
        cmocka_unit_test(test_generic),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
