/* fuse.c — gathers nodes into kernels. Sets node.kernel on every value that is stored; the rest is computed
 * where it is used.
 *
 * At first every value that costs anything is stored by a kernel of its own. Then, from the outputs upward:
 *   1. a value is computed inside the kernels that read it, if they can hold it and nothing dear is computed
 * repeatedly;
 *   2. kernels that share operands, or feed each other, become one kernel with several stores.
 * kernel_build decides what a kernel can hold, so there is one definition of legality.
 */
#include "library_transform.h"
#include "passes.h"
#include "rewrite.h"
#include <string.h>

enum { MAX_USERS = 64, CHEAP_OPS = 8, TINY = 64 };

typedef struct Fuse {
    Graph *g;
    bool *is_static; /* depends on no input */
    bool *pinned;    /* must be stored: outputs, tables, operands of products */
    Value **users;   /* nodes that read a node, ended by NO_VALUE */
    uint32_t *asked; /* by node: the last question that came by it */
    uint32_t question;
    int nkernels;
    FraxError *err;
    bool failed;
} Fuse;

/* ---- Preparation ---- */

/* A pad between elements becomes pads and reshapes: [n] → [n,1] → [n,s] → [n·s] → [(n−1)s+1]. */
static Value spread_axis(Graph *to, Value x, int axis, int64_t step) {
    Shape shape = graph_type(to, x)->shape, apart = shape, joined = shape;
    if (shape.rank == MAX_RANK)
        return graph_fail(to, FRAX_UNSUPPORTED, "a strided slice's adjoint at rank %d", MAX_RANK);
    apart.rank++;
    for (int i = shape.rank; i > axis + 1; i--) apart.dims[i] = shape.dims[i - 1];
    apart.dims[axis + 1] = 1;
    int64_t lo[MAX_RANK] = {0}, hi[MAX_RANK] = {0};
    hi[axis + 1] = step - 1;
    x = g_pad(to, g_reshape(to, x, apart), lo, hi, NULL);
    joined.dims[axis] = shape.dims[axis] * step;
    x = g_reshape(to, x, joined);
    memcpy(hi, joined.dims, sizeof hi);
    hi[axis] = (shape.dims[axis] - 1) * step + 1;
    return g_slice(to, x, lo, hi, NULL);
}

/* Over a single sample, where order and lag are 0: y = x Σ c, q_m = x y. */
static Value single_sample(Graph *to, const Node *node, const Value *args) {
    Value x = g_cast(to, args[0], FRAX_F64);
    if (node->op == OP_exponential_correlation)
        return g_broadcast(to, g_mul(to, x, g_cast(to, args[1], FRAX_F64)), node->type.shape);
    Value sum = g_reduce(to, OP_sum, args[1], 1u << node->attrs->axis);
    return g_cast(to, g_mul(to, x, g_broadcast(to, sum, node->type.shape)), node->type.dtype);
}

/* A recurrence with a lag is one on a signal that is shifted by it, which costs nothing where it is loaded.
 */
static Value lower_recurrence(Graph *to, const Node *node, const Value *args) {
    int axis = node->attrs->axis;
    int64_t lag = node->attrs->lag, zeros[MAX_RANK] = {0}, before[MAX_RANK] = {0};
    if (to->failed) return NO_VALUE;
    Shape shape = graph_type(to, args[0])->shape;
    if (shape.dims[axis] == 1) return single_sample(to, node, args);
    if (!lag) return NO_VALUE;
    before[axis] = lag;
    Value x = g_slice(to, g_pad(to, args[0], before, zeros, NULL), zeros, shape.dims, NULL);
    Exponential how = {.axis = axis, .n = node->attrs->n};
    return node->op == OP_exponential_conv ? g_exponential_conv(to, x, args[1], args[2], how)
                                           : g_exponential_correlation(to, x, args[1], args[2], how);
}

/* The axes along which a transform that v depends on, element by element, runs; 0: there is none. */
static uint32_t transformed_axes(const Graph *g, Value v, int *budget) {
    const Node *node = graph_node(g, v);
    if ((*budget)-- <= 0) return 0;
    if (node->op == OP_spectral) return node->attrs->axes;
    if (!op_is_pointwise(node->op)) return 0;
    for (int i = 0; i < node->nargs; i++) {
        uint32_t axes = transformed_axes(g, node->args[i], budget);
        if (axes) return axes;
    }
    return 0;
}

