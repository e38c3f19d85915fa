/* fractional.c — fractional operators as compositions: symbols on a frequency grid, or causal weights.
 *
 * A periodic kind is a symbol K(ω), ω_k = 2πk/(N h), built in f64 as ordinary pointwise nodes over the
 * half-spectrum grid and applied by one `spectral` node; a causal kind is a vector of weights applied by one
 * `causal_conv` node. So derivatives in x, alpha, step and lambda need no rules of their own. What diverges
 * at ω = 0 is computed at a safe operand and replaced by a selection, so that neither values nor derivatives
 * of any order meet 0·∞.
 *
 * alpha, step and lambda have size 1 on the operator's axes and broadcast against x elsewhere; K and the
 * weights have size 1 wherever none of them varies. Another kind is a row of `kinds` and its rule.
 */
#include "lower.h"
#include <math.h>
#include <string.h>

enum {
    ARG_X,
    ARG_ALPHA,
    ARG_KIND,
    ARG_AXIS,
    ARG_AXES,
    ARG_STEP,
    ARG_ENGINE,
    ARG_LAMBDA,
    ARG_CAUSAL,
    ARG_CENTERED
};

typedef struct Frac {
    Lower *lw;
    Graph *g;
    const Args *args;
    Value x; /* f64 or f32 */
    uint32_t axes;
    int axis; /* the last of them */
    Value alpha, lambda;
    Value steps[MAX_RANK]; /* per axis of x, f64; NO_VALUE off the operator's axes */
    Engine engine;
    bool causal, centered;
} Frac;

typedef struct Symbol {
    Value re, im;
} Symbol;

/* ---- Nodes on operands of one rank, under broadcasting ---- */

static Value mix(const Frac *f, Op op, Value a, Value b) {
    Item items[2] = {item_value(a), item_value(b)};
    Item result = failed(f->lw) ? (Item){0} : pointwise(f->lw, "frac", op, items, 2);
    return failed(f->lw) ? NO_VALUE : result.value;
}

static Value is_zero(const Frac *f, Value v) {
    return g_binary(f->g, OP_eq, v, g_like(f->g, v, 0));
}

/* What 0^alpha stands for: 1 if alpha = 0, and 0 otherwise (for alpha < 0, the integral without the mean). */
static Value zero_power(const Frac *f) {
    Value zero = g_like(f->g, f->alpha, 0), one = g_like(f->g, f->alpha, 1);
    return g_select(f->g, is_zero(f, f->alpha), one, zero);
}

/* base^exponent for base ≥ 0, with 0^alpha at base = 0. exponent is alpha or a multiple of it. */
static Value guarded_power(const Frac *f, Value base, Value exponent) {
    Value zero = is_zero(f, base), safe = replace_where(f->lw, zero, 1, base);
    Value value = mix(f, OP_pow, safe, exponent);
    if (failed(f->lw)) return NO_VALUE;
    Shape shape = *shape_of(f->lw, value);
    Value at_zero = g_broadcast(f->g, zero_power(f), shape);
    return g_select(f->g, g_broadcast(f->g, zero, shape), at_zero, value);
}

/* ---- Frequency grids ---- */

/* |ω| along one axis: 2πk/(N h). The last of the operator's axes is halved, the others run over min(k, N −
 * k). */
static Value frequencies(const Frac *f, int axis) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = shape_of(f->lw, f->x)->dims[axis];
    Type type = {.dtype = FRAX_F64, .shape.rank = shape_of(f->lw, f->x)->rank};
    for (int i = 0; i < type.shape.rank; i++) type.shape.dims[i] = 1;
    type.shape.dims[axis] = axis == f->axis ? n / 2 + 1 : n;
    Value k = g_iota(g, type, axis);
    if (axis != f->axis) k = g_binary(g, OP_min, k, g_sub(g, g_like(g, k, (double)n), k));
    Value h = f->steps[axis];
    if (failed(f->lw)) return NO_VALUE;
    if (graph_node(g, h)->op == OP_constant)
        return g_scale(g, k, 2 * M_PI / ((double)n * graph_node(g, h)->attrs->value));
    return mix(f, OP_div, g_scale(g, k, 2 * M_PI / (double)n), h);
}

/* ---- Periodic kinds ---- */

/* mag · (cos phase, sin phase) */
static Symbol polar(const Frac *f, Value mag, Value phase) {
    Value re = mix(f, OP_mul, mag, g_unary(f->g, OP_cos, phase));
    return (Symbol){re, mix(f, OP_mul, mag, g_unary(f->g, OP_sin, phase))};
}

