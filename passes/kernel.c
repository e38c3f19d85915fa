/* kernel.c — builds a kernel's loop nest from the values it stores. See kernel.h.
 *
 * 1. The body is searched for an anchor: an op that couples the elements of a row (reduction, transform,
 * recurrence) or a matrix product. Its operand's shape gives the loops; without an anchor the first store's
 * shape does.
 * 2. From each store the body is walked down to stored values, carrying the affine place of the element
 * wanted. Whatever cannot be expressed so makes the kernel unfit, with a reason.
 * 3. Stages and levels follow from the operands; kernel_schedule then merges loops and chooses lanes and
 * blocks.
 */
#include "kernel_internal.h"
#include "library_transform.h"
#include <string.h>

int unfit(Build *b, const char *why) {
    if (!b->why) b->why = why;
    return NO_ITEM;
}

void *build_grow(Build *b, void *items, size_t *capacity, size_t need, size_t size) {
    if (!mem_grow(items, capacity, need, size)) {
        b->out_of_memory = true;
        unfit(b, "out of memory");
        return NULL;
    }
    return items;
}

bool stored_elsewhere(const Build *b, Value v) {
    const Node *node = graph_node(b->graph, v);
    return node->op == OP_input || node->op == OP_param ||
           (node->kernel >= 0 && node->kernel != b->kernel->id);
}

Value behind_reshapes(const Graph *g, Value v) {
    while (graph_node(g, v)->op == OP_reshape) v = graph_node(g, v)->args[0];
    return v;
}

/* The output whose array a value is written to: the first that names it, until the memory plan has chosen. */
const int64_t *stored_strides(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    if (node->op == OP_input || node->op == OP_param) return graph_strides(g, v);
    if (node->region == REGION_OUTPUT) return g->outputs[node->offset].strides;
    for (size_t i = 0; i < g->noutputs && node->region == REGION_NONE; i++)
        if (g->outputs[i].value == v) return g->outputs[i].strides;
    return NULL;
}

static void strides_of(const Graph *g, Value v, int64_t strides[MAX_RANK]) {
    const Shape *shape = &graph_type(g, v)->shape;
    const int64_t *given = stored_strides(g, v);
    if (given)
        memcpy(strides, given, sizeof *strides * (size_t)shape->rank);
    else
        shape_strides(shape, strides);
}

/* ---- Loops ---- */

bool is_row_op(Op op) {
    return op == OP_spectral || op == OP_rfft || op == OP_cross_spectrum || op == OP_causal_conv ||
           op == OP_causal_correlation || op == OP_grunwald_weights || op_is_recurrence(op);
}

/* Does v show the first samples, as many as `shape` has, and nothing else? */
static bool shows_first(const Node *slice, const Shape *shape) {
    bool first = slice->op == OP_slice && shape_equal(&slice->type.shape, shape);
    for (int i = 0; first && i < shape->rank; i++) first = !slice->attrs->lo[i] && slice->attrs->step[i] == 1;
    return first;
}

/* The signal that v is with zeros after it along the axes and nowhere else; NO_VALUE if it is stored so. */
static Value before_zeros(const Graph *g, Value v, uint32_t axes) {
    const Node *pad = graph_node(g, v);
    if (pad->op != OP_pad || pad->kernel >= 0) return NO_VALUE;
    const Shape *shape = &graph_type(g, pad->args[0])->shape;
    if (!shape_size(shape)) return NO_VALUE;
    for (int i = 0; i < shape->rank; i++)
        if (pad->attrs->lo[i] || pad->attrs->step[i] != 1 || (pad->attrs->hi[i] && !(axes >> i & 1)))
            return NO_VALUE;
    return pad->args[0];
}

Value unpadded_signal(const Graph *g, const Node *node) {
    if (node->op != OP_spectral && node->op != OP_rfft && node->op != OP_cross_spectrum) return NO_VALUE;
    if (__builtin_popcount(node->attrs->axes) != 1) return NO_VALUE;
    Value x = before_zeros(g, node->args[0], node->attrs->axes);
    if (x == NO_VALUE || node->op != OP_cross_spectrum) return x;
    Value y = before_zeros(g, node->args[1], node->attrs->axes);
    bool alike = y != NO_VALUE && shape_equal(&graph_type(g, x)->shape, &graph_type(g, y)->shape);
    return alike ? x : NO_VALUE;
}

