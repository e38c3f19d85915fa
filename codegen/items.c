/* items.c — the value of one item at the current place of the loops. Part of the rows template; see rows.h.
 *
 * A value is computed once where it is first asked for: items that do not vary along the row are emitted
 * before the pass that needs them, the others inside its loop, where they are forgotten after each step.
 */
#include "rows.h"

static Em no_mask(void) {
    return (Em){0};
}

EmType item_type(const Graph *g, const Item *item) {
    return em_type_of(graph_type(g, item->node)->dtype);
}

Em scratch_at(Rows *r, int64_t bytes) {
    const EmitterOps *o = r->e->ops;
    return o->pointer(r->e, r->params[1], o->index(r->e, bytes));
}

Em rows_affine(Rows *r, const Affine *a) {
    const EmitterOps *o = r->e->ops;
    Em sum = o->index(r->e, a->base);
    for (int l = 0; l < r->k->nloops; l++) {
        if (!a->coeff[l]) continue;
        Em term = a->coeff[l] == 1 ? r->loops[l]
                                   : o->index_op(r->e, INDEX_MUL, r->loops[l], o->index(r->e, a->coeff[l]));
        sum = o->index_op(r->e, INDEX_ADD, sum, term);
    }
    return sum;
}

int64_t rows_lane_stride(const Rows *r, const Affine *a) {
    return r->lane_loop < 0 ? 0 : a->coeff[r->lane_loop] * r->lane_step;
}

/* The address of a stored value's first element. */
Em rows_base(Rows *r, Value v) {
    const EmitterOps *o = r->e->ops;
    const Node *node = graph_node(r->graph, v);
    if (r->bases[v].ref) return r->bases[v];
    size_t field = 0;
    switch (node->region) {
    case REGION_ARENA: field = offsetof(KernelContext, arena); break;
    case REGION_STATIC: field = offsetof(KernelContext, statics); break;
    case REGION_INPUT: field = offsetof(KernelContext, inputs); break;
    default: field = offsetof(KernelContext, outputs); break;
    }
    Em base = o->load_pointer(r->e, r->params[0], (int64_t)field);
    if (node->region == REGION_INPUT || node->region == REGION_OUTPUT)
        base = o->load_pointer(r->e, base, node->offset * (int64_t)sizeof(void *));
    else
        base = o->pointer(r->e, base, o->index(r->e, node->offset));
    return r->bases[v] = base;
}

/* Linear position of lane 0 along the inner loops. */
Em rows_row_position(Rows *r) {
    Affine position = {0};
    int64_t stride = 1;
    for (int l = r->k->nloops - 1; l >= r->k->nouter; l--) {
        position.coeff[l] = stride;
        stride *= r->k->size[l];
    }
    return rows_affine(r, &position);
}

Em rows_kept_position(Rows *r) {
    Em at = rows_row_position(r);
    return r->origin.ref ? r->e->ops->index_op(r->e, INDEX_SUB, at, r->origin) : at;
}

int64_t rows_kept_length(const Rows *r) {
    return r->k->streams ? STREAM : kernel_inner_size(r->k);
}

FraxDType scratch_dtype(EmType type) {
    return type == EM_F64 ? FRAX_F64 : type == EM_I32 ? FRAX_I32 : type == EM_BOOL ? FRAX_BOOL : FRAX_F32;
}

static Em both(Rows *r, Em a, Em b) {
    if (!a.ref) return b;
    if (!b.ref) return a;
    return r->e->ops->arith(r->e, OP_and, a, b);
}

/* The guard and its parents as a mask; ref NULL for none. */
static Em guard_mask(Rows *r, int guard) {
    const EmitterOps *o = r->e->ops;
    Em mask = no_mask();
    for (; guard != NO_GUARD; guard = r->k->guards[guard].parent) {
        const Guard *g = &r->k->guards[guard];
        int64_t stride = rows_lane_stride(r, &g->index);
        Em index = o->index_lanes(r->e, rows_affine(r, &g->index), stride, stride ? r->lanes : 1);
        mask = both(r, mask, o->index_less(r->e, index, o->index(r->e, g->size)));
    }
    return mask;
}

