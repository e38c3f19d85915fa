/* library_transform.c — see library_transform.h: who transforms on a GPU, rows along the last axes, pieces.
 */
#include "library_transform.h"
#include "rewrite.h"
#include <string.h>

/* ---- Who transforms ---- */

/* What a transform is to its kernel. */
typedef enum Form {
    PAIRED, /* one axis of 2^a points that registers hold, of two rows or more that share K */
    FEW,    /* one axis that a warp has generated passes for, of few rows */
    MANY, /* one axis otherwise: other lengths, or many rows with a K each, or many spectra that are stored */
    IMAGE /* several axes */
} Form;

/* The first row that holds is taken: transforms of so many points and more.
 *
 *   own      paired: a team of threads holds two rows in registers, in one launch with all around it, bound
 * by the memory's speed; else a warp takes each row or pair through its scratch library  cuFFT: three
 * launches, and the rows and spectra through memory, 5 times the bytes of one pass
 *
 * Not measured but counted, for an H100. A launch more costs some 2 µs, at which a warp with generated passes
 * has done 512 points; up to 2048 a few rows, the spectrum of weights above all, are done before the library
 * has started. Many rows want many warps, but each has 12 n bytes of scratch in f32, so that 4096 points
 * leave one warp a multiprocessor, and below that the warps wait for each other's memory. Lengths with other
 * prime factors take a convolution of twice the length, in one warp: up to 63 points that is as long as the
 * launches.
 */
static const struct {
    Form form;
    bool library;
    int64_t least;
} choices[] = {{PAIRED, false, 0}, {FEW, true, 2049}, {MANY, true, 64}, {IMAGE, true, 1024}};

bool is_team_length(FraxDType dtype, int64_t n) {
    enum { SHORTEST = 64, LONGEST_BYTES = 64 << 10 }; /* 1024 threads with 64 bytes of each part */
    bool native = dtype == FRAX_F32 || dtype == FRAX_F64;
    return native && n >= SHORTEST && !(n & (n - 1)) && n <= LONGEST_BYTES / (int64_t)frax_dtype_size(dtype);
}

static bool is_transform(Op op) {
    return op == OP_spectral || op == OP_rfft || op == OP_cross_spectrum;
}

/* Operands that are rows. */
static int row_operands(const Node *node) {
    return node->op == OP_cross_spectrum ? 2 : 1;
}

/* Rows; those alone that share K, or are summed over. */
static int64_t count_rows(const Graph *g, const Node *node, bool sharing) {
    const Shape *x = &graph_type(g, node->args[0])->shape;
    bool same_k = node->op == OP_spectral && is_op(g, node->args[1], OP_constant) &&
                  is_op(g, node->args[2], OP_constant);
    int64_t rows = 1;
    for (int i = 0; i < x->rank; i++) {
        bool own = node->op == OP_spectral ? !same_k && graph_type(g, node->args[1])->shape.dims[i] > 1
                                           : !(node->attrs->sum >> i & 1);
        if (!(node->attrs->axes >> i & 1) && !(sharing && own)) rows *= x->dims[i];
    }
    return rows;
}

static Form form_of(const Graph *g, const Node *node, int64_t points) {
    enum { FEW_ROWS = 16 };
    FraxDType dtype = graph_type(g, node->args[0])->dtype;
    if (__builtin_popcount(node->attrs->axes) > 1) return IMAGE;
    if (node->op != OP_rfft && is_team_length(dtype, points) && count_rows(g, node, true) > 1) return PAIRED;
    bool generated = points % 8 == 0 && is_generated_length(dtype, points);
    return generated && count_rows(g, node, false) < FEW_ROWS ? FEW : MANY;
}

int transform_dims(const Graph *g, const Node *node, int64_t dims[MAX_RANK]) {
    const Shape *x = &graph_type(g, node->args[0])->shape;
    int n = 0;
    for (int i = 0; i < x->rank; i++)
        if (node->attrs->axes >> i & 1) dims[n++] = x->dims[i];
    return n;
}

/* The library takes up to three axes, in memory. */
static bool library_can(const Graph *g, const Node *node, const int64_t *dims, int n) {
    if (n > 3 || dims[n - 1] < 2 || !shape_size(&graph_type(g, node->args[0])->shape)) return false;
    for (int i = 0; i < row_operands(node); i++)
        if (is_op(g, behind_reshapes(g, node->args[i]), OP_constant)) return false;
    return true;
}

bool is_library_transform(const Graph *g, const Node *node) {
    int64_t dims[MAX_RANK], points = 1;
    if (!(g->gpu_libraries & GPU_TRANSFORMS) || !is_transform(node->op)) return false;
    int n = transform_dims(g, node, dims);
    for (int i = 0; i < n; i++) points *= dims[i];
    if (!library_can(g, node, dims, n)) return false;
    Form form = form_of(g, node, points);
    for (size_t i = 0; i < COUNT(choices); i++)
        if (choices[i].form == form && points >= choices[i].least) return choices[i].library;
    return false;
}

/* ---- Rows along the last axes ---- */

/* The axes in the order: those of the batch, those transformed; false if they stand so. Axes of size 1 after
   the transformed ones do no harm. */
static bool order_axes(const Shape *x, uint32_t axes, uint8_t perm[MAX_RANK]) {
    int n = 0, last = -1;
    bool apart = false;
    for (int i = 0; i < x->rank; i++) {
        if (axes >> i & 1)
            last = i;
        else if (last >= 0 && x->dims[i] > 1)
            apart = true;
    }
    for (int transformed = 0; transformed < 2; transformed++)
        for (int i = 0; i < x->rank; i++)
            if ((int)(axes >> i & 1) == transformed) perm[n++] = (uint8_t)i;
    return apart;
}

