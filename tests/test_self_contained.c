/* test_self_contained.c — programs that call no library: transforms of lengths and boxes that the generators
 * for pairs leave to FFTW otherwise, and matrix products that would go to CBLAS, against the reference, with
 * gradients.
 *
 * Relative L2 errors: 4e-16·log2 n in f64 and 4e-7·log2 n in f32 for a transform and its inverse; gradients
 * and products, which sum over rows besides, get four times as much.
 */
#include "api.h"
#include "half.h"
#include "jit.h"
#include "object_file.h"
#include "passes.h"
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static Graph *lower(const char *text, const int64_t *sizes, FraxMode mode) {
    static const char *const names[] = {"A", "B", "C"};
    static const char *const wrt[] = {"x", "p"};
    FraxModel *model;
    FraxError err;
    Graph *g;
    FraxSize list[3];
    FraxOptions options = frax_default_options();
    for (int i = 0; i < 3; i++) list[i] = (FraxSize){names[i], sizes[i]};
    options.sizes = list;
    options.nsizes = 3;
    options.mode = mode;
    options.wrt = wrt;
    options.nwrt = mode == FRAX_REVERSE ? 2 : 0;
    if (frax_model_parse(text, "test", NULL, &model, &err)) fail_msg("%s", err.message);
    if (model_graph(model, &options, &g, NULL, &err)) fail_msg("%s", err.message);
    frax_model_destroy(model);
    return g;
}

static void fill(const Type *type, void *data, double shift) {
    for (int64_t i = 0; i < shape_size(&type->shape); i++)
        element_set(data, type->dtype, i,
                    0.6 + 0.3 * sin(12.9898 * (double)i * (double)(i % 11 + 1) + shift));
}

/* vector_bytes: of self-contained code for this machine, whose compiler cuts longer vectors up; 0: its own.
 */
static void **run(const Graph *g, FraxTarget target, bool self_contained, int vector_bytes) {
    FraxError err;
    HostTarget host;
    Executable *exe;
    void *in[8], **out = calloc(g->noutputs, sizeof *out);
    ExecutableOptions options = {
        .target = target, .threads = 1, .no_cache = true, .self_contained = self_contained};
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    assert_non_null(copy);
    if (host_target(&host, &err)) fail_msg("%s", err.message);
    if (vector_bytes) {
        host.vector_bytes = vector_bytes;
        host.vector_isa = 0;
        options.host = &host;
    }
    if (executable_create(copy, &options, &exe, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < g->ninputs; i++) {
        in[i] = malloc(type_bytes(graph_type(g, g->inputs[i])) + 1);
        fill(graph_type(g, g->inputs[i]), in[i], (double)i);
    }
    for (size_t i = 0; i < g->noutputs; i++)
        out[i] = malloc(type_bytes(graph_type(g, g->outputs[i].value)) + 1);
    if (executable_run(exe, (const void *const *)in, out, &err)) fail_msg("%s", err.message);
    executable_destroy(exe);
    host_target_free(&host);
    for (size_t i = 0; i < g->ninputs; i++) free(in[i]);
    return out;
}

static int vector_bytes; /* of the code under test; 0: this machine's */

static void compare(const char *text, const int64_t *sizes, FraxMode mode, double points) {
    bool is_long = points > 20000; /* the reference takes n² steps, eager calls FFTW */
    Graph *g = lower(text, sizes, mode);
    void **expected = run(g, is_long ? FRAX_EAGER : FRAX_REFERENCE, false, 0),
         **got = run(g, FRAX_CPU, true, vector_bytes);
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        double unit = type->dtype == FRAX_F64 ? 4e-16 : 4e-7, bound = unit * fmax(log2(points), 1), e = 0,
               s = 0;
        for (int64_t k = 0; k < shape_size(&type->shape); k++) {
            double a = element_get(expected[i], type->dtype, k), b = element_get(got[i], type->dtype, k);
            e += (a - b) * (a - b);
            s += a * a;
        }
        if (mode == FRAX_REVERSE) bound *= 4;
        if (!(sqrt(e) <= bound * sqrt(s)))
            fail_msg("%s: sizes %lld %lld %lld, output %s: relative error %.3g, bound %.3g", text,
                     (long long)sizes[0], (long long)sizes[1], (long long)sizes[2], g->outputs[i].name,
                     sqrt(e / s), bound);
        free(expected[i]);
        free(got[i]);
    }
    free(expected);
    free(got);
    graph_destroy(g);
}

