/* test_fusion.c — kernels at the boundaries of fusion: reductions, transforms and products with what stands
 * before and after them in one kernel, results that share buffers with inputs, and memory that fails or is
 * wasted.
 *
 * Bound: a few roundings relative to the largest result; f64 1e-13, f32 3e-6 (the ops are ten deep at most).
 */
#include "passes.h"
#include "target_run.h"

static const Bound bounds[] = {{0, 1e-13}, {0, 3e-6}}; /* f64, f32 */

static Graph *start(void) {
    Graph *g = graph_create("test", "test");
    assert_non_null(g);
    return g;
}

static Value input(Graph *g, FraxDType dtype, Shape shape) {
    char name[24];
    snprintf(name, sizeof name, "x%zu", g->ninputs);
    return g_input(g, name, (Type){dtype, shape});
}

static void output(Graph *g, Value v) {
    char name[24];
    snprintf(name, sizeof name, "y%zu", g->noutputs);
    graph_output(g, name, v);
}

static Value spread(Graph *g, Value x, Value like) {
    return g_broadcast(g, x, graph_type(g, like)->shape);
}

/* ---- Kernels ---- */

typedef void Builder(Graph *g, FraxDType dtype);

/* x − max, exp, sum, divide, along both axes; the logarithm of the sum as well. */
static void softmax(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(37, 130));
    for (uint32_t axes = 1; axes < 4; axes++) {
        Value top = g_reduce(g, OP_reduce_max, x, axes);
        Value e = g_unary(g, OP_exp, g_sub(g, x, spread(g, top, x)));
        Value sum = g_reduce(g, OP_sum, e, axes);
        output(g, g_div(g, e, spread(g, sum, x)));
        output(g, g_add(g, g_unary(g, OP_log, sum), top));
    }
}

static Value normalized(Graph *g, Value x, uint32_t axes, double n) {
    Value mean = g_scale(g, g_reduce(g, OP_sum, x, axes), 1 / n), centred = g_sub(g, x, spread(g, mean, x));
    Value variance = g_scale(g, g_reduce(g, OP_sum, g_mul(g, centred, centred), axes), 1 / n);
    return g_mul(g, centred, spread(g, g_unary(g, OP_rsqrt, g_shift(g, variance, 1e-5)), x));
}

static void layer_norm(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(9, 100)), gain = input(g, dtype, SHAPE(1, 100)),
          shift = input(g, dtype, SHAPE(1, 100));
    Value y = normalized(g, g_unary(g, OP_sin, x), 2, 100);
    output(g, g_add(g, g_mul(g, y, spread(g, gain, x)), spread(g, shift, x)));
    output(g, normalized(g, x, 1, 9));
    output(g, g_reduce(g, OP_reduce_max, y, 3));
}

/* Two reductions of one row, one of them of the other's result, with stores of both sizes. */
static void several_reductions(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(5, 3, 77));
    Value low = g_reduce(g, OP_reduce_min, x, 4), high = g_reduce(g, OP_reduce_max, x, 4);
    Value scaled = g_div(g, g_sub(g, x, spread(g, low, x)), spread(g, g_sub(g, high, low), x));
    output(g, scaled);
    output(g, g_sub(g, high, low));
    output(g, g_reduce(g, OP_sum, scaled, 4));
    output(g, g_reduce(g, OP_sum, g_mul(g, scaled, scaled), 7));
    output(g, g_argmax(g, x, 2));
}

static Shape half(int64_t n) {
    return SHAPE(1, n / 2 + 1);
}

/* Results that depend on no input, and tables made of them: these need what only a run has, the results'
 * buffers. */
static void tables_of_results(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(3, 33)), half = g_constant(g, (Type){FRAX_F64, SHAPE(1, 1)}, 0.5);
    Value weights = g_cast(g, g_grunwald_weights(g, half, 33), dtype);
    output(g, weights);
    output(g, g_causal_conv(g, weights, x, 1, ENGINE_FFT));
    Value zero = g_constant(g, (Type){dtype, SHAPE(1, 33)}, 0);
    Value ramp = g_iota(g, (Type){dtype, SHAPE(1, 33)}, 1);
    Value safe = g_select(g, g_binary(g, OP_eq, ramp, zero), g_like(g, ramp, 1), ramp);
    output(g, zero);
    output(g, g_causal_conv(g, g_div(g, g_like(g, ramp, 1), safe), x, 1, ENGINE_DIRECT));
}

