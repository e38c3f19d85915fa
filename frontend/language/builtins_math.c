/* builtins_math.c — pointwise functions and reductions as built-ins.
 *
 * Functions of numbers alone give numbers. Reductions drop the reduced axes unless keep=true; the graph's own
 * reductions always keep them.
 */
#include "lower.h"
#include <math.h>

/* ---- Pointwise ---- */

static Item unary_rule(Lower *lw, const Args *args) {
    return pointwise(lw, args->builtin->name, args->builtin->op, args->items, 1);
}

static Item pow_rule(Lower *lw, const Args *args) {
    return power(lw, args->items[0], args->items[1]);
}

static Item digamma_rule(Lower *lw, const Args *args) {
    if (is_number(&args->items[0])) return unary_rule(lw, args);
    return item_value(g_polygamma(lw->g, 0, float_arg(lw, args, 0)));
}

/* Beyond 0 < α ≤ 2 the function is not computed: numbers are judged now, arrays when they are known. */
static Item mittag_leffler_rule(Lower *lw, const Args *args) {
    static const char expected[] = "0 < alpha <= 2";
    Item x[3] = {args->items[0], args->items[1], args->items[2]};
    double order = x[0].number.value;
    if (is_number(&x[0]) && !(order > 0 && order <= 2))
        return item_value(arg_fail(lw, args, 0, FRAX_VALUE, "is %g, expected %s", order, expected));
    if (x[0].kind == ITEM_VALUE && dtype_is_float(graph_type(lw->g, x[0].value)->dtype))
        x[0].value = g_guard(lw->g, x[0].value, nextafter(0, 1), 2, "mittag_leffler: alpha", expected);
    return pointwise(lw, args->builtin->name, OP_mittag_leffler, x, 3);
}

static Value relu_value(Lower *lw, Value x) {
    /* A comparison, not max(x, 0): its slope at 0 is 0, and NaN passes. */
    return replace_where(lw, g_binary(lw->g, OP_le, x, g_like(lw->g, x, 0)), 0, x);
}

static Item relu_rule(Lower *lw, const Args *args) {
    return item_value(relu_value(lw, float_arg(lw, args, 0)));
}

static Item silu_rule(Lower *lw, const Args *args) {
    Value x = float_arg(lw, args, 0);
    return item_value(g_mul(lw->g, x, g_unary(lw->g, OP_sigmoid, x)));
}

/* Hendrycks & Gimpel 2016: x Φ(x), exactly by erf, or by their tanh approximation. */
static Item gelu_rule(Lower *lw, const Args *args) {
    static const char *const choices[] = {"tanh"};
    Graph *g = lw->g;
    Value x = float_arg(lw, args, 0), inner;
    bool by_tanh =
        args->items[1].kind != ITEM_NOTHING && choice_arg(lw, args, 1, choices, COUNT(choices)) == 0;
    if (by_tanh) {
        Value cubic = g_mul(g, x, g_mul(g, x, x));
        inner = g_unary(g, OP_tanh, g_scale(g, g_add(g, x, g_scale(g, cubic, 0.044715)), sqrt(2 / M_PI)));
    } else {
        inner = g_unary(g, OP_erf, g_scale(g, x, M_SQRT1_2));
    }
    Value half = g_scale(g, x, 0.5);
    return item_value(g_mul(g, half, g_shift(g, inner, 1)));
}

/* log(1 + e^x) without overflow. Its derivative is given as sigmoid: differentiating |x| and max would be
   wrong at 0, where models with zero-initialised logits start. */
Value softplus_value(Lower *lw, Value x) {
    Graph *g = lw->g;
    if (failed(lw)) return NO_VALUE;
    Value tail = g_unary(g, OP_log1p, g_unary(g, OP_exp, g_neg(g, g_unary(g, OP_abs, x))));
    Value y = g_add(g, g_binary(g, OP_max, x, g_like(g, x, 0)), tail);
    if (failed(lw) || graph_node(g, x)->op == OP_constant) return y;
    Value hole = g_hole(g, *graph_type(g, x), lw->holes++);
    return g_custom(g, y, &x, &hole, 1, g_mul(g, g_unary(g, OP_sigmoid, x), hole));
}

