/* build.c — the g_* calls: one thin, typed function per op over graph_emit, and NumPy-style shape helpers. */
#include "ir.h"
#include <string.h>

static const Type *type_or_null(const Graph *g, Value x) {
    return g->failed || x == NO_VALUE ? NULL : graph_type(g, x);
}

/* ---- Leaves ---- */

static Value named_leaf(Graph *g, Op op, Type type, Attrs attrs) {
    attrs.name = graph_intern(g, attrs.name);
    return g->failed ? NO_VALUE : graph_emit(g, op, NULL, 0, &attrs, &type);
}

Value g_input(Graph *g, const char *name, Type type) {
    return named_leaf(g, OP_input, type, (Attrs){.name = name});
}

Value g_param(Graph *g, const char *name, Type type, Init init, double value, double value2) {
    return named_leaf(g, OP_param, type,
                      (Attrs){.name = name, .init = (uint8_t)init, .value = value, .value2 = value2});
}

Value g_constant(Graph *g, Type type, double value) {
    return graph_emit(g, OP_constant, NULL, 0, &(Attrs){.value = value}, &type);
}

Value g_like(Graph *g, Value x, double value) {
    const Type *type = type_or_null(g, x);
    return type ? g_constant(g, *type, value) : NO_VALUE;
}

Value g_iota(Graph *g, Type type, int axis) {
    return graph_emit(g, OP_iota, NULL, 0, &(Attrs){.axis = (uint8_t)axis}, &type);
}

Value g_hole(Graph *g, Type type, int64_t id) {
    return graph_emit(g, OP_hole, NULL, 0, &(Attrs){.n = id}, &type);
}

/* ---- Pointwise ---- */

Value g_unary(Graph *g, Op op, Value x) {
    return graph_emit(g, op, &x, 1, NULL, NULL);
}

Value g_binary(Graph *g, Op op, Value a, Value b) {
    return graph_emit(g, op, (Value[]){a, b}, 2, NULL, NULL);
}

Value g_select(Graph *g, Value condition, Value yes, Value no) {
    return graph_emit(g, OP_select, (Value[]){condition, yes, no}, 3, NULL, NULL);
}

Value g_polygamma(Graph *g, int64_t n, Value x) {
    return graph_emit(g, OP_polygamma, &x, 1, &(Attrs){.n = n}, NULL);
}

Value g_complex_lgamma(Graph *g, int64_t n, Part part, Value x, Value y) {
    return graph_emit(g, OP_complex_lgamma, (Value[]){x, y}, 2, &(Attrs){.n = n, .part = (uint8_t)part},
                      NULL);
}

Value g_mittag_leffler(Graph *g, int64_t n, int64_t m, Value alpha, Value beta, Value z) {
    return graph_emit(g, OP_mittag_leffler, (Value[]){alpha, beta, z}, 3, &(Attrs){.n = n, .m = m}, NULL);
}

Value g_uniform(Graph *g, UniformDraw draw, Value i, Value key_low, Value key_high) {
    return graph_emit(g, OP_uniform, (Value[]){i, key_low, key_high}, 3,
                      &(Attrs){.n = draw.stream, .m = draw.which}, &(Type){.dtype = draw.dtype});
}

Value g_cast(Graph *g, Value x, FraxDType dtype) {
    return graph_emit(g, OP_cast, &x, 1, NULL, &(Type){.dtype = dtype});
}

Value g_guard(Graph *g, Value x, double lo, double hi, const char *name, const char *expected) {
    Attrs attrs = {.value = lo, .value2 = hi};
    attrs.name = graph_intern(g, name);
    attrs.expected = graph_intern(g, expected);
    return g->failed ? NO_VALUE : graph_emit(g, OP_guard, &x, 1, &attrs, NULL);
}

/* ---- Shape ---- */

Value g_reshape(Graph *g, Value x, Shape shape) {
    return graph_emit(g, OP_reshape, &x, 1, NULL, &(Type){.shape = shape});
}

Value g_transpose(Graph *g, Value x, const uint8_t *perm) {
    const Type *type = type_or_null(g, x);
    if (!type) return NO_VALUE;
    Attrs attrs = {0};
    memcpy(attrs.perm, perm, (size_t)type->shape.rank);
    return graph_emit(g, OP_transpose, &x, 1, &attrs, NULL);
}

Value g_broadcast(Graph *g, Value x, Shape shape) {
    return graph_emit(g, OP_broadcast, &x, 1, NULL, &(Type){.shape = shape});
}

static Value with_ranges(Graph *g, Op op, Value x, const int64_t *lo, const int64_t *hi,
                         const int64_t *step) {
    const Type *type = type_or_null(g, x);
    if (!type) return NO_VALUE;
    Attrs attrs = {0};
    for (int i = 0; i < type->shape.rank; i++) {
        attrs.lo[i] = lo[i];
        attrs.hi[i] = hi[i];
        attrs.step[i] = step ? step[i] : 1;
    }
    return graph_emit(g, op, &x, 1, &attrs, NULL);
}

Value g_slice(Graph *g, Value x, const int64_t *lo, const int64_t *hi, const int64_t *step) {
    return with_ranges(g, OP_slice, x, lo, hi, step);
}

Value g_pad(Graph *g, Value x, const int64_t *lo, const int64_t *hi, const int64_t *step) {
    return with_ranges(g, OP_pad, x, lo, hi, step);
}

Value g_concat(Graph *g, const Value *parts, int n, int axis) {
    return graph_emit(g, OP_concat, parts, n, &(Attrs){.axis = (uint8_t)axis}, NULL);
}

