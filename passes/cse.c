/* cse.c — common subexpressions become one node.
 *
 * The builder already shares equal nodes; what is left are operands of commutative ops in different orders.
 * They are put in order of position, constants last, and the rebuilt graph shares the rest. The results keep
 * every bit.
 */
#include "passes.h"
#include "rewrite.h"

static bool is_commutative(Op op) {
    return op == OP_add || op == OP_mul || op == OP_eq || op == OP_ne || op == OP_and || op == OP_or;
}

static bool in_order(const Graph *g, Value a, Value b) {
    bool ca = is_op(g, a, OP_constant), cb = is_op(g, b, OP_constant);
    return ca == cb ? a <= b : cb;
}

static Value order_operands(Graph *g, const Node *node) {
    if (!is_commutative(node->op) || in_order(g, node->args[0], node->args[1])) return NO_VALUE;
    return g_binary(g, node->op, node->args[1], node->args[0]);
}

Graph *pass_cse(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, order_operands, err);
}
