/* test_fft.c — real transforms against the definition in long double: FFTW's (or the fallback behind the
 * same calls) and the fallback by its own names, in both builds.
 *
 * Error bounds are relative in the 2-norm: a transform of N points makes a rounding error that grows with
 * log2 N passes, each of a unit roundoff or so (f64 1.1e-16, f32 6e-8): 4e-16·log2 N and 4e-7·log2 N; N < 2
 * counts as 2.
 */
#include "fft.h"
#include "fft_fallback.h"
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

typedef long double Real;

typedef struct Side { /* one implementation under test */
    const char *name;
    void *(*create)(const FftShape *);
    void (*forward)(void *, const void *, void *), (*inverse)(void *, void *, void *);
    void (*destroy)(void *);
} Side;

static void *shared_create(const FftShape *shape) {
    const FftPlan *plan;
    FraxError err;
    if (fft_plan(shape, &plan, &err)) fail_msg("%s", err.message);
    return (void *)plan;
}
static void shared_forward(void *plan, const void *x, void *s) {
    fft_forward(plan, x, s);
}
static void shared_inverse(void *plan, void *s, void *x) {
    fft_inverse(plan, s, x);
}
static void shared_destroy(void *plan) {
    (void)plan;
}
static void *own_create(const FftShape *shape) {
    return fallback_fft_create(shape);
}
static void own_forward(void *plan, const void *x, void *s) {
    fallback_fft_forward(plan, x, s);
}
static void own_inverse(void *plan, void *s, void *x) {
    fallback_fft_inverse(plan, s, x);
}
static void own_destroy(void *plan) {
    fallback_fft_destroy(plan);
}

static const Side sides[] = {
    {"shared", shared_create, shared_forward, shared_inverse, shared_destroy},
    {"fallback", own_create, own_forward, own_inverse, own_destroy},
};

static double random_value(void) {
    static uint64_t state = 88172645463325252u;
    state ^= state << 13, state ^= state >> 7, state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53 - 0.5;
}

static double get(FraxDType dtype, const void *data, int64_t i) {
    return dtype == FRAX_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void set(FraxDType dtype, void *data, int64_t i, double v) {
    if (dtype == FRAX_F64)
        ((double *)data)[i] = v;
    else
        ((float *)data)[i] = (float)v;
}

/* The definition along one axis of complex data [outer, n, inner], in place. */
static void dft_axis(Real *data, int64_t outer, int64_t n, int64_t inner) {
    Real *line = malloc((size_t)n * 2 * sizeof *line), *roots = malloc((size_t)n * 2 * sizeof *roots);
    const Real pi = acosl(-1);
    for (int64_t t = 0; t < n; t++) {
        roots[2 * t] = cosl(2 * pi * (Real)t / (Real)n);
        roots[2 * t + 1] = -sinl(2 * pi * (Real)t / (Real)n);
    }
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            Real *at = data + 2 * (o * n * inner + i);
            for (int64_t k = 0; k < n; k++) {
                Real re = 0, im = 0;
                for (int64_t t = 0; t < n; t++) {
                    const Real *x = at + 2 * t * inner, *w = roots + 2 * (k * t % n);
                    re += x[0] * w[0] - x[1] * w[1];
                    im += x[0] * w[1] + x[1] * w[0];
                }
                line[2 * k] = re, line[2 * k + 1] = im;
            }
            for (int64_t k = 0; k < n; k++) memcpy(at + 2 * k * inner, line + 2 * k, 2 * sizeof *line);
        }
    free(line);
    free(roots);
}

