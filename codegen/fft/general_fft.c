/* general_fft.c — real transforms of any length and of one to three axes as generated code, for programs that
 * may call no library.
 *
 * A row of n = 2M real samples is M complex numbers (even samples + i·odd samples), whose transform is
 * untangled into n/2 + 1 bins as in half_fft.c; a row of odd length is a complex one without imaginary parts.
 *
 * The complex transform of n points works on planes, in place. Lengths without other prime factors than 2, 3,
 * 5 and 7 go through the transform of pairs, whose bins are then put in order. The others are a convolution
 * with a chirp (Bluestein 1970): with w_j = e^{−πi j²/n},
 *
 *     X_k = w_k Σ_j (x_j w_j) conj w_{k−j},
 *
 * which a filter of the next power of two m ≥ 2n − 1 computes, its spectrum being a table. Long ones of both
 * kinds, whose tables would be large, are long_fft.c's. The inverse is the forward transform with the planes
 * exchanged.
 */
#include "fft_generator.h"
#include "kernel.h"
#include "long_fft.h"
#include "pair_fft.h"
#include <math.h>

/* The longest transforms in one piece. Smooth ones are no slower as matrices beyond; a filter, with its
   tables of 6 MB then, takes half the time of one as matrices, which computes its spectrum each time.
   ADDRESS_BITS: of programs on x86-64; others have as many or more. */
enum { PLANE_PAD = 144, LONGEST_ORDERED = 1 << 16, LONGEST_FILTER = 1 << 17, ADDRESS_BITS = 47 };

static const long double pi = 3.14159265358979323846264338327950288L;

typedef struct Dft {
    Emitter *e;
    FraxDType dtype;
    int64_t n, m; /* m: of the filter; 0: none */
    Em re, im, work;
    Em chirp[2]; /* tables */
    int lanes;
} Dft;

/* ---- Shapes ---- */

static int64_t filter_length(int64_t n) {
    int64_t m = 64;
    if (is_smooth(n)) return 0;
    while (m < 2 * n - 1) m *= 2;
    return m;
}

static bool is_long(FraxDType dtype, int64_t n) {
    if (is_smooth(n)) return n > LONGEST_ORDERED || !is_generated_length(dtype, n);
    return n > LONGEST_FILTER / 2 || filter_length(n) > LONGEST_FILTER;
}

/* Points of the complex transform along an axis. */
static int64_t complex_points(const FftShape *shape, int axis) {
    int64_t n = shape->dims[axis];
    return axis == shape->rank - 1 && n % 2 == 0 ? n / 2 : n;
}

void general_fft_lengths(const FftShape *shape, int64_t lengths[3]) {
    for (int i = 0; i < shape->rank; i++) lengths[i] = complex_points(shape, i);
}

static int64_t dft_elements(FraxDType dtype, int64_t n) {
    if (!is_long(dtype, n)) return n;
    LongPlan plan = long_fft_plan(dtype, n);
    return long_fft_elements(&plan);
}

static int64_t dft_work(FraxDType dtype, int64_t n) {
    if (!is_long(dtype, n)) return 2 * (MAX(n, filter_length(n)) + PLANE_PAD);
    LongPlan plan = long_fft_plan(dtype, n);
    return long_fft_work(&plan);
}

/* Of the planes that the complex transforms work on. */
static int64_t plane_elements(const FftShape *shape) {
    int64_t most = 0;
    for (int i = 0; i < shape->rank; i++)
        most = MAX(most, dft_elements(shape->dtype, complex_points(shape, i)));
    return (most + 15) / 16 * 16 + PLANE_PAD;
}

size_t general_fft_work_bytes(const FftShape *shape) {
    const int64_t most_points = INT64_C(1) << 44;
    int64_t most = 0;
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] > most_points) return SIZE_MAX / 4;
        most = MAX(most, dft_work(shape->dtype, complex_points(shape, i)));
    }
    return (size_t)(2 * plane_elements(shape) + most) * frax_dtype_size(shape->dtype);
}