/* A sum over rows that a transform makes is a sum along each row, within the transform's kernel, and one over
   the few numbers that are left. */
static Value split_reduction(Graph *to, const Graph *from, const Node *node, Value x) {
    enum { NODES = 64 };
    int budget = NODES;
    uint32_t along = transformed_axes(from, node->args[0], &budget), across = node->attrs->axes & ~along;
    if (node->op == OP_argmax || !along || !across || (along & ~node->attrs->axes)) return NO_VALUE;
    return g_reduce(to, node->op, g_reduce(to, node->op, x, along), across);
}

/* Recurrences; transforms that are left to a library; pads between elements; sums over rows of transforms;
   and sums of no rows at all, which no row operation would come to write. */
static Value lower_node(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)context;
    const Node *node = graph_node(from, v);
    if (node->op == OP_cross_spectrum && !shape_size(&graph_type(from, node->args[0])->shape))
        return g_constant(to, node->type, 0);
    if (node->op == OP_guard) { /* passes since then may have made its operand a copy */
        Node guard = *node;
        guard.args = args;
        return guard_to_check(to, &guard);
    }
    if (op_is_recurrence(node->op)) return lower_recurrence(to, node, args);
    if (is_library_transform(from, node)) return transform_last_axes(to, from, node, args);
    if (op_is_reduction(node->op)) return split_reduction(to, from, node, args[0]);
    if (node->op != OP_pad) return NO_VALUE;
    Value x = args[0];
    const Shape *shape = &graph_type(from, node->args[0])->shape;
    for (int i = 0; i < shape->rank; i++)
        if (node->attrs->step[i] > 1 && shape->dims[i] > 1) x = spread_axis(to, x, i, node->attrs->step[i]);
    return g_pad(to, x, node->attrs->lo, node->attrs->hi, NULL);
}

static bool is_leaf(const Node *node) {
    return node->op == OP_constant || node->op == OP_iota;
}

/* Ops that only move elements start out unstored. */
static bool only_moves(const Node *node) {
    switch (node->op) {
    case OP_reshape:
    case OP_transpose:
    case OP_broadcast:
    case OP_slice:
    case OP_pad:
    case OP_concat:
    case OP_flip: return true;
    default: return false;
    }
}

static bool is_given(const Node *node) {
    return node->op == OP_input || node->op == OP_param;
}

static void pin(Fuse *f, Value v) {
    v = behind_reshapes(f->g, v);
    const Node *node = graph_node(f->g, v);
    if (!is_given(node) && node->op != OP_constant) f->pinned[v] = true;
}

/* A filter's table serves with either sign. */
static Value behind_signs(const Graph *g, Value v) {
    while (graph_node(g, v)->op == OP_neg) v = graph_node(g, v)->args[0];
    return v;
}

static void pin_operands(Fuse *f, const Node *node) {
    if (is_library_transform(f->g, node)) {
        pin(f, node->args[0]);
        if (node->op == OP_cross_spectrum) pin(f, node->args[1]);
    }
    switch (node->op) {
    case OP_matmul:
        pin(f, node->args[0]);
        pin(f, node->args[1]);
        break;
    case OP_exponential_correlation: pin(f, node->args[2]); break;
    case OP_spectral:
        pin(f, behind_signs(f->g, node->args[1]));
        pin(f, behind_signs(f->g, node->args[2]));
        break;
    case OP_exponential_conv:
        pin(f, node->args[1]);
        pin(f, node->args[2]);
        break;
    case OP_causal_conv:
    case OP_guard: pin(f, node->args[0]); break;
    default: break;
    }
}

static void set_kernel(Fuse *f, Value v, int kernel) {
    f->g->nodes[v].kernel = kernel;
}

