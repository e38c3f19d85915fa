/* eager.c — the eager target: a graph run node by node, as an eager framework would, with FFTW and CBLAS. It
 * is the baseline that fused kernels are compared with, so it does what such frameworks do well: vectorised
 * loops, threads over elements, cached memory, views instead of copies, and one transform of a value however
 * many nodes need it. What it does not do is fuse.
 *
 * eager_create decides everything that does not depend on data: which nodes run, when a value is read for the
 * last time, which results can be computed straight into the caller's memory, and the transforms. eager_run
 * walks the nodes in order; all that changes belongs to the run, except the pool, which locks itself.
 */
#include "eager.h"
#include "blas.h"
#include "half.h"
#include <limits.h>
#include <omp.h>
#include <pthread.h>
#include <string.h>

/* ---- What runs, and how often each value is read ---- */

/* A custom derivative's holes and tangent do not belong to its value. */
static int operands_read(const Node *node) {
    return node->op == OP_custom ? 1 : node->nargs;
}

/* The same elements in the same order. */
static bool passes_on(Op op) {
    return op == OP_reshape || op == OP_stop || op == OP_guard || op == OP_custom;
}

static bool is_view(Op op) {
    return passes_on(op) || op == OP_transpose || op == OP_broadcast || op == OP_slice || op == OP_flip;
}

static void count_uses(Eager *eager) {
    const Graph *g = eager->graph;
    for (size_t i = 0; i < g->nchecks; i++) eager->needed[g->checks[i]] = true;
    for (size_t i = 0; i < g->noutputs; i++) {
        eager->needed[g->outputs[i].value] = true;
        eager->uses[g->outputs[i].value]++;
    }
    for (size_t v = g->count; v-- > 0;) {
        const Node *node = &g->nodes[v];
        for (int i = 0; eager->needed[v] && i < operands_read(node); i++) {
            eager->needed[node->args[i]] = true;
            eager->uses[node->args[i]]++;
        }
    }
}

/* May node v write over the memory of input `donated`? It must be the last to read it, element by element. */
static bool may_overwrite(const Graph *g, Value v, Value donated, const Value *root, const Value *last_read) {
    const Node *node = graph_node(g, v);
    if (!op_is_pointwise(node->op) || last_read[donated] > v) return false;
    for (int i = 0; i < node->nargs; i++)
        if (root[node->args[i]] == donated && node->args[i] != donated) return false;
    return true;
}

/* Finds the outputs that can be computed where the caller wants them. `root`: the value whose memory a chain
   of views shows; `last_read`: of each root. */
static void choose_direct(Eager *eager, Value *root, Value *last_read) {
    const Graph *g = eager->graph;
    for (Value v = 0; v < (Value)g->count; v++) {
        const Node *node = graph_node(g, v);
        root[v] = is_view(node->op) ? root[node->args[0]] : v;
        last_read[v] = NO_VALUE;
        eager->direct[v] = -1;
        for (int i = 0; eager->needed[v] && i < operands_read(node); i++) last_read[root[node->args[i]]] = v;
    }
    for (size_t i = 0; i < g->noutputs; i++) last_read[root[g->outputs[i].value]] = INT32_MAX;
    for (size_t i = 0; i < g->noutputs; i++) {
        const Output *out = &g->outputs[i];
        Value v = out->value;
        while (passes_on(graph_node(g, v)->op)) v = graph_node(g, v)->args[0];
        Op op = graph_node(g, v)->op;
        if (op_table[op].kind == KIND_LEAF || is_view(op) || eager->direct[v] >= 0) continue;
        if (out->donated == NO_VALUE || may_overwrite(g, v, out->donated, root, last_read))
            eager->direct[v] = (int32_t)i;
    }
}

/* cross_spectrum nodes that differ only in the part are computed together. */
static void find_partners(Eager *eager) {
    const Graph *g = eager->graph;
    for (Value v = 0; v < (Value)g->count; v++) {
        const Node *a = graph_node(g, v);
        eager->partner[v] = NO_VALUE;
        if (a->op != OP_cross_spectrum || !eager->needed[v]) continue;
        for (Value u = 0; u < v; u++) {
            const Node *b = graph_node(g, u);
            if (b->op != OP_cross_spectrum || !eager->needed[u] || a->args[0] != b->args[0] ||
                a->args[1] != b->args[1] || a->attrs->axes != b->attrs->axes ||
                a->attrs->sum != b->attrs->sum || a->attrs->part == b->attrs->part)
                continue;
            eager->partner[v] = u;
            eager->partner[u] = v;
        }
    }
}

/* ---- Traffic ---- */

/* Bytes that reading v from memory takes: repeated elements count once. */
static size_t stored_bytes(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    while (node->op == OP_broadcast || node->op == OP_stop || node->op == OP_guard || node->op == OP_custom)
        node = graph_node(g, node->args[0]);
    if (node->op == OP_constant) return 0;
    size_t size = frax_dtype_size(node->type.dtype);
    if (node->op == OP_iota) return (size_t)node->type.shape.dims[node->attrs->axis] * size;
    return (size_t)shape_size(&node->type.shape) * size;
}