bool general_fft_fits(const FftShape *shape) {
    return general_fft_work_bytes(shape) >> ADDRESS_BITS == 0;
}

void general_fft_name(const FftShape *shape, bool inverse, char name[80]) {
    int length = snprintf(name, 80, "frax_general_fft_%s", frax_dtype_name(shape->dtype));
    for (int i = 0; i < shape->rank; i++)
        length += snprintf(name + length, 80 - (size_t)length, "_%lld", (long long)shape->dims[i]);
    snprintf(name + length, 80 - (size_t)length, inverse ? "_inverse" : "_forward");
}

static void dft_name(FraxDType dtype, int64_t n, const char *suffix, char name[64]) {
    snprintf(name, 64, "frax_dft_%s_%lld%s", frax_dtype_name(dtype), (long long)n, suffix);
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

static void load_row(void *context, Em at, Em mask, Em *re, Em *im) {
    Dft *d = context;
    *re = load(d->e, d->re, d->dtype, at, d->lanes, mask);
    *im = load(d->e, d->im, d->dtype, at, d->lanes, mask);
    if (d->m) rotate_by_chirp(d, at, d->lanes, re, im);
}

static void store_chirped(void *context, Em at, Em mask, Em re, Em im) {
    Dft *d = context;
    rotate_by_chirp(d, at, d->lanes, &re, &im);
    d->e->ops->store(d->e, d->re, d->dtype, at, 1, re, mask);
    d->e->ops->store(d->e, d->im, d->dtype, at, 1, im, mask);
}

/* The second plane of the workspace, whose planes hold n elements. */
static Em second_plane(Dft *d, int64_t n) {
    int64_t bytes = (n + PLANE_PAD) * (int64_t)frax_dtype_size(d->dtype);
    return d->e->ops->pointer(d->e, d->work, index_of(d->e, bytes));
}

static bool emit_chirped(Dft *d) {
    PairPlan plan = pair_fft_plan(d->dtype, d->m, d->e->vector_bytes);
    Em filter[2];
    d->lanes = plan.lanes;
    if (!chirp_tables(d) || !filter_tables(d, &plan, filter)) return false;
    PairIo io = {.re = d->work,
                 .im = second_plane(d, d->m),
                 .k_re = filter[0],
                 .k_im = filter[1],
                 .length = d->n,
                 .context = d,
                 .load = load_row,
                 .store = store_chirped};
    return emit_pair_transform(d->e, &plan, PAIR_FILTER, &io);
}

/* In the workspace, then each bin from its position. */
static bool emit_ordered(Dft *d) {
    const EmitterOps *o = d->e->ops;
    PairPlan plan = pair_fft_plan(d->dtype, d->n, d->e->vector_bytes);
    PairIo io = {.re = d->work, .im = second_plane(d, d->n), .context = d, .load = load_row};
    int64_t *bins = mem_calloc((size_t)plan.positions, sizeof *bins);
    double *positions = mem_calloc((size_t)d->n, sizeof *positions);
    d->lanes = plan.lanes;
    bool ok = bins && positions && emit_pair_transform(d->e, &plan, PAIR_FORWARD, &io);
    if (ok) {
        pair_fft_order(&plan, bins);
        for (int64_t p = 0; p < plan.positions; p++)
            if (bins[p] >= 0) positions[bins[p]] = (double)p;
        Em table = o->table(d->e, FRAX_I32, positions, d->n), none = {0};
        EmLoop loop = o->loop_begin(d->e, index_of(d->e, 0), index_of(d->e, d->n), 1);
        Em from = o->convert(d->e, load(d->e, table, FRAX_I32, loop.index, 1, none), EM_INDEX);
        o->store(d->e, d->re, d->dtype, loop.index, 1, load(d->e, io.re, d->dtype, from, 1, none), none);
        o->store(d->e, d->im, d->dtype, loop.index, 1, load(d->e, io.im, d->dtype, from, 1, none), none);
        o->loop_end(d->e, &loop);
    }
    mem_free(bins);
    mem_free(positions);
    return ok;
}

static const EmType pointers[3] = {EM_POINTER, EM_POINTER, EM_POINTER};

/* What the transforms of one place have in common. */
static bool emit_chirp(Emitter *e, const LongPlan *plan) {
    char name[64];
    Em work;
    dft_name(plan->dtype, plan->n, "_chirp", name);
    e->ops->function_begin(e, name, pointers, 1, &work);
    bool ok = emit_long_prepare(e, plan, work);
    e->ops->function_end(e);
    return ok;
}

bool emit_general_dft(Emitter *e, FraxDType dtype, int64_t n) {
    bool large = is_long(dtype, n);
    LongPlan plan = large ? long_fft_plan(dtype, n) : (LongPlan){0};
    Em params[3] = {0};
    char name[64];
    dft_name(dtype, n, "", name);
    if (plan.chirped && !emit_chirp(e, &plan)) return false;
    e->ops->function_begin(e, name, pointers, 3, params);
    Dft d = {.e = e, .dtype = dtype, .n = n, .re = params[0], .im = params[1], .work = params[2]};
    bool ok;
    if (large)
        ok = emit_long_dft(e, &plan, d.re, d.im, d.work);
    else
        ok = (d.m = filter_length(n)) ? emit_chirped(&d) : emit_ordered(&d);
    e->ops->function_end(e);
    return ok;
}

/* ---- Real transforms ---- */

typedef struct Boxes {
    Emitter *e;
    const FftShape *shape;
    Em row, spectrum;
    Em re, im, work;
    Roots roots; /* of the last axis, where it is even */
    int lanes;
    bool inverse;
} Boxes;

static Em plus(Boxes *b, Em a, Em c) {
    return b->e->ops->index_op(b->e, INDEX_ADD, a, c);
}

static Em times_plus(Boxes *b, Em a, int64_t times, Em c) {
    return plus(b, b->e->ops->index_op(b->e, INDEX_MUL, a, index_of(b->e, times)), c);
}

static Em minus(Boxes *b, int64_t a, Em c) {
    return b->e->ops->index_op(b->e, INDEX_SUB, index_of(b->e, a), c);
}

static EmLoop count_to(Boxes *b, int64_t n) {
    return b->e->ops->loop_begin(b->e, index_of(b->e, 0), index_of(b->e, n), 1);
}

static Em zero(Boxes *b) {
    return b->e->ops->constant(b->e, em_type_of(b->shape->dtype), 0);
}

static Em get(Boxes *b, Em base, Em at, int lanes) {
    return load(b->e, base, b->shape->dtype, at, lanes, (Em){0});
}

static void put(Boxes *b, Em base, Em at, Em value) {
    b->e->ops->store(b->e, base, b->shape->dtype, at, 1, value, (Em){0});
}

static void put_bin(Boxes *b, Em at, Root x) {
    b->e->ops->store_complex(b->e, b->spectrum, b->shape->dtype, at, x.re, x.im);
}

static Root get_bin(Boxes *b, Em at, int lanes) {
    Root x;
    b->e->ops->load_complex(b->e, b->spectrum, b->shape->dtype, at, lanes, &x.re, &x.im);
    return x;
}

static void call_chirp(Boxes *b, int64_t n) {
    char name[64];
    LongPlan plan = is_long(b->shape->dtype, n) ? long_fft_plan(b->shape->dtype, n) : (LongPlan){0};
    dft_name(b->shape->dtype, n, "_chirp", name);
    if (plan.chirped) b->e->ops->call(b->e, name, &b->work, 1);
}

/* Inverse: the planes exchanged. */
static void call_dft(Boxes *b, int64_t n) {
    char name[64];
    dft_name(b->shape->dtype, n, "", name);
    b->e->ops->call(b->e, name, (Em[]){b->inverse ? b->im : b->re, b->inverse ? b->re : b->im, b->work}, 3);
}

/* ---- Rows of odd length ---- */

static void odd_line_forward(Boxes *b, Em row, Em spectrum, int64_t n) {
    EmLoop loop = count_to(b, n);
    put(b, b->re, loop.index, get(b, b->row, plus(b, row, loop.index), 1));
    put(b, b->im, loop.index, zero(b));
    b->e->ops->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, n / 2 + 1);
    put_bin(b, plus(b, spectrum, loop.index),
            (Root){get(b, b->re, loop.index, 1), get(b, b->im, loop.index, 1)});
    b->e->ops->loop_end(b->e, &loop);
}