Value g_flip(Graph *g, Value x, uint32_t axes) {
    return graph_emit(g, OP_flip, &x, 1, &(Attrs){.axes = axes}, NULL);
}

Value g_broadcast_to(Graph *g, Value x, Shape shape) {
    const Type *type = type_or_null(g, x);
    if (!type) return NO_VALUE;
    Shape from = type->shape, lifted = {.rank = shape.rank};
    int lead = shape.rank - from.rank;
    char a[160], b[160];
    if (lead < 0)
        return graph_fail(g, FRAX_SHAPE, "%s does not broadcast to %s", shape_text(&from, a),
                          shape_text(&shape, b));
    for (int i = 0; i < shape.rank; i++) lifted.dims[i] = i < lead ? 1 : from.dims[i - lead];
    return g_broadcast(g, g_reshape(g, x, lifted), shape);
}

Value g_squeeze(Graph *g, Value x, uint32_t axes) {
    const Type *type = type_or_null(g, x);
    if (!type) return NO_VALUE;
    Shape shape = {0};
    for (int i = 0; i < type->shape.rank; i++)
        if (!(axes >> i & 1)) shape.dims[shape.rank++] = type->shape.dims[i];
    return g_reshape(g, x, shape);
}

Value g_unsqueeze(Graph *g, Value x, uint32_t axes) {
    const Type *type = type_or_null(g, x);
    if (!type) return NO_VALUE;
    Shape from = type->shape, shape = {0};
    shape.rank = from.rank + __builtin_popcount(axes);
    if (shape.rank > MAX_RANK)
        return graph_fail(g, FRAX_SHAPE, "rank %d is beyond the limit of %d", shape.rank, MAX_RANK);
    for (int i = 0, j = 0; i < shape.rank; i++) shape.dims[i] = axes >> i & 1 ? 1 : from.dims[j++];
    return g_reshape(g, x, shape);
}

/* ---- Reductions and contractions ---- */

Value g_reduce(Graph *g, Op op, Value x, uint32_t axes) {
    return graph_emit(g, op, &x, 1, &(Attrs){.axes = axes}, NULL);
}

Value g_argmax(Graph *g, Value x, int axis) {
    return graph_emit(g, OP_argmax, &x, 1, &(Attrs){.axis = (uint8_t)axis}, NULL);
}

Value g_matmul(Graph *g, Value a, Value b, bool ta, bool tb) {
    return graph_emit(g, OP_matmul, (Value[]){a, b}, 2, &(Attrs){.ta = ta, .tb = tb}, NULL);
}

/* ---- Fractional kernels ---- */

Value g_rfft(Graph *g, Value x, uint32_t axes, Part part) {
    return graph_emit(g, OP_rfft, &x, 1, &(Attrs){.axes = axes, .part = (uint8_t)part}, NULL);
}

Value g_spectral(Graph *g, Value x, Value k_re, Value k_im, uint32_t axes) {
    return graph_emit(g, OP_spectral, (Value[]){x, k_re, k_im}, 3, &(Attrs){.axes = axes}, NULL);
}

Value g_cross_spectrum(Graph *g, Value x, Value y, uint32_t axes, uint32_t sum, Part part) {
    return graph_emit(g, OP_cross_spectrum, (Value[]){x, y}, 2,
                      &(Attrs){.axes = axes, .sum = sum, .part = (uint8_t)part}, NULL);
}

Value g_causal_conv(Graph *g, Value w, Value x, int axis, Engine engine) {
    return graph_emit(g, OP_causal_conv, (Value[]){w, x}, 2,
                      &(Attrs){.axis = (uint8_t)axis, .engine = (uint8_t)engine}, NULL);
}

Value g_causal_correlation(Graph *g, Value x, Value y, int axis, uint32_t sum, int64_t n, Engine engine) {
    return graph_emit(g, OP_causal_correlation, (Value[]){x, y}, 2,
                      &(Attrs){.axis = (uint8_t)axis, .sum = sum, .n = n, .engine = (uint8_t)engine}, NULL);
}

Value g_grunwald_weights(Graph *g, Value alpha, int64_t n) {
    return g_grunwald_derivative(g, alpha, n, 0);
}

Value g_grunwald_derivative(Graph *g, Value alpha, int64_t n, int64_t m) {
    return graph_emit(g, OP_grunwald_weights, &alpha, 1, &(Attrs){.n = n, .m = m}, NULL);
}

static Value exponential(Graph *g, Op op, const Value *args, Exponential how) {
    return graph_emit(g, op, args, 3, &(Attrs){.axis = (uint8_t)how.axis, .n = how.n, .lag = how.lag}, NULL);
}

Value g_exponential_conv(Graph *g, Value x, Value c, Value r, Exponential how) {
    return exponential(g, OP_exponential_conv, (Value[]){x, c, r}, how);
}

Value g_exponential_correlation(Graph *g, Value x, Value y, Value r, Exponential how) {
    return exponential(g, OP_exponential_correlation, (Value[]){x, y, r}, how);
}

Value g_custom(Graph *g, Value y, const Value *x, const Value *holes, int n, Value dy) {
    if (g->failed) return NO_VALUE;
    Value *args = arena_alloc(&g->arena, sizeof *args * (size_t)(2 * n + 2));
    if (!args) return graph_fail(g, FRAX_MEMORY, "out of memory while building graph %s", g->name);
    args[0] = y;
    memcpy(args + 1, x, sizeof *args * (size_t)n);
    memcpy(args + 1 + n, holes, sizeof *args * (size_t)n);
    args[2 * n + 1] = dy;
    return graph_emit(g, OP_custom, args, 2 * n + 2, &(Attrs){.n = n}, NULL);
}
