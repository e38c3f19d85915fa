/* jvp.c — forward-mode differentiation: the tangent of every node from the tangents of its operands.
 *
 * The decomposition is that of Radul et al. (You Only Linearize Once, POPL 2023): only NONLINEAR ops have
 * rules here; LINEAR and BILINEAR ones are their own derivatives, so that everything that depends on a
 * tangent is linear in it by construction and transpose.c can turn the result around.
 *
 * A tangent that is NO_VALUE is a symbolic zero: no nodes are made for it. New nodes go to the end of the
 * graph, so the walk over the old ones never meets them; positions are held as values, never as pointers to
 * nodes, because emission moves the node array.
 */
#include "passes.h"
#include "transpose.h"
#include <assert.h>
#include <math.h>

/* One node being differentiated. */
typedef struct Site {
    Graph *g;
    Value y;
    Node node;       /* a copy: emission moves the node array */
    const Value *x;  /* its operands */
    const Value *dx; /* their tangents */
} Site;

/* The part of y's tangent that comes from dx[i]: dx[i] times a factor that depends on no tangent. */
typedef Value TangentRule(const Site *s, int i);

static Value times_tangent(const Site *s, int i, Value factor) {
    return g_mul(s->g, s->dx[i], factor);
}

static Value reciprocal(Graph *g, Value x) {
    return g_div(g, g_like(g, x, 1), x);
}

/* ---- Rules of pointwise ops with one operand ---- */

static Value jvp_exp(const Site *s, int i) {
    return times_tangent(s, i, s->y);
}

/* exp(x), not y + 1, which cancels where y is near −1. */
static Value jvp_expm1(const Site *s, int i) {
    return times_tangent(s, i, g_unary(s->g, OP_exp, s->x[0]));
}

static Value jvp_log(const Site *s, int i) {
    return times_tangent(s, i, reciprocal(s->g, s->x[0]));
}

static Value jvp_log1p(const Site *s, int i) {
    return times_tangent(s, i, reciprocal(s->g, g_shift(s->g, s->x[0], 1)));
}

static Value jvp_sin(const Site *s, int i) {
    return times_tangent(s, i, g_unary(s->g, OP_cos, s->x[0]));
}

static Value jvp_cos(const Site *s, int i) {
    return times_tangent(s, i, g_neg(s->g, g_unary(s->g, OP_sin, s->x[0])));
}

static Value one_minus(Graph *g, Value x) {
    return g_sub(g, g_like(g, x, 1), x);
}

static Value jvp_tanh(const Site *s, int i) {
    return times_tangent(s, i, one_minus(s->g, g_mul(s->g, s->y, s->y)));
}

static Value jvp_sigmoid(const Site *s, int i) {
    return times_tangent(s, i, g_mul(s->g, s->y, one_minus(s->g, s->y)));
}

/* 2/√π · exp(−x²) */
static Value jvp_erf(const Site *s, int i) {
    Graph *g = s->g;
    Value bell = g_unary(g, OP_exp, g_neg(g, g_mul(g, s->x[0], s->x[0])));
    return times_tangent(s, i, g_scale(g, bell, M_2_SQRTPI));
}

static Value jvp_sqrt(const Site *s, int i) {
    return times_tangent(s, i, g_div(s->g, g_like(s->g, s->y, 0.5), s->y));
}

/* −½ x^{−3/2} */
static Value jvp_rsqrt(const Site *s, int i) {
    return times_tangent(s, i, g_scale(s->g, g_div(s->g, s->y, s->x[0]), -0.5));
}

static Value jvp_abs(const Site *s, int i) {
    return times_tangent(s, i, g_unary(s->g, OP_sign, s->x[0]));
}

static Value jvp_lgamma(const Site *s, int i) {
    return times_tangent(s, i, g_polygamma(s->g, 0, s->x[0]));
}

static Value jvp_polygamma(const Site *s, int i) {
    return times_tangent(s, i, g_polygamma(s->g, s->node.attrs->n + 1, s->x[0]));
}

/* The tangent is no less right outside the range, and the value is judged already. */
static Value jvp_guard(const Site *s, int i) {
    return s->dx[i];
}

/* ---- Rules of pointwise ops with several operands ---- */

