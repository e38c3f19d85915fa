/* derivatives.h — tests of differentiation: a function of some f64 inputs, given as a builder of nodes, has
 * its derivatives of first and second order compared with differences of its reference values.
 *
 * One graph holds everything: y(x), its tangent J·v, the gradients Jᵀ·ct, the scalar s = Σ⟨gradᵢ, uᵢ⟩ and the
 * derivative of s along v in both modes. It is evaluated at x and at four points along v.
 */
#ifndef FRAX_TEST_DERIVATIVES_H
#define FRAX_TEST_DERIVATIVES_H

#include "passes.h"
#include <math.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_INPUTS = 4, MOST_TENSORS = 3 * MOST_INPUTS + 1 };

/* splitmix64 */
static inline uint64_t next_random(uint64_t *state) {
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static inline double next_uniform(uint64_t *state, double lo, double hi) {
    return lo + (hi - lo) * (double)(next_random(state) >> 11) * 0x1p-53;
}

/* Runs g on f64 inputs in the order of the signature; each f64 output is a new array, freed by the caller. */
static inline void evaluate(const Graph *g, double *const *inputs, double **outputs) {
    FraxTensor *in = calloc(g->ninputs + 1, sizeof *in), *out = calloc(g->noutputs + 1, sizeof *out);
    FraxError err;
    assert_true(in && out);
    for (size_t i = 0; i < g->ninputs; i++) {
        const Type *type = graph_type(g, g->inputs[i]);
        in[i] = (FraxTensor){.dtype = type->dtype, .rank = type->shape.rank, .data = inputs[i]};
        memcpy(in[i].dims, type->shape.dims, sizeof in[i].dims);
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        assert_int_equal(type->dtype, FRAX_F64);
        outputs[i] = calloc((size_t)shape_size(&type->shape) + 1, sizeof(double));
        assert_non_null(outputs[i]);
        out[i] = (FraxTensor){.dtype = FRAX_F64, .rank = type->shape.rank, .data = outputs[i]};
        memcpy(out[i].dims, type->shape.dims, sizeof out[i].dims);
    }
    if (reference_run(g, in, out, &err)) fail_msg("%s", err.message);
    free(in);
    free(out);
}

typedef struct Function {
    const char *name;
    int n;
    Shape shapes[MOST_INPUTS]; /* of the inputs, all f64 */
    double lo, hi;             /* where the inputs are drawn from; they stay clear of kinks by themselves */
    Value (*build)(Graph *g, const Value *x, const void *context);
    const void *context;
    bool kinks; /* differences across them mean nothing and are left out */
} Function;

enum { Y, TANGENT, LEFT, RIGHT, SLOPE, CURVE_REVERSE, CURVE_FORWARD, RESULTS };

static inline Value add_or_first(Graph *g, Value sum, Value term) {
    return sum == NO_VALUE ? term : g_add(g, sum, term);
}

/* Σ aᵢbᵢ over all elements, as a scalar. */
static inline Value dot(Graph *g, Value a, Value b) {
    if (g->failed) return NO_VALUE;
    uint32_t all = (1u << graph_type(g, a)->shape.rank) - 1;
    return g_reshape(g, g_reduce(g, OP_sum, g_mul(g, a, b), all), SCALAR);
}

static inline Value dots(Graph *g, const Value *a, const Value *b, int n) {
    Value sum = NO_VALUE;
    for (int i = 0; i < n; i++) sum = add_or_first(g, sum, dot(g, a[i], b[i]));
    return sum;
}

static inline void inputs_like(Graph *g, const char *name, const Value *x, int n, Value *out) {
    char text[32];
    for (int i = 0; i < n; i++) {
        snprintf(text, sizeof text, "%s%d", name, i);
        out[i] = g_input(g, text, *graph_type(g, x[i]));
    }
}

/* Appends to g, whose first n inputs are x and whose output 0 is y(x), the inputs v…, u…, ct and all results.
 */
static inline void append_derivatives(Graph *g, int n, const char *name) {
    Value x[MOST_INPUTS], v[MOST_INPUTS], u[MOST_INPUTS], grads[MOST_INPUTS], second[MOST_INPUTS], ct,
        out[RESULTS] = {g->outputs[0].value};
    FraxError err;
    memcpy(x, g->inputs, (size_t)n * sizeof *x);
    inputs_like(g, "v", x, n, v);
    inputs_like(g, "u", x, n, u);
    inputs_like(g, "ct", &out[Y], 1, &ct);
    if (jvp(g, &out[Y], 1, x, v, (size_t)n, &out[TANGENT], &err)) fail_msg("%s: %s", name, err.message);
    if (out[TANGENT] == NO_VALUE) out[TANGENT] = g_like(g, out[Y], 0);
    if (gradient(g, out[Y], ct, x, (size_t)n, grads, &err)) fail_msg("%s: %s", name, err.message);
    out[LEFT] = dot(g, ct, out[TANGENT]);
    out[RIGHT] = dots(g, grads, v, n);
    out[SLOPE] = dots(g, grads, u, n);
    if (gradient(g, out[SLOPE], NO_VALUE, x, (size_t)n, second, &err)) fail_msg("%s: %s", name, err.message);
    out[CURVE_REVERSE] = dots(g, second, v, n);
    if (jvp(g, &out[SLOPE], 1, x, v, (size_t)n, &out[CURVE_FORWARD], &err))
        fail_msg("%s: %s", name, err.message);
    if (out[CURVE_FORWARD] == NO_VALUE) out[CURVE_FORWARD] = g_like(g, out[SLOPE], 0);
    for (int i = TANGENT; i < RESULTS; i++) graph_output(g, (char[]){(char)('a' + i), 0}, out[i]);
    if (graph_status(g, &err)) fail_msg("%s: %s", name, err.message);
}

/* The graph with all results of f as outputs; inputs x…, v…, u…, ct. */
static inline Graph *derivative_graph(const Function *f) {
    Graph *g = graph_create(f->name, "test");
    Value x[MOST_INPUTS];
    FraxError err;
    assert_non_null(g);
    for (int i = 0; i < f->n; i++) {
        char name[32];
        snprintf(name, sizeof name, "x%d", i);
        x[i] = g_input(g, name, (Type){FRAX_F64, f->shapes[i]});
    }
    graph_output(g, "a", f->build(g, x, f->context));
    if (graph_status(g, &err)) fail_msg("%s: %s", f->name, err.message);
    append_derivatives(g, f->n, f->name);
    return g;
}

static inline int64_t input_size(const Graph *g, int i) {
    return shape_size(&graph_type(g, g->inputs[i])->shape);
}

static inline void expect_close(const char *name, const char *what, const double *got, const double *expected,
                                int64_t n, double tolerance) {
    double scale = 1;
    for (int64_t i = 0; i < n; i++) scale = fmax(scale, fabs(expected[i]));
    for (int64_t i = 0; i < n; i++)
        if (!(fabs(got[i] - expected[i]) <= tolerance * scale))
            fail_msg("%s, %s: element %lld is %.17g, expected %.17g", name, what, (long long)i, got[i],
                     expected[i]);
}

/* Draws x in the function's range and everything else in [−1, 1]. */
static inline void draw_inputs(const Graph *g, const Function *f, uint64_t *seed, double **in) {
    for (int i = 0; i < (int)g->ninputs; i++) {
        int64_t n = input_size(g, i);
        in[i] = calloc((size_t)n + 1, sizeof(double));
        assert_non_null(in[i]);
        for (int64_t k = 0; k < n; k++)
            in[i][k] = i < f->n ? next_uniform(seed, f->lo, f->hi) : next_uniform(seed, -1, 1);
    }
}

/* Moves x by `step`·v and adds weight·(outputs Y and SLOPE there) to the differences. */
static inline void add_difference(const Graph *g, const Function *f, double *const *in, double step,
                                  double weight, double *dy, double *ds) {
    double *moved[MOST_TENSORS], *out[RESULTS];
    for (int i = 0; i < (int)g->ninputs; i++) {
        moved[i] = in[i];
        if (i >= f->n) continue;
        moved[i] = calloc((size_t)input_size(g, i) + 1, sizeof(double));
        assert_non_null(moved[i]);
        for (int64_t k = 0; k < input_size(g, i); k++) moved[i][k] = in[i][k] + step * in[f->n + i][k];
    }
    evaluate(g, moved, out);
    int64_t ny = shape_size(&graph_type(g, g->outputs[Y].value)->shape);
    for (int64_t k = 0; k < ny; k++) dy[k] += weight * out[Y][k];
    *ds += weight * out[SLOPE][0];
    for (int i = 0; i < f->n; i++) free(moved[i]);
    for (int i = 0; i < RESULTS; i++) free(out[i]);
}

/* Compares all derivatives in g at one random point; relative tolerance 1e-6 against differences (their
   error, h⁴ + ε/h, is far below) and 1e-12 between the modes (rounding). */
static inline void compare_derivatives(const Graph *g, const Function *f, uint64_t seed) {
    const double h = 1e-3, steps[] = {-2, -1, 1, 2}, weights[] = {1, -8, 8, -1};
    double *in[MOST_TENSORS], *out[RESULTS], ds = 0;
    int64_t ny = shape_size(&graph_type(g, g->outputs[Y].value)->shape);
    double *dy = calloc((size_t)ny + 1, sizeof *dy);
    assert_non_null(dy);
    draw_inputs(g, f, &seed, in);
    evaluate(g, in, out);
    for (int i = 0; i < 4; i++) add_difference(g, f, in, steps[i] * h, weights[i] / (12 * h), dy, &ds);
    if (!f->kinks) {
        expect_close(f->name, "J·v against differences", out[TANGENT], dy, ny, 1e-6);
        expect_close(f->name, "second order against differences", out[CURVE_REVERSE], &ds, 1, 1e-6);
    }
    expect_close(f->name, "⟨Jᵀct, v⟩ against ⟨ct, Jv⟩", out[RIGHT], out[LEFT], 1, 1e-12);
    expect_close(f->name, "second order, forward against reverse", out[CURVE_FORWARD], out[CURVE_REVERSE], 1,
                 1e-12);
    for (size_t i = 0; i < g->ninputs; i++) free(in[i]);
    for (int i = 0; i < RESULTS; i++) free(out[i]);
    free(dy);
}

static inline void check_derivatives(const Function *f, uint64_t seed) {
    Graph *g = derivative_graph(f);
    compare_derivatives(g, f, seed);
    graph_destroy(g);
}

#endif
