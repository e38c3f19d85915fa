/* spectral_filter.c — spectral_filter(x, w => (re, im), …): a periodic operator with a symbol of the user's
 * own.
 *
 * The function is lowered on the angular frequencies of the half spectrum, one array for each axis of the
 * operator; its result is K, in f64 like every symbol. So K is ordinary nodes over the names of the model,
 * and derivatives in all of them need nothing of their own.
 *
 * ω = 0 does not depend on the step, but K'(0) may be infinite, as that of √ω. So where the step is not
 * constant, K is lowered for ω = 0 and for the other frequencies apart, and selected: no derivative meets
 * 0·∞. What is selected is guarded: K has to be finite.
 */
#include "fractional.h"
#include <float.h>

enum { ARG_SYMBOL = 1, ARG_FILTER_AXIS, ARG_FILTER_AXES, ARG_FILTER_STEP, MOST_AXES = 3 };

static Value mismatch(const Frac *f) {
    return lower_fail(f->lw, FRAX_SHAPE,
                      "%s: the step and the function's result do not broadcast against each other",
                      f->lw->builtin);
}

/* ---- What the function gives ---- */

/* K's smallest shape: all bins on the operator's axes, size 1 elsewhere. */
static Shape spectrum_shape(const Frac *f) {
    Shape shape = *shape_of(f->lw, f->x);
    for (int i = 0; i < shape.rank; i++) {
        if (!(f->axes >> i & 1)) shape.dims[i] = 1;
        if (i == f->axis) shape.dims[i] = shape.dims[i] / 2 + 1;
    }
    return shape;
}

/* Grows *shape, K's so far, to hold `part`; false if K would not broadcast against the spectrum of x. */
static bool grow_shape(const Frac *f, const Shape *part, Shape *shape) {
    Shape bins = spectrum_shape(f), joint;
    const Shape *x = shape_of(f->lw, f->x);
    if (part->rank > bins.rank || !shape_broadcast(shape, part, &joint)) return false;
    for (int i = 0; i < bins.rank; i++) {
        int64_t size = joint.dims[i];
        bool on_axis = f->axes >> i & 1;
        if (on_axis ? size != bins.dims[i] : size != 1 && x->dims[i] != 1 && size != x->dims[i]) return false;
    }
    *shape = joint;
    return true;
}

/* One part of K as f64; *shape grows to it. */
static Value read_part(const Frac *f, const Item *item, Shape *shape) {
    Lower *lw = f->lw;
    char text[176], other[160];
    if (failed(lw)) return NO_VALUE;
    lw->g->loc = item->loc;
    if (item->kind != ITEM_VALUE && item->kind != ITEM_NUMBER)
        return lower_fail(lw, FRAX_TYPE,
                          "%s: the function gives neither an array nor a number, expected (re, im) or re",
                          lw->builtin);
    Value v = any_value(lw, *item);
    if (failed(lw)) return NO_VALUE;
    const Type *type = graph_type(lw->g, v);
    if (!dtype_is_float(type->dtype))
        return lower_fail(lw, FRAX_TYPE, "%s: the function gives %s, expected a floating dtype", lw->builtin,
                          type_text(type, text));
    if (grow_shape(f, &type->shape, shape)) return g_cast(lw->g, v, FRAX_F64);
    Shape spectrum = *shape_of(lw, f->x);
    spectrum.dims[f->axis] = spectrum.dims[f->axis] / 2 + 1;
    return lower_fail(lw, FRAX_SHAPE,
                      "%s: the function gives %s, which does not broadcast against the frequencies %s",
                      lw->builtin, type_text(type, text), shape_text(&spectrum, other));
}

/* The function's result: a pair, or one real part. */
static Symbol read_symbol(const Frac *f, Item result) {
    Lower *lw = f->lw;
    Symbol k = {NO_VALUE, NO_VALUE};
    if (failed(lw)) return k;
    bool pair = result.kind == ITEM_TUPLE;
    Shape shape = spectrum_shape(f);
    lw->g->loc = result.loc;
    if (pair && result.count != 2) {
        lower_fail(lw, FRAX_TYPE, "%s: the function gives %d results, expected (re, im) or re", lw->builtin,
                   result.count);
        return k;
    }
    k.re = read_part(f, pair ? &result.items[0] : &result, &shape);
    k.im = pair ? read_part(f, &result.items[1], &shape) : NO_VALUE;
    if (failed(lw)) return k;
    k.re = g_broadcast_to(lw->g, k.re, shape);
    k.im = pair ? g_broadcast_to(lw->g, k.im, shape) : g_like(lw->g, k.re, 0);
    return k;
}

