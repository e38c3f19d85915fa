/* test_cuda_run.c — models and graphs on the CUDA target, executed on the CPU by the stand-ins of fake_cuda/,
 * against the reference: values and gradients, with the threads of a block in several orders between
 * barriers, which must not change a bit.
 */
#include "every_op.h"
#include "public_run.h"
#include "random_graphs.h"
#include "target_run.h"
#include "cuda_fakes.h"

/* ---- Models of the examples ---- */

typedef struct Example {
    const char *spec;
    FraxMode mode;
    FraxSize sizes[2];
    double relative; /* of the largest element: f32 sums in another order */
} Example;

#define EXAMPLES "frontend/examples/"

static const Example examples[] = {
    {EXAMPLES "nile.frax", FRAX_REVERSE, {{"T", 100}}, 1e-11},
    {EXAMPLES "nile.frax", FRAX_HVP, {{"T", 37}}, 1e-11},
    {EXAMPLES "classifier.frax", FRAX_REVERSE, {{"B", 4}, {"N", 32}}, 1e-4},
    {EXAMPLES "classifier.frax:deep", FRAX_REVERSE, {{"B", 3}, {"N", 64}}, 1e-4},
    {EXAMPLES "classifier.frax:deep", FRAX_REVERSE, {{"B", 2}, {"N", 512}}, 1e-4},
    {EXAMPLES "filter.frax:split", FRAX_FORWARD, {{"T", 1000}}, 1e-11},
    {EXAMPLES "filter.frax:split", FRAX_FORWARD, {{"T", 60}}, 1e-11},
    {EXAMPLES "filter.frax:sharpen", FRAX_FORWARD, {{"H", 8}, {"W", 16}}, 1e-4},
    {EXAMPLES "filter.frax:identify", FRAX_REVERSE, {{"T", 50}}, 1e-10},
    {EXAMPLES "robust.frax", FRAX_REVERSE, {{"T", 64}}, 1e-10},
    {EXAMPLES "pink.frax", FRAX_FORWARD, {{"T", 2000}}, 1e-4},
};

typedef struct ModelRun {
    FraxExecutable *exe;
    size_t count[3];
    void *values[3][MOST_ARRAYS];
} ModelRun;

static void fill_array(const FraxTensor *type, void *data, uint64_t seed) {
    for (int64_t i = 0; i < tensor_size(type); i++) {
        double u = (double)(fill_random(&seed) >> 11) * 0x1p-53;
        element_set(data, type->dtype, i, type->dtype == FRAX_I32 ? floor(10 * u) : 2 * u - 1);
    }
}

static void open_run(ModelRun *r, const Example *e, FraxTarget target) {
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxError err;
    options.target = target;
    options.mode = e->mode;
    options.sizes = e->sizes;
    options.nsizes = e->sizes[1].name ? 2 : 1;
    options.no_cache = 1;
    if (frax_model_load(e->spec, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &r->exe, &err)) fail_msg("%s: %s", e->spec, err.message);
    frax_model_destroy(model);
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++) {
        r->count[role] = frax_executable_count(r->exe, role);
        assert_true(r->count[role] <= MOST_ARRAYS);
        for (size_t i = 0; i < r->count[role]; i++) {
            FraxTensor type = frax_executable_type(r->exe, role, i);
            r->values[role][i] = new_array(&type, NULL);
            fill_array(&type, r->values[role][i], 17 * (uint64_t)role + i);
            if (role == FRAX_PARAM) /* tangents keep what they were filled with */
                frax_initial_param(r->exe, i, 5, r->values[role][i], &err);
        }
    }
}

static void run_once(ModelRun *r, const char *name) {
    FraxError err;
    if (frax_run(r->exe, (const void *const *)r->values[FRAX_INPUT],
                 (const void *const *)r->values[FRAX_PARAM], r->values[FRAX_OUTPUT], &err))
        fail_msg("%s: %s", name, err.message);
}

static void close_run(ModelRun *r) {
    for (int role = 0; role < 3; role++)
        for (size_t i = 0; i < r->count[role]; i++) free(r->values[role][i]);
    frax_executable_destroy(r->exe);
}

