/* pair_fft.c — emission of the transforms of pair_fft.h, by the plans of pair_plan.c.
 *
 * Above the leaves a pass loads r vectors at distance m = L/r, lanes along j, and stores them in place. A
 * leaf is r·W contiguous elements, W lanes: r vectors, transformed over the vectors first; then units of the
 * vectors are transposed, so that what lies in different lanes comes to lie in different vectors of the same
 * lane, and butterflies finish the transform of W points. The bins stay transposed: that is part of their
 * order. The filter multiplies by K there and goes all the way back before it stores.
 *
 * Where several pairs lie side by side, a position holds one vector of them, and the leaf is one more radix.
 *
 * A block longer than plan->span finishes all that is below it before its neighbour starts, so that only its
 * outermost passes go through the second cache. Inverse butterflies are forward ones with the parts
 * exchanged.
 */
#include "butterfly.h"
#include "pair_fft.h"
#include <math.h>

typedef struct Pair {
    ButterflyUnit unit;
    Emitter *e;
    const PairPlan *plan;
    PairKind kind;
    const PairIo *io;
    int64_t length; /* of the signal */
    /* Factors of the passes, then of the leaf, then of the tail: forward and inverse. */
    Em tables[2][PAIR_MAX_PASSES + 1 + PAIR_MAX_TAIL];
} Pair;

static Em index_of(Pair *t, int64_t value) {
    return t->e->ops->index(t->e, value);
}

static Em plus(Pair *t, Em a, int64_t b) {
    return b ? t->e->ops->index_op(t->e, INDEX_ADD, a, index_of(t, b)) : a;
}

/* The vector of position `at` in a plane. */
static Em element(Pair *t, Em at) {
    return t->plan->wide == 1 ? at : t->e->ops->index_op(t->e, INDEX_MUL, at, index_of(t, t->plan->wide));
}

static Em load(Pair *t, Em plane, Em at, Em mask) {
    return t->e->ops->load(t->e, plane, t->plan->dtype, element(t, at), 1, pair_fft_width(t->plan), mask);
}

/* Of a table, which all pairs side by side have in common. */
static Em load_shared(Pair *t, Em table, Em at) {
    Em value = t->e->ops->load(t->e, table, t->plan->dtype, at, 1, t->plan->lanes, (Em){0});
    return t->e->ops->splat(t->e, value, pair_fft_width(t->plan));
}

static Complex load_planes(Pair *t, Em at) {
    return (Complex){load(t, t->io->re, at, (Em){0}), load(t, t->io->im, at, (Em){0})};
}

static void store_planes(Pair *t, Em at, Complex z) {
    t->e->ops->store(t->e, t->io->re, t->plan->dtype, element(t, at), 1, z.re, (Em){0});
    t->e->ops->store(t->e, t->io->im, t->plan->dtype, element(t, at), 1, z.im, (Em){0});
}

/* ---- The signal: `valid` of the lanes at `at` exist ---- */

static Em lanes_below(Pair *t, int valid) {
    const EmitterOps *o = t->e->ops;
    if (valid >= t->plan->lanes) return (Em){0};
    return o->index_less(t->e, o->index_lanes(t->e, index_of(t, 0), 1, t->plan->lanes), index_of(t, valid));
}

static Complex load_signal(Pair *t, Em at, int valid) {
    const PairIo *io = t->io;
    Complex z = {0};
    if (valid <= 0) return z;
    Em mask = lanes_below(t, valid);
    if (io->load)
        io->load(io->context, at, mask, &z.re, &z.im);
    else
        z = (Complex){load(t, io->re, at, mask), load(t, io->im, at, mask)};
    return z;
}

static void store_signal(Pair *t, Em at, int valid, Complex z) {
    const PairIo *io = t->io;
    if (valid <= 0) return;
    if (io->store)
        io->store(io->context, at, lanes_below(t, valid), z.re, z.im);
    else
        store_planes(t, at, z);
}

/* ---- Twiddle factors ---- */

