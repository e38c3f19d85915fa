/* kernel_items.c — the walk from a wanted element down to stored values: each node on the way becomes an item
 * at an affine place.
 *
 * Shape ops change the place and make no item; pads and concatenations add guards; reductions and row
 * operations may only be wanted at the row that the loops stand at. Whatever does not fit ends the walk with
 * a reason (unfit).
 */
#include "kernel_internal.h"
#include <string.h>

enum { MAX_ITEMS = 600, MAX_LOADS = 40 };

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

int add_item(Build *b, Item item) {
    Kernel *k = b->kernel;
    int same = find_item(b, item.node, item.kind, &item.at, item.guard);
    if (same != NO_ITEM) {
        const Item *found = &k->items[same];
        if (!memcmp(found->args, item.args, sizeof item.args) && found->row == item.row) return same;
    }
    if (k->nitems >= MAX_ITEMS) return unfit(b, "too many operations");
    if (!build_grow(b, &k->items, &k->items_capacity, k->nitems + 1, sizeof *k->items)) return NO_ITEM;
    k->items[k->nitems] = item;
    return (int)k->nitems++;
}

static int add_guard(Build *b, Guard guard) {
    Kernel *k = b->kernel;
    for (size_t i = 0; i < k->nguards; i++)
        if (k->guards[i].parent == guard.parent && k->guards[i].size == guard.size &&
            affine_equal(&k->guards[i].index, &guard.index))
            return (int)i;
    if (!build_grow(b, &k->guards, &k->guards_capacity, k->nguards + 1, sizeof *k->guards))
        return guard.parent;
    k->guards[k->nguards] = guard;
    return (int)k->nguards++;
}

Item new_item(ItemKind kind, Value node, int arg, int guard) {
    return (Item){.kind = kind, .node = node, .args = {arg, NO_ITEM, NO_ITEM}, .guard = guard, .row = -1};
}

/* The element of v at `map` in the array of `stored`: v, or what v is a reshape of. */
static bool place_in(Build *b, Value v, const Affine *map, Value stored, Affine *at) {
    const Shape *shape = &graph_type(b->graph, v)->shape, *from = &graph_type(b->graph, stored)->shape;
    const int64_t *strides = stored_strides(b->graph, stored);
    int64_t own[MAX_RANK];
    Affine dense = affine_offset(map, shape), moved[MAX_RANK];
    *at = dense; /* the same bytes under another shape */
    if (!strides) return true;
    if (v == stored) {
        *at = affine_place(map, shape->rank, strides);
    } else if (strides_reshape(from, strides, shape, own)) {
        *at = affine_place(map, shape->rank, own);
    } else if (affine_unravel(&dense, from, b->kernel->size, b->kernel->nloops, moved)) {
        *at = affine_place(moved, from->rank, strides);
    } else {
        unfit(b, "a reshape of a strided array that is not affine here");
        return false;
    }
    return true;
}

