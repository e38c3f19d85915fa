/* strides.c — copies where a caller's array that is not dense cannot be used as it lies.
 *
 * Kernels read and write arrays with strides in place, by their affine maps. Three uses are left, each of
 * which gets a copy of its own, an OP_stop (what stopped derivatives is gone by now), which a kernel stores:
 *
 *   an input   under a shape that no common loops enumerate; as a table under a shape that has no strides;
 *              or as an operand of a library product that the library cannot read;
 *   an output  whose value other nodes or outputs need too: they read the dense original; or which is an
 *              input, or a library product that the library cannot write there.
 */
#include "kernel.h"
#include "passes.h"
#include "rewrite.h"

/* ---- Inputs ---- */

static const Shape *shape_of(const Graph *g, Value v) {
    return &graph_type(g, v)->shape;
}

/* Does v have strides of its own? (An input, or a reshape of one that keeps to one walk.) */
static bool find_strides(const Graph *g, Value v, int64_t strides[MAX_RANK]) {
    Value source = behind_reshapes(g, v);
    const int64_t *given = graph_strides(g, source);
    if (!given) {
        shape_strides(shape_of(g, v), strides);
        return true;
    }
    if (source != v) return strides_reshape(shape_of(g, source), given, shape_of(g, v), strides);
    for (int i = 0; i < shape_of(g, v)->rank; i++) strides[i] = given[i];
    return true;
}

static bool library_takes(const Graph *g, Value matrix) {
    int64_t strides[MAX_RANK];
    const Shape *shape = shape_of(g, matrix);
    const int at = shape->rank - 2;
    LibraryMatrix m;
    return find_strides(g, matrix, strides) && library_matrix(&shape->dims[at], &strides[at], false, &m);
}

static Value behind_signs(const Graph *g, Value v) {
    while (graph_node(g, v)->op == OP_neg) v = graph_node(g, v)->args[0];
    return v;
}

/* Operands that kernels read as tables, by strides: bits. */
static uint32_t table_operands(Op op) {
    switch (op) {
    case OP_matmul: return 3;
    case OP_spectral:
    case OP_exponential_conv: return 6;
    case OP_exponential_correlation: return 4;
    case OP_causal_conv: return 1;
    default: return 0;
    }
}

static bool is_copied_operand(const Graph *g, const Node *node, int i) {
    int64_t strides[MAX_RANK];
    Value v = node->op == OP_spectral ? behind_signs(g, node->args[i]) : node->args[i];
    if (!graph_strides(g, behind_reshapes(g, v))) return false;
    return !find_strides(g, v, strides) ||
           (node->op == OP_matmul && is_library_product(g, node) && !library_takes(g, node->args[i]));
}

static void mark_inputs(const Graph *g, bool *wanted) {
    for (size_t v = 0; v < g->count; v++) {
        const Node *node = graph_node(g, (Value)v);
        uint32_t tables = table_operands(node->op);
        for (int i = 0; i < node->nargs; i++)
            if (tables >> i & 1 && is_copied_operand(g, node, i))
                wanted[node->op == OP_spectral ? behind_signs(g, node->args[i]) : node->args[i]] = true;
        if (node->op == OP_reshape && graph_strides(g, node->args[0]) &&
            !reshape_has_loops(shape_of(g, node->args[0]), &node->type.shape))
            wanted[v] = true;
    }
}

/* Reshapes that are marked are those of a copy; an input that is marked is copied for its product alone. */
static Value copy_operands(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    const bool *wanted = context;
    const Node *node = graph_node(from, v);
    Value own[2];
    if (node->op == OP_reshape && wanted[v])
        return g_reshape(to, g_unary(to, OP_stop, args[0]), node->type.shape);
    if (node->op != OP_matmul) return NO_VALUE;
    for (int i = 0; i < 2; i++) {
        bool copied = wanted[node->args[i]] && graph_node(from, node->args[i])->op != OP_reshape &&
                      is_copied_operand(from, node, i);
        own[i] = copied ? g_unary(to, OP_stop, args[i]) : args[i];
    }
    return g_matmul(to, own[0], own[1], node->attrs->ta, node->attrs->tb);
}

/* ---- Outputs ---- */

static bool has_reader(const Graph *g, Value v) {
    for (size_t u = 0; u < g->count; u++)
        for (int i = 0; i < g->nodes[u].nargs; i++)
            if (g->nodes[u].args[i] == v) return true;
    return false;
}

static bool library_writes(const Graph *g, const Output *out) {
    const Node *node = graph_node(g, out->value);
    const int at = node->type.shape.rank - 2;
    LibraryMatrix m;
    return node->op != OP_matmul || !is_library_product(g, node) ||
           library_matrix(&node->type.shape.dims[at], &out->strides[at], false, &m);
}

static bool is_copied_output(const Graph *g, size_t i) {
    const Output *out = &g->outputs[i];
    Op op = graph_node(g, out->value)->op;
    bool given = op == OP_input || op == OP_param;
    if (!out->strides) return given && graph_strides(g, out->value);
    if (given || has_reader(g, out->value) || !library_writes(g, out)) return true;
    for (size_t k = 0; k < g->noutputs; k++)
        if (k != i && g->outputs[k].value == out->value) return true;
    return false;
}

static FraxStatus copy_outputs(Graph *g, FraxError *err) {
    Value *values = mem_calloc(MAX(g->noutputs, 1), sizeof *values);
    if (!values) return fail_memory(err, "copying outputs");
    for (size_t i = 0; i < g->noutputs; i++) {
        values[i] = g->outputs[i].value;
        if (!is_copied_output(g, i)) continue;
        g->loc = graph_node(g, values[i])->loc;
        values[i] = g_unary(g, OP_stop, values[i]);
    }
    for (size_t i = 0; i < g->noutputs && !g->failed; i++) g->outputs[i].value = values[i];
    mem_free(values);
    return graph_status(g, err);
}

Graph *pass_strides(const Graph *graph, FraxError *err) {
    bool *wanted = mem_calloc(MAX(graph->count, 1), 1);
    if (!wanted) {
        fail_memory(err, "placing copies");
        return NULL;
    }
    bool strided = graph_is_strided(graph);
    if (strided) mark_inputs(graph, wanted);
    Graph *g = graph_rewrite(graph, strided ? copy_operands : NULL, wanted, err);
    mem_free(wanted);
    if (!g || !strided || !copy_outputs(g, err)) return g;
    graph_destroy(g);
    return NULL;
}
