/* random_graphs.h — typed graphs of a dozen ops, grown from a seed. Every other one has kinks: ops whose
 * derivative jumps, where differences mean nothing. FRAX_SEED (printed with every failure) and FRAX_GRAPHS in
 * the environment choose the first seed and the number of graphs.
 */
#ifndef FRAX_TEST_RANDOM_GRAPHS_H
#define FRAX_TEST_RANDOM_GRAPHS_H

#include "derivatives.h"

enum { OPS = 12, MOST_VALUES = 40, MOST_ELEMENTS = 48, HIGHEST_RANK = 3 };

typedef struct Growth {
    Graph *g;
    uint64_t seed;
    bool kinks;
    Value pool[MOST_VALUES];
    int n;
} Growth;

typedef struct Plan {
    uint64_t seed;
    bool kinks;
} Plan;

static int below(Growth *r, int n) {
    return (int)(next_random(&r->seed) % (uint64_t)n);
}

static Value pick(Growth *r) {
    return r->pool[below(r, r->n)];
}

static Shape shape_of(const Growth *r, Value v) {
    return graph_type(r->g, v)->shape;
}

/* Some value of x's shape, x itself if there is no other. */
static Value pick_like(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    for (int start = below(r, r->n), i = 0; i < r->n; i++) {
        Value y = r->pool[(start + i) % r->n];
        Shape other = shape_of(r, y);
        if (shape_equal(&shape, &other)) return y;
    }
    return x;
}

static int pick_axis(Growth *r, Value x) {
    return below(r, shape_of(r, x).rank);
}

static Value mean(Graph *g, Value x, uint32_t axes) {
    Shape shape = graph_type(g, x)->shape;
    double n = 1;
    for (int i = 0; i < shape.rank; i++)
        if (axes >> i & 1) n *= (double)shape.dims[i];
    return g_scale(g, g_reduce(g, OP_sum, x, axes), 1 / n);
}

/* x² + ½, for ops that need a positive operand. */
static Value positive(Graph *g, Value x) {
    return g_shift(g, g_mul(g, x, x), 0.5);
}

/* ---- Ways to make a value; NO_VALUE where the drawn operand does not fit ---- */

typedef Value Maker(Growth *r);

static Value make_bounded(Growth *r) {
    static const Op ops[] = {OP_sin, OP_cos, OP_tanh, OP_sigmoid, OP_erf, OP_neg};
    return g_unary(r->g, ops[below(r, COUNT(ops))], pick(r));
}

static Value make_exponential(Growth *r) {
    return g_unary(r->g, below(r, 2) ? OP_exp : OP_expm1, g_unary(r->g, OP_tanh, pick(r)));
}

static Value make_of_positive(Growth *r) {
    static const Op ops[] = {OP_log, OP_log1p, OP_sqrt, OP_rsqrt, OP_lgamma};
    Value x = positive(r->g, g_unary(r->g, OP_sin, pick(r)));
    int i = below(r, COUNT(ops) + 1);
    return i == COUNT(ops) ? g_polygamma(r->g, 0, x) : g_unary(r->g, ops[i], x);
}

static Value make_binary(Growth *r) {
    Graph *g = r->g;
    Value a = pick(r), b = pick_like(r, a);
    switch (below(r, 6)) {
    case 0: return g_add(g, a, b);
    case 1: return g_sub(g, a, below(r, 2) ? g_neg(g, b) : b);
    case 2: return g_mul(g, a, g_unary(g, OP_sin, b));
    case 3: return g_div(g, a, positive(g, b));
    case 4: return g_binary(g, OP_pow, positive(g, g_unary(g, OP_sin, a)), g_unary(g, OP_tanh, b));
    default: return g_binary(g, OP_atan2, a, positive(g, b));
    }
}

static Value make_with_constant(Growth *r) {
    static const double constants[] = {-1, -0.5, 0.25, 0.5, 1, 2, 3, 4};
    double c = constants[below(r, COUNT(constants))];
    Value x = pick(r);
    switch (below(r, 4)) {
    case 0: return g_scale(r->g, x, c);
    case 1: return g_shift(r->g, x, c);
    case 2: return g_div(r->g, x, g_like(r->g, x, c));
    default: return g_binary(r->g, OP_pow, positive(r->g, g_unary(r->g, OP_sin, x)), g_like(r->g, x, c));
    }
}

