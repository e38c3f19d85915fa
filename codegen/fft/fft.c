/* fft.c — the generator of real Fourier transforms: for a power of two, straight vector code through the
 * emitter.
 *
 * A real row of n = 2M samples is M complex numbers (even samples + i·odd samples); their M-point transform
 * is untangled into the n/2 + 1 bins, and back. The complex transform is Stockham's (natural order in and
 * out): with radix r and s transforms already interleaved, length left l = M/s,
 *
 *     y[q + s(r·p + k)] = w_l^{pk} Σ_m w_r^{mk} x[q + s·p + m·M/r],   0 ≤ p < l/r, 0 ≤ q < s,   w_l =
 * e^{−2πi/l}.
 *
 * With t = q + s·p all loads are contiguous in t; stores are contiguous in q once s fills a vector, and
 * before that the r results are interleaved in registers in units of s. Real and imaginary parts lie in
 * planes of their own, which passes read and write in turn. The inverse is the forward transform with the
 * planes exchanged.
 */
#include "fft_generator.h"
#include "kernel.h"
#include <math.h>

enum { SHORTEST = 32, LONGEST = 65536, PLANE_PAD = 80 };

typedef struct Planes {
    Em re, im;
} Planes;

typedef struct Complex {
    Em re, im;
} Complex;

typedef struct Transform {
    Emitter *e;
    FraxDType dtype;
    EmType type;
    int64_t points; /* M */
    int lanes;
} Transform;

static bool is_power_of_two(int64_t n) {
    return (n & (n - 1)) == 0;
}

/* Of the other lengths those whose halves fill vectors of four at least: 5/6 of the library's time. */
bool fft_is_generated(const FftShape *shape) {
    int64_t n = shape->dims[0];
    if (shape->rank != 1 || n < SHORTEST || n > LONGEST) return false;
    return is_power_of_two(n) || (n % 8 == 0 && is_generated_length(shape->dtype, n / 2));
}

static int64_t plane_elements(const FftShape *shape) {
    return shape->dims[0] / 2 + PLANE_PAD; /* planes at unequal offsets modulo 4096 */
}

size_t fft_work_bytes(const FftShape *shape) {
    return 4 * (size_t)plane_elements(shape) * frax_dtype_size(shape->dtype);
}

void fft_function_name(const FftShape *shape, bool inverse, char name[80]) {
    snprintf(name, 80, "frax_fft_%s_%lld_%s", frax_dtype_name(shape->dtype), (long long)shape->dims[0],
             inverse ? "inverse" : "forward");
}

/* ---- Small arithmetic ---- */

static Em index_of(Transform *t, int64_t value) {
    return t->e->ops->index(t->e, value);
}

static Em plus(Transform *t, Em a, Em b) {
    return t->e->ops->index_op(t->e, INDEX_ADD, a, b);
}

static Em times(Transform *t, Em a, int64_t b) {
    return t->e->ops->index_op(t->e, INDEX_MUL, a, index_of(t, b));
}

static Em add(Transform *t, Em a, Em b) {
    return t->e->ops->arith(t->e, OP_add, a, b);
}

static Em sub(Transform *t, Em a, Em b) {
    return t->e->ops->arith(t->e, OP_sub, a, b);
}

static Em mul(Transform *t, Em a, Em b) {
    return t->e->ops->arith(t->e, OP_mul, a, b);
}

static Complex complex_add(Transform *t, Complex a, Complex b) {
    return (Complex){add(t, a.re, b.re), add(t, a.im, b.im)};
}

static Complex complex_sub(Transform *t, Complex a, Complex b) {
    return (Complex){sub(t, a.re, b.re), sub(t, a.im, b.im)};
}

static Complex complex_mul(Transform *t, Complex a, Complex b) {
    return (Complex){sub(t, mul(t, a.re, b.re), mul(t, a.im, b.im)),
                     add(t, mul(t, a.re, b.im), mul(t, a.im, b.re))};
}

static Em load(Transform *t, Em plane, Em at, int lanes) {
    return t->e->ops->load(t->e, plane, t->dtype, at, 1, lanes, (Em){0});
}

static void store(Transform *t, Em plane, Em at, Em value) {
    t->e->ops->store(t->e, plane, t->dtype, at, 1, value, (Em){0});
}

static Complex load_planes(Transform *t, Planes p, Em at) {
    return (Complex){load(t, p.re, at, t->lanes), load(t, p.im, at, t->lanes)};
}

/* ---- Butterflies ---- */

