/* moving.h — the params that a fit moves, seen as one vector of f64: what L-BFGS works on. */
#ifndef FRAX_MOVING_H
#define FRAX_MOVING_H

#include "ir.h"

typedef struct Moving {
    size_t *inputs; /* positions among the graph's inputs, which stay the same through all passes */
    size_t n;
} Moving;

/* The inputs `wrt` of g. Freed by moving_free, after a failure too. */
FraxStatus moving_note(Moving *m, const Graph *g, const Value *wrt, size_t n, FraxError *err);
void moving_free(Moving *m);

/* Entries of the vector. */
size_t moving_size(const Moving *m, const Graph *g);
/* To the graph's input buffers, rounded to their dtypes; from n buffers, one for each param that moves. */
void moving_scatter(const Moving *m, const Graph *g, const double *x, const void *const *inputs);
void moving_gather(const Moving *m, const Graph *g, const void *const *buffers, double *x);
/* The name of the param that holds entry `index`. */
const char *moving_name(const Moving *m, const Graph *g, size_t index);
/* The distance of 1 from the next number in the coarsest dtype among them and the graph's first output, the
   objective. */
double moving_epsilon(const Moving *m, const Graph *g);

#endif
