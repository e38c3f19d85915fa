/* executable.c — an executable on any target, and how a compiled program runs.
 *
 * A run takes a block of memory (arena, partial results, scratch of each thread) from a small pool, calls the
 * kernels in order, and puts the block back; so an executable can run in many threads at once, and a call of
 * a small model costs no allocation.
 */
#include "executable.h"
#include "blas.h"
#include "cache.h"
#include "checks.h"
#include "cuda_device.h"
#include "cuda_executable.h"
#include "fft.h"
#include "jit.h"
#include "memory_limit.h"
#include "passes.h"
#include <omp.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

enum { POOL = 16 };

struct Executable {
    FraxTarget target;
    Graph *graph;
    bool is_borrowed; /* the graph */
    int threads;
    ExecutableStats stats;
    Eager *eager;
    Graph *dense; /* of the CUDA target, after all passes */
    CudaExecutable *cuda;
    /* Compiled programs: */
    Program program;
    JitCode *code;
    KernelFunction **main, **finish, **prepare; /* per kernel; NULL where there is nothing to call */
    const void **plans;
    Checks checks;
    char *statics;
    size_t run_bytes;
    _Atomic(char *) pool[POOL];
};

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- Running a program ---- */

static char *take_memory(const Executable *exe) {
    Executable *pool = (Executable *)exe; /* the pool is the one part that runs change */
    for (int i = 0; i < POOL; i++) {
        char *memory = atomic_exchange(&pool->pool[i], NULL);
        if (memory) return memory;
    }
    return mem_aligned(exe->run_bytes);
}

static void give_memory(const Executable *exe, char *memory) {
    Executable *pool = (Executable *)exe;
    for (int i = 0; i < POOL; i++) {
        char *none = NULL;
        if (atomic_compare_exchange_strong(&pool->pool[i], &none, memory)) return;
    }
    mem_free(memory);
}

static const char *value_address(const Executable *exe, const KernelContext *c, Value v) {
    const Node *node = graph_node(exe->graph, v);
    switch (node->region) {
    case REGION_INPUT: return c->inputs[node->offset];
    case REGION_OUTPUT: return c->outputs[node->offset];
    case REGION_STATIC: return c->statics + node->offset;
    default: return c->arena + node->offset;
    }
}

/* Place of matrix `batch` of a product's operand: its affine place over the batch loops. */
static int64_t batch_place(const Kernel *k, const Affine *at, int64_t batch) {
    int64_t place = at->base;
    int loops = k->nloops - (k->m > 1) - (k->n > 1);
    for (int l = loops - 1; l >= 0; l--) {
        place += at->coeff[l] * (batch % k->size[l]);
        batch /= k->size[l];
    }
    return place;
}

/* A product by the library, and how its matrices lie. result: turned where columns are written as rows. */
typedef struct LibraryProduct {
    LibraryMatrix left, right, result;
    Affine at; /* of the result's matrices */
    int64_t row_step;
} LibraryProduct;

static LibraryProduct library_product(const Graph *g, const Kernel *k) {
    const Node *node = graph_node(g, k->product);
    const int r = node->type.shape.rank;
    const int64_t *given = stored_strides(g, k->product);
    LibraryProduct p = {.at = k->stores[0].at};
    int64_t strides[MAX_RANK];
    shape_strides(&node->type.shape, strides);
    if (given) memcpy(strides, given, sizeof *strides * (size_t)r);
    library_matrix((int64_t[]){k->m, k->k}, k->left.stride, node->attrs->ta, &p.left);
    library_matrix((int64_t[]){k->k, k->n}, k->right.stride, node->attrs->tb, &p.right);
    library_matrix(&node->type.shape.dims[r - 2], &strides[r - 2], false, &p.result);
    p.row_step = strides[r - 2];
    return p;
}

/* Cᵀ = Bᵀ Aᵀ */
static void turn_product(Gemm *g) {
    Gemm other = *g;
    other.ta = !g->tb, other.tb = !g->ta;
    other.m = g->n, other.n = g->m;
    other.a = g->b, other.b = g->a;
    other.lda = g->ldb, other.ldb = g->lda;
    *g = other;
}

/* Blocks of a product by the library, which computes each in one thread: the same bits for any number of
 * threads. */
