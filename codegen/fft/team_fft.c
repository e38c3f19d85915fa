/* team_fft.c — the transform of a pair of rows by a team of threads of a GPU (pair_fft.h): the signal stays
 * in registers, and lanes exchange it through shared memory between the passes.
 *
 * Thread t of T holds registers s = 0 … R − 1, R = n/T. Before pass p, of radix r over blocks of L elements,
 * register s holds element team_element(p, s, t): with g = R/r and m = L/r, butterfly c = t + T·(s mod g) is
 * the one of element c mod m of block c div m, and s div g its slot. In the first pass that is element s·T +
 * t: a warp's load or store of the signal is one line of 128 bytes. (16 bytes a thread would be four
 * neighbours in one thread, which the first pass does not want together: they would cost an exchange more.)
 * A pass is a butterfly of radix r over the slots and factors w_L^{jk}, j = c mod m; the inverse goes the way
 * back. The bins stay where the last pass leaves them, register s of lane t at position s·T + t, so that K is
 * read and spectra are kept contiguously.
 *
 * Causal operators put zeros behind a signal x of N ≤ m samples, up to n = 2m. That signal is nowhere: its
 * even bins are the transform of x over m points, its odd bins that of x_j·w^j, w = e^{−2πi/n}, and the first
 * m samples of the inverse are the even bins' inverse plus w^{−j} times the odd bins'. So a team holds m
 * points and exchanges m at a time, one half after the other; x, then the first half's result, stay in
 * registers beside them. The factors w^j are those of the first pass: of j = c + q·m/r, w^c joins the factors
 * behind the butterfly and e^{−πi·q/r} is a constant.
 *
 * The reckoning for N = 4096, a pair of rows: in one piece, 2^13 points are four passes of 512 threads, with
 * six exchanges of 8192 points; in halves, three passes of 256 threads with eight exchanges of 4096, two
 * thirds as much, in half the memory. Where the passes are as many, exchanges are equal. So are additions and
 * multiplications: the halves lack the radix-2 step of which zeros leave only the factors.
 */
#include "butterfly.h"
#include "cuda_emitter.h"
#include "pair_fft.h"
#include <math.h>
#include <string.h>

typedef struct Team {
    ButterflyUnit unit;
    Emitter *e;
    const PairPlan *plan;
    const PairIo *io;
    int64_t length; /* of the signal */
    int half;       /* that is transformed: even or odd bins */
    Em exchange[2]; /* of real and imaginary parts; the same where memory is short */
    Complex z[TEAM_MAX_RADIX];
} Team;

static Em index_of(const Team *t, int64_t value) {
    return t->e->ops->index(t->e, value);
}

static int64_t block_length(const PairPlan *p, int pass) {
    int64_t length = team_points(p);
    for (int i = 0; i < pass; i++) length /= p->radices[i];
    return length;
}

/* ---- Places ---- */

/* $l stands for the lane. */
static Em lane_place(const Team *t, const char *form) {
    return cuda_define(cuda_self(t->e), EM_INDEX, t->plan->lanes, form, NULL);
}

static Em with_way(const Team *t, Em place, long long way) {
    char form[40];
    snprintf(form, sizeof form, "$a + %lld", way);
    return way ? cuda_define(cuda_self(t->e), EM_INDEX, t->plan->lanes, form, &place) : place;
}

static Em padded(const Team *t, Em element) {
    char form[40];
    snprintf(form, sizeof form, "$a + ($a >> %d)", t->plan->pad_shift);
    if (!t->plan->pad_shift) return element;
    return cuda_define(cuda_self(t->e), EM_INDEX, t->plan->lanes, form, &element);
}

/* Where the registers of each lane are exchanged before a pass. */
typedef struct Places {
    int pass;
    Em first, first_padded; /* the lane's first register: its element, and where that lies */
} Places;

static Places places_before(const Team *t, int pass) {
    const PairPlan *p = t->plan;
    long long length = block_length(p, pass), m = length / p->radices[pass];
    char form[128];
    snprintf(form, sizeof form, m < p->lanes ? "$l / %lld * %lld + $l %% %lld" : "$l", m, length, m);
    Em first = lane_place(t, form);
    return (Places){pass, first, padded(t, first)};
}

/* The way from the first register adds up with its padding where it is a multiple of the padding's unit. */
static Em place_of(const Team *t, const Places *places, int s) {
    const PairPlan *p = t->plan;
    long long way = team_element(p, places->pass, s, 0);
    if (way % (1 << p->pad_shift) == 0) return with_way(t, places->first_padded, team_place(p, way));
    return padded(t, with_way(t, places->first, way));
}

/* ---- Factors ---- */

/* e^{−2πi·turns·j}, exactly rounded or nearly so. */
static Complex root_of_unity(const Team *t, Em j, double turns) {
    CudaEmitter *c = cuda_self(t->e);
    Complex w = {cuda_declare(c, t->unit.type, t->plan->lanes),
                 cuda_declare(c, t->unit.type, t->plan->lanes)};
    const char *re = cuda_register(c, w.re, 0), *im = cuda_register(c, w.im, 0);
    bool is_f64 = t->unit.type == EM_F64;
    cuda_line(c, "%s %s, %s;", cuda_type(t->unit.type), re, im);
    cuda_line(c, "sincospi%s(%s * %s, &%s, &%s);", is_f64 ? "" : "f", cuda_register(c, j, 0),
              cuda_register(c, t->e->ops->constant(t->e, t->unit.type, -2 * turns), 0), im, re);
    return w;
}

