/* fft_long.c — see fft_long.h.
 *
 * A real line of 2m points is a complex one z of m = rows·columns points, a matrix (Bailey 1990, "FFTs in
 * external or hierarchical memory"): transform every column, multiply by e^{−2πi·row·column/m}, transform
 * every row; entry (r, c) of the result is bin r + rows·c of Z, and
 *
 *     X_k = E + wO,  X_{m−k} = conj(E − wO),  w = e^{−2πik/2m},
 *     E = (Z_k + conj Z_{m−k})/2,  O = −i(Z_k − conj Z_{m−k})/2.
 *
 * Bin m−k of bin (r, c) is (rows−r, columns−1−c), where row `rows` is row 0 shifted by one bin: so blocks of
 * rows from either end belong together, and X leaves them while they are in the cache. Memory is passed
 * through twice, in blocks of neighbouring columns or rows that are gathered into lines; FFTW transforms the
 * lines. The inverse does the same backwards.
 *
 * FFTW can share one transform out itself, but its real transforms of long lines do most of their work in a
 * first or last step that it does not share, in strides that miss every cache: two threads gained nothing
 * from 10^6 points on. And the callback that would fix the number of its jobs belongs to the whole process.
 *
 * What is computed in a block, and in which order, depends on nothing but its number; threads share out the
 * blocks.
 */
#ifdef FRAX_HAVE_FFTW
#include "fft_long.h"
#include "fft_fallback.h"
#include "scratch_pool.h"
#include "team.h"
#include "vector_math.h"
#include <fftw3.h>
#include <omp.h>
#include <string.h>

/* Points below which FFTW's own plan is faster in one thread: where rows and columns are multiples of
   EVEN_PARTS, and elsewhere (measured in f32, the worse case: 200000 points take 1.16 of FFTW's time, 500000
   take 1.0, 2^17 0.9, 2^20 0.8). */
enum { SHORTEST_EVEN = 1 << 17, SHORTEST = 1 << 19, EVEN_PARTS = 16 };

enum {
    LANE_BYTES = 256,  /* what a block takes of a row or gives to one at a time: four lines of the cache */
    TILE = 8,          /* rows whose lines stay in the cache while they become columns, or columns rows */
    AHEAD = 16,        /* rows that are announced to the cache */
    MOST_WORKERS = 16, /* each has buffers; the memory does not serve more of them */
    LOPSIDED = 4       /* columns over rows, or rows over columns, at most */
};

/* Seconds that FFTW may measure for one length and direction. */
static const double measuring_time = 0.05;

struct LongFft {
    FftShape shape;
    int64_t m, rows, columns;
    int64_t pitch;                        /* points from one line of a buffer to the next */
    int lanes;                            /* columns, or rows, of a block */
    void *column_plans[2], *row_plans[2]; /* forward and inverse, of one line */
    int fine_bits;                        /* e^{−2πi·t/m} = coarse[t >> fine_bits] · fine[t & …] */
    Cx *coarse, *fine;
    void *lane_roots; /* [lanes, rows + 1]: e^{−2πi·lane·row/m} */
    void *row_roots;  /* [rows + 1]: e^{−2πi·row/2m} */
    void *bin_roots;  /* [columns]: e^{−πi·column/columns} */
    ScratchPool scratch;
};

/* Neighbours in each of `length` rows of a matrix, `stride` points apart. */
typedef struct Lanes {
    int64_t first, length, stride;
    int count;
} Lanes;

/* One of the two passes over all blocks. */
typedef struct Pass {
    void (*block)(const struct Pass *pass, int64_t block, char *work); /* work: the worker's buffers */
    int64_t blocks;
    const LongFft *fft;
    const char *from;
    char *to;
} Pass;

static size_t complex_bytes(const LongFft *fft) {
    return 2 * frax_dtype_size(fft->shape.dtype);
}

static size_t buffer_bytes(const LongFft *fft) {
    return (size_t)(fft->lanes * fft->pitch) * complex_bytes(fft);
}

/* Two buffers and two lines. */
static size_t worker_bytes(const LongFft *fft) {
    return 2 * buffer_bytes(fft) + 2 * (size_t)fft->pitch * complex_bytes(fft);
}

/* Transposed, with the row that repeats row 0. */
static size_t matrix_bytes(const LongFft *fft) {
    return (size_t)(fft->columns * fft->pitch) * complex_bytes(fft);
}

