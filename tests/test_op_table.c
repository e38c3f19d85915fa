/* test_op_table.c — walks the op table: every op, compiled and eager, against the reference, over dtypes and
 * shapes.
 *
 * An op without an entry fails the test. The chains of moves, reductions, products and transforms that need
 * shapes of their own are in test_op_shapes.c.
 *
 * Bounds. A pointwise result may be 5 ulp away: 4 of the vector library and one of a division after it or of
 * the rounded expectation, plus the least normal number, below which libraries may flush. bf16 and f16 are
 * computed in f32 and rounded once: 1 ulp. lgamma and polygamma have zeros, beside which only absolute errors
 * are small. i32 and bool agree exactly, and so does whatever only moves. Sums and transforms are compared
 * relative to the largest result, 2 ulp times √n.
 */
#include "target_run.h"

/* ---- Inputs ---- */

typedef struct Case {
    Graph *g;
    FraxDType dtype;
    Shape shape;
} Case;

static Value input(Case *c, FraxDType dtype, Shape shape) {
    char name[24];
    snprintf(name, sizeof name, "x%zu", c->g->ninputs);
    return g_input(c->g, name, (Type){dtype, shape});
}

static Value operand(Case *c) {
    return input(c, c->dtype, c->shape);
}

static void output(Case *c, Value v) {
    char name[24];
    snprintf(name, sizeof name, "y%zu", c->g->noutputs);
    graph_output(c->g, name, v);
}

static uint32_t all_axes(const Case *c) {
    return (1u << c->shape.rank) - 1;
}

/* ---- Builders ---- */

typedef void Builder(Case *c, Op op);

static void build_input(Case *c, Op op) {
    Type type = {c->dtype, c->shape};
    output(c, op == OP_input ? operand(c) : g_param(c->g, "p", type, INIT_CONSTANT, 0, 0));
}

static void build_constant(Case *c, Op op) {
    (void)op;
    output(c, g_constant(c->g, (Type){c->dtype, c->shape}, 1));
}

static void build_iota(Case *c, Op op) {
    (void)op;
    if (c->dtype == FRAX_BOOL) return;
    for (int i = 0; i < c->shape.rank; i++) output(c, g_iota(c->g, (Type){c->dtype, c->shape}, i));
}

static void build_unary(Case *c, Op op) {
    output(c, g_unary(c->g, op, operand(c)));
}

static void build_polygamma(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (int64_t n = 0; n < 3; n++) output(c, g_polygamma(c->g, n, x));
}

static void build_complex_lgamma(Case *c, Op op) {
    (void)op;
    Value x = operand(c), y = operand(c);
    for (int64_t n = 0; n < 3; n++)
        for (int part = 0; part < PART_COUNT; part++) output(c, g_complex_lgamma(c->g, n, (Part)part, x, y));
}

static void build_mittag_leffler(Case *c, Op op) {
    (void)op;
    Value alpha = operand(c), beta = operand(c), z = operand(c);
    for (int64_t n = 0; n < 2; n++)
        for (int64_t m = 0; m < 2; m++) output(c, g_mittag_leffler(c->g, n, m, alpha, beta, g_neg(c->g, z)));
}

/* Every number that a block of the generator gives; the same bits everywhere. */
static void build_uniform(Case *c, Op op) {
    (void)op;
    Value i = operand(c), low = operand(c), high = operand(c);
    for (int which = 0; which < 4; which++) {
        output(c, g_uniform(c->g, (UniformDraw){FRAX_F32, UINT32_MAX, which}, i, low, high));
        if (which < 2) output(c, g_uniform(c->g, (UniformDraw){FRAX_F64, 3, which}, i, low, high));
    }
}

static void build_cast(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (FraxDType to = FRAX_F64; to <= FRAX_BOOL; to++) output(c, g_cast(c->g, x, to));
}

static void build_binary(Case *c, Op op) {
    Value x = operand(c), y = operand(c);
    output(c, g_binary(c->g, op, x, y));
    output(c, g_binary(c->g, op, y, y));
}