/* A reduction before a transform, a transform before a softmax, and the transform of what was reduced. */
static void transforms_and_reductions(Graph *g, FraxDType dtype) {
    enum { N = 60 };
    Value x = input(g, dtype, SHAPE(7, N)), re = input(g, dtype, half(N)), im = input(g, dtype, half(N));
    Value mean = g_scale(g, g_reduce(g, OP_sum, x, 2), 1.0 / N);
    Value y = g_spectral(g, g_sub(g, x, spread(g, mean, x)), re, im, 2);
    Value e = g_unary(g, OP_exp, g_scale(g, y, 0.1));
    output(g, g_div(g, e, spread(g, g_reduce(g, OP_sum, e, 2), e)));
    output(g, g_add(g, y, spread(g, mean, x)));
    output(g, g_spectral(g, y, re, im, 2));
    output(g, g_spectral(g, g_reduce(g, OP_reduce_max, x, 1), re, im, 2));
    output(g, g_reduce(g, OP_sum, g_mul(g, y, x), 3));
}

static void adjoint_of_a_transform(Graph *g, FraxDType dtype) {
    enum { N = 48 };
    Value x = input(g, dtype, SHAPE(11, N)), ct = input(g, dtype, SHAPE(11, N));
    Value re = input(g, dtype, half(N)), im = input(g, dtype, half(N));
    Value slope = g_mul(g, ct, g_unary(g, OP_cos, x));
    output(g, g_spectral(g, slope, re, g_neg(g, im), 2));
    for (int part = 0; part < PART_COUNT; part++) output(g, g_cross_spectrum(g, x, slope, 2, 1, (Part)part));
}

/* ---- Transforms of rows with zeros after them ---- */

static Value padded(Graph *g, Value x, int64_t length) {
    int64_t lo[2] = {0, 0}, hi[2] = {0, length - graph_type(g, x)->shape.dims[1]};
    return g_pad(g, x, lo, hi, NULL);
}

static Value first(Graph *g, Value x, int64_t n) {
    return g_slice(g, x, (int64_t[]){0, 0}, (int64_t[]){graph_type(g, x)->shape.dims[0], n}, NULL);
}

/* Signals of n samples in three rows, filtered at `length`: filters of one signal side by side and one after
   the other, a filter and its conjugate, spectra, spectra of weights that are wanted themselves, and
   correlations of single rows and of all. */
static void zeros_after(Graph *g, FraxDType dtype, int64_t n, int64_t length) {
    Value x = input(g, dtype, SHAPE(3, n)), ct = input(g, dtype, SHAPE(3, n)), k[2];
    for (int part = 0; part < PART_COUNT; part++) k[part] = input(g, dtype, half(length));
    Value y = first(g, g_spectral(g, padded(g, x, length), k[0], k[1], 2), n);
    Value other = first(g, g_spectral(g, padded(g, x, length), k[1], k[0], 2), n);
    Value adjoint = g_spectral(g, padded(g, g_mul(g, ct, y), length), k[0], g_neg(g, k[1]), 2);
    output(g, g_reduce(g, OP_sum, g_mul(g, y, x), 2));
    output(g, g_add(g, y, other));
    output(g, first(g, adjoint, n));
    output(g, first(g, g_spectral(g, padded(g, y, length), k[0], k[1], 2), n));
    Value w = g_cast(g, g_grunwald_weights(g, g_input(g, "alpha", (Type){FRAX_F64, SHAPE(3, 1)}), n), dtype);
    output(g, g_reduce(g, OP_sum, g_mul(g, w, ct), 2));
    output(g, w);
    output(g, g_mul(g, w, first(g, g_spectral(g, padded(g, w, length), k[0], k[1], 2), n)));
    for (int part = 0; part < PART_COUNT; part++) {
        output(g, g_rfft(g, padded(g, x, length), 2, (Part)part));
        output(g, g_rfft(g, padded(g, w, length), 2, (Part)part));
        for (uint32_t sum = 0; sum < 2; sum++)
            output(g, g_cross_spectrum(g, padded(g, x, length), padded(g, ct, length), 2, sum, (Part)part));
    }
}