enum { MAX_FACTORS = 9 };

/* Slot k ≥ 1 times w_L^{jk}, k signed: k and r − k have conjugate factors. */
static int rotation_factors(int radix, long double angle, double *f) {
    for (int k = 1; k <= radix / 2; k++) {
        f[2 * k - 2] = (double)cosl(k * angle);
        f[2 * k - 1] = (double)sinl(k * angle);
    }
    return radix / 2 * 2;
}

static void rotate(Pair *t, int radix, const Em *f, Complex *z, bool conjugate) {
    for (int k = 1; k <= radix / 2; k++) {
        Complex w = {f[2 * k - 2], f[2 * k - 1]};
        z[k] = rotated(&t->unit, z[k], w, conjugate);
        if (k != radix - k) z[radix - k] = rotated(&t->unit, z[radix - k], w, !conjugate);
    }
}

/* Factors by tangents, w = c·(1 + i·t), which merge the cosines into butterflies of radix 4 and 8. Not of
   slot r/2, whose angles come to a right one, where there is no tangent: it has c and s. The factors are t_1,
   c_2, s_2, c_1 | t_1, t_2, t_3, c_4, s_4, c_2, c_3/c_1, c_1, √½·c_1. */
static int tangent_factors(int radix, long double angle, double *f) {
    long double c[5], s[5];
    int count = 0, half = radix / 2;
    for (int k = 1; k <= half; k++) {
        c[k] = cosl(k * angle);
        s[k] = sinl(k * angle);
        if (k < half) f[count++] = (double)(s[k] / c[k]);
    }
    f[count++] = (double)c[half];
    f[count++] = (double)s[half];
    if (radix == 8) f[count++] = (double)c[2];
    if (radix == 8) f[count++] = (double)(c[3] / c[1]);
    f[count++] = (double)c[1];
    if (radix == 8) f[count++] = (double)(c[1] * sqrtl(0.5L));
    return count;
}

/* z·(1 + i·tangent), or its conjugate factor */
static Complex sheared(Pair *t, Complex z, Em tangent, bool conjugate) {
    const EmitterOps *o = t->e->ops;
    return conjugate ? (Complex){o->fma(t->e, tangent, z.im, z.re), o->fnma(t->e, tangent, z.re, z.im)}
                     : (Complex){o->fnma(t->e, tangent, z.im, z.re), o->fma(t->e, tangent, z.re, z.im)};
}

/* a + f·b, a − f·b, and with i·b */
static Complex plus_times(Pair *t, Complex a, Em f, Complex b) {
    return (Complex){t->e->ops->fma(t->e, f, b.re, a.re), t->e->ops->fma(t->e, f, b.im, a.im)};
}

static Complex minus_times(Pair *t, Complex a, Em f, Complex b) {
    return (Complex){t->e->ops->fnma(t->e, f, b.re, a.re), t->e->ops->fnma(t->e, f, b.im, a.im)};
}

static Complex plus_i_times(Pair *t, Complex a, Em f, Complex b) {
    return (Complex){t->e->ops->fnma(t->e, f, b.im, a.re), t->e->ops->fma(t->e, f, b.re, a.im)};
}

static Complex minus_i_times(Pair *t, Complex a, Em f, Complex b) {
    return (Complex){t->e->ops->fma(t->e, f, b.im, a.re), t->e->ops->fnma(t->e, f, b.re, a.im)};
}

static void sheared_butterfly_4(Pair *t, const Em *f, Complex *z) {
    Em c1 = f[3];
    Complex u1 = sheared(t, z[1], f[0], false), u3 = sheared(t, z[3], f[0], true);
    Complex u2 = rotated(&t->unit, z[2], (Complex){f[1], f[2]}, false);
    Complex a = complex_add(&t->unit, z[0], u2), b = complex_sub(&t->unit, z[0], u2);
    Complex c = complex_add(&t->unit, u1, u3), d = complex_sub(&t->unit, u1, u3);
    z[0] = plus_times(t, a, c1, c);
    z[1] = minus_i_times(t, b, c1, d);
    z[2] = minus_times(t, a, c1, c);
    z[3] = plus_i_times(t, b, c1, d);
}

