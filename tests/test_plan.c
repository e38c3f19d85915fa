/* test_plan.c — the memory plan: temporaries never overlap while both are alive, and the arena is within 10 %
 * of the largest live set. On random graphs with their derivatives, and on the example models with their
 * gradients.
 *
 * Slots are whole cache lines, and so is the floor here; in the models values are so large that it does not
 * matter.
 */
#include "executable.h"
#include "model.h"
#include "program.h"
#include "random_graphs.h"

enum { GRAPHS = 60, LINE = 64 };

static size_t slot_bytes(const Graph *g, Value v) {
    return (type_bytes(graph_type(g, v)) + LINE - 1) / LINE * LINE;
}

/* Per value the last kernel that reads it; outputs are needed after the last one. */
static int *last_needs(const Program *p) {
    int *last = malloc(sizeof *last * p->graph->count);
    assert_non_null(last);
    for (size_t v = 0; v < p->graph->count; v++) {
        last[v] = -1;
        for (int k = 0; k < p->nkernels; k++)
            if (kernel_reads(&p->kernels[k].kernel, (Value)v)) last[v] = k;
    }
    for (size_t i = 0; i < p->graph->noutputs; i++) last[p->graph->outputs[i].value] = p->nkernels;
    return last;
}

/* Is v, stored by an earlier kernel or this one, still needed while kernel k runs? */
static bool is_alive(const Program *p, const int *last, Value v, int k) {
    const Node *node = graph_node(p->graph, v);
    return node->region == REGION_ARENA && node->kernel <= k && (node->kernel == k || last[v] >= k);
}

static bool meet(const Graph *g, Value a, Value b) {
    const Node *x = graph_node(g, a), *y = graph_node(g, b);
    return x->offset < y->offset + (int64_t)slot_bytes(g, b) &&
           y->offset < x->offset + (int64_t)slot_bytes(g, a);
}

/* Two values alive at once lie apart, but for an operand that dies where its successor is born. */
static void expect_apart(const Program *p, const int *last, Value a, Value b, int k, const char *name) {
    const Node *x = graph_node(p->graph, a), *y = graph_node(p->graph, b);
    if (!is_alive(p, last, a, k) || !is_alive(p, last, b, k) || !meet(p->graph, a, b)) return;
    bool takes_over = (x->kernel == k) != (y->kernel == k);
    Value dying = x->kernel == k ? b : a;
    if (takes_over && x->offset == y->offset && last[dying] <= k) return;
    fail_msg("%s: %%%d and %%%d share memory in kernel %d", name, a, b, k);
}

static size_t floor_bytes(const Program *p, const char *name) {
    int *last = last_needs(p);
    size_t floor = 0;
    for (int k = 0; k < p->nkernels; k++) {
        size_t live = 0;
        for (size_t a = 0; a < p->graph->count; a++) {
            if (is_alive(p, last, (Value)a, k)) live += slot_bytes(p->graph, (Value)a);
            for (size_t b = 0; b < a; b++) expect_apart(p, last, (Value)a, (Value)b, k, name);
        }
        floor = MAX(floor, live);
    }
    free(last);
    return floor;
}

static void check_plan(Graph *g, const char *name) {
    FraxError err;
    Program p;
    if (run_passes(&g, NULL, &err) || program_create(g, &p, &err)) fail_msg("%s: %s", name, err.message);
    size_t floor = floor_bytes(&p, name);
    if ((double)p.arena_bytes > 1.1 * (double)floor)
        fail_msg("%s: the arena takes %zu bytes, the largest live set %zu", name, p.arena_bytes, floor);
    program_destroy(&p);
    graph_destroy(g);
}

static void check_random(const Function *f, uint64_t seed) {
    (void)seed;
    check_plan(derivative_graph(f), f->name);
}

static void test_random_graphs(void **state) {
    (void)state;
    for_each_graph(GRAPHS, check_random);
}

static const struct {
    const char *file, *model;
    int64_t sizes[2];
} models[] = {
    {"frontend/examples/classifier.frax", NULL, {64, 1024}},
    {"frontend/examples/classifier.frax", "deep", {32, 128}},
    {"frontend/examples/nile.frax", NULL, {1000}},
};

static Graph *model_graph(const char *file, const char *name, const int64_t *sizes) {
    char text[1 << 14];
    FraxError err;
    FraxModel *model;
    Graph *g;
    Value params[16], grads[16];
    size_t n = 0;
    FILE *source = fopen(file, "rb");
    assert_non_null(source);
    size_t length = fread(text, 1, sizeof text, source);
    fclose(source);
    if (model_parse(text, length, file, name, &model, &err)) fail_msg("%s", err.message);
    if (model_lower(model, sizes, &g, &err)) fail_msg("%s", err.message);
    model_destroy(model);
    for (size_t i = 0; i < g->ninputs; i++)
        if (graph_node(g, g->inputs[i])->op == OP_param) params[n++] = g->inputs[i];
    if (gradient(g, g->outputs[0].value, NO_VALUE, params, n, grads, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < n; i++) graph_output(g, graph_intern(g, (char[]){(char)('a' + i), 0}), grads[i]);
    return g;
}

static void test_models(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++)
        check_plan(model_graph(models[i].file, models[i].model, models[i].sizes), models[i].file);
}

/* What the interface states of a run, scratch of all threads and partial sums included. */
static void test_stated_memory(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(models); i++) {
        Executable *exe;
        FraxError err;
        ExecutableOptions options = {.target = FRAX_CPU, .threads = 2, .no_cache = true};
        Graph *g = model_graph(models[i].file, models[i].model, models[i].sizes);
        if (executable_create(g, &options, &exe, &err)) fail_msg("%s", err.message);
        ExecutableStats stats = executable_stats(exe);
        if ((double)stats.arena_bytes > 1.1 * (double)stats.live_bytes)
            fail_msg("%s: %zu bytes for %zu", models[i].file, stats.arena_bytes, stats.live_bytes);
        executable_destroy(exe);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_graphs),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_stated_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
