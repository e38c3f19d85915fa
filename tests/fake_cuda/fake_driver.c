/* fake_driver.c — a libcuda.so.1 whose devices are the CPU. See fake_cuda.h.
 *
 * One lock stands around each call. Work on a stream is listed, and done when somebody waits for it; a
 * captured graph is such a list. Every object but contexts is counted, so that a test can ask what was not
 * given back.
 */
#define FAKE_CUDA_DRIVER
#include "fake_cuda.h"
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

enum {
    SUCCESS = 0,
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_DEVICE = 101,
    INVALID_IMAGE = 200,
    INVALID_CONTEXT = 201,
    NO_BINARY = 209,
    UNSUPPORTED_PTX = 222,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719,
    CAPTURE_UNSUPPORTED = 900
};

enum { MOST_DEVICES = 4, MOST_CONTEXTS = 8, GUARD = 256, GUARD_BYTE = 0xa5 };

/* Bytes of shared memory: what a block gets unasked, and what is taken off for a kernel's static arrays. */
enum { UNASKED_SHARED = 48 << 10, STATIC_SHARED = 1 << 10 };

typedef struct Context {
    int device, retained;
} Context;

/* Memory of a device, or of the host, locked. */
typedef struct Memory {
    struct Memory *next;
    char *data;
    size_t bytes;
    int device; /* −1: of the host */
} Memory;

typedef struct Module {
    void *library;
    FakeModule module;
} Module;

typedef struct Function {
    struct Function *next;
    Module *owner;
    FakeKernel *kernel;
    char name[64];
    size_t shared_most;
} Function;

typedef struct Event {
    double milliseconds; /* of the host's clock when the stream came to it; 0: it has not */
} Event;

typedef struct Work {
    FakeCall *call; /* of a library, with `data` */
    const char *name;
    char data[FAKE_CALL_BYTES];
    Event *event;
    Function *function; /* all three NULL: a copy */
    FakeLaunch launch;
    char *to;
    const char *from;
    size_t bytes;
    bool on_device;
} Work;

typedef struct Works {
    Work *items;
    size_t count, capacity;
} Works;

typedef struct Stream {
    Works works;
    Works *capture; /* NULL: none under way */
} Stream;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Context contexts[MOST_DEVICES];
static Memory *memories;
static Function *functions;
static size_t used[MOST_DEVICES];
static long live, launches, graph_launches, copies, allocations, contexts_made;
static bool is_ready;
static int
    last_fault; /* what has failed stays so until all is given back; a real driver's context for good */
static char fault_text[512];
static __thread Context *stack[MOST_CONTEXTS];
static __thread int depth;

long fake_setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text && *text ? strtol(text, NULL, 10) : otherwise;
}

static int answer(int result) {
    pthread_mutex_unlock(&lock);
    return result;
}

static void count(int more) {
    live += more;
    if (!live) last_fault = SUCCESS;
}

/* The result that FAKE_CUDA_FAIL asks of a call; 0: none. */
static int asked(const char *call) {
    const char *text = getenv("FAKE_CUDA_FAIL");
    size_t n = strlen(call);
    return text && !strncmp(text, call, n) && text[n] == ':' ? atoi(text + n + 1) : SUCCESS;
}

/* Begins a call that needs a context. */
static bool enter(void) {
    pthread_mutex_lock(&lock);
    return depth > 0;
}

/* ---- What tests ask ---- */

/* Objects that were made and not given back, other than primary contexts. */
API long fake_cuda_live(void) {
    return live;
}

/* How often a primary context was made anew. */
API long fake_cuda_contexts(void) {
    return contexts_made;
}

/* Since the start: kernels and copies between host and device that were done, and graphs that were launched.
 */
API void fake_cuda_counts(long *kernels, long *copied, long *graphs) {
    *kernels = launches;
    *copied = copies;
    *graphs = graph_launches;
}

/* Only a fault ends with work left over. */
__attribute__((destructor)) static void tell_leaks(void) {
    if (live) fprintf(stderr, "fake CUDA: %ld objects were not given back\n", live);
}

/* ---- Driver, devices, contexts ---- */

API int cuDriverGetVersion(int *version) {
    *version = (int)fake_setting("FAKE_CUDA_VERSION", 13000);
    return SUCCESS;
}

API int cuInit(unsigned flags) {
    if (flags) return INVALID_VALUE;
    is_ready = true;
    return fake_setting("FAKE_CUDA_DEVICES", 1) ? SUCCESS : NO_DEVICE;
}

