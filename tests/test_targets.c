/* test_targets.c — every target computes what the reference evaluator does.
 *
 * On the graph that holds every op of the table, and on random graphs with all their derivatives of first and
 * second order, in f64 and f32: compiled code, in one thread and in several, and the eager walk, against the
 * reference.
 */
#include "executable.h"
#include "every_op.h"
#include "half.h"
#include "random_graphs.h"

/* ---- The same graph in f32 ---- */

static Type narrowed(Type type) {
    if (type.dtype == FRAX_F64) type.dtype = FRAX_F32;
    return type;
}

/* Orders and weights stay f64, between casts. */
static Value narrow(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)context;
    const Node *node = graph_node(from, v);
    Type type = narrowed(node->type);
    if (node->op == OP_grunwald_weights)
        return g_cast(to, g_grunwald_weights(to, g_cast(to, args[0], FRAX_F64), node->attrs->n), FRAX_F32);
    if (node->op == OP_input) return g_input(to, node->attrs->name, type);
    return graph_emit(to, node->op, args, node->nargs, node->attrs, &type);
}

/* ---- Running ---- */

typedef struct Buffers {
    void *in[16], *out[16];
} Buffers;

static size_t bytes_of(const Type *type) {
    return (size_t)shape_size(&type->shape) * frax_dtype_size(type->dtype);
}

static void make_buffers(const Graph *g, uint64_t seed, double lo, double hi, Buffers *b) {
    assert_true(g->ninputs <= 16 && g->noutputs <= 16);
    for (size_t i = 0; i < g->ninputs; i++) {
        const Type *type = graph_type(g, g->inputs[i]);
        b->in[i] = calloc(1, bytes_of(type) + 8);
        for (int64_t k = 0; k < shape_size(&type->shape); k++)
            element_set(b->in[i], type->dtype, k, next_uniform(&seed, lo, hi));
    }
    for (size_t i = 0; i < g->noutputs; i++)
        b->out[i] = malloc(bytes_of(graph_type(g, g->outputs[i].value)) + 8);
}

static void free_buffers(const Graph *g, Buffers *b) {
    for (size_t i = 0; i < g->ninputs; i++) free(b->in[i]);
    for (size_t i = 0; i < g->noutputs; i++) free(b->out[i]);
}

/* Runs a copy of g on a target into b->out, poisoned before. */
static void run_on(const Graph *g, FraxTarget target, int threads, Buffers *b, const char *name) {
    FraxError err = {0};
    Executable *exe;
    ExecutableOptions options = {.target = target, .threads = threads, .no_cache = true};
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    assert_non_null(copy);
    if (executable_create(copy, &options, &exe, &err)) fail_msg("%s: %s", name, err.message);
    for (int again = 0; again < 2; again++) {
        for (size_t i = 0; i < g->noutputs; i++)
            memset(b->out[i], 0xff, bytes_of(graph_type(g, g->outputs[i].value)));
        if (executable_run(exe, (const void *const *)b->in, b->out, &err))
            fail_msg("%s: %s", name, err.message);
    }
    executable_destroy(exe);
}

static double largest(const Graph *g, size_t output, const void *data) {
    const Type *type = graph_type(g, g->outputs[output].value);
    double largest = 1;
    for (int64_t k = 0; k < shape_size(&type->shape); k++)
        largest = fmax(largest, fabs(element_get(data, type->dtype, k)));
    return largest;
}

static void expect_near(const Graph *g, const Buffers *expected, const Buffers *got, double tolerance,
                        const char *name) {
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        double scale = largest(g, i, expected->out[i]);
        for (int64_t k = 0; k < shape_size(&type->shape); k++) {
            double e = element_get(expected->out[i], type->dtype, k),
                   y = element_get(got->out[i], type->dtype, k);
            if (!(fabs(e - y) <= tolerance * scale) && !(isnan(e) && isnan(y)) && e != y)
                fail_msg("%s: output %zu, element %lld is %.17g, expected %.17g", name, i, (long long)k, y,
                         e);
        }
    }
}

/* Compiled with one and three threads (the same bits), eager, reference. */
static void compare_targets(const Graph *g, uint64_t seed, double lo, double hi, double tolerance,
                            const char *name) {
    Buffers expected, got, again;
    char what[128];
    make_buffers(g, seed, lo, hi, &expected);
    make_buffers(g, seed, lo, hi, &got);
    make_buffers(g, seed, lo, hi, &again);
    run_on(g, FRAX_REFERENCE, 1, &expected, name);
    snprintf(what, sizeof what, "%s, cpu", name);
    run_on(g, FRAX_CPU, 1, &got, what);
    expect_near(g, &expected, &got, tolerance, what);
    run_on(g, FRAX_CPU, 3, &again, what);
    for (size_t i = 0; i < g->noutputs; i++)
        assert_memory_equal(got.out[i], again.out[i], bytes_of(graph_type(g, g->outputs[i].value)));
    snprintf(what, sizeof what, "%s, eager", name);
    run_on(g, FRAX_EAGER, 1, &got, what);
    expect_near(g, &expected, &got, tolerance, what);
    free_buffers(g, &expected);
    free_buffers(g, &got);
    free_buffers(g, &again);
}

/* ---- Tests ---- */

static void test_every_op(void **state) {
    (void)state;
    Graph *g = every_op();
    assert_non_null(g);
    compare_targets(g, 7, 0.3, 0.9, 1e-12, "every op");
    graph_destroy(g);
}

static bool holds_f32(const Graph *g) {
    for (size_t v = 0; v < g->count; v++)
        if (g->nodes[v].type.dtype == FRAX_F32) return true;
    return false;
}

/* Rounding of a dozen ops and their derivatives, relative to the largest element. Some of the f64 graphs
   compute in f32 here and there, which the reference does not round. */
static void check_targets(const Function *f, uint64_t seed) {
    FraxError err;
    char name[96];
    Graph *g = derivative_graph(f), *single = graph_rewrite(g, narrow, NULL, &err);
    if (!single) fail_msg("%s: %s", f->name, err.message);
    snprintf(name, sizeof name, "%s%s f64", f->name, f->kinks ? " kinks" : "");
    compare_targets(g, seed, -1, 1, holds_f32(g) ? 2e-4 : 1e-11, name);
    snprintf(name, sizeof name, "%s%s f32", f->name, f->kinks ? " kinks" : "");
    compare_targets(single, seed, -1, 1, 2e-4, name);
    graph_destroy(single);
    graph_destroy(g);
}

static void test_random(void **state) {
    (void)state;
    for_each_graph(check_targets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