/* f^{(n)}(x + iy): ∂x = f^{(n+1)}, ∂y = i f^{(n+1)} */
static Value jvp_complex_lgamma(const Site *s, int i) {
    const Attrs *at = s->node.attrs;
    bool real = at->part == PART_RE;
    Value next =
        g_complex_lgamma(s->g, at->n + 1, i ? (real ? PART_IM : PART_RE) : (Part)at->part, s->x[0], s->x[1]);
    return times_tangent(s, i, i && real ? g_neg(s->g, next) : next);
}

/* ∂z^n ∂β^m E: orders in z and β rise by one; ∂α E = z ∂z∂β E, whose n-th derivative in z is
   z {n+1, m+1} + n {n, m+1}. */
static Value jvp_mittag_leffler(const Site *s, int i) {
    Graph *g = s->g;
    int64_t n = s->node.attrs->n, m = s->node.attrs->m;
    Value alpha = s->x[0], beta = s->x[1], z = s->x[2];
    if (i) return times_tangent(s, i, g_mittag_leffler(g, n + (i == 2), m + (i == 1), alpha, beta, z));
    Value factor = g_mul(g, z, g_mittag_leffler(g, n + 1, m + 1, alpha, beta, z));
    if (n) factor = g_add(g, factor, g_scale(g, g_mittag_leffler(g, n, m + 1, alpha, beta, z), (double)n));
    return times_tangent(s, i, factor);
}

/* y = a/b: ∂a = 1/b, ∂b = −y/b */
static Value jvp_div(const Site *s, int i) {
    Graph *g = s->g;
    return times_tangent(s, i, i == 0 ? reciprocal(g, s->x[1]) : g_neg(g, g_div(g, s->y, s->x[1])));
}

/* ∂(x^p)/∂x = p x^{p−1}. With p = 0 a base so small that its square is 0 is replaced, and x = 0 gives 0, not
   0·∞. The exponent stays: ∂p of this is x^{−1} where p = 0. */
static Value pow_in_base(Graph *g, Value x, Value p) {
    Value flat = g_binary(g, OP_eq, p, g_like(g, p, 0));
    Value tiny = g_binary(g, OP_eq, g_mul(g, x, x), g_like(g, x, 0));
    Value base = g_select(g, flat, g_select(g, tiny, g_like(g, x, 1), x), x);
    return g_mul(g, p, g_binary(g, OP_pow, base, g_shift(g, p, -1)));
}

/* ∂(x^p)/∂p = log(x) x^p: 0 at x = 0, NaN for x < 0. */
static Value pow_in_exponent(Graph *g, Value x, Value y) {
    Value zero = g_binary(g, OP_eq, x, g_like(g, x, 0));
    Value log = g_unary(g, OP_log, g_select(g, zero, g_like(g, x, 1), x));
    return g_mul(g, log, g_select(g, zero, g_like(g, y, 0), y));
}

static Value jvp_pow(const Site *s, int i) {
    Graph *g = s->g;
    return times_tangent(s, i, i == 0 ? pow_in_base(g, s->x[0], s->x[1]) : pow_in_exponent(g, s->x[0], s->y));
}

/* atan2(a, b): ∂a = b/(a² + b²), ∂b = −a/(a² + b²) */
static Value jvp_atan2(const Site *s, int i) {
    Graph *g = s->g;
    Value a = s->x[0], b = s->x[1];
    Value square = g_add(g, g_mul(g, a, a), g_mul(g, b, b));
    return times_tangent(s, i, g_div(g, i == 0 ? b : g_neg(g, a), square));
}

/* 1 where operand i is the chosen one, ½ where both are equal, else 0. */
static Value chosen(const Site *s, int i, Op better) {
    Graph *g = s->g;
    Value wins = g_binary(g, better, s->x[i], s->x[1 - i]), ties = g_binary(g, OP_eq, s->x[0], s->x[1]);
    Value rest = g_select(g, ties, g_like(g, s->y, 0.5), g_like(g, s->y, 0));
    return times_tangent(s, i, g_select(g, wins, g_like(g, s->y, 1), rest));
}

static Value jvp_max(const Site *s, int i) {
    return chosen(s, i, OP_gt);
}