static bool collect_users(Fuse *f) {
    Graph *g = f->g;
    int *count = mem_calloc(g->count, sizeof *count);
    if (!count) return false;
    for (size_t v = 0; v < g->count; v++)
        for (int a = 0; a < g->nodes[v].nargs; a++) count[g->nodes[v].args[a]]++;
    bool ok = true;
    for (size_t v = 0; ok && v < g->count; v++) {
        f->users[v] = arena_alloc(&g->arena, sizeof(Value) * (size_t)(count[v] + 1));
        ok = f->users[v] != NULL;
        if (ok) f->users[v][0] = NO_VALUE;
    }
    memset(count, 0, g->count * sizeof *count);
    for (size_t v = 0; ok && v < g->count; v++)
        for (int a = 0; a < g->nodes[v].nargs; a++) {
            Value arg = g->nodes[v].args[a];
            if (count[arg] && f->users[arg][count[arg] - 1] == (Value)v) continue;
            f->users[arg][count[arg]++] = (Value)v;
            f->users[arg][count[arg]] = NO_VALUE;
        }
    mem_free(count);
    return ok;
}

/* Only the first samples of what was filtered with zeros after it are stored, if nothing else is wanted. */
static bool stored_in_part(const Fuse *f, Value v) {
    if (f->pinned[v] || graph_node(f->g, v)->op != OP_spectral || f->users[v][0] == NO_VALUE) return false;
    for (const Value *u = f->users[v]; *u != NO_VALUE; u++)
        if (!is_first_samples(f->g, graph_node(f->g, *u))) return false;
    return true;
}

static bool is_stored_part(const Fuse *f, Value v) {
    const Node *node = graph_node(f->g, v);
    return is_first_samples(f->g, node) && stored_in_part(f, node->args[0]);
}

static void start(Fuse *f) {
    Graph *g = f->g;
    for (size_t i = 0; i < g->noutputs; i++)
        f->pinned[g->outputs[i].value] = !is_given(graph_node(g, g->outputs[i].value));
    for (size_t v = 0; v < g->count; v++) pin_operands(f, &g->nodes[v]);
    for (size_t v = 0; v < g->count; v++) {
        const Node *node = &g->nodes[v];
        f->is_static[v] = !is_given(node) && node->op != OP_hole;
        for (int a = 0; a < node->nargs; a++) f->is_static[v] &= f->is_static[node->args[a]];
        bool computed = !is_given(node) && !is_leaf(node) && !only_moves(node) && node->op != OP_guard;
        bool stored =
            f->pinned[v] || (computed && !stored_in_part(f, (Value)v)) || is_stored_part(f, (Value)v);
        set_kernel(f, (Value)v, stored ? f->nkernels++ : -1);
    }
}

/* Stores the unstored values that v is computed from directly: they move elements, or are stored in part. */
static bool store_moves(Fuse *f, Value v) {
    const Node *node = graph_node(f->g, v);
    int before = f->nkernels;
    for (int a = 0; a < node->nargs; a++) {
        const Node *arg = graph_node(f->g, node->args[a]);
        if (arg->kernel >= 0 || (!only_moves(arg) && arg->op != OP_spectral)) continue;
        set_kernel(f, node->args[a], f->nkernels++);
    }
    return f->nkernels > before;
}

/* Not every chain of moves can be followed inside one kernel (a reshape of a slice, say): where a value
 * cannot be computed, the moves before it are stored. Operands come earlier, so that they are visited after
 * it; a pad that is stored changes the rows of transforms after it, which are then looked at again. */
static void make_buildable(Fuse *f) {
    bool stored = false;
    for (size_t v = f->g->count; !f->failed && v-- > 0;) {
        int k = graph_node(f->g, (Value)v)->kernel;
        Kernel kernel;
        bool fits = false;
        if (k < 0) continue;
        if (!kernel_build(f->g, k, &kernel, &fits, NULL, f->err)) f->failed = true;
        if (fits)
            kernel_free(&kernel);
        else
            stored |= store_moves(f, (Value)v);
    }
    if (stored && !f->failed) make_buildable(f);
}

/* ---- Questions ---- */

static int add_readers(Fuse *f, Value v, int *kernels, int n) {
    for (const Value *u = f->users[v]; *u != NO_VALUE; u++) {
        int k = graph_node(f->g, *u)->kernel, seen = 0;
        if (f->asked[*u] == f->question) continue;
        f->asked[*u] = f->question;
        if (k < 0) {
            n = add_readers(f, *u, kernels, n);
            continue;
        }
        for (int i = 0; i < n; i++) seen |= kernels[i] == k;
        if (!seen && n < MAX_USERS) kernels[n++] = k;
    }
    return n;
}

