/* fft_fallback.c — a real transform of our own, for builds without FFTW. Behind fft.h.
 *
 * The complex transform is a self-sorting (Stockham) decimation in frequency with one pass per prime factor;
 * lengths with a prime factor above 13 go through Bluestein's convolution with a chirp (Bluestein 1970). All
 * arithmetic is f64, for f32 data too. A real line of even length n is packed into a complex one of n/2.
 * Further axes are complex transforms of lines gathered from the spectrum.
 *
 * Execution needs scratch memory but cannot fail: scratch_pool.h.
 */
#include "fft_fallback.h"
#include "scratch_pool.h"
#include <math.h>
#include <string.h>

enum { MAX_FACTORS = 64, LARGEST_RADIX = 13 };

/* Forward transform of n complex points. */
typedef struct Line {
    int64_t n;
    int nfactors, factors[MAX_FACTORS];
    Cx *roots;             /* e^{−2πi t/n} for t < n */
    struct Line *circular; /* Bluestein: the transform of the padded convolution, else NULL */
    Cx *chirp, *response;  /* e^{−πi t²/n}; the transform of its conjugate, over the padded length */
} Line;

struct FallbackFft {
    FftShape shape;
    Line *lines[3]; /* per axis; the last one of n/2 points if n is even */
    Cx *unpack;     /* e^{−2πi t/n}, t ≤ n/2, of an even last axis */
    size_t scratch_points;
    ScratchPool scratch;
};

static Cx cx_mul(Cx a, Cx b) {
    return (Cx){a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re};
}

/* Reduced to the first octant, so that the argument's rounding does not grow. */
Cx root_of_unity(int64_t t, int64_t n) {
    int64_t octant = 8 * t / n;
    int64_t rest = 8 * t - octant * n; /* of n, within the octant */
    double angle = M_PI / 4 * (double)(octant & 1 ? n - rest : rest) / (double)n;
    double c = cos(angle), s = sin(angle);
    switch (octant) {
    case 0: return (Cx){c, -s};
    case 1: return (Cx){s, -c};
    case 2: return (Cx){-s, -c};
    case 3: return (Cx){-c, -s};
    case 4: return (Cx){-c, s};
    case 5: return (Cx){-s, c};
    case 6: return (Cx){s, c};
    default: return (Cx){c, s};
    }
}

/* ---- One complex line ---- */

/* The r-point transform of a[0..r), by definition for r > 5, by symmetry for the commonest radices. */
static void butterfly(const Line *line, int r, const Cx *a, Cx *b) {
    if (r == 2) {
        b[0] = (Cx){a[0].re + a[1].re, a[0].im + a[1].im};
        b[1] = (Cx){a[0].re - a[1].re, a[0].im - a[1].im};
        return;
    }
    if (r == 4) {
        Cx s = {a[0].re + a[2].re, a[0].im + a[2].im}, d = {a[0].re - a[2].re, a[0].im - a[2].im};
        Cx t = {a[1].re + a[3].re, a[1].im + a[3].im}, e = {a[1].re - a[3].re, a[1].im - a[3].im};
        b[0] = (Cx){s.re + t.re, s.im + t.im}, b[2] = (Cx){s.re - t.re, s.im - t.im};
        b[1] = (Cx){d.re + e.im, d.im - e.re}, b[3] = (Cx){d.re - e.im, d.im + e.re};
        return;
    }
    for (int k = 0; k < r; k++) { /* odd r: pairs j and r−j share their products */
        double re = a[0].re, im = a[0].im;
        for (int j = 1; j <= r / 2; j++) {
            Cx w = line->roots[line->n / r * (j * k % r)];
            re += (a[j].re + a[r - j].re) * w.re - (a[j].im - a[r - j].im) * w.im;
            im += (a[j].im + a[r - j].im) * w.re + (a[j].re - a[r - j].re) * w.im;
        }
        b[k] = (Cx){re, im};
    }
}

