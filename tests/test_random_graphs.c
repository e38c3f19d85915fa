/* test_random_graphs.c — properties of every graph, on random ones.
 *
 * Each is verified; its derivatives agree with each other and, where it has no kinks, with differences; and
 * after every pass the graph of all its derivatives verifies, reads back as printed, and gives the same
 * results.
 */
#include "random_graphs.h"

enum { GRAPHS = 120 };

static void test_derivatives(void **state) {
    (void)state;
    for_each_graph(GRAPHS, check_derivatives);
}

static void expect_verified(const Graph *g, const char *name, const char *stage) {
    FraxError err;
    if (graph_verify(g, &err)) fail_msg("%s, after %s: %s", name, stage, err.message);
}

/* Printing, reading and printing again gives the same text. */
static void expect_round_trip(const Graph *g, const char *name, const char *stage) {
    Text first = {0}, second = {0};
    Graph *read;
    FraxError err;
    graph_print(g, &first);
    assert_false(first.failed);
    if (graph_read(first.data, "test", &read, &err)) fail_msg("%s, after %s: %s", name, stage, err.message);
    graph_print(read, &second);
    assert_false(second.failed);
    if (strcmp(first.data, second.data))
        fail_msg("%s, after %s: reads back differently:\n%s", name, stage, second.data);
    graph_destroy(read);
    text_free(&first);
    text_free(&second);
}

static void expect_same_results(const Graph *g, const char *name, const char *stage, double *const *in,
                                double *const *expected) {
    double *out[RESULTS];
    char what[96];
    evaluate(g, in, out);
    for (int i = 0; i < RESULTS; i++) {
        snprintf(what, sizeof what, "after %s, output %d", stage, i);
        expect_close(name, what, out[i], expected[i], shape_size(&graph_type(g, g->outputs[i].value)->shape),
                     1e-12);
        free(out[i]);
    }
}

static void check_passes(const Function *f, uint64_t seed) {
    Graph *g = derivative_graph(f);
    double *in[MOST_TENSORS], *expected[RESULTS];
    size_t ninputs = g->ninputs;
    draw_inputs(g, f, &seed, in);
    evaluate(g, in, expected);
    expect_verified(g, f->name, "building");
    expect_round_trip(g, f->name, "building");
    for (size_t i = 0; i < pass_count; i++) {
        FraxError err;
        Graph *next = pass_table[i].run(g, &err);
        if (!next) fail_msg("%s, %s: %s", f->name, pass_table[i].name, err.message);
        graph_destroy(g);
        g = next;
        expect_verified(g, f->name, pass_table[i].name);
        expect_round_trip(g, f->name, pass_table[i].name);
        expect_same_results(g, f->name, pass_table[i].name, in, expected);
    }
    for (size_t i = 0; i < ninputs; i++) free(in[i]);
    for (int i = 0; i < RESULTS; i++) free(expected[i]);
    graph_destroy(g);
}

static void test_passes_keep_results(void **state) {
    (void)state;
    for_each_graph(GRAPHS, check_passes);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_passes_keep_results),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
