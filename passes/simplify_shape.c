/* simplify_shape.c — rules of pass simplify for ops that move elements, and for reductions of what they made.
 */
#include "simplify.h"
#include <string.h>

/* The operand of `node`, a copy, if it is made by `op`. */
static bool inner_node(const Graph *g, const Node *node, Op op, Node *inner) {
    *inner = *graph_node(g, node->args[0]);
    return inner->op == op;
}

static Shape operand_shape(const Graph *g, const Node *node) {
    return graph_type(g, node->args[0])->shape;
}

/* ---- transpose, broadcast, flip ---- */

Value transpose_of_transpose(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_transpose)) return NO_VALUE;
    return transpose_composed(g, node->args[0], node->attrs->perm);
}

/* If only axes of size 1 change their places, no element moves. */
Value transpose_as_reshape(Graph *g, const Node *node) {
    Shape x = operand_shape(g, node);
    int last = -1;
    for (int i = 0; i < x.rank; i++) {
        int axis = node->attrs->perm[i];
        if (x.dims[axis] == 1) continue;
        if (axis < last) return NO_VALUE;
        last = axis;
    }
    return g_reshape(g, node->args[0], node->type.shape);
}

Value broadcast_of_broadcast(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_broadcast, &inner)) return NO_VALUE;
    return g_broadcast(g, inner.args[0], node->type.shape);
}

Value flip_of_flip(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_flip, &inner)) return NO_VALUE;
    return g_flip(g, inner.args[0], inner.attrs->axes ^ node->attrs->axes);
}

Value flip_of_broadcast(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_broadcast, &inner)) return NO_VALUE;
    return g_broadcast(g, g_flip(g, inner.args[0], node->attrs->axes), node->type.shape);
}

/* ---- slice and pad ---- */

Value slice_of_slice(Graph *g, const Node *node) {
    Node inner;
    Attrs at = {0};
    if (!inner_node(g, node, OP_slice, &inner)) return NO_VALUE;
    const Attrs *a = inner.attrs, *b = node->attrs;
    for (int i = 0; i < node->type.shape.rank; i++) {
        int64_t n = node->type.shape.dims[i];
        at.lo[i] = n ? a->lo[i] + b->lo[i] * a->step[i] : 0;
        at.step[i] = n > 1 ? a->step[i] * b->step[i] : 1; /* in range: n > 1 elements lie that far apart */
        at.hi[i] = n ? at.lo[i] + (n - 1) * at.step[i] + 1 : 0;
    }
    return g_slice(g, inner.args[0], at.lo, at.hi, at.step);
}

static int64_t clamp(int64_t x, int64_t lo, int64_t hi) {
    return x < lo ? lo : x > hi ? hi : x;
}

static bool unit_steps(const Node *node) {
    for (int i = 0; i < node->type.shape.rank; i++)
        if (node->attrs->step[i] != 1) return false;
    return true;
}

/* Slices what is left of the data, and pads what is left of the zeros. */
Value slice_of_pad(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_pad, &inner) || !unit_steps(&inner) || !unit_steps(node)) return NO_VALUE;
    Shape x = graph_type(g, inner.args[0])->shape;
    Attrs data = {0}, zeros = {0};
    for (int i = 0; i < x.rank; i++) {
        int64_t offset = inner.attrs->lo[i], lo = node->attrs->lo[i], hi = node->attrs->hi[i];
        data.lo[i] = clamp(lo - offset, 0, x.dims[i]);
        data.hi[i] = clamp(hi - offset, 0, x.dims[i]);
        zeros.lo[i] = clamp(offset - lo, 0, hi - lo);
        zeros.hi[i] = hi - lo - zeros.lo[i] - (data.hi[i] - data.lo[i]);
    }
    for (int i = 0; i < x.rank; i++)
        if (data.lo[i] == data.hi[i]) return g_constant(g, node->type, 0);
    return g_pad(g, g_slice(g, inner.args[0], data.lo, data.hi, NULL), zeros.lo, zeros.hi, NULL);
}

