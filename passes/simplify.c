/* simplify.c — algebraic rules, listed by op, applied until none fits.
 *
 * A rule may change a result by rounding and the sign of a zero, never by more: what is finite, infinite or
 * NaN on finite inputs stays so. Hence there is no log(exp x) = x or exp a · exp b = exp(a + b) (both
 * overflow on one side only), no re-association of additions (cancellation), and no x·0 = 0 or spectral(x, 0)
 * = 0 (x may have overflowed). The zeros of differentiation need no rule: jvp never makes nodes for them.
 *
 * Custom derivatives and gradient stops have done their work when this runs, and give way to their values.
 */
#include "passes.h"
#include "simplify.h"
#include <math.h>

/* The constant value of v, or NaN. */
static double constant_of(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    return node->op == OP_constant ? node->attrs->value : NAN;
}

/* ---- Signs ---- */

/* The operand of neg, or NO_VALUE. */
static Value negated(const Graph *g, Value v) {
    return is_op(g, v, OP_neg) ? operand(g, v, 0) : NO_VALUE;
}

static Value mul_by_minus_one(Graph *g, const Node *node) {
    for (int i = 0; i < 2; i++)
        if (is_constant(g, node->args[i], -1)) return g_neg(g, node->args[1 - i]);
    return NO_VALUE;
}

/* −v: of constants and negations without a new node. */
static Value opposite(Graph *g, Value v) {
    Value x = negated(g, v);
    return x == NO_VALUE ? g_neg(g, v) : x;
}

/* (−a)·b = −(a·b), the same for division; a constant takes the sign over. */
static Value sign_of_product(Graph *g, const Node *node) {
    Value a = node->args[0], b = node->args[1], na = negated(g, a), nb = negated(g, b);
    if (na == NO_VALUE && nb == NO_VALUE) return NO_VALUE;
    if (na != NO_VALUE && (nb != NO_VALUE || is_op(g, b, OP_constant)))
        return g_binary(g, node->op, na, opposite(g, b));
    if (nb != NO_VALUE && is_op(g, a, OP_constant)) return g_binary(g, node->op, opposite(g, a), nb);
    return g_neg(g, g_binary(g, node->op, na == NO_VALUE ? a : na, nb == NO_VALUE ? b : nb));
}

/* −(x·c) = x·(−c) */
static Value neg_of_scaled(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_mul)) return NO_VALUE;
    Value a = operand(g, node->args[0], 0), b = operand(g, node->args[0], 1);
    if (is_op(g, b, OP_constant)) return g_mul(g, a, g_neg(g, b));
    if (is_op(g, a, OP_constant)) return g_mul(g, g_neg(g, a), b);
    return NO_VALUE;
}

static Value add_of_neg(Graph *g, const Node *node) {
    Value a = negated(g, node->args[0]), b = negated(g, node->args[1]);
    if (b != NO_VALUE) return g_sub(g, node->args[0], b);
    return a != NO_VALUE ? g_sub(g, node->args[1], a) : NO_VALUE;
}

static Value sub_of_neg(Graph *g, const Node *node) {
    Value b = negated(g, node->args[1]);
    return b == NO_VALUE ? NO_VALUE : g_add(g, node->args[0], b);
}

/* abs and cos */
static Value even_of_neg(Graph *g, const Node *node) {
    Value x = negated(g, node->args[0]);
    return x == NO_VALUE ? NO_VALUE : g_unary(g, node->op, x);
}

/* ---- Products and powers ---- */

/* Dtypes in which every constant of size 1e-30 … 1e30 keeps its precision. */
static bool has_wide_range(FraxDType dtype) {
    return dtype == FRAX_F64 || dtype == FRAX_F32;
}

/* (x·c)·d = x·(c·d) where the product on the left cannot leave the range that the one on the right keeps, or
   the other way round: both factors shrink, or both grow. */
static Value mul_of_scaled(Graph *g, const Node *node) {
    if (!has_wide_range(node->type.dtype)) return NO_VALUE;
    for (int i = 0; i < 2; i++) {
        Value product = node->args[1 - i];
        double d = fabs(constant_of(g, node->args[i]));
        if (isnan(d) || !is_op(g, product, OP_mul)) continue;
        for (int k = 0; k < 2; k++) {
            double c = fabs(constant_of(g, operand(g, product, k)));
            bool safe = (c <= 1 && d <= 1 && c * d > 1e-30) || (c >= 1 && d >= 1 && c * d < 1e30);
            if (!safe) continue;
            Value x = operand(g, product, 1 - k), constant = operand(g, product, k);
            return g_mul(g, x, g_mul(g, constant, node->args[i]));
        }
    }
    return NO_VALUE;
}