static Value make_kinked(Growth *r) {
    Graph *g = r->g;
    Value a = pick(r), b = pick_like(r, a);
    Value greater = g_binary(g, OP_gt, a, b);
    switch (r->kinks ? below(r, 7) : 7) {
    case 0: return g_binary(g, OP_max, a, g_like(g, a, 0));
    case 1: return g_binary(g, OP_min, a, b);
    case 2: return g_unary(g, OP_abs, a);
    case 3: return g_select(g, g_unary(g, OP_not, greater), a, g_neg(g, b));
    case 4: return g_mul(g, a, g_cast(g, greater, FRAX_F64));
    case 5: return g_mul(g, b, g_cast(g, g_cast(g, g_scale(g, a, 3), FRAX_I32), FRAX_F64));
    case 6:
        return g_reduce(g, below(r, 2) ? OP_reduce_max : OP_reduce_min, a,
                        (uint32_t)below(r, 8) & ((1u << shape_of(r, a).rank) - 1));
    default: return NO_VALUE;
    }
}

static Value make_narrowed(Growth *r) {
    Value x = g_cast(r->g, pick(r), FRAX_F32);
    return g_cast(r->g, g_unary(r->g, OP_sin, x), FRAX_F64);
}

static Value make_transposed(Growth *r) {
    Value x = pick(r);
    int rank = shape_of(r, x).rank;
    uint8_t perm[MAX_RANK] = {0, 1, 2};
    for (int i = rank - 1; i > 0; i--) {
        int j = below(r, i + 1);
        uint8_t t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
    return g_transpose(r->g, x, perm);
}

static Value make_reshaped(Growth *r) {
    Value x = pick(r);
    Shape shape = shape_of(r, x);
    if (below(r, 2)) return g_reshape(r->g, x, SHAPE(shape_size(&shape)));
    return shape.rank < HIGHEST_RANK ? g_unsqueeze(r->g, x, 1u << below(r, shape.rank + 1)) : NO_VALUE;
}

static Value make_broadcast(Growth *r) {
    Value x = pick(r);
    Shape shape = shape_of(r, x);
    int axis = below(r, shape.rank), factor = 2 + below(r, 2);
    if (shape.dims[axis] == 1) {
        shape.dims[axis] = factor;
    } else if (shape.rank < HIGHEST_RANK) {
        x = g_unsqueeze(r->g, x, 1u << axis);
        shape = shape_of(r, x);
        shape.dims[axis] = factor;
    }
    return g_broadcast(r->g, x, shape);
}

static Value make_slice(Growth *r) {
    Value x = pick(r);
    Shape shape = shape_of(r, x);
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < shape.rank; i++) {
        lo[i] = below(r, (int)shape.dims[i]);
        hi[i] = lo[i] + 1 + below(r, (int)(shape.dims[i] - lo[i]));
        step[i] = below(r, 3) ? 1 : 2;
    }
    return g_slice(r->g, x, lo, hi, step);
}

static Value make_pad(Growth *r) {
    Value x = pick(r);
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < shape_of(r, x).rank; i++) {
        lo[i] = below(r, 2);
        hi[i] = below(r, 3);
        step[i] = below(r, 3) ? 1 : 2;
    }
    return g_pad(r->g, x, lo, hi, step);
}

static Value make_concat(Growth *r) {
    Value x = pick(r), y = pick_like(r, x);
    return g_concat(r->g, (Value[]){x, y, x}, 2 + below(r, 2), pick_axis(r, x));
}

static Value make_flip(Growth *r) {
    Value x = pick(r);
    return g_flip(r->g, x, 1u << pick_axis(r, x));
}

static Value make_mean(Growth *r) {
    Value x = pick(r);
    return mean(r->g, x, (uint32_t)below(r, 8) & ((1u << shape_of(r, x).rank) - 1));
}

static Value make_matmul(Growth *r) {
    Graph *g = r->g;
    Value a = pick(r), b = pick_like(r, a);
    Shape shape = shape_of(r, a);
    if (shape.rank < 2) return NO_VALUE;
    bool ta = below(r, 2);
    if (shape.rank == 3 && below(r, 2)) b = g_broadcast(g, mean(g, b, 1), shape); /* one factor for all */
    return g_unary(g, OP_tanh, g_matmul(g, a, b, ta, !ta));
}