/* Values in range, of which each op sees a guarded copy; test_guard.c has those that are not. */
static void build_guard(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    if (!dtype_is_float(c->dtype)) return;
    output(c, g_guard(c->g, x, -4, 4, "x", "-4 <= x <= 4"));
    output(c, g_neg(c->g, g_guard(c->g, g_scale(c->g, x, 0.5), -2, 2, "x / 2", "-2 <= x / 2 <= 2")));
}

/* Two values that never agree and two that always do. */
static void build_compare(Case *c, Op op) {
    build_binary(c, op);
    if (c->dtype == FRAX_BOOL) return;
    Value x = operand(c);
    output(c, g_binary(c->g, op, g_unary(c->g, OP_sign, x), g_like(c->g, x, 1)));
}

static void build_select(Case *c, Op op) {
    (void)op;
    Value yes = operand(c), no = operand(c);
    output(c, g_select(c->g, input(c, FRAX_BOOL, c->shape), yes, no));
}

static void build_reshape(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    output(c, g_reshape(c->g, x, SHAPE(shape_size(&c->shape))));
    if (c->shape.rank < MAX_RANK) output(c, g_unsqueeze(c->g, x, 1));
}

static void build_transpose(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    uint8_t perm[MAX_RANK];
    for (int turn = 1; turn < c->shape.rank; turn++) {
        for (int i = 0; i < c->shape.rank; i++) perm[i] = (uint8_t)((i + turn) % c->shape.rank);
        output(c, g_transpose(c->g, x, perm));
    }
}

static void build_broadcast(Case *c, Op op) {
    (void)op;
    for (uint32_t axes = 0; axes <= all_axes(c); axes++) {
        Shape from = c->shape;
        for (int i = 0; i < from.rank; i++)
            if (axes >> i & 1) from.dims[i] = 1;
        output(c, g_broadcast(c->g, input(c, c->dtype, from), c->shape));
    }
}

static void build_slice(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (int64_t step = 1; step <= 3; step++) {
        int64_t lo[MAX_RANK], hi[MAX_RANK], steps[MAX_RANK];
        for (int i = 0; i < c->shape.rank; i++) {
            lo[i] = MIN(step - 1, c->shape.dims[i]);
            hi[i] = MAX(lo[i], c->shape.dims[i] - (step == 2));
            steps[i] = step;
        }
        output(c, g_slice(c->g, x, lo, hi, steps));
    }
}

static void build_pad(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (int64_t step = 1; step <= 3; step++) {
        int64_t lo[MAX_RANK], hi[MAX_RANK], steps[MAX_RANK];
        for (int i = 0; i < c->shape.rank; i++) {
            lo[i] = step % 3;
            hi[i] = 2 - i % 3;
            steps[i] = i % 2 ? 1 : step;
        }
        output(c, g_pad(c->g, x, lo, hi, steps));
    }
}

static void build_concat(Case *c, Op op) {
    (void)op;
    Value x = operand(c), y = operand(c);
    for (int i = 0; i < c->shape.rank; i++) {
        Shape other = c->shape;
        other.dims[i] = 2;
        output(c, g_concat(c->g, (Value[]){y, input(c, c->dtype, other), x}, 3, i));
        output(c, g_concat(c->g, &x, 1, i));
    }
}

static void build_flip(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (uint32_t axes = 0; axes <= all_axes(c); axes++) output(c, g_flip(c->g, x, axes));
}

static bool is_empty_along(const Case *c, uint32_t axes) {
    for (int i = 0; i < c->shape.rank; i++)
        if (axes >> i & 1 && !c->shape.dims[i]) return true;
    return false;
}

static void build_reduce(Case *c, Op op) {
    Value x = operand(c);
    for (uint32_t axes = 0; axes <= all_axes(c); axes++)
        if (op == OP_sum || !is_empty_along(c, axes)) output(c, g_reduce(c->g, op, x, axes));
}

static void build_argmax(Case *c, Op op) {
    (void)op;
    if (c->dtype == FRAX_BOOL) return;
    Value x = operand(c);
    for (int i = 0; i < c->shape.rank; i++)
        if (c->shape.dims[i]) output(c, g_argmax(c->g, x, i));
}

