/* test_threads_long_fft.c — transforms of long rows, which threads share: right, the same bits for any number
 * of threads, and run by more than one where that is allowed, on the targets cpu and eager too.
 *
 * Accuracy is judged against our own fallback, which computes in f64; bounds as in test_fft.c.
 */
#include "executable.h"
#include "fft.h"
#include "fft_fallback.h"
#include <dirent.h>
#include <pthread.h>
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#ifdef __SANITIZE_THREAD__
#define NEEDS_TEAMS()                                                                                        \
    do {                                                                                                     \
        print_message("skipped: ThreadSanitizer does not know the synchronisation inside OpenMP\n");         \
        skip();                                                                                              \
    } while (0)
#else
#define NEEDS_TEAMS() (void)0
#endif

enum { EVEN = 1 << 17, TAILS = 2 * 724 * 725 }; /* 2^8 × 2^8; 725 × 724: blocks that are not full */

static const int teams[] = {1, 2, 3, 8, 40};

/* Threads of this process; 0 where /proc does not tell. */
static int count_threads(void) {
    DIR *tasks = opendir("/proc/self/task");
    int n = 0;
    while (tasks && readdir(tasks)) n++;
    if (tasks) closedir(tasks);
    return n;
}

static double get(FraxDType dtype, const void *data, int64_t i) {
    return dtype == FRAX_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

/* Noise in (−1, 1), the same for the same seed. */
static void *noise(FraxDType dtype, int64_t n, uint64_t seed) {
    void *data = mem_aligned((size_t)n * frax_dtype_size(dtype));
    assert_non_null(data);
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        double v = (double)(int64_t)seed * 0x1p-63;
        if (dtype == FRAX_F64)
            ((double *)data)[i] = v;
        else
            ((float *)data)[i] = (float)v;
    }
    return data;
}

static const FftPlan *plan_of(FraxDType dtype, int64_t n, int64_t rows) {
    const FftPlan *plan;
    FraxError err;
    FftShape shape = {dtype, 1, {n}, rows};
    if (fft_plan(&shape, &plan, &err)) fail_msg("%s", err.message);
#ifdef FRAX_HAVE_FFTW
    assert_true(fft_is_long(&shape));
#endif
    return plan;
}

static double difference(FraxDType dtype, const void *a, double scale, const void *b, int64_t n) {
    double error = 0, norm = 0;
    for (int64_t i = 0; i < n; i++) {
        double want = get(dtype, b, i), d = get(dtype, a, i) * scale - want;
        error += d * d;
        norm += want * want;
    }
    return sqrt(error / norm);
}

static void check_accuracy(FraxDType dtype, int64_t n) {
    size_t size = frax_dtype_size(dtype);
    FftShape shape = {dtype, 1, {n}, 2};
    const FftPlan *plan = plan_of(dtype, n, 2);
    FallbackFft *own = fallback_fft_create(&shape);
    void *x = noise(dtype, 2 * n, 1), *back = mem_aligned(2 * (size_t)n * size);
    void *s = mem_aligned(2 * (size_t)(n + 2) * size), *want = mem_aligned(2 * (size_t)(n + 2) * size);
    assert_true(own && back && s && want);
    fft_forward(plan, x, s);
    fallback_fft_forward(own, x, want);
    double bound = (dtype == FRAX_F64 ? 4e-16 : 4e-7) * log2((double)n);
    double forward = difference(dtype, s, 1, want, 2 * (n + 2));
    for (int row = 0; row < 2; row++)
        assert_true(get(dtype, s, row * (n + 2) + 1) == 0 && get(dtype, s, row * (n + 2) + n + 1) == 0);
    fft_inverse(plan, s, back);
    double round_trip = difference(dtype, back, 1 / (double)n, x, 2 * n);
    if (!(forward <= bound) || !(round_trip <= 2 * bound))
        fail_msg("%s %lld: errors %g and %g, bound %g", frax_dtype_name(dtype), (long long)n, forward,
                 round_trip, bound);
    fallback_fft_destroy(own);
    mem_free(x);
    mem_free(back);
    mem_free(s);
    mem_free(want);
}

