/* fractional.h — what the files of fractional operators share.
 *
 * A periodic kind is a symbol K(ω) applied by one `spectral` node (fractional_periodic.c); a causal kind is a
 * vector of weights applied by one `causal_conv` node (fractional_causal.c). Both are ordinary nodes in f64,
 * so derivatives in x, alpha, step and lambda need no rules of their own. What diverges somewhere is computed
 * at a safe operand and replaced by a selection, so that neither values nor derivatives of any order meet
 * 0·∞. fractional.c reads the arguments of frac and holds the table of kinds.
 */
#ifndef FRAX_FRACTIONAL_H
#define FRAX_FRACTIONAL_H

#include "lower.h"

/* The arguments of frac, in the order of its signature. */
enum FracArg {
    ARG_X,
    ARG_ALPHA,
    ARG_KIND,
    ARG_AXIS,
    ARG_AXES,
    ARG_STEP,
    ARG_ENGINE,
    ARG_LAMBDA,
    ARG_CAUSAL,
    ARG_CENTERED
};

/* What the arguments of one call mean. alpha, step and lambda have size 1 on the operator's axes and
   broadcast against x elsewhere. */
typedef struct Frac {
    Lower *lw;
    Graph *g;
    const Args *args;
    Value x; /* f64 or f32 */
    uint32_t axes;
    int axis; /* the last of them */
    Value alpha, lambda;
    Value steps[MAX_RANK]; /* per axis of x, f64; NO_VALUE off the operator's axes */
    Engine engine;
    bool causal, centered;
} Frac;

typedef struct Symbol {
    Value re, im;
} Symbol;

/* ---- Nodes on operands of one rank, under broadcasting ---- */

Value mix(const Frac *f, Op op, Value a, Value b);
Value is_zero(const Frac *f, Value v);
/* base^exponent for base ≥ 0, with 0^alpha at base = 0. exponent is alpha or a multiple of it. */
Value guarded_power(const Frac *f, Value base, Value exponent);

/* ---- Kinds ---- */

/* K on the half spectrum, of x's rank with size 1 wherever it does not vary. */
typedef Symbol FracSymbol(const Frac *f);
FracSymbol weyl_symbol, riesz_symbol, laplacian_symbol, tempered_symbol;
Value apply_symbol(const Frac *f, Symbol k);
Value apply_weights(const Frac *f);

/* ---- Built-ins ---- */

BuiltinRule frac_rule;

#endif