bool is_first_samples(const Graph *g, const Node *slice) {
    if (slice->op != OP_slice) return false;
    const Node *node = graph_node(g, slice->args[0]);
    Value x = node->op == OP_spectral ? unpadded_signal(g, node) : NO_VALUE;
    return x != NO_VALUE && shows_first(slice, &graph_type(g, x)->shape);
}

/* Is a transform's row in this kernel the signal before zeros were put after it? Then the zeros are part of
   the row operation, and of a filtered signal no more samples than those are looked at. */
static bool runs_unpadded(const Build *b, Value v) {
    const Node *node = graph_node(b->graph, v);
    if (unpadded_signal(b->graph, node) == NO_VALUE) return false;
    if (node->op != OP_spectral) return true;
    if (node->kernel == b->kernel->id) return false;
    for (size_t i = 0; i < b->nbody; i++) {
        const Node *user = graph_node(b->graph, b->body[i]);
        for (int a = 0; a < user->nargs; a++)
            if (user->args[a] == v && !is_first_samples(b->graph, user)) return false;
    }
    return true;
}

Value row_operand(const Build *b, Value v, int i) {
    Value operand = graph_node(b->graph, v)->args[i];
    return runs_unpadded(b, v) ? graph_node(b->graph, operand)->args[0] : operand;
}

const Shape *row_shape(const Build *b, Value v) {
    const Node *node = graph_node(b->graph, v);
    if (node->op == OP_grunwald_weights) return &node->type.shape;
    return &graph_type(b->graph, row_operand(b, v, node->op == OP_causal_conv))->shape;
}

uint32_t row_axes(const Node *node) {
    if (node->op == OP_grunwald_weights) return 1u << (node->type.shape.rank - 1);
    if (node->op == OP_causal_conv || node->op == OP_causal_correlation || node->op == OP_argmax ||
        op_is_recurrence(node->op))
        return 1u << node->attrs->axis;
    return node->attrs->axes;
}

static void add_loops(Build *b, uint32_t axes) {
    Kernel *k = b->kernel;
    for (int i = 0; i < b->shape.rank; i++) {
        if (!(axes >> i & 1)) continue;
        b->place[i] = affine_constant(0);
        if (b->shape.dims[i] == 1) continue;
        b->place[i] = affine_loop(k->nloops);
        k->size[k->nloops++] = b->shape.dims[i];
    }
}

/* The anchor that gives the loops: a cross spectrum if there is one, because it may sum over some of the
 * rows. */
static Value choose_anchor(const Build *b) {
    for (size_t i = 0; i < b->nanchors; i++)
        if (graph_node(b->graph, b->anchors[i])->op == OP_cross_spectrum) return b->anchors[i];
    return b->anchors[b->nanchors - 1];
}

/* Loops of a kernel with an anchor: batch axes, summed batch axes, then the axes along the row. */
static void loops_of_anchor(Build *b, Value anchor) {
    const Node *node = graph_node(b->graph, anchor);
    b->shape = *row_shape(b, anchor);
    b->inner_axes = row_axes(node);
    uint32_t summed = node->op == OP_cross_spectrum ? node->attrs->sum : 0, all = (1u << b->shape.rank) - 1;
    add_loops(b, all & ~b->inner_axes & ~summed);
    int kept = b->kernel->nloops;
    add_loops(b, all & ~b->inner_axes & summed);
    b->kernel->nouter = b->kernel->nloops;
    b->kernel->nsummed = b->kernel->nloops - kept;
    add_loops(b, b->inner_axes);
}

/* The common refinement of two factorisations of one size, or false: every boundary of either must divide the
 * next. */
