/* fractional.h — what the files of fractional operators share.
 *
 * A periodic kind is a symbol K(ω) applied by one `spectral` node (fractional_periodic.c); a causal kind is a
 * vector of weights applied by one `causal_conv` node (fractional_weights.c, fractional_causal.c). Both are
 * ordinary nodes in f64, so derivatives in x, alpha, step and the other parameters need no rules of their
 * own. What diverges somewhere is computed at a safe operand and replaced by a selection, so that neither
 * values nor derivatives of any order meet 0·∞.
 *
 * fractional_kinds.c holds the one table of kinds and schemes; fractional.c reads the arguments of frac,
 * checks them against a row of the table and calls its builder.
 */
#ifndef FRAX_FRACTIONAL_H
#define FRAX_FRACTIONAL_H

#include "lower.h"

/* The arguments of frac, in the order of its signature. */
typedef enum FracArg {
    ARG_X,
    ARG_ALPHA,
    ARG_KIND,
    ARG_SCHEME,
    ARG_AXIS,
    ARG_AXES,
    ARG_STEP,
    ARG_ENGINE,
    ARG_TOL,
    ARG_HORIZON,
    ARG_LAMBDA,
    ARG_THETA,
    ARG_SLOPE,
    ARG_CAUSAL,
    ARG_CENTERED,
    ARG_TIMES,
    ARG_COUNT
} FracArg;

/* What the arguments of one call mean. alpha, step and the other parameters are f64 of x's rank, have size 1
   on the operator's axes and broadcast against x elsewhere. */
typedef struct Frac {
    Lower *lw;
    Graph *g;
    const Args *args;
    const struct FracKind *kind;
    Value x; /* f64 or f32 */
    uint32_t axes;
    int axis; /* the last of them */
    Value alpha, lambda, theta, slope;
    Value times, intervals; /* f64[N] and f64[1,1,N], what went before each; NO_VALUE without times */
    Value steps[MAX_RANK];  /* per axis of x; NO_VALUE off the operator's axes */
    Engine engine;
    bool soe;   /* weights at long lags as exponentials, to a relative tolerance, for signals up to */
    double tol; /* `horizon` samples */
    int64_t horizon;
    bool causal, centered;
} Frac;

/* K on the half spectrum, of x's rank with size 1 wherever it does not vary. */
typedef struct Symbol {
    Value re, im;
} Symbol;

/* ---- Kinds ---- */

typedef struct Range {
    double lo, hi;
    bool lo_open, hi_open;
} Range;

typedef Value FracBuilder(const Frac *f);

enum { ENGINE_SOE = ENGINE_COUNT }; /* in frac's list of engines, after those of the graph */

/* One scheme of one kind. */
typedef struct FracKind {
    const char *name, *alias; /* alias: another name, or NULL */
    const char *scheme;       /* NULL where the kind has only one */
    FracArg variant;          /* the argument that asks for this row (causal=true, times=); ARG_X: none */
    FracBuilder *build;
    Range alpha, soe; /* the orders it is defined for, and those that engine=soe has (lo > hi: none) */
    uint32_t options; /* the arguments beyond those of every kind: bits 1 << FracArg */
    uint32_t engines; /* bits 1 << Engine; soe is not a choice among graph engines: bit ENGINE_SOE */
    int most_axes;
    const char *formula, *order, *reference;
    bool differences; /* convolves differences of x: in f64 whatever x is, since the weights add up the
                         rounding of each difference, for low orders over the whole past */
} FracKind;

extern const FracKind frac_kinds[];
extern const size_t frac_kind_count;

/* kind=caputo, scheme=l1 */
const char *kind_text(const FracKind *kind, char buffer[96]);
/* 0 < alpha <= 1 */
const char *range_text(const Range *range, const char *name, char buffer[96]);
bool in_range(const Range *range, double v);

/* ---- Arguments, from their places in the signature; messages name the built-in that is called ---- */