static void check(const Side *side, const FftShape *shape) {
    int64_t points = 1, last = shape->dims[shape->rank - 1], bins = last / 2 + 1;
    for (int i = 0; i < shape->rank; i++) points *= shape->dims[i];
    int64_t n = points * shape->rows, lines = n / last;
    size_t size = frax_dtype_size(shape->dtype);
    void *x = mem_aligned((size_t)n * size), *back = mem_aligned((size_t)n * size);
    void *s = mem_aligned((size_t)(lines * bins) * 2 * size);
    Real *exact = malloc((size_t)n * 2 * sizeof *exact);
    for (int64_t i = 0; i < n; i++) {
        set(shape->dtype, x, i, random_value());
        exact[2 * i] = get(shape->dtype, x, i), exact[2 * i + 1] = 0;
    }
    for (int i = 0, outer = (int)shape->rows; i < shape->rank; i++) {
        dft_axis(exact, outer, shape->dims[i], n / outer / shape->dims[i]);
        outer *= (int)shape->dims[i];
    }
    void *plan = side->create(shape);
    assert_non_null(plan);
    side->forward(plan, x, s);
    Real error = 0, norm = 0;
    for (int64_t l = 0; l < lines; l++)
        for (int64_t k = 0; k < 2 * bins; k++) {
            Real want = exact[2 * l * last + k], got = get(shape->dtype, s, 2 * l * bins + k);
            error += (got - want) * (got - want);
            norm += want * want;
        }
    double bound = (shape->dtype == FRAX_F64 ? 4e-16 : 4e-7) * log2((double)MAX(points, 2));
    double forward = (double)sqrtl(error / norm);
    side->inverse(plan, s, back);
    error = norm = 0;
    for (int64_t i = 0; i < n; i++) {
        Real want = get(shape->dtype, x, i), got = get(shape->dtype, back, i) / (Real)points;
        error += (got - want) * (got - want);
        norm += want * want;
    }
    double round_trip = (double)sqrtl(error / norm);
    if (!(forward <= bound) || !(round_trip <= 2 * bound))
        fail_msg("%s %s [%lld,%lld,%lld] rank %d rows %lld: errors %g and %g, bound %g", side->name,
                 frax_dtype_name(shape->dtype), (long long)shape->dims[0], (long long)shape->dims[1],
                 (long long)shape->dims[2], shape->rank, (long long)shape->rows, forward, round_trip, bound);
    side->destroy(plan);
    mem_free(x);
    mem_free(back);
    mem_free(s);
    free(exact);
}

static void check_all(FftShape shape) {
    for (size_t i = 0; i < COUNT(sides); i++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
            shape.dtype = dtype;
            check(&sides[i], &shape);
        }
}

static void test_lines(void **state) {
    (void)state;
    for (int64_t n = 1; n <= 64; n++) check_all((FftShape){.rank = 1, .dims = {n}, .rows = 1 + n % 3});
    static const int64_t lengths[] = {67,  97,  100, 127,  128,  210,  251,  343,
                                      360, 509, 512, 1009, 1021, 1024, 2042, 2187};
    for (size_t i = 0; i < COUNT(lengths); i++)
        check_all((FftShape){.rank = 1, .dims = {lengths[i]}, .rows = 1});
}

static void test_rows(void **state) {
    (void)state;
    static const int64_t rows[] = {1, 4, 15, 16, 17, 32, 37};
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_all((FftShape){.rank = 1, .dims = {24}, .rows = rows[i]});
        check_all((FftShape){.rank = 1, .dims = {9}, .rows = rows[i]});
    }
}

static void test_boxes(void **state) {
    (void)state;
    static const int64_t boxes[][3] = {{1, 1, 1}, {2, 3, 4},  {5, 1, 6}, {4, 7, 5},
                                       {8, 8, 8}, {3, 17, 2}, {1, 6, 19}};
    for (size_t i = 0; i < COUNT(boxes); i++) {
        const int64_t *b = boxes[i];
        check_all((FftShape){.rank = 3, .dims = {b[0], b[1], b[2]}, .rows = 3});
        check_all((FftShape){.rank = 2, .dims = {b[1], b[2]}, .rows = 17});
    }
}

/* fft.h promises that what DC and Nyquist hold in their imaginary parts does not matter. */
static void test_imaginary_ends_are_ignored(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(sides); i++)
        for (int64_t n = 1; n <= 9; n++) {
            FftShape shape = {FRAX_F64, 1, {n}, 1};
            void *plan = sides[i].create(&shape);
            _Alignas(64) double a[16] = {0}, b[16], x[16], y[16];
            for (int64_t k = 0; k <= n / 2; k++) a[2 * k] = random_value(), a[2 * k + 1] = random_value();
            memcpy(b, a, sizeof a);
            a[1] = 0;
            if (n % 2 == 0) a[n + 1] = 0;
            sides[i].inverse(plan, a, x);
            sides[i].inverse(plan, b, y);
            for (int64_t t = 0; t < n; t++) assert_true(fabs(x[t] - y[t]) <= 1e-15 * (double)n);
            sides[i].destroy(plan);
        }
}

