/* test_guard.c — values that must stay in a range: what the builder judges, what a run finds on every target,
 * from many threads, through every mode and in a fit; and that no kernel holds code for it.
 */
#include "passes.h"
#include "target_run.h"
#include <pthread.h>
#include <stdarg.h>

static const FraxTarget targets[] = {FRAX_CPU, FRAX_EAGER, FRAX_REFERENCE};

static const char expected[] = "0 < alpha < 1";

static Value guarded(Graph *g, Value x) {
    return g_guard(g, x, nextafter(0, 1), nextafter(1, 0), "order alpha of kind=caputo, scheme=l1", expected);
}

static Graph *start(void) {
    Graph *g = graph_create("model", "model.frax");
    assert_non_null(g);
    g->loc = (Loc){4, 9};
    return g;
}

static Value input(Graph *g, FraxDType dtype, Shape shape) {
    char name[24];
    snprintf(name, sizeof name, "x%zu", g->ninputs);
    return g_input(g, name, (Type){dtype, shape});
}

static FraxError fault_of(const Graph *g) {
    FraxError err = {0};
    graph_status(g, &err);
    return err;
}

/* ---- The builder ---- */

static void test_constants_are_judged_when_built(void **state) {
    (void)state;
    Graph *g = start();
    Value half = g_constant(g, (Type){FRAX_F64, SHAPE(3)}, 0.5), one = g_like(g, half, 1);
    assert_int_equal(guarded(g, half), half);
    assert_int_equal(guarded(g, one), NO_VALUE);
    FraxError err = fault_of(g);
    assert_int_equal(err.status, FRAX_VALUE);
    assert_string_equal(err.message, "order alpha of kind=caputo, scheme=l1 is 1, expected 0 < alpha < 1");
    assert_int_equal(err.line, 4);
    graph_destroy(g);

    g = start();
    assert_int_equal(guarded(g, g_constant(g, (Type){FRAX_F64, SCALAR}, NAN)), NO_VALUE);
    assert_non_null(strstr(fault_of(g).message, "is nan"));
    graph_destroy(g);

    g = start(); /* no element, no fault */
    Value none = g_constant(g, (Type){FRAX_F64, SHAPE(0)}, 7);
    assert_int_equal(guarded(g, none), none);
    graph_destroy(g);
}

static void test_equal_guards_are_one(void **state) {
    (void)state;
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(3)), once = guarded(g, x);
    char name[64];
    snprintf(name, sizeof name, "%s", "order alpha of kind=caputo, scheme=l1"); /* equal, elsewhere */
    assert_int_equal(g_guard(g, x, nextafter(0, 1), nextafter(1, 0), name, expected), once);
    assert_int_equal(guarded(g, once), once);
    Value wider = g_guard(g, once, 0, 1, "p", "0 <= p <= 1");
    assert_int_not_equal(wider, once);
    assert_int_equal(graph_node(g, wider)->args[0], once);
    graph_destroy(g);
}

