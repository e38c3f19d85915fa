/* test_cuda_values.c — the CUDA target against the reference and the CPU: every pointwise op for every dtype,
 * reductions and products, every fractional operator with its gradients, causal engines, lengths of
 * transforms, random graphs with their derivatives.
 *
 * On a GPU (FRAX_TEST_GPU=1, see cuda_fakes.h) all cases run. On the stand-ins, which take seconds for each,
 * every SAMPLED-th does. FRAX_TEST_PART=K/N takes every N-th of all cases from the K-th on, so that several
 * processes share them.
 *
 * Bounds are those of the CPU's tests. NVIDIA's functions are as exact as they ask for (CUDA C++ Programming
 * Guide, "Mathematical Functions": f32 within 4 ulp but for lgammaf, f64 within 2 ulp but for lgamma, tgamma
 * and Bessel functions, without fast-math; division and square root are rounded correctly).
 */
#include "operators.h"
#include "pointwise_ops.h"
#include "public_run.h"
#include "random_graphs.h"
#include "target_run.h"
#include "cuda_fakes.h"

enum { SAMPLED = 13, GRAPHS = 40, LONGEST = 20000 /* for the stand-ins */ };

typedef struct Count {
    int cases, taken;
} Count;

/* Is the next case this process's? */
static bool is_mine(Count *count) {
    const char *part = getenv("FRAX_TEST_PART");
    int which = 0, of = on_gpu() ? 1 : SAMPLED;
    if (part && (sscanf(part, "%d/%d", &which, &of) != 2 || of < 1)) fail_msg("FRAX_TEST_PART=%s", part);
    bool mine = count->cases++ % of == which;
    count->taken += mine;
    return mine;
}

static void tell(const Count *count) {
    if (count->taken < count->cases)
        print_message("%d of %d cases (FRAX_TEST_PART=0/1: all)\n", count->taken, count->cases);
    assert_int_equal(live_objects(), 0);
}

/* ---- Pointwise ops ---- */

/* A rounding of the dtype, or of the f32 that is rounded to it, on top of the function's own ulps. */
static const Bound pointwise_bounds[] = {
    [FRAX_F64] = {1e-13, 1e-13},     [FRAX_F32] = {1e-6, 1e-6}, [FRAX_BF16] = {0x1p-7, 0x1p-9},
    [FRAX_F16] = {0x1p-10, 0x1p-12}, [FRAX_I32] = {0, 0},       [FRAX_BOOL] = {0, 0},
};

static void compare_pointwise(FraxDType dtype, bool special, double lo, double hi) {
    enum { N = 700 };
    char name[64];
    Graph *g = all_pointwise(dtype, N, special, NULL);
    void **in = make_inputs(g, (Fill){3, lo, hi}), **expected = make_outputs(g), **got = make_outputs(g);
    snprintf(name, sizeof name, "%s ops of %s in [%g, %g]", special ? "special" : "pointwise",
             frax_dtype_name(dtype), lo, hi);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    run_on(g, FRAX_CUDA, 1, in, got, name);
    expect_outputs(g, expected, got, pointwise_bounds[dtype], name);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    graph_destroy(g);
}

static void test_pointwise(void **state) {
    static const double ranges[][2] = {{0.3, 0.9}, {-3, 3}};
    Count count = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(dtypes); i++)
        for (size_t r = 0; r < COUNT(ranges); r++)
            if (is_mine(&count)) compare_pointwise(dtypes[i], false, ranges[r][0], ranges[r][1]);
    for (size_t i = 0; i < 2; i++)
        if (is_mine(&count)) compare_pointwise(dtypes[i], true, ranges[0][0], ranges[0][1]);
    tell(&count);
}

/* ---- Models ---- */

/* A model whose inputs are x and w, noise, or scalars: the order a, the rate l, theta or the slope t, the
   step h. Its gradients are those of `loss` in what wrt names. */
typedef struct Sample {
    const char *name, *text;
    RunOptions options;
    double tolerance; /* of an array's largest element */
    Parameters p;
    FraxTarget truth;
} Sample;

