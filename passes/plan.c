/* plan.c — gives every stored value its place: static tables, the caller's output buffers, or one arena
 * shared by all temporaries of a run.
 *
 * Kernels run in the order of their numbers. A temporary lives from the kernel that stores it to the last one
 * that reads it; values whose lives do not meet share memory, and a value may take over the buffer of an
 * operand that dies where it is born. Slots are placed one after the other at the lowest free offset; of a
 * few orders the one that needs least is kept.
 */
#include "kernel.h"
#include "passes.h"
#include <stdlib.h>
#include <string.h>

enum { ALIGNMENT = 64 };

typedef struct Slot {
    size_t bytes;
    int64_t offset;
    int first, last; /* kernels */
    int taken;       /* the kernel whose store last took it over; only one store may */
} Slot;

typedef struct Plan {
    Graph *g;
    Kernel *kernels;
    int nkernels;
    int *last_read; /* per node: the last kernel that reads it, or its own */
    int *slot;      /* per node: its slot, or −1 */
    Slot *slots;
    size_t nslots;
    int64_t static_bytes;
} Plan;

static size_t padded_bytes(const Graph *g, Value v) {
    return (type_bytes(graph_type(g, v)) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* ---- Who reads what ---- */

static void collect_reads(Plan *p) {
    Value v;
    for (size_t i = 0; i < p->g->count; i++) p->last_read[i] = p->g->nodes[i].kernel;
    for (int k = 0; k < p->nkernels; k++)
        for (size_t at = 0; (v = kernel_next_read(&p->kernels[k], &at)) != NO_VALUE;)
            p->last_read[v] = MAX(p->last_read[v], k);
}

/* ---- Outputs ---- */

/* A donated buffer may be overwritten by the kernel that reads it last, element by element. */
static bool may_overwrite(const Plan *p, const Output *out) {
    int k = graph_node(p->g, out->value)->kernel;
    if (p->last_read[out->donated] > k) return false;
    const Kernel *kernel = &p->kernels[k];
    if (p->last_read[out->donated] < k) return true;
    for (size_t i = 0; i < kernel->nstores; i++)
        if (kernel->stores[i].node == out->value)
            return kernel_in_place(p->g, kernel, &kernel->stores[i], out->donated);
    return false;
}

/* Kernels store a value as the first output that names it wants it. */
static bool lies_as_stored(const Plan *p, const Output *out) {
    const int64_t *own = stored_strides(p->g, out->value);
    if (!own || !out->strides) return own == out->strides;
    return !memcmp(own, out->strides, sizeof *own * (size_t)graph_type(p->g, out->value)->shape.rank);
}

/* The first output that names a stored value is written in place; others, and inputs returned as they are,
   are copied. A donated value that cannot be overwritten while it is read goes through the arena. */
static void place_outputs(Plan *p) {
    for (size_t i = 0; i < p->g->noutputs; i++) { /* an input that is returned is read at the end */
        Value v = p->g->outputs[i].value;
        if (p->g->nodes[v].kernel < 0) p->last_read[v] = p->nkernels;
    }
    for (size_t i = 0; i < p->g->nchecks; i++) { /* an input is checked before the run, the others after it */
        Value v = graph_checked(p->g, i);
        if (p->g->nodes[v].kernel >= 0) p->last_read[v] = p->nkernels;
    }
    for (size_t i = 0; i < p->g->noutputs; i++) {
        const Output *out = &p->g->outputs[i];
        Node *node = &p->g->nodes[out->value];
        if (node->kernel < 0 || node->region != REGION_NONE || !lies_as_stored(p, out)) continue;
        if (out->donated != NO_VALUE && !may_overwrite(p, out)) continue;
        node->region = REGION_OUTPUT;
        node->offset = (int64_t)i;
    }
    for (size_t i = 0; i < p->g->noutputs; i++) {
        Value v = p->g->outputs[i].value;
        if (p->g->nodes[v].region == REGION_NONE && p->g->nodes[v].kernel >= 0)
            p->last_read[v] = p->nkernels; /* copied at the end */
    }
}

/* ---- Temporaries ---- */

/* The slot of an operand that dies in this kernel and can be overwritten by this store, or −1. */
static int dying_slot(const Plan *p, const Kernel *kernel, const Store *store) {
    size_t bytes = padded_bytes(p->g, store->node);
    for (size_t i = 0; i < kernel->nitems; i++) {
        const Item *item = &kernel->items[i];
        if (item->kind != ITEM_LOAD || p->slot[item->node] < 0) continue;
        int s = p->slot[item->node];
        if (p->slots[s].last != kernel->id || p->slots[s].taken == kernel->id || p->slots[s].bytes != bytes)
            continue;
        if (p->last_read[item->node] == kernel->id && kernel_in_place(p->g, kernel, store, item->node))
            return s;
    }
    return -1;
}

static void place_static(Plan *p, Node *node, Value v) {
    node->region = REGION_STATIC;
    node->offset = p->static_bytes;
    p->static_bytes += (int64_t)padded_bytes(p->g, v);
}

static void assign_slots(Plan *p) {
    for (int k = 0; k < p->nkernels; k++) {
        const Kernel *kernel = &p->kernels[k];
        for (size_t i = 0; i < kernel->nstores; i++) {
            Value v = kernel->stores[i].node;
            Node *node = &p->g->nodes[v];
            if (node->region == REGION_OUTPUT) continue;
            if (kernel->is_static) {
                place_static(p, node, v);
                continue;
            }
            node->region = REGION_ARENA;
            int s = dying_slot(p, kernel, &kernel->stores[i]);
            if (s < 0) {
                s = (int)p->nslots++;
                p->slots[s] = (Slot){.bytes = padded_bytes(p->g, v), .offset = -1, .first = k};
            }
            p->slots[s].last = MAX(p->last_read[v], k);
            p->slots[s].taken = k;
            p->slot[v] = s;
        }
    }
}

/* ---- Orders of placing: large slots first, or those that are in the way for long, or as they are born ----
 */

static int descending(double a, double b) {
    return (a < b) - (a > b);
}

static int in_turn(const Slot *x, const Slot *y) {
    return x->first != y->first ? (x->first > y->first) - (x->first < y->first) : (x > y) - (x < y);
}

static int by_size(const void *a, const void *b) {
    const Slot *x = *(Slot *const *)a, *y = *(Slot *const *)b;
    int order = descending((double)x->bytes, (double)y->bytes);
    return order ? order : in_turn(x, y);
}

static double extent(const Slot *slot) {
    return (double)slot->bytes * (slot->last - slot->first + 1);
}

static int by_extent(const void *a, const void *b) {
    const Slot *x = *(Slot *const *)a, *y = *(Slot *const *)b;
    int order = descending(extent(x), extent(y));
    return order ? order : in_turn(x, y);
}

static int by_birth(const void *a, const void *b) {
    const Slot *x = *(Slot *const *)a, *y = *(Slot *const *)b;
    return in_turn(x, y);
}

typedef int Order(const void *, const void *);
static Order *const orders[] = {by_size, by_extent, by_birth};

/* The lowest offset where the slot meets no placed slot that lives at the same time. */
static void place_slot(Slot **order, size_t placed, Slot *slot) {
    int64_t offset = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < placed; i++) {
            const Slot *other = order[i];
            bool together = other->first <= slot->last && slot->first <= other->last;
            bool meets = offset < other->offset + (int64_t)other->bytes &&
                         other->offset < offset + (int64_t)slot->bytes;
            if (!together || !meets) continue;
            offset = other->offset + (int64_t)other->bytes;
            moved = true;
        }
    }
    slot->offset = offset;
}

