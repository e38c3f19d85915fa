/* test_cuda_runtime.c — the runtime of the CUDA target with kernels written by hand, on the stand-ins of
 * fake_cuda/: launches once and in every run, shared memory, barriers, shuffles, scratch; what is wrong with
 * a kernel is found and said; nothing is left behind.
 */
#include "cuda_executable.h"
#include "passes.h"
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>
#include "cuda_fakes.h"

enum { N = 1000, THREADS = 256, BLOCKS = 4, BIG_SHARED = 100000 };

/* y = x · (1 + i mod 7) and its sum: a table, partial sums of each block in the workspace, a last warp. */
static const char text[] =
    "typedef struct KernelContext {\n"
    "    char *arena, *statics, *workspace;\n"
    "    const void *const *inputs;\n"
    "    void *const *outputs;\n"
    "    const void *const *plans;\n"
    "} KernelContext;\n"
    "#ifdef __cplusplus\n"
    "#define KERNEL extern \"C\" __global__ void\n"
    "#else\n"
    "#define KERNEL __global__ void\n"
    "#endif\n"
    "KERNEL __launch_bounds__(32) table(const __grid_constant__ KernelContext c, char *scratch) {\n"
    "    for (int i = threadIdx.x; i < 7; i += 32) ((float *)c.statics)[i] = 1.0f + i;\n"
    "}\n"
    "KERNEL partial(const __grid_constant__ KernelContext c, char *scratch) {\n"
    "    extern __shared__ char memory[];\n"
    "    float *sum = (float *)memory;\n"
    "    const float *x = (const float *)c.inputs[0];\n"
    "    const int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x;\n"
    "    float y = 0;\n"
    "    if (i < 1000) y = x[i] * ((const float *)c.statics)[i % 7];\n"
    "    if (i < 1000) ((float *)c.outputs[0])[i] = y;\n"
    "    sum[t] = y;\n"
    "    __syncthreads();\n"
    "    for (int half = blockDim.x / 2; half > 0; half /= 2) {\n"
    "        if (t < half) sum[t] += sum[t + half];\n"
    "        __syncthreads();\n"
    "    }\n"
    "    if (t == 0) ((float *)c.workspace)[blockIdx.x] = sum[0];\n"
    "}\n"
    "KERNEL total(const __grid_constant__ KernelContext c, char *scratch) {\n"
    "    float v = threadIdx.x < 4 ? ((const float *)c.workspace)[threadIdx.x] : 0.0f;\n"
    "    for (int bits = 16; bits > 0; bits /= 2) v += __shfl_xor_sync(0xffffffffu, v, bits);\n"
    "    ((float *)scratch)[threadIdx.x] = v;\n"
    "    __syncwarp();\n"
    "    if (threadIdx.x == 0) *(float *)c.outputs[1] = ((float *)scratch)[31];\n"
    "}\n";

