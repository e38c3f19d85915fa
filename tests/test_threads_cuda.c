/* test_threads_cuda.c — eight threads run one executable of the CUDA target at a time, with inputs of their
 * own, and make executables at once, on the stand-ins of fake_cuda/. Runs take turns; each must get its own
 * results.
 */
#include "executable.h"
#include <math.h>
#include <pthread.h>
#include "cuda_fakes.h"

enum { THREADS = 8, ROUNDS = 10, ROWS = 6, N = 40 };

typedef struct Job {
    const Executable *exe; /* NULL: each round makes one */
    int seed;
    bool ok;
} Job;

static Graph *build(void) {
    Graph *g = graph_create("threads", "test");
    assert_non_null(g);
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(ROWS, N)});
    Value table = g_unary(g, OP_floor, g_scale(g, g_iota(g, (Type){FRAX_F64, SHAPE(ROWS, N)}, 1), 0.25));
    Value y = g_guard(g, g_add(g, x, table), -1e6, 1e6, "y", "a moderate one");
    graph_output(g, "y", y);
    graph_output(g, "sum", g_reduce(g, OP_sum, y, 2));
    return g;
}

/* Whole numbers: exact in any order. */
static bool is_right(const Executable *exe, int seed) {
    double x[ROWS * N], y[ROWS * N], sum[ROWS];
    for (int i = 0; i < ROWS * N; i++) x[i] = seed * 100 + i % 7;
    if (executable_run(exe, (const void *[]){x}, (void *[]){y, sum}, NULL)) return false;
    for (int r = 0; r < ROWS; r++) {
        double total = 0;
        for (int i = 0; i < N; i++) {
            double expected = x[r * N + i] + floor(0.25 * i);
            if (y[r * N + i] != expected) return false;
            total += expected;
        }
        if (sum[r] != total) return false;
    }
    return true;
}

static Executable *create(void) {
    Executable *exe = NULL;
    ExecutableOptions options = {.target = FRAX_CUDA};
    return executable_create(build(), &options, &exe, NULL) ? NULL : exe;
}

static void *work(void *argument) {
    Job *job = argument;
    job->ok = true;
    for (int i = 0; i < ROUNDS && job->ok; i++) {
        Executable *own = job->exe ? NULL : create();
        job->ok = (job->exe || own) && is_right(own ? own : job->exe, job->seed);
        executable_destroy(own);
    }
    return NULL;
}

static void run_jobs(const Executable *exe) {
    pthread_t threads[THREADS];
    Job jobs[THREADS];
    for (int t = 0; t < THREADS; t++) {
        jobs[t] = (Job){exe, t, false};
        assert_int_equal(pthread_create(&threads[t], NULL, work, &jobs[t]), 0);
    }
    for (int t = 0; t < THREADS; t++) assert_int_equal(pthread_join(threads[t], NULL), 0);
    for (int t = 0; t < THREADS; t++) assert_true(jobs[t].ok);
}

static void test_one_executable(void **state) {
    (void)state;
    Executable *exe = create();
    assert_non_null(exe);
    run_jobs(exe);
    executable_destroy(exe);
    assert_int_equal(live_objects(), 0);
}

static void test_an_executable_each(void **state) {
    (void)state;
    run_jobs(NULL);
    assert_int_equal(live_objects(), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_executable),
        cmocka_unit_test(test_an_executable_each),
    };
    use_fakes();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
