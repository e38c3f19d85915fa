/* target_run.h — graphs run on several targets, and the results compared. Inputs come from a seed; outputs
 * are poisoned before every run, and every executable runs twice, the second time with memory that was used
 * before.
 */
#ifndef FRAX_TESTS_TARGET_RUN_H
#define FRAX_TESTS_TARGET_RUN_H

#include "executable.h"
#include "half.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

/* A result may differ from the expected one by relative · |expected| + scaled · largest |expected|, where
 * `largest` is at least 1. */
typedef struct Bound {
    double relative, scaled;
} Bound;

typedef struct Fill {
    uint64_t seed;
    double lo, hi; /* of floats; i32 gets integers of [−5, 5], bool both */
} Fill;

/* AddressSanitizer makes long tests several times as long: of cases that are alike every third is run under it,
 * which says so. `cases` counts those that came by. */
static inline bool is_thinned_out(int *cases) {
#if defined(__SANITIZE_ADDRESS__)
    if (!*cases) print_message("under AddressSanitizer every third case alone\n");
    return (*cases)++ % 3 != 0;
#else
    (void)cases;
    return false;
#endif
}

/* splitmix64 */
static inline uint64_t fill_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* The arrays are exactly as long as their type says, so that the sanitizers see accesses beyond it. */
static inline void *new_tensor(const Type *type) {
    void *data = malloc(type_bytes(type));
    assert_true(data || !type_bytes(type));
    return data;
}

static inline void *filled_tensor(const Type *type, Fill *fill) {
    void *data = new_tensor(type);
    for (int64_t i = 0; i < shape_size(&type->shape); i++) {
        double u = (double)(fill_random(&fill->seed) >> 11) * 0x1p-53,
               v = fill->lo + (fill->hi - fill->lo) * u;
        if (type->dtype == FRAX_I32) v = floor(11 * u) - 5;
        if (type->dtype == FRAX_BOOL) v = u < 0.5;
        element_set(data, type->dtype, i, v);
    }
    return data;
}

static inline void **make_inputs(const Graph *g, Fill fill) {
    void **in = calloc(g->ninputs + 1, sizeof *in);
    assert_non_null(in);
    for (size_t i = 0; i < g->ninputs; i++) in[i] = filled_tensor(graph_type(g, g->inputs[i]), &fill);
    return in;
}

static inline const Type *output_type(const Graph *g, size_t i) {
    return graph_type(g, g->outputs[i].value);
}

static inline void **make_outputs(const Graph *g) {
    void **out = calloc(g->noutputs + 1, sizeof *out);
    assert_non_null(out);
    for (size_t i = 0; i < g->noutputs; i++) out[i] = new_tensor(output_type(g, i));
    return out;
}

static inline void free_tensors(void **tensors, size_t n) {
    for (size_t i = 0; i < n; i++) free(tensors[i]);
    free(tensors);
}

static inline Executable *make_executable(const Graph *g, FraxTarget target, int threads, const char *name) {
    FraxError err = {0};
    Executable *exe;
    ExecutableOptions options = {.target = target, .threads = threads, .no_cache = true};
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    if (!copy) fail_msg("%s: %s", name, err.message);
    if (executable_create(copy, &options, &exe, &err)) fail_msg("%s: %s", name, err.message);
    return exe;
}

static inline void run_poisoned(const Graph *g, const Executable *exe, void *const *in, void *const *out,
                                const char *name) {
    FraxError err = {0};
    for (size_t i = 0; i < g->noutputs; i++)
        if (type_bytes(output_type(g, i))) memset(out[i], 0xff, type_bytes(output_type(g, i)));
    if (executable_run(exe, (const void *const *)in, out, &err)) fail_msg("%s: %s", name, err.message);
}

/* Runs a copy of g on a target. */
static inline void run_on(const Graph *g, FraxTarget target, int threads, void *const *in, void *const *out,
                          const char *name) {
    Executable *exe = make_executable(g, target, threads, name);
    int runs = target == FRAX_REFERENCE ? 1 : 2;
    for (int i = 0; i < runs; i++) run_poisoned(g, exe, in, out, name);
    executable_destroy(exe);
}

static inline void expect_output(const Type *type, const void *expected, const void *got, Bound bound,
                                 const char *name, const char *output) {
    double largest = 1;
    int64_t n = shape_size(&type->shape);
    char text[176];
    for (int64_t k = 0; k < n; k++) {
        double e = fabs(element_get(expected, type->dtype, k));
        if (isfinite(e)) largest = fmax(largest, e);
    }
    for (int64_t k = 0; k < n; k++) {
        double e = element_get(expected, type->dtype, k), y = element_get(got, type->dtype, k);
        if (e == y || (isnan(e) && isnan(y))) continue;
        if (!(fabs(e - y) <= bound.relative * fabs(e) + bound.scaled * largest) || isinf(e))
            fail_msg("%s: output %s %s, element %lld is %.17g, expected %.17g", name, output,
                     type_text(type, text), (long long)k, y, e);
    }
}

static inline void expect_outputs(const Graph *g, void *const *expected, void *const *got, Bound bound,
                                  const char *name) {
    for (size_t i = 0; i < g->noutputs; i++)
        expect_output(output_type(g, i), expected[i], got[i], bound, name, g->outputs[i].name);
}

static inline void expect_same_bits(const Graph *g, void *const *expected, void *const *got,
                                    const char *name) {
    for (size_t i = 0; i < g->noutputs; i++) {
        size_t bytes = type_bytes(output_type(g, i));
        if (bytes && memcmp(expected[i], got[i], bytes))
            fail_msg("%s: output %s has other bits", name, g->outputs[i].name);
    }
}

/* Small kernels run in one thread, however many there are (executable.c: parallel_work). */
static inline bool may_use_threads(const Graph *g) {
    int64_t elements = 0;
    for (size_t v = 0; v < g->count; v++) elements += shape_size(&g->nodes[v].type.shape);
    return elements >= 2000;
}

/* Compiled with one and three threads (the same bits) and eager, against the reference. */
static inline void compare_targets(const Graph *g, Fill fill, Bound bound, const char *name) {
    char what[160];
    void **in = make_inputs(g, fill), **expected = make_outputs(g), **got = make_outputs(g),
         **again = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    snprintf(what, sizeof what, "%s, cpu", name);
    run_on(g, FRAX_CPU, 1, in, got, what);
    expect_outputs(g, expected, got, bound, what);
    if (may_use_threads(g)) {
        run_on(g, FRAX_CPU, 3, in, again, what);
        expect_same_bits(g, got, again, what);
    }
    snprintf(what, sizeof what, "%s, eager", name);
    run_on(g, FRAX_EAGER, 1, in, got, what);
    expect_outputs(g, expected, got, bound, what);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    free_tensors(again, g->noutputs);
}

#endif