/* butterfly_8 with c_1 taken out of all odd slots and c_2 out of slots 2 and 6. */
static void sheared_butterfly_8(Pair *t, const Em *f, Complex *z) {
    const Em *tangent = f - 1; /* from 1 on */
    Em c2 = f[5], ratio = f[6], c1 = f[7], c1_half = f[8];
    Complex u[8], even[4], b[4];
    for (int k = 1; k < 8; k++)
        u[k] = k == 4 ? rotated(&t->unit, z[4], (Complex){f[3], f[4]}, false)
                      : sheared(t, z[k], tangent[MIN(k, 8 - k)], k > 4);
    even[0] = complex_add(&t->unit, z[0], u[4]), b[0] = complex_sub(&t->unit, z[0], u[4]);
    even[1] = plus_times(t, u[1], ratio, u[5]), b[1] = minus_times(t, u[1], ratio, u[5]);
    even[2] = complex_add(&t->unit, u[2], u[6]), b[2] = complex_sub(&t->unit, u[2], u[6]);
    Complex scaled_3 = {t->e->ops->arith(t->e, OP_mul, u[3].re, ratio),
                        t->e->ops->arith(t->e, OP_mul, u[3].im, ratio)};
    even[3] = plus_times(t, u[7], ratio, u[3]);
    b[3] = complex_sub(&t->unit, scaled_3, u[7]);
    Complex p = plus_times(t, even[0], c2, even[2]), q = minus_times(t, even[0], c2, even[2]);
    Complex c = complex_add(&t->unit, even[1], even[3]), d = complex_sub(&t->unit, even[1], even[3]);
    z[0] = plus_times(t, p, c1, c);
    z[2] = minus_i_times(t, q, c1, d);
    z[4] = minus_times(t, p, c1, c);
    z[6] = plus_i_times(t, q, c1, d);
    Complex plus_13 = complex_add(&t->unit, b[1], b[3]), minus_13 = complex_sub(&t->unit, b[1], b[3]);
    c = minus_i_times(t, b[0], c2, b[2]);
    d = sub_i(&t->unit, minus_13, plus_13);
    z[1] = plus_times(t, c, c1_half, d);
    z[5] = minus_times(t, c, c1_half, d);
    c = plus_i_times(t, b[0], c2, b[2]);
    d = add_i(&t->unit, minus_13, plus_13);
    z[3] = minus_times(t, c, c1_half, d);
    z[7] = plus_times(t, c, c1_half, d);
}

/* In blocks of 8m elements slot 3 comes to a right angle where 3 divides m. */
static bool is_sheared(int radix, int64_t m, bool inverse) {
    return inverse && (radix == 4 || (radix == 8 && m % 3));
}

static int factor_count(int radix, int64_t m, bool inverse) {
    double unused[MAX_FACTORS];
    return (is_sheared(radix, m, inverse) ? tangent_factors : rotation_factors)(radix, 0, unused);
}

/* For each vector along j its factors, one vector each. */
static bool factor_table(Pair *t, int radix, int64_t length, bool inverse, Em *table) {
    int lanes = t->plan->lanes;
    int64_t m = length / radix, vectors = (m + lanes - 1) / lanes, count = factor_count(radix, m, inverse);
    double *values = mem_alloc(sizeof *values * (size_t)(vectors * count * lanes)), f[MAX_FACTORS];
    if (!values) return false;
    for (int64_t j = 0; j < vectors * lanes; j++) {
        long double angle =
            -2 * 3.14159265358979323846264338327950288L * (long double)(j % m) / (long double)length;
        (is_sheared(radix, m, inverse) ? tangent_factors : rotation_factors)(radix, angle, f);
        for (int i = 0; i < count; i++) values[(j / lanes * count + i) * lanes + j % lanes] = f[i];
    }
    *table = t->e->ops->table(t->e, t->plan->dtype, values, vectors * count * lanes);
    mem_free(values);
    return true;
}