static void expect_near(const Example *e, const ModelRun *expected, const ModelRun *got) {
    char name[160];
    for (size_t o = 0; o < got->count[FRAX_OUTPUT]; o++) {
        FraxTensor tensor = frax_executable_type(got->exe, FRAX_OUTPUT, o);
        Type type = {tensor.dtype, {.rank = tensor.rank}};
        memcpy(type.shape.dims, tensor.dims, sizeof tensor.dims);
        snprintf(name, sizeof name, "%s, order %s", e->spec, getenv("FAKE_CUDA_ORDER"));
        expect_output(&type, expected->values[FRAX_OUTPUT][o], got->values[FRAX_OUTPUT][o],
                      (Bound){e->relative, e->relative}, name,
                      frax_executable_name(got->exe, FRAX_OUTPUT, o));
    }
}

static void expect_equal(const Example *e, const ModelRun *a, const ModelRun *b) {
    for (size_t o = 0; o < a->count[FRAX_OUTPUT]; o++) {
        FraxTensor type = frax_executable_type(a->exe, FRAX_OUTPUT, o);
        size_t bytes = (size_t)tensor_size(&type) * frax_dtype_size(type.dtype);
        if (memcmp(a->values[FRAX_OUTPUT][o], b->values[FRAX_OUTPUT][o], bytes))
            fail_msg("%s: %s has other bits under the order %s", e->spec,
                     frax_executable_name(a->exe, FRAX_OUTPUT, o), getenv("FAKE_CUDA_ORDER"));
    }
}

static void test_examples(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof examples / sizeof *examples; i++) {
        const Example *e = &examples[i];
        ModelRun reference, first, again;
        open_run(&reference, e, FRAX_REFERENCE);
        run_once(&reference, e->spec);
        use_order(0);
        open_run(&first, e, FRAX_CUDA);
        open_run(&again, e, FRAX_CUDA);
        run_once(&first, e->spec);
        expect_near(e, &reference, &first);
        for (int order = 0; order < THREAD_ORDERS; order++) {
            use_order(order);
            run_once(&again, e->spec);
            expect_equal(e, &first, &again);
        }
        use_order(0);
        close_run(&reference);
        close_run(&first);
        close_run(&again);
    }
    assert_int_equal(live_objects(), 0);
}

/* ---- Graphs ---- */

static void compare_graph(const Graph *g, Fill fill, Bound bound, const char *name) {
    void **in = make_inputs(g, fill), **expected = make_outputs(g), **got = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    run_on(g, FRAX_CUDA, 1, in, got, name);
    expect_outputs(g, expected, got, bound, name);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
}

static void test_every_op(void **state) {
    (void)state;
    Graph *g = every_op();
    assert_non_null(g);
    compare_graph(g, (Fill){7, 0.3, 0.9}, (Bound){0, 1e-11}, "every op");
    graph_destroy(g);
}

/* Bounds as in test_targets.c. */
static void check_random(const Function *f, uint64_t seed) {
    Graph *g = derivative_graph(f);
    compare_graph(g, (Fill){seed, f->lo, f->hi}, (Bound){0, holds_f32(g) ? 2e-4 : 1e-11}, f->name);
    graph_destroy(g);
}

static void test_random_graphs(void **state) {
    (void)state;
    for_each_graph(6, check_random);
}

/* Arrays beyond the staging memory; an input returned as it is, a value returned twice, an empty one. */
static void test_outputs_of_all_kinds(void **state) {
    (void)state;
    enum { LARGE = 300000 };
    Graph *g = graph_create("outputs", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(LARGE)}),
          small = g_input(g, "small", (Type){FRAX_F32, SHAPE(3)}),
          none = g_input(g, "none", (Type){FRAX_F64, SHAPE(0, 4)});
    Value y = g_add(g, x, x), z = g_neg(g, small);
    graph_output(g, "y", y);
    graph_output(g, "y.again", y);
    graph_output(g, "z", z);
    graph_output(g, "z.again", z);
    graph_output(g, "x", x);
    graph_output(g, "small", small);
    graph_output(g, "none", g_neg(g, none));
    compare_graph(g, (Fill){9, -1, 1}, (Bound){0, 0}, "outputs");
    graph_destroy(g);
}

/* A state written over its own input, in the host's memory, too. */
static void test_donated_outputs(void **state) {
    (void)state;
    Graph *g = graph_create("state", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(5)}), s = g_input(g, "s", (Type){FRAX_F64, SHAPE(5)});
    graph_output(g, "y", g_mul(g, x, s));
    graph_output_donated(g, "s", g_add(g, s, x), s);
    Executable *exe = make_executable(g, FRAX_CUDA, 1, "state");
    double in[5] = {1, 2, 3, 4, 5}, sum[5] = {0}, y[5];
    for (int run = 0; run < 4; run++) {
        FraxError err;
        if (executable_run(exe, (const void *[]){in, sum}, (void *[]){y, sum}, &err))
            fail_msg("%s", err.message);
        for (int i = 0; i < 5; i++) assert_true(y[i] == run * in[i] * in[i] && sum[i] == (run + 1) * in[i]);
    }
    executable_destroy(exe);
    graph_destroy(g);
}

