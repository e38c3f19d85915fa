/* transpose.c — the transpose of a linear map that stands in the graph as the nodes that depend on some
 * holes.
 *
 * y = Σ Aᵢxᵢ (or several such) is walked from y back to the holes xᵢ: the cotangent of a node, summed over
 * its uses, gives those of its operands by the rule of its op. Only LINEAR, BILINEAR and PARAMETRIC ops have
 * rules; jvp.c makes no others depend on a tangent. Cotangent nodes go to the end of the graph and depend on
 * no hole.
 *
 * Invariant: holes come before everything that depends on them, so marks cover [first hole, last y] only.
 */
#include "transpose.h"
#include <string.h>

/* The span [first, end) of values that can depend on the holes, with one mark and one cotangent for each. */
typedef struct Span {
    Graph *g;
    Value first, end;
    bool *depends;
    Value *cotangent;
} Span;

static bool depends(const Span *span, Value v) {
    return v >= span->first && v < span->end && span->depends[v - span->first];
}

/* Of `custom`, only the value (operand 0) counts: the others say how it is differentiated, which is done. */
static int counted_operands(const Node *node) {
    return node->op == OP_custom ? 1 : node->nargs;
}

static bool mark_dependence(Span *span, Graph *g, Value y, const Value *x, size_t nx) {
    *span = (Span){.g = g, .first = y, .end = y + 1};
    for (size_t i = 0; i < nx; i++) span->first = MIN(span->first, x[i]);
    size_t n = (size_t)(span->end - span->first);
    span->depends = mem_calloc(n, sizeof *span->depends);
    span->cotangent = mem_alloc(n * sizeof *span->cotangent);
    if (!span->depends || !span->cotangent) {
        graph_fail(g, FRAX_MEMORY, "out of memory while differentiating %s", g->name);
        return false;
    }
    for (size_t i = 0; i < nx; i++)
        if (x[i] <= y) span->depends[x[i] - span->first] = true;
    for (Value v = span->first; v < span->end; v++) {
        const Node *node = graph_node(g, v);
        bool *mark = &span->depends[v - span->first];
        span->cotangent[v - span->first] = NO_VALUE;
        for (int i = 0; i < counted_operands(node); i++) *mark |= depends(span, node->args[i]);
    }
    return true;
}

static void add_cotangent(const Span *span, Value v, Value ct) {
    Value *sum = &span->cotangent[v - span->first];
    *sum = *sum == NO_VALUE ? ct : g_add(span->g, *sum, ct);
}

static void free_span(Span *span) {
    mem_free(span->depends);
    mem_free(span->cotangent);
}

/* ---- Rules ---- */

/* A node being transposed: ct is its cotangent, x its operands. */
typedef struct Site {
    const Span *span;
    Graph *g;
    Node node; /* a copy: emission moves the node array */
    const Value *x;
    Value ct;
} Site;

typedef void TransposeRule(const Site *s);

static bool wanted(const Site *s, int i) {
    return depends(s->span, s->x[i]);
}

static void accumulate(const Site *s, int i, Value ct) {
    add_cotangent(s->span, s->x[i], ct);
}

static bool is_zero(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    return node->op == OP_constant && node->attrs->value == 0;
}

static Type operand_type(const Site *s, int i) {
    return *graph_type(s->g, s->x[i]);
}

static Value zeros(Graph *g, Type type) {
    return g_constant(g, type, 0);
}

/* ct summed over the axes along which operand i has size 1 and ct has not. */
static Value sum_to_operand(const Site *s, int i, Value ct) {
    if (s->g->failed) return NO_VALUE;
    Shape from = graph_type(s->g, ct)->shape, to = operand_type(s, i).shape;
    uint32_t axes = 0;
    for (int axis = 0; axis < to.rank; axis++)
        if (to.dims[axis] != from.dims[axis]) axes |= 1u << axis;
    return g_reduce(s->g, OP_sum, ct, axes);
}

static void transpose_neg(const Site *s) {
    accumulate(s, 0, g_neg(s->g, s->ct));
}

static void transpose_cast(const Site *s) {
    accumulate(s, 0, g_cast(s->g, s->ct, operand_type(s, 0).dtype));
}