/* y_k = Σ_m w_r^{mk} x_m for r = 2, 4; in place. */
static void butterfly(Transform *t, int radix, Complex *x) {
    if (radix == 2) {
        Complex sum = complex_add(t, x[0], x[1]), difference = complex_sub(t, x[0], x[1]);
        x[0] = sum;
        x[1] = difference;
        return;
    }
    Complex a = complex_add(t, x[0], x[2]), b = complex_sub(t, x[0], x[2]);
    Complex c = complex_add(t, x[1], x[3]), d = complex_sub(t, x[1], x[3]);
    x[0] = complex_add(t, a, c);
    x[2] = complex_sub(t, a, c);
    x[1] = (Complex){add(t, b.re, d.im), sub(t, b.im, d.re)}; /* b − i·d */
    x[3] = (Complex){sub(t, b.re, d.im), add(t, b.im, d.re)}; /* b + i·d */
}

/* ---- Twiddle factors ---- */

/* cos and −sin of 2π·a/b, with a reduced to the first octant so that both are accurate to the last bit. */
static void root_of_unity(int64_t a, int64_t b, double *re, double *im) {
    long double angle = 2 * 3.14159265358979323846264338327950288L * (long double)(a % b) / (long double)b;
    *re = (double)cosl(angle);
    *im = (double)-sinl(angle);
}

/* w_l^{pk}, p = t/s, for k = 1…r−1: vectors along t where a vector spans several p; one number per p
 * otherwise. */
static bool twiddle_table(Transform *t, int radix, int64_t s, Em *table) {
    int64_t length = t->points / s, count = s < t->lanes ? t->points / radix : length / radix;
    double *values = mem_alloc(sizeof *values * (size_t)(2 * (radix - 1) * count));
    if (!values) return false;
    for (int k = 1; k < radix; k++)
        for (int64_t i = 0; i < count; i++) {
            int64_t p = s < t->lanes ? i / s : i;
            double *at =
                s < t->lanes ? &values[2 * (k - 1) * count + i] : &values[2 * ((radix - 1) * p + k - 1)];
            root_of_unity(p * k, length, at, s < t->lanes ? at + count : at + 1);
        }
    *table = t->e->ops->table(t->e, t->dtype, values, 2 * (radix - 1) * count);
    mem_free(values);
    return true;
}

/* ---- Passes ---- */

/* Where a pass reads and writes: planes, or a row of real samples as interleaved complex numbers. */
typedef struct Pass {
    Planes from, to;
    Em row_from, row_to; /* ref NULL: planes */
    bool swapped;        /* exchange real and imaginary parts at the row */
    int radix;
    int64_t s;
    Em table;
} Pass;

static Complex exchange_if(bool swapped, Complex z) {
    return swapped ? (Complex){z.im, z.re} : z;
}

static Complex pass_load(Transform *t, const Pass *p, Em at) {
    Complex z;
    if (!p->row_from.ref) return load_planes(t, p->from, at);
    t->e->ops->load_complex(t->e, p->row_from, t->dtype, at, t->lanes, &z.re, &z.im);
    return exchange_if(p->swapped, z);
}

static void pass_store(Transform *t, const Pass *p, Em at, Complex z) {
    if (p->row_to.ref) {
        z = exchange_if(p->swapped, z);
        t->e->ops->store_complex(t->e, p->row_to, t->dtype, at, z.re, z.im);
        return;
    }
    store(t, p->to.re, at, z.re);
    store(t, p->to.im, at, z.im);
}

static void load_operands(Transform *t, const Pass *p, Em at, Complex *x) {
    for (int m = 0; m < p->radix; m++)
        x[m] = pass_load(t, p, plus(t, at, index_of(t, m * (t->points / p->radix))));
    butterfly(t, p->radix, x);
}

/* A vector spans several p: results are interleaved in units of s. */
static void narrow_pass(Transform *t, const Pass *p) {
    const EmitterOps *o = t->e->ops;
    int64_t count = t->points / p->radix;
    Complex x[4];
    Em re[4], im[4];
    EmLoop loop = o->loop_begin(t->e, index_of(t, 0), index_of(t, count), t->lanes);
    load_operands(t, p, loop.index, x);
    for (int k = 0; k < p->radix; k++) {
        if (k) {
            Em place = plus(t, loop.index, index_of(t, 2 * (k - 1) * count));
            Complex w = {load(t, p->table, place, t->lanes),
                         load(t, p->table, plus(t, place, index_of(t, count)), t->lanes)};
            x[k] = complex_mul(t, x[k], w);
        }
        re[k] = x[k].re;
        im[k] = x[k].im;
    }
    Complex y = {o->interleave(t->e, re, p->radix, (int)p->s), o->interleave(t->e, im, p->radix, (int)p->s)};
    pass_store(t, p, times(t, loop.index, p->radix), y);
    o->loop_end(t->e, &loop);
}