static void run_library_blocks(const Executable *exe, const KernelContext *c, const Kernel *k, int64_t begin,
                               int64_t end) {
    const LibraryProduct p = library_product(exe->graph, k);
    FraxDType dtype = graph_type(exe->graph, k->product)->dtype;
    int64_t size = (int64_t)frax_dtype_size(dtype),
            pieces = (k->m + k->rows_per_block - 1) / k->rows_per_block;
    const char *a = value_address(exe, c, k->left.node), *b = value_address(exe, c, k->right.node);
    char *result = (char *)value_address(exe, c, k->product);
    for (int64_t block = begin; block < end; block++) {
        int64_t batch = block / pieces, row = block % pieces * k->rows_per_block;
        Gemm g = {.dtype = dtype, .ta = p.left.turned, .tb = p.right.turned, .alpha = 1};
        g.m = MIN(k->rows_per_block, k->m - row), g.n = k->n, g.k = k->k;
        g.lda = p.left.leading, g.ldb = p.right.leading, g.ldc = p.result.leading;
        g.a = a + (batch_place(k, &k->left.at, batch) + row * k->left.stride[0]) * size;
        g.b = b + batch_place(k, &k->right.at, batch) * size;
        g.c = result + (batch_place(k, &p.at, batch) + row * p.row_step) * size;
        if (p.result.turned) turn_product(&g);
        gemm(&g);
    }
}

static void run_block_range(const Executable *exe, const KernelContext *c, int i, char *scratch,
                            int64_t begin, int64_t end) {
    const Kernel *k = &exe->program.kernels[i].kernel;
    if (k->kind == KERNEL_GEMM)
        run_library_blocks(exe, c, k, begin, end);
    else
        exe->main[i](c, scratch, begin, end);
}

static void run_blocks(const Executable *exe, const KernelContext *c, int i, char *scratch) {
    const ProgramKernel *pk = &exe->program.kernels[i];
    int64_t blocks = pk->kernel.blocks;
    int count = (int)program_workers(pk, exe->threads);
    if (count == 1) { /* the threads may serve a long row's transform */
        fft_allow_threads(exe->threads);
        run_block_range(exe, c, i, scratch, 0, blocks);
        fft_allow_threads(1);
        return;
    }
#pragma omp parallel num_threads(count)
    {
        int64_t id = omp_get_thread_num(), n = omp_get_num_threads();
        char *own = scratch + (size_t)id * pk->scratch;
        run_block_range(exe, c, i, own, blocks * id / n, blocks * (id + 1) / n);
    }
}

static void run_kernels(const Executable *exe, const KernelContext *c, char *scratch, bool is_static) {
    for (int i = 0; i < exe->program.nkernels; i++) {
        const Kernel *k = &exe->program.kernels[i].kernel;
        if (k->is_static != is_static) continue;
        if (k->blocks) run_blocks(exe, c, i, scratch);
        if (exe->finish[i]) exe->finish[i](c, scratch, 0, kernel_finish_blocks(k));
    }
}

/* Outputs that no kernel writes in place: inputs returned as they are, a value returned twice, an arena
 * value. */
static void copy_outputs(const Executable *exe, const KernelContext *c) {
    const Graph *g = exe->graph;
    for (size_t i = 0; i < g->noutputs; i++) {
        Value v = g->outputs[i].value;
        const Node *node = graph_node(g, v);
        int64_t from[MAX_RANK], to[MAX_RANK];
        if (node->region == REGION_OUTPUT && node->offset == (int64_t)i) continue;
        strides_bytes(&node->type, stored_strides(g, v), from);
        strides_bytes(&node->type, g->outputs[i].strides, to);
        strides_copy(&node->type, c->outputs[i], to, value_address(exe, c, v), from);
    }
}

/* What a check looks at is where the kernels put it. */
typedef struct RunValues {
    const Executable *exe;
    const KernelContext *context;
} RunValues;

static const void *checked_data(const void *context, const Check *check) {
    const RunValues *values = context;
    return value_address(values->exe, values->context, check->value);
}

static FraxStatus run_checks(const Executable *exe, const KernelContext *c, Moment moment, double passed,
                             FraxError *err) {
    return checks_run(exe->graph, &exe->checks, moment, passed, checked_data, &(RunValues){exe, c}, err);
}

static KernelContext context_of(const Executable *exe, char *memory, const void *const *inputs,
                                void *const *outputs) {
    return (KernelContext){.arena = memory,
                           .statics = exe->statics,
                           .workspace = memory + exe->program.arena_bytes,
                           .inputs = inputs,
                           .outputs = outputs,
                           .plans = exe->plans};
}

