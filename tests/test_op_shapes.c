/* test_op_shapes.c — compiled code, eager and reference where sizes matter: chains of moves, long rows and
 * split reductions, products small, large and batched, transforms of awkward lengths, convolutions, ties and
 * NaN, and the special values of every pointwise op.
 *
 * Bounds: what only moves is exact; sums, products and transforms are compared relative to the largest
 * result, with 2 ulp times √n for n terms.
 */
#include "target_run.h"

static Value input(Graph *g, FraxDType dtype, Shape shape) {
    char name[24];
    snprintf(name, sizeof name, "x%zu", g->ninputs);
    return g_input(g, name, (Type){dtype, shape});
}

static void output(Graph *g, Value v) {
    char name[24];
    snprintf(name, sizeof name, "y%zu", g->noutputs);
    graph_output(g, name, v);
}

static Graph *start(void) {
    Graph *g = graph_create("test", "test");
    assert_non_null(g);
    return g;
}

static void check(Graph *g, Bound bound, const char *name) {
    static int cases;
    FraxError err = {0};
    if (graph_status(g, &err)) fail_msg("%s: %s", name, err.message);
    if (!is_thinned_out(&cases)) compare_targets(g, (Fill){11, -1, 1}, bound, name);
    graph_destroy(g);
}

static Bound sums(FraxDType dtype, double terms) {
    double ulp = dtype == FRAX_F64    ? 0x1p-52
                 : dtype == FRAX_F32  ? 0x1p-23
                 : dtype == FRAX_BF16 ? 0x1p-7
                                      : 0x1p-10;
    return (Bound){0, 2 * ulp * sqrt(fmax(terms, 1))};
}

/* ---- Chains of moves ---- */

enum { CHAINS = 60, LINKS = 5, MOST_ELEMENTS = 20000 };

static int below(uint64_t *seed, int n) {
    return (int)(fill_random(seed) % (uint64_t)n);
}

static Value permuted(Graph *g, Value x, uint64_t *seed) {
    uint8_t perm[MAX_RANK];
    int rank = graph_type(g, x)->shape.rank;
    for (int i = 0; i < rank; i++) {
        int j = below(seed, i + 1);
        perm[i] = perm[j];
        perm[j] = (uint8_t)i;
    }
    return g_transpose(g, x, perm);
}

static Value sliced(Graph *g, Value x, uint64_t *seed) {
    Shape s = graph_type(g, x)->shape;
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < s.rank; i++) {
        lo[i] = s.dims[i] > 2 ? below(seed, 2) : 0;
        int64_t end = s.dims[i] - below(seed, 2);
        hi[i] = MAX(lo[i] + 1, end);
        step[i] = 1 + below(seed, 3) / 2;
    }
    return g_slice(g, x, lo, hi, step);
}

static Value padded(Graph *g, Value x, uint64_t *seed) {
    int64_t lo[MAX_RANK], hi[MAX_RANK], step[MAX_RANK];
    for (int i = 0; i < graph_type(g, x)->shape.rank; i++) {
        lo[i] = below(seed, 3);
        hi[i] = below(seed, 3);
        step[i] = 1 + below(seed, 3) / 2;
    }
    return g_pad(g, x, lo, hi, step);
}

static Value reshaped(Graph *g, Value x, uint64_t *seed) {
    Shape s = graph_type(g, x)->shape, to = {0};
    if (below(seed, 2)) return g_reshape(g, x, SHAPE(shape_size(&s)));
    for (int i = 0; i < s.rank && to.rank < MAX_RANK - 1; i++) {
        int64_t factor = s.dims[i] % 3 ? s.dims[i] % 2 ? 1 : 2 : 3;
        if (s.rank + to.rank - i < MAX_RANK && factor > 1 && below(seed, 2)) {
            to.dims[to.rank++] = factor;
            to.dims[to.rank++] = s.dims[i] / factor;
        } else {
            to.dims[to.rank++] = s.dims[i];
        }
    }
    return g_reshape(g, x, to);
}

static Value grown(Graph *g, Value x, uint64_t *seed) {
    Shape s = graph_type(g, x)->shape;
    if (s.rank >= 4) return x;
    int axis = below(seed, s.rank + 1);
    x = g_unsqueeze(g, x, 1u << axis);
    s = graph_type(g, x)->shape;
    s.dims[axis] = 2 + below(seed, 2);
    return g_broadcast(g, x, s);
}

