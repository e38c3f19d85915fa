/* verify.c — checks every invariant of a graph; run after each pass, in every build.
 *
 * Nothing is trusted: operands and outputs are checked for their range before they are followed. The rules of
 * types are those of infer.c, applied to the stored type, so builder and verifier cannot disagree. A
 * violation is a defect of whoever made the graph: FRAX_INTERNAL, naming the node.
 */
#include "ir.h"
#include <string.h>

typedef struct Verifier {
    const Graph *graph;
    Value v;
    const Node *node;
    FraxError *err;
} Verifier;

typedef FraxStatus Check(const Verifier *vf);

PRINTF_LIKE(2, 3)
static FraxStatus broken(const Verifier *vf, const char *fmt, ...) {
    char what[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    bool known = vf->node->op < OP_COUNT;
    return fail(vf->err, FRAX_INTERNAL, "graph %s, node %%%d (%s): %s", vf->graph->name, vf->v,
                known ? op_table[vf->node->op].name : "?", what);
}

/* ---- One node ---- */

static FraxStatus check_operands(const Verifier *vf) {
    if (vf->node->op >= OP_COUNT) return broken(vf, "op %d is not in the table", (int)vf->node->op);
    if (vf->node->nargs < 0 || !vf->node->attrs) return broken(vf, "no operand count or no attributes");
    for (int i = 0; i < vf->node->nargs; i++)
        if (vf->node->args[i] < 0 || vf->node->args[i] >= vf->v)
            return broken(vf, "operand %d is %%%d, expected a node before it", i, vf->node->args[i]);
    return FRAX_OK;
}

static FraxStatus check_type(const Verifier *vf) {
    const Node *node = vf->node;
    Type type;
    FraxError err;
    char stored[176], inferred[176];
    if (node->type.dtype > FRAX_BOOL || node->type.shape.rank < 0 || node->type.shape.rank > MAX_RANK ||
        shape_overflows(&node->type.shape))
        return broken(vf, "dtype, rank or size out of range");
    if (infer_type(vf->graph, node->op, node->args, node->nargs, node->attrs, &node->type, &type, &err))
        return broken(vf, "%s", err.message);
    if (type.dtype != node->type.dtype || !shape_equal(&type.shape, &node->type.shape))
        return broken(vf, "type %s, the operands give %s", type_text(&node->type, stored),
                      type_text(&type, inferred));
    return FRAX_OK;
}

static bool is_zero(const void *field, size_t size) {
    static const char zeros[sizeof(Attrs)];
    return !memcmp(field, zeros, size);
}

static FraxStatus check_attrs(const Verifier *vf) {
    const Node *node = vf->node;
    const Attrs *at = node->attrs;
#define X(flag, field, type, label, form)                                                                    \
    if (!(op_table[node->op].attrs & flag) && !is_zero(&at->field, sizeof at->field))                        \
        return broken(vf, "attribute %s is set, but the op has none", label);
    ATTRS(X)
#undef X
    int rank = node->nargs ? graph_type(vf->graph, node->args[0])->shape.rank : 0;
    for (int i = rank; i < MAX_RANK; i++)
        if (at->lo[i] || at->hi[i] || at->step[i] || at->perm[i])
            return broken(vf, "an attribute is set for axis %d of rank %d", i, rank);
    if (at->ta > 1 || at->tb > 1 || at->part >= PART_COUNT || at->engine >= ENGINE_COUNT ||
        at->init >= INIT_COUNT)
        return broken(vf, "an attribute is out of range");
    return FRAX_OK;
}

static FraxStatus check_unique(const Verifier *vf) {
    Value same = graph_find(vf->graph, vf->node);
    if (same == vf->v) return FRAX_OK;
    if (same == NO_VALUE) return broken(vf, "changed after it was built");
    return broken(vf, "the same as %%%d", same);
}

static bool is_signature(Op op) {
    return op == OP_input || op == OP_param;
}

static FraxStatus check_kernel(const Verifier *vf) {
    const Node *node = vf->node;
    if (node->kernel < -1) return broken(vf, "kernel %d", node->kernel);
    if (node->kernel >= 0 && (is_signature(node->op) || node->op == OP_hole))
        return broken(vf, "kernel %d stores what no kernel computes", node->kernel);
    return FRAX_OK;
}

/* Inputs and outputs are numbered by their position in the signature; only stored values have places. */
static FraxStatus check_place(const Verifier *vf) {
    const Graph *g = vf->graph;
    const Node *node = vf->node;
    if (node->region >= REGION_COUNT) return broken(vf, "region %d", (int)node->region);
    if (node->offset < 0 || (node->region == REGION_NONE && node->offset))
        return broken(vf, "offset %lld in region %s", (long long)node->offset, region_names[node->region]);
    size_t at = (size_t)node->offset;
    if (node->region == REGION_INPUT && (at >= g->ninputs || g->inputs[at] != vf->v))
        return broken(vf, "stands for input %zu, which it is not", at);
    if (node->region == REGION_OUTPUT && (at >= g->noutputs || g->outputs[at].value != vf->v))
        return broken(vf, "stands for output %zu, which it is not", at);
    if (is_signature(node->op) && node->region != REGION_NONE && node->region != REGION_INPUT)
        return broken(vf, "an input in region %s", region_names[node->region]);
    if (node->region == REGION_ARENA && node->kernel < 0)
        return broken(vf, "has a place in the arena, but no kernel stores it");
    return FRAX_OK;
}

static FraxStatus check_node(const Graph *g, Value v, FraxError *err) {
    static Check *const checks[] = {check_operands, check_type,   check_attrs,
                                    check_unique,   check_kernel, check_place};
    Verifier vf = {g, v, graph_node(g, v), err};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(checks) && !status; i++) status = checks[i](&vf);
    return status;
}

