/* test_stream.c — a model run chunk by chunk gives what it gives on the whole signal.
 *
 * Each model is compiled whole and for chunks of several lengths; the chunks' outputs, put together as
 * frax_executable_stream says, must agree with the whole ones, on every target. Models that cannot be
 * streamed are golden cases in tests/golden/stream.
 */
#include "golden.h"
#include "half.h"
#include "frax.h"
#include <math.h>

enum { MOST = 32 };

typedef struct Case {
    const char *text, *size;
    int64_t length;
    FraxSize others[2];
    size_t states; /* expected */
    FraxMode mode;
} Case;

/* ---- Arrays ---- */

static int64_t count_of(const FraxTensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dims[i];
    return n;
}

static size_t bytes_of(const FraxTensor *t) {
    return (size_t)count_of(t) * frax_dtype_size(t->dtype);
}

static void *new_array(const FraxTensor *t) {
    void *data = calloc(bytes_of(t) + 1, 1);
    assert_non_null(data);
    return data;
}

static void fill(const FraxTensor *t, void *data, unsigned seed) {
    for (int64_t i = 0; i < count_of(t); i++) {
        seed = seed * 1664525 + 1013904223;
        double v = (double)(seed >> 8) / (1 << 24) + 0.1;
        element_set(data, t->dtype, i,
                    t->dtype == FRAX_BOOL  ? v > 0.6
                    : t->dtype == FRAX_I32 ? floor(9 * v)
                                           : v);
    }
}

typedef struct Block {
    int64_t outer, inner; /* elements before and within one step of the streamed axis */
} Block;

static Block block_of(const FraxTensor *t, int axis) {
    Block b = {1, (int64_t)frax_dtype_size(t->dtype)};
    for (int i = 0; i < axis; i++) b.outer *= t->dims[i];
    for (int i = axis + 1; i < t->rank; i++) b.inner *= t->dims[i];
    return b;
}

/* Samples start … start + chunk − 1 of the whole; the last one again where it has no more. */
static void cut(const char *whole, const FraxTensor *t, FraxStream s, int64_t start, char *chunk) {
    Block b = block_of(t, s.axis);
    int64_t n = t->dims[s.axis];
    for (int64_t o = 0; o < b.outer; o++)
        for (int64_t k = 0; k < n; k++) {
            int64_t from = start + k < s.length ? start + k : s.length - 1;
            memcpy(chunk + (o * n + k) * b.inner, whole + (o * s.length + from) * b.inner, (size_t)b.inner);
        }
}

static void paste(const char *chunk, const FraxTensor *t, FraxStream s, int64_t start, char *whole) {
    Block b = block_of(t, s.axis);
    int64_t n = t->dims[s.axis];
    for (int64_t o = 0; o < b.outer; o++)
        for (int64_t k = 0; k < n; k++) {
            int64_t to = start + k - s.skip;
            if (to < 0 || to >= s.length) continue;
            memcpy(whole + (o * s.length + to) * b.inner, chunk + (o * n + k) * b.inner, (size_t)b.inner);
        }
}

/* ---- Runs ---- */

typedef struct Data {
    void *inputs[MOST], *params[MOST], *outputs[MOST];
} Data;

static FraxExecutable *compile(const FraxModel *model, const Case *c, FraxTarget target, int64_t chunk) {
    FraxOptions options = frax_default_options();
    FraxSize sizes[3] = {{c->size, c->length}, c->others[0], c->others[1]};
    FraxExecutable *exe;
    FraxError err;
    options.target = target;
    options.mode = c->mode;
    options.sizes = sizes;
    options.nsizes = (size_t)(1 + (c->others[0].name != NULL) + (c->others[1].name != NULL));
    options.stream = chunk ? c->size : NULL;
    options.chunk = chunk;
    if (frax_compile(model, &options, &exe, &err)) fail_msg("%s\n%s", err.message, c->text);
    return exe;
}

static void run(const FraxExecutable *exe, const Data *d) {
    FraxError err;
    if (frax_run(exe, (const void *const *)d->inputs, (const void *const *)d->params, d->outputs, &err))
        fail_msg("%s", err.message);
}

static void free_data(Data *d) {
    for (int i = 0; i < MOST; i++) {
        free(d->inputs[i]);
        free(d->params[i]);
        free(d->outputs[i]);
    }
}