static Em load_item(Rows *r, int i) {
    const Item *item = &r->k->items[i];
    Em value;
    if (tile_load(r, i, &value)) return value;
    int64_t stride = rows_lane_stride(r, &item->at);
    Em mask = guard_mask(r, item->guard);
    int lanes = stride || mask.lanes > 1 ? r->lanes : 1;
    if (lanes > 1) mask = both(r, mask, r->mask);
    FraxDType dtype = graph_type(r->graph, item->node)->dtype;
    return r->e->ops->load(r->e, rows_base(r, item->node), dtype, rows_affine(r, &item->at), stride, lanes,
                           mask);
}

static Em index_item(Rows *r, const Item *item) {
    int64_t stride = rows_lane_stride(r, &item->at);
    Em index = r->e->ops->index_lanes(r->e, rows_affine(r, &item->at), stride, stride ? r->lanes : 1);
    return r->e->ops->convert(r->e, index, item_type(r->graph, item));
}

static Em guarded_item(Rows *r, const Item *item) {
    Em yes = rows_value(r, item->args[0]);
    Em no = item->args[1] == NO_ITEM ? r->e->ops->constant(r->e, yes.type, 0) : rows_value(r, item->args[1]);
    return r->e->ops->select(r->e, guard_mask(r, item->guard), yes, no);
}

static Em pointwise_item(Rows *r, const Item *item) {
    const Node *node = graph_node(r->graph, item->node);
    Em args[3];
    for (int i = 0; i < node->nargs; i++) args[i] = rows_value(r, item->args[i]);
    return r->e->ops->pointwise(r->e, node, args);
}

/* Rows kept in scratch: with lanes across rows a full vector per position, else one element. */
static Em kept_row(Rows *r, int64_t bytes, EmType type) {
    const EmitterOps *o = r->e->ops;
    Em at = rows_kept_position(r);
    int lanes = r->lanes;
    if (r->across) at = o->index_op(r->e, INDEX_MUL, at, o->index(r->e, lanes));
    return o->load(r->e, scratch_at(r, bytes + r->half * r->apart), scratch_dtype(type), at, 1, lanes,
                   r->across ? no_mask() : r->mask);
}

static Em row_item(Rows *r, const Item *item) {
    Em now = r->pairs ? pairs_row_value(r, item->row) : (Em){0};
    return now.ref ? now : kept_row(r, r->result[item->row], item_type(r->graph, item));
}

static Em compute(Rows *r, int i) {
    const Item *item = &r->k->items[i];
    if (r->cached[i] >= 0 && r->pass > r->first_pass[i])
        return kept_row(r, r->cached[i], item_type(r->graph, item));
    switch (item->kind) {
    case ITEM_CONSTANT:
        return r->e->ops->constant(r->e, item_type(r->graph, item),
                                   graph_node(r->graph, item->node)->attrs->value);
    case ITEM_INDEX: return index_item(r, item);
    case ITEM_LOAD: return load_item(r, i);
    case ITEM_GUARDED: return guarded_item(r, item);
    case ITEM_ROUNDED:
        return r->e->ops->round_to(r->e, rows_value(r, item->args[0]),
                                   graph_type(r->graph, item->node)->dtype);
    case ITEM_ROW: return row_item(r, item);
    default: return pointwise_item(r, item);
    }
}

Em rows_value(Rows *r, int i) {
    if (!r->known[i]) {
        r->values[i] = compute(r, i);
        r->known[i] = true;
    }
    return r->values[i];
}

void rows_forget(Rows *r, bool inner_only) {
    for (size_t i = 0; i < r->k->nitems; i++)
        if (!inner_only || r->k->items[i].inner) r->known[i] = false;
}