API int cuGetErrorString(int result, const char **text) {
    static const struct {
        int result;
        const char *text;
    } words[] = {{SUCCESS, "no error"},
                 {INVALID_VALUE, "invalid argument"},
                 {OUT_OF_MEMORY, "out of memory"},
                 {NO_DEVICE, "no CUDA-capable device is detected"},
                 {INVALID_CONTEXT, "invalid device context"},
                 {NO_BINARY, "no kernel image is available for execution on the device"},
                 {UNSUPPORTED_PTX, "the provided PTX was compiled with an unsupported toolchain."},
                 {NOT_FOUND, "named symbol not found"}};
    *text = result == LAUNCH_FAILED || result == INVALID_IMAGE ? fault_text : NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (words[i].result == result) *text = words[i].text;
    return *text ? SUCCESS : INVALID_VALUE;
}

API int cuDeviceGetCount(int *count) {
    *count = (int)fake_setting("FAKE_CUDA_DEVICES", 1);
    return is_ready ? SUCCESS : NOT_INITIALIZED;
}

API int cuDeviceGet(int *device, int ordinal) {
    *device = ordinal;
    return ordinal >= 0 && ordinal < MOST_DEVICES ? SUCCESS : INVALID_DEVICE;
}

API int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Fake GPU %d", device);
    return SUCCESS;
}

API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    long capability = fake_setting("FAKE_CUDA_CAPABILITY", 90);
    switch (attribute) {
    case 75: *value = (int)capability / 10; return SUCCESS;
    case 76: *value = (int)capability % 10; return SUCCESS;
    case 97: *value = (int)fake_setting("FAKE_CUDA_SHARED", FAKE_SHARED_BYTES); return SUCCESS;
    default: return INVALID_VALUE;
    }
}

API int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    (void)device;
    *bytes = (size_t)fake_setting("FAKE_CUDA_MEMORY", 1l << 31);
    return SUCCESS;
}

API int cuDevicePrimaryCtxRetain(Context **context, int device) {
    pthread_mutex_lock(&lock);
    if (asked("cuDevicePrimaryCtxRetain")) return answer(asked("cuDevicePrimaryCtxRetain"));
    *context = &contexts[device];
    (*context)->device = device;
    contexts_made += !(*context)->retained++;
    return answer(SUCCESS);
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
    pthread_mutex_lock(&lock);
    if (!contexts[device].retained) return answer(INVALID_CONTEXT);
    contexts[device].retained--;
    return answer(SUCCESS);
}

API int cuCtxPushCurrent_v2(Context *context) {
    if (!context->retained || depth == MOST_CONTEXTS) return INVALID_CONTEXT;
    stack[depth++] = context;
    return SUCCESS;
}

API int cuCtxPopCurrent_v2(Context **context) {
    if (!depth) return INVALID_CONTEXT;
    *context = stack[--depth];
    return SUCCESS;
}

/* ---- Memory ---- */

static int own_device(void) {
    return stack[depth - 1]->device;
}

static int allocate(size_t bytes, int device, char **data) {
    Memory *m = malloc(sizeof *m);
    char *whole = aligned_alloc(256, (bytes + 255) / 256 * 256 + 2 * GUARD);
    memset(whole, GUARD_BYTE, GUARD);
    memset(whole + GUARD, 0xff, bytes);
    memset(whole + GUARD + bytes, GUARD_BYTE, GUARD);
    *m = (Memory){memories, whole + GUARD, bytes, device};
    memories = m;
    *data = m->data;
    count(1);
    return SUCCESS;
}

static bool is_intact(const Memory *m) {
    for (int i = 0; i < GUARD; i++)
        if ((unsigned char)m->data[-1 - i] != GUARD_BYTE ||
            (unsigned char)m->data[m->bytes + (size_t)i] != GUARD_BYTE)
            return false;
    return true;
}

/* The allocation that holds all of this; any: of the host or a device. */
static const Memory *holder(const char *data, size_t bytes, int device) {
    for (const Memory *m = memories; m; m = m->next)
        if (m->device == device && data >= m->data && data + bytes <= m->data + m->bytes) return m;
    return NULL;
}

static int release(char *data, bool of_host) {
    for (Memory **m = &memories; *m; m = &(*m)->next) {
        Memory *found = *m;
        if (found->data != data || (found->device < 0) != of_host) continue;
        bool ok = is_intact(found);
        *m = found->next;
        if (!of_host) used[found->device] -= found->bytes;
        free(found->data - GUARD);
        free(found);
        count(-1);
        return ok ? SUCCESS : LAUNCH_FAILED;
    }
    return INVALID_VALUE;
}

