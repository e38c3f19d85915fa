/* test_cuda_causal.c — causal operators in the registers of a GPU's teams (codegen/fft/team_fft.c): results and
 * gradients against the direct sums of the reference, executed by the stand-ins of fake_cuda/; and that the
 * text reads x once, writes y once, and has memory for no more than N points. On a GPU the results are its
 * own, up to the longest that a team takes.
 */
#include "api.h"
#include "cuda_program.h"
#include "passes.h"
#include "public_run.h"
#include "target_run.h"
#include "cuda_libraries.h"
#include <math.h>

enum { ROWS = 3 };

/* ---- Results ---- */

/* Lengths by what they become: halves of 256, 512 and 1024 points and more, filled or not; whole transforms
   where halves have more passes; and beyond what a team takes. */
static const struct Case {
    const char *dtype, *call;
    int64_t n;
    double relative; /* of the largest element of a row: sums in another order; 16-bit results are rounded */
} cases[] = {
    {"f32", "frac(x, a, kind=grunwald, engine=%s)", 63, 1e-5},
    {"f32", "frac(x, a, kind=grunwald, engine=%s)", 256, 1e-5},
    {"f32", "frac(x, a, kind=caputo, engine=%s)", 333, 1e-5},
    {"f32", "frac(x, a, kind=riemann_liouville, engine=%s)", 512, 1e-5},
    {"f32", "frac(x, a, kind=integral, engine=%s)", 1000, 1e-5},
    {"f32", "frac(x, a, kind=grunwald, engine=%s)", 4095, 1e-5},
    {"f64", "frac(x, a, kind=caputo, engine=%s)", 100, 1e-13},
    {"f64", "frac(x, a, kind=grunwald, engine=%s)", 511, 1e-13},
    {"f16", "frac(x, a, kind=grunwald, engine=%s)", 300, 0x1p-10},
    {"bf16", "frac(x, a, kind=caputo, engine=%s)", 300, 0x1p-7},
    {"f32", "causal_conv(cast(a, f32) * x[0, :200] , x, engine=%s)", 500, 1e-5},
};

/* The longest that teams take, and beyond. */
static const struct Case longest[] = {
    {"f32", "frac(x, a, kind=grunwald, engine=%s)", 8192, 1e-5},
    {"f32", "frac(x, a, kind=caputo, engine=%s)", 8191, 1e-5},
    {"f32", "frac(x, a, kind=integral, engine=%s)", 9000, 1e-5},
    {"f64", "frac(x, a, kind=grunwald, engine=%s)", 4096, 1e-13},
    {"f64", "frac(x, a, kind=caputo, engine=%s)", 4097, 1e-13},
    {"bf16", "frac(x, a, kind=grunwald, engine=%s)", 8192, 0x1p-7},
};

static void model_text(const struct Case *c, const char *engine, char text[640]) {
    char call[160];
    snprintf(call, sizeof call, c->call, engine);
    snprintf(text, 640,
             "model m(x: %s[%d, %lld], a: f64) {\n    y = %s\n    loss = sum(cast(y, f64)^2)\n"
             "    return loss, y\n}\n",
             c->dtype, ROWS, (long long)c->n, call);
}

/* Rows of like size but for the last one, which fits no partner. */
static double *make_rows(int64_t n) {
    double *x = malloc((size_t)(ROWS * n) * sizeof *x);
    assert_non_null(x);
    uint64_t seed = 7;
    for (int64_t i = 0; i < ROWS * n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        x[i] = ((double)(seed >> 40) * 0x1p-23 - 1) * (i / n == ROWS - 1 ? 0.01 : 1);
    }
    return x;
}