/* A vector lies within one p: factors are uniform, stores contiguous. */
static void wide_pass(Transform *t, const Pass *p) {
    const EmitterOps *o = t->e->ops;
    int64_t groups = t->points / p->s / p->radix;
    Complex x[4], w[4];
    EmLoop over_p = o->loop_begin(t->e, index_of(t, 0), index_of(t, groups), 1);
    for (int k = 1; k < p->radix && groups > 1; k++) {
        Em place = plus(t, times(t, over_p.index, 2 * (p->radix - 1)), index_of(t, 2 * (k - 1)));
        w[k] = (Complex){load(t, p->table, place, 1), load(t, p->table, plus(t, place, index_of(t, 1)), 1)};
    }
    EmLoop over_q = o->loop_begin(t->e, index_of(t, 0), index_of(t, p->s), t->lanes);
    load_operands(t, p, plus(t, over_q.index, times(t, over_p.index, p->s)), x);
    Em at = plus(t, over_q.index, times(t, over_p.index, p->s * p->radix));
    for (int k = 0; k < p->radix; k++) {
        if (k && groups > 1)
            x[k] = complex_mul(t, x[k], w[k]); /* the last pass has p = 0 alone: all factors are 1 */
        pass_store(t, p, plus(t, at, index_of(t, k * p->s)), x[k]);
    }
    o->loop_end(t->e, &over_q);
    o->loop_end(t->e, &over_p);
}

/* The M-point transform: reads planes[0] or row_from, ends in the returned planes or in row_to. */
static bool emit_passes(Transform *t, Planes planes[2], Em row_from, Em row_to, bool swapped, int *result) {
    int from = 0;
    for (int64_t s = 1; s < t->points;) {
        Pass p = {.radix = t->points / s % 4 == 0 ? 4 : 2,
                  .s = s,
                  .from = planes[from],
                  .to = planes[!from],
                  .swapped = swapped};
        if (s == 1) p.row_from = row_from;
        if (s * p.radix == t->points) p.row_to = row_to;
        if (s * p.radix < t->points || s < t->lanes)
            if (!twiddle_table(t, p.radix, s, &p.table)) return false;
        if (s < t->lanes)
            narrow_pass(t, &p);
        else
            wide_pass(t, &p);
        s *= p.radix;
        from = !from;
    }
    *result = from;
    return true;
}

/* ---- Real transforms ---- */

/* e^{−2πik/n} for k < M, real parts then imaginary parts. */
static bool untangling_table(Transform *t, Em *table) {
    double *values = mem_alloc(sizeof *values * (size_t)(2 * t->points));
    if (!values) return false;
    for (int64_t k = 0; k < t->points; k++)
        root_of_unity(k, 2 * t->points, &values[k], &values[t->points + k]);
    *table = t->e->ops->table(t->e, t->dtype, values, 2 * t->points);
    mem_free(values);
    return true;
}

static Complex untangling_factor(Transform *t, Em table, Em k) {
    return (Complex){load(t, table, k, t->lanes),
                     load(t, table, plus(t, k, index_of(t, t->points)), t->lanes)};
}

/* The first of the lanes that hold M − k, M − k − 1, … in reverse. */
static Em mirrored(Transform *t, Em k) {
    return t->e->ops->index_op(t->e, INDEX_SUB, index_of(t, t->points - t->lanes + 1), k);
}

static Complex reversed(Transform *t, Complex z) {
    return (Complex){t->e->ops->reverse(t->e, z.re), t->e->ops->reverse(t->e, z.im)};
}

static Complex load_one(Transform *t, Planes z, int64_t at) {
    return (Complex){load(t, z.re, index_of(t, at), 1), load(t, z.im, index_of(t, at), 1)};
}

