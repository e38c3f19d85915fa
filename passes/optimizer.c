/* optimizer.c — one step of an optimizer as nodes of the model's graph: clipping, decay, moments, update.
 *
 * Stands between differentiation and the passes. A parameter and its moments are inputs, and their new values
 * outputs that may be written over them (donated), so that one executable does a whole step in place. Moments
 * start at zero. Half precision is updated in f32: state and arithmetic have the dtype of `master_dtype`.
 *
 * SGD with momentum as in PyTorch (b = μ b + g; p −= η b); Adam: Kingma & Ba 2015, algorithm 1; AdamW:
 * Loshchilov & Hutter 2019, algorithm 2. Clipping: by value, then by the norm over all gradients together.
 */
#include "passes.h"

typedef struct StepScalars {
#define X(name) Value name;
    STEP_SCALARS(X)
#undef X
} StepScalars;

static FraxDType master_dtype(FraxDType dtype) {
    return dtype == FRAX_F64 ? FRAX_F64 : FRAX_F32;
}

/* The scalar s in the dtype and shape of x. */
static Value splat(Graph *g, Value s, Value x) {
    if (g->failed || x == NO_VALUE) return NO_VALUE;
    Type type = *graph_type(g, x);
    return g_broadcast_to(g, g_cast(g, s, type.dtype), type.shape);
}

/* The sum over all elements, as a scalar. */
static Value total(Graph *g, Value x) {
    if (g->failed || x == NO_VALUE) return NO_VALUE;
    uint32_t axes = (1u << graph_type(g, x)->shape.rank) - 1;
    return g_squeeze(g, g_reduce(g, OP_sum, x, axes), axes);
}

/* ---- Gradients ---- */

/* g limited to ±limit. A NaN fails the comparison and stays, so that it is seen. */
static Value clip_by_value(Graph *g, Value x, double limit) {
    Value over = g_binary(g, OP_gt, g_unary(g, OP_abs, x), g_like(g, x, limit));
    return g_select(g, over, g_scale(g, g_unary(g, OP_sign, x), limit), x);
}

/* limit / norm where the norm over all gradients is beyond the limit, else 1. In f64: squares of f32
 * overflow. */
static Value clip_factor(Graph *g, const Value *grads, size_t n, double limit) {
    Value squares = g_constant(g, (Type){FRAX_F64, SCALAR}, 0);
    for (size_t i = 0; i < n; i++) {
        Value wide = g_cast(g, grads[i], FRAX_F64);
        squares = g_add(g, squares, total(g, g_mul(g, wide, wide)));
    }
    Value norm = g_unary(g, OP_sqrt, squares);
    Value bound = g_like(g, norm, limit);
    return g_select(g, g_binary(g, OP_gt, norm, bound), g_div(g, bound, norm), g_like(g, norm, 1));
}

static void clip_gradients(Graph *g, const FraxFitOptions *fit, Value *grads, size_t n) {
    if (fit->clip_value > 0)
        for (size_t i = 0; i < n; i++) grads[i] = clip_by_value(g, grads[i], fit->clip_value);
    if (fit->clip_norm > 0) {
        Value factor = clip_factor(g, grads, n, fit->clip_norm);
        for (size_t i = 0; i < n; i++) grads[i] = g_mul(g, grads[i], splat(g, factor, grads[i]));
    }
}

/* ---- Updates: each returns what is subtracted from p, before the learning rate ---- */

typedef struct Update {
    const FraxFitOptions *fit;
    const StepScalars *scalars;
    const char *name; /* of the parameter */
    Value p, grad;    /* in the master dtype */
} Update;

static Value state_input(Graph *g, const Update *u, const char *what) {
    const char *name = arena_printf(&g->arena, "state.%s.%s", what, u->name);
    if (!name) return graph_fail(g, FRAX_MEMORY, "out of memory while building the optimizer's state");
    return g->failed || u->p == NO_VALUE ? NO_VALUE : g_input(g, name, *graph_type(g, u->p));
}

/* The new value goes out over the old one. */
static Value state_output(Graph *g, Value old, Value value) {
    if (!g->failed) graph_output_donated(g, graph_node(g, old)->attrs->name, value, old);
    return value;
}