/* (iω)^α = ω^α e^{iπα/2} */
static Symbol weyl_symbol(const Frac *f) {
    Value mag = guarded_power(f, frequencies(f, f->axis), f->alpha);
    return polar(f, mag, g_scale(f->g, f->alpha, M_PI_2));
}

static Symbol real_symbol(const Frac *f, Value re) {
    return (Symbol){re, g_like(f->g, re, 0)};
}

/* |ω|^α */
static Symbol riesz_symbol(const Frac *f) {
    return real_symbol(f, guarded_power(f, frequencies(f, f->axis), f->alpha));
}

/* (Σ ω_i²)^{α/2} */
static Symbol laplacian_symbol(const Frac *f) {
    Value sum = NO_VALUE;
    for (int i = 0; i <= f->axis && !failed(f->lw); i++) {
        if (!(f->axes >> i & 1)) continue;
        Value w = frequencies(f, i), square = g_mul(f->g, w, w);
        sum = sum == NO_VALUE ? square : mix(f, OP_add, sum, square);
    }
    return real_symbol(f, guarded_power(f, sum, g_scale(f->g, f->alpha, 0.5)));
}

/* (λ + iω)^α = (λ² + ω²)^{α/2} e^{iα atan2(ω, λ)}; centered subtracts λ^α, which leaves exactly 0 at ω = 0.
 */
static Symbol tempered_symbol(const Frac *f) {
    Graph *g = f->g;
    Value w = frequencies(f, f->axis), lambda = f->lambda;
    Value w2 = g_mul(g, w, w), square = mix(f, OP_add, w2, g_mul(g, lambda, lambda));
    if (failed(f->lw)) return (Symbol){NO_VALUE, NO_VALUE};
    Shape shape = *shape_of(f->lw, square);
    Value origin = is_zero(f, square), full_w = g_broadcast(g, w, shape);
    Value angle =
        g_binary(g, OP_atan2, full_w, replace_where(f->lw, origin, 1, g_broadcast(g, lambda, shape)));
    Value mag = guarded_power(f, square, g_scale(g, f->alpha, 0.5));
    Symbol k = polar(f, mag, mix(f, OP_mul, angle, f->alpha));
    if (!f->centered || failed(f->lw)) return k;
    k.re = mix(f, OP_sub, k.re, guarded_power(f, lambda, f->alpha));
    if (failed(f->lw)) return k;
    Value constant = g_broadcast(g, is_zero(f, w), *shape_of(f->lw, k.re));
    k.re = replace_where(f->lw, constant, 0, k.re);
    return k;
}

static Value apply_symbol(const Frac *f, Symbol k) {
    if (failed(f->lw)) return NO_VALUE;
    FraxDType dtype = graph_type(f->g, f->x)->dtype;
    Value re = g_cast(f->g, k.re, dtype), im = g_cast(f->g, k.im, dtype);
    return g_spectral(f->g, f->x, re, im, f->axes);
}

/* ---- Causal kinds ---- */

/* The weights w_0 … w_{n−1} of (1 − z)^α, along the operator's axis of an array of x's rank. The op puts them
   along the last axis. */
static Value weights_along(const Frac *f, int64_t n) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    Shape alpha = *shape_of(f->lw, f->alpha), moved = {.rank = alpha.rank};
    uint8_t perm[MAX_RANK];
    for (int i = 0; i < alpha.rank; i++) {
        if (i != f->axis) moved.dims[i < f->axis ? i : i - 1] = alpha.dims[i];
        perm[i] = (uint8_t)(i == f->axis ? alpha.rank - 1 : i < f->axis ? i : i - 1);
    }
    moved.dims[alpha.rank - 1] = 1;
    Value w = g_grunwald_weights(g, g_reshape(g, f->alpha, moved), n);
    if (shape_size(&alpha) != 1) return g_transpose(g, w, perm);
    alpha.dims[f->axis] = n;
    return g_reshape(g, w, alpha);
}

static bool is_one(const Frac *f, Value v) {
    const Node *node = graph_node(f->g, v);
    return node->op == OP_constant && node->attrs->value == 1;
}

