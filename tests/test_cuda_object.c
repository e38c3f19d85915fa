/* test_cuda_object.c — frax compile --target cuda: the source that it writes, compiled by the host's C
 * compiler and linked with the stand-in for NVIDIA's driver (fake_cuda/), gives what the reference target
 * gives; which kernels a device takes; statuses; guarded values; files and messages.
 *
 * Relative to the largest element: 1e-12 in f64, where sums of some hundred terms differ in their order.
 */
#include "program_run.h"
#include "cuda_fakes.h"
#include "fake_cuda/cuda.h"
#include "frax.h"
#include <math.h>
#include <sys/stat.h>

enum { B = 3, N = 40, ARGS = 3, OUTS = 6 };

/* Outputs: a scalar, a large one, the same again, inputs as they are, a gradient; a is guarded. */
static const char text[] = "model kept(x: f64[B, N], k: i32[N]) {\n"
                           "    param a: f64 = 0.4\n"
                           "    y    = frac(x, a)\n"
                           "    loss = mean(y^2) + mean(lgamma(x + 2))\n"
                           "    z    = y\n"
                           "    return loss, y, z, x, k\n"
                           "}\n";
static const size_t arg_bytes[ARGS] = {B * N * 8, N * 4, 8};
static const size_t out_bytes[OUTS] = {8, B *N * 8, B *N * 8, B *N * 8, N * 4, 8};

typedef struct kept_program Program;
typedef int Run(Program *program, const CUdeviceptr *args, const CUdeviceptr *outs, CUstream stream);

/* The compiled source, and what it calls. */
typedef struct Launcher {
    void *library;
    int (*load)(Program **program, const char *path);
    Run *run, *launch;
    void (*destroy)(Program *program);
} Launcher;

/* Of the stand-in, as the test calls them. */
static struct {
    CUresult (*init)(unsigned flags);
    CUresult (*retain)(CUcontext *context, CUdevice device);
    CUresult (*release)(CUdevice device);
    CUresult (*push)(CUcontext context);
    CUresult (*pop)(CUcontext *context);
    CUresult (*alloc)(CUdeviceptr *address, size_t bytes);
    CUresult (*free)(CUdeviceptr address);
    CUresult (*to_device)(CUdeviceptr to, const void *from, size_t bytes, CUstream stream);
    CUresult (*to_host)(void *to, CUdeviceptr from, size_t bytes, CUstream stream);
    CUresult (*create)(CUstream *stream, unsigned flags);
    CUresult (*destroy)(CUstream stream);
    CUresult (*wait)(CUstream stream);
    CUresult (*capture_begin)(CUstream stream, int mode);
    CUresult (*capture_end)(CUstream stream, CUgraph *graph);
    CUresult (*graph_destroy)(CUgraph graph);
} cu;

static CUstream stream;

static void take(void *library, const char *name, void *function) {
    void *address = dlsym(library, name);
    if (!address) fail_msg("%s", dlerror());
    memcpy(function, &address, sizeof address);
}

static void open_driver(void) {
    CUcontext context;
    const char *chosen = getenv("FRAX_CUDA_DRIVER");
    void *l = dlopen(chosen ? chosen : "libcuda.so.1", RTLD_NOW | RTLD_GLOBAL);
    if (!l) fail_msg("%s", dlerror());
    take(l, "cuInit", &cu.init);
    take(l, "cuDevicePrimaryCtxRetain", &cu.retain);
    take(l, "cuDevicePrimaryCtxRelease_v2", &cu.release);
    take(l, "cuCtxPushCurrent_v2", &cu.push);
    take(l, "cuCtxPopCurrent_v2", &cu.pop);
    take(l, "cuMemAlloc_v2", &cu.alloc);
    take(l, "cuMemFree_v2", &cu.free);
    take(l, "cuMemcpyHtoDAsync_v2", &cu.to_device);
    take(l, "cuMemcpyDtoHAsync_v2", &cu.to_host);
    take(l, "cuStreamCreate", &cu.create);
    take(l, "cuStreamDestroy_v2", &cu.destroy);
    take(l, "cuStreamSynchronize", &cu.wait);
    take(l, "cuStreamBeginCapture_v2", &cu.capture_begin);
    take(l, "cuStreamEndCapture", &cu.capture_end);
    take(l, "cuGraphDestroy", &cu.graph_destroy);
    assert_int_equal(cu.init(0), 0);
    assert_int_equal(cu.retain(&context, 0), 0);
    assert_int_equal(cu.push(context), 0);
    assert_int_equal(cu.create(&stream, CU_STREAM_NON_BLOCKING), 0);
}

