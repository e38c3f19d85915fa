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
#include <string.h>

enum { MAX_ITEMS = 600, MAX_LOADS = 40 };

int unfit(Build *b, const char *why) {
    if (!b->why) b->why = why;
    return NO_ITEM;
}

static void *grow(Build *b, void *items, size_t *capacity, size_t need, size_t size) {
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

/* ---- Loops ---- */

static bool is_row_op(Op op) {
    return op == OP_spectral || op == OP_rfft || op == OP_cross_spectrum || op == OP_causal_conv ||
           op == OP_grunwald_weights;
}

/* The operand whose elements an anchor's row consists of (the result of weights), and the axes along the row.
 */
static const Shape *row_shape(const Graph *g, const Node *node) {
    if (node->op == OP_grunwald_weights) return &node->type.shape;
    return &graph_type(g, node->args[node->op == OP_causal_conv])->shape;
}

static uint32_t row_axes(const Node *node) {
    if (node->op == OP_grunwald_weights) return 1u << (node->type.shape.rank - 1);
    if (node->op == OP_causal_conv || node->op == OP_argmax) return 1u << node->attrs->axis;
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
    b->shape = *row_shape(b->graph, node);
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

/* ---- The canonical place of a row's element, for another anchor of the kernel ---- */

/* Axes of `shape` matched with the kernel's loops: sizes other than 1 must agree in order, within rows and
 * across them. */
static bool canonical_place(const Build *b, const Shape *shape, uint32_t axes, Affine *place) {
    int mine[2] = {0, 0}; /* next axis of the kernel's shape: across rows, along the row */
    for (int i = 0; i < shape->rank; i++) {
        int along = axes >> i & 1;
        place[i] = affine_constant(0);
        if (shape->dims[i] == 1) continue;
        int *a = &mine[along];
        while (*a < b->shape.rank && ((int)(b->inner_axes >> *a & 1) != along || b->shape.dims[*a] == 1))
            ++*a;
        if (*a >= b->shape.rank || b->shape.dims[*a] != shape->dims[i]) return false;
        place[i] = b->place[(*a)++];
    }
    for (int along = 0; along < 2; along++)
        for (int a = mine[along]; a < b->shape.rank; a++)
            if ((int)(b->inner_axes >> a & 1) == along && b->shape.dims[a] != 1) return false;
    return true;
}

static bool same_place(const Affine *a, const Affine *b, int rank) {
    for (int i = 0; i < rank; i++)
        if (!affine_equal(&a[i], &b[i])) return false;
    return true;
}

/* ---- Items ---- */

static int find_item(const Build *b, Value node, ItemKind kind, const Affine *at, int guard) {
    for (size_t i = 0; i < b->kernel->nitems; i++) {
        const Item *item = &b->kernel->items[i];
        if (item->node == node && item->kind == kind && item->guard == guard && affine_equal(&item->at, at))
            return (int)i;
    }
    return NO_ITEM;
}

static int add_item(Build *b, Item item) {
    Kernel *k = b->kernel;
    int same = find_item(b, item.node, item.kind, &item.at, item.guard);
    if (same != NO_ITEM) {
        const Item *found = &k->items[same];
        if (!memcmp(found->args, item.args, sizeof item.args) && found->row == item.row) return same;
    }
    if (k->nitems >= MAX_ITEMS) return unfit(b, "too many operations");
    if (!grow(b, &k->items, &k->items_capacity, k->nitems + 1, sizeof *k->items)) return NO_ITEM;
    k->items[k->nitems] = item;
    return (int)k->nitems++;
}

static int add_guard(Build *b, Guard guard) {
    Kernel *k = b->kernel;
    for (size_t i = 0; i < k->nguards; i++)
        if (k->guards[i].parent == guard.parent && k->guards[i].size == guard.size &&
            affine_equal(&k->guards[i].index, &guard.index))
            return (int)i;
    if (!grow(b, &k->guards, &k->guards_capacity, k->nguards + 1, sizeof *k->guards)) return guard.parent;
    k->guards[k->nguards] = guard;
    return (int)k->nguards++;
}

static Item new_item(ItemKind kind, Value node, int arg, int guard) {
    return (Item){.kind = kind, .node = node, .args = {arg, NO_ITEM, NO_ITEM}, .guard = guard, .row = -1};
}

static int item_load(Build *b, Value v, const Affine *map, int guard, Value stored) {
    Item item = new_item(ITEM_LOAD, stored, NO_ITEM, guard);
    item.at = affine_offset(map, &graph_type(b->graph, v)->shape);
    size_t before = b->kernel->nitems;
    int i = add_item(b, item);
    if (b->kernel->nitems > before && ++b->nloads > MAX_LOADS) return unfit(b, "too many loads");
    return i;
}

static int item_pointwise(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    Item item = new_item(ITEM_POINTWISE, v, NO_ITEM, NO_GUARD);
    if (node->nargs > 3) return unfit(b, "too many operands");
    for (int i = 0; i < node->nargs; i++) {
        item.args[i] = build_item(b, node->args[i], map, guard);
        if (item.args[i] == NO_ITEM) return NO_ITEM;
    }
    return add_item(b, item);
}

static int item_pad(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    const Shape *from = &graph_type(b->graph, node->args[0])->shape;
    Affine moved[MAX_RANK];
    int own = guard;
    if (!shape_size(from)) return add_item(b, new_item(ITEM_CONSTANT, v, NO_ITEM, NO_GUARD)); /* zeros */
    for (int i = 0; i < from->rank; i++) {
        if (node->attrs->step[i] != 1 && from->dims[i] > 1) return unfit(b, "pad between elements");
        moved[i] = map[i];
        moved[i].base -= node->attrs->lo[i];
        if (node->type.shape.dims[i] != from->dims[i])
            own = add_guard(b, (Guard){own, moved[i], from->dims[i]});
    }
    int arg = build_item(b, node->args[0], moved, own);
    if (arg == NO_ITEM || own == guard) return arg;
    return add_item(b, new_item(ITEM_GUARDED, v, arg, own));
}

/* Nested choices: part 0 where its guard holds, else part 1 … */
static int item_concat(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    int axis = node->attrs->axis, result = NO_ITEM;
    int64_t end = node->type.shape.dims[axis];
    for (int p = node->nargs - 1; p >= 0; p--) {
        int64_t size = graph_type(b->graph, node->args[p])->shape.dims[axis];
        Affine moved[MAX_RANK];
        memcpy(moved, map, sizeof moved);
        end -= size;
        moved[axis].base -= end;
        if (!size) continue;
        int own = add_guard(b, (Guard){guard, moved[axis], size});
        int arg = build_item(b, node->args[p], moved, own);
        if (arg == NO_ITEM) return NO_ITEM;
        Item choice = new_item(ITEM_GUARDED, node->args[p], arg, own);
        choice.args[1] = result;
        result = add_item(b, choice);
        if (result == NO_ITEM) return NO_ITEM;
    }
    return result == NO_ITEM ? unfit(b, "concatenation of nothing") : result;
}

static int item_reshape(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    Value stored = node->args[0];
    while (graph_node(b->graph, stored)->op == OP_reshape && !stored_elsewhere(b, stored))
        stored = graph_node(b->graph, stored)->args[0];
    if (stored_elsewhere(b, stored))
        return item_load(b, v, map, guard, stored); /* the same bytes under another shape */
    Affine offset = affine_offset(map, &node->type.shape), moved[MAX_RANK];
    const Shape *from = &graph_type(b->graph, node->args[0])->shape;
    if (!affine_unravel(&offset, from, b->kernel->size, b->kernel->nloops, moved))
        return unfit(b, "a reshape that is not affine here");
    return build_item(b, node->args[0], moved, guard);
}

/* Ops that only move elements: the operand's place from the result's. */
static int item_moved(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    const Shape *from = &graph_type(b->graph, node->args[0])->shape;
    const Attrs *at = node->attrs;
    Affine moved[MAX_RANK];
    for (int i = 0; i < from->rank; i++) {
        switch (node->op) {
        case OP_transpose: moved[at->perm[i]] = map[i]; break;
        case OP_broadcast: moved[i] = from->dims[i] == 1 ? affine_constant(0) : map[i]; break;
        case OP_slice:
            moved[i] = affine_constant(at->lo[i]);
            affine_add(&moved[i], &map[i], at->step[i]);
            break;
        default: /* flip */
            moved[i] = map[i];
            if (!(at->axes >> i & 1)) break;
            moved[i] = affine_constant(from->dims[i] - 1);
            affine_add(&moved[i], &map[i], -1);
        }
    }
    return build_item(b, node->args[0], moved, guard);
}

/* ---- Anchors ---- */

static int item_reduce(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    const Shape *shape = row_shape(b->graph, node);
    Affine place[MAX_RANK], across[MAX_RANK];
    uint32_t axes = row_axes(node);
    if (!canonical_place(b, shape, axes, place)) return unfit(b, "reductions over different rows");
    memcpy(across, place, sizeof across);
    for (int i = 0; i < shape->rank; i++)
        if (axes >> i & 1) across[i] = affine_constant(0);
    if (guard != NO_GUARD || !same_place(across, map, shape->rank))
        return unfit(b, "a reduction wanted at another row");
    int arg = build_item(b, node->args[0], place, NO_GUARD);
    if (arg == NO_ITEM) return NO_ITEM;
    return add_item(b, new_item(ITEM_REDUCE, v, arg, NO_GUARD));
}

/* A table operand must be stored (or constant); its axes of size 1 do not move. */
static bool table_of(Build *b, Value v, const Affine *place, uint32_t axes, Table *table) {
    const Shape *shape = &graph_type(b->graph, v)->shape;
    int64_t strides[MAX_RANK];
    Affine across[MAX_RANK];
    Value stored = v;
    while (graph_node(b->graph, stored)->op == OP_reshape && !stored_elsewhere(b, stored))
        stored = graph_node(b->graph, stored)->args[0];
    const Node *node = graph_node(b->graph, stored);
    *table = (Table){.node = stored, .is_constant = node->op == OP_constant, .constant = node->attrs->value};
    if (!table->is_constant && !stored_elsewhere(b, stored)) {
        unfit(b, "a table that is not stored");
        return false;
    }
    shape_strides(shape, strides);
    for (int i = 0, n = 0; i < shape->rank; i++) {
        across[i] = axes >> i & 1 || shape->dims[i] == 1 ? affine_constant(0) : place[i];
        if (axes >> i & 1 && n < 3) table->stride[n++] = strides[i];
    }
    table->at = affine_offset(across, shape);
    return true;
}

/* Does the cross spectrum sum over exactly the loops that the kernel sums over? */
static bool sums_agree(const Build *b, const Node *node, const Affine *place) {
    const Kernel *k = b->kernel;
    int found = 0;
    for (int i = 0; i < node->type.shape.rank; i++) {
        bool summed = affine_uses(&place[i], k->nouter - k->nsummed, k->nouter);
        bool wanted = (node->attrs->sum >> i & 1) && affine_uses(&place[i], 0, k->nloops);
        if (summed != wanted) return false;
        found += summed;
    }
    return found == k->nsummed;
}

static int find_row(const Build *b, Value v) {
    const Node *node = graph_node(b->graph, v);
    for (size_t r = 0; r < b->kernel->nrows; r++) {
        RowOp *row = &b->kernel->rows[r];
        if (row->node == v || row->partner == v) return (int)r;
        const Node *other = graph_node(b->graph, row->node);
        if (node->op != OP_cross_spectrum || other->op != OP_cross_spectrum || row->partner != NO_VALUE)
            continue;
        if (node->args[0] == other->args[0] && node->args[1] == other->args[1] &&
            node->attrs->axes == other->attrs->axes && node->attrs->sum == other->attrs->sum) {
            row->partner = v;
            return (int)r;
        }
    }
    return -1;
}

/* The row operation of node v, made on first use; −1 if it does not fit. */
static int build_row(Build *b, Value v, Affine *place) {
    const Node *node = graph_node(b->graph, v);
    uint32_t axes = row_axes(node);
    if (!canonical_place(b, row_shape(b->graph, node), axes, place))
        return unfit(b, "row operations over different rows");
    if (node->op == OP_cross_spectrum && !sums_agree(b, node, place))
        return unfit(b, "cross spectra that sum over different rows");
    if (__builtin_popcount(axes) > 3) return unfit(b, "a transform over more than three axes");
    int found = find_row(b, v);
    if (found >= 0) return found;
    RowOp row = {.node = v, .partner = NO_VALUE, .inputs = {NO_ITEM, NO_ITEM}};
    row.tables[0].is_constant = row.tables[1].is_constant = true; /* until an operand is one */
    bool fits = true;
    if (node->op == OP_grunwald_weights)
        place[node->type.shape.rank - 1] = affine_constant(0); /* one order per row */
    for (int i = 0; fits && i < node->nargs; i++) {
        bool is_table = (node->op == OP_spectral && i > 0) || (node->op == OP_causal_conv && i == 0);
        if (is_table)
            fits = table_of(b, node->args[i], place, axes, &row.tables[node->op == OP_spectral ? i - 1 : 0]);
        else
            fits = (row.inputs[row.ninputs++] = build_item(b, node->args[i], place, NO_GUARD)) != NO_ITEM;
    }
    canonical_place(b, row_shape(b->graph, node), axes, place);
    Kernel *k = b->kernel;
    if (k->nrows == MAX_ROW_OPS) return unfit(b, "too many row operations");
    if (!fits || !grow(b, &k->rows, &k->rows_capacity, k->nrows + 1, sizeof *k->rows)) return -1;
    k->rows[k->nrows] = row;
    return (int)k->nrows++;
}

static int item_row(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    Affine place[MAX_RANK] = {0};
    if (node->op == OP_rfft || node->op == OP_cross_spectrum)
        return unfit(b, "a spectrum used where it is made");
    int row = build_row(b, v, place);
    if (row < 0) return NO_ITEM;
    if (guard != NO_GUARD || !same_place(place, map, node->type.shape.rank))
        return unfit(b, "a row operation wanted at another place");
    Item item = new_item(ITEM_ROW, v, NO_ITEM, NO_GUARD);
    item.row = row;
    return add_item(b, item);
}

static int item_index(Build *b, Value v, const Affine *at) {
    Item item = new_item(ITEM_INDEX, v, NO_ITEM, NO_GUARD);
    item.at = *at;
    return add_item(b, item);
}

static int item_product(Build *b, Value v, const Affine *map, int guard) {
    if (v != b->kernel->product || guard != NO_GUARD || !same_place(b->place, map, b->shape.rank))
        return unfit(b, "a product wanted at another place");
    return add_item(b, new_item(ITEM_PRODUCT, v, NO_ITEM, NO_GUARD));
}

/* The element of v at `map` (one function of the loops per axis), needed where `guard` holds. */
int build_item(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    if (b->why) return NO_ITEM;
    if (stored_elsewhere(b, v)) return item_load(b, v, map, guard, v);
    if (op_is_pointwise(node->op)) return item_pointwise(b, v, map, guard);
    if (op_is_reduction(node->op)) return item_reduce(b, v, map, guard);
    if (is_row_op(node->op)) return item_row(b, v, map, guard);
    switch (node->op) {
    case OP_constant: return add_item(b, new_item(ITEM_CONSTANT, v, NO_ITEM, NO_GUARD));
    case OP_iota: return item_index(b, v, &map[node->attrs->axis]);
    case OP_reshape: return item_reshape(b, v, map, guard);
    case OP_pad: return item_pad(b, v, map, guard);
    case OP_concat: return item_concat(b, v, map, guard);
    case OP_transpose:
    case OP_broadcast:
    case OP_slice:
    case OP_flip: return item_moved(b, v, map, guard);
    case OP_matmul: return item_product(b, v, map, guard);
    default: return unfit(b, "an op that has no kernel");
    }
}

/* ---- Stores ---- */

/* rfft and cross spectra write by themselves: element `at` for the row, strides along the spectrum's axes. */
static bool store_spectrum(Build *b, Value v, Store *store) {
    const Node *node = graph_node(b->graph, v);
    Affine place[MAX_RANK] = {0};
    int64_t strides[MAX_RANK];
    store->row = build_row(b, v, place);
    if (store->row < 0) return false;
    uint32_t axes = node->attrs->axes;
    shape_strides(&node->type.shape, strides);
    for (int i = 0, n = 0; i < node->type.shape.rank; i++) {
        if (axes >> i & 1) store->stride[n++] = strides[i];
        if (axes >> i & 1 || node->type.shape.dims[i] == 1) place[i] = affine_constant(0);
    }
    store->at = affine_offset(place, &node->type.shape);
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
    if (!shape_size(&node->type.shape)) {
        if (!store_nothing(b, v, &store)) return;
    } else if (node->op == OP_rfft || node->op == OP_cross_spectrum) {
        if (!store_spectrum(b, v, &store)) return;
    } else {
        if (!store_place(b, &node->type.shape, map)) {
            unfit(b, "stores of different sizes");
            return;
        }
        store.at = affine_offset(map, &node->type.shape);
        store.item = build_item(b, v, map, NO_GUARD);
        if (store.item == NO_ITEM) return;
    }
    if (!grow(b, &k->stores, &k->stores_capacity, k->nstores + 1, sizeof *k->stores)) return;
    k->stores[k->nstores++] = store;
}

/* ---- The whole ---- */

/* Body and anchors: everything between the stores and what is stored elsewhere. */
static bool gather(Build *b) {
    const Graph *g = b->graph;
    bool *seen = mem_calloc(g->count, 1);
    if (!seen) return false;
    bool ok = true;
    for (size_t v = g->count; ok && v-- > 0;) {
        const Node *node = &g->nodes[v];
        if (node->kernel == b->kernel->id) seen[v] = true;
        if (!seen[v] || stored_elsewhere(b, (Value)v)) continue;
        ok = mem_grow(&b->body, &b->body_capacity, b->nbody + 1, sizeof *b->body) &&
             mem_grow(&b->anchors, &b->anchors_capacity, b->nanchors + 1, sizeof *b->anchors);
        if (!ok) break;
        b->body[b->nbody++] = (Value)v;
        if (op_is_reduction(node->op) || is_row_op(node->op)) b->anchors[b->nanchors++] = (Value)v;
        if (node->op == OP_matmul) b->nproducts++, b->kernel->product = (Value)v;
        for (int i = 0; i < node->nargs; i++) seen[node->args[i]] = true;
    }
    mem_free(seen);
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

static void build_rows(Build *b) {
    const Graph *g = b->graph;
    Value first = NO_VALUE;
    for (size_t v = 0; v < g->count && first == NO_VALUE; v++)
        if (g->nodes[v].kernel == b->kernel->id) first = (Value)v;
    if (b->nanchors)
        loops_of_anchor(b, choose_anchor(b));
    else
        loops_of_store(b, &graph_type(g, first)->shape);
    for (size_t v = 0; v < g->count && !b->why; v++)
        if (g->nodes[v].kernel == b->kernel->id) add_store(b, (Value)v);
    if (!b->why) assign_stages(b);
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
    for (size_t v = 0; v < b->graph->count && !b->why; v++)
        if (b->graph->nodes[v].kernel == k->id) add_store(b, (Value)v);
    k->nstages = 1;
    bool library = gemm_by_library(b->graph, k);
    if (!library || b->why) return;
    if (k->nstores == 1 && k->stores[0].node == k->product)
        k->kind = KERNEL_GEMM;
    else
        unfit(b, "a product left to the library");
}

/* Nothing above the stores is an input, and no store is an output (whose buffer each run must fill). */
static bool is_static(Build *b) {
    const Graph *g = b->graph;
    bool *varies = mem_calloc(g->count, 1), result = true;
    if (!varies) {
        b->out_of_memory = true;
        unfit(b, "out of memory");
        return false;
    }
    for (size_t v = 0; v < g->count; v++) {
        const Node *node = &g->nodes[v];
        varies[v] = node->op == OP_input || node->op == OP_param || node->op == OP_hole;
        for (int a = 0; a < node->nargs; a++) varies[v] |= varies[node->args[a]];
        if (node->kernel == b->kernel->id && varies[v]) result = false;
    }
    for (size_t i = 0; i < g->noutputs; i++)
        if (graph_node(g, g->outputs[i].value)->kernel == b->kernel->id) result = false;
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
        if (!kernel_schedule(graph, kernel)) unfit(&b, "rows too long to pass over twice");
    }
    mem_free(b.body);
    mem_free(b.anchors);
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