static void zeros_after_rows(Graph *g, FraxDType dtype) {
    zeros_after(g, dtype, 37, 128); /* generated code */
    zeros_after(g, dtype, 31, 62);
    zeros_after(g, dtype, 1, 32);
}

/* The samples beyond the signal, the padded signal itself, or other samples are wanted as well. */
static void more_than_first_samples(Graph *g, FraxDType dtype) {
    enum { N = 20, P = 48 };
    Value x = input(g, dtype, SHAPE(3, N)), re = input(g, dtype, half(P)), im = input(g, dtype, half(P));
    Value longer = padded(g, x, P), y = g_spectral(g, longer, re, im, 2);
    Value sines = padded(g, g_unary(g, OP_sin, x), P), z = g_spectral(g, sines, im, re, 2);
    output(g, y);
    output(g, g_reduce(g, OP_sum, first(g, y, N), 2));
    output(g, first(g, z, N));
    output(g, first(g, z, N - 1));
    output(g, sines);
    Value late = g_spectral(g, g_pad(g, x, (int64_t[]){0, P - N}, (int64_t[]){0, 0}, NULL), re, im, 2);
    output(g, first(g, late, N));
    /* A signal that must be stored before its elements can be met in rows, and so must the zeros after it. */
    Value cut = padded(g, g_reshape(g, first(g, x, N - 2), SHAPE(2, 27)), P);
    output(g, first(g, g_spectral(g, cut, re, im, 2), 27));
    output(g, g_rfft(g, cut, 2, PART_IM));
}

static void products_with_epilogues(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(19, 33)), w = input(g, dtype, SHAPE(33, 21)),
          b = input(g, dtype, SHAPE(1, 21));
    Value z = g_matmul(g, g_unary(g, OP_tanh, x), w, false, false);
    Value h = g_binary(g, OP_max, g_add(g, z, spread(g, b, z)), g_like(g, z, 0));
    output(g, h);
    output(g, g_reduce(g, OP_sum, h, 2));
    output(g, g_matmul(g, h, w, false, true));
    output(g, g_transpose(g, h, (uint8_t[]){1, 0}));
}

static void convolutions(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(5, 40)), alpha = g_input(g, "alpha", (Type){FRAX_F64, SHAPE(5, 1)});
    Value w = g_cast(g, g_grunwald_weights(g, alpha, 40), dtype);
    Value y = g_causal_conv(g, w, x, 1, ENGINE_DIRECT);
    output(g, g_mul(g, y, y));
    output(g, g_reduce(g, OP_sum, y, 3));
    output(g, g_flip(g, g_causal_conv(g, w, g_flip(g, y, 2), 1, ENGINE_DIRECT), 2));
}

/* Values that depend on no input are tables; a constant, an input and one value twice as results. */
static void tables_and_plain_outputs(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(4, 50)), i = g_iota(g, (Type){dtype, SHAPE(4, 50)}, 1);
    Value table = g_unary(g, OP_exp, g_scale(g, i, -0.1));
    Value sum = g_reduce(g, OP_sum, g_mul(g, table, table), 2);
    Value y = g_mul(g, x, table);
    output(g, y);
    output(g, y);
    output(g, x);
    output(g, g_like(g, x, 2.5));
    output(g, table);
    output(g, g_add(g, y, spread(g, sum, y)));
    output(g, g_reshape(g, x, SHAPE(200)));
    output(g, x);
}

