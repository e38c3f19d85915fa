/* graph.c — the builder: nodes in topological order, hash-consed, with sticky errors; and rewriting of whole
 * graphs.
 *
 * Invariants: a node's operands come before it; two live nodes of one graph never agree in op, type, operands
 * and attributes; only attributes that the op lists are non-zero.
 */
#include "ir.h"
#include "fold.h"
#include <math.h>
#include <string.h>

/* ---- Graph ---- */

Graph *graph_create(const char *name, const char *file) {
    Graph *g = mem_calloc(1, sizeof *g);
    if (!g) return NULL;
    g->name = arena_strndup(&g->arena, name, strlen(name));
    g->file = arena_strndup(&g->arena, file, strlen(file));
    if (g->name && g->file) return g;
    graph_destroy(g);
    return NULL;
}

void graph_destroy(Graph *g) {
    if (!g) return;
    arena_free(&g->arena);
    mem_free(g->nodes);
    mem_free(g->outputs);
    mem_free(g->inputs);
    mem_free(g->checks);
    mem_free(g->words);
    mem_free(g->buckets);
    mem_free(g->notes);
    mem_free(g->layouts);
    mem_free(g);
}

FraxStatus graph_status(const Graph *g, FraxError *err) {
    if (!g->failed) return FRAX_OK;
    if (err) *err = g->error;
    return g->error.status;
}

Value graph_fail(Graph *g, FraxStatus status, const char *fmt, ...) {
    if (g->failed) return NO_VALUE;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(g->error.message, sizeof g->error.message, fmt, ap);
    va_end(ap);
    g->failed = true;
    g->error.status = status;
    g->error.line = g->loc.line;
    g->error.column = g->loc.column;
    return NO_VALUE;
}

static Value graph_fail_memory(Graph *g) {
    return graph_fail(g, FRAX_MEMORY, "out of memory while building graph %s", g->name);
}

static bool has_note(const Graph *g, Loc loc, const char *text) {
    for (size_t i = 0; i < g->nnotes; i++) {
        const Note *note = &g->notes[i];
        if (note->loc.line == loc.line && note->loc.column == loc.column && !strcmp(note->text, text))
            return true;
    }
    return false;
}

void graph_note(Graph *g, Loc loc, const char *fmt, ...) {
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (g->failed || has_note(g, loc, text)) return;
    const char *own = graph_intern(g, text);
    if (!own) return;
    if (mem_grow(&g->notes, &g->notes_capacity, g->nnotes + 1, sizeof *g->notes))
        g->notes[g->nnotes++] = (Note){loc, own};
    else
        graph_fail_memory(g);
}

const char *graph_intern(Graph *g, const char *s) {
    for (size_t i = 0; i < g->nwords; i++)
        if (!strcmp(g->words[i], s)) return g->words[i];
    const char *copy = arena_strndup(&g->arena, s, strlen(s));
    if (copy && mem_grow(&g->words, &g->words_capacity, g->nwords + 1, sizeof *g->words))
        return g->words[g->nwords++] = copy;
    graph_fail_memory(g);
    return NULL;
}

void graph_output_donated(Graph *g, const char *name, Value value, Value donated) {
    const char *own = graph_intern(g, name);
    if (g->failed || value == NO_VALUE) return;
    if (!mem_grow(&g->outputs, &g->outputs_capacity, g->noutputs + 1, sizeof *g->outputs)) {
        graph_fail_memory(g);
        return;
    }
    g->outputs[g->noutputs++] = (Output){own, value, donated, NULL};
}

void graph_output(Graph *g, const char *name, Value value) {
    graph_output_donated(g, name, value, NO_VALUE);
}

void graph_check(Graph *g, Value guard) {
    if (g->failed || guard == NO_VALUE) return;
    for (size_t i = 0; i < g->nchecks; i++)
        if (g->checks[i] == guard) return;
    if (!mem_grow(&g->checks, &g->checks_capacity, g->nchecks + 1, sizeof *g->checks))
        graph_fail_memory(g);
    else
        g->checks[g->nchecks++] = guard;
}

Value graph_checked(const Graph *g, size_t i) {
    Value v = graph_node(g, g->checks[i])->args[0];
    while (graph_node(g, v)->op == OP_reshape) v = graph_node(g, v)->args[0];
    return v;
}

/* ---- Hash-consing ---- */

static uint64_t hash_node(const Node *node) {
    const Attrs *at = node->attrs;
    uint64_t h =
        hash_bytes((uint64_t)node->op * 31 + (uint64_t)node->type.dtype, &node->type.shape.rank, sizeof(int));
    h = hash_bytes(h, node->type.shape.dims, sizeof(int64_t) * (size_t)node->type.shape.rank);
    h = hash_bytes(h, node->args, sizeof(Value) * (size_t)node->nargs);
#define X(flag, field, type, label, form)                                                                    \
    if (op_table[node->op].attrs & flag) h = hash_bytes(h, &at->field, sizeof at->field);
    ATTRS(X)
#undef X
    return h;
}

