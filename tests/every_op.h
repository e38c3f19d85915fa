/* every_op.h — one small graph that holds every op of the table, for tests of whole-graph code. */
#ifndef FRAX_TESTS_EVERY_OP_H
#define FRAX_TESTS_EVERY_OP_H

#include "ir.h"

/* Adds y to the running sum of a graph's results, as f64[]. */
static inline void gather_result(Graph *g, Value *total, Value y) {
    if (y == NO_VALUE) return;
    int rank = graph_type(g, y)->shape.rank;
    Value real = g_cast(g, y, FRAX_F64);
    *total = g_add(g, *total, g_reshape(g, g_reduce(g, OP_sum, real, (1u << rank) - 1), SCALAR));
}

static inline void add_pointwise_ops(Graph *g, Value *total, Value x, Value y) {
    static const Op unary[] = {OP_neg, OP_exp,    OP_expm1, OP_log,     OP_log1p, OP_sin,
                               OP_cos, OP_tanh,   OP_erf,   OP_sigmoid, OP_sqrt,  OP_rsqrt,
                               OP_abs, OP_lgamma, OP_sign,  OP_floor,   OP_stop};
    static const Op binary[] = {OP_add, OP_sub, OP_mul, OP_div, OP_pow, OP_atan2, OP_min, OP_max};
    static const Op compare[] = {OP_eq, OP_ne, OP_lt, OP_le, OP_gt, OP_ge};
    for (size_t i = 0; i < COUNT(unary); i++) gather_result(g, total, g_unary(g, unary[i], x));
    for (size_t i = 0; i < COUNT(binary); i++) gather_result(g, total, g_binary(g, binary[i], x, y));
    for (size_t i = 0; i < COUNT(compare); i++) gather_result(g, total, g_binary(g, compare[i], x, y));
    Value less = g_binary(g, OP_lt, x, y), greater = g_binary(g, OP_gt, x, y);
    gather_result(g, total, g_unary(g, OP_not, less));
    gather_result(g, total, g_binary(g, OP_and, less, greater));
    gather_result(g, total, g_binary(g, OP_or, less, greater));
    gather_result(g, total, g_select(g, less, x, y));
    gather_result(g, total, g_polygamma(g, 2, x));
    gather_result(g, total, g_complex_lgamma(g, 1, PART_IM, x, y));
    gather_result(g, total, g_mittag_leffler(g, 1, 2, g_unary(g, OP_sigmoid, x), y, x));
    Value place = g_cast(g, x, FRAX_I32);
    gather_result(g, total, g_uniform(g, (UniformDraw){FRAX_F64, 3, 1}, place, place, place));
    gather_result(g, total, g_guard(g, y, -1e9, 1e9, "y", "-1e9 <= y <= 1e9"));
    gather_result(g, total, place);
    gather_result(g, total, g_shift(g, x, -0.1));
}

static inline void add_shape_ops(Graph *g, Value *total, Value x) {
    const int64_t lo[] = {1, 0}, hi[] = {3, 8}, step[] = {1, 3}, after[] = {0, 2};
    gather_result(g, total, g_reshape(g, x, SHAPE(8, 3)));
    gather_result(g, total, g_transpose(g, x, (uint8_t[]){1, 0}));
    gather_result(g, total, g_broadcast(g, g_reshape(g, x, SHAPE(3, 1, 8)), SHAPE(3, 2, 8)));
    gather_result(g, total, g_slice(g, x, lo, hi, step));
    gather_result(g, total, g_pad(g, x, lo, after, step));
    gather_result(g, total, g_concat(g, (Value[]){x, g_neg(g, x), x}, 3, 1));
    gather_result(g, total, g_flip(g, x, 3));
    gather_result(g, total, g_mul(g, g_iota(g, *graph_type(g, x), 1), x));
    gather_result(g, total, g_reduce(g, OP_reduce_max, x, 1));
    gather_result(g, total, g_reduce(g, OP_reduce_min, x, 2));
    gather_result(g, total, g_argmax(g, x, 1));
    gather_result(g, total, g_matmul(g, x, x, false, true));
    gather_result(g, total, g_matmul(g, x, x, true, false));
}

static inline void add_fractional_ops(Graph *g, Value *total, Value x) {
    Value re = g_rfft(g, x, 2, PART_RE), im = g_rfft(g, x, 2, PART_IM);
    Value alpha = g_param(g, "alpha", (Type){FRAX_F64, SHAPE(3, 1)}, INIT_UNIFORM, 0.1, 0.9);
    Value w = g_grunwald_weights(g, alpha, 8);
    gather_result(g, total, g_spectral(g, x, re, im, 2));
    gather_result(g, total, g_cross_spectrum(g, x, g_neg(g, x), 2, 1, PART_RE));
    gather_result(g, total, g_cross_spectrum(g, x, g_neg(g, x), 3, 0, PART_IM));
    gather_result(g, total, g_causal_conv(g, w, x, 1, ENGINE_AUTO));
    gather_result(g, total, g_causal_conv(g, w, x, 1, ENGINE_FFT));
    Value r = g_scale(g, alpha, 0.5);
    gather_result(g, total, g_exponential_conv(g, x, alpha, r, (Exponential){1, 0, 2}));
    gather_result(g, total, g_exponential_correlation(g, x, g_neg(g, x), r, (Exponential){1, 1, 0}));
    gather_result(g, total, g_causal_correlation(g, x, g_neg(g, x), 1, 1, 5, ENGINE_FFT));
    Value hole = g_hole(g, *graph_type(g, x), 0);
    gather_result(g, total, g_custom(g, g_unary(g, OP_exp, x), &x, &hole, 1, g_mul(g, hole, x)));
}

/* Its inputs: x f64[3,8] and "y 2" f64[3,8]; params d f64[] and alpha f64[3,1]; donates d. */
static inline Graph *every_op(void) {
    Graph *g = graph_create("every op", "tests/every op.frax");
    if (!g) return NULL;
    g->loc = (Loc){3, 7};
    Value d = g_param(g, "d", (Type){FRAX_F64, SCALAR}, INIT_CONSTANT, 0.1, 0);
    Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(3, 8)});
    g->loc = (Loc){0};
    Value y = g_input(g, "y 2", (Type){FRAX_F64, SHAPE(3, 8)}), total = d;
    if (x != NO_VALUE && y != NO_VALUE) {
        add_pointwise_ops(g, &total, x, y);
        add_shape_ops(g, &total, x);
        add_fractional_ops(g, &total, x);
    }
    graph_output(g, "total", total);
    graph_output_donated(g, "d.next", g_sub(g, d, total), d);
    return g;
}

#endif