static int64_t column_blocks(const LongFft *fft) {
    return (fft->columns + fft->lanes - 1) / fft->lanes;
}

static Lanes columns_of(const LongFft *fft, int64_t block) {
    int64_t first = block * fft->lanes;
    return (Lanes){first, fft->rows, fft->columns, (int)MIN(fft->lanes, fft->columns - first)};
}

/* Of rows 0…rows/2; those that mirror them belong to the same block. */
static int64_t row_blocks(const LongFft *fft) {
    return fft->rows / 2 / fft->lanes + 1;
}

/* As they lie in the spectrum. */
static Lanes rows_of(const LongFft *fft, int64_t block) {
    int64_t first = block * fft->lanes;
    return (Lanes){first, fft->columns, fft->rows, (int)MIN(fft->lanes, fft->rows / 2 - first + 1)};
}

static Lanes mirrored(const LongFft *fft, const Lanes *rows) {
    Lanes far = *rows;
    far.first = fft->rows - rows->first - rows->count + 1;
    return far;
}

/* Blocks go to whoever is free, and both passes to one team: on a busy machine a thread may come late. */
static void run_passes(const Pass passes[2], char *work, int threads) {
    size_t each = worker_bytes(passes->fft);
    int team = team_size(MIN(passes->blocks, MIN(threads, MOST_WORKERS)));
#pragma omp parallel num_threads(team) if (team > 1)
    {
        char *own = work + (size_t)omp_get_thread_num() * each;
        for (const Pass *pass = passes; pass < passes + 2; pass++) {
#pragma omp for schedule(dynamic)
            for (int64_t b = 0; b < pass->blocks; b++) pass->block(pass, b, own);
        }
    }
}