static Data run_whole(const FraxExecutable *exe) {
    Data d = {{0}};
    void **buffers[] = {d.inputs, d.params, d.outputs};
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++)
        for (size_t i = 0; i < frax_executable_count(exe, role); i++) {
            FraxTensor t = frax_executable_type(exe, role, i);
            assert_true(i < MOST);
            buffers[role][i] = new_array(&t);
            if (role == FRAX_INPUT) fill(&t, d.inputs[i], (unsigned)i + 7);
            if (role == FRAX_PARAM && frax_initial_param(exe, i, 3, d.params[i], NULL))
                fill(&t, d.params[i], (unsigned)i + 70); /* a tangent */
        }
    run(exe, &d);
    return d;
}

/* Buffers of a streamed run: whole inputs and params as in `whole`, states in `states`, each written over
   itself if `in_place`. */
static Data chunk_data(const FraxExecutable *exe, const Data *whole, void **states, bool in_place) {
    Data d = {{0}};
    size_t np = frax_executable_count(exe, FRAX_PARAM), ny = frax_executable_count(exe, FRAX_OUTPUT),
           k = frax_executable_states(exe);
    for (size_t i = 0; i < frax_executable_count(exe, FRAX_INPUT); i++) {
        FraxTensor t = frax_executable_type(exe, FRAX_INPUT, i);
        d.inputs[i] = frax_executable_stream(exe, FRAX_INPUT, i).axis < 0 ? whole->inputs[i] : new_array(&t);
    }
    for (size_t i = 0; i < np; i++) d.params[i] = i < np - k ? whole->params[i] : states[i - (np - k)];
    for (size_t i = 0; i < ny; i++) {
        FraxTensor t = frax_executable_type(exe, FRAX_OUTPUT, i);
        d.outputs[i] = i < ny - k || !in_place ? new_array(&t) : states[i - (ny - k)];
    }
    return d;
}

static void free_chunk_data(const FraxExecutable *exe, Data *d, bool in_place) {
    size_t ny = frax_executable_count(exe, FRAX_OUTPUT), k = frax_executable_states(exe);
    for (size_t i = 0; i < frax_executable_count(exe, FRAX_INPUT); i++)
        if (frax_executable_stream(exe, FRAX_INPUT, i).axis >= 0) free(d->inputs[i]);
    for (size_t i = 0; i < ny; i++)
        if (i < ny - k || !in_place) free(d->outputs[i]);
}

/* One run at sample `start`; returns how many samples it took. */
static int64_t run_chunk(const FraxExecutable *exe, const Data *whole, int64_t start, void **states,
                         bool in_place, char **results) {
    Data d = chunk_data(exe, whole, states, in_place);
    size_t ny = frax_executable_count(exe, FRAX_OUTPUT), k = frax_executable_states(exe);
    int64_t taken = 0;
    for (size_t i = 0; i < frax_executable_count(exe, FRAX_INPUT); i++) {
        FraxStream s = frax_executable_stream(exe, FRAX_INPUT, i);
        FraxTensor t = frax_executable_type(exe, FRAX_INPUT, i);
        if (s.axis < 0) continue;
        cut(whole->inputs[i], &t, s, start, d.inputs[i]);
        taken = t.dims[s.axis];
    }
    run(exe, &d);
    for (size_t i = 0; i < ny; i++) {
        FraxStream s = frax_executable_stream(exe, FRAX_OUTPUT, i);
        FraxTensor t = frax_executable_type(exe, FRAX_OUTPUT, i);
        if (i >= ny - k && !in_place)
            memcpy(states[i - (ny - k)], d.outputs[i], bytes_of(&t));
        else if (i < ny - k && s.axis < 0)
            memcpy(results[i], d.outputs[i], bytes_of(&t));
        else if (i < ny - k)
            paste(d.outputs[i], &t, s, start, results[i]);
    }
    free_chunk_data(exe, &d, in_place);
    return taken;
}

static void expect_equal(const FraxExecutable *whole, const Data *expected, char **got, const Case *c,
                         int64_t chunk) {
    for (size_t i = 0; i < frax_executable_count(whole, FRAX_OUTPUT); i++) {
        FraxTensor t = frax_executable_type(whole, FRAX_OUTPUT, i);
        double scale = 1, tolerance = t.dtype == FRAX_F32 ? 1e-6 : 1e-12;
        for (int64_t k = 0; k < count_of(&t); k++)
            scale = fmax(scale, fabs(element_get(expected->outputs[i], t.dtype, k)));
        for (int64_t k = 0; k < count_of(&t); k++) {
            double a = element_get(expected->outputs[i], t.dtype, k), b = element_get(got[i], t.dtype, k);
            if (!(fabs(a - b) <= tolerance * scale))
                fail_msg("%s\noutput %s, element %lld, chunk %lld: %.17g whole, %.17g streamed", c->text,
                         frax_executable_name(whole, FRAX_OUTPUT, i), (long long)k, (long long)chunk, a, b);
        }
    }
}

