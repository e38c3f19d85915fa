/* cpu_executable.c — compiles a program, or takes its code from the cache, links it, and runs it.
 *
 * A run takes a block of memory (arena, partial results, scratch of each thread) from a small pool, calls the
 * kernels in order, and puts the block back; so an executable can run in many threads at once, and a call of
 * a small model costs no allocation.
 */
#include "cpu_executable.h"
#include "blas.h"
#include "cache.h"
#include "checks.h"
#include "fft.h"
#include "jit.h"
#include "memory_limit.h"
#include "team.h"
#include <omp.h>
#include <stdatomic.h>
#include <string.h>

enum { POOL = 16 };

struct CpuExecutable {
    const Graph *graph;
    int threads;
    bool from_cache;
    Program program;
    JitCode *code;
    KernelFunction **main, **finish, **prepare; /* per kernel; NULL where there is nothing to call */
    const void **plans;
    Checks checks;
    char *statics;
    size_t run_bytes;
    _Atomic(char *) pool[POOL];
};

/* ---- Running a program ---- */

static char *take_memory(const CpuExecutable *exe) {
    CpuExecutable *pool = (CpuExecutable *)exe; /* the pool is the one part that runs change */
    for (int i = 0; i < POOL; i++) {
        char *memory = atomic_exchange(&pool->pool[i], NULL);
        if (memory) return memory;
    }
    return mem_aligned(exe->run_bytes);
}

static void give_memory(const CpuExecutable *exe, char *memory) {
    CpuExecutable *pool = (CpuExecutable *)exe;
    for (int i = 0; i < POOL; i++) {
        char *none = NULL;
        if (atomic_compare_exchange_strong(&pool->pool[i], &none, memory)) return;
    }
    mem_free(memory);
}