static Value moved(Graph *g, Value x, uint64_t *seed) {
    int rank = graph_type(g, x)->shape.rank;
    switch (below(seed, 7)) {
    case 0: return permuted(g, x, seed);
    case 1: return sliced(g, x, seed);
    case 2: return padded(g, x, seed);
    case 3: return reshaped(g, x, seed);
    case 4: return grown(g, x, seed);
    case 5: return g_flip(g, x, (uint32_t)below(seed, 1 << rank));
    default: return g_concat(g, (Value[]){x, g_neg(g, x), x}, 2 + below(seed, 2), below(seed, rank));
    }
}

/* A chain of moves, what is made of it by pointwise ops, and the maxima of its rows. */
static void test_chains_of_moves(void **state) {
    (void)state;
    static const Shape shapes[] = {{.rank = 1, .dims = {97}},
                                   {.rank = 2, .dims = {6, 33}},
                                   {.rank = 3, .dims = {3, 4, 20}},
                                   {.rank = 2, .dims = {1, 130}}};
    static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_I32, FRAX_BF16, FRAX_F16};
    for (uint64_t k = 0; k < CHAINS; k++) {
        uint64_t seed = 1000 + k;
        char name[48];
        Graph *g = start();
        Value x = input(g, dtypes[k % COUNT(dtypes)], shapes[k / 2 % COUNT(shapes)]), first = x;
        for (int i = 0; i < LINKS; i++) {
            Value y = moved(g, x, &seed);
            if (shape_size(&graph_type(g, y)->shape) <= MOST_ELEMENTS) x = y;
            if (i == 2) output(g, g_neg(g, x));
        }
        int rank = graph_type(g, x)->shape.rank;
        output(g, x);
        output(g, g_binary(g, OP_max, g_neg(g, x), g_like(g, x, 0)));
        output(g, g_reduce(g, OP_reduce_max, x, 1u << below(&seed, rank)));
        output(g, g_reduce(g, OP_reduce_min, first, 1));
        snprintf(name, sizeof name, "chain %llu", (unsigned long long)(1000 + k));
        check(g, (Bound){0, 0}, name);
    }
}

/* ---- Reductions ---- */

/* Rows beyond vector tails and chunks, split reductions, columns, several axes at once, and rows passed over
 * twice. */
static void test_long_reductions(void **state) {
    (void)state;
    static const Shape shapes[] = {{.rank = 1, .dims = {5000}},       {.rank = 1, .dims = {20011}},
                                   {.rank = 2, .dims = {3, 20000}},   {.rank = 2, .dims = {2500, 9}},
                                   {.rank = 3, .dims = {17, 5, 260}}, {.rank = 2, .dims = {2, 70000}}};
    static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_I32, FRAX_BF16};
    for (size_t s = 0; s < COUNT(shapes); s++)
        for (size_t d = 0; d < COUNT(dtypes); d++)
            for (uint32_t axes = 1; axes < 1u << shapes[s].rank; axes++) {
                Graph *g = start();
                char name[64], shape[160];
                Value x = input(g, dtypes[d], shapes[s]), sum = g_reduce(g, OP_sum, g_mul(g, x, x), axes);
                output(g, sum);
                output(g, g_reduce(g, OP_reduce_max, x, axes));
                output(g, g_reduce(g, OP_reduce_min, g_neg(g, x), axes));
                output(g, g_add(g, x, g_broadcast(g, g_reduce(g, OP_reduce_max, x, axes), shapes[s])));
                for (int i = 0; i < shapes[s].rank; i++)
                    if (axes == 1u << i) output(g, g_argmax(g, x, i));
                snprintf(name, sizeof name, "reductions %x of %s", axes, shape_text(&shapes[s], shape));
                double terms = (double)(shape_size(&shapes[s]) / shape_size(&graph_type(g, sum)->shape));
                if (dtypes[d] == FRAX_BF16) terms = 1; /* summed in f32 */
                check(g, dtypes[d] == FRAX_I32 ? (Bound){0, 0} : sums(dtypes[d], terms), name);
            }
}

