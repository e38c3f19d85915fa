/* long_fft.h — complex transforms of any length on planes, in natural order, as generated code with small
 * tables: parts of general_fft.c.
 *
 * Its parts are roots of unity from two short tables, and transforms as matrices of rows and columns that fit
 * the cache (long_fft.c).
 */
#ifndef FRAX_LONG_FFT_H
#define FRAX_LONG_FFT_H

#include "emitter.h"

/* w^e, w = e^{−2πi/n}, 0 ≤ e < n, as w^{block·(e / block)} · w^{e mod block}: about 2·√n entries in f64, and
   one rounding more than a table of all n. */
typedef struct Roots {
    int64_t n, block; /* the latter a power of two */
    Em high, low;     /* tables: real and imaginary part in turn; low: all real parts first */
} Roots;

typedef struct Root {
    Em re, im;
} Root;

bool roots_make(Emitter *e, int64_t n, Roots *roots); /* false when out of memory */
Root root_at(Emitter *e, const Roots *roots, Em exponent);
/* Of a multiple of `block`; and of exponents below `block`: lanes from `first` on. */
Root root_of_block(Emitter *e, const Roots *roots, Em block);
Root root_within(Emitter *e, const Roots *roots, Em first, int lanes);
Root root_product(Emitter *e, Root a, Root b, EmType type); /* converted last */

/* A transform of n points by a matrix of rows · columns elements: of as many points, or, where n has prime
   factors beyond 7, a filter with a chirp of at least 2n − 1. */
typedef struct LongPlan {
    FraxDType dtype;
    int64_t n, rows, columns;
    bool chirped;
    int64_t pitch;  /* elements from row to row where it is kept transformed */
    int64_t signal; /* rows of the matrix that the n points take */
} LongPlan;

bool is_smooth(int64_t n); /* no prime factors but 2, 3, 5 and 7 */
LongPlan long_fft_plan(FraxDType dtype, int64_t n);
int64_t long_fft_elements(const LongPlan *plan); /* of a plane of the signal: more than n */
int64_t long_fft_work(const LongPlan *plan);     /* elements of the workspace */

/* Bodies of functions: the chirp and the spectrum of its filter, kept in `work`; and the transform in place,
   of two planes that long_fft_elements fit in. False when out of memory. */
bool emit_long_prepare(Emitter *e, const LongPlan *plan, Em work);
bool emit_long_dft(Emitter *e, const LongPlan *plan, Em re, Em im, Em work);

#endif