static void empty_tensors(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(0, 6)), y = input(g, dtype, SHAPE(5, 0)),
          z = input(g, dtype, SHAPE(3, 6));
    output(g, g_unary(g, OP_exp, x));
    output(g, normalized(g, x, 2, 6));
    output(g, g_reduce(g, OP_sum, y, 2));
    output(g, g_add(g, g_reduce(g, OP_sum, x, 1), g_reduce(g, OP_sum, z, 1)));
    output(g, g_concat(g, (Value[]){x, z}, 2, 0));
    output(g, g_pad(g, y, (int64_t[]){0, 2}, (int64_t[]){1, 1}, (int64_t[]){1, 1}));
    output(g, g_matmul(g, z, g_transpose(g, x, (uint8_t[]){1, 0}), false, false));
    output(g, g_matmul(g, y, g_transpose(g, y, (uint8_t[]){1, 0}), false, false));
}

/* Values that are used twice, again and again: 2^40 ways lead from the result to x, in a chain as in Newton's
   steps, through a move between them, and in the gradient. */
static void values_used_twice(Graph *g, FraxDType dtype) {
    enum { LINKS = 40 };
    Value x = input(g, dtype, SHAPE(3, 50)), twice = g_shift(g, x, 3), root = twice, turned = x, slope;
    FraxError err;
    for (int i = 0; i < LINKS; i++) {
        twice = g_scale(g, g_add(g, twice, twice), 0.5);
        root = g_scale(g, g_add(g, root, g_div(g, g_shift(g, x, 3), root)), 0.5);
        Value flipped = g_flip(g, turned, 3);
        turned = g_scale(g, g_add(g, flipped, g_unary(g, OP_abs, flipped)), 0.5);
    }
    output(g, twice);
    output(g, root);
    output(g, turned);
    Value loss = g_reshape(g, g_reduce(g, OP_sum, root, 3), SCALAR);
    if (gradient(g, loss, NO_VALUE, &x, 1, &slope, &err)) fail_msg("%s", err.message);
    output(g, slope);
}

/* The gradient of a maximum asks which elements are the maximum: they are computed again, in a second pass,
   and must be the same to the last bit, though the product alone is wanted in the first one. */
static void maxima_of_sums(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(40, 130)), z = input(g, dtype, SHAPE(40, 130)),
          u = input(g, dtype, SHAPE(40, 130));
    Value product = g_mul(g, x, z), slopes[2];
    Value top = g_reduce(g, OP_reduce_max, g_add(g, product, u), 2);
    Value loss = g_add(g, g_reduce(g, OP_sum, top, 3), g_reduce(g, OP_sum, g_unary(g, OP_exp, product), 3));
    FraxError err;
    if (gradient(g, g_reshape(g, loss, SCALAR), NO_VALUE, (Value[]){x, u}, 2, slopes, &err))
        fail_msg("%s", err.message);
    output(g, slopes[0]);
    output(g, slopes[1]);
}

/* x² − x² is 0 by itself, not what a product of one rounding leaves. */
static void equal_squares(Graph *g, FraxDType dtype) {
    Value x = input(g, dtype, SHAPE(100)), y = g_flip(g, g_flip(g, x, 1), 1);
    output(g, g_unary(g, OP_sqrt, g_sub(g, g_mul(g, x, x), g_mul(g, g_neg(g, x), g_neg(g, y)))));
}

static const struct {
    const char *name;
    Builder *build;
} builders[] = {
    {"softmax", softmax},
    {"layer_norm", layer_norm},
    {"several reductions", several_reductions},
    {"tables of results", tables_of_results},
    {"transforms and reductions", transforms_and_reductions},
    {"adjoint of a transform", adjoint_of_a_transform},
    {"zeros after rows", zeros_after_rows},
    {"more than first samples", more_than_first_samples},
    {"products with epilogues", products_with_epilogues},
    {"convolutions", convolutions},
    {"tables and plain outputs", tables_and_plain_outputs},
    {"empty tensors", empty_tensors},
    {"values used twice", values_used_twice},
    {"maxima of sums", maxima_of_sums},
    {"equal squares", equal_squares},
};

static void test_kernels(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(builders); i++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
            FraxError err;
            Graph *g = start();
            builders[i].build(g, dtype);
            if (graph_status(g, &err)) fail_msg("%s: %s", builders[i].name, err.message);
            compare_targets(g, (Fill){5, -1, 1}, bounds[dtype == FRAX_F32], builders[i].name);
            graph_destroy(g);
        }
}