static Item softplus_rule(Lower *lw, const Args *args) {
    return item_value(softplus_value(lw, float_arg(lw, args, 0)));
}

static Item clamp_rule(Lower *lw, const Args *args) {
    const Item *lo = &args->items[1], *hi = &args->items[2];
    Item x = args->items[0];
    if (is_number(lo) && is_number(hi) && lo->number.value > hi->number.value)
        arg_fail(lw, args, 1, FRAX_VALUE, "is %g, above hi, which is %g", lo->number.value, hi->number.value);
    if (lo->kind == ITEM_NOTHING && hi->kind == ITEM_NOTHING)
        return item_fail(lw, FRAX_TYPE, "clamp needs lo, hi or both");
    if (lo->kind != ITEM_NOTHING) x = pointwise(lw, "clamp", OP_max, (Item[]){x, *lo}, 2);
    if (hi->kind != ITEM_NOTHING) x = pointwise(lw, "clamp", OP_min, (Item[]){x, *hi}, 2);
    return x;
}

/* Condition and branches broadcast together; only the branches share a dtype. */
static Item where_rule(Lower *lw, const Args *args) {
    Value branches[2], condition = array_arg(lw, args, 0);
    Shape shape;
    char a[176], b[176];
    if (!unify(lw, "where", &args->items[1], 2, branches)) return (Item){0};
    if (graph_type(lw->g, condition)->dtype != FRAX_BOOL)
        return item_value(arg_fail(lw, args, 0, FRAX_TYPE, "is %s, expected bool, as from x > 0",
                                   type_text(graph_type(lw->g, condition), a)));
    if (!shape_broadcast(shape_of(lw, condition), shape_of(lw, branches[0]), &shape))
        return item_fail(lw, FRAX_SHAPE, "where: %s and %s do not broadcast",
                         type_text(graph_type(lw->g, condition), a),
                         type_text(graph_type(lw->g, branches[0]), b));
    for (int i = 0; i < 2; i++) branches[i] = g_broadcast_to(lw->g, branches[i], shape);
    return item_value(g_select(lw->g, g_broadcast_to(lw->g, condition, shape), branches[0], branches[1]));
}

static Item cast_rule(Lower *lw, const Args *args) {
    FraxDType dtype = dtype_arg(lw, args, 1);
    if (failed(lw)) return (Item){0};
    if (args->items[0].kind == ITEM_NUMBER) return item_value(to_value(lw, args->items[0], dtype));
    return item_value(g_cast(lw->g, array_arg(lw, args, 0), dtype));
}

static Item stop_rule(Lower *lw, const Args *args) {
    return is_number(&args->items[0]) ? args->items[0]
                                      : item_value(g_unary(lw->g, OP_stop, array_arg(lw, args, 0)));
}

static Item guard_rule(Lower *lw, const Args *args) {
    Value x = float_arg(lw, args, 0);
    double lo = number_arg(lw, args, 1), hi = number_arg(lw, args, 2);
    char expected[96], low[32], high[32];
    if (failed(lw)) return (Item){0};
    if (!(lo <= hi)) {
        arg_fail(lw, args, 2, FRAX_VALUE, "is %g, expected at least lo = %g", hi, lo);
        return (Item){0};
    }
    snprintf(expected, sizeof expected, "%s <= x <= %s", double_text(lo, low), double_text(hi, high));
    return item_value(g_guard(lw->g, x, lo, hi, "guard: x", expected));
}