/* ---- The schedule ---- */

/* Kernels run in the order of their numbers: no value may need, directly or through values that are computed
   where they are used, one that a later kernel stores. */
static FraxStatus check_schedule(const Graph *g, FraxError *err) {
    int32_t *needs = mem_alloc(sizeof *needs * g->count); /* the last kernel that has to run before */
    FraxStatus status = needs ? FRAX_OK : fail_memory(err, "verifying a graph");
    for (size_t v = 0; v < g->count && !status; v++) {
        const Node *node = &g->nodes[v];
        needs[v] = -1;
        for (int i = 0; i < node->nargs; i++) needs[v] = MAX(needs[v], needs[node->args[i]]);
        if (node->kernel < 0) continue;
        if (node->kernel < needs[v])
            status = broken(&(Verifier){g, (Value)v, node, err}, "kernel %d needs a value of kernel %d",
                            node->kernel, needs[v]);
        needs[v] = node->kernel;
    }
    mem_free(needs);
    return status;
}

/* ---- The signature ---- */

static bool in_range(const Graph *g, Value v) {
    return v >= 0 && (size_t)v < g->count;
}

/* What is wrong with writing `value` over the buffer of `donated`, or NULL. */
static const char *donation_fault(const Graph *g, Value value, Value donated) {
    if (!in_range(g, donated)) return "which does not exist";
    const Type *a = graph_type(g, value), *b = graph_type(g, donated);
    if (!is_signature(graph_node(g, donated)->op)) return "which is not an input";
    return a->dtype == b->dtype && shape_equal(&a->shape, &b->shape) ? NULL : "which has another type";
}

/* Each input has at most one layout; places do not overflow; an output's elements lie apart. */
static FraxStatus check_strides(const Graph *g, FraxError *err) {
    for (size_t i = 0; i < g->nlayouts; i++) {
        const InputStrides *layout = &g->layouts[i];
        if (!in_range(g, layout->value) || !is_signature(graph_node(g, layout->value)->op) ||
            graph_strides(g, layout->value) != layout->strides)
            return fail(err, FRAX_INTERNAL, "graph %s: strides of %%%d, which is no input or has others",
                        g->name, layout->value);
        if (strides_reach_too_far(&graph_type(g, layout->value)->shape, layout->strides))
            return fail(err, FRAX_INTERNAL, "graph %s: the strides of %%%d overflow", g->name, layout->value);
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        const Output *out = &g->outputs[i];
        const Shape *shape = &graph_type(g, out->value)->shape;
        if (out->strides &&
            (strides_reach_too_far(shape, out->strides) || strides_overlap(shape, out->strides, 1)))
            return fail(err, FRAX_INTERNAL, "graph %s: the strides of output %s overflow or overlap", g->name,
                        out->name);
    }
    return FRAX_OK;
}