static Value jvp_min(const Site *s, int i) {
    return chosen(s, i, OP_lt);
}

/* ---- Rules of the other nonlinear ops ---- */

/* Equal extrema share the derivative equally. */
static Value share_extremum(const Site *s, int i) {
    Graph *g = s->g;
    Type x = *graph_type(g, s->x[0]);
    uint32_t axes = s->node.attrs->axes;
    Value is_extremum = g_binary(g, OP_eq, s->x[0], g_broadcast(g, s->y, x.shape));
    Value mask = g_cast(g, is_extremum, x.dtype);
    Value count = g_reduce(g, OP_sum, mask, axes);
    Value share = g_div(g, mask, g_broadcast(g, count, x.shape));
    return g_reduce(g, OP_sum, times_tangent(s, i, share), axes);
}

static Value jvp_reduce_max(const Site *s, int i) {
    return share_extremum(s, i);
}

static Value jvp_reduce_min(const Site *s, int i) {
    return share_extremum(s, i);
}

/* The next derivative in α by the recursion; it equals L ∗ y, L = (0, −1, −1/2, −1/3, …), as log(1−z) has it.
 */
static Value jvp_grunwald_weights(const Site *s, int i) {
    Value factor = g_grunwald_derivative(s->g, s->x[0], s->node.attrs->n, s->node.attrs->m + 1);
    return g_mul(s->g, g_broadcast(s->g, s->dx[i], s->node.type.shape), factor);
}

/* a ∘ b of ranks that agree and sizes that agree or are 1. */
static Value mul_broadcast(Graph *g, Value a, Value b) {
    Shape joint;
    if (g->failed) return NO_VALUE;
    shape_broadcast(&graph_type(g, a)->shape, &graph_type(g, b)->shape, &joint);
    return g_mul(g, g_broadcast(g, a, joint), g_broadcast(g, b, joint));
}

/* ∂/∂r C(k, n) r^{k−n} = (n + 1) C(k, n+1) r^{k−(n+1)}: the kernel of the next order, times n + 1. */
static Exponential next_order(const Site *s) {
    const Attrs *at = s->node.attrs;
    return (Exponential){.axis = at->axis, .n = at->n + 1, .lag = at->lag};
}

static Value jvp_exponential_conv(const Site *s, int i) {
    Exponential next = next_order(s);
    Value c = g_scale(s->g, mul_broadcast(s->g, s->x[1], s->dx[i]), (double)next.n);
    return g_exponential_conv(s->g, s->x[0], c, s->x[i], next);
}

static Value jvp_exponential_correlation(const Site *s, int i) {
    Exponential next = next_order(s);
    Value q = g_exponential_correlation(s->g, s->x[0], s->x[1], s->x[i], next);
    return g_scale(s->g, mul_broadcast(s->g, q, s->dx[i]), (double)next.n);
}

static TangentRule *const rules[OP_COUNT] = {
#define RULE_LEAF(name)
#define RULE_DISCRETE(name)
#define RULE_LINEAR(name)
#define RULE_BILINEAR(name)
#define RULE_OPAQUE(name)
#define RULE_NONLINEAR(name)                [OP_##name] = jvp_##name,
#define RULE_PARAMETRIC(name)               [OP_##name] = jvp_##name,
#define OP(name, arity, kind, infer, attrs) RULE_##kind(name)
#include "ops.def"
};

/* ---- Rules by kind ---- */

static Value add_tangents(Graph *g, Value a, Value b) {
    return a == NO_VALUE ? b : b == NO_VALUE ? a : g_add(g, a, b);
}

static Value zero_tangent(const Site *s) {
    (void)s;
    return NO_VALUE;
}

static Value nonlinear_tangent(const Site *s) {
    Value dy = NO_VALUE;
    for (int i = 0; i < s->node.nargs; i++)
        if (s->dx[i] != NO_VALUE) dy = add_tangents(s->g, dy, rules[s->node.op](s, i));
    return dy;
}

static Value tangent_or_zero(const Site *s, int i) {
    return s->dx[i] == NO_VALUE ? g_like(s->g, s->x[i], 0) : s->dx[i];
}