/* The first bin counts as real. */
static void odd_line_inverse(Boxes *b, Em row, Em spectrum, int64_t n) {
    const EmitterOps *o = b->e->ops;
    put(b, b->re, index_of(b->e, 0), get_bin(b, spectrum, 1).re);
    put(b, b->im, index_of(b->e, 0), zero(b));
    EmLoop loop = o->loop_begin(b->e, index_of(b->e, 1), index_of(b->e, (n + 1) / 2), 1);
    Root x = get_bin(b, plus(b, spectrum, loop.index), 1);
    put(b, b->re, loop.index, x.re);
    put(b, b->im, loop.index, x.im);
    put(b, b->re, minus(b, n, loop.index), x.re);
    put(b, b->im, minus(b, n, loop.index), o->arith(b->e, OP_sub, zero(b), x.im));
    o->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, n);
    put(b, b->row, plus(b, row, loop.index), get(b, b->re, loop.index, 1));
    o->loop_end(b->e, &loop);
}

/* ---- Rows of even length, 2M: bins k and M − k at a time, see half_fft.c ---- */

static Em arith(Boxes *b, Op op, Em x, Em y) {
    return b->e->ops->arith(b->e, op, x, y);
}

static Root conjugate(Boxes *b, Root z) {
    return (Root){z.re, arith(b, OP_sub, b->e->ops->constant(b->e, em_type_of(b->shape->dtype), -0.0), z.im)};
}

