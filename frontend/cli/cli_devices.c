/* cli_devices.c — the verb devices: what can be compiled for here, with which libraries, and what is missing.
 *
 * A line for each target, with a yes or no, and one for each GPU.
 */
#include "cli.h"
#include "cuda_compile.h"
#include <cblas.h>
#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <omp.h>
#include <string.h>
#if FRAX_HAVE_FFTW
#include <fftw3.h>
#endif

typedef struct Target {
    const char *name;
    bool available;
    Text detail;
    Text fields; /* further ones in JSON, each after a comma */
} Target;

/* The widest vectors among the features that LLVM names for this machine, as +avx2,-avx512f,…. */
static const char *vector_extensions(const char *features) {
    static const struct {
        const char *feature, *text;
    } table[] = {{"+avx512f", "AVX-512"}, {"+avx2", "AVX2"}, {"+avx", "AVX"},    {"+sve2", "SVE2"},
                 {"+sve", "SVE"},         {"+neon", "NEON"}, {"+v", "RISC-V V"}, {"+sse2", "SSE2"}};
    for (size_t i = 0; i < COUNT(table); i++) {
        size_t n = strlen(table[i].feature);
        for (const char *p = features; (p = strstr(p, table[i].feature)); p += n)
            if (p[n] == ',' || !p[n]) return table[i].text;
    }
    return "no vectors";
}

static void describe_cpu(Target *target) {
    char *cpu = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    unsigned major, minor, patch;
    LLVMGetVersion(&major, &minor, &patch);
    text_printf(&target->detail, "%s, %s, %d threads, compiled by LLVM %u.%u.%u", cpu,
                vector_extensions(features), omp_get_max_threads(), major, minor, patch);
    LLVMDisposeMessage(cpu);
    LLVMDisposeMessage(features);
}

static const char *fft_text(void) {
#if FRAX_HAVE_FFTW
    return fftw_version;
#else
    return "the library's own transform (this build has no FFTW)";
#endif
}

/* Only OpenBLAS tells its version. */
char *openblas_get_config(void) __attribute__((weak));

static void describe_eager(Target *target) {
    text_printf(&target->detail, "node by node with %s and %s", fft_text(),
                openblas_get_config ? openblas_get_config() : "a CBLAS library");
}

/* ---- CUDA ---- */

/* A version that was found, or what to do where there is none. */
static void add_version(Target *target, const char *name, const char *key, const char *version,
                        const FraxError *fault) {
    text_printf(&target->detail, "%s", target->detail.len ? "; " : "");
    if (version)
        text_printf(&target->detail, "%s %s", name, version);
    else
        text_printf(&target->detail, "%s", fault->message);
    text_printf(&target->fields, ", \"%s\": ", key);
    if (version)
        json_string(&target->fields, version);
    else
        text_printf(&target->fields, "null");
}

static void describe_cuda(Target *target) {
    char text[32];
    FraxError fault;
    const CudaDriver *cu = cuda_driver(&fault);
    if (cu) snprintf(text, sizeof text, "%d.%d", cu->version / 1000, cu->version % 1000 / 10);
    add_version(target, "driver for CUDA", "driver", cu ? text : NULL, &fault);
    const Nvrtc *nvrtc = cuda_nvrtc(&fault);
    if (nvrtc) snprintf(text, sizeof text, "%d.%d", nvrtc->major, nvrtc->minor);
    add_version(target, "NVRTC", "nvrtc", nvrtc ? text : NULL, &fault);
    const char *fft = cuda_fft_version(text, &fault);
    add_version(target, "cuFFT", "cufft", fft, &fault);
    text_printf(&target->detail, fft ? ", for transforms that registers do not hold"
                                     : "; without it long and odd transforms are frax's own, far slower");
    const char *blas = cuda_blas_version(text, &fault);
    add_version(target, "cuBLASLt", "cublaslt", blas, &fault);
    text_printf(&target->detail, blas ? ", for large matrix products"
                                      : "; without it matrix products are frax's own kernels, slower where "
                                        "they are large");
    target->available = cu && nvrtc;
}

static size_t free_memory(int number, FraxError *err) {
    CudaDevice device;
    size_t bytes = 0;
    if (cuda_device_open(number, &device, err)) return 0;
    if (!cuda_device_enter(&device, err)) {
        bytes = cuda_device_free_memory(&device);
        cuda_device_leave(&device);
    }
    return bytes;
}

static void describe_gpu(Target *target, int number) {
    CudaDevice d;
    FraxError fault = {0};
    if (cuda_device_describe(number, &d, &fault)) {
        text_printf(&target->detail, "%s", fault.message);
        return;
    }
    CudaArch arch;
    const Nvrtc *nvrtc = cuda_nvrtc(NULL);
    size_t left = free_memory(number, &fault);
    if (!fault.status && nvrtc) cuda_choose_arch(nvrtc, &d, &arch, &fault);
    target->available = !fault.status;
    text_printf(&target->detail, "%s, compute capability %d.%d, %.1f GB", d.name, d.major, d.minor,
                1e-9 * (double)d.memory);
    if (fault.status)
        text_printf(&target->detail, "; %s", fault.message);
    else
        text_printf(&target->detail, ", %.1f GB free", 1e-9 * (double)left);
    text_printf(&target->fields,
                ", \"compute_capability\": \"%d.%d\", \"memory_bytes\": %zu, \"free_bytes\": %zu", d.major,
                d.minor, d.memory, left);
}

/* ---- The verb ---- */

static void report(const Target *target, bool json, bool first, Text *out) {
    const char *detail = target->detail.data ? target->detail.data : "";
    if (!json) {
        text_printf(out, "%-10s %-4s %s\n", target->name, target->available ? "yes" : "no", detail);
        return;
    }
    text_printf(out, "%s{\"name\": \"%s\", \"available\": %s, \"detail\": ", first ? "" : ", ", target->name,
                target->available ? "true" : "false");
    json_string(out, detail);
    text_printf(out, "%s}", target->fields.data ? target->fields.data : "");
}

static void finish(Target *target, bool json, bool first, Text *out) {
    out->failed |= target->detail.failed || target->fields.failed;
    report(target, json, first, out);
    text_free(&target->detail);
    text_free(&target->fields);
}

static void report_gpus(bool json, Text *out) {
    const CudaDriver *cu = cuda_driver(NULL);
    for (int i = 0; cu && i < cu->devices; i++) {
        char name[24];
        Target gpu = {.name = name};
        snprintf(name, sizeof name, "cuda:%d", i);
        describe_gpu(&gpu, i);
        finish(&gpu, json, false, out);
    }
}

FraxStatus cli_devices(Cli *cli, FraxError *err) {
    Target targets[] = {{.name = "cpu", .available = true},
                        {.name = "eager", .available = true},
                        {.name = "reference", .available = true},
                        {.name = "cuda"}};
    Text *out = &cli->text;
    describe_cpu(&targets[0]);
    describe_eager(&targets[1]);
    text_printf(&targets[2].detail, "node by node in f64 with naive loops");
    describe_cuda(&targets[3]);
    if (cli->json) text_printf(out, "{\"devices\": [");
    for (size_t i = 0; i < COUNT(targets); i++) finish(&targets[i], cli->json, i == 0, out);
    report_gpus(cli->json, out);
    if (cli->json) text_printf(out, "]}\n");
    return out->failed ? fail_memory(err, "the list of devices") : FRAX_OK;
}
