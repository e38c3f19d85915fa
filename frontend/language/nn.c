/* nn.c — layers and losses as compositions of graph nodes.
 *
 * Losses are means over all elements. Where a formula over- or underflows, the stable form is built.
 * 16-bit floats are computed in f32. Compositions keep reduced axes with size 1 until the end, so that every
 * step is one node on equal shapes.
 */
#include "lower.h"
#include <math.h>

/* ---- Softmax ---- */

/* x widened, its dtype before that, and its axes; false after a fault. */
static bool float_and_axes(Lower *lw, const Args *args, int axis, Value *x, FraxDType *dtype,
                           uint32_t *axes) {
    *x = float_arg(lw, args, 0);
    if (failed(lw)) return false;
    *dtype = graph_type(lw->g, *x)->dtype;
    *axes = axes_arg(lw, args, axis, shape_of(lw, *x)->rank);
    *x = widen_half(lw, *x);
    return !failed(lw);
}

/* exp(x − max) / Σ exp(x − max); the maximum counts as constant, since it cancels. */
static Item softmax_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    Value x;
    FraxDType dtype;
    uint32_t axes;
    if (!float_and_axes(lw, args, 1, &x, &dtype, &axes) || !has_elements(lw, x, axes)) return (Item){0};
    Value m = g_unary(g, OP_stop, g_reduce(g, OP_reduce_max, x, axes));
    Value e = g_unary(g, OP_exp, op_broadcast(lw, OP_sub, x, m));
    /* One division a row instead of one an element: the sum is at least 1, so that its inverse exists. */
    Value sum = g_reduce(g, OP_sum, e, axes);
    Value y = op_broadcast(lw, OP_mul, e, g_div(g, g_like(g, sum, 1), sum));
    return item_value(narrow_half(lw, y, dtype));
}

static Item log_softmax_rule(Lower *lw, const Args *args) {
    Value x;
    FraxDType dtype;
    uint32_t axes;
    if (!float_and_axes(lw, args, 1, &x, &dtype, &axes)) return (Item){0};
    return item_value(narrow_half(lw, op_broadcast(lw, OP_sub, x, logsumexp_over(lw, x, axes)), dtype));
}

/* ---- Losses ---- */

static Item mean_all(Lower *lw, Value x, FraxDType dtype) {
    if (failed(lw)) return (Item){0};
    uint32_t all = (1u << shape_of(lw, x)->rank) - 1;
    return item_value(narrow_half(lw, g_squeeze(lw->g, mean_over(lw, x, all), all), dtype));
}

/* The two first arguments, floating, brought together and widened, and their dtype before that; false after a
   fault. */
static bool pair(Lower *lw, const Args *args, Value values[2], FraxDType *dtype) {
    for (int i = 0; i < 2; i++)
        if (args->items[i].kind != ITEM_NUMBER) float_arg(lw, args, i); /* reports other dtypes */
    if (!unify(lw, args->builtin->name, args->items, 2, values)) return false;
    *dtype = graph_type(lw->g, values[0])->dtype;
    for (int i = 0; i < 2; i++) values[i] = widen_half(lw, values[i]);
    return true;
}

static Item mse_rule(Lower *lw, const Args *args) {
    Value v[2];
    FraxDType dtype;
    if (!pair(lw, args, v, &dtype)) return (Item){0};
    Value d = g_sub(lw->g, v[0], v[1]);
    return mean_all(lw, g_mul(lw->g, d, d), dtype);
}

static Item mae_rule(Lower *lw, const Args *args) {
    Value v[2];
    FraxDType dtype;
    if (!pair(lw, args, v, &dtype)) return (Item){0};
    return mean_all(lw, g_unary(lw->g, OP_abs, g_sub(lw->g, v[0], v[1])), dtype);
}

