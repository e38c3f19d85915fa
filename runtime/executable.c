/* executable.c — an executable on any target: which part does the work, and what all of them have in common.
 */
#include "executable.h"
#include "cpu_executable.h"
#include "cuda_device.h"
#include "cuda_executable.h"
#include "passes.h"
#include <omp.h>
#include <string.h>
#include <time.h>

struct Executable {
    FraxTarget target;
    Graph *graph;
    ExecutableStats stats;
    Eager *eager;
    CpuExecutable *cpu;
    Graph *dense; /* of the CUDA target, after all passes */
    CudaExecutable *cuda;
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Creation, target by target ---- */

static FraxStatus create_cpu(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    exe->graph->self_contained = options->self_contained;
    FraxStatus status = run_passes_watched(&exe->graph, NULL, &options->watch, err);
    return status ? status : cpu_executable_create(exe->graph, options, &exe->cpu, &exe->stats, err);
}

/* What a framework would execute: without what differentiation left behind. */
static FraxStatus create_eager(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    int threads = options->threads > 0 ? options->threads : omp_get_max_threads();
    FraxStatus status = run_passes(&exe->graph, "dce", err);
    if (!status) status = eager_create(exe->graph, threads, &exe->eager, err);
    if (!status) exe->stats.moved_bytes = eager_moved_bytes(exe->eager);
    return status;
}

/* The graph's copy that becomes kernels: on the device all arrays are dense. */
static FraxStatus dense_graph(const Graph *graph, unsigned libraries, Graph **dense, FraxError *err) {
    *dense = graph_rewrite(graph, NULL, NULL, err);
    if (!*dense) return err ? err->status : FRAX_MEMORY;
    (*dense)->nlayouts = 0;
    for (size_t o = 0; o < (*dense)->noutputs; o++) (*dense)->outputs[o].strides = NULL;
    (*dense)->self_contained = (*dense)->gpu = true;
    (*dense)->gpu_libraries = libraries;
    return FRAX_OK;
}

static FraxStatus make_cuda(Executable *exe, const ExecutableOptions *options, unsigned libraries,
                            FraxError *err) {
    graph_destroy(exe->dense);
    exe->dense = NULL;
    FraxStatus status = dense_graph(exe->graph, libraries, &exe->dense, err);
    if (!status) status = run_passes_watched(&exe->dense, NULL, &options->watch, err);
    if (!status) status = cuda_executable_create(exe->dense, options, &exe->cuda, &exe->stats, err);
    return status;
}

/* A machine without that device is refused before any work. Libraries are taken to be there until the program
   needs one, because opening them takes time; what one cannot do the kernels do. */
static FraxStatus create_cuda(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    CudaDevice device;
    FraxError why = {0};
    unsigned libraries = GPU_PRODUCTS | GPU_TRANSFORMS;
    FraxStatus status = cuda_device_describe(options->device, &device, &why);
    if (!status) status = make_cuda(exe, options, libraries, &why);
    while (status && exe->stats.refused & libraries) {
        watch_log(&options->watch, "%s; %s is compiled without it", why.message, exe->graph->name);
        libraries &= ~exe->stats.refused;
        exe->stats = (ExecutableStats){0};
        status = make_cuda(exe, options, libraries, &why);
    }
    if (status && err) *err = why;
    return status;
}

/* ---- Executables ---- */

/* How the convolutions are computed and why, a line each; what was made. */
static void log_outcome(const Executable *exe, const Watch *watch) {
    const Graph *g = exe->dense ? exe->dense : exe->graph;
    if (!watch->log) return;
    for (size_t i = 0; i < g->nnotes; i++)
        watch_log(watch, "%s:%d:%d: %s", g->file, g->notes[i].loc.line, g->notes[i].loc.column,
                  g->notes[i].text);
    if (exe->target == FRAX_CPU || exe->target == FRAX_CUDA)
        watch_log(watch, "%s: %zu kernel%s, %s in %.3g ms", g->name, exe->stats.kernels,
                  exe->stats.kernels == 1 ? "" : "s", exe->stats.from_cache ? "from the cache" : "compiled",
                  1e3 * exe->stats.compile_seconds);
}

FraxStatus executable_create(Graph *graph, const ExecutableOptions *options, Executable **out,
                             FraxError *err) {
    Executable *exe = mem_calloc(1, sizeof *exe);
    double start = seconds();
    FraxStatus status = FRAX_OK;
    if (!exe) {
        graph_destroy(graph);
        return fail_memory(err, "compiling");
    }
    exe->target = options->target;
    exe->graph = graph;
    switch (options->target) {
    case FRAX_CPU: status = create_cpu(exe, options, err); break;
    case FRAX_EAGER: status = create_eager(exe, options, err); break;
    case FRAX_REFERENCE: break;
    case FRAX_CUDA: status = create_cuda(exe, options, err); break;
    default: status = fail(err, FRAX_USAGE, "unknown target %d", (int)options->target);
    }
    if (!status) status = graph_status(exe->graph, err);
    if (status) {
        executable_destroy(exe);
        return status;
    }
    exe->stats.compile_seconds = seconds() - start;
    log_outcome(exe, &options->watch);
    *out = exe;
    return FRAX_OK;
}

void executable_destroy(Executable *exe) {
    if (!exe) return;
    eager_destroy(exe->eager);
    cpu_executable_destroy(exe->cpu);
    cuda_executable_destroy(exe->cuda);
    graph_destroy(exe->dense);
    graph_destroy(exe->graph);
    mem_free(exe);
}

static FraxStatus run_reference(const Executable *exe, const void *const *inputs, void *const *outputs,
                                FraxError *err) {
    const Graph *g = exe->graph;
    FraxTensor *tensors = mem_calloc(g->ninputs + g->noutputs + 1, sizeof *tensors);
    if (!tensors) return fail_memory(err, "evaluating");
    for (size_t i = 0; i < g->ninputs + g->noutputs; i++) {
        bool is_input = i < g->ninputs;
        const Type *type = graph_type(g, is_input ? g->inputs[i] : g->outputs[i - g->ninputs].value);
        tensors[i].dtype = type->dtype;
        tensors[i].rank = type->shape.rank;
        memcpy(tensors[i].dims, type->shape.dims, sizeof tensors[i].dims);
        tensors[i].data = is_input ? (void *)(uintptr_t)inputs[i] : outputs[i - g->ninputs];
    }
    FraxStatus status = reference_run(g, tensors, tensors + g->ninputs, err);
    mem_free(tensors);
    return status;
}

static FraxStatus run_dense(const Executable *exe, const void *const *inputs, void *const *outputs,
                            FraxError *err) {
    switch (exe->target) {
    case FRAX_EAGER: return eager_run(exe->eager, inputs, outputs, err);
    case FRAX_CUDA: return cuda_executable_run(exe->cuda, inputs, outputs, err);
    default: return run_reference(exe, inputs, outputs, err);
    }
}

/* One array of a target that knows dense ones only: the caller's, or a copy. */
static bool dense_array(const Type *type, const int64_t *strides, void **array) {
    if (strides) *array = mem_aligned(type_bytes(type));
    return *array != NULL;
}

static void copy_array(const Type *type, const int64_t *to_strides, void *to, const int64_t *from_strides,
                       const void *from) {
    int64_t to_bytes[MAX_RANK], from_bytes[MAX_RANK];
    strides_bytes(type, to_strides, to_bytes);
    strides_bytes(type, from_strides, from_bytes);
    strides_copy(type, to, to_bytes, from, from_bytes);
}

/* All targets but the CPU compute in dense arrays, to and from which all others are copied. */
static FraxStatus run_copies(const Executable *exe, const void *const *inputs, void *const *outputs,
                             FraxError *err) {
    const Graph *g = exe->graph;
    size_t n = g->ninputs + g->noutputs;
    void **arrays = mem_calloc(MAX(n, 1), sizeof *arrays);
    bool *copied = mem_calloc(MAX(n, 1), 1), ok = arrays && copied;
    for (size_t i = 0; ok && i < n; i++) {
        bool is_input = i < g->ninputs;
        size_t o = i - g->ninputs;
        Value v = is_input ? g->inputs[i] : g->outputs[o].value;
        const int64_t *strides = is_input ? graph_strides(g, v) : g->outputs[o].strides;
        arrays[i] = is_input ? (void *)(uintptr_t)inputs[i] : outputs[o];
        ok = dense_array(graph_type(g, v), strides, &arrays[i]);
        copied[i] = ok && strides;
        if (copied[i] && is_input) copy_array(graph_type(g, v), NULL, arrays[i], strides, inputs[i]);
    }
    FraxStatus status = ok ? FRAX_OK : fail_memory(err, "copying strided arrays");
    if (!status) status = run_dense(exe, (const void *const *)arrays, arrays + g->ninputs, err);
    for (size_t o = 0; !status && o < g->noutputs; o++)
        if (g->outputs[o].strides)
            copy_array(graph_type(g, g->outputs[o].value), g->outputs[o].strides, outputs[o], NULL,
                       arrays[g->ninputs + o]);
    for (size_t i = 0; copied && i < n; i++)
        if (copied[i]) mem_free(arrays[i]);
    mem_free(arrays);
    mem_free(copied);
    return status;
}

FraxStatus executable_run(const Executable *exe, const void *const *inputs, void *const *outputs,
                          FraxError *err) {
    if (exe->target == FRAX_CPU) return cpu_executable_run(exe->cpu, inputs, outputs, err);
    return graph_is_strided(exe->graph) ? run_copies(exe, inputs, outputs, err)
                                        : run_dense(exe, inputs, outputs, err);
}

bool executable_has_memory(const Executable *exe) {
    return exe->target == FRAX_CUDA;
}

FraxStatus executable_keep(Executable *exe, const bool *inputs, FraxError *err) {
    return cuda_executable_keep(exe->cuda, inputs, err);
}

FraxStatus executable_upload(Executable *exe, size_t input, const void *data, FraxError *err) {
    return cuda_executable_upload(exe->cuda, input, data, err);
}

FraxStatus executable_download(const Executable *exe, size_t input, void *data, FraxError *err) {
    return cuda_executable_download(exe->cuda, input, data, err);
}

FraxStatus executable_save(Executable *exe, int slot, FraxError *err) {
    return cuda_executable_save(exe->cuda, slot, err);
}

FraxStatus executable_restore(Executable *exe, int slot, FraxError *err) {
    return cuda_executable_restore(exe->cuda, slot, err);
}

FraxStatus executable_time(const Executable *exe, size_t runs, RunTimes *times, FraxError *err) {
    return cuda_executable_time(exe->cuda, runs, times, err);
}

const Graph *executable_graph(const Executable *exe) {
    return exe->graph;
}

ExecutableStats executable_stats(const Executable *exe) {
    return exe->stats;
}
