/* cuda_compile.c — see cuda_compile.h. */
#include "cuda_compile.h"
#include "build_id.h"
#include "cache.h"
#include <stdlib.h>
#include <string.h>

/* Results are those of the text as it stands: no fast-math. */
static const char *const fixed_options[] = {"--std=c++17", "--device-as-default-execution-space"};

/* ---- Architectures ---- */

FraxStatus cuda_choose_arch(const Nvrtc *n, const CudaDevice *d, CudaArch *arch, FraxError *err) {
    int own = 10 * d->major + d->minor, best = 0;
    for (int i = 0; i < n->narchs; i++)
        if (n->archs[i] <= own) best = MAX(best, n->archs[i]);
    *arch = (CudaArch){best, best != own};
    if (!best)
        return fail(err, FRAX_UNSUPPORTED,
                    "CUDA: device %d, %s, has compute capability %d.%d, and NVRTC %d.%d compiles for %d.%d "
                    "and newer; "
                    "an older NVRTC may know it (pip install nvidia-cuda-nvrtc-cu12)",
                    d->number, d->name, d->major, d->minor, n->major, n->minor, n->archs[0] / 10,
                    n->archs[0] % 10);
    if (arch->is_ptx && !cuda_driver_knows(d->cu, n->major, n->minor))
        return fail(
            err, FRAX_UNSUPPORTED,
            "CUDA: NVRTC %d.%d does not know device %d, %s (compute capability %d.%d), and the driver, for "
            "CUDA %d.%d, is too old for its PTX; update NVIDIA's driver or NVRTC",
            n->major, n->minor, d->number, d->name, d->major, d->minor, d->cu->version / 1000,
            d->cu->version % 1000 / 10);
    return FRAX_OK;
}

static void arch_option(CudaArch arch, char option[48]) {
    snprintf(option, 48, "--gpu-architecture=%s_%d", arch.is_ptx ? "compute" : "sm", arch.number);
}

/* ---- The cache ---- */

static bool image_key(const CudaProgram *p, const Nvrtc *n, CudaArch arch, Text *key) {
    char option[48];
    arch_option(arch, option);
    text_append(key, p->source.data, p->source.len);
    build_id(key);
    text_printf(key, " frax %s nvrtc %d.%d\n%s", FRAX_VERSION, n->major, n->minor, option);
    for (size_t i = 0; i < COUNT(fixed_options); i++) text_printf(key, " %s", fixed_options[i]);
    return !key->failed;
}

static const char *suffix_of(CudaArch arch) {
    return arch.is_ptx ? "ptx" : "cubin";
}

/* ---- Errors ---- */

/* The kernel that begins in a line, which is a function's first. */
static void name_kernel(const CudaProgram *p, const char *line, size_t n, char name[64]) {
    char text[256], call[64];
    snprintf(text, sizeof text, "%.*s", (int)MIN(n, sizeof text - 1), line);
    const char *own = strstr(text, "frax_k");
    if (own) snprintf(name, 64, "%.*s", (int)strcspn(own, "( "), own);
    for (size_t i = 0; i < p->nlaunches && !own; i++) {
        snprintf(call, sizeof call, " %s(", p->launches[i].name);
        if (strstr(text, call)) snprintf(name, 64, "%s", p->launches[i].name);
    }
}

/* The kernel whose text holds this line (counted from 1): functions begin at the first column. */
static const char *kernel_at(const CudaProgram *p, long line, char name[64]) {
    const char *at = p->source.data;
    snprintf(name, 64, "the text of all kernels");
    for (long i = 1; i <= line && *at; i++) {
        size_t n = strcspn(at, "\n");
        if (n && at[n - 1] == '{' && at[0] != ' ' && at[0] != '#') name_kernel(p, at, n, name);
        at += n + (at[n] == '\n');
    }
    return name;
}

/* "frax.cu(12): error: …": the line's number; 0 when there is none. */
static long line_of(const char *message) {
    const char *open = strchr(message, '(');
    return open ? strtol(open + 1, NULL, 10) : 0;
}

/* The first error of the log, from the start of its line on. */
static const char *first_error(const char *log) {
    const char *at = strstr(log, "error");
    if (!at) return log;
    while (at > log && at[-1] != '\n') at--;
    return at;
}

