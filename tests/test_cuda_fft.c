/* test_cuda_fft.c — transforms of the CUDA target that cuFFT does: every form and class of lengths, with all
 * derivatives, on the stand-ins of fake_cuda/, against the reference (long rows: against FFTW); which lengths
 * go where; what is said when cuFFT fails. The declarations of cuFFT stand against the toolkit's own.
 *
 * K is anything: a spectrum that leaves a signal not real, too, of which the real part is meant. On a GPU the
 * transforms are NVIDIA's.
 */
#include "passes.h"
#include "program_run.h"
#include "public_run.h"
#include "target_run.h"
#include "cuda_libraries.h"

/* ---- Graphs ---- */

enum { MAX_FORM_RANK = 5 };

/* A filter of x with K of its own size along the batch axes of `own`, along `axes`. */
typedef struct FilterForm {
    const char *name;
    int rank;
    int64_t dims[MAX_FORM_RANK];
    uint32_t axes, own;
} FilterForm;

static Shape filter_shape(const FilterForm *f) {
    Shape k = {.rank = f->rank};
    for (int i = 0, last = 31 - __builtin_clz(f->axes); i < f->rank; i++) {
        k.dims[i] = f->axes >> i & 1 ? f->dims[i] : f->own >> i & 1 ? f->dims[i] : 1;
        if (i == last) k.dims[i] = f->dims[i] / 2 + 1;
    }
    return k;
}

/* y, and the gradients of Σ w y in x and K. */
static Graph *filter_graph(const FilterForm *f, FraxDType dtype) {
    Graph *g = graph_create(f->name, "test");
    Type x_type = {dtype, {.rank = f->rank}};
    memcpy(x_type.shape.dims, f->dims, sizeof f->dims);
    Value x = g_input(g, "x", x_type), w = g_input(g, "w", x_type), wrt[3] = {x};
    wrt[1] = g_input(g, "re", (Type){dtype, filter_shape(f)});
    wrt[2] = g_input(g, "im", (Type){dtype, filter_shape(f)});
    Value y = g_spectral(g, g_add(g, x, x), wrt[1], wrt[2], f->axes), grads[3];
    Value loss = g_reduce(g, OP_sum, g_mul(g, w, g_mul(g, y, y)), (1u << f->rank) - 1);
    FraxError err;
    if (gradient(g, g_reshape(g, loss, SCALAR), NO_VALUE, wrt, 3, grads, &err)) fail_msg("%s", err.message);
    graph_output(g, "y", g_neg(g, y));
    graph_output(g, "grad.x", grads[0]);
    graph_output(g, "grad.re", grads[1]);
    graph_output(g, "grad.im", grads[2]);
    return g;
}

/* Rows that cuFFT has transformed, forward or back. */
static long transformed(void) {
    void *library = dlopen(FAKE_CUDA "/libcufft.so.12", RTLD_NOW | RTLD_NOLOAD);
    long (*count)(void);
    if (!library) return 0;
    void *function = dlsym(library, "fake_cufft_count");
    memcpy(&count, &function, sizeof count);
    dlclose(library);
    return count();
}

static Bound bound_of(FraxDType dtype) {
    return (Bound){0, dtype == FRAX_F32 ? 2e-5 : 1e-12}; /* some 100 roundings, of sums over rows */
}

/* Graphs that cuFFT was to transform, and has. */
static int taken;

/* At the end of a case: on a GPU it has compared something with the library's. */
static void expect_taken(void) {
    if (!taken) fail_msg("cuFFT has refused all transforms");
    taken = 0;
}

/* The graph on the CUDA target; by_library: cuFFT has transformed some of it, or nothing. */
static void compare(const Graph *g, FraxTarget with, Bound bound, bool by_library, const char *name) {
    Said said;
    void **in = make_inputs(g, (Fill){11, -1, 1}), **expected = make_outputs(g), **got = make_outputs(g);
    run_on(g, with, 1, in, expected, name);
    long before = transformed();
    Executable *exe = make_watched(g, &said, name);
    for (int i = 0; i < 2; i++) run_poisoned(g, exe, in, got, name);
    executable_destroy(exe);
    expect_outputs(g, expected, got, bound, name);
    taken += by_library && !is_refused(&said);
    if (!on_gpu() && (transformed() > before) != by_library)
        fail_msg("%s: cuFFT has transformed %ld rows", name, transformed() - before);
    free_tensors(in, g->ninputs);
    free_tensors(expected, g->noutputs);
    free_tensors(got, g->noutputs);
    assert_int_equal(live_objects(), 0);
}

