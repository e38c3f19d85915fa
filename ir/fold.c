/* fold.c — folding in the builder: constants are computed, and nodes that change nothing are not made.
 *
 * Every rule keeps each element's value exactly (up to the sign of a zero); rules that need more than that,
 * or look further than one operand, belong to passes/simplify.c.
 */
#include "fold.h"

static bool is_constant(const Graph *g, Value v, double value) {
    const Node *node = graph_node(g, v);
    return node->op == OP_constant && node->attrs->value == value;
}

static bool all_constant(const Graph *g, const Node *node) {
    for (int i = 0; i < node->nargs; i++)
        if (graph_node(g, node->args[i])->op != OP_constant) return false;
    return node->nargs > 0;
}

static bool same_as_operand(const Graph *g, const Node *node) {
    const Type *x = graph_type(g, node->args[0]);
    return x->dtype == node->type.dtype && shape_equal(&x->shape, &node->type.shape);
}

/* A splat stays a splat under ops that only move elements. */
static bool moves_elements(Op op) {
    return op == OP_reshape || op == OP_transpose || op == OP_broadcast || op == OP_slice || op == OP_flip;
}

static Value fold_constants(Graph *g, const Node *node) {
    double args[3] = {0};
    if (node->nargs > 3 || !all_constant(g, node)) return NO_VALUE;
    for (int i = 0; i < node->nargs; i++) args[i] = graph_node(g, node->args[i])->attrs->value;
    if (moves_elements(node->op)) return g_constant(g, node->type, args[0]);
    if (op_is_pointwise(node->op) && node->op != OP_stop)
        return g_constant(g, node->type, reference_pointwise(node, args));
    return NO_VALUE;
}

static bool is_identity_perm(const Node *node) {
    for (int i = 0; i < node->type.shape.rank; i++)
        if (node->attrs->perm[i] != i) return false;
    return true;
}

static bool flips_nothing(const Node *node) {
    for (int i = 0; i < node->type.shape.rank; i++)
        if (node->attrs->axes >> i & 1 && node->type.shape.dims[i] > 1) return false;
    return true;
}

static bool reduces_nothing(const Node *node, const Shape *x) {
    for (int i = 0; i < x->rank; i++)
        if (node->attrs->axes >> i & 1 && x->dims[i] != 1) return false;
    return true;
}

/* Ops with one operand (or one that matters) that leave it as it is. */
static bool is_identity(const Graph *g, const Node *node) {
    switch (node->op) {
    case OP_reshape:
    case OP_broadcast:
    case OP_slice:
    case OP_pad:
    case OP_cast: return same_as_operand(g, node);
    case OP_concat: return node->nargs == 1;
    case OP_transpose: return is_identity_perm(node);
    case OP_flip: return flips_nothing(node);
    case OP_sum:
    case OP_reduce_max:
    case OP_reduce_min: return reduces_nothing(node, &graph_type(g, node->args[0])->shape);
    case OP_add:
    case OP_sub: return is_constant(g, node->args[1], 0);
    case OP_mul:
    case OP_div:
    case OP_pow: return is_constant(g, node->args[1], 1);
    default: return false;
    }
}

/* A constant is judged now; a guard of a guard of the same range adds nothing. */
static Value fold_guard(Graph *g, const Node *node) {
    const Node *inner = graph_node(g, node->args[0]);
    FraxError err;
    if (inner->op == OP_constant) {
        if (!shape_size(&inner->type.shape) || !guard_test(NULL, node, inner->attrs->value, 0, 0, &err))
            return node->args[0];
        return graph_fail(g, err.status, "%s", err.message);
    }
    bool same = inner->op == OP_guard && inner->attrs->value == node->attrs->value &&
                inner->attrs->value2 == node->attrs->value2;
    return same ? node->args[0] : NO_VALUE;
}

static Value fold_chain(Graph *g, const Node *node) {
    if (node->op == OP_reshape) {
        const Node *inner = graph_node(g, node->args[0]);
        if (inner->op == OP_reshape) return g_reshape(g, inner->args[0], node->type.shape);
    }
    if (node->op == OP_neg) {
        const Node *inner = graph_node(g, node->args[0]);
        if (inner->op == OP_neg) return inner->args[0];
    }
    return NO_VALUE;
}

/* An exponential kernel that starts after the last sample, or has no modes. */
static bool reaches_nothing(const Graph *g, const Node *node) {
    if (node->op != OP_exponential_conv && node->op != OP_exponential_correlation) return false;
    int axis = node->attrs->axis;
    return graph_type(g, node->args[2])->shape.dims[axis] == 0 ||
           node->attrs->lag >= graph_type(g, node->args[0])->shape.dims[axis] - node->attrs->n;
}

Value fold_node(Graph *g, const Node *node) {
    if (node->nargs == 0) return NO_VALUE;
    if (reaches_nothing(g, node)) return g_constant(g, node->type, 0);
    Value v = fold_constants(g, node);
    if (v != NO_VALUE || g->failed) return v;
    if (is_identity(g, node)) return node->args[0];
    if ((node->op == OP_add && is_constant(g, node->args[0], 0)) ||
        (node->op == OP_mul && is_constant(g, node->args[0], 1)))
        return node->args[1];
    if (node->op == OP_select) {
        const Node *condition = graph_node(g, node->args[0]);
        if (condition->op == OP_constant) return node->args[condition->attrs->value != 0 ? 1 : 2];
        if (node->args[1] == node->args[2]) return node->args[1];
    }
    if (node->op == OP_guard) return fold_guard(g, node);
    return fold_chain(g, node);
}
