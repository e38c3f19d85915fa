/* test_cuda_blas.c — matrix products of the CUDA target that are left to cuBLASLt, by its stand-in of
 * fake_cuda/, against the reference: what goes to the library and what does not, and what frax says when the
 * library fails or is not there. Where NVIDIA's own library and header are, frax must know them. On a GPU the
 * results are NVIDIA's.
 */
#include "program_run.h"
#include "public_run.h"
#include "target_run.h"
#include "cuda_libraries.h"

typedef struct Calls {
    long asked, computed, with_bias;
} Calls;

/* What the stand-in did since `before`. */
static Calls calls_since(Calls before) {
    Calls now = {0};
    void (*counts)(long *asked, long *computed, long *with_bias);
    void *library = dlopen(FAKE_CUDA "/libcublasLt.so.13", RTLD_NOW | RTLD_NOLOAD), *symbol;
    if (!library) return now; /* nothing has asked for it yet */
    symbol = dlsym(library, "fake_cublaslt_counts");
    assert_non_null(symbol);
    memcpy(&counts, &symbol, sizeof symbol);
    counts(&now.asked, &now.computed, &now.with_bias);
    dlclose(library);
    return (Calls){now.asked - before.asked, now.computed - before.computed,
                   now.with_bias - before.with_bias};
}

/* Each product is asked for once; it runs once when the executable is made and in each run. */
static void expect_calls(Calls before, long products, long with_bias, long runs, const char *name) {
    Calls c = calls_since(before);
    if (on_gpu()) return;
    if (c.asked != products || c.computed != products * (1 + runs) || c.with_bias != with_bias * (1 + runs))
        fail_msg("%s: asked for %ld products of %ld, computed %ld, %ld with a bias", name, c.asked, products,
                 c.computed, c.with_bias);
}

/* ---- Graphs ---- */

/* Graphs whose products the library has taken. */
static int taken;

/* At the end of a case: on a GPU it has compared something with the library's. */
static void expect_taken(void) {
    if (!taken) fail_msg("cuBLASLt has refused all products");
    taken = 0;
}

/* Twice on the CUDA target, which must give the same bits, and against the reference. */
static void compare_graph(Graph *g, Bound bound, long products, long with_bias, const char *name) {
    FraxError err;
    Said said;
    if (graph_status(g, &err)) fail_msg("%s: %s", name, err.message);
    void **in = make_inputs(g, (Fill){11, -1, 1}), **expected = make_outputs(g), **got = make_outputs(g),
         **again = make_outputs(g);
    run_on(g, FRAX_REFERENCE, 1, in, expected, name);
    Calls before = calls_since((Calls){0});
    Executable *exe = make_watched(g, &said, name);
    run_poisoned(g, exe, in, got, name);
    run_poisoned(g, exe, in, again, name);
    executable_destroy(exe);
    taken += products && !is_refused(&said);
    expect_calls(before, products, with_bias, 2, name);
    expect_outputs(g, expected, got, bound, name);
    expect_same_bits(g, got, again, name);
    assert_int_equal(live_objects(), 0);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    free_tensors(again, g->noutputs);
    graph_destroy(g);
}

/* Of a sum of k products of numbers of [−1, 1]. Its partial sums are √(i/9) on average, and each may be
   rounded, by u at most and 0.4 u on average: together 0.4 u k / (3 √2) where one follows the other, 0.3 √k u
   of a result's √k/3. Six times that is allowed, 2 √k u; twice in f64, in which the reference rounds too, and
   of 16-bit operands, whose sums of f32 tensor cores cut off (Fasi et al. 2021, Numerical behavior of NVIDIA
   tensor cores). 16-bit results are rounded once, and so are those of the reference: 2 u of theirs. */
static Bound bound_of(FraxDType dtype, int64_t k) {
    double sum = 2 * sqrt((double)k);
    switch (dtype) {
    case FRAX_F64: return (Bound){0, 2 * sum * 0x1p-53};
    case FRAX_F32: return (Bound){0, sum * 0x1p-24};
    case FRAX_F16: return (Bound){0x1p-10, 2 * sum * 0x1p-24};
    default: return (Bound){0x1p-7, 2 * sum * 0x1p-24};
    }
}

static const FraxDType floats[] = {FRAX_F32, FRAX_F64, FRAX_F16, FRAX_BF16};
enum { FLOATS = 4 };