static void check_filter(const FilterForm *f, FraxDType dtype, FraxTarget with, bool by_library) {
    static int cases;
    char name[96];
    if (is_thinned_out(&cases)) return;
    Graph *g = filter_graph(f, dtype);
    snprintf(name, sizeof name, "%s %s", frax_dtype_name(dtype), f->name);
    compare(g, with, bound_of(dtype), by_library, name);
    graph_destroy(g);
}

/* ---- Lengths ---- */

static void check_length(int64_t rows, int64_t n, FraxTarget with, bool by_library) {
    char name[48];
    FilterForm f = {name, 2, {rows, n}, 2, 0};
    snprintf(name, sizeof name, "%lld rows of %lld", (long long)rows, (long long)n);
    for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++) check_filter(&f, dtype, with, by_library);
}

/* Primes, 3·2^k, products of small and larger primes, odd and even; a row alone. */
static void test_lengths(void **state) {
    static const int64_t lengths[] = {65, 66, 67, 100, 127, 510, 1009, 1155};
    (void)state;
    needs_library(cuda_fft_version);
    for (size_t i = 0; i < COUNT(lengths); i++) check_length(3, lengths[i], FRAX_REFERENCE, true);
    check_length(16, 96, FRAX_REFERENCE, true);
    check_length(17, 384, FRAX_REFERENCE, true);
    check_length(1, 2187, FRAX_REFERENCE, true);
    expect_taken();
}

static void test_long_lengths(void **state) {
    static const int64_t lengths[] = {4099, 20000, 32768, 65536};
    (void)state;
    needs_library(cuda_fft_version);
    for (size_t i = 0; i < COUNT(lengths); i++) check_length(2, lengths[i], FRAX_EAGER, true);
    check_length(1, 4096, FRAX_EAGER, true);
    check_length(2, 6144, FRAX_EAGER, true);
    expect_taken();
}

/* A row of so many that its samples go out and come back several times; a prime. */
static void test_longest_lengths(void **state) {
    static const int64_t lengths[] = {1 << 20, 3 << 18, 131101};
    (void)state;
    needs_gpu("the stand-ins take minutes");
    needs_library(cuda_fft_version);
    for (size_t i = 0; i < COUNT(lengths); i++) check_length(2, lengths[i], FRAX_EAGER, true);
    expect_taken();
}

/* What registers hold stays there; what is short stays where it was. */
static void test_own_lengths(void **state) {
    static const int64_t lengths[] = {2, 31, 32, 63, 64, 256};
    (void)state;
    for (size_t i = 0; i < COUNT(lengths); i++) check_length(4, lengths[i], FRAX_REFERENCE, false);
    check_length(15, 96, FRAX_REFERENCE, false);
    check_length(1, 256, FRAX_REFERENCE, false);
}

/* ---- Forms ---- */

static void test_forms(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    static const FilterForm forms[] = {
        {"a filter for each channel", 3, {4, 3, 70}, 4, 2},
        {"a filter for each row", 2, {3, 74}, 2, 1},
        {"channels between summed axes", 4, {2, 3, 4, 66}, 8, 2},
        {"many rows, shared out", 2, {150, 65}, 2, 0},
        {"many rows of channels, shared out", 3, {67, 2, 65}, 4, 2},
        {"columns", 2, {66, 3}, 1, 0},
        {"the middle axis", 3, {2, 75, 3}, 2, 4},
        {"an axis before one of size 1", 3, {2, 70, 1}, 2, 0},
        {"images", 3, {2, 33, 40}, 6, 0},
        {"odd images", 3, {2, 35, 31}, 6, 1},
        {"an image alone", 2, {32, 36}, 3, 0},
        {"images along outer axes", 3, {33, 34, 2}, 3, 4},
        {"outer and inner axis", 3, {32, 2, 36}, 5, 2},
        {"boxes", 4, {2, 9, 10, 13}, 14, 0},
    };
    for (size_t i = 0; i < COUNT(forms); i++)
        for (FraxDType dtype = FRAX_F64; dtype <= FRAX_F32; dtype++)
            check_filter(&forms[i], dtype, FRAX_REFERENCE, true);
    expect_taken();
}