static bool refine(Shape *loops, const Shape *with) {
    int64_t bounds[2 * MAX_RANK + 1], size = 1;
    int n = 0, i = loops->rank - 1, j = with->rank - 1;
    int64_t a = 1, b = 1;
    bounds[n++] = 1;
    while (i >= 0 || j >= 0) {
        int64_t next_a = i >= 0 ? a * loops->dims[i] : INT64_MAX,
                next_b = j >= 0 ? b * with->dims[j] : INT64_MAX;
        if (next_a <= next_b) a = next_a, i--;
        if (next_b <= next_a) b = next_b, j--;
        int64_t bound = MIN(next_a, next_b);
        if (bound == size) continue;
        if (bound % size || n > 2 * MAX_RANK) return false;
        bounds[n++] = size = bound;
    }
    if (n - 1 > MAX_RANK) return false;
    Shape refined = {.rank = n - 1};
    for (int r = 0; r < n - 1; r++) refined.dims[n - 2 - r] = bounds[r + 1] / bounds[r];
    *loops = refined;
    return true;
}

bool reshape_has_loops(const Shape *from, const Shape *to) {
    Shape loops = *from;
    return refine(&loops, to);
}

/* Loops of a kernel without an anchor: the store's axes, cut where a reshape in the body cuts them. */
static void loops_of_store(Build *b, const Shape *shape) {
    Shape loops = *shape;
    int64_t size = shape_size(shape);
    for (size_t i = 0; i < b->nbody && size > 0; i++) {
        const Node *node = graph_node(b->graph, b->body[i]);
        if (node->op != OP_reshape) continue;
        if (shape_size(&node->type.shape) != size) continue;
        refine(&loops, &node->type.shape);
        refine(&loops, &graph_type(b->graph, node->args[0])->shape);
    }
    b->shape = loops;
    b->inner_axes = (1u << loops.rank) - 1;
    add_loops(b, b->inner_axes);
}

/* ---- Stores ---- */

bool writes_itself(Op op) {
    return op == OP_rfft || op == OP_cross_spectrum || op == OP_causal_correlation ||
           op == OP_exponential_correlation;
}

/* Spectra and correlations write by themselves: element `at` for the row, strides along the result's axes. */
static bool store_by_itself(Build *b, Value v, Store *store) {
    const Node *node = graph_node(b->graph, v);
    Affine place[MAX_RANK] = {0};
    int64_t strides[MAX_RANK];
    store->row = build_row(b, v, place);
    if (store->row < 0) return false;
    uint32_t axes = row_axes(node);
    strides_of(b->graph, v, strides);
    for (int i = 0, n = 0; i < node->type.shape.rank; i++) {
        if (axes >> i & 1) store->stride[n++] = strides[i];
        if (axes >> i & 1 || node->type.shape.dims[i] == 1) place[i] = affine_constant(0);
    }
    store->at = affine_place(place, node->type.shape.rank, strides);
    return true;
}

/* A store goes through the row's elements, or is one per row; either way in row-major order of the anchor's
 * shape. */
static bool store_place(Build *b, const Shape *shape, Affine *map) {
    int64_t size = shape_size(shape), full = shape_size(&b->shape);
    Shape rows = b->shape;
    Affine place[MAX_RANK];
    memcpy(place, b->place, sizeof place);
    if (size != full) {
        for (int i = 0; i < rows.rank; i++)
            if (b->inner_axes >> i & 1) rows.dims[i] = 1, place[i] = affine_constant(0);
        if (shape_size(&rows) != size) return false;
    }
    Affine offset = affine_offset(place, &rows);
    return affine_unravel(&offset, shape, b->kernel->size, b->kernel->nloops, map);
}

/* The axes along which v shows the result of a row operation from its end. `budget`: nodes that may be looked
 * at. */
static uint32_t reversed_axes(const Build *b, Value v, int *budget, bool *found) {
    const Node *node = graph_node(b->graph, v);
    if ((*budget)-- <= 0 || stored_elsewhere(b, v)) return 0;
    *found = is_row_op(node->op);
    if (node->op == OP_flip) return node->attrs->axes ^ reversed_axes(b, node->args[0], budget, found);
    if (!op_is_pointwise(node->op)) return 0;
    for (int i = 0; i < node->nargs; i++) {
        uint32_t axes = reversed_axes(b, node->args[i], budget, found);
        if (*found) return axes;
    }
    return 0;
}