typedef struct Sizes {
    int64_t batch[2]; /* 0: no such axis */
    int64_t m, n, k;
} Sizes;

/* An operand of rows × columns, stored turned or not. */
static Value operand(Graph *g, const char *name, FraxDType dtype, const Sizes *s, int64_t rows,
                     int64_t columns, bool turned) {
    Type type = {.dtype = dtype};
    for (int i = 0; i < 2; i++)
        if (s->batch[i]) type.shape.dims[type.shape.rank++] = s->batch[i];
    type.shape.dims[type.shape.rank++] = turned ? columns : rows;
    type.shape.dims[type.shape.rank++] = turned ? rows : columns;
    return g_input(g, name, type);
}

static Value product(Graph *g, FraxDType dtype, const Sizes *s, bool ta, bool tb) {
    return g_matmul(g, operand(g, "a", dtype, s, s->m, s->k, ta), operand(g, "b", dtype, s, s->k, s->n, tb),
                    ta, tb);
}

static const Sizes large[] = {
    {{0}, 7, 64, 64},    {{0}, 1, 64, 64},    {{0}, 33, 130, 35},  {{0}, 40, 1, 4096},   {{0}, 5, 4096, 1},
    {{3, 0}, 9, 61, 70}, {{2, 3}, 8, 65, 64}, {{4, 1}, 1, 80, 64}, {{0, 2}, 3, 1, 5000},
};

static void test_products(void **state) {
    (void)state;
    needs_library(cuda_blas_version);
    for (size_t i = 0; i < sizeof large / sizeof *large; i++)
        for (int d = 0; d < FLOATS; d++)
            for (int turned = 0; turned < 4; turned++) {
                char name[96];
                Graph *g = graph_create("product", "test");
                snprintf(name, sizeof name, "product %zu of %s, turned %d", i, frax_dtype_name(floats[d]),
                         turned);
                graph_output(g, "y", product(g, floats[d], &large[i], turned & 1, turned >> 1));
                compare_graph(g, bound_of(floats[d], large[i].k), 1, 0, name);
            }
    expect_taken();
}

/* Tiles of many blocks, sums that may be cut, and batches. */
static void test_large_products(void **state) {
    static const Sizes sizes[] = {{{0}, 1000, 1030, 520}, {{0}, 64, 72, 60000}, {{16, 0}, 200, 136, 264}};
    (void)state;
    needs_gpu("the reference and the stand-in are slow");
    needs_library(cuda_blas_version);
    for (size_t i = 0; i < COUNT(sizes); i++)
        for (int d = 0; d < FLOATS; d++) {
            Graph *g = graph_create("product", "test");
            graph_output(g, "y", product(g, floats[d], &sizes[i], false, d & 1));
            compare_graph(g, bound_of(floats[d], sizes[i].k), 1, 0, frax_dtype_name(floats[d]));
        }
    expect_taken();
}

/* Too small to win, without elements, of constants: the template's. */
static void test_products_of_our_own(void **state) {
    (void)state;
    const Sizes small[] = {{{0}, 300, 63, 65}, {{0}, 1000, 8, 8},   {{0}, 0, 64, 64},
                           {{0}, 64, 64, 0},   {{0, 0}, 64, 0, 64}, {{1, 0}, 16, 16, 16}};
    for (size_t i = 0; i < sizeof small / sizeof *small; i++) {
        Graph *g = graph_create("small", "test");
        graph_output(g, "y", product(g, FRAX_F32, &small[i], false, false));
        compare_graph(g, bound_of(FRAX_F32, small[i].k), 0, 0, "a small product");
    }
    Graph *g = graph_create("constant", "test");
    Value x = g_input(g, "x", (Type){FRAX_F32, SHAPE(16, 80)});
    graph_output(g, "y", g_matmul(g, x, g_constant(g, (Type){FRAX_F32, SHAPE(80, 90)}, 0.5), false, false));
    compare_graph(g, bound_of(FRAX_F32, 80), 0, 0, "a constant operand");
}