/* x/c = x·(1/c), where 1/c keeps its precision. */
static Value div_by_constant(Graph *g, const Node *node) {
    double c = fabs(constant_of(g, node->args[1]));
    if (!has_wide_range(node->type.dtype) || !(c > 1e-30 && c < 1e30) || is_op(g, node->args[0], OP_constant))
        return NO_VALUE;
    return g_mul(g, node->args[0], g_div(g, g_like(g, node->args[1], 1), node->args[1]));
}

/* Powers that have a cheaper form with the same range. */
static Value pow_by_constant(Graph *g, const Node *node) {
    Value x = node->args[0], square;
    double p = constant_of(g, node->args[1]);
    if (p == 0) return g_constant(g, node->type, 1);
    if (p == 0.5) return g_unary(g, OP_sqrt, x);
    if (p == -1) return g_div(g, g_constant(g, node->type, 1), x);
    if (p != 2 && p != 3 && p != 4) return NO_VALUE;
    square = g_mul(g, x, x);
    return p == 2 ? square : g_mul(g, square, p == 3 ? x : square);
}

/* ---- Logic, choice, dtypes ---- */

static Value not_of_comparison(Graph *g, const Node *node) {
    const Node inner = *graph_node(g, node->args[0]);
    if (inner.op == OP_not) return inner.args[0];
    if (inner.op == OP_eq) return g_binary(g, OP_ne, inner.args[0], inner.args[1]);
    if (inner.op == OP_ne) return g_binary(g, OP_eq, inner.args[0], inner.args[1]);
    return NO_VALUE; /* the others differ on NaN */
}

static Value select_by_not(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_not)) return NO_VALUE;
    return g_select(g, operand(g, node->args[0], 0), node->args[2], node->args[1]);
}

/* min and max of a value with itself */
static Value same_operands(Graph *g, const Node *node) {
    (void)g;
    return node->args[0] == node->args[1] ? node->args[0] : NO_VALUE;
}

/* Whether every value of `from` is one of `to`. */
static bool widens(FraxDType from, FraxDType to) {
    if (from == FRAX_BOOL || from == to) return true;
    if (from == FRAX_F32 || from == FRAX_I32) return to == FRAX_F64;
    return dtype_is_half(from) && (to == FRAX_F32 || to == FRAX_F64);
}

static Value cast_of_widened(Graph *g, const Node *node) {
    if (!is_op(g, node->args[0], OP_cast)) return NO_VALUE;
    Value x = operand(g, node->args[0], 0);
    if (!widens(graph_type(g, x)->dtype, graph_type(g, node->args[0])->dtype)) return NO_VALUE;
    return g_cast(g, x, node->type.dtype);
}

/* stop and custom */
static Value first_operand(Graph *g, const Node *node) {
    (void)g;
    return node->args[0];
}

/* ---- The table ---- */

static const struct {
    Op op;
    RewriteRule *rule;
} rules[] = {
    {OP_stop, first_operand},
    {OP_custom, first_operand},
    {OP_neg, neg_of_scaled},
    {OP_add, add_of_neg},
    {OP_sub, sub_of_neg},
    {OP_mul, mul_by_minus_one},
    {OP_mul, sign_of_product},
    {OP_mul, mul_of_scaled},
    {OP_div, div_by_constant},
    {OP_div, sign_of_product},
    {OP_pow, pow_by_constant},
    {OP_abs, even_of_neg},
    {OP_cos, even_of_neg},
    {OP_min, same_operands},
    {OP_max, same_operands},
    {OP_not, not_of_comparison},
    {OP_select, select_by_not},
    {OP_cast, cast_of_widened},
    {OP_transpose, transpose_of_transpose},
    {OP_transpose, transpose_as_reshape},
    {OP_broadcast, broadcast_of_broadcast},
    {OP_flip, flip_of_flip},
    {OP_flip, flip_of_broadcast},
    {OP_slice, slice_of_slice},
    {OP_slice, slice_of_pad},
    {OP_slice, slice_of_broadcast},
    {OP_slice, slice_of_concat},
    {OP_pad, pad_of_pad},
    {OP_sum, sum_of_constant},
    {OP_sum, sum_of_neg},
    {OP_sum, reduce_of_reduce},
    {OP_sum, reduce_of_broadcast},
    {OP_reduce_max, reduce_of_reduce},
    {OP_reduce_max, reduce_of_broadcast},
    {OP_reduce_min, reduce_of_reduce},
    {OP_reduce_min, reduce_of_broadcast},
};

static Value simplify_node(Graph *g, const Node *node) {
    Value v = NO_VALUE;
    for (size_t i = 0; i < COUNT(rules) && v == NO_VALUE && !g->failed; i++)
        if (rules[i].op == node->op) v = rules[i].rule(g, node);
    return v;
}

Graph *pass_simplify(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, simplify_node, err);
}
