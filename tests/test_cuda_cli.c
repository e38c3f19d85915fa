/* test_cuda_cli.c — the verbs on the CUDA target, and what frax says where it cannot be had, and that it says
 * what to do; each in a process of its own, with the stand-ins of fake_cuda/ set to what is missing.
 */
#include "program_run.h"
#include <math.h>
#include "cuda_fakes.h"

#define NILE     "frontend/examples/nile.frax --in x=frontend/examples/data/nile.npy"
#define RUN_CUDA "run " NILE " --target cuda --no-cache"

/* ---- Verbs ---- */

static double value_of(const char *arguments, const char *group, const char *name) {
    cJSON *tree = json(arguments);
    double value = first_value(tree, group, name);
    cJSON_Delete(tree);
    return value;
}

static void test_verbs(void **state) {
    (void)state;
    const struct {
        const char *arguments, *group, *name;
    } rows[] = {{"run " NILE " --json", "outputs", "loss"},
                {"grad " NILE " --json", "outputs", "grad.d"},
                {"grad " NILE " --mode hvp --json", "outputs", "hvp.d"},
                {"grad " NILE " --mode forward --json", "outputs", "tangent.loss"},
                {"fit " NILE " --steps 5 --lr 0.01 --json", "params", "d"},
                {"fit " NILE " --steps 5 --optimizer lbfgs --json", "params", "d"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char other[256];
        snprintf(other, sizeof other, "%s --target cuda", rows[i].arguments);
        double cpu = value_of(rows[i].arguments, rows[i].group, rows[i].name),
               cuda = value_of(other, rows[i].group, rows[i].name);
        if (!(fabs(cpu - cuda) <= 1e-9 * fabs(cpu))) fail_msg("%s: %.17g and %.17g", other, cpu, cuda);
    }
}

static void test_bench(void **state) {
    (void)state;
    succeeds("bench " NILE " --target cuda --grad --repeat 1");
    says("fused: on the GPU, with the copies");
    says("\non the GPU alone          kernels     launch bytes/second\nforward ");
    cJSON *tree = json("bench " NILE " --target cuda --repeat 1 --json");
    const cJSON *row = cJSON_GetArrayItem(at(tree, "rows", NULL, NULL), 0);
    assert_true(cJSON_IsNull(at(row, "roofline", NULL, NULL)));
    assert_true(cJSON_GetNumberValue(at(row, "device_seconds", NULL, NULL)) > 0);
    assert_true(cJSON_GetNumberValue(at(row, "launch_seconds", NULL, NULL)) > 0);
    cJSON_Delete(tree);
}

static void test_show(void **state) {
    (void)state;
    write_model("columns.frax", "model columns(x: f32[M, N]) {\n s = sum(x^2, axis=0)\n return s\n}\n");
    succeeds("show @/columns.frax --size M=4096 --size N=1024 --kernels --target cuda");
    says("2048 blocks of 64 in parts of 32");
    succeeds("show @/columns.frax --size M=4096 --size N=1024 --cuda --target cuda");
    says("k0_finish");
    fails("show @/columns.frax --size M=9 --size N=9 --llvm --target cuda", 2,
          "--cuda is what a GPU is given");
    fails("show @/columns.frax --size M=9 --size N=9 --cuda --target cpu", 2, "not --target cpu");
    fails("show @/columns.frax --size M=9 --size N=9 --target eager", 2, "there is code for cpu and cuda");
}

/* States go from chunk to chunk. */
static void test_streams(void **state) {
    (void)state;
    enum { N = 700 };
    float x[N];
    for (int i = 0; i < N; i++) x[i] = sinf(0.1f * (float)(i * i % 97));
    FraxTensor tensor = {FRAX_F32, 1, {N}, x}, y[2];
    FraxError err;
    assert_int_equal(npy_write(in_folder("x.npy"), &tensor, &err), FRAX_OK);
    succeeds("run frontend/examples/pink.frax --in x=@/x.npy --stream T:128 --out y=@/cpu.npy");
    succeeds(
        "run frontend/examples/pink.frax --in x=@/x.npy --stream T:128 --out y=@/cuda.npy --target cuda");
    assert_int_equal(npy_read(in_folder("cpu.npy"), &y[0], &err), FRAX_OK);
    assert_int_equal(npy_read(in_folder("cuda.npy"), &y[1], &err), FRAX_OK);
    for (int i = 0; i < N; i++) assert_true(fabsf(((float *)y[0].data)[i] - ((float *)y[1].data)[i]) < 1e-5f);
    tensor_free(&y[0]);
    tensor_free(&y[1]);
}

/* ---- What is missing ---- */

typedef struct Setting {
    const char *name, *value;
} Setting;

static void apply(const Setting *settings, size_t n) {
    for (size_t i = 0; i < n; i++) setenv(settings[i].name, settings[i].value, 1);
}

static void undo(const Setting *settings, size_t n) {
    for (size_t i = 0; i < n; i++) unsetenv(settings[i].name);
    use_fakes();
}

enum { MOST_SETTINGS = 3 };

/* Fails with this status of the process, saying both; the CPU is not touched by it. */
typedef struct Case {
    Setting settings[MOST_SETTINGS];
    int status;
    const char *says, *remedy;
} Case;

static const Case cases[] = {
    {{{"FRAX_CUDA_DRIVER", "/nowhere/libcuda.so.1"}},
     3,
     "FRAX_CUDA_DRIVER names /nowhere/libcuda.so.1, which cannot be opened: cannot open shared object file",
     "let it name the libcuda.so.1 of NVIDIA's driver, or unset it"},
    {{{"FRAX_CUDA_DRIVER", "README.md"}},
     3,
     "FRAX_CUDA_DRIVER names README.md, which cannot be opened: ",
     "let it name the libcuda.so.1 of NVIDIA's driver, or unset it"},
    {{{"FRAX_CUDA_DRIVER", "libm.so.6"}},
     3,
     "FRAX_CUDA_DRIVER names libm.so.6, which is not an NVIDIA driver for CUDA 11.4 or newer",
     "let it name the libcuda.so.1 of NVIDIA's driver, or unset it"},
    {{{"FAKE_CUDA_DEVICES", "0"}}, 3, "the driver finds no GPU", "CUDA_VISIBLE_DEVICES"},
    {{{"FRAX_NVRTC", "/nowhere/libnvrtc.so"}},
     3,
     "FRAX_NVRTC names /nowhere/libnvrtc.so, which cannot be opened: cannot open shared object file",
     "let it name the libnvrtc.so of NVIDIA's CUDA toolkit, or unset it"},
    {{{"FRAX_NVRTC", "libm.so.6"}},
     3,
     "FRAX_NVRTC names libm.so.6, which is not NVRTC",
     "let it name the libnvrtc.so of NVIDIA's CUDA toolkit, or unset it"},
    {{{"FAKE_CUDA_VERSION", "12040"}},
     3,
     "the driver is for CUDA 12.4, NVRTC is of 13.0",
     "update NVIDIA's driver, or install NVRTC 12"},
    {{{"FAKE_CUDA_VERSION", "11040"}, {"FAKE_NVRTC_VERSION", "11060"}},
     3,
     "NVRTC is of CUDA 11.6, and frax needs that of 11.7 or newer",
     "pip install nvidia-cuda-nvrtc-cu11"},
    {{{"FAKE_CUDA_CAPABILITY", "61"}},
     3,
     "Fake GPU 0, has compute capability 6.1, and NVRTC 13.0 compiles for 7.5 and newer",
     "an older NVRTC"},
    {{{"FAKE_CUDA_CAPABILITY", "91"}, {"FAKE_CUDA_VERSION", "12040"}, {"FAKE_NVRTC_VERSION", "12080"}},
     3,
     "NVRTC 12.8 does not know device 0, Fake GPU 0 (compute capability 9.1)",
     "update NVIDIA's driver or NVRTC"},
    {{{"FAKE_NVRTC_FAIL", "1"}},
     3,
     "nile: NVRTC 13.0 does not compile ",
     "frax.cu(3): error: the environment asks"},
    {{{"FAKE_CUDA_MEMORY", "1000"}},
     3,
     "out of memory on device 0, Fake GPU 0: nile needs ",
     "1000 of 1000 are free"},
    {{{"FAKE_CUDA_FAULT", "k0"}},
     3,
     "CUDA: a run of nile: an illegal memory access",
     "error 719 of the driver"},
};

static void test_what_is_missing(void **state) {
    (void)state;
    needs_fakes("nothing is missing");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const Case *c = &cases[i];
        size_t n = 0;
        while (n < MOST_SETTINGS && c->settings[n].name) n++;
        apply(c->settings, n);
        fails(RUN_CUDA, c->status, c->says);
        if (!strstr(messages, c->remedy)) fail_msg("%s", messages);
        succeeds("run " NILE " --target cpu");
        undo(c->settings, n);
    }
    succeeds(RUN_CUDA);
}