static void each_dtype(const char *format, const int64_t *sizes, FraxMode mode, double points) {
    static const char *const dtypes[] = {"f32", "f64"};
    for (size_t d = 0; d < COUNT(dtypes); d++) {
        char text[512];
        snprintf(text, sizeof text, format, dtypes[d], dtypes[d]);
        compare(text, sizes, mode, points);
    }
}

/* Primes, and multiples of primes beyond 7; rows one by one and many. */
static void test_rows_of_any_length(void **state) {
    (void)state;
    static const int64_t lengths[] = {11, 13, 22, 26, 37, 121, 127, 251, 254, 509, 1021, 1430, 4099};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        int64_t sizes[3] = {1 + (int64_t)(i % 3), 1, lengths[i]};
        each_dtype(
            "model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n y = frac(x, p, kind=weyl)\n return y\n}\n",
            sizes, FRAX_FORWARD, (double)lengths[i]);
    }
}

static void check_long_row(int64_t length) {
    int64_t sizes[3] = {1, 1, length};
    each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n y = frac(x, p, kind=riesz)\n return y\n}\n",
               sizes, FRAX_FORWARD, (double)length);
}

/* In one piece, and as matrices: smooth lengths, even and odd. */
static void test_long_rows(void **state) {
    (void)state;
    static const int64_t lengths[] = {196608, 1594323};
    for (size_t i = 0; i < COUNT(lengths); i++) check_long_row(lengths[i]);
}

/* Chirps with filters as matrices: a prime, twice a prime, 2^20 + 1 = 17 · 61681
 * (for primes of that size the library's plan alone takes a second). */
static void test_long_chirps(void **state) {
    (void)state;
    static const int64_t lengths[] = {65537, 131074, (1 << 20) + 1};
    for (size_t i = 0; i < COUNT(lengths); i++) check_long_row(lengths[i]);
}

static void test_vector_widths(void **state) {
    (void)state;
    for (vector_bytes = 16; vector_bytes <= 64; vector_bytes *= 4) {
        check_long_row(295245); /* 5 · 3^10: no multiple of a vector */
        check_long_row(65537);
    }
    vector_bytes = 0;
}

/* A long axis anywhere; many rows and columns that share a chirp. */
static void test_long_boxes(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{2, 3, 65537}, {65537, 2, 3}, {131220, 1, 4}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        double points = (double)(sizes[i][0] * sizes[i][1] * sizes[i][2]);
        each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n"
                   " y = frac(x, p, kind=laplacian, axes=(0, 1, 2))\n return y\n}\n",
                   sizes[i], FRAX_FORWARD, points);
    }
}

static void test_boxes(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{3, 4, 5},   {8, 8, 8},  {11, 6, 10},
                                       {5, 13, 22}, {1, 17, 3}, {2, 11, 11}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        double points = (double)(sizes[i][0] * sizes[i][1] * sizes[i][2]);
        each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n"
                   " y = frac(x, p, kind=laplacian, axes=(0, 1, 2))\n return y\n}\n",
                   sizes[i], FRAX_FORWARD, points);
        each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n"
                   " y = frac(x, p, kind=laplacian, axes=(1, 2))\n return y\n}\n",
                   sizes[i], FRAX_FORWARD, points);
    }
}

static void test_gradients(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{3, 2, 11}, {1, 1, 37}, {2, 3, 254}, {4, 5, 22}, {2, 2, 7}};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n y = frac(x, p, kind=weyl)\n"
                   " loss = mean(y * sin(y))\n return loss, y\n}\n",
                   sizes[i], FRAX_REVERSE, (double)sizes[i][2]);
        each_dtype(
            "model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n"
            " y = frac(x, p, kind=grunwald, engine=fft)\n loss = mean(y * sin(y))\n return loss, y\n}\n",
            sizes[i], FRAX_REVERSE, 2 * (double)sizes[i][2]);
    }
}

/* Several rows too, whose transforms use one workspace in turn; the convolution is padded to twice its
 * length. */
