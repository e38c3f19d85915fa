/* sink_broadcast.c — computes on few elements and broadcasts afterwards.
 *
 * A pointwise op all of whose operands repeat along some axes (broadcasts, constants, an iota along another
 * axis) is computed without those axes. Broadcasts move on through reshapes that only insert or drop axes of
 * size 1, through transposes and through ops that work row by row; multipliers and weights of spectral and
 * causal_conv, and modes of exponential ops, may have size 1 along batch axes, so there they end. Every
 * element keeps its bits.
 */
#include "passes.h"
#include "rewrite.h"
#include <string.h>

/* ---- Values without the axes along which they repeat ---- */

static uint32_t axes_longer_than_one(const Shape *shape) {
    return grown_axes(&(Shape){.rank = shape->rank, .dims = {1, 1, 1, 1, 1, 1, 1, 1}}, shape);
}

/* The axes along which v is known to repeat. */
static uint32_t repeated_axes(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    uint32_t all = axes_longer_than_one(&node->type.shape);
    switch (node->op) {
    case OP_constant: return all;
    case OP_iota: return all & ~(1u << node->attrs->axis);
    case OP_broadcast: return grown_axes(&graph_type(g, node->args[0])->shape, &node->type.shape);
    default: return 0;
    }
}

static Shape without_axes(Shape shape, uint32_t axes) {
    for (int i = 0; i < shape.rank; i++)
        if (axes >> i & 1) shape.dims[i] = 1;
    return shape;
}

/* v with size 1 along `axes`, a subset of its repeated axes. */
static Value shrink(Graph *g, Value v, uint32_t axes) {
    const Node node = *graph_node(g, v);
    Type type = {node.type.dtype, without_axes(node.type.shape, axes)};
    if (node.op == OP_constant) return g_constant(g, type, node.attrs->value);
    if (node.op == OP_broadcast) return g_broadcast(g, node.args[0], type.shape);
    if (node.op == OP_iota) return g_iota(g, type, node.attrs->axis);
    return v;
}

/* The axes along which all of args repeat and that are not in `kept`. */
static uint32_t common_axes(const Graph *g, const Value *args, int n, uint32_t kept) {
    uint32_t axes = ~kept;
    for (int i = 0; i < n; i++) axes &= repeated_axes(g, args[i]);
    return axes;
}

/* ---- Rules ---- */

/* The op on shrunken operands, broadcast back. Empty axes stay: 1 is more than 0. */
static Value compute_small(Graph *g, const Node *node, uint32_t kept) {
    enum { MOST = 3 };
    Value small[MOST];
    Shape shape = node->type.shape;
    if (node->nargs < 1 || node->nargs > MOST || shape_size(&shape) == 0) return NO_VALUE;
    uint32_t axes = common_axes(g, node->args, node->nargs, kept);
    if (!axes) return NO_VALUE;
    for (int i = 0; i < node->nargs; i++) small[i] = shrink(g, node->args[i], axes);
    return g_broadcast(g, graph_emit(g, node->op, small, node->nargs, node->attrs, &node->type), shape);
}

static Value sink_transpose(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_broadcast)) return NO_VALUE;
    Value x = operand(g, node->args[0], 0);
    return g_broadcast(g, g_transpose(g, x, node->attrs->perm), node->type.shape);
}

/* reshape(broadcast(x)) where both shapes agree but for axes of size 1. */
static Value sink_reshape(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_broadcast)) return NO_VALUE;
    Value x = operand(g, node->args[0], 0);
    Shape from = graph_type(g, node->args[0])->shape, small = graph_type(g, x)->shape, to = node->type.shape;
    Shape target = {.rank = to.rank};
    int j = 0;
    for (int i = 0; i < to.rank; i++) {
        target.dims[i] = 1;
        if (to.dims[i] == 1) continue;
        while (j < from.rank && from.dims[j] == 1) j++;
        if (j == from.rank || from.dims[j] != to.dims[i]) return NO_VALUE;
        target.dims[i] = small.dims[j++];
    }
    for (; j < from.rank; j++)
        if (from.dims[j] != 1) return NO_VALUE;
    return g_broadcast(g, g_reshape(g, x, target), to);
}

static Value sink_multiplier(Graph *g, const Node *node) {
    uint32_t axes = common_axes(g, node->args + 1, 2, node->attrs->axes);
    if (!axes) return NO_VALUE;
    return g_spectral(g, node->args[0], shrink(g, node->args[1], axes), shrink(g, node->args[2], axes),
                      node->attrs->axes);
}

static Value sink_weights(Graph *g, const Node *node) {
    int axis = node->attrs->axis;
    uint32_t axes = common_axes(g, node->args, 1, 1u << axis);
    if (!axes) return NO_VALUE;
    return g_causal_conv(g, shrink(g, node->args[0], axes), node->args[1], axis, (Engine)node->attrs->engine);
}

static Value sink_modes(Graph *g, const Node *node) {
    Exponential how = {.axis = node->attrs->axis, .n = node->attrs->n, .lag = node->attrs->lag};
    const Value x = node->args[0];
    Value args[] = {node->args[1], node->args[2]};
    bool shrunk = false;
    for (int i = node->op == OP_exponential_conv ? 0 : 1; i < 2; i++) {
        uint32_t axes = common_axes(g, &args[i], 1, 1u << how.axis);
        shrunk |= axes != 0;
        if (axes) args[i] = shrink(g, args[i], axes);
    }
    if (!shrunk) return NO_VALUE;
    return node->op == OP_exponential_conv ? g_exponential_conv(g, x, args[0], args[1], how)
                                           : g_exponential_correlation(g, x, args[0], args[1], how);
}

static Value sink(Graph *g, const Node *node) {
    if (op_is_pointwise(node->op)) return compute_small(g, node, 0);
    switch (node->op) {
    case OP_transpose: return sink_transpose(g, node);
    case OP_reshape: return sink_reshape(g, node);
    case OP_spectral: return sink_multiplier(g, node);
    case OP_causal_conv: return sink_weights(g, node);
    case OP_exponential_conv:
    case OP_exponential_correlation: return sink_modes(g, node);
    case OP_rfft: return compute_small(g, node, node->attrs->axes);
    case OP_grunwald_weights: return compute_small(g, node, 1u << (node->type.shape.rank - 1));
    default: return NO_VALUE;
    }
}

Graph *pass_sink_broadcast(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, sink, err);
}