/* A file that is no library is no reason to do without it in silence. */
static void test_misnamed_libraries(void **state) {
    (void)state;
    needs_fakes("their files are named here");
    write_model("odd.frax", "model odd(x: f32[20, 1000]) {\n y = frac(x, 0.5)\n return y\n}\n");
    setenv("FRAX_CUFFT", "README.md", 1);
    succeeds(RUN_CUDA);
    fails("bench @/odd.frax --target cuda --repeat 1", 3,
          "FRAX_CUFFT names README.md, which cannot be opened: ");
    setenv("FRAX_CUFFT", "none", 1);
    succeeds("bench @/odd.frax --target cuda --repeat 1");
    use_fakes();
}

static void test_device_numbers(void **state) {
    (void)state;
    const Setting two[] = {{"FAKE_CUDA_DEVICES", "2"}};
    needs_fakes("the number of devices cannot be set");
    fails(RUN_CUDA " --device 1", 3, "there is no device 1; this machine has 1, counted from 0");
    apply(two, 1);
    succeeds(RUN_CUDA " --device 1");
    fails(RUN_CUDA " --device 2", 3, "there is no device 2; this machine has 2");
    undo(two, 1);
    fails("run " NILE " --device 1", 2, "--device chooses a GPU for --target cuda");
    fails(RUN_CUDA " --threads 2", 2, "--threads is not for --target cuda");
}

