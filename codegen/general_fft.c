/* general_fft.c — real transforms of any length and of one to three axes as generated code, for programs that
 * may call no library.
 *
 * The complex transform of n points works on planes. Lengths without other prime factors than 2, 3, 5 and 7
 * go through the transform of pairs, whose bins are then put in order. The others are a convolution with a
 * chirp (Bluestein 1970): with w_j = e^{−πi j²/n},
 *
 *     X_k = w_k Σ_j (x_j w_j) conj w_{k−j},
 *
 * which a filter of the next power of two m ≥ 2n − 1 computes, its spectrum being a table. The inverse is the
 * forward transform with the planes exchanged.
 */
#include "fft_generator.h"
#include "kernel.h"
#include "pair_fft.h"
#include <math.h>

enum { PLANES = 6, PLANE_PAD = 144 };

static const long double pi = 3.14159265358979323846264338327950288L;

typedef struct Dft {
    Emitter *e;
    FraxDType dtype;
    int64_t n, m; /* m: of the filter; 0: none */
    Em in_re, in_im, out_re, out_im, work;
    Em chirp[2]; /* tables */
    int lanes;
} Dft;

/* ---- Shapes ---- */

bool general_fft_fits(const FftShape *shape) {
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > LONGEST_GENERAL) return false;
    return shape->dtype == FRAX_F32 || shape->dtype == FRAX_F64;
}

static bool is_smooth(FraxDType dtype, int64_t n) {
    return is_generated_length(dtype, n);
}

static int64_t filter_length(FraxDType dtype, int64_t n) {
    int64_t m = 64;
    if (is_smooth(dtype, n)) return 0;
    while (m < 2 * n - 1) m *= 2;
    return m;
}

static int64_t plane_elements(const FftShape *shape) {
    int64_t most = 0;
    for (int i = 0; i < shape->rank; i++)
        most = MAX(most, MAX(shape->dims[i], filter_length(shape->dtype, shape->dims[i])));
    return (most + 15) / 16 * 16 + PLANE_PAD;
}

size_t general_fft_work_bytes(const FftShape *shape) {
    return PLANES * (size_t)plane_elements(shape) * frax_dtype_size(shape->dtype);
}

void general_fft_name(const FftShape *shape, bool inverse, char name[80]) {
    int length = snprintf(name, 80, "frax_general_fft_%s", frax_dtype_name(shape->dtype));
    for (int i = 0; i < shape->rank; i++)
        length += snprintf(name + length, 80 - (size_t)length, "_%lld", (long long)shape->dims[i]);
    snprintf(name + length, 80 - (size_t)length, inverse ? "_inverse" : "_forward");
}

static void dft_name(FraxDType dtype, int64_t n, char name[48]) {
    snprintf(name, 48, "frax_dft_%s_%lld", frax_dtype_name(dtype), (long long)n);
}

/* ---- Tables ---- */

/* w_j; j² is reduced modulo 2n first, for the sake of long rows. */
static void chirp(int64_t j, int64_t n, long double *re, long double *im) {
    long double angle = pi * (long double)(int64_t)((__int128)j * j % (2 * n)) / (long double)n;
    *re = cosl(angle);
    *im = -sinl(angle);
}

/* The spectrum of z, of a power of two m, in place: radix 2, after bit reversal. */
static void transform_table(long double *re, long double *im, int64_t m) {
    for (int64_t i = 1, j = 0; i < m; i++) {
        int64_t bit = m >> 1;
        for (; j & bit; bit >>= 1) j ^= bit;
        j ^= bit;
        if (i >= j) continue;
        long double r = re[i], s = im[i];
        re[i] = re[j], im[i] = im[j];
        re[j] = r, im[j] = s;
    }
    for (int64_t half = 1; half < m; half *= 2)
        for (int64_t k = 0; k < half; k++) {
            long double c = cosl(pi * (long double)k / (long double)half),
                        s = -sinl(pi * (long double)k / (long double)half);
            for (int64_t i = k; i < m; i += 2 * half) {
                long double r = re[i + half] * c - im[i + half] * s, t = re[i + half] * s + im[i + half] * c;
                re[i + half] = re[i] - r, im[i + half] = im[i] - t;
                re[i] += r, im[i] += t;
            }
        }
}

