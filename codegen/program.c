/* program.c — the kernels of a fused and planned graph, what memory they need, and their emission into one
 * module. */
#include "program.h"
#include <string.h>

/* The extent of a region: the end of its last value. */
static size_t region_bytes(const Graph *g, Region region) {
    size_t end = 0;
    for (size_t v = 0; v < g->count; v++) {
        const Node *node = &g->nodes[v];
        if (node->region == region)
            end = MAX(end, (size_t)node->offset + type_bytes(graph_type(g, (Value)v)));
    }
    return (end + 63) / 64 * 64;
}

static double conv_taps(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    bool correlates = node->op == OP_causal_correlation;
    return (double)(correlates ? node->type : *graph_type(g, node->args[0])).shape.dims[node->attrs->axis];
}

static double element_visits(const Graph *g, const Kernel *k) {
    if (k->kind == KERNEL_MATMUL || k->kind == KERNEL_GEMM) {
        double batch = (double)shape_size(&graph_type(g, k->product)->shape) / (double)MAX(k->m * k->n, 1);
        return batch * (double)k->m * (double)k->n * (double)k->k / 8;
    }
    double length = (double)kernel_inner_size(k), each = (double)k->nitems / 4 + 1;
    for (size_t i = 0; i < k->nrows; i++) {
        Op op = graph_node(g, k->rows[i].node)->op;
        bool direct = op == OP_causal_conv || op == OP_causal_correlation;
        each += direct ? conv_taps(g, k->rows[i].node) / 16 : op == OP_grunwald_weights ? 4 : 8;
        if (op_is_recurrence(op)) each += (double)recurrence_modes(g, k->rows[i].node) / 4;
    }
    return (double)kernel_outer_size(k) * length * each;
}

/* Per value the last kernel that needs it; outputs and checked values are needed after the last one. */
static void find_last_needs(const Program *p, int *last) {
    const Graph *g = p->graph;
    Value v;
    for (size_t i = 0; i < g->count; i++) last[i] = g->nodes[i].kernel;
    for (int k = 0; k < p->nkernels; k++)
        for (size_t at = 0; (v = kernel_next_read(&p->kernels[k].kernel, &at)) != NO_VALUE;)
            last[v] = MAX(last[v], k);
    for (size_t i = 0; i < g->noutputs; i++) last[g->outputs[i].value] = p->nkernels;
    for (size_t i = 0; i < g->nchecks; i++) last[graph_checked(g, i)] = p->nkernels;
}

/* Bytes of arena values alive while each kernel runs, and its workspace; the largest sum is the floor of the
   arena. born, died: bytes by kernel. */
static size_t largest_live(const Program *p, const int *last, size_t *born, size_t *died) {
    const Graph *g = p->graph;
    size_t live = 0, largest = 0;
    for (size_t v = 0; v < g->count; v++) {
        if (g->nodes[v].region != REGION_ARENA) continue;
        size_t bytes = type_bytes(graph_type(g, (Value)v));
        born[g->nodes[v].kernel] += bytes;
        if (last[v] < p->nkernels) died[last[v]] += bytes;
    }
    for (int k = 0; k < p->nkernels; k++) {
        live += born[k];
        largest = MAX(largest, live + p->kernels[k].kernel.workspace);
        live -= died[k];
    }
    return largest;
}

static bool find_live_bytes(Program *p) {
    size_t kernels = (size_t)MAX(p->nkernels, 1);
    int *last = mem_alloc(sizeof *last * MAX(p->graph->count, 1));
    size_t *moments = mem_calloc(2 * kernels, sizeof *moments);
    if (last && moments) {
        find_last_needs(p, last);
        p->live_bytes = largest_live(p, last, moments, moments + kernels);
    }
    bool ok = last && moments;
    mem_free(last);
    mem_free(moments);
    return ok;
}

/* Bytes that the kernels of a run read and write, each operand of a kernel once. */
static bool find_moved_bytes(Program *p) {
    const Graph *g = p->graph;
    int *reader = mem_alloc(sizeof *reader * MAX(g->count, 1)); /* the last kernel that counted it */
    Value v;
    if (!reader) return false;
    for (size_t i = 0; i < g->count; i++) reader[i] = -1;
    for (int k = 0; k < p->nkernels; k++) {
        const Kernel *kernel = &p->kernels[k].kernel;
        if (kernel->is_static) continue;
        for (size_t i = 0; i < kernel->nstores; i++)
            p->moved_bytes += type_bytes(graph_type(g, kernel->stores[i].node));
        for (size_t at = 0; (v = kernel_next_read(kernel, &at)) != NO_VALUE; reader[v] = k)
            if (reader[v] != k) p->moved_bytes += type_bytes(graph_type(g, v));
    }
    mem_free(reader);
    return true;
}

FraxStatus program_create(const Graph *graph, Program *p, FraxError *err) {
    *p = (Program){.graph = graph};
    for (size_t v = 0; v < graph->count; v++) p->nkernels = MAX(p->nkernels, graph->nodes[v].kernel + 1);
    p->kernels = mem_calloc((size_t)MAX(p->nkernels, 1), sizeof *p->kernels);
    if (!p->kernels) return fail_memory(err, "listing kernels");
    for (int i = 0; i < p->nkernels; i++) {
        ProgramKernel *pk = &p->kernels[i];
        bool fits;
        const char *why;
        if (!kernel_build(graph, i, &pk->kernel, &fits, &why, err)) return FRAX_MEMORY;
        if (!fits) return fail(err, FRAX_INTERNAL, "kernel %d cannot be built: %s", i, why);
        pk->work = element_visits(graph, &pk->kernel);
        p->workspace_bytes = MAX(p->workspace_bytes, pk->kernel.workspace);
    }
    p->arena_bytes = region_bytes(graph, REGION_ARENA);
    p->static_bytes = region_bytes(graph, REGION_STATIC);
    return find_live_bytes(p) && find_moved_bytes(p) ? FRAX_OK : fail_memory(err, "listing kernels");
}