/* The last two axes of the shape with its own transpose, and with a vector. */
static void build_matmul(Case *c, Op op) {
    (void)op;
    if (c->shape.rank < 2) return;
    Value x = operand(c), y = operand(c);
    output(c, g_matmul(c->g, x, y, true, false));
    if (c->shape.dims[c->shape.rank - 2] <= 100) output(c, g_matmul(c->g, x, y, false, true));
    Shape vector = c->shape;
    vector.dims[vector.rank - 2] = c->shape.dims[c->shape.rank - 1];
    vector.dims[vector.rank - 1] = 1;
    output(c, g_matmul(c->g, x, input(c, c->dtype, vector), false, false));
}

static bool is_wide_float(FraxDType dtype) {
    return dtype == FRAX_F64 || dtype == FRAX_F32;
}

/* Sets of up to three axes, none of them empty. */
static bool transforms(const Case *c, uint32_t axes) {
    return is_wide_float(c->dtype) && axes && __builtin_popcount(axes) <= 3 && !is_empty_along(c, axes);
}

static void build_rfft(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (uint32_t axes = 1; axes <= all_axes(c); axes++)
        for (int part = 0; transforms(c, axes) && part < PART_COUNT; part++)
            output(c, g_rfft(c->g, x, axes, (Part)part));
}

static Shape spectrum_shape(Shape s, uint32_t axes, bool each_row) {
    int last = 31 - __builtin_clz(axes);
    s.dims[last] = s.dims[last] / 2 + 1;
    for (int i = 0; i < s.rank; i++)
        if (!each_row && !(axes >> i & 1)) s.dims[i] = 1;
    return s;
}

static void build_spectral(Case *c, Op op) {
    (void)op;
    Value x = operand(c);
    for (uint32_t axes = 1; axes <= all_axes(c); axes++) {
        if (!transforms(c, axes)) continue;
        for (int each = 0; each < 2; each++) {
            Shape k = spectrum_shape(c->shape, axes, each);
            Value re = input(c, c->dtype, k), im = input(c, c->dtype, k);
            output(c, g_spectral(c->g, x, re, im, axes));
        }
    }
}

/* Every set of axes with every set of summed ones among the others. */
static void build_cross_spectrum(Case *c, Op op) {
    (void)op;
    Value x = operand(c), y = operand(c);
    for (uint32_t axes = 1; axes <= all_axes(c); axes++)
        for (uint32_t sum = 0; sum <= all_axes(c); sum++)
            for (int part = 0; transforms(c, axes) && !(axes & sum) && part < PART_COUNT; part++)
                output(c, g_cross_spectrum(c->g, x, y, axes, sum, (Part)part));
}

static void build_causal_conv(Case *c, Op op) {
    (void)op;
    if (!is_wide_float(c->dtype)) return;
    Value x = operand(c), each = operand(c);
    for (int axis = 0; axis < c->shape.rank; axis++) {
        Shape one = c->shape;
        for (int i = 0; i < one.rank; i++) one.dims[i] = i == axis ? one.dims[i] : 1;
        Value w = input(c, c->dtype, one);
        for (int engine = 0; engine < ENGINE_COUNT; engine++) {
            output(c, g_causal_conv(c->g, w, x, axis, (Engine)engine));
            output(c, g_causal_conv(c->g, each, x, axis, (Engine)engine));
        }
        one.dims[axis] = (one.dims[axis] + 2) / 3; /* fewer weights than samples */
        Value short_w = input(c, c->dtype, one);
        for (int engine = 0; engine < ENGINE_COUNT; engine++)
            output(c, g_causal_conv(c->g, short_w, x, axis, (Engine)engine));
    }
}