/* The spectrum of conj w, which is even, over m: K of the filter, in the order of the plan. */
static bool filter_tables(Dft *d, const PairPlan *plan, Em table[2]) {
    size_t m = (size_t)d->m, positions = (size_t)plan->positions;
    long double *re = mem_calloc(m, sizeof *re), *im = mem_calloc(m, sizeof *im);
    int64_t *bins = mem_calloc(positions, sizeof *bins);
    double *values = mem_calloc(positions, sizeof *values);
    bool ok = re && im && bins && values;
    for (int64_t j = 0; ok && j < d->n; j++) {
        long double r, i;
        chirp(j, d->n, &r, &i);
        re[j] = re[j ? d->m - j : 0] = r;
        im[j] = im[j ? d->m - j : 0] = -i;
    }
    if (ok) {
        transform_table(re, im, d->m);
        pair_fft_order(plan, bins);
    }
    for (int part = 0; ok && part < 2; part++) {
        for (size_t p = 0; p < positions; p++)
            values[p] = bins[p] < 0 ? 0 : (double)((part ? im : re)[bins[p]] / (long double)d->m);
        table[part] = d->e->ops->table(d->e, d->dtype, values, plan->positions);
    }
    mem_free(re);
    mem_free(im);
    mem_free(bins);
    mem_free(values);
    return ok;
}

static bool chirp_tables(Dft *d) {
    int64_t count = (d->n + d->lanes - 1) / d->lanes * d->lanes;
    double *values = mem_calloc((size_t)count, sizeof *values);
    for (int part = 0; values && part < 2; part++) {
        for (int64_t j = 0; j < d->n; j++) {
            long double w[2];
            chirp(j, d->n, &w[0], &w[1]);
            values[j] = (double)w[part];
        }
        d->chirp[part] = d->e->ops->table(d->e, d->dtype, values, count);
    }
    mem_free(values);
    return values != NULL;
}

/* ---- The complex transform ---- */

static Em index_of(Emitter *e, int64_t value) {
    return e->ops->index(e, value);
}

static Em plane(Emitter *e, Em work, const FftShape *shape, int which) {
    int64_t bytes = which * plane_elements(shape) * (int64_t)frax_dtype_size(shape->dtype);
    return e->ops->pointer(e, work, index_of(e, bytes));
}

static Em load(Emitter *e, Em base, FraxDType dtype, Em at, int lanes, Em mask) {
    return e->ops->load(e, base, dtype, at, 1, lanes, mask);
}

static void rotate_by_chirp(Dft *d, Em at, int lanes, Em *re, Em *im) {
    const EmitterOps *o = d->e->ops;
    Em c = load(d->e, d->chirp[0], d->dtype, at, lanes, (Em){0}),
       s = load(d->e, d->chirp[1], d->dtype, at, lanes, (Em){0});
    Em r = o->arith(d->e, OP_sub, o->arith(d->e, OP_mul, *re, c), o->arith(d->e, OP_mul, *im, s));
    *im = o->arith(d->e, OP_add, o->arith(d->e, OP_mul, *re, s), o->arith(d->e, OP_mul, *im, c));
    *re = r;
}

static void load_chirped(void *context, Em at, Em mask, Em *re, Em *im) {
    Dft *d = context;
    *re = load(d->e, d->in_re, d->dtype, at, d->lanes, mask);
    *im = load(d->e, d->in_im, d->dtype, at, d->lanes, mask);
    rotate_by_chirp(d, at, d->lanes, re, im);
}

static void store_chirped(void *context, Em at, Em mask, Em re, Em im) {
    Dft *d = context;
    rotate_by_chirp(d, at, d->lanes, &re, &im);
    d->e->ops->store(d->e, d->out_re, d->dtype, at, 1, re, mask);
    d->e->ops->store(d->e, d->out_im, d->dtype, at, 1, im, mask);
}

static bool emit_chirped(Dft *d) {
    PairPlan plan = pair_fft_plan(d->dtype, d->m, d->e->vector_bytes);
    Em filter[2];
    d->lanes = plan.lanes;
    if (!chirp_tables(d) || !filter_tables(d, &plan, filter)) return false;
    int64_t bytes = (d->m + PLANE_PAD) * (int64_t)frax_dtype_size(d->dtype);
    PairIo io = {.re = d->work,
                 .im = d->e->ops->pointer(d->e, d->work, index_of(d->e, bytes)),
                 .k_re = filter[0],
                 .k_im = filter[1],
                 .length = d->n,
                 .context = d,
                 .load = load_chirped,
                 .store = store_chirped};
    return emit_pair_transform(d->e, &plan, PAIR_FILTER, &io);
}

