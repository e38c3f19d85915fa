/* eager.h — inside the eager target: views, buffers, the state of one run, and the rules of the ops.
 *
 * A value is a view: a dtype, a shape and strides over a buffer. Broadcast, transpose, slice, flip and (of a
 * dense operand) reshape only make another view, as eager frameworks do; every other node computes into a
 * dense buffer of its own. Buffers come from a pool that the runs of one Eager share and go back when the
 * last view of them is dropped; the pool keeps them for later nodes and runs.
 *
 * Work is cut into chunks whose size does not depend on the number of threads, and each chunk is computed by
 * one thread in a fixed order: any number of threads gives the same bits. Chunks never allocate.
 */
#ifndef FRAX_EAGER_H
#define FRAX_EAGER_H

#include "executable.h"
#include "fft.h"

enum {
    CHUNK = 16384, /* elements that one thread takes at a time */
    TILE = 1024,   /* elements converted or gathered at a time, in the first-level cache */
    FFT_BLOCK = 16 /* rows of one transform call; 1 where they are long */
};

/* ---- Buffers ---- */

typedef struct Buffer {
    struct Buffer *next; /* in the pool's list of idle ones */
    size_t bytes;
    int views; /* that share it in the one run that holds it */
    _Alignas(64) char data[];
} Buffer;

typedef struct Pool Pool;
Pool *pool_create(void); /* NULL when out of memory */
void pool_destroy(Pool *pool);
Buffer *pool_take(Pool *pool, size_t bytes); /* with one view; NULL when out of memory */
void pool_give(Pool *pool, Buffer *buffer);  /* drops one view */

/* ---- Views ---- */

typedef struct View {
    Buffer *buffer; /* NULL: memory of the caller or of the Eager */
    char *data;     /* the first element */
    FraxDType dtype;
    Shape shape;
    int64_t strides[MAX_RANK]; /* in elements; 0 along broadcast axes */
} View;

/* A transform that a run computes at most once: x along `axes`, zero-padded to `padded` along a single axis
   if that is not 0. */
typedef struct Spectrum {
    Value value;
    uint32_t axes;
    int64_t padded;
    int uses; /* operands of nodes that read it */
    FftShape shape;
    int64_t rows, points, bins;  /* of the batch; per row, real and complex */
    int64_t block_rows;          /* of one transform call */
    const FftPlan *block, *tail; /* of block_rows rows; the rest */
} Spectrum;

struct Eager {
    const Graph *graph;
    int threads;
    bool *needed;          /* nodes to execute */
    int32_t *uses;         /* how often the walk reads each node, outputs included */
    int32_t *direct;       /* the output whose memory the node may compute into; −1 */
    int32_t (*spectra)[3]; /* per node: the transforms of its operands, and of a correlation's result; −1 */
    Value *partner;        /* cross_spectrum: the node of the other part, or NO_VALUE */
    Spectrum *spectrum;
    size_t nspectra;
    double *constants; /* one element per node, in the node's dtype */
    size_t moved_bytes;
    Pool *pool;
};

typedef struct Run {
    const Eager *eager;
    const Graph *graph;
    void *const *outputs;
    View *values;
    int32_t *uses;     /* left */
    Buffer **spectrum; /* computed and still needed */
    int32_t *spectrum_uses;
    double passed; /* samples of a stream before this run */
    FraxError *err;
} Run;

static inline const View *run_operand(const Run *run, Value v, int i) {
    return &run->values[run->graph->nodes[v].args[i]];
}

/* A dense view of new memory. */
FraxStatus view_create(Run *run, FraxDType dtype, const Shape *shape, View *view);
/* The dense result of node v: in the caller's memory where v is an output, else new. */
FraxStatus view_result(Run *run, Value v);
void view_drop(Run *run, View *view);
/* Another view of the same memory; to be dropped too. */
View view_share(const View *view);
bool view_is_dense(const View *view);
/* x itself if dense and of this dtype, or a dense copy of it; to be dropped in both cases. */
FraxStatus view_dense(Run *run, const View *x, FraxDType dtype, View *dense);
/* Axis i of the result is axis perm[i] of x. */
View view_permuted(const View *x, const uint8_t *perm);
/* The axes in the order: those off the set, then those of the set. */
void axes_last(int rank, uint32_t axes, uint8_t *perm);
/* `dense` lies in permuted order; the view of it in the original order, which takes dense's place. */
View view_unpermuted(const View *dense, const uint8_t *perm);
/* Copies the elements of `from` to `to`, of equal shape and dtype, which do not overlap. */
void view_copy(const Run *run, const View *to, const View *from);