/* Streams with the executables in turn, all sharing the states. */
static void stream_with(FraxExecutable *const *exes, int nexes, const FraxExecutable *whole, const Data *data,
                        const Case *c, bool in_place) {
    void *states[MOST];
    char *results[MOST];
    size_t k = frax_executable_states(exes[0]), np = frax_executable_count(exes[0], FRAX_PARAM),
           ny = frax_executable_count(whole, FRAX_OUTPUT);
    assert_int_equal(frax_executable_count(exes[0], FRAX_OUTPUT), ny + k);
    for (size_t i = 0; i < k; i++) {
        FraxTensor t = frax_executable_type(exes[0], FRAX_PARAM, np - k + i);
        states[i] = new_array(&t);
        memset(states[i], 0x55, bytes_of(&t));
        assert_int_equal(frax_initial_param(exes[0], np - k + i, 0, states[i], NULL), FRAX_OK);
        assert_string_equal(frax_executable_name(exes[0], FRAX_PARAM, np - k + i),
                            frax_executable_name(exes[0], FRAX_OUTPUT, ny + i));
    }
    for (size_t i = 0; i < ny; i++) {
        FraxTensor t = frax_executable_type(whole, FRAX_OUTPUT, i);
        results[i] = new_array(&t);
    }
    int64_t chunk = 0;
    for (int64_t start = 0, i = 0; start < c->length; start += chunk, i++)
        chunk = run_chunk(exes[i % nexes], data, start, states, in_place, results);
    expect_equal(whole, data, results, c, nexes > 1 ? -1 : chunk);
    for (size_t i = 0; i < k; i++) free(states[i]);
    for (size_t i = 0; i < ny; i++) free(results[i]);
}

