/* test_stream_random.c — random graphs chunk by chunk, by the reference evaluator, against the whole.
 *
 * Each value of a random graph is the output of a graph of its own, streamed along an axis of the first input
 * (and of the second, of the same shape). Many cannot be streamed, and must say so; the others agree.
 */
#include "random_graphs.h"
#include "stream.h"

enum { GRAPHS = 150, DRAWN = 14, LENGTH = 7, MOST_ARRAYS = 64 };

/* ---- Arrays of f64 ---- */

typedef struct Blocks {
    int64_t outer, n, inner;
} Blocks;

static Blocks blocks_of(const Shape *shape, int axis) {
    Blocks b = {1, shape->dims[axis], 1};
    for (int i = 0; i < axis; i++) b.outer *= shape->dims[i];
    for (int i = axis + 1; i < shape->rank; i++) b.inner *= shape->dims[i];
    return b;
}

/* Steps of `from` starting at `first` become steps of `to` starting at `start`, as far as both have them;
   where `from` has none, `to` keeps what it holds. */
static void copy_steps(const double *from, Blocks f, int64_t first, double *to, Blocks t, int64_t start) {
    for (int64_t o = 0; o < f.outer; o++)
        for (int64_t k = 0; first + k < f.n && start + k < t.n; k++)
            for (int64_t i = 0; i < f.inner; i++)
                to[(o * t.n + start + k) * t.inner + i] = from[(o * f.n + first + k) * f.inner + i];
}

static double *new_values(const Graph *g, Value v) {
    double *values = calloc((size_t)shape_size(&graph_type(g, v)->shape) + 1, sizeof *values);
    assert_non_null(values);
    return values;
}

/* ---- One graph ---- */

typedef struct Trial {
    const Graph *whole, *chunk;
    StreamSpec spec;
    StreamPlace place;
    size_t nstates;
    double *const *in;
    const char *name;
} Trial;

/* What the run at `start` gave of the output. */
static void keep_result(const Trial *t, const double *values, int64_t start, double *result) {
    const Shape *whole = &graph_type(t->whole, t->whole->outputs[0].value)->shape;
    const Shape *part = &graph_type(t->chunk, t->chunk->outputs[0].value)->shape;
    int axis = t->place.axis;
    if (axis == NOT_STREAMED) {
        memcpy(result, values, (size_t)shape_size(whole) * sizeof *result);
        return;
    }
    int64_t lead = MAX(t->place.skip - start, 0); /* elements that are not part of the output */
    copy_steps(values, blocks_of(part, axis), lead, result, blocks_of(whole, axis),
               start + lead - t->place.skip);
}

/* Runs all chunks; the result in `result`. States are the last inputs and the last outputs. */
static void run_chunks(const Trial *t, double *result) {
    const Graph *g = t->chunk;
    double *in[MOST_ARRAYS], *out[MOST_ARRAYS];
    size_t own = g->ninputs - t->nstates;
    assert_true(g->ninputs <= MOST_ARRAYS && g->noutputs <= MOST_ARRAYS);
    for (size_t i = 0; i < g->ninputs; i++) in[i] = new_values(g, g->inputs[i]);
    for (int64_t start = 0; start < t->spec.length; start += t->spec.chunk) {
        for (size_t i = 0; i < own; i++) {
            const Shape *shape = &graph_type(t->whole, t->whole->inputs[i])->shape;
            int axis = t->spec.axes[i] == NOT_STREAMED ? 0 : t->spec.axes[i];
            int64_t first = t->spec.axes[i] == NOT_STREAMED ? 0 : start;
            copy_steps(t->in[i], blocks_of(shape, axis), first, in[i],
                       blocks_of(&graph_type(g, g->inputs[i])->shape, axis), 0);
        }
        evaluate(g, in, out);
        keep_result(t, out[0], start, result);
        for (size_t i = 0; i < t->nstates; i++)
            memcpy(in[own + i], out[1 + i],
                   (size_t)shape_size(&graph_type(g, g->outputs[1 + i].value)->shape) * sizeof(double));
        for (size_t i = 0; i < g->noutputs; i++) free(out[i]);
    }
    for (size_t i = 0; i < g->ninputs; i++) free(in[i]);
}