/* One pass: r·m points with stride s become r transforms of m points with stride r·s. */
static void stockham_pass(const Line *line, int r, int64_t m, const Cx *x, Cx *y) {
    int64_t s = line->n / (r * m);
    for (int64_t p = 0; p < m; p++)
        for (int64_t q = 0; q < s; q++) {
            Cx a[LARGEST_RADIX], b[LARGEST_RADIX] = {{0, 0}};
            for (int j = 0; j < r; j++) a[j] = x[q + s * (p + m * j)];
            butterfly(line, r, a, b);
            y[q + s * r * p] = b[0];
            for (int k = 1; k < r; k++) y[q + s * (r * p + k)] = cx_mul(b[k], line->roots[p * k * s]);
        }
}

static size_t line_work(const Line *line) {
    return line->circular ? 2 * (size_t)line->circular->n : (size_t)line->n;
}

/* Transforms x in place; work has line_work(line) points. */
static void line_forward(const Line *line, Cx *x, Cx *work) {
    int64_t n = line->n;
    if (line->circular) {
        int64_t size = line->circular->n;
        for (int64_t t = 0; t < n; t++) work[t] = cx_mul(x[t], line->chirp[t]);
        memset(work + n, 0, (size_t)(size - n) * sizeof *work);
        line_forward(line->circular, work, work + size);
        for (int64_t t = 0; t < size; t++) { /* the conjugate turns the next transform into an inverse */
            Cx product = cx_mul(work[t], line->response[t]);
            work[t] = (Cx){product.re, -product.im};
        }
        line_forward(line->circular, work, work + size);
        for (int64_t t = 0; t < n; t++)
            x[t] = cx_mul((Cx){work[t].re / (double)size, -work[t].im / (double)size}, line->chirp[t]);
        return;
    }
    Cx *from = x, *to = work;
    int64_t m = n;
    for (int i = 0; i < line->nfactors; i++) {
        m /= line->factors[i];
        stockham_pass(line, line->factors[i], m, from, to);
        Cx *swap = from;
        from = to, to = swap;
    }
    if (from != x) memcpy(x, from, (size_t)n * sizeof *x);
}

static void line_destroy(Line *line) {
    if (!line) return;
    line_destroy(line->circular);
    mem_free(line->roots);
    mem_free(line->chirp);
    mem_free(line->response);
    mem_free(line);
}

/* Factors of n up to LARGEST_RADIX, fours first; returns what is left of n. */
static int64_t factorise(int64_t n, Line *line) {
    for (; n % 4 == 0; n /= 4) line->factors[line->nfactors++] = 4;
    for (int r = 2; r <= LARGEST_RADIX; r++)
        for (; n % r == 0; n /= r) line->factors[line->nfactors++] = r;
    return n;
}

static Line *line_create(int64_t n);

/* The chirp t ↦ e^{−πi t²/n} and the transform of its conjugate wrapped around a power of two ≥ 2n−1. */
static bool prepare_bluestein(Line *line) {
    int64_t n = line->n, size = 1;
    while (size < 2 * n - 1) size *= 2;
    line->circular = line_create(size);
    line->chirp = mem_alloc((size_t)n * sizeof *line->chirp);
    line->response = mem_calloc((size_t)size, sizeof *line->response);
    Cx *work = mem_alloc((size_t)size * sizeof *work);
    bool good = line->circular && line->chirp && line->response && work;
    for (int64_t t = 0, square = 0; good && t < n; square = (square + 2 * t + 1) % (2 * n), t++) {
        Cx c = line->chirp[t] = root_of_unity(square, 2 * n);
        line->response[t] = (Cx){c.re, -c.im};
        if (t) line->response[size - t] = line->response[t];
    }
    if (good) line_forward(line->circular, line->response, work);
    mem_free(work);
    return good;
}