/* A butterfly and the factors of its slots, which follow it forward and precede it inverse. j = 0 … m − 1;
   m = 1 needs no factors. */
static void twiddled_butterfly(Pair *t, int radix, int64_t m, Em table, Em j, Complex *z, bool inverse) {
    int lanes = t->plan->lanes, count = factor_count(radix, m, inverse);
    Em f[MAX_FACTORS], place = t->e->ops->index_op(t->e, INDEX_MUL, j, index_of(t, count));
    if (m == 1 || radix < 2) {
        butterfly(&t->unit, radix, z, inverse);
        return;
    }
    for (int i = 0; i < count; i++) f[i] = load_shared(t, table, plus(t, place, (int64_t)i * lanes));
    if (is_sheared(radix, m, inverse)) {
        exchange_parts(z, radix);
        if (radix == 4) sheared_butterfly_4(t, f, z);
        if (radix == 8) sheared_butterfly_8(t, f, z);
        exchange_parts(z, radix);
        return;
    }
    if (inverse) rotate(t, radix, f, z, true);
    butterfly(&t->unit, radix, z, inverse);
    if (!inverse) rotate(t, radix, f, z, false);
}

/* ---- Passes through memory ---- */

static void vector_pass(Pair *t, int level, int64_t length, Em base, bool inverse) {
    const EmitterOps *o = t->e->ops;
    int radix = t->plan->radices[level];
    int64_t m = length / radix;
    Complex z[PAIR_MAX_RADIX];
    EmLoop loop = o->loop_begin(t->e, index_of(t, 0), index_of(t, m), t->plan->lanes);
    Em at = o->index_op(t->e, INDEX_ADD, base, loop.index);
    for (int q = 0; q < radix; q++) z[q] = load_planes(t, plus(t, at, q * m));
    twiddled_butterfly(t, radix, m, t->tables[inverse][level], loop.index, z, inverse);
    for (int q = 0; q < radix; q++) store_planes(t, plus(t, at, q * m), z[q]);
    o->loop_end(t->e, &loop);
}

/* Vectors j = first, … of the outermost pass, in which slots up to `whole` are signal, lanes up to `rest` of
   the next one, and zeros the others: all of them where the signal is shorter than a slot. */
static void signal_pass(Pair *t, int64_t first, int64_t end, int whole, int rest, bool inverse) {
    const EmitterOps *o = t->e->ops;
    int radix = t->plan->radices[0];
    int64_t m = t->plan->n / radix;
    Complex z[PAIR_MAX_RADIX];
    if (first >= end || (inverse && !whole && !rest)) return;
    EmLoop loop = o->loop_begin(t->e, index_of(t, first), index_of(t, end), t->plan->lanes);
    for (int q = 0; q < radix; q++) {
        int valid = q < whole ? t->plan->lanes : q == whole ? rest : 0;
        Em at = plus(t, loop.index, q * m);
        z[q] = inverse ? load_planes(t, at) : load_signal(t, at, valid);
    }
    twiddled_butterfly(t, radix, m, t->tables[inverse][0], loop.index, z, inverse);
    for (int q = 0; q < radix; q++) {
        int valid = q < whole ? t->plan->lanes : q == whole ? rest : 0;
        Em at = plus(t, loop.index, q * m);
        if (inverse)
            store_signal(t, at, valid, z[q]);
        else
            store_planes(t, at, materialised(&t->unit, z[q]));
    }
    o->loop_end(t->e, &loop);
}

/* The outermost pass: the signal may end within a slot, and there within a vector. */
static void outer_pass(Pair *t, bool inverse) {
    int64_t m = t->plan->n / t->plan->radices[0], lanes = t->plan->lanes;
    int whole = (int)(t->length / m);
    int64_t cut = t->length % m, last = cut / lanes * lanes, next = last + (cut > last ? lanes : 0);
    signal_pass(t, 0, last, whole, (int)lanes, inverse);
    signal_pass(t, last, next, whole, (int)(cut - last), inverse);
    signal_pass(t, next, m, whole, 0, inverse);
    if (!inverse && t->io->loaded) t->io->loaded(t->io->context);
}

