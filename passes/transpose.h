/* transpose.h — linear functions inside a graph: recognising and transposing them. Used by jvp.c (the user's
 * derivatives must be linear) and gradient.c. */
#ifndef FRAX_TRANSPOSE_H
#define FRAX_TRANSPOSE_H

#include "ir.h"

/* True if y is linear in the holes x, as the op table defines linear; otherwise fails the graph with a
 * message that names the op that is not. */
bool check_linear(Graph *g, Value y, const Value *x, size_t nx);

/* y must be linear in the holes x. cotangents[i] becomes Aᵢᵀ·ct where y = Σ Aᵢxᵢ, or NO_VALUE where that is
   zero because y does not depend on x[i]. Faults are left in the graph. */
void transpose_linear(Graph *g, Value y, Value ct, const Value *x, size_t nx, Value *cotangents);

#endif