/* In place, then each bin from its position. */
static bool emit_ordered(Dft *d) {
    const EmitterOps *o = d->e->ops;
    PairPlan plan = pair_fft_plan(d->dtype, d->n, d->e->vector_bytes);
    PairIo io = {.re = d->in_re, .im = d->in_im};
    int64_t *bins = mem_calloc((size_t)plan.positions, sizeof *bins);
    double *positions = mem_calloc((size_t)d->n, sizeof *positions);
    bool ok = bins && positions && emit_pair_transform(d->e, &plan, PAIR_FORWARD, &io);
    if (ok) {
        pair_fft_order(&plan, bins);
        for (int64_t p = 0; p < plan.positions; p++)
            if (bins[p] >= 0) positions[bins[p]] = (double)p;
        Em table = o->table(d->e, FRAX_I32, positions, d->n);
        EmLoop loop = o->loop_begin(d->e, index_of(d->e, 0), index_of(d->e, d->n), 1);
        Em from = o->convert(d->e, load(d->e, table, FRAX_I32, loop.index, 1, (Em){0}), EM_INDEX);
        o->store(d->e, d->out_re, d->dtype, loop.index, 1, load(d->e, d->in_re, d->dtype, from, 1, (Em){0}),
                 (Em){0});
        o->store(d->e, d->out_im, d->dtype, loop.index, 1, load(d->e, d->in_im, d->dtype, from, 1, (Em){0}),
                 (Em){0});
        o->loop_end(d->e, &loop);
    }
    mem_free(bins);
    mem_free(positions);
    return ok;
}

bool emit_general_dft(Emitter *e, FraxDType dtype, int64_t n) {
    static const EmType types[5] = {EM_POINTER, EM_POINTER, EM_POINTER, EM_POINTER, EM_POINTER};
    Em params[5] = {0};
    char name[48];
    dft_name(dtype, n, name);
    e->ops->function_begin(e, name, types, 5, params);
    Dft d = {.e = e, .dtype = dtype, .n = n, .m = filter_length(dtype, n)};
    d.in_re = params[0], d.in_im = params[1], d.out_re = params[2], d.out_im = params[3], d.work = params[4];
    bool ok = d.m ? emit_chirped(&d) : emit_ordered(&d);
    e->ops->function_end(e);
    return ok;
}

/* ---- Real transforms ---- */

typedef struct Boxes {
    Emitter *e;
    const FftShape *shape;
    Em row, spectrum;
    Em in[2], out[2], work; /* planes: re, im */
    bool inverse;
} Boxes;

static Em times_plus(Boxes *b, Em a, int64_t times, Em c) {
    const EmitterOps *o = b->e->ops;
    return o->index_op(b->e, INDEX_ADD, o->index_op(b->e, INDEX_MUL, a, index_of(b->e, times)), c);
}

static EmLoop count_to(Boxes *b, int64_t n) {
    return b->e->ops->loop_begin(b->e, index_of(b->e, 0), index_of(b->e, n), 1);
}

static Em zero(Boxes *b) {
    return b->e->ops->constant(b->e, em_type_of(b->shape->dtype), 0);
}

static Em get(Boxes *b, Em base, Em at) {
    return load(b->e, base, b->shape->dtype, at, 1, (Em){0});
}

static void put(Boxes *b, Em base, Em at, Em value) {
    b->e->ops->store(b->e, base, b->shape->dtype, at, 1, value, (Em){0});
}

/* Inverse: the planes exchanged. */
static void call_dft(Boxes *b, int64_t n) {
    char name[48];
    int re = b->inverse, im = !b->inverse;
    dft_name(b->shape->dtype, n, name);
    b->e->ops->call(b->e, name, (Em[]){b->in[re], b->in[im], b->out[re], b->out[im], b->work}, 5);
}

static void line_forward(Boxes *b, Em line, int64_t n, int64_t h) {
    EmLoop loop = count_to(b, n);
    put(b, b->in[0], loop.index, get(b, b->row, times_plus(b, line, n, loop.index)));
    put(b, b->in[1], loop.index, zero(b));
    b->e->ops->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, h);
    b->e->ops->store_complex(b->e, b->spectrum, b->shape->dtype, times_plus(b, line, h, loop.index),
                             get(b, b->out[0], loop.index), get(b, b->out[1], loop.index));
    b->e->ops->loop_end(b->e, &loop);
}