static uint32_t moved_axes(uint32_t axes, int rank, const uint8_t *perm) {
    uint32_t moved = 0;
    for (int i = 0; i < rank; i++) moved |= (axes >> perm[i] & 1) << i;
    return moved;
}

/* A sign stays outside, so that K and conj K are one table. */
static Value moved(Graph *to, Value v, const uint8_t *perm) {
    if (to->failed) return NO_VALUE;
    if (is_op(to, v, OP_neg)) return g_unary(to, OP_neg, moved(to, operand(to, v, 0), perm));
    return transpose_composed(to, v, perm);
}

Value transform_last_axes(Graph *to, const Graph *from, const Node *node, const Value *args) {
    uint8_t perm[MAX_RANK], back[MAX_RANK];
    const Shape *x = &graph_type(from, node->args[0])->shape;
    if (!is_library_transform(from, node) || !order_axes(x, node->attrs->axes, perm)) return NO_VALUE;
    uint32_t axes = moved_axes(node->attrs->axes, x->rank, perm),
             sum = moved_axes(node->attrs->sum, x->rank, perm);
    Value a[3], y;
    for (int i = 0; i < node->nargs; i++) a[i] = moved(to, args[i], perm);
    for (int i = 0; i < x->rank; i++) back[perm[i]] = (uint8_t)i;
    if (to->failed) return NO_VALUE;
    switch (node->op) {
    case OP_spectral: y = g_spectral(to, a[0], a[1], a[2], axes); break;
    case OP_rfft: y = g_rfft(to, a[0], axes, node->attrs->part); break;
    default: y = g_cross_spectrum(to, a[0], a[1], axes, sum, node->attrs->part);
    }
    return to->failed ? NO_VALUE : g_transpose(to, y, back);
}

/* ---- Pieces ---- */

enum {
    ALIGNMENT = 256,
    MOST_SPECTRA = 32 << 20, /* bytes of spectra at a time: they stay in the second cache of an H100, 50 MB,
                                on the way to our kernel and back; longer rows go two by two */
    MOST_SUMMED = 64,        /* rows that a thread sums at most, for the sake of rounding, */
    LEAST_SUMMED = 8,        /* and at least, */
    SUM_THREADS = 1 << 16    /* where so many threads are busy */
};

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static size_t aligned(size_t bytes) {
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

int transform_input(const TransformPlan *p, const RowOp *op, int input) {
    int i = 0;
    while (i < p->nitems && p->items[i] != op->inputs[input]) i++;
    return i;
}

/* Complex elements lie at multiples of their size, and so should all pieces of the rows, whatever their
   length. */
static void cut_pieces(TransformPlan *p, size_t row_bytes) {
    int64_t most = MAX((int64_t)(MOST_SPECTRA / row_bytes) & ~(int64_t)1, 2);
    p->pieces = ceil_div(p->rows, most);
    p->piece = p->pieces > 1 ? ceil_div(ceil_div(p->rows, p->pieces), 2) * 2 : p->rows;
    p->pieces = ceil_div(p->rows, p->piece);
}

static void share_sums(TransformPlan *p, const Kernel *k) {
    p->kept = p->summed = p->share = p->shares = 1;
    for (int l = 0; l < k->nouter; l++)
        if (l < k->nouter - k->nsummed)
            p->kept *= k->size[l];
        else
            p->summed *= k->size[l];
    int64_t wanted = MIN(ceil_div(SUM_THREADS, p->kept * p->bins), ceil_div(p->summed, LEAST_SUMMED));
    p->share = ceil_div(p->summed, MAX(wanted, ceil_div(p->summed, MOST_SUMMED)));
    p->shares = ceil_div(p->summed, p->share);
}

TransformPlan transform_plan(const Graph *g, const Kernel *k) {
    TransformPlan p = {.points = 1, .bins = 1, .rows = kernel_outer_size(k)};
    int64_t dims[MAX_RANK];
    int backward = 0;
    const Node *first = graph_node(g, k->rows[0].node);
    p.dtype = first->type.dtype;
    p.rank = transform_dims(g, first, dims);
    for (int i = 0; i < p.rank; i++) {
        p.dims[i] = dims[i];
        p.points *= dims[i];
        p.bins *= i == p.rank - 1 ? dims[i] / 2 + 1 : dims[i];
    }
    for (size_t r = 0; r < k->nrows; r++) {
        const RowOp *op = &k->rows[r];
        for (int n = 0; n < op->ninputs; n++)
            if (transform_input(&p, op, n) == p.nitems) p.items[p.nitems++] = op->inputs[n];
        backward += graph_node(g, op->node)->op == OP_spectral;
        p.nsums += k->nsummed && graph_node(g, op->node)->op == OP_cross_spectrum;
    }
    p.nbuffers = MAX(p.nitems, backward);
    size_t spectrum = (size_t)p.bins * 2 * frax_dtype_size(p.dtype);
    cut_pieces(&p, spectrum * (size_t)p.nbuffers);
    p.buffer_bytes = aligned(spectrum * (size_t)p.piece);
    p.partial_at = p.workspace = p.buffer_bytes * (size_t)p.nbuffers;
    share_sums(&p, k);
    p.has_partials = p.nsums && (p.shares > 1 || p.pieces > 1);
    p.partial_bytes = aligned((size_t)(p.shares * p.kept * p.bins) * frax_dtype_size(p.dtype));
    if (p.has_partials) p.workspace += 2 * (size_t)p.nsums * p.partial_bytes;
    return p;
}
