/* fractional_ops.c — the built-ins of fractional calculus: frac, and its parts for use on their own. */
#include "fractional.h"

/* w with at most n entries along `axis`: what lies beyond cannot reach any sample; no weights at all are one
 * 0. */
static Value fit_length(Lower *lw, Value w, int axis, int64_t n) {
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0}, zero = 0, have = shape_of(lw, w)->dims[axis];
    if (have > n) return slice_axis(lw, w, axis, &zero, &n, 1);
    if (have > 0 || n == 0) return w;
    hi[axis] = 1;
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
     "x, alpha, kind=weyl, scheme?, axis=-1, axes?, step=1, engine=auto, tol?, horizon?, lambda=0, theta=0, "
     "slope=0, "
     "causal=false, centered=false, times?",
     frac_rule, 0, "derivative of order alpha, integral where alpha < 0; frax help frac lists the kinds",
     "fractional"},
    {"spectral_filter", "x, symbol, axis=-1, axes?, step=1", spectral_filter_rule, 0,
     "K(w) applied to the spectrum of x: symbol is w => (re, im) or w => re; a name for each axis",
     "fractional"},
    {"causal_conv", "w, x, axis=-1, engine=auto", causal_conv_rule, 0,
     "y[n] = sum of w[j] x[n-j] over j <= n", "fractional"},
    {"exponential_conv", "c, r, x, axis=-1, lag=0", exponential_conv_rule, 0,
     "y[n] = sum over modes m, k>=lag of c[m] r[m]^(k-lag) x[n-k]", "fractional"},
    {"grunwald_weights", "alpha, n", weights_rule, 0, "the first n coefficients of (1 - z)^alpha, f64",
     "fractional"},
};
const size_t fractional_builtin_count = COUNT(fractional_builtins);
