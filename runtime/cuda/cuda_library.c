/* cuda_library.c — see cuda_library.h. */
#include "cuda_library.h"
#include "ir.h"
#include <dlfcn.h>
#include <glob.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- Finding libraries ---- */

/* Is this the one? `state` is whoever searches. */
typedef bool Accept(void *library, void *state);

typedef struct Search {
    const char *variable;     /* of the environment: a path to take instead; NULL: none */
    const char *const *names; /* the newest first, NULL at the end */
    Accept *accept;
    void *state;
} Search;

static void *open_library(const char *path, const Search *s) {
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!library || s->accept(library, s->state)) return library;
    dlclose(library);
    return NULL;
}

static void *open_in_folder(const char *folder, const Search *s) {
    void *library = NULL;
    for (size_t i = 0; s->names[i] && !library; i++) {
        Text path = {0};
        text_printf(&path, "%s%s%s", folder, *folder ? "/" : "", s->names[i]);
        if (!path.failed) library = open_library(path.data, s);
        text_free(&path);
    }
    return library;
}

/* Folders by a pattern below what a variable of the environment holds, or below `base`. */
static const struct Place {
    const char *variable, *base, *pattern;
} places[] = {
    {NULL, "", NULL},
    {"CUDA_HOME", NULL, "/lib64"},
    {"CUDA_PATH", NULL, "/lib64"},
    {NULL, "/usr/local/cuda", "/lib64"},
    {"VIRTUAL_ENV", NULL, "/lib/python3*/site-packages/nvidia/*/lib"},
    {"HOME", NULL, "/.local/lib/python3*/site-packages/nvidia/*/lib"},
    {NULL, "/usr", "/local/lib/python3*/*-packages/nvidia/*/lib"},
};

static void *open_below(const struct Place *place, const Search *s) {
    const char *base = place->variable ? getenv(place->variable) : place->base;
    void *library = NULL;
    Text pattern = {0};
    glob_t found;
    if (!place->pattern) return open_in_folder("", s);
    if (!base || base[0] != '/') return NULL;
    text_printf(&pattern, "%s%s", base, place->pattern);
    if (!pattern.failed && !glob(pattern.data, 0, NULL, &found)) {
        for (size_t i = 0; i < found.gl_pathc && !library; i++)
            library = open_in_folder(found.gl_pathv[i], s);
        globfree(&found);
    }
    text_free(&pattern);
    return library;
}

/* The file that the environment names; NULL: none. */
static const char *chosen_file(const Search *s) {
    const char *chosen = s->variable ? getenv(s->variable) : NULL;
    return chosen && *chosen ? chosen : NULL;
}

static void *find_library(const Search *s) {
    const char *chosen = chosen_file(s);
    if (chosen) return open_library(chosen, s);
    void *library = NULL;
    for (size_t i = 0; i < COUNT(places) && !library; i++) library = open_below(&places[i], s);
    return library;
}

/* What the named file should be: "NVRTC", as "libnvrtc.so of NVIDIA's CUDA toolkit". */
typedef struct Wanted {
    const char *what, *file;
} Wanted;

/* Says what is wrong with the file that the environment names, if it names one. */
static bool chosen_fails(const Search *s, Wanted wanted, FraxError *err) {
    const char *chosen = chosen_file(s), *reason = "";
    if (!chosen) return false;
    void *library = dlopen(chosen, RTLD_NOW | RTLD_LOCAL);
    if (!library) reason = dlerror();
    size_t n = strlen(chosen);
    if (!strncmp(reason, chosen, n) && !strncmp(reason + n, ": ", 2)) reason += n + 2;
    fail(err, FRAX_UNSUPPORTED,
         "CUDA: the environment variable %s names %s, which %s%s%s; let it name %s, or unset it to have that "
         "looked for",
         s->variable, chosen, library ? "is not " : "cannot be opened: ", library ? wanted.what : "", reason,
         wanted.file);
    if (library) dlclose(library);
    return true;
}

static bool load_symbol(void *library, const char *name, void *function) {
    void *symbol = dlsym(library, name);
    memcpy(function, &symbol, sizeof symbol);
    return symbol;
}

/* ---- The driver ---- */