/* More spectra than are made at a time, of channels that are not summed after rows that are, and between. */
static void test_pieces(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    static const FilterForm forms[] = {{"pieces of channels", 3, {301, 3, 3003}, 4, 2},
                                       {"pieces between", 4, {15, 4, 15, 3000}, 8, 2}};
    for (size_t i = 0; i < COUNT(forms); i++) check_filter(&forms[i], FRAX_F64, FRAX_EAGER, true);
    expect_taken();
}

/* The spectrum itself. */
static void test_spectra(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    for (int image = 0; image < 2; image++) {
        Graph *g = graph_create("spectra", "test");
        Value x = g_input(g, "x", (Type){FRAX_F64, SHAPE(3, 34, 33)});
        uint32_t axes = image ? 6 : 2;
        graph_output(g, "re", g_rfft(g, g_neg(g, x), axes, PART_RE));
        graph_output(g, "im", g_rfft(g, g_neg(g, x), axes, PART_IM));
        compare(g, FRAX_REFERENCE, bound_of(FRAX_F64), image, "spectra");
        graph_destroy(g);
    }
    expect_taken();
}

/* A value is transformed where it lies, an input too; a constant is not there; nothing is transformed of
   nothing. */
static void test_operands(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    const Type type = {FRAX_F64, SHAPE(2, 81)}, bins = {FRAX_F64, SHAPE(1, 41)};
    Graph *g = graph_create("operands", "test");
    Value x = g_input(g, "x", type), re = g_input(g, "re", bins), none = g_constant(g, bins, 0);
    graph_output(g, "given", g_spectral(g, x, re, none, 2));
    graph_output(g, "again", g_spectral(g, x, g_constant(g, bins, 2), g_constant(g, bins, 3), 2));
    graph_output(g, "constant", g_spectral(g, g_constant(g, type, 3), re, none, 2));
    graph_output(g, "static", g_spectral(g, g_iota(g, type, 1), g_iota(g, bins, 1), none, 2));
    graph_output(g, "twice", g_spectral(g, g_spectral(g, x, re, none, 2), re, none, 2));
    graph_output(g, "reshaped",
                 g_reshape(g,
                           g_spectral(g, g_reshape(g, x, SHAPE(1, 162)),
                                      g_like(g, g_input(g, "k", (Type){FRAX_F64, SHAPE(1, 82)}), 1),
                                      g_input(g, "l", (Type){FRAX_F64, SHAPE(1, 82)}), 2),
                           SHAPE(2, 81)));
    compare(g, FRAX_REFERENCE, (Bound){0, 1e-11}, true, "operands");
    expect_taken();
    graph_destroy(g);
    g = graph_create("nothing", "test");
    x = g_input(g, "x", (Type){FRAX_F64, SHAPE(0, 81)});
    re = g_input(g, "re", bins);
    graph_output(g, "y", g_spectral(g, x, re, re, 2));
    compare(g, FRAX_REFERENCE, bound_of(FRAX_F64), false, "nothing");
    graph_destroy(g);
}

