/* test_threads_eager.c — eight threads run one Eager at a time, with inputs of their own; each must get the
 * bits that a single thread gets. Under ThreadSanitizer this also shows that runs share nothing unlocked.
 * Before that: small arrays start no threads.
 */
#include "executable.h"
#include <dirent.h>
#include <pthread.h>
#include <math.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

enum { THREADS = 8, ROUNDS = 12, ROWS = 20, N = 150, HALF = N / 2 + 1, MANY = 400 };

typedef struct Result {
    double conv[ROWS * N], product[ROWS * ROWS], sum, special[ROWS];
} Result;

typedef struct Job {
    const Eager *eager;
    int seed;
    Result first;
    FraxStatus status;
    bool equal;
} Job;

static Graph *build(void) {
    Graph *g = graph_create("test", "test");
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(ROWS, N)});
    Value k = g_input(g, "k", (Type){FRAX_F64, SHAPE(1, HALF)});
    Value alpha = g_input(g, "alpha", (Type){FRAX_F64, SHAPE(1, 1)});
    Value y = g_causal_conv(g, g_grunwald_weights(g, alpha, N), g_spectral(g, x, k, k, 2), 1, ENGINE_FFT);
    Value s = g_cross_spectrum(g, x, y, 2, 1, PART_RE);
    graph_output(g, "conv", y);
    graph_output(g, "product", g_matmul(g, x, y, false, true));
    graph_output(g, "sum", g_reduce(g, OP_sum, g_unary(g, OP_tanh, s), 3));
    graph_output(g, "special", g_unary(g, OP_lgamma, g_reduce(g, OP_reduce_max, g_unary(g, OP_exp, x), 2)));
    return g;
}

static FraxStatus run(const Eager *eager, int seed, Result *out) {
    double x[ROWS * N], k[HALF], alpha = 0.1 * seed;
    for (int i = 0; i < ROWS * N; i++) x[i] = sin(0.37 * i * (seed + 1));
    for (int i = 0; i < HALF; i++) k[i] = cos(0.11 * i + seed);
    return eager_run(eager, (const void *[]){x, k, &alpha},
                     (void *[]){out->conv, out->product, &out->sum, out->special}, NULL);
}

/* Threads of this process; 0 where /proc does not tell. */
static int count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int n = 0;
    while (tasks && readdir(tasks)) n++;
    if (tasks) closedir(tasks);
    return n;
}

/* y and product, on `threads` threads. */
static void run_rows(int64_t rows, int threads, double *y_out, double *product) {
    Graph *g = graph_create("test", "test");
    Eager *eager;
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(rows, N)});
    Value alpha = g_reduce(g, OP_reduce_max, x, 2);
    Value y = g_causal_conv(g, g_grunwald_weights(g, alpha, N), x, 1, ENGINE_FFT);
    graph_output(g, "y", g_causal_conv(g, g_grunwald_weights(g, alpha, N), y, 1, ENGINE_DIRECT));
    graph_output(g, "product", g_matmul(g, x, y, true, false));
    double *in = mem_calloc((size_t)rows * N, sizeof *in);
    assert_non_null(in);
    for (int64_t i = 0; i < rows * N; i++) in[i] = sin(0.37 * (double)i);
    assert_int_equal(eager_create(g, threads, &eager, NULL), FRAX_OK);
    assert_int_equal(eager_run(eager, (const void *[]){in}, (void *[]){y_out, product}, NULL), FRAX_OK);
    eager_destroy(eager);
    graph_destroy(g);
    mem_free(in);
}

/* The start of a team costs more than all the work on 2 rows, and on a busy machine a thousand times more. */
static void test_small_arrays_stay_on_one_thread(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    print_message("skipped: ThreadSanitizer does not know the synchronisation inside OpenMP\n");
    skip();
#endif
    static double y[2][MANY * N], product[2][N * N];
    int before = count_threads();
    run_rows(2, THREADS, y[0], product[0]);
    assert_int_equal(count_threads(), before);
    run_rows(MANY, 1, y[0], product[0]);
    run_rows(MANY, THREADS, y[1], product[1]);
    assert_true(!before || count_threads() > before);
    assert_memory_equal(y[0], y[1], sizeof y[0]);
    assert_memory_equal(product[0], product[1], sizeof product[0]);
}

static void *work(void *argument) {
    Job *job = argument;
    job->equal = true;
    for (int i = 0; i < ROUNDS && !job->status; i++) {
        Result again;
        job->status = run(job->eager, job->seed, &again);
        job->equal = job->equal && !memcmp(&again, &job->first, sizeof again);
    }
    return NULL;
}

static void test_parallel_runs(void **state) {
    (void)state;
    static Job jobs[THREADS];
    Graph *g = build();
    FraxError err = {0};
    Eager *eager;
    pthread_t threads[THREADS];
    if (graph_status(g, &err)) fail_msg("%s", err.message);
    assert_int_equal(eager_create(g, 1, &eager, &err), FRAX_OK);
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (Job){.eager = eager, .seed = i};
        assert_int_equal(run(eager, i, &jobs[i].first), FRAX_OK);
        assert_true(isfinite(jobs[i].first.sum));
    }
    for (int i = 0; i < THREADS; i++) assert_int_equal(pthread_create(&threads[i], NULL, work, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_true(jobs[i].status == FRAX_OK && jobs[i].equal);
    eager_destroy(eager);
    graph_destroy(g);
}

/* Eagers made at the same time ask for the same plans. */
static void *create(void *argument) {
    Job *job = argument;
    Eager *eager;
    Graph *g = build();
    job->status = eager_create(g, 1, &eager, NULL);
    if (!job->status) job->status = run(eager, job->seed, &job->first);
    eager_destroy(eager);
    graph_destroy(g);
    return NULL;
}

static void test_parallel_creation(void **state) {
    (void)state;
    static Job jobs[THREADS];
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, create, &jobs[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    for (int i = 0; i < THREADS; i++)
        assert_true(jobs[i].status == FRAX_OK &&
                    !memcmp(&jobs[i].first, &jobs[0].first, sizeof jobs[0].first));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_small_arrays_stay_on_one_thread),
        cmocka_unit_test(test_parallel_runs),
        cmocka_unit_test(test_parallel_creation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
