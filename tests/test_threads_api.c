/* test_threads_api.c — one executable run from many threads at once, and one model compiled from many: the
 * same bits as alone. With FRAX_LONG in the environment the runs go on for ten seconds.
 */
#include "frax.h"
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

enum { THREADS = 32, COMPILING = 4, RUNS = 50, LONG_SECONDS = 10, N = 97, ROWS = 8 };

static const char text[] = "model net(x: f32[B, N]) {\n"
                           "    param alpha: f32 = 0.4\n"
                           "    param w: f32[N, 5] = glorot\n"
                           "    h    = tanh(frac(x, alpha, kind=weyl))\n"
                           "    e    = frac(h, 0.3, kind=grunwald)\n"
                           "    loss = mean((e @ w)^2)\n"
                           "    return loss, e\n"
                           "}\n";

/* Everything that a run reads, and what it gave alone. */
typedef struct Shared {
    const FraxModel *model;
    const FraxExecutable *exe;
    float x[ROWS][N], alpha, w[N][5];
    float loss, e[ROWS][N], grads[1 + N * 5];
    int failures[THREADS];
} Shared;

typedef struct Task {
    Shared *shared;
    int index;
} Task;

static FraxOptions options(void) {
    static const FraxSize sizes[] = {{"B", ROWS}, {"N", N}};
    FraxOptions o = frax_default_options();
    o.mode = FRAX_REVERSE;
    o.sizes = sizes;
    o.nsizes = 2;
    return o;
}

static FraxStatus run(const Shared *s, const FraxExecutable *exe, float *loss, float (*e)[N], float *grads) {
    return frax_run(exe, (const void *[]){s->x}, (const void *[]){&s->alpha, s->w},
                    (void *[]){loss, e, grads, grads + 1}, NULL);
}

static int differs(const Shared *s, const FraxExecutable *exe) {
    float loss, e[ROWS][N], grads[1 + N * 5];
    return run(s, exe, &loss, e, grads) || loss != s->loss || memcmp(e, s->e, sizeof e) ||
           memcmp(grads, s->grads, sizeof grads);
}

static void *run_often(void *argument) {
    Task *task = argument;
    time_t end = time(NULL) + (getenv("FRAX_LONG") ? LONG_SECONDS : 0);
    for (int i = 0; i < RUNS || time(NULL) < end; i++)
        task->shared->failures[task->index] += differs(task->shared, task->shared->exe);
    return NULL;
}

static void *compile_and_run(void *argument) {
    Task *task = argument;
    FraxOptions o = options();
    FraxExecutable *exe;
    task->shared->failures[task->index] +=
        frax_compile(task->shared->model, &o, &exe, NULL) || differs(task->shared, exe);
    frax_executable_destroy(exe);
    return NULL;
}

static void in_threads(int count, void *(*work)(void *)) {
    static Shared s;
    memset(&s, 0, sizeof s);
    FraxModel *model;
    FraxExecutable *exe;
    FraxOptions o = options();
    assert_int_equal(frax_model_parse(text, "net.frax", NULL, &model, NULL), FRAX_OK);
    assert_int_equal(frax_compile(model, &o, &exe, NULL), FRAX_OK);
    s.model = model;
    s.exe = exe;
    for (int i = 0; i < ROWS * N; i++) s.x[i / N][i % N] = (float)(i * 7919 % 1000) / 500 - 1;
    assert_int_equal(frax_initial_param(exe, 0, 1, &s.alpha, NULL), FRAX_OK);
    assert_int_equal(frax_initial_param(exe, 1, 1, s.w, NULL), FRAX_OK);
    assert_int_equal(run(&s, exe, &s.loss, s.e, s.grads), FRAX_OK);
    assert_true(s.loss > 0);
    pthread_t threads[THREADS];
    Task tasks[THREADS];
    for (int i = 0; i < count; i++) {
        tasks[i] = (Task){&s, i};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &tasks[i]), 0);
    }
    for (int i = 0; i < count; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(s.failures[i], 0);
    }
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_runs_at_once(void **state) {
    (void)state;
    in_threads(THREADS, run_often);
}

static void test_compilations_at_once(void **state) {
    (void)state;
    in_threads(COMPILING, compile_and_run);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs_at_once),
        cmocka_unit_test(test_compilations_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