/* The node's op on new operands, of which there are as many. */
static Value again(const Site *s, const Value *args) {
    return graph_emit(s->g, s->node.op, args, s->node.nargs, s->node.attrs, &s->node.type);
}

static Value linear_tangent(const Site *s) {
    Graph *g = s->g;
    int n = s->node.nargs;
    if (!dtype_is_float(s->node.type.dtype)) return NO_VALUE; /* cast to integers */
    if (s->node.op == OP_add) return add_tangents(g, s->dx[0], s->dx[1]);
    if (s->node.op == OP_sub && s->dx[1] == NO_VALUE) return s->dx[0];
    if (s->node.op == OP_sub && s->dx[0] == NO_VALUE) return g_neg(g, s->dx[1]);
    Value *args = arena_alloc(&g->arena, sizeof *args * (size_t)n);
    if (!args) return graph_fail(g, FRAX_MEMORY, "out of memory while differentiating %s", g->name);
    for (int i = 0; i < n; i++) {
        bool condition = s->node.op == OP_select && i == 0;
        args[i] = condition ? s->x[i] : tangent_or_zero(s, i);
    }
    return again(s, args);
}

/* op(dx₀, x₁…) + op(x₀, dx₁…): the operands from 1 on vary together. */
static Value bilinear_tangent(const Site *s) {
    enum { MOST = 3 };
    Value args[MOST], dy = NO_VALUE;
    int n = s->node.nargs;
    bool rest_varies = false;
    assert(n <= MOST);
    for (int i = 1; i < n; i++) rest_varies |= s->dx[i] != NO_VALUE;
    if (s->dx[0] != NO_VALUE) {
        args[0] = s->dx[0];
        for (int i = 1; i < n; i++) args[i] = s->x[i];
        dy = again(s, args);
    }
    if (!rest_varies) return dy;
    args[0] = s->x[0];
    for (int i = 1; i < n; i++) args[i] = tangent_or_zero(s, i);
    return add_tangents(s->g, dy, again(s, args));
}

/* op(dx₀, x₁, x₂) + op(x₀, dx₁, x₂) + the rule for dx₂ */
static Value parametric_tangent(const Site *s) {
    Value dy = NO_VALUE;
    for (int i = 0; i < 2; i++) {
        Value args[] = {s->x[0], s->x[1], s->x[2]};
        if (s->dx[i] == NO_VALUE) continue;
        args[i] = s->dx[i];
        dy = add_tangents(s->g, dy, again(s, args));
    }
    return s->dx[2] == NO_VALUE ? dy : add_tangents(s->g, dy, rules[s->node.op](s, 2));
}

static Value no_rule(const Site *s) {
    return graph_fail(s->g, FRAX_NOT_DIFFERENTIABLE, "%s has no derivative rule", op_table[s->node.op].name);
}

static FraxStatus push_forward(Graph *g, const Value *outputs, size_t noutputs, const Value *wrt,
                               const Value *tangents, size_t nwrt, Value *out_tangents);

/* custom(y, x…, holes…, dy): dy is linear in the holes, so dy(holes := dx) is its derivative in direction dx.
 */
static Value custom_tangent(const Site *s) {
    size_t n = (size_t)s->node.attrs->n;
    const Value *holes = s->x + 1 + n;
    Value dy = s->x[2 * n + 1], result = NO_VALUE;
    if (check_linear(s->g, dy, holes, n)) push_forward(s->g, &dy, 1, holes, s->dx + 1, n, &result);
    return result;
}

static Value tangent_of(const Site *s) {
    static Value (*const by_kind[])(const Site *) = {
        [KIND_LEAF] = zero_tangent,
        [KIND_DISCRETE] = zero_tangent,
        [KIND_NONLINEAR] = nonlinear_tangent,
        [KIND_LINEAR] = linear_tangent,
        [KIND_BILINEAR] = bilinear_tangent,
        [KIND_PARAMETRIC] = parametric_tangent,
        [KIND_OPAQUE] = no_rule,
    };
    if (s->node.op == OP_custom) return custom_tangent(s);
    return by_kind[op_table[s->node.op].kind](s);
}

/* ---- The walk ---- */