/* The kernels that read v: of its users, and of the users of its unstored users. More than MAX_USERS are not
 * told apart. */
static int reading_kernels(Fuse *f, Value v, int *kernels) {
    f->question++;
    return add_readers(f, v, kernels, 0);
}

/* What computing v again costs: ops, with a large number for dear ones, down to stored values. */
static int inline_cost(const Fuse *f, Value v, int depth) {
    const Node *node = graph_node(f->g, v);
    if (is_given(node) || is_leaf(node)) return is_leaf(node) ? 0 : 1;
    int cost = only_moves(node) ? 0 : op_is_dear(node->op) ? 1000 : 1;
    if (depth > 16) return 1000;
    for (int a = 0; a < node->nargs; a++) {
        const Node *arg = graph_node(f->g, node->args[a]);
        cost += arg->kernel >= 0 ? 1 : inline_cost(f, node->args[a], depth + 1);
        if (cost >= 1000) return 1000;
    }
    return cost;
}

/* How often the kernel computes v, in elements. */
static double evaluations(const Kernel *k, Value v) {
    double n = 0;
    for (size_t i = 0; i < k->nitems; i++) {
        const Item *item = &k->items[i];
        if (item->node != v || item->kind == ITEM_LOAD) continue;
        double rows = (double)kernel_outer_size(k);
        n += item->inner || item->kind == ITEM_REDUCE ? rows * (double)kernel_inner_size(k) : rows;
        if (item->kind == ITEM_REDUCE) n -= rows * (double)(kernel_inner_size(k) - 1);
    }
    return n;
}

/* Builds kernel k and judges it: does it fit, and is no dear value of `v`'s computed much more often than v
 * has elements? */
static bool worth(Fuse *f, int k, Value v, bool dear) {
    Kernel kernel;
    bool fits = false;
    if (!kernel_build(f->g, k, &kernel, &fits, NULL, f->err)) f->failed = true;
    if (!fits) return false;
    bool good = !dear || evaluations(&kernel, v) <= 2.0 * (double)shape_size(&graph_type(f->g, v)->shape);
    kernel_free(&kernel);
    return good;
}

/* ---- 1. Computing a value where it is used ---- */

static void try_inline(Fuse *f, Value v) {
    int kernels[MAX_USERS], own = graph_node(f->g, v)->kernel;
    if (own < 0 || f->pinned[v]) return;
    int n = reading_kernels(f, v, kernels);
    int cost = inline_cost(f, v, 0);
    bool dear = cost >= 1000;
    if (!n || n == MAX_USERS || (n > 1 && cost > CHEAP_OPS) || (f->is_static[v] && dear)) return;
    set_kernel(f, v, -1);
    bool good = true;
    for (int i = 0; good && i < n; i++) good = worth(f, kernels[i], v, dear);
    if (!good) set_kernel(f, v, own);
}

/* ---- 2. Joining kernels ---- */

/* How many of the values that a loads or stores b reads, counting those of at least so many elements. */
static int shared_loads(const Graph *g, const Kernel *a, const Kernel *b, int64_t least) {
    int n = 0;
    for (size_t i = 0; i < a->nitems; i++) {
        Value v = a->items[i].node;
        if (a->items[i].kind == ITEM_LOAD && shape_size(&graph_type(g, v)->shape) >= least)
            n += kernel_reads(b, v);
    }
    for (size_t i = 0; i < a->nstores; i++) {
        Value v = a->stores[i].node;
        if (shape_size(&graph_type(g, v)->shape) >= least) n += kernel_reads(b, v);
    }
    return n;
}

/* Marks every kernel that `from` reaches downstream, not entering `except` at the first step. */
static void mark_downstream(Fuse *f, int from, int except, bool *reached) {
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t v = 0; v < f->g->count; v++) {
            int k = graph_node(f->g, (Value)v)->kernel, readers[MAX_USERS];
            if (k < 0 || (k != from && !reached[k])) continue;
            int n = reading_kernels(f, (Value)v, readers);
            for (int i = 0; i < n; i++) {
                int r = readers[i];
                if (r == from || reached[r] || (k == from && r == except)) continue;
                reached[r] = grew = true;
            }
        }
    }
}

