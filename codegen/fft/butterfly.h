/* butterfly.h — small transforms of complex vectors, in registers: the parts that all generated transforms
 * are made of. An operand without a value (re.ref NULL) is an exact zero: one that pads the signal.
 */
#ifndef FRAX_BUTTERFLY_H
#define FRAX_BUTTERFLY_H

#include "emitter.h"

enum { MOST_SLOTS = 16 /* of a butterfly */ };

typedef struct Complex {
    Em re, im;
} Complex;

/* What a transform computes with. */
typedef struct ButterflyUnit {
    Emitter *e;
    EmType type;
    int lanes;
} ButterflyUnit;

Complex complex_add(const ButterflyUnit *t, Complex a, Complex b);
Complex complex_sub(const ButterflyUnit *t, Complex a, Complex b);
Complex add_i(const ButterflyUnit *t, Complex a, Complex b); /* a + i·b */
Complex sub_i(const ButterflyUnit *t, Complex a, Complex b); /* a − i·b */
Complex scaled(const ButterflyUnit *t, Complex a, double factor);
/* c + factor·a, one rounding where the machine can */
Complex scaled_add(const ButterflyUnit *t, Complex a, double factor, Complex c);
Complex rotated(const ButterflyUnit *t, Complex z, Complex w, bool conjugate); /* z·w, or z·conj w */
Complex materialised(const ButterflyUnit *t, Complex z);                       /* with a value */
void exchange_parts(Complex *z, int count);

/* z_k = Σ_q w^{qk} z_q, w = e^{−2πi/radix}, or e^{+2πi/radix} if inverse; in place. radix 2, 4, 8, 16 or odd;
   0 and 1: nothing. */
void butterfly(const ButterflyUnit *t, int radix, Complex *z, bool inverse);

#endif