FraxStatus run_scratch(Run *run, size_t bytes, Buffer **buffer);

/* ---- Threads ---- */

typedef void ChunkBody(const void *context, int64_t chunk);
/* On the calling thread alone where `work` (element visits) would not repay the start of a team. */
void for_chunks(const Run *run, double work, int64_t chunks, ChunkBody *body, const void *context);

static inline int64_t chunks_of(int64_t n, int64_t size) {
    return (n + size - 1) / size;
}

/* ---- Elements in bulk ---- */

/* A view with neighbouring axes merged, made ready to be read in row-major order from any position. */
typedef struct Walk {
    const char *data;
    size_t size; /* of an element */
    int rank;
    int64_t dims[MAX_RANK], strides[MAX_RANK];
} Walk;

Walk walk_create(const View *view);
bool walk_is_scalar(const Walk *walk);
/* Elements [start, start + n) to a dense array. */
void walk_read(const Walk *walk, int64_t start, int64_t n, void *out);

/* f32 for the 16-bit formats, otherwise the dtype itself. */
FraxDType wide_dtype(FraxDType dtype);
void widen(FraxDType dtype, const void *from, float *to, int64_t n);
void narrow(FraxDType dtype, const float *from, void *to, int64_t n);

/* A pointwise op on dense arrays of wide dtypes; `out` may be one of them. Index: the op, the dtype of its
   last operand; NULL where there is none. */
typedef void PointwiseKernel(const Node *node, void *out, const void *const *args, int64_t n);
PointwiseKernel *pointwise_kernel(Op op, FraxDType operand);
PointwiseKernel *cast_kernel(FraxDType from, FraxDType to);

/* ---- Transforms (eager_fft.c) ---- */

/* Finds the transforms that the graph needs, and plans them. */
FraxStatus spectra_prepare(Eager *eager, FraxError *err);
/* The half spectrum of operand i of v, [rows, bins] interleaved. */
FraxStatus spectrum_get(Run *run, Value v, int i, Buffer **spectrum);
/* Node v has read the spectrum of operand i. */
void spectrum_release(Run *run, Value v, int i);
/* A place to write the changed spectrum of operand i: its own if v is the last to read it. To be given back
   to the pool. */
FraxStatus spectrum_writable(Run *run, Value v, int i, Buffer **spectrum);
void spectrum_inverse(const Run *run, const Spectrum *of, Buffer *spectrum, View *x);
/* out = x · k · scale for rows of complex bins; see eager_fft.c. */
typedef struct SpectrumProduct {
    FraxDType dtype;
    int64_t rows, bins;
    double scale;
    const void *x;
    void *out;
    const void *k, *k_im;    /* k_im NULL: k is interleaved */
    const int64_t *k_of_row; /* row of k for each row of x */
} SpectrumProduct;
void spectrum_multiply(const Run *run, const SpectrumProduct *product);
/* For each row of the batch of `shape` (row-major), the row of `k`, which may have size 1 where shape has
 * not.
 */
FraxStatus batch_rows(Run *run, const Shape *shape, const Shape *k, int batch_rank, Buffer **rows);
/* For each row of `result`, which has size 1 along some batch axes of `batch`, the `summed` rows of the batch
   that are summed into it: [results, summed]. */
FraxStatus summed_rows(Run *run, const Shape *batch, const Shape *result, int batch_rank, int64_t *results,
                       int64_t *summed, Buffer **rows);
/* Does a causal convolution or correlation run directly? */
bool convolves_directly(const Graph *g, const Node *node);

/* ---- Rules, one for each infer rule of the op table ---- */

typedef FraxStatus EagerRule(Run *run, Value v);
EagerRule eager_given, eager_pointwise, eager_cast, eager_same, eager_guard, eager_reshape, eager_transpose,
    eager_broadcast, eager_slice, eager_pad, eager_concat, eager_flip, eager_reduce, eager_argmax,
    eager_matmul, eager_rfft, eager_spectral, eager_cross_spectrum, eager_causal_conv,
    eager_causal_correlation, eager_weights, eager_exponential_conv, eager_exponential_correlation,
    eager_custom;

#endif
