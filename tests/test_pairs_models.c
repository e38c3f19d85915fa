/* test_pairs_models.c — models whose rows go in pairs, with what may stand around a filter in one kernel: the
 * cpu target, with one thread and with three (the same bits), and eager against the reference, with
 * gradients.
 *
 * Everything is f64. Gradients in an order are sums with cancellation over all frequencies: 1e-9 of the
 * largest element of a result is some hundred times what rounding makes of these sizes, and far below any
 * fault.
 */
#include "frax.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST = 16 };
static const double tolerance = 1e-9;

/* Bodies of `model m(x: f64[B, C, N])` with parameters p f64[C, 1] and q f64[]; they return loss and y. */
static const char *const bodies[] = {
    /* one order for all; a prologue that the epilogue uses again */
    " e = exp(0.3 * x)\n y = frac(e, q, kind=weyl) * e + tanh(x)\n",
    /* an order for each channel, whose rows are interleaved with the others' */
    " y = x + frac(x, p, kind=weyl, step=0.5)\n",
    /* chains: other filters one after the other, and the same one twice */
    " a = frac(x, p, kind=weyl)\n b = frac(sin(a), q, kind=riesz)\n y = frac(b * a, p, kind=weyl)\n",
    " y = frac(frac(x, q, kind=tempered, lambda=0.2), q, kind=tempered, lambda=0.2)\n",
    /* two filters of one signal */
    " y = frac(x, q, kind=weyl) - 0.5 * frac(x, 0.3, kind=riesz)\n",
    /* reductions along the row, before and after */
    " c = x - mean(x, axis=-1, keep=true)\n a = frac(c, q, kind=weyl)\n y = softmax(a)\n",
    " y = layer_norm(frac(softmax(x), p, kind=riesz))\n",
    /* parts of rows, zeros, and rows from the end */
    " a = frac(pad(x[:, :, 1:], (1, 0), axis=2), q, kind=weyl)\n y = a + frac(flip(x, 2), q, kind=weyl)\n",
    /* zeros behind the signal */
    " y = frac(x * x, p, kind=grunwald, engine=fft)\n",
    /* far more of them than signal */
    " y = frac(pad(x, (0, 15 * N), axis=2), q, kind=weyl)[:, :, :N]\n",
    /* another axis */
    " y = transpose(frac(transpose(x, (2, 0, 1)), q, kind=weyl, axis=0), (1, 2, 0))\n",
    /* images, one after the other, and once more */
    " a = frac(x, q, kind=laplacian, axes=(1, 2))\n y = frac(tanh(a), 0.4, kind=laplacian, axes=(1, 2)) * "
    "x\n",
};

static const int64_t sizes[][3] = {{5, 2, 32}, {3, 8, 24}, {17, 2, 15}, {2, 3, 64}, {1, 4, 48}};

typedef struct Run {
    FraxExecutable *exe;
    void *arrays[3][MOST]; /* by role */
    int64_t counts[MOST];  /* elements of the outputs */
    size_t n;
} Run;

static int64_t elements(FraxTensor t) {
    int64_t n = 1;
    for (int i = 0; i < t.rank; i++) n *= t.dims[i];
    return n;
}

static double noise(int64_t i) {
    return sin(12.9898 * (double)(i + 1) + 0.3 * (double)(i % 7));
}

static void open_run(Run *run, const FraxModel *model, FraxTarget target, int threads, const int64_t *size) {
    static const char *const wrt[] = {"x", "p", "q"};
    FraxSize list[] = {{"B", size[0]}, {"C", size[1]}, {"N", size[2]}};
    FraxOptions options = frax_default_options();
    FraxError err;
    options.target = target;
    options.mode = FRAX_REVERSE;
    options.wrt = wrt;
    options.nwrt = 3;
    options.sizes = list;
    options.nsizes = 3;
    options.threads = threads;
    options.no_cache = 1;
    memset(run, 0, sizeof *run);
    if (frax_compile(model, &options, &run->exe, &err)) fail_msg("%s", err.message);
    for (int role = FRAX_INPUT; role <= FRAX_OUTPUT; role++) {
        size_t n = frax_executable_count(run->exe, (FraxRole)role);
        assert_true(n <= MOST);
        for (size_t i = 0; i < n; i++) {
            int64_t count = elements(frax_executable_type(run->exe, (FraxRole)role, i));
            double *data = malloc((size_t)count * sizeof *data);
            assert_non_null(data);
            for (int64_t k = 0; k < count; k++)
                data[k] = role == FRAX_INPUT ? noise(k) : role == FRAX_PARAM ? 0.6 + 0.2 * noise(k + 3) : NAN;
            run->arrays[role][i] = data;
            if (role == FRAX_OUTPUT) run->counts[run->n++] = count;
        }
    }
    if (frax_run(run->exe, (const void *const *)run->arrays[FRAX_INPUT],
                 (const void *const *)run->arrays[FRAX_PARAM], run->arrays[FRAX_OUTPUT], &err))
        fail_msg("%s", err.message);
}

static void close_run(Run *run) {
    for (int role = 0; role < 3; role++)
        for (int i = 0; i < MOST; i++) free(run->arrays[role][i]);
    frax_executable_destroy(run->exe);
}

static void compare(const Run *expected, const Run *got, const char *text, const char *target) {
    assert_int_equal(expected->n, got->n);
    for (size_t i = 0; i < expected->n; i++) {
        const double *e = expected->arrays[FRAX_OUTPUT][i], *y = got->arrays[FRAX_OUTPUT][i];
        double largest = 1;
        for (int64_t k = 0; k < expected->counts[i]; k++) largest = fmax(largest, fabs(e[k]));
        for (int64_t k = 0; k < expected->counts[i]; k++)
            if (!(fabs(y[k] - e[k]) <= tolerance * largest))
                fail_msg("%s%s: %s, element %lld is %.17g, expected %.17g", text, target,
                         frax_executable_name(got->exe, FRAX_OUTPUT, i), (long long)k, y[k], e[k]);
    }
}

static void expect_same_bits(const Run *a, const Run *b) {
    for (size_t i = 0; i < a->n; i++)
        assert_memory_equal(a->arrays[FRAX_OUTPUT][i], b->arrays[FRAX_OUTPUT][i],
                            (size_t)a->counts[i] * sizeof(double));
}

static void check_model(const char *body, const int64_t *size) {
    char text[1024];
    FraxModel *model;
    FraxError err;
    Run reference, one, three, eager;
    snprintf(text, sizeof text,
             "model m(x: f64[B, C, N]) {\n param p: f64[C, 1] = 0.5\n param q: f64 = 0.7\n%s"
             " loss = mean(y^2 * (1 + 0 * sum(p) + 0 * q))\n return loss, y\n}\n",
             body);
    if (frax_model_parse(text, "pairs.frax", NULL, &model, &err)) fail_msg("%s%s", text, err.message);
    open_run(&reference, model, FRAX_REFERENCE, 1, size);
    open_run(&one, model, FRAX_CPU, 1, size);
    compare(&reference, &one, text, "cpu");
    open_run(&three, model, FRAX_CPU, 3, size);
    expect_same_bits(&one, &three);
    open_run(&eager, model, FRAX_EAGER, 1, size);
    compare(&reference, &eager, text, "eager");
    close_run(&reference);
    close_run(&one);
    close_run(&three);
    close_run(&eager);
    frax_model_destroy(model);
}

static void test_models(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) check_model(bodies[i], sizes[k]);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_models)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