static void test_faults_of_the_builder(void **state) {
    (void)state;
    static const struct {
        FraxDType dtype;
        double lo, hi;
        FraxStatus status;
        const char *says;
    } cases[] = {{FRAX_I32, 0, 1, FRAX_TYPE, "guard: got i32[2], expected a floating dtype"},
                 {FRAX_F64, 1, 0, FRAX_VALUE, "guard: the range 1 to 0 is empty"},
                 {FRAX_F64, NAN, 1, FRAX_VALUE, "guard: the range nan to 1 is empty"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        Graph *g = start();
        g_guard(g, input(g, cases[i].dtype, SHAPE(2)), cases[i].lo, cases[i].hi, "p", "a number");
        FraxError err = fault_of(g);
        assert_int_equal(err.status, cases[i].status);
        assert_string_equal(err.message, cases[i].says);
        graph_destroy(g);
    }
}

/* ---- Runs ---- */

/* Runs g on each target with these values for its one input, and expects this fault, or none if NULL. */
static void expect_run(const Graph *g, const double *values, const char *message) {
    const Type *type = graph_type(g, g->inputs[0]);
    for (size_t t = 0; t < COUNT(targets); t++) {
        FraxError err = {0};
        Executable *exe = make_executable(g, targets[t], 1, "guard");
        void *in = new_tensor(type), **out = make_outputs(g);
        for (int64_t i = 0; i < shape_size(&type->shape); i++) element_set(in, type->dtype, i, values[i]);
        for (int turn = 0; turn < 2; turn++) { /* a run that failed leaves the next one alone */
            FraxStatus status = executable_run(exe, (const void *[]){in}, out, &err);
            if (status != (message ? FRAX_VALUE : FRAX_OK)) fail_msg("target %zu: %s", t, err.message);
            if (message) assert_string_equal(err.message, message);
            if (message) assert_int_equal(err.line, 4);
            if (message) assert_int_equal(err.column, 9);
        }
        executable_destroy(exe);
        free(in);
        free_tensors(out, g->noutputs);
    }
}

#define PLACE "model.frax:4:9: order alpha of kind=caputo, scheme=l1 is "

static void test_inputs(void **state) {
    (void)state;
    Graph *g = start();
    graph_output(g, "y", g_unary(g, OP_exp, guarded(g, input(g, FRAX_F64, SHAPE(2, 2)))));
    expect_run(g, (double[]){0.1, 0.2, 0.3, 0.99}, NULL);
    expect_run(g, (double[]){0.1, 0.2, 0.3, 1.2}, PLACE "1.2 at element 3, expected 0 < alpha < 1");
    expect_run(g, (double[]){0.1, 0, NAN, 0.2}, PLACE "0 at element 1, expected 0 < alpha < 1");
    expect_run(g, (double[]){0.1, 0.9, NAN, 0.2}, PLACE "nan at element 2, expected 0 < alpha < 1");
    graph_destroy(g);

    g = start();
    graph_output(g, "y", guarded(g, input(g, FRAX_F32, SCALAR)));
    expect_run(g, (double[]){0.5}, NULL);
    expect_run(g, (double[]){1.1f}, PLACE "1.10000002, expected 0 < alpha < 1");
    graph_destroy(g);
}

/* What the operand is must not matter: computed, moved, widened, returned as well, read by nothing else. */
static Value identity(Graph *g, Value x) {
    (void)g;
    return x;
}
static Value double_of(Graph *g, Value x) {
    return g_scale(g, x, 2);
}
static Value moved(Graph *g, Value x) {
    Value grown = g_broadcast(g, g_reshape(g, x, SHAPE(4, 1)), SHAPE(4, 5));
    return g_reshape(g, g_transpose(g, g_flip(g, grown, 2), (uint8_t[]){1, 0}), SHAPE(20));
}
static Value computed_and_moved(Graph *g, Value x) {
    return moved(g, double_of(g, x));
}
static Value widened(Graph *g, Value x) {
    return g_cast(g, g_cast(g, x, FRAX_F32), FRAX_F64);
}
static Value padded(Graph *g, Value x) {
    Value shifted =
        g_shift(g, g_pad(g, g_shift(g, x, -0.5), (int64_t[]){1}, (int64_t[]){2}, (int64_t[]){2}), 0.5);
    return g_mul(g, shifted, g_like(g, shifted, 1));
}
static Value sliced(Graph *g, Value x) {
    return g_slice(g, x, (int64_t[]){1}, (int64_t[]){4}, (int64_t[]){1});
}

static void test_operands(void **state) {
    (void)state;
    Value (*const operands[])(Graph *, Value) = {identity, double_of, moved, computed_and_moved,
                                                 widened,  padded,    sliced};
    for (size_t i = 0; i < COUNT(operands); i++)
        for (int returned = 0; returned < 2; returned++) {
            Graph *g = start();
            Value x = operands[i](g, input(g, FRAX_F64, SHAPE(4))), y = guarded(g, x);
            graph_output(g, "y", returned ? y : g_unary(g, OP_sin, g_mul(g, y, y)));
            if (returned) graph_output(g, "x", x);
            expect_run(g, (double[]){0.4, 0.1, 0.2, 0.3}, NULL);
            /* Which element is named may depend on the target where the operand repeats and moves them. */
            for (size_t t = 0; t < COUNT(targets); t++) {
                FraxError err = {0};
                Executable *exe = make_executable(g, targets[t], 1, "guard");
                void **out = make_outputs(g);
                const double outside[] = {0.4, 0.1, 1.25, 0.3};
                assert_int_equal(executable_run(exe, (const void *[]){outside}, out, &err), FRAX_VALUE);
                assert_non_null(strstr(err.message, "model.frax:4:9: order alpha of kind=caputo"));
                executable_destroy(exe);
                free_tensors(out, g->noutputs);
            }
            graph_destroy(g);
        }
}

static void test_an_unused_guard_is_dropped(void **state) {
    (void)state;
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(2));
    guarded(g, x);
    graph_output(g, "y", g_neg(g, x));
    expect_run(g, (double[]){3, 4}, NULL);
    graph_destroy(g);
}