/* Rows that are filtered within the memory they were loaded to, too long for the reference: as the eager
   target has them, with the same bits for any number of threads. */
static void test_long_rows(void **state) {
    (void)state;
    static const int64_t lengths[] = {16384, 32768, 33000};
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
            Graph *g = start();
            zeros_after(g, dtype, lengths[i] / 2 - 3, lengths[i]);
            void **in = make_inputs(g, (Fill){7, -1, 1}), **expected = make_outputs(g),
                 **got = make_outputs(g), **again = make_outputs(g);
            run_on(g, FRAX_EAGER, 1, in, expected, "long rows, eager");
            run_on(g, FRAX_CPU, 1, in, got, "long rows, cpu");
            run_on(g, FRAX_CPU, 3, in, again, "long rows, cpu");
            expect_outputs(g, expected, got, bounds[dtype == FRAX_F32], "long rows");
            expect_same_bits(g, got, again, "long rows");
            free_tensors(in, g->ninputs);
            free_tensors(expected, g->noutputs);
            free_tensors(got, g->noutputs);
            free_tensors(again, g->noutputs);
            graph_destroy(g);
        }
}

/* A padded convolution is one kernel with what stands before and after it: neither zeros nor samples beyond
   the signal are stored. */
static void test_zeros_are_not_stored(void **state) {
    (void)state;
    enum { N = 5000, P = 10000 };
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(2, N)), re = input(g, FRAX_F64, half(P)),
          im = input(g, FRAX_F64, half(P));
    Value y = g_spectral(g, padded(g, g_unary(g, OP_tanh, x), P), re, g_neg(g, im), 2);
    output(g, g_reduce(g, OP_sum, g_mul(g, first(g, y, N), first(g, y, N)), 2));
    Executable *exe = make_executable(g, FRAX_CPU, 1, "zeros");
    ExecutableStats stats = executable_stats(exe);
    assert_int_equal(stats.kernels, 1);
    assert_int_equal(stats.moved_bytes, (2 * N + 2 * (P / 2 + 1) + 2) * sizeof(double));
    executable_destroy(exe);
    graph_destroy(g);
}

/* What depends on no input is computed at creation, not in every run. */
static void test_tables_are_made_once(void **state) {
    (void)state;
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(4, 26)), k = g_iota(g, (Type){FRAX_F64, SHAPE(1, 26)}, 1);
    Value table = g_unary(g, OP_exp, g_scale(g, k, -0.1));
    output(g, g_mul(g, x, spread(g, table, x)));
    Executable *exe = make_executable(g, FRAX_CPU, 1, "tables");
    ExecutableStats stats = executable_stats(exe);
    assert_int_equal(stats.kernels, 1);
    assert_true(stats.static_bytes >= 26 * sizeof(double));
    executable_destroy(exe);
    graph_destroy(g);
}

/* ---- Donated buffers ---- */

/* An optimiser's step: p and m updated in place, while p also feeds a product, a reduction and a flipped
 * copy. */
static Graph *update_step(void) {
    Graph *g = start();
    Type type = {FRAX_F32, SHAPE(24, 40)};
    Value p = g_param(g, "p", type, INIT_CONSTANT, 0, 0), m = g_param(g, "m", type, INIT_CONSTANT, 0, 0);
    Value x = g_input(g, "x", (Type){FRAX_F32, SHAPE(10, 24)}),
          q = g_param(g, "q", type, INIT_CONSTANT, 0, 0);
    Value h = g_matmul(g, x, p, false, false), grad = g_matmul(g, x, g_unary(g, OP_tanh, h), true, false);
    Value moment = g_add(g, g_scale(g, m, 0.9), g_scale(g, grad, 0.1));
    graph_output(g, "h", h);
    graph_output_donated(g, "p", g_sub(g, p, g_scale(g, moment, 0.5)), p);
    graph_output_donated(g, "m", moment, m);
    graph_output(g, "sum", g_reduce(g, OP_sum, g_mul(g, p, m), 3));
    graph_output_donated(g, "q", g_add(g, q, g_flip(g, q, 3)), q);
    graph_output(g, "mirror", g_flip(g, p, 2));
    return g;
}