/* e^{−2πi·t/m} */
static Cx root_at(const LongFft *fft, int64_t t) {
    Cx a = fft->coarse[t >> fft->fine_bits], b = fft->fine[t & ((INT64_C(1) << fft->fine_bits) - 1)];
    return (Cx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

#define REAL      float
#define FFT(name) fftwf_##name
#define AS(name)  name##_f32
#include "fft_long_passes.h"
#undef REAL
#undef FFT
#undef AS
#define REAL      double
#define FFT(name) fftw_##name
#define AS(name)  name##_f64
#include "fft_long_passes.h"

/* ---- Planning ---- */

/* rows·columns = m, of about one size and with as many factors 2 as can be, for FFTW is fastest with them.
   Columns are even, so that every row is 16-byte aligned in f32 too. */
static bool split(int64_t m, int64_t *rows, int64_t *columns) {
    int64_t small = 1, twos = 0;
    while ((small + 1) * (small + 1) <= m) small++;
    for (; small * small * LOPSIDED >= m; small--) {
        if (m % small) continue;
        int64_t large = m / small, common = (small | large) & -(small | large);
        if (small % 2 && large % 2) return false;
        if (common <= twos) continue;
        twos = common;
        *rows = large % 2 ? large : small;
        *columns = large % 2 ? small : large;
    }
    return twos > 0;
}

bool fft_long_suits(const FftShape *shape) {
    int64_t n = shape->dims[0], rows, columns;
    if (shape->rank != 1 || n < SHORTEST_EVEN || n % 2 || !split(n / 2, &rows, &columns)) return false;
    return n >= SHORTEST || (rows % EVEN_PARTS == 0 && columns % EVEN_PARTS == 0);
}

static Cx *roots_table(int64_t count, int64_t step, int64_t order) {
    Cx *table = mem_alloc((size_t)count * sizeof *table);
    for (int64_t t = 0; table && t < count; t++) table[t] = root_of_unity(t * step % order, order);
    return table;
}

/* In the precision of the data; takes the exact ones over. */
static void *rounded(const LongFft *fft, Cx *exact, int64_t count) {
    if (!exact || fft->shape.dtype == FRAX_F64) return exact;
    float *table = mem_alloc((size_t)count * 2 * sizeof *table);
    for (int64_t t = 0; table && t < count; t++)
        table[2 * t] = (float)exact[t].re, table[2 * t + 1] = (float)exact[t].im;
    mem_free(exact);
    return table;
}

static void *lane_roots(const LongFft *fft) {
    int64_t length = fft->rows + 1, count = fft->lanes * length;
    Cx *exact = mem_alloc((size_t)count * sizeof *exact);
    for (int64_t i = 0; exact && i < count; i++)
        exact[i] = root_of_unity(i / length * (i % length) % fft->m, fft->m);
    return rounded(fft, exact, count);
}

static bool make_tables(LongFft *fft) {
    int64_t m = fft->m;
    while (INT64_C(1) << 2 * fft->fine_bits < m) fft->fine_bits++;
    int64_t fine = INT64_C(1) << fft->fine_bits;
    fft->fine = roots_table(fine, 1, m);
    fft->coarse = roots_table((m + fine - 1) / fine, fine, m);
    fft->row_roots = rounded(fft, roots_table(fft->rows + 1, 1, 2 * m), fft->rows + 1);
    fft->bin_roots = rounded(fft, roots_table(fft->columns, 1, 2 * fft->columns), fft->columns);
    fft->lane_roots = lane_roots(fft);
    return fft->fine && fft->coarse && fft->row_roots && fft->bin_roots && fft->lane_roots;
}

FraxStatus fft_long_create(const FftShape *shape, LongFft **out, FraxError *err) {
    LongFft *fft = mem_calloc(1, sizeof *fft);
    *out = NULL;
    if (!fft) return fail_memory(err, "planning a Fourier transform");
    fft->shape = *shape;
    fft->m = shape->dims[0] / 2;
    fft->lanes = (int)(LANE_BYTES / complex_bytes(fft));
    split(fft->m, &fft->rows, &fft->columns);
    int64_t line = 64 / (int64_t)complex_bytes(fft), lines = MAX(fft->rows + 1, fft->columns) / line + 1;
    fft->pitch = (lines + (lines % 2 == 0)) * line; /* an odd number of the cache's, lest lanes share a set */
    FraxStatus status = FRAX_OK;
    if (!make_tables(fft) ||
        !scratch_pool_create(&fft->scratch, matrix_bytes(fft) + MOST_WORKERS * worker_bytes(fft)))
        status = fail_memory(err, "planning a Fourier transform");
    else if (!(shape->dtype == FRAX_F64 ? plan_lines_f64(fft) : plan_lines_f32(fft)))
        status = fail(err, FRAX_UNSUPPORTED, "FFTW has no plan for a transform of %lld points",
                      (long long)shape->dims[0]);
    if (status)
        fft_long_destroy(fft);
    else
        *out = fft;
    return status;
}

void fft_long_destroy(LongFft *fft) {
    if (!fft) return;
    if (fft->shape.dtype == FRAX_F64)
        drop_plans_f64(fft);
    else
        drop_plans_f32(fft);
    if (fft->scratch.bytes) scratch_pool_destroy(&fft->scratch);
    mem_free(fft->fine);
    mem_free(fft->coarse);
    mem_free(fft->row_roots);
    mem_free(fft->bin_roots);
    mem_free(fft->lane_roots);
    mem_free(fft);
}

/* ---- Execution ---- */

/* The imaginary parts of DC and Nyquist. */
static void clear_real_bins(const LongFft *fft, char *spectrum) {
    size_t size = frax_dtype_size(fft->shape.dtype);
    memset(spectrum + size, 0, size);
    memset(spectrum + (size_t)fft->m * 2 * size + size, 0, size);
}

void fft_long_forward(LongFft *fft, const void *x, void *spectrum, int threads) {
    bool wide = fft->shape.dtype == FRAX_F64;
    char *matrix = scratch_take(&fft->scratch);
    Pass passes[] = {
        {wide ? columns_forward_f64 : columns_forward_f32, column_blocks(fft), fft, x, matrix},
        {wide ? rows_forward_f64 : rows_forward_f32, row_blocks(fft), fft, matrix, spectrum},
    };
    run_passes(passes, matrix + matrix_bytes(fft), threads);
    scratch_give(&fft->scratch, matrix);
    clear_real_bins(fft, spectrum);
}

void fft_long_inverse(LongFft *fft, void *spectrum, void *x, int threads) {
    bool wide = fft->shape.dtype == FRAX_F64;
    char *scratch = scratch_take(&fft->scratch);
    Pass passes[] = {
        {wide ? rows_inverse_f64 : rows_inverse_f32, row_blocks(fft), fft, spectrum, x},
        {wide ? columns_inverse_f64 : columns_inverse_f32, column_blocks(fft), fft, x, x},
    };
    clear_real_bins(fft, spectrum);
    run_passes(passes, scratch + matrix_bytes(fft), threads);
    scratch_give(&fft->scratch, scratch);
}

#endif