static Line *line_create(int64_t n) {
    Line *line = mem_calloc(1, sizeof *line);
    if (!line) return NULL;
    line->n = n;
    bool good;
    if (factorise(n, line) > 1) {
        good = prepare_bluestein(line);
    } else {
        line->roots = mem_alloc((size_t)n * sizeof *line->roots);
        good = line->roots;
        for (int64_t t = 0; good && t < n; t++) line->roots[t] = root_of_unity(t, n);
    }
    if (good) return line;
    line_destroy(line);
    return NULL;
}

/* ---- Elements of either precision ---- */

static double load(const FallbackFft *plan, const void *data, int64_t i) {
    return plan->shape.dtype == FRAX_F64 ? ((const double *)data)[i] : (double)((const float *)data)[i];
}

static void store(const FallbackFft *plan, void *data, int64_t i, double v) {
    if (plan->shape.dtype == FRAX_F64)
        ((double *)data)[i] = v;
    else
        ((float *)data)[i] = (float)v;
}

static Cx load_cx(const FallbackFft *plan, const void *data, int64_t i) {
    return (Cx){load(plan, data, 2 * i), load(plan, data, 2 * i + 1)};
}

static void store_cx(const FallbackFft *plan, void *data, int64_t i, Cx v) {
    store(plan, data, 2 * i, v.re);
    store(plan, data, 2 * i + 1, v.im);
}

/* ---- Real lines: the last axis ---- */

static int64_t last_length(const FallbackFft *plan) {
    return plan->shape.dims[plan->shape.rank - 1];
}

/* Line number `row` of x to line number `row` of the spectrum. Even n: z_t = x_2t + i x_2t+1, and with
   Z its transform X_k = (Z_k + conj Z_{m−k})/2 − i/2 · e^{−2πik/n} (Z_k − conj Z_{m−k}), m = n/2. */
static void real_forward(const FallbackFft *plan, int64_t row, const void *x, void *spectrum, Cx *z) {
    const Line *line = plan->lines[plan->shape.rank - 1];
    int64_t n = last_length(plan), bins = n / 2 + 1, m = line->n;
    bool packed = n % 2 == 0;
    for (int64_t t = 0; t < m; t++)
        z[t] = packed ? load_cx(plan, x, row * m + t) : (Cx){load(plan, x, row * n + t), 0};
    line_forward(line, z, z + m);
    for (int64_t k = 0; k < bins; k++) {
        Cx value = z[packed && k == m ? 0 : k];
        if (packed) {
            Cx mirror = z[k ? m - k : 0];
            Cx even = {(value.re + mirror.re) / 2, (value.im - mirror.im) / 2};
            Cx odd = {(value.im + mirror.im) / 2, (mirror.re - value.re) / 2};
            odd = cx_mul(odd, plan->unpack[k]);
            value = (Cx){even.re + odd.re, even.im + odd.im};
        }
        store_cx(plan, spectrum, row * bins + k, value);
    }
}

/* The reverse, unnormalised. An inverse transform is a forward one of the conjugate, conjugated. */
static void real_inverse(const FallbackFft *plan, int64_t row, const void *spectrum, void *x, Cx *z) {
    const Line *line = plan->lines[plan->shape.rank - 1];
    int64_t n = last_length(plan), bins = n / 2 + 1, m = line->n;
    bool packed = n % 2 == 0;
    for (int64_t k = 0; k < m; k++) {
        int64_t at = !packed && k >= bins ? n - k : k;
        Cx value = load_cx(plan, spectrum, row * bins + at);
        if (at == 0) value.im = 0;
        if (packed) {
            Cx mirror = load_cx(plan, spectrum, row * bins + m - k);
            if (k == 0) mirror.im = 0;
            Cx even = {value.re + mirror.re, value.im - mirror.im};
            Cx odd = {value.re - mirror.re, value.im + mirror.im}; /* times e^{+2πik/n} */
            odd = cx_mul(odd, (Cx){plan->unpack[k].re, -plan->unpack[k].im});
            z[k] = (Cx){even.re - odd.im, -(even.im + odd.re)};
        } else {
            z[k] = (Cx){value.re, at == k ? -value.im : value.im};
        }
    }
    line_forward(line, z, z + m);
    for (int64_t t = 0; t < m; t++)
        if (packed)
            store_cx(plan, x, row * m + t, (Cx){z[t].re, -z[t].im});
        else
            store(plan, x, row * n + t, z[t].re);
}

