/* test_engines.c — the engines of causal convolution against each other: results, gradients, and gradients of
 * gradients agree to 1e-12 of the largest value, f64.
 *
 * The bound is that of the longest sums here: 1e5 terms of rounding 1e-16, as a random walk, with a margin
 * of 30. Each graph holds one convolution once per engine, so that they also run beside each other.
 */
#include "passes.h"
#include "target_run.h"

static const Bound close = {0, 1e-12};
static const Engine engines[] = {ENGINE_DIRECT, ENGINE_DENSE, ENGINE_FFT, ENGINE_AUTO};

typedef struct Problem {
    Graph *g;
    Value w, x, ct;
    int axis;
    size_t nengines, each; /* outputs of each engine */
} Problem;

static void add_output(Problem *p, Value v) {
    char name[32];
    snprintf(name, sizeof name, "y%zu", p->g->noutputs);
    graph_output(p->g, name, v);
}

/* y = w ∗ x; its cotangents; and the derivatives of the product of both cotangents. */
static void add_engine(Problem *p, Engine engine) {
    Graph *g = p->g;
    Value y = g_causal_conv(g, p->w, p->x, p->axis, engine), wrt[] = {p->w, p->x}, grads[2], all = NO_VALUE;
    assert_int_equal(gradient(g, y, p->ct, wrt, 2, grads, NULL), FRAX_OK);
    add_output(p, y);
    for (int i = 0; i < 2; i++) {
        Value square = g_mul(g, grads[i], grads[i]);
        int rank = graph_type(g, square)->shape.rank;
        Value sum = g_reshape(g, g_reduce(g, OP_sum, square, (1u << rank) - 1), SCALAR);
        add_output(p, grads[i]);
        all = all == NO_VALUE ? sum : g_add(g, all, sum);
    }
    Value again[] = {p->w, p->x, p->ct}, second[3];
    assert_int_equal(gradient(g, all, NO_VALUE, again, 3, second, NULL), FRAX_OK);
    for (int i = 0; i < 3; i++) add_output(p, second[i]);
}

static void compare_engines(Shape w, Shape x, int axis, const Engine *list, size_t n, const char *name) {
    Problem p = {.g = graph_create("engines", "test"), .axis = axis, .nengines = n};
    p.w = g_input(p.g, "w", (Type){FRAX_F64, w});
    p.x = g_input(p.g, "x", (Type){FRAX_F64, x});
    p.ct = g_input(p.g, "ct", (Type){FRAX_F64, x});
    for (size_t i = 0; i < n; i++) add_engine(&p, list[i]);
    p.each = p.g->noutputs / n;
    FraxError err;
    if (graph_status(p.g, &err)) fail_msg("%s: %s", name, err.message);
    void **in = make_inputs(p.g, (Fill){7, -1, 1}), **out = make_outputs(p.g);
    run_on(p.g, FRAX_CPU, 1, in, out, name);
    for (size_t i = p.each; i < p.g->noutputs; i++) {
        char what[200];
        snprintf(what, sizeof what, "%s, %s against %s", name, engine_names[list[i / p.each]],
                 engine_names[list[0]]);
        expect_output(output_type(p.g, i), out[i % p.each], out[i], close, what, p.g->outputs[i].name);
    }
    free_tensors(in, p.g->ninputs);
    free_tensors(out, p.g->noutputs);
    graph_destroy(p.g);
}