void program_destroy(Program *p) {
    for (int i = 0; p->kernels && i < p->nkernels; i++) kernel_free(&p->kernels[i].kernel);
    mem_free(p->kernels);
    mem_free(p->ffts);
    *p = (Program){0};
}

int64_t program_workers(const ProgramKernel *pk, int threads) {
    return pk->kernel.blocks < 2 || pk->work < PARALLEL_WORK ? 1 : MIN(pk->kernel.blocks, threads);
}

size_t program_scratch_offset(const Program *p) {
    return p->arena_bytes + (p->workspace_bytes + 63) / 64 * 64;
}

/* Each worker has scratch of its own: much only where rows are long, and then there are few of them. */
size_t program_scratch_bytes(const Program *p, int threads) {
    size_t most = 0;
    for (int i = 0; i < p->nkernels; i++) {
        const ProgramKernel *pk = &p->kernels[i];
        most = MAX(most, pk->scratch * (size_t)program_workers(pk, threads));
    }
    return most;
}

void program_prepare(Program *p, int kernel, size_t bytes) {
    p->kernels[kernel].prepared = bytes;
    p->kernels[kernel].prepared_at = p->static_bytes;
    p->static_bytes += (bytes + 63) / 64 * 64;
}

void program_prepare_in_run(Program *p, int kernel, size_t bytes, int64_t blocks) {
    ProgramKernel *pk = &p->kernels[kernel];
    pk->prepared_blocks = blocks;
    pk->prepared_at = (pk->kernel.workspace + 127) / 128 * 128;
    p->workspace_bytes = MAX(p->workspace_bytes, pk->prepared_at + bytes);
}

static bool has_general_length(const FftShape *shape, FraxDType dtype, int64_t n) {
    int64_t lengths[3];
    general_fft_lengths(shape, lengths);
    for (int d = 0; d < shape->rank; d++)
        if (shape->dtype == dtype && lengths[d] == n && !fft_is_generated(shape)) return true;
    return false;
}

/* The complex transforms that general ones call, each length once. */
static bool emit_general_lengths(Emitter *e, const Program *p) {
    for (size_t i = 0; i < p->nffts; i++)
        for (int d = 0; d < p->ffts[i].rank && !fft_is_generated(&p->ffts[i]); d++) {
            const FftShape *shape = &p->ffts[i];
            int64_t lengths[3];
            bool emitted = false;
            general_fft_lengths(shape, lengths);
            for (size_t j = 0; j < i; j++)
                emitted |= has_general_length(&p->ffts[j], shape->dtype, lengths[d]);
            for (int c = 0; c < d; c++) emitted |= lengths[c] == lengths[d];
            if (!emitted && !emit_general_dft(e, shape->dtype, lengths[d])) return false;
        }
    return true;
}

/* The kernels have named the transforms they call. */
static bool emit_transforms(Emitter *e, const Program *p) {
    for (size_t i = 0; i < p->nffts; i++) {
        const FftShape *shape = &p->ffts[i];
        for (int inverse = 0; inverse < 2; inverse++) {
            if (fft_is_generated(shape)) {
                if (!emit_fft(e, shape, inverse)) return false;
            } else if (p->graph->self_contained) {
                if (!emit_general_fft(e, shape, inverse)) return false;
            }
        }
    }
    return !p->graph->self_contained || emit_general_lengths(e, p);
}

static int64_t longest_axis(const FftShape *shape) {
    int64_t most = 0;
    for (int i = 0; i < shape->rank; i++) most = MAX(most, shape->dims[i]);
    return most;
}

/* A transform that no machine has the memory for. */
static FraxStatus check_transforms(const Program *p, FraxError *err) {
    for (size_t i = 0; i < p->nffts && p->graph->self_contained; i++) {
        const FftShape *shape = &p->ffts[i];
        if (!fft_is_generated(shape) && !general_fft_fits(shape))
            return fail(err, FRAX_UNSUPPORTED,
                        "a transform over %lld samples needs more than 2^47 bytes of workspace, which is all "
                        "that a program can address",
                        (long long)longest_axis(shape));
    }
    return FRAX_OK;
}

FraxStatus program_emit_kernels(Program *p, Emitter *e, FraxError *err) {
    bool ok = true;
    FraxStatus status = FRAX_OK;
    for (int i = 0; ok && !status && i < p->nkernels; i++) {
        const Kernel *k = &p->kernels[i].kernel;
        status = watch_stage(p->watch, "emitting code", i, p->nkernels, err);
        if (status || !k->blocks || k->kind == KERNEL_GEMM || k->kind == KERNEL_TRANSFORM) continue;
        ok = k->kind == KERNEL_ROWS ? emit_rows(e, p, i) : emit_matmul(e, p, i);
    }
    if (ok && !status) status = check_transforms(p, err);
    if (ok && !status) ok = emit_transforms(e, p);
    return ok ? status : fail_memory(err, "emitting code");
}

FraxStatus program_emit(Program *p, const HostTarget *target, LLVMContextRef *context, LLVMModuleRef *module,
                        FraxError *err) {
    LlvmEmitter *emitter = llvm_emitter_create(target);
    if (!emitter) return fail_memory(err, "emitting code");
    FraxStatus status = program_emit_kernels(p, llvm_emitter_base(emitter), err);
    if (!status) status = llvm_emitter_finish(emitter, context, module, err);
    llvm_emitter_destroy(emitter);
    return status;
}
