/* cuda_executable.c — making a CudaExecutable: code, memory of the device, tables. */
#include "cuda_blas.h"
#include "cuda_fft.h"
#include <stdint.h>

enum {
    ALIGNMENT = 256,
    PLAIN_SHARED = 32 << 10, /* of the 48 KB that need no asking, which static shared memory counts into */
    STATIC_SHARED = 1 << 10  /* room for some sums over a block, each 256 bytes at most */
};

/* ---- Functions ---- */

static FraxStatus find_function(CudaExecutable *exe, size_t i, FraxError *err) {
    const CudaDevice *d = &exe->device;
    const CudaLaunch *l = &exe->program.launches[i];
    if (l->kind != CUDA_KERNEL) return FRAX_OK;
    if (l->shared + STATIC_SHARED > (size_t)d->shared_most)
        return fail(
            err, FRAX_UNSUPPORTED,
            "CUDA: kernel %s of %s needs %zu bytes of shared memory for a block, device %d, %s, has %d; "
            "choose smaller sizes, or --target cpu",
            l->name, exe->graph->name, l->shared + STATIC_SHARED, d->number, d->name, d->shared_most);
    int result = d->cu->module_function(&exe->functions[i], exe->module, l->name);
    if (!result && l->shared > PLAIN_SHARED)
        result = d->cu->function_set(exe->functions[i], CUDA_FUNCTION_DYNAMIC_SHARED, (int)l->shared);
    return result ? cuda_fail(d->cu, result, err, "CUDA: kernel %s", l->name) : FRAX_OK;
}

static FraxStatus load_code(CudaExecutable *exe, const ExecutableOptions *options, ExecutableStats *stats,
                            FraxError *err) {
    CudaImage image;
    FraxStatus status = watch_stage(&options->watch, "compiling", 0, 1, err);
    if (!status) status = cuda_compile(&exe->program, &exe->device, options->no_cache, &image, err);
    if (status) return status;
    stats->from_cache = image.from_cache;
    int result = exe->device.cu->module_load(&exe->module, image.data);
    mem_free(image.data);
    if (result) {
        exe->module = NULL;
        return cuda_fail(exe->device.cu, result, err, "CUDA: loading the kernels of %s", exe->graph->name);
    }
    size_t n = exe->program.nlaunches;
    exe->functions = mem_calloc(MAX(n, 1), sizeof *exe->functions);
    if (!exe->functions) return fail_memory(err, "the kernels");
    for (size_t i = 0; i < n && !status; i++) status = find_function(exe, i, err);
    return status;
}

/* ---- Memory ---- */