static Root sum(Boxes *b, Root x, Root y) {
    return (Root){arith(b, OP_add, x.re, y.re), arith(b, OP_add, x.im, y.im)};
}

static Root difference(Boxes *b, Root x, Root y) {
    return (Root){arith(b, OP_sub, x.re, y.re), arith(b, OP_sub, x.im, y.im)};
}

static Root product(Boxes *b, Root x, Root y) {
    return (Root){arith(b, OP_sub, arith(b, OP_mul, x.re, y.re), arith(b, OP_mul, x.im, y.im)),
                  arith(b, OP_add, arith(b, OP_mul, x.re, y.im), arith(b, OP_mul, x.im, y.re))};
}

static Root reversed(Boxes *b, Root z) {
    return (Root){b->e->ops->reverse(b->e, z.re), b->e->ops->reverse(b->e, z.im)};
}

/* Elements M − k, M − k − 1, … */
static Em mirrored(Boxes *b, int64_t m, Em k) {
    return minus(b, m - b->lanes + 1, k);
}

/* X_k = E + w^k·O, X_{M−k} = conj(E − w^k·O), E = (Z_k + Z*_{M−k})/2, O = (Z_k − Z*_{M−k})/2i */
static void untangle(Boxes *b, Em spectrum, int64_t m, Em k, Root w) {
    Em half = b->e->ops->constant(b->e, em_type_of(b->shape->dtype), 0.5), minus_half;
    minus_half = b->e->ops->constant(b->e, em_type_of(b->shape->dtype), -0.5);
    Root z = {get(b, b->re, k, b->lanes), get(b, b->im, k, b->lanes)};
    Root y = {get(b, b->re, mirrored(b, m, k), b->lanes), get(b, b->im, mirrored(b, m, k), b->lanes)};
    y = conjugate(b, reversed(b, y));
    Root even = sum(b, z, y), odd = difference(b, z, y);
    even = (Root){arith(b, OP_mul, even.re, half), arith(b, OP_mul, even.im, half)};
    odd = product(b, w, (Root){arith(b, OP_mul, odd.im, half), arith(b, OP_mul, odd.re, minus_half)});
    put_bin(b, plus(b, spectrum, mirrored(b, m, k)), reversed(b, conjugate(b, difference(b, even, odd))));
    put_bin(b, plus(b, spectrum, k), sum(b, even, odd));
}