/* A reversed result is stored from the end, so that the row operation's elements are met in their order. */
static void turn_place(const Build *b, Value v, const Shape *shape, Affine *map) {
    enum { NODES = 64 };
    int budget = NODES;
    bool found = false;
    uint32_t axes = reversed_axes(b, v, &budget, &found);
    for (int i = 0; found && i < shape->rank; i++) {
        if (!(axes >> i & 1) || shape->dims[i] == 1) continue;
        Affine turned = affine_constant(shape->dims[i] - 1);
        affine_add(&turned, &map[i], -1);
        map[i] = turned;
    }
}

/* A value without elements is stored along a loop that never runs. */
static bool store_nothing(Build *b, Value v, Store *store) {
    for (int l = 0; l < b->kernel->nloops; l++) {
        if (b->kernel->size[l]) continue;
        store->at = affine_loop(l);
        store->item = add_item(b, new_item(ITEM_CONSTANT, v, NO_ITEM, NO_GUARD));
        return store->item != NO_ITEM;
    }
    unfit(b, "an empty store beside others");
    return false;
}

static void add_store(Build *b, Value v) {
    Kernel *k = b->kernel;
    const Node *node = graph_node(b->graph, v);
    Store store = {.node = v, .item = NO_ITEM, .row = -1};
    Affine map[MAX_RANK];
    int64_t strides[MAX_RANK];
    if (!shape_size(&node->type.shape)) {
        if (!store_nothing(b, v, &store)) return;
    } else if (writes_itself(node->op)) {
        if (!store_by_itself(b, v, &store)) return;
    } else {
        if (!store_place(b, &node->type.shape, map)) {
            unfit(b, "stores of different sizes");
            return;
        }
        turn_place(b, v, &node->type.shape, map);
        strides_of(b->graph, v, strides);
        store.at = affine_place(map, node->type.shape.rank, strides);
        store.item = build_item(b, v, map, NO_GUARD);
        if (store.item == NO_ITEM) return;
    }
    if (!build_grow(b, &k->stores, &k->stores_capacity, k->nstores + 1, sizeof *k->stores)) return;
    k->stores[k->nstores++] = store;
}

/* ---- The whole ---- */

/* Body and anchors: everything between the stores and what is stored elsewhere. */
static bool gather(Build *b) {
    const Graph *g = b->graph;
    b->uses = mem_calloc(g->count, 1);
    bool ok = b->uses != NULL;
    for (size_t v = g->count; ok && v-- > 0;) {
        const Node *node = &g->nodes[v];
        bool is_stored = node->kernel == b->kernel->id;
        if ((!is_stored && !b->uses[v]) || stored_elsewhere(b, (Value)v)) continue;
        ok = mem_grow(&b->stores, &b->stores_capacity, b->nstores + 1, sizeof *b->stores) &&
             mem_grow(&b->body, &b->body_capacity, b->nbody + 1, sizeof *b->body) &&
             mem_grow(&b->anchors, &b->anchors_capacity, b->nanchors + 1, sizeof *b->anchors);
        if (!ok) break;
        b->body[b->nbody++] = (Value)v;
        if (is_stored) b->stores[b->nstores++] = (Value)v;
        if (op_is_reduction(node->op) || is_row_op(node->op)) b->anchors[b->nanchors++] = (Value)v;
        if (node->op == OP_matmul) b->nproducts++, b->kernel->product = (Value)v;
        for (int i = 0; i < node->nargs; i++) b->uses[node->args[i]] += b->uses[node->args[i]] < 2;
    }
    return ok;
}

static int stage_of(const Kernel *k, const Item *item) {
    int stage = 0;
    if (item->kind == ITEM_ROW) return k->rows[item->row].stage;
    for (int i = 0; i < 3; i++)
        if (item->args[i] != NO_ITEM) stage = MAX(stage, k->items[item->args[i]].stage);
    return stage + (item->kind == ITEM_REDUCE);
}