static CudaDriver driver;
static FraxError driver_fault;
static pthread_once_t driver_once = PTHREAD_ONCE_INIT;

/* A driver of before 11.4 lacks some functions, and is no driver for frax. */
static bool accept_driver(void *library, void *state) {
    bool complete = true;
    (void)state;
#define X(field, symbol, parameters) complete &= load_symbol(library, #symbol, &driver.field);
    CUDA_DRIVER(X)
#undef X
    return complete;
}

static void init_driver(void) {
    static const char get_one[] = "install NVIDIA's driver for this system (nvidia-smi shows when it works)";
    int result = driver.driver_version(&driver.version);
    if (!result) result = driver.init(0);
    if (!result) result = driver.device_count(&driver.devices);
    if (result == CUDA_NO_DEVICE || (!result && !driver.devices))
        fail(&driver_fault, FRAX_UNSUPPORTED,
             "CUDA: the driver finds no GPU; is one there, and not hidden by CUDA_VISIBLE_DEVICES?");
    else if (result == CUDA_STUB_LIBRARY)
        fail(&driver_fault, FRAX_UNSUPPORTED, "CUDA: the libcuda.so.1 found is the toolkit's stub; %s",
             get_one);
    else if (result == CUDA_DRIVER_MISMATCH)
        fail(&driver_fault, FRAX_UNSUPPORTED,
             "CUDA: libcuda.so.1 does not fit the driver in the kernel; restart the system after an update");
    else if (result)
        cuda_fail(&driver, result, &driver_fault, "CUDA: the driver does not start; %s", get_one);
    if (result) driver_fault.status = FRAX_UNSUPPORTED;
}

static void open_driver(void) {
    static const char *const names[] = {"libcuda.so.1", NULL};
    const Wanted wanted = {"an NVIDIA driver for CUDA 11.4 or newer", "the libcuda.so.1 of NVIDIA's driver"};
    const Search search = {"FRAX_CUDA_DRIVER", names, accept_driver, NULL};
    if (find_library(&search))
        init_driver();
    else if (!chosen_fails(&search, wanted, &driver_fault))
        fail(&driver_fault, FRAX_UNSUPPORTED,
             "CUDA: no NVIDIA driver: libcuda.so.1 is not found, or older than CUDA 11.4; install NVIDIA's "
             "driver "
             "for this system (nvidia-smi shows when it works)");
}

const CudaDriver *cuda_driver(FraxError *err) {
    pthread_once(&driver_once, open_driver);
    if (!driver_fault.status) return &driver;
    if (err) *err = driver_fault;
    return NULL;
}

FraxStatus cuda_fail(const CudaDriver *cu, int result, FraxError *err, const char *fmt, ...) {
    char what[512];
    const char *words = NULL;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    if (cu->error_string(result, &words) || !words) words = "an error without a description";
    return fail(err, result == CUDA_OUT_OF_MEMORY ? FRAX_MEMORY : FRAX_INTERNAL,
                "%s: %s (error %d of the driver)", what, words, result);
}

/* ---- NVRTC ---- */

static Nvrtc nvrtc;
static FraxError nvrtc_fault;
static pthread_once_t nvrtc_once = PTHREAD_ONCE_INIT;

bool cuda_driver_knows(const CudaDriver *cu, int major, int minor) {
    return cu->version >= 1000 * major + 10 * minor;
}

/* What a search is content with, and what it has seen. */
typedef struct NvrtcSearch {
    const CudaDriver *cu; /* NULL: any will do */
    bool any_minor;       /* machine code of the driver's major version is loaded by every driver of it */
    int major, minor;     /* the last that was found, and refused */
} NvrtcSearch;

static bool list_archs(Nvrtc *n) {
    if (n->count_archs(&n->narchs) || n->narchs < 1 || n->narchs > MOST_ARCHS) return false;
    return !n->get_archs(n->archs);
}

/* The text says __grid_constant__. */
static bool knows_text(int major, int minor) {
    return major > 11 || (major == 11 && minor >= 7);
}