static FraxStatus run_program(const Executable *exe, const void *const *inputs, void *const *outputs,
                              FraxError *err) {
    char *memory = take_memory(exe);
    if (!memory) return fail(err, FRAX_MEMORY, "out of memory: a run needs %zu bytes", exe->run_bytes);
    KernelContext c = context_of(exe, memory, inputs, outputs);
    /* Read first: the output may be written over it. */
    double passed =
        exe->checks.offset < exe->graph->ninputs ? *(const double *)inputs[exe->checks.offset] : 0;
    FraxStatus status = exe->checks.before ? run_checks(exe, &c, BEFORE, passed, err) : FRAX_OK;
    if (!status) {
        run_kernels(exe, &c, memory + program_scratch_offset(&exe->program), false);
        if (exe->checks.after) status = run_checks(exe, &c, AFTER, passed, err);
    }
    if (!status) copy_outputs(exe, &c);
    give_memory(exe, memory);
    return status;
}

/* ---- Making a program ---- */

static FraxStatus compile_watched(LLVMContextRef context, LLVMModuleRef module, const HostTarget *host,
                                  const ExecutableOptions *options, char **object, size_t *size,
                                  FraxError *err) {
    FraxStatus status = watch_stage(&options->watch, "compiling", 0, 1, err);
    if (!status) return compile_module(context, module, host, false, object, size, err);
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    return status;
}

static FraxStatus object_code(Executable *exe, const ExecutableOptions *options, const HostTarget *host,
                              char **object, size_t *size, FraxError *err) {
    Text key = {0};
    LLVMContextRef context;
    LLVMModuleRef module;
    FraxStatus status = FRAX_OK;
    bool keyed = !options->no_cache && !options->self_contained && !options->host &&
                 cache_key(&exe->program, host, &key);
    exe->stats.from_cache = keyed && cache_load(&key, &exe->program, object, size);
    if (!exe->stats.from_cache) {
        exe->program.watch = &options->watch;
        status = program_emit(&exe->program, host, &context, &module, err);
        exe->program.watch = NULL;
        if (!status) status = compile_watched(context, module, host, options, object, size, err);
        if (!status && keyed) cache_store(&key, &exe->program, *object, *size);
    }
    text_free(&key);
    return status;
}

/* What generated code calls. */
static void *runtime_symbol(const char *name) {
    if (!strcmp(name, "frax_kernel_fft_forward")) return (void *)fft_forward;
    if (!strcmp(name, "frax_kernel_fft_inverse")) return (void *)fft_inverse;
    return NULL;
}

/* frax_kN and what follows; `wanted`: it has to be there. */
static FraxStatus find_function(const Executable *exe, int kernel, const char *suffix, bool wanted,
                                KernelFunction **function, FraxError *err) {
    char name[48];
    snprintf(name, sizeof name, "frax_k%d%s", kernel, suffix);
    void *f = wanted ? jit_function(exe->code, name) : NULL;
    memcpy(function, &f, sizeof f);
    return wanted && !f ? fail(err, FRAX_INTERNAL, "generated code lacks %s", name) : FRAX_OK;
}

static FraxStatus find_functions(Executable *exe, FraxError *err) {
    size_t n = (size_t)MAX(exe->program.nkernels, 1);
    exe->main = mem_calloc(n, sizeof *exe->main);
    exe->finish = mem_calloc(n, sizeof *exe->finish);
    exe->prepare = mem_calloc(n, sizeof *exe->prepare);
    if (!exe->main || !exe->finish || !exe->prepare) return fail_memory(err, "linking");
    FraxStatus status = FRAX_OK;
    for (int i = 0; i < exe->program.nkernels && !status; i++) {
        const ProgramKernel *pk = &exe->program.kernels[i];
        const Kernel *k = &pk->kernel;
        if (!k->blocks || k->kind == KERNEL_GEMM) continue;
        status = find_function(exe, i, "", true, &exe->main[i], err);
        if (!status) status = find_function(exe, i, "_finish", k->workspace > 0, &exe->finish[i], err);
        if (!status) status = find_function(exe, i, "_prepare", pk->prepared > 0, &exe->prepare[i], err);
    }
    return status;
}

static bool is_part_of_code(const Executable *exe, size_t fft) {
    return exe->graph->self_contained || fft_is_generated(&exe->program.ffts[fft]);
}