static void check_case(const Case *c, FraxTarget target) {
    FraxModel *model;
    FraxError err;
    if (frax_model_parse(c->text, "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    FraxExecutable *whole = compile(model, c, target, 0), *mixed[2];
    Data data = run_whole(whole);
    const int64_t chunks[] = {1, 7, 64, c->length, c->length + 5};
    for (size_t i = 0; i < COUNT(chunks); i++) {
        FraxExecutable *exe = compile(model, c, target, chunks[i]);
        if (frax_executable_states(exe) != c->states)
            fail_msg("%s\n%zu states, expected %zu", c->text, frax_executable_states(exe), c->states);
        stream_with(&exe, 1, whole, &data, c, i % 2);
        stream_with(&exe, 1, whole, &data, c, !(i % 2));
        frax_executable_destroy(exe);
    }
    for (int i = 0; i < 2; i++) mixed[i] = compile(model, c, target, i ? 64 : 7);
    stream_with(mixed, 2, whole, &data, c, true);
    for (int i = 0; i < 2; i++) frax_executable_destroy(mixed[i]);
    free_data(&data);
    frax_executable_destroy(whole);
    frax_model_destroy(model);
}

/* ---- Models that stream ---- */

#define M(inputs, body) "model m(" inputs ") {\n" body "\n}\n"

static const Case cases[] = {
    /* no memory at all */
    {M("x: f64[T]", "y = exp(-x) * 2 + x^2\nreturn y"), "T", 150},
    {M("x: f32[B, 5], g: bool[B]", "y = where(g[:, none], softmax(x), 0)\nreturn y"), "B", 23},
    {M("x: f64[B, 16]",
       "param a: f64 = 0.4\ny = frac(x, a, kind=weyl)\nz = frac(x, a, kind=grunwald)\nreturn y, z"),
     "B", 30},
    {M("x: f64[3, T]",
       "param w: f64[3, 4] = glorot\ny = transpose(x) @ w\nz = transpose(w) @ x\nreturn y, z"),
     "T", 40},
    {M("x: f64[T, 2, 3]", "y = reshape(x, [T, 6])[:, 1:4]\nz = transpose(x, (1, 0, 2))\nreturn y, z"), "T",
     20},
    {M("x: f64[T], y: f64[2, T], c: f64[5]", "z = x * y + mean(c)\ns = sum(c)\nreturn z, s"), "T", 33},
    {M("x: f64[T, 4]",
       "y = concat((x, 2 * x), axis=1)\nz = max(x, axis=1) * cast(argmax(x, 1), f64)\nreturn y, z"),
     "T", 19},
    {"model m(x: f64[T]) {\ny = f(x) + f(2)\nreturn y\n}\n"
     "fn f(x) {\nreturn floor(3 * x)\n} derivative(dx) {\nreturn 3 * dx\n}\n",
     "T", 20},
    /* shifts and differences */
    {M("x: f64[T]", "d = x[1:] - x[:-1]\nreturn d"), "T", 150, {{0}}, 1},
    {M("x: f64[T]", "e = x[2:] - 0.5 * x[1:-1] + 0.25 * x[:-2]\ns = x[3:]\nreturn e, s"), "T", 99, {{0}}, 2},
    {M("x: f64[2, T]", "y = pad(x, ((0, 0), (3, 0)))[:, :T]\nreturn y"), "T", 50, {{0}}, 1},
    {M("x: f64[T]", "y = concat((zeros([2]), x[:-2]))\nz = concat((x[:1], x[:-1]))\nreturn y, z"),
     "T",
     50,
     {{0}},
     4},
    {M("x: f64[T]", "y = x[3:] - x[3]\nreturn y"), "T", 50, {{0}}, 2},
    /* time and the size itself */
    {M("x: f64[T]", "y = x * sin(0.1 * cast(iota(T), f64)) / T\nreturn y"), "T", 150, {{0}}, 1},
    {M("x: f32[T, 2]", "y = x + linspace(0, 1, T, f32)[:, none]\nreturn y"), "T", 40, {{0}}, 1},
    {M("x: f64[T]", "y = (x[1:] - x[:-1]) * cast(iota(T - 1), f64)\nreturn y"), "T", 40, {{0}}, 3},
    /* what is no element of a value must not fail its guard */
    {M("x: f64[T]", "y = guard(x[1:] / x[:-1], 0, 100)\nz = guard(x, 0, 2)\nreturn y, z"), "T", 40, {{0}}, 2},
    {M("x: f64[T]", "y = x[3:] / guard(x[3], 0.01, 100)\nreturn y"), "T", 40, {{0}}, 2},
    /* first samples, last ones, results so far */
    {M("x: f64[T]", "y = x - x[0]\nf = x[0]\nl = x[-1]\nreturn y, f, l"), "T", 150, {{0}}, 3},
    {M("x: f64[T, 3]", "m = mean(x, axis=0)\nh = max(x)\nl = min(x, axis=0)\nreturn m, h, l"),
     "T",
     150,
     {{0}},
     4},
    {M("x: i32[T]", "s = sum(x)\nh = max(x)\nreturn s, h"), "T", 30, {{0}}, 3},
    {M("x: f64[T, 3]", "g = transpose(x) @ x / T\nreturn g"), "T", 70, {{0}}, 2},
    {M("x: f64[B, 3], y: f64[B]",
       "param w: f64[3] = normal(1)\nloss = mse(sum(x * w, axis=1), y)\nreturn loss"),
     "B",
     80,
     {{0}},
     2},
};

/* Kernels. */
static const Case kernels[] = {
    {M("x: f64[T], w: f64[5]", "y = causal_conv(w, x)\nreturn y"), "T", 150, {{0}}, 1},
    {M("x: f32[T, 3]", "param w: f32[9] = normal(1)\ny = causal_conv(w, x, axis=0)\nreturn y"),
     "T",
     150,
     {{0}},
     1},
    {M("x: f64[2, T], w: f64[3]", "y = causal_conv(w, causal_conv(w[:2], x[:, 1:]))\nreturn y"),
     "T",
     90,
     {{0}},
     3},
    {M("x: f64[T]",
       "w = concat([zeros([1]), x[:1], ones([1])])\ny = causal_conv(w, x) + causal_conv(w[2:], x)\n"
       "return y"),
     "T",
     90,
     {{0}},
     3},
    {M("x: f64[3, T], w: f64[3, 5]", "y = causal_conv(w, x, engine=fft)\nreturn y"), "T", 200, {{0}}, 1},
};

/* Recurrences: c and r as inputs, from 0.1 to 1.1, made rates below 1. */
static const Case recurrences[] = {
    {M("x: f64[T], c: f64[4], r: f64[4]", "y = exponential_conv(c, 0.9 * r, x)\nreturn y"),
     "T",
     150,
     {{0}},
     1},
    {M("x: f64[T], c: f64[4], r: f64[4]", "y = exponential_conv(c, -0.8 * r, x, lag=3)\nreturn y"),
     "T",
     150,
     {{0}},
     2},
    {M("x: f64[T, 3], c: f64[5], r: f64[5]", "y = exponential_conv(c, 0.9 * r, x, axis=0, lag=1)\nreturn y"),
     "T",
     90,
     {{0}},
     2},
    {M("x: f32[2, T], c: f64[2, 9], r: f64[9]", "y = exponential_conv(c, 0.9 * r, x)\nreturn y"),
     "T",
     90,
     {{0}},
     1},
    {M("x: f64[T], c: f64[3], r: f64[3]",
       "y = exponential_conv(c * x[0], 0.9 * r, x[1:] - x[:-1])\nreturn y"),
     "T",
     70,
     {{0}},
     4},
    {M("x: f64[B, 20], c: f64[3], r: f64[3]", "y = exponential_conv(c, 0.9 * r, x, lag=2)\nreturn y"), "B",
     30},
    {M("x: f64[T]", "param a: f64 = 0.4\ny = frac(x, a, kind=caputo_fabrizio, step=0.1)\nreturn y"),
     "T",
     120,
     {{0}},
     3},
};

/* Derivatives: sums over the streamed axis, complete after the last chunk. */
static const Case derivatives[] = {
    {M("x: f64[B, 3], y: f64[B]", "param w: f64[3] = normal(1)\nparam b: f64 = 0.5\n"
                                  "loss = mse(tanh(x @ w[:, none])[:, 0] + b, y)\nreturn loss"),
     "B",
     80,
     {{0}},
     4,
     FRAX_REVERSE},
    {M("x: f64[T], d: f64[T]",
       "param w: f64[6] = normal(1)\nloss = mean((causal_conv(w, x) - d)^2)\nreturn loss"),
     "T",
     100,
     {{0}},
     5,
     FRAX_REVERSE},
    {M("x: f64[T]", "param a: f64 = 0.4\ny = frac(x, a, kind=caputo_fabrizio, step=0.1) * a\nreturn y"),
     "T",
     90,
     {{0}},
     6,
     FRAX_JVP},
};

/* Fractional operators by sums of exponentials: the bank reaches over the whole signal, whatever the chunk.
 */
static const Case soe[] = {
    {M("x: f64[T]", "param a: f64 = 0.4\ny = frac(x, a, kind=grunwald, engine=soe, step=0.1)\nreturn y"),
     "T",
     500,
     {{0}},
     3},
    {M("x: f64[2, T]",
       "param a: f64[2] = 0.3\ny = frac(x, a[:, none], kind=caputo, scheme=l1, engine=soe)\nreturn y"),
     "T",
     300,
     {{0}},
     5},
    {M("x: f64[T, 2]",
       "param a: f64 = 0.6\ny = frac(x, a, kind=integral, scheme=trapezoid, engine=soe, axis=0)\n"
       "return y"),
     "T",
     200,
     {{0}},
     5},
    {M("x: f64[T]", "param a: f64 = 0.5\ny = frac(x, a, kind=tempered, causal=true, lambda=0.2, engine=soe)\n"
                    "z = frac(x, a, kind=caputo, scheme=gl, engine=soe)\n"
                    "w = frac(x, 0.7, kind=riemann_liouville, scheme=bdf2, engine=soe)\nreturn y, z, w"),
     "T",
     200,
     {{0}},
     12},
    {M("x: f32[T]", "y = frac(x, 0.5, kind=grunwald, engine=soe)\nreturn y"), "T", 20, {{0}}, 1},
};

static void test_soe(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(soe); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) check_case(&soe[i], target);
}

static void test_derivatives(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(derivatives); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++)
            check_case(&derivatives[i], target);
}

