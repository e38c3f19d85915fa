/* stream.h — a model as a machine that takes a signal chunk by chunk: state in, chunk in, result and state
 * out. */
#ifndef FRAX_STREAM_H
#define FRAX_STREAM_H

#include "ir.h"

enum { NOT_STREAMED = -1 };

typedef struct StreamSpec {
    const char *size;      /* the symbol of the streamed size, for messages */
    int64_t length, chunk; /* samples of the whole signal (2 or more), samples of one run (1 or more) */
    const int *axes;       /* the streamed axis of each of graph->inputs, or NOT_STREAMED */
} StreamSpec;

/* Where an output stands in the stream: run by run, element i along `axis` of the whole output leaves with
   sample i + skip of the signal. Without axis: the value after the last run. */
typedef struct StreamPlace {
    int axis;
    int64_t skip, length;
} StreamPlace;

/* `graph`, for the whole signal, as a graph of one chunk. Streamed inputs have the size `chunk` along their
   axis; inputs state.K follow the others, and outputs of the same names hold their next values. All states
   start at zero; they depend on the graph and not on the chunk, so that runs of different chunks may share
   them. outputs[i] is filled for each output of `graph`. NULL with *err filled: FRAX_UNSUPPORTED where the
   model cannot be streamed, with line and column of the fault in *err and the message not yet located. */
Graph *stream_graph(const Graph *graph, const StreamSpec *spec, StreamPlace *outputs, size_t *nstates,
                    FraxError *err);

#endif