static bool same_node(const Node *a, const Node *b) {
    if (a->op != b->op || a->type.dtype != b->type.dtype || !shape_equal(&a->type.shape, &b->type.shape))
        return false;
    if (a->nargs != b->nargs) return false;
    if (a->nargs && memcmp(a->args, b->args, sizeof(Value) * (size_t)a->nargs)) return false;
#define X(flag, field, type, label, form)                                                                    \
    if (op_table[a->op].attrs & flag && memcmp(&a->attrs->field, &b->attrs->field, sizeof a->attrs->field))  \
        return false;
    ATTRS(X)
#undef X
    return true;
}

/* The bucket of an equal node, or the empty one where it belongs. */
static Value *find_bucket(const Graph *g, const Node *node) {
    size_t mask = g->nbuckets - 1;
    for (size_t i = hash_node(node) & mask;; i = (i + 1) & mask) {
        Value v = g->buckets[i];
        if (v == NO_VALUE || same_node(graph_node(g, v), node)) return &g->buckets[i];
    }
}

static bool grow_buckets(Graph *g) {
    if (g->count * 2 < g->nbuckets) return true;
    size_t n = g->nbuckets ? g->nbuckets * 2 : 256;
    Value *old = g->buckets, *buckets = mem_alloc(n * sizeof *buckets);
    if (!buckets) return false;
    for (size_t i = 0; i < n; i++) buckets[i] = NO_VALUE;
    g->buckets = buckets;
    g->nbuckets = n;
    for (size_t v = 0; v < g->count; v++) *find_bucket(g, &g->nodes[v]) = (Value)v;
    mem_free(old);
    return true;
}

Value graph_find(const Graph *g, const Node *node) {
    return g->nbuckets ? *find_bucket(g, node) : NO_VALUE;
}

/* ---- Emission ---- */

/* Only what the op lists, per-axis entries only up to the rank; one NaN stands for all, as in the text form.
 */
static Attrs clean_attrs(Op op, const Attrs *given, int rank) {
    Attrs at;
    memset(&at, 0, sizeof at);
    if (!given) return at;
#define X(flag, field, type, label, form)                                                                    \
    if (op_table[op].attrs & flag) memcpy(&at.field, &given->field, sizeof at.field);
    ATTRS(X)
#undef X
    for (int i = rank; i < MAX_RANK; i++) at.lo[i] = at.hi[i] = at.step[i] = at.perm[i] = 0;
    if (isnan(at.value)) at.value = NAN;
    if (isnan(at.value2)) at.value2 = NAN;
    return at;
}

static bool is_signature(Op op) {
    return op == OP_input || op == OP_param;
}

/* Enters the next node into the signature: inputs stand before params. */
static Value append_input(Graph *g, const Node *node) {
    for (size_t i = 0; i < g->ninputs; i++)
        if (!strcmp(graph_node(g, g->inputs[i])->attrs->name, node->attrs->name))
            return graph_fail(g, FRAX_NAME, "two inputs are called %s", node->attrs->name);
    if (!mem_grow(&g->inputs, &g->inputs_capacity, g->ninputs + 1, sizeof *g->inputs))
        return graph_fail_memory(g);
    size_t at = g->ninputs;
    while (node->op == OP_input && at > 0 && graph_node(g, g->inputs[at - 1])->op == OP_param) at--;
    memmove(g->inputs + at + 1, g->inputs + at, (g->ninputs - at) * sizeof *g->inputs);
    g->inputs[at] = (Value)g->count;
    g->ninputs++;
    return g->inputs[at];
}

static Value append_node(Graph *g, const Node *node) {
    if (g->count >= INT32_MAX) return graph_fail(g, FRAX_UNSUPPORTED, "more than 2^31−1 nodes");
    if (!mem_grow(&g->nodes, &g->capacity, g->count + 1, sizeof *g->nodes)) return graph_fail_memory(g);
    Attrs *attrs = arena_alloc(&g->arena, sizeof *attrs);
    Value *args = arena_alloc(&g->arena, sizeof *args * (size_t)MAX(node->nargs, 1));
    if (!attrs || !args) return graph_fail_memory(g);
    *attrs = *node->attrs;
    if (node->nargs) memcpy(args, node->args, sizeof *args * (size_t)node->nargs);
    if (is_signature(node->op) && append_input(g, node) == NO_VALUE) return NO_VALUE;
    Node *stored = &g->nodes[g->count];
    *stored = *node;
    stored->attrs = attrs;
    stored->args = args;
    stored->loc = g->loc;
    stored->kernel = -1;
    return (Value)g->count++;
}