/* K from the spectrum of some value, the same for all rows or not. */
static Value make_spectral(Growth *r) {
    Graph *g = r->g;
    Value x = pick(r), y = pick_like(r, x);
    uint32_t axes = 1u << pick_axis(r, x) | 1u << pick_axis(r, x);
    uint32_t rows = ((1u << shape_of(r, x).rank) - 1) & ~axes;
    if (below(r, 2)) y = mean(g, y, rows);
    return g_unary(g, OP_tanh,
                   g_spectral(g, x, g_rfft(g, y, axes, PART_RE), g_rfft(g, y, axes, PART_IM), axes));
}

static Value make_cross_spectrum(Growth *r) {
    Value x = pick(r), y = pick_like(r, x);
    uint32_t axes = 1u << pick_axis(r, x), sum = ((1u << shape_of(r, x).rank) - 1) & ~axes;
    return g_unary(r->g, OP_tanh,
                   g_cross_spectrum(r->g, x, y, axes, below(r, 2) ? sum : 0, (Part)below(r, 2)));
}

static Value make_causal_conv(Growth *r) {
    Value x = pick(r), w = pick_like(r, x);
    int axis = pick_axis(r, x);
    uint32_t rows = ((1u << shape_of(r, x).rank) - 1) & ~(1u << axis);
    if (below(r, 2)) w = mean(r->g, w, rows);
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK];
    memcpy(hi, shape_of(r, w).dims, sizeof hi);
    hi[axis] -= below(r, (int)hi[axis]); /* any number of weights from 1 up */
    w = g_slice(r->g, w, lo, hi, NULL);
    return g_unary(r->g, OP_tanh, g_causal_conv(r->g, w, x, axis, (Engine)below(r, ENGINE_COUNT)));
}

static Value make_causal_correlation(Growth *r) {
    Value x = pick(r), y = pick_like(r, x);
    int axis = pick_axis(r, x);
    Shape shape = shape_of(r, x);
    uint32_t sum = (uint32_t)below(r, 8) & ((1u << shape.rank) - 1) & ~(1u << axis);
    int64_t n = 1 + below(r, (int)shape.dims[axis]);
    return g_unary(r->g, OP_tanh,
                   g_causal_correlation(r->g, x, y, axis, sum, n, (Engine)below(r, ENGINE_COUNT)));
}

static Value make_weights(Growth *r) {
    Value x = pick(r);
    Shape shape = shape_of(r, x);
    Value alpha = g_unary(r->g, OP_tanh, mean(r->g, x, 1u << (shape.rank - 1)));
    return g_grunwald_derivative(r->g, alpha, shape.dims[shape.rank - 1], below(r, 3));
}

/* Modes from another value, few or many; rates within (−0.9, 0.9). */
static Value make_recurrence(Growth *r) {
    Graph *g = r->g;
    Value x = pick(r), y = pick_like(r, x), c = pick_like(r, x);
    Exponential how = {.axis = pick_axis(r, x), .n = below(r, 3), .lag = below(r, 3)};
    uint32_t rows = ((1u << shape_of(r, x).rank) - 1) & ~(1u << how.axis);
    if (below(r, 2)) c = mean(g, c, rows);
    Value rate = g_cast(g, g_scale(g, g_unary(g, OP_tanh, c), 0.9), FRAX_F64);
    Value result = below(r, 2) ? g_exponential_conv(g, x, g_cast(g, y, FRAX_F64), rate, how)
                               : g_exponential_correlation(g, x, y, rate, how);
    return g_unary(g, OP_tanh, g_cast(g, result, graph_type(g, x)->dtype));
}

static Value make_custom(Growth *r) {
    Graph *g = r->g;
    Value x = pick(r), y = g_unary(g, OP_tanh, x), hole = g_hole(g, *graph_type(g, x), 1000 + r->n);
    Value slope = g_sub(g, g_like(g, y, 1), g_mul(g, y, y));
    return g_custom(g, y, &x, &hole, 1, g_mul(g, hole, slope));
}

static Maker *const makers[] = {
    make_bounded,       make_exponential,
    make_of_positive,   make_binary,
    make_with_constant, make_kinked,
    make_narrowed,      make_transposed,
    make_reshaped,      make_broadcast,
    make_slice,         make_pad,
    make_concat,        make_flip,
    make_mean,          make_matmul,
    make_spectral,      make_cross_spectrum,
    make_weights,       make_custom,
    make_causal_conv,   make_causal_correlation,
    make_recurrence,
};