static double *values_of(const Sample *s, const char *name, const FraxTensor *type) {
    uint64_t seed = (uint64_t)name[0] * 7919;
    int64_t n = tensor_size(type);
    double *values = malloc((size_t)n * sizeof *values + 1);
    assert_non_null(values);
    for (int64_t i = 0; i < n; i++)
        values[i] = (double)(float)(2 * ((double)(fill_random(&seed) >> 11) * 0x1p-53) - 1);
    if (type->rank) return values;
    values[0] = *name == 'a' ? s->p.alpha : *name == 'l' ? s->p.lambda : *name == 't' ? s->p.theta : s->p.h;
    return values;
}

static void run_sample(const Sample *s, FraxTarget target, Results *r) {
    FraxExecutable *exe;
    FraxError err = {0};
    RunOptions options = s->options;
    double *inputs[MOST_ARRAYS];
    options.target = target;
    if (try_compile(s->text, &options, &exe, &err)) fail_msg("%s: %s\n%s", s->name, err.message, s->text);
    size_t n = frax_executable_count(exe, FRAX_INPUT);
    for (size_t i = 0; i < n; i++) {
        FraxTensor type = frax_executable_type(exe, FRAX_INPUT, i);
        inputs[i] = values_of(s, frax_executable_name(exe, FRAX_INPUT, i), &type);
    }
    if (run_executable(exe, (const double *const *)inputs, r, &err)) fail_msg("%s: %s", s->name, err.message);
    for (size_t i = 0; i < n; i++) free(inputs[i]);
    frax_executable_destroy(exe);
}

static void compare_sample(const Sample *s) {
    Results expected, got;
    run_sample(s, s->truth, &expected);
    run_sample(s, FRAX_CUDA, &got);
    assert_int_equal(expected.count, got.count);
    for (size_t o = 0; o < got.count; o++) {
        double largest = 0;
        for (int64_t i = 0; i < got.size[o]; i++) largest = fmax(largest, fabs(expected.data[o][i]));
        for (int64_t i = 0; i < got.size[o]; i++)
            if (!(fabs(got.data[o][i] - expected.data[o][i]) <= s->tolerance * largest))
                fail_msg("%s: output %zu, element %lld is %.17g, expected %.17g (largest %g)\n%s", s->name, o,
                         (long long)i, got.data[o][i], expected.data[o][i], largest, s->text);
    }
    free_results(&expected);
    free_results(&got);
}

static double tolerance_of(const char *dtype) {
    return strcmp(dtype, "f64") ? 2e-4 : 1e-10;
}

/* ---- Reductions, rows, products ---- */

static const struct Example {
    const char *name, *text; /* %1$s: the dtype */
} texts[] = {
    {"reductions",
     "model m(x: %1$s[37, 1000]) {\n r = sum(x, axis=0)\n c = mean(x, axis=1)\n a = max(x, axis=0)\n"
     " b = min(x, axis=1)\n v = var(x)\n loss = sum(r^2) + sum(c^2) + v\n"
     " return loss, r, c, a, b, v\n}\n"},
    {"rows",
     "model m(x: %1$s[65, 300]) {\n y = softmax(x)\n z = layer_norm(x)\n l = logsumexp(3 * x, axis=1)\n"
     " loss = sum(y * z) + sum(l^2)\n return loss, y, z, l\n}\n"},
    {"products",
     "model m(x: %1$s[130, 257], w: %1$s[257, 70]) {\n y = x @ w\n z = transpose(w) @ transpose(x)\n"
     " loss = mean(relu(y)^2) + mean(z)\n return loss, y, z\n}\n"},
    {"products of stacks",
     "model m(x: %1$s[5, 33, 64], w: %1$s[5, 64, 17]) {\n y = x @ w\n loss = mean(y^2)\n"
     " return loss, y\n}\n"},
    {"shapes",
     "model m(x: %1$s[20, 30, 7]) {\n y = flip(transpose(x), axis=0)\n"
     " z = concat([x[:, 1:], x[:, ::3]], axis=1)\n loss = sum(y^3) + sum(z^2)\n return loss, y, z\n}\n"},
};

static void test_models(void **state) {
    static const char *const floats[] = {"f64", "f32"};
    Count count = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++)
        for (size_t d = 0; d < COUNT(floats); d++) {
            char text[768];
            if (!is_mine(&count)) continue;
            snprintf(text, sizeof text, texts[i].text, floats[d]);
            compare_sample(&(Sample){.name = texts[i].name,
                                     .text = text,
                                     .options.wrt = {"x"},
                                     .tolerance = tolerance_of(floats[d]),
                                     .truth = FRAX_REFERENCE});
        }
    tell(&count);
}