static bool accept_nvrtc(void *library, void *state) {
    NvrtcSearch *s = state;
    Nvrtc found = {0};
    bool complete = true;
#define X(field, symbol, parameters) complete &= load_symbol(library, #symbol, &found.field);
    NVRTC(X)
#undef X
    if (!complete || found.get_version(&found.major, &found.minor) || !list_archs(&found)) return false;
    s->major = found.major;
    s->minor = found.minor;
    if (!knows_text(found.major, found.minor)) return false;
    if (s->cu && !cuda_driver_knows(s->cu, found.major, s->any_minor ? 0 : found.minor)) return false;
    nvrtc = found;
    return true;
}

static void open_nvrtc(void) {
    static const char *const names[] = {"libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2", "libnvrtc.so",
                                        NULL};
    NvrtcSearch state = {.cu = cuda_driver(NULL)};
    Search search = {"FRAX_NVRTC", names, accept_nvrtc, &state};
    if (find_library(&search)) return;
    state.any_minor = true;
    if (find_library(&search)) return;
    const Wanted wanted = {"NVRTC", "the libnvrtc.so of NVIDIA's CUDA toolkit"};
    if (!state.major && chosen_fails(&search, wanted, &nvrtc_fault)) return;
    if (!state.major)
        fail(&nvrtc_fault, FRAX_UNSUPPORTED,
             "CUDA: NVRTC is not found (libnvrtc.so); install NVIDIA's CUDA toolkit and set CUDA_HOME, or "
             "pip install "
             "nvidia-cuda-nvrtc");
    else if (!knows_text(state.major, state.minor))
        fail(&nvrtc_fault, FRAX_UNSUPPORTED,
             "CUDA: NVRTC is of CUDA %d.%d, and frax needs that of 11.7 or newer; install a newer one (pip "
             "install nvidia-cuda-nvrtc-cu%d)",
             state.major, state.minor, state.cu ? state.cu->version / 1000 : 12);
    else
        fail(&nvrtc_fault, FRAX_UNSUPPORTED,
             "CUDA: the driver is for CUDA %d.%d, NVRTC is of %d.%d, whose code it cannot load; update "
             "NVIDIA's "
             "driver, or install NVRTC %d (pip install nvidia-cuda-nvrtc-cu%d)",
             state.cu->version / 1000, state.cu->version % 1000 / 10, state.major, state.minor,
             state.cu->version / 1000, state.cu->version / 1000);
}

const Nvrtc *cuda_nvrtc(FraxError *err) {
    pthread_once(&nvrtc_once, open_nvrtc);
    if (!nvrtc_fault.status) return &nvrtc;
    if (err) *err = nvrtc_fault;
    return NULL;
}

/* ---- Libraries of the toolkit ---- */

/* A library that is opened once: what it is called, where it is when nothing finds it, and the major version
   of CUDA of one that was found and is too new for the driver. */
typedef struct Toolkit {
    const char *name, *file, *package;
    int refused;
    bool is_misnamed; /* the environment names a file that is no such library */
} Toolkit;

static void open_toolkit(const Search *s, Toolkit *t, FraxError *fault) {
    const char *chosen = chosen_file(s);
    const Wanted wanted = {t->name, t->file};
    if (find_library(s)) return;
    if (t->refused) {
        const int version = cuda_driver(NULL)->version, major = version / 1000;
        fail(
            fault, FRAX_UNSUPPORTED,
            "%s is of CUDA %d, and the driver, for CUDA %d.%d, cannot run it; update NVIDIA's driver, or pip "
            "install %s-cu%d",
            t->name, t->refused, major, version % 1000 / 10, t->package, major);
    } else if (chosen && !strcmp(chosen, "none")) {
        fail(fault, FRAX_UNSUPPORTED, "%s is not taken from %s=none", t->name, s->variable);
    } else if (chosen_fails(s, wanted, fault)) {
        t->is_misnamed = true;
    } else {
        fail(fault, FRAX_UNSUPPORTED,
             "%s is not found; it is part of NVIDIA's CUDA toolkit (set CUDA_HOME), or pip install %s",
             t->name, t->package);
    }
}

/* A library of the toolkit needs a driver of its major version or a newer one. */
static bool driver_serves(int runtime_version, Toolkit *t) {
    const CudaDriver *cu = cuda_driver(NULL);
    bool serves = !cu || cuda_driver_knows(cu, runtime_version / 1000, 0);
    if (!serves) t->refused = runtime_version / 1000;
    return serves;
}

