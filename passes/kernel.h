/* kernel.h — a kernel as a loop nest: what fusion proposes, the memory plan measures and code generation
 * emits.
 *
 * A kernel computes the values that name it (node.kernel) from values stored by earlier kernels. Its body is
 * a list of items: one node at one place, the place being an affine function of the loops. Loops come in two
 * groups: the outer ones enumerate rows, which are independent of each other (but for sums over rows); the
 * inner ones run along a row. Rows are worked on in stages: a stage is one pass over the row's elements;
 * between stages stand the operations that need a whole row (reductions, transforms, recurrences).
 *
 *     softmax:   stage 0  max        stage 1  exp, sum        stage 2  divide, store
 *     spectral:  stage 0  load, prologue → row    FFT · K · inverse FFT    stage 1  epilogue, store
 *
 * kernel_build is the one judge of what a kernel may hold: fusion tries, and keeps what can be built.
 */
#ifndef FRAX_KERNEL_H
#define FRAX_KERNEL_H

#include "ir.h"

enum { MAX_LOOPS = 12, MAX_STAGES = 8, MAX_ROW_OPS = 24, NO_ITEM = -1, NO_GUARD = -1 };
enum {
    PRODUCT_ROWS = 8,  /* rows of the result that a block of KERNEL_MATMUL computes */
    SPECTRUM_PAD = 512 /* bytes behind a partial spectrum of a block, which may fill vectors */
};

/* base + Σ coeff[l] · loop l */
typedef struct Affine {
    int64_t base, coeff[MAX_LOOPS];
} Affine;

/* 0 ≤ index < size, and the parent holds too. */
typedef struct Guard {
    int parent;
    Affine index;
    int64_t size;
} Guard;

typedef enum ItemKind {
    ITEM_CONSTANT,
    ITEM_INDEX,     /* iota: the value of `at` */
    ITEM_LOAD,      /* element `at` of the buffer of `node`; 0 where the guard fails */
    ITEM_POINTWISE, /* op of `node` on args */
    ITEM_GUARDED,   /* args[0] where `guard` holds, else args[1], or 0 if that is NO_ITEM */
    ITEM_ROUNDED,   /* args[0] rounded to the 16 bits that `node` is stored in: what other kernels read */
    ITEM_REDUCE,    /* reduction `node` of args[0] over the inner loops */
    ITEM_ROW,       /* the element of row operation `row` at this inner position */
    ITEM_PRODUCT,   /* the element of the matrix product at this place */
} ItemKind;

typedef struct Item {
    ItemKind kind;
    Value node;
    int args[3];
    int guard;
    int row;
    int stage;  /* of the pass in which it can be computed first */
    bool inner; /* differs along the inner loops */
    Affine at;
} Item;

/* A table operand of a row operation (K, w): its element at outer place `at`, with these strides along the
 * inner axes. */
typedef struct Table {
    bool is_constant;
    bool negated; /* spectral: −1 times its elements is meant */
    double constant;
    Value node;
    Affine at;
    int64_t stride[3];
} Table;

/* Work on whole rows: spectral, rfft, cross_spectrum, causal_conv, causal_correlation, grunwald_weights; or,
   in kernels that stream their rows, recurrences: exponential_conv (tables c, r), exponential_correlation
   (tables[1] is r). */
typedef struct RowOp {
    Value node;
    int inputs[2]; /* items: rows that are complete when it starts */
    int ninputs;
    Table tables[2];
    int stage;     /* it runs between the passes stage−1 and stage */
    Value partner; /* rfft, cross_spectrum: the node with the other part, or NO_VALUE; NO_VALUE too on the
                      partner itself */
} RowOp;

/* A value written by the kernel. */
typedef struct Store {
    Value node;
    int item;          /* NO_ITEM: a row operation writes it by itself (spectra, correlations) */
    int row;           /* that row operation, or −1 */
    Affine at;         /* element written; row operations: without the result's own strides */
    int64_t stride[3]; /* row operations: strides along the inner axes */
} Store;

typedef enum KernelKind {
    KERNEL_ROWS,     /* the loop nest above */
    KERNEL_MATMUL,   /* a matrix product in registers with an epilogue */
    KERNEL_GEMM,     /* a matrix product by the library: CBLAS, on a GPU cuBLASLt */
    KERNEL_TRANSFORM /* transforms by a GPU's library: see library_transform.h */
} KernelKind;

typedef struct Kernel {
    KernelKind kind;
    int id;
    int nloops, nouter; /* loops [0, nouter) are outer */
    int nsummed;        /* the last outer loops that cross spectra sum over */
    int64_t size[MAX_LOOPS];
    Item *items;
    size_t nitems, items_capacity;
    Guard *guards;
    size_t nguards, guards_capacity;
    RowOp *rows;
    size_t nrows, rows_capacity;
    Store *stores;
    size_t nstores, stores_capacity;
    int nstages;
    bool streams;   /* the one inner loop is cut into pieces, and each goes through all stages before the next
                       one */
    bool is_static; /* depends on no input: run once, when the executable is made */
    /* Matrix products: */
    Value product;
    Table left, right; /* batch place; strides of (row, k) and (k, column) */
    int64_t m, n, k;
    /* Schedule (kernel_schedule), the same for any number of threads: */
    int lane_loop;   /* the loop whose neighbours fill a vector; −1: none */
    int64_t chunk;   /* >0: the lane loop is cut into chunks of this size, a block each; */
    int64_t part;    /* >0: the first inner loop, too, into parts of this size, where lanes lie across rows */
    int64_t sharing; /* >0: rows of transforms are taken in pairs; so many neighbours have all tables in
                        common, and no block reaches beyond them */
    int64_t rows_per_block;
    int64_t blocks;
    size_t workspace; /* bytes shared by the blocks: partial sums */
} Kernel;

