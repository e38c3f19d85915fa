/* fold.h — what the builder simplifies before it makes a node. */
#ifndef FRAX_FOLD_H
#define FRAX_FOLD_H

#include "ir.h"

/* A value equal to `node` (typed, not yet part of the graph), or NO_VALUE when the node is needed. */
Value fold_node(Graph *g, const Node *node);

#endif