/* Would joining a and b make a cycle: is there a way from one to the other through a third kernel? */
static bool makes_cycle(Fuse *f, int a, int b) {
    bool *reached = mem_calloc((size_t)f->nkernels, 1);
    if (!reached) return f->failed = true;
    mark_downstream(f, a, b, reached);
    bool cycle = reached[b];
    if (!cycle) {
        memset(reached, 0, (size_t)f->nkernels);
        mark_downstream(f, b, a, reached);
        cycle = reached[a];
    }
    mem_free(reached);
    return cycle;
}

/* Gives the stores of a kernel to kernel `to`. */
static void move_stores(Fuse *f, const Kernel *kernel, int to) {
    for (size_t i = 0; i < kernel->nstores; i++) set_kernel(f, kernel->stores[i].node, to);
}

static bool same_size(const Kernel *a, const Kernel *b) {
    return kernel_outer_size(a) * kernel_inner_size(a) == kernel_outer_size(b) * kernel_inner_size(b);
}

static bool worth_joining(const Graph *g, const Kernel *a, const Kernel *b, bool large) {
    bool rows = a->kind == KERNEL_ROWS || a->kind == KERNEL_TRANSFORM;
    if (!rows || a->kind != b->kind || a->is_static != b->is_static) return false;
    if (!same_size(a, b)) return false;
    bool tiny = kernel_outer_size(a) * kernel_inner_size(a) <= TINY && !a->nrows && !b->nrows;
    int64_t least = large ? kernel_outer_size(a) * kernel_inner_size(a) / 4 : 0;
    return (tiny && !large) || shared_loads(g, a, b, least) + shared_loads(g, b, a, least) > 0;
}

/* Joins b into a if the result fits; then kernels[b] is empty. */
static void try_join(Fuse *f, Kernel *kernels, int a, int b, bool large) {
    if (!kernels[a].nstores || !kernels[b].nstores || !worth_joining(f->g, &kernels[a], &kernels[b], large))
        return;
    move_stores(f, &kernels[b], a);
    Kernel joined;
    bool fits = false;
    if (!kernel_build(f->g, a, &joined, &fits, NULL, f->err)) f->failed = true;
    move_stores(f, &kernels[b], b);
    if (!fits) return;
    if (makes_cycle(f, a, b)) {
        kernel_free(&joined);
        return;
    }
    move_stores(f, &kernels[b], a);
    kernel_free(&kernels[a]);
    kernel_free(&kernels[b]);
    kernels[a] = joined;
}

static void join_kernels(Fuse *f) {
    Kernel *kernels = mem_calloc((size_t)MAX(f->nkernels, 1), sizeof *kernels);
    bool *used = mem_calloc((size_t)MAX(f->nkernels, 1), 1);
    f->failed |= !kernels || !used;
    for (size_t v = 0; !f->failed && v < f->g->count; v++)
        if (f->g->nodes[v].kernel >= 0) used[f->g->nodes[v].kernel] = true;
    const char *why;
    for (int k = 0; !f->failed && k < f->nkernels; k++) {
        bool fits;
        if (!used[k]) continue;
        if (!kernel_build(f->g, k, &kernels[k], &fits, &why, f->err))
            f->failed = true;
        else if (!fits) {
            fail(f->err, FRAX_INTERNAL, "fuse: kernel %d cannot be built: %s", k, why);
            f->failed = true;
        }
    }
    /* First those that share large values: a join for the sake of a scalar could bar one of them by a cycle.
     */
    for (int large = 1; large >= 0; large--)
        for (int a = 0; !f->failed && a < f->nkernels; a++)
            for (int b = a + 1; !f->failed && b < f->nkernels; b++) try_join(f, kernels, a, b, large);
    for (int k = 0; kernels && k < f->nkernels; k++) kernel_free(&kernels[k]);
    mem_free(kernels);
    mem_free(used);
}

/* What only its own kernel reads need not be stored any more. */
static void drop_unread_stores(Fuse *f) {
    for (size_t v = 0; !f->failed && v < f->g->count; v++) {
        int own = graph_node(f->g, (Value)v)->kernel, kernels[MAX_USERS];
        if (own < 0 || reading_kernels(f, (Value)v, kernels) != 1 || kernels[0] != own) continue;
        bool is_wanted = false; /* by the caller, or after the run */
        for (size_t i = 0; i < f->g->noutputs; i++) is_wanted |= f->g->outputs[i].value == (Value)v;
        for (size_t i = 0; i < f->g->nchecks; i++) is_wanted |= graph_checked(f->g, i) == (Value)v;
        if (is_wanted) continue;
        set_kernel(f, (Value)v, -1);
        if (!worth(f, own, (Value)v, false)) set_kernel(f, (Value)v, own);
    }
}