static void compare(const Trial *t, const double *expected) {
    char what[96];
    double *result = new_values(t->whole, t->whole->outputs[0].value);
    run_chunks(t, result);
    snprintf(what, sizeof what, "chunk %lld of %lld", (long long)t->spec.chunk, (long long)t->spec.length);
    expect_close(t->name, what, result, expected,
                 shape_size(&graph_type(t->whole, t->whole->outputs[0].value)->shape), 1e-10);
    free(result);
}

static bool only_f64(const Graph *g) {
    for (size_t i = 0; i < g->noutputs; i++)
        if (graph_type(g, g->outputs[i].value)->dtype != FRAX_F64) return false;
    return true;
}

/* Streams a graph of one output in several chunks; returns whether that is possible. */
static bool stream_one(const Graph *g, const int *axes, int64_t length, uint64_t seed, const char *name) {
    double *in[MOST_ARRAYS], *expected[1];
    bool streams = false;
    for (size_t i = 0; i < g->ninputs; i++) {
        in[i] = new_values(g, g->inputs[i]);
        for (int64_t k = 0; k < shape_size(&graph_type(g, g->inputs[i])->shape); k++)
            in[i][k] = next_uniform(&seed, -1, 1);
    }
    evaluate(g, in, expected);
    for (int64_t chunk = 1; chunk <= length + 1; chunk++) {
        Trial t = {.whole = g, .spec = {"T", length, chunk, axes}, .in = in, .name = name};
        FraxError err;
        Graph *made = stream_graph(g, &t.spec, &t.place, &t.nstates, &err);
        if (!made && err.status != FRAX_SHAPE) fail_msg("%s: %s", name, err.message);
        if (made && graph_verify(made, &err)) fail_msg("%s: %s", name, err.message);
        t.chunk = made;
        streams = made != NULL;
        if (made && only_f64(made)) compare(&t, expected[0]);
        graph_destroy(made);
    }
    for (size_t i = 0; i < g->ninputs; i++) free(in[i]);
    free(expected[0]);
    return streams;
}

/* ---- Random graphs ---- */

/* The axis that is streamed, if the value still has it: the longest. */
static int long_axis(const Shape *shape) {
    int longest = 0;
    for (int i = 1; i < shape->rank; i++)
        if (shape->dims[i] > shape->dims[longest]) longest = i;
    return longest;
}

/* Without the first samples, or the last. */
static Value trimmed(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK];
    int axis = long_axis(&shape);
    memcpy(hi, shape.dims, sizeof hi);
    if (shape.dims[axis] < 4) return x;
    lo[axis] = below(r, 3);
    hi[axis] -= below(r, 2);
    return g_slice(r->g, x, lo, hi, NULL);
}

static Value shifted(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0}, from[MAX_RANK] = {0};
    lo[long_axis(&shape)] = 1 + below(r, 2);
    return g_slice(r->g, g_pad(r->g, x, lo, hi, NULL), from, shape.dims, NULL);
}

/* A first value, then x without its first sample or the last: as long as x. */
static Value edged(Growth *r, Value x) {
    Shape shape = shape_of(r, x), one = shape;
    int axis = long_axis(&shape);
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK], first[MAX_RANK] = {0};
    one.dims[axis] = 1;
    memcpy(hi, shape.dims, sizeof hi);
    if (shape.dims[axis] < 3) return x;
    hi[axis] -= 1;
    Value start =
        below(r, 2) ? g_slice(r->g, x, first, one.dims, NULL) : g_constant(r->g, (Type){FRAX_F64, one}, 0.5);
    return g_concat(r->g, (Value[]){start, g_slice(r->g, x, lo, hi, NULL)}, 2, axis);
}

