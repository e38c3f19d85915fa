/* test_strides_random.c — random graphs with all their derivatives, their inputs and outputs in random
 * layouts.
 *
 * After every pass the graph verifies and reads back as printed; compiled, it gives what the reference gives
 * on dense arrays, and leaves the gaps of its outputs alone. FRAX_SEED and FRAX_GRAPHS as in random_graphs.h.
 */
#include "executable.h"
#include "random_graphs.h"

enum { STRIDED_GRAPHS = 24 };

static const double untouched = -12345.678;

/* An array that is as long as its strides reach. */
typedef struct Strided {
    const Type *type;
    int64_t strides[MAX_RANK];
    double *room, *first;
    int64_t reach;
} Strided;

static int below_n(uint64_t *seed, int n) {
    return (int)(next_random(seed) % (uint64_t)n);
}

static Strided make_array(const Type *type, uint64_t *seed, bool is_output) {
    Strided a = {.type = type, .reach = 1};
    int order[MAX_RANK], rank = type->shape.rank;
    int64_t step = 1, before = 0;
    for (int i = 0; i < rank; i++) {
        int at = below_n(seed, i + 1);
        order[i] = order[at];
        order[at] = i;
    }
    for (int i = 0; i < rank; i++) {
        int64_t n = type->shape.dims[order[i]], *stride = &a.strides[order[i]];
        step += below_n(seed, 3) == 0 ? below_n(seed, 4) : 0;
        *stride = below_n(seed, 3) == 0 ? -step : step;
        if (!is_output && below_n(seed, 10) == 0) *stride = 0;
        step *= MAX(n, 1);
        if (*stride < 0) before -= *stride * (n - 1);
        a.reach += llabs(*stride) * (n - 1);
    }
    a.room = malloc((size_t)a.reach * sizeof *a.room);
    assert_non_null(a.room);
    for (int64_t i = 0; i < a.reach; i++) a.room[i] = untouched;
    a.first = a.room + before;
    return a;
}

/* Moves the elements to a dense array or, with back, from it. */
static void copy_elements(const Strided *a, double *dense, bool back) {
    int64_t from[MAX_RANK], to[MAX_RANK];
    strides_bytes(a->type, a->strides, from);
    strides_bytes(a->type, NULL, to);
    if (back)
        strides_copy(a->type, (char *)a->first, from, (char *)dense, to);
    else
        strides_copy(a->type, (char *)dense, to, (char *)a->first, from);
}

static void expect_round_trip(const Graph *g, const char *name, const char *stage) {
    Text first = {0}, second = {0};
    Graph *read;
    FraxError err;
    if (graph_verify(g, &err)) fail_msg("%s, after %s: %s", name, stage, err.message);
    graph_print(g, &first);
    if (graph_read(first.data, "test", &read, &err)) fail_msg("%s, after %s: %s", name, stage, err.message);
    graph_print(read, &second);
    if (strcmp(first.data, second.data)) fail_msg("%s, after %s: reads back differently", name, stage);
    graph_destroy(read);
    text_free(&first);
    text_free(&second);
}

static void check_passes(const Graph *graph, const char *name) {
    FraxError err;
    Graph *g = graph_rewrite(graph, NULL, NULL, &err);
    for (size_t i = 0; i < pass_count; i++) {
        Graph *next = pass_table[i].run(g, &err);
        if (!next) fail_msg("%s, %s: %s", name, pass_table[i].name, err.message);
        graph_destroy(g);
        g = next;
        expect_round_trip(g, name, pass_table[i].name);
    }
    graph_destroy(g);
}

static void check_outputs(const Graph *g, const char *name, const Strided *out, double *const *expected,
                          double tolerance) {
    for (size_t i = 0; i < g->noutputs; i++) {
        int64_t n = shape_size(&out[i].type->shape), touched = 0;
        double *got = malloc((size_t)n * sizeof *got + 1);
        copy_elements(&out[i], got, false);
        expect_close(name, g->outputs[i].name, got, expected[i], n, tolerance);
        for (int64_t k = 0; k < out[i].reach; k++) touched += out[i].room[k] != untouched;
        if (touched != n)
            fail_msg("%s: %s has %lld elements written", name, g->outputs[i].name, (long long)touched);
        free(got);
    }
}

static void check_graph(const Function *f, uint64_t seed) {
    Graph *g = derivative_graph(f);
    double *in[MOST_TENSORS], *expected[RESULTS];
    Strided arrays[MOST_TENSORS], results[RESULTS];
    const void *inputs[MOST_TENSORS];
    void *outputs[RESULTS];
    FraxError err;
    bool single = false;
    size_t ninputs = g->ninputs;
    draw_inputs(g, f, &seed, in);
    for (size_t v = 0; v < g->count; v++) single |= g->nodes[v].type.dtype == FRAX_F32;
    for (size_t i = 0; i < ninputs; i++) {
        arrays[i] = make_array(graph_type(g, g->inputs[i]), &seed, false);
        copy_elements(&arrays[i], in[i], true);
        copy_elements(&arrays[i], in[i], false); /* along steps of 0 all are the last one */
        inputs[i] = arrays[i].first;
        graph_set_strides(g, g->inputs[i], arrays[i].strides);
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        results[i] = make_array(graph_type(g, g->outputs[i].value), &seed, true);
        outputs[i] = results[i].first;
        graph_set_output_strides(g, i, results[i].strides);
    }
    expect_round_trip(g, f->name, "building");
    check_passes(g, f->name);
    evaluate(g, in, expected);
    Executable *exe;
    Graph *compiled = graph_rewrite(g, NULL, NULL, &err);
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 2, .no_cache = true};
    if (executable_create(compiled, &options, &exe, &err)) fail_msg("%s: %s", f->name, err.message);
    if (executable_run(exe, inputs, outputs, &err)) fail_msg("%s: %s", f->name, err.message);
    /* rounding of a dozen ops and their derivatives; the reference does not round what is cast to f32 */
    check_outputs(g, f->name, results, expected, single ? 2e-4 : 1e-11);
    executable_destroy(exe);
    for (size_t i = 0; i < g->noutputs; i++) free(results[i].room), free(expected[i]);
    for (size_t i = 0; i < ninputs; i++) free(arrays[i].room), free(in[i]);
    graph_destroy(g);
}

static void test_random(void **state) {
    (void)state;
    for_each_graph(STRIDED_GRAPHS, check_graph);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