/* Items stand after their operands, and a row operation's inputs before any item that reads it. */
static void assign_stages(Build *b) {
    Kernel *k = b->kernel;
    for (size_t r = 0; r < k->nrows; r++) k->rows[r].stage = -1;
    for (size_t i = 0; i < k->nitems; i++) {
        Item *item = &k->items[i];
        if (item->kind == ITEM_ROW) kernel_row_stage(k, item->row);
        item->stage = stage_of(k, item);
        k->nstages = MAX(k->nstages, item->stage + 1);
    }
    for (size_t r = 0; r < k->nrows; r++) k->nstages = MAX(k->nstages, kernel_row_stage(k, (int)r) + 1);
    if (k->nstages > MAX_STAGES) unfit(b, "too many stages");
}

int kernel_row_stage(Kernel *k, int r) {
    RowOp *row = &k->rows[r];
    for (int i = 0; i < row->ninputs; i++) row->stage = MAX(row->stage, k->items[row->inputs[i]].stage + 1);
    return row->stage;
}

/* Rows of another operation are not the same transforms. */
static bool same_rows(const Build *b, const RowOp *a, const RowOp *c) {
    const Node *x = graph_node(b->graph, a->node), *y = graph_node(b->graph, c->node);
    int64_t of_x[MAX_RANK] = {0}, of_y[MAX_RANK] = {0};
    return transform_dims(b->graph, x, of_x) == transform_dims(b->graph, y, of_y) &&
           !memcmp(of_x, of_y, sizeof of_x) && x->type.dtype == y->type.dtype;
}

/* Do transforms read rows as they are stored, one after the other, and write theirs so, once? */
static bool rows_are_dense(const Build *b) {
    const Kernel *k = b->kernel;
    Affine dense = affine_offset(b->place, &b->shape);
    bool ok = true;
    for (size_t r = 0; r < k->nrows; r++)
        for (int n = 0; n < k->rows[r].ninputs; n++) {
            const Item *item = &k->items[k->rows[r].inputs[n]];
            ok = ok && item->kind == ITEM_LOAD && item->guard == NO_GUARD && affine_equal(&item->at, &dense);
        }
    bool stored[MAX_ROW_OPS] = {false};
    for (size_t i = 0; i < k->nstores; i++) {
        const Store *store = &k->stores[i];
        const Item *item = store->item == NO_ITEM ? NULL : &k->items[store->item];
        if (!item) continue;
        ok = ok && item->kind == ITEM_ROW && affine_equal(&store->at, &dense) && !stored[item->row];
        if (ok) stored[item->row] = true;
    }
    return ok;
}

/* Transforms that are left to the library have a kernel of their own. */
static void settle_transforms(Build *b) {
    Kernel *k = b->kernel;
    size_t left = 0;
    bool same = true;
    for (size_t r = 0; r < k->nrows; r++) {
        left += is_library_transform(b->graph, graph_node(b->graph, k->rows[r].node));
        same = same && same_rows(b, &k->rows[0], &k->rows[r]);
    }
    if (!left) return;
    if (left < k->nrows || !same || !rows_are_dense(b))
        unfit(b, "a transform left to the library");
    else
        k->kind = KERNEL_TRANSFORM;
}

static void add_stores(Build *b) {
    for (size_t i = b->nstores; i-- > 0 && !b->why;) add_store(b, b->stores[i]);
}

static void build_rows(Build *b) {
    if (b->nanchors)
        loops_of_anchor(b, choose_anchor(b));
    else
        loops_of_store(b, &graph_type(b->graph, b->stores[b->nstores - 1])->shape);
    add_stores(b);
    if (!b->why) assign_stages(b);
    if (!b->why) settle_transforms(b);
}

static void build_product(Build *b) {
    Kernel *k = b->kernel;
    const Node *node = graph_node(b->graph, k->product), *left = graph_node(b->graph, node->args[0]);
    int r = node->type.shape.rank, ta = node->attrs->ta, tb = node->attrs->tb;
    k->kind = KERNEL_MATMUL;
    b->shape = node->type.shape;
    b->inner_axes = 0;
    add_loops(b, (1u << r) - 1);
    k->nouter = k->nloops;
    k->m = node->type.shape.dims[r - 2];
    k->n = node->type.shape.dims[r - 1];
    k->k = left->type.shape.dims[r - 1 - ta];
    uint32_t last_two = 3u << (r - 2);
    if (!table_of(b, node->args[0], b->place, last_two, &k->left)) return;
    if (!table_of(b, node->args[1], b->place, last_two, &k->right)) return;
    if (ta)
        k->left.stride[2] = k->left.stride[0], k->left.stride[0] = k->left.stride[1],
        k->left.stride[1] = k->left.stride[2];
    if (tb)
        k->right.stride[2] = k->right.stride[0], k->right.stride[0] = k->right.stride[1],
        k->right.stride[1] = k->right.stride[2];
    add_stores(b);
    k->nstages = 1;
    if (b->why || !gemm_by_library(b->graph, k)) return;
    if (is_library_kernel(b->graph, k))
        k->kind = KERNEL_GEMM;
    else
        unfit(b, "a product left to the library");
}