const Builtin math_builtins[] = {
    {"exp", "x", unary_rule, OP_exp, "e to the x", "pointwise"},
    {"expm1", "x", unary_rule, OP_expm1, "exp(x) - 1, exact for small x", "pointwise"},
    {"log", "x", unary_rule, OP_log, "natural logarithm", "pointwise"},
    {"log1p", "x", unary_rule, OP_log1p, "log(1 + x), exact for small x", "pointwise"},
    {"sin", "x", unary_rule, OP_sin, "sine of an angle in radians", "pointwise"},
    {"cos", "x", unary_rule, OP_cos, "cosine of an angle in radians", "pointwise"},
    {"tanh", "x", unary_rule, OP_tanh, "hyperbolic tangent", "pointwise"},
    {"sigmoid", "x", unary_rule, OP_sigmoid, "1 / (1 + exp(-x))", "pointwise"},
    {"relu", "x", relu_rule, 0, "x where x > 0, else 0; slope 0 at 0", "pointwise"},
    {"gelu", "x, approximate?", gelu_rule, 0, "x Phi(x) by erf; approximate=tanh for the approximation",
     "pointwise"},
    {"silu", "x", silu_rule, 0, "x sigmoid(x)", "pointwise"},
    {"softplus", "x", softplus_rule, 0, "log(1 + exp(x)) without overflow", "pointwise"},
    {"erf", "x", unary_rule, OP_erf, "error function", "pointwise"},
    {"sqrt", "x", unary_rule, OP_sqrt, "square root", "pointwise"},
    {"rsqrt", "x", unary_rule, OP_rsqrt, "1 / sqrt(x)", "pointwise"},
    {"abs", "x", unary_rule, OP_abs, "absolute value; slope 0 at 0", "pointwise"},
    {"sign", "x", unary_rule, OP_sign, "-1, 0 or 1", "pointwise"},
    {"floor", "x", unary_rule, OP_floor, "largest whole number not above x", "pointwise"},
    {"clamp", "x, lo?, hi?", clamp_rule, 0, "x limited to lo ... hi", "pointwise"},
    {"pow", "x, y", pow_rule, 0, "x ^ y", "pointwise"},
    {"lgamma", "x", unary_rule, OP_lgamma, "log |Gamma(x)|", "pointwise"},
    {"digamma", "x", digamma_rule, OP_polygamma, "derivative of lgamma", "pointwise"},
    {"mittag_leffler", "alpha, beta, z", mittag_leffler_rule, OP_mittag_leffler,
     "two-parameter Mittag-Leffler function, 0 < alpha <= 2", "pointwise"},
    {"where", "condition, a, b", where_rule, 0, "a where the condition holds, else b", "pointwise"},
    {"cast", "x, dtype", cast_rule, 0, "x converted to f64, f32, bf16, f16, i32 or bool", "pointwise"},
    {"guard", "x, lo, hi", guard_rule, OP_guard, "x; a run in which an element is outside lo ... hi fails",
     "pointwise"},
    {"stop_gradient", "x", stop_rule, 0, "x, taken as constant by differentiation", "pointwise"},
};
const size_t math_builtin_count = COUNT(math_builtins);

/* ---- Reductions ---- */

static Value drop_axes(Lower *lw, Value x, uint32_t axes, bool keep) {
    return keep ? x : g_squeeze(lw->g, x, axes);
}

static double axes_size(const Shape *shape, uint32_t axes) {
    double n = 1;
    for (int i = 0; i < shape->rank; i++)
        if (axes >> i & 1) n *= (double)shape->dims[i];
    return n;
}

bool has_elements(Lower *lw, Value x, uint32_t axes) {
    char text[176];
    if (!failed(lw) && axes_size(shape_of(lw, x), axes) == 0)
        lower_fail(lw, FRAX_SHAPE,
                   "%s: %s is empty along the axes in question, expected at least one element", lw->builtin,
                   type_text(graph_type(lw->g, x), text));
    return !failed(lw);
}

Value widen_half(Lower *lw, Value x) {
    return !failed(lw) && dtype_is_half(graph_type(lw->g, x)->dtype) ? g_cast(lw->g, x, FRAX_F32) : x;
}

Value narrow_half(Lower *lw, Value y, FraxDType dtype) {
    return !failed(lw) && dtype_is_half(dtype) ? g_cast(lw->g, y, dtype) : y;
}

