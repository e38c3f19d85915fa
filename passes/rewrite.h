/* rewrite.h — what the rewriting passes share: apply a rule to every node until nothing changes. */
#ifndef FRAX_REWRITE_H
#define FRAX_REWRITE_H

#include "ir.h"

/* A replacement in g for `node` (a node to be made; its operands are values of g), or NO_VALUE if the rule
   does not apply. A rule must not give back what it would match again. */
typedef Value RewriteRule(Graph *g, const Node *node);

/* Rewrites until no rule applies, at most 32 rounds; the result has no dead nodes. */
Graph *rewrite_until_stable(const Graph *graph, RewriteRule *rule, FraxError *err);

static inline bool is_op(const Graph *g, Value v, Op op) {
    return graph_node(g, v)->op == op;
}

static inline bool is_constant(const Graph *g, Value v, double value) {
    return is_op(g, v, OP_constant) && graph_node(g, v)->attrs->value == value;
}

/* Operand i of v. */
static inline Value operand(const Graph *g, Value v, int i) {
    return graph_node(g, v)->args[i];
}

/* The axes along which `large` is larger than `small`, of the same rank. */
static inline uint32_t grown_axes(const Shape *small, const Shape *large) {
    uint32_t axes = 0;
    for (int i = 0; i < large->rank; i++)
        if (small->dims[i] != large->dims[i]) axes |= 1u << i;
    return axes;
}

/* What a guard lets through, with a check in its place; see guard.c. */
Value guard_to_check(Graph *g, const Node *guard);

/* transpose(transpose(x)) as one, without moving x where the inner node is a transpose. */
Value transpose_composed(Graph *g, Value x, const uint8_t *perm);

#endif
