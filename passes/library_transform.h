/* library_transform.h — transforms that a GPU's library does, cuFFT: which ones, and how their kernels go.
 *
 * Such a kernel (KERNEL_TRANSFORM) holds transforms of equal rows and nothing else. It reads rows that lie
 * densely, written by a kernel before with the zeros that pad them, and leaves results that a kernel after
 * reads in place. In steps, piece by piece:
 *
 *     rows ──library──▶ spectra ──one kernel of ours: ·K/n, products, sums──▶ spectra ──library──▶ rows
 */
#ifndef FRAX_LIBRARY_TRANSFORM_H
#define FRAX_LIBRARY_TRANSFORM_H

#include "kernel.h"

/* Is this transform left to the library? Its operands are then stored. */
bool is_library_transform(const Graph *graph, const Node *node);

/* The same transform along the last axes, between transpositions, as values of `to`; NO_VALUE where it is not
   left to the library, or its axes are the last ones. args: its operands in `to`. */
Value transform_last_axes(Graph *to, const Graph *from, const Node *node, const Value *args);

/* How a kernel of transforms is laid out in the workspace, by sizes alone. */
typedef struct TransformPlan {
    FraxDType dtype;
    int rank;
    int64_t dims[3], points, bins; /* of a row, the last axis halved */
    int64_t rows;
    int64_t piece, pieces;      /* rows that are transformed at a time, and how often */
    int items[2 * MAX_ROW_OPS]; /* the rows that are transformed forward, each once, */
    int nitems;
    int nbuffers;        /* and spectra for them and for what is transformed back, whichever are more, */
    size_t buffer_bytes; /* one after the other */
    /* Sums over rows: each thread sums `share` of the rows of one kept index; the sums of all `shares` are
       added up from `partial_at` on, unless there is one. */
    int64_t kept, summed, share, shares;
    int nsums;
    bool has_partials;
    size_t partial_at, partial_bytes; /* of one part of one operation */
    size_t workspace;
} TransformPlan;

/* Lengths of the transformed axes, the last one last; their number. */
int transform_dims(const Graph *graph, const Node *node, int64_t dims[MAX_RANK]);
TransformPlan transform_plan(const Graph *graph, const Kernel *kernel);
/* The place of input `input` of an operation in TransformPlan.items. */
int transform_input(const TransformPlan *plan, const RowOp *op, int input);

#endif
