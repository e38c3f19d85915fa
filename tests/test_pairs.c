/* test_pairs.c — filters of rows in pairs on the cpu target: every length, against a result that is known
 * exactly; rows that must not contaminate each other; the structures around a filter that a kernel may hold.
 *
 * A filter that shifts by s samples, K_k = e^{−2πi k s/N}, gives the signal itself, moved. Its error is that
 * of the transforms and of K's rounding. Bounds are relative in the 2-norm: 4e-7 · log2 N in f32, 4e-16 ·
 * log2 N in f64; N < 4 counts as 4, since K's own rounding and that of the two or three products are there
 * from the start.
 */
#include "target_run.h"
#include <math.h>
#include <stdio.h>

enum { ALL_TO = 512, LENGTHS_IN_GRAPH = 16 };

static double bound_of(FraxDType dtype, int64_t n) {
    return (dtype == FRAX_F64 ? 4e-16 : 4e-7) * log2((double)MAX(n, 4));
}

static uint64_t random_state = 20;

static double random_value(void) {
    return (double)(fill_random(&random_state) >> 11) * 0x1p-52 - 1;
}

static void put(FraxDType dtype, void *array, int64_t i, double value) {
    if (dtype == FRAX_F64)
        ((double *)array)[i] = value;
    else
        ((float *)array)[i] = (float)value;
}

/* ---- Shifts ---- */

/* A filter's signal x[rows, n] and K[1, n/2 + 1], all of them inputs of one graph. */
typedef struct Shift {
    int64_t rows, n, shift;
} Shift;

static Type matrix(FraxDType dtype, int64_t rows, int64_t columns) {
    return (Type){.dtype = dtype, .shape = {.rank = 2, .dims = {rows, columns}}};
}

static Graph *shift_graph(FraxDType dtype, const Shift *shifts, int count) {
    Graph *g = graph_create("shifts", "test_pairs.c");
    char name[32];
    assert_non_null(g);
    for (int i = 0; i < count; i++) {
        const Shift *s = &shifts[i];
        snprintf(name, sizeof name, "x%d", i);
        Value x = g_input(g, name, matrix(dtype, s->rows, s->n));
        snprintf(name, sizeof name, "re%d", i);
        Value re = g_input(g, name, matrix(dtype, 1, s->n / 2 + 1));
        snprintf(name, sizeof name, "im%d", i);
        Value im = g_input(g, name, matrix(dtype, 1, s->n / 2 + 1));
        snprintf(name, sizeof name, "y%d", i);
        graph_output(g, name, g_spectral(g, x, re, im, 2));
    }
    return g;
}

static void fill_shift(FraxDType dtype, const Shift *s, void *const *in) {
    for (int64_t i = 0; i < s->rows * s->n; i++) put(dtype, in[0], i, random_value());
    for (int64_t k = 0; k <= s->n / 2; k++) {
        long double angle = 2 * acosl(-1) * (long double)(k * s->shift % s->n) / (long double)s->n;
        put(dtype, in[1], k, (double)cosl(angle));
        put(dtype, in[2], k, (double)-sinl(angle));
    }
}

/* The worst row's error over its bound. */
static double shift_error(FraxDType dtype, const Shift *s, const void *x, const void *y) {
    double worst = 0;
    for (int64_t row = 0; row < s->rows; row++) {
        double error = 0, norm = 0;
        for (int64_t t = 0; t < s->n; t++) {
            double expected = element_get(x, dtype, row * s->n + (t + s->n - s->shift) % s->n);
            double difference = element_get(y, dtype, row * s->n + t) - expected;
            error += difference * difference;
            norm += expected * expected;
        }
        double relative = sqrt(error / norm) / bound_of(dtype, s->n);
        worst = relative <= worst ? worst : relative; /* NaN is worst */
    }
    return worst;
}

static double worst_error;

static void check_shifts(FraxDType dtype, FraxTarget target, const Shift *shifts, int count) {
    Graph *g = shift_graph(dtype, shifts, count);
    void **in = make_inputs(g, (Fill){.seed = 1, .lo = -1, .hi = 1}), **out = make_outputs(g);
    for (int i = 0; i < count; i++) fill_shift(dtype, &shifts[i], in + 3 * i);
    run_on(g, target, 1, in, out, "shifts");
    for (int i = 0; i < count; i++) {
        double error = shift_error(dtype, &shifts[i], in[3 * i], out[i]);
        worst_error = fmax(worst_error, error);
        if (!(error <= 1))
            fail_msg("%s, %lld rows of %lld samples: %g times the bound", frax_dtype_name(dtype),
                     (long long)shifts[i].rows, (long long)shifts[i].n, error);
    }
    free_tensors(in, g->ninputs);
    free_tensors(out, g->noutputs);
    graph_destroy(g);
}