/* h^{−α} w, times e^{−λjh} when tempered */
static Value scaled_weights(const Frac *f) {
    Graph *g = f->g;
    if (failed(f->lw)) return NO_VALUE;
    int64_t n = shape_of(f->lw, f->x)->dims[f->axis];
    Value w = weights_along(f, n), h = f->steps[f->axis];
    if (f->causal && !failed(f->lw)) {
        Type type = {.dtype = FRAX_F64, .shape.rank = shape_of(f->lw, f->x)->rank};
        for (int i = 0; i < type.shape.rank; i++) type.shape.dims[i] = i == f->axis ? n : 1;
        Value j = g_iota(g, type, f->axis), rate = mix(f, OP_mul, f->lambda, h);
        Value decay = g_neg(g, mix(f, OP_mul, j, rate));
        w = mix(f, OP_mul, w, g_unary(g, OP_exp, decay));
    }
    if (failed(f->lw) || is_one(f, h)) return w;
    return mix(f, OP_mul, w, mix(f, OP_pow, h, g_neg(g, f->alpha)));
}

/* y_n = Σ_{j≤n} w_j x_{n−j}; centered subtracts λ^α x. */
static Value apply_weights(const Frac *f) {
    Graph *g = f->g;
    Value w = scaled_weights(f);
    if (failed(f->lw)) return NO_VALUE;
    FraxDType dtype = graph_type(g, f->x)->dtype;
    Value y = g_causal_conv(g, g_cast(g, w, dtype), f->x, f->axis, f->engine);
    if (!f->centered || failed(f->lw)) return y;
    Value scale = g_cast(g, guarded_power(f, f->lambda, f->alpha), dtype);
    return mix(f, OP_sub, y, mix(f, OP_mul, f->x, scale));
}

/* ---- Kinds ---- */

typedef struct FracKind {
    const char *name;
    Symbol (*symbol)(const Frac *f); /* NULL: causal only */
    bool tempered;                   /* takes lambda, causal and centered */
    int most_axes;
    const char *summary;
} FracKind;

static const FracKind kinds[] = {
    {"weyl", weyl_symbol, false, 1, "periodic, (i w)^alpha"},
    {"liouville", weyl_symbol, false, 1, "another name of weyl"},
    {"riesz", riesz_symbol, false, 1, "periodic, |w|^alpha"},
    {"laplacian", laplacian_symbol, false, 3, "periodic along axes=(...), (w1^2 + w2^2 + ...)^(alpha/2)"},
    {"grunwald", NULL, false, 1,
     "causal, step^-alpha times the coefficients of (1 - z)^alpha, zeros before x"},
    {"tempered", tempered_symbol, true, 1,
     "periodic, (lambda + i w)^alpha; causal=true: grunwald's coefficients times exp(-lambda j step); "
     "centered=true subtracts lambda^alpha x"},
};

bool frac_kind_info(size_t i, const char **name, const char **summary) {
    if (i >= COUNT(kinds)) return false;
    *name = kinds[i].name;
    *summary = kinds[i].summary;
    return true;
}

static const FracKind *kind_arg(Lower *lw, const Args *args) {
    const char *names[COUNT(kinds)];
    for (size_t i = 0; i < COUNT(kinds); i++) names[i] = kinds[i].name;
    int choice = choice_arg(lw, args, ARG_KIND, names, COUNT(names));
    return choice < 0 ? NULL : &kinds[choice];
}

/* An option that the kind would ignore is a fault. */
static void check_options(const Frac *f, const FracKind *kind) {
    static const int tempered_only[] = {ARG_LAMBDA, ARG_CAUSAL, ARG_CENTERED};
    for (size_t i = 0; i < COUNT(tempered_only); i++)
        if (!kind->tempered && f->args->given[tempered_only[i]])
            arg_fail(f->lw, f->args, tempered_only[i], FRAX_VALUE, "is for kind=tempered, not for kind=%s",
                     kind->name);
    if (kind->symbol && !f->causal && f->engine == ENGINE_DIRECT)
        arg_fail(
            f->lw, f->args, ARG_ENGINE, FRAX_VALUE,
            "is direct, but kind=%s is periodic and runs by Fourier transform; direct is for causal kinds",
            kind->name);
}

/* ---- Arguments ---- */

static void read_axes(Frac *f, const FracKind *kind) {
    Lower *lw = f->lw;
    int arg = f->args->given[ARG_AXES] ? ARG_AXES : ARG_AXIS;
    if (f->args->given[ARG_AXES] && f->args->given[ARG_AXIS])
        arg_fail(lw, f->args, ARG_AXES, FRAX_VALUE, "and axis are both given");
    if (failed(lw)) return;
    Shape shape = *shape_of(lw, f->x);
    f->axes = axes_arg(lw, f->args, arg, shape.rank);
    int n = __builtin_popcount(f->axes);
    if (!failed(lw) && (n < 1 || n > kind->most_axes))
        arg_fail(lw, f->args, arg, FRAX_SHAPE, "names %d axes; kind=%s acts along %s", n, kind->name,
                 kind->most_axes == 1 ? "one" : "one to three");
    if (failed(lw)) return;
    f->axis = 31 - __builtin_clz(f->axes);
    for (int i = 0; i <= f->axis; i++)
        if (f->axes >> i & 1 && shape.dims[i] == 0)
            arg_fail(lw, f->args, arg, FRAX_SHAPE, "is %d, along which x is empty", i);
}