/* A newer GPU than NVRTC knows gets PTX; a driver of the same major version as NVRTC loads its machine code.
 */
static void test_what_still_works(void **state) {
    (void)state;
    const Setting newer[] = {{"FAKE_CUDA_CAPABILITY", "130"}},
                  minor[] = {{"FAKE_CUDA_VERSION", "12020"}, {"FAKE_NVRTC_VERSION", "12080"}},
                  oldest[] = {{"FAKE_CUDA_VERSION", "11040"}, {"FAKE_NVRTC_VERSION", "11070"}};
    needs_fakes("its versions cannot be set");
    apply(newer, 1);
    succeeds(RUN_CUDA);
    undo(newer, 1);
    apply(minor, 2);
    succeeds(RUN_CUDA);
    undo(minor, 2);
    apply(oldest, 2);
    succeeds(RUN_CUDA);
    undo(oldest, 2);
}

static void test_devices(void **state) {
    (void)state;
    const Setting two[] = {{"FAKE_CUDA_DEVICES", "2"}, {"FAKE_CUDA_MEMORY", "4000000000"}},
                  none[] = {{"FRAX_NVRTC", "/nowhere/libnvrtc.so"}};
    if (on_gpu()) {
        succeeds("devices");
        says("\ncuda       yes  driver for CUDA ");
        says("\ncuda:0     yes  ");
        return;
    }
    apply(two, 2);
    succeeds("devices");
    says("\ncuda       yes  driver for CUDA 13.0; NVRTC 13.0; ");
    says("\ncuda:1     yes  Fake GPU 1, compute capability 9.0, 4.0 GB, 4.0 GB free\n");
    cJSON *tree = json("devices --json");
    const cJSON *devices = at(tree, "devices", NULL, NULL), *cuda = cJSON_GetArrayItem(devices, 3),
                *gpu = cJSON_GetArrayItem(devices, 5);
    assert_int_equal(cJSON_GetArraySize(devices), 6);
    assert_true(cJSON_IsTrue(at(cuda, "available", NULL, NULL)));
    assert_string_equal(cJSON_GetStringValue(at(cuda, "nvrtc", NULL, NULL)), "13.0");
    assert_string_equal(cJSON_GetStringValue(at(gpu, "name", NULL, NULL)), "cuda:1");
    assert_string_equal(cJSON_GetStringValue(at(gpu, "compute_capability", NULL, NULL)), "9.0");
    assert_true(cJSON_GetNumberValue(at(gpu, "memory_bytes", NULL, NULL)) == 4e9);
    cJSON_Delete(tree);
    undo(two, 2);
    setenv("FAKE_CUDA_CAPABILITY", "70", 1);
    succeeds("devices");
    says("\ncuda:0     no   Fake GPU 0, compute capability 7.0, ");
    says("CUDA: device 0, Fake GPU 0, has compute capability 7.0, and NVRTC 13.0 compiles for 7.5 and newer");
    unsetenv("FAKE_CUDA_CAPABILITY");
    apply(none, 1);
    succeeds("devices");
    says("\ncuda       no   driver for CUDA 13.0; CUDA: the environment variable FRAX_NVRTC names /nowhere/");
    says("\ncuda:0     yes  Fake GPU 0");
    undo(none, 1);
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
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_bench),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_streams),
        cmocka_unit_test(test_what_is_missing),
        cmocka_unit_test(test_device_numbers),
        cmocka_unit_test(test_what_still_works),
        cmocka_unit_test(test_misnamed_libraries),
        cmocka_unit_test(test_devices),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
