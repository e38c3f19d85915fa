/* eager_matmul.c — batched matrix products through CBLAS.
 *
 * The result is cut into tiles of a fixed size, each of which one thread computes by one call of a BLAS that
 * runs on the calling thread alone (set when the Eager is made); so the bits do not depend on the number of
 * threads. A transposed view is handed to BLAS as such.
 */
#include "eager.h"
#include "blas.h"

enum { TILE_SIDE = 256 };

/* One operand: its last two axes as BLAS sees them. */
typedef struct Matrix {
    View view;
    bool transposed;
    int64_t leading;
} Matrix;

typedef struct Product {
    Gemm gemm;
    Matrix a, b;
    char *c;
    int64_t m, n, down, across;
} Product;

static bool usable_stride(int64_t stride, int64_t n, int64_t other) {
    return n <= 1 || (stride >= MAX(1, other) && stride <= INT32_MAX);
}

/* Reads x as it lies if one of its last two axes is contiguous, else a dense copy. */
static FraxStatus matrix_prepare(Run *run, const View *x, Matrix *out) {
    int r = x->shape.rank;
    FraxDType dtype = wide_dtype(x->dtype);
    int64_t rows = x->shape.dims[r - 2], columns = x->shape.dims[r - 1];
    int64_t down = x->strides[r - 2], along = x->strides[r - 1];
    bool straight = (along == 1 || columns <= 1) && usable_stride(down, rows, columns);
    bool transposed = (down == 1 || rows <= 1) && usable_stride(along, columns, rows);
    if (x->dtype == dtype && (straight || transposed)) {
        *out = (Matrix){.view = view_share(x), .transposed = !straight};
    } else {
        *out = (Matrix){0};
        FraxStatus status = view_dense(run, x, dtype, &out->view);
        if (status) return status;
    }
    int64_t stride = out->view.strides[out->transposed ? r - 1 : r - 2];
    out->leading = MAX(1, out->transposed ? (columns > 1 ? stride : rows) : (rows > 1 ? stride : columns));
    return FRAX_OK;
}

static int64_t batch_offset(const View *view, int64_t batch) {
    int64_t at = 0;
    for (int i = view->shape.rank - 3; i >= 0; i--) {
        at += batch % view->shape.dims[i] * view->strides[i];
        batch /= view->shape.dims[i];
    }
    return at * (int64_t)frax_dtype_size(view->dtype);
}

/* The address of row i (ta: column i) of the batch's matrix. */
static const char *matrix_at(const Matrix *x, bool stored_across, int64_t batch, int64_t i) {
    int64_t step = stored_across != x->transposed ? 1 : x->leading;
    return x->view.data + batch_offset(&x->view, batch) + i * step * (int64_t)frax_dtype_size(x->view.dtype);
}

static void product_chunk(const void *context, int64_t chunk) {
    const Product *p = context;
    int64_t j = chunk % p->across * TILE_SIDE, rest = chunk / p->across;
    int64_t i = rest % p->down * TILE_SIDE, batch = rest / p->down;
    Gemm g = p->gemm;
    bool a_across = g.ta, b_across = !g.tb; /* does the index of C run along the stored rows? */
    g.ta = g.ta != p->a.transposed, g.tb = g.tb != p->b.transposed;
    g.lda = p->a.leading, g.ldb = p->b.leading, g.ldc = p->n;
    g.a = matrix_at(&p->a, a_across, batch, i);
    g.b = matrix_at(&p->b, b_across, batch, j);
    g.c = p->c + ((batch * p->m + i) * p->n + j) * (int64_t)frax_dtype_size(g.dtype);
    g.m = MIN(TILE_SIDE, p->m - i), g.n = MIN(TILE_SIDE, p->n - j);
    gemm(&g);
}

static void run_product(const Run *run, Product *p, View *c) {
    int r = c->shape.rank;
    p->c = c->data;
    p->m = c->shape.dims[r - 2], p->n = c->shape.dims[r - 1];
    p->down = chunks_of(p->m, TILE_SIDE), p->across = chunks_of(p->n, TILE_SIDE);
    int64_t batches = 1;
    for (int i = 0; i < r - 2; i++) batches *= c->shape.dims[i];
    double work = (double)batches * (double)p->m * (double)p->n * (double)p->gemm.k / 8;
    for_chunks(run, work, batches * p->down * p->across, product_chunk, p);
}

/* A 16-bit result is computed in f32 and rounded. */
static FraxStatus rounded_product(Run *run, Value v, Product *p) {
    const View *y = &run->values[v];
    View wide;
    FraxStatus status = view_create(run, FRAX_F32, &y->shape, &wide);
    if (status) return status;
    run_product(run, p, &wide);
    narrow(y->dtype, (const float *)wide.data, y->data, shape_size(&y->shape));
    view_drop(run, &wide);
    return FRAX_OK;
}

FraxStatus eager_matmul(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    FraxDType dtype = node->type.dtype;
    Product p = {
        .gemm = {.dtype = wide_dtype(dtype), .ta = node->attrs->ta, .tb = node->attrs->tb, .alpha = 1}};
    const Shape *a = &run_operand(run, v, 0)->shape;
    p.gemm.k = a->dims[a->rank - 1 - p.gemm.ta];
    FraxStatus status = matrix_prepare(run, run_operand(run, v, 0), &p.a);
    if (status) return status;
    status = matrix_prepare(run, run_operand(run, v, 1), &p.b);
    if (!status) status = view_result(run, v);
    if (!status && wide_dtype(dtype) == dtype)
        run_product(run, &p, &run->values[v]);
    else if (!status)
        status = rounded_product(run, v, &p);
    view_drop(run, &p.a.view);
    view_drop(run, &p.b.view);
    return status;
}