/* X_k = E + w^k·O, E = (Z_k + Z*_{M−k})/2, O = (Z_k − Z*_{M−k})/2i; Z_M = Z_0. */
static bool untangle(Transform *t, Planes z, Em spectrum) {
    const EmitterOps *o = t->e->ops;
    Em table, half = o->constant(t->e, t->type, 0.5);
    if (!untangling_table(t, &table)) return false;
    Complex first = load_one(t, z, 0);
    store(t, z.re, index_of(t, t->points), first.re);
    store(t, z.im, index_of(t, t->points), first.im);
    EmLoop loop = o->loop_begin(t->e, index_of(t, 0), index_of(t, t->points), t->lanes);
    Complex a = load_planes(t, z, loop.index), b = reversed(t, load_planes(t, z, mirrored(t, loop.index)));
    Complex even = {mul(t, add(t, a.re, b.re), half), mul(t, sub(t, a.im, b.im), half)};
    Complex odd = {mul(t, add(t, a.im, b.im), half), mul(t, sub(t, b.re, a.re), half)};
    Complex x = complex_add(t, even, complex_mul(t, odd, untangling_factor(t, table, loop.index)));
    o->store_complex(t->e, spectrum, t->dtype, loop.index, x.re, x.im);
    o->loop_end(t->e, &loop);
    o->store_complex(t->e, spectrum, t->dtype, index_of(t, t->points), sub(t, first.re, first.im),
                     o->constant(t->e, t->type, 0));
    return true;
}

/* Z_k = (Y_k + Y*_{M−k}) + i·w^{−k}(Y_k − Y*_{M−k}); the imaginary parts of Y_0 and Y_M have no effect. */
static bool tangle(Transform *t, Em spectrum, Planes z) {
    const EmitterOps *o = t->e->ops;
    Em table;
    Complex first, last, b;
    if (!untangling_table(t, &table)) return false;
    EmLoop loop = o->loop_begin(t->e, index_of(t, 0), index_of(t, t->points), t->lanes);
    Complex a;
    o->load_complex(t->e, spectrum, t->dtype, loop.index, t->lanes, &a.re, &a.im);
    o->load_complex(t->e, spectrum, t->dtype, mirrored(t, loop.index), t->lanes, &b.re, &b.im);
    b = reversed(t, b);
    Complex w = untangling_factor(t, table, loop.index),
            difference = {sub(t, a.re, b.re), add(t, a.im, b.im)};
    Em re = add(t, mul(t, w.re, difference.re), mul(t, w.im, difference.im)); /* w*·difference */
    Em im = sub(t, mul(t, w.re, difference.im), mul(t, w.im, difference.re));
    store(t, z.re, loop.index, sub(t, add(t, a.re, b.re), im));
    store(t, z.im, loop.index, add(t, sub(t, a.im, b.im), re));
    o->loop_end(t->e, &loop);
    o->load_complex(t->e, spectrum, t->dtype, index_of(t, 0), 1, &first.re, &first.im);
    o->load_complex(t->e, spectrum, t->dtype, index_of(t, t->points), 1, &last.re, &last.im);
    store(t, z.re, index_of(t, 0), add(t, first.re, last.re));
    store(t, z.im, index_of(t, 0), sub(t, first.re, last.re));
    return true;
}

/* void name(x, spectrum, work): forward reads x and writes spectrum; inverse the other way round,
 * unnormalised. */
bool emit_fft(Emitter *e, const FftShape *shape, bool inverse) {
    if (!is_power_of_two(shape->dims[0])) return emit_half_fft(e, shape, inverse);
    Transform t = {
        .e = e, .dtype = shape->dtype, .type = em_type_of(shape->dtype), .points = shape->dims[0] / 2};
    char name[80];
    Em params[3];
    Planes planes[2];
    int result;
    t.lanes = (int)MIN((int64_t)e->vector_bytes / (int64_t)frax_dtype_size(shape->dtype), t.points / 4);
    fft_function_name(shape, inverse, name);
    e->ops->function_begin(e, name, (EmType[]){EM_POINTER, EM_POINTER, EM_POINTER}, 3, params);
    int64_t plane = plane_elements(shape) * (int64_t)frax_dtype_size(shape->dtype);
    for (int i = 0; i < 2; i++) {
        planes[i].re = e->ops->pointer(e, params[2], index_of(&t, 2 * i * plane));
        planes[i].im = e->ops->pointer(e, params[2], index_of(&t, (2 * i + 1) * plane));
    }
    Em none = {0};
    bool ok;
    if (inverse) {
        /* Exchanged planes: the forward passes then compute the inverse, with the parts exchanged at the row.
         */
        Planes swapped[2] = {{planes[0].im, planes[0].re}, {planes[1].im, planes[1].re}};
        ok = tangle(&t, params[1], planes[0]) && emit_passes(&t, swapped, none, params[0], true, &result);
    } else {
        ok = emit_passes(&t, planes, params[0], none, false, &result) &&
             untangle(&t, planes[result], params[1]);
    }
    e->ops->function_end(e);
    return ok;
}
