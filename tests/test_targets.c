/* test_targets.c — every target computes what the reference evaluator does.
 *
 * On the graph that holds every op of the table, and on random graphs with all their derivatives of first and
 * second order, in f64 and f32: compiled code, in one thread and in several, and the eager walk, against the
 * reference.
 */
#include "every_op.h"
#include "random_graphs.h"
#include "target_run.h"

enum { COMPILED_GRAPHS = 30 };

/* ---- Tests ---- */

static void test_every_op(void **state) {
    (void)state;
    Graph *g = every_op();
    assert_non_null(g);
    compare_targets(g, (Fill){7, 0.3, 0.9}, (Bound){0, 1e-12}, "every op");
    graph_destroy(g);
}

/* Rounding of a dozen ops and their derivatives, relative to the largest element. Some of the f64 graphs
   compute in f32 here and there, which the reference does not round. */
static void check_targets(const Function *f, uint64_t seed) {
    char name[96];
    Graph *g = derivative_graph(f), *single = narrowed_graph(g, f->name);
    snprintf(name, sizeof name, "%s%s f64", f->name, f->kinks ? " kinks" : "");
    compare_targets(g, (Fill){seed, -1, 1}, (Bound){0, holds_f32(g) ? 2e-4 : 1e-11}, name);
    snprintf(name, sizeof name, "%s%s f32", f->name, f->kinks ? " kinks" : "");
    compare_targets(single, (Fill){seed, -1, 1}, (Bound){0, 2e-4}, name);
    graph_destroy(single);
    graph_destroy(g);
}

static void test_random(void **state) {
    (void)state;
    for_each_graph(COMPILED_GRAPHS, check_targets);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_op),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
