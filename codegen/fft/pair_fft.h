/* pair_fft.h — the Fourier transform of a pair of real rows as one complex signal (re: one row, im: the
 * other), in place and without reordering, as generated code.
 *
 * The forward transform decimates in frequency and leaves the bins in an order of its own; the inverse
 * decimates in time and starts from that order. Between them, or in one function, the spectrum is multiplied
 * by K. A caller brings K into that order once (pair_fft_order): K of all n bins, conj K[n − k] in the upper
 * half, times 1/n, since neither direction scales.
 *
 * Lengths that vectors do not divide are done for several pairs side by side: a plane then holds a vector,
 * one lane for each pair, at every position; tables have one number there as ever.
 *
 * All planes have room for PairPlan.elements elements, 64-byte aligned, and do not overlap; what lies behind
 * element n on entry has no effect, on return it is undefined. Real and imaginary planes should not lie at
 * equal offsets modulo 4096 bytes.
 */
#ifndef FRAX_PAIR_FFT_H
#define FRAX_PAIR_FFT_H

#include "emitter.h"
#include "kernel.h"

enum { PAIR_MAX_PASSES = 20, PAIR_MAX_RADIX = 8, PAIR_MAX_TAIL = 2, TEAM_MAX_RADIX = 16 };

/* Threads of a multiprocessor that leave 128 registers to each. Without a bound, the two copies of a halved
   signal take up to 160; with it some go to the nearest cache, at most 88 bytes, and a third more warps
   fit. */
enum { TEAM_RESIDENT = 512 };

typedef enum PairKind {
    PAIR_FILTER,  /* void name(re, im, k_re, k_im): forward, times K, inverse */
    PAIR_FORWARD, /* void name(re, im): to the spectrum in the transform's order */
    PAIR_INVERSE  /* void name(re, im): from it, unnormalised */
} PairKind;

/* How a transform is done: passes of `radices` through memory, over blocks that become shorter; then leaves,
 * in registers: one more radix (`leaf`, 0: none) over vectors, and the `tail` within vectors, on `group` of
 * them at a time. */
typedef struct PairPlan {
    FraxDType dtype; /* f32 or f64 */
    int64_t n;
    int lanes, group, leaf;
    int wide; /* pairs side by side; >1: lanes is 1 */
    int radices[PAIR_MAX_PASSES], npasses;
    int tail[PAIR_MAX_TAIL], ntail;
    int64_t span;      /* elements: what is longer goes depth first, block by block */
    int64_t positions; /* of the spectrum and of K; more than n where the last group of vectors is not full */
    int64_t elements;  /* of a plane */
    /* GPU: the signal stays in registers, so many of each lane; 0: in memory, as above. */
    int registers;
    bool halved;   /* and zeros fill the second half of it, of which nothing is wanted back: see team_fft.c */
    int pad_shift; /* of the memory of exchanges: element i lies at i + (i >> pad_shift) */
} PairPlan;

/* The plan for vectors of vector_bytes; n must be a generated length (kernel.h). */
PairPlan pair_fft_plan(FraxDType dtype, int64_t n, int vector_bytes);
/* The plan for as many pairs side by side as a vector has lanes. */
PairPlan pair_fft_plan_wide(FraxDType dtype, int64_t n, int vector_bytes);
/* The plan for a team of threads of a GPU (team_fft.c) and signals of `length` samples: registers > 0, or 0
   where there is none for n. */
PairPlan pair_fft_plan_team(FraxDType dtype, int64_t n, int64_t length);
/* Points that a team transforms at a time. */
static inline int64_t team_points(const PairPlan *plan) {
    return plan->halved ? plan->n / 2 : plan->n;
}
/* Where element i, in the order that the passes leave, is exchanged. */
static inline int64_t team_place(const PairPlan *plan, int64_t i) {
    return i + (plan->pad_shift ? i >> plan->pad_shift : 0);
}
/* Bytes of shared memory through which a team exchanges, and from real to imaginary parts; 0: one after the
   other in the same place. */
size_t team_exchange_bytes(const PairPlan *plan);
size_t team_exchange_apart(const PairPlan *plan);
/* Before pass `pass`: the element that register `s` of thread `lane` holds. */
int64_t team_element(const PairPlan *plan, int pass, int s, int64_t lane);
/* Lanes of the vectors that a transform computes with. */
static inline int pair_fft_width(const PairPlan *plan) {
    return plan->lanes * plan->wide;
}
/* Same code: the plans differ in nothing. */
bool pair_fft_same(const PairPlan *a, const PairPlan *b);
/* bins[position] for plan->positions positions: which bin lies there, −1: none (K must be 0 there). */
void pair_fft_order(const PairPlan *plan, int64_t *bins);

/* What an inlined transform works on. Every hook may be NULL. */
typedef struct PairIo {
    Em re, im;     /* work planes; in PAIR_FORWARD and PAIR_INVERSE also the spectrum; a team needs none where
                      hooks read or discard what there would be */
    Em k_re, k_im; /* of PAIR_FILTER without `bins` */
    int64_t length; /* samples of the signal: zeros stand behind them, and nothing is stored there; 0: all */
    bool discard;   /* PAIR_FORWARD: only `bins` wants the spectrum */
    void *context;  /* of the hooks */
    /* Elements at … at + lanes − 1 of the signal, instead of the work planes; mask: those that exist, ref
       NULL for all. */
    void (*load)(void *context, Em at, Em mask, Em *re, Em *im);
    void (*store)(void *context, Em at, Em mask, Em re, Em im);
    /* Called once, outside of all loops of the transform, when all of the signal has been read and none of
       its result stored; what it opens (an `if`) may hold the rest of the transform. */
    void (*loaded)(void *context);
    /* What happens to the spectrum at positions at, at + 1, …, instead of times K (PAIR_FILTER), or before it
       is stored (PAIR_FORWARD), or after it is loaded (PAIR_INVERSE). Called at every position below
       PairPlan.positions; at those that hold no bin, the values are undefined. */
    void (*bins)(void *context, Em at, Em *re, Em *im);
} PairIo;

/* Emits the transform at this place of the current function. False when out of memory. */
bool emit_team_transform(Emitter *e, const PairPlan *plan, PairKind kind, const PairIo *io);
bool emit_pair_transform(Emitter *e, const PairPlan *plan, PairKind kind, const PairIo *io);

/* The same as a function of planes alone. */
void pair_fft_name(const PairPlan *plan, PairKind kind, char name[48]);
bool emit_pair_fft(Emitter *e, const PairPlan *plan, PairKind kind);

#endif