/* ---- Fractional operators ---- */

static void compare_operator(const Operator *op, const char *dtype, int64_t n, const char *extra,
                             FraxTarget truth, double tolerance) {
    char call[256], text[768], name[96];
    double alpha = op->lo + 0.61 * (op->hi - op->lo);
    Sample s = {.name = name,
                .text = text,
                .options.wrt = {"x", "a"},
                .tolerance = tolerance,
                .truth = truth,
                .p = {alpha, 0.7, 0.4 * fmin(alpha, 2 - alpha), op->step > 0 ? op->step : 0.5}};
    snprintf(name, sizeof name, "%s %s[3, %lld]%s", op->name, dtype, (long long)n, extra);
    snprintf(text, sizeof text,
             "model m(x: %s[3, %lld], a: f64, l: f64, t: f64, h: f64) {\n y = %s\n loss = sum(y^2)\n"
             " return loss, y\n}\n",
             dtype, (long long)n, frac_text(op, "x", n, "a", extra, call));
    compare_sample(&s);
}

static void test_operators(void **state) {
    Count count = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(operators); i++) {
        if (is_mine(&count)) compare_operator(&operators[i], "f64", 30, "", FRAX_REFERENCE, 1e-9);
        if (is_mine(&count)) compare_operator(&operators[i], "f32", 128, "", FRAX_REFERENCE, 2e-4);
    }
    tell(&count);
}

/* Sums of exponentials are within 1e-10 of the weights; of equal lengths they are the same ones. */
static void test_engines(void **state) {
    static const char *const engines[] = {", engine=dense", ", engine=direct", ", engine=fft",
                                          ", engine=soe"};
    static const int64_t lengths[] = {100, 512, 3000, 4096};
    const Operator *grunwald = find_operator("grunwald");
    Count count = {0};
    (void)state;
    for (size_t e = 0; e < COUNT(engines); e++)
        for (size_t i = 0; i < COUNT(lengths); i++) {
            if (!is_mine(&count)) continue;
            const char *dtype = (e + i) % 2 ? "f32" : "f64";
            compare_operator(grunwald, dtype, lengths[i], engines[e], FRAX_EAGER,
                             strcmp(dtype, "f64") ? 2e-4 : 1e-9);
        }
    tell(&count);
}

static void test_lengths(void **state) {
    static const int64_t lengths[] = {2,    8,    16,   31,   32,   64,   96,   128,  256,   360,   509,  512,
                                      1000, 1024, 1536, 2048, 3000, 4096, 5000, 8192, 16384, 20000, 32768};
    Count count = {0};
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (int d = 0; d < 2; d++) {
            const char *dtype = d ? "f64" : "f32";
            if (lengths[i] > LONGEST && !on_gpu()) continue;
            if (is_mine(&count))
                compare_operator(find_operator("weyl"), dtype, lengths[i], "", FRAX_EAGER,
                                 tolerance_of(dtype));
        }
    tell(&count);
}

/* ---- Random graphs, as in test_targets.c ---- */

static Count graph_count;

static void compare_graph(const Graph *g, uint64_t seed, double tolerance, const char *name) {
    void **in = make_inputs(g, (Fill){seed, -1, 1}), **expected = make_outputs(g), **got = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    run_on(g, FRAX_CUDA, 1, in, got, name);
    expect_outputs(g, expected, got, (Bound){0, tolerance}, name);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
}

static void check_graph(const Function *f, uint64_t seed) {
    char name[96];
    for (int single = 0; single < 2; single++) {
        if (!is_mine(&graph_count)) continue;
        Graph *g = derivative_graph(f), *other = single ? narrowed_graph(g, f->name) : NULL;
        snprintf(name, sizeof name, "%s%s %s", f->name, f->kinks ? " kinks" : "", single ? "f32" : "f64");
        compare_graph(other ? other : g, seed, single || holds_f32(g) ? 2e-4 : 1e-11, name);
        graph_destroy(other);
        graph_destroy(g);
    }
}

static void test_random(void **state) {
    (void)state;
    for_each_graph(GRAPHS, check_graph);
    tell(&graph_count);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pointwise), cmocka_unit_test(test_models),  cmocka_unit_test(test_operators),
        cmocka_unit_test(test_engines),   cmocka_unit_test(test_lengths), cmocka_unit_test(test_random),
    };
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