static void pass(Pair *t, int level, int64_t length, Em base, int64_t blocks, bool inverse) {
    const EmitterOps *o = t->e->ops;
    if (t->kind == (inverse ? PAIR_FORWARD : PAIR_INVERSE)) return;
    if (level == 0) {
        outer_pass(t, inverse);
    } else if (blocks == 1) {
        vector_pass(t, level, length, base, inverse);
    } else {
        EmLoop loop = o->loop_begin(t->e, base, plus(t, base, blocks * length), length);
        vector_pass(t, level, length, loop.index, inverse);
        o->loop_end(t->e, &loop);
    }
}

/* ---- Leaves ---- */

static void transpose(Pair *t, Complex *z, int count, int unit) {
    Em re[4], im[4];
    for (int i = 0; i < count; i++) re[i] = z[i].re, im[i] = z[i].im;
    t->e->ops->transpose(t->e, re, count, unit);
    t->e->ops->transpose(t->e, im, count, unit);
    for (int i = 0; i < count; i++) z[i] = (Complex){re[i], im[i]};
}

static void tail_stage(Pair *t, int stage, int length, Complex *z, bool inverse) {
    int radix = t->plan->tail[stage], unit = length / radix;
    Em table = t->tables[inverse][t->plan->npasses + 1 + stage];
    for (int first = 0; first < t->plan->group; first += radix) {
        Complex *part = z + first;
        if (!inverse) transpose(t, part, radix, unit);
        twiddled_butterfly(t, radix, unit, table, index_of(t, 0), part, inverse);
        if (inverse) transpose(t, part, radix, unit);
    }
}

static Complex filtered(Pair *t, Em at, Complex z) {
    const PairIo *io = t->io;
    if (io->bins)
        io->bins(io->context, at, &z.re, &z.im);
    else if (t->kind == PAIR_FILTER)
        z = rotated(&t->unit, z, (Complex){load_shared(t, io->k_re, at), load_shared(t, io->k_im, at)},
                    false);
    return z;
}

/* The transform within the vectors of a group, to the spectrum and back; `at` is the group's place. */
static void tail(Pair *t, Em at, Complex *z) {
    const PairPlan *p = t->plan;
    int length = p->lanes;
    for (int s = 0; s < p->ntail; s++) {
        if (t->kind != PAIR_INVERSE) tail_stage(t, s, length, z, false);
        length /= p->tail[s];
    }
    for (int i = 0; i < p->group; i++) z[i] = filtered(t, plus(t, at, (int64_t)i * p->lanes), z[i]);
    for (int s = p->ntail; s-- > 0;) {
        length *= p->tail[s];
        if (t->kind != PAIR_FORWARD) tail_stage(t, s, length, z, true);
    }
}

/* Where there are no passes, the leaf is the whole transform: lanes of its vector i that are signal. */
static int leaf_lanes(const Pair *t, int i) {
    return (int)MIN(t->plan->lanes, t->length - (int64_t)i * t->plan->lanes);
}

