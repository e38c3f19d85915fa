/* stream.c — the graph of a whole signal becomes the graph of one chunk of it, with explicit state.
 *
 * The walk goes once over the live nodes and gives each a Flow: where its streamed axis is, and by how many
 * samples it lags behind the input. stream_rules.c knows what each op does to flows; what remembers the past
 * becomes a state. A value that the signal does not reach stays whole; where it meets a streamed one (iota,
 * a constant, something broadcast) its twin, the same value taken as streamed, is used.
 *
 * The graph is lowered for the whole signal, not for a chunk: numbers made of the size (a mean, a bank of
 * exponentials) keep their values, and a kernel longer than a chunk is not cut.
 */
#include "stream_internal.h"
#include <inttypes.h>
#include <string.h>

Flow stream_fail(Streamer *s, const char *fmt, ...) {
    char text[640];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    graph_fail(s->to, FRAX_SHAPE, "streaming %s: %s", s->spec->size, text);
    return no_flow;
}

/* ---- States ---- */

static Value add_state(Streamer *s, Value value) {
    if (value == NO_VALUE) return NO_VALUE;
    if (!mem_grow(&s->states, &s->states_capacity, s->nstates + 1, sizeof *s->states))
        return graph_fail(s->to, FRAX_MEMORY, "out of memory for the states of a stream");
    s->states[s->nstates++] = (State){value, NO_VALUE};
    return value;
}

Value state_input(Streamer *s, Type type) {
    char name[32];
    size_t number = s->nstates - (s->offset != NO_VALUE);
    snprintf(name, sizeof name, "state.%zu", number);
    return add_state(s, s->to->failed ? NO_VALUE : g_input(s->to, name, type));
}

void state_next(Streamer *s, Value state, Value next) {
    for (size_t i = 0; i < s->nstates; i++)
        if (s->states[i].value == state) s->states[i].next = next;
}

/* Twins ask for it that may never be used; a hole stands for it until that is known. */
Value stream_offset(Streamer *s) {
    if (s->offset != NO_VALUE || s->to->failed) return s->offset;
    s->offset = add_state(s, g_hole(s->to, (Type){FRAX_F64, SCALAR}, 0));
    state_next(s, s->offset, g_shift(s->to, s->offset, (double)s->spec->chunk));
    return s->offset;
}

static void output_states(Streamer *s, bool with_offset) {
    for (size_t i = 0; i < s->nstates && !s->to->failed; i++) {
        const State *state = &s->states[i];
        bool is_offset = state->value == s->offset;
        if (is_offset && !with_offset) continue;
        graph_output_donated(s->to, is_offset ? STREAM_OFFSET : graph_node(s->to, state->value)->attrs->name,
                             state->next, state->value);
    }
}

/* Outputs the states, that of the offset if anything else depends on it. */
static void finish_states(Streamer *s) {
    size_t own = s->to->noutputs;
    bool used = s->counts;
    output_states(s, false);
    if (s->offset == NO_VALUE || s->to->failed) return;
    bool *live = mem_alloc(s->to->count);
    if (live) {
        graph_live(s->to, live);
        used |= live[s->offset];
        mem_free(live);
    } else {
        graph_fail(s->to, FRAX_MEMORY, "out of memory for the states of a stream");
    }
    s->to->noutputs = own;
    output_states(s, used);
    s->nstates -= !used;
}

static Value offset_as_input(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)args;
    (void)context;
    const Node *node = graph_node(from, v);
    return node->op == OP_hole ? g_input(to, STREAM_OFFSET, node->type) : NO_VALUE;
}

/* ---- Nodes ---- */

Type chunk_type(const Streamer *s, const Type *type, int axis) {
    Type chunk = *type;
    if (axis != NOT_STREAMED) chunk.shape.dims[axis] = s->spec->chunk;
    return chunk;
}

Value emit_chunk(Streamer *s, const Node *node, const Value *args, int axis) {
    Attrs attrs = *node->attrs;
    Type type = chunk_type(s, &node->type, axis);
    if (attrs.name) attrs.name = graph_intern(s->to, attrs.name);
    if (attrs.expected) attrs.expected = graph_intern(s->to, attrs.expected);
    if (s->to->failed) return NO_VALUE;
    if (node->op == OP_slice && axis != NOT_STREAMED) {
        attrs.lo[axis] = 0;
        attrs.hi[axis] = s->spec->chunk;
    }
    return graph_emit(s->to, node->op, args, node->nargs, &attrs, &type);
}

/* All of the signature first, so that states stand behind it. */
static void stream_inputs(Streamer *s) {
    for (size_t i = 0; i < s->from->ninputs && !s->to->failed; i++) {
        Value v = s->from->inputs[i];
        const Node *node = graph_node(s->from, v);
        int axis = s->spec->axes[i];
        s->to->loc = node->loc;
        if (axis != NOT_STREAMED && node->type.shape.dims[axis] != s->spec->length)
            graph_fail(s->to, FRAX_INTERNAL, "input %s has no axis of %" PRId64 " samples", node->attrs->name,
                       s->spec->length);
        s->flows[v] = (Flow){emit_chunk(s, node, NULL, axis), axis, 0, false};
    }
}