static void test_donated_buffers(void **state) {
    (void)state;
    Graph *g = update_step();
    void **in = make_inputs(g, (Fill){3, -1, 1}), **expected = make_outputs(g), **out = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, "update");
    for (int threads = 1; threads <= 3; threads += 2) {
        Executable *exe = make_executable(g, FRAX_CPU, threads, "update");
        FraxError err;
        void **apart = make_outputs(g), **data = calloc(g->ninputs, sizeof *data),
             **results = calloc(g->noutputs, sizeof *results);
        run_poisoned(g, exe, in, apart, "update, buffers apart");
        expect_outputs(g, expected, apart, bounds[1], "update, buffers apart");
        for (size_t i = 0; i < g->ninputs; i++) {
            size_t bytes = type_bytes(graph_type(g, g->inputs[i]));
            data[i] = memcpy(malloc(bytes), in[i], bytes);
        }
        for (size_t i = 0; i < g->noutputs; i++) {
            results[i] = out[i];
            for (size_t k = 0; k < g->ninputs; k++)
                if (g->outputs[i].donated == g->inputs[k]) results[i] = data[k];
        }
        if (executable_run(exe, (const void *const *)data, results, &err)) fail_msg("%s", err.message);
        expect_same_bits(g, apart, results, "update, in place");
        free_tensors(data, g->ninputs);
        free_tensors(apart, g->noutputs);
        free(results);
        executable_destroy(exe);
    }
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(out, g->noutputs);
    graph_destroy(g);
}

/* ---- Memory that fails ---- */

enum { STEPS = 400 }; /* places where memory fails, of the thousands of allocations of one compilation */

/* Creation and a run with the n-th allocation failing; true if all went well. */
static bool survives(const Graph *g, long n, void *const *in, void *const *out) {
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 2, .no_cache = true};
    Executable *exe = NULL;
    FraxError err = {0};
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    assert_non_null(copy);
    mem_fail_after(n);
    FraxStatus status = executable_create(copy, &options, &exe, &err);
    bool created = status == FRAX_OK;
    if (created) status = executable_run(exe, (const void *const *)in, out, &err);
    mem_fail_after(0);
    if (status && (status != FRAX_MEMORY || err.status != FRAX_MEMORY || !err.message[0]))
        fail_msg("allocation %ld: %s", n, err.message);
    if (created && status) /* and it recovers */
        assert_int_equal(executable_run(exe, (const void *const *)in, out, &err), FRAX_OK);
    if (created) executable_destroy(exe);
    return status == FRAX_OK;
}

static void expect_failures_handled(const Graph *g) {
    void **in = make_inputs(g, (Fill){1, 0.3, 0.9}), **out = make_outputs(g);
    long before = mem_count();
    assert_true(survives(g, 0, in, out)); /* transforms stay planned: later tries allocate the same */
    before = mem_count();
    assert_true(survives(g, 0, in, out));
    long all = mem_count() - before, step = MAX(all / STEPS, 1), failures = 0;
    for (long n = 1; n <= all; n += n < 20 || n > all - 40 ? 1 : step) failures += !survives(g, n, in, out);
    if (failures < 20) fail_msg("only %ld of %ld allocations failed", failures, all);
    free_tensors(in, g->ninputs);
    free_tensors(out, g->noutputs);
}

static void test_out_of_memory(void **state) {
    (void)state;
    Graph *small = start();
    softmax(small, FRAX_F32);
    expect_failures_handled(small);
    graph_destroy(small);
    Graph *update = update_step();
    expect_failures_handled(update);
    graph_destroy(update);
    Graph *transforms = start();
    transforms_and_reductions(transforms, FRAX_F64);
    convolutions(transforms, FRAX_F64);
    more_than_first_samples(transforms, FRAX_F64);
    expect_failures_handled(transforms);
    graph_destroy(transforms);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_long_rows),
        cmocka_unit_test(test_zeros_are_not_stored),
        cmocka_unit_test(test_tables_are_made_once),
        cmocka_unit_test(test_donated_buffers),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
