/* stream_internal.h — shared by stream.c, which walks the graph, and stream_rules.c, which knows the ops. */
#ifndef FRAX_STREAM_INTERNAL_H
#define FRAX_STREAM_INTERNAL_H

#include "stream.h"

/* A value of the whole graph as it appears in the graph of one chunk.
   Streamed: in the run of the samples t₀ … t₀ + C − 1 it has C elements along `axis`, of which the one at
   t − t₀ is element t − delay of the whole value; where that is no element of it, anything.
   Whole (axis NOT_STREAMED): all its elements, right from the run on that holds sample `delay`. */
typedef struct Flow {
    Value value;
    int axis;
    int64_t delay;
    bool steady; /* all its elements along the axis are the same, so that any delay beyond its own is right */
} Flow;

typedef struct State {
    Value value, next; /* value: an input, or the hole that stands for the offset */
} State;

typedef struct Streamer {
    const Graph *from;
    Graph *to;
    const StreamSpec *spec;
    Flow *flows; /* of each node of `from` */
    Flow
        *twins; /* [node · MAX_RANK + axis]: a whole value taken as streamed along the axis; NO_VALUE: none */
    Value offset; /* f64[]: samples before this chunk; NO_VALUE until it is needed */
    bool counts;  /* the run reads the offset to say where a value is out of its range */
    State *states;
    size_t nstates, states_capacity;
} Streamer;

/* ---- stream.c ---- */

static const Flow no_flow = {.value = NO_VALUE, .axis = NOT_STREAMED};

/* Fails with FRAX_UNSUPPORTED, "streaming T: …". */
Flow stream_fail(Streamer *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
Value state_input(Streamer *s, Type type); /* a new state; its next value is to be given at once: */
void state_next(Streamer *s, Value state, Value next);
Value stream_offset(Streamer *s);
/* Value of the type with the chunk's size along the axis. */
Type chunk_type(const Streamer *s, const Type *type, int axis);
/* Emits `node` with these operands; axis: of the result, where its size becomes the chunk's. */
Value emit_chunk(Streamer *s, const Node *node, const Value *args, int axis);

/* ---- stream_rules.c ---- */

/* The node on operands of which at least one is streamed. */
Flow stream_node(Streamer *s, const Node *node, const Flow *args);
/* Fills the twins of node v, whose operands are all whole. */
void stream_twins(Streamer *s, Value v);

#endif