static void test_empty_operands(void **state) {
    (void)state;
    Graph *g = start();
    Value x = input(g, FRAX_F64, SHAPE(1));
    graph_output(g, "y", guarded(g, g_broadcast(g, x, SHAPE(0))));
    expect_run(g, (double[]){7}, NULL);
    graph_destroy(g);
}

/* A table that depends on no input is judged when it is computed: at creation by the compiled target. */
static void test_tables(void **state) {
    (void)state;
    for (int good = 0; good < 2; good++) {
        Graph *g = start();
        Value x = input(g, FRAX_F64, SHAPE(4)), j = g_iota(g, *graph_type(g, x), 0);
        Value table = guarded(g, g_unary(g, OP_exp, g_shift(g, j, good ? -4 : -3)));
        graph_output(g, "y",
                     g_spectral(g, x, g_slice(g, table, (int64_t[]){0}, (int64_t[]){3}, NULL),
                                g_slice(g, table, (int64_t[]){1}, (int64_t[]){4}, NULL), 1));
        ExecutableOptions options = {.target = FRAX_CPU, .threads = 1, .no_cache = true};
        FraxError err = {0};
        Executable *exe = NULL;
        FraxStatus status = executable_create(graph_rewrite(g, NULL, NULL, &err), &options, &exe, &err);
        assert_int_equal(status, good ? FRAX_OK : FRAX_VALUE);
        if (good) executable_destroy(exe);
        if (!good) assert_string_equal(err.message, PLACE "1 at element 3, expected 0 < alpha < 1");
        if (good) expect_run(g, (double[]){1, 2, 3, 4}, NULL);
        graph_destroy(g);
    }
}

/* One element outside at each place, in arrays around the length of a block; bounds between two floats. */
static void test_search(void **state) {
    (void)state;
    static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_BF16, FRAX_F16};
    static const double outside[] = {0.1, 1.5, NAN, -INFINITY, INFINITY};
    Attrs attrs = {.value = 0.2, .value2 = nextafter(1.25, 1)}; /* 0.2 is between two floats of each dtype */
    Node guard = {.op = OP_guard, .attrs = &attrs};
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (int64_t n = 0; n <= 70; n++) {
            double data[70];
            for (int64_t i = 0; i < n; i++) element_set(data, dtypes[d], i, 0.25);
            assert_int_equal(guard_find(&guard, dtypes[d], data, n), n);
            for (int64_t i = 0; i < n; i++) {
                element_set(data, dtypes[d], i, outside[i % (int64_t)COUNT(outside)]);
                assert_int_equal(guard_find(&guard, dtypes[d], data, n), i);
                element_set(data, dtypes[d], i, 1.25); /* just beyond the upper bound */
                assert_int_equal(guard_find(&guard, dtypes[d], data, n), i);
                element_set(data, dtypes[d], i, 1.125);
            }
        }
    attrs.value = 0.7; /* (float)0.7 < 0.7 */
    const float below[1] = {0.7f}, above[1] = {nextafterf(0.7f, 1)};
    assert_int_equal(guard_find(&guard, FRAX_F32, below, 1), 0);
    assert_int_equal(guard_find(&guard, FRAX_F32, above, 1), 1);
}