/* Numbers below `count`, a power of two, in the order of their reversed bits. */
static int reversed(int n, int count) {
    int result = 0;
    for (int bit = 1; bit < count; bit *= 2) result = 2 * result + (n & bit ? 1 : 0);
    return result;
}

static bool is_odd_half(const Team *t, int pass) {
    return t->half && pass == 0;
}

/* Slot k times w^k, w = w_L^j at element j of each lane; in the odd half's first pass times w^(k + 1/2). w
   and w⁴ as they are, other powers as products, each from the one without its highest bit. In this order few
   of them are needed at a time. */
static void turn_slots(const Team *t, int pass, int first, Complex *z, bool conjugate) {
    const PairPlan *p = t->plan;
    int radix = p->radices[pass];
    long long length = block_length(p, pass), m = length / radix;
    Complex base[TEAM_MAX_RADIX], w[TEAM_MAX_RADIX] = {0};
    char form[64];
    snprintf(form, sizeof form, m < p->lanes ? "$l %% %lld" : "$l", m);
    Em j = with_way(t, lane_place(t, form), (long long)p->lanes * first % m);
    for (int bit = 1; bit < radix; bit *= 2)
        base[bit] = bit == 1 || bit == 4 ? root_of_unity(t, j, bit / (double)length)
                                         : rotated(&t->unit, base[bit / 2], base[bit / 2], false);
    if (is_odd_half(t, pass)) w[0] = root_of_unity(t, j, 0.5 / (double)length);
    for (int n = 0; n < radix; n++) {
        int k = reversed(n, radix), high = k >= 8 ? 8 : k >= 4 ? 4 : k >= 2 ? 2 : k;
        if (k) w[k] = w[k - high].re.ref ? rotated(&t->unit, w[k - high], base[high], false) : base[high];
        if (w[k].re.ref) z[k] = rotated(&t->unit, z[k], w[k], conjugate);
    }
}

/* Slot q times e^{−πi·q/radix}: what is left of the odd half's e^{−2πi·element/n}. */
static void turn_by_constants(const Team *t, int radix, Complex *z, bool conjugate) {
    for (int q = 1; q < radix; q++) {
        double angle = M_PI * q / radix;
        Em re = t->e->ops->constant(t->e, t->unit.type, cos(angle));
        Em im = t->e->ops->constant(t->e, t->unit.type, -sin(angle));
        if (2 * q == radix)
            z[q] = (conjugate ? add_i : sub_i)(&t->unit, (Complex){0}, z[q]);
        else
            z[q] = rotated(&t->unit, z[q], (Complex){re, im}, conjugate);
    }
}

/* ---- Passes ---- */

/* All butterflies of a thread, and their factors: after them forward, before them inverse. */
static void pass_in_registers(Team *t, int pass, bool inverse) {
    const PairPlan *p = t->plan;
    int radix = p->radices[pass], groups = p->registers / radix;
    bool turns = block_length(p, pass) > radix, odd = is_odd_half(t, pass);
    for (int i = 0; i < groups; i++) {
        Complex z[TEAM_MAX_RADIX];
        for (int q = 0; q < radix; q++) z[q] = t->z[i + q * groups];
        if (turns && inverse) turn_slots(t, pass, i, z, true);
        if (odd && !inverse) turn_by_constants(t, radix, z, false);
        butterfly(&t->unit, radix, z, inverse);
        if (odd && inverse) turn_by_constants(t, radix, z, true);
        if (turns && !inverse) turn_slots(t, pass, i, z, false);
        for (int q = 0; q < radix; q++) t->z[i + q * groups] = z[q];
    }
}

static Em *part_of(Complex *z, int part) {
    return part ? &z->im : &z->re;
}

/* From the places before one pass to those before another. */
static void exchange(Team *t, int from, int to) {
    const PairPlan *p = t->plan;
    bool together = team_exchange_apart(p) > 0;
    Places before = places_before(t, from), after = places_before(t, to);
    for (int s = 0; s < p->registers; s++) t->z[s] = materialised(&t->unit, t->z[s]);
    for (int first = 0; first < 2; first += together ? 2 : 1) {
        int end = together ? 2 : first + 1;
        for (int part = first; part < end; part++)
            for (int s = 0; s < p->registers; s++)
                cuda_scatter(t->e, t->exchange[part], p->dtype, place_of(t, &before, s),
                             *part_of(&t->z[s], part));
        for (int part = first; part < end; part++)
            for (int s = 0; s < p->registers; s++)
                *part_of(&t->z[s], part) =
                    cuda_gather(t->e, t->exchange[part], p->dtype, place_of(t, &after, s));
    }
}

/* ---- The signal, and the spectrum ---- */