/* Builds kernel `id` of `graph` (all values with node.kernel == id). Returns false, with err filled, only when
   out of memory; fits says whether such a kernel can be made, and `why` (may be NULL) why not. The caller frees
   with kernel_free. */
bool kernel_build(const Graph *graph, int id, Kernel *kernel, bool *fits, const char **why, FraxError *err);
void kernel_free(Kernel *kernel);
void kernel_print(const Graph *graph, const Kernel *kernel, Text *out);
/* Outer rows; elements of a row. */
int64_t kernel_outer_size(const Kernel *kernel);
int64_t kernel_inner_size(const Kernel *kernel);
/* Parts into which the reductions over a row are cut, whose results kernel_finish_blocks combines; 1: whole.
 */
int64_t kernel_parts(const Kernel *kernel);
/* What is left when all blocks have run: rows whose partial results are combined, or kept indices of cross
 * spectra; 0: nothing. */
int64_t kernel_finish_blocks(const Kernel *kernel);
/* May `store` be written into the buffer from which `source` is loaded? (Each element is read before it is
 * overwritten.) */
bool kernel_in_place(const Graph *graph, const Kernel *kernel, const Store *store, Value source);
/* Whether the transform of a pair of rows of n points is generated code: n = 2^a 3^b 5^c 7^d of moderate
   size, f32 or f64. */
bool is_generated_length(FraxDType dtype, int64_t n);
/* Whether a team of threads of a GPU holds the transform of a pair of rows of n points in its registers. */
bool is_team_length(FraxDType dtype, int64_t n);
/* Is the op worth keeping a value for rather than computing it again? (elementary functions, and all that
 * couples elements) */
bool op_is_dear(Op op);
/* exponential_conv, exponential_correlation */
bool op_is_recurrence(Op op);
/* What a transform of one axis transforms, before zeros were put after it; NO_VALUE if they were not. A
   kernel may count such rows without the zeros, which are then part of the operation, */
Value unpadded_signal(const Graph *graph, const Node *node);
/* so that this slice of a filtered signal is all that is seen of it. */
bool is_first_samples(const Graph *graph, const Node *slice);
/* The strides of a stored value in elements: of an input, or of the caller's array that it is written to.
   NULL: it is dense. */
const int64_t *stored_strides(const Graph *graph, Value v);
/* The one value behind reshapes that a kernel would read in place of v. */
Value behind_reshapes(const Graph *graph, Value v);
/* Can a reshape be computed from an array that is read by its own axes? The axes of both shapes must be parts
   of common loops. */
bool reshape_has_loops(const Shape *from, const Shape *to);
/* Is this product left to the library, if the matrices lie as it wants them? */
bool is_library_product(const Graph *graph, const Node *product);
/* A matrix as the library takes it: rows by columns, or turned: columns by rows; `leading` elements apart. */
typedef struct LibraryMatrix {
    bool turned;
    int64_t leading;
} LibraryMatrix;
/* How a matrix of this size with these strides can be given to the library, turned if it may be and that is
   preferred; false if it cannot. */
bool library_matrix(const int64_t size[2], const int64_t stride[2], bool prefer_turned, LibraryMatrix *m);
/* A product as cuBLASLt takes it: a batch of left · right (+ a bias along the columns), stored row by row. */
typedef struct GpuProduct {
    LibraryMatrix left, right, result;
    int64_t batch, left_step, right_step, result_step; /* elements between the matrices of the batch */
    Value bias;                                        /* NO_VALUE: none */
} GpuProduct;
/* Of a kernel of one product (KERNEL_GEMM); false where cuBLASLt cannot take it. */
bool gpu_product(const Graph *graph, const Kernel *kernel, GpuProduct *product);
/* The stored values that the kernel reads, one a call, some of them more than once; NO_VALUE after the last.
   `*at` is 0 before the first call. */
Value kernel_next_read(const Kernel *kernel, size_t *at);
bool kernel_reads(const Kernel *kernel, Value v);

/* ---- Affine maps ---- */

bool affine_equal(const Affine *a, const Affine *b);
bool affine_uses(const Affine *a, int first, int end); /* any coefficient of loops [first, end) is not zero */
Affine affine_constant(int64_t base);
Affine affine_loop(int loop);
void affine_add(Affine *to, const Affine *a, int64_t times); /* to += times · a */
/* The linear offset of place map[0..rank) in a row-major array. */
Affine affine_offset(const Affine *map, const Shape *shape);
/* The same in an array with these strides. */
Affine affine_place(const Affine *map, int rank, const int64_t *strides);
/* The place in an array of shape `to` of the linear offset `offset`, if it is affine; loops have these sizes.
 */
bool affine_unravel(const Affine *offset, const Shape *to, const int64_t *size, int nloops, Affine *map);

#endif