static void close_driver(void) {
    CUcontext context;
    assert_int_equal(cu.destroy(stream), 0);
    assert_int_equal(cu.pop(&context), 0);
    assert_int_equal(cu.release(0), 0);
    assert_int_equal(live_objects(), 0);
}

static const char *compiler(void) {
    const char *cc = getenv("CC");
    return cc && *cc ? cc : "cc";
}

/* At the start of a case that builds what was written: packed programs may run where there is none. */
static void needs_compiler(void) {
    char command[PATH_MAX];
    snprintf(command, sizeof command, "command -v %s > /dev/null", compiler());
    if (!system(command)) return;
    print_message("skipped: there is no C compiler %s\n", compiler());
    skip();
}

static Launcher build(void) {
    char command[3 * PATH_MAX];
    Launcher l;
    snprintf(command, sizeof command,
             "%s -std=c11 -Wall -Wextra -Werror -shared -fPIC -Itests/fake_cuda '%s/kept.c' -o '%s/kept.so'",
             compiler(), folder, folder);
    assert_int_equal(system(command), 0);
    l.library = dlopen(in_folder("kept.so"), RTLD_NOW | RTLD_LOCAL);
    if (!l.library) fail_msg("%s", dlerror());
    take(l.library, "kept_load", &l.load);
    take(l.library, "kept_run", &l.run);
    take(l.library, "kept_launch", &l.launch);
    take(l.library, "kept_destroy", &l.destroy);
    return l;
}

/* ---- Values ---- */

typedef struct Values {
    double x[B * N], a;
    int32_t k[N];
    double loss, y[B * N], z[B * N], x_again[B * N], gradient;
    int32_t k_again[N];
} Values;

static void fill(Values *v, double a) {
    memset(v, 0xff, sizeof *v);
    for (int i = 0; i < B * N; i++) v->x[i] = sin(0.7 * i) + 0.2 * cos(3.1 * i);
    for (int i = 0; i < N; i++) v->k[i] = 3 * i - 20;
    v->a = a;
}

static void expect(Values *v) {
    FraxModel *model;
    FraxExecutable *exe;
    FraxError err;
    FraxOptions options = frax_default_options();
    options.target = FRAX_REFERENCE;
    options.mode = FRAX_REVERSE;
    options.sizes = (FraxSize[]){{"B", B}, {"N", N}};
    options.nsizes = 2;
    if (frax_model_parse(text, "kept.frax", NULL, &model, &err) ||
        frax_compile(model, &options, &exe, &err) ||
        frax_run(exe, (const void *[]){v->x, v->k}, (const void *[]){&v->a},
                 (void *[]){&v->loss, v->y, v->z, v->x_again, v->k_again, &v->gradient}, &err))
        fail_msg("%s", err.message);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
}

static bool is_close(const double *got, const double *expected, int n) {
    double largest = 0, worst = 0;
    for (int i = 0; i < n; i++) largest = fmax(largest, fabs(expected[i]));
    for (int i = 0; i < n; i++) worst = isnan(got[i]) ? INFINITY : fmax(worst, fabs(got[i] - expected[i]));
    return worst <= 1e-12 * largest;
}

/* ---- The device's arrays ---- */

typedef struct Arrays {
    CUdeviceptr args[ARGS], outs[OUTS];
} Arrays;

static Arrays make_arrays(const Values *v) {
    const void *const from[ARGS] = {v->x, v->k, &v->a};
    Arrays a;
    for (int i = 0; i < ARGS; i++) {
        assert_int_equal(cu.alloc(&a.args[i], arg_bytes[i]), 0);
        assert_int_equal(cu.to_device(a.args[i], from[i], arg_bytes[i], stream), 0);
    }
    for (int i = 0; i < OUTS; i++) assert_int_equal(cu.alloc(&a.outs[i], out_bytes[i]), 0);
    return a;
}

static void fetch(const Arrays *a, Values *v) {
    void *const to[OUTS] = {&v->loss, v->y, v->z, v->x_again, v->k_again, &v->gradient};
    for (int i = 0; i < OUTS; i++) assert_int_equal(cu.to_host(to[i], a->outs[i], out_bytes[i], stream), 0);
    assert_int_equal(cu.wait(stream), 0);
}

static void free_arrays(const Arrays *a) {
    for (int i = 0; i < ARGS; i++) assert_int_equal(cu.free(a->args[i]), 0);
    for (int i = 0; i < OUTS; i++) assert_int_equal(cu.free(a->outs[i]), 0);
}

