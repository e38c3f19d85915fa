/* fractional.c — frac(x, alpha, …): its kinds and its arguments.
 *
 * Another kind is a row of `kinds` and its rule.
 */
#include "fractional.h"
#include <string.h>

/* ---- Kinds ---- */

typedef struct FracKind {
    const char *name;
    FracSymbol *symbol; /* NULL: causal only */
    bool tempered;      /* takes lambda, causal and centered */
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

Item frac_rule(Lower *lw, const Args *args) {
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