/* ---- K on all frequencies ---- */

/* K from `at_zero` where the frequency is zero, and from `rest` elsewhere. */
static Symbol join_at_zero(const Frac *f, Value frequency, Symbol at_zero, Symbol rest) {
    Graph *g = f->g;
    if (failed(f->lw) || (at_zero.re == rest.re && at_zero.im == rest.im)) return rest;
    Value mask = is_zero(f, frequency);
    Shape shape = *shape_of(f->lw, rest.re);
    bool fits = shape_broadcast(&shape, shape_of(f->lw, at_zero.re), &shape) &&
                shape_broadcast(&shape, shape_of(f->lw, mask), &shape);
    if (!fits) return (Symbol){mismatch(f), NO_VALUE};
    mask = g_broadcast(g, mask, shape);
    Value re = g_select(g, mask, g_broadcast(g, at_zero.re, shape), g_broadcast(g, rest.re, shape));
    Value im = g_select(g, mask, g_broadcast(g, at_zero.im, shape), g_broadcast(g, rest.im, shape));
    return (Symbol){re, im};
}

/* K for the first n frequencies in w, and those of the operator's axes from `axis` on. */
static Symbol build_symbol(const Frac *f, const Item *function, Item *w, size_t n, int axis) {
    while (axis <= f->axis && !(f->axes >> axis & 1)) axis++;
    if (axis > f->axis) return read_symbol(f, apply_function(f->lw, function, w, n, "one for each axis"));
    Value frequency = frequencies(f, axis, true);
    w[n] = item_value(frequency);
    if (failed(f->lw) || graph_node(f->g, f->steps[axis])->op == OP_constant)
        return build_symbol(f, function, w, n + 1, axis + 1);
    w[n] = item_value(g_like(f->g, frequency, 0));
    Symbol at_zero = build_symbol(f, function, w, n + 1, axis + 1);
    w[n] = item_value(replace_where(f->lw, is_zero(f, frequency), 1, frequency));
    return join_at_zero(f, frequency, at_zero, build_symbol(f, function, w, n + 1, axis + 1));
}

/* A part of K that has to be finite in the dtype of x, in which it is applied. */
static Value guard_part(const Frac *f, Value v, const char *part) {
    char name[96];
    bool single = !failed(f->lw) && graph_type(f->g, f->x)->dtype == FRAX_F32;
    double most = single ? FLT_MAX : DBL_MAX;
    snprintf(name, sizeof name, "%s: the %s part of the symbol", f->lw->builtin, part);
    return g_guard(f->g, v, -most, most, name, single ? "a finite f32" : "a finite f64");
}

/* x grown to the sizes that K and the steps bring. */
static void grow_x(Frac *f, Shape k) {
    Shape joint = *shape_of(f->lw, f->x);
    for (int i = 0; i < k.rank; i++)
        if (f->axes >> i & 1) k.dims[i] = 1;
    bool fits = shape_broadcast(&joint, &k, &joint);
    for (int i = 0; i < k.rank && fits; i++)
        if (f->axes >> i & 1) fits = shape_broadcast(&joint, shape_of(f->lw, f->steps[i]), &joint);
    if (fits)
        f->x = g_broadcast_to(f->g, f->x, joint);
    else
        mismatch(f);
}

Item spectral_filter_rule(Lower *lw, const Args *args) {
    Frac f = {.lw = lw, .g = lw->g, .args = args};
    Item w[MOST_AXES];
    f.x = float_arg(lw, args, ARG_X);
    if (failed(lw)) return (Item){0};
    read_axes(&f, ARG_FILTER_AXIS, ARG_FILTER_AXES, MOST_AXES, lw->builtin);
    read_steps(&f, ARG_FILTER_STEP);
    if (failed(lw)) return (Item){0};
    FraxDType dtype = graph_type(lw->g, f.x)->dtype;
    f.x = widen_half(lw, f.x);
    Symbol k = build_symbol(&f, &args->items[ARG_SYMBOL], w, 0, 0);
    if (failed(lw)) return (Item){0};
    lw->g->loc = args->items[ARG_SYMBOL].loc.line ? args->items[ARG_SYMBOL].loc : args->loc;
    k.re = guard_part(&f, k.re, "real");
    k.im = guard_part(&f, k.im, "imaginary");
    if (failed(lw)) return (Item){0};
    lw->g->loc = args->loc;
    grow_x(&f, *shape_of(lw, k.re));
    return failed(lw) ? (Item){0} : item_value(g_cast(lw->g, apply_symbol(&f, k), dtype));
}