static Value filtered(Growth *r, Value x) {
    Shape shape = shape_of(r, x), taps = shape;
    int axis = long_axis(&shape);
    for (int i = 0; i < shape.rank; i++) taps.dims[i] = i == axis ? MIN(shape.dims[axis], 2) : 1;
    Value w = g_shift(r->g, g_iota(r->g, (Type){FRAX_F64, taps}, axis), 0.5);
    return g_causal_conv(r->g, w, x, axis, ENGINE_AUTO);
}

static Value with_rates(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    Exponential how = {.axis = long_axis(&shape), .n = below(r, 3), .lag = below(r, 3)};
    Type modes = {FRAX_F64, shape};
    for (int i = 0; i < shape.rank; i++) modes.shape.dims[i] = i == how.axis ? 3 : 1;
    Value places = g_iota(r->g, modes, how.axis);
    return g_exponential_conv(r->g, x, g_unary(r->g, OP_cos, places),
                              g_shift(r->g, g_scale(r->g, places, 0.3), 0.2), how);
}

static Value counted(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    return g_add(r->g, x, g_iota(r->g, (Type){FRAX_F64, shape}, long_axis(&shape)));
}

static Value padded_end(Growth *r, Value x) {
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0};
    Shape shape = shape_of(r, x);
    hi[long_axis(&shape)] = 1;
    return g_pad(r->g, x, lo, hi, NULL);
}

static Value summed(Growth *r, Value x) {
    Shape shape = shape_of(r, x);
    return g_reduce(r->g, OP_sum, x, 1u << long_axis(&shape));
}

/* What streams are for, two in a row. */
static Value make_streaming(Growth *r) {
    static Value (*const steps[])(Growth *, Value) = {trimmed,    trimmed, shifted,    edged, filtered,
                                                      with_rates, counted, padded_end, summed};
    Value x = steps[below(r, COUNT(steps))](r, pick(r));
    return steps[below(r, COUNT(steps))](r, x);
}

static void check_graph(uint64_t seed, long *streamed) {
    char name[64];
    Plan plan = {.seed = seed, .kinks = seed % 2};
    Function f = random_function(&plan, name);
    Graph *g = graph_create("random", "test");
    assert_non_null(g);
    Growth r = {.g = g, .seed = seed, .kinks = plan.kinks};
    int axis = below(&r, f.shapes[0].rank);
    for (int i = 0; i < f.shapes[0].rank; i++)
        f.shapes[0].dims[i] = i == axis ? LENGTH : MIN(f.shapes[0].dims[i], 3);
    f.shapes[1] = f.shapes[0];
    for (int i = 0; i < 3; i++) {
        char input[8];
        snprintf(input, sizeof input, "x%d", i);
        r.pool[r.n++] = g_input(g, input, (Type){FRAX_F64, f.shapes[i]});
    }
    while (r.n < DRAWN) {
        Value v = below(&r, 2) ? makers[below(&r, COUNT(makers))](&r) : make_streaming(&r);
        if (g->failed) fail_msg("%s: %s", name, g->error.message);
        if (v == NO_VALUE) continue;
        Shape shape = shape_of(&r, v);
        if (shape_size(&shape) > MOST_ELEMENTS || !shape.rank) continue;
        r.pool[r.n++] = v;
        g->noutputs = 0; /* a graph for this value alone */
        graph_output(g, "y", v);
        *streamed += stream_one(g, (int[]){axis, axis, NOT_STREAMED}, LENGTH, seed, name);
    }
    graph_destroy(g);
}

static void test_random_graphs(void **state) {
    (void)state;
    uint64_t base = (uint64_t)setting("FRAX_SEED", 1);
    long graphs = setting("FRAX_GRAPHS", getenv("FRAX_SEED") ? 1 : GRAPHS), streamed = 0;
    for (long i = 0; i < graphs; i++) check_graph(base + (uint64_t)i, &streamed);
    if (graphs == GRAPHS) assert_in_range(streamed, GRAPHS, GRAPHS * DRAWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_graphs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
