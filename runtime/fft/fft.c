/* fft.c — the shared plans of fft.h, made by FFTW or, in a build without it, by fft_fallback.c.
 *
 * Rows are transformed in blocks of a fixed number, so that the plan of a block serves every row count, its
 * scratch arrays stay small while it is measured, and a caller that splits rows over threads gets the same
 * bits. A block keeps each of its arrays 16-byte aligned, which is all that FFTW asks of an array given to
 * an existing plan. Long rows are transformed one by one, in blocks of their own (fft_long.h). FFTW's planner
 * is not thread-safe: one mutex guards it and the list of plans; execution needs none.
 */
#include "fft.h"
#include "fft_fallback.h"
#include <pthread.h>
#include <string.h>

#ifdef FRAX_HAVE_FFTW
#include "fft_long.h"
#include <fftw3.h>

enum {
    BLOCK = 16,                    /* rows of a block; a multiple of 4 keeps the alignment */
    BLOCK_OF_LARGE = 4,            /* when 16 rows are too many points to measure */
    MEASURED_POINTS = 1024 * 1024, /* blocks of more points are planned by FFTW's estimate */
    PLAN_DIRECTIONS = 2
};

/* Seconds that FFTW may measure for one direction of one block. */
static const double measuring_time = 0.1;

/* Both directions of `rows` transforms; in f64 or in f32. */
typedef struct Block {
    struct Block *next;
    FftShape shape;
    fftw_plan forward, inverse;
    fftwf_plan forward32, inverse32;
} Block;
#endif

struct FftPlan {
    struct FftPlan *next;
    FftShape shape;
    int64_t real_bytes, spectrum_bytes; /* of one row */
#ifdef FRAX_HAVE_FFTW
    LongFft *line;            /* of a row where it is long, else NULL */
    const Block *body, *tail; /* else blocks of body->shape.rows, then the rest; NULL: none */
#else
    FallbackFft *fallback;
#endif
};

static struct {
    pthread_mutex_t lock;
    struct FftPlan *plans;
#ifdef FRAX_HAVE_FFTW
    Block *blocks;
#endif
} cache = {.lock = PTHREAD_MUTEX_INITIALIZER};

static _Thread_local int allowed_threads = 1;

static bool same_transform(const FftShape *a, const FftShape *b) {
    if (a->dtype != b->dtype || a->rank != b->rank || a->rows != b->rows) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

static int64_t real_points(const FftShape *shape) {
    int64_t points = 1;
    for (int i = 0; i < shape->rank; i++) points *= shape->dims[i];
    return points;
}

static int64_t spectrum_points(const FftShape *shape) {
    int64_t last = shape->dims[shape->rank - 1];
    return real_points(shape) / last * (last / 2 + 1);
}

#ifdef FRAX_HAVE_FFTW

bool fft_is_long(const FftShape *shape) {
    return fft_long_suits(shape);
}

/* ---- Planning a block ---- */

typedef struct GuruShape {
    fftw_iodim64 dims[3], rows; /* real to complex; fftwf_iodim64 is the same type */
} GuruShape;

static GuruShape guru_shape(const FftShape *shape, bool inverse) {
    GuruShape g = {.rows = {shape->rows, real_points(shape), spectrum_points(shape)}};
    int64_t real = 1, bins = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        g.dims[i] = (fftw_iodim64){shape->dims[i], real, bins};
        real *= shape->dims[i];
        bins *= i == shape->rank - 1 ? shape->dims[i] / 2 + 1 : shape->dims[i];
    }
    fftw_iodim64 *all[] = {&g.dims[0], &g.dims[1], &g.dims[2], &g.rows};
    for (size_t i = 0; inverse && i < COUNT(all); i++)
        *all[i] = (fftw_iodim64){all[i]->n, all[i]->os, all[i]->is};
    return g;
}

static bool plan_directions(Block *block, void *x, void *spectrum, unsigned effort) {
    const FftShape *shape = &block->shape;
    GuruShape f = guru_shape(shape, false), b = guru_shape(shape, true);
    int rank = shape->rank;
    unsigned destroy = effort | FFTW_DESTROY_INPUT;
    if (shape->dtype == FRAX_F64) {
        block->forward = fftw_plan_guru64_dft_r2c(rank, f.dims, 1, &f.rows, x, spectrum, effort);
        block->inverse = fftw_plan_guru64_dft_c2r(rank, b.dims, 1, &b.rows, spectrum, x, destroy);
        return block->forward && block->inverse;
    }
    block->forward32 = fftwf_plan_guru64_dft_r2c(rank, f.dims, 1, &f.rows, x, spectrum, effort);
    block->inverse32 = fftwf_plan_guru64_dft_c2r(rank, b.dims, 1, &b.rows, spectrum, x, destroy);
    return block->forward32 && block->inverse32;
}