static size_t spectrum_bytes(const Eager *eager, int32_t at) {
    const Spectrum *s = &eager->spectrum[at];
    return (size_t)(s->rows * s->bins) * 2 * frax_dtype_size(s->shape.dtype);
}

static size_t node_bytes(const Eager *eager, Value v) {
    const Graph *g = eager->graph;
    const Node *node = graph_node(g, v);
    if (op_table[node->op].kind == KIND_LEAF || is_view(node->op)) return 0;
    size_t bytes = (size_t)shape_size(&node->type.shape) * frax_dtype_size(node->type.dtype);
    bool transforms = eager->spectra[v][0] >= 0;
    for (int i = 0; i < node->nargs; i++)
        if (!transforms || (node->op == OP_spectral && i > 0)) bytes += stored_bytes(g, node->args[i]);
    for (int i = 0; i < 2 && transforms; i++) /* each spectrum is read here */
        if (eager->spectra[v][i] >= 0) bytes += spectrum_bytes(eager, eager->spectra[v][i]);
    if (node->op == OP_spectral)
        bytes += 2 * spectrum_bytes(eager, eager->spectra[v][0]); /* K·X, out and in */
    bool convolves = node->op == OP_causal_conv || node->op == OP_causal_correlation;
    if (convolves && transforms) bytes += 2 * spectrum_bytes(eager, eager->spectra[v][1]);
    return bytes;
}

static size_t count_moved_bytes(const Eager *eager) {
    size_t bytes = 0;
    for (size_t v = 0; v < eager->graph->count; v++)
        if (eager->needed[v]) bytes += node_bytes(eager, (Value)v);
    for (size_t i = 0; i < eager->nspectra; i++)
        bytes += stored_bytes(eager->graph, eager->spectrum[i].value) + spectrum_bytes(eager, (int32_t)i);
    return bytes;
}

size_t eager_moved_bytes(const Eager *eager) {
    return eager->moved_bytes;
}

/* ---- Creation ---- */

void eager_destroy(Eager *eager) {
    if (!eager) return;
    void *parts[] = {eager->needed,  eager->uses,     eager->direct,   eager->spectra,
                     eager->partner, eager->spectrum, eager->constants};
    for (size_t i = 0; i < COUNT(parts); i++) mem_free(parts[i]);
    pool_destroy(eager->pool);
    mem_free(eager);
}

/* BLAS counts in int. */
static FraxStatus check_matmul(const Graph *g, const Node *node, FraxError *err) {
    for (int i = 0; i < 2; i++) {
        const Shape *s = &graph_type(g, node->args[i])->shape;
        if (MAX(s->dims[s->rank - 1], s->dims[s->rank - 2]) > INT_MAX)
            return fail(err, FRAX_UNSUPPORTED, "matmul: a matrix of %lld by %lld, expected sizes below 2^31",
                        (long long)s->dims[s->rank - 2], (long long)s->dims[s->rank - 1]);
    }
    return FRAX_OK;
}

static FraxStatus eager_allocate(Eager *eager, FraxError *err) {
    size_t n = eager->graph->count;
    eager->needed = mem_calloc(n, sizeof *eager->needed);
    eager->uses = mem_calloc(n, sizeof *eager->uses);
    eager->direct = mem_calloc(n, sizeof *eager->direct);
    eager->spectra = mem_alloc(n * sizeof *eager->spectra);
    eager->partner = mem_calloc(n, sizeof *eager->partner);
    eager->constants = mem_calloc(n, sizeof *eager->constants);
    eager->pool = pool_create();
    if (!eager->needed || !eager->uses || !eager->direct || !eager->spectra || !eager->partner ||
        !eager->constants || !eager->pool)
        return fail_memory(err, "preparing a graph to run eagerly");
    memset(eager->spectra, -1, n * sizeof *eager->spectra);
    return FRAX_OK;
}

static FraxStatus eager_prepare(Eager *eager, FraxError *err) {
    const Graph *g = eager->graph;
    FraxStatus status = eager_allocate(eager, err);
    if (status) return status;
    Value *roots = mem_alloc(2 * g->count * sizeof *roots);
    if (!roots) return fail_memory(err, "preparing a graph to run eagerly");
    count_uses(eager);
    choose_direct(eager, roots, roots + g->count);
    mem_free(roots);
    find_partners(eager);
    for (size_t v = 0; v < g->count && !status; v++) {
        const Node *node = &g->nodes[v];
        if (!eager->needed[v]) continue;
        if (node->op == OP_constant)
            element_set(&eager->constants[v], node->type.dtype, 0, node->attrs->value);
        if (node->op == OP_matmul) status = check_matmul(g, node, err);
    }
    if (!status) status = spectra_prepare(eager, err);
    if (!status) eager->moved_bytes = count_moved_bytes(eager);
    return status;
}

static void use_one_blas_thread(void) {
    blas_set_threads(1);
}