/* The operator's axes, 1 … most: argument `axes` or argument `axis`. `who` acts along them. */
void read_axes(Frac *f, int axis, int axes, int most, const char *who);
/* One step for all axes, or one for each in their order. */
void read_steps(Frac *f, int step);
/* ω along one axis: 2πk/(N h). The last of the operator's axes is halved; the others run over k = 0 … ⌈N/2⌉ −
   1, −⌊N/2⌋ … −1, or over |k| if not `with_sign`. */
Value frequencies(const Frac *f, int axis, bool with_sign);

/* ---- Nodes on operands of one rank, under broadcasting ---- */

Value mix(const Frac *f, Op op, Value a, Value b);
Value is_zero(const Frac *f, Value v);
bool is_one(const Frac *f, Value v); /* the constant 1 */
/* v with `constant` where mask holds. mask broadcasts against v. */
Value patch(const Frac *f, Value mask, double constant, Value v);
/* base^exponent for base ≥ 0, with 0^alpha at base = 0. exponent is alpha or a multiple of it. */
Value guarded_power(const Frac *f, Value base, Value exponent);
/* h^exponent / Γ(argument), for argument > 0 */
Value power_over_gamma(const Frac *f, Value exponent, Value argument);
/* The indices from … from + n − 1 along the operator's axis, of x's rank. */
Value lags(const Frac *f, int64_t from, int64_t n);
int64_t samples(const Frac *f);
/* lo ≤ index < hi along the operator's axis */
Value cut(const Frac *f, Value v, int64_t lo, int64_t hi);
/* v one sample later, with a zero first */
Value delayed(const Frac *f, Value v);
/* v_k − v_{k−1}; zero first */
Value differences(const Frac *f, Value v);

/* ---- Weights of causal kinds: w_0 … w_{n−1} along the operator's axis, f64 ---- */

typedef Value FracWeights(const Frac *f, int64_t n);

Value grunwald_along(const Frac *f, Value alpha, int64_t n); /* of (1 − z)^alpha */
FracWeights grunwald_weights, integral_weights, tempered_weights, bdf2_weights, bdf2_tail, l1_weights,
    l2_weights, rectangle_weights, trapezoid_weights, l1_2_weights, l1_2_corrections,
    atangana_baleanu_weights;

/* ---- Sums of exponentials ---- */

enum { SOE_LAGS = 32 }; /* weights before this lag are exact */
/* The least tolerance for signals of so many samples, and the largest. */
double soe_least_tolerance(int64_t horizon);
#define SOE_MOST_TOLERANCE 1e-3

/* Rates λ of the modes, and log λ and log q for sums of q · function(λ) that stand for integrals over λ. */
typedef struct Bank {
    Value rate, log_rate, log_weight;
} Bank;

typedef Value FracCoefficients(const Frac *f, const Bank *bank);
FracCoefficients grunwald_coefficients, integral_coefficients, l1_coefficients, l2_coefficients,
    rectangle_coefficients, trapezoid_coefficients;

/* Weights in both forms. */
typedef struct Family {
    FracWeights *weights;
    FracCoefficients *coefficients; /* NULL: engine=soe does not apply */
    double digits;                  /* how much finer than the tolerance the bank has to be */
    FracBuilder *decay;             /* the weights carry e^{−decay·j} besides; may be NULL */
} Family;

/* Σ_j factor · w_j z_{n−j}, in z's dtype; factor NO_VALUE: none. z is longer than SOE_LAGS. */
Value convolve_soe(const Frac *f, const Family *family, Value factor, Value z);

/* ---- Builders ---- */

Value apply_symbol(const Frac *f, Symbol k);

FracBuilder weyl, riesz, riesz_feller, laplacian, tempered, mellin;
FracBuilder grunwald, tempered_causal, bdf2, integral_gl, integral_rectangle, integral_trapezoid;
FracBuilder caputo_l1, caputo_l1_2, caputo_l2, caputo_gl, caputo_times;
FracBuilder caputo_fabrizio, atangana_baleanu, tempering;

/* ---- Built-ins ---- */

BuiltinRule frac_rule, spectral_filter_rule, exponential_conv_rule;

#endif
