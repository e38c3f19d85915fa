/* half_fft.c — real transforms of rows that stand alone, of lengths n = 2M that are no powers of two (fft.c
 * has those): even samples + i·odd samples are M complex numbers, whose transform (pair_fft.h) is untangled
 * into the M + 1 bins, and back.
 *
 * With Z in an order of its own, bins are met two at a time, k and M − k, whose places come from a table:
 *
 *     X_k = E + w^k·O,  X_{M−k} = conj(E − w^k·O),   E = (Z_k + Z*_{M−k})/2,  O = (Z_k − Z*_{M−k})/2i,
 *     Z_k = S + T,      Z_{M−k} = conj(S − T),       S = Y_k + Y*_{M−k},      T = i·w^{−k}(Y_k − Y*_{M−k}),
 *
 * w = e^{−2πi/n}. The way back gives n times the signal; it ignores the imaginary parts of Y_0 and Y_M.
 */
#include "fft_generator.h"
#include "pair_fft.h"
#include <math.h>

enum { PLANE_PAD = 80 /* elements: planes at unequal offsets of a page */ };

typedef struct Half {
    Emitter *e;
    PairPlan plan;
    EmType type;
    Em row, spectrum, re, im;
    Em place, opposite, cosine, sine; /* tables by k: places of bins k and M − k, w^k */
} Half;

typedef struct Bin {
    Em re, im;
} Bin;

static Em arith(Half *h, Op op, Em a, Em b) {
    return h->e->ops->arith(h->e, op, a, b);
}

static Em constant(Half *h, double value) {
    return h->e->ops->constant(h->e, h->type, value);
}

static Em load(Half *h, Em base, Em at) {
    return h->e->ops->load(h->e, base, h->plan.dtype, at, 1, 1, (Em){0});
}

static void store(Half *h, Em base, Em at, Em value) {
    h->e->ops->store(h->e, base, h->plan.dtype, at, 1, value, (Em){0});
}

static Em place_of(Half *h, Em table, Em k) {
    Em at = h->e->ops->load(h->e, table, FRAX_I32, k, 1, 1, (Em){0});
    return h->e->ops->convert(h->e, at, EM_INDEX);
}

static Bin bin_add(Half *h, Bin a, Bin b) {
    return (Bin){arith(h, OP_add, a.re, b.re), arith(h, OP_add, a.im, b.im)};
}

static Bin bin_sub(Half *h, Bin a, Bin b) {
    return (Bin){arith(h, OP_sub, a.re, b.re), arith(h, OP_sub, a.im, b.im)};
}

static Bin conjugate(Half *h, Bin a) {
    return (Bin){a.re, arith(h, OP_sub, constant(h, -0.0), a.im)};
}

/* z·w^k, or z·w^{−k} */
static Bin rotated(Half *h, Bin z, Em k, bool back) {
    Em c = load(h, h->cosine, k), s = load(h, h->sine, k);
    Em cross_re = arith(h, OP_mul, z.im, s), cross_im = arith(h, OP_mul, z.re, s);
    return (Bin){arith(h, back ? OP_add : OP_sub, arith(h, OP_mul, z.re, c), cross_re),
                 arith(h, back ? OP_sub : OP_add, arith(h, OP_mul, z.im, c), cross_im)};
}

static bool make_tables(Half *h) {
    const long double pi = 3.14159265358979323846264338327950288L;
    int64_t m = h->plan.n, count = m / 2 + 1;
    int64_t *bins = mem_alloc((size_t)(h->plan.positions + m) * sizeof *bins);
    double *values = mem_alloc((size_t)(4 * count) * sizeof *values);
    bool ok = bins && values;
    if (ok) {
        int64_t *position = bins + h->plan.positions;
        pair_fft_order(&h->plan, bins);
        for (int64_t i = 0; i < h->plan.positions; i++)
            if (bins[i] >= 0) position[bins[i]] = i;
        for (int64_t k = 0; k < count; k++) {
            long double angle = -pi * (long double)k / (long double)m;
            values[k] = (double)position[k];
            values[count + k] = (double)position[(m - k) % m];
            values[2 * count + k] = (double)cosl(angle);
            values[3 * count + k] = (double)sinl(angle);
        }
        h->place = h->e->ops->table(h->e, FRAX_I32, values, count);
        h->opposite = h->e->ops->table(h->e, FRAX_I32, values + count, count);
        h->cosine = h->e->ops->table(h->e, h->plan.dtype, values + 2 * count, count);
        h->sine = h->e->ops->table(h->e, h->plan.dtype, values + 3 * count, count);
    }
    mem_free(bins);
    mem_free(values);
    return ok;
}

