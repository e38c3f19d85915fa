/* fftw.c — the spectral layer as an expert would write it on FFTW: the baselines of the sweep.
 *
 * guru: split-complex transforms of two rows at a time; naive: batched r2c, a product, batched c2r. Both are
 * planned with FFTW_PATIENT, without a limit of time, before anything is timed; what FFTW learns is kept in
 * the build folder, so that later runs plan at once. K is a table made beforehand, also where frax computes
 * it anew in each run because its order is learnt. The gradient keeps the spectra of x from the forward pass.
 * Without FFTW in the build there are no baselines.
 */
#include "bench.h"
#include "half.h"
#include <string.h>
#ifdef FRAX_HAVE_FFTW
#include <fftw3.h>
#include <omp.h>

enum {
    PAD = 96,               /* elements between planes, so that they do not lie at equal offsets of a page */
    LOSS_BLOCK = 4096,      /* elements that are summed in the precision of the data */
    CACHED_BYTES = 1 << 16, /* of the planes of a block of pairs */
    BATCH_BYTES = 1 << 18   /* of the rows of a batched transform */
};

struct Baseline {
    BaselineSpec spec;
    BaselineKind kind;
    int64_t length, bins, block; /* points of a transform; pairs (guru) or rows (naive) at a time */
    int64_t plane, scratch_length;
    const void *x;
    void *forward, *inverse; /* plans */
    void *k, *dk, *spectra, *products, *scratch, *y, *g, *dx;
    double loss, slope;
};

#define WISDOM FRAX_BUILD_DIR "/bench-fftw-wisdom"
static const double PLANNING_WORTH_KEEPING = 0.02; /* seconds */

#define REAL      float
#define FFT(name) fftwf_##name
#define AS(name)  name##_f32
#include "fftw_rows.h"
#undef REAL
#undef FFT
#undef AS
#define REAL      double
#define FFT(name) fftw_##name
#define AS(name)  name##_f64
#include "fftw_rows.h"

bool baseline_start(void) {
    fftwf_import_wisdom_from_filename(WISDOM "-f32");
    fftw_import_wisdom_from_filename(WISDOM "-f64");
    return true;
}

static void keep_wisdom(const Baseline *b) {
    if (b->spec.dtype == FRAX_F32)
        fftwf_export_wisdom_to_filename(WISDOM "-f32");
    else
        fftw_export_wisdom_to_filename(WISDOM "-f64");
}

/* ---- The symbol ---- */

/* K = (iω)^α and its derivative by α, as frax defines them at 0 and at the Nyquist frequency. */
static void weyl_symbol(const Baseline *b, double (*k)[2], double (*dk)[2]) {
    double alpha = b->spec.order, angle = alpha * M_PI / 2;
    for (int64_t i = 1; i < b->bins; i++) {
        double omega = 2 * M_PI * (double)i / ((double)b->length * b->spec.step), size = pow(omega, alpha);
        double re = size * cos(angle), im = size * sin(angle), log_re = log(omega), log_im = M_PI / 2;
        bool nyquist = 2 * i == b->length;
        k[i][0] = re, k[i][1] = nyquist ? 0 : im;
        dk[i][0] = re * log_re - im * log_im, dk[i][1] = nyquist ? 0 : re * log_im + im * log_re;
    }
}

static FraxStatus causal_symbol(const Baseline *b, double (*k)[2], FraxError *err) {
    double *weights = mem_calloc((size_t)b->length, sizeof *weights);
    if (!weights) return fail_memory(err, "the weights of a convolution");
    fftw_plan plan = fftw_plan_dft_r2c_1d((int)b->length, weights, k, FFTW_ESTIMATE);
    weights[0] = pow(b->spec.step, -b->spec.order);
    for (int64_t j = 1; j < b->spec.n; j++)
        weights[j] = weights[j - 1] * ((double)j - 1 - b->spec.order) / (double)j;
    fftw_execute(plan);
    fftw_destroy_plan(plan);
    mem_free(weights);
    return FRAX_OK;
}

static FraxStatus make_symbol(Baseline *b, FraxError *err) {
    double(*k)[2] = mem_calloc((size_t)b->bins, sizeof *k),
    (*dk)[2] = mem_calloc((size_t)b->bins, sizeof *dk);
    FraxStatus status = k && dk ? FRAX_OK : fail_memory(err, "the symbol of a baseline");
    if (!status && b->spec.causal) status = causal_symbol(b, k, err);
    if (!status && !b->spec.causal) weyl_symbol(b, k, dk);
    if (!status && b->spec.dtype == FRAX_F32)
        fill_symbols_f32(b, k, dk);
    else if (!status)
        fill_symbols_f64(b, k, dk);
    mem_free(k);
    mem_free(dk);
    return status;
}

/* ---- Making one ---- */

/* Pairs at a time: as many as the cache holds and as divide the work evenly. */
static int64_t pairs_at_a_time(const Baseline *b) {
    int64_t pairs = b->spec.rows / 2, size = (int64_t)frax_dtype_size(b->spec.dtype), block = 1;
    while (pairs % (2 * block) == 0 && 4 * block * b->length * size <= CACHED_BYTES &&
           pairs / (2 * block) >= b->spec.threads)
        block *= 2;
    return block;
}

/* Rows of one batched transform: plans of a few hundred kilobytes are as fast as larger ones and take seconds
   instead of minutes to find. An even number keeps each part aligned. */
static int64_t rows_at_a_time(const Baseline *b) {
    int64_t rows = b->spec.rows, size = (int64_t)frax_dtype_size(b->spec.dtype), block = rows;
    int64_t least = b->spec.threads > 1 ? 4 * b->spec.threads : 1;
    while (block % 4 == 0 && (block * b->length * size > BATCH_BYTES || rows / block < least)) block /= 2;
    return block;
}