/* Z_k = S + T, Z_{M−k} = conj(S − T), S = Y_k + Y*_{M−k}, T = i·w^{−k}(Y_k − Y*_{M−k}) */
static void tangle(Boxes *b, Em spectrum, int64_t m, Em k, Root w) {
    Root y = get_bin(b, plus(b, spectrum, k), b->lanes);
    Root x = conjugate(b, reversed(b, get_bin(b, plus(b, spectrum, mirrored(b, m, k)), b->lanes)));
    Root s = sum(b, y, x), t = product(b, conjugate(b, w), difference(b, y, x));
    t = (Root){arith(b, OP_sub, b->e->ops->constant(b->e, em_type_of(b->shape->dtype), -0.0), t.im), t.re};
    Root z = sum(b, s, t), opposite = reversed(b, conjugate(b, difference(b, s, t)));
    put(b, b->re, mirrored(b, m, k), opposite.re);
    put(b, b->im, mirrored(b, m, k), opposite.im);
    put(b, b->re, k, z.re);
    put(b, b->im, k, z.im);
}

/* All k up to M/2, in the blocks of the roots. The last vector may go beyond, where both directions give the
   same. */
static void each_half_bin(Boxes *b, Em spectrum, int64_t m, void (*body)(Boxes *, Em, int64_t, Em, Root)) {
    const EmitterOps *o = b->e->ops;
    int64_t count = m / 2 + 1, length = b->roots.block;
    EmLoop blocks = count_to(b, (count + length - 1) / length);
    Em first = times_plus(b, blocks.index, length, index_of(b->e, 0));
    Root turn = root_of_block(b->e, &b->roots, blocks.index);
    Em end = o->index_op(b->e, INDEX_MIN, minus(b, count, first), index_of(b->e, length));
    EmLoop loop = o->loop_begin(b->e, index_of(b->e, 0), end, b->lanes);
    Root w = root_within(b->e, &b->roots, loop.index, b->lanes);
    w = root_product(b->e, turn, w, em_type_of(b->shape->dtype));
    body(b, spectrum, m, plus(b, first, loop.index), w);
    o->loop_end(b->e, &loop);
    o->loop_end(b->e, &blocks);
}

static void copy_samples(Boxes *b, Em row, int64_t first, int64_t end, int lanes) {
    const EmitterOps *o = b->e->ops;
    FraxDType dtype = b->shape->dtype;
    if (first == end) return;
    EmLoop loop = o->loop_begin(b->e, index_of(b->e, first), index_of(b->e, end), lanes);
    Em base =
        o->pointer(b->e, b->row, times_plus(b, row, (int64_t)frax_dtype_size(dtype), index_of(b->e, 0)));
    if (b->inverse) {
        o->store_complex(b->e, base, dtype, loop.index, get(b, b->re, loop.index, lanes),
                         get(b, b->im, loop.index, lanes));
    } else {
        Em re, im;
        o->load_complex(b->e, base, dtype, loop.index, lanes, &re, &im);
        put(b, b->re, loop.index, re);
        put(b, b->im, loop.index, im);
    }
    o->loop_end(b->e, &loop);
}

static void all_samples(Boxes *b, Em row, int64_t m) {
    int64_t whole = m / b->lanes * b->lanes;
    copy_samples(b, row, 0, whole, b->lanes);
    copy_samples(b, row, whole, m, 1);
}

static void even_line_forward(Boxes *b, Em row, Em spectrum, int64_t n) {
    int64_t m = n / 2;
    Em start = index_of(b->e, 0), end = index_of(b->e, m);
    all_samples(b, row, m);
    call_dft(b, m);
    put(b, b->re, end, get(b, b->re, start, 1)); /* Z_M = Z_0 */
    put(b, b->im, end, get(b, b->im, start, 1));
    each_half_bin(b, spectrum, m, untangle);
}

