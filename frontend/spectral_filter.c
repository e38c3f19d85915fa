/* spectral_filter.c — spectral_filter(x, w => (re, im), …): a periodic operator with a symbol of the user's
 * own.
 *
 * The function is lowered once, on the angular frequencies of the half spectrum, one array for each axis of
 * the operator; its result is K, in f64 like every symbol. So K is ordinary nodes over the names of the
 * model, and derivatives in all of them, the step included, need nothing of their own.
 */
#include "fractional.h"

enum { ARG_SYMBOL = 1, ARG_FILTER_AXIS, ARG_FILTER_AXES, ARG_FILTER_STEP, MOST_AXES = 3 };

/* K's smallest shape: all bins on the operator's axes, size 1 elsewhere. */
static Shape spectrum_shape(const Frac *f) {
    Shape shape = *shape_of(f->lw, f->x);
    for (int i = 0; i < shape.rank; i++) {
        if (!(f->axes >> i & 1)) shape.dims[i] = 1;
        if (i == f->axis) shape.dims[i] = shape.dims[i] / 2 + 1;
    }
    return shape;
}

/* One part of K as f64; *shape grows to it on the other axes. */
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
    Shape bins = spectrum_shape(f), joint, full = *shape_of(lw, f->x);
    full.dims[f->axis] = bins.dims[f->axis];
    bool fits = type->shape.rank <= bins.rank && shape_broadcast(shape, &type->shape, &joint);
    for (int i = 0; fits && i < bins.rank; i++)
        fits = f->axes >> i & 1 ? joint.dims[i] == bins.dims[i]
                                : joint.dims[i] == full.dims[i] || joint.dims[i] == 1 || full.dims[i] == 1;
    if (!fits)
        return lower_fail(lw, FRAX_SHAPE,
                          "%s: the function gives %s, which does not broadcast against the "
                          "frequencies %s",
                          lw->builtin, type_text(type, text), shape_text(&full, other));
    *shape = joint;
    return g_cast(lw->g, v, FRAX_F64);
}

/* The function's result: a pair, or one real part. */
static Symbol read_symbol(const Frac *f, Item result, Shape *shape) {
    Lower *lw = f->lw;
    Symbol k = {NO_VALUE, NO_VALUE};
    if (failed(lw)) return k;
    lw->g->loc = result.loc;
    bool pair = result.kind == ITEM_TUPLE;
    if (pair && result.count != 2) {
        lower_fail(lw, FRAX_TYPE, "%s: the function gives %d results, expected (re, im) or re", lw->builtin,
                   result.count);
        return k;
    }
    k.re = read_part(f, pair ? &result.items[0] : &result, shape);
    k.im = pair ? read_part(f, &result.items[1], shape) : NO_VALUE;
    if (failed(lw)) return k;
    k.re = g_broadcast_to(lw->g, k.re, *shape);
    k.im = pair ? g_broadcast_to(lw->g, k.im, *shape) : g_like(lw->g, k.re, 0);
    return k;
}

/* x grown to the sizes that K and the steps bring. */
static void grow_x(Frac *f, Shape k) {
    if (failed(f->lw)) return;
    Shape joint = *shape_of(f->lw, f->x);
    for (int i = 0; i < k.rank; i++)
        if (f->axes >> i & 1) k.dims[i] = 1;
    bool fits = shape_broadcast(&joint, &k, &joint);
    for (int i = 0; i < k.rank && fits; i++)
        if (f->axes >> i & 1) fits = shape_broadcast(&joint, shape_of(f->lw, f->steps[i]), &joint);
    if (fits)
        f->x = g_broadcast_to(f->g, f->x, joint);
    else
        lower_fail(f->lw, FRAX_SHAPE,
                   "%s: the step and the function's result do not broadcast against each "
                   "other",
                   f->lw->builtin);
}

Item spectral_filter_rule(Lower *lw, const Args *args) {
    Frac f = {.lw = lw, .g = lw->g, .args = args};
    Item w[MOST_AXES];
    size_t n = 0;
    f.x = float_arg(lw, args, ARG_X);
    if (failed(lw)) return (Item){0};
    read_axes(&f, ARG_FILTER_AXIS, ARG_FILTER_AXES, MOST_AXES, lw->builtin);
    read_steps(&f, ARG_FILTER_STEP);
    if (failed(lw)) return (Item){0};
    FraxDType dtype = graph_type(lw->g, f.x)->dtype;
    if (dtype == FRAX_F16 || dtype == FRAX_BF16) f.x = g_cast(lw->g, f.x, FRAX_F32);
    for (int i = 0; i <= f.axis; i++)
        if (f.axes >> i & 1) w[n++] = item_value(frequencies(&f, i, true));
    Item result = apply_function(lw, &args->items[ARG_SYMBOL], w, n, "one for each axis");
    if (failed(lw)) return (Item){0};
    Shape shape = spectrum_shape(&f);
    Symbol k = read_symbol(&f, result, &shape);
    if (!failed(lw)) lw->g->loc = args->loc;
    grow_x(&f, shape);
    return failed(lw) ? (Item){0} : item_value(g_cast(lw->g, apply_symbol(&f, k), dtype));
}
