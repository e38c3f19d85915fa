/* rows.c — are the rows of a batch independent of their order?
 *
 * A mini-batch holds rows in random order, so that an op along their axis which looks at the order (a
 * fractional derivative, a convolution, a difference of neighbours, a row's number) gives nonsense there. The
 * walk follows the axis of the rows through the graph and stops at the first such op. Sums, means and
 * products over the rows are the same in any order.
 *
 * Where a reshape joins the axis with others, the outermost axis of the result that holds it is followed.
 */
#include "passes.h"
#include <string.h>

enum { NO_ROWS = -1 };

static bool reads_order(const Node *node, const Shape *from, int axis) {
    const Attrs *at = node->attrs;
    switch (node->op) {
    case OP_causal_conv:
    case OP_causal_correlation:
    case OP_exponential_conv:
    case OP_exponential_correlation: return at->axis == axis;
    case OP_flip:
    case OP_rfft:
    case OP_spectral:
    case OP_cross_spectrum: return at->axes >> axis & 1;
    case OP_slice: return at->lo[axis] || at->hi[axis] != from->dims[axis] || at->step[axis] != 1;
    default: return false;
    }
}

static int64_t elements(const Shape *shape, int first) {
    int64_t n = 1;
    for (int i = first; i < shape->rank; i++) n *= shape->dims[i];
    return n;
}

static int reshaped(const Shape *from, const Shape *to, int axis) {
    int64_t stride = elements(from, axis + 1), end = stride * from->dims[axis];
    for (int i = 0; i < to->rank; i++)
        if (to->dims[i] > 1 && elements(to, i + 1) < end && elements(to, i) > stride) return i;
    return NO_ROWS;
}

/* Where the result has what the operand has along `axis`. */
static int moved(const Graph *g, const Node *node, int arg, int axis) {
    const Shape *from = &graph_type(g, node->args[arg])->shape, *to = &node->type.shape;
    if (node->op == OP_reshape) return reshaped(from, to, axis);
    if (node->op == OP_matmul)
        return axis == to->rank - 1 - (arg == 0) || axis < to->rank - 2 ? axis : NO_ROWS;
    if (node->op == OP_transpose) {
        int i = 0;
        while (node->attrs->perm[i] != axis) i++;
        return i;
    }
    return axis < to->rank && to->dims[axis] == from->dims[axis] ? axis : NO_ROWS;
}

static FraxStatus refuse(const Node *node, const char *symbol, FraxError *err) {
    fail(err, FRAX_SHAPE,
         "mini-batches draw the rows of %s at random, and %s needs them in their order; without a batch each "
         "step "
         "sees all of them",
         symbol, op_table[node->op].name);
    err->line = node->loc.line;
    err->column = node->loc.column;
    return FRAX_SHAPE;
}

FraxStatus rows_any_order(const Graph *g, const bool *batched, const char *symbol, FraxError *err) {
    int *axes = mem_alloc(MAX(g->count, 1) * sizeof *axes);
    bool *live = mem_alloc(MAX(g->count, 1));
    FraxStatus status = axes && live ? FRAX_OK : fail_memory(err, "looking at the rows of a batch");
    if (!status) graph_live(g, live);
    for (size_t v = 0; v < g->count && !status; v++) axes[v] = NO_ROWS;
    for (size_t i = 0; i < g->ninputs && !status; i++)
        if (graph_node(g, g->inputs[i])->op == OP_input && batched[i]) axes[g->inputs[i]] = 0;
    for (size_t v = 0; v < g->count && !status; v++) {
        const Node *node = graph_node(g, (Value)v);
        for (int i = 0; i < node->nargs && live[v] && !status; i++) {
            int axis = axes[node->args[i]];
            if (axis == NO_ROWS) continue;
            if (reads_order(node, &graph_type(g, node->args[i])->shape, axis))
                status = refuse(node, symbol, err);
            else if (axes[v] == NO_ROWS)
                axes[v] = moved(g, node, i, axis);
        }
    }
    mem_free(axes);
    mem_free(live);
    return status;
}