/* Room for `bytes` more; *total is SIZE_MAX once it is beyond all memory. */
static size_t reserve(size_t *total, size_t bytes) {
    size_t at = *total;
    if (at > SIZE_MAX - ALIGNMENT || bytes > SIZE_MAX - ALIGNMENT - at) {
        *total = SIZE_MAX;
        return 0;
    }
    *total = (at + bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return at;
}

static CudaValuePlace *value_places(const Graph *g, size_t n, bool is_input, FraxError *err) {
    CudaValuePlace *places = mem_calloc(MAX(n, 1), sizeof *places);
    if (!places) fail_memory(err, "the signature");
    for (size_t i = 0; places && i < n; i++)
        places[i].bytes = type_bytes(graph_type(g, is_input ? g->inputs[i] : g->outputs[i].value));
    return places;
}

/* The input that output o may be written over; ninputs: none. */
static size_t donor(const Graph *g, size_t o) {
    size_t i = 0;
    while (i < g->ninputs && g->inputs[i] != g->outputs[o].donated) i++;
    return i;
}

/* Offsets from the start of the memory, in place of addresses. A donated output is written over its input. */
static size_t place_values(CudaExecutable *exe, size_t total) {
    const Graph *g = exe->graph;
    for (size_t i = 0; i < g->ninputs; i++) exe->inputs[i].device = reserve(&total, exe->inputs[i].bytes);
    for (size_t o = 0; o < g->noutputs; o++) {
        size_t i = donor(g, o);
        exe->outputs[o].device =
            i < g->ninputs ? exe->inputs[i].device : (CudaAddress)reserve(&total, exe->outputs[o].bytes);
    }
    return total;
}

/* The tables of pointers that kernels read, copied by way of `pointers`. */
static FraxStatus fill_pointers(CudaExecutable *exe, CudaAddress tables, CudaAddress *pointers,
                                FraxError *err) {
    const Graph *g = exe->graph;
    const CudaDriver *cu = exe->device.cu;
    size_t n = g->ninputs + g->noutputs;
    for (size_t i = 0; i < g->ninputs; i++) pointers[i] = exe->inputs[i].device;
    for (size_t o = 0; o < g->noutputs; o++) pointers[g->ninputs + o] = exe->outputs[o].device;
    int result = n ? cu->copy_to_device(tables, pointers, n * sizeof *pointers, exe->stream) : 0;
    return result ? cuda_fail(cu, result, err, "CUDA: writing the tables of pointers")
                  : cuda_wait(exe, "start", err);
}

static FraxStatus make_memory(CudaExecutable *exe, FraxError *err) {
    const Graph *g = exe->graph;
    const Program *p = &exe->program.program;
    size_t total = 0, statics = reserve(&total, p->static_bytes), arena = reserve(&total, p->arena_bytes),
           workspace = reserve(&total, p->workspace_bytes),
           scratch = reserve(&total, exe->program.scratch_bytes), work = reserve(&total, cuda_fft_bytes(exe)),
           tables = reserve(&total, (g->ninputs + g->noutputs) * sizeof(CudaAddress));
    exe->inputs = value_places(g, g->ninputs, true, err);
    exe->outputs = exe->inputs ? value_places(g, g->noutputs, false, err) : NULL;
    if (!exe->outputs) return FRAX_MEMORY;
    exe->memory_bytes = total = place_values(exe, total);
    FraxStatus status = cuda_device_allocate(&exe->device, total, g->name, &exe->memory, err);
    if (status) return status;
    for (size_t i = 0; i < g->ninputs; i++) exe->inputs[i].device += exe->memory;
    for (size_t o = 0; o < g->noutputs; o++) exe->outputs[o].device += exe->memory;
    exe->scratch = exe->memory + scratch;
    exe->context =
        (KernelContext){.arena = cuda_pointer(exe->memory + arena),
                        .statics = cuda_pointer(exe->memory + statics),
                        .workspace = cuda_pointer(exe->memory + workspace),
                        .inputs = cuda_pointer(exe->memory + tables),
                        .outputs = cuda_pointer(exe->memory + tables + g->ninputs * sizeof(CudaAddress))};
    CudaAddress *pointers = mem_calloc(g->ninputs + g->noutputs + 1, sizeof *pointers);
    if (!pointers) return fail_memory(err, "the tables of pointers");
    status = fill_pointers(exe, exe->memory + tables, pointers, err);
    mem_free(pointers);
    return status ? status : cuda_fft_place(exe, exe->memory + work, err);
}

CudaAddress cuda_value_address(const CudaExecutable *exe, Value v) {
    const Node *node = graph_node(exe->graph, v);
    CudaAddress at = (CudaAddress)node->offset;
    switch (node->region) {
    case REGION_INPUT: return exe->inputs[node->offset].device;
    case REGION_OUTPUT: return exe->outputs[node->offset].device;
    case REGION_STATIC: return at + (uintptr_t)exe->context.statics;
    default: return at + (uintptr_t)exe->context.arena;
    }
}

/* ---- Tables ---- */

static const void *fetched_data(const void *context, const Check *check) {
    (void)check;
    return context;
}

/* Guards of values that depend on no input are judged once. */
static FraxStatus judge_table(CudaExecutable *exe, size_t i, FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    Checks one = {.items = &exe->checks.items[i], .count = 1};
    size_t bytes = type_bytes(graph_type(exe->graph, one.items->value));
    if (!bytes) return FRAX_OK;
    char *data = mem_alloc(bytes);
    if (!data) return fail_memory(err, "a checked value");
    int result = cu->copy_to_host(data, cuda_value_address(exe, one.items->value), bytes, exe->stream);
    FraxStatus status = result ? cuda_fail(cu, result, err, "CUDA: reading a checked value")
                               : cuda_wait(exe, "reading a checked value", err);
    if (!status) status = checks_run(exe->graph, &one, AT_CREATION, 0, fetched_data, data, err);
    mem_free(data);
    return status;
}

static FraxStatus make_tables(CudaExecutable *exe, FraxError *err) {
    FraxStatus status = cuda_launch_all(exe, CUDA_STATIC, true, err);
    for (size_t i = 0; i < exe->checks.count && !status; i++)
        if (exe->checks.items[i].moment == AT_CREATION) status = judge_table(exe, i, err);
    return status;
}

/* ---- Executables ---- */

static void fill_stats(const CudaExecutable *exe, ExecutableStats *stats) {
    const Program *p = &exe->program.program;
    size_t scratch = exe->program.scratch_bytes + cuda_blas_bytes(exe) + cuda_fft_bytes(exe);
    stats->arena_bytes = p->arena_bytes + p->workspace_bytes + scratch;
    stats->live_bytes = p->live_bytes + scratch;
    stats->static_bytes = p->static_bytes;
    stats->moved_bytes = p->moved_bytes;
    for (int i = 0; i < p->nkernels; i++) stats->kernels += !p->kernels[i].kernel.is_static;
}

/* FRAX_UNSUPPORTED of a library: without it the kernels can do its part. */
static FraxStatus note_refusal(FraxStatus status, unsigned library, ExecutableStats *stats) {
    if (status == FRAX_UNSUPPORTED && !cuda_is_misnamed(library)) stats->refused |= library;
    return status;
}

static FraxStatus make(CudaExecutable *exe, const ExecutableOptions *options, ExecutableStats *stats,
                       FraxError *err) {
    FraxStatus status = note_refusal(cuda_blas_open(exe, err), GPU_PRODUCTS, stats);
    if (!status) status = note_refusal(cuda_fft_open(exe, err), GPU_TRANSFORMS, stats);
    if (!status) status = load_code(exe, options, stats, err);
    int result = status ? 0 : exe->device.cu->stream_create(&exe->stream, CUDA_STREAM_NON_BLOCKING);
    if (result) {
        exe->stream = NULL;
        status = cuda_fail(exe->device.cu, result, err, "CUDA: a stream");
    }
    if (!status) status = checks_list(exe->graph, &exe->checks, err);
    if (!status) status = note_refusal(cuda_fft_create(exe, err), GPU_TRANSFORMS, stats);
    if (!status) status = make_memory(exe, err);
    if (!status) status = note_refusal(cuda_blas_create(exe, err), GPU_PRODUCTS, stats);
    if (!status) status = make_tables(exe, err);
    if (!status) status = note_refusal(cuda_try_launches(exe, CUDA_PRODUCT, err), GPU_PRODUCTS, stats);
    if (!status) status = note_refusal(cuda_try_launches(exe, CUDA_TRANSFORM, err), GPU_TRANSFORMS, stats);
    if (!status) status = cuda_plan_transfers(exe, err);
    return status;
}

FraxStatus cuda_executable_from(CudaProgram *program, const ExecutableOptions *options, CudaExecutable **out,
                                ExecutableStats *stats, FraxError *err) {
    CudaExecutable *exe = mem_calloc(1, sizeof *exe);
    if (!exe) {
        cuda_program_destroy(program);
        return fail_memory(err, "the executable");
    }
    exe->program = *program;
    exe->graph = program->program.graph;
    exe->one_by_one = options->debug;
    exe->has_lock = !pthread_mutex_init(&exe->lock, NULL);
    FraxStatus status = exe->has_lock ? FRAX_OK : fail_memory(err, "a lock");
    if (!status) status = cuda_device_open(options->device, &exe->device, err);
    if (!status) status = cuda_device_enter(&exe->device, err);
    if (!status) {
        status = make(exe, options, stats, err);
        cuda_device_leave(&exe->device);
    }
    if (status) {
        cuda_executable_destroy(exe);
        return status;
    }
    fill_stats(exe, stats);
    *out = exe;
    return FRAX_OK;
}

FraxStatus cuda_executable_create(const Graph *graph, const ExecutableOptions *options, CudaExecutable **out,
                                  ExecutableStats *stats, FraxError *err) {
    CudaProgram program;
    FraxStatus status = cuda_program_create(graph, &options->watch, &program, err);
    return status ? status : cuda_executable_from(&program, options, out, stats, err);
}

static void free_device_parts(CudaExecutable *exe) {
    const CudaDriver *cu = exe->device.cu;
    if (exe->stream) cu->stream_wait(exe->stream);
    cuda_free_transfers(exe);
    cuda_blas_destroy(exe);
    cuda_fft_destroy(exe);
    for (int i = 0; i < SAVED_SLOTS; i++)
        if (exe->saved[i]) cu->memory_free(exe->saved[i]);
    if (exe->memory) cu->memory_free(exe->memory);
    if (exe->stream) cu->stream_destroy(exe->stream);
    if (exe->module) cu->module_unload(exe->module);
}

void cuda_executable_destroy(CudaExecutable *exe) {
    if (!exe) return;
    if (exe->device.context && !cuda_device_enter(&exe->device, NULL)) {
        free_device_parts(exe);
        cuda_device_leave(&exe->device);
    }
    mem_free(exe->functions);
    mem_free(exe->inputs);
    mem_free(exe->outputs);
    checks_free(&exe->checks);
    cuda_program_destroy(&exe->program);
    if (exe->has_lock) pthread_mutex_destroy(&exe->lock);
    mem_free(exe);
}