/* All lags of each row, and some of them summed over all rows. */
static void build_causal_correlation(Case *c, Op op) {
    (void)op;
    if (!is_wide_float(c->dtype)) return;
    Value x = operand(c), y = operand(c);
    for (int axis = 0; axis < c->shape.rank; axis++)
        for (int engine = 0; engine < ENGINE_COUNT; engine++)
            for (int summed = 0; summed < 2; summed++) {
                int64_t n = c->shape.dims[axis], lags = summed ? (n + 2) / 3 : n;
                uint32_t sum = summed ? all_axes(c) & ~(1u << axis) : 0;
                output(c, g_causal_correlation(c->g, x, y, axis, sum, lags, (Engine)engine));
            }
}

static void build_weights(Case *c, Op op) {
    (void)op;
    if (c->dtype != FRAX_F64 || !c->shape.rank) return;
    Shape orders = c->shape;
    int64_t n = orders.dims[orders.rank - 1];
    orders.dims[orders.rank - 1] = 1;
    Value alpha = input(c, FRAX_F64, orders);
    output(c, g_grunwald_weights(c->g, alpha, n));
    output(c, g_grunwald_weights(c->g, alpha, 3 * n + 1));
    for (int64_t m = 1; m <= MAX_WEIGHTS_ORDER; m += 3) output(c, g_grunwald_derivative(c->g, alpha, n, m));
}

/* One row of modes for all rows, and one for each; kernels of orders 0 and 1, at once and after a lag. */
static void build_exponential(Case *c, Op op) {
    if (!is_wide_float(c->dtype)) return;
    Value x = operand(c), y = operand(c);
    for (int axis = 0; axis < c->shape.rank; axis++)
        for (int form = 0; form < 4; form++) {
            Exponential how = {.axis = axis, .n = form % 2, .lag = form / 2 * 3};
            Shape all = c->shape, each = c->shape;
            each.dims[axis] = form == 2 ? 19 : 5;
            for (int i = 0; i < all.rank; i++) all.dims[i] = i == axis ? each.dims[axis] : 1;
            Value modes = input(c, FRAX_F64, form < 2 ? each : all), r = input(c, FRAX_F64, all);
            if (form == 1) r = g_broadcast(c->g, r, each);
            if (op == OP_exponential_conv)
                output(c, g_exponential_conv(c->g, x, modes, r, how));
            else
                output(c, g_cast(c->g, g_exponential_correlation(c->g, x, y, r, how), c->dtype));
        }
}

static void build_custom(Case *c, Op op) {
    (void)op;
    if (!dtype_is_float(c->dtype)) return;
    Value x = operand(c), hole = g_hole(c->g, *graph_type(c->g, x), 0);
    output(c, g_custom(c->g, g_unary(c->g, OP_neg, x), &x, &hole, 1, g_scale(c->g, hole, 2)));
}

/* What a model's graph cannot hold in what it computes: a hole is filled by differentiation. */
static void build_nothing(Case *c, Op op) {
    (void)op;
    (void)c;
}

/* ---- The table ---- */

typedef enum Closeness { EXACT, POINTWISE, NEAR_ZEROS, SUM } Closeness;

typedef struct OpCase {
    Builder *build;
    Closeness closeness;
    double lo, hi; /* where the inputs lie */
} OpCase;