static void check_run(Run *run, Program *p, double alpha) {
    Values got, expected;
    fill(&got, alpha);
    fill(&expected, alpha);
    expect(&expected);
    Arrays a = make_arrays(&got);
    assert_int_equal(run(p, a.args, a.outs, stream), 0);
    fetch(&a, &got);
    assert_true(is_close(&got.loss, &expected.loss, 1));
    assert_true(is_close(got.y, expected.y, B * N));
    assert_memory_equal(got.z, got.y, sizeof got.y);
    assert_memory_equal(got.x_again, got.x, sizeof got.x);
    assert_memory_equal(got.k_again, got.k, sizeof got.k);
    assert_true(is_close(&got.gradient, &expected.gradient, 1));
    free_arrays(&a);
}

/* ---- Tests ---- */

static const char compile[] = "compile @/kept.frax --target cuda --grad --size B=3 --size N=40 -o @/kept";

static void test_runs(void **state) {
    (void)state;
    Program *p;
    needs_compiler();
    succeeds(compile);
    open_driver();
    Launcher l = build();
    for (int order = 0; order < THREAD_ORDERS; order++) {
        use_order(order);
        assert_int_equal(l.load(&p, in_folder("kept")), 0);
        check_run(l.run, p, 0.4);
        check_run(l.launch, p, -0.3);
        l.destroy(p);
    }
    l.destroy(NULL);
    close_driver();
    dlclose(l.library);
}

/* Machine code for the device's own major version, otherwise PTX. */
static void test_devices(void **state) {
    (void)state;
    static const char *const capabilities[] = {"80", "90", "120"};
    Program *p;
    needs_fakes("its capability cannot be set");
    needs_compiler();
    open_driver();
    Launcher l = build();
    for (size_t i = 0; i < 3; i++) {
        setenv("FAKE_CUDA_CAPABILITY", capabilities[i], 1);
        assert_int_equal(l.load(&p, in_folder("kept")), 0);
        check_run(l.run, p, 0.2);
        l.destroy(p);
    }
    setenv("FAKE_CUDA_CAPABILITY", "75", 1);
    assert_int_equal(l.load(&p, in_folder("kept")), 1000 + 209); /* no kernel image for the device */
    assert_null(p);
    unsetenv("FAKE_CUDA_CAPABILITY");
    close_driver();
    dlclose(l.library);
}

static void test_statuses(void **state) {
    (void)state;
    Program *p;
    Values v;
    needs_compiler();
    open_driver();
    Launcher l = build();
    fill(&v, INFINITY);
    Arrays a = make_arrays(&v), odd = a;
    assert_int_equal(l.load(NULL, "x"), 1);
    assert_int_equal(l.load(&p, in_folder("none")), 4);
    assert_int_equal(l.load(&p, in_folder("kept")), 0);
    assert_int_equal(l.run(p, NULL, a.outs, stream), 1);
    odd.args[0] += 4;
    assert_int_equal(l.run(p, odd.args, a.outs, stream), 2);
    odd.args[0] = 0;
    assert_int_equal(l.run(p, odd.args, a.outs, stream), 1);
    assert_int_equal(l.run(p, a.args, a.outs, stream), 16); /* a must be finite */
    assert_int_equal(l.launch(p, a.args, a.outs, stream), 0);
    assert_int_equal(cu.wait(stream), 0);
    check_run(l.run, p, 0.4);
    l.destroy(p);
    free_arrays(&a);
    close_driver();
    dlclose(l.library);
}

/* A run that would have to change the table of pointers cannot be captured, and changes nothing. */
static void test_capture(void **state) {
    enum { THREAD_LOCAL = 1 };
    (void)state;
    Program *p;
    Values v;
    CUgraph graph;
    needs_compiler();
    open_driver();
    Launcher l = build();
    fill(&v, 0.4);
    Arrays a = make_arrays(&v), other = a;
    assert_int_equal(l.load(&p, in_folder("kept")), 0);
    assert_int_equal(cu.wait(stream), 0);
    assert_int_equal(cu.capture_begin(stream, THREAD_LOCAL), 0);
    assert_int_equal(l.run(p, a.args, a.outs, stream), 1000 + 900);
    assert_int_equal(l.launch(p, a.args, a.outs, stream), 1000 + 900);
    assert_int_equal(cu.capture_end(stream, &graph), 0);
    assert_int_equal(cu.graph_destroy(graph), 0);
    assert_int_equal(l.run(p, a.args, a.outs, stream), 0);
    other.outs[1] = a.outs[2];
    other.outs[2] = a.outs[1];
    assert_int_equal(cu.capture_begin(stream, THREAD_LOCAL), 0);
    assert_int_equal(l.launch(p, other.args, other.outs, stream), 1000 + 900);
    assert_int_equal(l.launch(p, a.args, a.outs, stream), 0); /* the table is the run's before */
    assert_int_equal(cu.capture_end(stream, &graph), 0);
    assert_int_equal(cu.graph_destroy(graph), 0);
    assert_int_equal(l.run(p, other.args, other.outs, stream), 0);
    l.destroy(p);
    free_arrays(&a);
    close_driver();
    dlclose(l.library);
}