static FraxStatus make_plans(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    size_t n = exe->program.nffts;
    exe->plans = mem_calloc(MAX(n, 1), sizeof *exe->plans);
    if (!exe->plans) return fail_memory(err, "planning transforms");
    bool cached = !options->no_cache && !exe->graph->self_contained;
    if (n && cached) cache_load_wisdom();
    for (size_t i = 0; i < n; i++) {
        const FftPlan *plan;
        if (is_part_of_code(exe, i)) continue;
        FraxStatus status = watch_stage(&options->watch, "planning transforms", (int64_t)i, (int64_t)n, err);
        if (!status) status = fft_plan(&exe->program.ffts[i], &plan, err);
        if (status) return status;
        exe->plans[i] = plan;
    }
    if (n && cached && !exe->stats.from_cache) cache_store_wisdom();
    return FRAX_OK;
}

/* Planning a transform takes time and memory of the order of its points, and so do tables: a program that
 * cannot run on this machine is refused before. A plan holds up to two numbers a point: parts of twiddle
 * factors, or of the matrix that a long row becomes. */
static FraxStatus check_memory(const Executable *exe, FraxError *err) {
    const Program *p = &exe->program;
    size_t plans = 0, available = memory_available();
    for (size_t i = 0; i < p->nffts; i++) {
        size_t bytes = 2 * frax_dtype_size(p->ffts[i].dtype);
        for (int d = 0; d < p->ffts[i].rank; d++) bytes *= (size_t)p->ffts[i].dims[d];
        if (!is_part_of_code(exe, i)) plans = MAX(plans, bytes);
    }
    if ((double)exe->run_bytes + (double)p->static_bytes + (double)plans <= (double)available) return FRAX_OK;
    return fail(err, FRAX_MEMORY,
                "out of memory: a run needs %zu bytes besides its inputs and outputs, tables %zu, plans of "
                "transforms %zu; this machine has %zu left",
                exe->run_bytes, p->static_bytes, plans, available);
}

/* Tables that depend on no input are computed once, here. */
static FraxStatus run_static(Executable *exe, FraxError *err) {
    exe->statics = mem_aligned(exe->program.static_bytes);
    char *memory = take_memory(exe);
    if (!exe->statics || !memory) {
        mem_free(memory);
        return fail(err, FRAX_MEMORY, "out of memory: tables need %zu bytes, a run %zu",
                    exe->program.static_bytes, exe->run_bytes);
    }
    KernelContext c = context_of(exe, memory, NULL, NULL);
    char *scratch = memory + program_scratch_offset(&exe->program);
    run_kernels(exe, &c, scratch, true);
    for (int i = 0; i < exe->program.nkernels; i++)
        if (exe->prepare[i]) exe->prepare[i](&c, scratch, 0, 0);
    FraxStatus status = run_checks(exe, &c, AT_CREATION, 0, err);
    give_memory(exe, memory);
    return status;
}

/* The library's own threads would change the order of additions with their number. */
static void settle_library(const Program *p) {
    for (int i = 0; i < p->nkernels; i++)
        if (p->kernels[i].kernel.kind == KERNEL_GEMM) blas_set_threads(1);
}

/* From the graph after all passes. */
static FraxStatus make_program(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    HostTarget own = {0};
    char *object = NULL;
    size_t size = 0;
    const HostTarget *target = options->host ? options->host : &own;
    FraxStatus status = program_create(exe->graph, &exe->program, err);
    if (!status && !options->host) status = host_target(&own, err);
    if (!status) status = object_code(exe, options, target, &object, &size, err);
    if (status) {
        host_target_free(&own);
        return status;
    }
    exe->run_bytes =
        program_scratch_offset(&exe->program) + program_scratch_bytes(&exe->program, exe->threads);
    status = check_memory(exe, err);
    if (!status) status = jit_link(object, size, runtime_symbol, options->debug, &exe->code, err);
    if (!status) status = find_functions(exe, err);
    if (!status) status = make_plans(exe, options, err);
    if (!status) status = checks_list(exe->graph, &exe->checks, err);
    if (!status) settle_library(&exe->program);
    if (!status) status = run_static(exe, err);
    mem_free(object);
    host_target_free(&own);
    return status;
}