/* Rows of any size stand beside each other, and beside one that is no number. */
static void test_scales(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    enum { N = 1001, BINS = N / 2 + 1 };
    static const double scales[] = {1e25, 1, 1e-25, 1};
    static float x[4][N], y[4][N], re[BINS], im[BINS];
    Graph *g = graph_create("scales", "test");
    Value v = g_input(g, "x", (Type){FRAX_F32, SHAPE(4, N)}),
          k[2] = {g_input(g, "re", (Type){FRAX_F32, SHAPE(1, BINS)}),
                  g_input(g, "im", (Type){FRAX_F32, SHAPE(1, BINS)})};
    graph_output(g, "y", g_spectral(g, v, k[0], k[1], 2));
    for (int i = 0; i < BINS; i++) re[i] = 2; /* y = 2 x */
    for (int r = 0; r < 4; r++)
        for (int i = 0; i < N; i++) x[r][i] = (float)(scales[r] * cos(i * i));
    x[3][5] = NAN;
    run_on(g, FRAX_CUDA, 1, (void *[]){x, re, im}, (void *[]){y}, "scales");
    for (int r = 0; r < 3; r++)
        for (int i = 0; i < N; i++)
            assert_true(fabs((double)y[r][i] - 2 * (double)x[r][i]) < 1e-5 * scales[r]);
    for (int i = 0; i < N; i++) assert_true(isnan(y[3][i]));
    graph_destroy(g);
}

/* The threads' order changes no bit. */
static void test_orders(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    FilterForm f = {"orders", 2, {70, 65}, 2, 0};
    Graph *g = filter_graph(&f, FRAX_F32);
    void **in = make_inputs(g, (Fill){3, -1, 1}), **first = make_outputs(g), **again = make_outputs(g);
    for (int order = 0; order < THREAD_ORDERS; order++) {
        use_order(order);
        run_on(g, FRAX_CUDA, 1, in, order ? again : first, f.name);
        if (order) expect_same_bits(g, first, again, f.name);
    }
    use_order(0);
    free_tensors(in, g->ninputs);
    free_tensors(first, g->noutputs);
    free_tensors(again, g->noutputs);
    graph_destroy(g);
}

/* ---- Models ---- */

typedef struct ModelCase {
    const char *text;
    double relative;
    FraxTarget with;
} ModelCase;

/* Orders per channel, causal operators through padded rows, images, and 16-bit storage. */
static const ModelCase models[] = {
    {"model m(x: f64[3, 2, 100], a: f64[2]) {\n"
     "    y = frac(x, a[:, none], kind=weyl, step=0.1)\n    loss = mean(y^2)\n    return loss, y\n}\n",
     1e-11, FRAX_REFERENCE},
    {"model m(x: f64[3, 5000], a: f64[]) {\n"
     "    y = frac(tanh(x), a, kind=grunwald, engine=fft)\n    loss = mean(y^2)\n    return loss, y\n}\n",
     1e-11, FRAX_EAGER},
    {"model m(x: f32[3, 9000], a: f32[]) {\n"
     "    y = frac(x, a, kind=grunwald, engine=fft)\n    loss = mean(y^2)\n    return loss, y\n}\n",
     2e-5, FRAX_EAGER},
    {"model m(x: f64[100, 2], a: f64[2]) {\n"
     "    y = frac(x, a, kind=riesz, axis=0)\n    loss = sum(y^2)\n    return loss, y\n}\n",
     1e-11, FRAX_REFERENCE},
    {"model m(x: f64[2, 36, 34], a: f64[]) {\n"
     "    y = frac(x, a, kind=laplacian, axes=(1, 2))\n    loss = mean(y^2)\n    return loss, y\n}\n",
     1e-11, FRAX_REFERENCE},
    {"model m(x: f16[3, 100], a: f32[]) {\n"
     "    y = frac(cast(x, f32), a, kind=weyl)\n    z = cast(y, f16)\n    loss = mean(y^2)\n    return loss, "
     "z\n}\n",
     1e-3, FRAX_REFERENCE},
    {"model m(x: bf16[3, 100], a: f32[]) {\n"
     "    y = frac(cast(x, f32), a, kind=weyl)\n    z = cast(y, bf16)\n    loss = mean(y^2)\n    return "
     "loss, z\n}\n",
     8e-3, FRAX_REFERENCE}};