/* Which operands of a node its tangent is made from: of `custom`, only the arguments x. */
static void differentiated_operands(const Node *node, int *first, int *end) {
    bool custom = node->op == OP_custom;
    *first = custom ? 1 : 0;
    *end = custom ? 1 + (int)node->attrs->n : node->nargs;
}

/* Marks in need[0..limit) what the outputs are computed from, and returns the largest number of operands. */
static int mark_needed(const Graph *g, const Value *outputs, size_t noutputs, bool *need, size_t limit) {
    int widest = 1;
    for (size_t i = 0; i < noutputs; i++) need[outputs[i]] = true;
    for (size_t v = limit; v-- > 0;) {
        const Node *node = &g->nodes[v];
        int first, end;
        if (!need[v]) continue;
        widest = MAX(widest, node->nargs);
        differentiated_operands(node, &first, &end);
        for (int i = first; i < end; i++) need[node->args[i]] = true;
    }
    return widest;
}

static void walk(Graph *g, const bool *need, const bool *given, size_t limit, Value *tangent, Value *dx) {
    Loc loc = g->loc;
    for (size_t v = 0; v < limit && !g->failed; v++) {
        Site s = {.g = g, .y = (Value)v, .node = g->nodes[v], .dx = dx};
        bool varies = false;
        int first, end;
        if (!need[v] || given[v]) continue;
        s.x = s.node.args;
        differentiated_operands(&s.node, &first, &end);
        for (int i = 0; i < s.node.nargs; i++) {
            dx[i] = i >= first && i < end ? tangent[s.x[i]] : NO_VALUE;
            varies |= dx[i] != NO_VALUE;
        }
        if (!varies) continue;
        g->loc = s.node.loc;
        tangent[v] = tangent_of(&s);
    }
    g->loc = loc;
}

/* jvp() without the checks; tangents may be NO_VALUE. Faults are left in the graph. */
static FraxStatus push_forward(Graph *g, const Value *outputs, size_t noutputs, const Value *wrt,
                               const Value *tangents, size_t nwrt, Value *out_tangents) {
    size_t limit = 0;
    for (size_t i = 0; i < noutputs; i++) limit = MAX(limit, (size_t)outputs[i] + 1);
    bool *need = mem_calloc(2, limit + 1), *given = need + limit;
    Value *tangent = mem_alloc((limit + 1) * sizeof *tangent), *dx = NULL;
    if (need && tangent) dx = mem_alloc((size_t)mark_needed(g, outputs, noutputs, need, limit) * sizeof *dx);
    if (dx) {
        for (size_t v = 0; v < limit; v++) tangent[v] = NO_VALUE;
        for (size_t i = 0; i < nwrt; i++) {
            if ((size_t)wrt[i] >= limit) continue;
            given[wrt[i]] = true;
            tangent[wrt[i]] = add_tangents(g, tangent[wrt[i]], tangents[i]);
        }
        walk(g, need, given, limit, tangent, dx);
        for (size_t i = 0; i < noutputs; i++) out_tangents[i] = tangent[outputs[i]];
    } else {
        graph_fail(g, FRAX_MEMORY, "out of memory while differentiating %s", g->name);
    }
    mem_free(need);
    mem_free(tangent);
    mem_free(dx);
    return g->failed ? g->error.status : FRAX_OK;
}

FraxStatus jvp(Graph *g, const Value *outputs, size_t noutputs, const Value *wrt, const Value *tangents,
               size_t nwrt, Value *out_tangents, FraxError *err) {
    if (g->failed) return graph_status(g, err);
    for (size_t i = 0; i < nwrt; i++) {
        const Type *x = graph_type(g, wrt[i]), *dx = graph_type(g, tangents[i]);
        char a[176], b[176];
        if (!dtype_is_float(x->dtype))
            return fail(err, FRAX_NOT_DIFFERENTIABLE,
                        "cannot differentiate with respect to a value of type %s, expected a floating dtype",
                        type_text(x, a));
        if (x->dtype != dx->dtype || !shape_equal(&x->shape, &dx->shape))
            return fail(err, FRAX_SHAPE, "the tangent of a value of type %s has type %s", type_text(x, a),
                        type_text(dx, b));
    }
    push_forward(g, outputs, noutputs, wrt, tangents, nwrt, out_tangents);
    return graph_status(g, err);
}
