/* layout.c — transposes are absorbed, and batches of matrix products become larger products.
 *
 * Transposes of the last two axes become ta/tb of a matmul, meet each other, and move behind pointwise ops
 * whose operands are all transposed alike. A batch of products with one shared right factor is one product of
 * more rows; a sum of products over the batch is one product with a longer inner axis. Only the order of
 * summation changes.
 */
#include "passes.h"
#include "rewrite.h"
#include <string.h>

/* ---- Transposes ---- */

static bool swaps_last_two(const Node *transpose) {
    int rank = transpose->type.shape.rank;
    const uint8_t *perm = transpose->attrs->perm;
    for (int i = 0; i < rank - 2; i++)
        if (perm[i] != i) return false;
    return rank >= 2 && perm[rank - 1] == rank - 2;
}

/* The value behind a transpose of the last two axes; flips *flag. */
static Value behind_swap(const Graph *g, Value v, bool *flag) {
    const Node *node = graph_node(g, v);
    if (node->op != OP_transpose || !swaps_last_two(node)) return v;
    *flag = !*flag;
    return node->args[0];
}

static Value absorb_transposes(Graph *g, const Node *node) {
    bool ta = node->attrs->ta, tb = node->attrs->tb;
    Value a = behind_swap(g, node->args[0], &ta), b = behind_swap(g, node->args[1], &tb);
    if (a == node->args[0] && b == node->args[1]) return NO_VALUE;
    return g_matmul(g, a, b, ta, tb);
}

static Value compose_transposes(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_transpose)) return NO_VALUE;
    return transpose_composed(g, node->args[0], node->attrs->perm);
}

/* op(transpose a, transpose b, constant) = transpose(op(a, b, constant)) */
static Value delay_transposes(Graph *g, const Node *node) {
    enum { MOST = 3 };
    Value args[MOST];
    const Node *first = NULL;
    if (node->nargs < 1 || node->nargs > MOST) return NO_VALUE;
    for (int i = 0; i < node->nargs; i++) {
        const Node *arg = graph_node(g, node->args[i]);
        if (arg->op == OP_constant) continue;
        if (arg->op != OP_transpose) return NO_VALUE;
        if (!first) first = arg;
        if (memcmp(first->attrs->perm, arg->attrs->perm, sizeof arg->attrs->perm)) return NO_VALUE;
    }
    if (!first) return NO_VALUE;
    const Attrs *attrs = first->attrs; /* lives in the arena; nodes move */
    Shape inner = graph_type(g, first->args[0])->shape;
    for (int i = 0; i < node->nargs; i++) {
        const Node arg = *graph_node(g, node->args[i]);
        args[i] = arg.op == OP_transpose ? arg.args[0]
                                         : g_constant(g, (Type){arg.type.dtype, inner}, arg.attrs->value);
    }
    return g_transpose(g, graph_emit(g, node->op, args, node->nargs, node->attrs, &node->type), attrs->perm);
}

/* ---- Batches ---- */

static int64_t batch_size(const Shape *shape) {
    int64_t size = 1;
    for (int i = 0; i < shape->rank - 2; i++) size *= shape->dims[i];
    return size;
}

/* [B…,m,k] as [1…,B·m,k]. */
static Value fold_batch(Graph *g, Value x) {
    Shape shape = graph_type(g, x)->shape;
    shape.dims[shape.rank - 2] *= batch_size(&shape);
    for (int i = 0; i < shape.rank - 2; i++) shape.dims[i] = 1;
    return g_reshape(g, x, shape);
}

/* One right factor for the whole batch: the rows of all left factors are multiplied at once. */
static Value fold_shared_factor(Graph *g, const Node *node) {
    Value b = node->args[1];
    if (node->attrs->ta || !is_op(g, b, OP_broadcast) || batch_size(&node->type.shape) <= 1) return NO_VALUE;
    Value shared = operand(g, b, 0);
    Shape small = graph_type(g, shared)->shape, large = graph_type(g, b)->shape;
    uint32_t matrix = 3u << (small.rank - 2);
    if (batch_size(&small) != 1 || grown_axes(&small, &large) & matrix) return NO_VALUE;
    Value y = g_matmul(g, fold_batch(g, node->args[0]), shared, false, node->attrs->tb);
    return g_reshape(g, y, node->type.shape);
}

/* Σ_batch aᵀb = (all rows of a)ᵀ(all rows of b) */
static Value fold_summed_products(Graph *g, const Node *node) {
    const Node *product = graph_node(g, node->args[0]);
    if (product->op != OP_matmul || !product->attrs->ta || product->attrs->tb) return NO_VALUE;
    Shape shape = product->type.shape;
    if (batch_size(&shape) != 1 && batch_size(&node->type.shape) == 1 &&
        grown_axes(&node->type.shape, &shape) >> (shape.rank - 2) == 0) {
        const Value *args = product->args;
        return g_matmul(g, fold_batch(g, args[0]), fold_batch(g, args[1]), true, false);
    }
    return NO_VALUE;
}

static Value arrange_matmul(Graph *g, const Node *node) {
    Value v = absorb_transposes(g, node);
    return v == NO_VALUE && !g->failed ? fold_shared_factor(g, node) : v;
}

static Value arrange(Graph *g, const Node *node) {
    if (op_is_pointwise(node->op)) return delay_transposes(g, node);
    switch (node->op) {
    case OP_transpose: return compose_transposes(g, node);
    case OP_matmul: return arrange_matmul(g, node);
    case OP_sum: return fold_summed_products(g, node);
    default: return NO_VALUE;
    }
}

Graph *pass_layout(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, arrange, err);
}