/* A node that the signal reaches only through whole values, if at all. */
static Flow whole_node(Streamer *s, const Node *node, const Flow *args, Value *values) {
    Flow flow = {.axis = NOT_STREAMED};
    for (int i = 0; i < node->nargs; i++) {
        values[i] = args[i].value;
        flow.delay = MAX(flow.delay, args[i].delay);
    }
    flow.value = emit_chunk(s, node, values, NOT_STREAMED);
    return flow;
}

typedef struct Operands {
    Flow *flows;
    Value *values;
    size_t flows_capacity, values_capacity;
} Operands;

static void walk_node(Streamer *s, Value v, Operands *o) {
    const Node *node = graph_node(s->from, v);
    bool streamed = false;
    s->to->loc = node->loc;
    if (!mem_grow(&o->flows, &o->flows_capacity, (size_t)node->nargs, sizeof *o->flows) ||
        !mem_grow(&o->values, &o->values_capacity, (size_t)node->nargs, sizeof *o->values)) {
        graph_fail(s->to, FRAX_MEMORY, "out of memory while streaming graph %s", s->from->name);
        return;
    }
    for (int i = 0; i < node->nargs; i++) {
        o->flows[i] = s->flows[node->args[i]];
        streamed |= o->flows[i].axis != NOT_STREAMED;
    }
    if (streamed || node->op == OP_guard) {
        s->flows[v] = stream_node(s, node, o->flows);
    } else {
        s->flows[v] = whole_node(s, node, o->flows, o->values);
        stream_twins(s, v);
    }
}

static void walk(Streamer *s, const bool *live) {
    Operands operands = {0};
    size_t all = s->from->count * MAX_RANK;
    for (size_t i = 0; i < all; i++) s->twins[i] = no_flow;
    stream_inputs(s);
    for (size_t v = 0; v < s->from->count && !s->to->failed; v++) {
        Op op = graph_node(s->from, (Value)v)->op;
        if (live[v] && op != OP_input && op != OP_param) walk_node(s, (Value)v, &operands);
    }
    mem_free(operands.flows);
    mem_free(operands.values);
}

/* ---- Outputs ---- */

static void stream_output(Streamer *s, const Output *out, StreamPlace *place) {
    const Node *node = graph_node(s->from, out->value);
    Flow f = s->flows[out->value];
    bool streamed = f.axis != NOT_STREAMED;
    int64_t n = streamed ? node->type.shape.dims[f.axis] : 1;
    *place = (StreamPlace){f.axis, f.delay, n};
    s->to->loc = node->loc;
    if (f.delay + n > s->spec->length)
        stream_fail(s, "output %s looks ahead, or is longer than the signal, by %" PRId64, out->name,
                    f.delay + n - s->spec->length);
    else
        graph_output(s->to, out->name, f.value);
}

static Graph *finish_graph(Graph *g, FraxError *err) {
    Graph *clean = graph_rewrite(g, offset_as_input, NULL, err);
    graph_destroy(g);
    return clean;
}

/* Derivatives of the user's own have done their work: a custom node is the value of its first operand. */
static Value custom_as_value(Graph *to, const Graph *from, Value v, const Value *args, void *context) {
    (void)to;
    (void)context;
    return graph_node(from, v)->op == OP_custom ? args[0] : NO_VALUE;
}

/* Fills s->to; what happens on the way is in its status. False when out of memory. */
static bool stream_all(Streamer *s, StreamPlace *outputs) {
    size_t n = MAX(s->from->count, 1);
    bool *live = mem_alloc(n);
    s->flows = mem_calloc(n, sizeof *s->flows);
    s->twins = mem_calloc(n, MAX_RANK * sizeof *s->twins);
    bool made = live && s->flows && s->twins;
    if (made) {
        graph_live(s->from, live);
        walk(s, live);
        for (size_t i = 0; i < s->from->noutputs && !s->to->failed; i++)
            stream_output(s, &s->from->outputs[i], &outputs[i]);
        finish_states(s);
        for (size_t i = 0; i < s->from->nnotes; i++)
            graph_note(s->to, s->from->notes[i].loc, "%s", s->from->notes[i].text);
    }
    mem_free(live);
    mem_free(s->flows);
    mem_free(s->twins);
    mem_free(s->states);
    return made;
}

Graph *stream_graph(const Graph *graph, const StreamSpec *spec, StreamPlace *outputs, size_t *nstates,
                    FraxError *err) {
    Graph *from = graph_rewrite(graph, custom_as_value, NULL, err);
    if (!from) return NULL;
    Streamer s = {.from = from, .spec = spec, .offset = NO_VALUE};
    s.to = graph_create(graph->name, graph->file);
    FraxStatus status =
        s.to && stream_all(&s, outputs) ? graph_status(s.to, err) : fail_memory(err, "streaming a graph");
    *nstates = s.nstates;
    graph_destroy(from);
    if (!status) return finish_graph(s.to, err);
    graph_destroy(s.to);
    return NULL;
}