static FraxStatus allocate(Baseline *b, FraxError *err) {
    bool guru = b->kind == GURU, gradient = b->spec.gradient;
    int64_t rows = b->spec.rows, values = rows * b->spec.n, pairs = 2 * b->block * b->length;
    int64_t spectra = guru ? gradient * 2 * b->plane * (rows / (2 * b->block)) : 2 * rows * b->bins;
    b->scratch_length = guru ? 2 * b->plane + b->spec.causal * 2 * pairs : 0;
    const struct {
        void **array;
        int64_t length;
    } arrays[] = {
        {&b->k, 2 * b->length},
        {&b->dk, 2 * b->length},
        {&b->spectra, spectra},
        {&b->products, gradient && !guru ? spectra : 0},
        {&b->y, values},
        {&b->scratch, b->spec.threads * b->scratch_length},
        {&b->g, gradient * values},
        {&b->dx, gradient * values},
    };
    for (size_t i = 0; i < COUNT(arrays); i++) {
        size_t bytes = (size_t)arrays[i].length * frax_dtype_size(b->spec.dtype);
        if (!bytes) continue;
        *arrays[i].array = mem_aligned(bytes);
        if (!*arrays[i].array) return fail_memory(err, "a baseline");
        memset(*arrays[i].array, 0, bytes);
    }
    return FRAX_OK;
}

FraxStatus baseline_create(const BaselineSpec *spec, BaselineKind kind, const void *x, Baseline **out,
                           FraxError *err) {
    *out = NULL;
    if (kind == GURU ? spec->rows % 2 != 0 : spec->causal) return FRAX_OK;
    Baseline *b = mem_calloc(1, sizeof *b);
    if (!b) return fail_memory(err, "a baseline");
    b->spec = *spec;
    b->kind = kind;
    b->x = x;
    b->length = spec->causal ? 2 * spec->n : spec->n;
    b->bins = b->length / 2 + 1;
    b->block = kind == GURU ? pairs_at_a_time(b) : rows_at_a_time(b);
    b->plane = kind == GURU ? b->block * b->length + PAD : 0;
    double start = seconds();
    FraxStatus status = allocate(b, err);
    if (!status) status = spec->dtype == FRAX_F32 ? plan_f32(b, err) : plan_f64(b, err);
    if (!status && seconds() - start > PLANNING_WORTH_KEEPING) keep_wisdom(b);
    if (!status) status = make_symbol(b, err);
    if (status)
        baseline_destroy(b);
    else
        *out = b;
    return status;
}

void baseline_destroy(Baseline *b) {
    if (!b) return;
    void *const arrays[] = {b->k, b->dk, b->spectra, b->products, b->scratch, b->y, b->g, b->dx};
    for (size_t i = 0; i < COUNT(arrays); i++) mem_free(arrays[i]);
    if (b->spec.dtype == FRAX_F32)
        destroy_plans_f32(b);
    else
        destroy_plans_f64(b);
    mem_free(b);
}

/* ---- Running one ---- */

FraxStatus baseline_run(void *baseline, FraxError *err) {
    Baseline *b = baseline;
    (void)err;
    if (b->spec.dtype == FRAX_F32)
        b->kind == GURU ? guru_f32(b) : naive_f32(b);
    else
        b->kind == GURU ? guru_f64(b) : naive_f64(b);
    return FRAX_OK;
}

static FraxStatus compare_scalar(const char *name, double expected, double got, const Baseline *b,
                                 FraxError *err) {
    double tolerance = b->spec.dtype == FRAX_F64 ? 1e-10 : 2e-4;
    if (fabs(got - expected) <= tolerance * fabs(expected)) return FRAX_OK;
    return fail(err, FRAX_INTERNAL, "%s differs: eager %.9g, FFTW %.9g", name, expected, got);
}

FraxStatus baseline_compare(const Baseline *b, const Pair *pair, FraxError *err) {
    const struct {
        const char *name;
        const void *array;
        double scalar;
    } results[] = {
        {"y", b->y, 0}, {"grad.x", b->dx, 0}, {"loss", NULL, b->loss}, {"grad.order", NULL, b->slope}};
    FraxTensor type;
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(results) && !status; i++) {
        const void *eager = pair_output(pair, EAGER, results[i].name, &type);
        if (!eager && !b->spec.gradient && i > 0) continue;
        if (!eager) return fail(err, FRAX_INTERNAL, "the model has no output %s", results[i].name);
        status = results[i].array
                     ? compare_arrays(results[i].name, &type, eager, results[i].array, "FFTW", err)
                     : compare_scalar(results[i].name, element_get(eager, type.dtype, 0), results[i].scalar,
                                      b, err);
    }
    return status;
}

#else

bool baseline_start(void) {
    return false;
}

FraxStatus baseline_create(const BaselineSpec *spec, BaselineKind kind, const void *x, Baseline **out,
                           FraxError *err) {
    (void)spec, (void)kind, (void)x, (void)err;
    *out = NULL;
    return FRAX_OK;
}

FraxStatus baseline_run(void *baseline, FraxError *err) {
    (void)baseline;
    return fail(err, FRAX_UNSUPPORTED, "this build has no FFTW");
}

FraxStatus baseline_compare(const Baseline *baseline, const Pair *pair, FraxError *err) {
    (void)pair;
    return baseline_run((void *)baseline, err);
}

void baseline_destroy(Baseline *baseline) {
    (void)baseline;
}
#endif