/* The first of equal maxima; a NaN is greatest; and maxima and minima with NaN are NaN. */
static void test_ties_and_nan(void **state) {
    (void)state;
    enum { ROWS = 6, N = 71 };
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
        Graph *g = start();
        Value x = input(g, dtype, SHAPE(ROWS, N));
        for (int axis = 0; axis < 2; axis++) output(g, g_argmax(g, x, axis));
        for (uint32_t axes = 1; axes < 4; axes++) {
            output(g, g_reduce(g, OP_reduce_max, x, axes));
            output(g, g_reduce(g, OP_reduce_min, x, axes));
        }
        for (int flipped = 0; flipped < 2; flipped++) { /* NaN against a number, both ways round */
            Value y = g_flip(g, x, 2), a = flipped ? y : x, b = flipped ? x : y;
            output(g, g_binary(g, OP_max, a, b));
            output(g, g_binary(g, OP_min, a, b));
        }
        void **in = calloc(1, sizeof *in), **expected = make_outputs(g), **got = make_outputs(g);
        in[0] = new_tensor(graph_type(g, x));
        for (int i = 0; i < ROWS * N; i++) {
            int row = i / N, k = i % N;
            double v = (k * 7) % 13;
            if (row == 1) v = 3;
            if (row == 2 && (k == 40 || k == 66)) v = NAN;
            if (row == 3) v = -INFINITY;
            if (row == 4) v = k == N - 1 ? INFINITY : NAN;
            if (row == 5) v = NAN;
            element_set(in[0], dtype, i, v);
        }
        run_on(g, FRAX_REFERENCE, 1, in, expected, "ties");
        run_on(g, FRAX_CPU, 1, in, got, "ties, cpu");
        expect_outputs(g, expected, got, (Bound){0, 0}, "ties, cpu");
        run_on(g, FRAX_EAGER, 1, in, got, "ties, eager");
        expect_outputs(g, expected, got, (Bound){0, 0}, "ties, eager");
        assert_int_equal(((int32_t *)got[1])[2], 40);
        free_tensors(in, 1);
        free_tensors(expected, g->noutputs);
        free_tensors(got, g->noutputs);
        graph_destroy(g);
    }
}

/* ---- Products ---- */

typedef struct ProductCase {
    int64_t batch, m, k, n;
} ProductCase;

static void test_products(void **state) {
    (void)state;
    static const ProductCase cases[] = {{1, 1, 1, 1},   {1, 7, 33, 100},  {5, 3, 17, 9},  {1, 100, 7, 1},
                                        {3, 1, 33, 33}, {1, 130, 90, 70}, {2, 8, 16, 32}, {1, 5, 0, 6},
                                        {2, 0, 3, 4},   {1, 4, 3, 0},     {0, 4, 3, 2}};
    static const FraxDType dtypes[] = {FRAX_F64, FRAX_F32, FRAX_BF16, FRAX_F16};
    for (size_t c = 0; c < COUNT(cases); c++)
        for (size_t d = 0; d < COUNT(dtypes); d++)
            for (int flags = 0; flags < 4; flags++) {
                ProductCase p = cases[c];
                bool ta = flags & 1, tb = flags & 2;
                char name[96];
                Graph *g = start();
                Value x = input(g, dtypes[d], ta ? SHAPE(p.batch, p.k, p.m) : SHAPE(p.batch, p.m, p.k));
                Value y = input(g, dtypes[d], tb ? SHAPE(p.batch, p.n, p.k) : SHAPE(p.batch, p.k, p.n));
                Value bias = input(g, dtypes[d], SHAPE(1, 1, p.n));
                Value z = g_matmul(g, x, y, ta, tb);
                output(g, z);
                Value sum = g_add(g, z, g_broadcast(g, bias, graph_type(g, z)->shape));
                output(g, g_binary(g, OP_max, sum, g_like(g, sum, 0)));
                output(g, g_matmul(g, g_neg(g, x), y, ta, tb));
                snprintf(name, sizeof name, "%s %lldx%lldx%lld of %lld, flags %d", frax_dtype_name(dtypes[d]),
                         (long long)p.m, (long long)p.k, (long long)p.n, (long long)p.batch, flags);
                check(g, sums(dtypes[d], (double)p.k + 1), name);
            }
}

/* One matrix for the whole batch, a constant factor, a sliced one, and a product of a product. */
static void test_operands_of_products(void **state) {
    (void)state;
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) {
        Graph *g = start();
        Value x = input(g, dtype, SHAPE(4, 9, 20)), w = input(g, dtype, SHAPE(1, 20, 30));
        Value wide = g_broadcast(g, w, SHAPE(4, 20, 30)), z = g_matmul(g, x, wide, false, false);
        Value part = g_slice(g, x, (int64_t[]){0, 1, 0}, (int64_t[]){4, 9, 20}, (int64_t[]){1, 2, 1});
        output(g, z);
        output(g, g_matmul(g, part, wide, false, false));
        output(g, g_matmul(g, z, wide, false, true));
        output(g, g_matmul(g, x, g_constant(g, *graph_type(g, wide), 0.5), false, false));
        output(g, g_reduce(g, OP_sum, g_matmul(g, x, x, true, false), 6));
        check(g, sums(dtype, 400), "operands of products");
    }
}

