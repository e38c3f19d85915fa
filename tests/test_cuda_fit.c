/* test_cuda_fit.c — fitting on the CUDA target, on the stand-ins of fake_cuda/: the same parameters as on the
 * CPU with every optimizer, parameters and optimizer state on the device between steps, and a step that is
 * one launch of a captured graph.
 */
#include "base.h"
#include "files.h"
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include "cuda_fakes.h"

enum { ROWS = 12, COLUMNS = 5, MOST_PARAMS = 3 };

static const char regression[] = "model regression(x: f64[B, C], y: f64[B]) {\n"
                                 "    param w: f64[C] = 0.1\n"
                                 "    param b: f64    = 0\n"
                                 "    param unused: f64[2] = 3\n"
                                 "    loss = mean((x @ w + b - y)^2)\n"
                                 "    return loss\n"
                                 "}\n";

/* The optimum, 2, is beyond what the guard allows. */
static const char guarded[] = "model guarded(x: f64[B, C], y: f64[B]) {\n"
                              "    param w: f64 = 0.5\n"
                              "    loss = (guard(w, lo=0, hi=1) - 2)^2 + mean(x) + mean(y)\n"
                              "    return loss\n"
                              "}\n";
static const char guarded_result[] = "model guarded(x: f64[B, C], y: f64[B]) {\n"
                                     "    param w: f64 = 0.5\n"
                                     "    loss = (guard(0.5 * w, lo=0, hi=0.5) - 2)^2 + mean(x) + mean(y)\n"
                                     "    return loss\n"
                                     "}\n";

typedef struct Data {
    double x[ROWS * COLUMNS], y[ROWS];
} Data;

static Data make_data(void) {
    Data d;
    for (int i = 0; i < ROWS * COLUMNS; i++) d.x[i] = sin(0.7 * i) + 0.3 * cos(1.9 * i);
    for (int r = 0; r < ROWS; r++) {
        d.y[r] = 0.5;
        for (int c = 0; c < COLUMNS; c++) d.y[r] += (c - 2) * d.x[r * COLUMNS + c];
    }
    return d;
}