static void transpose_add(const Site *s) {
    if (wanted(s, 0)) accumulate(s, 0, s->ct);
    if (wanted(s, 1)) accumulate(s, 1, s->ct);
}

static void transpose_sub(const Site *s) {
    if (wanted(s, 0)) accumulate(s, 0, s->ct);
    if (wanted(s, 1)) accumulate(s, 1, g_neg(s->g, s->ct));
}

static void transpose_select(const Site *s) {
    Value zero = zeros(s->g, s->node.type);
    if (wanted(s, 1)) accumulate(s, 1, g_select(s->g, s->x[0], s->ct, zero));
    if (wanted(s, 2)) accumulate(s, 2, g_select(s->g, s->x[0], zero, s->ct));
}

static void transpose_mul(const Site *s) {
    for (int i = 0; i < 2; i++)
        if (wanted(s, i)) accumulate(s, i, g_mul(s->g, s->ct, s->x[1 - i]));
}

static void transpose_reshape(const Site *s) {
    accumulate(s, 0, g_reshape(s->g, s->ct, operand_type(s, 0).shape));
}

static void transpose_transpose(const Site *s) {
    uint8_t inverse[MAX_RANK] = {0};
    for (int i = 0; i < s->node.type.shape.rank; i++) inverse[s->node.attrs->perm[i]] = (uint8_t)i;
    accumulate(s, 0, g_transpose(s->g, s->ct, inverse));
}

static void transpose_broadcast(const Site *s) {
    accumulate(s, 0, sum_to_operand(s, 0, s->ct));
}

static void transpose_slice(const Site *s) {
    const Attrs *at = s->node.attrs;
    Shape x = operand_type(s, 0).shape;
    int64_t after[MAX_RANK] = {0};
    for (int i = 0; i < x.rank; i++) {
        int64_t n = s->node.type.shape.dims[i];
        after[i] = x.dims[i] - at->lo[i] - (n ? (n - 1) * at->step[i] + 1 : 0);
    }
    accumulate(s, 0, g_pad(s->g, s->ct, at->lo, after, at->step));
}

static void transpose_pad(const Site *s) {
    const Attrs *at = s->node.attrs;
    Shape x = operand_type(s, 0).shape;
    int64_t end[MAX_RANK] = {0};
    for (int i = 0; i < x.rank; i++) end[i] = at->lo[i] + (x.dims[i] ? (x.dims[i] - 1) * at->step[i] + 1 : 0);
    accumulate(s, 0, g_slice(s->g, s->ct, at->lo, end, at->step));
}

static void transpose_concat(const Site *s) {
    int axis = s->node.attrs->axis;
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0};
    memcpy(hi, s->node.type.shape.dims, sizeof hi);
    hi[axis] = 0;
    for (int i = 0; i < s->node.nargs; i++) {
        lo[axis] = hi[axis];
        hi[axis] += operand_type(s, i).shape.dims[axis];
        if (wanted(s, i)) accumulate(s, i, g_slice(s->g, s->ct, lo, hi, NULL));
    }
}

static void transpose_flip(const Site *s) {
    accumulate(s, 0, g_flip(s->g, s->ct, s->node.attrs->axes));
}

static void transpose_sum(const Site *s) {
    accumulate(s, 0, g_broadcast(s->g, s->ct, operand_type(s, 0).shape));
}

/* With A' and B' the operands as multiplied: ∂A' = ct·B'ᵀ, ∂B' = A'ᵀ·ct, transposed back where the operand
 * is. */
static void transpose_matmul(const Site *s) {
    Graph *g = s->g;
    Value a = s->x[0], b = s->x[1], ct = s->ct;
    bool ta = s->node.attrs->ta, tb = s->node.attrs->tb;
    if (wanted(s, 0)) accumulate(s, 0, ta ? g_matmul(g, b, ct, tb, true) : g_matmul(g, ct, b, false, !tb));
    if (wanted(s, 1)) accumulate(s, 1, tb ? g_matmul(g, ct, a, true, ta) : g_matmul(g, a, ct, !ta, false));
}

