/* fake_nvrtc.c — an NVRTC whose machine code is a shared object of the host. See fake_cuda.h. */
#include "fake_cuda.h"
#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum { SUCCESS = 0, INVALID_INPUT = 3, COMPILATION = 6, INTERNAL = 11, MOST_NAMES = 8 };

typedef struct Program {
    char *source, *log, *image;
    size_t size;
    int arch;
    bool is_ptx;
} Program;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static int list_archs(int *archs) {
    const char *at = getenv("FAKE_NVRTC_ARCHS");
    int n = 0;
    if (!at || !*at) at = "75,80,90,100,120";
    for (char *end; *at; at = *end ? end + 1 : end) {
        long arch = strtol(at, &end, 10);
        if (archs) archs[n] = (int)arch;
        n++;
    }
    return n;
}

API int nvrtcVersion(int *major, int *minor) {
    long version = setting("FAKE_NVRTC_VERSION", 13000);
    *major = (int)version / 1000;
    *minor = (int)version % 1000 / 10;
    return SUCCESS;
}

API int nvrtcGetNumSupportedArchs(int *count) {
    *count = list_archs(NULL);
    return SUCCESS;
}

API int nvrtcGetSupportedArchs(int *archs) {
    list_archs(archs);
    return SUCCESS;
}

API int nvrtcCreateProgram(Program **program, const char *source, const char *name, int headers,
                           const char *const *texts, const char *const *names) {
    (void)name;
    (void)texts;
    (void)names;
    if (headers) return INVALID_INPUT;
    *program = calloc(1, sizeof **program);
    (*program)->source = strdup(source);
    return SUCCESS;
}

API int nvrtcDestroyProgram(Program **program) {
    free((*program)->source);
    free((*program)->log);
    free((*program)->image);
    free(*program);
    *program = NULL;
    return SUCCESS;
}

/* ---- Text ---- */

/* Dynamic shared memory, `extern __shared__ … NAME[];`, becomes arrays that stand at the end of the text. */
static int write_text(FILE *file, const char *source, char names[MOST_NAMES][64]) {
    static const char word[] = "extern __shared__";
    int n = 0;
    fprintf(file, "#include \"shim.h\"\n#line 1 \"frax.cu\"\n");
    for (const char *at; (at = strstr(source, word)); source = at + sizeof word - 1) {
        const char *open = strstr(at, "[]"), *name = open;
        while (name[-1] == '_' || isalnum((unsigned char)name[-1])) name--;
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)(open - name), name);
        int known = 0;
        while (known < n && strcmp(names[known], text)) known++;
        if (known == n && n < MOST_NAMES) strcpy(names[n++], text);
        fprintf(file, "%.*sextern ", (int)(at - source), source);
    }
    fprintf(file, "%s\n", source);
    for (int i = 0; i < n; i++) fprintf(file, "char %s[FAKE_SHARED_BYTES] __align__(128);\n", names[i]);
    fprintf(file, "static char *const fake_shared[] = {");
    for (int i = 0; i < n; i++) fprintf(file, "%s, ", names[i]);
    fprintf(file,
            "0};\n__attribute__((visibility(\"default\"))) FakeModule fake_bind(const FakeBlock *block) {\n"
            "    fake_running = block;\n"
            "    return (FakeModule){&threadIdx, &blockIdx, &blockDim, &gridDim, fake_shared, %d};\n}\n",
            n);
    return n;
}

static char *read_file(const char *path, size_t *size) {
    struct stat info;
    FILE *file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &info)) return NULL;
    char *data = calloc((size_t)info.st_size + 1, 1);
    *size = fread(data, 1, (size_t)info.st_size, file);
    fclose(file);
    return data;
}

/* Messages as NVRTC writes them: frax.cu(12): error: … */
static void settle_log(char *log) {
    static const char file[] = "frax.cu:";
    for (char *at = log; (at = strstr(at, file));) {
        char *end, *rest;
        long line = strtol(at + sizeof file - 1, &end, 10);
        if (*end != ':') {
            at++;
            continue;
        }
        strtol(end + 1, &rest, 10);
        int n = snprintf(at, (size_t)(rest - at), "frax.cu(%ld)", line);
        at += n;
        memmove(at, rest, strlen(rest) + 1);
    }
}

/* As NVRTC does by default, the compiler contracts products and sums, where the machine has an instruction
 * for it. */