static void block_destroy(Block *block) {
    if (block->forward) fftw_destroy_plan(block->forward);
    if (block->inverse) fftw_destroy_plan(block->inverse);
    if (block->forward32) fftwf_destroy_plan(block->forward32);
    if (block->inverse32) fftwf_destroy_plan(block->inverse32);
    mem_free(block);
}

static FraxStatus block_create(const FftShape *shape, Block **out, FraxError *err) {
    bool measured = real_points(shape) * shape->rows <= MEASURED_POINTS;
    size_t size = frax_dtype_size(shape->dtype), rows = (size_t)shape->rows;
    Block *block = mem_calloc(1, sizeof *block);
    void *x = mem_aligned((size_t)real_points(shape) * rows * size);
    void *spectrum = mem_aligned((size_t)spectrum_points(shape) * rows * 2 * size);
    FraxStatus status = FRAX_OK;
    if (!block || !x || !spectrum) {
        status = fail_memory(err, "planning a Fourier transform");
        goto done;
    }
    block->shape = *shape;
    fftw_set_timelimit(measuring_time);
    fftwf_set_timelimit(measuring_time);
    if (!plan_directions(block, x, spectrum, measured ? FFTW_MEASURE : FFTW_ESTIMATE))
        status = fail(err, FRAX_UNSUPPORTED, "FFTW has no plan for a transform of %lld points",
                      (long long)real_points(shape));
done:
    mem_free(x);
    mem_free(spectrum);
    if (status && block) block_destroy(block);
    *out = status ? NULL : block;
    return status;
}

static FraxStatus block_find(const FftShape *shape, int64_t rows, const Block **out, FraxError *err) {
    FftShape wanted = *shape;
    wanted.rows = rows;
    *out = NULL;
    if (rows == 0) return FRAX_OK;
    for (Block *b = cache.blocks; b && !*out; b = b->next)
        if (same_transform(&b->shape, &wanted)) *out = b;
    if (*out) return FRAX_OK;
    Block *made = NULL;
    FraxStatus status = block_create(&wanted, &made, err);
    if (status) return status;
    made->next = cache.blocks;
    *out = cache.blocks = made;
    return FRAX_OK;
}

static FraxStatus plan_prepare(FftPlan *plan, FraxError *err) {
    if (fft_is_long(&plan->shape)) return fft_long_create(&plan->shape, &plan->line, err);
    int64_t block = real_points(&plan->shape) * BLOCK <= MEASURED_POINTS ? BLOCK : BLOCK_OF_LARGE;
    int64_t rows = plan->shape.rows;
    FraxStatus status = block_find(&plan->shape, rows >= block ? block : 0, &plan->body, err);
    if (!status) status = block_find(&plan->shape, rows % block, &plan->tail, err);
    return status;
}

/* ---- Execution ---- */

static void block_forward(const Block *block, const void *x, void *spectrum) {
    if (block->shape.dtype == FRAX_F64)
        fftw_execute_dft_r2c(block->forward, (double *)x, spectrum);
    else
        fftwf_execute_dft_r2c(block->forward32, (float *)x, spectrum);
}

static void block_inverse(const Block *block, void *spectrum, void *x) {
    if (block->shape.dtype == FRAX_F64)
        fftw_execute_dft_c2r(block->inverse, spectrum, x);
    else
        fftwf_execute_dft_c2r(block->inverse32, spectrum, x);
}

void fft_forward(const FftPlan *plan, const void *x, void *spectrum) {
    const char *from = x;
    char *to = spectrum;
    if (plan->line) {
        for (int64_t row = 0; row < plan->shape.rows; row++)
            fft_long_forward(plan->line, from + row * plan->real_bytes, to + row * plan->spectrum_bytes,
                             allowed_threads);
        return;
    }
    for (int64_t row = 0; row < plan->shape.rows;) {
        const Block *block =
            plan->body && plan->shape.rows - row >= plan->body->shape.rows ? plan->body : plan->tail;
        block_forward(block, from + row * plan->real_bytes, to + row * plan->spectrum_bytes);
        row += block->shape.rows;
    }
}