static const char *value_address(const CpuExecutable *exe, const KernelContext *c, Value v) {
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
static void run_library_blocks(const CpuExecutable *exe, const KernelContext *c, const Kernel *k,
                               int64_t begin, int64_t end) {
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

static void run_block_range(const CpuExecutable *exe, const KernelContext *c, int i, char *scratch,
                            int64_t begin, int64_t end) {
    const Kernel *k = &exe->program.kernels[i].kernel;
    if (k->kind == KERNEL_GEMM)
        run_library_blocks(exe, c, k, begin, end);
    else
        exe->main[i](c, scratch, begin, end);
}

static void run_blocks(const CpuExecutable *exe, const KernelContext *c, int i, char *scratch) {
    const ProgramKernel *pk = &exe->program.kernels[i];
    int64_t blocks = pk->kernel.blocks;
    int count = team_size(program_workers(pk, exe->threads));
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

static void run_kernels(const CpuExecutable *exe, const KernelContext *c, char *scratch, bool is_static) {
    for (int i = 0; i < exe->program.nkernels; i++) {
        const Kernel *k = &exe->program.kernels[i].kernel;
        if (k->is_static != is_static) continue;
        if (k->blocks) run_blocks(exe, c, i, scratch);
        if (exe->finish[i]) exe->finish[i](c, scratch, 0, kernel_finish_blocks(k));
    }
}

/* Outputs that no kernel writes in place: inputs returned as they are, a value returned twice, an arena
 * value. */
static void copy_outputs(const CpuExecutable *exe, const KernelContext *c) {
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
    const CpuExecutable *exe;
    const KernelContext *context;
} RunValues;

static const void *checked_data(const void *context, const Check *check) {
    const RunValues *values = context;
    return value_address(values->exe, values->context, check->value);
}

static FraxStatus run_checks(const CpuExecutable *exe, const KernelContext *c, Moment moment, double passed,
                             FraxError *err) {
    return checks_run(exe->graph, &exe->checks, moment, passed, checked_data, &(RunValues){exe, c}, err);
}

static KernelContext context_of(const CpuExecutable *exe, char *memory, const void *const *inputs,
                                void *const *outputs) {
    return (KernelContext){.arena = memory,
                           .statics = exe->statics,
                           .workspace = memory + exe->program.arena_bytes,
                           .inputs = inputs,
                           .outputs = outputs,
                           .plans = exe->plans};
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

static FraxStatus object_code(CpuExecutable *exe, const ExecutableOptions *options, const HostTarget *host,
                              char **object, size_t *size, FraxError *err) {
    Text key = {0};
    LLVMContextRef context;
    LLVMModuleRef module;
    FraxStatus status = FRAX_OK;
    bool keyed = !options->no_cache && !options->self_contained && !options->host &&
                 cache_key(&exe->program, host, &key);
    exe->from_cache = keyed && cache_load(&key, &exe->program, object, size);
    if (!exe->from_cache) {
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
static FraxStatus find_function(const CpuExecutable *exe, int kernel, const char *suffix, bool wanted,
                                KernelFunction **function, FraxError *err) {
    char name[48];
    snprintf(name, sizeof name, "frax_k%d%s", kernel, suffix);
    void *f = wanted ? jit_function(exe->code, name) : NULL;
    memcpy(function, &f, sizeof f);
    return wanted && !f ? fail(err, FRAX_INTERNAL, "generated code lacks %s", name) : FRAX_OK;
}

static FraxStatus find_functions(CpuExecutable *exe, FraxError *err) {
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

static bool is_part_of_code(const CpuExecutable *exe, size_t fft) {
    return exe->graph->self_contained || fft_is_generated(&exe->program.ffts[fft]);
}

static FraxStatus make_plans(CpuExecutable *exe, const ExecutableOptions *options, FraxError *err) {
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
    if (n && cached && !exe->from_cache) cache_store_wisdom();
    return FRAX_OK;
}

/* Planning a transform takes time and memory of the order of its points, and so do tables: a program that
 * cannot run on this machine is refused before. A plan holds up to two numbers a point: parts of twiddle
 * factors, or of the matrix that a long row becomes. */
static FraxStatus check_memory(const CpuExecutable *exe, FraxError *err) {
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
static FraxStatus run_static(CpuExecutable *exe, FraxError *err) {
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

static FraxStatus make_program(CpuExecutable *exe, const ExecutableOptions *options, FraxError *err) {
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

/* ---- Public ---- */

static ExecutableStats stats_of(const CpuExecutable *exe) {
    const Program *p = &exe->program;
    ExecutableStats stats = {.arena_bytes = exe->run_bytes,
                             .live_bytes = p->live_bytes + program_scratch_bytes(p, exe->threads),
                             .static_bytes = p->static_bytes,
                             .moved_bytes = p->moved_bytes,
                             .from_cache = exe->from_cache};
    for (int i = 0; i < p->nkernels; i++) stats.kernels += !p->kernels[i].kernel.is_static;
    return stats;
}

FraxStatus cpu_executable_create(const Graph *graph, const ExecutableOptions *options, CpuExecutable **out,
                                 ExecutableStats *stats, FraxError *err) {
    CpuExecutable *exe = mem_calloc(1, sizeof *exe);
    if (!exe) return fail_memory(err, "compiling");
    exe->graph = graph;
    exe->threads = options->threads > 0 ? options->threads : omp_get_max_threads();
    FraxStatus status = make_program(exe, options, err);
    if (status) {
        cpu_executable_destroy(exe);
        return status;
    }
    if (stats) *stats = stats_of(exe);
    *out = exe;
    return FRAX_OK;
}

void cpu_executable_destroy(CpuExecutable *exe) {
    if (!exe) return;
    for (int i = 0; i < POOL; i++) mem_free(atomic_load(&exe->pool[i]));
    jit_destroy(exe->code);
    mem_free(exe->main);
    mem_free(exe->finish);
    mem_free(exe->prepare);
    mem_free(exe->plans);
    checks_free(&exe->checks);
    mem_free(exe->statics);
    program_destroy(&exe->program);
    mem_free(exe);
}

const char *cpu_executable_tables(const CpuExecutable *exe) {
    return exe->statics;
}

FraxStatus cpu_executable_run(const CpuExecutable *exe, const void *const *inputs, void *const *outputs,
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