/* `text` with one piece replaced. */
static char *changed(const char *from, const char *to) {
    const char *at = strstr(text, from);
    assert_non_null(at);
    char *other = malloc(sizeof text + strlen(to));
    sprintf(other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    return other;
}

static Graph *build(void) {
    FraxError err;
    Graph *g = graph_create("byhand", "test");
    Value x = g_input(g, "x", (Type){FRAX_F32, SHAPE(N)}), y = g_unary(g, OP_exp, x);
    graph_output(g, "y", y);
    graph_output(g, "sum", g_reshape(g, g_reduce(g, OP_sum, y, 1), SCALAR));
    g->self_contained = g->gpu = true;
    if (run_passes(&g, NULL, &err)) fail_msg("%s", err.message);
    return g;
}

static void add_launch(CudaProgram *p, CudaLaunch launch) {
    assert_true(mem_grow(&p->launches, &p->launches_capacity, p->nlaunches + 1, sizeof *p->launches));
    p->launches[p->nlaunches++] = launch;
}

typedef struct Variant {
    const char *source;
    size_t shared;
    bool debug, cached;
} Variant;

static FraxStatus create(const Graph *g, Variant v, CudaExecutable **exe, ExecutableStats *stats,
                         FraxError *err) {
    CudaProgram p = {0};
    ExecutableOptions options = {
        .target = FRAX_CUDA, .device = on_gpu() ? 0 : 1, .no_cache = !v.cached, .debug = v.debug};
    assert_int_equal(program_create(g, &p.program, err), FRAX_OK);
    p.program.static_bytes = 64;
    p.program.workspace_bytes = BLOCKS * sizeof(float);
    p.scratch_bytes = 32 * sizeof(float);
    text_printf(&p.source, "%s", v.source ? v.source : text);
    add_launch(&p, (CudaLaunch){.name = "table", .moment = CUDA_STATIC, .grid = 1, .threads = 32});
    add_launch(&p, (CudaLaunch){.name = "partial",
                                .moment = CUDA_RUN,
                                .grid = BLOCKS,
                                .threads = THREADS,
                                .shared = v.shared ? v.shared : THREADS * sizeof(float)});
    add_launch(&p, (CudaLaunch){.name = "total", .moment = CUDA_RUN, .grid = 1, .threads = 32});
    return cuda_executable_from(&p, &options, exe, stats, err);
}

static FraxStatus run(CudaExecutable *exe, float factor, float *y, float *sum, FraxError *err) {
    float x[N];
    for (int i = 0; i < N; i++) x[i] = factor * (float)(i % 5 - 1);
    memset(y, 0xff, N * sizeof *y);
    return cuda_executable_run(exe, (const void *[]){x}, (void *[]){y, sum}, err);
}

/* Small whole numbers: exact in any order. */
static bool is_right(float factor, const float *y, float sum) {
    double total = 0;
    bool ok = true;
    for (int i = 0; i < N; i++) {
        float expected = factor * (float)(i % 5 - 1) * (float)(1 + i % 7);
        ok &= y[i] == expected;
        total += (double)expected;
    }
    return ok && (double)sum == total;
}

static void expect_right(CudaExecutable *exe, float factor) {
    float y[N], sum;
    FraxError err;
    if (run(exe, factor, y, &sum, &err)) fail_msg("%s", err.message);
    assert_true(is_right(factor, y, sum));
}

static CudaExecutable *make(const Graph *g, Variant v) {
    CudaExecutable *exe;
    ExecutableStats stats = {0};
    FraxError err;
    if (create(g, v, &exe, &stats, &err)) fail_msg("%s", err.message);
    assert_int_equal(stats.from_cache, false);
    return exe;
}

/* Creation or the run fails so, and nothing is left behind. */
static void expect_fault(Variant v, FraxStatus expected, const char *says, const char *also) {
    Graph *g = build();
    CudaExecutable *exe = NULL;
    ExecutableStats stats = {0};
    FraxError err = {0};
    float y[N], sum;
    FraxStatus status = create(g, v, &exe, &stats, &err);
    if (!status) status = run(exe, 1, y, &sum, &err);
    if (status != expected || !strstr(err.message, says) || !strstr(err.message, also))
        fail_msg("%d: %s", (int)status, err.message);
    cuda_executable_destroy(exe);
    graph_destroy(g);
    assert_int_equal(live_objects(), 0);
}

/* ---- What works ---- */

static void test_runs(void **state) {
    (void)state;
    Graph *g = build();
    for (int order = 0; order < THREAD_ORDERS; order++) {
        use_order(order);
        CudaExecutable *exe = make(g, (Variant){.debug = order == 1});
        for (int i = 1; i <= 3; i++) expect_right(exe, (float)i);
        cuda_executable_destroy(exe);
        assert_int_equal(live_objects(), 0);
    }
    use_order(0);
    graph_destroy(g);
}

/* Tables are made once; a run is one launch of a graph, with one copy each way. */
static void test_launches(void **state) {
    (void)state;
    needs_fakes("copies and launches are not counted");
    Graph *g = build();
    CudaExecutable *exe = make(g, (Variant){0});
    Counts start = counts_since((Counts){0});
    for (int i = 1; i <= 5; i++) expect_right(exe, (float)i);
    Counts done = counts_since(start);
    assert_int_equal(done.kernels, 5 * 2);
    assert_int_equal(done.copies, 5 * 2);
    assert_int_equal(done.graphs, 5);
    cuda_executable_destroy(exe);
    graph_destroy(g);
}

/* The kernels alone, between two events; runs go on as before. */
static void test_times(void **state) {
    (void)state;
    Graph *g = build();
    CudaExecutable *exe = make(g, (Variant){0});
    RunTimes times = {-1, -1};
    FraxError err;
    expect_right(exe, 2);
    Counts start = counts_since((Counts){0});
    if (cuda_executable_time(exe, 6, &times, &err)) fail_msg("%s", err.message);
    Counts done = counts_since(start);
    assert_true(on_gpu() || (done.kernels == 6 * 2 && done.graphs == 6 && !done.copies));
    assert_true(times.device > 0 && times.device < 1);
    assert_true(times.launch > 0 && times.launch < 1);
    expect_right(exe, 3);
    cuda_executable_destroy(exe);
    assert_int_equal(live_objects(), 0);
    graph_destroy(g);
}

static void test_large_shared_memory(void **state) {
    (void)state;
    Graph *g = build();
    const size_t sizes[] = {48 << 10, BIG_SHARED}; /* the first leaves nothing for static memory, unasked */
    for (int i = 0; i < 2; i++) {
        CudaExecutable *exe = make(g, (Variant){.shared = sizes[i]});
        expect_right(exe, 2);
        cuda_executable_destroy(exe);
    }
    graph_destroy(g);
}

static void test_many_executables(void **state) {
    (void)state;
    Graph *g = build();
    CudaExecutable *first = make(g, (Variant){0});
    long one = live_objects();
    for (int i = 0; i < 10; i++) {
        CudaExecutable *exe = make(g, (Variant){0});
        expect_right(exe, 3);
        cuda_executable_destroy(exe);
        assert_int_equal(live_objects(), one);
    }
    expect_right(first, 4);
    cuda_executable_destroy(first);
    assert_int_equal(live_objects(), 0);
    graph_destroy(g);
}

/* A device starts once for a process, whoever makes the first executable on it. */
static void *make_and_destroy(void *graph) {
    ExecutableStats stats = {0};
    FraxError err;
    CudaExecutable *exe;
    if (create(graph, (Variant){0}, &exe, &stats, &err)) return NULL;
    cuda_executable_destroy(exe);
    return graph;
}

static void test_one_context(void **state) {
    enum { USERS = 4 };
    pthread_t users[USERS];
    void *done;
    (void)state;
    Graph *g = build();
    for (int i = 0; i < 3; i++) assert_non_null(make_and_destroy(g));
    for (int i = 0; i < USERS; i++) assert_int_equal(pthread_create(&users[i], NULL, make_and_destroy, g), 0);
    for (int i = 0; i < USERS; i++) {
        assert_int_equal(pthread_join(users[i], &done), 0);
        assert_non_null(done);
    }
    assert_true(on_gpu() || made_contexts() == 1);
    assert_int_equal(live_objects(), 0);
    graph_destroy(g);
}

/* ---- The cache ---- */

static void find_entry(const char *folder, char path[1200]) {
    char name[600];
    int n = 0;
    snprintf(name, sizeof name, "%s/frax", folder);
    DIR *dir = opendir(name);
    assert_non_null(dir);
    for (struct dirent *e; (e = readdir(dir));) {
        const char *dot = strrchr(e->d_name, '.');
        if (!dot || strcmp(dot, ".cubin")) continue;
        snprintf(path, 1200, "%s/%s", name, e->d_name);
        n++;
    }
    closedir(dir);
    assert_int_equal(n, 1);
}

static void flip_byte(const char *path, long at) {
    FILE *file = fopen(path, "r+b");
    assert_non_null(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    int byte = fgetc(file);
    assert_int_equal(fseek(file, at, SEEK_SET), 0);
    fputc(byte ^ 0x20, file);
    fclose(file);
}

static bool is_cached(const Graph *g, const char *source) {
    CudaExecutable *exe;
    ExecutableStats stats = {0};
    FraxError err;
    if (create(g, (Variant){.source = source, .cached = true}, &exe, &stats, &err))
        fail_msg("%s", err.message);
    if (!source) expect_right(exe, 1);
    cuda_executable_destroy(exe);
    return stats.from_cache;
}

static void test_cache(void **state) {
    (void)state;
    char folder[300], path[1200], command[1300];
    const char *base = getenv("TMPDIR"), *own = getenv("XDG_CACHE_HOME");
    char *before = own ? strdup(own) : NULL;
    snprintf(folder, sizeof folder, "%s/frax-cuda-XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(folder));
    setenv("XDG_CACHE_HOME", folder, 1);
    Graph *g = build();
    assert_false(is_cached(g, NULL));
    assert_true(is_cached(g, NULL));
    find_entry(folder, path);
    const long places[] = {0, 9, 17, 25, 40, 5000}; /* magic, key, checksum, size, code */
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        flip_byte(path, places[i]);
        assert_false(is_cached(g, NULL)); /* not trusted, */
        assert_true(is_cached(g, NULL));  /* and mended */
    }
    assert_int_equal(truncate(path, 100), 0);
    assert_false(is_cached(g, NULL));
    char *other = changed("1.0f + i", "2.0f + i");
    assert_false(is_cached(g, other));
    free(other);
    graph_destroy(g);
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    assert_int_equal(system(command), 0);
    if (before) setenv("XDG_CACHE_HOME", before, 1);
    free(before);
}

/* ---- What is found ---- */

/* Without its barrier the sum depends on the order of the threads. */
static void test_a_missing_barrier_shows(void **state) {
    (void)state;
    needs_fakes("the order of its threads cannot be set");
    char *other = changed("    __syncthreads();\n    for", "    for");
    Graph *g = build();
    int wrong = 0;
    for (int order = 0; order < THREAD_ORDERS; order++) {
        float y[N], sum = 0;
        FraxError err;
        use_order(order);
        CudaExecutable *exe = make(g, (Variant){.source = other});
        if (run(exe, 1, y, &sum, &err)) fail_msg("%s", err.message);
        wrong += !is_right(1, y, sum);
        cuda_executable_destroy(exe);
    }
    use_order(0);
    assert_true(wrong > 0);
    graph_destroy(g);
    free(other);
}

static void test_barriers_that_are_not_met(void **state) {
    (void)state;
    needs_fakes("it would wait forever");
    char *some = changed("    __syncthreads();\n    for", "    if (t < 40) __syncthreads();\n    for");
    expect_fault((Variant){.source = some}, FRAX_INTERNAL, "CUDA: a run of byhand",
                 "kernel partial never meet");
    expect_fault((Variant){.source = some, .debug = true}, FRAX_INTERNAL, "CUDA: kernel partial of byhand",
                 "waits for its block");
    char *returned = changed("    float y = 0;\n", "    float y = 0;\n    if (t == 3) return;\n");
    expect_fault((Variant){.source = returned}, FRAX_INTERNAL, "kernel partial never meet", "has returned");
    char *warp = changed("    __syncwarp();\n", "    if (threadIdx.x != 9) __syncwarp();\n");
    expect_fault((Variant){.source = warp}, FRAX_INTERNAL, "kernel total never meet", "waits for its warp");
    char *mask = changed("0xffffffffu", "0x0000ffffu");
    expect_fault((Variant){.source = mask}, FRAX_INTERNAL, "kernel total has a warp meet in part", "");
    free(some);
    free(returned);
    free(warp);
    free(mask);
}

static void test_misaligned_accesses(void **state) {
    (void)state;
    needs_fakes("it stops for good");
    char *word = changed("    sum[t] = y;\n", "    sum[t] = WORD(const float4, x + i % 4).x;\n");
    expect_fault((Variant){.source = word}, FRAX_INTERNAL, "kernel partial makes a misaligned access", "");
    free(word);
}

static void test_writes_out_of_bounds(void **state) {
    (void)state;
    needs_fakes("it does not see them");
    char *shared = changed("    sum[t] = y;\n", "    sum[t] = y;\n    if (t == 0) sum[256] = 1;\n");
    expect_fault((Variant){.source = shared}, FRAX_INTERNAL, "kernel partial writes beyond its 1024 bytes",
                 "");
    free(shared);
    char *global =
        changed("    sum[t] = y;\n", "    sum[t] = y;\n    if (t == 0) ((float *)c.outputs[1])[64] = 1;\n");
    expect_fault((Variant){.source = global}, FRAX_INTERNAL,
                 "kernel partial writes outside the memory it was given", "");
    free(global);
}

static void test_text_that_does_not_compile(void **state) {
    (void)state;
    char *other = changed("float y = 0;", "float y = nothing;");
    expect_fault((Variant){.source = other}, FRAX_INTERNAL, " does not compile partial: frax.cu(20): error",
                 "nothing");
    free(other);
    other = changed("KERNEL total(", "KERNEL sum(");
    expect_fault((Variant){.source = other}, FRAX_INTERNAL, "kernel total: named symbol not found", "");
    free(other);
}

static void test_faults_of_kernels(void **state) {
    (void)state;
    needs_fakes("a fault ends its context");
    setenv("FAKE_CUDA_FAULT", "table", 1);
    expect_fault((Variant){0}, FRAX_INTERNAL, "CUDA: kernel table of byhand: an illegal memory access", "");
    setenv("FAKE_CUDA_FAULT", "total", 1);
    expect_fault((Variant){0}, FRAX_INTERNAL, "CUDA: a run of byhand: an illegal memory access", "");
    expect_fault((Variant){.debug = true}, FRAX_INTERNAL,
                 "CUDA: kernel total of byhand: an illegal memory access", "");
    unsetenv("FAKE_CUDA_FAULT");
}

static void test_limits_of_the_device(void **state) {
    (void)state;
    needs_fakes("its limits cannot be set");
    setenv("FAKE_CUDA_SHARED", "65536", 1);
    expect_fault((Variant){.shared = BIG_SHARED}, FRAX_UNSUPPORTED,
                 "kernel partial of byhand needs 101024 bytes",
                 "Fake GPU 1, has 65536; choose smaller sizes, or --target cpu");
    setenv("FAKE_CUDA_SHARED", "100500", 1); /* enough but for static memory */
    expect_fault((Variant){.shared = BIG_SHARED}, FRAX_UNSUPPORTED, "needs 101024 bytes", "has 100500");
    unsetenv("FAKE_CUDA_SHARED");
    setenv("FAKE_CUDA_MEMORY", "5000", 1);
    expect_fault((Variant){0}, FRAX_MEMORY, "out of memory on device 1, Fake GPU 1: byhand needs ",
                 "5000 of 5000 are free");
    unsetenv("FAKE_CUDA_MEMORY");
}

/* The driver needs memory of its own for what it makes. */
static void test_lack_of_memory(void **state) {
    static const struct {
        const char *call, *says;
    } cases[] = {
        {"cuDevicePrimaryCtxRetain:2", "CUDA: starting device 1, Fake GPU 1: out of memory"},
        {"cuModuleLoadData:2", "CUDA: loading the kernels of byhand: out of memory"},
        {"cuStreamCreate:2", "CUDA: a stream: out of memory"},
        {"cuGraphInstantiateWithFlags:2", "CUDA: capturing a run of byhand: out of memory"},
        {"cuGraphLaunch:2", "CUDA: launching byhand: out of memory"},
    };
    (void)state;
    needs_fakes("its driver does not fail");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("FAKE_CUDA_FAIL", cases[i].call, 1);
        expect_fault((Variant){0}, FRAX_MEMORY, cases[i].says, "error 2 of the driver");
    }
    unsetenv("FAKE_CUDA_FAIL");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lack_of_memory), /* first: a device starts once */
        cmocka_unit_test(test_one_context),
        cmocka_unit_test(test_runs),
        cmocka_unit_test(test_launches),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_large_shared_memory),
        cmocka_unit_test(test_many_executables),
        cmocka_unit_test(test_cache),
        cmocka_unit_test(test_a_missing_barrier_shows),
        cmocka_unit_test(test_barriers_that_are_not_met),
        cmocka_unit_test(test_misaligned_accesses),
        cmocka_unit_test(test_writes_out_of_bounds),
        cmocka_unit_test(test_text_that_does_not_compile),
        cmocka_unit_test(test_faults_of_kernels),
        cmocka_unit_test(test_limits_of_the_device),
    };
    use_fakes();
    setenv("FAKE_CUDA_DEVICES", "2", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
