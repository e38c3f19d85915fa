/* fractional_exponential.c — the built-in exponential_conv: a causal kernel that is a sum of exponentials. */
#include "fractional.h"

enum { MODES_C, MODES_R, SIGNAL, ALONG, LAG };

/* Argument i as f64 of x's rank: a vector of modes lies along the axis. */
static Value align_modes(Lower *lw, const Args *args, int i, Value x, int axis) {
    Value modes = float_arg(lw, args, i);
    char a[176], b[176];
    if (failed(lw)) return NO_VALUE;
    Shape from = *shape_of(lw, modes), signal = *shape_of(lw, x), lifted = {.rank = signal.rank};
    bool vector = from.rank == 1, fits = vector || from.rank == signal.rank;
    for (int k = 0; k < lifted.rank; k++) lifted.dims[k] = k == axis ? from.dims[0] : 1;
    for (int k = 0; k < signal.rank && fits && !vector; k++)
        fits = k == axis || from.dims[k] == 1 || from.dims[k] == signal.dims[k];
    if (!fits)
        return arg_fail(lw, args, i, FRAX_SHAPE,
                        "is %s; expected a vector of modes, or the rank of x %s with modes along axis %d and "
                        "x's sizes or 1 elsewhere",
                        type_text(graph_type(lw->g, modes), a), type_text(graph_type(lw->g, x), b), axis);
    return g_cast(lw->g, vector ? g_reshape(lw->g, modes, lifted) : modes, FRAX_F64);
}

Item exponential_conv_rule(Lower *lw, const Args *args) {
    Value x = float_arg(lw, args, SIGNAL);
    int64_t lag = whole_arg(lw, args, LAG);
    if (failed(lw)) return (Item){0};
    int axis = axis_arg(lw, args, ALONG, shape_of(lw, x)->rank);
    if (failed(lw)) return (Item){0};
    Value c = align_modes(lw, args, MODES_C, x, axis), r = align_modes(lw, args, MODES_R, x, axis);
    if (failed(lw)) return (Item){0};
    if (shape_of(lw, c)->dims[axis] != shape_of(lw, r)->dims[axis])
        return item_value(arg_fail(lw, args, MODES_R, FRAX_SHAPE, "has %lld modes, but c has %lld",
                                   (long long)shape_of(lw, r)->dims[axis],
                                   (long long)shape_of(lw, c)->dims[axis]));
    if (lag < 0)
        return item_value(arg_fail(lw, args, LAG, FRAX_VALUE, "is %lld, expected 0 or more", (long long)lag));
    FraxDType dtype = graph_type(lw->g, x)->dtype;
    Value y = g_exponential_conv(lw->g, widen_half(lw, x), c, r, (Exponential){.axis = axis, .lag = lag});
    return item_value(g_cast(lw->g, y, dtype));
}
