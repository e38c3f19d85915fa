/* kernel_internal.h — shared by the files that build and schedule a kernel: kernel.c, kernel_items.c,
 * schedule.c, library_product.c. */
#ifndef FRAX_KERNEL_INTERNAL_H
#define FRAX_KERNEL_INTERNAL_H

#include "kernel.h"

/* What a walk down from a value found: its item, wanted at this place where this guard holds. */
typedef struct Visit {
    Value value;
    int guard, item;
    size_t place; /* in Build.places */
    int next;     /* of the same bucket, counted from 1; 0: none */
} Visit;

enum { VISIT_BUCKETS = 256 };

/* A kernel under construction. */
typedef struct Build {
    const Graph *graph;
    Kernel *kernel;
    Shape shape; /* of the anchor's rows; the loops enumerate it */
    uint32_t inner_axes;
    Affine place[MAX_RANK]; /* an element's place in `shape` as functions of the loops */
    Value *body, *anchors, *stores; /* from the last to the first */
    size_t nbody, body_capacity, nanchors, anchors_capacity, nstores, stores_capacity;
    uint8_t *uses;  /* by value, within the body: 0, 1, or more */
    Visit *visits;  /* of values that are used more than once: else each use would be walked anew, */
    Affine *places; /* in a chain of such values twice as often at every link */
    size_t nvisits, visits_capacity, nplaces, places_capacity;
    int buckets[VISIT_BUCKETS]; /* the latest visit, counted from 1 */
    int nproducts, nloads;
    const char *why; /* the first reason why the kernel does not fit */
    bool out_of_memory;
} Build;

/* kernel.c */
int unfit(Build *b, const char *why); /* NO_ITEM */
void *build_grow(Build *b, void *items, size_t *capacity, size_t need, size_t size);
bool stored_elsewhere(const Build *b, Value v);
bool is_row_op(Op op);
bool writes_itself(Op op); /* a row operation whose result has a length of its own and is stored at once */
/* Operand i of anchor v as the kernel computes it: of transforms often without the zeros that pad it. */
Value row_operand(const Build *b, Value v, int i);
/* The shape whose elements an anchor's row consists of (an operand's, or the weights'), and the axes along
 * it.
 */
const Shape *row_shape(const Build *b, Value v);
uint32_t row_axes(const Node *node);
int kernel_row_stage(Kernel *k, int row);

/* kernel_items.c */
Item new_item(ItemKind kind, Value node, int arg, int guard);
int add_item(Build *b, Item item); /* the same item again is not added twice */
/* The element of v at `map` (one function of the loops per axis), needed where `guard` holds; NO_ITEM if it
 * does not fit. */
int build_item(Build *b, Value v, const Affine *map, int guard);
/* The row operation of node v, made on first use, and the place of its elements; −1 if it does not fit. */
int build_row(Build *b, Value v, Affine *place);
/* A table operand must be stored or constant. */
bool table_of(Build *b, Value v, const Affine *place, uint32_t axes, Table *table);

/* schedule.c */

/* Merges loops, marks what varies along a row, chooses lanes, chunks and blocks. False if rows that need
   several passes are too long for that, or stand beside recurrences. */
bool kernel_schedule(const Graph *graph, Kernel *kernel);
/* Two loops change places everywhere. */
void kernel_exchange_loops(Kernel *kernel, int a, int b);

/* library_product.c */

/* Is the library's product faster than ours here, and are its operands as the library wants them? */
bool gemm_by_library(const Graph *graph, const Kernel *kernel);
/* Does the kernel of such a product hold nothing that the library does not do? */
bool is_library_kernel(const Graph *graph, const Kernel *kernel);

/* pair_rows.c */

/* Decides whether the rows of a kernel of transforms are taken in pairs (k->sharing). Outer loops may change
   places. After stages are known, before loops are merged. */
void kernel_pair_rows(const Graph *graph, Kernel *kernel);
/* Rows that blocks of paired rows hold a multiple of: where vectors do not divide the length, as many pairs
   go side by side as a vector has lanes. */
int64_t kernel_pair_unit(const Graph *graph, const Kernel *kernel);

#endif