/* Few rows, with one that is left without a partner; or enough to lie side by side, and for products with a
   matrix, sometimes with such a rest. (Planning by the library takes a tenth of a second a length, the code
   of a rest twice as long to compile.) */
static Shift some_shift(int64_t n) {
    return (Shift){.rows = n % 8 == 0 ? 3 : n % 6 == 1 ? 35 : 32, .n = n, .shift = n / 3};
}

static void check_lengths(FraxDType dtype, const int64_t *lengths, int count) {
    Shift shifts[LENGTHS_IN_GRAPH];
    int graphs = 0;
    for (int first = 0; first < count; first += LENGTHS_IN_GRAPH) {
        int some = MIN(count - first, LENGTHS_IN_GRAPH);
        if (is_thinned_out(&graphs)) continue;
        for (int i = 0; i < some; i++) shifts[i] = some_shift(lengths[first + i]);
        check_shifts(dtype, FRAX_CPU, shifts, some);
    }
}

static void test_all_lengths(void **state) {
    int64_t lengths[ALL_TO];
    (void)state;
    int some = 0; /* of f64: the code is the same, on vectors half as long */
    for (int i = 0; i < ALL_TO; i++) lengths[i] = i + 1;
    check_lengths(FRAX_F32, lengths, ALL_TO);
    print_message("f32: at most %.2f of the bound\n", worst_error);
    worst_error = 0;
    for (int64_t n = 1; n <= ALL_TO; n += n < 64 ? 1 : 5) lengths[some++] = n;
    check_lengths(FRAX_F64, lengths, some);
    print_message("f64: at most %.2f of the bound\n", worst_error);
}

static void test_long_lengths(void **state) {
    static const int64_t lengths[] = {1000, 1024, 1536, 2048, 2187, 3125, 4096, 5000, 8192, 16384, 32768};
    (void)state;
    check_lengths(FRAX_F32, lengths, COUNT(lengths));
    check_lengths(FRAX_F64, lengths, COUNT(lengths));
}

/* Composite and prime ones alike. */
static void test_random_lengths(void **state) {
    enum { HOW_MANY = 50, LONGEST = 2000 };
    int64_t lengths[HOW_MANY];
    (void)state;
    print_message("seed %llu\n", (unsigned long long)random_state);
    for (int i = 0; i < HOW_MANY; i++) lengths[i] = 1 + (int64_t)(fill_random(&random_state) % LONGEST);
    check_lengths(FRAX_F32, lengths, HOW_MANY / 2);
    check_lengths(FRAX_F64, lengths + HOW_MANY / 2, HOW_MANY / 2);
}

static void test_eager_lengths(void **state) {
    static const Shift shifts[] = {{3, 16, 5}, {2, 31, 7}, {5, 250, 9}, {3, 360, 100}, {2, 1024, 1}};
    (void)state;
    check_shifts(FRAX_F32, FRAX_EAGER, shifts, COUNT(shifts));
    check_shifts(FRAX_F64, FRAX_EAGER, shifts, COUNT(shifts));
}

/* ---- Rows apart ---- */

/* x[rows, n] through a filter of random K along the last axis, or, with lines, as images [rows, lines, n]. */
typedef struct Batch {
    FraxDType dtype;
    int64_t rows, lines, n, zeros; /* zeros: behind each row, of which nothing is seen */
} Batch;

static Graph *batch_graph(const Batch *b, int64_t rows) {
    Graph *g = graph_create("rows", "test_pairs.c");
    assert_non_null(g);
    int64_t none[MAX_RANK] = {0}, after[MAX_RANK] = {0, b->zeros}, length = b->n + b->zeros;
    Type type = matrix(b->dtype, rows, b->n), k = matrix(b->dtype, 1, length / 2 + 1);
    if (b->lines > 1) {
        type.shape = (Shape){.rank = 3, .dims = {rows, b->lines, b->n}};
        k.shape = (Shape){.rank = 3, .dims = {1, b->lines, length / 2 + 1}};
    }
    Value x = g_input(g, "x", type), re = g_input(g, "re", k), im = g_input(g, "im", k);
    Value signal = b->zeros ? g_pad(g, x, none, after, NULL) : x;
    Value y = g_spectral(g, signal, re, im, b->lines > 1 ? 6 : 2);
    if (b->zeros) y = g_slice(g, y, none, type.shape.dims, NULL);
    graph_output(g, "y", y);
    return g;
}