static const OpCase cases[OP_COUNT] = {
    [OP_input] = {build_input, EXACT, -4, 4},
    [OP_param] = {build_input, EXACT, -4, 4},
    [OP_constant] = {build_constant, EXACT, 0, 0},
    [OP_iota] = {build_iota, EXACT, 0, 0},
    [OP_hole] = {build_nothing, EXACT, 0, 0},
    [OP_neg] = {build_unary, EXACT, -4, 4},
    [OP_exp] = {build_unary, POINTWISE, -20, 20},
    [OP_expm1] = {build_unary, POINTWISE, -4, 4},
    [OP_log] = {build_unary, POINTWISE, 0.001, 40},
    [OP_log1p] = {build_unary, POINTWISE, -0.9, 40},
    [OP_sin] = {build_unary, POINTWISE, -40, 40},
    [OP_cos] = {build_unary, POINTWISE, -40, 40},
    [OP_tanh] = {build_unary, POINTWISE, -9, 9},
    [OP_sigmoid] = {build_unary, POINTWISE, -20, 20},
    [OP_erf] = {build_unary, POINTWISE, -4, 4},
    [OP_sqrt] = {build_unary, POINTWISE, 0, 40},
    [OP_rsqrt] = {build_unary, POINTWISE, 0.01, 40},
    [OP_abs] = {build_unary, EXACT, -4, 4},
    [OP_lgamma] = {build_unary, NEAR_ZEROS, -3.9, 30},
    [OP_polygamma] = {build_polygamma, NEAR_ZEROS, -3.9, 30},
    [OP_sign] = {build_unary, EXACT, -4, 4},
    [OP_floor] = {build_unary, EXACT, -40, 40},
    [OP_not] = {build_unary, EXACT, 0, 1},
    [OP_cast] = {build_cast, EXACT, -70000, 70000},
    [OP_stop] = {build_unary, EXACT, -4, 4},
    [OP_guard] = {build_guard, EXACT, -4, 4},
    [OP_add] = {build_binary, POINTWISE, -4, 4},
    [OP_sub] = {build_binary, POINTWISE, -4, 4},
    [OP_mul] = {build_binary, POINTWISE, -4, 4},
    [OP_div] = {build_binary, POINTWISE, -4, 4},
    [OP_pow] = {build_binary, POINTWISE, 0.1, 6},
    [OP_atan2] = {build_binary, POINTWISE, -4, 4},
    [OP_min] = {build_binary, EXACT, -4, 4},
    [OP_max] = {build_binary, EXACT, -4, 4},
    [OP_eq] = {build_compare, EXACT, -4, 4},
    [OP_ne] = {build_compare, EXACT, -4, 4},
    [OP_lt] = {build_compare, EXACT, -4, 4},
    [OP_le] = {build_compare, EXACT, -4, 4},
    [OP_gt] = {build_compare, EXACT, -4, 4},
    [OP_ge] = {build_compare, EXACT, -4, 4},
    [OP_and] = {build_binary, EXACT, 0, 1},
    [OP_or] = {build_binary, EXACT, 0, 1},
    [OP_complex_lgamma] = {build_complex_lgamma, NEAR_ZEROS, -3.9, 30},
    [OP_mittag_leffler] = {build_mittag_leffler, NEAR_ZEROS, 0.1, 2},
    [OP_uniform] = {build_uniform, EXACT, -0x1p31, 0x1p31 - 1},
    [OP_select] = {build_select, EXACT, -4, 4},
    [OP_reshape] = {build_reshape, EXACT, -4, 4},
    [OP_transpose] = {build_transpose, EXACT, -4, 4},
    [OP_broadcast] = {build_broadcast, EXACT, -4, 4},
    [OP_slice] = {build_slice, EXACT, -4, 4},
    [OP_pad] = {build_pad, EXACT, -4, 4},
    [OP_concat] = {build_concat, EXACT, -4, 4},
    [OP_flip] = {build_flip, EXACT, -4, 4},
    [OP_sum] = {build_reduce, SUM, -0.5, 1},
    [OP_reduce_max] = {build_reduce, EXACT, -4, 4},
    [OP_reduce_min] = {build_reduce, EXACT, -4, 4},
    [OP_argmax] = {build_argmax, EXACT, -4, 4},
    [OP_matmul] = {build_matmul, SUM, -1, 1},
    [OP_rfft] = {build_rfft, SUM, -1, 1},
    [OP_spectral] = {build_spectral, SUM, -1, 1},
    [OP_cross_spectrum] = {build_cross_spectrum, SUM, -1, 1},
    [OP_causal_conv] = {build_causal_conv, SUM, -1, 1},
    [OP_causal_correlation] = {build_causal_correlation, SUM, -1, 1},
    [OP_grunwald_weights] = {build_weights, SUM, -1.5, 2.5},
    [OP_exponential_conv] = {build_exponential, SUM, -0.9, 0.9},
    [OP_exponential_correlation] = {build_exponential, SUM, -0.9, 0.9},
    [OP_custom] = {build_custom, EXACT, -4, 4},
};

