/* fit.h — numbers that vary with the sizes of a model, written as expressions of its size symbols. */
#ifndef FRAX_FIT_H
#define FRAX_FIT_H

#include "lower.h"

enum { FIT_POINTS = 7 };

/* A size symbol, or a size expression that the model itself uses. */
typedef struct Atom {
    char *text; /* owned */
    bool sum;   /* takes brackets as a factor */
    int64_t values[FIT_POINTS];
} Atom;

typedef struct Monomial {
    int atoms[3], degree;
    int64_t values[FIT_POINTS];
} Monomial;

typedef struct Fitter {
    Atom *atoms;
    int natoms, nsymbols; /* the symbols come first */
    Monomial *monomials;
    int count, npure; /* monomials of symbols alone come first */
    int points;
    bool failed; /* out of memory */
} Fitter;

/* sizes[i][k]: the size of symbol i at point k. */
bool fitter_create(Fitter *f, const FraxModel *model, int64_t (*sizes)[FIT_POINTS], int points);
void fitter_free(Fitter *f);

/* Writes what is d[k] at every point k: a number, or an expression, or ? if none is found. */
void fit_number(const Fitter *f, const int64_t *d, Text *out);

#endif