/* Places all slots in this order and returns the end of the arena. */
static int64_t place_in_order(Plan *p, Slot **order, Order *compare) {
    int64_t end = 0;
    qsort(order, p->nslots, sizeof *order, compare);
    for (size_t i = 0; i < p->nslots; i++) {
        place_slot(order, i, order[i]);
        end = MAX(end, order[i]->offset + (int64_t)order[i]->bytes);
    }
    return end;
}

/* Keeps the order that needs least. */
static bool place_slots(Plan *p) {
    Slot **order = mem_alloc(sizeof *order * MAX(p->nslots, 1));
    if (!order) return false;
    for (size_t i = 0; i < p->nslots; i++) order[i] = &p->slots[i];
    size_t best = 0;
    int64_t least = INT64_MAX;
    for (size_t i = 0; i < COUNT(orders); i++) {
        int64_t end = place_in_order(p, order, orders[i]);
        if (end < least) least = end, best = i;
    }
    place_in_order(p, order, orders[best]);
    mem_free(order);
    for (size_t v = 0; v < p->g->count; v++)
        if (p->slot[v] >= 0) p->g->nodes[v].offset = p->slots[p->slot[v]].offset;
    return true;
}

/* ---- The pass ---- */

/* A copy with the kernel numbers; a fused graph is already folded, so nodes keep their places. */
static Graph *copy_with_kernels(const Graph *graph, FraxError *err) {
    Graph *g = graph_rewrite(graph, NULL, NULL, err);
    if (!g) return NULL;
    if (g->count != graph->count) {
        fail(err, FRAX_INTERNAL, "plan: the fused graph holds nodes that nothing needs");
        graph_destroy(g);
        return NULL;
    }
    for (size_t v = 0; v < g->count; v++) g->nodes[v].kernel = graph->nodes[v].kernel;
    return g;
}