/* A bin that is its own mirror image counts as real. */
static void put_real_bin(Boxes *b, Em line, int64_t h, int64_t k) {
    Em re, im, at = index_of(b->e, k);
    b->e->ops->load_complex(b->e, b->spectrum, b->shape->dtype, times_plus(b, line, h, at), 1, &re, &im);
    put(b, b->in[0], at, re);
    put(b, b->in[1], at, zero(b));
}

static void line_inverse(Boxes *b, Em line, int64_t n, int64_t h) {
    const EmitterOps *o = b->e->ops;
    Em re, im;
    put_real_bin(b, line, h, 0);
    if (n % 2 == 0) put_real_bin(b, line, h, n / 2);
    EmLoop loop = o->loop_begin(b->e, index_of(b->e, 1), index_of(b->e, (n + 1) / 2), 1);
    o->load_complex(b->e, b->spectrum, b->shape->dtype, times_plus(b, line, h, loop.index), 1, &re, &im);
    Em mirror = o->index_op(b->e, INDEX_SUB, index_of(b->e, n), loop.index);
    put(b, b->in[0], loop.index, re);
    put(b, b->in[1], loop.index, im);
    put(b, b->in[0], mirror, re);
    put(b, b->in[1], mirror, o->arith(b->e, OP_sub, zero(b), im));
    o->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, n);
    put(b, b->row, times_plus(b, line, n, loop.index), get(b, b->out[0], loop.index));
    o->loop_end(b->e, &loop);
}

static void lines(Boxes *b) {
    const FftShape *shape = b->shape;
    int64_t n = shape->dims[shape->rank - 1], count = 1;
    for (int i = 0; i < shape->rank - 1; i++) count *= shape->dims[i];
    EmLoop loop = count_to(b, count);
    (b->inverse ? line_inverse : line_forward)(b, loop.index, n, n / 2 + 1);
    b->e->ops->loop_end(b->e, &loop);
}

/* All columns of the spectrum along an axis but the last. */
static void columns(Boxes *b, int axis) {
    const EmitterOps *o = b->e->ops;
    const FftShape *shape = b->shape;
    int64_t n = shape->dims[axis], outer = 1, inner = shape->dims[shape->rank - 1] / 2 + 1;
    for (int i = 0; i < axis; i++) outer *= shape->dims[i];
    for (int i = axis + 1; i < shape->rank - 1; i++) inner *= shape->dims[i];
    EmLoop slow = count_to(b, outer), fast = count_to(b, inner);
    Em re, im, first = times_plus(b, slow.index, n * inner, fast.index);
    EmLoop loop = count_to(b, n);
    o->load_complex(b->e, b->spectrum, shape->dtype, times_plus(b, loop.index, inner, first), 1, &re, &im);
    put(b, b->in[0], loop.index, re);
    put(b, b->in[1], loop.index, im);
    o->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, n);
    o->store_complex(b->e, b->spectrum, shape->dtype, times_plus(b, loop.index, inner, first),
                     get(b, b->out[0], loop.index), get(b, b->out[1], loop.index));
    o->loop_end(b->e, &loop);
    o->loop_end(b->e, &fast);
    o->loop_end(b->e, &slow);
}

void emit_general_fft(Emitter *e, const FftShape *shape, bool inverse) {
    static const EmType types[3] = {EM_POINTER, EM_POINTER, EM_POINTER};
    Em params[3] = {0};
    char name[80];
    general_fft_name(shape, inverse, name);
    e->ops->function_begin(e, name, types, 3, params);
    Boxes b = {.e = e, .shape = shape, .row = params[0], .spectrum = params[1], .inverse = inverse};
    for (int i = 0; i < 2; i++) {
        b.in[i] = plane(e, params[2], shape, i);
        b.out[i] = plane(e, params[2], shape, 2 + i);
    }
    b.work = plane(e, params[2], shape, 4);
    if (!inverse) lines(&b);
    for (int i = 0; i < shape->rank - 1; i++) columns(&b, inverse ? i : shape->rank - 2 - i);
    if (inverse) lines(&b);
    e->ops->function_end(e);
}
