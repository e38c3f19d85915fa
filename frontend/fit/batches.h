/* batches.h — mini-batches: rows of the inputs drawn by a seeded permutation and gathered for a step. */
#ifndef FRAX_BATCHES_H
#define FRAX_BATCHES_H

#include "ir.h"

typedef struct Batches Batches;

/* Finds the symbol that leads the first input and replaces its value, the number of rows, by fit->batch.
   Errors: FRAX_SHAPE if there is no such symbol or it stands elsewhere too, FRAX_VALUE if there are fewer
   rows than that. */
FraxStatus batches_create(const FraxModel *model, const FraxFitOptions *fit, int64_t *values, Batches **out,
                          FraxError *err);
/* Makes room for one batch of the inputs of g, the graph for the batch's size. NULL batches: nothing to do,
   here and below. */
FraxStatus batches_allocate(Batches *batches, const Graph *g, FraxError *err);
/* Gathers the next batch and puts it in place of the inputs that are batched. */
void batches_next(Batches *batches, const void **inputs);
/* Does a step see rows of this input, and not all of it? */
bool batches_has(const Batches *batches, size_t input);
void batches_destroy(Batches *batches);

#endif
