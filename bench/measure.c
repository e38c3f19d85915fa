/* measure.c — timing in turn, and models compiled for both targets on the same data. See bench.h.
 */
#define _GNU_SOURCE /* RUSAGE_THREAD */
#include "bench.h"
#include "files.h"
#include "half.h"
#include "rng.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MIN_REPEAT = 7, MAX_REPEAT = 1000, CLASSES = 10, SEED = 20240229 };
static const double SECONDS_PER_SAMPLE = 200e-6, SECONDS_PER_CASE = 1.5, SECONDS_QUICK = 0.2;

double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* ---- Timing ---- */

/* How often the system has taken the processor from this thread. */
static long interruptions(void) {
    struct rusage usage;
    return getrusage(RUSAGE_THREAD, &usage) == 0 ? usage.ru_nivcsw : 0;
}

/* Seconds of one run, over `inner` runs in a row; negative when the thread was interrupted meanwhile. */
static FraxStatus sample(const Contestant *c, int64_t inner, double *result, FraxError *err) {
    FraxStatus status = FRAX_OK;
    long before = interruptions();
    double start = seconds();
    for (int64_t i = 0; i < inner && !status; i++) status = c->run(c->context, err);
    *result = (seconds() - start) / (double)inner;
    if (interruptions() != before) *result = -*result;
    return status;
}

/* The median of the samples without an interruption; of all, if there is none. */
static double median_sample(double *samples, size_t n) {
    size_t good = 0;
    for (size_t i = 0; i < n; i++) good += samples[i] > 0;
    bool all = good == 0;
    good = 0;
    for (size_t i = 0; i < n; i++)
        if (all || samples[i] > 0) samples[good++] = fabs(samples[i]);
    return median(samples, good);
}

/* How many runs make one sample long enough for the clock; warms up. */
static FraxStatus choose_inner(const Contestant *c, int64_t *inner, double *estimate, FraxError *err) {
    FraxStatus status = FRAX_OK;
    *inner = 1;
    for (int warm = 0; warm < 3 && !status; warm++) {
        status = sample(c, *inner, estimate, err);
        *estimate = fabs(*estimate);
        *inner = 1 + (int64_t)(SECONDS_PER_SAMPLE / fmax(*estimate, 1e-9));
    }
    return status;
}

FraxStatus time_in_turn(Contestant *all, size_t n, const Settings *settings, size_t *repeat, FraxError *err) {
    enum { MOST = 6 };
    int64_t inner[MOST];
    double round = 0, estimate = 0;
    FraxStatus status = FRAX_OK;
    for (size_t c = 0; c < n && !status; c++) {
        status = choose_inner(&all[c], &inner[c], &estimate, err);
        round += estimate * (double)inner[c];
    }
    if (status) return status;
    double budget = settings->quick ? SECONDS_QUICK : SECONDS_PER_CASE;
    *repeat = (size_t)fmin(fmax(budget / round, MIN_REPEAT), MAX_REPEAT);
    double *times = mem_calloc(*repeat, n * sizeof *times);
    if (!times) return fail_memory(err, "the timings");
    for (size_t i = 0; i < *repeat && !status; i++)
        for (size_t c = 0; c < n && !status; c++)
            status = sample(&all[c], inner[c], &times[c * *repeat + i], err);
    for (size_t c = 0; c < n; c++) all[c].seconds = median_sample(times + c * *repeat, *repeat);
    mem_free(times);
    return status;
}

/* ---- Pairs ---- */

size_t type_bytes_of(const FraxTensor *type) {
    return (size_t)tensor_count(type) * frax_dtype_size(type->dtype);
}

static FraxStatus allocate(const FraxExecutable *exe, FraxRole role, void ***buffers, FraxError *err) {
    size_t n = frax_executable_count(exe, role);
    *buffers = mem_calloc(n + 1, sizeof **buffers);
    if (!*buffers) return fail_memory(err, "the data");
    for (size_t i = 0; i < n; i++) {
        FraxTensor type = frax_executable_type(exe, role, i);
        (*buffers)[i] = mem_aligned(MAX(type_bytes_of(&type), 1));
        if (!(*buffers)[i]) return fail_memory(err, "the data");
    }
    return FRAX_OK;
}

static FraxStatus fill(Pair *p, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < p->count[FRAX_INPUT]; i++) {
        FraxTensor tensor = frax_executable_type(p->exe[FUSED], FRAX_INPUT, i);
        tensor.data = p->inputs[i];
        fill_noise(&tensor, SEED, (uint32_t)i, CLASSES);
    }
    for (size_t i = 0; i < p->count[FRAX_PARAM] && !status; i++)
        status = frax_initial_param(p->exe[FUSED], i, SEED, p->params[i], err);
    return status;
}