static void expect_rows(const struct Case *c, const Results *expected, const Results *got) {
    for (size_t o = 0; o < got->count; o++) {
        int64_t size = got->size[o], row = size == ROWS * c->n ? c->n : size;
        for (int64_t first = 0; first < size; first += row) {
            double largest = 0, error = 0;
            for (int64_t i = first; i < first + row; i++) {
                largest = fmax(largest, fabs(expected->data[o][i]));
                double apart = fabs(got->data[o][i] - expected->data[o][i]);
                error = apart <= error ? error : apart; /* NaN stays */
            }
            if (!(error <= c->relative * largest))
                fail_msg("%s[%lld], %s: result %zu is off by %g of %g in row %lld", c->dtype, (long long)c->n,
                         c->call, o, error, largest, (long long)(first / row));
        }
    }
}

static void check_case(const struct Case *c) {
    char text[640];
    double alpha = 0.4, *x = make_rows(c->n);
    const double *const inputs[] = {x, &alpha};
    RunOptions options = {FRAX_REFERENCE, {"x", "a"}};
    FraxError err;
    model_text(c, "direct", text);
    Results expected = run_model(text, &options, inputs);
    model_text(c, "fft", text);
    options.target = FRAX_CUDA;
    FraxExecutable *exe = compile_model(text, &options);
    Results first = {0};
    for (int order = 0; order < THREAD_ORDERS; order++) {
        Results got = {0};
        use_order(order);
        if (run_executable(exe, inputs, &got, &err)) fail_msg("%s", err.message);
        for (size_t o = 0; order && o < got.count; o++)
            if (memcmp(got.data[o], first.data[o], (size_t)got.size[o] * sizeof **got.data))
                fail_msg("%s[%lld]: other bits under the order %s", c->dtype, (long long)c->n,
                         thread_orders[order]);
        if (!order) expect_rows(c, &expected, &got);
        if (order) free_results(&got);
        if (!order) first = got;
    }
    use_order(0);
    free_results(&first);
    free_results(&expected);
    frax_executable_destroy(exe);
    free(x);
}

static void test_results(void **state) {
    (void)state;
    int thinned = 0;
    for (size_t i = 0; i < COUNT(cases); i++)
        if (!is_thinned_out(&thinned)) check_case(&cases[i]);
    assert_int_equal(live_objects(), 0);
}

static void test_longest_results(void **state) {
    (void)state;
    needs_gpu("the stand-ins take minutes");
    for (size_t i = 0; i < COUNT(longest); i++) check_case(&longest[i]);
}

/* ---- Traffic ---- */

static void make_program(const char *text, const char *wrt, Graph **g, CudaProgram *p) {
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxError err = {0};
    options.mode = wrt ? FRAX_REVERSE : FRAX_FORWARD;
    options.wrt = &wrt;
    options.nwrt = wrt != NULL;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err) ||
        model_graph(model, &options, g, NULL, &err))
        fail_msg("%s\n%s", err.message, text);
    frax_model_destroy(model);
    (*g)->gpu = (*g)->self_contained = true;
    if (run_passes(g, NULL, &err) || cuda_program_create(*g, NULL, p, &err)) fail_msg("%s", err.message);
}

static int count_of(const char *text, const char *end, const char *word) {
    int count = 0;
    for (const char *at = text; (at = strstr(at, word)) && at < end; at++) count++;
    return count;
}

/* Accesses of a kernel's text to the first array of the inputs (context + 24) or outputs (context + 32). */
static int accesses(const char *body, const char *end, int field, const char *form) {
    char word[96], list[16], array[16];
    snprintf(word, sizeof word, " = *(char *const *)(context + %d);", field);
    const char *at = strstr(body, word);
    if (!at || at > end) return 0;
    while (at[-1] != ' ') at--;
    assert_int_equal(sscanf(at, "%15[v0-9]", list), 1);
    snprintf(word, sizeof word, " = *(char *const *)(%s + ", list);
    at = strstr(body, word);
    assert_non_null(at);
    while (at[-1] != ' ') at--;
    assert_int_equal(sscanf(at, "%15[v0-9]", array), 1);
    snprintf(word, sizeof word, form, array);
    return count_of(body, end, word);
}