static void check_model(const ModelCase *m) {
    enum { MOST = 3 * 9000 };
    static double x[MOST];
    double a[2] = {0.7, 0.4};
    uint64_t seed = 5;
    for (int i = 0; i < MOST; i++) x[i] = (double)(fill_random(&seed) >> 11) * 0x1p-52 - 1;
    const double *inputs[] = {x, a};
    long before = transformed();
    RunOptions options = {.target = m->with, .wrt = {"x", "a"}};
    Results expected = run_model(m->text, &options, inputs);
    options.target = FRAX_CUDA;
    Results got = run_model(m->text, &options, inputs);
    assert_int_equal(got.count, 4);
    if (!on_gpu() && transformed() == before) fail_msg("cuFFT is not asked for\n%s", m->text);
    for (size_t o = 0; o < got.count; o++) {
        double largest = 1e-3;
        for (int64_t i = 0; i < got.size[o]; i++) largest = fmax(largest, fabs(expected.data[o][i]));
        for (int64_t i = 0; i < got.size[o]; i++)
            if (!(fabs(got.data[o][i] - expected.data[o][i]) <= m->relative * largest))
                fail_msg("output %zu, element %lld is %.17g, expected %.17g\n%s", o, (long long)i,
                         got.data[o][i], expected.data[o][i], m->text);
    }
    free_results(&expected);
    free_results(&got);
}

static void test_models(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    for (size_t i = 0; i < COUNT(models); i++) check_model(&models[i]);
    assert_int_equal(live_objects(), 0);
}

/* ---- Faults ---- */

static FraxStatus try_filter(bool debug, FraxError *err) {
    FilterForm f = {"faulty", 2, {3, 100}, 2, 0};
    Graph *g = filter_graph(&f, FRAX_F64);
    ExecutableOptions options = {.target = FRAX_CUDA, .threads = 1, .no_cache = true, .debug = debug};
    Executable *exe = NULL;
    void **in = make_inputs(g, (Fill){3, -1, 1}), **out = make_outputs(g);
    Graph *copy = graph_rewrite(g, NULL, NULL, err);
    FraxStatus status = executable_create(copy, &options, &exe, err);
    if (!status) status = executable_run(exe, (const void *const *)in, out, err);
    if (exe) executable_destroy(exe);
    free_tensors(in, g->ninputs);
    free_tensors(out, g->noutputs);
    graph_destroy(g);
    assert_int_equal(live_objects(), 0);
    return status;
}

/* What a call of cuFFT answers is said in words, with the kernel, the model and the shape. */
static void test_failing_calls(void **state) {
    (void)state;
    needs_fakes("its library does not fail");
    static const struct {
        const char *call, *says;
        FraxStatus status;
    } cases[] = {
        {"cufftMakePlanMany64:2",
         "makes no plan of 3 rows of 100 f64 samples: device memory is exhausted (its error 2); 2147483648 "
         "of 2147483648 bytes are free",
         FRAX_MEMORY},
        {"cufftMakePlanMany64:77", "an error without a description (its error 77)", FRAX_INTERNAL},
        {"cufftCreate:7", "the library cannot start", FRAX_INTERNAL},
        {"cufftSetWorkArea:1", "takes no work area for its plan of 3 rows", FRAX_INTERNAL},
        {"cufftExecD2Z:6",
         "does not run its transform of 3 rows of 100 f64 samples: the GPU cannot execute it", FRAX_INTERNAL},
        {"cufftExecZ2D:6", "does not run its transform", FRAX_INTERNAL},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        FraxError err = {0};
        setenv("FAKE_CUFFT_FAIL", cases[i].call, 1);
        FraxStatus status = try_filter(false, &err);
        unsetenv("FAKE_CUFFT_FAIL");
        if (status != cases[i].status || !strstr(err.message, cases[i].says) ||
            !strstr(err.message, "of faulty: cuFFT 12.0.0 ") || !strstr(err.message, "CUDA: kernel k"))
            fail_msg("%s: status %d, %s", cases[i].call, (int)status, err.message);
    }
}

