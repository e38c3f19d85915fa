/* butterfly.c — see butterfly.h. */
#include "butterfly.h"
#include <math.h>

static Em splat(const ButterflyUnit *t, double value) {
    return t->e->ops->splat(t->e, t->e->ops->constant(t->e, t->type, value), t->lanes);
}

static Em add(const ButterflyUnit *t, Em a, Em b) {
    if (!a.ref || !b.ref) return a.ref ? a : b;
    return t->e->ops->arith(t->e, OP_add, a, b);
}

static Em sub(const ButterflyUnit *t, Em a, Em b) {
    if (!b.ref) return a;
    return t->e->ops->arith(t->e, OP_sub, a.ref ? a : splat(t, 0), b);
}

static Em mul(const ButterflyUnit *t, Em a, Em b) {
    if (!a.ref || !b.ref) return (Em){0};
    return t->e->ops->arith(t->e, OP_mul, a, b);
}

Complex complex_add(const ButterflyUnit *t, Complex a, Complex b) {
    return (Complex){add(t, a.re, b.re), add(t, a.im, b.im)};
}

Complex complex_sub(const ButterflyUnit *t, Complex a, Complex b) {
    return (Complex){sub(t, a.re, b.re), sub(t, a.im, b.im)};
}

/* a + i·b and a − i·b */
Complex add_i(const ButterflyUnit *t, Complex a, Complex b) {
    return (Complex){sub(t, a.re, b.im), add(t, a.im, b.re)};
}

Complex sub_i(const ButterflyUnit *t, Complex a, Complex b) {
    return (Complex){add(t, a.re, b.im), sub(t, a.im, b.re)};
}

Complex materialised(const ButterflyUnit *t, Complex z) {
    return z.re.ref ? z : (Complex){splat(t, 0), splat(t, 0)};
}

Complex scaled(const ButterflyUnit *t, Complex a, double factor) {
    return (Complex){mul(t, a.re, splat(t, factor)), mul(t, a.im, splat(t, factor))};
}

/* c + factor·a, one rounding where the machine can */
Complex scaled_add(const ButterflyUnit *t, Complex a, double factor, Complex c) {
    if (!a.re.ref) return c;
    if (!c.re.ref) return scaled(t, a, factor);
    Em f = splat(t, factor);
    return (Complex){t->e->ops->fma(t->e, a.re, f, c.re), t->e->ops->fma(t->e, a.im, f, c.im)};
}

/* z·w, or z·conj w */
Complex rotated(const ButterflyUnit *t, Complex z, Complex w, bool conjugate) {
    Em rr = mul(t, z.re, w.re), ir = mul(t, z.im, w.re);
    Em ii = mul(t, z.im, w.im), ri = mul(t, z.re, w.im);
    return conjugate ? (Complex){add(t, rr, ii), sub(t, ir, ri)} : (Complex){sub(t, rr, ii), add(t, ir, ri)};
}

/* ---- Butterflies: z_k = Σ_q w_r^{qk} z_q, in place ---- */

static void butterfly_2(const ButterflyUnit *t, Complex *z) {
    Complex sum = complex_add(t, z[0], z[1]);
    z[1] = complex_sub(t, z[0], z[1]);
    z[0] = sum;
}

static void butterfly_4(const ButterflyUnit *t, Complex *z) {
    Complex a = complex_add(t, z[0], z[2]), b = complex_sub(t, z[0], z[2]);
    Complex c = complex_add(t, z[1], z[3]), d = complex_sub(t, z[1], z[3]);
    z[0] = complex_add(t, a, c);
    z[1] = sub_i(t, b, d);
    z[2] = complex_sub(t, a, c);
    z[3] = add_i(t, b, d);
}

/* Odd bins: with b_q = z_q − z_{q+4}, w = (1 − i)/√2, they are c ± √½·d; the factor goes into the last
 * additions. */