static void test_accuracy(void **state) {
    (void)state;
    static const int64_t lengths[] = {EVEN, 3 << 18, 1000000, TAILS, 2 * 1009 * 1010};
    for (size_t i = 0; i < COUNT(lengths); i++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) check_accuracy(dtype, lengths[i]);
}

/* Forward, and inverse of noise, whose DC and Nyquist bins have imaginary parts that must not matter. */
static void run_both(const FftPlan *plan, FraxDType dtype, int64_t n, const void *x, const void *noisy,
                     void *s, void *y) {
    size_t size = frax_dtype_size(dtype), bytes = (size_t)(n + 2) * size;
    char *spectrum = mem_aligned(bytes);
    assert_non_null(spectrum);
    fft_forward(plan, x, s);
    memcpy(spectrum, noisy, bytes);
    fft_inverse(plan, (void *)spectrum, y);
    mem_free(spectrum);
}

static void check_bits(FraxDType dtype, int64_t n) {
    size_t size = frax_dtype_size(dtype);
    const FftPlan *plan = plan_of(dtype, n, 1);
    char *x = noise(dtype, n, 2), *noisy = noise(dtype, n + 2, 3), *s[2], *y[2];
    for (int i = 0; i < 2; i++) s[i] = noise(dtype, n + 2, 4), y[i] = noise(dtype, n, 4);
    for (size_t t = 0; t < COUNT(teams); t++) {
        int to = t > 0;
        fft_allow_threads(teams[t]);
        run_both(plan, dtype, n, x, noisy, s[to], y[to]);
        fft_allow_threads(1);
        memset(noisy + size, (int)t, size - 1); /* finite, whatever t is */
        if (!to) continue;
        assert_memory_equal(s[0], s[1], (size_t)(n + 2) * size);
        assert_memory_equal(y[0], y[1], (size_t)n * size);
    }
    mem_free(x);
    mem_free(noisy);
    for (int i = 0; i < 2; i++) mem_free(s[i]), mem_free(y[i]);
}

static void test_same_bits(void **state) {
    (void)state;
    NEEDS_TEAMS();
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
        check_bits(dtype, EVEN);
        check_bits(dtype, TAILS);
    }
}

/* One row through a filter; its results, and the threads there are afterwards. */
static int run_target(FraxTarget target, int64_t n, int threads, const void *x, void *y) {
    Graph *g = graph_create("test", "test");
    Executable *exe;
    FraxError err;
    ExecutableOptions options = {.target = target, .threads = threads, .no_cache = true};
    Value in = g_input(g, "x", (Type){FRAX_F64, SHAPE(1, n)});
    Value k = g_iota(g, (Type){FRAX_F64, SHAPE(1, n / 2 + 1)}, 1);
    graph_output(g, "y", g_spectral(g, in, g_scale(g, k, 1e-3), g_scale(g, k, -1e-4), 2));
    if (executable_create(g, &options, &exe, &err)) fail_msg("%s", err.message);
    if (executable_run(exe, (const void *[]){x}, (void *[]){y}, &err)) fail_msg("%s", err.message);
    executable_destroy(exe);
    return count_threads();
}

/* Nothing but the transform of the one row can start a team on the target cpu. Must come before all tests
   that start one. */
static void test_threads_are_used(void **state) {
    (void)state;
    NEEDS_TEAMS();
    double *x = noise(FRAX_F64, EVEN, 5), *y = noise(FRAX_F64, EVEN, 6);
    int before = count_threads();
    assert_int_equal(run_target(FRAX_CPU, EVEN, 1, x, y), before);
    int after = run_target(FRAX_CPU, EVEN, 3, x, y);
#ifdef FRAX_HAVE_FFTW
    assert_true(!before || after >= before + 2);
#else
    assert_int_equal(after, before);
#endif
    mem_free(x);
    mem_free(y);
}