static FraxStatus check_outputs(const Graph *g, FraxError *err) {
    for (size_t i = 0; i < g->noutputs; i++) {
        const Output *out = &g->outputs[i];
        if (!out->name) return fail(err, FRAX_INTERNAL, "graph %s: output %zu has no name", g->name, i);
        if (!in_range(g, out->value))
            return fail(err, FRAX_INTERNAL, "graph %s: output %s is %%%d, which does not exist", g->name,
                        out->name, out->value);
        for (size_t k = 0; k < i; k++) {
            if (!strcmp(g->outputs[k].name, out->name))
                return fail(err, FRAX_INTERNAL, "graph %s: two outputs are called %s", g->name, out->name);
            if (out->donated != NO_VALUE && g->outputs[k].donated == out->donated)
                return fail(err, FRAX_INTERNAL, "graph %s: outputs %s and %s share one buffer", g->name,
                            g->outputs[k].name, out->name);
        }
        const char *wrong = out->donated == NO_VALUE ? NULL : donation_fault(g, out->value, out->donated);
        if (wrong)
            return fail(err, FRAX_INTERNAL, "graph %s: output %s is donated %%%d, %s", g->name, out->name,
                        out->donated, wrong);
    }
    return FRAX_OK;
}

static FraxStatus check_checks(const Graph *g, FraxError *err) {
    for (size_t i = 0; i < g->nchecks; i++) {
        if (!in_range(g, g->checks[i]) || graph_node(g, g->checks[i])->op != OP_guard)
            return fail(err, FRAX_INTERNAL, "graph %s: check %zu is %%%d, which is no guard", g->name, i,
                        g->checks[i]);
        for (size_t k = 0; k < i; k++)
            if (g->checks[k] == g->checks[i])
                return fail(err, FRAX_INTERNAL, "graph %s: guard %%%d is checked twice", g->name,
                            g->checks[i]);
    }
    return FRAX_OK;
}

static FraxStatus check_inputs(const Graph *g, FraxError *err) {
    size_t found = 0;
    for (size_t v = 0; v < g->count; v++) found += is_signature(g->nodes[v].op);
    if (found != g->ninputs)
        return fail(err, FRAX_INTERNAL, "graph %s: %zu inputs in the signature, %zu among the nodes", g->name,
                    g->ninputs, found);
    for (size_t i = 0; i < g->ninputs; i++) {
        if (!in_range(g, g->inputs[i]) || !is_signature(graph_node(g, g->inputs[i])->op))
            return fail(err, FRAX_INTERNAL, "graph %s: input %zu is %%%d, not an input", g->name, i,
                        g->inputs[i]);
        const Node *node = graph_node(g, g->inputs[i]);
        for (size_t k = 0; k < i; k++) {
            const Node *before = graph_node(g, g->inputs[k]);
            if (!strcmp(before->attrs->name, node->attrs->name))
                return fail(err, FRAX_INTERNAL, "graph %s: two inputs are called %s", g->name,
                            node->attrs->name);
            if (before->op == OP_param && node->op == OP_input)
                return fail(err, FRAX_INTERNAL, "graph %s: input %s stands after a param", g->name,
                            node->attrs->name);
        }
    }
    return FRAX_OK;
}

FraxStatus graph_verify(const Graph *g, FraxError *err) {
    FraxStatus status = graph_status(g, err);
    for (size_t v = 0; v < g->count && !status; v++) status = check_node(g, (Value)v, err);
    if (!status) status = check_schedule(g, err);
    if (!status) status = check_inputs(g, err);
    if (!status) status = check_checks(g, err);
    if (!status) status = check_outputs(g, err);
    if (!status) status = check_strides(g, err);
    return status;
}