FraxStatus pair_open(Pair *p, const FraxModel *model, const FraxOptions *options, FraxError *err) {
    FraxOptions each = *options;
    FraxStatus status = FRAX_OK;
    *p = (Pair){0};
    for (int t = 0; t < TARGETS && !status; t++) {
        each.target = t == FUSED ? FRAX_CPU : FRAX_EAGER;
        status = frax_compile(model, &each, &p->exe[t], err);
        if (!status) status = allocate(p->exe[t], FRAX_OUTPUT, &p->outputs[t], err);
    }
    for (int role = 0; role < 3 && !status; role++)
        p->count[role] = frax_executable_count(p->exe[FUSED], (FraxRole)role);
    if (!status) status = allocate(p->exe[FUSED], FRAX_INPUT, &p->inputs, err);
    if (!status) status = allocate(p->exe[FUSED], FRAX_PARAM, &p->params, err);
    return status ? status : fill(p, err);
}

static void release(void **buffers, size_t n) {
    for (size_t i = 0; buffers && i < n; i++) mem_free(buffers[i]);
    mem_free(buffers);
}

void pair_close(Pair *p) {
    for (int t = 0; t < TARGETS; t++) {
        release(p->outputs[t], p->exe[t] ? frax_executable_count(p->exe[t], FRAX_OUTPUT) : 0);
        frax_executable_destroy(p->exe[t]);
    }
    release(p->inputs, p->count[FRAX_INPUT]);
    release(p->params, p->count[FRAX_PARAM]);
    *p = (Pair){0};
}

FraxStatus pair_run(const Pair *p, int target, FraxError *err) {
    return frax_run(p->exe[target], (const void *const *)p->inputs, (const void *const *)p->params,
                    p->outputs[target], err);
}

/* Sums are taken in different orders: differences count against the largest entry of the array. */
FraxStatus compare_arrays(const char *name, const FraxTensor *type, const void *a, const void *b,
                          const char *who, FraxError *err) {
    double tolerance = type->dtype == FRAX_F64 ? 1e-10 : 2e-4, scale = 0;
    int64_t n = tensor_count(type);
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(element_get(a, type->dtype, i)));
    for (int64_t i = 0; i < n; i++) {
        double x = element_get(a, type->dtype, i), y = element_get(b, type->dtype, i);
        if (!(fabs(x - y) <= tolerance * scale))
            return fail(err, FRAX_INTERNAL, "%s differs at element %lld: eager %.9g, %s %.9g", name,
                        (long long)i, x, who, y);
    }
    return FRAX_OK;
}

FraxStatus pair_compare(const Pair *p, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (int t = 0; t < TARGETS && !status; t++) status = pair_run(p, t, err);
    for (size_t i = 0; i < p->count[FRAX_OUTPUT] && !status; i++) {
        FraxTensor type = frax_executable_type(p->exe[FUSED], FRAX_OUTPUT, i);
        const char *name = frax_executable_name(p->exe[FUSED], FRAX_OUTPUT, i);
        status = compare_arrays(name, &type, p->outputs[EAGER][i], p->outputs[FUSED][i], "fused", err);
    }
    return status;
}

void *pair_output(const Pair *p, int target, const char *name, FraxTensor *type) {
    for (size_t i = 0; i < p->count[FRAX_OUTPUT]; i++) {
        if (strcmp(frax_executable_name(p->exe[target], FRAX_OUTPUT, i), name) != 0) continue;
        *type = frax_executable_type(p->exe[target], FRAX_OUTPUT, i);
        return p->outputs[target][i];
    }
    return NULL;
}

/* ---- Contestants ---- */

FraxStatus run_fused(void *pair, FraxError *err) {
    return pair_run(pair, FUSED, err);
}

FraxStatus run_eager(void *pair, FraxError *err) {
    return pair_run(pair, EAGER, err);
}

FraxStatus run_copy(void *copy, FraxError *err) {
    const Copy *c = copy;
    (void)err;
    if (c->threads == 1) {
        memcpy(c->to, c->from, c->bytes);
        return FRAX_OK;
    }
#pragma omp parallel num_threads(c->threads)
    {
        size_t id = (size_t)omp_get_thread_num(), n = (size_t)omp_get_num_threads();
        size_t begin = c->bytes * id / n, end = c->bytes * (id + 1) / n;
        memcpy(c->to + begin, c->from + begin, end - begin);
    }
    return FRAX_OK;
}

FraxOptions options_for(const Sizes *sizes, int threads, FraxMode mode) {
    FraxOptions options = frax_default_options();
    options.sizes = sizes->list;
    options.nsizes = sizes->list[1].name[0] ? 2 : 1;
    options.threads = threads;
    options.mode = mode;
    options.no_cache = 1;
    return options;
}