/* Argument i as f64 of x's rank, with size 1 on the operator's axes. */
static Value aligned(const Frac *f, int i, Item item) {
    Lower *lw = f->lw;
    if (failed(lw)) return NO_VALUE;
    if (item.kind != ITEM_VALUE && item.kind != ITEM_NUMBER)
        return arg_fail(lw, f->args, i, FRAX_TYPE, "must be an array or a number");
    Value v = any_value(lw, item);
    char text[176], other[176];
    if (failed(lw)) return NO_VALUE;
    Type type = *graph_type(f->g, v), x = *graph_type(f->g, f->x);
    Shape lifted = {.rank = x.shape.rank}, joint;
    int lead = lifted.rank - type.shape.rank;
    for (int k = MAX(0, lead); k < lifted.rank; k++) lifted.dims[k] = type.shape.dims[k - lead];
    for (int k = 0; k < lead; k++) lifted.dims[k] = 1;
    bool fits = lead >= 0 && shape_broadcast(&lifted, &x.shape, &joint);
    for (int k = 0; fits && k < lifted.rank; k++) fits = !(f->axes >> k & 1) || lifted.dims[k] == 1;
    if (!dtype_is_float(type.dtype))
        return arg_fail(lw, f->args, i, FRAX_TYPE, "is %s, expected a floating dtype",
                        type_text(&type, text));
    if (!fits)
        return arg_fail(lw, f->args, i, FRAX_SHAPE,
                        "is %s; expected a scalar, or sizes that broadcast against x %s with size 1 on axis "
                        "%d, as in a[:, none]",
                        type_text(&type, text), type_text(&x, other), f->axis);
    return g_cast(f->g, g_reshape(f->g, v, lifted), FRAX_F64);
}

static void check_number(const Frac *f, int i, const Item *item, bool positive) {
    double v = item->number.value;
    if (item->kind == ITEM_NUMBER && !(positive ? v > 0 : v >= 0))
        arg_fail(f->lw, f->args, i, FRAX_VALUE, "is %g, expected %s", v,
                 positive ? "more than 0" : "0 or more");
}

/* One step for all axes, or one for each in their order. */
static void read_steps(Frac *f) {
    const Item *item = &f->args->items[ARG_STEP];
    int n = __builtin_popcount(f->axes), k = 0;
    if (item->kind == ITEM_TUPLE && item->count != n)
        arg_fail(f->lw, f->args, ARG_STEP, FRAX_SHAPE, "has %d entries for %d axes", item->count, n);
    for (int i = 0; i <= f->axis && !failed(f->lw); i++) {
        if (!(f->axes >> i & 1)) continue;
        const Item *step = item->kind == ITEM_TUPLE ? &item->items[k++] : item;
        check_number(f, ARG_STEP, step, true);
        f->steps[i] = aligned(f, ARG_STEP, *step);
    }
}

/* x grown to the sizes that alpha, step and lambda bring. */
static void grow_x(Frac *f) {
    if (failed(f->lw)) return;
    Shape joint = *shape_of(f->lw, f->x);
    for (int i = 0; i < joint.rank; i++)
        if (f->axes >> i & 1) shape_broadcast(&joint, shape_of(f->lw, f->steps[i]), &joint);
    bool fits = shape_broadcast(&joint, shape_of(f->lw, f->alpha), &joint) &&
                shape_broadcast(&joint, shape_of(f->lw, f->lambda), &joint);
    if (fits)
        f->x = g_broadcast_to(f->g, f->x, joint);
    else
        lower_fail(f->lw, FRAX_SHAPE, "frac: alpha, step and lambda do not broadcast against each other");
}