/* Operands that kernels have computed, lie in the middle of the memory, and are used by two products. */
static void test_chains(void **state) {
    (void)state;
    needs_library(cuda_blas_version);
    for (int d = 0; d < FLOATS; d++) {
        Graph *g = graph_create("chain", "test");
        const Sizes s = {{0}, 64, 67, 67};
        Value x = g_unary(g, OP_sin, operand(g, "x", floats[d], &s, 64, 67, false)),
              w = operand(g, "w", floats[d], &s, 67, 67, false);
        Value y = g_unary(g, OP_tanh, g_matmul(g, x, g_scale(g, w, 0.125), false, false)),
              z = g_matmul(g, y, w, false, true);
        graph_output(g, "z", z);
        graph_output(g, "turned", g_matmul(g, y, x, true, false));
        graph_output(g, "sum", g_reduce(g, OP_sum, z, 3));
        compare_graph(g, (Bound){0, d < 2 ? 1e-5 : d == 2 ? 4e-3 : 4e-2}, 3, 0, "a chain");
    }
    expect_taken();
}

/* A state that a product of it is written over: the product reads all of it. */
static void test_donated_state(void **state) {
    (void)state;
    enum { N = 64 };
    Graph *g = graph_create("state", "test");
    Value s = g_input(g, "s", (Type){FRAX_F64, SHAPE(N, N)}),
          w = g_input(g, "w", (Type){FRAX_F64, SHAPE(N, N)});
    graph_output_donated(g, "s", g_matmul(g, s, w, false, false), s);
    Executable *exe = make_executable(g, FRAX_CUDA, 1, "state");
    static double power[N][N], turn[N][N];
    for (int i = 0; i < N; i++) power[i][i] = turn[i][(i + 1) % N] = 1;
    for (int run = 1; run <= 3; run++) { /* the identity times a permutation, again and again */
        FraxError err;
        if (executable_run(exe, (const void *[]){power, turn}, (void *[]){power}, &err))
            fail_msg("%s", err.message);
        for (int i = 0; i < N; i++)
            for (int j = 0; j < N; j++) assert_true(power[i][j] == ((i + run) % N == j));
    }
    executable_destroy(exe);
    graph_destroy(g);
}

/* ---- A bias ---- */

typedef enum Consumer {
    PLAIN,     /* y + b */
    TURNED,    /* b + y */
    RESHAPED,  /* y + b, under another shape */
    BY_ROWS,   /* one number a row: not what cuBLASLt adds */
    WHOLE,     /* a matrix */
    SCALED,    /* 2 y + b */
    WEIGHTED,  /* y b */
    OTHER_USE, /* y + b and y */
    ACTIVATED  /* tanh(y + b): the next kernel's */
} Consumer;

static const struct {
    const char *name;
    long with_bias;
} consumers[] = {
    [PLAIN] = {"product + bias", 1},   [TURNED] = {"bias + product", 1},      [RESHAPED] = {"reshaped", 1},
    [BY_ROWS] = {"a bias by rows", 0}, [WHOLE] = {"plus a matrix", 0},        [SCALED] = {"scaled", 0},
    [WEIGHTED] = {"weighted", 0},      [OTHER_USE] = {"a product of two", 0}, [ACTIVATED] = {"activated", 0},
};

static Value consume(Graph *g, Consumer c, Value y, FraxDType dtype, const Sizes *s) {
    const Shape *shape = &graph_type(g, y)->shape;
    Shape along = *shape;
    for (int i = 0; i < along.rank && c != WHOLE; i++)
        if (i != along.rank - (c == BY_ROWS ? 2 : 1)) along.dims[i] = 1;
    Value b = g_broadcast(g, g_input(g, "bias", (Type){dtype, along}), *shape);
    switch (c) {
    case TURNED: return g_add(g, b, y);
    case RESHAPED: return g_reshape(g, g_add(g, y, b), SHAPE(shape_size(shape) / s->n, s->n));
    case SCALED: return g_add(g, g_scale(g, y, 2), b);
    case WEIGHTED: return g_mul(g, y, b);
    case OTHER_USE: graph_output(g, "y", y); return g_add(g, y, b);
    case ACTIVATED: return g_unary(g, OP_tanh, g_add(g, y, b));
    default: return g_add(g, y, b);
    }
}