/* Bins 0 and M count as real. */
static void even_line_inverse(Boxes *b, Em row, Em spectrum, int64_t n) {
    int64_t m = n / 2;
    Em start = index_of(b->e, 0);
    each_half_bin(b, spectrum, m, tangle);
    Em first = get_bin(b, spectrum, 1).re, last = get_bin(b, plus(b, spectrum, index_of(b->e, m)), 1).re;
    put(b, b->re, start, arith(b, OP_add, first, last));
    put(b, b->im, start, arith(b, OP_sub, first, last));
    call_dft(b, m);
    all_samples(b, row, m);
}

static void lines(Boxes *b) {
    static void (*const line[2][2])(Boxes *, Em, Em, int64_t) = {{even_line_forward, even_line_inverse},
                                                                 {odd_line_forward, odd_line_inverse}};
    const FftShape *shape = b->shape;
    int64_t n = shape->dims[shape->rank - 1], count = 1;
    for (int i = 0; i < shape->rank - 1; i++) count *= shape->dims[i];
    call_chirp(b, complex_points(shape, shape->rank - 1));
    EmLoop loop = count_to(b, count);
    line[n % 2][b->inverse](b, times_plus(b, loop.index, n, index_of(b->e, 0)),
                            times_plus(b, loop.index, n / 2 + 1, index_of(b->e, 0)), n);
    b->e->ops->loop_end(b->e, &loop);
}

/* All columns of the spectrum along an axis but the last. */
static void columns(Boxes *b, int axis) {
    const EmitterOps *o = b->e->ops;
    const FftShape *shape = b->shape;
    int64_t n = shape->dims[axis], outer = 1, inner = shape->dims[shape->rank - 1] / 2 + 1;
    for (int i = 0; i < axis; i++) outer *= shape->dims[i];
    for (int i = axis + 1; i < shape->rank - 1; i++) inner *= shape->dims[i];
    call_chirp(b, n);
    EmLoop slow = count_to(b, outer), fast = count_to(b, inner);
    Em first = times_plus(b, slow.index, n * inner, fast.index);
    EmLoop loop = count_to(b, n);
    Root x = get_bin(b, times_plus(b, loop.index, inner, first), 1);
    put(b, b->re, loop.index, x.re);
    put(b, b->im, loop.index, x.im);
    o->loop_end(b->e, &loop);
    call_dft(b, n);
    loop = count_to(b, n);
    put_bin(b, times_plus(b, loop.index, inner, first),
            (Root){get(b, b->re, loop.index, 1), get(b, b->im, loop.index, 1)});
    o->loop_end(b->e, &loop);
    o->loop_end(b->e, &fast);
    o->loop_end(b->e, &slow);
}

/* Vectors where half the bins fill them. */
static bool begin_lines(Boxes *b) {
    int64_t n = b->shape->dims[b->shape->rank - 1];
    int widest = b->e->vector_bytes / (int)frax_dtype_size(b->shape->dtype);
    b->lanes = n / 4 > 2 * widest ? MAX(widest, 1) : 1;
    return n % 2 || roots_make(b->e, n, &b->roots);
}

bool emit_general_fft(Emitter *e, const FftShape *shape, bool inverse) {
    Em params[3] = {0};
    char name[80];
    general_fft_name(shape, inverse, name);
    e->ops->function_begin(e, name, pointers, 3, params);
    Boxes b = {.e = e, .shape = shape, .row = params[0], .spectrum = params[1], .inverse = inverse};
    b.re = params[2];
    b.im = plane(e, params[2], shape, 1);
    b.work = plane(e, params[2], shape, 2);
    bool ok = begin_lines(&b);
    if (ok && !inverse) lines(&b);
    for (int i = 0; ok && i < shape->rank - 1; i++) columns(&b, inverse ? i : shape->rank - 2 - i);
    if (ok && inverse) lines(&b);
    e->ops->function_end(e);
    return ok;
}