/* Which values are made anew in each run: those below inputs, and those of a kernel that stores such a value
   or an output, whose buffer each run must fill. runs: by kernel. */
static void mark_varying(const Graph *g, bool *varies, bool *runs) {
    for (size_t i = 0; i < g->noutputs; i++) {
        int kernel = graph_node(g, g->outputs[i].value)->kernel;
        if (kernel >= 0) runs[kernel] = true;
    }
    for (bool grew = true; grew;) {
        grew = false;
        for (size_t v = 0; v < g->count; v++) {
            const Node *node = &g->nodes[v];
            bool given = node->op == OP_input || node->op == OP_param || node->op == OP_hole;
            varies[v] = given || (node->kernel >= 0 && runs[node->kernel]);
            for (int a = 0; a < node->nargs; a++) varies[v] |= varies[node->args[a]];
            if (!varies[v] || node->kernel < 0 || runs[node->kernel]) continue;
            runs[node->kernel] = grew = true;
        }
    }
}

/* Without a look at the rest of the graph: does the kernel read an input? */
static bool reads_given(const Build *b) {
    for (size_t i = 0; i < b->nbody; i++) {
        const Node *node = graph_node(b->graph, b->body[i]);
        for (int a = 0; a < node->nargs; a++) {
            Op op = graph_node(b->graph, node->args[a])->op;
            if (op == OP_input || op == OP_param) return true;
        }
    }
    return false;
}

/* Can the kernel run once, before any inputs and outputs are known? */
static bool is_static(Build *b) {
    const Graph *g = b->graph;
    if (reads_given(b)) return false;
    int kernels = b->kernel->id + 1;
    for (size_t v = 0; v < g->count; v++) kernels = MAX(kernels, g->nodes[v].kernel + 1);
    bool *varies = mem_calloc(g->count + (size_t)kernels, 1), result = false;
    if (varies) {
        bool *runs = varies + g->count;
        mark_varying(g, varies, runs);
        result = !runs[b->kernel->id];
    } else {
        b->out_of_memory = true;
        unfit(b, "out of memory");
    }
    mem_free(varies);
    return result;
}

bool kernel_build(const Graph *graph, int id, Kernel *kernel, bool *fits, const char **why, FraxError *err) {
    *kernel = (Kernel){.id = id, .product = NO_VALUE};
    Build b = {.graph = graph, .kernel = kernel};
    if (!gather(&b)) b.out_of_memory = true, b.why = "out of memory";
    if (!b.why && b.nproducts) {
        if (b.nproducts > 1 || b.nanchors)
            unfit(&b, "a product with another product or reduction");
        else
            build_product(&b);
    } else if (!b.why) {
        build_rows(&b);
    }
    if (!b.why) {
        kernel->is_static = is_static(&b);
        if (!kernel_schedule(graph, kernel))
            unfit(&b, "rows too long to pass over twice, or a recurrence beside other work on rows");
    }
    mem_free(b.body);
    mem_free(b.anchors);
    mem_free(b.stores);
    mem_free(b.uses);
    mem_free(b.visits);
    mem_free(b.places);
    *fits = !b.why;
    if (why) *why = b.why;
    if (b.why) kernel_free(kernel);
    if (b.out_of_memory) fail_memory(err, "building a kernel");
    return !b.out_of_memory;
}

void kernel_free(Kernel *kernel) {
    mem_free(kernel->items);
    mem_free(kernel->guards);
    mem_free(kernel->rows);
    mem_free(kernel->stores);
    *kernel = (Kernel){0};
}