Value graph_emit(Graph *g, Op op, const Value *args, int nargs, const Attrs *attrs, const Type *type) {
    if (g->failed) return NO_VALUE;
    for (int i = 0; i < nargs; i++)
        if (args[i] == NO_VALUE)
            return graph_fail(g, FRAX_INTERNAL, "%s: operand %d is missing", op_table[op].name, i);
    Node node = {.op = op, .nargs = nargs, .args = args};
    Attrs clean = clean_attrs(op, attrs, nargs ? graph_type(g, args[0])->shape.rank : MAX_RANK);
    node.attrs = &clean;
    FraxError err;
    FraxStatus status = infer_type(g, op, args, nargs, &clean, type, &node.type, &err);
    if (status) return graph_fail(g, status, "%s", err.message);
    Value folded = fold_node(g, &node);
    if (folded != NO_VALUE || g->failed) return folded;
    if (!grow_buckets(g)) return graph_fail_memory(g);
    Value *bucket = find_bucket(g, &node);
    if (*bucket != NO_VALUE) return *bucket;
    Value v = append_node(g, &node);
    if (v != NO_VALUE) *bucket = v;
    return v;
}

/* ---- Rewriting ---- */

void graph_live(const Graph *g, bool *live) {
    memset(live, 0, g->count);
    for (size_t i = 0; i < g->noutputs; i++) live[g->outputs[i].value] = true;
    for (size_t i = 0; i < g->ninputs; i++) live[g->inputs[i]] = true;
    for (size_t i = 0; i < g->nchecks; i++) live[g->checks[i]] = true;
    for (size_t v = g->count; v-- > 0;) {
        const Node *node = &g->nodes[v];
        if (live[v])
            for (int i = 0; i < node->nargs; i++) live[node->args[i]] = true;
    }
}

Value graph_copy_node(Graph *to, const Graph *from, Value v, const Value *args) {
    const Node *node = graph_node(from, v);
    if (!(op_table[node->op].attrs & A_NAME))
        return graph_emit(to, node->op, args, node->nargs, node->attrs, &node->type);
    Attrs attrs = *node->attrs;
    attrs.name = graph_intern(to, node->attrs->name);
    if (attrs.expected) attrs.expected = graph_intern(to, node->attrs->expected);
    if (to->failed) return NO_VALUE;
    return graph_emit(to, node->op, args, node->nargs, &attrs, &node->type);
}

static void rewrite_nodes(Graph *to, const Graph *from, const bool *live, Value *map, GraphRewrite *rewrite,
                          void *context) {
    Value *args = NULL;
    size_t capacity = 0;
    for (size_t v = 0; v < from->count && !to->failed; v++) {
        const Node *node = &from->nodes[v];
        if (!live[v]) continue;
        if (!mem_grow(&args, &capacity, (size_t)node->nargs, sizeof *args)) {
            graph_fail_memory(to);
            break;
        }
        for (int i = 0; i < node->nargs; i++) args[i] = map[node->args[i]];
        to->loc = node->loc;
        map[v] = rewrite ? rewrite(to, from, (Value)v, args, context) : NO_VALUE;
        if (map[v] == NO_VALUE) map[v] = graph_copy_node(to, from, (Value)v, args);
    }
    for (size_t i = 0; i < from->nchecks && !to->failed; i++) {
        Value check = map[from->checks[i]]; /* its operand, once that is known to be in range */
        if (graph_node(to, check)->op == OP_guard) graph_check(to, check);
    }
    for (size_t i = 0; i < from->noutputs && !to->failed; i++) {
        const Output *out = &from->outputs[i];
        graph_output_donated(to, out->name, map[out->value],
                             out->donated == NO_VALUE ? NO_VALUE : map[out->donated]);
        if (out->strides && !to->failed) graph_set_output_strides(to, i, out->strides);
    }
    for (size_t i = 0; i < from->nlayouts && !to->failed; i++)
        graph_set_strides(to, map[from->layouts[i].value], from->layouts[i].strides);
    mem_free(args);
}

static void copy_notes(Graph *to, const Graph *from) {
    for (size_t i = 0; i < from->nnotes; i++) graph_note(to, from->notes[i].loc, "%s", from->notes[i].text);
}

Graph *graph_rewrite(const Graph *from, GraphRewrite *rewrite, void *context, FraxError *err) {
    Graph *to = graph_create(from->name, from->file);
    bool *live = mem_alloc(from->count);
    Value *map = mem_alloc(from->count * sizeof *map);
    FraxStatus status = FRAX_OK;
    if (to && live && map) {
        graph_live(from, live);
        copy_notes(to, from);
        to->self_contained = from->self_contained;
        to->gpu = from->gpu;
        to->gpu_libraries = from->gpu_libraries;
        rewrite_nodes(to, from, live, map, rewrite, context);
        status = graph_status(to, err);
    } else {
        status = fail_memory(err, "rewriting a graph");
    }
    mem_free(live);
    mem_free(map);
    if (!status) return to;
    graph_destroy(to);
    return NULL;
}