Value inverse_bin_weights(Graph *g, Type x, uint32_t axes) {
    int last = 31 - __builtin_clz(axes);
    int64_t size = 1, n = x.shape.dims[last];
    Type row = x;
    for (int i = 0; i < x.shape.rank; i++) {
        if (axes >> i & 1) size *= x.shape.dims[i];
        row.shape.dims[i] = i == last ? n / 2 + 1 : 1;
    }
    Value k = g_iota(g, row, last);
    Value single = g_binary(g, OP_eq, k, g_like(g, k, 0));
    if (n % 2 == 0) single = g_binary(g, OP_or, single, g_binary(g, OP_eq, k, g_like(g, k, (double)(n / 2))));
    return g_select(g, single, g_like(g, k, (double)size), g_like(g, k, (double)size / 2));
}

Value impulse(Graph *g, Type x, uint32_t axes) {
    int64_t before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    for (int i = 0; i < x.shape.rank; i++) {
        if (!(axes >> i & 1)) continue;
        after[i] = x.shape.dims[i] - 1;
        x.shape.dims[i] = 1;
    }
    return g_pad(g, g_constant(g, x, 1), before, after, NULL);
}

/* irfft gives (1/N) Σ c_k Re(K_k e^{iωn}); so the sums Σ ct_k cos ωn and −Σ ct_k sin ωn that transpose the
   parts of rfft are spectral(δ, K) with K = ct·N/c_k and i·ct·N/c_k. */
static void transpose_rfft(const Site *s) {
    Graph *g = s->g;
    uint32_t axes = s->node.attrs->axes;
    Type x = operand_type(s, 0);
    Value weights = g_broadcast(g, inverse_bin_weights(g, x, axes), s->node.type.shape);
    Value k = g_mul(g, s->ct, weights), zero = zeros(g, s->node.type), delta = impulse(g, x, axes);
    bool re = s->node.attrs->part == PART_RE;
    accumulate(s, 0, re ? g_spectral(g, delta, k, zero, axes) : g_spectral(g, delta, zero, k, axes));
}

/* The axes along which K has size 1 and the signal has not. */
static uint32_t broadcast_axes(const Shape *k, const Shape *x, uint32_t transformed) {
    uint32_t axes = 0;
    for (int i = 0; i < x->rank; i++)
        if (!(transformed >> i & 1) && k->dims[i] != x->dims[i]) axes |= 1u << i;
    return axes;
}

/* So that whoever reads the printed graph finds the adjoint kernel in it. */
static void note_adjoint(const Site *s, const char *what) {
    graph_note(s->g, s->node.loc, "adjoint of %s: %s", op_table[s->node.op].name, what);
}

static void transpose_spectral(const Site *s) {
    Graph *g = s->g;
    uint32_t axes = s->node.attrs->axes;
    Shape k = operand_type(s, 1).shape;
    uint32_t sum = broadcast_axes(&k, &s->node.type.shape, axes);
    if (wanted(s, 0)) {
        Value im =
            is_zero(g, s->x[2]) ? s->x[2] : g_neg(g, s->x[2]); /* not −0: real K keep sharing their zero */
        accumulate(s, 0, g_spectral(g, s->ct, s->x[1], im, axes));
        note_adjoint(s, "spectral with the conjugate kernel, Re K and -Im K");
    }
    if (wanted(s, 1)) accumulate(s, 1, g_cross_spectrum(g, s->x[0], s->ct, axes, sum, PART_RE));
    if (wanted(s, 2)) accumulate(s, 2, g_cross_spectrum(g, s->x[0], s->ct, axes, sum, PART_IM));
}

/* (c_k/N)·Re or Im conj(X)·Y against ct: the real part is spectral with K = ct, the imaginary part with K =
   ∓i·ct. K may have size 1 along `sum`, so the cotangent needs no broadcast. */
static void transpose_cross_spectrum(const Site *s) {
    Graph *g = s->g;
    uint32_t axes = s->node.attrs->axes;
    bool re = s->node.attrs->part == PART_RE;
    Value zero = zeros(g, s->node.type);
    for (int i = 0; i < 2; i++) {
        if (!wanted(s, i)) continue;
        Value k = i == 0 && !re ? g_neg(g, s->ct) : s->ct, other = s->x[1 - i];
        accumulate(s, i, re ? g_spectral(g, other, k, zero, axes) : g_spectral(g, other, zero, k, axes));
    }
}