static const ProgramKernel *filter_kernel(const CudaProgram *p, const char **body, const char **end) {
    for (int i = 0; i < p->program.nkernels; i++) {
        char name[64];
        if (!p->program.kernels[i].exchange) continue;
        snprintf(name, sizeof name, "void frax_k%d(char *context, char *scratch, idx begin, idx end) {", i);
        *body = strstr(p->source.data, name);
        assert_non_null(*body);
        *end = strstr(*body, "\n}\n");
        return &p->program.kernels[i];
    }
    fail_msg("no kernel has a team");
    return NULL;
}

/* Forward: no memory but one of `points` complex numbers, with padding of at most a quarter; each thread
   loads its samples of both rows once, and stores as many. Backward: the spectrum of x beside it, no more. */
static void check_traffic(const char *dtype, int64_t n, int64_t points) {
    char text[256];
    const char *body, *end, *type = strcmp(dtype, "f64") ? "float" : "double";
    size_t bytes = strcmp(dtype, "f64") ? 4 : 8;
    Graph *g;
    CudaProgram p;
    snprintf(text, sizeof text,
             "model m(x: %s[64, %lld], a: f64) {\n    y = frac(x, a, kind=grunwald, engine=fft)\n"
             "    return y\n}\n",
             dtype, (long long)n);
    make_program(text, NULL, &g, &p);
    const ProgramKernel *k = filter_kernel(&p, &body, &end);
    char loads[32], stores[32];
    int each = (int)(2 * ((n + k->team - 1) / k->team));
    snprintf(loads, sizeof loads, "((const %s *)%%s)[", type);
    snprintf(stores, sizeof stores, "((%s *)%%s)[", type);
    assert_int_equal(accesses(body, end, 24, loads), each);
    assert_int_equal(accesses(body, end, 32, stores), each);
    assert_int_equal(k->scratch, 0);
    assert_true(k->exchange <= 2 * (size_t)points * bytes * 5 / 4 + 256);
    cuda_program_destroy(&p);
    graph_destroy(g);

    snprintf(text, sizeof text,
             "model m(x: %s[64, %lld], a: f64) {\n    y = frac(x, a, kind=grunwald, engine=fft)\n"
             "    loss = sum(y^2)\n    return loss\n}\n",
             dtype, (long long)n);
    make_program(text, "a", &g, &p);
    k = filter_kernel(&p, &body, &end);
    assert_int_equal(accesses(body, end, 24, loads), each);
    assert_int_equal(k->scratch, 4 * (size_t)points * bytes);
    assert_true(k->exchange <= 2 * (size_t)points * bytes * 5 / 4 + 256);
    cuda_program_destroy(&p);
    graph_destroy(g);
}

static void test_traffic(void **state) {
    (void)state;
    check_traffic("f32", 512, 512);
    check_traffic("f32", 1000, 1024);
    check_traffic("f32", 2500, 4096);
    check_traffic("f32", 8192, 8192);
    check_traffic("f64", 777, 1024);
    check_traffic("f64", 4096, 4096);
}

/* The longest that a team takes: exchanges alone need more than every device gives unasked. */
static void test_longest(void **state) {
    (void)state;
    const char *const texts[] = {
        "model m(x: f32[64, 16384], a: f64) {\n    y = frac(x, a)\n    return y\n}\n",
        "model m(x: f64[64, 8192], a: f64) {\n    y = frac(x, a)\n    return y\n}\n"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        const char *body, *end;
        Graph *g;
        CudaProgram p;
        make_program(texts[i], NULL, &g, &p);
        const ProgramKernel *k = filter_kernel(&p, &body, &end);
        assert_true(k->exchange > 48 << 10 && k->scratch == 0);
        assert_int_equal(p.scratch_bytes, 0);
        cuda_program_destroy(&p);
        graph_destroy(g);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results),
        cmocka_unit_test(test_longest_results),
        cmocka_unit_test(test_traffic),
        cmocka_unit_test(test_longest),
    };
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