Value mean_over(Lower *lw, Value x, uint32_t axes) {
    if (!has_elements(lw, x, axes)) return NO_VALUE;
    double n = axes_size(shape_of(lw, x), axes);
    return g_scale(lw->g, g_reduce(lw->g, OP_sum, x, axes), 1 / n);
}

typedef Value Reduction(Lower *lw, const Args *args, Value x, uint32_t axes);

/* The common shape of reductions: params "x, axis?, keep=false", then the rule's own. */
static Item reduce(Lower *lw, const Args *args, Value x, Reduction *reduction, int axis, int keep) {
    if (failed(lw)) return (Item){0};
    uint32_t axes = axes_arg(lw, args, axis, shape_of(lw, x)->rank);
    bool kept = truth_arg(lw, args, keep);
    if (failed(lw)) return (Item){0};
    return item_value(drop_axes(lw, reduction(lw, args, x, axes), axes, kept));
}

static Value plain_reduction(Lower *lw, const Args *args, Value x, uint32_t axes) {
    const Type *type = graph_type(lw->g, x);
    char text[176];
    if (type->dtype == FRAX_BOOL)
        return lower_fail(lw, FRAX_TYPE, "%s: got %s, expected numbers; convert it with cast(x, i32)",
                          args->builtin->name, type_text(type, text));
    if (args->builtin->op != OP_sum && !has_elements(lw, x, axes)) return NO_VALUE;
    return g_reduce(lw->g, args->builtin->op, x, axes);
}

static Item sum_rule(Lower *lw, const Args *args) {
    return reduce(lw, args, array_arg(lw, args, 0), plain_reduction, 1, 2);
}

/* Those whose value is no sum of x. Of 16 bits they are computed in f32 as a whole: results that other
   kernels read are not rounded before. */
static Item whole(Lower *lw, const Args *args, Value x, Reduction *reduction, int axis, int keep) {
    if (failed(lw)) return (Item){0};
    FraxDType dtype = graph_type(lw->g, x)->dtype;
    Item y = reduce(lw, args, widen_half(lw, x), reduction, axis, keep);
    return failed(lw) ? (Item){0} : item_value(narrow_half(lw, y.value, dtype));
}

static Item composed(Lower *lw, const Args *args, Reduction *reduction) {
    return whole(lw, args, float_arg(lw, args, 0), reduction, 1, 2);
}

static Value mean_reduction(Lower *lw, const Args *args, Value x, uint32_t axes) {
    (void)args;
    return mean_over(lw, x, axes);
}

static Item mean_rule(Lower *lw, const Args *args) {
    return composed(lw, args, mean_reduction);
}

/* Two passes: the mean first, so that a large mean does not cancel. */
static Value var_reduction(Lower *lw, const Args *args, Value x, uint32_t axes) {
    double correction = number_arg(lw, args, 3), n = axes_size(shape_of(lw, x), axes);
    if (failed(lw)) return NO_VALUE;
    if (!(n - correction > 0))
        return arg_fail(lw, args, 3, FRAX_VALUE, "is %g for %.0f elements, expected fewer than there are",
                        correction, n);
    Value d = op_broadcast(lw, OP_sub, x, mean_over(lw, x, axes));
    return g_scale(lw->g, g_reduce(lw->g, OP_sum, g_mul(lw->g, d, d), axes), 1 / (n - correction));
}

static Item var_rule(Lower *lw, const Args *args) {
    return composed(lw, args, var_reduction);
}

/* max(x, axis=…) reduces, max(x, y) compares; `op` is the reduction. Its gradient asks which elements are the
   maximum, so that this must not be rounded, as a stored result is, where they are not. */
static Item extreme_rule(Lower *lw, const Args *args) {
    Op op = args->builtin->op;
    if (args->items[1].kind == ITEM_NOTHING)
        return whole(lw, args, array_arg(lw, args, 0), plain_reduction, 2, 3);
    if (args->given[2] || args->given[3])
        return item_fail(lw, FRAX_TYPE,
                         "%s of two operands is pointwise; axis= and keep= are for %s(x, axis=…)",
                         args->builtin->name, args->builtin->name);
    return pointwise(lw, args->builtin->name, op == OP_reduce_max ? OP_max : OP_min, args->items, 2);
}