static void test_recurrences(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(recurrences); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++)
            check_case(&recurrences[i], target);
}

static void test_kernels(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(kernels); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++)
            check_case(&kernels[i], target);
}

static void test_cases(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (FraxTarget target = FRAX_CPU; target <= FRAX_REFERENCE; target++) check_case(&cases[i], target);
}

/* ---- Models that do not ---- */

/* What compiling says for a model with these inputs and this statement, streamed along T = 100. */
static void run_statement(const char *inputs, const char *statement, Text *out) {
    FraxModel *model;
    FraxExecutable *exe = NULL;
    FraxError err;
    FraxOptions options = frax_default_options();
    char text[1024];
    snprintf(text, sizeof text, "model m(%s) {\n%s\nreturn y\n}\n", inputs, statement);
    options.sizes = (FraxSize[]){{"T", 100}, {"B", 4}};
    options.nsizes = 1 + (strstr(inputs, "B") != NULL);
    options.stream = "T";
    options.chunk = 10;
    if (frax_model_parse(text, "case.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    FraxStatus status = frax_compile(model, &options, &exe, &err);
    text_printf(out, "%s: %s\n", frax_status_string(status), status ? err.message : "");
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

/* The command gives the inputs, each line a statement that makes y, or several with | between them. */
static void run_refused(const char *command, const char *input, Text *out) {
    char line[512];
    for (size_t n; *input; input += n + (input[n] == '\n')) {
        n = strcspn(input, "\n");
        snprintf(line, sizeof line, "%.*s", (int)n, input);
        for (char *bar; (bar = strchr(line, '|'));) *bar = '\n';
        run_statement(command, line, out);
    }
}

static void test_refusals(void **state) {
    (void)state;
    golden_folder("tests/golden/stream", run_refused);
}

static void test_usage(void **state) {
    (void)state;
    FraxModel *model;
    FraxExecutable *exe;
    FraxTrainer *trainer;
    FraxError err;
    FraxSize size = {"T", 1};
    FraxOptions options = frax_default_options();
    FraxFitOptions fit = frax_default_fit_options(FRAX_SGD);
    options.sizes = &size;
    options.nsizes = 1;
    options.stream = "T";
    assert_int_equal(frax_model_parse(M("x: f64[T]", "param a: f64 = 1\nloss = mean(a * x)\nreturn loss"),
                                      "test.frax", NULL, &model, &err),
                     FRAX_OK);
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "options.chunk is 0; expected 1 or more samples of T"));
    options.chunk = 4;
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_SHAPE);
    assert_non_null(strstr(err.message, "the signal has 1 samples; expected 2 or more"));
    size.value = 9;
    assert_int_equal(frax_trainer_create(model, &options, &fit, &trainer, &err), FRAX_USAGE);
    assert_non_null(strstr(err.message, "options.stream"));
    assert_int_equal(frax_compile(model, &options, &exe, &err), FRAX_OK);
    FraxStream x = frax_executable_stream(exe, FRAX_INPUT, 0),
               none = frax_executable_stream(exe, FRAX_INPUT, 1);
    assert_true(x.axis == 0 && x.skip == 0 && x.length == 9 && none.axis < 0);
    assert_int_equal(frax_executable_type(exe, FRAX_INPUT, 0).dims[0], 4);
    assert_true(frax_executable_stream(exe, FRAX_PARAM, 0).axis < 0);
    assert_true(frax_executable_stream(exe, FRAX_OUTPUT, 0).axis < 0);
    assert_int_equal(frax_executable_states(NULL), 0);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static void test_out_of_memory(void **state) {
    (void)state;
    FraxModel *model;
    FraxError err;
    FraxStatus status = FRAX_MEMORY;
    FraxOptions options = frax_default_options();
    options.target = FRAX_REFERENCE;
    options.sizes = (FraxSize[]){{"T", 40}};
    options.nsizes = 1;
    options.stream = "T";
    options.chunk = 8;
    assert_int_equal(
        frax_model_parse(M("x: f64[T]", "y = x[1:] - x[:-1] + linspace(0, 1, T - 1)\ns = sum(x)\n"
                                        "z = concat((x[:1], x[:-1]))\nreturn y, s, z"),
                         "test.frax", NULL, &model, &err),
        FRAX_OK);
    for (long n = 1; status; n++) {
        FraxExecutable *exe;
        mem_fail_after(n);
        status = frax_compile(model, &options, &exe, &err);
        mem_fail_after(0);
        assert_true(status == FRAX_OK || status == FRAX_MEMORY);
        frax_executable_destroy(exe);
    }
    frax_model_destroy(model);
}

int main(int argc, char **argv) {
    golden_arguments(argc, argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),       cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_recurrences), cmocka_unit_test(test_derivatives),
        cmocka_unit_test(test_soe),         cmocka_unit_test(test_usage),
        cmocka_unit_test(test_refusals),    cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