/* ---- Transforms and convolutions ---- */

static Shape spectrum_of(Shape s, uint32_t axes, bool each_row) {
    int last = 31 - __builtin_clz(axes);
    s.dims[last] = s.dims[last] / 2 + 1;
    for (int i = 0; i < s.rank; i++)
        if (!each_row && !(axes >> i & 1)) s.dims[i] = 1;
    return s;
}

/* With a prologue and an epilogue; the adjoint and both cross spectra of one row in one kernel. */
static void add_transforms(Graph *g, FraxDType dtype, Shape shape, uint32_t axes) {
    Value x = input(g, dtype, shape), y = input(g, dtype, shape);
    uint32_t rows = ((1u << shape.rank) - 1) & ~axes;
    for (int each = 0; each < 2; each++) {
        Shape k = spectrum_of(shape, axes, each);
        Value re = input(g, dtype, k), im = input(g, dtype, k);
        Value z = g_spectral(g, g_scale(g, x, 2), re, im, axes);
        output(g, g_mul(g, g_shift(g, z, 1), y));
        output(g, g_spectral(g, g_unary(g, OP_sin, y), re, g_neg(g, im), axes));
        output(g, g_spectral(g, y, re, g_like(g, im, 0), axes));
    }
    for (int part = 0; part < PART_COUNT; part++) {
        output(g, g_rfft(g, x, axes, (Part)part));
        output(g, g_cross_spectrum(g, x, y, axes, 0, (Part)part));
        output(g, g_cross_spectrum(g, x, y, axes, rows, (Part)part));
        output(g, g_cross_spectrum(g, y, g_scale(g, x, 3), axes, rows & 1, (Part)part));
    }
}

static void test_lengths_of_transforms(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 2, 3, 4, 7, 8, 16, 30, 64, 97, 128, 256};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t n = 0; n < COUNT(lengths); n++)
            for (int axis = 0; axis < 2; axis++) {
                Graph *g = start();
                char name[64];
                Shape shape = axis ? SHAPE(5, lengths[n]) : SHAPE(lengths[n], 5);
                add_transforms(g, dtype, shape, 1u << axis);
                snprintf(name, sizeof name, "transform of %lld along %d", (long long)lengths[n], axis);
                check(g, sums(dtype, 5 * (double)lengths[n]), name);
            }
}

static void test_axes_of_transforms(void **state) {
    (void)state;
    static const Shape shapes[] = {{.rank = 3, .dims = {4, 6, 5}},
                                   {.rank = 4, .dims = {2, 3, 4, 7}},
                                   {.rank = 3, .dims = {40, 3, 16}},
                                   {.rank = 3, .dims = {1, 1, 8}}};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t s = 0; s < COUNT(shapes); s++)
            for (uint32_t axes = 1; axes < 1u << shapes[s].rank; axes++) {
                Graph *g = start();
                char name[64];
                if (__builtin_popcount(axes) > 3) {
                    graph_destroy(g);
                    continue;
                }
                add_transforms(g, dtype, shapes[s], axes);
                snprintf(name, sizeof name, "transform, shape %zu, axes %x", s, axes);
                check(g, sums(dtype, (double)shape_size(&shapes[s])), name);
            }
}

static void test_convolutions(void **state) {
    (void)state;
    static const int64_t lengths[] = {1, 2, 7, 31, 64, 100, 129, 300};
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
        for (size_t l = 0; l < COUNT(lengths); l++)
            for (int engine = 0; engine < ENGINE_COUNT; engine++) {
                int64_t n = lengths[l];
                char name[64];
                Graph *g = start();
                Value x = input(g, dtype, SHAPE(3, n, 2)), one = input(g, dtype, SHAPE(1, n, 1)),
                      each = input(g, dtype, SHAPE(3, n, 1)), row = input(g, dtype, SHAPE(n));
                Value y = g_causal_conv(g, one, g_scale(g, x, 2), 1, (Engine)engine);
                output(g, g_mul(g, y, y));
                output(g, g_flip(g, g_causal_conv(g, each, g_flip(g, x, 2), 1, (Engine)engine), 2));
                output(g, g_causal_conv(g, row, row, 0, (Engine)engine));
                for (int64_t taps = 1; taps <= n; taps = 3 * taps + 2)
                    output(g, g_causal_conv(g, input(g, dtype, SHAPE(3, taps, 1)), x, 1, (Engine)engine));
                snprintf(name, sizeof name, "convolution of %lld, %s", (long long)n, engine_names[engine]);
                check(g, sums(dtype, 4 * (double)n), name);
            }
}