/* ---- Passes and text ---- */

static size_t count_ops(const Graph *g, Op op, bool in_kernels) {
    size_t n = 0;
    for (size_t v = 0; v < g->count; v++)
        n += g->nodes[v].op == op && (!in_kernels || g->nodes[v].kernel >= 0);
    return n;
}

/* Guards do not stand between values, and the text of every stage reads back as itself. */
static void test_passes_and_text(void **state) {
    (void)state;
    Graph *g = start();
    FraxError err = {0};
    Value x = input(g, FRAX_F64, SHAPE(8)), alpha = input(g, FRAX_F32, SHAPE(1));
    Value order = guarded(g, g_broadcast(g, g_cast(g, alpha, FRAX_F64), SHAPE(8)));
    Value grads[2];
    graph_output(g, "y", g_binary(g, OP_pow, x, guarded(g, order)));
    Value loss = g_reshape(g, g_reduce(g, OP_sum, g->outputs[0].value, 1), SCALAR);
    assert_int_equal(gradient(g, loss, NO_VALUE, (Value[]){x, alpha}, 2, grads, &err), FRAX_OK);
    graph_output(g, "gx", grads[0]);
    graph_output(g, "ga", grads[1]);
    for (size_t i = 0; i < pass_count; i++) {
        Graph *copy = graph_rewrite(g, NULL, NULL, &err), *back;
        Text text = {0}, again = {0};
        if (run_passes(&copy, pass_table[i].name, &err)) fail_msg("%s", err.message);
        assert_int_equal(count_ops(copy, OP_guard, false), 1);
        assert_int_equal(count_ops(copy, OP_guard, true), 0);
        graph_print(copy, &text);
        if (graph_read(text.data, "text", &back, &err)) fail_msg("%s", err.message);
        graph_print(back, &again);
        assert_string_equal(text.data, again.data);
        bool out_of_the_way = copy->nchecks == 1;
        assert_int_equal(back->nchecks, copy->nchecks);
        if (out_of_the_way) /* the caller's own value, before it was widened and repeated */
            assert_string_equal(graph_node(copy, graph_checked(copy, 0))->attrs->name, "x1");
        if (i + 1 == pass_count) assert_true(out_of_the_way);
        graph_destroy(back);
        graph_destroy(copy);
        text_free(&text);
        text_free(&again);
    }
    graph_destroy(g);
}

static void test_text_faults(void **state) {
    (void)state;
#define HEAD  "graph a @b {\n  %0: f64[] = input {name=x}\n"
#define GUARD "  %1: f64[] = guard %0 {name=p, value=0, value2=1, expected=\"0 <= p <= 1\"}\n"
    static const struct {
        const char *text, *says;
    } cases[] = {{HEAD "  check %0\n  return\n}", "t:3:9: a check of input, expected a guard"},
                 {HEAD "  check %1\n  return\n}", "t:3:9: %1 is not defined above"},
                 {HEAD GUARD "  check\n  return\n}", "t:5:3: expected '%', found 'return'"},
                 {HEAD "  %1: f64[] = guard %0 {value=0, value2=1, expected=e}\n", "guard: it has no name"},
                 {HEAD "  %1: f64[] = guard %0 {name=e, value2=1}\n", "guard: it has no text"}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        FraxError err;
        Graph *g;
        assert_true(graph_read(cases[i].text, "t", &g, &err) != FRAX_OK);
        if (!strstr(err.message, cases[i].says)) fail_msg("%s", err.message);
    }
    FraxError err;
    Graph *g;
    assert_int_equal(graph_read(HEAD GUARD "  check %1\n  return\n}", "t", &g, &err), FRAX_OK);
    assert_int_equal(g->nchecks, 1);
    graph_destroy(g);
}