/* old · keep + fresh · share */
static Value blend(Graph *g, Value old, double keep, Value fresh, double share) {
    return g_add(g, g_scale(g, old, keep), g_scale(g, fresh, share));
}

static Value decayed(Graph *g, const Update *u) {
    return u->fit->weight_decay ? g_add(g, u->grad, g_scale(g, u->p, u->fit->weight_decay)) : u->grad;
}

static Value update_sgd(Graph *g, const Update *u) {
    Value grad = decayed(g, u);
    if (!u->fit->momentum) return grad;
    Value old = state_input(g, u, "momentum");
    return state_output(g, old, blend(g, old, u->fit->momentum, grad, 1));
}

/* Adam's direction for this gradient. */
static Value adam_direction(Graph *g, const Update *u, Value grad) {
    const FraxFitOptions *fit = u->fit;
    Value m = state_input(g, u, "m"), v = state_input(g, u, "v");
    Value mean = state_output(g, m, blend(g, m, fit->beta1, grad, 1 - fit->beta1));
    Value square = state_output(g, v, blend(g, v, fit->beta2, g_mul(g, grad, grad), 1 - fit->beta2));
    Value root = g_unary(g, OP_sqrt, g_mul(g, square, splat(g, u->scalars->correction2, square)));
    return g_div(g, g_mul(g, mean, splat(g, u->scalars->correction1, mean)), g_shift(g, root, fit->epsilon));
}

static Value update_adam(Graph *g, const Update *u) {
    return adam_direction(g, u, decayed(g, u));
}

static Value update_adamw(Graph *g, const Update *u) {
    Value direction = adam_direction(g, u, u->grad);
    return u->fit->weight_decay ? g_add(g, direction, g_scale(g, u->p, u->fit->weight_decay)) : direction;
}

typedef Value UpdateRule(Graph *g, const Update *u);

static UpdateRule *const update_rules[] = {
    [FRAX_SGD] = update_sgd, [FRAX_ADAM] = update_adam, [FRAX_ADAMW] = update_adamw};

/* ---- One step ---- */

static void update_param(Graph *g, const FraxFitOptions *fit, const StepScalars *scalars, Value param,
                         Value grad) {
    const Node *node = graph_node(g, param);
    FraxDType own = node->type.dtype, master = master_dtype(own);
    const char *name = node->attrs->name;
    Update u = {fit, scalars, name, g_cast(g, param, master), g_cast(g, grad, master)};
    Value delta = update_rules[fit->optimizer](g, &u);
    Value next = g_cast(g, g_sub(g, u.p, g_mul(g, delta, splat(g, scalars->lr, delta))), own);
    /* Σ|p| is finite exactly if every entry is, but for sums beyond the range of f32: diverged as well. */
    Value check = total(g, g_unary(g, OP_abs, g_cast(g, next, master)));
    const char *check_name = arena_printf(&g->arena, "check.%s", name);
    if (!check_name) {
        graph_fail(g, FRAX_MEMORY, "out of memory while building the optimizer's step");
        return;
    }
    graph_output_donated(g, name, next, param);
    graph_output(g, check_name, check);
}

FraxStatus optimizer_append(Graph *g, const FraxFitOptions *fit, const Value *params, Value *grads, size_t n,
                            FraxError *err) {
    if ((size_t)fit->optimizer >= COUNT(update_rules))
        return fail(err, FRAX_USAGE, "this optimizer is not an update of the graph");
    Type scalar = {FRAX_F64, SCALAR};
    StepScalars scalars = {
#define X(name) .name = g_input(g, "step." #name, scalar),
        STEP_SCALARS(X)
#undef X
    };
    for (size_t i = 0; i < n && !g->failed; i++)
        grads[i] = g_cast(g, grads[i], master_dtype(graph_type(g, grads[i])->dtype));
    clip_gradients(g, fit, grads, n);
    for (size_t i = 0; i < n && !g->failed; i++) update_param(g, fit, &scalars, params[i], grads[i]);
    return graph_status(g, err);
}