/* "12.0.1" of a number that is scale · major + 100 · minor + patch. */
static const char *version_text(int version, int scale, char text[32]) {
    snprintf(text, 32, "%d.%d.%d", version / scale, version % scale / 100, version % 100);
    return text;
}

/* ---- cuBLASLt ---- */

static CudaBlasLt blaslt;
static Toolkit blaslt_toolkit = {"cuBLASLt", "the libcublasLt.so of NVIDIA's CUDA toolkit", "nvidia-cublas",
                                 0, false};
static FraxError blaslt_fault;
static pthread_once_t blaslt_once = PTHREAD_ONCE_INIT;

static bool accept_blaslt(void *library, void *state) {
    CudaBlasLt *found = state;
    size_t (*version)(void), (*runtime)(void);
    bool complete = load_symbol(library, "cublasLtGetVersion", &version) &&
                    load_symbol(library, "cublasLtGetCudartVersion", &runtime);
#define X(field, symbol, parameters) complete &= load_symbol(library, #symbol, &found->field);
    CUBLASLT(X)
#undef X
    if (!complete || !driver_serves((int)runtime(), &blaslt_toolkit)) return false;
    load_symbol(library, "cublasLtGetStatusString", &found->status_string);
    found->version = (int)version();
    return true;
}

static void open_blaslt(void) {
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so.11",
                                        "libcublasLt.so", NULL};
    Search search = {"FRAX_CUBLASLT", names, accept_blaslt, &blaslt};
    open_toolkit(&search, &blaslt_toolkit, &blaslt_fault);
}

const CudaBlasLt *cuda_blaslt(FraxError *err) {
    pthread_once(&blaslt_once, open_blaslt);
    if (!blaslt_fault.status) return &blaslt;
    if (err) *err = blaslt_fault;
    return NULL;
}

const char *cuda_blas_version(char text[32], FraxError *err) {
    const CudaBlasLt *lt = cuda_blaslt(err);
    return lt ? version_text(lt->version, 10000, text) : NULL;
}

/* ---- cuFFT ---- */

static Cufft cufft;
static Toolkit cufft_toolkit = {"cuFFT", "the libcufft.so of NVIDIA's CUDA toolkit", "nvidia-cufft", 0,
                                false};
static FraxError cufft_fault;
static pthread_once_t cufft_once = PTHREAD_ONCE_INIT;

/* cuFFT counts one behind CUDA: 12 is of CUDA 13. */
static bool accept_cufft(void *library, void *state) {
    Cufft *found = state;
    int (*version)(int *);
    bool complete = load_symbol(library, "cufftGetVersion", &version);
#define X(field, symbol, parameters) complete &= load_symbol(library, #symbol, &found->field);
    CUFFT(X)
#undef X
    return complete && !version(&found->version) && driver_serves(found->version + 1000, &cufft_toolkit);
}

static void open_cufft(void) {
    static const char *const names[] = {"libcufft.so.12", "libcufft.so.11", "libcufft.so.10", "libcufft.so",
                                        NULL};
    Search search = {"FRAX_CUFFT", names, accept_cufft, &cufft};
    open_toolkit(&search, &cufft_toolkit, &cufft_fault);
}

const Cufft *cuda_fft(FraxError *err) {
    pthread_once(&cufft_once, open_cufft);
    if (!cufft_fault.status) return &cufft;
    if (err) *err = cufft_fault;
    return NULL;
}

const char *cuda_fft_version(char text[32], FraxError *err) {
    const Cufft *fft = cuda_fft(err);
    return fft ? version_text(fft->version, 1000, text) : NULL;
}

unsigned cuda_graph_libraries(void) {
    return (cuda_blaslt(NULL) ? GPU_PRODUCTS : 0) | (cuda_fft(NULL) ? GPU_TRANSFORMS : 0);
}

bool cuda_is_misnamed(unsigned library) {
    return (library & GPU_PRODUCTS && blaslt_toolkit.is_misnamed) ||
           (library & GPU_TRANSFORMS && cufft_toolkit.is_misnamed);
}