static void leaf(Pair *t, Em at) {
    const PairPlan *p = t->plan;
    int vectors = p->leaf ? p->leaf : p->group;
    Em start = index_of(t, 0);
    bool forward = t->kind != PAIR_INVERSE, inverse = t->kind != PAIR_FORWARD, whole = p->npasses == 0;
    Complex z[PAIR_MAX_RADIX];
    for (int i = 0; i < vectors; i++) {
        Em place = plus(t, at, (int64_t)i * p->lanes);
        z[i] = whole && forward ? load_signal(t, place, leaf_lanes(t, i)) : load_planes(t, place);
    }
    if (whole && forward && t->io->loaded) t->io->loaded(t->io->context);
    if (forward) twiddled_butterfly(t, p->leaf, p->lanes, t->tables[0][p->npasses], start, z, false);
    for (int i = 0; i < vectors; i++) z[i] = materialised(&t->unit, z[i]);
    for (int i = 0; i < vectors; i += p->group) tail(t, plus(t, at, (int64_t)i * p->lanes), z + i);
    if (inverse) twiddled_butterfly(t, p->leaf, p->lanes, t->tables[1][p->npasses], start, z, true);
    for (int i = 0; i < vectors && !t->io->discard; i++) {
        Em place = plus(t, at, (int64_t)i * p->lanes);
        if (whole && inverse)
            store_signal(t, place, leaf_lanes(t, i), z[i]);
        else
            store_planes(t, place, z[i]);
    }
}

static void leaves(Pair *t, Em base, int64_t elements) {
    const PairPlan *p = t->plan;
    int64_t step = (int64_t)(p->leaf ? p->leaf : p->group) * p->lanes;
    if (elements <= step) {
        leaf(t, base);
        return;
    }
    EmLoop loop = t->e->ops->loop_begin(t->e, base, plus(t, base, elements), step);
    leaf(t, loop.index);
    t->e->ops->loop_end(t->e, &loop);
}

/* ---- The whole ---- */

/* `blocks` blocks of `length` from base on, with all that is below them. */
static void span(Pair *t, int level, int64_t length, Em base, int64_t blocks) {
    const EmitterOps *o = t->e->ops;
    if (level == t->plan->npasses) {
        leaves(t, base, blocks * length);
    } else if (blocks > 1 && blocks * length > t->plan->span) {
        EmLoop loop = o->loop_begin(t->e, base, plus(t, base, blocks * length), length);
        span(t, level, length, loop.index, 1);
        o->loop_end(t->e, &loop);
    } else {
        int radix = t->plan->radices[level];
        pass(t, level, length, base, blocks, false);
        span(t, level + 1, length / radix, base, blocks * radix);
        pass(t, level, length, base, blocks, true);
    }
}

static bool make_tables(Pair *t) {
    const PairPlan *p = t->plan;
    int64_t length = p->n;
    for (int i = 0; i <= p->npasses + p->ntail; i++) {
        int radix = i < p->npasses ? p->radices[i] : i == p->npasses ? p->leaf : p->tail[i - p->npasses - 1];
        for (int inverse = 0; inverse < 2; inverse++) {
            bool used = radix > 1 && length > radix && t->kind != (inverse ? PAIR_FORWARD : PAIR_INVERSE);
            if (used && !factor_table(t, radix, length, inverse, &t->tables[inverse][i])) return false;
        }
        length /= MAX(radix, 1);
    }
    return true;
}

bool emit_pair_transform(Emitter *e, const PairPlan *plan, PairKind kind, const PairIo *io) {
    if (plan->registers) return emit_team_transform(e, plan, kind, io);
    Pair t = {.e = e, .plan = plan, .kind = kind, .io = io};
    t.unit = (ButterflyUnit){e, em_type_of(plan->dtype), pair_fft_width(plan)};
    t.length = io->length ? io->length : plan->n;
    if (!make_tables(&t)) return false;
    span(&t, 0, plan->n, index_of(&t, 0), 1);
    return true;
}

bool emit_pair_fft(Emitter *e, const PairPlan *plan, PairKind kind) {
    static const EmType types[4] = {EM_POINTER, EM_POINTER, EM_POINTER, EM_POINTER};
    Em params[4] = {0};
    char name[48];
    pair_fft_name(plan, kind, name);
    e->ops->function_begin(e, name, types, kind == PAIR_FILTER ? 4 : 2, params);
    PairIo io = {.re = params[0], .im = params[1], .k_re = params[2], .k_im = params[3]};
    bool ok = emit_pair_transform(e, plan, kind, &io);
    e->ops->function_end(e);
    return ok;
}
