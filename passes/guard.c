/* guard.c — guards leave the way of the values and become checks.
 *
 * Each guard that something reads is replaced by its operand, and kept as a check of the graph: a root that
 * nothing reads, which makes the operand a value that is stored and that the executable looks at when a run
 * has ended, or before it where the operand is an input. No kernel holds code for it, and rules match through
 * it.
 *
 * What is checked is what the operand repeats, moves or widens, so that neither copies are stored nor
 * elements judged twice; the message then counts the elements of that. In a stream the elements keep their
 * places, by which the message knows where they are in the whole.
 */
#include "passes.h"
#include "rewrite.h"

static bool widens(FraxDType from, FraxDType to) {
    return to == FRAX_F64 || to == from || (to == FRAX_F32 && dtype_is_half(from));
}

/* x with the same set of elements as the operand, nearer to where they come from. placed: at their places. */
static Value source_of(const Graph *g, Value x, bool placed) {
    for (;;) {
        const Node *node = graph_node(g, x);
        if (placed && node->op != OP_cast) return x;
        switch (node->op) {
        case OP_reshape:
        case OP_transpose:
        case OP_flip: break;
        case OP_broadcast:
            if (!shape_size(&node->type.shape)) return x;
            break;
        case OP_cast:
            if (!dtype_is_float(graph_type(g, node->args[0])->dtype) ||
                !widens(graph_type(g, node->args[0])->dtype, node->type.dtype))
                return x;
            break;
        default: return x;
        }
        x = node->args[0];
    }
}

Value guard_to_check(Graph *g, const Node *guard) {
    Value x = guard->args[0];
    const Attrs *at = guard->attrs;
    Attrs same = *at;
    same.name = graph_intern(g, at->name);
    same.expected = graph_intern(g, at->expected);
    if (g->failed) return NO_VALUE;
    Value source = source_of(g, x, at->n > 0);
    graph_check(g, graph_emit(g, OP_guard, &source, 1, &same, NULL));
    return x;
}

static Value replace_guard(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)context;
    Node node = *graph_node(from, v);
    node.args = args;
    return node.op == OP_guard ? guard_to_check(to, &node) : NO_VALUE;
}

Graph *pass_guard(const Graph *graph, FraxError *err) {
    return graph_rewrite(graph, replace_guard, NULL, err);
}