static FraxTrainer *create(const char *text, FraxTarget target, const FraxFitOptions *fit) {
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxTrainer *trainer;
    FraxError err;
    options.target = target;
    options.no_cache = 1;
    options.sizes = (const FraxSize[]){{"B", ROWS}, {"C", COLUMNS}};
    options.nsizes = 2;
    if (frax_model_parse(text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    if (frax_trainer_create(model, &options, fit, &trainer, &err)) fail_msg("%s", err.message);
    frax_model_destroy(model);
    return trainer;
}

/* The same params, but for rounding. */
static void expect_same_params(const FraxTrainer *a, const FraxTrainer *b, double tolerance) {
    const FraxExecutable *exe = frax_trainer_executable(a);
    for (size_t i = 0; i < frax_executable_count(exe, FRAX_PARAM); i++) {
        FraxTensor type = frax_executable_type(exe, FRAX_PARAM, i);
        double p[COLUMNS], q[COLUMNS];
        FraxError err;
        assert_int_equal(frax_trainer_get_param(a, i, p, &err), FRAX_OK);
        assert_int_equal(frax_trainer_get_param(b, i, q, &err), FRAX_OK);
        for (int64_t k = 0; k < tensor_count(&type); k++)
            if (!(fabs(p[k] - q[k]) <= tolerance * (1 + fabs(p[k]))))
                fail_msg("param %zu: %.17g and %.17g", i, p[k], q[k]);
    }
}

static void fit_both(FraxFitOptions fit, bool by_steps) {
    Data d = make_data();
    const void *inputs[] = {d.x, d.y};
    FraxTrainer *cpu = create(regression, FRAX_CPU, &fit), *cuda = create(regression, FRAX_CUDA, &fit);
    double losses[2] = {0};
    FraxError err;
    for (int k = 0; k < 2; k++) {
        FraxTrainer *t = k ? cuda : cpu;
        FraxStatus status = by_steps ? FRAX_OK : frax_trainer_run(t, inputs, &losses[k], &err);
        for (int64_t i = 0; by_steps && i < fit.steps && !status; i++)
            status = frax_trainer_step(t, inputs, &losses[k], &err);
        if (status) fail_msg("%s", err.message);
    }
    assert_int_equal(frax_trainer_steps(cpu), frax_trainer_steps(cuda));
    assert_true(fabs(losses[0] - losses[1]) <= 1e-9 * (1 + fabs(losses[0])));
    expect_same_params(cpu, cuda, 1e-8);
    frax_trainer_destroy(cpu);
    frax_trainer_destroy(cuda);
    assert_int_equal(live_objects(), 0);
}

static void test_optimizers(void **state) {
    (void)state;
    for (FraxOptimizer optimizer = FRAX_SGD; optimizer <= FRAX_LBFGS; optimizer++) {
        FraxFitOptions fit = frax_default_fit_options(optimizer);
        fit.steps = 15;
        if (optimizer == FRAX_SGD) fit.momentum = 0.9;
        if (optimizer != FRAX_LBFGS) fit.lr = 0.05;
        fit_both(fit, false);
        fit_both(fit, true);
    }
}

static void test_batches(void **state) {
    (void)state;
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    fit.steps = 15;
    fit.batch = 5;
    fit.lr = 0.05;
    fit_both(fit, false);
}

/* Each step's key goes to the device with its scalars. */
static void test_random_numbers(void **state) {
    (void)state;
    static const char text[] =
        "model noisy(x: f64[B, C], k: key) {\n"
        "    param w: f64[C] = 0.1\n"
        "    loss = mean((dropout(x, k, rate=0.25) @ w + random_normal(k, [B]) - 1)^2)\n"
        "    return loss\n"
        "}\n";
    Data d = make_data();
    const void *inputs[] = {d.x, (int32_t[]){6, 6}};
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxError err;
    fit.steps = 10;
    FraxTrainer *cpu = create(text, FRAX_CPU, &fit), *cuda = create(text, FRAX_CUDA, &fit);
    if (frax_trainer_run(cpu, inputs, NULL, &err)) fail_msg("%s", err.message);
    if (frax_trainer_run(cuda, inputs, NULL, &err)) fail_msg("%s", err.message);
    expect_same_params(cpu, cuda, 1e-8);
    frax_trainer_destroy(cpu);
    frax_trainer_destroy(cuda);
    assert_int_equal(live_objects(), 0);
}

/* A step is one launch, with one copy each way: the step's scalars, and the loss with what says that the step
   is finite. Data that stay are copied once. */
static void test_what_a_step_moves(void **state) {
    (void)state;
    enum { STEPS = 10 };
    Data d = make_data();
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxError err;
    double loss;
    needs_fakes("copies and launches are not counted");
    fit.steps = STEPS;
    FraxTrainer *t = create(regression, FRAX_CUDA, &fit);
    Counts before = counts_since((Counts){0});
    if (frax_trainer_run(t, (const void *[]){d.x, d.y}, &loss, &err)) fail_msg("%s", err.message);
    Counts run = counts_since(before);
    assert_int_equal(run.graphs, STEPS);
    assert_int_equal(run.copies, 2 + 2 * STEPS);
    frax_trainer_destroy(t);
}

/* Params are set and read between steps. */
static void test_params_from_outside(void **state) {
    (void)state;
    Data d = make_data();
    const void *inputs[] = {d.x, d.y};
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    FraxError err;
    double w[COLUMNS] = {1, 2, 3, 4, 5}, loss;
    fit.steps = 3;
    fit.momentum = 0.5;
    FraxTrainer *cpu = create(regression, FRAX_CPU, &fit), *cuda = create(regression, FRAX_CUDA, &fit);
    for (int k = 0; k < 2; k++) {
        FraxTrainer *t = k ? cuda : cpu;
        assert_int_equal(frax_trainer_run(t, inputs, &loss, &err), FRAX_OK);
        assert_int_equal(frax_trainer_set_param(t, 0, w, &err), FRAX_OK);
        d.y[0] += 1; /* other data from here on */
        assert_int_equal(frax_trainer_run(t, inputs, &loss, &err), FRAX_OK);
        d.y[0] -= 1;
    }
    expect_same_params(cpu, cuda, 1e-10);
    frax_trainer_destroy(cpu);
    frax_trainer_destroy(cuda);
}

/* A guard ends the fit at the same step, with the params of the last good point, on both. */
static void expect_same_end(const char *text, FraxOptimizer optimizer) {
    Data d = make_data();
    const void *inputs[] = {d.x, d.y};
    FraxFitOptions fit = frax_default_fit_options(optimizer);
    FraxError err[2] = {{0}};
    FraxStatus status[2];
    double loss;
    fit.steps = 40;
    if (optimizer != FRAX_LBFGS) fit.lr = 0.05;
    FraxTrainer *cpu = create(text, FRAX_CPU, &fit), *cuda = create(text, FRAX_CUDA, &fit);
    for (int k = 0; k < 2; k++) status[k] = frax_trainer_run(k ? cuda : cpu, inputs, &loss, &err[k]);
    assert_int_equal(status[0], optimizer == FRAX_LBFGS ? FRAX_OK : FRAX_VALUE);
    assert_int_equal(status[1], status[0]);
    assert_memory_equal(err[1].message, err[0].message,
                        40); /* up to the value, whose last digit may differ */
    assert_string_equal(frax_trainer_outcome(cuda), frax_trainer_outcome(cpu));
    assert_int_equal(frax_trainer_steps(cuda), frax_trainer_steps(cpu));
    expect_same_params(cpu, cuda, 1e-10);
    frax_trainer_destroy(cpu);
    frax_trainer_destroy(cuda);
}

static void test_guards_end_fits(void **state) {
    (void)state;
    for (FraxOptimizer optimizer = FRAX_SGD; optimizer <= FRAX_LBFGS; optimizer++) {
        expect_same_end(guarded, optimizer);
        expect_same_end(guarded_result, optimizer);
    }
    assert_int_equal(live_objects(), 0);
}

/* The memory of the Nile, as on the CPU (tests/test_fit.c). */
static void test_the_nile(void **state) {
    (void)state;
    FraxFitOptions fit = frax_default_fit_options(FRAX_LBFGS);
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxTrainer *t;
    FraxTensor x;
    FraxError err;
    double loss, d;
    fit.steps = 50;
    options.target = FRAX_CUDA;
    options.sizes = &(FraxSize){"T", 100};
    options.nsizes = 1;
    if (npy_read("frontend/examples/data/nile.npy", &x, &err)) fail_msg("%s", err.message);
    if (frax_model_load("frontend/examples/nile.frax", &model, &err)) fail_msg("%s", err.message);
    if (frax_trainer_create(model, &options, &fit, &t, &err)) fail_msg("%s", err.message);
    if (frax_trainer_run(t, (const void *[]){x.data}, &loss, &err)) fail_msg("%s", err.message);
    frax_trainer_get_param(t, 0, &d, NULL);
    assert_true(fabs(d - 0.383052) < 1e-6);
    assert_true(frax_trainer_converged(t));
    frax_trainer_destroy(t);
    frax_model_destroy(model);
    tensor_free(&x);
}

static void test_failing_allocations(void **state) {
    (void)state;
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxOptions options = frax_default_options();
    FraxModel *model;
    FraxStatus status = FRAX_MEMORY;
    needs_fakes("what is left behind is not counted");
    options.target = FRAX_CUDA;
    options.no_cache = 1;
    options.sizes = (const FraxSize[]){{"B", ROWS}, {"C", COLUMNS}};
    options.nsizes = 2;
    assert_int_equal(frax_model_parse(guarded, "test.frax", NULL, &model, NULL), FRAX_OK);
    for (long n = 1; status; n += 1 + n / 8) {
        FraxTrainer *t = NULL;
        FraxError err = {0};
        mem_fail_after(n);
        status = frax_trainer_create(model, &options, &fit, &t, &err);
        mem_fail_after(0);
        frax_trainer_destroy(t);
        if (status) assert_int_equal(status, FRAX_MEMORY);
    }
    frax_model_destroy(model);
    assert_int_equal(live_objects(), 0);
}

/* The device has no room for the second of its copies of the parameters; the step is not taken. */
static void test_a_full_device(void **state) {
    (void)state;
    Data d = make_data();
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    FraxError err;
    double loss, w;
    needs_fakes("the device is not full");
    FraxTrainer *t = create(guarded, FRAX_CUDA, &fit);
    setenv("FAKE_CUDA_ALLOCATIONS", "1", 1);
    assert_int_equal(frax_trainer_step(t, (const void *[]){d.x, d.y}, &loss, &err), FRAX_MEMORY);
    assert_non_null(
        strstr(err.message, "out of memory on device 0, Fake GPU 0: a copy of the parameters needs 8 bytes"));
    unsetenv("FAKE_CUDA_ALLOCATIONS");
    assert_int_equal(frax_trainer_get_param(t, 0, &w, &err), FRAX_OK);
    assert_true(w == 0.5);
    frax_trainer_destroy(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_optimizers),
        cmocka_unit_test(test_batches),
        cmocka_unit_test(test_random_numbers),
        cmocka_unit_test(test_what_a_step_moves),
        cmocka_unit_test(test_params_from_outside),
        cmocka_unit_test(test_guards_end_fits),
        cmocka_unit_test(test_the_nile),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_a_full_device),
    };
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