/* The last value plus the means of all, so that nothing is dead. */
static Value gather_values(Growth *r) {
    Graph *g = r->g;
    Value total = NO_VALUE, last = r->pool[r->n - 1];
    for (int i = 0; i < r->n && !g->failed; i++) {
        Value x = r->pool[i];
        uint32_t all = (1u << shape_of(r, x).rank) - 1;
        total = add_or_first(g, total, g_reshape(g, mean(g, x, all), SCALAR));
    }
    return g->failed ? NO_VALUE : g_add(g, last, g_broadcast_to(g, total, shape_of(r, last)));
}

static Value build_random(Graph *g, const Value *x, const void *context) {
    const Plan *plan = context;
    Growth r = {.g = g, .seed = plan->seed, .kinks = plan->kinks, .pool = {x[0], x[1], x[2]}, .n = 3};
    while (r.n < 3 + OPS) {
        Value v = makers[below(&r, COUNT(makers))](&r);
        if (g->failed) return NO_VALUE;
        if (v == NO_VALUE) continue;
        Shape shape = shape_of(&r, v);
        if (shape_size(&shape) <= MOST_ELEMENTS && shape.rank) r.pool[r.n++] = v;
    }
    return gather_values(&r);
}

/* Three inputs, two of one shape. */
static Function random_function(const Plan *plan, char name[64]) {
    static const int64_t sizes[] = {1, 2, 3, 5};
    uint64_t seed = plan->seed;
    Function f = {name, 3, .lo = -1, .hi = 1, .build = build_random, .context = plan, .kinks = plan->kinks};
    snprintf(name, 64, "FRAX_SEED=%llu", (unsigned long long)plan->seed);
    for (int i = 0; i < 3; i++) {
        Shape *s = &f.shapes[i];
        if (i == 1) *s = f.shapes[0];
        if (i == 1) continue;
        s->rank = 1 + (int)(next_random(&seed) % HIGHEST_RANK);
        for (int k = 0; k < s->rank; k++) s->dims[k] = sizes[next_random(&seed) % COUNT(sizes)];
    }
    return f;
}

static long setting(const char *name, long otherwise) {
    const char *given = getenv(name);
    return given ? strtol(given, NULL, 10) : otherwise;
}

/* Both kinds of graphs from seed 1 on; from FRAX_SEED on, two of them or FRAX_GRAPHS. */
static inline void for_each_graph(long graphs, void (*check)(const Function *f, uint64_t seed)) {
    uint64_t base = (uint64_t)setting("FRAX_SEED", 1);
    graphs = setting("FRAX_GRAPHS", getenv("FRAX_SEED") ? 2 : graphs);
    for (uint64_t i = 0; i < (uint64_t)graphs; i++) {
        Plan plan = {.seed = base + i / 2, .kinks = i % 2};
        char name[64];
        Function f = random_function(&plan, name);
        check(&f, plan.seed);
    }
}

/* ---- The same graph in f32 ---- */

static inline Type narrowed(Type type) {
    if (type.dtype == FRAX_F64) type.dtype = FRAX_F32;
    return type;
}

/* Orders, weights and modes stay f64, between casts. */
static inline Value narrow(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)context;
    const Node *node = graph_node(from, v);
    Type type = narrowed(node->type);
    if (node->op == OP_grunwald_weights)
        return g_cast(to, g_grunwald_weights(to, g_cast(to, args[0], FRAX_F64), node->attrs->n), FRAX_F32);
    if (node->op == OP_exponential_conv || node->op == OP_exponential_correlation) {
        Value y = node->op == OP_exponential_conv ? g_cast(to, args[1], FRAX_F64) : args[1];
        Value all[] = {args[0], y, g_cast(to, args[2], FRAX_F64)};
        return g_cast(to, graph_emit(to, node->op, all, 3, node->attrs, NULL), FRAX_F32);
    }
    if (node->op == OP_input) return g_input(to, node->attrs->name, type);
    return graph_emit(to, node->op, args, node->nargs, node->attrs, &type);
}

static inline Graph *narrowed_graph(const Graph *g, const char *name) {
    FraxError err = {0};
    Graph *single = graph_rewrite(g, narrow, NULL, &err);
    if (!single) fail_msg("%s: %s", name, err.message);
    return single;
}

/* Some of the f64 graphs compute in f32 here and there, which the reference does not round. */
static inline bool holds_f32(const Graph *g) {
    for (size_t v = 0; v < g->count; v++)
        if (g->nodes[v].type.dtype == FRAX_F32) return true;
    return false;
}

#endif
