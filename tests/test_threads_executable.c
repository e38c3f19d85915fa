/* test_threads_executable.c — eight threads run one compiled program at a time, with inputs of their own, and
 * compile programs at once; each must get the bits that a single thread gets. Under ThreadSanitizer this also
 * shows that runs share nothing unlocked (generated code is not instrumented; all around it is).
 */
#include "executable.h"
#include <pthread.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { THREADS = 8, ROUNDS = 20, ROWS = 20, N = 150, HALF = N / 2 + 1 };

typedef struct Result {
    double conv[ROWS * N], product[ROWS * ROWS], sum, soft[ROWS * N];
} Result;

typedef struct Job {
    const Executable *exe;
    int seed;
    Result first;
    FraxStatus status;
    bool equal;
} Job;

/* Every template: transforms, a convolution, a product, reductions, a table computed once. */
static Graph *build(void) {
    Graph *g = graph_create("test", "test");
    assert_non_null(g);
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(ROWS, N)});
    Value k = g_input(g, "k", (Type){FRAX_F64, SHAPE(1, HALF)});
    Value alpha = g_input(g, "alpha", (Type){FRAX_F64, SHAPE(1, 1)});
    Value table = g_unary(g, OP_exp, g_scale(g, g_iota(g, (Type){FRAX_F64, SHAPE(1, HALF)}, 1), -0.1));
    Value y = g_causal_conv(g, g_grunwald_weights(g, alpha, N), g_spectral(g, x, k, table, 2), 1, ENGINE_FFT);
    Value s = g_cross_spectrum(g, x, y, 2, 1, PART_RE), e = g_unary(g, OP_exp, x);
    graph_output(g, "conv", y);
    graph_output(g, "product", g_matmul(g, x, y, false, true));
    graph_output(g, "sum", g_reduce(g, OP_sum, g_unary(g, OP_tanh, s), 3));
    Value total = g_reduce(g, OP_sum, e, 2);
    graph_output(g, "soft", g_div(g, e, g_broadcast(g, total, SHAPE(ROWS, N))));
    return g;
}

static FraxStatus run(const Executable *exe, int seed, Result *out) {
    double x[ROWS * N], k[HALF], alpha = 0.1 * seed;
    for (int i = 0; i < ROWS * N; i++) x[i] = sin(0.37 * i * (seed + 1));
    for (int i = 0; i < HALF; i++) k[i] = cos(0.11 * i + seed);
    return executable_run(exe, (const void *[]){x, k, &alpha},
                          (void *[]){out->conv, out->product, &out->sum, out->soft}, NULL);
}

static FraxStatus create(Executable **exe, bool no_cache) {
    ExecutableOptions options = {.target = FRAX_CPU, .threads = 1, .no_cache = no_cache};
    return executable_create(build(), &options, exe, NULL);
}

static void *run_often(void *argument) {
    Job *job = argument;
    job->equal = true;
    for (int i = 0; i < ROUNDS && !job->status; i++) {
        Result again;
        job->status = run(job->exe, job->seed, &again);
        job->equal = job->equal && !memcmp(&again, &job->first, sizeof again);
    }
    return NULL;
}

static void in_threads(void *(*work)(void *), Job *jobs) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
}

static void test_parallel_runs(void **state) {
    (void)state;
    static Job jobs[THREADS];
    Executable *exe;
    assert_int_equal(create(&exe, true), FRAX_OK);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (Job){.exe = exe, .seed = i};
        assert_int_equal(run(exe, i, &jobs[i].first), FRAX_OK);
        assert_true(isfinite(jobs[i].first.sum));
    }
    in_threads(run_often, jobs);
    for (int i = 0; i < THREADS; i++) assert_true(jobs[i].status == FRAX_OK && jobs[i].equal);
    executable_destroy(exe);
}

/* They ask for the same transforms, and store and load the same entry of the cache. */
static void *create_and_run(void *argument) {
    Job *job = argument;
    Executable *exe;
    job->status = create(&exe, job->seed % 2);
    if (job->status) return NULL;
    job->status = run(exe, 3, &job->first);
    executable_destroy(exe);
    return NULL;
}

static void test_parallel_creation(void **state) {
    (void)state;
    static Job jobs[THREADS];
    for (int i = 0; i < THREADS; i++) jobs[i] = (Job){.seed = i};
    in_threads(create_and_run, jobs);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(jobs[i].status, FRAX_OK);
        assert_memory_equal(&jobs[i].first, &jobs[0].first, sizeof jobs[0].first);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parallel_runs),
        cmocka_unit_test(test_parallel_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