/* The same with the state on the device: only x and y are copied. */
static void test_kept_values(void **state) {
    (void)state;
    Graph *g = graph_create("kept", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(5)}), s = g_input(g, "s", (Type){FRAX_F64, SHAPE(5)});
    graph_output(g, "y", g_mul(g, x, s));
    graph_output_donated(g, "s", g_add(g, s, x), s);
    Executable *exe = make_executable(g, FRAX_CUDA, 1, "kept");
    double in[5] = {1, 2, 3, 4, 5}, sum[5] = {0}, y[5];
    FraxError err;
    assert_int_equal(executable_keep(exe, (const bool[]){false, true}, &err), FRAX_OK);
    assert_int_equal(executable_upload(exe, 1, sum, &err), FRAX_OK);
    Counts before = counts_since((Counts){0});
    for (int run = 0; run < 4; run++) {
        if (run == 2) executable_save(exe, 1, &err);
        if (executable_run(exe, (const void *[]){in, NULL}, (void *[]){y, NULL}, &err))
            fail_msg("%s", err.message);
        for (int i = 0; i < 5; i++) assert_true(y[i] == run * in[i] * in[i]);
    }
    Counts runs = counts_since(before);
    assert_true(on_gpu() || (runs.graphs == 4 && runs.copies == 4 * 2));
    executable_download(exe, 1, sum, &err);
    for (int i = 0; i < 5; i++) assert_true(sum[i] == 4 * in[i]);
    executable_restore(exe, 1, &err);
    executable_download(exe, 1, sum, &err);
    for (int i = 0; i < 5; i++) assert_true(sum[i] == 2 * in[i]);
    executable_destroy(exe);
    graph_destroy(g);
    assert_int_equal(live_objects(), 0);
}