/* ---- Many threads on one executable ---- */

typedef struct Caller {
    const Executable *exe;
    double alpha;
    int wrong;
} Caller;

static void *call_often(void *context) {
    Caller *caller = context;
    bool good = caller->alpha < 1;
    for (int i = 0; i < 2000; i++) {
        double y[2], x[2] = {caller->alpha / 2, 0.25};
        FraxError err = {0};
        FraxStatus status = executable_run(caller->exe, (const void *[]){x}, (void *[]){y}, &err);
        caller->wrong += status != (good ? FRAX_OK : FRAX_VALUE);
        if (good) caller->wrong += fabs(y[0] - sin(caller->alpha)) > 1e-14;
    }
    return NULL;
}

static void test_one_executable_in_many_threads(void **state) {
    (void)state;
    Graph *g = start();
    graph_output(g, "y", g_unary(g, OP_sin, guarded(g, double_of(g, input(g, FRAX_F64, SHAPE(2))))));
    for (size_t t = 0; t < 2; t++) {
        Executable *exe = make_executable(g, targets[t], 1, "guard");
        Caller callers[4] = {{exe, 0.3}, {exe, 1.5}, {exe, 0.7}, {exe, 1.1}};
        pthread_t threads[4];
        for (int i = 0; i < 4; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, call_often, &callers[i]), 0);
        for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
        for (int i = 0; i < 4; i++) assert_int_equal(callers[i].wrong, 0);
        executable_destroy(exe);
    }
    graph_destroy(g);
}

/* ---- The public interface ---- */

static const char power_model[] = "model power(x: f64[N]) {\n"
                                  "    param rho: f64[2] = 0.5\n"
                                  "    alpha = guard(rho, lo=0, hi=1)\n"
                                  "    loss  = mean(x^sum(alpha))\n"
                                  "    return loss\n"
                                  "}\n";

static FraxModel *parse(const char *text) {
    FraxModel *model;
    FraxError err;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    return model;
}

static FraxOptions options_for(FraxTarget target) {
    static const FraxSize size = {"N", 3};
    FraxOptions options = frax_default_options();
    options.target = target;
    options.sizes = &size;
    options.nsizes = 1;
    options.no_cache = 1;
    return options;
}

static void test_every_mode(void **state) {
    (void)state;
    FraxModel *model = parse(power_model);
    for (size_t t = 0; t < COUNT(targets); t++)
        for (int mode = FRAX_FORWARD; mode <= FRAX_HVP; mode++) {
            FraxOptions options = options_for(targets[t]);
            FraxExecutable *exe;
            FraxError err = {0};
            options.mode = (FraxMode)mode;
            if (frax_compile(model, &options, &exe, &err)) fail_msg("%s", err.message);
            double x[3] = {1, 2, 3}, rho[2] = {0.5, -0.25}, tangent[2] = {1, 1}, loss, more[2][2];
            const void *inputs[] = {x}, *params[] = {rho, tangent};
            void *outputs[] = {&loss, more[0], more[1]};
            assert_int_equal(frax_executable_count(exe, FRAX_OUTPUT), mode == FRAX_FORWARD ? 1
                                                                      : mode == FRAX_HVP   ? 3
                                                                                           : 2);
            assert_int_equal(frax_run(exe, inputs, params, outputs, &err), FRAX_VALUE);
            assert_string_equal(err.message,
                                "test.frax:3:13: guard: x is -0.25 at element 1, expected 0 <= x <= 1");
            assert_int_equal(err.line, 3);
            assert_int_equal(frax_run(exe, inputs, params, outputs, NULL), FRAX_VALUE);
            rho[1] = 0.5;
            assert_int_equal(frax_run(exe, inputs, params, outputs, &err), FRAX_OK);
            assert_true(fabs(loss - 2) < 1e-14);
            frax_executable_destroy(exe);
        }
    frax_model_destroy(model);
}

