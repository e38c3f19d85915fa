/* builtins_shape.c — built-ins that move, join or make arrays. */
#include "lower.h"
#include <math.h>
#include <string.h>

static Item reshape_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    Shape shape = shape_arg(lw, args, 1);
    return failed(lw) ? (Item){0} : item_value(g_reshape(lw->g, x, shape));
}

static Item transpose_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    const Item *order = &args->items[1];
    uint8_t perm[MAX_RANK];
    if (failed(lw)) return (Item){0};
    int rank = shape_of(lw, x)->rank;
    for (int i = 0; i < rank; i++) perm[i] = (uint8_t)(rank - 1 - i);
    if (order->kind == ITEM_NOTHING) return item_value(g_transpose(lw->g, x, perm));
    uint32_t seen = axes_arg(lw, args, 1, rank); /* each axis in range, none twice */
    if (!failed(lw) && (order->kind != ITEM_TUPLE || seen != (1u << rank) - 1))
        return item_value(
            arg_fail(lw, args, 1, FRAX_SHAPE, "must name each of the %d axes once, as in (1, 0)", rank));
    for (int i = 0; i < rank && !failed(lw); i++) {
        int64_t axis = order->items[i].number.integer;
        perm[i] = (uint8_t)(axis < 0 ? axis + rank : axis);
    }
    return failed(lw) ? (Item){0} : item_value(g_transpose(lw->g, x, perm));
}

static Item expand_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    int64_t n = whole_arg(lw, args, 2);
    if (failed(lw)) return (Item){0};
    int axis = axis_arg(lw, args, 1, shape_of(lw, x)->rank + 1);
    if (n < 0) arg_fail(lw, args, 2, FRAX_SHAPE, "is %lld, expected 0 or more", (long long)n);
    x = failed(lw) ? NO_VALUE : g_unsqueeze(lw->g, x, 1u << axis);
    if (x == NO_VALUE) return (Item){0};
    Shape shape = *shape_of(lw, x);
    shape.dims[axis] = n;
    return item_value(g_broadcast(lw->g, x, shape));
}

static Item concat_rule(Lower *lw, const Args *args) {
    const Item *list = &args->items[0];
    FraxDType dtype = FRAX_F64;
    if (list->kind != ITEM_TUPLE || list->count == 0)
        return item_value(
            arg_fail(lw, args, 0, FRAX_TYPE, "must be a list of arrays, as in concat([a, b], axis=0)"));
    Value *values = lower_alloc(lw, sizeof *values * (size_t)list->count);
    for (int i = list->count - 1; i >= 0; i--)
        if (list->items[i].kind == ITEM_VALUE) dtype = graph_type(lw->g, list->items[i].value)->dtype;
    for (int i = 0; i < list->count && !failed(lw); i++) values[i] = to_value(lw, list->items[i], dtype);
    int axis = failed(lw) ? 0 : axis_arg(lw, args, 1, shape_of(lw, values[0])->rank);
    return failed(lw) ? (Item){0} : item_value(g_concat(lw->g, values, list->count, axis));
}

/* (lo, hi): the zeros before and after. */
static bool read_widths(Lower *lw, const Args *args, const Item *pair, int64_t *lo, int64_t *hi) {
    bool fine = pair->kind == ITEM_TUPLE && pair->count == 2;
    if (!fine) arg_fail(lw, args, 1, FRAX_TYPE, "must be (lo, hi), or one such pair for each axis");
    if (!fine || !whole_item(lw, &pair->items[0], "pad: lo", lo) ||
        !whole_item(lw, &pair->items[1], "pad: hi", hi))
        return false;
    if (*lo < 0 || *hi < 0)
        arg_fail(lw, args, 1, FRAX_SHAPE, "has (%lld, %lld), expected 0 or more; cut with a slice",
                 (long long)*lo, (long long)*hi);
    return !failed(lw);
}

static Item pad_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    const Item *widths = &args->items[1];
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0};
    if (failed(lw)) return (Item){0};
    int rank = shape_of(lw, x)->rank;
    bool per_axis = widths->kind == ITEM_TUPLE && widths->count > 0 && widths->items[0].kind == ITEM_TUPLE;
    if (per_axis && args->given[2])
        return item_value(
            arg_fail(lw, args, 2, FRAX_TYPE, "goes with one pair (lo, hi), not with one for each axis"));
    if (per_axis && widths->count != rank)
        return item_value(arg_fail(lw, args, 1, FRAX_SHAPE, "has %d pairs for %d axes", widths->count, rank));
    if (per_axis) {
        for (int i = 0; i < rank; i++)
            if (!read_widths(lw, args, &widths->items[i], &lo[i], &hi[i])) return (Item){0};
        return item_value(g_pad(lw->g, x, lo, hi, NULL));
    }
    uint32_t axes = axes_arg(lw, args, 2, rank);
    for (int i = 0; i < rank && !failed(lw); i++)
        if (axes >> i & 1) read_widths(lw, args, widths, &lo[i], &hi[i]);
    return failed(lw) ? (Item){0} : item_value(g_pad(lw->g, x, lo, hi, NULL));
}

static Item flip_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    uint32_t axes = failed(lw) ? 0 : axes_arg(lw, args, 1, shape_of(lw, x)->rank);
    return failed(lw) ? (Item){0} : item_value(g_flip(lw->g, x, axes));
}