API int cuMemGetInfo_v2(size_t *left, size_t *total) {
    if (!enter()) return answer(INVALID_CONTEXT);
    cuDeviceTotalMem_v2(total, own_device());
    *left = *total - used[own_device()];
    return answer(SUCCESS);
}

API int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
    char *data;
    size_t total;
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!bytes) return answer(INVALID_VALUE);
    cuDeviceTotalMem_v2(&total, own_device());
    if (bytes > total - used[own_device()]) return answer(OUT_OF_MEMORY);
    if (++allocations > fake_setting("FAKE_CUDA_ALLOCATIONS", 1l << 40)) return answer(OUT_OF_MEMORY);
    int result = allocate(bytes, own_device(), &data);
    used[own_device()] += bytes;
    *address = (uint64_t)(uintptr_t)data;
    return answer(result);
}

API int cuMemFree_v2(uint64_t address) {
    return answer(enter() ? release((char *)(uintptr_t)address, false) : INVALID_CONTEXT);
}

API int cuMemAllocHost_v2(void **memory, size_t bytes) {
    char *data;
    if (!enter()) return answer(INVALID_CONTEXT);
    int result = allocate(bytes, -1, &data);
    *memory = data;
    return answer(result);
}

API int cuMemFreeHost(void *memory) {
    return answer(enter() ? release(memory, true) : INVALID_CONTEXT);
}

/* ---- Streams ---- */

static int add_work(Stream *s, Work work) {
    Works *to = s->capture ? s->capture : &s->works;
    if (to->count == to->capacity) {
        to->capacity = to->capacity ? 2 * to->capacity : 16;
        to->items = realloc(to->items, to->capacity * sizeof *to->items);
    }
    to->items[to->count++] = work;
    return SUCCESS;
}

static void free_works(Works *works) {
    free(works->items);
    *works = (Works){0};
}

static bool all_intact(void) {
    bool ok = true;
    for (const Memory *m = memories; m; m = m->next) ok &= is_intact(m);
    return ok;
}

static double milliseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static int do_work(const Work *w) {
    if (w->event) {
        w->event->milliseconds = milliseconds();
        return SUCCESS;
    }
    if (!w->function && !w->call) {
        memcpy(w->to, w->from, w->bytes);
        copies += !w->on_device;
        return SUCCESS;
    }
    const char *faulty = getenv("FAKE_CUDA_FAULT"), *name = w->call ? w->name : w->function->name;
    launches += !w->call;
    if (faulty && !strcmp(faulty, name)) {
        snprintf(fault_text, sizeof fault_text, "an illegal memory access was encountered");
        return LAUNCH_FAILED;
    }
    if (w->call)
        w->call(w->data);
    else if (!fake_run_launch(&w->launch, fault_text, sizeof fault_text))
        return LAUNCH_FAILED;
    if (all_intact()) return SUCCESS;
    snprintf(fault_text, sizeof fault_text, "kernel %s writes outside the memory it was given", name);
    return LAUNCH_FAILED;
}

API int cuStreamCreate(Stream **stream, unsigned flags) {
    if (!enter() || flags != 1) return answer(INVALID_CONTEXT);
    if (asked("cuStreamCreate")) return answer(asked("cuStreamCreate"));
    *stream = calloc(1, sizeof **stream);
    count(1);
    return answer(SUCCESS);
}

API int cuStreamDestroy_v2(Stream *stream) {
    if (!enter()) return answer(INVALID_CONTEXT);
    free_works(&stream->works);
    free(stream);
    count(-1);
    return answer(SUCCESS);
}

API int cuStreamSynchronize(Stream *stream) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (stream->capture) return answer(CAPTURE_UNSUPPORTED);
    for (size_t i = 0; i < stream->works.count && !last_fault; i++)
        last_fault = do_work(&stream->works.items[i]);
    stream->works.count = 0;
    return answer(last_fault);
}

/* Copies from pageable memory of the host are taken when called, as a real driver does; a graph would read it
   later, when it may be gone. */
API int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, Stream *stream) {
    char *address = (char *)(uintptr_t)to;
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!holder(address, bytes, own_device())) return answer(INVALID_VALUE);
    if (holder(from, bytes, -1))
        return answer(add_work(stream, (Work){.to = address, .from = from, .bytes = bytes}));
    if (stream->capture) return answer(CAPTURE_UNSUPPORTED);
    for (size_t i = 0; i < stream->works.count && !last_fault; i++)
        last_fault = do_work(&stream->works.items[i]);
    stream->works.count = 0;
    memcpy(address, from, bytes);
    copies++;
    return answer(last_fault);
}