Value slice_of_broadcast(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_broadcast, &inner)) return NO_VALUE;
    Shape x = graph_type(g, inner.args[0])->shape;
    uint32_t grown = grown_axes(&x, &inner.type.shape);
    Attrs at = *node->attrs;
    for (int i = 0; i < x.rank; i++) {
        if (!(grown >> i & 1)) continue;
        at.lo[i] = 0;
        at.hi[i] = at.step[i] = 1;
    }
    return g_broadcast(g, g_slice(g, inner.args[0], at.lo, at.hi, at.step), node->type.shape);
}

/* A slice that needs only one part. */
Value slice_of_concat(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_concat, &inner)) return NO_VALUE;
    int axis = inner.attrs->axis;
    Attrs at = *node->attrs;
    for (int i = 0; i < inner.nargs; i++) {
        int64_t n = graph_type(g, inner.args[i])->shape.dims[axis];
        if (at.lo[axis] >= 0 && at.hi[axis] <= n) return g_slice(g, inner.args[i], at.lo, at.hi, at.step);
        at.lo[axis] -= n;
        at.hi[axis] -= n;
        if (at.lo[axis] < 0) return NO_VALUE;
    }
    return NO_VALUE;
}

Value pad_of_pad(Graph *g, const Node *node) {
    Node inner;
    Attrs at = {0};
    if (!inner_node(g, node, OP_pad, &inner) || !unit_steps(node)) return NO_VALUE;
    for (int i = 0; i < node->type.shape.rank; i++) {
        at.lo[i] = inner.attrs->lo[i] + node->attrs->lo[i];
        at.hi[i] = inner.attrs->hi[i] + node->attrs->hi[i];
        at.step[i] = inner.attrs->step[i];
    }
    return g_pad(g, inner.args[0], at.lo, at.hi, at.step);
}

/* ---- Reductions ---- */

/* sum of sum, max of max, min of min */
Value reduce_of_reduce(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, node->op, &inner)) return NO_VALUE;
    return g_reduce(g, node->op, inner.args[0], inner.attrs->axes | node->attrs->axes);
}

/* Whether n equal terms of this dtype may be summed by a multiplication: n and the sum must be representable
   wherever adding them up one by one is. */
static bool can_scale(FraxDType dtype) {
    return dtype == FRAX_F64 || dtype == FRAX_F32;
}

/* Along repeated axes an extremum is the element itself, and a sum n times it. */
Value reduce_of_broadcast(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_broadcast, &inner)) return NO_VALUE;
    Shape x = graph_type(g, inner.args[0])->shape;
    uint32_t repeated = grown_axes(&x, &inner.type.shape) & node->attrs->axes;
    double n = 1;
    for (int i = 0; i < x.rank; i++)
        if (repeated >> i & 1) n *= (double)inner.type.shape.dims[i];
    if (!repeated || n == 0 || (node->op == OP_sum && !can_scale(node->type.dtype))) return NO_VALUE;
    Value y = g_broadcast(g, g_reduce(g, node->op, inner.args[0], node->attrs->axes), node->type.shape);
    return node->op == OP_sum ? g_scale(g, y, n) : y;
}

Value sum_of_constant(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_constant, &inner) || !can_scale(node->type.dtype)) return NO_VALUE;
    double n = 1;
    for (int i = 0; i < inner.type.shape.rank; i++)
        if (node->attrs->axes >> i & 1) n *= (double)inner.type.shape.dims[i];
    return g_constant(g, node->type, n == 0 ? 0 : inner.attrs->value * n);
}

Value sum_of_neg(Graph *g, const Node *node) {
    Node inner;
    if (!inner_node(g, node, OP_neg, &inner)) return NO_VALUE;
    return g_neg(g, g_reduce(g, OP_sum, inner.args[0], node->attrs->axes));
}