/* Arrays of the host in the order of columns: the device's are dense all the same. */
static void test_arrays_with_strides(void **state) {
    (void)state;
    const char *text = "model m(x: f64[3, 4]) {\n    y = 2 * x + guard(x, lo=0, hi=99)\n    return y\n}\n";
    FraxLayout layouts[] = {{FRAX_INPUT, "x", 2, {8, 24}}, {FRAX_OUTPUT, "y", 2, {8, 24}}};
    FraxOptions options = frax_default_options();
    FraxExecutable *exe;
    FraxModel *model;
    FraxError err;
    double x[12], y[12];
    options.target = FRAX_CUDA;
    options.layouts = layouts;
    options.nlayouts = 2;
    for (int i = 0; i < 12; i++) x[i] = i;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
    if (frax_run(exe, (const void *[]){x}, NULL, (void *[]){y}, &err)) fail_msg("%s", err.message);
    for (int i = 0; i < 12; i++) assert_true(y[i] == 3 * x[i]);
    x[7] = -1; /* row 1, column 2 */
    assert_int_equal(frax_run(exe, (const void *[]){x}, NULL, (void *[]){y}, &err), FRAX_VALUE);
    assert_non_null(strstr(err.message, "is -1 at element 6"));
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* As in test_fusion.c: the mask of a maximum's gradient is computed in a second pass, to the same bits. */
static void test_maxima_of_sums(void **state) {
    (void)state;
    enum { N = 30 * 130 };
    static double x[3][N];
    const char *text = "model m(x: f64[30, 130], z: f64[30, 130], u: f64[30, 130]) {\n p = x * z\n"
                       " loss = sum(max(p + u, axis=1)) + sum(exp(p))\n return loss\n}\n";
    for (int i = 0; i < 3 * N; i++) x[i / N][i % N] = sin(i * 0.7) + 0.1 * (i % 13);
    Results r[2];
    const FraxTarget targets[] = {FRAX_REFERENCE, FRAX_CUDA};
    for (int t = 0; t < 2; t++)
        r[t] = run_model(text, &(RunOptions){.target = targets[t], .wrt = {"x", "u"}},
                         (const double *[]){x[0], x[1], x[2]});
    for (int o = 1; o < 3; o++)
        for (int i = 0; i < N; i++) assert_true(fabs(r[0].data[o][i] - r[1].data[o][i]) < 1e-12 * 30);
    for (int t = 0; t < 2; t++) free_results(&r[t]);
}

/* Sums over leading axes, whose columns are too few for a GPU: each is cut into parts. */
static void test_leading_sums(void **state) {
    (void)state;
    enum { N = 700 * 67 };
    static double x[N];
    const double *const inputs[] = {x};
    Results r[2];
    const FraxTarget targets[] = {FRAX_REFERENCE, FRAX_CUDA};
    for (int i = 0; i < N; i++) x[i] = sin(i * 0.7) + 0.1 * (i % 13);
    const char *text =
        "model m(x: f64[700, 67]) {\n s = sum(x * sin(x), axis=0)\n"
        " t = max(x, axis=0) - min(x^2, axis=0) / 3\n u = cast(sum(cast(x, f32), axis=0), f64)\n"
        " return s, t, u\n}\n";
    for (int t = 0; t < 2; t++) r[t] = run_model(text, &(RunOptions){.target = targets[t]}, inputs);
    for (int o = 0; o < 3; o++)
        for (int i = 0; i < 67; i++) {
            double error = fabs(r[0].data[o][i] - r[1].data[o][i]), limit = o == 2 ? 4e-7 * 600 : 1e-12;
            if (!(error <= limit))
                fail_msg("output %d, column %d: %.17g, expected %.17g", o, i, r[1].data[o][i],
                         r[0].data[o][i]);
        }
    for (int t = 0; t < 2; t++) free_results(&r[t]);
}

/* ---- Guards ---- */

static void expect_same_fault(const char *text, const double *const *inputs, const char *says) {
    const FraxTarget targets[] = {FRAX_CPU, FRAX_CUDA};
    FraxError err[2] = {{0}};
    for (int i = 0; i < 2; i++) {
        Results r = {0};
        FraxStatus status = try_model(text, &(RunOptions){.target = targets[i]}, inputs, &r, &err[i]);
        free_results(&r);
        assert_int_equal(status, says ? FRAX_VALUE : FRAX_OK);
    }
    if (says && !strstr(err[1].message, says)) fail_msg("%s", err[1].message);
    if (says) assert_string_equal(err[0].message, err[1].message);
}

static void test_guards(void **state) {
    (void)state;
    const char
        *input = "model m(x: f64[4], a: f64[3]) {\n    y = sum(x) + guard(a, lo=0, hi=1)\n    return y\n}\n",
        *computed =
            "model m(x: f64[4], a: f64[3]) {\n    y = sum(x) + guard(2 * a, lo=0, hi=1)\n    return y\n}\n",
        *table =
            "model m(x: f64[4], a: f64[3]) {\n    y = x + guard(iota(4, f64), lo=0, hi=2)\n    return y\n}\n";
    const double x[4] = {1, 2, 3, 4}, good[3] = {0.1, 0.2, 0.3}, bad[3] = {0.1, 1.5, 2.5};
    expect_same_fault(input, (const double *[]){x, good}, NULL);
    expect_same_fault(input, (const double *[]){x, bad}, "is 1.5 at element 1, expected 0 <= ");
    expect_same_fault(computed, (const double *[]){x, good}, NULL);
    expect_same_fault(computed, (const double *[]){x, bad}, "is 3 at element 1, expected 0 <= ");
    expect_same_fault(table, (const double *[]){x, good}, "is 3 at element 3, expected 0 <= ");
    assert_int_equal(live_objects(), 0);
}

/* ---- Lack of memory, wrong options ---- */

static void test_failing_allocations(void **state) {
    (void)state;
    const char *text = "model m(x: f64[4]) {\n    y = x + 1\n    return y\n}\n";
    FraxExecutable *exe = NULL;
    FraxStatus status = FRAX_MEMORY;
    needs_fakes("what is left behind is not counted");
    for (long n = 1; status; n += 1 + n / 16) {
        FraxError err = {0};
        mem_fail_after(n);
        status = try_compile(text, &(RunOptions){.target = FRAX_CUDA}, &exe, &err);
        mem_fail_after(0);
        if (status) assert_int_equal(status, FRAX_MEMORY);
    }
    frax_executable_destroy(exe);
    assert_int_equal(live_objects(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_examples),
        cmocka_unit_test(test_every_op),
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_outputs_of_all_kinds),
        cmocka_unit_test(test_donated_outputs),
        cmocka_unit_test(test_kept_values),
        cmocka_unit_test(test_arrays_with_strides),
        cmocka_unit_test(test_leading_sums),
        cmocka_unit_test(test_maxima_of_sums),
        cmocka_unit_test(test_guards),
        cmocka_unit_test(test_failing_allocations),
    };
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
