/* test_host.c — what a host program can watch and stop: progress of compilations and fits, cancelling at
 * every point where it can be asked for, and the log.
 */
#include "base.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static const char text[] = "model m(x: f64[T]) {\n"
                           "    param d: f64 = 0.3\n"
                           "    param s: f64 = 2\n"
                           "    e    = frac(x, d, kind=grunwald)\n"
                           "    y    = frac(e, s, kind=weyl)\n"
                           "    loss = mean((s * e + y - 1)^2)\n"
                           "    return loss\n"
                           "}\n";

enum { T = 77 };
static double x[T];

/* Counts what it is told, and cancels at one of the calls (from 1; 0: none). */
typedef struct Host {
    int calls, cancel_at, logs;
    int64_t last_done;
    Text stages, log;
} Host;

static int progress(void *context, const char *stage, int64_t done, int64_t total) {
    Host *host = context;
    assert_true(done >= 0 && (total == 0 || done <= total));
    host->last_done = done;
    text_printf(&host->stages, "%s;", stage);
    return ++host->calls == host->cancel_at;
}

static void note(void *context, const char *message) {
    Host *host = context;
    host->logs++;
    assert_null(strchr(message, '\n'));
    text_printf(&host->log, "%s\n", message);
}

static void host_free(Host *host) {
    text_free(&host->stages);
    text_free(&host->log);
}

static FraxOptions options_for(Host *host) {
    static const FraxSize sizes[] = {{"T", T}};
    FraxOptions options = frax_default_options();
    options.sizes = sizes;
    options.nsizes = 1;
    options.no_cache = 1;
    options.progress = progress;
    options.log = note;
    options.context = host;
    return options;
}

static FraxModel *parse(void) {
    FraxModel *model;
    assert_int_equal(frax_model_parse(text, "m.frax", NULL, &model, NULL), FRAX_OK);
    for (int t = 0; t < T; t++) x[t] = t * 7 % 5 - 1.5;
    return model;
}

static void test_stages_and_log(void **state) {
    (void)state;
    Host host = {0};
    FraxModel *model = parse();
    FraxOptions options = options_for(&host);
    FraxExecutable *exe;
    options.mode = FRAX_REVERSE;
    assert_int_equal(frax_compile(model, &options, &exe, NULL), FRAX_OK);
    static const char *const stages[] = {"lowering;", "differentiating;", "simplify;",
                                         "plan;",     "emitting code;",   "compiling;"};
    const char *at = host.stages.data;
    for (size_t i = 0; i < COUNT(stages); i++) {
        at = strstr(at, stages[i]);
        if (!at) fail_msg("no %s after the ones before it in %s", stages[i], host.stages.data);
    }
    assert_non_null(strstr(host.log.data, "m.frax:4:12: causal_conv of 77 samples"));
    assert_non_null(strstr(host.log.data, "compiled in"));
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    host_free(&host);
}

/* Wherever a compilation is stopped, it says so, and gives nothing. */
static void test_cancelled_compilations(void **state) {
    (void)state;
    FraxModel *model = parse();
    FraxStatus status = FRAX_CANCELLED;
    int at = 0;
    for (; status == FRAX_CANCELLED; at++) {
        Host host = {.cancel_at = at + 1};
        FraxOptions options = options_for(&host);
        FraxExecutable *exe;
        FraxError err;
        options.mode = at % 2 ? FRAX_REVERSE : FRAX_FORWARD;
        status = frax_compile(model, &options, &exe, &err);
        if (status) {
            assert_int_equal(host.calls, at + 1); /* it was not asked again */
            assert_null(exe);
            assert_non_null(strstr(err.message, "stopped by the caller before: "));
        }
        frax_executable_destroy(exe);
        host_free(&host);
    }
    assert_int_equal(status, FRAX_OK);
    assert_true(at > 12);
    frax_model_destroy(model);
}

/* A fit that is stopped at any evaluation can go on, and ends where one that was not ends. */
static void fit(const FraxModel *model, FraxOptimizer optimizer, int cancel_at, double params[2],
                int *calls) {
    Host host = {0};
    FraxOptions options = options_for(&host);
    FraxFitOptions how = frax_default_fit_options(optimizer);
    FraxTrainer *trainer;
    how.steps = 8;
    assert_int_equal(frax_trainer_create(model, &options, &how, &trainer, NULL), FRAX_OK);
    host.calls = 0;
    host.cancel_at = cancel_at;
    FraxStatus status = FRAX_OK;
    const void *inputs[] = {x};
    while (frax_trainer_steps(trainer) < how.steps && !frax_trainer_converged(trainer)) {
        int64_t before = frax_trainer_steps(trainer);
        FraxError err;
        status = frax_trainer_step(trainer, inputs, NULL, &err);
        if (status == FRAX_CANCELLED) {
            assert_int_equal(frax_trainer_steps(trainer), before);
            assert_string_equal(frax_trainer_outcome(trainer), "stopped by the caller");
        } else {
            assert_int_equal(status, FRAX_OK);
        }
    }
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(frax_trainer_get_param(trainer, i, &params[i], NULL), FRAX_OK);
    *calls = host.calls;
    frax_trainer_destroy(trainer);
    host_free(&host);
}

static void test_cancelled_fits(void **state) {
    (void)state;
    FraxModel *model = parse();
    static const FraxOptimizer optimizers[] = {FRAX_ADAM, FRAX_LBFGS};
    for (size_t o = 0; o < COUNT(optimizers); o++) {
        double undisturbed[2], params[2];
        int calls, ignored;
        fit(model, optimizers[o], 0, undisturbed, &calls);
        assert_true(calls >= 8);
        for (int at = 1; at <= calls; at++) {
            fit(model, optimizers[o], at, params, &ignored);
            assert_memory_equal(params, undisturbed, sizeof params);
        }
    }
    frax_model_destroy(model);
}

static void test_cancelled_run(void **state) {
    (void)state;
    FraxModel *model = parse();
    Host host = {0};
    FraxOptions options = options_for(&host);
    FraxFitOptions how = frax_default_fit_options(FRAX_SGD);
    FraxTrainer *trainer;
    FraxError err;
    how.steps = 10;
    assert_int_equal(frax_trainer_create(model, &options, &how, &trainer, NULL), FRAX_OK);
    assert_int_equal(frax_trainer_step(trainer, (const void *[]){(char *)x + 1}, NULL, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "frax_trainer_step: input x is at address"));
    host.cancel_at = host.calls + 4;
    assert_int_equal(frax_trainer_run(trainer, (const void *[]){x}, NULL, &err), FRAX_CANCELLED);
    assert_int_equal(frax_trainer_steps(trainer), 3);
    assert_int_equal(host.last_done, 3);
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
    host_free(&host);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stages_and_log),
        cmocka_unit_test(test_cancelled_compilations),
        cmocka_unit_test(test_cancelled_fits),
        cmocka_unit_test(test_cancelled_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