/* Huber 1964: d²/2 for |d| ≤ δ, δ(|d| − δ/2) beyond. */
static Item huber_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    Value v[2];
    FraxDType dtype;
    double delta = number_arg(lw, args, 2);
    if (!failed(lw) && !(delta > 0)) arg_fail(lw, args, 2, FRAX_VALUE, "is %g, expected more than 0", delta);
    if (!pair(lw, args, v, &dtype)) return (Item){0};
    Value d = g_sub(g, v[0], v[1]), size = g_unary(g, OP_abs, d);
    Value near = g_scale(g, g_mul(g, d, d), 0.5), far = g_scale(g, g_shift(g, size, -delta / 2), delta);
    Value loss = g_select(g, g_binary(g, OP_le, size, g_like(g, size, delta)), near, far);
    return mean_all(lw, loss, dtype);
}

/* −t log σ(z) − (1 − t) log(1 − σ(z)) = softplus(z) − z t, from logits z and targets t in [0, 1]. */
static Item bce_rule(Lower *lw, const Args *args) {
    Value v[2];
    FraxDType dtype;
    if (!pair(lw, args, v, &dtype)) return (Item){0};
    Value soft = softplus_value(lw, v[0]);
    return mean_all(lw, g_sub(lw->g, soft, g_mul(lw->g, v[0], v[1])), dtype);
}

/* The logit of each row's label, chosen by comparison with the class index; NaN where the label names no
   class, so that a wrong label cannot pass for a good prediction. */
static Value labelled(Lower *lw, Value logits, Value label) {
    Graph *g = lw->g;
    Shape shape = *shape_of(lw, logits);
    int last = shape.rank - 1;
    label = g_unsqueeze(g, label, 1u << last);
    Value index = g_iota(g, (Type){FRAX_I32, shape}, last);
    if (failed(lw)) return NO_VALUE;
    Value hit = g_binary(g, OP_eq, index, g_broadcast(g, label, shape));
    Value zeros = g_like(g, logits, 0);
    Value picked = g_reduce(g, OP_sum, g_select(g, hit, logits, zeros), 1u << last);
    Value above = g_binary(g, OP_ge, label, g_like(g, label, 0));
    Value below = g_binary(g, OP_lt, label, g_like(g, label, (double)shape.dims[last]));
    Value known = g_binary(g, OP_and, above, below);
    return g_select(g, known, picked, g_like(g, picked, NAN));
}

static Item cross_entropy_rule(Lower *lw, const Args *args) {
    Value logits = float_arg(lw, args, 0), label = array_arg(lw, args, 1);
    char text[176], other[176];
    if (failed(lw)) return (Item){0};
    Shape expected = *shape_of(lw, logits);
    if (expected.rank < 1)
        return item_value(arg_fail(lw, args, 0, FRAX_SHAPE,
                                   "is a scalar, expected logits with the classes along the last axis"));
    expected.rank--;
    Type type = *graph_type(lw->g, label);
    if (type.dtype != FRAX_I32 || !shape_equal(&type.shape, &expected))
        return item_value(arg_fail(lw, args, 1, type.dtype != FRAX_I32 ? FRAX_TYPE : FRAX_SHAPE,
                                   "is %s, expected %s: one class index for each row of the logits",
                                   type_text(&type, text), type_text(&(Type){FRAX_I32, expected}, other)));
    if (shape_of(lw, logits)->dims[expected.rank] > INT32_MAX)
        return item_value(arg_fail(lw, args, 0, FRAX_SHAPE, "has more classes than i32 can count"));
    FraxDType dtype = graph_type(lw->g, logits)->dtype;
    logits = widen_half(lw, logits);
    Value total = logsumexp_over(lw, logits, 1u << expected.rank);
    Value loss = g_sub(lw->g, total, labelled(lw, logits, label));
    return mean_all(lw, loss, dtype);
}

/* ---- Normalisation and linear maps ---- */

static double positive_eps(Lower *lw, const Args *args, int i) {
    double eps = number_arg(lw, args, i);
    if (!failed(lw) && !(eps >= 0)) arg_fail(lw, args, i, FRAX_VALUE, "is %g, expected 0 or more", eps);
    return eps;
}

