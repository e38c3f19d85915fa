/* transpose.h — linear functions inside a graph: recognising and transposing them. Used by jvp.c (the user's
 * derivatives must be linear) and gradient.c. */
#ifndef FRAX_TRANSPOSE_H
#define FRAX_TRANSPOSE_H

#include "ir.h"

/* True if y is linear in the holes x, as the op table defines linear; otherwise fails the graph with a
 * message that names the op that is not. */
bool check_linear(Graph *g, Value y, const Value *x, size_t nx);

/* Every y must be linear in the holes x, or NO_VALUE, which stands for zero. cotangents[i] becomes
   Σⱼ Aⱼᵢᵀ·ct[j] where y[j] = Σᵢ Aⱼᵢ·x[i], or NO_VALUE where that is zero because no y depends on x[i]. Faults
   are left in the graph. */
void transpose_linear(Graph *g, const Value *y, const Value *ct, size_t ny, const Value *x, size_t nx,
                      Value *cotangents);

/* N/c_k over the spectrum of a signal of type x, with size 1 off the halved axis; c is 1 at DC and Nyquist,
   else 2 (the conjugate half stands for itself). */
Value inverse_bin_weights(Graph *g, Type x, uint32_t axes);
/* A signal of type x: 1 at the origin of the transformed axes, in every row. */
Value impulse(Graph *g, Type x, uint32_t axes);

#endif