/* ---- Order ---- */

/* Kernel k can run: every stored value that it needs has been stored by an earlier one. */
static bool ready(const Fuse *f, int k, const int *order, bool *seen) {
    memset(seen, 0, f->g->count);
    for (size_t v = f->g->count; v-- > 0;) {
        const Node *node = graph_node(f->g, (Value)v);
        if (node->kernel == k) seen[v] = true;
        if (!seen[v]) continue;
        if (node->kernel >= 0 && node->kernel != k) {
            if (order[node->kernel] < 0) return false;
            continue;
        }
        for (int a = 0; a < node->nargs; a++) seen[node->args[a]] = true;
    }
    return true;
}

static bool writes_donated(const Fuse *f, int k) {
    for (size_t i = 0; i < f->g->noutputs; i++)
        if (f->g->outputs[i].donated != NO_VALUE && graph_node(f->g, f->g->outputs[i].value)->kernel == k)
            return true;
    return false;
}

/* Numbers the kernels in an order in which they can run; those that overwrite donated inputs come as late as
 * they can. */
static void number_kernels(Fuse *f) {
    int *order = mem_alloc(sizeof *order * (size_t)MAX(f->nkernels, 1)), next = 0, left = 0;
    bool *used = mem_calloc((size_t)MAX(f->nkernels, 1), 1), *seen = mem_alloc(f->g->count);
    f->failed |= !order || !used || !seen;
    for (size_t v = 0; !f->failed && v < f->g->count; v++)
        if (f->g->nodes[v].kernel >= 0) used[f->g->nodes[v].kernel] = true;
    for (int k = 0; !f->failed && k < f->nkernels; k++) order[k] = -1, left += used[k];
    while (!f->failed && left) {
        int before = left;
        for (int late = 0; late < 2 && left == before; late++)
            for (int k = 0; k < f->nkernels; k++) {
                if (!used[k] || order[k] >= 0 || (!late && writes_donated(f, k)) || !ready(f, k, order, seen))
                    continue;
                order[k] = next++;
                left--;
                if (late) break;
            }
        if (left == before) {
            fail(f->err, FRAX_INTERNAL, "fuse: kernels depend on each other in a circle");
            f->failed = true;
        }
    }
    for (size_t v = 0; !f->failed && v < f->g->count; v++)
        if (f->g->nodes[v].kernel >= 0) f->g->nodes[v].kernel = order[f->g->nodes[v].kernel];
    mem_free(order);
    mem_free(used);
    mem_free(seen);
}

Graph *pass_fuse(const Graph *graph, FraxError *err) {
    Graph *lowered = graph_rewrite(graph, lower_node, NULL, err);
    Graph *g =
        lowered ? graph_rewrite(lowered, NULL, NULL, err) : NULL; /* without what the lowering left behind */
    graph_destroy(lowered);
    if (!g) return NULL;
    Fuse f = {.g = g, .err = err};
    f.is_static = arena_alloc(&g->arena, g->count + 1);
    f.pinned = arena_alloc(&g->arena, g->count + 1);
    f.users = arena_alloc(&g->arena, (g->count + 1) * sizeof *f.users);
    f.asked = arena_alloc(&g->arena, (g->count + 1) * sizeof *f.asked);
    if (!f.is_static || !f.pinned || !f.users || !f.asked || !collect_users(&f)) {
        f.failed = true;
        fail_memory(err, "fusing");
    } else {
        start(&f);
        make_buildable(&f);
        for (size_t v = g->count; !f.failed && v-- > 0;) try_inline(&f, (Value)v);
        if (!f.failed) join_kernels(&f);
        drop_unread_stores(&f);
        if (!f.failed) number_kernels(&f);
    }
    if (!f.failed) return g;
    if (err && !err->status) fail_memory(err, "fusing");
    graph_destroy(g);
    return NULL;
}