/* x ∘ argument i under broadcasting, if it was given. The result keeps x's shape. */
static Value with_optional(Lower *lw, const Args *args, Op op, Value x, int i) {
    if (failed(lw) || args->items[i].kind == ITEM_NOTHING) return x;
    Shape shape = *shape_of(lw, x);
    Item y = pointwise(lw, args->builtin->name, op, (Item[]){item_value(x), args->items[i]}, 2);
    if (failed(lw)) return NO_VALUE;
    if (!shape_equal(&shape, shape_of(lw, y.value)))
        return arg_fail(lw, args, i, FRAX_SHAPE, "has more axes or larger sizes than x");
    return y.value;
}

/* Ba, Kiros & Hinton 2016: (x − mean) / √(var + eps) · gamma + beta. */
static Item layer_norm_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    Value x;
    FraxDType dtype;
    uint32_t axes;
    double eps = positive_eps(lw, args, 3);
    if (!float_and_axes(lw, args, 4, &x, &dtype, &axes)) return (Item){0};
    Value d = op_broadcast(lw, OP_sub, x, mean_over(lw, x, axes));
    Value scale = g_unary(g, OP_rsqrt, g_shift(g, mean_over(lw, g_mul(g, d, d), axes), eps));
    Value y = narrow_half(lw, op_broadcast(lw, OP_mul, d, scale), dtype);
    return item_value(with_optional(lw, args, OP_add, with_optional(lw, args, OP_mul, y, 1), 2));
}

/* Zhang & Sennrich 2019: x / √(mean x² + eps) · gamma. */
static Item rms_norm_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    Value x;
    FraxDType dtype;
    uint32_t axes;
    double eps = positive_eps(lw, args, 2);
    if (!float_and_axes(lw, args, 3, &x, &dtype, &axes)) return (Item){0};
    Value scale = g_unary(g, OP_rsqrt, g_shift(g, mean_over(lw, g_mul(g, x, x), axes), eps));
    Value y = narrow_half(lw, op_broadcast(lw, OP_mul, x, scale), dtype);
    return item_value(with_optional(lw, args, OP_mul, y, 1));
}

static Item linear_rule(Lower *lw, const Args *args) {
    Value y = matmul_values(lw, float_arg(lw, args, 0), float_arg(lw, args, 1));
    return item_value(with_optional(lw, args, OP_add, y, 2));
}

const Builtin nn_builtins[] = {
    {"softmax", "x, axis=-1", softmax_rule, 0, "exp(x) / sum(exp(x)) along axes", "network"},
    {"log_softmax", "x, axis=-1", log_softmax_rule, 0, "log of softmax, without underflow", "network"},
    {"layer_norm", "x, gamma?, beta?, eps=1e-5, axis=-1", layer_norm_rule, 0,
     "x brought to mean 0 and variance 1 along axes, times gamma plus beta", "network"},
    {"rms_norm", "x, gamma?, eps=1e-6, axis=-1", rms_norm_rule, 0, "x / sqrt(mean(x^2) + eps), times gamma",
     "network"},
    {"linear", "x, w, b?", linear_rule, 0, "x @ w + b, with w [in, out]", "network"},
    {"mse", "x, y", mse_rule, 0, "mean of (x - y)^2", "loss"},
    {"mae", "x, y", mae_rule, 0, "mean of |x - y|", "loss"},
    {"huber", "x, y, delta=1", huber_rule, 0, "mean of d^2/2 up to |d| = delta, then linear; d = x - y",
     "loss"},
    {"bce", "logits, target", bce_rule, 0, "binary cross-entropy of logits (not probabilities), mean",
     "loss"},
    {"cross_entropy", "logits, label", cross_entropy_rule, 0,
     "mean of logsumexp(logits) - logits[label]; label i32; NaN where a label names no class", "loss"},
};
const size_t nn_builtin_count = COUNT(nn_builtins);