static void test_files(void **state) {
    (void)state;
    static const char *const written[] = {"kept.h", "kept.c", "kept.sm_90.cubin", "kept.sm_80.cubin",
                                          "kept.ptx"};
    FILE *older = fopen(in_folder("kept.fatbin"), "w");
    assert_non_null(older);
    fclose(older);
    char command[512];
    snprintf(command, sizeof command, "%s --save @/none/p.safetensors", compile);
    fails(command, 1, "none/p.safetensors");
    assert_int_equal(access(in_folder("kept.fatbin"), F_OK), 0);
    succeeds(compile);
    for (size_t i = 0; i < 5; i++) {
        says(written[i]);
        assert_int_equal(access(in_folder(written[i]), R_OK), 0);
    }
    assert_int_not_equal(access(in_folder("kept.fatbin"), F_OK), 0); /* it would be loaded first */
    char *header = read_all("kept.h");
    assert_non_null(strstr(header, "args[2]  double a"));
    assert_non_null(strstr(header, "#define KEPT_N 40"));
    assert_non_null(strstr(header, ": frac: alpha is out of its range"));
    free(header);
}

/* NVIDIA's own compiler gives text, whose end is not written. */
static void test_text_of_ptx(void **state) {
    (void)state;
    char *own = getenv("FRAX_NVRTC") ? strdup(getenv("FRAX_NVRTC")) : NULL;
    unsetenv("FRAX_NVRTC");
    cJSON *tree = json("devices --json");
    bool found =
        cJSON_IsString(at(cJSON_GetArrayItem(at(tree, "devices", NULL, NULL), 3), "nvrtc", NULL, NULL));
    cJSON_Delete(tree);
    setenv("LSAN_OPTIONS", "detect_leaks=0", 1); /* NVIDIA's library may leave memory behind */
    if (found) succeeds("compile @/kept.frax --target cuda --size B=3 --size N=40 -o @/real");
    unsetenv("LSAN_OPTIONS");
    own ? setenv("FRAX_NVRTC", own, 1) : unsetenv("FRAX_NVRTC");
    free(own);
    if (!found) {
        print_message("skipped: NVIDIA's NVRTC is not here\n");
        skip();
    }
    struct stat info;
    char *ptx = read_all("real.ptx");
    assert_non_null(strstr(ptx, ".version "));
    assert_int_equal(stat(in_folder("real.ptx"), &info), 0);
    assert_int_equal(info.st_size, strlen(ptx));
    free(ptx);
}

static void test_refusals(void **state) {
    (void)state;
    static const char *const options[] = {"--shared", "--cpu x86-64-v2", "--multi-version", "--asm",
                                          "--llvm",   "--threads 1",     "--params"};
    char command[512];
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        snprintf(command, sizeof command, "%s %s", compile, options[i]);
        fails(command, 2, "is not for --target cuda");
    }
    fails("compile @/kept.frax --target reference --size B=3 --size N=40 -o @/kept", 2, "cpu and cuda");
    char *own = getenv("FRAX_NVRTC") ? strdup(getenv("FRAX_NVRTC")) : NULL;
    setenv("FRAX_NVRTC", "/nonexistent/libnvrtc.so", 1);
    size_t before = count_files();
    fails("compile @/kept.frax --target cuda --size B=3 --size N=40 -o @/other", 3,
          "FRAX_NVRTC names /nonexistent/libnvrtc.so");
    assert_int_equal(count_files(), before);
    own ? setenv("FRAX_NVRTC", own, 1) : unsetenv("FRAX_NVRTC");
    free(own);
}

static int start(void **state) {
    (void)state;
    use_fakes();
    setenv("FRAX_FATBINARY", "/nonexistent/fatbinary", 1); /* which would not take the stand-in's images */
    if (make_folder()) return -1;
    write_model("kept.frax", text);
    return 0;
}

static int finish(void **state) {
    (void)state;
    return remove_folder();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_runs),     cmocka_unit_test(test_devices), cmocka_unit_test(test_statuses),
        cmocka_unit_test(test_capture),  cmocka_unit_test(test_files),   cmocka_unit_test(test_text_of_ptx),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