static void test_bias(void **state) {
    (void)state;
    needs_library(cuda_blas_version);
    const Sizes sizes[] = {{{0}, 19, 72, 60}, {{3, 0}, 10, 64, 65}, {{0}, 6, 1, 4500}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (int d = 0; d < FLOATS; d++)
            for (Consumer c = PLAIN; c <= ACTIVATED; c++) {
                char name[96];
                Graph *g = graph_create("bias", "test");
                snprintf(name, sizeof name, "%s, %s, %zu", consumers[c].name, frax_dtype_name(floats[d]), i);
                Value y = product(g, floats[d], &sizes[i], false, i == 1);
                graph_output(g, "z", consume(g, c, y, floats[d], &sizes[i]));
                Bound bound = bound_of(floats[d], sizes[i].k);
                if (c == ACTIVATED) /* of sums about 0, which are √k/3 on average, it leaves up to 1 */
                    bound.scaled *= sqrt((double)sizes[i].k) / 3;
                bound.scaled += bound.relative; /* a rounding before the consumer, of what is larger */
                compare_graph(g, bound, 1, consumers[c].with_bias, name);
            }
    expect_taken();
}

/* ---- Models ---- */

static const double *numbers(size_t n, uint64_t seed) {
    double *values = malloc(n * sizeof *values);
    for (size_t i = 0; i < n; i++) values[i] = (double)(fill_random(&seed) >> 11) * 0x1p-52 - 1;
    return values;
}

static void expect_results(const Results *expected, const Results *got, double bound, const char *name) {
    assert_int_equal(expected->count, got->count);
    for (size_t o = 0; o < got->count; o++) {
        double largest = 1;
        for (int64_t i = 0; i < got->size[o]; i++) largest = fmax(largest, fabs(expected->data[o][i]));
        for (int64_t i = 0; i < got->size[o]; i++) {
            double e = expected->data[o][i], y = got->data[o][i];
            if (!(fabs(e - y) <= bound * largest) && !(isnan(e) && isnan(y)))
                fail_msg("%s: output %zu, element %lld: %.17g and %.17g", name, o, (long long)i, e, y);
        }
    }
}

/* Layers with activations and their gradients: operands turned, sums over rows, products with two readers. */
static void test_gradients(void **state) {
    (void)state;
    needs_library(cuda_blas_version);
    static const char *const layers[] = {"relu(x @ w + b)", "tanh(x @ w + b)", "x @ w + b"};
    const double *in[] = {numbers(70 * 66, 1), numbers(66 * 70, 2), numbers(70, 3), numbers(70 * 64, 4)};
    for (int i = 0; i < 3; i++)
        for (int is_f64 = 0; is_f64 < 2; is_f64++) {
            char text[512];
            const char *t = is_f64 ? "f64" : "f32";
            snprintf(text, sizeof text,
                     "model m(x: %s[70, 66], w: %s[66, 70], b: %s[70], v: %s[70, 64]) {\n"
                     "    h = %s\n    y = h @ v\n    loss = mean(y^2)\n    return loss, y, h\n}\n",
                     t, t, t, t, layers[i]);
            Calls before = calls_since((Calls){0});
            RunOptions options = {.target = FRAX_REFERENCE, .wrt = {"x", "w", "b", "v"}};
            Results expected = run_model(text, &options, in);
            options.target = FRAX_CUDA;
            Results got = run_model(text, &options, in);
            expect_results(&expected, &got, is_f64 ? 1e-13 : 1e-5, text);
            expect_calls(before, 6, i == 2, 1, text); /* two forward, four backward */
            free_results(&expected);
            free_results(&got);
        }
    for (int i = 0; i < 4; i++) free((void *)in[i]);
    assert_int_equal(live_objects(), 0);
}

/* cuBLASLt's ReLU makes 0 of NaN; the model's lets it pass, bias or not. */
static void test_not_a_number(void **state) {
    (void)state;
    needs_library(cuda_blas_version);
    double *x = (double *)numbers(4 * 64, 1);
    const double *in[] = {x, numbers(64 * 64, 2), numbers(64, 3)};
    const char *text = "model m(x: f32[4, 64], w: f32[64, 64], b: f32[64]) {\n"
                       "    y = x @ w + b\n    z = relu(y)\n    return z, y\n}\n";
    x[64 + 5] = NAN;
    Results expected = run_model(text, &(RunOptions){.target = FRAX_REFERENCE}, in),
            got = run_model(text, &(RunOptions){.target = FRAX_CUDA}, in);
    assert_true(isnan(expected.data[0][64 + 9]));
    expect_results(&expected, &got, 2e-6, "relu of NaN");
    free_results(&expected);
    free_results(&got);
    for (int i = 0; i < 3; i++) free((void *)in[i]);
}

/* Products that no input has a part in are made with the executable. */
static void test_static_products(void **state) {
    (void)state;
    const char *text =
        "model m(x: f32[64]) {\n"
        "    i = cast(iota(64), f32) / 64\n    a = sin(3 * expand(i, 0, 64) + expand(i, 1, 64))\n"
        "    b = cos(a)\n    y = x * sum(a @ b, axis=0)\n    return y\n}\n";
    const double *in[] = {numbers(64, 1)};
    FraxError err;
    FraxExecutable *exe;
    if (try_compile(text, &(RunOptions){.target = FRAX_CUDA}, &exe, &err)) {
        free((void *)in[0]);
        fail_msg("%s", err.message);
    }
    Calls before = calls_since((Calls){0});
    Results expected = run_model(text, &(RunOptions){.target = FRAX_REFERENCE}, in), got;
    assert_int_equal(run_executable(exe, in, &got, &err), FRAX_OK);
    assert_int_equal(calls_since(before).computed, 0);
    expect_results(&expected, &got, 1e-5, "static products");
    frax_executable_destroy(exe);
    free_results(&expected);
    free_results(&got);
    free((void *)in[0]);
}

/* ---- Failures ---- */

#define LAYER                                                                                                \
    "model layer(x: f32[30, 64], w: f32[64, 80], b: f32[80]) {\n"                                            \
    "    y = x @ w\n    z = y + b\n    u = tanh(y)\n    return z, u\n}\n"

static void expect_failure(FraxStatus expected, const char *says, const char *also) {
    FraxExecutable *exe = NULL;
    FraxError err = {0};
    FraxStatus status = try_compile(LAYER, &(RunOptions){.target = FRAX_CUDA}, &exe, &err);
    frax_executable_destroy(exe);
    if (status != expected || !strstr(err.message, says) || !strstr(err.message, also))
        fail_msg("%d: %s", (int)status, err.message);
    assert_int_equal(live_objects(), 0);
}

static void test_failing_calls(void **state) {
    (void)state;
    needs_fakes("its library does not fail");
    static const struct {
        const char *call;
        FraxStatus status;
        const char *says;
    } rows[] = {
        {"cublasLtCreate:1", FRAX_INTERNAL, "the library was not initialized (status 1)"},
        {"cublasLtCreate:3", FRAX_MEMORY, "the resource allocation failed (status 3)"},
        {"cublasLtMatmulDescCreate:3", FRAX_MEMORY, "the resource allocation failed"},
        {"cublasLtMatmulDescSetAttribute:7", FRAX_INTERNAL, "an unsupported value"},
        {"cublasLtMatrixLayoutCreate:3", FRAX_MEMORY, "the resource allocation failed"},
        {"cublasLtMatmulPreferenceCreate:3", FRAX_MEMORY, "the resource allocation failed"},
        {"cublasLtMatmulPreferenceSetAttribute:7", FRAX_INTERNAL, "an unsupported value"},
        {"cublasLtMatmulAlgoGetHeuristic:14", FRAX_INTERNAL, "unknown error (status 14)"},
        {"cublasLtMatmul:13", FRAX_INTERNAL, "the GPU program failed to execute (status 13)"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        setenv("FAKE_CUBLASLT_FAIL", rows[i].call, 1);
        expect_failure(rows[i].status, "CUDA: product k0 of layer: cuBLASLt 13.0: ", rows[i].says);
    }
    unsetenv("FAKE_CUBLASLT_FAIL");
    setenv("FAKE_CUDA_FAULT", "cublasLtMatmul", 1);
    expect_failure(FRAX_INTERNAL, "CUDA: trying kernel k0 of layer: an illegal memory access", "");
    unsetenv("FAKE_CUDA_FAULT");
}

/* What the library has no algorithm for is computed without it, and the log says so. */
static void test_refused_products(void **state) {
    (void)state;
    needs_fakes("its library does not fail");
    static const char *const calls[] = {"cublasLtMatmulAlgoGetHeuristic:15",
                                        "cublasLtMatmulAlgoGetHeuristic:8",
                                        "cublasLtMatmulAlgoGetHeuristic:7", "cublasLtMatmul:15"};
    for (size_t i = 0; i < COUNT(calls); i++) {
        Said said;
        Graph *g = graph_create("refused", "test");
        graph_output(g, "y", product(g, FRAX_F32, &large[0], false, false));
        void **in = make_inputs(g, (Fill){3, -1, 1}), **expected = make_outputs(g), **got = make_outputs(g);
        run_on(g, FRAX_REFERENCE, 1, in, expected, "refused");
        Calls before = calls_since((Calls){0});
        setenv("FAKE_CUBLASLT_FAIL", calls[i], 1);
        Executable *exe = make_watched(g, &said, "refused");
        unsetenv("FAKE_CUBLASLT_FAIL");
        if (!strstr(said.text, "CUDA: product k0 of refused: cuBLASLt 13.0: ") ||
            !strstr(said.text, "refused is compiled without it"))
            fail_msg("%s", said.text);
        run_poisoned(g, exe, in, got, "refused");
        expect_outputs(g, expected, got, bound_of(FRAX_F32, large[0].k), "refused");
        assert_int_equal(calls_since(before).computed, 0);
        executable_destroy(exe);
        free_tensors(in, g->ninputs);
        free_tensors(expected, 1);
        free_tensors(got, 1);
        graph_destroy(g);
        assert_int_equal(live_objects(), 0);
    }
}

static void test_failing_allocations(void **state) {
    (void)state;
    needs_fakes("what is left behind is not counted");
    FraxExecutable *exe = NULL;
    FraxStatus status = FRAX_MEMORY;
    for (long n = 1; status; n += 1 + n / 8) {
        FraxError err = {0};
        mem_fail_after(n);
        status = try_compile(LAYER, &(RunOptions){.target = FRAX_CUDA}, &exe, &err);
        mem_fail_after(0);
        if (status) assert_int_equal(status, FRAX_MEMORY);
    }
    frax_executable_destroy(exe);
    assert_int_equal(live_objects(), 0);
}

/* ---- The program ---- */

#define RUN "run @/layer.frax --in x=@/x.npy --in w=@/w.npy --in b=@/b.npy --no-cache"

static void write_array(const char *name, int64_t rows, int64_t columns) {
    FraxTensor tensor = {FRAX_F32, rows ? 2 : 1, {rows ? rows : columns, columns}, NULL};
    float data[64 * 80];
    FraxError err;
    for (int64_t i = 0; i < MAX(rows, 1) * columns; i++) data[i] = (float)sin((double)i);
    tensor.data = data;
    assert_int_equal(npy_write(in_folder(name), &tensor, &err), FRAX_OK);
}

static void show_names(const char *says_this, bool by_library) {
    succeeds("show @/layer.frax --cuda");
    says(says_this);
    assert_int_equal(strstr(out, "by cuBLASLt") != NULL, by_library);
    assert_int_equal(strstr(out, "frax_k0(") != NULL, !by_library);
}

static float *output(const char *arguments) {
    FraxTensor y;
    FraxError err;
    succeeds(arguments);
    assert_int_equal(npy_read(in_folder("y.npy"), &y, &err), FRAX_OK);
    return y.data;
}

static void write_case(void) {
    write_model("layer.frax", "model layer(x: f32[30, 64], w: f32[64, 80], b: f32[80]) {\n"
                              "    y = x @ w + b\n    return y\n}\n");
    write_array("x.npy", 30, 64);
    write_array("w.npy", 64, 80);
    write_array("b.npy", 0, 80);
}

static void test_with_and_without(void **state) {
    (void)state;
    write_case();
    needs_library(cuda_blas_version);
    show_names("\n/* k0, by cuBLASLt: 1 product f32[30,64] @ f32[64,80] + f32[80] */\n", true);
    succeeds("devices");
    says(", for large matrix products\n");
    says(on_gpu() ? "; cuBLASLt 1" : "; cuBLASLt 13.0.2, ");
    float *with = output(RUN " --target cuda --out y=@/y.npy"), *on_cpu = output(RUN " --out y=@/y.npy");
    char *kept = replace_library("FRAX_CUBLASLT", "none");
    show_names("KERNEL __launch_bounds__", false);
    succeeds("devices");
    says(
        "; cuBLASLt is not taken from FRAX_CUBLASLT=none; without it matrix products are frax's own kernels");
    float *without = output(RUN " --target cuda --out y=@/y.npy");
    for (int i = 0; i < 30 * 80; i++) {
        assert_true(fabsf(with[i] - on_cpu[i]) < 1e-5f);
        assert_true(fabsf(without[i] - on_cpu[i]) < 1e-5f);
    }
    restore_library("FRAX_CUBLASLT", kept);
    mem_free(with);
    mem_free(without);
    mem_free(on_cpu);
}

/* A library of a newer CUDA than the driver's is not taken; the next of its kind may be. */
static void test_other_versions(void **state) {
    (void)state;
    needs_fakes("its version cannot be set");
    setenv("FAKE_CUBLASLT_RUNTIME", "14000", 1);
    show_names("KERNEL __launch_bounds__", false);
    unsetenv("FAKE_CUBLASLT_RUNTIME");
}

/* Machine code with products in it is not taken for that without. */
static void test_cache(void **state) {
    (void)state;
    const char *run = "run @/layer.frax --in x=@/x.npy --in w=@/w.npy --in b=@/b.npy --target cuda --out "
                      "y=@/y.npy";
    for (int i = 0; i < 4; i++) {
        char *kept = i % 2 ? replace_library("FRAX_CUBLASLT", "none") : NULL;
        mem_free(output(run));
        if (i % 2) restore_library("FRAX_CUBLASLT", kept);
    }
}

static void test_out_of_memory(void **state) {
    (void)state;
    needs_fakes("the device is not full");
    setenv("FAKE_CUDA_ALLOCATIONS", "1", 1); /* the executable's memory, and no more */
    fails(RUN " --target cuda", 3,
          "out of memory on device 0, Fake GPU 0: the workspace of matrix products needs 4096 bytes");
    unsetenv("FAKE_CUDA_ALLOCATIONS");
    setenv("FAKE_CUDA_FAULT", "cublasLtMatmul", 1);
    fails(RUN " --target cuda --debug-jit", 3, "CUDA: trying kernel k0 of layer: an illegal memory access");
    unsetenv("FAKE_CUDA_FAULT");
    succeeds(RUN " --target cuda --debug-jit");
}

/* What is compiled ahead of time finds no library where it runs. */
static void test_compile(void **state) {
    (void)state;
    succeeds("compile @/layer.frax --target cuda -o @/layer");
    char *text = read_all("layer.c");
    assert_non_null(text);
    assert_non_null(strstr(text, "{\"k0\", 0, "));
    assert_null(strstr(text, "cublas"));
    free(text);
}

/* ---- NVIDIA's own ---- */

/* Its version as frax has read it; false where it is not here. */
static bool find_real_library(void) {
    cJSON *tree = json("devices --json");
    const cJSON *version = at(cJSON_GetArrayItem(at(tree, "devices", NULL, NULL), 3), "cublaslt", NULL, NULL);
    bool found = cJSON_IsString(version);
    if (found) print_message("NVIDIA's cuBLASLt %s\n", version->valuestring);
    if (found) assert_true(atoi(version->valuestring) >= 11);
    cJSON_Delete(tree);
    return found;
}

/* All symbols are there. Without a GPU its handle cannot be made, which is said as it says it. */
static void test_real_library(void **state) {
    (void)state;
    needs_fakes("all products are its own");
    char *kept = replace_library("FRAX_CUBLASLT", NULL);
    bool found = find_real_library();
    expect_leaks(true);
    if (found) fails(RUN " --target cuda", 3, "CUDA: product k0 of layer: cuBLASLt 1");
    expect_leaks(false);
    if (found) print_message("%s", messages);
    restore_library("FRAX_CUBLASLT", kept);
    if (found) return;
    print_message("skipped: NVIDIA's cuBLASLt is not here\n");
    skip();
}

/* The numbers that cuda_abi.h gives are those of the header. */
static void test_real_header(void **state) {
    (void)state;
    needs_fakes("its toolkit may have no compiler for C");
    expect_abi("cublasLt.h", "tests/cublaslt_abi.c");
}

static int set_up(void **state) {
    (void)state;
    use_fakes();
    return make_folder();
}

static int tear_down(void **state) {
    (void)state;
    return remove_folder();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_products),
        cmocka_unit_test(test_large_products),
        cmocka_unit_test(test_products_of_our_own),
        cmocka_unit_test(test_chains),
        cmocka_unit_test(test_bias),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_not_a_number),
        cmocka_unit_test(test_static_products),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_refused_products),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_donated_state),
        cmocka_unit_test(test_with_and_without),
        cmocka_unit_test(test_other_versions),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_compile),
        cmocka_unit_test(test_real_library),
        cmocka_unit_test(test_real_header),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
