/* test_passes.c — each pass alone on graphs given as text (tests/golden/passes), and the pipeline around
 * them.
 *
 * The command of a case is the name of a pass; or `gradient`: the first output is differentiated with respect
 * to all inputs, and what is not needed any more is dropped; or `kernels`: the listing of `show --kernels`
 * after all passes.
 */
#include "golden.h"
#include "kernel.h"
#include "passes.h"

static Graph *read_graph(const char *text) {
    Graph *g = NULL;
    FraxError err;
    if (graph_read(text, "golden", &g, &err)) fail_msg("%s", err.message);
    return g;
}

static Graph *append_gradients(Graph *g, FraxError *err) {
    enum { MOST = 8 };
    Value grads[MOST], wrt[MOST];
    size_t n = g->ninputs;
    assert_in_range(n, 1, MOST);
    memcpy(wrt, g->inputs, n * sizeof *wrt);
    if (gradient(g, g->outputs[0].value, NO_VALUE, wrt, n, grads, err)) return NULL;
    for (size_t i = 0; i < n; i++) {
        char name[64];
        snprintf(name, sizeof name, "grad.%s", graph_node(g, wrt[i])->attrs->name);
        graph_output(g, name, grads[i]);
    }
    return pass_dce(g, err);
}

static Graph *apply_command(const char *command, Graph *g, FraxError *err) {
    if (!strcmp(command, "gradient")) return append_gradients(g, err);
    for (size_t i = 0; i < pass_count; i++)
        if (!strcmp(pass_table[i].name, command)) return pass_table[i].run(g, err);
    fail_msg("no pass is called %s", command);
    return NULL;
}

static void list_kernels(Graph *g, Text *out) {
    FraxError err;
    bool fits = true;
    if (run_passes(&g, NULL, &err)) fail_msg("%s", err.message);
    int count = 0;
    for (size_t v = 0; v < g->count; v++) count = MAX(count, g->nodes[v].kernel + 1);
    for (int k = 0; k < count; k++) {
        Kernel kernel;
        assert_true(kernel_build(g, k, &kernel, &fits, NULL, &err) && fits);
        kernel_print(g, &kernel, out);
        kernel_free(&kernel);
    }
    graph_destroy(g);
}

static void run_case(const char *command, const char *input, Text *out) {
    Graph *g = read_graph(input);
    FraxError err;
    if (!strcmp(command, "kernels")) {
        list_kernels(g, out);
        return;
    }
    Graph *result = apply_command(command, g, &err);
    if (result && graph_verify(result, &err)) fail_msg("%s", err.message);
    if (result) {
        graph_print(result, out);
        graph_print_notes(result, out);
    } else {
        text_printf(out, "%s\n", err.message);
    }
    graph_destroy(g);
    graph_destroy(result);
}

static void test_golden_cases(void **state) {
    (void)state;
    golden_folder("tests/golden/passes", run_case);
}

static const char *const small = "graph small @test {\n"
                                 "  %0: f64[3] = input {name=x}\n"
                                 "  %1: f64[3] = neg %0\n"
                                 "  %2: f64[3] = add %0, %1\n"
                                 "  return y = %2\n"
                                 "}\n";

static void test_passes_run_up_to_one(void **state) {
    (void)state;
    FraxError err;
    for (size_t i = 0; i < pass_count; i++) {
        Graph *g = read_graph(small);
        if (run_passes(&g, pass_table[i].name, &err)) fail_msg("%s", err.message);
        assert_int_equal(graph_node(g, g->outputs[0].value)->op, OP_sub);
        graph_destroy(g);
    }
    Graph *g = read_graph(small);
    assert_int_equal(run_passes(&g, NULL, &err), FRAX_OK);
    graph_destroy(g);
}

static void test_unknown_pass(void **state) {
    (void)state;
    FraxError err;
    Graph *g = read_graph(small);
    assert_int_equal(run_passes(&g, "simplfy", &err), FRAX_USAGE);
    assert_null(g);
    assert_non_null(strstr(err.message, "did you mean 'simplify'"));
}

/* Each allocation in turn fails, until all passes run through. */
static void expect_memory_handled(const char *text) {
    FraxStatus status = FRAX_MEMORY;
    for (long n = 1; status; n++) {
        Graph *g = read_graph(text);
        FraxError err;
        mem_fail_after(n);
        status = run_passes(&g, NULL, &err);
        mem_fail_after(0);
        assert_true(status == FRAX_OK || status == FRAX_MEMORY);
        assert_true((status == FRAX_OK) == (g != NULL));
        graph_destroy(g);
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    static const char *const names[] = {"engine_fft", "layout_shared_factor", "simplify_slices",
                                        "simplify_signs"};
    expect_memory_handled(small);
    for (size_t i = 0; i < COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof path, "tests/golden/passes/%s.txt", names[i]);
        GoldenCase c = golden_load(path);
        expect_memory_handled(c.input);
        golden_free(&c);
    }
}

int main(int argc, char **argv) {
    golden_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_cases),
        cmocka_unit_test(test_passes_run_up_to_one),
        cmocka_unit_test(test_unknown_pass),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