static void butterfly_8(const ButterflyUnit *t, Complex *z) {
    Complex even[4], b[4];
    for (int q = 0; q < 4; q++) {
        even[q] = complex_add(t, z[q], z[q + 4]);
        b[q] = complex_sub(t, z[q], z[q + 4]);
    }
    butterfly_4(t, even);
    Complex plus_13 = complex_add(t, b[1], b[3]), minus_13 = complex_sub(t, b[1], b[3]);
    Complex c = sub_i(t, b[0], b[2]), d = sub_i(t, minus_13, plus_13);
    z[1] = scaled_add(t, d, M_SQRT1_2, c);
    z[5] = scaled_add(t, d, -M_SQRT1_2, c);
    c = add_i(t, b[0], b[2]);
    d = add_i(t, minus_13, plus_13);
    z[3] = scaled_add(t, d, -M_SQRT1_2, c);
    z[7] = scaled_add(t, d, M_SQRT1_2, c);
    for (int k = 0; k < 4; k++) z[2 * k] = even[k];
}

/* z·e^{−2πi·n/16}, n = 0 … 9 */
static Complex turned_16(const ButterflyUnit *t, Complex z, int n) {
    if (n == 0) return z;
    if (n == 4) return sub_i(t, (Complex){0}, z);
    if (n == 2 || n == 6) { /* (1 − i)/√2 and (−1 − i)/√2 */
        Complex turned = n == 2 ? sub_i(t, z, z) : sub_i(t, complex_sub(t, (Complex){0}, z), z);
        return scaled(t, turned, M_SQRT1_2);
    }
    Complex w = {splat(t, cos(2 * M_PI * n / 16)), splat(t, -sin(2 * M_PI * n / 16))};
    return rotated(t, z, w, false);
}

/* As 4 × 4: columns q, q + 4, … first; then slot k of column q turns by w_16^{qk}. */
static void butterfly_16(const ButterflyUnit *t, Complex *z) {
    Complex column[4][4];
    for (int q = 0; q < 4; q++) {
        for (int p = 0; p < 4; p++) column[q][p] = z[q + 4 * p];
        butterfly_4(t, column[q]);
    }
    for (int k = 0; k < 4; k++) {
        Complex line[4];
        for (int q = 0; q < 4; q++) line[q] = turned_16(t, column[q][k], q * k);
        butterfly_4(t, line);
        for (int p = 0; p < 4; p++) z[k + 4 * p] = line[p];
    }
}

/* r odd: with s_q = z_q + z_{r−q}, d_q = z_q − z_{r−q}, bins k and r − k are A ∓ i·B,
 * A = z_0 + Σ cos(2πqk/r) s_q, B = Σ sin(2πqk/r) d_q, 1 ≤ q ≤ (r−1)/2. */
static void butterfly_odd(const ButterflyUnit *t, int radix, Complex *z) {
    int half = radix / 2;
    Complex s[MOST_SLOTS], d[MOST_SLOTS], first = z[0];
    for (int q = 1; q <= half; q++) {
        s[q] = complex_add(t, z[q], z[radix - q]);
        d[q] = complex_sub(t, z[q], z[radix - q]);
        z[0] = complex_add(t, z[0], s[q]);
    }
    for (int k = 1; k <= half; k++) {
        Complex a = first, b = {0};
        for (int q = 1; q <= half; q++) {
            double angle = 2 * M_PI * (q * k % radix) / radix;
            a = scaled_add(t, s[q], cos(angle), a);
            b = q == 1 ? scaled(t, d[q], sin(angle)) : scaled_add(t, d[q], sin(angle), b);
        }
        z[k] = sub_i(t, a, b);
        z[radix - k] = add_i(t, a, b);
    }
}

void exchange_parts(Complex *z, int count) {
    for (int i = 0; i < count; i++) z[i] = (Complex){z[i].im, z[i].re};
}

void butterfly(const ButterflyUnit *t, int radix, Complex *z, bool inverse) {
    if (inverse) exchange_parts(z, radix);
    switch (radix) {
    case 0:
    case 1: break;
    case 2: butterfly_2(t, z); break;
    case 4: butterfly_4(t, z); break;
    case 8: butterfly_8(t, z); break;
    case 16: butterfly_16(t, z); break;
    default: butterfly_odd(t, radix, z);
    }
    if (inverse) exchange_parts(z, radix);
}