/* Random ranks, axes, sizes, numbers of weights, and axes along which the weights vary. */
static void test_random_shapes(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 2, 3, 7, 31, 33, 64, 100, 130, 257};
    uint64_t seed = 20;
    for (int i = 0; i < 40; i++) {
        Shape x = {.rank = 1 + (int)(fill_random(&seed) % 3)}, w;
        for (int k = 0; k < x.rank; k++) x.dims[k] = 1 + (int64_t)(fill_random(&seed) % 4);
        int axis = (int)(fill_random(&seed) % (uint64_t)x.rank);
        int64_t n = lengths[(size_t)i % COUNT(lengths)];
        x.dims[axis] = n;
        w = x;
        for (int k = 0; k < x.rank; k++)
            if (fill_random(&seed) % 2) w.dims[k] = 1;
        w.dims[axis] = fill_random(&seed) % 2 ? n : 1 + (int64_t)(fill_random(&seed) % (uint64_t)n);
        char a[160], b[160], name[400];
        snprintf(name, sizeof name, "weights %s, signal %s, axis %d", shape_text(&w, a), shape_text(&x, b),
                 axis);
        compare_engines(w, x, axis, engines, COUNT(engines), name);
    }
}

/* Many rows that share weights, where auto takes the dense product. */
static void test_many_rows(void **state) {
    (void)state;
    compare_engines(SHAPE(1, 30), SHAPE(40, 30), 1, engines, COUNT(engines), "40 rows of 30");
    compare_engines(SHAPE(2, 64, 1), SHAPE(2, 64, 50), 1, engines, COUNT(engines), "2 × 50 rows of 64");
    compare_engines(SHAPE(5, 64, 1), SHAPE(5, 64, 3), 1, engines, COUNT(engines), "5 × 3 rows of 64");
}

/* A few weights on a long signal, and as many weights as samples. */
static void test_long_signals(void **state) {
    (void)state;
    const Engine sums[] = {ENGINE_DIRECT, ENGINE_FFT, ENGINE_AUTO};
    compare_engines(SHAPE(40), SHAPE(100000), 0, sums, COUNT(sums), "40 weights on 100000 samples");
    compare_engines(SHAPE(3), SHAPE(99991), 0, sums, COUNT(sums), "3 weights on 99991 samples");
    compare_engines(SHAPE(1, 6000), SHAPE(2, 6000), 1, sums, COUNT(sums), "6000 samples");
}

/* What auto takes, by the notes that it leaves. */
static void expect_choice(Shape w, Shape x, const char *choice) {
    Graph *g = graph_create("choice", "test"), *chosen;
    g->loc = (Loc){3, 9};
    Value y = g_causal_conv(g, g_input(g, "w", (Type){FRAX_F32, w}), g_input(g, "x", (Type){FRAX_F32, x}),
                            x.rank - 1, ENGINE_AUTO);
    graph_output(g, "y", y);
    FraxError err;
    Text before = {0}, after = {0};
    note_engines(g);
    chosen = pass_engine(g, &err);
    assert_non_null(chosen);
    graph_print_notes(g, &before);
    graph_print_notes(chosen, &after);
    assert_string_equal(before.data, after.data); /* the same before and after the pass, and once */
    if (!strstr(after.data, choice)) fail_msg("%s has no '%s'", after.data, choice);
    text_free(&before);
    text_free(&after);
    graph_destroy(g);
    graph_destroy(chosen);
}

static void test_choices(void **state) {
    (void)state;
    expect_choice(
        SHAPE(1, 32), SHAPE(64, 32),
        "# 3:9 causal_conv of 32 samples by 32 weights, 64 rows: dense (measured at this length: dense "
        "from 8 weights and 8 rows that share them)\n");
    expect_choice(SHAPE(64, 32), SHAPE(64, 32), "64 rows: direct");
    expect_choice(SHAPE(1, 4), SHAPE(64, 32), "64 rows: direct");
    expect_choice(SHAPE(3), SHAPE(1000000),
                  "1000000 samples by 3 weights, 1 row: direct (measured at this "
                  "length: direct to 500 weights)\n");
    expect_choice(SHAPE(300), SHAPE(300), "fft (measured at this length: direct to 100 weights)\n");
    expect_choice(SHAPE(4096), SHAPE(4096), "fft (measured at this length: direct to 160 weights)\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_shapes),
        cmocka_unit_test(test_many_rows),
        cmocka_unit_test(test_long_signals),
        cmocka_unit_test(test_choices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