/* Gradient descent on −sum(alpha), whose slope is −1, drives alpha up by lr each step. `form` is where the
   guarded value comes from: the parameter itself, or something computed from it. */
static void check_fit(FraxTarget target, const char *form, FraxOptimizer optimizer) {
    char text[400];
    snprintf(text, sizeof text,
             "model rise(x: f64[N]) {\n"
             "    param rho: f64[2] = 0.5\n"
             "    alpha = guard(%s, lo=0, hi=1)\n"
             "    loss  = mean(x) - sum(alpha)\n"
             "    return loss\n"
             "}\n",
             form);
    FraxModel *model = parse(text);
    FraxOptions options = options_for(target);
    FraxFitOptions fit = frax_default_fit_options(optimizer);
    FraxTrainer *trainer;
    FraxError err = {0};
    double x[3] = {0}, loss = 0, rho[2], last = 0;
    fit.lr = 0.2;
    fit.weight_decay = 0;
    if (frax_trainer_create(model, &options, &fit, &trainer, &err)) fail_msg("%s", err.message);
    for (int step = 0; step < 2; step++) {
        assert_int_equal(frax_trainer_get_param(trainer, 0, rho, NULL), FRAX_OK);
        last = rho[1];
        assert_int_equal(frax_trainer_step(trainer, (const void *[]){x}, &loss, &err), FRAX_OK);
    }
    FraxStatus status = frax_trainer_step(trainer, (const void *[]){x}, &loss, &err);
    if (!status) { /* 0.5, 0.7, 0.9 */
        last = 0.9;
        status = frax_trainer_run(trainer, (const void *[]){x}, &loss, &err);
    }
    assert_int_equal(status, FRAX_VALUE);
    assert_non_null(strstr(err.message, "test.frax:3:13: guard: x is 1."));
    assert_non_null(strstr(err.message, "at element 0, expected 0 <= x <= 1"));
    assert_string_equal(frax_trainer_outcome(trainer), "a guarded value left its range");
    char step[32];
    snprintf(step, sizeof step, "step %lld: test.frax:3:13: ", (long long)frax_trainer_steps(trainer));
    assert_int_equal(strncmp(err.message, step, strlen(step)), 0);
    assert_non_null(strstr(err.message, "lo + (hi - lo) * sigmoid(rho)"));
    assert_int_equal(err.line, 3);
    assert_int_equal(frax_trainer_get_param(trainer, 0, rho, NULL), FRAX_OK);
    assert_true(fabs(rho[0] - last) < 1e-6 && fabs(rho[1] - last) < 1e-6);
    /* It can go on from there. */
    rho[0] = rho[1] = 0.25;
    assert_int_equal(frax_trainer_set_param(trainer, 0, rho, NULL), FRAX_OK);
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){x}, &loss, &err), FRAX_OK);
    assert_true(fabs(loss + 0.5) < 1e-14);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

static void test_fits_stop_at_the_last_good_point(void **state) {
    (void)state;
    for (size_t t = 0; t < COUNT(targets); t++)
        for (int optimizer = FRAX_SGD; optimizer <= FRAX_ADAMW; optimizer++) {
            check_fit(targets[t], "rho", (FraxOptimizer)optimizer);
            check_fit(targets[t], "rho + x[0]", (FraxOptimizer)optimizer);
        }
}