static void test_long_gradients(void **state) {
    (void)state;
    const int64_t sizes[3] = {2, 1, 65537};
    each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n y = frac(x, p, kind=weyl)\n"
               " loss = mean(y * sin(y))\n return loss, y\n}\n",
               sizes, FRAX_REVERSE, (double)sizes[2]);
    each_dtype("model m(x: %s[A, B, C]) {\n param p: %s = 0.6\n"
               " y = frac(x, p, kind=grunwald, engine=fft)\n loss = mean(y * sin(y))\n return loss, y\n}\n",
               sizes, FRAX_REVERSE, 2 * (double)sizes[2]);
}

/* Of sizes that the library is faster for; both operands transposed too. */
static void test_products(void **state) {
    (void)state;
    static const int64_t sizes[][3] = {{100, 90, 80}, {257, 64, 129}, {1, 1000, 700}};
    static const char *const bodies[] = {"x @ w", "transpose(w) @ transpose(x)"};
    for (size_t b = 0; b < COUNT(bodies); b++)
        for (size_t i = 0; i < COUNT(sizes); i++) {
            char format[256];
            snprintf(format, sizeof format,
                     "model m(x: %%s[A, B], w: %%s[B, C]) {\n param p: f64 = 1\n y = %s\n"
                     " loss = sum(y * y)\n return loss, y\n}\n",
                     bodies[b]);
            each_dtype(format, sizes[i], FRAX_FORWARD, (double)sizes[i][1]);
        }
}

/* Sums over half a million: columns side by side, and dots. The numbers have one sign, so that an error of
   each addition shows: one by one in f32 they are off by 1e-4. */
static void test_long_products(void **state) {
    (void)state;
    const int64_t sizes[3] = {3, (1 << 19) + 5, 5};
    compare("model m(x: f32[A, B], w: f32[B, C]) {\n y = x @ w\n return y\n}\n", sizes, FRAX_FORWARD, 2);
    compare("model m(x: f32[A, B], w: f32[C, B]) {\n y = x @ transpose(w)\n return y\n}\n", sizes,
            FRAX_FORWARD, 2);
}

/* Tables grow as the root of the length, code does not grow: an object of 2^20 samples has a third of a
 * megabyte. */
static void test_small_objects(void **state) {
    (void)state;
    static const int64_t lengths[] = {1 << 20, 1048583, (1 << 28) + 3};
    static const size_t most_kilobytes[] = {384, 384, 6144};
    static const size_t order[] = {0, 1};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        FraxError err;
        ObjectCode code;
        ObjectOptions options = {.prefix = "m", .cpu = "x86-64-v3", .order = order, .threads = 1};
        options.wanted[OBJECT_FILE] = true;
        Graph *g = lower("model m(x: f64[A, B, C]) {\n param p: f64 = 0.6\n y = frac(x, p, kind=riesz)\n"
                         " return y\n}\n",
                         (int64_t[]){1, 1, lengths[i]}, FRAX_FORWARD);
        if (object_create(g, &options, &code, &err)) fail_msg("%s", err.message);
        if (code.bytes[OBJECT_FILE] > most_kilobytes[i] << 10)
            fail_msg("%lld samples: %zu bytes", (long long)lengths[i], code.bytes[OBJECT_FILE]);
        object_free(&code);
    }
}

/* Beyond all addresses. */
static void test_too_long(void **state) {
    (void)state;
    FraxError err;
    Executable *exe;
    ExecutableOptions options = {.target = FRAX_CPU, .no_cache = true, .self_contained = true};
    Graph *g = lower("model m(x: f64[A, B, C]) {\n y = frac(x, 0.5, kind=weyl)\n return y\n}\n",
                     (int64_t[]){1, 1, INT64_C(1) << 45}, FRAX_FORWARD);
    assert_int_equal(executable_create(g, &options, &exe, &err), FRAX_UNSUPPORTED);
    assert_non_null(strstr(err.message, "35184372088832 samples needs more than 2^47 bytes"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_any_length),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_long_chirps),
        cmocka_unit_test(test_vector_widths),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_long_boxes),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_long_gradients),
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_long_products),
        cmocka_unit_test(test_small_objects),
        cmocka_unit_test(test_too_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