/* What it does not transform is compiled without it. */
static void test_refused_rows(void **state) {
    static const char *const calls[] = {"cufftMakePlanMany64:8", "cufftMakePlanMany64:16",
                                        "cufftMakePlanMany64:5"};
    (void)state;
    needs_fakes("its library does not fail");
    for (size_t i = 0; i < COUNT(calls); i++) {
        setenv("FAKE_CUFFT_FAIL", calls[i], 1);
        check_length(3, 100, FRAX_REFERENCE, false);
        unsetenv("FAKE_CUFFT_FAIL");
    }
}

/* A fault of the device within a transform. */
static void test_faults_on_the_device(void **state) {
    (void)state;
    needs_fakes("a fault ends its context");
    FraxError err = {0};
    setenv("FAKE_CUDA_FAULT", "cufftExecD2Z", 1);
    FraxStatus status = try_filter(true, &err);
    unsetenv("FAKE_CUDA_FAULT");
    assert_int_equal(status, FRAX_INTERNAL);
    if (!strstr(err.message, "kernel k") || !strstr(err.message, "_forward")) fail_msg("%s", err.message);
}

/* The work area is part of a program's memory. */
static void test_lack_of_memory(void **state) {
    (void)state;
    needs_fakes("the device is not full");
    FilterForm f = {"large", 2, {8, 6000}, 2, 0};
    FraxError err = {0};
    Graph *g = filter_graph(&f, FRAX_F64);
    Executable *exe = make_executable(g, FRAX_CUDA, 1, f.name);
    ExecutableStats stats = executable_stats(exe);
    assert_true(stats.arena_bytes > 3u * 8 * 3001 * 16); /* spectra of two operands, and the work area */
    executable_destroy(exe);
    ExecutableOptions options = {.target = FRAX_CUDA, .no_cache = true};
    setenv("FAKE_CUDA_MEMORY", "1000000", 1);
    Graph *copy = graph_rewrite(g, NULL, NULL, &err);
    FraxStatus status = executable_create(copy, &options, &exe, &err);
    unsetenv("FAKE_CUDA_MEMORY");
    assert_int_equal(status, FRAX_MEMORY);
    if (!strstr(err.message, "large needs ") || !strstr(err.message, " of 1000000 are free"))
        fail_msg("%s", err.message);
    graph_destroy(g);
    assert_int_equal(live_objects(), 0);
}

static void test_failing_allocations(void **state) {
    (void)state;
    needs_fakes("what is left behind is not counted");
    FilterForm f = {"allocations", 2, {66, 3}, 1, 0};
    Graph *g = filter_graph(&f, FRAX_F64);
    FraxStatus status = FRAX_MEMORY;
    Executable *exe = NULL;
    for (long n = 1; status; n += 1 + n / 16) {
        FraxError err = {0};
        ExecutableOptions options = {.target = FRAX_CUDA, .no_cache = true};
        Graph *copy = graph_rewrite(g, NULL, NULL, &err);
        mem_fail_after(n);
        status = executable_create(copy, &options, &exe, &err);
        mem_fail_after(0);
        if (status && status != FRAX_MEMORY) fail_msg("after %ld: %s", n, err.message);
    }
    executable_destroy(exe);
    graph_destroy(g);
    assert_int_equal(live_objects(), 0);
}

/* ---- The program ---- */

#define SIZES "--size B=3 --size N=300"
#define RUN   "run @/long.frax " SIZES " --in x=@/x.npy --no-cache"

static double *output(const char *arguments) {
    FraxTensor y;
    FraxError err;
    succeeds(arguments);
    assert_int_equal(npy_read(in_folder("y.npy"), &y, &err), FRAX_OK);
    return y.data;
}

static void show_names(bool by_library) {
    succeeds("show @/long.frax " SIZES " --cuda");
    says("KERNEL __launch_bounds__");
    assert_int_equal(strstr(out, ": cuFFT transforms 3 rows of 300 f64 samples; then this: spectral */\n") !=
                         NULL,
                     by_library);
    assert_int_equal(strstr(out, "cuFFT") != NULL, by_library);
}