/* The minimum of (alpha − 1)² lies on the border; a first step of length 1 would end far outside. */
static void test_lbfgs_steps_back(void **state) {
    (void)state;
    FraxModel *model = parse("model edge(x: f64[N]) {\n"
                             "    param rho: f64 = 0.9\n"
                             "    alpha = guard(rho, lo=0, hi=1.001)\n"
                             "    loss  = 100 * (alpha - 1)^2 + alpha^4 - 4 * alpha + mean(x)\n"
                             "    return loss\n"
                             "}\n");
    for (size_t t = 0; t < COUNT(targets); t++) {
        FraxOptions options = options_for(targets[t]);
        FraxFitOptions fit = frax_default_fit_options(FRAX_LBFGS);
        FraxTrainer *trainer;
        FraxError err = {0};
        double x[3] = {0}, loss, rho = 1.5;
        if (frax_trainer_create(model, &options, &fit, &trainer, &err)) fail_msg("%s", err.message);
        if (frax_trainer_run(trainer, (const void *[]){x}, &loss, &err)) fail_msg("%s", err.message);
        frax_trainer_get_param(trainer, 0, &rho, NULL);
        assert_true(fabs(rho - 1) < 1e-6);
        rho = 1.5; /* a start outside is a fault */
        frax_trainer_set_param(trainer, 0, &rho, NULL);
        assert_int_equal(frax_trainer_step(trainer, (const void *[]){x}, &loss, &err), FRAX_VALUE);
        assert_non_null(strstr(err.message, "guard: x is 1.5, expected 0 <= x <= 1.001"));
        frax_trainer_destroy(trainer);
    }
    frax_model_destroy(model);
}

/* The loss falls beyond the range: the fit ends at its border, which is no minimum. */
static void test_a_border_is_no_convergence(void **state) {
    (void)state;
    FraxModel *model = parse("model edge(x: f64[N]) {\n"
                             "    param rho: f64 = 0.5\n"
                             "    loss  = (guard(rho, lo=0, hi=0.9) - 2)^2 + mean(x)\n"
                             "    return loss\n"
                             "}\n");
    FraxOptions options = options_for(FRAX_CPU);
    FraxFitOptions fit = frax_default_fit_options(FRAX_LBFGS);
    FraxTrainer *trainer;
    FraxError err = {0};
    double x[3] = {0}, loss, rho;
    if (frax_trainer_create(model, &options, &fit, &trainer, &err)) fail_msg("%s", err.message);
    if (frax_trainer_run(trainer, (const void *[]){x}, &loss, &err)) fail_msg("%s", err.message);
    frax_trainer_get_param(trainer, 0, &rho, NULL);
    assert_true(fabs(rho - 0.9) < 1e-9);
    assert_string_equal(frax_trainer_outcome(trainer), "a guarded value has reached the end of its range");
    assert_false(frax_trainer_converged(trainer));
    int64_t steps = frax_trainer_steps(trainer);
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){x}, &loss, &err), FRAX_OK);
    assert_int_equal(frax_trainer_steps(trainer), steps); /* it has ended all the same */
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
}

static void test_failing_allocations(void **state) {
    (void)state;
    FraxModel *model = parse(power_model);
    FraxOptions options = options_for(FRAX_CPU);
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    for (long n = 1;; n += 1 + n / 8) {
        FraxTrainer *trainer = NULL;
        FraxError err = {0};
        mem_fail_after(n);
        FraxStatus status = frax_trainer_create(model, &options, &fit, &trainer, &err);
        mem_fail_after(0);
        frax_trainer_destroy(trainer);
        if (!status) break;
        assert_int_equal(status, FRAX_MEMORY);
    }
    frax_model_destroy(model);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_constants_are_judged_when_built),
        cmocka_unit_test(test_equal_guards_are_one),
        cmocka_unit_test(test_faults_of_the_builder),
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_an_unused_guard_is_dropped),
        cmocka_unit_test(test_empty_operands),
        cmocka_unit_test(test_tables),
        cmocka_unit_test(test_search),
        cmocka_unit_test(test_passes_and_text),
        cmocka_unit_test(test_text_faults),
        cmocka_unit_test(test_one_executable_in_many_threads),
        cmocka_unit_test(test_every_mode),
        cmocka_unit_test(test_fits_stop_at_the_last_good_point),
        cmocka_unit_test(test_lbfgs_steps_back),
        cmocka_unit_test(test_a_border_is_no_convergence),
        cmocka_unit_test(test_failing_allocations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