enum { SIZES = 9 };

/* What rows are multiplied by; the signs of 0, infinity and NaN are kept for the last ones. */
static const double sizes[SIZES] = {1, 1e6, 1e-6, 1, 0, 1e-12, INFINITY, 1, NAN};

static void fill_batch(const Batch *b, const Graph *g, void **in) {
    int64_t row = b->lines * b->n, bins = shape_size(&graph_type(g, g->inputs[1])->shape);
    for (int64_t r = 0; r < b->rows; r++)
        for (int64_t i = 0; i < row; i++) {
            double size = sizes[r % SIZES], value = random_value();
            bool special = !isfinite(size) && i == row / 2;
            put(b->dtype, in[0], r * row + i, special ? size : isfinite(size) ? size * value : value);
        }
    for (int64_t k = 0; k < bins; k++) {
        put(b->dtype, in[1], k, random_value());
        put(b->dtype, in[2], k, random_value());
    }
}

/* A row in company is what it is alone, to rounding. */
static void expect_as_alone(const Batch *b, int64_t row, const void *together, const void *alone) {
    int64_t count = b->lines * b->n;
    double error = 0, norm = 0;
    bool finite = isfinite(sizes[row % SIZES]);
    for (int64_t i = 0; i < count; i++) {
        double y = element_get(together, b->dtype, row * count + i), e = element_get(alone, b->dtype, i);
        if (finite != (bool)isfinite(y))
            fail_msg("row %lld of %lld samples, element %lld is %g", (long long)row, (long long)count,
                     (long long)i, y);
        if (finite) error += (y - e) * (y - e), norm += e * e;
    }
    if (!(sqrt(error) <= 3 * bound_of(b->dtype, count) * sqrt(norm)))
        fail_msg("row %lld of %lld samples: error %g", (long long)row, (long long)count, sqrt(error / norm));
}

static void check_batch(const Batch *b) {
    Graph *g = batch_graph(b, b->rows), *one = batch_graph(b, 1);
    size_t bytes = (size_t)(b->lines * b->n) * frax_dtype_size(b->dtype);
    void **in = make_inputs(g, (Fill){.seed = 1, .lo = -1, .hi = 1}), **out = make_outputs(g),
         **alone = make_outputs(one);
    fill_batch(b, g, in);
    run_on(g, FRAX_CPU, 1, in, out, "rows together");
    Executable *exe = make_executable(one, FRAX_CPU, 1, "a row alone");
    for (int64_t r = 0; r < b->rows; r++) {
        void *inputs[] = {(char *)in[0] + (size_t)r * bytes, in[1], in[2]};
        run_poisoned(one, exe, inputs, alone, "a row alone");
        expect_as_alone(b, r, out[0], alone[0]);
    }
    executable_destroy(exe);
    free_tensors(in, g->ninputs);
    free_tensors(out, g->noutputs);
    free_tensors(alone, one->noutputs);
    graph_destroy(g);
    graph_destroy(one);
}

static void test_rows_apart(void **state) {
    static const Batch batches[] = {
        {FRAX_F32, 19, 1, 64, 0},    {FRAX_F64, 19, 1, 96, 0}, {FRAX_F32, 41, 1, 45, 0},
        {FRAX_F64, 23, 1, 21, 0},    {FRAX_F32, 10, 1, 13, 0}, {FRAX_F32, 19, 1, 31, 0},
        {FRAX_F32, 10, 1, 100, 156}, {FRAX_F64, 9, 1, 33, 31}, {FRAX_F32, 11, 1, 257, 255},
        {FRAX_F32, 10, 6, 32, 0},    {FRAX_F64, 9, 5, 16, 0},  {FRAX_F32, 19, 1, 1024, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(batches); i++) check_batch(&batches[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_lengths),    cmocka_unit_test(test_long_lengths),
        cmocka_unit_test(test_random_lengths), cmocka_unit_test(test_eager_lengths),
        cmocka_unit_test(test_rows_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