/* ---- Special values ---- */

typedef double Special;

static const Special specials[] = {
    0.0,   -0.0,   1,    -1,    0.5,          -0.5,          2,     -2,   INFINITY, -INFINITY, NAN,
    1e300, -1e300, 3e38, -3e38, 1e-30,        -1e-30,        700,   -700, 90,       -90,       3.5,
    -3.5,  -3,     1e6,  -1e6,  2147483648.0, -2147483649.0, 1e-310};

/* inf is inf, NaN is NaN, and a number is within 5 ulp (or both vanish: flushed below the least normal). */
static bool same_class(FraxDType dtype, double got, double expected) {
    double ulp = dtype == FRAX_F64 ? 0x1p-52 : 0x1p-23, least = dtype == FRAX_F64 ? 0x1p-1022 : 0x1p-126;
    if (isnan(expected) || isnan(got)) return isnan(expected) && isnan(got);
    if (got == expected) return true;
    if (isinf(expected) || isinf(got)) return false;
    return fabs(got - expected) <= 5 * ulp * fabs(expected) + least;
}

static Value special_op(Graph *g, Op op, FraxDType dtype, int64_t n) {
    Value x = input(g, dtype, SHAPE(n));
    if (op == OP_polygamma) return g_polygamma(g, 1, x);
    if (op == OP_cast) return g_cast(g, x, FRAX_I32);
    if (op_table[op].arity == 1) return g_unary(g, op, x);
    Value y = input(g, dtype, SHAPE(n));
    if (op == OP_complex_lgamma) return g_complex_lgamma(g, 0, PART_RE, x, y);
    if (op == OP_uniform) return g_uniform(g, (UniformDraw){FRAX_F32, 0, 0}, x, y, y);
    if (op == OP_mittag_leffler) return g_mittag_leffler(g, 0, 0, x, g_like(g, x, 1), y);
    return op == OP_select ? g_select(g, g_binary(g, OP_lt, x, y), x, y) : g_binary(g, op, x, y);
}

/* Every pair of special values (as the dtype holds them). */
static void check_specials(Op op, FraxDType dtype, FraxTarget target) {
    enum { S = COUNT(specials), N = S * S };
    Graph *g = start();
    Value v = special_op(g, op, dtype, N);
    if (v == NO_VALUE) {
        graph_destroy(g);
        return;
    }
    output(g, v);
    void **in = make_inputs(g, (Fill){1, 0, 0}), **out = make_outputs(g), **expected = make_outputs(g);
    for (size_t i = 0; i < g->ninputs; i++)
        for (int k = 0; k < N; k++) element_set(in[i], dtype, k, specials[i ? k / S : k % S]);
    run_on(g, FRAX_REFERENCE, 1, in, expected, op_table[op].name);
    run_on(g, target, 1, in, out, op_table[op].name);
    FraxDType result = graph_type(g, v)->dtype;
    for (int k = 0; k < N; k++) {
        double e = element_get(expected[0], result, k), y = element_get(out[0], result, k);
        if (!same_class(result, y, e))
            fail_msg("%s %s, target %d: (%.17g, %.17g) gives %.17g, expected %.17g", op_table[op].name,
                     frax_dtype_name(dtype), (int)target, element_get(in[0], dtype, k),
                     element_get(in[g->ninputs - 1], dtype, k), y, e);
    }
    free_tensors(in, g->ninputs);
    free_tensors(out, 1);
    free_tensors(expected, 1);
    graph_destroy(g);
}

static void test_special_values(void **state) {
    (void)state;
    static const FraxTarget targets[] = {FRAX_CPU, FRAX_EAGER};
    for (Op op = 0; op < OP_COUNT; op++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
            for (size_t t = 0; t < COUNT(targets); t++)
                if (op_is_pointwise(op)) check_specials(op, dtype, targets[t]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_chains_of_moves),      cmocka_unit_test(test_long_reductions),
        cmocka_unit_test(test_ties_and_nan),         cmocka_unit_test(test_products),
        cmocka_unit_test(test_operands_of_products), cmocka_unit_test(test_lengths_of_transforms),
        cmocka_unit_test(test_axes_of_transforms),   cmocka_unit_test(test_convolutions),
        cmocka_unit_test(test_special_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