static Item slice_rule(Lower *lw, const Args *args) {
    Value x = array_arg(lw, args, 0);
    int64_t bounds[2] = {0}, step = whole_arg(lw, args, 3);
    bool has[2];
    for (int i = 0; i < 2; i++) {
        has[i] = args->items[1 + i].kind != ITEM_NOTHING;
        if (has[i]) bounds[i] = whole_arg(lw, args, 1 + i);
    }
    int axis = failed(lw) ? 0 : axis_arg(lw, args, 4, shape_of(lw, x)->rank);
    return item_value(slice_axis(lw, x, axis, has[0] ? &bounds[0] : NULL, has[1] ? &bounds[1] : NULL, step));
}

/* ---- New arrays ---- */

static Type made_type(Lower *lw, const Args *args, Shape shape, int dtype) {
    return (Type){dtype_arg(lw, args, dtype), shape};
}

static int64_t length_arg(Lower *lw, const Args *args, int i) {
    int64_t n = whole_arg(lw, args, i);
    if (!failed(lw) && n < 0) arg_fail(lw, args, i, FRAX_SHAPE, "is %lld, expected 0 or more", (long long)n);
    return n;
}

static Item iota_rule(Lower *lw, const Args *args) {
    int64_t n = length_arg(lw, args, 0);
    Type type = made_type(lw, args, SHAPE(n), 1);
    if (type.dtype == FRAX_BOOL) arg_fail(lw, args, 1, FRAX_TYPE, "is bool, expected a dtype of numbers");
    if (type.dtype == FRAX_I32 && n > INT32_MAX)
        arg_fail(lw, args, 0, FRAX_VALUE, "is %lld, beyond the range of i32", (long long)n);
    return failed(lw) ? (Item){0} : item_value(g_iota(lw->g, type, 0));
}

/* a + i (b − a)/(n − 1); the last element is b itself. Computed in f64, whatever dtype is wanted. */
static Item linspace_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    double a = number_arg(lw, args, 0), b = number_arg(lw, args, 1);
    int64_t n = length_arg(lw, args, 2);
    Type type = made_type(lw, args, SHAPE(n), 3), exact = {FRAX_F64, type.shape};
    if (!failed(lw) && !dtype_is_float(type.dtype))
        arg_fail(lw, args, 3, FRAX_TYPE, "is %s, expected a floating dtype", frax_dtype_name(type.dtype));
    if (failed(lw)) return (Item){0};
    if (n < 2) return item_value(g_constant(g, type, a));
    Value i = g_iota(g, exact, 0), y = g_shift(g, g_scale(g, i, (b - a) / (double)(n - 1)), a);
    y = replace_where(lw, g_binary(g, OP_eq, i, g_like(g, i, (double)(n - 1))), b, y);
    return item_value(g_cast(g, y, type.dtype));
}

static Item zeros_rule(Lower *lw, const Args *args) {
    Type type = made_type(lw, args, shape_arg(lw, args, 0), 1);
    return failed(lw) ? (Item){0} : item_value(g_constant(lw->g, type, 0));
}

static Item ones_rule(Lower *lw, const Args *args) {
    Type type = made_type(lw, args, shape_arg(lw, args, 0), 1);
    return failed(lw) ? (Item){0} : item_value(g_constant(lw->g, type, 1));
}

/* An array as value keeps its dtype unless another is asked for. */
static Item full_rule(Lower *lw, const Args *args) {
    Shape shape = shape_arg(lw, args, 0);
    Item value = args->items[1];
    FraxDType dtype = args->given[2] ? dtype_arg(lw, args, 2) : FRAX_F64;
    if (!failed(lw) && value.kind == ITEM_VALUE && args->given[2])
        value = item_value(g_cast(lw->g, value.value, dtype));
    return failed(lw) ? (Item){0} : item_value(g_broadcast_to(lw->g, to_value(lw, value, dtype), shape));
}

const Builtin shape_builtins[] = {
    {"reshape", "x, shape", reshape_rule, 0, "the elements in row-major order under another shape", "shape"},
    {"transpose", "x, axes?", transpose_rule, 0, "axes in the given order; reversed by default", "shape"},
    {"expand", "x, axis, n", expand_rule, 0, "a new axis of size n along which x repeats", "shape"},
    {"concat", "arrays, axis=0", concat_rule, 0, "arrays joined along an axis: concat([a, b])", "shape"},
    {"pad", "x, widths, axis?", pad_rule, 0, "zeros around x: (lo, hi), or one pair for each axis", "shape"},
    {"flip", "x, axis?", flip_rule, 0, "x in reversed order along axes", "shape"},
    {"slice", "x, start?, stop?, step=1, axis=-1", slice_rule, 0, "x[start:stop:step] along an axis",
     "shape"},
    {"iota", "n, dtype=i32", iota_rule, 0, "0, 1, ... n-1", "shape"},
    {"linspace", "a, b, n, dtype=f64", linspace_rule, 0, "n equally spaced numbers from a to b", "shape"},
    {"zeros", "shape, dtype=f64", zeros_rule, 0, "an array of zeros", "shape"},
    {"ones", "shape, dtype=f64", ones_rule, 0, "an array of ones", "shape"},
    {"full", "shape, value, dtype?", full_rule, 0, "an array of one value (f64 if that is a number)",
     "shape"},
};
const size_t shape_builtin_count = COUNT(shape_builtins);