/* ---- The walk ---- */

static double unit_roundoff(FraxDType dtype) { /* an ulp of 1 */
    switch (dtype) {
    case FRAX_F64: return 0x1p-52;
    case FRAX_F32: return 0x1p-23;
    case FRAX_BF16: return 0x1p-7;
    case FRAX_F16: return 0x1p-10;
    default: return 0;
    }
}

static Bound bound_of(const OpCase *op, const Case *c) {
    double ulp = unit_roundoff(c->dtype), n = (double)MAX(shape_size(&c->shape), 1);
    bool narrow = c->dtype == FRAX_BF16 || c->dtype == FRAX_F16;
    switch (op->closeness) {
    case EXACT: return (Bound){0, 0};
    case POINTWISE: return (Bound){narrow ? ulp : 5 * ulp, c->dtype == FRAX_F32 ? 0x1p-126 : 0x1p-1022};
    case NEAR_ZEROS: return (Bound){5 * ulp, narrow ? ulp : 5 * ulp};
    default: return (Bound){0, (narrow ? ulp : 2 * ulp * sqrt(n))};
    }
}

/* False if the op takes no such operand. */
static bool check_case(Op op, FraxDType dtype, const Shape *shape) {
    Case c = {graph_create("op", "test"), dtype, *shape};
    char name[240], type[176];
    assert_non_null(c.g);
    cases[op].build(&c, op);
    bool taken = graph_status(c.g, NULL) == FRAX_OK && c.g->noutputs;
    snprintf(name, sizeof name, "%s of %s", op_table[op].name, type_text(&(Type){dtype, *shape}, type));
    if (taken)
        compare_targets(c.g, (Fill){op + 1, cases[op].lo, cases[op].hi}, bound_of(&cases[op], &c), name);
    graph_destroy(c.g);
    return taken;
}

static const Shape shapes[] = {
    {.rank = 0},
    {.rank = 1, .dims = {1}},
    {.rank = 1, .dims = {33}},
    {.rank = 2, .dims = {7, 100}},
    {.rank = 2, .dims = {3, 0}},
    {.rank = 2, .dims = {0, 5}},
    {.rank = 3, .dims = {3, 1, 30}},
    {.rank = 4, .dims = {2, 3, 4, 5}},
};

/* The range of ops [first, end), so that a failure names a part of the table. */
static void walk(Op first, Op end) {
    for (Op op = first; op < end; op++) {
        int taken[FRAX_BOOL + 1] = {0};
        if (!cases[op].build) fail_msg("%s: no case", op_table[op].name);
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_BOOL; dtype++)
            for (size_t s = 0; s < COUNT(shapes); s++) taken[dtype] += check_case(op, dtype, &shapes[s]);
        FraxDType dtype = op == OP_not || op == OP_and || op == OP_or ? FRAX_BOOL
                          : op == OP_uniform                          ? FRAX_I32
                                                                      : FRAX_F64;
        if (!taken[dtype] && op != OP_hole) fail_msg("%s: never run", op_table[op].name);
    }
}

static void test_leaves(void **state) {
    (void)state;
    walk(OP_input, OP_neg);
}

static void test_pointwise_of_one_operand(void **state) {
    (void)state;
    walk(OP_neg, OP_add);
}

static void test_pointwise_of_several_operands(void **state) {
    (void)state;
    walk(OP_add, OP_reshape);
}

static void test_shapes(void **state) {
    (void)state;
    walk(OP_reshape, OP_sum);
}

static void test_reductions_and_products(void **state) {
    (void)state;
    walk(OP_sum, OP_rfft);
}

static void test_fractional(void **state) {
    (void)state;
    walk(OP_rfft, OP_COUNT);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_leaves),
        cmocka_unit_test(test_pointwise_of_one_operand),
        cmocka_unit_test(test_pointwise_of_several_operands),
        cmocka_unit_test(test_shapes),
        cmocka_unit_test(test_reductions_and_products),
        cmocka_unit_test(test_fractional),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