FraxStatus eager_create(const Graph *graph, int threads, Eager **out, FraxError *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, use_one_blas_thread);
    *out = NULL;
    Eager *eager = mem_calloc(1, sizeof *eager);
    if (!eager) return fail_memory(err, "preparing a graph to run eagerly");
    eager->graph = graph;
    eager->threads = threads > 0 ? threads : omp_get_max_threads();
    FraxStatus status = eager_prepare(eager, err);
    if (status)
        eager_destroy(eager);
    else
        *out = eager;
    return status;
}

/* ---- The walk ---- */

/* One rule for each infer rule of the op table; most pointwise ones share theirs. */
#define eager_floating eager_pointwise
#define eager_number   eager_pointwise
#define eager_logic    eager_pointwise
#define eager_compare  eager_pointwise
#define eager_select   eager_pointwise
#define eager_uniform  eager_pointwise

static EagerRule *const rules[OP_COUNT] = {
#define OP(name, arity, kind, infer, attrs) eager_##infer,
#include "ops.def"
};

static void bind_inputs(Run *run, const void *const *inputs) {
    const Graph *g = run->graph;
    for (size_t i = 0; i < g->ninputs; i++) {
        const Type *type = graph_type(g, g->inputs[i]);
        View *view = &run->values[g->inputs[i]];
        *view = (View){.data = (char *)inputs[i], .dtype = type->dtype, .shape = type->shape};
        shape_strides(&type->shape, view->strides);
    }
    size_t offset = graph_offset_input(g); /* read now: its output may be written over it */
    if (offset < g->ninputs) run->passed = *(const double *)inputs[offset];
}

static FraxStatus run_nodes(Run *run) {
    for (Value v = 0; v < (Value)run->graph->count; v++) {
        if (!run->eager->needed[v]) continue;
        const Node *node = graph_node(run->graph, v);
        FraxStatus status = rules[node->op](run, v);
        if (status) return status;
        for (int i = 0; i < operands_read(node); i++)
            if (--run->uses[node->args[i]] == 0) view_drop(run, &run->values[node->args[i]]);
    }
    return FRAX_OK;
}

static bool in_place(const Run *run, size_t output) {
    const View *view = &run->values[run->graph->outputs[output].value];
    return view->data == (char *)run->outputs[output] && view_is_dense(view);
}

/* An output that shows an input's memory, while another output may be written over that input: kept aside. */
static FraxStatus save_shown_inputs(Run *run) {
    const Graph *g = run->graph;
    bool donates = false;
    for (size_t i = 0; i < g->noutputs; i++) donates = donates || g->outputs[i].donated != NO_VALUE;
    for (size_t i = 0; donates && i < g->noutputs; i++) {
        View *view = &run->values[g->outputs[i].value], copy;
        if (view->buffer || in_place(run, i)) continue;
        FraxStatus status = view_create(run, view->dtype, &view->shape, &copy);
        if (status) return status;
        view_copy(run, &copy, view);
        *view = copy;
    }
    return FRAX_OK;
}

static FraxStatus deliver(Run *run) {
    const Graph *g = run->graph;
    FraxStatus status = save_shown_inputs(run);
    for (size_t i = 0; i < g->noutputs && !status; i++) {
        const View *view = &run->values[g->outputs[i].value];
        if (in_place(run, i)) continue;
        View to = {.data = run->outputs[i], .dtype = view->dtype, .shape = view->shape};
        shape_strides(&to.shape, to.strides);
        view_copy(run, &to, view);
    }
    return status;
}

static void run_finish(Run *run, Buffer *state) {
    const Eager *eager = run->eager;
    for (size_t v = 0; v < eager->graph->count; v++) view_drop(run, &run->values[v]);
    for (size_t i = 0; i < eager->nspectra; i++) pool_give(eager->pool, run->spectrum[i]);
    pool_give(eager->pool, state);
}

FraxStatus eager_run(const Eager *eager, const void *const *inputs, void *const *outputs, FraxError *err) {
    size_t n = eager->graph->count, spectra = eager->nspectra;
    Run run = {.eager = eager, .graph = eager->graph, .outputs = outputs, .err = err};
    size_t cleared = n * sizeof *run.values + spectra * sizeof *run.spectrum;
    Buffer *state =
        pool_take(eager->pool, cleared + n * sizeof *run.uses + spectra * sizeof *run.spectrum_uses);
    if (!state) return fail_memory(err, "running a graph eagerly");
    memset(state->data, 0, cleared);
    run.values = (View *)state->data;
    run.spectrum = (Buffer **)(run.values + n);
    run.uses = (int32_t *)(run.spectrum + spectra);
    run.spectrum_uses = run.uses + n;
    memcpy(run.uses, eager->uses, n * sizeof *run.uses);
    for (size_t i = 0; i < spectra; i++) run.spectrum_uses[i] = eager->spectrum[i].uses;
    bind_inputs(&run, inputs);
    FraxStatus status = run_nodes(&run);
    if (!status) status = deliver(&run);
    run_finish(&run, state);
    return status;
}