static EmLoop bins_begin(Half *h) {
    const EmitterOps *o = h->e->ops;
    return o->loop_begin(h->e, o->index(h->e, 0), o->index(h->e, h->plan.n / 2 + 1), 1);
}

static Em mirror(Half *h, Em k) {
    return h->e->ops->index_op(h->e, INDEX_SUB, h->e->ops->index(h->e, h->plan.n), k);
}

static void untangle(Half *h) {
    const EmitterOps *o = h->e->ops;
    Em half = constant(h, 0.5);
    EmLoop loop = bins_begin(h);
    Em p = place_of(h, h->place, loop.index), q = place_of(h, h->opposite, loop.index);
    Bin a = {load(h, h->re, p), load(h, h->im, p)};
    Bin b = conjugate(h, (Bin){load(h, h->re, q), load(h, h->im, q)});
    Bin even = bin_add(h, a, b), difference = bin_sub(h, a, b);
    even = (Bin){arith(h, OP_mul, even.re, half), arith(h, OP_mul, even.im, half)};
    Bin odd = {arith(h, OP_mul, difference.im, half),
               arith(h, OP_mul, difference.re, constant(h, -0.5))}; /* over i */
    odd = rotated(h, odd, loop.index, false);
    Bin x = bin_add(h, even, odd), y = conjugate(h, bin_sub(h, even, odd));
    o->store_complex(h->e, h->spectrum, h->plan.dtype, mirror(h, loop.index), y.re, y.im);
    o->store_complex(h->e, h->spectrum, h->plan.dtype, loop.index, x.re, x.im);
    o->loop_end(h->e, &loop);
}

static void tangle(Half *h) {
    const EmitterOps *o = h->e->ops;
    EmLoop loop = bins_begin(h);
    Bin y, z;
    o->load_complex(h->e, h->spectrum, h->plan.dtype, loop.index, 1, &y.re, &y.im);
    o->load_complex(h->e, h->spectrum, h->plan.dtype, mirror(h, loop.index), 1, &z.re, &z.im);
    Em first = arith(h, OP_eq, loop.index, o->index(h->e, 0));
    y.im = o->select(h->e, first, constant(h, 0), y.im);
    z.im = o->select(h->e, first, constant(h, 0), z.im);
    z = conjugate(h, z);
    Bin sum = bin_add(h, y, z), turned = rotated(h, bin_sub(h, y, z), loop.index, true);
    turned = (Bin){arith(h, OP_sub, constant(h, -0.0), turned.im), turned.re}; /* times i */
    Bin a = bin_add(h, sum, turned), b = conjugate(h, bin_sub(h, sum, turned));
    Em p = place_of(h, h->place, loop.index), q = place_of(h, h->opposite, loop.index);
    store(h, h->re, q, b.re);
    store(h, h->im, q, b.im);
    store(h, h->re, p, a.re);
    store(h, h->im, p, a.im);
    o->loop_end(h->e, &loop);
}

static void load_row(void *context, Em at, Em mask, Em *re, Em *im) {
    Half *h = context;
    (void)mask;
    h->e->ops->load_complex(h->e, h->row, h->plan.dtype, at, h->plan.lanes, re, im);
}

static void store_row(void *context, Em at, Em mask, Em re, Em im) {
    Half *h = context;
    (void)mask;
    h->e->ops->store_complex(h->e, h->row, h->plan.dtype, at, re, im);
}

bool emit_half_fft(Emitter *e, const FftShape *shape, bool inverse) {
    Half h = {.e = e, .type = em_type_of(shape->dtype)};
    Em params[3];
    char name[80];
    h.plan = pair_fft_plan(shape->dtype, shape->dims[0] / 2, e->vector_bytes);
    fft_function_name(shape, inverse, name);
    e->ops->function_begin(e, name, (EmType[]){EM_POINTER, EM_POINTER, EM_POINTER}, 3, params);
    int64_t plane = (h.plan.elements + PLANE_PAD) * (int64_t)frax_dtype_size(shape->dtype);
    h.row = params[0];
    h.spectrum = params[1];
    h.re = params[2];
    h.im = e->ops->pointer(e, params[2], e->ops->index(e, plane));
    PairIo io = {.re = h.re, .im = h.im, .context = &h, .load = load_row, .store = store_row};
    bool ok = make_tables(&h);
    if (ok && inverse) tangle(&h);
    ok = ok && emit_pair_transform(e, &h.plan, inverse ? PAIR_INVERSE : PAIR_FORWARD, &io);
    if (ok && !inverse) untangle(&h);
    e->ops->function_end(e);
    return ok;
}