static FraxStatus build_each(Plan *p, FraxError *err) {
    for (int k = 0; k < p->nkernels; k++) {
        bool fits;
        const char *why;
        kernel_free(&p->kernels[k]);
        if (!kernel_build(p->g, k, &p->kernels[k], &fits, &why, err)) return FRAX_MEMORY;
        if (!fits) return fail(err, FRAX_INTERNAL, "plan: kernel %d cannot be built: %s", k, why);
    }
    return FRAX_OK;
}

/* An output that goes through the arena after all lies densely there: its kernels change. */
static FraxStatus settle_strides(Plan *p, FraxError *err) {
    bool changed = false;
    for (size_t i = 0; i < p->g->noutputs; i++) {
        Node *node = &p->g->nodes[p->g->outputs[i].value];
        if (!p->g->outputs[i].strides || node->kernel < 0 || node->region != REGION_NONE) continue;
        node->region = REGION_ARENA;
        changed = true;
    }
    return changed ? build_each(p, err) : FRAX_OK;
}

static FraxStatus build_kernels(Plan *p, FraxError *err) {
    for (size_t v = 0; v < p->g->count; v++) p->nkernels = MAX(p->nkernels, p->g->nodes[v].kernel + 1);
    p->kernels = mem_calloc((size_t)MAX(p->nkernels, 1), sizeof *p->kernels);
    p->last_read = mem_calloc(p->g->count, sizeof *p->last_read);
    p->slot = mem_alloc(p->g->count * sizeof *p->slot);
    p->slots = mem_alloc(p->g->count * sizeof *p->slots);
    if (!p->kernels || !p->last_read || !p->slot || !p->slots) return fail_memory(err, "planning memory");
    for (size_t v = 0; v < p->g->count; v++) p->slot[v] = -1;
    return build_each(p, err);
}

Graph *pass_plan(const Graph *graph, FraxError *err) {
    Graph *g = copy_with_kernels(graph, err);
    if (!g) return NULL;
    Plan p = {.g = g};
    for (size_t i = 0; i < g->ninputs; i++) {
        g->nodes[g->inputs[i]].region = REGION_INPUT;
        g->nodes[g->inputs[i]].offset = (int64_t)i;
    }
    FraxStatus status = build_kernels(&p, err);
    if (!status) {
        collect_reads(&p);
        place_outputs(&p);
        status = settle_strides(&p, err);
    }
    if (!status) {
        assign_slots(&p);
        if (!place_slots(&p)) status = fail_memory(err, "planning memory");
    }
    for (int k = 0; p.kernels && k < p.nkernels; k++) kernel_free(&p.kernels[k]);
    mem_free(p.kernels);
    mem_free(p.last_read);
    mem_free(p.slot);
    mem_free(p.slots);
    if (!status) return g;
    graph_destroy(g);
    return NULL;
}