static void test_plans_are_shared(void **state) {
    (void)state;
    FftShape shape = {FRAX_F64, 2, {6, 10}, 5};
    const FftPlan *a, *b, *c;
    assert_int_equal(fft_plan(&shape, &a, NULL), FRAX_OK);
    assert_int_equal(fft_plan(&shape, &b, NULL), FRAX_OK);
    shape.rows = 6;
    assert_int_equal(fft_plan(&shape, &c, NULL), FRAX_OK);
    assert_ptr_equal(a, b);
    assert_ptr_not_equal(a, c);
}

static void test_faults(void **state) {
    (void)state;
    const FftPlan *plan;
    FraxError err;
    assert_int_equal(fft_plan(&(FftShape){FRAX_F64, 1, {0}, 1}, &plan, &err), FRAX_SHAPE);
    assert_null(plan);
    assert_int_equal(fft_plan(&(FftShape){FRAX_F64, 4, {2, 2, 2}, 1}, &plan, &err), FRAX_INTERNAL);
    assert_int_equal(fft_plan(&(FftShape){FRAX_BF16, 1, {4}, 1}, &plan, &err), FRAX_INTERNAL);
}

/* Every allocation of planning fails in turn; the sizes are not planned elsewhere in this program. */
static void test_out_of_memory(void **state) {
    (void)state;
    FftShape shape = {FRAX_F32, 2, {34, 46}, 20};
    FraxStatus status = FRAX_MEMORY;
    int failures = 0;
    for (long n = 1; status == FRAX_MEMORY; n++) {
        const FftPlan *plan;
        FraxError err;
        mem_fail_after(n);
        status = fft_plan(&shape, &plan, &err);
        mem_fail_after(0);
        if (status) failures++;
        assert_true(status ? !plan : plan != NULL);
    }
    assert_int_equal(status, FRAX_OK);
    assert_in_range(failures, 3, 100);
    FallbackFft *own = NULL;
    failures = -1;
    for (long n = 1; !own; n++) {
        mem_fail_after(n);
        own = fallback_fft_create(&shape);
        mem_fail_after(0);
        failures++;
    }
    assert_in_range(failures, 8, 100);
    fallback_fft_destroy(own);
}

static void test_wisdom(void **state) {
    (void)state;
    Text text = {0};
    shared_create(&(FftShape){FRAX_F64, 1, {48}, 1});
    fft_wisdom_export(&text);
    assert_false(text.failed);
    assert_true(fft_wisdom_import(text.data ? text.data : ""));
    assert_false(fft_wisdom_import("no wisdom"));
    if (text.len) {
        text.data[text.len / 2] = '\0';
        assert_false(fft_wisdom_import(text.data));
    }
    text_free(&text);
}

typedef struct Job {
    void *plan;
    const Side *side;
    bool equal;
} Job;

static void *run_job(void *argument) {
    Job *job = argument;
    _Alignas(64) double x[51], first[52], again[52];
    for (int i = 0; i < 51; i++) x[i] = sin(i * 0.7);
    job->side->forward(job->plan, x, first);
    job->equal = true;
    for (int i = 0; i < 200; i++) {
        job->side->forward(job->plan, x, again);
        job->equal = job->equal && !memcmp(first, again, sizeof first);
    }
    return NULL;
}

/* Threads share one plan; the fallback's must not share scratch, nor fail when memory is short. */
static void test_parallel_execution(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(sides); i++)
        for (int starved = 0; starved < 2; starved++) {
            pthread_t threads[4];
            Job jobs[4];
            FftShape shape = {FRAX_F64, 1, {51}, 1};
            void *plan = sides[i].create(&shape);
            if (starved) mem_fail_after(1);
            for (int t = 0; t < 4; t++) {
                jobs[t] = (Job){plan, &sides[i], false};
                assert_int_equal(pthread_create(&threads[t], NULL, run_job, &jobs[t]), 0);
            }
            for (int t = 0; t < 4; t++) pthread_join(threads[t], NULL);
            mem_fail_after(0);
            for (int t = 0; t < 4; t++) assert_true(jobs[t].equal);
            sides[i].destroy(plan);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_boxes),
        cmocka_unit_test(test_imaginary_ends_are_ignored),
        cmocka_unit_test(test_plans_are_shared),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_wisdom),
        cmocka_unit_test(test_parallel_execution),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