void fft_inverse(const FftPlan *plan, void *spectrum, void *x) {
    char *from = spectrum, *to = x;
    if (plan->line) {
        for (int64_t row = 0; row < plan->shape.rows; row++)
            fft_long_inverse(plan->line, from + row * plan->spectrum_bytes, to + row * plan->real_bytes,
                             allowed_threads);
        return;
    }
    for (int64_t row = 0; row < plan->shape.rows;) {
        const Block *block =
            plan->body && plan->shape.rows - row >= plan->body->shape.rows ? plan->body : plan->tail;
        block_inverse(block, from + row * plan->spectrum_bytes, to + row * plan->real_bytes);
        row += block->shape.rows;
    }
}

/* ---- Wisdom: FFTW keeps that of each precision apart; the text holds both ---- */

static const char wisdom_border[] = "\n;f32\n";

static void append_character(char c, void *out) {
    text_append(out, &c, 1);
}

void fft_wisdom_export(Text *out) {
    pthread_mutex_lock(&cache.lock);
    fftw_export_wisdom(append_character, out);
    text_printf(out, "%s", wisdom_border);
    fftwf_export_wisdom(append_character, out);
    pthread_mutex_unlock(&cache.lock);
}

bool fft_wisdom_import(const char *text) {
    const char *border = strstr(text, wisdom_border);
    if (!border) return false;
    pthread_mutex_lock(&cache.lock);
    bool good = fftw_import_wisdom_from_string(text);
    good = fftwf_import_wisdom_from_string(border + strlen(wisdom_border)) && good;
    pthread_mutex_unlock(&cache.lock);
    return good;
}

#else

static FraxStatus plan_prepare(FftPlan *plan, FraxError *err) {
    plan->fallback = fallback_fft_create(&plan->shape);
    return plan->fallback ? FRAX_OK : fail_memory(err, "planning a Fourier transform");
}

bool fft_is_long(const FftShape *shape) {
    (void)shape;
    return false;
}

void fft_forward(const FftPlan *plan, const void *x, void *spectrum) {
    fallback_fft_forward(plan->fallback, x, spectrum);
}

void fft_inverse(const FftPlan *plan, void *spectrum, void *x) {
    fallback_fft_inverse(plan->fallback, spectrum, x);
}

void fft_wisdom_export(Text *out) {
    text_append(out, "", 0);
}

bool fft_wisdom_import(const char *text) {
    return text[0] == '\0';
}

#endif

void fft_allow_threads(int threads) {
    allowed_threads = threads;
}

/* ---- The shared plans ---- */

static FraxStatus plan_create(const FftShape *shape, FftPlan **out, FraxError *err) {
    FftPlan *plan = mem_calloc(1, sizeof *plan);
    if (!plan) return fail_memory(err, "planning a Fourier transform");
    int64_t size = (int64_t)frax_dtype_size(shape->dtype);
    *plan = (FftPlan){.shape = *shape,
                      .real_bytes = real_points(shape) * size,
                      .spectrum_bytes = spectrum_points(shape) * 2 * size};
    FraxStatus status = plan_prepare(plan, err);
    if (status) {
        mem_free(plan);
        plan = NULL;
    }
    *out = plan;
    return status;
}

FraxStatus fft_plan(const FftShape *shape, const FftPlan **out, FraxError *err) {
    *out = NULL;
    if ((shape->dtype != FRAX_F64 && shape->dtype != FRAX_F32) || shape->rank < 1 || shape->rank > 3)
        return fail(err, FRAX_INTERNAL, "a Fourier transform of %s in %d axes, expected f64 or f32 in 1…3",
                    frax_dtype_name(shape->dtype), shape->rank);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] < 1)
            return fail(err, FRAX_SHAPE, "a Fourier transform of length %lld", (long long)shape->dims[i]);
    FraxStatus status = FRAX_OK;
    pthread_mutex_lock(&cache.lock);
    const FftPlan *found = cache.plans;
    while (found && !same_transform(&found->shape, shape)) found = found->next;
    if (!found) {
        FftPlan *made = NULL;
        status = plan_create(shape, &made, err);
        if (!status) {
            made->next = cache.plans;
            found = cache.plans = made;
        }
    }
    pthread_mutex_unlock(&cache.lock);
    *out = status ? NULL : found;
    return status;
}