static void write_case(void) {
    double data[900];
    FraxTensor x = {FRAX_F64, 2, {3, 300}, data};
    FraxError err;
    for (int i = 0; i < 900; i++) data[i] = sin((double)i * i);
    assert_int_equal(npy_write(in_folder("x.npy"), &x, &err), FRAX_OK);
    write_model("long.frax",
                "model long(x: f64[B, N]) {\n    y = frac(x, 0.6, kind=weyl)\n    return y\n}\n");
}

static void test_with_and_without(void **state) {
    (void)state;
    needs_library(cuda_fft_version);
    write_case();
    show_names(true);
    succeeds("devices");
    says(", for transforms that registers do not hold; ");
    says(on_gpu() ? "; cuFFT 1" : "; cuFFT 12.0.0, ");
    double *with = output(RUN " --target cuda --out y=@/y.npy"), *on_cpu = output(RUN " --out y=@/y.npy");
    char *kept = replace_library("FRAX_CUFFT", "none");
    show_names(false);
    succeeds("devices");
    says("; cuFFT is not taken from FRAX_CUFFT=none; without it long and odd transforms are frax's own, far "
         "slower; ");
    double *without = output(RUN " --target cuda --out y=@/y.npy");
    for (int i = 0; i < 900; i++) {
        assert_true(fabs(with[i] - on_cpu[i]) < 1e-12);
        assert_true(fabs(without[i] - on_cpu[i]) < 1e-12);
    }
    restore_library("FRAX_CUFFT", kept);
    mem_free(with);
    mem_free(without);
    mem_free(on_cpu);
}

/* A library of a newer CUDA than the driver's is not taken. */
static void test_other_versions(void **state) {
    (void)state;
    needs_fakes("its version cannot be set");
    write_case();
    setenv("FAKE_CUFFT_VERSION", "13000", 1);
    show_names(false);
    unsetenv("FAKE_CUFFT_VERSION");
}

/* What is compiled ahead of time finds no library where it runs. */
static void test_compile(void **state) {
    (void)state;
    write_case();
    succeeds("compile @/long.frax " SIZES " --target cuda -o @/long");
    char *text = read_all("long.c");
    assert_non_null(text);
    assert_non_null(strstr(text, "{\"k0\", "));
    assert_null(strstr(text, "_forward"));
    free(text);
}

/* ---- NVIDIA's own ---- */

/* All symbols are there, and a version. Without a GPU it makes no plan, which is a refusal: the rows are
 * frax's own. */
static void test_real_library(void **state) {
    (void)state;
    needs_fakes("all transforms are its own");
    write_case();
    char *kept = replace_library("FRAX_CUFFT", NULL);
    cJSON *tree = json("devices --json");
    const cJSON *version = at(cJSON_GetArrayItem(at(tree, "devices", NULL, NULL), 3), "cufft", NULL, NULL);
    bool found = cJSON_IsString(version);
    if (found) print_message("NVIDIA's cuFFT %s\n", version->valuestring);
    if (found) assert_in_range(atoi(version->valuestring), 10, 99);
    cJSON_Delete(tree);
    expect_leaks(true);
    if (found) assert_int_equal(frax(RUN " --target cuda"), 0);
    expect_leaks(false);
    restore_library("FRAX_CUFFT", kept);
    if (found) return;
    print_message("skipped: NVIDIA's cuFFT is not here\n");
    skip();
}

static void test_real_header(void **state) {
    (void)state;
    needs_fakes("its toolkit may have no compiler for C");
    expect_abi("cufft.h", "tests/cufft_abi.c");
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
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_long_lengths),
        cmocka_unit_test(test_longest_lengths),
        cmocka_unit_test(test_own_lengths),
        cmocka_unit_test(test_forms),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_spectra),
        cmocka_unit_test(test_operands),
        cmocka_unit_test(test_scales),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_failing_calls),
        cmocka_unit_test(test_refused_rows),
        cmocka_unit_test(test_faults_on_the_device),
        cmocka_unit_test(test_lack_of_memory),
        cmocka_unit_test(test_failing_allocations),
        cmocka_unit_test(test_with_and_without),
        cmocka_unit_test(test_other_versions),
        cmocka_unit_test(test_compile),
        cmocka_unit_test(test_real_library),
        cmocka_unit_test(test_real_header),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