static int item_load(Build *b, Value v, const Affine *map, int guard, Value stored) {
    Item item = new_item(ITEM_LOAD, stored, NO_ITEM, guard);
    if (!place_in(b, v, map, stored, &item.at)) return NO_ITEM;
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
    if (stored_elsewhere(b, stored)) return item_load(b, v, map, guard, stored);
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
    const Shape *shape = row_shape(b, v);
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
bool table_of(Build *b, Value v, const Affine *place, uint32_t axes, Table *table) {
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
    const int64_t *given = table->is_constant ? NULL : stored_strides(b->graph, stored);
    shape_strides(shape, strides);
    if (given && !strides_reshape(&node->type.shape, given, shape, strides)) {
        unfit(b, "a table that is a reshape of a strided array");
        return false;
    }
    for (int i = 0, n = 0; i < shape->rank; i++) {
        across[i] = axes >> i & 1 || shape->dims[i] == 1 ? affine_constant(0) : place[i];
        if (axes >> i & 1 && n < 3) table->stride[n++] = strides[i];
    }
    table->at = affine_place(across, shape->rank, strides);
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

/* Which table of a row operation its operand i is; −1 for a row. */
static int table_number(Op op, int i) {
    switch (op) {
    case OP_spectral:
    case OP_exponential_conv: return i - 1;
    case OP_exponential_correlation: return i == 2 ? 1 : -1;
    case OP_causal_conv: return i == 0 ? 0 : -1;
    default: return -1;
    }
}

/* Rows that two nodes describe, one part of the spectrum each, are transformed together. */
static bool other_part(const Node *a, const Node *b) {
    if (a->op != b->op || (a->op != OP_cross_spectrum && a->op != OP_rfft)) return false;
    bool same = a->attrs->axes == b->attrs->axes && a->attrs->sum == b->attrs->sum;
    for (int i = 0; i < a->nargs; i++) same = same && a->args[i] == b->args[i];
    return same;
}

static int find_row(const Build *b, Value v) {
    const Node *node = graph_node(b->graph, v);
    for (size_t r = 0; r < b->kernel->nrows; r++) {
        RowOp *row = &b->kernel->rows[r];
        if (row->node == v || row->partner == v) return (int)r;
        if (row->partner != NO_VALUE || !other_part(node, graph_node(b->graph, row->node))) continue;
        row->partner = v;
        return (int)r;
    }
    return -1;
}

/* A filter's part as a table; a sign before it costs nothing, so that K and conj K are one table. */
static bool filter_table(Build *b, Value v, const Affine *place, uint32_t axes, Table *table) {
    bool negated = false;
    while (graph_node(b->graph, v)->op == OP_neg && graph_node(b->graph, v)->kernel < 0) {
        v = graph_node(b->graph, v)->args[0];
        negated = !negated;
    }
    bool fits = table_of(b, v, place, axes, table);
    table->negated = negated;
    return fits;
}

/* The row operation of node v, made on first use; −1 if it does not fit. */
int build_row(Build *b, Value v, Affine *place) {
    const Node *node = graph_node(b->graph, v);
    uint32_t axes = row_axes(node);
    if (!canonical_place(b, row_shape(b, v), axes, place))
        return unfit(b, "row operations over different rows");
    if (node->op == OP_cross_spectrum && !sums_agree(b, node, place))
        return unfit(b, "cross spectra that sum over different rows");
    if (node->op == OP_causal_correlation && (node->attrs->sum || b->kernel->nsummed))
        return unfit(b, "a correlation beside sums over rows");
    if (__builtin_popcount(axes) > 3) return unfit(b, "a transform over more than three axes");
    int found = find_row(b, v);
    if (found >= 0) return found;
    RowOp row = {.node = v, .partner = NO_VALUE, .inputs = {NO_ITEM, NO_ITEM}};
    row.tables[0].is_constant = row.tables[1].is_constant = true; /* until an operand is one */
    bool fits = true;
    if (node->op == OP_grunwald_weights)
        place[node->type.shape.rank - 1] = affine_constant(0); /* one order per row */
    for (int i = 0; fits && i < node->nargs; i++) {
        int table = table_number(node->op, i);
        if (table >= 0 && node->op == OP_spectral)
            fits = filter_table(b, node->args[i], place, axes, &row.tables[table]);
        else if (table >= 0)
            fits = table_of(b, node->args[i], place, axes, &row.tables[table]);
        else
            fits =
                (row.inputs[row.ninputs++] = build_item(b, row_operand(b, v, i), place, NO_GUARD)) != NO_ITEM;
    }
    canonical_place(b, row_shape(b, v), axes, place);
    Kernel *k = b->kernel;
    if (k->nrows == MAX_ROW_OPS) return unfit(b, "too many row operations");
    if (!fits || !build_grow(b, &k->rows, &k->rows_capacity, k->nrows + 1, sizeof *k->rows)) return -1;
    k->rows[k->nrows] = row;
    return (int)k->nrows++;
}

static int item_row(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
    Affine place[MAX_RANK] = {0};
    if (writes_itself(node->op)) return unfit(b, "a spectrum or correlation used where it is made");
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

/* ---- Values that are used more than once are walked down from once for each place ---- */

static int find_visit(const Build *b, Value v, const Affine *map, int guard) {
    int rank = graph_type(b->graph, v)->shape.rank;
    for (int i = b->buckets[(size_t)v % VISIT_BUCKETS]; i; i = b->visits[i - 1].next) {
        const Visit *visit = &b->visits[i - 1];
        if (visit->value == v && visit->guard == guard && same_place(&b->places[visit->place], map, rank))
            return visit->item;
    }
    return NO_ITEM;
}

static void add_visit(Build *b, Value v, const Affine *map, int guard, int item) {
    size_t rank = (size_t)graph_type(b->graph, v)->shape.rank;
    int *bucket = &b->buckets[(size_t)v % VISIT_BUCKETS];
    if (!build_grow(b, &b->visits, &b->visits_capacity, b->nvisits + 1, sizeof *b->visits) ||
        !build_grow(b, &b->places, &b->places_capacity, b->nplaces + rank + 1, sizeof *b->places))
        return;
    b->visits[b->nvisits++] = (Visit){v, guard, item, b->nplaces, *bucket};
    *bucket = (int)b->nvisits;
    memcpy(&b->places[b->nplaces], map, rank * sizeof *map);
    b->nplaces += rank;
}

static int walk_down(Build *b, Value v, const Affine *map, int guard) {
    const Node *node = graph_node(b->graph, v);
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

/* A value of 16 bits that is stored and used as well is the same for all who use it, in this kernel and in
   others: a mask x == max(x) has to be true somewhere. */
static int item_as_stored(Build *b, Value v, int item) {
    const Node *node = graph_node(b->graph, v);
    bool is_shared = node->kernel == b->kernel->id && b->uses[v] && dtype_is_half(node->type.dtype);
    if (item == NO_ITEM || !is_shared || b->kernel->items[item].kind == ITEM_LOAD) return item;
    return add_item(b, new_item(ITEM_ROUNDED, v, item, NO_GUARD));
}

/* The element of v at `map` (one function of the loops per axis), needed where `guard` holds. */
int build_item(Build *b, Value v, const Affine *map, int guard) {
    if (b->why) return NO_ITEM;
    if (stored_elsewhere(b, v)) return item_load(b, v, map, guard, v);
    if (b->uses[v] < 2) return item_as_stored(b, v, walk_down(b, v, map, guard));
    int item = find_visit(b, v, map, guard);
    if (item != NO_ITEM) return item;
    item = item_as_stored(b, v, walk_down(b, v, map, guard));
    if (item != NO_ITEM) add_visit(b, v, map, guard, item);
    return item;
}