static Em lanes_below(const Team *t, int64_t valid) {
    const EmitterOps *o = t->e->ops;
    if (valid >= t->plan->lanes) return (Em){0};
    return o->index_less(t->e, o->index_lanes(t->e, index_of(t, 0), 1, t->plan->lanes), index_of(t, valid));
}

static void load_signal(Team *t) {
    const EmitterOps *o = t->e->ops;
    const PairPlan *p = t->plan;
    for (int s = 0; s < p->registers; s++) {
        int64_t first = (int64_t)s * p->lanes, valid = t->length - first;
        Em at = index_of(t, first);
        t->z[s] = (Complex){0};
        if (valid <= 0) continue;
        Em mask = lanes_below(t, valid);
        if (t->io->load)
            t->io->load(t->io->context, at, mask, &t->z[s].re, &t->z[s].im);
        else
            t->z[s] = (Complex){o->load(t->e, t->io->re, p->dtype, at, 1, p->lanes, mask),
                                o->load(t->e, t->io->im, p->dtype, at, 1, p->lanes, mask)};
    }
    if (t->io->loaded) t->io->loaded(t->io->context);
}

static void store_planes(Team *t, Em at, Complex z) {
    t->e->ops->store(t->e, t->io->re, t->plan->dtype, at, 1, z.re, (Em){0});
    t->e->ops->store(t->e, t->io->im, t->plan->dtype, at, 1, z.im, (Em){0});
}

static void store_signal(Team *t) {
    const PairPlan *p = t->plan;
    for (int s = 0; s < p->registers; s++) {
        int64_t first = (int64_t)s * p->lanes, valid = t->length - first;
        if (valid <= 0) continue;
        if (t->io->store)
            t->io->store(t->io->context, index_of(t, first), lanes_below(t, valid), t->z[s].re, t->z[s].im);
        else
            store_planes(t, index_of(t, first), t->z[s]);
    }
}

/* The position of register s in lane 0. */
static Em position_of(const Team *t, int s) {
    return index_of(t, t->half * team_points(t->plan) + (int64_t)s * t->plan->lanes);
}

static void load_spectrum(Team *t) {
    const EmitterOps *o = t->e->ops;
    const PairPlan *p = t->plan;
    for (int s = 0; s < p->registers; s++) {
        Em at = position_of(t, s);
        t->z[s] = (Complex){o->load(t->e, t->io->re, p->dtype, at, 1, p->lanes, (Em){0}),
                            o->load(t->e, t->io->im, p->dtype, at, 1, p->lanes, (Em){0})};
    }
}

static void visit_bins(Team *t, PairKind kind) {
    const PairPlan *p = t->plan;
    for (int s = 0; s < p->registers; s++) {
        Em at = position_of(t, s);
        t->z[s] = materialised(&t->unit, t->z[s]);
        if (t->io->bins) {
            t->io->bins(t->io->context, at, &t->z[s].re, &t->z[s].im);
        } else if (kind == PAIR_FILTER) {
            const EmitterOps *o = t->e->ops;
            Complex k = {o->load(t->e, t->io->k_re, p->dtype, at, 1, p->lanes, (Em){0}),
                         o->load(t->e, t->io->k_im, p->dtype, at, 1, p->lanes, (Em){0})};
            t->z[s] = rotated(&t->unit, t->z[s], k, false);
        }
        if (kind == PAIR_FORWARD && !t->io->discard) store_planes(t, at, t->z[s]);
    }
}

/* To the bins of a half, and back. */
static void transform_half(Team *t, PairKind kind) {
    const PairPlan *p = t->plan;
    if (kind == PAIR_INVERSE && t->io->re.ref) load_spectrum(t);
    for (int pass = 0; pass < p->npasses && kind != PAIR_INVERSE; pass++) {
        if (pass) exchange(t, pass - 1, pass);
        pass_in_registers(t, pass, false);
    }
    visit_bins(t, kind);
    for (int pass = p->npasses - 1; pass >= 0 && kind != PAIR_FORWARD; pass--) {
        pass_in_registers(t, pass, true);
        if (pass) exchange(t, pass, pass - 1);
    }
}

bool emit_team_transform(Emitter *e, const PairPlan *plan, PairKind kind, const PairIo *io) {
    Team t = {.unit = {e, em_type_of(plan->dtype), plan->lanes}, .e = e, .plan = plan, .io = io};
    Complex x[TEAM_MAX_RADIX], y[TEAM_MAX_RADIX];
    t.length = io->length ? io->length : plan->n;
    cuda_exchange_memory(e, team_exchange_bytes(plan), team_exchange_apart(plan), t.exchange);
    if (kind != PAIR_INVERSE) load_signal(&t);
    memcpy(x, t.z, sizeof x);
    transform_half(&t, kind);
    if (plan->halved) {
        memcpy(y, t.z, sizeof y);
        memcpy(t.z, x, sizeof x);
        t.half = 1;
        transform_half(&t, kind);
        for (int s = 0; s < plan->registers; s++) t.z[s] = complex_add(&t.unit, y[s], t.z[s]);
    }
    if (kind != PAIR_FORWARD) store_signal(&t);
    return true;
}