static Item frac_rule(Lower *lw, const Args *args) {
    Frac f = {.lw = lw, .g = lw->g, .args = args};
    const FracKind *kind = kind_arg(lw, args);
    f.x = float_arg(lw, args, ARG_X);
    f.engine = (Engine)MAX(choice_arg(lw, args, ARG_ENGINE, engine_names, ENGINE_COUNT), 0);
    f.causal = truth_arg(lw, args, ARG_CAUSAL);
    f.centered = truth_arg(lw, args, ARG_CENTERED);
    if (failed(lw)) return (Item){0};
    check_options(&f, kind);
    read_axes(&f, kind);
    check_number(&f, ARG_LAMBDA, &args->items[ARG_LAMBDA], false);
    read_steps(&f);
    f.alpha = aligned(&f, ARG_ALPHA, args->items[ARG_ALPHA]);
    f.lambda = aligned(&f, ARG_LAMBDA, args->items[ARG_LAMBDA]);
    if (failed(lw)) return (Item){0};
    FraxDType dtype = graph_type(lw->g, f.x)->dtype;
    if (dtype == FRAX_F16 || dtype == FRAX_BF16) f.x = g_cast(lw->g, f.x, FRAX_F32);
    grow_x(&f);
    if (failed(lw)) return (Item){0};
    Value y = f.causal || !kind->symbol ? apply_weights(&f) : apply_symbol(&f, kind->symbol(&f));
    return item_value(g_cast(lw->g, y, dtype));
}

/* ---- Weights and convolution on their own ---- */

/* w brought to n entries along `axis`: what lies beyond cannot reach any sample, what is missing is 0. */
static Value fit_length(Lower *lw, Value w, int axis, int64_t n) {
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0}, zero = 0, have = shape_of(lw, w)->dims[axis];
    if (have > n) return slice_axis(lw, w, axis, &zero, &n, 1);
    hi[axis] = n - have;
    return g_pad(lw->g, w, lo, hi, NULL);
}

/* w is a vector along the axis, or has x's rank with sizes 1 where it does not vary. */
static Value align_weights(Lower *lw, const Args *args, Value w, Value x, int axis) {
    Shape from = *shape_of(lw, w), lifted = {.rank = shape_of(lw, x)->rank};
    char a[176], b[176];
    if (from.rank != 1 && from.rank != lifted.rank)
        return arg_fail(lw, args, 0, FRAX_SHAPE, "is %s; expected a vector, or the rank of x %s",
                        type_text(graph_type(lw->g, w), a), type_text(graph_type(lw->g, x), b));
    if (from.rank == lifted.rank) return fit_length(lw, w, axis, shape_of(lw, x)->dims[axis]);
    for (int i = 0; i < lifted.rank; i++) lifted.dims[i] = i == axis ? from.dims[0] : 1;
    return fit_length(lw, g_reshape(lw->g, w, lifted), axis, shape_of(lw, x)->dims[axis]);
}

static Item causal_conv_rule(Lower *lw, const Args *args) {
    Value values[2];
    int engine = choice_arg(lw, args, 3, engine_names, ENGINE_COUNT);
    for (int i = 0; i < 2; i++) values[i] = float_arg(lw, args, i);
    if (failed(lw)) return (Item){0};
    int axis = axis_arg(lw, args, 2, shape_of(lw, values[1])->rank);
    Value w = failed(lw) ? NO_VALUE : align_weights(lw, args, values[0], values[1], axis);
    return failed(lw) ? (Item){0} : item_value(g_causal_conv(lw->g, w, values[1], axis, (Engine)engine));
}

static Item weights_rule(Lower *lw, const Args *args) {
    Value alpha = float_arg(lw, args, 0);
    int64_t n = whole_arg(lw, args, 1);
    if (failed(lw)) return (Item){0};
    if (n < 0)
        return item_value(arg_fail(lw, args, 1, FRAX_SHAPE, "is %lld, expected 0 or more", (long long)n));
    alpha = g_unsqueeze(lw->g, g_cast(lw->g, alpha, FRAX_F64), 1u << shape_of(lw, alpha)->rank);
    return item_value(g_grunwald_weights(lw->g, alpha, n));
}

const Builtin fractional_builtins[] = {
    {"frac",
     "x, alpha, kind=weyl, axis=-1, axes?, step=1, engine=auto, lambda=0, causal=false, centered=false",
     frac_rule, 0, "derivative of order alpha, integral where alpha < 0; frax help frac lists the kinds",
     "fractional"},
    {"causal_conv", "w, x, axis=-1, engine=auto", causal_conv_rule, 0,
     "y[n] = sum of w[j] x[n-j] over j <= n", "fractional"},
    {"grunwald_weights", "alpha, n", weights_rule, 0, "the first n coefficients of (1 - z)^alpha, f64",
     "fractional"},
};
const size_t fractional_builtin_count = COUNT(fractional_builtins);