/* ---- Complex lines: the other axes ---- */

static void axis_transform(const FallbackFft *plan, int axis, bool inverse, void *spectrum, Cx *z) {
    const Line *line = plan->lines[axis];
    int64_t n = line->n, outer = plan->shape.rows, inner = last_length(plan) / 2 + 1;
    for (int i = 0; i < axis; i++) outer *= plan->shape.dims[i];
    for (int i = axis + 1; i < plan->shape.rank - 1; i++) inner *= plan->shape.dims[i];
    double sign = inverse ? -1 : 1;
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            int64_t base = o * n * inner + i;
            for (int64_t t = 0; t < n; t++) {
                z[t] = load_cx(plan, spectrum, base + t * inner);
                z[t].im *= sign;
            }
            line_forward(line, z, z + n);
            for (int64_t t = 0; t < n; t++)
                store_cx(plan, spectrum, base + t * inner, (Cx){z[t].re, sign * z[t].im});
        }
}

static int64_t real_lines(const FallbackFft *plan) {
    int64_t lines = plan->shape.rows;
    for (int i = 0; i < plan->shape.rank - 1; i++) lines *= plan->shape.dims[i];
    return lines;
}

void fallback_fft_forward(FallbackFft *plan, const void *x, void *spectrum) {
    Cx *z = scratch_take(&plan->scratch);
    int64_t lines = real_lines(plan);
    for (int64_t row = 0; row < lines; row++) real_forward(plan, row, x, spectrum, z);
    for (int axis = plan->shape.rank - 2; axis >= 0; axis--) axis_transform(plan, axis, false, spectrum, z);
    scratch_give(&plan->scratch, z);
}

void fallback_fft_inverse(FallbackFft *plan, void *spectrum, void *x) {
    Cx *z = scratch_take(&plan->scratch);
    int64_t lines = real_lines(plan);
    for (int axis = 0; axis < plan->shape.rank - 1; axis++) axis_transform(plan, axis, true, spectrum, z);
    for (int64_t row = 0; row < lines; row++) real_inverse(plan, row, spectrum, x, z);
    scratch_give(&plan->scratch, z);
}

/* ---- Plans ---- */

void fallback_fft_destroy(FallbackFft *plan) {
    if (!plan) return;
    if (plan->scratch.bytes) scratch_pool_destroy(&plan->scratch);
    for (int i = 0; i < 3; i++) line_destroy(plan->lines[i]);
    mem_free(plan->unpack);
    mem_free(plan);
}

static bool prepare_axis(FallbackFft *plan, int axis) {
    int64_t n = plan->shape.dims[axis];
    bool packed = axis == plan->shape.rank - 1 && n % 2 == 0;
    Line *line = plan->lines[axis] = line_create(packed ? n / 2 : n);
    if (!line) return false;
    plan->scratch_points = MAX(plan->scratch_points, (size_t)line->n + line_work(line));
    if (!packed) return true;
    plan->unpack = mem_alloc((size_t)(n / 2 + 1) * sizeof *plan->unpack);
    for (int64_t t = 0; plan->unpack && t <= n / 2; t++) plan->unpack[t] = root_of_unity(t, n);
    return plan->unpack;
}

FallbackFft *fallback_fft_create(const FftShape *shape) {
    FallbackFft *plan = mem_calloc(1, sizeof *plan);
    if (!plan) return NULL;
    plan->shape = *shape;
    bool good = true;
    for (int axis = 0; good && axis < shape->rank; axis++) good = prepare_axis(plan, axis);
    if (good && scratch_pool_create(&plan->scratch, plan->scratch_points * sizeof(Cx))) return plan;
    fallback_fft_destroy(plan);
    return NULL;
}