/* max + log Σ exp(x − max). The maximum counts as constant: its terms cancel in every derivative. Where it is
   infinite nothing is subtracted, so that −∞ alone gives −∞. */
Value logsumexp_over(Lower *lw, Value x, uint32_t axes) {
    Graph *g = lw->g;
    if (!has_elements(lw, x, axes)) return NO_VALUE;
    Value m = g_unary(g, OP_stop, g_reduce(g, OP_reduce_max, x, axes));
    Value infinity = g_like(g, m, INFINITY);
    m = replace_where(lw, g_binary(g, OP_eq, g_unary(g, OP_abs, m), infinity), 0, m);
    Value e = g_unary(g, OP_exp, op_broadcast(lw, OP_sub, x, m));
    return g_add(g, m, g_unary(g, OP_log, g_reduce(g, OP_sum, e, axes)));
}

static Value logsumexp_reduction(Lower *lw, const Args *args, Value x, uint32_t axes) {
    (void)args;
    return logsumexp_over(lw, x, axes);
}

static Item logsumexp_rule(Lower *lw, const Args *args) {
    return composed(lw, args, logsumexp_reduction);
}

/* √Σx², with slope 0 at the origin, where it has none. */
static Value norm_reduction(Lower *lw, const Args *args, Value x, uint32_t axes) {
    (void)args;
    Graph *g = lw->g;
    Value s = g_reduce(g, OP_sum, g_mul(g, x, x), axes);
    Value origin = g_binary(g, OP_eq, s, g_like(g, s, 0));
    return replace_where(lw, origin, 0, g_unary(g, OP_sqrt, replace_where(lw, origin, 1, s)));
}

static Item norm_rule(Lower *lw, const Args *args) {
    return composed(lw, args, norm_reduction);
}

/* One axis, or the position in the flattened array. */
static Item argmax_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    bool keep = truth_arg(lw, args, 2), all = args->items[1].kind == ITEM_NOTHING;
    if (failed(lw)) return (Item){0};
    Shape shape = *shape_of(lw, x), ones = {.rank = shape.rank};
    uint32_t axes = axes_arg(lw, args, 1, shape.rank);
    if (!has_elements(lw, x, axes)) return (Item){0};
    if (!all) {
        int axis = axis_arg(lw, args, 1, shape.rank);
        return failed(lw) ? (Item){0} : item_value(drop_axes(lw, g_argmax(lw->g, x, axis), 1u << axis, keep));
    }
    for (int i = 0; i < ones.rank; i++) ones.dims[i] = 1;
    Value index = g_argmax(lw->g, g_reshape(lw->g, x, SHAPE(shape_size(&shape))), 0);
    return item_value(g_reshape(lw->g, index, keep ? ones : SCALAR));
}

const Builtin reduce_builtins[] = {
    {"sum", "x, axis?, keep=false", sum_rule, OP_sum, "sum over axes", "reduction"},
    {"mean", "x, axis?, keep=false", mean_rule, 0, "mean over axes", "reduction"},
    {"var", "x, axis?, keep=false, correction=0", var_rule, 0, "variance; correction=1 divides by n - 1",
     "reduction"},
    {"max", "x, y?, axis?, keep=false", extreme_rule, OP_reduce_max, "largest over axes, or of x and y",
     "reduction"},
    {"min", "x, y?, axis?, keep=false", extreme_rule, OP_reduce_min, "smallest over axes, or of x and y",
     "reduction"},
    {"logsumexp", "x, axis?, keep=false", logsumexp_rule, 0, "log of the sum of exp(x), without overflow",
     "reduction"},
    {"norm", "x, axis?, keep=false", norm_rule, 0, "square root of the sum of squares", "reduction"},
    {"argmax", "x, axis?, keep=false", argmax_rule, 0, "index (i32) of the first maximum", "reduction"},
};
const size_t reduce_builtin_count = COUNT(reduce_builtins);