API int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, Stream *stream) {
    char *address = (char *)(uintptr_t)from;
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!holder(address, bytes, own_device())) return answer(INVALID_VALUE);
    if (stream->capture && !holder(to, bytes, -1)) return answer(CAPTURE_UNSUPPORTED);
    return answer(add_work(stream, (Work){.to = to, .from = address, .bytes = bytes}));
}

API int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, Stream *stream) {
    char *target = (char *)(uintptr_t)to, *source = (char *)(uintptr_t)from;
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!holder(target, bytes, own_device()) || !holder(source, bytes, own_device()))
        return answer(INVALID_VALUE);
    return answer(add_work(stream, (Work){.to = target, .from = source, .bytes = bytes, .on_device = true}));
}

/* ---- Events ---- */

API int cuEventCreate(Event **event, unsigned flags) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (flags) return answer(INVALID_VALUE);
    *event = calloc(1, sizeof **event);
    count(1);
    return answer(SUCCESS);
}

API int cuEventDestroy_v2(Event *event) {
    if (!enter()) return answer(INVALID_CONTEXT);
    free(event);
    count(-1);
    return answer(SUCCESS);
}

API int cuEventRecord(Event *event, Stream *stream) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (stream->capture) return answer(CAPTURE_UNSUPPORTED);
    event->milliseconds = 0;
    return answer(add_work(stream, (Work){.event = event}));
}

API int cuEventElapsedTime(float *elapsed, const Event *start, const Event *end) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!(start->milliseconds > 0) || !(end->milliseconds > 0)) return answer(INVALID_HANDLE);
    *elapsed = (float)(end->milliseconds - start->milliseconds);
    return answer(SUCCESS);
}

/* ---- Modules ---- */

static int load_object(const char *object, size_t size, Module *m) {
    char path[256];
    const char *base = getenv("TMPDIR");
    FakeBind *bind;
    snprintf(path, sizeof path, "%s/fake-cuda-XXXXXX", base ? base : "/tmp");
    int file = mkstemp(path);
    bool is_written = file >= 0 && write(file, object, size) == (ssize_t)size;
    if (file >= 0) close(file);
    m->library = is_written ? dlopen(path, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!m->library) snprintf(fault_text, sizeof fault_text, "%s", dlerror());
    if (file >= 0) unlink(path);
    void *symbol = m->library ? dlsym(m->library, "fake_bind") : NULL;
    if (!symbol) return INVALID_IMAGE;
    memcpy(&bind, &symbol, sizeof bind);
    m->module = bind(&fake_block);
    return SUCCESS;
}

API int cuModuleLoadData(Module **module, const void *image) {
    char kind[8];
    int arch, version, n = 0;
    size_t size;
    if (!enter()) return answer(INVALID_CONTEXT);
    if (asked("cuModuleLoadData")) return answer(asked("cuModuleLoadData"));
    snprintf(fault_text, sizeof fault_text, "device kernel image is invalid");
    if (sscanf(image, "FAKE %7s %d %d %zu\n", kind, &arch, &version, &size) != 4)
        return answer(INVALID_IMAGE);
    n = (int)(strchr(image, '\n') - (const char *)image) + 1;
    long capability = fake_setting("FAKE_CUDA_CAPABILITY", 90),
         own = fake_setting("FAKE_CUDA_VERSION", 13000);
    bool is_ptx = !strcmp(kind, "ptx");
    if (is_ptx ? arch > capability : arch != capability) return answer(NO_BINARY);
    if (is_ptx ? version > own : version / 1000 > own / 1000) return answer(UNSUPPORTED_PTX);
    *module = calloc(1, sizeof **module);
    int result = load_object((const char *)image + n, size, *module);
    if (result) free(*module);
    count(!result);
    return answer(result);
}

API int cuModuleUnload(Module *module) {
    if (!enter()) return answer(INVALID_CONTEXT);
    for (Function **f = &functions; *f;) {
        Function *found = *f;
        if (found->owner != module) {
            f = &found->next;
            continue;
        }
        *f = found->next;
        free(found);
    }
    dlclose(module->library);
    free(module);
    count(-1);
    return answer(SUCCESS);
}