static const char *contraction(void) {
#if defined(__x86_64__)
    return __builtin_cpu_supports("fma") ? "-ffp-contract=fast -mfma" : "";
#else
    return "-ffp-contract=fast";
#endif
}

static int build(Program *p, const char *folder) {
    char path[512], command[4096], names[MOST_NAMES][64];
    const char *more = getenv("FAKE_CUDA_CFLAGS"), *flags = more ? more : FAKE_CUDA_FLAGS;
    size_t size;
    snprintf(path, sizeof path, "%s/text.c", folder);
    FILE *file = fopen(path, "w");
    if (!file) return INTERNAL;
    write_text(file, p->source, names);
    fclose(file);
    snprintf(
        command, sizeof command,
        "%s -x c -std=gnu11 -O1 %s -fno-math-errno -fvisibility=hidden -shared -fPIC "
        "-Werror=implicit-function-declaration -Werror=int-conversion -Werror=incompatible-pointer-types "
        "-Werror=c++-compat %s "
        "-I'" FAKE_CUDA_FOLDER "' '%s/text.c' -o '%s/image.so' -lm 2>'%s/log'",
        FAKE_CUDA_CC, contraction(), flags, folder, folder, folder);
    int failed = system(command);
    snprintf(path, sizeof path, "%s/log", folder);
    p->log = read_file(path, &size);
    if (p->log) settle_log(p->log);
    if (failed) return COMPILATION;
    snprintf(path, sizeof path, "%s/image.so", folder);
    char *object = read_file(path, &size), header[128];
    int n = snprintf(header, sizeof header, FAKE_IMAGE, p->is_ptx ? "ptx" : "cubin", p->arch,
                     (int)setting("FAKE_NVRTC_VERSION", 13000), size);
    p->size = (size_t)n + size;
    p->image = malloc(p->size);
    memcpy(p->image, header, (size_t)n);
    memcpy(p->image + n, object, size);
    free(object);
    return SUCCESS;
}

static bool read_options(Program *p, int count, const char *const *options) {
    bool is_cpp17 = false, is_device = false;
    for (int i = 0; i < count; i++) {
        is_cpp17 |= !strcmp(options[i], "--std=c++17");
        is_device |= !strcmp(options[i], "--device-as-default-execution-space");
        if (sscanf(options[i], "--gpu-architecture=compute_%d", &p->arch) == 1) p->is_ptx = true;
        if (strstr(options[i], "fast")) return false;
        sscanf(options[i], "--gpu-architecture=sm_%d", &p->arch);
    }
    int archs[64], n = list_archs(archs);
    for (int i = 0; i < n; i++)
        if (archs[i] == p->arch) return is_cpp17 && is_device;
    return false;
}

API int nvrtcCompileProgram(Program *p, int count, const char *const *options) {
    char folder[256], command[300];
    const char *base = getenv("TMPDIR");
    if (!read_options(p, count, options)) return INVALID_INPUT;
    if (setting("FAKE_NVRTC_FAIL", 0)) {
        p->log = strdup("frax.cu(3): error: the environment asks for it\n1 error detected\n");
        return COMPILATION;
    }
    snprintf(folder, sizeof folder, "%s/fake-nvrtc-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(folder)) return INTERNAL;
    int result = build(p, folder);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    return system(command) ? INTERNAL : result;
}

API int nvrtcGetProgramLogSize(Program *p, size_t *size) {
    *size = p->log ? strlen(p->log) + 1 : 1;
    return SUCCESS;
}

API int nvrtcGetProgramLog(Program *p, char *text) {
    strcpy(text, p->log ? p->log : "");
    return SUCCESS;
}

static int image_size(const Program *p, bool is_ptx, size_t *size) {
    *size = p->is_ptx == is_ptx ? p->size : 0;
    return SUCCESS;
}

API int nvrtcGetCUBINSize(Program *p, size_t *size) {
    return image_size(p, false, size);
}

API int nvrtcGetPTXSize(Program *p, size_t *size) {
    return image_size(p, true, size);
}

API int nvrtcGetCUBIN(Program *p, char *cubin) {
    memcpy(cubin, p->image, p->size);
    return SUCCESS;
}

API int nvrtcGetPTX(Program *p, char *ptx) {
    memcpy(ptx, p->image, p->size);
    return SUCCESS;
}
