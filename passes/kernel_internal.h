/* kernel_internal.h — shared by the files that build and schedule a kernel: kernel.c, schedule.c. */
#ifndef FRAX_KERNEL_INTERNAL_H
#define FRAX_KERNEL_INTERNAL_H

#include "kernel.h"

/* A kernel under construction. */
typedef struct Build {
    const Graph *graph;
    Kernel *kernel;
    Shape shape; /* of the anchor's rows; the loops enumerate it */
    uint32_t inner_axes;
    Affine place[MAX_RANK]; /* an element's place in `shape` as functions of the loops */
    Value *body, *anchors;
    size_t nbody, body_capacity, nanchors, anchors_capacity;
    int nproducts, nloads;
    const char *why; /* the first reason why the kernel does not fit */
    bool out_of_memory;
} Build;

int unfit(Build *b, const char *why);
bool stored_elsewhere(const Build *b, Value v);
int build_item(Build *b, Value v, const Affine *map, int guard);
int kernel_row_stage(Kernel *k, int row);

/* Merges loops, marks what varies along a row, chooses lanes, chunks and blocks. False if rows that need
   several passes are too long for that. */
bool kernel_schedule(const Graph *graph, Kernel *kernel);
/* Is the library's product faster than ours here? */
bool gemm_by_library(const Graph *graph, const Kernel *kernel);

#endif