/* Σ_j w_j ct_{i+j}: convolution in reversed time. */
static Value anticausal(const Site *s, Value w, Value ct) {
    uint32_t axis = 1u << s->node.attrs->axis;
    Value y =
        g_causal_conv(s->g, w, g_flip(s->g, ct, axis), s->node.attrs->axis, (Engine)s->node.attrs->engine);
    return g_flip(s->g, y, axis);
}

static void transpose_causal_conv(const Site *s) {
    int axis = s->node.attrs->axis;
    Shape w = operand_type(s, 0).shape;
    uint32_t sum = broadcast_axes(&w, &s->node.type.shape, 1u << axis);
    if (wanted(s, 0))
        accumulate(s, 0,
                   g_causal_correlation(s->g, s->x[1], s->ct, axis, sum, w.dims[axis],
                                        (Engine)s->node.attrs->engine));
    if (!wanted(s, 1)) return;
    accumulate(s, 1, anticausal(s, s->x[0], s->ct));
    note_adjoint(s, "the same weights in reversed time, flip of causal_conv of flip");
}

/* The cotangent takes the weights' place: it has as many lags, and size 1 along `sum`. */
static void transpose_causal_correlation(const Site *s) {
    if (wanted(s, 0)) accumulate(s, 0, anticausal(s, s->ct, s->x[1]));
    if (wanted(s, 1))
        accumulate(s, 1,
                   g_causal_conv(s->g, s->ct, s->x[0], s->node.attrs->axis, (Engine)s->node.attrs->engine));
}

static Exponential same_kernel(const Site *s) {
    const Attrs *at = s->node.attrs;
    return (Exponential){.axis = at->axis, .n = at->n, .lag = at->lag};
}

/* Both cotangents run the recurrence on the reversed cotangent, which they can share:
   Σ_t ct_t s_{m,t}[x] = Σ_t x_t p_{m,t} with p the states of the reversed recurrence on ct. */
static void transpose_exponential_conv(const Site *s) {
    Graph *g = s->g;
    uint32_t along = 1u << s->node.attrs->axis;
    Value reversed = g_flip(g, s->ct, along);
    if (wanted(s, 0)) {
        accumulate(s, 0, g_flip(g, g_exponential_conv(g, reversed, s->x[1], s->x[2], same_kernel(s)), along));
        note_adjoint(s, "the same recurrence run backward, flip of exponential_conv of flip");
    }
    if (!wanted(s, 1)) return;
    Value dc = g_exponential_correlation(g, reversed, g_flip(g, s->x[0], along), s->x[2], same_kernel(s));
    accumulate(s, 1, sum_to_operand(s, 1, dc));
}

/* ct takes the place of c: in y forward in time, in x backward. */
static void transpose_exponential_correlation(const Site *s) {
    Graph *g = s->g;
    uint32_t along = 1u << s->node.attrs->axis;
    if (wanted(s, 1)) accumulate(s, 1, g_exponential_conv(g, s->x[0], s->ct, s->x[2], same_kernel(s)));
    if (!wanted(s, 0)) return;
    Value reversed = g_flip(g, s->x[1], along);
    accumulate(s, 0, g_flip(g, g_exponential_conv(g, reversed, s->ct, s->x[2], same_kernel(s)), along));
}

/* For completeness: jvp follows the given derivative, so what depends on a tangent is never behind custom. */
static void transpose_custom(const Site *s) {
    accumulate(s, 0, s->ct);
}

static TransposeRule *const rules[OP_COUNT] = {
#define RULE_LEAF(name)
#define RULE_DISCRETE(name)
#define RULE_NONLINEAR(name)
#define RULE_OPAQUE(name)
#define RULE_LINEAR(name)                   [OP_##name] = transpose_##name,
#define RULE_BILINEAR(name)                 [OP_##name] = transpose_##name,
#define RULE_PARAMETRIC(name)               [OP_##name] = transpose_##name,
#define OP(name, arity, kind, infer, attrs) RULE_##kind(name)
#include "ops.def"
};