static void test_same_bits_on_targets(void **state) {
    (void)state;
    NEEDS_TEAMS();
    double *x = noise(FRAX_F64, TAILS, 7), *y[2] = {noise(FRAX_F64, TAILS, 8), noise(FRAX_F64, TAILS, 8)};
    for (FraxTarget target = FRAX_CPU; target <= FRAX_EAGER; target++)
        for (size_t t = 0; t < COUNT(teams); t++) {
            run_target(target, TAILS, teams[t], x, y[t > 0]);
            if (t) assert_memory_equal(y[0], y[1], TAILS * sizeof *x);
        }
    mem_free(x);
    mem_free(y[0]);
    mem_free(y[1]);
}

typedef struct Job {
    const FftPlan *plan;
    const double *x, *want;
    bool equal;
} Job;

static void *run_job(void *argument) {
    Job *job = argument;
    double *s = aligned_alloc(64, (EVEN + 8) * sizeof *s);
    job->equal = s;
    for (int i = 0; i < 10 && job->equal; i++) {
        fft_forward(job->plan, job->x, s);
        job->equal = !memcmp(s, job->want, (EVEN + 2) * sizeof *s);
    }
    free(s);
    return NULL;
}

/* The runs of a plan share no scratch, and none fails when memory is short. */
static void test_parallel_runs(void **state) {
    (void)state;
    const FftPlan *plan = plan_of(FRAX_F64, EVEN, 1);
    double *x = noise(FRAX_F64, EVEN, 9), *want = noise(FRAX_F64, EVEN + 2, 9);
    fft_forward(plan, x, want);
    for (int starved = 0; starved < 2; starved++) {
        pthread_t threads[4];
        Job jobs[4];
        if (!starved) mem_fail_after(1);
        for (int t = 0; t < 4; t++) {
            jobs[t] = (Job){plan, x, want, false};
            assert_int_equal(pthread_create(&threads[t], NULL, run_job, &jobs[t]), 0);
        }
        for (int t = 0; t < 4; t++) pthread_join(threads[t], NULL);
        mem_fail_after(0);
        for (int t = 0; t < 4; t++) assert_true(jobs[t].equal);
    }
    mem_free(x);
    mem_free(want);
}

/* Every allocation of planning fails in turn; the size is not planned elsewhere in this program. */
static void test_out_of_memory(void **state) {
    (void)state;
    FftShape shape = {FRAX_F32, 1, {1 << 18}, 1};
    FraxStatus status = FRAX_MEMORY;
    int failures = -1;
    for (long n = 1; status == FRAX_MEMORY; n++) {
        const FftPlan *plan;
        mem_fail_after(n);
        status = fft_plan(&shape, &plan, NULL);
        mem_fail_after(0);
        failures++;
        assert_true(status ? !plan : plan != NULL);
    }
    assert_int_equal(status, FRAX_OK);
    assert_in_range(failures, 5, 100);
}

static void test_what_is_long(void **state) {
    (void)state;
#ifdef FRAX_HAVE_FFTW
    static const struct {
        FftShape shape;
        bool is_long;
    } cases[] = {
        {{FRAX_F64, 1, {EVEN}, 1}, true},        {{FRAX_F32, 1, {1000000}, 3}, true},
        {{FRAX_F64, 1, {EVEN / 2}, 1}, false},   {{FRAX_F64, 1, {200000}, 1}, false},
        {{FRAX_F64, 1, {1000001}, 1}, false},    {{FRAX_F64, 1, {1000002}, 1}, false},
        {{FRAX_F64, 1, {4 * 524309}, 1}, false}, {{FRAX_F64, 2, {EVEN, 2}, 1}, false},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_int_equal(fft_is_long(&cases[i].shape), cases[i].is_long);
#endif
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_are_used),
        cmocka_unit_test(test_what_is_long),
        cmocka_unit_test(test_accuracy),
        cmocka_unit_test(test_same_bits),
        cmocka_unit_test(test_same_bits_on_targets),
        cmocka_unit_test(test_parallel_runs),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