static FraxStatus fail_compile(const CudaProgram *p, const Nvrtc *n, NvrtcProgram program, FraxError *err) {
    size_t size = 0;
    char *log = NULL, name[64];
    if (!n->log_size(program, &size)) log = mem_calloc(size + 1, 1);
    if (log && n->log(program, log)) *log = 0;
    const char *message = log && *log ? first_error(log) : "it says nothing";
    FraxStatus status =
        fail(err, FRAX_INTERNAL, "%s: NVRTC %d.%d does not compile %s: %s", p->program.graph->name, n->major,
             n->minor, kernel_at(p, line_of(message), name), message);
    mem_free(log);
    return status;
}

/* ---- Compiling ---- */

static FraxStatus take_image(const Nvrtc *n, NvrtcProgram program, CudaArch arch, CudaImage *image,
                             FraxError *err) {
    int result = (arch.is_ptx ? n->ptx_size : n->cubin_size)(program, &image->size);
    if (result || !image->size) return fail(err, FRAX_INTERNAL, "NVRTC gives no code (its error %d)", result);
    image->data = mem_alloc(image->size);
    if (!image->data) return fail_memory(err, "the kernels' code");
    result = (arch.is_ptx ? n->ptx : n->cubin)(program, image->data);
    return result ? fail(err, FRAX_INTERNAL, "NVRTC gives no code (its error %d)", result) : FRAX_OK;
}

static FraxStatus compile_text(const CudaProgram *p, const Nvrtc *n, CudaArch arch, CudaImage *image,
                               FraxError *err) {
    char option[48];
    const char *options[COUNT(fixed_options) + 1];
    NvrtcProgram program = NULL;
    arch_option(arch, option);
    options[0] = option;
    memcpy(options + 1, fixed_options, sizeof fixed_options);
    int result = n->create(&program, p->source.data, "frax.cu", 0, NULL, NULL);
    if (result) return fail(err, FRAX_INTERNAL, "NVRTC takes no text (its error %d)", result);
    FraxStatus status = n->compile(program, (int)COUNT(options), options)
                            ? fail_compile(p, n, program, err)
                            : take_image(n, program, arch, image, err);
    n->destroy(&program);
    return status;
}

FraxStatus cuda_compile(const CudaProgram *p, const CudaDevice *device, bool no_cache, CudaImage *image,
                        FraxError *err) {
    CudaArch arch;
    Text key = {0};
    *image = (CudaImage){0};
    const Nvrtc *n = cuda_nvrtc(err);
    if (!n) return FRAX_UNSUPPORTED;
    FraxStatus status = cuda_choose_arch(n, device, &arch, err);
    if (status) return status;
    bool keyed = !no_cache && image_key(p, n, arch, &key);
    image->from_cache = keyed && cache_load_entry(&key, suffix_of(arch), &image->data, &image->size);
    if (!image->from_cache) {
        status = compile_text(p, n, arch, image, err);
        if (!status && keyed) cache_store_entry(&key, suffix_of(arch), image->data, image->size);
    }
    text_free(&key);
    if (status) {
        mem_free(image->data);
        *image = (CudaImage){0};
    }
    return status;
}

FraxStatus cuda_compile_for(const CudaProgram *p, CudaArch arch, CudaImage *image, FraxError *err) {
    bool known = false;
    *image = (CudaImage){0};
    const Nvrtc *n = cuda_nvrtc(err);
    if (!n) return FRAX_UNSUPPORTED;
    for (int i = 0; i < n->narchs; i++) known = known || n->archs[i] == arch.number;
    if (!known)
        return fail(err, FRAX_UNSUPPORTED,
                    "CUDA: NVRTC %d.%d does not compile for compute capability %d.%d; NVRTC 12 and 13 do "
                    "(pip install "
                    "nvidia-cuda-nvrtc)",
                    n->major, n->minor, arch.number / 10, arch.number % 10);
    FraxStatus status = compile_text(p, n, arch, image, err);
    if (status) mem_free(image->data);
    if (status) *image = (CudaImage){0};
    return status;
}