API int cuModuleGetFunction(Function **function, Module *module, const char *name) {
    if (!enter()) return answer(INVALID_CONTEXT);
    void *symbol = dlsym(module->library, name);
    if (!symbol) return answer(NOT_FOUND);
    Function *f = calloc(1, sizeof *f);
    f->owner = module;
    f->next = functions;
    f->shared_most = UNASKED_SHARED - STATIC_SHARED;
    memcpy(&f->kernel, &symbol, sizeof symbol);
    snprintf(f->name, sizeof f->name, "%s", name);
    functions = *function = f;
    return answer(SUCCESS);
}

API int cuFuncSetAttribute(Function *function, int attribute, int value) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (attribute != 8 || value + STATIC_SHARED > fake_setting("FAKE_CUDA_SHARED", FAKE_SHARED_BYTES))
        return answer(INVALID_VALUE);
    function->shared_most = (size_t)value;
    return answer(SUCCESS);
}

API int cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared, Stream *stream,
                       void **parameters, void **extra) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!grid_x || grid_y != 1 || grid_z != 1 || !block_x || block_x > FAKE_THREADS || block_y != 1 ||
        block_z != 1 || shared > function->shared_most || extra)
        return answer(INVALID_VALUE);
    Work w = {
        .function = function,
        .launch = {function->name, function->kernel, &function->owner->module, grid_x, block_x, shared}};
    memcpy(&w.launch.context, parameters[0], sizeof w.launch.context);
    memcpy(&w.launch.scratch, parameters[1], sizeof w.launch.scratch);
    return answer(add_work(stream, w));
}

/* ---- What other libraries ask ---- */

API int fake_cuda_enqueue(void *stream, const char *name, FakeCall *call, const void *data, size_t bytes) {
    if (!enter() || !stream || bytes > FAKE_CALL_BYTES) return answer(INVALID_CONTEXT);
    Work w = {.call = call, .name = name};
    memcpy(w.data, data, bytes);
    return answer(add_work(stream, w));
}

API int fake_cuda_holds(const void *data, size_t bytes) {
    bool held = enter() && (!bytes || holder(data, bytes, own_device()));
    answer(SUCCESS);
    return held;
}

API void fake_cuda_count(int more) {
    pthread_mutex_lock(&lock);
    count(more);
    answer(SUCCESS);
}

/* ---- Graphs ---- */

API int cuStreamBeginCapture_v2(Stream *stream, int mode) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (stream->capture || mode != 1) return answer(CAPTURE_UNSUPPORTED);
    stream->capture = calloc(1, sizeof *stream->capture);
    return answer(SUCCESS);
}

API int cuStreamIsCapturing(const Stream *stream, int *status) {
    if (!enter()) return answer(INVALID_CONTEXT);
    *status = stream->capture ? 1 : 0;
    return answer(SUCCESS);
}

API int cuStreamEndCapture(Stream *stream, Works **graph) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (!stream->capture) return answer(CAPTURE_UNSUPPORTED);
    *graph = stream->capture;
    stream->capture = NULL;
    count(1);
    return answer(SUCCESS);
}

API int cuGraphInstantiateWithFlags(Works **exec, const Works *graph, unsigned long long flags) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (asked("cuGraphInstantiateWithFlags")) return answer(asked("cuGraphInstantiateWithFlags"));
    if (flags) return answer(INVALID_VALUE);
    *exec = calloc(1, sizeof **exec);
    (*exec)->count = (*exec)->capacity = graph->count;
    (*exec)->items = calloc(graph->count + 1, sizeof *graph->items);
    if (graph->count) memcpy((*exec)->items, graph->items, graph->count * sizeof *graph->items);
    count(1);
    return answer(SUCCESS);
}

API int cuGraphLaunch(const Works *exec, Stream *stream) {
    if (!enter()) return answer(INVALID_CONTEXT);
    if (asked("cuGraphLaunch")) return answer(asked("cuGraphLaunch"));
    if (stream->capture) return answer(CAPTURE_UNSUPPORTED);
    for (size_t i = 0; i < exec->count; i++) add_work(stream, exec->items[i]);
    graph_launches++;
    return answer(SUCCESS);
}

static int destroy_graph(Works *graph) {
    if (!enter()) return answer(INVALID_CONTEXT);
    free_works(graph);
    free(graph);
    count(-1);
    return answer(SUCCESS);
}

API int cuGraphExecDestroy(Works *exec) {
    return destroy_graph(exec);
}

API int cuGraphDestroy(Works *graph) {
    return destroy_graph(graph);
}