static FraxStatus create_program(Executable *exe, const ExecutableOptions *options, FraxError *err) {
    exe->graph->self_contained = options->self_contained;
    FraxStatus status = run_passes_watched(&exe->graph, NULL, &options->watch, err);
    if (!status) status = make_program(exe, options, err);
    if (status) return status;
    const Program *p = &exe->program;
    exe->stats.arena_bytes = exe->run_bytes;
    exe->stats.live_bytes = p->live_bytes + program_scratch_bytes(&exe->program, exe->threads);
    exe->stats.static_bytes = p->static_bytes;
    exe->stats.moved_bytes = p->moved_bytes;
    for (int i = 0; i < p->nkernels; i++) exe->stats.kernels += !p->kernels[i].kernel.is_static;
    return FRAX_OK;
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
    exe->threads = options->threads > 0 ? options->threads : omp_get_max_threads();
    switch (options->target) {
    case FRAX_CPU: status = create_program(exe, options, err); break;
    case FRAX_EAGER: /* what a framework would execute: without what differentiation left behind */
        status = run_passes(&exe->graph, "dce", err);
        if (!status) status = eager_create(exe->graph, exe->threads, &exe->eager, err);
        if (!status) exe->stats.moved_bytes = eager_moved_bytes(exe->eager);
        break;
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

FraxStatus executable_create_tables(const Graph *graph, const HostTarget *target, Executable **out,
                                    FraxError *err) {
    ExecutableOptions options = {.threads = 1, .self_contained = true, .host = target};
    Executable *exe = mem_calloc(1, sizeof *exe);
    if (!exe) return fail_memory(err, "compiling");
    exe->graph = (Graph *)graph; /* which nothing below changes */
    exe->is_borrowed = true;
    exe->threads = 1;
    FraxStatus status = make_program(exe, &options, err);
    if (status)
        executable_destroy(exe);
    else
        *out = exe;
    return status;
}

void executable_destroy(Executable *exe) {
    if (!exe) return;
    eager_destroy(exe->eager);
    cuda_executable_destroy(exe->cuda);
    graph_destroy(exe->dense);
    for (int i = 0; i < POOL; i++) mem_free(atomic_load(&exe->pool[i]));
    jit_destroy(exe->code);
    mem_free(exe->main);
    mem_free(exe->finish);
    mem_free(exe->prepare);
    mem_free(exe->plans);
    checks_free(&exe->checks);
    mem_free(exe->statics);
    program_destroy(&exe->program);
    if (!exe->is_borrowed) graph_destroy(exe->graph);
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
    if (exe->target == FRAX_CPU) return run_program(exe, inputs, outputs, err);
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

const char *executable_tables(const Executable *exe) {
    return exe->statics;
}

ExecutableStats executable_stats(const Executable *exe) {
    return exe->stats;
}

/* ---- Listings ---- */

static FraxStatus list_code(Program *p, Listing listing, Text *out, FraxError *err) {
    HostTarget host;
    LLVMContextRef context;
    LLVMModuleRef module;
    char *text = NULL;
    size_t size = 0;
    FraxStatus status = host_target(&host, err);
    if (status) return status;
    status = program_emit(p, &host, &context, &module, err);
    if (!status && listing == LISTING_LLVM) status = module_text(context, module, &host, out, err);
    if (!status && listing == LISTING_ASM) {
        status = compile_module(context, module, &host, true, &text, &size, err);
        if (!status) text_append(out, text, size);
    }
    mem_free(text);
    host_target_free(&host);
    return status;
}

/* Emission says how much scratch each thread needs. */
static FraxStatus list_memory(Program *p, int threads, Text *out, FraxError *err) {
    HostTarget host;
    LLVMContextRef context;
    LLVMModuleRef module;
    FraxStatus status = host_target(&host, err);
    if (status) return status;
    status = program_emit(p, &host, &context, &module, err);
    host_target_free(&host);
    if (status) return status;
    LLVMDisposeModule(module);
    LLVMContextDispose(context);
    size_t scratch = program_scratch_bytes(p, threads);
    text_printf(out,
                "with this machine's threads: %zu bytes temporary, of which %zu live at once, %zu static\n",
                program_scratch_offset(p) + scratch, p->live_bytes + scratch, p->static_bytes);
    return FRAX_OK;
}

FraxStatus executable_listing(const Graph *graph, Listing listing, int threads, Text *out, FraxError *err) {
    Program p;
    FraxStatus status = program_create(graph, &p, err);
    if (!status && listing == LISTING_KERNELS) {
        for (int i = 0; i < p.nkernels; i++) kernel_print(graph, &p.kernels[i].kernel, out);
        text_printf(out,
                    "temporary %zu bytes (largest live set %zu), tables %zu bytes, moved %zu bytes a run\n",
                    p.arena_bytes + p.workspace_bytes, p.live_bytes, p.static_bytes, p.moved_bytes);
        if (!graph->gpu) status = list_memory(&p, threads > 0 ? threads : omp_get_max_threads(), out, err);
    } else if (!status) {
        status = list_code(&p, listing, out, err);
    }
    program_destroy(&p);
    if (!status && out->failed) status = fail_memory(err, "listing");
    return status;
}