/* ---- Linearity ---- */

/* A node that depends on the holes is linear in them if its op is, given which operands depend too. */
static bool node_is_linear(const Span *span, const Node *node) {
    OpKind kind = op_table[node->op].kind;
    bool rest = false;
    if (kind == KIND_LEAF) return true;
    if (node->op == OP_div) return !depends(span, node->args[1]); /* its jvp in the numerator is a product */
    if (kind == KIND_PARAMETRIC)
        return !depends(span, node->args[2]) &&
               !(depends(span, node->args[0]) && depends(span, node->args[1]));
    if (kind != KIND_LINEAR && kind != KIND_BILINEAR) return false;
    for (int i = 1; i < node->nargs; i++) rest |= depends(span, node->args[i]);
    if (kind == KIND_BILINEAR) return !(rest && depends(span, node->args[0]));
    int first = node->op == OP_select ? 1 : 0;
    for (int i = first; i < counted_operands(node); i++)
        if (!depends(span, node->args[i]) && !is_zero(span->g, node->args[i])) return false;
    return true;
}

static bool fail_not_linear(Graph *g, Value v) {
    Loc loc = g->loc;
    const Node *node = graph_node(g, v);
    if (node->loc.line) g->loc = node->loc;
    graph_fail(g, FRAX_NOT_DIFFERENTIABLE, "the given derivative is not linear in its tangent: see %s",
               op_table[node->op].name);
    g->loc = loc;
    return false;
}

/* Keeps only the marks of what y is computed from. */
static bool unmark_unused(Span *span, Value y) {
    size_t n = (size_t)(span->end - span->first);
    bool *used = mem_calloc(n, sizeof *used);
    if (!used) {
        graph_fail(span->g, FRAX_MEMORY, "out of memory while differentiating %s", span->g->name);
        return false;
    }
    used[y - span->first] = true;
    for (size_t i = n; i-- > 0;) {
        const Node *node = graph_node(span->g, span->first + (Value)i);
        span->depends[i] &= used[i];
        for (int k = 0; used[i] && k < counted_operands(node); k++)
            if (node->args[k] >= span->first) used[node->args[k] - span->first] = true;
    }
    mem_free(used);
    return true;
}

bool check_linear(Graph *g, Value y, const Value *x, size_t nx) {
    Span span;
    bool linear = mark_dependence(&span, g, y, x, nx) && unmark_unused(&span, y);
    if (linear && !depends(&span, y) && !is_zero(g, y)) linear = fail_not_linear(g, y);
    for (Value v = span.first; linear && v < span.end; v++)
        if (depends(&span, v) && !node_is_linear(&span, graph_node(g, v))) linear = fail_not_linear(g, v);
    free_span(&span);
    return linear;
}

/* ---- The walk ---- */

void transpose_linear(Graph *g, const Value *y, const Value *ct, size_t ny, const Value *x, size_t nx,
                      Value *cotangents) {
    Span span;
    Loc loc = g->loc;
    Value last = 0;
    for (size_t j = 0; j < ny; j++)
        if (y[j] != NO_VALUE) last = MAX(last, y[j]);
    bool marked = mark_dependence(&span, g, last, x, nx);
    for (size_t j = 0; marked && j < ny; j++)
        if (y[j] != NO_VALUE && depends(&span, y[j])) add_cotangent(&span, y[j], ct[j]);
    for (Value v = last; marked && v >= span.first && !g->failed; v--) {
        Site s = {.span = &span, .g = g, .node = *graph_node(g, v), .ct = span.cotangent[v - span.first]};
        if (s.ct == NO_VALUE || s.node.nargs == 0) continue;
        s.x = s.node.args;
        g->loc = s.node.loc;
        if (rules[s.node.op])
            rules[s.node.op](&s);
        else
            fail_not_linear(g, v);
    }
    g->loc = loc;
    for (size_t i = 0; i < nx; i++)
        cotangents[i] = marked && x[i] <= last ? span.cotangent[x[i] - span.first] : NO_VALUE;
    free_span(&span);
}
